package app

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"perdure/internal/pki"
)

// logged is a log that tests read while it is written.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestCertificatesThatEndAreNamedInTheLog(t *testing.T) {
	for want, validity := range map[string]time.Duration{"has ended": time.Minute, "ends soon": 48 * time.Hour, "": 100 * 24 * time.Hour} {
		made := time.Now()
		if want == "has ended" {
			made = made.Add(-time.Hour)
		}
		ca, err := pki.NewAuthority("test", made, validity)
		if err != nil {
			t.Fatal(err)
		}
		f := pki.FilesIn(t.TempDir(), "agent")
		pair, err := ca.Issue(pki.Request{CommonName: "agent:u1-a", Client: true, Validity: validity}, made)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Write(pair, ca.Pair().Cert); err != nil {
			t.Fatal(err)
		}
		var log logged
		ctx, cancel := context.WithCancel(t.Context())
		p := process{files: f, log: slog.New(slog.NewTextHandler(&log, nil))}
		ended := make(chan struct{})
		go func() { defer close(ended); p.mindCertificates(ctx, f.Cert) }()
		if want != "" {
			for !strings.Contains(log.String(), want) {
				if t.Context().Err() != nil {
					t.Fatal("nothing was said")
				}
				time.Sleep(time.Millisecond)
			}
		}
		cancel()
		<-ended
		if want == "" && log.String() != "" {
			t.Errorf("nothing ends, and it said %s", log.String())
		}
	}
}

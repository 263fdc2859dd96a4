package app

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"perdure/internal/pki"
)

// logged is a log of which a test gets each line.
type logged chan string

func (l logged) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

func TestCertificatesThatEndAreNamedInTheLog(t *testing.T) {
	for _, c := range []struct {
		validity time.Duration
		want     string
		lines    int // the certificate's, named twice, and its authority's
	}{{time.Minute, "has ended", 3}, {48 * time.Hour, "ends soon", 3}, {100 * 24 * time.Hour, "", 0}} {
		want, validity, made := c.want, c.validity, time.Now()
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
		log := make(logged, 8)
		ctx, cancel := context.WithCancel(t.Context())
		p := process{files: f, log: slog.New(slog.NewTextHandler(log, nil))}
		ended := make(chan struct{})
		go func() { defer close(ended); p.mindCertificates(ctx, f.Cert) }()
		for range c.lines {
			if line := <-log; !strings.Contains(line, want) {
				t.Errorf("it said %s, want %q", line, want)
			}
		}
		cancel()
		<-ended
		if len(log) > 0 {
			t.Errorf("it said more: %s", <-log)
		}
	}
}

package app

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/hosts"
	"perdure/internal/pki"
)

// process is what every process of the product begins with.
type process struct {
	log   *slog.Logger
	files pki.Files
	hosts *hosts.Table
}

// begin reads the hosts file, puts its resolver in place and makes the logger.
func (c Common) begin(out io.Writer) (process, error) {
	p := process{files: pki.Files{CA: c.TLS.CA, Cert: c.TLS.Cert, Key: c.TLS.Key}}
	var level slog.Level
	if c.LogLevel != "" {
		if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
			return p, errs.New(errs.Invalid, "logLevel %q: allowed are debug, info, warn, error", c.LogLevel)
		}
	}
	p.log = slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level}))
	if c.Hosts != "" {
		table, err := hosts.Load(c.Hosts)
		if err != nil {
			return p, err
		}
		p.hosts = table
		net.DefaultResolver = table.Resolver()
	}
	if c.DataDir == "" {
		return p, errs.New(errs.Invalid, "dataDir is missing: every process needs a directory of its own")
	}
	if err := os.MkdirAll(c.DataDir, 0o711); err != nil {
		return p, errs.New(errs.Invalid, "cannot make dataDir: %w", err)
	}
	return p, nil
}

const (
	// certificatesEvery is how often the files are looked at, certificatesBefore how long before their end it is said each time.
	certificatesEvery  = 6 * time.Hour
	certificatesBefore = 21 * 24 * time.Hour
)

// mindCertificates says in the log what ends soon or has ended, until ctx ends. Renewed files are taken up without a restart.
func (p process) mindCertificates(ctx context.Context, more ...string) {
	tick := time.NewTicker(certificatesEvery)
	defer tick.Stop()
	for {
		ends, err := p.files.Ends()
		if err != nil {
			p.log.Error("the certificates cannot be read", "err", err)
		}
		for _, file := range more {
			other, err := pki.Files{Cert: file}.Ends()
			if err != nil {
				p.log.Error("the certificates cannot be read", "err", err)
			}
			ends = append(ends, other...)
		}
		for _, e := range ends {
			switch left := time.Until(e.At); {
			case left <= 0:
				p.log.Error("a certificate has ended: others refuse this process, or it refuses them; replace the file", "file", e.File, "ended", e.At)
			case left < certificatesBefore:
				p.log.Warn("a certificate ends soon: replace the file, it is taken up without a restart", "file", e.File, "ends", e.At)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// resolve gives an address for a host, for programs that do not see the hosts file.
func (p process) resolve(ctx context.Context, host string) (string, error) {
	if addrs, ok := p.hosts.Lookup(host); ok && len(addrs) > 0 {
		return addrs[0].String(), nil
	}
	found, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil || len(found) == 0 {
		return "", errs.New(errs.Unavailable, "cannot resolve %s: %w", host, err)
	}
	return found[0], nil
}

// machineClient calls agents and nodes with this process's certificate. Connections that went silent are not kept for long:
// a call on a frozen one fails by its deadline and the next one dials anew.
func (p process) machineClient() (*http.Client, error) {
	config, err := p.files.ClientTLS()
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: config, DialContext: (&net.Dialer{Timeout: time.Second}).DialContext,
		MaxIdleConnsPerHost: 8, IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: 2 * time.Second,
		DisableCompression: true,
	}}, nil
}

func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, errs.New(errs.Unavailable, "cannot listen on %s: %w; another process has the port, or the address is not of this machine", address, err)
	}
	return l, nil
}

// derive makes the password of a role from the group's secret, so that all members know it and no file lists it.
func derive(secret []byte, role string) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(role))
	return hex.EncodeToString(mac.Sum(nil))
}

func readSecret(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, errs.New(errs.Invalid, "cannot read a secret: %w", err)
	}
	secret := strings.TrimSpace(string(text))
	if len(secret) < 16 {
		return nil, errs.New(errs.Invalid, "the secret in %s is too short: at least 16 characters", file)
	}
	return []byte(secret), nil
}

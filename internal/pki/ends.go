package pki

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"time"

	"perdure/internal/errs"
)

// End is when a certificate of a file stops being valid.
type End struct {
	File string
	At   time.Time
}

// Ends gives for each file of certificates the earliest end of those in it: after it nobody who checks accepts them any more.
func (f Files) Ends() ([]End, error) {
	var ends []End
	for _, file := range []string{f.Cert, f.CA} {
		if file == "" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return ends, errs.New(errs.Invalid, "cannot read certificates: %w", err)
		}
		end := End{File: file}
		for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
			if block.Type != "CERTIFICATE" {
				continue
			}
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return ends, errs.New(errs.Invalid, "%s holds a certificate that cannot be read: %w", file, err)
			}
			if end.At.IsZero() || c.NotAfter.Before(end.At) {
				end.At = c.NotAfter
			}
		}
		ends = append(ends, end)
	}
	return ends, nil
}

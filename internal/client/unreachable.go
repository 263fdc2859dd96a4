package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
)

// unreachable is why a node could not be asked, in words for people; the cause stays below it.
type unreachable struct {
	words string
	cause error
}

func (u *unreachable) Error() string { return u.words }
func (u *unreachable) Unwrap() error { return u.cause }

// unreached puts the reason why nothing came back from a node into words.
func unreached(err error) error {
	var lookup *net.DNSError
	var plain tls.RecordHeaderError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var words string
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ECONNREFUSED):
		words = "connection refused, nothing listens there"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		words = "there is no way to its address"
	case errors.As(err, &lookup):
		words = "its name " + lookup.Name + " is not known; a hosts file may be missing"
	case errors.As(err, &plain), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		words = "it does not speak TLS; the endpoint may be another service's"
	case errors.As(err, &authority):
		words = "its certificate is not signed by the authority given (--ca)"
	case errors.As(err, &name):
		words = "its certificate is for other names than the endpoint's"
	case errors.As(err, &invalid):
		words = "its certificate is not valid: " + strings.TrimPrefix(invalid.Error(), "x509: ")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		words = "no answer in time"
	default:
		return err
	}
	return &unreachable{words, err}
}

// telling reports whether the error says more than that time was up.
func telling(err error) bool {
	return err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.Canceled)
}

// asked names the nodes that were tried.
func (c *Client) asked() string {
	var urls []string
	for _, e := range c.endpoints {
		urls = append(urls, e.url)
	}
	return strings.Join(urls, ", ")
}

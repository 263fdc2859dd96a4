package cli

import (
	"net"
	"time"

	"perdure/internal/client"
	"perdure/internal/errs"
	"perdure/internal/hosts"
	"perdure/internal/pki"
)

// patience is how long one node may take before the next one is asked; a preflight looks at databases, so it is generous.
const patience = 4 * time.Second

// estate gives a client of the estate that flags, environment or context file name.
func (s *session) estate() (*client.Client, error) {
	c, err := s.context.resolve(s.Getenv)
	if err != nil {
		return nil, err
	}
	token, err := c.bearer()
	if err != nil {
		return nil, err
	}
	return c.client(token)
}

// client reaches the estate with a token, "" for none.
func (c estateContext) client(token string) (*client.Client, error) {
	options := client.Options{Endpoints: c.Endpoints, Token: token, Timeout: c.timeout, Attempt: min(patience, c.timeout)}
	dialer := &net.Dialer{Timeout: 2 * time.Second}
	if c.Hosts != "" {
		table, err := hosts.Load(c.Hosts)
		if err != nil {
			return nil, err
		}
		dialer.Resolver = table.Resolver()
	}
	options.Dial = dialer.DialContext
	if c.CA != "" {
		trusted, err := pki.Files{CA: c.CA}.ClientTLS()
		if err != nil {
			return nil, errs.New(errs.Invalid, "cannot use the authority %s: %w", c.CA, err)
		}
		options.TLS = trusted
	}
	return client.New(options)
}

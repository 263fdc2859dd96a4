package api

import (
	"context"
	"net/url"

	"perdure/internal/errs"
	"perdure/internal/person"
	"perdure/internal/wire"
)

// SignOn signs people on by a provider.
type SignOn interface {
	Info(ctx context.Context) (wire.SignOnInfo, error)
	// Redeem redeems a code and gives whose it is.
	Redeem(ctx context.Context, ask wire.SignOn) (person.Identity, error)
	Device(ctx context.Context) (wire.DeviceStart, error)
	// Await waits a while for the confirmation on another device; Conflict: not yet.
	Await(ctx context.Context, ask wire.DeviceWait) (person.Identity, error)
	Issuer() string
}

// provider gives the provider of single sign-on, where there is one.
func (s *Server) provider() (SignOn, error) {
	if s.d.SignOn == nil {
		return nil, errs.New(errs.NotFound, "this node has no single sign-on (oidc in its configuration): log in as a local user, perdure login --user NAME")
	}
	return s.d.SignOn, nil
}

func (s *Server) signOnInfo(ctx context.Context, _ *struct{}) (*body[wire.SignOnInfo], error) {
	p, err := s.provider()
	if err != nil {
		return nil, err
	}
	return answer(p.Info(ctx))
}

func (s *Server) signOn(ctx context.Context, in *struct{ Body wire.SignOn }) (*body[wire.NewSession], error) {
	p, err := s.provider()
	if err != nil {
		return nil, err
	}
	if err := loopback(in.Body.Redirect); err != nil {
		return nil, err
	}
	from := addressOf(ctx)
	ctx, cancel, err := tryingOf(ctx, &s.signOns)
	if err != nil {
		return nil, err
	}
	defer cancel()
	id, err := p.Redeem(ctx, in.Body)
	return s.signedOn(ctx, id, err, from)
}

// signedOn opens the session of whom the provider named; what it refused is in the audit log.
func (s *Server) signedOn(ctx context.Context, id person.Identity, err error, from string) (*body[wire.NewSession], error) {
	switch kind := errs.KindOf(err); {
	case kind == errs.Unauthorised || kind == errs.Forbidden:
		if noted := s.d.Store.Note(ctx, "node:"+s.o.Node, "login.failed", "", map[string]string{"from": from, "reason": err.Error()}); noted != nil {
			s.d.Logger.Warn("a sign-on that was refused is not in the audit log", "err", noted)
		}
		return nil, err
	case err != nil:
		return nil, err
	}
	return answer(s.d.Store.SignOn(ctx, id, from))
}

// loopback refuses a redirection to anywhere but the machine of who signs on (RFC 8252, section 7.3).
func loopback(redirect string) error {
	u, err := url.Parse(redirect)
	if err != nil || u.Scheme != "http" || u.Hostname() != "127.0.0.1" && u.Hostname() != "::1" || u.User != nil {
		return errs.New(errs.Invalid, "redirect %q is no loopback address such as http://127.0.0.1:49152/callback", redirect)
	}
	return nil
}

func (s *Server) beginDevice(ctx context.Context, _ *struct{}) (*body[wire.DeviceStart], error) {
	p, err := s.provider()
	if err != nil {
		return nil, err
	}
	ctx, cancel, err := tryingOf(ctx, &s.signOns)
	if err != nil {
		return nil, err
	}
	defer cancel()
	return answer(p.Device(ctx))
}

// awaitDevice takes longer than another try, and has the time between two questions of the provider to itself: it is not paced.
func (s *Server) awaitDevice(ctx context.Context, in *struct{ Body wire.DeviceWait }) (*body[wire.NewSession], error) {
	p, err := s.provider()
	if err != nil {
		return nil, err
	}
	id, err := p.Await(ctx, in.Body)
	return s.signedOn(ctx, id, err, addressOf(ctx))
}

func (s *Server) stepUp(ctx context.Context, in *struct{ Body wire.StepUp }) (*body[wire.Session], error) {
	id, err := inSession(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel, err := s.trying(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	return answer(s.d.Store.StepUp(ctx, id.Session, id.Person, in.Body, addressOf(ctx)))
}

func (s *Server) linkUser(ctx context.Context, in *struct {
	User string `path:"user"`
	Body struct {
		Subject string `json:"subject" doc:"the claim sub of the provider's tokens"`
	}
},
) (*body[wire.User], error) {
	p, err := s.provider()
	if err != nil {
		return nil, err
	}
	return answer(s.d.Store.LinkUser(ctx, who(ctx).Name, in.User, p.Issuer(), in.Body.Subject))
}

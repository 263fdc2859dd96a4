package api

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"perdure/internal/ballot"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/person"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// PeopleStore is what the API needs of the store about people.
type PeopleStore interface {
	Login(ctx context.Context, l wire.Login, from string) (wire.NewSession, error)
	// SignOn opens a session of whom a provider has identified.
	SignOn(ctx context.Context, id person.Identity, from string) (wire.NewSession, error)
	// StepUp notes in a session that its person has shown a second factor here.
	StepUp(ctx context.Context, session, name string, ask wire.StepUp, from string) (wire.Session, error)
	LinkUser(ctx context.Context, who, name, issuer, subject string) (wire.User, error)
	Sessions(ctx context.Context, r wire.Read) ([]wire.Session, error)
	// EndSession ends a session; owner limits it to that person's own, "" does not.
	EndSession(ctx context.Context, who, owner, id string) error
	ChangePassword(ctx context.Context, name string, ask wire.NewPassword, from string) error
	SetFactor(ctx context.Context, name string, ask wire.NewFactor, from string) ([]string, error)
	Users(ctx context.Context, r wire.Read) ([]wire.User, error)
	AddUser(ctx context.Context, who string, ask wire.NewUser) (wire.User, error)
	ResetPassword(ctx context.Context, who, name, password string) (wire.User, error)
	SetUserRoles(ctx context.Context, who, name string, roles []wire.Role) (wire.User, error)
	SetUserParticipant(ctx context.Context, who, name, participant string) (wire.User, error)
	// AddKey adds a key that a person signs with; factor is when they had shown the second factor in the session.
	AddKey(ctx context.Context, name string, ask wire.NewSigningKey, factor int64) (wire.SigningKey, error)
	RevokeKey(ctx context.Context, who, name, id string) (wire.SigningKey, error)
	// SignerOf gives whose a key is that counts.
	SignerOf(ctx context.Context, id ballot.KeyID) (wire.User, wire.SigningKey, error)
	LockUser(ctx context.Context, who, name string) (wire.User, error)
	UnlockUser(ctx context.Context, who, name string) (wire.User, error)
	RemoveUser(ctx context.Context, who, name string) (wire.User, error)
	// Person reports whether somebody of that name may act on what is a tenant's; "": on what is the platform's own.
	Person(ctx context.Context, name string, tenant estate.TenantID) (bool, error)
	Policy(ctx context.Context, r wire.Read) (wire.Policy, error)
	SetPolicy(ctx context.Context, who string, p wire.Policy) (wire.Policy, error)
}

// Bounds of what is tried with a password: the time of one try, how many an address has at once, how long one of them takes to come back,
// and how many addresses are told apart.
const (
	loginLimit     = 10 * time.Second
	loginBurst     = 10
	loginInterval  = 3 * time.Second
	mostAddresses  = 4096
	otherAddresses = "others"
)

// pace bounds how often an address tries. Beyond mostAddresses they share one pace.
type pace struct {
	mu   sync.Mutex
	free map[string]time.Time // when an address has all its tries again
}

// take counts a try; wait is how long the address has to wait where it has none left.
func (p *pace) take(address string, now time.Time) (wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free == nil {
		p.free = map[string]time.Time{}
	}
	if _, known := p.free[address]; !known && len(p.free) >= mostAddresses {
		for a, free := range p.free {
			if !free.After(now) {
				delete(p.free, a)
			}
		}
		if len(p.free) >= mostAddresses {
			address = otherAddresses
		}
	}
	free := p.free[address]
	if free.Before(now) {
		free = now
	}
	if wait = free.Sub(now) - (loginBurst-1)*loginInterval; wait > 0 {
		return wait
	}
	p.free[address] = free.Add(loginInterval)
	return 0
}

// trying bounds a try with a password.
func (s *Server) trying(ctx context.Context) (context.Context, context.CancelFunc, error) {
	return tryingOf(ctx, &s.logins)
}

func tryingOf(ctx context.Context, p *pace) (context.Context, context.CancelFunc, error) {
	if wait := p.take(addressOf(ctx), time.Now()); wait > 0 {
		return nil, nil, errs.New(errs.Refused, "too many tries come from %s: wait %s", addressOf(ctx), wait.Round(time.Second)+time.Second)
	}
	ctx, cancel := context.WithTimeout(ctx, loginLimit)
	return ctx, cancel, nil
}

func (s *Server) login(ctx context.Context, in *struct{ Body wire.Login }) (*body[wire.NewSession], error) {
	from := addressOf(ctx)
	ctx, cancel, err := s.trying(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	return answer(s.d.Store.Login(ctx, in.Body, from))
}

// inSession refuses tokens: what a login began only a login changes.
func inSession(ctx context.Context) (identity, error) {
	id := who(ctx)
	if id.Session == "" {
		return id, errs.New(errs.Refused, "%s shows a token and has not logged in; perdure login", id.Name)
	}
	return id, nil
}

func (s *Server) logout(ctx context.Context, _ *struct{}) (*nothing, error) {
	id, err := inSession(ctx)
	if err != nil {
		return nil, err
	}
	return nil, s.d.Store.EndSession(ctx, id.Name, id.Person, id.Session)
}

func (s *Server) changePassword(ctx context.Context, in *struct{ Body wire.NewPassword }) (*nothing, error) {
	id, err := inSession(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel, err := s.trying(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	return nil, s.d.Store.ChangePassword(ctx, id.Person, in.Body, addressOf(ctx))
}

// recoveryCodes are shown once.
type recoveryCodes struct {
	Codes []string `json:"codes"`
}

func (s *Server) setFactor(ctx context.Context, in *struct{ Body wire.NewFactor }) (*body[recoveryCodes], error) {
	id, err := inSession(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel, err := s.trying(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	codes, err := s.d.Store.SetFactor(ctx, id.Person, in.Body, addressOf(ctx))
	return answer(recoveryCodes{codes}, err)
}

func (s *Server) listSessions(ctx context.Context, in *struct {
	Paging
	Freshness
},
) (*page[wire.Session], error) {
	id := who(ctx)
	sessions, err := s.d.Store.Sessions(ctx, in.Read)
	if err != nil {
		return nil, err
	}
	if !id.has(Admin) {
		sessions = slices.DeleteFunc(sessions, func(x wire.Session) bool { return x.User != id.Person })
	}
	return pageOf(ctx, in.Paging, sessions, func(x wire.Session) place { return place{x.Created, x.ID} })
}

func (s *Server) endSession(ctx context.Context, in *struct {
	ID string `path:"id"`
},
) (*nothing, error) {
	id := who(ctx)
	owner := id.Person
	if id.has(Admin) {
		owner = ""
	}
	return nil, s.d.Store.EndSession(ctx, id.Name, owner, in.ID)
}

func (s *Server) listUsers(ctx context.Context, in *struct {
	Paging
	Freshness
},
) (*page[wire.User], error) {
	users, err := s.d.Store.Users(ctx, in.Read)
	if err != nil {
		return nil, err
	}
	return pageOf(ctx, in.Paging, users, func(u wire.User) place { return place{0, u.Name} })
}

func (s *Server) addUser(ctx context.Context, in *struct{ Body wire.NewUser }) (*body[wire.User], error) {
	if err := s.mayBelong(ctx, in.Body.Name, in.Body.Participant, in.Body.Tenant); err != nil {
		return nil, err
	}
	return answer(s.d.Store.AddUser(ctx, who(ctx).Name, in.Body))
}

type userInput struct {
	User string `path:"user"`
}

func (s *Server) resetPassword(ctx context.Context, in *struct {
	User string `path:"user"`
	Body struct {
		Password string `json:"password"`
	}
},
) (*body[wire.User], error) {
	return answer(s.d.Store.ResetPassword(ctx, who(ctx).Name, in.User, in.Body.Password))
}

func (s *Server) setUserRoles(ctx context.Context, in *struct {
	User string `path:"user"`
	Body struct {
		Roles []wire.Role `json:"roles"`
	}
},
) (*body[wire.User], error) {
	return answer(s.d.Store.SetUserRoles(ctx, who(ctx).Name, in.User, in.Body.Roles))
}

func (s *Server) setUserParticipant(ctx context.Context, in *struct {
	User string `path:"user"`
	Body struct {
		Participant string `json:"participant" doc:"participant of the manifest; empty: none"`
	}
},
) (*body[wire.User], error) {
	users, err := s.d.Store.Users(ctx, wire.Fresh)
	if err != nil {
		return nil, err
	}
	var tenant estate.TenantID // of who is nobody the store says so
	if i := slices.IndexFunc(users, func(u wire.User) bool { return u.Name == in.User }); i >= 0 {
		tenant = users[i].Tenant
	}
	if err := s.mayBelong(ctx, in.User, in.Body.Participant, tenant); err != nil {
		return nil, err
	}
	return answer(s.d.Store.SetUserParticipant(ctx, who(ctx).Name, in.User, in.Body.Participant))
}

func (s *Server) lockUser(ctx context.Context, in *userInput) (*body[wire.User], error) {
	return answer(s.d.Store.LockUser(ctx, who(ctx).Name, in.User))
}

func (s *Server) unlockUser(ctx context.Context, in *userInput) (*body[wire.User], error) {
	return answer(s.d.Store.UnlockUser(ctx, who(ctx).Name, in.User))
}

func (s *Server) removeUser(ctx context.Context, in *userInput) (*body[wire.User], error) {
	return answer(s.d.Store.RemoveUser(ctx, who(ctx).Name, in.User))
}

func (s *Server) getPolicy(ctx context.Context, in *struct{ Freshness }) (*body[wire.Policy], error) {
	return answer(s.d.Store.Policy(ctx, in.Read))
}

func (s *Server) setPolicy(ctx context.Context, in *struct {
	Body wire.PolicyChange
},
) (*body[wire.Policy], error) {
	p, err := s.d.Store.Policy(ctx, wire.Fresh)
	if err != nil {
		return nil, err
	}
	if in.Body.SecondFactor != "" {
		p.SecondFactor = in.Body.SecondFactor
	}
	if in.Body.Signatures != nil {
		p.Signatures = *in.Body.Signatures
	}
	if d := in.Body.RetentionDays; d != nil {
		if p.RetentionDays = d; *d < 0 {
			p.RetentionDays = nil
		}
	}
	return answer(s.d.Store.SetPolicy(ctx, who(ctx).Name, p))
}

// notesLast is for how long after a run its notes are in inboxes.
const notesLast = 7 * 24 * time.Hour

func (s *Server) inbox(ctx context.Context, in *struct{ Paging }) (*page[wire.InboxItem], error) {
	id := who(ctx)
	runs, err := s.d.Store.Runs(ctx, wire.Fresh)
	if err != nil {
		return nil, err
	}
	var items []wire.InboxItem
	if id.has(Viewer) {
		if items, err = s.incidentsFor(ctx, id); err != nil {
			return nil, err
		}
		more, err := s.rectificationsFor(ctx, id)
		if err != nil {
			return nil, err
		}
		items = append(append(items, more...), s.windowsFor(ctx, id)...)
	}
	desk := s.desk(ctx)
	for _, head := range runs {
		over := head.Phase == run.Over
		noted := head.Noted && (!over || time.Since(time.UnixMilli(head.FinishedAt)) < notesLast)
		if len(head.Asked) == 0 && (!head.ReviewDue || !over) && !noted {
			continue
		}
		_, r, err := s.replay(ctx, head.ID)
		if err != nil {
			return nil, err
		}
		item := wire.InboxItem{Run: head.ID, Mode: head.Mode, Tabletop: head.Tabletop}
		if id.has(Viewer) { // whoever only takes part sees of a run no more than what it asks of them
			item.Plan = head.Plan
		}
		for _, item.Ask = range r.WaitsFor(desk.person(id, head)) {
			item.Shown = r.ShownBefore(item.Step)
			items = append(items, item)
		}
	}
	return pageOf(ctx, in.Paging, items, func(i wire.InboxItem) place { // the oldest first
		return place{-i.Since.UnixMilli(), strings.Join([]string{i.Run, i.Incident, i.Window, i.Step, string(i.Why), i.For}, "/")}
	})
}

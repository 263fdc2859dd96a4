package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/person"
	"perdure/internal/wire"
)

// subjectOf is who somebody of a provider is here. It is never undone: a subject is one person for ever.
type subjectOf struct {
	User string `json:"user"`
	wire.Subject
}

// subjectKey is the place of a subject: issuer and subject together, and nothing else, say who it is.
func subjectKey(issuer, subject string) string {
	sum := sha256.Sum256([]byte(issuer + "\x00" + subject))
	return subjectsPrefix + hex.EncodeToString(sum[:])
}

// SignOn opens a session of whom a provider has identified. Their roles are what its groups give now, within the limit that is set here. Who was never here
// becomes a user, if nobody has the name. from is the address of who signs on. Errors: Forbidden (no role, locked), Conflict (the name is taken).
func (s *Store) SignOn(ctx context.Context, id person.Identity, from string) (wire.NewSession, error) {
	var roles []wire.Role
	for _, r := range id.Roles {
		roles = append(roles, wire.Role(r))
	}
	if err := checkRoles(roles); err != nil {
		return wire.NewSession{}, err
	}
	for range proveTries {
		u, conditions, writes, err := s.signing(ctx, id)
		if err != nil {
			return wire.NewSession{}, err
		}
		if u.Created == 0 {
			u.Tenant = estate.TenantID(id.Tenant)
			if err := s.mayHave(ctx, u.Name, u.Tenant); err != nil {
				return wire.NewSession{}, err
			}
		}
		if id.OfTenant && id.Tenant != string(u.Tenant) {
			return wire.NewSession{}, errs.New(errs.Forbidden, "%s is %s here, and the provider says %s: a person is of one for ever; whoever changes is another user", u.Name, u.Tenant.Whose(), estate.TenantID(id.Tenant).Whose())
		}
		before := u.Roles
		u.Subject = &wire.Subject{Issuer: id.Issuer, Subject: id.Subject, Roles: roles, At: s.now()}
		u.Roles = limited(u, roles)
		if !slices.Equal(before, u.Roles) {
			event, err := s.event(0, wire.Event{Who: "oidc:" + id.Issuer, What: "user.roles", Subject: u.Name}, u.shown())
			if err != nil {
				return wire.NewSession{}, err
			}
			writes = append(writes, event)
		}
		var out wire.NewSession
		refused := mayNot(u)
		if refused == nil {
			var opened []clientv3.Op
			if out, opened, err = s.open(ctx, u, wire.Session{From: from, Issuer: id.Issuer}, id.Factor); err != nil {
				return out, err
			}
			writes = append(writes, opened...)
		} else {
			if len(u.Roles) == 0 && len(before) > 0 {
				u.Stamp = randomHex(8) // their sessions end
			}
			event, err := s.event(0, wire.Event{Who: "node:" + s.o.Node, What: "login.failed", Subject: u.Name}, map[string]string{"issuer": id.Issuer, "subject": id.Subject, "from": from})
			if err != nil {
				return out, err
			}
			writes = append(writes, event)
		}
		if refused == nil || u.Created != 0 { // of who was never here, and may nothing, no user is made
			write, err := put(usersPrefix+u.Name, madeBy(u, id.Issuer, s.now()))
			if err != nil {
				return out, err
			}
			writes = append(writes, write)
		} else {
			writes = writes[len(writes)-1:]
		}
		_, ok, err := s.commit(ctx, "sign on", conditions, writes)
		switch {
		case err != nil:
			return wire.NewSession{}, err
		case ok && refused != nil:
			return wire.NewSession{}, refused
		case ok:
			return out, nil
		}
	}
	return wire.NewSession{}, errs.New(errs.Conflict, "somebody else signs on as the same person at the same time; try again")
}

// limited are the roles that somebody has of those that their groups give.
func limited(u storedUser, roles []wire.Role) []wire.Role {
	roles = slices.Clone(roles)
	if u.Participant == "" {
		roles = slices.DeleteFunc(roles, func(r wire.Role) bool { return r == wire.Participant })
	}
	if u.Tenant != "" { // T4
		roles = slices.DeleteFunc(roles, func(r wire.Role) bool { return r == wire.Admin })
	}
	if len(u.Limit) > 0 {
		return wire.Narrowed(roles, u.Limit)
	}
	return roles
}

// mayNot says why somebody is not let in, nil: they are.
func mayNot(u storedUser) error {
	switch {
	case !u.Active():
		return errs.New(errs.Forbidden, "%s is locked or was removed: ask an administrator (perdure user unlock)", u.Name)
	case len(u.Roles) == 0:
		return errs.New(errs.Forbidden, "none of the groups of %s gives a role here: ask whoever keeps the groups, or an administrator (oidc.roles, perdure user roles)", u.Name)
	}
	return nil
}

func madeBy(u storedUser, issuer string, now int64) storedUser {
	if u.Created == 0 {
		u.Created, u.CreatedBy = now, "oidc:"+issuer
	}
	return u
}

// signing finds who a subject is here; who is nobody yet is made, on the condition that nobody is called so.
func (s *Store) signing(ctx context.Context, id person.Identity) (u storedUser, conditions []clientv3.Cmp, writes []clientv3.Op, err error) {
	key := subjectKey(id.Issuer, id.Subject)
	e, _, err := s.get(ctx, key, wire.Fresh)
	if err != nil {
		return u, nil, nil, err
	}
	conditions = []clientv3.Cmp{unchanged(key, e.modified)}
	if e.modified != 0 {
		whose, err := decode[subjectOf](e)
		if err != nil {
			return u, nil, nil, err
		}
		u, revision, err := s.user(ctx, whose.User)
		return u, append(conditions, unchanged(usersPrefix+whose.User, revision)), nil, err
	}
	if err := checkName("user", id.Name); err != nil {
		return u, nil, nil, errs.New(errs.Forbidden, "the provider calls you %.80q, which cannot be the name of a user: an administrator adds one and links it (perdure user link)", id.Name)
	}
	if strings.Contains(id.Name, ":") || slices.Contains(wire.Roles(), wire.Role(id.Name)) {
		return u, nil, nil, errs.New(errs.Forbidden, "the provider calls you %q, which cannot be the name of a user: an administrator adds one and links it (perdure user link)", id.Name)
	}
	have, _, err := s.get(ctx, usersPrefix+id.Name, wire.Fresh)
	if err != nil {
		return u, nil, nil, err
	}
	if have.modified != 0 {
		return u, nil, nil, errs.New(errs.Conflict, "there is a user %s here, or was one, and nobody has said that it is you: an administrator does (perdure user link %s --subject %s)", id.Name, id.Name, id.Subject)
	}
	u = storedUser{User: wire.User{Name: id.Name}, Stamp: randomHex(8)}
	link, err := put(key, subjectOf{User: id.Name, Subject: wire.Subject{Issuer: id.Issuer, Subject: id.Subject}})
	if err != nil {
		return u, nil, nil, err
	}
	event, err := s.event(0, wire.Event{Who: "oidc:" + id.Issuer, What: "user.add", Subject: id.Name}, map[string]string{"issuer": id.Issuer, "subject": id.Subject})
	return u, append(conditions, unchanged(usersPrefix+id.Name, 0)), []clientv3.Op{link, event}, err
}

// LinkUser says who a user is for a provider, on an administrator's word. Their roles are what its groups give from the next sign-on on, within those
// that they have now. It is not undone.
func (s *Store) LinkUser(ctx context.Context, who, name, issuer, subject string) (wire.User, error) {
	if subject == "" || len(subject) > 255 || containsControl(subject) {
		return wire.User{}, errs.New(errs.Invalid, "a subject of a provider is 1 to 255 characters: the claim sub of its tokens")
	}
	u, revision, err := s.user(ctx, name)
	if err != nil {
		return wire.User{}, err
	}
	switch {
	case !u.Active():
		return wire.User{}, errs.New(errs.Conflict, "user %s is locked or was removed", name)
	case u.Subject != nil:
		return wire.User{}, errs.New(errs.Conflict, "user %s is %s of %s already, for ever", name, u.Subject.Subject, u.Subject.Issuer)
	}
	u.Subject = &wire.Subject{Issuer: issuer, Subject: subject, Roles: u.Roles}
	u.Limit = u.Roles
	key := subjectKey(issuer, subject)
	link, err := put(key, subjectOf{User: name, Subject: *u.Subject})
	if err != nil {
		return wire.User{}, err
	}
	write, err := put(usersPrefix+name, u)
	if err != nil {
		return wire.User{}, err
	}
	event, err := s.event(revision, wire.Event{Who: who, What: "user.link", Subject: name}, u.shown())
	if err != nil {
		return wire.User{}, err
	}
	_, ok, err := s.commit(ctx, "link user "+name, []clientv3.Cmp{unchanged(key, 0), unchanged(usersPrefix+name, revision)}, []clientv3.Op{link, write, event})
	if err == nil && !ok {
		err = errs.New(errs.Conflict, "%s of %s is another user already, or user %s changed meanwhile", subject, issuer, name)
	}
	return u.shown(), err
}

// StepUp notes in a session that its person has shown their password and the code of their second factor here.
func (s *Store) StepUp(ctx context.Context, session, name string, ask wire.StepUp, from string) (wire.Session, error) {
	var out wire.Session
	err := s.prove(ctx, wire.Login{User: name, Password: ask.Password, Code: ask.Code}, from, "session.factor", func(p *proven) ([]clientv3.Op, error) {
		if !p.factor {
			return nil, errs.New(errs.Refused, "%s has no second factor here: enrol one (perdure user totp)", name)
		}
		e, _, err := s.get(ctx, sessionsPrefix+session, wire.Fresh)
		if err != nil {
			return nil, err
		}
		if e.modified == 0 {
			return nil, errs.New(errs.Unauthorised, "the session has ended: perdure login")
		}
		x, err := decode[storedSession](e)
		if err != nil {
			return nil, err
		}
		x.Factor = s.now()
		out, p.also = x.Session, []clientv3.Cmp{unchanged(e.key, e.modified)}
		write, err := put(e.key, x, clientv3.WithLease(e.lease))
		if err != nil {
			return nil, err
		}
		event, err := s.event(e.modified, wire.Event{Who: "person:" + name, What: "session.factor", Subject: session}, x.Session)
		return []clientv3.Op{write, event}, err
	})
	return out, err
}

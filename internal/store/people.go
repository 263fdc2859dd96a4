package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/person"
	"perdure/internal/wire"
)

// Bounds of what passwords take of a node.
const (
	hashesAtATime = 2
	proveTries    = 8 // how often a try is judged anew after another try of the same name came between
)

// storedUser is a person as the store keeps them. Times are Unix milliseconds.
type storedUser struct {
	wire.User
	Hash string `json:"hash"` // person.Hash
	// Stamp changes with whatever ends all sessions of the person: each has that of its beginning.
	Stamp string `json:"stamp"`
	// Sealed is the secret of the second factor (P3), Step the last step of time of which a code was taken (P2), Codes the hashes of recovery codes.
	Sealed []byte   `json:"sealed,omitempty"`
	Step   int64    `json:"step,omitempty"`
	Codes  []string `json:"codes,omitempty"`
}

func (u storedUser) shown() wire.User {
	u.User.Recovery = len(u.Codes)
	return u.User
}

// withoutFactor takes the second factor off.
func (u *storedUser) withoutFactor() { u.Factor, u.Sealed, u.Step, u.Codes = 0, nil, 0, nil }

func checkRoles(roles []wire.Role) error {
	for _, r := range roles {
		if !slices.Contains(wire.Roles(), r) {
			return errs.New(errs.Invalid, "role %q is not one of participant, viewer, driller, operator, commander, auditor, admin", r)
		}
	}
	return nil
}

func checkUser(name string, roles []wire.Role, participant string, tenant estate.TenantID) error {
	if err := checkName("user", name); err != nil {
		return err
	}
	if strings.Contains(name, ":") || slices.Contains(wire.Roles(), wire.Role(name)) {
		return errs.New(errs.Invalid, "user %q: a name has no ':' and is not that of a role", name)
	}
	if len(roles) == 0 {
		return errs.New(errs.Invalid, "user %s: give at least one role", name)
	}
	if err := checkRoles(roles); err != nil {
		return err
	}
	if err := checkTenant(name, roles, tenant); err != nil {
		return err
	}
	return checkParticipant(name, roles, participant)
}

// checkTenant: what administrators may is for the whole platform (T4).
func checkTenant(name string, roles []wire.Role, tenant estate.TenantID) error {
	if tenant == "" {
		return nil
	}
	if slices.Contains(roles, wire.Admin) {
		return errs.New(errs.Invalid, "%s: nobody of a tenant has role admin: what administrators may is for the whole platform", name)
	}
	return checkName("tenant", string(tenant))
}

// mayHave refuses a name that somebody of another tenant has, or of none, and one that differs from another one by its case alone: who acts under one
// name is one person, and has one voice.
func (s *Store) mayHave(ctx context.Context, name string, tenant estate.TenantID) error {
	users, err := s.Users(ctx, wire.Fresh)
	if err != nil {
		return err
	}
	tokens, err := s.Tokens(ctx, wire.Fresh)
	if err != nil {
		return err
	}
	for _, u := range users {
		switch {
		case u.Name == name && u.Tenant != tenant:
			return errs.New(errs.Conflict, "user %s is %s, and nobody else gets the name", name, u.Tenant.Whose())
		case u.Name != name && strings.EqualFold(u.Name, name):
			return errs.New(errs.Conflict, "there is a user %s, or was one: nobody else gets a name that differs by its case alone", u.Name)
		}
	}
	for _, t := range tokens {
		switch {
		case t.Name == name && t.Tenant != tenant:
			return errs.New(errs.Conflict, "token %s of %s is of somebody who is %s, and nobody else gets the name", t.ID, name, t.Tenant.Whose())
		case t.Name != name && strings.EqualFold(t.Name, name):
			return errs.New(errs.Conflict, "token %s is of %s: nobody else gets a name that differs by its case alone", t.ID, t.Name)
		}
	}
	return nil
}

// checkParticipant refuses who could see the tasks of nobody, or of a role.
func checkParticipant(name string, roles []wire.Role, participant string) error {
	if participant == "" {
		if slices.Contains(roles, wire.Participant) {
			return errs.New(errs.Invalid, "%s: whoever has role participant belongs to a participant: name it", name)
		}
		return nil
	}
	if slices.Contains(wire.Roles(), wire.Role(participant)) {
		return errs.New(errs.Invalid, "%s: %q is a role, and no participant", name, participant)
	}
	return checkName("participant", participant)
}

// keys hashes a password, at most so many at a time; it waits for its turn as long as ctx does.
func (s *Store) keys(ctx context.Context, password string, salt []byte, c person.Cost) (person.Keys, error) {
	select {
	case s.hashing <- struct{}{}:
		defer func() { <-s.hashing }()
		return s.derive(password, salt, c), nil
	case <-ctx.Done():
		return person.Keys{}, errs.New(errs.Unavailable, "too many people log in at this node now; try again")
	}
}

// newHash makes what is kept of a password.
func (s *Store) newHash(ctx context.Context, name, password string) (string, person.Keys, error) {
	if err := person.CheckPassword(name, password); err != nil {
		return "", person.Keys{}, err
	}
	salt := make([]byte, person.SaltSize)
	_, _ = rand.Read(salt) // the system's source of randomness does not fail
	k, err := s.keys(ctx, password, salt, s.o.Cost)
	return person.Hash{Cost: s.o.Cost, Salt: salt, Proof: k.Proof}.String(), k, err
}

// AddUser keeps a new person. A name is given once for ever: it stands in journals.
func (s *Store) AddUser(ctx context.Context, who string, ask wire.NewUser) (wire.User, error) {
	name := ask.Name
	if err := checkUser(name, ask.Roles, ask.Participant, ask.Tenant); err != nil {
		return wire.User{}, err
	}
	if err := s.mayHave(ctx, name, ask.Tenant); err != nil {
		return wire.User{}, err
	}
	h, _, err := s.newHash(ctx, name, ask.Password)
	if err != nil {
		return wire.User{}, err
	}
	u := storedUser{User: wire.User{Name: name, Roles: ask.Roles, Participant: ask.Participant, Tenant: ask.Tenant, Created: s.now(), CreatedBy: who, Password: s.now()}, Hash: h, Stamp: randomHex(8)}
	ok, err := s.writeUser(ctx, who, "user.add", u, 0)
	if err == nil && !ok {
		err = errs.New(errs.Conflict, "there is a user %s already, or was one: a name is never given to another person", name)
	}
	return u.shown(), err
}

// writeUser writes on the condition that the user is at the revision.
func (s *Store) writeUser(ctx context.Context, who, what string, u storedUser, revision int64, more ...clientv3.Op) (bool, error) {
	write, err := put(usersPrefix+u.Name, u)
	if err != nil {
		return false, err
	}
	event, err := s.event(revision, wire.Event{Who: who, What: what, Subject: u.Name}, u.shown())
	if err != nil {
		return false, err
	}
	_, ok, err := s.commit(ctx, "write user "+u.Name, []clientv3.Cmp{unchanged(usersPrefix+u.Name, revision)}, append(more, write, event))
	return ok, err
}

func (s *Store) user(ctx context.Context, name string) (storedUser, int64, error) {
	if err := checkName("user", name); err != nil {
		return storedUser{}, 0, err
	}
	e, _, err := s.get(ctx, usersPrefix+name, wire.Fresh)
	if err != nil {
		return storedUser{}, 0, err
	}
	if e.modified == 0 {
		return storedUser{}, 0, errs.New(errs.NotFound, "there is no user %q; `perdure user list` shows them", name)
	}
	u, err := decode[storedUser](e)
	return u, e.modified, err
}

// changeUser changes a person who is there, on an administrator's word.
func (s *Store) changeUser(ctx context.Context, who, what, name string, change func(*storedUser) error, more ...clientv3.Op) (wire.User, error) {
	u, revision, err := s.user(ctx, name)
	if err != nil {
		return wire.User{}, err
	}
	if u.Removed != 0 {
		return wire.User{}, errs.New(errs.Conflict, "user %s was removed by %s", name, u.RemovedBy)
	}
	if err := change(&u); err != nil {
		return wire.User{}, err
	}
	ok, err := s.writeUser(ctx, who, what, u, revision, more...)
	if err == nil && !ok {
		err = errs.New(errs.Conflict, "user %s changed meanwhile; look and decide again", name)
	}
	return u.shown(), err
}

// Users lists all people, those who were removed too, in the order of their names.
func (s *Store) Users(ctx context.Context, r wire.Read) ([]wire.User, error) {
	kept, err := listOf[storedUser](ctx, s, usersPrefix, r)
	if err != nil {
		return nil, err
	}
	entries, _, err := s.list(ctx, triesPrefix, r)
	if err != nil {
		return nil, err
	}
	waits := map[string]int64{}
	for _, e := range entries {
		tries, err := decode[person.Tries](e)
		if err != nil {
			return nil, err
		}
		if tries.Locked(s.o.Now()) {
			waits[strings.TrimPrefix(e.key, triesPrefix)] = tries.Until
		}
	}
	users := make([]wire.User, 0, len(kept))
	for _, u := range kept {
		u.Waits = waits[u.Name]
		users = append(users, u.shown())
	}
	return users, nil
}

// SetUserRoles gives other roles; they count from the person's next request. Those of who signs on by a provider are so limited.
func (s *Store) SetUserRoles(ctx context.Context, who, name string, roles []wire.Role) (wire.User, error) {
	return s.changeUser(ctx, who, "user.roles", name, func(u *storedUser) error {
		if u.Subject != nil { // what the provider gives is narrowed, and never widened
			u.Limit, u.Roles = roles, wire.Narrowed(u.Subject.Roles, roles)
			return checkUser(name, roles, u.Participant, u.Tenant)
		}
		u.Roles = roles
		return checkUser(name, roles, u.Participant, u.Tenant)
	})
}

// SetUserParticipant says to which participant a person belongs, from their next request; empty: to none.
func (s *Store) SetUserParticipant(ctx context.Context, who, name, participant string) (wire.User, error) {
	return s.changeUser(ctx, who, "user.participant", name, func(u *storedUser) error {
		u.Participant = participant
		return checkParticipant(name, u.Roles, participant)
	})
}

// ResetPassword sets a password on an administrator's word. The sessions of the person end, and so do their keys and the second factor: its secret
// was sealed with the password that nobody gave (P3).
func (s *Store) ResetPassword(ctx context.Context, who, name, password string) (wire.User, error) {
	h, _, err := s.newHash(ctx, name, password)
	if err != nil {
		return wire.User{}, err
	}
	return s.changeUser(ctx, who, "user.password", name, func(u *storedUser) error {
		u.Hash, u.Password, u.Stamp = h, s.now(), randomHex(8)
		u.withoutFactor()
		u.revokeKeys(who, s.now())
		return nil
	}, clientv3.OpDelete(Root+triesPrefix+name))
}

// LockUser keeps a person out and ends their sessions, until UnlockUser.
func (s *Store) LockUser(ctx context.Context, who, name string) (wire.User, error) {
	return s.changeUser(ctx, who, "user.lock", name, func(u *storedUser) error {
		u.Locked, u.LockedBy, u.Stamp = s.now(), who, randomHex(8)
		return nil
	})
}

// UnlockUser lets a person in again, and forgets wrong tries.
func (s *Store) UnlockUser(ctx context.Context, who, name string) (wire.User, error) {
	return s.changeUser(ctx, who, "user.unlock", name, func(u *storedUser) error {
		u.Locked, u.LockedBy = 0, ""
		return nil
	}, clientv3.OpDelete(Root+triesPrefix+name))
}

// RemoveUser ends a person for good. They stay listed.
func (s *Store) RemoveUser(ctx context.Context, who, name string) (wire.User, error) {
	return s.changeUser(ctx, who, "user.remove", name, func(u *storedUser) error {
		u.Removed, u.RemovedBy, u.Stamp, u.Hash = s.now(), who, randomHex(8), ""
		u.withoutFactor()
		u.revokeKeys(who, s.now())
		return nil
	}, clientv3.OpDelete(Root+triesPrefix+name))
}

// Person reports whether somebody of that name may act on what is a tenant's, "" for what is the platform's own: a user who is not locked, or whose name a
// token that counts bears, of the tenant or of the platform.
func (s *Store) Person(ctx context.Context, name string, tenant estate.TenantID) (bool, error) {
	theirs := func(of estate.TenantID) bool { return of == "" || of == tenant }
	u, _, err := s.user(ctx, name)
	switch kind := errs.KindOf(err); {
	case kind == errs.Invalid:
		return false, nil // nobody can be called that
	case err == nil && u.Active():
		return theirs(u.Tenant), nil
	case err != nil && kind != errs.NotFound:
		return false, err
	}
	tokens, err := s.Tokens(ctx, wire.Fresh)
	now := s.now()
	return slices.ContainsFunc(tokens, func(t wire.Token) bool { return t.Name == name && t.Good(now) && theirs(t.Tenant) }), err
}

// proven is a try that was right: the person, and the keys of their password.
type proven struct {
	user   storedUser
	keys   person.Keys
	secret []byte // of the second factor, nil: there is none
	factor bool   // it was given
	// also has to hold for what then gives to be written.
	also []clientv3.Cmp
}

// badLogin is the one answer to every try that does not count.
func badLogin() error {
	return errs.New(errs.Unauthorised, "the name, the password or the code of the second factor is wrong, or too many tries were: wait some minutes, or ask an administrator (perdure user unlock)")
}

// prove judges one try and, where it is right, writes what then gives together with the user as it left it. Every try takes the same way,
// whether there is such a user or not: the same reads, one hash, and one write unless the name waits after wrong tries. Tries of a name are one
// after the other over all nodes: who comes second is judged anew. from is the address of who tries.
func (s *Store) prove(ctx context.Context, l wire.Login, from, what string, then func(*proven) ([]clientv3.Op, error)) error {
	// Names that nobody has share their counters: there may be any number of them.
	sum := sha256.Sum256([]byte(l.User))
	nobody := "unknown:" + hex.EncodeToString(sum[:1])
	at := nobody
	if checkName("user", l.User) == nil && !strings.Contains(l.User, ":") {
		at = l.User
	}
	var hashed string
	var keys person.Keys
	for range proveTries {
		e, _, err := s.get(ctx, usersPrefix+at, wire.Fresh)
		if err != nil {
			return err
		}
		p := proven{user: storedUser{Hash: s.decoy(sum[:person.SaltSize])}}
		triesKey, subject := triesPrefix+nobody, ""
		if e.modified != 0 {
			u, err := decode[storedUser](e)
			if err != nil {
				return err
			}
			if triesKey, subject = triesPrefix+u.Name, u.Name; u.Removed == 0 && u.Hash != "" { // who signs on by a provider may have no password
				p.user = u
			}
		}
		tried, _, err := s.get(ctx, triesKey, wire.Fresh)
		if err != nil {
			return err
		}
		var tries person.Tries
		if tried.modified != 0 {
			if tries, err = decode[person.Tries](tried); err != nil {
				return err
			}
		}
		kept, err := person.ParseHash(p.user.Hash)
		if err != nil {
			return err
		}
		if hashed != p.user.Hash {
			if keys, err = s.keys(ctx, l.Password, kept.Salt, kept.Cost); err != nil {
				return err
			}
			hashed = p.user.Hash
		}
		now := s.o.Now()
		if tries.Locked(now) {
			return badLogin()
		}
		conditions := []clientv3.Cmp{unchanged(usersPrefix+at, e.modified), unchanged(triesKey, tried.modified)}
		p.keys = keys
		right := kept.Proves(keys) && p.user.Name != "" && p.user.Active()
		if right {
			right, err = s.checkFactor(&p, l.Code, now)
			if err != nil {
				return err
			}
		}
		var writes []clientv3.Op
		if right {
			writes, err = s.provenWrites(ctx, &p, kept.Cost, l.Password, triesKey, then)
			conditions = append(conditions, p.also...)
		} else {
			writes, err = s.triedWrites(triesKey, tries.Failed(now), e.modified, subject, what, from)
		}
		if err != nil {
			return err
		}
		under := ctx
		if !right { // a wrong try is not the change that was asked for
			under = apart(ctx)
		}
		_, ok, err := s.commit(under, "write a login", conditions, writes)
		switch {
		case err != nil:
			return err
		case ok && right:
			return nil
		case ok:
			return badLogin()
		}
	}
	return errs.New(errs.Conflict, "somebody else logs in with the same name at the same time; try again")
}

// decoy is what a password is compared with where nobody has the name: nothing proves it.
func (s *Store) decoy(salt []byte) string {
	return person.Hash{Cost: s.o.Cost, Salt: salt, Proof: make([]byte, 32)}.String()
}

// checkFactor judges the code of a person who has a second factor.
func (s *Store) checkFactor(p *proven, code string, now time.Time) (bool, error) {
	u := &p.user
	if u.Sealed == nil {
		return true, nil // a code that nobody asked for counts for nothing
	}
	secret, err := person.Open(p.keys, u.Name, u.Sealed)
	if err != nil {
		return false, err
	}
	p.secret, p.factor = secret, true
	if step, ok := person.CheckCode(secret, code, now, u.Step); ok {
		u.Step = step
		return true, nil
	}
	if i := slices.Index(u.Codes, person.RecoveryHash(code)); i >= 0 {
		u.Codes = slices.Delete(slices.Clone(u.Codes), i, i+1)
		return true, nil
	}
	return false, nil
}

// provenWrites are those of a try that was right. A hash of another cost than the present one is made anew.
func (s *Store) provenWrites(ctx context.Context, p *proven, cost person.Cost, password, triesKey string, then func(*proven) ([]clientv3.Op, error)) ([]clientv3.Op, error) {
	if cost != s.o.Cost {
		salt := make([]byte, person.SaltSize)
		_, _ = rand.Read(salt) // the system's source of randomness does not fail
		k, err := s.keys(ctx, password, salt, s.o.Cost)
		if err != nil {
			return nil, err
		}
		if err := p.reseal(person.Hash{Cost: s.o.Cost, Salt: salt, Proof: k.Proof}.String(), k); err != nil {
			return nil, err
		}
	}
	writes, err := then(p)
	if err != nil {
		return nil, err
	}
	write, err := put(usersPrefix+p.user.Name, p.user)
	if err != nil {
		return nil, err
	}
	return append(writes, write, clientv3.OpDelete(Root+triesKey)), nil
}

// reseal gives the person another hash, and the second factor the key that goes with it.
func (p *proven) reseal(hash string, k person.Keys) error {
	p.user.Hash, p.keys = hash, k
	if p.secret == nil {
		return nil
	}
	nonce := make([]byte, person.NonceSize)
	_, _ = rand.Read(nonce) // the system's source of randomness does not fail
	sealed, err := person.Seal(k, p.user.Name, p.secret, nonce)
	p.user.Sealed = sealed
	return err
}

// triedWrites are those of a wrong try. A name that nobody has is not written down: it may be a password.
func (s *Store) triedWrites(key string, tries person.Tries, base int64, subject, what, from string) ([]clientv3.Op, error) {
	write, err := put(key, tries)
	if err != nil {
		return nil, err
	}
	detail := map[string]any{"tries": tries.Count, "from": from}
	if tries.Until != 0 {
		detail["until"] = tries.Until
	}
	event, err := s.event(base, wire.Event{Who: "node:" + s.o.Node, What: what + ".failed", Subject: subject}, detail)
	return []clientv3.Op{write, event}, err
}

// ChangePassword sets a person's own password, and ends all their sessions.
func (s *Store) ChangePassword(ctx context.Context, name string, ask wire.NewPassword, from string) error {
	h, k, err := s.newHash(ctx, name, ask.New)
	if err != nil {
		return err
	}
	return s.prove(ctx, wire.Login{User: name, Password: ask.Password, Code: ask.Code}, from, "user.password", func(p *proven) ([]clientv3.Op, error) {
		if err := p.reseal(h, k); err != nil {
			return nil, err
		}
		p.user.Password, p.user.Stamp = s.now(), randomHex(8)
		event, err := s.event(p.user.Created, wire.Event{Who: "person:" + name, What: "user.password", Subject: name}, p.user.shown())
		return []clientv3.Op{event}, err
	})
}

// SetFactor enrols a person's second factor, or replaces it, and gives recovery codes that are shown nowhere else.
func (s *Store) SetFactor(ctx context.Context, name string, ask wire.NewFactor, from string) ([]string, error) {
	if len(ask.Secret) < person.SecretSize || len(ask.Secret) > 64 {
		return nil, errs.New(errs.Invalid, "the secret of a second factor has %d to 64 bytes", person.SecretSize)
	}
	step, ok := person.CheckCode(ask.Secret, ask.Present, s.o.Now(), 0)
	if !ok {
		return nil, errs.New(errs.Invalid, "the code is not that of the new secret: compare the clock of the app with this node's, and try again")
	}
	var codes []string
	err := s.prove(ctx, wire.Login{User: name, Password: ask.Password, Code: ask.Code}, from, "user.factor", func(p *proven) ([]clientv3.Op, error) {
		codes = nil
		p.user.withoutFactor()
		p.secret = ask.Secret
		if err := p.reseal(p.user.Hash, p.keys); err != nil {
			return nil, err
		}
		for range person.RecoveryCodes {
			var random [person.RecoverySize]byte
			_, _ = rand.Read(random[:]) // the system's source of randomness does not fail
			code := person.RecoveryCode(random)
			codes = append(codes, code)
			p.user.Codes = append(p.user.Codes, person.RecoveryHash(code))
		}
		p.user.Factor, p.user.Step, p.user.Stamp = s.now(), step, randomHex(8)
		event, err := s.event(p.user.Created, wire.Event{Who: "person:" + name, What: "user.factor", Subject: name}, p.user.shown())
		return []clientv3.Op{event}, err
	})
	return codes, err
}

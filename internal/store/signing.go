package store

import (
	"context"
	"slices"
	"unicode"
	"unicode/utf8"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/ballot"
	"perdure/internal/errs"
	"perdure/internal/wire"
)

// Bounds of the keys of one person: those that count, those that are listed, and the characters of a title.
const (
	mostKeys  = 4
	keptKeys  = 64
	mostTitle = 64
)

// signingOf is whose a key is.
type signingOf struct {
	User string `json:"user"`
}

// AddKey adds a key that a person signs decisions with, in a session in which they had shown their second factor at the time, 0: they had not.
func (s *Store) AddKey(ctx context.Context, name string, ask wire.NewSigningKey, factor int64) (wire.SigningKey, error) {
	public, err := ballot.ParsePublicKey(ask.Key)
	if err != nil {
		return wire.SigningKey{}, err
	}
	if public.Name != name {
		return wire.SigningKey{}, errs.New(errs.Invalid, "the key was made for %s, and %s is logged in: make one with perdure user key new --user %s", public.Name, name, name)
	}
	if !utf8.ValidString(ask.Title) || utf8.RuneCountInString(ask.Title) > mostTitle || containsControl(ask.Title) {
		return wire.SigningKey{}, errs.New(errs.Invalid, "the title of a key is a line of at most %d characters", mostTitle)
	}
	u, revision, err := s.user(ctx, name)
	if err != nil {
		return wire.SigningKey{}, err
	}
	if !u.Active() {
		return wire.SigningKey{}, errs.New(errs.Conflict, "user %s is locked or was removed", name)
	}
	if u.Factor != 0 && factor == 0 {
		return wire.SigningKey{}, errs.New(errs.Forbidden, "%s has a second factor, and this session has not shown it: log in again (perdure login)", name)
	}
	good := 0
	for _, k := range u.Keys {
		if k.Revoked == 0 {
			good++
		}
	}
	if good >= mostKeys || len(u.Keys) >= keptKeys {
		return wire.SigningKey{}, errs.New(errs.Refused, "%s has %d keys, %d of them count: at most %d count at a time, and %d are listed; perdure user key revoke", name, len(u.Keys), good, mostKeys, keptKeys)
	}
	id := ballot.IDOf(public.Key).String()
	k := wire.SigningKey{ID: id, Key: public.String(), Title: ask.Title, Added: s.now(), Factor: factor}
	u.Keys = append(slices.Clone(u.Keys), k)
	write, err := put(usersPrefix+name, u)
	if err != nil {
		return k, err
	}
	whose, err := put(signingPrefix+id, signingOf{name})
	if err != nil {
		return k, err
	}
	event, err := s.event(revision, wire.Event{Who: "person:" + name, What: "user.key.add", Subject: name}, k)
	if err != nil {
		return k, err
	}
	conditions := []clientv3.Cmp{unchanged(usersPrefix+name, revision), unchanged(signingPrefix+id, 0)}
	_, ok, err := s.commit(ctx, "add a key of "+name, conditions, []clientv3.Op{write, whose, event})
	if err == nil && !ok {
		err = errs.New(errs.Conflict, "there is a key %s already, or user %s changed meanwhile: a key is added once, and one that was revoked never again", id, name)
	}
	return k, err
}

func containsControl(text string) bool {
	return slices.ContainsFunc([]rune(text), unicode.IsControl)
}

// RevokeKey ends a key for good; what was decided with it stays decided. It stays listed.
func (s *Store) RevokeKey(ctx context.Context, who, name, id string) (wire.SigningKey, error) {
	parsed, err := ballot.ParseKeyID(id)
	if err != nil {
		return wire.SigningKey{}, err
	}
	var k wire.SigningKey
	u, revision, err := s.user(ctx, name)
	if err != nil {
		return k, err
	}
	u.Keys = slices.Clone(u.Keys)
	i := slices.IndexFunc(u.Keys, func(k wire.SigningKey) bool { return k.ID == parsed.String() })
	if i < 0 {
		return k, errs.New(errs.NotFound, "%s has no key %s; perdure user key list shows them", name, parsed)
	}
	if u.Keys[i].Revoked != 0 {
		return u.Keys[i], nil
	}
	u.Keys[i].Revoked, u.Keys[i].RevokedBy = s.now(), who
	ok, err := s.writeUser(ctx, who, "user.key.revoke", u, revision)
	if err == nil && !ok {
		err = errs.New(errs.Conflict, "user %s changed meanwhile; look and decide again", name)
	}
	return u.Keys[i], err
}

// SignerOf gives whose a key is. Errors: NotFound (nobody has added it), Refused (it was revoked, or its person may not act).
func (s *Store) SignerOf(ctx context.Context, id ballot.KeyID) (wire.User, wire.SigningKey, error) {
	var none wire.SigningKey
	unknown := errs.New(errs.NotFound, "nobody has added key %s: its person does so before it is needed, with perdure user key add", id)
	e, _, err := s.get(ctx, signingPrefix+id.String(), wire.Fresh)
	if err != nil {
		return wire.User{}, none, err
	}
	if e.modified == 0 {
		return wire.User{}, none, unknown
	}
	whose, err := decode[signingOf](e)
	if err != nil {
		return wire.User{}, none, err
	}
	u, _, err := s.user(ctx, whose.User)
	if err != nil {
		return wire.User{}, none, err
	}
	i := slices.IndexFunc(u.Keys, func(k wire.SigningKey) bool { return k.ID == id.String() })
	switch {
	case i < 0:
		return wire.User{}, none, unknown
	case u.Keys[i].Revoked != 0:
		return wire.User{}, none, errs.New(errs.Refused, "key %s of %s was revoked by %s: what it signs does not count; have another person decide (run delegate needs their word, run add-approver yours)", id, u.Name, u.Keys[i].RevokedBy)
	case !u.Active():
		return wire.User{}, none, errs.New(errs.Refused, "user %s is locked or was removed: what they sign does not count", u.Name)
	}
	return u.shown(), u.Keys[i], nil
}

// revokeKeys ends all keys of a person with their password: whoever had that could have added some.
func (u *storedUser) revokeKeys(who string, now int64) {
	u.Keys = slices.Clone(u.Keys)
	for i := range u.Keys {
		if u.Keys[i].Revoked == 0 {
			u.Keys[i].Revoked, u.Keys[i].RevokedBy = now, who
		}
	}
}

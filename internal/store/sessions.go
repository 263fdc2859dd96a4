package store

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/wire"
)

// sessionMark begins the ID of a session, so that its secret is told from a token's.
const sessionMark = "s-"

// How long a session lives, at most and unused; its use is written down once in so long.
const (
	sessionLife = 8 * time.Hour
	sessionIdle = 30 * time.Minute
	sessionNote = time.Minute
)

// storedSession is a session as the store keeps it: never the secret, only its hash, and the stamp of its user when it began.
type storedSession struct {
	wire.Session
	Hash  string `json:"hash"`
	Stamp string `json:"stamp"`
	// Incarnation is that of the store: a recovered or restored one does not know which sessions were ended since (I10).
	Incarnation estate.Incarnation `json:"incarnation"`
}

// good reports whether the session counts: its user and the store are as at its beginning, and it was used lately.
func (x storedSession) good(u storedUser, own wire.Incarnation, now int64) bool {
	return u.Active() && u.Stamp == x.Stamp && own.Incarnation == x.Incarnation && now < x.Expires && now-x.Seen < sessionIdle.Milliseconds()
}

// Login opens a session; its secret is in the answer and nowhere else. from is the address of who logs in.
func (s *Store) Login(ctx context.Context, l wire.Login, from string) (wire.NewSession, error) {
	var out wire.NewSession
	err := s.prove(ctx, l, from, "login", func(p *proven) ([]clientv3.Op, error) {
		var err error
		var writes []clientv3.Op
		out, writes, err = s.open(ctx, p.user, wire.Session{From: from}, p.factor)
		return writes, err
	})
	if err != nil {
		return wire.NewSession{}, err
	}
	return out, nil
}

// open makes a session of a person, and what has to be written for it.
func (s *Store) open(ctx context.Context, u storedUser, x wire.Session, factor bool) (wire.NewSession, []clientv3.Op, error) {
	lease, err := s.grant(ctx, sessionLife)
	if err != nil {
		return wire.NewSession{}, nil, err
	}
	own, err := s.Incarnation(ctx, wire.Fresh)
	if err != nil {
		return wire.NewSession{}, nil, err
	}
	now := s.now()
	x.ID, x.User, x.Created, x.Seen, x.Expires = sessionMark+randomHex(8), u.Name, now, now, now+sessionLife.Milliseconds()
	if factor {
		x.Factor = now
	}
	out := wire.NewSession{Session: x, Secret: newSecret(x.ID), Roles: u.Roles}
	write, err := put(sessionsPrefix+x.ID, storedSession{Session: x, Hash: hash(out.Secret), Stamp: u.Stamp, Incarnation: own.Incarnation}, clientv3.WithLease(lease))
	if err != nil {
		return wire.NewSession{}, nil, err
	}
	event, err := s.event(u.Created, wire.Event{Who: "person:" + u.Name, What: "login", Subject: x.ID}, x)
	return out, []clientv3.Op{write, event}, err
}

// grant makes a lease that ends what nobody ended.
func (s *Store) grant(ctx context.Context, life time.Duration) (clientv3.LeaseID, error) {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	lease, err := s.c.Grant(ctx, int64(life/time.Second))
	if err != nil {
		return 0, readError("open a session", err)
	}
	return lease.ID, nil
}

// session gives whose session it is.
func (s *Store) session(ctx context.Context, id, secret string, reading bool, refused error) (wire.Caller, error) {
	read := wire.Fresh
	e, _, err := s.get(ctx, sessionsPrefix+id, read)
	if err != nil && reading && errs.KindOf(err) == errs.Unavailable {
		read = wire.Local
		e, _, err = s.get(ctx, sessionsPrefix+id, read)
	}
	if err != nil {
		return wire.Caller{}, err
	}
	if e.modified == 0 {
		return wire.Caller{}, refused
	}
	x, err := decode[storedSession](e)
	if err != nil {
		return wire.Caller{}, err
	}
	of, _, err := s.get(ctx, usersPrefix+x.User, read)
	if err != nil {
		return wire.Caller{}, err
	}
	if of.modified == 0 {
		return wire.Caller{}, refused
	}
	u, err := decode[storedUser](of)
	if err != nil {
		return wire.Caller{}, err
	}
	own, err := s.Incarnation(ctx, read)
	if err != nil {
		return wire.Caller{}, err
	}
	now := s.now()
	if subtle.ConstantTimeCompare([]byte(x.Hash), []byte(hash(secret))) != 1 || !x.good(u, own, now) {
		return wire.Caller{}, refused
	}
	if read == wire.Fresh && now-x.Seen >= sessionNote.Milliseconds() {
		x.Seen = now
		if write, err := put(e.key, x, clientv3.WithLease(e.lease)); err == nil {
			// Where it is not written the session ends a little earlier than it could.
			_, _, _ = s.commit(ctx, "note the use of a session", []clientv3.Cmp{unchanged(e.key, e.modified)}, []clientv3.Op{write})
		}
	}
	return wire.Caller{Name: u.Name, Roles: u.Roles, Participant: u.Participant, Tenant: u.Tenant, Session: x.ID, Factor: x.Factor}, nil
}

// Sessions lists the sessions that count, the newest first.
func (s *Store) Sessions(ctx context.Context, r wire.Read) ([]wire.Session, error) {
	kept, err := listOf[storedSession](ctx, s, sessionsPrefix, r)
	if err != nil {
		return nil, err
	}
	users, err := listOf[storedUser](ctx, s, usersPrefix, r)
	if err != nil {
		return nil, err
	}
	own, err := s.Incarnation(ctx, r)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]storedUser, len(users))
	for _, u := range users {
		byName[u.Name] = u
	}
	now := s.now()
	sessions := []wire.Session{}
	for _, x := range kept {
		if u, ok := byName[x.User]; ok && x.good(u, own, now) {
			sessions = append(sessions, x.Session)
		}
	}
	slices.SortFunc(sessions, func(a, b wire.Session) int { return int(b.Created - a.Created) })
	return sessions, nil
}

// EndSession ends a session at once. owner limits it to that person's own, "" does not.
func (s *Store) EndSession(ctx context.Context, who, owner, id string) error {
	if err := checkName("session", id); err != nil {
		return err
	}
	key := sessionsPrefix + id
	e, _, err := s.get(ctx, key, wire.Fresh)
	if err != nil {
		return err
	}
	missing := errs.New(errs.NotFound, "there is no session %q; `perdure session list` shows them", id)
	if e.modified == 0 {
		return missing
	}
	x, err := decode[storedSession](e)
	if err != nil {
		return err
	}
	if owner != "" && x.User != owner {
		return missing
	}
	event, err := s.event(e.modified, wire.Event{Who: who, What: "session.end", Subject: id}, x.Session)
	if err != nil {
		return err
	}
	_, _, err = s.commit(ctx, "end session "+id, nil, []clientv3.Op{clientv3.OpDelete(Root + key), event})
	return err
}

// Policy is what the estate wants of people.
func (s *Store) Policy(ctx context.Context, r wire.Read) (wire.Policy, error) {
	e, _, err := s.get(ctx, policyKey, r)
	if err != nil {
		return wire.Policy{}, err
	}
	p := wire.Policy{SecondFactor: wire.FactorSessions, Signatures: true}
	if e.modified == 0 {
		return p, nil
	}
	err = json.Unmarshal(e.value, &p) // what was written before there were signatures says nothing of them
	if err != nil {
		err = errs.New(errs.Internal, "the policy cannot be read: %w", err)
	}
	return p, err
}

// SetPolicy says what the estate wants of people.
func (s *Store) SetPolicy(ctx context.Context, who string, p wire.Policy) (wire.Policy, error) {
	if !slices.Contains([]wire.FactorPolicy{wire.FactorOff, wire.FactorSessions, wire.FactorAll}, p.SecondFactor) {
		return p, errs.New(errs.Invalid, "second factor %q is not one of off, on, all", p.SecondFactor)
	}
	if d := p.RetentionDays; d != nil && (*d < 0 || *d > wire.MostRetention) {
		return p, errs.New(errs.Invalid, "evidence cannot be kept for %d days; allowed: 0 to %d, or for ever", *d, wire.MostRetention)
	}
	p.By, p.At = who, s.now()
	write, err := put(policyKey, p)
	if err != nil {
		return p, err
	}
	event, err := s.event(0, wire.Event{Who: who, What: "policy.set", Subject: "second-factor"}, p)
	if err != nil {
		return p, err
	}
	_, _, err = s.commit(ctx, "set the policy", nil, []clientv3.Op{write, event})
	return p, err
}

package store

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// recoverLimit bounds the one transaction of a recovery, which touches every group.
const recoverLimit = 20

// Incarnation reads the store's present life; it is zero before EnsureIncarnation.
func (s *Store) Incarnation(ctx context.Context, r wire.Read) (wire.Incarnation, error) {
	e, _, err := s.get(ctx, incarnationKey, r)
	if err != nil || e.modified == 0 {
		return wire.Incarnation{}, err
	}
	return decode[wire.Incarnation](e)
}

// EnsureIncarnation begins the first incarnation of a new store, once, whichever node comes first.
func (s *Store) EnsureIncarnation(ctx context.Context) (wire.Incarnation, error) {
	have, err := s.Incarnation(ctx, wire.Fresh)
	if err != nil || have.Counter != 0 {
		return have, err
	}
	first := wire.Incarnation{
		Incarnation: estate.Incarnation{Counter: 1, ID: randomHex(4)},
		By:          "node:" + s.o.Node, At: s.now(), Reason: "a new estate",
	}
	write, err := put(incarnationKey, first)
	if err != nil {
		return wire.Incarnation{}, err
	}
	event, err := s.event(0, wire.Event{Who: first.By, What: "estate.begin", Subject: "estate"}, first)
	if err != nil {
		return wire.Incarnation{}, err
	}
	_, ok, err := s.commit(ctx, "begin the estate", []clientv3.Cmp{unchanged(incarnationKey, 0)}, []clientv3.Op{write, event})
	if err != nil {
		return wire.Incarnation{}, err
	}
	if !ok { // another node was faster
		return s.Incarnation(ctx, wire.Fresh)
	}
	return first, nil
}

// Recover begins a new incarnation after a recovery or restore: the counter grows by one, the identity is random, and every
// group's record loses its in-sync set and its running switch, all in one transaction (I10). It must be called before any API serves.
// what is "recover" or "restore"; who is the person.
func (s *Store) Recover(ctx context.Context, who, what, reason string) (wire.Incarnation, error) {
	old, head, err := s.get(ctx, incarnationKey, wire.Fresh)
	if err != nil {
		return wire.Incarnation{}, err
	}
	var last wire.Incarnation
	if old.modified != 0 {
		if last, err = decode[wire.Incarnation](old); err != nil {
			return wire.Incarnation{}, err
		}
	}
	next := wire.Incarnation{
		Incarnation: estate.Incarnation{Counter: last.Counter + 1, ID: randomHex(4)},
		By:          who, At: s.now(), Reason: reason, From: head,
	}
	groups, err := s.Groups(ctx, wire.Fresh)
	if err != nil {
		return wire.Incarnation{}, err
	}
	conditions := []clientv3.Cmp{unchanged(incarnationKey, old.modified)}
	write, err := put(incarnationKey, next)
	if err != nil {
		return wire.Incarnation{}, err
	}
	writes := []clientv3.Op{write}
	for _, g := range groups {
		rec, err := unit.Apply(g.Record, unit.Transition{
			Kind: unit.Recover, Person: who, Ownership: g.Record.Ownership, Incarnation: next.Incarnation, Revision: head, Reason: reason, Now: s.now(),
		})
		if err != nil {
			return wire.Incarnation{}, err
		}
		key := groupsPrefix + string(rec.Group)
		write, err := put(key, rec)
		if err != nil {
			return wire.Incarnation{}, err
		}
		conditions, writes = append(conditions, unchanged(key, g.Revision)), append(writes, write)
	}
	event, err := s.event(head, wire.Event{Who: who, What: "estate." + what, Subject: "estate"},
		map[string]any{"from": last.Incarnation, "to": next.Incarnation, "revision": head, "reason": reason, "groups": len(groups)})
	if err != nil {
		return wire.Incarnation{}, err
	}
	writes = append(writes, clientv3.OpDelete(Root+nodesPrefix, clientv3.WithPrefix())) // each node says anew what it reads
	patient := *s
	patient.o.Timeout *= recoverLimit
	_, ok, err := patient.commit(ctx, what+" the estate", conditions, append(writes, event))
	if err != nil {
		return wire.Incarnation{}, err
	}
	if !ok {
		return wire.Incarnation{}, errs.New(errs.Conflict, "cannot %s: the store changed meanwhile, so something else uses it; stop that first", what)
	}
	return next, nil
}

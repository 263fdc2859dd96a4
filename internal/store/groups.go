package store

import (
	"bytes"
	"context"
	"encoding/json"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// conflictRetries is how often a transition without a revision is judged anew after somebody else was faster.
const conflictRetries = 16

// Group reads one record.
func (s *Store) Group(ctx context.Context, group estate.GroupID, r wire.Read) (wire.Group, error) {
	g, _, err := s.group(ctx, group, r)
	return g, err
}

func (s *Store) group(ctx context.Context, group estate.GroupID, r wire.Read) (wire.Group, int64, error) {
	if err := checkName("group", string(group)); err != nil {
		return wire.Group{}, 0, err
	}
	e, head, err := s.get(ctx, groupsPrefix+string(group), r)
	if err != nil {
		return wire.Group{}, 0, err
	}
	if e.modified == 0 {
		return wire.Group{}, 0, errs.New(errs.NotFound, "there is no replication group %q; `perdure status` lists them", group)
	}
	rec, err := decode[unit.Record](e)
	return wire.Group{Record: rec, Revision: e.modified}, head, err
}

// Groups reads all records, in the order of their names.
func (s *Store) Groups(ctx context.Context, r wire.Read) ([]wire.Group, error) {
	entries, _, err := s.list(ctx, groupsPrefix, r)
	if err != nil {
		return nil, err
	}
	groups := make([]wire.Group, 0, len(entries))
	for _, e := range entries {
		rec, err := decode[unit.Record](e)
		if err != nil {
			return nil, err
		}
		groups = append(groups, wire.Group{Record: rec, Revision: e.modified})
	}
	return groups, nil
}

// Transition judges the transition on the group's newest record and commits the outcome on the condition that the record
// has not changed since, together with its audit event. With a revision other than 0 the record must still be at it.
// It refuses on a node that may not act (I10). Errors: Conflict (somebody else was faster: read again), the kinds of
// unit.Apply, Unavailable (nothing happened) and Unknown (it may have happened). A transition that changes nothing writes nothing.
func (s *Store) Transition(ctx context.Context, who string, group estate.GroupID, revision int64, t unit.Transition) (wire.Group, error) {
	if err := s.o.MayAct(); err != nil {
		return wire.Group{}, err
	}
	if t.Kind == unit.Recover {
		return wire.Group{}, errs.Refuse("I10", "a record is recovered only with its whole store: perdure node recover")
	}
	ctx, cancel := s.limit(ctx)
	defer cancel()
	for range conflictRetries {
		now, head, err := s.group(ctx, group, wire.Fresh)
		if err != nil {
			return wire.Group{}, err
		}
		if revision != 0 && now.Revision != revision {
			return now, errs.New(errs.Conflict, "cannot %s %s: its record changed from revision %d to %d meanwhile; read it and decide again", t.Kind, group, revision, now.Revision)
		}
		done, ok, err := s.apply(ctx, who, now, head, t)
		if err != nil || ok {
			return done, err
		}
	}
	return wire.Group{}, errs.New(errs.Conflict, "cannot %s %s: its record keeps changing; read it and decide again", t.Kind, group)
}

// apply judges and commits once; ok is false where the record changed in between.
func (s *Store) apply(ctx context.Context, who string, now wire.Group, head int64, t unit.Transition) (wire.Group, bool, error) {
	next, writes, err := s.judge(who, now, head, t)
	if err != nil || len(writes) == 0 {
		return now, err == nil, err
	}
	key := groupsPrefix + string(now.Record.Group)
	revision, ok, err := s.commit(ctx, "write the record of "+string(now.Record.Group), []clientv3.Cmp{unchanged(key, now.Revision)}, writes)
	if err != nil || !ok {
		return now, false, err
	}
	return wire.Group{Record: next, Revision: revision}, true, nil
}

// judge gives the record after a transition, and what has to be written on the condition that the record has not changed; nothing where the
// transition changes nothing.
func (s *Store) judge(who string, now wire.Group, head int64, t unit.Transition) (unit.Record, []clientv3.Op, error) {
	next, err := unit.Apply(now.Record, t)
	if err != nil || same(now.Record, next) {
		return next, nil, err
	}
	write, err := put(groupsPrefix+string(now.Record.Group), next)
	if err != nil {
		return next, nil, err
	}
	event, err := s.event(head, wire.Event{Who: who, What: "transition." + string(t.Kind), Subject: string(now.Record.Group)}, detailOf(t, next))
	if err != nil {
		return next, nil, err
	}
	kept, err := s.kept(head, who, now.Record, next)
	return next, append([]clientv3.Op{write, event}, kept...), err
}

// transitionDetail is what the audit log keeps of a transition.
type transitionDetail struct {
	Transition unit.Transition  `json:"transition"`
	Ownership  estate.Ownership `json:"ownership"` // after it
	Owner      estate.Life      `json:"owner"`
	State      unit.State       `json:"state"`
	InSync     []estate.Life    `json:"inSync"`
}

func detailOf(t unit.Transition, after unit.Record) transitionDetail {
	return transitionDetail{Transition: t, Ownership: after.Ownership, Owner: after.Owner, State: after.State, InSync: after.InSync}
}

func same(a, b unit.Record) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

package store

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/incident"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// Quorum is the store as decisions are made on it: every read is fresh.
type Quorum struct {
	s *Store
}

// Quorum gives the store with fresh reads only.
func (s *Store) Quorum() Quorum { return Quorum{s} }

// Group reads one record.
func (q Quorum) Group(ctx context.Context, group estate.GroupID) (wire.Group, error) {
	return q.s.Group(ctx, group, wire.Fresh)
}

// Groups reads all records.
func (q Quorum) Groups(ctx context.Context) ([]wire.Group, error) {
	return q.s.Groups(ctx, wire.Fresh)
}

// MemberStatuses lists what the agents said.
func (q Quorum) MemberStatuses(ctx context.Context) ([]wire.MemberStatus, error) {
	return q.s.MemberStatuses(ctx, wire.Fresh)
}

// Transition is Store.Transition.
func (q Quorum) Transition(ctx context.Context, who string, group estate.GroupID, revision int64, t unit.Transition) (wire.Group, error) {
	return q.s.Transition(ctx, who, group, revision, t)
}

// PostRun is Store.PostRun.
func (q Quorum) PostRun(ctx context.Context, start wire.RunStart, who string, group estate.GroupID, t unit.Transition) (wire.Group, error) {
	return q.s.PostRun(ctx, start, who, group, t)
}

// Detected opens the incident of a group that serves nobody. One of its ownership that is there already is left alone and is no error.
func (q Quorum) Detected(ctx context.Context, who string, rec unit.Record, why string, since time.Time) error {
	_, err := q.s.OpenIncident(ctx, who, incident.Detected(rec, why, who, since.UTC().Truncate(time.Microsecond), q.s.instant()))
	if errs.KindOf(err) == errs.Conflict {
		return nil
	}
	return err
}

// CreateGroup stores the first record of a group, with its audit event. A group that exists is left alone and is no error.
func (q Quorum) CreateGroup(ctx context.Context, who string, rec unit.Record) error {
	s := q.s
	if err := s.o.MayAct(); err != nil {
		return err
	}
	if err := checkName("group", string(rec.Group)); err != nil {
		return err
	}
	key := groupsPrefix + string(rec.Group)
	write, err := put(key, rec)
	if err != nil {
		return err
	}
	event, err := s.event(0, wire.Event{Who: who, What: "group.create", Subject: string(rec.Group)}, rec)
	if err != nil {
		return err
	}
	_, _, err = s.commit(ctx, "create group "+string(rec.Group), []clientv3.Cmp{unchanged(key, 0)}, []clientv3.Op{write, event})
	return err
}

// rewatchAfter is the pause before a watch that ended is begun again.
const rewatchAfter = 200 * time.Millisecond

// WatchGroups hands on every record, and every later change, as the local member learns of it, until ctx ends.
// A group that is gone is not reported. It begins again by itself when the store's watch ends.
func (q Quorum) WatchGroups(ctx context.Context, on func(wire.Group)) error {
	var at wire.Position
	for ctx.Err() == nil {
		err := q.s.Watch(ctx, at, []string{groupsPrefix}, func(u wire.Update) error {
			at = u.Position
			for _, c := range u.Changes {
				if c.Deleted {
					continue
				}
				var rec unit.Record
				if err := json.Unmarshal(c.Value, &rec); err != nil {
					return errs.New(errs.Internal, "the record of %s cannot be read: %w", strings.TrimPrefix(c.Key, groupsPrefix), err)
				}
				on(wire.Group{Record: rec, Revision: c.Revision})
			}
			return nil
		})
		if ctx.Err() == nil && errs.KindOf(err) == errs.Internal {
			return err
		}
		s := time.NewTimer(rewatchAfter)
		select {
		case <-ctx.Done():
		case <-s.C:
		}
		s.Stop()
	}
	return nil
}

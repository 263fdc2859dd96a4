package store

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/incident"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// mostGaps bounds how much of a group's history of ownership is read: the newest entries.
const mostGaps = 5000

// kept gives the writes that go with a change of a record into the same transaction: the gap that it ended, and the incident that it opens. The
// latter is written unless it is there, whatever became of it: it neither reads anything nor can it keep the change from being made. So there is
// one incident for one failover, however many nodes see it.
func (s *Store) kept(head int64, who string, before, after unit.Record) ([]clientv3.Op, error) {
	var ops []clientv3.Op
	if gap, ok := incident.Opened(before, after); ok {
		write, err := put(gapKey(gap), gap)
		if err != nil {
			return nil, err
		}
		ops = append(ops, write)
	}
	if i, ok := incident.Decided(before, after, who, s.instant()); ok {
		writes, err := s.opening(head, who, i)
		if err != nil {
			return nil, err
		}
		ops = append(ops, clientv3.OpTxn([]clientv3.Cmp{unchanged(incidentsPrefix+i.ID, 0)}, writes, nil))
	}
	return ops, nil
}

func gapKey(g incident.Gap) string {
	return fmt.Sprintf("%s%s/%010d.%020d", gapsPrefix, g.Group, g.Took.Incarnation.Counter, g.Took.Epoch)
}

func (s *Store) instant() time.Time { return s.o.Now().UTC().Truncate(time.Microsecond) }

// opening are the writes of a new incident.
func (s *Store) opening(head int64, who string, i incident.Incident) ([]clientv3.Op, error) {
	write, err := put(incidentsPrefix+i.ID, i)
	if err != nil {
		return nil, err
	}
	event, err := s.event(head, wire.Event{Who: who, What: "incident.opened", Subject: i.ID}, i)
	return []clientv3.Op{write, event}, err
}

// OpenIncident keeps a new incident. One of the name that somebody else opened is a conflict; that of the same person is the same request again.
func (s *Store) OpenIncident(ctx context.Context, who string, i incident.Incident) (incident.Incident, error) {
	if err := s.o.MayAct(); err != nil {
		return i, err
	}
	if err := checkName("incident", i.ID); err != nil {
		return i, err
	}
	writes, err := s.opening(0, who, i)
	if err != nil {
		return i, err
	}
	revision, ok, err := s.commit(ctx, "open incident "+i.ID, []clientv3.Cmp{unchanged(incidentsPrefix+i.ID, 0)}, writes)
	if err != nil {
		return i, err
	}
	if !ok {
		have, err := s.Incident(ctx, i.ID, wire.Fresh)
		if err == nil && (have.OpenedBy != i.OpenedBy || have.Cause != i.Cause) {
			err = errs.New(errs.Conflict, "there is an incident %s already, opened by %s", i.ID, have.OpenedBy)
		}
		return have, err
	}
	i.Revision = revision
	return i, nil
}

// saidByStart gives the conditions and the writes with which an incident takes note of the start of a run, judged on its newest state.
func (s *Store) saidByStart(ctx context.Context, in *wire.RunIncident) ([]clientv3.Cmp, []clientv3.Op, error) {
	if in == nil {
		return nil, nil, nil
	}
	now, err := s.Incident(ctx, in.ID, wire.Fresh)
	var writes []clientv3.Op
	switch {
	case in.Open != nil && errs.KindOf(err) == errs.NotFound:
		now = *in.Open
		event, err := s.event(0, wire.Event{Who: "person:" + now.OpenedBy, What: "incident.opened", Subject: in.ID}, now)
		if err != nil {
			return nil, nil, err
		}
		writes = append(writes, event)
	case err != nil:
		return nil, nil, err
	case in.Open != nil:
		return nil, nil, errs.New(errs.Conflict, "there is an incident %s already, opened by %s", in.ID, now.OpenedBy)
	}
	revision := now.Revision
	for _, c := range in.Said {
		c.At = s.instant()
		next, err := incident.Apply(now, c)
		if err != nil {
			return nil, nil, err
		}
		if next.Seq == now.Seq {
			continue
		}
		event, err := s.event(revision, wire.Event{Who: "person:" + c.By, What: "incident." + string(c.What), Subject: in.ID}, c)
		if err != nil {
			return nil, nil, err
		}
		now, writes = next, append(writes, event)
	}
	now.Revision = 0
	write, err := put(incidentsPrefix+in.ID, now)
	return []clientv3.Cmp{unchanged(incidentsPrefix+in.ID, revision)}, append(writes, write), err
}

// Incident reads one.
func (s *Store) Incident(ctx context.Context, id string, r wire.Read) (incident.Incident, error) {
	if err := checkName("incident", id); err != nil {
		return incident.Incident{}, err
	}
	e, _, err := s.get(ctx, incidentsPrefix+id, r)
	if err != nil {
		return incident.Incident{}, err
	}
	if e.modified == 0 {
		return incident.Incident{}, errs.New(errs.NotFound, "there is no incident %q; `perdure incident list` lists them", id)
	}
	return incidentOf(e)
}

func incidentOf(e entry) (incident.Incident, error) {
	i, err := decode[incident.Incident](e)
	i.Revision = e.modified
	return i, err
}

// Incidents lists all, in the order of their names.
func (s *Store) Incidents(ctx context.Context, r wire.Read) ([]incident.Incident, error) {
	entries, _, err := s.list(ctx, incidentsPrefix, r)
	if err != nil {
		return nil, err
	}
	list := make([]incident.Incident, 0, len(entries))
	for _, e := range entries {
		i, err := incidentOf(e)
		if err != nil {
			return nil, err
		}
		list = append(list, i)
	}
	return list, nil
}

// JoinIncident makes an incident part of another one, both or neither. The same again changes nothing.
func (s *Store) JoinIncident(ctx context.Context, id string, c incident.Change) (incident.Incident, error) {
	if err := s.o.MayAct(); err != nil {
		return incident.Incident{}, err
	}
	for range sayTries {
		part, err := s.Incident(ctx, id, wire.Fresh)
		if err != nil {
			return part, err
		}
		whole, err := s.Incident(ctx, c.Into, wire.Fresh)
		if err != nil {
			return whole, err
		}
		c.At = s.instant()
		next, taken, err := whole.Take(part, c)
		if err != nil || next.Seq == whole.Seq {
			return next, err
		}
		next.Revision, taken.Revision = 0, 0
		writes := make([]clientv3.Op, 3)
		if writes[0], err = put(incidentsPrefix+whole.ID, next); err != nil {
			return whole, err
		}
		if writes[1], err = put(incidentsPrefix+id, taken); err != nil {
			return whole, err
		}
		if writes[2], err = s.event(part.Revision, wire.Event{Who: "person:" + c.By, What: "incident." + string(c.What), Subject: id}, c); err != nil {
			return whole, err
		}
		conditions := []clientv3.Cmp{unchanged(incidentsPrefix+id, part.Revision), unchanged(incidentsPrefix+whole.ID, whole.Revision)}
		revision, ok, err := s.commit(ctx, "join incident "+id+" into "+whole.ID, conditions, writes)
		if err != nil {
			return whole, err
		}
		if ok {
			next.Revision = revision
			return next, nil
		}
	}
	return incident.Incident{}, errs.New(errs.Conflict, "incidents %s and %s keep changing; look at them and say it again", id, c.Into)
}

// SayIncident commits what a person says to an incident, judged on its newest state and on what was measured, on the condition that it has not
// changed since. What changes nothing writes nothing.
func (s *Store) SayIncident(ctx context.Context, id string, c incident.Change) (incident.Incident, error) {
	if err := s.o.MayAct(); err != nil {
		return incident.Incident{}, err
	}
	for range sayTries {
		now, err := s.Incident(ctx, id, wire.Fresh)
		if err != nil {
			return now, err
		}
		seen, err := s.Measured(ctx, now, wire.Fresh)
		if err != nil {
			return now, err
		}
		c.At, c.Seen = s.instant(), &seen
		next, err := incident.Apply(now, c)
		if err != nil || next.Seq == now.Seq {
			return next, err
		}
		next.Revision = 0
		write, err := put(incidentsPrefix+id, next)
		if err != nil {
			return now, err
		}
		event, err := s.event(now.Revision, wire.Event{Who: "person:" + c.By, What: "incident." + string(c.What), Subject: id}, c)
		if err != nil {
			return now, err
		}
		revision, ok, err := s.commit(ctx, "change incident "+id, []clientv3.Cmp{unchanged(incidentsPrefix+id, now.Revision)}, []clientv3.Op{write, event})
		if err != nil {
			return now, err
		}
		if ok {
			next.Revision = revision
			return next, nil
		}
	}
	return incident.Incident{}, errs.New(errs.Conflict, "incident %s keeps changing; look at it and say it again", id)
}

// Measured gives what the history of ownership says of an incident and, where that says nothing, its linked runs.
func (s *Store) Measured(ctx context.Context, i incident.Incident, r wire.Read) (incident.Seen, error) {
	var gaps []incident.Gap
	var records []unit.Record
	for _, g := range i.Groups() {
		more, err := s.Gaps(ctx, g, r)
		if err != nil {
			return incident.Seen{}, err
		}
		gaps = append(gaps, more...)
		have, err := s.Group(ctx, g, r)
		switch {
		case err == nil:
			records = append(records, have.Record)
		case errs.KindOf(err) != errs.NotFound:
			return incident.Seen{}, err
		}
	}
	seen := i.Measure(gaps, records)
	if seen.Running || !seen.Until.IsZero() {
		return seen, nil // what ownership says is when service was back; a run goes on with what has time
	}
	for _, id := range i.AllRuns() {
		head, err := s.Run(ctx, id, r)
		if err != nil {
			return seen, err
		}
		if head.Mode == plan.SwitchBack {
			continue // it begins with service that is back
		}
		if head.Phase != run.Over {
			seen.Running = true
		} else if done := time.UnixMilli(head.FinishedAt).UTC(); head.Outcome == run.Done && done.After(seen.Until) {
			seen.Until = done
		}
	}
	if seen.Running {
		seen.Until = time.Time{}
	}
	return seen, nil
}

// Gaps gives the history of ownership of a group, the newest first, at most 5,000 entries; of all groups where none is named.
func (s *Store) Gaps(ctx context.Context, group estate.GroupID, r wire.Read) ([]incident.Gap, error) {
	prefix := gapsPrefix
	if group != "" {
		if err := checkName("group", string(group)); err != nil {
			return nil, err
		}
		prefix += string(group) + "/"
	}
	entries, _, err := s.list(ctx, prefix, r, clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortDescend), clientv3.WithLimit(mostGaps))
	if err != nil {
		return nil, err
	}
	gaps := make([]incident.Gap, 0, len(entries))
	for _, e := range entries {
		g, err := decode[incident.Gap](e)
		if err != nil {
			return nil, err
		}
		gaps = append(gaps, g)
	}
	return gaps, nil
}

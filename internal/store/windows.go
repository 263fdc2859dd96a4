package store

import (
	"context"
	"encoding/json"
	"reflect"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/calendar"
	"perdure/internal/errs"
	"perdure/internal/wire"
)

// mostWindowApprovals bounds what is kept of all approvals of windows, in bytes: they are one value, read at every start of a run.
const mostWindowApprovals = 512 << 10

// WindowApprovals reads the approvals of windows that are kept, with their revision, 0 where there are none.
func (s *Store) WindowApprovals(ctx context.Context, r wire.Read) (calendar.Approvals, int64, error) {
	e, a, err := s.windowApprovals(ctx, r)
	return a, e.modified, err
}

func (s *Store) windowApprovals(ctx context.Context, r wire.Read) (entry, calendar.Approvals, error) {
	e, _, err := s.get(ctx, windowsKey, r)
	if err != nil || e.modified == 0 {
		return e, nil, err
	}
	a, err := decode[calendar.Approvals](e)
	return e, a, err
}

// ApproveWindow keeps a person's approval of a window of the manifest at the revision, as it stands there: where another manifest is applied meanwhile
// nothing is kept (W1). What changes nothing writes nothing.
func (s *Store) ApproveWindow(ctx context.Context, revision int64, window, digest string, by calendar.Approval) (calendar.Approved, error) {
	by.At = s.instant()
	detail := map[string]any{"reason": by.Reason, "digest": digest, "manifest": revision}
	if !by.Factor.IsZero() {
		detail["factor"] = by.Factor
	}
	a, err := s.changeWindows(ctx, wire.Event{Who: "person:" + by.By, What: "window.approve", Subject: window}, detail, revision, func(now calendar.Approvals) (calendar.Approvals, error) {
		return now.Approve(window, digest, by)
	})
	return a[window], err
}

// RevokeWindow takes all approvals of a window back.
func (s *Store) RevokeWindow(ctx context.Context, who, window, reason string) error {
	_, err := s.changeWindows(ctx, wire.Event{Who: who, What: "window.revoke", Subject: window}, map[string]any{"reason": reason}, 0, func(now calendar.Approvals) (calendar.Approvals, error) {
		return now.Revoke(window, reason)
	})
	return err
}

// changeWindows commits a change of the approvals, judged on the newest ones, and with a revision on the condition that the manifest is at it.
func (s *Store) changeWindows(ctx context.Context, e wire.Event, detail any, revision int64, change func(calendar.Approvals) (calendar.Approvals, error)) (calendar.Approvals, error) {
	if err := s.o.MayAct(); err != nil {
		return nil, err
	}
	for range sayTries {
		have, now, err := s.windowApprovals(ctx, wire.Fresh)
		if err != nil {
			return nil, err
		}
		next, err := change(now)
		if err != nil || reflect.DeepEqual(next, now) {
			return next, err
		}
		conditions := []clientv3.Cmp{unchanged(windowsKey, have.modified)}
		if revision != 0 {
			m, err := s.Manifest(ctx, wire.Fresh)
			if err != nil {
				return nil, err
			}
			if m.Revision != revision {
				return nil, errs.New(errs.Conflict, "another manifest was applied just now: look at window %s again", e.Subject)
			}
			conditions = append(conditions, unchanged(manifestKey, revision))
		}
		write, err := putWindows(next)
		if err != nil {
			return nil, err
		}
		event, err := s.event(have.modified, e, detail)
		if err != nil {
			return nil, err
		}
		_, ok, err := s.commit(ctx, "change the approvals of window "+e.Subject, conditions, []clientv3.Op{write, event})
		if err != nil || ok {
			return next, err
		}
	}
	return nil, errs.New(errs.Conflict, "the approvals of windows keep changing; look at them and say it again")
}

// inWindow is the condition that a run begins on: what approves its window has not changed since it was judged. Whatever ends an approval, a
// revocation or another manifest, changes it, so that nothing begins after that (W4).
func inWindow(start wire.RunStart) []clientv3.Cmp {
	if start.Windows == 0 {
		return nil
	}
	return []clientv3.Cmp{unchanged(windowsKey, start.Windows)}
}

// checkWindow says whether that condition is why a run has not begun.
func (s *Store) checkWindow(ctx context.Context, start wire.RunStart) error {
	if start.Windows == 0 {
		return nil
	}
	have, _, err := s.windowApprovals(ctx, wire.Fresh)
	if err == nil && have.modified != start.Windows {
		err = errs.New(errs.Conflict, "cannot start run %s: approvals of windows were changed just now; start it again", start.Head.ID)
	}
	return err
}

func putWindows(a calendar.Approvals) (clientv3.Op, error) {
	data, err := json.Marshal(a)
	if err != nil {
		return clientv3.Op{}, errs.New(errs.Internal, "cannot encode the approvals of windows: %w", err)
	}
	if len(data) > mostWindowApprovals {
		return clientv3.Op{}, errs.New(errs.Refused, "the approvals of all windows would take %d bytes, the limit is %d: revoke those that are of no use", len(data), mostWindowApprovals)
	}
	return clientv3.OpPut(Root+windowsKey, string(data)), nil
}

// standing gives what is left of the approvals with a manifest that has windows with these digests (W5): the condition that nobody changes them
// meanwhile, the write where some are dropped, and their names.
func (s *Store) standing(ctx context.Context, digests map[string]string) (condition clientv3.Cmp, writes []clientv3.Op, dropped []string, err error) {
	have, now, err := s.windowApprovals(ctx, wire.Fresh)
	if err != nil {
		return condition, nil, nil, err
	}
	condition = unchanged(windowsKey, have.modified)
	kept, dropped := now.Keep(digests)
	if len(dropped) == 0 {
		return condition, nil, nil, nil
	}
	write, err := putWindows(kept)
	return condition, []clientv3.Op{write}, dropped, err
}

package store

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/rectification"
	"perdure/internal/wire"
)

// OpenSheet keeps the sheet of a run, which there is once: where one is there, that is the answer (C1).
func (s *Store) OpenSheet(ctx context.Context, who string, sheet rectification.Sheet) (rectification.Sheet, error) {
	if err := s.o.MayAct(); err != nil {
		return sheet, err
	}
	if err := checkName("run", sheet.Run); err != nil {
		return sheet, err
	}
	key := rectificationsPrefix + sheet.Run
	write, err := put(key, sheet)
	if err != nil {
		return sheet, err
	}
	event, err := s.event(0, wire.Event{Who: who, What: "rectification.opened", Subject: sheet.Run}, sheet)
	if err != nil {
		return sheet, err
	}
	revision, ok, err := s.commit(ctx, "open the rectification of run "+sheet.Run, []clientv3.Cmp{unchanged(key, 0)}, []clientv3.Op{write, event})
	if err != nil {
		return sheet, err
	}
	if !ok {
		return s.Sheet(ctx, sheet.Run, wire.Fresh)
	}
	sheet.Revision = revision
	return sheet, nil
}

// Sheet reads that of a run.
func (s *Store) Sheet(ctx context.Context, run string, r wire.Read) (rectification.Sheet, error) {
	if err := checkName("run", run); err != nil {
		return rectification.Sheet{}, err
	}
	e, _, err := s.get(ctx, rectificationsPrefix+run, r)
	if err != nil {
		return rectification.Sheet{}, err
	}
	if e.modified == 0 {
		return rectification.Sheet{}, errs.New(errs.NotFound, "nobody has opened the rectification of a run %q; perdure rectification open does", run)
	}
	return sheetOf(e)
}

func sheetOf(e entry) (rectification.Sheet, error) {
	sheet, err := decode[rectification.Sheet](e)
	sheet.Revision = e.modified
	return sheet, err
}

// Sheets lists all, in the order of the names of their runs.
func (s *Store) Sheets(ctx context.Context, r wire.Read) ([]rectification.Sheet, error) {
	entries, _, err := s.list(ctx, rectificationsPrefix, r)
	if err != nil {
		return nil, err
	}
	list := make([]rectification.Sheet, 0, len(entries))
	for _, e := range entries {
		sheet, err := sheetOf(e)
		if err != nil {
			return nil, err
		}
		list = append(list, sheet)
	}
	return list, nil
}

// SaySheet commits what a person says to the sheet of a run, judged on its newest state, on the condition that it has not changed since. What
// changes nothing writes nothing.
func (s *Store) SaySheet(ctx context.Context, run string, c rectification.Change) (rectification.Sheet, error) {
	if err := s.o.MayAct(); err != nil {
		return rectification.Sheet{}, err
	}
	for range sayTries {
		now, err := s.Sheet(ctx, run, wire.Fresh)
		if err != nil {
			return now, err
		}
		c.At = s.instant()
		next, err := rectification.Apply(now, c)
		if err != nil || next.Seq == now.Seq {
			return next, err
		}
		next.Revision = 0
		write, err := put(rectificationsPrefix+run, next)
		if err != nil {
			return now, err
		}
		event, err := s.event(now.Revision, wire.Event{Who: "person:" + c.By, What: "rectification." + string(c.What), Subject: run}, c)
		if err != nil {
			return now, err
		}
		revision, ok, err := s.commit(ctx, "change the rectification of run "+run, []clientv3.Cmp{unchanged(rectificationsPrefix+run, now.Revision)}, []clientv3.Op{write, event})
		if err != nil {
			return now, err
		}
		if ok {
			next.Revision = revision
			return next, nil
		}
	}
	return rectification.Sheet{}, errs.New(errs.Conflict, "the rectification of run %s keeps changing; look at it and say it again", run)
}

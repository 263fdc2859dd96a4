package store

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"go.etcd.io/etcd/client/v3/concurrency"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// Runners is the store as a runner sees it.
type Runners struct{ s *Store }

// Runners gives the store for a runner.
func (s *Store) Runners() Runners { return Runners{s} }

// WatchRuns hands on every run, and each again when it changes, until ctx ends.
func (q Runners) WatchRuns(ctx context.Context, on func(wire.Run)) error {
	return q.s.Watch(ctx, wire.Position{}, []string{runsPrefix}, func(u wire.Update) error {
		for _, c := range u.Changes {
			if !strings.HasPrefix(c.Key, runsPrefix) || c.Value == nil {
				continue
			}
			var head wire.Run
			if err := json.Unmarshal(c.Value, &head); err != nil {
				return errs.New(errs.Internal, "the store's value of %s cannot be read: %w", c.Key, err)
			}
			head.Revision = c.Revision
			on(head)
		}
		return nil
	})
}

// Incarnation is the store's.
func (q Runners) Incarnation(ctx context.Context) (estate.Incarnation, error) {
	i, err := q.s.Incarnation(ctx, wire.Fresh)
	return i.Incarnation, err
}

// Run, Program and Journal are fresh reads.
func (q Runners) Run(ctx context.Context, id string) (wire.Run, error) {
	return q.s.Run(ctx, id, wire.Fresh)
}

// Program reads what a run is pinned to.
func (q Runners) Program(ctx context.Context, id string) (*plan.Program, error) {
	return q.s.Program(ctx, id)
}

// Journal reads the entries of a run after a number.
func (q Runners) Journal(ctx context.Context, id string, after int) ([]run.Entry, error) {
	return q.s.Journal(ctx, id, after)
}

// BusyLocks gives the locks that an append was refused for.
func (q Runners) BusyLocks(err error) ([]string, bool) {
	var busy Busy
	if errors.As(err, &busy) {
		return busy.Locks, true
	}
	return nil, false
}

// Held is a claim with the lease that it is bound to.
type Held struct {
	s       *Store
	claim   Claim
	session *concurrency.Session
}

// Claim takes the right to carry out a run; nil: another node has it.
func (q Runners) Claim(ctx context.Context, id string) (*Held, error) {
	if _, err := q.s.Run(ctx, id, wire.Local); err != nil {
		return nil, err
	}
	have, _, err := q.s.get(ctx, runnersPrefix+id, wire.Fresh)
	if err != nil || have.modified != 0 {
		return nil, err
	}
	bounded, cancel := q.s.limit(ctx)
	defer cancel()
	lease, err := q.s.c.Grant(bounded, q.s.o.RunnerTTL)
	if err != nil {
		return nil, writeError("take over run "+id, err)
	}
	session, err := concurrency.NewSession(q.s.c, concurrency.WithLease(lease.ID), concurrency.WithContext(context.WithoutCancel(ctx)))
	if err != nil {
		return nil, writeError("take over run "+id, err)
	}
	c, ok, err := q.s.ClaimRun(ctx, id, int64(lease.ID))
	if err != nil || !ok {
		_ = session.Close() // the lease would end by itself
		return nil, err
	}
	return &Held{s: q.s, claim: c, session: session}, nil
}

// Term grows with every claim of the run.
func (h *Held) Term() int64 { return h.claim.Term }

// Lost is closed when the lease is over.
func (h *Held) Lost() <-chan struct{} { return h.session.Done() }

// Append is Store.Append with the claim.
func (h *Held) Append(ctx context.Context, head wire.Run, entries []run.Entry, take, release []string) (wire.Run, error) {
	return h.s.Append(ctx, &h.claim, head, entries, take, release)
}

// Release gives the right back.
func (h *Held) Release(ctx context.Context) {
	_ = h.s.ReleaseRun(ctx, h.claim) // the lease ends by itself
	_ = h.session.Close()
}

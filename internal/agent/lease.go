package agent

import (
	"context"
	"slices"
	"sync"
	"time"

	"perdure/internal/driver"
	"perdure/internal/estate"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// keepLease renews the owner's right to answer plain reads: every member that may replace it promises not to, counted from the
// sending (I8). A member that does not answer lets the lease run out; writes never depend on it.
func (a *Agent) keepLease(ctx context.Context) error {
	tick := time.NewTicker(a.opts.Timing.Renew)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := a.renewLease(ctx); err != nil {
				a.log.Debug("lease not renewed", "err", err)
			}
		}
	}
}

// renewLease asks for the promises and writes the lease that they allow into the database, if there is any. It returns when that
// is done; an error says that the lease in the database may be the one before.
func (a *Agent) renewLease(ctx context.Context) error {
	a.leasing.Lock()
	defer a.leasing.Unlock()
	a.mu.Lock()
	rec, me, set := a.group.Record, a.self.Now(), unit.LeaseSet(a.group.Record, a.track.InForce())
	may := a.renews(rec.Ownership)
	a.mu.Unlock()
	if !may {
		return nil
	}
	if err := a.keepOwning(ctx, rec); err != nil {
		return err
	}
	duration := a.opts.Timing.Promise
	ctx, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	a.askAll(ctx, rec, set, wire.PromiseRequest{Group: rec.Group, Ownership: rec.Ownership, Owner: me, Millis: duration.Milliseconds()})

	a.mu.Lock()
	now := a.now()
	until := a.lease.Until(rec.Ownership, set, now, duration)
	left := until - now
	if may = a.renews(rec.Ownership); may {
		a.leased, a.ending = until, max(until, 1) // written or not: whoever does not know ends it
	}
	a.mu.Unlock()
	a.rearm()
	if !may || left <= 0 {
		return nil
	}
	return a.db.Lease(ctx, rec.Units, left)
}

// renews reports whether the agent may renew the lease of the ownership now. Its lock is held.
func (a *Agent) renews(o estate.Ownership) bool {
	open := slices.ContainsFunc(a.seen.Gates, func(g driver.Gate) bool { return g.Open && g.Ownership == o })
	return a.known && a.group.Record.Ownership == o && unit.Renews(a.group.Record, a.self) && a.seen.Answering && !a.seen.InRecovery && open
}

// askAll asks everybody in the set once and notes the promises that are given.
func (a *Agent) askAll(ctx context.Context, rec unit.Record, set []estate.Life, request wire.PromiseRequest) {
	var asked sync.WaitGroup
	defer asked.Wait()
	for _, l := range set {
		m, ok := rec.Member(l.Member)
		if !ok {
			continue
		}
		asked.Go(func() {
			sent := a.now()
			answer, err := a.askPromise(ctx, m, request)
			if err != nil || answer.Life != l {
				return
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			a.track.CopyFull(l, answer.Full)
			if !answer.Granted {
				return
			}
			a.lease.Granted(rec.Ownership, l, sent, time.Duration(request.Millis)*time.Millisecond)
		})
	}
}

// boundLease makes sure that the lease in the database rests on the promises of everybody who is in force now: it is renewed with
// them, or ended.
func (a *Agent) boundLease(ctx context.Context) error {
	if err := a.renewLease(ctx); err != nil {
		return err
	}
	a.leasing.Lock()
	defer a.leasing.Unlock()
	a.mu.Lock()
	rec := a.group.Record
	over := a.lease.Until(rec.Ownership, unit.LeaseSet(rec, a.track.InForce()), a.now(), a.opts.Timing.Promise) <= a.now()
	a.mu.Unlock()
	if !over {
		return nil
	}
	return a.db.Lease(ctx, a.gated(rec), 0)
}

// keepEnding ends a lease that ran out on the agent's own monotonic clock: the time of day in the database is a backstop that a
// step of the clock moves (I8).
func (a *Agent) keepEnding(ctx context.Context) error {
	over := time.NewTimer(0)
	defer over.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.armed:
		case <-over.C:
		}
		a.mu.Lock()
		until := a.ending
		a.mu.Unlock()
		switch {
		case until == 0:
		case a.now() < until:
			over.Reset(until - a.now())
		case !a.finishLease(ctx, until):
			over.Reset(a.opts.Timing.Renew)
		}
	}
}

// finishLease ends a lease that ran out in the database; it reports whether that is done.
func (a *Agent) finishLease(ctx context.Context, until time.Duration) bool {
	a.mu.Lock()
	rec, gone := a.group.Record, a.track.Looked() && (!a.seen.Running || a.seen.Answering && a.seen.InRecovery)
	a.mu.Unlock()
	if !gone { // else a lease has no place to be in
		ctx, cancel := context.WithTimeout(ctx, a.opts.Timing.Renew)
		defer cancel()
		if err := a.db.Lease(ctx, a.gated(rec), 0); err != nil {
			a.log.Debug("a lease that is over could not be ended yet", "err", err)
			return false
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ending == until {
		a.ending = 0
	}
	return true
}

func (a *Agent) rearm() {
	select {
	case a.armed <- struct{}{}:
	default:
	}
}

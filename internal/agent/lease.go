package agent

import (
	"context"
	"sync"
	"time"

	"perdure/internal/unit"
	"perdure/internal/wire"
)

// keepLease renews the owner's right to answer plain reads: every member that may replace it promises not to, counted from the
// sending (I8). A member that does not answer lets the lease run out; writes never depend on it. The agent ends a lease that ran
// out on its own monotonic clock: the time of day in the database is a backstop that a step of the clock moves.
func (a *Agent) keepLease(ctx context.Context) error {
	tick := time.NewTicker(a.opts.Timing.Renew)
	defer tick.Stop()
	over := time.NewTimer(0)
	defer over.Stop()
	var inForce time.Duration // until when the newest lease in the database was meant to last, 0 where it was ended
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if until := a.renewLease(ctx); until > inForce {
				inForce = until
				over.Reset(until - a.now())
			}
		case <-over.C:
			if inForce > 0 && a.finishLease(ctx) {
				inForce = 0
			} else if inForce > 0 {
				over.Reset(a.opts.Timing.Renew)
			}
		}
	}
}

// renewLease asks for the promises and gives the end of the lease that was written into the database, 0 where none was.
func (a *Agent) renewLease(ctx context.Context) time.Duration {
	a.mu.Lock()
	rec, seen, me, known := a.group.Record, a.seen, a.self.Now(), a.known
	a.mu.Unlock()
	if !known || rec.State != unit.Open || rec.Owner != me || rec.Down != nil || !seen.Running || !seen.Answering || seen.InRecovery {
		return 0
	}
	if s := rec.Switch; s.Active() && (s.Phase == unit.Closing || s.Phase == unit.Drained) {
		return 0
	}
	duration := a.opts.Timing.Promise
	ctx, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	set := unit.LeaseSet(rec, seen.SyncNames)
	var asked sync.WaitGroup
	for _, l := range set {
		m, ok := rec.Member(l.Member)
		if !ok {
			continue
		}
		asked.Go(func() {
			sent := a.now()
			answer, err := a.askPromise(ctx, m, wire.PromiseRequest{Group: rec.Group, Ownership: rec.Ownership, Owner: me, Millis: duration.Milliseconds()})
			if err != nil || !answer.Granted || answer.Life != l {
				return
			}
			a.mu.Lock()
			a.lease.Granted(l, sent, duration)
			a.mu.Unlock()
		})
	}
	asked.Wait()
	a.mu.Lock()
	now := a.now()
	until := a.lease.Until(set, now, duration)
	fresh := a.group.Record.Ownership == rec.Ownership && a.group.Record.State == unit.Open
	if fresh {
		a.leased = until
	}
	a.mu.Unlock()
	left := until - now
	if !fresh || left <= 0 {
		return 0
	}
	if err := a.db.Lease(ctx, rec.Units, left); err != nil {
		a.log.Debug("lease not renewed", "err", err)
	}
	return until // written or not: whoever does not know ends it
}

// finishLease ends a lease that ran out in the database.
func (a *Agent) finishLease(ctx context.Context) bool {
	a.mu.Lock()
	units := a.group.Record.Units
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, a.opts.Timing.Renew)
	defer cancel()
	if err := a.db.Lease(ctx, units, 0); err != nil {
		a.log.Debug("a lease that is over could not be ended yet", "err", err)
		return false
	}
	return true
}

// endLease forgets what was promised: plain reads end with the closing of the gates.
func (a *Agent) endLease() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lease, a.leased = unit.Lease{}, 0
}

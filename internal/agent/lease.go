package agent

import (
	"context"
	"sync"
	"time"

	"perdure/internal/unit"
	"perdure/internal/wire"
)

// keepLease renews the owner's right to answer plain reads: every in-sync member promises not to replace it,
// counted from the sending (I8). A member that does not answer lets the lease run out; writes never depend on it.
func (a *Agent) keepLease(ctx context.Context) error {
	tick := time.NewTicker(a.opts.Timing.Renew)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			a.renewLease(ctx)
		}
	}
}

func (a *Agent) renewLease(ctx context.Context) {
	a.mu.Lock()
	rec, seen, me, known := a.group.Record, a.seen, a.self.Now(), a.known
	a.mu.Unlock()
	if !known || rec.State != unit.Open || rec.Owner != me || !seen.Running || !seen.Answering || seen.InRecovery {
		return
	}
	if s := rec.Switch; s.Active() && (s.Phase == unit.Closing || s.Phase == unit.Drained) {
		return
	}
	duration := a.opts.Timing.Promise
	ctx, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	var asked sync.WaitGroup
	for _, l := range rec.InSync {
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
	until := a.lease.Until(rec.InSync, now, duration)
	fresh := a.group.Record.Ownership == rec.Ownership && a.group.Record.State == unit.Open
	if fresh {
		a.leased = until
	}
	a.mu.Unlock()
	if left := until - now; fresh && left > 0 {
		if err := a.db.Lease(ctx, rec.Units, left); err != nil {
			a.log.Debug("lease not renewed", "err", err)
		}
	}
}

// endLease forgets what was promised: plain reads end with the closing of the gates.
func (a *Agent) endLease() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lease, a.leased = unit.Lease{}, 0
}

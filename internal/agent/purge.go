package agent

import (
	"context"
	"slices"
	"time"

	"perdure/internal/estate"
)

const (
	purgeEvery = time.Minute
	// purgeBatch is how many records one transaction removes: a few milliseconds, so that a switch never waits for it.
	purgeBatch = 500
	// purgeBound is the longest one transaction may take. Cut short it is undone, or done: both are fine.
	purgeBound = 10 * time.Second
	// purgeAfter is how long a commit may have been waiting for a copy for a removal to begin.
	purgeAfter = time.Second
)

// keepPurging removes the idempotency records, and finished messages, that are older than their unit's retention (I5), wherever a unit
// is open here. It has a session of its own, and nothing waits for it.
func (a *Agent) keepPurging(ctx context.Context) error {
	tick := time.NewTicker(purgeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, u := range a.purgeable() {
			a.purge(ctx, u)
		}
	}
}

// purgeable are the units that are open here, none while the group changes hands or a copy does not acknowledge: it can wait.
func (a *Agent) purgeable() (units []estate.UnitID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.seen.Answering || a.seen.OldestWait > purgeAfter || a.group.Record.Switch.Active() {
		return nil
	}
	for _, g := range a.seen.Gates {
		if g.Open {
			units = append(units, g.Unit)
		}
	}
	return units
}

// purge removes batch after batch, resting after each as long as it took, until nothing old is left or it has to wait.
func (a *Agent) purge(ctx context.Context, u estate.UnitID) {
	began, total := time.Now(), 0
	for {
		bounded, cancel := context.WithTimeout(ctx, purgeBound)
		at := time.Now()
		n, err := a.db.Purge(bounded, u, purgeBatch)
		cancel()
		total += n
		if err != nil {
			if ctx.Err() == nil {
				a.log.Warn("records older than the retention are not removed", "unit", u, "err", err, "removed", total)
			}
			return
		}
		if n < purgeBatch || !a.rests(ctx, time.Since(at), u) {
			break
		}
	}
	if total > 0 {
		a.log.Debug("records older than the retention were removed", "unit", u, "removed", total, "took", time.Since(began))
	}
}

// rests waits between two batches; it reports whether the next one may begin.
func (a *Agent) rests(ctx context.Context, pause time.Duration, u estate.UnitID) bool {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	}
	return slices.Contains(a.purgeable(), u)
}

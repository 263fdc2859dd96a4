//go:build seed18

package agent

import (
	"context"
	"fmt"

	"perdure/internal/estate"
	"perdure/internal/unit"
)

// Seeded bug 18 (ownership.md §4): the right to write is a lease of the control plane, as long as a promise. It is renewed wherever a leader
// answers for a majority; where none did for so long the owner closes, and protocol and control plane open it again at a new epoch.
func (a *Agent) keepOwning(ctx context.Context, rec unit.Record) error {
	duration, sent := a.opts.Timing.Promise, a.now()
	bounded, cancel := context.WithTimeout(ctx, duration/2)
	defer cancel()
	_, err := a.store.Group(bounded, rec.Group)
	a.mu.Lock()
	me, now := a.self.Now(), a.now()
	if err == nil {
		a.lease.Granted(rec.Ownership, me, sent, duration)
	}
	over := a.lease.Until(rec.Ownership, []estate.Life{me}, now, duration) <= now
	a.mu.Unlock()
	if !over {
		return nil
	}
	a.log.Warn("the lease of the control plane is over: closed", "err", err)
	if err := a.db.Close(ctx, rec.Units); err != nil {
		return fmt.Errorf("cannot close: %w", err)
	}
	return nil
}

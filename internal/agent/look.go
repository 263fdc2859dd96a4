package agent

import (
	"context"
	"slices"
	"time"

	"perdure/internal/driver"
	"perdure/internal/estate"
	"perdure/internal/unit"
)

// lookBound is the longest an observation may take before the database counts as not answering.
const lookBound = 800 * time.Millisecond

// dier is a driver that tells at once when the server process ends.
type dier interface {
	Dead() <-chan struct{}
}

// keepLooking observes the database every 100 ms, and at once when its process dies.
func (a *Agent) keepLooking(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		a.look(ctx)
		a.askUpstream(ctx)
		a.poke()
		var dead <-chan struct{}
		a.mu.Lock()
		running := a.seen.Running
		a.mu.Unlock()
		if d, ok := a.db.(dier); ok && running {
			dead = d.Dead()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-dead:
		}
	}
}

func (a *Agent) look(ctx context.Context) {
	a.looking.Lock()
	defer a.looking.Unlock()
	a.mu.Lock()
	fresh := a.track.Settled()
	a.mu.Unlock()
	bounded, cancel := context.WithTimeout(ctx, lookBound)
	defer cancel()
	seen, err := a.db.Observe(bounded)
	if ctx.Err() != nil {
		return // a look that was cut short sees nothing
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.log.Debug("observation failed", "err", err)
		seen = a.seen
		seen.Answering = false // what was seen before is no sign of life
	}
	a.seen = seen
	a.track.Look(viewOf(seen), fresh, a.now())
	if !seen.Running {
		a.leased = 0
	}
}

// askUpstream finds out whether a copy that does not stream has a living upstream: only then it counts as stuck (I12).
func (a *Agent) askUpstream(ctx context.Context) {
	a.mu.Lock()
	rec, seen := a.group.Record, a.seen
	due := a.track.StuckDue(a.now())
	a.mu.Unlock()
	if !due {
		return
	}
	m, ok := rec.Member(seen.Upstream.Member)
	alive := false
	if ok {
		state, err := a.peerState(ctx, m)
		alive = err == nil && state.Running && state.Answering
	}
	a.mu.Lock()
	a.track.UpstreamAnswers(alive, a.now())
	a.mu.Unlock()
}

// viewOf is one look in the protocol's words, without what is counted over several.
func viewOf(o driver.Observation) unit.View {
	v := unit.View{
		Directory: unit.Directory(o.Directory), Running: o.Running, Answering: o.Answering, InRecovery: o.InRecovery,
		SyncNames: o.SyncNames, Flushed: o.Flushed, Replayed: o.Replayed,
		Upstream: o.Upstream.Member, Streaming: o.Streaming, WaitingFor: o.OldestWait, Full: o.FreeBytes < unit.RoomNeeded,
	}
	for _, g := range o.Gates {
		v.Gates = append(v.Gates, unit.Gate{Unit: g.Unit, Ownership: g.Ownership, Open: g.Open})
	}
	for _, f := range o.Followers {
		life, err := estate.ParseLife(f.Name)
		if err != nil || slices.ContainsFunc(v.Copies, func(c unit.Copy) bool { return c.Life == life }) {
			continue
		}
		v.Copies = append(v.Copies, unit.Copy{Life: life, Streaming: f.Streaming, Usable: f.SlotOK && !f.Duplicate, Flushed: f.Flushed})
	}
	return v
}

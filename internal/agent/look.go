package agent

import (
	"context"
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
	ctx, cancel := context.WithTimeout(ctx, lookBound)
	defer cancel()
	seen, err := a.db.Observe(ctx)
	if err != nil {
		a.log.Debug("observation failed", "err", err)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen, a.looked = seen, true
	a.watch.observe(seen, a.now())
	if !seen.Running {
		a.leased = 0
	}
}

// askUpstream finds out whether a copy that does not stream has a living upstream: only then it counts as stuck (I12).
func (a *Agent) askUpstream(ctx context.Context) {
	a.mu.Lock()
	rec, seen := a.group.Record, a.seen
	due := a.watch.stuckDue(seen, a.now())
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
	a.watch.upstreamAnswers(alive, a.now())
	a.mu.Unlock()
}

// trackers count durations on the agent's monotonic clock. The agent's lock guards them.
type trackers struct {
	down, ownerDown, stuck, asked, shrunk time.Duration
	isDown, isOwnerDown, isStuck          bool
	growFailures                          int
	served                                string // see servedKey
	copies                                map[string]*tracked
	unprotected                           time.Time
}

type tracked struct {
	flushed  estate.LSN
	advanced time.Duration // when flushed last grew, or waiting began
	heard    time.Duration // when it was last seen streaming
	waiting  bool
}

func (t *trackers) init() {
	t.copies = map[string]*tracked{}
	t.shrunk = -time.Hour
}

// record notes what a change of the record starts or ends.
func (t *trackers) record(old, now unit.Record, at time.Duration) {
	if down := now.Down != nil; down != t.isOwnerDown {
		t.isOwnerDown, t.ownerDown = down, at
	}
	if old.Ownership != now.Ownership {
		t.growFailures = 0
		t.shrunk = -time.Hour
		t.copies = map[string]*tracked{}
	} else if len(now.InSync) < len(old.InSync) {
		t.shrunk = at
	}
	for _, l := range now.InSync {
		if t.copies[l.String()] == nil {
			t.copies[l.String()] = &tracked{heard: at, advanced: at}
		}
	}
	switch {
	case now.Unprotected() && t.unprotected.IsZero():
		t.unprotected = time.Now()
	case !now.Unprotected():
		t.unprotected = time.Time{}
	}
}

func (t *trackers) observe(o driver.Observation, at time.Duration) {
	if down := !o.Running; down != t.isDown {
		t.isDown, t.down = down, at
	}
	stuck := o.Running && o.Answering && o.InRecovery && o.Upstream.Member != "" && !o.Streaming
	if stuck != t.isStuck {
		t.isStuck, t.stuck, t.asked = stuck, at, at
	}
	waiting := o.WaitingCommits > 0
	for _, f := range o.Followers {
		c := t.copies[f.Name]
		if c == nil {
			c = &tracked{advanced: at}
			t.copies[f.Name] = c
		}
		if f.Flushed != c.flushed || !waiting || !c.waiting {
			c.flushed, c.advanced = f.Flushed, at
		}
		c.waiting = waiting
		if f.Streaming && f.SlotOK && !f.Duplicate {
			c.heard = at
		}
	}
}

// stuckDue reports whether the upstream should be asked again: each second while the copy does not stream.
func (t *trackers) stuckDue(o driver.Observation, at time.Duration) bool {
	if !t.isStuck || at-t.asked < time.Second {
		return false
	}
	t.asked = at
	return true
}

func (t *trackers) upstreamAnswers(alive bool, at time.Duration) {
	if !alive {
		t.stuck = at
	}
}

// view is the observation in the protocol's words.
func (t *trackers) view(o driver.Observation, rec unit.Record, self unit.Self, at time.Duration) unit.View {
	v := unit.View{
		Directory: unit.Directory(o.Directory), Running: o.Running, Answering: o.Answering, InRecovery: o.InRecovery,
		SyncNames: o.SyncNames, Flushed: o.Flushed, Replayed: o.Replayed,
		Upstream: o.Upstream.Member, Streaming: o.Streaming, WaitingFor: o.OldestWait,
		Unserved: t.served != servedKey(rec), SinceShrink: at - t.shrunk, GrowFailures: t.growFailures,
	}
	if t.isDown {
		v.DownFor = at - t.down
	}
	if t.isOwnerDown {
		v.OwnerDownFor = at - t.ownerDown
	}
	if t.isStuck {
		v.StuckFor = at - t.stuck
	}
	for _, g := range o.Gates {
		v.Gates = append(v.Gates, unit.Gate{Unit: g.Unit, Ownership: g.Ownership, Open: g.Open})
	}
	seen := map[string]bool{}
	for _, f := range o.Followers {
		life, err := estate.ParseLife(f.Name)
		if err != nil || seen[f.Name] {
			continue
		}
		seen[f.Name] = true
		c := unit.Copy{Life: life, Streaming: f.Streaming, Usable: f.SlotOK && !f.Duplicate, Flushed: f.Flushed}
		if k := t.copies[f.Name]; k != nil {
			c.MissingFor = at - k.heard
			if o.WaitingCommits > 0 {
				c.StalledFor = at - k.advanced
			}
		}
		v.Copies = append(v.Copies, c)
	}
	for _, l := range rec.InSync {
		if k := t.copies[l.String()]; k != nil && !seen[l.String()] {
			v.Copies = append(v.Copies, unit.Copy{Life: l, MissingFor: at - k.heard})
		}
	}
	return v
}

package unit

import (
	"slices"
	"time"

	"perdure/internal/estate"
)

// Tracker remembers, on an agent's monotonic clock, since when what it sees and knows has been so. Record and Look feed it,
// View says it in the protocol's words. Its caller guards it.
type Tracker struct {
	seen   View
	looked bool

	down, ownerDown, stuck, asked, shrunk, phase, full time.Duration
	isDown, isOwnerDown, isStuck                       bool
	growFailures                                       int
	copies                                             map[estate.Life]*tracked
	// forcing are the lives that this agent is putting in force; settled says that it has done so, so that the next look tells.
	forcing []estate.Life
	settled bool
}

// tracked is what is remembered of one follower.
type tracked struct {
	flushed  estate.LSN
	advanced time.Duration // when flushed last grew, or waiting began
	heard    time.Duration // when it was last seen streaming
	waiting  bool
	full     bool // its agent said so when it was last asked
}

// longAgo is before everything that an agent remembers.
const longAgo = time.Hour

// NewTracker begins at a reading of the clock.
func NewTracker(at time.Duration) Tracker {
	return Tracker{copies: map[estate.Life]*tracked{}, shrunk: at - longAgo, phase: at}
}

// Record notes what a change of the record starts or ends; old is the zero Record where none was known.
func (t *Tracker) Record(old, rec Record, at time.Duration) {
	if down := rec.Down != nil; down != t.isOwnerDown {
		t.isOwnerDown, t.ownerDown = down, at
	}
	if old.Ownership != rec.Ownership || old.State != rec.State {
		t.phase = at
	}
	if old.Ownership != rec.Ownership {
		t.growFailures, t.shrunk, t.copies = 0, at-longAgo, map[estate.Life]*tracked{}
	} else if len(rec.InSync) < len(old.InSync) {
		t.shrunk = at
	}
	for _, l := range rec.InSync {
		if t.copies[l] == nil {
			t.copies[l] = &tracked{heard: at, advanced: at}
		}
	}
}

// Look takes over what one look at the database saw: a View without the fields that Tracker counts. fresh says that the look
// began after Forced.
func (t *Tracker) Look(v View, fresh bool, at time.Duration) {
	t.seen, t.looked = v, true
	if down := !v.Running; down != t.isDown {
		t.isDown, t.down = down, at
	}
	if !v.Full {
		t.full = at
	}
	stuck := v.Running && v.Answering && v.InRecovery && v.Upstream != "" && !v.Streaming
	if stuck != t.isStuck {
		t.isStuck, t.stuck, t.asked = stuck, at, at
	}
	if fresh && (v.Answering || !v.Running) {
		t.forcing, t.settled = nil, false
	}
	waiting := v.WaitingFor > 0
	for _, c := range v.Copies {
		k := t.copies[c.Life]
		if k == nil {
			k = &tracked{advanced: at}
			t.copies[c.Life] = k
		}
		if c.Flushed != k.flushed || !waiting || !k.waiting {
			k.flushed, k.advanced = c.Flushed, at
		}
		k.waiting = waiting
		if c.Streaming && c.Usable {
			k.heard = at
		}
	}
}

// CopyFull takes over whether a copy's agent says that its disk has no room.
func (t *Tracker) CopyFull(l estate.Life, full bool) {
	if k := t.copies[l]; k != nil {
		k.full = full
	}
}

// Looked reports whether anything was seen yet.
func (t *Tracker) Looked() bool { return t.looked }

// Force is called before the lives are put in force: from now on they count as in force (I8).
func (t *Tracker) Force(lives []estate.Life) { t.forcing, t.settled = slices.Clone(lives), false }

// Forced is called when putting them in force has ended, one way or the other: what is seen from now on is what is in force.
func (t *Tracker) Forced() { t.settled = true }

// Settled reports whether a look that begins now shows what is in force.
func (t *Tracker) Settled() bool { return t.settled }

// InForce are the lives that may be in force: those seen, and those that are just being put there.
func (t *Tracker) InForce() []estate.Life {
	lives := slices.Clone(t.forcing)
	for _, name := range t.seen.SyncNames {
		if l, err := estate.ParseLife(name); err == nil && !slices.Contains(lives, l) {
			lives = append(lives, l)
		}
	}
	return lives
}

// StuckDue reports whether the upstream has to be asked whether it lives: each second while the copy does not stream.
func (t *Tracker) StuckDue(at time.Duration) bool {
	if !t.isStuck || at-t.asked < time.Second {
		return false
	}
	t.asked = at
	return true
}

// UpstreamAnswers takes over what came of asking: only a copy with a living upstream counts as stuck (I12).
func (t *Tracker) UpstreamAnswers(alive bool, at time.Duration) {
	if !alive {
		t.stuck = at
	}
}

// GrowFailed and Grown note how a proof ended.
func (t *Tracker) GrowFailed(at time.Duration) {
	t.growFailures++
	t.shrunk = at
}

// Grown ends the row of failures.
func (t *Tracker) Grown() { t.growFailures = 0 }

// View is the newest look with everything that is counted.
func (t *Tracker) View(rec Record, promise *Promise, at time.Duration) View {
	v := t.seen
	v.SinceShrink, v.GrowFailures, v.PhaseFor = at-t.shrunk, t.growFailures, at-t.phase
	v.Promised = promise.Over(at)
	if t.isDown {
		v.DownFor = at - t.down
	}
	if t.isOwnerDown {
		v.OwnerDownFor = at - t.ownerDown
	}
	if t.isStuck {
		v.StuckFor = at - t.stuck
	}
	if v.Full {
		v.FullFor = at - t.full
	}
	v.Copies = slices.Clone(v.Copies)
	for i := range v.Copies {
		c := &v.Copies[i]
		if k := t.copies[c.Life]; k != nil {
			c.MissingFor, c.Full = at-k.heard, k.full
			if v.WaitingFor > 0 {
				c.StalledFor = at - k.advanced
			}
		}
	}
	for _, l := range rec.InSync {
		if _, ok := v.copyOf(l); ok {
			continue
		}
		if k := t.copies[l]; k != nil {
			v.Copies = append(v.Copies, Copy{Life: l, MissingFor: at - k.heard})
		}
	}
	return v
}

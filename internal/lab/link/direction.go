package link

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// direction is what holds for everything that one site sends to another.
type direction struct {
	mu    sync.Mutex // serialises changes
	state atomic.Pointer[state]
	bytes atomic.Int64
}

// state is never changed, only replaced; changed closes when it is.
type state struct {
	latency time.Duration
	loss    float64
	stall   time.Duration
	cut     map[int]bool // ports, or allPorts
	frozen  map[int]int  // ports, or allPorts, with the number of freezes that run
	changed chan struct{}
}

func newDirection(latency time.Duration) *direction {
	d := &direction{}
	d.state.Store(&state{latency: latency, cut: map[int]bool{}, frozen: map[int]int{}, changed: make(chan struct{})})
	return d
}

func (d *direction) change(edit func(*state)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.state.Load()
	next := *old
	next.cut, next.frozen = maps.Clone(old.cut), maps.Clone(old.frozen)
	next.changed = make(chan struct{})
	edit(&next)
	d.state.Store(&next)
	close(old.changed)
}

// blocks reports whether nothing for the port gets through.
func (s *state) blocks(port int) bool {
	if len(s.cut) == 0 && len(s.frozen) == 0 {
		return false
	}
	return s.cut[allPorts] || s.cut[port] || s.frozen[allPorts] > 0 || s.frozen[port] > 0
}

// delay is how long a piece that is sent now takes, without cuts.
func (s *state) delay() time.Duration {
	if unlucky(s.loss) {
		return s.latency + s.stall
	}
	return s.latency
}

func (d *direction) status(p Path, connections int) Status {
	s := d.state.Load()
	out := Status{Path: p, Latency: s.latency, Cut: s.cut[allPorts], Frozen: s.frozen[allPorts] > 0, Loss: s.loss, Connections: connections, Bytes: d.bytes.Load()}
	for _, port := range slices.Sorted(maps.Keys(s.cut)) {
		if port != allPorts {
			out.CutPorts = append(out.CutPorts, port)
		}
	}
	for _, port := range slices.Sorted(maps.Keys(s.frozen)) {
		if port != allPorts {
			out.FrozenPorts = append(out.FrozenPorts, port)
		}
	}
	return out
}

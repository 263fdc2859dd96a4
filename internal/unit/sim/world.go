package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"perdure/internal/estate"
	"perdure/internal/unit"
)

// Config says which world is simulated. The zero value of each field but Seed has a default.
type Config struct {
	Seed    uint64
	Profile Profile
	Bug     Bug
	// Trace receives every line of what happens; nil means none is made, which is several times as fast.
	Trace func(line string)
}

// Result is what a run came to.
type Result struct {
	// Violation is nil where every invariant held.
	Violation *Violation
	// Hash is equal for equal runs.
	Hash    uint64
	Virtual time.Duration
	Events  uint64
	Stats   Stats
}

// Violation is an invariant that did not hold.
type Violation struct {
	// Invariant is its name: I1 … I17 of the rules, or one of the liveness bounds (L…).
	Invariant string
	Detail    string
	At        time.Duration
	Seed      uint64
}

func (v *Violation) Error() string {
	return fmt.Sprintf("seed %d: %s broken at %s: %s", v.Seed, v.Invariant, v.At, v.Detail)
}

// Stats count what a run has seen, so that a green run can be told from an empty one.
type Stats struct {
	Requests, Acknowledged, Replayed, Held, Refused, Reads, Credits   int
	Switches, Failovers, Lossy, Aborts, Reopens, Shrinks, Grows       int
	Faults, Recoveries, Rewinds, Copies, Diverged, Conflicts, Expired int
	// Chilled counts nodes that became cold without having been restarted.
	Chilled int
}

func (s *Stats) add(o Stats) {
	s.Requests += o.Requests
	s.Acknowledged += o.Acknowledged
	s.Replayed += o.Replayed
	s.Held += o.Held
	s.Refused += o.Refused
	s.Reads += o.Reads
	s.Credits += o.Credits
	s.Switches += o.Switches
	s.Failovers += o.Failovers
	s.Lossy += o.Lossy
	s.Aborts += o.Aborts
	s.Reopens += o.Reopens
	s.Shrinks += o.Shrinks
	s.Grows += o.Grows
	s.Faults += o.Faults
	s.Recoveries += o.Recoveries
	s.Rewinds += o.Rewinds
	s.Copies += o.Copies
	s.Diverged += o.Diverged
	s.Conflicts += o.Conflicts
	s.Expired += o.Expired
	s.Chilled += o.Chilled
}

// event is one thing that happens; it belongs to a process, or to the world itself where p is nil.
type event struct {
	at   int64
	seq  uint64
	p    *proc
	boot uint32
	fn   func()
}

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

// world is everything there is. All times are true time, in nanoseconds since the beginning.
type world struct {
	cfg     Config
	profile profile
	rng     *rand.Rand
	now     int64
	queue   []event
	seq     uint64
	hash    uint64
	events  uint64
	stats   Stats
	timing  unit.Timing

	net       network
	sites     []*site
	nodes     []*node
	groups    []*group
	gateways  []*gateway
	apps      []*app
	clients   []*client
	clusters  []*cluster
	watchers  []*watcher
	starts    uint64 // database starts, for pg_postmaster_start_time
	lastKey   uint64
	requests  []*request
	doubles   []double
	weather   weather
	operator  operator
	slowStore time.Duration // how long a write of the store may take
	quiet     bool          // faults are over: everything has to come to rest
	stopped   bool          // clients send nothing new
}

// site is a place; processes at one site fail together.
type site struct {
	id    estate.SiteID
	index int
	wall  int64 // offset of the wall clock of its machines, nanoseconds
	// steppedBack is when the wall clock was last set back.
	steppedBack int64
	dark        bool // without power
	// deaf counts what keeps others from calling its agents and databases; what they ask of others is answered.
	deaf int
}

const noTime = int64(-1) << 62

// failure carries a violation out of the event loop.
type failure struct{ v *Violation }

// broken ends the run: an invariant does not hold.
func (w *world) broken(invariant, format string, args ...any) {
	v := &Violation{Invariant: invariant, Detail: fmt.Sprintf(format, args...), At: time.Duration(w.now), Seed: w.cfg.Seed}
	w.tracef("checker", "BROKEN %s: %s", invariant, v.Detail)
	panic(failure{v})
}

func (w *world) bug(b Bug) bool { return w.cfg.Bug == b }

// tracef writes a line; the caller asks w.tracing first where the arguments cost something.
func (w *world) tracef(who, format string, args ...any) {
	if w.cfg.Trace == nil {
		return
	}
	w.cfg.Trace(fmt.Sprintf("%12.6f %-10s %s", float64(w.now)/1e9, who, fmt.Sprintf(format, args...)))
}

func (w *world) tracing() bool { return w.cfg.Trace != nil }

// mix puts a fact into the trace hash.
func (w *world) mix(x uint64) {
	w.hash ^= x
	w.hash *= 0x9E3779B97F4A7C15
	w.hash ^= w.hash >> 29
}

// push enters an event into the queue.
func (w *world) push(at int64, p *proc, fn func()) {
	w.seq++
	e := event{at: at, seq: w.seq, p: p, fn: fn}
	if p != nil {
		e.boot = p.boot
	}
	q := append(w.queue, e)
	i := len(q) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !e.before(&q[up]) {
			break
		}
		q[i] = q[up]
		i = up
	}
	q[i] = e
	w.queue = q
}

func (w *world) pop() event {
	q := w.queue
	top := q[0]
	last := q[len(q)-1]
	q[len(q)-1].fn = nil
	q = q[:len(q)-1]
	w.queue = q
	n := len(q)
	if n == 0 {
		return top
	}
	i := 0
	for {
		first := 4*i + 1
		if first >= n {
			break
		}
		least := first
		for c := first + 1; c < first+4 && c < n; c++ {
			if q[c].before(&q[least]) {
				least = c
			}
		}
		if !q[least].before(&last) {
			break
		}
		q[i] = q[least]
		i = least
	}
	q[i] = last
	return top
}

// run lets the world go on until the time.
func (w *world) run(until int64) {
	for len(w.queue) > 0 && w.queue[0].at <= until {
		e := w.pop()
		w.now = max(w.now, e.at)
		if e.p != nil {
			if !e.p.up || e.boot != e.p.boot {
				continue
			}
			if e.p.paused {
				e.p.held = append(e.p.held, e.fn)
				continue
			}
		}
		w.events++
		w.mix(uint64(w.now))
		e.fn()
	}
	w.now = max(w.now, until)
}

// after lets something happen in the world itself.
func (w *world) after(d time.Duration, fn func()) { w.push(w.now+int64(d), nil, fn) }

func (w *world) chance(perMille int) bool { return w.rng.IntN(1000) < perMille }

// between picks a duration from a range, both ends included.
func (w *world) between(from, to time.Duration) time.Duration {
	if to <= from {
		return from
	}
	return from + time.Duration(w.rng.Int64N(int64(to-from)+1))
}

// long picks a duration whose logarithm is uniform: short ones often, long ones sometimes.
func (w *world) long(from, to time.Duration) time.Duration {
	d := from
	for d < to && w.chance(600) {
		d *= 2
	}
	return min(w.between(d/2+from/2, d), to)
}

// proc is a process: it runs, is frozen, or is dead. Its timers and what was sent to it wait while it is frozen.
type proc struct {
	w      *world
	name   string
	site   *site
	up     bool
	paused bool
	boot   uint32
	held   []func()
	ppm    int64 // how fast its monotonic clock runs, parts per million beside true time
	begin  func()
	end    func()
	member bool // an agent or a database
	// deadSince is when it died, for whoever starts it again; startedAt when it began; haltedAt when it last did not run.
	deadSince, startedAt, haltedAt int64
}

// maxDrift is how far a clock may be off, in parts per million: two of them stay within the margin of a promise.
const maxDrift = 9000

func (w *world) newProc(name string, s *site, ppm int64) *proc {
	return &proc{w: w, name: name, site: s, ppm: ppm}
}

// mono reads the monotonic clock.
func (p *proc) mono() time.Duration { return time.Duration(p.w.now + p.w.now/1_000_000*p.ppm) }

// wall reads the wall clock in Unix milliseconds.
func (p *proc) wall() int64 { return 1_700_000_000_000 + (p.w.now+p.site.wall)/1_000_000 }

// after lets the process do something when its own clock has advanced by d.
func (p *proc) after(d time.Duration, fn func()) {
	p.w.push(p.w.now+int64(d)-int64(d)/1_000_000*p.ppm, p, fn)
}

func (p *proc) running() bool { return p.up && !p.paused }

func (p *proc) start() {
	if p.up {
		return
	}
	p.up, p.paused = true, false
	p.boot++
	p.held = nil
	p.startedAt, p.haltedAt = p.w.now, p.w.now
	p.w.tracef(p.name, "starts")
	if p.begin != nil {
		p.begin()
	}
}

func (p *proc) crash() {
	if !p.up {
		return
	}
	p.w.tracef(p.name, "dies")
	p.up, p.paused = false, false
	p.boot++
	p.held = nil
	p.deadSince = p.w.now
	if p.end != nil {
		p.end()
	}
}

func (p *proc) pause() {
	if p.up && !p.paused {
		p.paused = true
		p.w.tracef(p.name, "freezes")
	}
}

func (p *proc) resume() {
	if !p.up || !p.paused {
		return
	}
	p.paused = false
	p.haltedAt = p.w.now
	p.w.tracef(p.name, "goes on")
	held := p.held
	p.held = nil
	for _, fn := range held {
		p.w.push(p.w.now, p, fn)
	}
}

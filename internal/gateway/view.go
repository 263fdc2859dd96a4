package gateway

import (
	"slices"
	"sync/atomic"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/route"
)

// view is what requests are routed by: a table and the instances that are healthy now. It never changes; publish replaces it whole.
type view struct {
	table   *route.Table
	systems []*systemView
}

type systemView struct {
	*route.SystemTable
	gate  *gate
	units []*unitView
}

// unitView is one unit in a view. It is carried over into the next view where nothing of it changed,
// so whoever waits on changed is woken by its own unit only.
type unitView struct {
	entry route.Entry
	track *track
	gen   uint64
	// head are the header lines Perdure-Unit and Perdure-Ownership.
	head []byte
	// healthy serve first; spare are the other instances of the owner's site, tried where none is healthy.
	healthy, spare []*instance
	changed        chan struct{}

	readLookout, writeLookout lookout
}

type trackID struct {
	system estate.SystemID
	unit   estate.UnitID
}

// track is what outlives the views of a unit.
type track struct {
	id trackID
	// gen counts the ownerships seen. An attempt registers as in flight and then compares it with its view's;
	// publish raises it and then looks for attempts in flight: so every attempt under the old ownership is found by one of them.
	gen     atomic.Uint64
	turn    atomic.Uint32
	since   time.Time // first seen closed; zero while open; under Gateway.mu
	metrics *unitMetrics
}

// take merges an input into the table and publishes the result. Any order and any repetition of inputs is safe (I14).
func (g *Gateway) take(in route.Input) {
	g.mu.Lock()
	defer g.mu.Unlock()
	merged, refused := route.Merge(g.table.Input(), in)
	for _, r := range refused {
		g.metrics.refusedInputs.Inc()
		g.log.Warn("not taken over into the table", "group", r.Group, "reason", r.Reason, "invariant", "I14")
	}
	g.adoptLocked(merged)
}

// takeLent merges what another gateway lent (route.Borrow) and reports whether requests are routed in another way now.
// That the other one knows less of some group is no fault of anybody's.
func (g *Gateway) takeLent(in route.Input, from string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.table.Input()
	merged, refused := route.Borrow(old, in)
	for _, r := range refused {
		g.log.Debug("not taken over from another gateway", "peer", from, "group", r.Group, "reason", r.Reason, "invariant", "I14")
	}
	g.adoptLocked(merged)
	return !g.table.Input().RoutesLike(old)
}

// adoptLocked compiles an input and puts it in force.
func (g *Gateway) adoptLocked(merged route.Input) {
	table, err := route.Compile(merged)
	if err != nil {
		// A wrong definition must never keep a change of ownership from being routed: take the owners alone.
		g.metrics.brokenInputs.Inc()
		g.log.Error("the new definitions cannot be routed; owners are taken over, definitions are not", "version", merged.Version, "error", err)
		merged.Systems = g.table.Input().Systems
		if table, err = route.Compile(merged); err != nil {
			g.log.Error("the new owners cannot be routed; the table stays", "version", merged.Version, "error", err)
			return
		}
	}
	for _, n := range table.Notes {
		g.log.Debug("not routed", "note", n)
	}
	g.publishLocked(table)
	poke(g.acks)
	poke(g.save)
}

func (g *Gateway) publish(table *route.Table) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.publishLocked(table)
}

// refresh publishes the same table again with the instances as they are now.
func (g *Gateway) refresh() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.publishLocked(g.table)
}

// publishLocked makes the next view, puts it in force, abandons what is in flight to former owners, and wakes who waits.
func (g *Gateway) publishLocked(table *route.Table) {
	now := time.Now()
	g.table = table
	g.syncInstances(table.Instances)
	next := &view{table: table}
	former := map[trackID]*unitView{}
	if old := g.view.Load(); old != nil {
		for _, s := range old.systems {
			for _, u := range s.units {
				former[u.track.id] = u
			}
		}
	}
	var woken []*unitView
	var flipped []*track
	for _, st := range table.Systems {
		sv := &systemView{SystemTable: st, gate: g.gateOf(st)}
		for i := range st.Units {
			u := g.unitViewOf(&st.Units[i], now)
			was := former[u.track.id]
			if was != nil && was.same(u) {
				u = was
			} else if was != nil {
				woken = append(woken, was)
				if was.entry.Ownership != u.entry.Ownership {
					u.gen = u.track.gen.Load() + 1
					flipped = append(flipped, u.track)
				} else {
					u.readLookout.proven.Store(was.readLookout.proven.Load())
					u.writeLookout.proven.Store(was.writeLookout.proven.Load())
				}
			}
			delete(former, u.track.id)
			sv.units = append(sv.units, u)
		}
		next.systems = append(next.systems, sv)
	}
	for _, gone := range former {
		woken = append(woken, gone)
	}
	for _, t := range flipped {
		t.gen.Add(1)
	}
	g.view.Store(next)
	if len(flipped) > 0 {
		g.abandon(flipped)
	}
	for _, u := range woken {
		close(u.changed)
	}
}

func (g *Gateway) unitViewOf(e *route.Entry, now time.Time) *unitView {
	id := trackID{e.System, e.Unit}
	t := g.tracks[id]
	if t == nil {
		t = &track{id: id, metrics: g.metrics.unit(id)}
		g.tracks[id] = t
	}
	if !e.Closed() {
		t.since = time.Time{}
	} else if t.since.IsZero() {
		t.since = now
	}
	u := &unitView{entry: *e, track: t, gen: t.gen.Load(), changed: make(chan struct{})}
	u.entry.Since = t.since
	u.head = append(append(append(append(u.head, "Perdure-Unit: "...), e.Unit...), "\r\nPerdure-Ownership: "...), e.Stamp...)
	u.head = append(u.head, "\r\n\r\n"...)
	for i := range e.Instances {
		in := g.members[idOf(&e.Instances[i])]
		switch {
		case in == nil:
		case in.usable(now):
			u.healthy = append(u.healthy, in)
		default:
			u.spare = append(u.spare, in)
		}
	}
	return u
}

// same reports whether nothing changed that a request would notice.
func (u *unitView) same(o *unitView) bool {
	return u.entry.State == o.entry.State && u.entry.Group == o.entry.Group &&
		slices.Equal(u.healthy, o.healthy) && slices.Equal(u.spare, o.spare)
}

// pick chooses the next instance, preferring one other than avoid; nil where the unit has none.
func (u *unitView) pick(avoid *instance) *instance {
	from := u.healthy
	if len(from) == 0 {
		from = u.spare
	}
	switch len(from) {
	case 0:
		return nil
	case 1:
		return from[0]
	}
	turn := u.track.turn.Add(1)
	a, b := from[turn%uint32(len(from))], from[(turn+1)%uint32(len(from))]
	if a == avoid || (b != avoid && b.busy.Load() < a.busy.Load()) {
		return b
	}
	return a
}

// errNoSystem is returned for requests that belong to no system of the table.
var errNoSystem = errs.New(errs.NotFound, "no system of this gateway takes requests of this host and path")

package sim

import (
	"slices"
	"time"

	"perdure/internal/estate"
	"perdure/internal/unit"
)

// truth is what the checker knows of a group: it sees everything at once and changes nothing.
type truth struct {
	acked  []*entry
	newest *entry // the acknowledged entry with the highest position in the surviving history
	// released is the commit with the highest position that returned at the present ownership, and where.
	released *entry
	by       *database
	acker    map[estate.Ownership]*member
	granted  map[estate.Ownership]estate.MemberID
	// suspended: people accepted a loss, so an owner of a lower ownership may still acknowledge until it is met (I11).
	suspended   bool
	lossy       estate.Ownership
	approvedFor uint64 // newest incarnation that people decided about
	proposedAt  int

	changed  int64 // when the ownership or the set last changed
	unsound  int64 // when the owner was last not in order
	badSince int64 // since when it does not serve although it could
	metAt    int64
	autos    int
	ackedAt  int64
	closedAt int64
}

func (t *truth) init() {
	t.acker = map[estate.Ownership]*member{}
	t.granted = map[estate.Ownership]estate.MemberID{}
	t.badSince, t.metAt = noTime, noTime
}

func (w *world) top() *cluster { return w.clusters[len(w.clusters)-1] }

// record is the newest record of the newest store.
func (w *world) record(g *group) *unit.Record { return &w.top().recs[g.index].rec }

// excused reports whether an act in the ownership falls under an accepted loss: the guarantee of one writer is suspended
// until the two sides have met (I11) and the lower one had the time to close (I10; incarnations holds it to that).
func (w *world) excused(m *member, own estate.Ownership) bool {
	t, seen := &m.group.truth, m.agent.self.Seen
	if w.top().inc.Counter > own.Incarnation.Counter {
		return seen.Incarnation.Counter <= own.Incarnation.Counter || !t.suspended || m.agent.closing()
	}
	return t.suspended && own.Less(t.lossy) && (seen.Less(t.lossy) || m.agent.closing())
}

// closing reports whether the agent met a higher ownership so lately that it need not have closed yet.
func (a *agent) closing() bool {
	return !a.p.running() || a.w.now-max(a.metAt, a.p.haltedAt) <= int64(metBound)
}

// decidable gives the member that the life in the set stands for, where it could still be made the owner: that very life, or
// a later one on the same directory.
func (g *group) decidable(rec *unit.Record, l estate.Life) *member {
	m := g.member(l.Member)
	have, ok := rec.Member(l.Member)
	if m == nil || !ok || m.agent.self.FirstLife > l.N || have.Life != l.N && (have.First == 0 || have.First > l.N) {
		return nil
	}
	return m
}

// durable checks that everybody who could become the owner has the entry (I2, I3, I4).
func (w *world) durable(invariant string, d *database, e *entry, own estate.Ownership) {
	g := d.m.group
	rec := w.record(g)
	if w.excused(d.m, own) {
		return
	}
	need := func(m *member, why string) {
		if m != nil && m != d.m && !m.db.has(e) {
			w.broken(invariant, "%s acknowledges %d of %s, which %s does not have: %s at %s", d.p.name, e.lsn, own, m.db.p.name, why, rec.Ownership)
		}
	}
	switch rec.State {
	case unit.Open:
		if rec.Owner.Member != d.m.id {
			need(g.member(rec.Owner.Member), "the owner")
		}
		for _, l := range rec.InSync {
			need(g.decidable(rec, l), "in the in-sync set")
		}
	case unit.Promoting:
		need(g.decidable(rec, rec.Owner), "decided")
		for _, l := range rec.Heirs {
			need(g.decidable(rec, l), "an heir")
		}
	default:
	}
}

// namesMember reports whether some life of the member is in force: only the newest one can be decided, and only one that is
// in force can acknowledge.
func (d *database) namesMember(id estate.MemberID) bool {
	for _, n := range d.names {
		if l, err := estate.ParseLife(n); err == nil && l.Member == id {
			return true
		}
	}
	return false
}

// released is called when COMMIT returns without a warning.
func (w *world) released(d *database, e *entry) {
	if e.kind == noise { // a barrier or a probe: it carries no ownership of its own
		w.durable("I2", d, e, d.gate.own)
		return
	}
	w.durable("I2", d, e, e.own)
	if t := &d.m.group.truth; t.released == nil || t.released.own.Less(e.own) || e.own == t.released.own && e.lsn > t.released.lsn {
		t.released, t.by = e, d
	}
	// No acknowledgement goes beyond what a member of the names in force had when it was cut (I4).
	for _, m := range d.m.group.members {
		if e.own.Less(m.cut) && estate.LSN(e.lsn) > m.cutAt && d.named(m.cutName) && !w.excused(d.m, e.own) {
			w.broken("I4", "%s acknowledges %d of %s although %s was severed at %s for %s", d.p.name, e.lsn, e.own, m.cutName, m.cutAt, m.cut)
		}
	}
}

func (d *database) named(name string) bool {
	return slices.Contains(d.names, name)
}

// acknowledges is called when an application tells a success.
func (w *world) acknowledges(d *database, e *entry, own estate.Ownership) {
	g := d.m.group
	t := &g.truth
	w.durable("I3", d, e, own)
	rec := w.record(g)
	if rec.Ownership.Less(own) && w.top().inc.Counter == own.Incarnation.Counter {
		w.broken("I1", "%s acknowledges in %s, the store is at %s", d.p.name, own, rec.Ownership)
	}
	if by := t.acker[own]; by == nil {
		t.acker[own] = d.m
	} else if by != d.m {
		w.broken("I1", "%s and %s both acknowledge in %s", by.id, d.m.id, own)
	}
	if e.acked == 0 {
		e.acked = w.now
		t.acked = append(t.acked, e)
		w.mix(uint64(e.lsn))
	}
	if (t.newest == nil || e.lsn > t.newest.lsn) && !w.excused(d.m, own) {
		t.newest = e
	}
	t.ackedAt = w.now
	if w.excused(d.m, own) && t.suspended {
		e.lost = true
	}
}

// leaves is called when a fact leaves the database by the outbox.
func (w *world) leaves(d *database, e *entry) {
	w.durable("I3", d, e, d.gate.own)
}

// reads is called when a plain read is answered by an owner: it must see everything acknowledged before (I8).
func (w *world) reads(d *database) {
	t := &d.m.group.truth
	if t.newest == nil || d.has(t.newest) || w.excused(d.m, d.gate.own) || w.leaseExcused(d) {
		return
	}
	w.broken("I8", "%s answers a plain read in %s without %d, which was acknowledged in %s", d.p.name, d.gate.own, t.newest.lsn, t.newest.own)
}

// leases is called when a lease is written: no member of the set may be free before it ends, on nobody's clock (I8).
func (w *world) leases(d *database) {
	g := d.m.group
	rec := w.record(g)
	if rec.State != unit.Open || rec.Owner != d.life || w.excused(d.m, d.gate.own) || !d.m.agent.p.running() {
		return
	}
	ends := w.now + (d.lease-d.p.wall())*1_000_000
	for _, l := range rec.InSync {
		m := g.decidable(rec, l)
		if m == nil || m.agent.self.Now() != l || rec.Down != nil || !m.agent.p.up {
			continue
		}
		free := int64(m.agent.promise.Until) / (1_000_000 + m.ppm) * 1_000_000
		if free < ends-int64(2*time.Millisecond) {
			w.broken("I8", "the read lease of %s runs %s longer than the promise of %s", d.p.name, time.Duration(ends-free), l)
		}
	}
}

// leaseExcused: the wall clock was set back while the agent did not run; then nobody ends the lease in time. An agent that runs
// again does so within one promise.
func (w *world) leaseExcused(d *database) bool {
	s, a := d.m.site, d.m.agent.p
	if s.steppedBack == 0 || s.steppedBack < d.leasedAt {
		return false
	}
	late := w.now-a.haltedAt > int64(w.timing.Promise)*11/10
	return !a.running() || a.haltedAt >= d.leasedAt && !late
}

// readsCopy is called when an asynchronous copy answers a query: it must not have more than the in-sync set (I12).
func (w *world) readsCopy(d *database) {
	g := d.m.group
	rec := w.record(g)
	if w.role(rec, d.m) != unit.AsyncRole || rec.State != unit.Open || w.now-g.truth.changed < int64(5*time.Second) || len(w.clusters) > 1 {
		return
	}
	last := d.len() - 1
	for last >= 0 && d.wal[last].req == nil {
		last--
	}
	if last < 0 {
		return
	}
	e := d.wal[last]
	for _, l := range rec.InSync {
		if m := g.decidable(rec, l); m == nil || m.db.has(e) {
			return
		}
	}
	if len(rec.InSync) > 0 {
		w.broken("I12", "%s serves %d, which nobody of the in-sync set%s has", d.p.name, e.lsn, names(rec.InSync))
	}
}

// opensGate is called before a guard row is inserted.
func (d *database) opensGate(own estate.Ownership) {
	w, m := d.w, d.m
	t := &m.group.truth
	if t.granted[own] != m.id {
		w.broken("I1", "%s opens at %s, which the store gave to %q", d.p.name, own, t.granted[own])
	}
	if own.Less(m.agent.self.Seen) {
		w.broken("I15", "%s opens at %s, but its agent has met %s", d.p.name, own, m.agent.self.Seen)
	}
	if own.Less(d.highest) {
		w.broken("I1", "%s opens at %s, but was at %s", d.p.name, own, d.highest)
	}
	still := d.gate.there && d.gate.open && d.gate.own == own && d.gate.start == d.start
	if m.everOpen[own] && !still {
		w.broken("I1", "%s is opened again at %s, without a new epoch", d.p.name, own)
	}
	m.everOpen[own] = true
	if own.Incarnation.Counter > 1 && t.approvedFor < own.Incarnation.Counter {
		w.broken("I10", "%s opens at %s: nobody decided about the recovered store", d.p.name, own)
	}
	for _, o := range m.group.members {
		if o != m && o.db.p.running() && o.db.mayRead() && o.db.gate.own.Less(own) && !w.excused(o, o.db.gate.own) && !w.leaseExcused(o.db) {
			w.broken("I8", "%s opens at %s while the read lease of %s runs for %d ms", d.p.name, own, o.db.p.name, o.db.lease-o.db.p.wall())
		}
	}
	w.tracef(d.p.name, "opens at %s", own)
}

// passesGate is called when the guard lets a transaction in.
func (d *database) passesGate(own estate.Ownership) {
	if slices.Contains(d.opened, own) {
		return
	}
	d.w.broken("I1", "%s lets a transaction in at %s, which its agent did not open in this life of the server", d.p.name, own)
}

// commits is called when a transaction's COMMIT becomes durable on the owner.
func (d *database) commits(t *txn) {
	if t.begun < d.fencedAt {
		d.w.broken("I9", "a transaction of %s that began before the fence of %s commits after it", d.p.name, d.fenced)
	}
}

// isFenced is called when closing and draining are done.
func (d *database) isFenced() {
	d.fenced, d.fencedAt = d.gate.own, d.w.now
	d.w.tracef(d.p.name, "drained at %d", d.len())
}

// promotes is called when recovery ends.
func (d *database) promotes() {
	if d.streaming != nil || d.upstream != nil {
		d.w.broken("I4", "%s is promoted while it is connected to its source", d.p.name)
	}
}

// startsWritable is called when a primary directory is started, by an agent that has read the record (I6).
func (d *database) startsWritable(rec *unit.Record) {
	if rec.Owner.Member != d.m.id && rec.Lost == nil && !(rec.State == unit.Promoting && rec.Before.Member == d.m.id) {
		d.w.broken("I6", "%s is started as a primary although %s owns the group", d.p.name, rec.Owner)
	}
}

// severed is called when the position of a cut is on disk.
func (a *agent) severed(own estate.Ownership, at estate.LSN) {
	m := a.m
	m.cut, m.cutAt, m.cutName = own, at, m.db.life.String()
	if t := &m.group.truth; t.released != nil && t.released.own.Less(own) && t.by != m.db && t.by.named(m.cutName) && !a.w.excused(t.by.m, t.released.own) && estate.LSN(t.released.lsn) > at {
		a.w.broken("I4", "%s is severed at %s for %s, but %s acknowledged %d of %s", m.cutName, at, own, t.by.p.name, t.released.lsn, t.released.own)
	}
	a.w.tracef(a.p.name, "severed at %d for %s", at, own)
}

func (t *truth) recovered(g *group) {
	// Whatever the lost side acknowledges from now on is at stake.
	t.changed = g.w.now
}

// committed is called for every transition that the store takes.
func (w *world) committed(c *cluster, g *group, old unit.Record, t unit.Transition) {
	rec := &c.recs[g.index].rec
	tr := &g.truth
	if w.tracing() {
		w.tracef("store", "%s r%d %s by %s: %s %s owner %s set%s%s", g.name, c.recs[g.index].rev, t.Kind, who(t), rec.State, rec.Ownership, rec.Owner, names(rec.InSync), switchText(rec))
	}
	if rec.Ownership.Less(old.Ownership) {
		w.broken("I1", "ownership of %s goes down from %s to %s", g.name, old.Ownership, rec.Ownership)
	}
	changed := rec.Ownership != old.Ownership
	if changed && c != w.top() {
		w.coldGrant(c, g, t)
	}
	if t.Kind == unit.Recover && (rec.State != unit.Closed || len(rec.InSync) > 0) {
		w.broken("I10", "the recovered record of %s is %s with the set%s", g.name, rec.State, names(rec.InSync))
	}
	if changed || len(rec.InSync) != len(old.InSync) || t.Kind == unit.Grow {
		tr.changed = w.now
	}
	if rec.State == unit.Open && (changed || old.State != unit.Open) {
		w.opensRecord(c, g, &old, rec, t)
	}
	switch t.Kind {
	case unit.Grow:
		w.stats.Grows++
		// From now on the new member may be decided.
		if o := g.member(rec.Owner.Member); c == w.top() && o != nil && o.db.mayRead() && o.site.steppedBack < o.db.leasedAt {
			w.leases(o.db)
		}
		if c == w.top() && tr.newest != nil {
			for _, l := range rec.InSync {
				if m := g.decidable(rec, l); m != nil && !m.db.has(tr.newest) {
					w.broken("I2", "%s grows by %s, and %s lacks %d, which is acknowledged", g.name, t.Member, l, tr.newest.lsn)
				}
			}
		}
	case unit.Shrink:
		w.stats.Shrinks++
	case unit.Abort:
		w.stats.Aborts++
	case unit.Reopen:
		w.stats.Reopens++
	case unit.Begin:
		w.stats.Switches++
	case unit.Decide:
		w.decided(c, g, &old, rec, t)
	default:
	}
	w.namesInForce(c, g, rec)
}

func switchText(rec *unit.Record) string {
	s := rec.Switch
	if s == nil {
		return ""
	}
	return " switch " + s.ID + " to " + s.To.String() + " " + string(s.Phase) + " " + s.Reason
}

// namesInForce: what the server waits for is never less than what the store has (I2).
func (w *world) namesInForce(c *cluster, g *group, rec *unit.Record) {
	m := g.member(rec.Owner.Member)
	if rec.State != unit.Open || m == nil || !m.db.ready || m.db.recovering || m.db.life != rec.Owner || c != w.top() {
		return
	}
	for _, l := range rec.InSync {
		if g.decidable(rec, l) != nil && !m.db.namesMember(l.Member) {
			w.broken("I2", "%s is in the set of %s at %s and not in force on %s", l, g.name, rec.Ownership, m.db.p.name)
		}
	}
}

func (w *world) decided(c *cluster, g *group, old, rec *unit.Record, t unit.Transition) {
	tr := &g.truth
	switch {
	case rec.Switch.Lossy:
		w.stats.Lossy++
		people := map[string]bool{}
		for _, a := range rec.Switch.Approvals {
			people[a.By] = true
		}
		if len(people) < 2 {
			w.broken("I11", "%s is taken over with a loss that %d people accepted", g.name, len(people))
		}
		tr.suspended, tr.lossy, tr.approvedFor = true, rec.Ownership, rec.Ownership.Incarnation.Counter
	case old.Lost != nil:
		w.broken("I10", "%s is decided without people after the recovery of the store", g.name)
	}
	if t.Person != "" || rec.Switch.Mode != unit.Failover {
		return
	}
	w.stats.Failovers++
	if old.State == unit.Open {
		tr.autos++
		if tr.autos > w.weather.count {
			w.broken("I16", "%s was switched %d times by itself, there were %d faults", g.name, tr.autos, w.weather.count)
		}
	}
	if t.Silent && old.State == unit.Open && c == w.top() && w.now-tr.unsound > int64(3*time.Second) {
		w.broken("I16", "%s is taken from %s, which was in order for %s", g.name, old.Owner, time.Duration(w.now-tr.unsound))
	}
}

// opensRecord: the new owner has everything that was acknowledged, or people accepted that it has not.
func (w *world) opensRecord(c *cluster, g *group, old, rec *unit.Record, t unit.Transition) {
	tr := &g.truth
	own := rec.Ownership
	if by, ok := tr.granted[own]; ok && by != rec.Owner.Member {
		w.broken("I1", "%s was given to %s and to %s", own, by, rec.Owner.Member)
	}
	tr.granted[own] = rec.Owner.Member
	if c != w.top() {
		return
	}
	if old.Lost != nil && t.Kind == unit.Reopen {
		w.broken("I10", "%s is reopened without people after the recovery of the store", g.name)
	}
	m := g.member(rec.Owner.Member)
	lossy := rec.Switch != nil && rec.Switch.Lossy && t.Kind == unit.Opened
	lost := 0
	tr.newest = nil
	for _, e := range tr.acked {
		if m.db.has(e) {
			if tr.newest == nil || e.lsn > tr.newest.lsn {
				tr.newest = e
			}
			continue
		}
		switch {
		case e.lost:
		case !lossy:
			w.broken("I3", "%s opens at %s with %s, which lacks %d, acknowledged in %s", g.name, own, m.id, e.lsn, e.own)
		case e.lsn <= tr.proposedAt:
			w.broken("I11", "%d of %s is lost, and the loss shown was from %d on", e.lsn, g.name, tr.proposedAt)
		default:
			e.lost = true
			lost++
		}
	}
	if lossy {
		w.tracef("checker", "%s loses %d acknowledged transactions, as accepted", g.name, lost)
	}
}

// coldGrant: a lower store that came up cold after the recovery must not grant anything (I10).
func (w *world) coldGrant(c *cluster, g *group, t unit.Transition) {
	for _, m := range c.members {
		if m.cluster == c && m.p.running() && m.p.startedAt < w.top().born {
			return
		}
	}
	w.broken("I10", "a store of incarnation %d that came up cold grants %s of %s, incarnation %d exists", c.inc.Counter, t.Kind, g.name, w.top().inc.Counter)
}

// held is called with the time that a gateway kept a request.
func (w *world) held(gw *gateway, r *request, d time.Duration) {
	awake := time.Duration(w.now - gw.p.haltedAt) // a frozen gateway answers late
	if min(d, awake) > holdBound+1500*time.Millisecond {
		w.broken("I14", "a request for %s was held for %s", r.group.name, d)
	}
}

// answers is called when a gateway delivers an answer.
func (gw *gateway) answers(g *group, x answer) {
	if own := gw.table[g.index].own; x.own.Less(own) {
		gw.w.broken("I14", "%s delivers an answer of %s, its table is at %s", gw.p.name, x.own, own)
	}
}

// diverged is the list of what a returned owner has and its successor has not; every keyed transaction is done again by key (I6).
func (w *world) diverged(g *group, list []*entry) {
	for _, e := range list {
		if e.req == nil || e.kind == sent {
			continue
		}
		w.stats.Diverged++
		e.returned = true
		r := e.req
		if w.bug(ReappliedUnkeyed) {
			r = &request{key: w.newKey(), kind: e.kind, group: r.group, to: r.to, born: r.born}
			w.doubles = append(w.doubles, double{of: e.req, again: r})
		}
		w.reconcile(r, 0)
	}
}

// double is a transaction that a seeded bug applied again under another key.
type double struct{ of, again *request }

func (w *world) reconcile(r *request, tries int) {
	gw := w.gateways[w.rng.IntN(len(w.gateways))]
	if tries > 60 {
		return
	}
	answered := false
	if gw.p.running() {
		gw.p.after(0, func() {
			gw.handle(r, func(x answer) {
				if x.result == committed || x.result == tooOld {
					answered = true
				}
			})
		})
	}
	w.after(12*time.Second, func() {
		if !answered {
			w.reconcile(r, tries+1)
		}
	})
}

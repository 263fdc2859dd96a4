package sim

import (
	"time"

	"perdure/internal/estate"
	"perdure/internal/unit"
)

const (
	// closedBound is how long a group may be closed while an in-sync member lives and could take over.
	closedBound = 10 * time.Second
	// metBound is how long a lower incarnation may stay open after it was met.
	metBound = time.Second
	// independence is how long a healthy owner may be closed while only the store is missing.
	independence = 500 * time.Millisecond
)

// watchOver looks at every group ten times a second.
func (w *world) watchOver() {
	for _, g := range w.groups {
		rec := w.record(g)
		t := &g.truth
		o := g.member(rec.Owner.Member)
		if o == nil || !w.sound(o) {
			t.unsound = w.now
		}
		if w.serving(g, rec) || !w.couldServe(g, rec) {
			t.badSince = noTime
		} else if t.badSince == noTime {
			t.badSince = w.now
		} else if w.now-t.badSince > int64(closedBound) {
			w.broken("L-closed", "%s is closed for %s although it could be open: %s %s owner %s set%s%s", g.name, time.Duration(w.now-t.badSince), rec.State, rec.Ownership, rec.Owner, names(rec.InSync), switchText(rec))
		}
		w.incarnations(g)
		w.independent(g, rec)
	}
}

// sound reports whether an owner is in order as far as anybody can see from outside.
func (w *world) sound(m *member) bool {
	if !w.alive(m) || w.weather.badNet > 0 || m.db.stalled > w.now {
		return false
	}
	near := 0
	for _, n := range w.nodes {
		if n.p.running() && w.linked(n.p, m.agent.p) && w.letsIn(m.agent.p, n.p) {
			near++
		}
	}
	return near > len(w.nodes)/2
}

// serving reports whether the owner lets transactions in.
func (w *world) serving(g *group, rec *unit.Record) bool {
	m := g.member(rec.Owner.Member)
	if m == nil || rec.State != unit.Open {
		return false
	}
	return m.db.p.running() && m.db.mayWrite() && m.db.gate.own == rec.Ownership
}

// couldServe reports whether everything is there that the group needs to be open soon: a store that works, nodes that may act,
// and a member that holds everything, reached by a majority of them.
func (w *world) couldServe(g *group, rec *unit.Record) bool {
	c := w.top()
	if w.weather.badNet > 0 || c.leader == nil || !c.commands(c.leader) {
		return false
	}
	for _, n := range w.nodes {
		if n.lagBy > 0 || n.p.running() && n.cluster == c && n.cold {
			return false
		}
	}
	good := func(m *member) bool {
		if !m.agent.p.running() || m.db.p.up && m.db.p.paused || m.db.half || m.db.stalled > w.now || m.db.conflict > w.now || m.db.frozen > w.now {
			return false
		}
		near := 0
		for _, n := range w.nodes {
			if n.p.running() && n.cluster == c && w.linked(n.p, c.leader.p) && w.linked(n.p, m.agent.p) && w.letsIn(m.agent.p, n.p) {
				near++
			}
		}
		return near > len(w.nodes)/2
	}
	o := g.member(rec.Owner.Member)
	damped := rec.Damped(c.leader.p.wall()) || rec.Damped(c.leader.p.wall()-2000)
	switch rec.State {
	case unit.Closed:
		return rec.Lost == nil && o != nil && good(o) && w.now > int64(5*time.Second)
	case unit.Open:
		if good(o) {
			return rec.MayOpen()
		}
		if rec.Policy.Failover != unit.Auto || damped || rec.Policy.MinInSync > 0 || w.profile.pinned {
			return false
		}
		for _, l := range rec.InSync {
			if m := g.decidable(rec, l); m != nil && good(m) && w.role(rec, m) == unit.SyncRole && w.enrolled(rec, m) {
				return true
			}
		}
	case unit.Promoting:
		if rec.Policy.MinInSync > 0 || w.profile.pinned {
			return false
		}
		if m := g.decidable(rec, rec.Owner); m != nil && good(m) {
			return true
		}
		// The decision has to pass on first; that has its own bound.
		if w.now-g.truth.changed < int64(w.timing.Promotion)+int64(4*time.Second) {
			return false
		}
		for _, l := range rec.Heirs {
			if m := g.decidable(rec, l); m != nil && good(m) && w.enrolled(rec, m) {
				return true
			}
		}
		m := g.member(rec.Before.Member)
		return m != nil && m.id != rec.Owner.Member && good(m)
	}
	return false
}

// enrolled reports whether the record knows the member's present life.
func (w *world) enrolled(rec *unit.Record, m *member) bool {
	have, _ := rec.Member(m.id)
	return have.Life == m.agent.self.Life
}

func (w *world) role(rec *unit.Record, m *member) unit.Role {
	have, _ := rec.Member(m.id)
	return have.Role
}

// incarnations: whoever meets a higher incarnation closes at once (I10).
func (w *world) incarnations(g *group) {
	t := &g.truth
	if len(w.clusters) == 1 {
		return
	}
	top := w.top()
	open := false
	for _, m := range g.members {
		if m.db.p.running() && m.db.mayWrite() && m.db.gate.own.Incarnation.Counter < top.inc.Counter && m.agent.p.running() && w.met(m) {
			open = true
			if t.metAt == noTime {
				t.metAt = w.now
			}
			if w.now-t.metAt > int64(metBound) {
				w.broken("I10", "%s is still open at %s, %s after incarnation %d could be met", m.db.p.name, m.db.gate.own, time.Duration(w.now-t.metAt), top.inc.Counter)
			}
		}
	}
	if !open {
		t.metAt = noTime
	}
}

// met reports whether the newest store's word reaches the member: everybody is up and every link works.
func (w *world) met(m *member) bool {
	if w.weather.badNet > 0 {
		return false
	}
	for _, n := range w.nodes {
		if !n.p.running() || !w.linked(n.p, m.agent.p) || !w.linked(n.p, w.top().members[0].p) {
			return false
		}
	}
	return m.agent.watch.source.p.running()
}

// independent: without the store an owner goes on (I8).
func (w *world) independent(g *group, rec *unit.Record) {
	t := &g.truth
	m := g.member(rec.Owner.Member)
	fine := m == nil || rec.State != unit.Open || !w.alive(m) || m.db.life != rec.Owner || !m.everOpen[rec.Ownership] || m.db.closedBy == rec.Ownership ||
		m.db.gate.open || len(m.db.opened) == 0
	if fine {
		t.closedAt = w.now
		return
	}
	if w.now-t.closedAt > int64(independence) {
		w.broken("I8", "%s is closed at %s, and nothing but the store was missing", m.db.p.name, rec.Ownership)
	}
}

// atRest checks what has to be true when every fault is over and everybody had time (I3, I5, I6, and the end of every hold).
func (w *world) atRest() {
	for _, g := range w.groups {
		rec := w.record(g)
		if !w.serving(g, rec) {
			w.broken("L-rest", "%s does not come to rest: %s %s owner %s set%s%s", g.name, rec.State, rec.Ownership, rec.Owner, names(rec.InSync), switchText(rec))
		}
		if s := rec.Switch; s.Active() {
			w.broken("L-switch", "%s: the switch does not end:%s", g.name, switchText(rec))
		}
		for _, m := range g.members {
			if m.id == rec.Owner.Member {
				continue
			}
			have, _ := rec.Member(m.id)
			if !m.db.ready || m.db.streaming == nil || have.Following != rec.Ownership {
				w.broken("L-follow", "%s does not follow: dir %s ready %v streaming %v following %s", m.id, m.db.dir, m.db.ready, m.db.streaming != nil, have.Following)
			}
			if have.Role != unit.AsyncRole && !rec.InSyncLife(estate.Life{Member: m.id, N: have.Life}) {
				w.broken("L-grow", "%s is not in the set again", m.id)
			}
		}
	}
	w.accounts()
}

// accounts compares what was acknowledged with what survived: nothing lost, nothing twice, no money made.
func (w *world) accounts() {
	count := make([]map[*request]int, len(w.groups))
	for _, g := range w.groups {
		d := g.member(w.record(g).Owner.Member).db
		n := make(map[*request]int, len(d.wal))
		for _, e := range d.wal {
			if e.req != nil {
				n[e.req]++
				if n[e.req] > 1 {
					w.broken("I5", "%s executed key %d twice", g.name, e.req.key)
				}
			}
		}
		count[g.index] = n
	}
	for _, x := range w.doubles {
		if count[x.of.group.index][x.of]+count[x.again.group.index][x.again] > 1 {
			w.broken("I5", "the effect of key %d is there twice", x.of.key)
		}
	}
	for _, g := range w.groups {
		for _, e := range g.truth.acked {
			if count[g.index][e.req] == 0 && (!e.lost || e.returned && !e.req.expired) {
				w.broken(pick(e.lost, "I6", "I3"), "key %d of %s was acknowledged at %d and is not there (lost %v, listed %v)", e.req.key, g.name, e.lsn, e.lost, e.returned)
			}
		}
	}
	// Money: every debit that survived was credited once, every credit has its debit, but for what was accepted as lost.
	gone := map[*request]bool{}
	for _, g := range w.groups {
		for _, e := range g.truth.acked {
			if e.lost && count[g.index][e.req] == 0 {
				gone[e.req] = true
			}
		}
	}
	for _, g := range w.groups {
		d := g.member(w.record(g).Owner.Member).db
		for _, e := range d.wal {
			switch e.kind {
			case debit:
				if c := w.creditOf(e); count[c.group.index][c] != 1 && !gone[c] {
					w.broken("I3", "the debit of key %d of %s has %d credits: money is not conserved", e.req.key, g.name, count[c.group.index][c])
				}
			case credit:
				of := e.req.of
				if count[of.req.group.index][of.req] != 1 && !gone[of.req] {
					w.broken("I3", "the credit of key %d of %s has %d debits: money is made", of.req.key, g.name, count[of.req.group.index][of.req])
				}
			}
		}
	}
}

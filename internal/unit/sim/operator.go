package sim

import (
	"strconv"
	"time"

	"perdure/internal/estate"
	"perdure/internal/unit"
)

// operator is what people do: planned switches, aborts, confirmations, and the recovery of a lost store (I10, I11).
type operator struct {
	lostAt   int64 // when the city was lost, 0: never
	quorumAt int64 // when the newest store last had a leader
	people   int
	deadline [4]int64 // per group: when a person acts
}

// persons is called every second.
func (w *world) persons() {
	top := w.top()
	if top.leader != nil && top.commands(top.leader) {
		w.operator.quorumAt = w.now
	} else if w.now-w.operator.quorumAt > int64(8*time.Second) && w.profile.name == Recovery && len(w.clusters) == 1 && w.operator.lostAt != 0 {
		w.recoverStore(w.nodes[2])
		return
	}
	for _, n := range w.nodes {
		if n.cluster == nil && n.p.running() && (w.quiet || w.chance(100)) && top.leader != nil && top.commands(top.leader) && w.linked(n.p, top.leader.p) {
			n.join(top)
		}
		// A person's word that a site is gone lets a cold store act; people look before they speak.
		if n.cold && n.p.running() && n.cluster == top && w.now-n.coldAt > int64(15*time.Second) {
			n.cold = false
			w.tracef(n.p.name, "may act by a person's word")
		}
	}
	for _, g := range w.groups {
		w.attend(g)
	}
}

// recoverStore makes a new incarnation of the store from one member, after each reachable database was asked (I10).
func (w *world) recoverStore(n *node) {
	if !n.p.running() {
		return
	}
	counter := n.met.Counter
	for _, g := range w.groups {
		for _, m := range g.members {
			if m.agent.p.running() && w.linked(n.p, m.agent.p) {
				counter = max(counter, m.agent.self.Seen.Incarnation.Counter)
			}
		}
	}
	inc := estate.Incarnation{Counter: counter + 1, ID: "r" + strconv.Itoa(len(w.clusters)+1)}
	c := &cluster{w: w, inc: inc, lost: noTime, recs: make([]stored, len(w.groups)), rev: 0, members: []*node{n}, leader: n, born: w.now}
	w.tracef(n.p.name, "the store is recovered as incarnation %d.%s", inc.Counter, inc.ID)
	w.stats.Recoveries++
	w.clusters = append(w.clusters, c)
	n.cluster, n.met, n.cold, n.lagBy, n.ledAt = c, inc, false, 0, n.p.mono()
	for _, g := range w.groups {
		old := n.view[g.index]
		t := unit.Transition{Kind: unit.Recover, Person: "ann", Incarnation: inc, Revision: old.rev, Now: n.p.wall()}
		rec, err := w.apply(old.rec, t)
		if err != nil {
			w.broken("I10", "%s cannot be recovered: %v", g.name, err)
		}
		c.rev = max(c.rev, old.rev) + 1
		c.recs[g.index] = stored{rec, c.rev}
		g.truth.recovered(g)
		w.committed(c, g, old.rec, t)
		n.view[g.index] = stored{}
		n.learn(g, c.recs[g.index])
	}
}

// attend lets people look after one group.
func (w *world) attend(g *group) {
	rec := w.record(g)
	at := &w.operator.deadline[g.index]
	n := w.helpfulNode()
	if n == nil {
		return
	}
	s := n.view[g.index]
	if s.rev == 0 || s.rec.Ownership != rec.Ownership {
		return
	}
	wait := func(d time.Duration) bool {
		if *at == 0 {
			*at = w.now + int64(d)
			return false
		}
		if w.now < *at {
			return false
		}
		*at = 0
		return true
	}
	switch {
	case rec.Switch.Active() && rec.Switch.Phase == unit.Accepting:
		if len(rec.Switch.Approvals) < 2 {
			w.operator.people++
			w.personPost(n, g, unit.Transition{Kind: unit.Accept, Person: []string{"ann", "bob"}[len(rec.Switch.Approvals)%2], SwitchID: rec.Switch.ID})
		} else if m := g.member(rec.Switch.To.Member); !m.agent.p.running() || m.agent.self.Now() != rec.Switch.To {
			if wait(5 * time.Second) {
				w.personPost(n, g, unit.Transition{Kind: unit.Abort, Person: "ann", Reason: "the target is gone"})
			}
		}
	case rec.Lost != nil && !rec.Switch.Active():
		if wait(w.between(2*time.Second, 5*time.Second)) {
			w.propose(n, g)
		}
	case rec.State == unit.Promoting:
		if wait(w.between(15*time.Second, 25*time.Second)) {
			w.propose(n, g)
		}
	case rec.Switch.Undecided():
		if !w.quiet && w.chance(w.profile.aborts) {
			w.personPost(n, g, unit.Transition{Kind: unit.Abort, Person: "bob"})
		}
	case rec.State == unit.Open && !w.alive(w.owner(g)) && rec.Policy.Failover == unit.Confirm:
		if wait(3 * time.Second) {
			w.confirm(n, g)
		}
	case rec.State == unit.Open && !rec.Switch.Active() && !w.quiet && w.chance(w.profile.switches) && len(rec.InSync) > 0 && w.now > int64(10*time.Second):
		*at = 0
		to := rec.InSync[w.rng.IntN(len(rec.InSync))]
		mode := unit.Takeover
		if w.chance(300) {
			mode = unit.SwitchBack
		}
		if w.chance(w.profile.aborts) {
			w.after(w.between(0, 800*time.Millisecond), func() {
				if n.p.running() && n.mayAct() == nil {
					w.personPost(n, g, unit.Transition{Kind: unit.Abort, Person: "bob", Reason: "changed my mind"})
				}
			})
		}
		w.personPost(n, g, unit.Transition{Kind: unit.Begin, Person: "ann", Member: to, Mode: mode, SwitchID: w.switchID("ann")})
	case rec.State == unit.Open && rec.Switch.Active() && rec.Switch.Phase == unit.Growing:
		// planned switches wait for the set; people let them, and settle in the end
		if wait(25 * time.Second) {
			w.personPost(n, g, unit.Transition{Kind: unit.Settle, Person: "ann"})
		}
	default:
		*at = 0
	}
}

// helpfulNode is one that a person can work through.
func (w *world) helpfulNode() *node {
	top := w.top()
	if top.leader == nil || !top.commands(top.leader) {
		return nil
	}
	i := w.rng.IntN(len(w.nodes))
	for range w.nodes {
		if n := w.nodes[i]; n.cluster == top && n.p.running() && n.mayAct() == nil {
			return n
		}
		i = (i + 1) % len(w.nodes)
	}
	return nil
}

func (w *world) personPost(n *node, g *group, t unit.Transition) {
	// Judged on the newest record, under the ownership that the person saw.
	n.post(g, stored{rec: n.view[g.index].rec}, t, func(o outcome, ok bool) {
		if ok && o.err != nil && w.tracing() {
			w.tracef(t.Person, "%s of %s: %v", t.Kind, g.name, o.err)
		}
	})
}

// alive reports whether a member's machine does what it should.
func (w *world) alive(m *member) bool {
	return m.agent.p.running() && m.db.p.running() && m.db.ready
}

// confirm is a person's word for a failover inside the in-sync set.
func (w *world) confirm(n *node, g *group) {
	rec := n.view[g.index].rec
	for _, l := range rec.InSync {
		m := g.member(l.Member)
		l := m.agent.self.Now() // it may have been restarted on the same directory
		if m.agent.p.running() && w.linked(n.p, m.agent.p) && rec.Lossless(l) {
			call(w, n.p, m.agent.p, probeBound, func(reply func(consent)) { reply(m.agent.consents(rec.Ownership, consentHold)) }, func(c consent, ok bool) {
				if ok && c.ok {
					w.personPost(n, g, unit.Transition{Kind: unit.Decide, Person: "ann", Member: l, Mode: unit.Emergency, SwitchID: w.switchID("ann")})
				}
			})
			return
		}
	}
}

// propose shows the loss of the best copy that can be reached (I11).
func (w *world) propose(n *node, g *group) {
	rec := n.view[g.index].rec
	var best *member
	for _, m := range g.members {
		if !m.agent.p.running() || !w.linked(n.p, m.agent.p) || m.db.dir == unit.EmptyDir || m.db.half || !m.db.ready || !m.db.p.running() {
			continue
		}
		if l, ok := rec.Member(m.id); !ok || l.Life != m.agent.self.Life {
			continue
		}
		if rec.State == unit.Promoting && (m.id == rec.Owner.Member || rec.Lossless(m.agent.self.Now())) {
			continue // it is asked by itself
		}
		if best == nil || m.id == rec.Owner.Member || best.id != rec.Owner.Member && m.db.len() > best.db.len() {
			best = m
		}
	}
	if best == nil {
		return
	}
	g.truth.proposedAt = best.db.len()
	loss := &unit.Loss{Transactions: -1, Accounts: -1, Statement: "what was acknowledged and has not reached it is lost", Source: "the copy"}
	if rec.Lost != nil {
		loss.Statement = "no loss if the set of store revision " + strconv.FormatInt(rec.Lost.Revision, 10) + " still held; not provable without the lost sites"
	}
	w.personPost(n, g, unit.Transition{Kind: unit.Propose, Person: "ann", Member: estate.Life{Member: best.id}, Loss: loss, SwitchID: w.switchID("ann"), Mode: unit.Emergency})
}

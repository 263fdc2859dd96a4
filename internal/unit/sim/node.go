package sim

import (
	"strconv"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
)

const (
	helloEvery   = 250 * time.Millisecond
	probeEvery   = 200 * time.Millisecond
	probeBound   = 700 * time.Millisecond
	guardEvery   = 150 * time.Millisecond
	beatEvery    = 700 * time.Millisecond
	consentHold  = 2 * time.Second
	consentBound = 3 * time.Second
	// coldAfter is how long a node may be without a leader until it is cold again (I10).
	coldAfter = 30 * time.Second
)

// node is a control node: a member of the store, its interface, and the one who watches owners (I16).
type node struct {
	w       *world
	p       *proc
	index   int
	cluster *cluster // nil while it has left a store of a lower incarnation
	view    []stored // what the local member has applied
	seen    []sight
	// cold: started anew, or long without a leader, and since then not yet heard from a node that went on, nor from everybody (I10).
	cold   bool
	coldAt int64
	heard  [maxSites]bool
	ledAt  time.Duration      // when the local member last knew a leader
	met    estate.Incarnation // the highest one met
	lagBy  time.Duration      // how late the local member applies
}

// sight is what a node knows of one group beside its record.
type sight struct {
	heard  time.Duration
	agent  time.Duration // when its agent was last heard
	owner  estate.Life
	own    estate.Ownership
	state  unit.State
	stage  unit.Stage
	since  time.Duration
	peers  [maxSites]silence
	asking bool
}

// silence is what another node said about an owner.
type silence struct {
	at    time.Duration
	owner estate.Life
	own   estate.Ownership
	lasts time.Duration
	agent time.Duration
}

func (w *world) newNode(i int, s *site) *node {
	n := &node{w: w, index: i, view: make([]stored, len(w.groups)), seen: make([]sight, len(w.groups))}
	n.p = w.newProc("node-"+string(s.id), s, w.drift())
	n.p.begin = n.begin
	return n
}

func (w *world) drift() int64 { return w.rng.Int64N(2*maxDrift+1) - maxDrift }

func (n *node) begin() {
	now := n.p.mono()
	n.chill()
	n.ledAt = now
	n.lagBy = 0
	for i := range n.seen {
		n.seen[i] = sight{heard: now, agent: now, since: now}
		if n.view[i].rev != 0 {
			n.look(n.w.groups[i])
		}
	}
	n.every(helloEvery, n.hello)
	n.every(probeEvery, n.probe)
	n.every(guardEvery, n.guard)
	n.every(beatEvery, n.beat)
}

// chill makes the node cold: what it heard before does not count.
func (n *node) chill() {
	n.cold, n.coldAt = true, n.w.now
	n.heard = [maxSites]bool{}
}

// led reports whether the local member knows a leader.
func (n *node) led() bool {
	c := n.cluster
	return c != nil && c.leader != nil && c.commands(c.leader) && (c.leader == n || n.w.linked(n.p, c.leader.p))
}

// judgeQuorum makes the node cold when it was without a leader for long: elsewhere somebody may have recovered meanwhile. While a cold
// node has no leader, what it hears does not count: whoever answered then may have been recovered by the time the quorum is back.
func (n *node) judgeQuorum(now time.Duration) {
	switch {
	case n.led():
		n.ledAt = now
	case n.cold:
		n.heard = [maxSites]bool{}
	case now-n.ledAt > coldAfter:
		n.chill()
		n.w.stats.Chilled++
		n.w.tracef(n.p.name, "is cold: the store was without a leader for %s", now-n.ledAt)
	}
}

func (n *node) every(d time.Duration, fn func()) {
	var again func()
	again = func() {
		fn()
		n.p.after(d, again)
	}
	n.p.after(n.w.between(0, d), again)
}

// mayAct says why the node must not grant anything now (I10).
func (n *node) mayAct() error {
	switch {
	case n.cluster == nil:
		return errs.Refuse("I10", "the store was recovered elsewhere as incarnation %d", n.met.Counter)
	case n.cold && !n.w.bug(ColdQuorumActs):
		return errs.Refuse("I10", "the store came up cold and has not heard from every site")
	}
	return nil
}

// learn takes over a record that the local member applied.
func (n *node) learn(g *group, s stored) {
	if n.lagBy > 0 {
		n.p.after(n.w.between(0, n.lagBy), func() { n.applyLocal(g, s) })
		return
	}
	n.applyLocal(g, s)
}

func (n *node) applyLocal(g *group, s stored) {
	if !s.newer(n.view[g.index]) || n.cluster == nil || s.rec.Ownership.Incarnation != n.cluster.inc {
		return
	}
	n.view[g.index] = s
	n.look(g)
	for _, wt := range n.w.watchers {
		if wt.source == n {
			n.w.send(n.p, wt.p, func() { wt.on(n, g, s) })
		}
	}
}

func (n *node) look(g *group) {
	v, rec := &n.seen[g.index], &n.view[g.index].rec
	now := n.p.mono()
	if v.owner != rec.Owner || v.state != rec.State || v.own != rec.Ownership {
		v.heard, v.agent = now, now // a new owner gets its full time
	}
	v.owner, v.own, v.state = rec.Owner, rec.Ownership, rec.State
	if s := rec.Stage(); s != v.stage {
		v.stage, v.since = s, now
	}
}

// beat tells those who watch through this node that it lives, with everything it has: a push that was lost comes again.
func (n *node) beat() {
	for _, wt := range n.w.watchers {
		if wt.source != n {
			continue
		}
		met, views := n.met, n.view
		all := make([]stored, len(views))
		copy(all, views)
		n.w.send(n.p, wt.p, func() {
			wt.alive(n, met)
			for i, g := range n.w.groups {
				if all[i].rev != 0 && n.cluster != nil {
					wt.on(n, g, all[i])
				}
			}
		})
	}
}

// hello tells the other nodes the incarnation and how long owners have been silent.
func (n *node) hello() {
	now := n.p.mono()
	n.judgeQuorum(now)
	var says [4]silence
	for i := range n.w.groups {
		v := &n.seen[i]
		says[i] = silence{owner: v.owner, own: v.own, lasts: now - v.heard, agent: now - v.agent}
	}
	inc, cold := n.met, n.cold
	for _, o := range n.w.nodes {
		if o == n {
			continue
		}
		n.w.send(n.p, o.p, func() { o.greeted(n, inc, cold, says) })
	}
}

func (n *node) greeted(by *node, inc estate.Incarnation, cold bool, says [4]silence) {
	if n.met.Counter < inc.Counter && !n.w.bug(IncarnationIgnored) {
		n.leave(inc)
	}
	now := n.p.mono()
	for i := range n.w.groups {
		s := says[i]
		s.at = now
		n.seen[i].peers[by.index] = s
	}
	if !n.cold || !n.led() {
		return
	}
	n.heard[by.index] = true
	all := true
	for _, o := range n.w.nodes {
		all = all && (o == n || n.heard[o.index])
	}
	if all || !cold && by.cluster == n.cluster {
		n.cold = false
		n.w.tracef(n.p.name, "is no longer cold")
	}
}

// leave is what whoever meets a higher incarnation does (I10).
func (n *node) leave(inc estate.Incarnation) {
	n.met = inc
	n.w.tracef(n.p.name, "meets incarnation %d.%s and leaves its store", inc.Counter, inc.ID)
	n.cluster = nil
	for i := range n.view {
		n.view[i] = stored{}
	}
	n.beat()
}

// join makes the node a member of another store, empty.
func (n *node) join(c *cluster) {
	n.w.tracef(n.p.name, "joins the store of incarnation %d.%s", c.inc.Counter, c.inc.ID)
	n.cluster, n.met, n.cold, n.ledAt = c, c.inc, false, n.p.mono()
	c.members = append(c.members, n)
}

// transition is the node's interface for everybody who wants a record changed.
func (n *node) transition(g *group, rev int64, t unit.Transition, reply func(outcome)) {
	if err := n.mayAct(); err != nil {
		reply(outcome{err: err, known: true})
		return
	}
	n.cluster.write(n, g, rev, t, reply)
}

// read gives the record linearizably.
func (n *node) read(g *group, reply func(stored)) {
	c := n.cluster
	if c == nil || c.leader == nil {
		return
	}
	leader, term := c.leader, c.term
	n.w.send(n.p, leader.p, func() {
		leader.p.after(time.Millisecond, func() {
			if leader.cluster == c && c.leader == leader && c.term == term && c.commands(leader) {
				s := c.recs[g.index]
				n.w.send(leader.p, n.p, func() { reply(s) })
			}
		})
	})
}

// life is what a probe finds out.
type life struct {
	who  estate.Life
	good bool
}

// probe asks every owner for a sign of life: its agent, or its database where that is silent. It only reads (I16).
func (n *node) probe() {
	for _, g := range n.w.groups {
		rec := &n.view[g.index].rec
		m := g.member(rec.Owner.Member)
		if m == nil {
			continue
		}
		owner := rec.Owner
		heard := func() {
			if v := &n.seen[g.index]; v.owner == owner {
				v.heard = n.p.mono()
			}
		}
		if n.w.bug(ProbeCommits) {
			call(n.w, n.p, m.agent.p, probeBound, func(reply func(life)) {
				m.db.probeCommit(func() { reply(life{good: true}) })
			}, func(l life, ok bool) {
				if ok {
					heard()
				}
			})
			continue
		}
		call(n.w, n.p, m.agent.p, probeBound, func(reply func(life)) { reply(m.agent.lives()) }, func(l life, ok bool) {
			if v := &n.seen[g.index]; ok && v.owner == owner {
				v.agent = n.p.mono()
			}
			switch {
			case ok && l.good:
				heard()
			case !ok:
				call(n.w, n.p, m.db.p, probeBound, func(reply func(bool)) { reply(m.db.ready) }, func(yes, ok bool) {
					if ok && yes {
						heard()
					}
				})
			}
		})
	}
}

// guard carries out what Watch says.
func (n *node) guard() {
	if n.mayAct() != nil {
		return
	}
	for _, g := range n.w.groups {
		v, s := &n.seen[g.index], n.view[g.index]
		if s.rev == 0 || v.asking {
			continue
		}
		order := n.judge(g)
		switch {
		case order.Abort:
			v.asking = true
			n.post(g, s, unit.Transition{Kind: unit.Abort, SwitchID: s.rec.Switch.ID, Reason: order.Why}, func(outcome, bool) { v.asking = false })
		case len(order.Candidates) > 0:
			v.asking = true
			n.decide(g, s, order, n.p.mono(), 0)
		}
	}
}

// judge says what to do about the group now.
func (n *node) judge(g *group) unit.Order {
	v, now := &n.seen[g.index], n.p.mono()
	sees := unit.Sight{Nodes: len(n.w.nodes), PhaseFor: now - v.since}
	var all [maxSites]time.Duration
	var agents [maxSites]time.Duration
	sees.Silences, sees.Agents = append(all[:0], now-v.heard), append(agents[:0], now-v.agent)
	for i := range v.peers {
		if p := v.peers[i]; p.at != 0 && now-p.at < time.Second && p.owner == v.owner && p.own == v.own {
			sees.Silences, sees.Agents = append(sees.Silences, p.lasts), append(sees.Agents, p.agent)
		}
	}
	return unit.Watch(n.view[g.index].rec, sees, n.w.timing, n.p.wall())
}

func (n *node) post(g *group, s stored, t unit.Transition, done func(outcome, bool)) {
	t.Ownership, t.Now = s.rec.Ownership, n.p.wall()
	answered := false
	n.transition(g, s.rev, t, func(o outcome) {
		if !answered {
			answered = true
			done(o, true)
		}
	})
	n.p.after(2*time.Second, func() {
		if !answered {
			answered = true
			done(outcome{}, false)
		}
	})
}

// consent is a candidate's answer.
type consent struct {
	who  estate.Life
	ok   bool
	wait time.Duration
}

// decide asks one candidate after the other and decides for the first that consents.
func (n *node) decide(g *group, s stored, order unit.Order, began time.Duration, next int) {
	v := &n.seen[g.index]
	if next >= len(order.Candidates) || n.p.mono()-began > consentBound {
		n.p.after(200*time.Millisecond, func() { v.asking = false })
		return
	}
	c := order.Candidates[next]
	m := g.member(c.Member)
	call(n.w, n.p, m.agent.p, probeBound, func(reply func(consent)) {
		reply(m.agent.consents(s.rec.Ownership, consentHold))
	}, func(a consent, ok bool) {
		switch {
		case !ok || a.who != c || !a.ok && a.wait <= 0:
			n.decide(g, s, order, began, next+1)
		case !a.ok:
			n.p.after(a.wait+time.Millisecond, func() { n.decide(g, s, order, began, next) })
		case n.p.mono()-began > unit.Fresh && (n.view[g.index].rev != s.rev || !n.judge(g).Names(c)):
			v.asking = false // the owner was heard while consents were waited for, or the record changed
		default:
			t := unit.Transition{Kind: unit.Decide, Mode: unit.Failover, Member: c, Silent: true, Reason: order.Why, SwitchID: n.w.switchID("auto")}
			n.post(g, s, t, func(outcome, bool) { v.asking = false })
		}
	})
}

func (w *world) switchID(by string) string {
	return strconv.FormatInt(w.now/1_000_000, 10) + "-" + by
}

// watcher follows the records through one node, and through another when that falls silent.
type watcher struct {
	p      *proc
	w      *world
	near   *node
	source *node
	last   time.Duration
	learn  func(g *group, s stored)
	meet   func(estate.Incarnation)
}

func (w *world) newWatcher(p *proc, learn func(*group, stored), meet func(estate.Incarnation)) *watcher {
	wt := &watcher{p: p, w: w, learn: learn, meet: meet}
	for _, n := range w.nodes {
		if n.p.site == p.site {
			wt.near = n
		}
	}
	w.watchers = append(w.watchers, wt)
	return wt
}

// begin is called when the process starts.
func (wt *watcher) begin() {
	wt.source, wt.last = wt.near, wt.p.mono()
	if wt.source == nil {
		wt.source = wt.w.nodes[0]
	}
	var again func()
	again = func() {
		if wt.p.mono()-wt.last > 2*time.Second {
			wt.turn()
		}
		wt.p.after(500*time.Millisecond, again)
	}
	wt.p.after(wt.w.between(0, 500*time.Millisecond), again)
}

// turn goes on to the next node.
func (wt *watcher) turn() {
	wt.source = wt.w.nodes[(wt.source.index+1)%len(wt.w.nodes)]
	wt.last = wt.p.mono()
}

func (wt *watcher) alive(n *node, met estate.Incarnation) {
	if n == wt.source && n.cluster != nil { // one that left its store has nothing to say
		wt.last = wt.p.mono()
	}
	if wt.meet != nil {
		wt.meet(met)
	}
}

func (wt *watcher) on(n *node, g *group, s stored) {
	if n == wt.source {
		wt.last = max(wt.last, wt.p.mono())
	}
	wt.learn(g, s)
}

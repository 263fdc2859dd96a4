package sim

import (
	"slices"
	"time"

	"perdure/internal/estate"
	"perdure/internal/unit"
)

const (
	attemptBound = 2500 * time.Millisecond
	holdBound    = 10 * time.Second
	clientBound  = 15 * time.Second
	commitBound  = time.Second
	outboxEvery  = 300 * time.Millisecond
	// retention is how long idempotency rows are kept: longer than any client repeats (I5).
	retention = 60 * time.Second
	patience  = 40 * time.Second
)

// request is one keyed call of a client, or the delivery of an outbox message.
type request struct {
	key   uint64 // ordered by time, unique
	kind  uint8
	group *group
	to    *group // debit: whom the outbox message is for
	born  int64
	// what the checker knows
	answered bool // a success was delivered
	expired  bool // refused as too old
	settled  bool // it is known not to be wanted any more
	of       *entry
}

// answer is what comes back to a gateway.
type answer struct {
	result result
	own    estate.Ownership
	e      *entry
	read   bool
}

// app is the application at one site: the instances of all groups.
type app struct {
	w *world
	p *proc
}

func (w *world) newApp(s *site) *app {
	a := &app{w: w}
	a.p = w.newProc("app-"+string(s.id), s, w.drift())
	a.p.begin = func() {
		var again func()
		again = func() { a.dispatch(); a.p.after(outboxEvery, again) }
		a.p.after(w.between(0, outboxEvery), again)
	}
	return a
}

// handle carries out a request on the member beside it and answers with the ownership it was done in.
func (a *app) handle(r *request, reply func(answer)) {
	m := r.group.at(a.p.site)
	if m == nil || !m.db.p.up {
		reply(answer{result: notOwner})
		return
	}
	d, boot := m.db, a.p.boot
	answered := false
	tell := func(x answer) {
		if !answered {
			answered = true
			reply(x)
		}
	}
	alive := func() bool { return a.p.up && a.p.boot == boot }
	d.p.after(100*time.Microsecond, func() {
		d.execute(r, alive, func(x result, e *entry, own estate.Ownership) {
			a.w.push(a.w.now+100_000, a.p, func() {
				if x == cancelled && a.w.bug(CancelIsSuccess) {
					x = committed
				}
				if x == committed && !answered {
					a.w.acknowledges(d, e, own)
				}
				tell(answer{result: x, own: own, e: e})
			})
		})
	})
	// It gives up by answering unknown, not by cancelling (I3).
	a.p.after(commitBound, func() {
		if a.w.bug(CancelIsSuccess) {
			if i := slices.IndexFunc(d.waiting, func(x *waiter) bool { return x.e.req == r }); i >= 0 {
				d.cancelWait(i)
				return
			}
		}
		tell(answer{result: broken})
	})
}

// read answers a plain read from the owner, under its lease (I8).
func (a *app) read(g *group, reply func(answer)) {
	m := g.at(a.p.site)
	if m == nil || !m.db.p.up {
		reply(answer{result: notOwner})
		return
	}
	d := m.db
	d.p.after(100*time.Microsecond, func() {
		if !d.mayRead() {
			reply(answer{result: notOwner})
			return
		}
		a.w.reads(d)
		reply(answer{result: committed, own: d.gate.own, read: true})
	})
}

// readCopy answers a query from an asynchronous copy that follows whom it should.
func (a *app) readCopy(g *group) {
	m := g.at(a.p.site)
	if m == nil || !m.db.ready || !m.db.p.running() || !m.db.recovering || !m.agent.p.running() {
		return
	}
	ag := m.agent
	rec := &ag.known.rec
	up, ok := unit.Upstream(*rec, m.id)
	if !ok || ag.self.Seen != rec.Ownership || m.db.streaming == nil || m.db.streaming.up.m.id != up {
		if !a.w.bug(CopyAhead) {
			return
		}
	}
	a.w.readsCopy(m.db)
}

// dispatch delivers outbox messages: a fact leaves only after a barrier (I3).
func (a *app) dispatch() {
	for _, g := range a.w.groups {
		m := g.at(a.p.site)
		if m == nil || !m.db.p.running() || !m.db.mayWrite() {
			continue
		}
		d := m.db
		gw := a.w.gatewayAt(a.p.site)
		n := 0
		for _, e := range d.outbox {
			if e.waits { // not visible
				continue
			}
			if n++; n > 8 {
				break
			}
			send := func() {
				if !a.p.running() {
					return
				}
				r := a.w.creditOf(e)
				call(a.w, a.p, gw.p, clientBound, func(reply func(answer)) { gw.handle(r, reply) }, func(x answer, ok bool) {
					if ok && x.result == committed {
						a.w.stats.Credits++
					}
					if ok && x.result == committed && d.ready && !d.recovering && slices.Contains(d.outbox, e) && d.mayWrite() {
						d.outbox = slices.DeleteFunc(d.outbox, func(o *entry) bool { return o == e })
						d.write(&entry{kind: sent, ref: e})
					}
				})
			}
			if a.w.bug(OutboxEarly) {
				a.w.leaves(d, e)
				send()
				continue
			}
			d.p.after(100*time.Microsecond, func() {
				if d.mayWrite() {
					d.barrier(func(x result) {
						if x == committed {
							a.w.leaves(d, e)
							send()
						}
					})
				}
			})
		}
	}
}

// creditOf is the other half of a debit; its key is derived from it, so that it happens once.
func (w *world) creditOf(e *entry) *request {
	if e.req.of == nil {
		e.req.of = &entry{req: &request{key: e.req.key | creditBit, kind: credit, group: e.req.to, born: e.req.born, of: e}}
	}
	return e.req.of.req
}

// creditBit tells the key of a credit from the debit's: it is never older than what is kept.
const creditBit = 1 << 62

// gateway routes by its own table, holds and replays (I14).
type gateway struct {
	w     *world
	p     *proc
	watch *watcher
	table []route
}

type route struct {
	own   estate.Ownership
	rev   int64
	site  *site
	open  bool
	holds bool
	since int64
}

func (w *world) newGateway(s *site) *gateway {
	gw := &gateway{w: w, table: make([]route, len(w.groups))}
	gw.p = w.newProc("gw-"+string(s.id), s, w.drift())
	gw.watch = w.newWatcher(gw.p, gw.learns, nil)
	gw.p.begin = gw.watch.begin
	return gw
}

func (w *world) gatewayAt(s *site) *gateway {
	for _, gw := range w.gateways {
		if gw.p.site == s {
			return gw
		}
	}
	return w.gateways[0]
}

func (gw *gateway) learns(g *group, s stored) {
	t := &gw.table[g.index]
	own := s.rec.Ownership
	if own.Less(t.own) || own == t.own && s.rev <= t.rev {
		return
	}
	if gw.w.bug(IncarnationIgnored) && own.Epoch < t.own.Epoch {
		return
	}
	m := g.member(s.rec.Owner.Member)
	sw := s.rec.Switch
	*t = route{own: own, rev: s.rev, open: s.rec.State == unit.Open, since: gw.w.now}
	if m != nil {
		t.site = m.site
	}
	t.holds = !t.open || sw.Undecided() && sw.Ownership == own
}

// handle forwards a request until there is an answer, or its hold is over.
func (gw *gateway) handle(r *request, reply func(answer)) {
	began := gw.p.mono()
	gw.attempt(r, began, func(x answer) {
		if held := gw.p.mono() - began; held > time.Second {
			gw.w.stats.Held++
			gw.w.held(gw, r, held)
		}
		reply(x)
	})
}

func (gw *gateway) attempt(r *request, began time.Duration, reply func(answer)) {
	t := gw.table[r.group.index]
	again := func(wait time.Duration) {
		if gw.p.mono()-began+wait > holdBound && !gw.w.bug(HoldForever) {
			reply(answer{result: failed}) // 503, try again
			return
		}
		if gw.w.bug(HoldForever) {
			gw.w.held(gw, r, gw.p.mono()-began)
		}
		gw.p.after(wait, func() { gw.attempt(r, began, reply) })
	}
	if t.site == nil || t.holds {
		again(50 * time.Millisecond)
		return
	}
	to := gw.w.appAt(t.site)
	if to == nil {
		again(200 * time.Millisecond)
		return
	}
	left := attemptBound
	if !gw.w.bug(HoldForever) {
		left = min(left, holdBound-(gw.p.mono()-began))
	}
	call(gw.w, gw.p, to.p, left, func(back func(answer)) { to.handle(r, back) }, func(x answer, ok bool) {
		now := gw.table[r.group.index]
		switch {
		case !ok || x.result == broken || x.result == cancelled:
			again(100 * time.Millisecond)
		case x.result == notOwner || x.result == failed || x.result == running:
			again(60 * time.Millisecond)
		case x.own.Less(now.own) && !gw.w.bug(LateResponse):
			again(20 * time.Millisecond) // an answer of an older ownership: unknown
		default:
			gw.answers(r.group, x)
			reply(x)
		}
	})
}

// read routes a plain read once.
func (gw *gateway) read(g *group, reply func(answer)) {
	t := gw.table[g.index]
	if t.site == nil || t.holds {
		return
	}
	to := gw.w.appAt(t.site)
	if to == nil {
		return
	}
	call(gw.w, gw.p, to.p, attemptBound, func(back func(answer)) { to.read(g, back) }, func(x answer, ok bool) {
		if ok && x.result == committed && (!x.own.Less(gw.table[g.index].own) || gw.w.bug(LateResponse)) {
			gw.answers(g, x)
			reply(x)
		}
	})
}

func (w *world) appAt(s *site) *app {
	for _, a := range w.apps {
		if a.p.site == s {
			return a
		}
	}
	return nil
}

// client sends one request after the other and repeats each with its key until it has an answer.
type client struct {
	w *world
	p *proc
}

func (w *world) newClient(s *site, i int) *client {
	c := &client{w: w}
	c.p = w.newProc("client-"+string(s.id), s, w.drift())
	c.p.begin = func() { c.p.after(w.between(0, time.Second)+5*time.Second, c.next) }
	_ = i
	return c
}

func (w *world) newKey() uint64 {
	w.lastKey++
	return uint64(w.now/1_000_000)<<16 | w.lastKey&0xffff
}

// keyAt is the newest key of a time.
func keyAt(t int64) uint64 { return uint64(max(t, 0)/1_000_000) << 16 }

func (c *client) next() {
	w := c.w
	think := w.profile.think
	if w.stopped {
		return
	}
	g := w.groups[w.rng.IntN(len(w.groups))]
	if w.chance(200) {
		w.stats.Reads++
		gw := c.gateway()
		call(w, c.p, gw.p, clientBound, func(reply func(answer)) { gw.read(g, reply) }, func(answer, bool) {})
		for _, a := range w.apps {
			a.readCopy(g)
		}
		c.p.after(w.between(think/4, think), c.next)
		return
	}
	r := &request{key: w.newKey(), kind: transfer, group: g, born: w.now}
	if len(w.groups) > 1 && w.chance(250) {
		r.kind, r.to = debit, w.groups[(g.index+1)%len(w.groups)]
	}
	w.requests = append(w.requests, r)
	w.stats.Requests++
	c.ask(r, w.now, func() { c.p.after(w.between(think/4, think), c.next) })
	if w.chance(w.profile.twice) { // the same key through another gateway at the same time
		c.p.after(w.long(time.Millisecond, 500*time.Millisecond), func() { c.ask(r, w.now, func() {}) })
	}
}

func (c *client) gateway() *gateway {
	if c.w.chance(800) {
		return c.w.gatewayAt(c.p.site)
	}
	return c.w.gateways[c.w.rng.IntN(len(c.w.gateways))]
}

func (c *client) ask(r *request, began int64, done func()) {
	w := c.w
	gw := c.gateway()
	call(w, c.p, gw.p, clientBound, func(reply func(answer)) { gw.handle(r, reply) }, func(x answer, ok bool) {
		switch {
		case ok && x.result == committed:
			if r.answered {
				w.stats.Replayed++
			}
			r.answered = true
			w.stats.Acknowledged++
			done()
			if w.chance(w.profile.late) { // a retry from long ago
				c.p.after(retention+w.between(5*time.Second, 20*time.Second), func() { c.ask(r, w.now, func() {}) })
			}
		case ok && x.result == tooOld:
			r.expired = true
			w.stats.Expired++
			done()
		case w.now-began > int64(patience) && !w.quiet:
			w.stats.Refused++
			r.settled = true
			done()
		default:
			c.p.after(w.between(100*time.Millisecond, 500*time.Millisecond), func() { c.ask(r, began, done) })
		}
	})
}

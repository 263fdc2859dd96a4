package sim

import (
	"slices"
	"strings"
	"time"

	"perdure/internal/estate"
	"perdure/internal/unit"
)

const (
	agentTick  = 120 * time.Millisecond
	lookBound  = 800 * time.Millisecond
	postBound  = 2 * time.Second
	doBound    = 10 * time.Second
	hangsAfter = 400 * time.Millisecond
)

// agent looks after one data directory: the only one that changes it (I15). It is the caller that package unit asks for,
// as far as its decisions go; the steps of each action are separate events, so that it can be killed or frozen in between.
type agent struct {
	w    *world
	m    *member
	p    *proc
	self unit.Self // as on disk: nothing is acted on before it is there

	known   stored
	watch   *watcher
	promise unit.Promise
	lease   unit.Lease
	busy    bool
	wakes   uint64
	fails   int
	failed  unit.Do
	until   time.Duration // no failed action before

	seen  observation
	track unit.Tracker
	// misreads: the next look takes the server for dead.
	misreads bool
	posting  func() // gives the post that is under way up
	metAt    int64  // when a higher ownership was last met, for the checker
}

// observation is one look at the database.
type observation struct {
	dir                unit.Directory
	running, answering bool
	recovering         bool
	gate               gateRow
	start              uint64
	names              []string
	flushed, replayed  int
	upstream           estate.MemberID
	streaming          bool
	followers          []follower
	oldest             time.Duration
	waiting            bool
}

type follower struct {
	life    estate.Life
	flushed int
}

func (w *world) newAgent(m *member) *agent {
	a := &agent{w: w, m: m, self: unit.Self{Member: m.id}}
	a.p = w.newProc("agent-"+string(m.id), m.site, m.ppm)
	a.p.begin, a.p.member = a.begin, true
	a.watch = w.newWatcher(a.p, a.learns, a.meets)
	return a
}

func (a *agent) begin() {
	now := a.p.mono()
	a.known = stored{}
	a.promise = unit.Restarted(now, a.w.timing)
	a.lease = unit.Lease{}
	a.busy, a.fails, a.seen, a.posting = false, 0, observation{}, nil
	a.track = unit.NewTracker(now)
	a.watch.begin()
	a.busy = true // nothing is done before the new session is on disk
	a.save(func(s *unit.Self) { s.Session++ }, func() { a.rest(0) })
	var renew func()
	renew = func() {
		a.renew()
		a.p.after(a.w.timing.Renew, renew)
	}
	a.p.after(a.w.between(0, a.w.timing.Renew), renew)
	a.p.after(a.w.timing.Promise, a.endLease) // what its predecessor wrote
}

func (a *agent) learns(g *group, s stored) {
	if g != a.m.group || !s.newer(a.known) && a.known.rev != 0 {
		return
	}
	old := a.known
	a.known = s
	now := a.p.mono()
	a.track.Record(old.rec, s.rec, now)
	a.promise.Learn(s.rec, now)
	a.wake(0)
}

// meets is told of an incarnation by whoever met it.
func (a *agent) meets(inc estate.Incarnation) {
	if met := a.self; met.Meets(inc) {
		a.save(func(s *unit.Self) { s.Meets(inc) }, func() {
			if a.posting != nil { // nobody waits for a store that was left behind
				a.posting()
			}
			a.wake(0)
		})
	}
}

// save changes the agent's own file; fn goes on when it is on disk. A crash before that loses the change.
func (a *agent) save(change func(*unit.Self), fn func()) {
	a.p.after(a.w.between(200*time.Microsecond, 3*time.Millisecond), func() {
		before := a.self.Seen
		change(&a.self)
		if before.Less(a.self.Seen) {
			a.metAt = a.w.now
		}
		fn()
	})
}

// wake lets the agent look and act after a while; the earliest wake counts.
func (a *agent) wake(wait time.Duration) {
	a.wakes++
	mine := a.wakes
	a.p.after(wait, func() {
		if a.wakes == mine && !a.busy {
			a.busy = true
			a.look(a.act)
		}
	})
}

// rest ends a round.
func (a *agent) rest(wait time.Duration) {
	a.busy = false
	a.wake(wait)
}

// look observes the database: local reads, within a bound (I16).
func (a *agent) look(then func()) {
	d, fresh := a.m.db, a.track.Settled()
	finish := func(o observation) {
		if a.misreads {
			a.misreads = false
			o = observation{dir: o.dir}
		}
		a.observed(o, fresh)
		if a.track.StuckDue(a.p.mono()) {
			a.askUpstream()
		}
		then()
	}
	if d.p.up && (d.p.paused || !d.ready || d.stalled > d.w.now+int64(hangsAfter)) {
		a.p.after(lookBound, func() {
			if d.p.up {
				finish(d.hangs())
			} else {
				finish(d.observe())
			}
		})
		return
	}
	a.p.after(time.Millisecond, func() { finish(d.observe()) })
}

// hangs is what can be seen of a server that does not answer.
func (d *database) hangs() observation {
	o := observation{dir: d.dir, running: true}
	if d.upstream != nil {
		o.upstream = d.upstream.m.id
	}
	return o
}

func (d *database) observe() observation {
	o := observation{dir: d.dir, running: d.p.up, flushed: d.len(), replayed: d.replayPos()}
	if d.half {
		o.dir = unit.PrimaryDir
	}
	if d.upstream != nil {
		o.upstream = d.upstream.m.id
	}
	if !d.p.up || !d.ready {
		return o
	}
	o.answering, o.recovering, o.start = true, d.recovering, d.start
	if d.gate.there && (d.gate.start == d.start || d.w.bug(RestartStaysOpen) || d.w.bug(LoggedGuard)) {
		o.gate = d.gate
	}
	o.names = d.names
	o.streaming = d.streaming != nil
	for _, s := range d.senders {
		o.followers = append(o.followers, follower{s.name, s.flushed})
	}
	o.oldest, o.waiting = d.oldestWait(), len(d.waiting) > 0
	return o
}

func (a *agent) observed(o observation, fresh bool) {
	a.seen = o
	v := unit.View{
		Directory: o.dir, Running: o.running, Answering: o.answering, InRecovery: o.recovering, SyncNames: o.names,
		Flushed: estate.LSN(o.flushed), Replayed: estate.LSN(o.replayed), Upstream: o.upstream, Streaming: o.streaming,
		WaitingFor: o.oldest,
	}
	if o.gate.there {
		for _, u := range a.m.group.units() {
			v.Gates = append(v.Gates, unit.Gate{Unit: u, Ownership: o.gate.own, Open: o.gate.open})
		}
	}
	for _, f := range o.followers {
		v.Copies = append(v.Copies, unit.Copy{Life: f.life, Streaming: true, Usable: true, Flushed: estate.LSN(f.flushed)})
	}
	a.track.Look(v, fresh, a.p.mono())
}

// askUpstream finds out whether a copy that does not stream has a living upstream: only then it counts as stuck (I12).
func (a *agent) askUpstream() {
	u := a.m.group.member(a.seen.upstream)
	if u == nil {
		return
	}
	call(a.w, a.p, u.agent.p, probeBound, func(reply func(life)) { reply(u.agent.lives()) }, func(l life, ok bool) {
		a.track.UpstreamAnswers(ok && l.good, a.p.mono())
	})
}

// act asks the protocol and does what it says, after the highest ownership met is on disk (I1).
func (a *agent) act() {
	if own := a.known.rec.Ownership; a.self.Seen.Less(own) {
		a.save(func(s *unit.Self) {
			if s.Seen.Less(own) {
				s.Seen = own
			}
		}, a.decide)
		return
	}
	a.decide()
}

func (a *agent) decide() {
	s := a.known
	view := a.track.View(s.rec, &a.promise, a.p.mono())
	view.Unserved = a.seen.answering && !a.m.db.admits(&s.rec)
	action := a.w.next(s.rec, a.self, view, a.w.timing, a.p.wall())
	if a.w.tracing() && action.Do != unit.Wait {
		a.w.tracef(a.p.name, "%s %s %s%s: %s", action.Do, action.Transition.Kind, s.rec.Ownership, names(action.Lives), action.Why)
	}
	// Without a record there is one thing to do: whoever has met a higher incarnation closes (I10).
	unknown := s.rev == 0 && (action.Do != unit.CloseGates || a.self.Seen.IsZero())
	if unknown || action.Do == unit.Wait || action.Do == unit.Alarm || a.fails > 0 && action.Do == a.failed && a.p.mono() < a.until {
		a.rest(agentTick)
		return
	}
	done := func(ok bool) {
		if ok {
			a.fails = 0
			a.rest(0)
			return
		}
		a.fails = min(a.fails+1, 6)
		a.failed, a.until = action.Do, a.p.mono()+min(50*time.Millisecond<<a.fails, 2*time.Second)
		a.rest(10 * time.Millisecond)
	}
	run := func() {
		if a.w.hiccup(a.p) {
			a.p.after(0, func() { a.do(action, s, done) })
			return
		}
		a.do(action, s, done)
	}
	if !checked(action.Do) {
		run()
		return
	}
	// What destroys or revives something is done only on a record that was read again (I15).
	a.read(func(fresh stored, ok bool) {
		switch {
		case !ok:
			done(false)
		case fresh.newer(a.known):
			a.learns(a.m.group, fresh)
			a.rest(0)
		case fresh.rev != s.rev || fresh.rec.Ownership.Incarnation != s.rec.Ownership.Incarnation:
			done(false) // a store that was left behind
		default:
			run()
		}
	})
}

func names(lives []estate.Life) string {
	var s strings.Builder
	for _, l := range lives {
		s.WriteString(" " + l.String())
	}
	return s.String()
}

func checked(do unit.Do) bool {
	switch do {
	case unit.Create, unit.Start, unit.Stop, unit.Follow, unit.Compare, unit.Rewind, unit.Reinitialise:
		return true
	default:
		return false
	}
}

func (a *agent) read(done func(stored, bool)) {
	n := a.watch.source
	call(a.w, a.p, n.p, 2*time.Second, func(reply func(stored)) { n.read(a.m.group, reply) }, func(s stored, ok bool) {
		if !ok {
			a.watch.turn()
		}
		done(s, ok)
	})
}

// at lets the database do something; ok is false where no answer came in time. What was begun goes on without the agent.
func (a *agent) at(bound time.Duration, op func(finish func()), done func(ok bool)) {
	settled := false
	d := a.m.db
	end := func(ok bool) {
		if !settled {
			settled = true
			done(ok)
		}
	}
	if !d.p.up {
		a.p.after(time.Millisecond, func() { end(false) })
		return
	}
	mine, its := a.p.boot, d.p.boot
	d.p.after(500*time.Microsecond, func() {
		op(func() {
			a.w.push(a.w.now, a.p, func() {
				if a.p.boot == mine {
					end(true)
				}
			})
		})
	})
	until := a.p.mono() + bound
	var look func()
	look = func() {
		if settled {
			return
		}
		if !d.p.up || d.p.boot != its || a.p.mono() >= until {
			end(false) // the connection is lost, or time is up
			return
		}
		a.p.after(200*time.Millisecond, look)
	}
	a.p.after(200*time.Millisecond, look)
}

func (a *agent) do(action unit.Action, s stored, done func(ok bool)) {
	d, rec := a.m.db, &s.rec
	switch action.Do {
	case unit.Create:
		a.p.after(a.w.between(300*time.Millisecond, time.Second), func() {
			d.dir = unit.PrimaryDir
			d.write(&entry{kind: timeline})
			a.save(func(s *unit.Self) { s.Renew(rec.LifeOf(s.Member)) }, func() { done(true) })
		})
	case unit.Start:
		a.save(func(s *unit.Self) { s.Begin(rec.LifeOf(s.Member)) }, func() { a.startServer(rec, done) })
	case unit.Stop:
		a.p.after(a.w.between(10*time.Millisecond, 200*time.Millisecond), func() {
			d.p.crash()
			done(true)
		})
	case unit.CloseGates:
		a.at(doBound, func(finish func()) { d.close(); d.closedBy = d.gate.own; finish() }, done)
	case unit.Drain:
		a.drain(action, s, done)
	case unit.OpenGates:
		a.openGates(action, done)
	case unit.Admit:
		a.at(doBound, func(finish func()) { d.admit(rec); finish() }, done)
	case unit.Sever:
		a.sever(action, done)
	case unit.Replay:
		a.p.after(5*time.Millisecond, func() { done(true) })
	case unit.Promote:
		a.save(func(s *unit.Self) { s.Owned = action.Ownership }, func() {
			a.at(time.Minute, func(finish func()) { d.promote(finish) }, done)
		})
	case unit.Follow:
		a.follow(action, rec, done)
	case unit.Compare:
		a.compare(action, done)
	case unit.Rewind:
		a.stopped(func() {
			d.rewind(a.p, a.m.group.member(action.Upstream).db, func(ok, refused bool) {
				switch {
				case refused:
					a.save(func(s *unit.Self) { s.MustCopy = true }, func() { done(true) })
				case ok && a.w.bug(RewoundStartsWritable):
					d.dir = unit.PrimaryDir // no standby.signal: the new owner's files are as they came
					a.save(func(s *unit.Self) { s.Begin(rec.LifeOf(s.Member)) }, func() { d.launch(a.self.Now(), rec); done(true) })
				case ok:
					a.save(func(s *unit.Self) { s.Renew(rec.LifeOf(s.Member)) }, func() { done(true) })
				default:
					done(false)
				}
			})
		})
	case unit.Reinitialise:
		a.stopped(func() {
			d.reinitialise(a.p, a.m.group.member(action.Upstream).db, func(ok bool) {
				if !ok {
					done(false)
					return
				}
				a.save(func(s *unit.Self) { s.Renew(rec.LifeOf(s.Member)) }, func() { done(true) })
			})
		})
	case unit.ShrinkTo:
		a.shrink(action, done)
	case unit.GrowBy:
		a.grow(action, s, done)
	case unit.Post:
		if action.Transition.Kind == unit.OwnerDown {
			// What is reported dead is made sure of: nothing of the server is left.
			a.stopped(func() { a.post(s, action.Transition, done) })
			return
		}
		if action.Transition.Kind == unit.Shrink && a.w.bug(ConfigBeforeStore) {
			a.shrinkFirst(action, s, done)
			return
		}
		a.post(s, action.Transition, done)
	default:
		a.w.broken("internal", "no way to %s %s", action.Do, rec.Group)
	}
}

func (a *agent) startServer(rec *unit.Record, done func(bool)) {
	d := a.m.db
	if d.p.up && d.dir == unit.StandbyDir { // it runs after all: a copy only goes on under the new name
		d.rename(a.self.Now())
		done(true)
		return
	}
	if d.p.up || d.half || d.dir == unit.EmptyDir {
		done(false)
		return
	}
	d.launch(a.self.Now(), rec)
	done(true)
}

// stopped goes on when the server does not run.
func (a *agent) stopped(fn func()) {
	if !a.m.db.p.up {
		fn()
		return
	}
	a.p.after(a.w.between(10*time.Millisecond, 200*time.Millisecond), func() {
		a.m.db.p.crash()
		fn()
	})
}

// post asks a node for a transition, conditional on the revision it was decided on.
func (a *agent) post(s stored, t unit.Transition, done func(bool)) {
	n := a.watch.source
	settled := false
	a.posting = func() {
		if !settled {
			settled = true
			a.unanswered(func() { done(false) })
		}
	}
	call(a.w, a.p, n.p, postBound, func(reply func(outcome)) { n.transition(a.m.group, s.rev, t, reply) }, func(o outcome, ok bool) {
		if settled {
			return
		}
		settled = true
		if !ok {
			a.unanswered(func() { done(false) })
			return
		}
		if o.err != nil && a.w.tracing() {
			a.w.tracef(a.p.name, "%s through %s: %v", t.Kind, n.p.name, o.err)
		}
		if o.now.rev != 0 {
			a.learns(a.m.group, o.now)
		} else {
			a.watch.turn()
		}
		done(o.err == nil)
	})
}

// unanswered is what an agent does about a post whose fate it does not know.
func (a *agent) unanswered(fn func()) {
	a.watch.turn()
	a.save(func(s *unit.Self) { s.Session++ }, fn)
}

func (a *agent) drain(action unit.Action, s stored, done func(bool)) {
	var fence estate.LSN
	a.at(doBound, func(finish func()) {
		a.m.db.drain(a.p, func(l estate.LSN) { fence = l; finish() })
	}, func(ok bool) {
		if !ok {
			done(false)
			return
		}
		a.post(s, unit.Transition{Kind: unit.Close, By: a.self.Now(), Ownership: action.Ownership, LSN: fence, Now: a.p.wall()}, done)
	})
}

func (a *agent) openGates(action unit.Action, done func(bool)) {
	own, opened := action.Ownership, false
	a.save(func(s *unit.Self) { s.Owned, s.Opened = own, own }, func() {
		a.at(doBound, func(finish func()) {
			defer finish() // a server that starts over refuses sessions at once
			if d := a.m.db; d.ready && !d.recovering {
				d.open(own)
				opened = true
				if a.w.bug(PausedOpens) && a.w.chance(500) { // another runner has the same step, and wakes late
					start := d.start
					a.w.after(a.w.long(time.Second, 20*time.Second), func() {
						if d.p.running() && d.ready && !d.recovering && d.start == start {
							d.open(own)
						}
					})
				}
			}
		}, func(ok bool) {
			if ok && opened {
				a.renew()
			}
			done(ok && opened)
		})
	})
}

func (a *agent) sever(action unit.Action, done func(bool)) {
	var at estate.LSN
	cut := func(finish func()) { a.m.db.sever(a.p, func(l estate.LSN) { at = l; finish() }) }
	if a.w.bug(PromoteUnsevered) {
		cut = func(finish func()) { at = a.m.db.lsn(); finish() }
	}
	a.at(doBound, cut, func(ok bool) {
		if !ok {
			done(false)
			return
		}
		a.save(func(s *unit.Self) { s.Severed = &unit.Severed{Ownership: action.Ownership, LSN: at} }, func() {
			a.severed(action.Ownership, at)
			done(true)
		})
	})
}

func (a *agent) follow(action unit.Action, rec *unit.Record, done func(bool)) {
	d := a.m.db
	up := a.m.group.member(action.Upstream)
	if d.half || d.dir != unit.StandbyDir {
		done(false)
		return
	}
	starts := !d.p.up
	a.save(func(s *unit.Self) {
		s.Severed = nil
		if starts {
			s.Begin(rec.LifeOf(s.Member))
		}
	}, func() {
		if starts {
			if d.p.up {
				done(false)
				return
			}
			d.upstream = up.db
			d.launch(a.self.Now(), rec)
			done(true)
			return
		}
		a.at(doBound, func(finish func()) {
			if d.upstream != up.db {
				d.upstream = up.db
				d.dropReceiver()
			}
			d.rename(a.self.Now())
			d.connectLater(0)
			finish()
		}, done)
	})
}

// compare lists what this former owner has and its successor has not; the list is kept where it can be read (I6).
func (a *agent) compare(action unit.Action, done func(bool)) {
	d, up := a.m.db, a.m.group.member(action.Upstream).db
	if !up.serves(a.p) {
		done(false)
		return
	}
	d.work(a.p, up, a.w.long(100*time.Millisecond, 2*time.Second), func(ok bool) {
		if !ok {
			done(false)
			return
		}
		list := slices.Clone(d.wal[d.common(up):])
		n := a.watch.source
		call(a.w, a.p, n.p, postBound, func(reply func(bool)) {
			if n.mayAct() == nil && n.cluster.commands(n.cluster.leader) {
				reply(true)
			}
		}, func(_, ok bool) {
			if !ok {
				a.watch.turn()
				done(false)
				return
			}
			a.w.diverged(a.m.group, list)
			a.save(func(s *unit.Self) { s.Compared = action.Ownership }, func() { done(true) })
		})
	})
}

func labels(lives []estate.Life) []string {
	out := make([]string, len(lives))
	for i, l := range lives {
		out[i] = l.String()
	}
	return out
}

func (a *agent) shrink(action unit.Action, done func(bool)) {
	d, start := a.m.db, a.m.db.start
	list := labels(action.Lives)
	if a.w.bug(LateReload) && a.w.chance(500) {
		// The agent was frozen between the store and the reload; meanwhile another one looks after the directory.
		a.w.after(a.w.between(2*time.Second, 8*time.Second), func() {
			if d.p.running() && d.start == start {
				d.p.after(0, func() { d.reload(list) })
			}
		})
		d.p.after(time.Millisecond, func() { d.reload(list) })
		done(true)
		return
	}
	a.at(doBound, func(finish func()) { d.reload(list); finish() }, done)
}

// shrinkFirst is a seeded bug: the configuration goes before the store.
func (a *agent) shrinkFirst(action unit.Action, s stored, done func(bool)) {
	out := action.Transition.Member
	lives := slices.DeleteFunc(slices.Clone(s.rec.InSync), func(l estate.Life) bool { return l == out })
	a.at(doBound, func(finish func()) { a.m.db.reload(labels(lives)); finish() }, func(bool) {
		a.post(s, action.Transition, done)
	})
}

// grow proves the wait, then tells the store.
func (a *agent) grow(action unit.Action, s stored, done func(bool)) {
	var mark estate.LSN
	proven, session := false, a.self.Session
	a.track.Force(action.Lives)
	a.at(doBound, func(finish func()) {
		if d := a.m.db; d.ready && !d.recovering {
			d.grow(a.p, labels(action.Lives), action.Candidate.String(), func(m estate.LSN, ok bool) { mark, proven = m, ok; finish() })
		} else {
			finish() // a server that starts over refuses sessions at once
		}
	}, func(ok bool) {
		a.track.Forced()
		if !ok || !proven {
			a.track.GrowFailed(a.p.mono())
			done(false)
			return
		}
		if s.rec.InSyncLife(action.Candidate) {
			done(true)
			return
		}
		a.bound(s.rec.Ownership, func() {
			a.post(s, unit.Transition{Kind: unit.Grow, By: a.self.Now(), Session: session, Ownership: s.rec.Ownership, Member: action.Candidate, LSN: mark, Now: a.p.wall()}, func(ok bool) {
				if ok {
					a.track.Grown()
				} else {
					a.track.GrowFailed(a.p.mono())
				}
				done(ok)
			})
		}, func() { a.track.GrowFailed(a.p.mono()); done(false) })
	})
}

// lives is what the agent answers a probe, from memory.
func (a *agent) lives() life {
	return life{who: a.self.Now(), good: a.seen.running && a.seen.answering}
}

// grants answers an owner that asks for a promise (I8).
func (a *agent) grants(own estate.Ownership, duration time.Duration) bool {
	if !unit.MayPromise(a.known.rec, a.self, own) {
		return false
	}
	return a.promise.Grant(own, min(duration, a.w.timing.Promise), a.p.mono())
}

// consents answers a node that sees the owner silent (I16).
func (a *agent) consents(own estate.Ownership, hold time.Duration) consent {
	c := consent{who: a.self.Now()}
	if own.Less(a.self.Seen) || !a.seen.running || !a.seen.answering {
		return c
	}
	c.wait, c.ok = a.promise.Consent(own, a.p.mono(), hold)
	return c
}

// renew asks every member of the set for its promise and lets plain reads pass for as long as all of them hold (I8).
func (a *agent) renew() {
	rec, o := &a.known.rec, &a.seen
	if a.known.rev == 0 || !unit.Renews(*rec, a.self) || !o.answering || o.recovering || !o.gate.open {
		return
	}
	own := rec.Ownership
	if a.w.bug(LeaseFromStore) {
		a.renewAtStore(own)
		return
	}
	a.ask(own, a.set(), func() { a.extend(own) })
	a.extend(own)
}

// set is whose promises are needed, as far as the agent knows: what is in force may have been seen a while ago.
func (a *agent) set() []estate.Life { return unit.LeaseSet(a.known.rec, a.track.InForce()) }

// ask asks for promises; granted is called for each that was given.
func (a *agent) ask(own estate.Ownership, set []estate.Life, granted func()) {
	duration := a.w.timing.Promise
	for _, l := range set {
		m := a.m.group.member(l.Member)
		sent := a.p.mono()
		type promised struct {
			who estate.Life
			ok  bool
		}
		call(a.w, a.p, m.agent.p, probeBound, func(reply func(promised)) {
			reply(promised{m.agent.self.Now(), m.agent.grants(own, duration)})
		}, func(p promised, ok bool) {
			if ok && p.ok && p.who == l {
				if a.w.bug(LeaseFromReceipt) {
					sent = a.p.mono()
				}
				a.lease.Granted(own, l, sent, duration)
				granted()
			}
		})
	}
}

// leaseUntil is the end of the lease by what the agent knows now.
func (a *agent) leaseUntil(own estate.Ownership) time.Duration {
	return a.lease.Until(own, a.set(), a.p.mono(), a.w.timing.Promise)
}

// extend writes the lease into the database.
func (a *agent) extend(own estate.Ownership) {
	if a.known.rec.Ownership != own || !unit.Renews(a.known.rec, a.self) {
		return
	}
	left := a.leaseUntil(own) - a.p.mono()
	if left <= 0 {
		return
	}
	a.writeLease(own, left)
	a.p.after(left, a.endLease) // the agent ends it on its own clock
}

func (a *agent) writeLease(own estate.Ownership, left time.Duration) {
	d := a.m.db
	start, sent := d.start, d.w.now
	deadline := d.p.wall() + left.Milliseconds()
	d.p.after(300*time.Microsecond, func() { // a frozen server reads it later: it is a time of day, not a duration
		if d.ready && d.start == start && d.gate.open && d.gate.own == own {
			d.lease, d.leasedAt = deadline, sent
			if d.m.site.steppedBack < sent { // else it is too long by the step, and the agent's own clock ends it
				d.w.leases(d)
			}
		}
	})
}

// endLease ends the lease in the database where it is over by what the agent knows.
func (a *agent) endLease() {
	if own := a.known.rec.Ownership; !unit.Renews(a.known.rec, a.self) || a.leaseUntil(own) <= a.p.mono() {
		a.m.db.lease = 0
	}
}

// bound makes the lease in the database end with the promises of everybody who is in force now, before more may be decided (I8).
func (a *agent) bound(own estate.Ownership, bounded, failed func()) {
	end := func() {
		left := a.leaseUntil(own) - a.p.mono()
		start := a.m.db.start
		a.at(doBound, func(finish func()) {
			if d := a.m.db; d.start == start {
				d.lease = 0
			}
			finish()
		}, func(ok bool) {
			switch {
			case !ok:
				failed()
			case left > 0:
				a.extend(own)
				bounded()
			default:
				bounded()
			}
		})
	}
	waiting, done := len(a.set()), false
	once := func() {
		if !done {
			done = true
			end()
		}
	}
	a.ask(own, a.set(), func() {
		if waiting--; waiting == 0 {
			once()
		}
	})
	a.p.after(probeBound, once)
}

// renewAtStore is a seeded bug: the right to write comes from the store and ends with it.
func (a *agent) renewAtStore(own estate.Ownership) {
	a.read(func(_ stored, ok bool) {
		d := a.m.db
		if ok {
			d.lease = d.p.wall() + 1000
			if d.gate.there && d.gate.own == own && !d.gate.open {
				d.gate.open = true
			}
			return
		}
		if d.p.wall() > d.lease {
			d.gate.open = false
		}
	})
}

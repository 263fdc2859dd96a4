package sim

import (
	"time"

	"perdure/internal/unit"
)

// The faults.
const (
	agentCrash = iota
	agentPause
	databaseCrash
	databasePause
	copyCrash
	copyPause
	backendCrash
	cancelCommits
	nodeCrash
	nodePause
	gatewayCrash
	appCrash
	appPause
	shortPause
	hostCrash
	siteDown
	sitePause
	isolate
	cutBoth
	cutOneWay
	walCut
	controlCut
	lossyNet
	lateNet
	nodeLag
	leaderCrash
	majorityDown
	cityLost
	wallStep
	frozenCheckpointer
	slowDisk
	replayConflict
	slowStore
	falseDeath
	deafSite
	scattered
	successorGone
	faults
)

// weather keeps count of what is wrong now.
type weather struct {
	active   int
	count    int // faults so far
	badNet   int // losses and delays now
	changed  int64
	stormEnd int64
}

// storm begins the faults.
func (w *world) storm() {
	w.weather.stormEnd = w.now + int64(w.profile.length)
	var next func()
	next = func() {
		if w.now >= w.weather.stormEnd {
			return
		}
		w.strike()
		w.after(w.between(w.profile.gap/4, w.profile.gap*7/4), next)
	}
	w.after(w.between(w.profile.gap/4, w.profile.gap), next)
	if w.profile.name == Leader {
		var kill func()
		kill = func() {
			if w.now >= w.weather.stormEnd {
				return
			}
			if l := w.clusters[0].leader; l != nil && l.p.up {
				l.p.crash()
			}
			w.after(5*time.Second, kill)
		}
		w.after(10*time.Second, kill)
	}
}

// strike lets one fault happen.
func (w *world) strike() {
	sum := 0
	for _, n := range w.profile.weights {
		sum += n
	}
	if sum == 0 || w.weather.active > 3 {
		return
	}
	x := w.rng.IntN(sum)
	kind := 0
	for x >= w.profile.weights[kind] {
		x -= w.profile.weights[kind]
		kind++
	}
	w.fault(kind)
}

// lasting notes a fault and ends it after the time.
func (w *world) lasting(d time.Duration, end func()) {
	w.weather.active++
	w.weather.changed = w.now
	w.after(d, func() {
		w.weather.active--
		w.weather.changed = w.now
		end()
	})
}

func (w *world) anyGroup() *group { return w.groups[w.rng.IntN(len(w.groups))] }

// owner is the member that owns the group by the newest store.
func (w *world) owner(g *group) *member {
	rec := w.record(g)
	if m := g.member(rec.Owner.Member); m != nil {
		return m
	}
	return g.members[0]
}

func (w *world) copyOf(g *group) *member {
	o := w.owner(g)
	for {
		if m := g.members[w.rng.IntN(len(g.members))]; m != o {
			return m
		}
	}
}

func (w *world) anyMember() *member {
	g := w.anyGroup()
	if w.chance(500) {
		return w.owner(g)
	}
	return g.members[w.rng.IntN(len(g.members))]
}

func (w *world) fault(kind int) {
	w.weather.count++
	w.stats.Faults++
	switch kind {
	case agentCrash:
		w.kill(w.anyMember().agent.p)
	case agentPause:
		w.freeze(w.anyMember().agent.p, w.long(200*time.Millisecond, 15*time.Second))
	case databaseCrash:
		w.kill(w.owner(w.anyGroup()).db.p)
	case databasePause:
		w.freeze(w.owner(w.anyGroup()).db.p, w.long(200*time.Millisecond, 15*time.Second))
	case copyCrash:
		w.kill(w.copyOf(w.anyGroup()).db.p)
	case copyPause:
		w.freeze(w.copyOf(w.anyGroup()).db.p, w.long(200*time.Millisecond, 15*time.Second))
	case backendCrash:
		w.anyMember().db.crashBackend()
	case cancelCommits:
		w.cancels()
	case nodeCrash:
		w.kill(w.nodes[w.rng.IntN(len(w.nodes))].p)
	case nodePause:
		w.freeze(w.nodes[w.rng.IntN(len(w.nodes))].p, w.long(200*time.Millisecond, 15*time.Second))
	case gatewayCrash:
		w.kill(w.gateways[w.rng.IntN(len(w.gateways))].p)
	case appCrash:
		w.kill(w.apps[w.rng.IntN(len(w.apps))].p)
	case appPause:
		w.freeze(w.apps[w.rng.IntN(len(w.apps))].p, w.long(200*time.Millisecond, 8*time.Second))
	case shortPause:
		all := w.everybody()
		w.freeze(all[w.rng.IntN(len(all))], w.between(20*time.Millisecond, 250*time.Millisecond))
	case hostCrash:
		m := w.anyMember()
		w.kill(m.db.p)
		w.kill(m.agent.p)
	case siteDown:
		w.darken(w.faultySite(), w.long(3*time.Second, 30*time.Second))
	case sitePause:
		s, d := w.faultySite(), w.long(300*time.Millisecond, 15*time.Second)
		for _, p := range w.everybody() {
			if p.site == s {
				w.freeze(p, d)
			}
		}
	case isolate:
		s, d := w.faultySite(), w.long(time.Second, 25*time.Second)
		for i := range w.sites {
			if i != s.index {
				w.cut(s.index, i, true, d)
			}
		}
	case cutBoth, cutOneWay:
		i := w.rng.IntN(len(w.sites))
		j := (i + 1 + w.rng.IntN(len(w.sites)-1)) % len(w.sites)
		w.cut(i, j, kind == cutBoth, w.long(500*time.Millisecond, 20*time.Second))
	case walCut:
		i := w.rng.IntN(len(w.sites))
		j := (i + 1 + w.rng.IntN(len(w.sites)-1)) % len(w.sites)
		w.net.walCut[i][j] = true
		w.lasting(w.long(300*time.Millisecond, 15*time.Second), func() { w.net.walCut[i][j] = false })
	case controlCut:
		s, d := w.faultySite(), w.long(time.Second, 20*time.Second)
		w.tracef("weather", "site %s is cut off but for replication for %s", s.id, d)
		for i := range w.sites {
			if i != s.index {
				w.net.ctlCut[i][s.index], w.net.ctlCut[s.index][i] = true, true
			}
		}
		w.lasting(d, func() {
			for i := range w.sites {
				w.net.ctlCut[i][s.index], w.net.ctlCut[s.index][i] = false, false
			}
		})
	case lossyNet:
		w.net.loss, w.net.copies = 20+w.rng.IntN(200), 30
		w.weather.badNet++
		w.lasting(w.long(time.Second, 15*time.Second), func() { w.net.loss, w.net.copies = 0, 0; w.weather.badNet-- })
	case lateNet:
		w.net.late, w.net.lateBy = 10+w.rng.IntN(100), w.long(50*time.Millisecond, 5*time.Second)
		w.weather.badNet++
		w.lasting(w.long(time.Second, 20*time.Second), func() { w.net.late = 0; w.weather.badNet-- })
	case nodeLag:
		n := w.nodes[w.rng.IntN(len(w.nodes))]
		n.lagBy = w.long(200*time.Millisecond, 6*time.Second)
		w.lasting(w.long(2*time.Second, 20*time.Second), func() { n.lagBy = 0 })
	case deafSite:
		x, d := w.faultySite(), w.long(time.Second, 15*time.Second)
		w.tracef("weather", "nobody elsewhere is let in to the agents and databases of site %s for %s", x.id, d)
		x.deaf++
		w.lasting(d, func() { x.deaf = max(0, x.deaf-1) })
	case scattered:
		w.scatter()
	case successorGone:
		w.successorGone()
	case falseDeath:
		w.owner(w.anyGroup()).agent.misreads = true
	case slowStore:
		w.slowStore = w.long(500*time.Millisecond, 8*time.Second)
		w.tracef("weather", "the store's disk is slow, up to %s", w.slowStore)
		w.weather.badNet++
		w.lasting(w.long(2*time.Second, 15*time.Second), func() { w.slowStore = 0; w.weather.badNet-- })
	case leaderCrash:
		if l := w.top().leader; l != nil {
			w.kill(l.p)
		}
	case majorityDown:
		w.majorityDown()
	case cityLost:
		w.cityLost()
	case wallStep:
		s := w.sites[w.rng.IntN(len(w.sites))]
		step := w.long(time.Second, time.Hour)
		if w.chance(500) {
			step = -step
			s.steppedBack = w.now
		}
		s.wall += int64(step)
		w.tracef("weather", "the clocks of site %s step by %s", s.id, step)
	case frozenCheckpointer:
		d := w.anyMember().db
		d.frozen = w.now + int64(w.long(time.Second, 15*time.Second))
		w.tracef("weather", "the checkpointer of %s is busy", d.p.name)
		w.lasting(time.Duration(d.frozen-w.now), func() {})
	case slowDisk:
		d := w.anyMember().db
		d.stalled = w.now + int64(w.long(300*time.Millisecond, 8*time.Second))
		w.tracef("weather", "the disk of %s stalls", d.p.name)
		w.lasting(time.Duration(d.stalled-w.now), func() {})
	case replayConflict:
		d := w.anyMember().db
		d.holdReplay(w.now + int64(w.long(300*time.Millisecond, 8*time.Second)))
		w.tracef("weather", "a reader holds up the replay of %s", d.p.name)
		w.lasting(time.Duration(d.conflict-w.now), func() {})
	}
}

// faultySite prefers the sites where owners are.
func (w *world) faultySite() *site {
	if w.chance(600) {
		return w.owner(w.anyGroup()).site
	}
	return w.sites[w.rng.IntN(len(w.sites))]
}

func (w *world) everybody() []*proc {
	var all []*proc
	for _, n := range w.nodes {
		all = append(all, n.p)
	}
	for _, g := range w.groups {
		for _, m := range g.members {
			all = append(all, m.agent.p, m.db.p)
		}
	}
	for _, gw := range w.gateways {
		all = append(all, gw.p)
	}
	for _, a := range w.apps {
		all = append(all, a.p)
	}
	return all
}

func (w *world) kill(p *proc) {
	w.weather.changed = w.now
	p.crash()
}

func (w *world) freeze(p *proc, d time.Duration) {
	if !p.running() {
		return
	}
	p.pause()
	boot := p.boot
	w.lasting(d, func() {
		if p.boot == boot {
			p.resume()
		}
	})
}

// darken takes the power from a site for a while.
func (w *world) darken(s *site, d time.Duration) {
	if s.dark {
		return
	}
	s.dark = true
	w.tracef("weather", "site %s is dark for %s", s.id, d)
	for _, p := range w.everybody() {
		if p.site == s {
			p.crash()
		}
	}
	w.lasting(d, func() {
		s.dark = false
		w.tracef("weather", "site %s has power again", s.id)
	})
}

func (w *world) cut(i, j int, both bool, d time.Duration) {
	if w.net.cut[i][j] {
		return
	}
	w.tracef("weather", "cut %s → %s (both %v) for %s", w.sites[i].id, w.sites[j].id, both, d)
	w.net.cut[i][j] = true
	if both {
		w.net.cut[j][i] = true
	}
	w.lasting(d, func() {
		w.net.cut[i][j] = false
		if both {
			w.net.cut[j][i] = false
		}
		w.tracef("weather", "healed %s → %s", w.sites[i].id, w.sites[j].id)
	})
}

// majorityDown kills just too many nodes.
func (w *world) majorityDown() {
	d := w.long(2*time.Second, 20*time.Second)
	order := w.rng.Perm(len(w.nodes))
	for _, i := range order[:len(w.nodes)/2+1] {
		n := w.nodes[i]
		n.p.crash()
		n.p.deadSince = w.now + int64(d)
	}
	w.lasting(d, func() {})
}

// successorGone kills an owner's database, and the host of whoever is decided before that opens, for longer than a decision waits;
// sometimes the former owner's host too, so that people have to decide.
func (w *world) successorGone() {
	g := w.anyGroup()
	before := w.owner(g)
	own := w.record(g).Ownership
	w.kill(before.db.p)
	d := w.between(30*time.Second, 70*time.Second)
	end := w.now + int64(20*time.Second)
	var look func()
	look = func() {
		rec := w.record(g)
		if w.quiet || w.now > end || rec.State == unit.Open && rec.Ownership != own {
			return
		}
		if rec.State != unit.Promoting {
			w.after(20*time.Millisecond, look)
			return
		}
		gone := []*member{w.owner(g)}
		if w.chance(300) {
			gone = append(gone, before)
		}
		for _, m := range gone {
			w.tracef("weather", "the host of %s is gone for %s", m.id, d)
			for _, p := range []*proc{m.db.p, m.agent.p} {
				p.crash()
				p.deadSince = w.now + int64(d)
			}
		}
		w.lasting(d, func() {})
	}
	look()
}

// scatter cuts every site off from every other, often for so long that the quorum comes back cold.
func (w *world) scatter() {
	d := w.long(5*time.Second, 45*time.Second)
	for i := range w.sites {
		for j := range i {
			w.cut(j, i, true, d+w.between(0, 2*time.Second))
		}
	}
}

// cityLost takes the two sites of the city away from the third: dark, or alive and unreachable; people recover the store there.
func (w *world) cityLost() {
	if len(w.clusters) > 1 {
		return
	}
	dark := w.chance(500)
	d := w.between(25*time.Second, 45*time.Second)
	apart := !dark && w.chance(300) // its sites do not see each other either: their nodes live through it without a quorum
	if apart {
		d += 10 * time.Second
	}
	w.tracef("weather", "the city is lost, dark %v, apart %v, for %s", dark, apart, d)
	if w.chance(500) {
		w.nodes[2].lagBy = w.long(time.Second, 10*time.Second)
	}
	w.after(w.long(10*time.Millisecond, 4*time.Second), func() {
		for _, i := range []int{0, 1} {
			if dark {
				w.darken(w.sites[i], d)
			}
			w.cut(i, 2, true, d+w.between(0, 10*time.Second))
		}
		if apart {
			w.cut(0, 1, true, d-w.between(0, 3*time.Second))
		}
		if !dark && w.chance(400) { // power fails later, and comes back while the city is still cut off
			w.after(d/2, func() {
				w.darken(w.sites[0], 3*time.Second)
				w.darken(w.sites[1], 3*time.Second)
			})
		}
	})
	w.operator.lostAt = w.now
}

// hiccup freezes a process at the boundary of an action, now and then.
func (w *world) hiccup(p *proc) bool {
	if w.quiet || w.profile.hiccups == 0 || w.rng.IntN(10000) >= w.profile.hiccups {
		return false
	}
	w.weather.count++
	w.stats.Faults++
	w.freeze(p, w.long(100*time.Millisecond, 10*time.Second))
	return true
}

// cancels is somebody who ends sessions that hang in the synchronous wait because a copy is slow.
func (w *world) cancels() {
	g := w.anyGroup()
	rec, d := w.record(g), w.owner(g).db
	if len(rec.InSync) == 0 {
		return
	}
	w.freeze(g.member(rec.InSync[w.rng.IntN(len(rec.InSync))].Member).db.p, w.between(300*time.Millisecond, time.Second))
	terminate := w.chance(500)
	for range 1 + w.rng.IntN(4) {
		w.after(w.between(50*time.Millisecond, 900*time.Millisecond), func() {
			if !d.p.running() || !d.ready || len(d.waiting) == 0 {
				return
			}
			w.tracef("weather", "commits waiting on %s are ended, terminated %v", d.p.name, terminate)
			if terminate {
				d.endWaits(broken)
			}
			for len(d.waiting) > 0 {
				d.cancelWait(0)
			}
		})
	}
}

// calm ends every fault.
func (w *world) calm() {
	w.quiet = true
	w.net.cut, w.net.walCut, w.net.ctlCut = [maxSites][maxSites]bool{}, [maxSites][maxSites]bool{}, [maxSites][maxSites]bool{}
	w.net.loss, w.net.copies, w.net.late = 0, 0, 0
	w.weather.badNet, w.slowStore = 0, 0
	for _, s := range w.sites {
		s.dark = false
		s.deaf = 0
	}
	for _, n := range w.nodes {
		n.lagBy = 0
	}
	for _, p := range w.everybody() {
		p.resume()
		p.deadSince = min(p.deadSince, w.now)
	}
	w.weather.changed = w.now
	w.tracef("weather", "calm")
}

package sim

import (
	"math/rand/v2"
	"strconv"
	"time"

	"perdure/internal/estate"
	"perdure/internal/unit"
)

// group is a replication group: one server and its copies, with one unit, and what the checker knows of it.
type group struct {
	w       *world
	index   int
	name    string
	id      estate.GroupID
	members []*member
	truth   truth
}

// member is one data directory with its agent and its database, on one machine.
type member struct {
	group *group
	id    estate.MemberID
	site  *site
	ppm   int64
	agent *agent
	db    *database
	// what the checker remembers
	cut      estate.Ownership // severed for it
	cutAt    estate.LSN
	cutName  string
	everOpen map[estate.Ownership]bool
}

// units are what the group carries: one.
func (g *group) units() []estate.UnitID {
	return []estate.UnitID{estate.UnitID("u" + strconv.Itoa(g.index+1))}
}

func (g *group) member(id estate.MemberID) *member {
	for _, m := range g.members {
		if m.id == id {
			return m
		}
	}
	return nil
}

func (g *group) at(s *site) *member {
	for _, m := range g.members {
		if m.site == s {
			return m
		}
	}
	return nil
}

// build makes the world of a seed: an estate that does not exist yet.
func build(cfg Config) *world {
	w := &world{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0x5eed)), timing: unit.DefaultTiming(), hash: cfg.Seed}
	w.profile = profileOf(cfg.Profile, w)
	p := &w.profile
	for i, id := range []estate.SiteID{"a", "b", "c", "d", "e"}[:p.sites] {
		w.sites = append(w.sites, &site{id: id, index: i, wall: int64(w.between(-2*time.Second, 2*time.Second))})
	}
	for i := range w.sites {
		for j := range w.sites {
			w.net.delay[i][j] = distance(i, j)
		}
	}
	for i := range p.groups {
		g := &group{w: w, index: i, id: estate.GroupID("g" + strconv.Itoa(i+1))}
		g.name = string(g.id)
		g.truth.init()
		w.groups = append(w.groups, g)
	}
	inc := estate.Incarnation{Counter: 1, ID: "one"}
	c := &cluster{w: w, inc: inc, lost: noTime, recs: make([]stored, len(w.groups))}
	w.clusters = []*cluster{c}
	for i, s := range w.sites {
		n := w.newNode(i, s)
		n.cluster, n.met = c, inc
		w.nodes = append(w.nodes, n)
		c.members = append(c.members, n)
	}
	for _, g := range w.groups {
		w.buildGroup(g, c)
	}
	for _, s := range w.sites[:min(p.sites, 4)] {
		w.gateways = append(w.gateways, w.newGateway(s))
		w.apps = append(w.apps, w.newApp(s))
	}
	for i := range p.clients {
		w.clients = append(w.clients, w.newClient(w.sites[i%min(p.sites, 3)], i))
	}
	return w
}

// distance is the one-way delay between sites: a, b and d in one city, c in another, e in a third.
func distance(i, j int) time.Duration {
	city := [maxSites]int{0, 0, 1, 0, 2}
	switch {
	case i == j:
		return 100 * time.Microsecond
	case city[i] == city[j]:
		return 300 * time.Microsecond
	}
	return 7 * time.Millisecond
}

func (w *world) buildGroup(g *group, c *cluster) {
	p := &w.profile
	roles := []unit.Role{unit.SyncRole, unit.SyncRole, unit.AsyncRole, unit.SyncRole}
	if p.pinned {
		roles[2] = unit.PinnedRole
	}
	var members []unit.Member
	for i := range min(p.sites, 4) {
		m := &member{group: g, id: estate.MemberID(string(g.id) + "-" + string(w.sites[i].id)), site: w.sites[i], ppm: w.drift(), everOpen: map[estate.Ownership]bool{}}
		m.db = w.newDatabase(m)
		m.agent = w.newAgent(m)
		g.members = append(g.members, m)
		members = append(members, unit.Member{ID: m.id, Site: m.site.id, Role: roles[i]})
	}
	policy := unit.Policy{Failover: p.failover, MinInSync: p.minInSync, Damping: p.damping}
	owner := g.members[g.index%2].id
	rec := unit.Bootstrap(g.id, "core", g.units(), policy, members, owner, c.inc)
	c.rev++
	c.recs[g.index] = stored{rec, c.rev}
	for _, n := range c.members {
		n.view[g.index] = c.recs[g.index]
	}
}

// begin starts everything.
func (w *world) begin() {
	for _, n := range w.nodes {
		n.p.start()
		n.cold = false
	}
	for _, g := range w.groups {
		for _, m := range g.members {
			m.agent.p.start()
		}
	}
	for _, gw := range w.gateways {
		gw.p.start()
	}
	for _, a := range w.apps {
		a.p.start()
	}
	for _, c := range w.clients {
		c.p.start()
	}
	w.clusters[0].leader = w.nodes[w.rng.IntN(len(w.nodes))]
	w.ticks()
}

// ticks are the world's own events.
func (w *world) ticks() {
	w.every(100*time.Millisecond, func() {
		for _, c := range w.clusters {
			c.tick()
		}
		w.watchOver()
	})
	w.every(500*time.Millisecond, func() {
		for _, c := range w.clusters {
			c.catchUp()
		}
		w.supervise()
	})
	w.every(time.Second, w.persons)
	w.every(5*time.Second, w.retain)
}

func (w *world) every(d time.Duration, fn func()) {
	var again func()
	again = func() {
		fn()
		w.after(d, again)
	}
	w.after(d, again)
}

// supervise starts again what has died: agents, nodes, gateways, applications. A database is started by its agent only.
func (w *world) supervise() {
	restart := func(p *proc) {
		if !p.up && !p.site.dark && p.deadSince+int64(500*time.Millisecond) < w.now && (w.quiet || w.chance(400)) {
			p.start()
		}
	}
	for _, n := range w.nodes {
		restart(n.p)
	}
	for _, g := range w.groups {
		for _, m := range g.members {
			restart(m.agent.p)
		}
	}
	for _, gw := range w.gateways {
		restart(gw.p)
	}
	for _, a := range w.apps {
		restart(a.p)
	}
}

// retain drops idempotency rows that are older than the retention, where no divergence may still come back (I5).
func (w *world) retain() {
	upTo := keyAt(w.now - int64(retention))
	for _, g := range w.groups {
		if g.truth.suspended {
			continue
		}
		for _, m := range g.members {
			if d := m.db; d.p.running() && d.mayWrite() {
				d.p.after(time.Millisecond, func() { d.purge(upTo) })
			}
		}
	}
}

package manifest

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"perdure/internal/calendar"
	"perdure/internal/duty"
	"perdure/internal/estate"
	"perdure/internal/incident"
	"perdure/internal/plan"
	"perdure/internal/shape"
)

// checker holds the documents of a set against each other.
type checker struct {
	set      *Set
	docs     documents
	problems shape.Problems
	sites    map[estate.SiteID]*Site
}

func newChecker(set *Set, docs documents) *checker {
	return &checker{set: set, docs: docs, sites: map[estate.SiteID]*Site{}}
}

// tell notes a problem, unless it only follows from something that is broken there.
func (c *checker) tell(d *document, path, allowed, format string, args ...any) {
	if d.brokenAt(path) {
		return
	}
	c.problems = append(c.problems, shape.Problem{File: d.file, Line: d.lineOf(path), Document: d.String(), Field: path, Reason: fmt.Sprintf(format, args...), Allowed: allowed})
}

func (c *checker) checkSet() {
	siteNames := c.registry("a site")
	for i := range c.set.Sites {
		s := &c.set.Sites[i]
		if siteNames.add(c.docs.sites[i], "name", string(s.Name)) {
			c.sites[s.Name] = s
		}
	}
	c.checkQuorum()
	nodes, gateways := c.registry("a node"), c.registry("a gateway")
	for i := range c.set.Sites {
		c.checkSite(&c.set.Sites[i], c.docs.sites[i], nodes, gateways)
	}
	systems, groups, members, units := c.registry("a system"), c.registry("a replication group"), c.registry("a member"), c.registry("a unit")
	for i := range c.set.Systems {
		s, d := &c.set.Systems[i], c.docs.systems[i]
		systems.add(d, "name", string(s.Name))
		for j, g := range s.Groups {
			groups.add(d, fmt.Sprintf("groups[%d].name", j), string(g.Name))
			for k, m := range g.Members {
				members.add(d, fmt.Sprintf("groups[%d].members[%d].id", j, k), string(m.ID))
			}
		}
		for j, u := range s.Units {
			units.add(d, fmt.Sprintf("units[%d].name", j), string(u.Name))
		}
		sc := systemChecker{checker: c, system: s, doc: d}
		sc.check()
	}
	c.checkBusiness()
	c.checkPlans()
	c.checkCalendars()
	c.checkRosters()
	c.checkIncidentRules()
	c.checkTenants()
	c.checkAddresses()
	c.checkTraffic()
}

// checkQuorum: the store needs an odd number of members that people can survey (issue: 1, 3 or 5).
func (c *checker) checkQuorum() {
	count, first := 0, -1
	for i, s := range c.set.Sites {
		if len(s.Nodes) > 0 && first < 0 {
			first = i
		}
		count += len(s.Nodes)
	}
	if len(c.set.Sites) == 0 || c.docs.partial || slices.Contains([]int{1, 3, 5}, count) {
		return
	}
	for _, d := range c.docs.sites {
		if d.brokenAt("nodes") {
			return
		}
	}
	c.tell(c.docs.sites[max(first, 0)], "nodes", "1, 3 or 5 nodes", "the estate has %d nodes", count)
}

func (c *checker) checkSite(s *Site, d *document, nodes, gateways registry) {
	for i, n := range s.Nodes {
		at := fmt.Sprintf("nodes[%d].name", i)
		if n.Name == "" && len(s.Nodes) > 1 {
			c.tell(d, at, shape.NameAllowed, "a site with several nodes has to name them")
		}
		nodes.add(d, at, n.Name)
	}
	for i, g := range s.Gateways {
		at := fmt.Sprintf("gateways[%d].name", i)
		if g.Name == "" && len(s.Gateways) > 1 {
			c.tell(d, at, shape.NameAllowed, "a site with several gateways has to name them")
		}
		gateways.add(d, at, g.Name)
	}
	if s.Witness && len(s.Gateways) > 0 {
		c.tell(d, "gateways", "nodes only", "a witness site carries no gateway")
	}
	if s.Witness && len(s.Nodes) == 0 {
		c.tell(d, "nodes", "at least one node", "a witness site without a node witnesses nothing")
	}
	for _, other := range slices.Sorted(maps.Keys(s.DistanceKm)) {
		at := shape.Join("distanceKm", string(other))
		far := s.DistanceKm[other]
		switch o := c.sites[other]; {
		case other == s.Name:
			c.tell(d, at, c.siteNames(), "a site has no distance to itself")
		case o == nil:
			c.noSite(d, at, other)
		case o.DistanceKm[s.Name] != 0 && o.DistanceKm[s.Name] != far:
			c.tell(d, at, "one distance for one pair of sites", "%d km, but site %s says %d km", far, other, o.DistanceKm[s.Name])
		}
	}
}

// noSite tells that a site is missing, unless some site could not be read.
func (c *checker) noSite(d *document, at string, site estate.SiteID) {
	if !c.docs.partial {
		c.tell(d, at, c.siteNames(), "there is no site %q", site)
	}
}

func (c *checker) siteNames() string {
	return "sites " + listed(slices.Sorted(maps.Keys(c.sites)))
}

func (c *checker) checkPlans() {
	plans := c.registry("a plan")
	for i, p := range c.set.Plans {
		d := c.docs.plans[i]
		plans.add(d, "name", p.Name)
		if plan.IsBuiltIn(p.Name) {
			c.tell(d, "name", "another name", "plan %s is one of the product's own", p.Name)
		}
		if p.System != "" && c.set.System(p.System) == nil && !c.docs.partial {
			c.tell(d, "system", "", "there is no system %s", p.System)
		}
		for j, s := range p.Steps {
			c.checkStepSystem(d, fmt.Sprintf("steps[%d].system", j), s.System)
		}
		for _, name := range slices.Sorted(maps.Keys(p.Templates)) {
			c.checkStepSystem(d, shape.Join(shape.Join("templates", name), "system"), p.Templates[name].System)
		}
	}
	plan.Check(c.set.Plans, plan.BuiltIn(), func(i int, field, allowed, reason string) {
		c.tell(c.docs.plans[i], field, allowed, "%s", reason)
	})
}

func (c *checker) checkStepSystem(d *document, field string, name estate.SystemID) {
	if name != "" && c.set.System(name) == nil && !c.docs.partial {
		c.tell(d, field, "systems "+listed(c.systemNames()), "there is no system %s", name)
	}
}

func (c *checker) checkCalendars() {
	calendars := c.registry("a calendar")
	for i, cal := range c.set.Calendars {
		calendars.add(c.docs.calendars[i], "name", cal.Name)
	}
	calendar.Check(c.set.Calendars, calendar.Estate{
		HasSystem: func(id estate.SystemID) bool { return c.docs.partial || c.set.System(id) != nil },
		HasUnit: func(id estate.UnitID) bool {
			_, u := c.set.Unit(id)
			return c.docs.partial || u != nil
		},
		Plans: slices.Concat(c.set.Plans, plan.BuiltInPlans()), Partial: c.docs.partial,
	}, func(i int, field, allowed, reason string) {
		c.tell(c.docs.calendars[i], field, allowed, "%s", reason)
	})
}

func (c *checker) checkRosters() {
	rosters := c.registry("a roster")
	for i, r := range c.set.Rosters {
		rosters.add(c.docs.rosters[i], "name", r.Name)
		for j, d := range r.Duties {
			if d.Name == participantRole {
				c.tell(c.docs.rosters[i], fmt.Sprintf("duties[%d].name", j), "another name", "%s is the role of all who take part", d.Name)
			}
		}
	}
	duty.Check(c.set.Rosters, duty.Estate{Roles: roles[1:], Participants: c.participantNames(), Partial: c.docs.partial}, c.tellRoster)
}

func (c *checker) tellRoster(i int, field, allowed, reason string) {
	c.tell(c.docs.rosters[i], field, allowed, "%s", reason)
}

func (c *checker) checkIncidentRules() {
	incident.Check(c.set.IncidentRules, func(id estate.SystemID) bool { return c.docs.partial || c.set.System(id) != nil }, func(i int, field, allowed, reason string) {
		c.tell(c.docs.incidentRules[i], field, allowed, "%s", reason)
	})
}

// checkAddresses: one listener per address.
func (c *checker) checkAddresses() {
	taken := c.registry("the address")
	add := func(d *document, at, host string, port int) {
		if host != "" && port != 0 {
			taken.add(d, at, net.JoinHostPort(strings.ToLower(host), strconv.Itoa(port)))
		}
	}
	for i, s := range c.set.Sites {
		d := c.docs.sites[i]
		for j, n := range s.Nodes {
			at := fmt.Sprintf("nodes[%d].", j)
			add(d, at+"api", n.Host, n.API)
			add(d, at+"peer", n.Host, n.Peer)
			add(d, at+"client", n.Host, n.Client)
		}
		for j, g := range s.Gateways {
			at := fmt.Sprintf("gateways[%d].", j)
			add(d, at+"port", g.Host, g.Port)
			add(d, at+"admin", g.Host, g.Admin)
		}
	}
	for i, s := range c.set.Systems {
		d := c.docs.systems[i]
		// Two modules may be served by one instance, so instances only have to keep clear of everything else.
		instances := map[string]bool{}
		for j, dep := range s.Deployments {
			for k, text := range dep.Instances {
				if u, err := url.Parse(text); err == nil && u.Host != "" && !instances[u.Host] {
					instances[u.Host] = true
					taken.add(d, fmt.Sprintf("deployments[%d].instances[%d]", j, k), strings.ToLower(u.Host))
				}
			}
		}
		for j, g := range s.Groups {
			for k, m := range g.Members {
				at := fmt.Sprintf("groups[%d].members[%d].", j, k)
				add(d, at+"database.port", m.Database.Host, m.Database.Port)
				add(d, at+"agent.port", m.Agent.Host, m.Agent.Port)
			}
		}
	}
}

// checkTraffic: a request belongs to one module of one system.
func (c *checker) checkTraffic() {
	taken := c.registry("the traffic of")
	for i, s := range c.set.Systems {
		hosts := s.Hosts
		if len(hosts) == 0 {
			hosts = []string{"every host"}
		}
		for j, m := range s.Modules {
			for k, path := range m.Paths {
				for _, host := range hosts {
					if path != "" && host != "" {
						taken.add(c.docs.systems[i], fmt.Sprintf("modules[%d].paths[%d]", j, k), strings.ToLower(host)+" "+path)
					}
				}
			}
		}
	}
}

// registry finds names that are given twice.
type registry struct {
	c     *checker
	what  string
	known map[string]place
}

type place struct {
	doc  *document
	path string
}

func (c *checker) registry(what string) registry {
	return registry{c: c, what: what, known: map[string]place{}}
}

// add reports whether the name is new; an empty name is somebody else's problem.
func (r registry) add(d *document, path, name string) bool {
	if name == "" {
		return false
	}
	if first, again := r.known[name]; again {
		r.c.tell(d, path, "", "%s %q is there already, in %s", r.what, name, first.doc.where(first.path))
		return false
	}
	r.known[name] = place{d, path}
	return true
}

func listed[T ~string](names []T) string {
	if len(names) == 0 {
		return "(there is none)"
	}
	texts := make([]string, len(names))
	for i, n := range names {
		texts[i] = string(n)
	}
	return strings.Join(texts, ", ")
}

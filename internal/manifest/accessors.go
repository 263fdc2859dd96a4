package manifest

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"time"

	"perdure/internal/calendar"
	"perdure/internal/duty"
	"perdure/internal/estate"
	"perdure/internal/incident"
	"perdure/internal/plan"
	"perdure/internal/unit"
)

// Placement is where a unit may be served: a member of its group, on the deployment of its module at the member's site.
type Placement struct {
	Module string
	Site   estate.SiteID
	Member estate.MemberID
	// Home is the placement of the group's first owner. Deployed is false for copies at sites without the application.
	Home, Deployed bool
}

// Site gives the site with the name, nil where there is none.
func (s *Set) Site(name estate.SiteID) *Site {
	for i := range s.Sites {
		if s.Sites[i].Name == name {
			return &s.Sites[i]
		}
	}
	return nil
}

// System gives the system with the name, nil where there is none.
func (s *Set) System(name estate.SystemID) *System {
	for i := range s.Systems {
		if s.Systems[i].Name == name {
			return &s.Systems[i]
		}
	}
	return nil
}

// Group gives the replication group and its system, nil where there is none.
func (s *Set) Group(name estate.GroupID) (*System, *Group) {
	for i := range s.Systems {
		if g := s.Systems[i].Group(name); g != nil {
			return &s.Systems[i], g
		}
	}
	return nil, nil
}

// Unit gives the unit and its system, nil where there is none.
func (s *Set) Unit(name estate.UnitID) (*System, *Unit) {
	for i := range s.Systems {
		for j := range s.Systems[i].Units {
			if s.Systems[i].Units[j].Name == name {
				return &s.Systems[i], &s.Systems[i].Units[j]
			}
		}
	}
	return nil, nil
}

// Relation says how two sites of the set lie to each other.
func (s *Set) Relation(a, b estate.SiteID) estate.Relation {
	x, y := s.Site(a), s.Site(b)
	if x == nil || y == nil {
		return estate.Remote
	}
	return relationOf(x, y)
}

func relationOf(a, b *Site) estate.Relation {
	switch {
	case a.Name == b.Name:
		return estate.SameSite
	case a.City == b.City:
		return estate.SameCity
	}
	return estate.Remote
}

// Module gives the module with the name, nil where there is none.
func (s *System) Module(name string) *Module {
	for i := range s.Modules {
		if s.Modules[i].Name == name {
			return &s.Modules[i]
		}
	}
	return nil
}

// Group gives the replication group with the name, nil where there is none.
func (s *System) Group(name estate.GroupID) *Group {
	for i := range s.Groups {
		if s.Groups[i].Name == name {
			return &s.Groups[i]
		}
	}
	return nil
}

// Deployment gives the module's deployment at the site, nil where there is none.
func (s *System) Deployment(module string, site estate.SiteID) *Deployment {
	for i := range s.Deployments {
		if s.Deployments[i].Module == module && s.Deployments[i].Site == site {
			return &s.Deployments[i]
		}
	}
	return nil
}

// UnitsOf gives the units that the group carries: they change hands together (I4).
func (s *System) UnitsOf(group estate.GroupID) []estate.UnitID {
	var units []estate.UnitID
	for _, u := range s.Units {
		if u.Group == group {
			units = append(units, u.Name)
		}
	}
	return units
}

// Placements gives where the unit may be served, the home first, then in the order of members.
func (s *System) Placements(u *Unit) []Placement {
	g := s.Group(u.Group)
	if g == nil {
		return nil
	}
	var out []Placement
	for _, m := range g.Members {
		out = append(out, Placement{
			Module: u.Module, Site: m.Site, Member: m.ID,
			Home: m.ID == g.Owner, Deployed: s.Deployment(u.Module, m.Site) != nil,
		})
	}
	slices.SortStableFunc(out, func(a, b Placement) int { return cmp.Compare(rank(a), rank(b)) })
	return out
}

func rank(p Placement) int {
	if p.Home {
		return 0
	}
	return 1
}

// Records gives what the store holds for each group before anything happened: closed, without ownership, the first owner named without a life.
func (s *Set) Records() []unit.Record {
	var records []unit.Record
	for i := range s.Systems {
		sys := &s.Systems[i]
		for _, g := range sys.Groups {
			r := unit.Record{
				Group: g.Name, System: sys.Name, Units: sys.UnitsOf(g.Name), State: unit.Closed, Owner: estate.Life{Member: g.Owner},
				Policy: unit.Policy{Failover: sys.Policy.Failover, MinInSync: sys.Policy.MinInSync, Damping: time.Duration(sys.Policy.Damping), Retention: time.Duration(sys.Idempotency.Retention)},
			}
			for _, m := range g.Members {
				one := unit.Member{
					ID: m.ID, Site: m.Site, Role: m.Role,
					Agent: address(m.Agent.Host, m.Agent.Port), Database: address(m.Database.Host, m.Database.Port),
				}
				if b := m.Backup; b != nil {
					one.Backup = unit.Backup{Every: time.Duration(b.Every), Keep: b.Keep}
				}
				r.Members = append(r.Members, one)
			}
			records = append(records, r)
		}
	}
	return records
}

func address(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// canonical puts everything with a name into the order of names, so that two sets that mean the same are the same.
func (s *Set) canonical() {
	slices.SortFunc(s.Sites, func(a, b Site) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Tenants, func(a, b Tenant) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Systems, func(a, b System) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Plans, func(a, b plan.Plan) int { return cmp.Compare(a.Name, b.Name) })
	for i := range s.Plans {
		s.Plans[i].Armed = sorted(s.Plans[i].Armed, func(a plan.Armed) string { return a.Name })
		for j := range s.Plans[i].Armed {
			if len(s.Plans[i].Armed[j].Parameters) == 0 {
				s.Plans[i].Armed[j].Parameters = nil
			}
		}
	}
	slices.SortFunc(s.Calendars, func(a, b calendar.Calendar) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Functions, func(a, b Function) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Participants, func(a, b Participant) int { return cmp.Compare(a.Name, b.Name) })
	bySystem := func(s estate.SystemID) string { return string(s) }
	for i := range s.Functions {
		s.Functions[i].Systems = sorted(s.Functions[i].Systems, bySystem)
	}
	for i := range s.Participants {
		p := &s.Participants[i]
		p.Systems = sorted(p.Systems, bySystem)
		if len(p.Contacts) == 0 {
			p.Contacts = nil
		}
	}
	slices.SortFunc(s.CommandGroups, func(a, b CommandGroup) int { return cmp.Compare(a.Name, b.Name) })
	for i := range s.CommandGroups {
		g := &s.CommandGroups[i]
		g.Systems = sorted(g.Systems, bySystem)
		for j := range g.Members {
			g.Members[j].Duties = sorted(g.Members[j].Duties, func(d estate.Duty) string { return string(d) })
		}
		for j := range g.Escalation {
			g.Escalation[j].To = sorted(g.Escalation[j].To, func(name string) string { return name })
		}
		if len(g.Escalation) == 0 {
			g.Escalation = nil
		}
	}
	slices.SortFunc(s.IncidentRules, func(a, b incident.Rules) int { return cmp.Compare(a.Name, b.Name) })
	for i := range s.IncidentRules {
		r := &s.IncidentRules[i]
		for j := range r.Classes {
			for k := range r.Classes[j].Thresholds {
				t := &r.Classes[j].Thresholds[k]
				t.Systems = sorted(t.Systems, func(s estate.SystemID) string { return string(s) })
			}
		}
	}
	slices.SortFunc(s.Rosters, func(a, b duty.Roster) int { return cmp.Compare(a.Name, b.Name) })
	for i := range s.Rosters {
		s.Rosters[i].Duties = sorted(s.Rosters[i].Duties, func(d duty.Duty) string { return d.Name })
		for j := range s.Rosters[i].Duties {
			d := &s.Rosters[i].Duties[j]
			d.Shifts = sorted(d.Shifts, func(s duty.Shift) string { return s.Name })
			if len(d.Substitutions) == 0 {
				d.Substitutions = nil
			}
		}
	}
	for i := range s.Calendars {
		c := &s.Calendars[i]
		c.Windows = sorted(c.Windows, func(w calendar.Window) string { return w.Name })
		c.Freezes = sorted(c.Freezes, func(f calendar.Freeze) string { return f.Name })
		c.Cutoffs = sorted(c.Cutoffs, func(cut calendar.Cutoff) string { return cut.Name })
		c.Schedules = sorted(c.Schedules, func(s calendar.Schedule) string { return s.Name })
		for j := range c.Windows {
			w := &c.Windows[j]
			w.Modes = sorted(w.Modes, func(m plan.Mode) string { return string(m) })
			w.Systems = sorted(w.Systems, func(s estate.SystemID) string { return string(s) })
			w.Units = sorted(w.Units, func(u estate.UnitID) string { return string(u) })
			w.Plans = sorted(w.Plans, func(p string) string { return p })
		}
		for j := range c.Freezes {
			c.Freezes[j].Modes = sorted(c.Freezes[j].Modes, func(m plan.Mode) string { return string(m) })
		}
		for j := range c.Schedules {
			if len(c.Schedules[j].Parameters) == 0 {
				c.Schedules[j].Parameters = nil
			}
		}
	}
	for i := range s.Sites {
		site := &s.Sites[i]
		site.Nodes = sorted(site.Nodes, func(n Node) string { return n.Name })
		site.Gateways = sorted(site.Gateways, func(g Gateway) string { return g.Name })
		if len(site.DistanceKm) == 0 {
			site.DistanceKm = nil
		}
	}
	for i := range s.Systems {
		sys := &s.Systems[i]
		sys.DependsOn = sorted(sys.DependsOn, bySystem)
		sys.Hosts = sorted(sys.Hosts, func(h string) string { return h })
		sys.Reads = sorted(sys.Reads, func(r string) string { return r })
		sys.Modules = sorted(sys.Modules, func(m Module) string { return m.Name })
		sys.Deployments = sorted(sys.Deployments, func(d Deployment) string { return d.Module + "@" + string(d.Site) })
		sys.Groups = sorted(sys.Groups, func(g Group) string { return string(g.Name) })
		sys.Units = sorted(sys.Units, func(u Unit) string { return string(u.Name) })
		for j := range sys.Modules {
			sys.Modules[j].Paths = sorted(sys.Modules[j].Paths, func(p string) string { return p })
		}
		for j := range sys.Deployments {
			sys.Deployments[j].Instances = sorted(sys.Deployments[j].Instances, func(u string) string { return u })
		}
		for j := range sys.Groups {
			sys.Groups[j].Members = sorted(sys.Groups[j].Members, func(m Member) string { return string(m.ID) })
		}
		for j := range sys.Units {
			sys.Units[j].Overrides = sorted(sys.Units[j].Overrides, func(k string) string { return k })
		}
		if len(sys.RoutingKey) == 0 {
			sys.RoutingKey = nil
		}
	}
}

// sorted sorts in place by name; nothing is nil.
func sorted[T any](list []T, name func(T) string) []T {
	if len(list) == 0 {
		return nil
	}
	slices.SortStableFunc(list, func(a, b T) int { return cmp.Compare(name(a), name(b)) })
	return list
}

package generate

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"

	"perdure/internal/document"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/manifest"
	"perdure/internal/plan"
	"perdure/internal/unit"
)

// part is what a plan does with one system.
type part struct {
	system *manifest.System
	stage  estate.Stage
	moves  []move
	tasks  []task
}

// move is a group that becomes current elsewhere, with all of its units.
type move struct {
	group    *manifest.Group
	units    []estate.UnitID
	from, to estate.SiteID
	// lossy: the copy there is not in the in-sync set, so something that was acknowledged may be missing.
	lossy bool
	// cold: what is there is an archive, which is made a copy first.
	cold bool
}

// unit is the one that drivers are told; the others of the group go with it.
func (m *move) unit() string { return string(m.units[0]) }

// task is a module that no driver acts on.
type task struct {
	module   *manifest.Module
	from, to estate.SiteID
}

// scope finds out what a plan is about.
type scope struct {
	set   *manifest.Set
	o     Options
	row   plan.Contract
	notes []string
	// wanting is what cannot be done.
	wanting []string
}

// parts gives what is done with each system, in the order of names. What is planned is done whole or not at all; in an emergency what
// cannot be done is noted, and the rest is done.
func (s *scope) parts() ([]*part, error) {
	var out []*part
	for i := range s.set.Systems {
		system := &s.set.Systems[i]
		if s.o.System != "" && system.Name != s.o.System {
			continue
		}
		p := &part{system: system, stage: s.set.StageOf(system)}
		if err := s.moves(p); err != nil {
			return nil, err
		}
		if err := s.tasks(p); err != nil {
			return nil, err
		}
		if len(p.moves)+len(p.tasks) > 0 {
			out = append(out, p)
		}
	}
	switch {
	case len(s.wanting) > 0 && (s.row.Strict || len(out) == 0):
		return nil, errs.New(errs.Refused, "cannot generate %s: %s", s.o.name(), s.listedLines(s.wanting))
	case len(out) == 0:
		return nil, errs.New(errs.Refused, "cannot generate %s: there is nothing to switch: %s", s.o.name(), s.nothing())
	}
	for _, w := range s.wanting {
		s.notes = append(s.notes, s.say("NOT IN THIS PLAN: %s", w))
	}
	return out, nil
}

func (s *scope) listedLines(lines []string) string {
	const most = 20
	if len(lines) > most {
		lines = append(slices.Clone(lines[:most]), s.say("and %d more", len(lines)-most))
	}
	return strings.Join(lines, "; ")
}

func (s *scope) nothing() string {
	if s.o.Mode == plan.SwitchBack {
		return "nothing in it is at home at a site where it could go back to"
	}
	if s.o.Site != "" {
		return "nothing of it is current or deployed at site " + string(s.o.Site)
	}
	return "everything of it is at " + string(s.o.To) + " already"
}

// current is where a group is.
func (s *scope) current(g *manifest.Group) estate.SiteID {
	if site, ok := s.o.Current[g.Name]; ok {
		return site
	}
	return g.Home()
}

// moves chooses the groups of a system and where each goes.
func (s *scope) moves(p *part) error {
	var leaving []*manifest.Group
	at := map[estate.SiteID]bool{}
	for i := range p.system.Groups {
		g := &p.system.Groups[i]
		from := s.current(g)
		switch {
		case len(p.system.UnitsOf(g.Name)) == 0:
			continue
		case s.o.Mode == plan.SwitchBack && (s.o.Site == "" || g.Home() == s.o.Site) && len(g.Members) > 1,
			s.o.Mode != plan.SwitchBack && s.o.Site != "" && from == s.o.Site,
			s.o.Mode != plan.SwitchBack && s.o.Site == "" && from != s.o.To:
			leaving = append(leaving, g)
			at[from] = true
		}
	}
	if len(leaving) == 0 {
		return nil
	}
	if s.o.Mode != plan.SwitchBack && s.o.Site == "" && s.o.To == "" && len(at) > 1 {
		return errs.New(errs.Invalid, "groups of %s are current at %s: say with --scope site SITE which site they leave, or with --to SITE where all of them go",
			p.system.Name, listed(document.English, slices.Sorted(maps.Keys(at)), 20))
	}
	if p.system.Stage == estate.ColdRestore && !slices.ContainsFunc(leaving, func(g *manifest.Group) bool { return slices.ContainsFunc(g.Members, cold) }) {
		s.wanting = append(s.wanting, s.say("system %s is declared %s, and no member of its groups keeps backups: declare an async member with backup at another site, or restore it by hand", p.system.Name, p.system.Stage))
		return nil
	}
	together := s.together(p, leaving)
	for _, g := range leaving {
		m := move{group: g, units: p.system.UnitsOf(g.Name), from: s.current(g)}
		switch to := together; {
		case s.o.Mode == plan.SwitchBack:
			m.to = g.Home()
		case to != "":
			m.to = to
		default:
			var why string
			if m.to, why = s.nearest(p, g); m.to == "" {
				s.wanting = append(s.wanting, s.say("group %s of system %s cannot leave %s: %s", g.Name, p.system.Name, m.from, why))
				continue
			}
		}
		m.cold = slices.ContainsFunc(g.Members, func(c manifest.Member) bool { return c.Site == m.to && cold(c) })
		m.lossy = slices.ContainsFunc(g.Members, func(c manifest.Member) bool { return c.Site == m.to && c.Role == unit.AsyncRole })
		p.moves = append(p.moves, m)
	}
	return nil
}

// cold reports whether a member keeps backups in place of a copy.
func cold(m manifest.Member) bool { return m.Backup != nil }

// together gives the nearest site to which all groups can go, so that an application and its data stay at one place; "": there is none.
func (s *scope) together(p *part, groups []*manifest.Group) estate.SiteID {
	best, least := estate.SiteID(""), math.MaxInt
	for i := range s.set.Sites {
		site, worst := s.set.Sites[i].Name, 0
		for _, g := range groups {
			far, _ := s.distance(p, g, site)
			worst = max(worst, far)
		}
		if worst < least {
			best, least = site, worst
		}
	}
	if least >= unreachable {
		return ""
	}
	return best
}

// nearest gives the nearest site that one group can go to, or why there is none.
func (s *scope) nearest(p *part, g *manifest.Group) (estate.SiteID, string) {
	best, least := estate.SiteID(""), unreachable
	var why []string
	for i := range s.set.Sites {
		far, reason := s.distance(p, g, s.set.Sites[i].Name)
		if far < least {
			best, least = s.set.Sites[i].Name, far
		}
		if reason != "" {
			why = append(why, reason)
		}
	}
	if best != "" {
		return best, ""
	}
	if len(why) == 0 {
		return "", "it has no copy anywhere else; declare one, or restore it from a backup by hand"
	}
	return "", strings.Join(why, ", ")
}

// coldest is how much farther an archive is than any copy.
const coldest = 10

// unreachable is a distance to where a group cannot go.
const unreachable = 1000

// distance orders the sites that a group could go to: in-sync copies before others, the same city before another one. The reason is why a
// site that is asked for, or has a copy, is none of them.
func (s *scope) distance(p *part, g *manifest.Group, site estate.SiteID) (far int, reason string) {
	from := s.current(g)
	if site == from || s.o.Site == site || s.o.To != "" && site != s.o.To {
		return unreachable, ""
	}
	i := slices.IndexFunc(g.Members, func(m manifest.Member) bool { return m.Site == site })
	if i < 0 {
		if site == s.o.To {
			return unreachable, s.say("it has no copy at %s; declare one there, or choose another --to", site)
		}
		return unreachable, ""
	}
	if g.Members[i].Role == unit.AsyncRole {
		far = 2
		if s.row.RPO == 0 {
			return unreachable, s.say("the copy at %s is async, and mode %s may lose nothing: declare it pinned, or use --mode emergency", site, s.o.Mode)
		}
		if cold(g.Members[i]) {
			far += coldest
		}
	}
	for _, u := range p.system.Units {
		if u.Group == g.Name && p.system.Deployment(u.Module, site) == nil {
			return unreachable, s.say("module %s is not deployed at %s, so nobody would serve it there; declare a deployment", u.Module, site)
		}
	}
	if s.set.Relation(from, site) != estate.SameCity {
		far++
	}
	return far, ""
}

// tasks are the modules without an owner that leave with the rest: no driver acts on them.
func (s *scope) tasks(p *part) error {
	for i := range p.system.Modules {
		m := &p.system.Modules[i]
		if m.Archetype == estate.Account {
			continue
		}
		var sites []estate.SiteID
		for _, d := range p.system.Deployments {
			if d.Module == m.Name {
				sites = append(sites, d.Site)
			}
		}
		t, why := s.place(p, m, sites)
		switch {
		case why != "":
			s.wanting = append(s.wanting, why)
		case t.to != "":
			p.tasks = append(p.tasks, t)
		}
	}
	if s.o.Site == "" && s.o.To == "" && len(p.system.Groups) == 0 && len(p.tasks) == 0 && len(s.wanting) == 0 {
		return errs.New(errs.Invalid, "system %s has no group, so nothing says where it is: say with --scope site SITE which site is meant", p.system.Name)
	}
	return nil
}

// place says from where to where a module goes: with the groups of its system, else by what is asked for. A zero task: it does not move.
func (s *scope) place(p *part, m *manifest.Module, sites []estate.SiteID) (t task, why string) {
	t = task{module: m, from: s.o.Site, to: s.o.To}
	if s.o.Mode == plan.SwitchBack {
		t.from, t.to = "", s.o.Site
	}
	if len(p.moves) > 0 {
		t.from, t.to = p.moves[0].from, p.moves[0].to
		for _, one := range p.moves { // what differs says nothing about the module
			if one.from != t.from {
				t.from = ""
			}
			if one.to != t.to {
				t.to = ""
			}
		}
	}
	if s.o.Mode == plan.SwitchBack {
		if t.to == "" && len(sites) > 1 {
			s.notes = append(s.notes, s.say("module %s (%s) of system %s is deployed at %s, and nothing in the manifest says which of them is its home: people bring it back", m.Name, m.Archetype, p.system.Name, listed(s.o.Language, sites, 20)))
		}
		if t.from == t.to { // by the manifest it is at home; it comes from wherever it was taken to
			t.from = ""
		}
		if t.to == "" || !slices.Contains(sites, t.to) {
			return task{}, ""
		}
		return t, ""
	}
	leaves := slices.ContainsFunc(sites, func(id estate.SiteID) bool { return id == t.from || t.from == "" && t.to != "" && id != t.to })
	if !leaves {
		return task{}, ""
	}
	if t.to == "" {
		others := slices.DeleteFunc(slices.Clone(sites), func(id estate.SiteID) bool { return id == t.from })
		slices.SortFunc(others, func(a, b estate.SiteID) int {
			return cmp.Or(cmp.Compare(s.far(t.from, a), s.far(t.from, b)), cmp.Compare(a, b))
		})
		if len(others) > 0 {
			t.to = others[0]
		}
	}
	if t.to == "" || !slices.Contains(sites, t.to) {
		if t.to != "" {
			return task{}, s.say("module %s (%s) of system %s is not deployed at %s: declare a deployment there", m.Name, m.Archetype, p.system.Name, t.to)
		}
		return task{}, s.say("module %s (%s) of system %s is not deployed at any other site: declare a deployment there", m.Name, m.Archetype, p.system.Name)
	}
	return t, ""
}

func (s *scope) far(a, b estate.SiteID) int {
	if s.set.Relation(a, b) == estate.SameCity {
		return 0
	}
	return 1
}

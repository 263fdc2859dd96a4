package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"perdure/internal/calendar"
	"perdure/internal/duty"
	"perdure/internal/estate"
	"perdure/internal/incident"
	"perdure/internal/plan"
	"perdure/internal/shape"
)

// Several institutions on one platform:
//
//	T1  What is of a tenant names systems, units, plans and participants of that tenant alone. Participants, duties, command groups, calendars and rules
//	    that are of none are everybody's, as far as they do not name what is another one's; systems and plans of none are the platform's own.
//	T2  A run of a tenant's plan acts on that tenant's units alone: where it is applied, where it is started, and at every action.
//	T3  People of a tenant see and change what is the tenant's. Of anything else they are told the same, whether it is there or not.
//	T4  People of no tenant are the platform's own: their rights are for all of it. Only they have role admin.

// TenantOf gives whose system a unit belongs to; false: there is no such unit.
func (s *Set) TenantOf(id estate.UnitID) (estate.TenantID, bool) {
	system, _ := s.Unit(id)
	if system == nil {
		return "", false
	}
	return system.Tenant, true
}

func (s *Set) participant(name string) *Participant {
	i := slices.IndexFunc(s.Participants, func(p Participant) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return &s.Participants[i]
}

// dutyTenant is whose roster has a duty; empty: everybody's, or there is none.
func (s *Set) dutyTenant(name string) estate.TenantID {
	for _, r := range s.Rosters {
		if slices.ContainsFunc(r.Duties, func(d duty.Duty) bool { return d.Name == name }) {
			return r.Tenant
		}
	}
	return ""
}

// tenantsChecker holds what is of a tenant against T1.
type tenantsChecker struct {
	*checker
	document *document
	tenant   estate.TenantID
}

func (c *checker) checkTenants() {
	names := c.registry("a tenant")
	for i, t := range c.set.Tenants {
		names.add(c.docs.tenants[i], "name", string(t.Name))
	}
	of := func(d *document, tenant estate.TenantID) *tenantsChecker {
		known := slices.ContainsFunc(c.set.Tenants, func(t Tenant) bool { return t.Name == tenant })
		if tenant != "" && !known && !c.docs.partial {
			var all []estate.TenantID
			for _, t := range c.set.Tenants {
				all = append(all, t.Name)
			}
			c.tell(d, "tenant", "tenants "+listed(all), "there is no tenant %q", tenant)
		}
		return &tenantsChecker{checker: c, document: d, tenant: tenant}
	}
	for i := range c.set.Systems {
		s := &c.set.Systems[i]
		k := of(c.docs.systems[i], s.Tenant)
		for j, id := range s.DependsOn {
			if on := c.set.System(id); on != nil && on.Tenant != "" {
				k.own(fmt.Sprintf("dependsOn[%d]", j), "system", string(id), on.Tenant)
			}
		}
	}
	for i, p := range c.set.Participants {
		of(c.docs.participants[i], p.Tenant).systems("systems", p.Systems)
	}
	for i, g := range c.set.CommandGroups {
		k := of(c.docs.commandGroups[i], g.Tenant)
		k.systems("systems", g.Systems)
		for j, e := range g.Escalation {
			for n, name := range e.To {
				k.asked(fmt.Sprintf("escalation[%d].to[%d]", j, n), name)
			}
		}
	}
	for i, r := range c.set.Rosters {
		k := of(c.docs.rosters[i], r.Tenant)
		for j, d := range r.Duties {
			k.asked(fmt.Sprintf("duties[%d].of", j), d.Of)
		}
	}
	for i := range c.set.Plans {
		of(c.docs.plans[i], c.set.Plans[i].Tenant).plan(&c.set.Plans[i])
	}
	c.everybodyAsked(func(d *document, field, name string) {
		k := tenantsChecker{c, d, c.set.Plans[slices.Index(c.docs.plans, d)].Tenant}
		k.asked(field, name)
		if p := c.set.participant(name); k.tenant == "" && p != nil && p.Tenant != "" {
			c.tell(d, field, "participants of no tenant", "participant %s is of tenant %s, and nobody there sees a run of the platform's own plan (T1)", name, p.Tenant)
		}
	})
}

// own tells of something that is not the tenant's. What is of no tenant may name what is of any.
func (k *tenantsChecker) own(field, what, name string, of estate.TenantID) {
	if k.tenant != "" && of != k.tenant {
		k.tell(k.document, field, "", "%s %s is %s, and this is %s (T1)", what, name, of.Whose(), k.tenant.Whose())
	}
}

func (k *tenantsChecker) systems(field string, list []estate.SystemID) {
	for i, id := range list {
		k.system(fmt.Sprintf("%s[%d]", field, i), id)
	}
}

func (k *tenantsChecker) system(field string, id estate.SystemID) {
	if s := k.set.System(id); s != nil {
		k.own(field, "system", string(id), s.Tenant)
	}
}

// asked: participants and duties of no tenant are everybody's.
func (k *tenantsChecker) asked(field, name string) {
	if p := k.set.participant(name); p != nil && p.Tenant != "" {
		k.own(field, "participant", name, p.Tenant)
	}
	if of := k.set.dutyTenant(name); of != "" {
		k.own(field, "duty", name, of)
	}
}

func (k *tenantsChecker) plan(p *plan.Plan) {
	k.system("system", p.System)
	for i := range p.Steps {
		k.step(fmt.Sprintf("steps[%d]", i), &p.Steps[i])
	}
	for _, name := range slices.Sorted(maps.Keys(p.Templates)) {
		template := p.Templates[name]
		k.step(shape.Join("templates", name), &template)
	}
}

// step looks at what a step names outright; what follows from parameters is looked at where they are known (T2).
func (k *tenantsChecker) step(at string, s *plan.Step) {
	k.system(at+".system", s.System)
	for _, one := range []struct {
		field string
		call  *plan.Call
	}{{"act", s.Act}, {"check", s.Check}, {"undo", s.Undo}, {"precheck", s.Precheck}} {
		if one.call == nil {
			continue
		}
		if of, ok := k.set.TenantOf(estate.UnitID(one.call.Target)); ok {
			k.own(at+"."+one.field+".target", "unit", one.call.Target, of)
		}
	}
	if s.Subplan == nil {
		return
	}
	if i := slices.IndexFunc(k.set.Plans, func(p plan.Plan) bool { return p.Name == s.Subplan.Plan }); i >= 0 {
		k.own(at+".subplan.plan", "plan", s.Subplan.Plan, k.set.Plans[i].Tenant)
	}
}

// Of is what of the set is a tenant's (T3): its own, and of what is everybody's as much as does not name what is another's. Sites, which all share,
// are whole. Of a set that Parse has accepted it is one that Parse accepts.
func (s *Set) Of(tenant estate.TenantID) Set {
	theirs := func(of estate.TenantID) bool { return of == "" || of == tenant }
	out := Set{Sites: slices.Clone(s.Sites), Systems: []System{}}
	for _, t := range s.Tenants {
		if t.Name == tenant {
			out.Tenants = append(out.Tenants, t)
		}
	}
	for _, system := range s.Systems {
		if system.Tenant == tenant {
			out.Systems = append(out.Systems, system)
		}
	}
	for i := range out.Systems {
		out.Systems[i].DependsOn = kept(out.Systems[i].DependsOn, out.hasSystem)
	}
	for _, p := range s.Plans {
		if p.Tenant == tenant {
			out.Plans = append(out.Plans, p)
		}
	}
	for _, f := range s.Functions {
		if f.Systems = kept(f.Systems, out.hasSystem); len(f.Systems) > 0 {
			out.Functions = append(out.Functions, f)
		}
	}
	for _, p := range s.Participants {
		if list, ok := narrowed(p.Systems, out.hasSystem); ok && theirs(p.Tenant) {
			p.Systems = list
			out.Participants = append(out.Participants, p)
		}
	}
	for _, g := range s.CommandGroups {
		if list, ok := narrowed(g.Systems, out.hasSystem); ok && theirs(g.Tenant) {
			g.Systems = list
			g.Escalation = escalationOf(&out, &g)
			out.CommandGroups = append(out.CommandGroups, g)
		}
	}
	for _, r := range s.Rosters {
		r.Duties = kept(r.Duties, func(d duty.Duty) bool { return slices.Contains(roles, d.Of) || out.participant(d.Of) != nil })
		if len(r.Duties) > 0 && theirs(r.Tenant) {
			out.Rosters = append(out.Rosters, r)
		}
	}
	for _, c := range s.Calendars {
		out.Calendars = append(out.Calendars, out.calendarOf(c))
	}
	for _, r := range s.IncidentRules {
		r.Classes = slices.Clone(r.Classes)
		for i := range r.Classes {
			r.Classes[i].Thresholds = out.thresholdsOf(r.Classes[i].Thresholds)
		}
		out.IncidentRules = append(out.IncidentRules, r)
	}
	return out
}

func (s *Set) hasSystem(id estate.SystemID) bool { return s.System(id) != nil }

// kept gives those of a list that are the tenant's; the list itself stays.
func kept[T any](list []T, theirs func(T) bool) []T {
	return slices.DeleteFunc(slices.Clone(list), func(one T) bool { return !theirs(one) })
}

// narrowed is the same of a list that stands for all where it is empty: false where it named others alone.
func narrowed[T any](list []T, theirs func(T) bool) ([]T, bool) {
	if len(list) == 0 {
		return list, true
	}
	list = kept(list, theirs)
	return list, len(list) > 0
}

// escalationOf leaves out participants that are another tenant's.
func escalationOf(s *Set, g *CommandGroup) []Escalation {
	c := checker{set: s}
	var out []Escalation
	for _, e := range g.Escalation {
		if e.To = kept(e.To, func(name string) bool { return c.reaches(g, name) }); len(e.To) > 0 {
			out = append(out, e)
		}
	}
	return out
}

// calendarOf leaves out what is for others alone. Freezes are for everybody.
func (s *Set) calendarOf(c calendar.Calendar) calendar.Calendar {
	hasPlan := func(name string) bool {
		return plan.IsBuiltIn(name) || slices.ContainsFunc(s.Plans, func(p plan.Plan) bool { return p.Name == name })
	}
	var windows []calendar.Window
	for _, w := range c.Windows {
		var systems, units, plans bool
		w.Systems, systems = narrowed(w.Systems, s.hasSystem)
		w.Units, units = narrowed(w.Units, func(id estate.UnitID) bool { _, ok := s.TenantOf(id); return ok })
		w.Plans, plans = narrowed(w.Plans, hasPlan)
		if systems && units && plans {
			windows = append(windows, w)
		}
	}
	c.Windows = windows
	c.Cutoffs = kept(c.Cutoffs, func(cut calendar.Cutoff) bool { return cut.System == "" || s.hasSystem(cut.System) })
	c.Schedules = kept(c.Schedules, func(one calendar.Schedule) bool { return hasPlan(one.Plan) && !s.foreign(one) })
	return c
}

// foreign reports whether a schedule is of one of the product's own plans, for what the set has not.
func (s *Set) foreign(one calendar.Schedule) bool {
	if !plan.IsBuiltIn(one.Plan) {
		return false
	}
	unit, _ := one.Parameters["unit"].(string)
	_, ok := s.TenantOf(estate.UnitID(strings.TrimSpace(unit)))
	return !ok
}

// thresholdsOf leaves out those that only others' systems reach.
func (s *Set) thresholdsOf(list []incident.Threshold) []incident.Threshold {
	var out []incident.Threshold
	for _, t := range list {
		var ok bool
		if t.Systems, ok = narrowed(t.Systems, s.hasSystem); ok {
			out = append(out, t)
		}
	}
	return out
}

package app

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"perdure/internal/calendar"
	"perdure/internal/duty"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/incident"
	"perdure/internal/manifest"
	"perdure/internal/plan"
	"perdure/internal/preflight"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// manifests says what a manifest would do to the store; it implements the API's view of manifests.
type manifests struct{}

// Plan checks the next text against the rules and the present state, and gives the changes of records that go with it:
// the set is applied whole, in one transaction, or not at all.
func (manifests) Plan(current, next string, groups []wire.Group, incarnation estate.Incarnation, person string, now int64) (wire.ManifestPlan, error) {
	var plan wire.ManifestPlan
	set, err := parse(next)
	if err != nil {
		return plan, err
	}
	old, warnings := applied(current, set, groups)
	plan.Warnings = warnings
	if err := manifest.Check(set); err != nil {
		return plan, err
	}
	if err := manifest.Permit(old, set); err != nil {
		return plan, err
	}
	for _, c := range manifest.Diff(old, set) {
		plan.Diff = append(plan.Diff, c.String())
	}
	plan.Windows = calendar.Digests(set.Calendars)
	plan.Takes = manifest.Takes(old, set)
	for _, want := range set.Records() {
		have := slices.IndexFunc(groups, func(g wire.Group) bool { return g.Record.Group == want.Group })
		if have < 0 {
			plan.Create = append(plan.Create, unit.Bootstrap(want.Group, want.System, want.Units, want.Policy, want.Members, want.Owner.Member, incarnation))
			continue
		}
		if rec := groups[have].Record; amends(rec, want) {
			plan.Amend = append(plan.Amend, wire.GroupAmend{Group: want.Group, Transition: unit.Transition{
				Kind: unit.Amend, Person: person, Ownership: rec.Ownership, Members: want.Members, Units: want.Units, Policy: &want.Policy,
				Reason: "the manifest changed", Now: now,
			}})
		}
	}
	return plan, nil
}

// applied reads the manifest in force. One that this version of the language would not accept any more never keeps the next one from being
// applied: it is compared as far as it can be read and, where its data is concerned, with the records of its groups, which say who holds what.
func applied(text string, next manifest.Set, groups []wire.Group) (manifest.Set, []string) {
	if text == "" {
		return manifest.Set{}, nil
	}
	old, problems := manifest.Known(manifest.File{Name: "applied manifest", Text: []byte(text)})
	if len(problems) == 0 {
		return old, nil
	}
	warnings := []string{fmt.Sprintf("the applied manifest is one that this version does not accept any more (%s%s): it is compared as far as it can be read, and with the records of its groups",
		problems[0], more(len(problems)-1))}
	for _, g := range groups {
		recall(&old, &g.Record)
	}
	for i := range next.Systems {
		now := &next.Systems[i]
		if before := old.System(now.Name); before != nil {
			warnings = append(warnings, assume(before, now)...)
		}
	}
	return old, warnings
}

func more(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", and %d more problems", n)
}

// recall writes into the set what a record says of its group: units, members and their sites.
func recall(set *manifest.Set, rec *unit.Record) {
	system := set.System(rec.System)
	if system == nil {
		set.Systems = append(set.Systems, manifest.System{Name: rec.System})
		system = &set.Systems[len(set.Systems)-1]
	}
	group := system.Group(rec.Group)
	if group == nil {
		system.Groups = append(system.Groups, manifest.Group{Name: rec.Group})
		group = &system.Groups[len(system.Groups)-1]
	}
	for _, m := range rec.Members {
		i := slices.IndexFunc(group.Members, func(have manifest.Member) bool { return have.ID == m.ID })
		if i < 0 {
			group.Members = append(group.Members, manifest.Member{ID: m.ID})
			i = len(group.Members) - 1
		}
		group.Members[i].Site, group.Members[i].Role = m.Site, m.Role
	}
	for _, id := range rec.Units {
		i := slices.IndexFunc(system.Units, func(have manifest.Unit) bool { return have.Name == id })
		if i < 0 {
			system.Units = append(system.Units, manifest.Unit{Name: id})
			i = len(system.Units) - 1
		}
		system.Units[i].Group = rec.Group
	}
}

// assume takes from the next manifest what could not be read of the one in force, and says so: who owns which slots stands in no record.
func assume(before, now *manifest.System) []string {
	var warnings []string
	if before.Slots == 0 {
		before.Slots = now.Slots
		warnings = append(warnings, fmt.Sprintf("system %s: its number of slots cannot be read any more and is taken to be %d: make sure that it was, or every key falls elsewhere", now.Name, now.Slots))
	}
	if len(before.Modules) == 0 {
		before.Modules = now.Modules
	}
	for _, u := range now.Units {
		i := slices.IndexFunc(before.Units, func(have manifest.Unit) bool { return have.Name == u.Name })
		if i < 0 {
			continue
		}
		old := &before.Units[i]
		if old.Module == "" {
			old.Module = u.Module
		}
		if len(old.Slots) == 0 && len(old.Overrides) == 0 {
			old.Slots, old.Overrides = u.Slots, u.Overrides
			warnings = append(warnings, fmt.Sprintf("system %s: the slots of unit %s cannot be read any more and are taken to be %s: make sure that they were, its data does not move", now.Name, u.Name, u.Slots))
		}
	}
	return warnings
}

func parse(text string) (manifest.Set, error) {
	if text == "" {
		return manifest.Set{}, nil
	}
	return manifest.Parse(manifest.File{Name: "manifest", Text: []byte(text)})
}

// served looks whether the application is at the site a unit would go to: a deployment of its module, or a registered instance.
func served(set manifest.Set, id estate.UnitID, to estate.SiteID, registered []wire.Instance) wire.Check {
	check := wire.Check{Name: "application", OK: true, Detail: "its application is at site " + string(to)}
	system, u := set.Unit(id)
	if u == nil || system.Deployment(u.Module, to) != nil {
		return check
	}
	if slices.ContainsFunc(registered, func(i wire.Instance) bool {
		return i.System == system.Name && i.Site == to && !i.Leaving && (len(i.Units) == 0 || slices.Contains(i.Units, id))
	}) {
		return check
	}
	check.OK = false
	check.Detail = fmt.Sprintf("module %s of system %s is not deployed at site %s: nobody would serve %s there; deploy and register it there first, or declare the deployment", u.Module, system.Name, to, id)
	return check
}

// amends reports whether the manifest says something else than the record.
func amends(have, want unit.Record) bool {
	if have.Policy != want.Policy || !slices.Equal(have.Units, want.Units) || len(have.Members) != len(want.Members) {
		return true
	}
	for _, w := range want.Members {
		h, ok := have.Member(w.ID)
		if !ok || h.Site != w.Site || h.Role != w.Role || h.Agent != w.Agent || h.Database != w.Database || h.Backup != w.Backup {
			return true
		}
	}
	return false
}

// Calendars reads the calendars of the manifest; it implements the API's and the scheduler's view of them.
func (manifests) Calendars(text string) (*calendar.Book, error) {
	return manifest.Calendars(manifest.File{Name: "applied manifest", Text: []byte(text)})
}

// IncidentRules reads the rules on incidents of the manifest; it implements the API's view of them.
func (manifests) IncidentRules(text string) (incident.Rules, error) {
	return manifest.IncidentRules(manifest.File{Name: "applied manifest", Text: []byte(text)})
}

// Known reads what of the manifest this version can read.
func (manifests) Known(text string) manifest.Set {
	set, _ := manifest.Known(manifest.File{Name: "applied manifest", Text: []byte(text)})
	return set
}

// Estate reads all of the manifest. What this version would not accept is an error: what is read in part could be left out of what looks whole.
func (manifests) Estate(text string) (manifest.Set, error) {
	return manifest.Parse(manifest.File{Name: "applied manifest", Text: []byte(text)})
}

// Duties reads the rosters of the manifest; it implements the API's view of them.
func (manifests) Duties(text string) (*duty.Book, error) {
	return manifest.Duties(manifest.File{Name: "applied manifest", Text: []byte(text)})
}

// Participants reads the participants of the manifest; it implements the API's view of them.
func (manifests) Participants(text string) ([]manifest.Participant, error) {
	return manifest.Participants(manifest.File{Name: "applied manifest", Text: []byte(text)})
}

// Program makes the program of a plan of the manifest; it implements the API's view of plans.
func (manifests) Program(text, name string, mode plan.Mode) (*plan.Program, error) {
	plans, err := manifest.PlanOf(name, manifest.File{Name: "applied manifest", Text: []byte(text)})
	if err != nil {
		return nil, err
	}
	return plan.Compile(plans, plan.BuiltIn(), name, mode)
}

// Armed reads the armed runs of the manifest; it implements the preflight's view of plans. What is wrong with one plan keeps no other from being
// looked at.
func (manifests) Armed(text string) ([]preflight.Armed, error) {
	file := manifest.File{Name: "applied manifest", Text: []byte(text)}
	set, problems := manifest.Known(file)
	var list []preflight.Armed
	for i := range set.Plans {
		p := &set.Plans[i]
		if len(p.Armed) == 0 {
			continue
		}
		plans, err := set.Plans, error(nil)
		if len(problems) > 0 {
			plans, err = manifest.PlanOf(p.Name, file)
		}
		for _, a := range p.Armed {
			one := preflight.Armed{Plan: p.Name, Name: a.Name, Mode: a.Mode, Params: a.Parameters}
			program, wrong := (*plan.Program)(nil), err
			if err == nil {
				program, wrong = plan.Compile(plans, plan.BuiltIn(), p.Name, a.Mode)
			}
			if wrong == nil {
				one.Params, wrong = program.Bind(a.Parameters)
			}
			if wrong != nil {
				one.Failed = wrong.Error()
			} else {
				one.Program = program
			}
			if one.Print, err = printOf(&set, program, one); err != nil {
				return nil, err
			}
			list = append(list, one)
		}
	}
	return list, nil
}

// printOf tells apart what an armed run would do, and what the manifest says of what it would do it to: the systems that it acts on, and the sites.
func printOf(set *manifest.Set, program *plan.Program, a preflight.Armed) (string, error) {
	of := struct {
		Program *plan.Program
		Params  map[string]any
		Systems []manifest.System
		Sites   []manifest.Site
		Failed  string
	}{Program: program, Params: a.Params, Sites: set.Sites, Failed: a.Failed}
	if program != nil {
		asked := calendar.AskOf(program, a.Params)
		for _, s := range set.Systems {
			if asked.OtherUnits || s.Name == program.System || slices.ContainsFunc(s.Units, func(u manifest.Unit) bool { return slices.Contains(asked.Units, u.Name) }) {
				of.Systems = append(of.Systems, s)
			}
		}
	}
	data, err := json.Marshal(of)
	if err != nil {
		return "", errs.New(errs.Internal, "cannot encode what armed run %s of plan %s touches: %w", a.Name, a.Plan, err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

package document

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"perdure/internal/calendar"
	"perdure/internal/estate"
	"perdure/internal/manifest"
	"perdure/internal/plan"
	"perdure/internal/shape"
	"perdure/internal/unit"
)

// Estate is what documents of plans and of responses stand on.
type Estate struct {
	// Set is the estate with its plans; it has passed manifest.Parse.
	Set *manifest.Set
	// Revision is that of the applied manifest, and Applied when it was applied; zero where the estate was read from files.
	Revision int64
	Applied  time.Time
	// Holders are for each role the names of the users who have it; nil: nobody knows.
	Holders map[string][]string
}

// undated is when a document was made of which nothing says when.
var undated = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// drafter writes about an estate, and collects what it does not say.
type drafter struct {
	pen
	Estate
	l           Language
	criticality map[estate.SystemID]estate.Criticality
	systems     map[estate.SystemID]*manifest.System
	units       map[estate.UnitID]place
	findings    []Finding
}

// place is where a unit belongs.
type place struct {
	system *manifest.System
	group  *manifest.Group
}

func newDrafter(e Estate, l Language) drafter {
	d := drafter{pen: pen{t: textsOf(l), more: "more.plan"}, Estate: e, l: l, criticality: e.Set.Criticalities(), systems: map[estate.SystemID]*manifest.System{}, units: map[estate.UnitID]place{}}
	for i := range e.Set.Systems {
		s := &e.Set.Systems[i]
		d.systems[s.Name] = s
		for _, u := range s.Units {
			d.units[u.Name] = place{s, s.Group(u.Group)}
		}
	}
	return d
}

// miss notes something that nobody said, once.
func (d *drafter) miss(kind FindingKind, subject, key string, args ...any) {
	f := Finding{Kind: kind, Subject: subject, Text: d.clean(d.t.say(key, args...))}
	if !slices.Contains(d.findings, f) {
		d.findings = append(d.findings, f)
	}
}

func (d *drafter) made() time.Time {
	if d.Applied.IsZero() {
		return undated
	}
	return d.Applied.UTC()
}

// titled is a name with the name for people behind it.
func titled(name, title string) string {
	if title == "" {
		return name
	}
	return name + " – " + title
}

func joined[T ~string](list []T) string { return strings.Join(plainWords(list), ", ") }

func plainWords[T ~string](list []T) []string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = string(v)
	}
	return words
}

// mostNamed bounds how many things one cell names.
const mostNamed = 12

func (d *drafter) some(lines []string) string { return d.upTo(lines, "\n") }

func (d *drafter) upTo(words []string, between string) string {
	if len(words) > mostNamed {
		return d.t.say("andMore", strings.Join(words[:mostNamed], between), len(words)-mostNamed)
	}
	return strings.Join(words, between)
}

// systemName is a system with its title.
func (d *drafter) systemName(id estate.SystemID) string {
	if s := d.systems[id]; s != nil {
		return titled(string(id), s.Title)
	}
	return string(id)
}

func (d *drafter) siteName(id estate.SiteID) string {
	if s := d.Set.Site(id); s != nil {
		return titled(string(id), s.Title)
	}
	return string(id)
}

// functions are those that rest on a system.
func (d *drafter) functions(id estate.SystemID) []string {
	var out []string
	for _, f := range d.Set.Functions {
		if slices.Contains(f.Systems, id) {
			out = append(out, titled(f.Name, f.Title))
		}
	}
	return out
}

// systemHead and systemCells are the columns of a table of systems, behind those of its own.
func (d *drafter) systemHead() []string {
	return d.heads("criticality", "stage", "functions", "dependsOn", "rto", "rpo")
}

func (d *drafter) systemCells(s *manifest.System) []string {
	return []string{
		d.t.word("criticality", string(d.criticality[s.Name])), d.t.word("stage", string(d.Set.StageOf(s))),
		orDash(strings.Join(d.functions(s.Name), "\n")), orDash(joined(s.DependsOn)),
		d.t.span(time.Duration(s.Targets.RTO)), d.t.span(time.Duration(s.Targets.RPO)),
	}
}

// ordered puts systems behind those that they depend on, and the critical ones in front.
func (d *drafter) ordered(ids []estate.SystemID) []estate.SystemID {
	left := slices.Clone(ids)
	slices.SortFunc(left, func(a, b estate.SystemID) int {
		return cmp.Or(cmp.Compare(d.criticality[a].Rank(), d.criticality[b].Rank()), cmp.Compare(a, b))
	})
	waiting := map[estate.SystemID]bool{}
	for _, id := range left {
		waiting[id] = true
	}
	var out []estate.SystemID
	for len(left) > 0 {
		i := slices.IndexFunc(left, func(id estate.SystemID) bool {
			return !slices.ContainsFunc(d.systems[id].DependsOn, func(below estate.SystemID) bool { return below != id && waiting[below] })
		})
		i = max(i, 0) // the manifest refuses dependencies with a cycle
		delete(waiting, left[i])
		out, left = append(out, left[i]), slices.Delete(left, i, i+1)
	}
	return out
}

// lossy reports whether what was acknowledged may be missing at a copy.
func lossy(m *manifest.Member) bool { return m.Role == unit.AsyncRole }

// copyAt gives the member of a group at a site, nil where there is none.
func copyAt(g *manifest.Group, site estate.SiteID) *manifest.Member {
	for i := range g.Members {
		if g.Members[i].Site == site {
			return &g.Members[i]
		}
	}
	return nil
}

// role is what people call a role; the name itself where it is none.
func (d *drafter) role(name string) string {
	if !d.isRole(name) {
		return name
	}
	return d.t.say("who.role", name, d.t.say("role."+name))
}

func (d *drafter) isRole(name string) bool {
	_, ok := d.t["role."+name]
	return ok
}

func (d *drafter) participant(name string) *manifest.Participant {
	i := slices.IndexFunc(d.Set.Participants, func(p manifest.Participant) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return &d.Set.Participants[i]
}

// people are those who answer to a name: users with the role, contacts of the participant, or the person. What nobody answers to is missed.
func (d *drafter) people(name string) string {
	if d.isRole(name) {
		return d.holders(name)
	}
	if p := d.participant(name); p != nil {
		var names []string
		for _, c := range p.Contacts {
			names = append(names, c.Name)
		}
		return orDash(strings.Join(names, ", "))
	}
	if names := d.onDuty(name); len(names) > 0 {
		return strings.Join(names, ", ")
	}
	if d.Holders != nil && !slices.ContainsFunc(estateRoles, func(role string) bool { return slices.Contains(d.Holders[role], name) }) {
		d.miss(Nobody, name, "miss.name", name)
	}
	return name
}

// onDuty are those who have the duty of a roster at one time or another, in the order of its shifts.
func (d *drafter) onDuty(name string) []string {
	var names []string
	for _, r := range d.Set.Rosters {
		for _, one := range r.Duties {
			if one.Name != name {
				continue
			}
			for _, s := range one.Shifts {
				for _, p := range s.People {
					if !slices.Contains(names, p) {
						names = append(names, p)
					}
				}
			}
		}
	}
	return names
}

// above are the roles that include a role, the least one in front.
func above(role string) []string {
	switch role {
	case "viewer":
		return []string{"driller", "operator", "commander", "auditor", "admin"}
	case "driller":
		return []string{"operator", "commander", "admin"}
	case "operator":
		return []string{"commander", "admin"}
	case "commander", "auditor":
		return []string{"admin"}
	}
	return nil
}

// holders are the users who have a role, or else those who have one that includes it.
func (d *drafter) holders(role string) string {
	if d.Holders == nil {
		return "–"
	}
	if names := d.Holders[role]; len(names) > 0 {
		return strings.Join(names, ", ")
	}
	for _, higher := range above(role) {
		if names := d.Holders[higher]; len(names) > 0 {
			return d.t.say("who.role", strings.Join(names, ", "), higher)
		}
	}
	d.miss(Nobody, role, "miss.role", role)
	return "–"
}

// estateRoles are the roles there are; package wire has them as a list, and lies above this one.
var estateRoles = []string{"viewer", "driller", "operator", "commander", "auditor", "admin"}

// takingPart are the participants that take part in what is done with any of the systems, and those that are named.
func (d *drafter) takingPart(systems []estate.SystemID, named func(string) bool) []*manifest.Participant {
	var out []*manifest.Participant
	for i := range d.Set.Participants {
		p := &d.Set.Participants[i]
		if len(p.Systems) == 0 || named(p.Name) || slices.ContainsFunc(p.Systems, func(id estate.SystemID) bool { return slices.Contains(systems, id) }) {
			out = append(out, p)
		}
	}
	return out
}

// contacts are the participants with how each is reached; behind them what the caller says of each.
func (d *drafter) contacts(list []*manifest.Participant, head string, of func(name string) string) Section {
	s := Section{Title: d.t.say("participants"), Head: d.heads("participant", "type", "contact", "phone", "mail")}
	if head != "" {
		s.Head = append(s.Head, d.t.say(head))
	}
	for _, p := range list {
		people := p.Contacts
		if len(people) == 0 {
			d.miss(Unreached, p.Name, "miss.contact", titled(p.Name, p.Title))
			people = []estate.Contact{{Name: "–"}}
		}
		for _, c := range people {
			row := []string{titled(p.Name, p.Title), d.t.word("participant", string(p.Type)), c.Name, orDash(c.Phone), orDash(c.Mail)}
			if head != "" {
				row = append(row, of(p.Name))
			}
			s.Rows = append(s.Rows, row)
		}
	}
	return s
}

// when writes when something comes.
func (d *drafter) when(s calendar.Span) string {
	if s.Cron != "" {
		return d.t.say("when.again", d.again(s.Cron), d.t.span(time.Duration(s.Duration)))
	}
	return d.t.say("when.once", s.From, s.Until)
}

var (
	numbers  = regexp.MustCompile(`^[0-9]+(,[0-9]+)*$`)
	weekdays = regexp.MustCompile(`^(mon|tue|wed|thu|fri|sat|sun)([,-](mon|tue|wed|thu|fri|sat|sun))*$`)
)

// again writes the times of a cron line: the usual ones in words, others as they stand.
func (d *drafter) again(line string) string {
	raw := d.t.say("cron.line", line)
	fields := strings.Fields(strings.ToLower(line))
	if len(fields) != 5 {
		return raw
	}
	minute, err := strconv.Atoi(fields[0])
	hour, err2 := strconv.Atoi(fields[1])
	if err != nil || err2 != nil {
		return raw
	}
	clock := fmt.Sprintf("%02d:%02d", hour, minute)
	day, month, week := fields[2], fields[3], fields[4]
	switch {
	case day == "*" && month == "*" && week == "*":
		return d.t.say("cron.daily", clock)
	case day == "*" && month == "*" && weekdays.MatchString(week):
		words := weekdays.FindString(week)
		for _, name := range []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"} {
			words = strings.ReplaceAll(words, name, d.t.say("day."+name))
		}
		return d.t.say("cron.weekly", strings.NewReplacer("-", d.t.say("cron.to"), ",", d.t.say("list.and")).Replace(words), clock)
	case numbers.MatchString(day) && month == "*" && week == "*":
		return d.t.say("cron.monthly", strings.ReplaceAll(day, ",", d.t.say("list.and")), clock)
	case numbers.MatchString(day) && numbers.MatchString(month) && week == "*":
		return d.t.say("cron.yearly", strings.ReplaceAll(month, ",", d.t.say("list.and")), strings.ReplaceAll(day, ",", d.t.say("list.and")), clock)
	}
	return raw
}

func (d *drafter) zoneOf(name string) string {
	for _, c := range d.Set.Calendars {
		if c.Name == name {
			return c.TimeZone
		}
	}
	return ""
}

// version is what the document was made of.
func (d *drafter) version() [][2]string {
	if d.Revision == 0 {
		return nil
	}
	return [][2]string{{d.t.say("revision"), strconv.FormatInt(d.Revision, 10)}, {d.t.say("applied"), d.Applied.UTC().Format("2006-01-02 15:04:05 UTC")}}
}

// startCommand is how a run of a plan is started.
func startCommand(p *plan.Plan, mode plan.Mode) string {
	text := fmt.Sprintf("perdure run start %s --mode %s", p.Name, mode)
	if mode == plan.Emergency {
		text += " --incident INCIDENT"
	}
	return text + setFlags(p) + " --reason TEXT"
}

// setFlags are the parameters that a start needs.
func setFlags(p *plan.Plan) string {
	var text strings.Builder
	for _, one := range p.Parameters {
		if one.Required {
			fmt.Fprintf(&text, " --set %s=%s", one.Name, strings.ToUpper(one.Name))
		}
	}
	return text.String()
}

// reach is what a plan acts on in a mode, as far as that is known before a run.
func (d *drafter) reach(program *plan.Program) (systems []estate.SystemID, units []estate.UnitID) {
	add := func(id estate.SystemID) {
		if id != "" && !slices.Contains(systems, id) {
			systems = append(systems, id)
		}
	}
	targets, _ := program.Targets("unit", defaults(program))
	for _, name := range targets {
		if at, ok := d.units[estate.UnitID(name)]; ok {
			add(at.system.Name)
			if at.group != nil { // all units of a group go together
				units = append(units, at.system.UnitsOf(at.group.Name)...)
			}
		}
	}
	for i := range program.Nodes {
		if program.Includes(i) {
			add(program.Nodes[i].Step.System)
		}
	}
	add(program.System)
	return systems, units
}

// defaults are the values of parameters that have one without being given.
func defaults(p *plan.Program) map[string]any {
	out := map[string]any{}
	for _, one := range p.Parameters {
		if one.Default != nil {
			out[one.Name] = one.Default
		}
	}
	return out
}

// candidate is a plan with a mode that it may be run in.
type candidate struct {
	plan    *plan.Plan
	program *plan.Program
	systems []estate.SystemID
	units   []estate.UnitID
}

// plansFor are the plans of a mode that act on one of the units, or on one of the systems where neither is known: those that act on most of
// them in front, and those that are told at their start what to act on behind the others.
func (d *drafter) plansFor(mode plan.Mode, systems []estate.SystemID, units []estate.UnitID) ([]candidate, error) {
	var out []candidate
	covers := map[string]int{}
	for i := range d.Set.Plans {
		p := &d.Set.Plans[i]
		if !slices.Contains(p.Modes, mode) {
			continue
		}
		program, err := plan.Compile(d.Set.Plans, plan.BuiltIn(), p.Name, mode)
		if err != nil {
			return nil, err
		}
		c := candidate{plan: p, program: program}
		c.systems, c.units = d.reach(program)
		n := common(c.systems, systems)
		if len(c.units) > 0 && len(units) > 0 {
			if common(c.units, units) == 0 {
				continue
			}
			n += len(systems) + common(c.units, units)
		}
		if n > 0 {
			covers[p.Name] = n
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b candidate) int { return covers[b.plan.Name] - covers[a.plan.Name] })
	return out, nil
}

// common is how many of the one are among the other.
func common[T comparable](some, all []T) int {
	there := make(map[T]bool, len(all))
	for _, v := range all {
		there[v] = true
	}
	n := 0
	for _, v := range some {
		if there[v] {
			n++
		}
	}
	return n
}

// untouched are the units that no candidate acts on. A plan whose targets are given at its start acts on all units of its system.
func (d *drafter) untouched(units []estate.UnitID, plans []candidate) []estate.UnitID {
	some, all := map[estate.UnitID]bool{}, map[estate.SystemID]bool{}
	for _, c := range plans {
		for _, u := range c.units {
			some[u] = true
		}
		if len(c.units) == 0 {
			for _, id := range c.systems {
				all[id] = true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(units), func(u estate.UnitID) bool { return some[u] || all[d.units[u].system.Name] })
}

// limit is a time limit that may be none.
func (d *drafter) limit(v shape.Duration) string {
	if v == 0 {
		return d.t.say("noLimit")
	}
	return d.t.span(time.Duration(v))
}

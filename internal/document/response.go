package document

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/incident"
	"perdure/internal/manifest"
	"perdure/internal/plan"
	"perdure/internal/shape"
	"perdure/internal/unit"
)

// ResponseSource is what an emergency response plan is made of: one of System and Site says for what.
type ResponseSource struct {
	Estate
	System estate.SystemID
	Site   estate.SiteID
}

// Response is the emergency response plan 紧急响应计划 of a system or of a site: who leads, who is reached how, what is done first, which
// recovery plan is started by which command, what is reported and announced by when. Errors: not-found where there is no such system or
// site, invalid where not one of both is given, refused where nothing is at the site.
func Response(src ResponseSource, l Language) (*Document, []Finding, error) {
	w, err := newResponseWriter(src, l)
	if err != nil {
		return nil, nil, err
	}
	d := &Document{Language: l, Title: w.t.say("title.erp"), Subtitle: w.clean(w.subject), Made: w.made()}
	w.fill(d, []Section{
		w.about(), w.commandGroup(), w.escalation(), w.first(), w.plans(), w.switches(), w.automatic(), w.classes(), w.reports(), w.announcements(),
		w.order(), w.roles(), w.partners(), w.cutoffs(), w.fingerprint(),
	})
	return d, w.findings, nil
}

type responseWriter struct {
	drafter
	src     ResponseSource
	subject string
	rules   incident.Rules
	// scope are the systems that it is for; needed are those that they depend on, affected those that depend on them.
	scope, needed, affected []estate.SystemID
	groups                  []place // with their units, those that the scope has
	command                 []*manifest.CommandGroup
	recovery, home          []candidate
	takeovers               []candidate
}

func newResponseWriter(src ResponseSource, l Language) (*responseWriter, error) {
	w := &responseWriter{drafter: newDrafter(src.Estate, l), src: src}
	if err := w.find(); err != nil {
		return nil, err
	}
	if len(src.Set.IncidentRules) > 0 {
		w.rules = src.Set.IncidentRules[0]
	}
	for i := range src.Set.CommandGroups {
		g := &src.Set.CommandGroups[i]
		if len(g.Systems) == 0 || slices.ContainsFunc(g.Systems, func(id estate.SystemID) bool { return slices.Contains(w.scope, id) }) {
			w.command = append(w.command, g)
		}
	}
	for mode, to := range map[plan.Mode]*[]candidate{plan.Emergency: &w.recovery, plan.Takeover: &w.takeovers, plan.SwitchBack: &w.home} {
		found, err := w.plansFor(mode, w.scope, w.unitsOf())
		if err != nil {
			return nil, err
		}
		*to = found
	}
	return w, nil
}

// find finds out what it is for.
func (w *responseWriter) find() error {
	set := w.Set
	switch {
	case (w.src.System == "") == (w.src.Site == ""):
		return errs.New(errs.Invalid, "a response plan is for a system or for a site: say which of both")
	case w.src.System != "":
		if set.System(w.src.System) == nil {
			return errs.New(errs.NotFound, "there is no system %q", w.src.System)
		}
		w.scope = []estate.SystemID{w.src.System}
		w.subject = w.t.say("subject.system", w.systemName(w.src.System))
	default:
		if set.Site(w.src.Site) == nil {
			return errs.New(errs.NotFound, "there is no site %q", w.src.Site)
		}
		for i := range set.Systems {
			if s := &set.Systems[i]; at(s, w.src.Site) {
				w.scope = append(w.scope, s.Name)
			}
		}
		if len(w.scope) == 0 {
			return errs.New(errs.Refused, "nothing is at home or deployed at site %s: a response plan of it would be empty", w.src.Site)
		}
		w.subject = w.t.say("subject.site", w.siteName(w.src.Site))
	}
	w.scope = w.ordered(w.scope)
	for _, id := range w.scope {
		s := w.systems[id]
		for i := range s.Groups {
			if g := &s.Groups[i]; (w.src.Site == "" || g.Home() == w.src.Site) && len(s.UnitsOf(g.Name)) > 0 {
				w.groups = append(w.groups, place{s, g})
			}
		}
	}
	above, below := map[estate.SystemID][]estate.SystemID{}, map[estate.SystemID][]estate.SystemID{}
	for i := range set.Systems {
		id := set.Systems[i].Name
		below[id] = set.Systems[i].DependsOn
		for _, other := range set.Systems[i].DependsOn {
			above[other] = append(above[other], id)
		}
	}
	w.needed, w.affected = w.beyond(below), w.beyond(above)
	return nil
}

// at reports whether something of a system is at home or deployed at a site.
func at(s *manifest.System, site estate.SiteID) bool {
	return slices.ContainsFunc(s.Groups, func(g manifest.Group) bool { return g.Home() == site }) ||
		slices.ContainsFunc(s.Deployments, func(d manifest.Deployment) bool { return d.Site == site })
}

// beyond are the systems that are reached from the scope in any number of steps, without the scope.
func (w *responseWriter) beyond(next map[estate.SystemID][]estate.SystemID) []estate.SystemID {
	out := slices.Clone(w.scope)
	seen := map[estate.SystemID]bool{}
	for _, id := range out {
		seen[id] = true
	}
	for i := 0; i < len(out); i++ {
		for _, id := range next[out[i]] {
			if !seen[id] {
				seen[id] = true
				out = append(out, id)
			}
		}
	}
	return w.ordered(out[len(w.scope):])
}

// unitsOf are the units of the groups.
func (w *responseWriter) unitsOf() []estate.UnitID {
	var out []estate.UnitID
	for _, p := range w.groups {
		out = append(out, p.system.UnitsOf(p.group.Name)...)
	}
	return out
}

func (w *responseWriter) about() Section {
	t := w.t
	s := Section{Title: t.say("summary")}
	fact := func(key, value string) { s.Facts = append(s.Facts, [2]string{t.say(key), value}) }
	fact("isFor", w.subject)
	fact("useWhen", t.say("useWhen.is"))
	var names, functions []string
	var rto, rpo time.Duration
	for n, id := range w.scope {
		names = append(names, w.systemName(id))
		for _, f := range w.functions(id) {
			if !slices.Contains(functions, f) {
				functions = append(functions, f)
			}
		}
		targets := w.systems[id].Targets
		if v := time.Duration(targets.RTO); n == 0 || v < rto {
			rto = v
		}
		if v := time.Duration(targets.RPO); n == 0 || v < rpo {
			rpo = v
		}
		if len(w.functions(id)) == 0 {
			w.miss(Unsaid, string(id), "miss.function", id)
		}
	}
	fact("systems", w.some(names))
	if len(functions) > 0 {
		fact("functions", w.some(functions))
	}
	fact("rto.strictest", t.span(rto))
	fact("rpo.strictest", t.span(rpo))
	if w.rules.DeclareWithin > 0 {
		fact("declareWithin", t.say("fromDetection", t.span(time.Duration(w.rules.DeclareWithin))))
	} else {
		w.miss(Unsaid, "declareWithin", "miss.declareWithin")
	}
	return s
}

// commandGroup is who leads.
func (w *responseWriter) commandGroup() Section {
	s := Section{Title: w.t.say("commandGroup"), Head: w.heads("group", "duty", "person", "user", "mayDo", "phone", "mail")}
	if len(w.command) == 0 {
		w.miss(Nobody, string(w.src.System)+string(w.src.Site), "miss.group", w.subject)
		return s
	}
	filled := map[estate.Duty]bool{}
	commands := false
	for _, g := range w.command {
		for _, m := range g.Members {
			var duties []string
			for _, duty := range estate.Duties() {
				if slices.Contains(m.Duties, duty) {
					duties = append(duties, w.t.say("duty."+string(duty)))
					filled[duty] = true
				}
			}
			roles := w.rolesOf(m.User)
			commands = commands || slices.Contains(roles, "commander") || slices.Contains(roles, "admin")
			if m.User != "" && w.Holders != nil && len(roles) == 0 {
				w.miss(Nobody, m.User, "miss.user", m.Name, m.User)
			}
			var words []string
			for _, r := range roles {
				words = append(words, w.role(r))
			}
			s.Rows = append(s.Rows, []string{titled(g.Name, g.Title), strings.Join(duties, "\n"), m.Name, orDash(m.User), orDash(strings.Join(words, "\n")), orDash(m.Phone), orDash(m.Mail)})
		}
	}
	for _, duty := range estate.Duties() {
		if !filled[duty] {
			w.miss(Nobody, string(duty), "miss.duty", w.t.say("duty."+string(duty)), duty)
		}
	}
	if w.Holders != nil && !commands {
		w.miss(Nobody, "commander", "miss.commander")
	}
	return s
}

// rolesOf are the roles of a user.
func (w *responseWriter) rolesOf(user string) []string {
	var out []string
	for _, role := range estateRoles {
		if user != "" && slices.Contains(w.Holders[role], user) {
			out = append(out, role)
		}
	}
	return out
}

// escalation is who is told of a disruption that goes on.
func (w *responseWriter) escalation() Section {
	s := Section{Title: w.t.say("escalation"), Head: w.heads("goesOn", "told", "phone", "mail", "group")}
	for _, g := range w.command {
		for _, e := range g.Escalation {
			for _, name := range e.To {
				whom, phone, mail := w.reached(g, name)
				s.Rows = append(s.Rows, []string{w.t.say("fromDetection", w.t.span(time.Duration(e.After))), whom, orDash(phone), orDash(mail), titled(g.Name, g.Title)})
			}
		}
	}
	if len(s.Rows) == 0 && len(w.command) > 0 {
		w.miss(Unsaid, "escalation", "miss.escalation")
	}
	return s
}

// reached is how a member of a group, or the first contact of a participant, is reached.
func (w *responseWriter) reached(g *manifest.CommandGroup, name string) (whom, phone, mail string) {
	for _, m := range g.Members {
		if m.Name == name {
			return name, m.Phone, m.Mail
		}
	}
	p := w.participant(name)
	if p == nil {
		return name, "", ""
	}
	whom = titled(p.Name, p.Title)
	if len(p.Contacts) == 0 {
		w.miss(Unreached, p.Name, "miss.contact", whom)
		return whom, "", ""
	}
	return w.t.say("who.role", whom, p.Contacts[0].Name), p.Contacts[0].Phone, p.Contacts[0].Mail
}

// leads are who is called first.
func (w *responseWriter) leads() string {
	var out []string
	for _, duty := range []estate.Duty{estate.Lead, estate.Deputy} {
		for _, g := range w.command {
			for _, m := range g.Members {
				if slices.Contains(m.Duties, duty) {
					out = append(out, strings.TrimSpace(w.t.say("duty."+string(duty))+" "+m.Name+" "+cmp.Or(m.Phone, m.Mail)))
				}
			}
		}
	}
	return strings.Join(out, "\n")
}

// first is what is done, in this order.
func (w *responseWriter) first() Section {
	t := w.t
	s := Section{Title: t.say("first"), Head: w.heads("no", "whatDone", "whose", "byWhen", "command")}
	row := func(key, who, by, command string) {
		s.Rows = append(s.Rows, []string{strconv.Itoa(len(s.Rows) + 1), t.say(key), who, by, command})
	}
	now := t.say("atOnce")
	subject := "SYSTEM"
	if len(w.scope) <= mostNamed {
		subject = strings.Join(plainWords(w.scope), " --system ")
	}
	row("do.look", w.role("viewer"), now, "perdure status")
	row("do.find", w.role("viewer"), now, "perdure incident list --open")
	row("do.open", w.role("operator"), t.say("whereNone"), "perdure incident open TITLE --system "+subject)
	declared := "–"
	if w.rules.DeclareWithin > 0 {
		declared = t.say("fromDetection", t.span(time.Duration(w.rules.DeclareWithin)))
	}
	row("do.declare", w.role("operator"), declared, "perdure incident declare INCIDENT --text TEXT")
	if leads := w.leads(); leads != "" {
		row("do.call", leads, now, "–")
	}
	if len(w.recovery) > 0 {
		row("do.choose", w.role("commander"), t.say("asDecided"), fmt.Sprintf("perdure plan preflight %s --mode emergency%s", w.recovery[0].plan.Name, setFlags(w.recovery[0].plan)))
		row("do.recover", w.role("commander"), t.say("asDecided"), startCommand(w.recovery[0].plan, plan.Emergency))
		row("do.watch", w.role("viewer"), t.say("meanwhile"), "perdure run watch RUN")
	} else if len(w.groups) > 0 {
		row("do.unit", w.role("commander"), t.say("asDecided"), t.say("see", t.say("switches")))
	}
	if len(w.rules.Tasks) > 0 {
		row("do.report", t.say("owners"), t.say("deadlines"), "perdure inbox\nperdure incident report INCIDENT TASK --text TEXT")
	}
	row("do.restored", w.role("operator"), t.say("whenBackAgain"), "perdure incident restored INCIDENT")
	if len(w.home) > 0 {
		row("do.home", w.role("operator"), t.say("inWindow"), startCommand(w.home[0].plan, plan.SwitchBack))
	}
	row("do.review", t.say("twoRoles", w.role("auditor"), w.role("commander")), t.say("afterwards"), "perdure incident review INCIDENT --finding TEXT")
	row("do.close", w.role("operator"), t.say("afterwards"), "perdure incident close INCIDENT")
	return s
}

// plans are the recovery plans, with the command that starts each.
func (w *responseWriter) plans() Section {
	s := Section{Title: w.t.say("plans"), Head: w.heads("mode", "plan", "actsOn", "target", "worst", "command")}
	for _, of := range []struct {
		mode plan.Mode
		list []candidate
	}{{plan.Emergency, w.recovery}, {plan.Takeover, w.takeovers}, {plan.SwitchBack, w.home}} {
		for _, c := range of.list {
			worst, _ := c.program.Span(c.program.Bound, true)
			on := strings.Join([]string{joined(c.systems), joined(c.units)}, "\n")
			if len(c.units) == 0 {
				on = joined(c.systems)
			}
			s.Rows = append(s.Rows, []string{w.t.word("mode", string(of.mode)), titled(c.plan.Name, c.plan.Title), on, w.target(c.plan.RTO), w.t.span(worst), startCommand(c.plan, of.mode)})
		}
	}
	if left := w.untouched(w.unitsOf(), w.recovery); len(left) > 0 {
		w.miss(NoPlan, joined(left), "miss.recovery", joined(left), w.generate(plan.Emergency))
	} else if len(w.groups) == 0 && len(w.recovery) == 0 {
		w.miss(NoPlan, joined(w.scope), "miss.recovery", joined(w.scope), w.generate(plan.Emergency))
	}
	if left := w.untouched(w.unitsOf(), w.home); len(left) > 0 {
		w.miss(NoPlan, joined(left), "miss.home", joined(left), w.generate(plan.SwitchBack))
	}
	return s
}

// target is an objective that there may be none of.
func (w *responseWriter) target(v shape.Duration) string {
	if v == 0 {
		return w.t.say("noTarget")
	}
	return w.t.span(time.Duration(v))
}

// generate is the command that makes a plan that is missing.
func (w *responseWriter) generate(mode plan.Mode) string {
	if w.src.System != "" {
		return fmt.Sprintf("perdure plan generate --mode %s --system %s", mode, w.src.System)
	}
	return fmt.Sprintf("perdure plan generate --mode %s --scope site %s", mode, w.src.Site)
}

// switches are how one group is switched by itself.
func (w *responseWriter) switches() Section {
	s := Section{Title: w.t.say("switches"), Head: w.heads("system", "object", "home", "goesTo", "copy", "command")}
	for _, p := range w.groups {
		units := p.system.UnitsOf(p.group.Name)
		for i := range p.group.Members {
			m := &p.group.Members[i]
			if m.Site == p.group.Home() || p.system.Deployment(w.moduleOf(p.system, units[0]), m.Site) == nil {
				continue
			}
			s.Rows = append(s.Rows, []string{
				string(p.system.Name), w.t.say("unitsOf", joined(units), string(p.group.Name)), w.siteName(p.group.Home()), w.siteName(m.Site), w.t.say("copy." + string(m.Role)),
				fmt.Sprintf("perdure switch %s --to %s --mode emergency --reason TEXT", units[0], m.Site),
			})
		}
	}
	return s
}

func (w *responseWriter) moduleOf(s *manifest.System, name estate.UnitID) string {
	for i := range s.Units {
		if s.Units[i].Name == name {
			return s.Units[i].Module
		}
	}
	return ""
}

// automatic is what happens without anybody.
func (w *responseWriter) automatic() Section {
	s := Section{Title: w.t.say("automatic"), Head: w.heads("system", "failover", "emptySet")}
	for _, id := range w.scope {
		system := w.systems[id]
		if len(system.Groups) == 0 {
			continue
		}
		failover := "failover.auto"
		if system.Policy.Failover == unit.Confirm {
			failover = "failover.confirm"
		}
		empty := "minInSync.0"
		if system.Policy.MinInSync > 0 {
			empty = "minInSync.1"
		}
		s.Rows = append(s.Rows, []string{w.systemName(id), w.t.say(failover), w.t.say(empty)})
	}
	return s
}

// classes are those of incidents.
func (w *responseWriter) classes() Section {
	s := Section{Title: w.t.say("classes"), Head: w.heads("class", "reachedBy")}
	for i := range w.rules.Classes {
		c := &w.rules.Classes[i]
		var reached []string
		for j := range c.Thresholds {
			reached = append(reached, w.threshold(&c.Thresholds[j]))
		}
		if len(reached) == 0 {
			reached = []string{w.t.say("noThreshold")}
		}
		s.Rows = append(s.Rows, []string{titled(c.Name, c.Title), strings.Join(reached, "\n")})
	}
	if len(s.Rows) == 0 {
		w.miss(Unsaid, "classes", "miss.classes")
	}
	return s
}

func (w *responseWriter) threshold(t *incident.Threshold) string {
	var parts []string
	say := func(key string, args ...any) { parts = append(parts, w.t.say(key, args...)) }
	if len(t.Systems) > 0 {
		say("reached.systems", joined(t.Systems))
	}
	if t.Units > 0 {
		say("reached.units", t.Units)
	}
	if t.Duration > 0 {
		say("reached.duration", w.t.span(time.Duration(t.Duration)))
	}
	if t.Amount > 0 {
		say("reached.amount", thousands(t.Amount))
	}
	if t.Customers > 0 {
		say("reached.customers", thousands(t.Customers))
	}
	return strings.Join(parts, w.t.say("and"))
}

// thousands writes a number with its thousands apart.
func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// reports are what has to be reported by when.
func (w *responseWriter) reports() Section {
	return w.tasks("reports", "miss.reports", func(s incident.Sort) bool { return s != incident.Announce })
}

// announcements are what the public and customers are told by when.
func (w *responseWriter) announcements() Section {
	return w.tasks("announcements", "miss.announcements", func(s incident.Sort) bool { return s == incident.Announce })
}

// tasks are those of the rules for disruptions that nobody planned.
func (w *responseWriter) tasks(title, missing string, wanted func(incident.Sort) bool) Section {
	s := Section{Title: w.t.say(title), Head: w.heads("task", "addressee", "whose", "people", "fromClass", "within", "command")}
	for _, t := range w.rules.Tasks {
		if t.For == incident.Planned || !wanted(t.Sort) {
			continue
		}
		if t.To == "" && t.Sort != incident.Other {
			w.miss(Unreached, t.Name, "miss.addressee", titled(t.Name, t.Title))
		}
		class := w.t.say("allClasses")
		for _, c := range w.rules.Classes {
			if c.Name == t.Class {
				class = titled(c.Name, c.Title)
			}
		}
		s.Rows = append(s.Rows, []string{titled(t.Name, t.Title), orDash(t.To), w.role(t.Owner), w.people(t.Owner), class, w.t.say("fromDeclared", w.t.span(time.Duration(t.Within))), "perdure incident report INCIDENT " + t.Name + " --text TEXT"})
	}
	if len(s.Rows) == 0 {
		w.miss(Unsaid, title, missing)
	}
	return s
}

// order are the systems: those that it is for, what they need, and what is affected with them.
func (w *responseWriter) order() Section {
	s := Section{Title: w.t.say("systems"), Head: append(w.heads("no", "system", "isThere"), w.systemHead()...)}
	why := map[estate.SystemID]string{}
	for _, id := range w.affected {
		why[id] = w.t.say("why.affected")
	}
	for _, id := range w.needed {
		why[id] = w.t.say("why.needed")
	}
	for _, id := range w.scope {
		why[id] = w.t.say("why.scope")
	}
	all := slices.Concat(w.scope, w.needed)
	for _, id := range w.affected {
		if !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	for n, id := range w.ordered(all) {
		s.Rows = append(s.Rows, append([]string{strconv.Itoa(n + 1), w.systemName(id), why[id]}, w.systemCells(w.systems[id])...))
	}
	return s
}

// roles are the users who may do what is asked here; without a server nobody knows them.
func (w *responseWriter) roles() Section {
	s := Section{Title: w.t.say("roles"), Head: w.heads("role", "people", "mayDo")}
	if w.Holders == nil {
		return s
	}
	for _, role := range []string{"commander", "operator", "auditor"} {
		if people := w.people(role); people != "–" {
			s.Rows = append(s.Rows, []string{w.role(role), people, w.t.say("may." + role)})
		}
	}
	return s
}

func (w *responseWriter) partners() Section {
	list := w.takingPart(w.scope, func(string) bool { return false })
	if len(list) == 0 {
		w.miss(Nobody, joined(w.scope), "miss.participants", joined(w.scope))
	}
	return w.contacts(list, "", nil)
}

// cutoffs are until when a day has to be brought to its end.
func (w *responseWriter) cutoffs() Section {
	s := Section{Title: w.t.say("cutoffs"), Head: w.heads("system", "cutoff", "comes", "zone", "calendar")}
	told := map[estate.SystemID]bool{}
	for _, c := range w.Set.Calendars {
		for _, cut := range c.Cutoffs {
			if slices.Contains(w.scope, cut.System) {
				told[cut.System] = true
				s.Rows = append(s.Rows, []string{w.systemName(cut.System), cut.Name, w.again(cut.Cron), c.TimeZone, c.Name})
			}
		}
	}
	for _, p := range w.groups {
		if id := p.system.Name; !told[id] {
			w.miss(Unsaid, string(id), "miss.cutoff", id)
		}
	}
	return s
}

// fingerprint says of which estate it is.
func (w *responseWriter) fingerprint() Section {
	sum := sha256.Sum256(manifest.Export(*w.Set))
	s := Section{Title: w.t.say("version"), Facts: [][2]string{{w.t.say("estateSum"), hex.EncodeToString(sum[:])}}}
	s.Facts = append(s.Facts, w.version()...)
	s.Facts = append(s.Facts, [2]string{w.t.say("belongs"), w.t.say("belongs.estate")})
	return s
}

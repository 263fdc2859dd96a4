package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"perdure/internal/estate"
	"perdure/internal/plan"
)

// roles are what plans ask by the same fields as participants; wire, which has them as a list, lies above this package.
var roles = []string{"participant", "viewer", "driller", "operator", "commander", "auditor", "admin"}

// checkBusiness: what functions, participants, command groups and dependencies say of systems.
func (c *checker) checkBusiness() {
	functions := c.registry("a function")
	for i, f := range c.set.Functions {
		d := c.docs.functions[i]
		functions.add(d, "name", f.Name)
		c.checkSystemNames(d, "systems", f.Systems)
	}
	participants := c.registry("a participant")
	for i, p := range c.set.Participants {
		d := c.docs.participants[i]
		participants.add(d, "name", p.Name)
		if slices.Contains(roles, p.Name) {
			c.tell(d, "name", "another name", "%s is a role: a task for it would be everybody's who has that role", p.Name)
		}
		c.checkSystemNames(d, "systems", p.Systems)
		names := c.registry("contact")
		for j, contact := range p.Contacts {
			at := fmt.Sprintf("contacts[%d]", j)
			names.add(d, at+".name", contact.Name)
			if contact.Phone == "" && contact.Mail == "" {
				c.tell(d, at, "phone, mail, or both", "nobody can reach %q", contact.Name)
			}
		}
	}
	groups := c.registry("a command group")
	for i := range c.set.CommandGroups {
		groups.add(c.docs.commandGroups[i], "name", c.set.CommandGroups[i].Name)
		c.checkCommandGroup(&c.set.CommandGroups[i], c.docs.commandGroups[i])
	}
	for i, s := range c.set.Systems {
		c.checkSystemNames(c.docs.systems[i], "dependsOn", s.DependsOn)
	}
	c.checkDependencies()
	c.everybodyAsked(func(d *document, field, name string) {
		if name == participantRole {
			c.tell(d, field, "participants "+listed(c.participantNames()), "%s is the role of all who take part: say of which participant something is asked", name)
		}
	})
	c.checkVoices()
}

// checkVoices tells of approvals that nobody can give: each person has one voice, and they are fewer than are needed.
func (c *checker) checkVoices() {
	if c.docs.partial { // who is no person may stand where nobody could read it
		return
	}
	many := slices.Concat(c.participantNames(), c.dutyNames(), roles)
	for i := range c.set.Plans {
		tell := func(at string, a *plan.Approval) {
			if a == nil || a.Order == plan.Serial && a.Need > len(a.Of) { // the latter is told by the plan alone
				return
			}
			of := a.Of
			if a.Order == plan.Serial { // they are asked one after the other, and no further than needed
				of = of[:min(a.Need, len(of))]
			}
			people := map[string]bool{}
			most := 0
			for _, name := range of {
				switch {
				case slices.Contains(many, name) && a.Order != plan.Serial:
					return
				case slices.Contains(many, name), !people[name]:
					most++
				}
				people[name] = true
			}
			if most < a.Need {
				c.tell(c.docs.plans[i], at+".approval.need", fmt.Sprintf("at most %d, or more of whom it is asked", most), "%d different people are needed, and %d are asked: each has one voice", a.Need, most)
			}
		}
		for j := range c.set.Plans[i].Steps {
			tell(fmt.Sprintf("steps[%d]", j), c.set.Plans[i].Steps[j].Approval)
		}
		for _, name := range slices.Sorted(maps.Keys(c.set.Plans[i].Templates)) {
			tell("templates."+name, c.set.Plans[i].Templates[name].Approval)
		}
	}
}

// participantRole is the role of those who answer for a participant; nothing is asked of it.
const participantRole = "participant"

// everybodyAsked goes through all of whom plans ask something, with the field that names them.
func (c *checker) everybodyAsked(visit func(d *document, field, name string)) {
	for i := range c.set.Plans {
		d := c.docs.plans[i]
		step := func(at string, s *plan.Step) {
			if s.Manual != nil {
				visit(d, at+".manual.owner", s.Manual.Owner)
			}
			if s.Approval != nil {
				for j, name := range s.Approval.Of {
					visit(d, fmt.Sprintf("%s.approval.of[%d]", at, j), name)
				}
			}
		}
		for j := range c.set.Plans[i].Steps {
			step(fmt.Sprintf("steps[%d]", j), &c.set.Plans[i].Steps[j])
		}
		for _, name := range slices.Sorted(maps.Keys(c.set.Plans[i].Templates)) {
			template := c.set.Plans[i].Templates[name]
			step("templates."+name, &template)
		}
	}
}

// doubtAsked: who is neither a role nor declared may be a user, or a slip.
func (c *checker) doubtAsked() {
	known, duties := c.participantNames(), c.dutyNames()
	if len(known)+len(duties) == 0 {
		return
	}
	c.everybodyAsked(func(d *document, field, name string) {
		if name != "" && !slices.Contains(known, name) && !slices.Contains(duties, name) && !slices.Contains(roles, name) {
			c.tell(d, field, "roles "+listed(roles[1:])+"; participants "+listed(known)+"; duties "+listed(duties), "%s is neither a role nor a participant nor a duty: it waits for the user of that name", name)
		}
	})
}

func (c *checker) dutyNames() []string {
	var names []string
	for _, r := range c.set.Rosters {
		for _, d := range r.Duties {
			names = append(names, d.Name)
		}
	}
	slices.Sort(names)
	return names
}

func (c *checker) participantNames() []string {
	var names []string
	for _, p := range c.set.Participants {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	return names
}

func (c *checker) checkCommandGroup(g *CommandGroup, d *document) {
	c.checkSystemNames(d, "systems", g.Systems)
	names := c.registry("member")
	for i, m := range g.Members {
		at := fmt.Sprintf("members[%d]", i)
		names.add(d, at+".name", m.Name)
		if m.Phone == "" && m.Mail == "" {
			c.tell(d, at, "phone, mail, or both", "nobody can reach %q", m.Name)
		}
		for j, duty := range m.Duties {
			if slices.Contains(m.Duties[:j], duty) {
				c.tell(d, fmt.Sprintf("%s.duties[%d]", at, j), "", "%s stands twice", duty)
			}
		}
	}
	for i, e := range g.Escalation {
		at := fmt.Sprintf("escalation[%d]", i)
		if i > 0 && e.After <= g.Escalation[i-1].After {
			c.tell(d, at+".after", "more than "+g.Escalation[i-1].After.String(), "it comes behind what is told later, or at the same time")
		}
		for j, name := range e.To {
			if !c.docs.partial && !c.reaches(g, name) {
				c.tell(d, fmt.Sprintf("%s.to[%d]", at, j), "the name of a member of the group, or of a participant", "nobody is called %q", name)
			}
		}
	}
}

// reaches reports whether a name is that of a member of the group or of a participant.
func (c *checker) reaches(g *CommandGroup, name string) bool {
	return slices.ContainsFunc(g.Members, func(m GroupMember) bool { return m.Name == name }) ||
		slices.ContainsFunc(c.set.Participants, func(p Participant) bool { return p.Name == name })
}

func (c *checker) checkSystemNames(d *document, field string, list []estate.SystemID) {
	for i, id := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		switch {
		case id == "":
		case slices.Contains(list[:i], id):
			c.tell(d, at, "", "%s stands twice", id)
		case c.set.System(id) == nil && !c.docs.partial:
			c.tell(d, at, "systems "+listed(c.systemNames()), "there is no system %q", id)
		}
	}
}

func (c *checker) systemNames() []estate.SystemID {
	var names []estate.SystemID
	for _, s := range c.set.Systems {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return names
}

// checkDependencies tells of systems that depend on each other: none of them could be switched before the others.
func (c *checker) checkDependencies() {
	index := map[estate.SystemID]int{}
	for i, s := range c.set.Systems {
		if _, again := index[s.Name]; !again && s.Name != "" {
			index[s.Name] = i
		}
	}
	state := make([]int, len(c.set.Systems)) // 1: under way, 2: done
	var path []int
	var visit func(i int)
	visit = func(i int) {
		state[i] = 1
		path = append(path, i)
		for j, id := range c.set.Systems[i].DependsOn {
			next, ok := index[id]
			switch {
			case !ok:
			case state[next] == 0:
				visit(next)
			case state[next] == 1:
				c.tell(c.docs.systems[i], fmt.Sprintf("dependsOn[%d]", j), "dependencies without a cycle", "systems depend on each other: %s", c.cycle(path[slices.Index(path, next):]))
			}
		}
		path = path[:len(path)-1]
		state[i] = 2
	}
	for i := range state {
		if state[i] == 0 {
			visit(i)
		}
	}
}

// cycle writes the way from a system back to itself, with the place of each dependency.
func (c *checker) cycle(path []int) string {
	var b strings.Builder
	for n, i := range path {
		s, next := &c.set.Systems[i], c.set.Systems[path[(n+1)%len(path)]].Name
		if n == 0 {
			b.WriteString(string(s.Name))
		}
		at := slices.Index(s.DependsOn, next)
		fmt.Fprintf(&b, " -> %s (%s)", next, c.docs.systems[i].where(fmt.Sprintf("dependsOn[%d]", at)))
	}
	return b.String()
}

// doubtStages: what a system is said to be, held against where its copies are.
func (c *checker) doubtStages() {
	for i := range c.set.Systems {
		s := &c.set.Systems[i]
		if s.Stage == "" || len(s.Groups) == 0 {
			continue
		}
		if found := c.set.layout(s); found != s.Stage {
			c.tell(c.docs.systems[i], "stage", "", "system %s is declared %s, but laid out as %s", s.Name, s.Stage, found)
		}
	}
}

// layout is the stage that follows from where the owners and the copies are: the weakest group's, for a system goes on as a whole.
func (s *Set) layout(system *System) estate.Stage {
	homes := map[estate.SiteID]bool{}
	stage := estate.SameCityStandby
	for i := range system.Groups {
		g := &system.Groups[i]
		home := g.Home()
		homes[home] = true
		sameCity, remote := false, false
		for _, m := range g.Members {
			if m.Backup != nil {
				continue // cold: nothing stands by there
			}
			switch s.Relation(home, m.Site) {
			case estate.SameCity:
				sameCity = true
			case estate.Remote:
				remote = true
			case estate.SameSite:
			}
		}
		switch {
		case !sameCity && !remote:
			return estate.ColdRestore
		case !sameCity:
			stage = estate.RemoteStandby
		}
	}
	if len(homes) > 1 {
		return estate.MultiActive
	}
	if len(homes) == 0 {
		return s.deployed(system)
	}
	return stage
}

// deployed is the stage of a system without groups: it keeps no account data, and runs where it is deployed.
func (s *Set) deployed(system *System) estate.Stage {
	if slices.ContainsFunc(system.Deployments, func(d Deployment) bool { return d.Site != system.Deployments[0].Site }) {
		return estate.MultiActive
	}
	return estate.ColdRestore
}

// Home is the site of the member that owns first, where switching back leads; empty where there is no such member.
func (g *Group) Home() estate.SiteID {
	for _, m := range g.Members {
		if m.ID == g.Owner {
			return m.Site
		}
	}
	return ""
}

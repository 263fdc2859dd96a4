package manifest

import (
	"fmt"
	"slices"
	"strings"

	"perdure/internal/estate"
	"perdure/internal/route"
	"perdure/internal/shape"
	"perdure/internal/unit"
)

// systemChecker holds one system against itself and the sites.
type systemChecker struct {
	*checker
	system *System
	doc    *document
}

func (c *systemChecker) wrong(path, allowed, format string, args ...any) {
	c.tell(c.doc, path, allowed, format, args...)
}

func (c *systemChecker) check() {
	c.checkModules()
	if h := c.system.Idempotency.Header; route.ReservedHeader(h) {
		c.wrong("idempotency.header", "a header of its own, such as Idempotency-Key or X-Request-Id", "header %s means something else already", h)
	}
	c.checkTimes()
	deployed := c.checkDeployments()
	for i := range c.system.Groups {
		c.checkGroup(&c.system.Groups[i], fmt.Sprintf("groups[%d]", i))
	}
	c.checkUnits(deployed)
	c.checkSlots()
	c.checkOverrides()
	c.checkDrill()
}

func (c *systemChecker) checkModules() {
	names := c.registry("module")
	account := ""
	for i, m := range c.system.Modules {
		at := fmt.Sprintf("modules[%d]", i)
		names.add(c.doc, at+".name", m.Name)
		if m.Archetype == estate.Account {
			if account != "" {
				c.wrong(at+".archetype", "flow, compute, query, or a system of its own", "module %s is of archetype account already: a routing key has one owner in a system", account)
			}
			account = m.Name
		} else if len(m.Paths) > 0 && m.Archetype != "" {
			c.wrong(at+".paths", "paths on the account module only", "gateways route by the owner of a key, and a module of archetype %s has none", m.Archetype)
		}
		if m.Archetype == estate.Account && !slices.ContainsFunc(c.system.Units, func(u Unit) bool { return u.Module == m.Name }) {
			c.wrong("units", "units that own every slot of the module, each in a replication group", "account module %q has no unit, so nobody owns its data", m.Name)
		}
	}
	if account != "" && len(c.system.RoutingKey) == 0 {
		c.wrong("routingKey", "at least one of header, path, query, json, cookie", "an account module needs a routing key")
	}
	hosts := c.registry("host")
	for i, h := range c.system.Hosts {
		hosts.add(c.doc, fmt.Sprintf("hosts[%d]", i), strings.ToLower(h))
	}
	sources := c.registry("routing key source")
	for i, k := range c.system.RoutingKey {
		if k.From != "" {
			sources.add(c.doc, fmt.Sprintf("routingKey[%d]", i), k.String())
		}
	}
}

// checkTimes: what has to be longer than what (I5).
func (c *systemChecker) checkTimes() {
	i, s := c.system.Idempotency, c.system
	for _, least := range []struct {
		path string
		time shape.Duration
	}{{"idempotency.clientRetry", i.ClientRetry}, {"idempotency.reconcileWithin", i.ReconcileWithin}, {"hold.maxTime", s.Hold.MaxTime}} {
		if i.Retention < least.time && !c.doc.brokenAt(least.path) {
			c.wrong("idempotency.retention", "at least "+least.time.String()+", or a smaller "+least.path,
				"%s is shorter than %s %s: a request that comes back late would be executed again", i.Retention, least.path, least.time)
		}
	}
	if s.Limits.Body > s.Hold.MaxBytes && !c.doc.brokenAt("limits.body") {
		c.wrong("hold.maxBytes", "at least limits.body", "%s cannot hold a single request of %s", s.Hold.MaxBytes, s.Limits.Body)
	}
}

// checkDeployments gives which modules are deployed at which sites.
func (c *systemChecker) checkDeployments() map[Placement]bool {
	deployed := map[Placement]bool{}
	deployments := c.registry("the deployment of")
	for i, d := range c.system.Deployments {
		at := fmt.Sprintf("deployments[%d]", i)
		c.checkModuleName(at+".module", d.Module)
		c.checkSiteName(at+".site", d.Site, "a deployment")
		if d.Module != "" && d.Site != "" && deployments.add(c.doc, at, d.Module+" at "+string(d.Site)) {
			deployed[Placement{Module: d.Module, Site: d.Site}] = true
		}
		instances := c.registry("instance")
		for j, url := range d.Instances {
			instances.add(c.doc, fmt.Sprintf("%s.instances[%d]", at, j), url)
		}
	}
	return deployed
}

func (c *systemChecker) checkModuleName(at, module string) {
	if c.doc.brokenAt("modules") {
		return
	}
	if module == "" {
		c.wrong(at, c.moduleNames(), "missing: it does not follow from the modules of the system")
		return
	}
	if !slices.ContainsFunc(c.system.Modules, func(m Module) bool { return m.Name == module }) {
		c.wrong(at, c.moduleNames(), "there is no module %q", module)
	}
}

func (c *systemChecker) moduleNames() string {
	var names []string
	for _, m := range c.system.Modules {
		names = append(names, m.Name)
	}
	return "modules " + listed(names)
}

func (c *systemChecker) checkSiteName(at string, site estate.SiteID, what string) {
	switch s := c.sites[site]; {
	case site == "":
	case s == nil:
		c.noSite(c.doc, at, site)
	case s.Witness:
		c.wrong(at, "sites that are not witnesses", "site %s is a witness and cannot carry %s", site, what)
	}
}

func (c *systemChecker) checkGroup(g *Group, at string) {
	var ids []estate.MemberID
	bySite := map[estate.SiteID]int{}
	for i, m := range g.Members {
		ids = append(ids, m.ID)
		here := fmt.Sprintf("%s.members[%d]", at, i)
		c.checkSiteName(here+".site", m.Site, "a database")
		if first, again := bySite[m.Site]; again && m.Site != "" {
			c.wrong(here+".site", "one member of a group per site", "member %s is at site %s already", g.Members[first].ID, m.Site)
		} else {
			bySite[m.Site] = i
		}
	}
	i := slices.IndexFunc(g.Members, func(m Member) bool { return m.ID == g.Owner })
	if i < 0 {
		if !c.doc.brokenAt(at + ".members") {
			c.wrong(at+".owner", "members "+listed(ids), "there is no member %q in group %s", g.Owner, g.Name)
		}
		return
	}
	owner := g.Members[i]
	if owner.Role == unit.AsyncRole {
		c.wrong(at+".owner", "a member with role sync or pinned", "member %s is async, it cannot be the first owner", owner.ID)
	}
	if owner.Backup != nil {
		c.wrong(fmt.Sprintf("%s.members[%d].backup", at, i), "another owner, or no backup", "member %s keeps backups in place of a database, it cannot be the first owner", owner.ID)
	}
	c.checkRoles(g, owner, at)
	if !slices.ContainsFunc(c.system.Units, func(u Unit) bool { return u.Group == g.Name }) && !c.doc.brokenAt("units") {
		c.wrong(at, "a unit that names it", "group %s carries no unit", g.Name)
	}
}

func (c *systemChecker) checkRoles(g *Group, owner Member, at string) {
	home := c.sites[owner.Site]
	acknowledging := 0
	for i, m := range g.Members {
		if m.ID == owner.ID {
			continue
		}
		if m.Role != unit.AsyncRole {
			acknowledging++
		}
		if m.Backup != nil && m.Role != unit.AsyncRole {
			c.wrong(fmt.Sprintf("%s.members[%d].backup", at, i), "role async, or no backup", "member %s is %s and cold at once: what keeps backups in place of a copy acknowledges nothing", m.ID, m.Role)
		}
		site := c.sites[m.Site]
		if m.Role == unit.SyncRole && site != nil && home != nil && site.City != home.City {
			c.wrong(fmt.Sprintf("%s.members[%d].role", at, i), "async, or pinned for a copy in another city that every commit waits for",
				"member %s is in %s, its owner %s in %s: a sync copy is in the owner's city", m.ID, site.City, owner.ID, home.City)
		}
	}
	if acknowledging > 0 || c.doc.brokenAt(at+".members") {
		return
	}
	if c.system.Targets.RPO == 0 && !c.doc.brokenAt("targets.rpo") {
		c.wrong(at+".members", "a further member with role sync or pinned, or a larger targets.rpo", "group %s has no copy that acknowledges, so targets.rpo 0s cannot be met", g.Name)
	}
	if c.system.Policy.MinInSync > 0 {
		c.wrong(at+".members", "a further member with role sync or pinned, or policy.minInSync 0", "group %s has no copy that acknowledges, so with policy.minInSync 1 it could never write", g.Name)
	}
}

func (c *systemChecker) checkUnits(deployed map[Placement]bool) {
	var groups []string
	for _, g := range c.system.Groups {
		groups = append(groups, string(g.Name))
	}
	for i, u := range c.system.Units {
		at := fmt.Sprintf("units[%d]", i)
		c.checkModuleName(at+".module", u.Module)
		if m := c.system.Module(u.Module); m != nil && m.Archetype != "" && m.Archetype != estate.Account {
			c.wrong(at+".module", "modules of archetype account", "module %s is of archetype %s: only account data has units with one owner", m.Name, m.Archetype)
		}
		if len(u.Slots) == 0 && len(u.Overrides) == 0 {
			c.wrong(at+".slots", fmt.Sprintf("slots from 0 to %d", c.system.Slots-1), "unit %s owns nothing", u.Name)
		}
		if u.Group == "" {
			continue
		}
		j := slices.IndexFunc(c.system.Groups, func(g Group) bool { return g.Name == u.Group })
		if j < 0 {
			if !c.doc.brokenAt("groups") {
				c.wrong(at+".group", "groups "+listed(groups), "there is no group %q in system %s", u.Group, c.system.Name)
			}
			continue
		}
		c.checkPlacements(u, &c.system.Groups[j], fmt.Sprintf("groups[%d]", j), deployed)
	}
}

// checkPlacements: whoever may become owner without a person's word must be where the application is.
func (c *systemChecker) checkPlacements(u Unit, g *Group, at string, deployed map[Placement]bool) {
	for i, m := range g.Members {
		if m.Role == unit.AsyncRole || m.Site == "" || u.Module == "" || c.sites[m.Site] == nil || c.doc.brokenAt("deployments") {
			continue
		}
		if !deployed[Placement{Module: u.Module, Site: m.Site}] {
			c.wrong(fmt.Sprintf("%s.members[%d].site", at, i), "a site with a deployment of module "+u.Module+", or role async",
				"module %s is not deployed at site %s, so unit %s could not be served there", u.Module, m.Site, u.Name)
		}
	}
}

// checkSlots: every slot of an account module belongs to exactly one unit.
func (c *systemChecker) checkSlots() {
	total := c.system.Slots
	for _, m := range c.system.Modules {
		if m.Archetype != estate.Account || total == 0 || c.doc.brokenAt("units") && c.partialSlots() {
			continue
		}
		owner := make([]int, total) // unit index + 1
		any := false
		for i, u := range c.system.Units {
			if u.Module != m.Name {
				continue
			}
			any = true
			c.claim(owner, i, fmt.Sprintf("units[%d].slots", i))
		}
		if free := freeSlots(owner); any && len(free) > 0 {
			c.wrong("units", fmt.Sprintf("every slot from 0 to %d in exactly one unit", total-1), "no unit of module %s owns %s", m.Name, slotsWord(free))
		}
	}
}

// partialSlots reports whether some unit's module or slots could not be read, so that a gap proves nothing.
func (c *systemChecker) partialSlots() bool {
	return slices.ContainsFunc(c.doc.broken, func(b string) bool {
		return b == "units" || strings.HasPrefix(b, "units[") && (strings.HasSuffix(b, "]") || strings.HasSuffix(b, ".slots") || strings.HasSuffix(b, ".module"))
	})
}

// claim gives the unit's slots to it, and tells which belong to somebody else or do not exist.
func (c *systemChecker) claim(owner []int, unitIndex int, at string) {
	u := c.system.Units[unitIndex]
	var beyond Slots
	taken := map[int]Slots{}
	for _, r := range u.Slots {
		for slot := int(r.From); slot <= int(r.To); slot++ {
			one := estate.Slot(slot)
			switch {
			case slot >= len(owner):
				beyond = beyond.add(one)
			case owner[slot] != 0:
				taken[owner[slot]-1] = taken[owner[slot]-1].add(one)
			default:
				owner[slot] = unitIndex + 1
			}
		}
	}
	if len(beyond) > 0 {
		c.wrong(at, fmt.Sprintf("slots from 0 to %d", len(owner)-1), "there are %d slots, not %s", len(owner), slotsWord(beyond))
	}
	for i, other := range c.system.Units {
		if s := taken[i]; len(s) > 0 {
			c.wrong(at, "every slot in exactly one unit", "%s: unit %s has them already, in %s", slotsWord(s), other.Name, c.doc.where(fmt.Sprintf("units[%d].slots", i)))
		}
	}
}

// add appends a slot that is higher than all before.
func (s Slots) add(slot estate.Slot) Slots {
	if n := len(s); n > 0 && s[n-1].To+1 == slot {
		s[n-1].To = slot
		return s
	}
	return append(s, SlotRange{slot, slot})
}

func freeSlots(owner []int) Slots {
	var free Slots
	for i, o := range owner {
		if o == 0 {
			free = free.add(estate.Slot(i))
		}
	}
	return free
}

func slotsWord(s Slots) string {
	if s.Count() == 1 {
		return "slot " + s.String()
	}
	return "slots " + s.String()
}

// checkOverrides: a key belongs to one unit of a module.
func (c *systemChecker) checkOverrides() {
	byModule := map[string]registry{}
	for i, u := range c.system.Units {
		if _, ok := byModule[u.Module]; !ok {
			byModule[u.Module] = c.registry("routing key")
		}
		for j, key := range u.Overrides {
			byModule[u.Module].add(c.doc, fmt.Sprintf("units[%d].overrides[%d]", i, j), key)
		}
	}
}

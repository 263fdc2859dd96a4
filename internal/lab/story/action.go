package story

import (
	"slices"
	"strings"
	"time"

	"perdure/internal/estate"
	"perdure/internal/run"
)

// parseAction reads the rest of a statement that the World carries out.
func parseAction(word string, w *words) Action {
	switch word {
	case "estate":
		return Estate{Name: w.any("the name of an estate, or a folder of manifests")}
	case "policy":
		return parsePolicy(w)
	case "disk":
		return Disk{Target: w.name("a member or a node"), Bytes: w.size(), Stallable: w.take("stallable")}
	case "latency":
		l := parseLink(w)
		return Latency{Link: l, Delay: w.duration()}
	case "start":
		return parseStart(w)
	case "load":
		return parseLoad(w)
	case "switch":
		return parseSwitch(w)
	case "accept":
		return parseAccept(w)
	case "verify":
		v := Verify{Unit: estate.UnitID(w.name("a unit"))}
		v.As, v.At, _ = parseWho(w)
		return v
	case "release":
		r := Release{Unit: estate.UnitID(w.name("a unit")), Reason: "released in the story"}
		var reason string
		if r.As, r.At, reason = parseWho(w); reason != "" {
			r.Reason = reason
		}
		return r
	case "resend":
		return Resend{Unit: estate.UnitID(w.name("a unit"))}
	case "generate":
		return parseGenerate(w)
	case "run":
		return parseRun(w)
	case "orders":
		return parseOrders(w)
	case "fetch":
		return parseFetch(w)
	case "window":
		return parseWindow(w)
	case "approve", "decline", "complete", "retry":
		return parseAnswer(w, word)
	case "cancel":
		w.one("run")
		return parseCancel(w)
	case "evidence":
		e := Evidence{}
		if w.take("at") {
			e.At = estate.SiteID(w.name("the site of the node that is asked"))
		}
		return e
	case "recover":
		r := Recover{}
		w.one("at")
		r.At = estate.SiteID(w.name("a site"))
		if w.take("as") {
			r.As = w.name("a person")
		}
		return r
	case "fault":
		return parseFault(w)
	case "heal":
		return parseHeal(w)
	case "kills":
		k := Kills{Times: w.integer("a number of kills", 1, 100_000)}
		if w.take("for") {
			k.For = w.duration()
		}
		return k
	case "check":
		return Check{}
	}
	return nil
}

func parsePolicy(w *words) Action {
	p := Policy{Unit: estate.UnitID(w.name("a unit")), MinInSync: -1}
	for first := true; first || w.more(); first = false {
		switch w.one("pin", "cold", "failover", "min-in-sync", "damping", "health") {
		case "pin":
			p.Pin = estate.SiteID(w.name("a site"))
		case "cold":
			p.Cold = estate.SiteID(w.name("a site"))
		case "failover":
			p.Failover = w.one("auto", "confirm")
		case "min-in-sync":
			p.MinInSync = w.integer("the least size of the in-sync set", 0, 1)
		case "health":
			p.Health = w.duration()
		case "damping":
			p.Damping = w.duration()
			if w.err == nil && p.Damping < time.Second {
				w.fail("a damping below 1s lets a unit flap")
			}
		case "":
			return p
		}
	}
	return p
}

func parseStart(w *words) Action {
	s := Start{}
	switch {
	case !w.more():
	case w.take("site"), w.take("sites"):
		s.Sites = siteIDs(w.names("a site"))
	case w.take("process"):
		s.Processes = w.names("a process")
	default:
		w.unexpected("site SITE", "process PROCESS", "the end of the line")
	}
	return s
}

func parseLoad(w *words) Action {
	if w.take("stop") {
		return LoadStop{}
	}
	l := Load{Accounts: 2000}
	w.one("rate")
	l.Rate = float64(w.integer("calls per second", 1, 100_000))
	for w.more() {
		switch w.one("accounts", "hot", "cross", "via", "attempt", "once") {
		case "accounts":
			l.Accounts = w.integer("a number of accounts", 8, 1_000_000)
		case "hot":
			l.Hot = w.percent("a share of the calls")
		case "cross":
			l.Cross = w.percent("a share of the calls")
		case "via":
			l.Via = siteIDs(w.names("a site"))
		case "attempt":
			l.Attempt = w.duration()
		case "once":
			l.Once = true
		}
	}
	return l
}

func parseSwitch(w *words) Action {
	s := Switch{Unit: estate.UnitID(w.name("a unit"))}
	w.one("to")
	s.To = estate.SiteID(w.name("a site"))
	for w.more() {
		switch w.one("mode", "as", "at", "refused") {
		case "mode":
			s.Mode = w.one("takeover", "switch-back", "emergency")
		case "as":
			s.As = w.name("a person")
		case "at":
			s.At = estate.SiteID(w.name("the site of the node that is asked"))
		case "refused":
			s.Refused = refusal(w)
		}
	}
	return s
}

func parseAccept(w *words) Action {
	a := Accept{Unit: estate.UnitID(w.name("a unit")), Reason: "accepted in the story"}
	w.one("as")
	a.As = w.name("a person")
	for w.more() {
		switch w.one("because", "at", "refused") {
		case "because":
			a.Reason = w.text("the reason")
		case "at":
			a.At = estate.SiteID(w.name("the site of the node that is asked"))
		case "refused":
			a.Refused = refusal(w)
		}
	}
	return a
}

// parseGenerate reads what a plan is wanted for.
func parseGenerate(w *words) Action {
	g := Generate{Mode: w.name("a mode, such as takeover")}
	for w.more() {
		switch w.one("system", "site", "to", "as", "at", "refused") {
		case "system":
			g.System = estate.SystemID(w.name("a system"))
		case "site":
			g.Site = estate.SiteID(w.name("the site that it leaves, or goes home to"))
		case "to":
			g.To = estate.SiteID(w.name("the site where it goes"))
		case "as":
			g.As = w.name("a person")
		case "at":
			g.At = estate.SiteID(w.name("the site of the node that is asked"))
		case "refused":
			g.Refused = refusal(w)
		}
	}
	return g
}

// parseRun reads the start of a run.
func parseRun(w *words) Action {
	r := StartRun{Plan: w.name("a plan"), Reason: "started by the story"}
	w.one("mode")
	r.Mode = w.name("a mode, such as takeover")
	for w.more() {
		switch w.one("set", "as", "at", "because", "refused") {
		case "set":
			r.Set = append(r.Set, assignment(w))
		case "as":
			r.As = w.name("a person")
		case "at":
			r.At = estate.SiteID(w.name("the site of the node that is asked"))
		case "because":
			r.Reason = w.text("the reason")
		case "refused":
			r.Refused = refusal(w)
		}
	}
	return r
}

// parseAnswer reads what a person says to a step of the run.
func parseAnswer(w *words, verb string) Action {
	a := Answer{What: verb, Step: w.name("a step of the run")}
	if verb == "complete" {
		a.What = "complete-task"
	}
	for w.more() {
		switch w.one("set", "for", "as", "at", "because", "refused") {
		case "set":
			a.Set = append(a.Set, assignment(w))
		case "for":
			a.For = w.name("a role")
		case "as":
			a.As = w.name("a person")
		case "at":
			a.At = estate.SiteID(w.name("the site of the node that is asked"))
		case "because":
			a.Reason = w.text("the reason")
		case "refused":
			a.Refused = refusal(w)
		}
	}
	return a
}

// parseCancel reads how a person ends the run.
func parseCancel(w *words) Action {
	a := Answer{What: "cancel", Reason: "cancelled in the story"}
	for w.more() {
		switch w.one("as", "at", "because", "refused") {
		case "as":
			a.As = w.name("a person")
		case "at":
			a.At = estate.SiteID(w.name("the site of the node that is asked"))
		case "because":
			a.Reason = w.text("the reason")
		case "refused":
			a.Refused = refusal(w)
		}
	}
	return a
}

// parseOrders reads what is done with held orders.
func parseOrders(w *words) Action {
	o := Orders{What: OrderWord(w.one(string(Hold), string(Enter), string(Prove), string(Drop))), Reason: "dropped in the story"}
	if o.What != Prove {
		o.Number = w.integer("a number of orders", 1, 1000)
	}
	if o.What == Hold {
		o.Unit = estate.UnitID(w.name("a unit"))
	}
	for w.more() {
		switch w.one("as", "at", "because", "refused") {
		case "as":
			o.As = w.name("a person")
		case "at":
			o.At = estate.SiteID(w.name("the site of the node that is asked"))
		case "because":
			o.Reason = w.text("the reason")
		case "refused":
			o.Refused = refusal(w)
		}
	}
	return o
}

// parseFetch reads who fetches what the run shows.
func parseFetch(w *words) Action {
	f := Fetch{Unit: estate.UnitID(w.name("a unit"))}
	w.one("as")
	f.As = w.name("a participant")
	for w.more() {
		switch w.one("at", "refused") {
		case "at":
			f.At = estate.SiteID(w.name("the site of the node that is asked"))
		case "refused":
			f.Refused = refusal(w)
		}
	}
	return f
}

// parseWindow reads what a person says of a window.
func parseWindow(w *words) Action {
	a := Window{Name: w.name("a window")}
	a.Revoked = w.one("approved", "revoked") == "revoked"
	w.one("as")
	a.As = w.name("a person")
	a.Reason = "said in the story"
	for w.more() {
		switch w.one("at", "because", "refused") {
		case "at":
			a.At = estate.SiteID(w.name("the site of the node that is asked"))
		case "because":
			a.Reason = w.text("the reason")
		case "refused":
			a.Refused = refusal(w)
		}
	}
	return a
}

// assignment reads NAME=VALUE.
func assignment(w *words) string {
	t := w.any("NAME=VALUE")
	if name, _, ok := strings.Cut(t, "="); w.err == nil && (!ok || !isName(name)) {
		w.fail("%q is not NAME=VALUE", t)
	}
	return t
}

// parseWho reads who does it, at which node, and why.
func parseWho(w *words) (as string, at estate.SiteID, reason string) {
	for w.more() {
		switch w.one("as", "at", "because") {
		case "as":
			as = w.name("a person")
		case "at":
			at = estate.SiteID(w.name("the site of the node that is asked"))
		case "because":
			reason = w.text("the reason")
		}
	}
	return as, at, reason
}

// refusal reads what the product has to refuse with. It is never empty: any error at all, that of a node out of reach too, would pass for it.
func refusal(w *words) string {
	part := w.text("a part of the message")
	if w.err == nil && strings.TrimSpace(part) == "" {
		w.fail("refused wants a part of the message in double quotes, or any other error would pass for it")
	}
	return part
}

// parseLink reads a-b (both directions), a>b (one), or a site, which means its links to all others, with in, out or both behind it.
func parseLink(w *words) Link {
	const allowed = "a site, or a link such as a-b (both ways) or a>b (one way)"
	t := w.any(allowed)
	if w.err != nil {
		return Link{}
	}
	l := Link{There: true, Back: true}
	from, to, one := strings.Cut(t, ">")
	if !one {
		from, to, _ = strings.Cut(t, "-")
	}
	l.From, l.To = estate.SiteID(from), estate.SiteID(to)
	l.Back = !one
	switch {
	case !isName(from) || (to == "" && strings.ContainsAny(t, "->")) || (to != "" && !isName(to)):
		w.fail("%q is not %s", t, allowed)
	case from == to:
		w.fail("%q links a site with itself", t)
	case to == "" && w.more():
		switch w.peek() {
		case "in":
			l.There = !w.take("in")
		case "out":
			l.Back = !w.take("out")
		case "both":
			w.take("both")
		}
	case !one:
		w.take("both")
	}
	return l
}

// linkWord is like parseLink with the word link in front of it, or not.
func linkWord(w *words) *Link {
	w.take("link")
	l := parseLink(w)
	return &l
}

// parseFault reads what is broken.
func parseFault(w *words) Action {
	f := Fault{}
	switch w.one("cut", "kill", "crash", "freeze", "stop", "loss", "fill", "stall", "deadlock", "starve", "terminate", "cancel", "promote", "restart", "clone") {
	case "cut":
		f.Kind = Cut
		f.Link = linkWord(w)
		parsePorts(w, &f)
		if w.isDuration() {
			f.For = w.duration()
		}
	case "kill":
		f.Kind = Kill
		parseTargets(w, &f)
	case "crash":
		f.Kind = Crash
		if !parsePart(w, &f, Backend, Agent, Postmaster, Checkpointer, WALWriter, WALReceiver, WALSender, Startup) {
			parseTargets(w, &f)
		}
	case "freeze", "stop":
		f.Kind = Freeze
		parseFreeze(w, &f)
	case "loss":
		f.Kind, f.Stall = Loss, 200*time.Millisecond
		f.Link = linkWord(w)
		f.Share = w.percent("a share of what is sent")
		if w.take("stall") {
			f.Stall = w.duration()
		}
	case "fill":
		f.Kind = Fill
		w.one("disk")
		f.Disk = w.name("a member or a node with a small disk")
	case "stall":
		f.Kind = Stall
		w.one("disk")
		f.Disk = w.name("a member or a node with a stallable disk")
		if w.isDuration() {
			f.For = w.duration()
		}
	case "deadlock":
		f.Kind = Deadlock
		w.one("accounts")
		w.one("of")
		f.Databases = []string{w.name("a unit")}
		if w.isDuration() {
			f.For = w.duration()
		}
	case "starve":
		f.Kind = Starve
		f.Loops = w.integer("a number of busy loops", 1, 64)
	case "terminate":
		f.Kind = Terminate
		parseBackends(w, &f)
	case "cancel":
		f.Kind = Cancel
		parseBackends(w, &f)
	case "restart":
		f.Kind = Restart
		w.one("database")
		f.Databases = databases(w)
	case "clone":
		f.Kind = Clone
		w.one("database")
		f.Databases = databases(w)
	case "promote":
		f.Kind = Promote
		w.one("database")
		f.Databases = databases(w)
	}
	f.Harmless = w.take("harmless")
	return f
}

func parsePorts(w *words, f *Fault) {
	if w.take("ports") {
		f.Ports = w.one("postgres", "gateway", "node", "agent", "app")
	}
}

func parseFreeze(w *words, f *Fault) {
	if w.peek() == "link" {
		f.Link = linkWord(w)
		parsePorts(w, f)
		f.For = w.duration()
		return
	}
	if !parsePart(w, f, Checkpointer, Startup, Agent) {
		parseTargets(w, f)
	}
	if w.isDuration() {
		f.For = w.duration()
	}
}

// parsePart reads "PART of DATABASE"; false where the line says something else.
func parsePart(w *words, f *Fault, parts ...Part) bool {
	for _, p := range parts {
		if w.take(string(p)) {
			f.Part = p
			w.one("of")
			f.Databases = databases(w)
			return true
		}
	}
	return false
}

func parseBackends(w *words, f *Fault) {
	if !parsePart(w, f, Backends) {
		w.unexpected("backends of DATABASE")
	}
}

// parseTargets reads the sites, processes or databases that a fault is done to.
func parseTargets(w *words, f *Fault) {
	switch w.one("site", "sites", "process", "database") {
	case "site", "sites":
		f.Sites = siteIDs(w.names("a site"))
	case "process":
		f.Processes = w.names("a process such as node-a, gateway-b, agent-u1-a, corebank-c, or leader")
	case "database":
		f.Databases = databases(w)
	}
}

// databases reads members, units, or "copy of UNIT".
func databases(w *words) []string {
	if w.take("copy") {
		w.one("of")
		return []string{"copy of " + w.name("a unit")}
	}
	return w.names("a unit (its owner's server) or a member")
}

func parseHeal(w *words) Action {
	h := Heal{}
	switch w.peek() {
	case "":
		h.All = true
		if w.more() {
			w.unexpected("a link", "site", "process", "database", "disk", "starve", "the end of the line")
		}
	case "site", "sites":
		w.one("site", "sites")
		h.Sites = siteIDs(w.names("a site"))
	case "process":
		w.take("process")
		h.Processes = w.names("a process")
	case "database":
		w.take("database")
		h.Databases = databases(w)
	case "disk":
		w.take("disk")
		h.Disk = w.name("a member or a node with a small disk")
	case "starve":
		h.Starve = w.take("starve")
	default:
		h.Link = linkWord(w)
		h.Reset = w.take("reset")
	}
	return h
}

// parseWait reads a condition and its time bound, with or without the word within.
func parseWait(w *words) *Wait {
	out := &Wait{}
	parseCondition(w, &out.Condition)
	w.take("within")
	out.Within = w.duration()
	return out
}

// parsePass reads how long time passes, and what it is cut short by.
func parsePass(w *words, s *Statement) {
	s.Pass = w.duration()
	if w.take("until") {
		s.Until = &Condition{}
		parseCondition(w, s.Until)
	}
}

// unitWords are what may stand behind a unit's name in a condition.
var unitWords = []string{"at", "open", "in-sync", "unprotected"}

func parseCondition(w *words, c *Condition) {
	switch w.peek() {
	case "unit":
		w.take("unit")
		parseUnitCondition(w, c)
	case "member":
		w.take("member")
		c.Member = estate.MemberID(w.name("a member"))
		switch w.one("in-sync", "following") {
		case "in-sync":
			c.Kind = MemberInSync
		case "following":
			c.Kind = MemberFollowing
		}
	case "divergence":
		w.take("divergence")
		c.Kind, c.Unit = DivergenceListed, estate.UnitID(w.name("a unit"))
		w.one("listed")
	case "gap":
		w.take("gap")
		w.one("closed")
		c.Kind = GapClosed
		if w.take("of") {
			c.Unit = estate.UnitID(w.name("a unit"))
		}
	case "load":
		w.take("load")
		w.one("steady")
		c.Kind = LoadSteady
	case "estate":
		w.take("estate")
		w.one("ready")
		c.Kind = EstateReady
	case "store":
		w.take("store")
		w.one("led")
		c.Kind = StoreLed
	case "switch":
		w.take("switch")
		c.Kind, c.Unit = SwitchIs, estate.UnitID(w.name("a unit"))
		c.Phase = w.one("accepting", "closing", "drained", "promoting", "growing", "done", "failed")
	case "run":
		w.take("run")
		switch w.one("over", "cancelled", "asks", "at") {
		case "over":
			c.Kind, c.Phase = RunOver, string(run.Done)
		case "cancelled":
			c.Kind, c.Phase = RunOver, string(run.Broken)
		case "asks":
			c.Kind, c.Step = RunAsks, w.name("a step of the run")
		case "at":
			c.Kind, c.Step = RunAt, w.name("a step of the run")
		}
	case "sandboxes":
		w.take("sandboxes")
		w.one("gone")
		c.Kind = SandboxesGone
	case "quarantine":
		w.take("quarantine")
		c.Kind, c.Unit = QuarantineOver, estate.UnitID(w.name("a unit"))
		w.one("over")
	default:
		// "wait u1 at b" without the word unit.
		if w.more() && !w.tokens[0].quoted && len(w.tokens) > 1 && slices.Contains(unitWords, w.tokens[1].text) {
			parseUnitCondition(w, c)
			break
		}
		w.unexpected("unit", "member", "divergence", "gap", "load", "estate", "sandboxes", "store", "switch", "run", "quarantine")
	}
}

func parseUnitCondition(w *words, c *Condition) {
	c.Unit = estate.UnitID(w.name("a unit"))
	switch {
	case w.take("in-sync"):
		c.Kind = UnitInSync
		return
	case w.take("unprotected"):
		c.Kind = UnitUnprotected
		return
	case !w.take("open") && w.peek() != "at":
		w.unexpected("at SITE", "open at SITE", "in-sync", "unprotected")
	}
	w.one("at")
	c.Kind, c.Site = UnitAt, estate.SiteID(w.name("a site"))
	c.InSync = w.take("in-sync")
}

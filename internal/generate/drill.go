package generate

import (
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/manifest"
	"perdure/internal/plan"
	"perdure/internal/shape"
)

// sandboxDriver makes the snapshots that drills are held on.
const sandboxDriver = "sandbox"

// drills chooses for each group the copy that a drill takes its data from: at the site that is asked for, else at the nearest one. A drill
// moves nothing, so tasks of other modules, waves and applications have no place in it.
func (s *scope) drills() ([]*part, error) {
	var out []*part
	for i := range s.set.Systems {
		system := &s.set.Systems[i]
		if s.o.System != "" && system.Name != s.o.System {
			continue
		}
		p := &part{system: system, stage: s.set.StageOf(system)}
		for j := range system.Groups {
			g := &system.Groups[j]
			units := system.UnitsOf(g.Name)
			if len(units) == 0 || s.o.Site != "" && s.current(g) != s.o.Site {
				continue
			}
			m := move{group: g, units: units, from: s.current(g), to: s.sandboxAt(g)}
			if m.to == "" {
				s.wanting = append(s.wanting, s.say("group %s of system %s has no copy to take data from beside %s: declare one", g.Name, system.Name, m.from))
				continue
			}
			p.moves = append(p.moves, m)
		}
		if len(p.moves) > 0 {
			out = append(out, p)
		}
	}
	switch {
	case len(s.wanting) > 0:
		return nil, errs.New(errs.Refused, "cannot generate %s: %s", s.o.name(), s.listedLines(s.wanting))
	case len(out) == 0:
		return nil, errs.New(errs.Refused, "cannot generate %s: no database in it has a copy to practise on", s.o.name())
	}
	s.notes = append(s.notes, s.say("Applications and modules without a database have no part in it: no driver starts them against a sandbox."))
	return out, nil
}

// sandboxAt gives the nearest site with a copy; "": there is none.
func (s *scope) sandboxAt(g *manifest.Group) estate.SiteID {
	from, best := s.current(g), estate.SiteID("")
	for _, m := range g.Members {
		switch {
		case cold(m), m.Site == from || s.o.To != "" && m.Site != s.o.To:
		case best == "", s.far(from, m.Site) < s.far(from, best):
			best = m.Site
		}
	}
	return best
}

// drillSteps are those of a drill: look, clone, open, verify, mask, show, look again, discard, and look what is left.
func (w *writer) drillSteps() []step {
	w.tell("begin", w.say("Tell that it begins"), w.say("%s begins: %s", w.scope.o.title(), w.summary()), w.say("Who takes part hears of it. Production is not interrupted, so nobody has to agree."), []string{})
	var ends []string
	var sweeps []func()
	for _, p := range w.parts {
		for i := range p.moves {
			m := &p.moves[i]
			last, sweep := w.drill(p, m)
			ends = append(ends, last...)
			sweeps = append(sweeps, sweep)
		}
	}
	for _, sweep := range sweeps {
		sweep()
	}
	w.tell("over", w.say("Tell the result"), w.say("%s is over: %s", w.scope.o.title(), w.summary()), w.say("Who took part hears that it is over."), ends)
	return w.out
}

// drill writes the steps of one group, and gives the last of them before the cleanup, and what writes that. The sandbox waits for nobody who looks at
// what was shown of it.
func (w *writer) drill(p *part, m *move) (ends []string, sweep func()) {
	group, id := string(m.group.Name), p.system.Name
	call := func(action, expect string) *plan.Call {
		return &plan.Call{Driver: sandboxDriver, Action: action, Target: m.unit(), With: map[string]any{"site": string(m.to)}, Expect: expect}
	}
	figures := map[string]string{}
	for _, name := range []string{"accepting", "lagBytes", "connections", "waitingCommits", "inSync", "position", "untouched"} {
		figures[name] = "result." + name
	}
	const well = "result.accepting && result.untouched"
	before := w.add("before-"+group, plan.Step{
		Title: w.say("Look how %s stands in production", group), System: id, After: &[]string{}, Check: call("production", well+` && result.sandbox == ""`), Outputs: figures,
	}, w.say("Lag, connections and writes before the drill, to compare with; and no other run has a sandbox at %s.", m.to))
	clone := w.add("clone-"+group, plan.Step{
		Title: w.say("Clone the copy of %s at %s", group, m.to), System: id, After: &[]string{before}, Locks: []string{"sandbox/" + group},
		Act: call("clone", ""), Undo: call("discard", ""), Outputs: map[string]string{"bytes": "result.bytes"},
		Precheck: call("production", `result.sandbox == ""`),
	}, w.say("The contract of a drill: a snapshot of the replica, never the replica itself. The files come from the server at %s; %s has no part in it.", m.to, m.from))
	opened := w.add("open-"+group, plan.Step{
		Title: w.say("Open the sandbox of %s", group), System: id, After: &[]string{clone}, Act: call("open", ""), Outputs: map[string]string{"position": "result.position"},
	}, w.say("It takes writes, and its agent alone reaches it: it follows nobody, archives nothing, and no unit is open in it."))
	for _, u := range m.units {
		if own, err := p.system.TestAccounts(u); p.system.Drill.Transaction == "" || err != nil || len(own) == 0 {
			continue
		}
		test := call("transact", "result.accepted == result.accounts && result.refused")
		test.Target = string(u)
		opened = w.add("transact-"+string(u), plan.Step{
			Title: w.say("Carry out test transactions of %s", u), System: id, After: &[]string{opened}, Act: test,
			Outputs: map[string]string{"accounts": "result.accounts", "accepted": "result.accepted", "other": "result.other"},
		}, w.say("The contract of a drill: test data. A transaction of every declared test account is accepted, and one of another account is refused."))
	}
	verified := w.add("verify-"+group, plan.Step{
		Title: w.say("Verify the sandbox of %s", group), System: id, After: &[]string{opened},
		Act: call("verify", `result.corrupt == "" && result.inconsistent == 0.0 && result.written && result.closed`),
		Outputs: map[string]string{
			"relations": "result.relations", "rows": "result.rows", "transactions": "result.transactions", "amount": "result.amount",
			"accounts": "result.accounts", "inconsistent": "result.inconsistent", "written": "result.written",
		},
	}, w.say("Tables and indexes are whole, the books of all accounts agree by the system's own query, and a row can be written."))
	shown, looks := w.seen(p, m, verified, call)
	last := w.add("during-"+group, plan.Step{
		Title: w.say("Look how %s stands during the drill", group), System: id, After: &[]string{shown}, Check: call("production", well), Outputs: figures,
	}, w.say("Production is untouched: it takes writes, and its copy has nothing of what was written into the sandbox."))
	return append([]string{last}, looks...), func() {
		discard := w.add("discard-"+group, plan.Step{
			Title: w.say("Discard the sandbox of %s", group), System: id, After: &[]string{last}, Cleanup: true, OnFailure: plan.Ask,
			Act: call("discard", ""), Retry: &plan.Retry{Times: 3, Pause: shape.Duration(time.Second), Factor: 2, Most: shape.Duration(time.Minute)},
		}, w.say("However the run ends: server and files go. Where nothing was cloned nothing is done; the sandbox of another run is left."))
		w.add("after-"+group, plan.Step{
			Title: w.say("Look that nothing of the drill of %s is left", group), System: id, After: &[]string{discard}, Cleanup: true, OnFailure: plan.Ask,
			Check: call("production", well+" && result.sandbox != run.id"), Outputs: figures,
			// A unit that is just changing hands is looked at again before anybody is asked.
			Retry: &plan.Retry{Times: 6, Pause: shape.Duration(time.Second), Factor: 2, Most: shape.Duration(time.Minute)},
		}, w.say("Lag, connections and writes after the drill; and the sandbox is gone."))
	}
}

// seen writes what has participants look at the data, where the manifest lets them: it is masked before. It gives the last step that needs the sandbox,
// and those of people, who look at files.
func (w *writer) seen(p *part, m *move, after string, call func(action, expect string) *plan.Call) (last string, looks []string) {
	group, id, drill := string(m.group.Name), p.system.Name, &p.system.Drill
	if len(drill.Mask) > 0 {
		after = w.add("mask-"+group, plan.Step{
			Title: w.say("Mask the sandbox of %s", group), System: id, After: &[]string{after}, Act: call("mask", ""),
			Outputs: map[string]string{"tables": "result.tables", "columns": "result.columns", "rows": "result.rows", "values": "result.values"},
		}, w.say("Who has no right to production data sees none: what the manifest declares is overwritten, and no value of before is left."))
	}
	if len(drill.Show) == 0 {
		return after, nil
	}
	after = w.add("show-"+group, plan.Step{
		Title: w.say("Show participants the data of %s", group), System: id, After: &[]string{after}, Act: call("show", ""),
		Outputs: map[string]string{"tables": "result.tables", "rows": "result.rows"},
	}, w.say("The rows that the manifest lets them look at, as files of the run; refused where not all that is declared was masked."))
	for _, one := range participantsOf(w.scope.set, []*part{p}, tenantOf(w.parts)) {
		looks = append(looks, w.add("look-"+group+"-"+one.Name, plan.Step{
			Title: w.say("%s looks at the data of %s", one.Name, group), System: id, After: &[]string{after},
			Manual: &plan.Manual{
				Owner:       one.Name,
				Instruction: w.say("Look at the data of %s as the drill has it: perdure inbox names the files. Say whether the business could go on with it.", group) + w.reached(one),
				Fields:      []plan.Parameter{{Name: "usable", Doc: w.say("The business could go on with this data."), Type: plan.Boolean, Required: true}},
			},
		}, w.say("The verification by the business: %s takes part as %s.", one.Name, one.Type)))
	}
	return after, looks
}

// drillTitle is that of a drill.
func (o *Options) drillTitle() string {
	words := []string{say(o.Language, "Drill")}
	if o.System != "" {
		words = append(words, string(o.System))
	}
	if o.Site != "" {
		words = append(words, say(o.Language, "everything current at site %s", o.Site))
	}
	if o.To != "" {
		words = append(words, say(o.Language, "on copies at %s", o.To))
	}
	return strings.Join(words, " ")
}

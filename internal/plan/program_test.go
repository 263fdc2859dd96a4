package plan_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"perdure/internal/errs"
	"perdure/internal/plan"
	"perdure/internal/shape"
)

// touching is a catalogue with one action for each thing that a contract speaks of.
var touching = plan.Catalogue{
	{Driver: "x", Name: "look", Looks: true, Timeout: 10 * time.Second},
	{Driver: "x", Name: "plain", Timeout: time.Minute},
	{Driver: "x", Name: "interrupt", Touches: plan.Touches{Interrupts: true}},
	{Driver: "x", Name: "snapshot", Touches: plan.Touches{Image: plan.Snapshot}},
	{Driver: "x", Name: "replica", Touches: plan.Touches{Image: plan.Replica}},
	{Driver: "x", Name: "backup", Touches: plan.Touches{Image: plan.Backup}},
	{Driver: "x", Name: "live", Touches: plan.Touches{Image: plan.LiveRows}},
	{Driver: "x", Name: "in-sync", Touches: plan.Touches{Image: plan.InSync}},
	{Driver: "x", Name: "test-interfaces", Touches: plan.Touches{Interfaces: plan.TestInterfaces}},
	{Driver: "x", Name: "production-interfaces", Touches: plan.Touches{Interfaces: plan.ProductionInterfaces}},
	{Driver: "x", Name: "write-back", Touches: plan.Touches{WritesBack: true}},
	{Driver: "x", Name: "leave", Touches: plan.Touches{Leaves: true}},
}

func act(id, action string, after ...string) plan.Step {
	return plan.Step{ID: id, After: &after, Act: &plan.Call{Driver: "x", Action: action}}
}

func next(s plan.Step) plan.Step {
	s.After = nil
	return s
}

func problems(plans ...plan.Plan) []string {
	var out []string
	plan.Check(plans, touching, func(i int, field, _, reason string) { out = append(out, plans[i].Name+": "+field+": "+reason) })
	return out
}

func compile(t interface {
	Helper()
	Fatal(...any)
}, mode plan.Mode, plans ...plan.Plan,
) *plan.Program {
	t.Helper()
	if told := problems(plans...); len(told) > 0 {
		t.Fatal(strings.Join(told, "\n"))
	}
	p, err := plan.Compile(plans, touching, plans[0].Name, mode)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEveryRowOfTheContractRefusesWhatBreaksIt(t *testing.T) {
	all := map[string]string{
		"interrupt": "interrupts production", "snapshot": "brings into use a snapshot", "replica": "brings into use the replica", "backup": "brings into use a backup",
		"live": "brings into use live rows", "in-sync": "brings into use an in-sync copy", "test-interfaces": "connects interfaces",
		"production-interfaces": "touches production interfaces", "write-back": "writes back to production", "plain": "changes something",
	}
	refused := map[plan.Mode][]string{
		plan.Drill:        {"interrupt", "replica", "backup", "live", "in-sync", "production-interfaces", "write-back"},
		plan.Takeover:     {"snapshot", "backup", "live"},
		plan.Emergency:    nil, // shown, never refused
		plan.SwitchBack:   {"snapshot", "backup", "live"},
		plan.Failover:     nil,
		plan.Move:         {"interrupt", "snapshot", "replica", "backup", "in-sync"},
		plan.Experiment:   {"interrupt", "replica", "backup", "live", "in-sync", "production-interfaces", "write-back"},
		plan.Verification: {"interrupt", "snapshot", "replica", "live", "in-sync", "test-interfaces", "production-interfaces", "write-back"},
		plan.Inspection:   {"interrupt", "snapshot", "replica", "backup", "live", "in-sync", "test-interfaces", "production-interfaces", "write-back", "plain"},
		plan.Change:       nil,
	}
	doubted := map[plan.Mode][]string{
		plan.Emergency: {"snapshot", "backup", "live"},
		plan.Failover:  {"snapshot", "backup", "live"},
	}
	for _, mode := range plan.Modes() {
		breaks, known := refused[mode]
		if !known {
			t.Errorf("the test does not know mode %s", mode)
		}
		for action, reason := range all {
			call := &plan.Call{Driver: "x", Action: action}
			for field, step := range map[string]plan.Step{
				"act":  {ID: "s", Act: call},
				"undo": {ID: "s", Act: &plan.Call{Driver: "x", Action: "look"}, Undo: call},
			} {
				p := plan.Plan{Name: "p", Modes: []plan.Mode{mode}, Steps: []plan.Step{step}}
				told := problems(p)
				if !slices.Contains(breaks, action) {
					if len(told) > 0 {
						t.Errorf("%s refuses %s: %q", mode, action, told)
					}
				} else if len(told) != 1 || !strings.HasPrefix(told[0], "p: steps[0]."+field+": ") || !strings.Contains(told[0], reason) || !strings.HasSuffix(told[0], "a run in mode "+string(mode)+" may not") {
					t.Errorf("%s, %s of %s: %q", mode, field, action, told)
				}
				var doubts []string
				plan.Doubt([]plan.Plan{p}, touching, func(_ int, field, _, reason string) { doubts = append(doubts, field+": "+reason) })
				if want := slices.Contains(doubted[mode], action); want != (len(doubts) == 1) || want && !strings.Contains(doubts[0], reason) {
					t.Errorf("%s, %s of %s: doubts %q", mode, field, action, doubts)
				}
			}
		}
		// A step that is not of the mode breaks nothing.
		other := plan.Change
		if mode == plan.Change {
			other = plan.Emergency
		}
		step := act("s", "live")
		step.Modes = []plan.Mode{other}
		if told := problems(plan.Plan{Name: "p", Modes: []plan.Mode{mode, other}, Steps: []plan.Step{act("a", "look"), step}}); len(told) > 0 {
			t.Errorf("%s: a step of mode %s: %q", mode, other, told)
		}
	}
}

func TestWhatLeavesSomethingBehindNeedsACleanup(t *testing.T) {
	p := plan.Plan{Name: "p", Modes: []plan.Mode{plan.Drill}, Steps: []plan.Step{act("a", "leave"), next(act("b", "plain"))}}
	if told := problems(p); len(told) != 1 || told[0] != "p: steps[0].act: it leaves something behind, and no step of mode drill is a cleanup" {
		t.Errorf("%q", told)
	}
	p.Steps[1].Cleanup = true
	if told := problems(p); len(told) > 0 {
		t.Errorf("%q", told)
	}
	p.Modes = append(p.Modes, plan.Takeover)
	p.Steps[1].Modes = []plan.Mode{plan.Drill}
	if told := problems(p); len(told) != 1 || !strings.Contains(told[0], "no step of mode takeover is a cleanup") {
		t.Errorf("%q", told)
	}
}

func with(s plan.Step, change func(*plan.Step)) plan.Step {
	change(&s)
	return s
}

func TestDrillPlanMountsNoReplicaAndDiscardsEverySandbox(t *testing.T) {
	step := func(id, action, target, site string, cleanup bool) plan.Step {
		return plan.Step{ID: id, Act: &plan.Call{Driver: "sandbox", Action: action, Target: target, With: map[string]any{"site": site}}, Cleanup: cleanup}
	}
	told := func(steps ...plan.Step) (all []string) {
		p := []plan.Plan{{Name: "p", Modes: []plan.Mode{plan.Drill}, Steps: steps}}
		plan.Check(p, plan.BuiltIn(), func(_ int, field, _, reason string) { all = append(all, field+": "+reason) })
		return all
	}
	if found := told(step("c", "clone", "u1", "b", false), step("d", "discard", "u1", "b", true)); len(found) > 0 {
		t.Errorf("%q", found)
	}
	for name, steps := range map[string][]plan.Step{
		"no cleanup":          {step("c", "clone", "u1", "b", false), step("d", "discard", "u1", "b", false)},
		"another unit's":      {step("c", "clone", "u1", "b", false), step("d", "discard", "u2", "b", true)},
		"another site's":      {step("c", "clone", "u1", "b", false), step("d", "discard", "u1", "c", true)},
		"before it":           {step("d", "discard", "u1", "b", true), step("c", "clone", "u1", "b", false)},
		"beside it":           {step("c", "clone", "u1", "b", false), with(step("d", "discard", "u1", "b", true), func(s *plan.Step) { s.After = &[]string{} })},
		"on a condition":      {step("c", "clone", "u1", "b", false), with(step("d", "discard", "u1", "b", true), func(s *plan.Step) { s.When = "1 > 2" })},
		"failing unseen":      {step("c", "clone", "u1", "b", false), with(step("d", "discard", "u1", "b", true), func(s *plan.Step) { s.OnFailure = plan.Continue })},
		"one that only looks": {step("c", "open", "u1", "b", false), {ID: "d", Cleanup: true, Check: &plan.Call{Driver: "unit", Action: "state", Target: "u1"}}},
	} {
		if found := told(steps...); len(found) != 1 || !strings.Contains(found[0], "leaves something behind") {
			t.Errorf("%s: %q", name, found)
		}
	}
	reconcile := plan.Step{ID: "r", Act: &plan.Call{Driver: "orders", Action: "reconcile", Target: "u1"}}
	if found := told(reconcile); len(found) != 1 || !strings.Contains(found[0], "touches production interfaces: a run in mode drill may not") {
		t.Errorf("%q", found)
	}
	replica := plan.Step{ID: "s", Act: &plan.Call{Driver: "unit", Action: "switch", Target: "u1", With: map[string]any{"to": "b"}}}
	if found := told(replica); len(found) != 1 || !strings.Contains(found[0], "a run in mode drill may not") {
		t.Errorf("%q", found)
	}
}

func TestContractsAreThoseOfTheDocument(t *testing.T) {
	for _, mode := range plan.Modes() {
		c := plan.ContractOf(mode)
		if c.Mode != mode || c.Interruption == "" || c.Trigger == "" || c.Image == "" || c.Interfaces == "" || c.Data == "" {
			t.Errorf("the row of %s is not whole: %+v", mode, c)
		}
		if strict := mode != plan.Emergency && mode != plan.Failover; c.Strict != strict || c.Incident == strict {
			t.Errorf("%s: strict %t, incident %t", mode, c.Strict, c.Incident)
		}
		if c.Announcement != (mode == plan.Emergency) {
			t.Errorf("%s: announcement %t", mode, c.Announcement)
		}
	}
	for mode, rpo := range map[plan.Mode]time.Duration{plan.Drill: time.Hour, plan.Takeover: 0, plan.Emergency: time.Hour, plan.SwitchBack: 0, plan.Failover: 0, plan.Move: 0, plan.Change: 0} {
		if got := plan.ContractOf(mode).RPO; got != rpo {
			t.Errorf("%s: RPO %s, want %s", mode, got, rpo)
		}
	}
}

func nested() []plan.Plan {
	return []plan.Plan{
		{Name: "outer", Modes: []plan.Mode{plan.Change}, Templates: map[string]plan.Step{"long": {Timeout: shape.Duration(time.Hour), OnFailure: plan.Ask}}, Steps: []plan.Step{
			act("last", "plain", "in-b"),
			act("first", "look"),
			{ID: "in-a", After: &[]string{"first"}, Subplan: &plan.Reference{Plan: "middle", With: map[string]any{"n": 1.0}}},
			{ID: "in-b", After: &[]string{"in-a"}, Subplan: &plan.Reference{Plan: "inner"}},
			{ID: "own", Use: "long", After: &[]string{}, Timeout: shape.Duration(time.Second), Act: &plan.Call{Driver: "x", Action: "plain"}},
		}},
		{Name: "middle", Modes: []plan.Mode{plan.Change}, Parameters: []plan.Parameter{{Name: "n", Type: plan.Number, Required: true}}, Outputs: map[string]string{"o": "params.n"}, Steps: []plan.Step{
			next(act("one", "look")),
			{ID: "two", Subplan: &plan.Reference{Plan: "inner"}},
		}},
		{Name: "inner", Modes: []plan.Mode{plan.Change}, Steps: []plan.Step{next(act("deep", "plain"))}},
	}
}

func TestProgramStandsInOrderWithSubplansBeforeTheirSteps(t *testing.T) {
	p := compile(t, plan.Change, nested()...)
	var got []string
	for i, n := range p.Nodes {
		parent := "-"
		if n.Parent >= 0 {
			parent = p.Nodes[n.Parent].ID
		}
		var after []string
		for _, d := range n.After {
			if d.Node >= i {
				t.Errorf("%s comes before what it waits for", n.ID)
			}
			after = append(after, p.Nodes[d.Node].ID)
		}
		got = append(got, fmt.Sprintf("%s in %q parent %s after %v", n.ID, n.Scope, parent, after))
		if n.Step.After != nil || n.Step.Use != "" || n.ID != n.Scope+n.Local {
			t.Errorf("%+v", n)
		}
	}
	want := []string{
		`first in "" parent - after []`,
		`in-a in "" parent - after [first]`,
		`in-a/one in "in-a/" parent in-a after []`,
		`in-a/two in "in-a/" parent in-a after [in-a/one]`,
		`in-a/two/deep in "in-a/two/" parent in-a/two after []`,
		`in-b in "" parent - after [in-a]`,
		`in-b/deep in "in-b/" parent in-b after []`,
		`last in "" parent - after [in-b]`,
		`own in "" parent - after []`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	own := p.Nodes[8]
	if own.Timeout != time.Second || own.Step.OnFailure != plan.Ask {
		t.Errorf("what a step says itself does not go before its template: %+v", own)
	}
	if !p.Nodes[0].Looks || p.Nodes[0].Timeout != 10*time.Second || p.Nodes[7].Looks || p.Nodes[7].Timeout != time.Minute {
		t.Error("time and looks are not those of the actions")
	}
	sub := p.Nodes[1]
	if len(sub.Parameters) != 1 || sub.Outputs["o"] != "params.n" {
		t.Errorf("the subplan has not its parameters and outputs: %+v", sub)
	}
}

func TestProgramOfWhatIsNotThereIsRefused(t *testing.T) {
	for name, mode := range map[string]plan.Mode{"nothing": plan.Change, "outer": plan.Drill} {
		_, err := plan.Compile(nested(), touching, name, mode)
		if want := map[string]errs.Kind{"nothing": errs.NotFound, "outer": errs.Invalid}[name]; errs.KindOf(err) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStepsThatWaitForEachOtherAreTold(t *testing.T) {
	p := plan.Plan{Name: "p", Modes: []plan.Mode{plan.Change}, Steps: []plan.Step{act("a", "plain", "c"), next(act("b", "plain")), next(act("c", "plain")), act("d", "plain", "d")}}
	want := []string{"p: steps[3].after[0]: a step cannot wait for itself", "p: steps[0].after: steps wait for each other: a waits for c waits for b waits for a"}
	if diff := cmp.Diff(want, problems(p)); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsNeverDoneInTheModeOfAStepIsNoneOfItsValues(t *testing.T) {
	p := plan.Plan{Name: "p", Modes: []plan.Mode{plan.Takeover, plan.SwitchBack, plan.Emergency}, Steps: []plan.Step{act("a", "look"), next(act("b", "plain"))}}
	p.Steps[0].Modes = []plan.Mode{plan.Takeover, plan.SwitchBack}
	p.Steps[0].Outputs = map[string]string{"x": "1"}
	p.Steps[1].When = "steps.a.outputs.x == 1"
	for _, modes := range [][]plan.Mode{nil, {plan.Emergency, plan.SwitchBack}, {plan.Takeover}} {
		p.Steps[1].Modes = modes
		if told := problems(p); len(told) > 0 { // in one of its modes it may have a value
			t.Errorf("%v: %q", modes, told)
		}
	}
	p.Steps[1].Modes = []plan.Mode{plan.Emergency}
	if told := problems(p); len(told) != 1 || !strings.Contains(told[0], "p: steps[1].when: step a is never done in a mode of this step: it is for takeover, switch-back, and this one for emergency") {
		t.Errorf("%q", told)
	}
}

// A document may be larger than plans may be: what its shape tells is enough, and nothing that grows by the square is made of it.
func TestPlanOfTooManyStepsIsNotGoneThrough(t *testing.T) {
	p := plan.Plan{Name: "p", Modes: []plan.Mode{plan.Takeover}}
	for i := range 100_000 {
		p.Steps = append(p.Steps, plan.Step{ID: fmt.Sprintf("s%d", i), Wait: &plan.Wait{For: shape.Duration(time.Second)}})
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	problems(p)
	runtime.ReadMemStats(&after)
	if made := after.TotalAlloc - before.TotalAlloc; made > 400<<20 {
		t.Errorf("%d MB", made>>20)
	}
}

func TestPlansThatArePartOfThemselvesAreTold(t *testing.T) {
	sub := func(id, of string) plan.Step { return plan.Step{ID: id, Subplan: &plan.Reference{Plan: of}} }
	plans := []plan.Plan{
		{Name: "a", Modes: []plan.Mode{plan.Change}, Steps: []plan.Step{next(act("x", "plain")), sub("b", "b")}},
		{Name: "b", Modes: []plan.Mode{plan.Change}, Templates: map[string]plan.Step{"t": sub("", "a")}, Steps: []plan.Step{{ID: "c", Use: "t"}}},
		{Name: "self", Modes: []plan.Mode{plan.Change}, Steps: []plan.Step{sub("s", "self")}},
	}
	want := []string{"b: steps[0].subplan.plan: plans are part of themselves: a contains b contains a", "self: steps[0].subplan.plan: plans are part of themselves: self contains self"}
	if diff := cmp.Diff(want, problems(plans...)); diff != "" {
		t.Error(diff)
	}
	if _, err := plan.Compile(plans, touching, "a", plan.Change); err == nil {
		t.Error("a plan that is part of itself has a program")
	}
}

func TestPlansThatGrowBeyondMeasureByNestingAreTold(t *testing.T) {
	var plans []plan.Plan
	for level := range 12 {
		p := plan.Plan{Name: fmt.Sprintf("l%d", level), Modes: []plan.Mode{plan.Change}}
		for i := range 10 {
			if level == 11 {
				p.Steps = append(p.Steps, next(act(fmt.Sprintf("s%d", i), "plain")))
			} else {
				p.Steps = append(p.Steps, plan.Step{ID: fmt.Sprintf("s%d", i), Subplan: &plan.Reference{Plan: fmt.Sprintf("l%d", level+1)}})
			}
		}
		plans = append(plans, p)
	}
	told := problems(plans...)
	if len(told) != 8 || !strings.HasPrefix(told[len(told)-1], "l0: steps: there are too many steps") {
		t.Errorf("%q", told)
	}
}

func TestBindTakesWhatIsOfTheTypeAndFillsInTheRest(t *testing.T) {
	p := &plan.Program{Plan: "p", Parameters: []plan.Parameter{
		{Name: "unit", Type: plan.Text, Required: true},
		{Name: "n", Type: plan.Number, Default: 3},
		{Name: "on", Type: plan.Boolean},
		{Name: "long", Type: plan.Duration, Default: "5m"},
		{Name: "how", Type: plan.Choice, Of: []string{"a", "b"}, Default: "a"},
		{Name: "note", Type: plan.Text},
		{Name: "zero", Type: plan.Number},
		{Name: "short", Type: plan.Duration},
	}}
	got, err := p.Bind(map[string]any{"unit": "u1", "how": "b"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"unit": "u1", "n": 3.0, "on": false, "long": "5m", "how": "b", "note": "", "zero": 0.0, "short": "0s"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for reason, given := range map[string]map[string]any{
		"parameter unit of plan p is missing":     {},
		"has no parameter other":                  {"unit": "u1", "other": 1.0},
		"3 is not text":                           {"unit": 3.0},
		"<nil> is not text":                       {"unit": nil},
		"x is not a number":                       {"unit": "u1", "n": "x"},
		"true is not a number":                    {"unit": "u1", "n": true},
		"yes is neither true nor false":           {"unit": "u1", "on": "yes"},
		`"soon" is not a length of time`:          {"unit": "u1", "long": "soon"},
		"c is not one of the values":              {"unit": "u1", "how": "c"},
		"(allowed: a, b)":                         {"unit": "u1", "how": 1.0},
		"(allowed: a length of time such as 30s)": {"unit": "u1", "long": 30.0},
	} {
		got, err := p.Bind(given)
		if errs.KindOf(err) != errs.Invalid || !strings.Contains(err.Error(), reason) {
			t.Errorf("%v: %v, %v; want %q", given, got, err, reason)
		}
	}
}

// drawPlans draws plans of which each contains later ones only.
func drawPlans(t *rapid.T) []plan.Plan {
	n := rapid.IntRange(1, 3).Draw(t, "plans")
	plans := make([]plan.Plan, n)
	for i := range plans {
		p := plan.Plan{Name: fmt.Sprintf("p%d", i), Modes: []plan.Mode{plan.Change, plan.Emergency}}
		for j := range rapid.IntRange(1, 6).Draw(t, "steps") {
			s := next(act(fmt.Sprintf("s%d", j), "plain"))
			s.Timeout = shape.Duration(time.Duration(rapid.IntRange(1, 20).Draw(t, "time")) * time.Second)
			if i+1 < n && rapid.IntRange(0, 3).Draw(t, "subplan") == 0 {
				s.Act, s.Timeout, s.Subplan = nil, 0, &plan.Reference{Plan: fmt.Sprintf("p%d", rapid.IntRange(i+1, n-1).Draw(t, "which"))}
			}
			if rapid.IntRange(0, 5).Draw(t, "modes") == 0 {
				s.Modes = []plan.Mode{plan.Emergency}
			}
			if rapid.IntRange(0, 3).Draw(t, "order") > 0 {
				after := []string{}
				for k := range j {
					if rapid.Bool().Draw(t, "waits") {
						after = append(after, fmt.Sprintf("s%d", k))
					}
				}
				s.After = &after
			}
			p.Steps = append(p.Steps, s)
		}
		plans[i] = p
	}
	return plans
}

// longestOf goes every way through a plan that begins at some time.
func longestOf(plans []plan.Plan, name string, mode plan.Mode) time.Duration {
	p := plans[slices.IndexFunc(plans, func(p plan.Plan) bool { return p.Name == name })]
	var end func(i int) time.Duration
	end = func(i int) time.Duration {
		s := p.Steps[i]
		var begin time.Duration
		switch {
		case s.After != nil:
			for _, id := range *s.After {
				begin = max(begin, end(slices.IndexFunc(p.Steps, func(s plan.Step) bool { return s.ID == id })))
			}
		case i > 0:
			begin = end(i - 1)
		}
		switch {
		case len(s.Modes) > 0 && !slices.Contains(s.Modes, mode):
			return begin
		case s.Subplan != nil:
			return begin + longestOf(plans, s.Subplan.Plan, mode)
		}
		return begin + time.Duration(s.Timeout)
	}
	var longest time.Duration
	for i := range p.Steps {
		longest = max(longest, end(i))
	}
	return longest
}

func TestLongestIsThatOfAllWays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plans := drawPlans(t)
		p := compile(t, plan.Change, plans...)
		got, path := p.Longest()
		if want := longestOf(plans, "p0", plan.Change); got != want {
			t.Fatalf("longest %s, want %s", got, want)
		}
		var sum time.Duration
		at := -1
		for _, id := range path {
			i := slices.IndexFunc(p.Nodes, func(n plan.Node) bool { return n.ID == id })
			if i <= at || p.Nodes[i].Step.Subplan != nil {
				t.Fatalf("the path %q is not one of steps in order", path)
			}
			at = i
			sum += p.Bound(i)
		}
		if sum != got {
			t.Fatalf("the bounds of %q add up to %s, not to %s", path, sum, got)
		}
	})
}

func TestBoundCountsEveryAttemptAndPause(t *testing.T) {
	step := act("a", "plain")
	step.Retry = &plan.Retry{Times: 3, Pause: shape.Duration(10 * time.Second), Factor: 3, Most: shape.Duration(time.Minute)}
	task := plan.Step{ID: "t", Manual: &plan.Manual{Owner: "o", Instruction: "i"}}
	timed := plan.Step{ID: "u", Timeout: shape.Duration(time.Hour), Approval: &plan.Approval{Of: []string{"o"}, Need: 1, Order: plan.Parallel}}
	p := compile(t, plan.Change, plan.Plan{Name: "p", Modes: []plan.Mode{plan.Change}, Steps: []plan.Step{
		step, task, timed, {ID: "w", Wait: &plan.Wait{For: shape.Duration(time.Minute)}}, {ID: "n", Notify: &plan.Notify{To: []string{"o"}, Text: "x"}},
	}})
	for i, want := range []time.Duration{4*time.Minute + (10+30+60)*time.Second, 0, time.Hour, time.Minute, 30 * time.Second} {
		if got := p.Bound(i); got != want {
			t.Errorf("%s: %s, want %s", p.Nodes[i].ID, got, want)
		}
	}
}

func TestWorstCaseThatIsLongerThanAnyTimeStaysPositive(t *testing.T) {
	step := act("a", "plain")
	step.Timeout = shape.Duration(30 * 24 * time.Hour)
	step.Retry = &plan.Retry{Times: 100, Factor: 1}
	p := plan.Plan{Name: "p", Modes: []plan.Mode{plan.Change}}
	for i := range 100 {
		s := next(step)
		s.ID = fmt.Sprintf("s%d", i)
		p.Steps = append(p.Steps, s)
	}
	if got, _ := compile(t, plan.Change, p).Longest(); got < 100*365*24*time.Hour {
		t.Errorf("longest %s", got)
	}
}

// AWS's own sample plan has 15, 20 and 5 minutes in series against an objective of 10.
func TestPlanThatCannotMeetItsObjectiveIsDoubted(t *testing.T) {
	p := plan.Plan{Name: "sample", Modes: []plan.Mode{plan.Takeover, plan.Emergency}, RTO: shape.Duration(10 * time.Minute)}
	for i, minutes := range []int{15, 20, 5} {
		s := next(act(fmt.Sprintf("s%d", i), "plain"))
		s.Timeout = shape.Duration(time.Duration(minutes) * time.Minute)
		p.Steps = append(p.Steps, s)
	}
	p.Steps[1].Modes = []plan.Mode{plan.Takeover}
	if told := problems(p); len(told) > 0 {
		t.Errorf("it is refused: %q", told)
	}
	var doubts []string
	doubt := func() {
		doubts = nil
		plan.Doubt([]plan.Plan{p}, touching, func(_ int, field, _, reason string) { doubts = append(doubts, field+": "+reason) })
	}
	doubt()
	want := []string{
		"rto: in mode takeover it may take 40m0s without people, longer than the objective 10m; the longest way: s0, s1, s2",
		"rto: in mode emergency it may take 20m0s without people, longer than the objective 10m; the longest way: s0, s2",
	}
	if diff := cmp.Diff(want, doubts); diff != "" {
		t.Error(diff)
	}
	p.RTO = shape.Duration(40 * time.Minute)
	if doubt(); len(doubts) > 0 {
		t.Errorf("%q", doubts)
	}
}

func TestCleaningUpAfterwardsIsNotPartOfTheObjective(t *testing.T) {
	p := plan.Plan{Name: "p", Modes: []plan.Mode{plan.Takeover}, RTO: shape.Duration(10 * time.Minute)}
	for i, minutes := range []int{3, 3, 20} {
		s := next(act(fmt.Sprintf("s%d", i), "plain"))
		s.Timeout = shape.Duration(time.Duration(minutes) * time.Minute)
		p.Steps = append(p.Steps, s)
	}
	p.Steps[2].Cleanup = true
	late, took, path := compile(t, plan.Takeover, p).Late()
	if late || took != 6*time.Minute || !slices.Equal(path, []string{"s0", "s1"}) {
		t.Errorf("late %t, %s, %q", late, took, path)
	}
	// What comes after a cleanup waits for it.
	after := next(act("s3", "plain"))
	after.Timeout = shape.Duration(time.Minute)
	p.Steps = append(p.Steps, after)
	if late, took, path = compile(t, plan.Takeover, p).Late(); !late || took != 27*time.Minute || len(path) != 4 {
		t.Errorf("late %t, %s, %q", late, took, path)
	}
}

func TestMermaidKeepsWhatANameHas(t *testing.T) {
	plans := nested()
	plans[0].Steps[1].Title = `say "open" [now] {x} (y) <b>#1;</b> | %% ` + "`z`"
	plans[0].Steps[4].Title = "切换"
	got := compile(t, plan.Change, plans...).Mermaid()
	want := `flowchart TB
  n0["say #quot;open#quot; [now] {x} (y) #lt;b#gt;#35;1;#lt;/b#gt; | %% #96;z#96;"]
  subgraph n1 ["in-a"]
    n2["one"]
    subgraph n3 ["two"]
      n4["deep"]
    end
  end
  subgraph n5 ["in-b"]
    n6["deep"]
  end
  n7["last"]
  n8["切换"]
  n0 --> n1
  n2 --> n3
  n1 --> n5
  n5 --> n7
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTargetsOfARunAreKnownBeforehandAsFarAsTheyCanBe(t *testing.T) {
	act := func(target string) *plan.Call {
		return &plan.Call{Driver: "unit", Action: "switch", Target: target, With: map[string]any{"to": "b"}}
	}
	none := &[]string{}
	sub := plan.Plan{
		Name: "sub", Modes: []plan.Mode{plan.Takeover, plan.SwitchBack}, Parameters: []plan.Parameter{{Name: "unit", Type: plan.Text, Default: "u7"}},
		Steps: []plan.Step{{ID: "go", Act: act("${params.unit}")}},
	}
	for name, c := range map[string]struct {
		steps []plan.Step
		want  []string
		all   bool
	}{
		"given":                   {[]plan.Step{{ID: "a", Act: act("${params.unit}")}, {ID: "b", Act: act("u2")}, {ID: "c", Act: act("u${params.n}")}}, []string{"u1", "u2", "u3"}, true},
		"not in this mode":        {[]plan.Step{{ID: "a", Modes: []plan.Mode{plan.SwitchBack}, Act: act("u1")}}, nil, true},
		"in a subplan":            {[]plan.Step{{ID: "a", Subplan: &plan.Reference{Plan: "sub", With: map[string]any{"unit": "${params.unit}"}}}, {ID: "b", Subplan: &plan.Reference{Plan: "sub"}}}, []string{"u1", "u7"}, true},
		"computed from a step":    {[]plan.Step{{ID: "a", Check: &plan.Call{Driver: "unit", Action: "state", Target: "u9"}, Outputs: map[string]string{"u": "result.site"}}, {ID: "b", Act: act("${steps.a.outputs.u}")}}, nil, false},
		"given to a subplan":      {[]plan.Step{{ID: "a", Check: &plan.Call{Driver: "unit", Action: "state", Target: "u9"}, Outputs: map[string]string{"u": "result.site"}}, {ID: "b", Subplan: &plan.Reference{Plan: "sub", With: map[string]any{"unit": "${steps.a.outputs.u}"}}}}, nil, false},
		"subplan in another mode": {[]plan.Step{{ID: "a", After: none, Modes: []plan.Mode{plan.SwitchBack}, Subplan: &plan.Reference{Plan: "sub"}}}, nil, true},
	} {
		p := plan.Plan{
			Name: "p", System: "core", Modes: []plan.Mode{plan.Takeover, plan.SwitchBack}, Steps: c.steps,
			Parameters: []plan.Parameter{{Name: "unit", Type: plan.Text}, {Name: "n", Type: plan.Number}},
		}
		program, err := plan.Compile([]plan.Plan{p, sub}, plan.BuiltIn(), "p", plan.Takeover)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		params, err := program.Bind(map[string]any{"unit": "u1", "n": 3})
		if err != nil {
			t.Fatal(err)
		}
		if got, all := program.Targets("unit", params); !slices.Equal(got, c.want) || all != c.all || program.System != "core" {
			t.Errorf("%s: %q, all %t", name, got, all)
		}
	}
}

func TestEmergencyHasATaskThatAnnouncesItToThePublic(t *testing.T) {
	both := []plan.Mode{plan.Takeover, plan.Emergency}
	say := func(announces bool, modes ...plan.Mode) plan.Step {
		return plan.Step{ID: "say", Modes: modes, Manual: &plan.Manual{Owner: "operator", Instruction: "Announce.", Announces: announces}}
	}
	told := plan.Plan{Name: "told", Modes: both, Steps: []plan.Step{say(true)}}
	for name, c := range map[string]struct {
		step   plan.Step
		breaks int
	}{
		"no task":            {next(act("go", "plain")), 1},
		"another task":       {say(false), 1},
		"the task":           {say(true), 0},
		"of another mode":    {say(true, plan.Takeover), 1},
		"within a subplan":   {plan.Step{ID: "sub", Subplan: &plan.Reference{Plan: "told"}}, 0},
		"and one that is in": {say(true, plan.Emergency), 0},
	} {
		p := plan.Plan{Name: "p", Modes: both, Steps: []plan.Step{c.step}}
		for mode, want := range map[plan.Mode]int{plan.Emergency: c.breaks, plan.Takeover: 0} { // a takeover needs none
			if got := compile(t, mode, p, told).Breaches(touching); len(got) != want {
				t.Errorf("%s, mode %s: %+v", name, mode, got)
			}
		}
	}
}

package run_test

import (
	"testing"

	"perdure/internal/errs"
	"perdure/internal/plan"
	"perdure/internal/run"
)

func TestNoteWaitsForEverybodyWhomItIsToUntilTheyHaveReadItAlsoAfterTheRun(t *testing.T) {
	r := run.Begin("r1", programOf(t, `apiVersion: perdure/v1
kind: Plan
name: p
modes: [takeover]
steps:
- {id: tell, title: The switch begins, notify: {to: [operator, branch-1], text: "We begin"}}
- {id: count, manual: {owner: operator, instruction: Count.}}
`, plan.Takeover))
	call := &plan.Call{Driver: "notify", Action: "send", With: map[string]any{"to": []any{"operator", "branch-1"}, "text": "We begin at noon"}}
	operator := run.Person{Name: "ann", Holds: func(role string) bool { return role == "operator" }}
	branch := run.Person{Name: "li", Participant: "branch-1", Holds: func(string) bool { return false }}
	other := run.Person{Name: "wu", Participant: "branch-2", Holds: func(string) bool { return false }}
	read := func(by string) run.Entry { return run.Entry{By: by, What: run.Acknowledged, Node: "tell"} }
	took(t, r, run.Entry{By: "cid", What: run.Started}, run.Entry{By: "node:a", What: run.Began, Node: "tell", Attempt: 1, Call: call})
	refused(t, r, read("li"), errs.Conflict) // it has not gone out
	if r.Noted() || len(r.WaitsFor(branch)) != 0 {
		t.Error("it waits before it has gone out")
	}
	took(t, r, run.Entry{By: "node:a", What: run.Ended, Node: "tell", Attempt: 1, Outcome: run.Done})
	for _, p := range []run.Person{operator, branch} {
		got := r.WaitsFor(p)
		if len(got) != 1 || got[0].Why != run.Note || got[0].Text != "We begin at noon" || got[0].Step != "tell" {
			t.Errorf("for %s waits %+v", p.Name, got)
		}
	}
	if got := r.WaitsFor(other); len(got) != 0 || !r.Noted() {
		t.Errorf("for another participant waits %+v", got)
	}
	took(t, r, read("ann"))
	refused(t, r, read("ann"), errs.Conflict)
	if got := r.WaitsFor(operator); len(got) != 0 {
		t.Errorf("what was read waits: %+v", got)
	}
	took(t, r, run.Entry{By: "node:a", What: run.Opened, Node: "count"}, run.Entry{By: "ann", What: run.Completed, Node: "count"}, run.Entry{By: "node:a", What: run.Finished, Outcome: run.Done})
	if got := r.WaitsFor(branch); len(got) != 1 || got[0].For != "branch-1" {
		t.Errorf("after the run waits %+v", got)
	}
	refused(t, r, run.Entry{By: "li", What: run.Acknowledged, Node: "count"}, errs.Conflict)
	took(t, r, read("li"))
	if got := r.WaitsFor(branch); len(got) != 0 || r.Phase != run.Over {
		t.Errorf("for a reader waits %+v", got)
	}
}

package run_test

import (
	"testing"
	"time"

	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/run/runtest"
)

const walkedPlan = `apiVersion: perdure/v1
kind: Plan
name: p
modes: [takeover, emergency]
parameters: [{name: to, required: true}]
steps:
- {id: go, approval: {of: [commander], text: "Go to ${params.to}?"}}
- {id: look, check: {driver: world, action: look, target: thing, expect: result.on == true}, outputs: {seen: result.on}}
- {id: move, when: "steps.look.outputs.seen == true", onFailure: compensate, locks: [thing], act: {driver: world, action: set, target: "thing-${params.to}", with: {to: "${steps.look.outputs.seen}"}}, undo: {driver: world, action: set, target: thing}}
- {id: settle, wait: {for: 20m}}
- {id: count, manual: {owner: desk, instruction: "Count what ${steps.look.outputs.seen} says.", fields: [{name: n, type: number, required: true}]}}
- {id: tell, notify: {to: [branch-1], text: "Moved to ${params.to}"}}
- {id: rest, subplan: {plan: sub, with: {what: "${steps.look.outputs.seen}"}}}
- {id: never, modes: [emergency], act: {driver: world, action: set, target: thing}}
---
apiVersion: perdure/v1
kind: Plan
name: sub
modes: [takeover, emergency]
parameters: [{name: what, required: true}]
outputs: {done: "steps.end.outputs.x"}
steps:
- {id: end, act: {driver: world, action: set, target: "${params.what}"}, outputs: {x: result.x}}
`

// A tabletop of any plan reaches its end by what people say alone: the engine never has anything to carry out.
func TestTabletopIsWalkedByPeopleAlone(t *testing.T) {
	p := runtest.Program(t, walkedPlan, plan.Takeover)
	table := p.Tabletop()
	if p.Table || !table.Table || p.Nodes[1].Step.Check == nil {
		t.Fatal("the program itself was changed")
	}
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	r := run.Begin("r1", table)
	say := func(e run.Entry) {
		t.Helper()
		now = now.Add(time.Minute)
		e.Seq, e.At = r.Seq+1, now
		if err := r.Advance(e); err != nil {
			t.Fatalf("%+v: %v", e, err)
		}
	}
	say(run.Entry{By: "ann", What: run.Started, Params: map[string]any{"to": "b"}})
	say(run.Entry{By: "node:a", What: run.Took, Term: 1})
	told := map[string]string{}
	for range 100 {
		if r.Phase == run.Over {
			break
		}
		next := r.Decide(now, nil, 10)
		if len(next.Looks) > 0 || len(next.Probes) > 0 {
			t.Fatalf("something would be looked at: %+v", next)
		}
		for _, e := range next.Entries {
			if e.What == run.Began {
				t.Fatalf("something would be done: %+v", e)
			}
			if e.What == run.Opened {
				told[e.Node] = e.Text
			}
			e.By = "node:a"
			say(e)
		}
		if len(next.Entries) > 0 {
			continue
		}
		for _, step := range r.Asked() {
			e := run.Entry{By: "bob", What: run.Completed, Node: step, Result: map[string]any{plan.FindingField: "nobody knew the number of " + step}}
			if n, _ := r.Node(step); n.Step.Approval != nil {
				e = run.Entry{By: "bob", What: run.Approved, Node: step, For: "commander"}
			}
			say(e)
		}
	}
	if r.Phase != run.Over || r.Outcome != run.Done {
		t.Fatalf("%s, %s", r.Phase, r.Outcome)
	}
	for step, want := range map[string]string{
		"go": "Go to b?", "look": "world.look thing; expect result.on == true", "settle": "wait 20m0s", "count": "Count what ‹steps.look.outputs.seen› says.",
		"tell": "notify branch-1: Moved to b", "rest/end": "world.set ‹params.what›",
		"move": "world.set thing-b, to: ‹steps.look.outputs.seen›\nwhen: steps.look.outputs.seen == true\nonFailure: compensate\nundo: world.set thing",
	} {
		if told[step] != want {
			t.Errorf("%s: told %q, want %q", step, told[step], want)
		}
	}
	if _, asked := told["never"]; asked {
		t.Error("a step of another mode was walked")
	}
	if s, _ := r.Step("settle"); s.Result[plan.FindingField] != "nobody knew the number of settle" {
		t.Errorf("%+v", s.Result)
	}
}

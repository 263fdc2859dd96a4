package run_test

import (
	"slices"
	"strings"
	"testing"

	"perdure/internal/plan"
	"perdure/internal/run"
)

// nested is a plan with an approval by two of three, two subplans deep, and a branch for each way it may go.
const nested = header + "- {id: outer, after: [], subplan: {plan: middle}}\n" + `- {id: end, after: [outer], act: {driver: world, action: set, target: end, with: {to: done}}}
---
apiVersion: perdure/v1
kind: Plan
name: middle
modes: [takeover, drill]
steps:
- {id: inner, after: [], subplan: {plan: deepest}}
---
apiVersion: perdure/v1
kind: Plan
name: deepest
modes: [takeover, drill]
steps:
- {id: ask, after: [], approval: {of: [ops, board, risk], need: 2}}
- {id: yes, after: [ask], act: {driver: world, action: set, target: yes, with: {to: done}}}
- {id: no, after: [ask.declined], act: {driver: world, action: set, target: no, with: {to: done}}}
- {id: join, after: [yes, no], act: {driver: world, action: set, target: join, with: {to: done}}}
`

const asked = "outer/inner/ask"

func voice(by, of string, what run.What) run.Entry {
	return run.Entry{What: what, Node: asked, By: by, For: of, Text: "as told"}
}

// TestDecliningAnApprovalChoosesABranchAndEndsNoRun, however deep in subplans it stands.
func TestDecliningAnApprovalChoosesABranchAndEndsNoRun(t *testing.T) {
	for name, c := range map[string]struct {
		voices []run.Entry
		want   string
	}{
		"declined by the first":       {[]run.Entry{voice("bob", "board", run.Declined)}, "no=done join=done end=done"},
		"declined after one agreed":   {[]run.Entry{voice("bob", "ops", run.Approved), voice("cid", "risk", run.Declined)}, "no=done join=done end=done"},
		"agreed by the second of two": {[]run.Entry{voice("bob", "risk", run.Approved), voice("cid", "ops", run.Approved)}, "yes=done join=done end=done"},
	} {
		t.Run(name, func(t *testing.T) {
			var lines []said
			for _, e := range c.voices {
				lines = append(lines, said{asked, run.Open, e})
			}
			x := &runner{t: t, w: newWorld(), id: "r1", program: programOf(t, nested, plan.Takeover), people: script(lines...)}
			r := x.start(nil)
			if got := strings.Join(x.w.effects, " "); got != c.want || r.Outcome != run.Done {
				t.Errorf("%s: %s, wanted done: %s", r.Outcome, got, c.want)
			}
		})
	}
}

// TestApprovalNeedsAsManyAsThePlanSaysOfThoseItNames (m of n): two of three, whichever, and one alone is not enough.
func TestApprovalNeedsAsManyAsThePlanSaysOfThoseItNames(t *testing.T) {
	for _, two := range [][]string{{"ops", "board"}, {"board", "ops"}, {"ops", "risk"}, {"risk", "board"}} {
		r := begun(t, programOf(t, nested, plan.Takeover))
		for range 8 {
			next(t, r, 8)
		}
		status(t, r, asked, run.Open)
		advance(t, r, voice("bob", two[0], run.Approved))
		next(t, r, 8)
		status(t, r, asked, run.Open)
		if s, _ := r.Step(asked); len(s.Votes) != 1 || !slices.Contains(r.Asked(), asked) {
			t.Errorf("after one voice: %+v", s)
		}
		advance(t, r, voice("cid", two[1], run.Approved))
		status(t, r, asked, run.DoneStep)
	}
}

package plan_test

import (
	"strings"
	"testing"

	"perdure/internal/plan"
	"perdure/internal/run/runtest"
)

const lookedAt = `apiVersion: perdure/v1
kind: Plan
name: p
modes: [takeover, emergency]
parameters: [{name: to, required: true}, {name: room, default: r1}]
steps:
- {id: move, act: {driver: world, action: set, target: thing}, precheck: {driver: world, action: look, target: "${params.to}", expect: result.on == true}}
- {id: check, check: {driver: world, action: look, target: "${params.room}"}, outputs: {seen: result.on}}
- {id: later, check: {driver: world, action: look, target: "${steps.check.outputs.seen}"}}
- {id: other, modes: [emergency], check: {driver: world, action: look, target: x}}
- {id: passed, when: 'params.room == "r2"', check: {driver: world, action: look, target: y}}
- {id: open, when: 'facts["unit/u1"].open', check: {driver: world, action: look, target: z}}
- {id: known, subplan: {plan: sub, with: {what: "${params.room}-a"}}}
- {id: unknown, subplan: {plan: sub, with: {what: "${steps.check.outputs.seen}"}}}
---
apiVersion: perdure/v1
kind: Plan
name: sub
modes: [takeover, emergency]
parameters: [{name: what, required: true}]
steps:
- {id: look, check: {driver: world, action: look, target: "${params.what}"}}
`

func TestPrechecksAreWhatCanBeLookedAtBeforeARun(t *testing.T) {
	p := runtest.Program(t, lookedAt, plan.Takeover)
	look := func(given map[string]any) (seen, unknown []string, byStep map[string]plan.Precheck) {
		t.Helper()
		params, _, err := p.Known(given)
		if err != nil {
			t.Fatal(err)
		}
		byStep = map[string]plan.Precheck{}
		for _, l := range p.Prechecks(params) {
			byStep[l.Step] = l
			if l.Call == nil {
				unknown = append(unknown, l.Step)
				if l.Unknown == "" {
					t.Errorf("nobody knows why %s is not looked at", l.Step)
				}
				continue
			}
			seen = append(seen, l.Step+"="+l.Call.Target)
		}
		return seen, unknown, byStep
	}
	seen, unknown, byStep := look(map[string]any{"to": "b"})
	if got := strings.Join(seen, " ") + " | " + strings.Join(unknown, " "); got != "move=b check=r1 open=z known/look=r1-a | later unknown/look" {
		t.Error(got)
	}
	move := byStep["move"]
	for result, want := range map[any]string{true: "", false: "it is not as expected: result.on == true"} {
		if got := move.Judge(map[string]any{"on": result}); got != want {
			t.Errorf("%v: %q", result, got)
		}
	}
	if got := move.Judge(nil); got == "" {
		t.Error("nothing was found, and that is as it has to be")
	}
	// Without the parameter that it needs, the first step cannot be looked at; the others can.
	seen, unknown, _ = look(nil)
	if got := strings.Join(seen, " ") + " | " + strings.Join(unknown, " "); got != "check=r1 open=z known/look=r1-a | move later unknown/look" {
		t.Error(got)
	}
	if _, missing, err := p.Known(map[string]any{"room": "r2"}); err != nil || strings.Join(missing, " ") != "to" {
		t.Errorf("missing %v, %v", missing, err)
	}
	if _, _, err := p.Known(map[string]any{"nonsense": 1}); err == nil {
		t.Error("a parameter that there is not was taken")
	}
}

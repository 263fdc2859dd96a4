package run_test

import (
	"fmt"
	"slices"
	"testing"

	"perdure/internal/run"
)

// TestRunMayStillActOnWhatIsNotSettledOrWouldBeUndone, and on nothing else: neither on what is done for good nor on what only looks.
func TestRunMayStillActOnWhatIsNotSettledOrWouldBeUndone(t *testing.T) {
	steps := step("one", "after: []") + undoable("two", "after: [one]") + "- {id: hold, after: [two], manual: {owner: ops, instruction: look, fields: [{name: where, type: text, required: true}]}}\n" +
		"- {id: look, after: [hold], check: {driver: world, action: look, target: seen}}\n" + step("three", "after: [hold]") +
		"- {id: found, after: [hold], act: {driver: world, action: set, target: '${steps.hold.outputs.where}', with: {to: x}}}\n" + step("swept", "after: [three], cleanup: true")
	var seen []string
	x := &runner{t: t, w: newWorld(), id: "r1", program: compiled(t, steps)}
	note := func(r *run.Run) {
		targets, all := r.Ahead()
		slices.Sort(targets)
		if now := fmt.Sprint(targets, all); len(seen) == 0 || seen[len(seen)-1] != now {
			seen = append(seen, now)
		}
	}
	x.people = func(r *run.Run) []run.Entry {
		note(r)
		if s, _ := r.Step("hold"); s.Status == run.Open {
			return []run.Entry{{What: run.Completed, Node: "hold", By: "bob", Result: map[string]any{"where": "there"}}}
		}
		return nil
	}
	first := begun(t, x.program)
	note(first)
	r := x.start(nil)
	note(r)
	want := []string{"[one swept three two] false", "[swept three two] false", "[] true"}
	if !slices.Equal(seen, want) {
		t.Errorf("ahead: %q, want %q", seen, want)
	}
}

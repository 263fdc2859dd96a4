package run_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/plan"
	"perdure/internal/run"
)

var update = flag.Bool("update", false, "write testdata anew")

// willing people approve, count, and have a failed step repeated.
func willing(r *run.Run) []run.Entry {
	if s, _ := r.Step("agree"); s.Status == run.Open {
		voters := []run.Entry{{What: run.Approved, Node: "agree", By: "bob", For: "operations"}, {What: run.Approved, Node: "agree", By: "cid", For: "business", Text: "fine"}}
		return voters[len(s.Votes) : len(s.Votes)+1]
	}
	if s, _ := r.Step("counted"); s.Status == run.Open {
		return []run.Entry{{What: run.Completed, Node: "counted", By: "bob", Result: map[string]any{"count": 7.0}}}
	}
	if s, _ := r.Step("broken"); s.Status == run.Asking {
		return []run.Entry{{What: run.Retried, Node: "broken", By: "ann", Text: "mended"}}
	}
	return nil
}

func TestRunOfSixtyStepsIsAsWritten(t *testing.T) {
	x := &runner{t: t, w: newWorld(), id: "r1", program: programOf(t, read(t, "sixty.yaml"), plan.Takeover), people: willing}
	r := x.start(map[string]any{"to": "b"})
	if len(r.Steps) < 57 {
		t.Errorf("the plan has %d steps", len(r.Steps))
	}
	golden(t, "sixty.txt", standing(r)+"\n"+strings.Join(x.w.effects, "\n")+"\n")
}

// TestNoEffectIsRepeatedOrLostWhereverTheRunnerDies kills the runner before and after every append and every act, and compares what was
// done, in which order, and how every step stands in the end.
func TestNoEffectIsRepeatedOrLostWhereverTheRunnerDies(t *testing.T) {
	program := programOf(t, read(t, "sixty.yaml"), plan.Takeover)
	whole := &runner{t: t, w: newWorld(), id: "r1", program: program, people: willing}
	points := 0
	whole.crash = func(string) bool { points++; return false }
	want := whole.start(map[string]any{"to": "b"})
	if points < 300 {
		t.Fatalf("%d points to die at", points)
	}
	for at := range points {
		n := 0
		where := ""
		x := &runner{t: t, w: newWorld(), id: "r1", program: program, people: willing}
		x.crash = func(point string) bool {
			n++
			if n == at+1 {
				where = point
				return true
			}
			return false
		}
		r := x.start(map[string]any{"to": "b"})
		name := fmt.Sprintf("died at %d, %s", at, where)
		if diff := cmp.Diff(sortedEffects(whole.w), sortedEffects(x.w)); diff != "" {
			t.Errorf("%s: the effects differ:\n%s", name, diff)
		}
		assertOrder(t, name, r, x.journal)
		if diff := cmp.Diff(outcomes(want), outcomes(r)); diff != "" {
			t.Errorf("%s: the steps stand differently:\n%s", name, diff)
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("the runner died at each of %d points", points)
}

// TestUndoingIsNeitherRepeatedNorLostWhereverTheRunnerDies does the same for runs that take back what they did.
func TestUndoingIsNeitherRepeatedNorLostWhereverTheRunnerDies(t *testing.T) {
	side := "---\napiVersion: perdure/v1\nkind: Plan\nname: side\nmodes: [takeover, drill]\nparameters: [{name: what, required: true}]\nsteps:\n" +
		"- {id: a, after: [], locks: ['l/${params.what}'], act: {driver: world, action: set, target: '${params.what}/a', with: {to: one}}, undo: {driver: world, action: set, target: '${params.what}/a', with: {to: back}}, retry: {times: 2}}\n" +
		"- {id: b, after: [a], act: {driver: world, action: set, target: '${params.what}/b', with: {to: one}}, undo: {driver: world, action: set, target: '${params.what}/b', with: {to: '${result.is}-back'}}}\n" +
		"- {id: sweep, after: [b], cleanup: true, act: {driver: world, action: set, target: '${params.what}/swept', with: {to: clean}}}\n"
	steps := "- {id: x, after: [], subplan: {plan: side, with: {what: x}}}\n- {id: y, after: [x], subplan: {plan: side, with: {what: y}}}\n"
	for name, c := range map[string]struct {
		last   string
		people func() people
	}{
		"compensated": {"- {id: bad, after: [y], onFailure: compensate, check: {driver: world, action: look, target: z, expect: 'result.is == \"never\"'}}\n", func() people { return nil }},
		"cancelled": {"- {id: ask, after: [y], manual: {owner: ops, instruction: look}}\n" + step("bad", "after: [ask]"), func() people {
			return func(r *run.Run) []run.Entry {
				if s, _ := r.Step("ask"); s.Status == run.Open && r.Phase == run.Running {
					return []run.Entry{{What: run.Cancelled, Undo: true, By: "ann", Text: "wrong window"}}
				}
				return nil
			}
		}},
	} {
		program := compiled(t, steps+c.last+step("final", "cleanup: true")+side)
		points := 0
		whole := &runner{t: t, w: newWorld(), id: "r1", program: program, people: c.people(), crash: func(string) bool { points++; return false }}
		want := whole.start(nil)
		if want.Outcome != run.Undone || len(whole.w.effects) < 11 || points < 60 {
			t.Fatalf("%s: %s, %d points\n%s\n%v", name, want.Outcome, points, standing(want), whole.w.effects)
		}
		for at := range points {
			n := 0
			x := &runner{t: t, w: newWorld(), id: "r1", program: program, people: c.people(), crash: func(string) bool { n++; return n == at+1 }}
			r := x.start(nil)
			if diff := cmp.Diff(whole.w.effects, x.w.effects); diff != "" {
				t.Fatalf("%s, died at %d: the effects differ:\n%s", name, at, diff)
			}
			if diff := cmp.Diff(outcomes(want), outcomes(r)); diff != "" {
				t.Fatalf("%s, died at %d: the steps stand differently:\n%s", name, at, diff)
			}
			if held := r.Held(); len(held) > 0 {
				t.Fatalf("%s, died at %d: locks are held: %v", name, at, held)
			}
		}
	}
}

// sortedEffects leaves out what is told to people: a message that may have gone out is sent again, since nobody can ask it back.
func sortedEffects(w *world) []string {
	var out []string
	for _, e := range w.effects {
		if !strings.HasPrefix(e, "told ") || !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	slices.Sort(out)
	return out
}

func outcomes(r *run.Run) map[string]string {
	out := map[string]string{"": string(r.Phase) + " " + string(r.Outcome)}
	for i, s := range r.Steps {
		out[r.Program.Nodes[i].ID] = fmt.Sprint(s.Status, s.Outputs, s.Votes != nil)
	}
	return out
}

// assertOrder: nothing begins before what it waits for has ended (R1), and nothing that has ended begins again (R2).
func assertOrder(t *testing.T, name string, r *run.Run, journal []run.Entry) {
	t.Helper()
	ended := map[string]int{}
	for _, e := range journal {
		if e.What == run.Began && ended[e.Node] > 0 && !e.Undo {
			t.Errorf("%s: step %s began again at entry %d", name, e.Node, e.Seq)
		}
		if e.What == run.Ended && e.Outcome == run.Done {
			ended[e.Node] = e.Seq
		}
	}
	for i, n := range r.Program.Nodes {
		for _, d := range n.After {
			before := r.Program.Nodes[d.Node].ID
			at := slices.IndexFunc(journal, func(e run.Entry) bool {
				return e.Node == n.ID && (e.What == run.Began || e.What == run.Opened || e.What == run.Entered)
			})
			if at >= 0 && ended[before] > journal[at].Seq {
				t.Errorf("%s: step %s began at entry %d, before %s ended at %d", name, r.Program.Nodes[i].ID, journal[at].Seq, before, ended[before])
			}
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile("testdata/"+name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(read(t, name), got); diff != "" {
		t.Errorf("%s: want (-), got (+):\n%s", name, diff)
	}
}

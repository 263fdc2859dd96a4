package run_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"perdure/internal/errs"
	"perdure/internal/plan"
	"perdure/internal/run"
)

// next appends what the run wants to do by itself, and gives it.
func next(t *testing.T, r *run.Run, room int) []run.Entry {
	t.Helper()
	entries := r.Decide(newWorld().now, nil, room).Entries
	for i := range entries {
		entries[i].At = newWorld().now
	}
	advance(t, r, entries...)
	return entries
}

func status(t *testing.T, r *run.Run, id string, want run.Status) {
	t.Helper()
	if s, ok := r.Step(id); !ok || s.Status != want {
		t.Fatalf("step %s is %q, want %q; the run:\n%s", id, s.Status, want, standing(r))
	}
}

func phase(t *testing.T, r *run.Run, want run.Phase) {
	t.Helper()
	if r.Phase != want {
		t.Fatalf("the run is %s, want %s:\n%s", r.Phase, want, standing(r))
	}
}

func end(node string, outcome run.Outcome) run.Entry {
	e := run.Entry{What: run.Ended, Node: node, Attempt: 1, Outcome: outcome, At: newWorld().now}
	if outcome != run.Done && outcome != run.Nothing {
		e.Error = "as told"
	}
	return e
}

func refused(t *testing.T, r *run.Run, e run.Entry, kind errs.Kind) {
	t.Helper()
	e.Seq = r.Seq + 1
	if err := r.Advance(e); errs.KindOf(err) != kind {
		t.Fatalf("%s of %s: %v, want kind %q", e.What, e.Node, err, kind)
	}
}

func compiled(t testing.TB, steps string) *plan.Program {
	t.Helper()
	return programOf(t, header+steps, plan.Takeover)
}

func TestNothingBeginsAfterACancellationWhileAnAttemptIsUnderWay(t *testing.T) {
	r := begun(t, compiled(t, step("one", "after: []")+step("two", "after: []")))
	next(t, r, 1)
	advance(t, r, run.Entry{What: run.Cancelled, By: "ann", Text: "wrong window"})
	if began := next(t, r, 8); len(began) != 0 {
		t.Fatalf("began: %+v", began)
	}
	advance(t, r, end("one", run.Done))
	status(t, r, "two", run.Dropped)
	next(t, r, 8)
	phase(t, r, run.Over)
}

func TestExpressionWithoutAValueAsksOnce(t *testing.T) {
	for _, failure := range []string{"ask", "stop"} {
		r := begun(t, compiled(t, "- {id: one, onFailure: "+failure+", retry: {times: 2}, when: '1/0 == 1', act: {driver: world, action: set, target: x}}\n"+step("two", "after: []")))
		next(t, r, 8)
		status(t, r, "one", run.Asking)
		if asked := r.Asked(); len(asked) != 1 {
			t.Errorf("asked: %v", asked)
		}
		next(t, r, 8)
		advance(t, r, run.Entry{What: run.Skipped, Node: "one", By: "ann", Text: "of no use"})
		phase(t, r, run.Running)
	}
}

func TestSkippingSomethingElseDoesNotEndAStop(t *testing.T) {
	r := begun(t, compiled(t, "- {id: bad, after: [], when: '1/0 == 1', act: {driver: world, action: set, target: x}}\n- {id: soft, after: [], onFailure: ask, when: '1/0 == 1', act: {driver: world, action: set, target: x}}\n"))
	next(t, r, 8)
	phase(t, r, run.Stopped)
	status(t, r, "soft", run.Asking)
	advance(t, r, run.Entry{What: run.Skipped, Node: "soft", By: "ann", Text: "of no use"})
	phase(t, r, run.Stopped)
	advance(t, r, run.Entry{What: run.Skipped, Node: "bad", By: "ann", Text: "of no use"})
	next(t, r, 8)
	phase(t, r, run.Over)
}

func TestCheckWhoseTimeIsOverHasFailed(t *testing.T) {
	r := begun(t, compiled(t, "- {id: look, retry: {times: 1, pause: 1s}, check: {driver: world, action: look, target: x}}\n"))
	next(t, r, 8)
	advance(t, r, end("look", run.Unknown))
	status(t, r, "look", run.Pausing)
	advance(t, r, run.Entry{What: run.Began, Node: "look", Attempt: 2})
	e := end("look", run.Unknown)
	e.Attempt = 2
	advance(t, r, e)
	status(t, r, "look", run.Asking)
	phase(t, r, run.Stopped)
}

func TestAttemptThatTimesOutWithoutEffectCountsAsFailed(t *testing.T) {
	r := begun(t, compiled(t, step("one", "")))
	next(t, r, 8)
	advance(t, r, end("one", run.Unknown))
	status(t, r, "one", run.Doubtful)
	probed := end("one", run.Nothing)
	probed.Probed = true
	advance(t, r, probed)
	status(t, r, "one", run.Asking)
	phase(t, r, run.Stopped)
}

func TestAttemptOfALostRunnerWithoutEffectIsRepeated(t *testing.T) {
	r := begun(t, compiled(t, step("one", "")))
	next(t, r, 8)
	advance(t, r, run.Entry{What: run.Took, Term: 9})
	probed := end("one", run.Nothing)
	probed.Probed = true
	advance(t, r, probed)
	status(t, r, "one", run.Ready)
}

// TestAttemptThatCannotBeProbedIsNotRepeatedByItself: R3, whatever the plan says about failures.
func TestAttemptThatCannotBeProbedIsNotRepeatedByItself(t *testing.T) {
	for _, more := range []string{"retry: {times: 3}", "onFailure: continue", "onFailure: compensate"} {
		r := begun(t, compiled(t, undoable("first", "after: []")+step("one", more)))
		next(t, r, 8)
		advance(t, r, end("first", run.Done))
		next(t, r, 8)
		advance(t, r, end("one", run.Unknown))
		e := end("one", run.Unknown)
		e.Probed = true
		advance(t, r, e)
		status(t, r, "one", run.Asking)
		// Nor is anything undone around it before somebody has said what it did.
		advance(t, r, run.Entry{What: run.Cancelled, Undo: true, By: "ann", Text: "wrong window"})
		if began := next(t, r, 8); len(began) != 0 {
			t.Fatalf("%s: began %+v", more, began)
		}
		refused(t, r, run.Entry{What: run.Retried, Node: "one", By: "ann"}, errs.Conflict)
		advance(t, r, run.Entry{What: run.Skipped, Node: "one", By: "ann", Text: "it did nothing"})
		if began := next(t, r, 8); len(began) != 1 || !began[0].Undo || began[0].Node != "first" {
			t.Fatalf("%s: began %+v", more, began)
		}
	}
}

func TestStepThatIsLeftBehindGivesItsLocksBack(t *testing.T) {
	r := begun(t, compiled(t, step("one", "after: [], locks: [disk]")))
	next(t, r, 8)
	advance(t, r, end("one", run.Failed))
	if held := r.Held(); len(held) != 1 {
		t.Fatalf("what failed and asks holds %v", held)
	}
	advance(t, r, run.Entry{What: run.Cancelled, By: "ann", Text: "wrong window"})
	if held := r.Held(); len(held) != 0 {
		t.Errorf("held: %v", held)
	}
	next(t, r, 8)
	phase(t, r, run.Over)
}

func TestUndoingHoldsTheLocksOfItsStep(t *testing.T) {
	r := begun(t, compiled(t, undoable("one", "after: [], locks: ['disk/${run.id}']")+"- {id: task, manual: {owner: ops, instruction: look}}\n"))
	next(t, r, 8)
	advance(t, r, end("one", run.Done))
	advance(t, r, run.Entry{What: run.Cancelled, Undo: true, By: "ann", Text: "wrong window"})
	next(t, r, 8)
	if held := r.Held(); len(held) != 1 || held[0] != "disk/r1" {
		t.Errorf("held while undoing: %v", held)
	}
	e := end("one", run.Done)
	e.Undo = true
	advance(t, r, e)
	if held := r.Held(); len(held) != 0 {
		t.Errorf("held afterwards: %v", held)
	}
}

func TestSkippingAStepAheadKeepsTheOrder(t *testing.T) {
	r := begun(t, compiled(t, step("one", "after: []")+step("two", "after: [one]")+step("three", "after: [two]")))
	next(t, r, 8)
	advance(t, r, run.Entry{What: run.Skipped, Node: "two", By: "ann", Text: "of no use"})
	if began := next(t, r, 8); len(began) != 0 {
		t.Fatalf("began before what it comes after has ended: %+v", began)
	}
	advance(t, r, end("one", run.Done))
	status(t, r, "two", run.LeftOut)
	status(t, r, "three", run.Ready)
}

func TestFailureAfterACancellationUndoesNothing(t *testing.T) {
	r := begun(t, compiled(t, undoable("one", "after: []")+step("bad", "onFailure: compensate")))
	next(t, r, 8)
	advance(t, r, end("one", run.Done))
	next(t, r, 8)
	advance(t, r, run.Entry{What: run.Cancelled, By: "ann", Text: "leave it"})
	advance(t, r, end("bad", run.Failed))
	next(t, r, 8)
	phase(t, r, run.Over)
	if r.Outcome != run.Broken || r.Reason != "ann: leave it" {
		t.Errorf("%s: %s", r.Outcome, r.Reason)
	}
}

func TestPauseHoldsUndoing(t *testing.T) {
	r := begun(t, compiled(t, undoable("one", "after: []")+"- {id: task, manual: {owner: ops, instruction: look}}\n"))
	next(t, r, 8)
	advance(t, r, end("one", run.Done), run.Entry{What: run.Cancelled, Undo: true, By: "ann", Text: "wrong window"}, run.Entry{What: run.Paused, By: "ann"})
	if began := next(t, r, 8); len(began) != 0 {
		t.Fatalf("began: %+v", began)
	}
	advance(t, r, run.Entry{What: run.Resumed, By: "ann"})
	if began := next(t, r, 8); len(began) != 1 {
		t.Fatalf("began: %+v", began)
	}
}

func TestUndoingIsProbedWithWhatItWasBegunWith(t *testing.T) {
	r := begun(t, compiled(t, "- {id: one, act: {driver: world, action: set, target: x, with: {to: y}}, undo: {driver: world, action: set, target: 'x/${run.id}', with: {to: '${result.was}'}}}\n- {id: task, manual: {owner: ops, instruction: look}}\n"))
	next(t, r, 8)
	e := end("one", run.Done)
	e.Result = map[string]any{"was": "old"}
	advance(t, r, e, run.Entry{What: run.Cancelled, Undo: true, By: "ann", Text: "wrong window"})
	next(t, r, 8)
	asked := r.UnderWay()
	advance(t, r, run.Entry{What: run.Took, Term: 9})
	asked = append(asked, r.Decide(newWorld().now, nil, 8).Probes...)
	if len(asked) != 2 {
		t.Fatalf("%+v", asked)
	}
	for _, a := range asked {
		if a.Call == nil || a.Call.Target != "x/r1" || a.Call.With["to"] != "old" {
			t.Errorf("asked with %+v", a.Call)
		}
	}
}

func TestStepTakenOverWhileAnotherIsUndoneIsUndoneAfterIt(t *testing.T) {
	r := begun(t, compiled(t, undoable("one", "after: []")+undoable("two", "after: [one], cleanup: true, onFailure: ask")))
	next(t, r, 8)
	advance(t, r, end("one", run.Done))
	next(t, r, 8)
	advance(t, r, end("two", run.Failed), run.Entry{What: run.Cancelled, Undo: true, By: "ann", Text: "wrong window"})
	next(t, r, 8)
	advance(t, r, run.Entry{What: run.TakenOver, Node: "two", By: "ann", Text: "by hand"})
	if began := next(t, r, 8); len(began) != 0 {
		t.Fatalf("began beside an undoing: %+v", began)
	}
	e := end("one", run.Done)
	e.Undo = true
	advance(t, r, e)
	if began := next(t, r, 8); len(began) != 1 || began[0].Node != "two" || !began[0].Undo {
		t.Fatalf("began: %+v", began)
	}
}

const swept = `---
apiVersion: perdure/v1
kind: Plan
name: sweep
modes: [takeover, drill]
parameters: [{name: what, required: true}]
steps:
- {id: a, after: [], act: {driver: world, action: set, target: '${params.what}/a', with: {to: clean}}}
- {id: b, after: [a], act: {driver: world, action: set, target: '${params.what}/b', with: {to: clean}}}
- {id: c, after: [a], wait: {for: 1s}}
- {id: d, after: [b, c], cleanup: true, act: {driver: world, action: set, target: '${params.what}/d', with: {to: clean}}}
`

func TestCleanupThatIsASubplanIsDoneWhole(t *testing.T) {
	x := &runner{
		t: t, w: newWorld(), id: "r1", program: compiled(t, "- {id: long, after: [], wait: {for: 1h}}\n- {id: sweep, cleanup: true, subplan: {plan: sweep, with: {what: x}}}\n"+step("last", "cleanup: true")+swept),
		people: script(said{"long", run.Open, run.Entry{What: run.Cancelled, By: "ann", Text: "wrong window"}}),
	}
	r := x.start(nil)
	if got := strings.Join(x.w.effects, " "); got != "x/a=clean x/b=clean x/d=clean last=done" {
		t.Errorf("done: %s\n%s", got, standing(r))
	}
	status(t, r, "sweep", run.DoneStep)
}

func TestCleanupInsideASubplanIsDoneOnlyIfThatHasBegun(t *testing.T) {
	steps := "- {id: long, after: [], wait: {for: 1h}}\n- {id: late, after: [long], subplan: {plan: sweep, with: {what: late}}}\n- {id: early, after: [], subplan: {plan: sweep, with: {what: early}}}\n"
	x := &runner{
		t: t, w: newWorld(), id: "r1", program: compiled(t, steps+swept),
		people: script(said{"early/a", run.DoneStep, run.Entry{What: run.Cancelled, By: "ann", Text: "wrong window"}}),
	}
	r := x.start(nil)
	status(t, r, "late/d", run.Dropped)
	status(t, r, "early/d", run.DoneStep)
	status(t, r, "early", run.Dropped)
}

func TestNobodyLeavesOutAnApproval(t *testing.T) {
	r := begun(t, compiled(t, "- {id: ask, after: [], timeout: 1m, onFailure: ask, approval: {of: [ops], need: 1}}\n"+step("next", "after: [ask]")))
	refused(t, r, run.Entry{What: run.Skipped, Node: "ask", By: "ann", Text: "in a hurry"}, errs.Refused)
	next(t, r, 8)
	refused(t, r, run.Entry{What: run.Skipped, Node: "ask", By: "ann", Text: "in a hurry"}, errs.Refused)
	advance(t, r, run.Entry{What: run.Ended, Node: "ask", Outcome: run.Failed, Error: "late"})
	refused(t, r, run.Entry{What: run.TakenOver, Node: "ask", By: "ann", Text: "in a hurry"}, errs.Refused)
	refused(t, r, run.Entry{What: run.Skipped, Node: "ask", By: "bob", Text: "agreed by telephone"}, errs.Refused)
	advance(t, r, run.Entry{What: run.Retried, Node: "ask", By: "ann"})
	next(t, r, 8)
	advance(t, r, run.Entry{What: run.Approved, Node: "ask", By: "bob", For: "ops"})
	status(t, r, "next", run.Ready)
}

func TestNobodyLeavesOutASubplanWithAnApproval(t *testing.T) {
	const asking = `---
apiVersion: perdure/v1
kind: Plan
name: agree
modes: [takeover, drill]
parameters: [{name: n, type: number}]
steps:
- {id: ask, after: [], approval: {of: [ops]}}
- {id: exercise, after: [ask], modes: [drill], approval: {of: [ops]}}
`
	r := begun(t, compiled(t, step("first", "after: []")+"- {id: sub, after: [first], onFailure: ask, subplan: {plan: agree, with: {n: '${1 / 0}'}}}\n"+step("next", "after: [sub]")+asking))
	skip := run.Entry{What: run.Skipped, Node: "sub", By: "ann", Text: "in a hurry"}
	refused(t, r, skip, errs.Refused)
	next(t, r, 8)
	advance(t, r, end("first", run.Done))
	refused(t, r, skip, errs.Refused)
	next(t, r, 8)
	status(t, r, "sub", run.Asking)
	refused(t, r, skip, errs.Refused)
	refused(t, r, run.Entry{What: run.TakenOver, Node: "sub", By: "ann", Text: "by hand"}, errs.Refused)
	status(t, r, "next", run.Waiting)
	// What asks nobody in the mode of the run may be left out.
	r = begun(t, compiled(t, step("first", "after: []")+"- {id: sub, after: [first], subplan: {plan: agree}}\n"+strings.Replace(asking, "after: [], approval", "after: [], modes: [drill], approval", 1)))
	advance(t, r, skip)
	next(t, r, 8)
	advance(t, r, end("first", run.Done))
	status(t, r, "sub", run.LeftOut)
}

func TestApprovalsSideBySideAreDecidedEachByItself(t *testing.T) {
	r := begun(t, compiled(t, "- {id: left, after: [], approval: {of: [ops]}}\n- {id: right, after: [], approval: {of: [ops]}}\n"+step("l", "after: [left]")+step("r", "after: [right]")+step("no", "after: [right.declined]")))
	next(t, r, 8)
	advance(t, r, run.Entry{What: run.Approved, Node: "left", By: "bob", For: "ops"})
	status(t, r, "right", run.Open)
	if began := next(t, r, 8); len(began) != 1 || began[0].Node != "l" {
		t.Fatalf("began: %+v", began)
	}
	advance(t, r, run.Entry{What: run.Declined, Node: "right", By: "bob", For: "ops", Text: "not today"}, end("l", run.Done))
	status(t, r, "left", run.DoneStep)
	status(t, r, "r", run.Bypassed)
	if began := next(t, r, 8); len(began) != 1 || began[0].Node != "no" {
		t.Fatalf("began: %+v", began)
	}
}

func TestPausedRunThatWaitsForPeopleIsCancelled(t *testing.T) {
	r := begun(t, compiled(t, undoable("one", "after: []")+"- {id: ask, approval: {of: [ops]}}\n"+step("next", "after: [ask]")+step("last", "cleanup: true")))
	next(t, r, 8)
	advance(t, r, end("one", run.Done))
	next(t, r, 8)
	advance(t, r, run.Entry{What: run.Paused, By: "ann"}, run.Entry{What: run.Cancelled, Undo: true, By: "ann", Text: "wrong window"})
	refused(t, r, run.Entry{What: run.Approved, Node: "ask", By: "bob", For: "ops"}, errs.Conflict)
	if began := next(t, r, 8); len(began) != 1 || began[0].Node != "one" || !began[0].Undo {
		t.Fatalf("began: %+v", began)
	}
	e := end("one", run.Done)
	e.Undo = true
	advance(t, r, e)
	if began := next(t, r, 8); len(began) != 1 || began[0].Node != "last" {
		t.Fatalf("began: %+v", began)
	}
	advance(t, r, end("last", run.Done))
	next(t, r, 8)
	phase(t, r, run.Over)
}

func TestMoreVotesThanAreAskedOneAfterTheOtherAreRefused(t *testing.T) {
	p := compiled(t, "- {id: ask, approval: {of: [ops], need: 1, order: serial}}\n")
	p.Nodes[0].Step.Approval.Need = 2 // a program may come from a version that checked less
	r := begun(t, p)
	next(t, r, 8)
	advance(t, r, run.Entry{What: run.Approved, Node: "ask", By: "bob", For: "ops"})
	refused(t, r, run.Entry{What: run.Approved, Node: "ask", By: "cid", For: "ops"}, errs.Conflict)
}

func TestWhatAPersonGivesOfAStepDoneByHandAreItsOutputs(t *testing.T) {
	r := begun(t, compiled(t, "- {id: one, outputs: {is: result.is}, act: {driver: world, action: set, target: x}}\n- {id: two, act: {driver: world, action: set, target: '${steps.one.outputs.is}'}}\n"))
	next(t, r, 8)
	advance(t, r, end("one", run.Failed), run.Entry{What: run.TakenOver, Node: "one", By: "ann", Text: "by hand", Result: map[string]any{"is": "there"}})
	if began := next(t, r, 8); len(began) != 1 || began[0].Call == nil || began[0].Call.Target != "there" {
		t.Errorf("began: %+v", began)
	}
}

func TestWaitWhoseFactsNeverComeEndsWithItsTime(t *testing.T) {
	r := begun(t, compiled(t, "- {id: until, timeout: 1m, wait: {until: 'facts.x.is == \"there\"'}}\n"))
	next(t, r, 8)
	now := newWorld().now
	if n := r.Decide(now.Add(30*time.Second), nil, 8); len(n.Looks) != 1 || len(n.Entries) != 0 || n.Wake.IsZero() {
		t.Fatalf("%+v", n)
	}
	if n := r.Decide(now.Add(time.Minute), nil, 8); len(n.Entries) != 1 || n.Entries[0].Outcome != run.Failed {
		t.Fatalf("%+v", n)
	}
}

func TestStepThatPausesGoesOnAfterAStop(t *testing.T) {
	r := begun(t, compiled(t, step("one", "after: [], retry: {times: 1, pause: 5s}")+step("bad", "after: []")))
	next(t, r, 8)
	advance(t, r, end("one", run.Failed), end("bad", run.Failed))
	phase(t, r, run.Stopped)
	late := newWorld().now.Add(time.Hour)
	if n := r.Decide(late, nil, 8); len(n.Entries) != 0 || !n.Wake.IsZero() {
		t.Fatalf("in a stop: %+v", n)
	}
	advance(t, r, run.Entry{What: run.Skipped, Node: "bad", By: "ann", Text: "of no use"})
	if n := r.Decide(late, nil, 8); len(n.Entries) != 1 || n.Entries[0].Attempt != 2 {
		t.Fatalf("afterwards: %+v", n)
	}
}

func TestWordsThatComeDuringAnAttemptDoNotTouchIt(t *testing.T) {
	r := begun(t, compiled(t, step("one", "")))
	next(t, r, 8)
	for _, what := range []run.What{run.Skipped, run.TakenOver, run.Retried, run.Completed, run.Approved} {
		refused(t, r, run.Entry{What: what, Node: "one", By: "bob", Text: "x"}, errs.Conflict)
	}
	advance(t, r, run.Entry{What: run.Paused, By: "bob"}, end("one", run.Done))
	status(t, r, "one", run.DoneStep)
}

// thousands makes a program of n steps that are all ready at once.
func thousands(t testing.TB, n int, more string) *plan.Program {
	t.Helper()
	p := compiled(t, step("s", "after: []"+more))
	one := p.Nodes[0]
	p.Nodes = make([]plan.Node, n)
	for i := range p.Nodes {
		p.Nodes[i] = one
		p.Nodes[i].ID = fmt.Sprint("s", i)
		p.Nodes[i].Local = p.Nodes[i].ID
	}
	return p
}

func TestDecisionHasABoundedNumberOfEntries(t *testing.T) {
	r := begun(t, thousands(t, 30_000, ", modes: [drill]"))
	if n := len(next(t, r, 8)); n == 0 || n > 256 {
		t.Errorf("%d entries at once", n)
	}
}

func BenchmarkDecide(b *testing.B) {
	for name, more := range map[string]string{"ready": "", "locked": ", locks: ['disk/${run.id}']"} {
		b.Run(name, func(b *testing.B) {
			r := run.Begin("r1", thousands(b, 30_000, more))
			if err := r.Advance(run.Entry{Seq: 1, What: run.Started, By: "ann"}); err != nil {
				b.Fatal(err)
			}
			for _, e := range r.Decide(newWorld().now, nil, 8).Entries {
				e.Seq = r.Seq + 1
				if err := r.Advance(e); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				r.Decide(newWorld().now, nil, 9)
			}
		})
	}
}

func TestAttemptThatWasPostedIsFollowedByEveryRunnerAndNeverInDoubt(t *testing.T) {
	r := begun(t, compiled(t, step("one", "onFailure: compensate")))
	e, ok := r.Posting(newWorld().now)
	if !ok || !e.Posted || e.Node != "one" || e.Attempt != 1 || e.Call.Target != "one" {
		t.Fatalf("%+v, %t", e, ok)
	}
	advance(t, r, e)
	for term := int64(1); term < 4; term++ {
		advance(t, r, run.Entry{What: run.Took, Term: term})
		status(t, r, "one", run.Acting)
		if under := r.UnderWay(); len(under) != 1 || !under[0].Posted {
			t.Fatalf("under way: %+v", under)
		}
		if n := r.Decide(newWorld().now, nil, 8); len(n.Entries) != 0 || len(n.Probes) != 0 {
			t.Fatalf("%+v", n)
		}
	}
	// What was posted ends first, also where a person ends the run.
	advance(t, r, run.Entry{What: run.Cancelled, By: "ann", Text: "not today"})
	status(t, r, "one", run.Acting)
	advance(t, r, end("one", run.Done))
	if last := next(t, r, 8); len(last) != 1 || last[0].What != run.Finished || last[0].Outcome != run.Broken {
		t.Fatalf("%+v", last)
	}
}

func TestNextAttemptAfterOneThatWasPostedIsAnOrdinaryOne(t *testing.T) {
	r := begun(t, compiled(t, step("one", "retry: {times: 1, pause: 0s}")))
	e, _ := r.Posting(newWorld().now)
	advance(t, r, e)
	advance(t, r, end("one", run.Failed))
	if again := next(t, r, 8); len(again) != 1 || again[0].Posted || again[0].Attempt != 2 {
		t.Fatalf("%+v", again)
	}
	advance(t, r, run.Entry{What: run.Took, Term: 7})
	status(t, r, "one", run.Doubtful)
}

func TestOnlyOneActionWithoutLocksIsPostedWithTheStart(t *testing.T) {
	for _, steps := range []string{
		step("one", "locks: [disk]"), step("one", "after: []") + step("two", "after: []"), "- {id: agree, approval: {of: [ops]}}\n",
		"- {id: one, when: 'facts[\"world/x\"].is == \"there\"', act: {driver: world, action: set, target: one, with: {to: done}}}\n",
	} {
		if e, ok := begun(t, compiled(t, steps)).Posting(newWorld().now); ok {
			t.Errorf("%s: %+v", steps, e)
		}
	}
}

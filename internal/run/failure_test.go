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

// said is what somebody says once a step stands so.
type said struct {
	step   string
	status run.Status
	entry  run.Entry
}

// script has people say each line once, in order.
func script(lines ...said) people {
	n := 0
	return func(r *run.Run) []run.Entry {
		if n == len(lines) {
			return nil
		}
		l := lines[n]
		if s, ok := r.Step(l.step); l.step != "" && (!ok || s.Status != l.status && s.Undo.Status != l.status) {
			return nil
		}
		n++
		return []run.Entry{l.entry}
	}
}

const header = "apiVersion: perdure/v1\nkind: Plan\nname: p\nmodes: [takeover, drill]\nsteps:\n"

// step writes one step that sets a thing of its own name.
func step(id, more string) string {
	return fmt.Sprintf("- {id: %[1]s, act: {driver: world, action: set, target: %[1]s, with: {to: done%[3]s}}%[2]s}\n", id, ", "+strings.TrimPrefix(more, "!"), map[bool]string{true: ", fails: 1"}[strings.HasPrefix(more, "!")])
}

const undo = "undo: {driver: world, action: set, target: %s, with: {to: back}}"

func undoable(id, more string) string { return step(id, fmt.Sprintf(undo, id)+", "+more) }

func TestFailuresMeanWhatThePlanSays(t *testing.T) {
	for _, c := range []struct {
		name, steps string
		people      people
	}{
		{
			"stop", step("one", "after: []") + step("bad", "!after: [one]") + step("other", "after: [late]") + "- {id: late, after: [one], wait: {for: 5s}}\n" + step("next", "after: [bad]"),
			script(said{"bad", run.Asking, run.Entry{What: run.Retried, Node: "bad", By: "ann", Text: "the disk is back"}}),
		},
		{
			"ask", step("one", "after: []") + step("bad", "!after: [one], onFailure: ask") + step("other", "after: [late]") + "- {id: late, after: [one], wait: {for: 5s}}\n" + step("next", "after: [bad]"),
			script(said{"bad", run.Asking, run.Entry{What: run.Skipped, Node: "bad", By: "ann", Text: "done last week"}}),
		},
		{"continue", step("bad", "!onFailure: continue") + step("mend", "after: [bad.failed]") + step("next", "after: [bad]"), nil},
		{"compensate", undoable("one", "after: []") + undoable("two", "after: [one]") + step("bad", "!onFailure: compensate, after: [two]") + step("next", "after: [bad]") + step("sweep", "cleanup: true, after: [next]"), nil},
		{
			"taken-over", step("bad", "!onFailure: ask") + step("next", "after: [bad]"),
			script(said{"bad", run.Asking, run.Entry{What: run.TakenOver, Node: "bad", By: "ann", Text: "by the console of the array"}}),
		},
		{
			"cancelled", undoable("one", "after: []") + "- {id: long, wait: {for: 1h}}\n" + step("next", "after: [long]") + step("sweep", "cleanup: true"),
			script(said{"long", run.Open, run.Entry{What: run.Cancelled, By: "ann", Text: "wrong window"}}),
		},
		{
			"cancelled-with-undo", undoable("one", "after: []") + "- {id: ask, manual: {owner: ops, instruction: look}}\n" + step("next", "after: [ask]") + step("sweep", "cleanup: true"),
			script(said{"ask", run.Open, run.Entry{What: run.Cancelled, Undo: true, By: "ann", Text: "wrong window"}}),
		},
		{
			"undo-fails", strings.Replace(undoable("one", "after: []"), "{to: back}", "{to: back, fails: 1}", 1) + "- {id: ask, manual: {owner: ops, instruction: look}}\n",
			script(said{"ask", run.Open, run.Entry{What: run.Cancelled, Undo: true, By: "ann", Text: "wrong window"}},
				said{"one", run.Asking, run.Entry{What: run.Retried, Undo: true, Node: "one", By: "ann"}}),
		},
		{
			"paused", step("one", "after: []") + "- {id: ask, manual: {owner: ops, instruction: look}}\n" + step("next", "after: [ask]"),
			script(said{"ask", run.Open, run.Entry{What: run.Paused, By: "ann"}}, said{"ask", run.Open, run.Entry{What: run.Completed, Node: "ask", By: "bob"}},
				said{"next", run.Ready, run.Entry{What: run.Resumed, By: "ann"}}),
		},
		{
			"declined", "- {id: ask, approval: {of: [ops]}}\n" + step("next", "after: [ask]") + step("after", "after: [next]"),
			script(said{"ask", run.Open, run.Entry{What: run.Declined, Node: "ask", By: "bob", For: "ops", Text: "not today"}}),
		},
		{
			"declined-branch", "- {id: ask, approval: {of: [ops]}}\n" + step("yes", "after: [ask]") + step("no", "after: [ask.declined]") + step("join", "after: [yes, no]"),
			script(said{"ask", run.Open, run.Entry{What: run.Declined, Node: "ask", By: "bob", For: "ops", Text: "not today"}}),
		},
		{
			"late-people", "- {id: ask, timeout: 10m, onFailure: continue, manual: {owner: ops, instruction: look}}\n" + step("next", "after: [ask]"), nil,
		},
		{"expected", "- {id: look, onFailure: continue, check: {driver: world, action: look, target: x, expect: 'result.is == \"there\"'}}\n", nil},
		{"senseless", "- {id: one, onFailure: continue, when: 'params.size() > 0 || 1/0 == 1', act: {driver: world, action: set, target: x}}\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := &runner{t: t, w: newWorld(), id: "r1", program: programOf(t, header+c.steps, plan.Takeover), people: c.people}
			r := x.start(nil)
			golden(t, c.name+".txt", standing(r)+"\n"+strings.Join(x.w.effects, "\n")+"\n")
			again, err := run.Replay("r1", x.program, x.journal)
			if err != nil || standing(again) != standing(r) {
				t.Errorf("the journal says something else: %v\n%s", err, standing(again))
			}
		})
	}
}

func TestOnlyOneStepAtATimeHoldsALock(t *testing.T) {
	program := programOf(t, header+step("one", "after: [], locks: [disk]")+step("two", "after: [], locks: [disk, net]")+step("three", "after: [], locks: [net]"), plan.Takeover)
	r := begun(t, program)
	first := r.Decide(newWorld().now, nil, 8)
	if len(first.Entries) != 2 || first.Entries[0].Node != "one" || first.Entries[1].Node != "three" {
		t.Fatalf("began: %+v", first.Entries)
	}
	advance(t, r, first.Entries...)
	if err := r.Advance(run.Entry{Seq: r.Seq + 1, What: run.Began, Node: "two", Attempt: 1, Locks: []string{"disk"}}); errs.KindOf(err) != errs.Conflict {
		t.Errorf("a held lock was given away: %v", err)
	}
}

func TestNoMoreActionsBeginThanThereIsRoom(t *testing.T) {
	var steps strings.Builder
	for i := range 20 {
		steps.WriteString(step(fmt.Sprintf("s%d", i), "after: []"))
	}
	r := begun(t, programOf(t, header+steps.String(), plan.Takeover))
	next := r.Decide(newWorld().now, nil, 8)
	if len(next.Entries) != 8 {
		t.Fatalf("%d begin", len(next.Entries))
	}
	advance(t, r, next.Entries...)
	if more := r.Decide(newWorld().now, nil, 8); len(more.Entries) != 0 {
		t.Errorf("%d more begin", len(more.Entries))
	}
}

func TestApprovalsAreOfOthersAndOfDifferentPeople(t *testing.T) {
	r := begun(t, programOf(t, header+"- {id: ask, approval: {of: [ops, board], need: 2, order: serial}}\n", plan.Takeover))
	advance(t, r, r.Decide(newWorld().now, nil, 8).Entries...)
	vote := func(by, on string, what run.What) error {
		return r.Advance(run.Entry{Seq: r.Seq + 1, What: what, Node: "ask", By: by, For: on})
	}
	for _, c := range []struct {
		why, by, on string
		kind        errs.Kind
	}{
		{"who started approves", "ann", "ops", errs.Refused},
		{"out of turn", "bob", "board", errs.Conflict},
		{"not asked", "bob", "press", errs.Refused},
		{"", "bob", "ops", ""},
		{"twice", "bob", "board", errs.Refused},
		{"", "cid", "board", ""},
		{"after the end", "dan", "board", errs.Conflict},
	} {
		if err := vote(c.by, c.on, run.Approved); errs.KindOf(err) != c.kind {
			t.Errorf("%s by %s for %s: %v, want %q", c.why, c.by, c.on, err, c.kind)
		}
	}
	if s, _ := r.Step("ask"); s.Status != run.DoneStep || len(s.Votes) != 2 {
		t.Errorf("%+v", s)
	}
}

func TestEntriesThatCannotFollowChangeNothing(t *testing.T) {
	r := begun(t, programOf(t, header+step("one", "after: []")+"- {id: task, manual: {owner: ops, instruction: x, fields: [{name: n, type: number, required: true}]}}\n", plan.Takeover))
	before := standing(r)
	for _, e := range []run.Entry{
		{What: run.Started},
		{What: "told"},
		{What: run.Began, Node: "none", Attempt: 1},
		{What: run.Began, Node: "task", Attempt: 1},
		{What: run.Began, Node: "one", Attempt: 2},
		{What: run.Ended, Node: "one", Attempt: 1, Outcome: run.Done},
		{What: run.Skipped, Node: "one"},
		{What: run.Retried, Node: "one"},
		{What: run.TakenOver, Node: "one", Text: "x"},
		{What: run.Approved, Node: "one", By: "bob"},
		{What: run.Completed, Node: "task", By: "bob"},
		{What: run.Cancelled, By: "ann"},
		{What: run.Took, Term: 0},
		{What: run.Began, Node: "one", Undo: true, Attempt: 1},
		{What: run.Passed, Node: "task"},
		{What: run.Entered, Node: "one"},
		{What: run.Opened, Node: "task"},
	} {
		e.Seq = r.Seq + 1
		if err := r.Advance(e); err == nil || errs.KindOf(err) == errs.Internal {
			t.Errorf("%s of %s: %v", e.What, e.Node, err)
		}
	}
	if err := r.Advance(run.Entry{Seq: r.Seq + 2, What: run.Paused}); errs.KindOf(err) != errs.Conflict {
		t.Errorf("a gap in the journal: %v", err)
	}
	if standing(r) != before || r.Seq != 1 {
		t.Errorf("changed:\n%s", standing(r))
	}
}

func begun(t *testing.T, p *plan.Program) *run.Run {
	t.Helper()
	r := run.Begin("r1", p)
	params, err := p.Bind(nil)
	if err != nil {
		t.Fatal(err)
	}
	advance(t, r, run.Entry{What: run.Started, By: "ann", Params: params})
	return r
}

func advance(t *testing.T, r *run.Run, entries ...run.Entry) {
	t.Helper()
	for _, e := range entries {
		e.Seq = r.Seq + 1
		if err := r.Advance(e); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStartBeforeWhatItAnswersToIsRefused(t *testing.T) {
	p := programOf(t, "apiVersion: perdure/v1\nkind: Plan\nname: p\nmodes: [takeover]\nsteps: [{id: a, wait: {for: 1s}}]", plan.Takeover)
	at := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		disrupted, detected time.Duration
		want                string
	}{
		{time.Second, 0, "cannot have been disrupted"},
		{-time.Minute, time.Second, "cannot have been detected at"},
		{-time.Second, -time.Minute, "cannot have been detected before"},
		{-time.Minute, -time.Second, ""},
		{0, 0, ""},
	} {
		e := run.Entry{Seq: 1, At: at, What: run.Started, DisruptedAt: at.Add(c.disrupted), DetectedAt: at.Add(c.detected)}
		r := run.Begin("r1", p)
		err := r.Advance(e)
		if c.want == "" && (err != nil || !r.DisruptedAt.Equal(e.DisruptedAt) || !r.DetectedAt.Equal(e.DetectedAt)) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || r.Phase != run.New) {
			t.Errorf("%v: %v, %s", c, err, r.Phase)
		}
	}
}

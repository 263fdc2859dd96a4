package run_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/errs"
	"perdure/internal/plan"
	"perdure/internal/run"
)

// tasked is a run of ann with a task of each of two participants, and one of a role.
func tasked(t *testing.T, onFailure plan.OnFailure) *run.Run {
	t.Helper()
	r := run.Begin("r1", programOf(t, `apiVersion: perdure/v1
kind: Plan
name: p
modes: [takeover]
steps:
- {id: north, title: North is ready, after: [], onFailure: `+string(onFailure)+`, manual: {owner: branch-north, instruction: Hold orders., fields: [{name: held, type: number, required: true}]}}
- {id: south, after: [], manual: {owner: branch-south, instruction: Hold orders.}}
- {id: count, after: [north], manual: {owner: branch-north, instruction: Count.}}
- {id: look, after: [], manual: {owner: operator, instruction: Look.}}
`, plan.Takeover))
	took(t, r, run.Entry{By: "ann", What: run.Started})
	for _, id := range []string{"north", "south", "look"} {
		took(t, r, run.Entry{By: "node:a", What: run.Opened, Node: id, Text: "Hold orders."})
	}
	return r
}

func task(by string, what run.What, node string) run.Entry {
	return run.Entry{By: by, What: what, Node: node, Text: "because", For: "branch-north"}
}

// of is somebody of a participant, without any role.
func of(name, participant string) run.Person {
	return run.Person{Name: name, Participant: participant, Holds: func(string) bool { return false }}
}

func steps(asks []run.Ask) string {
	var ids []string
	for _, a := range asks {
		ids = append(ids, a.Step)
	}
	return strings.Join(ids, " ")
}

func TestTaskIsForEverybodyOfItsParticipantAndForNobodyOfAnother(t *testing.T) {
	r := tasked(t, plan.Ask)
	operator := of("op", "")
	operator.Holds = func(role string) bool { return role == "operator" }
	for _, c := range []struct {
		who  run.Person
		want string
	}{
		{of("li", "branch-north"), "north"},
		{of("wu", "branch-north"), "north"},
		{of("qi", "branch-south"), "south"},
		{of("branch-north", "branch-south"), "south"}, // a name is no participant
		{of("branch-north", ""), "north"},             // who belongs to none is asked by name
		{of("zoe", ""), ""},
		{operator, "look"},
	} {
		if got := steps(r.WaitsFor(c.who)); got != c.want {
			t.Errorf("%s of %q: %q waits, not %q", c.who.Name, c.who.Participant, got, c.want)
		}
	}
}

func TestAcknowledgedTaskSaysByWhomAndStaysOpen(t *testing.T) {
	r := tasked(t, plan.Ask)
	took(t, r, task("li", run.Acknowledged, "north"))
	refused(t, r, task("wu", run.Acknowledged, "north"), errs.Conflict)
	refused(t, r, task("li", run.Acknowledged, "count"), errs.Conflict) // it was not asked yet
	status(t, r, "north", run.Open)
	asks := r.WaitsFor(of("wu", "branch-north"))
	if len(asks) != 1 || asks[0].AcknowledgedBy != "li" || asks[0].Acknowledged.IsZero() || len(asks[0].Fields) != 1 {
		t.Errorf("%+v", asks)
	}
	done := task("wu", run.Completed, "north")
	done.Result = map[string]any{"held": 3.0}
	took(t, r, done)
	status(t, r, "north", run.DoneStep)
	refused(t, r, task("li", run.Acknowledged, "north"), errs.Conflict)
}

func TestDeclinedTaskIsAFailureOfItsStep(t *testing.T) {
	r := tasked(t, plan.Ask)
	silent := task("li", run.Declined, "north")
	silent.Text = ""
	refused(t, r, silent, errs.Invalid)
	took(t, r, task("li", run.Declined, "north"))
	status(t, r, "north", run.Asking)
	status(t, r, "south", run.Open)
	s, _ := r.Step("north")
	if s.Error != "declined by li: because" {
		t.Errorf("it says %q", s.Error)
	}
	refused(t, r, task("li", run.Completed, "north"), errs.Conflict)
	// Asked again, nothing that was answered before counts.
	took(t, r, run.Entry{By: "ann", What: run.Retried, Node: "north"}, run.Entry{By: "node:a", What: run.Opened, Node: "north"})
	if asks := r.WaitsFor(of("li", "branch-north")); len(asks) != 1 || asks[0].AcknowledgedBy != "" {
		t.Errorf("%+v", asks)
	}
	took(t, r, task("li", run.Acknowledged, "north"))

	r = tasked(t, plan.Stop)
	took(t, r, task("li", run.Declined, "north"))
	if r.Phase != run.Stopped {
		t.Errorf("the run is %s", r.Phase)
	}
	r = tasked(t, plan.Continue)
	took(t, r, task("li", run.Declined, "north"))
	status(t, r, "north", run.FailedOn)
	status(t, r, "count", run.Ready)
}

func TestProgressSaysWhoHasNotAnsweredAndSinceWhen(t *testing.T) {
	r := tasked(t, plan.Ask)
	took(t, r, task("li", run.Acknowledged, "north"))
	second := func(n int64) time.Time { return time.Unix(n, 0).UTC() }
	want := []run.Progress{
		{Owner: "branch-north", Tasks: []run.TaskOf{
			{Step: "north", Title: "North is ready", State: run.TaskAcknowledged, Since: second(4), By: "li"},
			{Step: "count", State: run.TaskAhead},
		}},
		{Owner: "branch-south", Tasks: []run.TaskOf{{Step: "south", State: run.TaskUnanswered, Since: second(2)}}},
		{Owner: "operator", Tasks: []run.TaskOf{{Step: "look", State: run.TaskUnanswered, Since: second(3)}}},
	}
	if diff := cmp.Diff(want, r.Tasks()); diff != "" {
		t.Error(diff)
	}
	done := task("wu", run.Completed, "north")
	done.Result = map[string]any{"held": 3.0}
	took(t, r, done, run.Entry{By: "qi", What: run.Declined, Node: "south", Text: "no people here"}, run.Entry{By: "ann", What: run.Skipped, Node: "look", Text: "was seen"})
	want[0].Tasks[0] = run.TaskOf{Step: "north", Title: "North is ready", State: run.TaskDone, Since: second(5), By: "wu"}
	want[1].Tasks[0] = run.TaskOf{Step: "south", State: run.TaskDeclined, Since: second(6), By: "qi", Reason: "declined by qi: no people here"}
	want[2].Tasks[0] = run.TaskOf{Step: "look", State: run.TaskOver, Since: second(7)}
	if diff := cmp.Diff(want, r.Tasks()); diff != "" {
		t.Error(diff)
	}
}

func TestApprovalMayBeOfAParticipant(t *testing.T) {
	r := opened(t, "{of: [branch-north, branch-south], need: 2}", plan.Takeover)
	li, qi := of("li", "branch-north"), of("qi", "branch-south")
	// Of whom belongs to a participant no plan asks by name, but people do.
	zoe := of("branch-north", "branch-east")
	if a := r.WaitsFor(zoe); len(a) != 0 {
		t.Errorf("%+v", a)
	}
	took(t, r, delegate("wu", "branch-north", "branch-west"))
	if a := r.WaitsFor(of("branch-west", "branch-east")); len(a) != 1 || a[0].From != "wu" {
		t.Errorf("%+v", a)
	}
	if a := r.WaitsFor(li); len(a) != 1 || a[0].For != "branch-north" {
		t.Errorf("%+v", a)
	}
	if a := r.WaitsFor(of("branch-north", "branch-north")); len(a) != 1 || a[0].For != "branch-north" {
		t.Errorf("%+v", a)
	}
	took(t, r, approve("li", "branch-north"))
	if a := r.WaitsFor(li); len(a) != 0 {
		t.Errorf("%+v", a)
	}
	if a := r.WaitsFor(qi); len(a) != 1 || a[0].For != "branch-south" {
		t.Errorf("%+v", a)
	}
}

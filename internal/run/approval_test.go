package run_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/errs"
	"perdure/internal/plan"
	"perdure/internal/run"
)

// opened is a run of ann that asks with the approval.
func opened(t *testing.T, approval string, mode plan.Mode) *run.Run {
	t.Helper()
	r := run.Begin("r1", programOf(t, `apiVersion: perdure/v1
kind: Plan
name: p
modes: [takeover, emergency]
steps:
- {id: ask, approval: `+approval+`}
- {id: task, manual: {owner: desk, instruction: Count., fields: [{name: n, type: number, required: true}]}}
`, mode))
	took(t, r, run.Entry{By: "ann", What: run.Started}, run.Entry{By: "node:a", What: run.Opened, Node: "ask", Text: "Go?"})
	return r
}

// took: the run takes these entries, one after the other.
func took(t *testing.T, r *run.Run, entries ...run.Entry) {
	t.Helper()
	for _, e := range entries {
		e.Seq, e.At = r.Seq+1, time.Unix(int64(r.Seq), 0).UTC()
		if err := r.Advance(e); err != nil {
			t.Fatalf("%s by %s: %v", e.What, e.By, err)
		}
	}
}

func approve(by, behalf string) run.Entry {
	return run.Entry{By: by, What: run.Approved, Node: "ask", For: behalf}
}

func delegate(by, behalf, to string) run.Entry {
	return run.Entry{By: by, What: run.Delegated, Node: "ask", For: behalf, To: to, Text: "on leave"}
}

func add(behalf string) run.Entry {
	return run.Entry{By: "op", What: run.AddedApprover, Node: "ask", For: behalf}
}

func TestDelegateDecidesInPlaceOfWhoDelegated(t *testing.T) {
	r := opened(t, "{of: [operations, business], need: 2}", plan.Takeover)
	took(t, r, delegate("bob", "operations", "cid"))
	refused(t, r, approve("bob", "operations"), errs.Refused)
	refused(t, r, approve("bob", "business"), errs.Refused)
	took(t, r, approve("cid", "cid"))
	refused(t, r, approve("cid", "operations"), errs.Refused)
	took(t, r, approve("dan", "business"))
	status(t, r, "ask", run.DoneStep)
	s, _ := r.Step("ask")
	if v := s.Votes[0]; v.Who != "cid" || v.For != "operations" || v.From != "bob" {
		t.Errorf("the vote of the delegate is %+v", v)
	}
}

func TestNobodyHasTwoVoicesThroughDelegations(t *testing.T) {
	r := opened(t, "{of: [operations, business, eve], need: 3}", plan.Takeover)
	took(t, r, approve("dan", "business"))
	refused(t, r, delegate("bob", "operations", "ann"), errs.Refused) // who started it
	refused(t, r, delegate("ann", "operations", "cid"), errs.Refused)
	refused(t, r, delegate("bob", "operations", "dan"), errs.Refused) // has voted
	refused(t, r, delegate("bob", "operations", "eve"), errs.Refused) // is asked by name
	refused(t, r, delegate("dan", "operations", "cid"), errs.Refused) // has no voice any more
	refused(t, r, delegate("bob", "nobody", "cid"), errs.Refused)
	refused(t, r, delegate("bob", "operations", "bob"), errs.Invalid)
	refused(t, r, delegate("bob", "operations", ""), errs.Invalid)
	silent := delegate("bob", "operations", "cid")
	silent.Text = ""
	refused(t, r, silent, errs.Invalid)
	took(t, r, delegate("bob", "operations", "cid"))
	refused(t, r, delegate("fay", "operations", "cid"), errs.Refused) // a second voice
	refused(t, r, delegate("cid", "cid", "bob"), errs.Refused)        // gave theirs away
	refused(t, r, delegate("bob", "operations", "gus"), errs.Refused) // gives it twice
}

func TestVoiceIsPassedOnABoundedNumberOfTimes(t *testing.T) {
	r := opened(t, "{of: [operations]}", plan.Takeover)
	took(t, r, delegate("p0", "operations", "p1"), delegate("p1", "p1", "p2"), delegate("p2", "p2", "p3"))
	refused(t, r, delegate("p3", "p3", "p4"), errs.Refused)
	for _, who := range []string{"p0", "p1", "p2"} {
		refused(t, r, approve(who, who), errs.Refused)
	}
	took(t, r, approve("p3", "p3"))
	status(t, r, "ask", run.DoneStep)
}

func TestDelegateDecidesInTheTurnOfWhoDelegated(t *testing.T) {
	r := opened(t, "{of: [first, second], need: 2, order: serial}", plan.Takeover)
	took(t, r, delegate("bob", "second", "cid"))
	refused(t, r, approve("cid", "cid"), errs.Conflict)
	took(t, r, approve("dan", "first"), approve("cid", "cid"))
	status(t, r, "ask", run.DoneStep)
}

func TestAddedApproverIsNeededBesideThoseOfThePlan(t *testing.T) {
	for name, votes := range map[string][]run.Entry{
		"before": {approve("dan", "risk"), approve("bob", "operations")},
		"after":  {approve("bob", "operations"), approve("dan", "risk")},
	} {
		r := opened(t, "{of: [operations]}", plan.Takeover)
		took(t, r, add("risk"), votes[0])
		status(t, r, "ask", run.Open)
		took(t, r, votes[1])
		if s, _ := r.Step("ask"); s.Status != run.DoneStep {
			t.Errorf("%s: it is %s", name, s.Status)
		}
	}
	r := opened(t, "{of: [first, second, third], need: 2, order: serial}", plan.Takeover)
	took(t, r, add("risk"), approve("bob", "first"))
	refused(t, r, approve("dan", "risk"), errs.Conflict)
	took(t, r, approve("cid", "second"))
	refused(t, r, approve("eve", "third"), errs.Conflict)
	status(t, r, "ask", run.Open)
	took(t, r, approve("dan", "risk"))
	status(t, r, "ask", run.DoneStep)
}

func TestApproverIsNotAddedWhereThatCouldNotBeMet(t *testing.T) {
	r := opened(t, "{of: [operations, business, eve], need: 3}", plan.Takeover)
	took(t, r, approve("dan", "business"), delegate("bob", "operations", "cid"))
	refused(t, r, add("ann"), errs.Refused)
	refused(t, r, add("dan"), errs.Refused)
	refused(t, r, add("bob"), errs.Refused)
	refused(t, r, add("cid"), errs.Refused)
	refused(t, r, add("eve"), errs.Conflict)
	refused(t, r, add(""), errs.Invalid)
	for i := range 16 {
		took(t, r, add(fmt.Sprint("p", i)))
	}
	refused(t, r, add("p16"), errs.Refused)
}

// What was said to an approval whose time was over counts no more when it is asked anew, as with signed texts (R8): the question may be another one.
func TestApprovalThatIsAskedAnewBeginsWithoutVoices(t *testing.T) {
	r := opened(t, "{of: [operations, business], need: 2}, onFailure: ask", plan.Takeover)
	took(t, r,
		approve("bob", "operations"),
		run.Entry{By: "node:a", What: run.Ended, Node: "ask", Outcome: run.Failed, Error: "nothing came of it within 1h"},
		run.Entry{By: "cid", What: run.Retried, Node: "ask", Text: "once more"},
		run.Entry{By: "node:a", What: run.Opened, Node: "ask", Text: "Go, an hour later?"},
		approve("dan", "business"))
	status(t, r, "ask", run.Open)
	took(t, r, approve("bob", "operations")) // who was asked before is asked again
	status(t, r, "ask", run.DoneStep)
}

func glass(by string) run.Entry {
	return run.Entry{By: by, What: run.BrokeGlass, Node: "ask", Text: "nobody is reached", Factor: time.Unix(1, 0)}
}

func TestGlassIsBrokenInAnEmergencyOnlyWithASecondFactorAndAReason(t *testing.T) {
	refused(t, opened(t, "{of: [operations]}", plan.Takeover), glass("bob"), errs.Refused)
	r := opened(t, "{of: [operations, business], need: 2}", plan.Emergency)
	for change, kind := range map[*run.Entry]errs.Kind{
		{By: "bob", What: run.BrokeGlass, Node: "ask", Text: "why"}:                 errs.Refused,
		{By: "bob", What: run.BrokeGlass, Node: "ask", Factor: time.Unix(1, 0)}:     errs.Invalid,
		{By: "bob", What: run.BrokeGlass, Node: "task", Factor: time.Unix(1, 0)}:    errs.Conflict,
		{By: "cid", What: run.Reviewed, Text: "nothing was broken yet, so refused"}: errs.Conflict,
	} {
		refused(t, r, *change, kind)
	}
	took(t, r, glass("ann")) // who started it may be alone
	status(t, r, "ask", run.DoneStep)
	if s, _ := r.Step("ask"); s.Reason != "glass broken by ann: nobody is reached" {
		t.Errorf("the reason is %q", s.Reason)
	}
}

func TestRunWithBrokenGlassWaitsForTheReviewOfAnotherPerson(t *testing.T) {
	r := opened(t, "{of: [operations]}", plan.Emergency)
	took(t, r, glass("bob"))
	review := run.Entry{By: "cid", What: run.Reviewed, Text: "justified"}
	refused(t, r, review, errs.Conflict) // it goes on
	took(t, r, run.Entry{By: "node:a", What: run.Opened, Node: "task"}, run.Entry{By: "desk", What: run.Completed, Node: "task", Result: map[string]any{"n": 1.0}}, run.Entry{By: "node:a", What: run.Finished, Outcome: run.Done})
	for _, who := range []string{"ann", "bob"} {
		own := review
		own.By = who
		refused(t, r, own, errs.Refused)
	}
	empty := review
	empty.Text = ""
	refused(t, r, empty, errs.Invalid)
	nobody := func(string) bool { return false }
	if got := r.WaitsFor(run.Person{Name: "cid", Holds: nobody, Reviews: true}); len(got) != 1 || got[0].Why != run.Review {
		t.Errorf("for a reviewer waits %+v", got)
	}
	for _, p := range []run.Person{{Name: "bob", Holds: nobody, Reviews: true}, {Name: "cid", Holds: nobody}} {
		if got := r.WaitsFor(p); len(got) != 0 {
			t.Errorf("for %s waits %+v", p.Name, got)
		}
	}
	took(t, r, review)
	if len(r.Glass) != 0 || r.Phase != run.Over {
		t.Errorf("after the review: %v, %s", r.Glass, r.Phase)
	}
	refused(t, r, review, errs.Conflict)
	refused(t, r, run.Entry{By: "bob", What: run.Paused}, errs.Conflict)
}

func TestRunIsAttestedOnceItIsOverByEachPersonOnceAndNotByWhoStartedIt(t *testing.T) {
	r := opened(t, "{of: [operations]}", plan.Takeover)
	attest := func(by string) run.Entry { return run.Entry{By: by, What: run.Attested, For: "auditor"} }
	refused(t, r, attest("cid"), errs.Conflict) // it goes on
	took(t, r, run.Entry{By: "bob", What: run.Cancelled, Text: "enough"}, run.Entry{By: "node:a", What: run.Finished, Outcome: run.Broken})
	refused(t, r, attest("ann"), errs.Refused)
	objection := run.Entry{By: "dan", What: run.Attested, Outcome: run.Refused}
	refused(t, r, objection, errs.Invalid) // it does not say where
	odd := attest("cid")
	odd.Outcome = run.Done
	refused(t, r, odd, errs.Invalid)
	took(t, r, attest("cid"))
	refused(t, r, attest("cid"), errs.Conflict)
	objection.Text = "the totals were counted later"
	took(t, r, objection)
	want := []run.Attestation{{By: "cid", For: "auditor", At: r.Attested[0].At}, {By: "dan", At: r.Attested[1].At, Objects: true, Text: "the totals were counted later"}}
	if !slices.Equal(r.Attested, want) || r.Phase != run.Over || r.Outcome != run.Broken {
		t.Errorf("%+v, %s %s", r.Attested, r.Phase, r.Outcome)
	}
}

func TestWhatWaitsForAPersonIsWhatTheyMayAnswerNow(t *testing.T) {
	r := opened(t, "{of: [operations, business, eve], need: 3, order: serial}", plan.Takeover)
	waits := func(name string, roles ...string) string {
		t.Helper()
		var out strings.Builder
		for _, a := range r.WaitsFor(run.Person{Name: name, Holds: func(role string) bool { return slices.Contains(roles, role) }}) {
			fmt.Fprintf(&out, "%s %s for %s from %q since %d; ", a.Why, a.Step, a.For, a.From, a.Since.Unix())
		}
		return out.String()
	}
	want := func(got, want string) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	want(waits("bob", "operations", "business"), `approval ask for operations from "" since 1; `)
	want(waits("ann", "operations"), "")
	want(waits("dan", "business"), "")
	want(waits("eve"), "")
	took(t, r, delegate("bob", "operations", "cid"))
	want(waits("bob", "operations"), "")
	want(waits("cid"), `approval ask for operations from "bob" since 1; `)
	took(t, r, approve("cid", "cid"))
	want(waits("cid", "operations", "business"), "")
	want(waits("dan", "business"), `approval ask for business from "" since 1; `)
	took(t, r, approve("dan", "business"))
	want(waits("eve"), `approval ask for eve from "" since 1; `)
	took(t, r, approve("eve", "eve"), run.Entry{By: "node:a", What: run.Opened, Node: "task", Text: "Count."})
	want(waits("desk"), `task task for desk from "" since 6; `)
	want(waits("ann", "desk"), `task task for desk from "" since 6; `)
	want(waits("bob"), "")
}

func TestFailedStepWaitsForWhoSteers(t *testing.T) {
	r := opened(t, "{of: [operations], }", plan.Takeover)
	took(t, r, run.Entry{By: "node:a", What: run.Ended, Node: "ask", Outcome: run.Failed, Error: "nobody came"})
	p := run.Person{Name: "bob", Holds: func(string) bool { return true }}
	if got := r.WaitsFor(p); len(got) != 0 {
		t.Errorf("waits %+v", got)
	}
	p.Steers = true
	if got := r.WaitsFor(p); len(got) != 1 || got[0].Why != run.Failure || got[0].Text != "nobody came" || got[0].Since.Unix() != 2 {
		t.Errorf("waits %+v", got)
	}
}

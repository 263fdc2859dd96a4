package api_test

import (
	"archive/zip"
	"bytes"
	"strings"
	"testing"
	"time"

	"perdure/internal/evaluation"
	"perdure/internal/plan"
	"perdure/internal/rectification"
	"perdure/internal/run"
	"perdure/internal/wire"
)

const probe = `
apiVersion: perdure/v1
kind: Plan
name: probe
modes: [drill]
steps:
- {id: look, onFailure: ask, check: {driver: unit, action: state, target: u1, expect: result.accepting}}
- {id: count, manual: {owner: operator, instruction: Count.}}
`

// probed is a run of plan probe that is over; one that failed was helped along by a person.
func (n *node) probed(id string, fails bool) {
	n.t.Helper()
	n.as("operator").want(200, "POST", "/api/v1/runs", wire.StartRun{Plan: "probe", Mode: plan.Drill, ID: id})
	look := run.Entry{By: "node:a", What: run.Began, Node: "look", Attempt: 1, Call: &plan.Call{Driver: "unit", Action: "state", Target: "u1"}}
	n.journal(id, look)
	ended := run.Entry{By: "node:a", What: run.Ended, Node: "look", Attempt: 1, Outcome: run.Done}
	if fails {
		ended.Outcome, ended.Error = run.Failed, "it is silent"
	}
	n.journal(id, ended)
	if fails {
		n.as("operator").want(200, "POST", "/api/v1/runs/"+id+"/words", wire.RunWord{What: run.Skipped, Step: "look", Text: "not today"})
	}
	n.journal(id, run.Entry{By: "node:a", What: run.Opened, Node: "count", Text: "Count."})
	n.as("operator").want(200, "POST", "/api/v1/runs/"+id+"/words", wire.RunWord{What: run.Completed, Step: "count"})
	n.journal(id, run.Entry{By: "node:a", What: run.Finished, Outcome: run.Done})
}

func (n *node) sheet(r reply) rectification.View {
	n.t.Helper()
	if r.status != 200 {
		n.t.Fatalf("%d: %s", r.status, r.body)
	}
	var v rectification.View
	r.into(n.t, &v)
	return v
}

// TestWhatARunHasShownIsPutRightByWhoMayAndClosedByARetest walks one item to its end, and asks of every word who may say it.
func TestWhatARunHasShownIsPutRightByWhoMayAndClosedByARetest(t *testing.T) {
	n := start(t)
	n.manifestOf(probe)
	bob := n.person("bob", wire.Viewer)
	viewer, driller, operator, commander, auditor := n.as("viewer"), n.as("driller"), n.as("operator"), n.as("commander"), n.as("auditor")
	const sheet, words = "/api/v1/runs/r1/rectification", "/api/v1/runs/r1/rectification/words"
	operator.want(200, "POST", "/api/v1/runs", wire.StartRun{Plan: "probe", Mode: plan.Drill, ID: "r0"})
	driller.want(409, "POST", "/api/v1/runs/r0/rectification", nil) // it is not over
	driller.want(404, "POST", "/api/v1/runs/none/rectification", nil)
	n.probed("r1", true)
	n.probed("early", false)
	viewer.want(404, "GET", sheet, nil)
	viewer.want(403, "POST", sheet, nil)
	v := n.sheet(driller.do("POST", sheet, nil))
	if len(v.Items) != 1 || v.Open != 1 || v.Items[0].Problem.Kind != evaluation.OfCriterion || v.Items[0].Problem.Step != "look" {
		t.Fatalf("%+v", v)
	}
	if again := n.sheet(operator.do("POST", sheet, nil)); again.Revision != v.Revision || again.OpenedBy != v.OpenedBy {
		t.Errorf("it was opened twice: %+v", again)
	}
	due := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	corrected := wire.RectificationWord{What: rectification.Correct, Item: 1, Text: "the network was mended"}
	viewer.want(403, "POST", words, corrected)
	bob.want(403, "POST", words, corrected) // it is not his yet
	operator.want(404, "POST", words, wire.RectificationWord{What: rectification.Assign, Item: 1, Owner: "nobody"})
	operator.want(404, "POST", words, wire.RectificationWord{What: rectification.Assign, Item: 9, Owner: "bob"})
	operator.want(422, "POST", words, wire.RectificationWord{What: "mended", Item: 1})
	if items := operator.inbox(); len(items) != 1 || items[0].Why != "assignment" || items[0].Problem == nil {
		t.Errorf("%+v", items)
	}
	if v = n.sheet(operator.do("POST", words, wire.RectificationWord{What: rectification.Assign, Item: 1, Owner: "bob", Due: due})); !v.Items[0].Due.Equal(due) {
		t.Errorf("%+v", v)
	}
	if items := bob.inbox(); len(items) != 1 || items[0].Why != "rectification" || !items[0].Due.Equal(due) || items[0].Step != "1" {
		t.Errorf("%+v", items)
	}
	auditor.want(409, "POST", words, wire.RectificationWord{What: rectification.Verify, Item: 1, Run: "early"}) // nothing was put right
	n.sheet(bob.do("POST", words, corrected))
	operator.want(409, "POST", words, wire.RectificationWord{What: rectification.Verify, Item: 1, Run: "early"}) // it began before
	operator.want(404, "POST", words, wire.RectificationWord{What: rectification.Verify, Item: 1, Run: "none"})
	n.probed("again", true)
	if v = n.sheet(auditor.do("POST", words, wire.RectificationWord{What: rectification.Verify, Item: 1, Run: "again"})); v.Items[0].State != rectification.Open {
		t.Errorf("a re-test that shows it again closes nothing: %+v", v.Items)
	}
	n.sheet(bob.do("POST", words, corrected))
	n.probed("r2", false)
	bob.want(403, "POST", words, wire.RectificationWord{What: rectification.Verify, Item: 1, Run: "r2"})
	if v = n.sheet(auditor.do("POST", words, wire.RectificationWord{What: rectification.Verify, Item: 1, Run: "r2"})); v.Items[0].State != rectification.Closed || v.Open != 0 {
		t.Errorf("%+v", v)
	}
	// What people add ends by what people see, or by a risk that a commander takes.
	n.sheet(auditor.do("POST", words, wire.RectificationWord{What: rectification.Add, Text: "the list is old"}))
	taken := wire.RectificationWord{What: rectification.Accept, Item: 2, Text: "replaced next year"}
	operator.want(403, "POST", words, taken)
	if v = n.sheet(commander.do("POST", words, taken)); v.Items[1].State != rectification.Accepted {
		t.Errorf("%+v", v)
	}
	for query, want := range map[string]int{"": 1, "?open=true": 0} {
		var all []rectification.View
		viewer.do("GET", "/api/v1/rectifications"+query, nil).into(t, &all)
		if len(all) != want {
			t.Errorf("%q lists %d", query, len(all))
		}
	}
}

// TestDocumentsOfRectificationAreWritten in every format and both languages, from what the store has.
func TestDocumentsOfRectificationAreWritten(t *testing.T) {
	n := start(t)
	n.manifestOf(probe)
	n.probed("r1", true)
	viewer := n.as("viewer")
	if page := string(viewer.want(200, "GET", "/api/v1/runs/r1/report?as=summary&lang=zh-CN", nil).body); !strings.Contains(page, "演练总结") || !strings.Contains(page, "待整改问题") {
		t.Errorf("%s", page)
	}
	n.sheet(n.as("operator").do("POST", "/api/v1/runs/r1/rectification", nil))
	for _, path := range []string{"/api/v1/runs/r1/report?as=summary&at=2026-12-31T00:00:00Z", "/api/v1/rectifications/document?at=2026-12-31T00:00:00Z", "/api/v1/rectifications/document?run=r1&at=2026-12-31T00:00:00Z"} {
		for _, lang := range []string{"en", "zh-CN"} {
			page := viewer.want(200, "GET", path+"&lang="+lang, nil).body
			if again := viewer.want(200, "GET", path+"&lang="+lang, nil).body; !bytes.Equal(page, again) || !bytes.Contains(page, []byte("unit u1")) {
				t.Errorf("%s %s: %s", path, lang, page)
			}
			for _, format := range []string{"docx", "xlsx"} {
				file := viewer.want(200, "GET", path+"&lang="+lang+"&format="+format, nil).body
				if _, err := zip.NewReader(bytes.NewReader(file), int64(len(file))); err != nil {
					t.Errorf("%s %s %s: %v", path, lang, format, err)
				}
			}
		}
	}
	viewer.want(404, "GET", "/api/v1/rectifications/document?run=none", nil)
	viewer.want(422, "GET", "/api/v1/rectifications/document?zone=Moon", nil)
}

package api_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/wire"
)

const showing = `apiVersion: perdure/v1
kind: Participant
name: branch-north
type: branch
---
apiVersion: perdure/v1
kind: Participant
name: branch-south
type: branch
---
apiVersion: perdure/v1
kind: Participant
name: clearing
type: third-party
---
apiVersion: perdure/v1
kind: Plan
name: show
modes: [drill]
steps:
- {id: show, after: [], act: {driver: sandbox, action: show, target: u1, with: {site: b}}, outputs: {rows: result.rows}}
- {id: north, after: [show], manual: {owner: branch-north, instruction: Look.}}
- {id: agree, after: [], approval: {of: [clearing], need: 1, text: "Well?"}}
- {id: south, after: [north], manual: {owner: branch-south, instruction: Look.}}
- {id: gone, after: [south], cleanup: true, act: {driver: sandbox, action: discard, target: u1, with: {site: b}}}
`

// Who is asked something that comes after it has what a run shows, nobody else who only takes part, and of what an attempt left that counts nothing nobody.
func TestWhatARunShowsIsForThoseWhoAreAsked(t *testing.T) {
	n := start(t)
	n.manifestOf(showing)
	n.person("bob", wire.Operator).want(200, "POST", "/api/v1/runs", wire.StartRun{Plan: "show", Mode: plan.Drill, ID: "r"})
	keep := func(text string) run.Attachment {
		t.Helper()
		a, err := run.NewAttachment("u1-bank.customer.csv", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.store.PutAttachment(t.Context(), "r", wire.KeptAttachment{Attachment: a, Step: "show", By: "node:a"}, []byte(text)); err != nil {
			t.Fatal(err)
		}
		return a
	}
	left, shown := keep("of an attempt that nobody heard of"), keep("name\r\n0123\r\n")
	li, qi, cai := n.takesPart("li", "branch-north"), n.takesPart("qi", "branch-south"), n.takesPart("cai", "clearing")
	path := "/api/v1/runs/r/attachments/"
	n.journal("r", run.Entry{By: "node:a", What: run.Opened, Node: "agree", Text: "Well?"})
	n.journal("r", run.Entry{By: "node:a", What: run.Began, Node: "show", Attempt: 1})
	n.journal("r", run.Entry{By: "node:a", What: run.Ended, Node: "show", Attempt: 1, Outcome: run.Done, Attachments: []run.Attachment{shown}})
	li.want(404, "GET", path+shown.SHA256, nil) // is not asked yet
	n.journal("r", run.Entry{By: "node:a", What: run.Opened, Node: "north", Text: "Look."})
	for _, c := range []*caller{li, n.as("viewer")} {
		if r := c.want(200, "GET", path+shown.SHA256, nil); string(r.body) != "name\r\n0123\r\n" || r.head.Get("Content-Type") != "text/csv; charset=utf-8" {
			t.Errorf("%v %q", r.head, r.body)
		}
	}
	cai.want(404, "GET", path+shown.SHA256, nil) // is asked something that has nothing to do with it
	qi.want(404, "GET", path+shown.SHA256, nil)  // is asked only later
	for _, c := range []*caller{li, cai, qi} {
		c.want(404, "GET", path+left.SHA256, nil)
		c.want(404, "GET", "/api/v1/runs/other/attachments/"+shown.SHA256, nil)
		c.want(403, "GET", "/api/v1/runs/r", nil)
	}
	if items := cai.inbox(); len(items) != 1 || items[0].Shown != nil {
		t.Errorf("%+v", items)
	}
	if items := li.inbox(); len(items) != 1 || !cmp.Equal(items[0].Shown, []run.Attachment{shown}) {
		t.Errorf("%+v", items)
	}
	li.want(200, "POST", "/api/v1/runs/r/words", wire.RunWord{What: run.Completed, Step: "north"})
	n.journal("r", run.Entry{By: "node:a", What: run.Opened, Node: "south", Text: "Look."})
	for _, c := range []*caller{li, qi} { // was asked, and is asked now
		c.want(200, "GET", path+shown.SHA256, nil)
	}
	// Nobody hands in a file in the place of what the platform made.
	for _, c := range []*caller{li, n.as("operator")} {
		if r := c.do("PUT", "/api/v1/runs/r/attachments?step=show&name=a.csv", octets("x")); r.status != 404 {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	events, err := n.store.Events(t.Context(), 0, 100, false, wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.What == "run.attached" && e.Who != "node:a" {
			t.Errorf("it was made by %s", e.Who)
		}
	}
}

package api_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/api"
	"perdure/internal/calendar"
	"perdure/internal/manifest"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/wire"
)

const branches = `apiVersion: perdure/v1
kind: Participant
name: branch-north
title: Northern branch
type: branch
contacts: [{name: Desk, phone: "555"}]
---
apiVersion: perdure/v1
kind: Participant
name: branch-south
type: branch
---
apiVersion: perdure/v1
kind: Plan
name: hold
title: Secret plan
modes: [takeover, drill]
steps:
- {id: north, title: North holds, after: [], onFailure: ask, manual: {owner: branch-north, instruction: Hold orders., fields: [{name: held, type: number, required: true}]}}
- {id: south, after: [], onFailure: ask, manual: {owner: branch-south, instruction: Hold your orders.}}
- {id: look, after: [], manual: {owner: operator, instruction: Look.}}
- {id: agree, after: [], approval: {of: [branch-north, commander], need: 2, text: "Go?"}}
`

// manifestOf applies a manifest, and has its windows approved.
func (n *node) manifestOf(text string) {
	n.t.Helper()
	n.raw(text)
	n.inWindow(text)
}

// raw applies a manifest, as a node does.
func (n *node) raw(text string) {
	n.t.Helper()
	m, err := n.store.Manifest(n.t.Context(), wire.Fresh)
	if err != nil {
		n.t.Fatal(err)
	}
	set, _ := manifest.Known(manifest.File{Name: "m", Text: []byte(text)})
	if _, err := n.store.ApplyManifest(n.t.Context(), "test", text, m.Revision, nil, wire.ManifestPlan{Windows: calendar.Digests(set.Calendars)}); err != nil {
		n.t.Fatal(err)
	}
}

// held is a run of bob in which everything was asked.
func (n *node) held(id string, mode plan.Mode) {
	n.t.Helper()
	n.person("bob", wire.Commander).want(200, "POST", "/api/v1/runs", wire.StartRun{Plan: "hold", Mode: mode, ID: id})
	for _, step := range []string{"north", "south", "look", "agree"} {
		n.journal(id, run.Entry{By: "node:a", What: run.Opened, Node: step, Text: "Hold " + step})
	}
}

// takesPart is a caller with a token of role participant.
func (n *node) takesPart(name, participant string) *caller {
	n.t.Helper()
	var made wire.NewToken
	if err := json.Unmarshal(n.as("admin").want(200, "POST", "/api/v1/tokens", map[string]string{"name": name, "role": "participant", "participant": participant}).body, &made); err != nil {
		n.t.Fatal(err)
	}
	return n.as(made.Secret)
}

func TestNoteIsInTheInboxOfWhomItIsToAndOfNobodyElse(t *testing.T) {
	n := start(t)
	n.manifestOf(branches + `---
apiVersion: perdure/v1
kind: Plan
name: telling
modes: [drill]
steps:
- {id: tell, notify: {to: [branch-north, auditor], text: We begin}}
- {id: count, manual: {owner: operator, instruction: Count.}}
`)
	li, wu := n.takesPart("li", "branch-north"), n.takesPart("wu", "branch-south")
	n.person("bob", wire.Commander).want(200, "POST", "/api/v1/runs", wire.StartRun{Plan: "telling", Mode: plan.Drill, ID: "r"})
	n.journal("r", run.Entry{By: "node:a", What: run.Began, Node: "tell", Attempt: 1, Call: &plan.Call{Driver: "notify", Action: "send", With: map[string]any{"text": "We begin at noon"}}})
	n.journal("r", run.Entry{By: "node:a", What: run.Ended, Node: "tell", Attempt: 1, Outcome: run.Done})
	n.as("operator").want(200, "POST", "/api/v1/runs/r/words", wire.RunWord{What: run.Cancelled, Text: "stop"})
	n.journal("r", run.Entry{By: "node:a", What: run.Finished, Outcome: run.Broken})
	for name, c := range map[string]*caller{"li": li, "the auditor": n.as("auditor")} { // the run is over, and they have not read it
		if got := c.inbox(); len(got) != 1 || got[0].Why != run.Note || got[0].Text != "We begin at noon" || got[0].Run != "r" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for name, c := range map[string]*caller{"wu": wu, "a viewer": n.as("viewer")} {
		if got := c.inbox(); len(got) != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	read := wire.RunWord{What: run.Acknowledged, Step: "tell"}
	wu.want(404, "POST", "/api/v1/runs/r/words", read)
	n.as("viewer").want(403, "POST", "/api/v1/runs/r/words", read)
	li.want(200, "POST", "/api/v1/runs/r/words", read)
	n.as("auditor").want(200, "POST", "/api/v1/runs/r/words", read)
	if got := append(li.inbox(), n.as("auditor").inbox()...); len(got) != 0 {
		t.Errorf("what was read is there still: %+v", got)
	}
}

func (c *caller) inbox() []wire.InboxItem {
	c.n.t.Helper()
	var items []wire.InboxItem
	if err := json.Unmarshal(c.want(200, "GET", "/api/v1/inbox", nil).body, &items); err != nil {
		c.n.t.Fatal(err)
	}
	return items
}

func stepsOf(items []wire.InboxItem) string {
	var steps []string
	for _, i := range items {
		steps = append(steps, i.Step)
	}
	return strings.Join(steps, " ")
}

func TestEverybodyOfAParticipantAnswersItsTasksAndNobodyOfAnother(t *testing.T) {
	n := start(t)
	n.manifestOf(branches)
	n.held("r", plan.Drill)
	li, wu, qi := n.takesPart("li", "branch-north"), n.takesPart("wu", "branch-north"), n.takesPart("qi", "branch-south")
	// A name is no participant, and nobody of another one has it. Who has it since before is asked nothing by it.
	n.as("admin").want(422, "POST", "/api/v1/tokens", map[string]string{"name": "branch-north", "role": "participant", "participant": "branch-south"})
	old, err := n.store.CreateToken(t.Context(), "test", wire.AskToken{Name: "branch-north", Role: wire.Participant, Participant: "branch-south"})
	if err != nil {
		t.Fatal(err)
	}
	thief := n.as(old.Secret)
	for c, want := range map[*caller]string{li: "north agree", wu: "north agree", qi: "south", thief: "south"} {
		items := c.inbox()
		if got := stepsOf(items); got != want {
			t.Errorf("%q waits, not %q", got, want)
		}
		for _, i := range items {
			if i.Plan != "" || i.Run != "r" || i.Mode != plan.Drill || i.Text == "" {
				t.Errorf("an item says %+v", i)
			}
		}
	}
	say := func(c *caller, status int, w wire.RunWord) reply {
		t.Helper()
		return c.want(status, "POST", "/api/v1/runs/r/words", w)
	}
	say(qi, 404, wire.RunWord{What: run.Acknowledged, Step: "north"})
	say(thief, 404, wire.RunWord{What: run.Acknowledged, Step: "north"})
	say(thief, 404, wire.RunWord{What: run.Approved, Step: "agree"})
	say(thief, 404, wire.RunWord{What: run.Completed, Step: "north", Result: map[string]any{"held": 1}})
	say(li, 404, wire.RunWord{What: run.Completed, Step: "look"})
	answer := say(li, 200, wire.RunWord{What: run.Acknowledged, Step: "north"})
	var head wire.Run
	if err := json.Unmarshal(answer.body, &head); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wire.Run{ID: "r", Mode: plan.Drill}, head); diff != "" {
		t.Errorf("the answer says more of the run: %s", diff)
	}
	if items := wu.inbox(); items[0].AcknowledgedBy != "li" {
		t.Errorf("%+v", items[0])
	}
	say(wu, 422, wire.RunWord{What: run.Completed, Step: "north"}) // a field is missing
	say(wu, 200, wire.RunWord{What: run.Completed, Step: "north", Result: map[string]any{"held": 4}})
	say(li, 404, wire.RunWord{What: run.Completed, Step: "north", Result: map[string]any{"held": 4}})
	say(qi, 200, wire.RunWord{What: run.Declined, Step: "south", Text: "nobody is here"})
	say(li, 200, wire.RunWord{What: run.Approved, Step: "agree"})
	if items := append(li.inbox(), append(wu.inbox(), qi.inbox()...)...); stepsOf(items) != "agree" { // another person of the same participant counts too
		t.Errorf("what still waits: %q", stepsOf(items))
	}
	journal, err := n.store.Journal(t.Context(), "r", 5)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, e := range journal {
		said = append(said, e.By+" "+string(e.What)+" "+e.Node+" for "+e.For)
	}
	want := []string{"li acknowledged north for branch-north", "wu completed north for branch-north", "qi declined south for branch-south", "li approved agree for branch-north"}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Error(diff)
	}
}

func TestWhoTakesPartLearnsNothingElseOfARun(t *testing.T) {
	n := start(t)
	n.manifestOf(branches + always)
	n.held("r", plan.Takeover)
	li := n.takesPart("li", "branch-north")
	for _, r := range n.Routes() {
		if slices.Contains(r.Access, api.Participant) || slices.Contains(r.Access, api.Health) || slices.Contains(r.Access, api.Anyone) {
			continue
		}
		if got := li.do(r.Method, parameter.ReplaceAllString(r.Path, "r"), nil).status; got != http.StatusForbidden {
			t.Errorf("%s %s: %d", r.Method, r.Path, got)
		}
	}
	// Whether a run or a step is there is not told: the words are those of what is not.
	strange := li.want(404, "POST", "/api/v1/runs/none/words", wire.RunWord{What: run.Completed, Step: "south"}).problem(t).Detail
	other := li.want(404, "POST", "/api/v1/runs/r/words", wire.RunWord{What: run.Completed, Step: "south"}).problem(t).Detail
	missing := li.want(404, "POST", "/api/v1/runs/r/words", wire.RunWord{What: run.Completed, Step: "none"}).problem(t).Detail
	plainly := func(text, name string) string { return strings.Replace(text, name, "X", 1) }
	if plainly(strange, "run none") != plainly(other, "run r") || plainly(other, "south") != plainly(missing, "none") {
		t.Errorf("%q, %q, %q", strange, other, missing)
	}
	for _, what := range []run.What{run.Paused, run.Resumed, run.Cancelled, run.Retried, run.Skipped, run.TakenOver, run.Delegated, run.AddedApprover, run.BrokeGlass, run.Reviewed, run.Started, run.Opened} {
		for _, step := range []string{"", "north", "agree"} {
			li.want(403, "POST", "/api/v1/runs/r/words", wire.RunWord{What: what, Step: step, Text: "because", To: "eve", For: "branch-north"})
		}
	}
	for _, item := range li.inbox() {
		if data, err := json.Marshal(item); err != nil || strings.Contains(string(data), "ecret") || strings.Contains(string(data), "south") {
			t.Errorf("%s, %v", data, err)
		}
	}
}

func TestWhoTakesPartIsToldWhetherItIsInEarnest(t *testing.T) {
	n := start(t)
	n.manifestOf(branches)
	n.person("bob", wire.Commander).want(200, "POST", "/api/v1/runs", wire.StartRun{Plan: "hold", Mode: plan.Takeover, Tabletop: true, ID: "r"})
	n.journal("r", run.Entry{By: "node:a", What: run.Opened, Node: "north", Text: "Hold orders."})
	n.user("li", wire.Viewer)
	n.as("admin").want(200, "PUT", "/api/v1/users/li/participant", map[string]string{"participant": "branch-north"})
	n.as("admin").want(200, "PUT", "/api/v1/users/li/roles", map[string][]wire.Role{"roles": {wire.Participant}})
	c, _ := n.login(wire.Login{User: "li", Password: password})
	if items := c.inbox(); len(items) != 1 || !items[0].Tabletop || items[0].Mode != plan.Takeover {
		t.Errorf("%+v", items)
	}
	c.want(200, "POST", "/api/v1/runs/r/words", wire.RunWord{What: run.Completed, Step: "north"}) // and needs no second factor
}

func TestCommanderSeesWhoHasNotAnsweredAndHowTheyAreReached(t *testing.T) {
	n := start(t)
	n.manifestOf(branches)
	n.held("r", plan.Drill)
	n.takesPart("li", "branch-north").want(200, "POST", "/api/v1/runs/r/words", wire.RunWord{What: run.Acknowledged, Step: "north"})
	var state wire.RunState
	if err := json.Unmarshal(n.as("viewer").want(200, "GET", "/api/v1/runs/r", nil).body, &state); err != nil {
		t.Fatal(err)
	}
	if len(state.Participants) != 2 {
		t.Fatalf("%+v", state.Participants)
	}
	north, south := state.Participants[0], state.Participants[1]
	if north.Owner != "branch-north" || north.Title != "Northern branch" || len(north.Contacts) != 1 || north.Contacts[0].Phone != "555" ||
		north.Tasks[0].State != run.TaskAcknowledged || north.Tasks[0].By != "li" {
		t.Errorf("%+v", north)
	}
	if south.Owner != "branch-south" || south.Tasks[0].State != run.TaskUnanswered || south.Tasks[0].Since.IsZero() {
		t.Errorf("%+v", south)
	}
}

func TestOperatorAnswersForAParticipantThatCallsInItsOwnName(t *testing.T) {
	n := start(t)
	n.manifestOf(branches)
	n.held("r", plan.Drill)
	n.as("viewer").want(403, "POST", "/api/v1/runs/r/words", wire.RunWord{What: run.Declined, Step: "south", Text: "x"})
	n.as("operator").want(200, "POST", "/api/v1/runs/r/words", wire.RunWord{What: run.Completed, Step: "south", Text: "said so on the phone", For: "branch-south"})
	journal, err := n.store.Journal(t.Context(), "r", 5)
	if err != nil || len(journal) != 1 || journal[0].By != "the-operator" || journal[0].For != "" {
		t.Errorf("%+v, %v", journal, err)
	}
}

func TestUserBelongsToADeclaredParticipantAndNeedsASecondFactorForReal(t *testing.T) {
	n := start(t)
	n.manifestOf(branches + always)
	admin := n.as("admin")
	li := wire.NewUser{Name: "li", Roles: []wire.Role{wire.Participant}, Password: password}
	admin.want(422, "POST", "/api/v1/users", li)
	li.Participant = "branch-west"
	if p := admin.want(404, "POST", "/api/v1/users", li).problem(t); !strings.Contains(p.Detail, "allowed: branch-north, branch-south") {
		t.Error(p.Detail)
	}
	admin.want(404, "POST", "/api/v1/tokens", map[string]string{"name": "x", "role": "participant", "participant": "branch-west"})
	li.Participant = "branch-north"
	admin.want(200, "POST", "/api/v1/users", li)
	admin.want(422, "PUT", "/api/v1/users/li/participant", map[string]string{"participant": ""})
	n.held("real", plan.Takeover)
	n.held("drill", plan.Drill)
	c, _ := n.login(wire.Login{User: "li", Password: password})
	c.want(200, "POST", "/api/v1/runs/real/words", wire.RunWord{What: run.Acknowledged, Step: "north"})
	done := wire.RunWord{What: run.Completed, Step: "north", Result: map[string]any{"held": 1}}
	c.want(403, "POST", "/api/v1/runs/real/words", done)
	c.want(200, "POST", "/api/v1/runs/drill/words", done)
	// Another participant counts from the next request.
	admin.want(200, "PUT", "/api/v1/users/li/participant", map[string]string{"participant": "branch-south"})
	if got := stepsOf(c.inbox()); got != "south south" {
		t.Errorf("%q waits", got)
	}
	admin.want(200, "PUT", "/api/v1/users/li/roles", map[string][]wire.Role{"roles": {wire.Viewer}})
	admin.want(200, "PUT", "/api/v1/users/li/participant", map[string]string{"participant": ""})
	admin.want(422, "PUT", "/api/v1/users/li/roles", map[string][]wire.Role{"roles": {wire.Participant}})
}

const handsIn = `apiVersion: perdure/v1
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
kind: Plan
name: hold
modes: [drill]
steps:
- {id: north, after: [], manual: {owner: branch-north, instruction: Compare., attachments: 1}}
- {id: south, after: [], manual: {owner: branch-south, instruction: Compare.}}
`

// handIn uploads a file for a step of run r.
func (c *caller) handIn(status int, step, name, data string) string {
	c.n.t.Helper()
	r := c.do("PUT", "/api/v1/runs/r/attachments?step="+step+"&name="+name, octets(data))
	if r.status != status {
		c.n.t.Fatalf("%s for %s: want %d, got %d %s", name, step, status, r.status, r.body)
	}
	var kept wire.KeptAttachment
	if status == 200 {
		if err := json.Unmarshal(r.body, &kept); err != nil {
			c.n.t.Fatal(err)
		}
	}
	return kept.SHA256
}

func TestFilesOfATaskAreForThoseWhoMaySeeIt(t *testing.T) {
	n := start(t)
	n.manifestOf(handsIn)
	n.person("bob", wire.Operator).want(200, "POST", "/api/v1/runs", wire.StartRun{Plan: "hold", Mode: plan.Drill, ID: "r"})
	li, qi := n.takesPart("li", "branch-north"), n.takesPart("qi", "branch-south")
	li.handIn(404, "north", "a.txt", "too early")
	for _, step := range []string{"north", "south"} {
		n.journal("r", run.Entry{By: "node:a", What: run.Opened, Node: step, Text: "Compare."})
	}
	li.handIn(404, "south", "a.txt", "of another one")
	li.handIn(404, "none", "a.txt", "of nothing")
	n.as("viewer").handIn(404, "north", "a.txt", "by nobody who is asked")
	li.handIn(422, "north", "a.exe", "MZ\x00\x01")
	li.handIn(422, "north", "a.pdf", "%PDF-"+strings.Repeat("x", run.MostAttachment))
	sum := li.handIn(200, "north", "..%2Ftotals%20%E6%A0%B8%E5%AF%B9.pdf", "%PDF-1.7 totals")
	foreign := qi.handIn(200, "south", "own.txt", "of the south")
	say := func(c *caller, status int, step string, files ...string) {
		t.Helper()
		c.want(status, "POST", "/api/v1/runs/r/words", wire.RunWord{What: run.Completed, Step: step, Attachments: files})
	}
	say(li, 422, "north")                          // it wants a file
	say(li, 404, "north", foreign)                 // which was handed in for another task
	say(li, 404, "north", strings.Repeat("0", 64)) // which nobody has handed in
	say(li, 422, "north", "x")                     // which is no digest
	say(li, 422, "north", sum, sum)                // twice
	li.want(422, "POST", "/api/v1/runs/r/words", wire.RunWord{What: run.Declined, Step: "north", Text: "x", Attachments: []string{sum}})
	say(li, 200, "north", sum)
	li.handIn(404, "north", "late.txt", "too late")
	// The same file for another task is that one's too.
	qi.want(404, "GET", "/api/v1/runs/r/attachments/"+sum, nil)
	same := qi.handIn(200, "south", "other.pdf", "%PDF-1.7 totals")
	if r := qi.want(200, "GET", "/api/v1/runs/r/attachments/"+same, nil); same != sum || !strings.HasSuffix(r.head.Get("Content-Disposition"), "filename=other.pdf") {
		t.Errorf("%v", r.head)
	}
	path := "/api/v1/runs/r/attachments/" + sum
	for _, c := range []*caller{li, n.as("viewer"), n.as("auditor")} {
		r := c.want(200, "GET", path, nil)
		if string(r.body) != "%PDF-1.7 totals" || r.head.Get("Content-Type") != "application/pdf" || r.head.Get("X-Content-Type-Options") != "nosniff" ||
			!strings.HasPrefix(r.head.Get("Content-Disposition"), "attachment; filename*=utf-8''totals%20") {
			t.Errorf("%v %q", r.head, r.body)
		}
	}
	li.want(404, "GET", "/api/v1/runs/r/attachments/"+foreign, nil)
	li.want(404, "GET", "/api/v1/runs/none/attachments/"+sum, nil)
	journal, err := n.store.Journal(t.Context(), "r", 3)
	want := []run.Attachment{{Name: "totals 核对.pdf", Type: "application/pdf", Size: 15, SHA256: sum}}
	if err != nil || len(journal) != 1 || !cmp.Equal(want, journal[0].Attachments) {
		t.Errorf("%+v, %v", journal, err)
	}
	// Who watches the estate does not see them go by.
	n.as("viewer").want(403, "GET", "/api/v1/watch?prefix=attachments/", nil)
}

func TestWhoReadsAndBelongsToAParticipantDecidesForItAndByNameOnlyWhereAsked(t *testing.T) {
	n := start(t)
	n.manifestOf(strings.ReplaceAll(branches, "branch-north, commander", "branch-north, eve, commander"))
	n.held("r", plan.Drill)
	admin := n.as("admin")
	users := map[string]*caller{}
	for name, participant := range map[string]string{"eve": "branch-south", "fay": "branch-north"} {
		admin.want(200, "POST", "/api/v1/users", wire.NewUser{Name: name, Roles: []wire.Role{wire.Viewer}, Participant: participant, Password: password})
		users[name], _ = n.login(wire.Login{User: name, Password: password})
	}
	say := func(who string, status int, w wire.RunWord) {
		t.Helper()
		users[who].want(status, "POST", "/api/v1/runs/r/words", w)
	}
	say("eve", 403, wire.RunWord{What: run.Approved, Step: "agree"})
	say("eve", 403, wire.RunWord{What: run.Approved, Step: "agree", For: "branch-north"})
	say("fay", 200, wire.RunWord{What: run.Approved, Step: "agree"}) // as what she is asked as
	if journal, err := n.store.Journal(t.Context(), "r", 0); err != nil || journal[len(journal)-1].By != "fay" || journal[len(journal)-1].For != "branch-north" {
		t.Errorf("%+v, %v", journal, err)
	}
	n.as("operator").want(409, "POST", "/api/v1/runs/r/words", wire.RunWord{What: run.AddedApprover, Step: "agree", For: "eve"}) // the plan has named her
	admin.want(200, "POST", "/api/v1/users", wire.NewUser{Name: "gus", Roles: []wire.Role{wire.Viewer}, Participant: "branch-south", Password: password})
	users["gus"], _ = n.login(wire.Login{User: "gus", Password: password})
	say("gus", 403, wire.RunWord{What: run.Approved, Step: "agree"})
	n.as("operator").want(200, "POST", "/api/v1/runs/r/words", wire.RunWord{What: run.AddedApprover, Step: "agree", For: "gus"})
	say("gus", 200, wire.RunWord{What: run.Approved, Step: "agree"})
}

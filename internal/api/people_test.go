package api_test

import (
	"encoding/base32"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pquerna/otp/totp"

	"perdure/internal/api"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/run/runtest"
	"perdure/internal/wire"
)

// drills makes programs of one plan: somebody is asked, then somebody has to count.
type drills struct{ t *testing.T }

func (d drills) Program(_, name string, mode plan.Mode) (*plan.Program, error) {
	return runtest.Program(d.t, `apiVersion: perdure/v1
kind: Plan
name: `+name+`
modes: [`+string(mode)+`]
steps:
- {id: ask, approval: {of: [driller, commander, eve], text: "Go?"}}
- {id: count, after: [], manual: {owner: desk, instruction: Count., fields: [{name: n, type: number, required: true}]}}
`, mode), nil
}

// asked is a run of bob, as its runner has left it: everything waits for people.
func (n *node) asked(id string, mode plan.Mode) {
	n.t.Helper()
	bob := n.person("bob", wire.Commander)
	if _, err := n.store.Policy(n.t.Context(), wire.Fresh); err != nil {
		n.t.Fatal(err)
	}
	bob.want(200, "POST", "/api/v1/runs", wire.StartRun{Plan: "p", Mode: mode, ID: id})
	for _, step := range []string{"ask", "count"} {
		n.journal(id, run.Entry{By: "node:a", What: run.Opened, Node: step, Text: "Go?"})
	}
}

// journal appends an entry, as a runner does.
func (n *node) journal(id string, e run.Entry) {
	n.t.Helper()
	if _, err := n.store.Say(n.t.Context(), id, e); err != nil {
		n.t.Fatal(err)
	}
}

// person is a caller with a token of a name.
func (n *node) person(name string, role wire.Role) *caller {
	n.t.Helper()
	token, err := n.store.CreateToken(n.t.Context(), "test", wire.AskToken{Name: name, Role: role})
	if err != nil {
		n.t.Fatal(err)
	}
	return n.as(token.Secret)
}

const password = "correct horse battery"

// user adds a user.
func (n *node) user(name string, roles ...wire.Role) {
	n.t.Helper()
	n.as("admin").want(200, "POST", "/api/v1/users", wire.NewUser{Name: name, Roles: roles, Password: password})
}

// login is a caller with a session.
func (n *node) login(l wire.Login) (*caller, wire.NewSession) {
	n.t.Helper()
	var in wire.NewSession
	if err := json.Unmarshal(n.as("").want(200, "POST", "/api/v1/login", l).body, &in); err != nil {
		n.t.Fatal(err)
	}
	return n.as(in.Secret), in
}

// withFactor is a caller with a session that has shown a second factor.
func (n *node) withFactor(name string, roles ...wire.Role) *caller {
	n.t.Helper()
	n.user(name, roles...)
	c, _ := n.login(wire.Login{User: name, Password: password})
	codes := n.enrolled(c)
	c, in := n.login(wire.Login{User: name, Password: password, Code: codes[0]})
	if in.Factor == 0 {
		n.t.Fatalf("the session of %s says nothing of the second factor: %+v", name, in)
	}
	return c
}

// enrolled gives the person of a session a second factor, which ends the session, and gives its recovery codes.
func (n *node) enrolled(c *caller) []string {
	n.t.Helper()
	secret := []byte("12345678901234567890")
	present, err := totp.GenerateCode(base32.StdEncoding.EncodeToString(secret), time.Now())
	if err != nil {
		n.t.Fatal(err)
	}
	var got struct{ Codes []string }
	r := c.want(200, "PUT", "/api/v1/me/second-factor", wire.NewFactor{Password: password, Secret: secret, Present: present})
	if err := json.Unmarshal(r.body, &got); err != nil || len(got.Codes) != 10 {
		n.t.Fatalf("%s, %v", r.body, err)
	}
	c.want(401, "GET", "/api/v1/runs", nil) // it had shown none
	return got.Codes
}

func word(what run.What, step string) wire.RunWord {
	return wire.RunWord{What: what, Step: step, Text: "because"}
}

func TestSessionHasTheRightsOfAllRolesOfItsPersonOnEveryRoute(t *testing.T) {
	n := start(t)
	n.user("ann", wire.Driller, wire.Auditor)
	c, in := n.login(wire.Login{User: "ann", Password: password})
	if !slices.Equal(in.Roles, []wire.Role{wire.Driller, wire.Auditor}) || in.Factor != 0 {
		t.Errorf("%+v", in)
	}
	has := []api.Access{api.Viewer, api.Driller, api.Auditor}
	for _, r := range n.Routes() {
		if r.Path == "/api/v1/logout" || slices.Contains(r.Access, api.Health) || slices.Contains(r.Access, api.Anyone) {
			continue
		}
		may := slices.ContainsFunc(has, func(a api.Access) bool { return slices.Contains(r.Access, a) })
		got := c.do(r.Method, parameter.ReplaceAllString(r.Path, "x1"), nil).status
		if may == (got == http.StatusForbidden) || got == http.StatusUnauthorized {
			t.Errorf("%s %s: %d", r.Method, r.Path, got)
		}
	}
	c.want(204, "POST", "/api/v1/logout", nil)
	c.want(401, "GET", "/api/v1/runs", nil)
	n.as("viewer").want(409, "POST", "/api/v1/logout", nil)
}

// TestDrillersDoNothingForReal walks every mode, word and role: who may start a run of the mode, and say the word to it.
func TestDrillersDoNothingForReal(t *testing.T) {
	n := start(t)
	steering := []run.What{run.Paused, run.Resumed, run.Retried, run.Skipped, run.TakenOver, run.Cancelled, run.AddedApprover, run.Completed}
	n.manifestOf(always)
	n.asked("run-drill", plan.Drill)
	n.asked("run-takeover", plan.Takeover)
	runs := map[plan.Mode]string{plan.Drill: "run-drill", plan.Takeover: "run-takeover"}
	for _, role := range wire.Roles() {
		c := n.as(string(role))
		operates := slices.Contains([]wire.Role{wire.Operator, wire.Commander, wire.Admin}, role)
		for _, mode := range plan.Modes() {
			may := operates || !mode.Real() && role == wire.Driller
			if mode == plan.Emergency {
				may = role == wire.Commander || role == wire.Admin
			}
			r := c.do("POST", "/api/v1/runs", wire.StartRun{Plan: "p", Mode: mode, ID: fmt.Sprintf("%s-%s", mode, role)})
			if may != (r.status == 200) || !may && r.status != 403 {
				t.Errorf("%s starts a run in mode %s: %d %s", role, mode, r.status, r.body)
			}
		}
		for mode, id := range runs {
			may := operates || !mode.Real() && role == wire.Driller
			for _, what := range steering {
				// Of a step that is not there: who may say it is told that, and the run goes on as it was.
				w := word(what, "none")
				if what == run.Paused || what == run.Resumed || what == run.Cancelled {
					w.Text = ""
				}
				if what == run.Paused || what == run.Resumed {
					continue
				}
				if got := c.do("POST", "/api/v1/runs/"+id+"/words", w).status; may == refusedTo(role, got) {
					t.Errorf("%s says %s to a run in mode %s: %d", role, what, mode, got)
				}
			}
			for _, what := range []run.What{run.Paused, run.Resumed} {
				if got := c.do("POST", "/api/v1/runs/"+id+"/words", word(what, "")).status; may != (got == 200) || !may && got != 403 {
					t.Errorf("%s says %s to a run in mode %s: %d", role, what, mode, got)
				}
			}
			speaks := wire.RunWord{What: run.Approved, Step: "none", For: "driller"}
			if got := c.do("POST", "/api/v1/runs/"+id+"/words", speaks).status; may == refusedTo(role, got) {
				t.Errorf("%s speaks for drillers in mode %s: %d", role, mode, got)
			}
			for what, ok := range map[run.What]bool{run.BrokeGlass: role == wire.Commander || role == wire.Admin, run.Reviewed: slices.Contains([]wire.Role{wire.Commander, wire.Auditor, wire.Admin}, role)} {
				if got := c.do("POST", "/api/v1/runs/"+id+"/words", word(what, "none")).status; ok == (got == 403) {
					t.Errorf("%s says %s in mode %s: %d", role, what, mode, got)
				}
			}
		}
	}
}

// refusedTo: whoever only takes part is told of nothing else that it is there.
func refusedTo(role wire.Role, status int) bool {
	return status == 403 || status == 404 && role == wire.Participant
}

func TestSecondFactorIsRequiredOfSessionsForWhatIsDoneForReal(t *testing.T) {
	n := start(t)
	n.manifestOf(always)
	n.asked("real", plan.Takeover)
	n.asked("exercise", plan.Drill)
	n.user("cho", wire.Commander)
	bare, _ := n.login(wire.Login{User: "cho", Password: password})
	strong := n.withFactor("dee", wire.Commander)
	token := n.as("commander")
	real := []struct {
		method, path string
		body         any
	}{
		{"POST", "/api/v1/runs", wire.StartRun{Plan: "p", Mode: plan.Takeover}},
		{"POST", "/api/v1/runs/real/words", wire.RunWord{What: run.Approved, Step: "none", For: "commander"}},
		{"POST", "/api/v1/runs/real/words", word(run.Skipped, "none")},
		{"POST", "/api/v1/units/u1/switch", wire.SwitchRequest{To: "b", Mode: "takeover"}},
		{"POST", "/api/v1/units/u1/accept", wire.AcceptRequest{Reason: "lost"}},
		{"POST", "/api/v1/units/u1/release", wire.ReleaseRequest{Reason: "done"}},
	}
	check := func(c *caller, name string, want bool) {
		t.Helper()
		for _, r := range real {
			got := c.do(r.method, r.path, r.body)
			if want == (got.status == 403) {
				t.Errorf("%s %s by %s: %d %s", r.method, r.path, name, got.status, got.body)
			}
		}
	}
	check(bare, "a session", false)
	check(strong, "a session with a second factor", true)
	check(token, "a token", true)
	bare.want(200, "POST", "/api/v1/runs/real/words", word(run.Paused, "")) // does no harm
	bare.want(200, "POST", "/api/v1/runs/exercise/words", word(run.Paused, ""))
	bare.want(200, "POST", "/api/v1/runs", wire.StartRun{Plan: "p", Mode: plan.Drill})
	bare.want(200, "POST", "/api/v1/units/u1/switch", wire.SwitchRequest{To: "b", Mode: "takeover", DryRun: true})
	n.as("admin").want(200, "PUT", "/api/v1/policy", wire.Policy{SecondFactor: wire.FactorAll})
	check(token, "a token", false)
	check(strong, "a session with a second factor", true)
	n.as("admin").want(200, "PUT", "/api/v1/policy", wire.Policy{SecondFactor: wire.FactorOff})
	check(bare, "a session", true)
	n.as("admin").want(422, "PUT", "/api/v1/policy", wire.Policy{SecondFactor: "sometimes"})
}

func TestWhatIsLeftOfTheStoreIsKeptForWhatIsForReal(t *testing.T) {
	n := start(t)
	n.manifestOf(always)
	operator := n.as("operator")
	n.filled = wire.Reserved
	for mode, status := range map[plan.Mode]int{plan.Drill: 409, plan.Takeover: 200} {
		operator.want(status, "POST", "/api/v1/runs", wire.StartRun{Plan: "p", Mode: mode})
	}
	operator.want(409, "POST", "/api/v1/runs", wire.StartRun{Plan: "p", Mode: plan.Takeover, Tabletop: true})
	n.filled = wire.Reserved - 1
	operator.want(200, "POST", "/api/v1/runs", wire.StartRun{Plan: "p", Mode: plan.Drill})
}

func TestRecordIsAttestedByWhoHasAPartInSuchRuns(t *testing.T) {
	n := start(t)
	n.manifestOf(always)
	n.asked("r", plan.Takeover)
	auditor := n.as("auditor")
	auditor.want(409, "POST", "/api/v1/runs/r/words", wire.RunWord{What: run.Attested}) // it goes on
	n.as("operator").want(200, "POST", "/api/v1/runs/r/words", wire.RunWord{What: run.Cancelled, Text: "stop"})
	n.journal("r", run.Entry{By: "node:a", What: run.Finished, Outcome: run.Broken})
	for _, role := range []string{"viewer", "driller", "participant"} { // it was for real
		n.as(role).want(403, "POST", "/api/v1/runs/r/words", wire.RunWord{What: run.Attested})
	}
	auditor.want(403, "POST", "/api/v1/runs/r/words", wire.RunWord{What: run.Attested, For: "commander"})
	auditor.want(200, "POST", "/api/v1/runs/r/words", wire.RunWord{What: run.Attested})
	auditor.want(409, "POST", "/api/v1/runs/r/words", wire.RunWord{What: run.Attested})
	n.as("operator").want(200, "POST", "/api/v1/runs/r/words", wire.RunWord{What: run.Attested, Objects: true, Text: "it was longer"})
	n.person("bob", wire.Commander).want(409, "POST", "/api/v1/runs/r/words", wire.RunWord{What: run.Attested}) // who started it
	var state wire.RunState
	n.as("viewer").want(200, "GET", "/api/v1/runs/r", nil).into(t, &state)
	if a := state.Attested; len(a) != 2 || a[0].By != "the-auditor" || a[0].For != "auditor" || a[0].Objects || a[1].For != "operator" || !a[1].Objects {
		t.Errorf("%+v", a)
	}
	for lang, want := range map[string][2]string{"en": {"the-auditor (auditor) stands for the record", "the-operator (operator) objects to the record"}, "zh-CN": {"the-auditor（auditor）确认记录属实", "对记录提出异议"}} {
		if report := string(n.as("viewer").want(200, "GET", "/api/v1/runs/r/report?lang="+lang, nil).body); !strings.Contains(report, want[0]) || !strings.Contains(report, want[1]) {
			t.Errorf("%s: the report does not tell who attested", lang)
		}
	}
}

func TestGlassIsBrokenAloneAndReviewedByAnother(t *testing.T) {
	n := start(t)
	n.asked("r", plan.Emergency)
	n.as("commander").want(409, "POST", "/api/v1/runs/r/words", word(run.BrokeGlass, "ask")) // a token shows no second factor
	strong := n.withFactor("dee", wire.Commander)
	strong.want(200, "POST", "/api/v1/runs/r/words", word(run.BrokeGlass, "ask"))
	n.journal("r", run.Entry{By: "desk", What: run.Completed, Node: "count", Result: map[string]any{"n": 1.0}})
	n.journal("r", run.Entry{By: "node:a", What: run.Finished, Outcome: run.Done})
	due := func() bool {
		t.Helper()
		var runs []wire.Run
		if err := json.Unmarshal(n.as("viewer").want(200, "GET", "/api/v1/runs", nil).body, &runs); err != nil || len(runs) != 1 {
			t.Fatalf("%v, %v", runs, err)
		}
		return runs[0].ReviewDue
	}
	if !due() {
		t.Error("no review is due")
	}
	strong.want(409, "POST", "/api/v1/runs/r/words", word(run.Reviewed, ""))
	if got := n.inbox(n.as("auditor")); got != "review r/ \n" {
		t.Errorf("the auditor's inbox: %q", got)
	}
	if got := n.inbox(strong) + n.inbox(n.as("operator")); got != "" {
		t.Errorf("others' inboxes: %q", got)
	}
	n.as("auditor").want(200, "POST", "/api/v1/runs/r/words", word(run.Reviewed, ""))
	if due() || n.inbox(n.as("auditor")) != "" {
		t.Error("a review is due still")
	}
}

// inbox writes what waits for somebody, a line each.
func (n *node) inbox(c *caller) string {
	n.t.Helper()
	var items []wire.InboxItem
	if err := json.Unmarshal(c.want(200, "GET", "/api/v1/inbox", nil).body, &items); err != nil {
		n.t.Fatal(err)
	}
	var b strings.Builder
	for _, i := range items {
		fmt.Fprintf(&b, "%s %s/%s %s\n", i.Why, i.Run, i.Step, i.For)
	}
	return b.String()
}

func TestInboxHasWhatWaitsForAPersonOverAllRuns(t *testing.T) {
	n := start(t)
	n.manifestOf(always)
	n.asked("first", plan.Drill)
	n.asked("second", plan.Takeover)
	eve, desk := n.person("eve", wire.Viewer), n.person("desk", wire.Viewer)
	for who, want := range map[*caller]string{
		n.as("viewer"):    "",
		n.as("driller"):   "approval first/ask driller\n",
		n.as("commander"): "approval first/ask driller\napproval second/ask driller\n",
		eve:               "approval first/ask eve\napproval second/ask eve\n",
		desk:              "task first/count desk\ntask second/count desk\n",
	} {
		if diff := cmp.Diff(want, n.inbox(who)); diff != "" {
			t.Error(diff)
		}
	}
	n.user("fay", wire.Viewer)
	eve.want(404, "POST", "/api/v1/runs/first/words", wire.RunWord{What: run.Delegated, Step: "ask", To: "nobody", Text: "on leave"})
	eve.want(200, "POST", "/api/v1/runs/first/words", wire.RunWord{What: run.Delegated, Step: "ask", To: "fay", Text: "on leave"})
	fay, _ := n.login(wire.Login{User: "fay", Password: password})
	if got := n.inbox(fay); got != "approval first/ask eve\n" {
		t.Errorf("the delegate's inbox: %q", got)
	}
	eve.want(409, "POST", "/api/v1/runs/first/words", wire.RunWord{What: run.Approved, Step: "ask"})
	n.as("driller").want(404, "POST", "/api/v1/runs/first/words", wire.RunWord{What: run.AddedApprover, Step: "ask", For: "nobody"})
	n.as("driller").want(200, "POST", "/api/v1/runs/first/words", wire.RunWord{What: run.AddedApprover, Step: "ask", For: "auditor"})
	fay.want(200, "POST", "/api/v1/runs/first/words", wire.RunWord{What: run.Approved, Step: "ask"})
	if got := n.inbox(fay) + n.inbox(eve); got != "approval second/ask eve\n" {
		t.Errorf("afterwards: %q", got)
	}
	n.as("auditor").want(200, "POST", "/api/v1/runs/first/words", wire.RunWord{What: run.Approved, Step: "ask", For: "auditor"})
	var state wire.RunState
	if err := json.Unmarshal(eve.want(200, "GET", "/api/v1/runs/first", nil).body, &state); err != nil || state.Steps[0].Status != run.DoneStep || len(state.Steps[0].Delegations) != 1 || !slices.Equal(state.Steps[0].Added, []string{"auditor"}) {
		t.Errorf("%+v, %v", state.Steps, err)
	}
	n.as("viewer").want(403, "POST", "/api/v1/runs/second/words", wire.RunWord{What: run.Completed, Step: "count", Result: map[string]any{"n": 2}})
	desk.want(200, "POST", "/api/v1/runs/second/words", wire.RunWord{What: run.Completed, Step: "count", Result: map[string]any{"n": 2}})
}

func TestTriesOfOneAddressAreBounded(t *testing.T) {
	n := start(t)
	c := n.as("")
	var got []int
	for range 11 {
		got = append(got, c.do("POST", "/api/v1/login", wire.Login{User: "nobody", Password: "wrong"}).status)
	}
	if !slices.Equal(got[:10], slices.Repeat([]int{401}, 10)) || got[10] != 409 {
		t.Errorf("the tries are answered %v", got)
	}
}

func TestAdministratorSeesAndEndsSessionsOfOthersAndOthersOnlyTheirOwn(t *testing.T) {
	n := start(t)
	n.user("ann", wire.Viewer)
	n.user("bob", wire.Operator)
	ann, in := n.login(wire.Login{User: "ann", Password: password})
	bob, _ := n.login(wire.Login{User: "bob", Password: password})
	count := func(c *caller) int {
		t.Helper()
		var sessions []wire.Session
		if err := json.Unmarshal(c.want(200, "GET", "/api/v1/sessions", nil).body, &sessions); err != nil {
			t.Fatal(err)
		}
		return len(sessions)
	}
	if a, b, all := count(ann), count(bob), count(n.as("admin")); a != 1 || b != 1 || all != 2 {
		t.Errorf("ann sees %d, bob %d, the administrator %d", a, b, all)
	}
	bob.want(404, "DELETE", "/api/v1/sessions/"+in.ID, nil)
	n.as("admin").want(204, "DELETE", "/api/v1/sessions/"+in.ID, nil)
	ann.want(401, "GET", "/api/v1/sessions", nil)
	r := n.as("admin").want(200, "GET", "/api/v1/users", nil)
	if strings.Contains(string(r.body), "argon2id") || strings.Contains(string(r.body), "stamp") {
		t.Errorf("the list of users tells secrets: %s", r.body)
	}
	bob.want(204, "PUT", "/api/v1/me/password", wire.NewPassword{Password: password, New: "another long password"})
	bob.want(401, "GET", "/api/v1/sessions", nil)
	n.as("operator").want(409, "PUT", "/api/v1/me/password", wire.NewPassword{Password: password, New: "another long password"})
	n.login(wire.Login{User: "bob", Password: "another long password"})
	n.as("admin").want(200, "PUT", "/api/v1/users/bob/password", map[string]string{"password": "a third long password"})
	n.as("admin").want(200, "PUT", "/api/v1/users/bob/roles", map[string][]wire.Role{"roles": {wire.Viewer}})
	n.as("admin").want(200, "POST", "/api/v1/users/bob/lock", nil)
	n.as("").want(401, "POST", "/api/v1/login", wire.Login{User: "bob", Password: "a third long password"})
	n.as("admin").want(200, "POST", "/api/v1/users/bob/unlock", nil)
	n.login(wire.Login{User: "bob", Password: "a third long password"})
	n.as("admin").want(200, "DELETE", "/api/v1/users/bob", nil)
	n.as("admin").want(409, "POST", "/api/v1/users/bob/unlock", nil)
}

func TestWatchEndsWithItsSession(t *testing.T) {
	n := start(t)
	n.user("ann", wire.Viewer)
	ann, in := n.login(wire.Login{User: "ann", Password: password})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.url+"/api/v1/watch?prefix=groups/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+in.Secret)
	resp, err := ann.http.Do(req)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v, %v", resp, err)
	}
	defer resp.Body.Close()
	n.as("admin").want(200, "POST", "/api/v1/users/ann/lock", nil)
	buffer := make([]byte, 4096)
	for err == nil { // the test's own time bounds it
		_, err = resp.Body.Read(buffer)
	}
}

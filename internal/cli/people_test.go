package cli_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"perdure/internal/duty"
	"perdure/internal/errs"
	"perdure/internal/evaluation"
	"perdure/internal/plan"
	runs "perdure/internal/run"
	"perdure/internal/wire"
)

const sessionSecret = "perdure_s-1_secret"

// servePeople answers for a few users; who logs in as ann with her password has a session.
func (f *fakeNode) servePeople(mux *http.ServeMux, answer func(pattern string, give func(r *http.Request) any)) {
	said := func(r *http.Request) {
		var v map[string]any
		_ = json.NewDecoder(r.Body).Decode(&v)
		text, _ := json.Marshal(v)
		f.note(string(text))
	}
	ann := wire.Session{ID: "s-1", User: "ann", Created: now, Seen: now + 60_000, Expires: now + 8*3_600_000, Factor: now, From: "192.0.2.1"}
	mux.HandleFunc("POST /api/v1/login", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		var l wire.Login
		_ = json.NewDecoder(r.Body).Decode(&l)
		if r.Header.Get("Authorization") != "" || l.User != "ann" || l.Password != "correct horse battery" {
			writeProblem(w, wire.Problem{Status: 401, Kind: string(errs.Unauthorised), Detail: "wrong"})
			return
		}
		f.note("login with " + l.Code)
		_ = json.NewEncoder(w).Encode(wire.NewSession{Session: ann, Secret: sessionSecret, Roles: []wire.Role{wire.Commander, wire.Auditor}})
	})
	mux.HandleFunc("POST /api/v1/logout", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.note("logout with " + r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusNoContent)
	})
	answer("GET /api/v1/sessions", func(*http.Request) any {
		return []wire.Session{ann, {ID: "s-2", User: "bob", Created: now, Seen: now, Expires: now + 8*3_600_000}}
	})
	answer("DELETE /api/v1/sessions/{id}", func(*http.Request) any { return nil })
	answer("GET /api/v1/users", func(*http.Request) any {
		return []wire.User{
			{Name: "ann", Roles: []wire.Role{wire.Commander, wire.Auditor}, Created: now, CreatedBy: "person:admin", Factor: now, Recovery: 9},
			{Name: "bob", Roles: []wire.Role{wire.Driller}, Created: now, CreatedBy: "person:admin", Locked: now + 1000, LockedBy: "person:admin"},
			{Name: "cid", Roles: []wire.Role{wire.Viewer}, Created: now, CreatedBy: "person:admin", Waits: now + 15_000},
			{Name: "li", Roles: []wire.Role{wire.Participant}, Participant: "branch-north", Created: now, CreatedBy: "person:admin"},
			{Name: "dee", Roles: []wire.Role{wire.Viewer}, Tenant: "north", Created: now, CreatedBy: "person:admin", Removed: now + 1000, RemovedBy: "person:admin"},
		}
	})
	user := func(r *http.Request) any {
		said(r)
		return wire.User{Name: "eve", Roles: []wire.Role{wire.Driller}, Created: now}
	}
	answer("POST /api/v1/users", user)
	answer("PUT /api/v1/users/{user}/password", user)
	answer("PUT /api/v1/users/{user}/roles", user)
	answer("PUT /api/v1/users/{user}/participant", func(r *http.Request) any {
		said(r)
		return wire.User{Name: "eve", Roles: []wire.Role{wire.Participant}, Participant: "branch-north", Created: now}
	})
	answer("GET /api/v1/duty", func(*http.Request) any {
		at := time.UnixMilli(now).In(time.FixedZone("CST", 8*3600))
		return duty.View{At: at, Duties: []duty.Standing{
			{Roster: "r", Name: "duty-commander", Title: "Commander on duty", Of: "commander", People: []duty.Person{{Name: "ann", Shift: "day"}, {Name: "dee", Shift: "day", InPlaceOf: "bob"}}, Until: at.Add(4 * time.Hour), Next: []duty.Person{{Name: "cho", Shift: "night"}}},
			{Roster: "r", Name: "north-desk", Of: "branch-north", Until: at.Add(16 * time.Hour), Next: []duty.Person{{Name: "li", Shift: "office"}}},
			{Roster: "r", Name: "once", Of: "operator", People: []duty.Person{}},
		}, Findings: []duty.Finding{
			{Duty: "duty-commander", Person: "cho", From: at.Add(4 * time.Hour), Reason: "cho has not role commander"},
			{Duty: "north-desk", Gap: &duty.Gap{From: at, Until: at.Add(16 * time.Hour)}},
			{Duty: "once", Gap: &duty.Gap{From: at}},
		}}
	})
	answer("POST /api/v1/users/{user}/lock", user)
	answer("POST /api/v1/users/{user}/unlock", user)
	answer("DELETE /api/v1/users/{user}", user)
	answer("PUT /api/v1/me/password", func(r *http.Request) any { said(r); return nil })
	answer("PUT /api/v1/me/second-factor", func(r *http.Request) any {
		var ask wire.NewFactor
		_ = json.NewDecoder(r.Body).Decode(&ask)
		f.note(ask.Password + "/" + ask.Code + "/" + ask.Present)
		return map[string][]string{"codes": {"ABCD-EFGH-IJKL-MNOP", "BCDE-FGHI-JKLM-NOPQ"}}
	})
	answer("GET /api/v1/policy", func(*http.Request) any { return wire.Policy{SecondFactor: wire.FactorSessions} })
	answer("PUT /api/v1/policy", func(r *http.Request) any { said(r); return wire.Policy{SecondFactor: wire.FactorAll} })
	answer("GET /api/v1/inbox", func(*http.Request) any {
		at := time.UnixMilli(now).UTC()
		return []wire.InboxItem{
			{Run: "r1", Plan: "p", Mode: plan.Takeover, Tabletop: true, Ask: runs.Ask{Why: runs.Decision, Step: "agree", Text: "Switch u1?", For: "commander", From: "bob", Since: at}},
			{Run: "r2", Plan: "p", Mode: plan.Drill, Shown: []runs.Attachment{{Name: "u1-bank.customer.csv", SHA256: "5eed"}}, Ask: runs.Ask{Why: runs.Task, Step: "count", Text: "Compare the totals.", For: "operator", Fields: []plan.Parameter{{Name: "difference"}}, Attachments: 1, Acknowledged: at, AcknowledgedBy: "eve", Since: at.Add(time.Minute)}},
			{Run: "r3", Plan: "p", Mode: plan.Emergency, Ask: runs.Ask{Why: runs.Review, Since: at.Add(time.Hour)}},
			{Incident: "u1-1.7", Due: at.Add(3 * time.Hour), Ask: runs.Ask{Why: runs.Task, Step: "regulator", Text: "Report to the regulator", For: "commander", Since: at.Add(2 * time.Hour)}},
			{Run: "r4", Plan: "p", Mode: plan.Drill, Due: at.Add(4 * time.Hour), Problem: &evaluation.Problem{Kind: evaluation.Attempts, Step: "switch", Attempts: 2, Text: "not yet"}, Ask: runs.Ask{Why: "rectification", Step: "2", For: "bob", Since: at.Add(3 * time.Hour)}},
			{Window: "night", Ask: runs.Ask{Why: wire.WaitsForApproval, For: "commander", Text: "Maintenance", Since: at.Add(4 * time.Hour)}},
		}
	})
}

func TestPeopleAreShownInBothLanguages(t *testing.T) {
	f := startFake(t)
	for lang, suffix := range map[string]string{"en": "en", "zh-CN": "zh"} {
		var out strings.Builder
		for _, args := range [][]string{{"user", "list"}, {"session", "list"}, {"inbox"}, {"policy", "show"}, {"policy", "set", "second-factor", "required-for-real", "all"}, {"user", "lock", "eve"}, {"user", "participant", "eve", "branch-north"}, {"duty"}, {"session", "revoke", "s-2"}} {
			r := run(t.Context(), call{env: f.env(), args: append(args, "--lang", lang)})
			if r.code != 0 {
				t.Fatalf("%q: exit %d: %s", args, r.code, r.err)
			}
			out.WriteString("$ perdure " + strings.Join(args, " ") + "\n" + r.out)
		}
		golden(t, "people-"+suffix+".golden", out.String())
	}
}

// contextFile is a context of the fake node with a token that is somebody else's.
func (f *fakeNode) contextFile(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "bank.yaml")
	if err := os.WriteFile(filepath.Join(dir, "bank.token"), []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("endpoints: ["+f.url+"]\ntoken: bank.token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLoginKeepsTheSessionBesideTheContextUntilTheLogout(t *testing.T) {
	f := startFake(t)
	file := f.contextFile(t)
	r := run(t.Context(), call{in: "correct horse battery\n123456\n", args: []string{"login", "--user", "ann", "--context", file}})
	if r.code != 0 || !strings.Contains(r.out, "logged in as ann (commander, auditor) until 2027-01-15 16:00:00, second factor: since 2027-01-15 08:00:00") {
		t.Fatalf("exit %d: %s%s", r.code, r.out, r.err)
	}
	kept, err := os.ReadFile(file + ".session")
	info, _ := os.Stat(file + ".session")
	if err != nil || string(kept) != sessionSecret+"\n" || info.Mode().Perm() != 0o600 {
		t.Fatalf("%q, %v, %v", kept, info.Mode(), err)
	}
	if strings.Contains(r.out+r.err, sessionSecret) || strings.Contains(r.out+r.err, "correct horse") {
		t.Errorf("a secret is shown: %s%s", r.out, r.err)
	}
	if r = run(t.Context(), call{args: []string{"inbox", "--context", file}}); r.code != 6 {
		t.Errorf("the session is not used: exit %d: %s", r.code, r.out)
	}
	if r = run(t.Context(), call{env: map[string]string{"PERDURE_TOKEN": token}, args: []string{"inbox", "--context", file}}); r.code != 0 {
		t.Errorf("the environment does not win: exit %d: %s", r.code, r.err)
	}
	if r = run(t.Context(), call{args: []string{"logout", "--context", file}}); r.code != 0 || !slices.Contains(f.asked, "logout with Bearer "+sessionSecret) {
		t.Errorf("exit %d: %s; asked %q", r.code, r.err, f.asked)
	}
	if _, err := os.Stat(file + ".session"); !os.IsNotExist(err) {
		t.Errorf("the session is kept: %v", err)
	}
	if r = run(t.Context(), call{args: []string{"inbox", "--context", file}}); r.code != 0 {
		t.Errorf("the token of the context is not used: exit %d: %s", r.code, r.err)
	}
	if r = run(t.Context(), call{args: []string{"logout", "--context", file}}); r.code != 4 {
		t.Errorf("a second logout: exit %d: %s", r.code, r.err)
	}
}

func TestWrongLoginKeepsNothing(t *testing.T) {
	f := startFake(t)
	file := f.contextFile(t)
	for name, c := range map[string]struct {
		call call
		code int
		said string
	}{
		"wrong password": {call{in: "wrong\n", args: []string{"login", "--user", "ann", "--context", file}}, 6, "wrong"},
		"no password":    {call{args: []string{"login", "--user", "ann", "--context", file}}, 2, "password: standard input has no such line"},
		"an argument":    {call{args: []string{"login", "ann", "secret", "--context", file}}, 2, "is too much"},
		"no context":     {call{env: f.env(), in: "x\n", args: []string{"login", "--user", "ann"}}, 2, "--context FILE"},
		"a long line":    {call{in: strings.Repeat("x", 5000) + "\n", args: []string{"login", "--user", "ann", "--context", file}}, 2, "cannot read standard input"},
	} {
		r := run(t.Context(), c.call)
		if r.code != c.code || !strings.Contains(r.err, c.said) {
			t.Errorf("%s: exit %d: %s", name, r.code, r.err)
		}
	}
	if _, err := os.Stat(file + ".session"); !os.IsNotExist(err) {
		t.Errorf("a session is kept: %v", err)
	}
}

func TestPasswordsAreReadFromStandardInput(t *testing.T) {
	f := startFake(t)
	for _, c := range []struct {
		args, in, asked string
	}{
		{"user add eve --role driller,auditor", "a long password\n", `{"name":"eve","password":"a long password","roles":["driller","auditor"]}`},
		{"user passwd eve", "a long password", `{"password":"a long password"}`},
		{"user passwd", "the old one\n\nthe new long one\n", `{"new":"the new long one","password":"the old one"}`},
		{"user roles eve driller viewer", "", `{"roles":["driller","viewer"]}`},
		{"user remove eve --yes", "", "DELETE /api/v1/users/eve"},
		{"user unlock eve", "", "POST /api/v1/users/eve/unlock"},
	} {
		r := run(t.Context(), call{env: f.env(), in: c.in, args: strings.Fields(c.args)})
		if r.code != 0 || !slices.Contains(f.asked, c.asked) {
			t.Errorf("%s: exit %d: %s; asked %q", c.args, r.code, r.err, f.asked)
		}
	}
	r := run(t.Context(), call{env: f.env(), ask: true, in: "a long password\nanother one\n", args: []string{"user", "passwd", "eve"}})
	if r.code != 2 || !strings.Contains(r.err, "two different passwords") {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
	for _, wrong := range []string{"user add eve", "user add eve --role king", "user roles eve", "user roles eve king", "policy set second-factor required-for-real maybe", "policy set x y on"} {
		if r := run(t.Context(), call{env: f.env(), in: "a long password\n", args: strings.Fields(wrong)}); r.code != 2 {
			t.Errorf("%s: exit %d: %s", wrong, r.code, r.err)
		}
	}
}

func TestSecondFactorIsEnrolledWithAPictureAndItsCodesAreShownOnce(t *testing.T) {
	f := startFake(t)
	if r := run(t.Context(), call{env: f.env(), args: []string{"user", "totp"}}); r.code != 3 || r.out != "" || !strings.Contains(r.err, "perdure login") {
		t.Errorf("with a token: exit %d: %s%s", r.code, r.out, r.err)
	}
	f.session = true
	r := run(t.Context(), call{env: f.env("PERDURE_TOKEN", sessionSecret), in: "correct horse battery\n\n654321\n", args: []string{"user", "totp"}})
	if r.code != 0 || !slices.Contains(f.asked, "correct horse battery//654321") {
		t.Fatalf("exit %d: %s; asked %q", r.code, r.err, f.asked)
	}
	if r.out != "ABCD-EFGH-IJKL-MNOP\nBCDE-FGHI-JKLM-NOPQ\n" || !strings.Contains(r.err, "otpauth://totp/Perdure:ann?") || !strings.Contains(r.err, "█▀▀▀") && !strings.Contains(r.err, "▄▄▄▄▄") {
		t.Errorf("%s%s", r.out, r.err)
	}
}

func TestWordsOfApprovalsAreSaid(t *testing.T) {
	f := withPlans(t)
	for args, want := range map[string]string{
		"run delegate r1 agree --to cid --reason leave --for commander": `{"for":"commander","step":"agree","text":"leave","to":"cid","what":"delegated"}`,
		"run add-approver r1 agree --of risk":                           `{"for":"risk","step":"agree","what":"addedApprover"}`,
		"run break-glass r1 agree --reason alone --yes":                 `{"step":"agree","text":"alone","what":"brokeGlass"}`,
		"run review r1 --finding justified":                             `{"text":"justified","what":"reviewed"}`,
		"run attest r1 --for auditor --comment seen":                    `{"for":"auditor","text":"seen","what":"attested"}`,
		"run attest r1 --objection late":                                `{"objects":true,"text":"late","what":"attested"}`,
	} {
		r := run(t.Context(), call{env: f.env(), args: strings.Fields(args)})
		if r.code != 0 || !slices.Contains(f.asked, want) {
			t.Errorf("%s: exit %d: %s; asked %q", args, r.code, r.err, f.asked)
		}
	}
	for _, wrong := range []string{"run delegate r1 agree --to cid", "run delegate r1 agree --reason x", "run add-approver r1 agree", "run break-glass r1 agree", "run break-glass r1 agree --reason x", "run review r1", "run attest", "run attest r1 --comment a --objection b"} {
		if r := run(t.Context(), call{env: f.env(), args: strings.Fields(wrong)}); r.code != 2 {
			t.Errorf("%s: exit %d: %s", wrong, r.code, r.err)
		}
	}
}

func TestRunWithBrokenGlassIsListedAsDueForReview(t *testing.T) {
	f := withPlans(t)
	f.reviewDue = true
	r := run(t.Context(), call{env: f.env(), args: []string{"run", "list"}})
	if r.code != 0 || !strings.Contains(r.out, "done, review due") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	f.journal = slices.Insert(f.journal, 5, runs.Entry{At: f.journal[4].At, By: "ann", What: runs.Delegated, Node: "agree", To: "cid", Text: "on leave"}, runs.Entry{At: f.journal[4].At, By: "op", What: runs.AddedApprover, Node: "agree", For: "risk"})
	for i := range f.journal {
		f.journal[i].Seq = i + 1
	}
	r = run(t.Context(), call{env: f.env(), args: []string{"run", "watch", "r1"}})
	if r.code != 0 || !strings.Contains(r.out, "to cid; on leave") || !strings.Contains(r.out, "op           risk") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
}

package cli_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"perdure/internal/duty"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/plan"
	runs "perdure/internal/run"
	"perdure/internal/wire"
)

// serveRuns answers for one run, "r1", whose journal is f.journal.
func (f *fakeNode) serveRuns(answer func(pattern string, give func(r *http.Request) any)) {
	head := func() wire.Run {
		h := wire.Run{ID: "r1", Plan: "move-unit", Mode: plan.Takeover, StartedBy: "ann", StartedAt: now, Phase: runs.Running, Steps: 7, Settled: 1, Asked: []string{"agree"}, Reason: "power works", Notes: f.notes}
		if n := len(f.journal); n > 0 && f.journal[n-1].What == runs.Finished {
			h.Phase, h.Outcome, h.Asked, h.Settled, h.ReviewDue = runs.Over, f.journal[n-1].Outcome, nil, 7, f.reviewDue
		}
		return h
	}
	said := func(r *http.Request) {
		var v map[string]any
		_ = json.NewDecoder(r.Body).Decode(&v)
		delete(v, "id")
		text, _ := json.Marshal(v)
		f.note(string(text))
	}
	answer("POST /api/v1/runs", func(r *http.Request) any { said(r); return head() })
	answer("GET /api/v1/runs", func(*http.Request) any {
		if f.journal == nil {
			return []wire.Run{}
		}
		return []wire.Run{head()}
	})
	answer("GET /api/v1/runs/{run}", func(*http.Request) any {
		return wire.RunState{Run: head(), Steps: []wire.RunStep{
			{ID: "before", Kind: plan.CheckStep, Status: runs.DoneStep, BeganAt: now, EndedAt: now + 40},
			{ID: "agree", Kind: plan.ApprovalStep, Status: runs.Open, Text: "Switch u1?", Of: []string{"commander"}, Need: 2, Votes: []runs.Vote{{Who: "bob", For: "commander", Approved: true, Comment: "go"}}},
			{ID: "count", Kind: plan.ManualStep, Status: runs.Open, Text: "Compare.", Owner: "operator", Fields: []plan.Parameter{{Name: "difference", Type: plan.Number, Required: true}, {Name: "side", Type: plan.Choice, Of: []string{"ours", "theirs"}, Doc: "Who is short."}}},
			{ID: "in", Kind: plan.SubplanStep},
			{ID: "in/deep", Kind: plan.ActStep, Status: runs.Asking, Error: "no room"},
			{ID: "north", Kind: plan.ManualStep, Status: runs.DoneStep, Owner: "branch-north", Attachments: []runs.Attachment{{Name: "totals.pdf", Type: "application/pdf", Size: 1200, SHA256: "5eed"}}},
			{ID: "south", Kind: plan.ManualStep, Status: runs.Open, Text: "Hold.", Owner: "branch-south", Wants: 1, Answer: &runs.Answer{What: runs.Acknowledged, By: "qi", At: time.UnixMilli(now)}},
		}, Participants: []wire.ParticipantProgress{
			{Title: "Northern branch", Contacts: []estate.Contact{{Name: "Desk", Phone: "555"}}, Progress: runs.Progress{Owner: "branch-north", Tasks: []runs.TaskOf{{Step: "north", State: runs.TaskDone, Since: time.UnixMilli(now), By: "li"}, {Step: "count", State: runs.TaskAhead}}}},
			{Title: "Southern branch", Contacts: []estate.Contact{{Name: "Desk", Phone: "555"}, {Name: "Head", Mail: "head@south.example"}}, Progress: runs.Progress{Owner: "branch-south", Tasks: []runs.TaskOf{{Step: "south", State: runs.TaskAcknowledged, Since: time.UnixMilli(now + 1000), By: "qi"}}}},
			{Duty: &duty.Standing{People: []duty.Person{{Name: "wu"}}}, Progress: runs.Progress{Owner: "east-desk", Tasks: []runs.TaskOf{{Step: "east", State: runs.TaskUnanswered, Since: time.UnixMilli(now)}}}},
		}}
	})
	answer("GET /api/v1/runs/{run}/journal", func(r *http.Request) any {
		after, _ := strconv.Atoi(r.URL.Query().Get("after"))
		return f.journal[after:min(after+1, len(f.journal))]
	})
	answer("PUT /api/v1/runs/{run}/attachments", func(r *http.Request) any {
		data, _ := io.ReadAll(r.Body)
		f.note(r.URL.Query().Get("step") + " " + r.URL.Query().Get("name") + " " + string(data))
		a, err := runs.NewAttachment(r.URL.Query().Get("name"), data)
		if err != nil {
			panic(err)
		}
		return wire.KeptAttachment{Attachment: a}
	})
	answer("POST /api/v1/runs/{run}/words", func(r *http.Request) any { said(r); return head() })
}

// withPlans is a node with a run of the example's plan.
func withPlans(t *testing.T) *fakeNode {
	t.Helper()
	f := startFake(t)
	at := time.UnixMilli(now).UTC()
	f.journal = []runs.Entry{
		{Seq: 1, At: at, By: "ann", What: runs.Started, Text: "power works"},
		{Seq: 2, At: at.Add(40 * time.Millisecond), By: "node:a", What: runs.Began, Node: "before", Attempt: 1},
		{Seq: 3, At: at.Add(90 * time.Millisecond), By: "node:a", What: runs.Ended, Node: "before", Attempt: 1, Outcome: runs.Done},
		{Seq: 4, At: at.Add(95 * time.Millisecond), By: "node:a", What: runs.Opened, Node: "agree", Text: "Switch u1 from a to b?"},
		{Seq: 5, At: at.Add(time.Second), By: "bob", What: runs.Approved, Node: "agree", For: "commander", Text: "go"},
		{Seq: 6, At: at.Add(2 * time.Second), By: "node:a", What: runs.Ended, Node: "switch", Attempt: 1, Outcome: runs.Failed, Error: "no copy"},
		{Seq: 7, At: at.Add(3 * time.Second), By: "node:a", What: runs.Finished, Outcome: runs.Done},
	}
	return f
}

var start = []string{"run", "start", "move-unit", "--mode", "takeover", "--set", "unit=u1", "--set", "to=b", "--reason", "power works", "--yes"}

func TestPlansAreCheckedAndDrawnInBothLanguages(t *testing.T) {
	f := withPlans(t)
	for lang, suffix := range map[string]string{"en": "en", "zh-CN": "zh"} {
		var out strings.Builder
		for _, args := range [][]string{{"plan", "check", "../../examples/estate"}, {"plan", "show", "move-unit"}, {"plan", "show", "switch-unit"}, {"plan", "list"}, {"run", "list"}, {"run", "show", "r1"}} {
			r := run(t.Context(), call{env: f.env(), args: append(args, "--lang", lang)})
			if r.code != 0 {
				t.Fatalf("%q: exit %d: %s", args, r.code, r.err)
			}
			out.WriteString("$ perdure " + strings.Join(args, " ") + "\n" + r.out)
		}
		golden(t, "plans-"+suffix+".golden", out.String())
	}
	r := run(t.Context(), call{args: []string{"plan", "show", "move-unit", "--file", "../../examples/estate/plans.yaml", "--mode", "switch-back", "--format", "mermaid"}})
	if r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.err)
	}
	golden(t, "plan-mermaid.golden", r.out)
}

func TestPlanThatCannotMeetItsObjectiveIsDoubtedByTheCommands(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.yaml")
	text := "apiVersion: perdure/v1\nkind: Plan\nname: late\nmodes: [emergency]\nrto: 10m\nsteps: [{id: a, wait: {for: 40m}}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t.Context(), call{args: []string{"plan", "check", file}})
	if r.code != 0 || !strings.Contains(r.out, "doubtful: ") || !strings.Contains(r.out, "it may take 40m0s without people, longer than the objective 10m; the longest way: a") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	if r = run(t.Context(), call{args: []string{"plan", "check", file, "--json"}}); !strings.Contains(r.out, `"doubts":[{`) && !strings.Contains(r.out, `"doubts": [`) {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	if r = run(t.Context(), call{args: []string{"plan", "show", "late", "--file", file}}); r.code != 0 || !strings.Contains(r.out, "doubtful: 40m0s > rto 10m") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
}

func TestWrongCallsOfPlansAndRunsAreTold(t *testing.T) {
	f := withPlans(t)
	empty := filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(empty, []byte("kind: Plan\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]struct {
		code int
		said string
	}{
		"plan check " + empty:                                            {2, "steps: missing"},
		"plan check ../../examples/estate/sites.yaml":                    {0, "there are no plans"},
		"plan show other":                                                {4, `there is no plan "other"`},
		"plan show move-unit --mode drill":                               {2, "is not for mode drill"},
		"plan show move-unit --format png":                               {2, "allowed: text, mermaid, svg"},
		"run start other --mode takeover --yes":                          {4, `there is no plan "other"`},
		"run start move-unit --yes":                                      {2, "unknown mode"},
		"run start move-unit --mode drill --yes":                         {2, "is not for mode drill"},
		"run start move-unit --mode takeover --set unit=u1 --yes":        {2, "parameter to of plan move-unit is missing"},
		"run start move-unit --mode takeover --set unit --yes":           {2, "give NAME=VALUE"},
		"run start move-unit --mode takeover --set x=1 --set to=b --yes": {2, "has no parameter x"},
		"run start move-unit --mode takeover --set unit=u1 --set to=b":   {2, "--yes"},
		"run cancel r1":                               {2, "--reason is missing"},
		"run skip r1 agree":                           {2, "--reason is missing"},
		"run decline r1 agree":                        {2, "--reason is missing"},
		"run take-over r1 switch":                     {2, "--reason is missing"},
		"run approve r1":                              {2, "STEP"},
		"run complete-task r1 count --set difference": {2, "give NAME=VALUE"},
		"run attachment r1 5eed":                      {2, "--out is missing"},
	} {
		r := run(t.Context(), call{env: f.env(), args: strings.Fields(args)})
		if r.code != want.code || !strings.Contains(r.out+r.err, want.said) {
			t.Errorf("%s: exit %d: %s%s", args, r.code, r.out, r.err)
		}
	}
	if slices.ContainsFunc(f.asked, func(a string) bool { return strings.HasPrefix(a, "POST") }) {
		t.Errorf("asked: %q", f.asked)
	}
}

func TestRunIsStartedAndWatchedUntilItsEnd(t *testing.T) {
	for lang, suffix := range map[string]string{"en": "en", "zh-CN": "zh"} {
		f := withPlans(t)
		r := run(t.Context(), call{env: f.env(), args: append(slices.Clone(start), "--lang", lang)})
		if r.code != 0 {
			t.Fatalf("exit %d: %s", r.code, r.err)
		}
		golden(t, "run-"+suffix+".golden", r.out)
		if !slices.Contains(f.asked, `{"mode":"takeover","params":{"to":"b","unit":"u1"},"plan":"move-unit","reason":"power works"}`) {
			t.Errorf("asked: %q", f.asked)
		}
	}
}

func TestRunAsJSONIsItsJournal(t *testing.T) {
	f := withPlans(t)
	r := run(t.Context(), call{env: f.env(), args: append(slices.Clone(start), "--json")})
	dec := json.NewDecoder(strings.NewReader(r.out))
	var got []runs.Entry
	for dec.More() {
		var e runs.Entry
		if err := dec.Decode(&e); err != nil {
			t.Fatalf("%v:\n%s", err, r.out)
		}
		got = append(got, e)
	}
	if r.code != 0 || len(got) != len(f.journal) || got[6].What != runs.Finished {
		t.Errorf("exit %d: %+v", r.code, got)
	}
	f.manifest.Text = ""
	f.journal = nil
	if r := run(t.Context(), call{env: f.env(), args: []string{"run", "list", "--json"}}); r.code != 0 || strings.TrimSpace(r.out) != "[]" {
		t.Errorf("run list: exit %d: %s%s", r.code, r.out, r.err)
	}
	var plans []plan.Plan // what stays are those of the product's own
	r = run(t.Context(), call{env: f.env(), args: []string{"plan", "list", "--json"}})
	if err := json.Unmarshal([]byte(r.out), &plans); err != nil || r.code != 0 || len(plans) != len(plan.BuiltInPlans()) || plans[0].Name != plan.SwitchUnit {
		t.Errorf("plan list: exit %d: %s%s", r.code, r.out, r.err)
	}
}

func TestEndOfARunIsThatOfItsCommand(t *testing.T) {
	for outcome, code := range map[runs.Outcome]int{runs.Done: 0, runs.Undone: 3, runs.Broken: 3, runs.Refused: 3} {
		f := withPlans(t)
		f.journal[6].Outcome = outcome
		if r := run(t.Context(), call{env: f.env(), args: []string{"run", "watch", "r1"}}); r.code != code {
			t.Errorf("%s: exit %d: %s", outcome, r.code, r.err)
		}
	}
	f := withPlans(t)
	f.journal = f.journal[:4]
	r := run(t.Context(), call{env: f.env(), args: []string{"run", "watch", "r1", "--wait", "600ms"}})
	if r.code == 0 || !strings.Contains(r.err, "run r1 goes on") {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
}

func TestWordsOfPeopleAreSaidAsTheyAre(t *testing.T) {
	f := withPlans(t)
	for args, want := range map[string]string{
		"run pause r1":                                           `{"what":"paused"}`,
		"run resume r1":                                          `{"what":"resumed"}`,
		"run cancel r1 --undo --reason wrong":                    `{"text":"wrong","undo":true,"what":"cancelled"}`,
		"run take-over r1 switch --undo --reason byhand":         `{"step":"switch","text":"byhand","undo":true,"what":"takenOver"}`,
		"run retry r1 in/deep":                                   `{"step":"in/deep","what":"retried"}`,
		"run skip r1 tell --reason later":                        `{"step":"tell","text":"later","what":"skipped"}`,
		"run take-over r1 switch --reason byhand --set pause=12": `{"result":{"pause":12},"step":"switch","text":"byhand","what":"takenOver"}`,
		"run approve r1 agree --for commander --reason go":       `{"for":"commander","step":"agree","text":"go","what":"approved"}`,
		"run acknowledge r1 north":                               `{"step":"north","what":"acknowledged"}`,
		"run decline r1 north --reason closed":                   `{"step":"north","text":"closed","what":"declined"}`,
		"run decline r1 agree --for commander --reason no":       `{"for":"commander","step":"agree","text":"no","what":"declined"}`,
		`run complete-task r1 count --set difference=-1.5 --set ok=true --set account=007 --set n="12" --set x=NaN`: `{"result":{"account":"007","difference":-1.5,"n":"12","ok":true,"x":"NaN"},"step":"count","what":"completed"}`,
	} {
		r := run(t.Context(), call{env: f.env(), args: strings.Fields(args)})
		if r.code != 0 || !slices.Contains(f.asked, want) {
			t.Errorf("%s: exit %d: %s%s; asked %q", args, r.code, r.out, r.err, f.asked[len(f.asked)-1])
		}
	}
	for kind, code := range map[errs.Kind]int{errs.Forbidden: 6, errs.Conflict: 7, errs.Refused: 3, errs.NotFound: 4} {
		status := map[errs.Kind]int{errs.Forbidden: 403, errs.Conflict: 409, errs.Refused: 422, errs.NotFound: 404}[kind]
		f.refusal = &wire.Problem{Status: status, Kind: string(kind), Detail: "ann may not decide for commander"}
		r := run(t.Context(), call{env: f.env(), args: []string{"run", "approve", "r1", "agree", "--for", "commander"}})
		if r.code != code || !strings.Contains(r.err, "ann may not decide for commander") {
			t.Errorf("%s: exit %d: %s", kind, r.code, r.err)
		}
	}
}

func TestStatusTellsOfWhomRunsWait(t *testing.T) {
	f := withPlans(t)
	f.journal = f.journal[:4]
	r := run(t.Context(), call{env: f.env(), args: []string{"status"}})
	if r.code != 0 || !strings.Contains(r.out, "  r1: waits for branch-south (Southern branch): south, acknowledged by qi since ") || strings.Contains(r.out, "branch-north") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
}

func TestFilesAreHandedInBeforeTheTaskIsCompleted(t *testing.T) {
	f := withPlans(t)
	dir := t.TempDir()
	good, bad, out := filepath.Join(dir, "totals.txt"), filepath.Join(dir, "virus.exe"), filepath.Join(dir, "out.txt")
	for name, text := range map[string]string{good: "difference: 0", bad: "MZ\x00"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	complete := []string{"run", "complete-task", "r1", "count", "--attach"}
	r := run(t.Context(), call{env: f.env(), args: append(slices.Clone(complete), good, "--attach", bad)})
	if r.code != 2 || !strings.Contains(r.err, "virus.exe is nothing that can be attached") || slices.ContainsFunc(f.asked, func(a string) bool { return strings.HasPrefix(a, "PUT") }) {
		t.Fatalf("exit %d: %s; asked %q", r.code, r.err, f.asked)
	}
	if r = run(t.Context(), call{env: f.env(), args: append(slices.Clone(complete), dir+"/none")}); r.code != 4 {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
	r = run(t.Context(), call{env: f.env(), args: append(slices.Clone(complete), good)})
	a, err := runs.NewAttachment("totals.txt", []byte("difference: 0"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"PUT /api/v1/runs/r1/attachments", "count totals.txt difference: 0", "POST /api/v1/runs/r1/words", `{"attachments":["` + a.SHA256 + `"],"step":"count","what":"completed"}`}
	if r.code != 0 || len(f.asked) < 4 || !slices.Equal(f.asked[len(f.asked)-4:], want) {
		t.Errorf("exit %d: %s; asked %q", r.code, r.err, f.asked)
	}
	fetch := func(sum string) result {
		return run(t.Context(), call{env: f.env(), args: []string{"run", "attachment", "r1", sum, "--out", out}})
	}
	if r := fetch(strings.Repeat("0", 64)); r.code == 0 {
		t.Errorf("another file is taken for it: %s", r.out)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("it was written although it is another one")
	}
	r2 := fetch(a.SHA256)
	if text, err := os.ReadFile(out); r2.code != 0 || err != nil || string(text) != "difference: 0" {
		t.Errorf("exit %d: %s; %q, %v", r2.code, r2.err, text, err)
	}
}

func TestNumbersAreTakenWhole(t *testing.T) {
	f := withPlans(t)
	f.manifest.Text = "apiVersion: perdure/v1\nkind: Plan\nname: n\nmodes: [change]\nparameters: [{name: n, type: number}]\nsteps: [{id: a, wait: {for: 1s}}]\n"
	for value, code := range map[string]int{"12": 0, "1e3": 0, "12abc": 2, "NaN": 2, "inf": 2, "1 2": 2, "": 2} {
		r := run(t.Context(), call{env: f.env(), args: []string{"run", "start", "n", "--mode", "change", "--set", "n=" + value, "--yes", "--no-wait"}})
		if r.code != code {
			t.Errorf("%q: exit %d: %s", value, r.code, r.err)
		}
	}
}

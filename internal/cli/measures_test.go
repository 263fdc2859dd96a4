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

	"perdure/internal/manifest"
	"perdure/internal/measure"
	"perdure/internal/plan"
	runs "perdure/internal/run"
	"perdure/internal/wire"
)

// serveMeasures answers for the measures of run "r1", and looks ahead with what f.history says.
func (f *fakeNode) serveMeasures(answer func(pattern string, give func(r *http.Request) any), mux *http.ServeMux) {
	answer("GET /api/v1/runs/{run}/measures", func(*http.Request) any { return measured() })
	answer("POST /api/v1/plans/{plan}/preflight", func(r *http.Request) any {
		var ask wire.PreflightRequest
		_ = json.NewDecoder(r.Body).Decode(&ask)
		text, _ := json.Marshal(ask)
		f.note(string(text))
		plans, err := manifest.PlanOf(r.PathValue("plan"), manifest.File{Text: []byte(f.manifest.Text)})
		if err != nil {
			return &wire.Problem{Status: 422, Detail: err.Error()}
		}
		p, err := plan.Compile(plans, plan.BuiltIn(), r.PathValue("plan"), ask.Mode)
		if err != nil {
			return &wire.Problem{Status: 422, Detail: err.Error()}
		}
		h := measure.NewHistory()
		for _, m := range f.history {
			h.Add(p, m)
		}
		ahead, err := measure.Before(p, ask.Params, plan.BuiltIn(), h, 1)
		if err != nil {
			return &wire.Problem{Status: 422, Detail: err.Error()}
		}
		return ahead
	})
	mux.HandleFunc("GET /api/v1/runs/{run}/report", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.note(r.URL.RawQuery)
		if r.PathValue("run") != "r1" {
			writeProblem(w, wire.Problem{Status: 404, Kind: "not-found", Detail: "there is no run"})
			return
		}
		_, _ = w.Write([]byte("<p>report</p>\n"))
	})
}

func measured() measure.Measures {
	at := time.UnixMilli(now).UTC()
	d := func(s int) *time.Duration { v := time.Duration(s) * time.Second; return &v }
	yes := true
	return measure.Measures{
		Run: "r1", Plan: "move-unit", Mode: plan.Takeover, StartedBy: "ann", Phase: runs.Over, Outcome: runs.Done, Start: at, End: at.Add(time.Minute),
		Clocks: measure.Clocks{Decide: d(14), Execute: d(36), Verify: d(10)}, RTO: measure.RTO{Target: 30 * time.Minute, From: measure.Start, Took: d(60), Met: &yes},
		Path: []measure.Leg{{Step: "before", From: at, To: at.Add(4 * time.Second)}, {Step: "switch", From: at.Add(4 * time.Second), To: at.Add(time.Minute), Lock: true}},
		Steps: []measure.Step{
			{ID: "before", Kind: plan.CheckStep, Status: runs.DoneStep, Ready: at, Begin: at, End: at.Add(4 * time.Second), Worked: 4 * time.Second, Attempts: 1},
			{ID: "switch", Kind: plan.ActStep, Status: runs.DoneStep, Ready: at, Begin: at, End: at.Add(time.Minute), Locks: 20 * time.Second, People: 4 * time.Second, Worked: 36 * time.Second, Attempts: 2},
			{ID: "tell", Kind: plan.NotifyStep},
		},
	}
}

// took is a run of the plan in which every step took so long.
func tookEach(t *testing.T, f *fakeNode, name string, mode plan.Mode, each time.Duration) *measure.Measures {
	t.Helper()
	plans, err := manifest.PlanOf(name, manifest.File{Text: []byte(f.manifest.Text)})
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Compile(plans, plan.BuiltIn(), name, mode)
	if err != nil {
		t.Fatal(err)
	}
	m := &measure.Measures{Outcome: runs.Done}
	at := time.UnixMilli(now)
	for i := range p.Nodes {
		m.Steps = append(m.Steps, measure.Step{ID: p.Nodes[i].ID, Kind: p.Nodes[i].Step.Kind(), Ready: at, End: at.Add(each)})
	}
	return m
}

func TestMeasuresAndPreflightAreShownInBothLanguages(t *testing.T) {
	f := withPlans(t)
	for lang, suffix := range map[string]string{"en": "en", "zh": "zh"} {
		var out strings.Builder
		show := func(code int, args ...string) {
			r := run(t.Context(), call{env: f.env(), args: append(args, "--lang", lang)})
			if r.code != code {
				t.Errorf("%q: exit %d: %s", args, r.code, r.err)
			}
			out.WriteString("$ perdure " + strings.Join(args, " ") + "\n" + r.out)
		}
		f.history = nil
		show(0, "run", "measures", "r1")
		show(0, "plan", "preflight", "move-unit", "--mode", "takeover")
		f.history = []*measure.Measures{tookEach(t, f, "move-unit", plan.Takeover, 30*time.Second), tookEach(t, f, "move-unit", plan.Takeover, 40*time.Second)}
		show(0, "plan", "preflight", "move-unit", "--mode", "takeover", "--set", "unit=u1", "--set", "to=b")
		f.history = []*measure.Measures{tookEach(t, f, "move-unit", plan.Takeover, 30*time.Minute)}
		show(3, "plan", "preflight", "move-unit", "--mode", "takeover", "--set", "unit=u1", "--set", "to=b")
		golden(t, "measures-"+suffix+".golden", out.String())
	}
	if !slices.Contains(f.asked, `{"mode":"takeover","params":{"to":"b","unit":"u1"}}`) {
		t.Errorf("asked: %q", f.asked)
	}
}

func TestPlanThatIsTooLongIsFoundBeforeItRuns(t *testing.T) {
	f := withPlans(t)
	f.manifest.Text = "apiVersion: perdure/v1\nkind: Plan\nname: late\nmodes: [emergency]\nrto: 10m\nsteps: [{id: a, wait: {for: 40m}}]\n"
	r := run(t.Context(), call{env: f.env(), args: []string{"plan", "preflight", "late", "--mode", "emergency"}})
	if r.code != 3 || !strings.Contains(r.out, "✗ the worst case 40m0s is longer than the objective 10m0s") || !strings.Contains(r.out, "✗ the contract of the mode: nobody is asked to announce the interruption") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	r = run(t.Context(), call{env: f.env(), args: []string{"plan", "preflight", "late", "--mode", "emergency", "--json"}})
	var got measure.Preflight
	if err := json.Unmarshal([]byte(r.out), &got); err != nil || r.code != 3 || len(got.Findings) != 2 || got.Findings[0].Kind != measure.LateAtWorst {
		t.Errorf("exit %d: %s %v", r.code, r.out, err)
	}
}

func TestReportIsWrittenOnceAndWhole(t *testing.T) {
	f := withPlans(t)
	file := filepath.Join(t.TempDir(), "r1.docx")
	args := []string{"run", "report", "r1", "--lang", "zh", "--format", "docx", "--zone", "+08:00", "--out", file}
	r := run(t.Context(), call{env: f.env(), args: args})
	text, err := os.ReadFile(file)
	if r.code != 0 || err != nil || string(text) != "<p>report</p>\n" || !strings.Contains(r.out, file+"：14 字节") || !slices.Contains(f.asked, "as=record&format=docx&lang=zh-CN&zone=%2B08%3A00") {
		t.Errorf("exit %d: %s%s %q %v; asked %q", r.code, r.out, r.err, text, err, f.asked)
	}
	if r = run(t.Context(), call{env: f.env(), args: args}); r.code != 7 {
		t.Errorf("a file that exists: exit %d: %s", r.code, r.err)
	}
	if r = run(t.Context(), call{env: f.env(), args: []string{"run", "report", "r1"}}); r.code != 0 || r.out != "<p>report</p>\n" {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	if r = run(t.Context(), call{env: f.env(), args: []string{"run", "report", "r1", "--as", "evaluation"}}); r.code != 0 || !slices.Contains(f.asked, "as=evaluation&format=html&lang=en&zone=UTC") {
		t.Errorf("exit %d: %s; asked %q", r.code, r.err, f.asked)
	}
	if r = run(t.Context(), call{env: f.env(), args: []string{"run", "report", "r1", "--as", "essay"}}); r.code != 2 || !strings.Contains(r.err, "record, evaluation") {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
	gone := file + ".gone"
	if r = run(t.Context(), call{env: f.env(), args: []string{"run", "report", "r9", "--out", gone}}); r.code != 4 {
		t.Errorf("a run that is not there: exit %d: %s", r.code, r.err)
	}
	if _, err := os.Stat(gone); err == nil {
		t.Error("a file was left of a report that there is not")
	}
	if r = run(t.Context(), call{env: f.env(), args: []string{"run", "report", "r1", "--format", "pdf"}}); r.code != 2 || !strings.Contains(r.err, "html, docx, xlsx") {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
}

func TestStartCarriesWhenServiceWasDisrupted(t *testing.T) {
	f := withPlans(t)
	r := run(t.Context(), call{env: f.env(), args: append(slices.Clone(start), "--disrupted-at", "2026-11-22T08:00:00+08:00", "--detected-at", "2026-11-22T00:00:20Z")})
	want := `{"detectedAt":"2026-11-22T00:00:20Z","disruptedAt":"2026-11-22T08:00:00+08:00","mode":"takeover","params":{"to":"b","unit":"u1"},"plan":"move-unit","reason":"power works"}`
	if r.code != 0 || !slices.Contains(f.asked, want) {
		t.Errorf("exit %d: %s; asked %q", r.code, r.err, f.asked)
	}
	for _, flag := range []string{"--disrupted-at", "--detected-at"} {
		if r := run(t.Context(), call{env: f.env(), args: append(slices.Clone(start), flag, "yesterday")}); r.code != 2 || !strings.Contains(r.err, flag+` "yesterday" is no instant`) {
			t.Errorf("exit %d: %s", r.code, r.err)
		}
	}
}

package cli_test

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"perdure/internal/evaluation"
	"perdure/internal/measure"
	"perdure/internal/plan"
	"perdure/internal/rectification"
	runs "perdure/internal/run"
)

// aSheet has an item in every state.
func aSheet(t *testing.T) rectification.View {
	t.Helper()
	at := func(minutes int) time.Time {
		return time.UnixMilli(now).UTC().Add(time.Duration(minutes) * time.Minute)
	}
	s, err := rectification.Begin(&evaluation.Evaluation{
		Measures: &measure.Measures{Run: "drill-1", Plan: "drill-core", Mode: plan.Drill, Outcome: runs.Done, End: at(0)},
		Problems: []evaluation.Problem{
			{Kind: evaluation.OfCriterion, Number: 1, Judgement: &evaluation.Judgement{Criterion: evaluation.Criterion{Aspect: evaluation.Ends}, Verdict: evaluation.Missed, Outcome: runs.Broken}},
			{Kind: evaluation.Attempts, Step: "switch", Attempts: 2, Text: "not yet"},
			{Kind: evaluation.ByHand, Step: "count", Text: "ann: by phone"},
		},
	}, "ann", at(1))
	if err != nil {
		t.Fatal(err)
	}
	passed := true
	for n, c := range []rectification.Change{
		{What: rectification.Add, By: "eve", Text: "the list is old"},
		{What: rectification.Assign, By: "ann", Number: 1, Owner: "bob", Due: at(60)},
		{What: rectification.Correct, By: "bob", Number: 2, Text: "more patience"},
		{What: rectification.Accept, By: "cid", Number: 3, Text: "replaced next year"},
		{What: rectification.Correct, By: "bob", Number: 4, Text: "a new one"},
		{What: rectification.Verify, By: "eve", Number: 4, Run: "drill-2", Began: at(30), Passed: &passed, Text: "all reached"},
	} {
		c.At = at(2 + n)
		if s, err = rectification.Apply(s, c); err != nil {
			t.Fatal(err)
		}
	}
	return rectification.Look(s, at(120))
}

// answerRectifications is the fake node's part about what has to be put right.
func (f *fakeNode) answerRectifications(answer func(string, func(*http.Request) any)) {
	answer("GET /api/v1/rectifications", func(*http.Request) any {
		if f.sheet.Run == "" {
			return []rectification.View{}
		}
		return []rectification.View{f.sheet}
	})
	answer("GET /api/v1/runs/{run}/rectification", func(*http.Request) any { return f.sheet })
	answer("POST /api/v1/runs/{run}/rectification", func(*http.Request) any { f.note("opened"); return f.sheet })
	answer("POST /api/v1/runs/{run}/rectification/words", func(r *http.Request) any {
		var v map[string]any
		_ = json.NewDecoder(r.Body).Decode(&v)
		text, _ := json.Marshal(v)
		f.note(string(text))
		return f.sheet
	})
	answer("GET /api/v1/rectifications/document", func(r *http.Request) any { f.note(r.URL.RawQuery); return "page" })
}

func TestRectificationIsShownInBothLanguages(t *testing.T) {
	f := startFake(t)
	if r := run(t.Context(), call{env: f.env(), args: []string{"rectification", "list"}}); r.code != 0 || r.out != "nothing has to be put right\n" {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	f.sheet = aSheet(t)
	for lang, suffix := range map[string]string{"en": "en", "zh-CN": "zh"} {
		var out strings.Builder
		for _, args := range [][]string{{"rectification", "list"}, {"rectification", "show", "drill-1"}} {
			r := run(t.Context(), call{env: f.env(), args: append(args, "--lang", lang)})
			if r.code != 0 {
				t.Fatalf("%q: exit %d: %s", args, r.code, r.err)
			}
			out.WriteString("$ perdure " + strings.Join(args, " ") + "\n" + r.out)
		}
		golden(t, "rectification-"+suffix+".golden", out.String())
	}
	var v rectification.View
	r := run(t.Context(), call{env: f.env(), args: []string{"rectify", "show", "drill-1", "--json"}})
	if err := json.Unmarshal([]byte(r.out), &v); err != nil || len(v.Items) != 4 || !v.Items[0].Late || v.Open != 2 {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
}

func TestEveryWordOfRectificationIsSaidAsItIsGiven(t *testing.T) {
	f := startFake(t)
	f.sheet = aSheet(t)
	day := time.Date(2026, 12, 31, 23, 59, 59, 0, time.Local).Format(time.RFC3339)
	for _, c := range []struct{ args, said string }{
		{"open drill-1", "opened"},
		{"add drill-1 old --step tell", `{"step":"tell","text":"old","what":"added"}`},
		{"assign drill-1 2 --owner bob --due 2026-12-31", `{"due":"` + day + `","item":2,"owner":"bob","what":"assigned"}`},
		{"assign drill-1 2 --due 2026-12-31T18:00:00Z", `{"due":"2026-12-31T18:00:00Z","item":2,"what":"assigned"}`},
		{"corrected drill-1 2 --text mended", `{"item":2,"text":"mended","what":"corrected"}`},
		{"retest drill-1 2 --run drill-2", `{"item":2,"run":"drill-2","what":"retested"}`},
		{"retest drill-1 4 --run drill-2 --failed --text no", `{"item":4,"passed":false,"run":"drill-2","text":"no","what":"retested"}`},
		{"accept drill-1 2 --reason old", `{"item":2,"text":"old","what":"accepted"}`},
	} {
		r := run(t.Context(), call{env: f.env(), args: append([]string{"rectification"}, strings.Fields(c.args)...)})
		if r.code != 0 || !slices.Contains(f.asked, c.said) || !strings.HasPrefix(r.out, "drill-1") {
			t.Errorf("%s: exit %d: %s%s; asked %q", c.args, r.code, r.out, r.err, f.asked)
		}
	}
	for _, args := range []string{"add drill-1", "assign drill-1 x --owner a", "assign drill-1 1 --due noon", "corrected drill-1 1", "accept drill-1 0 --reason a", "retest drill-1 1", "retest drill-1 1 --run r --passed --failed", "report --format pdf", "report --at noon", "list --limit -1"} {
		if r := run(t.Context(), call{env: f.env(), args: append([]string{"rectification"}, strings.Fields(args)...)}); r.code != 2 {
			t.Errorf("%s: exit %d: %s%s", args, r.code, r.out, r.err)
		}
	}
	file := filepath.Join(t.TempDir(), "tracking.html")
	r := run(t.Context(), call{env: f.env(), args: []string{"rectification", "report", "--open", "--lang", "zh", "--at", "2026-12-31T00:00:00Z", "--out", file}})
	if r.code != 0 || !slices.ContainsFunc(f.asked, func(q string) bool {
		return strings.Contains(q, "lang=zh-CN") && strings.Contains(q, "open=true") && strings.Contains(q, "at=2026-12-31T00%3A00%3A00Z")
	}) {
		t.Errorf("exit %d: %s%s; asked %q", r.code, r.out, r.err, f.asked)
	}
}

package document_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/document"
	"perdure/internal/plan"
)

// The drill looks, is told by people what they saw, and fails in several ways.
const judgedPlan = `
apiVersion: perdure/v1
kind: Plan
name: drill
title: Practise 演练
modes: [drill]
rto: 1m
steps:
- {id: look, title: Look, check: {driver: world, action: look, target: a, expect: result.well}}
- {id: again, after: [], check: {driver: world, action: look, target: b, expect: result.well}, onFailure: ask}
- {id: never, when: "false", check: {driver: world, action: look, target: c, expect: result.well}}
- {id: left, check: {driver: world, action: look, target: d, expect: result.well}, onFailure: ask}
- {id: hand, check: {driver: world, action: look, target: e, expect: result.well}, onFailure: ask}
- {id: count, manual: {owner: operator, instruction: Count., fields: [{name: difference, type: number, required: true}]}}
- {id: agree, approval: {of: [commander], text: "Good?"}}
`

const judgedJournal = `
0s ann started - {"text":"autumn"}
0s node:a took - {"term":1}
1s node:a began look {"attempt":1,"call":{"driver":"world","action":"look","target":"a"}}
3s node:a ended look {"attempt":1,"outcome":"done"}
3s node:a began again {"attempt":1,"call":{"driver":"world","action":"look","target":"b"}}
4s node:a ended again {"attempt":1,"outcome":"failed","error":"not yet"}
5s bob retried again {"text":"now"}
6s node:a began again {"attempt":2,"call":{"driver":"world","action":"look","target":"b"}}
7s node:a ended again {"attempt":2,"outcome":"done"}
8s node:a passed never
9s node:a began left {"attempt":1,"call":{"driver":"world","action":"look","target":"d"}}
10s node:a ended left {"attempt":1,"outcome":"failed","error":"gone"}
11s bob skipped left {"text":"not today"}
12s node:a began hand {"attempt":1,"call":{"driver":"world","action":"look","target":"e"}}
13s node:a ended hand {"attempt":1,"outcome":"failed","error":"blind"}
14s bob takenOver hand {"text":"I looked"}
15s node:a opened count {"text":"Count."}
75s cid completed count {"result":{"difference":0}}
75s node:a opened agree {"text":"Good?"}
80s dan approved agree {"for":"commander"}
80s node:a finished - {"outcome":"done"}
`

func evaluated(t *testing.T, text, journal string, mode plan.Mode, l document.Language) *document.Document {
	t.Helper()
	d, err := document.Evaluation(source(t, text, journal, mode), l, shanghai)
	if err != nil {
		t.Fatal(err)
	}
	sameInAllFormats(t, d)
	return d
}

func TestEvaluationJudgesEveryCriterionOfARun(t *testing.T) {
	d := evaluated(t, judgedPlan, judgedJournal, plan.Drill, document.English)
	if d.Title != "Drill evaluation" {
		t.Errorf("%s", d.Title)
	}
	about := facts(t, d, "Summary")
	if about["Judged"] != "not passed: a criterion was missed" || about["Criteria"] != "5 met, 2 missed, 2 not known, 1 not asked" {
		t.Errorf("%q", about)
	}
	var judged []string
	for _, row := range rows(t, d, "Criteria") {
		judged = append(judged, strings.Join(row[:4], " | "))
	}
	if diff := cmp.Diff([]string{
		"1 | The run ends as done | met | done",
		"2 | The recovery time is at most 1 min | missed | 1 min 20.000 s",
		"3 | The contract of the mode is kept | met | breaks of the contract: 0",
		"4 | world a: result.well | met | done",
		"5 | world b: result.well | met | done",
		"6 | world c: result.well | not asked: its step was passed over | passed over",
		"7 | world d: result.well | missed | left out bob: not today",
		"8 | world e: result.well | not known | by hand, says bob: I looked",
		"9 | It is filled in: difference | met | difference=0",
		"10 | The evidence of the run verifies offline | not known | nothing in the run shows it",
	}, judged); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][]string{
		{"count", "task", "operator", "2026-11-22 16:00:15.000", "2026-11-22 16:01:15.000", "1 min 0.000 s", "cid"},
		{"agree", "approval", "1 of commander", "2026-11-22 16:01:15.000", "2026-11-22 16:01:20.000", "5.000 s", "dan"},
	}, rows(t, d, "Answers of people")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][]string{
		{"1", "missed: The recovery time is at most 1 min (1 min 20.000 s)", "–", "a run that meets criterion 2"},
		{"2", "missed: world d: result.well (left out bob: not today)", "left", "a run that meets criterion 7"},
		{"3", "it took 2 attempts; the first: not yet", "again", "a run in which again is done at its first attempt"},
		{"4", "it was not done by itself: bob: I looked", "hand", "a run in which hand is done by itself"},
	}, rows(t, d, "To be put right")); diff != "" {
		t.Error(diff)
	}
}

func TestEvaluationIsAsItWas(t *testing.T) {
	for _, l := range []document.Language{document.English, document.Chinese} {
		page := write(t, evaluated(t, judgedPlan, judgedJournal, plan.Drill, l).HTML)
		file := filepath.Join("testdata", "evaluation-"+string(l)+".html")
		if *update {
			if err := os.WriteFile(file, page, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(page)); diff != "" {
			t.Error(diff)
		}
	}
}

const shortPlan = "apiVersion: perdure/v1\nkind: Plan\nname: p\nmodes: [drill, takeover]\nsteps: [{id: a, wait: {for: 1s}}]"

func TestRunIsJudgedAsAWhole(t *testing.T) {
	for want, journal := range map[string]string{
		"passed":                             "0s ann started -\n0s node:a took - {\"term\":1}\n0s node:a opened a\n1s node:a ended a {\"outcome\":\"done\"}\n1s node:a finished - {\"outcome\":\"done\"}\n",
		"passed, with deviations":            "0s ann started -\n0s node:a took - {\"term\":1}\n0s node:a opened a\n0s bob paused - {\"text\":\"tea\"}\n0s bob resumed -\n1s node:a ended a {\"outcome\":\"done\"}\n1s node:a finished - {\"outcome\":\"done\"}\n",
		"not over":                           "0s ann started -\n0s node:a took - {\"term\":1}\n",
		"not passed: a criterion was missed": "0s ann started -\n0s node:a took - {\"term\":1}\n0s node:a opened a\n0s bob cancelled - {\"text\":\"stop\"}\n1s node:a finished - {\"outcome\":\"cancelled\"}\n",
	} {
		d := evaluated(t, shortPlan, journal, plan.Drill, document.English)
		if got := facts(t, d, "Summary")["Judged"]; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		for _, s := range d.Sections {
			if len(s.Facts)+len(s.Rows) == 0 || s.Title == "To be put right" && !strings.HasPrefix(want, "not passed") {
				t.Errorf("%s: there is a section %s: %q", want, s.Title, s.Rows)
			}
		}
	}
	d := evaluated(t, shortPlan, "0s ann started -\n0s node:a took - {\"term\":1}\n", plan.Takeover, document.Chinese)
	if d.Title != "切换评估报告" || rows(t, d, "评判标准")[1][1] != "已确认的业务无一丢失" || rows(t, d, "评判标准")[1][2] != "未知" {
		t.Errorf("%s: %q", d.Title, rows(t, d, "评判标准"))
	}
}

// TestWhatIsFoundAtTheTableHasToBePutRight: a tabletop is judged by what people find.
func TestWhatIsFoundAtTheTableHasToBePutRight(t *testing.T) {
	src := source(t, "apiVersion: perdure/v1\nkind: Plan\nname: p\nmodes: [takeover]\nrto: 1m\nsteps: [{id: a, wait: {for: 1s}}, {id: b, wait: {for: 1s}}]", `
0s ann started -
0s node:a took - {"term":1}
0s node:a opened a {"text":"wait 1s"}
5s bob completed a {"result":{"finding":"nobody has the key"}}
5s node:a opened b {"text":"wait 1s"}
9s bob completed b {"result":{"finding":""}}
9s node:a finished - {"outcome":"done"}
`, plan.Takeover)
	src.Program = src.Program.Tabletop()
	d, err := document.Evaluation(src, document.English, shanghai)
	if err != nil {
		t.Fatal(err)
	}
	sameInAllFormats(t, d)
	if about := facts(t, d, "Summary"); d.Title != "Drill evaluation" || about["Judged"] != "passed, with deviations" || about["Mode"] != "planned takeover (tabletop)" || about["Criteria"] != "1 met, 0 missed, 1 not known, 0 not asked" {
		t.Errorf("%s: %q", d.Title, about)
	}
	if diff := cmp.Diff([][]string{{"1", "found at the table: nobody has the key", "a", "a tabletop or a run in which nothing is found at a"}}, rows(t, d, "To be put right")); diff != "" {
		t.Error(diff)
	}
}

// TestEvaluationHasTheCriteriaOfTheDrillPlan: both are made of the program, in the same order.
func TestEvaluationHasTheCriteriaOfTheDrillPlan(t *testing.T) {
	e := whole(t)
	before, _, err := document.DrillPlan(document.PlanSource{Estate: e, Plan: "practise", Mode: plan.Drill}, document.English)
	if err != nil {
		t.Fatal(err)
	}
	program, err := plan.Compile(e.Set.Plans, plan.BuiltIn(), "practise", plan.Drill)
	if err != nil {
		t.Fatal(err)
	}
	src := source(t, shortPlan, "0s ann started -\n0s node:a took - {\"term\":1}\n", plan.Drill)
	src.Program = program
	after, err := document.Evaluation(src, document.English, shanghai)
	if err != nil {
		t.Fatal(err)
	}
	want, got := rows(t, before, "Criteria"), rows(t, after, "Criteria")
	if len(want) != len(got) || len(want) < 6 {
		t.Fatalf("%d criteria before, %d after", len(want), len(got))
	}
	for i := range want {
		if want[i][1] != got[i][1] || want[i][2] != got[i][4] {
			t.Errorf("%q, want %q", got[i], want[i])
		}
	}
}

func TestEveryEntryOfAnUnfinishedRunCanBeJudged(t *testing.T) {
	src := source(t, judgedPlan, judgedJournal, plan.Drill)
	all := src.Journal
	for n := range all {
		src.Journal = all[:n+1]
		if _, err := document.Evaluation(src, document.Chinese, shanghai); err != nil {
			t.Errorf("%d entries: %v", n+1, err)
		}
	}
}

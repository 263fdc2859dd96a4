package evaluation_test

import (
	"strings"
	"testing"

	"perdure/internal/errs"
	"perdure/internal/evaluation"
	"perdure/internal/plan"
	"perdure/internal/run/runtest"
)

const text = `
apiVersion: perdure/v1
kind: Plan
name: drill
modes: [drill]
rto: 1m
steps:
- {id: look, check: {driver: world, action: look, target: a, expect: result.well}, onFailure: ask}
- {id: set, act: {driver: world, action: set, target: a}, onFailure: ask}
- {id: maybe, when: "false", act: {driver: world, action: set, target: b}}
`

// run is the journal of a run: how long it takes, how look went, how set went, and how it ended.
func run(seconds, look, set, outcome string) string {
	steps := map[string]string{
		"look good":  `1s node:a began look {"attempt":1,"call":{"driver":"world","action":"look","target":"a"}}` + "\n" + `2s node:a ended look {"attempt":1,"outcome":"done"}`,
		"look skip":  `1s node:a began look {"attempt":1,"call":{"driver":"world","action":"look","target":"a"}}` + "\n" + `2s node:a ended look {"attempt":1,"outcome":"failed","error":"gone"}` + "\n" + `3s bob skipped look {"text":"not today"}`,
		"look hand":  `1s node:a began look {"attempt":1,"call":{"driver":"world","action":"look","target":"a"}}` + "\n" + `2s node:a ended look {"attempt":1,"outcome":"failed","error":"blind"}` + "\n" + `3s bob takenOver look {"text":"I looked"}`,
		"set good":   `4s node:a began set {"attempt":1,"call":{"driver":"world","action":"set","target":"a"}}` + "\n" + `5s node:a ended set {"attempt":1,"outcome":"done"}`,
		"set twice":  `4s node:a began set {"attempt":1,"call":{"driver":"world","action":"set","target":"a"}}` + "\n" + `5s node:a ended set {"attempt":1,"outcome":"failed","error":"not yet"}` + "\n" + `6s bob retried set {"text":"now"}` + "\n" + `7s node:a began set {"attempt":2,"call":{"driver":"world","action":"set","target":"a"}}` + "\n" + `8s node:a ended set {"attempt":2,"outcome":"done"}`,
		"set hand":   `4s node:a began set {"attempt":1,"call":{"driver":"world","action":"set","target":"a"}}` + "\n" + `5s node:a ended set {"attempt":1,"outcome":"failed","error":"no"}` + "\n" + `6s bob takenOver set {"text":"by phone"}`,
		"set cancel": `4s bob cancelled - {"text":"stop"}`,
	}
	lines := []string{`0s ann started - {"text":"autumn"}`, `0s node:a took - {"term":1}`, steps["look "+look], steps["set "+set]}
	if set != "cancel" {
		lines = append(lines, seconds+" node:a passed maybe")
	}
	return strings.Join(append(lines, seconds+` node:a finished - {"outcome":"`+outcome+`"}`), "\n") + "\n"
}

func judged(t *testing.T, journal string) *evaluation.Evaluation {
	t.Helper()
	e, err := evaluation.Of("r", runtest.Program(t, text, plan.Drill), runtest.Journal(t, journal))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestWhatARetestShows asks of every problem of one run what other runs show.
func TestWhatARetestShows(t *testing.T) {
	retests := map[string]string{
		"good":      run("10s", "good", "good", "done"),
		"late":      run("90s", "good", "good", "done"),
		"skip":      run("10s", "skip", "good", "done"),
		"look hand": run("10s", "hand", "good", "done"),
		"twice":     run("10s", "good", "twice", "done"),
		"set hand":  run("10s", "good", "hand", "done"),
		"cancelled": run("10s", "good", "cancel", "cancelled"),
	}
	for _, c := range []struct {
		name    string
		of      string // the run with the problem
		problem string // kind, aspect or step
		shows   map[string]evaluation.Verdict
	}{
		{"objective", run("90s", "good", "good", "done"), "criterion inTime", map[string]evaluation.Verdict{"good": "met", "late": "missed", "cancelled": "unknown", "twice": "met"}},
		{"cancelled", run("10s", "good", "cancel", "cancelled"), "criterion ends", map[string]evaluation.Verdict{"good": "met", "cancelled": "missed"}},
		{"left out", run("10s", "skip", "good", "done"), "criterion expected", map[string]evaluation.Verdict{"good": "met", "skip": "missed", "look hand": "unknown", "cancelled": "met"}},
		{"twice", run("10s", "good", "twice", "done"), "attempts set", map[string]evaluation.Verdict{"good": "met", "twice": "missed", "set hand": "missed", "cancelled": "unknown"}},
		{"by hand", run("10s", "good", "hand", "done"), "byHand set", map[string]evaluation.Verdict{"good": "met", "twice": "missed", "set hand": "missed", "cancelled": "unknown"}},
	} {
		var problem *evaluation.Problem
		for _, p := range judged(t, c.of).Problems {
			what := string(p.Kind) + " " + p.Step
			if p.Kind == evaluation.OfCriterion {
				what = string(p.Kind) + " " + string(p.Judgement.Aspect)
			}
			if what == c.problem {
				problem = &p
			}
		}
		if problem == nil {
			t.Errorf("%s: %+v", c.name, judged(t, c.of).Problems)
			continue
		}
		for name, want := range c.shows {
			if got, err := judged(t, retests[name]).Settles(*problem); err != nil || got != want {
				t.Errorf("%s: %s shows %s, %v; want %s", c.name, name, got, err, want)
			}
		}
	}
}

func TestRetestThatCannotShowIsRefused(t *testing.T) {
	open := judged(t, "0s ann started -\n0s node:a took - {\"term\":1}\n")
	if _, err := open.Settles(evaluation.Problem{Kind: evaluation.Said}); errs.KindOf(err) != errs.Conflict {
		t.Error(err)
	}
	over := judged(t, run("10s", "good", "good", "done"))
	for _, p := range []evaluation.Problem{
		{Kind: evaluation.Failed, Step: "other"},
		{Kind: evaluation.OfCriterion, Step: "other", Judgement: &evaluation.Judgement{Criterion: evaluation.Criterion{Aspect: evaluation.Expected, Step: "other"}}},
	} {
		if _, err := over.Settles(p); errs.KindOf(err) != errs.Refused {
			t.Errorf("%+v: %v", p, err)
		}
	}
	if v, err := over.Settles(evaluation.Problem{Kind: evaluation.Said}); err != nil || v != evaluation.Unknown {
		t.Error(v, err)
	}
	if v, err := over.Settles(evaluation.Problem{Kind: evaluation.Failed, Step: "maybe"}); err != nil || v != evaluation.Unknown {
		t.Error(v, err)
	}
}

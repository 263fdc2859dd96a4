package measure_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"perdure/internal/errs"
	"perdure/internal/measure"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/run/runtest"
)

func kinds(f *measure.Preflight) []measure.FindingKind {
	out := []measure.FindingKind{}
	for _, one := range f.Findings {
		out = append(out, one.Kind)
	}
	return out
}

func TestPlanThatCannotMeetItsObjectiveIsFoundBeforeItRuns(t *testing.T) {
	quick, slow := measure.NewHistory(), measure.NewHistory()
	for range 19 {
		past(t, quick, time.Second, time.Second, run.Done)
		past(t, slow, time.Second, time.Minute, run.Done)
	}
	for range 4 {
		past(t, quick, 2*time.Second, 3*time.Minute, run.Done)
	}
	for _, c := range []struct {
		name    string
		rto     string
		history *measure.History
		want    []measure.FindingKind
	}{
		{"no objective", "", slow, []measure.FindingKind{}},
		{"in time", "rto: 10m", quick, []measure.FindingKind{}},
		{"a worst case that is longer", "rto: 1m", measure.NewHistory(), []measure.FindingKind{measure.LateAtWorst}},
		{"people that took long every other time", "rto: 1m", slow, []measure.FindingKind{measure.LateAtWorst, measure.LateMostly}},
		{"people that took long now and then", "rto: 2m", quick, []measure.FindingKind{measure.LateSometimes}},
	} {
		p := runtest.Program(t, strings.Replace(chain, "rto: 1m", c.rto, 1), plan.Takeover)
		f, err := measure.Before(p, nil, runtest.Catalogue(), c.history, 1)
		if err != nil {
			t.Fatal(err)
		}
		if got := kinds(f); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestBreachOfTheContractIsFoundWhereItStopsNothing(t *testing.T) {
	catalogue := runtest.Catalogue()
	p := runtest.Program(t, switchPlan, plan.Emergency)
	catalogue[0].Touches.Image = plan.Backup
	f, err := measure.Before(p, nil, catalogue, measure.NewHistory(), 1)
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	for _, one := range f.Findings {
		if one.Kind == measure.BreaksRules && strings.Contains(one.Text, "a backup") {
			steps = append(steps, one.Step)
		}
	}
	if !slices.Equal(steps, []string{"first", "second", "tidy"}) {
		t.Errorf("%+v", f.Findings)
	}
}

func TestParametersThatAreMissingAreNamedAndWrongOnesRefused(t *testing.T) {
	p := runtest.Program(t, strings.Replace(chain, "steps:", "parameters: [{name: to, required: true}, {name: n, type: number}]\nsteps:", 1), plan.Takeover)
	f, err := measure.Before(p, map[string]any{"n": 3.0}, runtest.Catalogue(), measure.NewHistory(), 1)
	if err != nil || !slices.Equal(f.Missing, []string{"to"}) {
		t.Errorf("%+v, %v", f, err)
	}
	for _, given := range []map[string]any{{"n": "x"}, {"other": "x"}} {
		if _, err := measure.Before(p, given, runtest.Catalogue(), measure.NewHistory(), 1); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%v: %v", given, err)
		}
	}
}

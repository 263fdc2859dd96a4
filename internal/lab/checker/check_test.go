package checker_test

import (
	"context"
	"testing"

	"pgregory.net/rapid"

	"perdure/internal/lab/checker"
)

func judge(t rapid.TB, w *world) checker.Verdict {
	t.Helper()
	v, err := checker.Check(context.Background(), checker.Inputs{History: w.history(), Facts: &w.facts})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestCorrectRunPasses(t *testing.T) {
	v := judge(t, story(1))
	for _, f := range v.Findings {
		if !f.Accepted {
			t.Error(f)
		}
	}
	if !v.Pass || !v.MoneyConserved || v.OldEpochWrites != 0 {
		t.Errorf("pass %v, money %v, old %d", v.Pass, v.MoneyConserved, v.OldEpochWrites)
	}
	for _, s := range v.Steps {
		t.Logf("%+v", s)
	}
}

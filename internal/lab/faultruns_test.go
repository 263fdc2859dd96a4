package lab

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"perdure/internal/errs"
	"perdure/internal/lab/matrix"
)

// keep writes results that are all but two of the matrix: one that failed and one that was not carried out.
func keep(t *testing.T, revision string) (file string, failed, open matrix.Cell) {
	t.Helper()
	cells := slices.DeleteFunc(matrix.Cells(), func(c matrix.Cell) bool { return c.Skipped() != "" })
	failed, open = cells[1], cells[3]
	k := kept{Revision: revision}
	for _, c := range matrix.Cells() {
		if c != open {
			k.Results = append(k.Results, matrix.Result{Cell: c, Skipped: c.Skipped(), Passed: c != failed})
		}
	}
	file = filepath.Join(t.TempDir(), "matrix.json")
	if err := writeResults(file, k); err != nil {
		t.Fatal(err)
	}
	return file, failed, open
}

func TestResumedMatrixCarriesOutAgainWhatFailed(t *testing.T) {
	file, failed, open := keep(t, "1")
	runs := FaultRuns{Results: file, Revision: "1", Anew: func(string) { t.Error("it begins anew") }}
	results, err := runs.known()
	if err != nil {
		t.Fatal(err)
	}
	due, err := runs.due(matrix.Cells(), results)
	if err != nil || !slices.Equal(due, []matrix.Cell{failed, open}) {
		t.Errorf("due are %v, %v; want what failed and what is open: %v, %v", due, err, failed, open)
	}
	if passed, bad := matrix.Judge(results); passed == 0 || !slices.Equal(bad, []matrix.Cell{failed}) {
		t.Errorf("%d passed, failed %v", passed, bad)
	}
	runs.Only = failed.String()
	if due, err := runs.due(matrix.Cells(), results); err != nil || !slices.Equal(due, []matrix.Cell{failed}) {
		t.Errorf("only %s: due are %v, %v", failed, due, err)
	}
	runs.Only = "no such cell"
	if _, err := runs.due(matrix.Cells(), results); errs.KindOf(err) != errs.Invalid {
		t.Errorf("a name that no cell has: %v", err)
	}
}

func TestCellThatLackedRightsIsTriedAgain(t *testing.T) {
	cells := matrix.Cells()
	var results []matrix.Result
	for _, c := range cells {
		results = append(results, matrix.Result{Cell: c, Passed: true, Skipped: c.Skipped()})
	}
	i := slices.IndexFunc(cells, func(c matrix.Cell) bool { return c.Skipped() == "" })
	results[i].Skipped = "full disk of u1-a: it needs root"
	if due, err := (FaultRuns{}).due(cells, results); err != nil || !slices.Equal(due, cells[i:i+1]) {
		t.Errorf("%v %v", due, err)
	}
}

func TestResultsOfAnotherRevisionAreNotGoneOnWith(t *testing.T) {
	file, _, _ := keep(t, "1")
	old := filepath.Join(t.TempDir(), "old.json")
	if err := os.WriteFile(old, []byte(`[{"fault": "crash", "part": "primary", "passed": true}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{file: "1", old: ""} {
		told := "nothing"
		runs := FaultRuns{Results: name, Revision: "2", Anew: func(earlier string) { told = earlier }}
		results, err := runs.known()
		if err != nil || len(results) != 0 || told != want {
			t.Errorf("%d results are gone on with, told %q, %v", len(results), told, err)
		}
	}
}

func TestSampleWithoutTimeForACellIsRefused(t *testing.T) {
	if _, err := RunFaults(t.Context(), Options{}, FaultRuns{Sample: true, Time: time.Second}); errs.KindOf(err) != errs.Invalid {
		t.Errorf("error %v", err)
	}
}

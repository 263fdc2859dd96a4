package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/lab/kills"
	"perdure/internal/lab/matrix"
	"perdure/internal/lab/report"
)

// FaultRuns says which cells of the failure-mode matrix are carried out.
type FaultRuns struct {
	// Results is a file that keeps what was done, so that a run that was broken off goes on; none where empty.
	Results string
	// Revision is what the program says that it is. What Results keeps of another one proves nothing of this one: it begins anew.
	Revision string
	// Sample takes cells in a seeded order until Time is used up; otherwise all cells are carried out, those that passed by Results excepted.
	Sample bool
	Time   time.Duration
	// Only keeps cells whose name contains it.
	Only string
	// Anew is told that Results was of another revision, in the words of the file, "" where it does not say.
	Anew func(revision string)
	// Done is told each result.
	Done func(matrix.Result)
}

// kept is the file of results.
type kept struct {
	Revision string          `json:"revision"`
	Results  []matrix.Result `json:"results"`
}

// cellTime is what one cell may need; a sample begins none that might not end in its time.
const cellTime = 75 * time.Second

// RunFaults carries cells out, each on an estate of its own, and gives all results known, earlier ones of the same revision too: whether
// the product holds follows from all of them. It goes on after a cell that failed: the results say what was broken.
func RunFaults(ctx context.Context, o Options, runs FaultRuns) ([]matrix.Result, error) {
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	if runs.Sample && runs.Time > 0 && runs.Time < cellTime {
		return nil, errs.New(errs.Invalid, "cannot carry out a sample in %v: one cell may need %v", runs.Time, cellTime)
	}
	results, err := runs.known()
	if err != nil {
		return nil, err
	}
	cells := matrix.Cells()
	if runs.Sample {
		cells = matrix.Sample(o.Seed)
	}
	if cells, err = runs.due(cells, results); err != nil {
		return results, err
	}
	began := time.Now()
	for _, c := range cells {
		if runs.Time > 0 && time.Since(began)+cellTime > runs.Time {
			break
		}
		r, err := runCell(ctx, o, c)
		if ctx.Err() != nil {
			return results, context.Cause(ctx)
		}
		if err != nil {
			return results, err
		}
		results = append(slices.DeleteFunc(results, func(have matrix.Result) bool { return have.Cell == c }), r)
		runs.Done(r)
		if err := writeResults(runs.Results, kept{runs.Revision, results}); err != nil {
			return results, err
		}
	}
	return results, nil
}

// known are the results to go on from.
func (runs FaultRuns) known() ([]matrix.Result, error) {
	have, err := readResults(runs.Results)
	if err != nil || len(have.Results) == 0 {
		return []matrix.Result{}, err
	}
	if have.Revision != runs.Revision {
		runs.Anew(have.Revision)
		return []matrix.Result{}, nil
	}
	return have.Results, nil
}

// due are the cells to carry out: of those that are meant, all that have not passed yet; of a sample, all.
func (runs FaultRuns) due(cells []matrix.Cell, results []matrix.Result) ([]matrix.Cell, error) {
	meant := slices.DeleteFunc(slices.Clone(cells), func(c matrix.Cell) bool { return !strings.Contains(c.String(), runs.Only) })
	if len(meant) == 0 {
		return nil, errs.New(errs.Invalid, "no cell of the failure-mode matrix has %q in its name; names are like: %s", runs.Only, cells[0])
	}
	if runs.Sample {
		return meant, nil
	}
	return slices.DeleteFunc(meant, func(c matrix.Cell) bool {
		// What was skipped for lack of rights is tried again: they may be there now.
		return slices.ContainsFunc(results, func(r matrix.Result) bool { return r.Cell == c && r.Passed && r.Skipped == c.Skipped() })
	}), nil
}

// RunKills begins switches on one running estate and kills one process in each, times times, or less often where the time d (0: no bound)
// is over before. The seed makes the choices; where it is 0 a random one is taken, and shown.
func RunKills(ctx context.Context, o Options, times int, d time.Duration) (report.Summary, error) {
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	return runText(ctx, o, kills.Story(times, d))
}

// runCell carries out one cell's story. What the story ran into is part of the result, not an error.
func runCell(ctx context.Context, o Options, c matrix.Cell) (matrix.Result, error) {
	result := matrix.Result{Cell: c, Skipped: c.Skipped(), Seed: o.Seed, Passed: true}
	if result.Skipped != "" {
		return result, nil
	}
	summary, err := runText(ctx, o, c.Story())
	result.Passed = err == nil && summary.Verdict == "pass"
	if err != nil {
		result.Why = err.Error()
	} else if !result.Passed {
		result.Why = strings.Join(findings(summary), ", ")
	}
	for _, e := range summary.Details.Estates {
		for _, f := range e.Timeline.Faults {
			if f.Skipped != "" {
				result.Skipped = f.Skipped
			}
		}
	}
	for _, s := range summary.Steps {
		result.GapMs = max(result.GapMs, s.Gap)
		result.Lost += int64(s.Lost)
		result.Doubled += int64(s.Doubled)
		result.Errors += int64(s.Errors)
	}
	return result, nil
}

// findings names what the checker found, each name once.
func findings(s report.Summary) []string {
	var names []string
	for _, e := range s.Details.Estates {
		for _, f := range e.Findings {
			if !f.Accepted && !slices.Contains(names, string(f.Name)) {
				names = append(names, string(f.Name))
			}
		}
	}
	return names
}

func readResults(file string) (kept, error) {
	var have kept
	if file == "" {
		return have, nil
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return have, nil
	}
	if err == nil && bytes.HasPrefix(text, []byte("[")) { // of a lab that did not keep the revision
		err = json.Unmarshal(text, &have.Results)
	} else if err == nil {
		err = json.Unmarshal(text, &have)
	}
	if err != nil {
		return kept{}, errs.New(errs.Invalid, "cannot read earlier results %s: %w; remove the file to begin anew", file, err)
	}
	return have, nil
}

func writeResults(file string, k kept) error {
	if file == "" {
		return nil
	}
	text, err := json.MarshalIndent(k, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o755)
	}
	if err == nil {
		err = os.WriteFile(file+".new", append(text, '\n'), 0o644)
	}
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		return errs.New(errs.Unavailable, "cannot keep the results: %w", err)
	}
	return nil
}

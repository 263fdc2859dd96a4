// Package report writes a verdict down for programs (summary.json, and details.json for everything else that was found), for a terminal (a table) and for people who were not there
// (one HTML file in Chinese and English that needs nothing else and prints well). It concludes nothing.
package report

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"perdure/internal/errs"
	"perdure/internal/lab/checker"
	"perdure/internal/lab/history"
)

// Summary is summary.json.
type Summary struct {
	Steps          []Step `json:"steps"`
	MoneyConserved bool   `json:"money_conserved"`
	OldEpochWrites int    `json:"old_epoch_writes"`
	Verdict        string `json:"verdict"` // "pass" or "fail"
	// Details holds everything else that the checker found. It stands in a file of its own.
	Details Details `json:"-"`
}

// Step is one step of the story in summary.json. Gap is in whole milliseconds, rounded up.
type Step struct {
	Name         string       `json:"name"`
	Mode         history.Mode `json:"mode"`
	Gap          int64        `json:"gap_ms"`
	Errors       int          `json:"errors"`
	Reconnects   int          `json:"reconnects"`
	Acknowledged int          `json:"acknowledged"`
	Lost         int          `json:"lost"`
	Doubled      int          `json:"doubled"`
	RPOExact     bool         `json:"rpo_exact"`
	ExpectedLoss bool         `json:"expected_loss"`
}

// Details is details.json: the verdicts of the estates of the run, with all their steps, those that only put load on, too.
type Details struct {
	Estates []checker.Verdict `json:"estates"`
	// Took is how long the run took from its first load until it was judged, Within how long it may take; 0: it had no load, no bound.
	Took   time.Duration `json:"took_ns,omitempty"`
	Within time.Duration `json:"within_ns,omitempty"`
	// Problem is what kept the run from its end, or from an end in time.
	Problem string `json:"problem,omitempty"`
}

// listed are the modes that summary.json lists.
var listed = [...]history.Mode{history.Takeover, history.Failover, history.Emergency, history.SwitchBack, history.Drill}

// Summarise draws up the summary of a run. A run without a verdict has failed.
func Summarise(vs ...checker.Verdict) Summary {
	all := checker.Merge(vs...)
	s := Summary{Steps: []Step{}, MoneyConserved: all.MoneyConserved, OldEpochWrites: all.OldEpochWrites, Verdict: "fail", Details: Details{Estates: vs}}
	if all.Pass {
		s.Verdict = "pass"
	}
	for _, step := range all.Steps {
		if !slices.Contains(listed[:], step.Mode) {
			continue
		}
		s.Steps = append(s.Steps, Step{
			Name: step.Name, Mode: step.Mode, Gap: millis(step.Gap), Errors: step.Errors, Reconnects: step.Reconnects,
			Acknowledged: step.Acknowledged, Lost: step.Lost, Doubled: step.Doubled, RPOExact: step.RPOExact, ExpectedLoss: step.ExpectedLoss,
		})
	}
	return s
}

// Failed is the summary of a run that ended before it could be checked, or that was broken off: what was checked, and why it failed.
func Failed(problem string, vs ...checker.Verdict) Summary {
	s := Summarise(vs...)
	s.Verdict, s.Details.Problem = "fail", problem
	return s
}

// millis gives whole milliseconds, rounded up.
func millis(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}

// WriteSummary writes summary.json whole or not at all.
func WriteSummary(path string, s Summary) error { return writeJSON(path, s) }

// WriteDetails writes details.json whole or not at all.
func WriteDetails(path string, d Details) error { return writeJSON(path, d) }

func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return errs.New(errs.Internal, "cannot write %s: %w", path, err)
	}
	return replace(path, func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
}

// WriteReport writes the HTML report whole or not at all.
func WriteReport(path string, s Summary) error {
	return replace(path, func(w io.Writer) error { return HTML(w, s) })
}

// replace writes a file beside and puts it in place when it is complete.
func replace(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return errs.New(errs.Unavailable, "cannot write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
			err = errs.New(errs.Unavailable, "cannot write %s: %w", path, err)
		}
	}()
	if err = write(f); err == nil {
		err = f.Chmod(0o644)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

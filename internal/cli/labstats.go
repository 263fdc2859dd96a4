package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"perdure/internal/errs"
	"perdure/internal/lab"
	"perdure/internal/lab/checker"
	"perdure/internal/lab/report"
)

// numbered is what a repeated step's name ends with.
var numbered = regexp.MustCompile(`\s*[#(]?\d+\)?$`)

// stat is the spread of one kind of step over a run.
type stat struct {
	Step   string `json:"step"`
	Times  int    `json:"times"`
	GapP50 int64  `json:"gap_p50_ms"`
	GapP95 int64  `json:"gap_p95_ms"`
	GapMax int64  `json:"gap_max_ms"`
	// Pause is between the last acknowledgement of an ownership and the first of the next.
	PauseP50 int64 `json:"pause_p50_ms"`
	PauseP95 int64 `json:"pause_p95_ms"`
	// Phases are the medians and the 95th percentiles of a planned switch's phases, in their order.
	Phases  []phaseStat `json:"phases,omitempty"`
	Errors  int         `json:"errors"`
	Lost    int         `json:"lost"`
	Doubled int         `json:"doubled"`
}

// phaseStat is the spread of one phase.
type phaseStat struct {
	Phase string `json:"phase"`
	P50   int64  `json:"p50_ms"`
	P95   int64  `json:"p95_ms"`
}

func (s *session) labStatsCommand(o *lab.Options) *cobra.Command {
	return &cobra.Command{
		Use: "stats", Short: "Medians and percentiles of the last run's repeated steps", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			var summary report.Summary
			if err := readRun(o.Dir, "summary.json", &summary); err != nil {
				return err
			}
			if err := readRun(o.Dir, "details.json", &summary.Details); err != nil {
				return err
			}
			stats := spread(summary.Details)
			if s.json {
				return s.emit(stats)
			}
			t := tabwriter.NewWriter(s.Out, 0, 4, 2, ' ', 0)
			fmt.Fprintln(t, "step\ttimes\tgap p50\tgap p95\tgap max\tpause p50\tpause p95\terrors\tlost\tdoubled")
			for _, x := range stats {
				fmt.Fprintf(t, "%s\t%d\t%d ms\t%d ms\t%d ms\t%d ms\t%d ms\t%d\t%d\t%d\n", x.Step, x.Times, x.GapP50, x.GapP95, x.GapMax, x.PauseP50, x.PauseP95, x.Errors, x.Lost, x.Doubled)
			}
			if err := t.Flush(); err != nil {
				return errs.New(errs.Internal, "cannot write the answer: %w", err)
			}
			for _, x := range stats {
				if len(x.Phases) == 0 {
					continue
				}
				fmt.Fprintf(s.Out, "%s, p50/p95 of the phases:", x.Step)
				for _, p := range x.Phases {
					fmt.Fprintf(s.Out, "  %s %d/%d ms", p.Phase, p.P50, p.P95)
				}
				fmt.Fprintln(s.Out)
			}
			fmt.Fprintf(s.Out, "verdict: %s\n", summary.Verdict)
			return nil
		},
	}
}

// readRun reads a file that a run left in the lab's folder.
func readRun(dir, name string, into any) error {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return errs.New(errs.NotFound, "no run in %s: %w", dir, err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return errs.New(errs.Invalid, "%s cannot be read: %w", filepath.Join(dir, name), err)
	}
	return nil
}

// spread groups the steps of a run by their names without numbers.
func spread(details report.Details) []stat {
	var names []string
	gaps, pauses, sums := map[string][]time.Duration{}, map[string][]time.Duration{}, map[string]*stat{}
	phases := map[string]map[string][]time.Duration{}
	for _, e := range details.Estates {
		for _, step := range e.Steps {
			name := numbered.ReplaceAllString(step.Name, "")
			if sums[name] == nil {
				names = append(names, name)
				sums[name], phases[name] = &stat{Step: name}, map[string][]time.Duration{}
			}
			x := sums[name]
			x.Times++
			x.Errors += step.Errors
			x.Lost += step.Lost
			x.Doubled += step.Doubled
			for phase, took := range step.Phases {
				phases[name][phase] = append(phases[name][phase], took)
			}
			gaps[name], pauses[name] = append(gaps[name], step.Gap), append(pauses[name], step.Pause)
		}
	}
	out := make([]stat, 0, len(names))
	for _, name := range names {
		x := *sums[name]
		x.GapP50, x.GapP95, x.GapMax = percentile(gaps[name], 50), percentile(gaps[name], 95), percentile(gaps[name], 100)
		x.PauseP50, x.PauseP95 = percentile(pauses[name], 50), percentile(pauses[name], 95)
		for _, phase := range checker.PhaseNames() {
			if took := phases[name][phase]; len(took) > 0 {
				x.Phases = append(x.Phases, phaseStat{phase, percentile(took, 50), percentile(took, 95)})
			}
		}
		out = append(out, x)
	}
	return out
}

// percentile gives the nearest-rank percentile in whole milliseconds, rounded up.
func percentile(values []time.Duration, p int) int64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	i := (len(sorted)*p + 99) / 100
	return int64((sorted[max(i, 1)-1] + time.Millisecond - 1) / time.Millisecond)
}

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/lab/checker"
	"perdure/internal/lab/report"
	"perdure/internal/lab/seeded"
)

// SeededRuns says which seeded bugs are tried.
type SeededRuns struct {
	Bugs []seeded.Bug
	// Control runs each story without its bug too: it has to pass.
	Control bool
	// Begins is told what is tried next, Done each result.
	Begins func(b seeded.Bug, control bool)
	Done   func(SeededResult)
}

// SeededResult is what became of one run of a bug's story.
type SeededResult struct {
	Number int    `json:"number"`
	Name   string `json:"name"`
	// Control: the run was one without the bug.
	Control bool `json:"control,omitempty"`
	// Passed: the bug was caught by the name it has to be caught by; a control kept every promise.
	Passed bool `json:"passed"`
	// Found are the names of the checker's findings, Why what kept the story from its end.
	Found []string `json:"found,omitempty"`
	Why   string   `json:"why,omitempty"`
	Seed  uint64   `json:"seed"`
	// Tries is how often the story was carried out.
	Tries  int   `json:"tries"`
	Millis int64 `json:"ms"`
	// Told is what the run said: of interest where it did not end as it must.
	Told string `json:"-"`
}

// RunSeeded builds the programs with each bug in them and carries out its story, which the checker has to fail by the bug's name. It
// needs the source tree and Go's toolchain; the programs stand in bin/seeded of the tree.
func RunSeeded(ctx context.Context, o Options, runs SeededRuns) ([]SeededResult, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if o.Source, err = sourceTree(o.Binary); err != nil {
		return nil, err
	}
	var results []SeededResult
	for _, b := range runs.Bugs {
		kinds := []bool{false}
		if runs.Control {
			kinds = []bool{true, false}
		}
		for _, control := range kinds {
			runs.Begins(b, control)
			r, err := runSeeded(ctx, o, b, control)
			if err != nil {
				return results, err
			}
			results = append(results, r)
			runs.Done(r)
		}
	}
	return results, nil
}

func runSeeded(ctx context.Context, o Options, b seeded.Bug, control bool) (SeededResult, error) {
	began := time.Now()
	r := SeededResult{Number: b.Number, Name: b.Name, Control: control, Seed: o.Seed}
	if !control {
		var err error
		if o.Binary, o.Bank, err = buildSeeded(ctx, o.Source, b); err != nil {
			return r, err
		}
	}
	// Whether a bug does its harm is a matter of moments, as it is in life: a story in which it did none is carried out again. What must
	// not happen has one try.
	tries := provocations
	if control {
		tries = 1
	}
	var err error
	for r.Tries < tries && !r.Passed && err == nil {
		r.Tries++
		err = r.carryOut(ctx, o, b)
	}
	r.Millis = time.Since(began).Milliseconds()
	return r, err
}

// provocations bounds how often the story of a bug is carried out until the checker finds it.
const provocations = 3

// carryOut carries out the bug's story once and says whether it ended as it has to. Its error is that the run was broken off.
func (r *SeededResult) carryOut(ctx context.Context, o Options, b seeded.Bug) error {
	// A run that has to fail says so at length: that is shown only where it did not.
	var told bytes.Buffer
	o.Out, o.Terminal = &told, false
	summary, err := runText(ctx, o, b.Story())
	r.Told = told.String()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.Found, r.Why = findings(summary), ""
	if err != nil {
		r.Why = err.Error()
	}
	if r.Control {
		r.Passed = err == nil && summary.Verdict == "pass"
		return nil
	}
	r.Passed = slices.ContainsFunc(b.Findings, func(n checker.Name) bool { return slices.Contains(r.Found, string(n)) })
	if !r.Passed && r.Why == "" {
		r.Why = "the checker had to find one of " + fmt.Sprint(b.Findings)
	}
	return nil
}

// sourceTree finds the tree that the program was built from: the present folder, or the one above the program's.
func sourceTree(binary string) (string, error) {
	for _, dir := range []string{".", filepath.Join(filepath.Dir(binary), "..")} {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module perdure\n") {
			return filepath.Abs(dir)
		}
	}
	return "", errs.New(errs.NotFound, "seeded bugs are built into the programs, and the source tree is neither here nor beside %s: run this in the clone", binary)
}

// buildSeeded builds both programs with the bug and gives their paths.
func buildSeeded(ctx context.Context, source string, b seeded.Bug) (perdure, bank string, err error) {
	tool, err := exec.LookPath("go")
	if err != nil {
		return "", "", errs.New(errs.Unavailable, "seeded bugs are built into the programs, and Go's toolchain is not on the PATH: install it (scripts/need go), or leave the seeded bugs out")
	}
	dir := filepath.Join(source, "bin", "seeded", strconv.Itoa(b.Number))
	perdure, bank = filepath.Join(dir, "perdure"), filepath.Join(dir, "corebank")
	for to, pkg := range map[string]string{perdure: "./cmd/perdure", bank: "./examples/corebank"} {
		cmd := exec.CommandContext(ctx, tool, "build", "-tags", b.Tag(), "-ldflags", "-s -w", "-o", to, pkg)
		cmd.Dir = source
		if text, err := cmd.CombinedOutput(); err != nil {
			return "", "", errs.New(errs.Unavailable, "cannot build %s: %w: %s", b, err, strings.TrimSpace(string(text)))
		}
	}
	return perdure, bank, nil
}

// runText carries out a story that is in no file.
func runText(ctx context.Context, o Options, text string) (report.Summary, error) {
	var none report.Summary
	f, err := os.CreateTemp("", "perdure-*.story")
	if err != nil {
		return none, errs.New(errs.Unavailable, "cannot write the story: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return none, errs.New(errs.Unavailable, "cannot write the story: %w", err)
	}
	return Run(ctx, f.Name(), o)
}

package run_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/run/runtest"
)

func programOf(t testing.TB, text string, mode plan.Mode) *plan.Program {
	t.Helper()
	return runtest.Program(t, text, mode)
}

// world is what runs act on. Its things outlive every runner.
type world struct {
	things  map[string]string
	effects []string // every change, in order
	failed  map[string]int
	now     time.Time
}

func newWorld() *world {
	return &world{things: map[string]string{}, failed: map[string]int{}, now: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)}
}

// act is an ensure step: nothing is done where it is done already.
func (w *world) act(c *plan.Call) (map[string]any, error) {
	switch {
	case c.Driver == "notify":
		w.effects = append(w.effects, fmt.Sprintf("told %v: %v", c.With["to"], c.With["text"]))
		return nil, nil
	case c.Action == "look":
		return map[string]any{"is": w.things[c.Target]}, nil
	}
	if n, _ := c.With["fails"].(float64); float64(w.failed[c.Target]) < n {
		w.failed[c.Target]++
		return nil, errors.New("the world refuses")
	}
	to, _ := c.With["to"].(string)
	if w.things[c.Target] != to {
		w.things[c.Target] = to
		w.effects = append(w.effects, c.Target+"="+to)
	}
	return map[string]any{"is": to}, nil
}

// probe says whether an attempt had its effect, and what it gave.
func (w *world) probe(c *plan.Call) (result map[string]any, done bool) {
	to, _ := c.With["to"].(string)
	return map[string]any{"is": to}, c.Driver == "world" && w.things[c.Target] == to
}

// people answer what they are asked.
type people func(r *run.Run) []run.Entry

// runner carries out a run, one entry after the other, and dies where crash says so.
type runner struct {
	t       testing.TB
	w       *world
	id      string
	program *plan.Program
	journal []run.Entry
	people  people
	// crash is asked before and after each thing that survives a crash.
	crash func(point string) bool
	term  int64
}

var errCrash = errors.New("crash")

func (x *runner) append(r *run.Run, e run.Entry, by string) error {
	if x.crash != nil && x.crash("before "+string(e.What)) {
		return errCrash
	}
	e.Seq, e.At, e.By = r.Seq+1, x.w.now, by
	if err := r.Advance(e); err != nil {
		x.t.Fatalf("entry %d, %s of %s, is refused: %v", e.Seq, e.What, e.Node, err)
	}
	data, err := json.Marshal(e)
	if err != nil {
		x.t.Fatal(err)
	}
	var kept run.Entry
	if err := json.Unmarshal(data, &kept); err != nil {
		x.t.Fatal(err)
	}
	x.journal = append(x.journal, kept)
	if x.crash != nil && x.crash("after "+string(e.What)) {
		return errCrash
	}
	return nil
}

// life is what one runner does until the run is over, or it dies.
func (x *runner) life() (*run.Run, error) {
	r, err := run.Replay(x.id, x.program, x.journal)
	if err != nil {
		x.t.Fatal(err)
	}
	x.term++
	if len(x.journal) > 0 && r.Phase != run.Over {
		if err := x.append(r, run.Entry{What: run.Took, Term: x.term}, "node"); err != nil {
			return r, err
		}
	}
	facts := run.Facts{}
	for range 100_000 {
		next := r.Decide(x.w.now, facts, 8)
		facts = run.Facts{}
		for _, e := range next.Entries {
			if err := x.append(r, e, "node"); err != nil {
				return r, err
			}
			if e.What != run.Began {
				continue
			}
			result, failure := x.w.act(e.Call)
			if x.crash != nil && x.crash("after the act") {
				return r, errCrash
			}
			if err := x.append(r, r.Judge(run.Attempt{Node: e.Node, Attempt: e.Attempt, Undo: e.Undo, Call: e.Call}, result, failure), "node"); err != nil {
				return r, err
			}
		}
		for _, l := range next.Looks {
			facts[l.Node] = map[string]any{}
			for _, target := range l.Targets {
				facts[l.Node][target] = map[string]any{"is": x.w.things[target]}
			}
		}
		for _, a := range next.Probes {
			e := run.Entry{What: run.Ended, Node: a.Node, Attempt: a.Attempt, Undo: a.Undo, Outcome: run.Nothing}
			if result, done := x.w.probe(a.Call); done {
				e = r.Judge(a, result, nil)
			}
			e.Probed = true
			if err := x.append(r, e, "node"); err != nil {
				return r, err
			}
		}
		if r.Phase == run.Over {
			return r, nil
		}
		if len(next.Entries)+len(next.Looks)+len(next.Probes) > 0 {
			continue
		}
		if x.people != nil {
			if said := x.people(r); len(said) > 0 {
				for _, e := range said {
					if err := x.append(r, e, e.By); err != nil {
						return r, err
					}
				}
				continue
			}
		}
		if next.Wake.IsZero() {
			x.t.Fatalf("the run stands still:\n%s", standing(r))
		}
		if next.Wake.After(x.w.now) {
			x.w.now = next.Wake
		}
	}
	x.t.Fatalf("the run does not end:\n%s", standing(r))
	return r, nil
}

// start begins a run and carries it out; crashes are lived through.
func (x *runner) start(params map[string]any) *run.Run {
	bound, err := x.program.Bind(params)
	if err != nil {
		x.t.Fatal(err)
	}
	r := run.Begin(x.id, x.program)
	crash := x.crash
	x.crash = nil
	if err := x.append(r, run.Entry{What: run.Started, Params: bound}, "ann"); err != nil {
		x.t.Fatal(err)
	}
	x.crash = crash
	for {
		r, err := x.life()
		if !errors.Is(err, errCrash) {
			return r
		}
	}
}

// standing writes how every step stands.
func standing(r *run.Run) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s\n", r.Phase, r.Outcome, r.Reason)
	for i, s := range r.Steps {
		fmt.Fprintf(&b, "%-24s %-9s", r.Program.Nodes[i].ID, s.Status)
		if s.Attempt > 1 {
			fmt.Fprintf(&b, " %d attempts", s.Attempt)
		}
		for _, name := range slices.Sorted(maps.Keys(s.Outputs)) {
			fmt.Fprintf(&b, " %s=%v", name, s.Outputs[name])
		}
		if s.Undo.Status != run.Waiting {
			fmt.Fprintf(&b, " undo %s", s.Undo.Status)
		}
		if s.Error != "" {
			fmt.Fprintf(&b, " error: %s", s.Error)
		}
		if s.Reason != "" {
			fmt.Fprintf(&b, " (%s)", s.Reason)
		}
		b.WriteString("\n")
	}
	return strings.ReplaceAll(b.String(), " \n", "\n")
}

func read(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

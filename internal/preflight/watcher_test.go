package preflight_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"perdure/internal/errs"
	"perdure/internal/measure"
	"perdure/internal/plan"
	"perdure/internal/preflight"
	"perdure/internal/run"
	"perdure/internal/run/runtest"
	"perdure/internal/wire"
)

// world is a store and an estate whose things are as things says.
type world struct {
	program *plan.Program
	mu      sync.Mutex
	text    string
	kept    map[string]measure.Armed
	runs    []wire.Run
	writes  []string
	things  map[string]string
	looks   map[string]int
	reads   int // of journals
}

func (w *world) Manifest(context.Context, wire.Read) (wire.Manifest, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return wire.Manifest{Text: w.text, Revision: int64(len(w.text))}, nil
}

func (w *world) Runs(context.Context, wire.Read) ([]wire.Run, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.runs), nil
}

func (w *world) Program(context.Context, string) (*plan.Program, error) { return w.program, nil }

func (w *world) Journal(context.Context, string, int) ([]run.Entry, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads++
	return nil, nil
}

func (w *world) Armed(context.Context, wire.Read) ([]measure.Armed, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []measure.Armed
	for _, a := range w.kept {
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b measure.Armed) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

func (w *world) KeepArmed(_ context.Context, _ string, a measure.Armed) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kept[a.Name] = a
	w.writes = append(w.writes, a.Name)
	return nil
}

func (w *world) DropArmed(_ context.Context, _ string, a measure.Armed) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.kept, a.Name)
	return nil
}

func (w *world) Look(ctx context.Context, c plan.Call) (map[string]any, error) {
	w.mu.Lock()
	w.looks[c.Target]++
	is := w.things[c.Target]
	w.mu.Unlock()
	if is == "silent" {
		<-ctx.Done()
		return nil, errs.New(errs.Unavailable, "nobody answers for %s", c.Target)
	}
	return map[string]any{"is": is}, nil
}

// list reads "NAME PRINT" of each line: armed runs of one plan.
type list struct{ program *plan.Program }

func (l list) Armed(text string) ([]preflight.Armed, error) {
	var out []preflight.Armed
	for line := range strings.Lines(text) {
		var name, print string
		if _, err := fmt.Sscan(line, &name, &print); err != nil {
			return nil, err
		}
		one := preflight.Armed{Plan: "p", Name: name, Mode: plan.Emergency, Print: print, Program: l.program}
		if print == "broken" {
			one.Program, one.Failed = nil, "it cannot be read"
		}
		out = append(out, one)
	}
	return out, nil
}

const looking = `apiVersion: perdure/v1
kind: Plan
name: p
modes: [emergency]
rto: 1h
steps:
- {id: a, timeout: 1m, check: {driver: world, action: look, target: one, expect: result.is == "good"}}
- {id: b, timeout: 1m, check: {driver: world, action: look, target: two}}
- {id: say, after: [], onFailure: continue, manual: {owner: operator, instruction: Announce it., announces: true}}
`

// TestArmedRunsAreLookedAheadAtAgainAndAgain in virtual time: what changes in the world or in the manifest is found, by the leader alone, each
// thing is looked at once however many runs ask for it, and what is the same is written rarely.
func TestArmedRunsAreLookedAheadAtAgainAndAgain(t *testing.T) {
	program := runtest.Program(t, looking, plan.Emergency)
	synctest.Test(t, func(t *testing.T) {
		w := &world{program: program, text: "x 1\ny 1\n", kept: map[string]measure.Armed{}, things: map[string]string{"one": "good", "two": "good"}, looks: map[string]int{}}
		leads, registry := true, prometheus.NewRegistry()
		watcher := preflight.NewWatcher(w, list{program}, w, preflight.Options{
			Node: "a", IsLeader: func() bool { w.mu.Lock(); defer w.mu.Unlock(); return leads }, MayAct: func() error { return nil },
			Register: registry, Logger: slog.New(slog.DiscardHandler),
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- watcher.Run(ctx) }()
		change := func(f func()) {
			w.mu.Lock()
			defer w.mu.Unlock()
			f()
		}
		want := func(when string, after time.Duration, states ...string) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			kept, _ := w.Armed(ctx, wire.Local)
			var got []string
			for _, a := range kept {
				got = append(got, a.Name+" "+string(a.State(time.Now())))
			}
			if !slices.Equal(got, states) {
				t.Errorf("%s: %q, want %q", when, got, states)
			}
		}
		want("at first", 0, "x unverified", "y unverified")
		if w.looks["one"] != 1 || w.looks["two"] != 1 {
			t.Errorf("looks: %v", w.looks)
		}
		change(func() {
			w.runs = append(w.runs, wire.Run{ID: "r1", Plan: "p", Outcome: run.Done, StartedAt: time.Now().UnixMilli(), FinishedAt: time.Now().Add(time.Second).UnixMilli()},
				wire.Run{ID: "table", Plan: "p", Outcome: run.Done, Tabletop: true, StartedAt: time.Now().UnixMilli(), FinishedAt: time.Now().Add(2 * time.Second).UnixMilli()})
		})
		want("after a run", measure.LookedEvery, "x ready", "y ready")
		if a := w.kept["x"]; a.Verified != "r1" {
			t.Errorf("verified by %q", a.Verified)
		}
		writes := len(w.writes)
		want("nothing new", measure.LookedEvery, "x ready", "y ready")
		if len(w.writes) != writes {
			t.Errorf("what is the same was written: %q", w.writes[writes:])
		}
		if w.reads != 1 {
			t.Errorf("the journal of a run was read %d times", w.reads)
		}
		change(func() { w.things["one"] = "bad" })
		want("one thing is bad", measure.LookedEvery, "x findings", "y findings")
		if got := gauges(t, registry); got["x"] != 1 || got["y"] != 1 {
			t.Errorf("metric: %v", got)
		}
		change(func() { w.things["one"], w.things["two"] = "good", "silent" })
		want("another is silent", measure.LookedEvery+time.Minute, "x findings", "y findings")
		change(func() { w.things["two"] = "good" })
		want("good again", 2*measure.LookedEvery, "x ready", "y ready")
		change(func() { w.text = "x 2\nz broken\n" }) // of another length: another revision
		want("another manifest", 3*time.Second, "x unverified", "z unknown")
		change(func() { leads = false })
		want("nobody looks", measure.StaleAfter+measure.LookedEvery, "x unknown", "z unknown")
		if got := gauges(t, registry); len(got) > 0 {
			t.Errorf("a node that does not lead tells of armed runs: %v", got)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// gauges are the findings of each armed run as they are measured.
func gauges(t *testing.T, from prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == "perdure_armed_findings" && l.GetName() == "armed" {
					out[l.GetValue()] = m.GetGauge().GetValue()
				}
			}
		}
	}
	return out
}

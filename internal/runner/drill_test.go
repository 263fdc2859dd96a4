package runner_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/generate"
	"perdure/internal/manifest"
	"perdure/internal/plan"
	"perdure/internal/resource"
	"perdure/internal/run"
	"perdure/internal/runner"
	"perdure/internal/wire"
)

// copies are the copies of an estate with an agent beside each. Whatever a drill could touch stands in things: how production is, and what of a
// sandbox is there, piece by piece.
type copies struct {
	mu     sync.Mutex
	things map[string]string
	works  map[string]*copyWork
	// stuck is an action that is never answered the first time that it is asked for: "clone u1".
	stuck string
}

// copyWork is what an agent does with a sandbox now, and what came of it.
type copyWork struct {
	ask    wire.SandboxRequest
	answer wire.SandboxAnswer
	cancel context.CancelFunc // nil: nothing is under way
}

// each is how long an agent takes for anything.
const each = 2 * time.Second

func at(id estate.UnitID, site estate.SiteID, what string) string {
	return fmt.Sprintf("%s at %s: %s", id, site, what)
}

// prior is an estate before a drill.
func prior() *copies {
	c := &copies{works: map[string]*copyWork{}, things: map[string]string{}}
	for id, sites := range map[estate.UnitID][2]estate.SiteID{"u1": {"a", "b"}, "u2": {"b", "a"}} {
		c.things[at(id, sites[0], "owner")] = "1.x.7"
		c.things[at(id, sites[0], "in-sync set")] = string(id) + "-" + string(sites[1]) + ".3"
		c.things[at(id, sites[1], "data")] = "as replicated"
		c.things[at(id, sites[1], "settings")] = "hot_standby = on"
	}
	return c
}

func (c *copies) picture() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.things)
}

// sandbox of a copy; empty: there is none.
func (c *copies) sandbox(id estate.UnitID, site estate.SiteID) driver.Sandbox {
	return driver.Sandbox{Run: c.things[at(id, site, "sandbox of")], State: driver.SandboxState(c.things[at(id, site, "sandbox is")]), Bytes: 9}
}

func (c *copies) Sandbox(_ context.Context, id estate.UnitID, site estate.SiteID, ask wire.SandboxRequest) (wire.SandboxAnswer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ask.Do == wire.SandboxLook {
		return wire.SandboxAnswer{Sandbox: c.sandbox(id, site), Done: true}, nil
	}
	place := at(id, site, "")
	w := c.works[place]
	if w == nil {
		w = &copyWork{}
		c.works[place] = w
	}
	switch {
	case w.ask == ask:
		return w.answer, nil
	case w.cancel == nil:
		ctx, cancel := context.WithCancel(context.Background())
		w.ask, w.answer, w.cancel = ask, wire.SandboxAnswer{}, cancel
		hangs := c.stuck == fmt.Sprintf("%s %s", ask.Do, id)
		if hangs {
			c.stuck = ""
		}
		go c.work(ctx, w, id, site, ask, hangs)
	case ask.Do == wire.SandboxDiscard && ask.Run == w.ask.Run:
		w.cancel()
	case ask.Run == w.ask.Run && ask.Do == w.ask.Do:
	default:
		return wire.SandboxAnswer{}, errs.New(errs.Conflict, "busy")
	}
	return wire.SandboxAnswer{}, nil
}

// restart ends what every agent does, half done as it is.
func (c *copies) restart() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for place, w := range c.works {
		if w.cancel != nil {
			w.cancel()
		}
		delete(c.works, place)
	}
}

// work does it: a piece at the beginning, the rest after a while. It ends where it is cancelled, and asks nobody whether that is still wanted.
func (c *copies) work(ctx context.Context, w *copyWork, id estate.UnitID, site estate.SiteID, ask wire.SandboxRequest, hangs bool) {
	put := func(what, is string) { c.things[at(id, site, what)] = is }
	c.mu.Lock()
	have := c.sandbox(id, site)
	answer, err := wire.SandboxAnswer{Done: true}, error(nil)
	switch {
	case ask.Do == wire.SandboxDiscard:
	case have.Run != "" && have.Run != ask.Run, ask.Do != wire.SandboxClone && have.State == "":
		err = errs.New(errs.Conflict, "the sandbox is of %q", have.Run)
	case ask.Do == wire.SandboxClone:
		put("sandbox of", ask.Run)
		put("sandbox is", string(driver.SandboxCopying))
		put("replication slot", ask.Run)
	default:
		put("journal of the sandbox", string(ask.Do))
	}
	c.mu.Unlock()
	var long <-chan time.Time
	if !hangs {
		long = time.After(each)
	}
	select {
	case <-ctx.Done():
		err = errs.New(errs.Unknown, "cut short")
	case <-long:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		switch ask.Do {
		case wire.SandboxClone:
			put("sandbox is", string(driver.SandboxCloned))
			delete(c.things, at(id, site, "replication slot"))
		case wire.SandboxOpen:
			put("sandbox is", string(driver.SandboxOpen))
			put("server of the sandbox", "runs")
		case wire.SandboxTransact:
			put("data of the sandbox", "test transactions")
			answer.Transacted = &driver.SandboxTransacted{Accounts: 2, Accepted: 2, Refused: true}
		case wire.SandboxVerify:
			answer.Verdict = &driver.SandboxVerdict{Written: true, Closed: true}
		case wire.SandboxMask:
			put("data of the sandbox", "masked")
			answer.Masked = &driver.SandboxMasked{Columns: 3}
		case wire.SandboxShow:
			answer.Shown = []driver.SandboxRows{{Table: "bank.account", Columns: []string{"id"}}}
		case wire.SandboxDiscard:
			if c.sandbox(id, site).Run == ask.Run {
				for _, what := range []string{"sandbox of", "sandbox is", "replication slot", "journal of the sandbox", "server of the sandbox", "data of the sandbox"} {
					delete(c.things, at(id, site, what))
				}
			}
		case wire.SandboxLook:
		}
	}
	if err != nil {
		answer.Error, answer.Kind = err.Error(), string(errs.KindOf(err))
	}
	answer.Sandbox = c.sandbox(id, site)
	w.answer, w.cancel = answer, nil
}

func (c *copies) Production(_ context.Context, id estate.UnitID, site estate.SiteID) (wire.Production, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return wire.Production{Accepting: true, Sandbox: c.sandbox(id, site).Run, InSync: 1}, nil
}

// PutAttachment keeps what participants are shown: it is of the run, and stays with it.
func (*copies) PutAttachment(_ context.Context, _ string, a wire.KeptAttachment, _ []byte) (wire.KeptAttachment, error) {
	return a, nil
}

// drillProgram is the generated drill of the example's core-banking system.
func drillProgram(t *testing.T) *plan.Program {
	t.Helper()
	var files []manifest.File
	for _, name := range []string{"sites.yaml", "corebank.yaml", "business.yaml"} {
		text, err := os.ReadFile(filepath.Join("../../examples/estate", name))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, manifest.File{Name: name, Text: text})
	}
	set, err := manifest.Parse(files...)
	if err != nil {
		t.Fatal(err)
	}
	made, err := generate.Plan(&set, plan.BuiltIn(), generate.Options{Mode: plan.Drill, System: "corebank"})
	if err != nil {
		t.Fatal(err)
	}
	program, err := plan.Compile([]plan.Plan{made.Plan}, plan.BuiltIn(), made.Plan.Name, plan.Drill)
	if err != nil {
		t.Fatal(err)
	}
	for i := range program.Nodes { // before a person looks at a step that hangs
		if n := &program.Nodes[i]; n.Step.Act != nil {
			n.Timeout = time.Minute
		}
	}
	return program
}

// drilled is what becomes of a drill.
type drilled struct {
	run     *run.Run
	appends int
	left    map[string]string
	locks   map[string]string
	said    []string // what people had to say beside the answers to their tasks
}

// drill carries a drill out in virtual time, with people who answer its tasks. Where a step waits for a person it is begun again if it cleans up,
// else the drill is cancelled. What happens after an append is done once it is written, with the store locked.
func drill(t *testing.T, c *copies, program *plan.Program, after func(m *memory, n int, entries []run.Entry)) (out drilled) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.fault = func(written bool, entries []run.Entry) error {
			if written {
				out.appends++
				if after != nil {
					after(m, out.appends, entries)
				}
			}
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		drivers := resource.Set{"sandbox": resource.Sandboxes{Sandboxer: c, Files: c, By: "node:a"}, "notify": resource.Notes{Log: slog.New(slog.DiscardHandler)}}
		go func() {
			over <- runner.New(m, drivers, runner.Options{Node: "a", Logger: slog.New(slog.DiscardHandler)}).Run(ctx)
		}()
		m.start(t, "r1", program)
		out.run = stands(t, m, "r1", func(r *run.Run) bool {
			for _, step := range r.Asked() {
				e := run.Entry{By: "bob", Node: step, What: run.Completed, Result: map[string]any{"usable": true}}
				if s, _ := r.Step(step); s.Status == run.Asking || s.Undo.Status == run.Asking {
					switch {
					case s.Undo.Status == run.Asking || strings.HasPrefix(step, "discard"):
						e = run.Entry{By: "ann", Node: step, What: run.Retried, Undo: s.Undo.Status == run.Asking}
					case r.Phase == run.Cleaning || r.Phase == run.Undoing: // it is left as it is
						continue
					default:
						e = run.Entry{By: "ann", What: run.Cancelled, Text: "it goes wrong"}
					}
					out.said = append(out.said, string(e.What)+" "+step)
				}
				m.say(t, "r1", e)
				return false
			}
			return r.Phase == run.Over
		})
		cancel()
		if err := <-over; err != nil {
			t.Errorf("the runner ended with %v", err)
		}
		c.restart() // nobody goes on with anything
		synctest.Wait()
		out.left, out.locks = c.picture(), m.locks
	})
	return out
}

// restored looks that an estate is exactly as it was before, and that the drill holds nothing.
func restored(t *testing.T, name string, before map[string]string, d drilled) {
	t.Helper()
	if diff := cmp.Diff(before, d.left); diff != "" {
		t.Errorf("%s: before (-), after (+):\n%s\n%s", name, diff, d.run.Reason)
	}
	if len(d.locks) > 0 || len(d.run.Held()) > 0 {
		t.Errorf("%s: locks are held: %v, %v", name, d.locks, d.run.Held())
	}
}

// priors are estates in which a drill may be begun: as it should be; with another drill's sandbox in its place; and with one elsewhere, without a copy
// in sync, after a loss.
func priors() map[string]*copies {
	plain, there, degraded := prior(), prior(), prior()
	for c, site := range map[*copies]estate.SiteID{there: "b", degraded: "c"} {
		for what, is := range map[string]string{"sandbox of": "r0", "sandbox is": string(driver.SandboxOpen), "server of the sandbox": "runs", "data of the sandbox": "masked"} {
			c.things[at("u1", site, what)] = is
		}
	}
	degraded.things[at("u1", "a", "in-sync set")] = ""
	degraded.things[at("u2", "b", "quarantine of")] = "1.x.6"
	return map[string]*copies{"plain": plain, "another's sandbox in its place": there, "degraded": degraded}
}

// TestDrillThatIsAbortedAtAnyMomentRestoresExactlyThePriorState: a picture of all that a drill could touch is the same before it and after it was
// cancelled, with and without undoing, after every entry of its journal in turn and from several prior states.
func TestDrillThatIsAbortedAtAnyMomentRestoresExactlyThePriorState(t *testing.T) {
	program := drillProgram(t)
	for name := range priors() {
		whole := drill(t, priors()[name], program, nil)
		if refused := name == "another's sandbox in its place"; (whole.run.Outcome == run.Done) == refused {
			t.Errorf("%s: the drill is %s: %s", name, whole.run.Outcome, whole.run.Reason)
		}
		restored(t, name, priors()[name].picture(), whole)
		cancelled := 0
		for _, undo := range []bool{false, true} {
			for point := 1; point <= whole.appends; point++ {
				before := priors()[name]
				picture := before.picture()
				d := drill(t, before, program, func(m *memory, n int, _ []run.Entry) {
					if n == point && m.told("r1", run.Entry{By: "ann", What: run.Cancelled, Undo: undo, Text: "the market is open"}) == nil {
						cancelled++
					}
				})
				restored(t, fmt.Sprintf("%s, cancelled after entry %d, undo %t", name, point, undo), picture, d)
				if t.Failed() {
					t.FailNow()
				}
			}
		}
		if cancelled < whole.appends/2 { // what is over is not cancelled
			t.Errorf("%s: cancelled %d times of 2 × %d", name, cancelled, whole.appends)
		}
		t.Logf("%s: cancelled %d times", name, cancelled)
	}
}

// TestDrillLeavesNothingHoweverItEnds: when it is carried out to its end, cancelled, when a step runs into its time, and when who carries it out, or the
// agents beside the copies, die.
func TestDrillLeavesNothingHoweverItEnds(t *testing.T) {
	program := drillProgram(t)
	whole := drill(t, prior(), program, nil)
	type end struct {
		stuck string
		after func(c *copies) func(m *memory, n int, entries []run.Entry)
		want  run.Outcome // empty: whatever comes of it
	}
	ends := map[string]end{
		"complete": {want: run.Done},
		"cancel": {want: run.Broken, after: func(*copies) func(*memory, int, []run.Entry) {
			return func(m *memory, _ int, entries []run.Entry) {
				if slices.ContainsFunc(entries, func(e run.Entry) bool { return e.What == run.Began && e.Node == "verify-u1" }) {
					if err := m.told("r1", run.Entry{By: "ann", What: run.Cancelled, Text: "the market is open"}); err != nil {
						t.Error(err)
					}
				}
			}
		}},
	}
	for _, do := range []wire.SandboxDo{wire.SandboxClone, wire.SandboxOpen, wire.SandboxTransact, wire.SandboxVerify, wire.SandboxMask, wire.SandboxShow} {
		ends["time-out of "+string(do)] = end{stuck: string(do) + " u1", want: run.Broken}
	}
	ends["time-out of discard"] = end{stuck: "discard u1", want: run.Done}
	for point := 1; point <= whole.appends; point++ {
		ends[fmt.Sprint("crash of the runner after entry ", point)] = end{want: run.Done, after: func(*copies) func(*memory, int, []run.Entry) {
			return func(m *memory, n int, _ []run.Entry) {
				if n == point {
					m.lost("r1")
				}
			}
		}}
		ends[fmt.Sprint("crash of the agents after entry ", point)] = end{after: func(c *copies) func(*memory, int, []run.Entry) {
			return func(_ *memory, n int, _ []run.Entry) {
				if n == point {
					c.restart()
				}
			}
		}}
	}
	for name, e := range ends {
		t.Run(name, func(t *testing.T) {
			c := prior()
			c.stuck = e.stuck
			before := c.picture()
			var after func(*memory, int, []run.Entry)
			if e.after != nil {
				after = e.after(c)
			}
			d := drill(t, c, program, after)
			restored(t, name, before, d)
			if e.want != "" && d.run.Outcome != e.want {
				t.Errorf("the drill is %s (%s), want %s; people said %v", d.run.Outcome, d.run.Reason, e.want, d.said)
			}
			if e.stuck != "" && (c.stuck != "" || e.want == run.Broken && len(d.said) == 0) {
				t.Errorf("nothing was stuck, or nobody was asked: %q, people said %v", c.stuck, d.said)
			}
		})
	}
}

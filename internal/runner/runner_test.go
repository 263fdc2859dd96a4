package runner_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/plan"
	"perdure/internal/resource"
	"perdure/internal/run"
	"perdure/internal/run/runtest"
	"perdure/internal/runner"
)

const header = "apiVersion: perdure/v1\nkind: Plan\nname: p\nmodes: [takeover, drill]\nsteps:\n"

func set(id, more string) string {
	return fmt.Sprintf("- {id: %[1]s, act: {driver: world, action: set, target: %[1]s, with: {to: done}}%[2]s}\n", id, more)
}

func program(t testing.TB, steps string) *plan.Program {
	t.Helper()
	return runtest.Program(t, header+steps, plan.Takeover)
}

// living runs a runner in a bubble of virtual time; that no goroutine of it is left at the end is the bubble's to find.
func living(t *testing.T, m *memory, w *world, script func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	x := runner.New(m, resource.Set{"world": w, "notify": resource.Notes{Log: slog.New(slog.DiscardHandler)}}, runner.Options{Node: "a", Room: 8, Logger: slog.New(slog.DiscardHandler)})
	go func() { over <- x.Run(ctx) }()
	script()
	cancel()
	if err := <-over; err != nil {
		t.Errorf("the runner ended with %v", err)
	}
}

// stands lets virtual time pass until a run stands so, and gives how many virtual seconds that took.
func stands(t *testing.T, m *memory, id string, so func(*run.Run) bool) *run.Run {
	t.Helper()
	for began := time.Now(); ; {
		synctest.Wait()
		_, journal := m.read(id)
		r, err := run.Replay(id, m.programs[id], journal)
		if err != nil {
			t.Fatal(err)
		}
		if so(r) {
			return r
		}
		if time.Since(began) > time.Hour {
			var b strings.Builder
			for _, e := range journal[max(0, len(journal)-20):] {
				fmt.Fprintf(&b, "%d %s %s %s %s\n", e.Seq, e.What, e.Node, e.Outcome, e.Error)
			}
			t.Fatalf("run %s is %s:\n%s", id, r.Phase, b.String())
		}
		<-time.After(50 * time.Millisecond)
	}
}

func over(r *run.Run) bool { return r.Phase == run.Over }

func is(id string, s run.Status) func(*run.Run) bool {
	return func(r *run.Run) bool { have, ok := r.Step(id); return ok && have.Status == s }
}

func count(journal []run.Entry, what run.What, node string) int {
	n := 0
	for _, e := range journal {
		if e.What == what && e.Node == node {
			n++
		}
	}
	return n
}

// A run of a tenant's plan acts through kept drivers on the tenant's own, by targets that are known only while it runs too, and looks at nothing else (T2).
func TestRunOfATenantActsOnItsOwnAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, w := newMemory(), newWorld()
		const steps = `
- {id: own, act: {driver: world, action: set, target: theirs, with: {to: there}}}
- {id: other, onFailure: continue, act: {driver: world, action: set, target: another, with: {to: there}}}
- {id: look, timeout: 5s, onFailure: continue, wait: {until: 'facts["world/another"].is == "there"'}}
`
		p := program(t, steps)
		p.Tenant = "north"
		m.start(t, "r1", p)
		m.start(t, "r2", program(t, "- {id: other, act: {driver: world, action: set, target: another, with: {to: there}}}\n")) // the platform's own acts on everything
		kept := resource.Kept{Driver: w, Whose: func(_ context.Context, id estate.UnitID) (estate.TenantID, bool, error) {
			return "north", id == "theirs", nil
		}}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		x := runner.New(m, resource.Set{"world": kept}, runner.Options{Node: "a", Logger: slog.New(slog.DiscardHandler)})
		go func() { ended <- x.Run(ctx) }()
		r := stands(t, m, "r1", over)
		if s, _ := r.Step("other"); s.Error == "" || !strings.Contains(s.Error, "T2") {
			t.Errorf("%+v", s)
		}
		own, _ := r.Step("own")
		if look, _ := r.Step("look"); own.Status == look.Status {
			t.Errorf("it looked at another's: %+v", look)
		}
		stands(t, m, "r2", over)
		cancel()
		<-ended
		if w.things["theirs"] == "" {
			t.Errorf("their own was not acted on: %v", w.things)
		}
	})
}

func TestUnknownOutcomeIsProbedAndNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, w := newMemory(), newWorld()
		w.after = func(context.Context, resource.Call) error { return errs.New(errs.Unknown, "no answer") }
		m.start(t, "r1", program(t, set("one", "")+set("two", "")))
		living(t, m, w, func() { stands(t, m, "r1", over) })
		_, journal := m.read("r1")
		if n := count(journal, run.Began, "one"); n != 1 {
			t.Errorf("begun %d times", n)
		}
		if !slices.ContainsFunc(journal, func(e run.Entry) bool { return e.Probed && e.Node == "one" && e.Outcome == run.Done }) {
			t.Errorf("not probed: %+v", journal)
		}
	})
}

func TestStoreThatCannotBeWatchedEndsNoRunner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, w := newMemory(), newWorld()
		m.away = 5
		m.start(t, "r1", program(t, set("one", "")))
		living(t, m, w, func() { stands(t, m, "r1", over) })
	})
}

// TestAppendThatTimesOutLosesAndRepeatsNothing has every append in turn come out as unknown, written and not written.
func TestAppendThatTimesOutLosesAndRepeatsNothing(t *testing.T) {
	for _, written := range []bool{true, false} {
		for at := 1; at < 9; at++ {
			for _, kind := range []errs.Kind{errs.Unknown, errs.Unavailable, errs.Conflict} {
				if written && kind != errs.Unknown {
					continue
				}
				synctest.Test(t, func(t *testing.T) {
					m, w := newMemory(), newWorld()
					n := 0
					m.fault = func(after bool, _ []run.Entry) error {
						if after != written {
							return nil
						}
						if n++; n == at {
							return errs.New(kind, "as told")
						}
						return nil
					}
					m.start(t, "r1", program(t, set("one", ", undo: {driver: world, action: set, target: one, with: {to: x}}")+set("two", ", locks: [l]")+set("three", ", locks: [l]")))
					living(t, m, w, func() { stands(t, m, "r1", over) })
					if got := strings.Join(w.done(), " "); got != "one two three" {
						t.Errorf("append %d, written %t, %s: done: %s", at, written, kind, got)
					}
					if len(m.locks) != 0 {
						t.Errorf("append %d, written %t: held: %v", at, written, m.locks)
					}
				})
			}
		}
	}
}

func TestProbeThatFailsForLongAsksAPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, w := newMemory(), newWorld()
		var probes atomic.Int64
		w.after = func(context.Context, resource.Call) error { return errs.New(errs.Unknown, "no answer") }
		w.observe = func(resource.Call) error { probes.Add(1); return errors.New("no answer either") }
		m.start(t, "r1", program(t, set("one", ", retry: {times: 5}, onFailure: continue")))
		living(t, m, w, func() {
			began := time.Now()
			stands(t, m, "r1", is("one", run.Asking))
			if took := time.Since(began); took < 30*time.Second || took > 3*time.Minute {
				t.Errorf("a person was asked after %s", took)
			}
			m.say(t, "r1", run.Entry{What: run.TakenOver, Node: "one", By: "ann", Text: "it is there"})
			stands(t, m, "r1", over)
		})
		_, journal := m.read("r1")
		if n := count(journal, run.Began, "one"); n != 1 || probes.Load() < 10 || probes.Load() > 130 {
			t.Errorf("begun %d times, probed %d times", n, probes.Load())
		}
	})
}

func TestLockOfAnotherRunIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, w := newMemory(), newWorld()
		m.locks["disk"] = "r0"
		m.start(t, "r1", program(t, set("free", ", after: []")+set("one", ", after: [], locks: [disk]")))
		living(t, m, w, func() {
			stands(t, m, "r1", is("free", run.DoneStep))
			<-time.After(10 * time.Second)
			if got := w.done(); len(got) != 1 {
				t.Errorf("done beside a held lock: %v", got)
			}
			m.mu.Lock()
			delete(m.locks, "disk")
			m.mu.Unlock()
			stands(t, m, "r1", over)
		})
		if got := w.done(); len(got) != 2 || len(m.locks) != 0 {
			t.Errorf("done: %v, held: %v", got, m.locks)
		}
	})
}

func TestLostClaimStopsTheWorkAndAnotherOneGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, w := newMemory(), newWorld()
		var begun, stopped atomic.Int64
		w.ensure = func(ctx context.Context, _ resource.Call) error {
			if begun.Add(1) == 1 {
				<-ctx.Done()
				stopped.Add(1)
				return ctx.Err()
			}
			return nil
		}
		m.start(t, "r1", program(t, set("one", ", timeout: 1h")+set("two", "")))
		living(t, m, w, func() {
			stands(t, m, "r1", is("one", run.Acting))
			synctest.Wait()
			m.lose("r1")
			synctest.Wait()
			if stopped.Load() != 1 {
				t.Errorf("%d attempts were stopped", stopped.Load())
			}
			stands(t, m, "r1", over)
		})
		if got := strings.Join(w.done(), " "); got != "one two" || m.claimed != 2 {
			t.Errorf("done: %s with %d claims", got, m.claimed)
		}
	})
}

func TestRunOfAnotherIncarnationIsNotClaimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, w := newMemory(), newWorld()
		m.own = estate.Incarnation{Counter: 2, ID: "two"}
		m.start(t, "r1", program(t, set("one", "")))
		living(t, m, w, func() { <-time.After(time.Minute) })
		if head, _ := m.read("r1"); head.Seq != 1 || m.claimed != 0 {
			t.Errorf("claimed %d times, at entry %d", m.claimed, head.Seq)
		}
	})
}

func TestFactsThatCannotBeHadAreAskedForAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, w := newMemory(), newWorld()
		var away atomic.Bool
		away.Store(true)
		w.facts = func() error {
			if away.Load() {
				return errors.New("no answer")
			}
			return nil
		}
		m.start(t, "r1", program(t, "- {id: until, timeout: 1h, wait: {until: 'facts[\"world/x\"].is == \"there\"'}}\n"))
		living(t, m, w, func() {
			<-time.After(20 * time.Second)
			if w.looks.Load() < 5 || w.looks.Load() > 41 {
				t.Errorf("looked %d times in 20 s", w.looks.Load())
			}
			away.Store(false)
			w.mu.Lock()
			w.things["x"] = "there"
			w.mu.Unlock()
			stands(t, m, "r1", over)
		})
	})
}

func TestWaitForAConditionIsNotLookedAtWithEveryStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, w := newMemory(), newWorld()
		var steps strings.Builder
		for i := range 200 {
			steps.WriteString(set(fmt.Sprint("s", i), ""))
		}
		w.ensure = func(context.Context, resource.Call) error { <-time.After(10 * time.Millisecond); return nil }
		m.start(t, "r1", program(t, "- {id: until, after: [], timeout: 10s, onFailure: continue, wait: {until: 'facts[\"world/x\"].is == \"there\"'}}\n"+strings.Replace(steps.String(), "{id: s0,", "{id: s0, after: [],", 1)))
		living(t, m, w, func() { stands(t, m, "r1", over) })
		if w.looks.Load() > 25 {
			t.Errorf("looked %d times in about 10 s", w.looks.Load())
		}
	})
}

func TestResultThatIsTooLargeIsAFailureAndNoStandstill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, w := newMemory(), newWorld()
		w.things["one"] = strings.Repeat("x", 1<<20)
		m.start(t, "r1", program(t, "- {id: look, onFailure: continue, check: {driver: world, action: look, target: one}}\n"))
		living(t, m, w, func() {
			if s, _ := stands(t, m, "r1", over).Step("look"); s.Status != run.FailedOn || len(s.Error) > 1000 {
				t.Errorf("%s: %.100s", s.Status, s.Error)
			}
		})
	})
}

// TestThirtyThousandStepsNeedLittleMemory: what is done costs no goroutine, and nothing is kept of it but how it stands.
func TestThirtyThousandStepsNeedLittleMemory(t *testing.T) {
	const steps = 30_000
	p := program(t, set("s", ""))
	one := p.Nodes[0]
	p.Nodes = make([]plan.Node, steps)
	for i := range p.Nodes {
		p.Nodes[i] = one
		p.Nodes[i].ID, p.Nodes[i].Local = fmt.Sprint("s", i), fmt.Sprint("s", i)
	}
	synctest.Test(t, func(t *testing.T) {
		m, w := newMemory(), newWorld()
		m.lean = true
		m.start(t, "r1", p)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		living(t, m, w, func() {
			for {
				synctest.Wait()
				if head, _ := m.read("r1"); head.Phase == run.Over {
					if head.Settled != steps {
						t.Errorf("%d steps are settled", head.Settled)
					}
					break
				}
				<-time.After(time.Second)
			}
		})
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 64<<20 {
			t.Errorf("%d MiB more are held", grown>>20)
		}
	})
}

// TestWhatWasPostedWithTheStartIsFollowedByWhoeverHasTheRun: it is neither begun again nor probed, and no timeout of an attempt ends it.
func TestWhatWasPostedWithTheStartIsFollowedByWhoeverHasTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, w := newMemory(), newWorld()
		var followed, begun, probed atomic.Int64
		w.ensure = func(ctx context.Context, c resource.Call) error {
			if c.Target == "two" {
				return nil
			}
			if !c.Posted {
				begun.Add(1)
			}
			followed.Add(1)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(10 * time.Minute):
				return nil
			}
		}
		w.observe = func(resource.Call) error { probed.Add(1); return nil }
		m.start(t, "r1", program(t, set("one", "")+set("two", "")))
		_, journal := m.read("r1")
		r, err := run.Replay("r1", m.programs["r1"], journal)
		if err != nil {
			t.Fatal(err)
		}
		posting, _ := r.Posting(time.Now())
		m.say(t, "r1", posting)
		living(t, m, w, func() {
			stands(t, m, "r1", func(*run.Run) bool { return followed.Load() == 1 })
			m.lose("r1")
			stands(t, m, "r1", func(*run.Run) bool { return followed.Load() == 2 })
			stands(t, m, "r1", over)
		})
		_, journal = m.read("r1")
		if begun.Load() != 0 || probed.Load() != 0 || count(journal, run.Began, "one") != 1 || count(journal, run.Ended, "one") != 1 {
			t.Errorf("begun %d times, probed %d times: %+v", begun.Load(), probed.Load(), journal)
		}
	})
}

// TestRunOfANewerVersionIsLeftAlone (R9): nothing of it is done or written, others may take it at once, this node does not come back to it, and goes
// on with the rest. So too where the journal becomes newer under way.
func TestRunOfANewerVersionIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, w := newMemory(), newWorld()
		for _, id := range []string{"newer", "becomes", "known"} {
			m.start(t, id, program(t, "- {id: ask, manual: {owner: operations, instruction: wait}}\n"+set(id, "")))
		}
		m.newer["newer"] = true
		living(t, m, w, func() {
			for _, id := range []string{"becomes", "known"} {
				stands(t, m, id, is("ask", run.Open))
			}
			m.mu.Lock()
			m.newer["becomes"] = true
			m.mu.Unlock()
			for _, id := range []string{"becomes", "known"} {
				m.say(t, id, run.Entry{What: run.Completed, Node: "ask", By: "ann"})
			}
			stands(t, m, "known", over)
			<-time.After(time.Minute)
			// Changes by others do not bring it back.
			m.mu.Lock()
			for _, id := range []string{"newer", "becomes"} {
				head := m.heads[id]
				m.revision++
				head.Revision = m.revision
				m.heads[id] = head
			}
			m.tell()
			m.mu.Unlock()
			<-time.After(time.Minute)
		})
		for id, entries := range map[string]int{"newer": 1, "becomes": 4} {
			if _, journal := m.read(id); len(journal) != entries || m.claims[id] != nil || m.claimedOf[id] != 1 {
				t.Errorf("%s: %d entries, claimed %d times, still held: %t", id, len(journal), m.claimedOf[id], m.claims[id] != nil)
			}
		}
		if _, done := w.things["becomes"]; done {
			t.Error("what follows in a journal that cannot be read was done")
		}
	})
}

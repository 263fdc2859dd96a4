package runner_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"perdure/internal/errs"
	"perdure/internal/resource"
	"perdure/internal/run"
	"perdure/internal/runner"
)

const (
	// dispatched is within what the next step of a run is begun after its runner was lost, leased for how long the store keeps a run for a runner that
	// says nothing (store.Options.RunnerTTL).
	dispatched = 10 * time.Second
	leased     = 4 * time.Second
)

// losable is a store whose user is gone from one moment on: nothing that it asks arrives, and nothing that it holds is given back.
type losable struct {
	*memory
	gone atomic.Bool
}

type losableClaim struct {
	runner.Claim
	of *losable
}

func (l *losable) Claim(ctx context.Context, id string) (runner.Claim, error) {
	if l.gone.Load() {
		return nil, errs.New(errs.Unavailable, "it is gone")
	}
	c, err := l.memory.Claim(ctx, id)
	if c == nil {
		return nil, err
	}
	return losableClaim{c, l}, nil
}

func (c losableClaim) Release(ctx context.Context) {
	if !c.of.gone.Load() {
		c.Claim.Release(ctx)
	}
}

// TestNextStepIsDispatchedWithinTenSecondsOfTheLossOfItsRunner, exactly, in virtual time, whatever entry of the journal was its last one, and none is
// repeated. The lease is let run out in full.
func TestNextStepIsDispatchedWithinTenSecondsOfTheLossOfItsRunner(t *testing.T) {
	const steps = 5
	var text strings.Builder
	for i := range steps {
		text.WriteString(set(fmt.Sprint("s", i), ""))
	}
	p := program(t, text.String())
	longest := time.Duration(0)
	lost := 0
	for point := 1; point <= 2*steps; point++ {
		for _, written := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				m, w := newMemory(), newWorld()
				first := &losable{memory: m}
				ctx, cancel := context.WithCancel(t.Context())
				dying, die := context.WithCancel(ctx)
				var died time.Time
				n := 0
				m.fault = func(after bool, entries []run.Entry) error {
					if entries[0].What == run.Took || !died.IsZero() {
						return nil
					}
					if !after {
						n++
					}
					if n != point || after != written {
						return nil
					}
					died = time.Now()
					first.gone.Store(true)
					die()
					time.AfterFunc(leased, func() { m.lose("r1") })
					return errs.New(errs.Unavailable, "it is gone")
				}
				w.ensure = func(ctx context.Context, _ resource.Call) error { return ctx.Err() }
				both := make(chan error, 2)
				m.start(t, "r1", p)
				begin := func(ctx context.Context, s runner.Store, node string) {
					x := runner.New(s, resource.Set{"world": w}, runner.Options{Node: node, Logger: slog.New(slog.DiscardHandler)})
					go func() { both <- x.Run(ctx) }()
					synctest.Wait()
				}
				begin(dying, first, "a") // it has the run, and is done with as much of it as takes no time
				if !died.IsZero() {
					lost++
				}
				begin(ctx, m, "b")
				stands(t, m, "r1", over)
				_, journal := m.read("r1")
				for i, e := range journal {
					if !died.IsZero() && e.What == run.Took && e.By == "node:b" {
						longest = max(longest, journal[i+1].At.Sub(died))
					}
				}
				if got := strings.Join(w.done(), " "); got != "s0 s1 s2 s3 s4" {
					t.Errorf("lost at append %d, written %t: done: %s", point, written, got)
				}
				for i := range steps {
					if ended := count(journal, run.Ended, fmt.Sprint("s", i)); ended < 1 || ended > 2 {
						t.Errorf("lost at append %d, written %t: s%d ended %d times", point, written, i, ended)
					}
				}
				cancel()
				for range 2 {
					if err := <-both; err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	if longest > dispatched || longest < leased {
		t.Errorf("the next step was dispatched %s after the loss of its runner, wanted at most %s", longest, dispatched)
	}
	if lost < steps {
		t.Errorf("only %d runners were lost", lost)
	}
	t.Logf("%d runners were lost; the next step was dispatched %s later at most", lost, longest)
}

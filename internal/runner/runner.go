// Package runner carries out runs: it asks the run what is next, writes that into the journal, does it, and writes down what came of it.
//
// Every node has a runner, and any of them may carry out any run. The right to do so is a key on a lease in the store: whoever holds it
// appends with it, so one who was only slow cannot append any more once another has taken over. What the other finds begun and not ended
// it looks at before it goes on (R3).
package runner

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"perdure/internal/estate"
	"perdure/internal/plan"
	"perdure/internal/resource"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// Claim is the right to carry out a run.
type Claim interface {
	// Term grows with every claim of the run.
	Term() int64
	// Lost is closed when the right is over.
	Lost() <-chan struct{}
	// Append adds entries to the journal on the condition that the run is at the head and the claim holds. Locks are taken and released with it.
	Append(ctx context.Context, head wire.Run, entries []run.Entry, take, release []string) (wire.Run, error)
	// Release gives the right back.
	Release(ctx context.Context)
}

// Store is what a runner needs of the control store.
type Store interface {
	// WatchRuns hands on every run, and each again when it changes, until ctx ends.
	WatchRuns(ctx context.Context, on func(wire.Run)) error
	Incarnation(ctx context.Context) (estate.Incarnation, error)
	// Claim takes the right to carry out a run; nil: another node has it.
	Claim(ctx context.Context, id string) (Claim, error)
	Run(ctx context.Context, id string) (wire.Run, error)
	Program(ctx context.Context, id string) (*plan.Program, error)
	Journal(ctx context.Context, id string, after int) ([]run.Entry, error)
	// BusyLocks gives the locks that an Append was refused for.
	BusyLocks(err error) ([]string, bool)
}

// Options configure a runner.
type Options struct {
	Node string
	// Room is how many actions of one run may be under way at a time; default 64.
	Room   int
	Logger *slog.Logger
}

const defaultRoom = 64

// Times of a runner.
const (
	claimEvery = 500 * time.Millisecond // while another node has the run
	againAfter = 200 * time.Millisecond // after an error of the store
	locksEvery = 500 * time.Millisecond // while another run has a lock
	probeEvery = time.Second
	factsLast  = time.Second      // facts are looked for anew after that
	leastDoubt = 30 * time.Second // for how long an attempt is probed at least before a person is asked
)

// Runner carries out the runs of one node.
type Runner struct {
	store   Store
	drivers resource.Set
	opts    Options
	log     *slog.Logger

	mu   sync.Mutex
	runs map[string]*followed
}

// followed is a run that this node knows of.
type followed struct {
	mu   sync.Mutex
	head wire.Run
	wake chan struct{}
}

// New makes a runner.
func New(store Store, drivers resource.Set, o Options) *Runner {
	if o.Room == 0 {
		o.Room = defaultRoom
	}
	return &Runner{store: store, drivers: drivers, opts: o, log: o.Logger.With("node", o.Node), runs: map[string]*followed{}}
}

// Run works until ctx ends.
func (x *Runner) Run(ctx context.Context) error {
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error {
		// The store may be away for a while: that ends no node.
		for ctx.Err() == nil {
			err := x.store.WatchRuns(ctx, func(head wire.Run) {
				if f := x.learn(head); f != nil {
					work.Go(func() error { x.follow(ctx, f); return nil })
				}
			})
			if ctx.Err() == nil {
				x.log.Warn("cannot watch the runs", "err", err)
				pause(ctx, claimEvery, nil)
			}
		}
		return nil
	})
	if err := work.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// learn takes over what the store says of a run; it gives the entry of one that has to be followed from now on.
func (x *Runner) learn(head wire.Run) *followed {
	x.mu.Lock()
	f := x.runs[head.ID]
	isNew := f == nil && head.Phase != run.Over
	if isNew {
		f = &followed{head: head, wake: make(chan struct{}, 1)}
		x.runs[head.ID] = f
	}
	x.mu.Unlock()
	if f == nil {
		return nil
	}
	f.learn(head)
	if isNew {
		return f
	}
	return nil
}

// learn takes over what is newer.
func (f *followed) learn(head wire.Run) {
	f.mu.Lock()
	if head.Revision >= f.head.Revision {
		f.head = head
	}
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *followed) now() wire.Run {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.head
}

func (x *Runner) forget(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.runs, id)
}

// follow carries out a run whenever nobody else does, until it is over.
func (x *Runner) follow(ctx context.Context, f *followed) {
	id := f.now().ID
	alone := false
	defer func() {
		if !alone { // else it would be taken up again
			x.forget(id)
		}
	}()
	for ctx.Err() == nil {
		head := f.now()
		if head.Phase == run.Over {
			return
		}
		claim, err := x.claim(ctx, head)
		if err != nil {
			x.log.Debug("cannot take a run", "run", id, "err", err)
		}
		if claim != nil {
			alone = x.conduct(ctx, claim, f)
			short, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			claim.Release(short)
			cancel()
			if alone {
				return
			}
			continue
		}
		pause(ctx, claimEvery/2+rand.N(claimEvery), nil)
	}
}

// claim takes the right to a run. One that a person of an earlier incarnation of the store let go on waits for a person of this one (I10).
func (x *Runner) claim(ctx context.Context, head wire.Run) (Claim, error) {
	own, err := x.store.Incarnation(ctx)
	if err != nil || own != head.Incarnation {
		return nil, err
	}
	return x.store.Claim(ctx, head.ID)
}

// pause waits for a while, or to be woken.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-wake:
	}
}

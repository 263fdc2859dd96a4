// Package registrar says which formats of runs' journals a node's program reads, and has the newest one written once every node reads it.
//
// Before a node has announced what it reads it does nothing; it announces nothing where the store has a format that it does not read, and then it
// ends. A format that was raised is never lowered: a program that does not read it cannot come back. So while nodes are replaced one by one
// they all write what the oldest of them reads, and each may go back to its former version, until the last one is replaced (R9).
package registrar

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"perdure/internal/errs"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// Store is what a registrar needs of the control store.
type Store interface {
	// Announce says what a node reads; it is refused (R9) where that is not the store's format.
	Announce(ctx context.Context, self wire.NodeFormats) error
	// LearnFormat looks at the store's format, and refuses one that the node does not read.
	LearnFormat(ctx context.Context, self wire.NodeFormats, r wire.Read) error
	// RaiseFormat has the newest format written that all members read, once all have announced.
	RaiseFormat(ctx context.Context, self wire.NodeFormats, members []string) (bool, error)
}

// Options configure a registrar.
type Options struct {
	// Self is what this node's program reads.
	Self wire.NodeFormats
	// Members gives the names of all nodes that have to read a format before it is written.
	Members func(ctx context.Context) []string
	// IsLeader says whether this node raises the format; nil: always.
	IsLeader func() bool
	MayAct   func() error
	Logger   *slog.Logger
}

// Times of a registrar.
const (
	againAfter = 200 * time.Millisecond // after the store could not be asked
	lookEvery  = time.Second
)

// Registrar is the registrar of one node.
type Registrar struct {
	store     Store
	o         Options
	announced atomic.Bool
}

// New makes a registrar.
func New(store Store, o Options) *Registrar {
	if o.IsLeader == nil {
		o.IsLeader = func() bool { return true }
	}
	return &Registrar{store: store, o: o}
}

// MayAct refuses until the node has announced what it reads.
func (x *Registrar) MayAct() error {
	if x.announced.Load() {
		return nil
	}
	return errs.New(errs.Unavailable, "node %s has not yet said which formats of journals it reads: it does so, and acts, as soon as the control store has a quorum", x.o.Self.Node)
}

// Run works until ctx ends, or until the store has a format that the program does not read.
func (x *Registrar) Run(ctx context.Context) error {
	tick := time.NewTicker(againAfter)
	defer tick.Stop()
	for {
		switch err := x.look(ctx); {
		case err == nil:
			tick.Reset(lookEvery)
		case run.Newer(err):
			return err
		case ctx.Err() == nil:
			x.o.Logger.Debug("cannot look at the formats", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (x *Registrar) look(ctx context.Context) error {
	if !x.announced.Load() {
		if err := x.store.Announce(ctx, x.o.Self); err != nil {
			return err
		}
		x.announced.Store(true)
	}
	if err := x.store.LearnFormat(ctx, x.o.Self, wire.Local); err != nil {
		return err
	}
	if leads := x.o.IsLeader() && x.o.MayAct() == nil; !leads {
		return nil
	}
	members := x.o.Members(ctx)
	if slices.Contains(members, "") { // a member that was never started
		return nil
	}
	raised, err := x.store.RaiseFormat(ctx, x.o.Self, members)
	if raised {
		x.o.Logger.Info("journals are written in a newer format: an older program does not start here any more", "members", members)
	}
	return err
}

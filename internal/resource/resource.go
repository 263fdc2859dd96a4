// Package resource is the contract between runs and what their steps act on: one Driver for each kind of resource.
//
// A step is an "ensure" step: the driver observes, acts only where something is to be done, and observes again. So an attempt may be
// repeated, and an attempt of which nobody knows what it did is settled by looking.
package resource

import (
	"context"
	"strings"

	"perdure/internal/errs"
	"perdure/internal/plan"
)

// Call is one attempt of a step, with everything filled in.
type Call struct {
	plan.Call
	// Key is the same for every attempt of a step, and different for every other step: "run/step", and "run/step/undo" for its undoing.
	Key string
	// Mode is that of the run, By who answers for it.
	Mode plan.Mode
	By   string
	// Posted: the action was posted with the run's start. Ensure follows it to its end and begins nothing.
	Posted bool
}

// Token names what a call begins, where that has a name, in letters that every name may have: the same for all attempts of a step.
func (c Call) Token() string { return Token(c.Key) }

// Token is that of the calls with a key.
func Token(key string) string { return strings.ReplaceAll(key, "/", ".") }

// Driver acts on one kind of resource. Its methods return when ctx ends.
type Driver interface {
	// Actions are what it can do, as plans are held against it.
	Actions() plan.Catalogue
	// Ensure carries out an action that is not done yet, and looks. The result is what it found. An error of kind unknown says that it may
	// have had its effect; every other kind that it had none that is not undone or harmless to repeat.
	Ensure(ctx context.Context, c Call) (map[string]any, error)
	// Observe says whether the effect of an action is there, and what it gave.
	Observe(ctx context.Context, c Call) (result map[string]any, done bool, err error)
	// Facts are what can be said about a target.
	Facts(ctx context.Context, target string) (map[string]any, error)
}

// Set is the drivers of a node, by name.
type Set map[string]Driver

// Find gives the driver of a call.
func (s Set) Find(name string) (Driver, error) {
	d, ok := s[name]
	if !ok {
		return nil, errs.New(errs.Unavailable, "this node has no driver %s", name)
	}
	return d, nil
}

// Look carries out an action that only looks; others are refused.
func (s Set) Look(ctx context.Context, c plan.Call) (map[string]any, error) {
	d, err := s.Find(c.Driver)
	if err != nil {
		return nil, err
	}
	if a := d.Actions().Find(c.Driver, c.Action); a == nil || !a.Looks {
		return nil, errs.New(errs.Invalid, "%s.%s is not something that only looks", c.Driver, c.Action)
	}
	return d.Ensure(ctx, Call{Call: c, Key: "preflight"})
}

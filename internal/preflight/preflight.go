// Package preflight looks ahead at runs: how long they would take by what earlier ones took, and what is found now by looking at what their steps
// will act on. It changes nothing of what it looks at.
//
// Runs that plans name as armed are looked ahead at again and again, by the node at the store's leader, and what was found is kept in the store.
package preflight

import (
	"context"
	"slices"

	"perdure/internal/measure"
	"perdure/internal/plan"
	"perdure/internal/resource"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// drawnFrom is the seed of simulations: every node gives the same forecast.
const drawnFrom = 1

// Store is what preflights read of the control store.
type Store interface {
	Runs(ctx context.Context, r wire.Read) ([]wire.Run, error)
	Program(ctx context.Context, id string) (*plan.Program, error)
	Journal(ctx context.Context, id string, after int) ([]run.Entry, error)
}

// Looker looks at what steps act on. It changes nothing.
type Looker interface {
	Look(ctx context.Context, c plan.Call) (map[string]any, error)
}

// Preflights looks ahead at runs.
type Preflights struct {
	store Store
	looks Looker
}

// New makes one that looks with looks.
func New(store Store, looks Looker) *Preflights { return &Preflights{store, looks} }

// Preflight looks ahead at a run of a program. What is given wrong of its parameters is an error of kind invalid; what is missing is told.
func (p *Preflights) Preflight(ctx context.Context, program *plan.Program, given map[string]any) (*measure.Preflight, error) {
	history, err := p.History(ctx, partsOf(program))
	if err != nil {
		return nil, err
	}
	return ahead(ctx, program, given, history, newLook(p.looks))
}

// ahead looks with what is known of earlier runs.
func ahead(ctx context.Context, program *plan.Program, given map[string]any, history *measure.History, look *look) (*measure.Preflight, error) {
	ctx = resource.For(ctx, program.Tenant)
	before, err := measure.Before(program, given, plan.BuiltIn(), history, drawnFrom)
	if err != nil {
		return nil, err
	}
	params, _, err := program.Known(given)
	if err != nil {
		return nil, err
	}
	before.See(look.all(ctx, program.Prechecks(params)))
	return before, nil
}

// partsOf names a program's plan and those that are part of it.
func partsOf(p *plan.Program) []string {
	names := []string{p.Plan}
	for i := range p.Nodes {
		if sub := p.Nodes[i].Step.Subplan; sub != nil && !slices.Contains(names, sub.Plan) {
			names = append(names, sub.Plan)
		}
	}
	return names
}

// History takes in the newest runs of the plans that were done to their end. One that this version cannot read tells nothing.
func (p *Preflights) History(ctx context.Context, plans []string) (*measure.History, error) {
	runs, err := p.store.Runs(ctx, wire.Fresh)
	if err != nil {
		return nil, err
	}
	return p.historyOf(ctx, done(runs, plans))
}

// done are the newest runs of the plans that were done to their end, not around a table.
func done(runs []wire.Run, plans []string) []wire.Run {
	var list []wire.Run
	for _, r := range runs {
		if r.Outcome == run.Done && !r.Tabletop && r.RetiredAt == 0 && slices.Contains(plans, r.Plan) {
			list = append(list, r)
		}
	}
	slices.SortStableFunc(list, func(a, b wire.Run) int { return int(b.StartedAt - a.StartedAt) })
	return list[:min(len(list), measure.MostRuns)]
}

func (p *Preflights) historyOf(ctx context.Context, runs []wire.Run) (*measure.History, error) {
	history := measure.NewHistory()
	for _, head := range runs {
		program, err := p.store.Program(ctx, head.ID)
		if err != nil {
			return nil, err
		}
		journal, err := p.store.Journal(ctx, head.ID, 0)
		if err != nil {
			return nil, err
		}
		if m, err := measure.Of(head.ID, program, journal); err == nil {
			history.Add(program, m)
		}
	}
	return history, nil
}

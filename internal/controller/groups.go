package controller

import (
	"context"
	"slices"
	"time"

	"perdure/internal/errs"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// EnsureGroups brings the store's records to what the manifest declares: new groups are made, changed ones amended.
// Every node may do it; the store lets one win. A group that is gone from the manifest is left alone: its data is not ours to forget.
func (c *Controller) EnsureGroups(ctx context.Context, wanted []unit.Record) error {
	if err := c.opts.MayAct(); err != nil {
		return err
	}
	groups, err := c.store.Groups(ctx)
	if err != nil {
		return err
	}
	for _, want := range wanted {
		have := slices.IndexFunc(groups, func(g wire.Group) bool { return g.Record.Group == want.Group })
		if have < 0 {
			if err := c.store.CreateGroup(ctx, "node:"+c.opts.Node, want); err != nil {
				return err
			}
			continue
		}
		g := groups[have]
		if !amends(g.Record, want) {
			continue
		}
		t := unit.Transition{
			Kind: unit.Amend, Ownership: g.Record.Ownership, Members: want.Members, Units: want.Units, Policy: &want.Policy,
			Reason: "the manifest changed", Now: time.Now().UnixMilli(),
		}
		if err := c.transition(ctx, g, t); err != nil && errs.KindOf(err) != errs.Conflict {
			return err
		}
	}
	return nil
}

// amends reports whether the manifest says something else than the record.
func amends(have, want unit.Record) bool {
	if have.Policy != want.Policy || !slices.Equal(have.Units, want.Units) || len(have.Members) != len(want.Members) {
		return true
	}
	for _, w := range want.Members {
		h, ok := have.Member(w.ID)
		if !ok || h.Site != w.Site || h.Role != w.Role || h.Agent != w.Agent || h.Database != w.Database {
			return true
		}
	}
	return false
}

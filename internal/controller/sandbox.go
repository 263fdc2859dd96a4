package controller

import (
	"context"
	"net/http"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// sandboxAsk bounds one question to an agent about its sandbox; what takes long is asked for again.
const sandboxAsk = 5 * time.Second

// Sandbox asks the agent of the copy that a unit has at a site about its sandbox. Where the unit is current there none is made.
func (c *Controller) Sandbox(ctx context.Context, id estate.UnitID, site estate.SiteID, request wire.SandboxRequest) (wire.SandboxAnswer, error) {
	g, member, err := c.copyAt(ctx, id, site)
	if err != nil {
		return wire.SandboxAnswer{}, err
	}
	if request.Do == wire.SandboxClone && member.ID == g.Record.Owner.Member {
		return wire.SandboxAnswer{}, errs.New(errs.Refused, "cannot clone %s at %s: it is current there, and a drill takes nothing from production", id, site)
	}
	request.Group = g.Record.Group
	ctx, cancel := context.WithTimeout(ctx, sandboxAsk)
	defer cancel()
	return ask[wire.SandboxAnswer](ctx, c.opts.Client, http.MethodPost, member, "/v1/sandbox", request)
}

// Production asks the owner's agent and the copy's how they stand.
func (c *Controller) Production(ctx context.Context, id estate.UnitID, site estate.SiteID) (wire.Production, error) {
	g, member, err := c.copyAt(ctx, id, site)
	if err != nil {
		return wire.Production{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, sandboxAsk)
	defer cancel()
	out := wire.Production{InSync: len(g.Record.InSync)}
	replica, err := ask[wire.AgentState](ctx, c.opts.Client, http.MethodGet, member, "/v1/state", nil)
	if err != nil {
		return out, err
	}
	box, err := ask[wire.SandboxAnswer](ctx, c.opts.Client, http.MethodPost, member, "/v1/sandbox", wire.SandboxRequest{Group: g.Record.Group, Do: wire.SandboxLook})
	if err != nil {
		return out, err
	}
	out.Trace, out.Sandbox = box.Trace, box.Sandbox.Run
	owner, ok := g.Record.Member(g.Record.Owner.Member)
	if !ok || g.Record.State != unit.Open {
		return out, nil
	}
	// Asked after the copy: what it says it has, the owner has too, and the lag is no less than it was.
	state, err := ask[wire.AgentState](ctx, c.opts.Client, http.MethodGet, owner, "/v1/state", nil)
	if err != nil {
		return out, err
	}
	out.Accepting, out.Connections, out.WaitingCommits, out.Position = state.Open && state.Answering, state.Connections, state.WaitingCommits, state.Flushed
	out.LagBytes = max(0, int64(state.Flushed)-int64(replica.Flushed))
	return out, nil
}

func (c *Controller) copyAt(ctx context.Context, id estate.UnitID, site estate.SiteID) (wire.Group, unit.Member, error) {
	g, err := c.find(ctx, id)
	if err != nil {
		return g, unit.Member{}, err
	}
	for _, m := range g.Record.Members {
		if m.Site == site {
			return g, m, nil
		}
	}
	return g, unit.Member{}, errs.New(errs.NotFound, "%s has no copy at %s", id, site)
}

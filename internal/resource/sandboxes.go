package resource

import (
	"context"
	"fmt"
	"strings"
	"time"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/plan"
	"perdure/internal/wire"
)

// Sandboxer reaches the sandboxes of copies.
type Sandboxer interface {
	// Sandbox asks the agent of the copy that a unit has at a site. The query of verify is the system's own: the asked one is filled in.
	Sandbox(ctx context.Context, id estate.UnitID, site estate.SiteID, ask wire.SandboxRequest) (wire.SandboxAnswer, error)
	// Production says how a unit stands where it is current, and how the copy at a site follows.
	Production(ctx context.Context, id estate.UnitID, site estate.SiteID) (wire.Production, error)
}

// Sandboxes is the driver of sandboxes: a clone of a unit's copy at a site, for the run that asks.
type Sandboxes struct {
	Sandboxer Sandboxer
	// Files keeps what participants are shown, By is who hands it in: "node:a".
	Files Files
	By    string
}

const (
	// sandboxLook is between two looks at what an agent does with a sandbox.
	sandboxLook = 300 * time.Millisecond
	// sandboxKept is how long a sandbox may be there where nobody discards it.
	sandboxKept = 24 * time.Hour
)

// Actions gives what the product says of its own driver.
func (Sandboxes) Actions() plan.Catalogue { return plan.BuiltIn().Of("sandbox") }

// Ensure has the copy's agent do it, and waits for the end.
func (s Sandboxes) Ensure(ctx context.Context, c Call) (map[string]any, error) {
	id, site := estate.UnitID(c.Target), estate.SiteID(text(c.With["site"]))
	if c.Action == "production" {
		return s.production(ctx, id, site)
	}
	run, _, _ := strings.Cut(c.Key, "/")
	ask := wire.SandboxRequest{Do: wire.SandboxDo(c.Action), Run: run, Attempt: fmt.Sprintf("%s %d", c.Key, time.Now().UnixNano())}
	if ask.Do == wire.SandboxClone {
		ask.Keep = sandboxKept
	}
	tick := time.NewTicker(sandboxLook)
	defer tick.Stop()
	for {
		answer, err := s.Sandboxer.Sandbox(ctx, id, site, ask)
		switch {
		case err != nil && errs.KindOf(err) != errs.Unavailable: // the agent may be between two lives
			return nil, err
		case err == nil && answer.Done && answer.Error != "":
			return nil, errs.New(errs.Kind(answer.Kind), "%s", answer.Error)
		case err == nil && answer.Done && ask.Do == wire.SandboxShow:
			return s.handOut(ctx, c, answer)
		case err == nil && answer.Done && ask.Do == wire.SandboxMask && answer.Masked == nil:
			return nil, errs.New(errs.Unavailable, "the agent of %s at %s masks nothing: it is of an older version", id, site)
		case err == nil && answer.Done:
			return toldOf(answer), nil
		}
		select {
		case <-ctx.Done():
			return nil, errs.New(errs.Unknown, "cannot tell yet whether %s of the sandbox of %s at %s is over: %w", ask.Do, id, site, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

func toldOf(a wire.SandboxAnswer) map[string]any {
	out := map[string]any{"state": string(a.Sandbox.State), "bytes": float64(a.Sandbox.Bytes), "position": a.Sandbox.Position.String()}
	if v := a.Transacted; v != nil {
		out = map[string]any{"accounts": float64(v.Accounts), "accepted": float64(v.Accepted), "refused": v.Refused, "other": v.Other, "said": v.Said}
	}
	if v := a.Masked; v != nil {
		out = map[string]any{"tables": float64(v.Tables), "columns": float64(v.Columns), "rows": float64(v.Rows), "values": float64(v.Values)}
	}
	if v := a.Verdict; v != nil {
		out = map[string]any{
			"position": a.Sandbox.Position.String(), "relations": float64(v.Relations), "corrupt": v.Corrupt, "rows": float64(v.Rows), "transactions": float64(v.Transactions),
			"amount": v.Amount, "accounts": float64(v.Accounts), "inconsistent": float64(v.Inconsistent), "written": v.Written, "closed": v.Closed,
		}
	}
	return out
}

func (s Sandboxes) production(ctx context.Context, id estate.UnitID, site estate.SiteID) (map[string]any, error) {
	p, err := s.Sandboxer.Production(ctx, id, site)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"accepting": p.Accepting, "lagBytes": float64(p.LagBytes), "connections": float64(p.Connections), "waitingCommits": float64(p.WaitingCommits),
		"inSync": float64(p.InSync), "position": p.Position.String(), "untouched": !p.Trace, "sandbox": p.Sandbox,
	}, nil
}

// Observe says whether the sandbox of the run is as the action leaves it. A verification leaves nothing to be seen: it is done again. So is what was
// masked, where the sandbox itself says that nothing is left to do, and what was shown, which becomes the same files.
func (s Sandboxes) Observe(ctx context.Context, c Call) (map[string]any, bool, error) {
	run, _, _ := strings.Cut(c.Key, "/")
	answer, err := s.Sandboxer.Sandbox(ctx, estate.UnitID(c.Target), estate.SiteID(text(c.With["site"])), wire.SandboxRequest{Do: wire.SandboxLook, Run: run})
	if err != nil {
		return nil, false, err
	}
	own := answer.Sandbox.Run == run
	done := false
	switch wire.SandboxDo(c.Action) {
	case wire.SandboxClone:
		done = own && answer.Sandbox.State != driver.SandboxCopying
	case wire.SandboxOpen:
		done = own && answer.Sandbox.State == driver.SandboxOpen
	case wire.SandboxDiscard:
		done = !own
	case wire.SandboxLook, wire.SandboxTransact, wire.SandboxVerify, wire.SandboxMask, wire.SandboxShow:
	}
	return toldOf(answer), done, nil
}

// Facts: there are none without a site.
func (Sandboxes) Facts(context.Context, string) (map[string]any, error) {
	return nil, errs.New(errs.NotFound, "there are no facts about sandboxes: use sandbox.production in a check")
}

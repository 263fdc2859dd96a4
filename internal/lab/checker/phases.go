package checker

import (
	"time"

	"perdure/internal/estate"
	"perdure/internal/unit"
)

// Phases of a planned switch, in their order. They come from the product's own marks, but for the end of the flip, which is the first
// answer that a client got in the new ownership.
const (
	PhaseHold    = "hold"    // begun, until the gates are closed
	PhaseDrain   = "drain"   // until what was under way has ended
	PhaseDecide  = "decide"  // until the target has all and the store has the decision
	PhaseSever   = "sever"   // until the target is cut from its source
	PhasePromote = "promote" // until it is promoted
	PhaseFlip    = "flip"    // until a client is answered in the new ownership
	PhaseGrow    = "grow"    // from the opening until the in-sync set is grown again; no write waits for it
)

// PhaseNames are the names of the phases in their order.
func PhaseNames() []string {
	return []string{PhaseHold, PhaseDrain, PhaseDecide, PhaseSever, PhasePromote, PhaseFlip, PhaseGrow}
}

// phases fills in how long the phases of the unit's planned switches took, for the last switch of each step.
func (c *check) phases(u estate.UnitID, acks []*call) {
	g := c.unitOf[u]
	if g == nil {
		return
	}
	pauses := pausesOf(acks)
	for _, sw := range g.switches {
		at := map[unit.Phase]time.Duration{}
		for phase, ms := range sw.At {
			at[phase] = c.mono(ms)
		}
		edges := []time.Duration{at[unit.Closing], at[unit.MarkShut], at[unit.Drained], at[unit.Promotion], at[unit.MarkSevered], at[unit.MarkPromoted]}
		if !ascending(edges) || at[unit.Growing] == 0 {
			continue
		}
		step := c.over(at[unit.Closing], at[unit.Growing])
		if step < 0 {
			continue
		}
		took := map[string]time.Duration{}
		for i, name := range PhaseNames()[:len(edges)-1] {
			took[name] = edges[i+1] - edges[i]
		}
		for _, p := range pauses {
			if p.until >= at[unit.MarkPromoted] {
				took[PhaseFlip] = p.until - at[unit.MarkPromoted]
				break
			}
		}
		if done := at[unit.Done]; done != 0 {
			took[PhaseGrow] = done - at[unit.Growing]
		}
		c.steps[step].out.Phases = took
	}
}

// ascending reports whether all are known and none is before the one that it follows.
func ascending(edges []time.Duration) bool {
	for i, e := range edges {
		if e <= 0 || i > 0 && e < edges[i-1] {
			return false
		}
	}
	return true
}

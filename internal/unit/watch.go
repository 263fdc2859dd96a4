package unit

import (
	"slices"
	"time"

	"perdure/internal/estate"
)

// Sight is what one node knows of a group: how long its owner has been silent to each node that answered, this one included,
// and how long the record has stood in its present phase on this node's monotonic clock.
type Sight struct {
	// Silences has one entry per node that said something; Nodes is how many are configured.
	Silences []time.Duration
	// Agents is how long the owner's agent gave no answer to each of them. An owner whose database answers is not silent, but only
	// its agent carries out a switch.
	Agents []time.Duration
	Nodes  int
	// PhaseFor is how long the record has been in its present stage.
	PhaseFor time.Duration
}

// SilentToMajority reports whether a majority of the configured nodes has not heard the owner for the bound.
func (s Sight) SilentToMajority(bound time.Duration) bool { return s.majority(s.Silences, bound) }

func (s Sight) majority(of []time.Duration, bound time.Duration) bool {
	silent := 0
	for _, d := range of {
		if d >= bound {
			silent++
		}
	}
	return silent > s.Nodes/2
}

// Order is what a node does about a group.
type Order struct {
	// Candidates are asked, in order, to consent; the first one that does is decided for with Silent set (I16).
	Candidates []estate.Life
	// Abort: the running switch has used up its budget before the decision (I9).
	Abort bool
	Why   string
}

// Fresh is how long an order may be carried out without judging anew. A candidate may have to wait out its promise (I8), and the owner
// may be heard meanwhile: then it is in order, and nobody takes its place (I16).
const Fresh = 250 * time.Millisecond

// Names reports whether the order is still to put the member in the owner's place.
func (o Order) Names(candidate estate.Life) bool { return slices.Contains(o.Candidates, candidate) }

// Watch says what a node does about a group now; the zero Order is nothing. Every node asks, none is special (I16).
func Watch(rec Record, sight Sight, timing Timing, now int64) Order {
	if s := rec.Switch; s.Undecided() && sight.PhaseFor > s.Budget {
		// To undo it takes the owner's agent: it may have closed the gates, and it alone opens them again. Where it is silent, the set goes on,
		// as soon as one of it can; undone, nobody would look for a successor any more, for the owner's database still answers.
		if rec.Policy.Failover == Auto && sight.majority(sight.Agents, timing.Silence) {
			if heirs := rec.successors(); len(heirs) > 0 {
				if rec.Damped(now) {
					return Order{}
				}
				return Order{Candidates: heirs, Why: "the switch used up its budget of " + s.Budget.String() + " in phase " + string(s.Phase) + ", and the agent of the owner " + rec.Owner.String() + " is silent"}
			}
		}
		return Order{Abort: true, Why: "the switch used up its budget of " + s.Budget.String() + " in phase " + string(s.Phase)}
	}
	switch rec.State {
	case Open:
		if !sight.SilentToMajority(timing.Silence) || rec.Policy.Failover != Auto || rec.Damped(now) {
			return Order{}
		}
		return Order{Candidates: rec.successors(), Why: "the owner " + rec.Owner.String() + " is silent to a majority of the nodes"}
	case Promoting:
		if sight.PhaseFor < timing.Promotion {
			return Order{}
		}
		var heirs []estate.Life
		for _, l := range rec.Heirs {
			if now, ok := rec.newest(rec.Heirs, l); ok && l.Member != rec.Owner.Member {
				heirs = append(heirs, now)
			}
		}
		if m, ok := rec.Member(rec.Before.Member); ok && rec.Before.Member != rec.Owner.Member {
			heirs = append(heirs, estate.Life{Member: m.ID, N: m.Life})
		}
		return Order{Candidates: heirs, Why: "the decided " + rec.Owner.String() + " did not open within " + timing.Promotion.String()}
	default:
		return Order{}
	}
}

// strickenAfter is how many times the bound of its silence an owner is silent until people are told: a failover comes first.
const strickenAfter = 3

// Stricken says why people have to look at a group: its owner serves nobody, and nothing has taken over by itself. Empty where they need not.
func Stricken(rec Record, sight Sight, timing Timing) string {
	if rec.State != Open || !sight.SilentToMajority(strickenAfter*timing.Silence) {
		return ""
	}
	why := "the owner " + rec.Owner.String() + " is silent to a majority of the nodes, and "
	switch {
	case rec.Policy.Failover != Auto:
		return why + "policy says that a person confirms a failover"
	case len(rec.successors()) == 0:
		return why + "no copy in sync may take over by itself"
	}
	return why + "no copy in sync has taken over"
}

// successors are the members of the in-sync set that may take over by themselves.
func (r *Record) successors() []estate.Life {
	var heirs []estate.Life
	for _, l := range r.InSync {
		m, _ := r.Member(l.Member)
		if now, ok := r.newest(r.InSync, l); ok && !m.Ahead && m.Role == SyncRole {
			heirs = append(heirs, now)
		}
	}
	return heirs
}

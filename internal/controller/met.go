package controller

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// askedBound is how long the agents of a group have to say what they have met. They answer from memory; and whoever asks for what waits
// for them tries another node after 0.7 s.
const askedBound = 600 * time.Millisecond

// said is what came of asking a member's agent.
type said struct {
	state wire.AgentState
	err   error
}

// askAll asks the agents of all members at once how they stand; the answers have the order of the record's members.
func (c *Controller) askAll(ctx context.Context, rec unit.Record) []said {
	ctx, cancel := context.WithTimeout(ctx, askedBound)
	defer cancel()
	answers := make([]said, len(rec.Members))
	var asking sync.WaitGroup
	for i, m := range rec.Members {
		asking.Go(func() {
			state, err := c.agentState(ctx, m)
			if err == nil && (state.Group != rec.Group || state.Member != m.ID) {
				err = errs.New(errs.Refused, "at its address answers the agent of %s of group %s", state.Member, state.Group)
			}
			answers[i] = said{state, err}
		})
	}
	asking.Wait()
	return answers
}

// proposal estimates the loss, and asks every agent of the group what it has met and how it stands. The error is that it must not be
// proposed (I10).
func (c *Controller) proposal(ctx context.Context, g wire.Group, target unit.Member) (unit.Loss, error) {
	estimated := make(chan unit.Loss, 1)
	go func() { estimated <- c.estimate(ctx, g.Record, target) }()
	answers := c.askAll(ctx, g.Record)
	err := c.unmet(ctx, g, answers)
	loss := <-estimated
	loss.Others = others(g.Record, target, answers)
	return loss, err
}

// others says how the other members stand: what can be fenced, what is, and what only people can fence (I11).
func others(rec unit.Record, target unit.Member, answers []said) []unit.Fencing {
	var out []unit.Fencing
	for i, m := range rec.Members {
		if m.ID != target.ID {
			f := unit.Fencing{Member: m.ID, Site: m.Site}
			f.State, f.Detail = answers[i].fence()
			out = append(out, f)
		}
	}
	return out
}

// fence is how far an answer shows that the member can acknowledge nothing. A database that does not answer its agent may have been
// frozen while it was open; a copy that streams acknowledges for its source.
func (s said) fence() (unit.Fence, string) {
	switch {
	case s.err != nil:
		return unit.Unreached, s.err.Error()
	case !s.state.Running:
		return unit.Shut, "its database does not run"
	case !s.state.Answering:
		return unit.Reached, "its database does not answer"
	case s.state.Open:
		return unit.Reached, "it is open"
	case s.state.Streaming:
		return unit.Reached, "it is a copy that streams from " + string(s.state.Upstream)
	}
	return unit.Shut, "no gate is open, and it streams from nobody"
}

// unmet refuses where a database of the group has met an ownership above the record's, or another recovery of the same origin: the store
// was made from too old a copy, and the highest incarnation is not the one it began (I10). Who does not answer keeps nobody from deciding.
func (c *Controller) unmet(ctx context.Context, g wire.Group, answers []said) error {
	rec := g.Record
	var by unit.Member
	var met estate.Ownership
	for i, m := range rec.Members {
		seen := answers[i].state.Seen
		above := rec.Ownership.Less(seen) || rec.Ownership.Conflicts(seen)
		if answers[i].err == nil && above && (met.IsZero() || met.Less(seen)) {
			by, met = m, seen
		}
	}
	if met.IsZero() {
		return nil
	}
	if now, err := c.fresh(ctx, rec.Group); err == nil && now.Record.Ownership != rec.Ownership {
		return errs.New(errs.Conflict, "%s changed meanwhile, from %s to %s: look again", rec.Group, rec.Ownership, now.Record.Ownership)
	}
	times := ""
	if n := met.Incarnation.Counter - rec.Ownership.Incarnation.Counter + 1; n > 1 {
		times = fmt.Sprintf(", %d times", n)
	}
	return errs.Refuse("I10", "cannot give %s to anybody: %s at site %s has met %s, the record is at %s: this store was made from too old a copy. "+
		"If the estate that %s has met still serves, let this node join it. If not, begin an incarnation above it: stop the node, "+
		"perdure node recover%s, start it, and propose again", rec.Group, by.ID, by.Site, words(met), words(rec.Ownership), by.ID, times)
}

// words names an ownership to people. The highest epoch of all stands for having met two recoveries of one origin (unit.Self).
func words(o estate.Ownership) string {
	if o.Epoch == math.MaxUint64 {
		return fmt.Sprintf("incarnation %d.%s and another one with this number", o.Incarnation.Counter, o.Incarnation.ID)
	}
	return fmt.Sprintf("incarnation %d.%s epoch %d", o.Incarnation.Counter, o.Incarnation.ID, o.Epoch)
}

// fresh reads a group from the quorum.
func (c *Controller) fresh(ctx context.Context, group estate.GroupID) (wire.Group, error) {
	groups, err := c.store.Groups(ctx)
	if err != nil {
		return wire.Group{}, err
	}
	for _, g := range groups {
		if g.Record.Group == group {
			return g, nil
		}
	}
	return wire.Group{}, errs.New(errs.NotFound, "no group %q", group)
}

// MayGrant refuses what an agent asks of a record at a revision where that grants ownership that no in-sync set vouches for, and a
// database has met a higher one (I10). What people accepted may have waited for long before the target asks for it.
func (c *Controller) MayGrant(ctx context.Context, group estate.GroupID, revision int64, t unit.Transition) error {
	if t.Kind != unit.Decide && t.Kind != unit.Reopen {
		return nil
	}
	own, ok := c.look(group)
	g := own.group
	if !ok || g.Revision != revision {
		var err error
		if g, err = c.fresh(ctx, group); err != nil {
			return err
		}
	}
	if !unvouched(g.Record, t) {
		return nil
	}
	return c.unmet(ctx, g, c.askAll(ctx, g.Record))
}

// unvouched reports whether the transition grants ownership by people's acceptance, or for the first time in an estate that was recovered:
// the group may be older than what its store remembers.
func unvouched(rec unit.Record, t unit.Transition) bool {
	if t.Kind == unit.Reopen {
		return rec.State == unit.Closed && len(rec.Past) == 0 && rec.Ownership.Incarnation.Counter > 1
	}
	s := rec.Switch
	return s.Active() && s.Phase == unit.Accepting && s.To == t.Member && len(s.Approvals) >= 2
}

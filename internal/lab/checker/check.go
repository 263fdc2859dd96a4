package checker

import (
	"context"
	"iter"
	"slices"
	"time"

	"perdure/internal/estate"
	"perdure/internal/lab/history"
)

// Inputs are all that a verdict depends on.
type Inputs struct {
	History iter.Seq2[history.Event, error]
	Facts   Facts
}

// check is one verdict in the making.
type check struct {
	*run
	groups []*group
	hands  []handover
	cuts   []cut // where accepted losses end
	unitOf map[estate.UnitID]*group
	led    *ledger
	keys   map[Scope]*key
	order  []*key // by first sending
	v      Verdict
	out    Step // between the steps
}

// Check judges a run. It fails only when its input cannot be read; everything that is wrong with the run is in the verdict.
func Check(ctx context.Context, in Inputs) (Verdict, error) {
	r, err := read(ctx, in.History)
	if err != nil {
		return Verdict{}, err
	}
	led, err := readLedger(ctx, in.Facts)
	if err != nil {
		return Verdict{}, err
	}
	c := &check{run: r, led: led, groups: r.gather(), unitOf: map[estate.UnitID]*group{}}
	c.v = Verdict{Estate: r.began.Estate, Seed: r.began.Seed, Pass: true, Counts: map[Name]int{}, Records: led.count, Skipped: r.skipped}
	c.out = Step{Name: "outside", RPOExact: true}
	for _, g := range c.groups {
		for _, u := range g.units {
			c.unitOf[u] = g
		}
		c.hands = append(c.hands, g.handovers(r)...)
	}
	for i := range c.steps {
		s := &c.steps[i]
		s.out = Step{Name: s.mark.Step, Title: s.mark.Title, Mode: s.mark.Mode, Start: s.from, End: s.until}
	}
	c.complete()
	c.gatherKeys()
	c.countCalls()
	c.durability()
	c.effects()
	c.results()
	c.epochs()
	c.answers()
	c.money()
	c.reads()
	c.gaps()
	c.divergence()
	c.switching()
	c.quarantines()
	c.conclude()
	return c.v, nil
}

// stepOut gives what is known of a step, or of the time between steps.
func (c *check) stepOut(i int) *Step {
	if i < 0 {
		return &c.out
	}
	return &c.steps[i].out
}

// name gives the name of a step for a finding.
func (c *check) name(i int) string {
	if i < 0 {
		return ""
	}
	return c.steps[i].mark.Step
}

// complete says what makes the history no proof.
func (c *check) complete() {
	for _, p := range c.problems {
		c.v.find(Finding{Name: IncompleteHistory, Message: p})
	}
	missing := map[estate.UnitID]bool{}
	for i := range c.calls {
		u := c.calls[i].unit
		if _, read := c.led.units[u]; !read && !missing[u] {
			missing[u] = true
			c.v.find(Finding{Name: UnreadOwner, Unit: u, Message: "calls were made to the unit, but its final owner was not read"})
		}
	}
}

// countCalls fills in what each step saw of the calls.
func (c *check) countCalls() {
	c.v.Calls = len(c.calls)
	for i := range c.calls {
		k := &c.calls[i]
		if !k.op.Writes() {
			c.v.Reads++
		}
		for _, at := range k.reconnects {
			if !k.inside {
				c.stepOut(c.at(at)).Reconnects++
			}
		}
		s := c.stepOut(k.step)
		if k.held > 0 {
			s.Held++
			s.LongestHeld = max(s.LongestHeld, k.held)
		}
		if k.replays > 0 {
			s.Replayed++
		}
		if k.op.Writes() && k.outcome == history.Refused && k.phase == history.Steady {
			s.Refused++
			if k.status == history.StatusLocked {
				s.Locked++
			}
		}
		if k.status == history.StatusLocked && k.op.Writes() && !c.mayBeQuarantined(k) {
			k.erred = true
		}
		if k.erred {
			c.countError(k)
		}
	}
	for _, k := range c.order {
		if k.ack != nil {
			c.stepOut(k.ack.step).Acknowledged++
		}
		if !k.answered {
			c.v.Unresolved++
		}
	}
}

// mayBeQuarantined reports whether the unit was taken over with a possible loss before the call was answered (I7).
func (c *check) mayBeQuarantined(k *call) bool {
	return slices.ContainsFunc(c.hands, func(h handover) bool {
		return h.lossy && h.at <= k.done && slices.Contains(h.group.units, k.unit)
	})
}

// countError counts an error where most of the call's time was.
func (c *check) countError(k *call) {
	step := c.over(k.sent, k.done)
	s := c.stepOut(step)
	switch {
	case k.inside:
		s.InsideErrors++
	case !k.op.Writes():
		s.ReadErrors++
	case k.phase == history.Settle:
		// Sent again after the load until answered: its first sending was counted.
	default:
		s.Errors++
		c.v.find(Finding{
			Name: ClientError, Step: c.name(step), Unit: k.unit, Key: k.scope.Key, Accepted: c.nobodyMayServe(step),
			Message: k.describe(),
		})
	}
}

// nobodyMayServe reports whether the step is one in which a unit waits for people: with no member left that may own it,
// no answer within a client's patience is promised. The errors are counted all the same.
func (c *check) nobodyMayServe(step int) bool {
	return step >= 0 && (c.steps[step].mark.Mode == history.Emergency || c.steps[step].mark.Expect.NoSurvivor)
}

func (k *call) describe() string {
	took := (k.done - k.sent).Round(time.Millisecond).String()
	return string(k.op) + " from " + k.scope.RoutingKey + " sent from site " + string(k.site) + " at " + k.sent.Round(time.Millisecond).String() + " ended " + string(k.outcome) + " after " + took
}

// conclude puts the steps into the verdict and draws the timeline.
func (c *check) conclude() {
	for i := range c.steps {
		c.v.Steps = append(c.v.Steps, c.steps[i].out)
	}
	c.v.Outside = c.out
	c.v.OldEpochWrites = c.v.Counts[OldEpochWrite] + c.v.Counts[OwnershipBackwards]
	c.v.MoneyConserved = !c.v.has(UnbalancedEntry, WrongBalance, ChangedOpening, MoneyCreated, MoneyLost, UnrecordedEffect, DoubledEffect, DoubledCredit, UnreadOwner)
	c.v.Timeline = c.timeline()
}

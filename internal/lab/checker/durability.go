package checker

import (
	"fmt"
	"time"

	"perdure/internal/estate"
)

// durability finds acknowledged writes that are not at the final owner (I3, I4), and keys that are there twice (I5).
func (c *check) durability() {
	for _, one := range c.order {
		if rs := c.led.records[one.scope]; len(rs) > 1 {
			c.double(one, DoubledKey, fmt.Sprintf("recorded at %s (seq %d) and at %s (seq %d)", rs[0].Unit, rs[0].Seq, rs[1].Unit, rs[1].Seq))
		}
		if one.ack == nil || !c.led.units[one.unit] {
			continue
		}
		one.redone = one.present() && one.ack.hasStamp && one.stamp.Less(one.record.Ownership)
		one.lost = !one.present() || one.redone
	}
	c.cuts = c.findCuts()
	for _, one := range c.order {
		if one.lost {
			c.lose(one)
		}
	}
	for i := range c.steps {
		if least, have := c.steps[i].mark.Expect.Resent, c.steps[i].out.Resent; have < least {
			c.v.find(Finding{Name: UntriedDivergence, Step: c.name(i), Message: fmt.Sprintf("at least %d lost writes had to be there again, so that sending them again shows something, and %d are", least, have)})
		}
	}
	for i := range c.hands {
		h := &c.hands[i]
		switch {
		case h.lossy && !h.accepted():
			c.v.find(Finding{Name: UnacceptedLoss, Step: c.name(h.step), Message: fmt.Sprintf("%s passed to %s with a possible loss, and fewer than two people are recorded to have accepted it", h.group.id, h.to.owner)})
		case h.excused(c.run):
			s := &c.steps[h.step]
			s.out.ExpectedLoss = s.out.Lost == 0 || s.mark.Expect.Resent == 0
		}
	}
}

// cut is where an accepted loss ends: whatever was acknowledged before a surviving write was sent must have survived too,
// because a copy holds a beginning of the log and never a selection from it.
type cut struct {
	hand *handover
	unit estate.UnitID
	// after is when the last surviving write of the old side was sent.
	after time.Duration
}

// findCuts finds where the accepted losses end, oldest first per unit.
func (c *check) findCuts() (cuts []cut) {
	for i := range c.hands {
		h := &c.hands[i]
		if !h.excused(c.run) {
			continue
		}
		for _, u := range h.group.units {
			cuts = append(cuts, cut{hand: h, unit: u})
		}
	}
	if len(cuts) == 0 {
		return nil
	}
	for _, one := range c.order {
		if !one.present() {
			continue
		}
		for i := range cuts {
			if k := &cuts[i]; k.unit == one.record.Unit && one.record.Ownership.Less(k.hand.to.ownership) {
				k.after = max(k.after, one.sent)
			}
		}
	}
	return cuts
}

// lose counts a lost write: in the step whose accepted loss took it away, otherwise in the step it was acknowledged in.
func (c *check) lose(one *key) {
	for _, k := range c.cuts {
		if k.unit != one.unit || !one.stamp.Less(k.hand.to.ownership) || k.hand.at < one.sent && c.apart(one.unit, one.stamp, one.sent) != k.hand {
			continue
		}
		// A key that was done again before the loss had been lost before it.
		if before := one.redone && one.record.Ownership.Less(k.hand.to.ownership); one.ack.done >= k.after && !before {
			one.excuse = k.hand
		}
		break
	}
	step, accepted := one.ack.step, false
	if one.excuse != nil {
		step = one.excuse.step
		accepted = c.steps[step].mark.Expect.Resent == 0
	}
	s := c.stepOut(step)
	if one.excuse != nil && one.broughtBack() {
		s.Resent++
		return
	}
	s.Lost++
	f := Finding{
		Name: LostWrite, Step: c.name(step), Unit: one.unit, Key: one.scope.Key, Accepted: accepted,
		Message: fmt.Sprintf("%s of %s from %s, acknowledged at %s in ownership %s, is not at the final owner", one.op, one.amount, one.scope.RoutingKey, one.ack.done.Round(time.Millisecond), one.ack.ownership),
	}
	if one.record != nil && !one.present() {
		f.Message += fmt.Sprintf(": it is recorded there with status %d", one.record.Status)
	}
	if one.redone {
		s.Redone++
		f.Message += fmt.Sprintf(": its key was executed anew in %s", one.record.Ownership)
	}
	c.v.find(f)
}

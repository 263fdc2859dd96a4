package checker

import (
	"cmp"
	"slices"
	"time"

	"perdure/internal/estate"
	"perdure/internal/lab/history"
)

// key is one write as its client meant it, with everything that was answered to it.
type key struct {
	scope  Scope
	unit   estate.UnitID
	op     history.Op
	to     string
	amount history.Amount
	// sent is the first sending, done the end of the last call.
	sent, done time.Duration
	// ack is the first success that a client held; stamp is the oldest ownership that a success of it carried.
	ack   *call
	stamp estate.Ownership
	// answers are all proper answers, answered that there is one.
	answers  []*call
	answered bool
	refused  *call
	// resent is the newest success of a sending again of what diverged.
	resent *call
	unsure bool
	// astray: some sending of it, by the client or by a gateway, was not the one that was answered, or none was.
	astray bool
	// record is the idempotency record that the key has at the end.
	record *Record
	lost   bool
	redone bool
	// excuse is the accepted loss that took the key away.
	excuse  *handover
	doubled bool
}

// gatherKeys joins the calls that carried the same key, and finds its record.
func (c *check) gatherKeys() {
	c.keys = make(map[Scope]*key, len(c.calls))
	for i := range c.calls {
		k := &c.calls[i]
		if !k.op.Writes() {
			continue
		}
		one := c.keys[k.scope]
		if one == nil {
			one = &key{scope: k.scope, unit: k.unit, op: k.op, to: k.to, amount: k.amount, sent: k.sent}
			c.keys[k.scope] = one
			c.order = append(c.order, one)
		}
		one.take(k)
	}
	slices.SortStableFunc(c.order, func(a, b *key) int { return cmp.Compare(a.sent, b.sent) })
	for _, one := range c.order {
		if rs := c.led.records[one.scope]; len(rs) > 0 {
			one.record = rs[0]
		}
	}
}

// take adds a call; calls come in the order they were done.
func (one *key) take(k *call) {
	one.sent, one.done = min(one.sent, k.sent), max(one.done, k.done)
	one.unsure = one.unsure || k.unsure || k.outcome == history.Unresolved
	if k.phase != history.Resend { // which comes after the list: it cannot have reached the former owner
		one.astray = one.astray || one.unsure || k.replays > 0
	}
	switch k.outcome {
	case history.Acknowledged:
		if one.ack == nil {
			one.ack, one.stamp = k, k.ownership
		}
		if k.hasStamp && k.ownership.Less(one.stamp) {
			one.stamp = k.ownership
		}
		if k.phase == history.Resend {
			one.resent = k
		}
	case history.Refused:
		if k.status == history.StatusLocked && one.unsure {
			return // an account in quarantine: nothing is stored, and an earlier sending may still have its effect
		}
		one.refused = k
	default:
		return
	}
	one.answered = true
	one.answers = append(one.answers, k)
}

// present reports whether the key's success stands in the database.
func (one *key) present() bool { return one.record != nil && one.record.Status < 300 }

// broughtBack reports whether a write that was lost is there again because people sent it again with its key: they hold the answer of the very
// record that is there.
func (one *key) broughtBack() bool {
	return one.redone && one.resent != nil && one.recorded(one.resent)
}

// recorded reports whether the answer came from the record that the key has at the end: one that was executed anew has nothing to do with answers of before.
func (one *key) recorded(k *call) bool {
	if one.record == nil || (k.outcome == history.Acknowledged) != one.present() {
		return false
	}
	return !one.redone || k.hasStamp && !k.ownership.Less(one.record.Ownership)
}

// double counts a key once, in the step it was acknowledged in.
func (c *check) double(one *key, n Name, message string) {
	step := c.at(one.done)
	if one.ack != nil {
		step = one.ack.step
	}
	c.v.find(Finding{Name: n, Step: c.name(step), Unit: one.unit, Key: one.scope.Key, Message: message})
	if !one.doubled {
		one.doubled = true
		c.stepOut(step).Doubled++
	}
}

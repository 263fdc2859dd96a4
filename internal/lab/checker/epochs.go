package checker

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"perdure/internal/estate"
	"perdure/internal/lab/history"
)

// slack is how much a time that another process wrote in whole milliseconds may be early.
const slack = 2 * time.Millisecond

// epochs finds answers of an ownership that was over when they were asked for, and rows that stand in the wrong order (I1, I8).
func (c *check) epochs() {
	byUnit := map[estate.UnitID][]*call{}
	for i := range c.calls {
		k := &c.calls[i]
		if k.outcome != history.Acknowledged {
			continue
		}
		if !k.hasStamp {
			c.v.find(Finding{Name: Unstamped, Step: c.name(k.step), Unit: k.unit, Key: k.scope.Key, Message: fmt.Sprintf("%s succeeded with status %d and no ownership", k.op, k.status)})
			continue
		}
		byUnit[k.unit] = append(byUnit[k.unit], k)
	}
	for _, u := range slices.Sorted(maps.Keys(byUnit)) {
		c.incarnations(u, byUnit[u])
		c.oldAnswers(u, byUnit[u])
		c.outlived(u, byUnit[u])
	}
	for _, u := range slices.Sorted(maps.Keys(c.led.units)) {
		c.backwards(u)
		c.severed(u)
	}
	for _, one := range c.order {
		if one.ack != nil && one.ack.hasStamp && one.ack.stamped == "committed" && one.present() && one.record.Ownership.Less(one.ack.ownership) {
			c.v.find(Finding{
				Name: WrongStamp, Step: c.name(one.ack.step), Unit: one.unit, Key: one.scope.Key,
				Message: fmt.Sprintf("answered as committed in %s, recorded in %s", one.ack.ownership, one.record.Ownership),
			})
		}
	}
}

// incarnations finds two recoveries of the same number that both answered (I10).
func (c *check) incarnations(u estate.UnitID, calls []*call) {
	ids := map[uint64]estate.Ownership{}
	for _, k := range calls {
		n := k.ownership.Incarnation.Counter
		if first, ok := ids[n]; ok && first.Conflicts(k.ownership) {
			c.v.find(Finding{Name: TwoOwners, Step: c.name(k.step), Unit: u, Key: k.scope.Key, Message: fmt.Sprintf("answered in %s after an answer in %s", k.ownership, first)})
		} else if !ok {
			ids[n] = k.ownership
		}
	}
}

// opening is a moment at which an ownership is known to have been open.
type opening struct {
	at        time.Duration
	ownership estate.Ownership
	source    string
}

// oldAnswers finds answers whose ownership is older than one that was open before the request was sent: by an answer that some client
// already held, or by the product's own record of when it opened.
func (c *check) oldAnswers(u estate.UnitID, calls []*call) {
	var opened []opening
	for _, k := range calls {
		opened = append(opened, opening{at: k.done, ownership: k.ownership, source: "an answer held by a client"})
	}
	if g := c.unitOf[u]; g != nil {
		for _, reign := range g.reigns {
			if reign.opened != 0 {
				opened = append(opened, opening{at: c.mono(reign.opened) + slack, ownership: reign.ownership, source: "the product's record"})
			}
		}
	}
	slices.SortStableFunc(opened, func(a, b opening) int { return cmp.Compare(a.at, b.at) })
	slices.SortStableFunc(calls, func(a, b *call) int { return cmp.Compare(a.sent, b.sent) })
	newest, next := opening{}, 0
	for _, k := range calls {
		for next < len(opened) && opened[next].at < k.sent {
			if newest.ownership.Less(opened[next].ownership) {
				newest = opened[next]
			}
			next++
		}
		if !k.ownership.Less(newest.ownership) || !k.op.Writes() && k.stale {
			continue
		}
		f := Finding{
			Name: OldEpochWrite, Step: c.name(k.step), Unit: u, Key: k.scope.Key, Accepted: k.ownership.Incarnation != newest.ownership.Incarnation && c.apart(u, k.ownership, k.sent) != nil,
			Message: fmt.Sprintf("%s sent at %s was answered in %s, and %s had opened by %s (%s)", k.op, k.sent.Round(time.Millisecond), k.ownership, newest.ownership, newest.at.Round(time.Millisecond), newest.source),
		}
		if !k.op.Writes() {
			f.Name = OldEpochRead
		}
		c.v.find(f)
	}
}

// backwards finds records whose ownership is older than that of a record before them.
func (c *check) backwards(u estate.UnitID) {
	var newest *Record
	for _, r := range c.led.byUnit[u] {
		if newest != nil && r.Ownership.Less(newest.Ownership) {
			c.v.find(Finding{
				Name: OwnershipBackwards, Unit: u, Key: r.Key,
				Message: fmt.Sprintf("record %d is of ownership %s, record %d before it of %s", r.Seq, r.Ownership, newest.Seq, newest.Ownership),
			})
			continue
		}
		newest = r
	}
}

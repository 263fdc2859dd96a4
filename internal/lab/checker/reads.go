package checker

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"time"

	"perdure/internal/lab/history"
)

// reads asks of every balance that was answered whether the account had it at some moment between the sending and the answer:
// not less than all that was acknowledged before, not more than what was sent before it was answered (I3, I8, I12).
// An account's journal lines are taken in the order they were made, which is the order its row was locked in.
func (c *check) reads() {
	lives := map[accountID]*life{}
	for i := range c.calls {
		k := &c.calls[i]
		if k.op != history.Balance || k.outcome != history.Acknowledged || k.stale || c.lostSight(k) {
			continue
		}
		id := accountID{unit: k.unit, id: k.scope.RoutingKey}
		a := c.led.accounts[id]
		if a == nil {
			continue
		}
		l := lives[id]
		if l == nil {
			l = c.live(a)
			lives[id] = l
		}
		c.v.ReadsChecked++
		low, high := l.bounds(k.sent, k.done)
		if low > high || !slices.Contains(l.balances[low:high+1], k.value) {
			c.v.find(Finding{
				Name: ImpossibleRead, Step: c.name(k.step), Unit: k.unit,
				Message: fmt.Sprintf("account %s was read as %s between %s and %s in ownership %s; it never held that in this time", k.scope.RoutingKey, k.value, k.sent.Round(time.Millisecond), k.done.Round(time.Millisecond), k.ownership),
			})
		}
	}
}

// lostSight reports whether the read may have seen writes that an accepted loss took away.
func (c *check) lostSight(k *call) bool {
	return slices.ContainsFunc(c.cuts, func(cut cut) bool {
		return cut.unit == k.unit && k.ownership.Less(cut.hand.to.ownership) && k.done >= cut.after
	})
}

// life is the balances an account went through.
type life struct {
	balances []history.Amount // before the first line, after the first, and so on
	// acked are the moments by which lines were acknowledged, in order, each with the highest number of lines that had to be there from then on.
	acked []bound
	// sent are the moments before which lines were not sent, in order, each with the lowest number of lines that is possible before then.
	sent []bound
}

type bound struct {
	at    time.Duration
	lines int
}

func (c *check) live(a *account) *life {
	l := &life{balances: make([]history.Amount, 1, len(a.lines)+1)}
	l.balances[0] = a.Opening
	for i, line := range a.lines {
		l.balances = append(l.balances, l.balances[i]+line.amount)
		one := c.keys[line.cause]
		if one == nil {
			continue
		}
		l.sent = append(l.sent, bound{at: one.sent, lines: i})
		if one.ack != nil && !one.redone {
			l.acked = append(l.acked, bound{at: one.ack.done, lines: i + 1})
		}
	}
	slices.SortFunc(l.acked, func(a, b bound) int { return cmp.Compare(a.at, b.at) })
	for i := 1; i < len(l.acked); i++ {
		l.acked[i].lines = max(l.acked[i].lines, l.acked[i-1].lines)
	}
	slices.SortFunc(l.sent, func(a, b bound) int { return cmp.Compare(a.at, b.at) })
	for i := len(l.sent) - 2; i >= 0; i-- {
		l.sent[i].lines = min(l.sent[i].lines, l.sent[i+1].lines)
	}
	return l
}

// bounds gives how few and how many of the account's lines a read of this time can have seen.
func (l *life) bounds(sent, done time.Duration) (low, high int) {
	high = len(l.balances) - 1
	if i := sort.Search(len(l.acked), func(i int) bool { return l.acked[i].at >= sent }); i > 0 {
		low = l.acked[i-1].lines
	}
	if i := sort.Search(len(l.sent), func(i int) bool { return l.sent[i].at > done }); i < len(l.sent) {
		high = min(high, l.sent[i].lines)
	}
	return low, high
}

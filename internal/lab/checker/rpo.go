package checker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"perdure/internal/driver"
	"perdure/internal/estate"
	"perdure/internal/lab/history"
	"perdure/internal/unit"
)

// What the checker's own difference was taken from.
const (
	basisCopy    = "copy of the former owner's directory" // complete: the list has to be equal
	basisHistory = "what clients saw"                     // bounds: lost acknowledgements must be listed, listed ones must have been under way
	basisPlanned = "planned: nothing may differ"
	basisLoss    = "estimate against the loss"
	basisNone    = "no switch"
	basisAbsent  = "former owner not seen again"
)

// divergence compares what the product says was lost or diverged by each switch with the checker's own difference (I6, I10).
func (c *check) divergence() {
	exact := make([]bool, len(c.steps))
	basis := make([][]string, len(c.steps))
	for i := range c.steps {
		exact[i] = c.steps[i].out.Lost == 0 || c.steps[i].out.ExpectedLoss
	}
	for i := range c.hands {
		h := &c.hands[i]
		ok, from := c.compare(h)
		if h.step < 0 {
			continue
		}
		exact[h.step] = exact[h.step] && ok
		if !slices.Contains(basis[h.step], from) {
			basis[h.step] = append(basis[h.step], from)
		}
	}
	for i := range c.steps {
		s := &c.steps[i].out
		s.RPOExact, s.RPOBasis = exact[i], join(basis[i])
		if len(basis[i]) == 0 {
			s.RPOExact, s.RPOBasis = s.Lost == 0, basisNone
		}
		if least, have := c.steps[i].mark.Expect.Diverged, c.steps[i].diverged; have < least {
			s.RPOExact = false
			c.v.find(Finding{Name: UntriedDivergence, Step: c.name(i), Message: fmt.Sprintf("at least %d transactions had to diverge, so that their list shows something, and %d did", least, have)})
		}
	}
	c.out.RPOExact, c.out.RPOBasis = c.out.Lost == 0, basisNone
}

func join(words []string) string {
	var s strings.Builder
	for i, w := range words {
		if i > 0 {
			s.WriteString("; ")
		}
		s.WriteString(w)
	}
	return s.String()
}

// lostRow is one transaction of the checker's own difference.
type lostRow struct {
	accounts []string
	amount   history.Amount
}

// compare judges one handover. It gives whether the product's word is exact, and what that was judged by.
func (c *check) compare(h *handover) (exact bool, basis string) {
	list := c.list(h)
	claims := h.step >= 0 && c.steps[h.step].mark.Expect.Exact
	own, final, copied := c.difference(h)
	if list != nil && h.step >= 0 {
		c.steps[h.step].out.Diverged += len(list.List.Transactions)
	}
	if h.step >= 0 && !h.lossy {
		switch {
		case copied && final:
			c.steps[h.step].diverged += len(own)
		case list != nil:
			c.steps[h.step].diverged += len(list.List.Transactions)
		}
	}
	if list == nil && c.returned(h) && !h.lossy {
		// The former owner follows its successor again, and nothing was listed: that says that nothing diverged.
		list = &history.Divergence{Group: h.group.id, Member: h.from.owner, Left: h.from.ownership}
	}
	exact, basis = true, basisAbsent
	switch {
	case h.mode == unit.Takeover || h.mode == unit.SwitchBack:
		basis = basisPlanned
		if !copied {
			own = map[Scope]lostRow{}
		}
		exact = c.equal(h, list, own)
	case list != nil && copied && final:
		basis = basisCopy
		exact = c.equal(h, list, own)
	case list != nil:
		basis = basisHistory
		exact = c.plausible(h, list, own)
	case !h.lossy || c.twoOwners(h):
		exact = false
		if claims || c.twoOwners(h) {
			c.v.find(Finding{Name: MissingDivergence, Step: c.name(h.step), Message: fmt.Sprintf("%s left %s in ownership %s and there is no list of what it had and %s has not", h.group.id, h.from.owner, h.from.ownership, h.to.owner)})
		}
	}
	if h.lossy {
		ok := c.estimate(h, own, claims)
		exact, basis = exact && ok, basisLoss
	}
	return exact, basis
}

// list gives the newest list of what the former owner had and its successor had not, nil where there is none.
func (c *check) list(h *handover) *history.Divergence {
	for i := len(c.lists) - 1; i >= 0; i-- {
		l := &c.lists[i]
		if l.Group == h.group.id && l.Member == h.from.owner && !l.Left.Less(h.from.ownership) && l.Left.Less(h.to.ownership) {
			return l
		}
	}
	return nil
}

// returned reports whether the former owner was seen to follow its successor's history, or a later one.
func (c *check) returned(h *handover) bool {
	f, ok := h.group.following[h.from.owner]
	return ok && !f.Less(h.to.ownership)
}

// difference is what the former owner had committed and its successor has not: from a copy of its directory, where the lab took one
// before its agent touched it, otherwise the acknowledged writes that are lost. final says that nothing was committed after the copy.
func (c *check) difference(h *handover) (own map[Scope]lostRow, final, copied bool) {
	own = map[Scope]lostRow{}
	for i := range c.copies {
		p := &c.copies[i]
		if p.Group != h.group.id || p.Member != h.from.owner || p.Left.Less(h.from.ownership) || !p.Left.Less(h.to.ownership) {
			continue
		}
		for _, row := range p.rows {
			s := Scope{Caller: row.Caller, RoutingKey: row.RoutingKey, Key: row.Key}
			if !row.Ownership.Less(h.from.ownership) && !c.survived(s, row.Ownership) {
				own[s] = lostRow{accounts: row.Accounts, amount: row.Amount}
			}
		}
		return own, p.Final, true
	}
	for _, one := range c.order {
		if !one.lost || !slices.Contains(h.group.units, one.unit) {
			continue
		}
		if one.excuse == h || !h.lossy && one.stamp == h.from.ownership {
			own[one.scope] = lostRow{accounts: accountsOf(one), amount: one.amount}
		}
	}
	return own, false, false
}

func accountsOf(one *key) []string {
	if one.to != "" {
		return []string{one.scope.RoutingKey, one.to}
	}
	return []string{one.scope.RoutingKey}
}

// survived reports whether exactly this committed record is at the final owner: a key that was executed anew there has another ownership.
func (c *check) survived(s Scope, o estate.Ownership) bool {
	return slices.ContainsFunc(c.led.records[s], func(r *Record) bool { return r.Ownership == o })
}

func scopeOf(t driver.DivergedTransaction) Scope {
	return Scope{Caller: t.Caller, RoutingKey: t.RoutingKey, Key: t.Key}
}

// equal compares the list with the difference, key by key.
func (c *check) equal(h *handover, list *history.Divergence, own map[Scope]lostRow) bool {
	listed, ok := c.listed(h, list, own)
	for s := range listed {
		if _, has := own[s]; !has {
			ok = false
			c.wrongList(h, s, "is listed, and it did not diverge")
		}
	}
	for s := range own {
		if !listed[s] {
			ok = false
			c.wrongList(h, s, "diverged, and it is not listed")
		}
	}
	return ok
}

// plausible compares the list with bounds: what is known to be lost must be listed; what is listed must not have survived, and must be
// of a call that can have reached the former owner without its client learning of it.
func (c *check) plausible(h *handover, list *history.Divergence, own map[Scope]lostRow) bool {
	listed, ok := c.listed(h, list, own)
	for s := range own {
		if !listed[s] {
			ok = false
			c.wrongList(h, s, "is lost, and it is not listed")
		}
	}
	for s := range listed {
		one := c.keys[s]
		switch {
		case c.survived(s, h.from.ownership):
			ok = false
			c.wrongList(h, s, "is listed, and the final owner has it from that very ownership")
		case one == nil && c.callers[s.Caller]:
			ok = false
			c.wrongList(h, s, "is listed, and no client ever sent it")
		case one != nil && !one.lost && !c.mayHaveReached(h, list, one) && !c.refusedThere(h, one):
			ok = false
			c.wrongList(h, s, "is listed, and it cannot have reached the former owner without its client learning of it")
		}
	}
	return ok
}

// mayHaveReached reports whether the former owner can have committed the key without its client learning of it: some sending of it
// went astray, and it was under way between the owner's opening and the list. The opening of the successor is no bound: an owner that is
// alive and cut off takes writes until it hears of its successor, and only acknowledges none (I4).
func (c *check) mayHaveReached(h *handover, list *history.Divergence, one *key) bool {
	return one.astray && one.sent <= list.At.Mono && one.done >= c.mono(h.from.opened)-history.Patience
}

// refusedThere reports whether the former owner refused the key in what people accepted to lose: such a result goes with it, and moved
// nothing. An owner that lives on beside a recovered store goes on to epochs that this store never knew.
func (c *check) refusedThere(h *handover, one *key) bool {
	return h.excused(c.run) && slices.ContainsFunc(one.answers, func(k *call) bool {
		return k.outcome == history.Refused && !k.ownership.Less(h.from.ownership) && k.ownership.Less(h.to.ownership)
	})
}

// asking is how long it may take from when the successor was asked for a key until the list that says so is kept.
const asking = 3 * time.Second

// made is when the product made a list: keys that were settled later are rightly listed as not settled.
func (c *check) made(list *history.Divergence) time.Duration {
	if list.Listed != 0 {
		return c.mono(list.Listed)
	}
	return list.At.Mono
}

// listed gives the listed keys, and whether the list is consistent in itself and with what clients saw.
func (c *check) listed(h *handover, list *history.Divergence, own map[Scope]lostRow) (map[Scope]bool, bool) {
	keys, ok := map[Scope]bool{}, true
	if list == nil {
		return keys, ok
	}
	for _, t := range list.List.Transactions {
		s := scopeOf(t)
		if keys[s] {
			ok = false
			c.wrongList(h, s, "is listed twice")
		}
		keys[s] = true
		one := c.keys[s]
		switch present := len(c.led.records[s]) > 0; {
		case t.Settled && !present && !c.lostLater(one, h):
			ok = false
			c.wrongList(h, s, "is listed as settled, and the final owner has no record of it")
		case !t.Settled && present && one != nil && one.ack != nil && one.ack.done < c.made(list)-asking && !one.stamp.Less(h.to.ownership):
			ok = false
			c.wrongList(h, s, "is listed as not settled, and its client had the success at the successor before")
		}
		if one != nil && t.Amount != "" {
			a, err := history.ParseAmount(t.Amount)
			row, known := own[s]
			right := a == one.amount || a == 0 && one.refused != nil // what was refused moved nothing
			if known {
				right = a == row.amount
			}
			if err != nil || !right {
				ok = false
				c.wrongList(h, s, fmt.Sprintf("is listed with amount %s, its client asked for %s", t.Amount, one.amount))
			}
		}
	}
	return keys, ok
}

// lostLater reports whether an accepted loss after the handover can have taken the key's record away again.
func (c *check) lostLater(one *key, h *handover) bool {
	for i := range c.hands {
		later := &c.hands[i]
		if later.group == h.group && h.to.ownership.Less(later.to.ownership) && later.excused(c.run) && (one == nil || one.lost || one.ack == nil) {
			return true
		}
	}
	return false
}

func (c *check) wrongList(h *handover, s Scope, what string) {
	c.v.find(Finding{
		Name: WrongDivergence, Step: c.name(h.step), Key: s.Key,
		Message: fmt.Sprintf("%s of %s by %s %s (%s left ownership %s)", h.group.id, s.RoutingKey, s.Caller, what, h.from.owner, h.from.ownership),
	})
}

// estimate compares what was shown to the people who accepted with what was lost.
func (c *check) estimate(h *handover, own map[Scope]lostRow, claims bool) bool {
	accounts, amount := map[string]bool{}, history.Amount(0)
	for _, row := range own {
		amount += row.amount
		for _, a := range row.accounts {
			accounts[a] = true
		}
	}
	problem := ""
	switch {
	case h.loss == nil || h.loss.Loss == nil:
		problem = "no estimate was shown"
	case h.loss.Loss.NoneIfHeld && h.loss.Loss.Transactions <= 0:
		if len(own) > 0 {
			problem = fmt.Sprintf("no loss was stated if the set still held, and %d transactions are lost", len(own))
		}
	default:
		l := h.loss.Loss
		if l.Transactions != int64(len(own)) || l.Accounts >= 0 && l.Accounts != int64(len(accounts)) || !sameAmount(l.Amount, amount) {
			problem = fmt.Sprintf("shown were %d transactions of %s on %d accounts; lost are %d of %s on %d", l.Transactions, l.Amount, l.Accounts, len(own), amount, len(accounts))
		}
	}
	if problem == "" {
		return true
	}
	c.v.find(Finding{Name: WrongEstimate, Step: c.name(h.step), Message: string(h.group.id) + ": " + problem, Accepted: !claims})
	return false
}

// sameAmount compares an estimated amount with the sum; an amount that is not given is not wrong.
func sameAmount(text string, sum history.Amount) bool {
	if text == "" {
		return true
	}
	a, err := history.ParseAmount(text)
	return err == nil && a == sum
}

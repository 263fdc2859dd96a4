package checker

import (
	"fmt"
	"maps"
	"slices"

	"perdure/internal/estate"
	"perdure/internal/lab/history"
)

// money proves that nothing was made and nothing lost: every entry sums to zero, every balance is its opening and its journal,
// and what customers hold, with what is in flight between units, is what they held at the beginning and what came in from outside.
func (c *check) money() {
	m := &c.v.Money
	m.Entries, m.Accounts = len(c.led.all), len(c.led.ids)
	for _, e := range c.led.all {
		sum := history.Amount(0)
		for _, l := range e.lines {
			sum += l.Amount
			if a := c.led.accounts[accountID{unit: e.unit, id: l.Account}]; a != nil && a.Kind == External {
				m.FromOutside -= l.Amount
			}
		}
		if sum != 0 {
			c.v.find(Finding{Name: UnbalancedEntry, Unit: e.unit, Key: e.cause.Key, Message: fmt.Sprintf("journal entry %d sums to %s", e.id, sum)})
		}
	}
	if c.led.loose > 0 {
		c.v.find(Finding{Name: WrongBalance, Message: fmt.Sprintf("%d journal lines are of accounts that do not exist", c.led.loose)})
	}
	for _, p := range c.led.skewed {
		c.v.find(Finding{Name: WrongBalance, Unit: p.Unit, Key: p.Cause.Key, Message: fmt.Sprintf("journal entry %d says account %s held %s after it; the lines before make another balance", p.Entry, p.Account, p.After)})
	}
	for _, id := range c.led.ids {
		a := c.led.accounts[id]
		if a.Balance != a.Opening+a.journal {
			c.v.find(Finding{Name: WrongBalance, Unit: id.unit, Message: fmt.Sprintf("account %s holds %s; opening %s and journal %s make %s", id.id, a.Balance, a.Opening, a.journal, a.Opening+a.journal)})
		}
		if a.Kind != Customer {
			continue
		}
		opening := a.Opening
		if told, ok := c.openings[id.id]; ok && told.Unit == id.unit {
			if told.Amount != a.Opening {
				c.v.find(Finding{Name: ChangedOpening, Unit: id.unit, Message: fmt.Sprintf("account %s opened with %s, the database says %s", id.id, told.Amount, a.Opening)})
			}
			opening = told.Amount
		}
		m.Opening += opening
		m.Balances += a.Balance
	}
	for _, account := range slices.Sorted(maps.Keys(c.openings)) {
		o := c.openings[account]
		if c.led.accounts[accountID{unit: o.Unit, id: account}] == nil && c.led.units[o.Unit] {
			m.Opening += o.Amount
			c.v.find(Finding{Name: ChangedOpening, Unit: o.Unit, Message: fmt.Sprintf("account %s was there before the load and is not there now", account)})
		}
	}
	c.conserve()
}

// conserve draws the sum, and accepts of its difference what an accepted loss explains: the one side of a cross-transfer that went down
// with its site. Money that was made and money that was lost are judged apart, so that they cannot hide each other.
func (c *check) conserve() {
	m := &c.v.Money
	credited := map[inbound]bool{}
	for _, u := range slices.Sorted(maps.Keys(c.led.units)) {
		for _, r := range c.led.byUnit[u] {
			if r.Status < 300 && !c.callers[r.Caller] {
				credited[inbound{routingKey: r.RoutingKey, key: r.Key}] = true
			}
		}
	}
	made, madeAccepted, unreturned := c.unbacked()
	gone, goneAccepted := unreturned, history.Amount(0)
	for _, msg := range c.led.sent {
		switch there := credited[inbound{routingKey: msg.RoutingKey, key: msg.Key}]; {
		case there && msg.Returned:
			made += msg.Amount
		case there, msg.Returned:
		case !msg.Delivered:
			m.InFlight += msg.Amount
		default:
			gone += msg.Amount
			if c.lossyCredit(msg) {
				goneAccepted += msg.Amount
			}
		}
	}
	m.Accepted = madeAccepted - goneAccepted
	difference := m.Balances + m.InFlight - m.Opening - m.FromOutside
	sums := fmt.Sprintf("customers hold %s and %s is in flight; they opened with %s and %s came from outside", m.Balances, m.InFlight, m.Opening, m.FromOutside)
	if made != madeAccepted || difference > made-gone {
		c.v.find(Finding{Name: MoneyCreated, Message: fmt.Sprintf("%s: a difference of %s, of it credited without a debit %s (%s accepted), delivered and not credited %s", sums, difference, made, madeAccepted, gone)})
	}
	if gone != goneAccepted || difference < made-gone {
		c.v.find(Finding{Name: MoneyLost, Message: fmt.Sprintf("%s: a difference of %s, of it delivered and not credited %s (%s accepted), credited without a debit %s", sums, difference, gone, goneAccepted, made)})
	}
}

// lossyCredit reports whether the message's credit can have been taken away again by an accepted loss at its destination.
func (c *check) lossyCredit(m *Message) bool {
	u := c.unitOfAccount(m.Account)
	return m.DeliveredAt != 0 && slices.ContainsFunc(c.cuts, func(k cut) bool {
		at := c.mono(m.DeliveredAt)
		return k.unit == u && at <= k.hand.at && at+slack >= k.after
	})
}

// unitOfAccount gives the unit that has the customer's account.
func (c *check) unitOfAccount(id string) estate.UnitID {
	for _, u := range slices.Sorted(maps.Keys(c.led.units)) {
		if a := c.led.accounts[accountID{unit: u, id: id}]; a != nil && a.Kind == Customer {
			return u
		}
	}
	return ""
}

// booking is a credit on an account.
type booking struct {
	unit    estate.UnitID
	account string
	amount  history.Amount
}

// unbacked sums the credits out of transit that no outbox has a message for, and the part of them that lost cross-transfers of an accepted
// loss explain; and what was to be returned to its sender and was not.
func (c *check) unbacked() (sum, explained, unreturned history.Amount) {
	gone, returns := map[booking]int{}, map[booking]int{}
	for _, one := range c.order {
		if one.op == history.Cross && !one.present() && (one.excuse != nil || c.mayHaveGone(one)) {
			gone[booking{account: one.to, amount: one.amount}]++
		}
	}
	for _, m := range c.led.sent {
		if m.Returned {
			returns[booking{m.Unit, m.Cause.RoutingKey, m.Amount}]++
			unreturned += m.Amount
		}
	}
	for _, e := range c.led.all {
		if c.callers[e.cause.Caller] || len(c.led.bound[inbound{routingKey: e.cause.RoutingKey, key: e.cause.Key}]) > 0 {
			continue
		}
		transit := history.Amount(0)
		for _, l := range e.lines {
			if a := c.led.accounts[accountID{unit: e.unit, id: l.Account}]; a != nil && a.Kind == Transit {
				transit += l.Amount
			}
		}
		if transit >= 0 {
			continue
		}
		sum -= transit
		for account, amount := range c.moved(e) {
			if back := (booking{e.unit, account, amount}); returns[back] > 0 {
				returns[back]--
				sum, unreturned = sum-amount, unreturned-amount
			} else if lost := (booking{account: account, amount: amount}); gone[lost] > 0 {
				gone[lost]--
				explained += amount
			}
		}
	}
	return sum, explained, unreturned
}

// mayHaveGone reports whether a write without an answer could have been done and then taken away by an accepted loss.
func (c *check) mayHaveGone(one *key) bool {
	if one.answered && one.ack == nil {
		return false
	}
	return slices.ContainsFunc(c.cuts, func(k cut) bool {
		return k.unit == one.unit && one.sent <= k.hand.at && one.done >= k.after
	})
}

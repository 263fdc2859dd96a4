package checker

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"perdure/internal/lab/history"
)

// effects compares what each key asked for with what the journal says was done (I5).
func (c *check) effects() {
	for _, u := range slices.Sorted(maps.Keys(c.led.units)) {
		for _, r := range c.led.byUnit[u] {
			c.effect(r)
		}
	}
	for _, one := range c.order {
		if one.refused != nil && one.ack == nil && len(c.led.entries[one.scope]) > 0 {
			c.v.find(Finding{
				Name: RefusedEffect, Step: c.name(one.refused.step), Unit: one.unit, Key: one.scope.Key,
				Message: fmt.Sprintf("it was refused with status %d, and has %d journal entries", one.refused.status, len(c.led.entries[one.scope])),
			})
		}
	}
	for _, e := range c.led.all {
		if len(c.led.records[e.cause]) == 0 {
			c.v.find(Finding{Name: UnrecordedEffect, Unit: e.unit, Key: e.cause.Key, Message: fmt.Sprintf("journal entry %d has no idempotency record", e.id)})
		}
	}
	c.anew()
	c.credits()
}

// anew finds requests of a list of divergence that were sent again under another key than their own, and have their effect under each (I5, I6).
func (c *check) anew() {
	var order []Scope
	sent := map[Scope][]Scope{} // by the scope that was listed
	for i := range c.calls {
		k := &c.calls[i]
		if k.listed == "" || k.listed == k.scope.Key {
			continue
		}
		listed := k.scope
		listed.Key = k.listed
		if sent[listed] == nil {
			order, sent[listed] = append(order, listed), []Scope{listed}
		}
		if !slices.Contains(sent[listed], k.scope) {
			sent[listed] = append(sent[listed], k.scope)
		}
	}
	for _, listed := range order {
		var entries []*entry
		keys := 0
		for _, s := range sent[listed] {
			if e := c.led.entries[s]; len(e) > 0 {
				entries = append(entries, e...)
				keys++
			}
		}
		if keys < 2 {
			continue
		}
		one := c.keys[listed]
		if one == nil {
			one = c.keys[sent[listed][1]]
		}
		c.double(one, DoubledEffect, fmt.Sprintf("what diverged was sent again under another key, and has its effect under each: %s", describe(entries)))
	}
}

// effect judges one record.
func (c *check) effect(r *Record) {
	one, entries := c.keys[r.Scope], c.led.entries[r.Scope]
	f := Finding{Unit: r.Unit, Key: r.Key}
	switch {
	case one == nil && c.callers[r.Caller]:
		f.Name, f.Message = UnaskedWrite, fmt.Sprintf("record %d of caller %s has a key that no call of the history carried", r.Seq, r.Caller)
		c.v.find(f)
		return
	case one != nil:
		f.Step = c.name(c.at(one.done))
	}
	if r.Status >= 300 {
		if len(entries) > 0 {
			f.Name, f.Message = RefusedEffect, fmt.Sprintf("it is recorded with status %d, and has %d journal entries", r.Status, len(entries))
			c.v.find(f)
		}
		return
	}
	if one == nil {
		return // a message of the outbox, judged in credits, or a caller that is not part of the load
	}
	switch {
	case len(entries) == 0:
		f.Name, f.Message = MissingEffect, fmt.Sprintf("record %d says success, and no journal entry has its key", r.Seq)
		c.v.find(f)
	case len(entries) > 1:
		c.double(one, DoubledEffect, fmt.Sprintf("it has %d journal entries: %s", len(entries), describe(entries)))
	default:
		if got, want := c.moved(entries[0]), asked(one); !maps.Equal(got, want) {
			f.Name, f.Message = WrongEffect, fmt.Sprintf("it asked for %s, the journal moved %s", legs(want), legs(got))
			c.v.find(f)
		}
	}
	if one.op == history.Cross && r.Status < 300 && len(c.led.messages[r.Scope]) != 1 {
		n := len(c.led.messages[r.Scope])
		if n > 1 {
			c.double(one, DoubledCredit, fmt.Sprintf("%d messages carry its credit", n))
			return
		}
		f.Name, f.Message = MissingEffect, "no message carries its credit"
		c.v.find(f)
	}
}

// asked is what a key asked of customers' accounts in its own unit.
func asked(one *key) map[string]history.Amount {
	switch one.op {
	case history.Credit:
		return map[string]history.Amount{one.scope.RoutingKey: one.amount}
	case history.Transfer:
		return map[string]history.Amount{one.scope.RoutingKey: -one.amount, one.to: one.amount}
	case history.Debit, history.Cross, history.Balance:
	}
	return map[string]history.Amount{one.scope.RoutingKey: -one.amount}
}

// moved is what an entry did to customers' accounts.
func (c *check) moved(e *entry) map[string]history.Amount {
	m := map[string]history.Amount{}
	for _, l := range e.lines {
		if a := c.led.accounts[accountID{unit: e.unit, id: l.Account}]; a == nil || a.Kind == Customer {
			m[l.Account] += l.Amount
		}
	}
	return m
}

func legs(m map[string]history.Amount) string {
	var s strings.Builder
	for i, id := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			s.WriteString(", ")
		}
		s.WriteString(id + " " + m[id].String())
	}
	if s.String() == "" {
		return "nothing"
	}
	return s.String()
}

func describe(entries []*entry) string {
	var s strings.Builder
	for i, e := range entries {
		if i > 0 {
			s.WriteString(", ")
		}
		s.WriteString(fmt.Sprintf("%s/%d", e.unit, e.id))
	}
	return s.String()
}

// credits judges how the messages of the outbox arrived: each at most once, with its amount, to its account.
func (c *check) credits() {
	arrived := map[inbound][]*Record{}
	for _, u := range slices.Sorted(maps.Keys(c.led.units)) {
		for _, r := range c.led.byUnit[u] {
			if r.Status < 300 && !c.callers[r.Caller] {
				at := inbound{routingKey: r.RoutingKey, key: r.Key}
				arrived[at] = append(arrived[at], r)
			}
		}
	}
	for _, m := range c.led.sent {
		var entries []*entry
		for _, r := range arrived[inbound{routingKey: m.RoutingKey, key: m.Key}] {
			entries = append(entries, c.led.entries[r.Scope]...)
		}
		one := c.keys[m.Cause]
		switch {
		case len(entries) > 1 && one != nil:
			c.double(one, DoubledCredit, fmt.Sprintf("credited %d times: %s", len(entries), describe(entries)))
		case len(entries) > 1:
			c.v.find(Finding{Name: DoubledCredit, Unit: m.Unit, Key: m.Key, Message: fmt.Sprintf("credited %d times: %s", len(entries), describe(entries))})
		case len(entries) == 1:
			want := map[string]history.Amount{m.Account: m.Amount}
			if one != nil {
				want = map[string]history.Amount{one.to: one.amount}
			}
			if got := c.moved(entries[0]); !maps.Equal(got, want) {
				c.v.find(Finding{Name: WrongEffect, Unit: entries[0].unit, Key: m.Key, Message: fmt.Sprintf("its message carried %s, the journal moved %s", legs(want), legs(got))})
			}
		}
	}
}

// results compares every success with the recorded result and with the other successes of its key, and a refusal with its record
// where it has one (I3, I5). A refusal that left no record may be judged anew by a later sending.
func (c *check) results() {
	for _, one := range c.order {
		var first *call
		for _, k := range one.answers {
			message := ""
			switch {
			case one.recorded(k) && (k.status != one.record.Status || k.result != one.record.Result):
				message = fmt.Sprintf("answered status %d, result %s; recorded is status %d, result %s", k.status, k.result, one.record.Status, one.record.Result)
			case k.outcome == history.Acknowledged && first != nil && !one.redone && (k.status != first.status || k.result != first.result):
				message = fmt.Sprintf("call %d was answered status %d, result %s; call %d status %d, result %s", k.id, k.status, k.result, first.id, first.status, first.result)
			}
			if message != "" {
				c.v.find(Finding{Name: ChangedResult, Step: c.name(k.step), Unit: one.unit, Key: one.scope.Key, Message: message})
			}
			if first == nil && k.outcome == history.Acknowledged {
				first = k
			}
		}
	}
}

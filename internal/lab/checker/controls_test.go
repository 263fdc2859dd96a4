package checker_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"perdure/internal/driver"
	"perdure/internal/estate"
	"perdure/internal/lab/checker"
	"perdure/internal/lab/history"
)

// control is one seeded defect and the name by which it has to be caught. It reports false where the story has no place for it.
type control struct {
	defect string
	want   checker.Name
	seed   func(w *world, r *rand.Rand) bool
}

// pick gives a random call that fits, nil where there is none.
func pick(w *world, r *rand.Rand, fits func(*history.Call) bool) *history.Call {
	var found []*history.Call
	for _, e := range w.events {
		if e.Call != nil && fits(e.Call) {
			found = append(found, e.Call)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return found[r.IntN(len(found))]
}

func acknowledged(c *history.Call) bool {
	return c.Op.Writes() && c.Outcome == history.Acknowledged && c.Phase == history.Steady
}

// recordOf gives where the record of the call's key was when it was asked for the first time, before anything was seeded.
func (w *world) recordOf(c *history.Call) int {
	if w.index == nil {
		w.index = map[string]int{}
		for i, r := range w.facts.RecordRows {
			w.index[r.Key] = i
		}
	}
	if i, ok := w.index[c.Key]; ok {
		return i
	}
	return -1
}

// stands picks an acknowledged write that is in the database and is not the last of its ownership: taking the last one away
// together with an accepted loss would only be a greater loss.
func (w *world) stands(r *rand.Rand, op ...history.Op) *history.Call {
	delivered := map[string]bool{}
	for _, m := range w.facts.MessageRows {
		delivered[m.Cause.Key] = m.Delivered
	}
	last := map[string]time.Duration{}
	for _, e := range w.events {
		if c := e.Call; c != nil && acknowledged(c) && w.recordOf(c) >= 0 {
			last[string(c.Unit)+c.Ownership] = c.Sent.Mono
		}
	}
	return pick(w, r, func(c *history.Call) bool {
		return acknowledged(c) && (c.Op != history.Cross || delivered[c.Key]) && c.Done < last[string(c.Unit)+c.Ownership] && w.recordOf(c) >= 0 && (len(op) == 0 || slices.Contains(op, c.Op))
	})
}

// undo takes a key out of the database as if its transaction had never been.
func (w *world) undo(key string) {
	w.facts.RecordRows = slices.DeleteFunc(w.facts.RecordRows, func(r checker.Record) bool { return r.Key == key })
	for _, p := range w.facts.PostingRows {
		if p.Cause.Key == key {
			w.balance(p.Unit, p.Account, -p.Amount)
		}
	}
	w.facts.PostingRows = slices.DeleteFunc(w.facts.PostingRows, func(p checker.Posting) bool { return p.Cause.Key == key })
	w.facts.MessageRows = slices.DeleteFunc(w.facts.MessageRows, func(m checker.Message) bool { return m.Cause.Key == key })
}

func (w *world) balance(u estate.UnitID, account string, add history.Amount) {
	for i := range w.facts.AccountRows {
		if a := &w.facts.AccountRows[i]; a.Unit == u && a.ID == account {
			a.Balance += add
		}
	}
}

// again books the entries of a key a second time, balances and all.
func (w *world) again(key string) {
	for _, p := range slices.Clone(w.facts.PostingRows) {
		if p.Cause.Key == key {
			p.Entry += 1_000_000
			w.facts.PostingRows = append(w.facts.PostingRows, p)
			w.balance(p.Unit, p.Account, p.Amount)
		}
	}
}

func (w *world) step(edge history.Edge, mode history.Mode) *history.Mark {
	step := ""
	for _, e := range w.events {
		if e.Mark == nil {
			continue
		}
		if e.Mark.Edge == history.Starts && e.Mark.Mode == mode {
			step = e.Mark.Step
		}
		if e.Mark.Step == step && e.Mark.Edge == edge {
			return e.Mark
		}
	}
	return nil
}

// inEmergency reports whether the call was under way in a step that waits for people, where an error is no broken promise.
func (w *world) inEmergency(c *history.Call) bool {
	from, until := w.step(history.Starts, history.Emergency), w.step(history.Ends, history.Emergency)
	return from != nil && c.Done+10*time.Millisecond >= from.At.Mono && c.Sent.Mono <= until.At.Mono
}

func (w *world) list() *history.Divergence {
	for _, e := range w.events {
		if e.Divergence != nil {
			return e.Divergence
		}
	}
	return nil
}

// cutOffList gives a list of an owner that lived on unseen, of which there is no copy.
func (w *world) cutOffList() *listOf {
	for _, e := range w.events {
		if d := e.Divergence; d != nil && !w.hasCopy(d) && slices.ContainsFunc(w.events, func(e history.Event) bool {
			return e.Fault != nil && e.Fault.What == "cut" && e.Fault.Edge == history.Ends && e.Fault.At == d.At
		}) {
			return (*listOf)(d)
		}
	}
	return nil
}

type listOf history.Divergence

func (l *listOf) names(c *history.Call) bool {
	if c == nil {
		return false
	}
	l.List.Transactions = append(l.List.Transactions, driver.DivergedTransaction{Caller: c.Caller, RoutingKey: c.From, Key: c.Key, Settled: true})
	return true
}

// strayed reports whether the call was sent more than once, or its key was.
func strayed(c *history.Call) bool { return c.Replays > 0 || len(c.Attempts) > 1 }

func (w *world) eachGroup(do func(*history.Group)) {
	for _, e := range w.events {
		if e.Group != nil {
			do(e.Group)
		}
	}
}

var controls = []control{
	{"an acknowledged write is not at the final owner", checker.LostWrite, func(w *world, r *rand.Rand) bool {
		c := w.stands(r, history.Transfer, history.Credit, history.Debit)
		w.undo(c.Key)
		return true
	}},
	{"a lossy switch lost a write that is older than one that survived", checker.LostWrite, func(w *world, _ *rand.Rand) bool {
		m := w.step(history.Starts, history.Emergency)
		if m == nil {
			return false
		}
		for _, e := range w.events {
			if c := e.Call; c != nil && acknowledged(c) && c.Unit == "u1" && c.Op == history.Transfer && c.Sent.Mono > m.At.Mono && w.recordOf(c) >= 0 {
				w.undo(c.Key)
				return true
			}
		}
		return false
	}},
	{"a write was lost and its key was executed anew", checker.LostWrite, func(w *world, r *rand.Rand) bool {
		c := pick(w, r, func(c *history.Call) bool { return acknowledged(c) && c.Ownership == "1.x.1" && w.recordOf(c) >= 0 })
		if c == nil {
			return false
		}
		i := w.recordOf(c)
		w.facts.RecordRows[i].Ownership.Epoch = 2
		return true
	}},
	{"an acknowledged write is recorded as refused", checker.LostWrite, func(w *world, r *rand.Rand) bool {
		w.facts.RecordRows[w.recordOf(w.stands(r))].Status = 422
		return true
	}},
	{"a key has its effect twice", checker.DoubledEffect, func(w *world, r *rand.Rand) bool {
		w.again(w.stands(r, history.Transfer, history.Credit, history.Debit).Key)
		return true
	}},
	{"what diverged was brought in again under another key", checker.DoubledEffect, func(w *world, r *rand.Rand) bool {
		c := pick(w, r, func(c *history.Call) bool {
			return c.Phase == history.Resend && c.Stamped == "replayed" && w.recordOf(c) >= 0
		})
		if c == nil {
			return false
		}
		anew := "new-" + c.Key
		rec := w.facts.RecordRows[w.recordOf(c)]
		for _, p := range slices.Clone(w.facts.PostingRows) {
			if p.Cause == rec.Scope {
				p.Cause.Key, p.Entry, p.HasAfter = anew, p.Entry+1_000_000, false
				w.facts.PostingRows = append(w.facts.PostingRows, p)
				w.balance(p.Unit, p.Account, p.Amount)
			}
		}
		rec.Key, rec.Seq, rec.Result = anew, 1_000_000, "r-"+anew
		w.facts.RecordRows = append(w.facts.RecordRows, rec)
		c.Key, c.Result, c.Stamped = anew, rec.Result, "committed"
		return true
	}},
	{"a key is recorded at two units", checker.DoubledKey, func(w *world, r *rand.Rand) bool {
		rec := w.facts.RecordRows[w.recordOf(w.stands(r))]
		rec.Unit = map[estate.UnitID]estate.UnitID{"u1": "u2", "u2": "u1"}[rec.Unit]
		w.facts.RecordRows = append(w.facts.RecordRows, rec)
		return true
	}},
	{"a cross-transfer is credited twice", checker.DoubledCredit, func(w *world, r *rand.Rand) bool {
		w.again("x-" + w.stands(r, history.Cross).Key)
		return true
	}},
	{"a cross-transfer has two messages", checker.DoubledCredit, func(w *world, r *rand.Rand) bool {
		c := w.stands(r, history.Cross)
		for _, m := range w.facts.MessageRows {
			if m.Cause.Key == c.Key {
				m.Key += "-2"
				w.facts.MessageRows = append(w.facts.MessageRows, m)
				return true
			}
		}
		return false
	}},
	{"a record says success and nothing was booked", checker.MissingEffect, func(w *world, r *rand.Rand) bool {
		c := w.stands(r, history.Transfer)
		rec := w.facts.RecordRows[w.recordOf(c)]
		w.undo(c.Key)
		w.facts.RecordRows = append(w.facts.RecordRows, rec)
		slices.SortStableFunc(w.facts.RecordRows, func(a, b checker.Record) int { return int(a.Seq - b.Seq) })
		return true
	}},
	{"the journal booked another amount", checker.WrongEffect, func(w *world, r *rand.Rand) bool {
		c := w.stands(r, history.Transfer)
		for i := range w.facts.PostingRows {
			if p := &w.facts.PostingRows[i]; p.Cause.Key == c.Key {
				w.balance(p.Unit, p.Account, p.Amount)
				p.Amount *= 2
			}
		}
		return true
	}},
	{"the credit of a message went to another account", checker.WrongEffect, func(w *world, r *rand.Rand) bool {
		c := w.stands(r, history.Cross)
		for i := range w.facts.PostingRows {
			if p := &w.facts.PostingRows[i]; p.Cause.Key == "x-"+c.Key && p.Account == c.To {
				w.balance(p.Unit, p.Account, -p.Amount)
				p.Account = map[bool]string{true: c.To[:7] + "1", false: c.To[:7] + "0"}[c.To[7] == '0']
				w.balance(p.Unit, p.Account, p.Amount)
				return true
			}
		}
		return false
	}},
	{"a refused write had its effect", checker.RefusedEffect, func(w *world, r *rand.Rand) bool {
		c := w.stands(r, history.Debit)
		c.Outcome, c.Status = history.Refused, 422
		for _, e := range w.events {
			if e.Call != nil && e.Call.Key == c.Key {
				e.Call.Outcome, e.Call.Status = history.Refused, 422
			}
		}
		return true
	}},
	{"a write that was blocked by a quarantine had its effect", checker.RefusedEffect, func(w *world, r *rand.Rand) bool {
		m := w.step(history.Starts, history.Emergency)
		if m == nil {
			return false
		}
		c := pick(w, r, func(c *history.Call) bool {
			return acknowledged(c) && c.Sent.Mono > m.At.Mono+time.Second && w.recordOf(c) >= 0
		})
		if c == nil {
			return false
		}
		for _, e := range w.events {
			if e.Call != nil && e.Call.Key == c.Key {
				e.Call.Outcome, e.Call.Status = history.Refused, history.StatusLocked
			}
		}
		return len(c.Attempts) == 1
	}},
	{"a journal entry has no record", checker.UnrecordedEffect, func(w *world, r *rand.Rand) bool {
		c := w.stands(r)
		w.facts.RecordRows = slices.DeleteFunc(w.facts.RecordRows, func(rec checker.Record) bool { return rec.Key == c.Key })
		return true
	}},
	{"a write of a client that no client sent", checker.UnaskedWrite, func(w *world, r *rand.Rand) bool {
		c := w.stands(r)
		w.events = slices.DeleteFunc(w.events, func(e history.Event) bool { return e.Call != nil && e.Call.Key == c.Key })
		w.events[len(w.events)-1].End.Events = uint64(len(w.events) - 1)
		return true
	}},
	{"an answer differs from the recorded result", checker.ChangedResult, func(w *world, r *rand.Rand) bool {
		w.facts.RecordRows[w.recordOf(w.stands(r))].Result = "other"
		return true
	}},
	{"a replay differs from the first answer", checker.ChangedResult, func(w *world, r *rand.Rand) bool {
		c := pick(w, r, func(c *history.Call) bool { return c.Phase == history.Duplicate })
		if c == nil {
			return false
		}
		c.Result = "other"
		return true
	}},
	{"the lines of an entry do not sum to zero", checker.UnbalancedEntry, func(w *world, r *rand.Rand) bool {
		p := &w.facts.PostingRows[r.IntN(len(w.facts.PostingRows))]
		p.Amount++
		w.balance(p.Unit, p.Account, 1)
		return true
	}},
	{"a balance is not what the journal says", checker.WrongBalance, func(w *world, r *rand.Rand) bool {
		w.facts.AccountRows[r.IntN(len(w.facts.AccountRows))].Balance -= 100
		return true
	}},
	{"two writers of one account did not see each other", checker.WrongBalance, func(w *world, r *rand.Rand) bool {
		for i := range w.facts.PostingRows {
			if p := &w.facts.PostingRows[i]; p.HasAfter && r.IntN(30) == 0 {
				p.After += history.Cents(7)
				return true
			}
		}
		return false
	}},
	{"money was lost: a message was refused and not given back", checker.MoneyLost, func(w *world, r *rand.Rand) bool {
		c := w.stands(r, history.Cross)
		w.undo("x-" + c.Key)
		for i := range w.facts.MessageRows {
			if m := &w.facts.MessageRows[i]; m.Cause.Key == c.Key {
				m.Delivered, m.Returned = false, true
			}
		}
		return true
	}},
	{"money was made: a message was credited and given back", checker.MoneyCreated, func(w *world, r *rand.Rand) bool {
		c := w.stands(r, history.Cross)
		for i := range w.facts.MessageRows {
			if m := &w.facts.MessageRows[i]; m.Cause.Key == c.Key {
				m.Delivered, m.Returned = false, true
				back := checker.Scope{Caller: "outbox", RoutingKey: c.From, Key: "b-" + c.Key}
				w.facts.PostingRows = append(w.facts.PostingRows,
					checker.Posting{Cause: back, Unit: m.Unit, Entry: 9_000_000, Account: c.From, Amount: m.Amount},
					checker.Posting{Cause: back, Unit: m.Unit, Entry: 9_000_000, Account: "!transit", Amount: -m.Amount})
				w.balance(m.Unit, c.From, m.Amount)
				w.balance(m.Unit, "!transit", -m.Amount)
			}
		}
		return true
	}},
	{"an opening balance was changed afterwards", checker.ChangedOpening, func(w *world, _ *rand.Rand) bool {
		w.facts.AccountRows[0].Opening += 100
		w.facts.AccountRows[0].Balance += 100
		return true
	}},
	{"an account is gone", checker.ChangedOpening, func(w *world, _ *rand.Rand) bool {
		w.facts.AccountRows = w.facts.AccountRows[1:]
		return true
	}},
	{"money was made: a credit arrived without its debit", checker.MoneyCreated, func(w *world, r *rand.Rand) bool {
		w.undo(w.stands(r, history.Cross).Key)
		return true
	}},
	{"money was lost: a message counts as delivered and was not", checker.MoneyLost, func(w *world, r *rand.Rand) bool {
		w.undo("x-" + w.stands(r, history.Cross).Key)
		return true
	}},
	{"money was made: a message was credited and stays in flight twice", checker.DoubledCredit, func(w *world, r *rand.Rand) bool {
		c := w.stands(r, history.Cross)
		for _, rec := range slices.Clone(w.facts.RecordRows) {
			if rec.Key == "x-"+c.Key {
				rec.Caller = "outbox-2"
				w.facts.RecordRows = append(w.facts.RecordRows, rec)
				for _, p := range slices.Clone(w.facts.PostingRows) {
					if p.Cause.Key == rec.Key {
						p.Cause.Caller, p.Entry = "outbox-2", p.Entry+1_000_000
						w.facts.PostingRows = append(w.facts.PostingRows, p)
						w.balance(p.Unit, p.Account, p.Amount)
					}
				}
			}
		}
		return true
	}},
	{"the old owner acknowledged after the new one had opened", checker.OldEpochWrite, func(w *world, r *rand.Rand) bool {
		c := pick(w, r, func(c *history.Call) bool { return acknowledged(c) && c.Ownership != "1.x.1" })
		if c == nil {
			return false
		}
		c.Ownership = "1.x.1"
		// Its clients answered in the new one before: the change itself is no witness when it is the first.
		for _, e := range w.events {
			if e.Call != nil && e.Call.Unit == c.Unit && e.Call.Done < c.Sent.Mono && e.Call.Ownership != "1.x.1" {
				return true
			}
		}
		return false
	}},
	{"the old owner acknowledged after the new one said it had opened", checker.OldEpochWrite, func(w *world, r *rand.Rand) bool {
		c := pick(w, r, func(c *history.Call) bool { return acknowledged(c) && c.Ownership == "1.x.1" && c.Unit == "u1" })
		if c == nil {
			return false
		}
		found := false
		w.eachGroup(func(g *history.Group) {
			if g.Record.Group == estate.GroupID(c.Unit) && len(g.Record.Past) > 1 {
				found = true
				g.Record.Past[1].Opened = (wallBase+int64(c.Sent.Mono))/1e6 - 5
			}
		})
		return found
	}},
	{"a server that was killed went on in the same ownership", checker.OutlivedOwnership, func(w *world, r *rand.Rand) bool {
		fault := func(e history.Event) bool { return e.Fault != nil && e.Fault.Edge == history.Ends }
		i := slices.IndexFunc(w.events, fault)
		if i < 0 {
			return false
		}
		end := w.events[i].Fault
		starts := slices.IndexFunc(w.events, func(e history.Event) bool { return e.Fault != nil && e.Fault.ID == end.ID })
		c := pick(w, r, func(c *history.Call) bool { return acknowledged(c) && c.Sent.Mono > end.At.Mono+1100*time.Millisecond })
		if c == nil {
			return false
		}
		before := ""
		for _, e := range w.events[:starts] {
			if e.Call != nil && e.Call.Unit == c.Unit && acknowledged(e.Call) {
				before = e.Call.Ownership
			}
		}
		w.eachGroup(func(g *history.Group) {
			for _, p := range g.Record.Past {
				if g.Record.Group == estate.GroupID(c.Unit) && p.Ownership.String() == before {
					w.events[starts].Fault.Lives = []estate.MemberID{p.Owner.Member}
				}
			}
		})
		c.Ownership = before
		return w.events[starts].Fault.Lives != nil
	}},
	{"a new owner was promoted while log still came in", checker.UnseveredPromotion, func(w *world, _ *rand.Rand) bool {
		forks := w.facts.ForkRows["u1"]
		if len(forks) == 0 {
			return false
		}
		forks[0] += 100
		return true
	}},
	{"a record of an old ownership stands behind one of a newer", checker.OwnershipBackwards, func(w *world, r *rand.Rand) bool {
		newer := -1
		for i, rec := range w.facts.RecordRows {
			if newer >= 0 && rec.Unit == w.facts.RecordRows[newer].Unit && rec.Ownership == w.facts.RecordRows[newer].Ownership && r.IntN(3) == 0 {
				w.facts.RecordRows[i].Ownership.Epoch--
				return true
			}
			if rec.Ownership.Epoch > 1 && newer < 0 {
				newer = i
			}
		}
		return false
	}},
	{"an old owner's read came after the new one had opened", checker.OldEpochRead, func(w *world, r *rand.Rand) bool {
		c := pick(w, r, func(c *history.Call) bool {
			return c.Op == history.Balance && c.Ownership != "1.x.1" && slices.ContainsFunc(w.events, func(e history.Event) bool {
				return e.Call != nil && e.Call.Unit == c.Unit && e.Call.Done < c.Sent.Mono && e.Call.Ownership == c.Ownership && e.Call.Outcome == history.Acknowledged
			})
		})
		if c == nil {
			return false
		}
		c.Ownership = "1.x.1"
		return true
	}},
	{"a gateway gave an old owner's answer after it had answered in the new ownership", checker.LateAnswer, func(w *world, r *rand.Rand) bool {
		c := pick(w, r, func(c *history.Call) bool {
			return acknowledged(c) && c.Ownership != "1.x.1" && slices.ContainsFunc(w.events, func(e history.Event) bool {
				return e.Call != nil && e.Call.Unit == c.Unit && e.Call.Done+2*time.Second < c.Done && e.Call.Ownership == c.Ownership && e.Call.Outcome == history.Acknowledged &&
					len(e.Call.Attempts) > 0 && last(e.Call).Gateway == last(c).Gateway
			})
		})
		if c == nil {
			return false
		}
		c.Ownership = "1.x.1"
		return true
	}},
	{"a request was left without an answer", checker.EndlessHold, func(w *world, r *rand.Rand) bool {
		c := w.stands(r)
		c.Attempts = slices.Insert(c.Attempts, 0, history.Attempt{Gateway: last(c).Gateway, From: c.Sent.Mono, Until: c.Sent.Mono + 9500*time.Millisecond, Ending: history.TimedOut})
		return true
	}},
	{"two recoveries of the same number answered", checker.TwoOwners, func(w *world, r *rand.Rand) bool {
		w.stands(r).Ownership = "1.z.9"
		return true
	}},
	{"a success says nothing of its ownership", checker.Unstamped, func(w *world, r *rand.Rand) bool {
		w.stands(r).Ownership = ""
		return true
	}},
	{"a success is stamped newer than its record", checker.WrongStamp, func(w *world, r *rand.Rand) bool {
		c := pick(w, r, func(c *history.Call) bool { return acknowledged(c) && c.Ownership != "1.x.1" && w.recordOf(c) >= 0 })
		if c == nil {
			return false
		}
		w.facts.RecordRows[w.recordOf(c)].Ownership = estate.Ownership{Incarnation: estate.Incarnation{Counter: 1, ID: "x"}, Epoch: 1}
		return true
	}},
	{"a read shows money that was never there", checker.ImpossibleRead, func(w *world, r *rand.Rand) bool {
		c := pick(w, r, func(c *history.Call) bool { return c.Op == history.Balance && c.Sent.Mono < 500*time.Millisecond })
		if c == nil {
			return false
		}
		c.Value += 1
		return true
	}},
	{"a read is older than a write acknowledged before it", checker.ImpossibleRead, func(w *world, r *rand.Rand) bool {
		for _, e := range w.events {
			c := e.Call
			if c == nil || c.Op != history.Balance || c.Sent.Mono < 100*time.Millisecond || c.Sent.Mono > 500*time.Millisecond {
				continue
			}
			last := history.Amount(0)
			for _, p := range w.events {
				if p.Call != nil && p.Call.Op == history.Debit && acknowledged(p.Call) && p.Call.From == c.From && p.Call.Done < c.Sent.Mono {
					last = p.Call.Amount
				}
			}
			if last == 0 {
				continue
			}
			// What the account held at its opening is far from what it holds now unless nothing moved it.
			if c.Value != history.Cents(1_000_000) {
				c.Value = history.Cents(1_000_000)
				return true
			}
		}
		return false
	}},
	{"the list lacks a transaction that diverged", checker.WrongDivergence, func(w *world, r *rand.Rand) bool {
		l := w.list()
		if l == nil || !w.hasCopy(l) {
			return false
		}
		i := r.IntN(len(l.List.Transactions))
		l.List.Transactions = slices.Delete(l.List.Transactions, i, i+1)
		return true
	}},
	{"the list names a transaction that did not diverge", checker.WrongDivergence, func(w *world, r *rand.Rand) bool {
		l := w.list()
		if l == nil {
			return false
		}
		c := pick(w, r, func(c *history.Call) bool {
			return acknowledged(c) && c.Unit == "u2" && c.Ownership == "1.x.1" && w.recordOf(c) >= 0
		})
		if c == nil {
			return false
		}
		l.List.Transactions = append(l.List.Transactions, driver.DivergedTransaction{Caller: c.Caller, RoutingKey: c.From, Key: c.Key, Settled: true})
		return w.hasCopy(l)
	}},
	{"the list names a transaction that was sent once and answered by the successor", checker.WrongDivergence, func(w *world, r *rand.Rand) bool {
		l := w.cutOffList()
		if l == nil {
			return false
		}
		return l.names(pick(w, r, func(c *history.Call) bool {
			return acknowledged(c) && string(c.Unit) == string(l.Group) && c.Ownership > l.Left.String() && c.Done < l.At.Mono && !strayed(c)
		}))
	}},
	{"the list names a transaction that went astray only when it was sent again", checker.WrongDivergence, func(w *world, r *rand.Rand) bool {
		l := w.cutOffList()
		if l == nil {
			return false
		}
		c := pick(w, r, func(c *history.Call) bool {
			return acknowledged(c) && string(c.Unit) == string(l.Group) && c.Ownership > l.Left.String() && c.Done < l.At.Mono && !strayed(c)
		})
		if !l.names(c) {
			return false
		}
		again := *c
		again.Phase, again.First, again.Listed, again.Sent, again.Done, again.Stamped, again.Replays = history.Resend, c.ID, c.Key, l.At, l.At.Mono+time.Millisecond, "replayed", 1
		w.insert(history.Event{Call: &again})
		return true
	}},
	{"the list names a transaction that was sent after the list was made", checker.WrongDivergence, func(w *world, r *rand.Rand) bool {
		l := w.cutOffList()
		if l == nil {
			return false
		}
		c := pick(w, r, func(c *history.Call) bool {
			return acknowledged(c) && string(c.Unit) == string(l.Group) && c.Sent.Mono > l.At.Mono && w.recordOf(c) >= 0
		})
		if c != nil {
			c.Replays = 1
		}
		return l.names(c)
	}},
	{"the list names a transaction twice", checker.WrongDivergence, func(w *world, _ *rand.Rand) bool {
		l := w.list()
		if l == nil {
			return false
		}
		l.List.Transactions = append(l.List.Transactions, l.List.Transactions[0])
		return true
	}},
	{"the list names a wrong amount", checker.WrongDivergence, func(w *world, _ *rand.Rand) bool {
		l := w.list()
		if l == nil {
			return false
		}
		l.List.Transactions[0].Amount = "0.01234"
		return true
	}},
	{"a planned switch left a difference", checker.WrongDivergence, func(w *world, r *rand.Rand) bool {
		m := w.step(history.Ends, history.Takeover)
		if m == nil {
			return false
		}
		var d *history.Divergence
		w.eachGroup(func(g *history.Group) {
			if d == nil && len(g.Record.Past) > 0 && g.Record.Past[0].Mode == "takeover" {
				p := g.Record.Past[0]
				d = &history.Divergence{At: m.At, Group: g.Record.Group, Member: p.Owner.Member, Left: p.Ownership}
			}
		})
		if d == nil {
			return false
		}
		c := w.stands(r)
		d.List.Transactions = []driver.DivergedTransaction{{Caller: c.Caller, RoutingKey: c.From, Key: c.Key, Settled: true}}
		w.insert(history.Event{Divergence: d})
		return true
	}},
	{"exactness is claimed and there is no list", checker.MissingDivergence, func(w *world, _ *rand.Rand) bool {
		l := w.list()
		if l == nil {
			return false
		}
		for _, e := range w.events {
			if e.Mark != nil && e.Mark.Mode == history.Failover {
				e.Mark.Expect.Exact = true
			}
		}
		w.events = slices.DeleteFunc(w.events, func(e history.Event) bool { return e.Divergence == l })
		w.events[len(w.events)-1].End.Events = uint64(len(w.events) - 1)
		w.eachGroup(func(g *history.Group) {
			for i := range g.Record.Members {
				if g.Record.Members[i].ID == l.Member {
					g.Record.Members[i].Following = l.Left
				}
			}
		})
		return true
	}},
	{"nothing diverged where the story is about a list of what did", checker.UntriedDivergence, func(w *world, _ *rand.Rand) bool {
		l := w.list()
		if l == nil || !w.hasCopy(l) {
			return false
		}
		// The list is empty, and so is the difference: nothing was committed on the former owner alone.
		alone := map[string]bool{}
		for _, t := range l.List.Transactions {
			alone[t.Key] = true
		}
		l.List.Transactions = nil
		rows := 0
		w.events = slices.DeleteFunc(w.events, func(e history.Event) bool { return e.Row != nil && alone[e.Row.Key] })
		for _, e := range w.events {
			if c := e.Copy; c != nil && c.Member == l.Member && c.Left == l.Left {
				for _, e := range w.events {
					if e.Row != nil && e.Row.Copy == c.Copy {
						rows++
					}
				}
				c.Rows = rows
			}
		}
		w.events[len(w.events)-1].End.Events = uint64(len(w.events) - 1)
		return true
	}},
	{"fewer lost writes were brought in again than the story wants", checker.UntriedDivergence, func(w *world, _ *rand.Rand) bool {
		m := w.step(history.Starts, history.Emergency)
		if m == nil {
			return false
		}
		m.Expect.Resent = 1000
		return true
	}},
	{"an accepted loss was to be brought back and was not", checker.LostWrite, func(w *world, _ *rand.Rand) bool {
		m := w.step(history.Starts, history.Emergency)
		if m == nil || w.lossless() {
			return false
		}
		m.Expect.Resent = 1
		return true
	}},
	{"the estimate is not the loss", checker.WrongEstimate, func(w *world, _ *rand.Rand) bool {
		found := false
		w.eachGroup(func(g *history.Group) {
			if s := g.Record.Switch; s != nil && s.Lossy {
				s.Loss.Transactions++
				found = true
			}
		})
		return found
	}},
	{"no loss was stated, and there is one", checker.WrongEstimate, func(w *world, _ *rand.Rand) bool {
		found := false
		w.eachGroup(func(g *history.Group) {
			if s := g.Record.Switch; s != nil && s.Lossy {
				found = found || s.Loss.Transactions > 0
				s.Loss.Transactions, s.Loss.NoneIfHeld = 0, true
			}
		})
		return found
	}},
	{"one person accepted the loss twice", checker.UnacceptedLoss, func(w *world, _ *rand.Rand) bool {
		found := false
		w.eachGroup(func(g *history.Group) {
			if s := g.Record.Switch; s != nil && s.Lossy {
				s.Approvals[1].By = s.Approvals[0].By
				found = true
			}
		})
		return found
	}},
	{"a client saw a 5xx answer", checker.ClientError, func(w *world, r *rand.Rand) bool {
		c := w.stands(r)
		if w.inEmergency(c) {
			return false
		}
		c.Attempts = append([]history.Attempt{{Gateway: "g", From: c.Sent.Mono, Until: c.Sent.Mono, Ending: history.Answered, Status: 503}}, c.Attempts...)
		return true
	}},
	{"a client had no answer in its patience", checker.ClientError, func(w *world, r *rand.Rand) bool {
		c := w.stands(r)
		if w.inEmergency(c) {
			return false
		}
		c.Outcome = history.Unresolved
		return true
	}},
	{"a client was told it was wrong", checker.ClientError, func(w *world, r *rand.Rand) bool {
		c := pick(w, r, func(c *history.Call) bool { return c.Outcome == history.Refused && !w.inEmergency(c) })
		if c == nil {
			return false
		}
		c.Outcome, c.Status = history.Wrong, 400
		return true
	}},
	{"accounts were served before anybody had them judged", checker.UnverifiedWrite, func(w *world, _ *rand.Rand) bool {
		for _, e := range w.events {
			if e.Clearing != nil {
				e.Clearing.At = w.events[len(w.events)-1].End.At
				return true
			}
		}
		return false
	}},
	{"nobody had accounts judged that were served", checker.UnverifiedWrite, func(w *world, _ *rand.Rand) bool {
		i := slices.IndexFunc(w.events, func(e history.Event) bool { return e.Clearing != nil })
		if i < 0 {
			return false
		}
		w.events = slices.Delete(w.events, i, i+1)
		w.events[len(w.events)-1].End.Events--
		return true
	}},
	{"a client was told of a quarantine that nothing called for", checker.ClientError, func(w *world, r *rand.Rand) bool {
		c := pick(w, r, func(c *history.Call) bool { return c.Outcome == history.Refused && c.Done < time.Second })
		if c == nil {
			return false
		}
		c.Status = 423
		return w.step(history.Starts, history.Emergency) == nil || c.Done < w.step(history.Starts, history.Emergency).At.Mono
	}},
	{"a unit was closed for too long", checker.ClosedTooLong, func(w *world, _ *rand.Rand) bool {
		m := w.step(history.Starts, history.Failover)
		if m == nil {
			return false
		}
		m.Expect.MaxClosed = 300 * time.Millisecond
		return true
	}},
	{"a unit never came back", checker.ClosedTooLong, func(w *world, _ *rand.Rand) bool {
		for _, e := range w.events {
			if e.Load != nil && e.Load.What == history.LoadEnds {
				e.Load.At.Mono += 31 * time.Second
			}
		}
		return true
	}},
	{"an automatic switch without a fault", checker.FalseSwitch, func(w *world, _ *rand.Rand) bool {
		found := false
		for _, e := range w.events {
			if e.Fault != nil {
				e.Fault.Harmless, found = true, true
			}
		}
		return found && w.step(history.Starts, history.Failover) != nil
	}},
	{"ownership changed hands more often than declared", checker.WrongSwitches, func(w *world, _ *rand.Rand) bool {
		for _, e := range w.events {
			if e.Mark != nil && len(e.Mark.Expect.Switches) > 0 {
				e.Mark.Expect.Switches = map[estate.UnitID]int{"u1": 2}
				return true
			}
		}
		return false
	}},
	{"the history was cut short", checker.IncompleteHistory, func(w *world, _ *rand.Rand) bool {
		w.events = w.events[:len(w.events)-1]
		return true
	}},
	{"an event is missing from the history", checker.IncompleteHistory, func(w *world, r *rand.Rand) bool {
		i := 5 + r.IntN(len(w.events)-10)
		w.events = slices.Delete(w.events, i, i+1)
		return true
	}},
	{"a step never ended", checker.IncompleteHistory, func(w *world, _ *rand.Rand) bool {
		i := slices.IndexFunc(w.events, func(e history.Event) bool { return e.Mark != nil && e.Mark.Edge == history.Ends })
		if i < 0 {
			return false
		}
		w.events = slices.Delete(w.events, i, i+1)
		w.events[len(w.events)-1].End.Events--
		return true
	}},
	{"the final owner of a unit was not read", checker.UnreadOwner, func(w *world, _ *rand.Rand) bool {
		w.facts.UnitIDs = w.facts.UnitIDs[:1]
		return true
	}},
}

func (w *world) hasCopy(l *history.Divergence) bool {
	return slices.ContainsFunc(w.events, func(e history.Event) bool { return e.Copy != nil && e.Copy.Member == l.Member && e.Copy.Left == l.Left })
}

// lossless reports whether no accepted loss of the story took anything away.
func (w *world) lossless() bool {
	none := true
	w.eachGroup(func(g *history.Group) {
		if s := g.Record.Switch; s != nil && s.Lossy && s.Loss.Transactions > 0 {
			none = false
		}
	})
	return none
}

func (w *world) insert(e history.Event) {
	w.events = slices.Insert(w.events, len(w.events)-1, e)
	w.events[len(w.events)-1].End.Events = uint64(len(w.events) - 1)
}

func TestSeededDefectIsCaughtByItsName(t *testing.T) {
	clean := story(1)
	for _, c := range controls {
		t.Run(c.defect, func(t *testing.T) {
			w := clean.copyOf()
			if !c.seed(w, rand.New(rand.NewPCG(2, 2))) {
				t.Fatal("the story has no place for the defect")
			}
			expectCaught(t, w, c)
		})
	}
}

func expectCaught(t rapid.TB, w *world, c control) {
	v, err := checker.Check(context.Background(), checker.Inputs{History: w.history(), Facts: &w.facts})
	if err != nil {
		t.Fatal(err)
	}
	caught := slices.ContainsFunc(v.Findings, func(f checker.Finding) bool { return f.Name == c.want && !f.Accepted })
	if v.Pass || !caught {
		t.Errorf("%s: passed %v, found %v; want %s", c.defect, v.Pass, v.Counts, c.want)
		for _, f := range v.Findings {
			t.Log(f)
		}
	}
}

// TestEveryFindingHasANegativeControl reads the list of names from the source, so that a name without a control is noticed.
// last is the attempt that a call ended with.
func last(c *history.Call) history.Attempt { return c.Attempts[len(c.Attempts)-1] }

func TestEveryFindingHasANegativeControl(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "verdict.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	have := map[checker.Name]bool{}
	for _, c := range controls {
		have[c.want] = true
	}
	names := 0
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Name" {
			return true
		}
		name, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		names++
		if !have[checker.Name(name)] {
			t.Errorf("no seeded defect has to be caught as %s", name)
		}
		return true
	})
	if names < 30 {
		t.Errorf("only %d names were found in verdict.go", names)
	}
}

// drawStory lives through a random story.
func drawStory(t *rapid.T) *world {
	w := newWorld(rapid.Uint64().Draw(t, "seed"))
	w.begin()
	w.load(20)
	at := []string{"a", "b"}
	lossy := false
	for range rapid.IntRange(1, 4).Draw(t, "steps") {
		i := rapid.IntRange(0, 1).Draw(t, "unit")
		to := map[string]string{"a": "b", "b": "a", "c": "a"}[at[i]]
		switch kind := rapid.IntRange(0, 4).Draw(t, "kind"); {
		case kind == 0:
			w.planned(i, to, "takeover")
		case kind == 1:
			w.failover(i, to, false)
		case kind == 2:
			w.failover(i, to, true)
		case kind == 3:
			w.cutOff(i, to, rapid.Bool().Draw(t, "exact"))
		case !lossy:
			w.emergency(i, rapid.IntRange(0, 12).Draw(t, "lost"))
			lossy, to = true, "c"
		default:
			continue
		}
		at[i] = to
		w.load(rapid.IntRange(0, 20).Draw(t, "between"))
	}
	w.end()
	return w
}

func TestRandomCorrectRunPasses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := judge(t, drawStory(t))
		if !v.Pass {
			t.Fatalf("found %v", v.Findings)
		}
	})
}

func TestRandomDefectFailsARandomRun(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.SampledFrom(controls).Draw(t, "defect")
		w := drawStory(t)
		if !c.seed(w, rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "where"), 3))) {
			t.Skip("the story has no place for it")
		}
		expectCaught(t, w, c)
	})
}

package controller

import (
	"context"
	"fmt"
	"hash/maphash"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

const (
	// estimateBound is how long a person waits for an estimate. What was not compared by then is said.
	estimateBound = 3 * time.Second
	// clocksApart is how far the clocks of gateways and databases may differ: receipts older than the newest record at the target by
	// more than that have their records there.
	clocksApart = 30 * time.Second
	// lostMost bounds what is kept of lost receipts to count each of them, and each account, once.
	lostMost = 1_000_000
)

// estimate says what a takeover outside the in-sync set would lose, with its sources; what is not known is said to be unknown (I10).
func (c *Controller) estimate(ctx context.Context, rec unit.Record, target unit.Member) unit.Loss {
	ctx, cancel := context.WithTimeout(ctx, estimateBound)
	defer cancel()
	loss := unit.Loss{Transactions: -1, Accounts: -1}
	owner := state(&loss, rec, target)
	answer, err := ask[wire.MissingAnswer](ctx, c.opts.Client, http.MethodPost, target, "/v1/missing", wire.MissingRequest{})
	if err != nil {
		loss.Source = "the target does not answer: " + err.Error()
		return loss
	}
	var sources []string
	var newest time.Time // of what is known to be lost
	told, from, reported := c.tallyDifference(ctx, owner, answer.Tally)
	if reported {
		loss.Transactions, loss.Amount = told.Transactions, told.Amount
		if told.Transactions > 0 {
			newest = told.At
		}
		sources = append(sources, from)
	}
	if c.receipts != nil {
		l := &lostReceipts{controller: c, target: target, keys: map[uint64]bool{}, accounts: map[uint64]bool{}, seed: maphash.MakeSeed()}
		if r := rec.Policy.Retention; r > 0 {
			l.oldest = time.Now().Add(-r)
		}
		for _, u := range rec.Units {
			sources = append(sources, l.compare(ctx, u, answer.Newest))
		}
		l.tell(&loss, told.At)
		newest = later(newest, l.lost)
	}
	if loss.Transactions == 0 {
		loss.Accounts, loss.Millis = 0, new(int64)
	} else if loss.Transactions > 0 {
		loss.Millis = behind(answer.Newest, newest)
	}
	if len(sources) == 0 {
		sources = []string{"no record outside the lost sites: UNKNOWN"}
	}
	loss.Source = strings.Join(sources, "; ")
	return loss
}

// state fills in the sentence of I10, and gives the owner that is left.
func state(loss *unit.Loss, rec unit.Record, target unit.Member) estate.MemberID {
	life := estate.Life{Member: target.ID, N: target.Life}
	set, owner, revision := rec.InSync, rec.Owner, int64(0)
	if rec.State == unit.Promoting && rec.Before.Member != "" {
		set, owner = rec.Heirs, rec.Before
	}
	if rec.Lost != nil {
		set, owner, revision = rec.Lost.InSync, rec.Lost.Owner, rec.Lost.Revision
	}
	switch {
	case target.ID == owner.Member:
		loss.NoneIfHeld = true
		loss.Statement = "it was the owner itself: it holds everything it acknowledged"
	case slices.ContainsFunc(set, func(l estate.Life) bool { return l.Member == target.ID }):
		loss.NoneIfHeld = true
		loss.Statement = fmt.Sprintf("no loss if the in-sync set of store revision %d still held; not provable without the lost sites [I10]", revision)
	default:
		loss.Statement = life.String() + " was not in the in-sync set: what was acknowledged and has not reached it is lost"
	}
	return owner.Member
}

// behind is how much later the newest lost record was made than the newest that is there; nil where either is not known, or clocks disagree.
func behind(there, lost time.Time) *int64 {
	if there.IsZero() || lost.Before(there) {
		return nil
	}
	return new(lost.Sub(there).Milliseconds())
}

// lostReceipts counts receipts whose key is not recorded at the target, each key once: a client may have got its answer twice.
type lostReceipts struct {
	controller *Controller
	target     unit.Member
	seed       maphash.Seed
	oldest     time.Time // the records of what is older than the retention may be gone

	keys, accounts map[uint64]bool
	transactions   int64
	amount         big.Rat
	newest, lost   time.Time // the newest of all receipts, and of those that are lost
	complete       bool      // all units were compared to the end
	until          time.Time // the receipts of lost gateways end there; zero: none is lost
	units          int
}

// tell puts the figures of the receipts into the estimate. That there are no receipts at all proves nothing. Where those of every gateway reach
// beyond the owner's last report they are exact; otherwise the larger figure is the safer one, and where it is the owner's nobody knows the accounts.
func (l *lostReceipts) tell(loss *unit.Loss, reported time.Time) {
	if l.newest.IsZero() {
		return
	}
	exact := l.complete && !l.newest.Before(reported) && (l.until.IsZero() || !l.until.Before(reported))
	if exact || l.transactions >= loss.Transactions {
		loss.Transactions, loss.Amount, loss.Accounts = l.transactions, l.amount.FloatString(2), int64(len(l.accounts))
	}
}

// compare asks the target for every receipt of the unit that may be newer than what it has, and says what came of it.
func (l *lostReceipts) compare(ctx context.Context, u estate.UnitID, newest time.Time) string {
	since := later(surelyThere(newest), l.oldest)
	before, until := l.transactions, time.Time{}
	counts := func(k Kept) bool {
		if k.At.After(until) {
			until = k.At
		}
		return true
	}
	sources, err := l.controller.lacking(ctx, u, l.target, since, counts, l.count)
	l.units++
	if !sources.Until.IsZero() && (l.until.IsZero() || sources.Until.Before(l.until)) {
		l.until = sources.Until
	}
	whole := len(sources.Missing) == 0 && (newest.IsZero() || !sources.From.After(newest))
	l.complete = err == nil && whole && (l.complete || l.units == 1)
	source := sources.Said
	if until.After(l.newest) {
		l.newest = until
	}
	lost := l.transactions - before
	switch {
	case err != nil && until.IsZero():
		return fmt.Sprintf("receipts of %s: %v", u, err)
	case err != nil:
		return fmt.Sprintf("%s of %s: at least %d acknowledged that the target does not have, then the comparison ended: %v", source, u, lost, err)
	case until.IsZero() && since.IsZero():
		return fmt.Sprintf("%s: none of %s", source, u)
	case until.IsZero():
		return fmt.Sprintf("%s: none of %s since %s, when the target's newest record was made, less %s", source, u, stamp(newest), clocksApart)
	}
	return fmt.Sprintf("%s of %s up to %s, compared by key: %d acknowledged that the target does not have", source, u, stamp(until), lost)
}

// surelyThere is until when what gateways acknowledged is at the target for certain, where its newest record was made at the time; zero:
// nothing is.
func surelyThere(newest time.Time) time.Time {
	if newest.IsZero() {
		return newest
	}
	return newest.Add(-clocksApart)
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// count takes one of them up.
func (l *lostReceipts) count(k Kept) error {
	id := l.hash(k.Caller, k.RoutingKey, k.Key)
	if l.keys[id] {
		return nil
	}
	if len(l.keys) == lostMost {
		return errs.New(errs.Refused, "more than %d are lost", lostMost)
	}
	l.keys[id] = true
	l.transactions++
	l.lost = later(l.lost, k.At)
	if v, ok := new(big.Rat).SetString(k.Amount); ok {
		l.amount.Add(&l.amount, v)
	}
	for _, a := range k.Accounts {
		if len(l.accounts) < lostMost {
			l.accounts[l.hash(a)] = true
		}
	}
	return nil
}

func (l *lostReceipts) hash(words ...string) uint64 {
	var h maphash.Hash
	h.SetSeed(l.seed)
	for _, w := range words {
		_, _ = h.WriteString(w)
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}

// tallyDifference is what the owner last reported having recorded beyond what the target has.
func (c *Controller) tallyDifference(ctx context.Context, owner estate.MemberID, has []driver.Tally) (driver.Tally, string, bool) {
	statuses, err := c.store.MemberStatuses(ctx)
	if err != nil {
		return driver.Tally{}, "", false
	}
	for _, s := range statuses {
		if s.Member != owner {
			continue
		}
		state, err := decodeState(s.Status)
		if err != nil || len(state.Tally) == 0 {
			return driver.Tally{}, "", false
		}
		diff := driver.Tally{At: time.UnixMilli(s.At)}
		amount := new(big.Rat)
		for _, t := range state.Tally {
			i := slices.IndexFunc(has, func(h driver.Tally) bool { return h.Unit == t.Unit })
			if i < 0 {
				return driver.Tally{}, "", false
			}
			diff.Transactions += max(0, t.Transactions-has[i].Transactions)
			a, ok1 := new(big.Rat).SetString(t.Amount)
			b, ok2 := new(big.Rat).SetString(has[i].Amount)
			if ok1 && ok2 {
				amount.Add(amount, a.Sub(a, b))
			}
		}
		if amount.Sign() < 0 {
			amount.SetInt64(0)
		}
		diff.Amount = amount.FloatString(2)
		return diff, fmt.Sprintf("what %s last reported, at %s: %d recorded beyond the target's copy", owner, stamp(diff.At), diff.Transactions), true
	}
	return driver.Tally{}, "", false
}

package checker

import (
	"context"
	"iter"

	"perdure/internal/estate"
	"perdure/internal/lab/history"
)

// Facts is what lies in the databases when the run is over, read from the final owner of each unit by nobody of the product.
type Facts interface {
	// Units are the units whose final owner was read. A unit that had calls and is missing here cannot be proven.
	Units(ctx context.Context) ([]estate.UnitID, error)
	// Records are the unit's idempotency records in the order of Seq.
	Records(ctx context.Context, unit estate.UnitID) iter.Seq2[Record, error]
	// Accounts are the unit's accounts, internal ones too.
	Accounts(ctx context.Context, unit estate.UnitID) iter.Seq2[Account, error]
	// Postings are the lines of the unit's journal in the order they were made.
	Postings(ctx context.Context, unit estate.UnitID) iter.Seq2[Posting, error]
	// Messages are the rows of the unit's durable outbox.
	Messages(ctx context.Context, unit estate.UnitID) iter.Seq2[Message, error]
	// Forks are where promotions ended the timelines that the owner's server came through, oldest first.
	Forks(ctx context.Context, unit estate.UnitID) ([]estate.LSN, error)
}

// Scope is what an idempotency record is found by, within one system (I5).
type Scope struct{ Caller, RoutingKey, Key string }

// Record is one idempotency record.
type Record struct {
	Scope
	Unit      estate.UnitID
	Seq       int64
	Status    int
	Result    string // history.Digest of the stored result
	Amount    history.Amount
	Accounts  []string
	Ownership estate.Ownership
}

// AccountKind says what stands behind an account.
type AccountKind string

// The kinds of accounts.
const (
	Customer AccountKind = "customer"
	// External is the unit's counterpart for money that comes in from outside or goes there.
	External AccountKind = "external"
	// Transit holds what left one unit and has not arrived at another.
	Transit AccountKind = "transit"
)

// Account is one account with its stored balance.
type Account struct {
	Unit             estate.UnitID
	ID               string
	Kind             AccountKind
	Opening, Balance history.Amount
}

// Posting is one line of a journal entry.
type Posting struct {
	// Cause is the scope of the request that made the entry; entries of one cause are one effect.
	Cause   Scope
	Unit    estate.UnitID
	Entry   int64 // lines of one entry sum to zero
	Account string
	Amount  history.Amount // added to the account's balance
	// After is the balance that the journal says the account had then, where it says it.
	After    history.Amount
	HasAfter bool
}

// Message is one row of a durable outbox: an amount on its way to another unit.
type Message struct {
	Unit estate.UnitID // where it left
	// Cause is the request that put it there.
	Cause Scope
	// RoutingKey and Key are those of the request at the destination.
	RoutingKey, Key string
	Account         string
	Amount          history.Amount
	// Delivered: its unit counts it as credited at the destination, since DeliveredAt (Unix milliseconds). Returned: it was refused there and booked back.
	Delivered, Returned bool
	DeliveredAt         int64
}

// Contents is Facts held in memory.
type Contents struct {
	UnitIDs     []estate.UnitID
	RecordRows  []Record
	AccountRows []Account
	PostingRows []Posting
	MessageRows []Message
	ForkRows    map[estate.UnitID][]estate.LSN
}

// Units implements Facts.
func (c *Contents) Units(context.Context) ([]estate.UnitID, error) { return c.UnitIDs, nil }

// Records implements Facts.
func (c *Contents) Records(_ context.Context, u estate.UnitID) iter.Seq2[Record, error] {
	return of(c.RecordRows, func(r Record) bool { return r.Unit == u })
}

// Accounts implements Facts.
func (c *Contents) Accounts(_ context.Context, u estate.UnitID) iter.Seq2[Account, error] {
	return of(c.AccountRows, func(r Account) bool { return r.Unit == u })
}

// Postings implements Facts.
func (c *Contents) Postings(_ context.Context, u estate.UnitID) iter.Seq2[Posting, error] {
	return of(c.PostingRows, func(r Posting) bool { return r.Unit == u })
}

// Messages implements Facts.
func (c *Contents) Messages(_ context.Context, u estate.UnitID) iter.Seq2[Message, error] {
	return of(c.MessageRows, func(r Message) bool { return r.Unit == u })
}

// Forks implements Facts.
func (c *Contents) Forks(_ context.Context, u estate.UnitID) ([]estate.LSN, error) {
	return c.ForkRows[u], nil
}

func of[T any](rows []T, belongs func(T) bool) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, r := range rows {
			if belongs(r) && !yield(r, nil) {
				return
			}
		}
	}
}

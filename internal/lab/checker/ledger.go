package checker

import (
	"context"
	"iter"

	"perdure/internal/estate"
	"perdure/internal/lab/history"
)

// ledger is the facts in memory, joined.
type ledger struct {
	units    map[estate.UnitID]bool
	count    int
	records  map[Scope][]*Record
	byUnit   map[estate.UnitID][]*Record // in the order of seq
	accounts map[accountID]*account
	ids      []accountID // in the order they were read
	entries  map[Scope][]*entry
	all      []*entry
	messages map[Scope][]*Message // by cause
	bound    map[inbound][]*Message
	sent     []*Message
	forks    map[estate.UnitID][]estate.LSN
	// loose counts postings of accounts that no account row names, skewed those that say another balance than the lines before them make.
	loose  int
	skewed []Posting
}

type accountID struct {
	unit estate.UnitID
	id   string
}

// inbound is what a message is called where it arrives.
type inbound struct{ routingKey, key string }

type account struct {
	Account
	journal history.Amount // sum of its postings
	lines   []line         // in the order they were made
}

type line struct {
	amount history.Amount
	cause  Scope
}

// entry is one journal entry with its lines.
type entry struct {
	unit  estate.UnitID
	id    int64
	cause Scope
	lines []Posting
}

func readLedger(ctx context.Context, f Facts) (*ledger, error) {
	l := &ledger{
		units: map[estate.UnitID]bool{}, records: map[Scope][]*Record{}, byUnit: map[estate.UnitID][]*Record{},
		accounts: map[accountID]*account{}, entries: map[Scope][]*entry{}, messages: map[Scope][]*Message{}, bound: map[inbound][]*Message{},
		forks: map[estate.UnitID][]estate.LSN{},
	}
	units, err := f.Units(ctx)
	if err != nil {
		return nil, err
	}
	for _, u := range units {
		l.units[u] = true
		if err := l.readUnit(ctx, f, u); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *ledger) readUnit(ctx context.Context, f Facts, u estate.UnitID) error {
	err := each(f.Records(ctx, u), func(r Record) {
		l.count++
		l.records[r.Scope] = append(l.records[r.Scope], &r)
		l.byUnit[u] = append(l.byUnit[u], &r)
	})
	if err != nil {
		return err
	}
	err = each(f.Accounts(ctx, u), func(a Account) {
		id := accountID{unit: u, id: a.ID}
		l.accounts[id] = &account{Account: a}
		l.ids = append(l.ids, id)
	})
	if err != nil {
		return err
	}
	if l.forks[u], err = f.Forks(ctx, u); err != nil {
		return err
	}
	entries := map[int64]*entry{}
	err = each(f.Postings(ctx, u), func(p Posting) {
		e := entries[p.Entry]
		if e == nil {
			e = &entry{unit: u, id: p.Entry, cause: p.Cause}
			entries[p.Entry] = e
			l.all = append(l.all, e)
			l.entries[p.Cause] = append(l.entries[p.Cause], e)
		}
		e.lines = append(e.lines, p)
		a := l.accounts[accountID{unit: u, id: p.Account}]
		if a == nil {
			l.loose++
			return
		}
		a.journal += p.Amount
		if p.HasAfter && p.After != a.Opening+a.journal {
			l.skewed = append(l.skewed, p)
		}
		a.lines = append(a.lines, line{amount: p.Amount, cause: p.Cause})
	})
	if err != nil {
		return err
	}
	return each(f.Messages(ctx, u), func(m Message) {
		l.sent = append(l.sent, &m)
		l.messages[m.Cause] = append(l.messages[m.Cause], &m)
		at := inbound{routingKey: m.RoutingKey, key: m.Key}
		l.bound[at] = append(l.bound[at], &m)
	})
}

func each[T any](rows iter.Seq2[T, error], do func(T)) error {
	for row, err := range rows {
		if err != nil {
			return err
		}
		do(row)
	}
	return nil
}

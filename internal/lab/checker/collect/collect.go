// Package collect reads the facts that a verdict needs from the final owners' databases, read only and past the product:
// it connects to PostgreSQL itself, so that nothing of the product stands between the checker and what is on disk.
//
// All units are read at moments between which nothing changed: Open takes a snapshot in each database and looks again whether a record or
// a message came meanwhile. The load has to be over; Open waits for messages that are still under way between units.
package collect

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/lab/checker"
	"perdure/internal/lab/history"
)

// Source is the database of a unit's final owner. A database carries one unit.
type Source struct {
	Unit estate.UnitID
	// ConnString belongs to a role that may read schemas perdure and corebank.
	ConnString string
}

// Databases implements checker.Facts over open snapshots. Only one of its sequences may be under way per unit.
type Databases struct {
	units []*database
}

type database struct {
	unit estate.UnitID
	conn *pgx.Conn
	tx   pgx.Tx
}

// What is read, in the words of schema perdure and of the reference system.
const (
	recordsSQL  = `select xid::text::bigint as seq, caller, routing_key, key, status, result, coalesce(amount, 0)::text, accounts, ownership from perdure.record where unit = $1 order by seq`
	accountsSQL = `select id, kind, opening::text, balance::text from corebank.ledger order by id`
	journalSQL  = `select entry, account, amount::text, coalesce(balance::text, ''), caller, routing_key, key from corebank.journal order by entry, amount`
	messagesSQL = `select caller, cause_routing_key, cause_key, routing_key, key, convert_from(payload, 'UTF8')::jsonb ->> 'account',
convert_from(payload, 'UTF8')::jsonb ->> 'amount', coalesce(outcome, ''), coalesce(extract(epoch from done) * 1000, 0)::bigint
from perdure.outbox where unit = $1 and destination = '/v1/credits' order by id`
	// historySQL gives the timeline history of the running server; it is asked for by the present timeline, which the control file
	// names only after the next checkpoint.
	historySQL  = `select coalesce(pg_read_file('pg_wal/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '.history', 0, 1048576, true), '')`
	openingsSQL = `select id, opening::text from corebank.account order by id`
	pendingSQL  = `select count(*) from perdure.outbox where done is null`
	// printSQL changes whenever a record or a message does.
	printSQL = `select (select coalesce(max(xid::text::bigint), 0) from perdure.record)::text || ' ' || (select count(*) || ' ' || count(done) from perdure.outbox)`
)

// lookEvery is how often Open looks again while messages are under way.
const lookEvery = 100 * time.Millisecond

// Open waits up to quiet for messages under way between units, then takes the snapshots. Messages that are still under way then are facts too.
func Open(ctx context.Context, sources []Source, quiet time.Duration) (*Databases, error) {
	d := &Databases{}
	for _, s := range sources {
		conn, err := pgx.Connect(ctx, s.ConnString)
		if err != nil {
			d.Close()
			return nil, errs.New(errs.Unavailable, "cannot read unit %s: %w; its owner has to run while the run is checked", s.Unit, err)
		}
		d.units = append(d.units, &database{unit: s.Unit, conn: conn})
	}
	deadline := time.Now().Add(quiet)
	for tries := 0; ; tries++ {
		pending, err := d.pending(ctx)
		if err == nil && (pending == 0 || time.Now().After(deadline)) {
			var still bool
			still, err = d.snapshot(ctx)
			if err == nil && still {
				return d, nil
			}
			if err == nil && time.Now().After(deadline.Add(quiet)) {
				err = errs.New(errs.Conflict, "cannot read the databases as one: records or messages still come in; end the load and everything else that writes")
			}
		}
		if err == nil {
			err = rest(ctx)
		}
		if err != nil {
			d.Close()
			return nil, err
		}
	}
}

func rest(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(lookEvery):
		return nil
	}
}

func (d *Databases) pending(ctx context.Context) (n int, err error) {
	for _, u := range d.units {
		var one int
		if err := u.conn.QueryRow(ctx, pendingSQL).Scan(&one); err != nil {
			return 0, u.failed("messages", err)
		}
		n += one
	}
	return n, nil
}

// snapshot begins a snapshot in each database and reports whether nothing changed between the first and the last.
func (d *Databases) snapshot(ctx context.Context) (bool, error) {
	before := make([]string, len(d.units))
	for i, u := range d.units {
		if err := u.conn.QueryRow(ctx, printSQL).Scan(&before[i]); err != nil {
			return false, u.failed("records", err)
		}
	}
	still := true
	for i, u := range d.units {
		tx, err := u.conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
		if err != nil {
			return false, u.failed("a snapshot", err)
		}
		u.tx = tx
		var now string
		if err := tx.QueryRow(ctx, printSQL).Scan(&now); err != nil {
			return false, u.failed("records", err)
		}
		still = still && now == before[i]
	}
	if still {
		return true, nil
	}
	for _, u := range d.units {
		if err := u.tx.Rollback(ctx); err != nil {
			return false, u.failed("a snapshot", err)
		}
		u.tx = nil
	}
	return false, nil
}

func (u *database) failed(what string, err error) error {
	return errs.New(errs.Unavailable, "cannot read %s of unit %s: %w", what, u.unit, err)
}

// Close ends the snapshots and their connections.
func (d *Databases) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, u := range d.units {
		_ = u.conn.Close(ctx)
	}
}

// Units implements checker.Facts.
func (d *Databases) Units(context.Context) ([]estate.UnitID, error) {
	ids := make([]estate.UnitID, len(d.units))
	for i, u := range d.units {
		ids[i] = u.unit
	}
	return ids, nil
}

// Openings gives what customers' accounts opened with, to be recorded in the history before the load begins.
func (d *Databases) Openings(ctx context.Context) ([]history.Opening, error) {
	var all []history.Opening
	for _, u := range d.units {
		for o, err := range query(ctx, u, "accounts", openingsSQL, nil, func(row pgx.CollectableRow) (history.Opening, error) {
			o := history.Opening{Unit: u.unit}
			return o, scan(row, &o.Account, amount(&o.Amount))
		}) {
			if err != nil {
				return nil, err
			}
			all = append(all, o)
		}
	}
	return all, nil
}

// Records implements checker.Facts.
func (d *Databases) Records(ctx context.Context, id estate.UnitID) iter.Seq2[checker.Record, error] {
	return from(d, id, func(u *database) iter.Seq2[checker.Record, error] {
		return query(ctx, u, "records", recordsSQL, []any{string(id)}, func(row pgx.CollectableRow) (checker.Record, error) {
			r := checker.Record{Unit: id}
			var result []byte
			err := scan(row, &r.Seq, &r.Caller, &r.RoutingKey, &r.Key, &r.Status, &result, amount(&r.Amount), &r.Accounts, ownership(&r.Ownership))
			r.Result = history.Digest(result)
			return r, err
		})
	})
}

// Accounts implements checker.Facts.
func (d *Databases) Accounts(ctx context.Context, id estate.UnitID) iter.Seq2[checker.Account, error] {
	return from(d, id, func(u *database) iter.Seq2[checker.Account, error] {
		return query(ctx, u, "accounts", accountsSQL, nil, func(row pgx.CollectableRow) (checker.Account, error) {
			a := checker.Account{Unit: id}
			return a, scan(row, &a.ID, (*string)(&a.Kind), amount(&a.Opening), amount(&a.Balance))
		})
	})
}

// Postings implements checker.Facts. The reference system numbers entries while it holds the locks of their accounts' rows,
// so the order of numbers is the order of an account's changes.
func (d *Databases) Postings(ctx context.Context, id estate.UnitID) iter.Seq2[checker.Posting, error] {
	return from(d, id, func(u *database) iter.Seq2[checker.Posting, error] {
		return query(ctx, u, "the journal", journalSQL, nil, func(row pgx.CollectableRow) (checker.Posting, error) {
			p := checker.Posting{Unit: id}
			var after string
			err := scan(row, &p.Entry, &p.Account, amount(&p.Amount), &after, &p.Cause.Caller, &p.Cause.RoutingKey, &p.Cause.Key)
			if err == nil && after != "" {
				p.HasAfter = true
				p.After, err = history.ParseAmount(after)
			}
			return p, err
		})
	})
}

// Messages implements checker.Facts.
func (d *Databases) Messages(ctx context.Context, id estate.UnitID) iter.Seq2[checker.Message, error] {
	return from(d, id, func(u *database) iter.Seq2[checker.Message, error] {
		return query(ctx, u, "messages", messagesSQL, []any{string(id)}, func(row pgx.CollectableRow) (checker.Message, error) {
			m := checker.Message{Unit: id}
			var outcome string
			err := scan(row, &m.Cause.Caller, &m.Cause.RoutingKey, &m.Cause.Key, &m.RoutingKey, &m.Key, &m.Account, amount(&m.Amount), &outcome, &m.DeliveredAt)
			m.Delivered, m.Returned = outcome == "delivered", outcome == "refused"
			return m, err
		})
	})
}

// Forks implements checker.Facts.
func (d *Databases) Forks(ctx context.Context, id estate.UnitID) ([]estate.LSN, error) {
	var forks []estate.LSN
	for _, u := range d.units {
		if u.unit != id {
			continue
		}
		var text string
		if err := u.tx.QueryRow(ctx, historySQL).Scan(&text); err != nil {
			return nil, u.failed("the history", err)
		}
		for line := range strings.Lines(text) {
			// "timeline TAB end TAB reason"
			f := strings.Fields(line)
			if len(f) < 2 || strings.HasPrefix(f[0], "#") {
				continue
			}
			end, err := estate.ParseLSN(f[1])
			if err != nil {
				return nil, u.failed("the history", err)
			}
			forks = append(forks, end)
		}
	}
	return forks, nil
}

// from finds the unit's database.
func from[T any](d *Databases, id estate.UnitID, read func(*database) iter.Seq2[T, error]) iter.Seq2[T, error] {
	for _, u := range d.units {
		if u.unit == id {
			return read(u)
		}
	}
	return func(yield func(T, error) bool) {
		var none T
		yield(none, errs.New(errs.NotFound, "unit %s was not opened", id))
	}
}

// query streams the rows of a statement.
func query[T any](ctx context.Context, u *database, what, sql string, args []any, read func(pgx.CollectableRow) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		rows, err := u.tx.Query(ctx, sql, args...)
		if err != nil {
			yield(none, u.failed(what, err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			row, err := read(rows)
			if err != nil {
				yield(none, u.failed(what, err))
				return
			}
			if !yield(row, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(none, u.failed(what, err))
		}
	}
}

// parsed is a column that arrives as text.
type parsed struct {
	text  string
	parse func(string) error
}

func amount(to *history.Amount) *parsed {
	return &parsed{parse: func(s string) (err error) { *to, err = history.ParseAmount(s); return err }}
}

func ownership(to *estate.Ownership) *parsed {
	return &parsed{parse: func(s string) (err error) { *to, err = estate.ParseOwnership(s); return err }}
}

// scan reads a row, then the columns that arrive as text.
func scan(row pgx.CollectableRow, to ...any) error {
	var later []*parsed
	for i, t := range to {
		if p, ok := t.(*parsed); ok {
			later = append(later, p)
			to[i] = &p.text
		}
	}
	if err := row.Scan(to...); err != nil {
		return err
	}
	for _, p := range later {
		if err := p.parse(p.text); err != nil {
			return fmt.Errorf("column: %w", err)
		}
	}
	return nil
}

package postgres

import (
	"context"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
)

// tallyStep is how many transaction numbers one statement counts over: a call that runs out of time has moved on by some of them.
const tallyStep = 200_000

// tallyState is how far records were counted: every transaction below next has ended and is counted.
type tallyState struct {
	next   uint64
	totals map[estate.UnitID]*total // nil: nothing is counted yet, nor what was purged before
}

type total struct {
	transactions int64
	amount       *big.Rat
}

// Tally counts what was recorded since the last call; the first one begins with what was purged. Records are counted by the number of
// their transaction, below the oldest one that still runs, so each is counted exactly once whatever the order in which they commit.
// They are purged in the order of these numbers too, and far slower than they are counted.
func (d *Database) Tally(ctx context.Context, units []estate.UnitID) ([]driver.Tally, error) {
	d.mu.Lock()
	state := d.tally
	d.mu.Unlock()
	var at estate.LSN
	err := d.session("tally").do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		oneSnapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
		return pgx.BeginTxFunc(ctx, conn, oneSnapshot, func(tx pgx.Tx) error {
			var first, horizon uint64
			var position string
			err := tx.QueryRow(ctx, `
				select coalesce((select min(xid) from perdure.record where xid >= $1::text::xid8)::text::bigint, 0),
					pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
					(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_flush_lsn() end)::text`,
				strconv.FormatUint(state.next, 10)).Scan(&first, &horizon, &position)
			if err != nil {
				return err
			}
			if at, err = estate.ParseLSN(position); err != nil {
				return err
			}
			if state.totals == nil {
				state.totals = map[estate.UnitID]*total{}
				if err := state.add(ctx, tx, `select unit, transactions, amount::text from perdure.purged`); err != nil {
					return err
				}
			}
			if first == 0 || first >= horizon {
				state.next = max(state.next, horizon)
				d.keepTally(state)
				return nil
			}
			for state.next = max(state.next, first); state.next < horizon; {
				upto := min(horizon, state.next+tallyStep)
				err := state.add(ctx, tx, `select unit, count(*), coalesce(sum(amount), 0)::text from perdure.record
					where xid >= $1::text::xid8 and xid < $2::text::xid8 group by unit`, strconv.FormatUint(state.next, 10), strconv.FormatUint(upto, 10))
				if err != nil {
					return err
				}
				state.next = upto
				d.keepTally(state)
			}
			return nil
		})
	})
	if err != nil {
		return nil, failed(err, "cannot count the records of %s", d.o.Member)
	}
	out := make([]driver.Tally, 0, len(units))
	for _, u := range units {
		t := driver.Tally{Unit: u, Amount: "0", Position: at, At: time.Now()}
		if n := state.totals[u]; n != nil {
			t.Transactions, t.Amount = n.transactions, decimal(n.amount)
		}
		out = append(out, t)
	}
	return out, nil
}

// Missing compares keys with the records, in one statement.
func (d *Database) Missing(ctx context.Context, keys []driver.Key) ([]int, error) {
	callers, routing, words := make([]string, len(keys)), make([]string, len(keys)), make([]string, len(keys))
	for i, k := range keys {
		callers[i], routing[i], words[i] = k.Caller, k.RoutingKey, k.Key
	}
	var missing []int
	err := d.session("tally").do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `select (k.n - 1)::int from unnest($1::text[], $2::text[], $3::text[]) with ordinality k (caller, routing_key, key, n)
			where not exists (select from perdure.record r where r.key = k.key and r.caller = k.caller and r.routing_key = k.routing_key)
			order by k.n`, callers, routing, words)
		if err != nil {
			return err
		}
		missing, err = pgx.CollectRows(rows, pgx.RowTo[int])
		return err
	})
	return missing, failed(err, "cannot compare receipts with the records of %s", d.o.Member)
}

// Records reads the records of keys. Its commit is the barrier, in the session whose commits wait.
func (d *Database) Records(ctx context.Context, keys []driver.Key) ([]driver.Record, error) {
	callers, routing, words := make([]string, len(keys)), make([]string, len(keys)), make([]string, len(keys))
	for i, k := range keys {
		callers[i], routing[i], words[i] = k.Caller, k.RoutingKey, k.Key
	}
	var found []driver.Record
	err := d.session("purge").do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `set local synchronous_commit = on`); err != nil {
				return err
			}
			rows, err := tx.Query(ctx, `select (k.n - 1)::int, r.status, coalesce(r.amount::text, '')
				from unnest($1::text[], $2::text[], $3::text[]) with ordinality k (caller, routing_key, key, n)
				join perdure.record r on r.key = k.key and r.caller = k.caller and r.routing_key = k.routing_key
				order by k.n`, callers, routing, words)
			if err != nil {
				return err
			}
			if found, err = pgx.CollectRows(rows, pgx.RowToStructByPos[driver.Record]); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, `select perdure.barrier()`)
			return err
		})
	})
	if err != nil {
		return nil, failed(err, "cannot read the records of %s behind a barrier", d.o.Member)
	}
	return found, nil
}

// Newest reads the record of the newest transaction. It was made before it was committed, so all that was committed before its time
// lies before it in the log.
func (d *Database) Newest(ctx context.Context, made []estate.Ownership) (time.Time, error) {
	var at *time.Time
	in := make([]string, 0, len(made))
	for _, o := range made {
		in = append(in, o.String())
	}
	err := d.session("tally").do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `select max(recorded_at) from (
			select recorded_at from perdure.record where cardinality($1::text[]) = 0 or ownership = any ($1) order by xid desc limit 1) r`, in).Scan(&at)
	})
	if err != nil || at == nil {
		return time.Time{}, failed(err, "cannot read the records of %s", d.o.Member)
	}
	return *at, nil
}

// add takes up what a query counts: unit, transactions, amount as text.
func (s *tallyState) add(ctx context.Context, tx pgx.Tx, query string, args ...any) error {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	type counted struct {
		Unit   estate.UnitID
		N      int64
		Amount string
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[counted])
	if err != nil {
		return err
	}
	for _, c := range found {
		amount, ok := new(big.Rat).SetString(c.Amount)
		if !ok {
			return errs.New(errs.Internal, "amount %q is not a number", c.Amount)
		}
		t := s.totals[c.Unit]
		if t == nil {
			t = &total{amount: new(big.Rat)}
			s.totals[c.Unit] = t
		}
		t.transactions += c.N
		t.amount.Add(t.amount, amount)
	}
	return nil
}

func (d *Database) keepTally(s tallyState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tally = s
}

// decimal writes an exact sum of decimals.
func decimal(r *big.Rat) string {
	digits, exact := r.FloatPrec()
	if !exact {
		digits = 18
	}
	text := r.FloatString(digits)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

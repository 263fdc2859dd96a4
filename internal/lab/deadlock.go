package lab

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/lab/history"
)

// lockWrongly locks the hot accounts of a unit in the order opposite to that of the reference system, over and over until the fault is
// mended, as a program does that knows nothing of that order. Whom of the two PostgreSQL picks as the victim is its own affair.
func (r *running) lockWrongly(ctx context.Context, b *broken) error {
	u := estate.UnitID(b.fault.Databases[0])
	split, err := r.plan.split()
	if err != nil {
		return err
	}
	hot := slices.Clone(split[u])
	hot = hot[:min(len(hot), hotAccounts)]
	slices.Sort(hot)
	slices.Reverse(hot)
	member, err := r.database(ctx, string(u))
	if err != nil {
		return err
	}
	dir, _ := r.layout.DataDir(member)
	text, err := connString(dir)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, text)
	if err != nil {
		return errs.New(errs.Unavailable, "the accounts of %s cannot be locked: %w", u, err)
	}
	until, stop := context.WithCancel(context.WithoutCancel(ctx))
	b.stop = stop
	var before int64
	if err := conn.QueryRow(ctx, deadlocks).Scan(&before); err != nil {
		stop()
		return errs.New(errs.Unavailable, "the deadlocks of %s cannot be counted: %w", u, err)
	}
	r.timers.Go(func() {
		select {
		case <-r.ended: // nobody mends the fault
		case <-until.Done():
		}
		stop()
	})
	r.timers.Go(func() {
		defer stop()
		for until.Err() == nil && !conn.IsClosed() {
			lockAll(until, conn, hot)
		}
		_ = conn.Close(context.WithoutCancel(until))
		r.countDeadlocks(u, text, before)
	})
	return nil
}

// deadlocks counts those that a database has seen in this life of its server.
const deadlocks = "select deadlocks from pg_stat_database where datname = current_database()"

// countDeadlocks notes in the history how many there were: without one the fault was none.
func (r *running) countDeadlocks(u estate.UnitID, text string, before int64) {
	ctx, cancel := context.WithTimeout(context.Background(), settled)
	defer cancel()
	conn, err := pgx.Connect(ctx, text)
	if err != nil {
		return // the server went with the fault
	}
	defer conn.Close(ctx)
	var after int64
	if conn.QueryRow(ctx, deadlocks).Scan(&after) == nil {
		_ = r.hist.Append(history.Event{Note: &history.Note{At: r.hist.Now(), Text: fmt.Sprintf("%d deadlocks in the database of %s", after-before, u)}})
	}
}

// lockAll locks the accounts one after another in one transaction, and lets them go.
func lockAll(ctx context.Context, conn *pgx.Conn, accounts []string) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return
	}
	for _, a := range accounts {
		if _, err := tx.Exec(ctx, "select from corebank.account where id = $1 for update", a); err != nil {
			break // the victim of a deadlock, or the end
		}
	}
	_ = tx.Rollback(context.WithoutCancel(ctx))
}

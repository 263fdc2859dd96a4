package postgres

import (
	"context"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/guard"
)

// judgeTimeout bounds the system's own query over all accounts.
const judgeTimeout = "120s"

// shownMost bounds the list in an outcome.
const shownMost = 1000

// Quarantine puts units under judgement, or takes them out.
func (d *Database) Quarantine(ctx context.Context, units []estate.UnitID, on bool) error {
	return d.session("gate").do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		for _, u := range units {
			if _, err := conn.Exec(ctx, guard.QuarantineSQL, string(u), on); err != nil {
				return failed(err, "cannot change the quarantine of %s", u)
			}
		}
		return nil
	})
}

// Retain sets how long idempotency records of the units are kept.
func (d *Database) Retain(ctx context.Context, units []estate.UnitID, retention time.Duration) error {
	return d.session("gate").do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		for _, u := range units {
			if _, err := conn.Exec(ctx, guard.RetentionSQL, string(u), strconv.FormatInt(int64(retention.Seconds()), 10)+" seconds"); err != nil {
				return failed(err, "cannot change the retention of %s", u)
			}
		}
		return nil
	})
}

// Judge runs the system's own query, then writes all verdicts in one transaction.
func (d *Database) Judge(ctx context.Context, j driver.Judgement) (driver.Judged, error) {
	var out driver.Judged
	if j.Query == "" {
		return out, errs.New(errs.Invalid, "cannot judge the accounts of %s: the manifest names no verification query", j.Unit)
	}
	err := d.session("tally").do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		bad := map[string]bool{}
		for _, a := range j.Touched {
			bad[a] = true
		}
		all, err := accounts(ctx, conn, j.Query, bad)
		if err != nil {
			return err
		}
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			batch := &pgx.Batch{}
			for _, a := range all {
				state := "verified"
				if bad[a] {
					state = "inconsistent"
					out.Inconsistent++
					if len(out.Accounts) < shownMost {
						out.Accounts = append(out.Accounts, a)
					}
				} else {
					out.Verified++
				}
				batch.Queue(guard.JudgeSQL, a, state, j.By)
			}
			return failed(tx.SendBatch(ctx, batch).Close(), "cannot write the verdicts of %s", j.Unit)
		})
	})
	return out, err
}

// accounts runs the system's own query, read-only and as the application, and adds what it finds inconsistent.
func accounts(ctx context.Context, conn *pgx.Conn, query string, bad map[string]bool) ([]string, error) {
	var all []string
	err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local statement_timeout = '`+judgeTimeout+`'`); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `set local search_path = "$user", public`); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `set local role `+guard.AppRole); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, query)
		if err != nil {
			return err
		}
		var account string
		var consistent bool
		_, err = pgx.ForEachRow(rows, []any{&account, &consistent}, func() error {
			all = append(all, account)
			if !consistent {
				bad[account] = true
			}
			return nil
		})
		return err
	})
	return all, failed(err, "the verification query does not work")
}

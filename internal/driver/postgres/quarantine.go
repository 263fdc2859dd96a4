package postgres

import (
	"context"
	"strconv"
	"strings"
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

// Quarantine puts all units under judgement together; verdicts of another quarantine are dropped with the same stroke.
func (d *Database) Quarantine(ctx context.Context, units []estate.UnitID, began estate.Ownership) error {
	return d.quarantine(ctx, units, true, began.String())
}

// EndQuarantine serves every account again.
func (d *Database) EndQuarantine(ctx context.Context, units []estate.UnitID) error {
	return d.quarantine(ctx, units, false, "")
}

func (d *Database) quarantine(ctx context.Context, units []estate.UnitID, on bool, of string) error {
	return d.session("gate").do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			for _, u := range units {
				if _, err := tx.Exec(ctx, guard.QuarantineSQL, string(u), on, of); err != nil {
					return failed(err, "cannot change the quarantine of %s", u)
				}
			}
			return nil
		})
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

// Judge runs the system's own query, then writes all verdicts in one transaction. Its outcome is told to a person, so it waits for the
// copies like an application's (I3): a failover must not bring an earlier verdict back.
func (d *Database) Judge(ctx context.Context, j driver.Judgement) (driver.Judged, error) {
	var out driver.Judged
	if j.Query == "" {
		return out, errs.New(errs.Invalid, "cannot judge the accounts of %s: the manifest names no verification query", listed(j.Units))
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
			var same bool
			if err := tx.QueryRow(ctx, guard.JudgingSQL, unitNames(j.Units), j.Quarantine.String()).Scan(&same); err != nil {
				return failed(err, "cannot look at the quarantine of %s", listed(j.Units))
			} else if !same {
				return errs.New(errs.Conflict, "cannot judge the accounts of %s: they are not in the quarantine of %s here", listed(j.Units), j.Quarantine)
			}
			batch := &pgx.Batch{}
			batch.Queue(`set local synchronous_commit = on`)
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
			return failed(tx.SendBatch(ctx, batch).Close(), "cannot write the verdicts of %s", listed(j.Units))
		})
	})
	if err != nil {
		return driver.Judged{}, err
	}
	return out, nil
}

func listed(units []estate.UnitID) string { return strings.Join(unitNames(units), ", ") }

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

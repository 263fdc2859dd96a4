package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"perdure/internal/estate"
	"perdure/internal/guard"
)

// Purge goes through the guard as applications do (I9), in a session of its own. The guard lets in only who waits for the copies; where
// they do not answer and the call is cut short, the server is told to give the wait up.
func (d *Database) Purge(ctx context.Context, unit estate.UnitID, limit int) (int, error) {
	var removed int
	err := d.session("purge").do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `set local synchronous_commit = on`); err != nil {
				return err
			}
			return tx.QueryRow(ctx, guard.PurgeSQL, string(unit), limit).Scan(&removed)
		})
	})
	switch {
	case sqlState(err) == guard.NotOwner:
		return 0, nil
	case err != nil:
		return 0, failed(err, "cannot remove old records of %s", unit)
	}
	return removed, nil
}

//go:build !seed4

package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"perdure/internal/errs"
)

// promoted makes sure that nothing is open. PostgreSQL asks for a spread checkpoint by itself; a fast one now would keep the
// checkpointer from taking up a larger in-sync set until it is through, and who rewinds onto this server asks for it then.
func (d *Database) promoted(ctx context.Context, conn *pgx.Conn) error {
	var guarded, open bool
	if err := conn.QueryRow(ctx, "select to_regclass('perdure.gate') is not null").Scan(&guarded); err != nil {
		return failed(err, "cannot see whether %s is closed after its promotion", d.o.Member)
	}
	if guarded {
		if err := conn.QueryRow(ctx, "select exists (select from perdure.gate)").Scan(&open); err != nil {
			return failed(err, "cannot see whether %s is closed after its promotion", d.o.Member)
		}
	}
	if open {
		return errs.Refuse("I1", "%s has guard rows right after its promotion: perdure.gate is not unlogged; install the guard again", d.o.Member)
	}
	return nil
}

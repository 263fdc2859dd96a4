package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/guard"
)

// askGuard reads the highest ownership ever met and, where there can be any, the guard rows of this very life of the server.
func (d *Database) askGuard(ctx context.Context, conn *pgx.Conn, o *driver.Observation) error {
	seen := &o.HighestSeen
	err := conn.QueryRow(ctx, guard.SeenSQL).Scan(&seen.Incarnation.Counter, &seen.Incarnation.ID, &seen.Epoch)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	if o.InRecovery { // unlogged tables do not exist on a copy
		return nil
	}
	rows, err := conn.Query(ctx, guard.GatesSQL)
	if err != nil {
		return err
	}
	o.Gates, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (g driver.Gate, err error) {
		var member string
		err = row.Scan(&g.Unit, &g.Ownership.Incarnation.Counter, &g.Ownership.Incarnation.ID, &g.Ownership.Epoch, &member, &g.Open)
		return g, err
	})
	return err
}

// Open writes the ownership to the logged table, then inserts the guard rows of this life (I1).
// Whatever is still in flight behind an earlier ownership is ended first (I9).
func (d *Database) Open(ctx context.Context, ownership estate.Ownership, member estate.MemberID, units []estate.UnitID) error {
	names := unitNames(units)
	for {
		err := d.session("gate").do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, guard.OpenSQL, names, int64(ownership.Incarnation.Counter), ownership.Incarnation.ID, int64(ownership.Epoch), string(member))
			return err
		})
		switch sqlState(err) {
		case guard.CannotOpen:
			refused := errs.New(errs.Refused, "cannot open %s at %s: %w", d.o.Member, ownership, err)
			refused.Invariant = "I1"
			return refused
		case guard.InFlight:
			if err := d.Close(ctx, units); err != nil {
				return err
			}
			if _, err := d.Drain(ctx, units); err != nil {
				return err
			}
		default:
			return failed(err, "cannot open %s at %s", d.o.Member, ownership)
		}
	}
}

// Close marks the guard rows closed, in a session of its own, touching nothing logged (I9).
func (d *Database) Close(ctx context.Context, units []estate.UnitID) error {
	return d.session("gate").do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, guard.CloseSQL, unitNames(units))
		return failed(err, "cannot close %s", d.o.Member)
	})
}

// Drain asks for the units' exclusive locks in tries of 50 ms. After a try in vain everything that holds it up is ended from
// a second session: idle transactions, long ones, and commits that wait for a copy. Their clients learn nothing, which is unknown.
func (d *Database) Drain(ctx context.Context, units []estate.UnitID) (estate.LSN, error) {
	names := unitNames(units)
	for {
		var fence *string
		err := d.session("fence").do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
			return conn.QueryRow(ctx, guard.TryFenceSQL, names).Scan(&fence)
		})
		switch {
		case sqlState(err) == guard.CannotOpen:
			return 0, errs.Refuse("I9", "cannot drain %s: its gate is open; close it first", d.o.Member)
		case err != nil:
			return 0, failed(err, "cannot drain %s", d.o.Member)
		case fence != nil:
			return estate.ParseLSN(*fence)
		case ctx.Err() != nil:
			return 0, errs.New(errs.Unavailable, "cannot drain %s in time: transactions in flight did not end; try again, or reopen at a new epoch", d.o.Member)
		}
		var ended int
		err = d.session("ender").do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
			return conn.QueryRow(ctx, guard.EndBlockersSQL, names).Scan(&ended)
		})
		if err != nil {
			return 0, failed(err, "cannot end the transactions that hold up draining %s", d.o.Member)
		}
		d.log.Info("transactions that held up the drain were ended", "count", ended)
	}
}

// Lease lets plain reads of the units pass for the duration from now on; 0 ends it at once. It touches nothing logged (I8, I9).
func (d *Database) Lease(ctx context.Context, units []estate.UnitID, duration time.Duration) error {
	var until int64
	if duration > 0 { // counted from here: a server that is frozen and reads it later must not lengthen it
		until = time.Now().Add(duration).UnixMilli()
	}
	return d.session("gate").do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		names, missing := unitNames(units), 0
		err := conn.QueryRow(ctx, guard.LeaseSQL, names, until).Scan(&missing)
		if err == nil && missing > 0 && until > 0 {
			if _, err = conn.Exec(ctx, guard.MakeLeasesSQL, names); err == nil {
				_, err = conn.Exec(ctx, guard.LeaseSQL, names, until)
			}
		}
		return failed(err, "cannot renew the read lease of %s", d.o.Member)
	})
}

func unitNames(units []estate.UnitID) []string {
	names := make([]string, len(units))
	for i, u := range units {
		names[i] = string(u)
	}
	return names
}

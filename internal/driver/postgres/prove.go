//go:build !seed10 && !seed11

package postgres

import (
	"context"
	"errors"
	"time"

	"perdure/internal/driver"
	"perdure/internal/errs"
)

// prove puts the names in force and gives the mark; where the wait is not proven within proofBound the former set is back in force.
func (g *growth) prove(ctx context.Context) (driver.Grown, error) {
	if _, err := g.probe.Exec(ctx, "set synchronous_commit = on"); err != nil {
		return driver.Grown{}, err
	}
	if err := g.ready(ctx); err != nil {
		return driver.Grown{}, err
	}
	var err error
	if g.deadman, err = g.d.armDeadman(ctx, g.former.sync); err != nil {
		return driver.Grown{}, err
	}
	defer g.deadman.close()
	began := time.Now()
	bound, cancel := context.WithTimeout(ctx, proofBound)
	defer cancel()
	mark, err := g.seeWaiting(bound)
	if err == nil {
		err = g.letGo(bound)
	}
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = errs.New(errs.Unavailable, "the wait for %s was not proven within %s; the former set is in force again", g.candidate, proofBound)
		}
		if back := g.putBack(ctx); back != nil {
			return driver.Grown{}, errs.New(errs.Unknown, "%w; and the former set could not be put back: %s", err, back.Error())
		}
		return driver.Grown{}, err
	}
	return driver.Grown{Mark: mark, Frozen: time.Since(began)}, nil
}

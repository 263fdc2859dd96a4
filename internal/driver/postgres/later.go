package postgres

import (
	"context"
	"path/filepath"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
)

type tallyState struct{}

func (d *Database) savedDir() string { return filepath.Join(d.o.RunDir, "rewind") }

func (d *Database) Diverged(ctx context.Context, successor driver.Upstream) (driver.Diverged, error) {
	return driver.Diverged{}, errs.New(errs.Internal, "not yet")
}
func (d *Database) Rewind(ctx context.Context, successor driver.Upstream, progress driver.Progress) error {
	return errs.New(errs.Refused, "not yet")
}
func (d *Database) Tally(ctx context.Context, units []estate.UnitID) ([]driver.Tally, error) {
	return nil, nil
}
func (d *Database) Check(ctx context.Context) ([]driver.Finding, error) { return nil, nil }

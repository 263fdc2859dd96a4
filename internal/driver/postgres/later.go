package postgres

import (
	"context"

	"perdure/internal/driver"
	"perdure/internal/estate"
)

type tallyState struct{}

func (d *Database) Tally(ctx context.Context, units []estate.UnitID) ([]driver.Tally, error) {
	return nil, nil
}
func (d *Database) Check(ctx context.Context) ([]driver.Finding, error) { return nil, nil }

//go:build seed10 || seed11

package postgres

import (
	"context"

	"perdure/internal/driver"
)

// Seeded bugs 10 and 11 (ownership.md §4): the names are in the configuration, and that commits wait for them is not proven.
func (g *growth) prove(ctx context.Context) (driver.Grown, error) {
	if err := g.ready(ctx); err != nil {
		return driver.Grown{}, err
	}
	if err := g.d.setNames(steering{life: g.former.life, sync: g.names}); err != nil {
		return driver.Grown{}, err
	}
	p, err := g.d.pulse(ctx, g.control, 0)
	return driver.Grown{Mark: p.Flushed}, err
}

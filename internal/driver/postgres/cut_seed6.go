//go:build seed6

package postgres

import (
	"context"

	"perdure/internal/driver"
)

// Seeded bug 6 (ownership.md §4): the candidate is promoted without having been severed.
func (d *Database) cut(context.Context, *process) error { return nil }

func isCut(string, *driver.Upstream) bool { return true }

func (d *Database) staysCut(context.Context, *process) error { return nil }

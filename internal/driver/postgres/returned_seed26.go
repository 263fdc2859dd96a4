//go:build seed26

package postgres

import "context"

// Seeded bug 26 (ownership.md §4): a rewound directory is started once with the new owner's files, to recover it, and gets its own after
// that. As an owner's it ends recovery with a record of its own, on the timeline of the new owner, at a position where that has others.
func (d *Database) returned(ctx context.Context, s steering) error {
	if _, own := d.steered(d.o.DataDir); !own {
		if err := d.private(ctx, d.o.DataDir, "postgres", nil); err != nil {
			return err
		}
	}
	return d.adoptCopy(d.o.DataDir, s)
}

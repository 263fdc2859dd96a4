//go:build !seed26

package postgres

import "context"

// returned makes a rewound directory its member's own again: whatever came from the successor's configuration ends here, before anything
// can start (H13).
func (d *Database) returned(_ context.Context, s steering) error { return d.adoptCopy(d.o.DataDir, s) }

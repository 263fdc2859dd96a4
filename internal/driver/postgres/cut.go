//go:build !seed6

package postgres

import (
	"context"

	"perdure/internal/driver"
)

// cut makes the cut durable and ends the running receiver: the empty upstream is on disk before anybody is told of it (I4).
func (d *Database) cut(ctx context.Context, p *process) error {
	s, own := d.steered(d.o.DataDir)
	if !own || s.upstream != nil {
		if err := d.steer(d.o.DataDir, steering{life: s.life}, true); err != nil {
			return err
		}
	}
	if err := removeFile(d.passFile()); err != nil {
		return err
	}
	if err := p.reload(); err != nil {
		return err
	}
	return d.receiverGone(ctx, p)
}

// isCut reports whether a server works with no upstream, and whether none is written down for it.
func isCut(conninfo string, upstream *driver.Upstream) bool { return conninfo == "" && upstream == nil }

// staysCut returns when the server of a cut copy has no WAL receiver.
func (d *Database) staysCut(ctx context.Context, p *process) error { return d.receiverGone(ctx, p) }

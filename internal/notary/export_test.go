package notary

import (
	"context"

	"perdure/internal/wire"
)

// Grow does once what Run does again and again.
func (n *Notary) Grow(ctx context.Context) error {
	if err := n.store.PutLogKey(ctx, wire.LogKey{Node: n.o.Node, Key: n.public}); err != nil {
		return err
	}
	return n.grow(ctx)
}

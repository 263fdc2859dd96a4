//go:build !seed18

package agent

import (
	"context"

	"perdure/internal/unit"
)

// keepOwning is all that an owner has to do at the control plane to remain one: nothing. That is needed to change ownership, never to
// keep it (I8).
func (a *Agent) keepOwning(context.Context, unit.Record) error { return nil }

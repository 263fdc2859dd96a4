//go:build seed31

package gateway

import "time"

// Seeded bug 31 (ownership.md §4): only a change of the unit ends a hold.
func (x *exchange) left(time.Time) time.Duration { return 24 * time.Hour }

//go:build !seed31

package gateway

import "time"

// left is how long the request may still be held: every hold has its own end (I14).
func (x *exchange) left(now time.Time) time.Duration { return x.deadline.Sub(now) }

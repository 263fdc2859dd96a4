//go:build !seed28

package gateway

import (
	"time"

	"perdure/internal/estate"
)

// onceGrace is how long an attempt that must not be repeated goes on after its unit changed hands: its answer will not count,
// but "not-owner" would still say that nothing happened.
const onceGrace = time.Second

// abandon cuts every attempt in flight under a former ownership of the units. Caller holds Gateway.mu.
func (g *Gateway) abandon(units []*track) {
	soon := g.at(time.Now().Add(onceGrace))
	n := g.cutEverywhere(connCut, func(c *conn) bool {
		t := c.track.Load()
		for _, u := range units {
			if t != u || c.gen.Load() == u.gen.Load() {
				continue
			}
			if !c.once.Load() {
				return true
			}
			if c.deadline.Load() > soon {
				c.deadline.Store(soon)
			}
		}
		return false
	})
	g.metrics.abandoned.Add(float64(n))
}

// current is the ownership that an answer has to have at least: that of the newest table (I14).
func (x *exchange) current() estate.Ownership { return x.unit.entry.Ownership }

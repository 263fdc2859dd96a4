package checker

import (
	"fmt"
	"time"

	"perdure/internal/estate"
	"perdure/internal/lab/history"
)

const (
	// reordered is how far the answers of one gateway may come apart on their way to clients on a busy machine.
	reordered = time.Second
	// holdMost is longer than a gateway of the lab's estates holds a request: 8 s by their manifests. A client sees whether that is kept only
	// where it waits longer for one answer, which it does when the story says so.
	holdMost = 9 * time.Second
)

// answers finds what gateways must not give, and must not keep: an answer of an older ownership once they have answered in a newer one, and
// nothing at all for longer than any hold lasts (I14).
func (c *check) answers() {
	type place struct {
		gateway string
		unit    estate.UnitID
	}
	type seen struct {
		ownership estate.Ownership
		since     time.Duration
	}
	newest := map[place]seen{}
	for i := range c.calls { // in the order in which they were done
		k := &c.calls[i]
		if k.unanswered > holdMost && !k.inside {
			c.v.find(Finding{
				Name: EndlessHold, Step: c.name(k.step), Unit: k.unit, Key: k.scope.Key,
				Message: fmt.Sprintf("%s left %s without an answer for %s", k.gateway, k.describe(), k.unanswered.Round(time.Millisecond)),
			})
		}
		if !k.hasStamp || k.stale || k.outcome == history.Unresolved {
			continue
		}
		p := place{k.gateway, k.unit}
		switch n := newest[p]; {
		case n.ownership.Less(k.ownership):
			newest[p] = seen{k.ownership, k.done}
		case k.ownership.Less(n.ownership) && k.done > n.since+reordered:
			c.v.find(Finding{
				Name: LateAnswer, Step: c.name(k.step), Unit: k.unit, Key: k.scope.Key,
				Message: fmt.Sprintf("%s was answered in %s, %s after %s had answered in %s", k.describe(), k.ownership, (k.done - n.since).Round(time.Millisecond), k.gateway, n.ownership),
			})
		}
	}
}

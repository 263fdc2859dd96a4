package gateway

import (
	"sync/atomic"
	"time"

	"perdure/internal/route"
)

// gate counts what is inside for one system; it outlives tables.
type gate struct {
	requests  atomic.Int64 // held ones too
	held      atomic.Int64
	heldBytes atomic.Int64
	// next is when, on the gateway's clock, the rate lets the next request in (a leaky bucket kept as one number).
	next atomic.Int64
}

func (g *Gateway) gateOf(s *route.SystemTable) *gate {
	t := g.gates[s.ID]
	if t == nil {
		t = &gate{}
		g.gates[s.ID] = t
	}
	return t
}

// enter admits a request or says why not: "" means admitted, and leave must follow.
func (t *gate) enter(l *route.Limits, now int64) string {
	if l.Rate > 0 && !t.withinRate(l, now) {
		return "rate"
	}
	if t.requests.Add(1) > int64(l.MaxConcurrent) {
		t.requests.Add(-1)
		return "concurrency"
	}
	return ""
}

func (t *gate) leave() { t.requests.Add(-1) }

func (t *gate) withinRate(l *route.Limits, now int64) bool {
	step := int64(float64(time.Second) / l.Rate)
	slack := step * int64(l.Burst-1)
	for {
		next := t.next.Load()
		at := max(next, now)
		if at-now > slack {
			return false
		}
		if t.next.CompareAndSwap(next, at+step) {
			return true
		}
	}
}

// hold admits a request into the hold or refuses it; release must follow an admission.
func (t *gate) hold(l *route.HoldLimits, bytes int) bool {
	if t.held.Add(1) > int64(l.Count) {
		t.held.Add(-1)
		return false
	}
	if t.heldBytes.Add(int64(bytes)) > l.Bytes {
		t.release(bytes)
		return false
	}
	return true
}

func (t *gate) release(bytes int) {
	t.held.Add(-1)
	t.heldBytes.Add(-int64(bytes))
}

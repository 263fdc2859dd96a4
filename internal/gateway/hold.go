package gateway

import (
	"strconv"
	"sync"
	"time"

	"perdure/internal/route"
)

// wait holds the request until its unit changes or, after a failed attempt, a growing pause is over.
func (x *exchange) wait(changeOnly bool) *problem {
	switch {
	case x.way.turned:
		return x.pauseFor(x.way.again())
	case !changeOnly:
		return x.pauseFor(x.nextPause(), nil)
	}
	return x.pauseFor(forever, nil)
}

const forever = 1<<63 - 1

// pauseFor holds the request for a time, until the channel is closed, or until its unit changes. It is the only place where a
// request waits, and it always ends: by one of these, the end of the hold, or the end of the gateway.
func (x *exchange) pauseFor(pause time.Duration, clear <-chan struct{}) *problem {
	now := time.Now()
	left := x.left(now)
	if left <= 0 {
		return x.heldTooLong()
	}
	if !x.holding {
		x.heldSize = max(len(x.wire), x.headLen+len(x.body))
		if !x.system.gate.hold(&x.system.Hold, x.heldSize) {
			x.g.metrics.shed(x.system.ID, "hold")
			return x.noRoom()
		}
		x.holding = true
		if x.heldAt.IsZero() {
			x.heldAt = now
		}
	}
	t := x.g.timers.get(min(left, pause))
	select {
	case <-x.way.unit.changed:
		x.pause, x.trouble = 0, 0
	case <-clear:
	case <-t.C:
	case <-x.g.ctx.Done():
		x.g.timers.put(t)
		return x.heldTooLong()
	}
	x.g.timers.put(t)
	return nil
}

// nextPause grows from 10 to 50 ms; an instance that keeps answering errors it does not explain is asked ever more rarely.
func (x *exchange) nextPause() time.Duration {
	if x.trouble > 2 {
		x.pause = min(max(2*x.pause, firstPause), troublePause)
	} else {
		x.pause = min(x.pause+firstPause, longestPause)
	}
	return x.pause
}

// release ends the hold.
func (x *exchange) release() {
	x.way.leave()
	if x.holding {
		x.holding = false
		x.system.gate.release(x.heldSize)
	}
}

// sideEffect is what may be said about the effect of a request that is given up.
func (x *exchange) sideEffect() route.Outcome {
	if x.unknown && !x.reads {
		return route.NotKnown
	}
	return route.NotOwner
}

func (x *exchange) heldTooLong() *problem {
	detail := "unit " + string(x.unit.entry.Unit) + " could not take the request for " +
		strconv.FormatInt(time.Since(x.start).Milliseconds(), 10) + " ms: " + x.lastWhy
	if x.sideEffect() == route.NotKnown {
		detail += "; whether it took effect is unknown: send it again with the same " + x.system.KeyHeader
	} else {
		detail += "; nothing happened: send it again"
	}
	return &problem{status: 503, slug: "held-too-long", title: "The request was held for too long", detail: detail, retryAfter: time.Second, outcome: x.sideEffect()}
}

func (x *exchange) clientLeft() *problem {
	return &problem{
		status: 503, slug: "client-left", title: "The client has left", outcome: x.sideEffect(), close: true,
		detail: "the connection was closed while the request was held or before it was sent again: " + x.lastWhy,
	}
}

func (x *exchange) noRoom() *problem {
	return &problem{
		status: 503, slug: "hold-full", title: "Too many requests are held", outcome: x.sideEffect(), retryAfter: time.Second,
		detail: "unit " + string(x.unit.entry.Unit) + " is changing hands and the gateway holds as many requests as it may: send it again",
	}
}

func (x *exchange) closedFor() *problem {
	return &problem{
		status: 503, slug: "unit-closed", title: "The unit is closed", outcome: x.sideEffect(), retryAfter: 5 * time.Second,
		detail: "unit " + string(x.unit.entry.Unit) + " has had no owner for too long to hold requests for it: send it again later",
	}
}

func (x *exchange) noSystem() *problem {
	return &problem{
		status: 503, slug: "no-system", title: "The system has left", outcome: x.sideEffect(), retryAfter: 5 * time.Second,
		detail: "system " + string(x.system.ID) + " is not routed here any more",
	}
}

// timerPool keeps timers, because a hold of many requests would otherwise make one per pause.
type timerPool struct{ p sync.Pool }

func (p *timerPool) get(d time.Duration) *time.Timer {
	if t, ok := p.p.Get().(*time.Timer); ok {
		t.Reset(d)
		return t
	}
	return time.NewTimer(d)
}

func (p *timerPool) put(t *time.Timer) {
	t.Stop()
	p.p.Put(t)
}

package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"strconv"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// health is what a gateway believes of an instance: by asking its health path each second (up), and by how requests fare (ejected).
type health struct {
	mu       sync.Mutex
	up       bool
	misses   int // failed checks in a row
	failures int // failed requests in a row
	ejected  time.Time
	ejectFor time.Duration // the last ejection's length: each in a row is twice as long
	poke     chan struct{}
}

const (
	missesToDown     = 2
	failuresToEject  = 5
	firstEjection    = time.Second
	longestEjection  = 30 * time.Second
	recheckWhileDown = 200 * time.Millisecond
)

// usable reports whether requests should go there first.
func (in *instance) usable(now time.Time) bool {
	h := &in.health
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.up && !now.Before(h.ejected)
}

// watchHealth begins to check an instance, once the gateway runs. Caller holds Gateway.mu.
func (g *Gateway) watchHealth(in *instance) {
	in.health.poke = make(chan struct{}, 1)
	if !g.running {
		return
	}
	ctx, cancel := context.WithCancel(g.ctx)
	in.cancel = cancel
	g.work.Go(func() {
		in.check(ctx)
	})
}

// startHealth starts the checks of the instances known before Run.
func (g *Gateway) startHealth() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running = true
	for _, in := range g.members {
		g.watchHealth(in)
	}
}

// check asks the health path until ctx ends: each Options.HealthEvery, faster while the instance is down.
func (in *instance) check(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-in.health.poke:
		case <-timer.C:
		}
		ok := in.ask(ctx)
		if ctx.Err() != nil {
			return
		}
		in.checked(ok)
		pause := orDefault(in.HealthEvery, in.g.o.HealthEvery)
		if !in.usable(time.Now()) {
			pause = min(pause, recheckWhileDown)
		}
		timer.Reset(pause)
	}
}

// ask makes one health check on a connection of its own.
func (in *instance) ask(ctx context.Context) bool {
	limit := orDefault(in.HealthTimeout, in.g.o.DialTimeout)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	nc, err := in.g.o.Dial(ctx, "tcp", in.hostport)
	if err != nil {
		return false
	}
	defer nc.Close()
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(longAgo) })
	defer stop()
	if in.tls != nil {
		t := tls.Client(nc, in.tls)
		if t.HandshakeContext(ctx) != nil {
			return false
		}
		nc = t
	}
	if _, err := nc.Write([]byte("GET " + in.Health + " HTTP/1.1\r\nHost: " + in.hostport + "\r\nConnection: close\r\nUser-Agent: perdure-gateway\r\n\r\n")); err != nil {
		return false
	}
	resp := fasthttp.AcquireResponse()
	defer fasthttp.ReleaseResponse(resp)
	if err := resp.ReadLimitBody(bufio.NewReaderSize(nc, readBuffer), 64<<10); err != nil {
		return false
	}
	return resp.StatusCode() < 400
}

// checked takes in the outcome of a check.
func (in *instance) checked(ok bool) {
	h := &in.health
	h.mu.Lock()
	was := h.up
	if ok {
		h.misses, h.up = 0, true
	} else if h.misses++; h.misses >= orDefault(in.HealthFailures, missesToDown) {
		h.up = false
	}
	now := h.up
	over := !h.ejected.IsZero() && !time.Now().Before(h.ejected)
	if over {
		h.ejected = time.Time{}
	}
	h.mu.Unlock()
	if was == now && !over {
		return
	}
	if was != now {
		in.g.log.Info("instance changed", "system", in.System, "instance", in.ID, "site", in.Site, "up", now)
	}
	if !now {
		in.closeIdle(true, time.Now())
	}
	in.g.refresh()
	if was && !now {
		in.g.leaveHanging(in)
	}
}

// leaveHanging cuts the attempts in flight to an instance that has stopped answering its health checks, where another one of its site
// is well: those that may be repeated go there at once instead of waiting for their timeout.
func (g *Gateway) leaveHanging(in *instance) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, other := range g.members {
		if other != in && other.System == in.System && other.Site == in.Site && other.usable(time.Now()) {
			g.metrics.abandoned.Add(float64(in.cutWhere(connCut, func(c *conn) bool { return !c.once.Load() })))
			return
		}
	}
}

// fared takes in how a request went. unreachable: it could not even be sent, so others are tried first from now on.
func (in *instance) fared(ok, unreachable bool) {
	h := &in.health
	h.mu.Lock()
	if ok {
		if h.failures != 0 {
			h.failures, h.ejectFor = 0, 0
		}
		h.mu.Unlock()
		return
	}
	h.failures++
	changed := false
	switch {
	case unreachable && h.up:
		h.up, h.misses, changed = false, orDefault(in.HealthFailures, missesToDown), true
	case h.failures >= failuresToEject && h.ejected.IsZero():
		h.ejectFor = min(max(2*h.ejectFor, firstEjection), longestEjection)
		h.ejected, h.failures, changed = time.Now().Add(h.ejectFor), 0, true
	}
	poker := h.poke
	h.mu.Unlock()
	if !changed {
		return
	}
	in.g.log.Info("instance set aside", "system", in.System, "instance", in.ID, "site", in.Site, "unreachable", unreachable)
	in.g.refresh()
	poke(poker)
}

// describe says in one word how the instance is, for people.
func (in *instance) describe(now time.Time) string {
	h := &in.health
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !h.up:
		return "down"
	case now.Before(h.ejected):
		return "ejected for " + strconv.Itoa(int(h.ejected.Sub(now).Seconds())+1) + " s"
	}
	return "up"
}

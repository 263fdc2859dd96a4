package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"perdure/internal/estate"
	"perdure/internal/route"
)

// instanceID tells instances apart; a changed address is another instance.
type instanceID struct {
	system      estate.SystemID
	site        estate.SiteID
	id, address string
}

func idOf(in *route.Instance) instanceID { return instanceID{in.System, in.Site, in.ID, in.Address} }

// instance is one application process as this gateway knows it: its connections and its health.
type instance struct {
	route.Instance
	g        *Gateway
	hostport string
	tls      *tls.Config // nil: plain

	busy atomic.Int32 // attempts in flight

	mu      sync.Mutex
	idle    []*conn // the last is the warmest
	conns   map[*conn]struct{}
	retired bool

	health health
	cancel context.CancelFunc
}

// conn is one upstream connection. While an attempt is in flight on it, its word says so, and anybody may cut it.
type conn struct {
	in *instance
	br *bufio.Reader
	nc net.Conn

	// word is attempt<<2 | one of the states below; a state is left by compare-and-swap, so an attempt ends exactly once.
	word     atomic.Uint64
	attempt  uint64
	track    atomic.Pointer[track]
	gen      atomic.Uint64
	once     atomic.Bool  // the request must not be sent again
	deadline atomic.Int64 // on the gateway's monotonic clock, see Gateway.at
	since    time.Time    // idle since

	mu      sync.Mutex // over dial and cut
	dialled bool
	cancel  context.CancelFunc
}

// The states of a connection.
const (
	connIdle uint64 = iota
	connBusy
	connCut // abandoned: its unit changed hands, or its instance died
	connLate
	stateBits = 2
	stateMask = 1<<stateBits - 1
)

func word(attempt, state uint64) uint64 { return attempt<<stateBits | state }

var (
	errBusy    = errors.New("the instance has as many connections as it may")
	errRetired = errors.New("the instance has left")
	longAgo    = time.Unix(1, 0)
)

const (
	maxIdle    = 30 * time.Second
	readBuffer = 8 << 10
)

func newInstance(g *Gateway, in route.Instance) *instance {
	i := &instance{Instance: in, g: g, hostport: in.Address, conns: map[*conn]struct{}{}}
	if rest, ok := strings.CutPrefix(in.Address, "https://"); ok {
		i.hostport = rest
		i.tls = &tls.Config{MinVersion: tls.VersionTLS12}
		if g.o.UpstreamTLS != nil {
			i.tls = g.o.UpstreamTLS.Clone()
		}
		if host, _, err := net.SplitHostPort(rest); err == nil && i.tls.ServerName == "" {
			i.tls.ServerName = host
		}
	} else {
		i.hostport = strings.TrimPrefix(in.Address, "http://")
	}
	i.hostport = strings.TrimSuffix(i.hostport, "/")
	i.health.up = true // innocent until a check or a request says otherwise
	return i
}

// take gives a connection on which an attempt is registered as in flight under the view's generation. It dials where none is idle.
// once is for requests that must not be sent again: they get a connection that the other side has not closed while it was idle.
func (in *instance) take(u *unitView, deadline time.Time, once bool) (*conn, error) {
	for {
		c, err := in.reserve()
		if err != nil {
			return nil, err
		}
		c.begin(u, deadline, once)
		if c.dialled {
			if time.Since(c.since) < maxIdle && (!once || alive(c.nc)) {
				return c, nil
			}
			c.drop()
			continue
		}
		if err := c.dial(deadline); err != nil {
			c.drop()
			return nil, err
		}
		return c, nil
	}
}

func (in *instance) reserve() (*conn, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if n := len(in.idle); n > 0 {
		c := in.idle[n-1]
		in.idle = in.idle[:n-1]
		return c, nil
	}
	if in.retired {
		return nil, errRetired
	}
	if len(in.conns) >= in.MaxConns {
		return nil, errBusy
	}
	c := &conn{in: in}
	in.conns[c] = struct{}{}
	return c, nil
}

func (c *conn) begin(u *unitView, deadline time.Time, once bool) {
	c.attempt++
	c.once.Store(once)
	c.track.Store(u.track)
	c.gen.Store(u.gen)
	c.deadline.Store(c.in.g.at(deadline))
	c.word.Store(word(c.attempt, connBusy))
	c.in.busy.Add(1)
}

// finish ends the attempt; false means somebody has cut it, and why.
func (c *conn) finish() (whole bool, why uint64) {
	c.in.busy.Add(-1)
	if c.word.CompareAndSwap(word(c.attempt, connBusy), word(c.attempt, connIdle)) {
		return true, 0
	}
	return false, c.word.Load() & stateMask
}

// cut ends the attempt in flight from outside: its Read or Write returns at once. It reports whether there was one.
func (c *conn) cut(seen, why uint64) bool {
	if seen&stateMask != connBusy || !c.word.CompareAndSwap(seen, seen&^stateMask|why) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel != nil {
		c.cancel()
	}
	if c.nc != nil {
		_ = c.nc.SetDeadline(longAgo)
	}
	return true
}

func (c *conn) dial(deadline time.Time) error {
	g := c.in.g
	if limit := time.Now().Add(g.o.DialTimeout); limit.Before(deadline) {
		deadline = limit
	}
	ctx, cancel := context.WithDeadline(g.ctx, deadline)
	defer cancel()
	c.mu.Lock()
	c.cancel = cancel
	c.mu.Unlock()
	nc, err := g.o.Dial(ctx, "tcp", c.in.hostport)
	if err == nil && c.in.tls != nil {
		t := tls.Client(nc, c.in.tls)
		if err = t.HandshakeContext(ctx); err != nil {
			nc.Close()
		}
		nc = t
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancel = nil
	if err != nil {
		return err
	}
	c.nc, c.dialled = nc, true
	c.br = bufio.NewReaderSize(nc, readBuffer)
	if c.word.Load()&stateMask != connBusy {
		_ = nc.SetDeadline(longAgo) // cut while it was being dialled
	}
	return nil
}

// keep puts a finished connection back for the next attempt.
func (c *conn) keep(now time.Time) {
	c.since = now
	in := c.in
	in.mu.Lock()
	if !in.retired {
		in.idle = append(in.idle, c)
		in.mu.Unlock()
		return
	}
	in.mu.Unlock()
	c.close()
}

// drop ends the attempt and the connection.
func (c *conn) drop() {
	c.finish()
	c.close()
}

func (c *conn) close() {
	c.in.mu.Lock()
	delete(c.in.conns, c)
	c.in.mu.Unlock()
	if c.nc != nil {
		c.nc.Close()
	}
}

// retire ends an instance: idle connections close now, busy ones after their attempt.
func (in *instance) retire() {
	in.mu.Lock()
	in.retired = true
	idle := in.idle
	in.idle = nil
	in.mu.Unlock()
	if in.cancel != nil {
		in.cancel()
	}
	for _, c := range idle {
		c.close()
	}
}

// closeIdle closes the connections nobody uses: all of them, or those idle for too long.
func (in *instance) closeIdle(all bool, now time.Time) {
	in.mu.Lock()
	var gone []*conn
	keep := in.idle[:0]
	for _, c := range in.idle {
		if all || now.Sub(c.since) >= maxIdle {
			gone = append(gone, c)
		} else {
			keep = append(keep, c)
		}
	}
	clear(in.idle[len(keep):])
	in.idle = keep
	in.mu.Unlock()
	for _, c := range gone {
		c.close()
	}
}

// cutWhere cuts the attempts in flight that the condition names, and gives their number.
func (in *instance) cutWhere(why uint64, condition func(c *conn) bool) int {
	if in.busy.Load() == 0 {
		return 0
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	n := 0
	for c := range in.conns {
		seen := c.word.Load()
		if seen&stateMask == connBusy && condition(c) && c.cut(seen, why) {
			n++
		}
	}
	return n
}

// syncInstances starts what is new and retires what has left. Caller holds Gateway.mu.
func (g *Gateway) syncInstances(list []route.Instance) {
	wanted := make(map[instanceID]bool, len(list))
	for i := range list {
		in := list[i]
		in.Former = false // no reason to begin anew
		id := idOf(&in)
		wanted[id] = true
		known := g.members[id]
		if known != nil && reflect.DeepEqual(known.Instance, in) {
			continue
		}
		if known != nil {
			g.dismiss(known)
		}
		m := newInstance(g, in)
		g.members[id] = m
		g.watchHealth(m)
	}
	for id, m := range g.members {
		if !wanted[id] {
			delete(g.members, id)
			g.dismiss(m)
		}
	}
}

// dismiss retires an instance; its attempts in flight stay known until they end. Caller holds Gateway.mu.
func (g *Gateway) dismiss(in *instance) {
	in.retire()
	g.leaving = append(g.leaving, in)
}

func (g *Gateway) cutEverywhere(why uint64, condition func(*conn) bool) int {
	n := 0
	for _, in := range g.members {
		n += in.cutWhere(why, condition)
	}
	for _, in := range g.leaving {
		n += in.cutWhere(why, condition)
	}
	return n
}

// reap ends attempts that are past their deadline and connections that were idle for too long.
// One look every 20 ms at all of them is cheaper than two timer changes per request.
func (g *Gateway) reap() {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for turn := 0; ; turn++ {
		select {
		case <-g.ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		nanos := g.at(now)
		g.clock.Store(nanos)
		g.mu.Lock()
		g.cutEverywhere(connLate, func(c *conn) bool { return c.deadline.Load() < nanos })
		if turn%64 == 0 {
			left := g.leaving[:0]
			for _, in := range g.leaving {
				in.mu.Lock()
				open := len(in.conns)
				in.mu.Unlock()
				if open > 0 {
					left = append(left, in)
				}
			}
			clear(g.leaving[len(left):])
			g.leaving = left
			for _, in := range g.members {
				in.closeIdle(false, now)
			}
		}
		g.mu.Unlock()
	}
}

// Package link is the network between the lab's sites: a proxy in user space that delays, stalls, freezes and cuts
// the connections from one site to another, in each direction by itself.
//
// Sites are numbered from 1. In lab number n, a process at site s reaches site d at the address 127.s.d.n: for s = d that is where
// the services of d really listen, for s ≠ d this package listens there and carries the bytes. Every process is given a
// hosts file with its own site's view, so nothing in the product knows of the proxy.
//
// What it is faithful to: latency per direction, the round trip of connection set-up, back pressure, half-close, resets,
// connection attempts that hang while either direction is cut, established connections that go silent without a reset,
// data that comes late after a cut. What it is not: the kernel acknowledges what the proxy has read, so TCP's own
// keep-alives and user time-outs do not see a cut; a refused connection is seen as accepted and then reset.
package link

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"perdure/internal/errs"
)

// SitesMost is the highest site number.
const SitesMost = 250

// Addr is where, in the lab with the number (1 to 250), a process at the site viewer reaches the services of site.
func Addr(lab, viewer, site int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(viewer), byte(site), byte(lab)})
}

func (n *Net) addr(viewer, site int) netip.Addr { return Addr(n.lab, viewer, site) }

// Path is one direction between two sites: what From sends to To.
type Path struct{ From, To int }

// Reverse is the other direction.
func (p Path) Reverse() Path { return Path{p.To, p.From} }

// Options of a Net.
type Options struct {
	// Lab tells labs on one machine apart, 1 to 250; 1 where 0.
	Lab int
	// Sites is the number of sites, 1 to SitesMost.
	Sites int
	// Latency gives the delay of each direction; nil means none.
	Latency func(Path) time.Duration
	Logger  *slog.Logger
}

// Net is the network between the sites. Its methods may be called by several goroutines.
type Net struct {
	log   *slog.Logger
	lab   int
	sites int
	clock *clock
	paths map[Path]*direction

	mu        sync.Mutex
	listeners map[listenerKey]*listener
	conns     map[*conn]struct{}
	freezes   map[*time.Timer]func()
	closed    bool
	wg        sync.WaitGroup
}

type listenerKey struct {
	path Path
	port int
}

// New makes a network without services; Close ends it.
func New(o Options) (*Net, error) {
	if o.Sites < 1 || o.Sites > SitesMost {
		return nil, errs.New(errs.Invalid, "cannot link %d sites: 1 to %d are possible", o.Sites, SitesMost)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c, err := newClock()
	if err != nil {
		return nil, errs.New(errs.Internal, "cannot make the link's clock: %w", err)
	}
	n := &Net{
		log: o.Logger, lab: max(o.Lab, 1), sites: o.Sites, clock: c, paths: make(map[Path]*direction),
		listeners: make(map[listenerKey]*listener), conns: make(map[*conn]struct{}), freezes: make(map[*time.Timer]func()),
	}
	for from := 1; from <= o.Sites; from++ {
		for to := 1; to <= o.Sites; to++ {
			if from == to {
				continue
			}
			p := Path{from, to}
			var latency time.Duration
			if o.Latency != nil {
				latency = o.Latency(p)
			}
			n.paths[p] = newDirection(latency)
		}
	}
	return n, nil
}

// Serve carries connections from every other site to the port of the site. Repeating it changes nothing.
func (n *Net) Serve(site, port int) error {
	for from := 1; from <= n.sites; from++ {
		if from == site {
			continue
		}
		if err := n.listen(Path{from, site}, port); err != nil {
			return err
		}
	}
	return nil
}

func (n *Net) listen(p Path, port int) error {
	if n.paths[p] == nil {
		return errs.New(errs.NotFound, "no link from site %d to site %d: there are %d sites", p.From, p.To, n.sites)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	key := listenerKey{p, port}
	if n.closed {
		return errs.New(errs.Refused, "the lab's network is closed")
	}
	if n.listeners[key] != nil {
		return nil
	}
	at := netip.AddrPortFrom(n.addr(p.From, p.To), uint16(port))
	ln, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(at))
	if err != nil {
		return errs.New(errs.Unavailable, "cannot link site %d to port %d of site %d: %w; is another lab running? `perdure lab down` ends it", p.From, port, p.To, err)
	}
	l := &listener{net: n, path: p, port: port, tcp: ln, done: make(chan struct{})}
	n.listeners[key] = l
	n.wg.Go(l.run)
	return nil
}

// Forget stops carrying connections to the port of the site and resets those there are.
func (n *Net) Forget(site, port int) {
	n.mu.Lock()
	var gone []*listener
	for key, l := range n.listeners {
		if key.path.To == site && key.port == port {
			delete(n.listeners, key)
			gone = append(gone, l)
		}
	}
	conns := n.pick(func(c *conn) bool { return c.path.To == site && c.port == port })
	n.mu.Unlock()
	for _, l := range gone {
		l.close()
	}
	for _, c := range conns {
		c.reset()
	}
}

// pick lists connections; the caller holds mu.
func (n *Net) pick(want func(*conn) bool) []*conn {
	var some []*conn
	for c := range n.conns {
		if want(c) {
			some = append(some, c)
		}
	}
	return some
}

// Cut lets nothing more through in the direction, for the ports or, where none are named, for all.
// Established connections go silent, new ones hang.
func (n *Net) Cut(p Path, ports ...int) {
	n.change(p, func(s *state) {
		for _, port := range orAll(ports) {
			s.cut[port] = true
		}
	})
}

// Heal says what becomes of connections that hold bytes when a cut ends.
type Heal string

// The ways to heal.
const (
	// Resume: what was held flows again, as after a short cut.
	Resume Heal = "resume"
	// Reset: connections that hold bytes are reset, as when TCP has given up meanwhile.
	Reset Heal = "reset"
)

// Heal ends every cut of the direction. Freezes end by themselves.
func (n *Net) Heal(p Path, how Heal) {
	if how == Reset {
		n.mu.Lock()
		stuck := n.pick(func(c *conn) bool { return c.holds(p) })
		n.mu.Unlock()
		for _, c := range stuck {
			c.reset()
		}
	}
	n.change(p, func(s *state) { clear(s.cut) })
}

// Freeze stops the direction for a time, for the ports or, where none are named, for all; then everything flows again.
func (n *Net) Freeze(p Path, d time.Duration, ports ...int) {
	ports = orAll(ports)
	n.change(p, func(s *state) {
		for _, port := range ports {
			s.frozen[port]++
		}
	})
	thaw := func() {
		n.change(p, func(s *state) {
			for _, port := range ports {
				if s.frozen[port]--; s.frozen[port] <= 0 {
					delete(s.frozen, port)
				}
			}
		})
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	var t *time.Timer
	n.wg.Add(1)
	t = time.AfterFunc(d, func() {
		defer n.wg.Done()
		thaw()
		n.mu.Lock()
		delete(n.freezes, t)
		n.mu.Unlock()
	})
	n.freezes[t] = thaw
}

// SetLatency changes the delay of the direction for what is sent from now on.
func (n *Net) SetLatency(p Path, latency time.Duration) {
	n.change(p, func(s *state) { s.latency = latency })
}

// SetLoss makes a share of the pieces (0 to 1) late by stall, as when a packet is lost and sent again; stall is at least 200 ms,
// the least that TCP waits.
func (n *Net) SetLoss(p Path, share float64, stall time.Duration) {
	n.change(p, func(s *state) { s.loss, s.stall = share, max(stall, 200*time.Millisecond) })
}

func (n *Net) change(p Path, edit func(*state)) {
	d := n.paths[p]
	if d == nil {
		n.log.Warn("no such link", "from", p.From, "to", p.To)
		return
	}
	d.change(edit)
	n.mu.Lock()
	defer n.mu.Unlock()
	for key, l := range n.listeners {
		if key.path == p || key.path == p.Reverse() {
			l.nudge()
		}
	}
}

// blocked reports whether a connection over the path to the port cannot be made: it needs both directions.
func (n *Net) blocked(p Path, port int) (bool, <-chan struct{}) {
	there, back := n.paths[p].state.Load(), n.paths[p.Reverse()].state.Load()
	if there.blocks(port) {
		return true, there.changed
	}
	if back.blocks(port) {
		return true, back.changed
	}
	return false, nil
}

// Status is what one direction does at the moment.
type Status struct {
	Path
	Latency     time.Duration
	Cut         bool
	CutPorts    []int
	Frozen      bool
	FrozenPorts []int
	Loss        float64
	// Connections that were made from From to To, and bytes carried from From to To so far.
	Connections int
	Bytes       int64
}

// Status lists every direction, ordered by From and To.
func (n *Net) Status() []Status {
	made := make(map[Path]int)
	n.mu.Lock()
	for c := range n.conns {
		made[c.path]++
	}
	n.mu.Unlock()
	var all []Status
	for from := 1; from <= n.sites; from++ {
		for to := 1; to <= n.sites; to++ {
			p := Path{from, to}
			if d := n.paths[p]; d != nil {
				all = append(all, d.status(p, made[p]))
			}
		}
	}
	return all
}

// Close resets every connection, stops listening and returns when nothing is left.
func (n *Net) Close() {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		n.wg.Wait()
		return
	}
	n.closed = true
	for t := range n.freezes {
		if t.Stop() {
			n.wg.Done()
		}
	}
	listeners := n.listeners
	n.listeners = nil
	conns := n.pick(func(*conn) bool { return true })
	n.mu.Unlock()
	for _, l := range listeners {
		l.close()
	}
	for _, c := range conns {
		c.reset()
	}
	n.wg.Wait()
	n.clock.stop()
}

// adopt registers a new connection; it reports false when the network is closed.
func (n *Net) adopt(c *conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false
	}
	n.conns[c] = struct{}{}
	n.wg.Go(c.run)
	return true
}

func (n *Net) drop(c *conn) {
	n.mu.Lock()
	delete(n.conns, c)
	n.mu.Unlock()
}

// allPorts stands for every port in the maps of a state.
const allPorts = 0

func orAll(ports []int) []int {
	if len(ports) == 0 {
		return []int{allPorts}
	}
	return ports
}

// unlucky draws whether a piece is lost.
func unlucky(share float64) bool { return share > 0 && rand.Float64() < share }

// String names the path for messages.
func (p Path) String() string { return fmt.Sprintf("%d>%d", p.From, p.To) }

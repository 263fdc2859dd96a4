package link

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// conn is one connection from a site to a service of another.
type conn struct {
	net      *Net
	path     Path // of the connection's making: its client is at path.From
	port     int
	accepted time.Duration // on the link's clock

	there, back *ring // what the client sends, what the service sends

	mu             sync.Mutex
	client, server *net.TCPConn
	done           chan struct{} // torn down
	once           sync.Once
}

func newConn(n *Net, p Path, port int, client *net.TCPConn) *conn {
	return &conn{
		net: n, path: p, port: port, accepted: n.clock.now(), client: client,
		there: newRing(), back: newRing(), done: make(chan struct{}),
	}
}

// run carries the connection until both directions have ended.
func (c *conn) run() {
	defer c.net.drop(c)
	defer c.tearDown(false)
	server, ok := c.dial()
	if !ok {
		return
	}
	there, back := c.net.paths[c.path], c.net.paths[c.path.Reverse()]
	// A real connection costs a round trip before the first byte is sent.
	setUp := c.accepted + there.state.Load().latency + back.state.Load().latency

	var readers, writers sync.WaitGroup
	readers.Go(func() { c.read(c.client, there, c.there, setUp) })
	readers.Go(func() { c.read(server, back, c.back, 0) })
	writers.Go(func() { c.write(server, there, c.there, back, c.back) })
	writers.Go(func() { c.write(c.client, back, c.back, there, c.there) })
	writers.Wait()
	c.tearDown(false)
	readers.Wait()
}

// dial connects to the service once both directions are open; a client that has left meanwhile is forgotten,
// because on a real network it would never have got through.
func (c *conn) dial() (*net.TCPConn, bool) {
	for {
		blocked, changed := c.net.blocked(c.path, c.port)
		if !blocked {
			break
		}
		select {
		case <-changed:
		case <-c.done:
			return nil, false
		}
		if hungUp(c.client) {
			return nil, false
		}
	}
	d := net.Dialer{Timeout: 3 * time.Second, LocalAddr: &net.TCPAddr{IP: c.net.addr(c.path.From, c.path.From).AsSlice()}, KeepAlive: -1}
	server, err := d.Dial("tcp4", netip.AddrPortFrom(c.net.addr(c.path.To, c.path.To), uint16(c.port)).String())
	if err != nil {
		c.net.clock.sleepUntil(c.accepted+2*c.net.paths[c.path].state.Load().latency, make(chan struct{}, 1), c.done)
		c.tearDown(true)
		return nil, false
	}
	c.mu.Lock()
	c.server = server.(*net.TCPConn)
	c.mu.Unlock()
	select {
	case <-c.done: // torn down while dialling: nobody else closes it
		server.Close()
		return nil, false
	default:
		return c.server, true
	}
}

func (c *conn) read(from *net.TCPConn, d *direction, r *ring, earliest time.Duration) {
	var last time.Duration
	for {
		space := r.space()
		if space == nil {
			return
		}
		n, err := from.Read(space)
		s := d.state.Load()
		at := max(last, max(c.net.clock.now(), earliest)+s.delay())
		last = at
		if n > 0 {
			r.filled(n, at)
		}
		if err != nil {
			how := broken
			if errors.Is(err, io.EOF) {
				how = finished
			}
			r.finish(how, at)
			return
		}
	}
}

// write delivers what has arrived in the ring to the socket, unless the direction is blocked.
// When the receiver has gone, its reset goes back in the other direction.
func (c *conn) write(to *net.TCPConn, d *direction, r *ring, other *direction, otherRing *ring) {
	wake := make(chan struct{}, 1)
	for {
		at, pending := r.next()
		if !pending {
			select {
			case <-r.some:
			case <-c.done:
				return
			}
			continue
		}
		if !c.net.clock.sleepUntil(at, wake, c.done) {
			return
		}
		if s := d.state.Load(); s.blocks(c.port) {
			select {
			case <-s.changed:
			case <-c.done:
				return
			}
			continue
		}
		data, end := r.due(max(at, c.net.clock.now()))
		switch {
		case end == finished:
			_ = to.CloseWrite()
			return
		case end == broken:
			_ = to.SetLinger(0)
			to.Close()
			return
		}
		n, err := to.Write(data)
		d.bytes.Add(int64(n))
		r.delivered(n)
		if err != nil {
			otherRing.finish(broken, c.net.clock.now()+other.state.Load().latency)
			r.close()
			return
		}
	}
}

// holds reports whether bytes are stuck in the direction.
func (c *conn) holds(p Path) bool {
	r := c.there
	switch p {
	case c.path:
	case c.path.Reverse():
		r = c.back
	default:
		return false
	}
	if !c.net.paths[p].state.Load().blocks(c.port) {
		return false
	}
	at, pending := r.next()
	return pending && at <= c.net.clock.now()
}

// reset ends the connection with a reset to both sides.
func (c *conn) reset() { c.tearDown(true) }

func (c *conn) tearDown(abort bool) {
	c.once.Do(func() {
		close(c.done)
		c.there.close()
		c.back.close()
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, s := range []*net.TCPConn{c.client, c.server} {
			if s == nil {
				continue
			}
			if abort {
				_ = s.SetLinger(0)
			}
			s.Close()
		}
	})
}

// hungUp reports whether the peer has closed the connection.
func hungUp(c *net.TCPConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	err = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		if n, err := unix.Poll(p, 0); err == nil && n > 0 {
			gone = p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
		}
	})
	return gone || err != nil
}

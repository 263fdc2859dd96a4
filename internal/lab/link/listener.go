package link

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// listener takes the connections of one site to one port of another.
//
// While either direction is cut it makes the kernel drop connection requests, so that clients hang in connect as they
// would on a real network: the backlog is set to zero and its one place is taken by a connection of our own.
// The clients' kernels go on asking (after 1, 3, 7 s …), so they get through by themselves after a heal.
type listener struct {
	net  *Net
	path Path
	port int
	tcp  *net.TCPListener
	done chan struct{}
	once sync.Once
}

const backlog = 1024

func (l *listener) run() {
	for {
		if blocked, _ := l.net.blocked(l.path, l.port); blocked {
			if !l.park() {
				return
			}
			continue
		}
		c, err := l.tcp.AcceptTCP()
		switch {
		case err == nil:
			l.take(c)
		case errors.Is(err, os.ErrDeadlineExceeded):
			// nudged: look at the state again
			if l.tcp.SetDeadline(time.Time{}) != nil {
				return
			}
		case errors.Is(err, net.ErrClosed):
			return
		default:
			l.net.log.Warn("the link cannot accept", "path", l.path.String(), "port", l.port, "error", err)
			select {
			case <-l.done:
				return
			case <-time.After(50 * time.Millisecond): // out of descriptors, most likely
			}
		}
	}
}

// park waits until both directions are open, with the kernel refusing to take connections; false when the listener is closed.
func (l *listener) park() bool {
	l.setBacklog(0)
	// The filler takes the one place a backlog of zero leaves. When it cannot get it, somebody else has it: as good.
	filler, _ := (&net.Dialer{Timeout: 20 * time.Millisecond}).Dial("tcp4", l.tcp.Addr().String())
	defer func() {
		l.setBacklog(backlog)
		if filler == nil {
			return
		}
		// Nothing else can be identified as ours: the filler's place is freed by taking it.
		l.discard(filler.LocalAddr().String())
		filler.Close()
	}()
	for {
		blocked, changed := l.net.blocked(l.path, l.port)
		if !blocked {
			return l.tcp.SetDeadline(time.Time{}) == nil
		}
		select {
		case <-changed:
		case <-l.done:
			return false
		}
	}
}

// discard takes connections up to and including the filler's; others that were waiting are served.
func (l *listener) discard(filler string) {
	for {
		if l.tcp.SetDeadline(time.Now().Add(time.Second)) != nil {
			return
		}
		c, err := l.tcp.AcceptTCP()
		if err != nil {
			return
		}
		if c.RemoteAddr().String() == filler {
			c.Close()
			return
		}
		l.take(c)
	}
}

func (l *listener) setBacklog(n int) {
	raw, err := l.tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if err := unix.Listen(int(fd), n); err != nil {
			l.net.log.Warn("the link cannot change its backlog", "path", l.path.String(), "port", l.port, "error", err)
		}
	})
}

func (l *listener) take(c *net.TCPConn) {
	conn := newConn(l.net, l.path, l.port, c)
	if !l.net.adopt(conn) {
		c.Close()
	}
}

// nudge makes run look at the state again.
func (l *listener) nudge() {
	if blocked, _ := l.net.blocked(l.path, l.port); blocked {
		_ = l.tcp.SetDeadline(time.Unix(1, 0))
	}
}

func (l *listener) close() {
	l.once.Do(func() { close(l.done) })
	l.tcp.Close()
}

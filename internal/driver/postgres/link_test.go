package postgres

import (
	"net"
	"strconv"
	"sync"
	"testing"
)

// link is the network between a copy and its upstream: it can be frozen, so that nothing arrives, and cut.
type link struct {
	l      net.Listener
	target string
	mu     sync.Mutex
	thawed *sync.Cond
	frozen bool
	conns  map[net.Conn]bool
	done   sync.WaitGroup
}

// newLink listens on another loopback address at the upstream's port and passes on to it.
func newLink(t testing.TB, address string, port int) *link {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	k := &link{l: listener, target: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), conns: map[net.Conn]bool{}}
	k.thawed = sync.NewCond(&k.mu)
	k.done.Go(k.serve)
	t.Cleanup(func() {
		_ = listener.Close()
		k.thaw()
		k.cut()
		k.done.Wait()
	})
	return k
}

func (k *link) serve() {
	for {
		in, err := k.l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", k.target)
		if err != nil {
			_ = in.Close()
			continue
		}
		k.mu.Lock()
		k.conns[in], k.conns[out] = true, true
		k.mu.Unlock()
		k.done.Go(func() { k.pass(in, out) })
		k.done.Go(func() { k.pass(out, in) })
	}
}

func (k *link) pass(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		k.mu.Lock()
		for k.frozen && k.conns[from] {
			k.thawed.Wait()
		}
		alive := k.conns[from]
		k.mu.Unlock()
		if !alive {
			return
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (k *link) freeze() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.frozen = true
}

func (k *link) thaw() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.frozen = false
	k.thawed.Broadcast()
}

// cut ends all connections; what was on its way is lost.
func (k *link) cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for c := range k.conns {
		_ = c.Close()
	}
	k.conns = map[net.Conn]bool{}
	k.thawed.Broadcast()
}

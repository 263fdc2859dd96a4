package gateway

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"

	"perdure/internal/unit"
)

// keyedBy sends a keyed request on a connection of its own, which the test may end.
func (w *world) keyedBy(key string) net.Conn {
	w.Helper()
	c, err := net.Dial("tcp", w.g.Addr())
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = c.Close() })
	if _, err := fmt.Fprintf(c, "POST /transfer HTTP/1.1\r\nHost: x\r\nX-Account: acc-1\r\nIdempotency-Key: %s\r\nContent-Length: 3\r\n\r\npay", key); err != nil {
		w.Fatal(err)
	}
	return c
}

func TestRequestIsNotHeldForAClientThatHasLeft(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	w := start(t, nil)
	w.feed.put(t, with(input(1, "a", own(1, 5), a), state(unit.Open, unit.Promotion)))
	left := w.keyedBy("k-left")
	w.until("one is held", func() bool { return w.held() == 1 })
	_ = left.Close()
	stays := begin(func() answer { return w.keyed("k-stays") })
	w.until("two are held", func() bool { return w.held() == 2 })

	w.feed.put(t, input(2, "a", own(1, 5), a))
	if got := w.answered(stays); got.status != 200 {
		t.Fatal(got)
	}
	w.until("nobody is held", func() bool { return w.held() == 0 && w.g.active.Load() == 0 })
	if got := a.requests(); !slices.Equal(got, []string{"POST /transfer k-stays"}) {
		t.Errorf("the application got %q", got)
	}
}

func TestRequestIsNotSentAgainForAClientThatHasLeft(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	w := start(t, nil)
	w.feed.put(t, input(1, "a", own(1, 5), a))
	var left atomic.Pointer[net.Conn]
	asked := make(chan struct{})
	a.set(func() {
		a.before = func(*http.Request) {
			<-asked
			if c := left.Load(); c != nil {
				_ = (*c).Close()
			}
			panic(http.ErrAbortHandler)
		}
	})
	c := w.keyedBy("k-left")
	left.Store(&c)
	close(asked)
	w.arrival(a)
	w.until("the request is given up", func() bool { return w.g.active.Load() == 0 })
	if got := a.requests(); len(got) != 1 {
		t.Errorf("the application got %q", got)
	}
}

func TestAClientThatHasLeftIsSeenWhateverItSentBefore(t *testing.T) {
	estate := newEstateTLS(t)
	serverTLS, clientTLS := estate.server("gateway:a"), estate.client("")
	clientTLS.ServerName = "127.0.0.1"
	for _, secure := range []bool{false, true} {
		for _, more := range []string{"", "another request"} {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			accepted := make(chan net.Conn, 1)
			go func() {
				c, err := ln.Accept()
				if err != nil {
					close(accepted)
					return
				}
				c = &clientConn{Conn: c, g: &Gateway{}}
				if secure {
					s := tls.Server(c, serverTLS)
					_ = s.Handshake()
					c = s
				}
				accepted <- c
			}()
			client, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if secure {
				s := tls.Client(client, clientTLS)
				if err := s.Handshake(); err != nil {
					t.Fatal(err)
				}
				client = s
			}
			server := <-accepted
			if server == nil {
				t.Fatal("nobody came")
			}
			if _, err := io.WriteString(client, more); err != nil {
				t.Fatal(err)
			}
			if hasLeft(server) {
				t.Errorf("secure %v, more %q: seen to have left before it did", secure, more)
			}
			_ = client.Close()
			if !hasLeft(server) {
				t.Errorf("secure %v, more %q: not seen to have left", secure, more)
			}
			_ = server.Close()
		}
	}
}

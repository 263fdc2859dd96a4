package link

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long a test waits for what must happen, glance how long it looks for what must not.
const (
	patience = 30 * time.Second
	glance   = 60 * time.Millisecond
)

// rig is a network of three sites with one service at site 2.
type rig struct {
	*Net
	port    int
	service net.Listener
}

// newRig starts the network and a service that handles each connection with serve.
func newRig(t *testing.T, latency time.Duration, serve func(*net.TCPConn)) *rig {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	n, err := New(Options{Sites: 3, Latency: func(Path) time.Duration { return latency }})
	if err != nil {
		t.Fatal(err)
	}
	service, err := net.Listen("tcp4", netip.AddrPortFrom(Addr(1, 2, 2), 0).String())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := service.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				serve(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		n.Close()
		service.Close()
		wg.Wait()
	})
	r := &rig{Net: n, port: service.Addr().(*net.TCPAddr).Port, service: service}
	if err := n.Serve(2, r.port); err != nil {
		t.Fatal(err)
	}
	return r
}

func echo(c *net.TCPConn) { _, _ = io.Copy(c, c) }

// from is where a client at the site reaches the service.
func (r *rig) from(site int) string {
	return netip.AddrPortFrom(Addr(1, site, 2), uint16(r.port)).String()
}

func (r *rig) dial(t *testing.T, site int) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp4", r.from(site), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, c net.Conn, text string) {
	t.Helper()
	buf := make([]byte, len(text))
	if _, err := io.ReadFull(c, buf); err != nil {
		t.Fatalf("waiting for %q: %v", text, err)
	}
	if string(buf) != text {
		t.Fatalf("heard %q, want %q", buf, text)
	}
}

func hearNothing(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(glance))
	n, err := c.Read(make([]byte, 64))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes and error %v, want silence", n, err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
}

func TestLatencyIsPaidInEachDirectionAndAtSetUp(t *testing.T) {
	const latency = 15 * time.Millisecond
	r := newRig(t, latency, echo)
	start := time.Now()
	c := r.dial(t, 1)
	say(t, c, "one")
	hear(t, c, "one")
	if took := time.Since(start); took < 4*latency-4*slack {
		t.Errorf("first exchange took %v, want two round trips of %v", took, 2*latency)
	}
	start = time.Now()
	say(t, c, "two")
	hear(t, c, "two")
	if took := time.Since(start); took < 2*latency-2*slack {
		t.Errorf("exchange took %v, want at least %v", took, 2*latency)
	}
	r.SetLatency(Path{1, 2}, 0)
	start = time.Now()
	say(t, c, "three")
	hear(t, c, "three")
	if took := time.Since(start); took < latency-slack {
		t.Errorf("exchange took %v, want at least %v", took, latency)
	}
}

func TestBulkArrivesWholeAndInOrder(t *testing.T) {
	r := newRig(t, 500*time.Microsecond, echo)
	c := r.dial(t, 3)
	sent := make([]byte, 6<<20+7)
	_, _ = rand.Read(sent)
	go func() {
		for rest := sent; len(rest) > 0; {
			n := min(len(rest), 1+len(rest)%70001)
			if _, err := c.Write(rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
		}
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("got %d bytes (%v), want the %d sent", len(got), err, len(sent))
	}
}

func TestHalfClosePassesAndTheOtherHalfGoesOn(t *testing.T) {
	r := newRig(t, 0, func(c *net.TCPConn) {
		all, _ := io.ReadAll(c)
		fmt.Fprintf(c, "%d bytes", len(all))
	})
	c := r.dial(t, 1)
	say(t, c, "abc")
	_ = c.CloseWrite()
	hear(t, c, "3 bytes")
}

func TestResetPasses(t *testing.T) {
	r := newRig(t, 0, func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 1))
		_ = c.SetLinger(0)
	})
	c := r.dial(t, 1)
	say(t, c, "x")
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("got %v, want a reset", err)
	}
}

func TestServiceThatIsDownResetsTheClient(t *testing.T) {
	r := newRig(t, 0, echo)
	r.service.Close()
	c, err := net.DialTimeout("tcp4", r.from(1), patience)
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ECONNREFUSED) {
		return // it was quick
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %v, want the connection ended", err)
	}
}

func TestCutSilencesWithoutResetAndHealLetsTheBytesFlow(t *testing.T) {
	r := newRig(t, 0, echo)
	c := r.dial(t, 1)
	say(t, c, "before")
	hear(t, c, "before")
	r.Cut(Path{1, 2})
	r.Cut(Path{2, 1})
	say(t, c, "during")
	hearNothing(t, c)
	r.Heal(Path{1, 2}, Resume)
	r.Heal(Path{2, 1}, Resume)
	hear(t, c, "during")
}

func TestOneWayCutStopsOneDirectionOnly(t *testing.T) {
	atService := make(chan string, 4)
	talk := make(chan string)
	r := newRig(t, 0, func(c *net.TCPConn) {
		go func() {
			for s := range talk {
				_, _ = io.WriteString(c, s)
			}
		}()
		buf := make([]byte, 64)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			atService <- string(buf[:n])
		}
	})
	t.Cleanup(func() { close(talk) })
	c := r.dial(t, 1)
	say(t, c, "hello")
	if got := <-atService; got != "hello" {
		t.Fatalf("service heard %q", got)
	}
	r.Cut(Path{1, 2})
	say(t, c, "lost for now")
	talk <- "still here"
	hear(t, c, "still here")
	select {
	case s := <-atService:
		t.Fatalf("service heard %q through a cut", s)
	default:
	}
	r.Heal(Path{1, 2}, Resume)
	if got := <-atService; got != "lost for now" {
		t.Fatalf("service heard %q after the heal", got)
	}
}

func TestOtherPathsAndPortsAreNotTouched(t *testing.T) {
	r := newRig(t, 0, echo)
	near, far := r.dial(t, 1), r.dial(t, 3)
	r.Cut(Path{1, 2})
	r.Cut(Path{3, 2}, r.port+1)
	say(t, far, "from three")
	hear(t, far, "from three")
	say(t, near, "from one")
	hearNothing(t, near)
}

func TestConnectHangsDuringACutAndSucceedsAfterIt(t *testing.T) {
	for _, cut := range []Path{{1, 2}, {2, 1}} {
		t.Run(cut.String(), func(t *testing.T) {
			r := newRig(t, 0, echo)
			r.Cut(cut)
			waitUntil(t, "connections hang", func() bool {
				c, err := net.DialTimeout("tcp4", r.from(1), glance)
				if err == nil {
					c.Close()
					return false
				}
				return errors.Is(err, os.ErrDeadlineExceeded)
			})
			made := make(chan error, 1)
			go func() {
				c, err := net.DialTimeout("tcp4", r.from(1), patience)
				if err == nil {
					_ = c.SetDeadline(time.Now().Add(patience))
					_, _ = io.WriteString(c, "hi")
					_, err = io.ReadFull(c, make([]byte, 2))
					c.Close()
				}
				made <- err
			}()
			r.Heal(cut, Resume)
			if err := <-made; err != nil {
				t.Fatalf("after the heal: %v", err)
			}
			c := r.dial(t, 1)
			say(t, c, "again")
			hear(t, c, "again")
		})
	}
}

// waitUntil tries again until the fact holds; each try takes its own time.
func waitUntil(t *testing.T, what string, fact func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !fact(); {
		if time.Now().After(end) {
			t.Fatalf("never came true: %s", what)
		}
	}
}

func TestFreezeEndsByItself(t *testing.T) {
	r := newRig(t, 0, echo)
	c := r.dial(t, 1)
	say(t, c, "a")
	hear(t, c, "a")
	const length = 80 * time.Millisecond
	start := time.Now()
	r.Freeze(Path{1, 2}, length, r.port)
	r.Freeze(Path{2, 1}, length, r.port)
	say(t, c, "b")
	hear(t, c, "b")
	if took := time.Since(start); took < length {
		t.Errorf("the bytes took %v, want at least the freeze of %v", took, length)
	}
}

func TestFreezeThatEndsLeavesACutStanding(t *testing.T) {
	r := newRig(t, 0, echo)
	c := r.dial(t, 1)
	r.Cut(Path{1, 2})
	r.Freeze(Path{1, 2}, time.Millisecond)
	waitUntil(t, "freeze over", func() bool {
		for _, s := range r.Status() {
			if s.Path == (Path{1, 2}) {
				return !s.Frozen && s.Cut
			}
		}
		return false
	})
	say(t, c, "x")
	hearNothing(t, c)
}

func TestHealWithResetEndsWhatHeldBytes(t *testing.T) {
	r := newRig(t, 0, echo)
	busy, idle := r.dial(t, 1), r.dial(t, 1)
	for _, c := range []net.Conn{busy, idle} {
		say(t, c, "a")
		hear(t, c, "a")
	}
	r.Cut(Path{1, 2})
	say(t, busy, "stuck")
	waitUntil(t, "bytes are held", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.pick(func(c *conn) bool { return c.holds(Path{1, 2}) })) == 1
	})
	r.Heal(Path{1, 2}, Reset)
	if _, err := busy.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
	say(t, idle, "b")
	hear(t, idle, "b")
}

func TestCutConnectionIsBoundedInMemoryAndPushesBack(t *testing.T) {
	r := newRig(t, 0, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	c := r.dial(t, 1)
	r.Cut(Path{1, 2})
	_ = c.SetWriteDeadline(time.Now().Add(2 * time.Second))
	sent := 0
	chunk := make([]byte, 256<<10)
	for {
		n, err := c.Write(chunk)
		sent += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if sent > 256<<20 {
			t.Fatal("the link took 256 MiB into a cut direction")
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		c.there.mu.Lock()
		if len(c.there.data) > ringMost {
			t.Errorf("a connection holds a buffer of %d bytes, the bound is %d", len(c.there.data), ringMost)
		}
		c.there.mu.Unlock()
	}
}

func TestLossMakesPiecesLateNeverLost(t *testing.T) {
	r := newRig(t, 0, echo)
	c := r.dial(t, 1)
	r.SetLoss(Path{1, 2}, 1, 0)
	start := time.Now()
	say(t, c, "late")
	hear(t, c, "late")
	if took := time.Since(start); took < 200*time.Millisecond {
		t.Errorf("took %v, want at least 200 ms", took)
	}
}

func TestServiceAddedAndForgottenAtRunTime(t *testing.T) {
	r := newRig(t, 0, echo)
	c := r.dial(t, 1)
	say(t, c, "x")
	hear(t, c, "x")
	r.Forget(2, r.port)
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection lives on after its service was forgotten")
	}
	if c, err := net.DialTimeout("tcp4", r.from(1), patience); err == nil {
		c.Close()
		t.Error("the port still accepts")
	}
	if err := r.Serve(2, r.port); err != nil {
		t.Fatal(err)
	}
	c = r.dial(t, 1)
	say(t, c, "y")
	hear(t, c, "y")
}

func TestPortInUseIsNamed(t *testing.T) {
	r := newRig(t, 0, echo)
	taken, err := net.Listen("tcp4", netip.AddrPortFrom(Addr(1, 2, 1), 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	if err := r.Serve(1, port); err == nil || !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("got %v, want address in use", err)
	}
}

func TestStatusShowsWhatIsCutAndFrozen(t *testing.T) {
	r := newRig(t, time.Millisecond, echo)
	r.Cut(Path{1, 3}, 7, 5)
	r.Freeze(Path{3, 1}, time.Hour)
	for _, s := range r.Status() {
		want := Status{Path: s.Path, Latency: time.Millisecond}
		switch s.Path {
		case Path{1, 3}:
			want.CutPorts = []int{5, 7}
		case Path{3, 1}:
			want.Frozen = true
		}
		if fmt.Sprint(s) != fmt.Sprint(want) {
			t.Errorf("status %+v, want %+v", s, want)
		}
	}
}

func BenchmarkExchange(b *testing.B) {
	n, err := New(Options{Sites: 2})
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	service, err := net.Listen("tcp4", netip.AddrPortFrom(Addr(1, 2, 2), 0).String())
	if err != nil {
		b.Fatal(err)
	}
	defer service.Close()
	go func() {
		for {
			c, err := service.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); _, _ = io.Copy(c, c) }()
		}
	}()
	port := service.Addr().(*net.TCPAddr).Port
	if err := n.Serve(2, port); err != nil {
		b.Fatal(err)
	}
	for _, way := range []struct {
		name string
		at   netip.Addr
	}{{"direct", Addr(1, 2, 2)}, {"linked", Addr(1, 1, 2)}} {
		b.Run(way.name, func(b *testing.B) {
			c, err := net.Dial("tcp4", netip.AddrPortFrom(way.at, uint16(port)).String())
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			msg := make([]byte, 512)
			var before, after syscall.Rusage
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
			for b.Loop() {
				if _, err := c.Write(msg); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(c, msg); err != nil {
					b.Fatal(err)
				}
			}
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
			b.ReportMetric(float64(after.Utime.Nano()+after.Stime.Nano()-before.Utime.Nano()-before.Stime.Nano())/float64(b.N), "cpu-ns/op")
		})
	}
}

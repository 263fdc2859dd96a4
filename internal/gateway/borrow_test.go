package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"perdure/internal/route"
	"perdure/internal/unit"
)

// deaf starts a gateway at site a that hears no node and has these peers; first is what it knew before, and what it has on disk.
func deaf(t *testing.T, e *estateTLS, first *route.Input, peers ...Peer) *world {
	t.Helper()
	return start(t, func(o *Options) {
		o.Source.(*feed).mute.Store(true)
		o.Static, o.Silence, o.Peers = first, time.Millisecond, peers
		o.AdminTLS, o.AdminOpen, o.PeerTLS = e.server("gateway:a"), false, e.client("gateway:a")
	})
}

// lender starts the gateway of another site, which hears the nodes.
func lender(t *testing.T, e *estateTLS, name string) (*world, Peer) {
	t.Helper()
	w := start(t, func(o *Options) {
		o.Name, o.AdminTLS, o.AdminOpen = name, e.server("gateway:"+name), false
	})
	return w, Peer{Name: name, URL: "https://" + w.g.AdminAddr()}
}

// asks gives how often a peer was asked with a result.
func (w *world) asks(peer, result string) float64 {
	return w.metric("peer_asks_total", peer, result)
}

// metric adds up the series of a metric whose labels have these values, in the order of the labels' names.
func (w *world) metric(name string, labels ...string) (sum float64) {
	w.Helper()
	families, err := w.g.metrics.registry.Gather()
	if err != nil {
		w.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if f.GetName() == "perdure_gateway_"+name && slices.Equal(values, labels) {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func TestGatewayThatHearsNoNodeLearnsTheOwnerFromItsPeers(t *testing.T) {
	e := newEstateTLS(t)
	a, b := newApp(t, "app-a", "a", own(1, 5)), newApp(t, "app-b", "b", own(1, 6))
	a.set(func() {
		a.answer = func(w http.ResponseWriter, _ *http.Request) { // it was taken over while the gateway heard nothing
			w.Header().Set("Perdure-Outcome", "not-owner")
			w.WriteHeader(503)
		}
	})
	other, peer := lender(t, e, "b")
	before := input(7, "a", own(1, 5), a, b)
	other.feed.put(t, before)
	w := deaf(t, e, &before, peer)
	got := begin(func() answer { return w.keyed("k1") })
	w.until("the request is held", func() bool { return w.held() == 1 })
	other.feed.put(t, with(input(8, "b", own(1, 6), a, b), state(unit.Promoting, unit.Promotion)))
	other.feed.put(t, input(9, "b", own(1, 6), a, b))
	if x := w.answered(got); x.status != 200 || x.body != "app-b did pay" {
		t.Fatal(x)
	}
	w.until("the answers are counted", func() bool { return w.asks("b", "newer") >= 1 && w.asks("b", "same") >= 1 })
	if w.g.Version() != 7 {
		t.Errorf("version %d: only the control plane says how far the gateway is", w.g.Version())
	}
	w.stop()
	for _, line := range []string{"the control plane is not heard", "owners taken over from another gateway"} {
		if !strings.Contains(w.log.String(), line) {
			t.Errorf("no line says %q", line)
		}
	}
	// What was learned is on disk like everything else.
	again := start(t, func(o *Options) { o.Data, o.Source = w.g.o.Data, nil })
	if got := again.keyed("k2"); got.body != "app-b did pay" {
		t.Error(got)
	}
}

func TestPeersAreAskedOnlyWhileTheSourceIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dead, well atomic.Int64
		lends := make(pipes)
		log := slog.New(slog.DiscardHandler)
		other, err := New(Options{Name: "b", Site: "b", Listen: "127.0.0.1:0", AdminOpen: true}, log)
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			well.Add(1)
			other.adm.Handler.ServeHTTP(w, r)
		})}
		g, err := New(Options{
			Name: "a", Site: "a", Listen: "127.0.0.1:0", AdminOpen: true, Source: deadSource{},
			Peers: []Peer{{Name: "b", URL: "http://b.example:7510"}, {Name: "c", URL: "http://c.example:7510"}},
			Dial: func(ctx context.Context, _, address string) (net.Conn, error) {
				if address == "b.example:7510" {
					return lends.dial(ctx)
				}
				dead.Add(1)
				return nil, errors.New("the link is cut")
			},
		}, log)
		if err != nil {
			t.Fatal(err)
		}
		var work sync.WaitGroup
		work.Go(func() { _ = srv.Serve(lends) })
		work.Go(g.borrow)
		hearForAnHour := func() {
			for range 3600 {
				time.Sleep(time.Second)
				g.heard()
			}
			synctest.Wait()
		}
		hearForAnHour()
		if dead.Load()+well.Load() != 0 {
			t.Fatalf("asked %d and %d times although the source was heard", well.Load(), dead.Load())
		}
		time.Sleep(1600 * time.Millisecond)
		synctest.Wait()
		if dead.Load() == 0 || well.Load() == 0 {
			t.Fatal("not asked although the source was silent for 1.6 s")
		}
		time.Sleep(10 * time.Minute)
		if d, w := dead.Load(), well.Load(); d < 100 || d > 130 || w < 1100 || w > 1210 {
			t.Errorf("in ten minutes a dead peer was asked %d times, one that is well %d times", d, w)
		}
		g.heard()
		synctest.Wait()
		before := dead.Load() + well.Load()
		hearForAnHour()
		if n := dead.Load() + well.Load(); n != before {
			t.Errorf("asked %d times more although the source is heard again", n-before)
		}
		g.Close()
		other.Close()
		srv.Close()
		work.Wait()
	})
}

// pipes is a listener for connections that are made in the process itself.
type pipes chan net.Conn

func (p pipes) dial(ctx context.Context) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p pipes) Close() error {
	close(p)
	return nil
}

func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func TestPeerWithAnOlderTableChangesNothing(t *testing.T) {
	e := newEstateTLS(t)
	a, b := newApp(t, "app-a", "a", own(1, 5)), newApp(t, "app-b", "b", own(1, 6))
	other, peer := lender(t, e, "b")
	other.feed.put(t, input(900, "a", own(1, 5), a)) // older in ownership, though its version is higher
	now := input(9, "b", own(1, 6), a, b)
	w := deaf(t, e, &now, peer)
	w.until("the peer was asked twice", func() bool { return w.asks("b", "same") >= 2 })
	if n := w.asks("b", "newer"); n != 0 {
		t.Errorf("%v answers changed something", n)
	}
	if got := w.keyed("k1"); got.body != "app-b did pay" {
		t.Fatal(got)
	}
	if n := w.metric("stale_inputs_total"); n != 0 {
		t.Errorf("%v parts were counted as a fault of the source", n)
	}
}

func TestPeerThatIsDeadOrLendsNonsenseIsHarmless(t *testing.T) {
	e := newEstateTLS(t)
	a, b := newApp(t, "app-a", "a", own(1, 5)), newApp(t, "app-b", "b", own(1, 6))
	other, peer := lender(t, e, "b")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := Peer{Name: "dead", URL: "https://" + ln.Addr().String()}
	ln.Close()
	var reached sync.Map
	liar := func(cn, text string) Peer {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			reached.Store(cn, true)
			fmt.Fprint(w, text)
		}))
		srv.Listener = tls.NewListener(srv.Listener, e.server(cn))
		srv.Start()
		t.Cleanup(srv.Close)
		return Peer{Name: cn, URL: "https://" + srv.Listener.Addr().String()}
	}
	forged := `{"version":99,"owners":[{"group":"g1","system":"bank","units":["u1"],"ownership":{"incarnation":{"counter":9,"id":"x"},"epoch":9},"state":"open","site":"c"}]}`
	before := input(7, "a", own(1, 5), a, b)
	w := deaf(t, e, &before, dead, liar("gateway:half", forged[:40]), liar("node:b", forged), liar("gateway:long", strings.Repeat(" ", askBytes+1)),
		liar("gateway:header", strings.Replace(forged, `"id":"x"`, `"id":"x\r\nX-Evil: 1"`, 1)), peer)
	for _, name := range []string{"dead", "gateway:half", "node:b", "gateway:long"} {
		w.until(name+" was asked", func() bool {
			_, there := reached.Load(name)
			return w.asks(name, "failed") >= 1 && (there || name == "dead")
		})
	}
	w.until("gateway:header was asked", func() bool { return w.asks("gateway:header", "same") >= 1 })
	if got := w.keyed("k1"); got.body != "app-a did pay" {
		t.Fatal(got)
	}
	other.feed.put(t, input(8, "b", own(1, 6), a, b))
	w.until("the one that is well is believed", func() bool { return w.asks("b", "newer") >= 1 })
	if got := w.keyed("k2"); got.body != "app-b did pay" {
		t.Fatal(got)
	}
}

func TestGatewayWithoutAnyTableTakesAPeersUntilANodeIsHeard(t *testing.T) {
	e := newEstateTLS(t)
	a, c := newApp(t, "app-a", "a", own(1, 5)), newApp(t, "app-c", "a", own(1, 5))
	other, peer := lender(t, e, "b")
	other.feed.put(t, input(900, "a", own(1, 5), a))
	w := deaf(t, e, nil, peer)
	w.until("the peer's table is in force", func() bool { return w.asks("b", "newer") == 1 })
	if got := w.keyed("k1"); got.body != "app-a did pay" {
		t.Fatal(got)
	}
	w.feed.put(t, with(input(12, "a", own(1, 5), c), func(in *route.Input) { in.Owners[0].Revision = 900 }))
	if got := w.keyed("k2"); got.body != "app-c did pay" {
		t.Fatal(got)
	}
}

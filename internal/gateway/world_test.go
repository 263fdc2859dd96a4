package gateway

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perdure/internal/estate"
	"perdure/internal/route"
	"perdure/internal/unit"
)

// app is a small real application: it executes each key once and says so, in the ownership it believes in.
type app struct {
	t    *testing.T
	id   string
	site estate.SiteID
	srv  *httptest.Server

	sick      atomic.Bool // its health check fails
	mu        sync.Mutex
	ownership estate.Ownership
	seen      []string       // "METHOD path key" of every request that arrived
	executed  map[string]int // by key
	arrived   chan *http.Request
	// before, where set, is called for every request before it is executed; answer, where set, replaces the ordinary one.
	before func(r *http.Request)
	answer func(w http.ResponseWriter, r *http.Request)
}

func newApp(t *testing.T, id string, site estate.SiteID, o estate.Ownership) *app {
	a := &app{t: t, id: id, site: site, ownership: o, executed: map[string]int{}, arrived: make(chan *http.Request, 1000)}
	a.srv = httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.srv.Close)
	return a
}

func (a *app) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/healthz" {
		if a.sick.Load() {
			w.WriteHeader(503)
		}
		return
	}
	key := r.Header.Get("Idempotency-Key")
	a.mu.Lock()
	a.seen = append(a.seen, r.Method+" "+r.RequestURI+" "+key)
	before, answer := a.before, a.answer
	a.mu.Unlock()
	a.arrived <- r
	body, _ := io.ReadAll(r.Body)
	if before != nil {
		before(r)
	}
	if answer != nil {
		answer(w, r)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	outcome := "committed"
	if key != "" {
		if a.executed[key] > 0 {
			outcome = "replayed"
		} else {
			a.executed[key]++
		}
	}
	w.Header().Set("Perdure-Ownership", a.ownership.String())
	if r.Method == "POST" {
		w.Header().Set("Perdure-Outcome", outcome)
		w.Header().Set("Perdure-Receipt", `{"seq":`+fmt.Sprint(len(a.executed))+`,"amount":"12.50","accounts":["a1","a2"]}`)
	}
	fmt.Fprintf(w, "%s did %s", a.id, body)
}

func (a *app) set(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

func (a *app) requests() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.seen...)
}

func (a *app) instance() route.Instance {
	return route.Instance{ID: a.id, System: "bank", Site: a.site, Address: a.srv.URL}
}

func own(counter, epoch uint64) estate.Ownership {
	return estate.Ownership{Incarnation: estate.Incarnation{Counter: counter, ID: "x"}, Epoch: estate.Epoch(epoch)}
}

// input routes the one unit of the one system to a site.
func input(version int64, site estate.SiteID, o estate.Ownership, apps ...*app) route.Input {
	in := route.Input{
		Version: version,
		Systems: []route.System{{
			ID: "bank", Keys: []route.KeySource{{From: route.FromHeader, Name: "X-Account"}},
			Units: []route.Unit{{ID: "u1", Slots: []route.SlotRange{{First: 0, Last: 1023}}}},
		}},
		Owners: []route.Owner{{Group: "g1", System: "bank", Units: []estate.UnitID{"u1"}, Ownership: o, State: unit.Open, Site: site, Revision: version}},
	}
	for _, a := range apps {
		in.Instances = append(in.Instances, a.instance())
	}
	return in
}

func with(in route.Input, change func(*route.Input)) route.Input {
	change(&in)
	return in
}

func state(s unit.State, phase unit.Phase) func(*route.Input) {
	return func(in *route.Input) { in.Owners[0].State, in.Owners[0].Phase = s, phase }
}

// feed is a source driven by the test. It is heard all the time, unless it is mute.
type feed struct {
	inputs chan route.Input
	acks   chan int64
	mute   atomic.Bool
}

func newFeed() *feed {
	return &feed{inputs: make(chan route.Input, 100), acks: make(chan int64, 100)}
}

func (f *feed) Watch(ctx context.Context, deliver func(route.Input), heard func()) error {
	beat := time.NewTicker(10 * time.Millisecond)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-beat.C:
			if !f.mute.Load() {
				heard()
			}
		case in, ok := <-f.inputs:
			if !ok {
				f.inputs = nil
				return io.ErrUnexpectedEOF
			}
			deliver(in)
		}
	}
}

func (f *feed) Ack(_ context.Context, version int64) error {
	f.acks <- version
	return nil
}

// put gives the gateway an input and waits until it routes by it.
func (f *feed) put(t testing.TB, in route.Input) {
	t.Helper()
	f.inputs <- in
	deadline := time.After(patience)
	for {
		select {
		case v := <-f.acks:
			if v == in.Version {
				return
			}
		case <-deadline:
			t.Fatalf("version %d was never acknowledged", in.Version)
		}
	}
}

// world is a running gateway with its feed.
type world struct {
	testing.TB
	g    *Gateway
	feed *feed
	stop func()
	log  *bytes.Buffer
}

func start(t testing.TB, change func(*Options)) *world {
	t.Helper()
	w := &world{TB: t, feed: newFeed(), log: &bytes.Buffer{}}
	o := Options{
		Name: "a", Site: "a", Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", AdminOpen: true, Data: t.TempDir(), Source: w.feed,
		HealthEvery: 50 * time.Millisecond, Drain: 5 * time.Second, Ledger: LedgerOptions{Every: 10 * time.Millisecond},
	}
	if change != nil {
		change(&o)
	}
	g, err := New(o, slog.New(slog.NewTextHandler(&lockedWriter{w: w.log}, nil)))
	if err != nil {
		t.Fatal(err)
	}
	w.g = g
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if t.Failed() {
			t.Log(w.log.String())
		}
	})
	t.Cleanup(w.stop)
	return w
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   string
	err    error
}

func (a answer) String() string {
	return fmt.Sprintf("%d %s held=%s replays=%s %v", a.status, a.body, a.header.Get("Perdure-Held-Ms"), a.header.Get("Perdure-Replays"), a.err)
}

var testClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}

// do sends a request with headers given as "Name: value".
func (w *world) do(method, path, body string, headers ...string) answer {
	r, err := http.NewRequest(method, "http://"+w.g.Addr()+path, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	resp, err := testClient.Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(b), err}
}

// keyed posts a transfer under a key.
func (w *world) keyed(key string, headers ...string) answer {
	return w.do("POST", "/transfer", "pay", append([]string{"X-Account: acc-1", "Idempotency-Key: " + key}, headers...)...)
}

// begin runs f beside the test and gives its answer later.
func begin(f func() answer) <-chan answer {
	c := make(chan answer, 1)
	go func() { c <- f() }()
	return c
}

// until waits for a condition.
func (w *world) until(what string, condition func() bool) {
	w.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			w.Fatalf("never came about: %s", what)
		}
	}
}

func (w *world) held() int64 {
	var n int64
	for _, s := range w.g.view.Load().systems {
		n += s.gate.held.Load()
	}
	return n
}

// raw sends bytes as they are and gives the status of the first answer, 0 where the connection ended without one.
func (w *world) raw(text string) (int, string) {
	w.Helper()
	c, err := net.Dial("tcp", w.g.Addr())
	if err != nil {
		w.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(c, text)
	_ = c.(*net.TCPConn).CloseWrite()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

func jsonInt(n int64) string { return fmt.Sprint(n) }

// patience bounds every wait of a test that would otherwise hang where the gateway is wrong.
const patience = 20 * time.Second

// arrival waits for the next request at the application.
func (w *world) arrival(a *app) *http.Request {
	w.Helper()
	select {
	case r := <-a.arrived:
		return r
	case <-time.After(patience):
		w.Fatalf("no request arrived at %s", a.id)
		return nil
	}
}

// answered waits for the answer of a request that was begun.
func (w *world) answered(c <-chan answer) answer {
	w.Helper()
	select {
	case a := <-c:
		return a
	case <-time.After(patience):
		w.Fatal("the request was never answered")
		return answer{}
	}
}

package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"perdure/internal/route"
	"perdure/internal/unit"
)

// deadSource is a control plane that nobody can reach.
type deadSource struct{}

func (deadSource) Watch(context.Context, func(route.Input), func()) error {
	return errors.New("no node answers")
}
func (deadSource) Ack(context.Context, int64) error { return errors.New("no node answers") }

func TestGatewayForwardsWithTheControlPlaneDead(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	data := t.TempDir()
	w := start(t, func(o *Options) { o.Data = data })
	w.feed.put(t, input(7, "a", own(1, 5), a))
	close(w.feed.inputs) // the watch breaks, and breaks again whenever it is tried
	if got := w.keyed("k1"); got.status != 200 {
		t.Fatal(got)
	}
	w.until("the table is on disk", func() bool { return w.g.saved.Load() == 7 })
	w.stop()
	// Also after its own restart.
	again := start(t, func(o *Options) { o.Data, o.Source = data, deadSource{} })
	if again.g.Version() != 7 {
		t.Fatalf("version %d after the restart, want 7", again.g.Version())
	}
	if got := again.keyed("k2"); got.status != 200 || got.body != "app-a did pay" {
		t.Fatal(got)
	}
}

func TestTableNeverGoesDownOverARestart(t *testing.T) {
	a, b := newApp(t, "app-a", "a", own(1, 5)), newApp(t, "app-b", "b", own(1, 6))
	data := t.TempDir()
	w := start(t, func(o *Options) { o.Data = data })
	w.feed.put(t, input(7, "b", own(1, 6), a, b))
	w.until("the table is on disk", func() bool { return w.g.saved.Load() == 7 })
	w.stop()
	again := start(t, func(o *Options) { o.Data = data })
	again.feed.put(t, input(8, "a", own(1, 5), a, b))
	if got := again.keyed("k1"); got.body != "app-b did pay" {
		t.Fatal(got)
	}
}

func TestTableIsOnDiskAfterAStopAtAnyMoment(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	data := t.TempDir()
	w := start(t, func(o *Options) { o.Data = data })
	for v := int64(1); v <= 20; v++ {
		w.feed.put(t, input(v, "a", own(1, uint64(v)), a))
	}
	w.stop()
	half := filepath.Join(data, ".table-half")
	if err := os.WriteFile(half, []byte("{"), 0o600); err != nil { // of an earlier run that was killed
		t.Fatal(err)
	}
	again := start(t, func(o *Options) { o.Data, o.Source = data, nil })
	if again.g.Version() != 20 {
		t.Fatalf("version %d after the restart, want 20", again.g.Version())
	}
	left, err := filepath.Glob(filepath.Join(data, ".table-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func TestTableThatRoutesLikeTheOneOnDiskIsNotWrittenAgain(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	w := start(t, nil)
	for v := int64(1); v <= 20; v++ {
		w.feed.put(t, input(v, "a", own(1, 5), a)) // registrations are renewed, nothing else happens
	}
	w.until("a table is on disk", func() bool { return w.g.saved.Load() > 0 }) // the writer takes the newest there is when its turn comes
	w.feed.put(t, input(21, "a", own(1, 6), a))
	w.until("the change is on disk", func() bool { return w.g.saved.Load() == 21 })
	if _, text := get(t, "http://"+w.g.AdminAddr()+"/metrics", nil); !strings.Contains(text, "perdure_gateway_table_saves_total 2\n") {
		t.Error("the table was not written twice")
	}
}

func TestDamagedTableOnDiskIsPutAside(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	data := t.TempDir()
	in := input(3, "a", own(1, 5), a)
	file := filepath.Join(data, "table.json")
	if err := writeTable(file, in); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), `"site":"a"`, `"site":"b"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	w := start(t, func(o *Options) { o.Data = data })
	if w.g.Version() != 0 {
		t.Error("an altered table was loaded")
	}
	if _, err := os.Stat(file + ".bad"); err != nil {
		t.Error(err)
	}
	w.feed.put(t, in)
	if got := w.keyed("k1"); got.status != 200 {
		t.Fatal(got)
	}
}

func TestBrokenDefinitionDoesNotKeepAChangeOfOwnerFromBeingRouted(t *testing.T) {
	a, b := newApp(t, "app-a", "a", own(1, 5)), newApp(t, "app-b", "b", own(1, 6))
	w := start(t, nil)
	w.feed.put(t, input(1, "a", own(1, 5), a, b))
	next := input(2, "b", own(1, 6), a, b)
	next.Systems[0].Keys = nil // cannot be compiled
	w.feed.put(t, next)
	if got := w.keyed("k1"); got.body != "app-b did pay" {
		t.Fatal(got)
	}
}

func TestSickInstanceIsAvoidedUntilItIsWell(t *testing.T) {
	good, bad := newApp(t, "app-1", "a", own(1, 5)), newApp(t, "app-2", "a", own(1, 5))
	w := start(t, nil)
	w.feed.put(t, input(1, "a", own(1, 5), good, bad))
	addr := bad.srv.Listener.Addr().String()
	bad.srv.CloseClientConnections()
	bad.srv.Close()
	for range 20 {
		if got := w.keyed("k"); got.status != 200 {
			t.Fatal(got)
		}
	}
	w.until("the dead instance is set aside", func() bool { return len(w.g.view.Load().systems[0].units[0].healthy) == 1 })
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skipf("the port was taken by somebody else meanwhile: %v", err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(bad.serve)}
	go func() { _ = srv.Serve(ln) }()
	defer srv.Close()
	w.until("it is used again", func() bool { return len(w.g.view.Load().systems[0].units[0].healthy) == 2 })
}

func TestHealthIsAskedAsTheSystemSays(t *testing.T) {
	a, b := newApp(t, "app-1", "a", own(1, 5)), newApp(t, "app-2", "a", own(1, 5))
	var asked atomic.Int64
	b.set(func() {
		b.answer = func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/ready" {
				asked.Add(1)
				w.WriteHeader(503)
				return
			}
			w.Header().Set("Perdure-Ownership", own(1, 5).String())
		}
	})
	w := start(t, func(o *Options) { o.HealthEvery = time.Hour })
	in := input(1, "a", own(1, 5), a, b)
	in.Systems[0].Health = route.Health{Path: "/ready", Every: 20 * time.Millisecond, Timeout: patience, Failures: 5}
	w.feed.put(t, in)
	w.until("the one that is not ready is set aside", func() bool { return len(w.g.view.Load().systems[0].units[0].healthy) == 1 })
	if n := asked.Load(); n < 5 {
		t.Errorf("down after %d questions, the system says 5", n)
	}
	if got := w.g.view.Load().systems[0].units[0].healthy[0].ID; got != "app-1" {
		t.Errorf("%s is used", got)
	}
}

func TestInstanceThatOnlyFailsIsEjectedThoughItsHealthCheckPasses(t *testing.T) {
	good, bad := newApp(t, "app-1", "a", own(1, 5)), newApp(t, "app-2", "a", own(1, 5))
	bad.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }
	w := start(t, nil)
	w.feed.put(t, input(1, "a", own(1, 5), good, bad))
	for range 40 {
		if got := w.keyed("k"); got.status != 200 || !strings.HasPrefix(got.body, "app-1") {
			t.Fatal(got)
		}
	}
	if n := len(bad.requests()); n > 2*failuresToEject {
		t.Errorf("the failing instance got %d requests", n)
	}
}

func TestHeldRequestGoesOnAsSoonAsAnInstanceComesBack(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	w := start(t, nil)
	w.feed.put(t, input(1, "a", own(1, 5))) // no instance at all
	got := begin(func() answer { return w.keyed("k1") })
	w.until("the request is held", func() bool { return w.held() == 1 })
	w.feed.put(t, input(2, "a", own(1, 5), a))
	if x := w.answered(got); x.status != 200 || x.header.Get("Perdure-Replays") != "" {
		t.Fatal(x)
	}
}

func TestUnkeyedWriteDoesNotMeetAConnectionClosedWhileIdle(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	w := start(t, nil)
	w.feed.put(t, input(1, "a", own(1, 5), a))
	for range 5 {
		if got := w.do("POST", "/transfer", "pay", "X-Account: acc-1"); got.status != 200 {
			t.Fatal(got)
		}
		a.srv.CloseClientConnections()
	}
}

func TestStillRunningIsAskedAgainWhenTheFirstAttemptWasOurs(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	w := start(t, nil)
	w.feed.put(t, input(1, "a", own(1, 5), a))
	var n int
	a.set(func() {
		a.answer = func(rw http.ResponseWriter, r *http.Request) {
			n++
			switch n {
			case 1:
				panic(http.ErrAbortHandler)
			case 2, 3:
				rw.Header().Set("Perdure-Ownership", "1.x.5")
				rw.Header().Set("Perdure-Outcome", "running")
				rw.WriteHeader(409)
			default:
				rw.Header().Set("Perdure-Ownership", "1.x.5")
				rw.Header().Set("Perdure-Outcome", "replayed")
			}
		}
	})
	if got := w.keyed("k1"); got.status != 200 || got.header.Get("Perdure-Outcome") != "replayed" {
		t.Fatal(got)
	}
	// To the client's own second request "still running" is an answer.
	a.set(func() { n = 1 })
	if got := w.keyed("k1"); got.status != 409 {
		t.Fatal(got)
	}
}

func TestShutdownFinishesWhatIsInFlight(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	w := start(t, nil)
	w.feed.put(t, input(1, "a", own(1, 5), a))
	wait := make(chan struct{})
	a.set(func() { a.before = func(*http.Request) { <-wait } })
	got := begin(func() answer { return w.keyed("k1") })
	w.arrival(a)
	stopped := make(chan struct{})
	go func() {
		w.stop()
		close(stopped)
	}()
	w.until("the gateway drains", func() bool { return w.g.draining.Load() })
	w.until("it takes no new connections", func() bool {
		c, err := net.Dial("tcp", w.g.Addr())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	close(wait)
	if x := w.answered(got); x.status != 200 {
		t.Fatal(x)
	}
	<-stopped
}

func TestShutdownGivesUpHeldRequestsAtTheEndOfTheDrain(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	w := start(t, func(o *Options) { o.Drain = 50 * time.Millisecond })
	in := with(input(1, "a", own(1, 5), a), state(unit.Promoting, unit.Promotion))
	in.Systems[0].Hold.Time = time.Hour
	w.feed.put(t, in)
	got := begin(func() answer { return w.keyed("k1") })
	w.until("the request is held", func() bool { return w.held() == 1 })
	w.stop()
	if x := w.answered(got); x.status != 503 && x.err == nil {
		t.Fatal(x)
	}
}

// Requests go on over many changes of owner; a bank behind two applications executes every key once, whoever asks.
func TestNoKeyedRequestFailsOverManyFlips(t *testing.T) {
	a, b := newApp(t, "app-a", "a", own(1, 1)), newApp(t, "app-b", "b", own(1, 1))
	b.executed = a.executed
	sites := map[bool]*app{true: a, false: b}
	for _, x := range sites {
		x.answer = bank(a, x)
	}
	w := start(t, nil)
	w.feed.put(t, input(1, "a", own(1, 1), a, b))
	const lanes = 16
	done := make(chan map[string]answer, lanes)
	stop := make(chan struct{})
	for lane := range lanes {
		go func() {
			results := map[string]answer{}
			for n := 0; ; n++ {
				select {
				case <-stop:
					done <- results
					return
				default:
				}
				key := jsonInt(int64(lane)) + "-" + jsonInt(int64(n))
				results[key] = w.keyed(key)
			}
		}()
	}
	for v := int64(2); v <= 60; v += 3 {
		before, after := sites[v%2 == 0], sites[v%2 != 0]
		closed := with(input(v, before.site, own(1, uint64(v)), a, b), state(unit.Promoting, unit.Promotion))
		w.feed.put(t, closed)
		a.set(func() { a.ownership = own(1, uint64(v+1)) }) // the database's word, in force for both applications
		w.feed.put(t, with(input(v+1, after.site, own(1, uint64(v+1)), a, b), state(unit.Promoting, unit.Promotion)))
		w.feed.put(t, input(v+2, after.site, own(1, uint64(v+1)), a, b))
	}
	close(stop)
	total := 0
	for range lanes {
		for key, got := range <-done {
			total++
			if got.status != 200 {
				t.Errorf("%s: %v", key, got)
			}
		}
	}
	a.set(func() {
		for key, n := range a.executed {
			if n != 1 {
				t.Errorf("%s was executed %d times", key, n)
			}
		}
		if total != len(a.executed) {
			t.Errorf("%d answered, %d executed", total, len(a.executed))
		}
	})
}

// bank executes each key once over both applications; an answer carries the ownership that was in force when it was made.
func bank(db, self *app) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		db.mu.Lock()
		o := db.ownership
		if r.Header.Get("Perdure-Ownership") != o.String() {
			db.mu.Unlock()
			w.Header().Set("Perdure-Outcome", "not-owner")
			w.WriteHeader(503)
			return
		}
		key := r.Header.Get("Idempotency-Key")
		if db.executed[key] == 0 {
			db.executed[key]++
		}
		db.mu.Unlock()
		w.Header().Set("Perdure-Ownership", o.String())
		w.Header().Set("Perdure-Outcome", "committed")
	}
}

func TestHeldRequestOfASystemThatLeavesIsAnswered(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	w := start(t, nil)
	w.feed.put(t, with(input(1, "a", own(1, 5), a), state(unit.Promoting, unit.Promotion)))
	got := begin(func() answer { return w.keyed("k1") })
	w.until("the request is held", func() bool { return w.held() == 1 })
	w.feed.put(t, route.Input{Version: 2})
	if x := w.answered(got); x.status != 503 || !strings.Contains(x.body, "no-system") {
		t.Fatal(x)
	}
	if got := w.keyed("k2"); got.status != 404 {
		t.Fatal(got)
	}
}

func TestAnswerLargerThanTheGatewayTakesIsAskedForOnce(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	a.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Perdure-Ownership", "1.x.5")
		_, _ = w.Write(make([]byte, 2000))
	}
	w := start(t, func(o *Options) { o.MaxAnswer = 1000 })
	w.feed.put(t, input(1, "a", own(1, 5), a))
	if got := w.keyed("k1"); got.status != 502 || !strings.Contains(got.body, "answer-too-large") || len(a.requests()) != 1 {
		t.Fatal(got, a.requests())
	}
	a.set(func() {
		a.answer = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 2*readBuffer))
		}
	})
	if got := w.keyed("k2"); got.status != 502 || !strings.Contains(got.body, "answer-too-large") || len(a.requests()) != 2 {
		t.Fatal(got, a.requests())
	}
}

func TestHangingInstanceIsLeftWhereAnotherOneIsWell(t *testing.T) {
	good, bad := newApp(t, "app-1", "a", own(1, 5)), newApp(t, "app-2", "a", own(1, 5))
	w := start(t, nil)
	in := input(1, "a", own(1, 5), bad)
	in.Systems[0].AttemptTimeout, in.Systems[0].Hold.Time = time.Hour, time.Hour
	w.feed.put(t, in)
	frozen := make(chan struct{})
	t.Cleanup(func() { close(frozen) })
	bad.set(func() { bad.before = func(*http.Request) { <-frozen } })
	got := begin(func() answer { return w.keyed("k1") })
	w.arrival(bad)
	both := input(2, "a", own(1, 5), good, bad)
	both.Systems[0].AttemptTimeout, both.Systems[0].Hold.Time = time.Hour, time.Hour
	w.feed.put(t, both)
	bad.sick.Store(true) // its health check fails from now on
	if x := w.answered(got); x.status != 200 || x.body != "app-1 did pay" {
		t.Fatal(x)
	}
}

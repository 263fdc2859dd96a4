package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"perdure/internal/route"
	"perdure/internal/unit"
)

func TestRequestReachesTheOwnerWithTheContractsHeaders(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	w := start(t, nil)
	w.feed.put(t, input(1, "a", own(1, 5), a))
	got := w.keyed("k1", "Perdure-Ownership: 9.x.9", "Perdure-Unit: evil", "perdure_slot: 1", "Perdure-Caller: teller")
	if got.status != 200 || got.body != "app-a did pay" {
		t.Fatal(got)
	}
	r := w.arrival(a)
	slot, _ := w.g.view.Load().systems[0].Lookup([]byte("acc-1"))
	for name, want := range map[string]string{
		"Perdure-Ownership": "1.x.5", "Perdure-Unit": "u1", "Perdure-Routing-Key": "acc-1", "Perdure-Caller": "teller",
		"Idempotency-Key": "k1", "Perdure-Slot": strings.TrimSpace(jsonInt(int64(slot))),
	} {
		if got := r.Header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if r.Header.Get("perdure_slot") != "" || len(r.Header["Perdure_slot"]) > 0 {
		t.Error("a client's internal header reached the application")
	}
	if got.header.Get("Perdure-Receipt") != "" || got.header.Get("Perdure-Ownership") != "1.x.5" || got.header.Get("Perdure-Outcome") != "committed" {
		t.Errorf("headers to the client: %v", got.header)
	}
	if got.header.Get("Perdure-Held-Ms") != "" || got.header.Get("Perdure-Replays") != "" {
		t.Errorf("a request that was neither held nor replayed says so: %v", got.header)
	}
}

func TestKeyStandsInTheHeaderThatTheSystemNames(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	w := start(t, nil)
	in := input(1, "a", own(1, 5), a)
	in.Systems[0].KeyHeader, in.Systems[0].RequireKey = "X-Request-Id", true
	w.feed.put(t, in)

	if got := w.do("POST", "/transfer", "pay", "X-Account: acc-1", "Idempotency-Key: k1"); got.status != 400 || !strings.Contains(got.body, "X-Request-Id") {
		t.Fatalf("a write without the system's own header: %v", got)
	}
	if got := w.do("POST", "/transfer", "pay", "X-Account: acc-1", "X-Request-Id: k1", "x_request_id: k2"); got.status != 400 {
		t.Fatalf("two keys: %v", got)
	}
	got := w.do("POST", "/transfer", "pay", "X-Account: acc-1", "x_request_id:  k1", "Idempotency-Key: another")
	if got.status != 200 {
		t.Fatal(got)
	}
	r := w.arrival(a)
	for _, name := range []string{"X-Request-Id", "Idempotency-Key"} {
		if v := r.Header.Values(name); len(v) != 1 || v[0] != "k1" {
			t.Errorf("%s = %q, want k1 alone", name, v)
		}
	}

	// It is a key in every respect: what was lost on the way is sent again with it.
	var first atomic.Bool
	first.Store(true)
	a.set(func() {
		a.before = func(*http.Request) {
			if first.Swap(false) {
				panic(http.ErrAbortHandler)
			}
		}
	})
	if got := w.do("POST", "/transfer", "pay", "X-Account: acc-1", "X-Request-Id: k3"); got.status != 200 || got.header.Get("Perdure-Replays") != "1" {
		t.Fatal(got)
	}
}

// Seeded bug 28.
func TestGatewayDropsAnswerOfAnOlderOwnership(t *testing.T) {
	old := newApp(t, "app-a", "a", own(1, 5))
	next := newApp(t, "app-b", "b", own(1, 6))
	w := start(t, nil)
	// The table knows ownership 6, but its owner's site still answers in 5: a frozen old owner that woke up.
	w.feed.put(t, input(1, "a", own(1, 6), old))
	got := begin(func() answer { return w.keyed("k1") })
	w.arrival(old)
	w.arrival(old) // the answer was dropped and the request sent again
	w.feed.put(t, input(2, "b", own(1, 7), next, old))
	next.set(func() { next.ownership = own(1, 7) })
	if a := w.answered(got); a.status != 200 || !strings.HasPrefix(a.body, "app-b") || a.header.Get("Perdure-Ownership") != "1.x.7" {
		t.Fatal(a)
	}
	if read := w.do("POST", "/transfer", "x", "X-Account: acc-1"); read.status != 200 {
		t.Fatal(read)
	}
}

func TestAnswerOfAnOlderOwnershipToAnUnkeyedWriteIsUnknown(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 4))
	w := start(t, nil)
	w.feed.put(t, input(1, "a", own(1, 5), a))
	got := w.do("POST", "/transfer", "x", "X-Account: acc-1")
	if got.status != 502 || got.header.Get("Perdure-Outcome") != "unknown" || !strings.Contains(got.body, "unknown-outcome") {
		t.Fatal(got)
	}
}

func TestAnswerWithoutOwnershipDoesNotCount(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	a.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) }
	w := start(t, nil)
	w.feed.put(t, input(1, "a", own(1, 5), a))
	if got := w.keyed("k1"); got.status != 502 || !strings.Contains(got.body, "unstamped-answer") {
		t.Fatal(got)
	}
}

func TestKeyedRequestIsReplayedAfterTheFlip(t *testing.T) {
	old := newApp(t, "app-a", "a", own(1, 5))
	next := newApp(t, "app-b", "b", own(1, 6))
	w := start(t, nil)
	w.feed.put(t, input(1, "a", own(1, 5), old, next))
	old.set(func() {
		old.answer = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Perdure-Outcome", "unknown")
			w.WriteHeader(503)
		}
	})
	got := begin(func() answer { return w.keyed("k1") })
	w.arrival(old)
	w.feed.put(t, input(2, "b", own(1, 6), old, next))
	a := w.answered(got)
	if a.status != 200 || a.body != "app-b did pay" || a.header.Get("Perdure-Replays") == "" {
		t.Fatal(a)
	}
}

func TestReadIsReplayedAfterTheFlip(t *testing.T) {
	old := newApp(t, "app-a", "a", own(1, 5))
	next := newApp(t, "app-b", "b", own(1, 6))
	w := start(t, nil)
	w.feed.put(t, input(1, "a", own(1, 5), old, next))
	old.srv.CloseClientConnections()
	old.set(func() { old.before = func(*http.Request) { old.srv.CloseClientConnections() } })
	got := begin(func() answer { return w.do("GET", "/balance?x=1", "", "X-Account: acc-1") })
	w.arrival(old)
	w.feed.put(t, input(2, "b", own(1, 6), old, next))
	if a := w.answered(got); a.status != 200 || !strings.HasPrefix(a.body, "app-b") {
		t.Fatal(a)
	}
	if seen := next.requests(); seen[0] != "GET /balance?x=1 " {
		t.Errorf("the target was changed on the way: %q", seen)
	}
}

func TestUnkeyedRequestIsNotReplayed(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	a.answer = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	w := start(t, nil)
	w.feed.put(t, input(1, "a", own(1, 5), a))
	got := w.do("POST", "/transfer", "pay", "X-Account: acc-1")
	if got.status != 502 || !strings.Contains(got.body, "unknown-outcome") {
		t.Fatal(got)
	}
	if seen := a.requests(); len(seen) != 1 {
		t.Errorf("an unkeyed write was sent %d times", len(seen))
	}
}

func TestUnkeyedRequestIsHeldBeforeItIsSent(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 6))
	w := start(t, nil)
	w.feed.put(t, with(input(1, "a", own(1, 6), a), state(unit.Promoting, unit.Promotion)))
	got := begin(func() answer { return w.do("POST", "/transfer", "pay", "X-Account: acc-1") })
	w.until("the request is held", func() bool { return w.held() == 1 })
	w.feed.put(t, input(2, "a", own(1, 6), a))
	if a := w.answered(got); a.status != 200 || a.header.Get("Perdure-Held-Ms") == "" || a.header.Get("Perdure-Replays") != "" {
		t.Fatal(a)
	}
	w.until("the hold is empty", func() bool { return w.held() == 0 })
}

func TestNotOwnerMeansRouteAgainAndHoldForUnkeyedRequestsToo(t *testing.T) {
	old := newApp(t, "app-a", "a", own(1, 5))
	next := newApp(t, "app-b", "b", own(1, 6))
	w := start(t, nil)
	w.feed.put(t, input(1, "a", own(1, 5), old, next))
	old.set(func() {
		old.answer = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Perdure-Outcome", "not-owner")
			w.WriteHeader(503)
		}
	})
	got := begin(func() answer { return w.do("POST", "/transfer", "pay", "X-Account: acc-1") })
	w.arrival(old)
	w.feed.put(t, input(2, "b", own(1, 6), old, next))
	if a := w.answered(got); a.status != 200 || a.body != "app-b did pay" {
		t.Fatal(a)
	}
}

// turnsAway makes the application say that it is not the owner, and tells who asked it.
func (a *app) turnsAway() (asked chan string) {
	asked = make(chan string, 10_000)
	a.set(func() {
		a.answer = func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Perdure-Outcome", "not-owner")
			w.WriteHeader(503)
			asked <- r.Header.Get("Idempotency-Key")
		}
	})
	return asked
}

// crowd sends 20 requests that are all held.
func (w *world) crowd() (under []<-chan answer) {
	w.Helper()
	for i := range 20 {
		under = append(under, begin(func() answer { return w.keyed(fmt.Sprint("k", i)) }))
	}
	w.until("all are held", func() bool { return w.held() == int64(len(under)) })
	return under
}

// served lets the application carry out what the crowd asked for.
func (w *world) served(a *app, under []<-chan answer) {
	w.Helper()
	a.set(func() { a.answer = nil })
	for _, got := range under {
		if got := w.answered(got); got.status != 200 {
			w.Error(got)
		}
	}
	w.until("the hold is empty", func() bool { return w.held() == 0 })
}

func TestOneRequestAsksForAllThatTheOwnerTurnedAway(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	w := start(t, nil)
	w.feed.put(t, input(1, "a", own(1, 5), a))
	if got := w.keyed("before"); got.status != 200 { // the ownership has served; it is closed now
		t.Fatal(got)
	}
	asked := a.turnsAway()
	under := w.crowd()
	for len(asked) > 0 {
		<-asked
	}
	times, most := map[string]int{}, 0
	for range 10 {
		key := <-asked
		times[key]++
		most = max(most, times[key])
	}
	if most < 5 {
		t.Errorf("of ten attempts none came from a scout: %v", times)
	}
	w.served(a, under)
}

func TestANewOwnershipIsTriedByOneRequestFirst(t *testing.T) {
	next := newApp(t, "app-b", "b", own(1, 6))
	asked := next.turnsAway()
	w := start(t, nil)
	w.feed.put(t, with(input(1, "b", own(1, 6), next), state(unit.Promoting, unit.Promotion)))
	under := w.crowd()
	w.feed.put(t, input(2, "b", own(1, 6), next))
	if first, second, third := <-asked, <-asked, <-asked; first != second || second != third {
		t.Errorf("the new owner was asked by %s, %s and %s", first, second, third)
	}
	w.served(next, under)
}

// Seeded bug 31.
func TestHoldEndsByItself(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	w := start(t, nil)
	in := with(input(1, "a", own(1, 5), a), state(unit.Open, unit.Closing))
	in.Systems[0].Hold.Time = 300 * time.Millisecond
	w.feed.put(t, in) // and nobody ever releases it
	got := w.answered(begin(func() answer { return w.keyed("k1") }))
	if got.status != 503 || got.header.Get("Retry-After") == "" || !strings.Contains(got.body, "held-too-long") || got.header.Get("Perdure-Outcome") != "not-owner" {
		t.Fatal(got)
	}
	if len(a.requests()) != 0 || w.held() != 0 {
		t.Error("a held request was sent, or still counts as held")
	}
}

func TestBoundedHoldShedsWhatIsTooMuch(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	w := start(t, nil)
	in := with(input(1, "a", own(1, 5), a), state(unit.Promoting, unit.Promotion))
	in.Systems[0].Hold.Count = 2
	w.feed.put(t, in)
	first := begin(func() answer { return w.keyed("k1") })
	second := begin(func() answer { return w.keyed("k2") })
	w.until("two are held", func() bool { return w.held() == 2 })
	if got := w.keyed("k3"); got.status != 503 || got.header.Get("Retry-After") == "" || !strings.Contains(got.body, "hold-full") {
		t.Fatal(got)
	}
	w.feed.put(t, with(input(2, "a", own(1, 5), a), func(in *route.Input) { in.Systems[0].Hold.Bytes = 100 }))
	if x, y := w.answered(first), w.answered(second); x.status != 200 || y.status != 200 {
		t.Fatal(x, y)
	}
	closed := with(input(3, "a", own(1, 6), a), state(unit.Promoting, unit.Promotion))
	closed.Systems[0].Hold.Bytes = 100
	w.feed.put(t, closed)
	if got := w.keyed("k4"); got.status != 503 || !strings.Contains(got.body, "hold-full") {
		t.Fatal(got)
	}
}

func TestInFlightRequestsToTheOldOwnerAreAbandonedAtTheFlip(t *testing.T) {
	old := newApp(t, "app-a", "a", own(1, 5))
	next := newApp(t, "app-b", "b", own(1, 6))
	w := start(t, nil)
	in := input(1, "a", own(1, 5), old, next)
	in.Systems[0].AttemptTimeout = time.Hour
	in.Systems[0].Hold.Time = time.Hour
	w.feed.put(t, in)
	frozen := make(chan struct{})
	t.Cleanup(func() { close(frozen) })
	old.set(func() { old.before = func(*http.Request) { <-frozen } })
	keyed := begin(func() answer { return w.keyed("k1") })
	unkeyed := begin(func() answer { return w.do("POST", "/transfer", "pay", "X-Account: acc-1") })
	w.arrival(old)
	w.arrival(old)
	in = input(2, "b", own(1, 6), old, next)
	in.Systems[0].Hold.Time = time.Hour
	w.feed.put(t, in)
	if a := w.answered(keyed); a.status != 200 || a.body != "app-b did pay" || a.header.Get("Perdure-Replays") != "1" {
		t.Fatal(a)
	}
	if a := w.answered(unkeyed); a.status != 502 {
		t.Fatal(a)
	}
}

func TestTableNeverGoesDown(t *testing.T) {
	a, b := newApp(t, "app-a", "a", own(1, 5)), newApp(t, "app-b", "b", own(1, 6))
	w := start(t, nil)
	w.feed.put(t, input(5, "b", own(1, 6), a, b))
	w.feed.put(t, input(9, "a", own(1, 5), a, b)) // a later version with an older ownership
	if got := w.keyed("k1"); got.body != "app-b did pay" {
		t.Fatal(got)
	}
	if seen := a.requests(); len(seen) != 0 {
		t.Errorf("the old owner got %q", seen)
	}
}

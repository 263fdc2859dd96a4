package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/lab/history"
	"perdure/sdk"
)

// bank answers like the reference system and remembers what it was asked.
type bank struct {
	mu      sync.Mutex
	keys    map[string]int      // how often each key was sent
	forms   map[string][]string // how each was written
	answers int
	enough  chan struct{} // closed after `want` answers
	want    int
	fail    func(r *http.Request, times int) bool

	malformed int // keys
}

func newBank(want int) *bank {
	return &bank{keys: map[string]int{}, forms: map[string][]string{}, enough: make(chan struct{}), want: want}
}

func (b *bank) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	header := r.Header.Get("Idempotency-Key")
	key, err := sdk.ParseKey(header)
	b.mu.Lock()
	if err != nil && header != "" {
		b.malformed++
	}
	if forms := b.forms[key]; !slices.Contains(forms, header) {
		b.forms[key] = append(forms, header)
	}
	b.keys[key]++
	times := b.keys[key]
	b.answers++
	if b.answers == b.want {
		close(b.enough)
	}
	fail := b.fail
	b.mu.Unlock()
	w.Header().Set("Perdure-Ownership", "1.x.1")
	if fail != nil && fail(r, times) {
		w.Header().Set("Perdure-Outcome", "unknown")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if r.Method == http.MethodGet {
		_, _ = io.WriteString(w, `{"balance":"10.50"}`)
		return
	}
	var asked struct {
		Amount history.Amount `json:"amount"`
	}
	_ = json.Unmarshal(body, &asked)
	if asked.Amount > history.Cents(1_000_000) {
		w.Header().Set("Perdure-Outcome", "refused")
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	outcome := "committed"
	if times > 1 {
		outcome = "replayed"
	}
	w.Header().Set("Perdure-Outcome", outcome)
	w.Header().Set("Perdure-Held-Ms", "12")
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, `{"key":%q}`, key)
}

func accounts(prefix string) []string {
	return []string{prefix + "1", prefix + "2", prefix + "3"}
}

// generate makes a generator with a new history and gives the function that ends the run and reads it.
func generate(t *testing.T, opt Options) (*Generator, func() []history.Call) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "history.jsonl")
	out, err := history.Create(path, "test", opt.Seed)
	if err != nil {
		t.Fatal(err)
	}
	g, err := New(opt, out, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return g, func() (calls []history.Call) {
		g.Close()
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		for e, err := range history.Read(path) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Call != nil {
				calls = append(calls, *e.Call)
			}
		}
		return calls
	}
}

// runUntil puts the load on until enough is closed, or for a minute.
func runUntil(t *testing.T, g *Generator, enough <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		select {
		case <-enough:
		case <-ctx.Done():
		}
		cancel()
	}()
	if err := g.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestLoadRecordsEveryCallWithItsAnswer(t *testing.T) {
	b := newBank(400)
	server := httptest.NewServer(b)
	defer server.Close()
	g, calls := generate(t, Options{
		Sites: []Site{{ID: "a", Gateways: []string{server.URL}}, {ID: "b", Gateways: []string{server.URL}}},
		Units: []Unit{{ID: "u1", Accounts: accounts("x"), Rate: 400}, {ID: "u2", Accounts: accounts("y"), Rate: 400}},
		Hot:   1, HotShare: 0.5, Overdraft: 0.3, Duplicates: 0.1, Replays: 5, Seed: 3,
	})
	runUntil(t, g, b.enough)
	if left, err := g.Settle(t.Context()); left != 0 || err != nil {
		t.Fatalf("%d left, %v", left, err)
	}
	shot := g.Snapshot()
	got := calls()
	var sent, acknowledged, refused, duplicates, replays uint64
	ops, hot := map[history.Op]int{}, 0
	keys, ids := map[string]bool{}, map[uint64]bool{}
	for _, c := range got {
		sent++
		ops[c.Op]++
		if ids[c.ID] {
			t.Errorf("call %d is recorded twice", c.ID)
		}
		ids[c.ID] = true
		if strings.HasSuffix(c.From, "1") {
			hot++
		}
		if c.Op == history.Balance {
			if c.Value != history.Cents(1050) || c.Key != "" || c.Ownership != "1.x.1" {
				t.Errorf("read %+v", c)
			}
			continue
		}
		if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(c.Key) {
			t.Errorf("key %s is not a UUID of version 7", c.Key)
		}
		switch c.Outcome {
		case history.Acknowledged:
			acknowledged++
			if c.Result == "" || c.Held != 12*time.Millisecond || c.Status != 201 {
				t.Errorf("answer not recorded: %+v", c)
			}
		case history.Refused:
			refused++
		default:
			t.Errorf("outcome %s of %+v", c.Outcome, c)
		}
		switch c.Phase {
		case history.Duplicate, history.Replay:
			if !keys[c.Key] && c.Phase == history.Replay {
				t.Error("a replay comes before its first call")
			}
			if c.Phase == history.Replay {
				replays++
			} else {
				duplicates++
			}
		default:
			if keys[c.Key] && duplicates == 0 {
				t.Error("a key was used for two calls")
			}
			keys[c.Key] = true
		}
		if c.Op == history.Transfer && c.From == c.To {
			t.Error("a transfer to itself")
		}
		if c.Op == history.Cross && c.From[0] == c.To[0] {
			t.Error("a cross-transfer inside one unit")
		}
	}
	if shot.Sent != sent || shot.Acknowledged != acknowledged || shot.Refused != refused || shot.Errors != 0 || shot.InFlight != 0 {
		t.Errorf("counted %+v; recorded %d sent, %d acknowledged, %d refused", shot, sent, acknowledged, refused)
	}
	if len(ops) != 5 || refused == 0 || duplicates == 0 || replays != 5 || hot*2 < len(got) {
		t.Errorf("ops %v, %d refused, %d duplicates, %d replays, %d of %d hot", ops, refused, duplicates, replays, hot, len(got))
	}
	quoted := 0
	for key := range keys {
		if len(b.forms[key]) != 1 {
			t.Errorf("key %s was sent as %q", key, b.forms[key])
		} else if b.forms[key][0] != key {
			quoted++
		}
	}
	if b.malformed > 0 || quoted == 0 || quoted == len(keys) {
		t.Errorf("%d malformed keys, %d of %d quoted", b.malformed, quoted, len(keys))
	}
	if u := shot.Units[1]; u.Unit != "u2" || u.Ownership != "1.x.1" || u.SinceLast < 0 {
		t.Errorf("unit %+v", u)
	}
}

func TestClientGoesToTheNextGatewayWithTheSameKey(t *testing.T) {
	broken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = broken.Close() }()
	go func() { // reads the request and breaks the connection
		for {
			conn, err := broken.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1024))
			_ = conn.Close()
		}
	}()
	b := newBank(50)
	server := httptest.NewServer(b)
	defer server.Close()
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	deadAddress := "http://" + dead.Addr().String()
	_ = dead.Close()
	g, calls := generate(t, Options{
		Sites: []Site{{ID: "a", Gateways: []string{"http://" + broken.Addr().String(), deadAddress, server.URL}}},
		Units: []Unit{{ID: "u1", Accounts: accounts("x"), Rate: 200}}, Mix: Mix{Credit: 1}, Avoid: time.Nanosecond, Replays: -1,
	})
	runUntil(t, g, b.enough)
	reset := 0
	for _, c := range calls() {
		if c.Outcome != history.Acknowledged || c.Erred() {
			t.Fatalf("call %+v", c)
		}
		if len(c.Attempts) != 3 {
			continue // another call had the turn to try the broken gateways
		}
		if c.Attempts[0].Ending == history.Reset && c.Attempts[1].Ending == history.Unreachable && c.Attempts[2].Gateway == server.URL {
			reset++
		}
		if b.keys[c.Key] != 1 {
			t.Errorf("key %s reached the bank %d times", c.Key, b.keys[c.Key])
		}
	}
	if shot := g.Snapshot(); reset == 0 || shot.Reconnects < 2 || shot.Errors != 0 {
		t.Errorf("%d went on after a reset; %+v", reset, shot)
	}
}

func TestAnswerOf5xxIsAnErrorAndTheSameKeyIsSentAgain(t *testing.T) {
	b := newBank(20)
	b.fail = func(r *http.Request, times int) bool { return r.Method == http.MethodPost && times == 1 }
	server := httptest.NewServer(b)
	defer server.Close()
	g, calls := generate(t, Options{
		Sites: []Site{{ID: "a", Gateways: []string{server.URL}}},
		Units: []Unit{{ID: "u1", Accounts: accounts("x"), Rate: 100}}, Replays: -1,
	})
	g.Cut("a", true)
	runUntil(t, g, b.enough)
	writes := uint64(0)
	for _, c := range calls() {
		if c.Op == history.Balance {
			continue
		}
		writes++
		if c.Outcome != history.Acknowledged || !c.Erred() || len(c.Attempts) != 2 || !c.Attempts[0].Unsure() {
			t.Errorf("call %+v", c)
		}
	}
	if shot := g.Snapshot(); shot.Errors != 0 || shot.InsideErrors != writes {
		t.Errorf("clients inside a cut-off site are counted apart: %+v, %d writes", shot, writes)
	}
}

func TestUnresolvedCallsAreSettledAfterTheLoad(t *testing.T) {
	b := newBank(60)
	down := true
	b.fail = func(*http.Request, int) bool { return down }
	server := httptest.NewServer(b)
	defer server.Close()
	g, calls := generate(t, Options{
		Sites: []Site{{ID: "a", Gateways: []string{server.URL}}},
		Units: []Unit{{ID: "u1", Accounts: accounts("x"), Rate: 200}}, Mix: Mix{Credit: 1}, Replays: 3,
	})
	g.clients[0].patience = 50 * time.Millisecond
	runUntil(t, g, b.enough)
	b.mu.Lock()
	down = false
	b.mu.Unlock()
	if left, err := g.Settle(t.Context()); left != 0 || err != nil {
		t.Fatalf("%d left, %v", left, err)
	}
	state := map[string]history.Outcome{}
	for _, c := range calls() {
		if c.Phase == history.Settle && (state[c.Key] != history.Unresolved || c.First == 0) {
			t.Errorf("settled, but it was %q: %+v", state[c.Key], c)
		}
		state[c.Key] = c.Outcome
	}
	for key, outcome := range state {
		if outcome != history.Acknowledged {
			t.Errorf("%s ended %s", key, outcome)
		}
	}
}

func TestLaneThatWaitsNeverHoldsUpAnother(t *testing.T) {
	release := make(chan struct{})
	b := newBank(1 << 30)
	var mu sync.Mutex
	passed, enough := 0, make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), `"x`) {
			<-release
		} else {
			mu.Lock()
			if passed++; passed == 200 {
				close(enough)
			}
			mu.Unlock()
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		b.ServeHTTP(w, r)
	}))
	defer server.Close()
	g, calls := generate(t, Options{
		Sites:   []Site{{ID: "a", Gateways: []string{server.URL}}},
		Units:   []Unit{{ID: "u1", Accounts: accounts("x"), Rate: 300}, {ID: "u2", Accounts: accounts("y"), Rate: 300}},
		Workers: 4, Mix: Mix{Credit: 1}, Replays: -1, AttemptTimeout: time.Minute,
	})
	go func() { <-enough; close(release) }()
	runUntil(t, g, enough)
	if n := g.Snapshot().Units[1].Acknowledged; n < 200 {
		t.Errorf("%d acknowledged", n)
	}
	held := 0
	for _, c := range calls() {
		if c.Unit == "u1" {
			held++
		}
	}
	if held == 0 || g.Snapshot().Skipped == 0 {
		t.Errorf("%d calls of the held lane, %d skipped", held, g.Snapshot().Skipped)
	}
}

func TestSiteUsesItsOwnViewOfNames(t *testing.T) {
	b := newBank(5)
	server := httptest.NewServer(b)
	defer server.Close()
	host, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	g, calls := generate(t, Options{
		Sites: []Site{{ID: "a", Gateways: []string{"http://gateway.a.perdure.internal:" + port}, Hosts: map[string]string{"gateway.a.perdure.internal": host}}},
		Units: []Unit{{ID: "u1", Accounts: accounts("x"), Rate: 100}},
	})
	runUntil(t, g, b.enough)
	for _, c := range calls() {
		if c.Outcome != history.Acknowledged {
			t.Errorf("call %+v", c)
		}
	}
}

func TestWhatIsSentAgainKeepsItsKeyAndItsCaller(t *testing.T) {
	b := newBank(1 << 30)
	var mu sync.Mutex
	callers := map[string]string{} // by key
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, _ := sdk.ParseKey(r.Header.Get("Idempotency-Key"))
		mu.Lock()
		callers[key] = r.Header.Get("Perdure-Caller")
		mu.Unlock()
		b.ServeHTTP(w, r)
	}))
	defer server.Close()
	var requests []history.Call
	for i := range 20 {
		requests = append(requests, history.Call{
			ID: uint64(100 + i), Phase: history.Resend, First: uint64(i), Caller: []string{"load-a", "load-b"}[i%2], Key: fmt.Sprintf("key-%d", i),
			Op: history.Transfer, From: "x1", To: "x2", Amount: history.Cents(5), Unit: "u1",
		})
	}
	site := Site{ID: "c", Gateways: []string{server.URL}}
	clock := history.Follow(history.Instant{Wall: time.Now().UnixNano()})
	sent := map[uint64]history.Call{}
	if err := Resend(t.Context(), site, clock, requests, func(c history.Call) error { sent[c.ID] = c; return nil }); err != nil {
		t.Fatal(err)
	}
	for _, r := range requests {
		c := sent[r.ID]
		if c.Phase != history.Resend || c.First != r.First || c.Key != r.Key || c.Listed != r.Key || c.Site != "c" || c.Outcome != history.Acknowledged || c.Op != r.Op || c.To != r.To {
			t.Errorf("sent again as %+v, first %+v", c, r)
		}
		if callers[r.Key] != r.Caller || b.keys[r.Key] != 1 {
			t.Errorf("%s came %d times, from %q, want %q", r.Key, b.keys[r.Key], callers[r.Key], r.Caller)
		}
	}
}

func TestSendingAgainEndsWithTheFirstCallThatCannotBeKept(t *testing.T) {
	server := httptest.NewServer(newBank(1 << 30))
	defer server.Close()
	requests := make([]history.Call, 200)
	for i := range requests {
		requests[i] = history.Call{ID: uint64(i), Phase: history.Resend, Caller: "load-a", Key: fmt.Sprintf("key-%d", i), Op: history.Credit, From: "x1", Amount: 1, Unit: "u1"}
	}
	kept, full := 0, errs.New(errs.Unavailable, "full")
	err := Resend(t.Context(), Site{ID: "a", Gateways: []string{server.URL}}, history.Follow(history.Instant{Wall: time.Now().UnixNano()}), requests, func(history.Call) error {
		if kept++; kept >= 10 {
			return full
		}
		return nil
	})
	if !errors.Is(err, full) || kept >= 100 {
		t.Errorf("%v after %d calls", err, kept)
	}
}

func TestFailedGatewayIsTriedByOneCallAtATime(t *testing.T) {
	c := &client{avoid: time.Second, gateways: []*gateway{{}, {}}}
	c.gateways[0].until.Store(int64(5 * time.Second))
	for _, step := range []struct {
		at   time.Duration
		want int
	}{{4 * time.Second, 1}, {5 * time.Second, 0}, {5 * time.Second, 1}, {5900 * time.Millisecond, 1}, {6 * time.Second, 0}} {
		if got := c.first(step.at); got != step.want {
			t.Errorf("at %s gateway %d is first, want %d", step.at, got, step.want)
		}
	}
}

func TestLoadRefusesOptionsThatCannotWork(t *testing.T) {
	site := []Site{{ID: "a", Gateways: []string{"http://127.0.0.1:1"}}}
	unit := []Unit{{ID: "u1", Accounts: accounts("x"), Rate: 1}}
	out, err := history.Create(filepath.Join(t.TempDir(), "h"), "test", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	for name, opt := range map[string]Options{
		"no site":      {Units: unit},
		"no unit":      {Sites: site},
		"no gateway":   {Sites: []Site{{ID: "a"}}, Units: unit},
		"one account":  {Sites: site, Units: []Unit{{ID: "u1", Accounts: []string{"x"}, Rate: 1}}},
		"no rate":      {Sites: site, Units: []Unit{{ID: "u1", Accounts: accounts("x")}}},
		"share of two": {Sites: site, Units: unit, HotShare: 2},
		"bad address":  {Sites: []Site{{ID: "a", Gateways: []string{"gateway.a:7500"}}}, Units: unit},
	} {
		if _, err := New(opt, out, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestAccountsAreSplitBySlot(t *testing.T) {
	split := SplitAccounts(1000, 1024, func(s estate.Slot) estate.UnitID {
		if s < 512 {
			return "u1"
		}
		return "u2"
	})
	if n := len(split["u1"]); n < 300 || n+len(split["u2"]) != 1000 {
		t.Errorf("u1 has %d, u2 has %d", n, len(split["u2"]))
	}
	for _, a := range split["u1"] {
		if estate.SlotOf([]byte(a), 1024) >= 512 {
			t.Errorf("%s is not of u1", a)
		}
	}
}

package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"perdure/internal/client"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// stand is a node that answers as told.
func stand(t *testing.T, answer http.HandlerFunc) (url string, asked *atomic.Int64) {
	t.Helper()
	asked = &atomic.Int64{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, asked
}

func ok(body any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(body) }
}

func refuse(status int, kind errs.Kind, detail string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(wire.Problem{Status: status, Kind: string(kind), Detail: detail, Invariant: "I10"})
	}
}

// hang answers nothing until the caller gives up.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // only then is the caller's leaving seen
	<-r.Context().Done()
}

// noLeaks fails the test if it leaves goroutines behind once its servers and clients are closed.
func noLeaks(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}

// nobody is an address that refuses connections.
func nobody(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(nil)
	s.Close()
	return s.URL
}

func dial(t *testing.T, o client.Options) *client.Client {
	t.Helper()
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestNextNodeIsAskedAtOnceAndTheFailedOneLast(t *testing.T) {
	noLeaks(t)
	for what, first := range map[string]func() string{
		"refuses the connection": func() string { return nobody(t) },
		"answers 503":            func() string { u, _ := stand(t, refuse(503, errs.Unavailable, "cold")); return u },
		"hangs":                  func() string { u, _ := stand(t, hang); return u },
	} {
		second, asked := stand(t, ok([]wire.Group{{Revision: 7}}))
		c := dial(t, client.Options{Endpoints: []string{first(), second}, Attempt: 100 * time.Millisecond, Timeout: 30 * time.Second})
		for range 3 {
			groups, err := c.Groups(t.Context(), wire.Fresh)
			if err != nil || len(groups) != 1 || groups[0].Revision != 7 {
				t.Fatalf("first node %s: %v, %v", what, groups, err)
			}
		}
		if asked.Load() != 3 {
			t.Errorf("first node %s: the second was asked %d times", what, asked.Load())
		}
	}
}

func TestNearestNodeIsPreferred(t *testing.T) {
	first, asked := stand(t, ok([]wire.Group{}))
	second, never := stand(t, ok([]wire.Group{}))
	c := dial(t, client.Options{Endpoints: []string{first, second}})
	for range 3 {
		if _, err := c.Groups(t.Context(), wire.Fresh); err != nil {
			t.Fatal(err)
		}
	}
	if asked.Load() != 3 || never.Load() != 0 {
		t.Fatalf("asked %d and %d times", asked.Load(), never.Load())
	}
	at, err := c.At(second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := at.Groups(t.Context(), wire.Fresh); err != nil || never.Load() != 1 {
		t.Fatalf("%v, asked %d times", err, never.Load())
	}
	if _, err := c.At("https://elsewhere:1"); errs.KindOf(err) != errs.NotFound {
		t.Fatal(err)
	}
}

func TestDefiniteAnswersAreNotAskedForElsewhere(t *testing.T) {
	for kind, status := range map[errs.Kind]int{errs.Conflict: 409, errs.Refused: 409, errs.NotFound: 404, errs.Forbidden: 403, errs.Unauthorised: 401, errs.Invalid: 422} {
		first, _ := stand(t, refuse(status, kind, "no"))
		second, asked := stand(t, ok(nil))
		c := dial(t, client.Options{Endpoints: []string{first, second}})
		_, err := c.Transition(t.Context(), "u1", 3, unit.Transition{Kind: unit.Enrol})
		var e *errs.Error
		if !errors.As(err, &e) || e.Kind != kind || e.Message != "no" || e.Invariant != "I10" || asked.Load() != 0 {
			t.Errorf("%s: %v, asked elsewhere %d times", kind, err, asked.Load())
		}
	}
}

func TestTransitionIsRepeatedElsewhereSinceItIsConditional(t *testing.T) {
	first, _ := stand(t, hang)
	second, _ := stand(t, ok(wire.Group{Revision: 9}))
	c := dial(t, client.Options{Endpoints: []string{first, second}, Attempt: 100 * time.Millisecond, Timeout: 30 * time.Second})
	g, err := c.Transition(t.Context(), "u1", 3, unit.Transition{Kind: unit.Enrol})
	if err != nil || g.Revision != 9 {
		t.Fatalf("%v, %v", g, err)
	}
}

func TestWhatMustNotHappenTwiceIsNotRepeatedOnceItWasSent(t *testing.T) {
	noLeaks(t)
	first, _ := stand(t, hang)
	second, asked := stand(t, ok(wire.SwitchAnswer{}))
	c := dial(t, client.Options{Endpoints: []string{first, second}, Timeout: 300 * time.Millisecond})
	_, err := c.Switch(t.Context(), "u1", wire.SwitchRequest{To: "b", Mode: unit.Takeover})
	if errs.KindOf(err) != errs.Unknown || asked.Load() != 0 {
		t.Fatalf("%v, asked elsewhere %d times", err, asked.Load())
	}
	// While nothing was done, another node may be asked.
	for _, harmless := range []string{nobody(t), func() string { u, _ := stand(t, refuse(503, errs.Unavailable, "cold")); return u }()} {
		c := dial(t, client.Options{Endpoints: []string{harmless, second}})
		if _, err := c.Switch(t.Context(), "u1", wire.SwitchRequest{To: "b", Mode: unit.Takeover}); err != nil {
			t.Fatal(err)
		}
	}
	unknown, _ := stand(t, refuse(503, errs.Unknown, "not confirmed"))
	before := asked.Load()
	c = dial(t, client.Options{Endpoints: []string{unknown, second}})
	if _, err := c.Switch(t.Context(), "u1", wire.SwitchRequest{To: "b", Mode: unit.Takeover}); errs.KindOf(err) != errs.Unknown || asked.Load() != before {
		t.Fatalf("%v", err)
	}
}

func TestPersonsChangeGoesOnElsewhereUnderItsKey(t *testing.T) {
	var keys []string
	var mu sync.Mutex
	note := func(then http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			keys = append(keys, r.Header.Get("Idempotency-Key"))
			mu.Unlock()
			then(w, r)
		}
	}
	dies, _ := stand(t, note(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	}))
	second, asked := stand(t, note(ok(wire.SwitchAnswer{Unit: "u1"})))
	person := dial(t, client.Options{Endpoints: []string{dies, second}, Token: "secret", Timeout: 30 * time.Second})
	for range 2 {
		if got, err := person.Switch(t.Context(), "u1", wire.SwitchRequest{To: "b", Mode: unit.Takeover}); err != nil || got.Unit != "u1" {
			t.Fatal(got, err)
		}
	}
	if len(keys) < 3 || keys[0] == "" || keys[0] != keys[1] || keys[2] == keys[0] {
		t.Errorf("keys %q", keys) // the same for both nodes, another for another change
	}
	if _, err := person.Groups(t.Context(), wire.Fresh); err == nil || keys[len(keys)-1] != "" {
		t.Errorf("%v: a read has key %q", err, keys[len(keys)-1])
	}
	before := asked.Load()
	machine := dial(t, client.Options{Endpoints: []string{dies, second}, Timeout: 30 * time.Second})
	if _, err := machine.Switch(t.Context(), "u1", wire.SwitchRequest{To: "b", Mode: unit.Takeover}); errs.KindOf(err) != errs.Unknown || asked.Load() != before {
		t.Errorf("%v, asked elsewhere %d times", err, asked.Load()-before)
	}
}

func TestListsAreReadPageByPage(t *testing.T) {
	node, asked := stand(t, func(w http.ResponseWriter, r *http.Request) {
		from, _ := strconv.Atoi(r.URL.Query().Get("after"))
		if from < 6 {
			w.Header().Set("Link", fmt.Sprintf(`</api/v1/runs?after=%d&limit=3>; rel="next"`, from+3))
		}
		_ = json.NewEncoder(w).Encode([]wire.Run{{ID: strconv.Itoa(from)}, {ID: strconv.Itoa(from + 1)}, {ID: strconv.Itoa(from + 2)}})
	})
	c := dial(t, client.Options{Endpoints: []string{node}})
	for most, want := range map[int]int{0: 9, 1: 1, 3: 3, 4: 4, 100: 9} {
		before := asked.Load()
		runs, err := c.Runs(t.Context(), most)
		if err != nil || len(runs) != want {
			t.Fatalf("most %d: %d runs, %v", most, len(runs), err)
		}
		for i, r := range runs {
			if r.ID != strconv.Itoa(i) {
				t.Errorf("%d is %s", i, r.ID)
			}
		}
		if pages := asked.Load() - before; pages != int64(want+2)/3 {
			t.Errorf("most %d: %d pages", most, pages)
		}
	}
}

func TestNobodyAnsweringIsUnavailableByTheDeadlineAndUnsureChangesSaySo(t *testing.T) {
	c := dial(t, client.Options{Endpoints: []string{nobody(t), nobody(t)}, Timeout: 300 * time.Millisecond})
	if _, err := c.Groups(t.Context(), wire.Fresh); errs.KindOf(err) != errs.Unavailable {
		t.Fatal(err)
	}
	if _, err := c.Transition(t.Context(), "u1", 0, unit.Transition{}); errs.KindOf(err) != errs.Unavailable {
		t.Fatalf("nothing was sent: %v", err)
	}
	hanging, _ := stand(t, hang)
	c = dial(t, client.Options{Endpoints: []string{hanging}, Attempt: 100 * time.Millisecond, Timeout: 300 * time.Millisecond})
	if _, err := c.Transition(t.Context(), "u1", 0, unit.Transition{}); errs.KindOf(err) != errs.Unknown {
		t.Fatalf("it may have been done: %v", err)
	}
	if _, err := c.Groups(t.Context(), wire.Fresh); errs.KindOf(err) != errs.Unavailable {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Groups(ctx, wire.Fresh); err == nil {
		t.Fatal("a cancelled call succeeded")
	}
}

func TestWhyNobodyAnsweredIsToldInPlainWords(t *testing.T) {
	plain, _ := stand(t, ok(nil))
	secure := httptest.NewTLSServer(ok(nil))
	defer secure.Close()
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	closed := nobody(t)
	var wg sync.WaitGroup
	for endpoint, want := range map[string]string{
		closed: "no node answered in time (asked: " + closed + "): connection refused, nothing listens there",
		strings.Replace(plain, "http:", "https:", 1): "it does not speak TLS",
		secure.URL: "its certificate is not signed by the authority given",
		"http://" + secure.Listener.Addr().String(): "speaks HTTPS only: write https://",
		"https://nowhere.invalid:7400":              "its name nowhere.invalid is not known",
	} {
		wg.Go(func() { // each takes all of its time
			c := dial(t, client.Options{Endpoints: []string{endpoint}, Attempt: 3 * time.Second, Timeout: 3 * time.Second})
			if _, err := c.Groups(t.Context(), wire.Fresh); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", endpoint, err, want)
			}
		})
	}
	wg.Wait()
	wrong, _ := stand(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = io.WriteString(w, `{"status":422,"detail":"validation failed","errors":[{"message":"expected length >= 1","location":"body.name","value":""}]}`)
	})
	c := dial(t, client.Options{Endpoints: []string{wrong}})
	if _, err := c.Groups(t.Context(), wire.Fresh); err == nil || err.Error() != "validation failed: name: expected length >= 1" {
		t.Error(err)
	}
}

func TestTokenIsSentAndNeverFollowsARedirect(t *testing.T) {
	var heard atomic.Value
	elsewhere, asked := stand(t, ok(nil))
	first, _ := stand(t, func(w http.ResponseWriter, r *http.Request) {
		heard.Store(r.Header.Get("Authorization"))
		http.Redirect(w, r, elsewhere, http.StatusTemporaryRedirect)
	})
	c := dial(t, client.Options{Endpoints: []string{first}, Token: "secret", Timeout: 300 * time.Millisecond})
	if _, err := c.Groups(t.Context(), wire.Fresh); err == nil || asked.Load() != 0 || heard.Load() != "Bearer secret" {
		t.Fatalf("%v, asked elsewhere %d times, header %v", err, asked.Load(), heard.Load())
	}
}

func TestWrongEndpointsAreRefused(t *testing.T) {
	for _, endpoints := range [][]string{nil, {"node-a:7400"}, {"ftp://a"}, {""}} {
		if _, err := client.New(client.Options{Endpoints: endpoints}); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%q: %v", endpoints, err)
		}
	}
}

// script serves one watch session: the lines, then silence until the caller leaves.
func script(w http.ResponseWriter, r *http.Request, stay bool, lines ...string) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	for _, l := range lines {
		_, _ = fmt.Fprintln(w, l)
	}
	_ = http.NewResponseController(w).Flush()
	if stay {
		<-r.Context().Done()
	}
}

func TestWatchGivesSnapshotsAndRevisionsWholeAndResumesWhereItStopped(t *testing.T) {
	noLeaks(t)
	var mu sync.Mutex
	var queries []string
	node, _ := stand(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		queries = append(queries, r.URL.RawQuery)
		n := len(queries)
		mu.Unlock()
		switch n {
		case 1:
			script(w, r, false,
				`{"revision":10,"reset":true,"more":true,"node":"a","incarnation":{"counter":1,"id":"x"}}`,
				`{"revision":4,"key":"groups/u1","value":{"a":1},"more":true}`,
				`{"revision":9,"key":"groups/u2","value":{"a":2}}`,
				`{"revision":12,"key":"groups/u1","value":{"a":3},"more":true}`,
				`{"revision":12,"key":"groups/u2","deleted":true}`,
				`{"revision":20,"heartbeat":true,"node":"a","incarnation":{"counter":1,"id":"x"},"quorum":true}`,
				`{"revision":21,"key":"groups/u1","value":{"a":4},"more":true}`) // breaks off inside a revision
		case 2:
			script(w, r, true, `{"revision":21,"key":"groups/u1","value":{"a":4},"more":true}`, `{"revision":21,"key":"groups/u3","value":{"a":5}}`)
		}
	})
	c := dial(t, client.Options{Endpoints: []string{node}})
	var got []wire.Update
	enough := errors.New("enough")
	err := c.Watch(t.Context(), client.WatchOptions{Prefixes: []string{"groups/", "manifest"}, StaleAfter: time.Minute}, func(u wire.Update) error {
		got = append(got, u)
		if u.Position.Revision == 21 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
	var told []string
	for _, u := range got {
		var s strings.Builder
		s.WriteString(fmt.Sprint(u.Position.Revision))
		if u.Position.Incarnation != (estate.Incarnation{Counter: 1, ID: "x"}) {
			s.WriteString(" strange")
		}
		if u.Reset {
			s.WriteString(" reset")
		}
		if u.Heartbeat {
			s.WriteString(fmt.Sprint(" heartbeat ", u.Quorum, " ", u.Node))
		}
		for _, ch := range u.Changes {
			s.WriteString(fmt.Sprint(" ", ch.Key, "@", ch.Revision, "=", string(ch.Value)))
			if ch.Deleted {
				s.WriteString("deleted")
			}
		}
		told = append(told, s.String())
	}
	want := `10 reset groups/u1@4={"a":1} groups/u2@9={"a":2}
12 groups/u1@12={"a":3} groups/u2@12=deleted
20 heartbeat true a
21 groups/u1@21={"a":4} groups/u3@21={"a":5}`
	if strings.Join(told, "\n") != want {
		t.Fatalf("got\n%s\nwant\n%s", strings.Join(told, "\n"), want)
	}
	if queries[0] != "prefix=groups%2F%2Cmanifest" || queries[1] != "after=20&incarnation=1.x&prefix=groups%2F%2Cmanifest" {
		t.Fatalf("queries %q", queries)
	}
}

func TestSilentWatchIsToldStaleOnceAndGoesOnElsewhere(t *testing.T) {
	noLeaks(t)
	silent, _ := stand(t, func(w http.ResponseWriter, r *http.Request) {
		script(w, r, true, `{"revision":10,"reset":true,"incarnation":{"counter":1,"id":"x"}}`)
	})
	other, _ := stand(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("after") != "10" {
			t.Errorf("resumed with %q", r.URL.RawQuery)
		}
		script(w, r, true, `{"revision":11,"key":"groups/u1","value":{}}`)
	})
	c := dial(t, client.Options{Endpoints: []string{silent, other}})
	var told []string
	enough := errors.New("enough")
	err := c.Watch(t.Context(), client.WatchOptions{StaleAfter: 100 * time.Millisecond}, func(u wire.Update) error {
		switch {
		case u.Stale:
			told = append(told, "stale")
		case u.Reset:
			told = append(told, "reset")
		default:
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || strings.Join(told, " ") != "reset stale" {
		t.Fatalf("%v, %v", told, err)
	}
}

func TestWatchLeavesANodeThatHasNoQuorumWhereAnotherHas(t *testing.T) {
	noLeaks(t)
	minority, _ := stand(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		for r.Context().Err() == nil {
			_, _ = fmt.Fprintln(w, `{"revision":10,"heartbeat":true,"node":"a","incarnation":{"counter":1,"id":"x"}}`)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	majority, _ := stand(t, func(w http.ResponseWriter, r *http.Request) {
		script(w, r, true, `{"revision":10,"heartbeat":true,"node":"b","incarnation":{"counter":1,"id":"x"},"quorum":true}`)
	})
	c := dial(t, client.Options{Endpoints: []string{minority, majority}})
	enough := errors.New("enough")
	err := c.Watch(t.Context(), client.WatchOptions{StaleAfter: time.Minute}, func(u wire.Update) error {
		if u.Node == "b" && u.Quorum {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
}

func TestWatchLeavesANodeWhoseStoreWasRecoveredElsewhereAndTellsSo(t *testing.T) {
	noLeaks(t)
	old, _ := stand(t, func(w http.ResponseWriter, r *http.Request) {
		script(w, r, false, `{"revision":10,"reset":true,"incarnation":{"counter":1,"id":"x"}}`, `{"revision":0,"heartbeat":true,"superseded":{"counter":2,"id":"y"}}`)
	})
	newer, _ := stand(t, func(w http.ResponseWriter, r *http.Request) {
		script(w, r, true, `{"revision":11,"reset":true,"incarnation":{"counter":2,"id":"y"}}`)
	})
	c := dial(t, client.Options{Endpoints: []string{old, newer}})
	var met estate.Incarnation
	enough := errors.New("enough")
	err := c.Watch(t.Context(), client.WatchOptions{StaleAfter: time.Minute}, func(u wire.Update) error {
		if u.Superseded != nil {
			met = *u.Superseded
		}
		if u.Position.Incarnation.Counter == 2 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || met != (estate.Incarnation{Counter: 2, ID: "y"}) {
		t.Fatalf("met %v, %v", met, err)
	}
}

func TestWatchEndsWithoutTheRightToIt(t *testing.T) {
	node, _ := stand(t, refuse(401, errs.Unauthorised, "revoked"))
	c := dial(t, client.Options{Endpoints: []string{node}})
	if err := c.Watch(t.Context(), client.WatchOptions{}, func(wire.Update) error { return nil }); errs.KindOf(err) != errs.Unauthorised {
		t.Fatal(err)
	}
}

func TestWhatANodeSaidIsToldRatherThanThatAnotherIsNotThere(t *testing.T) {
	cold, _ := stand(t, refuse(503, errs.Unavailable, "it is cold"))
	c := dial(t, client.Options{Endpoints: []string{cold, nobody(t)}, Timeout: 300 * time.Millisecond})
	if _, err := c.Groups(t.Context(), wire.Fresh); err == nil || !strings.Contains(err.Error(), "it is cold") {
		t.Fatal(err)
	}
}

func TestChangeThatEveryNodeRefusedIsNotMadeUncertainByALastTryThatIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const answer = 40 * time.Millisecond // with the pauses between, a thirteenth try would begin 30 ms before the end
		listener := pipes{make(chan net.Conn), make(chan struct{})}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(answer)
			refuse(503, errs.Unavailable, "no quorum")(w, r)
		})}
		go server.Serve(listener)
		c := dial(t, client.Options{Endpoints: []string{"http://node"}, Dial: listener.dial})
		_, err := c.Transition(t.Context(), "u1", 0, unit.Transition{})
		if errs.KindOf(err) != errs.Unavailable || !strings.Contains(err.Error(), "no quorum") {
			t.Error(err)
		}
		c.Close()
		server.Close()
		time.Sleep(answer) // what is being answered ends
	})
}

// pipes is a listener in memory.
type pipes struct {
	conns chan net.Conn
	ended chan struct{}
}

func (p pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.ended:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error   { close(p.ended); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

// firstOnly is a connection that takes one request; the second finds it dead before a byte of it is written.
type firstOnly struct {
	net.Conn

	used *atomic.Bool
}

func (c firstOnly) Write(b []byte) (int, error) {
	if c.used.Swap(true) {
		return 0, syscall.EPIPE
	}
	return c.Conn.Write(b)
}

func TestChangeThatNeverLeftADeadConnectionIsNotUncertain(t *testing.T) {
	url, _ := stand(t, ok(wire.Group{Revision: 9}))
	var used atomic.Bool
	c := dial(t, client.Options{Endpoints: []string{url}, Timeout: 300 * time.Millisecond, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if used.Load() {
			return nil, syscall.ECONNREFUSED
		}
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return firstOnly{conn, &used}, err
	}})
	if _, err := c.Transition(t.Context(), "u1", 0, unit.Transition{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Transition(t.Context(), "u1", 0, unit.Transition{}); errs.KindOf(err) != errs.Unavailable {
		t.Fatal(err)
	}
}

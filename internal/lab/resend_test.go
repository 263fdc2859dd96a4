package lab

import (
	"bytes"
	"encoding/json"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/lab/history"
	"perdure/internal/lab/load"
)

func eventsOf(all ...history.Event) iter.Seq2[history.Event, error] {
	return func(yield func(history.Event, error) bool) {
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func called(id, first uint64, key string) history.Event {
	return history.Event{Call: &history.Call{
		ID: id, First: first, Caller: "load-a", Key: key, Op: history.Transfer, From: "acc-1", To: "acc-2", Amount: history.Cents(7), Unit: "u1",
		Outcome: history.Acknowledged, Status: 201, Attempts: []history.Attempt{{Gateway: "g"}},
	}}
}

func listed(keys ...string) (all []driver.DivergedTransaction) {
	for _, k := range keys {
		all = append(all, driver.DivergedTransaction{Caller: "load-a", RoutingKey: "acc-1", Key: k})
	}
	return all
}

func TestRequestOfADivergedTransactionIsTheOneThatTheLoadSent(t *testing.T) {
	history1 := []history.Event{
		{Begin: &history.Begin{At: history.Instant{Wall: 99}}},
		{Client: &history.Client{Site: "a", Caller: "load-a"}},
		called(3, 0, "k1"), called(9, 3, "k1"), called(5, 0, "k2"), called(6, 0, "k3"),
	}
	list := append(listed("k2", "k1", "k2"), driver.DivergedTransaction{Caller: "corebank-outbox", RoutingKey: "acc-1", Key: "obx"})
	got, err := requestsOf(eventsOf(history1...), list)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.requests) != 2 || got.foreign != 1 || got.highest != 9 || got.began.Wall != 99 {
		t.Fatalf("found %+v", got)
	}
	want := history.Call{Phase: history.Resend, First: 3, Caller: "load-a", Key: "k1", Op: history.Transfer, From: "acc-1", To: "acc-2", Amount: history.Cents(7), Unit: "u1"}
	if one := got.requests[1]; one.First != want.First || one.Key != want.Key || one.To != want.To || one.Amount != want.Amount || one.Outcome != "" || one.Attempts != nil {
		t.Errorf("request %+v, want %+v", one, want)
	}
	if _, err := requestsOf(eventsOf(history1...), listed("k1", "k4")); errs.KindOf(err) != errs.NotFound {
		t.Errorf("a listed key that no call has: %v", err)
	}
}

func TestProcessThatSendsAgainTellsEveryCallOnTheClockOfTheHistory(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Perdure-Outcome", "replayed")
		w.WriteHeader(http.StatusCreated)
	}))
	defer server.Close()
	began := time.Now().Add(-time.Hour)
	first, second := *called(11, 1, "k1").Call, *called(12, 2, "k2").Call
	first.Phase, second.Phase = history.Resend, history.Resend
	text, err := json.Marshal(resending{
		Began: history.Instant{Wall: began.UnixNano()}, Site: load.Site{ID: "b", Gateways: []string{server.URL}},
		Requests: []history.Call{first, second},
	})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Resend(t.Context(), bytes.NewReader(text), &out); err != nil {
		t.Fatal(err)
	}
	var keys []string
	tally := resent{}
	for line := range strings.Lines(out.String()) {
		var c history.Call
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, c.Key)
		tally.add(c)
		if c.Phase != history.Resend || c.Listed != c.Key || c.Sent.Mono < time.Hour || c.Sent.Mono > time.Since(began) || c.Done < c.Sent.Mono {
			t.Errorf("call %+v", c)
		}
	}
	slices.Sort(keys)
	if !slices.Equal(keys, []string{"k1", "k2"}) {
		t.Errorf("sent %v", keys)
	}
	if got, want := tally.says(3), "2 were sent again: 2 answered from their record, 0 carried out, 0 refused; 3 are none of the load's"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
	if err := Resend(t.Context(), strings.NewReader("{"), &out); errs.KindOf(err) != errs.Invalid {
		t.Errorf("half of a list: %v", err)
	}
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"perdure/internal/guard"
	"perdure/internal/pgtest"
	"perdure/sdk"
)

// town is two units of the bank, each on a real server of its own, and something that routes as gateways do.
type town struct {
	t       *testing.T
	servers map[string]*pgtest.Server
	bank    *bank
	gateway *httptest.Server
}

// unitOf routes: accounts of unit u2 begin with "b".
func unitOf(account string) string {
	if strings.HasPrefix(account, "b") {
		return "u2"
	}
	return "u1"
}

func newTown(t *testing.T) *town {
	town := &town{t: t, servers: map[string]*pgtest.Server{}, bank: &bank{
		service: &sdk.Service{Units: map[string]*sdk.Unit{}}, outbox: map[string]*sdk.Dispatcher{},
	}}
	town.gateway = httptest.NewServer(http.HandlerFunc(town.route))
	t.Cleanup(town.gateway.Close)
	for _, unit := range []string{"u1", "u2"} {
		s := pgtest.Start(t, pgtest.Options{})
		agent := s.Connect()
		if err := guard.Install(t.Context(), agent); err != nil {
			t.Fatal(err)
		}
		s.Exec(schemaSQL)
		if _, err := agent.Exec(t.Context(), guard.OpenSQL, []string{unit}, 1, "ab12", 1, unit+"-a"); err != nil {
			t.Fatal(err)
		}
		first := map[string]string{"u1": "a", "u2": "b"}[unit]
		s.Exec(fmt.Sprintf(`begin; select perdure.enter('%s');
			insert into corebank.account select '%s' || i, 0, 100, 100 from generate_series(1, 9) i; commit`, unit, first))
		u, err := sdk.Open(unit, s.URL("perdure_app"), sdk.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(u.Close)
		town.servers[unit], town.bank.service.Units[unit] = s, u
		town.bank.outbox[unit] = dispatcher(u, []string{town.gateway.URL}, slog.New(slog.DiscardHandler))
	}
	return town
}

// route stands in for a gateway: it takes the routing key from the body and names the unit.
func (town *town) route(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var m movement
	_ = json.Unmarshal(body, &m) // what cannot be read is for the bank to refuse
	key := m.From + m.Account
	if id := strings.Split(r.URL.Path, "/"); len(id) > 4 {
		key = id[3]
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	r.Header.Set(sdk.HeaderUnit, unitOf(key))
	r.Header.Set(sdk.HeaderRoutingKey, key)
	town.bank.routes().ServeHTTP(w, r)
}

type reply struct {
	status  int
	outcome string
	body    string
}

func (town *town) post(path, key, body string) reply {
	town.t.Helper()
	r, err := http.NewRequest(http.MethodPost, town.gateway.URL+path, strings.NewReader(body))
	if err != nil {
		town.t.Fatal(err)
	}
	if key != "" {
		r.Header.Set(sdk.HeaderKey, key)
	}
	return town.do(r)
}

func (town *town) balance(account string) string {
	town.t.Helper()
	r, err := http.NewRequest(http.MethodGet, town.gateway.URL+"/v1/accounts/"+account+"/balance", nil)
	if err != nil {
		town.t.Fatal(err)
	}
	var b struct{ Balance string }
	if err := json.Unmarshal([]byte(town.do(r).body), &b); err != nil {
		town.t.Fatal(err)
	}
	return b.Balance
}

func (town *town) do(r *http.Request) reply {
	town.t.Helper()
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		town.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		town.t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header.Get(sdk.HeaderOutcome), string(text)}
}

func TestBankKeepsTheIdempotencyContract(t *testing.T) {
	town := newTown(t)
	const pay = `{"from":"a1","to":"a2","amount":"30.50"}`
	first := town.post("/v1/transfers", "k1", pay)
	if first.status != http.StatusCreated || first.outcome != "committed" {
		t.Fatalf("first: %+v", first)
	}
	again := town.post("/v1/transfers", "k1", pay)
	if again.status != first.status || again.body != first.body || again.outcome != "replayed" {
		t.Errorf("repeated: %+v, want the same bytes as %+v", again, first)
	}
	for name, c := range map[string]struct {
		key, body string
		status    int
	}{
		"without a key":        {"", pay, http.StatusBadRequest},
		"another payload":      {"k1", `{"from":"a1","to":"a2","amount":"31"}`, http.StatusUnprocessableEntity},
		"overdraft":            {"k2", `{"from":"a1","to":"a2","amount":"1000"}`, http.StatusUnprocessableEntity},
		"overdraft again":      {"k2", `{"from":"a1","to":"a2","amount":"1000"}`, http.StatusUnprocessableEntity},
		"negative":             {"k3", `{"from":"a1","to":"a2","amount":"-1"}`, http.StatusBadRequest},
		"three places":         {"k3", `{"from":"a1","to":"a2","amount":"1.001"}`, http.StatusBadRequest},
		"unknown field":        {"k3", `{"from":"a1","to":"a2","amount":"1","x":1}`, http.StatusBadRequest},
		"to itself":            {"k3", `{"from":"a1","to":"a1","amount":"1"}`, http.StatusBadRequest},
		"account of elsewhere": {"k4", `{"from":"a1","to":"b1","amount":"1"}`, http.StatusNotFound},
	} {
		if got := town.post("/v1/transfers", c.key, c.body); got.status != c.status {
			t.Errorf("%s: %+v, want status %d", name, got, c.status)
		}
	}
	if a, b := town.balance("a1"), town.balance("a2"); a != "69.50" || b != "130.50" {
		t.Errorf("balances %s and %s, want 69.50 and 130.50", a, b)
	}
	var sum string
	if err := town.servers["u1"].Connect().QueryRow(t.Context(), `select sum(amount)::text from corebank.journal`).Scan(&sum); err != nil || sum != "0.00" {
		t.Errorf("the journal sums to %s, %v", sum, err)
	}
}

func TestMoneyBetweenUnitsArrivesOnceOrComesBack(t *testing.T) {
	town := newTown(t)
	for key, to := range map[string]string{"x1": "b1", "x2": "b-nobody"} {
		if got := town.post("/v1/cross-transfers", key, `{"from":"a1","to":"`+to+`","amount":"10"}`); got.status != http.StatusAccepted {
			t.Fatalf("%s: %+v", key, got)
		}
	}
	if b := town.balance("a1"); b != "80.00" {
		t.Errorf("debited to %s, want 80.00", b)
	}
	d := town.bank.outbox["u1"]
	town.servers["u1"].Await("the outbox is empty", func(ctx context.Context) error {
		if _, err := d.Round(ctx); err != nil {
			return err
		}
		var left int
		if err := town.servers["u1"].Connect().QueryRow(ctx, `select count(*) from perdure.outbox where done is null`).Scan(&left); err != nil {
			return err
		}
		if left > 0 {
			return fmt.Errorf("%d messages are on their way", left)
		}
		return nil
	})
	if a, b := town.balance("a1"), town.balance("b1"); a != "90.00" || b != "110.00" {
		t.Errorf("balances %s and %s, want 90.00 (one credit came back) and 110.00", a, b)
	}
}

func TestOnlyTheOutboxSaysWhereMoneyComesFrom(t *testing.T) {
	town := newTown(t)
	if got := town.post("/v1/credits", "k", `{"account":"a1","amount":"5","origin":"u2"}`); got.status != http.StatusForbidden {
		t.Errorf("%+v, want 403", got)
	}
}

package cli_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"perdure/internal/estate"
	"perdure/internal/heldorder"
	"perdure/internal/wire"
)

// someOrders has an order in every state.
func someOrders(t *testing.T) *heldorder.Ledger {
	t.Helper()
	l := &heldorder.Ledger{Run: "takeover-1"}
	at := time.UnixMilli(now).UTC()
	in := estate.Ownership{Incarnation: estate.Incarnation{Counter: 1, ID: "x"}, Epoch: 3}
	o := func(n int, kind heldorder.Kind, u estate.UnitID) heldorder.Order {
		return heldorder.Order{
			Holder: "branch-north", Reference: fmt.Sprintf("N-%d", n), Kind: kind, System: "core", Unit: u, Account: fmt.Sprintf("acc-%d", n), Caller: "anonymous",
			Key: fmt.Sprintf("n-%d", n), Amount: fmt.Sprintf("%d.50", n), At: at,
		}
	}
	orders := []heldorder.Order{o(1, heldorder.Held, "u1"), o(2, heldorder.Held, "u1"), o(3, heldorder.DR, "u1"), o(4, heldorder.Held, "u2"), o(5, heldorder.Held, "u2")}
	for _, w := range []heldorder.Word{
		{What: heldorder.Import, By: "ann", Orders: orders},
		{What: heldorder.Ask, By: "node:a", Proofs: []heldorder.Proof{
			heldorder.Compare(&orders[0], in, &heldorder.Record{Status: 201, Amount: "1.5"}),
			heldorder.Compare(&orders[2], in, &heldorder.Record{Status: 422}),
			heldorder.Compare(&orders[3], in, &heldorder.Record{Status: 201, Amount: "7"}),
		}},
		{What: heldorder.Drop, By: "bob", Refs: []heldorder.Ref{orders[1].Ref()}, Reason: "taken back"},
	} {
		w.At = at
		w, problems, err := l.Judge(w, nil)
		if err != nil || len(problems) > 0 {
			t.Fatal(problems, err)
		}
		if err := l.Add(w); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// answerOrders is the fake node's part about held orders.
func (f *fakeNode) answerOrders(answer func(string, func(*http.Request) any)) {
	totals := func(fresh, same int) wire.OrdersAnswer {
		units := f.orders.Totals("")
		return wire.OrdersAnswer{New: fresh, Same: same, Totals: heldorder.Together(units), Units: units}
	}
	answer("PUT /api/v1/runs/{run}/orders", func(r *http.Request) any {
		data, _ := io.ReadAll(r.Body)
		f.note(fmt.Sprintf("%s %d bytes of %s", r.URL.RawQuery, len(data), r.Header.Get("Content-Type")))
		return totals(2, 3)
	})
	answer("GET /api/v1/runs/{run}/orders", func(r *http.Request) any {
		f.note(r.URL.RawQuery)
		return append([]heldorder.Entry{}, f.orders.Entries()...)
	})
	answer("GET /api/v1/runs/{run}/orders/totals", func(*http.Request) any { return totals(0, 0) })
	answer("POST /api/v1/runs/{run}/orders/proofs", func(*http.Request) any { f.note("prove"); return totals(1, 0) })
	answer("POST /api/v1/runs/{run}/orders/dropped", func(r *http.Request) any {
		text, _ := io.ReadAll(r.Body)
		f.note(strings.TrimSpace(string(text)))
		return totals(1, 1)
	})
}

func TestOrdersAreShownInBothLanguages(t *testing.T) {
	f := startFake(t)
	if r := run(t.Context(), call{env: f.env(), args: []string{"run", "orders", "list", "takeover-1"}}); r.code != 0 || r.out != "no such order\n" {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	f.orders = someOrders(t)
	example := filepath.Join("..", "..", "examples", "estate", "held-orders.csv")
	for lang, suffix := range map[string]string{"en": "en", "zh-CN": "zh"} {
		var out strings.Builder
		for _, args := range [][]string{
			{"run", "orders", "import", "takeover-1", example, "--dry-run"},
			{"run", "orders", "list", "takeover-1"},
			{"run", "orders", "totals", "takeover-1"},
			{"run", "orders", "prove", "takeover-1"},
			{"run", "orders", "drop", "takeover-1", "branch-north/N-5", "--reason", "taken back"},
		} {
			r := run(t.Context(), call{env: f.env(), args: append(slices.Clone(args), "--lang", lang)})
			if r.code != 0 {
				t.Fatalf("%q: exit %d: %s", args, r.code, r.err)
			}
			out.WriteString("$ perdure " + strings.Join(args, " ") + "\n" + r.out)
		}
		golden(t, "orders-"+suffix+".golden", out.String())
	}
	var list []heldorder.Entry
	r := run(t.Context(), call{env: f.env(), args: []string{"run", "orders", "list", "takeover-1", "--json"}})
	if err := json.Unmarshal([]byte(r.out), &list); err != nil || len(list) != 5 || list[1].Reason != "taken back" {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
}

func TestEveryWordToOrdersIsSaidAsItIsGiven(t *testing.T) {
	f := startFake(t)
	example := filepath.Join("..", "..", "examples", "estate", "held-orders.csv")
	for _, c := range []struct {
		args []string
		want string // what the node was asked
	}{
		{[]string{"import", "r", example, "--holder", "branch-north", "--system", "core"}, "dryRun=false&holder=branch-north&system=core "},
		{[]string{"import", "r", example, "--dry-run"}, "dryRun=true "},
		{[]string{"list", "r", "--state", "open", "--holder", "branch-north"}, "holder=branch-north"},
		{[]string{"prove", "r"}, "prove"},
		{[]string{"drop", "r", "branch-north/N-1", "branch-north/N/2", "--reason", "why"}, `{"orders":[{"holder":"branch-north","reference":"N-1"},{"holder":"branch-north","reference":"N/2"}],"reason":"why"}`},
	} {
		f.asked = nil
		r := run(t.Context(), call{env: f.env(), args: append([]string{"run", "orders"}, c.args...)})
		if r.code != 0 || !slices.ContainsFunc(f.asked, func(a string) bool { return strings.Contains(a, c.want) }) {
			t.Errorf("%q: exit %d, asked %q: %s", c.args, r.code, f.asked, r.err)
		}
	}
	for _, args := range [][]string{
		{"import", "r"},
		{"list", "r", "--state", "closed"},
		{"list", "r", "--limit", "-1"},
		{"drop", "r", "--reason", "why"},
		{"drop", "r", "branch-north/N-1"},
		{"drop", "r", "N-1", "--reason", "why"},
	} {
		if r := run(t.Context(), call{env: f.env(), args: append([]string{"run", "orders"}, args...)}); r.code != 2 {
			t.Errorf("%q: exit %d: %s%s", args, r.code, r.out, r.err)
		}
	}
	if r := run(t.Context(), call{env: f.env(), args: []string{"run", "orders", "import", "r", "no-such.csv"}}); r.code == 0 || !strings.Contains(r.err, "no-such.csv") {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
}

package document_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/document"
	"perdure/internal/estate"
	"perdure/internal/heldorder"
	"perdure/internal/plan"
)

// ledger has n orders of each of two units: the first of u1 is entered, the second dropped, the third recorded with another amount.
func ledger(t *testing.T, n int) *heldorder.Ledger {
	t.Helper()
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	l := &heldorder.Ledger{Run: "move-1"}
	var orders []heldorder.Order
	for _, u := range []estate.UnitID{"u1", "u2"} {
		for i := range n {
			kind := heldorder.Held
			if i%2 == 1 {
				kind = heldorder.DR
			}
			orders = append(orders, heldorder.Order{
				Holder: "head-office", Reference: fmt.Sprintf("%s-%d", u, i), Kind: kind, System: "core", Unit: u, Account: fmt.Sprintf("acc-%d", i), Caller: "anonymous",
				Key: fmt.Sprintf("key-%s-%d", u, i), Amount: "10.25", At: at,
			})
		}
	}
	in := estate.Ownership{Incarnation: estate.Incarnation{Counter: 1, ID: "x"}, Epoch: 3}
	for _, w := range []heldorder.Word{
		{What: heldorder.Import, By: "ann", Orders: orders},
		{What: heldorder.Ask, By: "node:a", Proofs: []heldorder.Proof{
			heldorder.Compare(&orders[0], in, &heldorder.Record{Status: 201, Amount: "10.25"}), heldorder.Compare(&orders[2], in, &heldorder.Record{Status: 201, Amount: "99"}),
		}},
		{What: heldorder.Drop, By: "bob", Refs: []heldorder.Ref{orders[1].Ref()}, Reason: "客户撤回"},
	} {
		w.At = at.Add(time.Hour)
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

func sectionOf(t *testing.T, d *document.Document, title string) document.Section {
	t.Helper()
	i := slices.IndexFunc(d.Sections, func(s document.Section) bool { return s.Title == title })
	if i < 0 {
		t.Fatalf("there is no section %q", title)
	}
	return d.Sections[i]
}

func TestSwitchReportSaysWhatBecameOfHeldOrders(t *testing.T) {
	src := source(t, switchPlan, switchJournal, plan.Takeover)
	src.Orders = ledger(t, 3)
	for l, want := range map[document.Language][4]string{
		document.English: {"Held orders", "Held orders that are open", "Held orders that were dropped", "a record with amount 99"},
		document.Chinese: {"业务留单", "未处理的业务留单", "已作废的业务留单", "记录金额为 99"},
	} {
		d := report(t, src, l)
		sameInAllFormats(t, d)
		totals := sectionOf(t, d, want[0]).Rows
		if diff := cmp.Diff([][]string{
			{"u1", "2", "1", "1", "10.25", "1", "10.25", "1", "10.25"},
			{"u2", "2", "1", "3", "30.75", "0", "0.00", "0", "0.00"},
		}, totals[:2]); diff != "" || len(totals) != 3 || totals[2][4] != "41.00" {
			t.Errorf("%s: %v %s", l, totals, diff)
		}
		open := sectionOf(t, d, want[1]).Rows
		if len(open) != 4 || open[0][1] != "u1-2" || open[0][7] != want[3] || open[0][6] != "2026-11-22 17:00:00.000" {
			t.Errorf("%s: %q", l, open)
		}
		dropped := sectionOf(t, d, want[2]).Rows
		if len(dropped) != 1 || dropped[0][7] != "bob: 客户撤回" {
			t.Errorf("%s: %q", l, dropped)
		}
		if !d.Made.Equal(src.Orders.Last) {
			t.Errorf("made at %s, and the last word is of %s", d.Made, src.Orders.Last)
		}
	}
	// Long lists are cut, and say so.
	src.Orders = ledger(t, 150)
	open := sectionOf(t, report(t, src, document.English), "Held orders that are open").Rows
	if len(open) != 201 || open[200][0] != "and 98 more" {
		t.Errorf("%d rows, %q", len(open), open[len(open)-1])
	}
	// Without orders nothing is said of them.
	src.Orders = &heldorder.Ledger{Run: "move-1"}
	for _, s := range report(t, src, document.English).Sections {
		if strings.Contains(s.Title, "orders") {
			t.Errorf("section %q", s.Title)
		}
	}
}

func TestSwitchBackReportSaysThatNoOrderWasOpen(t *testing.T) {
	src := source(t, "apiVersion: perdure/v1\nkind: Plan\nname: p\nmodes: [switch-back]\nsteps: [{id: orders-u1, title: No order is open, act: {driver: orders, action: reconcile, target: u1}}]", `
0s ann started -
0s node:a took - {"term":1}
1s node:a began orders-u1 {"attempt":1,"call":{"driver":"orders","action":"reconcile","target":"u1"}}
2s node:a ended orders-u1 {"attempt":1,"outcome":"done","result":{"orders":5,"held":3,"dr":2,"open":0,"entered":4,"dropped":1,"openAmount":"0.00","enteredAmount":"41.00","droppedAmount":"10.25"}}
2s node:a finished - {"outcome":"done"}
`, plan.SwitchBack)
	for l, title := range map[document.Language]string{document.English: "Reconciliation of held orders", document.Chinese: "业务留单核对"} {
		d := report(t, src, l)
		sameInAllFormats(t, d)
		if diff := cmp.Diff([][]string{{"orders-u1 – No order is open", "u1", "3", "2", "4", "41.00", "1", "10.25"}}, sectionOf(t, d, title).Rows); diff != "" {
			t.Errorf("%s: %s", l, diff)
		}
	}
}

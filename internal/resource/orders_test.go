package resource_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/heldorder"
	"perdure/internal/plan"
	"perdure/internal/resource"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// book keeps ledgers in memory.
type book map[string]*heldorder.Ledger

func (b book) OrderHeads(context.Context, wire.Read) ([]heldorder.Head, error) {
	var heads []heldorder.Head
	for _, run := range []string{"r1", "r2"} {
		if b[run] != nil {
			heads = append(heads, b[run].Head())
		}
	}
	return heads, nil
}

func (b book) Orders(_ context.Context, run string) (*heldorder.Ledger, error) { return b[run], nil }

func (b book) SayOrders(_ context.Context, run, who string, w heldorder.Word, line func(int) int, _ bool) (*heldorder.Ledger, heldorder.Word, error) {
	w.At = time.Now()
	w, problems, err := b[run].Judge(w, line)
	if err == nil {
		err = heldorder.Wrong(problems)
	}
	if err != nil || w.Empty() {
		return b[run], w, err
	}
	return b[run], w, b[run].Add(w)
}

// owners have records, by key, of one group with units u1 and u2, and of u3.
type owners struct {
	rec     unit.Record
	records map[string]driver.Record
	asked   []string
	down    error
}

func (o *owners) Unit(_ context.Context, id estate.UnitID) (wire.Group, error) {
	if id == "u3" {
		return wire.Group{Record: unit.Record{Units: []estate.UnitID{"u3"}, Ownership: o.rec.Ownership}}, nil
	}
	return wire.Group{Record: o.rec}, nil
}

func (o *owners) Recorded(_ context.Context, _ estate.UnitID, keys []driver.Key) (estate.Ownership, []driver.Record, error) {
	var found []driver.Record
	for i, k := range keys {
		o.asked = append(o.asked, k.Caller+" "+k.RoutingKey+" "+k.Key)
		if r, ok := o.records[k.Key]; ok {
			r.Index = i
			found = append(found, r)
		}
	}
	return o.rec.Ownership, found, o.down
}

func in(epoch estate.Epoch) estate.Ownership {
	return estate.Ownership{Incarnation: estate.Incarnation{Counter: 1, ID: "x"}, Epoch: epoch}
}

func handedIn(t *testing.T, b book, run string, orders ...[3]string) { // reference, unit, amount
	t.Helper()
	if b[run] == nil {
		b[run] = &heldorder.Ledger{Run: run}
	}
	w := heldorder.Word{What: heldorder.Import, By: "ann"}
	for _, o := range orders {
		w.Orders = append(w.Orders, heldorder.Order{
			Holder: "branch", Reference: o[0], Kind: heldorder.Held, System: "core", Unit: estate.UnitID(o[1]), Account: "acc", Caller: "teller", Key: "k-" + o[0], Amount: o[2], At: time.Unix(0, 0),
		})
	}
	if _, _, err := b.SayOrders(t.Context(), run, "person:ann", w, nil, false); err != nil {
		t.Fatal(err)
	}
}

func reconcile(t *testing.T, o resource.Orders, target, run string) (map[string]any, error) {
	t.Helper()
	with := map[string]any{}
	if run != "" {
		with["run"] = run
	}
	return o.Ensure(t.Context(), resource.Call{Call: plan.Call{Driver: "orders", Action: "reconcile", Target: target, With: with}, Key: "r9/step", Mode: plan.SwitchBack})
}

func TestOrdersAreReconciledOverAllRunsAndUnitsOfTheGroup(t *testing.T) {
	b := book{}
	handedIn(t, b, "r1", [3]string{"1", "u1", "10.00"}, [3]string{"2", "u2", "5"}, [3]string{"3", "u3", "7"})
	handedIn(t, b, "r2", [3]string{"4", "u1", "1.50"})
	who := &owners{rec: unit.Record{Units: []estate.UnitID{"u1", "u2"}, Ownership: in(5)}, records: map[string]driver.Record{"k-1": {Status: 201, Amount: "10"}, "k-4": {Status: 422}}}
	o := resource.Orders{Book: b, Owners: who, By: "node:a"}
	_, err := reconcile(t, o, "u1", "")
	if errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), "2 orders of u1 are open, about 6.50 in all (run r1: 1, r2: 1)") {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"teller acc k-1", "teller acc k-2", "teller acc k-4"}, who.asked); diff != "" {
		t.Error("of others the owner is not asked", diff)
	}
	if err := o.Settled(t.Context(), "u2"); errs.KindOf(err) != errs.Refused {
		t.Errorf("a unit of the same group goes home alone: %v", err)
	}
	if result, err := reconcile(t, o, "u3", "r2"); err != nil || result["orders"] != 0.0 {
		t.Errorf("of run r2 alone: %v, %v", result, err)
	}
	// The rest is entered and dropped: nothing is open, and who was proved is not asked again.
	who.records["k-2"] = driver.Record{Status: 200}
	if _, _, err := b.SayOrders(t.Context(), "r2", "person:bob", heldorder.Word{What: heldorder.Drop, By: "bob", Refs: []heldorder.Ref{{Holder: "branch", Reference: "4"}}, Reason: "why"}, nil, false); err != nil {
		t.Fatal(err)
	}
	who.asked = nil
	result, err := reconcile(t, o, "u1", "")
	want := map[string]any{"orders": 3.0, "held": 3.0, "dr": 0.0, "open": 0.0, "entered": 2.0, "dropped": 1.0, "openAmount": "0.00", "enteredAmount": "15.00", "droppedAmount": "1.50"}
	if diff := cmp.Diff(want, result); diff != "" || err != nil || len(who.asked) != 1 {
		t.Errorf("%v, asked %v: %s", err, who.asked, diff)
	}
	if _, done, err := o.Observe(t.Context(), resource.Call{Call: plan.Call{Action: "reconcile", Target: "u1"}}); !done || err != nil {
		t.Errorf("done %v, %v", done, err)
	}
	if facts, err := o.Facts(t.Context(), "u3"); err != nil || facts["open"] != 1.0 {
		t.Errorf("%v, %v", facts, err)
	}
	if err := o.Settled(t.Context(), "u1"); err != nil {
		t.Error(err)
	}
}

func TestOrdersAreOpenAgainAfterALossUntilTheyAreFound(t *testing.T) {
	b := book{}
	handedIn(t, b, "r1", [3]string{"1", "u1", "10.00"}, [3]string{"2", "u1", "5"})
	both := map[string]driver.Record{"k-1": {Status: 201, Amount: "10"}, "k-2": {Status: 201, Amount: "5"}}
	who := &owners{rec: unit.Record{Units: []estate.UnitID{"u1"}, Ownership: in(5)}, records: both}
	o := resource.Orders{Book: b, Owners: who, By: "node:a"}
	if _, err := reconcile(t, o, "u1", ""); err != nil {
		t.Fatal(err)
	}
	who.rec.Ownership, who.rec.Past = in(6), []unit.Past{{Ownership: in(5)}}
	if err := o.Settled(t.Context(), "u1"); err != nil {
		t.Errorf("a failover that lost nothing has put a proof in doubt: %v", err)
	}
	who.rec.Ownership, who.rec.Past = in(7), append(who.rec.Past, unit.Past{Ownership: in(6), ExpectedLoss: true})
	if err := o.Settled(t.Context(), "u1"); errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), "2 orders of u1 are open, about 15.00") {
		t.Errorf("after a loss: %v", err)
	}
	who.records = map[string]driver.Record{"k-1": both["k-1"]}
	if _, err := reconcile(t, o, "u1", ""); err == nil || !strings.Contains(err.Error(), "1 orders of u1 are open, about 5.00") {
		t.Errorf("one was lost: %v", err)
	}
	who.records, who.down = both, errs.New(errs.Unavailable, "the agent does not answer")
	if _, err := reconcile(t, o, "u1", ""); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("nobody could be asked: %v", err)
	}
	who.down = nil
	if err := o.Prove(t.Context(), "r1", "person:ann"); err != nil {
		t.Fatal(err)
	}
	if err := o.Settled(t.Context(), "u1"); err != nil {
		t.Error(err)
	}
}

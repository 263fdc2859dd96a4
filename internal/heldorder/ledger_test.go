package heldorder_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/heldorder"
	"perdure/internal/unit"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func order(reference, key, amount string) heldorder.Order {
	return heldorder.Order{
		Holder: "branch", Reference: reference, Kind: heldorder.Held, System: "core", Unit: "u1", Account: "acc-1", Caller: "anonymous", Key: key, Amount: amount, At: noon,
	}
}

func owned(epoch estate.Epoch) estate.Ownership {
	return estate.Ownership{Incarnation: estate.Incarnation{Counter: 1, ID: "x"}, Epoch: epoch}
}

// say says a word as a worker does: judged, and taken up where it says something.
func say(l *heldorder.Ledger, w heldorder.Word) (problems []heldorder.Problem, err error) {
	w.At = noon
	w, problems, err = l.Judge(w, nil)
	if err != nil || len(problems) > 0 || w.Empty() {
		return problems, err
	}
	return nil, l.Add(w)
}

func must(t *testing.T, l *heldorder.Ledger, w heldorder.Word) {
	t.Helper()
	if problems, err := say(l, w); err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
}

func imported(orders ...heldorder.Order) heldorder.Word {
	return heldorder.Word{What: heldorder.Import, By: "ann", Orders: orders}
}

func ref(reference string) heldorder.Ref {
	return heldorder.Ref{Holder: "branch", Reference: reference}
}

func TestOrderIsThereOnceAndIsNeverAnotherOne(t *testing.T) {
	l := &heldorder.Ledger{Run: "r"}
	must(t, l, imported(order("1", "k1", "10.00"), order("2", "k2", "5")))
	must(t, l, imported(order("2", "k2", "5"), order("1", "k1", "10.00"))) // H1: nothing new
	if l.Seq != 1 || len(l.Entries()) != 2 {
		t.Fatalf("word %d, %d orders", l.Seq, len(l.Entries()))
	}
	moved := order("1", "k1", "10.00")
	moved.Unit = "u2" // which unit has the account is not what the order says
	must(t, l, imported(moved))
	for want, wrong := range map[string][]heldorder.Order{
		"is there already with other content": {order("1", "k1", "10.01")},
		"different content":                   {order("3", "k3", "1"), order("3", "k3", "2")},
		"that of order branch/1 already":      {order("3", "k1", "1")},                        // H2
		"that of order branch/3 too":          {order("3", "k3", "1"), order("4", "k3", "1")}, // H2
		"decimal above 0":                     {order("3", "k3", "0.00")},
	} {
		before := l.Seq
		problems, err := say(l, imported(append([]heldorder.Order{order("9", "k9", "1")}, wrong...)...))
		if err != nil || len(problems) != 1 || !strings.Contains(problems[0].Why, want) || l.Seq != before {
			t.Errorf("%v, %v, want %q", problems, err, want)
		}
	}
	if len(l.Entries()) != 2 {
		t.Errorf("an order of a word that was refused is there: %+v", l.Entries())
	}
	// The right one comes under the same key once the wrong one is dropped (H2, H6).
	must(t, l, heldorder.Word{What: heldorder.Drop, By: "bob", Refs: []heldorder.Ref{ref("1")}, Reason: "the amount was wrong"})
	must(t, l, imported(order("1-a", "k1", "10.01")))
	if len(l.Entries()) != 3 {
		t.Errorf("%+v", l.Entries())
	}
}

func TestWhatAnOwnerHasSaysHowAnOrderStands(t *testing.T) {
	for name, c := range map[string]struct {
		record *heldorder.Record
		found  heldorder.Found
		state  heldorder.State
	}{
		"no record":        {nil, heldorder.Absent, heldorder.Open},
		"carried out":      {&heldorder.Record{Status: 201, Amount: "10"}, heldorder.Present, heldorder.Entered},
		"without amount":   {&heldorder.Record{Status: 200}, heldorder.Present, heldorder.Entered},
		"another amount":   {&heldorder.Record{Status: 201, Amount: "10.01"}, heldorder.Differs, heldorder.Open},
		"refused":          {&heldorder.Record{Status: 422}, heldorder.Declined, heldorder.Open},
		"refused, with it": {&heldorder.Record{Status: 409, Amount: "10"}, heldorder.Declined, heldorder.Open},
	} {
		l := &heldorder.Ledger{Run: "r"}
		o := order("1", "k1", "10.00")
		must(t, l, imported(o))
		p := heldorder.Compare(&o, owned(3), c.record)
		ask := heldorder.Word{What: heldorder.Ask, By: "node:a", Proofs: []heldorder.Proof{p}}
		must(t, l, ask)
		must(t, l, ask) // the same again says nothing
		want := 2
		if c.record == nil {
			want = 1 // of what was never there nothing is written
		}
		if e := l.Entries()[0]; p.Found != c.found || e.State != c.state || l.Seq != want {
			t.Errorf("%s: %s, %s after word %d", name, p.Found, e.State, l.Seq)
		}
	}
}

func TestOrdersEndAsTheyMay(t *testing.T) {
	l := &heldorder.Ledger{Run: "r"}
	one, two := order("1", "k1", "10"), order("2", "k2", "5")
	must(t, l, imported(one, two))
	must(t, l, heldorder.Word{What: heldorder.Ask, By: "node:a", Proofs: []heldorder.Proof{heldorder.Compare(&one, owned(3), &heldorder.Record{Status: 201, Amount: "10"})}})
	drop := func(reason string, refs ...heldorder.Ref) error {
		_, err := say(l, heldorder.Word{What: heldorder.Drop, By: "bob", Refs: refs, Reason: reason})
		return err
	}
	for want, err := range map[string]error{
		"without a reason": drop(" ", ref("2")),
		"say which":        drop("why"),
		"no order":         drop("why", ref("7")),
		"[H5]":             drop("why", ref("2"), ref("1")), // none of them
		"at most 1000":     drop(strings.Repeat("x", 1001), ref("2")),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if l.Entries()[1].State != heldorder.Open {
		t.Fatal("it was dropped with one that may not be")
	}
	for range 2 { // the same word again
		if err := drop("the customer took it back", ref("2")); err != nil {
			t.Fatal(err)
		}
	}
	if err := drop("another reason", ref("2")); errs.KindOf(err) != errs.Refused {
		t.Error(err)
	}
	// What is found of one that was dropped changes nothing (H5).
	must(t, l, heldorder.Word{What: heldorder.Ask, By: "node:a", Proofs: []heldorder.Proof{heldorder.Compare(&two, owned(3), &heldorder.Record{Status: 201, Amount: "5"})}})
	if l.Seq != 3 || l.Entries()[1].State != heldorder.Dropped {
		t.Errorf("word %d: %+v", l.Seq, l.Entries()[1])
	}
	want := []heldorder.Totals{{Unit: "u1", Held: 2, Entered: 1, Dropped: 1, OpenAmount: "0.00", EnteredAmount: "10.00", DroppedAmount: "5.00", Proved: []heldorder.Proved{{Ownership: owned(3), Last: noon}}}}
	if diff := cmp.Diff(want, l.Totals("")); diff != "" {
		t.Error(diff)
	}
}

func TestProofCountsUntilALoss(t *testing.T) {
	record := func(now estate.Epoch, lossy ...estate.Epoch) *unit.Record {
		r := &unit.Record{Ownership: owned(now)}
		for e := estate.Epoch(2); e < now; e++ {
			r.Past = append(r.Past, unit.Past{Ownership: owned(e), ExpectedLoss: slices.Contains(lossy, e)})
		}
		return r
	}
	kept := record(7, 4)
	kept.Policy.Retention = 2 * time.Hour
	old := record(7, 4)
	old.Policy.Retention = time.Minute
	recovered := record(6)
	recovered.Ownership.Incarnation = estate.Incarnation{Counter: 2, ID: "y"}
	for name, c := range map[string]struct {
		rec   *unit.Record
		holds bool
	}{
		"the same ownership":          {record(4), true},
		"went on without a loss":      {record(7), true},
		"a loss before it":            {record(7, 3), true},
		"left with a loss":            {record(7, 4), false},
		"a later one left so":         {record(7, 6), false},
		"left so within retention":    {kept, false},
		"left so, and nobody can say": {old, true},
		"recovered":                   {recovered, false},
		"so old that nobody knows it": {&unit.Record{Ownership: owned(50), Past: []unit.Past{{Ownership: owned(49)}}}, false},
	} {
		l := &heldorder.Ledger{Run: "r"}
		o := order("1", "k1", "10")
		must(t, l, imported(o))
		must(t, l, heldorder.Word{What: heldorder.Ask, By: "node:a", Proofs: []heldorder.Proof{heldorder.Compare(&o, owned(4), &heldorder.Record{Status: 201, Amount: "10"})}})
		again := len(l.Unproved("u1", c.rec, noon.Add(time.Hour))) == 1
		if totals := l.Totals("")[0]; again == c.holds || totals.Settled(c.rec, noon.Add(time.Hour)) != c.holds {
			t.Errorf("%s: asked again %v, settled %v", name, again, totals.Settled(c.rec, noon.Add(time.Hour)))
		}
	}
	l := &heldorder.Ledger{Run: "r"}
	o := order("1", "k1", "10")
	must(t, l, imported(o))
	for n, c := range []struct {
		in     estate.Epoch
		record *heldorder.Record
		state  heldorder.State
	}{{4, &heldorder.Record{Status: 201, Amount: "10"}, heldorder.Entered}, {5, nil, heldorder.Open}, {6, &heldorder.Record{Status: 201, Amount: "10"}, heldorder.Entered}} {
		must(t, l, heldorder.Word{What: heldorder.Ask, By: "node:a", Proofs: []heldorder.Proof{heldorder.Compare(&o, owned(c.in), c.record)}})
		if e := l.Entries()[0]; e.State != c.state || e.Proof.Ownership != owned(c.in) {
			t.Errorf("%d: %+v", n, e)
		}
	}
}

// TestLedgerIsItsWords says random words and holds the ledger against what its words say, and against its rules.
func TestLedgerIsItsWords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &heldorder.Ledger{Run: "r"}
		var words []heldorder.Word
		ended := map[heldorder.Ref]heldorder.Entry{}
		for range rapid.IntRange(1, 40).Draw(t, "words") {
			draw := func() heldorder.Order {
				o := order(rapid.SampledFrom([]string{"1", "2", "3", "4"}).Draw(t, "reference"), rapid.SampledFrom([]string{"k1", "k2", "k3"}).Draw(t, "key"), rapid.SampledFrom([]string{"1", "2.5", "0"}).Draw(t, "amount"))
				o.Holder = rapid.SampledFrom([]string{"north", "south"}).Draw(t, "holder")
				return o
			}
			w := heldorder.Word{What: rapid.SampledFrom([]heldorder.What{heldorder.Import, heldorder.Ask, heldorder.Drop}).Draw(t, "what"), By: "ann", At: noon}
			for range rapid.IntRange(1, 3).Draw(t, "of") {
				o := draw()
				switch w.What {
				case heldorder.Import:
					w.Orders = append(w.Orders, o)
				case heldorder.Ask:
					var r *heldorder.Record
					if rapid.Bool().Draw(t, "recorded") {
						r = &heldorder.Record{Status: rapid.SampledFrom([]int{201, 422}).Draw(t, "status"), Amount: rapid.SampledFrom([]string{"", "1", "9"}).Draw(t, "recorded amount")}
					}
					w.Proofs = append(w.Proofs, heldorder.Compare(&o, owned(estate.Epoch(rapid.IntRange(2, 5).Draw(t, "epoch"))), r))
				case heldorder.Drop:
					w.Refs, w.Reason = append(w.Refs, o.Ref()), "why"
				}
			}
			next, problems, err := l.Judge(w, nil)
			if err != nil || len(problems) > 0 || next.Empty() {
				continue
			}
			if err := l.Add(next); err != nil {
				t.Fatal(err)
			}
			words = append(words, next)
			keys := map[string]bool{}
			for _, e := range l.Entries() {
				if e.State != heldorder.Dropped {
					if keys[e.Key] {
						t.Fatalf("H2: key %s counts twice", e.Key)
					}
					keys[e.Key] = true
				}
				if e.State == heldorder.Entered && (e.Proof == nil || e.Proof.Found != heldorder.Present || e.Proof.Status != 201 || e.Proof.Amount == "9") {
					t.Fatalf("H3: %+v", e)
				}
				if before, over := ended[e.Ref()]; over && !cmp.Equal(before, e) {
					t.Fatalf("H5: %+v became %+v", before, e)
				}
				if e.State == heldorder.Dropped {
					ended[e.Ref()] = e
				}
			}
			if again, problems, err := l.Judge(w, nil); w.What == heldorder.Import && (err != nil || len(problems) > 0 || !again.Empty()) {
				t.Fatalf("H1: the same import again says %+v, %v, %v", again, problems, err)
			}
		}
		replayed := &heldorder.Ledger{Run: "r"}
		for _, w := range words { // as they come back from where they are kept
			data, err := json.Marshal(w)
			if err != nil {
				t.Fatal(err)
			}
			var read heldorder.Word
			if err := json.Unmarshal(data, &read); err != nil {
				t.Fatal(err)
			}
			if err := replayed.Add(read); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(l.Entries(), replayed.Entries()); diff != "" {
			t.Fatalf("H6: %s", diff)
		}
		total := heldorder.Together(l.Totals(""))
		if total.All() != len(l.Entries()) || total.Open+total.Entered+total.Dropped != len(l.Entries()) {
			t.Fatalf("%+v of %d", total, len(l.Entries()))
		}
	})
}

func TestLedgerIsBounded(t *testing.T) {
	l := &heldorder.Ledger{Run: "r"}
	var orders []heldorder.Order
	for i := range heldorder.MostOrders {
		orders = append(orders, order(fmt.Sprint(i), fmt.Sprint("k", i), "1"))
	}
	must(t, l, imported(orders...))
	problems, err := say(l, imported(order("more", "more", "1")))
	if err != nil || len(problems) != 1 || !strings.Contains(problems[0].Why, "20000 are the most") {
		t.Error(problems, err)
	}
	if problems, err := say(l, imported(orders[7])); err != nil || len(problems) > 0 {
		t.Error("what is there already needs no room:", problems, err)
	}
}

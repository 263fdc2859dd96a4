package store_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/errs"
	"perdure/internal/heldorder"
	"perdure/internal/store"
	"perdure/internal/wire"
)

func ordersOf(holder string, from, until int) heldorder.Word {
	w := heldorder.Word{What: heldorder.Import, By: "ann"}
	for i := from; i < until; i++ {
		w.Orders = append(w.Orders, heldorder.Order{
			Holder: holder, Reference: fmt.Sprintf("B-%d", i), Kind: heldorder.Held, System: "core", Unit: "u1", Account: fmt.Sprintf("acc-%d", i), Caller: "anonymous",
			Key: fmt.Sprintf("%s-%d", holder, i), Amount: "10.00", At: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Note: strings.Repeat("<&>", 20),
		})
	}
	return w
}

// TestOrdersAreKeptWholeAndNamedByTheLog: a file that is larger than one value is there whole or not at all, and again it is the same.
func TestOrdersAreKeptWholeAndNamedByTheLog(t *testing.T) {
	s, _ := one(t)
	say := func(w heldorder.Word, dry bool) (*heldorder.Ledger, heldorder.Word, error) {
		return s.SayOrders(t.Context(), "r", "person:ann", w, nil, dry)
	}
	const many = 3000 // about a MiB
	if l, said, err := say(ordersOf("north", 0, many), true); err != nil || len(said.Orders) != many || l.Seq != 1 {
		t.Fatal(len(said.Orders), err)
	}
	if head, err := s.OrderHead(t.Context(), "r", wire.Fresh); err != nil || head.Seq != 0 {
		t.Fatalf("a look has written: %+v, %v", head, err)
	}
	if _, said, err := say(ordersOf("north", 0, many), false); err != nil || len(said.Orders) != many {
		t.Fatal(len(said.Orders), err)
	}
	if _, said, err := say(ordersOf("north", 0, many), false); err != nil || !said.Empty() {
		t.Fatal("the same again is new:", len(said.Orders), err)
	}
	wrong := ordersOf("north", many-1, many+1)
	wrong.Orders[0].Amount = "11"
	if _, _, err := say(wrong, false); errs.KindOf(err) != errs.Invalid || !strings.Contains(err.Error(), "north/B-2999 is there already") {
		t.Error(err)
	}
	if _, said, err := say(heldorder.Word{What: heldorder.Drop, By: "bob", Refs: []heldorder.Ref{{Holder: "north", Reference: "B-7"}}, Reason: "taken back"}, false); err != nil || len(said.Refs) != 1 {
		t.Fatal(err)
	}
	l, err := s.Orders(t.Context(), "r")
	if err != nil || len(l.Entries()) != many || l.Seq != 2 || l.Entries()[7].State != heldorder.Dropped {
		t.Fatalf("%d orders, %d words, %v", len(l.Entries()), l.Seq, err)
	}
	heads, err := s.OrderHeads(t.Context(), wire.Fresh)
	if err != nil || len(heads) != 1 {
		t.Fatal(heads, err)
	}
	if diff := cmp.Diff(l.Totals(""), heads[0].Units); diff != "" {
		t.Error(diff)
	}
	// The log names every word by the digest of what is kept.
	text, err := s.OrderWords(t.Context(), "r")
	if err != nil {
		t.Fatal(err)
	}
	var sums []string
	for line := range bytes.Lines(text) {
		sum := sha256.Sum256(bytes.TrimSuffix(line, []byte("\n")))
		sums = append(sums, hex.EncodeToString(sum[:]))
	}
	events, err := s.Events(t.Context(), 0, store.EventsLimit, false, wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	var named []string
	for _, e := range events {
		if e.What == heldorder.Event && e.Subject == "r" && e.Who == "person:ann" {
			var said heldorder.Said
			if err := json.Unmarshal(e.Detail, &said); err != nil || said.Seq != len(named)+1 {
				t.Fatalf("%+v, %v", said, err)
			}
			named = append(named, said.SHA256)
		}
	}
	if diff := cmp.Diff(sums, named); diff != "" || len(sums) != 2 {
		t.Error(diff)
	}
	if l, err := s.Orders(t.Context(), "nobody"); err != nil || l.Seq != 0 || len(l.Entries()) != 0 {
		t.Errorf("a run without orders has %+v, %v", l, err)
	}
}

// TestOrdersOfManyAtOnceAreAllThere: nobody's word is lost, and the same file of two people is there once.
func TestOrdersOfManyAtOnceAreAllThere(t *testing.T) {
	s, _ := one(t)
	var all sync.WaitGroup
	for n := range 6 {
		all.Go(func() {
			if _, _, err := s.SayOrders(t.Context(), "r", "person:ann", ordersOf(fmt.Sprintf("branch-%d", n/2), 0, 5), nil, false); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	l, err := s.Orders(t.Context(), "r")
	if err != nil || len(l.Entries()) != 15 || l.Seq != 3 {
		t.Fatalf("%d orders by %d words, %v", len(l.Entries()), l.Seq, err)
	}
}

package app

import (
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"perdure/internal/controller"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/etcdnode/etcdtest"
	"perdure/internal/heldorder"
	"perdure/internal/resource"
	"perdure/internal/store"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// TestOnlyASwitchHomeWaitsForHeldOrders: a takeover and an emergency of the same unit do not.
func TestOnlyASwitchHomeWaitsForHeldOrders(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a control store")
	}
	n := etcdtest.Start(t, etcdtest.Options(t, 1)...)[0]
	st := store.New(n.Client(), store.Options{Node: "a", Logger: slog.New(slog.DiscardHandler)})
	if _, err := st.EnsureIncarnation(t.Context()); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, file := range []string{"sites.yaml", "corebank.yaml"} {
		data, err := os.ReadFile("../../examples/one-unit/" + file)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(data)
		text.WriteString("\n---\n")
	}
	if _, err := st.ApplyManifest(t.Context(), "test", text.String(), 0, nil, wire.ManifestPlan{}); err != nil {
		t.Fatal(err)
	}
	record := unit.Bootstrap("u1", "corebank", []estate.UnitID{"u1"}, unit.Policy{Failover: unit.Auto}, []unit.Member{
		{ID: "u1-a", Site: "a", Role: unit.SyncRole}, {ID: "u1-b", Site: "b", Role: unit.SyncRole},
	}, "u1-a", estate.Incarnation{Counter: 1, ID: "x"})
	if err := st.Quorum().CreateGroup(t.Context(), "node:a", record); err != nil {
		t.Fatal(err)
	}
	control := controller.New(st.Quorum(), nil, nil, controller.Options{Node: "a", Timing: unit.DefaultTiming(), Client: &http.Client{}, Logger: slog.New(slog.DiscardHandler)})
	s := switcher{Controller: control, store: st, orders: resource.Orders{Book: st, Owners: control, By: "node:a"}}
	serves := func(mode unit.Mode) error {
		return s.serves(t.Context(), "u1", wire.SwitchRequest{To: "b", Mode: mode})
	}
	say := func(w heldorder.Word) {
		t.Helper()
		w.By = "ann"
		if _, _, err := st.SayOrders(t.Context(), "takeover-1", "person:ann", w, nil, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := serves(unit.SwitchBack); err != nil {
		t.Fatalf("without orders: %v", err)
	}
	say(heldorder.Word{What: heldorder.Import, Orders: []heldorder.Order{{
		Holder: "branch", Reference: "1", Kind: heldorder.Held, System: "corebank", Unit: "u1", Account: "acc-1", Caller: "anonymous", Key: "k-1", Amount: "5.00", At: time.Now().UTC(),
	}}})
	if err := serves(unit.SwitchBack); errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), "cannot switch u1 back to b: 1 orders of u1 are open, about 5.00 in all (run takeover-1: 1)") {
		t.Errorf("with an open order: %v", err)
	}
	if check := s.reconciled(t.Context(), "u1"); check.OK {
		t.Errorf("a forecast says %+v", check)
	}
	for _, mode := range []unit.Mode{unit.Takeover, unit.Emergency} {
		if err := serves(mode); err != nil {
			t.Errorf("%s waits for held orders: %v", mode, err)
		}
	}
	say(heldorder.Word{What: heldorder.Drop, Refs: []heldorder.Ref{{Holder: "branch", Reference: "1"}}, Reason: "taken back"})
	if err := serves(unit.SwitchBack); err != nil {
		t.Errorf("without an open order: %v", err)
	}
}

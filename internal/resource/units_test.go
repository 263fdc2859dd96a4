package resource_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/plan"
	"perdure/internal/resource"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// switcher carries out switches as the controller does: a request of an ID that the record shows is the same request again.
type switcher struct {
	record unit.Record
	mu     sync.Mutex
	ids    []string // of switches that were begun
	fail   int      // how many are undone
}

func (s *switcher) Unit(context.Context, estate.UnitID) (wire.Group, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return wire.Group{Record: s.record.Clone()}, nil
}

func (s *switcher) Switch(_ context.Context, _ string, _ estate.UnitID, r wire.SwitchRequest) (wire.SwitchAnswer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := s.record.Switch; have != nil && have.ID == r.ID {
		return wire.SwitchAnswer{Switch: have}, nil
	}
	if s.record.Switch.Active() {
		return wire.SwitchAnswer{}, errs.New(errs.Refused, "another switch is under way")
	}
	s.ids = append(s.ids, r.ID)
	sw := unit.Switch{ID: r.ID, Phase: unit.Closing}
	s.record.Switch = &sw
	time.AfterFunc(5*time.Second, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		over := sw
		over.Phase = unit.Failed
		if len(s.ids) > s.fail {
			over.Phase = unit.Done
			s.record.Owner.Member = "u1-b"
		}
		s.record.Switch = &over
	})
	return wire.SwitchAnswer{Switch: &sw}, nil
}

func TestSwitchThatWasUndoneIsBegunAnewByTheNextAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &switcher{fail: 2, record: unit.Record{
			State: unit.Open, Owner: estate.Life{Member: "u1-a"}, Members: []unit.Member{{ID: "u1-a", Site: "a"}, {ID: "u1-b", Site: "b"}},
		}}
		call := resource.Call{Call: plan.Call{Driver: "unit", Action: "switch", Target: "u1", With: map[string]any{"to": "b"}}, Key: "r1/go", Mode: plan.Takeover, By: "ann"}
		u := resource.Units{Switcher: s}
		for range s.fail {
			if _, err := u.Ensure(t.Context(), call); errs.KindOf(err) != errs.Conflict {
				t.Fatalf("a switch that was undone: %v", err)
			}
		}
		// An attempt that is cut off is gone on with by the next one.
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := u.Ensure(short, call)
		cancel()
		if errs.KindOf(err) != errs.Unknown {
			t.Fatalf("a switch that is under way: %v", err)
		}
		result, err := u.Ensure(t.Context(), call)
		if err != nil || result["site"] != "b" {
			t.Fatalf("%v, %v", result, err)
		}
		if len(s.ids) != 3 || s.ids[0] != "r1.go" || s.ids[1] == s.ids[0] || s.ids[2] == s.ids[1] {
			t.Errorf("switches: %v", s.ids)
		}
	})
}

// Copies that were lost with a site do not come back while people wait for what follows its switch.
func TestAnEmergencyIsDoneWhenTheUnitIsOpenWhateverBecomesOfItsCopies(t *testing.T) {
	growing := unit.Record{
		State: unit.Open, Owner: estate.Life{Member: "u1-b"}, Members: []unit.Member{{ID: "u1-a", Site: "a"}, {ID: "u1-b", Site: "b"}},
		Switch: &unit.Switch{ID: "r1.go", Phase: unit.Growing},
	}
	for mode, want := range map[plan.Mode]bool{plan.Emergency: true, plan.Takeover: false, plan.SwitchBack: false} {
		u := resource.Units{Switcher: &switcher{record: growing}}
		call := resource.Call{Call: plan.Call{Driver: "unit", Action: "switch", Target: "u1", With: map[string]any{"to": "b"}}, Key: "r1/go", Mode: mode, By: "ann"}
		if _, done, err := u.Observe(t.Context(), call); err != nil || done != want {
			t.Errorf("mode %s: done %v, %v", mode, done, err)
		}
	}
	// The attempt that began it hears of it too.
	synctest.Test(t, func(t *testing.T) {
		s := &switcher{record: growing}
		s.record.Owner.Member, s.record.Switch = "u1-a", nil
		time.AfterFunc(2*time.Second, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.record.Owner.Member = "u1-b"
			s.record.Switch = &unit.Switch{ID: "r1.go", Phase: unit.Growing}
		})
		call := resource.Call{Call: plan.Call{Driver: "unit", Action: "switch", Target: "u1", With: map[string]any{"to": "b"}}, Key: "r1/go", Mode: plan.Emergency, By: "ann"}
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		if result, err := (resource.Units{Switcher: s}).Ensure(ctx, call); err != nil || result["site"] != "b" {
			t.Errorf("%v, %v", result, err)
		}
	})
}

// posted is a call whose switch was posted with the run's start, as "r1.go".
func posted(mode plan.Mode) resource.Call {
	return resource.Call{
		Call: plan.Call{Driver: "unit", Action: "switch", Target: "u1", With: map[string]any{"to": "b"}}, Key: "r1/go", Mode: mode, By: "ann", Posted: true,
	}
}

func twoSites() unit.Record {
	return unit.Record{State: unit.Open, Owner: estate.Life{Member: "u1-a"}, Members: []unit.Member{{ID: "u1-a", Site: "a"}, {ID: "u1-b", Site: "b"}}}
}

func TestSwitchThatWasPostedIsFollowedAndNeverBegun(t *testing.T) {
	for name, c := range map[string]struct {
		phase unit.Phase
		id    string
		says  string
	}{
		"done":      {phase: unit.Done, id: "r1.go"},
		"undone":    {phase: unit.Failed, id: "r1.go", says: "was undone: the power came back"},
		"overtaken": {phase: unit.Closing, id: "other", says: "overtaken by another one"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &switcher{record: twoSites()}
				s.record.Switch = &unit.Switch{ID: "r1.go", Phase: unit.Closing}
				time.AfterFunc(10*time.Minute, func() { // longer than any attempt has
					s.mu.Lock()
					defer s.mu.Unlock()
					s.record.Switch = &unit.Switch{ID: c.id, Phase: c.phase, Reason: "the power came back"}
					if c.phase == unit.Done {
						s.record.Owner.Member = "u1-b"
					}
				})
				result, err := resource.Units{Switcher: s}.Ensure(t.Context(), posted(plan.Takeover))
				if c.says == "" && (err != nil || result["site"] != "b") {
					t.Errorf("%v, %v", result, err)
				}
				if c.says != "" && (errs.KindOf(err) != errs.Conflict || !strings.Contains(err.Error(), c.says)) {
					t.Errorf("%v, %v", result, err)
				}
				if len(s.ids) != 0 {
					t.Errorf("begun: %v", s.ids)
				}
			})
		})
	}
}

func TestEmergencyIsOverWhenTheUnitIsOpenAndAPlannedSwitchWhenTheSetIsGrown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &switcher{record: twoSites()}
		s.record.Owner.Member, s.record.Switch = "u1-b", &unit.Switch{ID: "r1.go", Phase: unit.Growing}
		u := resource.Units{Switcher: s}
		if _, done, err := u.Observe(t.Context(), posted(plan.Emergency)); !done || err != nil {
			t.Errorf("an emergency waits for copies: %v", err)
		}
		if _, done, err := u.Observe(t.Context(), posted(plan.Takeover)); done || err != nil {
			t.Errorf("a planned switch is over before the set is grown: %v", err)
		}
	})
}

// TestWhatASwitchLostIsToldOfThatSwitchAlone and not known is never 0.
func TestWhatASwitchLostIsToldOfThatSwitchAlone(t *testing.T) {
	lossy := unit.Loss{Transactions: 3, Accounts: 2, Amount: "30.00", Millis: new(int64(1500)), Statement: "the rest is lost", Source: "receipts"}
	for name, c := range map[string]struct {
		last *unit.Switch
		want [4]any // transactions, accounts, amount, milliseconds
		says string
	}{
		"as accepted":    {&unit.Switch{ID: "r1.go", Phase: unit.Done, Lossy: true, Loss: &lossy}, [4]any{3.0, 2.0, "30.00", 1500.0}, "the rest is lost; receipts"},
		"not known":      {&unit.Switch{ID: "r1.go", Phase: unit.Done, Lossy: true, Loss: &unit.Loss{Transactions: -1, Accounts: -1, Source: "none"}}, [4]any{-1.0, -1.0, "", -1.0}, "none"},
		"nothing":        {&unit.Switch{ID: "r1.go", Phase: unit.Done}, [4]any{0.0, 0.0, "0", 0.0}, "in-sync set"},
		"another switch": {&unit.Switch{ID: "r0.go", Phase: unit.Done, Lossy: true, Loss: &lossy}, [4]any{0.0, 0.0, "0", 0.0}, "it was there"},
		"none ever":      {nil, [4]any{0.0, 0.0, "0", 0.0}, "it was there"},
	} {
		s := &switcher{record: twoSites()}
		s.record.Owner.Member, s.record.Switch = "u1-b", c.last
		got, done, err := resource.Units{Switcher: s}.Observe(t.Context(), posted(plan.Emergency))
		if err != nil || !done {
			t.Fatal(name, done, err)
		}
		if have := [4]any{got["lostTransactions"], got["lostAccounts"], got["lostAmount"], got["lostMillis"]}; have != c.want || !strings.Contains(got["lossSource"].(string), c.says) {
			t.Errorf("%s: %v, %q", name, have, got["lossSource"])
		}
	}
}

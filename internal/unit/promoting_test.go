package unit

import (
	"strings"
	"testing"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
)

// promoting is a group whose owner a died in life 5 and whose copy b was decided and has not opened; c is an asynchronous copy.
func promoting(t *testing.T) Record {
	t.Helper()
	rec := testGroup()
	a, b := estate.Life{Member: "a", N: 5}, estate.Life{Member: "b", N: 1}
	rec.Ownership.Epoch, rec.Owner, rec.State, rec.InSync, rec.Down = 4, a, Open, []estate.Life{b}, &a
	for i, l := range []uint64{5, 1, 1, 1} {
		rec.Members[i].Life, rec.Members[i].First = l, 1
	}
	rec, err := Apply(rec, Transition{Kind: Decide, By: b, Member: b, Mode: Failover, Ownership: rec.Ownership, SwitchID: "auto", Now: 1})
	if err != nil || rec.State != Promoting || rec.Before != a {
		t.Fatalf("%v: %s before %s", err, rec.State, rec.Before)
	}
	return rec
}

func TestMemberThatIsStartedAgainWhileNobodyOpensIsToldAndTaken(t *testing.T) {
	for name, c := range map[string]struct {
		self Self
		view View
	}{
		"the former owner": {Self{Member: "a", Life: 6, FirstLife: 1}, View{Directory: PrimaryDir}},
		"an heir":          {Self{Member: "d", Life: 2, FirstLife: 1}, View{Directory: StandbyDir, InRecovery: true}},
	} {
		t.Run(name, func(t *testing.T) {
			rec := promoting(t)
			rec.Heirs = append(rec.Heirs, estate.Life{Member: "d", N: 1})
			c.view.Running, c.view.Answering, c.view.PhaseFor = true, true, time.Minute
			got := Next(rec, c.self, c.view, DefaultTiming(), 1_000_000)
			if got.Do != Post || got.Transition.Kind != Enrol {
				t.Fatalf("%s: %s", got.Do, got.Why)
			}
			rec, err := Apply(rec, got.Transition)
			if err != nil {
				t.Fatal(err)
			}
			order := Watch(rec, Sight{Nodes: 3, PhaseFor: time.Minute}, DefaultTiming(), 1_000_000)
			if !order.Names(c.self.Now()) {
				t.Fatalf("asked are %v", order.Candidates)
			}
			rec, err = Apply(rec, Transition{Kind: Decide, Member: c.self.Now(), Silent: true, Ownership: rec.Ownership, Now: 2})
			if err != nil || rec.Owner != c.self.Now() {
				t.Errorf("%v, owner %s", err, rec.Owner)
			}
		})
	}
}

func TestPeopleGiveUpADecidedMemberThatNeverOpens(t *testing.T) {
	loss := &Loss{Transactions: 3, Source: "receipts", Statement: "what has not reached it is lost"}
	propose := func(rec Record, to estate.MemberID) (Record, error) {
		return Apply(rec, Transition{Kind: Propose, Person: "ann", SwitchID: "s1", Member: estate.Life{Member: to}, Loss: loss, Now: 2})
	}
	for _, holder := range []estate.MemberID{"a", "b"} {
		if _, err := propose(promoting(t), holder); err == nil {
			t.Errorf("a loss is proposed to %s, which holds everything", holder)
		}
	}
	proposed, err := propose(promoting(t), "c")
	if err != nil || proposed.State != Promoting || proposed.Owner.Member != "b" {
		t.Fatalf("%v: %s %s", err, proposed.State, proposed.Owner)
	}
	c := estate.Life{Member: "c", N: 1}
	decide := Transition{Kind: Decide, By: c, Member: c, SwitchID: "s1", Ownership: proposed.Ownership, Now: 3}
	if _, err := Apply(proposed, decide); err == nil || !strings.Contains(err.Error(), "0 of 2 people") {
		t.Fatalf("decided without acceptance: %v", err)
	}

	t.Run("it opens after all", func(t *testing.T) {
		rec, err := Apply(proposed, Transition{Kind: Opened, By: proposed.Owner, Ownership: proposed.Ownership, LSN: 7, Now: 3})
		if err != nil || rec.State != Open || rec.Owner.Member != "b" || rec.Switch.Phase != Failed {
			t.Fatalf("%v: %s of %s, switch %s", err, rec.State, rec.Owner, rec.Switch.Phase)
		}
		if _, err := Apply(rec, Transition{Kind: Accept, Person: "bob", SwitchID: "s1"}); errs.KindOf(err) != errs.Conflict {
			t.Errorf("accepted too late: %v", err)
		}
	})
	t.Run("the former owner is back", func(t *testing.T) {
		rec, err := Apply(proposed, Transition{Kind: Decide, Member: estate.Life{Member: "a", N: 5}, Silent: true, SwitchID: "auto", Ownership: proposed.Ownership, Now: 3})
		if err != nil || rec.Owner.Member != "a" || rec.Switch.ID != "auto" || rec.Switch.Lossy || rec.Switch.To.Member != "a" {
			t.Fatalf("%v: %s, %+v", err, rec.Owner, rec.Switch)
		}
	})
	t.Run("two people accept", func(t *testing.T) {
		rec := proposed
		for _, person := range []string{"ann", "bob"} {
			if rec, err = Apply(rec, Transition{Kind: Accept, Person: person, SwitchID: "s1"}); err != nil {
				t.Fatal(err)
			}
		}
		if rec, err = Apply(rec, decide); err != nil || rec.Owner != c || !rec.Quarantine || rec.Heirs != nil {
			t.Fatalf("%v: %s, quarantine %v, heirs %v", err, rec.Owner, rec.Quarantine, rec.Heirs)
		}
		if _, err := Apply(rec, Transition{Kind: Opened, By: estate.Life{Member: "b", N: 1}, Ownership: proposed.Ownership, LSN: 9}); err == nil {
			t.Error("the one that was given up opened")
		}
		if rec, err = Apply(rec, Transition{Kind: Opened, By: c, Ownership: rec.Ownership, LSN: 5, Now: 4}); err != nil || rec.State != Open {
			t.Fatal(err)
		}
		if until := rec.UntilLoss(); len(until) == 0 || until[len(until)-1] != proposed.Ownership {
			t.Errorf("left with a loss: %v", until)
		}
	})
}

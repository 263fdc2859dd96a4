package unit

import (
	"strings"
	"testing"

	"perdure/internal/errs"
	"perdure/internal/estate"
)

// A person's request may arrive when somebody else has decided already: a loss that nobody has to accept must not be left waiting.
// Found by killing processes while people asked; see docs/reliability.md.
func TestNoLossIsProposedForTheMemberThatHasItOpen(t *testing.T) {
	a, b := estate.Life{Member: "a", N: 1}, estate.Life{Member: "b", N: 1}
	rec := testGroup()
	rec.State, rec.Owner, rec.Ownership.Epoch, rec.InSync = Open, b, 2, []estate.Life{a}
	rec.Members[0].Life, rec.Members[1].Life = 1, 1
	loss := &Loss{Transactions: 0, Source: "the lab", Statement: "it was the owner itself"}
	propose := func(to estate.MemberID) error {
		_, err := Apply(rec, Transition{Kind: Propose, Person: "ann", SwitchID: "s1", Member: estate.Life{Member: to}, Loss: loss, Now: 1})
		return err
	}
	if err := propose("b"); errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), "current there already") {
		t.Errorf("a loss was proposed to the owner: %v", err)
	}
	if err := propose("a"); errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), "loses nothing") {
		t.Errorf("a loss was proposed to a member of the set: %v", err)
	}
	// After a recovery of the store people confirm whom they choose, the former owner too.
	rec.State, rec.InSync = Closed, nil
	if err := propose("b"); err != nil {
		t.Error(err)
	}
}

func TestSecondProposalDoesNotReplaceTheFirstAndItsAcceptance(t *testing.T) {
	rec := testGroup()
	loss := &Loss{Transactions: 3, Source: "receipts", Statement: "what has not reached it is lost"}
	propose := Transition{Kind: Propose, Person: "ann", SwitchID: "s1", Member: estate.Life{Member: "b"}, Loss: loss, Now: 1}
	for _, step := range []Transition{propose, {Kind: Accept, Person: "ann", SwitchID: "s1"}} {
		var err error
		if rec, err = Apply(rec, step); err != nil {
			t.Fatal(err)
		}
	}
	propose.Person, propose.SwitchID, propose.Member.Member = "bob", "s2", "c"
	_, err := Apply(rec, propose)
	if errs.KindOf(err) != errs.Conflict || !strings.Contains(err.Error(), "switch s1 to b by ann") || !strings.Contains(err.Error(), "abort it first") {
		t.Errorf("%v", err)
	}
	if rec, err = Apply(rec, Transition{Kind: Abort, Person: "bob", SwitchID: "s1"}); err != nil {
		t.Fatal(err)
	}
	if rec, err = Apply(rec, propose); err != nil || rec.Switch.ID != "s2" || len(rec.Switch.Approvals) != 0 {
		t.Errorf("%v: %+v", err, rec.Switch)
	}
}

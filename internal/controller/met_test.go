package controller

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// recovered is the group after its store was made anew from an old copy: incarnation 2, owned by nobody.
func recovered(r *unit.Record) { *r = inNext(*r, "y") }

func inNext(r unit.Record, id string) unit.Record {
	next, err := unit.Apply(r, unit.Transition{
		Kind: unit.Recover, Incarnation: estate.Incarnation{Counter: r.Ownership.Incarnation.Counter + 1, ID: id}, Ownership: r.Ownership, Revision: 41,
	})
	if err != nil {
		panic(err)
	}
	return next
}

// met is the agent of a running, closed member that has met an ownership.
func met(l estate.Life, seen estate.Ownership) func(string, []byte) (any, error) {
	return func(string, []byte) (any, error) {
		return wire.AgentState{Group: group, Member: l.Member, Life: l.N, Running: true, Answering: true, Seen: seen}, nil
	}
}

func of(counter uint64, id string, epoch estate.Epoch) estate.Ownership {
	return estate.Ownership{Incarnation: estate.Incarnation{Counter: counter, ID: id}, Epoch: epoch}
}

func propose(w *world, id string) (wire.SwitchAnswer, error) {
	return w.Switch(w.t.Context(), "ann", u1, wire.SwitchRequest{To: "c", Mode: unit.Emergency, ID: id})
}

func accept(w *world, person, id string) error {
	_, err := w.Accept(w.t.Context(), person, u1, wire.AcceptRequest{Switch: id, Reason: "city lost"})
	return err
}

// settled waits until the controller has the record that is in the store.
func settled(w *world) int64 {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rec.Revision
}

func refusedByI10(t *testing.T, err error, parts ...string) {
	t.Helper()
	var said *errs.Error
	if !errors.As(err, &said) || said.Kind != errs.Refused || said.Invariant != "I10" {
		t.Fatalf("not refused by I10: %v", err)
	}
	for _, part := range parts {
		if !strings.Contains(said.Message, part) {
			t.Errorf("%q does not say %q", said.Message, part)
		}
	}
}

func TestRecoveredStoreProposesNothingBelowWhatADatabaseHasMet(t *testing.T) {
	for name, c := range map[string]struct {
		seen estate.Ownership
		says []string
	}{
		"a higher incarnation":                {of(5, "z", 3), []string{"u1-b at site b", "incarnation 5.z epoch 3", "incarnation 2.y", "perdure node recover, 4 times"}},
		"the same counter, another identity":  {of(2, "z", 1), []string{"u1-b", "incarnation 2.z", "perdure node recover, start"}},
		"a higher epoch of this incarnation":  {of(2, "y", 99), []string{"u1-b", "incarnation 2.y epoch 99", "perdure node recover, start"}},
		"two recoveries of one origin at all": {of(2, "y", 1<<64-1), []string{"u1-b", "another one with this number"}},
	} {
		t.Run(name, func(t *testing.T) {
			watching(t, recovered, nil, func(w *world) {
				w.set(func() { w.agents[a], w.agents[b] = gone, met(life(b, 1), c.seen) })
				before := w.record()
				_, err := propose(w, "s1")
				refusedByI10(t, err, c.says...)
				if d := cmp.Diff(before, w.record()); d != "" {
					t.Errorf("the record was changed:\n%s", d)
				}
				plan, err := w.Switch(w.t.Context(), "ann", u1, wire.SwitchRequest{To: "c", Mode: unit.Emergency, DryRun: true})
				i := slices.IndexFunc(plan.Checks, func(c wire.Check) bool { return c.Name == "rules" && !c.OK })
				if err != nil || i < 0 || !strings.Contains(plan.Checks[i].Detail, "u1-b") || plan.Loss == nil {
					t.Errorf("the dry run shows %+v, %v", plan.Checks, err)
				}
			})
		})
	}
}

func TestTheIncarnationThatTheRefusalAsksForIsGranted(t *testing.T) {
	watching(t, recovered, nil, func(w *world) {
		w.set(func() { w.agents[b] = met(life(b, 1), of(3, "z", 7)) })
		_, err := propose(w, "s1")
		refusedByI10(t, err, "perdure node recover, 2 times")
		w.set(func() {
			w.rec = wire.Group{Record: inNext(inNext(w.rec.Record, "v"), "w"), Revision: w.rec.Revision + 1}
		})
		if _, err := propose(w, "s2"); err != nil {
			t.Fatal(err)
		}
	})
}

func TestLossIsNotAcceptedNorDecidedBelowWhatADatabaseHasMetSince(t *testing.T) {
	watching(t, recovered, nil, func(w *world) {
		w.set(func() { w.agents[a], w.agents[b] = gone, gone })
		if _, err := propose(w, "s1"); err != nil {
			t.Fatal(err)
		}
		if err := accept(w, "ann", "s1"); err != nil {
			t.Fatal(err)
		}
		w.set(func() { w.agents[b] = met(life(b, 1), of(4, "z", 1)) })
		refusedByI10(t, accept(w, "bob", "s1"), "u1-b", "incarnation 4.z")
		w.set(func() { w.agents[b] = gone })
		if err := accept(w, "bob", "s1"); err != nil {
			t.Fatal(err)
		}

		decide := unit.Transition{Kind: unit.Decide, By: life(c, 1), Member: life(c, 1), SwitchID: "s1", Ownership: w.record().Ownership}
		revision := settled(w)
		w.set(func() { w.agents[b] = met(life(b, 1), of(4, "z", 1)) })
		for _, r := range []int64{revision, revision - 1, 0} { // whatever the agent, or this node, knows of the record
			refusedByI10(t, w.MayGrant(w.t.Context(), group, r, decide), "u1-b")
		}
		w.set(func() { w.agents[b] = hangs })
		began := time.Now()
		if err := w.MayGrant(w.t.Context(), group, revision, decide); err != nil || time.Since(began) > askedBound {
			t.Fatalf("%v after %s", err, time.Since(began))
		}
		if _, err := w.Transition(w.t.Context(), "agent", group, 0, decide); err != nil || w.record().Owner != life(c, 1) {
			t.Fatalf("%v: the dead keep nobody from deciding: %+v", err, w.record().Owner)
		}
	})
}

func TestWhatLosesNothingIsDecidedWithoutAsking(t *testing.T) {
	watching(t, nil, nil, func(w *world) {
		revision := settled(w)
		w.set(func() { w.agents[a], w.agents[c] = hangs, met(life(c, 1), of(9, "z", 1)) })
		began := time.Now()
		for _, tr := range []unit.Transition{
			{Kind: unit.Decide, By: life(b, 1), Member: life(b, 1)}, {Kind: unit.Reopen, By: life(a, 1)}, {Kind: unit.Enrol, By: life(a, 1)},
		} {
			if err := w.MayGrant(w.t.Context(), group, revision, tr); err != nil || time.Since(began) > 0 {
				t.Errorf("%s: %v after %s", tr.Kind, err, time.Since(began))
			}
		}
	})
}

func TestFirstOpeningInARecoveredEstateAsksTheOthers(t *testing.T) {
	fresh := func(r *unit.Record) {
		*r = unit.Bootstrap(group, "core", []estate.UnitID{u1}, unit.Policy{}, r.Members, a, estate.Incarnation{Counter: 2, ID: "y"})
	}
	watching(t, fresh, nil, func(w *world) {
		reopen := unit.Transition{Kind: unit.Reopen, By: life(a, 1)}
		if err := w.MayGrant(w.t.Context(), group, settled(w), reopen); err != nil {
			t.Fatal(err)
		}
		w.set(func() { w.agents[b] = met(life(b, 1), of(3, "z", 1)) })
		refusedByI10(t, w.MayGrant(w.t.Context(), group, settled(w), reopen), "u1-b")
	})
}

func TestProposalNamesWhatCanBeFencedAndWhatCannot(t *testing.T) {
	says := func(m estate.MemberID, s wire.AgentState) func(string, []byte) (any, error) {
		s.Group, s.Member = group, m
		return func(string, []byte) (any, error) { return s, nil }
	}
	for name, c := range map[string]struct {
		agent func(string, []byte) (any, error)
		want  unit.Fence
	}{
		"it is closed":                    {says(a, wire.AgentState{Running: true, Answering: true}), unit.Shut},
		"its database is dead":            {says(a, wire.AgentState{Open: true}), unit.Shut},
		"it is open":                      {says(a, wire.AgentState{Running: true, Answering: true, Open: true}), unit.Reached},
		"it acknowledges for another one": {says(a, wire.AgentState{Running: true, Answering: true, InRecovery: true, Streaming: true}), unit.Reached},
		"its database hangs":              {says(a, wire.AgentState{Running: true}), unit.Reached},
		"its agent is gone":               {gone, unit.Unreached},
		"its agent hangs":                 {hangs, unit.Unreached},
		"another agent is there":          {says(b, wire.AgentState{Running: true, Answering: true}), unit.Unreached},
	} {
		t.Run(name, func(t *testing.T) {
			watching(t, recovered, nil, func(w *world) {
				w.set(func() { w.agents[a] = c.agent })
				began := time.Now()
				answer, err := propose(w, "s1")
				if err != nil || time.Since(began) > askedBound {
					t.Fatalf("%v after %s", err, time.Since(began))
				}
				kept := w.record().Switch.Loss.Others
				if d := cmp.Diff(answer.Loss.Others, kept); d != "" {
					t.Errorf("the second person sees something else:\n%s", d)
				}
				if len(kept) != 2 || kept[0].Member != a || kept[0].Site != "a" || kept[0].State != c.want || kept[0].Detail == "" || kept[1].Member != b || kept[1].State != unit.Shut {
					t.Errorf("%+v", kept)
				}
				if text, _ := json.Marshal(kept[0]); !strings.HasPrefix(string(text), `{"member":"u1-a","site":"a","state":"`+string(c.want)+`"`) {
					t.Errorf("%s", text)
				}
			})
		})
	}
}

func TestEstimateWithAgentsThatHangIsAnsweredInItsTime(t *testing.T) {
	slow := &kept{}
	slow.all = []Kept{{At: time.Now(), Receipt: driver.Receipt{Key: "k1"}}}
	watching(t, recovered, slow, func(w *world) {
		w.set(func() { w.agents[a], w.agents[b], w.agents[c] = hangs, hangs, hangs })
		began := time.Now()
		answer, err := propose(w, "s1")
		if err != nil || time.Since(began) > estimateBound {
			t.Fatalf("%v after %s", err, time.Since(began))
		}
		if answer.Loss.Transactions != -1 || len(answer.Loss.Others) != 2 {
			t.Errorf("%+v", answer.Loss)
		}
	})
}

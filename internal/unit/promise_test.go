package unit

import (
	"slices"
	"testing"
	"time"

	"perdure/internal/estate"
)

func epoch(n uint64) estate.Ownership {
	return estate.Ownership{Incarnation: estate.Incarnation{Counter: 1, ID: "x"}, Epoch: estate.Epoch(n)}
}

func TestPromiseEndsWhenTheRecordSaysThatNobodyReliesOnIt(t *testing.T) {
	owner := estate.Life{Member: "a", N: 1}
	open := Record{State: Open, Owner: owner, Ownership: epoch(3)}
	dead, drained, other := open, open, open
	dead.Down = &owner
	drained.Switch = &Switch{Phase: Drained, Ownership: epoch(3)}
	other.Down = &estate.Life{Member: "a", N: 0}
	for name, tc := range map[string]struct {
		rec  Record
		over bool
	}{"open": {open, false}, "dead": {dead, true}, "drained": {drained, true}, "an earlier life was dead": {other, false}} {
		var p Promise
		if !p.Grant(epoch(3), time.Second, 0) {
			t.Fatal("not granted")
		}
		p.Learn(tc.rec, time.Millisecond)
		if p.Over(time.Millisecond) != tc.over {
			t.Errorf("%s: over %v", name, !tc.over)
		}
	}
}

func TestLeaseForgetsWhatWasPromisedForAnotherOwnership(t *testing.T) {
	b := estate.Life{Member: "b", N: 1}
	set := []estate.Life{b}
	var l Lease
	l.Granted(epoch(3), b, 0, time.Second)
	if until := l.Until(epoch(3), set, 0, time.Second); until != time.Second {
		t.Errorf("until %s", until)
	}
	if until := l.Until(epoch(4), set, 0, time.Second); until > 0 {
		t.Errorf("a promise for an ownership that was left counts until %s", until)
	}
	l.Granted(epoch(4), b, 100*time.Millisecond, time.Second)
	l.Granted(epoch(3), b, 500*time.Millisecond, time.Second) // an answer that comes late
	if until := l.Until(epoch(4), set, 500*time.Millisecond, time.Second); until != 1100*time.Millisecond {
		t.Errorf("until %s", until)
	}
	if until := l.Until(epoch(9), nil, 0, time.Second); until != time.Second {
		t.Errorf("without a set until %s", until)
	}
}

func TestLeaseNeedsEverybodyWhoMayBeInForce(t *testing.T) {
	b, c := estate.Life{Member: "b", N: 1}, estate.Life{Member: "c", N: 2}
	rec := Record{State: Open, Members: []Member{{ID: "a"}, {ID: "b"}, {ID: "c"}}, InSync: []estate.Life{b}}
	track := NewTracker(0)
	track.Look(View{Running: true, Answering: true, SyncNames: []string{"b.1"}}, false, 0)
	track.Force([]estate.Life{b, c})
	if set := LeaseSet(rec, track.InForce()); !slices.Equal(set, []estate.Life{b, c}) {
		t.Fatalf("while it is put in force: %v", set)
	}
	track.Forced()
	track.Look(View{Running: true, Answering: true, SyncNames: []string{"b.1"}}, false, 0) // a look that began before
	if set := LeaseSet(rec, track.InForce()); !slices.Equal(set, []estate.Life{b, c}) {
		t.Errorf("before a fresh look: %v", set)
	}
	track.Look(View{Running: true, Answering: true, SyncNames: []string{"b.1", "c.2", "perdure-ghost.0"}}, track.Settled(), 0)
	if set := LeaseSet(rec, track.InForce()); !slices.Equal(set, []estate.Life{b, c}) {
		t.Errorf("as seen: %v", set)
	}
	track.Look(View{Running: true, Answering: true, SyncNames: []string{"b.1"}}, track.Settled(), 0)
	if set := LeaseSet(rec, track.InForce()); !slices.Equal(set, []estate.Life{b}) {
		t.Errorf("after it was taken out: %v", set)
	}
}

func TestRecordOfAHigherIncarnationIsNewerAtAnyRevision(t *testing.T) {
	old := Record{Ownership: epoch(9)}
	recovered := Record{Ownership: estate.Ownership{Incarnation: estate.Incarnation{Counter: 2, ID: "y"}, Epoch: 10}}
	if !Newer(recovered, 3, old, 800) || Newer(old, 900, recovered, 3) || Newer(old, 800, old, 800) || !Newer(old, 801, old, 800) {
		t.Error("incarnation first, then revision")
	}
	twin := estate.Incarnation{Counter: 1, ID: "z"}
	both := Self{Seen: epoch(9)}
	if !both.Meets(twin) || both.Meets(twin) || !epoch(1_000_000).Less(both.Seen) || !both.Seen.Less(recovered.Ownership) {
		t.Errorf("another recovery of the same origin does not end both: %+v", both)
	}
	self := Self{Seen: epoch(9)}
	if !self.Meets(recovered.Ownership.Incarnation) || self.Meets(recovered.Ownership.Incarnation) || self.Meets(epoch(1).Incarnation) {
		t.Errorf("%+v", self)
	}
}

package unit

import (
	"slices"
	"testing"
	"time"

	"perdure/internal/estate"
)

func TestOwnerWithAFullDiskHandsOverOnlyToACopyWithRoom(t *testing.T) {
	rec := testGroup()
	a, b := estate.Life{Member: "a", N: 1}, estate.Life{Member: "b", N: 1}
	rec.Ownership.Epoch, rec.Owner, rec.State, rec.InSync, rec.Session = 1, a, Open, []estate.Life{b}, 1
	rec.Members[0].Life, rec.Members[1].Life = 1, 1
	self := Self{Member: "a", Life: 1, FirstLife: 1, Seen: rec.Ownership, Opened: rec.Ownership, Session: 1}
	full := View{
		Directory: PrimaryDir, Running: true, Answering: true, Gates: []Gate{{Unit: "u1", Ownership: rec.Ownership, Open: true}},
		SyncNames: []string{b.String()}, Copies: []Copy{{Life: b, Streaming: true, Usable: true}}, Full: true, FullFor: time.Second,
	}
	next := func(rec Record, v View) Action { return Next(rec, self, v, DefaultTiming(), 1_000_000) }
	if got := next(rec, full); got.Do != Post || got.Transition.Kind != OwnerDown {
		t.Errorf("a full disk and a copy with room: %s %s", got.Do, got.Why)
	}
	for name, change := range map[string]func(*Record, *View){
		"for a moment only":            func(_ *Record, v *View) { v.FullFor = time.Millisecond },
		"the copy is full too":         func(_ *Record, v *View) { v.Copies = []Copy{{Life: b, Streaming: true, Usable: true, Full: true}} },
		"the copy does not stream":     func(_ *Record, v *View) { v.Copies = []Copy{{Life: b, Usable: true}} },
		"a person has to confirm":      func(r *Record, _ *View) { r.Policy.Failover = Confirm },
		"it was switched a moment ago": func(r *Record, _ *View) { r.LastAutomatic = 999_000 },
	} {
		r, v := rec.Clone(), full
		change(&r, &v)
		if got := next(r, v); got.Do == Post && got.Transition.Kind == OwnerDown {
			t.Errorf("%s: it hands over", name)
		}
	}
}

func TestDrainedOwnerStaysUpForAFarewell(t *testing.T) {
	a, b := estate.Life{Member: "a", N: 1}, estate.Life{Member: "b", N: 1}
	rec := testGroup()
	rec.State, rec.Owner, rec.Ownership.Epoch = Open, b, 2
	rec.Members[0].Life, rec.Members[1].Life = 1, 1
	self := Self{Member: "a", Life: 1, FirstLife: 1, Seen: rec.Ownership, Owned: estate.Ownership{Incarnation: rec.Ownership.Incarnation, Epoch: 1}}
	view := View{Directory: PrimaryDir, Running: true, Answering: true}
	do := func(fence estate.LSN, since time.Duration) Do {
		rec.Past = []Past{{Owner: a, Fence: fence}}
		view.PhaseFor = since
		return Next(rec, self, view, DefaultTiming(), 1_000_000).Do
	}
	if got := do(7, 0); got != Wait {
		t.Errorf("just drained: %s", got)
	}
	if got := do(7, time.Second); got != Stop {
		t.Errorf("a second later: %s", got)
	}
	if got := do(0, 0); got != Stop {
		t.Errorf("overtaken, not drained: %s", got)
	}
}

func TestOwnerGivesUpATargetThatIsGoneBeforeTheDecision(t *testing.T) {
	rec := testGroup()
	a, b := estate.Life{Member: "a", N: 1}, estate.Life{Member: "b", N: 1}
	rec.Ownership.Epoch, rec.Owner, rec.State, rec.InSync, rec.Session = 1, a, Open, []estate.Life{b}, 1
	rec.Members[0].Life, rec.Members[1].Life = 1, 1
	self := Self{Member: "a", Life: 1, FirstLife: 1, Seen: rec.Ownership, Opened: rec.Ownership, Session: 1}
	timing := DefaultTiming()
	for _, phase := range []Phase{Closing, Drained} {
		rec.Switch = &Switch{ID: "s1", Phase: phase, Ownership: rec.Ownership, Budget: 5 * time.Second, To: b, From: a, At: map[Phase]int64{}}
		view := View{
			Directory: PrimaryDir, Running: true, Answering: true, Gates: []Gate{{Unit: "u1", Ownership: rec.Ownership}},
			SyncNames: []string{b.String()}, Copies: []Copy{{Life: b, Usable: true, MissingFor: timing.Missing / 2}},
		}
		if got := Next(rec, self, view, timing, 1_000_000); got.Do == Post {
			t.Errorf("%s, the target gone for a moment: %s %s", phase, got.Do, got.Why)
		}
		view.Copies[0].MissingFor = timing.Missing
		got := Next(rec, self, view, timing, 1_000_000)
		if got.Do != Post || got.Transition.Kind != Shrink || got.Transition.Member != b {
			t.Fatalf("%s, the target gone: %s %s", phase, got.Do, got.Why)
		}
		after, err := Apply(rec, got.Transition)
		if err != nil || after.Switch.Phase != Failed || after.InSyncLife(b) {
			t.Fatalf("%s: %v, switch %s, in-sync %s", phase, err, after.Switch.Phase, names(after.InSync))
		}
		if got := Next(after, self, view, timing, 1_000_000); got.Do != Post || got.Transition.Kind != Reopen {
			t.Errorf("%s, given up: %s %s", phase, got.Do, got.Why)
		}
		rec.Policy.MinInSync = 1
		if got := Next(rec, self, view, timing, 1_000_000); got.Do == Post {
			t.Errorf("%s, a copy that policy keeps: %s %s", phase, got.Do, got.Why)
		}
		rec.Policy.MinInSync = 0
	}
}

func TestPhasesBeforeTheDecisionShareOneBudget(t *testing.T) {
	rec := testGroup()
	still := rec.Stage()
	rec.Switch = &Switch{ID: "s1", Phase: Closing}
	closing := rec.Stage()
	rec.Switch.Phase = Drained
	drained := rec.Stage()
	rec.Switch.Phase = Promotion
	decided := rec.Stage()
	rec.Switch.Phase = Failed
	if still == closing || closing != drained || drained == decided || rec.Stage() != still {
		t.Errorf("%v, %v, %v, %v, %v", still, closing, drained, decided, rec.Stage())
	}
}

// A cold member is given nothing to do until people want it restored, and what it is then is a copy in a new life, which nothing but a decision makes
// the owner.
func TestColdMemberIsRestoredOnlyWherePeopleWantIt(t *testing.T) {
	rec := testGroup()
	i := slices.IndexFunc(rec.Members, func(m Member) bool { return m.Role == AsyncRole })
	if i < 0 {
		t.Fatal("the group has no asynchronous member")
	}
	rec.Ownership.Epoch, rec.Owner, rec.State = 1, estate.Life{Member: "a", N: 1}, Open
	self := Self{Member: rec.Members[i].ID, Seen: rec.Ownership}
	empty := View{Directory: EmptyDir}
	do := func(v View) Do { return Next(rec, self, v, DefaultTiming(), 1_000_000).Do }
	if got := do(empty); got != Reinitialise {
		t.Errorf("an ordinary copy: %s", got)
	}
	rec.Members[i].Backup = Backup{Every: time.Hour, Keep: 2}
	wanted := View{Directory: EmptyDir, Restore: true}
	for name, change := range map[string]func(){
		"open":      func() {},
		"promoting": func() { rec.State = Promoting },
		"recovered": func() { rec.State, rec.Lost = Closed, &LostSet{} },
	} {
		change()
		if got := do(empty); got != Wait {
			t.Errorf("%s, nobody wants it: %s", name, got)
		}
		if got := do(wanted); got != Restore {
			t.Errorf("%s, people want it: %s", name, got)
		}
		rec.State, rec.Lost = Open, nil
	}
	if got := do(View{Directory: PrimaryDir, Restore: true}); got == Restore {
		t.Error("a directory that was an owner is restored over")
	}
	rec.Members[i].Role = SyncRole
	if got := do(wanted); got != Reinitialise {
		t.Errorf("a synchronous member is never cold: %s", got)
	}
}

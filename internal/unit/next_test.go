package unit

import (
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

package store_test

import (
	"strings"
	"testing"

	"perdure/internal/errs"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/run/runtest"
	"perdure/internal/store"
	"perdure/internal/wire"
)

func reads(node string, oldest, newest run.Format) wire.NodeFormats {
	return wire.NodeFormats{Node: node, Version: "v" + node, Oldest: oldest, Newest: newest}
}

func announce(t *testing.T, s *store.Store, n wire.NodeFormats) {
	t.Helper()
	if err := s.Announce(t.Context(), n); err != nil {
		t.Fatal(err)
	}
}

func raise(t *testing.T, s *store.Store, by wire.NodeFormats, want bool) {
	t.Helper()
	raised, err := s.RaiseFormat(t.Context(), by, []string{"a", "b", "c"})
	if err != nil || raised != want {
		t.Fatalf("raised %t, wanted %t: %v", raised, want, err)
	}
}

// TestFormatIsRaisedOnceEveryMemberReadsIt and never before, never beyond what each reads, and never lowered.
func TestFormatIsRaisedOnceEveryMemberReadsIt(t *testing.T) {
	s, _ := begunStore(t)
	a := reads("a", 1, 4)
	raise(t, s, a, false)
	announce(t, s, a)
	announce(t, s, reads("b", 1, 3))
	raise(t, s, a, false) // nobody knows what c reads
	announce(t, s, reads("c", 1, 1))
	raise(t, s, a, false)
	announce(t, s, reads("d", 1, 1)) // it was a member once
	announce(t, s, reads("c", 1, 9))
	announce(t, s, reads("c", 1, 1)) // it has gone back
	raise(t, s, a, false)
	announce(t, s, reads("c", 1, 9))
	raise(t, s, a, true)
	f, err := s.Formats(t.Context(), wire.Fresh)
	if err != nil || f.Journal.Format != 3 || f.Journal.By != "node:a" || f.Journal.Version != "va" || len(f.Nodes) != 4 {
		t.Fatalf("%+v, %v", f, err)
	}
	raise(t, s, a, false)
	announce(t, s, reads("b", 2, 3))

	refused := reads("c", 1, 2)
	err = s.Announce(t.Context(), refused)
	if kind(t, err, errs.Refused); !run.Newer(err) || !strings.Contains(err.Error(), "reads formats 1 to 2") || !strings.Contains(err.Error(), "Start version va") {
		t.Errorf("what went back too late: %v", err)
	}
	kind(t, s.LearnFormat(t.Context(), refused, wire.Fresh), errs.Refused)
	kind(t, s.Announce(t.Context(), reads("c", 4, 5)), errs.Refused) // two versions at once
	if f, err = s.Formats(t.Context(), wire.Fresh); err != nil || f.Nodes[2] != reads("c", 1, 9) {
		t.Errorf("what was refused stands there: %+v, %v", f, err)
	}
	events, err := s.Events(t.Context(), 0, 10, false, wire.Fresh)
	if err != nil || events[len(events)-1].What != "estate.format" || events[len(events)-1].Who != "node:a" {
		t.Errorf("%+v, %v", events, err)
	}
	if _, err := s.Recover(t.Context(), "person:ann", "recover", "test"); err != nil {
		t.Fatal(err)
	}
	if f, err = s.Formats(t.Context(), wire.Fresh); err != nil || f.Journal.Format != 3 || len(f.Nodes) != 0 {
		t.Errorf("after a recovery: %+v, %v", f, err)
	}
}

// TestRunOfANewerVersionIsRefused (R9), with what it is: by a form, by an entry, and by the program that it is pinned to.
func TestRunOfANewerVersionIsRefused(t *testing.T) {
	s, n := begunStore(t)
	p := runtest.Program(t, runSteps, plan.Takeover)
	for id, value := range map[string]string{"form": `{"format":7}`, "entry": `[{"seq":2,"what":"dreamt","by":"ann"}]`, "field": `[{"seq":2,"what":"paused","by":"ann","softly":true}]`} {
		startRun(t, s, id, p)
		if _, err := n.Client().Put(t.Context(), store.Root+"journals/"+id+"/0000000002", value); err != nil {
			t.Fatal(err)
		}
		_, err := s.Journal(t.Context(), id, 0)
		if kind(t, err, errs.Refused); !run.Newer(err) || !strings.Contains(err.Error(), "run "+id) {
			t.Errorf("%s: %v", id, err)
		}
		before, err := s.Run(t.Context(), id, wire.Fresh)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Say(t.Context(), id, run.Entry{What: run.Paused, By: "ann"})
		kind(t, err, errs.Refused)
		if after, err := s.Run(t.Context(), id, wire.Fresh); err != nil || after.Revision != before.Revision {
			t.Errorf("%s: it was changed: %+v, %v", id, after, err)
		}
	}
}

package unit

import (
	"strings"
	"testing"
	"time"

	"perdure/internal/estate"
)

func TestSwitchWhoseOwnersAgentIsSilentIsTakenOverByTheSetOnceItsBudgetIsUsedUp(t *testing.T) {
	rec := testGroup()
	a, b := estate.Life{Member: "a", N: 1}, estate.Life{Member: "b", N: 1}
	rec.Ownership.Epoch, rec.Owner, rec.State, rec.InSync = 1, a, Open, []estate.Life{b}
	rec.Members[0].Life, rec.Members[1].Life = 1, 1
	rec.Switch = &Switch{ID: "s1", Phase: Closing, Ownership: rec.Ownership, Budget: 5 * time.Second, To: b, From: a}
	// Its database answers, so the owner itself is not silent; its agent is, to two of three nodes.
	silent := Sight{Nodes: 3, PhaseFor: 5100 * time.Millisecond, Silences: []time.Duration{0, 0, 0}, Agents: []time.Duration{2 * time.Second, 0, 3 * time.Second}}
	if got := Watch(rec, silent, DefaultTiming(), 1_000_000); !got.Names(b) || got.Abort {
		t.Errorf("%+v", got)
	}
	for _, later := range []time.Duration{8 * time.Second, time.Hour} { // the set may come back only then, and nobody else can open the gates
		s := silent
		s.PhaseFor = later
		if got := Watch(rec, s, DefaultTiming(), 1_000_000); !got.Names(b) || got.Abort {
			t.Errorf("after %s: %+v", later, got)
		}
	}
	for name, c := range map[string]struct {
		change func(*Record, *Sight)
		abort  bool
	}{
		"within the budget":            {func(_ *Record, s *Sight) { s.PhaseFor = 4 * time.Second }, false},
		"a majority hears the agent":   {func(_ *Record, s *Sight) { s.Agents = []time.Duration{2 * time.Second, 0} }, true},
		"a person has to confirm":      {func(r *Record, _ *Sight) { r.Policy.Failover = Confirm }, true},
		"it was switched a moment ago": {func(r *Record, _ *Sight) { r.LastAutomatic = 999_000 }, false},
		"the set is empty":             {func(r *Record, _ *Sight) { r.InSync = nil }, true},
		"no switch is running":         {func(r *Record, _ *Sight) { r.Switch.Phase = Failed }, false},
	} {
		r, s := rec.Clone(), silent
		c.change(&r, &s)
		if got := Watch(r, s, DefaultTiming(), 1_000_000); got.Abort != c.abort || len(got.Candidates) > 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestPeopleAreToldOnlyOfWhatNothingTakesOver(t *testing.T) {
	rec := Record{Group: "g", State: Open, Policy: Policy{Failover: Auto}, Owner: estate.Life{Member: "a", N: 1}}
	timing := DefaultTiming()
	silent := func(d time.Duration) Sight { return Sight{Nodes: 3, Silences: []time.Duration{d, d, 0}} }
	if why := Stricken(rec, silent(3*timing.Silence-1), timing); why != "" {
		t.Error(why)
	}
	if why := Stricken(rec, silent(3*timing.Silence), timing); !strings.Contains(why, "no copy in sync may take over") {
		t.Error(why)
	}
	rec.Policy.Failover = Confirm
	if why := Stricken(rec, silent(time.Minute), timing); !strings.Contains(why, "a person confirms") {
		t.Error(why)
	}
	if why := Stricken(rec, Sight{Nodes: 3, Silences: []time.Duration{time.Minute, 0}}, timing); why != "" {
		t.Errorf("one node alone: %s", why)
	}
	rec.State = Promoting
	if why := Stricken(rec, silent(time.Minute), timing); why != "" {
		t.Errorf("it is decided: %s", why)
	}
}

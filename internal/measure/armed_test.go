package measure

import (
	"testing"
	"time"
)

// TestAnArmedRunIsVerifiedByRunsOfWhatItIsNow and by no earlier one.
func TestAnArmedRunIsVerifiedByRunsOfWhatItIsNow(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 11, 23, 8, minute, 0, 0, time.UTC) }
	ran := func(id string, from, to int) Ran { return Ran{id, at(from), at(to)} }
	good, bad := &Preflight{Forecast: Forecast{Worst: time.Minute}}, &Preflight{Findings: []Finding{{Kind: LooksWrong, Step: "a", Text: "it is down"}}}
	one, other := Armed{Plan: "p", Name: "n", Print: "1"}, Armed{Plan: "p", Name: "n", Print: "2"}

	var now Armed
	for _, step := range []struct {
		name     string
		armed    Armed
		at       int
		before   *Preflight
		failed   string
		ran      []Ran
		state    ArmedState
		since    int
		verified string
	}{
		{"it is new", one, 0, good, "", []Ran{ran("early", -9, -5)}, ArmedUnverified, 0, ""},
		{"a run from before it was seen ended after", one, 1, good, "", []Ran{ran("across", -1, 1)}, ArmedUnverified, 0, ""},
		{"a run has shown it", one, 5, good, "", []Ran{ran("r1", 2, 4)}, ArmedReady, 0, "r1"},
		{"something speaks against it", one, 6, bad, "", nil, ArmedFindings, 0, "r1"},
		{"the run is forgotten, what it showed is not", one, 7, good, "", nil, ArmedReady, 0, "r1"},
		{"a later one shows it again", one, 12, good, "", []Ran{ran("r1", 2, 4), ran("r2", 8, 11)}, ArmedReady, 0, "r2"},
		{"nothing can be said", one, 13, nil, "the plan cannot be read", nil, ArmedUnknown, 0, "r2"},
		{"it, or what it touches, was changed", other, 14, good, "", []Ran{ran("r2", 8, 11)}, ArmedUnverified, 14, ""},
		{"and back: that counts as a change too", one, 15, good, "", []Ran{ran("r2", 8, 11)}, ArmedUnverified, 15, ""},
	} {
		before := now
		now = step.armed.Look(at(step.at), step.before, step.failed, step.ran, before)
		if got := now.State(at(step.at)); got != step.state || !now.Since.Equal(at(step.since)) || now.Verified != step.verified {
			t.Errorf("%s: %s since %s by %q, want %s since %s by %q", step.name, got, now.Since, now.Verified, step.state, at(step.since), step.verified)
		}
	}
	if got := now.State(at(15).Add(StaleAfter)); got != ArmedUnverified {
		t.Errorf("looked at just now: %s", got)
	}
	if got := now.State(at(15).Add(StaleAfter + 1)); got != ArmedUnknown {
		t.Errorf("not looked at for long: %s", got)
	}
}

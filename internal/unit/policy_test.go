package unit

import (
	"strings"
	"testing"
	"time"

	"perdure/internal/estate"
)

func TestPolicyThatAnOpenGroupDoesNotKeepIsRefused(t *testing.T) {
	for _, inSync := range [][]estate.Life{nil, {{Member: "b", N: 1}}} {
		rec := testGroup()
		rec.State, rec.InSync = Open, inSync
		for i := range rec.Members {
			rec.Members[i].Life = 1
		}
		pinned := append([]Member(nil), rec.Members...)
		for i := range pinned {
			if pinned[i].ID == "b" {
				pinned[i].Role = PinnedRole
			}
		}
		for what, amend := range map[string]Transition{
			"minInSync 1":       {Policy: &Policy{Failover: Auto, MinInSync: 1}},
			"a pinned copy":     {Members: pinned},
			"something else":    {Policy: &Policy{Failover: Confirm}},
			"another retention": {Policy: &Policy{Failover: Auto, Retention: time.Hour}},
		} {
			amend.Kind, amend.Person, amend.Ownership = Amend, "ann", rec.Ownership
			_, err := Apply(rec, amend)
			strict := strings.Contains(what, "1") || strings.Contains(what, "pinned")
			if refused := err != nil; refused != (strict && len(inSync) == 0) {
				t.Errorf("in-sync set %v, %s: %v", inSync, what, err)
			}
		}
	}
}

func TestOneFastClockDoesNotSwitchFailoverOff(t *testing.T) {
	rec := testGroup() // damping 10 s
	now := time.Now().UnixMilli()
	for ago, want := range map[time.Duration]bool{
		time.Second: true, 9 * time.Second: true, 11 * time.Second: false,
		-time.Second: true, -time.Hour: false, // decided by a clock that is an hour ahead
	} {
		rec.LastAutomatic = now - ago.Milliseconds()
		if got := rec.Damped(now); got != want {
			t.Errorf("decided %s ago: damped %t, want %t", ago, got, want)
		}
	}
	rec.LastAutomatic = 0
	if rec.Damped(1) {
		t.Error("damped although it never switched")
	}
}

func TestOnlyMembersOfTheGroupAndPeopleAbortItsSwitch(t *testing.T) {
	for by, refused := range map[estate.MemberID]bool{"a": false, "": false, "u2-a": true} {
		rec := testGroup()
		rec.State, rec.Switch = Open, &Switch{ID: "s1", Phase: Closing, At: map[Phase]int64{}}
		_, err := Apply(rec, Transition{Kind: Abort, By: estate.Life{Member: by}, Ownership: rec.Ownership, SwitchID: "s1"})
		if (err != nil) != refused {
			t.Errorf("asked by %q: %v", by, err)
		}
	}
}

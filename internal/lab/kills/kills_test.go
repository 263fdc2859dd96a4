package kills_test

import (
	"slices"
	"testing"
	"time"

	"perdure/internal/estate"
	"perdure/internal/lab/kills"
	"perdure/internal/lab/story"
)

func rounds(seed uint64, n int) []kills.Round {
	c := kills.New(seed, []estate.UnitID{"u1", "u2"})
	var all []kills.Round
	for range n {
		all = append(all, c.Next())
	}
	return all
}

func TestKillsRepeatWithTheirSeedAndRotateWithIt(t *testing.T) {
	if !slices.Equal(rounds(7, 64), rounds(7, 64)) {
		t.Error("the same seed makes other choices")
	}
	if slices.Equal(rounds(7, 64), rounds(8, 64)) {
		t.Error("another seed makes the same choices")
	}
}

func TestEveryKindProcessRoleAndMomentIsChosen(t *testing.T) {
	seen := map[string]int{}
	for _, r := range rounds(1, 2000) {
		for _, word := range []string{string(r.Unit), string(r.Kind), string(r.Process), string(r.Role), "moment " + string(r.Moment)} {
			seen[word]++
		}
		if r.Moment != kills.AnyTime && !slices.Contains(kills.Moments(r.Kind), r.Moment) {
			t.Errorf("%s: a %s has no such moment", r, r.Kind)
		}
		if r.After < 0 || r.After >= kills.Usual(r.Kind) {
			t.Errorf("%s: outside of the usual time", r)
		}
	}
	for _, word := range []string{
		"u1", "u2", "planned switch", "failover", "emergency", "node", "gateway", "application", "agent", "postmaster", "checkpointer", "walwriter",
		"walreceiver", "walsender", "startup", "backend", "owner", "target", "remote", "moment ", "moment hold", "moment drained", "moment decided",
		"moment severed", "moment promoted", "moment opened", "moment grown",
	} {
		if seen[word] == 0 {
			t.Errorf("in 2000 rounds there is no %q", word)
		}
	}
	if seen["child"] > 0 {
		t.Error("a round kills no process in particular")
	}
}

func TestAnyEightRoundsOfTwoUnitsHaveEveryKind(t *testing.T) {
	all := rounds(3, 8)
	for _, k := range []kills.Kind{kills.Planned, kills.Failover, kills.Emergency} {
		if !slices.ContainsFunc(all, func(r kills.Round) bool { return r.Kind == k }) {
			t.Errorf("no %s in %v", k, all)
		}
	}
}

func TestStoryOfKillsIsAStory(t *testing.T) {
	for _, text := range []string{kills.Story(30, 0), kills.Story(99, 45*time.Second)} {
		if _, err := story.Parse("kills", []byte(text)); err != nil {
			t.Error(err)
		}
	}
}

package manifest_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/estate"
	"perdure/internal/manifest"
)

func TestASystemIsAsCriticalAsWhatRestsOnIt(t *testing.T) {
	set := manifest.Set{
		Systems: []manifest.System{
			{Name: "core", DependsOn: []estate.SystemID{"rates"}},
			{Name: "front", DependsOn: []estate.SystemID{"core"}},
			{Name: "rates"},
			{Name: "mail", Criticality: estate.Important},
			{Name: "archive"},
			{Name: "side", Criticality: estate.Normal, DependsOn: []estate.SystemID{"mail"}},
		},
		Functions: []manifest.Function{
			{Name: "payments", Criticality: estate.Critical, Systems: []estate.SystemID{"front"}},
			{Name: "letters", Systems: []estate.SystemID{"archive"}},
		},
	}
	want := map[estate.SystemID]estate.Criticality{
		"front": estate.Critical, "core": estate.Critical, "rates": estate.Critical,
		"mail": estate.Important, "archive": estate.Normal, "side": estate.Normal,
	}
	if diff := cmp.Diff(want, set.Criticalities()); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

func TestTheStageOfASystemFollowsFromWhereItsCopiesAre(t *testing.T) {
	group := func(owner string, sites ...estate.SiteID) manifest.Group {
		g := manifest.Group{Name: "g", Owner: estate.MemberID("g-" + owner)}
		for _, s := range sites {
			g.Members = append(g.Members, manifest.Member{ID: estate.MemberID("g-" + string(s)), Site: s})
		}
		return g
	}
	set := manifest.Set{Sites: []manifest.Site{{Name: "a", City: "east"}, {Name: "b", City: "east"}, {Name: "c", City: "west"}}}
	for _, one := range []struct {
		want   estate.Stage
		system manifest.System
	}{
		{estate.ColdRestore, manifest.System{Groups: []manifest.Group{group("a", "a")}}},
		{estate.ColdRestore, manifest.System{Groups: []manifest.Group{group("a", "a", "b"), group("b", "b")}}},
		{estate.SameCityStandby, manifest.System{Groups: []manifest.Group{group("a", "a", "b", "c")}}},
		{estate.RemoteStandby, manifest.System{Groups: []manifest.Group{group("a", "a", "b"), group("a", "a", "c")}}},
		{estate.MultiActive, manifest.System{Groups: []manifest.Group{group("a", "a", "b"), group("b", "a", "b")}}},
		{estate.RemoteStandby, manifest.System{Stage: estate.RemoteStandby, Groups: []manifest.Group{group("a", "a", "b")}}},
		{estate.ColdRestore, manifest.System{Deployments: []manifest.Deployment{{Site: "a"}, {Module: "m", Site: "a"}}}},
		{estate.MultiActive, manifest.System{Deployments: []manifest.Deployment{{Site: "a"}, {Site: "b"}}}},
	} {
		if got := set.StageOf(&one.system); got != one.want {
			t.Errorf("%+v: %s, want %s", one.system, got, one.want)
		}
	}
}

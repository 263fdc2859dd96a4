package incident_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"perdure/internal/estate"
	"perdure/internal/incident"
	"perdure/internal/unit"
)

// onward is the end of a disruption that goes on.
const onward = -100

func minute(n int) time.Time { return began.Add(time.Duration(n) * time.Minute) }

// twoUnits is a system with the units u1 and u2, each in a group of its own, that are served since minute 0.
func twoUnits(more ...incident.Gap) ([]unit.Record, []incident.Gap) {
	records := []unit.Record{{Group: "u1", System: "core", Units: []estate.UnitID{"u1"}}, {Group: "u2", System: "core", Units: []estate.UnitID{"u2"}}}
	return records, append(more, incident.Gap{Group: "u1", Units: []estate.UnitID{"u1"}, First: true, Ended: minute(0)}, incident.Gap{Group: "u2", Units: []estate.UnitID{"u2"}, First: true, Ended: minute(0)})
}

func gapOf(group string, mode unit.Mode, from, until int) incident.Gap {
	g := incident.Gap{Group: estate.GroupID(group), System: "core", Units: []estate.UnitID{estate.UnitID(group)}, Mode: mode, Ended: minute(until)}
	if from >= 0 {
		g.Began = minute(from)
	}
	return g
}

func viewOf(from, until int, planned bool, f incident.Facts) incident.View {
	v := incident.View{From: minute(from), Incident: incident.Incident{Facts: f, Planned: planned}}
	if until != onward {
		v.Until = minute(until)
	}
	return v
}

type figures struct {
	unplanned, planned, longest time.Duration
	disruptions, unmeasured     int
}

func figuresOf(t *testing.T, list []incident.Availability, n int) figures {
	t.Helper()
	if len(list) <= n {
		t.Fatalf("%+v", list)
	}
	a := list[n]
	return figures{a.Unplanned / time.Minute, a.Planned / time.Minute, a.Longest / time.Minute, a.Disruptions, a.Unmeasured}
}

func TestAvailabilityAddsUpWhatOwnershipAndIncidentsSayAndCountsNothingTwice(t *testing.T) {
	u1, u2 := incident.Facts{Units: []estate.UnitID{"u1"}}, incident.Facts{Systems: []estate.SystemID{"core"}, Units: []estate.UnitID{"u2"}}
	for _, c := range []struct {
		name        string
		gaps        []incident.Gap
		views       []incident.View
		u1, u2, all figures
	}{
		{name: "nothing happened"},
		{
			"a failover with its incident",
			[]incident.Gap{gapOf("u1", unit.Failover, 10, 12)},
			[]incident.View{viewOf(10, 12, false, u1)},
			figures{2, 0, 2, 1, 0},
			figures{},
			figures{2, 0, 2, 1, 0},
		},
		{
			"the application took longer",
			[]incident.Gap{gapOf("u1", unit.Failover, 10, 12)},
			[]incident.View{viewOf(10, 30, false, u1)},
			figures{20, 0, 20, 1, 0},
			figures{},
			figures{20, 0, 20, 1, 0},
		},
		{
			"a planned switch, and units one after the other",
			[]incident.Gap{gapOf("u1", unit.Takeover, 10, 12), gapOf("u2", unit.Failover, 11, 15)},
			nil,
			figures{0, 2, 0, 0, 0},
			figures{4, 0, 4, 1, 0},
			figures{4, 1, 4, 1, 0},
		},
		{
			"an owner that opened again, nobody knows since when",
			[]incident.Gap{gapOf("u1", "", -1, 12)},
			nil,
			figures{0, 0, 0, 0, 1},
			figures{},
			figures{0, 0, 0, 0, 1},
		},
		{
			"the same, explained by an incident",
			[]incident.Gap{gapOf("u1", "", -1, 12)},
			[]incident.View{{From: minute(9), Until: minute(12), Incident: incident.Incident{Facts: u1, Group: "u1"}}},
			figures{3, 0, 3, 1, 0},
			figures{},
			figures{3, 0, 3, 1, 0},
		},
		{
			"a system that goes on being disrupted", nil,
			[]incident.View{viewOf(50, onward, false, incident.Facts{Systems: []estate.SystemID{"core"}}), viewOf(5, 6, true, u2)},
			figures{10, 0, 10, 1, 0},
			figures{10, 1, 10, 1, 0},
			figures{10, 1, 10, 1, 0},
		},
		{
			"what lies beyond the period",
			[]incident.Gap{gapOf("u1", unit.Failover, 55, 70), gapOf("u2", unit.Failover, 61, 62)},
			nil,
			figures{5, 0, 5, 1, 0},
			figures{},
			figures{5, 0, 5, 1, 0},
		},
	} {
		records, gaps := twoUnits(c.gaps...)
		list := incident.Served(minute(0), minute(60), records, gaps, c.views)
		for n, want := range []figures{c.u1, c.u2, c.all} {
			if got := figuresOf(t, list, n); got != want {
				t.Errorf("%s: %d: %+v, not %+v", c.name, n, got, want)
			}
		}
		if a := list[0]; a.Available == nil || *a.Available != 1-float64(a.Unplanned)/float64(time.Hour) {
			t.Errorf("%s: %v", c.name, a.Available)
		}
	}
}

func TestAvailabilityBeginsWithTheHistoryAndIsUnknownWithoutOne(t *testing.T) {
	records, gaps := twoUnits()
	list := incident.Served(minute(-60), minute(60), records, gaps[:1], nil)
	if !list[0].From.Equal(minute(0)) || list[1].Available != nil || !list[1].From.IsZero() || list[2].Available != nil {
		t.Errorf("%+v", list)
	}
}

// TestAvailabilityIsThatOfCountingMinutes compares with a count of minute after minute.
func TestAvailabilityIsThatOfCountingMinutes(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		var down, planned [60]bool
		var more []incident.Gap
		var views []incident.View
		for range r.IntN(8) {
			from := r.IntN(70) - 5
			until := from + 1 + r.IntN(10)
			isPlanned := r.IntN(2) == 0
			if r.IntN(2) == 0 && from >= 0 {
				more = append(more, gapOf("u1", map[bool]unit.Mode{true: unit.SwitchBack, false: unit.Failover}[isPlanned], from, until))
			} else {
				views = append(views, viewOf(from, until, isPlanned, incident.Facts{Units: []estate.UnitID{"u1"}}))
			}
			for m := max(0, from); m < min(60, until); m++ {
				down[m], planned[m] = down[m] || !isPlanned, planned[m] || isPlanned
			}
		}
		var want figures
		for m := range down {
			if down[m] {
				want.unplanned++
			} else if planned[m] {
				want.planned++
			}
		}
		records, gaps := twoUnits(more...)
		list := incident.Served(minute(0), minute(60), records, gaps, views)
		if got := figuresOf(t, list, 0); got.unplanned != want.unplanned || got.planned != want.planned {
			t.Fatalf("seed %d: %+v, not %+v", seed, got, want)
		}
	}
}

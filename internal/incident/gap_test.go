package incident_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/estate"
	"perdure/internal/incident"
	"perdure/internal/unit"
)

// group is a record of two members; apply drives it as agents and nodes do.
type group struct {
	t   *testing.T
	rec unit.Record
	// gaps and incidents are what the changes of the record gave.
	gaps      []incident.Gap
	incidents []incident.Incident
}

func newGroup(t *testing.T) *group {
	return &group{t: t, rec: unit.Bootstrap("u1", "core", []estate.UnitID{"u1"}, unit.Policy{Failover: unit.Auto},
		[]unit.Member{{ID: "a", Site: "a", Role: unit.SyncRole}, {ID: "b", Site: "b", Role: unit.SyncRole}}, "a", estate.Incarnation{Counter: 1, ID: "one"})}
}

func (g *group) apply(t unit.Transition) {
	g.t.Helper()
	t.Ownership = g.rec.Ownership
	next, err := unit.Apply(g.rec, t)
	if err != nil {
		g.t.Fatalf("%s: %v", t.Kind, err)
	}
	if gap, ok := incident.Opened(g.rec, next); ok {
		g.gaps = append(g.gaps, gap)
	}
	if i, ok := incident.Decided(g.rec, next, "node:a", at(t.Now)); ok {
		g.incidents = append(g.incidents, i)
	}
	g.rec = next
}

func at(millis int64) time.Time { return time.UnixMilli(millis).UTC() }

func one(m estate.MemberID) estate.Life { return estate.Life{Member: m, N: 1} }

// opened is a group whose member a serves since 1000, with b in the in-sync set.
func opened(t *testing.T) *group {
	g := newGroup(t)
	g.apply(unit.Transition{Kind: unit.Enrol, By: one("a"), Now: 1})
	g.apply(unit.Transition{Kind: unit.Enrol, By: one("b"), Now: 2})
	g.apply(unit.Transition{Kind: unit.Reopen, By: one("a"), Session: 1, Now: 1000})
	g.apply(unit.Transition{Kind: unit.Grow, By: one("a"), Session: 1, Member: one("b"), LSN: 7, Now: 1100})
	return g
}

func TestFirstOpeningBeginsTheHistoryAndIsNoDisruption(t *testing.T) {
	g := opened(t)
	want := []incident.Gap{{Group: "u1", System: "core", Units: []estate.UnitID{"u1"}, First: true, Took: g.rec.Ownership, Ended: at(1000)}}
	if d := cmp.Diff(want, g.gaps); d != "" || len(g.incidents) > 0 {
		t.Error(d, g.incidents)
	}
}

func TestFailoverOfASilentOwnerIsMeasuredFromWhenItWasLastHeard(t *testing.T) {
	g := opened(t)
	left := g.rec.Ownership
	g.apply(unit.Transition{Kind: unit.Decide, Mode: unit.Failover, Member: one("b"), Silent: true, Since: 5000, Reason: "silent", SwitchID: "x", Now: 7000})
	g.apply(unit.Transition{Kind: unit.Opened, By: one("b"), LSN: 9, Now: 8000})
	gap := g.gaps[1]
	if gap.Mode != unit.Failover || gap.Left != left || !gap.Began.Equal(at(5000)) || !gap.Ended.Equal(at(8000)) || gap.Planned() {
		t.Errorf("%+v", gap)
	}
	i := g.incidents[0]
	if len(g.incidents) != 1 || i.ID != "u1-1.1" || i.Cause != incident.ByFailover || !i.DisruptedAt.Equal(at(5000)) || !i.DetectedAt.Equal(at(7000)) || i.Title != "silent" {
		t.Errorf("%+v", g.incidents)
	}
	if s := i.Measure(g.gaps, []unit.Record{g.rec}); s.Running || !s.From.Equal(at(5000)) || !s.Until.Equal(at(8000)) {
		t.Errorf("%+v", s)
	}
}

func TestFailoverOfADeadOwnerIsMeasuredFromItsDeath(t *testing.T) {
	g := opened(t)
	g.apply(unit.Transition{Kind: unit.OwnerDown, By: one("a"), Now: 4000})
	g.apply(unit.Transition{Kind: unit.Decide, Mode: unit.Failover, By: one("b"), Member: one("b"), Now: 4400})
	if s := g.incidents[0].Measure(g.gaps, []unit.Record{g.rec}); !s.Running || !s.Until.IsZero() {
		t.Errorf("it is not open yet: %+v", s)
	}
	g.apply(unit.Transition{Kind: unit.Opened, By: one("b"), LSN: 9, Now: 5000})
	if gap := g.gaps[1]; !gap.Began.Equal(at(4000)) || !gap.Ended.Equal(at(5000)) {
		t.Errorf("%+v", gap)
	}
}

func TestDecisionThatPassesOnOpensNoSecondIncident(t *testing.T) {
	g := opened(t)
	left := g.rec.Ownership
	g.apply(unit.Transition{Kind: unit.Decide, Mode: unit.Failover, Member: one("b"), Silent: true, Since: 5000, Now: 7000})
	g.apply(unit.Transition{Kind: unit.Decide, Mode: unit.Failover, Member: one("a"), Silent: true, Since: 7100, Now: 9000})
	g.apply(unit.Transition{Kind: unit.Opened, By: one("a"), LSN: 9, Now: 9500})
	if len(g.incidents) != 1 || g.gaps[1].Left != left || !g.gaps[1].Began.Equal(at(5000)) || g.gaps[1].Mode != unit.Failover {
		t.Errorf("%+v\n%+v", g.incidents, g.gaps)
	}
}

func TestPlannedSwitchOpensNoIncidentAndItsPauseStandsInTheHistory(t *testing.T) {
	g := opened(t)
	g.apply(unit.Transition{Kind: unit.Begin, Person: "ann", Mode: unit.Takeover, Member: one("b"), SwitchID: "x", Budget: time.Second, Now: 3000})
	g.apply(unit.Transition{Kind: unit.Close, By: one("a"), LSN: 20, Marks: map[unit.Phase]int64{unit.MarkShut: 3100}, Now: 3200})
	g.apply(unit.Transition{Kind: unit.Decide, By: one("b"), Member: one("b"), LSN: 20, SwitchID: "x", Now: 3300})
	g.apply(unit.Transition{Kind: unit.Opened, By: one("b"), LSN: 20, Now: 3500})
	if gap := g.gaps[1]; len(g.incidents) > 0 || !gap.Planned() || !gap.Began.Equal(at(3100)) || !gap.Ended.Equal(at(3500)) {
		t.Errorf("%+v, %+v", gap, g.incidents)
	}
}

func TestRestartInPlaceIsADisruptionThatMayHaveNoKnownBeginning(t *testing.T) {
	g := opened(t)
	g.apply(unit.Transition{Kind: unit.Reopen, By: estate.Life{Member: "a", N: 2}, Session: 2, Now: 6000})
	if gap := g.gaps[1]; gap.Mode != "" || gap.First || !gap.Began.IsZero() || !gap.Ended.Equal(at(6000)) {
		t.Errorf("%+v", gap)
	}
	g.apply(unit.Transition{Kind: unit.OwnerDown, By: estate.Life{Member: "a", N: 2}, Now: 8000})
	g.apply(unit.Transition{Kind: unit.Reopen, By: estate.Life{Member: "a", N: 3}, Session: 3, Now: 9000})
	if gap := g.gaps[2]; !gap.Began.Equal(at(8000)) {
		t.Errorf("%+v", gap)
	}
}

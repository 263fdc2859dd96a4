package incident_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"perdure/internal/estate"
	"perdure/internal/incident"
	"perdure/internal/unit"
)

// lost is the incident of a failover of a unit that is a group of its own, disrupted after so many minutes.
func lost(t *testing.T, u estate.UnitID, minutes int, opened time.Duration) (incident.Incident, incident.Gap) {
	t.Helper()
	left := estate.Ownership{Incarnation: estate.Incarnation{Counter: 1, ID: "x"}, Epoch: 7}
	group := estate.GroupID(u)
	began := after(time.Duration(minutes) * time.Minute)
	i := incident.Incident{
		ID: incident.IDOf(group, left), Cause: incident.ByFailover, Phase: incident.Open, OpenedAt: began, OpenedBy: "node:a", Group: group, Left: left, Seq: 1,
		Facts: incident.Facts{Systems: []estate.SystemID{"core"}, Units: []estate.UnitID{u}, DisruptedAt: began, DetectedAt: began.Add(time.Second)},
	}
	return i, incident.Gap{Group: group, Units: i.Units, Mode: unit.Failover, Left: left, Began: began, Ended: began.Add(opened)}
}

func joined(t *testing.T, whole, part incident.Incident) (incident.Incident, incident.Incident) {
	t.Helper()
	next, taken, err := whole.Take(part, incident.Change{What: incident.Join, By: "ann", At: after(time.Hour), Into: whole.ID, Text: "the same power cut"})
	if err != nil {
		t.Fatal(err)
	}
	return next, taken
}

// TestJoinedIncidentsAreOne: declared, judged, reported and closed once, from the first disruption to the last opening.
func TestJoinedIncidentsAreOne(t *testing.T) {
	one, gap1 := lost(t, "u1", 10, 2*time.Minute)
	two, gap2 := lost(t, "u2", 9, 40*time.Minute)
	three, gap3 := lost(t, "u3", 11, time.Minute)
	customers := int64(700)
	two.Customers, three.Customers = &customers, &customers
	before := two
	whole, part := joined(t, one, two)
	whole, last := joined(t, whole, three)
	if !reflect.DeepEqual(two, before) || part.Phase != incident.Joined || last.Into.Value != one.ID || part.Into.By != "ann" {
		t.Fatalf("%+v", part)
	}
	if again, same, err := whole.Take(part, incident.Change{What: incident.Join, By: "bob", At: after(2 * time.Hour), Into: whole.ID}); err != nil || again.Seq != whole.Seq || same.Seq != part.Seq {
		t.Errorf("again: %+v, %v", again, err)
	}
	gaps := []incident.Gap{gap1, gap2, gap3}
	seen := whole.Measure(gaps, nil)
	if !seen.From.Equal(gap2.Began) || !seen.Until.Equal(gap2.Ended) {
		t.Errorf("measured %+v", seen)
	}
	if waits := whole.Measure([]incident.Gap{gap1, gap3}, []unit.Record{{Group: "u2", State: unit.Promoting}}); !waits.Running {
		t.Errorf("a part that goes on: %+v", waits)
	}
	v := incident.Look(whole, *rules(), &seen, after(3*time.Hour))
	if v.NowClass != "major" || !v.From.Equal(gap2.Began) || len(v.Affected.Units) != 3 || *v.Affected.Customers != 1400 || v.Affected.Amount != nil || !v.Affected.DetectedAt.Equal(two.DetectedAt) {
		t.Errorf("%+v", v)
	}
	if v := incident.Look(one, *rules(), &incident.Seen{From: gap1.Began, Until: gap1.Ended}, after(3*time.Hour)); v.NowClass != "minor" {
		t.Errorf("alone it is %s", v.NowClass)
	}
	of := incident.Look(part, *rules(), &incident.Seen{}, after(3*time.Hour))
	if len(of.Tasks)+len(of.Lacks) > 0 || of.Declare != nil || len(of.WaitsFor(incident.Person{Name: "ann", Steers: true})) > 0 {
		t.Errorf("a part waits for something: %+v", of)
	}
	refused(t, part, incident.Change{What: incident.Declare, By: "ann", At: after(4 * time.Hour)}, "N6", "is part of u1-1.7")
	if slices.Contains(whole.Groups(), "u4") || len(whole.Groups()) != 3 {
		t.Errorf("groups %v", whole.Groups())
	}
}

func TestIncidentIsNotJoinedWhereThatWouldLoseSomething(t *testing.T) {
	one, _ := lost(t, "u1", 10, time.Minute)
	two, _ := lost(t, "u2", 10, time.Minute)
	three, _ := lost(t, "u3", 10, time.Minute)
	say := func(i incident.Incident, c incident.Change) incident.Incident { return say(t, i, c) }
	itself := say(two, incident.Change{What: incident.Declare, By: "ann", At: after(time.Hour)})
	planned := two
	planned.Planned = true
	whole, part := joined(t, two, three)
	over := one
	over.Phase, over.Closed = incident.Over, &incident.Said{By: "bob"}
	for name, c := range map[string]struct {
		whole, part incident.Incident
		why         string
	}{
		"itself":                    {one, one, "into itself"},
		"one that is declared":      {one, itself, "ann declared it"},
		"planned into unplanned":    {one, planned, "one is planned"},
		"one that has parts":        {one, whole, "u3-1.7 is part of it"},
		"into a part":               {part, one, "is part of u2-1.7"},
		"a part of another":         {one, part, "is part of u2-1.7"},
		"into one that is closed":   {over, two, "was closed by bob"},
		"without saying into which": {incident.Incident{}, two, "say into which one"},
	} {
		next, taken, err := c.whole.Take(c.part, incident.Change{What: incident.Join, By: "ann", At: after(time.Hour), Into: c.whole.ID})
		if err == nil || !strings.Contains(err.Error(), c.why) || !reflect.DeepEqual(next, c.whole) || !reflect.DeepEqual(taken, c.part) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReviewIsTakenBackByAPart that is joined after it.
func TestReviewIsTakenBackByAPart(t *testing.T) {
	one, gap := lost(t, "u1", 10, time.Minute)
	two, _ := lost(t, "u2", 10, time.Minute)
	seen := one.Measure([]incident.Gap{gap}, nil)
	one = say(t, one, incident.Change{What: incident.Declare, By: "ann", At: after(time.Hour)})
	one = say(t, one, incident.Change{What: incident.Review, By: "bob", At: after(time.Hour), Text: "a fuse", Seen: &seen})
	if whole, _ := joined(t, one, two); whole.Review != nil || whole.Phase != incident.Declared {
		t.Errorf("%+v", whole)
	}
}

// TestAvailabilityOfJoinedIncidentsIsThatOfEach: the disruption of one unit is not that of another one, though both are one incident.
func TestAvailabilityOfJoinedIncidentsIsThatOfEach(t *testing.T) {
	one, gap1 := lost(t, "u1", 10, 2*time.Minute)
	two, gap2 := lost(t, "u2", 9, 20*time.Minute)
	whole, part := joined(t, one, two)
	seen := func(i incident.Incident) *incident.Seen {
		s := i.Measure([]incident.Gap{gap1, gap2}, nil)
		return &s
	}
	now := after(time.Hour)
	all := incident.Look(whole, incident.Rules{}, seen(whole), now)
	closed := whole
	closed.Phase, closed.Outcome, closed.Closed = incident.Over, &incident.Outcome{From: all.From, Until: all.Until, Measured: true}, &incident.Said{By: "bob"}
	for name, w := range map[string]incident.Incident{"open": whole, "closed": closed} {
		alone := incident.Look(w.Alone(), incident.Rules{}, seen(w.Alone()), now)
		if !alone.From.Equal(gap1.Began) || !alone.Until.Equal(gap1.Ended) || len(alone.Units) != 1 {
			t.Errorf("%s: from %s until %s, %v", name, alone.From, alone.Until, alone.Units)
		}
	}
	of := incident.Look(part, incident.Rules{}, seen(part), now)
	if of.PartOf(&all); !of.From.Equal(gap2.Began) || !of.Until.Equal(gap2.Ended) {
		t.Errorf("from %s until %s", of.From, of.Until)
	}
	whole.Restored = &incident.Said{By: "ann", When: after(40 * time.Minute)}
	all = incident.Look(whole, incident.Rules{}, seen(whole), now)
	if of.PartOf(&all); !of.Until.Equal(after(40 * time.Minute)) {
		t.Errorf("a person says that it took longer: %s", of.Until)
	}
	of.Until = time.Time{}
	if of.PartOf(&all); !of.Until.Equal(all.Until) {
		t.Errorf("nothing measured it: %s", of.Until)
	}
}

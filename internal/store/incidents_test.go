package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/etcdnode"
	"perdure/internal/etcdnode/etcdtest"
	"perdure/internal/incident"
	"perdure/internal/plan"
	"perdure/internal/run/runtest"
	"perdure/internal/store"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// serving gives a group whose member a serves, with b in the in-sync set.
func serving(t *testing.T, s *store.Store, group string) wire.Group {
	t.Helper()
	g := create(t, s, group)
	a, b := estate.Life{Member: g.Record.Members[0].ID, N: 1}, estate.Life{Member: g.Record.Members[1].ID, N: 1}
	for _, next := range []unit.Transition{
		{Kind: unit.Enrol, By: a, Now: 1},
		{Kind: unit.Enrol, By: b, Now: 2},
		{Kind: unit.Reopen, By: a, Session: 1, Now: 1000},
		{Kind: unit.Grow, By: a, Session: 1, Member: b, LSN: 7, Now: 1100},
	} {
		next.Ownership = g.Record.Ownership
		var err error
		if g, err = s.Transition(t.Context(), "agent:x", g.Record.Group, 0, next); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

func failover(g wire.Group) unit.Transition {
	now := time.Now().UnixMilli()
	return unit.Transition{
		Kind: unit.Decide, Mode: unit.Failover, Member: g.Record.InSync[0], Silent: true, Since: now - 3000, Now: now,
		Ownership: g.Record.Ownership, SwitchID: "auto", Reason: "silent",
	}
}

// openings are the audit events that say that incidents were opened.
func openings(t *testing.T, s *store.Store) []wire.Event {
	t.Helper()
	events, err := s.Events(t.Context(), 0, store.EventsLimit, false, wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	var out []wire.Event
	for _, e := range events {
		if e.What == "incident.opened" {
			out = append(out, e)
		}
	}
	return out
}

// TestFailoverThatAllNodesSeeOpensOneIncident: every node of a real quorum decides the same failovers at once, again and again, while the store's
// leader changes.
func TestFailoverThatAllNodesSeeOpensOneIncident(t *testing.T) {
	options := etcdtest.Options(t, 3)
	nodes := etcdtest.Start(t, options...)
	var stores []*store.Store
	for _, n := range nodes {
		stores = append(stores, open(t, n))
	}
	const groups = 8
	var all []wire.Group
	for g := range groups {
		all = append(all, serving(t, stores[0], fmt.Sprintf("g%d", g)))
	}
	var wg sync.WaitGroup
	for _, s := range stores {
		for _, g := range all {
			wg.Go(func() {
				for range 3 {
					_, err := s.Transition(t.Context(), "node:x", g.Record.Group, 0, failover(g))
					if k := errs.KindOf(err); err != nil && k != errs.Conflict && k != errs.Refused && k != errs.Unavailable && k != errs.Unknown {
						t.Errorf("%s: %v", g.Record.Group, err)
					}
				}
			})
		}
	}
	wg.Go(func() { leadElsewhere(t, nodes, options) })
	wg.Wait()
	for _, g := range all { // where the change of leaders cut every try short
		_, _ = stores[1].Transition(t.Context(), "node:x", g.Record.Group, 0, failover(g))
	}
	list, err := stores[2].Incidents(t.Context(), wire.Fresh)
	if err != nil || len(list) != groups {
		t.Fatalf("%d failovers opened %d incidents: %v", groups, len(list), err)
	}
	for n, i := range list {
		if want := incident.IDOf(all[n].Record.Group, all[n].Record.Ownership); i.ID != want || i.Cause != incident.ByFailover || i.DetectedAt.Sub(i.DisruptedAt) < 2*time.Second || i.OpenedBy != "node:x" {
			t.Errorf("%s: %+v", want, i)
		}
	}
	if events := openings(t, stores[0]); len(events) != groups {
		t.Errorf("%d events say that incidents were opened", len(events))
	}
}

// leadElsewhere lets another node lead the store.
func leadElsewhere(t *testing.T, nodes []*etcdnode.Node, options []etcdnode.Options) {
	for i, n := range nodes {
		if n.IsLeader() {
			if err := n.HandOver(t.Context(), options[(i+1)%len(options)].Name); err != nil {
				t.Logf("leadership was not handed over: %v", err)
			}
			return
		}
	}
}

func TestIncidentOfAFailoverIsMeasuredByTheOpeningThatEndedIt(t *testing.T) {
	s, _ := one(t)
	g := serving(t, s, "g1")
	g, err := s.Transition(t.Context(), "node:a", "g1", 0, failover(g))
	if err != nil {
		t.Fatal(err)
	}
	i, err := s.Incident(t.Context(), "g1-1.1", wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	if seen, err := s.Measured(t.Context(), i, wire.Fresh); err != nil || !seen.Running {
		t.Errorf("nobody opened yet: %+v, %v", seen, err)
	}
	opened := time.Now().UnixMilli() + 500
	if _, err := s.Transition(t.Context(), "agent:g1-b", "g1", 0, unit.Transition{Kind: unit.Opened, By: g.Record.Owner, Ownership: g.Record.Ownership, LSN: 9, Now: opened}); err != nil {
		t.Fatal(err)
	}
	seen, err := s.Measured(t.Context(), i, wire.Fresh)
	if err != nil || seen.Running || seen.Until.UnixMilli() != opened || !seen.From.Equal(i.DisruptedAt) {
		t.Errorf("%+v, %v", seen, err)
	}
	gaps, err := s.Gaps(t.Context(), "", wire.Fresh)
	if err != nil || len(gaps) != 2 || gaps[0].Mode != unit.Failover || !gaps[1].First {
		t.Errorf("%+v, %v", gaps, err)
	}
}

func byHand(t *testing.T, s *store.Store, id, by string) (incident.Incident, error) {
	t.Helper()
	i, err := incident.Begin(id, "cards stand still", false, incident.Facts{Systems: []estate.SystemID{"cards"}}, by, time.Now().UTC().Truncate(time.Microsecond))
	if err != nil {
		t.Fatal(err)
	}
	return s.OpenIncident(t.Context(), "person:"+by, i)
}

func TestIncidentIsOpenedByHandOnceAndEveryWordToItStandsInTheAuditLog(t *testing.T) {
	s, _ := one(t)
	first, err := byHand(t, s, "i1", "ann")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := byHand(t, s, "i1", "ann"); err != nil || !again.OpenedAt.Equal(first.OpenedAt) {
		t.Errorf("the same request again: %+v, %v", again, err)
	}
	_, err = byHand(t, s, "i1", "bob")
	kind(t, err, errs.Conflict)
	_, err = s.Incident(t.Context(), "none", wire.Fresh)
	kind(t, err, errs.NotFound)
	if _, err := s.SayIncident(t.Context(), "i1", incident.Change{What: incident.Declare, By: "ann", Text: "it is one"}); err != nil {
		t.Fatal(err)
	}
	before, err := s.Incident(t.Context(), "i1", wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := s.SayIncident(t.Context(), "i1", incident.Change{What: incident.Declare, By: "ann"}); err != nil || again.Revision != before.Revision {
		t.Errorf("the same word again wrote something: %d, %d, %v", again.Revision, before.Revision, err)
	}
	_, err = s.SayIncident(t.Context(), "i1", incident.Change{What: incident.Close, By: "ann"})
	kind(t, err, errs.Refused)
	events, err := s.Events(t.Context(), 0, 100, false, wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	var log []string
	for _, e := range events {
		log = append(log, e.Who+" "+e.What+" "+e.Subject)
	}
	if got := strings.Join(log, ", "); got != "person:ann incident.opened i1, person:ann incident.declared i1" {
		t.Error(got)
	}
	var c incident.Change
	if err := json.Unmarshal(events[1].Detail, &c); err != nil || c.Text != "it is one" {
		t.Errorf("%s, %v", events[1].Detail, err)
	}
}

func TestWordsOfSeveralPeopleToAnIncidentAreAllKept(t *testing.T) {
	s, _ := one(t)
	if _, err := byHand(t, s, "i1", "ann"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			c := incident.Change{What: incident.Link, By: fmt.Sprintf("p%d", n), Switch: &incident.Switch{Group: "none", Left: estate.Ownership{Epoch: estate.Epoch(n)}}}
			if _, err := s.SayIncident(context.WithoutCancel(t.Context()), "i1", c); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if i, err := s.Incident(t.Context(), "i1", wire.Fresh); err != nil || len(i.Switches) != 8 || i.Seq != 9 {
		t.Errorf("%d switches after %d changes, %v", len(i.Switches), i.Seq, err)
	}
}

func TestFailoverIsDecidedWhateverStandsInThePlaceOfItsIncident(t *testing.T) {
	s, _ := one(t)
	g := serving(t, s, "g1")
	if _, err := byHand(t, s, incident.IDOf("g1", g.Record.Ownership), "ann"); err != nil {
		t.Fatal(err)
	}
	after, err := s.Transition(t.Context(), "node:a", "g1", 0, failover(g))
	if err != nil || after.Record.State != unit.Promoting {
		t.Fatalf("%+v, %v", after.Record.State, err)
	}
	if i, err := s.Incident(t.Context(), "g1-1.1", wire.Fresh); err != nil || i.OpenedBy != "ann" || len(openings(t, s)) != 1 {
		t.Errorf("%+v, %v", i, err)
	}
}

func TestGroupThatServesNobodyHasOneIncidentAlsoWhenItIsSwitchedLater(t *testing.T) {
	nodes := etcdtest.Start(t, etcdtest.Options(t, 3)...)
	var stores []*store.Store
	for _, n := range nodes {
		stores = append(stores, open(t, n))
	}
	g := serving(t, stores[0], "g1")
	since := time.Now().Add(-5 * time.Second)
	var wg sync.WaitGroup
	for n, s := range stores {
		wg.Go(func() {
			if err := s.Quorum().Detected(t.Context(), fmt.Sprintf("node:%d", n), g.Record, "silent", since); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	i, err := stores[1].Incident(t.Context(), "g1-1.1", wire.Fresh)
	if err != nil || i.Cause != incident.ByDetection || len(openings(t, stores[0])) != 1 {
		t.Fatalf("%+v, %v", i, err)
	}
	// The owner is there again, and nothing was measured: a person says since when.
	if seen, err := stores[0].Measured(t.Context(), i, wire.Fresh); err != nil || seen.Running || !seen.Until.IsZero() {
		t.Errorf("%+v, %v", seen, err)
	}
	g, err = stores[0].Transition(t.Context(), "node:a", "g1", 0, failover(g))
	if err != nil {
		t.Fatal(err)
	}
	if seen, err := stores[0].Measured(t.Context(), i, wire.Fresh); err != nil || !seen.Running {
		t.Errorf("%+v, %v", seen, err)
	}
	if _, err = stores[0].Transition(t.Context(), "agent:g1-b", "g1", 0, unit.Transition{Kind: unit.Opened, By: g.Record.Owner, Ownership: g.Record.Ownership, LSN: 9, Now: time.Now().UnixMilli()}); err != nil {
		t.Fatal(err)
	}
	if seen, err := stores[2].Measured(t.Context(), i, wire.Fresh); err != nil || seen.Running || seen.Until.IsZero() || len(openings(t, stores[0])) != 1 {
		t.Errorf("%+v, %v", seen, err)
	}
}

func TestLinkedRunSaysWhenServiceIsBackWhereNoSwitchDoes(t *testing.T) {
	s, _ := begunStore(t)
	if _, err := byHand(t, s, "i1", "ann"); err != nil {
		t.Fatal(err)
	}
	linked := func(id string, mode plan.Mode) incident.Seen {
		t.Helper()
		startRun(t, s, id, runtest.Program(t, strings.ReplaceAll(runSteps, "takeover", string(mode)), mode))
		i, err := s.SayIncident(t.Context(), "i1", incident.Change{What: incident.Link, By: "ann", Run: id})
		if err != nil {
			t.Fatal(err)
		}
		seen, err := s.Measured(t.Context(), i, wire.Fresh)
		if err != nil {
			t.Fatal(err)
		}
		return seen
	}
	if seen := linked("back", plan.SwitchBack); seen.Running || !seen.Until.IsZero() {
		t.Errorf("the way home gives nothing back: %+v", seen)
	}
	if seen := linked("there", plan.Takeover); !seen.Running {
		t.Errorf("%+v", seen)
	}
	// A run of people that goes on after the failover does not make that longer.
	g := serving(t, s, "g1")
	g, err := s.Transition(t.Context(), "node:a", "g1", 0, failover(g))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Transition(t.Context(), "agent:g1-b", "g1", 0, unit.Transition{Kind: unit.Opened, By: g.Record.Owner, Ownership: g.Record.Ownership, LSN: 9, Now: time.Now().UnixMilli()}); err != nil {
		t.Fatal(err)
	}
	i, err := s.SayIncident(t.Context(), "g1-1.1", incident.Change{What: incident.Link, By: "ann", Run: "there"})
	if err != nil {
		t.Fatal(err)
	}
	if seen, err := s.Measured(t.Context(), i, wire.Fresh); err != nil || seen.Running || seen.Until.IsZero() {
		t.Errorf("%+v, %v", seen, err)
	}
}

// TestJoinedIncidentsAreBothOrNeither whoever says what of them at the same time.
func TestJoinedIncidentsAreBothOrNeither(t *testing.T) {
	s, _ := one(t)
	const parts = 6
	for n := range parts + 1 {
		if _, err := byHand(t, s, fmt.Sprintf("i%d", n), "ann"); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	for n := 1; n <= parts; n++ {
		all.Go(func() {
			id, into := fmt.Sprintf("i%d", n), incident.Change{What: incident.Join, By: "ann", Into: "i0"}
			if _, err := s.JoinIncident(t.Context(), id, into); err != nil && errs.KindOf(err) != errs.Conflict {
				t.Error(err)
			}
			if _, err := s.SayIncident(t.Context(), "i0", incident.Change{What: incident.Correct, By: "ann", Facts: &incident.Facts{Systems: []estate.SystemID{estate.SystemID(id)}}}); err != nil && errs.KindOf(err) != errs.Conflict {
				t.Error(err)
			}
		})
	}
	all.Wait()
	whole, err := s.Incident(t.Context(), "i0", wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	taken := 0
	for n := 1; n <= parts; n++ {
		part, err := s.Incident(t.Context(), fmt.Sprintf("i%d", n), wire.Fresh)
		if err != nil {
			t.Fatal(err)
		}
		in := slices.ContainsFunc(whole.Parts, func(p incident.Part) bool { return p.ID == part.ID })
		if in != (part.Phase == incident.Joined) {
			t.Errorf("%s is %s, and a part: %t", part.ID, part.Phase, in)
		}
		if in {
			taken++
		}
	}
	if taken == 0 {
		t.Error("none was joined")
	}
	before := whole.Revision
	if again, err := s.JoinIncident(t.Context(), whole.Parts[0].ID, incident.Change{What: incident.Join, By: "bob", Into: "i0"}); err != nil || again.Revision != before {
		t.Errorf("the same word again: %d after %d, %v", again.Revision, before, err)
	}
	_, err = s.JoinIncident(t.Context(), "i0", incident.Change{What: incident.Join, By: "ann", Into: "none"})
	kind(t, err, errs.NotFound)
}

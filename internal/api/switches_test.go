package api_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"perdure/internal/api"
	"perdure/internal/estate"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

const switchU1 = "/api/v1/units/u1/switch"

// open makes a group of one unit that is open at a, with a copy in sync at b and another one at c.
func (n *node) open(group string) {
	n.t.Helper()
	member := func(site string) estate.MemberID { return estate.MemberID(group + "-" + site) }
	rec := unit.Bootstrap(estate.GroupID(group), "core", []estate.UnitID{estate.UnitID(group)}, unit.Policy{}, []unit.Member{
		{ID: member("a"), Site: "a", Role: unit.SyncRole}, {ID: member("b"), Site: "b", Role: unit.SyncRole}, {ID: member("c"), Site: "c", Role: unit.AsyncRole},
	}, member("a"), estate.Incarnation{Counter: 1, ID: "x"})
	rec.State, rec.InSync = unit.Open, []estate.Life{{Member: member("b")}}
	if err := n.store.Quorum().CreateGroup(n.t.Context(), "test", rec); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) runs() []wire.Run {
	n.t.Helper()
	runs, err := n.store.Runs(n.t.Context(), wire.Fresh)
	if err != nil {
		n.t.Fatal(err)
	}
	return runs
}

func switchAnswer(t *testing.T, r reply) wire.SwitchAnswer {
	t.Helper()
	var a wire.SwitchAnswer
	if err := json.Unmarshal(r.body, &a); err != nil {
		t.Fatalf("%s: %v", r.body, err)
	}
	return a
}

func TestSwitchIsARunThatBeginsWithIt(t *testing.T) {
	n := start(t)
	n.apply(allDay)
	n.open("u1")
	ask := wire.SwitchRequest{To: "b", Mode: unit.Takeover, Reason: "power works", ID: "tonight"}
	operator, other := n.as("operator"), n.person("bob", wire.Operator)
	got := switchAnswer(t, operator.want(200, "POST", switchU1, ask))
	if got.Run != "tonight" || got.Switch == nil || got.Switch.ID != "tonight.switch" || got.Switch.By != "the-operator" || len(got.Notes) > 0 {
		t.Fatalf("%+v", got)
	}
	head, err := n.store.Run(t.Context(), "tonight", wire.Fresh)
	if err != nil || head.Plan != plan.SwitchUnit || head.Mode != plan.Takeover || head.StartedBy != "the-operator" || head.Seq != 2 {
		t.Fatalf("%+v, %v", head, err)
	}
	program, err := n.store.Program(t.Context(), "tonight")
	if err != nil || program.System != "core" {
		t.Fatalf("%+v, %v", program, err)
	}
	journal, err := n.store.Journal(t.Context(), "tonight", 0)
	if err != nil || len(journal) != 2 || journal[0].Text != "power works" || journal[0].Params["unit"] != "u1" {
		t.Fatalf("%+v, %v", journal, err)
	}
	if e := journal[1]; e.What != run.Began || !e.Posted || e.By != "node:a" || e.Call.Target != "u1" || e.Call.With["to"] != "b" {
		t.Fatalf("%+v", e)
	}
	// The same request again is the same switch, of another person or about something else it is refused.
	if again := switchAnswer(t, operator.want(200, "POST", switchU1, ask)); again.Run != "tonight" || again.Switch == nil || again.Switch.ID != got.Switch.ID {
		t.Errorf("%+v", again)
	}
	other.want(409, "POST", switchU1, ask)
	operator.want(409, "POST", switchU1, wire.SwitchRequest{To: "c", Mode: unit.Takeover, ID: "tonight"})
	// A second one names the first, and leaves nothing.
	if p := other.want(409, "POST", switchU1, wire.SwitchRequest{To: "b", Mode: unit.Takeover}).problem(t); !strings.Contains(p.Detail, "tonight.switch by the-operator") {
		t.Errorf("%+v", p)
	}
	if p := operator.want(404, "POST", "/api/v1/units/u9/switch", wire.SwitchRequest{To: "b", Mode: unit.Takeover}).problem(t); !strings.Contains(p.Detail, `no unit "u9"; there are: u1`) {
		t.Errorf("%+v", p)
	}
	if runs := n.runs(); len(runs) != 1 {
		t.Errorf("%+v", runs)
	}
}

func TestSwitchByItsPlanIsTheSame(t *testing.T) {
	n := start(t)
	n.apply(allDay)
	n.open("u1")
	ask := wire.StartRun{Plan: plan.SwitchUnit, Mode: plan.SwitchBack, Params: map[string]any{"unit": "u1", "to": "b"}, ID: "by-plan"}
	n.as("operator").want(200, "POST", "/api/v1/runs", ask)
	n.as("operator").want(200, "POST", "/api/v1/runs", ask)
	g, err := n.store.Group(t.Context(), "u1", wire.Fresh)
	if err != nil || g.Record.Switch == nil || g.Record.Switch.ID != "by-plan.switch" || g.Record.Switch.Mode != unit.SwitchBack || len(n.runs()) != 1 {
		t.Fatalf("%+v, %v, %d runs", g.Record.Switch, err, len(n.runs()))
	}
	ask.ID, ask.Params = "", map[string]any{"unit": "u1"}
	n.as("operator").want(422, "POST", "/api/v1/runs", ask)
}

func TestOnlyWhoMaySwitchStartsTheRunOfASwitch(t *testing.T) {
	n := start(t)
	n.apply()
	for _, u := range []string{"u1", "u2", "u3"} {
		n.open(u)
	}
	for _, role := range []string{"viewer", "driller", "auditor"} {
		n.as(role).want(403, "POST", switchU1, wire.SwitchRequest{To: "b", Mode: unit.Takeover})
		n.as(role).want(403, "POST", "/api/v1/runs", wire.StartRun{Plan: plan.SwitchUnit, Mode: plan.Takeover, Params: map[string]any{"unit": "u1", "to": "b"}})
	}
	n.as("operator").want(403, "POST", switchU1, wire.SwitchRequest{To: "b", Mode: unit.Emergency})
	n.as("operator").want(403, "POST", "/api/v1/runs", wire.StartRun{Plan: plan.SwitchUnit, Mode: plan.Emergency, Params: map[string]any{"unit": "u1", "to": "b"}})
	if runs := n.runs(); len(runs) != 0 {
		t.Fatalf("%+v", runs)
	}
	n.as("commander").want(200, "POST", switchU1, wire.SwitchRequest{To: "c", Mode: unit.Emergency})
	if runs := n.runs(); len(runs) != 1 || runs[0].Mode != plan.Emergency {
		t.Fatalf("%+v", runs)
	}
	// Nor does anybody begin one past the engine.
	for _, role := range []api.Access{api.Operator, api.Commander, api.Admin} {
		n.as(string(role)).want(403, "POST", "/api/v1/groups/u2/transitions", ask(unit.Transition{Kind: unit.Begin, Member: life("u2-b", 0), Mode: unit.Takeover, SwitchID: "s"}))
	}
}

func TestSwitchKeepsToTheCalendarAndAnEmergencyIsToldWhatSpeaksAgainstIt(t *testing.T) {
	n := start(t)
	n.apply("windows: [{name: later, " + around(time.Hour, 3*time.Hour) + "}]")
	n.open("u1")
	planned := wire.SwitchRequest{To: "b", Mode: unit.Takeover}
	refused(t, n.as("operator").do("POST", switchU1, planned), "no window is open for plan switch-unit in mode takeover", "it may begin from", "window later")
	dry := planned
	dry.DryRun = true
	got := switchAnswer(t, n.as("operator").want(200, "POST", switchU1, dry))
	if i := slices.IndexFunc(got.Checks, func(c wire.Check) bool { return c.Name == wire.CalendarCheck }); i < 0 || got.Checks[i].OK || !strings.Contains(got.Checks[i].Detail, "it may begin from") {
		t.Errorf("%+v", got.Checks)
	}
	if len(n.runs()) != 0 {
		t.Errorf("something was started: %+v", n.runs())
	}
	got = switchAnswer(t, n.as("commander").want(200, "POST", switchU1, wire.SwitchRequest{To: "c", Mode: unit.Emergency}))
	if len(got.Notes) == 0 || !strings.Contains(got.Notes[0], "an emergency waits for nothing, but no window is open") || !slices.Equal(got.Notes, n.runs()[0].Notes) {
		t.Errorf("%q", got.Notes)
	}
	// A window that is for the unit's system is for its switch.
	n.apply("windows: [{name: now, systems: [core], " + around(-time.Hour, 3*time.Hour) + "}]")
	n.open("u2")
	got = switchAnswer(t, n.as("operator").want(200, "POST", "/api/v1/units/u2/switch", planned))
	if len(got.Notes) != 0 {
		t.Errorf("%q", got.Notes)
	}
}

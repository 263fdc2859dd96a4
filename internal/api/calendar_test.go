package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"perdure/internal/calendar"
	"perdure/internal/duty"
	"perdure/internal/incident"
	"perdure/internal/manifest"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// plans are read from the manifest as a node reads them.
type plans struct{}

func (plans) Program(text, name string, mode plan.Mode) (*plan.Program, error) {
	list, err := manifest.PlanOf(name, manifest.File{Name: "applied manifest", Text: []byte(text)})
	if err != nil {
		return nil, err
	}
	return plan.Compile(list, plan.BuiltIn(), name, mode)
}

func (plans) Calendars(text string) (*calendar.Book, error) {
	return manifest.Calendars(manifest.File{Name: "applied manifest", Text: []byte(text)})
}

func (plans) IncidentRules(text string) (incident.Rules, error) {
	return manifest.IncidentRules(manifest.File{Name: "applied manifest", Text: []byte(text)})
}

func (plans) Estate(text string) (manifest.Set, error) {
	return manifest.Parse(manifest.File{Name: "applied manifest", Text: []byte(text)})
}

func (plans) Duties(text string) (*duty.Book, error) {
	return manifest.Duties(manifest.File{Name: "applied manifest", Text: []byte(text)})
}

func (plans) Participants(text string) ([]manifest.Participant, error) {
	return manifest.Participants(manifest.File{Name: "applied manifest", Text: []byte(text)})
}

func (plans) Known(text string) manifest.Set {
	set, _ := manifest.Known(manifest.File{Name: "applied manifest", Text: []byte(text)})
	return set
}

const aPlan = `apiVersion: perdure/v1
kind: Plan
name: p
modes: [takeover, emergency, drill, change]
parameters: [{name: unit, default: u1}]
steps: [{id: a, wait: {for: 20m}}]
`

// apply puts a manifest of the plan and the calendars, each a window and so on, in UTC, and has the windows approved.
func (n *node) apply(calendars ...string) {
	n.t.Helper()
	var text strings.Builder
	text.WriteString(aPlan)
	for i, c := range calendars {
		fmt.Fprintf(&text, "---\napiVersion: perdure/v1\nkind: Calendar\nname: c%d\ntimeZone: UTC\n%s\n", i, c)
	}
	n.manifestOf(text.String())
}

// allDay is a window that is always open, for everything.
const allDay = `windows: [{name: always, cron: "0 0 * * *", duration: 24h}]`

// always is a calendar with a window that is always open, for everything.
const always = `---
apiVersion: perdure/v1
kind: Calendar
name: always
timeZone: UTC
windows: [{name: always, cron: "0 0 * * *", duration: 24h}]
`

// inWindow has cal, who starts nothing, approve the windows of a manifest that is applied.
func (n *node) inWindow(text string) {
	n.t.Helper()
	set, _ := manifest.Known(manifest.File{Name: "m", Text: []byte(text)})
	digests := calendar.Digests(set.Calendars)
	if len(digests) == 0 {
		return
	}
	cal := n.person("cal", wire.Commander)
	for name, digest := range digests {
		cal.want(http.StatusOK, "POST", "/api/v1/windows/"+name+"/approve", wire.ApproveWindow{Digest: digest, Reason: "agreed"})
	}
}

// around is a time that comes once, from and until an instant from now.
func around(from, until time.Duration) string {
	now := time.Now().UTC()
	return fmt.Sprintf("from: %q, until: %q", now.Add(from).Format("2006-01-02 15:04"), now.Add(until).Format("2006-01-02 15:04"))
}

func (n *node) startAs(role wire.Role, mode plan.Mode, params map[string]any) reply {
	n.t.Helper()
	return n.as(string(role)).do("POST", "/api/v1/runs", wire.StartRun{Plan: "p", Mode: mode, Params: params})
}

// started gives the run of an answer, and its first entry.
func (n *node) started(r reply) (wire.Run, run.Entry) {
	n.t.Helper()
	if r.status != http.StatusOK {
		n.t.Fatalf("%d: %s", r.status, r.body)
	}
	var head wire.Run
	r.into(n.t, &head)
	journal, err := n.store.Journal(n.t.Context(), head.ID, 0)
	if err != nil || len(journal) == 0 {
		n.t.Fatal(journal, err)
	}
	return head, journal[0]
}

func refused(t *testing.T, r reply, why ...string) {
	t.Helper()
	if r.status != http.StatusConflict {
		t.Fatalf("%d: %s", r.status, r.body)
	}
	for _, w := range why {
		if p := r.problem(t); p.Kind != "refused" || !strings.Contains(p.Detail, w) {
			t.Errorf("%+v does not say %q", p, w)
		}
	}
}

// W3, for every mode.
func TestWithoutACalendarWhatNeedsAWindowIsRefusedWithTheWayOutAndNothingElseIs(t *testing.T) {
	n := start(t)
	text := strings.Replace(aPlan, "[takeover, emergency, drill, change]", "[takeover, emergency, drill, change, switch-back, experiment, verification, inspection, move]", 1)
	n.manifestOf(text)
	needed := []plan.Mode{plan.Takeover, plan.SwitchBack, plan.Experiment, plan.Change}
	for _, mode := range []plan.Mode{plan.Takeover, plan.SwitchBack, plan.Experiment, plan.Change, plan.Emergency, plan.Drill, plan.Verification, plan.Inspection, plan.Move} {
		r := n.startAs(wire.Commander, mode, nil)
		if slices.Contains(needed, mode) {
			refused(t, r, "mode "+string(mode)+" needs a window that was approved, and there is no calendar (W3)", "kind Calendar", "perdure apply", "perdure calendar approve WINDOW --reason TEXT")
			continue
		}
		if head, first := n.started(r); !slices.Contains(head.Notes, calendar.Unchecked) || !slices.Equal(first.Notes, head.Notes) || first.Facts != nil {
			t.Errorf("%s: %q, %+v", mode, head.Notes, first)
		}
	}
	n.apply("") // an empty calendar has no window either
	refused(t, n.startAs(wire.Commander, plan.Takeover, nil), "no window of the calendars is for plan p in mode takeover")
	// A switch of a unit is a run, and judged as one.
	n.open("u1")
	n.manifestOf(text)
	refused(t, n.as("operator").do("POST", switchU1, wire.SwitchRequest{To: "b", Mode: unit.Takeover}), "(W3)")
	n.as("commander").want(http.StatusOK, "POST", switchU1, wire.SwitchRequest{To: "c", Mode: unit.Emergency})
}

func TestTakeoverOutsideItsWindowIsRefusedWithTheNextOne(t *testing.T) {
	n := start(t)
	for name, c := range map[string]struct {
		calendar string
		why      []string
	}{
		"no window":    {"", []string{"no window of the calendars is for plan p in mode takeover"}},
		"later":        {"windows: [{name: later, " + around(time.Hour, 3*time.Hour) + "}]", []string{"no window is open for plan p in mode takeover", "(window later, until "}},
		"of another":   {"windows: [{name: other, units: [u2], " + around(-time.Hour, time.Hour) + "}]", []string{"no window of the calendars is for plan p"}},
		"in a freeze":  {"windows: [{name: now, " + around(-time.Hour, 3*time.Hour) + "}]\nfreezes: [{name: closed, reason: books, " + around(-time.Hour, time.Hour) + "}]", []string{"freeze closed forbids mode takeover until", "(books)", "it may begin from"}},
		"not readable": {"windows: [{name: now, lasts: 1h}]", []string{}},
	} {
		n.apply(c.calendar)
		r := n.startAs(wire.Operator, plan.Takeover, nil)
		if name == "not readable" {
			if p := r.problem(t); p.Kind != "invalid" || !strings.Contains(p.Detail, "lasts") {
				t.Errorf("%s: %+v", name, p)
			}
			continue
		}
		refused(t, r, c.why...)
	}
	runs, err := n.store.Runs(t.Context(), wire.Fresh)
	if err != nil || len(runs) > 0 {
		t.Errorf("something was started: %v, %v", runs, err)
	}
}

func TestTakeoverInItsWindowIsStartedWithItsDoubts(t *testing.T) {
	n := start(t)
	n.apply("windows: [{name: now, " + around(-time.Hour, 2*time.Hour) + "}]")
	if head, first := n.started(n.startAs(wire.Operator, plan.Takeover, nil)); len(head.Notes)+len(first.Notes) > 0 {
		t.Errorf("%q, %q", head.Notes, first.Notes)
	}
	n.apply("windows: [{name: short, " + around(-time.Hour, 10*time.Minute) + "}]")
	head, first := n.started(n.startAs(wire.Operator, plan.Takeover, nil))
	if len(head.Notes) != 1 || !strings.Contains(head.Notes[0], "it may take 20m0s without people, longer than what is left of window short: ") || !slices.Equal(head.Notes, first.Notes) {
		t.Errorf("%q, %q", head.Notes, first.Notes)
	}
}

func TestEmergencyIsNeverRefusedByACalendarAndToldWhatSpeaksAgainstIt(t *testing.T) {
	n := start(t)
	n.apply("freezes: [{name: closed, reason: books, " + around(-time.Hour, time.Hour) + "}]\ncutoffs: [{name: day-end, system: core, cron: \"30 23 * * *\"}]")
	head, first := n.started(n.startAs(wire.Commander, plan.Emergency, nil))
	said := strings.Join(head.Notes, "\n")
	for _, want := range []string{"an emergency waits for nothing, but freeze closed forbids mode takeover", "no window of the calendars is for plan p", "cut-off day-end of core in "} {
		if !strings.Contains(said, want) {
			t.Errorf("%q does not say %q", said, want)
		}
	}
	if !slices.Equal(head.Notes, first.Notes) {
		t.Errorf("the journal says %q", first.Notes)
	}
	n.apply("windows: [{name: now, lasts: 1h}]")
	if head, _ = n.started(n.startAs(wire.Commander, plan.Emergency, nil)); len(head.Notes) != 2 || !strings.Contains(head.Notes[0], "nobody is asked to announce the interruption") || !strings.Contains(head.Notes[1], "the calendars cannot be read, so nothing was checked") {
		t.Errorf("%q", head.Notes)
	}
}

func TestEmergencyThatBreaksItsContractIsStartedAndTheJournalSaysSo(t *testing.T) {
	n := start(t)
	n.apply("windows: [{name: now, " + around(-time.Hour, time.Hour) + "}]")
	m, err := n.store.Manifest(t.Context(), wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	var breaking strings.Builder
	breaking.WriteString("- {id: clone, act: {driver: sandbox, action: clone, target: u1, with: {site: b}}}\n- {id: away, cleanup: true, act: {driver: sandbox, action: discard, target: u1, with: {site: b}}}\n")
	for i := range 30 {
		breaking.WriteString(fmt.Sprintf("- {id: more-%d, act: {driver: sandbox, action: open, target: u1, with: {site: b}}}\n", i))
	}
	text := strings.Replace(m.Text, "[takeover, emergency, drill, change]", "[emergency]", 1)
	text = strings.Replace(text, "steps: [{id: a, wait: {for: 20m}}]\n", "steps:\n"+breaking.String(), 1)
	if _, err := n.store.ApplyManifest(t.Context(), "test", text, m.Revision, nil, wire.ManifestPlan{}); err != nil {
		t.Fatal(err)
	}
	head, first := n.started(n.startAs(wire.Commander, plan.Emergency, nil))
	want := "the contract of mode emergency is broken by step clone: "
	if !slices.Equal(head.Notes, first.Notes) || !slices.ContainsFunc(first.Notes, func(s string) bool { return strings.HasPrefix(s, want) }) || first.By == "" || len(first.Notes) > 25 {
		t.Errorf("%q", first.Notes)
	}
}

func TestDrillNeedsNoWindowAndIsRefusedInAFreezeThatNamesDrills(t *testing.T) {
	n := start(t)
	n.apply("freezes: [{name: closed, reason: books, modes: [change], " + around(-time.Hour, time.Hour) + "}]")
	n.started(n.startAs(wire.Operator, plan.Drill, nil))
	n.apply("freezes: [{name: closed, reason: books, modes: [drill], " + around(-time.Hour, time.Hour) + "}]")
	refused(t, n.startAs(wire.Operator, plan.Drill, nil), "freeze closed forbids mode drill until")
}

func TestDryRunSaysWhatAStartWouldAndStartsNothing(t *testing.T) {
	n := start(t)
	n.apply("windows: [{name: short, " + around(-time.Hour, 10*time.Minute) + "}]")
	var head wire.Run
	n.as("operator").want(http.StatusOK, "POST", "/api/v1/runs", wire.StartRun{Plan: "p", Mode: plan.Takeover, DryRun: true, ID: "r"}).into(t, &head)
	if head.ID != "r" || len(head.Notes) != 1 {
		t.Errorf("%+v", head)
	}
	if runs, err := n.store.Runs(t.Context(), wire.Fresh); err != nil || len(runs) > 0 {
		t.Errorf("%v, %v", runs, err)
	}
	n.apply("")
	refused(t, n.as("operator").do("POST", "/api/v1/runs", wire.StartRun{Plan: "p", Mode: plan.Takeover, DryRun: true}), "no window")
}

func TestCalendarShowsWhichRunsHeldItsSchedules(t *testing.T) {
	n := start(t)
	due := time.Now().UTC().Add(-time.Hour)
	// A time an hour ago; at midnight the hour may be of the day before, and still it is daily.
	n.apply(fmt.Sprintf("schedules: [{name: drill-u1, plan: p, mode: drill, parameters: {unit: u1}, cron: \"%d %d * * *\", within: 2h, since: %q}]",
		due.Minute(), due.Hour(), due.Add(-time.Hour).Format("2006-01-02 15:04")))
	view := func() calendar.ScheduleView {
		var v calendar.View
		n.as("viewer").want(http.StatusOK, "GET", "/api/v1/calendar", nil).into(t, &v)
		if len(v.Schedules) != 1 {
			t.Fatalf("%+v", v)
		}
		return v.Schedules[0]
	}
	if s := view(); s.State != calendar.Due || s.Run != "" {
		t.Errorf("before: %+v", s)
	}
	program, err := plans{}.Program(aPlan, "p", plan.Drill)
	if err != nil {
		t.Fatal(err)
	}
	for id, how := range map[string]wire.Run{"stopped": {Phase: run.Stopped}, "cancelled": {Phase: run.Over, Outcome: run.Broken}} {
		now := time.Now()
		how.ID, how.Schedules, how.StartedAt = id, []string{"drill-u1"}, now.UnixMilli()
		if _, err := n.store.CreateRun(t.Context(), wire.RunStart{Head: how, Program: program, Journal: []run.Entry{{Seq: 1, At: now, By: "ann", What: run.Started}}}); err != nil {
			t.Fatal(err)
		}
		if s := view(); s.State != calendar.Due || s.Run == "" {
			t.Errorf("after a run that is %s: %+v", id, s)
		}
	}
	n.started(n.startAs(wire.Operator, plan.Drill, map[string]any{"unit": "u2"}))
	if s := view(); s.State != calendar.Due {
		t.Errorf("after a run with other parameters: %+v", s)
	}
	head, _ := n.started(n.startAs(wire.Operator, plan.Drill, nil))
	if s := view(); s.State != calendar.Held || s.Run != head.ID {
		t.Errorf("after: %+v", s)
	}
}

func TestNobodyIsCalledAsThePlatformIs(t *testing.T) {
	n := start(t)
	n.as("admin").want(http.StatusUnprocessableEntity, "POST", "/api/v1/tokens", map[string]any{"name": wire.ByCalendar, "role": "viewer"})
}

func (r reply) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(r.body, v); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
}

// Around a table nothing is done: no window, no rights for real, no incident; and what it took is no experience.
func TestTabletopNeedsNoWindowAndNoRightsForReal(t *testing.T) {
	n := start(t)
	n.apply("windows: [{name: later, " + around(time.Hour, 2*time.Hour) + "}]\n")
	driller := n.person("dora", wire.Driller)
	ask := wire.StartRun{Plan: "p", Mode: plan.Takeover, ID: "t1", Tabletop: true}
	real := ask
	real.Tabletop = false
	driller.want(403, "POST", "/api/v1/runs", real)
	refused(t, n.as("operator").do("POST", "/api/v1/runs", real), "window")
	for range 2 { // the same request again
		head, _ := n.started(driller.do("POST", "/api/v1/runs", ask))
		if !head.Tabletop || head.Mode != plan.Takeover || head.Real() || len(head.Notes) != 0 || len(head.Schedules) != 0 {
			t.Errorf("%+v", head)
		}
	}
	program, err := n.store.Program(t.Context(), "t1")
	if err != nil || !program.Table || program.Nodes[0].Step.Kind() != plan.ManualStep {
		t.Fatalf("%+v, %v", program, err)
	}
	// It is steered by drillers, whatever its mode, and asked of them.
	n.journal("t1", run.Entry{By: "node:a", What: run.Opened, Node: "a", Text: "wait 20m0s"})
	if got := n.inbox(driller); !strings.Contains(got, "t1") {
		t.Errorf("the inbox has %s", got)
	}
	driller.want(200, "POST", "/api/v1/runs/t1/words", wire.RunWord{What: run.Completed, Step: "a", Result: map[string]any{plan.FindingField: "nobody knew the number"}})
	for _, wrong := range []wire.StartRun{
		{Plan: "p", Mode: plan.Takeover, Tabletop: true, Declare: "x"},
		{Plan: "p", Mode: plan.Takeover, Tabletop: true, Incident: "i1"},
		{Plan: "switch-unit", Mode: plan.Takeover, Tabletop: true, Params: map[string]any{"unit": "u1", "to": "b"}},
	} {
		n.as("admin").want(422, "POST", "/api/v1/runs", wrong)
	}
	n.as("operator").want(200, "POST", "/api/v1/incidents", cards())
	n.as("operator").want(422, "POST", words, wire.IncidentWord{What: incident.Link, Run: "t1"})
}

package api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"perdure/internal/estate"
	"perdure/internal/incident"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/wire"
)

const someRules = `---
apiVersion: perdure/v1
kind: IncidentRules
name: bank
declareWithin: 10m
classes: [{name: minor}, {name: major, thresholds: [{customers: 100}]}]
tasks:
- {name: inform, title: Inform the board, owner: viewer, for: all, within: 1h}
- {name: regulator, title: Report, owner: commander, class: major, within: 1h}
`

// ruled applies a manifest with a plan, rules on incidents and a window that is open.
func (n *node) ruled() {
	n.t.Helper()
	n.apply("windows: [{name: now, " + around(-time.Hour, 2*time.Hour) + "}]\n" + someRules)
}

func cards() wire.OpenIncident {
	return wire.OpenIncident{ID: "i1", Title: "cards stand still", Facts: incident.Facts{Systems: []estate.SystemID{"cards"}, DisruptedAt: time.Now().Add(-time.Hour).UTC().Truncate(time.Second)}}
}

const words = "/api/v1/incidents/i1/words"

func (n *node) view(r reply) incident.View {
	n.t.Helper()
	if r.status != 200 {
		n.t.Fatalf("%d: %s", r.status, r.body)
	}
	var v incident.View
	r.into(n.t, &v)
	return v
}

func lacks(v incident.View) string { return strings.Join(v.Lacks, ", ") }

func TestIncidentIsOpenedDeclaredReportedReviewedAndClosedByWhoMay(t *testing.T) {
	n := start(t)
	n.ruled()
	viewer, operator, commander, auditor := n.as("viewer"), n.as("operator"), n.as("commander"), n.as("auditor")
	viewer.want(403, "POST", "/api/v1/incidents", cards())
	v := n.view(operator.do("POST", "/api/v1/incidents", cards()))
	if again := n.view(operator.do("POST", "/api/v1/incidents", cards())); again.Revision != v.Revision {
		t.Error("the same request opened it twice")
	}
	commander.want(409, "POST", "/api/v1/incidents", cards())
	if v.NowClass != "minor" || v.Declare.Within != 10*time.Minute || lacks(v) != "declaration, restoration, review" {
		t.Errorf("%+v", v)
	}
	word := func(what incident.What) wire.IncidentWord { return wire.IncidentWord{What: what, Text: "because"} }
	for _, what := range incident.Whats() {
		viewer.want(403, "POST", words, word(what))
	}
	viewer.want(422, "POST", words, word("said"))
	operator.want(403, "POST", words, word(incident.Waive))
	operator.want(403, "POST", words, word(incident.Review))
	operator.want(403, "POST", words, word(incident.Classify))
	operator.want(200, "POST", words, word(incident.Declare))

	many := int64(500)
	facts := cards().Facts
	facts.Customers = &many
	v = n.view(operator.do("POST", words, wire.IncidentWord{What: incident.Correct, Facts: &facts}))
	if v.NowClass != "major" || v.Why != "customers ≥ 100" || len(v.Tasks) != 2 || v.Tasks[1].Due.Sub(v.Incident.Declared.At) != time.Hour {
		t.Errorf("%+v", v)
	}
	facts.Units = []estate.UnitID{"u99"}
	operator.want(404, "POST", words, wire.IncidentWord{What: incident.Correct, Facts: &facts})

	// The owner of a task does it, and nobody else without the role.
	viewer.want(403, "POST", words, wire.IncidentWord{What: incident.Done, Task: "regulator"})
	viewer.want(200, "POST", words, wire.IncidentWord{What: incident.Done, Task: "inform", Text: "told"})
	operator.want(200, "POST", words, wire.IncidentWord{What: incident.Restore, When: time.Now().Add(-time.Minute)})
	auditor.want(200, "POST", words, word(incident.Review))
	if r := operator.do("POST", words, word(incident.Close)); r.status != 409 || !strings.Contains(string(r.body), "task regulator") {
		t.Errorf("%d: %s", r.status, r.body)
	}
	commander.want(200, "POST", words, wire.IncidentWord{What: incident.Waive, Task: "regulator", Text: "told by phone"})
	v = n.view(operator.do("POST", words, word(incident.Close)))
	if v.Phase != incident.Over || v.Outcome.Class != "major" || v.Recover.Took < 58*time.Minute {
		t.Errorf("%+v", v)
	}
	var all, open []incident.View
	viewer.do("GET", "/api/v1/incidents", nil).into(t, &all)
	viewer.do("GET", "/api/v1/incidents?open=true", nil).into(t, &open)
	if len(all) != 1 || len(open) != 0 {
		t.Errorf("%d, %d open", len(all), len(open))
	}
}

func TestRunOfATakeoverIsLinkedToItsIncidentAndMeasuredFromItsDisruption(t *testing.T) {
	n := start(t)
	n.ruled()
	operator := n.as("operator")
	opened := n.view(operator.do("POST", "/api/v1/incidents", cards()))
	ask := wire.StartRun{Plan: "p", Mode: plan.Takeover, ID: "r1", Incident: "i1"}
	drill := ask
	drill.Mode = plan.Drill
	operator.want(422, "POST", "/api/v1/runs", drill)
	absent := ask
	absent.Incident = "i9"
	operator.want(404, "POST", "/api/v1/runs", absent)
	if runs, err := n.store.Runs(t.Context(), wire.Fresh); err != nil || len(runs) > 0 {
		t.Fatalf("something was started: %v, %v", runs, err)
	}
	for range 2 { // the same request again
		_, first := n.started(operator.do("POST", "/api/v1/runs", ask))
		if first.What != run.Started || !first.DisruptedAt.Equal(opened.DisruptedAt) || !first.DetectedAt.Equal(opened.DetectedAt) {
			t.Errorf("%+v", first)
		}
	}
	v := n.view(operator.do("GET", "/api/v1/incidents/i1", nil))
	if strings.Join(v.Runs, " ") != "r1" || v.Seq != 2 || !v.Until.IsZero() {
		t.Errorf("%+v", v)
	}
	operator.want(404, "POST", words, wire.IncidentWord{What: incident.Link, Run: "r9"})
}

// From "declare" to "switching" in one request: the incident, its declaration and the run are there together, or none of them.
func TestOneRequestDeclaresAndStarts(t *testing.T) {
	n := start(t)
	n.ruled()
	commander, operator := n.as("commander"), n.as("operator")
	since := time.Now().Add(-time.Minute).UTC().Truncate(time.Second)
	ask := wire.StartRun{Plan: "p", Mode: plan.Emergency, ID: "r1", Declare: "site A is lost", DisruptedAt: since}
	none := func(why string) {
		t.Helper()
		incidents, err := n.store.Incidents(t.Context(), wire.Fresh)
		if err != nil || len(incidents) != 0 || len(n.runs()) != 0 {
			t.Fatalf("%s: %d incidents, %d runs, %v", why, len(incidents), len(n.runs()), err)
		}
	}
	operator.want(403, "POST", "/api/v1/runs", ask)
	drill := ask
	drill.Mode = plan.Drill
	commander.want(422, "POST", "/api/v1/runs", drill)
	// Plan p acts on no unit and is of no system: nobody knows what is disrupted.
	if p := commander.want(422, "POST", "/api/v1/runs", ask).problem(t); !strings.Contains(p.Detail, "cannot declare what plan p is about") {
		t.Error(p.Detail)
	}
	none("refused")
	n.open("u1")
	ask.Plan, ask.Mode, ask.Params = "switch-unit", plan.Takeover, map[string]any{"unit": "u1", "to": "b"}
	dry := ask
	dry.DryRun = true
	operator.want(200, "POST", "/api/v1/runs", dry)
	none("a dry run")
	for range 2 { // the same request again
		operator.want(200, "POST", "/api/v1/runs", ask)
	}
	v := n.view(operator.do("GET", "/api/v1/incidents/r1.incident", nil))
	if v.Declared == nil || v.Declared.By != "the-operator" || v.Title != "site A is lost" || strings.Join(v.Runs, " ") != "r1" || !v.DisruptedAt.Equal(since) || len(v.Units) != 1 || v.Rules == nil || len(v.Rules.Tasks) == 0 {
		t.Errorf("%+v", v)
	}
	if incidents, err := n.store.Incidents(t.Context(), wire.Fresh); err != nil || len(incidents) != 1 || len(n.runs()) != 1 {
		t.Errorf("%d incidents, %d runs, %v", len(incidents), len(n.runs()), err)
	}
	// What cannot switch declares nothing either.
	second := ask
	second.ID = "r2"
	operator.want(409, "POST", "/api/v1/runs", second)
	operator.want(404, "GET", "/api/v1/incidents/r2.incident", nil)
}

func TestStartDeclaresTheIncidentThatItNames(t *testing.T) {
	n := start(t)
	n.ruled()
	operator := n.as("operator")
	n.view(operator.do("POST", "/api/v1/incidents", cards()))
	for i, who := range []*caller{operator, n.person("eve", wire.Operator)} { // who comes second links only
		id := fmt.Sprintf("r%d", i)
		who.want(200, "POST", "/api/v1/runs", wire.StartRun{Plan: "p", Mode: plan.Takeover, ID: id, Incident: "i1", Declare: "because"})
	}
	v := n.view(operator.do("GET", "/api/v1/incidents/i1", nil))
	if v.Declared == nil || v.Declared.By != "the-operator" || v.Declared.Text != "because" || strings.Join(v.Runs, " ") != "r0 r1" {
		t.Errorf("%+v", v)
	}
}

func TestInboxHasWhatIncidentsWaitFor(t *testing.T) {
	n := start(t)
	n.ruled()
	operator := n.as("operator")
	operator.want(200, "POST", "/api/v1/incidents", cards())
	inbox := func(who string) string {
		t.Helper()
		var items []wire.InboxItem
		n.as(who).want(200, "GET", "/api/v1/inbox", nil).into(t, &items)
		var out []string
		for _, i := range items {
			out = append(out, strings.TrimSpace(i.Incident+" "+string(i.Why)+" "+i.Step))
		}
		return strings.Join(out, ", ")
	}
	check := func(want map[string]string) {
		t.Helper()
		for who, items := range want {
			if got := inbox(who); got != items {
				t.Errorf("%s: %q, not %q", who, got, items)
			}
		}
	}
	check(map[string]string{"viewer": "", "operator": "i1 declaration", "auditor": ""})
	operator.want(200, "POST", words, wire.IncidentWord{What: incident.Declare})
	check(map[string]string{"viewer": "i1 task inform", "operator": "i1 task inform", "auditor": "i1 task inform"})
	operator.want(200, "POST", words, wire.IncidentWord{What: incident.Done, Task: "inform"})
	operator.want(200, "POST", words, wire.IncidentWord{What: incident.Restore, When: time.Now().Add(-time.Minute)})
	check(map[string]string{"viewer": "", "operator": "", "auditor": "i1 review", "commander": "i1 review"})
	n.as("auditor").want(200, "POST", words, wire.IncidentWord{What: incident.Review, Text: "a cable"})
	check(map[string]string{"auditor": "", "operator": "i1 closure"})
}

func TestAvailabilityIsWorkedOutFromIncidents(t *testing.T) {
	n := start(t)
	n.ruled()
	n.as("operator").want(200, "POST", "/api/v1/incidents", cards())
	var list []incident.Availability
	from := time.Now().Add(-2 * time.Hour).UTC().Format(time.RFC3339)
	n.as("viewer").want(200, "GET", "/api/v1/availability?from="+from, nil).into(t, &list)
	at := slices.IndexFunc(list, func(a incident.Availability) bool { return a.System == "cards" })
	if at < 0 || list[at].Available == nil || *list[at].Available < 0.49 || *list[at].Available > 0.51 || list[at].Disruptions != 1 {
		t.Errorf("%+v", list)
	}
	n.as("viewer").want(422, "GET", "/api/v1/availability?from=2099-01-01T00:00:00Z", nil)
}

// serves is a document of a system.
func serves(system string) string {
	return "---\napiVersion: perdure/v1\nkind: System\nname: " + system + "\nmodules: [{name: m, archetype: compute}]\ntargets: {rto: 1h, rpo: 1h}\n"
}

// TestIncidentNamesTheFunctionsThatItAffectsAndItsReportIsWritten in every format, by the applied manifest.
func TestIncidentNamesTheFunctionsThatItAffectsAndItsReportIsWritten(t *testing.T) {
	n := start(t)
	n.manifestOf(someRules + `---
apiVersion: perdure/v1
kind: Function
name: payments
title: Card payments
systems: [cards]
---
apiVersion: perdure/v1
kind: Function
name: statements
systems: [reports]
` + serves("cards") + serves("reports"))
	operator, viewer := n.as("operator"), n.as("viewer")
	operator.want(200, "POST", "/api/v1/incidents", cards())
	if v := n.view(viewer.do("GET", "/api/v1/incidents/i1", nil)); !slices.Equal(v.Functions, []string{"payments – Card payments"}) {
		t.Errorf("%q", v.Functions)
	}
	const report = "/api/v1/incidents/i1/report?zone=Asia/Shanghai&lang="
	for lang, title := range map[string]string{"en": "Incident report", "zh-CN": "运营中断事件报告"} {
		page := string(viewer.want(200, "GET", report+lang, nil).body)
		if !strings.Contains(page, title) || !strings.Contains(page, "Card payments") || !strings.Contains(page, "cards stand still") {
			t.Errorf("%s: %s", lang, page)
		}
		for _, format := range []string{"docx", "xlsx"} {
			if file := viewer.want(200, "GET", report+lang+"&format="+format, nil).body; string(file[:2]) != "PK" {
				t.Errorf("%s: %d bytes", format, len(file))
			}
		}
	}
	viewer.want(404, "GET", "/api/v1/incidents/none/report", nil)
	viewer.want(422, "GET", "/api/v1/incidents/i1/report?zone=Moon", nil)
}

// TestOneDisruptionIsDeclaredOnceWhateverItOpened: incidents that are joined are no more on anybody's list, and what they affect is that of the one.
func TestOneDisruptionIsDeclaredOnceWhateverItOpened(t *testing.T) {
	n := start(t)
	n.ruled()
	operator, commander := n.as("operator"), n.as("commander")
	other := cards()
	other.ID, other.Systems = "i2", []estate.SystemID{"clearing"}
	n.view(operator.do("POST", "/api/v1/incidents", cards()))
	n.view(operator.do("POST", "/api/v1/incidents", other))
	join := wire.IncidentWord{What: incident.Join, Into: "i1", Text: "one power cut"}
	n.as("viewer").want(403, "POST", "/api/v1/incidents/i2/words", join)
	operator.want(404, "POST", "/api/v1/incidents/i3/words", join)
	v := n.view(operator.do("POST", "/api/v1/incidents/i2/words", join))
	if v.ID != "i1" || len(v.Affected.Systems) != 2 || len(v.Parts) != 1 {
		t.Errorf("%+v", v)
	}
	operator.want(409, "POST", "/api/v1/incidents/i2/words", wire.IncidentWord{What: incident.Declare})
	var open []incident.View
	operator.do("GET", "/api/v1/incidents?open=true", nil).into(t, &open)
	var inbox []wire.InboxItem
	commander.do("GET", "/api/v1/inbox", nil).into(t, &inbox)
	if len(open) != 1 || len(inbox) != 1 || inbox[0].Incident != "i1" {
		t.Errorf("open %d, inbox %+v", len(open), inbox)
	}
	operator.want(409, "POST", "/api/v1/runs", wire.StartRun{Plan: "count", Mode: plan.Takeover, Params: map[string]any{"to": "b"}, Incident: "i2"})
	operator.want(200, "POST", words, wire.IncidentWord{What: incident.Restore, When: time.Now().Add(-time.Minute)})
	var list []incident.Availability
	operator.do("GET", "/api/v1/availability", nil).into(t, &list)
	for _, a := range list {
		if (a.System == "cards" || a.System == "clearing") && (a.Unplanned < 58*time.Minute || a.Unplanned > 61*time.Minute) {
			t.Errorf("%+v", a)
		}
	}
	if len(list) < 2 {
		t.Errorf("%+v", list)
	}
}

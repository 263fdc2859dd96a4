package document_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/document"
	"perdure/internal/estate"
	"perdure/internal/incident"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/shape"
)

// disrupted is an incident of a failover, declared late, with one task done, one overdue and one waived; closed says that it is over.
func disrupted(t *testing.T, closed bool) incident.View {
	t.Helper()
	at := func(minutes int) time.Time { return time.Date(2026, 11, 22, 8, minutes, 0, 0, time.UTC) }
	customers := int64(12000)
	i := incident.Incident{
		ID: "u1-1.7", Title: "the owner is silent <b>", Cause: incident.ByFailover, Phase: incident.Open, OpenedAt: at(1), OpenedBy: "node:a", Seq: 1,
		Facts: incident.Facts{Systems: []estate.SystemID{"corebank"}, Units: []estate.UnitID{"u1"}, DisruptedAt: at(0), DetectedAt: at(1), Customers: &customers},
		Group: "u1", Left: estate.Ownership{Incarnation: estate.Incarnation{Counter: 1}, Epoch: 7},
	}
	hour := shape.Duration(time.Hour)
	rules := &incident.Rules{
		Name: "bank", DeclareWithin: shape.Duration(10 * time.Minute),
		Classes: []incident.Class{{Name: "general"}, {Name: "major", Thresholds: []incident.Threshold{{Customers: 10000}}}},
		Tasks: []incident.Task{
			{Name: "inform", Title: "Inform the management", Owner: "operator", For: incident.All, Within: hour},
			{Name: "regulator", Title: "Report to the regulator", To: "Regional office", Owner: "commander", For: incident.All, Within: hour},
			{Name: "public", Title: "Announce 公告", Owner: "commander", For: incident.All, Within: hour},
		},
	}
	seen := i.Measure([]incident.Gap{{Group: "u1", Left: i.Left, Began: at(0), Ended: at(2)}}, nil)
	words := []incident.Change{
		{What: incident.Declare, By: "ann", At: at(15), Rules: rules, Text: "customers call"},
		{What: incident.Done, By: "bob", At: at(20), Task: "inform", Text: "by phone"},
		{What: incident.Waive, By: "ann", At: at(21), Task: "public", Text: "nobody noticed"},
		{What: incident.Link, By: "ann", At: at(22), Run: "r1"},
	}
	if closed {
		words = append(words,
			incident.Change{What: incident.Done, By: "ann", At: at(90), Task: "regulator", Text: "sent", Seen: &seen},
			incident.Change{What: incident.Review, By: "cid", At: at(91), Text: "a cable was cut", Seen: &seen},
			incident.Change{What: incident.Close, By: "ann", At: at(92), Seen: &seen})
	}
	for _, c := range words {
		var err error
		if i, err = incident.Apply(i, c); err != nil {
			t.Fatal(err)
		}
	}
	v := incident.Look(i, incident.Rules{}, &seen, at(180))
	v.Functions = []string{"payments – Payments and transfers"}
	return v
}

var linked = []document.LinkedRun{
	{ID: "r1", Plan: "leave-a", Mode: plan.Emergency, Outcome: run.Done, Started: time.Date(2026, 11, 22, 8, 5, 0, 0, time.UTC), Ended: time.Date(2026, 11, 22, 8, 6, 0, 0, time.UTC)},
	{ID: "r2", Plan: "back", Mode: plan.SwitchBack, Started: time.Date(2026, 11, 22, 9, 5, 0, 0, time.UTC)},
}

func TestReportOfAnIncidentSaysWhatIsKnownOfIt(t *testing.T) {
	d := document.Incident(disrupted(t, true), linked, document.English, shanghai)
	sameInAllFormats(t, d)
	about := facts(t, d, "Summary")
	for name, want := range map[string]string{
		"Incident": "u1-1.7", "Stands": "closed", "Opened": "with an automatic failover, unplanned", "Class": "major", "Functions": "payments – Payments and transfers",
		"Service disrupted": "2026-11-22 16:00:00.000", "Service back": "2026-11-22 16:02:00.000 (measured)", "Business affected": "not known", "Customers affected": "12000",
	} {
		if about[name] != want {
			t.Errorf("%s: %q, want %q", name, about[name], want)
		}
	}
	if diff := cmp.Diff([][]string{{"Detection", "1 min 0.000 s", "–", "–"}, {"Declaration", "14 min 0.000 s", "10 min 0.000 s", "missed"}, {"Recovery", "2 min 0.000 s", "–", "–"}}, rows(t, d, "Clocks")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][]string{
		{"inform – Inform the management", "–", "operator", "2026-11-22 17:15:00.000", "done in time", "bob", "2026-11-22 16:20:00.000", "by phone"},
		{"regulator – Report to the regulator", "Regional office", "commander", "2026-11-22 17:15:00.000", "done late", "ann", "2026-11-22 17:30:00.000", "sent"},
		{"public – Announce 公告", "–", "commander", "2026-11-22 17:15:00.000", "waived", "ann", "2026-11-22 16:21:00.000", "nobody noticed"},
	}, rows(t, d, "Reports and tasks")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][]string{
		{"r1", "leave-a", "emergency switch", "2026-11-22 16:05:00.000", "2026-11-22 16:06:00.000", "done"}, {"r2", "back", "switch-back", "2026-11-22 17:05:00.000", "–", "not over"},
	}, rows(t, d, "Runs and switches")); diff != "" {
		t.Error(diff)
	}
	if got := facts(t, d, "Closing review"); got["Finding"] != "a cable was cut" || got["Reviewed"] != "by cid, 2026-11-22 17:31:00.000" {
		t.Errorf("%q", got)
	}
	open := document.Incident(disrupted(t, false), nil, document.English, shanghai)
	sameInAllFormats(t, open)
	if got := facts(t, open, "Summary"); got["As of"] != "2026-11-22 19:00:00.000" || got["Stands"] != "declared" {
		t.Errorf("%q", got)
	}
	for _, s := range open.Sections {
		if s.Title == "Closing review" || s.Title == "Runs and switches" {
			t.Errorf("there is a section %s", s.Title)
		}
	}
}

func TestReportOfAnIncidentIsAsItWas(t *testing.T) {
	for _, l := range []document.Language{document.English, document.Chinese} {
		d := document.Incident(disrupted(t, true), linked, l, shanghai)
		sameInAllFormats(t, d)
		page := write(t, d.HTML)
		file := filepath.Join("testdata", "incident-"+string(l)+".html")
		if *update {
			if err := os.WriteFile(file, page, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(page)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestReportOfAnIncidentNamesWhatWasJoinedIntoIt(t *testing.T) {
	v := disrupted(t, false)
	whole, part := v.Incident, v.Incident
	part.ID, part.Group, part.Declared, part.Rules, part.Settled, part.Phase = "u2-1.3", "u2", nil, nil, nil, incident.Open
	part.Facts = incident.Facts{Systems: []estate.SystemID{"clearing"}, Units: []estate.UnitID{"u2"}, DisruptedAt: v.DisruptedAt.Add(-time.Minute)}
	whole, part, err := whole.Take(part, incident.Change{What: incident.Join, By: "bob", At: v.At, Into: whole.ID, Text: "one power cut"})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []document.Language{document.English, document.Chinese} {
		sameInAllFormats(t, document.Incident(incident.Look(whole, incident.Rules{}, &incident.Seen{}, v.At), nil, l, shanghai))
	}
	d := document.Incident(incident.Look(whole, incident.Rules{}, &incident.Seen{}, v.At), nil, document.English, shanghai)
	about := facts(t, d, "Summary")
	if about["Systems"] != "corebank, clearing" || about["Units"] != "u1, u2" || about["Service disrupted"] != "2026-11-22 15:59:00.000" {
		t.Errorf("%v", about)
	}
	said := false
	for _, section := range d.Sections {
		for _, row := range section.Rows {
			said = said || slices.Equal(row[1:], []string{"bob", "incident joined into this one", "u2-1.3 one power cut"})
		}
	}
	if !said {
		t.Error("nobody is said to have joined it")
	}
	if about := facts(t, document.Incident(incident.Look(part, incident.Rules{}, &incident.Seen{}, v.At), nil, document.English, shanghai), "Summary"); about["joined into"] != "u1-1.7" || about["Stands"] != "part of another incident" {
		t.Errorf("%v", about)
	}
}

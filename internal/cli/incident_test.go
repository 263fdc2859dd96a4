package cli_test

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"perdure/internal/estate"
	"perdure/internal/incident"
	"perdure/internal/shape"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// anIncident is one of a failover that was declared late, and of which one task is done, one overdue and one waived.
func anIncident(t *testing.T) incident.View {
	t.Helper()
	at := func(d time.Duration) time.Time { return time.UnixMilli(now).UTC().Add(d) }
	customers := int64(12000)
	i := incident.Incident{
		ID: "u1-1.7", Title: "the owner u1-a#2 is silent to a majority of the nodes", Cause: incident.ByFailover, Phase: incident.Open, OpenedAt: at(0), OpenedBy: "node:a", Seq: 1,
		Facts: incident.Facts{Systems: []estate.SystemID{"corebank"}, Units: []estate.UnitID{"u1"}, DisruptedAt: at(-3 * time.Second), DetectedAt: at(0), Customers: &customers},
		Group: "u1", Left: estate.Ownership{Incarnation: estate.Incarnation{Counter: 1}, Epoch: 7},
	}
	hour := shape.Duration(time.Hour)
	rules := &incident.Rules{
		Name: "bank", DeclareWithin: shape.Duration(10 * time.Minute),
		Classes: []incident.Class{{Name: "general"}, {Name: "major", Thresholds: []incident.Threshold{{Customers: 10000}}}, {Name: "grave", Thresholds: []incident.Threshold{{Units: 9}}}},
		Tasks: []incident.Task{
			{Name: "inform", Title: "Inform the management", Owner: "operator", For: incident.All, Within: hour},
			{Name: "regulator", Title: "Report to the regulator", To: "Regional office", Owner: "commander", For: incident.All, Within: hour},
			{Name: "public", Title: "Announce", Owner: "commander", For: incident.All, Within: hour},
		},
	}
	for _, c := range []incident.Change{
		{What: incident.Declare, By: "ann", At: at(15 * time.Minute), Rules: rules, Text: "customers call"},
		{What: incident.Done, By: "bob", At: at(20 * time.Minute), Task: "inform", Text: "by phone"},
		{What: incident.Waive, By: "ann", At: at(21 * time.Minute), Task: "public", Text: "nobody noticed"},
		{What: incident.Link, By: "ann", At: at(22 * time.Minute), Run: "r1"},
	} {
		var err error
		if i, err = incident.Apply(i, c); err != nil {
			t.Fatal(err)
		}
	}
	seen := i.Measure([]incident.Gap{{Group: "u1", Mode: unit.Failover, Left: i.Left, Began: at(-3 * time.Second), Ended: at(2 * time.Second)}}, nil)
	v := incident.Look(i, incident.Rules{}, &seen, at(2*time.Hour))
	v.Functions = []string{"payments – Payments and transfers"}
	return v
}

// answerIncidents is the fake node's part about incidents.
func (f *fakeNode) answerIncidents(answer func(string, func(*http.Request) any)) {
	said := func(r *http.Request) any {
		var v map[string]any
		_ = json.NewDecoder(r.Body).Decode(&v)
		text, _ := json.Marshal(v)
		f.note(string(text))
		return f.incident
	}
	answer("GET /api/v1/incidents", func(*http.Request) any {
		if f.incident.ID == "" {
			return []incident.View{}
		}
		return []incident.View{f.incident}
	})
	answer("GET /api/v1/incidents/{id}/report", func(r *http.Request) any { f.note(r.URL.RawQuery); return "page" })
	answer("GET /api/v1/incidents/{id}", func(*http.Request) any { return f.incident })
	answer("GET /api/v1/availability", func(r *http.Request) any {
		f.note(r.URL.RawQuery)
		at, share := time.UnixMilli(now).UTC(), 0.9999999
		return []incident.Availability{
			{System: "corebank", Unit: "u1", From: at.Add(-time.Hour), Until: at, Unplanned: 5 * time.Second, Planned: time.Second, Disruptions: 2, Longest: 4 * time.Second, Unmeasured: 1, Available: &share},
			{System: "corebank", Until: at},
		}
	})
	answer("POST /api/v1/incidents", said)
	answer("POST /api/v1/incidents/{id}/words", said)
	answer("GET /api/v1/groups/{group}", func(*http.Request) any {
		return wire.Group{Record: unit.Record{Group: "u1", Switch: &unit.Switch{Ownership: estate.Ownership{Epoch: 3}}}}
	})
}

func TestIncidentsAreShownInBothLanguages(t *testing.T) {
	f := startFake(t)
	if r := run(t.Context(), call{env: f.env(), args: []string{"incident", "list"}}); r.code != 0 || r.out != "there is no incident\n" {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	f.incident = anIncident(t)
	for lang, suffix := range map[string]string{"en": "en", "zh-CN": "zh"} {
		var out strings.Builder
		for _, args := range [][]string{{"incident", "list"}, {"incident", "show", "u1-1.7"}, {"availability"}} {
			r := run(t.Context(), call{env: f.env(), args: append(args, "--lang", lang)})
			if r.code != 0 {
				t.Fatalf("%q: exit %d: %s", args, r.code, r.err)
			}
			out.WriteString("$ perdure " + strings.Join(args, " ") + "\n" + r.out)
		}
		golden(t, "incidents-"+suffix+".golden", out.String())
	}
	r := run(t.Context(), call{env: f.env(), args: []string{"availability", "--from", "2026-11-22T08:00:00+08:00"}})
	if r.code != 0 || !slices.Contains(f.asked, "from=2026-11-22T00%3A00%3A00Z") {
		t.Errorf("exit %d: %s; asked %q", r.code, r.err, f.asked)
	}
	var v incident.View
	r = run(t.Context(), call{env: f.env(), args: []string{"incident", "show", "u1-1.7", "--json"}})
	if err := json.Unmarshal([]byte(r.out), &v); err != nil || len(v.Tasks) != 3 || v.Tasks[1].State != incident.Late || v.NowClass != "major" || v.Recover.Took != 5*time.Second {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
}

func TestEveryWordToAnIncidentIsSaidAsItIsGiven(t *testing.T) {
	f := startFake(t)
	f.incident = anIncident(t)
	for _, c := range []struct{ args, said string }{
		{"open Cards --system cards --disrupted-at 2026-11-22T08:00:00+08:00 --amount 5 --id i1 --planned", `{"amount":5,"disruptedAt":"2026-11-22T08:00:00+08:00","id":"i1","planned":true,"systems":["cards"],"title":"Cards"}`},
		{"declare i1 --text so", `{"text":"so","what":"declared"}`},
		{"class i1 grave --reason press", `{"class":"grave","text":"press","what":"classified"}`},
		{"class i1 --computed", `{"what":"classified"}`},
		{"report i1 inform --text told", `{"task":"inform","text":"told","what":"done"}`},
		{"waive i1 inform --reason no", `{"task":"inform","text":"no","what":"waived"}`},
		{"restored i1 --at 2026-11-22T08:00:00Z", `{"what":"restored","when":"2026-11-22T08:00:00Z"}`},
		{"link i1 --run r1", `{"run":"r1","what":"linked"}`},
		{"link i1 --switch u1", `{"switch":{"group":"u1","left":{"epoch":3,"incarnation":{"counter":0,"id":""}}},"what":"linked"}`},
		{"review i1 --finding cable", `{"text":"cable","what":"reviewed"}`},
		{"close i1", `{"what":"closed"}`},
	} {
		r := run(t.Context(), call{env: f.env(), args: append([]string{"incident"}, strings.Fields(c.args)...)})
		if r.code != 0 || !slices.Contains(f.asked, c.said) || !strings.HasPrefix(r.out, "u1-1.7") {
			t.Errorf("%s: exit %d: %s%s; asked %q", c.args, r.code, r.out, r.err, f.asked)
		}
	}
	file := filepath.Join(t.TempDir(), "incident.docx")
	if r := run(t.Context(), call{env: f.env(), args: []string{"incident", "document", "i1", "--lang", "zh", "--format", "docx", "--out", file}}); r.code != 0 || !slices.Contains(f.asked, "format=docx&lang=zh-CN&zone=UTC") {
		t.Errorf("exit %d: %s%s; asked %q", r.code, r.out, r.err, f.asked)
	}
	// What no flag names stays.
	run(t.Context(), call{env: f.env(), args: []string{"incident", "correct", "i1", "--amount", "7"}})
	if said := f.asked[len(f.asked)-1]; !strings.Contains(said, `"amount":7`) || !strings.Contains(said, `"customers":12000`) || !strings.Contains(said, `"units":["u1"]`) {
		t.Error(said)
	}
	for _, args := range []string{"waive i1 inform", "review i1", "class i1 grave", "class i1", "class i1 grave --computed", "link i1", "link i1 --run r --switch g", "restored i1 --at noon", "open", "document", "document i1 --format pdf"} {
		if r := run(t.Context(), call{env: f.env(), args: append([]string{"incident"}, strings.Fields(args)...)}); r.code != 2 {
			t.Errorf("%s: exit %d: %s%s", args, r.code, r.out, r.err)
		}
	}
}

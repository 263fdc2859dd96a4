package document_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/document"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/generate"
	"perdure/internal/manifest"
	"perdure/internal/measure"
	"perdure/internal/plan"
)

// drillText is a drill that people write by hand, and a plan that is part of it.
const drillText = `
apiVersion: perdure/v1
kind: Plan
name: look
title: Look how u1 stands
modes: [drill, inspection]
system: corebank
steps:
- {id: state, check: {driver: unit, action: state, target: u1, expect: result.accepting}}
---
apiVersion: perdure/v1
kind: Plan
name: practise
title: Practise the recovery of the core 核心系统恢复演练
modes: [drill, inspection]
system: corebank
rto: 4h
parameters:
- {name: site, doc: DR site., type: choice, of: [b, c], default: b}
- {name: note, doc: What to look at.}
steps:
- {id: agree, title: Approve it, timeout: 30m, approval: {of: [commander, head-office], need: 2, order: serial, text: "Practise it?"}}
- {id: refused, after: [agree.declined], notify: {to: [operator], text: declined}}
- {id: before, after: [agree], subplan: {plan: look}}
- {id: restore, title: Restore by hand, system: corebank, timeout: 2h, manual: {owner: operator, instruction: "Restore it at ${params.site}.", fields: [{name: took, doc: Minutes., type: number, required: true}]}}
- {id: rest, wait: {for: 90s}}
- {id: again, retry: {times: 2, pause: 10s}, onFailure: continue, when: 'params.site == "b"', check: {driver: unit, action: state, target: u2, expect: result.inSync > 0.0}}
- {id: reports, title: Bring statements up, system: reports, manual: {owner: clearing-house, instruction: Look at statements.}}
- {id: tidy, title: Stop it, cleanup: true, manual: {owner: operator, instruction: Stop the DR side and discard its data.}}
- {id: other, modes: [inspection], wait: {for: 1h}}
---
apiVersion: perdure/v1
kind: Calendar
name: drills
timeZone: Asia/Shanghai
schedules:
- {name: autumn, plan: practise, mode: drill, parameters: {site: c}, cron: "0 9 15 10 *", within: 48h, since: "2027-01-01 00:00"}
`

var users = map[string][]string{"commander": {"liwei", "zhangmin"}, "operator": {"wangfang"}, "viewer": {"bob"}, "auditor": {"ann"}}

func exampleFiles(t testing.TB) []manifest.File {
	t.Helper()
	paths, err := filepath.Glob("../../examples/estate/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no example: %v", err)
	}
	var files []manifest.File
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, manifest.File{Name: filepath.Base(path), Text: text})
	}
	return files
}

func setOf(t testing.TB, files ...manifest.File) *manifest.Set {
	t.Helper()
	set, err := manifest.Parse(files...)
	if err != nil {
		t.Fatal(err)
	}
	return &set
}

// whole is the example estate with recovery plans for sites a and b, and a drill.
func whole(t testing.TB) document.Estate {
	t.Helper()
	files := exampleFiles(t)
	set := setOf(t, files...)
	for _, mode := range []plan.Mode{plan.Takeover, plan.Emergency, plan.SwitchBack} {
		for _, site := range []estate.SiteID{"a", "b"} {
			g, err := generate.Plan(set, plan.BuiltIn(), generate.Options{Mode: mode, Site: site})
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, manifest.File{Name: g.Plan.Name, Text: g.Text})
		}
	}
	files = append(files, manifest.File{Name: "drill", Text: []byte(drillText)})
	return document.Estate{Set: setOf(t, files...), Revision: 42, Applied: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC), Holders: users}
}

// history is two runs of the plan: every step took so long.
func history(t testing.TB, e document.Estate, name string, mode plan.Mode, each ...time.Duration) *measure.History {
	t.Helper()
	p, err := plan.Compile(e.Set.Plans, plan.BuiltIn(), name, mode)
	if err != nil {
		t.Fatal(err)
	}
	h := measure.NewHistory()
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for _, d := range each {
		m := &measure.Measures{Outcome: "done"}
		for i := range p.Nodes {
			m.Steps = append(m.Steps, measure.Step{ID: p.Nodes[i].ID, Kind: p.Nodes[i].Step.Kind(), Ready: at, End: at.Add(d)})
		}
		if !h.Add(p, m) {
			t.Fatal("a run tells nothing")
		}
	}
	return h
}

// written are all documents of the whole estate, by name.
func written(t testing.TB, l document.Language) map[string]*document.Document {
	t.Helper()
	e := whole(t)
	out := map[string]*document.Document{}
	put := func(name string, d *document.Document, findings []document.Finding, err error) {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, f := range findings {
			t.Errorf("%s: %s (%s): %s", name, f.Kind, f.Subject, f.Text)
		}
		out[name] = d
	}
	for _, one := range []struct {
		plan string
		mode plan.Mode
	}{{"takeover-site-a", plan.Takeover}, {"emergency-site-a", plan.Emergency}, {"switch-back-site-a", plan.SwitchBack}, {"practise", plan.Drill}, {"move-unit", plan.Takeover}, {"move-unit", plan.SwitchBack}} {
		src := document.PlanSource{Estate: e, Plan: one.plan, Mode: one.mode, History: history(t, e, one.plan, one.mode, 20*time.Second, 40*time.Second)}
		name := one.plan + "-" + string(one.mode)
		d, findings, err := document.RecoveryPlan(src, l)
		put("drp-"+name, d, findings, err)
		if one.plan != "practise" && one.plan != "move-unit" {
			continue // the others have no schedule
		}
		d, findings, err = document.DrillPlan(src, l)
		if one.mode == plan.SwitchBack {
			findings = nil
		}
		put("drill-plan-"+name, d, findings, err)
	}
	d, findings, err := document.Response(document.ResponseSource{Estate: e, Site: "a"}, l)
	put("erp-site-a", d, findings, err)
	d, findings, err = document.Response(document.ResponseSource{Estate: e, System: "corebank"}, l)
	put("erp-corebank", d, findings, err)
	d, findings, err = document.Response(document.ResponseSource{Estate: e, System: "reports"}, l)
	put("erp-reports", d, findings, err)
	return out
}

var filler = regexp.MustCompile(`(?i)\b(todo|tbd|fixme|lorem|n/a|xxx)\b|待定|待补|暂无|%!|<nil>`)

// TestDocumentsOfPlansAreWholeAndTheSameInEveryFormatAndLanguage reads all of them back.
func TestDocumentsOfPlansAreWholeAndTheSameInEveryFormatAndLanguage(t *testing.T) {
	english, chinese := written(t, document.English), written(t, document.Chinese)
	for name, en := range english {
		zh := chinese[name]
		if len(en.Sections) != len(zh.Sections) {
			t.Fatalf("%s has %d sections in English, %d in Chinese", name, len(en.Sections), len(zh.Sections))
		}
		for i, s := range en.Sections {
			other := zh.Sections[i]
			if len(s.Facts) != len(other.Facts) || len(s.Rows) != len(other.Rows) || len(s.Head) != len(other.Head) {
				t.Errorf("%s: section %s is another one in Chinese", name, s.Title)
			}
			if s.Title == other.Title {
				t.Errorf("%s: section %s has one title in both languages", name, s.Title)
			}
		}
		for _, d := range []*document.Document{en, zh} {
			sameInAllFormats(t, d)
			for _, s := range contentOf(d).Sections {
				if len(s.Cells) == 0 {
					t.Errorf("%s: section %s is empty", name, s.Title)
				}
				for _, row := range s.Cells {
					if len(row) != len(s.Cells[0]) {
						t.Errorf("%s: %s: a row of %d cells under %d: %q", name, s.Title, len(row), len(s.Cells[0]), row)
					}
					for _, cell := range row {
						if strings.TrimSpace(cell) == "" || filler.MatchString(cell) {
							t.Errorf("%s: %s: a cell says nothing: %q in %q", name, s.Title, cell, row)
						}
					}
				}
			}
		}
	}
}

func TestDocumentsOfPlansAreAsTheyWere(t *testing.T) {
	for _, l := range []document.Language{document.English, document.Chinese} {
		all := written(t, l)
		for _, name := range []string{"drp-takeover-site-a-takeover", "erp-corebank", "drill-plan-practise-drill"} {
			page := write(t, all[name].HTML)
			file := filepath.Join("testdata", name+"-"+string(l)+".html")
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
				t.Errorf("%s: %s", file, diff)
			}
		}
	}
}

// facts are those of a section, by name.
func facts(t testing.TB, d *document.Document, title string) map[string]string {
	t.Helper()
	for _, s := range d.Sections {
		if s.Title == title {
			out := map[string]string{}
			for _, f := range s.Facts {
				out[f[0]] = f[1]
			}
			return out
		}
	}
	t.Fatalf("there is no section %s", title)
	return nil
}

// rows are those of a section.
func rows(t testing.TB, d *document.Document, title string) [][]string {
	t.Helper()
	for _, s := range d.Sections {
		if s.Title == title {
			return s.Rows
		}
	}
	t.Errorf("there is no section %s", title)
	return nil
}

func TestFiguresOfARecoveryPlanAreThoseOfItsProgram(t *testing.T) {
	e := whole(t)
	h := history(t, e, "takeover-site-a", plan.Takeover, 20*time.Second, 40*time.Second)
	d, _, err := document.RecoveryPlan(document.PlanSource{Estate: e, Plan: "takeover-site-a", History: h}, document.English)
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Compile(e.Set.Plans, plan.BuiltIn(), "takeover-site-a", plan.Takeover)
	if err != nil {
		t.Fatal(err)
	}
	ahead, err := measure.Before(p, nil, plan.BuiltIn(), h, 1)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(p) // as the store keeps it, so that a run's report has the same sum
	if err != nil {
		t.Fatal(err)
	}
	if got, want := facts(t, d, "Version")["SHA-256 of the program"], fmt.Sprintf("%x", sha256.Sum256(data)); got != want {
		t.Errorf("the program is %s, want %s", got, want)
	}
	plainly := func(d time.Duration) string {
		return strings.NewReplacer("h", " h ", "m", " min ", "s", " s").Replace(strings.NewReplacer("m0s", "m", "h0m", "h").Replace(d.String()))
	}
	times := facts(t, d, "Expected times")
	for name, want := range map[string]time.Duration{"Worst case": ahead.Forecast.Worst, "Half of the runs take at most (P50)": *ahead.Forecast.P50, "95 of 100 runs take at most (P95)": *ahead.Forecast.P95} {
		if strings.TrimSpace(plainly(want)) != times[name] {
			t.Errorf("%s: %q, want %q", name, times[name], plainly(want))
		}
	}
	if times["Critical path"] != strings.Join(ahead.Forecast.Path, " → ") || times["Earlier runs"] != "2" || times["People without a time limit"] != strings.Join(ahead.Forecast.Endless, ", ") {
		t.Errorf("%q", times)
	}
	steps := rows(t, d, "Steps")
	if len(steps) != len(p.Nodes) {
		t.Fatalf("%d steps, want %d", len(steps), len(p.Nodes))
	}
	for i, row := range steps {
		n := &p.Nodes[i]
		limit := "no limit"
		if b := p.Bound(i); b > 0 {
			limit = strings.TrimSpace(plainly(b))
		}
		if row[0] != strconv.Itoa(i+1) || !strings.HasPrefix(row[1], n.ID+" – ") || row[6] != limit {
			t.Errorf("step %d is %q, want %s, %s", i+1, row, n.ID, limit)
		}
		if n.Step.Undo != nil && !strings.HasPrefix(row[8], "unit switch u1 to=") {
			t.Errorf("%s is undone by %q", n.ID, row[8])
		}
	}
	if got, want := rows(t, d, "What is switched"), [][]string{{"1", "switch-u1", "u1 (group u1)", "corebank", "the replica", "a – Production site A", "b – Same-city site B", "sync: in the in-sync set"}}; cmp.Diff(want, got) != "" {
		t.Errorf("%q", got)
	}
	systems := rows(t, d, "Systems")
	if len(systems) != 2 || systems[0][0] != "1" || !strings.HasPrefix(systems[0][1], "corebank") || systems[0][2] != "critical" || systems[1][0] != "2" || systems[1][5] != "corebank" || systems[1][6] != "1 h" {
		t.Errorf("%q", systems)
	}
	for _, p := range e.Set.Participants {
		for _, c := range p.Contacts {
			if !slices.ContainsFunc(rows(t, d, "Participants and contacts"), func(row []string) bool { return row[2] == c.Name && row[3] == c.Phone }) {
				t.Errorf("%s of %s is not there", c.Name, p.Name)
			}
		}
	}
	back := rows(t, d, "Way back")
	if back[0][1] != "undo what was done, last first: switch-u1" || back[1][2] != "perdure run start switch-back-site-a --mode switch-back --reason TEXT" {
		t.Errorf("%q", back)
	}
	if !d.Made.Equal(e.Applied) {
		t.Errorf("made %s", d.Made)
	}
}

// TestContractInTheDocumentIsThatOfTheMode holds the section against the row that the engine enforces.
func TestContractInTheDocumentIsThatOfTheMode(t *testing.T) {
	all := written(t, document.English)
	for name, mode := range map[string]plan.Mode{"drp-practise-drill": plan.Drill, "drp-takeover-site-a-takeover": plan.Takeover, "drp-emergency-site-a-emergency": plan.Emergency, "drp-switch-back-site-a-switch-back": plan.SwitchBack} {
		row, got := plan.ContractOf(mode), facts(t, all[name], "Contract of the mode")
		is := func(fact, want string) {
			if !strings.HasPrefix(got[fact], want) {
				t.Errorf("%s: %s is %q, want %q", mode, fact, got[fact], want)
			}
		}
		is("Production interrupted", map[plan.Interruption]string{plan.NoInterruption: "no", plan.ShortInterruption: "briefly", plan.Interruptible: "yes"}[row.Interruption])
		is("Trigger", map[plan.Trigger]string{plan.Planned: "planned; no", plan.InWindow: "planned; in a window", plan.Unplanned: "unplanned"}[row.Trigger])
		is("Public announcement", map[bool]string{true: "required", false: "not required"}[row.Announcement])
		is("Data brought into use", row.Image.Words())
		is("External interfaces", string(row.Interfaces))
		is("Data used", strings.Split(row.Data, ",")[0])
		is("Written back to production", map[bool]string{true: "yes", false: "no"}[row.WriteBack])
		is("RPO", map[bool]string{true: "0", false: "less than 1 h"}[row.RPO == 0])
		if len(got) != 12 {
			t.Errorf("%s: %d facts: %q", mode, len(got), got)
		}
	}
}

// TestSystemsComeInTheOrderInWhichStepsReachThem: one whose first step waits for a step of another one is a wave behind it.
func TestSystemsComeInTheOrderInWhichStepsReachThem(t *testing.T) {
	e := whole(t)
	text := `
apiVersion: perdure/v1
kind: Plan
name: backwards
modes: [takeover]
steps:
- {id: reports, system: reports, after: [], manual: {owner: operator, instruction: first}}
- {id: nobody, after: [reports], wait: {for: 1s}}
- {id: u1, after: [nobody], act: {driver: unit, action: switch, target: u1, with: {to: c}}}
- {id: again, system: reports, after: [u1], manual: {owner: operator, instruction: again}}
`
	e.Set = setOf(t, append(exampleFiles(t), manifest.File{Name: "p", Text: []byte(text)})...)
	d, _, err := document.RecoveryPlan(document.PlanSource{Estate: e, Plan: "backwards"}, document.English)
	if err != nil {
		t.Fatal(err)
	}
	got := rows(t, d, "Systems")
	if got[0][0] != "1" || got[0][1] != "reports – Statements and reports" || got[1][0] != "2" || got[1][1] != "corebank – Core banking" {
		t.Errorf("%q", got)
	}
	if got := rows(t, d, "What is switched")[0]; got[0] != "2" || got[7] != "async: something acknowledged may be missing" {
		t.Errorf("%q", got)
	}
}

func TestWayBackUndoesTheLastFirstAndNamesWhatPutsThingsBack(t *testing.T) {
	e := whole(t)
	text := `
apiVersion: perdure/v1
kind: Plan
name: there
modes: [takeover]
steps:
- {id: one, act: {driver: unit, action: switch, target: u1, with: {to: b}}, undo: {driver: unit, action: switch, target: u1, with: {to: a}}}
- {id: two, act: {driver: unit, action: switch, target: u2, with: {to: a}}, undo: {driver: unit, action: switch, target: u2, with: {to: b}}}
- {id: tidy, cleanup: true, manual: {owner: operator, instruction: Tidy.}}
- {id: sweep, cleanup: true, manual: {owner: operator, instruction: Sweep.}}
`
	e.Set = setOf(t, append(exampleFiles(t), manifest.File{Name: "p", Text: []byte(text)})...)
	d, _, err := document.RecoveryPlan(document.PlanSource{Estate: e, Plan: "there"}, document.English)
	if err != nil {
		t.Fatal(err)
	}
	got := rows(t, d, "Way back")
	if len(got) != 3 || got[0][1] != "undo what was done, last first: two, one" || got[1][1] != "put things back: tidy, sweep" || !strings.HasPrefix(got[2][1], "move-unit") {
		t.Errorf("%q", got)
	}
}

func TestPlanDocumentIsRefusedWhereThereIsNothingToDocument(t *testing.T) {
	e := whole(t)
	for name, one := range map[string]struct {
		src  document.PlanSource
		kind errs.Kind
	}{
		"no plan":          {document.PlanSource{Estate: e, Plan: "nothing"}, errs.NotFound},
		"another mode":     {document.PlanSource{Estate: e, Plan: "takeover-site-a", Mode: plan.Emergency}, errs.Invalid},
		"recovers nothing": {document.PlanSource{Estate: e, Plan: "practise", Mode: plan.Inspection}, errs.Invalid},
		"only looks":       {document.PlanSource{Estate: e, Plan: "look-around"}, errs.Invalid},
	} {
		if _, _, err := document.RecoveryPlan(one.src, document.English); errs.KindOf(err) != one.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	if d, _, err := document.RecoveryPlan(document.PlanSource{Estate: e, Plan: "switch-unit"}, document.English); err != nil || d.Subtitle != "switch-unit – Make a unit current at another site, mode planned takeover" {
		t.Errorf("%v %v", d, err)
	}
}

// missed gives kinds and subjects of findings.
func missed(findings []document.Finding) []string {
	var out []string
	for _, f := range findings {
		out = append(out, strings.TrimSpace(string(f.Kind)+" "+f.Subject))
	}
	slices.Sort(out)
	return out
}

func TestWhatAPlanNeedsAndNobodySaidIsAFinding(t *testing.T) {
	text := `
apiVersion: perdure/v1
kind: Plan
name: p
modes: [takeover, emergency, drill]
rto: 1m
steps:
- {id: wait, wait: {for: 2m}}
- {id: ask, approval: {of: [commander, nobody, night-desk]}}
- {id: branch, manual: {owner: branch-1, instruction: Look.}}
`
	more := `
apiVersion: perdure/v1
kind: Participant
name: branch-1
type: branch
---
apiVersion: perdure/v1
kind: Calendar
name: c
timeZone: UTC
windows: [{name: w, plans: [other], cron: "0 1 * * *", duration: 1h}]
---
apiVersion: perdure/v1
kind: Plan
name: other
modes: [takeover]
steps: [{id: s, wait: {for: 1s}}]
---
apiVersion: perdure/v1
kind: Roster
name: desks
timeZone: UTC
duties: [{name: night-desk, of: operator, shifts: [{name: night, people: [li], cron: "0 20 * * *", duration: 12h}]}]
`
	e := document.Estate{Set: setOf(t, manifest.File{Name: "p", Text: []byte(text)}, manifest.File{Name: "m", Text: []byte(strings.Replace(more, "\n", "\n", 1))}), Holders: map[string][]string{"operator": {"ann"}}}
	for _, l := range []document.Language{document.English, document.Chinese} {
		d, findings, err := document.RecoveryPlan(document.PlanSource{Estate: e, Plan: "p", Mode: plan.Takeover}, l)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"late p", "no-plan", "no-window p", "nobody commander", "nobody nobody", "unreached branch-1", "unsaid p"}
		if diff := cmp.Diff(want, missed(findings)); diff != "" {
			t.Errorf("want (-), got (+):\n%s", diff)
		}
		for _, f := range findings {
			if f.Text == "" || filler.MatchString(f.Text) {
				t.Errorf("%+v", f)
			}
		}
		sameInAllFormats(t, d)
		if d.Made.Year() != 1980 {
			t.Errorf("made %s, of which nothing says when", d.Made)
		}
	}
	// Who has a role that includes another one may do what is asked of that.
	e.Holders = map[string][]string{"admin": {"root"}}
	d, findings, err := document.RecoveryPlan(document.PlanSource{Estate: e, Plan: "p", Mode: plan.Emergency}, document.English)
	if err != nil {
		t.Fatal(err)
	}
	if got := missed(findings); slices.Contains(got, "nobody commander") || !slices.Contains(got, "nobody nobody") {
		t.Errorf("%q", got)
	}
	if got := rows(t, d, "Roles")[0]; got[1] != "root (admin)" {
		t.Errorf("%q", got)
	}
	// Without a server nobody is known, and nobody is missed.
	e.Holders = nil
	d, findings, err = document.RecoveryPlan(document.PlanSource{Estate: e, Plan: "p", Mode: plan.Emergency}, document.English)
	if err != nil || slices.ContainsFunc(findings, func(f document.Finding) bool { return f.Kind == document.Nobody }) {
		t.Errorf("%v %v", findings, err)
	}
	sameInAllFormats(t, d)
}

func TestResponsePlanNamesWhoWhatAndByWhen(t *testing.T) {
	e := whole(t)
	d, findings, err := document.Response(document.ResponseSource{Estate: e, Site: "a"}, document.English)
	if err != nil || len(findings) > 0 {
		t.Fatal(findings, err)
	}
	if d.Title != "Emergency response plan" || d.Subtitle != "site a – Production site A" {
		t.Errorf("%s: %s", d.Title, d.Subtitle)
	}
	about := facts(t, d, "Summary")
	if about["Shortest RTO"] != "5 s" || about["Shortest RPO"] != "0 s" || about["Declared within"] != "10 min after its detection" {
		t.Errorf("%q", about)
	}
	group := e.Set.CommandGroups[0]
	people := rows(t, d, "Command group")
	for i, m := range group.Members {
		if people[i][2] != m.Name || people[i][5] != m.Phone {
			t.Errorf("%q, want %+v", people[i], m)
		}
	}
	if people[1][1] != "deputy\ntechnology" || people[1][4] != "commander (leads emergencies)" || people[3][3] != "–" {
		t.Errorf("%q", people)
	}
	if got := rows(t, d, "Escalation"); len(got) != 4 || got[0][0] != "15 min after its detection" || got[3][1] != "clearing-house – Clearing house (Operations desk)" || got[3][2] != "+86 21 5555 0200" {
		t.Errorf("%q", got)
	}
	clocks := map[string]string{}
	for _, row := range slices.Concat(rows(t, d, "Reporting"), rows(t, d, "Announcements")) {
		clocks[row[0]] = row[5] + "; " + row[1] + "; " + row[3] + "; " + row[4]
	}
	want := map[string]string{
		"inform – Inform the management":       "30 min after the declaration; Executive board; wangfang; all",
		"regulator – Report to the regulator":  "1 h after the declaration; Regional office; liwei, zhangmin; major – 较大",
		"public – Announce on website and app": "1 h 30 min after the declaration; Customers; liwei, zhangmin; major – 较大",
	}
	if diff := cmp.Diff(want, clocks); diff != "" {
		t.Error(diff)
	}
	var plans []string
	for _, row := range rows(t, d, "Recovery plans") {
		plans = append(plans, row[0]+": "+row[5])
	}
	if diff := cmp.Diff([]string{
		"emergency switch: perdure run start emergency-site-a --mode emergency --incident INCIDENT --reason TEXT",
		"planned takeover: perdure run start takeover-site-a --mode takeover --reason TEXT",
		"planned takeover: perdure run start move-unit --mode takeover --set unit=UNIT --set to=TO --reason TEXT",
		"switch-back: perdure run start switch-back-site-a --mode switch-back --reason TEXT",
		"switch-back: perdure run start move-unit --mode switch-back --set unit=UNIT --set to=TO --reason TEXT",
	}, plans); diff != "" { // none of site b
		t.Error(diff)
	}
	if got := rows(t, d, "Switching one group"); len(got) != 2 || got[0][5] != "perdure switch u1 --to b --mode emergency --reason TEXT" || got[1][4] != "async: something acknowledged may be missing" {
		t.Errorf("%q", got)
	}
	if got := rows(t, d, "Cut-offs"); len(got) != 2 || got[0][2] != "Monday to Friday at 17:00" || got[1][2] != "every day at 23:30" || got[0][3] != "Asia/Shanghai" {
		t.Errorf("%q", got)
	}
	if got := rows(t, d, "Classes of incidents"); got[1][1] != "30 min of disruption and more\n2 units and more, and 10,000 customers and more" || got[2][1] != "one of these is affected: corebank, and 2 h of disruption and more\nbusiness of 100,000,000 and more" {
		t.Errorf("%q", got)
	}
	sum := sha256.Sum256(manifest.Export(*e.Set))
	if facts(t, d, "Version")["SHA-256 of the estate"] != hex.EncodeToString(sum[:]) {
		t.Errorf("%q", facts(t, d, "Version"))
	}
	d, _, err = document.Response(document.ResponseSource{Estate: e, System: "reports"}, document.English)
	if err != nil {
		t.Fatal(err)
	}
	if got := rows(t, d, "Systems"); len(got) != 2 || got[0][2] != "needed by the scope" || got[1][2] != "in the scope" {
		t.Errorf("%q", got)
	}
}

func TestWhatAResponseNeedsAndNobodySaidIsAFinding(t *testing.T) {
	var files []manifest.File
	for _, f := range exampleFiles(t) {
		if f.Name == "sites.yaml" || f.Name == "corebank.yaml" {
			files = append(files, f)
		}
	}
	bare := []string{
		"no-plan u1, u2", "no-plan u1, u2", "nobody corebank", "nobody corebank", "unsaid announcements", "unsaid classes", "unsaid corebank", "unsaid corebank", "unsaid declareWithin", "unsaid reports",
	}
	look := func(more string, holders map[string][]string) (*document.Document, []string) {
		t.Helper()
		e := document.Estate{Set: setOf(t, append(slices.Clone(files), manifest.File{Name: "more", Text: []byte(more)})...), Holders: holders}
		d, findings, err := document.Response(document.ResponseSource{Estate: e, System: "corebank"}, document.Chinese)
		if err != nil {
			t.Fatal(err)
		}
		sameInAllFormats(t, d)
		return d, missed(findings)
	}
	d, got := look("", nil)
	if diff := cmp.Diff(bare, got); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	for _, s := range d.Sections {
		if slices.Contains([]string{"应急指挥组", "升级机制", "事件分级", "报告时限", "对外公告", "恢复预案"}, s.Title) {
			t.Errorf("there is a section %s, of which the estate says nothing: %q", s.Title, s.Rows)
		}
	}
	// A group that lacks people, a participant whom nobody reaches, and a report to nobody.
	_, got = look(`
apiVersion: perdure/v1
kind: CommandGroup
name: g
members: [{name: Ann, duties: [lead, business], user: ann, phone: "110"}, {name: Bob, duties: [deputy], user: bob, mail: bob@bank.example}]
---
apiVersion: perdure/v1
kind: Participant
name: branch-1
type: branch
---
apiVersion: perdure/v1
kind: IncidentRules
name: r
tasks: [{name: tell, title: Tell, owner: carl, within: 1h}]
`, map[string][]string{"operator": {"ann"}, "auditor": {"eve"}})
	want := []string{
		"no-plan u1, u2", "no-plan u1, u2", "nobody bob", "nobody carl", "nobody commander", "nobody commander", "nobody communication", "nobody technology",
		"unreached branch-1", "unreached tell", "unsaid announcements", "unsaid classes", "unsaid corebank", "unsaid corebank", "unsaid declareWithin", "unsaid escalation",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

func TestResponsePlanIsForOneSystemOrOneSite(t *testing.T) {
	e := whole(t)
	witness := setOf(t, append(exampleFiles(t), manifest.File{Name: "w", Text: []byte("apiVersion: perdure/v1\nkind: Site\nname: w\ncity: north\n")})...)
	for name, one := range map[string]struct {
		src  document.ResponseSource
		kind errs.Kind
	}{
		"neither":          {document.ResponseSource{Estate: e}, errs.Invalid},
		"both":             {document.ResponseSource{Estate: e, System: "corebank", Site: "a"}, errs.Invalid},
		"no such system":   {document.ResponseSource{Estate: e, System: "none"}, errs.NotFound},
		"no such site":     {document.ResponseSource{Estate: e, Site: "none"}, errs.NotFound},
		"nothing is there": {document.ResponseSource{Estate: document.Estate{Set: witness}, Site: "w"}, errs.Refused},
	} {
		if _, _, err := document.Response(one.src, document.English); errs.KindOf(err) != one.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHostileTextsOfAnEstateAreHarmless puts what formats take for their own into what people declare.
func TestHostileTextsOfAnEstateAreHarmless(t *testing.T) {
	for _, evil := range []string{`<script>alert(1)</script>]]>`, "=cmd|'/C calc'!A0", "_x003D_1+1\u202egnp.exe\x1b[31m", strings.Repeat("長", 5000)} {
		e := whole(t)
		for i := range e.Set.Systems {
			e.Set.Systems[i].Title = evil
		}
		for i := range e.Set.Participants {
			e.Set.Participants[i].Title, e.Set.Participants[i].Contacts[0].Name = evil, evil
		}
		for i := range e.Set.CommandGroups[0].Members {
			e.Set.CommandGroups[0].Members[i].Name = evil
		}
		e.Set.Functions[0].Title, e.Set.IncidentRules[0].Tasks[0].To, e.Holders = evil, evil, map[string][]string{"commander": {evil}}
		for i := range e.Set.Plans {
			p := &e.Set.Plans[i]
			p.Title = evil
			for j := range p.Steps {
				p.Steps[j].Title = evil
				if m := p.Steps[j].Manual; m != nil {
					m.Instruction = evil
				}
			}
		}
		drp, _, err := document.RecoveryPlan(document.PlanSource{Estate: e, Plan: "takeover-site-a"}, document.English)
		if err != nil {
			t.Fatal(err)
		}
		erp, findings, err := document.Response(document.ResponseSource{Estate: e, Site: "a"}, document.Chinese)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range []*document.Document{drp, erp} {
			sameInAllFormats(t, d)
			if page := string(write(t, d.HTML)); strings.Contains(page, "<script") || strings.ContainsAny(page, "\x1b\u202e") {
				t.Errorf("%q stands in the page as it is", evil)
			}
		}
		for _, f := range findings {
			if strings.ContainsAny(f.Text, "\x1b\u202e") {
				t.Errorf("%q stands in a finding as it is", evil)
			}
		}
	}
}

func TestPaperIsTheDocumentAsAFile(t *testing.T) {
	d := written(t, document.English)["erp-reports"]
	for format, begin := range map[document.Format]string{document.HTML: "<!DOCTYPE html>", document.DOCX: "PK", document.XLSX: "PK"} {
		p, err := d.Paper(format, nil)
		if err != nil || !strings.HasPrefix(string(p.File), begin) || p.Title != d.Title || p.Findings == nil {
			t.Errorf("%s: %v", format, err)
		}
	}
	if _, err := d.Paper("pdf", nil); errs.KindOf(err) != errs.Invalid {
		t.Error(err)
	}
}

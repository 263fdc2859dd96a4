package generate_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"pgregory.net/rapid"

	"perdure/internal/document"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/generate"
	"perdure/internal/manifest"
	"perdure/internal/plan"
	"perdure/internal/shape"
	"perdure/internal/unit"
)

var update = flag.Bool("update", false, "rewrite what the scripts want")

// TestPlansOfScripts: a script is an estate, one line of options for each plan in "ask", and in "want" the plans or why there are none.
func TestPlansOfScripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no script: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var files []manifest.File
			var asks string
			for _, f := range a.Files {
				switch f.Name {
				case "ask":
					asks = string(f.Data)
				case "want":
				default:
					files = append(files, manifest.File{Name: f.Name, Text: f.Data})
				}
			}
			if len(files) == 0 {
				files = example(t)
			}
			set, err := manifest.Parse(files...)
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			for ask := range strings.Lines(asks) {
				ask = strings.TrimSpace(ask)
				fmt.Fprintf(&out, "=== %s\n", ask)
				g, err := generate.Plan(&set, plan.BuiltIn(), optionsOf(t, ask))
				if err != nil {
					fmt.Fprintf(&out, "%s: %v\n", errs.KindOf(err), err)
					continue
				}
				out.Write(g.Text)
				good(t, &set, g)
			}
			i := slices.IndexFunc(a.Files, func(f txtar.File) bool { return f.Name == "want" })
			if i < 0 {
				a.Files, i = append(a.Files, txtar.File{Name: "want"}), len(a.Files)
			}
			if *update {
				a.Files[i].Data = []byte(out.String())
				if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(a.Files[i].Data), out.String()); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}

func optionsOf(t *testing.T, ask string) generate.Options {
	o := generate.Options{}
	for word := range strings.FieldsSeq(ask) {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "mode":
			o.Mode = plan.Mode(value)
		case "system":
			o.System = estate.SystemID(value)
		case "site":
			o.Site = estate.SiteID(value)
		case "to":
			o.To = estate.SiteID(value)
		case "lang":
			o.Language = document.Language(value)
		case "at":
			group, site, _ := strings.Cut(value, ":")
			if o.Current == nil {
				o.Current = map[estate.GroupID]estate.SiteID{}
			}
			o.Current[estate.GroupID(group)] = estate.SiteID(site)
		default:
			t.Fatalf("unknown option %s", word)
		}
	}
	return o
}

func example(t testing.TB) []manifest.File {
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

type fatal interface {
	Helper()
	Fatalf(format string, args ...any)
}

// good: the text is a plan that the manifest takes in and that breaks nothing of its mode, and it says what the value says.
func good(t fatal, set *manifest.Set, g generate.Generated) *plan.Program {
	t.Helper()
	file := manifest.File{Name: "generated.yaml", Text: g.Text}
	plans, err := manifest.ParsePlans(file)
	if err != nil || len(plans) != 1 {
		t.Fatalf("the plan is refused: %v\n%s", err, g.Text)
	}
	whole := *set
	whole.Plans = append(slices.Clone(set.Plans), plans[0])
	if err := manifest.Check(whole); err != nil {
		t.Fatalf("the manifest refuses the plan: %v\n%s", err, g.Text)
	}
	want := g.Plan
	want.Complete()
	if diff := cmp.Diff(want, plans[0]); diff != "" {
		t.Fatalf("the text says something else than the plan:\n%s", diff)
	}
	program, err := plan.Compile(plans, plan.BuiltIn(), plans[0].Name, plans[0].Modes[0])
	if err != nil {
		t.Fatalf("the plan has no program: %v", err)
	}
	if breaches := program.Breaches(plan.BuiltIn()); len(breaches) > 0 {
		t.Fatalf("the plan breaks its contract: %v", breaches)
	}
	for _, s := range plans[0].Steps {
		if !bytes.Contains(g.Text, []byte("- id: "+s.ID+"\n")) {
			t.Fatalf("step %s does not stand in the text", s.ID)
		}
	}
	return program
}

// anEstate draws sites in two cities, systems with groups and modules, dependencies without a cycle, functions and participants.
func anEstate(t *rapid.T) manifest.Set {
	var set manifest.Set
	var sites []estate.SiteID
	for i := range rapid.IntRange(2, 4).Draw(t, "sites") {
		s := manifest.Site{Name: estate.SiteID(fmt.Sprintf("s%d", i)), City: []string{"east", "west"}[i%3/2]}
		if i == 0 {
			s.Nodes = []manifest.Node{{Name: "n", Host: "n", API: 1, Peer: 2, Client: 3}}
		}
		set.Sites, sites = append(set.Sites, s), append(sites, s.Name)
	}
	long := strings.Repeat("x", 25)
	var systems []estate.SystemID
	for i := range rapid.IntRange(1, 5).Draw(t, "systems") {
		name := estate.SystemID(fmt.Sprintf("y%d", i))
		if rapid.Bool().Draw(t, "long") {
			name = estate.SystemID(fmt.Sprintf("y%d-%s", i, long))
		}
		s := manifest.System{
			Name: name, Title: "Costs ${ little", Hosts: []string{string(name)}, Slots: 4,
			Criticality: rapid.SampledFrom([]estate.Criticality{"", estate.Critical, estate.Important, estate.Normal}).Draw(t, "criticality"),
			Stage:       rapid.SampledFrom([]estate.Stage{"", "", "", estate.MultiActive, estate.RemoteStandby, estate.ColdRestore}).Draw(t, "stage"),
			Targets:     manifest.Targets{RTO: shape.Duration(time.Hour), RPO: shape.Duration(time.Hour)},
			Idempotency: manifest.Idempotency{Header: "K", Retention: shape.Duration(time.Hour)},
			Limits:      manifest.Limits{Body: 1, Concurrent: 2}, Hold: manifest.Hold{MaxBytes: 1, MaxRequests: 1},
		}
		for _, id := range systems {
			if rapid.IntRange(0, 3).Draw(t, "depends") == 0 {
				s.DependsOn = append(s.DependsOn, id)
			}
		}
		for j, a := range []estate.Archetype{estate.Flow, estate.Compute, estate.Query} {
			if rapid.IntRange(0, 2).Draw(t, "module") > 0 {
				continue
			}
			m := manifest.Module{Name: fmt.Sprintf("m%d-%s", j, long), Archetype: a}
			s.Modules = append(s.Modules, m)
			for _, site := range sites {
				if rapid.Bool().Draw(t, "deployed") {
					s.Deployments = append(s.Deployments, manifest.Deployment{Module: m.Name, Site: site})
				}
			}
		}
		if len(s.Modules) == 0 || rapid.IntRange(0, 3).Draw(t, "accounts") > 0 {
			s.Modules = append(s.Modules, manifest.Module{Name: "ledger", Archetype: estate.Account, Paths: []string{"/"}})
			s.RoutingKey = []manifest.KeySource{{From: manifest.FromHeader, Name: "Account"}}
			for _, site := range sites {
				s.Deployments = append(s.Deployments, manifest.Deployment{Module: "ledger", Site: site})
			}
			for g := range rapid.IntRange(1, 2).Draw(t, "groups") {
				group := manifest.Group{Name: estate.GroupID(fmt.Sprintf("g%d-%d", i, g))}
				for n, site := range rapid.Permutation(sites).Draw(t, "members")[:rapid.IntRange(1, len(sites)).Draw(t, "copies")] {
					role := unit.SyncRole
					if n > 0 {
						role = rapid.SampledFrom([]unit.Role{unit.PinnedRole, unit.AsyncRole}).Draw(t, "role")
					}
					id := estate.MemberID(fmt.Sprintf("%s-%s", group.Name, site))
					group.Members = append(group.Members, manifest.Member{ID: id, Site: site, Role: role, Database: manifest.Database{Host: string(id), Port: 1}, Agent: manifest.Endpoint{Host: string(id), Port: 2}})
					if n == 0 {
						group.Owner = id
					}
				}
				s.Groups = append(s.Groups, group)
				from, to := estate.Slot(0), estate.Slot(3)
				if rapid.Bool().Draw(t, "units") {
					s.Units = append(s.Units, manifest.Unit{Name: estate.UnitID(fmt.Sprintf("v%d-%d", i, g)), Module: "ledger", Group: group.Name, Overrides: []string{fmt.Sprintf("k%d", g)}})
				}
				u := manifest.Unit{Name: estate.UnitID(fmt.Sprintf("u%d-%d", i, g)), Module: "ledger", Group: group.Name}
				if g == 0 {
					u.Slots = manifest.Slots{{From: from, To: to}}
				} else {
					u.Overrides = []string{"own"}
				}
				s.Units = append(s.Units, u)
			}
		}
		if rapid.Bool().Draw(t, "masked") {
			s.Drill.Mask = []estate.Mask{{Table: "b.customer", Column: "name", As: estate.MaskHash}}
		}
		if rapid.Bool().Draw(t, "shown") {
			s.Drill.Show = []estate.Showing{{Table: "b.account", Columns: []string{"id"}, Plain: []string{"id"}, Rows: 20}}
		}
		set.Systems, systems = append(set.Systems, s), append(systems, name)
	}
	some := func(label string, least int) []estate.SystemID {
		return rapid.Permutation(systems).Draw(t, label)[:rapid.IntRange(least, len(systems)).Draw(t, label+" many")]
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "functions") {
		set.Functions = append(set.Functions, manifest.Function{Name: fmt.Sprintf("f%d", i), Criticality: estate.Critical, Systems: some("function", 1)})
	}
	for i := range rapid.SampledFrom([]int{0, 1, 3, 70}).Draw(t, "participants") {
		set.Participants = append(set.Participants, manifest.Participant{
			Name: fmt.Sprintf("p%d", i), Type: rapid.SampledFrom([]estate.ParticipantType{estate.Headquarters, estate.Branch, estate.RelatedSystem, estate.ThirdParty}).Draw(t, "type"),
			Systems: some("takes part", 0), Contacts: []estate.Contact{{Name: "Desk ${x}", Phone: "555"}},
		})
	}
	if err := manifest.Check(set); err != nil {
		t.Fatalf("the drawn estate is wrong: %v", err)
	}
	return set
}

func TestEveryGeneratedPlanIsGoodForItsModeAndKeepsTheOrder(t *testing.T) {
	made, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		set := anEstate(t)
		o := generate.Options{Mode: rapid.SampledFrom(generate.Modes()).Draw(t, "mode")}
		if rapid.Bool().Draw(t, "of a system") {
			o.System = set.Systems[rapid.IntRange(0, len(set.Systems)-1).Draw(t, "system")].Name
		}
		if o.System == "" || rapid.Bool().Draw(t, "of a site") {
			o.Site = set.Sites[rapid.IntRange(0, len(set.Sites)-1).Draw(t, "site")].Name
		}
		if o.Mode != plan.SwitchBack && rapid.Bool().Draw(t, "to a site") {
			o.To = set.Sites[rapid.IntRange(0, len(set.Sites)-1).Draw(t, "to")].Name
		}
		g, err := generate.Plan(&set, plan.BuiltIn(), o)
		if err != nil {
			refused++
			if k := errs.KindOf(err); k != errs.Refused && k != errs.Invalid || len(g.Text) > 0 {
				t.Fatalf("kind %s: %v", k, err)
			}
			return
		}
		made++
		again, err := generate.Plan(&set, plan.BuiltIn(), o)
		if err != nil || !bytes.Equal(again.Text, g.Text) {
			t.Fatalf("the same estate gave another plan: %v", err)
		}
		program := good(t, &set, g)
		translated(t, &set, o, again)
		if o.Mode == plan.Drill {
			practised(t, &set, g)
			looked(t, &set, program)
			return
		}
		ordered(t, &set, o, program)
	})
	if made < 20 || refused == 0 {
		t.Errorf("%d plans made, %d refused: the test shows nothing", made, refused)
	}
}

// translated: in Chinese it is the same plan, and everything that people read in it is Chinese.
func translated(t *rapid.T, set *manifest.Set, o generate.Options, english generate.Generated) {
	o.Language = document.Chinese
	g, err := generate.Plan(set, plan.BuiltIn(), o)
	if err != nil {
		t.Fatal(err)
	}
	good(t, set, g)
	han := func(what string, text *string) {
		if *text != "" && !strings.ContainsFunc(*text, func(r rune) bool { return unicode.Is(unicode.Han, r) }) {
			t.Fatalf("%s is not Chinese: %s", what, *text)
		}
		*text = ""
	}
	blank := func(p *plan.Plan) {
		p.Title = ""
		for i := range p.Steps {
			s := &p.Steps[i]
			s.Title = ""
			if s.Approval != nil {
				s.Approval.Text = ""
			}
			if s.Notify != nil {
				s.Notify.Text = ""
			}
			if s.Manual != nil {
				s.Manual.Instruction = ""
				for j := range s.Manual.Fields {
					s.Manual.Fields[j].Doc = ""
				}
			}
		}
	}
	han("the title", &g.Plan.Title)
	for i := range g.Plan.Steps {
		s := &g.Plan.Steps[i]
		han("title of "+s.ID, &s.Title)
		if s.Approval != nil {
			han("approval "+s.ID, &s.Approval.Text)
		}
		if s.Notify != nil {
			han("note "+s.ID, &s.Notify.Text)
		}
		if s.Manual != nil {
			han("task "+s.ID, &s.Manual.Instruction)
			for j := range s.Manual.Fields {
				han("field of "+s.ID, &s.Manual.Fields[j].Doc)
			}
		}
	}
	if strings.Contains(string(g.Text), "%!") {
		t.Fatalf("a text has not what it needs: %s", g.Text)
	}
	for line := range strings.Lines(string(g.Text)) {
		if text, comment := strings.CutPrefix(strings.TrimSpace(line), "# "); comment && strings.Contains(text, " is ") {
			t.Fatalf("a comment is English: %s", text)
		}
	}
	blank(&english.Plan)
	if diff := cmp.Diff(english.Plan, g.Plan); diff != "" {
		t.Fatalf("it is another plan in Chinese: %s", diff)
	}
}

// practised: a drill acts on sandboxes alone, at sites where nothing is current, and whatever is cloned is discarded however the run ends.
func practised(t *rapid.T, set *manifest.Set, g generate.Generated) {
	cloned, discarded := map[string]bool{}, map[string]bool{}
	for _, s := range g.Plan.Steps {
		if s.Act == nil {
			continue
		}
		place := s.Act.Target + " at " + fmt.Sprint(s.Act.With["site"])
		system, u := set.Unit(estate.UnitID(s.Act.Target))
		switch {
		case s.Act.Driver != "sandbox":
			t.Fatalf("step %s acts on %s", s.ID, s.Act.Driver)
		case system.Group(u.Group).Home() == estate.SiteID(fmt.Sprint(s.Act.With["site"])):
			t.Fatalf("step %s takes from production", s.ID)
		case s.Act.Action == "clone":
			cloned[place] = true
		case s.Act.Action == "discard" && s.Cleanup:
			discarded[place] = true
		}
	}
	if len(cloned) == 0 || fmt.Sprint(cloned) != fmt.Sprint(discarded) {
		t.Fatalf("cloned %v, discarded %v", cloned, discarded)
	}
}

// looked: what a manifest lets participants look at is shown once for each group, and to each of them; after it is masked, where something is to be, and
// before anybody looks.
func looked(t *rapid.T, set *manifest.Set, p *plan.Program) {
	before := make([]map[string]bool, len(p.Nodes)) // actions that were done: "mask g1"
	shown := map[estate.GroupID]int{}
	tasks := map[string]int{}
	for i := range p.Nodes {
		before[i] = map[string]bool{}
		for _, d := range p.Nodes[i].After {
			maps.Copy(before[i], before[d.Node])
			if call := p.Nodes[d.Node].Step.Act; call != nil {
				_, u := set.Unit(estate.UnitID(call.Target))
				before[i][call.Action+" "+string(u.Group)] = true
			}
		}
		step := p.Nodes[i].Step
		system := set.System(step.System)
		switch {
		case step.Manual != nil:
			tasks[string(step.System)+" "+step.Manual.Owner]++
			if len(system.Drill.Show) == 0 || !slices.ContainsFunc(slices.Collect(maps.Keys(before[i])), func(done string) bool { return strings.HasPrefix(done, "show ") }) {
				t.Fatalf("step %s looks at what nobody has shown", p.Nodes[i].ID)
			}
		case step.Act == nil:
		case step.Act.Action == "mask" && len(system.Drill.Mask) == 0, step.Act.Action == "show" && len(system.Drill.Show) == 0:
			t.Fatalf("step %s: nothing is declared", p.Nodes[i].ID)
		case step.Act.Action == "show" || step.Act.Action == "mask":
			_, u := set.Unit(estate.UnitID(step.Act.Target))
			if !before[i]["verify "+string(u.Group)] || step.Act.Action == "show" && len(system.Drill.Mask) > 0 && !before[i]["mask "+string(u.Group)] {
				t.Fatalf("step %s comes too early: %v", p.Nodes[i].ID, before[i])
			}
			if step.Act.Action == "show" {
				shown[u.Group]++
			}
		case step.Act.Action == "clone" && len(system.Drill.Show) > 0:
			_, u := set.Unit(estate.UnitID(step.Act.Target))
			shown[u.Group] += 10
			for _, one := range set.Participants {
				if len(one.Systems) == 0 || slices.Contains(one.Systems, step.System) {
					tasks[string(step.System)+" "+one.Name] += 10
				}
			}
		}
	}
	for of, n := range tasks {
		if n%11 != 0 {
			t.Fatalf("%s looks %d times, of groups that are shown %d", of, n%10, n/10)
		}
	}
	for g, n := range shown {
		if n != 11 {
			t.Fatalf("%s is shown %d times", g, n-10)
		}
	}
}

// ordered: every switch waits for those of the systems that its own depends on; what is asked of people stands before switches where the
// mode is planned, and never in an emergency.
func ordered(t *rapid.T, set *manifest.Set, o generate.Options, p *plan.Program) {
	ahead := make([]map[int]bool, len(p.Nodes))
	switches := map[estate.SystemID][]int{}
	seen := map[string]bool{}
	reconciled := map[string][]int{} // by group
	for i := range p.Nodes {
		ahead[i] = map[int]bool{}
		for _, d := range p.Nodes[i].After {
			ahead[i][d.Node] = true
			for j := range ahead[d.Node] {
				ahead[i][j] = true
			}
		}
		call := p.Nodes[i].Step.Act
		if call == nil {
			continue
		}
		s, u := set.Unit(estate.UnitID(call.Target))
		if call.Driver == "orders" {
			reconciled[string(u.Group)] = append(reconciled[string(u.Group)], i)
			continue
		}
		if seen[string(u.Group)] {
			t.Fatalf("group %s is switched twice", u.Group)
		}
		seen[string(u.Group)] = true
		switches[s.Name] = append(switches[s.Name], i)
		to := estate.SiteID(call.With["to"].(string))
		group := s.Group(u.Group)
		at := slices.IndexFunc(group.Members, func(m manifest.Member) bool { return m.Site == to })
		if at < 0 || to == o.Site && o.Mode != plan.SwitchBack || o.Mode == plan.Takeover && group.Members[at].Role == unit.AsyncRole {
			t.Fatalf("%s goes to %s: %+v", u.Name, to, group)
		}
		approved := false
		for j := range ahead[i] {
			switch p.Nodes[j].Step.Kind() {
			case plan.ApprovalStep:
				approved = true
			case plan.ManualStep:
				if strings.HasPrefix(p.Nodes[j].ID, "ready-") && o.Mode == plan.Emergency || p.Nodes[j].ID == "announce" || strings.HasPrefix(p.Nodes[j].ID, "verify-") {
					t.Fatalf("%s waits for %s", p.Nodes[i].ID, p.Nodes[j].ID)
				}
			case plan.ActStep, plan.CheckStep, plan.WaitStep, plan.NotifyStep, plan.SubplanStep:
			}
		}
		// A unit goes home when no held order is open: before anybody is asked, and once everybody has handed theirs in.
		for _, j := range reconciled[string(u.Group)] {
			if o.Mode != plan.SwitchBack || !ahead[i][j] {
				t.Fatalf("mode %s, %s does not wait for %s", o.Mode, p.Nodes[i].ID, p.Nodes[j].ID)
			}
		}
		if n := len(reconciled[string(u.Group)]); o.Mode == plan.SwitchBack && n != 2 || o.Mode != plan.SwitchBack && n > 0 {
			t.Fatalf("mode %s, %s waits for %d looks at held orders", o.Mode, p.Nodes[i].ID, n)
		}
		if approved != (o.Mode != plan.Emergency) {
			t.Fatalf("mode %s, %s approved: %v", o.Mode, p.Nodes[i].ID, approved)
		}
	}
	for _, s := range set.Systems {
		for _, below := range s.DependsOn {
			for _, i := range switches[s.Name] {
				for _, j := range switches[below] {
					if !ahead[i][j] {
						t.Fatalf("%s does not wait for %s, on which it depends", p.Nodes[i].ID, p.Nodes[j].ID)
					}
				}
			}
		}
	}
}

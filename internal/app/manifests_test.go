package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/manifest"
	"perdure/internal/wire"
)

func exampleText(t *testing.T) string {
	t.Helper()
	var files []manifest.File
	for _, name := range []string{"sites.yaml", "corebank.yaml"} {
		text, err := os.ReadFile(filepath.Join("../../examples/estate", name))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, manifest.File{Name: name, Text: text})
	}
	set, err := manifest.Parse(files...)
	if err != nil {
		t.Fatal(err)
	}
	return string(manifest.Export(set))
}

// records are what the store holds once a text was applied.
func records(t *testing.T, text string) []wire.Group {
	t.Helper()
	plan, err := manifests{}.Plan("", text, nil, estate.Incarnation{Counter: 1, ID: "x"}, "ann", 1)
	if err != nil {
		t.Fatal(err)
	}
	var groups []wire.Group
	for _, r := range plan.Create {
		groups = append(groups, wire.Group{Record: r, Revision: 1})
	}
	return groups
}

func TestManifestThatTheLanguageHasOutgrownDoesNotKeepTheNextOneOut(t *testing.T) {
	text := exampleText(t)
	groups := records(t, text)
	one := estate.Incarnation{Counter: 1, ID: "x"}
	plan := func(current, next string) (wire.ManifestPlan, error) {
		return manifests{}.Plan(current, next, groups, one, "ann", 1)
	}
	for name, c := range map[string]struct {
		from, to string // what an older version accepted
		warnings int
	}{
		"a rule that came later":       {"header: Idempotency-Key", "header: Host", 1},
		"a field that is gone":         {"slots: 1024", "slots: 1024\ncolour: red", 1},
		"a number that is gone":        {"slots: 1024", "slots: many", 2},
		"slots written in another way": {"slots: 0-511", "slots: first half", 2},
	} {
		old := strings.Replace(text, c.from, c.to, 1)
		if old == text {
			t.Fatalf("%s: the example has no %q", name, c.from)
		}
		if _, err := parse(old); err == nil {
			t.Fatalf("%s: this version accepts it", name)
		}
		p, err := plan(old, text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(p.Create) > 0 || len(p.Amend) > 0 {
			t.Errorf("%s: records would change: %+v", name, p)
		}
		if len(p.Warnings) != c.warnings || !strings.Contains(p.Warnings[0], "does not accept any more") {
			t.Errorf("%s: warnings %q", name, p.Warnings)
		}
		// What moves data is still refused, by what can be read and by the records.
		for _, move := range [][2]string{{"group: u1", "group: u2"}, {"slots: 0-511", "slots: 0-510"}} {
			next := strings.Replace(text, move[0], move[1], 1)
			if move[1] == "slots: 0-510" {
				next = strings.Replace(next, "slots: 512-1023", "slots: 511-1023", 1)
				if strings.Contains(name, "slots written") {
					continue // nobody knows any more, hence the warning
				}
			}
			if _, err := plan(old, next); errs.KindOf(err) != errs.Invalid {
				t.Errorf("%s, then %s: %v", name, move[1], err)
			}
		}
	}
	// Of a text that is none at all, the records remain.
	p, err := plan("}{", text)
	if err != nil || len(p.Warnings) < 3 || len(p.Create)+len(p.Amend) > 0 {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := plan(text, text); err != nil || len(p.Warnings) > 0 {
		t.Errorf("the same manifest: %+v, %v", p, err)
	}
}

func TestSwitchToASiteWithoutTheApplicationIsSeen(t *testing.T) {
	set, err := manifest.Parse(manifest.File{Name: "x", Text: []byte(exampleText(t))})
	if err != nil {
		t.Fatal(err)
	}
	if check := served(set, "u1", "b", nil); !check.OK {
		t.Errorf("it is deployed there: %+v", check)
	}
	system := set.System("corebank")
	var kept []manifest.Deployment
	for _, d := range system.Deployments {
		if d.Site != "c" {
			kept = append(kept, d)
		}
	}
	system.Deployments = kept
	check := served(set, "u1", "c", []wire.Instance{{System: "corebank", Site: "a", ID: "x"}, {System: "corebank", Site: "c", ID: "y", Leaving: true}})
	if check.OK || !strings.Contains(check.Detail, "not deployed at site c") || !strings.Contains(check.Detail, "register it there first") {
		t.Errorf("%+v", check)
	}
	if check := served(set, "u1", "c", []wire.Instance{{System: "corebank", Site: "c", ID: "y", Units: []estate.UnitID{"u1"}}}); !check.OK {
		t.Errorf("a registered instance serves it: %+v", check)
	}
}

// TestAnArmedRunIsAnotherOneWhereThePlanOrWhatItTouchesIsChanged, and by nothing else in the manifest.
func TestAnArmedRunIsAnotherOneWhereThePlanOrWhatItTouchesIsChanged(t *testing.T) {
	plans, err := os.ReadFile("../../examples/estate/plans.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := exampleText(t) + "---\n" + string(plans)
	print := func(text string) string {
		t.Helper()
		list, err := manifests{}.Armed(text)
		if err != nil || len(list) != 1 || list[0].Plan != "move-unit" || list[0].Name != "u1-to-b" {
			t.Fatalf("%+v, %v", list, err)
		}
		if list[0].Failed != "" {
			return "failed: " + list[0].Failed
		}
		return list[0].Print
	}
	before := print(text)
	for name, c := range map[string]struct {
		from, to string
		other    bool
	}{
		"the plan":                 {"Compare the totals of", "Compare all totals of", true},
		"its parameters":           {"{unit: u1, to: b}", "{unit: u2, to: b}", true},
		"the system that it moves": {"title: Core banking", "title: The core", true},
		"a site":                   {"kind: Site\nname: a\n", "kind: Site\nname: a\ntitle: North\n", true},
		"something else":           {"kind: Site\n", "kind: Participant\nname: branch-x\ntitle: A branch\nclass: branch\n---\napiVersion: perdure/v1\nkind: Site\n", false},
	} {
		changed := strings.Replace(text, c.from, c.to, 1)
		if changed == text {
			t.Errorf("%s: the example has no %q", name, c.from)
			continue
		}
		if after := print(changed); strings.HasPrefix(after, "failed") || after != before != c.other {
			t.Errorf("%s: another one %t, want %t (%s)", name, after != before, c.other, after)
		}
	}
	if got := print(strings.Replace(text, "{unit: u1, to: b}", "{unit: u1, to: 7}", 1)); !strings.HasPrefix(got, "failed: ") || !strings.Contains(got, "parameter to of plan move-unit: 7 is not text") {
		t.Errorf("a parameter that it does not take: %s", got)
	}
}

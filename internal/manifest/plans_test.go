package manifest_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"perdure/internal/errs"
	"perdure/internal/manifest"
	"perdure/internal/plan"
	"perdure/internal/shape"
)

func TestWrongPlansAreToldWithPlaceReasonAndWhatIsAllowed(t *testing.T) {
	scripts(t, "plans-wrong*.txt", func(t *testing.T, a *txtar.Archive) string {
		plans, err := manifest.ParsePlans(files(a, "")...)
		if err == nil || plans != nil || errs.KindOf(err) != errs.Invalid {
			t.Fatalf("%v, %v", plans, err)
		}
		var problems shape.Problems
		if !errors.As(err, &problems) || len(problems) == 0 {
			t.Fatalf("the error does not unwrap to problems: %v", err)
		}
		for _, p := range problems {
			if p.File == "" || p.Line == 0 || p.Reason == "" {
				t.Errorf("problem without a place or reason: %+v", p)
			}
		}
		return err.Error() + "\n"
	})
}

func TestPlansAreReadWithoutTheEstateThatTheyAreFor(t *testing.T) {
	text, err := os.ReadFile("../../examples/estate/plans.yaml")
	if err != nil {
		t.Fatal(err)
	}
	plans, err := manifest.ParsePlans(manifest.File{Name: "plans.yaml", Text: text}, manifest.File{Name: "other.yaml", Text: []byte("kind: Site\n")})
	if err != nil || len(plans) != 1 {
		t.Fatalf("%v, %v", plans, err)
	}
	for _, wrong := range []string{"apiVersion: perdure/v1\nkind: plan\nname: p\n", "name: p\nsteps: []\n", "- steps\n"} {
		_, err := manifest.ParsePlans(manifest.File{Name: "plans.yaml", Text: text}, manifest.File{Name: "other.yaml", Text: []byte(wrong)})
		if err == nil || !strings.Contains(err.Error(), "other.yaml:") {
			t.Errorf("what may have been meant as a plan, %q: %v", wrong, err)
		}
	}
	if _, err := manifest.Parse(manifest.File{Name: "plans.yaml", Text: text}); err == nil || !strings.Contains(err.Error(), "there is no system corebank") {
		t.Errorf("a set without the plan's system: %v", err)
	}
}

func FuzzParsePlansNeverPanicsAndWhatItTakesCanBeExported(f *testing.F) {
	for _, name := range []string{"testdata/plans-wrong.txt", "testdata/diff-plans.txt", "testdata/doubt-plans.txt"} {
		a, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range a.Files {
			f.Add(file.Data)
		}
	}
	text, err := os.ReadFile("../../examples/estate/plans.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 1<<14 {
			t.Skip()
		}
		file := manifest.File{Name: "p.yaml", Text: text}
		plans, err := manifest.ParsePlans(file)
		if err != nil {
			return
		}
		manifest.DoubtsOfPlans(file)
		for _, p := range plans {
			for _, m := range p.Modes {
				program, err := plan.Compile(plans, plan.BuiltIn(), p.Name, m)
				if err != nil {
					t.Fatalf("plan %s was taken in and has no program for %s: %v", p.Name, m, err)
				}
				program.Mermaid()
			}
		}
		if set, err := manifest.Parse(file); err == nil {
			roundTrip(t, set)
		}
	})
}

func TestWhatIsWrongWithOnePlanKeepsNoOtherFromBeingRun(t *testing.T) {
	text := `
apiVersion: perdure/v1
kind: Plan
name: good
modes: [takeover]
steps: [{id: a, subplan: {plan: part}}]
---
apiVersion: perdure/v1
kind: Plan
name: part
modes: [takeover]
steps: [{id: a, wait: {for: 1s}}]
---
apiVersion: perdure/v1
kind: Plan
name: bad
modes: [takeover]
steps: [{id: a, act: {driver: none, action: none}, unheard: of}]
`
	file := manifest.File{Name: "plans.yaml", Text: []byte(text)}
	if _, err := manifest.ParsePlans(file); err == nil {
		t.Error("all of them are accepted")
	}
	plans, err := manifest.PlanOf("good", file)
	if err != nil || len(plans) != 2 {
		t.Errorf("%d plans, %v", len(plans), err)
	}
	if _, err := manifest.PlanOf("bad", file); err == nil {
		t.Error("the bad one is accepted")
	}
	if plans, err := manifest.PlanOf("none", file); err != nil || len(plans) != 0 {
		t.Errorf("one that is not there: %v, %v", plans, err)
	}
}

func TestPlansOfTheProductsOwnAreSoundAndTheirNamesAreTaken(t *testing.T) {
	own := plan.BuiltInPlans()
	plan.Check(own, plan.BuiltIn(), func(i int, field, allowed, reason string) {
		t.Errorf("plan %s: %s: %s (%s)", own[i].Name, field, reason, allowed)
	})
	for _, p := range own {
		for _, m := range p.Modes {
			if _, err := plan.Compile(own, plan.BuiltIn(), p.Name, m); err != nil {
				t.Error(err)
			}
		}
		text := "apiVersion: perdure/v1\nkind: Plan\nname: " + p.Name + "\nmodes: [takeover]\nsteps: [{id: a, wait: {for: 1s}}]\n"
		file := manifest.File{Name: "p.yaml", Text: []byte(text)}
		if _, err := manifest.ParsePlans(file); err == nil || !strings.Contains(err.Error(), "p.yaml:3") || !strings.Contains(err.Error(), "plan "+p.Name+" is one of the product's own") {
			t.Errorf("a second plan %s: %v", p.Name, err)
		}
		plans, err := manifest.PlanOf(p.Name, file)
		if err != nil || len(plans) == 0 || plans[0].Title != p.Title {
			t.Errorf("plan %s is that of the manifest: %+v, %v", p.Name, plans, err)
		}
	}
}

func TestWindowsAndSchedulesMayNameThePlansOfTheProductsOwn(t *testing.T) {
	var all []manifest.File
	for _, name := range []string{"sites.yaml", "corebank.yaml", "plans.yaml", "calendar.yaml"} {
		text, err := os.ReadFile("../../examples/estate/" + name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, manifest.File{Name: name, Text: text})
	}
	own := "apiVersion: perdure/v1\nkind: Calendar\nname: c\ntimeZone: UTC\nwindows: [{name: ours, plans: [" + plan.SwitchUnit + "], cron: \"0 1 * * *\", duration: 4h}]\n" +
		"schedules: [{name: yearly, plan: " + plan.SwitchUnit + ", mode: takeover, parameters: {unit: u1, to: b}, cron: \"0 1 1 1 *\", within: 4h, since: \"2027-01-01 00:00\"}]\n"
	if _, err := manifest.Parse(append(all, manifest.File{Name: "own.yaml", Text: []byte(own)})...); err != nil {
		t.Error(err)
	}
}

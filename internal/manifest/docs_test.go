package manifest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"perdure/internal/plan"
	"perdure/internal/shape"
)

func TestEveryFieldIsDocumented(t *testing.T) {
	for _, k := range kinds() {
		file := "docs/manifest.md"
		switch k.name {
		case "Plan":
			file = "docs/plans.md"
		case "Calendar":
			file = "docs/calendar.md"
		case "IncidentRules":
			file = "docs/incidents.md"
		case "Roster":
			file = "docs/people.md"
		}
		text, err := os.ReadFile("../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range k.shape.Fields {
			if f.Doc == "" {
				t.Errorf("%s.%s has no description", k.name, f.Name)
			}
			if !strings.Contains(string(text), "`"+f.Name) {
				t.Errorf("%s does not tell of %s.%s", file, k.name, f.Name)
			}
			for _, part := range parts(&f.Shape) {
				if part.Doc == "" || part.Shape.Sort == "" {
					t.Errorf("%s.%s.%s has no description", k.name, f.Name, part.Name)
				}
				if !strings.Contains(string(text), "`"+part.Name+"`") && !strings.Contains(string(text), "."+part.Name+"`") {
					t.Errorf("%s does not tell of %s.%s.%s", file, k.name, f.Name, part.Name)
				}
			}
		}
	}
}

var fenced = regexp.MustCompile("(?s)```yaml\n(apiVersion:.*?)```")

func TestPlansInTheDocumentationAreRight(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range append(files, "../../README.md", "../../README.zh-CN.md") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range fenced.FindAllSubmatch(text, -1) {
			plans, err := ParsePlans(File{Name: filepath.Base(name), Text: m[1]})
			if err != nil {
				t.Errorf("%v", err)
			}
			if doubts := DoubtsOfPlans(File{Name: filepath.Base(name), Text: m[1]}); len(doubts) > 0 {
				t.Errorf("%v", doubts)
			}
			found += len(plans)
			if _, err := Calendars(File{Name: filepath.Base(name), Text: m[1]}); err != nil {
				t.Errorf("%v", err)
			}
			if _, err := Duties(File{Name: filepath.Base(name), Text: m[1]}); err != nil {
				t.Errorf("%v", err)
			}
			if _, err := IncidentRules(File{Name: filepath.Base(name), Text: m[1]}); err != nil {
				t.Errorf("%v", err)
			}
		}
	}
	if found == 0 {
		t.Error("no plan is shown")
	}
}

func TestEveryActionAndModeIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/plans.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range plan.BuiltIn() {
		for _, word := range append(append([]plan.Parameter{{Name: a.Driver}, {Name: a.Name}}, a.With...), a.Outputs...) {
			if !strings.Contains(string(text), "`"+word.Name+"`") {
				t.Errorf("docs/plans.md does not tell of %s of %s.%s", word.Name, a.Driver, a.Name)
			}
		}
	}
	for _, m := range plan.Modes() {
		c := plan.ContractOf(m)
		row := regexp.MustCompile("(?m)^\\| `" + string(m) + "`.*$").FindString(string(text))
		strict, back := "no", "no"
		if c.Strict {
			strict = "yes"
		}
		if c.WriteBack {
			back = "yes"
		}
		cells := strings.Split(row, " | ")
		if len(cells) != 9 || cells[1] != string(c.Interruption) || !strings.HasPrefix(cells[2], string(c.Trigger)) || cells[3] != string(c.Image) ||
			cells[5] != string(c.Interfaces) || cells[6] != c.Data || cells[7] != back || cells[8] != strict+" |" {
			t.Errorf("docs/plans.md tells of mode %s: %q; it is %+v", m, cells, c)
		}
	}
}

// parts gives the fields of an object or of a list's items.
func parts(s *shape.Shape) []shape.Field {
	if s.Item != nil {
		return parts(s.Item)
	}
	return s.Fields
}

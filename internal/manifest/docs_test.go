package manifest

import (
	"os"
	"strings"
	"testing"

	"perdure/internal/shape"
)

func TestEveryFieldIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/manifest.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds() {
		for _, f := range k.shape.Fields {
			if f.Doc == "" {
				t.Errorf("%s.%s has no description", k.name, f.Name)
			}
			if !strings.Contains(string(text), "`"+f.Name) {
				t.Errorf("docs/manifest.md does not tell of %s.%s", k.name, f.Name)
			}
			for _, part := range parts(&f.Shape) {
				if part.Doc == "" || part.Shape.Sort == "" {
					t.Errorf("%s.%s.%s has no description", k.name, f.Name, part.Name)
				}
				if !strings.Contains(string(text), "`"+part.Name+"`") && !strings.Contains(string(text), "."+part.Name+"`") {
					t.Errorf("docs/manifest.md does not tell of %s.%s.%s", k.name, f.Name, part.Name)
				}
			}
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

package manifest

import (
	"os"
	"strings"
	"testing"
)

func TestEveryFieldIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/manifest.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds() {
		for _, f := range k.shape.fields {
			if f.doc == "" {
				t.Errorf("%s.%s has no description", k.name, f.name)
			}
			if !strings.Contains(string(text), "`"+f.name) {
				t.Errorf("docs/manifest.md does not tell of %s.%s", k.name, f.name)
			}
			for _, part := range parts(&f.shape) {
				if part.doc == "" || part.shape.sort == "" {
					t.Errorf("%s.%s.%s has no description", k.name, f.name, part.name)
				}
				if !strings.Contains(string(text), "`"+part.name+"`") && !strings.Contains(string(text), "."+part.name+"`") {
					t.Errorf("docs/manifest.md does not tell of %s.%s.%s", k.name, f.name, part.name)
				}
			}
		}
	}
}

// parts gives the fields of an object or of a list's items.
func parts(s *shape) []field {
	if s.item != nil {
		return parts(s.item)
	}
	return s.fields
}

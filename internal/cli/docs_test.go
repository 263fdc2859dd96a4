package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestEveryCommandIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	s := &session{Streams: Streams{Getenv: func(string) string { return "" }}}
	var walk func(c *cobra.Command, path string)
	walk = func(c *cobra.Command, path string) {
		for _, sub := range c.Commands() {
			name := strings.TrimSpace(path + " " + sub.Name())
			if sub.Short == "" {
				t.Errorf("%s says not what it does", name)
			}
			if sub.HasSubCommands() && !sub.Flags().HasFlags() {
				walk(sub, name)
				continue
			}
			// A command of a family may stand behind the family's name in one row.
			words := strings.Fields(name)
			if !strings.Contains(string(text), "`"+name) && !strings.Contains(string(text), "`"+words[len(words)-1]) && !strings.Contains(string(text), "|"+words[len(words)-1]) {
				t.Errorf("docs/cli.md does not tell of perdure %s", name)
			}
			walk(sub, name)
		}
	}
	walk(s.root(), "")
}

func TestEveryExitCodeIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{"| 0 |", "| 1 |", "| 2 |", "| 3 |", "| 4 |", "| 5 |", "| 6 |", "| 7 |", "| 8 |", "| 130 |"} {
		if !strings.Contains(string(text), "\n"+row) {
			t.Errorf("docs/cli.md has no row %s", row)
		}
	}
}

package document

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"perdure/internal/plan"
)

// unsaid are three English words behind each other that are no command and no field of the plan language.
var unsaid = regexp.MustCompile(`[a-z]+ [a-z-]+ [a-z]+`)

// TestEveryRecordedSentenceIsSaidInChinese goes through what the calendars say in their tests, and how every built-in action breaks every contract.
func TestEveryRecordedSentenceIsSaidInChinese(t *testing.T) {
	said := map[string]bool{}
	check := func(text string) {
		t.Helper()
		if English.Recorded(text) != text {
			t.Errorf("%q is another one in English", text)
		}
		got := Chinese.Recorded(text)
		bare := regexp.MustCompile(`perdure [^）]*|onFailure: continue|announces: true|closing of the books`).ReplaceAllString(got, "")
		if got == text || unsaid.MatchString(bare) || strings.Contains(got, "%!") {
			t.Errorf("%q is said as %q", text, got)
		}
		said[text] = true
	}
	paths, err := filepath.Glob("../calendar/testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		script, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(script)) {
			if note, ok := strings.CutPrefix(line, "  note: "); ok {
				check(strings.TrimSpace(note))
			}
		}
	}
	const some = 8
	if len(said) < some {
		t.Fatalf("the calendars' tests have %d notes", len(said))
	}
	for _, mode := range plan.Modes() {
		row := plan.ContractOf(mode)
		for _, driver := range plan.BuiltIn().Drivers() {
			for _, name := range plan.BuiltIn().Actions(driver, false) {
				a := plan.BuiltIn().Find(driver, name)
				if why := row.Breaks(a); why != "" {
					check(why)
				}
			}
		}
		p := plan.Program{Plan: "p", Mode: mode}
		for i, driver := range plan.BuiltIn().Drivers() {
			for _, name := range plan.BuiltIn().Actions(driver, false) {
				p.Nodes = append(p.Nodes, plan.Node{ID: string(rune('a' + i)), Parent: -1, Step: plan.Step{Act: &plan.Call{Driver: driver, Action: name, Target: "x"}}})
			}
		}
		for _, b := range p.Breaches(plan.BuiltIn()) {
			check(b.Reason)
			check("the contract of mode " + string(mode) + " is broken by step a: " + b.Reason)
			check("the contract of mode " + string(mode) + " is broken: " + b.Reason)
		}
		check("the contract of mode " + string(mode) + " is broken 3 times more")
	}
	check("the calendars cannot be read, so nothing was checked: x")
	if got := Chinese.Recorded("somebody wrote this"); got != "somebody wrote this" {
		t.Errorf("what a person wrote is said as %q", got)
	}
}

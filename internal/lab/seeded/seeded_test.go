package seeded_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"perdure/internal/lab/seeded"
	"perdure/internal/lab/story"
)

func TestEveryBugHasItsStoryAndItsFinding(t *testing.T) {
	stories, err := os.ReadDir("stories")
	if err != nil {
		t.Fatal(err)
	}
	bugs := seeded.Bugs()
	if len(stories) != len(bugs) {
		t.Errorf("%d stories for %d bugs", len(stories), len(bugs))
	}
	last := 0
	for _, b := range bugs {
		if b.Number <= last || b.Name == "" || len(b.Findings) == 0 {
			t.Errorf("%s: want numbers in order, a name and a finding", b)
		}
		last = b.Number
		if _, err := story.Parse(b.String(), []byte(b.Story())); err != nil {
			t.Error(err)
		}
	}
}

// tagged finds the build constraint that puts a bug in.
var tagged = regexp.MustCompile(`(?m)^//go:build (.*)$`)

// TestEveryTagOfTheTreeIsABugThatTheLabCatches: a bug that nothing provokes would look like one that is caught.
func TestEveryTagOfTheTreeIsABugThatTheLabCatches(t *testing.T) {
	found := map[string]bool{}
	err := filepath.WalkDir("../../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || len(d.Name()) > 2 && strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range tagged.FindAllStringSubmatch(string(text), -1) {
			for _, tag := range regexp.MustCompile(`seed\d+`).FindAllString(m[1], -1) {
				found[tag] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range seeded.Bugs() {
		if !found[b.Tag()] {
			t.Errorf("%s: no file of the tree has it", b)
		}
		delete(found, b.Tag())
	}
	for tag := range found {
		if !unprovoked[tag] {
			t.Errorf("nothing provokes %s", tag)
		}
	}
}

// unprovoked are tags that tests of their own package use, and no story yet.
var unprovoked = map[string]bool{"seed28": true, "seed31": true}

func TestChoosingBugs(t *testing.T) {
	for text, want := range map[string]string{"always": "1,4,6,10", "4,1": "4,1", "99": "", "": "", "one": ""} {
		chosen, err := seeded.Choose(text)
		var numbers []string
		for _, b := range chosen {
			numbers = append(numbers, strconv.Itoa(b.Number))
		}
		if got := strings.Join(numbers, ","); got != want || (err == nil) != (want != "") {
			t.Errorf("Choose(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
}

// A list that is empty, or that nobody waited for, would let the bug pass for the product.
func TestWhatIsBroughtInAgainWithoutItsKeyHasDivergedBefore(t *testing.T) {
	bugs, err := seeded.Choose("27")
	if err != nil {
		t.Fatal(err)
	}
	s, err := story.Parse("27", []byte(bugs[0].Story()))
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range s.Statements {
		if st.Step == nil {
			continue
		}
		listed, resent := false, false
		for _, one := range st.Step.Body {
			listed = listed || one.Wait != nil && one.Wait.Condition.Kind == story.DivergenceListed
			if _, is := one.Action.(story.Resend); is {
				resent = listed
			}
		}
		if !resent || st.Step.Expect.Diverged < 1 {
			t.Errorf("step %s: sent again after the list %v, at least %d diverged", st.Step.Name, resent, st.Step.Expect.Diverged)
		}
	}
}

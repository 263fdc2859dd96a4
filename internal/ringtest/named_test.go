package ringtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testFunc  = regexp.MustCompile(`(?m)^func (Test\w+|Benchmark\w+|Fuzz\w+)\(`)
	testNamed = regexp.MustCompile("`(?:Test|Benchmark|Fuzz)[A-Z]\\w*`")
)

// TestEveryTestThatADocumentNamesExists: what is said to be proven by a test is.
func TestEveryTestThatADocumentNamesExists(t *testing.T) {
	root := filepath.Join("..", "..")
	there, named := map[string]bool{}, map[string][]string{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && path != root && (strings.HasPrefix(e.Name(), ".") || e.Name() == "node_modules"):
			return filepath.SkipDir
		case e.IsDir():
			return nil
		}
		switch {
		case strings.HasSuffix(path, "_test.go"):
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, found := range testFunc.FindAllSubmatch(text, -1) {
				there[string(found[1])] = true
			}
		case strings.HasSuffix(path, ".md"):
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, found := range testNamed.FindAll(text, -1) {
				name := strings.Trim(string(found), "`")
				named[name] = append(named[name], path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(there) < 500 || len(named) < 40 {
		t.Fatalf("%d tests and %d names of tests were found", len(there), len(named))
	}
	for name, files := range named {
		if !there[name] {
			t.Errorf("%v: there is no test %s", files, name)
		}
	}
}

// TestEachThingThatOthersGotWrongHasATest reads the table of docs/reliability.md.
func TestEachThingThatOthersGotWrongHasATest(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "reliability.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "## What others got wrong\n")
	table, _, _ = strings.Cut(table, "\n## ")
	rows := 0
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| ---") || strings.HasPrefix(line, "| what went wrong") {
			continue
		}
		rows++
		if !testNamed.MatchString(line) {
			t.Errorf("no test is named for: %s", line)
		}
	}
	if !ok || rows < 13 {
		t.Errorf("the table has %d rows", rows)
	}
}

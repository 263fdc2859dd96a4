package ringtest

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "perdure"

// rings places every package of the product. A package imports only lower rings, with two exceptions: packages of the rings
// "words" and "decisions" may import each other, and a package may import what lies in its own folder.
var rings = []struct {
	name     string
	level    int
	peers    bool // packages of the ring may import each other
	packages []string
}{
	{"words", 0, true, []string{"internal/estate", "internal/errs"}},
	// wire is the JSON that travels: it names records and facts of the decisions and decides nothing.
	{"decisions", 1, true, []string{"internal/shape", "internal/plan", "internal/run", "internal/calendar", "internal/duty", "internal/incident", "internal/measure", "internal/evaluation", "internal/rectification", "internal/heldorder", "internal/document", "internal/evidence", "internal/person", "internal/ballot", "internal/unit", "internal/route", "internal/manifest", "internal/generate"}},
	{"contract", 2, true, []string{"internal/driver", "internal/resource", "internal/wire", "internal/guard", "internal/pki", "internal/hosts"}},
	{"workers", 3, false, []string{"internal/store", "internal/etcdnode", "internal/agent", "internal/controller", "internal/runner", "internal/scheduler", "internal/preflight", "internal/registrar", "internal/notary", "internal/gateway", "internal/api", "internal/signon", "internal/client"}},
	{"assembly", 4, true, []string{"internal/app", "internal/lab"}},
	{"face", 5, false, []string{"internal/cli"}},
	{"main", 6, false, []string{"cmd/perdure"}},
}

// pure packages neither wait nor reach outside: no context, clock, log, lock, network or file.
var pure = []string{"internal/estate", "internal/errs", "internal/shape", "internal/plan", "internal/run", "internal/calendar", "internal/duty", "internal/incident", "internal/measure", "internal/evaluation", "internal/rectification", "internal/heldorder", "internal/document", "internal/evidence", "internal/person", "internal/ballot", "internal/unit", "internal/route", "internal/manifest", "internal/generate"}

// impure are imports that a pure package does not have. "time" is not among them: durations are values; see TestDecisionsReadNoClock.
var impure = []string{
	"context", "log", "log/slog", "net", "net/http", "os", "os/exec", "os/signal", "sync", "sync/atomic", "io/ioutil", "io/fs", "embed",
	"math/rand", "math/rand/v2", "crypto/rand", "syscall", "path/filepath",
}

// testsOnly are packages that only tests import.
var testsOnly = []string{"internal/pgtest", "internal/porttest", "internal/ringtest", "internal/driver/drivertest"}

type file struct {
	path    string // slash-separated, from the root of the tree
	dir     string
	test    bool
	imports []imported
}

type imported struct {
	path string
	line int
}

// tree reads the imports of every Go file itself: a listing by the go command could come from a cache.
func tree(t *testing.T) []file {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatalf("this is not the root of the tree: %v", err)
	}
	var files []file
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) {
				return nil // a neighbour's test cleaned up
			}
			return err
		}
		name := d.Name()
		if d.IsDir() && p != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules" || name == "bin") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		f := file{path: filepath.ToSlash(rel), test: strings.HasSuffix(name, "_test.go")}
		f.dir = path.Dir(f.path)
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, p, nil, parser.ImportsOnly)
		if err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
		for _, i := range parsed.Imports {
			value, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			f.imports = append(f.imports, imported{value, set.Position(i.Pos()).Line})
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("only %d Go files were found", len(files))
	}
	return files
}

// place gives the ring of a directory and the listed package it is part of.
func place(dir string) (ring int, owner string) {
	for i, r := range rings {
		for _, p := range r.packages {
			if dir == p || strings.HasPrefix(dir, p+"/") {
				return i, p
			}
		}
	}
	return -1, ""
}

func under(dir string, list []string) bool {
	return slices.ContainsFunc(list, func(p string) bool { return dir == p || strings.HasPrefix(dir, p+"/") })
}

// own gives the directory of an import of this module.
func own(importPath string) (string, bool) {
	return strings.CutPrefix(importPath, module+"/")
}

// broken judges one import of a package in dir; "" means it is allowed. Tests may use any package of a lower ring or of their own ring.
func broken(dir string, test bool, importPath string) string {
	target, ours := own(importPath)
	if !ours {
		return ""
	}
	switch {
	case under(target, testsOnly):
		if test || under(dir, testsOnly) || strings.HasSuffix(dir, "test") {
			return ""
		}
		return target + " is for tests only"
	case under(dir, testsOnly):
		return ""
	case under(dir, []string{"sdk"}):
		if under(target, []string{"sdk"}) || test {
			return ""
		}
		return "sdk imports nothing of the product"
	case under(dir, []string{"examples"}):
		if under(target, []string{"sdk", "examples"}) || test {
			return ""
		}
		return "examples use the sdk only, as its users do"
	}
	from, fromPackage := place(dir)
	to, toPackage := place(target)
	switch {
	case under(target, []string{"sdk"}) && from >= 0 && rings[from].level >= 3:
		return "" // the product may use what it ships
	case from < 0:
		return dir + " has no ring: give it one in rings_test.go"
	case to < 0:
		return target + " has no ring: give it one in rings_test.go"
	case fromPackage == toPackage, rings[to].level < rings[from].level, from == to && rings[from].peers:
		return ""
	case from == to && test:
		return ""
	case from == to:
		return rings[from].name + " never import each other: declare an interface where it is used, or meet in the store"
	}
	return fmt.Sprintf("%s (ring %d, %s) may not import ring %d, %s", dir, rings[from].level, rings[from].name, rings[to].level, rings[to].name)
}

func TestPackagesImportOnlyLowerRings(t *testing.T) {
	for _, f := range tree(t) {
		for _, i := range f.imports {
			if reason := broken(f.dir, f.test, i.path); reason != "" {
				t.Errorf("%s:%d: import %q: %s", f.path, i.line, i.path, reason)
			}
		}
	}
}

func TestEveryPackageHasARing(t *testing.T) {
	for _, f := range tree(t) {
		if ring, _ := place(f.dir); ring < 0 && !under(f.dir, testsOnly) && !under(f.dir, []string{"sdk", "examples", "tools", "web"}) {
			t.Errorf("%s: package %s has no ring: give it one in rings_test.go", f.path, f.dir)
		}
	}
}

func TestDecisionsArePure(t *testing.T) {
	for _, f := range tree(t) {
		if f.test || !under(f.dir, pure) {
			continue
		}
		for _, i := range f.imports {
			if slices.Contains(impure, i.path) && !allowedImpurity(f.dir, i.path) {
				t.Errorf("%s:%d: %s decides and may not import %q", f.path, i.line, f.dir, i.path)
			}
		}
	}
}

// allowedImpurity lists what a pure package may import although it could do more with it.
func allowedImpurity(dir, importPath string) bool {
	switch dir {
	case "internal/plan": // an environment of expressions that is built once
		return importPath == "sync"
	case "internal/manifest": // a table of shapes that is built once, and text with addresses in it
		return importPath == "net" || importPath == "sync"
	case "internal/unit/sim": // chance from a seed is a value: a seed replays exactly
		return importPath == "math/rand/v2"
	}
	return false
}

// TestRingsCatchABreak is the negative control: a test that cannot fail shows nothing.
func TestRingsCatchABreak(t *testing.T) {
	for _, c := range []struct {
		dir    string
		test   bool
		target string
		caught bool
	}{
		{"internal/unit", false, "perdure/internal/store", true},
		{"internal/agent", false, "perdure/internal/gateway", true},
		{"internal/store", false, "perdure/internal/app", true},
		{"internal/estate", false, "perdure/internal/unit", true},
		{"internal/app", false, "perdure/internal/cli", true},
		{"sdk", false, "perdure/internal/errs", true},
		{"examples/corebank", false, "perdure/internal/client", true},
		{"internal/agent", false, "perdure/internal/pgtest", true},
		{"internal/nowhere", false, "perdure/internal/errs", true},
		{"internal/manifest", false, "perdure/internal/route", false},
		{"internal/agent", true, "perdure/internal/pgtest", false},
		{"internal/app", false, "perdure/internal/agent", false},
		{"internal/lab/load", false, "perdure/internal/lab/history", false},
		{"internal/driver/postgres", false, "perdure/internal/driver", false},
		{"examples/corebank", false, "perdure/sdk", false},
		{"internal/unit", false, "fmt", false},
	} {
		if reason := broken(c.dir, c.test, c.target); (reason != "") != c.caught {
			t.Errorf("%s importing %s: %q, caught should be %t", c.dir, c.target, reason, c.caught)
		}
	}
}

package ringtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"testing"
)

// clocks are the functions of package time that read or wait for the clock.
var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}

// TestDecisionsReadNoClock: now is a parameter.
func TestDecisionsReadNoClock(t *testing.T) {
	for _, f := range tree(t) {
		if f.test || !under(f.dir, pure) {
			continue
		}
		for _, use := range uses(t, f.path, "time", clocks) {
			t.Errorf("%s: a decision reads no clock, now is a parameter", use)
		}
	}
}

// TestNothingSleepsInTests: a test waits for a condition, or for virtual time in a synctest bubble.
func TestNothingSleepsInTests(t *testing.T) {
	for _, f := range tree(t) {
		if !f.test || slices.ContainsFunc(f.imports, func(i imported) bool { return i.path == "testing/synctest" }) {
			continue
		}
		for _, use := range uses(t, f.path, "time", []string{"Sleep"}) {
			t.Errorf("%s: a test never sleeps, it waits for a condition", use)
		}
	}
}

// TestNothingRunsAtImport: no init functions; wiring is in app, in reading order.
func TestNothingRunsAtImport(t *testing.T) {
	for _, f := range tree(t) {
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, filepath.Join("../..", filepath.FromSlash(f.path)), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: init functions hide wiring", set.Position(fn.Pos()))
			}
		}
	}
}

// uses gives the positions where a file calls one of the package's functions.
func uses(t *testing.T, path, pkg string, names []string) []string {
	t.Helper()
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, filepath.Join("../..", filepath.FromSlash(path)), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	ast.Inspect(parsed, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == pkg && slices.Contains(names, s.Sel.Name) {
				out = append(out, set.Position(s.Pos()).String()+": "+pkg+"."+s.Sel.Name)
			}
		}
		return true
	})
	return out
}

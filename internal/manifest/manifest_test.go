package manifest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"perdure/internal/errs"
	"perdure/internal/manifest"
	"perdure/internal/shape"
)

var update = flag.Bool("update", false, "rewrite what the scripts want")

const schemaFile = "../../schema/perdure-v1.schema.json"

// files gives the files of a script with the prefix, without it.
func files(a *txtar.Archive, prefix string) []manifest.File {
	var out []manifest.File
	for _, f := range a.Files {
		if name, ok := strings.CutPrefix(f.Name, prefix); ok && f.Name != "want" {
			out = append(out, manifest.File{Name: name, Text: f.Data})
		}
	}
	return out
}

// scripts runs each script of the pattern and compares with its section "want".
func scripts(t *testing.T, pattern string, run func(t *testing.T, a *txtar.Archive) string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no script matches %s: %v", pattern, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := run(t, a)
			i := len(a.Files) - 1
			if i < 0 || a.Files[i].Name != "want" {
				a.Files = append(a.Files, txtar.File{Name: "want"})
				i++
			}
			if *update {
				a.Files[i].Data = []byte(got)
				if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(a.Files[i].Data), got); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}

func TestWrongDocumentsAreToldWithPlaceReasonAndWhatIsAllowed(t *testing.T) {
	scripts(t, "wrong-*.txt", func(t *testing.T, a *txtar.Archive) string {
		set, err := manifest.Parse(files(a, "")...)
		if err == nil {
			t.Fatal("the parser accepts it")
		}
		if diff := cmp.Diff(manifest.Set{}, set); diff != "" {
			t.Errorf("a part of a wrong set comes back:\n%s", diff)
		}
		if errs.KindOf(err) != errs.Invalid {
			t.Errorf("kind %s, want invalid", errs.KindOf(err))
		}
		var problems shape.Problems
		if !errors.As(err, &problems) || len(problems) == 0 {
			t.Fatalf("the error does not unwrap to problems: %v", err)
		}
		for _, p := range problems {
			if p.File == "" || p.Reason == "" {
				t.Errorf("problem without a place or reason: %+v", p)
			}
		}
		return err.Error() + "\n"
	})
}

func TestDoubtsAreToldWithoutRefusing(t *testing.T) {
	scripts(t, "doubt-*.txt", func(t *testing.T, a *txtar.Archive) string {
		if _, err := manifest.Parse(files(a, "")...); err != nil {
			t.Fatal(err)
		}
		return manifest.Doubts(files(a, "")...).Error() + "\n"
	})
}

func TestExportIsCanonical(t *testing.T) {
	scripts(t, "export-*.txt", func(t *testing.T, a *txtar.Archive) string {
		set, err := manifest.Parse(files(a, "")...)
		if err != nil {
			t.Fatal(err)
		}
		return string(roundTrip(t, set))
	})
}

func TestDiffNamesWhatChangesAndPermitWhatMayNot(t *testing.T) {
	scripts(t, "diff-*.txt", func(t *testing.T, a *txtar.Archive) string {
		from, err := manifest.Parse(files(a, "old/")...)
		if err != nil {
			t.Fatalf("old: %v", err)
		}
		to, err := manifest.Parse(files(a, "new/")...)
		if err != nil {
			t.Fatalf("new: %v", err)
		}
		for _, s := range []manifest.Set{from, to} {
			if d := manifest.Diff(s, s); len(d) > 0 {
				t.Errorf("a set differs from itself:\n%s", d)
			}
			if err := manifest.Permit(s, s); err != nil {
				t.Errorf("a set may not stay as it is: %v", err)
			}
			if k := manifest.Takes(s, s); len(k) > 0 {
				t.Errorf("a set takes from itself: %v", k)
			}
		}
		var out strings.Builder
		out.WriteString(manifest.Diff(from, to).String())
		if err := manifest.Permit(from, to); err != nil {
			fmt.Fprintf(&out, "refused:\n%v\n", err)
		}
		for _, k := range manifest.Takes(from, to) {
			fmt.Fprintf(&out, "takes from %s of %s: %s%s\n", k.Unit, k.System, k.What, map[bool]string{true: ", in practice"}[k.Practice])
		}
		return out.String()
	})
}

// roundTrip exports and asserts that nothing changes on the way back, neither through YAML nor through JSON.
func roundTrip(t *testing.T, set manifest.Set) []byte {
	t.Helper()
	text := manifest.Export(set)
	again, err := manifest.Parse(manifest.File{Name: "export.yaml", Text: text})
	if err != nil {
		t.Fatalf("the export is refused: %v\n%s", err, text)
	}
	if diff := cmp.Diff(set, again); diff != "" {
		t.Fatalf("the export reads back differently:\n%s", diff)
	}
	if !bytes.Equal(text, manifest.Export(again)) {
		t.Fatal("the export of an export differs")
	}
	stored, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	var back manifest.Set
	if err := json.Unmarshal(stored, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(set, back); diff != "" {
		t.Fatalf("the set comes back differently from JSON:\n%s", diff)
	}
	if err := manifest.Check(back); err != nil {
		t.Fatalf("Check refuses what Parse accepts: %v", err)
	}
	return text
}

func TestSchemaFileIsWhatTheParserSays(t *testing.T) {
	want := manifest.Schema()
	if *update {
		if err := os.WriteFile(schemaFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("schema/perdure-v1.schema.json is not what the shapes say: run the tests of this package with -update")
	}
}

func compileSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(manifest.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(manifest.SchemaID, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(manifest.SchemaID)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// documents splits a text into its documents and gives each as text of its own, and as a JSON value.
// ok is false where the text is not YAML, or says what JSON cannot (aliases, repeated or odd keys, tags).
func documents(text []byte) (out []document, ok bool) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var n yaml.Node
		err := d.Decode(&n)
		if errors.Is(err, io.EOF) {
			return out, true
		}
		if err != nil || len(n.Content) != 1 {
			return nil, false
		}
		if n.Content[0].ShortTag() == "!!null" {
			continue
		}
		value, err := jsonValue(n.Content[0])
		if err != nil {
			return nil, false
		}
		own, err := yaml.Marshal(&n)
		if err != nil {
			return nil, false
		}
		out = append(out, document{own, value})
	}
}

type document struct {
	text  []byte
	value any
}

func jsonValue(n *yaml.Node) (any, error) {
	odd := errors.New("JSON cannot say this")
	switch n.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			k := n.Content[i]
			if _, again := out[k.Value]; again || k.Kind != yaml.ScalarNode || k.ShortTag() != "!!str" {
				return nil, odd
			}
			v, err := jsonValue(n.Content[i+1])
			if err != nil {
				return nil, err
			}
			out[k.Value] = v
		}
		return out, nil
	case yaml.SequenceNode:
		out := []any{}
		for _, item := range n.Content {
			v, err := jsonValue(item)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	case yaml.ScalarNode:
		switch n.ShortTag() {
		case "!!str":
			return n.Value, nil
		case "!!int":
			var v int64
			err := n.Decode(&v)
			return v, err
		case "!!bool":
			var v bool
			err := n.Decode(&v)
			return v, err
		case "!!null":
			return nil, nil
		}
	default: // aliases
	}
	return nil, odd
}

// structural reports whether the parser finds something structural in a document that stands alone.
func structural(text []byte) (bool, error) {
	_, err := manifest.Parse(manifest.File{Name: "one.yaml", Text: text})
	var problems shape.Problems
	errors.As(err, &problems)
	for _, p := range problems {
		if p.Structural {
			return true, err
		}
	}
	return false, err
}

func assertAgreement(t testing.TB, schema *jsonschema.Schema, d document) {
	t.Helper()
	wrong, err := structural(d.text)
	if verdict := schema.Validate(d.value); (verdict != nil) != wrong {
		t.Fatalf("schema and parser disagree:\nschema: %v\nparser: %v\n%s", verdict, err, d.text)
	}
}

func TestSchemaAndParserGiveTheSameVerdict(t *testing.T) {
	schema := compileSchema(t)
	count := 0
	for _, text := range corpus(t) {
		docs, ok := documents(text)
		if !ok {
			continue
		}
		for _, d := range docs {
			count++
			assertAgreement(t, schema, d)
		}
	}
	if count < 20 {
		t.Errorf("only %d documents were compared", count)
	}
}

// corpus is every manifest of the examples and the scripts.
func corpus(t testing.TB) [][]byte {
	t.Helper()
	var out [][]byte
	examples, err := filepath.Glob("../../examples/*/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range examples {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, text)
	}
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		a, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range a.Files {
			if f.Name != "want" {
				out = append(out, f.Data)
			}
		}
	}
	return out
}

func exampleEstate(t testing.TB) []manifest.File {
	t.Helper()
	paths, err := filepath.Glob("../../examples/estate/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no example estate: %v", err)
	}
	var out []manifest.File
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, manifest.File{Name: filepath.Base(path), Text: text})
	}
	return out
}

func TestExampleEstateIsAcceptedWithoutDoubt(t *testing.T) {
	files := exampleEstate(t)
	set, err := manifest.Parse(files...)
	if err != nil {
		t.Fatal(err)
	}
	if d := manifest.Doubts(files...); len(d) > 0 {
		t.Errorf("doubts: %v", d)
	}
	roundTrip(t, set)
}

func TestOrderOfFilesAndDocumentsNeverMatters(t *testing.T) {
	files := exampleEstate(t)
	set, err := manifest.Parse(files...)
	if err != nil {
		t.Fatal(err)
	}
	last := len(files) - 1
	docs := bytes.Split(files[last].Text, []byte("\n---\n"))
	backwards := []manifest.File{{Name: "z.yaml", Text: docs[2]}, {Name: "y.yaml", Text: docs[0]}, {Name: "x.yaml", Text: docs[1]}}
	for _, f := range slices.Backward(files[:last]) {
		backwards = append(backwards, f)
	}
	again, err := manifest.Parse(backwards...)
	if err != nil {
		t.Fatal(err)
	}
	if d := manifest.Diff(set, again); len(d) > 0 {
		t.Errorf("differences:\n%s", d)
	}
}

func TestCheckFindsInASetWhatParseFindsInText(t *testing.T) {
	set, err := manifest.Parse(exampleEstate(t)...)
	if err != nil {
		t.Fatal(err)
	}
	set.Systems[0].Units[0].Slots = manifest.Slots{{From: 0, To: 400}}
	err = manifest.Check(set)
	if err == nil || !strings.Contains(err.Error(), "no unit of module ledger owns slots 401-511") {
		t.Errorf("got %v", err)
	}
}

func TestFloodOfProblemsIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("apiVersion: perdure/v1\nkind: Site\nname: a\ncity: east\nnodes: [{}]\n")
	for i := range 3_000 {
		fmt.Fprintf(&b, "field%d: x\n", i)
	}
	_, err := manifest.Parse(manifest.File{Name: "flood.yaml", Text: []byte(b.String())})
	var problems shape.Problems
	if !errors.As(err, &problems) || len(problems) != 1000 {
		t.Fatalf("%d problems", len(problems))
	}
	if text := err.Error(); !strings.HasSuffix(text, "\nand 900 more") || len(text) > 30_000 {
		t.Errorf("%d bytes, ending %q", len(text), text[len(text)-40:])
	}
}

// Editors read the schema with the patterns of ECMA-262, which know no inline flags.
func TestSchemaPatternsAreForEditorsToo(t *testing.T) {
	if bytes.Contains(manifest.Schema(), []byte("(?")) {
		t.Error("a pattern has an inline flag or group modifier")
	}
}

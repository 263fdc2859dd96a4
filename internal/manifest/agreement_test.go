package manifest_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"perdure/internal/calendar"
	"perdure/internal/manifest"
	"perdure/internal/plan"
)

// TestSchemaAndParserAgreeOnDamagedDocuments takes a right document, damages it in one to three places and compares the verdicts.
func TestSchemaAndParserAgreeOnDamagedDocuments(t *testing.T) {
	schema := compileSchema(t)
	var whole []document
	for _, f := range exampleEstate(t) {
		docs, ok := documents(f.Text)
		if !ok {
			t.Fatal("the example cannot be split")
		}
		whole = append(whole, docs...)
	}
	refused := 0
	rapid.Check(t, func(t *rapid.T) {
		var doc yaml.Node
		if err := yaml.Unmarshal(rapid.SampledFrom(whole).Draw(t, "document").text, &doc); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 3).Draw(t, "damages") {
			damage(t, doc.Content[0])
		}
		text, err := yaml.Marshal(&doc)
		if err != nil {
			t.Fatal(err)
		}
		docs, ok := documents(text)
		if !ok || len(docs) != 1 {
			t.Skip("the damage made something else of it")
		}
		wrong, err := structural(docs[0].text)
		if wrong {
			refused++
		}
		if verdict := schema.Validate(docs[0].value); (verdict != nil) != wrong {
			t.Fatalf("schema and parser disagree:\nschema: %v\nparser: %v\n%s", verdict, err, text)
		}
	})
	if refused == 0 {
		t.Error("no damage was ever refused: the test shows nothing")
	}
}

func damage(t *rapid.T, root *yaml.Node) {
	var nodes []*yaml.Node
	var collect func(n *yaml.Node)
	collect = func(n *yaml.Node) {
		nodes = append(nodes, n)
		for i, c := range n.Content {
			if n.Kind != yaml.MappingNode || i%2 == 1 {
				collect(c)
			}
		}
	}
	collect(root)
	n := nodes[rapid.IntRange(0, len(nodes)-1).Draw(t, "place")]
	scalar := func() *yaml.Node {
		value := rapid.SampledFrom([]string{"", "x", "X", "0", "1", "-1", "70000", "99999999999", "true", "~", "1.5", "a b", "0-5", "5s", "1MiB", "env:X", "/", "/{key}", "auto", "sync", "'7'", "[]", "{}", "é", "account"}).Draw(t, "value")
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(value), &doc); err != nil || len(doc.Content) == 0 {
			return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
		}
		return doc.Content[0]
	}
	switch {
	case n.Kind == yaml.MappingNode && len(n.Content) > 0 && rapid.Bool().Draw(t, "drop"):
		i := 2 * rapid.IntRange(0, len(n.Content)/2-1).Draw(t, "field")
		n.Content = append(n.Content[:i:i], n.Content[i+2:]...)
	case n.Kind == yaml.MappingNode:
		key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: rapid.SampledFrom([]string{"name", "site", "slots", "titel", "title", "query", "overrides", "password", "hosts"}).Draw(t, "key")}
		n.Content = append(n.Content, key, scalar())
	case n.Kind == yaml.SequenceNode && len(n.Content) > 0 && rapid.Bool().Draw(t, "repeat"):
		n.Content = append(n.Content, n.Content[0])
	default:
		*n = *scalar()
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range corpus(f) {
		f.Add(text)
	}
	f.Add([]byte("kind: &a [*a]"))
	f.Add([]byte("apiVersion: perdure/v1\nkind: Site\nname: <<\n? [x]\n: y\n"))
	schema := compileSchema(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := manifest.Parse(manifest.File{Name: "fuzz.yaml", Text: text})
		if err == nil {
			roundTrip(t, set)
			book, err := manifest.Calendars(manifest.File{Name: "fuzz.yaml", Text: text})
			if err != nil {
				t.Fatalf("calendars that were taken in cannot be read: %v", err)
			}
			if _, err := manifest.Participants(manifest.File{Name: "fuzz.yaml", Text: text}); err != nil {
				t.Fatalf("participants cannot be read: %v", err)
			}
			if _, err := manifest.Duties(manifest.File{Name: "fuzz.yaml", Text: text}); err != nil {
				t.Fatalf("rosters cannot be read: %v", err)
			}
			if _, err := manifest.IncidentRules(manifest.File{Name: "fuzz.yaml", Text: text}); err != nil {
				t.Fatalf("rules on incidents that were taken in cannot be read: %v", err)
			}
			now := time.Unix(1_800_000_000, 0)
			if _, err := json.Marshal(book.Look(nil, nil, now)); err != nil {
				t.Error(err)
			}
			for _, m := range plan.Modes() {
				if r := book.Rule(calendar.Ask{Plan: "p", Mode: m, Longest: time.Hour}, nil, now); r.Refusal != "" && m == plan.Emergency {
					t.Errorf("an emergency is refused: %s", r.Refusal)
				}
			}
		} else if fmt.Sprint(err) == "" {
			t.Error("an error without a word")
		}
		docs, ok := documents(text)
		if !ok {
			return
		}
		for _, d := range docs {
			assertAgreement(t, schema, d)
		}
	})
}

package manifest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// sort is what a part of a document is: its JSON type.
type sort string

const (
	object  sort = "object"
	list    sort = "list"
	table   sort = "table" // an object whose field names are free
	text    sort = "text"
	integer sort = "whole number"
	boolean sort = "boolean"
)

// shape is what a part of a document may look like.
type shape struct {
	sort sort
	// allowed says in words what may stand there.
	allowed string

	fields []field // of an object
	oneOf  []field // of which an object has exactly one

	item *shape                    // of a list or a table
	keys *regexp.Regexp            // of a table's field names
	id   func(i *yaml.Node) string // what tells the items of a list apart; nil where their order does

	low, high int // of a whole number, of the length of a text or list

	form  *regexp.Regexp // of a text
	words []string       // a text is one of these
	// judge finds what a form cannot say; its problems are not structural.
	judge func(value string) error
	// secret: what stands there is never repeated.
	secret bool
}

// field is a named part of an object.
type field struct {
	name string
	doc  string
	shape
	required bool
	// fallback is the YAML that stands there when the field is left out.
	fallback string
}

// walker holds one document's tree against its shape, collects what is wrong, takes it out, fills in defaults and notes lines.
type walker struct {
	tell  func(line int, path, allowed string, structural bool, reason string)
	lines map[string]int
}

func (w *walker) wrong(line int, path, allowed, format string, args ...any) bool {
	w.tell(line, path, allowed, true, fmt.Sprintf(format, args...))
	return false
}

// check reports whether the node may stay.
func (w *walker) check(n *yaml.Node, s *shape, path string) bool {
	if n.Kind == yaml.AliasNode {
		return w.wrong(n.Line, path, s.allowed, "anchors and aliases are not part of the language: write the value out")
	}
	switch s.sort {
	case object:
		return w.checkObject(n, s, path)
	case table:
		return w.checkTable(n, s, path)
	case list:
		return w.checkList(n, s, path)
	case text:
		return w.checkText(n, s, path)
	case integer:
		return w.checkInteger(n, s, path)
	case boolean:
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
			return w.wrong(n.Line, path, "true, false", "%s is not a boolean", told(n, s))
		}
		return true
	}
	panic("manifest: a shape without a sort at " + path)
}

func (w *walker) checkObject(n *yaml.Node, s *shape, path string) bool {
	if n.Kind != yaml.MappingNode {
		return w.wrong(n.Line, path, "the fields "+strings.Join(s.names(), ", "), "%s stands where an object belongs", told(n, s))
	}
	w.uniqueKeys(n, path)
	var kept []*yaml.Node
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		f := s.field(key.Value)
		if key.Kind != yaml.ScalarNode || f == nil {
			reason := fmt.Sprintf("unknown field %q", key.Value)
			if near := nearest(key.Value, s.names()); near != "" {
				reason += fmt.Sprintf("; did you mean %q?", near)
			}
			w.wrong(key.Line, join(path, key.Value), strings.Join(s.names(), ", "), "%s", reason)
			continue
		}
		at := join(path, f.name)
		w.lines[at] = key.Line
		if w.check(value, &f.shape, at) {
			kept = append(kept, key, value)
		}
	}
	if len(s.oneOf) > 0 {
		given := 0
		for _, f := range s.oneOf {
			if find(n, f.name) != nil {
				given++
			}
		}
		if given != 1 {
			return w.wrong(n.Line, path, "exactly one of "+strings.Join((&shape{fields: s.oneOf}).names(), ", "), "%d fields stand where one belongs", given)
		}
	}
	for i := range s.fields {
		f := &s.fields[i]
		if find(n, f.name) != nil {
			continue
		}
		if f.required {
			w.wrong(n.Line, join(path, f.name), f.allowed, "missing")
		}
		if f.fallback != "" {
			value := fallback(f.fallback, n.Line)
			w.check(value, &f.shape, join(path, f.name))
			kept = append(kept, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: f.name, Line: n.Line}, value)
		}
	}
	n.Content = kept
	return true
}

func (w *walker) checkTable(n *yaml.Node, s *shape, path string) bool {
	if n.Kind != yaml.MappingNode {
		return w.wrong(n.Line, path, s.allowed, "%s stands where an object belongs", told(n, s))
	}
	w.uniqueKeys(n, path)
	var kept []*yaml.Node
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := join(path, key.Value)
		w.lines[at] = key.Line
		switch {
		case key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" || !s.keys.MatchString(key.Value):
			w.wrong(key.Line, at, s.allowed, "%q cannot be a name here", key.Value)
		case w.check(value, s.item, at):
			kept = append(kept, key, value)
		}
	}
	n.Content = kept
	return true
}

// checkList keeps the place of wrong items, so that the others keep their numbers.
func (w *walker) checkList(n *yaml.Node, s *shape, path string) bool {
	if n.Kind != yaml.SequenceNode {
		return w.wrong(n.Line, path, s.allowed, "%s stands where a list belongs", told(n, s))
	}
	if len(n.Content) < s.low {
		w.wrong(n.Line, path, s.allowed, "%d items, at least %d are needed", len(n.Content), s.low)
	}
	if len(n.Content) > s.high {
		w.wrong(n.Line, path, s.allowed, "%d items, at most %d may stand here", len(n.Content), s.high)
	}
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		w.lines[at] = item.Line
		if !w.check(item, s.item, at) {
			n.Content[i] = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: item.Line}
		}
	}
	return true
}

func (w *walker) checkText(n *yaml.Node, s *shape, path string) bool {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		hint := ""
		if n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null" && !s.secret && s.form != nil && s.form.MatchString(n.Value) {
			hint = fmt.Sprintf("; write it in quotes: %q", n.Value)
		}
		return w.wrong(n.Line, path, s.allowed, "%s is not text%s", told(n, s), hint)
	}
	if len(s.words) > 0 {
		if slices.Contains(s.words, n.Value) {
			return true
		}
		return w.wrong(n.Line, path, strings.Join(s.words, ", "), "unknown value %q", n.Value)
	}
	length := utf8.RuneCountInString(n.Value)
	switch {
	case length < s.low:
		return w.wrong(n.Line, path, s.allowed, "%s is too short", told(n, s))
	case length > s.high:
		return w.wrong(n.Line, path, s.allowed, "%d characters are too long, %d may stand here", length, s.high)
	case s.form != nil && !s.form.MatchString(n.Value):
		return w.wrong(n.Line, path, s.allowed, "%s does not have the right form", told(n, s))
	}
	if s.judge != nil {
		if err := s.judge(n.Value); err != nil {
			w.tell(n.Line, path, s.allowed, false, err.Error())
			return false
		}
	}
	return true
}

func (w *walker) checkInteger(n *yaml.Node, s *shape, path string) bool {
	allowed := fmt.Sprintf("a whole number from %d to %d", s.low, s.high)
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" {
		return w.wrong(n.Line, path, allowed, "%s is not a whole number", told(n, s))
	}
	var v int
	if n.Decode(&v) != nil || v < s.low || v > s.high {
		return w.wrong(n.Line, path, allowed, "%s is out of range", n.Value)
	}
	return true
}

// uniqueKeys tells repeated fields and drops all but the first.
func (w *walker) uniqueKeys(n *yaml.Node, path string) {
	first := map[string]int{}
	var kept []*yaml.Node
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		if line, again := first[key.Value]; again && key.Kind == yaml.ScalarNode {
			// YAML forbids it, but what a JSON Schema is shown has already lost one of the two.
			w.tell(key.Line, join(path, key.Value), "", false, fmt.Sprintf("stands twice, first in line %d", line))
			continue
		}
		first[key.Value] = key.Line
		kept = append(kept, key, n.Content[i+1])
	}
	n.Content = kept
}

func (s *shape) names() []string {
	names := make([]string, len(s.fields))
	for i, f := range s.fields {
		names[i] = f.name
	}
	return names
}

func (s *shape) field(name string) *field {
	for i := range s.fields {
		if s.fields[i].name == name {
			return &s.fields[i]
		}
	}
	return nil
}

// told names what stands in a node without repeating a secret.
func told(n *yaml.Node, s *shape) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "an object"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.ShortTag() == "!!null":
		return "nothing"
	case s.secret:
		return "what stands here"
	}
	const most = 60
	value := n.Value
	if utf8.RuneCountInString(value) > most {
		value = string([]rune(value)[:most]) + "…"
	}
	return fmt.Sprintf("%q", value)
}

func fallback(snippet string, line int) *yaml.Node {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(snippet), &doc); err != nil || len(doc.Content) != 1 {
		panic("manifest: the fallback " + snippet + " is not YAML")
	}
	n := doc.Content[0]
	n.Line = line
	return n
}

// find gives the value of a field of a mapping, nil where it is not there.
func find(n *yaml.Node, name string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// nearest gives the word that was probably meant: at most two letters away and more than half right.
func nearest(word string, among []string) string {
	best, distance := "", 3
	for _, candidate := range among {
		d := editDistance(strings.ToLower(word), strings.ToLower(candidate))
		if d < distance && d*2 < len(candidate) {
			best, distance = candidate, d
		}
	}
	return best
}

func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

package shape

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Sort is what a part of a document is: its JSON type.
type Sort string

const (
	Object  Sort = "object"
	List    Sort = "list"
	Table   Sort = "table" // an object whose field names are free
	Text    Sort = "text"
	Integer Sort = "whole number"
	Boolean Sort = "boolean"
	Any     Sort = "any" // any value that JSON has too
)

// Shape is what a part of a document may look like.
type Shape struct {
	Sort Sort
	// Allowed says in words what may stand there.
	Allowed string

	Fields []Field // of an object
	OneOf  []Field // of which an object has exactly one

	Item *Shape                    // of a list or a table
	Keys *regexp.Regexp            // of a table's field names
	ID   func(i *yaml.Node) string // what tells the items of a list apart; nil where their order does

	Low, High int // of a whole number, of the length of a text or list

	Form  *regexp.Regexp // of a text
	Words []string       // a text is one of these
	// Judge finds what a form cannot say; its problems are not structural.
	Judge func(value string) error
	// Ordered: the order of a list's items is part of what it says, although they can be told apart.
	Ordered bool
	// Secret: what stands there is never repeated.
	Secret bool
}

// Field is a named part of an object.
type Field struct {
	Name string
	Doc  string
	Shape
	Required bool
	// Fallback is the YAML that stands there when the field is left out.
	Fallback string
}

// Check holds a document's tree against its shape: it tells what is wrong and takes it out, fills in defaults and notes in lines where
// each field stands. What is left can be decoded.
func Check(tree *yaml.Node, s *Shape, lines map[string]int, tell func(line int, path, allowed string, structural bool, reason string)) {
	w := walker{tell: tell, lines: lines}
	w.check(tree, s, "")
}

type walker struct {
	tell  func(line int, path, allowed string, structural bool, reason string)
	lines map[string]int
}

func (w *walker) wrong(line int, path, allowed, format string, args ...any) bool {
	w.tell(line, path, allowed, true, fmt.Sprintf(format, args...))
	return false
}

// check reports whether the node may stay.
func (w *walker) check(n *yaml.Node, s *Shape, path string) bool {
	if n.Kind == yaml.AliasNode {
		return w.wrong(n.Line, path, s.Allowed, "anchors and aliases are not part of the language: write the value out")
	}
	switch s.Sort {
	case Object:
		return w.checkObject(n, s, path)
	case Table:
		return w.checkTable(n, s, path)
	case List:
		return w.checkList(n, s, path)
	case Text:
		return w.checkText(n, s, path)
	case Integer:
		return w.checkInteger(n, s, path)
	case Any:
		return w.checkAny(n, s, path, 0)
	case Boolean:
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
			return w.wrong(n.Line, path, "true, false", "%s is not a boolean", Told(n, s))
		}
		return true
	}
	panic("shape: a shape without a sort at " + path)
}

// deepest bounds how deep values of any form may be nested.
const deepest = 8

func (w *walker) checkAny(n *yaml.Node, s *Shape, path string, depth int) bool {
	if n.Kind == yaml.AliasNode {
		return w.wrong(n.Line, path, s.Allowed, "anchors and aliases are not part of the language: write the value out")
	}
	if depth > deepest {
		return w.wrong(n.Line, path, s.Allowed, "values are nested more than %d deep", deepest)
	}
	w.lines[path] = n.Line
	switch n.Kind {
	case yaml.MappingNode:
		w.uniqueKeys(n, path)
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" {
				return w.wrong(key.Line, path, s.Allowed, "%s cannot be the name of a field", Told(key, s))
			}
			if !w.checkAny(n.Content[i+1], s, Join(path, key.Value), depth+1) {
				return false
			}
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			if !w.checkAny(item, s, fmt.Sprintf("%s[%d]", path, i), depth+1) {
				return false
			}
		}
	default:
		switch n.ShortTag() {
		case "!!str", "!!int", "!!float", "!!bool":
		default:
			return w.wrong(n.Line, path, s.Allowed, "%s is neither text, number nor boolean", Told(n, s))
		}
	}
	return true
}

func (w *walker) checkObject(n *yaml.Node, s *Shape, path string) bool {
	if n.Kind != yaml.MappingNode {
		return w.wrong(n.Line, path, "the fields "+strings.Join(s.Names(), ", "), "%s stands where an object belongs", Told(n, s))
	}
	w.uniqueKeys(n, path)
	var kept []*yaml.Node
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		f := s.Field(key.Value)
		if key.Kind != yaml.ScalarNode || f == nil {
			reason := fmt.Sprintf("unknown field %q", key.Value)
			if near := Nearest(key.Value, s.Names()); near != "" {
				reason += fmt.Sprintf("; did you mean %q?", near)
			}
			w.wrong(key.Line, Join(path, key.Value), strings.Join(s.Names(), ", "), "%s", reason)
			continue
		}
		at := Join(path, f.Name)
		w.lines[at] = key.Line
		if w.check(value, &f.Shape, at) {
			kept = append(kept, key, value)
		}
	}
	if len(s.OneOf) > 0 {
		given := 0
		for _, f := range s.OneOf {
			if Find(n, f.Name) != nil {
				given++
			}
		}
		if given != 1 {
			return w.wrong(n.Line, path, "exactly one of "+strings.Join((&Shape{Fields: s.OneOf}).Names(), ", "), "%d fields stand where one belongs", given)
		}
	}
	for i := range s.Fields {
		f := &s.Fields[i]
		if Find(n, f.Name) != nil {
			continue
		}
		if f.Required {
			w.wrong(n.Line, Join(path, f.Name), f.Allowed, "missing")
		}
		if f.Fallback != "" {
			value := fallback(f.Fallback, n.Line)
			w.check(value, &f.Shape, Join(path, f.Name))
			kept = append(kept, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: f.Name, Line: n.Line}, value)
		}
	}
	n.Content = kept
	return true
}

func (w *walker) checkTable(n *yaml.Node, s *Shape, path string) bool {
	if n.Kind != yaml.MappingNode {
		return w.wrong(n.Line, path, s.Allowed, "%s stands where an object belongs", Told(n, s))
	}
	w.uniqueKeys(n, path)
	var kept []*yaml.Node
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := Join(path, key.Value)
		w.lines[at] = key.Line
		switch {
		case key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" || !s.Keys.MatchString(key.Value):
			w.wrong(key.Line, at, s.Allowed, "%q cannot be a name here", key.Value)
		case w.check(value, s.Item, at):
			kept = append(kept, key, value)
		}
	}
	n.Content = kept
	return true
}

// checkList keeps the place of wrong items, so that the others keep their numbers.
func (w *walker) checkList(n *yaml.Node, s *Shape, path string) bool {
	if n.Kind != yaml.SequenceNode {
		return w.wrong(n.Line, path, s.Allowed, "%s stands where a list belongs", Told(n, s))
	}
	if len(n.Content) < s.Low {
		w.wrong(n.Line, path, s.Allowed, "%d items, at least %d are needed", len(n.Content), s.Low)
	}
	if len(n.Content) > s.High {
		w.wrong(n.Line, path, s.Allowed, "%d items, at most %d may stand here", len(n.Content), s.High)
	}
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		w.lines[at] = item.Line
		if !w.check(item, s.Item, at) {
			n.Content[i] = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: item.Line}
		}
	}
	return true
}

func (w *walker) checkText(n *yaml.Node, s *Shape, path string) bool {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		hint := ""
		if n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null" && !s.Secret && s.Form != nil && s.Form.MatchString(n.Value) {
			hint = fmt.Sprintf("; write it in quotes: %q", n.Value)
		}
		return w.wrong(n.Line, path, s.Allowed, "%s is not text%s", Told(n, s), hint)
	}
	if len(s.Words) > 0 {
		if slices.Contains(s.Words, n.Value) {
			return true
		}
		return w.wrong(n.Line, path, strings.Join(s.Words, ", "), "unknown value %q", n.Value)
	}
	length := utf8.RuneCountInString(n.Value)
	switch {
	case length < s.Low:
		return w.wrong(n.Line, path, s.Allowed, "%s is too short", Told(n, s))
	case length > s.High:
		return w.wrong(n.Line, path, s.Allowed, "%d characters are too long, %d may stand here", length, s.High)
	case s.Form != nil && !s.Form.MatchString(n.Value):
		return w.wrong(n.Line, path, s.Allowed, "%s does not have the right form", Told(n, s))
	}
	if s.Judge != nil {
		if err := s.Judge(n.Value); err != nil {
			w.tell(n.Line, path, s.Allowed, false, err.Error())
			return false
		}
	}
	return true
}

func (w *walker) checkInteger(n *yaml.Node, s *Shape, path string) bool {
	allowed := fmt.Sprintf("a whole number from %d to %d", s.Low, s.High)
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" {
		return w.wrong(n.Line, path, allowed, "%s is not a whole number", Told(n, s))
	}
	var v int
	if n.Decode(&v) != nil || v < s.Low || v > s.High {
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
			w.tell(key.Line, Join(path, key.Value), "", false, fmt.Sprintf("stands twice, first in line %d", line))
			continue
		}
		first[key.Value] = key.Line
		kept = append(kept, key, n.Content[i+1])
	}
	n.Content = kept
}

// Names are those of the fields.
func (s *Shape) Names() []string {
	names := make([]string, len(s.Fields))
	for i, f := range s.Fields {
		names[i] = f.Name
	}
	return names
}

// Field gives the field of the name, nil where there is none.
func (s *Shape) Field(name string) *Field {
	for i := range s.Fields {
		if s.Fields[i].Name == name {
			return &s.Fields[i]
		}
	}
	return nil
}

// Told names what stands in a node without repeating a secret.
func Told(n *yaml.Node, s *Shape) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "an object"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.ShortTag() == "!!null":
		return "nothing"
	case s.Secret:
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
		panic("shape: the fallback " + snippet + " is not YAML")
	}
	n := doc.Content[0]
	n.Line = line
	return n
}

// Find gives the value of a field of a mapping, nil where it is not there.
func Find(n *yaml.Node, name string) *yaml.Node {
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

// Join gives the path of a field in what stands at path.
func Join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// Nearest gives the word that was probably meant: at most two letters away and more than half right.
func Nearest(word string, among []string) string {
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

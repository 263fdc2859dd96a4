package manifest

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"perdure/internal/shape"
)

// Op is what a change does.
type Op string

// The closed list of changes.
const (
	Add    Op = "add"
	Remove Op = "remove"
	Alter  Op = "change"
)

// Change is one difference between two sets.
type Change struct {
	Op       Op     `json:"op"`
	Document string `json:"document"` // kind and name
	// Field is the path with names instead of numbers, for example "units[u1].slots"; empty for a whole document.
	Field string `json:"field,omitempty"`
	// Old and New are YAML in one line; empty where there is none, and for whole documents.
	Old string `json:"old,omitempty"`
	New string `json:"new,omitempty"`
}

// String writes "+ System x", "~ System y: units[u1].slots: 0-511 -> 0-255".
func (c Change) String() string {
	what := c.Document
	if c.Field != "" {
		what += ": " + c.Field
	}
	return c.line(what)
}

func (c Change) line(what string) string {
	switch c.Op {
	case Add:
		return "+ " + what + valued(c.New)
	case Remove:
		return "- " + what + valued(c.Old)
	case Alter:
	}
	return fmt.Sprintf("~ %s: %s -> %s", what, c.Old, c.New)
}

func valued(v string) string {
	if v == "" {
		return ""
	}
	return ": " + v
}

// Changes are differences in canonical order: by kind, name and field.
type Changes []Change

// String writes the changes for people, the fields of a document under its name.
func (c Changes) String() string {
	var b strings.Builder
	under := ""
	for _, one := range c {
		if one.Field == "" {
			fmt.Fprintln(&b, one)
			continue
		}
		if one.Document != under {
			fmt.Fprintln(&b, "~ "+one.Document)
			under = one.Document
		}
		fmt.Fprintln(&b, "    "+one.line(one.Field))
	}
	return b.String()
}

// Diff says what would change from one set to the other. Order never counts as a change where things have names, but for
// the steps of a plan and the people that it asks.
func Diff(from, to Set) Changes {
	d := differ{}
	before, after := from.documents(), to.documents()
	for len(before) > 0 || len(after) > 0 {
		switch {
		case len(after) == 0 || len(before) > 0 && earlier(before[0], after[0]):
			d.note(Remove, before[0].String(), "", nil, nil)
			before = before[1:]
		case len(before) == 0 || earlier(after[0], before[0]):
			d.note(Add, after[0].String(), "", nil, nil)
			after = after[1:]
		default:
			d.compare(before[0].String(), "", &after[0].kind.shape, before[0].tree, after[0].tree)
			before, after = before[1:], after[1:]
		}
	}
	return d.changes
}

func earlier(a, b written) bool {
	if a.kind.name != b.kind.name {
		return a.kind.name < b.kind.name
	}
	return a.name < b.name
}

type differ struct{ changes Changes }

func (d *differ) note(op Op, document, path string, from, to *yaml.Node) {
	d.changes = append(d.changes, Change{Op: op, Document: document, Field: path, Old: line(from), New: line(to)})
}

// compare notes the differences of two trees of one shape, either of which may be missing.
func (d *differ) compare(document, path string, s *shape.Shape, from, to *yaml.Node) {
	switch {
	case from == nil && to == nil:
	case from == nil:
		d.note(Add, document, path, nil, to)
	case to == nil:
		d.note(Remove, document, path, from, nil)
	case s.Sort == shape.Object && len(s.OneOf) == 0:
		for i := range s.Fields {
			f := &s.Fields[i]
			d.compare(document, shape.Join(path, f.Name), &f.Shape, shape.Find(from, f.Name), shape.Find(to, f.Name))
		}
	case s.Sort == shape.Table, s.Sort == shape.List:
		d.compareItems(document, path, s, from, to)
	case line(from) != line(to):
		d.note(Alter, document, path, from, to)
	}
}

// compareItems goes through both lists by name, in the order of the names' first appearance.
func (d *differ) compareItems(document, path string, s *shape.Shape, from, to *yaml.Node) {
	old, oldNames := named(s, from)
	now, nowNames := named(s, to)
	for len(oldNames) > 0 || len(nowNames) > 0 {
		var name string
		if len(oldNames) > 0 && now[oldNames[0]] == nil || len(nowNames) == 0 {
			name, oldNames = oldNames[0], oldNames[1:]
		} else {
			name, nowNames = nowNames[0], nowNames[1:]
			for i, n := range oldNames {
				if n == name {
					oldNames = append(oldNames[:i:i], oldNames[i+1:]...)
					break
				}
			}
		}
		at := fmt.Sprintf("%s[%s]", path, name)
		if s.Sort == shape.Table {
			at = shape.Join(path, name)
		}
		d.compare(document, at, s.Item, old[name], now[name])
	}
	if !s.Ordered {
		return
	}
	// What is new or gone was told; here it is about the order of what stays.
	_, oldNames = named(s, from)
	_, nowNames = named(s, to)
	oldNames = slices.DeleteFunc(oldNames, func(n string) bool { return now[n] == nil })
	nowNames = slices.DeleteFunc(nowNames, func(n string) bool { return old[n] == nil })
	if !slices.Equal(oldNames, nowNames) {
		d.changes = append(d.changes, Change{Op: Alter, Document: document, Field: path + " (order)", Old: strings.Join(oldNames, ", "), New: strings.Join(nowNames, ", ")})
	}
}

// named gives the items of a list or table by what tells them apart.
func named(s *shape.Shape, n *yaml.Node) (map[string]*yaml.Node, []string) {
	items, names := map[string]*yaml.Node{}, []string{}
	add := func(name string, item *yaml.Node) {
		items[name], names = item, append(names, name)
	}
	if s.Sort == shape.Table {
		for i := 0; i+1 < len(n.Content); i += 2 {
			add(n.Content[i].Value, n.Content[i+1])
		}
		return items, names
	}
	for i, item := range n.Content {
		switch {
		case s.ID != nil:
			add(s.ID(item), item)
		case s.Item.Sort == shape.Text:
			add(item.Value, item)
		default:
			add(fmt.Sprint(i), item)
		}
	}
	return items, names
}

// line writes a tree as YAML in one line.
func line(n *yaml.Node) string {
	if n == nil {
		return ""
	}
	if n.Kind == yaml.ScalarNode {
		return n.Value
	}
	parts := make([]string, 0, len(n.Content))
	if n.Kind == yaml.SequenceNode {
		for _, item := range n.Content {
			parts = append(parts, line(item))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		parts = append(parts, n.Content[i].Value+": "+line(n.Content[i+1]))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

package manifest

import (
	"bytes"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Export writes the set as YAML in canonical form: every default written out, everything with a name in the order of names.
// Parse reads back the same set, and Export of that writes the same bytes.
func Export(set Set) []byte {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	for _, d := range set.documents() {
		if err := e.Encode(d.tree); err != nil {
			panic("manifest: " + d.String() + " cannot be written: " + err.Error())
		}
	}
	if err := e.Close(); err != nil {
		panic("manifest: the set cannot be written: " + err.Error())
	}
	return b.Bytes()
}

// written is a document as a tree.
type written struct {
	kind kind
	name string
	tree *yaml.Node
}

func (w written) String() string { return w.kind.name + " " + w.name }

// documents are the trees of the set in canonical order.
func (s Set) documents() []written {
	shapes := kinds()
	var out []written
	add := func(of, name string, value any) {
		k := shapes[slices.IndexFunc(shapes, func(k kind) bool { return k.name == of })]
		out = append(out, written{kind: k, name: name, tree: tree(k, value)})
	}
	for _, c := range s.Calendars {
		add("Calendar", c.Name, c)
	}
	for _, f := range s.Functions {
		add("Function", f.Name, f)
	}
	for _, p := range s.Participants {
		add("Participant", p.Name, p)
	}
	for _, r := range s.IncidentRules {
		add("IncidentRules", r.Name, r)
	}
	for _, g := range s.CommandGroups {
		add("CommandGroup", g.Name, g)
	}
	for _, p := range s.Plans {
		add("Plan", p.Name, p)
	}
	for _, r := range s.Rosters {
		add("Roster", r.Name, r)
	}
	for _, site := range s.Sites {
		add("Site", string(site.Name), site)
	}
	for _, system := range s.Systems {
		add("System", string(system.Name), system)
	}
	for _, t := range s.Tenants {
		add("Tenant", string(t.Name), t)
	}
	return out
}

func tree(k kind, value any) *yaml.Node {
	var n yaml.Node
	if err := n.Encode(value); err != nil {
		panic("manifest: a " + k.name + " cannot be written: " + err.Error())
	}
	scalar := func(v string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: v} }
	n.Content = append([]*yaml.Node{scalar("apiVersion"), scalar(APIVersion), scalar("kind"), scalar(k.name)}, n.Content...)
	return &n
}

package manifest

import (
	"bytes"

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
	for _, c := range s.Calendars {
		out = append(out, written{shapes[3], c.Name, tree(shapes[3], c)})
	}
	for _, f := range s.Functions {
		out = append(out, written{shapes[4], f.Name, tree(shapes[4], f)})
	}
	for _, p := range s.Participants {
		out = append(out, written{shapes[5], p.Name, tree(shapes[5], p)})
	}
	for _, r := range s.IncidentRules {
		out = append(out, written{shapes[6], r.Name, tree(shapes[6], r)})
	}
	for _, g := range s.CommandGroups {
		out = append(out, written{shapes[7], g.Name, tree(shapes[7], g)})
	}
	for _, p := range s.Plans {
		out = append(out, written{shapes[2], p.Name, tree(shapes[2], p)})
	}
	for _, site := range s.Sites {
		out = append(out, written{shapes[0], string(site.Name), tree(shapes[0], site)})
	}
	for _, system := range s.Systems {
		out = append(out, written{shapes[1], string(system.Name), tree(shapes[1], system)})
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

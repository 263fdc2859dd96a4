package plan

import (
	"fmt"
	"strings"
)

// Mermaid draws the program as a flow chart for documents.
func (p *Program) Mermaid() string {
	var b strings.Builder
	b.WriteString("flowchart TB\n")
	var open []int
	closeTo := func(parent int) {
		for len(open) > 0 && open[len(open)-1] != parent {
			open = open[:len(open)-1]
			b.WriteString(strings.Repeat("  ", len(open)+1) + "end\n")
		}
	}
	for i := range p.Nodes {
		n := &p.Nodes[i]
		closeTo(n.Parent)
		indent := strings.Repeat("  ", len(open)+1)
		if n.Step.Subplan != nil {
			fmt.Fprintf(&b, "%ssubgraph n%d [%s]\n", indent, i, quoted(n))
			open = append(open, i)
			continue
		}
		left, right := "[", "]"
		switch n.Step.Kind() {
		case CheckStep:
			left, right = "{{", "}}"
		case ApprovalStep:
			left, right = "{", "}"
		case ManualStep:
			left, right = "[/", "/]"
		case WaitStep:
			left, right = "([", "])"
		case NotifyStep:
			left, right = "((", "))"
		case ActStep, SubplanStep:
		}
		fmt.Fprintf(&b, "%sn%d%s%s%s\n", indent, i, left, quoted(n), right)
	}
	closeTo(-1)
	for i := range p.Nodes {
		for _, d := range p.Nodes[i].After {
			arrow := "-->"
			if d.Port != "" {
				arrow = "-- " + d.Port + " -->"
			}
			fmt.Fprintf(&b, "  n%d %s n%d\n", d.Node, arrow, i)
		}
	}
	return b.String()
}

// entities write what Mermaid would read as its own: the end of a label, a tag, an entity, the beginning of Markdown.
var entities = strings.NewReplacer(`"`, "#quot;", "#", "#35;", "<", "#lt;", ">", "#gt;", "`", "#96;")

// quoted is the label of a node.
func quoted(n *Node) string {
	label := n.Local
	if n.Step.Title != "" {
		label = n.Step.Title
	}
	return `"` + entities.Replace(label) + `"`
}

package run

import "slices"

// ShownBefore gives the files that actions have made for who is asked a task or an approval: of what comes before it in the plan, in the order of the
// program. Who is only told something is shown nothing.
func (r *Run) ShownBefore(step string) []Attachment {
	i, ok := r.byID[step]
	nodes := r.Program.Nodes
	if !ok || nodes[i].Step.Manual == nil && nodes[i].Step.Approval == nil {
		return nil
	}
	before := make([]bool, len(nodes))
	var look func(i int)
	look = func(i int) {
		for _, d := range nodes[i].After {
			if before[d.Node] {
				continue
			}
			before[d.Node] = true
			for j := d.Node + 1; j < len(nodes) && r.within(j, d.Node); j++ { // a subplan with all that is in it, which stands behind it
				before[j] = true
			}
			look(d.Node)
		}
		if parent := nodes[i].Parent; parent >= 0 {
			look(parent)
		}
	}
	look(i)
	var out []Attachment
	for j := range nodes {
		if before[j] && nodes[j].Step.Act != nil {
			out = append(out, r.Steps[j].Attachments...)
		}
	}
	return out
}

// ShownTo gives what actions have made for a person: what came before a task or an approval that is asked of them, or was.
func (r *Run) ShownTo(p Person) []Attachment {
	waits := r.WaitsFor(p) // by a voice that was given to them, too
	var out []Attachment
	for i := range r.Steps {
		n := &r.Program.Nodes[i]
		asked := slices.ContainsFunc(waits, func(a Ask) bool { return a.Step == n.ID })
		switch {
		case asked || r.Steps[i].Asked == 0:
		case n.Step.Manual != nil:
			asked = p.Answers(n.Step.Manual.Owner)
		case n.Step.Approval != nil:
			asked = slices.ContainsFunc(r.Steps[i].asked(n.Step.Approval), p.Answers)
		}
		if asked {
			out = append(out, r.ShownBefore(n.ID)...)
		}
	}
	return out
}

package plan

import (
	"slices"
	"time"
)

// Bound is the longest that a step by itself may take: every attempt runs into its time-out. For people it is the step's timeout, 0 where
// it has none: what they take nobody can say. For a subplan it is 0: its steps count.
func (p *Program) Bound(i int) time.Duration {
	n := &p.Nodes[i]
	if w := n.Step.Wait; w != nil && w.Until == "" {
		return time.Duration(w.For)
	}
	bound := n.Timeout
	if r := n.Step.Retry; r != nil {
		bound *= time.Duration(r.Times + 1)
		pause := time.Duration(r.Pause)
		for range r.Times {
			bound += min(pause, time.Duration(r.Most))
			pause = min(pause*time.Duration(r.Factor), time.Duration(r.Most))
		}
	}
	return bound
}

// Longest is the worst case of the whole program, where no person is waited for, and the critical path: the IDs of the steps whose bounds
// add up to it, in order.
func (p *Program) Longest() (time.Duration, []string) {
	end := make([]time.Duration, len(p.Nodes))
	from := make([]int, len(p.Nodes)) // what a node began after
	last := make([]int, len(p.Nodes)) // what a subplan ended with; else the node itself
	for i := range p.Nodes {
		n := &p.Nodes[i]
		begin, before := time.Duration(0), -1
		if n.Parent >= 0 {
			before = n.Parent
			begin = p.begin(n.Parent, end, from)
		}
		for _, d := range n.After {
			if end[d.Node] >= begin {
				begin, before = end[d.Node], d.Node
			}
		}
		from[i], last[i] = before, i
		if len(n.Step.Modes) > 0 && !slices.Contains(n.Step.Modes, p.Mode) {
			end[i] = begin
		} else {
			end[i] = begin + p.Bound(i)
		}
		for child, parent := i, n.Parent; parent >= 0 && end[child] > end[parent]; child, parent = parent, p.Nodes[parent].Parent {
			end[parent], last[parent] = end[child], child
		}
	}
	longest, at := time.Duration(0), -1
	for i := range p.Nodes {
		if end[i] > longest {
			longest, at = end[i], i
		}
	}
	var path []string
	for at >= 0 {
		for last[at] != at { // what it ended with is on the path, the subplan itself is not
			at = last[at]
		}
		if p.Nodes[at].Step.Subplan == nil {
			path = append(path, p.Nodes[at].ID)
		}
		next := from[at]
		for next >= 0 && within(p, at, next) { // it was the first step of the subplan
			next = from[next]
		}
		at = next
	}
	slices.Reverse(path)
	return longest, path
}

// begin is when a subplan begins.
func (p *Program) begin(i int, end []time.Duration, from []int) time.Duration {
	if from[i] < 0 {
		return 0
	}
	if within(p, i, from[i]) {
		return p.begin(from[i], end, from)
	}
	return end[from[i]]
}

// within reports whether a node lies in the subplan of another one.
func within(p *Program, i, in int) bool {
	for j := p.Nodes[i].Parent; j >= 0; j = p.Nodes[j].Parent {
		if j == in {
			return true
		}
	}
	return false
}

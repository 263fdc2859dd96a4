package plan

import (
	"fmt"
	"math"
	"slices"
	"strings"
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

// Longest is the worst case of the whole program, where people take the time of their steps' timeouts or none, and the critical path: the
// IDs of the steps whose bounds add up to it, in order.
func (p *Program) Longest() (time.Duration, []string) { return p.Span(p.Bound, false) }

// Span is how long the program takes where each step takes what length says, and the steps that this adds up of, in order. With serving
// it is the time until the last step that is no cleanup, nor part of one, has ended. Locks hold nobody up, and all branches are gone.
func (p *Program) Span(length func(i int) time.Duration, serving bool) (time.Duration, []string) {
	var (
		begin = make([]time.Duration, len(p.Nodes))
		end   = make([]time.Duration, len(p.Nodes))
		why   = make([]int, len(p.Nodes))  // what a node began after, -1: nothing
		last  = make([]int, len(p.Nodes))  // what a subplan ended with; else the node itself
		out   = make([]bool, len(p.Nodes)) // not of this mode, or in a subplan that is not
		clean = make([]bool, len(p.Nodes))
	)
	longest, at := time.Duration(0), -1
	for i := range p.Nodes {
		n := &p.Nodes[i]
		why[i], last[i], clean[i] = -1, i, n.Step.Cleanup
		if n.Parent >= 0 {
			begin[i], why[i], out[i], clean[i] = begin[n.Parent], why[n.Parent], out[n.Parent], clean[i] || clean[n.Parent]
		}
		for _, d := range n.After {
			if end[d.Node] >= begin[i] {
				begin[i], why[i] = end[d.Node], d.Node
			}
		}
		out[i] = out[i] || len(n.Step.Modes) > 0 && !slices.Contains(n.Step.Modes, p.Mode)
		end[i] = begin[i]
		if !out[i] {
			end[i] = plus(begin[i], length(i))
		}
		// What comes after a subplan stands behind all of its steps.
		for child, parent := i, n.Parent; parent >= 0 && end[child] >= end[parent]; child, parent = parent, p.Nodes[parent].Parent {
			end[parent], last[parent] = end[child], child
		}
		if end[i] > longest && !(serving && clean[i]) {
			longest, at = end[i], i
		}
	}
	var path []string
	for at >= 0 {
		for last[at] != at { // what it ended with is on the path, the subplan itself is not
			at = last[at]
		}
		if p.Nodes[at].Step.Subplan == nil && !out[at] {
			path = append(path, p.Nodes[at].ID)
		}
		at = why[at]
	}
	slices.Reverse(path)
	return longest, path
}

func plus(a, b time.Duration) time.Duration {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// Doubt tells of what keeps no plan from being taken in and no emergency from being started, and is said aloud beforehand: a worst case
// that is longer than the objective, and what breaks the contract of a mode that is not strict. The plans have passed Check.
func Doubt(plans []Plan, catalogue Catalogue, tell Tell) {
	for i := range plans {
		p := &plans[i]
		for _, mode := range p.Modes {
			program, err := Compile(plans, catalogue, p.Name, mode)
			if err != nil {
				continue
			}
			if late, longest, path := program.Late(); late {
				tell(i, "rto", "", "in mode "+string(mode)+" it may take "+longest.String()+" without people, longer than the objective "+p.RTO.String()+"; the longest way: "+shortened(path))
			}
			if row := ContractOf(mode); !row.Strict {
				c := checker{plan: p, catalogue: catalogue, steps: p.merged(), index: map[string]int{}}
				for n := range c.steps {
					c.index[c.steps[n].ID] = n
				}
				for _, b := range c.breaks(row) {
					tell(i, b.field, "", b.reason)
				}
			}
		}
	}
}

// Breach is what breaks the contract of the program's mode: only modes that are not strict have programs with any.
type Breach struct {
	Step   string `json:"step"` // its ID; empty: the plan as a whole breaks it
	Reason string `json:"reason"`
}

// Breaches holds the program against the contract of its mode, subplans included.
func (p *Program) Breaches(catalogue Catalogue) []Breach {
	c := checker{catalogue: catalogue, steps: make([]Step, len(p.Nodes))}
	for i := range p.Nodes {
		c.steps[i] = p.Nodes[i].Step
	}
	var out []Breach
	for _, b := range c.breaks(ContractOf(p.Mode)) {
		out = append(out, Breach{Step: p.Nodes[b.step].ID, Reason: b.reason})
	}
	if ContractOf(p.Mode).Announcement && !IsBuiltIn(p.Plan) && !p.announces() {
		out = append(out, Breach{Reason: fmt.Sprintf("nobody is asked to announce the interruption to the public, which mode %s asks for: no manual task of the mode has announces: true", p.Mode)})
	}
	return out
}

// announces reports whether a task of the program is the announcement to the public. A switch by itself is of an incident, whose rules have it.
func (p *Program) announces() bool {
	for i := range p.Nodes {
		if m := p.Nodes[i].Step.Manual; m != nil && m.Announces && p.Includes(i) {
			return true
		}
	}
	return false
}

// Late reports whether the worst case is longer than the objective: what is cleaned up afterwards keeps nobody waiting for service.
func (p *Program) Late() (late bool, longest time.Duration, path []string) {
	longest, path = p.Span(p.Bound, true)
	return p.RTO > 0 && longest > p.RTO, longest, path
}

// shortened is a path for one line.
func shortened(path []string) string {
	const most = 12
	if len(path) > most {
		path = append(append(slices.Clone(path[:most-1]), "…"), path[len(path)-1])
	}
	return strings.Join(path, ", ")
}

package plan

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// FindingField is what every step of a tabletop asks for: what was missing, unclear or wrong.
const FindingField = "finding"

// Tabletop is the program as people walk it around a table 桌面推演: nothing acts, looks, waits or notifies. Each such step is a task that says what
// would be done; tasks ask for nothing but a finding, which may stay empty, and approvals are as they are. Conditions are not judged, and nothing is locked
// or undone: all steps of the mode are walked, whatever would become of them in earnest.
func (p *Program) Tabletop() *Program {
	out := *p
	out.Table = true
	out.Nodes = slices.Clone(p.Nodes)
	for i := range out.Nodes {
		n := &out.Nodes[i]
		was := n.Step
		n.Looks, n.Timeout = false, 0
		n.Step = Step{ID: was.ID, Title: was.Title, Modes: was.Modes, Approval: was.Approval}
		switch was.Kind() {
		case SubplanStep:
			n.Step.Subplan, n.Parameters, n.Outputs = &Reference{Plan: was.Subplan.Plan}, nil, nil
		case ApprovalStep:
			a := *was.Approval
			a.Text = n.told(a.Text)
			n.Step.Approval = &a
		case ManualStep:
			n.Step.Manual = n.walked(was.Manual.Owner, was.Manual.Instruction, &was)
		case ActStep, CheckStep, WaitStep, NotifyStep:
			n.Step.Manual = n.walked(tableOwner, what(&was), &was)
		}
	}
	return &out
}

// tableOwner is whose task it is to walk what the platform would do by itself.
const tableOwner = "driller"

// walked is the task of a step.
func (n *Node) walked(owner, text string, was *Step) *Manual {
	if was.When != "" {
		text += "\nwhen: " + was.When
	}
	if was.OnFailure != "" {
		text += "\nonFailure: " + string(was.OnFailure)
	}
	if was.Undo != nil {
		text += "\nundo: " + was.Undo.Words()
	}
	return &Manual{Owner: owner, Instruction: n.told(text), Fields: []Parameter{
		{Name: FindingField, Type: Text, Doc: "what is missing, unclear or wrong here; empty: nothing"},
	}}
}

var (
	hole     = regexp.MustCompile(`\$\{([^}]*)\}`)
	ofParams = regexp.MustCompile(`^\s*params\.\w+\s*$`)
)

// told is a text whose expressions can be filled in without anything being done: parameters of the run. Others stand as they are written.
func (n *Node) told(text string) string {
	return hole.ReplaceAllStringFunc(text, func(found string) string {
		inner := found[2 : len(found)-1]
		if n.Scope == "" && ofParams.MatchString(inner) {
			return found
		}
		return "‹" + strings.TrimSpace(inner) + "›"
	})
}

// what says what a step would do.
func what(s *Step) string {
	switch s.Kind() {
	case ActStep:
		return s.Act.Words()
	case CheckStep:
		return s.Check.Words()
	case NotifyStep:
		return fmt.Sprintf("notify %s: %s", strings.Join(s.Notify.To, ", "), s.Notify.Text)
	case WaitStep:
		if s.Wait.Until != "" {
			return "wait until " + s.Wait.Until
		}
		return "wait " + time.Duration(s.Wait.For).String()
	case ManualStep, ApprovalStep, SubplanStep:
	}
	return ""
}

// Words is a call as people read it: unit.switch u1, to: b.
func (c *Call) Words() string {
	var text strings.Builder
	text.WriteString(strings.TrimSpace(c.Driver + "." + c.Action + " " + c.Target))
	for _, name := range slices.Sorted(maps.Keys(c.With)) {
		fmt.Fprintf(&text, ", %s: %v", name, c.With[name])
	}
	if c.Expect != "" {
		text.WriteString("; expect " + c.Expect)
	}
	return text.String()
}

package plan

import (
	"fmt"
	"slices"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
)

// Program is a plan with its subplans, for one mode, as one flat graph: what a run is pinned to. It is kept as JSON, and its
// expressions as text: a later version of the product reads the program of a run that an earlier one began.
type Program struct {
	Plan  string `json:"plan"`
	Title string `json:"title,omitempty"`
	Mode  Mode   `json:"mode"`
	// Table: people walk it around a table, see Tabletop.
	Table bool `json:"tabletop,omitempty"`
	// System is the one that the plan is about; empty: it names none.
	System estate.SystemID `json:"system,omitempty"`
	// Tenant is the institution whose plan it is, and on whose systems alone it acts (T2); empty: the platform's own.
	Tenant estate.TenantID `json:"tenant,omitempty"`
	RTO    time.Duration   `json:"rto,omitempty"`
	// Parameters of the plan, for who starts a run.
	Parameters []Parameter `json:"parameters,omitempty"`
	// Nodes stand in an order in which each comes after all that it waits for, and a subplan before its steps.
	Nodes []Node `json:"nodes"`
}

// Node is a step of a program.
type Node struct {
	// ID is the step's, behind those of the subplans that it lies in: "site-b/open".
	ID string `json:"id"`
	// Scope is the ID of the subplan that it lies in, "" for the plan itself: steps see those of their own plan only.
	Scope string `json:"scope,omitempty"`
	// Local is the step's ID in its own plan.
	Local string `json:"local"`
	Step  Step   `json:"step"` // with its template; After and Use are gone
	After []Dep  `json:"after,omitempty"`
	// Parent is the number of the subplan's node, -1: none.
	Parent int `json:"parent"`
	// Parameters and Outputs are those of a subplan.
	Parameters []Parameter       `json:"parameters,omitempty"`
	Outputs    map[string]string `json:"outputs,omitempty"`
	// Looks: what it does changes nothing, so it may be repeated without a look.
	Looks   bool          `json:"looks,omitempty"`
	Timeout time.Duration `json:"timeout,omitempty"`
}

// Dep is a step that another one waits for.
type Dep struct {
	Node int    `json:"node"`
	Port string `json:"port,omitempty"` // "", "declined" or "failed"
}

// mostNodes bounds a program.
const mostNodes = 100_000

// Compile makes the program of a plan for a mode. The plans have passed Check.
func Compile(plans []Plan, catalogue Catalogue, name string, mode Mode) (*Program, error) {
	i := slices.IndexFunc(plans, func(p Plan) bool { return p.Name == name })
	if i < 0 {
		return nil, errs.New(errs.NotFound, "there is no plan %q; `perdure plan list` lists them", name)
	}
	p := &plans[i]
	if !slices.Contains(p.Modes, mode) {
		return nil, errs.New(errs.Invalid, "plan %s is not for mode %s, but for %s", name, mode, joined(p.Modes))
	}
	c := compiler{plans: plans, catalogue: catalogue, out: &Program{Plan: p.Name, Title: p.Title, Mode: mode, System: p.System, Tenant: p.Tenant, RTO: time.Duration(p.RTO), Parameters: p.Parameters}}
	if _, err := c.add(p, "", -1, nil); err != nil {
		return nil, err
	}
	return c.out, nil
}

// Closure gives the names of a plan and of all plans that are part of it.
func Closure(plans []Plan, name string) []string {
	var out []string
	var add func(name string)
	add = func(name string) {
		if slices.Contains(out, name) {
			return
		}
		out = append(out, name)
		for i := range plans {
			if plans[i].Name != name {
				continue
			}
			for _, s := range plans[i].Steps {
				if t, ok := plans[i].Templates[s.Use]; ok {
					s = s.with(t)
				}
				if s.Subplan != nil {
					add(s.Subplan.Plan)
				}
			}
		}
	}
	add(name)
	return out
}

type compiler struct {
	plans     []Plan
	catalogue Catalogue
	out       *Program
}

// add puts the steps of a plan into the program and gives the numbers of those that nothing in it waits for.
func (c *compiler) add(p *Plan, scope string, parent int, nesting []string) ([]int, error) {
	if slices.Contains(nesting, p.Name) {
		return nil, errs.New(errs.Invalid, "plan %s is part of itself", p.Name)
	}
	nesting = append(slices.Clone(nesting), p.Name)
	k := checker{plan: p, index: map[string]int{}, steps: p.merged()}
	for i := range k.steps {
		k.index[k.steps[i].ID] = i
	}
	number := make([]int, len(k.steps)) // of each step's node
	for _, i := range k.order() {
		s := k.steps[i]
		n := Node{ID: scope + s.ID, Scope: scope, Local: s.ID, Parent: parent}
		n.After = k.deps(i, number)
		if err := c.complete(&n, &s); err != nil {
			return nil, err
		}
		s.After, s.Use = nil, ""
		n.Step = s
		if len(c.out.Nodes) == mostNodes {
			return nil, errs.New(errs.Invalid, "plan %s has more than %d steps with its subplans", c.out.Plan, mostNodes)
		}
		number[i] = len(c.out.Nodes)
		c.out.Nodes = append(c.out.Nodes, n)
		if s.Subplan == nil {
			continue
		}
		j := slices.IndexFunc(c.plans, func(p Plan) bool { return p.Name == s.Subplan.Plan })
		if j < 0 {
			return nil, errs.New(errs.NotFound, "step %s: there is no plan %s", n.ID, s.Subplan.Plan)
		}
		sub := &c.plans[j]
		node := &c.out.Nodes[number[i]]
		node.Parameters, node.Outputs = sub.Parameters, sub.Outputs
		if _, err := c.add(sub, n.ID+"/", number[i], nesting); err != nil {
			return nil, err
		}
	}
	return number, nil
}

// merged are the steps with their templates.
func (p *Plan) merged() []Step {
	steps := slices.Clone(p.Steps)
	for i := range steps {
		if use := steps[i].Use; use != "" {
			steps[i] = steps[i].with(p.Templates[use])
		}
	}
	return steps
}

// notifyTimeout is that of a note where its step has none.
const notifyTimeout = 30 * time.Second

// complete fills in what follows from the actions and from the mode.
func (c *compiler) complete(n *Node, s *Step) error {
	n.Timeout = time.Duration(s.Timeout)
	call := s.Act
	if call == nil {
		call = s.Check
	}
	if call == nil {
		if s.Notify != nil && n.Timeout == 0 {
			n.Timeout = notifyTimeout
		}
		return nil
	}
	a := c.catalogue.Find(call.Driver, call.Action)
	if a == nil {
		return errs.New(errs.Invalid, "step %s: driver %s has no action %s", n.ID, call.Driver, call.Action)
	}
	n.Looks = a.Looks
	if n.Timeout == 0 {
		n.Timeout = a.Timeout
	}
	return nil
}

// deps gives what a step waits for, by the numbers of the nodes.
func (c *checker) deps(i int, number []int) []Dep {
	s := &c.steps[i]
	if s.After == nil {
		if i == 0 {
			return nil
		}
		return []Dep{{Node: number[i-1]}}
	}
	var out []Dep
	for _, word := range *s.After {
		id, port := splitPort(word)
		out = append(out, Dep{Node: number[c.index[id]], Port: port})
	}
	return out
}

// order gives the steps so that each comes after all that it waits for, else as they stand in the document.
func (c *checker) order() []int {
	var out []int
	placed := make([]bool, len(c.steps))
	var visit func(i int)
	visit = func(i int) {
		if placed[i] {
			return
		}
		placed[i] = true
		for _, j := range c.before(i) {
			visit(j)
		}
		out = append(out, i)
	}
	for i := range c.steps {
		visit(i)
	}
	return out
}

// Includes reports whether a step, and the subplans that it lies in, are done in the program's mode.
func (p *Program) Includes(i int) bool {
	for ; i >= 0; i = p.Nodes[i].Parent {
		if modes := p.Nodes[i].Step.Modes; len(modes) > 0 && !slices.Contains(modes, p.Mode) {
			return false
		}
	}
	return true
}

// Bind holds given parameters against those of the program, and fills in the defaults.
func (p *Program) Bind(given map[string]any) (map[string]any, error) {
	return bind(p.Parameters, given, "plan "+p.Plan)
}

// Bind is the same for a plan.
func (p *Plan) Bind(given map[string]any) (map[string]any, error) {
	return bind(p.Parameters, given, "plan "+p.Name)
}

// Bind is the same for the parameters of a subplan.
func (n *Node) Bind(given map[string]any) (map[string]any, error) {
	return bind(n.Parameters, given, "plan "+n.Step.Subplan.Plan)
}

func bind(parameters []Parameter, given map[string]any, what string) (map[string]any, error) {
	out := map[string]any{}
	for _, name := range names(given) {
		i := slices.IndexFunc(parameters, func(p Parameter) bool { return p.Name == name })
		if i < 0 {
			return nil, errs.New(errs.Invalid, "%s has no parameter %s", what, name)
		}
		if err := parameters[i].Accepts(given[name]); err != nil {
			return nil, errs.New(errs.Invalid, "parameter %s of %s: %w (allowed: %s)", name, what, err, parameters[i].allowed())
		}
		out[name] = asJSON(given[name])
	}
	for _, p := range parameters {
		if _, ok := out[p.Name]; ok {
			continue
		}
		if p.Required {
			return nil, errs.New(errs.Invalid, "parameter %s of %s is missing (allowed: %s)", p.Name, what, p.allowed())
		}
		out[p.Name] = asJSON(p.Default)
		if p.Default == nil {
			out[p.Name] = p.Type.zero()
		}
	}
	return out, nil
}

func (t ParameterType) zero() any {
	switch t {
	case Number:
		return float64(0)
	case Boolean:
		return false
	case Duration:
		return "0s"
	case Text, Choice:
	}
	return ""
}

// foresee visits the steps that a run in the mode may do, with what their expressions can know before it. known is false where the parameters of
// the step's subplan are computed from what a step found.
func (p *Program) foresee(params map[string]any, visit func(n *Node, scope Scope, known bool)) {
	scopes, out := map[string]map[string]any{"": params}, make([]bool, len(p.Nodes))
	for i := range p.Nodes {
		n := &p.Nodes[i]
		out[i] = n.Parent >= 0 && out[n.Parent] || len(n.Step.Modes) > 0 && !slices.Contains(n.Step.Modes, p.Mode)
		if out[i] {
			continue
		}
		given, known := scopes[n.Scope]
		scope := Scope{Params: given, Run: map[string]any{"mode": string(p.Mode), "plan": p.Plan}, Step: func(string) (map[string]any, bool) { return nil, false }}
		if n.Step.Subplan != nil {
			// What cannot be said now leaves its steps without parameters that are known.
			if with, err := Fill(n.Step.Subplan.With, scope); known && err == nil {
				if bound, err := n.Bind(with.(map[string]any)); err == nil {
					scopes[n.ID+"/"] = bound
				}
			}
		}
		visit(n, scope, known)
	}
}

// Targets gives what a driver, or any where none is named, acts on in a run with the parameters, each once. all is false where some of it is known only while it runs:
// it is computed from what a step found.
func (p *Program) Targets(driver string, params map[string]any) (targets []string, all bool) {
	return p.TargetsOf(params, func(n *Node) bool { return driver == "" || n.Step.Act.Driver == driver })
}

// TargetsOf is Targets of the actions for which of is true.
func (p *Program) TargetsOf(params map[string]any, of func(n *Node) bool) (targets []string, all bool) {
	all = true
	p.foresee(params, func(n *Node, scope Scope, known bool) {
		if n.Step.Act == nil || !of(n) {
			return
		}
		target, err := FillText(n.Step.Act.Target, scope)
		switch {
		case !known && len(placeholders(n.Step.Act.Target)) > 0, err != nil:
			all = false
		case !slices.Contains(targets, target):
			targets = append(targets, target)
		}
	})
	return targets, all
}

// Precheck is a look that can be made before a run, in the place of one of its steps.
type Precheck struct {
	// Step is the ID of the step, Call what is looked at, with everything filled in; nil: it cannot be looked at yet.
	Step string
	Call *Call
	// Unknown says why it cannot be looked at yet.
	Unknown string
	scope   Scope
}

// Prechecks gives the precheck of each step that has one, and each check. A step that is passed over with these parameters has none. Parameters may
// be missing: what needs them cannot be looked at yet, as what needs to know what an earlier step found.
func (p *Program) Prechecks(params map[string]any) []Precheck {
	var list []Precheck
	p.foresee(params, func(n *Node, scope Scope, known bool) {
		call := n.Step.Precheck
		if call == nil {
			call = n.Step.Check
		}
		if call == nil {
			return
		}
		if n.Step.When != "" {
			if holds, err := Holds(n.Step.When, scope); err == nil && !holds {
				return
			}
		}
		look := Precheck{Step: n.ID, scope: scope}
		filled, err := call.Filled(scope)
		switch {
		case err != nil:
			look.Unknown = err.Error()
		case !known && (len(placeholders(call.Target)) > 0 || len(call.With) > 0):
			look.Unknown = "the parameters of its plan are known only while it runs"
		default:
			look.Call = filled
		}
		list = append(list, look)
	})
	return list
}

// Judge says what speaks against what was found; empty: nothing.
func (l *Precheck) Judge(result map[string]any) string {
	if l.Call.Expect == "" {
		return ""
	}
	scope := l.scope
	scope.Result = result
	switch holds, err := Holds(l.Call.Expect, scope); {
	case err != nil:
		return err.Error()
	case !holds:
		return "it is not as expected: " + l.Call.Expect
	}
	return ""
}

// Filled is the call with its expressions filled in.
func (c *Call) Filled(s Scope) (*Call, error) {
	filled := *c
	var err error
	if filled.Target, err = FillText(c.Target, s); err != nil {
		return nil, err
	}
	with, err := Fill(c.With, s)
	if err != nil {
		return nil, err
	}
	filled.With, _ = with.(map[string]any)
	return &filled, nil
}

// Known binds the parameters that are given, and the defaults of the others; missing are those that a start needs and that have neither.
func (p *Program) Known(given map[string]any) (params map[string]any, missing []string, err error) {
	var rest []Parameter
	for _, one := range p.Parameters {
		if _, ok := given[one.Name]; one.Required && !ok {
			missing = append(missing, one.Name)
			continue
		}
		rest = append(rest, one)
	}
	params, err = bind(rest, given, "plan "+p.Plan)
	return params, missing, err
}

// String names the node for people.
func (n *Node) String() string {
	if n.Step.Title != "" {
		return fmt.Sprintf("%s (%s)", n.ID, n.Step.Title)
	}
	return n.ID
}

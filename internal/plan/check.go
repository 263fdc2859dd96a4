package plan

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"
)

// Tell takes a problem of the field of a plan; allowed is empty where the reason says it.
type Tell func(plan int, field, allowed, reason string)

// Check holds plans against each other, against what drivers can do and against the contract of their modes. They have passed their
// shape. What is told here keeps a plan from being taken in.
func Check(plans []Plan, catalogue Catalogue, tell Tell) {
	c := checker{plans: plans, catalogue: catalogue, byName: map[string]int{}}
	for i := range plans {
		if plans[i].Name != "" { // where it is broken it was told
			c.byName[plans[i].Name] = i
		}
	}
	for i := range plans {
		c.plan, c.tell = &plans[i], func(field, allowed, format string, args ...any) {
			tell(i, field, allowed, fmt.Sprintf(format, args...))
		}
		c.checkPlan()
	}
	c.checkNesting(tell)
}

type checker struct {
	plans     []Plan
	byName    map[string]int
	catalogue Catalogue

	plan  *Plan
	steps []Step         // with their templates
	index map[string]int // of steps by id
	doing []Mode         // in which the step is done of which references are checked; nil: all
	tell  func(field, allowed, format string, args ...any)
}

func (c *checker) checkPlan() {
	c.unique("modes", c.plan.Modes)
	c.checkParameters("parameters", c.plan.Parameters)
	c.index = map[string]int{}
	c.steps = make([]Step, len(c.plan.Steps))
	for i, s := range c.plan.Steps {
		at := fmt.Sprintf("steps[%d]", i)
		if first, again := c.index[s.ID]; again {
			c.tell(at+".id", "", "there is a step %s already: steps[%d]", s.ID, first)
		} else {
			c.index[s.ID] = i
		}
		if s.Use != "" {
			t, ok := c.plan.Templates[s.Use]
			if !ok {
				c.tell(at+".use", strings.Join(names(c.plan.Templates), ", "), "there is no template %s", s.Use)
			} else if t.Use != "" {
				c.tell("templates."+s.Use+".use", "", "a template does not use another one")
			}
			s = s.with(t)
		}
		c.steps[i] = s
	}
	for i := range c.steps {
		c.checkStep(fmt.Sprintf("steps[%d]", i), i)
	}
	if len(c.steps) > mostSteps { // its shape was told; what follows takes memory by the square
		return
	}
	c.checkCycle()
	c.checkReferences()
	for _, mode := range c.plan.Modes {
		c.checkContract(mode)
	}
	c.checkArmed()
}

func (c *checker) checkArmed() {
	for i, a := range c.plan.Armed {
		at := fmt.Sprintf("armed[%d]", i)
		if slices.ContainsFunc(c.plan.Armed[:i], func(o Armed) bool { return o.Name == a.Name }) {
			c.tell(at+".name", "", "there is a %s already", a.Name)
		}
		if !slices.Contains(c.plan.Modes, a.Mode) {
			c.tell(at+".mode", joined(c.plan.Modes), "the plan is not for mode %s", a.Mode)
		}
		if _, err := c.plan.Bind(a.Parameters); err != nil {
			c.tell(at+".parameters", "", "%v", err)
		}
	}
}

// with takes what the step does not say from a template. What kind of step it is comes from one of the two.
func (s Step) with(t Step) Step {
	own := s.Kind() != ""
	s.Title = first(s.Title, t.Title)
	s.System = first(s.System, t.System)
	if s.After == nil {
		s.After = t.After
	}
	s.When = first(s.When, t.When)
	if s.Modes == nil {
		s.Modes = t.Modes
	}
	if s.Timeout == 0 {
		s.Timeout = t.Timeout
	}
	if s.Retry == nil {
		s.Retry = t.Retry
	}
	s.OnFailure = first(s.OnFailure, t.OnFailure)
	if s.Locks == nil {
		s.Locks = t.Locks
	}
	s.Cleanup = s.Cleanup || t.Cleanup
	if !own {
		s.Act, s.Check, s.Manual, s.Approval, s.Wait, s.Notify, s.Subplan = t.Act, t.Check, t.Manual, t.Approval, t.Wait, t.Notify, t.Subplan
	}
	if s.Undo == nil {
		s.Undo = t.Undo
	}
	if s.Precheck == nil {
		s.Precheck = t.Precheck
	}
	if s.Outputs == nil {
		s.Outputs = t.Outputs
	}
	return s
}

func first[T ~string](a, b T) T {
	if a != "" {
		return a
	}
	return b
}

func (c *checker) unique(field string, list []Mode) {
	for i, m := range list {
		if slices.Contains(list[:i], m) {
			c.tell(fmt.Sprintf("%s[%d]", field, i), "", "%s stands twice", m)
		}
	}
}

func (c *checker) checkParameters(field string, list []Parameter) {
	for i, p := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		if slices.ContainsFunc(list[:i], func(o Parameter) bool { return o.Name == p.Name }) {
			c.tell(at+".name", "", "there is a %s already", p.Name)
		}
		if p.Type == Choice && len(p.Of) == 0 {
			c.tell(at+".of", "", "a choice needs its values")
		}
		if p.Type != Choice && len(p.Of) > 0 {
			c.tell(at+".of", "", "only a choice has values to choose from, this is a %s", p.Type)
		}
		if p.Required && p.Default != nil {
			c.tell(at+".default", "", "what has to be given has no default")
		}
		if p.Default != nil {
			if err := p.Accepts(p.Default); err != nil {
				c.tell(at+".default", p.allowed(), "%v", err)
			}
		}
	}
}

func (c *checker) checkStep(at string, i int) {
	s := &c.steps[i]
	given := 0
	for _, is := range []bool{s.Act != nil, s.Check != nil, s.Manual != nil, s.Approval != nil, s.Wait != nil, s.Notify != nil, s.Subplan != nil} {
		if is {
			given++
		}
	}
	if given != 1 {
		c.tell(at, "act, check, manual, approval, wait, notify, subplan", "%d of the fields stand where exactly one belongs", given)
		return
	}
	kind := s.Kind()
	for n, m := range s.Modes {
		if !slices.Contains(c.plan.Modes, m) {
			c.tell(fmt.Sprintf("%s.modes[%d]", at, n), joined(c.plan.Modes), "the plan is not for mode %s", m)
		}
	}
	c.unique(at+".modes", s.Modes)
	c.checkAfter(at, i)
	switch kind {
	case ActStep:
		c.checkCall(at+".act", s.Act, false)
	case CheckStep:
		c.checkCall(at+".check", s.Check, true)
	case ManualStep:
		c.checkParameters(at+".manual.fields", s.Manual.Fields)
	case ApprovalStep:
		if s.Approval.Order == Serial && s.Approval.Need > len(s.Approval.Of) {
			c.tell(at+".approval.need", fmt.Sprintf("at most %d", len(s.Approval.Of)), "%d people are needed, and %d are asked one after the other", s.Approval.Need, len(s.Approval.Of))
		}
	case SubplanStep:
		c.checkSubplan(at, s)
	case WaitStep:
		if s.Wait.Until != "" && s.Timeout == 0 {
			c.tell(at+".timeout", "a length of time", "a wait for a condition has to end: it needs a timeout")
		}
	case NotifyStep:
	}
	if s.Undo != nil {
		if kind != ActStep {
			c.tell(at+".undo", "", "only what acts can be undone, this is a step of kind %s", kind)
		}
		c.checkCall(at+".undo", s.Undo, false)
	}
	if s.Precheck != nil {
		if kind != ActStep {
			c.tell(at+".precheck", "", "only what acts has a precheck, this is a step of kind %s", kind)
		}
		c.checkCall(at+".precheck", s.Precheck, true)
	}
	if s.Retry != nil && kind != ActStep && kind != CheckStep && kind != NotifyStep {
		c.tell(at+".retry", "", "a step of kind %s is not repeated", kind)
	}
	if s.OnFailure == Compensate && kind != ActStep && kind != CheckStep {
		c.tell(at+".onFailure", map[bool]string{true: "stop, ask", false: "stop, ask, continue"}[kind == ApprovalStep], "compensate is for steps of kind act and check")
	}
	if s.Outputs != nil && kind == ManualStep {
		c.tell(at+".outputs", "", "what is filled in is what later steps may use, by the names of fields")
	} else if s.Outputs != nil && kind != ActStep && kind != CheckStep {
		c.tell(at+".outputs", "", "a step of kind %s has no result", kind)
	}
	// What nobody looks at is not taken in: a lock that does not lock is worse than none.
	if len(s.Locks) > 0 && kind != ActStep && kind != CheckStep && kind != NotifyStep {
		c.tell(at+".locks", "", "a step of kind %s holds no locks: they are for steps of kind act, check and notify", kind)
	}
	if s.Timeout != 0 && (kind == SubplanStep || kind == WaitStep && s.Wait.Until == "") {
		c.tell(at+".timeout", "", "it bounds nothing here: %s", map[StepKind]string{SubplanStep: "the steps of the plan have their own", WaitStep: "the wait ends by itself"}[kind])
	}
	if s.OnFailure == Continue && kind == ApprovalStep {
		c.tell(at+".onFailure", "stop, ask", "what waits for an approval does not go on without it")
	}
}

func (c *checker) checkAfter(at string, i int) {
	s := &c.steps[i]
	if s.After == nil {
		return
	}
	for n, word := range *s.After {
		field := fmt.Sprintf("%s.after[%d]", at, n)
		id, port := splitPort(word)
		j, ok := c.index[id]
		switch {
		case !ok:
			c.tell(field, "", "there is no step %s", id)
		case j == i:
			c.tell(field, "", "a step cannot wait for itself")
		case port == portDeclined && c.steps[j].Kind() != ApprovalStep:
			c.tell(field, "", "only an approval can be declined, %s is a step of kind %s", id, c.steps[j].Kind())
		case port == portFailed && c.steps[j].OnFailure != Continue:
			c.tell(field, "", "the run goes on after a failure of %s only with onFailure: continue", id)
		}
		for _, other := range (*s.After)[:n] {
			if same, _ := splitPort(other); other == word {
				c.tell(field, "", "%s stands twice", word)
			} else if same == id {
				c.tell(field, "", "it waits for %s already: no step ends both ways", other)
			}
		}
	}
}

func (c *checker) checkCall(at string, call *Call, looks bool) {
	if drivers := c.catalogue.Drivers(); !slices.Contains(drivers, call.Driver) {
		c.tell(at+".driver", strings.Join(drivers, ", "), "there is no driver %s", call.Driver)
		return
	}
	a := c.catalogue.Find(call.Driver, call.Action)
	switch {
	case a == nil || looks && !a.Looks:
		reason := "driver %s has no action %s"
		if a != nil {
			reason = "%[2]s of driver %[1]s changes something, and this only looks"
		}
		c.tell(at+".action", strings.Join(c.catalogue.Actions(call.Driver, looks), ", "), reason, call.Driver, call.Action)
		return
	case a.Target == "" && call.Target != "":
		c.tell(at+".target", "", "%s has no target", call.Action)
	case a.Target != "" && call.Target == "":
		c.tell(at+".target", a.Target, "missing")
	}
	c.checkWith(at+".with", call.With, a.With)
}

// checkWith holds given values against parameters; what is an expression is judged when it has a value.
func (c *checker) checkWith(at string, given map[string]any, parameters []Parameter) {
	for _, name := range names(given) {
		i := slices.IndexFunc(parameters, func(p Parameter) bool { return p.Name == name })
		if i < 0 {
			var known []string
			for _, p := range parameters {
				known = append(known, p.Name)
			}
			c.tell(at+"."+name, strings.Join(known, ", "), "there is no parameter %s", name)
			continue
		}
		if text, ok := given[name].(string); ok && len(placeholders(text)) > 0 {
			continue
		}
		if err := parameters[i].Accepts(given[name]); err != nil {
			c.tell(at+"."+name, parameters[i].allowed(), "%v", err)
		}
	}
	for _, p := range parameters {
		if _, ok := given[p.Name]; p.Required && !ok {
			c.tell(at+"."+p.Name, p.allowed(), "missing")
		}
	}
}

func (c *checker) checkSubplan(at string, s *Step) {
	r := s.Subplan
	i, ok := c.byName[r.Plan]
	if !ok {
		c.tell(at+".subplan.plan", strings.Join(names(c.byName), ", "), "there is no plan %s", r.Plan)
		return
	}
	sub := &c.plans[i]
	modes := c.plan.Modes
	if len(s.Modes) > 0 {
		modes = s.Modes
	}
	for _, m := range modes {
		if !slices.Contains(sub.Modes, m) {
			c.tell(at+".subplan.plan", "", "plan %s is not for mode %s", sub.Name, m)
		}
	}
	c.checkWith(at+".subplan.with", r.With, sub.Parameters)
}

// checkCycle tells of steps that wait for each other.
func (c *checker) checkCycle() {
	state := make([]int, len(c.steps)) // 1: under way, 2: done
	var path []string
	var visit func(i int) bool
	visit = func(i int) bool {
		switch state[i] {
		case 2:
			return true
		case 1:
			from := slices.Index(path, c.steps[i].ID)
			c.tell(fmt.Sprintf("steps[%d].after", i), "", "steps wait for each other: %s", strings.Join(append(path[from:], c.steps[i].ID), " waits for "))
			return false
		}
		state[i] = 1
		path = append(path, c.steps[i].ID)
		for _, j := range c.before(i) {
			if !visit(j) {
				return false
			}
		}
		path = path[:len(path)-1]
		state[i] = 2
		return true
	}
	for i := range c.steps {
		if !visit(i) {
			return
		}
	}
}

// before gives the steps that one waits for.
func (c *checker) before(i int) []int {
	s := &c.steps[i]
	if s.After == nil {
		if i == 0 {
			return nil
		}
		return []int{i - 1}
	}
	var out []int
	for _, word := range *s.After {
		id, _ := splitPort(word)
		if j, ok := c.index[id]; ok && j != i {
			out = append(out, j)
		}
	}
	return out
}

// checkReferences compiles every expression, and asks of what it looks at whether it can be there by then.
func (c *checker) checkReferences() {
	ahead := c.ahead()
	for i := range c.steps {
		at := fmt.Sprintf("steps[%d]", i)
		s := &c.steps[i]
		c.doing = c.modesOf(i)
		expect := func(field, text string, roots ...string) { c.checkExpression(at+field, text, ahead[i], roots) }
		text := func(field, text string) {
			c.checkText(at+field, text, ahead[i], []string{paramsName, stepsName, runName})
		}
		condition := func(field, cond string) {
			if cond == "" {
				return
			}
			text(field, cond)
			c.checkCompiled(at+field, compileCondition, cond, ahead[i], []string{paramsName, stepsName, factsName, runName})
		}
		condition(".when", s.When)
		for n, lock := range s.Locks {
			text(fmt.Sprintf(".locks[%d]", n), lock)
		}
		for _, call := range []struct {
			field string
			call  *Call
		}{{".act", s.Act}, {".check", s.Check}, {".precheck", s.Precheck}} {
			if call.call == nil {
				continue
			}
			text(call.field+".target", call.call.Target)
			eachText(call.field+".with", call.call.With, text)
			expect(call.field+".expect", call.call.Expect, paramsName, stepsName, resultName, runName)
		}
		if s.Undo != nil { // it sees what the step gave
			own := slices.Clone(ahead[i])
			own.set(i)
			undo := func(field, text string) {
				c.checkText(at+field, text, own, []string{paramsName, stepsName, resultName, runName})
			}
			undo(".undo.target", s.Undo.Target)
			eachText(".undo.with", s.Undo.With, undo)
			c.checkExpression(at+".undo.expect", s.Undo.Expect, own, []string{paramsName, stepsName, resultName, runName})
		}
		switch s.Kind() {
		case ManualStep:
			text(".manual.instruction", s.Manual.Instruction)
		case ApprovalStep:
			text(".approval.text", s.Approval.Text)
		case NotifyStep:
			text(".notify.text", s.Notify.Text)
		case WaitStep:
			condition(".wait.until", s.Wait.Until)
		case SubplanStep:
			eachText(".subplan.with", s.Subplan.With, text)
		case ActStep, CheckStep:
		}
		for _, name := range names(s.Outputs) {
			expect(".outputs."+name, s.Outputs[name], paramsName, stepsName, resultName, runName)
		}
	}
	c.doing = nil
	for _, name := range names(c.plan.Outputs) {
		c.checkExpression("outputs."+name, c.plan.Outputs[name], nil, []string{paramsName, stepsName, runName})
	}
}

// modesOf are those in which a step is done.
func (c *checker) modesOf(i int) []Mode {
	if modes := c.steps[i].Modes; len(modes) > 0 {
		return modes
	}
	return c.plan.Modes
}

// eachText goes through everything nested in v.
func eachText(field string, v any, on func(field, text string)) {
	switch v := v.(type) {
	case string:
		on(field, v)
	case map[string]any:
		for _, name := range names(v) {
			eachText(field+"."+name, v[name], on)
		}
	case []any:
		for i, item := range v {
			eachText(fmt.Sprintf("%s[%d]", field, i), item, on)
		}
	}
}

// ahead gives for each step those that are settled before it begins, whatever happens. Where there is a cycle it gives less.
func (c *checker) ahead() []bits {
	out := make([]bits, len(c.steps))
	var visit func(i int) bits
	visit = func(i int) bits {
		if out[i] != nil {
			return out[i]
		}
		out[i] = make(bits, (len(c.steps)+63)/64)
		for _, j := range c.before(i) {
			out[i].add(visit(j))
			out[i].set(j)
		}
		return out[i]
	}
	for i := range c.steps {
		visit(i)
	}
	return out
}

// bits is a set of steps.
type bits []uint64

func (b bits) set(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bits) has(i int) bool { return b == nil || b[i/64]&(1<<(i%64)) != 0 } // nil: all
func (b bits) add(o bits) {
	for i := range o {
		b[i] |= o[i]
	}
}

// checkText checks what stands in ${…}.
func (c *checker) checkText(field, text string, ahead bits, roots []string) {
	for _, e := range placeholders(text) {
		c.checkCompiled(field, compileExpression, e, ahead, roots)
	}
	if strings.Contains(placeholder.ReplaceAllString(text, ""), "${") {
		c.tell(field, "", "${ stands without its }")
	}
}

func (c *checker) checkExpression(field, text string, ahead bits, roots []string) {
	if text != "" {
		c.checkCompiled(field, compileExpression, text, ahead, roots)
	}
}

func (c *checker) checkCompiled(field string, compile func(string) (*compiled, error), text string, ahead bits, roots []string) {
	e, err := compile(text)
	if err != nil {
		c.tell(field, "", "the expression cannot be read: %v", err)
		return
	}
	for _, r := range e.refs {
		switch {
		case !slices.Contains(roots, r.root):
			c.tell(field, strings.Join(roots, ", "), "%s is not known here", r.root)
		case r.whole && (r.root == stepsName || r.root == factsName):
			c.tell(field, "", "which of %s is meant has to be written out, as in %s", r.root, map[string]string{stepsName: "steps.before", factsName: `facts["unit/u1"]`}[r.root])
		case r.whole:
		case r.root == paramsName && !slices.ContainsFunc(c.plan.Parameters, func(p Parameter) bool { return p.Name == r.name }):
			c.tell(field, "", "the plan has no parameter %s", r.name)
		case r.root == stepsName:
			j, ok := c.index[r.name]
			if !ok {
				c.tell(field, "", "there is no step %s", r.name)
			} else if !ahead.has(j) {
				c.tell(field, "", "step %s may not be done by then: it does not stand before in the order of after", r.name)
			} else if of := c.modesOf(j); c.doing != nil && !slices.ContainsFunc(c.doing, func(m Mode) bool { return slices.Contains(of, m) }) {
				c.tell(field, "", "step %s is never done in a mode of this step: it is for %s, and this one for %s", r.name, joined(of), joined(c.doing))
			}
		case r.root == runName && !slices.Contains(runFields, r.name):
			c.tell(field, strings.Join(runFields, ", "), "run has no %s", r.name)
		}
	}
}

// runFields are what an expression may ask of the run.
var runFields = []string{"id", "mode", "plan", "startedBy"}

// checkNesting tells of plans that are part of themselves, or too large with what is part of them.
func (c *checker) checkNesting(tell Tell) {
	state := make([]int, len(c.plans))
	size := make([]int, len(c.plans)) // steps, with those of subplans
	var path []string
	var visit func(i int)
	visit = func(i int) {
		state[i] = 1
		path = append(path, c.plans[i].Name)
		for n, s := range c.plans[i].Steps {
			if s.Subplan == nil && s.Use != "" {
				s = s.with(c.plans[i].Templates[s.Use])
			}
			if s.Subplan == nil {
				continue
			}
			j, ok := c.byName[s.Subplan.Plan]
			if !ok {
				continue
			}
			if state[j] == 0 {
				visit(j)
			}
			size[i] = min(size[i]+size[j], mostNodes+1)
			if state[j] == 1 {
				from := slices.Index(path, c.plans[j].Name)
				tell(i, fmt.Sprintf("steps[%d].subplan.plan", n), "", "plans are part of themselves: "+strings.Join(append(slices.Clone(path[from:]), c.plans[j].Name), " contains "))
			}
		}
		path = path[:len(path)-1]
		state[i] = 2
		size[i] = min(size[i]+len(c.plans[i].Steps), mostNodes+1)
		if size[i] > mostNodes {
			tell(i, "steps", fmt.Sprintf("at most %d", mostNodes), "there are too many steps, with those of the plans that are part of it")
		}
	}
	for i := range c.plans {
		if state[i] == 0 {
			visit(i)
		}
	}
}

// checkContract holds the steps of one mode against its row. In a mode that is not strict what breaks the row is shown at its start.
func (c *checker) checkContract(mode Mode) {
	row := ContractOf(mode)
	if !row.Strict {
		return
	}
	for _, b := range c.breaks(row) {
		c.tell(b.field, "", "%s", b.reason)
	}
}

// breach is what breaks the contract of a mode; step is its number in the checker's steps.
type breach struct {
	step          int
	field, reason string
}

func (c *checker) breaks(row Contract) []breach {
	var out []breach
	leaves, leaver, cleans := "", 0, false
	later := c.later()
	for i := range c.steps {
		s := &c.steps[i]
		if len(s.Modes) > 0 && !slices.Contains(s.Modes, row.Mode) {
			continue
		}
		cleans = cleans || s.Cleanup
		for _, part := range []struct {
			field string
			call  *Call
		}{{"act", s.Act}, {"check", s.Check}, {"undo", s.Undo}, {"precheck", s.Precheck}} {
			if part.call == nil {
				continue
			}
			a := c.catalogue.Find(part.call.Driver, part.call.Action)
			if a == nil {
				continue
			}
			at := fmt.Sprintf("steps[%d].%s", i, part.field)
			if why := row.Breaks(a); why != "" {
				out = append(out, breach{i, at, fmt.Sprintf("%s of driver %s %s: a run in mode %s may not", a.Name, a.Driver, why, row.Mode)})
			}
			if a.Touches.Cleaner != "" && !c.cleans(row.Mode, i, part.call, a.Touches.Cleaner, later) {
				out = append(out, breach{i, at, fmt.Sprintf("it leaves something behind, and no cleanup step of mode %s does %s of driver %s for %s with the same parameters, after it, on no condition (when) and without onFailure: continue", row.Mode, a.Touches.Cleaner, a.Driver, part.call.Target)})
			} else if a.Touches.Leaves && leaves == "" {
				leaves, leaver = at, i
			}
		}
	}
	if leaves != "" && !cleans {
		out = append(out, breach{leaver, leaves, fmt.Sprintf("it leaves something behind, and no step of mode %s is a cleanup", row.Mode)})
	}
	return out
}

// later tells which of two steps comes after the other, whatever happens. The steps of a program stand in their order already.
func (c *checker) later() func(j, i int) bool {
	if c.index == nil {
		return func(j, i int) bool { return j > i }
	}
	ahead := sync.OnceValue(c.ahead) // few plans leave anything behind, and large ones have large sets
	return func(j, i int) bool { return ahead()[j].has(i) }
}

// cleans reports whether a cleanup step of the mode removes what a call of step i leaves behind. It counts where nothing lets it be passed over,
// come too early or fail unseen.
func (c *checker) cleans(mode Mode, i int, call *Call, action string, later func(j, i int) bool) bool {
	for j := range c.steps {
		s := &c.steps[j]
		if s.Cleanup && s.Act != nil && (len(s.Modes) == 0 || slices.Contains(s.Modes, mode)) && later(j, i) && s.When == "" && s.OnFailure != Continue &&
			s.Act.Driver == call.Driver && s.Act.Action == action && s.Act.Target == call.Target && maps.EqualFunc(s.Act.With, call.With, func(x, y any) bool { return fmt.Sprint(x) == fmt.Sprint(y) }) {
			return true
		}
	}
	return false
}

// Accepts says why a value cannot be that of the parameter.
func (p *Parameter) Accepts(v any) error {
	switch p.Type {
	case Text:
		if _, ok := v.(string); !ok {
			return fmt.Errorf("%v is not text", v)
		}
	case Number:
		if _, ok := number(v); !ok {
			return fmt.Errorf("%v is not a number", v)
		}
	case Boolean:
		if _, ok := v.(bool); !ok {
			return fmt.Errorf("%v is neither true nor false", v)
		}
	case Duration:
		text, ok := v.(string)
		if !ok {
			return fmt.Errorf("%v is not a length of time", v)
		}
		if _, err := time.ParseDuration(text); err != nil {
			return fmt.Errorf("%q is not a length of time", text)
		}
	case Choice:
		if text, ok := v.(string); !ok || !slices.Contains(p.Of, text) {
			return fmt.Errorf("%v is not one of the values", v)
		}
	}
	return nil
}

// number gives a number as JSON gives it back. What is infinite has no place there.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case uint64:
		return float64(v), true
	case float64:
		return v, !math.IsNaN(v) && !math.IsInf(v, 0)
	}
	return 0, false
}

func (p *Parameter) allowed() string {
	switch p.Type {
	case Choice:
		return strings.Join(p.Of, ", ")
	case Duration:
		return "a length of time such as 30s"
	case Boolean:
		return "true, false"
	case Number:
		return "a number"
	case Text:
	}
	return "text"
}

// What a step may wait for beside that another one is done.
const (
	portDone     = ""
	portDeclined = "declined"
	portFailed   = "failed"
)

func splitPort(word string) (id, port string) {
	id, port, _ = strings.Cut(word, ".")
	return id, port
}

func names[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for name := range m {
		out = append(out, name)
	}
	sort.Strings(out)
	return out
}

func joined(modes []Mode) string {
	words := make([]string, len(modes))
	for i, m := range modes {
		words[i] = string(m)
	}
	return strings.Join(words, ", ")
}

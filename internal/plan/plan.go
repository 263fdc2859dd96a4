package plan

import (
	"perdure/internal/estate"
	"perdure/internal/shape"
)

// Mode is what kind of run a plan is for; a closed list. Each has its row in the contract.
type Mode string

// The modes. The first three are those of the continuity solution (模拟演练, 主动接管, 紧急切换).
const (
	Drill        Mode = "drill"
	Takeover     Mode = "takeover"
	Emergency    Mode = "emergency"
	SwitchBack   Mode = "switch-back"
	Failover     Mode = "failover"
	Move         Mode = "move"
	Experiment   Mode = "experiment"
	Verification Mode = "verification"
	Inspection   Mode = "inspection"
	Change       Mode = "change"
)

// Modes are all of them, in the order of the contract.
func Modes() []Mode {
	return []Mode{Drill, Takeover, Emergency, SwitchBack, Failover, Move, Experiment, Verification, Inspection, Change}
}

// Real reports whether a run of the mode changes what the business works with; else it is an exercise, or only looks.
func (m Mode) Real() bool {
	switch m {
	case Drill, Experiment, Verification, Inspection:
		return false
	case Takeover, Emergency, SwitchBack, Failover, Move, Change:
	}
	return true
}

// Plan is a recovery plan 灾难恢复计划, or another plan of something that is done step by step.
type Plan struct {
	Name  string `yaml:"name" json:"name"`
	Title string `yaml:"title,omitempty" json:"title,omitempty"`
	// Modes are those in which it may be run.
	Modes  []Mode          `yaml:"modes" json:"modes"`
	System estate.SystemID `yaml:"system,omitempty" json:"system,omitempty"`
	// Tenant is the institution whose plan it is; empty: the platform's own.
	Tenant estate.TenantID `yaml:"tenant,omitempty" json:"tenant,omitempty"`
	// RTO is the recovery time objective that the plan has to meet, from the point of disruption; 0: none.
	RTO        shape.Duration  `yaml:"rto,omitempty" json:"rto,omitempty"`
	Parameters []Parameter     `yaml:"parameters,omitempty" json:"parameters,omitempty"`
	Templates  map[string]Step `yaml:"templates,omitempty" json:"templates,omitempty"`
	Steps      []Step          `yaml:"steps" json:"steps"`
	// Outputs are what a run of the plan gives to the plan it is part of: expressions.
	Outputs map[string]string `yaml:"outputs,omitempty" json:"outputs,omitempty"`
	// Armed are the runs of the plan that have to be able to begin at any moment.
	Armed []Armed `yaml:"armed,omitempty" json:"armed,omitempty"`
}

// Armed is a run that has to be able to begin at any moment: the platform looks ahead at it again and again.
type Armed struct {
	Name       string         `yaml:"name" json:"name"`
	Mode       Mode           `yaml:"mode" json:"mode"`
	Parameters map[string]any `yaml:"parameters,omitempty" json:"parameters,omitempty"`
}

// Complete makes values what JSON gives back: every number is a float64.
func (p *Plan) Complete() {
	all := func(list []Parameter) {
		for i := range list {
			list[i].Default = asJSON(list[i].Default)
		}
	}
	step := func(s *Step) {
		for _, c := range []*Call{s.Act, s.Check, s.Undo, s.Precheck} {
			if c != nil {
				asJSON(c.With)
			}
		}
		if s.Manual != nil {
			all(s.Manual.Fields)
		}
		if s.Subplan != nil {
			asJSON(s.Subplan.With)
		}
	}
	all(p.Parameters)
	for i := range p.Armed {
		asJSON(p.Armed[i].Parameters)
	}
	for i := range p.Steps {
		step(&p.Steps[i])
	}
	for name, s := range p.Templates {
		step(&s)
		p.Templates[name] = s
	}
}

// Plain is a value as it comes back from JSON; maps and lists are changed in place.
func Plain(v any) any { return asJSON(v) }

// asJSON is a value as it comes back from JSON. Maps and lists are changed in place.
func asJSON(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name := range v {
			v[name] = asJSON(v[name])
		}
	case []any:
		for i := range v {
			v[i] = asJSON(v[i])
		}
	default:
		if f, ok := number(v); ok {
			return f
		}
	}
	return v
}

// Parameter is a value that is given when a run starts.
type Parameter struct {
	Name string        `yaml:"name" json:"name"`
	Doc  string        `yaml:"doc,omitempty" json:"doc,omitempty"`
	Type ParameterType `yaml:"type" json:"type"`
	// Of are the values that a choice may take.
	Of       []string `yaml:"of,omitempty" json:"of,omitempty"`
	Required bool     `yaml:"required,omitempty" json:"required,omitempty"`
	Default  any      `yaml:"default,omitempty" json:"default,omitempty"`
}

// ParameterType is the type of a parameter, of a field of a manual task, or of what an action takes and gives.
type ParameterType string

// The types.
const (
	Text     ParameterType = "text"
	Number   ParameterType = "number"
	Boolean  ParameterType = "boolean"
	Duration ParameterType = "duration"
	Choice   ParameterType = "choice"
)

// Step is one thing of a plan. It has exactly one of Act to Subplan.
type Step struct {
	ID    string `yaml:"id" json:"id"`
	Title string `yaml:"title,omitempty" json:"title,omitempty"`
	// System is the one that the step is about; empty: what it acts on says it, or it is that of the plan.
	System estate.SystemID `yaml:"system,omitempty" json:"system,omitempty"`
	// Use names a template, whose fields are taken where the step has none of its own.
	Use string `yaml:"use,omitempty" json:"use,omitempty"`
	// After are the steps it waits for, each as ID, ID.declined or ID.failed. Nil: the step before it in the document; empty: none.
	After *[]string `yaml:"after,omitempty" json:"after,omitempty"`
	// When is an expression; the step is passed over where it is false.
	When string `yaml:"when,omitempty" json:"when,omitempty"`
	// Modes are those in which it is done; empty: all of the plan.
	Modes     []Mode         `yaml:"modes,omitempty" json:"modes,omitempty"`
	Timeout   shape.Duration `yaml:"timeout,omitempty" json:"timeout,omitempty"`
	Retry     *Retry         `yaml:"retry,omitempty" json:"retry,omitempty"`
	OnFailure OnFailure      `yaml:"onFailure,omitempty" json:"onFailure,omitempty"`
	// Locks are names of what no other step, of this run or another one, may use at the same time.
	Locks []string `yaml:"locks,omitempty" json:"locks,omitempty"`
	// Cleanup: the step puts things back, and is done however the run ends.
	Cleanup bool `yaml:"cleanup,omitempty" json:"cleanup,omitempty"`

	Act      *Call      `yaml:"act,omitempty" json:"act,omitempty"`
	Check    *Call      `yaml:"check,omitempty" json:"check,omitempty"`
	Manual   *Manual    `yaml:"manual,omitempty" json:"manual,omitempty"`
	Approval *Approval  `yaml:"approval,omitempty" json:"approval,omitempty"`
	Wait     *Wait      `yaml:"wait,omitempty" json:"wait,omitempty"`
	Notify   *Notify    `yaml:"notify,omitempty" json:"notify,omitempty"`
	Subplan  *Reference `yaml:"subplan,omitempty" json:"subplan,omitempty"`

	// Undo takes back what Act did.
	Undo *Call `yaml:"undo,omitempty" json:"undo,omitempty"`
	// Precheck is what can be looked at beforehand: what preflight does in the step's place.
	Precheck *Call `yaml:"precheck,omitempty" json:"precheck,omitempty"`
	// Outputs are expressions over result, by name.
	Outputs map[string]string `yaml:"outputs,omitempty" json:"outputs,omitempty"`
}

// Call is something that a driver does or looks at.
type Call struct {
	Driver string `yaml:"driver" json:"driver"`
	Action string `yaml:"action" json:"action"`
	Target string `yaml:"target,omitempty" json:"target,omitempty"`
	// With are the parameters; a text of the form ${…} is an expression.
	With map[string]any `yaml:"with,omitempty" json:"with,omitempty"`
	// Expect is an expression over result that has to be true.
	Expect string `yaml:"expect,omitempty" json:"expect,omitempty"`
}

// Retry says how often an attempt is repeated that did not succeed for sure and may be repeated.
type Retry struct {
	Times  int            `yaml:"times" json:"times"` // after the first
	Pause  shape.Duration `yaml:"pause" json:"pause"`
	Factor int            `yaml:"factor" json:"factor"` // of each further pause
	Most   shape.Duration `yaml:"most" json:"most"`     // longest pause
}

// OnFailure is what it means for the run that a step failed for good.
type OnFailure string

// What a failure may mean.
const (
	// Stop: nothing more begins anywhere in the run until a person has decided.
	Stop OnFailure = "stop"
	// Ask: what waits for the step waits until a person has decided; other branches go on.
	Ask OnFailure = "ask"
	// Continue: the failure stands in the report, and the run goes on.
	Continue OnFailure = "continue"
	// Compensate: what was done is undone, last first, and the run ends.
	Compensate OnFailure = "compensate"
)

// Manual is a task for a person.
type Manual struct {
	Owner       string      `yaml:"owner" json:"owner"` // a role or a participant
	Instruction string      `yaml:"instruction" json:"instruction"`
	Fields      []Parameter `yaml:"fields,omitempty" json:"fields,omitempty"` // what is asked of the person
	// Attachments is how many files have to be handed in at least.
	Attachments int `yaml:"attachments,omitempty" json:"attachments,omitempty"`
	// Announces: the task is the announcement to the public that the contract of an emergency asks for.
	Announces bool `yaml:"announces,omitempty" json:"announces,omitempty"`
}

// Approval is a decision of people. Who started the run cannot approve it.
type Approval struct {
	Of    []string      `yaml:"of" json:"of"`     // roles or participants
	Need  int           `yaml:"need" json:"need"` // how many different people
	Order ApprovalOrder `yaml:"order" json:"order"`
	Text  string        `yaml:"text,omitempty" json:"text,omitempty"` // what is decided
}

// ApprovalOrder is whether approvers are asked one after the other.
type ApprovalOrder string

// The orders.
const (
	Parallel ApprovalOrder = "parallel"
	Serial   ApprovalOrder = "serial"
)

// Wait lets time pass, or waits for a condition; Timeout bounds the latter.
type Wait struct {
	For   shape.Duration `yaml:"for,omitempty" json:"for,omitempty"`
	Until string         `yaml:"until,omitempty" json:"until,omitempty"` // an expression over facts
}

// Notify tells people something, and does not wait for them.
type Notify struct {
	To   []string `yaml:"to" json:"to"`
	Text string   `yaml:"text" json:"text"`
}

// Reference is another plan that is done as one step.
type Reference struct {
	Plan string         `yaml:"plan" json:"plan"`
	With map[string]any `yaml:"with,omitempty" json:"with,omitempty"`
}

// StepKind is which of its fields a step has.
type StepKind string

// The kinds of steps.
const (
	ActStep      StepKind = "act"
	CheckStep    StepKind = "check"
	ManualStep   StepKind = "manual"
	ApprovalStep StepKind = "approval"
	WaitStep     StepKind = "wait"
	NotifyStep   StepKind = "notify"
	SubplanStep  StepKind = "subplan"
)

// Kind is which kind of step it is; empty where it has none of the fields.
func (s *Step) Kind() StepKind {
	switch {
	case s.Act != nil:
		return ActStep
	case s.Check != nil:
		return CheckStep
	case s.Manual != nil:
		return ManualStep
	case s.Approval != nil:
		return ApprovalStep
	case s.Wait != nil:
		return WaitStep
	case s.Notify != nil:
		return NotifyStep
	case s.Subplan != nil:
		return SubplanStep
	}
	return ""
}

package measure

import (
	"time"

	"perdure/internal/plan"
	"perdure/internal/run"
)

// Measures are those of one run. Durations are nanoseconds in JSON; what is not known is null or left out.
type Measures struct {
	Run       string      `json:"run"`
	Plan      string      `json:"plan"`
	Title     string      `json:"title,omitempty"`
	Mode      plan.Mode   `json:"mode"`
	Tabletop  bool        `json:"tabletop,omitempty"` // people walked it around a table
	StartedBy string      `json:"startedBy"`
	Reason    string      `json:"reason,omitempty"` // of the start
	Phase     run.Phase   `json:"phase"`
	Outcome   run.Outcome `json:"outcome,omitempty"`
	// Entries is how many entries of the journal were measured.
	Entries     int       `json:"entries"`
	DisruptedAt time.Time `json:"disruptedAt,omitzero"`
	DetectedAt  time.Time `json:"detectedAt,omitzero"`
	Start       time.Time `json:"start"`
	End         time.Time `json:"end,omitzero"` // zero: it is not over
	Clocks      Clocks    `json:"clocks"`
	RTO         RTO       `json:"rto"`
	// RPO is what was lost where units were switched; nil where none was.
	RPO *RPO `json:"rpo,omitempty"`
	// Path are the steps that determined the end, in order; empty while the run is not over, and where it was cancelled or undone.
	Path  []Leg  `json:"path,omitempty"`
	Steps []Step `json:"steps"` // in the order of the program
}

// Clocks are the five clocks; nil: not known.
type Clocks struct {
	Detect  *time.Duration `json:"detect"`
	Declare *time.Duration `json:"declare"`
	Decide  *time.Duration `json:"decide"`
	Execute *time.Duration `json:"execute"`
	Verify  *time.Duration `json:"verify"`
}

// RTO is the measured recovery time against the objective.
type RTO struct {
	Target time.Duration `json:"target,omitempty"` // of the plan; 0: it has none
	From   Point         `json:"from"`
	// Took is the time from there until the last step that is no cleanup was settled; nil where the run did not end as done.
	Took *time.Duration `json:"took"`
	// Met says whether the objective was met; nil where there is none, where Took is not known, and where an unplanned run was in time
	// from its start and nobody said when service was disrupted.
	Met *bool `json:"met"`
}

// Point is what recovery time is measured from.
type Point string

// The points.
const (
	Disruption Point = "disruption"
	Start      Point = "start" // nobody said when service was disrupted
)

// Leg is one step of the path that determined the end of a run: From is the end of the one before, or the start of the run.
type Leg struct {
	Step string    `json:"step"`
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Lock: it waited for a lock that the step before on the path held.
	Lock bool `json:"lock,omitempty"`
}

// Step is how long a step took. From Ready to End it waited for people, waited for locks, worked, or neither: the four are that time.
// Those of a subplan are of the time before its first step.
type Step struct {
	ID     string        `json:"id"`
	Title  string        `json:"title,omitempty"`
	Kind   plan.StepKind `json:"kind"`
	Status run.Status    `json:"status,omitempty"`
	// Ready is when everything that it waits for was settled, Begin its first attempt or when people were asked, End when it was settled.
	Ready time.Time `json:"ready,omitzero"`
	Begin time.Time `json:"begin,omitzero"`
	End   time.Time `json:"end,omitzero"`
	// People: a task or an approval was open, a person had to decide on a failure, or the run was paused or stopped while it was its turn.
	People time.Duration `json:"people"`
	// Locks: it was its turn, it takes locks, and it had not begun. What the runner needs to look is part of it.
	Locks time.Duration `json:"locks"`
	// Worked: an attempt was under way, or in doubt; of a wait all of its time.
	Worked time.Duration `json:"worked"`
	// Rest: pauses between attempts, facts that its condition needs, and what the runner had no room for or was away.
	Rest     time.Duration `json:"rest"`
	Attempts int           `json:"attempts,omitempty"`
	Undo     *Undo         `json:"undo,omitempty"`
}

// Undo is the undoing of a step.
type Undo struct {
	Status   run.Status    `json:"status"`
	Attempts int           `json:"attempts"`
	People   time.Duration `json:"people"`
	Worked   time.Duration `json:"worked"`
}

// Of measures a run. The error is that of a journal that does not fit the program.
func Of(id string, p *plan.Program, journal []run.Entry) (*Measures, error) {
	f := newFold(id, p)
	for _, e := range journal {
		if err := f.take(e); err != nil {
			return nil, err
		}
	}
	r := f.r
	m := &Measures{
		Run: id, Plan: p.Plan, Title: p.Title, Mode: p.Mode, Tabletop: p.Table, StartedBy: r.StartedBy, Phase: r.Phase, Outcome: r.Outcome, Entries: len(journal),
		DisruptedAt: r.DisruptedAt, DetectedAt: r.DetectedAt, Start: r.Started, End: r.Finished,
	}
	if len(journal) > 0 {
		m.Reason = journal[0].Text
	}
	m.Steps = f.steps()
	m.Clocks = clocks(f, m)
	m.RTO = rto(f, m)
	m.RPO = rpo(f)
	if r.Outcome == run.Done || r.Outcome == run.Refused {
		m.Path = f.path()
	}
	return m, nil
}

// clocks reads the five clocks off the journal; doc.go says what they are.
func clocks(f *fold, m *Measures) Clocks {
	var c Clocks
	if !m.DetectedAt.IsZero() {
		if !m.DisruptedAt.IsZero() {
			c.Detect = span(m.DisruptedAt, m.DetectedAt)
		}
		c.Declare = span(m.DetectedAt, m.Start)
	}
	var first, last time.Time
	for i := range m.Steps {
		s := &m.Steps[i]
		if s.Kind != plan.ActStep || f.clean[i] || s.Attempts == 0 {
			continue
		}
		if first.IsZero() || s.Begin.Before(first) {
			first = s.Begin
		}
		if s.End.After(last) {
			last = s.End
		}
	}
	if first.IsZero() {
		return c
	}
	c.Decide = span(m.Start, first)
	if m.Phase != run.Over || last.IsZero() {
		return c
	}
	c.Execute = span(first, last)
	if m.Outcome == run.Done {
		c.Verify = span(last, f.served())
	}
	return c
}

// rto holds the measured recovery time against the objective.
func rto(f *fold, m *Measures) RTO {
	out := RTO{Target: f.r.Program.RTO, From: Start}
	from := m.Start
	if !m.DisruptedAt.IsZero() {
		out.From, from = Disruption, m.DisruptedAt
	}
	if m.Outcome != run.Done || m.Tabletop { // what people say around a table recovers nothing
		return out
	}
	out.Took = span(from, f.served())
	if out.Target == 0 {
		return out
	}
	met := *out.Took <= out.Target
	trigger := plan.ContractOf(m.Mode).Trigger
	if met && out.From == Start && (trigger == plan.Unplanned || trigger == plan.Automatic) {
		return out // how long service had been gone before nobody said
	}
	out.Met = &met
	return out
}

func span(from, to time.Time) *time.Duration {
	d := to.Sub(from)
	return &d
}

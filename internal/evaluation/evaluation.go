package evaluation

import (
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/measure"
	"perdure/internal/plan"
	"perdure/internal/run"
)

// Aspect is what a criterion asks.
type Aspect string

// The aspects.
const (
	Ends      Aspect = "ends"      // the run ends as done
	InTime    Aspect = "inTime"    // recovery time is within the objective
	NoLoss    Aspect = "noLoss"    // nothing acknowledged is missing: the totals say so, no run does
	Contract  Aspect = "contract"  // the contract of the mode is kept
	Expected  Aspect = "expected"  // a check finds what it expects
	InState   Aspect = "inState"   // what a step waits for comes true
	FilledIn  Aspect = "filledIn"  // a task's fields are filled in
	Evidenced Aspect = "evidenced" // the evidence verifies: a pack says so, no run does
)

// Criterion is something that a run is judged by.
type Criterion struct {
	Aspect Aspect `json:"aspect"`
	// Step is the step that it is about; empty: the run as a whole.
	Step string `json:"step,omitempty"`
	// Object is what a check looks at, What it expects, what comes true, or the fields that are filled in.
	Object string `json:"object,omitempty"`
	What   string `json:"what,omitempty"`
	// Within is the objective for recovery time.
	Within time.Duration `json:"within,omitempty"`

	node int // of the program
}

// Criteria are what a run of a program is judged by, in the order of the program.
func Criteria(p *plan.Program) []Criterion {
	out := []Criterion{{Aspect: Ends}}
	if p.Table { // nothing is done, and nothing measured
		return append(out, Criterion{Aspect: Evidenced})
	}
	if p.RTO > 0 {
		out = append(out, Criterion{Aspect: InTime, Within: p.RTO})
	}
	if plan.ContractOf(p.Mode).RPO == 0 {
		out = append(out, Criterion{Aspect: NoLoss})
	}
	out = append(out, Criterion{Aspect: Contract})
	for i := range p.Nodes {
		n := &p.Nodes[i]
		if !p.Includes(i) {
			continue
		}
		if c := n.Step.Check; c != nil && c.Expect != "" {
			out = append(out, Criterion{Aspect: Expected, Step: n.ID, node: i, Object: c.Driver + " " + c.Target, What: c.Expect})
		}
		if n.Step.Wait != nil && n.Step.Wait.Until != "" {
			out = append(out, Criterion{Aspect: InState, Step: n.ID, node: i, What: n.Step.Wait.Until})
		}
		if m := n.Step.Manual; m != nil && len(m.Fields) > 0 {
			names := make([]string, len(m.Fields))
			for j := range m.Fields {
				names[j] = m.Fields[j].Name
			}
			out = append(out, Criterion{Aspect: FilledIn, Step: n.ID, node: i, What: strings.Join(names, ", ")})
		}
	}
	return append(out, Criterion{Aspect: Evidenced})
}

// Verdict is what became of a criterion.
type Verdict string

// The verdicts.
const (
	Met      Verdict = "met"
	Missed   Verdict = "missed"
	Unknown  Verdict = "unknown"
	NotAsked Verdict = "notAsked" // its step was not the run's turn
)

// Judgement is a criterion with its verdict, and what was seen of it.
type Judgement struct {
	Criterion
	Verdict Verdict `json:"verdict"`
	// Outcome is that of the run, empty while it is not over; of Ends.
	Outcome run.Outcome `json:"outcome,omitempty"`
	// Took is the recovery time, nil where it is not known; of InTime.
	Took *time.Duration `json:"took,omitempty"`
	// Breaches is how often the contract was broken; of Contract.
	Breaches int `json:"breaches,omitempty"`
	// Status is how the step stands; with it why it was left out, who did it by hand, or what was filled in.
	Status run.Status     `json:"status,omitempty"`
	Reason string         `json:"reason,omitempty"`
	ByHand bool           `json:"byHand,omitempty"`
	Result map[string]any `json:"result,omitempty"`
}

// Evaluation is a run with how it is judged.
type Evaluation struct {
	Program  *plan.Program
	Measures *measure.Measures
	Run      *run.Run
	Judged   []Judgement // in the order of the criteria
	Problems []Problem   // what has to be put right
}

// Of judges a run, as far as its journal goes. The error is that of a journal that does not fit the program, or of none.
func Of(id string, p *plan.Program, journal []run.Entry) (*Evaluation, error) {
	m, err := measure.Of(id, p, journal)
	if err != nil {
		return nil, err
	}
	if m.Entries == 0 {
		return nil, errs.New(errs.Internal, "run %s has no journal", id)
	}
	r, err := run.Replay(id, p, journal)
	if err != nil {
		return nil, err
	}
	byHand := map[string]bool{}
	for i := range journal {
		if e := &journal[i]; e.What == run.TakenOver && !e.Undo {
			byHand[e.Node] = true
		}
	}
	e := &Evaluation{Program: p, Measures: m, Run: r}
	for _, c := range Criteria(p) {
		e.Judged = append(e.Judged, e.judge(c, byHand))
	}
	e.Problems = e.problems(journal, byHand)
	return e, nil
}

func (e *Evaluation) judge(c Criterion, byHand map[string]bool) Judgement {
	j := Judgement{Criterion: c, Verdict: Unknown}
	switch c.Aspect {
	case Ends:
		if !e.Measures.End.IsZero() {
			j.Outcome, j.Verdict = e.Measures.Outcome, metIf(e.Measures.Outcome == run.Done)
		}
	case InTime:
		j.Took = e.Measures.RTO.Took
		if met := e.Measures.RTO.Met; met != nil {
			j.Verdict = metIf(*met)
		}
	case Contract:
		j.Breaches = len(e.Program.Breaches(plan.BuiltIn()))
		j.Verdict = metIf(j.Breaches == 0)
	case Expected, InState, FilledIn:
		e.ofStep(&j, byHand)
	case NoLoss, Evidenced:
	}
	return j
}

func metIf(v bool) Verdict {
	if v {
		return Met
	}
	return Missed
}

// ofStep judges by how a step ended.
func (e *Evaluation) ofStep(j *Judgement, byHand map[string]bool) {
	state := &e.Run.Steps[j.node]
	j.Status = state.Status
	switch state.Status {
	case run.DoneStep:
		if byHand[j.Step] { // a person says so
			j.ByHand, j.Reason = true, state.Reason
			return
		}
		if j.Aspect == FilledIn {
			j.Result = state.Outputs
		}
		j.Verdict = Met
	case run.PassedBy, run.Bypassed:
		j.Verdict = NotAsked
	case run.LeftOut:
		j.Verdict, j.Reason = Missed, state.Reason
	case run.FailedOn, run.Rejected, run.Dropped:
		j.Verdict = Missed
	case run.Waiting, run.Ready, run.Acting, run.Doubtful, run.Pausing, run.Asking, run.Open, run.Inside:
	}
}

package evaluation

import (
	"strings"

	"perdure/internal/errs"
	"perdure/internal/plan"
	"perdure/internal/run"
)

// Kind is what kind of problem a run has shown.
type Kind string

// The kinds.
const (
	OfCriterion Kind = "criterion" // a criterion was missed
	Attempts    Kind = "attempts"  // a step took more than one attempt
	ByHand      Kind = "byHand"    // a step was not done by itself: a person left it out, or did it
	Failed      Kind = "failed"    // a step failed, and the run went on
	Found       Kind = "found"     // people found it at the table
	Said        Kind = "said"      // people say so: no run can show that it is put right, a person has to
)

// Problem is something that has to be put right.
type Problem struct {
	Kind Kind `json:"kind"`
	// Number is that of the criterion, from 1, and Judgement what was seen of it; of OfCriterion.
	Number    int        `json:"number,omitempty"`
	Judgement *Judgement `json:"judgement,omitempty"`
	// Step is the step that it is about; empty: the run as a whole.
	Step string `json:"step,omitempty"`
	// Attempts is how many there were; Text the first error, what was found, or why it was done by hand.
	Attempts int    `json:"attempts,omitempty"`
	Text     string `json:"text,omitempty"`
}

// problems are at most one for a step, and one for every criterion of the run as a whole.
func (e *Evaluation) problems(journal []run.Entry, byHand map[string]bool) []Problem {
	var out []Problem
	told := map[string]bool{}
	for i := range e.Judged {
		if j := &e.Judged[i]; j.Verdict == Missed {
			out = append(out, Problem{Kind: OfCriterion, Number: i + 1, Judgement: j, Step: j.Step})
			told[j.Step] = true
		}
	}
	for i := range e.Run.Steps {
		state := &e.Run.Steps[i]
		p := Problem{Step: e.Measures.Steps[i].ID}
		switch attempts := e.Measures.Steps[i].Attempts; {
		case told[p.Step]:
			continue
		case attempts > 1:
			p.Kind, p.Attempts, p.Text = Attempts, attempts, firstError(journal, p.Step)
		case byHand[p.Step], state.Status == run.LeftOut && state.Reason != "":
			p.Kind, p.Text = ByHand, state.Reason
		case e.found(i) != "":
			p.Kind, p.Text = Found, e.found(i)
		case state.Status == run.FailedOn:
			p.Kind, p.Text = Failed, state.Error
		default:
			continue
		}
		out = append(out, p)
	}
	return out
}

// found is what was found at a step of a tabletop, "" where nothing was.
func (e *Evaluation) found(i int) string {
	text, _ := e.Run.Steps[i].Outputs[plan.FindingField].(string)
	if !e.Program.Table {
		return ""
	}
	return strings.TrimSpace(text)
}

// firstError is why the first attempt of a step did not succeed.
func firstError(journal []run.Entry, id string) string {
	for i := range journal {
		if e := &journal[i]; e.What == run.Ended && e.Node == id && !e.Undo && e.Error != "" {
			return e.Error
		}
	}
	return ""
}

// Settles judges whether a run shows that a problem of an earlier one is put right: Met, Missed, or Unknown where it does not show that (J2). A
// run that is not over, or that has not what the problem is about, is refused.
func (e *Evaluation) Settles(p Problem) (Verdict, error) {
	id := e.Measures.Run
	if e.Measures.End.IsZero() {
		return Unknown, errs.New(errs.Conflict, "run %s is not over: it shows nothing yet", id)
	}
	if p.Kind == Said {
		return Unknown, nil
	}
	if p.Kind == OfCriterion {
		for i := range e.Judged {
			if j := &e.Judged[i]; j.Aspect == p.Judgement.Aspect && j.Step == p.Step {
				return j.Verdict, nil
			}
		}
		return Unknown, errs.New(errs.Refused, "run %s is not judged by that: re-test with a run of a plan that has the criterion %s %s", id, p.Judgement.Aspect, p.Step)
	}
	for i := range e.Run.Steps {
		if e.Measures.Steps[i].ID != p.Step {
			continue
		}
		for _, again := range e.Problems {
			if again.Step == p.Step {
				return Missed, nil
			}
		}
		if e.Run.Steps[i].Status != run.DoneStep || e.Program.Table && p.Kind != Found {
			return Unknown, nil
		}
		return Met, nil
	}
	return Unknown, errs.New(errs.Refused, "run %s has no step %s: re-test with a run of a plan that has it", id, p.Step)
}

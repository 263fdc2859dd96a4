package document

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"perdure/internal/plan"
	"perdure/internal/run"
)

// Evaluation judges a run by the criteria that its drill plan names 评估报告, and lists what has to be put right. The zone is that of all times.
// The error is that of a journal that does not fit the program.
func Evaluation(src Source, l Language, zone *time.Location) (*Document, error) {
	w, err := newWriter(src, l, zone)
	if err != nil {
		return nil, err
	}
	e := &evaluation{writer: w, criteria: w.pen.criteria(src.Program), deviations: w.deviations(), byHand: map[string]bool{}}
	for _, entry := range src.Journal {
		if entry.What == run.TakenOver && !entry.Undo {
			e.byHand[entry.Node] = true
		}
	}
	for _, c := range e.criteria {
		e.judged = append(e.judged, e.judge(c))
	}
	evidence, err := w.evidence()
	if err != nil {
		return nil, err
	}
	e.problems = e.rectify()
	d := w.document("evaluation.")
	w.fill(d, []Section{e.summary(), e.judgement(), e.answers(), e.deviations, e.problems, evidence})
	return d, nil
}

// criterion is something that a run is judged by.
type criterion struct {
	about about
	node  int // of the program, -1: it is about the run as a whole
	text  string
	seen  string // where it can be seen
}

// about is what a criterion asks.
type about int

const (
	endsAsDone about = iota
	inTime
	nothingLost
	keepsContract
	comesTrue
	filledIn
	verifies
)

// criteria are what a run of a program is judged by.
func (p pen) criteria(program *plan.Program) []criterion {
	t := p.t
	out := []criterion{{endsAsDone, -1, t.say("crit.done"), t.say("crit.record")}}
	if program.Table { // nothing is done, and nothing measured
		return append(out, criterion{verifies, -1, t.say("crit.evidence"), "perdure evidence verify FILE --keys KEYS"})
	}
	if program.RTO > 0 {
		out = append(out, criterion{inTime, -1, t.say("crit.rto", t.span(program.RTO)), "perdure run measures RUN"})
	}
	row := plan.ContractOf(program.Mode)
	if row.RPO == 0 {
		out = append(out, criterion{nothingLost, -1, t.say("crit.loss"), t.say("crit.totals")})
	}
	out = append(out, criterion{keepsContract, -1, t.say("crit.contract"), t.say("crit.record")})
	for i := range program.Nodes {
		n := &program.Nodes[i]
		if !program.Includes(i) {
			continue
		}
		if c := n.Step.Check; c != nil && c.Expect != "" {
			out = append(out, criterion{comesTrue, i, t.say("crit.expect", c.Driver+" "+c.Target, c.Expect), n.ID})
		}
		if n.Step.Wait != nil && n.Step.Wait.Until != "" {
			out = append(out, criterion{comesTrue, i, t.say("crit.until", n.Step.Wait.Until), n.ID})
		}
		if m := n.Step.Manual; m != nil && len(m.Fields) > 0 {
			names := make([]string, len(m.Fields))
			for j := range m.Fields {
				names[j] = m.Fields[j].Name
			}
			out = append(out, criterion{filledIn, i, t.say("crit.filled", strings.Join(names, ", ")), n.ID})
		}
	}
	return append(out, criterion{verifies, -1, t.say("crit.evidence"), "perdure evidence verify FILE --keys KEYS"})
}

// verdict is what became of a criterion.
type verdict string

const (
	wasMet    verdict = "met"
	wasMissed verdict = "missed"
	notKnown  verdict = "unknown"
	notAsked  verdict = "notAsked" // its step was not the run's turn
)

// judgement is a verdict with what was seen.
type judgement struct {
	verdict verdict
	seen    string
}

type evaluation struct {
	*writer
	criteria   []criterion
	judged     []judgement // in the order of the criteria
	deviations Section
	problems   Section         // what has to be put right
	byHand     map[string]bool // steps that a person has done in the place of a driver
}

func (e *evaluation) judge(c criterion) judgement {
	t := e.t
	over := !e.m.End.IsZero()
	switch c.about {
	case endsAsDone:
		if !over {
			return judgement{notKnown, t.say("notOver")}
		}
		return judgement{metIf(e.m.Outcome == run.Done), t.word("outcome", string(e.m.Outcome))}
	case inTime:
		if e.m.RTO.Met == nil {
			return judgement{notKnown, e.took(e.m.RTO.Took)}
		}
		return judgement{metIf(*e.m.RTO.Met), e.took(e.m.RTO.Took)}
	case keepsContract:
		broken := e.src.Program.Breaches(plan.BuiltIn())
		return judgement{metIf(len(broken) == 0), t.say("crit.breaches", len(broken))}
	case comesTrue, filledIn:
		return e.ofStep(c)
	case nothingLost, verifies:
	}
	return judgement{notKnown, t.say("crit.outside")}
}

func metIf(v bool) verdict {
	if v {
		return wasMet
	}
	return wasMissed
}

// ofStep judges by how a step ended.
func (e *evaluation) ofStep(c criterion) judgement {
	state := &e.r.Steps[c.node]
	seen := e.t.word("status", string(state.Status))
	switch state.Status {
	case run.DoneStep:
		if e.byHand[e.m.Steps[c.node].ID] { // a person says so
			return judgement{notKnown, e.t.say("crit.byHand", state.Reason)}
		}
		if c.about == filledIn {
			seen = e.value(state.Outputs)
		}
		return judgement{wasMet, seen}
	case run.PassedBy, run.Bypassed:
		return judgement{notAsked, seen}
	case run.LeftOut:
		return judgement{wasMissed, strings.TrimSpace(seen + " " + state.Reason)}
	case run.FailedOn, run.Rejected, run.Dropped:
		return judgement{wasMissed, seen}
	case run.Waiting, run.Ready, run.Acting, run.Doubtful, run.Pausing, run.Asking, run.Open, run.Inside:
	}
	return judgement{notKnown, seen}
}

// summary says how the run is judged as a whole.
func (e *evaluation) summary() Section {
	t, s := e.t, e.writer.summary()
	count := map[verdict]int{}
	for _, j := range e.judged {
		count[j.verdict]++
	}
	overall := "overall.passed"
	switch {
	case e.m.End.IsZero():
		overall = "notOver"
	case count[wasMissed] > 0:
		overall = "overall.missed"
	case len(e.deviations.Rows)+len(e.problems.Rows) > 0:
		overall = "overall.deviations"
	}
	s.Facts = slices.Concat([][2]string{
		{t.say("overall"), t.say(overall)}, {t.say("counted"), t.say("counted.is", count[wasMet], count[wasMissed], count[notKnown], count[notAsked])},
	}, s.Facts)
	return s
}

// judgement are the criteria with their verdicts.
func (e *evaluation) judgement() Section {
	s := Section{Title: e.t.say("criteria"), Head: e.heads("no", "criterion", "judged", "wasSeen", "seenBy")}
	for i, c := range e.criteria {
		j := e.judged[i]
		s.Rows = append(s.Rows, []string{strconv.Itoa(i + 1), c.text, e.t.say("judged." + string(j.verdict)), orDash(j.seen), c.seen})
	}
	return s
}

// answers are how long people took.
func (e *evaluation) answers() Section {
	s := Section{Title: e.t.say("answers"), Head: e.heads("step", "kind", "whose", "asked.at", "answered.at", "waitedPeople", "answered.by")}
	for i := range e.m.Steps {
		step := &e.m.Steps[i]
		if step.Kind != plan.ManualStep && step.Kind != plan.ApprovalStep || step.Begin.IsZero() {
			continue
		}
		var by []string
		for _, entry := range e.src.Journal {
			switch entry.What {
			case run.Approved, run.Declined, run.Completed, run.BrokeGlass:
				if entry.Node == step.ID && !slices.Contains(by, entry.By) {
					by = append(by, entry.By)
				}
			case run.Started, run.Took, run.Entered, run.Passed, run.Began, run.Ended, run.Opened, run.Paused, run.Resumed, run.Retried, run.Skipped, run.TakenOver,
				run.Cancelled, run.Delegated, run.AddedApprover, run.Reviewed, run.Acknowledged, run.Finished:
			}
		}
		s.Rows = append(s.Rows, []string{e.named(i), e.t.word("kind", string(step.Kind)), e.who(i), e.at(step.Begin), e.at(step.End), e.t.took(step.People), orDash(strings.Join(by, ", "))})
	}
	return s
}

// rectify is what has to be put right, each with the re-test that shows that it is.
func (e *evaluation) rectify() Section {
	t := e.t
	s := Section{Title: t.say("rectify"), Head: e.heads("no", "problem", "step", "retest")}
	row := func(problem, step, retest string) {
		s.Rows = append(s.Rows, []string{strconv.Itoa(len(s.Rows) + 1), problem, step, retest})
	}
	told := map[int]bool{}
	for i, c := range e.criteria {
		if e.judged[i].verdict == wasMissed {
			step := "–"
			if c.node >= 0 {
				step, told[c.node] = e.named(c.node), true
			}
			row(t.say("rectify.criterion", c.text, orDash(e.judged[i].seen)), step, t.say("retest.criterion", i+1))
		}
	}
	for i := range e.r.Steps {
		state := &e.r.Steps[i]
		attempts, id := e.m.Steps[i].Attempts, e.m.Steps[i].ID
		switch {
		case told[i]:
		case attempts > 1:
			row(t.say("rectify.attempts", attempts, e.firstError(id)), e.named(i), t.say("retest.first", id))
		case e.byHand[id], state.Status == run.LeftOut && state.Reason != "":
			row(t.say("rectify.byHand", state.Reason), e.named(i), t.say("retest.itself", id))
		case e.found(i) != "":
			row(t.say("rectify.found", e.found(i)), e.named(i), t.say("retest.found", id))
		case state.Status == run.FailedOn:
			row(t.say("rectify.failed", orDash(state.Error)), e.named(i), t.say("retest.itself", id))
		}
	}
	return s
}

// found is what was found at a step of a tabletop, "" where nothing was.
func (e *evaluation) found(i int) string {
	text, _ := e.r.Steps[i].Outputs[plan.FindingField].(string)
	if !e.src.Program.Table {
		return ""
	}
	return strings.TrimSpace(text)
}

// firstError is why the first attempt of a step did not succeed.
func (e *evaluation) firstError(id string) string {
	for _, entry := range e.src.Journal {
		if entry.What == run.Ended && entry.Node == id && !entry.Undo && entry.Error != "" {
			return entry.Error
		}
	}
	return "–"
}

package document

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"perdure/internal/evaluation"
	"perdure/internal/plan"
	"perdure/internal/run"
)

// Evaluation is how a run is judged by the criteria that its drill plan names 评估报告, with what has to be put right. The zone is that of all
// times. The error is that of a journal that does not fit the program.
func Evaluation(src Source, l Language, zone *time.Location) (*Document, error) {
	e, err := newJudged(src, l, zone)
	if err != nil {
		return nil, err
	}
	evidence, err := e.evidence()
	if err != nil {
		return nil, err
	}
	d := e.document("evaluation.")
	e.fill(d, []Section{e.summary(), e.judgement(), e.answers(), e.deviations(), e.rectify(), evidence})
	return d, nil
}

// judged writes about a run and how it is judged.
type judged struct {
	*writer
	of *evaluation.Evaluation
}

func newJudged(src Source, l Language, zone *time.Location) (*judged, error) {
	e, err := evaluation.Of(src.Run, src.Program, src.Journal)
	if err != nil {
		return nil, err
	}
	return &judged{&writer{pen: pen{t: textsOf(l), more: "more"}, src: src, l: l, m: e.Measures, r: e.Run, zone: zone}, e}, nil
}

// criterion says what is asked, and where it can be seen.
func (p pen) criterion(c evaluation.Criterion) (text, seen string) {
	t := p.t
	switch c.Aspect {
	case evaluation.Ends:
		return t.say("crit.done"), t.say("crit.record")
	case evaluation.InTime:
		return t.say("crit.rto", t.span(c.Within)), "perdure run measures RUN"
	case evaluation.NoLoss:
		return t.say("crit.loss"), t.say("crit.totals")
	case evaluation.Contract:
		return t.say("crit.contract"), t.say("crit.record")
	case evaluation.Expected:
		return t.say("crit.expect", c.Object, c.What), c.Step
	case evaluation.InState:
		return t.say("crit.until", c.What), c.Step
	case evaluation.FilledIn:
		return t.say("crit.filled", c.What), c.Step
	case evaluation.Evidenced:
	}
	return t.say("crit.evidence"), "perdure evidence verify FILE --keys KEYS"
}

// seen says what was seen of a criterion.
func (p pen) seen(j evaluation.Judgement) string {
	t := p.t
	switch j.Aspect {
	case evaluation.Ends:
		if j.Outcome == "" {
			return t.say("notOver")
		}
		return t.word("outcome", string(j.Outcome))
	case evaluation.InTime:
		return p.took(j.Took)
	case evaluation.Contract:
		return t.say("crit.breaches", j.Breaches)
	case evaluation.Expected, evaluation.InState, evaluation.FilledIn:
		switch {
		case j.ByHand:
			return t.say("crit.byHand", j.Reason)
		case len(j.Result) > 0:
			return p.value(j.Result)
		}
		return strings.TrimSpace(t.word("status", string(j.Status)) + " " + j.Reason)
	case evaluation.NoLoss, evaluation.Evidenced:
	}
	return t.say("crit.outside")
}

// Problem says in a language what has to be put right, and what a re-test has to show.
func Problem(of evaluation.Problem, l Language) (problem, retest string) {
	p := pen{t: textsOf(l), more: "more"}
	problem, retest = p.problem(of)
	return p.clean(problem), p.clean(retest)
}

// problem says what has to be put right, and what a re-test has to show.
func (p pen) problem(of evaluation.Problem) (problem, retest string) {
	t := p.t
	switch of.Kind {
	case evaluation.OfCriterion:
		text, _ := p.criterion(of.Judgement.Criterion)
		return t.say("rectify.criterion", text, orDash(p.seen(*of.Judgement))), t.say("retest.criterion", of.Number)
	case evaluation.Attempts:
		return t.say("rectify.attempts", of.Attempts, orDash(of.Text)), t.say("retest.first", of.Step)
	case evaluation.ByHand:
		return t.say("rectify.byHand", of.Text), t.say("retest.itself", of.Step)
	case evaluation.Found:
		return t.say("rectify.found", of.Text), t.say("retest.found", of.Step)
	case evaluation.Failed:
		return t.say("rectify.failed", orDash(of.Text)), t.say("retest.itself", of.Step)
	case evaluation.Said:
	}
	return of.Text, t.say("retest.said")
}

// summary says how the run is judged as a whole.
func (e *judged) summary() Section {
	t, s := e.t, e.writer.summary()
	count := map[evaluation.Verdict]int{}
	for _, j := range e.of.Judged {
		count[j.Verdict]++
	}
	overall := "overall.passed"
	switch {
	case e.m.End.IsZero():
		overall = "notOver"
	case count[evaluation.Missed] > 0:
		overall = "overall.missed"
	case len(e.deviations().Rows)+len(e.of.Problems) > 0:
		overall = "overall.deviations"
	}
	s.Facts = slices.Concat([][2]string{
		{t.say("overall"), t.say(overall)}, {t.say("counted"), t.say("counted.is", count[evaluation.Met], count[evaluation.Missed], count[evaluation.Unknown], count[evaluation.NotAsked])},
	}, s.Facts)
	return s
}

// judgement are the criteria with their verdicts.
func (e *judged) judgement() Section {
	s := Section{Title: e.t.say("criteria"), Head: e.heads("no", "criterion", "judged", "wasSeen", "seenBy")}
	for i, j := range e.of.Judged {
		text, by := e.criterion(j.Criterion)
		s.Rows = append(s.Rows, []string{strconv.Itoa(i + 1), text, e.t.say("judged." + string(j.Verdict)), orDash(e.seen(j)), by})
	}
	return s
}

// answers are how long people took.
func (e *judged) answers() Section {
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
				run.Cancelled, run.Delegated, run.AddedApprover, run.Reviewed, run.Attested, run.Acknowledged, run.Finished:
			}
		}
		s.Rows = append(s.Rows, []string{e.named(i), e.t.word("kind", string(step.Kind)), e.who(i), e.at(step.Begin), e.at(step.End), e.t.took(step.People), orDash(strings.Join(by, ", "))})
	}
	return s
}

// rectify is what has to be put right, each with the re-test that shows that it is.
func (e *judged) rectify() Section {
	s := Section{Title: e.t.say("rectify"), Head: e.heads("no", "problem", "step", "retest")}
	for i, p := range e.of.Problems {
		problem, retest := e.problem(p)
		s.Rows = append(s.Rows, []string{strconv.Itoa(i + 1), problem, e.step(p.Step), retest})
	}
	return s
}

// step is a step by its name, with its title where the program has it.
func (e *judged) step(id string) string {
	for i := range e.m.Steps {
		if e.m.Steps[i].ID == id {
			return e.named(i)
		}
	}
	return orDash(id)
}

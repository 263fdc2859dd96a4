package measure

import (
	"time"

	"perdure/internal/plan"
)

// Preflight is what can be said of a run before it is started. Durations are nanoseconds in JSON.
type Preflight struct {
	Plan  string    `json:"plan"`
	Title string    `json:"title,omitempty"`
	Mode  plan.Mode `json:"mode"`
	// RTO is the objective of the plan, 0: it has none.
	RTO      time.Duration `json:"rto,omitempty"`
	Forecast Forecast      `json:"forecast"`
	// Missing are parameters that a start needs and that were not given.
	Missing []string `json:"missing,omitempty"`
	// Looked is what was looked at beforehand, in the order of the steps.
	Looked []Looked `json:"looked,omitempty"`
	// Findings are what speaks against the start; none: it can meet its objective, and keeps the contract of its mode.
	Findings []Finding `json:"findings"`
}

// Finding is one thing that speaks against a start.
type Finding struct {
	Kind FindingKind `json:"kind"`
	// Took is how long it takes instead of the objective; 0 where it is about something else.
	Took time.Duration `json:"took,omitempty"`
	Step string        `json:"step,omitempty"`
	Text string        `json:"text,omitempty"`
}

// FindingKind says what a finding is about.
type FindingKind string

// The kinds of findings.
const (
	LateAtWorst   FindingKind = "late-at-worst"  // the worst case is longer than the objective
	LateMostly    FindingKind = "late-mostly"    // so is every other run: P50
	LateSometimes FindingKind = "late-sometimes" // so is one run of twenty: P95
	BreaksRules   FindingKind = "contract"       // a step breaks the contract of the mode
	LooksWrong    FindingKind = "precheck"       // what was looked at beforehand is not as it has to be, or did not answer
)

// Looked is what came of one look beforehand.
type Looked struct {
	Step   string         `json:"step"`
	Call   string         `json:"call,omitempty"` // what was looked at, as people read it
	Result map[string]any `json:"result,omitempty"`
	// Wrong says what speaks against it, Unknown why it could not be looked at yet; both empty: it is as it has to be.
	Wrong   string `json:"wrong,omitempty"`
	Unknown string `json:"unknown,omitempty"`
}

// See takes in what was looked at.
func (f *Preflight) See(looked []Looked) {
	f.Looked = looked
	for _, l := range looked {
		if l.Wrong != "" {
			f.Findings = append(f.Findings, Finding{Kind: LooksWrong, Step: l.Step, Text: l.Wrong})
		}
	}
}

// Before looks at a program before it is run. Parameters that are given and wrong are an error of kind invalid.
func Before(p *plan.Program, given map[string]any, catalogue plan.Catalogue, h *History, seed uint64) (*Preflight, error) {
	f := &Preflight{Plan: p.Plan, Title: p.Title, Mode: p.Mode, RTO: p.RTO, Findings: []Finding{}}
	var err error
	if _, f.Missing, err = p.Known(given); err != nil { // what is missing is told, and refuses nothing yet
		return nil, err
	}
	f.Forecast = Foresee(p, h, seed)
	late := func(took *time.Duration) bool { return took != nil && p.RTO > 0 && *took > p.RTO }
	if late(&f.Forecast.Worst) {
		f.Findings = append(f.Findings, Finding{Kind: LateAtWorst, Took: f.Forecast.Worst})
	}
	if late(f.Forecast.P50) {
		f.Findings = append(f.Findings, Finding{Kind: LateMostly, Took: *f.Forecast.P50})
	} else if late(f.Forecast.P95) {
		f.Findings = append(f.Findings, Finding{Kind: LateSometimes, Took: *f.Forecast.P95})
	}
	for _, b := range p.Breaches(catalogue) {
		f.Findings = append(f.Findings, Finding{Kind: BreaksRules, Step: b.Step, Text: b.Reason})
	}
	return f, nil
}

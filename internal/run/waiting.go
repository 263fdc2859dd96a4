package run

import (
	"time"

	"perdure/internal/plan"
)

// Why says what a run waits for a person for.
type Why string

// What a run may wait for.
const (
	Decision Why = "approval"
	Task     Why = "task"
	Failure  Why = "failure" // a step failed, and somebody has to say what becomes of it
	Review   Why = "review"  // glass was broken
)

// Ask is one thing that a run waits for.
type Ask struct {
	Why   Why    `json:"why"`
	Step  string `json:"step,omitempty"`
	Title string `json:"title,omitempty"`
	Text  string `json:"text,omitempty"`
	Undo  bool   `json:"undo,omitempty"` // the undoing of the step failed
	// For is the role or participant that the person is asked as.
	For    string           `json:"for,omitempty"`
	From   string           `json:"from,omitempty"` // who has delegated it
	Fields []plan.Parameter `json:"fields,omitempty"`
	Since  time.Time        `json:"since"`
}

// Person is what has to be known of somebody to say what waits for them.
type Person struct {
	Name string
	// Holds reports whether they have a role.
	Holds func(role string) bool
	// Steers: they may say what becomes of failed steps; Reviews: they may review.
	Steers, Reviews bool
}

// WaitsFor gives what the run waits for this person for, in the order of the program.
func (r *Run) WaitsFor(p Person) []Ask {
	if r.Phase == Over {
		if p.Reviews && len(r.Glass) > 0 && r.mayReview(p.Name) {
			return []Ask{{Why: Review, Text: r.Reason, Since: r.Finished}}
		}
		return nil
	}
	var out []Ask
	for i := range r.active.all() {
		s, n := &r.Steps[i], &r.Program.Nodes[i]
		w := Ask{Step: n.ID, Title: n.Step.Title, Text: s.Text, Since: s.Opened}
		switch {
		case s.Undo.Status == Asking && p.Steers:
			w.Why, w.Undo, w.Text, w.Since = Failure, true, s.Undo.Error, s.Undo.Failed
		case s.Status == Asking && p.Steers:
			w.Why, w.Text, w.Since = Failure, s.Error, s.Failed
		case s.Status == Open && n.Step.Manual != nil:
			if owner := n.Step.Manual.Owner; owner == p.Name || p.Holds(owner) {
				w.Why, w.For, w.Fields = Task, owner, n.Step.Manual.Fields
			}
		case s.Status == Open && n.Step.Approval != nil:
			if v, asked := r.askedAs(i, p); asked {
				w.Why, w.For, w.From = Decision, v.For, v.From
			}
		}
		if w.Why != "" {
			out = append(out, w)
		}
	}
	return out
}

// askedAs finds for whom a person may decide on an approval now: as themselves, or by one of their roles.
func (r *Run) askedAs(i int, p Person) (Vote, bool) {
	behalf := []string{p.Name}
	for _, name := range r.Steps[i].asked(r.Program.Nodes[i].Step.Approval) {
		if p.Holds(name) {
			behalf = append(behalf, name)
		}
	}
	for _, name := range behalf {
		if v, err := r.voice(i, p.Name, name); err == nil && r.turn(i, v) == nil {
			return v, true
		}
	}
	return Vote{}, false
}

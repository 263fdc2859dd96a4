package run

import (
	"slices"
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
	// Note: somebody is told something, and nothing waits for them. It stays until they say that they have read it.
	Note Why = "note"
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
	// Attachments is how many files a task wants at least.
	Attachments int       `json:"attachments,omitempty"`
	Since       time.Time `json:"since"`
	// Acknowledged is when somebody whose task it is has said that they know of it, and AcknowledgedBy who.
	Acknowledged   time.Time `json:"acknowledged,omitzero"`
	AcknowledgedBy string    `json:"acknowledgedBy,omitempty"`
}

// Person is what has to be known of somebody to say what waits for them.
type Person struct {
	Name string
	// Participant is the participant that they belong to; empty: none.
	Participant string
	// Holds reports whether they have a role.
	Holds func(role string) bool
	// Steers: they may say what becomes of failed steps; Reviews: they may review.
	Steers, Reviews bool
}

// Answers reports whether what is asked of an owner is asked of them: by their participant, by a role, or by their name. Who belongs to a
// participant is asked by no plan by their name, which may be that of another participant.
func (p Person) Answers(owner string) bool {
	return owner == p.Participant && owner != "" || owner == p.Name && p.Participant == "" || p.Holds(owner)
}

// WaitsFor gives what the run waits for this person for, in the order of the program.
func (r *Run) WaitsFor(p Person) []Ask {
	out := r.notesFor(p)
	if r.Phase == Over {
		if p.Reviews && len(r.Glass) > 0 && r.mayReview(p.Name) {
			out = append(out, Ask{Why: Review, Text: r.Reason, Since: r.Finished})
		}
		return out
	}
	for i := range r.active.all() {
		s, n := &r.Steps[i], &r.Program.Nodes[i]
		w := Ask{Step: n.ID, Title: n.Step.Title, Text: s.Text, Since: s.Opened}
		switch {
		case s.Undo.Status == Asking && p.Steers:
			w.Why, w.Undo, w.Text, w.Since = Failure, true, s.Undo.Error, s.Undo.Failed
		case s.Status == Asking && p.Steers:
			w.Why, w.Text, w.Since = Failure, s.Error, s.Failed
		case s.Status == Open && n.Step.Manual != nil:
			if owner := n.Step.Manual.Owner; p.Answers(owner) {
				w.Why, w.For, w.Fields, w.Attachments = Task, owner, n.Step.Manual.Fields, n.Step.Manual.Attachments
				if s.Answer.What == Acknowledged {
					w.Acknowledged, w.AcknowledgedBy = s.Answer.At, s.Answer.By
				}
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

// Noted reports whether a note has gone out in the run.
func (r *Run) Noted() bool { return len(r.noted) > 0 }

// notesFor gives the notes to a person that they have not acknowledged, in the order in which they went out.
func (r *Run) notesFor(p Person) []Ask {
	var out []Ask
	for _, i := range r.noted {
		s, n := &r.Steps[i], &r.Program.Nodes[i]
		to := slices.IndexFunc(n.Step.Notify.To, p.Answers)
		if to < 0 || slices.Contains(s.Read, p.Name) {
			continue
		}
		text := n.Step.Notify.Text
		if s.Call != nil {
			text, _ = s.Call.With["text"].(string)
		}
		out = append(out, Ask{Why: Note, Step: n.ID, Title: n.Step.Title, Text: text, For: n.Step.Notify.To[to], Since: s.Ended})
	}
	return out
}

// askedAs finds for whom a person may decide on an approval now: as themselves, for their participant, or by one of their roles.
func (r *Run) askedAs(i int, p Person) (Vote, bool) {
	var behalf []string
	s := &r.Steps[i]
	if p.Participant == "" || slices.Contains(s.Added, p.Name) || slices.ContainsFunc(s.Delegations, func(d Delegation) bool { return d.To == p.Name }) {
		behalf = append(behalf, p.Name) // a plan asks nobody by name who belongs to a participant, people do
	}
	for _, name := range s.asked(r.Program.Nodes[i].Step.Approval) {
		if p.Holds(name) || name == p.Participant {
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

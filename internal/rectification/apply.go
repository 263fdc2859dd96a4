package rectification

import (
	"slices"
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/evaluation"
)

// What names a change of a sheet.
type What string

// The closed list of changes.
const (
	Add     What = "added"     // people found something that the evaluation has not
	Assign  What = "assigned"  // somebody has to put it right, by when
	Correct What = "corrected" // it was put right, says a person
	Verify  What = "retested"  // a run was to show it
	Accept  What = "accepted"  // the risk is taken
)

// Whats are the changes there are.
func Whats() []What { return []What{Add, Assign, Correct, Verify, Accept} }

// Change is what a person says to a sheet, with what the node that took it knows.
type Change struct {
	What What      `json:"what"`
	By   string    `json:"by"`
	At   time.Time `json:"at"`
	// Number is that of the item; of all but Add.
	Number int `json:"number,omitempty"`
	// Text is what was found, done or seen, or why the risk is taken.
	Text string `json:"text,omitempty"`
	Step string `json:"step,omitempty"` // of Add
	// Owner and Due are of Assign; what is left out stays.
	Owner string    `json:"owner,omitempty"`
	Due   time.Time `json:"due,omitzero"`
	// Run is the re-test, of Verify; Began when it began, and Shows what it shows of the problem. Passed is what the person saw, of an item
	// that people added.
	Run    string             `json:"run,omitempty"`
	Began  time.Time          `json:"began,omitzero"`
	Shows  evaluation.Verdict `json:"shows,omitempty"`
	Passed *bool              `json:"passed,omitempty"`
}

// Apply gives the sheet after the change, or says why there is none. The same word again of the same person changes nothing. It never changes
// what its caller holds.
func Apply(s Sheet, c Change) (Sheet, error) {
	switch {
	case c.By == "":
		return s, invalid("cannot say %q to the sheet of run %s: a named person has to", c.What, s.Run)
	case len(c.Text) > MostText:
		return s, invalid("the text has %d bytes, at most %d are kept", len(c.Text), MostText)
	}
	next := s.clone()
	if c.What == Add {
		changed, err := next.add(c)
		if changed {
			next.Seq++
		}
		return next, err
	}
	at := slices.IndexFunc(next.Items, func(i Item) bool { return i.Number == c.Number })
	if at < 0 {
		return s, errs.New(errs.NotFound, "the sheet of run %s has no item %d; perdure rectification show %s lists them", s.Run, c.Number, s.Run)
	}
	i := &next.Items[at]
	if i.said(c) {
		return s, nil
	}
	if state := i.State(); state.Over() {
		return s, errs.Refuse("C5", "item %d of run %s is %s: it does not change any more", c.Number, s.Run, state)
	}
	if err := i.apply(s.Run, c); err != nil {
		return s, err
	}
	next.Seq++
	return next, nil
}

func (s *Sheet) add(c Change) (bool, error) {
	text := strings.TrimSpace(c.Text)
	switch {
	case text == "":
		return false, invalid("say what has to be put right after run %s", s.Run)
	case slices.ContainsFunc(s.Items, func(i Item) bool {
		return i.Problem.Kind == evaluation.Said && i.AddedBy == c.By && i.Problem.Text == text && i.Problem.Step == c.Step
	}):
		return false, nil
	case len(s.Items) >= MostItems:
		return false, errs.New(errs.Refused, "the sheet of run %s has %d items, and takes no more", s.Run, MostItems)
	}
	s.Items = append(s.Items, Item{Number: len(s.Items) + 1, Problem: evaluation.Problem{Kind: evaluation.Said, Step: c.Step, Text: text}, AddedBy: c.By, AddedAt: c.At})
	return true, nil
}

// said reports whether this very word was said already.
func (i *Item) said(c Change) bool {
	same := func(s *Said) bool { return s != nil && s.By == c.By && s.Text == c.Text }
	switch c.What {
	case Assign:
		return (c.Owner == "" || c.Owner == i.Owner) && (c.Due.IsZero() || c.Due.Equal(i.Due)) && (c.Owner != "" || !c.Due.IsZero())
	case Correct:
		return same(i.Corrected)
	case Accept:
		return same(i.Accepted)
	case Verify:
		return slices.ContainsFunc(i.Retests, func(r Retest) bool { return r.Run == c.Run && r.By == c.By && r.Text == c.Text })
	case Add:
	}
	return false
}

func (i *Item) apply(id string, c Change) error {
	blank := strings.TrimSpace(c.Text) == ""
	switch c.What {
	case Assign:
		if c.Owner == "" && c.Due.IsZero() {
			return invalid("item %d of run %s: say who has to put it right, or by when", i.Number, id)
		}
		if !c.Due.IsZero() && !c.Due.After(c.At) {
			return invalid("item %d of run %s cannot be due at %s, which is over", i.Number, id, c.Due.Format(time.RFC3339))
		}
		if c.Owner != "" {
			i.Owner = c.Owner
		}
		if !c.Due.IsZero() {
			i.Due = c.Due
		}
	case Correct:
		if blank {
			return invalid("item %d of run %s: say what was done to put it right", i.Number, id)
		}
		i.Corrected = &Said{c.By, c.At, c.Text}
	case Verify:
		return i.retest(id, c)
	case Accept:
		switch {
		case blank:
			return invalid("item %d of run %s: the risk is not taken without a reason", i.Number, id)
		case c.By == i.Owner || i.Corrected != nil && c.By == i.Corrected.By:
			return errs.Refuse("C3", "%s cannot accept item %d of run %s: who owns it, or put it right, does not take the risk", c.By, i.Number, id)
		}
		i.Accepted = &Said{c.By, c.At, c.Text}
	case Add:
	}
	return nil
}

// retest takes note of a run that was to show that the problem is gone.
func (i *Item) retest(id string, c Change) error {
	switch {
	case i.Corrected == nil:
		return errs.Refuse("C2", "item %d of run %s was not put right yet: perdure rectification corrected says what was done", i.Number, id)
	case c.By == i.Corrected.By:
		return errs.Refuse("C3", "%s put item %d of run %s right: another person confirms the re-test", c.By, i.Number, id)
	case !c.Began.After(i.Corrected.At):
		return errs.Refuse("C3", "run %s began before item %d of run %s was put right, and shows nothing of that", c.Run, i.Number, id)
	case len(i.Retests) >= MostRetests:
		return errs.New(errs.Refused, "item %d of run %s has %d re-tests, and takes no more: a commander may accept the risk", i.Number, id, MostRetests)
	}
	passed := c.Shows == evaluation.Met
	if i.Problem.Kind == evaluation.Said {
		switch {
		case c.Passed == nil:
			return invalid("item %d of run %s was added by a person: say what run %s showed, passed or failed", i.Number, id, c.Run)
		case strings.TrimSpace(c.Text) == "":
			return invalid("item %d of run %s was added by a person: say what was seen in run %s", i.Number, id, c.Run)
		}
		passed = *c.Passed
	} else if c.Passed != nil {
		return invalid("item %d of run %s: run %s shows by itself whether it is put right", i.Number, id, c.Run)
	}
	if c.Shows != evaluation.Met && c.Shows != evaluation.Missed && i.Problem.Kind != evaluation.Said {
		return errs.Refuse("C3", "run %s does not show whether item %d of run %s is put right: %s", c.Run, i.Number, id, c.Shows)
	}
	i.Retests = append(i.Retests, Retest{Run: c.Run, Began: c.Began, By: c.By, At: c.At, Passed: passed, Text: c.Text, Corrected: *i.Corrected})
	if !passed { // C4
		i.Corrected = nil
	}
	return nil
}

package rectification

import (
	"slices"
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/evaluation"
	"perdure/internal/plan"
	"perdure/internal/run"
)

// Bounds of one sheet.
const (
	MostItems   = 200
	MostRetests = 20   // of an item
	MostText    = 4000 // bytes
)

// Sheet is what has to be put right after a run.
type Sheet struct {
	Run      string      `json:"run"`
	Plan     string      `json:"plan"`
	Title    string      `json:"title,omitempty"` // of the plan
	Mode     plan.Mode   `json:"mode"`
	Tabletop bool        `json:"tabletop,omitempty"`
	Outcome  run.Outcome `json:"outcome"`
	Ended    time.Time   `json:"ended"` // when the run was over
	OpenedBy string      `json:"openedBy"`
	OpenedAt time.Time   `json:"openedAt"`
	Items    []Item      `json:"items"`
	// Seq is the number of the last change.
	Seq int `json:"seq"`
	// Revision is set when it is read from the store.
	Revision int64 `json:"revision,omitempty"`
}

// Item is one thing that has to be put right.
type Item struct {
	Number  int                `json:"number"` // from 1
	Problem evaluation.Problem `json:"problem"`
	// AddedBy and AddedAt are of an item that the evaluation has not.
	AddedBy string    `json:"addedBy,omitempty"`
	AddedAt time.Time `json:"addedAt,omitzero"`
	// Owner is the person, role or duty that has to put it right, Due by when; zero: nobody said.
	Owner string    `json:"owner,omitempty"`
	Due   time.Time `json:"due,omitzero"`
	// Corrected is who put it right, and what was done.
	Corrected *Said    `json:"corrected,omitempty"`
	Retests   []Retest `json:"retests,omitempty"`
	// Accepted is who takes the risk instead, and why.
	Accepted *Said `json:"accepted,omitempty"`
}

// Said is what a person said.
type Said struct {
	By   string    `json:"by"`
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}

// Retest is a run that was to show that the problem is gone.
type Retest struct {
	Run   string    `json:"run"`
	Began time.Time `json:"began"` // the run
	By    string    `json:"by"`    // who confirms it
	At    time.Time `json:"at"`
	// Passed says that it is gone.
	Passed bool   `json:"passed"`
	Text   string `json:"text,omitempty"`
	// Corrected is what had been done.
	Corrected Said `json:"corrected"`
}

// State is where an item stands.
type State string

// The states.
const (
	Open      State = "open"
	Corrected State = "corrected" // waits for its re-test
	Closed    State = "closed"
	Accepted  State = "accepted"
)

// State is where the item stands.
func (i *Item) State() State {
	switch {
	case i.Accepted != nil:
		return Accepted
	case len(i.Retests) > 0 && i.Retests[len(i.Retests)-1].Passed:
		return Closed
	case i.Corrected != nil:
		return Corrected
	}
	return Open
}

// Over reports whether nothing has to be done about the item any more.
func (s State) Over() bool { return s == Closed || s == Accepted }

// Late reports whether an item had to be over by now and is not.
func (i *Item) Late(now time.Time) bool {
	return !i.State().Over() && !i.Due.IsZero() && now.After(i.Due)
}

// Begin is the sheet of a run that is over: an item for each problem.
func Begin(e *evaluation.Evaluation, by string, at time.Time) (Sheet, error) {
	m := e.Measures
	s := Sheet{Run: m.Run, Plan: m.Plan, Title: m.Title, Mode: m.Mode, Tabletop: m.Tabletop, Outcome: m.Outcome, Ended: m.End.UTC(), OpenedBy: by, OpenedAt: at, Items: []Item{}, Seq: 1}
	switch {
	case by == "":
		return s, invalid("a sheet is opened by a named person")
	case m.End.IsZero():
		return s, errs.New(errs.Conflict, "run %s is not over: what has to be put right is known when it is", m.Run)
	case len(e.Problems) > MostItems:
		return s, errs.New(errs.Refused, "run %s has %d problems, and a sheet has at most %d items: put right what is behind them all first", m.Run, len(e.Problems), MostItems)
	}
	for n, p := range e.Problems {
		p.Text = cut(p.Text)
		s.Items = append(s.Items, Item{Number: n + 1, Problem: p})
	}
	return s, nil
}

// cut bounds a text that no person wrote here.
func cut(text string) string {
	if len(text) <= MostText {
		return text
	}
	return strings.ToValidUTF8(text[:MostText], "")
}

func invalid(format string, args ...any) error { return errs.New(errs.Invalid, format, args...) }

// clone copies the sheet so far as Apply changes it.
func (s *Sheet) clone() Sheet {
	c := *s
	c.Items = slices.Clone(s.Items)
	for n := range c.Items {
		c.Items[n].Retests = slices.Clone(c.Items[n].Retests)
	}
	return c
}

// View is a sheet as it stands at an instant.
type View struct {
	Sheet
	Items []Stand `json:"items"`
	// Open is how many items are not over, Late how many of them had to be.
	Open int `json:"open"`
	Late int `json:"late"`
}

// Stand is an item with where it stands.
type Stand struct {
	Item
	State State `json:"state"`
	Late  bool  `json:"late,omitempty"`
}

// Look says how a sheet stands.
func Look(s Sheet, now time.Time) View {
	v := View{Sheet: s, Items: []Stand{}}
	for _, i := range s.Items {
		one := Stand{Item: i, State: i.State(), Late: i.Late(now)}
		v.Items = append(v.Items, one)
		if !one.State.Over() {
			v.Open++
		}
		if one.Late {
			v.Late++
		}
	}
	return v
}

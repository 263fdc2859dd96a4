package incident

import (
	"slices"
	"strings"
	"time"

	"perdure/internal/errs"
)

// What names a change of an incident.
type What string

// The closed list of changes.
const (
	Declare  What = "declared"   // a person says that it is an incident; with it come the rules
	Correct  What = "corrected"  // what is known of it, with all of its Facts
	Classify What = "classified" // a person gives it a class; an empty one leaves it to the thresholds
	Done     What = "done"       // a task is done
	Waive    What = "waived"     // a task is left undone, with a reason
	Restore  What = "restored"   // service is back, says a person
	Link     What = "linked"     // a run or a switch belongs to it
	Review   What = "reviewed"   // another person than declared it has looked at it
	Close    What = "closed"
	Join     What = "joined" // it is part of another incident, by a person's word to it (N6)
)

// Whats are the changes there are.
func Whats() []What {
	return []What{Declare, Correct, Classify, Done, Waive, Restore, Link, Review, Close, Join}
}

// Change is what a person says to an incident, with what the node that took it knows.
type Change struct {
	What What      `json:"what"`
	By   string    `json:"by"`
	At   time.Time `json:"at"`
	Text string    `json:"text,omitempty"`
	// Task is the task of Done and Waive, Class the class of Classify, When the instant of Restore.
	Task  string    `json:"task,omitempty"`
	Class string    `json:"class,omitempty"`
	When  time.Time `json:"when,omitzero"`
	// Facts belong to Correct; Run or Switch to Link.
	Facts  *Facts  `json:"facts,omitempty"`
	Run    string  `json:"run,omitempty"`
	Switch *Switch `json:"switch,omitempty"`
	// Into is the incident that it is part of, of Join.
	Into string `json:"into,omitempty"`
	// Rules are those in force, of Declare.
	Rules *Rules `json:"rules,omitempty"`
	// Seen is what the node sees of linked switches and runs; for Done, Waive and Close.
	Seen *Seen `json:"seen,omitempty"`
}

func invalid(format string, args ...any) error { return errs.New(errs.Invalid, format, args...) }

// Begin makes an incident that a person opens.
func Begin(id, title string, planned bool, facts Facts, by string, at time.Time) (Incident, error) {
	i := Incident{ID: id, Title: title, Cause: ByPerson, Planned: planned, Phase: Open, OpenedAt: at, OpenedBy: by, Facts: facts, Seq: 1}
	switch {
	case by == "":
		return i, invalid("an incident is opened by a named person")
	case blank(title):
		return i, invalid("an incident needs a title: what is disrupted, in one line")
	case len(facts.Units) == 0 && len(facts.Systems) == 0:
		return i, invalid("an incident affects units or systems: name at least one")
	}
	if err := short("the title", title); err != nil {
		return i, err
	}
	if i.DetectedAt.IsZero() {
		i.DetectedAt = at
	}
	return i, i.Facts.check(at)
}

func (f *Facts) check(now time.Time) error {
	switch {
	case len(f.Units) > MostNames || len(f.Systems) > MostNames:
		return invalid("an incident names at most %d units and %d systems", MostNames, MostNames)
	case f.DisruptedAt.After(now) || f.DetectedAt.After(now):
		return invalid("service cannot be disrupted, or that be detected, in the future")
	case !f.DisruptedAt.IsZero() && !f.DetectedAt.IsZero() && f.DetectedAt.Before(f.DisruptedAt):
		return invalid("service was disrupted at %s, so that cannot be detected at %s, before it", f.DisruptedAt.Format(time.RFC3339), f.DetectedAt.Format(time.RFC3339))
	case f.Amount != nil && *f.Amount < 0 || f.Customers != nil && *f.Customers < 0:
		return invalid("amount and customers are not negative; leave out what is not known")
	}
	return nil
}

// Apply gives the incident after the change, or says why there is none. The same word again of the same person changes nothing. It never changes
// what its caller holds.
func Apply(i Incident, c Change) (Incident, error) {
	if c.By == "" {
		return i, invalid("cannot say %q to incident %s: a named person has to", c.What, i.ID)
	}
	if err := short("the text", c.Text); err != nil {
		return i, err
	}
	if i.said(c) {
		return i, nil
	}
	if err := i.changes(); err != nil {
		return i, err
	}
	next := i.clone()
	if err := next.apply(c); err != nil {
		return i, err
	}
	next.Seq++
	return next, nil
}

// changes refuses what never changes again.
func (i *Incident) changes() error {
	switch i.Phase {
	case Over:
		return errs.Refuse("N4", "incident %s was closed by %s: it does not change any more", i.ID, i.Closed.By)
	case Joined:
		return errs.Refuse("N6", "incident %s is part of %s, by %s: say it of that one", i.ID, i.Into.Value, i.Into.By)
	case Open, Declared, Reviewed:
	}
	return nil
}

// Take gives the incident with another one as its part, and that one as it is then. The same again changes nothing. Neither is changed where it is refused.
func (i Incident) Take(part Incident, c Change) (whole, taken Incident, err error) {
	switch {
	case i.ID == part.ID:
		return i, part, invalid("incident %s cannot be joined into itself", i.ID)
	case i.Planned != part.Planned:
		return i, part, errs.Refuse("N6", "cannot join incident %s into %s: one is planned, the other is not", part.ID, i.ID)
	case len(i.Parts) >= MostParts:
		return i, part, errs.New(errs.Refused, "incident %s has %d parts, and takes no more", i.ID, MostParts)
	}
	if taken, err = Apply(part, c); err != nil || taken.Seq == part.Seq {
		return i, taken, err
	}
	if err := i.changes(); err != nil {
		return i, part, err
	}
	whole = i.clone()
	whole.Parts = append(whole.Parts, Part{ID: part.ID, Facts: part.Facts, Runs: part.Runs, Switches: part.switches(), Said: *taken.Into})
	whole.touch()
	whole.Seq++
	return whole, taken, nil
}

func (i *Incident) join(c Change) error {
	switch {
	case c.Into == "":
		return invalid("cannot join incident %s: say into which one", i.ID)
	case i.Declared != nil:
		return errs.Refuse("N6", "cannot join incident %s into %s: %s declared it, and its tasks are its own; join %s into it instead", i.ID, c.Into, i.Declared.By, c.Into)
	case len(i.Parts) > 0:
		return errs.Refuse("N6", "cannot join incident %s into %s: %s is part of it; join %s into it instead", i.ID, c.Into, i.Parts[0].ID, c.Into)
	}
	i.Into, i.Phase = c.said(), Joined
	i.Into.Value = c.Into
	return nil
}

// said reports whether this very word was said already.
func (i *Incident) said(c Change) bool {
	same := func(s *Said) bool { return s != nil && s.By == c.By && s.Text == c.Text }
	switch c.What {
	case Declare:
		return i.Declared != nil && i.Declared.By == c.By
	case Close:
		return i.Closed != nil && i.Closed.By == c.By
	case Done, Waive:
		s := i.of(c.Task)
		return s != nil && s.By == c.By && s.Waived == (c.What == Waive) && s.Text == c.Text
	case Classify:
		return i.Class == nil && c.Class == "" && i.Declared != nil || same(i.Class) && i.Class.Value == c.Class
	case Restore:
		return same(i.Restored) && i.Restored.When.Equal(c.When)
	case Review:
		return same(i.Review)
	case Link:
		return c.Run != "" && slices.Contains(i.Runs, c.Run) || c.Switch != nil && slices.Contains(i.Switches, *c.Switch)
	case Correct:
		return c.Facts != nil && i.Facts.same(c.Facts)
	case Join:
		return i.Into != nil && i.Into.Value == c.Into
	}
	return false
}

func (f *Facts) same(o *Facts) bool {
	number := func(a, b *int64) bool { return a == b || a != nil && b != nil && *a == *b }
	return slices.Equal(f.Systems, o.Systems) && slices.Equal(f.Units, o.Units) && f.DisruptedAt.Equal(o.DisruptedAt) && f.DetectedAt.Equal(o.DetectedAt) &&
		number(f.Amount, o.Amount) && number(f.Customers, o.Customers)
}

func (i *Incident) apply(c Change) error {
	switch c.What {
	case Declare:
		return i.declare(c)
	case Correct:
		return i.correct(c)
	case Classify:
		return i.classify(c)
	case Done, Waive:
		return i.settle(c)
	case Restore:
		return i.restore(c)
	case Link:
		return i.link(c)
	case Review:
		return i.review(c)
	case Close:
		return i.end(c)
	case Join:
		return i.join(c)
	}
	return invalid("%q is not something that people say to an incident; allowed: %v", c.What, Whats())
}

func (c Change) said() *Said { return &Said{By: c.By, At: c.At, Text: c.Text} }

func (i *Incident) declare(c Change) error {
	if i.Declared != nil {
		return errs.Refuse("N1", "incident %s was declared by %s at %s already", i.ID, i.Declared.By, i.Declared.At.Format(time.RFC3339))
	}
	rules := c.Rules
	if rules == nil {
		rules = &Rules{}
	}
	i.Declared, i.Rules, i.Phase = c.said(), rules, Declared
	return nil
}

// declared refuses what takes a declaration.
func (i *Incident) declared(c Change) error {
	if i.Declared == nil {
		return errs.Refuse("N1", "cannot say %q to incident %s: it is not declared yet (perdure incident declare %s)", c.What, i.ID, i.ID)
	}
	return nil
}

// touch takes a review back: it was about what was known then (N3).
func (i *Incident) touch() {
	if i.Review != nil {
		i.Review, i.Phase = nil, Declared
	}
}

func (i *Incident) correct(c Change) error {
	if c.Facts == nil {
		return invalid("cannot correct incident %s: nothing is said of it", i.ID)
	}
	if err := c.Facts.check(c.At); err != nil {
		return err
	}
	if len(c.Facts.Units) == 0 && len(c.Facts.Systems) == 0 {
		return invalid("incident %s affects units or systems: name at least one", i.ID)
	}
	i.Facts = *c.Facts
	i.touch()
	return nil
}

func (i *Incident) classify(c Change) error {
	if err := i.declared(c); err != nil {
		return err
	}
	i.touch()
	if c.Class == "" {
		i.Class = nil
		return nil
	}
	if i.Rules.rank(c.Class) < 0 {
		return invalid("incident %s has no class %q; its rules have %s", i.ID, c.Class, i.Rules.names())
	}
	if blank(c.Text) {
		return invalid("cannot give incident %s class %s without a reason", i.ID, c.Class)
	}
	i.Class = c.said()
	i.Class.Value = c.Class
	return nil
}

func (r *Rules) names() string {
	if len(r.Classes) == 0 {
		return "none"
	}
	names := make([]string, len(r.Classes))
	for j, c := range r.Classes {
		names[j] = c.Name
	}
	return strings.Join(names, ", ")
}

func (i *Incident) settle(c Change) error {
	if err := i.declared(c); err != nil {
		return err
	}
	if s := i.of(c.Task); s != nil {
		return errs.Refuse("N2", "task %s of incident %s was settled by %s at %s already", c.Task, i.ID, s.By, s.At.Format(time.RFC3339))
	}
	asked := i.tasks(c.Seen, c.At)
	if !slices.ContainsFunc(asked, func(t Task) bool { return t.Name == c.Task }) {
		return errs.New(errs.NotFound, "incident %s has no task %q; perdure incident show %s lists them", i.ID, c.Task, i.ID)
	}
	if c.What == Waive && blank(c.Text) {
		return errs.Refuse("N2", "cannot waive task %s of incident %s without a reason", c.Task, i.ID)
	}
	i.Settled = append(i.Settled, Settled{Task: c.Task, By: c.By, At: c.At, Waived: c.What == Waive, Text: c.Text})
	return nil
}

func (i *Incident) restore(c Change) error {
	switch {
	case c.When.IsZero():
		return invalid("cannot restore incident %s: say since when service is back", i.ID)
	case c.When.After(c.At):
		return invalid("service of incident %s cannot be back in the future", i.ID)
	case c.When.Before(i.DisruptedAt):
		return invalid("service of incident %s was disrupted at %s, and cannot be back before", i.ID, i.DisruptedAt.Format(time.RFC3339))
	}
	i.Restored = c.said()
	i.Restored.When = c.When
	i.touch()
	return nil
}

func (i *Incident) link(c Change) error {
	switch {
	case (c.Run == "") == (c.Switch == nil):
		return invalid("incident %s: link one run or one switch", i.ID)
	case len(i.Runs)+len(i.Switches) >= MostRuns:
		return errs.New(errs.Refused, "incident %s has %d runs and switches, and takes no more", i.ID, MostRuns)
	case c.Run != "":
		i.Runs = append(i.Runs, c.Run)
	default:
		i.Switches = append(i.Switches, *c.Switch)
	}
	i.touch()
	return nil
}

func (i *Incident) review(c Change) error {
	if err := i.declared(c); err != nil {
		return err
	}
	switch {
	case i.Declared.By == c.By:
		return errs.Refuse("N3", "cannot review incident %s: %s declared it, another person reviews it", i.ID, c.By)
	case blank(c.Text):
		return invalid("cannot review incident %s without a finding: what happened, why, and what follows", i.ID)
	}
	if _, err := i.back(c.Seen); err != nil {
		return err
	}
	i.Review, i.Phase = c.said(), Reviewed
	return nil
}

func (i *Incident) end(c Change) error {
	if err := i.declared(c); err != nil {
		return err
	}
	out, err := i.back(c.Seen)
	if err != nil {
		return err
	}
	if i.Review == nil {
		return errs.Refuse("N3", "cannot close incident %s: it was not reviewed since it last changed (perdure incident review %s)", i.ID, i.ID)
	}
	for _, t := range i.tasks(c.Seen, c.At) {
		if i.of(t.Name) == nil {
			return errs.Refuse("N3", "cannot close incident %s: task %s (%s) is open; it has to be done, or waived with a reason", i.ID, t.Name, t.Title)
		}
	}
	out.Class, _, _ = i.class(i.Rules, c.Seen, c.At)
	i.Closed, i.Outcome, i.Phase = c.said(), &out, Over
	return nil
}

package incident

import (
	"time"

	"perdure/internal/errs"
)

// Seen is what was measured of the switches and runs that belong to an incident.
type Seen struct {
	// From is when the first of them disrupted service, Until when the last of them gave it back; zero where that is not known.
	From  time.Time `json:"from,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// Running: one of them has not given it back yet.
	Running bool `json:"running,omitempty"`
}

// span is from when until when service was disrupted, as far as it is known; measured says that the end is not a person's word. A person may
// say that it took longer than was measured, and not that it took less.
func (i *Incident) span(s *Seen) (from, until time.Time, measured bool) {
	if i.Outcome != nil {
		return i.Outcome.From, i.Outcome.Until, i.Outcome.Measured
	}
	from = i.All().DisruptedAt
	if s != nil {
		if from.IsZero() {
			from = s.From
		}
		if s.Running {
			return from, time.Time{}, false
		}
		until, measured = s.Until, !s.Until.IsZero()
	}
	if r := i.Restored; r != nil && r.When.After(until) {
		until, measured = r.When, false
	}
	return from, until, measured
}

// back refuses where service is not back (N3).
func (i *Incident) back(s *Seen) (Outcome, error) {
	from, until, measured := i.span(s)
	switch {
	case s != nil && s.Running:
		return Outcome{}, errs.Refuse("N3", "incident %s goes on: a switch or a run that belongs to it has not given service back", i.ID)
	case until.IsZero():
		return Outcome{}, errs.Refuse("N3", "incident %s goes on: nothing measured that service is back, so a person has to say it (perdure incident restored %s)", i.ID, i.ID)
	}
	return Outcome{From: from, Until: until, Measured: measured}, nil
}

func (i *Incident) extent(s *Seen, now time.Time) Extent {
	from, until, _ := i.span(s)
	known := i.All()
	if from.IsZero() {
		from = known.DetectedAt // it was disrupted then at the latest
	}
	if until.IsZero() {
		until = now
	}
	return Extent{Facts: known, Lasted: max(0, until.Sub(from)), Known: !from.IsZero()}
}

// class gives the class by whoever decides it, the computed one, and the threshold that made that one.
func (i *Incident) class(r *Rules, s *Seen, now time.Time) (class, computed, why string) {
	computed, why = r.Judge(i.extent(s, now))
	class = computed
	if i.Class != nil {
		class = i.Class.Value
	}
	if i.Outcome != nil {
		class = i.Outcome.Class
	}
	return class, computed, why
}

// tasks are those of the incident now; none before it is declared.
func (i *Incident) tasks(s *Seen, now time.Time) []Task {
	if i.Rules == nil {
		return nil
	}
	class, _, _ := i.class(i.Rules, s, now)
	return i.Rules.asked(class, i.Planned)
}

// State is how a task stands.
type State string

// The closed list of states.
const (
	Pending State = "open"
	Late    State = "overdue"
	InTime  State = "done"
	TooLate State = "done late"
	Waived  State = "waived"
)

// TaskView is a task with its clock.
type TaskView struct {
	Task
	Due   time.Time `json:"due"`
	State State     `json:"state"`
	// By and When are who settled it, and when, Text what they said.
	By   string    `json:"by,omitempty"`
	When time.Time `json:"at,omitzero"`
	Text string    `json:"text,omitempty"`
}

// Clock is how long something took, so far where it goes on; nil where that is not known (N5).
type Clock struct {
	Took  time.Duration `json:"took"`
	Going bool          `json:"going,omitempty"`
	// Within is how long it may take, 0 for ever; Late says that it took longer.
	Within time.Duration `json:"within,omitempty"`
	Late   bool          `json:"late,omitempty"`
}

// View is an incident as it stands at an instant.
type View struct {
	Incident
	At time.Time `json:"at"`
	// NowClass is its class, Computed that by thresholds, Why the one that was reached.
	NowClass string `json:"nowClass,omitempty"`
	Computed string `json:"computed,omitempty"`
	Why      string `json:"why,omitempty"`
	// From and Until are when service was disrupted and when it was back.
	From     time.Time `json:"from,omitzero"`
	Until    time.Time `json:"until,omitzero"`
	Measured bool      `json:"measured,omitempty"`
	// Detect, Declare and Recover are its clocks: from the disruption to the detection, from there to the declaration, and from the
	// disruption until service was back.
	Detect  *Clock     `json:"detect"`
	Declare *Clock     `json:"declare"`
	Recover *Clock     `json:"recover"`
	Tasks   []TaskView `json:"tasks,omitempty"`
	// Affected is what is known of it and of its parts.
	Affected Facts `json:"affected"`
	// Functions are those that the affected systems serve; whoever has the estate sets them.
	Functions []string `json:"functions,omitempty"`
	// Lacks is what keeps it from being closed, empty where nothing does.
	Lacks []string `json:"lacks,omitempty"`
}

func clock(from, to, now time.Time, within time.Duration) *Clock {
	if from.IsZero() {
		return nil
	}
	c := Clock{Within: within, Going: to.IsZero()}
	if c.Going {
		to = now
	}
	c.Took = max(0, to.Sub(from))
	c.Late = within > 0 && c.Took > within
	return &c
}

// Look says how an incident stands. Applied are the rules of the manifest; they count until it is declared (N1).
func Look(i Incident, applied Rules, s *Seen, now time.Time) View {
	rules := &applied
	if i.Rules != nil {
		rules = i.Rules
	}
	v := View{Incident: i, At: now, Affected: i.All()}
	v.NowClass, v.Computed, v.Why = i.class(rules, s, now)
	v.From, v.Until, v.Measured = i.span(s)
	var declared time.Time
	if i.Declared != nil {
		declared = i.Declared.At
	}
	if !v.Affected.DetectedAt.IsZero() {
		v.Detect = clock(v.From, v.Affected.DetectedAt, now, 0)
	}
	v.Declare = clock(v.Affected.DetectedAt, declared, now, time.Duration(rules.DeclareWithin))
	v.Recover = clock(v.From, v.Until, now, 0)
	if i.Phase == Joined { // the clock of the other one counts
		v.Declare = nil
		return v
	}
	for _, t := range i.tasks(s, now) {
		v.Tasks = append(v.Tasks, i.task(t, now))
	}
	if i.Phase != Over {
		v.Lacks = i.lacks(s, v.Tasks)
	}
	return v
}

// PartOf takes over from the incident that this one is part of when service was back: where nothing measured that here, or a person says that it took
// longer.
func (v *View) PartOf(whole *View) {
	if v.Until.IsZero() {
		v.Until = whole.Until
	} else if r := whole.Restored; r != nil && r.When.After(v.Until) {
		v.Until = r.When
	}
}

func (i *Incident) task(t Task, now time.Time) TaskView {
	v := TaskView{Task: t, Due: i.Declared.At.Add(time.Duration(t.Within)), State: Pending}
	done := i.of(t.Name)
	switch {
	case done == nil:
		if now.After(v.Due) {
			v.State = Late
		}
		return v
	case done.Waived:
		v.State = Waived
	case done.At.After(v.Due):
		v.State = TooLate
	default:
		v.State = InTime
	}
	v.By, v.When, v.Text = done.By, done.At, done.Text
	return v
}

func (i *Incident) lacks(s *Seen, tasks []TaskView) []string {
	var out []string
	if i.Declared == nil {
		out = append(out, "declaration")
	}
	if _, err := i.back(s); err != nil {
		out = append(out, "restoration")
	}
	for _, t := range tasks {
		if t.State == Pending || t.State == Late {
			out = append(out, "task "+t.Name)
		}
	}
	if i.Review == nil {
		out = append(out, "review")
	}
	return out
}

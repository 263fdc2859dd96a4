package incident

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"perdure/internal/estate"
)

// Cause is how an incident came to be opened.
type Cause string

// The closed list of causes.
const (
	ByFailover  Cause = "failover"  // with the decision of an automatic failover
	ByEmergency Cause = "emergency" // with the decision of an emergency switch
	ByDetection Cause = "detection" // a group serves nobody, and nothing can be decided without people
	ByPerson    Cause = "person"
)

// Phase is how far an incident has come.
type Phase string

// The closed list of phases.
const (
	Open     Phase = "open"     // nobody has declared it yet
	Declared Phase = "declared" // its tasks run
	Reviewed Phase = "reviewed" // it may be closed as soon as no task is open
	Over     Phase = "closed"
	Joined   Phase = "joined" // it is part of another one (N6)
)

// Bounds of one incident: texts in bytes, lists in items.
const (
	MostText  = 4000
	MostNames = 4096
	MostRuns  = 64
	MostParts = 1024
)

// Incident is one disruption of service, or what may be one. The zero time is one that is not known.
type Incident struct {
	ID    string `json:"id"`
	Title string `json:"title,omitempty"`
	Cause Cause  `json:"cause"`
	// Planned: people disrupted service on purpose, and announced it.
	Planned bool  `json:"planned,omitempty"`
	Phase   Phase `json:"phase"`
	// OpenedBy is a person's name, or the machine that decided the switch.
	OpenedAt time.Time `json:"openedAt"`
	OpenedBy string    `json:"openedBy"`
	// Tenant is the institution whose it is; empty: it is the platform's own, or of whose systems and units alone it is about.
	Tenant estate.TenantID `json:"tenant,omitempty"`
	Facts
	// Group and Left say which ownership ended with it; empty where a person opened it for something else.
	Group estate.GroupID   `json:"group,omitempty"`
	Left  estate.Ownership `json:"left,omitzero"`

	Declared *Said `json:"declared,omitempty"`
	// Rules are those in force at the declaration (N1).
	Rules *Rules `json:"rules,omitempty"`
	// Class is the class that a person gave it in the place of the computed one.
	Class   *Said     `json:"class,omitempty"`
	Settled []Settled `json:"settled,omitempty"`
	// Runs are linked runs, Switches groups and ownerships that were left in switches that belong to it.
	Runs     []string `json:"runs,omitempty"`
	Switches []Switch `json:"switches,omitempty"`
	// Parts are incidents that were joined into it; Into says into which one it was joined, in Value (N6).
	Parts []Part `json:"parts,omitempty"`
	Into  *Said  `json:"into,omitempty"`
	// Restored is a person's word that service is back, where nothing measured it.
	Restored *Said `json:"restored,omitempty"`
	Review   *Said `json:"review,omitempty"`
	Closed   *Said `json:"closed,omitempty"`
	// Outcome is what was measured when it was closed (N4).
	Outcome *Outcome `json:"outcome,omitempty"`
	// Seq is the number of the last change.
	Seq int `json:"seq"`
	// Revision is set when it is read from the store.
	Revision int64 `json:"revision,omitempty"`
}

// Facts are what is known of a disruption. They may be corrected until the incident is closed.
type Facts struct {
	Systems []estate.SystemID `json:"systems,omitempty"`
	Units   []estate.UnitID   `json:"units,omitempty"`
	// DisruptedAt is when service was disrupted, DetectedAt when that was found.
	DisruptedAt time.Time `json:"disruptedAt,omitzero"`
	DetectedAt  time.Time `json:"detectedAt,omitzero"`
	// Amount is the business affected, in whole units of the estate's currency, Customers how many; nil where it is not known (N5).
	Amount    *int64 `json:"amount,omitempty"`
	Customers *int64 `json:"customers,omitempty"`
}

// Said is what a person said: of a class its name in Value, of a restoration the instant in When.
type Said struct {
	By    string    `json:"by"`
	At    time.Time `json:"at"`
	Text  string    `json:"text,omitempty"`
	Value string    `json:"value,omitempty"`
	When  time.Time `json:"when,omitzero"`
}

// Settled is a task that nobody has to do any more (N2).
type Settled struct {
	Task   string    `json:"task"`
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Waived bool      `json:"waived,omitempty"`
	Text   string    `json:"text,omitempty"`
}

// Switch is a change of hands, by the ownership that it left.
type Switch struct {
	Group estate.GroupID   `json:"group"`
	Left  estate.Ownership `json:"left"`
}

// Part is an incident that was joined into another one, as it was then.
type Part struct {
	ID string `json:"id"`
	Facts
	Runs     []string `json:"runs,omitempty"`
	Switches []Switch `json:"switches,omitempty"`
	Said     Said     `json:"said"`
}

// Outcome is what an incident came to.
type Outcome struct {
	Class string `json:"class"`
	// From and Until are when service was disrupted and when it was back; Measured says that the latter comes from the history of ownership or
	// from a run, and not from a person's word.
	From     time.Time `json:"from,omitzero"`
	Until    time.Time `json:"until"`
	Measured bool      `json:"measured,omitempty"`
}

// IDOf is the name of the incident of an ownership that ended without people's plan. There is one for each, whoever opens it.
func IDOf(group estate.GroupID, left estate.Ownership) string {
	return fmt.Sprintf("%s-%d.%d", group, left.Incarnation.Counter, left.Epoch)
}

// of gives what is said of a task, nil where it is open.
func (i *Incident) of(task string) *Settled {
	at := slices.IndexFunc(i.Settled, func(s Settled) bool { return s.Task == task })
	if at < 0 {
		return nil
	}
	return &i.Settled[at]
}

// clone copies the incident so far as Apply changes it.
func (i *Incident) clone() Incident {
	c := *i
	c.Settled, c.Runs, c.Switches, c.Parts = slices.Clone(i.Settled), slices.Clone(i.Runs), slices.Clone(i.Switches), slices.Clone(i.Parts)
	return c
}

// switches are all that belong to it, its own and those of its parts.
func (i *Incident) switches() []Switch {
	list := slices.Clone(i.Switches)
	if i.Group != "" {
		list = append(list, Switch{Group: i.Group, Left: i.Left})
	}
	for _, p := range i.Parts {
		list = append(list, p.Switches...)
	}
	return list
}

// Groups are those whose changes of hands belong to it.
func (i *Incident) Groups() []estate.GroupID {
	var out []estate.GroupID
	for _, s := range i.switches() {
		if !slices.Contains(out, s.Group) {
			out = append(out, s.Group)
		}
	}
	return out
}

// AllRuns are the runs that belong to it, its own and those of its parts.
func (i *Incident) AllRuns() []string {
	list := slices.Clone(i.Runs)
	for _, p := range i.Parts {
		for _, r := range p.Runs {
			if !slices.Contains(list, r) {
				list = append(list, r)
			}
		}
	}
	return list
}

// All is what is known of it and of its parts: what any of them affects, since the first of them. Amounts and customers that are known add up (N5).
func (i *Incident) All() Facts {
	f := i.Facts
	f.Systems, f.Units = slices.Clone(f.Systems), slices.Clone(f.Units)
	for _, p := range i.Parts {
		for _, s := range p.Systems {
			if !slices.Contains(f.Systems, s) {
				f.Systems = append(f.Systems, s)
			}
		}
		for _, u := range p.Units {
			if !slices.Contains(f.Units, u) {
				f.Units = append(f.Units, u)
			}
		}
		f.DisruptedAt, f.DetectedAt = earlier(f.DisruptedAt, p.DisruptedAt), earlier(f.DetectedAt, p.DetectedAt)
		f.Amount, f.Customers = sum(f.Amount, p.Amount), sum(f.Customers, p.Customers)
	}
	return f
}

// earlier is the earlier one of two instants that are known.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func sum(a, b *int64) *int64 {
	if a == nil || b == nil {
		return cmp.Or(a, b)
	}
	return new(*a + *b)
}

// Alone is the incident without what was joined into it, as if it were not closed yet: what it came to is that of all of them.
func (i Incident) Alone() Incident {
	if len(i.Parts) == 0 {
		return i
	}
	i.Parts, i.Outcome = nil, nil
	if i.Phase == Over {
		i.Phase = Reviewed
	}
	return i
}

// short refuses texts that nobody can read or keep.
func short(what, text string) error {
	if len(text) > MostText {
		return invalid("%s has %d bytes, at most %d are kept", what, len(text), MostText)
	}
	return nil
}

func blank(text string) bool { return strings.TrimSpace(text) == "" }

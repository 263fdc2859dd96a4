package incident

import (
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
)

// Bounds of one incident: texts in bytes, lists in items.
const (
	MostText  = 4000
	MostNames = 4096
	MostRuns  = 64
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
	c.Settled, c.Runs, c.Switches = slices.Clone(i.Settled), slices.Clone(i.Runs), slices.Clone(i.Switches)
	return c
}

// short refuses texts that nobody can read or keep.
func short(what, text string) error {
	if len(text) > MostText {
		return invalid("%s has %d bytes, at most %d are kept", what, len(text), MostText)
	}
	return nil
}

func blank(text string) bool { return strings.TrimSpace(text) == "" }

package incident

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"perdure/internal/estate"
	"perdure/internal/shape"
)

// Rules are one document of the manifest: classes of incidents, and what has to be done by when. Without classes no incident has one, without
// tasks none has any.
type Rules struct {
	Name  string `yaml:"name" json:"name"`
	Title string `yaml:"title,omitempty" json:"title,omitempty"`
	// DeclareWithin is how long after its detection an incident may wait until it is declared; 0 for ever.
	DeclareWithin shape.Duration `yaml:"declareWithin,omitempty" json:"declareWithin,omitempty"`
	// Classes stand from the lightest to the gravest. The first one is that of an incident that reaches no threshold.
	Classes []Class `yaml:"classes,omitempty" json:"classes,omitempty"`
	Tasks   []Task  `yaml:"tasks,omitempty" json:"tasks,omitempty"`
}

// Class is a class of incidents. An incident is in it when it reaches one of its thresholds, and in no graver one.
type Class struct {
	Name       string      `yaml:"name" json:"name"`
	Title      string      `yaml:"title,omitempty" json:"title,omitempty"`
	Thresholds []Threshold `yaml:"thresholds,omitempty" json:"thresholds,omitempty"`
}

// Threshold is reached when everything that it says is.
type Threshold struct {
	// Systems: one of them is affected. Units: so many units are.
	Systems []estate.SystemID `yaml:"systems,omitempty" json:"systems,omitempty"`
	Units   int               `yaml:"units,omitempty" json:"units,omitempty"`
	// Duration is how long service is disrupted, Amount the business affected, Customers how many.
	Duration  shape.Duration `yaml:"duration,omitempty" json:"duration,omitempty"`
	Amount    int64          `yaml:"amount,omitempty" json:"amount,omitempty"`
	Customers int64          `yaml:"customers,omitempty" json:"customers,omitempty"`
}

// Sort is what a task is.
type Sort string

// The closed list of sorts of tasks.
const (
	Report   Sort = "report"   // to a regulator, or within the institution
	Announce Sort = "announce" // to the public, or to customers
	Other    Sort = "other"
)

// Scope says for which incidents a task is.
type Scope string

// The closed list of scopes.
const (
	Unplanned Scope = "unplanned"
	Planned   Scope = "planned"
	All       Scope = "all"
)

// Task is what has to be done of every incident of a class and of graver ones, Within its declaration.
type Task struct {
	Name  string `yaml:"name" json:"name"`
	Title string `yaml:"title" json:"title"`
	Sort  Sort   `yaml:"sort" json:"sort"`
	// To is who is told, Owner whose task it is: a role or a person.
	To    string `yaml:"to,omitempty" json:"to,omitempty"`
	Owner string `yaml:"owner" json:"owner"`
	// Class is the lightest one that it is for; empty for all.
	Class  string         `yaml:"class,omitempty" json:"class,omitempty"`
	For    Scope          `yaml:"for" json:"for"`
	Within shape.Duration `yaml:"within" json:"within"`
}

// rank gives the place of a class, -1 where there is none of the name.
func (r *Rules) rank(class string) int {
	return slices.IndexFunc(r.Classes, func(c Class) bool { return c.Name == class })
}

// Extent is what a class depends on.
type Extent struct {
	Facts
	// Lasted is how long service was disrupted so far; Known says that it is known.
	Lasted time.Duration
	Known  bool
}

// Judge gives the class of an extent, and the threshold that made it so; empty where there are no classes, or for the lightest.
func (r *Rules) Judge(e Extent) (class, why string) {
	for i := len(r.Classes) - 1; i >= 0; i-- {
		for _, t := range r.Classes[i].Thresholds {
			if t.reached(e) {
				return r.Classes[i].Name, t.String()
			}
		}
	}
	if len(r.Classes) > 0 {
		class = r.Classes[0].Name
	}
	return class, ""
}

// reached: what is not known is not reached (N5).
func (t *Threshold) reached(e Extent) bool {
	return (len(t.Systems) == 0 || slices.ContainsFunc(t.Systems, func(s estate.SystemID) bool { return slices.Contains(e.Systems, s) })) &&
		len(e.Units) >= t.Units &&
		(t.Duration == 0 || e.Known && e.Lasted >= time.Duration(t.Duration)) &&
		(t.Amount == 0 || e.Amount != nil && *e.Amount >= t.Amount) &&
		(t.Customers == 0 || e.Customers != nil && *e.Customers >= t.Customers)
}

// String writes "duration ≥ 30m0s, units ≥ 2".
func (t *Threshold) String() string {
	var parts []string
	if len(t.Systems) > 0 {
		names := make([]string, len(t.Systems))
		for i, s := range t.Systems {
			names[i] = string(s)
		}
		parts = append(parts, "systems "+strings.Join(names, ", "))
	}
	if t.Units > 0 {
		parts = append(parts, fmt.Sprintf("units ≥ %d", t.Units))
	}
	if t.Duration > 0 {
		parts = append(parts, "duration ≥ "+t.Duration.String())
	}
	if t.Amount > 0 {
		parts = append(parts, fmt.Sprintf("amount ≥ %d", t.Amount))
	}
	if t.Customers > 0 {
		parts = append(parts, fmt.Sprintf("customers ≥ %d", t.Customers))
	}
	return strings.Join(parts, ", ")
}

// asked are the tasks of an incident of the class.
func (r *Rules) asked(class string, planned bool) []Task {
	have := r.rank(class)
	return slices.DeleteFunc(slices.Clone(r.Tasks), func(t Task) bool {
		return t.For == Planned && !planned || t.For == Unplanned && planned || t.Class != "" && r.rank(t.Class) > have
	})
}

package plan

import (
	"slices"
	"time"
)

// Catalogue is what drivers can do, as plans are held against it.
type Catalogue []Action

// Action is one thing that a driver does or looks at.
type Action struct {
	Driver string `json:"driver"`
	Name   string `json:"name"`
	Doc    string `json:"doc"`
	// Looks: it changes nothing. Only such actions may be checks and prechecks.
	Looks bool `json:"looks,omitempty"`
	// Target says what it acts on; empty: it has no target.
	Target  string      `json:"target,omitempty"`
	With    []Parameter `json:"with,omitempty"`
	Outputs []Parameter `json:"outputs,omitempty"`
	// Timeout is that of an attempt where the step has none.
	Timeout time.Duration `json:"timeout"`
	Touches Touches       `json:"touches,omitzero"`
}

// Touches is what an action means for the contract of a mode.
type Touches struct {
	// Interrupts production.
	Interrupts bool `json:"interrupts,omitempty"`
	// Image is the data that it brings into use; empty: none.
	Image Image `json:"image,omitempty"`
	// Interfaces are the external interfaces it connects; empty: none.
	Interfaces Interfaces `json:"interfaces,omitempty"`
	// WritesBack to production.
	WritesBack bool `json:"writesBack,omitempty"`
	// Leaves something behind that a cleanup step has to remove.
	Leaves bool `json:"leaves,omitempty"`
}

// Find gives an action, nil where there is none.
func (c Catalogue) Find(driver, action string) *Action {
	i := slices.IndexFunc(c, func(a Action) bool { return a.Driver == driver && a.Name == action })
	if i < 0 {
		return nil
	}
	return &c[i]
}

// Drivers are the names of the drivers.
func (c Catalogue) Drivers() []string {
	var names []string
	for _, a := range c {
		if !slices.Contains(names, a.Driver) {
			names = append(names, a.Driver)
		}
	}
	return names
}

// Actions are the names of a driver's actions, those that look only where looks is true.
func (c Catalogue) Actions(driver string, looks bool) []string {
	var names []string
	for _, a := range c {
		if a.Driver == driver && (a.Looks || !looks) {
			names = append(names, a.Name)
		}
	}
	return names
}

// BuiltIn is what the product's own drivers can do.
func BuiltIn() Catalogue {
	return Catalogue{
		{
			Driver: "unit", Name: "switch", Target: "a unit", Timeout: 2 * time.Minute,
			Doc:  "Make a unit current at another site. The mode is that of the run; nothing is done where the unit is there already.",
			With: []Parameter{{Name: "to", Type: Text, Required: true, Doc: "Site."}},
			Outputs: []Parameter{
				{Name: "site", Type: Text},
				{Name: "ownership", Type: Text},
				{Name: "pauseMillis", Type: Number},
				{Name: "lostTransactions", Type: Number, Doc: "What was accepted to be lost when it was decided, by the estimate; -1: not known."},
				{Name: "lostAccounts", Type: Number, Doc: "Accounts that these are of; -1: not known."},
				{Name: "lostAmount", Type: Text, Doc: "Their amount; empty: not known."},
				{Name: "lostMillis", Type: Number, Doc: "How much time of business that is; -1: not known."},
				{Name: "lossSource", Type: Text, Doc: "Where these figures come from."},
			},
			Touches: Touches{Interrupts: true, Image: Replica, Interfaces: ProductionInterfaces, WritesBack: true},
		},
		{
			Driver: "unit", Name: "state", Target: "a unit", Looks: true, Timeout: 10 * time.Second,
			Doc: "How a unit stands.",
			Outputs: []Parameter{
				{Name: "site", Type: Text, Doc: "Where it is current."},
				{Name: "state", Type: Text},
				{Name: "ownership", Type: Text},
				{Name: "inSync", Type: Number, Doc: "Copies in the in-sync set."},
				{Name: "accepting", Type: Boolean, Doc: "It accepts writes."},
				{Name: "quarantined", Type: Boolean},
			},
		},
	}
}

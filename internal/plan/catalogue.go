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
	// Cleaner is the action of the same driver that removes it, of the same target with the same parameters; empty: any cleanup step does.
	Cleaner string `json:"cleaner,omitempty"`
}

// Find gives an action, nil where there is none.
func (c Catalogue) Find(driver, action string) *Action {
	i := slices.IndexFunc(c, func(a Action) bool { return a.Driver == driver && a.Name == action })
	if i < 0 {
		return nil
	}
	return &c[i]
}

// Of is what one driver can do.
func (c Catalogue) Of(driver string) Catalogue {
	var own Catalogue
	for _, a := range c {
		if a.Driver == driver {
			own = append(own, a)
		}
	}
	return own
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
		{
			Driver: "sandbox", Name: "clone", Target: "a unit", Timeout: time.Hour,
			Doc:     "Copy the files of the unit's copy at a site into a sandbox of the run, from the copy's own server. Refused where the unit is current there, and where the disk has no room.",
			With:    []Parameter{sandboxSite()},
			Outputs: []Parameter{{Name: "state", Type: Text}, {Name: "bytes", Type: Number}, {Name: "position", Type: Text}},
			Touches: Touches{Image: Snapshot, Leaves: true, Cleaner: "discard"},
		},
		{
			Driver: "sandbox", Name: "open", Target: "a unit", Timeout: 10 * time.Minute,
			Doc:     "Start a server on the clone that takes writes, reached by the copy's agent alone; one that could reach anybody is ended.",
			With:    []Parameter{sandboxSite()},
			Outputs: []Parameter{{Name: "state", Type: Text}, {Name: "bytes", Type: Number}, {Name: "position", Type: Text, Doc: "Up to where it has the copy's log."}},
			Touches: Touches{Image: Snapshot, Leaves: true, Cleaner: "discard"},
		},
		{
			Driver: "sandbox", Name: "transact", Target: "a unit", Timeout: 5 * time.Minute,
			Doc:  "Carry out a transaction of every declared test account of the unit in the open sandbox, behind the guard, and try one of another account, which the sandbox refuses.",
			With: []Parameter{sandboxSite()},
			Outputs: []Parameter{
				{Name: "accounts", Type: Number, Doc: "Declared test accounts of the unit."},
				{Name: "accepted", Type: Number, Doc: "Transactions of theirs that were carried out."},
				{Name: "refused", Type: Boolean, Doc: "One of another account was refused because of that."},
				{Name: "other", Type: Text, Doc: "That account."},
				{Name: "said", Type: Text, Doc: "Why a transaction of a test account was not carried out."},
			},
			Touches: Touches{Image: Snapshot, Leaves: true, Cleaner: "discard"},
		},
		{
			Driver: "sandbox", Name: "verify", Target: "a unit", Timeout: 30 * time.Minute,
			Doc:  "Look through tables and indexes of the open sandbox, count, have accounts judged by the system's own query, and write a row.",
			With: []Parameter{sandboxSite()},
			Outputs: []Parameter{
				{Name: "position", Type: Text},
				{Name: "relations", Type: Number},
				{Name: "corrupt", Type: Text, Doc: "What is damaged; empty: nothing."},
				{Name: "rows", Type: Number},
				{Name: "transactions", Type: Number},
				{Name: "amount", Type: Text},
				{Name: "accounts", Type: Number},
				{Name: "inconsistent", Type: Number},
				{Name: "written", Type: Boolean, Doc: "A row was written and read back."},
				{Name: "closed", Type: Boolean, Doc: "No unit is open in it."},
			},
			Touches: Touches{Image: Snapshot, Leaves: true, Cleaner: "discard"},
		},
		{
			Driver: "sandbox", Name: "mask", Target: "a unit", Timeout: time.Hour,
			Doc:  "Overwrite the columns that the system's manifest declares (drill.mask) in the open sandbox, all or nothing, and prove that no value of before is left in them. Transactions are refused from then on.",
			With: []Parameter{sandboxSite()},
			Outputs: []Parameter{
				{Name: "tables", Type: Number},
				{Name: "columns", Type: Number},
				{Name: "rows", Type: Number, Doc: "Rows that were written anew."},
				{Name: "values", Type: Number, Doc: "Values that were overwritten; none of before is left."},
			},
			Touches: Touches{Image: Snapshot, Leaves: true, Cleaner: "discard"},
		},
		{
			Driver: "sandbox", Name: "show", Target: "a unit", Timeout: 5 * time.Minute,
			Doc:  "Hand out to participants what the system's manifest lets them look at (drill.show), as files of the run. Refused where not all that is declared was masked in this sandbox.",
			With: []Parameter{sandboxSite()},
			Outputs: []Parameter{
				{Name: "tables", Type: Number, Doc: "Tables that are shown, each in a file of its own."},
				{Name: "rows", Type: Number},
				{Name: "bytes", Type: Number},
			},
			Touches: Touches{Image: Snapshot, Leaves: true, Cleaner: "discard"},
		},
		{
			Driver: "sandbox", Name: "discard", Target: "a unit", Timeout: 5 * time.Minute,
			Doc:     "End the sandbox of the run and remove its files.",
			With:    []Parameter{sandboxSite()},
			Outputs: []Parameter{{Name: "state", Type: Text}, {Name: "bytes", Type: Number}, {Name: "position", Type: Text}},
		},
		{
			Driver: "sandbox", Name: "production", Target: "a unit", Looks: true, Timeout: 30 * time.Second,
			Doc:  "How the unit stands where it is current, and how its copy at a site follows: looked at before, during and after a drill.",
			With: []Parameter{sandboxSite()},
			Outputs: []Parameter{
				{Name: "accepting", Type: Boolean, Doc: "It accepts writes."},
				{Name: "lagBytes", Type: Number, Doc: "Log of the owner that the copy has not flushed."},
				{Name: "connections", Type: Number, Doc: "Sessions at the owner's server."},
				{Name: "waitingCommits", Type: Number},
				{Name: "inSync", Type: Number},
				{Name: "position", Type: Text},
				{Name: "untouched", Type: Boolean, Doc: "The copy has nothing of what is written into sandboxes."},
				{Name: "sandbox", Type: Text, Doc: "The run that has a sandbox there."},
			},
		},
		archiveAction("restore", "Make the archive that the unit's cold copy keeps at a site a copy: the newest backup whose files are as they were, with all log behind it. It follows nobody until the record says so, and it owns nothing; nothing is done where it is a copy already.", false),
		archiveAction("state", "What the unit's cold copy keeps at a site.", true),
		ordersAction("reconcile", "Ask the unit's owner for every held order that is open, of all units of its replication group, and write down what is there. Refused while one is open.", false),
		ordersAction("state", "How the held orders of a unit stand, with those of all units of its replication group, by what is written down. Nobody is asked.", true),
	}
}

// archiveAction is an action on the archive of a unit's cold copy. A restored copy brings no data into use: the switch does.
func archiveAction(name, doc string, looks bool) Action {
	timeout := 12 * time.Hour
	if looks {
		timeout = time.Minute
	}
	return Action{
		Driver: "archive", Name: name, Target: "a unit", Looks: looks, Timeout: timeout, Doc: doc,
		With: []Parameter{{Name: "site", Type: Text, Required: true, Doc: "Site of the cold copy."}},
		Outputs: []Parameter{
			{Name: "backup", Type: Text, Doc: "The newest backup that nothing is known to be wrong with; empty: there is none."},
			{Name: "backupSeconds", Type: Number, Doc: "How long ago it was made; -1: there is none."},
			{Name: "logSeconds", Type: Number, Doc: "How long ago log was last written; -1: there is none."},
			{Name: "until", Type: Text, Doc: "Up to where backup and log reach without a gap."},
			{Name: "gap", Type: Text, Doc: "The first file of log that is missing; empty: none."},
			{Name: "ready", Type: Boolean, Doc: "There is a good backup, and no log is missing behind it."},
			{Name: "restored", Type: Boolean, Doc: "It is a copy, and the record knows it."},
		},
	}
}

// ordersAction is an action on the held orders of a unit.
func ordersAction(name, doc string, looks bool) Action {
	var touches Touches
	if !looks { // it asks the unit's owner, and writes into the ledger of what is for real
		touches.Interfaces = ProductionInterfaces
	}
	return Action{
		Driver: "orders", Name: name, Target: "a unit", Looks: looks, Timeout: time.Minute, Doc: doc, Touches: touches,
		With: []Parameter{{Name: "run", Type: Text, Doc: "Only the orders of this run; by default those of all runs."}},
		Outputs: []Parameter{
			{Name: "orders", Type: Number, Doc: "How many there are."},
			{Name: "held", Type: Number, Doc: "Kept back, to be entered after the takeover."},
			{Name: "dr", Type: Number, Doc: "Taken at the DR side past the gateway."},
			{Name: "open", Type: Number},
			{Name: "entered", Type: Number, Doc: "Found at the unit's owner by their keys."},
			{Name: "dropped", Type: Number, Doc: "Not entered, for a reason."},
			{Name: "openAmount", Type: Text},
			{Name: "enteredAmount", Type: Text},
			{Name: "droppedAmount", Type: Text},
		},
	}
}

func sandboxSite() Parameter {
	return Parameter{Name: "site", Type: Text, Required: true, Doc: "Site of the copy."}
}

// Package story is the lab's small language: a text file, one statement a line, that says which estate is started, what load is put on it,
// what is broken, switched and waited for, and in which steps; and the runner that carries it out.
//
// Parsing is pure and says file, line and what is allowed. The runner knows the order of things, time bounds and steps; everything else it asks
// of a World, which acts only through the product's own interfaces and through faults. Nothing here computes a result: that is the checker's.
// The words stand in docs/lab.md.
package story

import (
	"time"

	"perdure/internal/estate"
	"perdure/internal/lab/history"
)

// Story is a parsed file.
type Story struct {
	Name string // of the file, without folder and ending
	// Within is how long the story may take from its first load to its end; 0: there is no bound.
	Within     time.Duration
	Statements []Statement
}

// Statement is one statement with its place. Exactly one of Action, Wait, Pass, Say, Within, Step and Repeat is set.
type Statement struct {
	Line int
	Text string // as written, without comment and surrounding space

	Action Action
	Wait   *Wait
	Pass   time.Duration // let time pass
	Until  *Condition    // of Pass: it is over as soon as this holds
	Say    string        // shown to people
	Within time.Duration // the bound of the whole story
	Step   *Step
	Repeat *Repeat
}

// Step is a named part of the story that the checker looks at by itself.
type Step struct {
	Name   string
	Title  map[string]string
	Mode   history.Mode
	Expect history.Expect
	Body   []Statement
}

// Repeat carries out its body a number of times, or again and again for a time.
type Repeat struct {
	Times int
	For   time.Duration
	Body  []Statement
}

// Action is something that the World does. The concrete types below are all there are.
type Action interface{ action() }

// Estate lays out a fresh estate; one that runs is checked and ended first.
type Estate struct {
	// Name is that of an estate that comes with the lab, or a folder with manifests.
	Name string
}

// Policy changes the estate's manifest before it is started.
type Policy struct {
	Unit estate.UnitID
	// Pin names a site whose copy becomes a pinned member of the in-sync set.
	Pin estate.SiteID
	// Cold names a site whose copy becomes cold: it keeps backups and log.
	Cold estate.SiteID
	// Failover is auto or confirm, MinInSync 0 or 1 (-1: unchanged), Damping at least 1 s.
	Failover  string
	MinInSync int
	Damping   time.Duration
	// Health is how long an instance may take to answer a health check.
	Health time.Duration
}

// Disk gives a member or a node a small disk of its own, before the start.
type Disk struct {
	Target string // "u1-a" or "node-a"
	Bytes  int64
	// Stallable: it can stand still, and is slower for that.
	Stallable bool
}

// Latency changes the delay of a link in both directions.
type Latency struct {
	Link  Link
	Delay time.Duration
}

// Start starts the estate, or what is named of it.
type Start struct {
	Sites     []estate.SiteID
	Processes []string
}

// Load puts load on the estate until LoadStop or the end.
type Load struct {
	Rate     float64 // calls per second over all units
	Accounts int     // over all units
	Hot      float64 // part of the calls that use one of few accounts, 0..1
	Cross    float64 // part of the calls that go to another unit in any case, 0..1
	Via      []estate.SiteID
	Attempt  time.Duration // how long a client waits for one answer; 0: 5 s
	Once     bool          // what got no answer is never sent again
}

// LoadStop ends the load and settles what is unresolved.
type LoadStop struct{}

// Switch asks the product to switch a unit.
type Switch struct {
	Unit estate.UnitID
	To   estate.SiteID
	Mode string // takeover, switch-back or emergency; "" is takeover
	As   string // a person; "" is the operator
	At   estate.SiteID
	// Refused: the product has to refuse it, with a message that contains this text; "": it has to be carried out.
	Refused string
}

// Accept accepts the loss of a proposed emergency as a person.
type Accept struct {
	Unit    estate.UnitID
	As      string
	Reason  string
	At      estate.SiteID
	Refused string // as in Switch
}

// Verify judges the accounts of a quarantined unit, as a person; Release ends its quarantine.
type Verify struct {
	Unit estate.UnitID
	As   string
	At   estate.SiteID
}

// Release ends the quarantine of a unit, as a person.
type Release struct {
	Unit   estate.UnitID
	As     string
	At     estate.SiteID
	Reason string
}

// Resend brings in again, request by request and each with its own key, what the former owner of the unit had committed and its successor had
// not, by the product's own list of the unit's last switch.
type Resend struct{ Unit estate.UnitID }

// Generate makes a recovery plan from the estate as it is, checks it, and applies it with the manifest: all by the commands that people use.
type Generate struct {
	Mode    string
	System  estate.SystemID // "": every one
	Site    estate.SiteID   // what it leaves or goes home to; "": wherever it is
	To      estate.SiteID   // "": the nearest
	As      string
	At      estate.SiteID
	Refused string // as in Switch
}

// StartRun starts a run of a plan of the applied manifest, as a person does. What a story says of a run is about the one it started last.
type StartRun struct {
	Plan, Mode string
	Set        []string // NAME=VALUE
	As         string
	At         estate.SiteID
	Reason     string
	Refused    string // as in Switch
}

// Answer is what a person says to a step of the run that asks, or to the run.
type Answer struct {
	What    string   // approve, decline, complete-task, retry or cancel
	Step    string   // none of cancel
	Set     []string // NAME=VALUE
	For     string
	As      string
	At      estate.SiteID
	Reason  string
	Refused string // as in Switch
}

// OrderWord is what is done with held orders.
type OrderWord string

// The closed list of what is done with held orders.
const (
	Hold  OrderWord = "hold"  // a participant hands them in, because of the run that was started last
	Enter OrderWord = "enter" // they are sent through a gateway
	Prove OrderWord = "prove" // the owners of the units are asked for them
	Drop  OrderWord = "drop"  // they are not entered
)

// Orders is what people do with held orders: those that were held last, in their order.
type Orders struct {
	What    OrderWord
	Number  int           // of all but Prove
	Unit    estate.UnitID // of Hold: whose accounts they are of
	As      string
	At      estate.SiteID
	Reason  string // of Drop
	Refused string // as in Switch
}

// Fetch has a participant fetch what the run shows of a unit's sandbox, and holds it against the unit's own database: it is of that data, and has nothing
// that is masked.
type Fetch struct {
	Unit    estate.UnitID
	As      string // of the participants of the estate
	At      estate.SiteID
	Refused string // as in Switch
}

// Window has a person approve a window of the estate's calendars, or take the approvals of it back.
type Window struct {
	Name    string
	Revoked bool
	As      string
	At      estate.SiteID
	Reason  string
	Refused string // as in Switch
}

// Evidence writes the evidence of every run into a pack and verifies it without the estate.
type Evidence struct{ At estate.SiteID }

// Recover makes a node the first of a new incarnation of the control plane, as people do when the majority is lost.
type Recover struct {
	At estate.SiteID
	As string
}

// Link is one or both directions between two sites, or between one site and all others (To is empty).
type Link struct {
	From, To estate.SiteID
	// There: From to To is meant; Back: To to From.
	There, Back bool
}

// FaultKind is what is done.
type FaultKind string

// The closed list of faults.
const (
	Cut    FaultKind = "cut"    // a link carries nothing
	Kill   FaultKind = "kill"   // kill -9, and it stays down
	Crash  FaultKind = "crash"  // kill -9, and it is restarted by who looks after it
	Freeze FaultKind = "freeze" // a link for a time; processes until they are healed, or for a time
	Loss   FaultKind = "loss"   // a share of what a link carries comes late
	Fill   FaultKind = "fill"   // a small disk is full
	Starve FaultKind = "starve" // busy loops beside everything
	Stall  FaultKind = "stall"  // a small disk takes nothing any more, and gives what it has

	// Deadlock: somebody locks the hot accounts of a unit in the wrong order, over and over.
	Deadlock FaultKind = "deadlock"

	Terminate FaultKind = "terminate" // sessions of applications are ended, as an impatient person does
	Cancel    FaultKind = "cancel"    // what sessions of applications wait for is cancelled
	Restart   FaultKind = "restart"   // a server is killed and started again by hand, past its agent
	Promote   FaultKind = "promote"   // a copy is made writable by hand, past the product
	Clone     FaultKind = "clone"     // a copy's directory is copied and runs beside the owner, under the copy's name
)

// Part is a part of a database server.
type Part string

// The closed list of parts.
const (
	Whole        Part = ""
	Checkpointer Part = "checkpointer"
	Startup      Part = "startup"    // what replays the log on a copy
	Agent        Part = "agent"      // its agent alone: the server goes on
	Backend      Part = "backend"    // one session of an application
	Backends     Part = "backends"   // all sessions of applications
	Postmaster   Part = "postmaster" // its first process alone: the others find out
	WALWriter    Part = "walwriter"
	WALReceiver  Part = "walreceiver"
	WALSender    Part = "walsender"
)

// Fault breaks something.
type Fault struct {
	Kind FaultKind
	// What it is done to: a link (nil: none), sites, processes, databases, a disk.
	Link      *Link
	Ports     string // "" all, else the name of a group of ports: "postgres"
	Sites     []estate.SiteID
	Processes []string
	// Databases are members ("u1-a"), units ("u1": its owner) or "copy of u1" (a member of its in-sync set).
	Databases []string
	Part      Part // of the Databases; Whole: all of each
	Disk      string
	For       time.Duration // it ends by itself; 0: it does not
	Share     float64       // of Loss
	Stall     time.Duration // of Loss
	Loops     int           // of Starve
	Harmless  bool          // no switch may come of it
}

// Heal ends faults: those that are named, or all.
type Heal struct {
	Link      *Link
	Reset     bool // connections that hold bytes are reset
	Sites     []estate.SiteID
	Processes []string
	Databases []string
	Disk      string
	Starve    bool
	All       bool
}

// Kills begins switches and kills one process in each, chosen by the run's seed. Each is a step of its own.
type Kills struct {
	Times int
	For   time.Duration // none is begun after that; 0: no bound
}

// Check judges what was recorded so far and ends the estate.
type Check struct{}

func (Estate) action()   {}
func (Policy) action()   {}
func (Disk) action()     {}
func (Latency) action()  {}
func (Start) action()    {}
func (Load) action()     {}
func (LoadStop) action() {}
func (Switch) action()   {}
func (Accept) action()   {}
func (Recover) action()  {}
func (Verify) action()   {}
func (Release) action()  {}
func (Resend) action()   {}
func (Orders) action()   {}
func (Generate) action() {}
func (StartRun) action() {}
func (Answer) action()   {}
func (Fetch) action()    {}
func (Window) action()   {}
func (Evidence) action() {}
func (Fault) action()    {}
func (Heal) action()     {}
func (Kills) action()    {}
func (Check) action()    {}

// Wait waits until the condition holds.
type Wait struct {
	Condition Condition
	Within    time.Duration
}

// ConditionKind is what is waited for.
type ConditionKind string

// The closed list of conditions.
const (
	UnitAt           ConditionKind = "unit at"           // open at the site, by the control plane's record
	UnitInSync       ConditionKind = "unit in-sync"      // its in-sync set is not empty
	UnitUnprotected  ConditionKind = "unit unprotected"  // open, and its in-sync set is empty
	MemberInSync     ConditionKind = "member in-sync"    // the member is in the in-sync set
	MemberFollowing  ConditionKind = "member following"  // the member streams the present ownership
	DivergenceListed ConditionKind = "divergence listed" // the transactions of the last owner that returned are listed
	GapClosed        ConditionKind = "gap closed"        // writes are acknowledged again
	LoadSteady       ConditionKind = "load steady"       // nine tenths of the asked rate are served
	RunOver          ConditionKind = "run over"          // the run has ended as its phase says
	RunAt            ConditionKind = "run at"            // the run's step has begun
	RunAsks          ConditionKind = "run asks"          // the run's step waits for people
	SwitchIs         ConditionKind = "switch"            // the unit's switch is in the phase
	EstateReady      ConditionKind = "estate ready"      // everything runs, is open and in sync
	SandboxesGone    ConditionKind = "sandboxes gone"    // no copy has files or processes of a sandbox
	StoreLed         ConditionKind = "store led"         // the control plane has a leader
	QuarantineOver   ConditionKind = "quarantine over"   // the unit serves every account again
)

// Condition is a fact about the estate that can be waited for.
type Condition struct {
	Kind   ConditionKind
	Unit   estate.UnitID   // "" all units
	Site   estate.SiteID   // of UnitAt
	InSync bool            // of UnitAt: and its in-sync set is not empty
	Member estate.MemberID // of Member…
	Phase  string          // of SwitchIs, and the outcome of RunOver
	Step   string          // of RunAsks and RunAt
}

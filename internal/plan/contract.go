package plan

import "time"

// Image is the data that a step brings into use at the DR side.
type Image string

// The images.
const (
	Snapshot  Image = "snapshot" // of the replica
	Replica   Image = "replica"
	Backup    Image = "backup"
	LiveRows  Image = "live"
	InSync    Image = "in-sync copy"
	NoImage   Image = "none"
	AnyImage  Image = "as declared"
	unlimited       = time.Duration(-1)
)

// Interfaces are the external interfaces that a run is connected to.
type Interfaces string

// The interfaces.
const (
	TestInterfaces       Interfaces = "test"
	ProductionInterfaces Interfaces = "production"
	NoInterfaces         Interfaces = "none"
)

// Trigger is what a run of a mode begins with.
type Trigger string

// The triggers.
const (
	Planned   Trigger = "planned"   // no window needed
	InWindow  Trigger = "window"    // planned, in a window that was applied for and approved
	Unplanned Trigger = "unplanned" // at once; nothing is waited for
	Automatic Trigger = "automatic"
	Scheduled Trigger = "schedule"
)

// Interruption is whether production may be interrupted.
type Interruption string

// The interruptions.
const (
	NoInterruption    Interruption = "no"
	ShortInterruption Interruption = "short"
	Interruptible     Interruption = "yes"
)

// Firewall is a granularity of firewall policy 防火墙策略.
type Firewall string

// The granularities.
const (
	FineGrained Firewall = "fine-grained"
	Zone        Firewall = "zone"
)

// Contract is the row of a mode: what a run of it may and must do. A break refuses certification, and the start of what is strict; it
// never stops an emergency or a failover, where it is shown, overridden by name and logged.
type Contract struct {
	Mode         Mode
	Interruption Interruption
	Trigger      Trigger
	// Announcement to the public is required; a task with a deadline beside the run, never a gate.
	Announcement bool
	Image        Image
	// RPO is the bound, 0: no loss; below 0: none.
	RPO        time.Duration
	Interfaces Interfaces
	Firewall   []Firewall
	// Data that is used.
	Data      string
	WriteBack bool
	// Strict: a break keeps a run from starting.
	Strict bool
	// Incident: a run opens one.
	Incident bool
}

// ContractOf gives the row of a mode.
func ContractOf(m Mode) Contract {
	switch m {
	case Drill:
		return Contract{Mode: m, Interruption: NoInterruption, Trigger: Planned, Image: Snapshot, RPO: time.Hour, Interfaces: TestInterfaces, Firewall: []Firewall{FineGrained}, Data: "test data", Strict: true}
	case Takeover:
		return Contract{Mode: m, Interruption: Interruptible, Trigger: InWindow, Image: Replica, Interfaces: ProductionInterfaces, Firewall: []Firewall{FineGrained, Zone}, Data: "production data, held orders", WriteBack: true, Strict: true}
	case Emergency:
		return Contract{Mode: m, Interruption: Interruptible, Trigger: Unplanned, Announcement: true, Image: Replica, RPO: time.Hour, Interfaces: ProductionInterfaces, Firewall: []Firewall{Zone}, Data: "production data", WriteBack: true, Incident: true}
	case SwitchBack:
		return Contract{Mode: m, Interruption: ShortInterruption, Trigger: InWindow, Image: Replica, Interfaces: ProductionInterfaces, Firewall: []Firewall{FineGrained, Zone}, Data: "production data", WriteBack: true, Strict: true}
	case Failover:
		return Contract{Mode: m, Interruption: ShortInterruption, Trigger: Automatic, Image: InSync, Interfaces: ProductionInterfaces, Firewall: []Firewall{Zone}, Data: "production data", WriteBack: true, Incident: true}
	case Move:
		return Contract{Mode: m, Interruption: NoInterruption, Trigger: Planned, Image: LiveRows, Interfaces: ProductionInterfaces, Data: "production data", WriteBack: true, Strict: true}
	case Experiment:
		return Contract{Mode: m, Interruption: NoInterruption, Trigger: InWindow, Image: Snapshot, RPO: unlimited, Interfaces: TestInterfaces, Data: "test data", Strict: true}
	case Verification:
		return Contract{Mode: m, Interruption: NoInterruption, Trigger: Scheduled, Image: Backup, RPO: unlimited, Interfaces: NoInterfaces, Data: "backup", Strict: true}
	case Inspection:
		return Contract{Mode: m, Interruption: NoInterruption, Trigger: Scheduled, Image: NoImage, RPO: unlimited, Interfaces: NoInterfaces, Data: "none", Strict: true}
	case Change:
		return Contract{Mode: m, Interruption: Interruptible, Trigger: InWindow, Image: AnyImage, Interfaces: ProductionInterfaces, Data: "production data", WriteBack: true, Strict: true}
	}
	panic("plan: a mode without a contract: " + string(m))
}

// Breaks says how an action breaks the contract; empty: it does not.
func (c Contract) Breaks(a *Action) string {
	t := a.Touches
	switch {
	case t.Interrupts && c.Interruption == NoInterruption:
		return "interrupts production"
	case t.Image != "" && c.Image != AnyImage && !c.allows(t.Image):
		return "brings into use " + t.Image.Words() + ", where it has to be " + c.Image.Words()
	case t.Interfaces == ProductionInterfaces && c.Interfaces != ProductionInterfaces:
		return "touches production interfaces"
	case t.Interfaces == TestInterfaces && c.Interfaces == NoInterfaces:
		return "connects interfaces"
	case t.WritesBack && !c.WriteBack:
		return "writes back to production"
	case !a.Looks && c.Mode == Inspection:
		return "changes something"
	}
	return ""
}

// allows: in a mode that works on production data what is in sync may stand for a replica.
func (c Contract) allows(i Image) bool {
	return i == c.Image || c.Image == InSync && i == Replica || c.Image == Replica && i == InSync
}

// Words names the image within a sentence.
func (i Image) Words() string {
	switch i {
	case Snapshot:
		return "a snapshot of the replica"
	case Replica:
		return "the replica"
	case Backup:
		return "a backup"
	case LiveRows:
		return "live rows"
	case InSync:
		return "an in-sync copy"
	case NoImage:
		return "no data"
	case AnyImage:
		return "what the plan declares"
	}
	return string(i)
}

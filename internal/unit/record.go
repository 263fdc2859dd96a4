package unit

import (
	"maps"
	"slices"
	"time"

	"perdure/internal/estate"
)

// State says what the owner of a record may do.
type State string

// The closed list of states of a replication group.
const (
	// Closed: nobody may open; the owner (if any) has to take a new epoch first.
	Closed State = "closed"
	// Promoting: the decision is made, the owner has to sever, promote and report before it may open (I4).
	Promoting State = "promoting"
	// Open: the owner's agent may keep its guard rows open.
	Open State = "open"
)

// Mode is the kind of a switch.
type Mode string

// The closed list of modes.
const (
	Takeover   Mode = "takeover"    // planned, loses nothing
	SwitchBack Mode = "switch-back" // planned, the way home
	Failover   Mode = "failover"    // automatic, inside the in-sync set
	Emergency  Mode = "emergency"   // a person's decision; lossy where the target is outside the in-sync set
)

// Phase is how far a switch has come. A planned switch walks closing, closed, promoting, growing, done;
// a failover starts at promoting; a lossy emergency starts at accepting.
type Phase string

// The closed list of phases.
const (
	Accepting Phase = "accepting" // the estimated loss is shown, two people have to accept it (I11)
	Closing   Phase = "closing"   // gateways hold, the owner marks its guard closed and drains
	Drained   Phase = "drained"   // closed at the fence position; the target has to replay up to it
	Promotion Phase = "promoting" // decided: the target severs and promotes
	Growing   Phase = "growing"   // open at the target; the in-sync set has to be grown again
	Done      Phase = "done"
	Failed    Phase = "failed"
)

// Marks stand in Switch.At beside the phases: when the former owner's gates were closed, and when the target was cut from its
// source and promoted.
const (
	MarkShut     Phase = "shut"
	MarkSevered  Phase = "severed"
	MarkPromoted Phase = "promoted"
)

// FailoverPolicy says whether a failover inside the in-sync set waits for a person.
type FailoverPolicy string

// The failover policies.
const (
	Auto    FailoverPolicy = "auto"
	Confirm FailoverPolicy = "confirm"
)

// Policy is what people decided about a group.
type Policy struct {
	Failover  FailoverPolicy `json:"failover"`
	MinInSync int            `json:"minInSync"` // 0: go on unprotected, 1: hold, then refuse (I2)
	// Damping is the least time between two automatic switches of the group (I16).
	Damping time.Duration `json:"damping"`
	// Retention is how long idempotency records are kept; the database's own default, 7 days, where zero (I5).
	Retention time.Duration `json:"retention,omitempty"`
}

// Role says what a member is meant to become.
type Role string

// The roles of a member.
const (
	SyncRole   Role = "sync"   // candidate of the in-sync set
	PinnedRole Role = "pinned" // in the in-sync set and never shrunk automatically (I2)
	AsyncRole  Role = "async"  // follows a member of the in-sync set (I12)
)

// Backup says what the agent of a cold member keeps. Only asynchronous members are cold.
type Backup struct {
	// Every is the time between two base backups; zero: the member is an ordinary copy. Keep is how many good ones stay.
	Every time.Duration `json:"every"`
	Keep  int           `json:"keep"`
}

// Cold reports whether the member is kept as backups and log until it is restored.
func (m Member) Cold() bool { return m.Role == AsyncRole && m.Backup.Every > 0 }

// Member is one database directory of the group as the store knows it.
type Member struct {
	ID   estate.MemberID `json:"id"`
	Site estate.SiteID   `json:"site"`
	Role Role            `json:"role"`
	// Agent and Database are host:port of its agent and of its database server, as the manifest names them.
	Agent    string `json:"agent"`
	Database string `json:"database"`
	// Backup is set for a cold member: its directory stays empty, and its agent keeps base backups and log, until people have it restored.
	Backup Backup `json:"backup,omitzero"`
	// Life is the newest start its agent reported.
	Life uint64 `json:"life"`
	// First is the first life on the same directory, 0 where it is not known.
	First uint64 `json:"first,omitempty"`
	// Following is the ownership whose history the member streams; zero while it returns or is not running.
	Following estate.Ownership `json:"following"`
	// Ahead marks a copy that has more than the in-sync set: it serves nothing and is rewound (I12).
	Ahead bool `json:"ahead,omitempty"`
}

// Record is what the store holds for a replication group. It changes only through Apply, one conditional transaction each.
type Record struct {
	Group   estate.GroupID  `json:"group"`
	System  estate.SystemID `json:"system"`
	Units   []estate.UnitID `json:"units"`
	Policy  Policy          `json:"policy"`
	Members []Member        `json:"members"`

	Ownership estate.Ownership `json:"ownership"`
	Owner     estate.Life      `json:"owner"`
	State     State            `json:"state"`
	// InSync are the lives that have to acknowledge beside the owner: all of them (I2).
	InSync []estate.Life `json:"inSync"`
	// Session is the session of the owner's agent that may change the set (I15).
	Session uint64 `json:"session,omitempty"`
	// Down is the owner life whose agent saw its database process dead; its promises are released (I8).
	Down *estate.Life `json:"down,omitempty"`
	// DownAt is when that was said, in Unix milliseconds of the agent: shown to people, compared by nothing.
	DownAt int64 `json:"downAt,omitempty"`
	// Heirs are set while promoting: the in-sync set at the last open ownership. Each holds everything that was acknowledged,
	// and nobody has opened since, so the decision may pass from one to another.
	Heirs []estate.Life `json:"heirs,omitempty"`
	// Before is the last open owner while promoting: it holds everything too, and may be taken back in place.
	Before estate.Life `json:"before"`
	// Released says, while promoting, that the owner that was left had no right to answer plain reads any more when the decision
	// was made: it was closed and drained, or its process was dead. Otherwise the decided member waits for its own promise (I8).
	Released bool    `json:"released,omitempty"`
	Switch   *Switch `json:"switch,omitempty"`
	// Lost is set by recover and restore: what the store of the old incarnation said, never a proof (I10).
	Lost *LostSet `json:"lost,omitempty"`
	// Quarantine: the group was taken over with a loss, accounts are judged before they are served (I7).
	Quarantine bool `json:"quarantine,omitempty"`
	// QuarantineOf is the ownership with which the last lossy takeover began: accounts that were judged in another quarantine are judged anew.
	QuarantineOf estate.Ownership `json:"quarantineOf,omitzero"`
	// Opened is when the present ownership opened, in Unix milliseconds; shown to people, compared by nothing.
	Opened int64 `json:"opened,omitempty"`
	// LastAutomatic is when the last automatic switch was decided, in Unix milliseconds of the deciding node (I16).
	LastAutomatic int64 `json:"lastAutomatic,omitempty"`
	// Past are the newest ownerships before the present one, newest last, at most 32.
	Past []Past `json:"past,omitempty"`
}

// Past is an ownership that was.
type Past struct {
	Ownership estate.Ownership `json:"ownership"`
	Owner     estate.Life      `json:"owner"`
	InSync    []estate.Life    `json:"inSync,omitempty"`
	Mode      Mode             `json:"mode,omitempty"`
	// Fence is where a planned switch closed it; Severed is what its successor had flushed when it cut itself off.
	Fence   estate.LSN `json:"fence,omitempty"`
	Severed estate.LSN `json:"severed,omitempty"`
	Opened  int64      `json:"opened,omitempty"`
	Ended   int64      `json:"ended,omitempty"`
	// Pause is how long the planned switch that ended it stopped writes, from closing to open, in milliseconds.
	Pause int64 `json:"pause,omitempty"`
	// ExpectedLoss is set when people accepted a loss to leave this ownership (I11).
	ExpectedLoss bool `json:"expectedLoss,omitempty"`
}

// UntilLoss are the ownerships up to the first one known that people left with a loss: what was made in one of them and is not there now
// is lost. Nil where none is known.
func (r *Record) UntilLoss() []estate.Ownership {
	i := slices.IndexFunc(r.Past, func(p Past) bool { return p.ExpectedLoss })
	var until []estate.Ownership
	for _, p := range r.Past[:i+1] {
		until = append(until, p.Ownership)
	}
	return until
}

// Switch is the one running or last switch of a group.
type Switch struct {
	ID    string      `json:"id"`
	Mode  Mode        `json:"mode"`
	From  estate.Life `json:"from"`
	To    estate.Life `json:"to"`
	By    string      `json:"by"` // a person's name, or "auto"
	Phase Phase       `json:"phase"`
	// Ownership is the one the switch leaves.
	Ownership estate.Ownership `json:"ownership"`
	// Budget is how long the phases before the decision may take; then it is undone (I9, I15).
	Budget  time.Duration `json:"budget"`
	Fence   estate.LSN    `json:"fence,omitempty"`
	Severed estate.LSN    `json:"severed,omitempty"`
	Reason  string        `json:"reason,omitempty"`
	// Disrupted is since when service was gone when it was decided, Unix milliseconds, as far as whoever decided knew; shown, never compared.
	Disrupted int64 `json:"disrupted,omitempty"`
	// At holds when each phase began, and the marks, Unix milliseconds of whoever wrote it: shown, never compared.
	At map[Phase]int64 `json:"at"`
	// Loss and Approvals belong to a lossy switch.
	Loss      *Loss      `json:"loss,omitempty"`
	Approvals []Approval `json:"approvals,omitempty"`
	// Lossy says the target was outside the in-sync set.
	Lossy bool `json:"lossy,omitempty"`
}

// Active reports whether the switch still has something to do.
func (s *Switch) Active() bool { return s != nil && s.Phase != Done && s.Phase != Failed }

// Undecided reports whether a planned switch may still be undone: its budget runs (I9, I15).
func (s *Switch) Undecided() bool { return s != nil && (s.Phase == Closing || s.Phase == Drained) }

// Loss is the estimate shown to the people who decide (I10, I11). Unknown figures are -1, never 0.
type Loss struct {
	Transactions int64  `json:"transactions"`
	Accounts     int64  `json:"accounts"`
	Amount       string `json:"amount"` // decimal text, "" where unknown
	// Millis is from when the newest record at the target was made until the newest that is known to be lost, in milliseconds; nil where unknown.
	Millis *int64 `json:"millis,omitempty"`
	// Source says in words where the figures come from; Statement is the sentence of I10.
	Source    string `json:"source"`
	Statement string `json:"statement"`
	// NoneIfHeld: no loss if the in-sync set of the old store still held; not provable without the lost sites.
	NoneIfHeld bool `json:"noneIfHeld"`
	// Others are the other members, in the order of the record: each might be open, or acknowledge for whoever is (I11).
	Others []Fencing `json:"others,omitempty"`
}

// Fencing is how another member than the target stood when a loss was estimated.
type Fencing struct {
	Member estate.MemberID `json:"member"`
	Site   estate.SiteID   `json:"site"`
	State  Fence           `json:"state"`
	// Detail is what its agent said, or why it said nothing.
	Detail string `json:"detail,omitempty"`
}

// Fence says whether a member could be fenced.
type Fence string

// The closed list of fences.
const (
	Shut      Fence = "closed"      // its agent says that no gate is open and that it acknowledges for nobody
	Reached   Fence = "reached"     // its agent answers, and closes when it hears of the decision
	Unreached Fence = "not-reached" // nothing is known: people have to fence it
)

// Says is the fence in words.
func (f Fence) Says() string {
	switch f {
	case Shut:
		return "closed: its agent says so"
	case Reached:
		return "its agent answers and closes as soon as it hears of the decision"
	case Unreached:
	}
	return "not reached: cannot be fenced; switch its server off or cut it from its clients"
}

// Approval is one person's acceptance of a loss.
type Approval struct {
	By     string `json:"by"`
	At     int64  `json:"at"`
	Reason string `json:"reason"`
}

// LostSet is what a recovered store remembers of the set it had to empty.
type LostSet struct {
	Ownership estate.Ownership `json:"ownership"`
	Owner     estate.Life      `json:"owner"`
	InSync    []estate.Life    `json:"inSync"`
	Revision  int64            `json:"revision"`
}

// Member gives the member with the name.
func (r *Record) Member(id estate.MemberID) (Member, bool) {
	for _, m := range r.Members {
		if m.ID == id {
			return m, true
		}
	}
	return Member{}, false
}

// InSyncLife reports whether exactly this life is in the in-sync set.
func (r *Record) InSyncLife(l estate.Life) bool { return slices.Contains(r.InSync, l) }

// holds reports whether the life has everything that was acknowledged under the set: it is in it, or it is the newest start of
// the very directory that an earlier life in it wrote to. Acknowledgements count for a life only, but what was flushed stays.
func (r *Record) holds(set []estate.Life, l estate.Life) bool {
	m, ok := r.Member(l.Member)
	return slices.ContainsFunc(set, func(s estate.Life) bool {
		return s == l || ok && s.Member == l.Member && m.Life == l.N && m.First > 0 && m.First <= s.N && s.N < l.N
	})
}

// Lossless reports whether the life may be made the owner instead of the present or decided one without losing anything that was
// acknowledged; anybody else takes two people's acceptance of the loss (I4, I11).
func (r *Record) Lossless(l estate.Life) bool {
	switch r.State {
	case Open:
		return l.Member != r.Owner.Member && r.holds(r.InSync, l)
	case Promoting:
		return l.Member != r.Owner.Member && (r.holds(r.Heirs, l) || l.Member == r.Before.Member)
	case Closed:
	}
	return false
}

// newest is the newest life of a member that still holds what the life in the set held.
func (r *Record) newest(set []estate.Life, l estate.Life) (estate.Life, bool) {
	m, ok := r.Member(l.Member)
	now := estate.Life{Member: m.ID, N: m.Life}
	return now, ok && r.holds(set, now)
}

// OwnerSite is the site of the owner, "" where there is none.
func (r *Record) OwnerSite() estate.SiteID {
	m, _ := r.Member(r.Owner.Member)
	return m.Site
}

// Stage is what a record is waiting in; Sight.PhaseFor counts for how long. The phases of a switch before its decision share its budget,
// so they are one stage.
type Stage struct {
	Ownership estate.Ownership
	State     State
	Switch    string
	Phase     Phase
}

// Stage gives the record's present stage.
func (r *Record) Stage() Stage {
	at := Stage{Ownership: r.Ownership, State: r.State}
	if s := r.Switch; s.Active() {
		at.Switch, at.Phase = s.ID, s.Phase
		if s.Undecided() {
			at.Phase = Closing
		}
	}
	return at
}

// Clone copies the record deeply, so that Apply never changes what its caller holds.
func (r *Record) Clone() Record {
	c := *r
	c.Units = slices.Clone(r.Units)
	c.Members = slices.Clone(r.Members)
	c.InSync = slices.Clone(r.InSync)
	c.Heirs = slices.Clone(r.Heirs)
	c.Past = slices.Clone(r.Past)
	if r.Down != nil {
		d := *r.Down
		c.Down = &d
	}
	if r.Lost != nil {
		l := *r.Lost
		l.InSync = slices.Clone(r.Lost.InSync)
		c.Lost = &l
	}
	if r.Switch != nil {
		s := *r.Switch
		s.Approvals = slices.Clone(r.Switch.Approvals)
		s.At = make(map[Phase]int64, len(r.Switch.At))
		maps.Copy(s.At, r.Switch.At)
		if r.Switch.Loss != nil {
			l := *r.Switch.Loss
			l.Others = slices.Clone(l.Others)
			s.Loss = &l
		}
		c.Switch = &s
	}
	return c
}

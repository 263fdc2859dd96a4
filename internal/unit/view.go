package unit

import (
	"slices"
	"time"

	"perdure/internal/estate"
)

// Directory is what lies in a member's data directory.
type Directory string

// The states of a data directory.
const (
	EmptyDir   Directory = "empty"
	StandbyDir Directory = "standby"
	PrimaryDir Directory = "primary" // would start writable: only its agent may start it, closed (I6)
)

// Self is what an agent keeps in its own fsynced file. It outlives the agent, the database and the store.
type Self struct {
	Member estate.MemberID `json:"member"`
	// Life is raised before every start of the database; FirstLife is the first one on the present directory.
	Life      uint64 `json:"life"`
	FirstLife uint64 `json:"firstLife"`
	// Session is raised when the agent starts and whenever a transition that it posted got no answer. It is attached to the record
	// before the names in force or the set are changed, so that nothing posted before can land behind the agent's back and no
	// record older than its own posts is believed (I15).
	Session uint64 `json:"session"`
	// Seen is the highest ownership ever met: nothing lower is obeyed (I1).
	Seen estate.Ownership `json:"seen"`
	// Owned is the newest ownership this directory was promoted or opened for; zero after a rewind or a new copy.
	Owned estate.Ownership `json:"owned"`
	// Opened is the newest ownership the gates were opened at, on disk before they are. Where the record is still at it and the
	// gates are gone, the server lost them in a crash: they are opened again only at a new epoch (I1).
	Opened estate.Ownership `json:"opened"`
	// Severed is set when the directory was cut from its source for an ownership, with the position it had flushed (I4).
	Severed *Severed `json:"severed,omitempty"`
	// Compared is the ownership of the successor that the divergence of this directory was listed against (I6).
	Compared estate.Ownership `json:"compared"`
	// MustCopy: a rewind failed or was cut short, so the directory has to be made anew.
	MustCopy bool `json:"mustCopy,omitempty"`
}

// Severed is a cut from the WAL source.
type Severed struct {
	Ownership estate.Ownership `json:"ownership"`
	LSN       estate.LSN       `json:"lsn"`
}

// Now is the life the member is in.
func (s Self) Now() estate.Life { return estate.Life{Member: s.Member, N: s.Life} }

// Begin begins the next life, above every one that the record knows of the member: this file is younger than the member where the
// directory it lies in was lost.
func (s *Self) Begin(known uint64) { s.Life = max(s.Life, known) + 1 }

// Renew forgets the past of a directory that was made anew: no life before the next one was on it.
func (s *Self) Renew(known uint64) {
	s.Owned, s.Compared = estate.Ownership{}, estate.Ownership{}
	s.Severed, s.MustCopy = nil, false
	s.Life = max(s.Life, known)
	s.FirstLife = s.Life + 1
}

// View is what an agent sees of its database and counts on its own monotonic clock.
type View struct {
	Directory Directory
	Running   bool // the server process lives
	Answering bool // a local read came back in time
	// InRecovery: a standby; false on a running server means it could write.
	InRecovery bool
	// Gates are the guard rows of this very life of the server.
	Gates []Gate
	// SyncNames are the lives that are in force as synchronous, in order.
	SyncNames []string
	// Flushed is the newest durable position, Replayed how far a standby has replayed it.
	Flushed, Replayed estate.LSN
	// Upstream is whom a standby is told to follow, "" where severed. Streaming: it does.
	Upstream  estate.MemberID
	Streaming bool
	// StuckFor: running, told to follow, and not streaming for so long although the upstream answers.
	StuckFor time.Duration
	// Beyond: it could not be made to follow under the present ownership, because it has log beyond where the histories part (I12).
	Beyond bool
	// DownFor: since when the server does not run.
	DownFor time.Duration
	Copies  []Copy
	// WaitingFor is the age of the oldest commit that waits for the in-sync set, 0 where none does.
	WaitingFor time.Duration
	// Full: the disk has no room for the next files of the log; FullFor: since when.
	Full    bool
	FullFor time.Duration
	// Unserved: slots and access for the followers have not been made under the present ownership.
	Unserved bool
	// SinceShrink is the time since this agent last shrank the set; large at the start.
	SinceShrink time.Duration
	// GrowFailures counts proofs that failed in a row.
	GrowFailures int
	// OwnerDownFor: since when this agent knows that the owner reported itself down.
	OwnerDownFor time.Duration
	// PhaseFor: since when this agent knows the record in its present state at its present ownership.
	PhaseFor time.Duration
	// Restore: people want the archive of this cold member to be made a copy.
	Restore bool
	// Promised: the promise that this member gave to an owner is over or released (Promise.Over), so nobody answers plain reads
	// on the strength of it (I8).
	Promised bool
}

// Gate is a guard row of one unit.
type Gate struct {
	Unit      estate.UnitID
	Ownership estate.Ownership
	Open      bool
}

// Copy is a follower as its upstream sees it.
type Copy struct {
	Life      estate.Life
	Streaming bool
	Usable    bool // it holds its own slot and no other walsender carries its name (H6)
	Full      bool // its agent says that its disk has no room
	Flushed   estate.LSN
	// MissingFor: since when no such follower is connected; StalledFor: since when it has acknowledged nothing while something was waiting.
	MissingFor, StalledFor time.Duration
}

func (v View) copyOf(l estate.Life) (Copy, bool) {
	i := slices.IndexFunc(v.Copies, func(c Copy) bool { return c.Life == l })
	if i < 0 {
		return Copy{}, false
	}
	return v.Copies[i], true
}

// Timing holds the bounds that are policy of the protocol, not of a group. The zero value is not usable: see DefaultTiming.
type Timing struct {
	// Promise is how long a promise holds (I8); Renew how often the owner asks for it.
	Promise, Renew time.Duration
	// Silence is how long an owner has to be silent to a majority before it may be replaced (I16).
	Silence time.Duration
	// Missing and Stall are how long a copy of the set may be gone, or hold commits, before the set is shrunk.
	Missing, Stall time.Duration
	// Restart is how long an owner with heirs waits for one of them before it starts its dead database itself.
	Restart time.Duration
	// Turn is how long the second in-sync member waits for the first one to take over, the third for the second.
	Turn time.Duration
	// Stuck is how long a follower may fail to stream from a living upstream before it is taken for diverged (I12).
	Stuck time.Duration
	// GrowAfter is the pause after a shrink before the set is grown again; it doubles with every failed proof, up to 32 times.
	GrowAfter time.Duration
	// GrowWithin is how far behind, in bytes, a copy may be when the proof is tried.
	GrowWithin estate.LSN
	// Promotion is how long a decided member may take before the decision passes on.
	Promotion time.Duration
	// Farewell is how long a former owner that was closed and drained stays up, so that whoever is still connected is told that it is
	// not the owner any more, and the successor opens before the machine they may share is busy with the end of the old server.
	Farewell time.Duration
	// Full is how long the owner's disk may have no room before a copy that has room takes over.
	Full time.Duration
}

// RoomNeeded is how many bytes a database needs for the next two files of its log, 16 MiB each: without them it stops in a panic.
const RoomNeeded = 32 << 20

// DefaultTiming is what the product uses.
func DefaultTiming() Timing {
	return Timing{
		Promise: time.Second, Renew: 250 * time.Millisecond, Silence: 1500 * time.Millisecond,
		Missing: 700 * time.Millisecond, Stall: 1200 * time.Millisecond,
		Restart: 3 * time.Second, Turn: 700 * time.Millisecond, Stuck: 4 * time.Second,
		GrowAfter: time.Second, GrowWithin: 16 << 20, Promotion: 8 * time.Second,
		Farewell: 300 * time.Millisecond, Full: 500 * time.Millisecond,
	}
}

// DownSeenFor is how long this agent has known that the owner is down.
func (v View) DownSeenFor(rec Record) time.Duration {
	if rec.Down == nil {
		return 0
	}
	return v.OwnerDownFor
}

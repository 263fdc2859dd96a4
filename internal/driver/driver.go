// Package driver is the contract between an agent and the database it looks after.
// Every method has a deadline from its context, is safe to repeat (ensure, not do) and says what a successor finds
// when it was cut short. The conformance suite in drivertest is the contract's other half: the fake and the real driver pass it.
package driver

import (
	"context"
	"time"

	"perdure/internal/estate"
)

// Directory is what lies in the data directory.
type Directory string

// The states of a data directory.
const (
	Empty   Directory = "empty"   // nothing, or not a database
	Standby Directory = "standby" // starts as a follower
	Primary Directory = "primary" // would start as a writable server: only its agent may start it, closed (I6)
)

// Observation is one look at a database: local reads only, never a write, never a wait for a copy (I16).
type Observation struct {
	Directory Directory
	// Running: the postmaster lives. Answering: a local read came back within its deadline.
	Running, Answering bool
	// StartTime is pg_postmaster_start_time of the running server: one life of one server (I1).
	StartTime  time.Time
	InRecovery bool
	Timeline   uint32
	SystemID   string
	// Gates are the guard rows that are open in this very life of the server.
	Gates []Gate
	// HighestSeen is the highest ownership in the logged table perdure.seen (zero where the schema is not installed).
	HighestSeen estate.Ownership
	// SyncNames are the lives listed in synchronous_standby_names as it is in force; nil where it is empty.
	SyncNames []string
	// Flushed is the newest locally durable position; Replayed equals it on a primary.
	Flushed, Replayed estate.LSN
	// Upstream is the conninfo's application name and host in force ("" where severed or primary); Streaming: the WAL receiver is connected.
	Upstream  Upstream
	Streaming bool
	// LastContact is how long ago the WAL receiver last heard from upstream; 0 where not streaming.
	LastContact time.Duration
	Followers   []Follower
	// WaitingCommits are sessions in wait event SyncRep and the age of the oldest; exact names of who they wait for are in Followers.
	WaitingCommits   int
	OldestWait       time.Duration
	LongestTxn       time.Duration
	FreeBytes        uint64 // on the file system of the directory
	ConnectionsInUse int
	MaxConnections   int
}

// Gate is an open guard row.
type Gate struct {
	Unit      estate.UnitID
	Ownership estate.Ownership
	Open      bool // false: marked closed, drained or draining
}

// Follower is one walsender of a primary or of a cascading standby.
type Follower struct {
	Name          string // application_name, a life such as "u1-b.4"
	Streaming     bool   // state = streaming (not catchup, not backup)
	Sent, Flushed estate.LSN
	Replayed      estate.LSN
	SlotOK        bool // it holds the replication slot of its member
	Duplicate     bool // another walsender has the same name (H6)
	Silent        time.Duration
}

// Upstream says whom a standby follows.
type Upstream struct {
	Member estate.MemberID `json:"member"`
	Host   string          `json:"host"` // name or address; the driver resolves it and writes the address
	Port   int             `json:"port"`
}

// Grown is the outcome of a proven growth of the in-sync set.
type Grown struct {
	Mark   estate.LSN    // the candidate has flushed this; everything acknowledged after the proof is on it
	Frozen time.Duration // how long commits stood still for the proof
}

// Progress reports long work; total is 0 where it is not known.
type Progress func(what string, done, total int64)

// Diverged is what a returned owner has and its successor has not (I6).
type Diverged struct {
	From         estate.LSN            `json:"from"` // where the successor's history forks off
	Until        estate.LSN            `json:"until"`
	Transactions []DivergedTransaction `json:"transactions"`
	// Unkeyed counts committed transactions that left no idempotency record; -1 where that is not known.
	Unkeyed int `json:"unkeyed"`
	// Total counts all transactions, and Kept is the file at the member with the whole list, where this one has only the first of them.
	Total int    `json:"total,omitempty"`
	Kept  string `json:"kept,omitempty"`
}

// DivergedTransaction is one committed transaction with its idempotency record.
type DivergedTransaction struct {
	Xid        uint32        `json:"xid"`
	Commit     estate.LSN    `json:"commit"`
	Unit       estate.UnitID `json:"unit"`
	Caller     string        `json:"caller"`
	RoutingKey string        `json:"routingKey"`
	Key        string        `json:"key"`
	Hash       string        `json:"hash"` // payload hash, hex
	Accounts   []string      `json:"accounts"`
	Amount     string        `json:"amount"`
	At         time.Time     `json:"at"`
	// Settled: the same key is recorded at the successor (the client retried); otherwise the effect exists nowhere.
	Settled bool `json:"settled"`
}

// Tally is a running total of what a unit has recorded, for loss estimates (I10): transactions and amount up to a position.
type Tally struct {
	Unit         estate.UnitID `json:"unit"`
	Transactions int64         `json:"transactions"`
	Amount       string        `json:"amount"`
	Position     estate.LSN    `json:"position"`
	At           time.Time     `json:"at"`
}

// Judgement is what the accounts of a group in quarantine are judged by (I7). An account is judged once, for all units of its database.
type Judgement struct {
	// Units are those whose receipts were compared.
	Units []estate.UnitID `json:"units"`
	// Quarantine is the one that was found, named by the ownership with which it began.
	Quarantine estate.Ownership `json:"quarantine"`
	// Query gives every account of the database and whether its own books agree: (account text, consistent boolean).
	// It runs read-only, as the application's role.
	Query string `json:"query"`
	// Touched are the accounts of acknowledged writes whose effect is not there: inconsistent, whatever their books say.
	Touched []string `json:"touched"`
	By      string   `json:"by"`
}

// Receipt is one acknowledged write as a gateway kept it.
type Receipt struct {
	Caller     string   `json:"caller"`
	RoutingKey string   `json:"routingKey"`
	Key        string   `json:"key"`
	Accounts   []string `json:"accounts"`
	Amount     string   `json:"amount"`
}

// Key is what an idempotency record is found by (I5).
type Key struct {
	Caller     string `json:"caller"`
	RoutingKey string `json:"routingKey"`
	Key        string `json:"key"`
}

// Record is what is kept of the answer to a request (I5).
type Record struct {
	// Index is that of the key that was asked for.
	Index  int `json:"index"`
	Status int `json:"status"`
	// Amount is a decimal; "": the application gave none.
	Amount string `json:"amount,omitempty"`
}

// Judged is the outcome of a judgement.
type Judged struct {
	Verified     int64 `json:"verified"`
	Inconsistent int64 `json:"inconsistent"`
	// Accounts are those that were found inconsistent, at most 1,000.
	Accounts []string `json:"accounts"`
}

// Finding is one failed installation check (I17).
type Finding struct {
	Check   string `json:"check"`
	Problem string `json:"problem"`
	Fix     string `json:"fix"`
	// Fatal: no server is adopted with it. What runs already goes on, and status shouts it: closing a bank is worse.
	Fatal bool `json:"fatal"`
}

// Database is one database directory and the server on it. Only one agent holds it at a time (flock, I15).
type Database interface {
	// Observe looks; it returns within its deadline even when the server hangs, with Answering false.
	Observe(ctx context.Context) (Observation, error)

	// Create makes a new closed primary directory from nothing (initdb with checksums, roles, schema perdure). It does not leave a half-made directory behind.
	Create(ctx context.Context) error
	// Start starts the server as the directory says: a primary starts without sync names, closed. life becomes the replication name of a standby.
	Start(ctx context.Context, life estate.Life) error
	// Stop ends the server; immediate does not wait for clients or a checkpoint.
	Stop(ctx context.Context, immediate bool) error

	// Open inserts the guard rows of the units at the ownership, after writing it to the logged table of highest ownerships.
	Open(ctx context.Context, ownership estate.Ownership, member estate.MemberID, units []estate.UnitID) error
	// Close marks the guard rows closed; nothing that begins afterwards can write. It never waits for a copy.
	Close(ctx context.Context, units []estate.UnitID) error
	// Drain waits for exactly the transactions in flight, ends blockers in bounded tries, and gives the fence position:
	// every effect of the closed ownership lies before it (I9).
	Drain(ctx context.Context, units []estate.UnitID) (estate.LSN, error)
	// Lease lets plain reads pass for the duration, counted from the call; 0 ends it at once. It never waits for a copy (I8).
	Lease(ctx context.Context, units []estate.UnitID, duration time.Duration) error

	// Shrink puts the smaller set in force after the store has it (I2): reload, nudge.
	Shrink(ctx context.Context, names []string) error
	// Grow puts the larger set in force and proves the wait with a member that cannot answer (I2). On error the former set is in force again.
	Grow(ctx context.Context, names []string, candidate string) (Grown, error)

	// Sever cuts the WAL source durably and gives the flushed position; it survives a restart (I4).
	Sever(ctx context.Context) (estate.LSN, error)
	// WaitReplayed returns when the standby has replayed up to the position.
	WaitReplayed(ctx context.Context, lsn estate.LSN) error
	// Promote makes a severed standby writable, closed, without sync names.
	Promote(ctx context.Context) error

	// Follow makes the directory a standby of the upstream under the life's name, restarting the server only if it must.
	// It refuses a Primary directory: that has to be rewound or made anew first.
	Follow(ctx context.Context, upstream Upstream, life estate.Life) error
	// Diverged lists what this stopped former owner has beyond its successor; it opens the directory without listeners (I6).
	Diverged(ctx context.Context, successor Upstream) (Diverged, error)
	// Rewind turns a stopped former owner into a standby of the successor; an error says whether Reinitialise is needed.
	Rewind(ctx context.Context, successor Upstream, progress Progress) error
	// Reinitialise replaces the directory by a base backup of the upstream; the old one is kept aside until the new one is complete.
	Reinitialise(ctx context.Context, upstream Upstream, progress Progress) error

	// Retain sets how long idempotency records of the units are kept; keys that carry an older time are refused (I5).
	Retain(ctx context.Context, units []estate.UnitID, retention time.Duration) error
	// Purge removes up to limit idempotency records of the unit that are older than its retention, and as many finished messages, and says
	// how many records went; none where the unit is not open here. Its commit waits for the copies like an application's.
	Purge(ctx context.Context, unit estate.UnitID, limit int) (int, error)
	// Quarantine puts units under judgement: while it lasts, accounts are blocked until they are judged (I7). It is named by the ownership
	// with which the lossy takeover began: in the same one verdicts stay, those of another one are dropped. A lossy takeover calls it
	// before the gates open, as does every later opening while it lasts.
	Quarantine(ctx context.Context, units []estate.UnitID, began estate.Ownership) error
	// EndQuarantine takes units out: every account is served again, and the verdicts are gone.
	EndQuarantine(ctx context.Context, units []estate.UnitID) error
	// Judge judges the accounts of quarantined units by what receipts said and by the system's own query, and writes the verdicts. Conflict:
	// one of the units is not in the quarantine that was judged. Its commit waits for the copies like an application's.
	Judge(ctx context.Context, judgement Judgement) (Judged, error)

	// Missing gives the indexes of the keys that are not recorded here; copies answer too. It bounds nothing: callers ask for some thousands.
	Missing(ctx context.Context, keys []Key) ([]int, error)
	// Records gives what is recorded under the keys, in their order, behind a barrier (I3): its commit waits for the copies like an application's, so what it
	// gives is on all of the in-sync set. Only an owner can say so. Like Missing it bounds nothing.
	Records(ctx context.Context, keys []Key) ([]Record, error)
	// Newest is when the newest record here was made, by the clock of the server that made it; zero where there is none. Whatever was
	// committed before that time is here. With ownerships it is the newest record of those that was made in one of them.
	Newest(ctx context.Context, made []estate.Ownership) (time.Time, error)
	// Tally sums what the units have recorded since the last call.
	Tally(ctx context.Context, units []estate.UnitID) ([]Tally, error)
	// Check runs the installation checks of I17.
	Check(ctx context.Context) ([]Finding, error)
	// EnsureFollower makes the replication slot and access for a follower, so that it can stream.
	EnsureFollower(ctx context.Context, member estate.MemberID) error
	// Strays are followers that were admitted here and are none of the members, by the names the driver has for them. Log is kept for them,
	// up to a bound, until ForgetFollower: it disconnects one and drops its slot and, on an owner, its access.
	Strays(ctx context.Context, members []estate.MemberID) ([]string, error)
	ForgetFollower(ctx context.Context, stray string) error
	// Release closes the driver's own sessions; the server goes on.
	Release()
}

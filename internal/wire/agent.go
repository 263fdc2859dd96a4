package wire

import (
	"time"

	"perdure/internal/driver"
	"perdure/internal/estate"
	"perdure/internal/unit"
)

// AgentState is what an agent says of its database at GET /v1/state: from memory, at once, even when the database hangs.
type AgentState struct {
	Group  estate.GroupID  `json:"group"`
	Member estate.MemberID `json:"member"`
	Site   estate.SiteID   `json:"site"`
	Life   uint64          `json:"life"`
	// Seen is the highest ownership the directory has met (I1, I10).
	Seen      estate.Ownership `json:"seen"`
	Running   bool             `json:"running"`
	Answering bool             `json:"answering"`
	// Open: a guard row is open in this life of the server.
	Open       bool            `json:"open"`
	InRecovery bool            `json:"inRecovery"`
	Directory  unit.Directory  `json:"directory"`
	Upstream   estate.MemberID `json:"upstream,omitempty"`
	Streaming  bool            `json:"streaming"`
	Flushed    estate.LSN      `json:"flushed"`
	Replayed   estate.LSN      `json:"replayed"`
	// WaitingCommits are commits that wait for the in-sync set, LongestMillis the age of the oldest open transaction.
	WaitingCommits int    `json:"waitingCommits"`
	LongestMillis  int64  `json:"longestMillis"`
	FreeBytes      uint64 `json:"freeBytes"`
	// Connections are the sessions of clients at its server.
	Connections int `json:"connections"`
	// Doing is the action in hand and Why its reason; Done and Total are its progress where it is long.
	Doing string `json:"doing"`
	Why   string `json:"why"`
	Done  int64  `json:"done,omitempty"`
	Total int64  `json:"total,omitempty"`
	// Error is the newest failure of an action, "" after a success.
	Error string `json:"error,omitempty"`
	// LeaseMillis is what is left of the right to answer plain reads.
	LeaseMillis int64 `json:"leaseMillis"`
	// UnprotectedSince is when the open unit was left without an in-sync copy, Unix milliseconds; Exposed counts transactions since.
	UnprotectedSince int64            `json:"unprotectedSince,omitempty"`
	Exposed          int64            `json:"exposed,omitempty"`
	Tally            []driver.Tally   `json:"tally,omitempty"`
	Findings         []driver.Finding `json:"findings,omitempty"`
}

// PromiseRequest is what an owner asks of every member of its in-sync set (I8).
type PromiseRequest struct {
	Group     estate.GroupID   `json:"group"`
	Ownership estate.Ownership `json:"ownership"`
	Owner     estate.Life      `json:"owner"`
	Millis    int64            `json:"millis"`
}

// PromiseAnswer grants or refuses; Life is the life that promises. Full says that its disk has no room: nothing should be handed to it.
type PromiseAnswer struct {
	Granted bool        `json:"granted"`
	Life    estate.Life `json:"life"`
	Full    bool        `json:"full,omitempty"`
}

// ConsentRequest asks a member whether it may replace the owner of the ownership now (I16).
type ConsentRequest struct {
	Group     estate.GroupID   `json:"group"`
	Ownership estate.Ownership `json:"ownership"`
	// HoldMillis is how long it grants nothing to that owner after it consented.
	HoldMillis int64 `json:"holdMillis"`
}

// ConsentAnswer says yes, or how long the promise still runs.
type ConsentAnswer struct {
	OK         bool        `json:"ok"`
	Life       estate.Life `json:"life"`
	WaitMillis int64       `json:"waitMillis,omitempty"`
	Detail     string      `json:"detail,omitempty"`
}

// ForkRequest asks an owner's agent for the records that are left from before people accepted a loss.
type ForkRequest struct{}

// MissingRequest asks any member's agent which of the keys are not recorded there; without keys, what it has.
type MissingRequest struct {
	Keys []driver.Key `json:"keys,omitempty"`
}

// MissingAnswer are the indexes of the keys that are not recorded. To a request without keys: the tally at this moment, and when the
// newest record was made, by the clock of the server that made it; zero where there is none.
type MissingAnswer struct {
	Missing []int          `json:"missing,omitempty"`
	Tally   []driver.Tally `json:"tally,omitempty"`
	Newest  time.Time      `json:"newest,omitzero"`
}

// ForkAnswer is when the newest of them was made, by the clock of the server that made it; zero where none is known.
type ForkAnswer struct {
	At        time.Time        `json:"at,omitzero"`
	Ownership estate.Ownership `json:"ownership"`
	// Kept is from when on records are kept: those of older requests may be gone, and so say nothing about their receipts.
	Kept time.Time `json:"kept"`
}

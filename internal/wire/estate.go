package wire

import (
	"encoding/json"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/run"
)

// Standing is what a node says of itself to its peers.
type Standing struct {
	Node        string             `json:"node"`
	Incarnation estate.Incarnation `json:"incarnation"`
	// Cold: the node came up, or lost the quorum for long, and has not heard every configured node since, nor a person's word (I10).
	Cold bool `json:"cold"`
	// Superseded names the higher (or conflicting) incarnation the node has met; the node decides nothing any more.
	Superseded *estate.Incarnation `json:"superseded,omitempty"`
	// Removed: the store no longer has the node as a member.
	Removed bool `json:"removed,omitempty"`
	// Missing are the configured nodes not heard since the node became cold.
	Missing []string `json:"missing,omitempty"`
	// MajorityMicros is the shortest round trip to the peers that make a majority with the node, 0 while it is not known.
	MajorityMicros int64 `json:"majorityMicros,omitempty"`
	// ConfirmedBy is the person who let a cold node act.
	ConfirmedBy string `json:"confirmedBy,omitempty"`
}

// StoreStatus is a node's local view of the control-plane store: no quorum is needed to give it.
type StoreStatus struct {
	// Embedded is false for an external etcd.
	Embedded bool   `json:"embedded"`
	Leader   string `json:"leader"` // member name or id, "" where there is none
	// Quorum: the local member knows a leader.
	Quorum   bool  `json:"quorum"`
	Revision int64 `json:"revision"`
	// Bytes is the size of the store's file, Used the part in use, Quota the limit (0 unknown).
	Bytes   int64         `json:"bytes"`
	Used    int64         `json:"used"`
	Quota   int64         `json:"quota"`
	Alarms  []string      `json:"alarms,omitempty"`
	Members []StoreMember `json:"members,omitempty"`
	// FreeBytes is the free space on the disk of the data directory.
	FreeBytes uint64 `json:"freeBytes"`
	// Stopped says why the local member ended, where it did.
	Stopped string `json:"stopped,omitempty"`
}

// Parts of the store's quota in percent: from Filling on it is told, from Reserved on what is not needed to keep service up is refused, so that
// ownership can still change.
const (
	Filling  = 75
	Reserved = 90
)

// Filled is how much of the store's quota its file takes, in percent, also what is free in it: the quota is that of the file. 0 where that is not known.
func (s StoreStatus) Filled() int {
	if s.Quota <= 0 {
		return 0
	}
	return int(s.Bytes * 100 / s.Quota)
}

// Spare refuses what is not needed to keep service up where what is left of the store is reserved for that.
func (s StoreStatus) Spare() error {
	if s.Filled() < Reserved {
		return nil
	}
	return errs.New(errs.Refused, "the control store takes %d%% of its quota, and the rest is kept for switches: have its space reclaimed (perdure node reclaim), or raise quotaBytes of every node", s.Filled())
}

// StoreMember is one member of the embedded store.
type StoreMember struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	PeerURL []string `json:"peerUrls"`
	Learner bool     `json:"learner,omitempty"`
}

// Formats says in which format runs' journals are kept, and what each node's program reads.
type Formats struct {
	Journal JournalFormat `json:"journal"`
	Nodes   []NodeFormats `json:"nodes"`
}

// JournalFormat is the format that is written. The first one needs nobody to say so: then By is empty.
type JournalFormat struct {
	Format run.Format `json:"format"`
	By     string     `json:"by,omitempty"` // the node that raised it
	// Version is that of its program, At when, in Unix milliseconds.
	Version string `json:"version,omitempty"`
	At      int64  `json:"at,omitempty"`
}

// NodeFormats is the program of a node: its version, and the oldest and the newest format of journals that it reads and writes.
type NodeFormats struct {
	Node    string     `json:"node"`
	Version string     `json:"version"`
	Oldest  run.Format `json:"oldest"`
	Newest  run.Format `json:"newest"`
}

// Estate is the estate at a glance, as one node sees it from local reads.
type Estate struct {
	Node        string         `json:"node"`
	Version     string         `json:"version"`
	Now         int64          `json:"now"`
	Incarnation Incarnation    `json:"incarnation"`
	Standing    Standing       `json:"standing"`
	Store       StoreStatus    `json:"store"`
	Nodes       []NodeView     `json:"nodes"`
	Manifest    Manifest       `json:"manifest"` // without Text
	Groups      []Group        `json:"groups"`
	Gateways    []Ack          `json:"gateways"`
	Members     []MemberStatus `json:"members"`
	Instances   []Instance     `json:"instances"`
	Formats     Formats        `json:"formats"`
}

// NodeView is a configured node as the answering node last heard it.
type NodeView struct {
	Node string `json:"node"`
	// Heard is how long ago it last answered, in milliseconds; -1 never in this boot.
	HeardMillis int64    `json:"heardMillis"`
	Standing    Standing `json:"standing"`
	Error       string   `json:"error,omitempty"`
}

// Silence is what one node's own probes say about the owner of a group (I16).
type Silence struct {
	Node      string           `json:"node"`
	Group     estate.GroupID   `json:"group"`
	Owner     estate.Life      `json:"owner"`
	Ownership estate.Ownership `json:"ownership"`
	Silent    bool             `json:"silent"`
	// ForMillis is how long it has been silent, on the node's monotonic clock; 0 where it is not.
	ForMillis int64 `json:"forMillis"`
	// AgentMillis is how long its agent has given no answer, whether or not its database does.
	AgentMillis int64 `json:"agentMillis,omitempty"`
	// Detail is what the newest probe said.
	Detail string `json:"detail,omitempty"`
}

// Problem is the body of every error answer (RFC 9457).
type Problem struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail"`
	Instance string `json:"instance,omitempty"`
	// Kind is one of internal/errs; Invariant names the rule of ownership that was at stake.
	Kind      string          `json:"kind,omitempty"`
	Invariant string          `json:"invariant,omitempty"`
	Errors    json.RawMessage `json:"errors,omitempty"`
}

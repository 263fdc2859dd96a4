package wire

import (
	"encoding/json"

	"perdure/internal/estate"
)

// Position is how far a watcher has come. A revision means nothing outside its incarnation: after a recovery it may run anew (I10).
type Position struct {
	Incarnation estate.Incarnation `json:"incarnation"`
	Revision    int64              `json:"revision"`
}

// Line is one line of GET /api/v1/watch (application/x-ndjson). A line is exactly one of:
//   - reset: what follows up to and including the first line without More is the whole state; forget everything else
//   - a change: Key and either Value or Deleted
//   - heartbeat: one each second; everything up to Revision has been sent
//
// Keys are relative to the store's root, for example "groups/u1" or "instances/core/a/app-1".
type Line struct {
	Revision int64           `json:"revision"`
	Key      string          `json:"key,omitempty"`
	Value    json.RawMessage `json:"value,omitempty"`
	Deleted  bool            `json:"deleted,omitempty"`
	// More: the next line belongs to the same revision or the same snapshot; apply them together.
	More bool `json:"more,omitempty"`

	Reset     bool `json:"reset,omitempty"`
	Heartbeat bool `json:"heartbeat,omitempty"`
	// Node and Incarnation are on reset and heartbeat lines; Quorum (the serving member knows a leader) on heartbeats.
	Node        string              `json:"node,omitempty"`
	Incarnation *estate.Incarnation `json:"incarnation,omitempty"`
	Quorum      bool                `json:"quorum,omitempty"`
	// Superseded is on the last heartbeat of a node that has met this incarnation in force elsewhere: another node knows more (I10).
	Superseded *estate.Incarnation `json:"superseded,omitempty"`
}

// Change is one key that changed.
type Change struct {
	Key      string
	Value    json.RawMessage // nil where Deleted
	Deleted  bool
	Revision int64
}

// Update is what a watcher hands on: a whole snapshot, all changes of one revision, or news about freshness.
type Update struct {
	// Reset: Changes are the whole state; what is not in it is gone.
	Reset    bool
	Changes  []Change
	Position Position
	// Heartbeat: no change, but everything up to Position was delivered.
	Heartbeat bool
	Quorum    bool
	Node      string
	// Superseded is the incarnation that the node has met in force elsewhere (I10); the watch goes on at another node.
	Superseded *estate.Incarnation
	// Stale: nothing has been heard for the watcher's staleness limit; what is known may be old until the next update.
	Stale bool
}

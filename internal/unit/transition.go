package unit

import (
	"time"

	"perdure/internal/estate"
)

// Kind names a transition of a record.
type Kind string

// The closed list of transitions. Who may ask for one stands behind it; Apply checks the rest.
const (
	// Enrol: an agent reports the newest life of its member and whose history it follows. (agent of the member)
	Enrol Kind = "enrol"
	// Reopen: the owner takes the next epoch in the same place: after creation, a restart, or an undone switch. (agent of the owner)
	Reopen Kind = "reopen"
	// OwnerDown: the owner's agent sees its database dead and releases its promises. (agent of the owner)
	OwnerDown Kind = "owner-down"
	// Shrink and Grow change the in-sync set; Grow only after the proof. (agent of the owner)
	Shrink Kind = "shrink"
	Grow   Kind = "grow"
	// Attach says which session of the owner's agent may change the in-sync set from now on: what an earlier one posted and
	// never got an answer to cannot land any more (I15). (agent of the owner)
	Attach Kind = "attach"
	// Begin starts a planned switch. (a person through a node)
	Begin Kind = "begin"
	// Close says the owner is closed and drained at Fence. (agent of the owner)
	Close Kind = "close"
	// Decide gives the next ownership to a member. (agent of the target when planned or when the owner is down; a node on silence; a node after accepted loss)
	Decide Kind = "decide"
	// Opened says the decided member is severed, promoted and about to open. (agent of the new owner)
	Opened Kind = "opened"
	// Abort undoes a switch that is not decided. (a person, the owner's agent, or a node when the budget is over)
	Abort Kind = "abort"
	// Propose shows the estimated loss of an emergency outside the in-sync set; Accept is one person's acceptance. (a person through a node)
	Propose Kind = "propose"
	Accept  Kind = "accept"
	// Recover starts a new incarnation of the record. (a person through a node, recover and restore only)
	Recover Kind = "recover"
	// Amend takes over what the manifest says of members, units and policy. (a person through a node)
	Amend Kind = "amend"
	// Release ends the quarantine of a group. (a person through a node)
	Release Kind = "release"
	// Settle ends the growing phase by a person's word where the set cannot be grown again. (a person through a node)
	Settle Kind = "settle"
)

// Transition is a request to change a record: the facts of whoever asks. Apply judges it.
type Transition struct {
	Kind Kind `json:"kind"`
	// By is the life that asks, where an agent asks; Person is the authenticated name, where a person or a node asks.
	By     estate.Life `json:"by"`
	Person string      `json:"person,omitempty"`
	// First is the first life on the directory of the agent that asks (Self.FirstLife).
	First uint64 `json:"first,omitempty"`
	// Session is the session of the agent that asks (Self.Session).
	Session uint64 `json:"session,omitempty"`
	// Ownership is the one the asker believes in force: anything but the record's is refused (I1).
	Ownership estate.Ownership `json:"ownership"`
	// Member is who is meant: the follower of Shrink and Grow, the target of Begin, Decide and Propose.
	Member estate.Life `json:"member"`
	// LSN is the fence position (Close), the severed position (Opened) or the mark (Grow).
	LSN estate.LSN `json:"lsn,omitempty"`
	// Marks are when the agent that asks closed the gates (Close), cut the source and promoted (Opened), Unix milliseconds: for display.
	Marks map[Phase]int64 `json:"marks,omitempty"`
	// Following is whose history the member streams (Enrol); Ahead is Enrol's flag of I12.
	Following estate.Ownership `json:"following"`
	Ahead     bool             `json:"ahead,omitempty"`
	// Mode, Budget and SwitchID belong to Begin, Propose and an automatic Decide.
	Mode     Mode          `json:"mode,omitempty"`
	SwitchID string        `json:"switch,omitempty"`
	Budget   time.Duration `json:"budget,omitempty"`
	Reason   string        `json:"reason,omitempty"`
	// Silent says a node decides because the owner is silent to the majority of the nodes and the target's promise is over (I16).
	Silent bool `json:"silent,omitempty"`
	// Since is when the owner was last heard where it is silent, Unix milliseconds of who decides: for display only.
	Since int64 `json:"since,omitempty"`
	// Loss belongs to Propose.
	Loss *Loss `json:"loss,omitempty"`
	// Incarnation and Revision belong to Recover.
	Incarnation estate.Incarnation `json:"incarnation"`
	Revision    int64              `json:"revision,omitempty"`
	// Members, Units and Policy belong to Amend.
	Members []Member        `json:"members,omitempty"`
	Units   []estate.UnitID `json:"units,omitempty"`
	Policy  *Policy         `json:"policy,omitempty"`
	// Now is the asking node's wall clock in Unix milliseconds: for display and damping only (I8).
	Now int64 `json:"now"`
}

package wire

import (
	"time"

	"perdure/internal/driver"
	"perdure/internal/estate"
)

// SandboxDo is what an agent is asked to do with the sandbox of its copy.
type SandboxDo string

// What can be done with a sandbox. All but looking may take long: the same request is sent again until it is answered with Done.
const (
	SandboxLook     SandboxDo = "look"
	SandboxClone    SandboxDo = "clone"
	SandboxOpen     SandboxDo = "open"
	SandboxTransact SandboxDo = "transact"
	SandboxVerify   SandboxDo = "verify"
	SandboxMask     SandboxDo = "mask"
	SandboxShow     SandboxDo = "show"
	SandboxDiscard  SandboxDo = "discard"
)

// SandboxRequest asks the agent of a copy. Attempt names what is asked for: with another one it is done again.
type SandboxRequest struct {
	Group   estate.GroupID `json:"group"`
	Do      SandboxDo      `json:"do"`
	Run     string         `json:"run"`
	Attempt string         `json:"attempt,omitempty"`
	// Keep is how long the sandbox may be there at most, of clone; Query judges accounts, of verify and transact.
	Keep  time.Duration `json:"keep,omitempty"`
	Query string        `json:"query,omitempty"`
	// Accounts are the test accounts, one a line, of open and transact; Unit and Transaction are of transact.
	Accounts    string        `json:"accounts,omitempty"`
	Unit        estate.UnitID `json:"unit,omitempty"`
	Transaction string        `json:"transaction,omitempty"`
	// Masks are the declared masks, of mask and show, Shows what is shown; both as JSON: a request is compared with the one before.
	Masks string `json:"masks,omitempty"`
	Shows string `json:"shows,omitempty"`
}

// SandboxAnswer says how the sandbox stands, and what became of what was asked for.
type SandboxAnswer struct {
	Sandbox driver.Sandbox         `json:"sandbox"`
	Verdict *driver.SandboxVerdict `json:"verdict,omitempty"`
	// Transacted is of transact.
	Transacted *driver.SandboxTransacted `json:"transacted,omitempty"`
	// Masked is of mask, Shown of show.
	Masked *driver.SandboxMasked `json:"masked,omitempty"`
	Shown  []driver.SandboxRows  `json:"shown,omitempty"`
	// Done: it is over. Error is why it came to nothing, with its Kind.
	Done  bool   `json:"done"`
	Error string `json:"error,omitempty"`
	Kind  string `json:"kind,omitempty"`
	// Trace: the copy itself has something of what is written into sandboxes, of look.
	Trace bool `json:"trace,omitempty"`
}

// Production is how a unit stands beside a drill.
type Production struct {
	Accepting bool
	// LagBytes is how much of the owner's log the copy has not flushed yet.
	LagBytes       int64
	Connections    int
	WaitingCommits int
	InSync         int
	Position       estate.LSN
	// Trace: the copy has something of what is written into sandboxes. Sandbox is the run that has one there.
	Trace   bool
	Sandbox string
}

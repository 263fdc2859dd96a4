package driver

import (
	"context"
	"time"

	"perdure/internal/estate"
)

// SandboxState is how far a sandbox is.
type SandboxState string

// The states of a sandbox.
const (
	NoSandbox      SandboxState = ""
	SandboxCopying SandboxState = "copying" // its files are not complete, and never will be: it is made anew
	SandboxCloned  SandboxState = "cloned"  // complete and checked, not opened yet
	SandboxOpen    SandboxState = "open"    // a server of its own takes writes, from the agent alone
)

// Sandbox is a clone of a copy's files, for one run, on which a drill may write.
type Sandbox struct {
	// Run is whose it is; empty: there is none.
	Run   string       `json:"run,omitempty"`
	State SandboxState `json:"state,omitempty"`
	Bytes int64        `json:"bytes,omitempty"`
	// Position is up to where it has the log of the copy, and Timeline its own history, which no copy has. Both are known once it is open.
	Position estate.LSN `json:"position,omitempty"`
	Timeline uint32     `json:"timeline,omitempty"`
	At       time.Time  `json:"at,omitzero"`
	// Until is when it is thrown away whatever becomes of the run.
	Until time.Time `json:"until,omitzero"`
}

// SandboxVerdict is what was found in an open sandbox.
type SandboxVerdict struct {
	// Relations were looked through, Corrupt is what was found wrong in them.
	Relations int64  `json:"relations"`
	Corrupt   string `json:"corrupt,omitempty"`
	// Rows are those of all tables that are not the server's own; Transactions and Amount the idempotency records of all units.
	Rows         int64  `json:"rows"`
	Transactions int64  `json:"transactions"`
	Amount       string `json:"amount"`
	// Accounts were judged by the system's own query, 0 where it has none; Inconsistent are those whose books do not agree.
	Accounts     int64 `json:"accounts"`
	Inconsistent int64 `json:"inconsistent"`
	// Written: a row was written here and read back.
	Written bool `json:"written"`
	// Closed: no unit is open here, so nobody could take it for an owner (I1).
	Closed bool `json:"closed"`
}

// SandboxTest is what is tried in an open sandbox: transactions of the application, behind the guard.
type SandboxTest struct {
	Unit estate.UnitID
	// Transaction is the SQL query that carries one out and gives its status: $1 is the perdure.request, $2 the account.
	Transaction string
	// Accounts are the test accounts of the unit; Query gives all accounts, as in Judge, to find one that is none of them; empty: one that there is not.
	Accounts []string
	Query    string
}

// SandboxTransacted is what came of it.
type SandboxTransacted struct {
	// Accepted are transactions of test accounts that were carried out, of so many Accounts.
	Accounts int64 `json:"accounts"`
	Accepted int64 `json:"accepted"`
	// Refused: one of an account that is none of them was refused because of that; Other is that account.
	Refused bool   `json:"refused"`
	Other   string `json:"other"`
	// Said is why a transaction of a test account was not carried out; empty: all were.
	Said string `json:"said,omitempty"`
}

// SandboxMasked is what was masked in an open sandbox.
type SandboxMasked struct {
	Tables  int64 `json:"tables"`
	Columns int64 `json:"columns"`
	// Rows are those that were written anew, Values what was overwritten in them and held against what was there before.
	Rows   int64 `json:"rows"`
	Values int64 `json:"values"`
}

// SandboxRows are the first rows of a table of a sandbox. A cell is nil where there is no value.
type SandboxRows struct {
	Table   string      `json:"table"`
	Columns []string    `json:"columns"`
	Rows    [][]*string `json:"rows"`
}

// Sandboxes makes a sandbox of a copy: one at a time, on the copy's own machine, reached by the agent alone. Nothing here waits for, or is
// waited for by, what keeps the copy a copy.
type Sandboxes interface {
	// Sandbox says what there is.
	Sandbox(ctx context.Context) (Sandbox, error)
	// CloneSandbox copies the files of the copy for a run. It refuses an owner's directory, a sandbox of another run, and a disk without room
	// for it, before anything is copied. What is complete already is left as it is.
	CloneSandbox(ctx context.Context, run string, keep time.Duration, progress Progress) (Sandbox, error)
	// OpenSandbox starts a server on the clone that takes writes, and checks that it reaches nobody; one that might is ended. From then on its guard
	// accepts transactions of the test accounts and of no others.
	OpenSandbox(ctx context.Context, run string, accounts []string) (Sandbox, error)
	// TransactSandbox carries out a transaction of each test account in the open sandbox, and one of another account, which has to be refused.
	TransactSandbox(ctx context.Context, run string, test SandboxTest) (SandboxTransacted, error)
	// VerifySandbox looks through the open sandbox and writes into it. The query judges accounts, as in Judge; empty: none is judged.
	VerifySandbox(ctx context.Context, run, query string) (SandboxVerdict, error)
	// MaskSandbox overwrites the columns in the open sandbox and proves that no value of before is left in them: all of it, or nothing. The same masks
	// again change nothing; others are refused. Transactions are refused from then on: what they wrote would not be masked.
	MaskSandbox(ctx context.Context, run string, masks []estate.Mask) (SandboxMasked, error)
	// ShowSandbox reads what participants may look at. It refuses a sandbox in which not all of the masks were done, and a column that has none and is not
	// named as plain.
	ShowSandbox(ctx context.Context, run string, masks []estate.Mask, shows []estate.Showing) ([]SandboxRows, error)
	// DiscardSandbox ends the server and removes all files; empty: of whatever run. That there is nothing is fine; another run's is left.
	DiscardSandbox(ctx context.Context, run string) error
	// SandboxTrace reports whether the copy itself has anything of what is written into sandboxes: it never has.
	SandboxTrace(ctx context.Context) (bool, error)
}

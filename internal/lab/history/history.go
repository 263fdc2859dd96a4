// Package history is what happened in a run of the lab, on disk: every call of the load generator, every mark and fault of the story,
// and the facts that were read from the product. It is append-only JSON lines, one event a line, and the only thing the checker believes
// about the run; nothing that the story's runner concluded is in it.
//
// One Writer writes a history, so all instants in it lie on one monotonic clock. A history that was not closed has no end event;
// the checker does not pass it.
package history

import (
	"slices"
	"time"

	"perdure/internal/driver"
	"perdure/internal/estate"
	"perdure/internal/unit"
)

// Instant is a moment: Mono counts from the beginning of the history on the monotonic clock and orders events;
// Wall is Unix nanoseconds and is used only beside times that other processes wrote.
type Instant struct {
	Mono time.Duration `json:"m"`
	Wall int64         `json:"w"`
}

// Event is one line: exactly one field is set.
type Event struct {
	Begin      *Begin      `json:"begin,omitempty"`
	Client     *Client     `json:"client,omitempty"`
	Opening    *Opening    `json:"opening,omitempty"`
	Call       *Call       `json:"call,omitempty"`
	Load       *Load       `json:"load,omitempty"`
	Mark       *Mark       `json:"mark,omitempty"`
	Fault      *Fault      `json:"fault,omitempty"`
	Group      *Group      `json:"group,omitempty"`
	Divergence *Divergence `json:"divergence,omitempty"`
	Row        *Row        `json:"row,omitempty"`
	Copy       *Copy       `json:"copy,omitempty"`
	Clearing   *Clearing   `json:"clearing,omitempty"`
	Note       *Note       `json:"note,omitempty"`
	End        *End        `json:"end,omitempty"`
}

// Begin is the first line.
type Begin struct {
	Format int     `json:"format"` // 1
	At     Instant `json:"at"`
	// Estate names the estate the history belongs to: a run on two fresh estates has two histories.
	Estate string `json:"estate"`
	Seed   uint64 `json:"seed"`
	// Clearings says that the history has an event of every clearing: one without them says nothing of quarantines.
	Clearings bool `json:"clearings,omitempty"`
}

// Client says how the clients of a site reach the product: gateways in the order they are tried.
type Client struct {
	Site     estate.SiteID `json:"site"`
	Caller   string        `json:"caller"`
	Gateways []string      `json:"gateways"`
}

// Opening is what an account held before the load began. Where openings are recorded, the database's own word for them is compared, not believed.
type Opening struct {
	Unit    estate.UnitID `json:"unit"`
	Account string        `json:"account"`
	Amount  Amount        `json:"amount"`
}

// Op is what a call asks for.
type Op string

// The closed list of operations.
const (
	Transfer Op = "transfer" // inside one unit
	Credit   Op = "credit"   // money comes in from outside
	Debit    Op = "debit"    // money goes outside
	Cross    Op = "cross"    // debit here, credit at another unit by the durable outbox
	Balance  Op = "balance"  // a read; it carries no key
)

// Writes reports whether the operation changes money and therefore carries a key.
func (o Op) Writes() bool { return o != Balance }

// Phase says why a call was made.
type Phase string

// The closed list of phases.
const (
	Steady    Phase = ""          // the load itself
	Duplicate Phase = "duplicate" // the key of an answered call again, under load
	Settle    Phase = "settle"    // the key of an unresolved call again, after the load
	Replay    Phase = "replay"    // the key of an answered call again, after the load
	Resend    Phase = "resend"    // what a list of divergence names, brought in again by people
)

// Outcome is how a call ended for its client.
type Outcome string

// The closed list of outcomes of a call.
const (
	Acknowledged Outcome = "acknowledged" // success: the write is promised, the read is answered
	Refused      Outcome = "refused"      // the business said no (overdraft): a proper answer
	Wrong        Outcome = "wrong"        // a 4xx that is no proper answer
	Unresolved   Outcome = "unresolved"   // neither within the client's patience: it may or may not have happened
)

// Ending is how one attempt ended.
type Ending string

// The closed list of endings of an attempt.
const (
	Answered    Ending = "answered"    // a status was received
	Unreachable Ending = "unreachable" // no connection: the request was not sent
	Reset       Ending = "reset"       // the connection broke after the request may have been sent
	TimedOut    Ending = "timed-out"   // no answer in the attempt's time
)

// Attempt is one sending of a call's request. From and Until count from the beginning of the history.
type Attempt struct {
	Gateway string        `json:"g"`
	From    time.Duration `json:"f"`
	Until   time.Duration `json:"u"`
	Ending  Ending        `json:"e"`
	Status  int           `json:"s,omitempty"`
	Detail  string        `json:"d,omitempty"` // of failures, shortened
}

// Call is one request of a client with all its attempts, written when the client has done with it.
type Call struct {
	ID    uint64        `json:"id"`
	Phase Phase         `json:"phase,omitempty"`
	First uint64        `json:"first,omitempty"` // the call whose key is sent again
	Site  estate.SiteID `json:"site"`            // where the client is
	// Caller and Key are what the idempotency record is found by, together with From, the routing key.
	Caller string `json:"caller"`
	Key    string `json:"key,omitempty"`
	// Listed is, of a Resend, the key that the list of divergence names. Key is the one that was sent, and has to be the same.
	Listed string        `json:"listed,omitempty"`
	Op     Op            `json:"op"`
	From   string        `json:"from"` // the account routed by
	To     string        `json:"to,omitempty"`
	Amount Amount        `json:"amount,omitempty"`
	Unit   estate.UnitID `json:"unit"` // where From should be
	// Sent is the first sending, Done the answer or the end of patience.
	Sent     Instant       `json:"sent"`
	Done     time.Duration `json:"done"`
	Attempts []Attempt     `json:"attempts"`
	Outcome  Outcome       `json:"outcome"`
	Status   int           `json:"status,omitempty"`
	// Ownership is the stamp of the answer, Stamped the product's word for what happened (Perdure-Outcome).
	Ownership string `json:"ownership,omitempty"`
	Stamped   string `json:"stamped,omitempty"`
	// Result is the digest of the answer's body, Value the balance of a read, Stale the stamp "stale as of" of a read.
	Result string `json:"result,omitempty"`
	Value  Amount `json:"value,omitempty"`
	Stale  string `json:"stale,omitempty"`
	// Held is how long the gateway says it held the request, Replays how often it replayed it.
	Held    time.Duration `json:"held,omitempty"`
	Replays int           `json:"replays,omitempty"`
}

// Patience is how long a client waits for success, counted from the first sending of a request.
const Patience = 10 * time.Second

// Unsure reports whether the attempt may have had an effect that its client knows nothing of.
func (a Attempt) Unsure() bool {
	return a.Ending == Reset || a.Ending == TimedOut || a.Ending == Answered && (a.Status >= 500 || a.Status == 409)
}

// Reconnected reports whether the gateway was reset, unreachable or silent, so that the client went on with the same key at the next one.
func (a Attempt) Reconnected() bool { return a.Ending != Answered }

// StatusLocked is the status of an answer that an account is in quarantine. It is no result: nothing is stored under the key.
const StatusLocked = 423

// Passing reports whether the answer says only how things stood at that moment, while an earlier sending of the call may still have its effect.
func (c *Call) Passing() bool {
	return c.Outcome == Refused && c.Status == StatusLocked && slices.ContainsFunc(c.Attempts, Attempt.Unsure)
}

// Erred reports whether the client saw an error: a 5xx answer, a wrong 4xx, or no proper answer within its patience.
func (c *Call) Erred() bool {
	if c.Outcome == Wrong || c.Outcome == Unresolved || c.Done-c.Sent.Mono > Patience {
		return true
	}
	for _, a := range c.Attempts {
		if a.Ending == Answered && a.Status >= 500 {
			return true
		}
	}
	return false
}

// Load says that the load began, ended, or was not able to keep its rate.
type Load struct {
	At      Instant `json:"at"`
	What    string  `json:"what"` // "begin" or "end"
	Skipped uint64  `json:"skipped,omitempty"`
}

// The two words of Load.What.
const (
	LoadBegins = "begin"
	LoadEnds   = "end"
)

// Mode is the kind of a step.
type Mode string

// The closed list of modes of a step.
const (
	Takeover   Mode = "takeover"
	Failover   Mode = "failover"
	Emergency  Mode = "emergency"
	SwitchBack Mode = "switch-back"
	Drill      Mode = "drill"
	// Steadily is load without anything under test; it is checked and not listed in the summary.
	Steadily Mode = "steady"
)

// Edge says which end of a step or of a fault an event is.
type Edge string

// The two edges.
const (
	Starts Edge = "start"
	Ends   Edge = "end"
)

// Mark is one edge of a step of the story.
type Mark struct {
	At   Instant `json:"at"`
	Edge Edge    `json:"edge"`
	Step string  `json:"step"`
	// Title is shown to people in place of Step where it is set.
	Title  map[string]string `json:"title,omitempty"` // by language: en, zh
	Mode   Mode              `json:"mode,omitempty"`
	Expect Expect            `json:"expect"`
}

// Expect is what the story declares when a step starts. It can make the checker stricter,
// and weaken it only where the product's own record shows that people accepted a loss.
type Expect struct {
	// Loss: acknowledged writes may be lost, if the product shows that two people accepted it.
	Loss bool `json:"loss,omitempty"`
	// Exact: the product's list of diverged transactions, or its estimate, has to be exact.
	Exact bool `json:"exact,omitempty"`
	// Diverged is how many transactions have to have diverged at least in the step's switches: a list that is equal because both are empty
	// shows nothing.
	Diverged int `json:"diverged,omitempty"`
	// Resent: all that an accepted loss of the step took away has to be there again at the end, because it was sent again with its keys, and
	// that has to be so many writes at least; 0: it may stay lost.
	Resent int `json:"resent,omitempty"`
	// TwoOwners: people let one side act that was cut off from another one, which lives on: until they have met again both may acknowledge,
	// and what the older one acknowledged is lost (I11). It counts where the product shows that people accepted a loss.
	TwoOwners bool `json:"twoOwners,omitempty"`
	// NoSurvivor: no in-sync member is left alive, so the bound on how long a unit may stay closed does not hold.
	NoSurvivor bool `json:"noSurvivor,omitempty"`
	// MaxClosed is the longest a unit may go without an acknowledged write; 0 means 30 s.
	MaxClosed time.Duration `json:"maxClosed,omitempty"`
	// Switches is how often ownership of each unit should change hands in the step; a unit that is not named is not bound.
	Switches map[estate.UnitID]int `json:"switches,omitempty"`
	// Units are those under test in the step; empty means all.
	Units []estate.UnitID `json:"units,omitempty"`
}

// Fault is one edge of something that the story broke.
type Fault struct {
	At   Instant `json:"at"`
	Edge Edge    `json:"edge"`
	ID   string  `json:"id"`
	What string  `json:"what"` // kill, freeze, cut, one-way, disk-full, starve …
	// Targets are the processes, links or sites it was done to, in the story's words.
	Targets []string `json:"targets,omitempty"`
	// Inside are sites whose clients cannot reach the others while it lasts: they are reported apart.
	Inside []estate.SiteID `json:"inside,omitempty"`
	// Lives are the members whose server it ended, or brought down to begin anew: an ownership that one of them had is over (I1).
	Lives []estate.MemberID `json:"lives,omitempty"`
	// Harmless says that no switch may come of it: a slow node, a store election, a full store disk.
	Harmless bool   `json:"harmless,omitempty"`
	Skipped  string `json:"skipped,omitempty"` // why it could not be done here
}

// Group is a group's record as the product's API gave it. The story appends it after each step and at the end,
// because a record remembers only its newest 32 ownerships and its last switch.
type Group struct {
	At     Instant     `json:"at"`
	Record unit.Record `json:"record"`
}

// Divergence is the product's list of what a returned owner had and its successor had not (I6).
type Divergence struct {
	At     Instant          `json:"at"`
	Group  estate.GroupID   `json:"group"`
	Member estate.MemberID  `json:"member"`
	Left   estate.Ownership `json:"left"` // the ownership the member had
	// Listed is when the product kept the list, Unix milliseconds; At is when the story took it down, which may be much later.
	Listed int64           `json:"listed,omitempty"`
	List   driver.Diverged `json:"list"`
}

// Row is one idempotency record read from a copy of a former owner's directory, taken before its agent touched it.
type Row struct {
	Copy       string           `json:"copy"`
	Unit       estate.UnitID    `json:"unit"`
	Seq        int64            `json:"seq"`
	Caller     string           `json:"caller"`
	RoutingKey string           `json:"routingKey"`
	Key        string           `json:"key"`
	Amount     Amount           `json:"amount"`
	Accounts   []string         `json:"accounts,omitempty"`
	Ownership  estate.Ownership `json:"ownership"`
}

// Copy ends the rows of a copy: it names the copy and says how many rows belong to it.
type Copy struct {
	At     Instant          `json:"at"`
	Copy   string           `json:"copy"`
	Group  estate.GroupID   `json:"group"`
	Member estate.MemberID  `json:"member"`
	Left   estate.Ownership `json:"left"`
	Rows   int              `json:"rows"`
	// Final: nothing could be committed in the directory after the copy was taken, because no server ran on it.
	Final bool `json:"final"`
}

// Clearing is written before the accounts of a unit in quarantine are judged, or the quarantine is ended, at a person's word: until then none
// of them may be served (I7).
type Clearing struct {
	At   Instant       `json:"at"`
	Unit estate.UnitID `json:"unit"`
	What string        `json:"what"` // "verify" or "release"
}

// The two words of Clearing.What.
const (
	Verifies = "verify"
	Releases = "release"
)

// Note is a remark for people; the checker does not read it.
type Note struct {
	At   Instant `json:"at"`
	Text string  `json:"text"`
}

// End is the last line of a history that was closed properly.
type End struct {
	At     Instant `json:"at"`
	Events uint64  `json:"events"` // lines before this one
}

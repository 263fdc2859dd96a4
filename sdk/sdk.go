// Package sdk makes a handler idempotent, guarded and answered only behind the barrier, in one call.
//
// Work runs in the database of the unit that owns the request, behind schema perdure: the guard refuses it where the unit is
// not open (I1, I9), the idempotency record makes it happen once (I5), and success is claimed only when COMMIT came back
// without an error and without a warning of class 01 (I3). Everything else is said to be unknown, never to be a success.
//
// A handler chooses a shape of work. Function is one statement and one round trip, and Grouped the same for requests that may share a
// transaction, which is the fastest. Pipeline is any SQL
// sent at once. Interactive is code between statements. Open makes the connection to a unit, Service the HTTP semantics of the
// Idempotency-Key draft, Dispatcher sends what work put into the outbox, Register tells the gateways about this instance.
package sdk

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"time"
)

// Request is who asks for what: the scope of the key is (system, caller, routing key), and the database is the system's.
type Request struct {
	Unit       string // the unit that the gateway chose
	Slot       int
	Caller     string // who the gateway took the client for
	RoutingKey string
	Key        string // the client's Idempotency-Key
	Hash       []byte // fingerprint of the payload, see Fingerprint
}

// Fingerprint is what tells one payload from another under the same key: SHA-256 over method, target (path and query) and body.
func Fingerprint(method, target string, body []byte) []byte {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n", method, target)
	h.Write(body)
	return h.Sum(nil)
}

// Outcome says what became of a request. These are the values of the header Perdure-Outcome.
type Outcome string

// The closed list of outcomes.
const (
	Committed Outcome = "committed" // done now, durable on the in-sync set
	Replayed  Outcome = "replayed"  // done before: the stored answer, bytes and status alike
	Refused   Outcome = "refused"   // refused by the business; the refusal is stored under the key
	Running   Outcome = "running"   // a request with this key is being carried out (409)
	NotOwner  Outcome = "not-owner" // not here: nothing happened (503)
	Unknown   Outcome = "unknown"   // it may have happened: send it again with the same key (503)
	Rejected  Outcome = ""          // wrong request or failed work: nothing happened, nothing is stored
)

// Result is what work answers with; it is stored under the key.
type Result struct {
	Status      int // HTTP status, 200 to 499
	ContentType string
	Body        []byte
	// Accounts and Amount (a decimal, "" for none) describe the effect for loss estimates and reconciliation.
	Accounts []string
	Amount   string
}

// Answer is a stored result on its way out. It was committed, or read behind a barrier, in Ownership.
type Answer struct {
	Outcome   Outcome // Committed, Replayed or Refused
	Ownership string  // "counter.id.epoch"
	Seq       int64   // number of the transaction that made the idempotency record
	Result
}

// Failure is every other end of a request.
type Failure struct {
	Outcome   Outcome // Running, NotOwner, Unknown or Rejected
	Status    int     // HTTP status to answer with
	Title     string  // the problem's kind in a few words
	Detail    string
	Ownership string // where the database said so
	SQLState  string // where the database refused it
	cause     error
}

// Error gives title and detail.
func (f *Failure) Error() string {
	if f.Detail == "" {
		return f.Title
	}
	return f.Title + ": " + f.Detail
}

// Unwrap gives the cause, if any.
func (f *Failure) Unwrap() error { return f.cause }

// Refusal is returned by work that the business refuses: the transaction is rolled back and the refusal stored under the key.
type Refusal struct{ Result }

// Error gives the body.
func (r *Refusal) Error() string { return fmt.Sprintf("refused with status %d: %s", r.Status, r.Body) }

// Refuse makes a refusal with a problem document; status is 400 to 499.
func Refuse(status int, title, detail string) *Refusal {
	return &Refusal{Result: problemResult(status, title, detail)}
}

// defaults of Options.
const (
	defaultMaxConns     = 16
	defaultWarmConns    = 8
	defaultTogether     = 16
	warmPeriod          = 5 * time.Second
	defaultRunningWait  = time.Second
	defaultAbandonAfter = time.Minute
	defaultConnectWait  = 3 * time.Second
	rollbackWait        = 2 * time.Second
)

func internal(cause error, format string, args ...any) *Failure {
	return &Failure{Outcome: Rejected, Status: http.StatusInternalServerError, Title: "The work failed", Detail: fmt.Sprintf(format, args...), cause: cause}
}

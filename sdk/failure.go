package sdk

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// SQLSTATEs of schema perdure, and those of PostgreSQL that mean something here.
const (
	stateNotOwner     = "PD001"
	stateMisused      = "PD002"
	stateOtherPayload = "PD003"
	stateKeyTooOld    = "PD004"
	stateRunning      = "PD005"
	stateLeaseOver    = "PD006"
	stateQuarantined  = "PD007"
	stateRefused      = "PD010"

	stateReadOnly      = "25006"
	stateSerialization = "40001"
	stateDeadlock      = "40P01"
	stateLockTimeout   = "55P03"
	stateCannotCast    = "42846"

	classResources = "53" // disk full, out of memory, too many connections
	classSystem    = "58" // input and output of the server's files
)

// unknown: it may have happened.
func unknown(cause error, format string, args ...any) *Failure {
	return &Failure{
		Outcome: Unknown, Status: http.StatusServiceUnavailable, Title: "The outcome is unknown",
		Detail: fmt.Sprintf(format, args...) + "; send it again with the same Idempotency-Key", cause: cause,
	}
}

// nothing: it did not happen here, and may be tried elsewhere.
func nothing(cause error, format string, args ...any) *Failure {
	return &Failure{
		Outcome: NotOwner, Status: http.StatusServiceUnavailable, Title: "Not carried out here",
		Detail: fmt.Sprintf(format, args...), cause: cause,
	}
}

// failure says what an error of the database means for the request.
func failure(err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg):
		f = refusedBy(pg)
		f.cause = err
		return f
	case errors.Is(err, errNoAnswer):
		f = unknown(err, "%v", err)
		f.Status, f.Title = http.StatusInternalServerError, "The work gave no answer"
		return f
	case pgconn.SafeToRetry(err):
		return nothing(err, "the connection was lost before anything was sent")
	}
	return unknown(err, "the connection was lost")
}

// refusedBy maps an error message of the server. An ERROR ended the transaction before its COMMIT; a FATAL one may have come after.
func refusedBy(pg *pgconn.PgError) *Failure {
	f := &Failure{Outcome: Rejected, Detail: pg.Message, SQLState: pg.Code}
	if pg.SeverityUnlocalized != "ERROR" {
		f = unknown(nil, "the database ended the session: %s", pg.Message)
		f.SQLState = pg.Code
		return f
	}
	switch pg.Code {
	case stateNotOwner, stateReadOnly, stateLeaseOver:
		f.Outcome, f.Status, f.Title = NotOwner, http.StatusServiceUnavailable, "Not carried out here"
	case stateOtherPayload:
		f.Status, f.Title, f.Ownership = http.StatusUnprocessableEntity, "The Idempotency-Key was used with another payload", pg.Detail
	case stateKeyTooOld:
		f.Status, f.Title, f.Ownership = http.StatusUnprocessableEntity, "The Idempotency-Key is too old", pg.Detail
	case stateRunning:
		f.Outcome, f.Status, f.Title, f.Ownership = Running, http.StatusConflict, "A request with this Idempotency-Key is running", pg.Detail
	case stateQuarantined:
		f.Status, f.Title, f.Ownership = http.StatusLocked, "The account is in quarantine", pg.Detail
	case stateSerialization, stateDeadlock, stateLockTimeout:
		f.Outcome, f.Status, f.Title = NotOwner, http.StatusServiceUnavailable, "The database was too busy"
	default:
		f.Status, f.Title = http.StatusInternalServerError, "The work failed"
		if strings.HasPrefix(pg.Code, classResources) || strings.HasPrefix(pg.Code, classSystem) {
			f.Outcome, f.Status, f.Title = NotOwner, http.StatusServiceUnavailable, "The database cannot carry it out now"
		}
		if pg.Code == stateCannotCast && strings.Contains(pg.Message, "perdure.request") { // while the guard is being upgraded
			f.Outcome, f.Status, f.Title = NotOwner, http.StatusServiceUnavailable, "The guard is of another version than the application"
		}
	}
	return f
}

// failedWork reports whether the work itself failed in the database, after the guard had let it in; settle fails so where the key has a
// result already.
func (f *Failure) failedWork() bool {
	switch f.SQLState {
	case "", stateMisused, stateOtherPayload, stateKeyTooOld:
		return false
	}
	return f.Outcome == Rejected
}

// again reports whether the transaction may simply be tried once more.
func (f *Failure) again() bool {
	return f.SQLState == stateDeadlock || f.SQLState == stateSerialization
}

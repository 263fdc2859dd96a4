// Package errs is the closed list of what can go wrong, as far as callers act on it.
// A message says what could not be done, to what, and what the user can do next; the kind says who acts.
package errs

import (
	"errors"
	"fmt"
)

// Kind classifies an error by what its receiver does about it.
type Kind string

// The closed list of kinds.
const (
	Internal     Kind = "internal"     // a defect of the product: report it
	Invalid      Kind = "invalid"      // the request is wrong: correct it
	NotFound     Kind = "not-found"    // nothing has that name
	Conflict     Kind = "conflict"     // somebody else changed it, or is at it: read again, then decide
	Refused      Kind = "refused"      // a rule of the protocol forbids it: it stays refused until the world changes
	Unauthorised Kind = "unauthorised" // no or wrong credentials
	Forbidden    Kind = "forbidden"    // known, but without the right
	Unavailable  Kind = "unavailable"  // not reachable now: try again
	Unknown      Kind = "unknown"      // it may have happened: probe before anything is repeated
)

// Error carries a kind, and the invariant that was at stake where there was one (for example "I4").
type Error struct {
	Kind      Kind   `json:"kind"`
	Invariant string `json:"invariant,omitempty"`
	Message   string `json:"message"`
	cause     error
}

// Error gives the message, with the invariant in brackets where one is named.
func (e *Error) Error() string {
	if e.Invariant != "" {
		return e.Message + " [" + e.Invariant + "]"
	}
	return e.Message
}

// Unwrap gives the cause, if any.
func (e *Error) Unwrap() error { return e.cause }

// New makes an error of the kind; %w in format keeps the cause.
func New(kind Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Message: err.Error(), cause: errors.Unwrap(err)}
}

// Refuse makes an error of kind Refused that names the invariant.
func Refuse(invariant, format string, args ...any) *Error {
	e := New(Refused, format, args...)
	e.Invariant = invariant
	return e
}

// KindOf gives the kind of the outermost *Error in the chain, Internal where there is none, and "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

package cli

import (
	"context"
	"errors"
	"fmt"

	"perdure/internal/errs"
)

// The exit codes. Scripts rely on them: none is ever given another meaning.
const (
	exitOK           = 0
	exitFailed       = 1   // it was tried and failed, or a defect
	exitUsage        = 2   // wrong arguments, or a wrong document
	exitRefused      = 3   // a rule of the protocol forbids it
	exitNotFound     = 4   // nothing has that name
	exitUnavailable  = 5   // no node answers, or not in time
	exitUnauthorised = 6   // no or wrong credentials, or not the right
	exitConflict     = 7   // somebody else changed it, or is at it
	exitUnknown      = 8   // it may have happened: look before repeating
	exitInterrupted  = 130 // Ctrl-C
)

// usageError is a wrong call of the command line.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// exitCode says how the process ends for an error.
func exitCode(err error) int {
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, context.DeadlineExceeded):
		return exitUnavailable
	}
	switch errs.KindOf(err) {
	case errs.Invalid:
		return exitUsage
	case errs.Refused:
		return exitRefused
	case errs.NotFound:
		return exitNotFound
	case errs.Unavailable:
		return exitUnavailable
	case errs.Unauthorised, errs.Forbidden:
		return exitUnauthorised
	case errs.Conflict:
		return exitConflict
	case errs.Unknown:
		return exitUnknown
	case errs.Internal:
	}
	return exitFailed
}

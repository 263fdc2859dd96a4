package route

import (
	"time"

	"perdure/internal/estate"
	"perdure/internal/unit"
)

// Decision is what a gateway does with a request of a unit.
type Decision uint8

// The closed list of decisions.
const (
	Serve   Decision = iota // the owner is at this site
	Forward                 // the owner is at another site
	Hold                    // nobody may do it now; somebody soon will
	Refuse                  // nobody may do it, and waiting has gone on for too long
)

// String names the decision.
func (d Decision) String() string {
	switch d {
	case Serve:
		return "serve"
	case Forward:
		return "forward"
	case Hold:
		return "hold"
	case Refuse:
		return "refuse"
	}
	return "decision?"
}

// State is what a table says about the owner of a unit.
type State struct {
	Ownership estate.Ownership
	State     unit.State
	Site      estate.SiteID
	Phase     unit.Phase // of an active switch, "" where none is
	Down      bool
	// Conflict: two recoveries of one origin both claim the unit; neither is served until a higher incarnation comes (I10).
	Conflict bool
	// Since is when the holder of the table first saw the unit closed, in its own clock; zero: just now.
	Since time.Time
	// RefuseAfter is how long it may stay closed before requests are refused at once.
	RefuseAfter time.Duration
}

// Closed reports whether nobody may do requests of the unit now.
func (s *State) Closed() bool {
	if s.Conflict || s.State != unit.Open || s.Down || s.Site == "" {
		return true
	}
	switch s.Phase {
	case unit.Closing, unit.Drained, unit.Promotion:
		return true
	case unit.Accepting, unit.Growing, unit.Done, unit.Failed, "":
		return false
	case unit.MarkShut, unit.MarkSevered, unit.MarkPromoted: // moments within a phase, never one themselves
	}
	return true
}

// Judge decides about a request of the unit at site here.
func Judge(s *State, here estate.SiteID, now time.Time) Decision {
	if s.Closed() {
		if s.Conflict || (!s.Since.IsZero() && now.Sub(s.Since) >= s.RefuseAfter) {
			return Refuse
		}
		return Hold
	}
	if s.Site == here {
		return Serve
	}
	return Forward
}

// Verdict is what a gateway makes of an instance's answer.
type Verdict uint8

// The closed list of verdicts.
const (
	Deliver   Verdict = iota // it counts: the client gets it
	Elsewhere                // nothing happened there: route again and hold, whatever the request (I14)
	Unknown                  // it may have happened: only a request that may be repeated is sent again (I14)
	Running                  // an earlier attempt with the same key is still at work: ask again
	Unstamped                // it does not say in which ownership it was made, so it counts for nothing
)

// String names the verdict.
func (v Verdict) String() string {
	switch v {
	case Deliver:
		return "deliver"
	case Elsewhere:
		return "elsewhere"
	case Unknown:
		return "unknown"
	case Running:
		return "running"
	case Unstamped:
		return "unstamped"
	}
	return "verdict?"
}

// Outcome is the value of Perdure-Outcome.
type Outcome string

// The closed list of outcomes an application may state.
const (
	Committed   Outcome = "committed"
	Replayed    Outcome = "replayed"
	NotOwner    Outcome = "not-owner" // nothing happened here
	NotKnown    Outcome = "unknown"   // it may have happened
	Declined    Outcome = "refused"   // refused by business rules
	StillAtWork Outcome = "running"   // the same key is being executed
)

// Answer is the part of an instance's answer that is judged.
type Answer struct {
	Status  int
	Outcome Outcome // "" where the instance states none
	// Stamped: Perdure-Ownership was there and could be read.
	Stamped   bool
	Ownership estate.Ownership
	// Again: an earlier attempt of the same request is unaccounted for, so "still running" is about ourselves.
	Again bool
}

// Weigh judges an answer against the ownership that the newest table gives the unit (I14).
func Weigh(a *Answer, current estate.Ownership) Verdict {
	switch a.Outcome {
	case NotOwner:
		return Elsewhere
	case NotKnown:
		return Unknown
	case StillAtWork:
		if a.Again {
			return Running
		}
	case Committed, Replayed, Declined, "":
	}
	if !a.Stamped {
		if statelessRefusal(a.Status) && (a.Outcome == "" || a.Outcome == Declined) {
			return Deliver
		}
		if a.Status == 409 && a.Again {
			return Running
		}
		if a.Status >= 500 {
			return Unknown
		}
		return Unstamped
	}
	if a.Ownership.Less(current) || a.Ownership.Conflicts(current) {
		return Unknown
	}
	return Deliver
}

// statelessRefusal reports whether the status says that the request itself is wrong, whoever owns the data:
// such an answer claims nothing about the data, so it needs no stamp.
func statelessRefusal(status int) bool {
	switch status {
	case 400, 401, 403, 405, 406, 411, 413, 414, 415, 416, 417, 426, 428, 431:
		return true
	}
	return false
}

package measure

import (
	"slices"
	"time"

	"perdure/internal/plan"
)

// LookedEvery is how often armed runs are looked ahead at. What was not looked at for StaleAfter tells nothing of now.
const (
	LookedEvery = time.Minute
	StaleAfter  = 5 * time.Minute
)

// Armed is what is known of a run that has to be able to begin at any moment. A plan names it.
type Armed struct {
	Plan   string         `json:"plan"`
	Name   string         `json:"name"`
	Title  string         `json:"title,omitempty"`
	Mode   plan.Mode      `json:"mode"`
	Params map[string]any `json:"params,omitempty"`
	// Print is one of what the run would do and of what it would do it to; Since is when it became so.
	Print string    `json:"print"`
	Since time.Time `json:"since"`
	// RTO is the objective of the plan, nanoseconds in JSON; 0: it has none.
	RTO time.Duration `json:"rto,omitempty"`
	// Looked is when it was last looked ahead at.
	Looked time.Time `json:"looked"`
	// Worst is the worst case then, nanoseconds in JSON; Findings are what spoke against a start.
	Worst    time.Duration `json:"worst,omitempty"`
	Findings []Finding     `json:"findings,omitempty"`
	// Failed says why nothing could be said of it.
	Failed string `json:"failed,omitempty"`
	// Verified is the newest run of the plan, of those that began since, that was done to its end; empty: nobody has seen that it works as it is now.
	Verified   string    `json:"verified,omitempty"`
	VerifiedAt time.Time `json:"verifiedAt,omitzero"`
}

// Ran is a run that was done to its end, not around a table.
type Ran struct {
	ID           string
	Began, Ended time.Time
}

// ArmedState is how an armed run stands.
type ArmedState string

// The states, the worst first.
const (
	ArmedUnknown    ArmedState = "unknown"    // it could not be looked ahead at, or was not for StaleAfter
	ArmedFindings   ArmedState = "findings"   // something speaks against its start
	ArmedUnverified ArmedState = "unverified" // nothing does, and no run has shown that it works since it, or what it touches, was changed
	ArmedReady      ArmedState = "ready"
)

// Look takes in what was found of an armed run at an instant: its preflight, or why there is none, and the runs of its plan. Where it is another
// one than before, by its print, no earlier run tells anything of it.
func (a Armed) Look(now time.Time, before *Preflight, failed string, ran []Ran, earlier Armed) Armed {
	a.Since, a.Looked, a.Failed = now, now, failed
	if earlier.Print == a.Print && !earlier.Since.IsZero() {
		a.Since, a.Verified, a.VerifiedAt = earlier.Since, earlier.Verified, earlier.VerifiedAt
	}
	if before != nil {
		a.Worst, a.Findings = before.Forecast.Worst, before.Findings
	}
	for _, r := range ran {
		if !r.Began.Before(a.Since) && r.Ended.After(a.VerifiedAt) {
			a.Verified, a.VerifiedAt = r.ID, r.Ended
		}
	}
	return a
}

// State says how it stands at an instant.
func (a Armed) State(now time.Time) ArmedState {
	switch {
	case a.Failed != "" || now.Sub(a.Looked) > StaleAfter:
		return ArmedUnknown
	case len(a.Findings) > 0:
		return ArmedFindings
	case a.Verified == "":
		return ArmedUnverified
	}
	return ArmedReady
}

// Same reports whether two looks say the same, at whatever times.
func (a Armed) Same(b Armed) bool {
	return a.Print == b.Print && a.Failed == b.Failed && a.Verified == b.Verified && a.Worst == b.Worst && a.Title == b.Title && slices.Equal(a.Findings, b.Findings)
}

package wire

import (
	"perdure/internal/driver"
	"perdure/internal/estate"
	"perdure/internal/unit"
)

// SwitchRequest asks to make a unit current at another site.
type SwitchRequest struct {
	To   estate.SiteID `json:"to"`
	Mode unit.Mode     `json:"mode"`
	// DryRun runs the checks and the forecast and changes nothing.
	DryRun bool   `json:"dryRun,omitempty"`
	Reason string `json:"reason,omitempty"`
	// ID makes a repeated request the same request; the node chooses one where it is empty.
	ID string `json:"id,omitempty"`
}

// CalendarCheck is the check that the calendars refuse a switch, RulesCheck that the rules of ownership do.
const (
	CalendarCheck = "calendar"
	RulesCheck    = "rules"
)

// Check is one preflight check of a switch.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// Forecast is the pause that clients of the unit will see, in milliseconds, by phase.
type Forecast struct {
	PauseP50Millis int64            `json:"pauseP50Millis"`
	PauseP95Millis int64            `json:"pauseP95Millis"`
	Phases         map[string]int64 `json:"phases,omitempty"`
	Basis          string           `json:"basis"` // what the figures come from
}

// SwitchAnswer is what came of a request to switch, abort or accept.
type SwitchAnswer struct {
	Unit     estate.UnitID  `json:"unit"`
	Group    estate.GroupID `json:"group"`
	DryRun   bool           `json:"dryRun,omitempty"`
	Checks   []Check        `json:"checks,omitempty"`
	Forecast *Forecast      `json:"forecast,omitempty"`
	// Run is the run that the switch is part of, where the request started it.
	Run string `json:"run,omitempty"`
	// Notes are what the calendars say of the start.
	Notes []string `json:"notes,omitempty"`
	// Switch is the group's switch after the request; nil for a dry run.
	Switch   *unit.Switch `json:"switch,omitempty"`
	Revision int64        `json:"revision,omitempty"`
	// Loss is the estimate of a lossy emergency, shown before anybody accepts it.
	Loss *unit.Loss `json:"loss,omitempty"`
}

// SwitchView is one group's running or last switch.
type SwitchView struct {
	Group  estate.GroupID  `json:"group"`
	Units  []estate.UnitID `json:"units"`
	State  unit.State      `json:"state"`
	Switch unit.Switch     `json:"switch"`
	Active bool            `json:"active"`
	// Run is the run that the switch was started with, where the request that is answered started it.
	Run string `json:"run,omitempty"`
}

// AbortRequest undoes a switch that is not decided.
type AbortRequest struct {
	Reason string `json:"reason"`
}

// AcceptRequest is one person's acceptance of the loss that was shown (I11).
type AcceptRequest struct {
	// Switch is the id of the proposed switch, so that nobody accepts something else than what they saw.
	Switch string `json:"switch"`
	Reason string `json:"reason"`
}

// VerifyAnswer is the outcome of judging the accounts of a quarantined unit (I7).
type VerifyAnswer struct {
	Unit   estate.UnitID `json:"unit"`
	Judged driver.Judged `json:"judged"`
	// Receipts is how many acknowledgements were compared, Source where they were kept; Lost how many have no effect at the owner, LostShown
	// at most 1,000 of these.
	Receipts  int64            `json:"receipts"`
	Source    string           `json:"source"`
	Lost      int64            `json:"lost"`
	LostShown []driver.Receipt `json:"lostShown,omitempty"`
	Millis    int64            `json:"millis"`
}

// ReleaseRequest ends a quarantine.
type ReleaseRequest struct {
	Reason string `json:"reason"`
}

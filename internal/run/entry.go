package run

import (
	"time"

	"perdure/internal/plan"
)

// Entry is one line of a run's journal.
type Entry struct {
	Seq  int       `json:"seq"` // 1, 2, 3 …
	At   time.Time `json:"at"`
	By   string    `json:"by"` // a person, or the node that runs it
	What What      `json:"what"`
	Node string    `json:"node,omitempty"` // ID of the step
	// Attempt counts from 1, for each step and for each undoing.
	Attempt int  `json:"attempt,omitempty"`
	Undo    bool `json:"undo,omitempty"` // it is about the undoing of the step

	Outcome Outcome        `json:"outcome,omitempty"` // of Ended and Finished
	Probed  bool           `json:"probed,omitempty"`  // the outcome is what a probe found
	Result  map[string]any `json:"result,omitempty"`  // what an action gave, or what a person filled in
	// Attachments, of Completed, are files that were handed in, of Ended those that the action made: their bytes are kept beside the journal.
	Attachments []Attachment   `json:"attachments,omitempty"`
	Outputs     map[string]any `json:"outputs,omitempty"`
	Error       string         `json:"error,omitempty"`
	Call        *plan.Call     `json:"call,omitempty"`   // of Began, filled in
	Text        string         `json:"text,omitempty"`   // of Opened: instruction or question, filled in; else a reason or a comment
	Facts       map[string]any `json:"facts,omitempty"`  // of Started: the window that it begins in
	Params      map[string]any `json:"params,omitempty"` // of Started and Entered
	Locks       []string       `json:"locks,omitempty"`  // of Began: what the step holds until it has ended
	Posted      bool           `json:"posted,omitempty"` // of Began: what it does was posted by the transaction that wrote the entry, and is only followed
	For         string         `json:"for,omitempty"`    // of Acknowledged, Completed, Approved, Declined and Delegated: the role or participant on whose behalf; of AddedApprover: who is asked too
	To          string         `json:"to,omitempty"`     // of Delegated: the person who decides now
	Factor      time.Time      `json:"factor,omitzero"`  // when the person who says it has shown a second factor; zero: not
	Term        int64          `json:"term,omitempty"`   // of Took
	// Signed, of Approved and Declined, is what was signed where the person had no part in the platform; somebody else handed it in.
	Signed *Signed `json:"signed,omitempty"`
	// Notes, of Started, are what the calendars said of the start: doubts, and what speaks against an emergency.
	Notes []string `json:"notes,omitempty"`
	// DisruptedAt and DetectedAt, of Started, are when service was disrupted and when that was found; zero: nobody said.
	DisruptedAt time.Time `json:"disruptedAt,omitzero"`
	DetectedAt  time.Time `json:"detectedAt,omitzero"`
}

// What says what an entry tells.
type What string

// What may be told. The first group is written by the runner, the second by people.
const (
	Took     What = "took"     // a runner has taken the run over: intents without a result are unknown
	Entered  What = "entered"  // a subplan has begun
	Passed   What = "passed"   // a step was passed over: its condition does not hold, or it is not for this mode
	Began    What = "began"    // the intent to act
	Ended    What = "ended"    // the result
	Opened   What = "opened"   // people were asked, or a wait has begun
	Finished What = "finished" // the run is over

	Started   What = "started"
	Paused    What = "paused"
	Resumed   What = "resumed"
	Retried   What = "retried"   // a failed step is begun again
	Skipped   What = "skipped"   // a step is left out, with a reason
	TakenOver What = "takenOver" // a person has done a step by hand
	Cancelled What = "cancelled" // the run ends; with Undo what was done is undone
	Approved  What = "approved"
	Declined  What = "declined"  // of a manual task: it is not done, which is a failure of its step
	Completed What = "completed" // a manual task was done
	// Acknowledged: somebody whose task it is knows of it.
	Acknowledged What = "acknowledged"

	Delegated     What = "delegated"     // a person has given their voice on an approval to another one
	AddedApprover What = "addedApprover" // one more role or participant has to approve
	BrokeGlass    What = "brokeGlass"    // one person has settled an approval alone, in an emergency
	Reviewed      What = "reviewed"      // another person has looked at what was settled so
	Attested      What = "attested"      // a person stands for the record of a run that is over or, with outcome declined, objects to it
)

// Outcome is how an attempt, a step or a run came out.
type Outcome string

// The outcomes.
const (
	Done    Outcome = "done"
	Failed  Outcome = "failed"
	Nothing Outcome = "nothing" // of a probe: the attempt had no effect, and may be repeated
	Unknown Outcome = "unknown" // it cannot be said what the attempt did

	Refused Outcome = "declined"  // an approval was declined, and nothing in the plan comes after that
	Undone  Outcome = "undone"    // what was done was undone
	Broken  Outcome = "cancelled" // ended by a person, with what was done left as it is
)

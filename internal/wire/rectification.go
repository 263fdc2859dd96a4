package wire

import (
	"time"

	"perdure/internal/rectification"
)

// RectificationWord is what a person says of what has to be put right after a run.
type RectificationWord struct {
	What rectification.What `json:"what"` // added, assigned, corrected, retested or accepted
	// Item is the number of what it is about; of all but added.
	Item int    `json:"item,omitempty" minimum:"1"`
	Text string `json:"text,omitempty"`
	Step string `json:"step,omitempty"` // of added
	// Owner and Due are of assigned; what is left out stays.
	Owner string    `json:"owner,omitempty"`
	Due   time.Time `json:"due,omitzero"`
	// Run is the re-test; Passed is what the person saw in it, of an item that people added.
	Run    string `json:"run,omitempty"`
	Passed *bool  `json:"passed,omitempty"`
}

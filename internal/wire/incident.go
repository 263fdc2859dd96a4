package wire

import (
	"time"

	"perdure/internal/incident"
)

// OpenIncident asks for an incident that a person opens.
type OpenIncident struct {
	// ID makes a repeated request the same request; the node chooses one where it is empty.
	ID      string `json:"id,omitempty"`
	Title   string `json:"title"`
	Planned bool   `json:"planned,omitempty"`
	incident.Facts
}

// IncidentWord is what a person says to an incident.
type IncidentWord struct {
	What incident.What `json:"what"` // declared, corrected, classified, done, waived, restored, linked, reviewed, closed or joined
	Text string        `json:"text,omitempty"`
	// Task is that of done and waived, Class that of classified, When since when service is back, of restored.
	Task  string    `json:"task,omitempty"`
	Class string    `json:"class,omitempty"`
	When  time.Time `json:"when,omitzero"`
	// Facts are all that is known, of corrected; Run or Switch is what is linked.
	Facts  *incident.Facts  `json:"facts,omitempty"`
	Run    string           `json:"run,omitempty"`
	Switch *incident.Switch `json:"switch,omitempty"`
	// Into is the incident that it becomes part of, of joined; that one is answered.
	Into string `json:"into,omitempty"`
}

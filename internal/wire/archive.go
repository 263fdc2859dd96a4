package wire

import (
	"perdure/internal/driver"
	"perdure/internal/estate"
)

// ArchiveRequest asks the agent of a cold member. Restore: its archive is to be made a copy; the same request is sent again until it is
// answered with Restored, or with an error.
type ArchiveRequest struct {
	Group   estate.GroupID `json:"group"`
	Restore bool           `json:"restore,omitempty"`
	// Attempt names what is asked for: with another one it is tried again.
	Attempt string `json:"attempt,omitempty"`
}

// ArchiveAnswer says what a cold member keeps and how far its restore is.
type ArchiveAnswer struct {
	Archive driver.Archive `json:"archive"`
	// Restored: it is a copy whose server answers, in a life that the record knows.
	Restored bool `json:"restored"`
	// Error is why the attempt came to nothing, with its Kind.
	Error string `json:"error,omitempty"`
	Kind  string `json:"kind,omitempty"`
}

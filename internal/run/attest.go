package run

import (
	"slices"
	"time"

	"perdure/internal/errs"
)

// Attestation is a person's word on the record of a run: all entries of its journal before it (R10).
type Attestation struct {
	By string `json:"by"`
	// For is the role, or the participant, that they speak for.
	For string    `json:"for,omitempty"`
	At  time.Time `json:"at"`
	// Objects: the record is not what happened, and Text says where.
	Objects bool   `json:"objects,omitempty"`
	Text    string `json:"text,omitempty"`
}

// attest takes a word on the record (R10).
func (r *Run) attest(e Entry) error {
	switch {
	case r.Phase != Over:
		return r.refuse(e, "it is attested once it is over")
	case e.By == r.StartedBy:
		return errs.Refuse("R10", "%s started the run: another person attests it", e.By)
	case slices.ContainsFunc(r.Attested, func(a Attestation) bool { return a.By == e.By }):
		return r.refuse(e, "%s has attested it already", e.By)
	case e.Outcome != "" && e.Outcome != Refused:
		return errs.New(errs.Invalid, "an attestation has no outcome, or %q", Refused)
	case e.Outcome == Refused && e.Text == "":
		return errs.New(errs.Invalid, "who objects to the record says where it is wrong")
	}
	r.Attested = append(r.Attested, Attestation{By: e.By, For: e.For, At: e.At, Objects: e.Outcome == Refused, Text: e.Text})
	return nil
}

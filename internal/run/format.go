package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"perdure/internal/errs"
)

// Format numbers the form in which journals are kept. A store names the one that is written; programs say which ones they read.
//
// Format 1 is a plain list of entries. From 2 on what is appended at once is an object whose member "format" says its number, so that who does
// not know the form can name it. A new kind of entry, a new field of an entry or of a program, or a new outcome is a new format: a program that
// does not know it leaves the run alone (R9), and nobody writes it before every node reads it.
type Format int

// Oldest and Newest are what this program reads; it writes what the store asks for.
const (
	Oldest Format = 1
	Newest        = newest
)

// rule9 is the name of the rule in errors.
const rule9 = "R9"

// Encode gives entries as they are kept.
func Encode(f Format, entries []Entry) ([]byte, error) {
	if f < Oldest || f > Newest {
		return nil, errs.Refuse(rule9, "this program cannot write journals of format %d; it knows %d to %d", f, Oldest, Newest)
	}
	if f > 1 {
		return encodeNewer(f, entries)
	}
	return json.Marshal(entries)
}

// Decode reads entries as they are kept. What this program does not know is refused (R9): see Newer.
func Decode(data []byte) ([]Entry, error) {
	if !Numbered(data) {
		return entriesOf(data)
	}
	var form struct {
		Format Format `json:"format"`
	}
	if err := json.Unmarshal(data, &form); err != nil {
		return nil, errs.New(errs.Internal, "entries cannot be read: %w", err)
	}
	if form.Format < 2 || form.Format > Newest {
		return nil, errs.Refuse(rule9, "it is kept in format %d, and this program knows %d to %d: use a newer version", form.Format, Oldest, Newest)
	}
	return decodeNewer(data)
}

// Numbered reports whether entries say the number of their format: those of format 1 do not.
func Numbered(data []byte) bool { return bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) }

// entriesOf reads a list of entries, all of which this program has to know.
func entriesOf(data []byte) ([]Entry, error) {
	var entries []Entry
	if err := Strictly(data, &entries); err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.What.known() || !e.Outcome.known() {
			return nil, errs.Refuse(rule9, "entry %d tells %q %q, which this program does not know: use a newer version", e.Seq, e.What, e.Outcome)
		}
	}
	return entries, nil
}

// Strictly reads JSON that was written by a program, and refuses fields that this one does not know (R9).
func Strictly(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	switch {
	case err == nil:
		return nil
	case strings.HasPrefix(err.Error(), "json: unknown field "):
		return errs.Refuse(rule9, "it has the %s, which this program does not know: use a newer version", strings.TrimPrefix(err.Error(), "json: unknown "))
	}
	return errs.New(errs.Internal, "it cannot be read: %w", err)
}

// Newer reports whether an error says that something of a run is of a version that this program does not know (R9).
func Newer(err error) bool {
	var e *errs.Error
	for ; errors.As(err, &e); err = e.Unwrap() {
		if e.Invariant == rule9 {
			return true
		}
	}
	return false
}

func (w What) known() bool {
	switch w {
	case Took, Entered, Passed, Began, Ended, Opened, Finished,
		Started, Paused, Resumed, Retried, Skipped, TakenOver, Cancelled, Approved, Declined, Completed, Acknowledged,
		Delegated, AddedApprover, BrokeGlass, Reviewed, Attested:
		return true
	}
	return false
}

func (o Outcome) known() bool {
	switch o {
	case "", Done, Failed, Nothing, Unknown, Refused, Undone, Broken:
		return true
	}
	return false
}

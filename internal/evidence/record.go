package evidence

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"perdure/internal/heldorder"
	"perdure/internal/run"
)

// Record is the text of a leaf: what was written, where, and at which revision of the control store.
type Record struct {
	Key      string          `json:"key"`
	Revision int64           `json:"revision"`
	Value    json.RawMessage `json:"value"`
}

// What makes a leaf of a journal worth reading: files that were handed in (E4), what was signed (E5), and what that is held against. Leaves of
// newer formats do not show what is in them.
var telling = [][]byte{[]byte(`"value":{"format":`), []byte(`"attachments":`), []byte(`"signed":`), []byte(`"what":"started"`), []byte(`"what":"opened"`)}

// journalOf gives the run and the entries of a leaf of a journal that is worth reading; nil: it is none. An error says that the leaf is of a
// format that this program does not know (R9): what it tells cannot be said then.
func journalOf(leaf []byte) (id string, entries []run.Entry, err error) {
	if !slices.ContainsFunc(telling, func(word []byte) bool { return bytes.Contains(leaf, word) }) {
		return "", nil, nil
	}
	r, _ := read[Record](leaf)
	rest, ok := strings.CutPrefix(r.Key, "journals/")
	if !ok {
		return "", nil, nil
	}
	id, _, _ = strings.Cut(rest, "/")
	if run.Numbered(r.Value) {
		entries, err = run.Decode(r.Value)
		return id, entries, err
	}
	entries, _ = read[[]run.Entry](r.Value)
	return id, entries, nil
}

// ordersOf gives what a leaf says of a word to the held orders of a run (E6).
func ordersOf(leaf []byte) (heldorder.Said, bool) {
	if !bytes.Contains(leaf, []byte(heldorder.Event)) {
		return heldorder.Said{}, false
	}
	r, _ := read[Record](leaf)
	e, ok := read[struct {
		What   string         `json:"what"`
		Detail heldorder.Said `json:"detail"`
	}](r.Value)
	return e.Detail, ok && strings.HasPrefix(r.Key, "events/") && e.What == heldorder.Event
}

// read gives what JSON says, and whether it is of the form.
func read[T any](data []byte) (v T, ok bool) {
	if json.Unmarshal(data, &v) != nil {
		var none T
		return none, false
	}
	return v, true
}

// contentsOf reads the contents of a pack out of a leaf: the detail of an event that says so.
func contentsOf(leaf []byte) (Contents, bool) {
	var r Record
	var event struct {
		What   string   `json:"what"`
		Detail Contents `json:"detail"`
	}
	if json.Unmarshal(leaf, &r) != nil || json.Unmarshal(r.Value, &event) != nil || event.What != ContentsOfPack {
		return Contents{}, false
	}
	return event.Detail, true
}

package evidence

import (
	"bytes"
	"encoding/json"
	"strings"

	"perdure/internal/run"
)

// Record is the text of a leaf: what was written, where, and at which revision of the control store.
type Record struct {
	Key      string          `json:"key"`
	Revision int64           `json:"revision"`
	Value    json.RawMessage `json:"value"`
}

// attachment is a file as the journal of a run names it.
type attachment struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// attachmentsOf gives the files that a leaf of a run's journal names (E4).
func attachmentsOf(leaf []byte) []attachment {
	if !bytes.Contains(leaf, []byte(`"attachments":`)) {
		return nil
	}
	var r Record
	var entries []struct {
		Attachments []attachment `json:"attachments"`
	}
	if json.Unmarshal(leaf, &r) != nil || !strings.HasPrefix(r.Key, "journals/") || json.Unmarshal(r.Value, &entries) != nil {
		return nil
	}
	var out []attachment
	for _, e := range entries {
		out = append(out, e.Attachments...)
	}
	return out
}

// journalOf gives the run and the entries of a leaf of a journal in which something was signed or asked, or that begins a run; nil: it is none.
func journalOf(leaf []byte) (id string, entries []run.Entry) {
	if !bytes.Contains(leaf, []byte(`"signed":`)) && !bytes.Contains(leaf, []byte(`"what":"started"`)) && !bytes.Contains(leaf, []byte(`"what":"opened"`)) {
		return "", nil
	}
	var r Record
	if json.Unmarshal(leaf, &r) != nil || json.Unmarshal(r.Value, &entries) != nil {
		return "", nil
	}
	rest, ok := strings.CutPrefix(r.Key, "journals/")
	if !ok {
		return "", nil
	}
	id, _, _ = strings.Cut(rest, "/")
	return id, entries
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

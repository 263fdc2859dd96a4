package evidence

import "encoding/json"

// Record is the text of a leaf: what was written, where, and at which revision of the control store.
type Record struct {
	Key      string          `json:"key"`
	Revision int64           `json:"revision"`
	Value    json.RawMessage `json:"value"`
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

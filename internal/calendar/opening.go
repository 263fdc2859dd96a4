package calendar

import (
	"encoding/json"
	"time"
)

// Opening is a window that is open, and by whom it was approved: in it a run begins.
type Opening struct {
	Calendar string `json:"calendar"`
	Window   string `json:"window"`
	// Until is when it and those that follow it without a gap end.
	Until     time.Time  `json:"until"`
	Approvals []Approval `json:"approvals"`
}

// Facts are what the first entry of the journal says of it; nil: the run needs none.
func (o *Opening) Facts() map[string]any {
	if o == nil {
		return nil
	}
	var facts map[string]any
	data, err := json.Marshal(o)
	if err == nil {
		err = json.Unmarshal(data, &facts)
	}
	if err != nil {
		panic(err) // nothing in it can fail
	}
	return facts
}

// OpeningOf reads the facts of the first entry of a journal; nil: they are of none.
func OpeningOf(facts map[string]any) *Opening {
	if facts["window"] == nil {
		return nil
	}
	var o Opening
	data, err := json.Marshal(facts)
	if err != nil || json.Unmarshal(data, &o) != nil {
		return nil // not from here
	}
	return &o
}

// By names who approved it.
func (o *Opening) By() string { return names(o.Approvals) }

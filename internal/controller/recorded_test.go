package controller

import (
	"encoding/json"
	"fmt"
	"testing"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// TestTheOwnerAloneIsAskedWhatIsRecorded, some thousand keys at a time; an answer of another ownership proves nothing.
func TestTheOwnerAloneIsAskedWhatIsRecorded(t *testing.T) {
	keys := make([]driver.Key, 2*compared+1)
	for i := range keys {
		keys[i].Key = fmt.Sprint(i)
	}
	watching(t, nil, &kept{}, func(w *world) {
		var asked []int
		answer := func(o wire.RecordsAnswer) {
			w.set(func() {
				w.agents[a] = func(path string, body []byte) (any, error) {
					if path != "/v1/records" {
						return wire.AgentState{Group: group, Running: true, Answering: true}, nil
					}
					var ask wire.RecordsRequest
					err := json.Unmarshal(body, &ask)
					asked = append(asked, len(ask.Keys))
					return o, err
				}
			})
		}
		now := w.record().Ownership
		answer(wire.RecordsAnswer{Ownership: now, Records: []driver.Record{{Index: 0, Status: 201, Amount: "5"}}})
		in, found, err := w.Recorded(w.t.Context(), u1, keys)
		if err != nil || in != now || len(found) != 3 || found[1].Index != compared || found[2].Index != 2*compared || fmt.Sprint(asked) != fmt.Sprint([]int{compared, compared, 1}) {
			t.Fatalf("%v, %+v, asked %v, %v", in, found, asked, err)
		}
		answer(wire.RecordsAnswer{Ownership: now, Records: []driver.Record{{Index: compared}}})
		if _, _, err := w.Recorded(w.t.Context(), u1, keys[:7]); errs.KindOf(err) != errs.Internal {
			t.Errorf("an answer for a key that was not asked for: %v", err)
		}
		other := now
		other.Epoch++
		answer(wire.RecordsAnswer{Ownership: other})
		if _, _, err := w.Recorded(w.t.Context(), u1, keys[:7]); errs.KindOf(err) != errs.Conflict {
			t.Errorf("an answer of another ownership: %v", err)
		}
		w.set(func() { w.rec.Record.State = unit.Closed })
		if _, _, err := w.Recorded(w.t.Context(), u1, keys[:7]); errs.KindOf(err) != errs.Unavailable {
			t.Errorf("an owner that is not open: %v", err)
		}
	})
}

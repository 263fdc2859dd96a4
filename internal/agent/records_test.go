package agent

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"perdure/internal/driver"
	"perdure/internal/estate"
	"perdure/internal/wire"
)

// What proves that an order was entered comes from the owner, in the ownership that it says, and from nobody else.
func TestOnlyTheOwnerSaysWhatIsRecorded(t *testing.T) {
	inBed(t, nil, func(bed *bed) {
		bed.up()
		bed.commit(a, "one")
		keys := wire.RecordsRequest{Keys: []driver.Key{{Key: "gone"}, {Key: "one"}}}
		answer := asks[wire.RecordsAnswer](bed, a, "/v1/records", keys)
		if want := []driver.Record{{Index: 1, Status: 200, Amount: "10"}}; !slices.Equal(answer.Records, want) || answer.Ownership != bed.plane.rec.Record.Ownership {
			t.Errorf("%+v", answer)
		}
		bed.pass(time.Second)
		for _, id := range []estate.MemberID{b, c} {
			m, _ := bed.plane.rec.Record.Member(id)
			told, err := ask[wire.RecordsAnswer](bed.t.Context(), &http.Client{Transport: caller{bed, ""}}, http.MethodPost, m, "/v1/records", keys)
			if err == nil || !strings.Contains(err.Error(), "does not own") {
				t.Errorf("%s says %+v, %v", id, told, err)
			}
		}
	})
}

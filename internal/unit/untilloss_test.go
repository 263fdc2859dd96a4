package unit

import (
	"slices"
	"testing"

	"perdure/internal/estate"
)

// Switches that follow a lossy one, while its accounts are still judged, do not hide what it lost: the records of the successor are no proof
// that the predecessor's are there.
func TestWhatWasLostIsLookedForFromTheFirstLossOn(t *testing.T) {
	past := func(epoch estate.Epoch, lossy bool) Past {
		return Past{Ownership: estate.Ownership{Incarnation: estate.Incarnation{Counter: 1, ID: "x"}, Epoch: epoch}, ExpectedLoss: lossy}
	}
	r := Record{Past: []Past{past(3, false), past(4, true), past(5, false), past(6, true)}}
	if got, want := r.UntilLoss(), []estate.Ownership{past(3, false).Ownership, past(4, false).Ownership}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	r.Past = r.Past[:1]
	if got := r.UntilLoss(); got != nil {
		t.Errorf("%v without any loss", got)
	}
}

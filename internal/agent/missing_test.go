package agent

import (
	"slices"
	"testing"
	"time"

	"perdure/internal/driver"
	"perdure/internal/estate"
	"perdure/internal/wire"
)

func TestAnyMemberSaysWhichKeysAreNotRecordedThere(t *testing.T) {
	inBed(t, nil, func(bed *bed) {
		bed.up()
		bed.commit(a, "one")
		bed.commit(a, "two")
		bed.pass(time.Second)
		for _, at := range []estate.MemberID{a, b, c} {
			keys := []driver.Key{{Key: "gone"}, {Key: "one"}, {Key: "never"}, {Key: "two"}}
			if missing := asks[wire.MissingAnswer](bed, at, "/v1/missing", wire.MissingRequest{Keys: keys}).Missing; !slices.Equal(missing, []int{0, 2}) {
				t.Errorf("%s misses %v", at, missing)
			}
			has := asks[wire.MissingAnswer](bed, at, "/v1/missing", wire.MissingRequest{})
			if has.Newest.IsZero() || len(has.Tally) != 1 || has.Tally[0].Transactions != 2 {
				t.Errorf("%s has %+v", at, has)
			}
		}
		// What is told is of this moment, not of the last report.
		bed.commit(a, "three")
		if has := asks[wire.MissingAnswer](bed, a, "/v1/missing", wire.MissingRequest{}); has.Tally[0].Transactions != 3 {
			t.Errorf("%+v", has.Tally)
		}
	})
}

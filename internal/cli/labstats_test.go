package cli

import (
	"reflect"
	"testing"
	"time"

	"perdure/internal/lab/checker"
	"perdure/internal/lab/report"
)

func TestRepeatedStepsAreGroupedByNameWithoutNumber(t *testing.T) {
	var steps []checker.Step
	for i := 1; i <= 20; i++ {
		steps = append(steps, checker.Step{Name: "killed " + string(rune('0'+i%10)), Gap: time.Duration(i) * time.Millisecond, Errors: 1})
	}
	stats := spread(report.Details{Estates: []checker.Verdict{{Steps: steps}}})
	if len(stats) != 1 {
		t.Fatalf("%d groups, want 1: %+v", len(stats), stats)
	}
	want := stat{Step: "killed", Times: 20, GapP50: 10, GapP95: 19, GapMax: 20, Errors: 20}
	if !reflect.DeepEqual(stats[0], want) {
		t.Errorf("spread = %+v, want %+v", stats[0], want)
	}
}

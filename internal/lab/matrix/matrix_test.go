package matrix_test

import (
	"slices"
	"testing"

	"perdure/internal/lab/matrix"
	"perdure/internal/lab/story"
)

func TestEveryCellIsAStoryOrSaysWhyNot(t *testing.T) {
	cells := matrix.Cells()
	if len(cells) != 48 {
		t.Fatalf("the matrix has %d cells, want 8 faults times 6 parts", len(cells))
	}
	for _, c := range cells {
		if c.Skipped() != "" {
			continue
		}
		if _, err := story.Parse(c.String(), []byte(c.Story())); err != nil {
			t.Errorf("%s: %v", c, err)
		}
	}
}

func TestSamplesRotateWithTheSeedAndRepeatWithIt(t *testing.T) {
	if !slices.Equal(matrix.Sample(7), matrix.Sample(7)) {
		t.Error("the same seed gives another order")
	}
	if slices.Equal(matrix.Sample(7), matrix.Sample(8)) {
		t.Error("another seed gives the same order")
	}
}

package shape_test

import (
	"testing"

	"pgregory.net/rapid"

	"perdure/internal/shape"
)

func TestScalarsReadBackWhatTheyWrite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := shape.Duration(rapid.Int64Range(0, 3.5e12).Draw(t, "ms")) * 1_000_000
		var d2 shape.Duration
		if err := d2.UnmarshalText([]byte(d.String())); err != nil || d2 != d {
			t.Fatalf("%s became %s: %v", d, d2, err)
		}
		b := shape.Bytes(rapid.Int64Range(0, 999_999_999).Draw(t, "bytes"))
		var b2 shape.Bytes
		if err := b2.UnmarshalText([]byte(b.String())); err != nil || b2 != b {
			t.Fatalf("%s became %s: %v", b, b2, err)
		}
	})
}

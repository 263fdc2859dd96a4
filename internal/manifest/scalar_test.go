package manifest_test

import (
	"testing"

	"perdure/internal/estate"
	"perdure/internal/manifest"
)

func TestSlotsBecomeAscendingRanges(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"7", "7"}, {"512-1023,0-255,256", "0-256,512-1023"}, {"3,1,2", "1-3"}, {"65535", "65535"},
	} {
		var s manifest.Slots
		if err := s.UnmarshalText([]byte(c.text)); err != nil || s.String() != c.want {
			t.Errorf("%s: %s, %v, want %s", c.text, s, err, c.want)
		}
	}
	for _, wrong := range []string{"5-3", "1,1", "0-9,9", "65536", "", "x", "1-", "-1", "1--2"} {
		var s manifest.Slots
		if err := s.UnmarshalText([]byte(wrong)); err == nil {
			t.Errorf("%q is accepted as %s", wrong, s)
		}
	}
}

func TestSlotsContainExactlyTheirRanges(t *testing.T) {
	var s manifest.Slots
	if err := s.UnmarshalText([]byte("0-2,5")); err != nil {
		t.Fatal(err)
	}
	if s.Count() != 4 {
		t.Errorf("count %d", s.Count())
	}
	for slot, want := range []bool{true, true, true, false, false, true, false} {
		if got := s.Contains(estate.Slot(slot)); got != want {
			t.Errorf("slot %d: %t", slot, got)
		}
	}
}

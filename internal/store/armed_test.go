package store_test

import (
	"slices"
	"testing"
	"time"

	"perdure/internal/errs"
	"perdure/internal/measure"
	"perdure/internal/store"
	"perdure/internal/wire"
)

// TestTheLogHasHowAnArmedRunStandsOnceForEachChange however often it was looked at.
func TestTheLogHasHowAnArmedRunStandsOnceForEachChange(t *testing.T) {
	s, _ := one(t)
	at := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	bad := []measure.Finding{{Kind: measure.LooksWrong, Step: "a", Text: "it is down"}}
	for n, a := range []measure.Armed{
		{Print: "1"}, {Print: "1"}, {Print: "1", Findings: bad}, {Print: "1", Findings: bad}, {Print: "1", Verified: "r1", VerifiedAt: at}, {Print: "2"}, {Print: "2", Failed: "no"},
	} {
		a.Plan, a.Name, a.Since, a.Looked = "p", "n", at, at.Add(time.Duration(n)*time.Minute)
		if err := s.KeepArmed(t.Context(), "node:a", a); err != nil {
			t.Fatal(err)
		}
		if list, err := s.Armed(t.Context(), wire.Fresh); err != nil || len(list) != 1 || !list[0].Same(a) || !list[0].Looked.Equal(a.Looked) {
			t.Fatalf("%+v, %v", list, err)
		}
	}
	if err := s.DropArmed(t.Context(), "node:a", measure.Armed{Plan: "p", Name: "n"}); err != nil {
		t.Fatal(err)
	}
	if list, err := s.Armed(t.Context(), wire.Fresh); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if err := s.KeepArmed(t.Context(), "node:a", measure.Armed{Plan: "p", Name: "../x"}); errs.KindOf(err) != errs.Invalid {
		t.Error(err)
	}
	events, err := s.Events(t.Context(), 0, store.EventsLimit, false, wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range events {
		if e.Subject == "p/n" {
			got = append(got, e.What)
		}
	}
	if want := []string{"armed.unverified", "armed.findings", "armed.ready", "armed.unverified", "armed.unknown", "armed.dropped"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

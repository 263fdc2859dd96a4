package duty

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"perdure/internal/calendar"
	"perdure/internal/shape"
)

// TestStretchesSayAtEveryInstantWhatTheRosterSays: what is gone through for a period and what is asked of one instant are two ways to the same answer.
func TestStretchesSayAtEveryInstantWhatTheRosterSays(t *testing.T) {
	people := []string{"ann", "bob", "cho", "dee"}
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a seed is to be replayed
		who := func() string { return people[rng.IntN(len(people))] }
		day := func() string {
			return time.Date(2027, 3, 26+rng.IntN(6), rng.IntN(24), 0, 0, 0, time.UTC).Format("2006-01-02 15:04")
		}
		r := Roster{Name: "r", TimeZone: []string{"Europe/Berlin", "Asia/Shanghai", "UTC"}[rng.IntN(3)]}
		var d Duty
		for i := range 1 + rng.IntN(4) {
			s := Shift{Name: fmt.Sprint(i), People: []string{who()}, Span: calendar.Span{Cron: fmt.Sprintf("0 %d * * *", rng.IntN(24)), Duration: shape.Duration(time.Duration(1+rng.IntN(24)) * time.Hour)}}
			if rng.IntN(3) == 0 {
				s.Span = calendar.Span{From: day(), Until: day()}
			}
			d.Shifts = append(d.Shifts, s)
		}
		for range rng.IntN(4) {
			d.Substitutions = append(d.Substitutions, Substitution{Person: who(), By: who(), From: day(), Until: day()})
		}
		x, err := open(r, d)
		if err != nil {
			t.Fatal(err)
		}
		from := time.Date(2027, 3, 26, 0, 0, 0, 0, time.UTC)
		until := from.Add(7 * 24 * time.Hour)
		list := x.stretches(from, until)
		for at := from; at.Before(until); at = at.Add(30 * time.Minute) {
			n := 0
			for n+1 < len(list) && !list[n+1].at.After(at) {
				n++
			}
			if want := x.on(at); !slices.Equal(want, list[n].people) {
				t.Fatalf("seed %d, at %s: %v are on duty, the stretch says %v\n%+v", seed, at, want, list[n].people, d)
			}
		}
	}
}

package route

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/estate"
	"perdure/internal/unit"
)

func TestOwnerIsTakenFromTheRecord(t *testing.T) {
	life := estate.Life{Member: "u1-a", N: 3}
	rec := unit.Record{
		Group: "g1", System: "bank", Units: []estate.UnitID{"u1", "u2"}, Ownership: own(1, 5), Owner: life, State: unit.Open,
		Members: []unit.Member{{ID: "u1-a", Site: "a"}, {ID: "u1-b", Site: "b"}},
		Down:    &life, Switch: &unit.Switch{Phase: unit.Closing},
	}
	want := Owner{
		Group: "g1", System: "bank", Units: []estate.UnitID{"u1", "u2"}, Ownership: own(1, 5), State: unit.Open, Site: "a",
		Phase: unit.Closing, Down: true, Revision: 9,
	}
	if diff := cmp.Diff(want, OwnerOf(&rec, 9)); diff != "" {
		t.Error(diff)
	}
	rec.Down, rec.Switch.Phase = &estate.Life{Member: "u1-a", N: 2}, unit.Done
	want.Phase, want.Down = "", false
	if diff := cmp.Diff(want, OwnerOf(&rec, 9)); diff != "" {
		t.Error(diff)
	}
}

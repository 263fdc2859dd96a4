package route

import (
	"encoding/json"
	"testing"

	"perdure/internal/estate"
	"perdure/internal/unit"
)

func testInput() Input {
	return Input{
		Version: 7,
		Systems: []System{{
			ID: "corebank", Keys: []KeySource{{From: FromHeader, Name: "X-Account"}},
			Units: []Unit{{ID: "u1", Slots: []SlotRange{{0, 511}}}, {ID: "u2", Slots: []SlotRange{{512, 1023}}}},
		}},
		Owners: []Owner{
			{Group: "g1", System: "corebank", Units: []estate.UnitID{"u1"}, Ownership: own(1, 5), State: unit.Open, Site: "a", Revision: 5},
			{Group: "g2", System: "corebank", Units: []estate.UnitID{"u2"}, Ownership: own(1, 3), State: unit.Open, Site: "b", Revision: 6},
		},
		Instances: []Instance{{ID: "app-a", System: "corebank", Site: "a", Address: "127.0.0.1:1"}, {ID: "app-b", System: "corebank", Site: "b", Address: "127.0.0.1:2"}},
	}
}

func own(counter, epoch uint64) estate.Ownership {
	return estate.Ownership{Incarnation: estate.Incarnation{Counter: counter, ID: "x"}, Epoch: estate.Epoch(epoch)}
}

func BenchmarkLookup(b *testing.B) {
	in := testInput()
	in.Systems[0].Overrides = map[string]estate.UnitID{"hot-1": "u2"}
	t, err := Compile(in)
	if err != nil {
		b.Fatal(err)
	}
	key := []byte("6222020012345678901")
	s := t.Systems[0]
	b.ReportAllocs()
	for b.Loop() {
		s.Lookup(key)
	}
}

func BenchmarkJSONField(b *testing.B) {
	body, _ := json.Marshal(map[string]any{"from": "6222020012345678901", "to": "6222020012345678902", "amount": "12.50", "memo": "rent"})
	var buf [MaxKey]byte
	b.ReportAllocs()
	for b.Loop() {
		if _, err := jsonField(body, []string{"to"}, buf[:0]); err != nil {
			b.Fatal(err)
		}
	}
}

// Package runtest makes programs for the tests of runs: plans of a world in which things are set and looked at.
package runtest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"perdure/internal/plan"
	"perdure/internal/shape"
)

// Catalogue is what the world of these tests can do, and the product's own drivers.
func Catalogue() plan.Catalogue {
	return append(plan.Catalogue{
		{Driver: "world", Name: "set", Target: "a thing", Timeout: time.Minute, With: []plan.Parameter{{Name: "to", Type: plan.Text}, {Name: "fails", Type: plan.Number}}},
		{Driver: "world", Name: "look", Target: "a thing", Timeout: time.Minute, Looks: true},
	}, plan.BuiltIn()...)
}

// Program reads a plan, with its subplans in further documents, as the manifest does.
func Program(t testing.TB, text string, mode plan.Mode) *plan.Program {
	t.Helper()
	var plans []plan.Plan
	form := plan.Shape([]shape.Field{{Name: "apiVersion", Shape: shape.Word("perdure/v1")}, {Name: "kind", Shape: shape.Word("Plan")}})
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var doc yaml.Node
		if decoder.Decode(&doc) != nil {
			break
		}
		shape.Check(doc.Content[0], &form, map[string]int{}, func(line int, path, allowed string, _ bool, reason string) {
			t.Errorf("%d: %s: %s (%s)", line, path, reason, allowed)
		})
		var p plan.Plan
		if err := doc.Content[0].Decode(&p); err != nil {
			t.Fatal(err)
		}
		plans = append(plans, p)
	}
	plan.Check(plans, Catalogue(), func(i int, field, allowed, reason string) {
		t.Errorf("plan %s: %s: %s (%s)", plans[i].Name, field, reason, allowed)
	})
	if t.Failed() {
		t.FailNow()
	}
	p, err := plan.Compile(plans, Catalogue(), plans[0].Name, mode)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var kept plan.Program // what a run is pinned to is what JSON gives back
	if err := json.Unmarshal(data, &kept); err != nil {
		t.Fatal(err)
	}
	return &kept
}

package app

import (
	"slices"

	"perdure/internal/estate"
	"perdure/internal/manifest"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// manifests says what a manifest would do to the store; it implements the API's view of manifests.
type manifests struct{}

// Plan checks the next text against the rules and the present state, and gives the changes of records that go with it:
// the set is applied whole, in one transaction, or not at all.
func (manifests) Plan(current, next string, groups []wire.Group, incarnation estate.Incarnation, person string, now int64) (wire.ManifestPlan, error) {
	var plan wire.ManifestPlan
	old, err := parse(current)
	if err != nil {
		return plan, err
	}
	set, err := parse(next)
	if err != nil {
		return plan, err
	}
	if err := manifest.Check(set); err != nil {
		return plan, err
	}
	if err := manifest.Permit(old, set); err != nil {
		return plan, err
	}
	for _, c := range manifest.Diff(old, set) {
		plan.Diff = append(plan.Diff, c.String())
	}
	for _, want := range set.Records() {
		have := slices.IndexFunc(groups, func(g wire.Group) bool { return g.Record.Group == want.Group })
		if have < 0 {
			plan.Create = append(plan.Create, unit.Bootstrap(want.Group, want.System, want.Units, want.Policy, want.Members, want.Owner.Member, incarnation))
			continue
		}
		if rec := groups[have].Record; amends(rec, want) {
			plan.Amend = append(plan.Amend, wire.GroupAmend{Group: want.Group, Transition: unit.Transition{
				Kind: unit.Amend, Person: person, Ownership: rec.Ownership, Members: want.Members, Units: want.Units, Policy: &want.Policy,
				Reason: "the manifest changed", Now: now,
			}})
		}
	}
	return plan, nil
}

func parse(text string) (manifest.Set, error) {
	if text == "" {
		return manifest.Set{}, nil
	}
	return manifest.Parse(manifest.File{Name: "manifest", Text: []byte(text)})
}

// amends reports whether the manifest says something else than the record.
func amends(have, want unit.Record) bool {
	if have.Policy != want.Policy || !slices.Equal(have.Units, want.Units) || len(have.Members) != len(want.Members) {
		return true
	}
	for _, w := range want.Members {
		h, ok := have.Member(w.ID)
		if !ok || h.Site != w.Site || h.Role != w.Role || h.Agent != w.Agent || h.Database != w.Database {
			return true
		}
	}
	return false
}

package wire

import (
	"perdure/internal/estate"
	"perdure/internal/manifest"
	"perdure/internal/unit"
)

// ManifestPlan is what a checked manifest does to the store, decided by whoever understands manifests.
type ManifestPlan struct {
	// Diff is for people: one line per change, first character '+', '-' or '~'.
	Diff []string
	// Warnings say what could not be compared; applying goes on.
	Warnings []string
	// Create are the first records of new groups, Amend the changes to existing ones, Remove the groups that go.
	Create []unit.Record
	Amend  []GroupAmend
	Remove []estate.GroupID
	// Windows are all windows of the set's calendars, with the digests that approvals of them are of.
	Windows map[string]string
	// Takes is what runs that are under way may not lose. Runs is the revision of the newest change of a run when it was found that none of them
	// does: where one has begun since, nothing is applied.
	Takes []manifest.Taking
	Runs  int64
}

// GroupAmend is one Amend transition.
type GroupAmend struct {
	Group      estate.GroupID
	Transition unit.Transition
}

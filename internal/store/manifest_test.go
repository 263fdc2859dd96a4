package store_test

import (
	"testing"

	"perdure/internal/errs"
	"perdure/internal/manifest"
	"perdure/internal/plan"
	"perdure/internal/run/runtest"
	"perdure/internal/wire"
)

// TestNothingIsTakenAwayWhereARunBeganMeanwhile: nobody looked whether that one goes by it. What happens in runs that were looked at is in nobody's way.
func TestNothingIsTakenAwayWhereARunBeganMeanwhile(t *testing.T) {
	s, _ := begunStore(t)
	takes := []manifest.Taking{{System: "core", Unit: "u1", What: "system core is gone"}}
	apply := func(revision, runs int64) (wire.Manifest, error) {
		return s.ApplyManifest(t.Context(), "person:ann", "text", revision, nil, wire.ManifestPlan{Takes: takes, Runs: runs})
	}
	first, err := apply(0, 0)
	if err != nil {
		t.Fatalf("without any run: %v", err)
	}
	p := runtest.Program(t, runSteps, plan.Takeover)
	head := startRun(t, s, "r1", p)
	_, err = apply(first.Revision, 0)
	kind(t, err, errs.Conflict)
	c, head2 := claimRun(t, s, "r1")
	if _, err := c.Append(t.Context(), head2, took(head2, c.Term()), nil, nil); err != nil {
		t.Fatal(err)
	}
	m, err := apply(first.Revision, head.Revision)
	if err != nil {
		t.Fatal(err)
	}
	startRun(t, s, "r2", p)
	_, err = apply(m.Revision, head.Revision)
	kind(t, err, errs.Conflict)
	takes = nil
	if _, err = apply(m.Revision, 0); err != nil {
		t.Errorf("what takes nothing away: %v", err)
	}
}

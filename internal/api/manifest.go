package api

import (
	"context"
	"time"

	"perdure/internal/errs"
	"perdure/internal/wire"
)

// applyTries is how often a manifest is planned anew when a group's record changed in between.
const applyTries = 5

func (s *Server) getManifest(ctx context.Context, in *struct{ Freshness }) (*body[wire.Manifest], error) {
	return answer(s.d.Store.Manifest(ctx, in.Read))
}

type manifestInput struct {
	DryRun bool `query:"dryRun" doc:"say what would change, and change nothing"`
	// Revision is the manifest's revision the sender saw; 0 applies to whatever is there.
	Revision int64  `query:"revision" doc:"apply only if the applied manifest is still at this revision"`
	RawBody  []byte `contentType:"application/yaml"`
}

func (s *Server) putManifest(ctx context.Context, in *manifestInput) (*body[wire.ManifestChange], error) {
	if s.d.Manifests == nil {
		return nil, errs.New(errs.Unavailable, "this node takes no manifests")
	}
	text := string(in.RawBody) // a copy: the body goes back to a pool
	for try := 1; ; try++ {
		change, err := s.applyOnce(ctx, who(ctx), text, in.Revision, in.DryRun)
		if errs.KindOf(err) != errs.Conflict || in.Revision != 0 || try == applyTries {
			return answer(change, err)
		}
	}
}

func (s *Server) applyOnce(ctx context.Context, id identity, text string, revision int64, dryRun bool) (wire.ManifestChange, error) {
	current, err := s.d.Store.Manifest(ctx, wire.Fresh)
	if err != nil {
		return wire.ManifestChange{}, err
	}
	if revision != 0 && current.Revision != revision {
		return wire.ManifestChange{}, errs.New(errs.Conflict, "the manifest is at revision %d, not %d: somebody applied another one; look at the diff again", current.Revision, revision)
	}
	groups, err := s.d.Store.Groups(ctx, wire.Fresh)
	if err != nil {
		return wire.ManifestChange{}, err
	}
	incarnation, err := s.d.Store.Incarnation(ctx, wire.Fresh)
	if err != nil {
		return wire.ManifestChange{}, err
	}
	plan, err := s.d.Manifests.Plan(current.Text, text, groups, incarnation.Incarnation, id.Person, time.Now().UnixMilli())
	if err != nil {
		return wire.ManifestChange{}, err
	}
	approvals, _, err := s.d.Store.WindowApprovals(ctx, wire.Fresh)
	if err != nil {
		return wire.ManifestChange{}, err
	}
	change := wire.ManifestChange{Diff: plan.Diff, Warnings: plan.Warnings, Revision: current.Revision, Waiting: approvals.Waiting(plan.Windows)}
	if dryRun || current.Revision != 0 && current.Text == text && len(plan.Create)+len(plan.Amend)+len(plan.Remove) == 0 {
		return change, nil
	}
	applied, err := s.d.Store.ApplyManifest(ctx, id.Name, text, current.Revision, groups, plan)
	if err != nil {
		return wire.ManifestChange{}, err
	}
	change.Applied, change.Revision = true, applied.Revision
	return change, nil
}

package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/manifest"
	"perdure/internal/run"
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
	if plan.Runs, err = s.spared(ctx, plan.Takes); err != nil {
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

// spared refuses to take away what a run that is under way goes by (R5): whatever is applied changes nothing in it. Where no run does, it gives the
// revision of the newest change of any of them.
func (s *Server) spared(ctx context.Context, takes []manifest.Taking) (newest int64, err error) {
	if len(takes) == 0 {
		return 0, nil
	}
	runs, err := s.d.Store.Runs(ctx, wire.Fresh)
	if err != nil {
		return 0, err
	}
	var held []string
	for _, head := range runs {
		newest = max(newest, head.Revision)
		if head.Phase == run.Over || head.Tabletop {
			continue
		}
		what, err := s.heldBy(ctx, head, takes)
		if err != nil {
			return 0, err
		}
		if what != "" {
			held = append(held, what)
		}
	}
	if len(held) == 0 {
		return newest, nil
	}
	const most = 5
	more := ""
	if n := len(held) - most; n > 0 {
		held, more = held[:most], fmt.Sprintf("; and %d runs more", n)
	}
	return 0, errs.New(errs.Refused, "cannot apply the manifest while runs that go by what it takes away are under way: %s%s. Wait until they are over or end them (perdure run cancel), then apply again",
		strings.Join(held, "; "), more)
}

// heldBy says what of it a run goes by: the first thing, of a unit that it may still act on. What a run finds out only on its way may be any unit.
func (s *Server) heldBy(ctx context.Context, head wire.Run, takes []manifest.Taking) (string, error) {
	_, r, err := s.replay(ctx, head.ID)
	if err != nil {
		return "", err
	}
	targets, all := r.Ahead()
	for _, t := range takes {
		if (!all || slices.Contains(targets, string(t.Unit))) && (!t.Practice || !head.Real()) {
			return fmt.Sprintf("run %s of plan %s in mode %s, started by %s, acts on unit %s, and %s", head.ID, head.Plan, head.Mode, head.StartedBy, t.Unit, t.What), nil
		}
	}
	return "", nil
}

package resource

import (
	"context"
	"fmt"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/plan"
	"perdure/internal/wire"
)

// Archiver reaches the archives of cold copies.
type Archiver interface {
	// Archive asks the agent of the cold copy that a unit has at a site.
	Archive(ctx context.Context, id estate.UnitID, site estate.SiteID, ask wire.ArchiveRequest) (wire.ArchiveAnswer, error)
}

// Archives is the driver of archives: what a unit's cold copy keeps, made a copy.
type Archives struct{ Archiver Archiver }

// archiveLook is between two looks at how far a restore is.
const archiveLook = time.Second

// Actions gives what the product says of its own driver.
func (Archives) Actions() plan.Catalogue { return plan.BuiltIn().Of("archive") }

// Ensure has the agent restore, and waits for the end. It is safe to repeat: what was restored is left as it is.
func (d Archives) Ensure(ctx context.Context, c Call) (map[string]any, error) {
	id, site := estate.UnitID(c.Target), estate.SiteID(text(c.With["site"]))
	ask := wire.ArchiveRequest{Restore: c.Action == "restore", Attempt: fmt.Sprintf("%s %d", c.Key, time.Now().UnixNano())}
	tick := time.NewTicker(archiveLook)
	defer tick.Stop()
	for {
		answer, err := d.Archiver.Archive(ctx, id, site, ask)
		switch {
		case err != nil && errs.KindOf(err) != errs.Unavailable: // the agent may be between two lives
			return nil, err
		case err == nil && (!ask.Restore || answer.Restored):
			return keptIn(answer, time.Now()), nil
		case err == nil && answer.Error != "":
			return nil, errs.New(errs.Kind(answer.Kind), "%s", answer.Error)
		}
		select {
		case <-ctx.Done():
			return nil, errs.New(errs.Unknown, "cannot tell yet whether %s at %s is restored: %w", id, site, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

func keptIn(a wire.ArchiveAnswer, now time.Time) map[string]any {
	out := map[string]any{
		"backup": "", "backupSeconds": -1.0, "logSeconds": -1.0, "until": a.Archive.Until.String(), "gap": a.Archive.Gap, "ready": false, "restored": a.Restored,
	}
	if good, ok := a.Archive.Good(); ok {
		out["backup"], out["backupSeconds"], out["ready"] = good.Name, now.Sub(good.At).Seconds(), a.Archive.Gap == ""
	}
	if !a.Archive.LogAt.IsZero() {
		out["logSeconds"] = now.Sub(a.Archive.LogAt).Seconds()
	}
	return out
}

// Observe says whether the cold copy is restored.
func (d Archives) Observe(ctx context.Context, c Call) (map[string]any, bool, error) {
	answer, err := d.Archiver.Archive(ctx, estate.UnitID(c.Target), estate.SiteID(text(c.With["site"])), wire.ArchiveRequest{})
	if err != nil {
		return nil, false, err
	}
	return keptIn(answer, time.Now()), c.Action == "restore" && answer.Restored, nil
}

// Facts: there are none without a site.
func (Archives) Facts(context.Context, string) (map[string]any, error) {
	return nil, errs.New(errs.NotFound, "there are no facts about archives: use archive.state in a check")
}

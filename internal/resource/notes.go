package resource

import (
	"context"
	"fmt"
	"log/slog"

	"perdure/internal/errs"
	"perdure/internal/plan"
)

// Notes tells people something. So far it writes into the node's log, beside the entry in the run's journal; mail and chats come with their
// drivers.
type Notes struct{ Log *slog.Logger }

// Actions: plans have a kind of step for it.
func (Notes) Actions() plan.Catalogue { return nil }

// Ensure writes the note down.
func (n Notes) Ensure(_ context.Context, c Call) (map[string]any, error) {
	n.Log.Info("note", "run", c.Key, "to", fmt.Sprint(c.With["to"]), "text", fmt.Sprint(c.With["text"]))
	return nil, nil
}

// Observe cannot tell whether a note was read: what may not have gone out goes out again.
func (Notes) Observe(context.Context, Call) (map[string]any, bool, error) { return nil, false, nil }

// Facts: there are none.
func (Notes) Facts(context.Context, string) (map[string]any, error) {
	return nil, errs.New(errs.NotFound, "there are no facts about notes")
}

package controller

import (
	"context"
	"net/http"
	"time"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// recordedAsk bounds one question to an owner's agent about records.
const recordedAsk = 10 * time.Second

// Recorded asks the agent of the unit's owner what is recorded under keys, and gives the ownership in which it was looked at. What it finds is on all of
// the in-sync set. Unavailable: the owner is not open, or does not answer.
func (c *Controller) Recorded(ctx context.Context, id estate.UnitID, keys []driver.Key) (estate.Ownership, []driver.Record, error) {
	g, err := c.find(ctx, id)
	if err != nil {
		return estate.Ownership{}, nil, err
	}
	owner, ok := g.Record.Member(g.Record.Owner.Member)
	if !ok || g.Record.State != unit.Open {
		return estate.Ownership{}, nil, errs.New(errs.Unavailable, "cannot ask the owner of %s what is recorded: %s is %s", id, id, g.Record.State)
	}
	var out []driver.Record
	for from := 0; from < len(keys); from += compared {
		batch := keys[from:min(from+compared, len(keys))]
		limited, cancel := context.WithTimeout(ctx, recordedAsk)
		answer, err := ask[wire.RecordsAnswer](limited, c.opts.Client, http.MethodPost, owner, "/v1/records", wire.RecordsRequest{Keys: batch})
		cancel()
		switch {
		case err != nil:
			return estate.Ownership{}, nil, err
		case answer.Ownership != g.Record.Ownership:
			return estate.Ownership{}, nil, errs.New(errs.Conflict, "%s has changed hands while its owner was asked: ask again", id)
		}
		for _, r := range answer.Records {
			if r.Index < 0 || r.Index >= len(batch) {
				return estate.Ownership{}, nil, errs.New(errs.Internal, "the agent of %s answers for key %d of %d", owner.ID, r.Index, len(batch))
			}
			r.Index += from
			out = append(out, r)
		}
	}
	return g.Record.Ownership, out, nil
}

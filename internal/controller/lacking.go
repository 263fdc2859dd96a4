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

// compared is how many receipts an agent is asked about at once.
const compared = 2000

// lacking compares the receipts of the unit that gateways kept since the time, zero: all, with the records of the member, and hands on those
// that counts lets pass and the member has no record of. It says where they were kept.
func (c *Controller) lacking(ctx context.Context, u estate.UnitID, of unit.Member, since time.Time, counts func(Kept) bool, on func(Kept) error) (Sources, error) {
	batch := make([]Kept, 0, compared)
	compare := func() error {
		missing, err := c.missing(ctx, of, batch)
		for _, i := range missing {
			if err = on(batch[i]); err != nil {
				break
			}
		}
		batch = batch[:0]
		return err
	}
	sources, err := c.receipts.Since(ctx, u, since, func(k Kept) error {
		if !counts(k) {
			return nil
		}
		if batch = append(batch, k); len(batch) == compared {
			return compare()
		}
		return nil
	})
	if err == nil {
		err = compare()
	}
	return sources, err
}

// missing gives the indexes of those receipts that the member has no record of.
func (c *Controller) missing(ctx context.Context, of unit.Member, batch []Kept) ([]int, error) {
	if len(batch) == 0 {
		return nil, nil
	}
	request := wire.MissingRequest{Keys: make([]driver.Key, 0, len(batch))}
	for _, k := range batch {
		request.Keys = append(request.Keys, driver.Key{Caller: k.Caller, RoutingKey: k.RoutingKey, Key: k.Key})
	}
	answer, err := ask[wire.MissingAnswer](ctx, c.opts.Client, http.MethodPost, of, "/v1/missing", request)
	if err != nil {
		return nil, err
	}
	for _, i := range answer.Missing {
		if i < 0 || i >= len(batch) {
			return nil, errs.New(errs.Internal, "the agent of %s answers for receipt %d of %d", of.ID, i, len(batch))
		}
	}
	return answer.Missing, nil
}

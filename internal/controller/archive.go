package controller

import (
	"context"
	"net/http"

	"perdure/internal/estate"
	"perdure/internal/wire"
)

// Archive asks the agent of the cold copy that a unit has at a site about its archive.
func (c *Controller) Archive(ctx context.Context, id estate.UnitID, site estate.SiteID, request wire.ArchiveRequest) (wire.ArchiveAnswer, error) {
	g, member, err := c.copyAt(ctx, id, site)
	if err != nil {
		return wire.ArchiveAnswer{}, err
	}
	request.Group = g.Record.Group
	ctx, cancel := context.WithTimeout(ctx, sandboxAsk)
	defer cancel()
	return ask[wire.ArchiveAnswer](ctx, c.opts.Client, http.MethodPost, member, "/v1/archive", request)
}

package client

import (
	"context"
	"io"
	"net/http"
	"net/url"

	"perdure/internal/rectification"
	"perdure/internal/wire"
)

// OpenRectification keeps what a run has shown to be wrong. It is there once, so it may be repeated.
func (c *Client) OpenRectification(ctx context.Context, run string) (rectification.View, error) {
	var v rectification.View
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/runs/" + esc(run) + "/rectification", out: &v, changes: true})
	return v, err
}

// Rectifications lists what has to be put right after all runs, the newest run first, most 0: all; with open only those with an item that is not over.
func (c *Client) Rectifications(ctx context.Context, open bool, most int) ([]rectification.View, error) {
	query := url.Values{}
	if open {
		query.Set("open", "true")
	}
	return list[rectification.View](ctx, c, "/api/v1/rectifications", query, most)
}

// Rectification is what has to be put right after a run.
func (c *Client) Rectification(ctx context.Context, run string) (rectification.View, error) {
	return get[rectification.View](ctx, c, "/api/v1/runs/"+esc(run)+"/rectification", nil)
}

// SayToRectification says something of what has to be put right. The same word again changes nothing, so it may be repeated.
func (c *Client) SayToRectification(ctx context.Context, run string, word wire.RectificationWord) (rectification.View, error) {
	var v rectification.View
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/runs/" + esc(run) + "/rectification/words", in: word, out: &v, changes: true})
	return v, err
}

// Tracking writes the rectification tracking: query has run, open, format, lang and zone.
func (c *Client) Tracking(ctx context.Context, query url.Values, w io.Writer) (int64, error) {
	return c.download(ctx, call{method: http.MethodGet, path: "/api/v1/rectifications/document", query: query}, "rectification tracking", w)
}

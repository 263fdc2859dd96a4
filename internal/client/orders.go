package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"perdure/internal/heldorder"
	"perdure/internal/wire"
)

// ImportOrders hands in a CSV file of orders of a run; query has holder and system. The same file again changes nothing, so it may be repeated.
func (c *Client) ImportOrders(ctx context.Context, run string, query url.Values, dry bool, file []byte) (wire.OrdersAnswer, error) {
	query.Set("dryRun", strconv.FormatBool(dry))
	var out wire.OrdersAnswer
	err := c.do(ctx, call{method: http.MethodPut, path: ordersOf(run), query: query, text: file, contentType: "text/csv", out: &out, changes: !dry})
	return out, err
}

func ordersOf(run string) string { return "/api/v1/runs/" + esc(run) + "/orders" }

// Orders lists orders of a run by their names, most 0: all; query has state and holder.
func (c *Client) Orders(ctx context.Context, run string, query url.Values, most int) ([]heldorder.Entry, error) {
	return list[heldorder.Entry](ctx, c, ordersOf(run), query, most)
}

// OrderTotals counts the orders of a run.
func (c *Client) OrderTotals(ctx context.Context, run string) (wire.OrdersAnswer, error) {
	return get[wire.OrdersAnswer](ctx, c, ordersOf(run)+"/totals", nil)
}

// DropOrders says that orders are not entered. The same again changes nothing, so it may be repeated.
func (c *Client) DropOrders(ctx context.Context, run string, drop wire.DropOrders) (wire.OrdersAnswer, error) {
	var out wire.OrdersAnswer
	err := c.do(ctx, call{method: http.MethodPost, path: ordersOf(run) + "/dropped", in: drop, out: &out, changes: true})
	return out, err
}

// ProveOrders asks the owners of units for every order that is open.
func (c *Client) ProveOrders(ctx context.Context, run string) (wire.OrdersAnswer, error) {
	var out wire.OrdersAnswer
	err := c.do(ctx, call{method: http.MethodPost, path: ordersOf(run) + "/proofs", out: &out, changes: true})
	return out, err
}

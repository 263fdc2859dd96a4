package client

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	var v T
	err := c.do(ctx, call{method: http.MethodGet, path: path, query: query, out: &v})
	return v, err
}

// list reads a list page by page, up to the number of items; 0: all of it.
func list[T any](ctx context.Context, c *Client, path string, query url.Values, most int) ([]T, error) {
	all := []T{}
	for next := ""; ; {
		var page []T
		if err := c.do(ctx, call{method: http.MethodGet, path: path, query: query, out: &page, next: &next}); err != nil {
			return nil, err
		}
		all = append(all, page...)
		if next == "" || len(page) == 0 || most > 0 && len(all) >= most {
			return all[:min(len(all), cmp.Or(most, len(all)))], nil
		}
		address, err := url.Parse(next)
		if err != nil {
			return nil, errs.New(errs.Internal, "the node's link to the next page cannot be read: %w", err)
		}
		query = address.Query()
	}
}

// nextOf reads the one link that nodes give.
func nextOf(link string) string {
	target, rel, _ := strings.Cut(link, ">")
	if !strings.Contains(rel, `rel="next"`) {
		return ""
	}
	return strings.TrimPrefix(target, "<")
}

func read(r wire.Read) url.Values { return url.Values{"read": {string(r)}} }

func esc[T ~string](name T) string { return url.PathEscape(string(name)) }

// Estate is the estate at a glance, as the answering node sees it; it needs no quorum.
func (c *Client) Estate(ctx context.Context) (wire.Estate, error) {
	return get[wire.Estate](ctx, c, "/api/v1/estate", nil)
}

// Standing is the answering node's incarnation, and whether it may act. Use At to ask a certain node.
func (c *Client) Standing(ctx context.Context) (wire.Standing, error) {
	return get[wire.Standing](ctx, c, "/api/v1/estate/standing", nil)
}

// ConfirmCold is a person's word to a node that came up cold.
func (c *Client) ConfirmCold(ctx context.Context, reason string) (wire.Standing, error) {
	var v wire.Standing
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/estate/confirm-cold", in: map[string]string{"reason": reason}, out: &v})
	return v, err
}

// GrowStore tells the store of a new member and gives the members that the new one has to be started with.
func (c *Client) GrowStore(ctx context.Context, name, peerURL string) ([]wire.StoreMember, error) {
	var v []wire.StoreMember
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/estate/members", in: map[string]string{"name": name, "peerUrl": peerURL}, out: &v, once: true, changes: true})
	return v, err
}

// ShrinkStore takes a member out of the store for good.
func (c *Client) ShrinkStore(ctx context.Context, name string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/api/v1/estate/members/" + esc(name), once: true, changes: true})
}

// Reclaim frees the store's space on the answering node.
func (c *Client) Reclaim(ctx context.Context) (wire.StoreStatus, error) {
	var v wire.StoreStatus
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/estate/reclaim", out: &v, once: true})
	return v, err
}

// Snapshot writes the store of the first node that answers to w. A copy that broke off is an error and no snapshot.
func (c *Client) Snapshot(ctx context.Context, w io.Writer) (int64, error) {
	return c.download(ctx, call{method: http.MethodGet, path: "/api/v1/snapshot"}, "snapshot", w)
}

// download writes what a node streams, of the first node that has it.
func (c *Client) download(ctx context.Context, what call, name string, w io.Writer) (int64, error) {
	var last error
	for _, e := range c.order() {
		resp, err := c.send(ctx, e, what, nil)
		if err != nil {
			e.did(false)
			last = errs.New(errs.Unavailable, "node %s does not answer: %w", e.url, err)
			continue
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			data, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
			last = problem(resp, data)
			if errs.KindOf(last) == errs.Unavailable {
				continue
			}
			return 0, last
		}
		n, err := io.Copy(w, resp.Body)
		if err != nil {
			return n, errs.New(errs.Unavailable, "the %s of node %s broke off after %d bytes: %w", name, e.url, n, err)
		}
		return n, nil
	}
	return 0, last
}

// Manifest is the applied manifest.
func (c *Client) Manifest(ctx context.Context, r wire.Read) (wire.Manifest, error) {
	return get[wire.Manifest](ctx, c, "/api/v1/manifest", read(r))
}

// ApplyManifest applies a manifest whole or not at all. With dryRun it says only what would change. revision is the
// manifest's revision that the text was made from; 0 applies it to whatever is there.
func (c *Client) ApplyManifest(ctx context.Context, text []byte, revision int64, dryRun bool) (wire.ManifestChange, error) {
	var v wire.ManifestChange
	query := url.Values{}
	if dryRun {
		query.Set("dryRun", "true")
	}
	if revision != 0 {
		query.Set("revision", strconv.FormatInt(revision, 10))
	}
	err := c.do(ctx, call{
		method: http.MethodPut, path: "/api/v1/manifest", query: query, text: text, contentType: "application/yaml", out: &v, changes: !dryRun,
	})
	return v, err
}

// Groups lists all replication groups.
func (c *Client) Groups(ctx context.Context, r wire.Read) ([]wire.Group, error) {
	return get[[]wire.Group](ctx, c, "/api/v1/groups", read(r))
}

// Group is one replication group.
func (c *Client) Group(ctx context.Context, group estate.GroupID, r wire.Read) (wire.Group, error) {
	return get[wire.Group](ctx, c, "/api/v1/groups/"+esc(group), read(r))
}

// Transition asks for a transition of a group's record; revision is the record's revision it was decided on, or 0 for the newest.
// It is repeated on other nodes where one does not answer: a transition is conditional, so at most one of them takes effect.
// After a repetition a Conflict or refusal may come from the first attempt's own success: read the record again.
func (c *Client) Transition(ctx context.Context, group estate.GroupID, revision int64, t unit.Transition) (wire.Group, error) {
	var v wire.Group
	err := c.do(ctx, call{
		method: http.MethodPost, path: "/api/v1/groups/" + esc(group) + "/transitions",
		in: wire.TransitionRequest{Transition: t, Revision: revision}, out: &v, changes: true,
	})
	return v, err
}

// Silence is what the answering node's own probes say of a group's owner. Use At to ask a certain node.
func (c *Client) Silence(ctx context.Context, group estate.GroupID) (wire.Silence, error) {
	return get[wire.Silence](ctx, c, "/api/v1/silence/"+esc(group), nil)
}

// Divergences lists what returning members of the group had and the owner had not.
func (c *Client) Divergences(ctx context.Context, group estate.GroupID, r wire.Read) ([]wire.Divergence, error) {
	return list[wire.Divergence](ctx, c, "/api/v1/divergences/"+esc(group), read(r), 0)
}

// PutDivergence reports diverged transactions; the same id replaces the report.
func (c *Client) PutDivergence(ctx context.Context, d wire.Divergence) error {
	return c.do(ctx, call{method: http.MethodPost, path: "/api/v1/divergences/" + esc(d.Group), in: d})
}

// Switch makes a unit current at another site, or with DryRun says what it would take. With an ID the caller may ask again after an error of
// kind unknown: it is the same switch.
func (c *Client) Switch(ctx context.Context, unit estate.UnitID, r wire.SwitchRequest) (wire.SwitchAnswer, error) {
	return c.act(ctx, unit, "switch", r, !r.DryRun)
}

// Abort undoes a switch that is not decided.
func (c *Client) Abort(ctx context.Context, unit estate.UnitID, r wire.AbortRequest) (wire.SwitchAnswer, error) {
	return c.act(ctx, unit, "abort", r, true)
}

// Accept accepts the loss of a proposed emergency as one of two people.
func (c *Client) Accept(ctx context.Context, unit estate.UnitID, r wire.AcceptRequest) (wire.SwitchAnswer, error) {
	return c.act(ctx, unit, "accept", r, true)
}

// Verify judges the accounts of a quarantined unit; it takes as long as the system's own query over all accounts does.
func (c *Client) Verify(ctx context.Context, unit estate.UnitID, lostAt time.Time) (wire.VerifyAnswer, error) {
	patient := *c
	patient.o.Timeout = verifyTimeout
	var v wire.VerifyAnswer
	query := url.Values{}
	if !lostAt.IsZero() {
		query.Set("lostAt", strconv.FormatInt(lostAt.UnixMilli(), 10))
	}
	err := patient.do(ctx, call{method: http.MethodPost, path: "/api/v1/units/" + esc(unit) + "/verify", query: query, out: &v, once: true, changes: true})
	return v, err
}

// verifyTimeout bounds Verify where the context has no earlier deadline.
const verifyTimeout = 3 * time.Minute

// Release ends the quarantine of a unit.
func (c *Client) Release(ctx context.Context, unit estate.UnitID, r wire.ReleaseRequest) (wire.SwitchAnswer, error) {
	return c.act(ctx, unit, "release", r, true)
}

func (c *Client) act(ctx context.Context, unit estate.UnitID, what string, in any, changes bool) (wire.SwitchAnswer, error) {
	var v wire.SwitchAnswer
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/units/" + esc(unit) + "/" + what, in: in, out: &v, once: changes, changes: changes})
	return v, err
}

// Switches lists the running or last switch of every group.
func (c *Client) Switches(ctx context.Context, r wire.Read) ([]wire.SwitchView, error) {
	return get[[]wire.SwitchView](ctx, c, "/api/v1/switches", read(r))
}

// Instances lists the registered instances.
func (c *Client) Instances(ctx context.Context, r wire.Read) ([]wire.Instance, error) {
	return get[[]wire.Instance](ctx, c, "/api/v1/instances", read(r))
}

func instancePath(system estate.SystemID, site estate.SiteID, id string) string {
	return "/api/v1/instances/" + esc(system) + "/" + esc(site) + "/" + esc(id)
}

// PutInstance registers an instance, or renews it; call it every third of its time to live.
func (c *Client) PutInstance(ctx context.Context, i wire.Instance) (wire.Instance, error) {
	var v wire.Instance
	err := c.do(ctx, call{method: http.MethodPut, path: instancePath(i.System, i.Site, i.ID), in: i, out: &v})
	return v, err
}

// DeleteInstance ends a registration.
func (c *Client) DeleteInstance(ctx context.Context, system estate.SystemID, site estate.SiteID, id string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: instancePath(system, site, id)})
}

// Gateways lists what the gateways acknowledged.
func (c *Client) Gateways(ctx context.Context, r wire.Read) ([]wire.Ack, error) {
	return get[[]wire.Ack](ctx, c, "/api/v1/gateways", read(r))
}

// PutAck says which table the gateway routes by.
func (c *Client) PutAck(ctx context.Context, a wire.Ack) error {
	return c.do(ctx, call{method: http.MethodPut, path: "/api/v1/gateways/" + esc(a.Gateway) + "/ack", in: a})
}

// Members lists what the agents said of their members.
func (c *Client) Members(ctx context.Context, r wire.Read) ([]wire.MemberStatus, error) {
	return get[[]wire.MemberStatus](ctx, c, "/api/v1/members", read(r))
}

// PutMemberStatus says how the agent's member is; status is any JSON value.
func (c *Client) PutMemberStatus(ctx context.Context, member estate.MemberID, status any) error {
	return c.do(ctx, call{method: http.MethodPut, path: "/api/v1/members/" + esc(member) + "/status", in: status})
}

// Events gives at most limit events above the revision after, or the newest ones.
func (c *Client) Events(ctx context.Context, after int64, limit int, newest bool) ([]wire.Event, error) {
	query := url.Values{"after": {strconv.FormatInt(after, 10)}, "limit": {strconv.Itoa(limit)}}
	if newest {
		query.Set("newest", "true")
	}
	return get[[]wire.Event](ctx, c, "/api/v1/events", query)
}

// Tokens lists all tokens, without their secrets.
func (c *Client) Tokens(ctx context.Context) ([]wire.Token, error) {
	return list[wire.Token](ctx, c, "/api/v1/tokens", nil, 0)
}

// CreateToken makes a token for a person.
func (c *Client) CreateToken(ctx context.Context, ask wire.AskToken) (wire.NewToken, error) {
	var v wire.NewToken
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/tokens", in: ask, out: &v, once: true, changes: true})
	return v, err
}

// RevokeToken ends a token for good.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/api/v1/tokens/" + esc(id)})
}

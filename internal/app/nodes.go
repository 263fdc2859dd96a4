package app

import (
	"context"
	"encoding/json"
	"strings"

	"perdure/internal/client"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// nodes is the control plane as agents and gateways reach it: through the API of whichever node answers.
type nodes struct {
	c *client.Client
}

func newNodes(p process, peers []Peer) (nodes, error) {
	tls, err := p.files.ClientTLS()
	if err != nil {
		return nodes{}, err
	}
	endpoints := make([]string, len(peers))
	for i, peer := range peers {
		endpoints[i] = peer.URL
	}
	c, err := client.New(client.Options{Endpoints: endpoints, TLS: tls, Logger: p.log})
	return nodes{c: c}, err
}

// Group reads the record from the quorum.
func (n nodes) Group(ctx context.Context, group estate.GroupID) (wire.Group, error) {
	return n.c.Group(ctx, group, wire.Fresh)
}

// Transition posts a transition.
func (n nodes) Transition(ctx context.Context, group estate.GroupID, revision int64, t unit.Transition) (wire.Group, error) {
	return n.c.Transition(ctx, group, revision, t)
}

// WatchGroup hands on every record of the group, and the incarnations that nodes met in force elsewhere, until ctx ends.
func (n nodes) WatchGroup(ctx context.Context, group estate.GroupID, on func(wire.Group), met func(estate.Incarnation)) error {
	key := "groups/" + string(group)
	return n.c.Watch(ctx, client.WatchOptions{Prefixes: []string{key}}, func(u wire.Update) error {
		if u.Superseded != nil {
			met(*u.Superseded)
		}
		for _, c := range u.Changes {
			if c.Key != key || c.Deleted {
				continue
			}
			g := wire.Group{Revision: c.Revision}
			if err := json.Unmarshal(c.Value, &g.Record); err != nil {
				return errs.New(errs.Internal, "the record of %s cannot be read: %w", strings.TrimPrefix(c.Key, "groups/"), err)
			}
			on(g)
		}
		return nil
	})
}

// PutMemberStatus reports a member's status.
func (n nodes) PutMemberStatus(ctx context.Context, member estate.MemberID, status json.RawMessage) error {
	return n.c.PutMemberStatus(ctx, member, status)
}

// PutDivergence reports what a returned owner has beyond its successor.
func (n nodes) PutDivergence(ctx context.Context, d wire.Divergence) error {
	return n.c.PutDivergence(ctx, d)
}

package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"perdure/internal/errs"
	"perdure/internal/wire"
)

// mostMembers is the most members the store has: more make every change slower and none safer.
const mostMembers = 5

// Grow tells the running store of a new member, which starts as one that does not vote, so that the quorum is never at stake
// while it fetches the store; Promote makes it vote. It gives the members that the new one has to be started with (Options.Join).
// An entry of the same name that was never started, or that a recovery left behind, is replaced.
func (n *Node) Grow(ctx context.Context, name, peerURL string) ([]wire.StoreMember, error) {
	if n.etcd == nil {
		return nil, errs.New(errs.Refused, "the store is external: add its members with etcdctl member add")
	}
	list, err := n.client.MemberList(ctx)
	if err != nil {
		return nil, errs.New(errs.Unavailable, "cannot read the store's members: %w", err)
	}
	for _, have := range list.Members {
		if have.Name == name && len(have.PeerURLs) > 0 && have.PeerURLs[0] == peerURL {
			return nil, errs.New(errs.Conflict, "store member %s exists already; remove it first if its directory is lost", name)
		}
	}
	others := slices.DeleteFunc(slices.Clone(list.Members), func(m *etcdserverpb.Member) bool { return slices.Contains(m.PeerURLs, peerURL) })
	if len(others) >= mostMembers {
		return nil, errs.New(errs.Refused, "the store has %d members, and 1, 3 or 5 is what it may have: take a lost one out first (perdure node remove)", len(others))
	}
	added, err := n.client.MemberAddAsLearner(ctx, []string{peerURL})
	if err != nil && !errors.Is(err, rpctypes.ErrPeerURLExist) {
		return nil, errs.New(errs.Unavailable, "cannot add store member %s: %w", name, err)
	}
	members := list.Members
	if added != nil {
		members = added.Members
	}
	var out []wire.StoreMember
	for _, have := range members {
		if len(have.PeerURLs) == 0 {
			continue
		}
		member := wire.StoreMember{ID: fmt.Sprintf("%x", have.ID), Name: have.Name, PeerURL: have.PeerURLs, Learner: have.IsLearner}
		if have.PeerURLs[0] == peerURL {
			member.Name = name
		}
		out = append(out, member)
	}
	return out, nil
}

// Shrink takes a member, by its name or its peer URL, out of the store for good; its directory can never come back with authority.
// One that was never started has no name yet.
func (n *Node) Shrink(ctx context.Context, name string) error {
	if n.etcd == nil {
		return errs.New(errs.Refused, "the store is external: take its members out with etcdctl member remove")
	}
	list, err := n.client.MemberList(ctx)
	if err != nil {
		return errs.New(errs.Unavailable, "cannot read the store's members: %w", err)
	}
	for _, have := range list.Members {
		if have.Name == name || slices.Contains(have.PeerURLs, name) {
			if len(list.Members) == 1 {
				return errs.New(errs.Refused, "%s is the store's only member: join another one first (perdure node join)", name)
			}
			if _, err := n.client.MemberRemove(ctx, have.ID); err != nil {
				return errs.New(errs.Unavailable, "cannot remove store member %s: %w; while others are away, bring them back first", name, err)
			}
			return nil
		}
	}
	return errs.New(errs.NotFound, "the store has no member %q", name)
}

// Promote runs until ctx ends: while this member leads, it lets members that have caught up vote.
func (n *Node) Promote(ctx context.Context) error {
	if n.etcd == nil {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.stopped:
			return nil
		case <-tick.C:
			n.promoteOnce(ctx)
		}
	}
}

func (n *Node) promoteOnce(ctx context.Context) {
	if !n.IsLeader() {
		return
	}
	for _, m := range n.etcd.Server.Cluster().Members() {
		if !m.IsLearner {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := n.client.MemberPromote(ctx, uint64(m.ID))
		cancel()
		if err == nil {
			n.log.Info("store member votes", "member", m.Name)
		} else {
			n.log.Debug("store member does not vote yet", "member", m.Name, "error", err)
		}
	}
}

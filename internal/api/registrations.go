package api

import (
	"context"
	"encoding/json"
	"strings"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/wire"
)

func (s *Server) listInstances(ctx context.Context, in *struct{ Freshness }) (*body[[]wire.Instance], error) {
	return answer(s.d.Store.Instances(ctx, in.Read))
}

// InstancePath is where a registration lies.
type InstancePath struct {
	System estate.SystemID `path:"system"`
	Site   estate.SiteID   `path:"site"`
	ID     string          `path:"id"`
}

// own lets an application speak only for instances that carry its name: "app:core-a" for "core-a" and "core-a-2".
func (p InstancePath) own(id identity) error {
	if id.Machine == "app" && p.ID != id.ID && !strings.HasPrefix(p.ID, id.ID+"-") {
		return errs.New(errs.Forbidden, "%s may register only instances named %s or %s-…, not %s", id.Name, id.ID, id.ID, p.ID)
	}
	return nil
}

type instanceInput struct {
	InstancePath
	Body wire.Instance
}

func (s *Server) putInstance(ctx context.Context, in *instanceInput) (*body[wire.Instance], error) {
	if err := in.own(who(ctx)); err != nil {
		return nil, err
	}
	i := in.Body
	i.System, i.Site, i.ID = in.System, in.Site, in.ID
	i, err := s.d.Store.PutInstance(ctx, i)
	if id := who(ctx); err == nil && id.Person != "" { // applications say it every few seconds
		s.audit(ctx, id, "instance.put", in.ID, i)
	}
	return answer(i, err)
}

func (s *Server) deleteInstance(ctx context.Context, in *struct{ InstancePath }) (*nothing, error) {
	if err := in.own(who(ctx)); err != nil {
		return nil, err
	}
	err := s.d.Store.DeleteInstance(ctx, in.System, in.Site, in.ID)
	if id := who(ctx); err == nil && id.Person != "" {
		s.audit(ctx, id, "instance.delete", in.ID, nil)
	}
	return nil, err
}

func (s *Server) listGateways(ctx context.Context, in *struct{ Freshness }) (*body[[]wire.Ack], error) {
	return answer(s.d.Store.Acks(ctx, in.Read))
}

type ackInput struct {
	ID   string `path:"id"`
	Body wire.Ack
}

func (s *Server) putAck(ctx context.Context, in *ackInput) (*nothing, error) {
	if err := who(ctx).onlyItself("gateway", in.ID); err != nil {
		return nil, err
	}
	a := in.Body
	a.Gateway = in.ID
	return nil, s.d.Store.PutAck(ctx, a)
}

func (s *Server) listMembers(ctx context.Context, in *struct{ Freshness }) (*body[[]wire.MemberStatus], error) {
	return answer(s.d.Store.MemberStatuses(ctx, in.Read))
}

type memberStatusInput struct {
	Member estate.MemberID `path:"member"`
	Body   json.RawMessage
}

func (s *Server) putMemberStatus(ctx context.Context, in *memberStatusInput) (*nothing, error) {
	if err := who(ctx).onlyItself("agent", string(in.Member)); err != nil {
		return nil, err
	}
	return nil, s.d.Store.PutMemberStatus(ctx, wire.MemberStatus{Member: in.Member, Status: in.Body})
}

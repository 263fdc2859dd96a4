package api

import (
	"context"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

type groupInput struct {
	Group estate.GroupID `path:"group"`
	Freshness
}

func (s *Server) listGroups(ctx context.Context, in *struct{ Freshness }) (*body[[]wire.Group], error) {
	return answer(s.d.Store.Groups(ctx, in.Read))
}

func (s *Server) getGroup(ctx context.Context, in *groupInput) (*body[wire.Group], error) {
	return answer(s.d.Store.Group(ctx, in.Group, in.Read))
}

type transitionInput struct {
	Group estate.GroupID `path:"group"`
	Body  wire.TransitionRequest
}

func (s *Server) transition(ctx context.Context, in *transitionInput) (*body[wire.Group], error) {
	id := who(ctx)
	t, err := id.claim(in.Body.Transition)
	if err != nil {
		return nil, err
	}
	t.Now = time.Now().UnixMilli()
	if id.Machine == "agent" && s.d.Switcher != nil {
		if err := s.d.Switcher.MayGrant(ctx, in.Group, in.Body.Revision, t); err != nil {
			return nil, err
		}
	}
	return answer(s.d.Store.Transition(ctx, id.Name, in.Group, in.Body.Revision, t))
}

// claim lets everybody ask only for what is theirs to ask, in their own name: who asks comes from the token or the certificate,
// whatever the body says.
func (i identity) claim(t unit.Transition) (unit.Transition, error) {
	switch i.Machine {
	case "agent":
		return i.claimAgent(t)
	case "node":
		return i.claimNode(t)
	case "":
		return i.claimPerson(t)
	}
	return t, i.notTheirs(t.Kind)
}

func (i identity) notTheirs(kind unit.Kind) error {
	return errs.New(errs.Forbidden, "%s may not ask for the transition %q", i.Name, kind)
}

func (i identity) claimAgent(t unit.Transition) (unit.Transition, error) {
	switch t.Kind {
	case unit.Enrol, unit.Attach, unit.Reopen, unit.OwnerDown, unit.Shrink, unit.Grow, unit.Close, unit.Decide, unit.Opened, unit.Abort:
	case unit.Begin, unit.Propose, unit.Accept, unit.Recover, unit.Amend, unit.Release, unit.Settle:
		return t, i.notTheirs(t.Kind)
	default:
		return t, errs.New(errs.Invalid, "transition %q is not known", t.Kind)
	}
	if err := i.onlyItself("agent", string(t.By.Member)); err != nil {
		return t, err
	}
	if t.Silent {
		return t, errs.New(errs.Forbidden, "%s may not decide on silence: nodes do (I16)", i.Name)
	}
	t.Person = ""
	return t, nil
}

func (i identity) claimNode(t unit.Transition) (unit.Transition, error) {
	if t.Kind != unit.Decide && t.Kind != unit.Abort {
		return t, i.notTheirs(t.Kind)
	}
	t.By, t.Person = estate.Life{}, ""
	return t, nil
}

// claimPerson leaves out what goes another way: a switch is begun by a run; a loss is estimated, shown and accepted by the controller, and a
// person's confirmation of a failover waits there for the promise made to the owner. Here the body alone would be believed (I11).
func (i identity) claimPerson(t unit.Transition) (unit.Transition, error) {
	var need Access
	switch t.Kind {
	case unit.Abort:
		need = Operator
	case unit.Settle:
		need = Commander
	default:
		return t, i.notTheirs(t.Kind)
	}
	if !i.has(need) {
		return t, errs.New(errs.Forbidden, "%s may not ask for the transition %q: it needs role %s", i.Name, t.Kind, need)
	}
	t.By, t.Silent, t.Person = estate.Life{}, false, i.Person
	return t, nil
}

func (s *Server) silence(_ context.Context, in *struct {
	Group estate.GroupID `path:"group"`
},
) (*body[wire.Silence], error) {
	if s.d.Silences == nil {
		return nil, errs.New(errs.Unavailable, "this node does not probe owners")
	}
	return answer(s.d.Silences.Silence(in.Group))
}

type divergencesInput struct {
	Group estate.GroupID `path:"group"`
	Paging
	Freshness
}

// listDivergences gives the newest report first.
func (s *Server) listDivergences(ctx context.Context, in *divergencesInput) (*page[wire.Divergence], error) {
	all, err := s.d.Store.Divergences(ctx, in.Group, in.Read)
	if err != nil {
		return nil, err
	}
	return pageOf(ctx, in.Paging, all, func(d wire.Divergence) place { return place{d.At, d.ID} })
}

type divergenceInput struct {
	Group estate.GroupID `path:"group"`
	Body  wire.Divergence
}

func (s *Server) putDivergence(ctx context.Context, in *divergenceInput) (*nothing, error) {
	id := who(ctx)
	g, err := s.d.Store.Group(ctx, in.Group, wire.Fresh)
	if err != nil {
		return nil, err
	}
	if _, ok := g.Record.Member(id.memberOf()); !ok {
		return nil, errs.New(errs.Forbidden, "%s is no member of group %s", id.Name, in.Group)
	}
	d := in.Body
	d.Group, d.Reporter = in.Group, id.Name
	return nil, s.d.Store.PutDivergence(ctx, d)
}

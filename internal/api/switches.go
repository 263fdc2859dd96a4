package api

import (
	"context"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

func (s *Server) switcher() (Switcher, error) {
	if s.d.Switcher == nil {
		return nil, errs.New(errs.Unavailable, "this node carries out no switches; ask another node")
	}
	return s.d.Switcher, nil
}

type switchInput struct {
	Unit estate.UnitID `path:"unit"`
	Body wire.SwitchRequest
}

func (s *Server) switchUnit(ctx context.Context, in *switchInput) (*body[wire.SwitchAnswer], error) {
	id := who(ctx)
	switch in.Body.Mode {
	case unit.Takeover, unit.SwitchBack:
	case unit.Emergency:
		if !id.has(Commander) {
			return nil, errs.New(errs.Forbidden, "%s may not switch in mode emergency: it needs role commander", id.Name)
		}
	default:
		return nil, errs.New(errs.Invalid, "mode %q is not one of takeover, switch-back, emergency", in.Body.Mode)
	}
	if !in.Body.DryRun {
		if err := s.forReal(ctx, id); err != nil {
			return nil, err
		}
	}
	c, err := s.switcher()
	if err != nil {
		return nil, err
	}
	return answer(c.Switch(ctx, id.Person, in.Unit, in.Body))
}

type abortInput struct {
	Unit estate.UnitID `path:"unit"`
	Body wire.AbortRequest
}

func (s *Server) abort(ctx context.Context, in *abortInput) (*body[wire.SwitchAnswer], error) {
	c, err := s.switcher()
	if err != nil {
		return nil, err
	}
	return answer(c.Abort(ctx, who(ctx).Person, in.Unit, in.Body))
}

type acceptInput struct {
	Unit estate.UnitID `path:"unit"`
	Body wire.AcceptRequest
}

func (s *Server) accept(ctx context.Context, in *acceptInput) (*body[wire.SwitchAnswer], error) {
	if err := s.forReal(ctx, who(ctx)); err != nil {
		return nil, err
	}
	c, err := s.switcher()
	if err != nil {
		return nil, err
	}
	return answer(c.Accept(ctx, who(ctx).Person, in.Unit, in.Body))
}

type verifyInput struct {
	Unit   estate.UnitID `path:"unit"`
	LostAt int64         `query:"lostAt" minimum:"0" doc:"Unix milliseconds: your word that what is lost acknowledged nothing after it"`
}

func (s *Server) verify(ctx context.Context, in *verifyInput) (*body[wire.VerifyAnswer], error) {
	c, err := s.switcher()
	if err != nil {
		return nil, err
	}
	var lostAt time.Time
	if in.LostAt != 0 {
		lostAt = time.UnixMilli(in.LostAt)
	}
	v, err := c.Verify(ctx, who(ctx).Person, in.Unit, lostAt)
	if err != nil {
		return nil, err
	}
	err = s.d.Store.Note(ctx, who(ctx).Name, "quarantine.verify", string(in.Unit), map[string]any{
		"receipts": v.Receipts, "source": v.Source, "lost": v.Lost, "verified": v.Judged.Verified, "inconsistent": v.Judged.Inconsistent, "lostAt": in.LostAt,
	})
	if err != nil {
		return nil, errs.New(errs.KindOf(err), "the accounts of %s are judged, but that could not be written down; verify again: %w", in.Unit, err)
	}
	return &body[wire.VerifyAnswer]{v}, nil
}

type releaseInput struct {
	Unit estate.UnitID `path:"unit"`
	Body wire.ReleaseRequest
}

func (s *Server) release(ctx context.Context, in *releaseInput) (*body[wire.SwitchAnswer], error) {
	if err := s.forReal(ctx, who(ctx)); err != nil {
		return nil, err
	}
	c, err := s.switcher()
	if err != nil {
		return nil, err
	}
	return answer(c.Release(ctx, who(ctx).Person, in.Unit, in.Body))
}

func (s *Server) listSwitches(ctx context.Context, in *struct{ Freshness }) (*body[[]wire.SwitchView], error) {
	groups, err := s.d.Store.Groups(ctx, in.Read)
	if err != nil {
		return nil, err
	}
	views := []wire.SwitchView{}
	for _, g := range groups {
		if sw := g.Record.Switch; sw != nil {
			views = append(views, wire.SwitchView{Group: g.Record.Group, Units: g.Record.Units, State: g.Record.State, Switch: *sw, Active: sw.Active()})
		}
	}
	return &body[[]wire.SwitchView]{views}, nil
}

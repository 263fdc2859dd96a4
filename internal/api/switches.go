package api

import (
	"context"
	"slices"
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/plan"
	"perdure/internal/resource"
	"perdure/internal/run"
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

// switchUnit starts a run of the plan that switches a unit: there is no other way for people.
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
	ask := wire.StartRun{
		Plan: plan.SwitchUnit, Mode: plan.Mode(in.Body.Mode), Reason: in.Body.Reason, ID: in.Body.ID,
		Params: map[string]any{"unit": string(in.Unit), "to": string(in.Body.To)},
	}
	if in.Body.DryRun {
		return answer(s.forecast(ctx, in.Unit, in.Body, ask))
	}
	if err := s.forReal(ctx, id); err != nil {
		return nil, err
	}
	if have, again, err := s.repeated(ctx, id, ask); again {
		if err != nil {
			return nil, err
		}
		return answer(s.switchOf(ctx, in.Unit, have))
	}
	start, err := s.prepare(ctx, id, ask)
	if err != nil {
		return nil, err
	}
	out, err := s.post(ctx, id, start)
	if errs.KindOf(err) == errs.Conflict { // the same request may have reached two nodes
		if have, again, rerr := s.repeated(ctx, id, ask); again && rerr == nil {
			return answer(s.switchOf(ctx, in.Unit, have))
		}
	}
	return answer(out, err)
}

// forecast says what a switch would take, and what the calendars say of it.
func (s *Server) forecast(ctx context.Context, u estate.UnitID, request wire.SwitchRequest, ask wire.StartRun) (wire.SwitchAnswer, error) {
	c, err := s.switcher()
	if err != nil {
		return wire.SwitchAnswer{}, err
	}
	out, err := c.Forecast(ctx, who(ctx).Person, u, request)
	if err != nil {
		return out, err
	}
	start, err := s.prepare(ctx, who(ctx), ask)
	if err != nil {
		out.Checks = append(out.Checks, wire.Check{Name: wire.CalendarCheck, Detail: err.Error()})
	}
	out.Notes = start.Head.Notes
	return out, nil
}

// post starts a run that begins with a switch by posting the switch: from then on neither needs this node, and the switch needs no runner.
func (s *Server) post(ctx context.Context, id identity, start wire.RunStart) (wire.SwitchAnswer, error) {
	c, err := s.switcher()
	if err != nil {
		return wire.SwitchAnswer{}, err
	}
	r, err := run.Replay(start.Head.ID, start.Program, start.Journal)
	if err != nil {
		return wire.SwitchAnswer{}, err
	}
	first := start.Journal[0]
	begun, ok := r.Posting(first.At)
	if !ok {
		return wire.SwitchAnswer{}, errs.New(errs.Internal, "plan %s does not begin with a switch alone", start.Head.Plan)
	}
	begun.By = "node:" + s.o.Node
	if err := r.Advance(begun); err != nil {
		return wire.SwitchAnswer{}, err
	}
	start.Head, start.Journal = start.Head.At(r), append(start.Journal, begun)
	to, _ := begun.Call.With["to"].(string)
	out, err := c.Start(ctx, id.Person, estate.UnitID(begun.Call.Target), wire.SwitchRequest{
		To: estate.SiteID(to), Mode: unit.Mode(start.Head.Mode), Reason: first.Text, ID: switchName(start.Head.ID),
	}, start)
	out.Notes = start.Head.Notes
	return out, err
}

// switchName is the identity of the switch of a run that switches a unit.
func switchName(runID string) string { return resource.Token(runID + "/" + plan.SwitchStep) }

// switchOf answers a request that was answered before.
func (s *Server) switchOf(ctx context.Context, u estate.UnitID, have wire.Run) (wire.SwitchAnswer, error) {
	out := wire.SwitchAnswer{Unit: u, Run: have.ID, Notes: have.Notes}
	g, err := s.groupOf(ctx, u)
	if err != nil {
		return out, err
	}
	out.Group, out.Revision = g.Record.Group, g.Revision
	if sw := g.Record.Switch; sw != nil && sw.ID == switchName(have.ID) {
		out.Switch = sw
	}
	return out, nil
}

// groupOf finds the group that carries a unit.
func (s *Server) groupOf(ctx context.Context, u estate.UnitID) (wire.Group, error) {
	groups, err := s.d.Store.Groups(ctx, wire.Fresh)
	if err != nil {
		return wire.Group{}, err
	}
	var known []string
	for _, g := range groups {
		if slices.Contains(g.Record.Units, u) {
			return g, nil
		}
		for _, name := range g.Record.Units {
			known = append(known, string(name))
		}
	}
	slices.Sort(known)
	return wire.Group{}, errs.New(errs.NotFound, "no unit %q; there are: %s", u, strings.Join(known, ", "))
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

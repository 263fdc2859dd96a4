package api

import (
	"context"
	"slices"
	"time"

	"perdure/internal/document"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/plan"
	"perdure/internal/wire"
)

// Form is the form of a document that is asked for.
type Form struct {
	Format string `query:"format" enum:"html,docx,xlsx" default:"html"`
	Lang   string `query:"lang" enum:"en,zh-CN" default:"en"`
}

func (f Form) language() document.Language { return document.Language(f.Lang) }

// paper gives a document as an answer.
func (f Form) paper(d *document.Document, findings []document.Finding, err error) (*body[*document.Paper], error) {
	if err != nil {
		return nil, err
	}
	return answer(d.Paper(document.Format(f.Format), findings))
}

type planDocumentInput struct {
	Form
	Plan string    `path:"plan"`
	As   string    `query:"as" enum:"drp,drill-plan" default:"drp" doc:"the disaster recovery plan, or the drill plan"`
	Mode plan.Mode `query:"mode" doc:"one of the plan's modes; by default the first that recovers something"`
}

func (s *Server) planDocument(ctx context.Context, in *planDocumentInput) (*body[*document.Paper], error) {
	e, err := s.estateOf(ctx)
	if err != nil {
		return nil, err
	}
	history, err := s.d.Foresight.History(ctx, plan.Closure(e.Set.Plans, in.Plan))
	if err != nil {
		return nil, err
	}
	src := document.PlanSource{Estate: e, Plan: in.Plan, Mode: in.Mode, History: history}
	if in.As == "drill-plan" {
		return in.paper(document.DrillPlan(src, in.language()))
	}
	return in.paper(document.RecoveryPlan(src, in.language()))
}

type responseInput struct {
	Form
	System estate.SystemID `query:"system" doc:"the system that it is for"`
	Site   estate.SiteID   `query:"site" doc:"or the site"`
}

func (s *Server) responsePlan(ctx context.Context, in *responseInput) (*body[*document.Paper], error) {
	e, err := s.estateOf(ctx)
	if err != nil {
		return nil, err
	}
	return in.paper(document.Response(document.ResponseSource{Estate: e, System: in.System, Site: in.Site}, in.language()))
}

// estateOf is the applied manifest with who has which role. People who only hold tokens are none: a token is nobody's name.
func (s *Server) estateOf(ctx context.Context) (document.Estate, error) {
	if s.d.Plans == nil {
		return document.Estate{}, errs.New(errs.Unavailable, "this node carries out no plans")
	}
	m, err := s.d.Store.Manifest(ctx, wire.Fresh)
	if err != nil {
		return document.Estate{}, err
	}
	set, err := s.d.Plans.Estate(m.Text)
	if err != nil {
		return document.Estate{}, err
	}
	users, err := s.d.Store.Users(ctx, wire.Fresh)
	if err != nil {
		return document.Estate{}, err
	}
	e := document.Estate{Set: &set, Revision: m.Revision, Applied: time.UnixMilli(m.At), Holders: map[string][]string{}}
	for _, u := range users {
		if !u.Active() {
			continue
		}
		for _, role := range u.Roles {
			e.Holders[string(role)] = append(e.Holders[string(role)], u.Name)
		}
	}
	for _, names := range e.Holders {
		slices.Sort(names)
	}
	return e, nil
}

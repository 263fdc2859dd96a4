package api

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"perdure/internal/document"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/evidence"
	"perdure/internal/measure"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// journalOf reads what a run's measures and documents are made of.
func (s *Server) journalOf(ctx context.Context, id string) (wire.Run, *plan.Program, []run.Entry, error) {
	head, err := s.d.Store.Run(ctx, id, wire.Fresh)
	if err != nil {
		return head, nil, nil, err
	}
	program, err := s.d.Store.Program(ctx, id)
	if err != nil {
		return head, nil, nil, err
	}
	journal, err := s.d.Store.Journal(ctx, id, 0)
	return head, program, journal, err
}

func (s *Server) getMeasures(ctx context.Context, in *runInput) (*body[*measure.Measures], error) {
	_, program, journal, err := s.journalOf(ctx, in.Run)
	if err != nil {
		return nil, err
	}
	return answer(measure.Of(in.Run, program, journal))
}

type preflightInput struct {
	Plan string `path:"plan"`
	Body wire.PreflightRequest
}

func (s *Server) preflight(ctx context.Context, in *preflightInput) (*body[*measure.Preflight], error) {
	if !slices.Contains(plan.Modes(), in.Body.Mode) {
		return nil, errs.New(errs.Invalid, "mode %q is not one of %v", in.Body.Mode, plan.Modes())
	}
	if s.d.Plans == nil || s.d.Foresight == nil {
		return nil, errs.New(errs.Unavailable, "this node carries out no plans")
	}
	current, err := s.d.Store.Manifest(ctx, wire.Fresh)
	if err != nil {
		return nil, err
	}
	program, err := s.d.Plans.Program(current.Text, in.Plan, in.Body.Mode)
	if err != nil {
		return nil, err
	}
	if id, named := in.Body.Params["unit"].(string); named && plan.IsBuiltIn(in.Plan) {
		if err := s.about(ctx, program, estate.UnitID(id)); err != nil {
			return nil, err
		}
	}
	return answer(s.d.Foresight.Preflight(ctx, program, in.Body.Params))
}

type reportInput struct {
	Run    string    `path:"run"`
	As     string    `query:"as" enum:"record,evaluation,summary" default:"record" doc:"the drill record or the switch report, its evaluation, or its summary with what became of what had to be put right"`
	At     time.Time `query:"at" doc:"of a summary: what is overdue at this instant; by default now"`
	Format string    `query:"format" enum:"html,docx,xlsx" default:"html"`
	Lang   string    `query:"lang" enum:"en,zh-CN" default:"en"`
	Zone   string    `query:"zone" default:"UTC" doc:"time zone of all times: a name such as Asia/Shanghai, or an offset such as +08:00"`
}

// formats are the media types of documents.
var formats = map[string]string{
	"html": "text/html; charset=utf-8",
	"docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	"xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}

func (s *Server) report(ctx huma.Context, in *reportInput) {
	r, w := humago.Unwrap(ctx)
	file, err := s.reportOf(ctx.Context(), in)
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	sendFile(w, in.Run, in.Format, file)
}

func (s *Server) reportOf(ctx context.Context, in *reportInput) ([]byte, error) {
	zone, err := zoneOf(in.Zone)
	if err != nil {
		return nil, err
	}
	src, _, err := s.sourceOf(ctx, in.Run)
	if err != nil {
		return nil, err
	}
	var d *document.Document
	switch l := document.Language(in.Lang); in.As {
	case "evaluation":
		d, err = document.Evaluation(src, l, zone)
	case "summary":
		d, err = s.summaryOf(ctx, src, orNow(in.At), l, zone)
	default:
		d, err = document.Report(src, l, zone)
	}
	if err != nil {
		return nil, err
	}
	return d.File(document.Format(in.Format))
}

// summaryOf is the summary of a run, with its rectification where somebody opened that.
func (s *Server) summaryOf(ctx context.Context, src document.Source, at time.Time, l document.Language, zone *time.Location) (*document.Document, error) {
	sheet, err := s.d.Store.Sheet(ctx, src.Run, wire.Fresh)
	switch {
	case errs.KindOf(err) == errs.NotFound:
		return document.Wrapup(src, nil, at, l, zone)
	case err != nil:
		return nil, err
	}
	return document.Wrapup(src, &sheet, at, l, zone)
}

// sourceOf reads what the document of a run is made of. Once it is over, where its journal stands in the evidence log is part of it.
func (s *Server) sourceOf(ctx context.Context, id string) (src document.Source, over bool, err error) {
	head, program, journal, err := s.journalOf(ctx, id)
	if err != nil {
		return src, false, err
	}
	src = document.Source{Run: id, Program: program, Journal: journal, ProgramSum: head.Program}
	if src.Orders, err = s.d.Store.Orders(ctx, id); err != nil {
		return src, false, err
	}
	if s.d.Evidence != nil && head.Phase == run.Over {
		src.Origin, src.Leaves, err = s.d.Evidence.Journal(ctx, id)
	}
	return src, head.Phase == run.Over, err
}

// filesOf are what a pack has beside the journal and the program of a run: what was handed in with tasks and, of a run that is over, its report in
// both languages, and its measures.
func (s *Server) filesOf(ctx context.Context, id string) (map[string][]byte, error) {
	src, over, err := s.sourceOf(ctx, id)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	words, err := s.d.Store.OrderWords(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(words) > 0 {
		files[evidence.OrdersFile] = words
	}
	if err := s.attachedFiles(ctx, id, src.Journal, files); err != nil || !over {
		return files, err
	}
	measures, err := measure.Of(id, src.Program, src.Journal)
	if err != nil {
		return nil, err
	}
	if files["measures.json"], err = json.Marshal(measures); err != nil {
		return nil, errs.New(errs.Internal, "cannot write the measures of run %s: %w", id, err)
	}
	for _, l := range []document.Language{document.English, document.Chinese} {
		d, err := document.Report(src, l, time.UTC)
		if err != nil {
			return nil, err
		}
		if files["report."+string(l)+".html"], err = d.File(document.HTML); err != nil {
			return nil, err
		}
	}
	return files, nil
}

var offset = regexp.MustCompile(`^[+-](0[0-9]|1[0-4]):[0-5][0-9]$`)

// zoneOf reads a time zone. That of the machine is none: a document would differ from node to node.
func zoneOf(name string) (*time.Location, error) {
	if offset.MatchString(name) {
		at, err := time.Parse("-07:00", name)
		if err != nil {
			return nil, errs.New(errs.Invalid, "zone %q: %w", name, err)
		}
		_, seconds := at.Zone()
		return time.FixedZone("UTC"+name, seconds), nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		return nil, errs.New(errs.Invalid, "there is no time zone %q; give a name such as Asia/Shanghai, an offset such as +08:00, or UTC", name)
	}
	return zone, nil
}

// listArmed tells how the armed runs stand. What was found is kept by the node at the store's leader.
func (s *Server) listArmed(ctx context.Context, _ *struct{}) (*body[[]wire.Armed], error) {
	list, err := s.d.Store.Armed(ctx, wire.Local)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	out := make([]wire.Armed, 0, len(list))
	for _, a := range list {
		out = append(out, wire.Armed{Armed: a, State: a.State(now)})
	}
	return answer(out, nil)
}

package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"perdure/internal/document"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/evaluation"
	"perdure/internal/rectification"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// RectificationStore is what the API needs of the store about what has to be put right.
type RectificationStore interface {
	// OpenSheet keeps the sheet of a run, or answers with the one that is there.
	OpenSheet(ctx context.Context, who string, sheet rectification.Sheet) (rectification.Sheet, error)
	Sheet(ctx context.Context, run string, r wire.Read) (rectification.Sheet, error)
	Sheets(ctx context.Context, r wire.Read) ([]rectification.Sheet, error)
	// SaySheet commits what a person says, judged on the newest state.
	SaySheet(ctx context.Context, run string, c rectification.Change) (rectification.Sheet, error)
}

// judged reads a run and how it is judged.
func (s *Server) judged(ctx context.Context, id string) (*evaluation.Evaluation, error) {
	_, program, journal, err := s.journalOf(ctx, id)
	if err != nil {
		return nil, err
	}
	return evaluation.Of(id, program, journal)
}

func (s *Server) openRectification(ctx context.Context, in *struct {
	Run string `path:"run"`
},
) (*body[rectification.View], error) {
	id := who(ctx)
	head, err := s.d.Store.Run(ctx, in.Run, wire.Fresh)
	if err != nil {
		return nil, err
	}
	if err := id.maySteer(head); err != nil {
		return nil, err
	}
	e, err := s.judged(ctx, in.Run)
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	sheet, err := rectification.Begin(e, id.Person, now)
	if err != nil {
		return nil, err
	}
	if sheet, err = s.d.Store.OpenSheet(ctx, id.Name, sheet); err != nil {
		return nil, err
	}
	return &body[rectification.View]{rectification.Look(sheet, now)}, nil
}

type rectificationInput struct {
	Run string `path:"run"`
	Freshness
}

func (s *Server) getRectification(ctx context.Context, in *rectificationInput) (*body[rectification.View], error) {
	sheet, err := s.d.Store.Sheet(ctx, in.Run, in.Read)
	if err != nil {
		return nil, err
	}
	return &body[rectification.View]{rectification.Look(sheet, time.Now())}, nil
}

type rectificationsInput struct {
	Open bool `query:"open" doc:"only those with an item that is not over"`
	Paging
	Freshness
}

func (s *Server) listRectifications(ctx context.Context, in *rectificationsInput) (*page[rectification.View], error) {
	sheets, err := s.sheets(ctx, in.Open, in.Read)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	found, err := pageOf(ctx, in.Paging, sheets, func(x rectification.Sheet) place { return place{x.Ended.UnixMilli(), x.Run} })
	if err != nil {
		return nil, err
	}
	out := &page[rectification.View]{Link: found.Link, Body: []rectification.View{}}
	for _, sheet := range found.Body {
		out.Body = append(out.Body, rectification.Look(sheet, now))
	}
	return out, nil
}

// sheets gives those of all runs, or only those with an item that is not over.
func (s *Server) sheets(ctx context.Context, open bool, r wire.Read) ([]rectification.Sheet, error) {
	sheets, err := s.d.Store.Sheets(ctx, r)
	if err != nil || !open {
		return sheets, err
	}
	over := func(i rectification.Item) bool { return i.State().Over() }
	return slices.DeleteFunc(sheets, func(x rectification.Sheet) bool {
		return !slices.ContainsFunc(x.Items, func(i rectification.Item) bool { return !over(i) })
	}), nil
}

type rectificationWordInput struct {
	Run  string `path:"run"`
	Body wire.RectificationWord
}

func (s *Server) sayToRectification(ctx context.Context, in *rectificationWordInput) (*body[rectification.View], error) {
	id, word := who(ctx), in.Body
	sheet, err := s.d.Store.Sheet(ctx, in.Run, wire.Fresh)
	if err != nil {
		return nil, err
	}
	if err := s.maySayToRectification(ctx, id, sheet, word); err != nil {
		return nil, err
	}
	c := rectification.Change{What: word.What, By: id.Person, Number: word.Item, Text: word.Text, Step: word.Step, Owner: word.Owner, Due: utc(word.Due), Passed: word.Passed}
	switch word.What {
	case rectification.Assign:
		head, err := s.d.Store.Run(ctx, in.Run, wire.Fresh)
		if err != nil {
			return nil, err
		}
		if err := s.answerable(ctx, word.Owner, head.Tenant); err != nil {
			return nil, err
		}
	case rectification.Verify:
		if err := s.shows(ctx, sheet, word, &c); err != nil {
			return nil, err
		}
	case rectification.Add, rectification.Correct, rectification.Accept:
	}
	if sheet, err = s.d.Store.SaySheet(ctx, in.Run, c); err != nil {
		return nil, err
	}
	return &body[rectification.View]{rectification.Look(sheet, time.Now())}, nil
}

// maySayToRectification judges whether a person may say something of what has to be put right, as far as that follows from who they are.
func (s *Server) maySayToRectification(ctx context.Context, id identity, sheet rectification.Sheet, word wire.RectificationWord) error {
	head := wire.Run{ID: sheet.Run, Mode: sheet.Mode, Tabletop: sheet.Tabletop}
	switch word.What {
	case rectification.Assign:
	case rectification.Add, rectification.Verify:
		if id.has(Auditor) {
			return nil
		}
	case rectification.Correct:
		at := slices.IndexFunc(sheet.Items, func(i rectification.Item) bool { return i.Number == word.Item })
		if at >= 0 && s.desk(ctx).person(id, head).Answers(sheet.Items[at].Owner) {
			return nil
		}
	case rectification.Accept:
		if id.has(Commander) {
			return nil
		}
		return errs.New(errs.Forbidden, "%s may not accept a risk: it needs role commander", id.Name)
	default:
		return errs.New(errs.Invalid, "%q is not something that people say of what has to be put right; allowed: %v", word.What, rectification.Whats())
	}
	return id.maySteer(head)
}

// answerable refuses an owner of whom nobody has heard: an item would be nobody's.
func (s *Server) answerable(ctx context.Context, owner string, tenant estate.TenantID) error {
	if owner == "" || slices.Contains(wire.Roles(), wire.Role(owner)) {
		return nil
	}
	if _, ok := s.desk(ctx).book.Of(owner); ok {
		return nil
	}
	return s.known(ctx, owner, tenant)
}

// shows notes what a run shows of an item.
func (s *Server) shows(ctx context.Context, sheet rectification.Sheet, word wire.RectificationWord, c *rectification.Change) error {
	at := slices.IndexFunc(sheet.Items, func(i rectification.Item) bool { return i.Number == word.Item })
	if word.Run == "" || at < 0 {
		return errs.New(errs.Invalid, "a re-test is a run, of an item of the sheet: give both")
	}
	e, err := s.judged(ctx, word.Run)
	if err != nil {
		return err
	}
	c.Run, c.Began = word.Run, e.Measures.Start.UTC()
	c.Shows, err = e.Settles(sheet.Items[at].Problem)
	return err
}

// rectificationsFor gives what sheets wait for a person for.
func (s *Server) rectificationsFor(ctx context.Context, id identity) ([]wire.InboxItem, error) {
	sheets, err := s.sheets(ctx, true, wire.Fresh)
	if err != nil || len(sheets) == 0 {
		return nil, err
	}
	desk := s.desk(ctx)
	var items []wire.InboxItem
	for _, sheet := range sheets {
		p := desk.person(id, wire.Run{ID: sheet.Run, Mode: sheet.Mode, Tabletop: sheet.Tabletop})
		for _, a := range sheet.WaitsFor(rectification.Person{Name: p.Name, Holds: p.Holds, Steers: p.Steers}) {
			items = append(items, wire.InboxItem{Run: sheet.Run, Plan: sheet.Plan, Mode: sheet.Mode, Tabletop: sheet.Tabletop, Due: a.Item.Due, Problem: &a.Item.Problem, Ask: run.Ask{
				Why: run.Why(a.Why), Step: strconv.Itoa(a.Item.Number), For: a.Item.Owner, Text: a.Item.Problem.Text, Since: a.Since,
			}})
		}
	}
	return items, nil
}

type trackingInput struct {
	Run    string    `query:"run" doc:"only what has to be put right after this run"`
	Open   bool      `query:"open" doc:"only runs with an item that is not over"`
	At     time.Time `query:"at" doc:"what is overdue at this instant; by default now"`
	Format string    `query:"format" enum:"html,docx,xlsx" default:"html"`
	Lang   string    `query:"lang" enum:"en,zh-CN" default:"en"`
	Zone   string    `query:"zone" default:"UTC" doc:"time zone of all times: a name such as Asia/Shanghai, or an offset such as +08:00"`
}

func (s *Server) tracking(ctx huma.Context, in *trackingInput) {
	r, w := humago.Unwrap(ctx)
	file, err := s.trackingOf(ctx.Context(), in)
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	sendFile(w, "rectification", in.Format, file)
}

func sendFile(w http.ResponseWriter, name, format string, file []byte) {
	head := w.Header()
	head.Set("Content-Type", formats[format])
	head.Set("Content-Length", strconv.Itoa(len(file)))
	head.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name+"."+format))
	head.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(file) // whoever gets a cut file sees it by its length
}

func (s *Server) trackingOf(ctx context.Context, in *trackingInput) ([]byte, error) {
	zone, err := zoneOf(in.Zone)
	if err != nil {
		return nil, err
	}
	var sheets []rectification.Sheet
	if in.Run != "" {
		sheet, err := s.d.Store.Sheet(ctx, in.Run, wire.Fresh)
		if err != nil {
			return nil, err
		}
		sheets = append(sheets, sheet)
	} else if sheets, err = s.sheets(ctx, in.Open, wire.Fresh); err != nil {
		return nil, err
	}
	return document.Tracking(sheets, orNow(in.At), document.Language(in.Lang), zone).File(document.Format(in.Format))
}

// orNow is an instant, to the second; now where nobody said one.
func orNow(at time.Time) time.Time {
	if at.IsZero() {
		at = time.Now()
	}
	return at.UTC().Truncate(time.Second)
}

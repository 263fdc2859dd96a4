package api

import (
	"context"
	"time"

	"perdure/internal/calendar"
	"perdure/internal/errs"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// book gives the calendars of a manifest.
func (s *Server) book(m wire.Manifest) (*calendar.Book, error) {
	if s.d.Plans == nil {
		return nil, errs.New(errs.Unavailable, "this node carries out no plans")
	}
	return s.books.get(m, s.d.Plans.Calendars)
}

func (s *Server) calendar(ctx context.Context, in *struct{ Freshness }) (*body[calendar.View], error) {
	m, err := s.d.Store.Manifest(ctx, in.Read)
	if err != nil {
		return nil, err
	}
	book, err := s.book(m)
	if err != nil {
		return nil, err
	}
	heads, err := s.d.Store.Runs(ctx, in.Read)
	if err != nil {
		return nil, err
	}
	return answer(book.Look(scheduled(heads), time.Now()), nil)
}

// scheduled are the runs that were begun for schedules. One that stands at a failure counts again once a person has let it go on.
func scheduled(heads []wire.Run) []calendar.Run {
	var out []calendar.Run
	for _, h := range heads {
		if len(h.Schedules) > 0 {
			out = append(out, calendar.Run{ID: h.ID, Schedules: h.Schedules, At: time.UnixMilli(h.StartedAt), Counts: h.Phase != run.Over && h.Phase != run.Stopped || h.Outcome == run.Done})
		}
	}
	return out
}

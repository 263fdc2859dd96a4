package api

import (
	"context"
	"strings"
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

// WindowStore is what the API needs of the store about approvals of windows.
type WindowStore interface {
	WindowApprovals(ctx context.Context, r wire.Read) (calendar.Approvals, int64, error)
	// ApproveWindow keeps an approval of a window as it stands in the manifest at the revision.
	ApproveWindow(ctx context.Context, revision int64, window, digest string, by calendar.Approval) (calendar.Approved, error)
	RevokeWindow(ctx context.Context, who, window, reason string) error
}

// approved gives the approvals of windows as they stand in a manifest. Approvals are of whole windows: what a tenant sees of one that is for others
// too has no digest of its own. The revision is that of the approvals.
func (s *Server) approved(ctx context.Context, m wire.Manifest, r wire.Read) (standing calendar.Standing, revision int64, err error) {
	if m.Tenant != "" {
		whole, err := s.scoped.Store.Manifest(ctx, r)
		if err != nil {
			return nil, 0, err
		}
		if whole.Revision != m.Revision {
			return nil, 0, errs.New(errs.Conflict, "another manifest was applied just now: ask again")
		}
		m = whole
	}
	book, err := s.book(m)
	if err != nil {
		return nil, 0, err
	}
	approvals, revision, err := s.d.Store.WindowApprovals(ctx, r)
	return book.Standing(approvals), revision, err
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
	standing, _, err := s.approved(ctx, m, in.Read)
	if err != nil {
		return nil, err
	}
	heads, err := s.d.Store.Runs(ctx, in.Read)
	if err != nil {
		return nil, err
	}
	return answer(book.Look(standing, scheduled(heads), time.Now()), nil)
}

type approveInput struct {
	Window string `path:"window"`
	Body   wire.ApproveWindow
}

// approveWindow takes a commander's word that runs may begin in a window, as it stands and as they saw it (W1). Who starts them is another person (W2).
func (s *Server) approveWindow(ctx context.Context, in *approveInput) (*body[calendar.Approved], error) {
	id := who(ctx)
	if err := s.forReal(ctx, id); err != nil {
		return nil, err
	}
	m, err := s.d.Store.Manifest(ctx, wire.Fresh)
	if err != nil {
		return nil, err
	}
	standing, _, err := s.approved(ctx, m, wire.Fresh)
	if err != nil {
		return nil, err
	}
	now, ok := standing[in.Window]
	switch {
	case !ok:
		return nil, errs.New(errs.NotFound, "the calendars have no window %q; perdure calendar shows which ones there are", in.Window)
	case now.Digest != in.Body.Digest:
		return nil, errs.New(errs.Conflict, "window %s is another one than the one you saw: look at it again (perdure calendar)", in.Window)
	}
	return answer(s.d.Store.ApproveWindow(ctx, m.Revision, in.Window, now.Digest, calendar.Approval{By: id.Person, Reason: strings.TrimSpace(in.Body.Reason), Factor: id.Factor}))
}

type revokeInput struct {
	Window string `path:"window"`
	Body   wire.RevokeWindow
}

// revokeWindow takes the approvals of a window back. It only keeps things from beginning, as a pause does: it does not wait for a second factor.
func (s *Server) revokeWindow(ctx context.Context, in *revokeInput) (*nothing, error) {
	return nil, s.d.Store.RevokeWindow(ctx, who(ctx).Name, in.Window, strings.TrimSpace(in.Body.Reason))
}

// windowsFor gives the windows that wait for a person's approval: those that open, for commanders of the platform. Calendars that cannot be read keep
// nobody from what else waits.
func (s *Server) windowsFor(ctx context.Context, id identity) []wire.InboxItem {
	if !id.has(Commander) || id.Tenant != "" || s.d.Plans == nil {
		return nil
	}
	m, err := s.d.Store.Manifest(ctx, wire.Fresh)
	if err != nil || m.Text == "" {
		return nil
	}
	book, err := s.book(m)
	if err != nil {
		return nil
	}
	standing, _, err := s.approved(ctx, m, wire.Fresh)
	if err != nil {
		return nil
	}
	var items []wire.InboxItem
	view := book.Look(standing, nil, time.Now())
	for _, w := range view.Windows {
		if len(w.Approvals) == 0 {
			items = append(items, wire.InboxItem{Window: w.Name, Ask: run.Ask{Why: wire.WaitsForApproval, For: string(wire.Commander), Text: w.Title, Since: time.UnixMilli(m.At)}})
		}
	}
	return items
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

// Package scheduler starts the runs that the platform itself has to start: those of schedules whose mode a schedule triggers.
//
// Every node has a scheduler, and the one at the store's leader works. That only saves work: the run's ID is made of plan, schedule and time, and
// the store creates a run of an ID once, so there is one run for each time, however many nodes take themselves for the leader (C2).
package scheduler

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"perdure/internal/calendar"
	"perdure/internal/errs"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// Store is what a scheduler needs of the control store.
type Store interface {
	Manifest(ctx context.Context, r wire.Read) (wire.Manifest, error)
	Run(ctx context.Context, id string, r wire.Read) (wire.Run, error)
	CreateRun(ctx context.Context, start wire.RunStart) (wire.Run, error)
}

// Plans reads the plans and the calendars of a manifest.
type Plans interface {
	Program(manifest, name string, mode plan.Mode) (*plan.Program, error)
	Calendars(manifest string) (*calendar.Book, error)
}

// Options configure a scheduler.
type Options struct {
	Node string
	// IsLeader says whether this node works; nil: always.
	IsLeader func() bool
	MayAct   func() error
	// Spare refuses runs that are not for real where the store has no room for them; nil: there always is.
	Spare func(ctx context.Context) error
	// Every is the time between two looks; default 2 s.
	Every time.Duration
	// Now gives the time of day; default time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// Times of a scheduler.
const (
	lookEvery  = 2 * time.Second
	againAfter = 30 * time.Second // after a start that failed
)

// Scheduler is the scheduler of one node.
type Scheduler struct {
	store Store
	plans Plans
	o     Options
	log   *slog.Logger

	revision int64 // of the manifest that the book was made of
	book     *calendar.Book
	// begun are the times that runs are known to exist for, later when a start that failed is tried anew; both by schedule.
	begun map[string]time.Time
	later map[string]time.Time
}

// New makes a scheduler.
func New(store Store, plans Plans, o Options) *Scheduler {
	if o.IsLeader == nil {
		o.IsLeader = func() bool { return true }
	}
	if o.Every == 0 {
		o.Every = lookEvery
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Scheduler{store: store, plans: plans, o: o, log: o.Logger.With("node", o.Node), begun: map[string]time.Time{}, later: map[string]time.Time{}}
}

// Run works until ctx ends.
func (s *Scheduler) Run(ctx context.Context) error {
	tick := time.NewTicker(s.o.Every)
	defer tick.Stop()
	for {
		if s.o.IsLeader() && s.o.MayAct() == nil {
			if err := s.look(ctx); err != nil && ctx.Err() == nil {
				s.log.Debug("cannot look at the calendars", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// look begins what is due.
func (s *Scheduler) look(ctx context.Context) error {
	m, err := s.store.Manifest(ctx, wire.Local)
	if err != nil {
		return err
	}
	if s.book == nil || s.revision != m.Revision {
		book, err := s.plans.Calendars(m.Text)
		if err != nil {
			s.log.Warn("the calendars cannot be read: no run of a schedule is started", "err", err)
			book, err = calendar.Open(nil)
		}
		if err != nil {
			return err
		}
		s.book, s.revision = book, m.Revision
		clear(s.begun)
		clear(s.later)
	}
	now := s.o.Now()
	for _, due := range s.book.Due(now) {
		if s.begun[due.Schedule].Equal(due.Due) || now.Before(s.later[due.Schedule]) {
			continue
		}
		if err := s.begin(ctx, m, due, now); err != nil {
			s.later[due.Schedule] = now.Add(againAfter)
			if ctx.Err() == nil {
				s.log.Warn("cannot start the run of a schedule; it is tried again while it is due", "schedule", due.Schedule, "run", due.RunID(), "err", err)
			}
			continue
		}
		s.begun[due.Schedule] = due.Due
		delete(s.later, due.Schedule)
	}
	return nil
}

// begin starts the run of a time, unless it is there.
func (s *Scheduler) begin(ctx context.Context, m wire.Manifest, due calendar.Begin, now time.Time) error {
	id := due.RunID()
	if _, err := s.store.Run(ctx, id, wire.Fresh); errs.KindOf(err) != errs.NotFound {
		return err
	}
	if s.o.Spare != nil && !due.Mode.Real() {
		if err := s.o.Spare(ctx); err != nil {
			return err
		}
	}
	program, err := s.plans.Program(m.Text, due.Plan, due.Mode)
	if err != nil {
		return err
	}
	params, err := program.Bind(due.Parameters)
	if err != nil {
		return err
	}
	ruling := s.book.Rule(calendar.AskOf(program, params), nil, now) // what a schedule triggers needs no window
	if ruling.Refusal != "" {
		return errs.New(errs.Refused, "cannot start plan %s in mode %s: %s", program.Plan, program.Mode, ruling.Refusal)
	}
	first := run.Entry{
		Seq: 1, At: now.UTC().Truncate(time.Microsecond), By: wire.ByCalendar, What: run.Started, Params: params, Notes: ruling.Notes,
		Text: fmt.Sprintf("schedule %s, due %s", due.Schedule, due.Due.Format("2006-01-02 15:04 MST")),
	}
	head, err := wire.NewRun(id, program, first)
	if err != nil {
		return err
	}
	head.Schedules = s.book.Counts(due.Plan, due.Mode, params, now)
	_, err = s.store.CreateRun(ctx, wire.RunStart{Head: head, Program: program, Journal: []run.Entry{first}})
	switch {
	case errs.KindOf(err) == errs.Conflict: // another node was first
		return nil
	case err != nil: // where it is unknown whether it began, the next try finds it
		return err
	}
	s.log.Info("run of a schedule started", "schedule", due.Schedule, "run", id, "due", due.Due)
	return nil
}

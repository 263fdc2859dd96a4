package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"perdure/internal/calendar"
	"perdure/internal/errs"
	"perdure/internal/etcdnode/etcdtest"
	"perdure/internal/manifest"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/scheduler"
	"perdure/internal/store"
	"perdure/internal/wire"
)

// plans are read from the manifest as a node reads them.
type plans struct{}

func (plans) Program(text, name string, mode plan.Mode) (*plan.Program, error) {
	list, err := manifest.PlanOf(name, manifest.File{Name: "applied manifest", Text: []byte(text)})
	if err != nil {
		return nil, err
	}
	return plan.Compile(list, plan.BuiltIn(), name, mode)
}

func (plans) Calendars(text string) (*calendar.Book, error) {
	return manifest.Calendars(manifest.File{Name: "applied manifest", Text: []byte(text)})
}

// text is a manifest of a plan for inspections and drills, and of a calendar in UTC with what more says.
func text(more string) string {
	return `apiVersion: perdure/v1
kind: Plan
name: look
modes: [inspection, drill]
parameters: [{name: unit, default: u1}, {name: n, type: number}]
steps: [{id: a, wait: {for: 20m}}]
---
apiVersion: perdure/v1
kind: Calendar
name: ops
timeZone: UTC
` + more
}

const hourly = `schedules: [{name: hourly, plan: look, mode: inspection, parameters: {n: 3}, cron: "0 * * * *", within: 10m, since: "2000-01-01 00:00"}]`

// memory is a store that creates runs of an ID once.
type memory struct {
	mu    sync.Mutex
	text  string
	rev   int64
	runs  map[string]wire.Run
	first map[string]run.Entry
	fails error
	tried int
}

func newMemory(more string) *memory {
	return &memory{text: text(more), rev: 1, runs: map[string]wire.Run{}, first: map[string]run.Entry{}}
}

func (m *memory) Manifest(context.Context, wire.Read) (wire.Manifest, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return wire.Manifest{Text: m.text, Revision: m.rev}, nil
}

func (m *memory) Run(_ context.Context, id string, _ wire.Read) (wire.Run, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if head, ok := m.runs[id]; ok {
		return head, nil
	}
	return wire.Run{}, errs.New(errs.NotFound, "there is no run %q", id)
}

func (m *memory) CreateRun(_ context.Context, start wire.RunStart) (wire.Run, error) {
	head, first := start.Head, start.Journal[0]
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tried++
	if m.fails != nil {
		return head, m.fails
	}
	if _, ok := m.runs[head.ID]; ok {
		return head, errs.New(errs.Conflict, "there is a run %s already", head.ID)
	}
	m.runs[head.ID], m.first[head.ID] = head, first
	return head, nil
}

func (m *memory) ids() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for id := range m.runs {
		out = append(out, id)
	}
	return fmt.Sprint(len(out), out)
}

func (m *memory) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.runs)
}

// working runs a scheduler in a bubble of virtual time, which begins on 2000-01-01 at midnight UTC.
func working(t *testing.T, m *memory, tune func(*scheduler.Options), script func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	o := scheduler.Options{Node: "a", MayAct: func() error { return nil }, Logger: slog.New(slog.DiscardHandler)}
	if tune != nil {
		tune(&o)
	}
	over := make(chan error, 1)
	go func() { over <- scheduler.New(m, plans{}, o).Run(ctx) }()
	script()
	cancel()
	if err := <-over; err != nil {
		t.Errorf("the scheduler ended with %v", err)
	}
}

func passes(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestRunOfAScheduleIsStartedAtItsTimeInTheNameOfTheCalendar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(hourly)
		working(t, m, nil, func() {
			passes(time.Second)
			if got := m.ids(); got != "1 [look-hourly-20000101t0000z]" {
				t.Error(got)
			}
			passes(time.Hour - 2*time.Second)
			if m.count() != 1 {
				t.Error(m.ids())
			}
			passes(3 * time.Second)
			id := "look-hourly-20000101t0100z"
			head, first := m.runs[id], m.first[id]
			if m.count() != 2 || head.StartedBy != wire.ByCalendar || first.By != wire.ByCalendar || head.Mode != plan.Inspection ||
				first.Params["n"] != 3.0 || first.Params["unit"] != "u1" || len(head.Schedules) != 1 || head.Schedules[0] != "hourly" || first.Text != "schedule hourly, due 2000-01-01 01:00 UTC" {
				t.Errorf("%s: %+v, %+v", m.ids(), head, first)
			}
		})
		if m.tried != 2 {
			t.Errorf("%d tries", m.tried)
		}
	})
}

func TestRunThatIsNotForRealWaitsForRoomInTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(hourly)
		var spare atomic.Bool
		full := func(o *scheduler.Options) {
			o.Spare = func(context.Context) error {
				if spare.Load() {
					return nil
				}
				return errs.New(errs.Refused, "the store is full")
			}
		}
		working(t, m, full, func() {
			passes(time.Minute)
			if m.tried != 0 {
				t.Errorf("it was started: %s", m.ids())
			}
			spare.Store(true)
			passes(2 * time.Minute)
			if got := m.ids(); got != "1 [look-hourly-20000101t0000z]" {
				t.Error(got)
			}
		})
	})
}

func TestWhatIsLongAgoIsNotMadeUpFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		passes(10*time.Minute + time.Second)
		m := newMemory(hourly)
		working(t, m, nil, func() {
			passes(40 * time.Minute)
			if m.count() != 0 {
				t.Error(m.ids())
			}
		})
	})
}

func TestWhatNeedsPeopleIsNeverStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(strings.ReplaceAll(hourly, "inspection", "drill"))
		working(t, m, nil, func() {
			passes(3 * time.Hour)
			if m.count() != 0 {
				t.Error(m.ids())
			}
		})
	})
}

func TestNothingIsStartedInAFreezeNorOfATimeInOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(hourly + "\nfreezes: [{name: f, reason: r, from: \"2000-01-01 00:30\", until: \"2000-01-01 01:05\"}]")
		working(t, m, nil, func() {
			passes(90 * time.Minute)
			if got := m.ids(); got != "1 [look-hourly-20000101t0000z]" {
				t.Error(got)
			}
			passes(time.Hour)
			if m.count() != 2 {
				t.Error(m.ids())
			}
		})
	})
}

func TestOnlyWhoLeadsAndMayActStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(hourly)
		var leads, barred atomic.Bool
		barred.Store(true)
		working(t, m, func(o *scheduler.Options) {
			o.IsLeader = leads.Load
			o.MayAct = func() error {
				if barred.Load() {
					return errors.New("cold")
				}
				return nil
			}
		}, func() {
			passes(time.Minute)
			leads.Store(true)
			passes(time.Minute)
			if m.count() != 0 {
				t.Error(m.ids())
			}
			barred.Store(false)
			passes(3 * time.Second)
			if m.count() != 1 {
				t.Error(m.ids())
			}
		})
	})
}

func TestStartThatFailsIsTriedAgainWhileItIsDueAndNotEveryMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(hourly)
		m.fails = errs.New(errs.Unavailable, "no quorum")
		working(t, m, nil, func() {
			passes(5 * time.Minute)
			m.mu.Lock()
			if m.tried < 5 || m.tried > 11 {
				t.Errorf("%d tries", m.tried)
			}
			m.fails = nil
			m.mu.Unlock()
			passes(time.Minute)
			if m.count() != 1 {
				t.Error(m.ids())
			}
		})
	})
}

func TestNewManifestCountsAtOnceAndOneThatCannotBeReadStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory("windows: [{name: w, lasts: 1h}]\n" + hourly)
		working(t, m, nil, func() {
			passes(time.Minute)
			if m.count() != 0 {
				t.Error(m.ids())
			}
			m.mu.Lock()
			m.text, m.rev = text(hourly), 2
			m.mu.Unlock()
			passes(3 * time.Second)
			if m.count() != 1 {
				t.Error(m.ids())
			}
		})
	})
}

// TestEachTimeHasOneRunThoughTwoNodesTakeThemselvesForTheLeader: both look at one store at the same time, as while the leader changes (C2).
func TestEachTimeHasOneRunThoughTwoNodesTakeThemselvesForTheLeader(t *testing.T) {
	node := etcdtest.Start(t, etcdtest.Options(t, 1)...)[0]
	open := func(name string) *store.Store {
		return store.New(node.Client(), store.Options{Node: name, Timeout: etcdtest.Patience, Logger: etcdtest.Logger(t)})
	}
	a := open("a")
	if _, err := a.EnsureIncarnation(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.ApplyManifest(t.Context(), "test", text(hourly), 0, nil, wire.ManifestPlan{}); err != nil {
		t.Fatal(err)
	}
	var now atomic.Int64 // minutes since the hour of the first time
	began := time.Date(2027, 1, 1, 8, 0, 0, 0, time.UTC)
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		s := scheduler.New(open(name), plans{}, scheduler.Options{
			Node: name, MayAct: func() error { return nil }, Every: time.Millisecond, Logger: etcdtest.Logger(t),
			Now: func() time.Time { return began.Add(time.Duration(now.Load()) * time.Minute) },
		})
		work.Go(func() {
			if err := s.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	const hours = 20
	for hour := range hours {
		now.Store(int64(hour * 60))
		etcdtest.Until(t, "the run of the hour is there", func() bool {
			runs, err := a.Runs(ctx, wire.Fresh)
			if len(runs) > hour+1 {
				t.Fatalf("%d runs after %d hours", len(runs), hour+1)
			}
			return err == nil && len(runs) == hour+1
		})
	}
	cancel()
	work.Wait()
	events, err := a.Events(t.Context(), 0, store.EventsLimit, false, wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	started := map[string]int{}
	for _, e := range events {
		if e.What == "run.started" {
			started[e.Subject]++
			if e.Who != wire.ByCalendar {
				t.Errorf("%s was started by %s", e.Subject, e.Who)
			}
		}
	}
	if len(started) != hours {
		t.Errorf("%d runs were started: %v", len(started), started)
	}
	for id, n := range started {
		if n != 1 {
			t.Errorf("%s was started %d times", id, n)
		}
	}
}

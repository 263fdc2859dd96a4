package registrar_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perdure/internal/errs"
	"perdure/internal/registrar"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// memory is a store that does what its fields say.
type memory struct {
	mu      sync.Mutex
	away    bool
	refuse  bool
	calls   []string
	members []string // that have to read what is raised
	raised  []string
	leads   bool
	may     error
}

func (m *memory) say(call string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, call)
	switch {
	case m.away:
		return errs.New(errs.Unavailable, "no quorum")
	case m.refuse:
		_, err := run.Decode([]byte(`{"format":99}`))
		return err
	}
	return nil
}

func (m *memory) Announce(context.Context, wire.NodeFormats) error { return m.say("announce") }

func (m *memory) LearnFormat(context.Context, wire.NodeFormats, wire.Read) error {
	return m.say("learn")
}

func (m *memory) RaiseFormat(_ context.Context, _ wire.NodeFormats, members []string) (bool, error) {
	m.set(func(m *memory) { m.raised = members })
	return true, m.say("raise")
}

func (m *memory) set(change func(*memory)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(m)
}

func get[T any](m *memory, of func() T) T {
	m.mu.Lock()
	defer m.mu.Unlock()
	return of()
}

func (m *memory) said(call string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Contains(m.calls, call)
}

// TestNodeActsOnceItHasSaidWhatItReads, raises nothing while a member has no name, it is not the leader or may not act, and ends where the store
// has a format that it does not read.
func TestNodeActsOnceItHasSaidWhatItReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{away: true}
		x := registrar.New(m, registrar.Options{
			Self:     wire.NodeFormats{Node: "a"},
			Members:  func(context.Context) []string { return get(m, func() []string { return m.members }) },
			IsLeader: func() bool { return get(m, func() bool { return m.leads }) },
			MayAct:   func() error { return get(m, func() error { return m.may }) }, Logger: slog.New(slog.DiscardHandler),
		})
		ended := make(chan error, 1)
		go func() { ended <- x.Run(t.Context()) }()
		pass := func(d time.Duration) { <-time.After(d); synctest.Wait() }
		pass(time.Minute)
		if errs.KindOf(x.MayAct()) != errs.Unavailable || m.said("learn") {
			t.Fatalf("it may act: %v, %q", x.MayAct(), m.calls)
		}
		m.set(func(m *memory) { m.away = false })
		pass(time.Second)
		if err := x.MayAct(); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute) // it does not lead
		m.set(func(m *memory) { m.leads, m.members = true, []string{"a", ""} })
		pass(time.Minute)
		m.set(func(m *memory) { m.members, m.may = []string{"a", "b"}, errs.New(errs.Refused, "cold") })
		pass(time.Minute)
		if m.said("raise") {
			t.Fatalf("raised too early: %q", m.raised)
		}
		m.set(func(m *memory) { m.may = nil })
		pass(3 * time.Second)
		if !m.said("raise") || !slices.Equal(m.raised, []string{"a", "b"}) {
			t.Fatalf("not raised: %q", m.raised)
		}
		m.set(func(m *memory) { m.refuse = true })
		if err := <-ended; !run.Newer(err) {
			t.Errorf("it ended with %v", err)
		}
	})
}

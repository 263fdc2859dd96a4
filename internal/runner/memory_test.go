package runner_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/plan"
	"perdure/internal/resource"
	"perdure/internal/run"
	"perdure/internal/runner"
	"perdure/internal/wire"
)

var present = estate.Incarnation{Counter: 1, ID: "one"}

// memory is a store that works, and does what fault says.
type memory struct {
	mu       sync.Mutex
	changed  chan struct{}
	revision int64
	own      estate.Incarnation
	heads    map[string]wire.Run
	programs map[string]*plan.Program
	journals map[string][]run.Entry
	locks    map[string]string
	claims   map[string]*claim
	claimed  int
	// claimedOf is how often each run was taken.
	claimedOf map[string]int
	away      int // so many watches fail
	// lean keeps no journal but the first entry: for what is about memory.
	lean bool
	// newer are runs whose journals are of a newer version.
	newer map[string]bool
	// fault is asked before an append and after it was written.
	fault func(written bool, entries []run.Entry) error
}

func newMemory() *memory {
	return &memory{
		changed: make(chan struct{}), own: present, heads: map[string]wire.Run{}, programs: map[string]*plan.Program{}, journals: map[string][]run.Entry{},
		claimedOf: map[string]int{}, newer: map[string]bool{}, locks: map[string]string{}, claims: map[string]*claim{}, fault: func(bool, []run.Entry) error { return nil },
	}
}

type claim struct {
	m    *memory
	id   string
	term int64
	lost chan struct{}
}

func (m *memory) tell() {
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *memory) start(t testing.TB, id string, p *plan.Program) {
	t.Helper()
	params, err := p.Bind(nil)
	if err != nil {
		t.Fatal(err)
	}
	first := run.Entry{Seq: 1, By: "ann", What: run.Started, At: time.Now(), Params: params}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revision++
	m.programs[id], m.journals[id] = p, []run.Entry{first}
	m.heads[id] = wire.Run{ID: id, Plan: p.Plan, Mode: p.Mode, StartedBy: "ann", Phase: run.Running, Seq: 1, Incarnation: present, Revision: m.revision}
	m.tell()
}

func (m *memory) say(t testing.TB, id string, e run.Entry) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.told(id, e); err != nil {
		t.Fatal(err)
	}
}

// told is say, with the store locked.
func (m *memory) told(id string, e run.Entry) error {
	r, err := run.Replay(id, m.programs[id], m.journals[id])
	if err != nil {
		return err
	}
	held := r.Held()
	e.Seq, e.At = r.Seq+1, time.Now()
	if err := r.Advance(e); err != nil {
		return err
	}
	after := r.Held()
	m.write(m.heads[id].At(r), []run.Entry{e}, nil, slices.DeleteFunc(held, func(l string) bool { return slices.Contains(after, l) }))
	return nil
}

func (m *memory) write(head wire.Run, entries []run.Entry, take, release []string) wire.Run {
	m.revision++
	head.Seq, head.Revision = entries[len(entries)-1].Seq, m.revision
	m.heads[head.ID] = head
	if !m.lean {
		m.journals[head.ID] = append(m.journals[head.ID], entries...)
	}
	for _, l := range take {
		m.locks[l] = head.ID
	}
	for _, l := range release {
		delete(m.locks, l)
	}
	m.tell()
	return head
}

func (m *memory) read(id string) (wire.Run, []run.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.heads[id], slices.Clone(m.journals[id])
}

func (m *memory) WatchRuns(ctx context.Context, on func(wire.Run)) error {
	m.mu.Lock()
	m.away--
	away := m.away >= 0
	m.mu.Unlock()
	if away {
		return errs.New(errs.Unavailable, "no quorum")
	}
	seen := map[string]int64{}
	for {
		m.mu.Lock()
		heads, changed := slices.Collect(maps.Values(m.heads)), m.changed
		m.mu.Unlock()
		for _, h := range heads {
			if h.Revision > seen[h.ID] {
				seen[h.ID] = h.Revision
				on(h)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (m *memory) Incarnation(context.Context) (estate.Incarnation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.own, nil
}

func (m *memory) Run(_ context.Context, id string) (wire.Run, error) {
	head, _ := m.read(id)
	return head, nil
}

func (m *memory) Program(_ context.Context, id string) (*plan.Program, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.programs[id], nil
}

func (m *memory) Journal(_ context.Context, id string, after int) ([]run.Entry, error) {
	m.mu.Lock()
	newer := m.newer[id]
	m.mu.Unlock()
	if newer {
		_, err := run.Decode([]byte(`{"format":99}`))
		return nil, err
	}
	_, journal := m.read(id)
	return slices.DeleteFunc(journal, func(e run.Entry) bool { return e.Seq <= after }), nil
}

type busy struct{ locks []string }

func (b busy) Error() string { return "busy" }

func (m *memory) BusyLocks(err error) ([]string, bool) {
	var b busy
	return b.locks, errors.As(err, &b)
}

func (m *memory) Claim(_ context.Context, id string) (runner.Claim, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.claims[id] != nil {
		return nil, nil //nolint:nilnil // the contract: another node has it
	}
	m.revision++
	m.claimed++
	m.claimedOf[id]++
	c := &claim{m: m, id: id, term: m.revision, lost: make(chan struct{})}
	m.claims[id] = c
	return c, nil
}

// lose ends a claim, as its lease would.
func (m *memory) lose(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lost(id)
}

// lost is lose, with the store locked.
func (m *memory) lost(id string) {
	close(m.claims[id].lost)
	m.claims[id] = nil
}

func (c *claim) Term() int64           { return c.term }
func (c *claim) Lost() <-chan struct{} { return c.lost }

func (c *claim) Release(context.Context) {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if c.m.claims[c.id] == c {
		c.m.claims[c.id] = nil
	}
}

func (c *claim) Append(_ context.Context, head wire.Run, entries []run.Entry, take, release []string) (wire.Run, error) {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if err := c.m.fault(false, entries); err != nil {
		return head, err
	}
	if c.m.claims[c.id] != c || c.m.heads[head.ID].Revision != head.Revision {
		return head, errs.New(errs.Conflict, "it went on")
	}
	for _, l := range take {
		if by, held := c.m.locks[l]; held && by != head.ID {
			return head, busy{[]string{l}}
		}
	}
	data, err := json.Marshal(entries)
	if err != nil {
		return head, err
	}
	var kept []run.Entry
	if err := json.Unmarshal(data, &kept); err != nil {
		return head, err
	}
	head = c.m.write(head, kept, take, release)
	return head, c.m.fault(true, entries)
}

// world is a driver whose answers a test gives.
type world struct {
	mu      sync.Mutex
	things  map[string]string
	effects []string
	looks   atomic.Int64
	ensure  func(ctx context.Context, c resource.Call) error // before the effect
	after   func(ctx context.Context, c resource.Call) error
	observe func(c resource.Call) error
	facts   func() error
}

func newWorld() *world { return &world{things: map[string]string{}} }

func (w *world) Actions() plan.Catalogue { return nil }

func (w *world) Ensure(ctx context.Context, c resource.Call) (map[string]any, error) {
	if w.ensure != nil {
		if err := w.ensure(ctx, c); err != nil {
			return nil, err
		}
	}
	to, _ := c.With["to"].(string)
	w.mu.Lock()
	if c.Action == "set" && w.things[c.Target] != to {
		w.things[c.Target] = to
		w.effects = append(w.effects, c.Target)
	}
	is := w.things[c.Target]
	w.mu.Unlock()
	if w.after != nil {
		if err := w.after(ctx, c); err != nil {
			return nil, err
		}
	}
	return map[string]any{"is": is}, nil
}

func (w *world) Observe(_ context.Context, c resource.Call) (map[string]any, bool, error) {
	if w.observe != nil {
		if err := w.observe(c); err != nil {
			return nil, false, err
		}
	}
	to, _ := c.With["to"].(string)
	w.mu.Lock()
	defer w.mu.Unlock()
	return map[string]any{"is": to}, w.things[c.Target] == to, nil
}

func (w *world) Facts(_ context.Context, target string) (map[string]any, error) {
	w.looks.Add(1)
	if w.facts != nil {
		if err := w.facts(); err != nil {
			return nil, err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return map[string]any{"is": w.things[target]}, nil
}

func (w *world) done() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.effects)
}

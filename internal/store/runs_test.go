package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/etcdnode"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/run/runtest"
	"perdure/internal/store"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

const runSteps = `apiVersion: perdure/v1
kind: Plan
name: p
modes: [takeover]
steps:
- {id: one, locks: [disk], act: {driver: world, action: set, target: x, with: {to: y}}}
- {id: ask, approval: {of: [ops]}}
`

// begun is a store of which the first incarnation has begun.
func begunStore(t *testing.T) (*store.Store, *etcdnode.Node) {
	t.Helper()
	s, n := one(t)
	if _, err := s.EnsureIncarnation(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, n
}

func startRun(t *testing.T, s *store.Store, id string, p *plan.Program) wire.Run {
	t.Helper()
	first := run.Entry{Seq: 1, By: "ann", What: run.Started, At: time.Unix(1, 0).UTC()}
	head, err := s.CreateRun(t.Context(), wire.RunStart{Head: wire.Run{ID: id, Plan: p.Plan, Mode: p.Mode, StartedBy: "ann", Phase: run.Running}, Program: p, Journal: []run.Entry{first}})
	if err != nil {
		t.Fatal(err)
	}
	return head
}

func claimRun(t *testing.T, s *store.Store, id string) (*store.Held, wire.Run) {
	t.Helper()
	c, err := s.Runners().Claim(t.Context(), id)
	if err != nil || c == nil {
		t.Fatalf("claim %v, %v", c, err)
	}
	t.Cleanup(func() { c.Release(context.WithoutCancel(t.Context())) })
	head, err := s.Run(t.Context(), id, wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	return c, head
}

func took(head wire.Run, term int64) []run.Entry {
	return []run.Entry{{Seq: head.Seq + 1, By: "node:a", What: run.Took, Term: term}}
}

// TestProgramOfARunIsThatOfWhoCreatedIt (R5), however large, and whoever else tried.
func TestProgramOfARunIsThatOfWhoCreatedIt(t *testing.T) {
	s, n := begunStore(t)
	large := runtest.Program(t, runSteps, plan.Takeover)
	random := rand.NewChaCha8([32]byte{1})
	var title strings.Builder // that cannot be packed
	for title.Len() < 3<<20 {
		fmt.Fprintf(&title, "%x", random.Uint64())
	}
	large.Title = title.String()
	// Somebody tried before, and was lost half-way; and somebody tries at the same time.
	for _, left := range []string{"programs/r1/0003", "programs/r1/aaaa/0000", "programs/r1/ffffffffffffffffff/0001"} {
		if _, err := n.Client().Put(t.Context(), store.Root+left, "orphan"); err != nil {
			t.Fatal(err)
		}
	}
	small := runtest.Program(t, runSteps, plan.Takeover)
	small.Title = "small"
	var work sync.WaitGroup
	results := make([]error, 2)
	for i, p := range []*plan.Program{large, small} {
		work.Go(func() {
			_, results[i] = s.CreateRun(t.Context(), wire.RunStart{Head: wire.Run{ID: "r1", Plan: p.Title[:5]}, Program: p, Journal: []run.Entry{{Seq: 1, What: run.Started, By: "ann"}}})
		})
	}
	work.Wait()
	won := slices.Index(results, nil)
	if won < 0 {
		t.Fatal(results)
	}
	kind(t, results[1-won], errs.Conflict)
	want := []*plan.Program{large, small}[won]
	got, err := s.Program(t.Context(), "r1")
	if err != nil || got.Title != want.Title {
		t.Fatalf("the program of the other one: %v", err)
	}
	startRun(t, s, "r2", large)
	if got, err := s.Program(t.Context(), "r2"); err != nil || got.Title != large.Title || len(got.Nodes) != 2 {
		t.Fatal(err)
	}
	parts, err := n.Client().Get(t.Context(), store.Root+"programs/r2/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil || len(parts.Kvs) < 3 {
		t.Fatalf("%d parts, %v", len(parts.Kvs), err)
	}
	_, err = s.CreateRun(t.Context(), wire.RunStart{Head: wire.Run{ID: "r2"}, Program: small, Journal: []run.Entry{{Seq: 1, What: run.Started, By: "bob"}}})
	kind(t, err, errs.Conflict)
	if got, err := s.Program(t.Context(), "r2"); err != nil || got.Title != large.Title {
		t.Fatalf("a refused creation changed the program: %v", err)
	}
	if left, err := n.Client().Get(t.Context(), store.Root+"programs/r1/0003"); err != nil || len(left.Kvs) != 0 {
		t.Errorf("what a lost creation left is still there: %v", err)
	}
}

func TestOnlyOneOfTwoAppendersWins(t *testing.T) {
	s, _ := begunStore(t)
	startRun(t, s, "r1", runtest.Program(t, runSteps, plan.Takeover))
	c, head := claimRun(t, s, "r1")
	if second, err := s.Runners().Claim(t.Context(), "r1"); err != nil || second != nil {
		t.Fatalf("claimed twice: %v, %v", second, err)
	}
	results := make([]error, 2)
	var work sync.WaitGroup
	for i := range results {
		work.Go(func() { _, results[i] = c.Append(t.Context(), head, took(head, c.Term()), nil, nil) })
	}
	work.Wait()
	won := slices.Index(results, nil)
	if won < 0 {
		t.Fatal(results)
	}
	kind(t, results[1-won], errs.Conflict)
	journal, err := s.Journal(t.Context(), "r1", 0)
	if err != nil || len(journal) != 2 {
		t.Fatalf("%+v, %v", journal, err)
	}
	head, err = s.Run(t.Context(), "r1", wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	gap := took(head, c.Term())
	gap[0].Seq++
	_, err = c.Append(t.Context(), head, gap, nil, nil)
	kind(t, err, errs.Internal)
}

func TestLostClaimAppendsNothing(t *testing.T) {
	s, n := begunStore(t)
	startRun(t, s, "r1", runtest.Program(t, runSteps, plan.Takeover))
	c, head := claimRun(t, s, "r1")
	key, err := n.Client().Get(t.Context(), store.Root+"runners/r1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Client().Revoke(t.Context(), clientv3.LeaseID(key.Kvs[0].Lease)); err != nil {
		t.Fatal(err)
	}
	_, err = c.Append(t.Context(), head, took(head, c.Term()), nil, nil)
	kind(t, err, errs.Conflict)
	next, head := claimRun(t, s, "r1")
	if next.Term() <= c.Term() {
		t.Errorf("term %d after %d", next.Term(), c.Term())
	}
	_, err = c.Append(t.Context(), head, took(head, c.Term()), nil, nil)
	kind(t, err, errs.Conflict)
	if _, err := next.Append(t.Context(), head, took(head, next.Term()), nil, nil); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.Lost():
	case <-time.After(patient):
		t.Error("whoever lost the claim does not hear of it")
	}
}

func TestLocksAreTakenAndGivenBackWithTheJournal(t *testing.T) {
	s, _ := begunStore(t)
	p := runtest.Program(t, runSteps, plan.Takeover)
	startRun(t, s, "r1", p)
	startRun(t, s, "r2", p)
	first, head1 := claimRun(t, s, "r1")
	second, head2 := claimRun(t, s, "r2")
	head1, err := first.Append(t.Context(), head1, took(head1, first.Term()), []string{"disk/1", "net"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = second.Append(t.Context(), head2, took(head2, second.Term()), []string{"free", "net"}, nil)
	var busy store.Busy
	if !errors.As(err, &busy) || !slices.Equal(busy.Locks, []string{"net"}) {
		t.Fatalf("a held lock: %v", err)
	}
	if locks, is := s.Runners().BusyLocks(err); !is || len(locks) != 1 {
		t.Errorf("%v, %t", locks, is)
	}
	if journal, err := s.Journal(t.Context(), "r2", 0); err != nil || len(journal) != 1 {
		t.Fatalf("what was refused stands in the journal: %v", err)
	}
	if _, err = first.Append(t.Context(), head1, []run.Entry{{Seq: head1.Seq + 1, What: run.Paused, By: "x"}}, nil, []string{"net"}); err != nil {
		t.Fatal(err)
	}
	if _, err = second.Append(t.Context(), head2, took(head2, second.Term()), []string{"free", "net"}, nil); err != nil {
		t.Fatal(err)
	}
}

func TestWordsAreJudgedOnTheNewestJournal(t *testing.T) {
	s, _ := begunStore(t)
	startRun(t, s, "r1", runtest.Program(t, strings.Replace(runSteps, "- {id: one", "- {id: ask2, after: [], approval: {of: [ops], need: 8}}\n- {id: one", 1), plan.Takeover))
	c, head := claimRun(t, s, "r1")
	opened := append(took(head, c.Term()), run.Entry{Seq: head.Seq + 2, What: run.Opened, Node: "ask2", By: "node:a"})
	if _, err := c.Append(t.Context(), head, opened, nil, nil); err != nil {
		t.Fatal(err)
	}
	_, err := s.Say(t.Context(), "r1", run.Entry{What: run.Approved, Node: "ask2", By: "ann", For: "ops"})
	var e *errs.Error
	if !errors.As(err, &e) || e.Invariant != "R6" {
		t.Fatalf("who started approves: %v", err)
	}
	var work sync.WaitGroup
	for i := range 6 {
		work.Go(func() {
			if _, err := s.Say(t.Context(), "r1", run.Entry{What: run.Approved, Node: "ask2", By: fmt.Sprint("p", i), For: "ops"}); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	journal, err := s.Journal(t.Context(), "r1", 0)
	if err != nil || len(journal) != 9 {
		t.Fatalf("%d entries, %v", len(journal), err)
	}
	for after := range 12 {
		page, err := s.Journal(t.Context(), "r1", after)
		if err != nil || len(page) != max(0, 9-after) || len(page) > 0 && page[0].Seq != after+1 {
			t.Errorf("after %d: %d entries, %v", after, len(page), err)
		}
	}
	_, err = s.Say(t.Context(), "none", run.Entry{What: run.Paused, By: "ann"})
	kind(t, err, errs.NotFound)
}

// TestJournalIsReadFromWithinABatch of the largest size.
func TestJournalIsReadFromWithinABatch(t *testing.T) {
	s, _ := begunStore(t)
	startRun(t, s, "r1", runtest.Program(t, runSteps, plan.Takeover))
	c, head := claimRun(t, s, "r1")
	for range 3 {
		entries := make([]run.Entry, store.MostEntries)
		for i := range entries {
			entries[i] = run.Entry{Seq: head.Seq + 1 + i, What: run.Resumed, By: "x"}
		}
		var err error
		if head, err = c.Append(t.Context(), head, entries, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.Append(t.Context(), head, make([]run.Entry, store.MostEntries+1), nil, nil)
	kind(t, err, errs.Internal)
	total := 1 + 3*store.MostEntries
	for _, after := range []int{0, 1, 2, 255, 256, 257, 258, 511, 512, 513, total - 1, total} {
		page, err := s.Journal(t.Context(), "r1", after)
		if err != nil || len(page) != total-after || len(page) > 0 && page[0].Seq != after+1 {
			t.Errorf("after %d: %d entries, %v", after, len(page), err)
		}
	}
}

// TestRunOfAnEarlierIncarnationGoesOnWithAPersonsWord (I10); a claim does not outlive the incarnation either.
func TestRunOfAnEarlierIncarnationGoesOnWithAPersonsWord(t *testing.T) {
	s, _ := begunStore(t)
	startRun(t, s, "r1", runtest.Program(t, runSteps, plan.Takeover))
	c, head := claimRun(t, s, "r1")
	own, err := s.Recover(t.Context(), "person:ann", "recover", "test")
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Append(t.Context(), head, took(head, c.Term()), nil, nil)
	kind(t, err, errs.Conflict)
	c.Release(t.Context())
	_, err = s.Runners().Claim(t.Context(), "r1")
	kind(t, err, errs.Refused)
	if head, err = s.Say(t.Context(), "r1", run.Entry{What: run.Paused, By: "ann"}); err != nil || head.Incarnation == own.Incarnation {
		t.Fatalf("another word lets it go on: %v", err)
	}
	if head, err = s.Say(t.Context(), "r1", run.Entry{What: run.Resumed, By: "ann"}); err != nil || head.Incarnation != own.Incarnation {
		t.Fatalf("%+v, %v", head, err)
	}
	again, head := claimRun(t, s, "r1")
	if _, err := again.Append(t.Context(), head, took(head, again.Term()), nil, nil); err != nil {
		t.Fatal(err)
	}
}

// switchable is a store with a group that can go from a to b.
func switchable(t *testing.T) (*store.Store, *etcdnode.Node) {
	t.Helper()
	s, n := begunStore(t)
	rec := record("u1")
	rec.State, rec.InSync = unit.Open, []estate.Life{{Member: "u1-b", N: rec.Members[1].Life}}
	if err := s.Quorum().CreateGroup(t.Context(), "node:a", rec); err != nil {
		t.Fatal(err)
	}
	return s, n
}

// posting is a run of one action, and the switch that is to be posted with it.
func posting(t *testing.T, id string, p *plan.Program) (wire.RunStart, unit.Transition) {
	t.Helper()
	first := run.Entry{Seq: 1, By: "ann", What: run.Started, At: time.Unix(1, 0).UTC()}
	head, err := wire.NewRun(id, p, first)
	if err != nil {
		t.Fatal(err)
	}
	r, err := run.Replay(id, p, []run.Entry{first})
	if err != nil {
		t.Fatal(err)
	}
	begun, ok := r.Posting(first.At)
	if !ok {
		t.Fatal("it does not begin with one action")
	}
	return wire.RunStart{Head: head, Program: p, Journal: []run.Entry{first, begun}}, unit.Transition{
		Kind: unit.Begin, Person: "ann", Mode: unit.Takeover, SwitchID: id + ".one", Member: estate.Life{Member: "u1-b"}, Now: 1,
	}
}

const oneStep = "apiVersion: perdure/v1\nkind: Plan\nname: p\nmodes: [takeover]\nsteps: [{id: one, act: {driver: world, action: set, target: x, with: {to: y}}}]\n"

func TestRunAndWhatIsPostedWithItAreOneTransaction(t *testing.T) {
	s, n := switchable(t)
	p := runtest.Program(t, oneStep, plan.Takeover)
	begun := revisionOf(t, n)
	start, begin := posting(t, "r1", p)
	g, err := s.PostRun(t.Context(), start, "person:ann", "u1", begin)
	if err != nil || g.Record.Switch == nil || g.Record.Switch.ID != "r1.one" {
		t.Fatalf("%+v, %v", g.Record.Switch, err)
	}
	if now := revisionOf(t, n); now != begun+1 || g.Revision != now {
		t.Errorf("%d transactions, the record is at %d of %d", now-begun, g.Revision, now)
	}
	head, err := s.Run(t.Context(), "r1", wire.Fresh)
	if err != nil || head.Revision != g.Revision || head.Seq != 2 {
		t.Fatalf("%+v, %v", head, err)
	}
	journal, err := s.Journal(t.Context(), "r1", 0)
	if err != nil || len(journal) != 2 || !journal[1].Posted {
		t.Fatalf("%+v, %v", journal, err)
	}
	if got, err := s.Program(t.Context(), "r1"); err != nil || len(got.Nodes) != 1 {
		t.Fatal(err)
	}
	events, err := s.Events(t.Context(), g.Revision-1, 10, false, wire.Fresh)
	if err != nil || len(events) != 2 {
		t.Fatalf("%+v, %v", events, err)
	}
	// A run of another ID: the switch is refused and names the first one, and nothing is left of the run.
	second, again := posting(t, "r2", p)
	_, err = s.PostRun(t.Context(), second, "person:bob", "u1", again)
	kind(t, err, errs.Conflict)
	if !strings.Contains(err.Error(), "r1.one") || revisionOf(t, n) != g.Revision {
		t.Errorf("%v, and revision %d", err, revisionOf(t, n))
	}
	_, err = s.Run(t.Context(), "r2", wire.Fresh)
	kind(t, err, errs.NotFound)
}

func TestRunOfATakenIDPostsNothing(t *testing.T) {
	s, n := switchable(t)
	p := runtest.Program(t, oneStep, plan.Takeover)
	startRun(t, s, "r1", p)
	begun := revisionOf(t, n)
	start, begin := posting(t, "r1", p)
	_, err := s.PostRun(t.Context(), start, "person:ann", "u1", begin)
	kind(t, err, errs.Conflict)
	g, err := s.Group(t.Context(), "u1", wire.Fresh)
	if err != nil || g.Record.Switch != nil || revisionOf(t, n) != begun {
		t.Fatalf("%+v, %v", g.Record.Switch, err)
	}
}

func TestOfTwoRunsThatSwitchOneGroupAtOnceOneIsThere(t *testing.T) {
	s, _ := switchable(t)
	p := runtest.Program(t, oneStep, plan.Takeover)
	var work sync.WaitGroup
	results := make([]error, 4)
	for i := range results {
		start, begin := posting(t, fmt.Sprint("r", i), p)
		work.Go(func() { _, results[i] = s.PostRun(t.Context(), start, "person:ann", "u1", begin) })
	}
	work.Wait()
	g, err := s.Group(t.Context(), "u1", wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	won := 0
	for i, err := range results {
		_, there := s.Run(t.Context(), fmt.Sprint("r", i), wire.Fresh)
		if err == nil && there == nil && g.Record.Switch.ID == fmt.Sprintf("r%d.one", i) {
			won++
		} else if errs.KindOf(err) != errs.Conflict || errs.KindOf(there) != errs.NotFound || !strings.Contains(err.Error(), g.Record.Switch.ID) {
			t.Errorf("r%d: %v, and the run: %v", i, err, there)
		}
	}
	if won != 1 {
		t.Errorf("%d of them began", won)
	}
}

func revisionOf(t *testing.T, n *etcdnode.Node) int64 {
	t.Helper()
	r, err := n.Client().Get(t.Context(), "none")
	if err != nil {
		t.Fatal(err)
	}
	return r.Header.Revision
}

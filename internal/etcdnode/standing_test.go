package etcdnode_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/etcdnode"
	"perdure/internal/wire"
)

// town is a set of nodes that can be cut from one another.
type town struct {
	mu     sync.Mutex
	nodes  map[string]*etcdnode.Standing
	own    map[string]estate.Incarnation
	leader map[string]bool
	cut    map[string]bool // "a b": a does not reach b
}

func newTown() *town {
	return &town{nodes: map[string]*etcdnode.Standing{}, own: map[string]estate.Incarnation{}, leader: map[string]bool{}, cut: map[string]bool{}}
}

// boot starts a node; stop ends it. All nodes share the town's configuration of a, b and c.
func (w *town) boot(t *testing.T, name, dir string, own estate.Incarnation) (stop func()) {
	t.Helper()
	var peers []string
	for _, p := range []string{"a", "b", "c"} {
		if p != name {
			peers = append(peers, p)
		}
	}
	w.mu.Lock()
	w.own[name], w.leader[name] = own, true
	w.mu.Unlock()
	s, err := etcdnode.NewStanding(etcdnode.StandingOptions{
		Self: name, Peers: peers, Dir: dir, Logger: slog.New(slog.DiscardHandler),
		Ask: func(_ context.Context, peer string) (wire.Standing, error) {
			w.mu.Lock()
			n := w.nodes[peer]
			cut := w.cut[name+" "+peer]
			w.mu.Unlock()
			if n == nil || cut {
				return wire.Standing{}, errors.New("no answer")
			}
			v, _ := n.View()
			return v, nil
		},
		Own: func(context.Context) (estate.Incarnation, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.own[name], nil
		},
		HasLeader: func(context.Context) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.leader[name]
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.nodes[name] = s
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Run(ctx) })
	return func() {
		w.mu.Lock()
		delete(w.nodes, name)
		w.mu.Unlock()
		cancel()
		wg.Wait()
	}
}

func (w *town) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *town) cutOff(name string, cut bool) {
	w.set(func() {
		for _, p := range []string{"a", "b", "c"} {
			w.cut[name+" "+p], w.cut[p+" "+name] = cut, cut
		}
	})
}

func pass(d time.Duration) {
	<-time.After(d) // virtual time
	synctest.Wait()
}

func refusal(t *testing.T, s *etcdnode.Standing, words string) {
	t.Helper()
	var e *errs.Error
	if err := s.MayAct(); !errors.As(err, &e) || e.Kind != errs.Unavailable || e.Invariant != "I10" || !strings.Contains(e.Message, words) {
		t.Fatalf("want a refusal about %q, got %v", words, err)
	}
}

func TestColdQuorumActsOnlyAfterHearingEveryNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, one := newTown(), estate.Incarnation{Counter: 1, ID: "x"}
		stopA, stopB := w.boot(t, "a", t.TempDir(), one), w.boot(t, "b", t.TempDir(), one)
		defer stopA()
		defer stopB()
		pass(time.Hour)
		refusal(t, w.nodes["a"], "has not heard node c")
		refusal(t, w.nodes["b"], "has not heard node c")
		defer w.boot(t, "c", t.TempDir(), one)()
		pass(2 * time.Second)
		for _, name := range []string{"a", "b", "c"} {
			if err := w.nodes[name].MayAct(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestNodeThatRestartsAloneIsWarmedByOneThatNeverSlept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, one := newTown(), estate.Incarnation{Counter: 1, ID: "x"}
		dir := t.TempDir()
		stopA, stopB := w.boot(t, "a", t.TempDir(), one), w.boot(t, "b", dir, one)
		defer w.boot(t, "c", t.TempDir(), one)()
		pass(2 * time.Second)
		stopA() // a site is lost
		stopB() // and another node is restarted
		defer w.boot(t, "b", dir, one)()
		pass(2 * time.Second)
		if err := w.nodes["b"].MayAct(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestPersonsWordLetsAColdNodeActForThisBootOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, one, dir := newTown(), estate.Incarnation{Counter: 1, ID: "x"}, t.TempDir()
		stop := w.boot(t, "a", dir, one)
		pass(time.Minute)
		refusal(t, w.nodes["a"], "perdure node confirm")
		if err := w.nodes["a"].Confirm("ann"); err != nil {
			t.Fatal(err)
		}
		if err := w.nodes["a"].MayAct(); err != nil {
			t.Fatal(err)
		}
		if v, _ := w.nodes["a"].View(); v.ConfirmedBy != "ann" || v.Cold {
			t.Fatalf("view %+v", v)
		}
		stop()
		defer w.boot(t, "a", dir, one)()
		pass(time.Minute)
		refusal(t, w.nodes["a"], "has not heard")
	})
}

func TestLowerIncarnationIsSupersededOnContactAndStaysSoOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, one, two := newTown(), estate.Incarnation{Counter: 1, ID: "x"}, estate.Incarnation{Counter: 2, ID: "y"}
		dirA := t.TempDir()
		stopA := w.boot(t, "a", dirA, one)
		defer w.boot(t, "b", t.TempDir(), one)()
		stopC := w.boot(t, "c", t.TempDir(), one)
		pass(2 * time.Second)
		w.cutOff("c", true) // a person at c believes a and b lost, and recovers (H9)
		stopC()
		dirC := t.TempDir()
		if err := etcdnode.Recovered(dirC, two); err != nil {
			t.Fatal(err)
		}
		defer w.boot(t, "c", dirC, two)()
		pass(2 * time.Second)
		if err := w.nodes["c"].MayAct(); err != nil {
			t.Fatalf("the recovered node has a person's word: %v", err)
		}
		if err := w.nodes["a"].MayAct(); err != nil {
			t.Fatalf("a cannot know yet: %v", err)
		}
		w.cutOff("c", false)
		pass(time.Second)
		refusal(t, w.nodes["a"], "2.y is in force")
		refusal(t, w.nodes["b"], "2.y is in force")
		if err := w.nodes["c"].MayAct(); err != nil {
			t.Fatalf("the higher incarnation goes on: %v", err)
		}
		if err := w.nodes["a"].Confirm("ann"); errs.KindOf(err) != errs.Unavailable {
			t.Fatalf("a person's word made a superseded node act: %v", err)
		}
		w.cutOff("c", true)
		stopA()
		stopA = w.boot(t, "a", dirA, one)
		pass(time.Second)
		refusal(t, w.nodes["a"], "2.y is in force")
		stopA()
		// Emptied and joined again, the same directory holds the higher incarnation.
		defer w.boot(t, "a", dirA, two)()
		w.cutOff("c", false)
		pass(time.Second)
		if err := w.nodes["a"].MayAct(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestSupersededIsLearntFromThirdNodesToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, one, two := newTown(), estate.Incarnation{Counter: 1, ID: "x"}, estate.Incarnation{Counter: 2, ID: "y"}
		defer w.boot(t, "a", t.TempDir(), one)()
		defer w.boot(t, "b", t.TempDir(), one)()
		defer w.boot(t, "c", t.TempDir(), two)()
		w.set(func() { w.cut["a c"], w.cut["c a"] = true, true })
		pass(3 * time.Second)
		refusal(t, w.nodes["a"], "2.y is in force")
	})
}

func TestTwoRecoveriesOfOneOriginBothStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown()
		dirA, dirC := t.TempDir(), t.TempDir()
		x, y := estate.Incarnation{Counter: 2, ID: "x"}, estate.Incarnation{Counter: 2, ID: "y"}
		for dir, i := range map[string]estate.Incarnation{dirA: x, dirC: y} {
			if err := etcdnode.Recovered(dir, i); err != nil {
				t.Fatal(err)
			}
		}
		defer w.boot(t, "a", dirA, x)()
		defer w.boot(t, "c", dirC, y)()
		pass(time.Second)
		refusal(t, w.nodes["a"], "2.y is in force")
		refusal(t, w.nodes["c"], "2.x is in force")
	})
}

func TestNodeIsColdAgainAfterLongWithoutALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, one := newTown(), estate.Incarnation{Counter: 1, ID: "x"}
		stopA := w.boot(t, "a", t.TempDir(), one)
		defer w.boot(t, "b", t.TempDir(), one)()
		stopC := w.boot(t, "c", t.TempDir(), one)
		pass(2 * time.Second)
		stopA()
		stopC()
		w.set(func() { w.leader["b"] = false })
		pass(5 * time.Second) // an election
		w.set(func() { w.leader["b"] = true })
		pass(2 * time.Second)
		if err := w.nodes["b"].MayAct(); err != nil {
			t.Fatalf("a short election made the node cold: %v", err)
		}
		w.set(func() { w.leader["b"] = false })
		pass(time.Hour) // long enough for a person elsewhere
		defer w.boot(t, "a", t.TempDir(), one)()
		w.set(func() { w.leader["b"] = true })
		pass(2 * time.Second)
		refusal(t, w.nodes["b"], "has not heard node c")
	})
}

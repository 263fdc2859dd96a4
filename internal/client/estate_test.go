package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"perdure/internal/client"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/etcdnode/etcdtest"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

func enrol(member string, number uint64) unit.Transition {
	return unit.Transition{Kind: unit.Enrol, By: estate.Life{Member: estate.MemberID(member), N: number}}
}

// until repeats a transition until it is taken, and gives how long that took.
func until(t *testing.T, c *client.Client, group estate.GroupID, tr unit.Transition) time.Duration {
	t.Helper()
	began := time.Now()
	var err error
	etcdtest.Until(t, "the transition is taken", func() bool {
		_, err = c.Transition(t.Context(), group, 0, tr)
		switch errs.KindOf(err) {
		case "", errs.Unavailable, errs.Unknown:
		default:
			t.Fatal(err)
		}
		return err == nil
	})
	return time.Since(began)
}

// follower keeps what a watch says.
type follower struct {
	mu      sync.Mutex
	updates []wire.Update
}

func follow(t *testing.T, c *client.Client, o client.WatchOptions) *follower {
	t.Helper()
	f := &follower{}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		err := c.Watch(ctx, o, func(u wire.Update) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.updates = append(f.updates, u)
			return nil
		})
		if err != nil {
			t.Errorf("watch: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return f
}

// has reports whether an update that fits came, at or behind the index.
func (f *follower) has(from int, fits func(wire.Update) bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.updates[min(from, len(f.updates)):], fits)
}

func (f *follower) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.updates)
}

// lifeOf fits an update that shows the member's life.
func lifeOf(member string, number uint64) func(wire.Update) bool {
	return func(u wire.Update) bool {
		for _, c := range u.Changes {
			var rec unit.Record
			if json.Unmarshal(c.Value, &rec) == nil {
				if m, ok := rec.Member(estate.MemberID(member)); ok && m.Life == number {
					return true
				}
			}
		}
		return false
	}
}

func TestControlPlaneGoesOnThroughTheLossOfItsNodes(t *testing.T) {
	w := found(t)
	for i := range w.nodes {
		w.boot(i)
	}
	w.ready(0, 1, 2)
	w.group("u1")
	leader := w.leader(0)
	survivor, other := (leader+1)%3, (leader+2)%3

	// An agent whose nearest node is the one that will die, and a gateway that watches there.
	agent := w.client("agent:u1-a", leader, survivor, other)
	if _, err := agent.Transition(t.Context(), "u1", 0, enrol("u1-a", 1)); err != nil {
		t.Fatal(err)
	}
	gateway := follow(t, w.client("gateway:a", leader, survivor, other), client.WatchOptions{Prefixes: []string{"groups/"}})
	etcdtest.Until(t, "the gateway has the state", func() bool { return gateway.has(0, lifeOf("u1-a", 1)) })

	// 1. The store's leader is killed: transitions go on, and so does the watch, without beginning anew.
	w.kill(leader)
	seen := gateway.count()
	t.Logf("leader killed: the next transition was taken after %s", until(t, agent, "u1", enrol("u1-a", 2)))
	etcdtest.Until(t, "the gateway sees it", func() bool { return gateway.has(seen, lifeOf("u1-a", 2)) })
	if gateway.has(seen, func(u wire.Update) bool { return u.Reset }) {
		t.Error("the watch began anew instead of resuming")
	}

	// 2. A second one is killed: there is no quorum. Changes are refused at once, local reads and the watch go on.
	w.kill(survivor)
	admin := w.client("admin", other)
	etcdtest.Until(t, "the last node knows that it is alone", func() bool {
		e, err := admin.Estate(t.Context())
		return err == nil && !e.Store.Quorum
	})
	began := time.Now()
	_, err := agent.Transition(t.Context(), "u1", 0, enrol("u1-a", 3))
	if errs.KindOf(err) != errs.Unavailable || !strings.Contains(err.Error(), "no quorum") {
		t.Fatalf("%v", err)
	}
	t.Logf("no quorum: a transition was refused after %s", time.Since(began))
	if g, err := admin.Group(t.Context(), "u1", wire.Local); err != nil || g.Record.Members[0].Life != 2 {
		t.Fatalf("%+v, %v", g, err)
	}
	etcdtest.Until(t, "the watch says that there is no quorum", func() bool {
		return gateway.has(seen, func(u wire.Update) bool { return u.Heartbeat && !u.Quorum })
	})

	// 3. One comes back.
	seen = gateway.count()
	w.boot(survivor)
	t.Logf("quorum again: the next transition was taken after %s", until(t, agent, "u1", enrol("u1-a", 4)))
	etcdtest.Until(t, "the gateway sees it", func() bool { return gateway.has(seen, lifeOf("u1-a", 4)) })
	if gateway.has(seen, func(u wire.Update) bool { return u.Reset }) {
		t.Error("the watch began anew instead of resuming")
	}

	// 4. The node that serves the watch freezes: its connection stays open and says nothing.
	w.boot(leader)
	w.ready(0, 1, 2)
	near := follow(t, w.client("gateway:b", survivor, other), client.WatchOptions{Prefixes: []string{"groups/"}})
	etcdtest.Until(t, "the second gateway has the state", func() bool { return near.has(0, lifeOf("u1-a", 4)) })
	calls := w.client("agent:u1-a", survivor, other)
	if _, err := calls.Group(t.Context(), "u1", wire.Fresh); err != nil {
		t.Fatal(err)
	}
	w.freeze(survivor)
	defer w.thaw(survivor)
	t.Logf("nearest node frozen: the next transition was taken after %s", until(t, calls, "u1", enrol("u1-a", 5)))
	etcdtest.Until(t, "the second gateway sees it", func() bool { return near.has(0, lifeOf("u1-a", 5)) })
	if !near.has(0, func(u wire.Update) bool { return u.Stale }) {
		t.Error("nobody told the gateway that its watch was stale")
	}
}

func TestLostMajorityIsRecoveredAndTheOldMembersCannotActAnyMore(t *testing.T) {
	w := found(t)
	for i := range w.nodes {
		w.boot(i)
	}
	w.ready(0, 1, 2)
	g := w.group("u1")
	agent := w.client("agent:u1-a", 0, 1)
	opened, err := agent.Transition(t.Context(), "u1", g.Revision, unit.Transition{Kind: unit.Reopen, By: estate.Life{Member: "u1-a", N: 1}, Ownership: g.Record.Ownership})
	if err != nil {
		t.Fatal(err)
	}
	watcher := follow(t, w.client("gateway:c", 2), client.WatchOptions{Prefixes: []string{"groups/"}})
	etcdtest.Until(t, "node c has the state", func() bool { return watcher.has(0, lifeOf("u1-a", 1)) })

	// The city with a and b is lost, and c is recovered by a person (H4).
	for i := range w.nodes {
		w.kill(i)
	}
	for _, l := range w.links {
		l.set(true)
	}
	began := w.recover(2)
	if began.Counter != 2 {
		t.Fatalf("%+v", began)
	}
	seen := watcher.count()
	w.boot(2)
	w.ready(2)
	remote := w.client("agent:u1-c", 2)
	recovered, err := remote.Group(t.Context(), "u1", wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	// c may have been killed before it kept the last change; whatever it kept, it is closed now and only remembers an owner.
	if r := recovered.Record; r.Ownership.Incarnation != began.Incarnation || r.State != unit.Closed || len(r.InSync) != 0 || r.Lost == nil || r.Lost.Owner.Member != "u1-a" {
		t.Fatalf("the record after the recovery: %+v", r)
	}
	if _, err := remote.Transition(t.Context(), "u1", 0, enrol("u1-c", 1)); err != nil {
		t.Fatalf("the recovered node: %v", err)
	}
	etcdtest.Until(t, "the watcher of the old incarnation begins anew", func() bool {
		return watcher.has(seen, func(u wire.Update) bool { return u.Reset && u.Position.Incarnation == began.Incarnation })
	})

	// a and b come back, cut from c: a quorum of the old store. They are cold and decide nothing.
	w.boot(0)
	w.boot(1)
	old := w.client("admin", 0)
	etcdtest.Until(t, "a and b are a quorum", func() bool {
		e, err := old.Estate(t.Context())
		return err == nil && e.Store.Quorum
	})
	reopen := unit.Transition{Kind: unit.Reopen, By: estate.Life{Member: "u1-a", N: 2}, Ownership: opened.Record.Ownership}
	etcdtest.Until(t, "a or b says that it waits for c", func() bool {
		_, err := agent.Transition(t.Context(), "u1", 0, reopen)
		if err == nil {
			t.Fatal("a cold quorum changed ownership")
		}
		var e *errs.Error
		return errors.As(err, &e) && e.Kind == errs.Unavailable && e.Invariant == "I10" && strings.Contains(e.Message, "came up cold and has not heard node c")
	})

	// The link heals: both are superseded, at once and for good.
	for _, l := range w.links {
		l.set(false)
	}
	for i := range 2 {
		met := filepath.Join(w.nodes[i].config.Store.Dir, "superseded.json")
		etcdtest.Until(t, met+" is written", func() bool {
			_, err := os.Stat(met)
			return err == nil
		})
	}
	if _, err := agent.Transition(t.Context(), "u1", 0, reopen); err == nil {
		t.Fatal("a superseded node changed ownership")
	}
	for _, l := range w.links {
		l.set(true)
	}
	w.kill(0)
	w.kill(1)
	w.boot(0)
	w.boot(1)
	etcdtest.Until(t, "a answers again", func() bool { _, err := old.Standing(t.Context()); return err == nil })
	if _, err := agent.Transition(t.Context(), "u1", 0, reopen); err == nil {
		t.Fatal("a superseded node changed ownership after its restart")
	}
	if s, err := old.Standing(t.Context()); err == nil {
		if _, err := old.ConfirmCold(t.Context(), "a mistake"); s.Superseded != nil && err == nil {
			t.Fatal("a person's word made a superseded node act")
		}
	}
	if now, err := remote.Group(t.Context(), "u1", wire.Fresh); err != nil || now.Record.Ownership != recovered.Record.Ownership {
		t.Fatalf("%+v, %v", now, err)
	}
}

package etcdnode_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/etcdnode"
	"perdure/internal/etcdnode/etcdtest"
	"perdure/internal/wire"
)

// far runs three nodes with the given round trips between them, c the leader, and says to whom c hands over within a minute.
func far(t *testing.T, roundTrip map[string]time.Duration) (to string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var (
			mu    sync.Mutex
			nodes = map[string]*etcdnode.Standing{}
			lead  = "c"
			wg    sync.WaitGroup
		)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for _, name := range []string{"a", "b", "c"} {
			var peers []string
			for _, p := range []string{"a", "b", "c"} {
				if p != name {
					peers = append(peers, p)
				}
			}
			s, err := etcdnode.NewStanding(etcdnode.StandingOptions{
				Self: name, Peers: peers, Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler),
				Ask: func(ctx context.Context, peer string) (wire.Standing, error) {
					select {
					case <-ctx.Done():
						return wire.Standing{}, ctx.Err()
					case <-time.After(roundTrip[min(name, peer)+max(name, peer)]):
					}
					mu.Lock()
					defer mu.Unlock()
					v, _ := nodes[peer].View()
					return v, nil
				},
				Own:       func(context.Context) (estate.Incarnation, error) { return estate.Incarnation{Counter: 1, ID: "x"}, nil },
				HasLeader: func(context.Context) bool { return true },
				IsLeader: func() bool {
					mu.Lock()
					defer mu.Unlock()
					return lead == name
				},
				HandOver: func(_ context.Context, peer string) error {
					mu.Lock()
					defer mu.Unlock()
					if to != "" {
						t.Errorf("handed over to %s, then to %s", to, peer)
					}
					lead, to = peer, peer
					return nil
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			nodes[name] = s
			mu.Unlock()
		}
		for _, s := range nodes {
			wg.Go(func() { _ = s.Run(ctx) })
		}
		wg.Wait()
	})
	return to
}

func TestLeaderInARemoteCityHandsOverOnce(t *testing.T) {
	near, remote := time.Millisecond, 30*time.Millisecond
	if to := far(t, map[string]time.Duration{"ab": near, "ac": remote, "bc": remote}); to != "a" && to != "b" {
		t.Errorf("c hands over to %q", to)
	}
	if to := far(t, map[string]time.Duration{"ab": remote, "ac": remote, "bc": remote}); to != "" {
		t.Errorf("among equals c hands over to %q", to)
	}
	if to := far(t, map[string]time.Duration{"ab": near, "ac": 4 * near, "bc": 4 * near}); to != "" {
		t.Errorf("for a few milliseconds c hands over to %q", to)
	}
}

func TestLeadershipIsHandedToAVotingMember(t *testing.T) {
	options := etcdtest.Options(t, 3)
	nodes := etcdtest.Start(t, options...)
	if _, err := nodes[0].Client().Put(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		if !n.IsLeader() {
			continue
		}
		if err := n.HandOver(t.Context(), "nobody"); errs.KindOf(err) != errs.NotFound {
			t.Errorf("to nobody: %v", err)
		}
		for i, other := range nodes {
			if other == n {
				continue
			}
			if err := n.HandOver(t.Context(), options[i].Name); err != nil {
				t.Fatal(err)
			}
			if n.IsLeader() {
				t.Error("the leader leads on")
			}
			return
		}
	}
	t.Error("nobody leads")
}

// Package etcdtest starts real store members on loopback for tests and stops them with the test.
package etcdtest

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"testing"
	"time"

	"perdure/internal/etcdnode"
)

// Patience is how long Until waits: far more than anything takes, since tests share busy machines.
const Patience = 60 * time.Second

// Address gives a free host:port on a loopback address of its own, so that tests that run at once do not meet.
func Address(t testing.TB) string {
	t.Helper()
	host := fmt.Sprintf("127.%d.%d.%d", 64+rand.IntN(128), rand.IntN(256), 1+rand.IntN(254))
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Logger writes to the test's log while the test runs with -v, at level info and above.
func Logger(t testing.TB) *slog.Logger {
	t.Helper()
	if !testing.Verbose() {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// Options prepares n members with directories and addresses of their own, without TLS; nothing is started.
func Options(t testing.TB, n int) []etcdnode.Options {
	t.Helper()
	dir := t.TempDir()
	var members []etcdnode.Member
	var peers []string
	for i := range n {
		peer := Address(t)
		peers = append(peers, peer)
		members = append(members, etcdnode.Member{Name: string(rune('a' + i)), PeerURL: "http://" + peer})
	}
	options := make([]etcdnode.Options, n)
	for i := range n {
		options[i] = etcdnode.Options{
			Name: members[i].Name, Members: members, Dir: filepath.Join(dir, members[i].Name),
			ListenPeer: peers[i], ListenClient: Address(t), Heartbeat: 50 * time.Millisecond, Election: 500 * time.Millisecond, Logger: Logger(t),
		}
	}
	return options
}

// Start starts the members, waits until each knows a leader, and stops them when the test ends.
func Start(t testing.TB, options ...etcdnode.Options) []*etcdnode.Node {
	t.Helper()
	var nodes []*etcdnode.Node
	for _, o := range options {
		n, err := etcdnode.Start(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.Stop)
		nodes = append(nodes, n)
	}
	Until(t, "every member knows a leader", func() bool {
		for _, n := range nodes {
			if !n.HasLeader(t.Context()) || !n.Ready() {
				return false
			}
		}
		return true
	})
	return nodes
}

// Until waits for a condition and fails the test when it does not come true.
func Until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			t.Fatalf("did not come true in %s: %s", Patience, what)
		case <-tick.C:
		}
	}
}

package etcdnode_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/etcdnode"
	"perdure/internal/etcdnode/etcdtest"
	"perdure/internal/pki"
)

func TestEvenMemberCountsAreRefused(t *testing.T) {
	for _, n := range []int{2, 4, 6, 7} {
		o := etcdtest.Options(t, n)[0]
		_, err := etcdnode.Start(o)
		if errs.KindOf(err) != errs.Invalid || !strings.Contains(err.Error(), "1, 3 or 5") {
			t.Errorf("%d members: %v", n, err)
		}
	}
}

func TestWrongOptionsAreRefusedWithWhatIsAllowed(t *testing.T) {
	for what, spoil := range map[string]func(*etcdnode.Options){
		"not among":  func(o *etcdnode.Options) { o.Name = "z" },
		"heartbeat":  func(o *etcdnode.Options) { o.Heartbeat = time.Millisecond },
		"election":   func(o *etcdnode.Options) { o.Election = 100 * time.Millisecond },
		"literal":    func(o *etcdnode.Options) { o.ListenPeer = "node.example:7410" },
		"their own":  func(o *etcdnode.Options) { o.Members[1].PeerURL = o.Members[0].PeerURL },
		"both its":   func(o *etcdnode.Options) { o.Peer = pki.Files{Cert: "x", Key: "y", CA: "z"} },
		"a name, a ": func(o *etcdnode.Options) { o.Dir = "" },
	} {
		o := etcdtest.Options(t, 3)[0]
		spoil(&o)
		if _, err := etcdnode.Start(o); errs.KindOf(err) != errs.Invalid || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestTakenPortIsNamed(t *testing.T) {
	o := etcdtest.Options(t, 1)[0]
	l, err := net.Listen("tcp", o.ListenPeer)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := etcdnode.Start(o); errs.KindOf(err) != errs.Unavailable || !strings.Contains(err.Error(), o.ListenPeer) {
		t.Fatal(err)
	}
}

func TestUnusableDirectoryIsAnErrorAndNotAnExit(t *testing.T) {
	o := etcdtest.Options(t, 1)[0]
	if err := os.MkdirAll(filepath.Dir(o.Dir), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.Dir, []byte("a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := etcdnode.Start(o); errs.KindOf(err) != errs.Unavailable {
		t.Fatal(err)
	}
}

func TestMemberWithoutQuorumStopsPromptly(t *testing.T) {
	o := etcdtest.Options(t, 3)[0] // its two peers never come
	n, err := etcdnode.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	if n.HasLeader(t.Context()) || n.Ready() {
		t.Fatal("one of three has a leader")
	}
	n.Stop() // must return: the test's own deadline is the bound
	n.Stop()
	select {
	case <-n.Stopped():
	default:
		t.Fatal("stopped, but does not say so")
	}
}

func TestCallsThatMeetAStoppingMemberFailAndBreakNothing(t *testing.T) {
	n := etcdtest.Start(t, etcdtest.Options(t, 1)...)[0]
	c := n.Client()
	watch := c.Watch(t.Context(), "", clientv3.WithPrefix())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				if _, err := c.Get(t.Context(), "k", clientv3.WithSerializable()); err != nil {
					return
				}
				if _, err := c.Put(t.Context(), "k", "v"); err != nil {
					return
				}
				n.Status(t.Context())
			}
		})
	}
	for r := range watch { // the writers have begun
		if r.Err() != nil || len(r.Events) > 0 {
			break
		}
	}
	n.Stop()
	wg.Wait()
	for range watch { // ends with the member
	}
	if s := n.Status(t.Context()); s.Stopped == "" || s.Quorum || n.HasLeader(t.Context()) {
		t.Fatalf("%+v", s)
	}
	if err := n.Snapshot(t.Context(), io.Discard); errs.KindOf(err) != errs.Unavailable {
		t.Fatal(err)
	}
}

func TestThreeMembersAgreeOverMutualTLS(t *testing.T) {
	options := etcdtest.Options(t, 3)
	secure(t, authority(t), options)
	nodes := etcdtest.Start(t, options...)
	if _, err := nodes[0].Client().Put(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	resp, err := nodes[2].Client().Get(t.Context(), "k")
	if err != nil || len(resp.Kvs) != 1 {
		t.Fatalf("%v, %v", resp, err)
	}
	s := nodes[1].Status(t.Context())
	if !s.Quorum || s.Leader == "" || len(s.Members) != 3 || s.FreeBytes == 0 || s.Quota == 0 {
		t.Fatalf("status %+v", s)
	}

	stranger, err := etcdnode.Connect(etcdnode.External{Endpoints: []string{"https://" + options[0].ListenClient}, TLS: pki.Files{CA: options[0].Client.CA}, Logger: etcdtest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := stranger.Client().Get(ctx, "k"); err == nil {
		t.Fatal("a client without a certificate read the store")
	}
	known, err := etcdnode.Connect(etcdnode.External{Endpoints: []string{"https://" + options[0].ListenClient}, TLS: options[0].Client, Logger: etcdtest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer known.Stop()
	patient, stop := context.WithTimeout(t.Context(), etcdtest.Patience)
	defer stop()
	if resp, err := known.Client().Get(patient, "k"); err != nil || len(resp.Kvs) != 1 {
		t.Fatalf("as external store: %v, %v", resp, err)
	}
	if s := known.Status(t.Context()); !s.Quorum || s.Embedded {
		t.Fatalf("status of the external store %+v", s)
	}
}

// begin stands for what the caller of Recover and Restore writes.
func begin(key string) func(context.Context, *clientv3.Client) error {
	return func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Put(ctx, "incarnation", key)
		return err
	}
}

func value(t *testing.T, n *etcdnode.Node, key string) string {
	t.Helper()
	resp, err := n.Client().Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return ""
	}
	return string(resp.Kvs[0].Value)
}

func TestOneSurvivorOfThreeIsRecoveredAndTheOthersJoinAnew(t *testing.T) {
	options := etcdtest.Options(t, 3)
	nodes := etcdtest.Start(t, options...)
	if _, err := nodes[0].Client().Put(t.Context(), "k", "kept"); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		n.Stop()
	}
	survivor := options[2]
	failing := errors.New("no")
	if err := etcdnode.Recover(t.Context(), survivor, func(context.Context, *clientv3.Client) error { return failing }); !errors.Is(err, failing) {
		t.Fatal(err)
	}
	if err := etcdnode.Recover(t.Context(), survivor, begin("2")); err != nil {
		t.Fatal(err)
	}
	n := etcdtest.Start(t, survivor)[0]
	if value(t, n, "k") != "kept" || value(t, n, "incarnation") != "2" {
		t.Fatal("the recovered member lost what it knew")
	}
	if m := n.Status(t.Context()).Members; len(m) != 1 || m[0].Name != "c" {
		t.Fatalf("members after the recovery: %v", m)
	}

	// A former member joins with an empty directory, and votes once it has caught up.
	joiner := options[0]
	joiner.Dir, joiner.Join = filepath.Join(t.TempDir(), "a"), true
	members, err := n.Grow(t.Context(), joiner.Name, joiner.Members[0].PeerURL)
	if err != nil {
		t.Fatal(err)
	}
	joiner.Members = nil
	for _, m := range members {
		joiner.Members = append(joiner.Members, etcdnode.Member{Name: m.Name, PeerURL: m.PeerURL[0]})
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = n.Promote(ctx) }()
	joined := etcdtest.Start(t, joiner)[0]
	etcdtest.Until(t, "the joiner votes", func() bool {
		m := joined.Status(t.Context()).Members
		return len(m) == 2 && !m[0].Learner && !m[1].Learner
	})
	if value(t, joined, "incarnation") != "2" {
		t.Fatal("the joiner does not have the incarnation")
	}
}

func TestASixthMemberAndTheLastOnesRemovalAreRefused(t *testing.T) {
	five := etcdtest.Start(t, etcdtest.Options(t, 5)...)
	_, err := five[0].Grow(t.Context(), "f", "http://127.0.0.1:1")
	if errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), "perdure node remove") {
		t.Errorf("a sixth member: %v", err)
	}
	one := etcdtest.Start(t, etcdtest.Options(t, 1)...)[0]
	if err := one.Shrink(t.Context(), "a"); errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), "perdure node join") {
		t.Errorf("the only member: %v", err)
	}
}

func TestRunningMembersDirectoryIsRefusedAtOnce(t *testing.T) {
	o := etcdtest.Options(t, 1)[0]
	n := etcdtest.Start(t, o)[0]
	_, err := etcdnode.Start(o)
	if errs.KindOf(err) != errs.Conflict {
		t.Fatal(err)
	}
	if err := etcdnode.Recover(t.Context(), o, begin("2")); errs.KindOf(err) != errs.Conflict {
		t.Fatal(err)
	}
	n.Stop()
	if err := etcdnode.Recover(t.Context(), o, begin("2")); err != nil {
		t.Fatal(err)
	}
}

func TestRecoverNeedsAStore(t *testing.T) {
	o := etcdtest.Options(t, 1)[0]
	if err := etcdnode.Recover(t.Context(), o, begin("2")); errs.KindOf(err) != errs.Invalid {
		t.Fatal(err)
	}
}

func TestSnapshotIsRestoredIntoAnEmptyDirectoryOnly(t *testing.T) {
	options := etcdtest.Options(t, 2) // two lone members, not one store
	for i := range options {
		options[i].Members = options[i].Members[i : i+1]
	}
	n := etcdtest.Start(t, options[0])[0]
	if _, err := n.Client().Put(t.Context(), "k", "kept"); err != nil {
		t.Fatal(err)
	}
	before := n.Status(t.Context()).Revision
	file := filepath.Join(t.TempDir(), "store.snapshot")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Snapshot(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}

	if err := etcdnode.Restore(t.Context(), options[1], file, begin("2")); err != nil {
		t.Fatal(err)
	}
	if err := etcdnode.Restore(t.Context(), options[1], file, begin("3")); errs.KindOf(err) != errs.Refused {
		t.Fatalf("restored over a store: %v", err)
	}
	m := etcdtest.Start(t, options[1])[0]
	if value(t, m, "k") != "kept" || value(t, m, "incarnation") != "2" {
		t.Fatal("not what was saved")
	}
	if after := m.Status(t.Context()).Revision; after < before+1_000_000 {
		t.Fatalf("revision %d after %d: a watcher could resume in another history", after, before)
	}

	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	spoilt := options[1]
	spoilt.Dir = filepath.Join(t.TempDir(), "x")
	if err := etcdnode.Restore(t.Context(), spoilt, file, begin("2")); errs.KindOf(err) != errs.Invalid {
		t.Fatalf("a spoilt snapshot was taken: %v", err)
	}
	if _, err := os.Stat(filepath.Join(spoilt.Dir, "etcd")); !os.IsNotExist(err) {
		t.Fatal("a failed restore left something behind")
	}
}

func TestFullStoreIsAnAlarmAndReclaimLiftsIt(t *testing.T) {
	o := etcdtest.Options(t, 1)[0]
	o.Quota = 16 << 20
	n := etcdtest.Start(t, o)[0]
	block := strings.Repeat("x", 1<<20)
	etcdtest.Until(t, "the store is full", func() bool {
		_, err := n.Client().Put(t.Context(), "big", block)
		return err != nil
	})
	etcdtest.Until(t, "the alarm is shown", func() bool {
		s := n.Status(t.Context())
		return len(s.Alarms) > 0 && s.Alarms[0] == "NOSPACE"
	})
	if value(t, n, "big") != block {
		t.Fatal("a full store does not read")
	}
	if s := n.Status(t.Context()); !slices.Contains(s.Alarms, "LOWSPACE") || errs.KindOf(s.Spare()) != errs.Refused {
		t.Errorf("a full store has room: %v, %v", s.Alarms, s.Spare())
	}
	if err := n.Reclaim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := n.Status(t.Context()); s.Spare() != nil {
		t.Errorf("after reclaim: %v", s.Spare())
	}
	if _, err := n.Client().Put(t.Context(), "small", "x"); err != nil {
		t.Fatalf("after reclaim: %v", err)
	}
	if s := n.Status(t.Context()); len(s.Alarms) != 0 {
		t.Fatalf("alarms %v", s.Alarms)
	}
}

package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/etcdnode"
	"perdure/internal/etcdnode/etcdtest"
	"perdure/internal/store"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// patient is for tests that are about anything but time: the machine may be busy.
const patient = 30 * time.Second

func open(t *testing.T, n *etcdnode.Node, tune ...func(*store.Options)) *store.Store {
	t.Helper()
	o := store.Options{Node: "a", Timeout: patient, Logger: etcdtest.Logger(t)}
	for _, f := range tune {
		f(&o)
	}
	return store.New(n.Client(), o)
}

func one(t *testing.T, tune ...func(*store.Options)) (*store.Store, *etcdnode.Node) {
	t.Helper()
	n := etcdtest.Start(t, etcdtest.Options(t, 1)...)[0]
	return open(t, n, tune...), n
}

func record(group string) unit.Record {
	return unit.Bootstrap(estate.GroupID(group), "core", []estate.UnitID{estate.UnitID(group)}, unit.Policy{Failover: unit.Auto}, []unit.Member{
		{ID: estate.MemberID(group + "-a"), Site: "a", Role: unit.SyncRole}, {ID: estate.MemberID(group + "-b"), Site: "b", Role: unit.SyncRole},
	}, estate.MemberID(group+"-a"), estate.Incarnation{Counter: 1, ID: "x"})
}

func create(t *testing.T, s *store.Store, group string) wire.Group {
	t.Helper()
	if err := s.Quorum().CreateGroup(t.Context(), "node:a", record(group)); err != nil {
		t.Fatal(err)
	}
	g, err := s.Group(t.Context(), estate.GroupID(group), wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func reopen(g wire.Group) unit.Transition {
	return unit.Transition{Kind: unit.Reopen, By: estate.Life{Member: g.Record.Owner.Member, N: g.Record.Owner.N + 1}, Ownership: g.Record.Ownership, Now: 1}
}

func enrol(member string, life uint64) unit.Transition {
	return unit.Transition{Kind: unit.Enrol, By: estate.Life{Member: estate.MemberID(member), N: life}, Now: 1}
}

func kind(t *testing.T, err error, want errs.Kind) {
	t.Helper()
	if errs.KindOf(err) != want {
		t.Fatalf("want an error of kind %s, got %v", want, err)
	}
}

func TestTransitionCommitsRecordAndAuditEventTogether(t *testing.T) {
	s, _ := one(t)
	g := create(t, s, "u1")
	after, err := s.Transition(t.Context(), "agent:u1-a", "u1", g.Revision, reopen(g))
	if err != nil {
		t.Fatal(err)
	}
	if after.Record.State != unit.Open || after.Revision <= g.Revision {
		t.Fatalf("after the transition: %+v", after)
	}
	read, err := s.Group(t.Context(), "u1", wire.Fresh)
	if err != nil || read.Revision != after.Revision || read.Record.Ownership != after.Record.Ownership {
		t.Fatalf("read %+v, %v", read, err)
	}
	events, err := s.Events(t.Context(), g.Revision, 10, false, wire.Fresh)
	if err != nil || len(events) != 1 {
		t.Fatalf("events %v, %v", events, err)
	}
	if e := events[0]; e.Revision != after.Revision || e.Who != "agent:u1-a" || e.What != "transition.reopen" || e.Subject != "u1" || !strings.Contains(string(e.Detail), `"reopen"`) {
		t.Fatalf("event %+v", e)
	}
}

func TestTransitionOnAnOldRevisionConflicts(t *testing.T) {
	s, _ := one(t)
	g := create(t, s, "u1")
	if _, err := s.Transition(t.Context(), "x", "u1", 0, enrol("u1-b", 1)); err != nil {
		t.Fatal(err)
	}
	_, err := s.Transition(t.Context(), "x", "u1", g.Revision, reopen(g))
	kind(t, err, errs.Conflict)
	if now, _ := s.Group(t.Context(), "u1", wire.Fresh); now.Record.State != unit.Closed {
		t.Fatal("a conflicting transition took effect")
	}
}

func TestTransitionThatTheRulesForbidChangesNothing(t *testing.T) {
	s, _ := one(t)
	g := create(t, s, "u1")
	stale := reopen(g)
	stale.Ownership.Epoch = 7
	_, err := s.Transition(t.Context(), "x", "u1", 0, stale)
	var e *errs.Error
	if !errors.As(err, &e) || e.Kind != errs.Refused || e.Invariant != "I1" {
		t.Fatal(err)
	}
	if now, _ := s.Group(t.Context(), "u1", wire.Fresh); now.Revision != g.Revision {
		t.Fatal("the record changed")
	}
	_, err = s.Transition(t.Context(), "x", "none", 0, enrol("u1-b", 1))
	kind(t, err, errs.NotFound)
	_, err = s.Transition(t.Context(), "x", "u1", 0, unit.Transition{Kind: unit.Recover, Incarnation: estate.Incarnation{Counter: 9, ID: "z"}})
	kind(t, err, errs.Refused)
}

func TestTransitionThatChangesNothingWritesNothing(t *testing.T) {
	s, _ := one(t)
	create(t, s, "u1")
	first, err := s.Transition(t.Context(), "x", "u1", 0, enrol("u1-b", 3))
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Transition(t.Context(), "x", "u1", 0, enrol("u1-b", 3))
	if err != nil || again.Revision != first.Revision {
		t.Fatalf("%+v, %v", again, err)
	}
}

func TestConcurrentTransitionsAllTakeEffectOneAfterAnother(t *testing.T) {
	s, _ := one(t)
	rec := record("u1")
	const n = 8
	for i := range n {
		rec.Members = append(rec.Members, unit.Member{ID: estate.MemberID(fmt.Sprint("m", i)), Role: unit.AsyncRole})
	}
	if err := s.Quorum().CreateGroup(t.Context(), "x", rec); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if _, err := s.Transition(t.Context(), "x", "u1", 0, enrol(fmt.Sprint("m", i), 5)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	g, err := s.Group(t.Context(), "u1", wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if m, _ := g.Record.Member(estate.MemberID(fmt.Sprint("m", i))); m.Life != 5 {
			t.Errorf("the transition of m%d was lost", i)
		}
	}
}

func TestNothingIsDecidedOnANodeThatMayNotAct(t *testing.T) {
	var mayAct error
	s, _ := one(t, func(o *store.Options) { o.MayAct = func() error { return mayAct } })
	g := create(t, s, "u1")
	mayAct = errs.New(errs.Unavailable, "cold")
	_, err := s.Transition(t.Context(), "x", "u1", 0, reopen(g))
	kind(t, err, errs.Unavailable)
	_, err = s.ApplyManifest(t.Context(), "x", "text", 0, nil, wire.ManifestPlan{})
	kind(t, err, errs.Unavailable)
	kind(t, s.Quorum().CreateGroup(t.Context(), "x", record("u2")), errs.Unavailable)
	if _, err := s.PutInstance(t.Context(), wire.Instance{System: "core", Site: "a", ID: "i", URL: "http://h:1"}); err != nil {
		t.Fatalf("registrations go on: %v", err)
	}
}

func TestManifestIsAppliedWholeOrNotAtAll(t *testing.T) {
	s, _ := one(t)
	g := create(t, s, "u1")
	policy := unit.Policy{Failover: unit.Confirm}
	plan := wire.ManifestPlan{
		Diff: []string{"+ group u2"}, Create: []unit.Record{record("u2")},
		Amend: []wire.GroupAmend{{Group: "u1", Transition: unit.Transition{Kind: unit.Amend, Ownership: g.Record.Ownership, Policy: &policy, Members: g.Record.Members, Units: g.Record.Units}}},
	}
	// Another change of u1 in between: nothing of the plan may be there afterwards.
	if _, err := s.Transition(t.Context(), "x", "u1", 0, enrol("u1-b", 1)); err != nil {
		t.Fatal(err)
	}
	_, err := s.ApplyManifest(t.Context(), "person:ann", "one", 0, []wire.Group{g}, plan)
	kind(t, err, errs.Conflict)
	_, err = s.Group(t.Context(), "u2", wire.Fresh)
	kind(t, err, errs.NotFound)
	if m, err := s.Manifest(t.Context(), wire.Fresh); err != nil || m.Revision != 0 {
		t.Fatalf("manifest %+v, %v", m, err)
	}

	groups, err := s.Groups(t.Context(), wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.ApplyManifest(t.Context(), "person:ann", "one", 0, groups, plan)
	if err != nil {
		t.Fatal(err)
	}
	read, err := s.Manifest(t.Context(), wire.Fresh)
	if err != nil || read != m || read.Text != "one" || read.By != "person:ann" || len(read.SHA256) != 64 {
		t.Fatalf("read %+v, applied %+v, %v", read, m, err)
	}
	amended, err := s.Group(t.Context(), "u1", wire.Fresh)
	if err != nil || amended.Record.Policy.Failover != unit.Confirm || amended.Revision != m.Revision {
		t.Fatalf("u1 %+v, %v", amended, err)
	}
	if made, err := s.Group(t.Context(), "u2", wire.Fresh); err != nil || made.Revision != m.Revision {
		t.Fatalf("u2 %+v, %v", made, err)
	}
	_, err = s.ApplyManifest(t.Context(), "person:ann", "two", 0, nil, wire.ManifestPlan{})
	kind(t, err, errs.Conflict) // there is one already
}

func TestRegistrationDisappearsWhenItIsNotRenewed(t *testing.T) {
	s, n := one(t)
	i := wire.Instance{System: "core", Site: "a", ID: "app-1", URL: "http://127.0.0.1:7600", TTLSeconds: 2}
	if _, err := s.PutInstance(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	before := n.Status(t.Context()).Revision
	if _, err := s.PutInstance(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	if after := n.Status(t.Context()).Revision; after != before {
		t.Fatalf("a renewal without a change wrote revisions %d to %d", before, after)
	}
	i.Leaving = true
	if _, err := s.PutInstance(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	list, err := s.Instances(t.Context(), wire.Fresh)
	if err != nil || len(list) != 1 || !list[0].Leaving {
		t.Fatalf("%+v, %v", list, err)
	}
	etcdtest.Until(t, "the registration is gone", func() bool {
		list, err := s.Instances(t.Context(), wire.Fresh)
		return err == nil && len(list) == 0
	})
	if _, err := s.PutInstance(t.Context(), i); err != nil {
		t.Fatalf("registering again after the end: %v", err)
	}
	if err := s.DeleteInstance(t.Context(), "core", "a", "app-1"); err != nil {
		t.Fatal(err)
	}
	if list, _ := s.Instances(t.Context(), wire.Fresh); len(list) != 0 {
		t.Fatal("a removed registration is still there")
	}
}

func TestWrongRegistrationsAreRefused(t *testing.T) {
	s, _ := one(t)
	good := wire.Instance{System: "core", Site: "a", ID: "app-1", URL: "http://127.0.0.1:7600"}
	for what, spoil := range map[string]func(*wire.Instance){
		"path":   func(i *wire.Instance) { i.ID = "../tokens/x" },
		"empty":  func(i *wire.Instance) { i.System = "" },
		"url":    func(i *wire.Instance) { i.URL = "ftp://x" },
		"ttl":    func(i *wire.Instance) { i.TTLSeconds = 1 },
		"ttl up": func(i *wire.Instance) { i.TTLSeconds = 601 },
	} {
		i := good
		spoil(&i)
		if _, err := s.PutInstance(t.Context(), i); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestStatusesAcksAndDivergencesAreKept(t *testing.T) {
	s, _ := one(t)
	if err := s.PutAck(t.Context(), wire.Ack{Gateway: "a", Site: "a", Version: 7}); err != nil {
		t.Fatal(err)
	}
	if acks, err := s.Acks(t.Context(), wire.Fresh); err != nil || len(acks) != 1 || acks[0].Version != 7 || acks[0].At == 0 {
		t.Fatalf("%+v, %v", acks, err)
	}
	if err := s.PutMemberStatus(t.Context(), wire.MemberStatus{Member: "u1-a", Status: json.RawMessage(`{"lag":3}`)}); err != nil {
		t.Fatal(err)
	}
	if m, err := s.MemberStatuses(t.Context(), wire.Fresh); err != nil || len(m) != 1 || string(m[0].Status) != `{"lag":3}` {
		t.Fatalf("%+v, %v", m, err)
	}
	kind(t, s.PutMemberStatus(t.Context(), wire.MemberStatus{Member: "u1-a", Status: json.RawMessage(`"` + strings.Repeat("x", 70000) + `"`)}), errs.Invalid)
	for _, id := range []string{"d1", "d2", "d1"} {
		if err := s.PutDivergence(t.Context(), wire.Divergence{Group: "u1", ID: id, Reporter: "agent:u1-a", Report: json.RawMessage(`[]`)}); err != nil {
			t.Fatal(err)
		}
	}
	if d, err := s.Divergences(t.Context(), "u1", wire.Fresh); err != nil || len(d) != 2 {
		t.Fatalf("%+v, %v", d, err)
	}
	if d, err := s.Divergences(t.Context(), "u", wire.Fresh); err != nil || len(d) != 0 {
		t.Fatalf("another group's divergences: %+v, %v", d, err)
	}
}

func TestTokenIsKnownByItsHashAndEndsWhenRevokedOrExpired(t *testing.T) {
	now := time.Now()
	s, n := one(t, func(o *store.Options) { o.Now = func() time.Time { return now } })
	token, err := s.CreateToken(t.Context(), "person:root", wire.AskToken{Name: "ann", Role: wire.Commander, Expires: now.Add(time.Hour).UnixMilli()})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Authenticate(t.Context(), token.Secret, true)
	if err != nil || got.Name != "ann" || !slices.Equal(got.Roles, []wire.Role{wire.Commander}) {
		t.Fatalf("%+v, %v", got, err)
	}
	all, err := n.Client().Get(t.Context(), "", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range all.Kvs {
		if strings.Contains(string(kv.Value), token.Secret) {
			t.Fatalf("the secret lies in the store under %s", kv.Key)
		}
	}
	for _, wrong := range []string{"", "x", token.Secret + "x", token.Secret[:len(token.Secret)-1], "perdure_" + token.ID + "_", "perdure_../x_y", strings.Replace(token.Secret, token.ID, "000000000000", 1)} {
		if _, err := s.Authenticate(t.Context(), wrong, true); errs.KindOf(err) != errs.Unauthorised {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	now = now.Add(2 * time.Hour)
	_, err = s.Authenticate(t.Context(), token.Secret, true)
	kind(t, err, errs.Unauthorised)
	now = now.Add(-2 * time.Hour)
	if err := s.RevokeToken(t.Context(), "person:root", token.ID); err != nil {
		t.Fatal(err)
	}
	_, err = s.Authenticate(t.Context(), token.Secret, true)
	kind(t, err, errs.Unauthorised)
	if err := s.RevokeToken(t.Context(), "person:root", token.ID); err != nil {
		t.Fatalf("revoking twice: %v", err)
	}
	kind(t, s.RevokeToken(t.Context(), "person:root", "none"), errs.NotFound)
	list, err := s.Tokens(t.Context(), wire.Fresh)
	if err != nil || len(list) != 1 || list[0].Revoked == 0 || list[0].RevokedBy != "person:root" {
		t.Fatalf("%+v, %v", list, err)
	}
	_, err = s.CreateToken(t.Context(), "x", wire.AskToken{Name: "ann", Role: "king"})
	kind(t, err, errs.Invalid)
	_, err = s.CreateToken(t.Context(), "x", wire.AskToken{Name: "ann", Role: wire.Viewer, Expires: now.Add(-time.Hour).UnixMilli()})
	kind(t, err, errs.Invalid)
}

func TestFirstAdminTokenIsMadeOnceAndOnlyItsOwnerMayReadIt(t *testing.T) {
	s, n := one(t)
	dir := t.TempDir()
	var made int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() {
			ok, err := open(t, n).BootstrapToken(t.Context(), filepath.Join(dir, fmt.Sprint(i), "admin.token"))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if ok {
				made++
			}
		})
	}
	wg.Wait()
	files, err := filepath.Glob(filepath.Join(dir, "*", "admin.token"))
	if err != nil || len(files) != 1 || made != 1 {
		t.Fatalf("%d nodes made it, files %v, %v", made, files, err)
	}
	info, err := os.Stat(files[0])
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	token, err := s.Authenticate(t.Context(), strings.TrimSpace(string(text)), true)
	if err != nil || !slices.Equal(token.Roles, []wire.Role{wire.Admin}) {
		t.Fatalf("%+v, %v", token, err)
	}
	if err := s.RevokeToken(t.Context(), "x", "bootstrap"); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.BootstrapToken(t.Context(), filepath.Join(dir, "again")); ok || err != nil {
		t.Fatalf("a revoked first token was made anew: %v, %v", ok, err)
	}
}

func TestNodesThatShareTheFileOfTheFirstAdminTokenLeaveOneThatIsValid(t *testing.T) {
	s, n := one(t)
	file := filepath.Join(t.TempDir(), "admin.token")
	var wg sync.WaitGroup
	for range 8 {
		st := open(t, n)
		wg.Go(func() {
			if _, err := st.BootstrapToken(t.Context(), file); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Authenticate(t.Context(), strings.TrimSpace(string(text)), true); err != nil {
		t.Fatal(err)
	}
}

func TestFirstAdminTokenMayBeHandedToTheNodes(t *testing.T) {
	s, _ := one(t)
	file := filepath.Join(t.TempDir(), "admin.token")
	secret := store.NewBootstrapSecret()
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.BootstrapToken(t.Context(), file); !ok || err != nil {
		t.Fatalf("%v, %v", ok, err)
	}
	if _, err := s.Authenticate(t.Context(), secret, true); err != nil {
		t.Fatal(err)
	}
	other, _ := one(t)
	if err := os.WriteFile(file, []byte("password"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := other.BootstrapToken(t.Context(), file)
	kind(t, err, errs.Invalid)
}

func TestEventsComeInOrderAndInPages(t *testing.T) {
	s, _ := one(t)
	for i := range 25 {
		if err := s.Note(t.Context(), "person:ann", "test", fmt.Sprint(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	var subjects []string
	after := int64(0)
	for {
		page, err := s.Events(t.Context(), after, 10, false, wire.Fresh)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			subjects = append(subjects, e.Subject)
			after = e.Revision
		}
	}
	for i, subject := range subjects {
		if subject != fmt.Sprint(i) {
			t.Fatalf("events %v", subjects)
		}
	}
	newest, err := s.Events(t.Context(), 0, 3, true, wire.Fresh)
	if err != nil || len(subjects) != 25 || len(newest) != 3 || newest[0].Subject != "22" || newest[2].Subject != "24" {
		t.Fatalf("%d events, newest %+v, %v", len(subjects), newest, err)
	}
}

func TestRecoveryBeginsAnIncarnationAndEmptiesEverySetInOneStroke(t *testing.T) {
	s, _ := one(t)
	first, err := s.EnsureIncarnation(t.Context())
	if err != nil || first.Counter != 1 || first.ID == "" {
		t.Fatalf("%+v, %v", first, err)
	}
	if again, err := s.EnsureIncarnation(t.Context()); err != nil || again.Incarnation != first.Incarnation {
		t.Fatalf("%+v, %v", again, err)
	}
	for _, name := range []string{"u1", "u2"} {
		g := create(t, s, name)
		if _, err := s.Transition(t.Context(), "x", g.Record.Group, 0, reopen(g)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Transition(t.Context(), "x", g.Record.Group, 0, enrol(name+"-b", 4)); err != nil {
			t.Fatal(err)
		}
		g, err := s.Group(t.Context(), g.Record.Group, wire.Fresh)
		if err != nil {
			t.Fatal(err)
		}
		grow := unit.Transition{Kind: unit.Grow, By: g.Record.Owner, Ownership: g.Record.Ownership, Member: estate.Life{Member: estate.MemberID(name + "-b"), N: 4}, LSN: 100}
		if _, err := s.Transition(t.Context(), "x", g.Record.Group, 0, grow); err != nil {
			t.Fatal(err)
		}
	}
	next, err := s.Recover(t.Context(), "person:ann", "recover", "both sites of the city are lost")
	if err != nil {
		t.Fatal(err)
	}
	if next.Counter != first.Counter+1 || next.ID == first.ID || next.By != "person:ann" || next.From == 0 {
		t.Fatalf("incarnation %+v after %+v", next, first)
	}
	groups, err := s.Groups(t.Context(), wire.Fresh)
	if err != nil || len(groups) != 2 {
		t.Fatalf("%v, %v", groups, err)
	}
	for _, g := range groups {
		r := g.Record
		if len(r.InSync) != 0 || r.State != unit.Closed || r.Ownership.Incarnation != next.Incarnation || r.Lost == nil || len(r.Lost.InSync) != 1 || r.Switch.Active() {
			t.Errorf("%s after the recovery: %+v", r.Group, r)
		}
		if g.Revision != groups[0].Revision {
			t.Errorf("%s was recovered in another transaction", r.Group)
		}
	}
	events, err := s.Events(t.Context(), 0, 1, true, wire.Fresh)
	if err != nil || events[0].What != "estate.recover" || events[0].Who != "person:ann" || events[0].Revision != groups[0].Revision {
		t.Fatalf("%+v, %v", events, err)
	}
}

func TestFullStoreSaysSoAndStillReads(t *testing.T) {
	o := etcdtest.Options(t, 1)[0]
	o.Quota = 16 << 20
	n := etcdtest.Start(t, o)[0]
	s := open(t, n)
	g := create(t, s, "u1")
	block := strings.Repeat("x", 1<<20)
	etcdtest.Until(t, "the store is full", func() bool {
		_, err := n.Client().Put(t.Context(), "big", block)
		return err != nil
	})
	_, err := s.Transition(t.Context(), "x", "u1", 0, reopen(g))
	kind(t, err, errs.Unavailable)
	if !strings.Contains(err.Error(), "space quota (NOSPACE alarm)") || !strings.Contains(err.Error(), "reclaim") {
		t.Fatalf("says %q", err)
	}
	if _, err := s.Group(t.Context(), "u1", wire.Fresh); err != nil {
		t.Fatalf("a full store does not read: %v", err)
	}
	if err := n.Reclaim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Transition(t.Context(), "x", "u1", 0, reopen(g)); err != nil {
		t.Fatal(err)
	}
}

func TestWithoutQuorumChangesAreUnavailableAtOnceWhileLocalReadsAndWatchesGoOn(t *testing.T) {
	nodes := etcdtest.Start(t, etcdtest.Options(t, 3)...)
	n := nodes[2]
	s := open(t, n, func(o *store.Options) { o.HasLeader = n.HasLeader })
	g := create(t, s, "u1")
	token, err := s.CreateToken(t.Context(), "x", wire.AskToken{Name: "ann", Role: wire.Viewer})
	if err != nil {
		t.Fatal(err)
	}
	updates := watch(t, s, wire.Position{}, "groups/")
	if u := <-updates; !u.Reset || len(u.Changes) != 1 {
		t.Fatalf("%+v", u)
	}
	nodes[0].Stop()
	nodes[1].Stop()
	etcdtest.Until(t, "the survivor knows that it is alone", func() bool { return !n.HasLeader(t.Context()) })
	began := time.Now()
	_, err = s.Transition(t.Context(), "x", "u1", g.Revision, reopen(g))
	kind(t, err, errs.Unavailable)
	if took := time.Since(began); took > patient/2 {
		t.Fatalf("it took %s to say so", took)
	}
	if _, err := s.Group(t.Context(), "u1", wire.Local); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Authenticate(t.Context(), token.Secret, true); err != nil {
		t.Fatal(err)
	}
	late := watch(t, s, wire.Position{}, "groups/")
	if u := <-late; !u.Reset || len(u.Changes) != 1 {
		t.Fatalf("a new watch without a quorum: %+v", u)
	}
}

func TestTransitionWithoutAnswerEndsByItsDeadline(t *testing.T) {
	nodes := etcdtest.Start(t, etcdtest.Options(t, 3)...)
	s := open(t, nodes[2], func(o *store.Options) { o.Timeout = 300 * time.Millisecond }) // and no HasLeader to help it
	g := create(t, open(t, nodes[2]), "u1")
	nodes[0].Stop()
	nodes[1].Stop()
	_, err := s.Transition(t.Context(), "x", "u1", g.Revision, reopen(g))
	kind(t, err, errs.Unavailable)
	kind(t, s.PutAck(t.Context(), wire.Ack{Gateway: "a"}), errs.Unknown)
}

// watch hands the changes on; heartbeats are left out.
func watch(t *testing.T, s *store.Store, from wire.Position, prefixes ...string) <-chan wire.Update {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	updates := make(chan wire.Update)
	var wg sync.WaitGroup
	wg.Go(func() {
		err := s.Watch(ctx, from, prefixes, func(u wire.Update) error {
			if u.Heartbeat {
				return nil
			}
			select {
			case updates <- u:
			case <-ctx.Done():
			}
			return nil
		})
		if err != nil {
			t.Errorf("watch: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return updates
}

func TestWatchGivesTheStateThenEveryChangeAndResumes(t *testing.T) {
	s, _ := one(t)
	if _, err := s.EnsureIncarnation(t.Context()); err != nil {
		t.Fatal(err)
	}
	g := create(t, s, "u1")
	all := watch(t, s, wire.Position{}, "groups/", "instances/")
	first := <-all
	if !first.Reset || len(first.Changes) != 1 || first.Changes[0].Key != "groups/u1" || first.Position.Incarnation.Counter != 1 {
		t.Fatalf("%+v", first)
	}
	if _, err := s.PutInstance(t.Context(), wire.Instance{System: "core", Site: "a", ID: "i", URL: "http://h:1"}); err != nil {
		t.Fatal(err)
	}
	second := <-all
	if second.Reset || len(second.Changes) != 1 || second.Changes[0].Key != "instances/core/a/i" {
		t.Fatalf("%+v", second)
	}
	if _, err := s.CreateToken(t.Context(), "x", wire.AskToken{Name: "ann", Role: wire.Viewer}); err != nil { // not for watchers
		t.Fatal(err)
	}
	after, err := s.Transition(t.Context(), "x", "u1", g.Revision, reopen(g))
	if err != nil {
		t.Fatal(err)
	}
	third := <-all
	if len(third.Changes) != 1 || third.Position.Revision != after.Revision || third.Changes[0].Revision != after.Revision {
		t.Fatalf("%+v", third)
	}
	if err := s.DeleteInstance(t.Context(), "core", "a", "i"); err != nil {
		t.Fatal(err)
	}
	if u := <-all; !u.Changes[0].Deleted || u.Changes[0].Value != nil {
		t.Fatalf("%+v", u)
	}
	resumed := watch(t, s, second.Position, "groups/", "instances/")
	if u := <-resumed; u.Reset || u.Position != third.Position {
		t.Fatalf("resumed with %+v", u)
	}
}

func TestWatchBeginsAnewAfterCompactionAndInANewIncarnation(t *testing.T) {
	s, n := one(t)
	if _, err := s.EnsureIncarnation(t.Context()); err != nil {
		t.Fatal(err)
	}
	create(t, s, "u1")
	first := <-watch(t, s, wire.Position{}, "groups/")
	for life := range uint64(5) {
		if _, err := s.Transition(t.Context(), "x", "u1", 0, enrol("u1-b", life+1)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.Client().Compact(t.Context(), n.Status(t.Context()).Revision); err != nil {
		t.Fatal(err)
	}
	late := watch(t, s, first.Position, "groups/")
	second := <-late
	if !second.Reset || len(second.Changes) != 1 || second.Position.Revision <= first.Position.Revision {
		t.Fatalf("after compaction: %+v", second)
	}
	if _, err := s.Recover(t.Context(), "person:ann", "recover", "test"); err != nil {
		t.Fatal(err)
	}
	if u := <-late; !u.Reset || u.Position.Incarnation.Counter != 2 {
		t.Fatalf("a running watch after the recovery: %+v", u)
	}
	future := second.Position
	future.Revision += 1_000_000 // the lost majority was far ahead
	if u := <-watch(t, s, future, "groups/"); !u.Reset || u.Position.Incarnation.Counter != 2 {
		t.Fatalf("a watcher of the old incarnation: %+v", u)
	}
	future.Incarnation.Counter, future.Incarnation.ID = 2, (<-watch(t, s, wire.Position{}, "groups/")).Position.Incarnation.ID
	if u := <-watch(t, s, future, "groups/"); !u.Reset || u.Position.Revision >= future.Revision {
		t.Fatalf("a watcher from a position that never was: %+v", u)
	}
}

func TestWatchRefusesSecrets(t *testing.T) {
	s, _ := one(t)
	for _, p := range []string{"tokens/", "tokens/x", "tok", "events/", "e"} {
		err := s.Watch(t.Context(), wire.Position{}, []string{p}, func(wire.Update) error { return nil })
		kind(t, err, errs.Forbidden)
	}
	if _, err := s.CreateToken(t.Context(), "x", wire.AskToken{Name: "ann", Role: wire.Viewer}); err != nil {
		t.Fatal(err)
	}
	u := <-watch(t, s, wire.Position{})
	if i := slices.IndexFunc(u.Changes, func(c wire.Change) bool { return strings.HasPrefix(c.Key, "tokens/") }); i >= 0 {
		t.Fatal("the whole state shows tokens")
	}
}

func TestWatchGroupsHandsOnEveryRecord(t *testing.T) {
	s, _ := one(t)
	g := create(t, s, "u1")
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan wire.Group, 10)
	done := make(chan error, 1)
	go func() { done <- s.Quorum().WatchGroups(ctx, func(g wire.Group) { seen <- g }) }()
	if first := <-seen; first.Revision != g.Revision {
		t.Fatalf("%+v", first)
	}
	after, err := s.Transition(t.Context(), "x", "u1", 0, reopen(g))
	if err != nil {
		t.Fatal(err)
	}
	if next := <-seen; next.Revision != after.Revision || next.Record.State != unit.Open {
		t.Fatalf("%+v", next)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

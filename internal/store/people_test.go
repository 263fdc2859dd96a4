package store_test

import (
	"bytes"
	"context"
	"encoding/base32"
	"encoding/base64"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/etcdnode"
	"perdure/internal/etcdnode/etcdtest"
	"perdure/internal/person"
	"perdure/internal/store"
	"perdure/internal/wire"
)

const (
	annsPassword = "correct horse battery"
	secretText   = "12345678901234567890"
)

// clock is a wall clock that only the test moves.
type clock struct{ millis atomic.Int64 }

func (c *clock) now() time.Time          { return time.UnixMilli(c.millis.Load()) }
func (c *clock) advance(d time.Duration) { c.millis.Add(d.Milliseconds()) }

// withAnn is a store with one user, and another store on the same state.
func withAnn(t *testing.T, tune ...func(*store.Options)) (a, b *store.Store, n *etcdnode.Node, c *clock) {
	t.Helper()
	c = &clock{}
	c.millis.Store(1_800_000_000_000)
	n = etcdtest.Start(t, etcdtest.Options(t, 1)...)[0]
	tune = append([]func(*store.Options){cheap, func(o *store.Options) { o.Now = c.now }}, tune...)
	a, b = open(t, n, tune...), open(t, n, tune...)
	if _, err := a.AddUser(t.Context(), "person:root", wire.NewUser{Name: "ann", Roles: []wire.Role{wire.Operator}, Password: annsPassword}); err != nil {
		t.Fatal(err)
	}
	return a, b, n, c
}

func cheap(o *store.Options) { o.Cost = person.Cost{Memory: 64, Time: 1, Lanes: 1} }

func login(t *testing.T, s *store.Store, password, code string) (wire.NewSession, error) {
	t.Helper()
	return s.Login(t.Context(), wire.Login{User: "ann", Password: password, Code: code}, "192.0.2.1")
}

func mustLogin(t *testing.T, s *store.Store, code string) wire.NewSession {
	t.Helper()
	in, err := login(t, s, annsPassword, code)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func codeAt(t *testing.T, at time.Time) string {
	t.Helper()
	code, err := totp.GenerateCode(base32.StdEncoding.EncodeToString([]byte(secretText)), at)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func enrolFactor(t *testing.T, s *store.Store, c *clock) []string {
	t.Helper()
	codes, err := s.SetFactor(t.Context(), "ann", wire.NewFactor{Password: annsPassword, Secret: []byte(secretText), Present: codeAt(t, c.now())}, "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	return codes
}

// everything is all that lies in the store, as bytes.
func everything(t *testing.T, n *etcdnode.Node) []byte {
	t.Helper()
	resp, err := n.Client().Get(t.Context(), store.Root, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	for _, kv := range resp.Kvs {
		all.Write(kv.Key)
		all.Write(kv.Value)
	}
	return all.Bytes()
}

func TestLoginOpensASessionWithThePersonsRoles(t *testing.T) {
	a, b, n, _ := withAnn(t)
	in := mustLogin(t, a, "")
	who, err := b.Authenticate(t.Context(), in.Secret, true)
	if err != nil || who.Name != "ann" || !slices.Equal(who.Roles, []wire.Role{wire.Operator}) || who.Session != in.ID || who.Factor != 0 {
		t.Fatalf("%+v, %v", who, err)
	}
	_, err = b.Authenticate(t.Context(), in.Secret+"x", true)
	kind(t, err, errs.Unauthorised)
	_, err = login(t, a, "another password", "")
	kind(t, err, errs.Unauthorised)
	if _, err := a.SetUserRoles(t.Context(), "person:root", "ann", []wire.Role{wire.Auditor, wire.Driller}); err != nil {
		t.Fatal(err)
	}
	if who, err = b.Authenticate(t.Context(), in.Secret, true); err != nil || !slices.Equal(who.Roles, []wire.Role{wire.Auditor, wire.Driller}) {
		t.Errorf("with other roles: %+v, %v", who, err)
	}
	all := everything(t, n)
	for _, secret := range []string{annsPassword, in.Secret, in.Secret[len(in.Secret)-20:]} {
		if bytes.Contains(all, []byte(secret)) {
			t.Errorf("%q lies in the store", secret)
		}
	}
	sessions, err := a.Sessions(t.Context(), wire.Fresh)
	if err != nil || len(sessions) != 1 || sessions[0] != in.Session {
		t.Errorf("sessions %+v, %v", sessions, err)
	}
	events, err := a.Events(t.Context(), 0, 100, false, wire.Fresh)
	var told []string
	for _, e := range events {
		told = append(told, e.Who+" "+e.What+" "+e.Subject)
	}
	if want := []string{"person:root user.add ann", "person:ann login " + in.ID, "node:a login.failed ann", "person:root user.roles ann"}; err != nil || !slices.Equal(told, want) {
		t.Errorf("events %q, %v", told, err)
	}
}

func TestWrongTriesWaitOnAllNodesWhateverIsTriedThen(t *testing.T) {
	a, b, _, c := withAnn(t)
	nodes := []*store.Store{a, b}
	for i := range 5 {
		_, err := login(t, nodes[i%2], "wrong password", "")
		kind(t, err, errs.Unauthorised)
	}
	for _, s := range nodes {
		_, err := login(t, s, annsPassword, "")
		kind(t, err, errs.Unauthorised)
	}
	users, err := a.Users(t.Context(), wire.Fresh)
	if err != nil || users[0].Waits != c.now().Add(15*time.Second).UnixMilli() {
		t.Fatalf("%+v, %v", users, err)
	}
	c.advance(15 * time.Second)
	mustLogin(t, b, "")
	for range 4 { // a right one has made them forgotten
		_, err := login(t, a, "wrong password", "")
		kind(t, err, errs.Unauthorised)
	}
	mustLogin(t, b, "")
	for range 5 {
		_, err := login(t, a, "wrong password", "")
		kind(t, err, errs.Unauthorised)
	}
	if _, err := b.UnlockUser(t.Context(), "person:root", "ann"); err != nil {
		t.Fatal(err)
	}
	mustLogin(t, a, "")
}

func TestTriesAtTheSameTimeCountOneByOne(t *testing.T) {
	a, b, _, _ := withAnn(t)
	var work sync.WaitGroup
	for i := range 24 {
		work.Go(func() {
			_, err := []*store.Store{a, b}[i%2].Login(t.Context(), wire.Login{User: "ann", Password: "wrong password"}, "192.0.2.1")
			if k := errs.KindOf(err); k != errs.Unauthorised && k != errs.Conflict {
				t.Errorf("a try: %v", err)
			}
		})
	}
	work.Wait()
	events, err := a.Events(t.Context(), 0, 100, false, wire.Fresh)
	judged := len(events) - 1
	if err != nil || judged != 5 {
		t.Errorf("%d tries were judged before the name waited, %v", judged, err)
	}
}

func TestSecondFactorIsNeededOnceItIsEnrolledAndEachCodeIsGoodOnce(t *testing.T) {
	a, b, n, c := withAnn(t)
	before := mustLogin(t, a, "")
	codes := enrolFactor(t, a, c)
	_, err := a.Authenticate(t.Context(), before.Secret, true)
	kind(t, err, errs.Unauthorised) // it had shown none
	all := everything(t, n)
	for _, secret := range []string{secretText, base32.StdEncoding.EncodeToString([]byte(secretText)), base64.StdEncoding.EncodeToString([]byte(secretText)), codes[0], strings.ReplaceAll(codes[0], "-", "")} {
		if bytes.Contains(all, []byte(secret)) {
			t.Errorf("%q lies in the store", secret)
		}
	}
	_, err = login(t, a, annsPassword, "")
	kind(t, err, errs.Unauthorised)
	_, err = login(t, b, annsPassword, codeAt(t, c.now()))
	kind(t, err, errs.Unauthorised) // it was given at the enrolment
	c.advance(30 * time.Second)
	code := codeAt(t, c.now())
	in := mustLogin(t, a, code)
	if who, err := b.Authenticate(t.Context(), in.Secret, true); err != nil || who.Factor != c.now().UnixMilli() {
		t.Errorf("the session: %+v, %v", who, err)
	}
	_, err = login(t, b, annsPassword, code)
	kind(t, err, errs.Unauthorised)
	mustLogin(t, b, strings.ToLower(codes[3]))
	_, err = login(t, a, annsPassword, codes[3])
	kind(t, err, errs.Unauthorised)
	users, err := a.Users(t.Context(), wire.Fresh)
	if err != nil || users[0].Recovery != person.RecoveryCodes-1 || users[0].Factor == 0 {
		t.Errorf("%+v, %v", users, err)
	}
	_, err = a.SetFactor(t.Context(), "ann", wire.NewFactor{Password: annsPassword, Secret: []byte(secretText), Present: codeAt(t, c.now())}, "")
	kind(t, err, errs.Unauthorised) // who replaces it shows it
	_, err = a.SetFactor(t.Context(), "ann", wire.NewFactor{Password: annsPassword, Secret: []byte("short"), Present: "000000"}, "")
	kind(t, err, errs.Invalid)
}

func TestOwnPasswordKeepsTheSecondFactorAndAnAdministratorsTakesItOff(t *testing.T) {
	a, _, _, c := withAnn(t)
	enrolFactor(t, a, c)
	c.advance(30 * time.Second)
	in := mustLogin(t, a, codeAt(t, c.now()))
	c.advance(30 * time.Second)
	err := a.ChangePassword(t.Context(), "ann", wire.NewPassword{Password: annsPassword, Code: codeAt(t, c.now()), New: "short"}, "")
	kind(t, err, errs.Invalid)
	if err := a.ChangePassword(t.Context(), "ann", wire.NewPassword{Password: annsPassword, Code: codeAt(t, c.now()), New: "another long password"}, ""); err != nil {
		t.Fatal(err)
	}
	_, err = a.Authenticate(t.Context(), in.Secret, true)
	kind(t, err, errs.Unauthorised)
	c.advance(30 * time.Second)
	_, err = login(t, a, annsPassword, codeAt(t, c.now()))
	kind(t, err, errs.Unauthorised)
	if in, err := login(t, a, "another long password", codeAt(t, c.now())); err != nil || in.Factor == 0 {
		t.Fatalf("%+v, %v", in, err)
	}
	if u, err := a.ResetPassword(t.Context(), "person:root", "ann", "a third long password"); err != nil || u.Factor != 0 || u.Recovery != 0 {
		t.Fatalf("%+v, %v", u, err)
	}
	if in, err := login(t, a, "a third long password", ""); err != nil || in.Factor != 0 {
		t.Fatalf("%+v, %v", in, err)
	}
}

func TestHashOfAnotherCostIsMadeAnewAtTheNextLogin(t *testing.T) {
	a, _, n, c := withAnn(t)
	enrolFactor(t, a, c)
	c.advance(30 * time.Second)
	dearer := open(t, n, func(o *store.Options) {
		o.Now, o.Cost = c.now, person.Cost{Memory: 128, Time: 2, Lanes: 1}
	})
	mustLogin(t, dearer, codeAt(t, c.now()))
	if !bytes.Contains(everything(t, n), []byte("argon2id$v=19$m=128,t=2,p=1$")) {
		t.Error("the hash costs what it cost")
	}
	c.advance(30 * time.Second)
	mustLogin(t, a, codeAt(t, c.now())) // the second factor opens with the new keys, and with the old cost's again
}

func TestWhatEndsAPersonsSessionsEndsThemAtOnceOnAllNodes(t *testing.T) {
	nodes := etcdtest.Start(t, etcdtest.Options(t, 3)...)
	var stores []*store.Store
	for _, n := range nodes {
		stores = append(stores, open(t, n, cheap))
	}
	password := annsPassword
	if _, err := stores[0].AddUser(t.Context(), "person:root", wire.NewUser{Name: "ann", Roles: []wire.Role{wire.Viewer}, Password: password}); err != nil {
		t.Fatal(err)
	}
	var in wire.NewSession
	for name, end := range map[string]func() error{
		"lock": func() error { _, err := stores[0].LockUser(t.Context(), "person:root", "ann"); return err },
		"password": func() error {
			password = "another long password"
			_, err := stores[0].ResetPassword(t.Context(), "person:root", "ann", password)
			return err
		},
		"logout": func() error { return stores[0].EndSession(t.Context(), "person:ann", "ann", in.ID) },
	} {
		var err error
		if in, err = stores[2].Login(t.Context(), wire.Login{User: "ann", Password: password}, ""); err != nil {
			t.Fatal(err)
		}
		for i, s := range stores {
			if _, err := s.Authenticate(t.Context(), in.Secret, true); err != nil {
				t.Errorf("%s: node %d refuses the session: %v", name, i, err)
			}
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		for _, i := range []int{2, 1, 0} {
			if _, err := stores[i].Authenticate(t.Context(), in.Secret, true); errs.KindOf(err) != errs.Unauthorised {
				t.Errorf("%s: node %d takes the session: %v", name, i, err)
			}
		}
		if sessions, err := stores[1].Sessions(t.Context(), wire.Fresh); err != nil || len(sessions) != 0 {
			t.Errorf("%s: sessions %+v, %v", name, sessions, err)
		}
		if _, err := stores[0].UnlockUser(t.Context(), "person:root", "ann"); err != nil {
			t.Fatal(err)
		}
	}
	in, err := stores[1].Login(t.Context(), wire.Login{User: "ann", Password: password}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stores[0].RemoveUser(t.Context(), "person:root", "ann"); err != nil {
		t.Fatal(err)
	}
	_, err = stores[2].Authenticate(t.Context(), in.Secret, true)
	kind(t, err, errs.Unauthorised)
	_, err = stores[1].Login(t.Context(), wire.Login{User: "ann", Password: password}, "")
	kind(t, err, errs.Unauthorised)
	_, err = stores[0].AddUser(t.Context(), "person:root", wire.NewUser{Name: "ann", Roles: []wire.Role{wire.Viewer}, Password: password})
	kind(t, err, errs.Conflict)
	_, err = stores[0].SetUserRoles(t.Context(), "person:root", "ann", []wire.Role{wire.Admin})
	kind(t, err, errs.Conflict)
}

func TestSessionEndsUnusedAndAfterItsLife(t *testing.T) {
	a, _, _, c := withAnn(t)
	idle, used := mustLogin(t, a, ""), mustLogin(t, a, "")
	for range 8*2 - 1 {
		c.advance(29 * time.Minute)
		if _, err := a.Authenticate(t.Context(), used.Secret, true); err != nil {
			t.Fatalf("after %s: %v", time.Duration(c.now().UnixMilli()-used.Created)*time.Millisecond, err)
		}
	}
	_, err := a.Authenticate(t.Context(), idle.Secret, true)
	kind(t, err, errs.Unauthorised)
	c.advance(29 * time.Minute)
	if _, err := a.Authenticate(t.Context(), used.Secret, true); err != nil {
		t.Fatal(err)
	}
	c.advance(20 * time.Minute)
	_, err = a.Authenticate(t.Context(), used.Secret, true)
	kind(t, err, errs.Unauthorised)
}

func TestNobodyEndsTheSessionOfAnotherPersonAsTheirOwn(t *testing.T) {
	a, _, _, _ := withAnn(t)
	in := mustLogin(t, a, "")
	kind(t, a.EndSession(t.Context(), "person:bob", "bob", in.ID), errs.NotFound)
	if err := a.EndSession(t.Context(), "person:root", "", in.ID); err != nil {
		t.Fatal(err)
	}
	_, err := a.Authenticate(t.Context(), in.Secret, true)
	kind(t, err, errs.Unauthorised)
}

func TestPolicyRequiresASecondFactorOfSessionsUnlessSetOtherwise(t *testing.T) {
	a, b, _, _ := withAnn(t)
	if p, err := a.Policy(t.Context(), wire.Fresh); err != nil || p.SecondFactor != wire.FactorSessions {
		t.Fatalf("%+v, %v", p, err)
	}
	_, err := a.SetPolicy(t.Context(), "person:root", wire.Policy{SecondFactor: "sometimes"})
	kind(t, err, errs.Invalid)
	if _, err := a.SetPolicy(t.Context(), "person:root", wire.Policy{SecondFactor: wire.FactorAll}); err != nil {
		t.Fatal(err)
	}
	if p, err := b.Policy(t.Context(), wire.Fresh); err != nil || p.SecondFactor != wire.FactorAll || p.By != "person:root" {
		t.Fatalf("%+v, %v", p, err)
	}
}

func TestPersonIsAnActiveUserOrHasAToken(t *testing.T) {
	a, _, _, _ := withAnn(t)
	token, err := a.CreateToken(t.Context(), "person:root", wire.AskToken{Name: "bob", Role: wire.Viewer})
	if err != nil {
		t.Fatal(err)
	}
	is := func(name string, want bool) {
		t.Helper()
		if got, err := a.Person(t.Context(), name, ""); err != nil || got != want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	is("ann", true)
	is("bob", true)
	is("cid", false)
	is("", false)
	for _, ask := range []wire.AskToken{{Name: "dan", Role: wire.Viewer, Tenant: "north"}, {Name: "eve", Role: wire.Viewer, Tenant: "south"}} {
		if _, err := a.CreateToken(t.Context(), "person:root", ask); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]bool{"ann": true, "dan": true, "eve": false} { // the platform's own act for every tenant
		if got, err := a.Person(t.Context(), name, "north"); err != nil || got != want {
			t.Errorf("%s for north: %v, %v", name, got, err)
		}
	}
	is("dan", false)
	if err := a.RevokeToken(t.Context(), "person:root", token.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := a.LockUser(t.Context(), "person:root", "ann"); err != nil {
		t.Fatal(err)
	}
	is("bob", false)
	is("ann", false)
}

func TestNameOfSomebodyIsNobodysOfAnotherTenant(t *testing.T) {
	a, _, _, _ := withAnn(t) // the platform's own
	_, err := a.CreateToken(t.Context(), "person:root", wire.AskToken{Name: "ann", Role: wire.Viewer, Tenant: "north"})
	kind(t, err, errs.Conflict)
	if _, err := a.CreateToken(t.Context(), "person:root", wire.AskToken{Name: "dan", Role: wire.Viewer, Tenant: "north"}); err != nil {
		t.Fatal(err)
	}
	for _, tenant := range []estate.TenantID{"", "south"} {
		_, err = a.CreateToken(t.Context(), "person:root", wire.AskToken{Name: "dan", Role: wire.Viewer, Tenant: tenant})
		kind(t, err, errs.Conflict)
		_, err = a.AddUser(t.Context(), "person:root", wire.NewUser{Name: "dan", Roles: []wire.Role{wire.Viewer}, Tenant: tenant, Password: annsPassword})
		kind(t, err, errs.Conflict)
	}
	if _, err := a.AddUser(t.Context(), "person:root", wire.NewUser{Name: "dan", Roles: []wire.Role{wire.Viewer}, Tenant: "north", Password: annsPassword}); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"Ann", "DAN"} { // two names would be two voices
		_, err = a.CreateToken(t.Context(), "person:root", wire.AskToken{Name: name, Role: wire.Viewer})
		kind(t, err, errs.Conflict)
		_, err = a.AddUser(t.Context(), "person:root", wire.NewUser{Name: name, Roles: []wire.Role{wire.Viewer}, Password: annsPassword})
		kind(t, err, errs.Conflict)
	}
}

func TestWrongUsersAreRefused(t *testing.T) {
	a, _, _, _ := withAnn(t)
	for _, u := range []wire.NewUser{
		{Name: "b:b", Roles: []wire.Role{wire.Viewer}, Password: annsPassword},
		{Name: "operator", Roles: []wire.Role{wire.Viewer}, Password: annsPassword},
		{Name: "bob", Password: annsPassword},
		{Name: "bob", Roles: []wire.Role{"king"}, Password: annsPassword},
		{Name: "bob", Roles: []wire.Role{wire.Viewer}, Password: "short"},
		{Name: "bob", Roles: []wire.Role{wire.Viewer, wire.Admin}, Tenant: "north", Password: annsPassword},
		{Name: "bob", Roles: []wire.Role{wire.Viewer}, Tenant: "no/rth", Password: annsPassword},
	} {
		_, err := a.AddUser(t.Context(), "person:root", u)
		kind(t, err, errs.Invalid)
	}
	_, err := a.LockUser(t.Context(), "person:root", "nobody")
	kind(t, err, errs.NotFound)
}

func TestSecretsOfPeopleAreNotWatched(t *testing.T) {
	a, _, _, _ := withAnn(t)
	for _, prefix := range []string{"users/", "users/ann", "sessions/", "tries/", "use"} {
		kind(t, a.Watch(t.Context(), wire.Position{}, []string{prefix}, func(wire.Update) error { return nil }), errs.Forbidden)
	}
}

func TestSessionsDoNotOutliveARecoveryOfTheStore(t *testing.T) {
	a, _, _, _ := withAnn(t)
	in := mustLogin(t, a, "")
	if _, err := a.Recover(t.Context(), "person:ann", "restore", "the store was lost"); err != nil {
		t.Fatal(err)
	}
	_, err := a.Authenticate(t.Context(), in.Secret, true)
	kind(t, err, errs.Unauthorised)
	if sessions, err := a.Sessions(t.Context(), wire.Fresh); err != nil || len(sessions) != 0 {
		t.Errorf("sessions %+v, %v", sessions, err)
	}
	in = mustLogin(t, a, "")
	if _, err := a.Authenticate(t.Context(), in.Secret, true); err != nil {
		t.Error(err)
	}
}

func TestWithoutAQuorumASessionOnlyReads(t *testing.T) {
	var leaderless atomic.Bool
	a, _, _, _ := withAnn(t, func(o *store.Options) { o.HasLeader = func(context.Context) bool { return !leaderless.Load() } })
	in := mustLogin(t, a, "")
	leaderless.Store(true)
	if _, err := a.Authenticate(t.Context(), in.Secret, true); err != nil {
		t.Errorf("it does not read: %v", err)
	}
	_, err := a.Authenticate(t.Context(), in.Secret, false)
	kind(t, err, errs.Unavailable)
	_, err = login(t, a, annsPassword, "")
	kind(t, err, errs.Unavailable)
}

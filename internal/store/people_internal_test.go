package store

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/etcdnode/etcdtest"
	"perdure/internal/person"
	"perdure/internal/wire"
)

// noted is a client that notes what it is asked.
type noted struct {
	clientv3.KV
	way *[]string
}

func (n noted) Get(ctx context.Context, key string, o ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	kind, _, _ := strings.Cut(strings.TrimPrefix(key, Root), "/")
	*n.way = append(*n.way, "read "+kind)
	return n.KV.Get(ctx, key, o...)
}

func (n noted) Txn(ctx context.Context) clientv3.Txn {
	*n.way = append(*n.way, "write")
	return n.KV.Txn(ctx)
}

// TestTryOfANameThatNobodyHasTakesTheWayOfAWrongOne: what is read, hashed at which cost, and written is the same, so that nobody finds out who
// there is by the time that it takes.
func TestTryOfANameThatNobodyHasTakesTheWayOfAWrongOne(t *testing.T) {
	n := etcdtest.Start(t, etcdtest.Options(t, 1)...)[0]
	now := time.Unix(1_800_000_000, 0)
	s := New(n.Client(), Options{Node: "a", Timeout: 30 * time.Second, Logger: etcdtest.Logger(t), Now: func() time.Time { return now }, Cost: person.Cost{Memory: 64, Time: 1, Lanes: 1}})
	for _, name := range []string{"ann", "bob", "cid"} {
		if _, err := s.AddUser(t.Context(), "test", wire.NewUser{Name: name, Roles: []wire.Role{wire.Viewer}, Password: "correct horse battery"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.LockUser(t.Context(), "test", "bob"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RemoveUser(t.Context(), "test", "cid"); err != nil {
		t.Fatal(err)
	}
	var way []string
	plain := n.Client().KV
	n.Client().KV = noted{plain, &way}
	t.Cleanup(func() { n.Client().KV = plain })
	s.derive = func(password string, salt []byte, c person.Cost) person.Keys {
		way = append(way, "hash")
		if len(salt) != person.SaltSize || c != s.o.Cost {
			t.Errorf("a hash of %d bytes of salt at cost %+v", len(salt), c)
		}
		return person.Derive(password, salt, c)
	}
	try := func(name, password string) []string {
		t.Helper()
		way = nil
		_, err := s.Login(t.Context(), wire.Login{User: name, Password: password}, "192.0.2.1")
		if errs.KindOf(err) != errs.Unauthorised || err.Error() != badLogin().Error() {
			t.Fatalf("%s: %v", name, err)
		}
		return way
	}
	// Five tries, then the name waits: in both the way is that of a wrong password of somebody.
	for i := range 7 {
		want := []string{"read users", "read tries", "hash", "write"}
		if i >= 5 {
			want = want[:3]
		}
		for name, password := range map[string]string{"ann": "wrong password", "nobody": "correct horse battery", "bob": "correct horse battery", "cid": "correct horse battery", "no name: at all": "x", "": ""} {
			if diff := cmp.Diff(want, try(name, password)); diff != "" {
				t.Errorf("try %d of %q takes another way:\n%s", i+1, name, diff)
			}
		}
	}
}

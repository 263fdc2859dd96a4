package collect_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"perdure/internal/estate"
	"perdure/internal/guard"
	"perdure/internal/lab/checker"
	"perdure/internal/lab/checker/collect"
	"perdure/internal/lab/history"
	"perdure/internal/lab/load"
	"perdure/internal/pgtest"
	"perdure/sdk"
)

// bank is the reference system's schema behind the thinnest of applications: two units, each in a database of its own.
type bank struct {
	t       *testing.T
	server  *pgtest.Server
	pools   map[estate.UnitID]*pgxpool.Pool
	unit    map[string]estate.UnitID // of each account
	answers int
	enough  chan struct{}
	want    int
	mu      sync.Mutex
}

var units = []estate.UnitID{"u1", "u2"}

func newBank(t *testing.T, want int) *bank {
	t.Helper()
	schema, err := os.ReadFile("../../../../examples/corebank/schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	b := &bank{t: t, server: pgtest.Start(t, pgtest.Options{}), pools: map[estate.UnitID]*pgxpool.Pool{}, unit: map[string]estate.UnitID{}, enough: make(chan struct{}), want: want}
	for _, u := range units {
		b.server.Exec("create database " + string(u))
		pool, err := pgxpool.New(t.Context(), b.server.URLFor("postgres", string(u))+"&pool_max_conns=16")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		b.pools[u] = pool
		conn, err := pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := guard.Install(t.Context(), conn.Conn()); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Conn().PgConn().Exec(t.Context(), string(schema)).ReadAll(); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), guard.OpenSQL, []string{string(u)}, 1, "x", 1, string(u)+"-a"); err != nil {
			t.Fatal(err)
		}
		var insert strings.Builder
		insert.WriteString(fmt.Sprintf(`begin; select perdure.enter('%s');`, u))
		for i := range 8 {
			account := fmt.Sprintf("%s-acc-%d", u, i)
			b.unit[account] = u
			insert.WriteString(fmt.Sprintf(`insert into corebank.account values ('%s', 0, 1000, 1000);`, account))
		}
		if _, err := conn.Conn().PgConn().Exec(t.Context(), insert.String()+"commit").ReadAll(); err != nil {
			t.Fatal(err)
		}
		conn.Release()
	}
	return b
}

func (b *bank) accounts(u estate.UnitID) (of []string) {
	for a, at := range b.unit {
		if at == u {
			of = append(of, a)
		}
	}
	slices.Sort(of)
	return of
}

func (b *bank) sources() (s []collect.Source) {
	for _, u := range units {
		s = append(s, collect.Source{Unit: u, ConnString: b.server.URLFor("postgres", string(u))})
	}
	return s
}

func (b *bank) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Perdure-Ownership", "1.x.1")
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.answers++; b.answers == b.want {
			close(b.enough)
		}
	}()
	if account, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/v1/accounts/"), "/balance"); ok {
		var balance string
		if err := b.pools[b.unit[account]].QueryRow(r.Context(), `select balance::text from corebank.account where id = $1`, account).Scan(&balance); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = fmt.Fprintf(w, `{"account":%q,"balance":%q}`, account, balance)
		return
	}
	var asked struct{ From, To, Account, Amount string }
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &asked)
	}
	key, keyErr := sdk.ParseKey(r.Header.Get(sdk.HeaderKey))
	if err = errors.Join(err, keyErr); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	caller := r.Header.Get(sdk.HeaderCaller)
	from := asked.From + asked.Account
	u := b.unit[from]
	var a answer
	switch r.URL.Path {
	case "/v1/transfers":
		a, err = b.call(r.Context(), u, caller, from, key, "transfer", from, asked.To, asked.Amount)
	case "/v1/credits":
		a, err = b.call(r.Context(), u, caller, from, key, "credit", from, asked.Amount, "")
	case "/v1/debits":
		a, err = b.call(r.Context(), u, caller, from, key, "debit", from, asked.Amount, "")
	case "/v1/cross-transfers":
		a, err = b.call(r.Context(), u, caller, from, key, "debit", from, asked.Amount, asked.To)
		if err == nil && a.status == 202 {
			err = b.deliver(r.Context(), u, caller, from, key)
		}
	}
	switch {
	case err != nil && strings.Contains(err.Error(), guard.Running):
		w.WriteHeader(http.StatusConflict)
		return
	case err != nil:
		b.t.Errorf("%s: %v", r.URL.Path, err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	case a.status >= 400 && a.outcome == "committed":
		a.outcome = "refused"
	}
	w.Header().Set("Perdure-Outcome", a.outcome)
	w.WriteHeader(a.status)
	_, _ = w.Write(a.result)
}

type answer struct {
	outcome string
	status  int
	result  []byte
}

// call runs a business function of corebank as one request.
func (b *bank) call(ctx context.Context, u estate.UnitID, caller, routing, key, function string, args ...string) (a answer, err error) {
	var sql strings.Builder
	sql.WriteString("select outcome, status, result from corebank." + function + "(row($1, 0, $2, $3, $4, sha256($5::text::bytea), null)::perdure.request, ")
	values := []any{string(u), caller, routing, key, function + strings.Join(args, "/")}
	for i, arg := range args {
		if i > 0 {
			sql.WriteString(", ")
		}
		values = append(values, arg)
		sql.WriteString(fmt.Sprintf("$%d::text", len(values)))
		if (function == "transfer" && i == 2) || (function != "transfer" && i == 1) {
			sql.WriteString("::numeric")
		}
	}
	err = b.pools[u].QueryRow(ctx, sql.String()+")", values...).Scan(&a.outcome, &a.status, &a.result)
	if err == nil {
		return a, nil
	}
	// It may have failed because it was done before.
	const once = "select outcome, status, result from perdure.once(row($1, 0, $2, $3, $4, sha256($5::text::bytea), null)::perdure.request) where status is not null"
	if b.pools[u].QueryRow(ctx, once, values[:5]...).Scan(&a.outcome, &a.status, &a.result) == nil {
		return a, nil
	}
	return a, err
}

// deliver credits the message of a cross-transfer at the other unit.
func (b *bank) deliver(ctx context.Context, u estate.UnitID, caller, routing, key string) error {
	var id int64
	var to, messageKey string
	var payload struct{ Account, Amount, Origin string }
	var text []byte
	err := b.pools[u].QueryRow(ctx, `select id, routing_key, key, payload from perdure.outbox where caller = $1 and cause_routing_key = $2 and cause_key = $3`, caller, routing, key).Scan(&id, &to, &messageKey, &text)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &payload); err != nil {
		return err
	}
	if _, err := b.call(ctx, b.unit[to], "outbox", to, messageKey, "credit", payload.Account, payload.Amount, payload.Origin); err != nil {
		return err
	}
	_, err = b.pools[u].Exec(ctx, `select perdure.outbox_done($1, $2, 'delivered', '')`, string(u), id)
	return err
}

// run puts load on the bank and gives the history.
func (b *bank) run() string {
	t := b.t
	server := httptest.NewServer(b)
	defer server.Close()
	path := filepath.Join(t.TempDir(), "history.jsonl")
	out, err := history.Create(path, "test", 1)
	if err != nil {
		t.Fatal(err)
	}
	d, err := collect.Open(t.Context(), b.sources(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	openings, err := d.Openings(t.Context())
	d.Close()
	if err != nil || len(openings) != 16 {
		t.Fatalf("%d openings, %v", len(openings), err)
	}
	for _, o := range openings {
		if err := out.Append(history.Event{Opening: &o}); err != nil {
			t.Fatal(err)
		}
	}
	opt := load.Options{
		Sites: []load.Site{{ID: "a", Gateways: []string{server.URL}}, {ID: "b", Gateways: []string{server.URL}}},
		Hot:   2, HotShare: 0.6, Overdraft: 0.05, Duplicates: 0.05, Replays: 20, Workers: 8, Seed: 4,
	}
	for _, u := range units {
		opt.Units = append(opt.Units, load.Unit{ID: u, Accounts: b.accounts(u), Rate: 250})
	}
	g, err := load.New(opt, out, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := out.Mark(history.Mark{Edge: history.Starts, Step: "steady", Mode: history.Steadily}); err != nil {
		t.Fatal(err)
	}
	go func() {
		select {
		case <-b.enough:
		case <-ctx.Done():
		}
		cancel()
	}()
	if err := g.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := out.Mark(history.Mark{Edge: history.Ends, Step: "steady"}); err != nil {
		t.Fatal(err)
	}
	if left, err := g.Settle(t.Context()); left > 0 || err != nil {
		t.Fatalf("%d unresolved, %v", left, err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func (b *bank) check(path string) checker.Verdict {
	b.t.Helper()
	d, err := collect.Open(b.t.Context(), b.sources(), time.Minute)
	if err != nil {
		b.t.Fatal(err)
	}
	defer d.Close()
	v, err := checker.Check(b.t.Context(), checker.Inputs{History: history.Read(path), Facts: d})
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// tamper changes rows past the guard, as a superuser may.
func (b *bank) tamper(u estate.UnitID, sql string) {
	b.t.Helper()
	conn, err := b.pools[u].Acquire(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Conn().PgConn().Exec(b.t.Context(), "set session_replication_role = replica; "+sql+"; reset session_replication_role").ReadAll(); err != nil {
		b.t.Fatal(err)
	}
}

func TestLoadOnPostgreSQLPassesAndTamperingIsCaught(t *testing.T) {
	b := newBank(t, 1200)
	path := b.run()
	v := b.check(path)
	for _, f := range v.Findings {
		t.Error(f)
	}
	if !v.Pass || !v.MoneyConserved || v.Steps[0].Acknowledged < 500 || v.ReadsChecked < 50 || v.Steps[0].Refused == 0 || v.Money.Entries < 500 {
		t.Errorf("verdict %+v", v)
	}

	// A copy of the directory holds what the checker saw at the owner, also after kill -9.
	b.server.Kill()
	rows := b.copied(filepath.Dir(path), "u1")
	b.server.Run()
	for _, pool := range b.pools {
		pool.Reset()
	}
	if n := b.count("u1"); len(rows) != n || n == 0 {
		t.Errorf("the copy has %d records, the owner %d", len(rows), n)
	}

	const one = "status < 300 and caller like 'load-%' order by xid limit 1"
	for _, seeded := range []struct {
		name  checker.Name
		unit  estate.UnitID
		do    string
		again string
	}{
		{
			checker.WrongBalance, "u1",
			"update corebank.account set balance = balance + 1 where id = 'u1-acc-3'",
			"update corebank.account set balance = balance - 1 where id = 'u1-acc-3'",
		},
		{
			checker.LostWrite, "u1",
			"create table kept as select * from perdure.record where " + one + "; delete from perdure.record where xid in (select xid from kept)",
			"insert into perdure.record overriding system value select * from kept; drop table kept",
		},
		{
			checker.ChangedResult, "u2",
			"create table kept as select xid, result from perdure.record where " + one + "; update perdure.record set result = 'x' where xid in (select xid from kept)",
			"update perdure.record r set result = k.result from kept k where k.xid = r.xid; drop table kept",
		},
		{
			checker.ChangedOpening, "u2",
			"update corebank.account set opening = opening + 1, balance = balance + 1 where id = 'u2-acc-3'",
			"update corebank.account set opening = opening - 1, balance = balance - 1 where id = 'u2-acc-3'",
		},
	} {
		b.tamper(seeded.unit, seeded.do)
		if v := b.check(path); v.Pass || v.Counts[seeded.name] == 0 {
			t.Errorf("%s was seeded, found %v", seeded.name, v.Counts)
		}
		b.tamper(seeded.unit, seeded.again)
	}
	if v := b.check(path); !v.Pass {
		t.Errorf("after the tampering was undone: %v", v.Findings)
	}
}

func (b *bank) count(u estate.UnitID) (n int) {
	b.t.Helper()
	if err := b.pools[u].QueryRow(b.t.Context(), `select count(*) from perdure.record`).Scan(&n); err != nil {
		b.t.Fatal(err)
	}
	return n
}

// copied takes a copy of the dead server's directory and gives the rows that were recorded of it.
func (b *bank) copied(dir string, u estate.UnitID) (rows []history.Row) {
	t := b.t
	t.Helper()
	bin, err := pgtest.BinDir()
	if err != nil {
		t.Fatal(err)
	}
	scratch, err := os.MkdirTemp("", "pd-copy-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	if err := os.Chmod(scratch, 0o711); err != nil {
		t.Fatal(err)
	}
	c := collect.Copier{BinDir: bin, Credential: serverUser(t), Scratch: scratch, User: "postgres", Database: string(u)}
	conn, end, err := c.Serve(t.Context(), b.server.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if d, err := collect.Open(t.Context(), []collect.Source{{Unit: u, ConnString: conn}}, 0); err != nil {
		t.Error(err)
	} else {
		if openings, err := d.Openings(t.Context()); err != nil || len(openings) != 8 {
			t.Errorf("%d openings are in the copy, %v", len(openings), err)
		}
		d.Close()
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "copy.jsonl")
	out, err := history.Create(path, "test", 1)
	if err != nil {
		t.Fatal(err)
	}
	left := estate.Ownership{Incarnation: estate.Incarnation{Counter: 1, ID: "x"}, Epoch: 1}
	if err := c.Take(t.Context(), collect.Former{Dir: b.server.Dir, Group: "g1", Member: "u1-a", Unit: u, Left: left}, true, out); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("%d entries are left in the scratch folder, %v", len(left), err)
	}
	for e, err := range history.Read(path) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Row != nil {
			rows = append(rows, *e.Row)
		}
		if e.Copy != nil && (e.Copy.Rows != len(rows) || !e.Copy.Final) {
			t.Errorf("the copy ends %+v after %d rows", e.Copy, len(rows))
		}
	}
	return rows
}

func serverUser(t *testing.T) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

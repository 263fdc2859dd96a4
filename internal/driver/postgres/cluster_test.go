package postgres

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"perdure/internal/driver"
	"perdure/internal/estate"
	"perdure/internal/pgtest"
	"perdure/internal/porttest"
)

// testWait bounds every wait of these tests; it is long because test machines are busy.
const testWait = 90 * time.Second

// root holds all directories of this test process.
var root string

// TestMain gives the tests one directory and a guardian: the servers under test are made to outlive their agent, so
// somebody has to end them when the test process is killed.
func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	// These tests kill processes, never machines: memory is as durable as a disk for them, and much faster when that is busy.
	place := ""
	var fs unix.Statfs_t
	if unix.Statfs("/dev/shm", &fs) == nil && fs.Bavail*uint64(fs.Bsize) > 4<<30 {
		place = "/dev/shm"
	}
	if root, err = os.MkdirTemp(place, "pd-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := os.Chmod(root, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	guardian := exec.Command("/bin/sh", "-c", `read _
		for p in /proc/[0-9]*; do case "$(readlink $p/cwd)" in "$0"/*) kill -9 "${p#/proc/}";; esac; done
		rm -rf "$0"`, root)
	guardian.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	end, err := guardian.StdinPipe()
	if err == nil {
		err = guardian.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	_ = end.Close()
	_ = guardian.Wait()
	return code
}

// member is one database directory under test with the driver that looks after it.
type member struct {
	*Database
	t    testing.TB
	opts Options
	life uint64
	link *link // to this member, where it was asked for
}

func newMember(t testing.TB, id estate.MemberID, change func(*Options)) *member {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real servers")
	}
	dir, err := os.MkdirTemp(root, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	level := slog.LevelWarn
	if os.Getenv("PERDURE_TEST_DEBUG") != "" {
		level = slog.LevelDebug
	}
	m := &member{t: t, opts: Options{
		Member: id, DataDir: filepath.Join(dir, "data"), RunDir: filepath.Join(dir, "run"), ListenAddresses: "127.0.0.1", Port: porttest.Keep(t),
		Password: func(role string) (string, error) {
			h := hmac.New(sha256.New, []byte("test"))
			h.Write([]byte(role))
			return hex.EncodeToString(h.Sum(nil)), nil
		},
		Settings: map[string]string{"shared_buffers": "16MB", "max_connections": "60", "max_wal_size": "128MB", "min_wal_size": "32MB", "logging_collector": "off", "dynamic_shared_memory_type": pgtest.MemoryInDirectory},
		Logger:   slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level})),
		Prepare: func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, `create table public.account (id text primary key, balance numeric not null);
				create role app login password 'app' in role perdure_app; grant all on public.account to app, perdure_app; grant all on schema public to app`)
			return err
		},
	}}
	if change != nil {
		change(&m.opts)
	}
	m.attachDriver()
	t.Cleanup(func() {
		if m.Database != nil {
			m.Release()
		}
		for _, d := range []string{m.opts.DataDir, m.opts.DataDir + ".new", m.opts.DataDir + ".old"} {
			if pid := postmasterOf(d); pid != 0 {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			killTree(d)
			pgtest.Forget(d)
		}
		if t.Failed() {
			own, _ := os.ReadFile(filepath.Join(m.opts.RunDir, "log", "sandbox.log"))
			t.Logf("log of the sandbox of %s:\n%s", id, tail(string(own), 3000))
			log, _ := os.ReadFile(filepath.Join(m.opts.RunDir, "log", "start.log"))
			t.Logf("log of %s:\n%s", id, tail(string(log), 6000))
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return m
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// killTree kills everything on a directory, the postmaster included.
func killTree(dir string) {
	for deadline := time.Now().Add(testWait); time.Now().Before(deadline); {
		pids := serverProcesses(dir)
		if len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// attachDriver is what a new agent does.
func (m *member) attachDriver() {
	m.t.Helper()
	d, err := New(m.opts)
	if err != nil {
		m.t.Fatal(err)
	}
	m.Database = d
}

// releaseDriver is what the end of an agent does; the server goes on.
func (m *member) releaseDriver() {
	m.Release()
	m.Database = nil
}

func (m *member) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testWait)
	m.t.Cleanup(cancel)
	return ctx
}

func (m *member) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatalf("%s: %v", m.opts.Member, err)
	}
}

func (m *member) up() driver.Upstream {
	host := "127.0.0.1"
	if m.link != nil {
		host = "127.0.0.2"
	}
	return driver.Upstream{Member: m.opts.Member, Host: host, Port: m.opts.Port}
}

// behindLink puts a link before the member that its followers use from now on.
func (m *member) behindLink() *link {
	m.t.Helper()
	m.link = newLink(m.t, "127.0.0.2", m.opts.Port)
	return m.link
}

func (m *member) now() estate.Life { return estate.Life{Member: m.opts.Member, N: m.life} }

func (m *member) start() {
	m.t.Helper()
	m.life++
	m.must(m.Start(m.ctx(), m.now()))
}

// own makes and opens the first owner. The directory is created once in a test process and copied from then on.
func (m *member) own(epoch uint64) {
	m.t.Helper()
	m.made()
	m.start()
	m.open(epoch)
}

func (m *member) made() {
	m.t.Helper()
	template.Do(func() {
		m.must(m.Create(m.ctx()))
		if out, err := exec.Command("cp", "-a", m.opts.DataDir, filepath.Join(root, "template")).CombinedOutput(); err != nil {
			m.t.Fatalf("%v: %s", err, out)
		}
	})
	if !exists(m.opts.DataDir) {
		if out, err := exec.Command("cp", "-a", filepath.Join(root, "template"), m.opts.DataDir).CombinedOutput(); err != nil {
			m.t.Fatalf("%v: %s", err, out)
		}
	}
}

var template sync.Once

func owns(epoch uint64) estate.Ownership {
	return estate.Ownership{Incarnation: estate.Incarnation{Counter: 1, ID: "test"}, Epoch: estate.Epoch(epoch)}
}

var units = []estate.UnitID{"u1"}

func (m *member) open(epoch uint64) {
	m.t.Helper()
	m.must(m.Open(m.ctx(), owns(epoch), m.opts.Member, units))
}

// copyOf makes the member a streaming copy of the other.
func (m *member) copyOf(up *member) {
	m.t.Helper()
	m.must(up.EnsureFollower(m.ctx(), m.opts.Member))
	m.must(m.Reinitialise(m.ctx(), up.up(), nil))
	m.life++
	m.must(m.Follow(m.ctx(), up.up(), m.now()))
	m.streams()
}

func (m *member) streams() {
	m.t.Helper()
	m.until("it streams", func(o driver.Observation) bool { return o.Streaming })
}

// until observes until the condition holds.
func (m *member) until(what string, ok func(driver.Observation) bool) driver.Observation {
	m.t.Helper()
	ctx := m.ctx()
	var last driver.Observation
	err := poll(ctx, func() (bool, error) {
		look, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		o, err := m.Observe(look)
		last = o
		return ok(o), err
	})
	if err != nil {
		m.t.Fatalf("%s: waited in vain until %s: %v\n%+v", m.opts.Member, what, err, last)
	}
	return last
}

func (m *member) observe() driver.Observation {
	m.t.Helper()
	o, err := m.Observe(m.ctx())
	m.must(err)
	return o
}

// growTo waits until the copies are near and proves the set.
func (m *member) growTo(copies ...*member) driver.Grown {
	m.t.Helper()
	var names []string
	for _, c := range copies {
		names = append(names, c.now().String())
	}
	var grown driver.Grown
	var said string
	err := poll(m.ctx(), func() (bool, error) {
		var err error
		grown, err = m.Grow(m.ctx(), names, names[len(names)-1])
		if err != nil && err.Error() != said {
			said = err.Error()
			m.t.Logf("not grown yet: %v", err)
		}
		return err == nil, nil
	})
	m.must(err)
	return grown
}

func (m *member) appURL() string {
	return fmt.Sprintf("postgres://app:app@127.0.0.1:%d/perdure?sslmode=disable", m.opts.Port)
}

// app connects as an application does.
func (m *member) app() *pgx.Conn {
	m.t.Helper()
	conn, err := pgx.Connect(m.ctx(), m.appURL())
	m.must(err)
	m.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	})
	return conn
}

// admin runs SQL as the agent's role in a session of its own.
func (m *member) admin(sql string, args ...any) {
	m.t.Helper()
	conn, err := m.connect(m.ctx(), m.socketDir(), m.o.Database, "test")
	m.must(err)
	defer conn.Close(m.ctx())
	_, err = conn.Exec(m.ctx(), sql, args...)
	m.must(err)
}

func (m *member) query(dest any, sql string, args ...any) {
	m.t.Helper()
	conn, err := m.connect(m.ctx(), m.socketDir(), m.o.Database, "test")
	m.must(err)
	defer conn.Close(m.ctx())
	m.must(conn.QueryRow(m.ctx(), sql, args...).Scan(dest))
}

// processOf finds the server process with the title, 0 where there is none.
func (m *member) processOf(name string) int {
	for _, pid := range serverProcesses(m.opts.DataDir) {
		if strings.Contains(title(pid), name) {
			return pid
		}
	}
	return 0
}

func (m *member) signal(sig syscall.Signal) {
	for _, pid := range serverProcesses(m.opts.DataDir) {
		_ = syscall.Kill(pid, sig)
	}
}

// kill ends the server as a crash does and waits until the driver has seen it.
func (m *member) kill() {
	m.t.Helper()
	dead := m.Dead()
	pid := postmasterOf(m.opts.DataDir)
	if pid == 0 {
		m.t.Fatalf("%s does not run", m.opts.Member)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	await(m.t, dead)
}

func await(t testing.TB, c <-chan struct{}) {
	t.Helper()
	timer := time.NewTimer(testWait)
	defer timer.Stop()
	select {
	case <-c:
	case <-timer.C:
		t.Fatal("waited in vain")
	}
}

// pay commits one keyed transfer behind the guard, as an application does, and gives its error.
func (m *member) pay(ctx context.Context, conn *pgx.Conn, key string) error {
	return m.payAs(ctx, conn, "u1", "test", key, 12.5)
}

func (m *member) payAs(ctx context.Context, conn *pgx.Conn, unit estate.UnitID, caller, key string, amount float64) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return payIn(ctx, tx, unit, caller, key, amount) })
}

func payIn(ctx context.Context, tx pgx.Tx, unit estate.UnitID, caller, key string, amount float64) error {
	const request = `row($1, 7, $2, $2, $3, sha256($3::text::bytea), null)::perdure.request`
	if _, err := tx.Exec(ctx, `select perdure.claim(`+request+`)`, string(unit), caller, key); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `insert into account values ('of-' || $1, 1)`, key); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `select perdure.settle(`+request+`, 200, 'text/plain', 'done', array['of-' || $3], $4)`, string(unit), caller, key, amount)
	return err
}

// paidTogether pays several in one transaction.
func (m *member) paidTogether(keys ...string) {
	m.t.Helper()
	m.must(pgx.BeginFunc(m.ctx(), m.app(), func(tx pgx.Tx) error {
		for _, key := range keys {
			if err := payIn(m.ctx(), tx, "u1", "test", key, 12.5); err != nil {
				return err
			}
		}
		return nil
	}))
}

// paid pays on a new session.
func (m *member) paid(key string) {
	m.t.Helper()
	m.must(m.pay(m.ctx(), m.app(), key))
}

// payInBackground pays on a new session and gives the outcome when there is one.
func (m *member) payInBackground(key string) <-chan error {
	m.t.Helper()
	return m.background(func(ctx context.Context, conn *pgx.Conn) error { return m.pay(ctx, conn, key) })
}

// background runs fn on a session of an application and gives its outcome; it is over when the test is.
func (m *member) background(fn func(context.Context, *pgx.Conn) error) <-chan error {
	m.t.Helper()
	conn, err := pgx.Connect(m.ctx(), m.appURL())
	m.must(err)
	ctx, cancel := context.WithTimeout(context.Background(), testWait)
	out, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		out <- fn(ctx, conn)
		_ = conn.Close(ctx) // the server may be gone
	}()
	m.t.Cleanup(func() {
		cancel()
		<-ended
	})
	return out
}

// keys lists the recorded keys.
func (m *member) keys() []string {
	m.t.Helper()
	var keys []string
	m.query(&keys, "select coalesce(array_agg(key order by key), '{}') from perdure.record")
	return keys
}

// Package pgtest starts real PostgreSQL servers for tests, as the server's own user where the test runs as root,
// and ends them with the test. A server dies with the test process, whatever way that ends.
package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"perdure/internal/porttest"
)

// BinDirEnv names the environment variable that says where PostgreSQL's programs are, where they are not found by themselves.
const BinDirEnv = "PERDURE_PG_BINDIR"

// startWait bounds how long a server may take to answer or to end; it is long because test machines are busy.
const startWait = 90 * time.Second

// Options say how a server is made.
type Options struct {
	// Settings are written to the configuration, after the defaults of New.
	Settings map[string]string
	// Durable leaves fsync on. Killing processes loses nothing without it; only benchmarks need it.
	Durable bool
}

// Server is one PostgreSQL data directory and, while it runs, the server on it. The superuser is "postgres", connections are trusted.
type Server struct {
	// Dir is the data directory, Socket the directory of its socket, Port the TCP port on 127.0.0.1.
	Dir, Socket string
	Port        int

	t      testing.TB
	binDir string
	cred   *syscall.Credential
	mu     sync.Mutex
	cmd    *exec.Cmd
	done   chan struct{}
	log    string
}

// Start makes a new data directory, starts a server on it and ends both with the test.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s := New(t, o)
	s.Run()
	return s
}

// New makes a data directory (initdb, checksums on, trust) without starting the server.
func New(t testing.TB, o Options) *Server {
	t.Helper()
	s := newServer(t)
	s.Command("initdb", "-D", s.Dir, "-U", "postgres", "-A", "trust", "-k", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
	settings := map[string]string{
		"listen_addresses":            "127.0.0.1",
		"shared_buffers":              "32MB",
		"max_connections":             "100",
		"wal_level":                   "replica",
		"max_wal_senders":             "10",
		"max_prepared_transactions":   "0",
		"wal_retrieve_retry_interval": "200ms",
		"log_min_messages":            "warning",
	}
	if !o.Durable {
		settings["fsync"] = "off"
		settings["dynamic_shared_memory_type"] = MemoryInDirectory // not where speed is measured
	} else {
		t.Cleanup(s.Stop) // it takes its shared memory along, which a killed one leaves
	}
	maps.Copy(settings, o.Settings)
	s.Configure(settings)
	return s
}

// newServer makes the directories of a server that has no data yet.
func newServer(t testing.TB) *Server {
	t.Helper()
	binDir, err := BinDir()
	if err != nil {
		t.Fatal(err)
	}
	cred, err := serverUser()
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.MkdirTemp("", "pd-pg-")
	if err != nil {
		t.Fatalf("cannot make a directory for PostgreSQL: %v", err)
	}
	s := &Server{Dir: filepath.Join(root, "data"), Socket: root, t: t, binDir: binDir, cred: cred, log: filepath.Join(root, "log")}
	t.Cleanup(func() {
		s.Kill()
		Forget(s.Dir)
		if t.Failed() {
			t.Logf("server log:\n%s", s.Log())
		}
		if err := os.RemoveAll(root); err != nil {
			t.Errorf("cannot remove %s: %v", root, err)
		}
	})
	if err := os.Mkdir(s.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if cred != nil {
		for _, d := range []string{root, s.Dir} {
			if err := os.Chown(d, int(cred.Uid), int(cred.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s
}

// BinDir finds PostgreSQL's programs: the directory in PERDURE_PG_BINDIR, Debian's directory of version 15, or the path.
func BinDir() (string, error) {
	if d := os.Getenv(BinDirEnv); d != "" {
		return d, nil
	}
	const debian = "/usr/lib/postgresql/15/bin"
	if _, err := os.Stat(filepath.Join(debian, "postgres")); err == nil {
		return debian, nil
	}
	p, err := exec.LookPath("postgres")
	if err != nil {
		return "", fmt.Errorf("PostgreSQL's programs were not found: install postgresql-15 or set %s", BinDirEnv)
	}
	return filepath.Dir(p), nil
}

// serverUser is who the server runs as: nil for the present user, the user postgres where the present user is root.
func serverUser() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL refuses to run as root and there is no user postgres: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// Command runs one of PostgreSQL's programs as the server's user and gives its output; the test fails where it fails.
func (s *Server) Command(name string, args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(s.binDir, name), args...)
	cmd.Dir = s.Socket
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("%s: %v\n%s", name, err, out.String())
	}
	return out.String()
}

// Configure appends settings to the configuration; call Reload for those that a running server shall take up.
func (s *Server) Configure(settings map[string]string) {
	s.t.Helper()
	var b strings.Builder
	for k, v := range settings {
		fmt.Fprintf(&b, "%s = '%s'\n", k, strings.ReplaceAll(v, "'", "''"))
	}
	f, err := os.OpenFile(filepath.Join(s.Dir, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = f.WriteString(b.String())
	if err := errors.Join(err, f.Close()); err != nil {
		s.t.Fatal(err)
	}
}

// Run starts the server on a free port and returns when it answers (as a primary, or as a standby that accepts reads).
func (s *Server) Run() {
	s.t.Helper()
	if s.Port == 0 {
		s.Port = porttest.Keep(s.t)
	}
	s.Spawn()
	s.Await("it answers", func(ctx context.Context) error {
		select {
		case <-s.done:
			return errStopped
		default:
		}
		c, err := pgx.Connect(ctx, s.URL("postgres"))
		if err != nil {
			return err
		}
		return c.Close(ctx)
	})
}

var errStopped = errors.New("the server ended")

// Spawn starts the server process and does not wait until it answers.
func (s *Server) Spawn() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		s.t.Fatal("the server runs already")
	}
	logFile, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer logFile.Close()
	cmd := exec.Command(filepath.Join(s.binDir, "postgres"), "-D", s.Dir, "-p", strconv.Itoa(s.Port), "-k", s.Socket)
	cmd.Dir = s.Socket
	cmd.Stdout, cmd.Stderr = logFile, logFile
	// The signal on the parent's death belongs to the thread that starts the process: it must live as long as the server.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred, Pdeathsig: syscall.SIGQUIT, Setpgid: true}
	started := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is of no interest, only that it did
		}
		close(done)
	}()
	if err := <-started; err != nil {
		s.t.Fatalf("cannot start PostgreSQL: %v", err)
	}
	s.cmd, s.done = cmd, done
}

// PID is the process of the running server (the postmaster).
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		s.t.Fatal("the server does not run")
	}
	return s.cmd.Process.Pid
}

// Stop ends the server cleanly (fast shutdown) and waits.
func (s *Server) Stop() { s.end(syscall.SIGINT) }

// Kill ends the server as a crash does: SIGKILL to the postmaster and to all its children.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Restart ends the server cleanly and starts it on the same port.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.Run()
}

func (s *Server) end(sig syscall.Signal) {
	s.mu.Lock()
	cmd, done := s.cmd, s.done
	s.cmd = nil
	s.mu.Unlock()
	if cmd == nil {
		return
	}
	if sig == syscall.SIGKILL {
		pids := s.tree(cmd.Process.Pid)
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
		}
		// The next start is refused while a child still holds the shared memory.
		defer awaitGone(pids[1:])
	} else {
		_ = cmd.Process.Signal(sig)
	}
	select {
	case <-done:
	case <-time.After(startWait):
		for _, pid := range s.tree(cmd.Process.Pid) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		<-done
		s.t.Errorf("the server did not end within %s and was killed", startWait)
	}
}

// Freeze stops (SIGSTOP) the server with all its processes; Thaw lets it go on.
func (s *Server) Freeze() { s.signalTree(syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (s *Server) Thaw() { s.signalTree(syscall.SIGCONT) }

// awaitGone returns when the processes are dead, reaped or not.
func awaitGone(pids []int) {
	for deadline := time.Now().Add(startWait); len(pids) > 0 && time.Now().Before(deadline); {
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pids[0]), "stat"))
		if rest := b[bytes.LastIndexByte(b, ')')+1:]; err != nil || len(rest) > 1 && rest[1] == 'Z' {
			pids = pids[1:]
			continue
		}
		runtime.Gosched()
	}
}

func (s *Server) signalTree(sig syscall.Signal) {
	s.t.Helper()
	for _, pid := range s.tree(s.PID()) {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			s.t.Fatalf("cannot signal process %d: %v", pid, err)
		}
	}
}

// tree is the process and its children, the process first.
func (s *Server) tree(pid int) []int {
	pids := []int{pid}
	entries, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return pids
	}
	for _, e := range entries {
		b, err := os.ReadFile(e)
		if err != nil {
			continue // it has ended meanwhile
		}
		// pid (name) state ppid ...: the name may hold anything, so what counts begins after the last bracket.
		rest := string(b[bytes.LastIndexByte(b, ')')+1:])
		f := strings.Fields(rest)
		if len(f) < 2 || f[1] != strconv.Itoa(pid) {
			continue
		}
		if child, err := strconv.Atoi(filepath.Base(filepath.Dir(e))); err == nil {
			pids = append(pids, child)
		}
	}
	return pids
}

// CPU is the processor time that the server's living processes have used, for benchmarks.
func (s *Server) CPU() time.Duration {
	s.t.Helper()
	var ticks int64
	for _, pid := range s.tree(s.PID()) {
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		if err != nil {
			continue // it has ended meanwhile
		}
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		for _, field := range f[11:13] { // user and system time
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				s.t.Fatal(err)
			}
			ticks += n
		}
	}
	return time.Duration(ticks) * (time.Second / 100) // the kernel's clock ticks are hundredths
}

// URL is the connection string for a user to the database "postgres".
func (s *Server) URL(userName string) string { return s.URLFor(userName, "postgres") }

// URLFor is the connection string for a user to a database, over TCP.
func (s *Server) URLFor(userName, database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.User(userName), Path: "/" + database,
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)), RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Connect opens a session as the superuser and closes it with the test.
func (s *Server) Connect() *pgx.Conn { return s.ConnectAs("postgres") }

// ConnectAs opens a session as the user and closes it with the test.
func (s *Server) ConnectAs(userName string) *pgx.Conn {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	c, err := pgx.Connect(ctx, s.URL(userName))
	if err != nil {
		s.t.Fatalf("cannot connect to the test server: %v", err)
	}
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Close(ctx) // the server may be gone or frozen already
	})
	return c
}

// Exec runs SQL (several statements are allowed) as the superuser; the test fails where it fails.
func (s *Server) Exec(sql string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	c, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		s.t.Fatalf("cannot connect to the test server: %v", err)
	}
	defer c.Close(ctx)
	if _, err := c.PgConn().Exec(ctx, sql).ReadAll(); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

// Reload makes the server read its configuration again; it returns before the processes have taken it up.
func (s *Server) Reload() { s.Exec("select pg_reload_conf()") }

// Promote makes a standby writable and returns when it is.
func (s *Server) Promote() {
	s.t.Helper()
	s.Exec("select pg_promote(true, 60)")
}

// Copy makes a standby of the server by base backup under the replication name and starts it.
func (s *Server) Copy(name string) *Server {
	s.t.Helper()
	c := newServer(s.t)
	s.Command("pg_basebackup", "-D", c.Dir, "-h", "127.0.0.1", "-p", strconv.Itoa(s.Port), "-U", "postgres",
		"-X", "stream", "-c", "fast", "--no-sync")
	c.Configure(map[string]string{
		"primary_conninfo":          fmt.Sprintf("host=127.0.0.1 port=%d user=postgres application_name=%s", s.Port, name),
		"synchronous_standby_names": "",
	})
	if err := os.WriteFile(filepath.Join(c.Dir, "standby.signal"), nil, 0o600); err != nil {
		s.t.Fatal(err)
	}
	if c.cred != nil {
		if err := os.Chown(filepath.Join(c.Dir, "standby.signal"), int(c.cred.Uid), int(c.cred.Gid)); err != nil {
			s.t.Fatal(err)
		}
	}
	c.Run()
	return c
}

// Await tries until the condition gives nil; the test fails when that takes longer than a busy machine can explain.
func (s *Server) Await(what string, condition func(context.Context) error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition(ctx)
		if err == nil {
			return
		}
		if errors.Is(err, errStopped) {
			s.t.Fatalf("waiting until %s: %v\n%s", what, err, s.Log())
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("waited %s in vain until %s: %v", startWait, what, err)
		case <-tick.C:
		}
	}
}

// Log is what the server has written so far.
func (s *Server) Log() string {
	b, err := os.ReadFile(s.log)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		return err.Error()
	}
	return string(b)
}

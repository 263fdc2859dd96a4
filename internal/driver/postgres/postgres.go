// Package postgres is the driver for PostgreSQL 15: the only code that starts, configures, severs, promotes, rewinds or copies a server.
//
// The server outlives the process that started it: an agent that comes back finds it through postmaster.pid and goes on.
// Nothing that decides what a server does lies where a base backup or pg_rewind could bring it from elsewhere: the
// configuration stands in the agent's own RunDir, what may not be changed stands on the command line, and the three
// settings that say whom a server follows and who has to acknowledge are rewritten into the directory before every start.
//
// Invariants kept here: I1 (restart_after_crash is off, so that the crash of one backend ends the life of the server),
// I2 (every listed member acknowledges; growth is proven), I4 (sever durably, then promote), I6 (an owner's directory
// starts only here, closed), I9 (the fence is bounded and complete), I12 (a copy that has more than its upstream is refused),
// I17 (installation checks).
package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
)

// lockWait is how long the lock of a directory may still be held by what a killed predecessor left.
const lockWait = 500 * time.Millisecond

// Options describe one database directory and how its server is reached.
type Options struct {
	// Member is whose directory it is. Files that belong to another member are never taken over.
	Member estate.MemberID
	// BinDir holds initdb, postgres, pg_basebackup, pg_rewind and pg_waldump; the newest Debian directory where empty.
	BinDir string
	// DataDir is the database directory; its parent must be writable, and it must not be a mount point itself.
	DataDir string
	// RunDir is the agent's private directory on durable storage: configuration, socket, passwords, journals of long work.
	RunDir string
	// ListenAddresses and Port are where applications and followers connect (TCP).
	ListenAddresses string
	Port            int
	// User runs the server where the agent is root; "postgres" where empty. Otherwise the server runs as the agent's own user.
	User string
	// Database is the business database; "perdure" where empty. Superuser is the agent's role; "perdure_agent" where empty.
	Database  string
	Superuser string
	// Password gives the password of a role, the same on every member of a group: RoleOf(member) for followers, "perdure_app" for applications.
	Password func(role string) (string, error)
	// Resolve gives the address of a host, because PostgreSQL does not read the estate's hosts file.
	Resolve func(ctx context.Context, host string) (string, error)
	// ConnInfo are further connection parameters towards an upstream, for example sslmode and sslrootcert.
	ConnInfo map[string]string
	// Settings are further server settings; those the protocol depends on are refused.
	Settings map[string]string
	// HBA are further lines of pg_hba.conf, before those for applications.
	HBA []string
	// Prepare runs once as superuser in the business database when the directory is created or adopted, after the schema was installed.
	Prepare func(ctx context.Context, conn *pgx.Conn) error
	// Env is added to the environment of the server.
	Env []string
	// Logger gets what people may want to know; discarded where nil.
	Logger *slog.Logger
}

// Database is one directory and the server on it. Its methods may be called at the same time; those that change
// the same thing wait for each other, Observe, Lease and Close never wait for the long ones.
type Database struct {
	o    Options
	log  *slog.Logger
	cred *syscall.Credential // nil: the agent's own user
	uid  int
	gid  int
	lock *os.File

	act         chan struct{} // held by whoever changes configuration, process or directory
	sandboxTurn chan struct{} // held by whoever works on the sandbox
	passing     sync.Mutex    // the password file of the archive is written

	mu   sync.Mutex
	proc *process // nil: not running
	// sandboxProc is the server of the sandbox where it was started here.
	sandboxProc *process
	waiting     map[string]time.Time
	seen        map[string]heard
	tally       tallyState
	sysID       string
	controlled  controlled

	commonRun int // shorter in tests

	sessions map[string]*session
}

var _ driver.Database = (*Database)(nil)

// New takes the lock of the directory, finishes what a killed predecessor left half done and finds a running server again.
// It starts nothing. The error is of kind Conflict where another process holds the directory.
func New(o Options) (*Database, error) {
	if o.Member == "" || o.DataDir == "" || o.RunDir == "" || o.Port == 0 {
		return nil, errs.New(errs.Invalid, "cannot look after a database without member, data directory, run directory and port: set all four")
	}
	if o.Database == "" {
		o.Database = "perdure"
	}
	if o.Superuser == "" {
		o.Superuser = "perdure_agent"
	}
	if o.User == "" {
		o.User = "postgres"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Password == nil {
		o.Password = func(role string) (string, error) {
			return "", errs.New(errs.Invalid, "no password is configured for role %s", role)
		}
	}
	if o.Resolve == nil {
		o.Resolve = func(_ context.Context, host string) (string, error) { return host, nil }
	}
	var err error
	if o.BinDir, err = findBinaries(o.BinDir); err != nil {
		return nil, err
	}
	if err := refuseSettings(o.Settings); err != nil {
		return nil, err
	}
	for _, p := range []*string{&o.DataDir, &o.RunDir} {
		if *p, err = filepath.Abs(*p); err != nil {
			return nil, errs.New(errs.Invalid, "directory %s: %w", *p, err)
		}
	}
	d := &Database{
		o: o, log: o.Logger.With("member", string(o.Member)), uid: os.Getuid(), gid: os.Getgid(),
		act: make(chan struct{}, 1), sandboxTurn: make(chan struct{}, 1), waiting: map[string]time.Time{}, seen: map[string]heard{}, sessions: map[string]*session{}, commonRun: commonRun,
	}
	if os.Getuid() == 0 {
		if d.cred, err = credential(o.User); err != nil {
			return nil, err
		}
		d.uid, d.gid = int(d.cred.Uid), int(d.cred.Gid)
	}
	if n := len(d.socketLock(d.privateDir())); n > 107 {
		return nil, errs.New(errs.Invalid, "run directory %s is too long for a socket (%d of 107 bytes): choose a shorter one", o.RunDir, n)
	}
	for _, dir := range []string{o.RunDir, d.socketDir(), filepath.Join(o.RunDir, "private"), filepath.Join(o.RunDir, "log")} {
		if err := d.makeDir(dir); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(filepath.Dir(o.DataDir), 0o755); err != nil {
		return nil, errs.New(errs.Invalid, "cannot make the parent of the data directory: %w", err)
	}
	if err := d.takeLock(); err != nil {
		return nil, err
	}
	for _, name := range []string{"observe", "gate", "fence", "ender", "control", "probe", "tally", "purge"} {
		d.sessions[name] = newSession(d, name)
	}
	if err := d.recover(); err != nil {
		d.Release()
		return nil, err
	}
	return d, nil
}

// recover finishes what a killed predecessor left: a half-swapped directory, a private server, a proof that holds commits up.
func (d *Database) recover() error {
	if err := d.finishSwap(); err != nil {
		return err
	}
	if err := d.endPrivate(); err != nil {
		return err
	}
	d.attach()
	return d.undoProof()
}

// Release closes the driver's sessions and the lock of the directory; the server goes on.
func (d *Database) Release() {
	for _, s := range d.sessions {
		s.close()
	}
	d.mu.Lock()
	held := []*process{d.proc, d.sandboxProc}
	d.proc, d.sandboxProc = nil, nil
	d.mu.Unlock()
	for _, p := range held {
		if p != nil {
			p.forget()
		}
	}
	if d.lock != nil {
		_ = unix.Flock(int(d.lock.Fd()), unix.LOCK_UN) // a child that was forked just now may hold the file open
		_ = d.lock.Close()
		d.lock = nil
	}
}

// Dead gives a channel that is closed when the server that runs now has ended with all its processes; it is closed already when none runs.
func (d *Database) Dead() <-chan struct{} {
	if p := d.running(); p != nil {
		return p.dead
	}
	c := make(chan struct{})
	close(c)
	return c
}

// begin takes the right to change things; the returned function gives it back.
func (d *Database) begin(ctx context.Context, what string) (func(), error) {
	select {
	case d.act <- struct{}{}:
		return func() { <-d.act }, nil
	case <-ctx.Done():
		return nil, errs.New(errs.Unavailable, "cannot %s %s now: another action on it is still under way; try again", what, d.o.Member)
	}
}

func (d *Database) takeLock() error {
	name := filepath.Join(filepath.Dir(d.o.DataDir), "."+filepath.Base(d.o.DataDir)+".perdure.lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return errs.New(errs.Invalid, "cannot open the lock of the data directory: %w", err)
	}
	// A predecessor that was killed is gone with its lock, but for a child that it was just starting.
	ctx, cancel := context.WithTimeout(context.Background(), lockWait)
	defer cancel()
	err = poll(ctx, func() (bool, error) { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil, nil })
	if err != nil {
		_ = f.Close()
		return errs.New(errs.Conflict, "another agent holds the data directory %s: stop it first [I15]", d.o.DataDir)
	}
	d.lock = f
	return nil
}

func (d *Database) socketDir() string  { return filepath.Join(d.o.RunDir, "s") }
func (d *Database) privateDir() string { return filepath.Join(d.o.RunDir, "private") }
func (d *Database) socketLock(dir string) string {
	return filepath.Join(dir, ".s.PGSQL."+strconv.Itoa(d.o.Port)+".lock")
}
func (d *Database) bin(name string) string { return filepath.Join(d.o.BinDir, name) }

// command prepares one of PostgreSQL's programs to run as the server's user, with messages in English.
func (d *Database) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, d.bin(name), args...)
	c.Dir = "/"
	c.Env = d.environment()
	c.SysProcAttr = &syscall.SysProcAttr{Credential: d.cred, Setsid: true}
	return c
}

func (d *Database) environment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PG") && !strings.HasPrefix(v, "LC_") && !strings.HasPrefix(v, "LANG") {
			env = append(env, v)
		}
	}
	return append(append(env, "LC_ALL=C.UTF-8", "HOME="+d.o.RunDir), d.o.Env...)
}

func findBinaries(dir string) (string, error) {
	if dir != "" {
		if _, err := os.Stat(filepath.Join(dir, "postgres")); err != nil {
			return "", errs.New(errs.Invalid, "PostgreSQL's programs are not in %s: install postgresql-15 or correct the directory", dir)
		}
		return dir, nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return "", errs.New(errs.Invalid, "PostgreSQL's programs were not found under /usr/lib/postgresql: install postgresql-15 or name their directory")
	}
	best, version := "", -1
	for _, f := range found {
		n, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(f))))
		if err == nil && (n == proven || n > version && version != proven) {
			best, version = filepath.Dir(f), n
		}
	}
	if best == "" {
		return "", errs.New(errs.Invalid, "PostgreSQL's programs were not found under /usr/lib/postgresql: install postgresql-15 or name their directory")
	}
	return best, nil
}

func credential(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, errs.New(errs.Invalid, "PostgreSQL refuses to run as root and its user %s does not exist: install PostgreSQL's packages or name another user", name)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, errs.New(errs.Invalid, "user %s: %w", name, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, errs.New(errs.Invalid, "user %s: %w", name, err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// RoleOf is the role a member connects to its upstream with.
func RoleOf(member estate.MemberID) string { return "perdure_replica_" + plainName(member) }

// SlotOf is the replication slot a member holds at its upstream.
func SlotOf(member estate.MemberID) string { return "perdure_" + plainName(member) }

// plainName turns a member's name into what slots and roles may hold: a-z, 0-9 and _, at most 40 bytes, different for different members.
func plainName(member estate.MemberID) string {
	var b strings.Builder
	exact := len(member) <= 40
	for _, c := range []byte(member) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			b.WriteByte(c)
		case c == '-':
			b.WriteByte('_')
		default:
			b.WriteByte('_')
			exact = false
		}
	}
	if exact {
		return b.String()
	}
	return fmt.Sprintf("%.30s_%08x", b.String(), fnv32(string(member)))
}

func fnv32(s string) uint32 {
	h := uint32(2166136261)
	for _, c := range []byte(s) {
		h = (h ^ uint32(c)) * 16777619
	}
	return h
}

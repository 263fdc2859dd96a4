package ledger

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/lab/history"
)

// Former reports whether the directory is that of a server that was writable: a copy has its signal file.
func Former(dir string) bool {
	if _, err := os.Stat(filepath.Join(dir, "PG_VERSION")); err != nil {
		return false
	}
	_, err := os.Stat(filepath.Join(dir, "standby.signal"))
	return os.IsNotExist(err)
}

// Reader starts private servers on copies of directories.
type Reader struct {
	// Bin holds postgres; User is who it runs as, nil for the present user.
	Bin  string
	User *syscall.Credential
	// Env marks the servers, so that whoever ends the lab finds them after any death.
	Env []string
	// Dir is where copies are made and removed again.
	Dir string
}

// BinDir finds PostgreSQL's programs: the folder in PERDURE_PG_BINDIR, or the newest of Debian's.
func BinDir() (string, error) {
	if dir := os.Getenv("PERDURE_PG_BINDIR"); dir != "" {
		return dir, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return "", errs.New(errs.Unavailable, "PostgreSQL's server programs were not found: install Debian's postgresql-15, or set PERDURE_PG_BINDIR")
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })
	if i := slices.IndexFunc(found, func(p string) bool { return version(p) == 15 }); i >= 0 {
		newest = found[i]
	}
	return filepath.Dir(newest), nil
}

// Copy is a directory as it was at one moment.
type Copy struct {
	Dir    string
	reader *Reader
}

// Take copies a directory on which no server runs, or whose server stands still.
func (r *Reader) Take(ctx context.Context, name, dir string) (*Copy, error) {
	if err := os.MkdirAll(r.Dir, 0o711); err != nil {
		return nil, errs.New(errs.Unavailable, "cannot copy %s: %w", dir, err)
	}
	to := filepath.Join(r.Dir, name)
	if _, err := os.Stat(to); err == nil {
		return nil, errs.New(errs.Conflict, "the copy %s is there already", name)
	}
	c := &Copy{Dir: to, reader: r}
	if out, err := exec.CommandContext(ctx, "cp", "-a", "--", dir, to).CombinedOutput(); err != nil {
		c.Remove()
		return nil, errs.New(errs.Unavailable, "cannot copy %s: %s: %w", dir, strings.TrimSpace(string(out)), err)
	}
	return c, nil
}

// Remove takes the copy away.
func (c *Copy) Remove() { _ = os.RemoveAll(c.Dir) }

// startWait bounds the recovery of a copy.
const startWait = 60 * time.Second

// Rows recovers the copy as a crashed server would, without network, followers or archive, and reads its records from left on.
func (c *Copy) Rows(ctx context.Context, name string, left estate.Ownership) ([]history.Row, error) {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	private, err := os.MkdirTemp("", "perdure-copy-")
	if err != nil {
		return nil, errs.New(errs.Unavailable, "cannot read the copy %s: %w", name, err)
	}
	defer os.RemoveAll(private)
	stop, err := c.start(private)
	if err != nil {
		return nil, errs.New(errs.Unavailable, "cannot read the copy %s: %w", name, err)
	}
	defer stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := connect(ctx, private, privatePort, superuser)
		if err == nil {
			defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
			return Rows(ctx, conn, name, left)
		}
		select {
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(private, "log"))
			return nil, errs.New(errs.Unavailable, "cannot read the copy %s: %w; its server says: %s", name, err, tail(string(log), 600))
		case <-tick.C:
		}
	}
}

const privatePort = 5432

// start runs the copy's own server; stop ends it.
func (c *Copy) start(private string) (stop func(), err error) {
	files := map[string]string{
		"postgresql.conf": "max_connections = 200\nmax_locks_per_transaction = 256\nmax_prepared_transactions = 64\nmax_worker_processes = 32\n",
		"pg_hba.conf":     "local all all trust\n",
		"pg_ident.conf":   "",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(private, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	if u := c.reader.User; u != nil {
		if err := os.Chown(private, int(u.Uid), int(u.Gid)); err != nil {
			return nil, err
		}
	}
	for _, left := range []string{"postmaster.pid", "postmaster.opts", "recovery.signal"} {
		if err := os.Remove(filepath.Join(c.Dir, left)); err != nil && !os.IsNotExist(err) {
			return nil, err
		}
	}
	args := []string{
		"-D", c.Dir,
		"-c", "config_file=" + filepath.Join(private, "postgresql.conf"), "-c", "hba_file=" + filepath.Join(private, "pg_hba.conf"),
		"-c", "ident_file=" + filepath.Join(private, "pg_ident.conf"),
		"-c", "listen_addresses=", "-c", "unix_socket_directories=" + private, "-c", fmt.Sprintf("port=%d", privatePort), "-c", "unix_socket_permissions=0700",
		"-c", "primary_conninfo=", "-c", "synchronous_standby_names=", "-c", "archive_mode=off", "-c", "max_wal_senders=0", "-c", "wal_level=replica",
		"-c", "max_logical_replication_workers=0", "-c", "autovacuum=off", "-c", "shared_preload_libraries=", "-c", "logging_collector=off",
		"-c", "fsync=off", "-c", "restart_after_crash=off", "-c", "dynamic_shared_memory_type=mmap",
	}
	log, err := os.Create(filepath.Join(private, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(c.reader.Bin, "postgres"), args...)
	cmd.Env = append(os.Environ(), c.reader.Env...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = private, log, log
	// It dies with the lab: nobody else knows it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: c.reader.User}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait()
	}()
	return func() {
		_ = cmd.Process.Signal(syscall.SIGQUIT)
		timer := time.NewTimer(5 * time.Second)
		defer timer.Stop()
		select {
		case <-done:
		case <-timer.C:
			_ = cmd.Process.Kill()
			<-done
		}
	}, nil
}

func tail(s string, most int) string {
	s = strings.TrimSpace(s)
	if len(s) > most {
		return "…" + s[len(s)-most:]
	}
	return s
}

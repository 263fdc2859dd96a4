package collect

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/lab/history"
)

// Copier reads what a former owner had committed from a copy of its data directory, before its agent touches it: the checker's own difference.
type Copier struct {
	// BinDir is where PostgreSQL's programs are.
	BinDir string
	// Credential is who the server runs as; nil is the present user. PostgreSQL refuses root.
	Credential *syscall.Credential
	// Scratch is a folder for the copy; it is removed again. Its path has to be short enough for a socket (80 characters).
	Scratch string
	// User and Database say how to connect; a superuser is needed.
	User, Database string
}

// Former names the directory whose server is dead, and what it owned.
type Former struct {
	Dir    string
	Group  estate.GroupID
	Member estate.MemberID
	Unit   estate.UnitID
	Left   estate.Ownership
}

// startWait bounds how long the copy may recover.
const startWait = 60 * time.Second

// Serve copies the directory of a dead server and starts a server on the copy that nobody else can reach and that follows and feeds nobody.
// It gives how to connect, and what ends the server and removes the copy. The directory itself is only read; no server may run on it
// meanwhile, or all of its processes have to be stopped. So the facts of an owner that did not come back can be read too.
func (c Copier) Serve(ctx context.Context, from string) (connString string, end func() error, err error) {
	root, err := os.MkdirTemp(c.Scratch, "copy-")
	if err != nil {
		return "", nil, errs.New(errs.Unavailable, "cannot copy %s: %w", from, err)
	}
	stop := func() {}
	end = func() error {
		stop()
		return os.RemoveAll(root)
	}
	defer func() {
		if err != nil {
			_ = end()
		}
	}()
	if err := c.own(root); err != nil {
		return "", nil, err
	}
	dir := filepath.Join(root, "data")
	if err := c.copyTree(from, dir); err != nil {
		return "", nil, errs.New(errs.Unavailable, "cannot copy %s: %w", from, err)
	}
	if stop, err = c.start(ctx, root, dir); err != nil {
		stop = func() {}
		return "", nil, err
	}
	connString = fmt.Sprintf("host=%s port=%d user=%s dbname=%s sslmode=disable", root, copyPort, c.User, c.Database)
	return connString, end, recovered(ctx, connString, filepath.Join(root, "log"))
}

// Take appends the records of the ownership that was left, as a copy of the directory has them, to the history.
// final says that nothing can be committed in the directory afterwards.
func (c Copier) Take(ctx context.Context, f Former, final bool, out *history.Writer) (err error) {
	name := fmt.Sprintf("%s-%s", f.Member, f.Left)
	connString, end, err := c.Serve(ctx, f.Dir)
	if err != nil {
		return err
	}
	defer func() {
		if e := end(); err == nil && e != nil {
			err = errs.New(errs.Unavailable, "cannot remove the copy of %s: %w", f.Dir, e)
		}
	}()
	conn, err := pgx.Connect(ctx, connString)
	if err != nil {
		return errs.New(errs.Unavailable, "cannot read the copy of %s: %w", f.Dir, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rows, err := conn.Query(ctx, `select xid::text::bigint as seq, caller, routing_key, key, coalesce(amount, 0)::text, accounts, ownership from perdure.record where unit = $1 and ownership = $2 order by seq`, string(f.Unit), f.Left.String())
	if err != nil {
		return errs.New(errs.Unavailable, "cannot read the copy of %s: %w", f.Dir, err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		r := history.Row{Copy: name, Unit: f.Unit}
		if err := scan(rows, &r.Seq, &r.Caller, &r.RoutingKey, &r.Key, amount(&r.Amount), &r.Accounts, ownership(&r.Ownership)); err != nil {
			return errs.New(errs.Unavailable, "cannot read the copy of %s: %w", f.Dir, err)
		}
		n++
		if err := out.Append(history.Event{Row: &r}); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return errs.New(errs.Unavailable, "cannot read the copy of %s: %w", f.Dir, err)
	}
	return out.Append(history.Event{Copy: &history.Copy{At: out.Now(), Copy: name, Group: f.Group, Member: f.Member, Left: f.Left, Rows: n, Final: final}})
}

// own gives a path to the server's user.
func (c Copier) own(path string) error {
	if c.Credential == nil {
		return nil
	}
	if err := os.Lchown(path, int(c.Credential.Uid), int(c.Credential.Gid)); err != nil {
		return errs.New(errs.Forbidden, "cannot give %s to the server's user: %w", path, err)
	}
	return nil
}

// copyTree copies a data directory without the marks of a running server and of a follower. Links (tablespaces) are refused.
func (c Copier) copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case rel == "postmaster.pid" || rel == "postmaster.opts" || rel == "standby.signal" || rel == "recovery.signal":
			return nil
		case entry.IsDir():
			if err := os.Mkdir(target, 0o700); err != nil {
				return err
			}
			return c.own(target)
		case !entry.Type().IsRegular():
			return fmt.Errorf("%s is neither a file nor a folder", path)
		}
		if err := copyFile(path, target); err != nil {
			return err
		}
		return c.own(target)
	})
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if e := out.Close(); err == nil {
			err = e
		}
	}()
	_, err = io.Copy(out, in)
	return err
}

const hba = "local all all trust\n"

// start runs a server on the copy: only a socket in root, nobody to wait for, nobody to feed, nothing archived.
func (c Copier) start(ctx context.Context, root, dir string) (stop func(), err error) {
	// An agent's directory keeps a configuration that refuses to be started by hand, so the copy gets one of its own.
	rules, settings, users := filepath.Join(root, "hba.conf"), filepath.Join(root, "postgresql.conf"), filepath.Join(root, "ident.conf")
	for file, text := range map[string]string{rules: hba, settings: "", users: ""} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return nil, errs.New(errs.Unavailable, "cannot start the copy: %w", err)
		}
		if err := c.own(file); err != nil {
			return nil, err
		}
	}
	log, err := os.Create(filepath.Join(root, "log"))
	if err != nil {
		return nil, errs.New(errs.Unavailable, "cannot start the copy: %w", err)
	}
	defer func() { _ = log.Close() }()
	args := []string{"-D", dir}
	for name, value := range map[string]string{
		"listen_addresses": "", "unix_socket_directories": root, "port": strconv.Itoa(copyPort), "hba_file": rules, "config_file": settings, "ident_file": users,
		"synchronous_standby_names": "", "primary_conninfo": "", "max_wal_senders": "0", "archive_mode": "off", "ssl": "off",
		"shared_preload_libraries": "", "logging_collector": "off", "fsync": "off", "autovacuum": "off", "shared_buffers": "16MB",
		"max_logical_replication_workers": "0", "restart_after_crash": "off",
	} {
		args = append(args, "-c", name+"="+value)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(c.BinDir, "postgres"), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = root, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.Credential, Pdeathsig: syscall.SIGQUIT}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) }
	if err := cmd.Start(); err != nil {
		return nil, errs.New(errs.Unavailable, "cannot start the copy: %w", err)
	}
	return func() {
		_ = cmd.Process.Signal(syscall.SIGQUIT)
		_ = cmd.Wait()
	}, nil
}

// copyPort names the socket; it is never a TCP port.
const copyPort = 5432

// recovered waits for the end of recovery.
func recovered(ctx context.Context, connString, logFile string) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, connString)
		if err == nil {
			return conn.Close(ctx)
		}
		if rest(ctx) != nil {
			log, _ := os.ReadFile(logFile)
			if len(log) > 2000 {
				log = log[len(log)-2000:]
			}
			return errs.New(errs.Unavailable, "the copy did not come up: %w; its log ends: %s", err, log)
		}
	}
}

package postgres

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"perdure/internal/driver"
	"perdure/internal/errs"
)

var _ driver.Sandboxes = (*Database)(nil)

const (
	// sandboxRoom is what has to be free beside the files that are copied: log that is replayed and written, and what the copy itself needs meanwhile.
	sandboxRoom = 512 << 20
	// sandboxSchema is where a sandbox is written into; no database of a group has it.
	sandboxSchema = "perdure_sandbox"
	sandboxEnd    = time.Minute
)

func (d *Database) sandboxDir() string    { return d.o.DataDir + ".sandbox" }
func (d *Database) sandboxSocket() string { return filepath.Join(d.o.RunDir, "sandbox") }

// sandboxing takes the turn of what works on the sandbox. It is another one than that of the directory: a switch never waits for a drill.
func (d *Database) sandboxing(ctx context.Context) (func(), error) {
	select {
	case d.sandboxTurn <- struct{}{}:
		return func() { <-d.sandboxTurn }, nil
	case <-ctx.Done():
		return nil, errs.New(errs.Unavailable, "the sandbox of %s is busy: try again", d.o.Member)
	}
}

// Sandbox reads the journal of the sandbox.
func (d *Database) Sandbox(context.Context) (driver.Sandbox, error) {
	var s driver.Sandbox
	_, err := d.readJournal("sandbox", &s)
	return s, err
}

// ownSandbox gives the sandbox of a run, and refuses another one's.
func (d *Database) ownSandbox(run string, want ...driver.SandboxState) (driver.Sandbox, error) {
	var s driver.Sandbox
	found, err := d.readJournal("sandbox", &s)
	if err != nil {
		return s, err
	}
	if !found || s.Run != run {
		return s, errs.New(errs.NotFound, "%s has no sandbox of run %s: clone one first", d.o.Member, run)
	}
	if slices.Contains(want, s.State) {
		return s, nil
	}
	return s, errs.New(errs.Conflict, "the sandbox of run %s at %s is %s: it has to be %s", run, d.o.Member, s.State, want[0])
}

// CloneSandbox copies the files by a base backup of the copy's own server, so that production has no part in it.
func (d *Database) CloneSandbox(ctx context.Context, run string, keep time.Duration, progress driver.Progress) (driver.Sandbox, error) {
	var none driver.Sandbox
	done, err := d.sandboxing(ctx)
	if err != nil {
		return none, err
	}
	defer done()
	var s driver.Sandbox
	found, err := d.readJournal("sandbox", &s)
	switch {
	case err != nil:
		return none, err
	case run == "" || keep <= 0:
		return none, errs.New(errs.Invalid, "a sandbox is of a run, and has an end")
	case found && s.Run != run:
		return none, errs.New(errs.Conflict, "%s has a sandbox of run %s until %s: discard it first", d.o.Member, s.Run, s.Until.Format(time.RFC3339))
	case found && s.State != driver.SandboxCopying:
		return s, nil
	case d.directory() != driver.Standby:
		return none, errs.New(errs.Refused, "cannot clone %s: it is no copy now, and a drill takes nothing from an owner", d.o.Member)
	case d.attach() == nil:
		return none, errs.New(errs.Unavailable, "cannot clone %s: its server does not run", d.o.Member)
	}
	size, err := bytesOf(d.o.DataDir)
	if err != nil {
		return none, err
	}
	killBackups(d.sandboxDir())
	if err := d.discard(d.sandboxDir()); err != nil {
		return none, err
	}
	if free, need := d.free(), uint64(size+size/8+sandboxRoom); free < need {
		return none, errs.New(errs.Refused, "cannot clone %s: %d MB are free at %s, %d MB are needed", d.o.Member, free>>20, filepath.Dir(d.o.DataDir), need>>20)
	}
	s = driver.Sandbox{Run: run, State: driver.SandboxCopying, At: time.Now().UTC(), Until: time.Now().Add(keep).UTC()}
	if err := d.writeJournal("sandbox", s); err != nil {
		return none, err
	}
	dir := d.sandboxDir()
	if err := d.makeDir(dir); err != nil {
		return none, err
	}
	backup := d.program(ctx, "pg_basebackup", "--pgdata="+dir, "--host="+d.socketDir(), "--port="+strconv.Itoa(d.o.Port), "--username="+d.o.Superuser,
		"--wal-method=stream", "--checkpoint=fast", "--no-sync", "--progress", "--no-password")
	if said, err := backup.withProgress("cloning "+string(d.o.Member), progress); err != nil {
		return none, errs.New(errs.Unavailable, "cannot clone %s: %s (%w)", d.o.Member, complaint(said), err)
	}
	// Before a file of it is changed: what the server read wrong, or the disk lost, is found here and not by what is drilled on it.
	if out, err := d.program(ctx, "pg_verifybackup", "--quiet", dir).CombinedOutput(); err != nil {
		return none, errs.New(errs.Unavailable, "the clone of %s is not what was copied: %s (%w)", d.o.Member, complaint(string(out)), err)
	}
	if err := d.isolate(dir, run); err != nil {
		return none, err
	}
	if s.Bytes, err = bytesOf(dir); err != nil {
		return none, err
	}
	s.State = driver.SandboxCloned
	return s, d.writeJournal("sandbox", s)
}

// isolate takes from the files of a clone all that leads to somebody else, and the name of the member whose copy they are.
func (d *Database) isolate(dir, run string) error {
	if err := d.block(dir); err != nil {
		return err
	}
	var text strings.Builder
	text.WriteString("# A sandbox of the perdure agent. It follows nobody, and is nobody's.\n" +
		"perdure.sandbox = " + quoteSetting(run) + "\n")
	for _, name := range alone {
		text.WriteString(name + " = ''\n")
	}
	if err := d.writeFile(steeringFile(dir), text.String(), true); err != nil {
		return err
	}
	for _, name := range []string{"recovery.signal", "postmaster.opts", "current_logfiles"} {
		if err := removeFile(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	// It replays what was copied, and is promoted then: its history is its own from there on, so its log is no other server's.
	return d.writeFile(filepath.Join(dir, "standby.signal"), "", true)
}

// alone are the settings that lead a server to others, and have to be empty in a sandbox.
var alone = []string{
	"primary_conninfo", "primary_slot_name", "restore_command", "archive_cleanup_command", "recovery_end_command", "archive_command", "archive_library",
	"synchronous_standby_names", "shared_preload_libraries", "session_preload_libraries", "local_preload_libraries", "ssl_passphrase_command",
}

// sandboxArguments is the command line of the server of a sandbox: no file changes what stands here.
func (d *Database) sandboxArguments() []string {
	args := []string{"-c", "config_file=" + d.configFile(), "-c", "hba_file=" + filepath.Join(d.sandboxSocket(), "pg_hba.conf"), "-c", "ident_file=" + filepath.Join(d.o.RunDir, "pg_ident.conf")}
	args = append(args, fixedArguments()...)
	for _, s := range [][2]string{
		{"listen_addresses", ""},
		{"port", strconv.Itoa(d.o.Port)},
		{"unix_socket_directories", d.sandboxSocket()},
		{"unix_socket_permissions", "0700"},
		{"cluster_name", "sandbox"},
		// Without readers while it recovers it may have less of everything than the server it was copied from.
		{"hot_standby", "off"},
		{"max_connections", "20"},
		{"max_wal_senders", "0"},
		{"max_replication_slots", "0"},
		{"max_logical_replication_workers", "0"},
		{"max_worker_processes", "0"},
		{"shared_buffers", "32MB"},
		{"huge_pages", "off"},
		{"wal_keep_size", "0"},
		{"wal_level", "replica"},
		{"archive_mode", "off"},
		{"autovacuum", "off"},
		{"logging_collector", "off"},
	} {
		args = append(args, "-c", s[0]+"="+s[1])
	}
	for _, name := range alone {
		args = append(args, "-c", name+"=")
	}
	return args
}

// OpenSandbox starts the server, or finds it, and lets it take writes, of test accounts alone.
func (d *Database) OpenSandbox(ctx context.Context, run string, accounts []string) (driver.Sandbox, error) {
	done, err := d.sandboxing(ctx)
	if err != nil {
		return driver.Sandbox{}, err
	}
	defer done()
	s, err := d.ownSandbox(run, driver.SandboxCloned, driver.SandboxOpen)
	if err != nil {
		return driver.Sandbox{}, err
	}
	if err := d.startSandbox(ctx); err != nil {
		return driver.Sandbox{}, err
	}
	err = d.inSandbox(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		if err := closeSandbox(ctx, conn); err != nil {
			return err
		}
		if err := d.checkAlone(ctx, conn, run); err != nil {
			return err
		}
		if err := restrictSandbox(ctx, conn, accounts); err != nil {
			return failed(err, "cannot restrict the sandbox of %s to test accounts", d.o.Member)
		}
		var at *string
		err := conn.QueryRow(ctx, `select pg_last_wal_replay_lsn()::text, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int`).Scan(&at, &s.Timeline)
		if s.Position == 0 { // a server that is started again says where its own log ends
			s.Position = position(at)
		}
		return failed(err, "cannot look at the sandbox of %s", d.o.Member)
	})
	if err != nil {
		return driver.Sandbox{}, errors.Join(err, d.endSandbox())
	}
	s.State = driver.SandboxOpen
	return s, d.writeJournal("sandbox", s)
}

func (d *Database) startSandbox(ctx context.Context) error {
	dir := d.sandboxDir()
	if postmasterOf(dir) == 0 {
		if err := d.makeDir(d.sandboxSocket()); err != nil {
			return err
		}
		hba := "local all " + quoteName(d.o.Superuser) + " peer map=agent\n"
		if err := d.writeFile(filepath.Join(d.sandboxSocket(), "pg_hba.conf"), hba, false); err != nil {
			return err
		}
		if err := forgetUnreaped(d.socketLock(d.sandboxSocket())); err != nil {
			return err
		}
		p, err := d.launch(dir, "sandbox.log", d.sandboxArguments())
		if err != nil {
			return err
		}
		d.keepSandboxProcess(p)
	}
	var asked time.Time // again after a second: a server that has just begun may not have heard
	err := poll(ctx, func() (bool, error) {
		if d.sandboxEnded() {
			return false, errs.New(errs.Unavailable, "the sandbox of %s ended while it was opened: %s", d.o.Member, d.lastWords(time.Now().Add(-time.Minute)))
		}
		values, err := d.controlData(ctx, dir)
		if err != nil {
			return false, err
		}
		switch values["Database cluster state"] {
		case "in production":
			return postmasterOf(dir) != 0, nil
		case "in archive recovery":
			if time.Since(asked) > time.Second && postmasterOf(dir) != 0 { // the file of a clone says so before its server has begun
				asked = time.Now()
				if out, err := d.program(ctx, "pg_ctl", "promote", "-D", dir, "-W").CombinedOutput(); err != nil {
					d.log.Debug("the sandbox is not promoted yet", "said", complaint(string(out)), "err", err)
				}
			}
		}
		return false, nil
	})
	return err
}

// sandboxEnded: no server runs on the clone, and none that was just started is about to.
func (d *Database) sandboxEnded() bool {
	if postmasterOf(d.sandboxDir()) != 0 {
		return false
	}
	d.mu.Lock()
	p := d.sandboxProc
	d.mu.Unlock()
	if p == nil {
		return true
	}
	select {
	case <-p.dead:
		return true
	default:
		return false
	}
}

// keepSandboxProcess holds the server that was started here until it has ended, so that it is reaped.
func (d *Database) keepSandboxProcess(p *process) {
	d.mu.Lock()
	old := d.sandboxProc
	d.sandboxProc = p
	d.mu.Unlock()
	if old != nil {
		old.forget()
	}
}

// inSandbox runs fn in the business database of the open sandbox.
func (d *Database) inSandbox(ctx context.Context, fn func(context.Context, *pgx.Conn) error) error {
	var conn *pgx.Conn
	err := poll(ctx, func() (bool, error) {
		if d.sandboxEnded() {
			return false, errs.New(errs.Unavailable, "the sandbox of %s does not run: open it", d.o.Member)
		}
		c, err := d.connect(ctx, d.sandboxSocket(), d.o.Database, "sandbox")
		conn = c
		return err == nil, nil
	})
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return fn(ctx, conn)
}

// checkAlone asks the server itself whether it leads anywhere: what was written for it is one thing, what is in force another.
func (d *Database) checkAlone(ctx context.Context, conn *pgx.Conn, run string) error {
	var found []string
	rows, err := conn.Query(ctx, `select name || ' = ' || setting from pg_settings where name = any ($1) and setting not in ('', '(disabled)')
		union all select name || ' = ' || setting from pg_settings
			where (name, setting) in (('archive_mode', 'on'), ('archive_mode', 'always')) or name = 'listen_addresses' and setting <> ''
			or name in ('max_wal_senders', 'max_logical_replication_workers', 'max_worker_processes', 'max_replication_slots') and setting <> '0'
		union all select 'slot ' || slot_name from pg_replication_slots
		union all select 'it receives log' from pg_stat_wal_receiver
		union all select 'it sends log' from pg_stat_replication
		union all select 'it is in recovery' where pg_is_in_recovery()
		union all select 'it is of run ' || current_setting('perdure.sandbox', true) where current_setting('perdure.sandbox', true) is distinct from $2
		union all select 'unit ' || unit || ' is open' from perdure.gate`, alone, run)
	if err == nil {
		found, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err != nil {
		return failed(err, "cannot check that the sandbox of %s reaches nobody", d.o.Member)
	}
	if len(found) > 0 {
		return errs.New(errs.Refused, "the sandbox of %s is not alone and was ended: %s", d.o.Member, strings.Join(found, "; "))
	}
	return nil
}

// VerifySandbox looks through all tables and indexes, counts, lets the system's own query judge, and writes.
func (d *Database) VerifySandbox(ctx context.Context, run, query string) (driver.SandboxVerdict, error) {
	var v driver.SandboxVerdict
	done, err := d.sandboxing(ctx)
	if err != nil {
		return v, err
	}
	defer done()
	if _, err := d.ownSandbox(run, driver.SandboxOpen); err != nil {
		return v, err
	}
	if err := d.inSandbox(ctx, func(ctx context.Context, conn *pgx.Conn) error { return d.checkAlone(ctx, conn, run) }); err != nil {
		return v, err
	}
	v.Closed = true
	// What is damaged cannot be counted: that it is, is the verdict.
	if v.Corrupt, err = d.damage(ctx); err != nil || v.Corrupt != "" {
		return v, err
	}
	err = d.inSandbox(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		if err := countSandbox(ctx, conn, &v); err != nil {
			return failed(err, "cannot count what is in the sandbox of %s", d.o.Member)
		}
		if query != "" {
			bad := map[string]bool{}
			all, err := accounts(ctx, conn, query, bad)
			if err != nil {
				return err
			}
			v.Accounts, v.Inconsistent = int64(len(all)), int64(len(bad))
		}
		if v.Written, err = writeSandbox(ctx, conn, run); err != nil {
			return failed(err, "the sandbox of %s takes no writes", d.o.Member)
		}
		return nil
	})
	return v, err
}

// damage looks through all tables and indexes; empty: nothing is wrong.
func (d *Database) damage(ctx context.Context) (string, error) {
	out, err := d.program(ctx, "pg_amcheck", "--install-missing", "--host="+d.sandboxSocket(), "--port="+strconv.Itoa(d.o.Port),
		"--username="+d.o.Superuser, "--no-password", d.o.Database).CombinedOutput()
	switch {
	case err != nil && len(out) > 0 && ctx.Err() == nil && !strings.Contains(string(out), "error:"):
		return strings.TrimSpace(string(out[:min(len(out), 2000)])), nil
	case err != nil:
		return "", errs.New(errs.Unavailable, "pg_amcheck cannot look through the sandbox of %s: %s (%w)", d.o.Member, complaint(string(out)), err)
	}
	return "", nil
}

// countSandbox counts relations, rows, records and amounts, all in one picture.
func countSandbox(ctx context.Context, conn *pgx.Conn, v *driver.SandboxVerdict) error {
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `select count(*) from pg_class where relkind in ('r', 'i', 't', 'm', 'S')`).Scan(&v.Relations); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, `select count(*), coalesce(sum(amount), 0)::text from perdure.record`).Scan(&v.Transactions, &v.Amount); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
			where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema', 'perdure', $1) and n.nspname not like 'pg\_%' order by 1`, sandboxSchema)
		if err != nil {
			return err
		}
		tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, t := range tables {
			var n int64
			if err := tx.QueryRow(ctx, "select count(*) from "+t).Scan(&n); err != nil {
				return err
			}
			v.Rows += n
		}
		return nil
	})
}

// writeSandbox writes a row and reads it back.
func writeSandbox(ctx context.Context, conn *pgx.Conn, run string) (read bool, err error) {
	for _, statement := range []string{
		`create schema if not exists ` + sandboxSchema, `create table if not exists ` + sandboxSchema + `.probe (run text primary key, at timestamptz not null default now())`,
	} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return false, err
		}
	}
	if _, err := conn.Exec(ctx, `insert into `+sandboxSchema+`.probe (run) values ($1) on conflict (run) do update set at = now()`, run); err != nil {
		return false, err
	}
	err = conn.QueryRow(ctx, `select exists (select from `+sandboxSchema+`.probe where run = $1)`, run).Scan(&read)
	return read, err
}

// SandboxTrace asks the member's own server, not the sandbox.
func (d *Database) SandboxTrace(ctx context.Context) (found bool, err error) {
	err = d.session("probe").do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `select to_regnamespace($1) is not null`, sandboxSchema).Scan(&found)
	})
	return found, failed(err, "cannot look whether %s has anything of a sandbox", d.o.Member)
}

// DiscardSandbox ends the server and removes files and journal, the journal last: what was cut short is done again.
func (d *Database) DiscardSandbox(ctx context.Context, run string) error {
	done, err := d.sandboxing(ctx)
	if err != nil {
		return err
	}
	defer done()
	var s driver.Sandbox
	found, err := d.readJournal("sandbox", &s)
	if err != nil || found && run != "" && s.Run != run {
		return err
	}
	if err := d.endSandbox(); err != nil {
		return err
	}
	for _, dir := range []string{d.sandboxDir(), d.sandboxSocket()} {
		if err := d.discard(dir); err != nil {
			return err
		}
	}
	if err := syncDir(filepath.Dir(d.sandboxDir())); err != nil {
		return err
	}
	return removeFile(d.journalFile("sandbox"))
}

// endSandbox ends the server at once: nothing in it is kept.
func (d *Database) endSandbox() error {
	dir := d.sandboxDir()
	killBackups(dir)
	pid := postmasterOf(dir)
	d.mu.Lock()
	p := d.sandboxProc
	d.sandboxProc = nil
	d.mu.Unlock()
	if p != nil {
		defer p.forget()
	}
	if pid == 0 {
		killRemains(dir)
		return nil
	}
	if p == nil || p.pid != pid {
		other, err := d.watch(pid, dir, nil)
		if err != nil {
			return err
		}
		defer other.forget()
		p = other
	}
	ctx, cancel := context.WithTimeout(context.Background(), sandboxEnd)
	defer cancel()
	return p.end(ctx, true)
}

// killBackups ends what a killed agent's base backup into a directory left: it dies with the agent, its child that receives log does not.
func killBackups(dir string) { killRunning("pg_basebackup", "--pgdata="+dir) }

// killRunning ends programs of the name that were started with the argument.
func killRunning(name, argument string) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if args := strings.Split(string(line), "\x00"); err == nil && filepath.Base(args[0]) == name && slices.Contains(args, argument) {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended just now
		}
	}
}

// bytesOf sums the files below a directory, those in tablespaces too. Files that go away meanwhile count nothing.
func bytesOf(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if e.Type().IsRegular() && unix.Lstat(path, &st) == nil {
			sum += st.Size
		}
		return nil
	})
	if err != nil {
		return 0, errs.New(errs.Unavailable, "cannot find out how large %s is: %w", dir, err)
	}
	return sum, nil
}

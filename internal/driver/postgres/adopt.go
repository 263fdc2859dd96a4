package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"perdure/internal/driver"
	"perdure/internal/errs"
)

// kept is added to the name of a configuration file of an adopted directory: it stays for people to look at, nothing reads it.
const kept = ".before-perdure"

// Adopt takes over a directory that was run without an agent: a server that runs on it is stopped (fast), what forbids
// adoption is refused before anything is changed, then role, schema and configuration are put in. The directory is left stopped
// and closed; Start starts it. Settings of the old configuration are not taken over: those that matter belong in Options.Settings.
func (d *Database) Adopt(ctx context.Context) error {
	done, err := d.begin(ctx, "adopt")
	if err != nil {
		return err
	}
	defer done()
	kind := d.directory()
	if err := d.adoptable(ctx, kind); err != nil {
		return err
	}
	if err := d.stop(ctx, false); err != nil {
		return err
	}
	if err := d.leftovers(); err != nil {
		return err
	}
	if err := d.configure(); err != nil { // beside the directory: the server as it was can still be started
		return err
	}
	if kind != driver.Standby {
		if err := d.ensureAgentRole(ctx); err != nil {
			return err
		}
	}
	for _, name := range []string{"postgresql.conf", "pg_hba.conf", "pg_ident.conf"} {
		text, err := os.ReadFile(filepath.Join(d.o.DataDir, name))
		if err != nil || bytes.Contains(text, []byte(blocked)) {
			continue
		}
		if err := d.writeFile(filepath.Join(d.o.DataDir, name+kept), string(text), true); err != nil {
			return err
		}
	}
	if err := d.block(d.o.DataDir); err != nil {
		return err
	}
	if err := d.steer(d.o.DataDir, steering{}, true); err != nil {
		return err
	}
	if kind == driver.Standby {
		return nil // role and schema come from its upstream
	}
	return d.private(ctx, d.o.DataDir, d.o.Database, func(ctx context.Context, conn *pgx.Conn) error {
		return d.install(ctx, conn)
	})
}

// adoptable refuses what an agent cannot run, from files alone.
func (d *Database) adoptable(ctx context.Context, kind driver.Directory) error {
	if kind == driver.Empty {
		return errs.New(errs.NotFound, "cannot adopt %s: it holds no database", d.o.DataDir)
	}
	if err := d.startable(kind); err != nil {
		return err
	}
	version, err := os.ReadFile(filepath.Join(d.o.DataDir, "PG_VERSION"))
	if err != nil {
		return errs.New(errs.Unavailable, "cannot read the version of %s: %w", d.o.DataDir, err)
	}
	program, err := d.command(ctx, "postgres", "--version").Output()
	if err != nil {
		return errs.New(errs.Unavailable, "cannot ask PostgreSQL for its version: %w", programError(err))
	}
	if !bytes.Contains(program, []byte(") "+strings.TrimSpace(string(version))+".")) {
		return errs.New(errs.Invalid, "cannot adopt %s: it was made by PostgreSQL %s, the programs in %s are %s; upgrade one of them", d.o.DataDir, strings.TrimSpace(string(version)), d.o.BinDir, strings.TrimSpace(string(program)))
	}
	if entries, err := os.ReadDir(filepath.Join(d.o.DataDir, "pg_tblspc")); err == nil && len(entries) > 0 {
		return errs.New(errs.Invalid, "cannot adopt %s: it has tablespaces, which the agent does not copy; move their tables to pg_default and drop them", d.o.DataDir)
	}
	values, err := d.controlData(ctx, d.o.DataDir)
	if err != nil {
		return err
	}
	if kind == driver.Standby {
		return d.enoughFor(values)
	}
	return nil
}

// leftovers refuses what only shows when the server is stopped: prepared transactions, and a server that did not stop cleanly is recovered by the next start.
func (d *Database) leftovers() error {
	entries, err := os.ReadDir(filepath.Join(d.o.DataDir, "pg_twophase"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errs.New(errs.Unavailable, "cannot read %s: %w", d.o.DataDir, err)
	}
	if len(entries) > 0 {
		return errs.Refuse("I9", "cannot adopt %s: it holds %d prepared transactions, which no fence sees; start it as before, roll them back, then adopt it", d.o.DataDir, len(entries))
	}
	return nil
}

// enoughFor refuses to run a copy with less than its upstream: its replay would stop.
func (d *Database) enoughFor(values map[string]string) error {
	for _, name := range []string{"max_connections", "max_worker_processes", "max_wal_senders", "max_locks_per_xact"} {
		need, err := strconv.Atoi(values[name+" setting"])
		setting := strings.Replace(name, "per_xact", "per_transaction", 1)
		have, given := d.o.Settings[setting]
		if !given {
			have = defaults[setting]
		}
		if have == "" {
			have = "64" // max_locks_per_transaction
		}
		n, err2 := strconv.Atoi(have)
		if err == nil && err2 == nil && n < need {
			return errs.New(errs.Invalid, "cannot adopt %s: its upstream has %s = %d, the agent's settings say %d; raise them", d.o.DataDir, setting, need, n)
		}
	}
	return nil
}

// ensureAgentRole makes the agent's role in single-user mode, where nobody has to log in first. It works in the business database,
// so that one that is missing is noticed before the directory is changed.
func (d *Database) ensureAgentRole(ctx context.Context) error {
	single := d.program(ctx, "postgres", append([]string{
		"--single", "-j", "-D", d.o.DataDir, "-c", "config_file=" + d.configFile(),
		"-c", "logging_collector=off", "-c", "max_wal_senders=0", "-c", "log_min_messages=error", "-c", "shared_preload_libraries=",
	}, append(fixedArguments(), d.o.Database)...)...)
	single.cmd.Stdin = strings.NewReader(fmt.Sprintf(`do $$ begin
	if exists (select from pg_roles where rolname = %[2]s) then alter role %[1]s superuser login replication; else create role %[1]s superuser login replication; end if;
end $$;

`, quoteName(d.o.Superuser), "'"+strings.ReplaceAll(d.o.Superuser, "'", "''")+"'"))
	out, err := single.CombinedOutput()
	if err != nil && bytes.Contains(out, []byte("FATAL:  database ")) {
		return errs.New(errs.Invalid, "cannot adopt %s: it has no database %s; start it as before and create it, or name another one in postgres.database", d.o.DataDir, d.o.Database)
	}
	if err != nil || bytes.Contains(out, []byte("ERROR:")) {
		return errs.New(errs.Unavailable, "cannot make role %s in %s: %s", d.o.Superuser, d.o.DataDir, complaint(string(out)))
	}
	return nil
}

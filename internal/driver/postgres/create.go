package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/guard"
)

// segmentMB is the size of a file of the log. A promotion writes one whole before it ends, and each copy one that follows it.
const segmentMB = 4

// Create makes a new closed owner's directory. It is made aside and gets its name when it is complete, so that a predecessor
// that was killed leaves nothing but what the next Create throws away. A directory that is there already is left as it is, and programs
// that the protocol is not safe with make none (I17).
func (d *Database) Create(ctx context.Context) error {
	done, err := d.begin(ctx, "create")
	if err != nil {
		return err
	}
	defer done()
	if d.directory() != driver.Empty {
		return nil
	}
	if err := d.onlyEmpty(); err != nil {
		return err
	}
	_, found, err := d.checkPrograms(ctx)
	if err != nil {
		return err
	}
	for _, f := range found {
		if f.Fatal {
			return errs.Refuse("I17", "cannot create a database in %s: %s; %s", d.o.DataDir, f.Problem, f.Fix)
		}
	}
	fresh := d.o.DataDir + ".new"
	if err := d.discard(fresh); err != nil {
		return err
	}
	if err := d.makeDir(fresh); err != nil {
		return err
	}
	initdb := d.program(ctx, "initdb", "-D", fresh, "-U", d.o.Superuser, "--auth=reject", "--data-checksums",
		"--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions", "--wal-segsize="+strconv.Itoa(segmentMB))
	if out, err := initdb.CombinedOutput(); err != nil {
		_ = os.RemoveAll(fresh) // it may be the disk that is full
		return errs.New(errs.Unavailable, "cannot create a database in %s: %s (%w)", fresh, complaint(string(out)), err)
	}
	if err := d.configure(); err != nil {
		return err
	}
	if err := d.block(fresh); err != nil {
		return err
	}
	if err := d.steer(fresh, steering{}, true); err != nil {
		return err
	}
	err = d.private(ctx, fresh, "postgres", func(ctx context.Context, conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "create database "+quoteName(d.o.Database)); err != nil && sqlState(err) != "42P04" {
			return failed(err, "cannot create database %s", d.o.Database)
		}
		business, err := d.connect(ctx, d.privateDir(), d.o.Database, "create")
		if err != nil {
			return err
		}
		defer business.Close(context.WithoutCancel(ctx))
		return d.install(ctx, business)
	})
	if err != nil {
		return err
	}
	return d.swapIn(fresh)
}

// install puts schema and roles into the business database.
func (d *Database) install(ctx context.Context, conn *pgx.Conn) error {
	if err := guard.Install(ctx, conn); err != nil {
		return err
	}
	if err := ensureGroupRoles(ctx, conn); err != nil {
		return failed(err, "cannot make the roles of followers")
	}
	if err := d.ensureRole(ctx, conn, d.o.Member); err != nil {
		return err
	}
	if password, err := d.o.Password(guard.AppRole); err == nil && password != "" {
		if err := d.setPassword(ctx, conn, guard.AppRole, "login", password); err != nil {
			return err
		}
	}
	return d.prepare(ctx, conn)
}

// prepare runs what the user wants done, once in the life of the database: that it was done is written into the database.
func (d *Database) prepare(ctx context.Context, conn *pgx.Conn) error {
	if d.o.Prepare == nil {
		return nil
	}
	var done bool
	err := conn.QueryRow(ctx, `select exists (select from pg_db_role_setting s join pg_database b on b.oid = s.setdatabase
		where b.datname = current_database() and s.setrole = 0 and 'perdure.prepared=yes' = any (s.setconfig))`).Scan(&done)
	if err != nil || done {
		return failed(err, "cannot prepare database %s", d.o.Database)
	}
	// What users wrote expects the usual places for its names.
	if _, err := conn.Exec(ctx, `set search_path = "$user", public`); err != nil {
		return failed(err, "cannot prepare database %s", d.o.Database)
	}
	if err := d.o.Prepare(ctx, conn); err != nil {
		return failed(err, "cannot prepare database %s", d.o.Database)
	}
	_, err = conn.Exec(ctx, "alter database "+quoteName(d.o.Database)+" set perdure.prepared = 'yes'")
	return failed(err, "cannot prepare database %s", d.o.Database)
}

// onlyEmpty refuses to make a database where something else lies.
func (d *Database) onlyEmpty() error {
	entries, err := os.ReadDir(d.o.DataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return errs.New(errs.Unavailable, "cannot read %s: %w", d.o.DataDir, err)
	}
	if len(entries) > 0 {
		return errs.New(errs.Invalid, "%s holds %s and no database: empty it or choose another directory", d.o.DataDir, entries[0].Name())
	}
	return nil
}

// discard ends what runs on a directory that is not in use any more, and removes it.
func (d *Database) discard(dir string) error {
	if pid := postmasterOf(dir); pid != 0 {
		p, err := d.watch(pid, dir, nil)
		if err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := p.end(ctx, true); err != nil {
				return err
			}
			p.forget()
		}
	}
	killRemains(dir)
	if err := os.RemoveAll(dir); err != nil {
		return errs.New(errs.Unavailable, "cannot remove %s: %w", dir, err)
	}
	return nil
}

// private runs a server that nobody else reaches on a directory, and stops it cleanly afterwards. The server dies with the
// agent's next start at the latest: see endPrivate. Without fn the directory is only recovered.
func (d *Database) private(ctx context.Context, dir, database string, fn func(context.Context, *pgx.Conn) error) error {
	p, err := d.launch(dir, "private.log", d.privateArguments())
	if err != nil {
		return err
	}
	stop := func(immediate bool) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err := p.end(ctx, immediate)
		p.forget()
		return err
	}
	var conn *pgx.Conn
	err = poll(ctx, func() (bool, error) {
		select {
		case <-p.dead:
			return false, errs.New(errs.Unavailable, "PostgreSQL ended while it opened %s privately: %s", dir, d.lastWords(p.seen))
		default:
		}
		c, err := d.connect(ctx, d.privateDir(), database, "private")
		if err == nil {
			conn = c
		}
		return err == nil, nil
	})
	if err != nil {
		return errors.Join(failed(err, "cannot open %s privately", dir), stop(true))
	}
	if fn != nil {
		err = fn(ctx, conn)
	}
	_ = conn.Close(context.WithoutCancel(ctx)) // the server ends next
	if err != nil {
		return errors.Join(err, stop(true))
	}
	return stop(false)
}

// endPrivate ends private servers that a killed predecessor left on the directory.
func (d *Database) endPrivate() error {
	lines := linesOf(filepath.Join(d.o.DataDir, "postmaster.pid"))
	if len(lines) < 5 || lines[4] != d.privateDir() || postmasterOf(d.o.DataDir) == 0 {
		return nil
	}
	p := d.attach()
	if p == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.end(ctx, true); err != nil {
		return err
	}
	d.running()
	return nil
}

func historyFile(timeline uint32) string { return fmt.Sprintf("%08X.history", timeline) }

package postgres

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"perdure/internal/driver"
	"perdure/internal/errs"
)

// Survey is what Adopt would find and do. Nothing is changed by making one.
type Survey struct {
	Directory driver.Directory `json:"directory"`
	// Program is the version of the programs that will run it, for example "15.18".
	Program string `json:"program"`
	// Running: a server runs on the directory and would be stopped once. Sessions are its clients now, -1 where nobody could look.
	Running  bool `json:"running"`
	Sessions int  `json:"sessions"`
	// Inside: the databases were looked into, over the connection that was given.
	Inside bool `json:"inside"`
	// Mine: the directory is run by this member's agent already.
	Mine bool `json:"mine"`
	// Changed are settings that get another value, Dropped those of the old files that nothing reads afterwards.
	Changed []SettingChange `json:"changed"`
	Dropped []SettingChange `json:"dropped"`
	// Rules is the number of rules in the old pg_hba.conf, which are not taken over either.
	Rules int `json:"rules"`
	// Findings are the installation checks (I17) that fail; Adopt refuses where one is fatal.
	Findings []driver.Finding `json:"findings"`
}

// SettingChange is one server setting before and after. Now is empty where no file names it, Then where nothing sets it any more.
type SettingChange struct {
	Name string `json:"name"`
	Now  string `json:"now"`
	Then string `json:"then,omitempty"`
}

// oldest is the oldest version that may own (I17), 15.13; proven is the only major version this driver was proven on.
const (
	oldest = 150013
	proven = 15
)

// Survey looks at a directory before it is adopted: files, and the running server where conn leads to its business database.
// The error is that of Adopt where files alone forbid it.
func (d *Database) Survey(ctx context.Context, conn *pgx.Conn) (Survey, error) {
	s := Survey{Directory: d.directory(), Sessions: -1}
	if err := d.adoptable(ctx, s.Directory); err != nil {
		return s, err
	}
	s.Running = d.attach() != nil
	_, s.Mine = d.steered(d.o.DataDir)
	if err := d.surveyFiles(ctx, &s); err != nil {
		return s, err
	}
	now, err := d.oldSettings(&s)
	if err != nil {
		return s, err
	}
	if conn != nil {
		if err := d.surveyServer(ctx, conn, &s); err != nil {
			return s, err
		}
		if err := fileSettings(ctx, conn, now); err != nil {
			return s, err
		}
	} else if s.Running {
		s.Findings = append(s.Findings, driver.Finding{
			Check: "not-looked-inside", Problem: "nobody looked into the running server: prepared transactions, a missing database and followers show only when it is stopped",
			Fix: "name a superuser's connection to the business database with --database",
		})
	}
	if !s.Mine {
		d.compareSettings(now, &s)
	}
	return s, nil
}

var programVersion = regexp.MustCompile(`\(PostgreSQL\) ((\d+)\.(\d+))`)

// checkPrograms gives the version of the programs, and what speaks against it.
func (d *Database) checkPrograms(ctx context.Context) (string, []driver.Finding, error) {
	out, err := d.command(ctx, "postgres", "--version").Output()
	if err != nil {
		return "", nil, errs.New(errs.Unavailable, "cannot ask PostgreSQL for its version: %w", programError(err))
	}
	m := programVersion.FindStringSubmatch(string(out))
	if m == nil {
		return "", nil, errs.New(errs.Invalid, "cannot read the version of PostgreSQL in %s from %q: name the directory of PostgreSQL %d", d.o.BinDir, strings.TrimSpace(string(out)), proven)
	}
	major, _ := strconv.Atoi(m[2]) // digits, by the expression
	minor, _ := strconv.Atoi(m[3])
	switch {
	case major*10000+minor < oldest:
		return m[1], []driver.Finding{{
			Check: "version", Fatal: true, Problem: "PostgreSQL " + m[1] + " lets commits right after a start skip the wait for copies", Fix: "upgrade its packages to 15.13 or newer",
		}}, nil
	case major != proven:
		return m[1], []driver.Finding{{
			Check: "proven-version", Problem: fmt.Sprintf("this driver was proven on PostgreSQL %d, not on %s", proven, m[1]), Fix: fmt.Sprintf("use PostgreSQL %d", proven),
		}}, nil
	}
	return m[1], nil, nil
}

// surveyFiles is what the programs and the stopped directory say.
func (d *Database) surveyFiles(ctx context.Context, s *Survey) error {
	version, found, err := d.checkPrograms(ctx)
	if err != nil {
		return err
	}
	s.Program, s.Findings = version, append(s.Findings, found...)
	values, err := d.controlData(ctx, d.o.DataDir)
	if err != nil {
		return err
	}
	if values["Data page checksum version"] == "0" {
		s.Findings = append(s.Findings, driver.Finding{
			Check: "checksums", Problem: "the directory has no page checksums: a damaged page is not noticed", Fix: "stop the server and run pg_checksums --enable, before or after it is adopted",
		})
	}
	if left, err := os.ReadDir(filepath.Join(d.o.DataDir, "pg_twophase")); err == nil && len(left) > 0 {
		s.Findings = append(s.Findings, preparedLeft(len(left)))
	}
	return nil
}

func preparedLeft(n int) driver.Finding {
	return driver.Finding{
		Check: "prepared-left", Fatal: true, Problem: fmt.Sprintf("%d prepared transactions are left: no fence sees them", n), Fix: "commit or roll them back on the server as it runs now",
	}
}

// insideChecks ask the running server. Each gives what is wrong with what, one text a row; the first column of fatal ones forbids adoption.
var insideChecks = [...]struct{ name, sql, problem, fix string }{
	{
		"followers", `select coalesce(application_name, '') from pg_stat_replication order by 1`,
		"%s follows it and is no member: it will not be let in again", "copy it anew as a member, or adopt it with its own agent afterwards",
	},
	{
		"slots", `select slot_name::text from pg_replication_slots where slot_name !~ '^perdure_' order by 1`,
		"replication slot %s keeps log for somebody who will not be let in again", "select pg_drop_replication_slot(...), then adopt",
	},
	{
		"application-superuser", `select rolname::text from pg_roles where rolsuper and rolcanlogin and rolname not in ('postgres', 'perdure_agent') and oid <> 10 order by 1`,
		"role %s is a superuser and may log in: nothing binds an application that uses it", "alter role ... nosuperuser",
	},
	{
		"synchronous-commit", `select case when setrole = 0 then 'every role' else pg_get_userbyid(setrole)::text end from pg_db_role_setting s cross join unnest(s.setconfig) c
			where c ~* '^synchronous_commit=(off|local|remote_write|false|no|0)$' and setrole is distinct from (select oid from pg_roles where rolname = 'perdure_agent') order by 1`,
		"synchronous_commit is lowered for %s: its commits are answered before the copies have them", "alter role (or database) ... reset synchronous_commit",
	},
	{
		"guard-on-every-table", `select count(*)::text from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p') and c.relpersistence <> 't'
			and n.nspname not in ('pg_catalog', 'information_schema', 'perdure') and not exists (select from pg_trigger t join pg_proc p on p.oid = t.tgfoid
			join pg_namespace m on m.oid = p.pronamespace where t.tgrelid = c.oid and m.nspname = 'perdure' and p.proname = 'require') having count(*) > 0`,
		"%s tables are not behind the guard: writes in an old epoch would not be refused", "afterwards select perdure.protect('schema.table') for each, or name the reason in perdure.exempt; perdure guard verify lists them",
	},
}

func (d *Database) surveyServer(ctx context.Context, conn *pgx.Conn, s *Survey) error {
	var dir, database string
	var super bool
	var prepared int
	err := conn.QueryRow(ctx, `select current_setting('data_directory'), current_database(), (select rolsuper from pg_roles where rolname = current_user),
		(select count(*) from pg_prepared_xacts)::int, (select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid())::int`).
		Scan(&dir, &database, &super, &prepared, &s.Sessions)
	if err != nil {
		return errs.New(errs.Unavailable, "cannot look into the server: %w; connect as a superuser", err)
	}
	if inode(dir) != inode(d.o.DataDir) {
		return errs.New(errs.Invalid, "the connection leads to the server on %s, not to that on %s: name the right host and port", dir, d.o.DataDir)
	}
	if database != d.o.Database {
		return errs.New(errs.Invalid, "the connection leads to database %s, the agent's configuration names %s: correct one of them (postgres.database), or create it", database, d.o.Database)
	}
	if !super {
		return errs.New(errs.Forbidden, "looking into the server takes a superuser of it: connect as one")
	}
	s.Inside = true
	if prepared > 0 && !slices.ContainsFunc(s.Findings, func(f driver.Finding) bool { return f.Check == "prepared-left" }) {
		s.Findings = append(s.Findings, preparedLeft(prepared))
	}
	for _, c := range insideChecks {
		rows, err := conn.Query(ctx, c.sql)
		if err != nil {
			return errs.New(errs.Unavailable, "cannot run installation check %s: %w", c.name, err)
		}
		what, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return errs.New(errs.Unavailable, "cannot run installation check %s: %w", c.name, err)
		}
		for _, w := range what {
			s.Findings = append(s.Findings, driver.Finding{Check: c.name, Problem: fmt.Sprintf(c.problem, w), Fix: c.fix})
		}
	}
	return nil
}

// compareSettings says what the server's settings will be instead. The agent's defaults and settings, and what stands on the
// command line, count; of the old files nothing does.
func (d *Database) compareSettings(now map[string]string, s *Survey) {
	then := maps.Clone(defaults)
	for name, value := range d.o.Settings {
		then[strings.ToLower(name)] = value
	}
	for _, f := range fixed {
		then[f[0]] = f[1]
	}
	then["listen_addresses"], then["port"] = d.o.ListenAddresses, strconv.Itoa(d.o.Port)
	then["synchronous_standby_names"] = "" // the agent's own, by proof alone
	for _, name := range slices.Sorted(maps.Keys(then)) {
		if old, known := now[name]; then[name] != "" && (!known || !strings.EqualFold(old, then[name])) || then[name] == "" && old != "" {
			s.Changed = append(s.Changed, SettingChange{Name: name, Now: old, Then: then[name]})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if _, kept := then[name]; !kept && !slices.Contains(owned, name) && !strings.HasPrefix(name, "perdure.") {
			s.Dropped = append(s.Dropped, SettingChange{Name: name, Now: now[name]})
		}
	}
}

var settingLine = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_.$]*)\s*=?\s*('(?:[^'\\]|''|\\.)*'|[^\s#']+)`)

var configOption = regexp.MustCompile(`config_file=([^"]+)`)

// oldSettings reads the configuration the directory was run with, with what it includes; the last line counts.
func (d *Database) oldSettings(s *Survey) (map[string]string, error) {
	file := filepath.Join(d.o.DataDir, "postgresql.conf")
	// Some distributions keep it elsewhere, and say so on the command line.
	if opts, err := os.ReadFile(filepath.Join(d.o.DataDir, "postmaster.opts")); err == nil {
		if m := configOption.FindSubmatch(opts); m != nil {
			file = string(m[1])
		}
	}
	now := map[string]string{}
	if err := readSettings(file, now, 0); err != nil {
		return nil, err
	}
	if err := readSettings(steeringFile(d.o.DataDir), now, 0); err != nil {
		return nil, err
	}
	hba := now["hba_file"]
	if hba == "" {
		hba = filepath.Join(d.o.DataDir, "pg_hba.conf")
	}
	if text, err := os.ReadFile(hba); err == nil {
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				s.Rules++
			}
		}
	}
	return now, nil
}

// fileSettings adds what the running server itself took from its files.
func fileSettings(ctx context.Context, conn *pgx.Conn, now map[string]string) error {
	rows, err := conn.Query(ctx, `select lower(name), coalesce(setting, '') from pg_file_settings where applied and error is null`)
	if err != nil {
		return errs.New(errs.Unavailable, "cannot read the server's settings: %w", err)
	}
	var name, value string
	_, err = pgx.ForEachRow(rows, []any{&name, &value}, func() error {
		now[name] = value
		return nil
	})
	if err != nil {
		return errs.New(errs.Unavailable, "cannot read the server's settings: %w", err)
	}
	return nil
}

func readSettings(file string, into map[string]string, depth int) error {
	text, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return nil // a missing include is what the server itself complains of
	}
	if err != nil {
		return errs.New(errs.Unavailable, "cannot read %s: %w", file, err)
	}
	for line := range strings.Lines(string(text)) {
		m := settingLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		name, value := strings.ToLower(m[1]), unquoteSetting(m[2])
		switch name {
		case "include", "include_if_exists", "include_dir":
			if depth >= 10 {
				return errs.New(errs.Invalid, "%s: the configuration includes itself: remove the circle", file)
			}
			if !filepath.IsAbs(value) {
				value = filepath.Join(filepath.Dir(file), value)
			}
			files := []string{value}
			if name == "include_dir" {
				if files, err = filepath.Glob(filepath.Join(value, "*.conf")); err != nil {
					return errs.New(errs.Invalid, "%s: include_dir %s: %w", file, value, err)
				}
			}
			for _, f := range files {
				if err := readSettings(f, into, depth+1); err != nil {
					return err
				}
			}
		default:
			into[name] = value
		}
	}
	return nil
}

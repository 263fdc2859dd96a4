package postgres

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"perdure/internal/driver"
	"perdure/internal/errs"
)

func (s Survey) finding(check string) *driver.Finding {
	i := slices.IndexFunc(s.Findings, func(f driver.Finding) bool { return f.Check == check })
	if i < 0 {
		return nil
	}
	return &s.Findings[i]
}

func changeOf(list []SettingChange, name string) *SettingChange {
	i := slices.IndexFunc(list, func(c SettingChange) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &list[i]
}

func TestSurveySaysWhatAdoptionFindsAndChanges(t *testing.T) {
	t.Parallel()
	m := newMember(t, "u1-a", nil)
	if _, err := m.Survey(m.ctx(), nil); errs.KindOf(err) != errs.NotFound {
		t.Errorf("an empty directory was surveyed: %v", err)
	}
	m.foreign("fsync = off\nwork_mem = 7MB # theirs\nmax_prepared_transactions = 5\nmax_connections 60\ninclude_if_exists 'more.conf'\n")
	more := filepath.Join(m.opts.DataDir, "more.conf")
	m.must(os.WriteFile(more, []byte("temp_buffers = '9MB'\n"), 0o644))
	t.Cleanup(func() { _ = os.Remove(more) })
	connect := func(database string) *pgx.Conn {
		conn, err := pgx.Connect(m.ctx(), "host="+m.socketDir()+" port=5432 user=chief dbname="+database+" sslmode=disable")
		m.must(err)
		t.Cleanup(func() { _ = conn.Close(m.ctx()) })
		return conn
	}
	inside := connect("perdure")
	for _, sql := range []string{"alter system set synchronous_standby_names = 'somebody'", "create table public.history (id int)", "create role teller login superuser", "alter role teller set synchronous_commit = off", "begin", "insert into public.history values (2)", "prepare transaction 'open'"} {
		_, err := inside.Exec(m.ctx(), sql)
		m.must(err)
	}
	before, err := os.ReadFile(filepath.Join(m.opts.DataDir, "postgresql.conf"))
	m.must(err)

	blind, err := m.Survey(m.ctx(), nil)
	m.must(err)
	if !blind.Running || blind.Inside || blind.finding("not-looked-inside") == nil || blind.Directory != driver.Primary || !strings.HasPrefix(blind.Program, "15.") {
		t.Errorf("without a connection: %+v", blind)
	}
	if c := changeOf(blind.Changed, "fsync"); c == nil || c.Now != "off" || c.Then != "on" {
		t.Errorf("fsync: %+v", c)
	}

	s, err := m.Survey(m.ctx(), inside)
	m.must(err)
	if f := s.finding("prepared-left"); f == nil || !f.Fatal {
		t.Errorf("prepared transactions: %+v", f)
	}
	for _, check := range []string{"application-superuser", "synchronous-commit", "guard-on-every-table"} {
		if f := s.finding(check); f == nil || f.Fatal || f.Fix == "" {
			t.Errorf("%s: %+v", check, f)
		}
	}
	for name, want := range map[string]SettingChange{
		"fsync": {Now: "off", Then: "on"}, "max_prepared_transactions": {Now: "5", Then: "0"}, "synchronous_standby_names": {Now: "somebody"},
		"restart_after_crash": {Then: "off"}, "shared_buffers": {Now: "128MB", Then: "16MB"},
	} {
		want.Name = name
		if c := changeOf(s.Changed, name); c == nil || *c != want {
			t.Errorf("%s: %+v, want %+v", name, c, want)
		}
	}
	if c := changeOf(s.Changed, "max_connections"); c != nil {
		t.Errorf("a setting that stays is listed: %+v", c)
	}
	for name, value := range map[string]string{"work_mem": "7MB", "temp_buffers": "9MB"} {
		if c := changeOf(s.Dropped, name); c == nil || c.Now != value || c.Then != "" {
			t.Errorf("%s: %+v", name, c)
		}
	}
	if s.Rules == 0 {
		t.Error("the rules of pg_hba.conf were not counted")
	}
	if _, err := m.Survey(m.ctx(), connect("postgres")); errs.KindOf(err) != errs.Invalid || !strings.Contains(err.Error(), "database") {
		t.Errorf("a connection to another database: %v", err)
	}
	after, err := os.ReadFile(filepath.Join(m.opts.DataDir, "postgresql.conf"))
	m.must(err)
	if string(before) != string(after) || postmasterOf(m.opts.DataDir) == 0 {
		t.Error("looking changed the directory")
	}
	_, err = inside.Exec(m.ctx(), "rollback prepared 'open'")
	m.must(err)
	m.must(m.Adopt(m.ctx()))
	again, err := m.Survey(m.ctx(), nil)
	m.must(err)
	if !again.Mine || again.Running || len(again.Changed) > 0 {
		t.Errorf("afterwards: %+v", again)
	}
}

func TestServerWithoutTheBusinessDatabaseIsNotAdopted(t *testing.T) {
	t.Parallel()
	m := newMember(t, "u1-a", func(o *Options) { o.Database = "bank" })
	m.foreign("")
	before, err := os.ReadFile(filepath.Join(m.opts.DataDir, "postgresql.conf"))
	m.must(err)
	if err := m.Adopt(m.ctx()); errs.KindOf(err) != errs.Invalid || !strings.Contains(err.Error(), "no database bank") {
		t.Errorf("adopted without its database: %v", err)
	}
	after, err := os.ReadFile(filepath.Join(m.opts.DataDir, "postgresql.conf"))
	m.must(err)
	if string(before) != string(after) {
		t.Error("a refused adoption changed the configuration")
	}
}

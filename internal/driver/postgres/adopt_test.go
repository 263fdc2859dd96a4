package postgres

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"perdure/internal/driver"
	"perdure/internal/errs"
)

// foreign makes a directory as people make one without an agent, with a business database in it, and leaves it running.
func (m *member) foreign(settings string) {
	m.t.Helper()
	m.must(m.makeDir(m.opts.DataDir))
	run := func(name string, args ...string) {
		m.t.Helper()
		if out, err := m.command(m.ctx(), name, args...).CombinedOutput(); err != nil {
			m.t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	run("initdb", "-D", m.opts.DataDir, "-U", "chief", "-A", "trust", "--data-checksums", "--no-sync")
	conf, err := os.OpenFile(filepath.Join(m.opts.DataDir, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	m.must(err)
	_, err = conf.WriteString(settings)
	m.must(err)
	m.must(conf.Close())
	p, err := m.launch(m.opts.DataDir, "foreign.log", []string{"-c", "listen_addresses=", "-k", m.socketDir(), "-p", "5432"})
	m.must(err)
	m.t.Cleanup(p.forget)
	m.must(m.awaitReadyOf(p))
}

func (m *member) awaitReadyOf(p *process) error {
	return poll(m.ctx(), func() (bool, error) {
		conn, err := pgx.Connect(m.ctx(), "host="+m.socketDir()+" port=5432 user=chief dbname=postgres sslmode=disable")
		if err != nil {
			select {
			case <-p.dead:
				return false, errs.New(errs.Unavailable, "it ended: %s", m.lastWords(p.seen))
			default:
				return false, nil
			}
		}
		defer conn.Close(m.ctx())
		_, err = conn.Exec(m.ctx(), "create database perdure")
		return true, err
	})
}

func TestExistingServerIsAdopted(t *testing.T) {
	t.Parallel()
	m := newMember(t, "u1-a", nil)
	if err := m.Adopt(m.ctx()); errs.KindOf(err) != errs.NotFound {
		t.Errorf("nothing was adopted: %v", err)
	}
	m.foreign("max_prepared_transactions = 5\n")
	conn, err := pgx.Connect(m.ctx(), "host="+m.socketDir()+" port=5432 user=chief dbname=perdure sslmode=disable")
	m.must(err)
	for _, sql := range []string{"create table public.history (id int)", "insert into public.history values (1)", "begin", "insert into public.history values (2)", "prepare transaction 'open'"} {
		_, err = conn.Exec(m.ctx(), sql)
		m.must(err)
	}
	if err := m.Adopt(m.ctx()); errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), "prepared") {
		t.Errorf("a server with prepared transactions was adopted: %v", err)
	}
	// As the refusal says: start it as before, end them, adopt it.
	p, err := m.launch(m.opts.DataDir, "foreign.log", []string{"-c", "listen_addresses=", "-k", m.socketDir(), "-p", "5432"})
	m.must(err)
	t.Cleanup(p.forget)
	var again *pgx.Conn
	m.must(poll(m.ctx(), func() (bool, error) {
		again, err = pgx.Connect(m.ctx(), "host="+m.socketDir()+" port=5432 user=chief dbname=perdure sslmode=disable")
		return err == nil, nil
	}))
	_, err = again.Exec(m.ctx(), "rollback prepared 'open'")
	m.must(err)
	m.must(m.Adopt(m.ctx()))
	if o := m.observe(); o.Running || o.Directory != driver.Primary {
		t.Errorf("adopted, seen as %+v", o)
	}
	m.wontStartByHand()
	m.start()
	if err := m.pay(m.ctx(), m.app(), "early"); sqlState(err) != "PD001" {
		t.Errorf("an adopted server is open: %v", err)
	}
	m.open(1)
	m.paid("one")
	var n int
	m.query(&n, "select count(*) from public.history")
	if n != 1 {
		t.Errorf("%d rows of its history", n)
	}
	findings, err := m.Check(m.ctx())
	m.must(err)
	for _, f := range findings {
		if f.Fatal {
			t.Errorf("after adoption: %+v", f)
		}
	}
	m.must(m.Stop(m.ctx(), false))
	m.must(m.Adopt(m.ctx())) // ensure, not do
	// What a copy needs is there too.
	m.start()
	m.open(2)
	c := newMember(t, "u1-b", nil)
	c.copyOf(m)
	m.growTo(c)
}

func TestChecksNameWhatIsWrong(t *testing.T) {
	t.Parallel()
	p := newMember(t, "u1-a", func(o *Options) {
		o.Settings["max_slot_wal_keep_size"] = "-1"
		o.Settings["max_standby_streaming_delay"] = "30s"
	})
	p.own(1)
	p.admin("alter role app set synchronous_commit = off")
	p.admin("alter role app superuser")
	p.admin("create table public.unguarded (id int)")
	findings, err := p.Check(p.ctx())
	p.must(err)
	for _, want := range []string{"slot-keep-size", "replay-conflicts", "synchronous-commit", "application-superuser", "guard-on-every-table"} {
		if !slices.ContainsFunc(findings, func(f driver.Finding) bool { return f.Check == want && f.Problem != "" && f.Fix != "" }) {
			t.Errorf("%s was not found in %+v", want, findings)
		}
	}
	for _, f := range findings {
		t.Logf("%s: %s; %s (fatal %v)", f.Check, f.Problem, f.Fix, f.Fatal)
	}
}

func TestProtectedSettingsAreRefused(t *testing.T) {
	for _, name := range []string{"fsync", "Restart_After_Crash", "synchronous_standby_names", "port", "primary_conninfo", "perdure.member"} {
		if err := refuseSettings(map[string]string{name: "x"}); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%s was taken: %v", name, err)
		}
	}
	if err := refuseSettings(map[string]string{"work_mem": "64MB"}); err != nil {
		t.Error(err)
	}
}

func TestPasswordsAreStoredAsPostgresWantsThem(t *testing.T) {
	t.Parallel()
	p := newMember(t, "u1-a", nil)
	p.own(1)
	p.must(p.EnsureFollower(p.ctx(), "U1-B.odd name"))
	conn, err := p.dialUpstream(p.ctx(), p.up(), false)
	p.must(err)
	p.must(conn.Close(context.Background()))
	var verifier string
	p.query(&verifier, "select rolpassword from pg_authid where rolname = $1", RoleOf("U1-B.odd name"))
	password, err := p.opts.Password(RoleOf("U1-B.odd name"))
	p.must(err)
	if !scramMatches(verifier, password) || scramMatches(verifier, password+"x") {
		t.Errorf("%s does not belong to the password alone", verifier)
	}
}

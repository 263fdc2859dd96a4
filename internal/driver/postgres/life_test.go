package postgres

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/porttest"
)

func TestServerOutlivesItsAgent(t *testing.T) {
	t.Parallel()
	p := newMember(t, "u1-a", nil)
	p.own(1)
	if _, err := New(p.opts); errs.KindOf(err) != errs.Conflict {
		t.Errorf("a second agent took the directory: %v", err)
	}
	before := p.observe()
	p.releaseDriver()
	p.attachDriver()
	after := p.observe()
	if !after.Running || !after.StartTime.Equal(before.StartTime) || len(after.Gates) != 1 || !after.Gates[0].Open {
		t.Errorf("found again as %+v", after)
	}
	p.paid("still open")
	dead := p.Dead()
	p.kill()
	await(t, dead)
	if o := p.observe(); o.Running || o.Directory != driver.Primary {
		t.Errorf("killed, seen as %+v", o)
	}
	await(t, p.Dead()) // closed as long as nothing runs
}

func TestGuardRowIsEmptyAfterPromotion(t *testing.T) {
	t.Parallel()
	p, s := newMember(t, "u1-a", nil), newMember(t, "u1-b", nil)
	p.own(1)
	s.copyOf(p)
	p.growTo(s)
	p.paid("one")
	if err := s.Promote(s.ctx()); errs.KindOf(err) != errs.Refused {
		t.Errorf("promoted without being severed: %v", err)
	}
	if _, err := s.Sever(s.ctx()); err != nil {
		t.Fatal(err)
	}
	s.must(s.Promote(s.ctx()))
	s.must(s.Promote(s.ctx())) // ensure, not do
	o := s.observe()
	if o.InRecovery || len(o.Gates) != 0 || len(o.SyncNames) != 0 || o.HighestSeen != owns(1) {
		t.Errorf("after the promotion: %+v", o)
	}
	if err := s.pay(s.ctx(), s.app(), "two"); sqlState(err) != "PD001" {
		t.Errorf("a promoted copy took a write: %v", err)
	}
	if err := s.Open(s.ctx(), owns(1), "u1-b", units); errs.KindOf(err) != errs.Refused {
		t.Errorf("opened at the ownership of its predecessor: %v", err)
	}
	s.open(2)
	s.must(s.pay(s.ctx(), s.app(), "two"))
}

func TestCrashRestartedOwnerIsClosed(t *testing.T) {
	t.Parallel()
	p := newMember(t, "u1-a", nil)
	p.own(1)
	p.paid("one")
	p.kill()
	p.start()
	if o := p.observe(); len(o.Gates) != 0 {
		t.Errorf("open after a crash: %+v", o.Gates)
	}
	if err := p.pay(p.ctx(), p.app(), "two"); sqlState(err) != "PD001" {
		t.Errorf("a restarted owner took a write: %v", err)
	}
	p.open(2)
	// A clean restart keeps unlogged rows, but they name another life.
	p.must(p.Stop(p.ctx(), false))
	p.start()
	if o := p.observe(); len(o.Gates) != 0 {
		t.Errorf("open after a clean restart: %+v", o.Gates)
	}
	if err := p.pay(p.ctx(), p.app(), "three"); sqlState(err) != "PD001" {
		t.Errorf("a restarted owner took a write: %v", err)
	}
}

func TestBackendCrashClosesTheGate(t *testing.T) {
	t.Parallel()
	p := newMember(t, "u1-a", nil)
	p.own(1)
	dead := p.Dead()
	conn := p.app()
	if err := syscall.Kill(int(conn.PgConn().PID()), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, dead)
	p.start()
	if o := p.observe(); len(o.Gates) != 0 {
		t.Errorf("open after the crash of a backend: %+v", o.Gates)
	}
	if err := p.pay(p.ctx(), p.app(), "two"); sqlState(err) != "PD001" {
		t.Errorf("took a write: %v", err)
	}
}

func TestOrphansOfAKilledPostmasterAreEnded(t *testing.T) {
	t.Parallel()
	p := newMember(t, "u1-a", nil)
	p.own(1)
	p.background(func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "do $$ begin loop perform 1; end loop; end $$")
		return err
	})
	p.until("it is busy", func(o driver.Observation) bool { return o.LongestTxn > 0 })
	p.kill() // returns when Dead is closed
	for _, pid := range serverProcesses(p.opts.DataDir) {
		if !isCollector(title(pid)) {
			t.Errorf("%d %s lives on after the server was said to be dead", pid, title(pid))
		}
	}
	p.start()
}

func TestSeverStopsAcknowledgementAcrossRestart(t *testing.T) {
	t.Parallel()
	p, s := newMember(t, "u1-a", nil), newMember(t, "u1-b", nil)
	p.own(1)
	s.copyOf(p)
	p.growTo(s)
	p.paid("before")
	severed, err := s.Sever(s.ctx())
	s.must(err)
	paid := p.payInBackground("after")
	p.until("it waits", func(o driver.Observation) bool { return o.WaitingCommits == 1 })
	s.kill()
	s.start()
	s.releaseDriver()
	s.attachDriver()
	again, err := s.Sever(s.ctx())
	s.must(err)
	if again != severed {
		t.Errorf("severed at %s, after a restart at %s", severed, again)
	}
	if o := s.observe(); o.Upstream.Member != "" || o.Streaming || o.Flushed != severed {
		t.Errorf("severed and restarted: %+v", o)
	}
	select {
	case err := <-paid:
		t.Errorf("acknowledged by a severed copy: %v", err)
	default:
	}
	// An undone switch: the copy follows again and the commit is acknowledged.
	s.life++
	s.must(s.Follow(s.ctx(), p.up(), s.now()))
	s.streams()
	p.must(p.Shrink(p.ctx(), nil))
	p.must(<-paid)
	p.growTo(s)
}

func TestReplayConflictDoesNotDelayPromotion(t *testing.T) {
	t.Parallel()
	p := newMember(t, "u1-a", nil)
	s := newMember(t, "u1-b", func(o *Options) {
		o.Settings["max_standby_streaming_delay"], o.Settings["max_standby_archive_delay"], o.Settings["hot_standby_feedback"] = "-1", "-1", "off"
	})
	p.own(1)
	s.copyOf(p)
	p.growTo(s)
	p.paid("dead-row")
	reader := s.app()
	_, err := reader.Exec(s.ctx(), "begin isolation level repeatable read")
	s.must(err)
	var n int
	s.until("the copy has the row", func(driver.Observation) bool {
		s.query(&n, "select count(*) from public.account")
		return n == 1
	})
	s.must(reader.QueryRow(s.ctx(), "select count(*) from public.account").Scan(&n))
	p.admin("delete from public.account")
	p.admin("vacuum public.account")
	s.until("replay is stuck behind the reader", func(driver.Observation) bool {
		var event string
		s.query(&event, "select coalesce(wait_event, '') from pg_stat_activity where backend_type = 'startup'")
		return event == "RecoveryConflictSnapshot"
	})
	if _, err := s.Sever(s.ctx()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.ctx(), 20*time.Second)
	defer cancel()
	s.must(s.Promote(ctx))
	if s.observe().InRecovery {
		t.Error("not promoted")
	}
}

func TestDirectoryCannotBeStartedByHand(t *testing.T) {
	t.Parallel()
	p := newMember(t, "u1-a", nil)
	p.own(1)
	p.must(p.Stop(p.ctx(), false))
	p.wontStartByHand()
}

func (m *member) wontStartByHand() {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.ctx(), testWait)
	defer cancel()
	out, err := m.command(ctx, "postgres", "-D", m.opts.DataDir, "-p", strconv.Itoa(porttest.Keep(m.t)), "-k", m.privateDir()).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(string(out), blocked) && !strings.Contains(string(out), "could not load pg_hba.conf") {
		m.t.Errorf("started by hand: %v\n%s", err, out)
	}
}

func TestHalfMadeDirectoryIsThrownAway(t *testing.T) {
	t.Parallel()
	p := newMember(t, "u1-a", nil)
	ctx, cancel := context.WithCancel(p.ctx())
	go func() { // killed as soon as something lies there
		_ = poll(ctx, func() (bool, error) { return exists(filepath.Join(p.opts.DataDir+".new", "PG_VERSION")), nil })
		cancel()
	}()
	if err := p.Create(ctx); err == nil {
		t.Skip("it was too fast to be cut short")
	}
	if got := p.observe().Directory; got != driver.Empty {
		t.Errorf("a half made directory is seen as %s", got)
	}
	p.must(p.Create(p.ctx()))
	p.must(p.Create(p.ctx()))
	p.start()
	if exists(p.opts.DataDir + ".new") {
		t.Error("something was left aside")
	}
}

func TestSwapIsFinishedAfterAKill(t *testing.T) {
	t.Parallel()
	p := newMember(t, "u1-a", nil)
	p.own(1)
	p.must(p.Stop(p.ctx(), false))
	fresh := p.opts.DataDir + ".new"
	for _, killed := range []string{"before anything was renamed", "between the two renames", "after both"} {
		if out, err := exec.Command("cp", "-a", p.opts.DataDir, fresh).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		if err := os.WriteFile(filepath.Join(fresh, "new"), []byte(killed), 0o600); err != nil {
			t.Fatal(err)
		}
		p.must(p.writeJournal("swap", swap{New: fresh, Old: p.opts.DataDir + ".old"}))
		if killed != "before anything was renamed" {
			p.must(os.Rename(p.opts.DataDir, p.opts.DataDir+".old"))
		}
		if killed == "after both" {
			p.must(os.Rename(fresh, p.opts.DataDir))
		}
		p.releaseDriver()
		p.attachDriver()
		text, err := os.ReadFile(filepath.Join(p.opts.DataDir, "new"))
		if err != nil || string(text) != killed {
			t.Errorf("killed %s: the directory is not the new one: %q %v", killed, text, err)
		}
		for _, left := range []string{fresh, p.opts.DataDir + ".old", p.journalFile("swap")} {
			if exists(left) {
				t.Errorf("killed %s: %s is left", killed, left)
			}
		}
	}
	p.start()
}

func TestUnreapedServerIsStartedAgain(t *testing.T) {
	t.Parallel()
	p := newMember(t, "u1-a", nil)
	p.own(1)
	p.must(p.Stop(p.ctx(), false))
	p.releaseDriver()
	// Started by somebody who never reaps it, as an agent's predecessor under a careless first process.
	p.attachDriver()
	p.must(p.prepareStart(p.ctx(), driver.Primary, p.now()))
	server := p.command(context.Background(), "postgres", append([]string{"-D", p.opts.DataDir}, p.arguments("careless")...)...)
	p.must(server.Start())
	t.Cleanup(func() { _ = server.Wait() })
	p.until("it is found", func(o driver.Observation) bool { return o.Answering })
	p.kill()
	if p.observe().Running {
		t.Error("a dead server that nobody reaped is seen running")
	}
	p.start()
	if !p.observe().Answering {
		t.Error("it was not started again")
	}
}

func TestPortInUseIsNamed(t *testing.T) {
	t.Parallel()
	for _, collector := range []string{"off", "on"} {
		p := newMember(t, "u1-a", func(o *Options) { o.Settings["logging_collector"] = collector })
		p.made()
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.opts.Port)))
		if err != nil {
			t.Fatal(err)
		}
		err = p.Start(p.ctx(), p.now())
		if err == nil || !strings.Contains(err.Error(), "Address already in use") {
			t.Errorf("collector %s: %v", collector, err)
		}
		if o := p.observe(); o.Running {
			t.Error("seen running")
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		p.start()
	}
}

// The processes are impostors: of the same name, in the same directory, with the titles that PostgreSQL's have.
func TestOnlyTheLogCollectorOutlivesADeadServer(t *testing.T) {
	t.Parallel()
	dir, bin := t.TempDir(), t.TempDir()
	program, script := filepath.Join(bin, "postgres"), filepath.Join(t.TempDir(), "postgres")
	if out, err := exec.Command("cp", "/bin/cat", program).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	young := "#!/bin/bash\nsleep 0.1\nexec -a 'postgres: logger' " + program + "\n"
	if err := os.WriteFile(script, []byte(young), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, title string
		spared      bool
	}{
		{program, "postgres: logger", true},
		{program, "postgres: bank: logger", true},
		{script, "postgres", true},
		{program, "postgres: logger bank [local] COMMIT", false},
		{program, "postgres: checkpointer", false},
		{program, "/usr/lib/postgresql/15/bin/postgres", false},
	} {
		server := &exec.Cmd{Path: c.path, Args: []string{c.title}, Dir: dir}
		if _, err := server.StdinPipe(); err != nil { // never written to: it waits
			t.Fatal(err)
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { defer close(ended); _ = server.Wait() }()
		killRemains(dir)
		if left := len(serverProcesses(dir)) == 1; left != c.spared {
			t.Errorf("%s %q: left %t, want %t", filepath.Base(c.path), c.title, left, c.spared)
		}
		_ = server.Process.Kill()
		await(t, ended)
	}
}

func TestNothingIsLeftOfAServerThatDiedWhileItStoodStill(t *testing.T) {
	t.Parallel()
	p := newMember(t, "u1-a", func(o *Options) { o.Settings["logging_collector"] = "on" })
	p.own(1)
	dead := p.Dead()
	p.signal(syscall.SIGSTOP)
	_ = syscall.Kill(postmasterOf(p.opts.DataDir), syscall.SIGKILL)
	await(t, dead)
	p.must(p.Stop(p.ctx(), true))
	p.must(poll(p.ctx(), func() (bool, error) { return len(serverProcesses(p.opts.DataDir)) == 0, nil }))
}

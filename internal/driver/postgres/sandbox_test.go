package postgres

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"perdure/internal/driver"
	"perdure/internal/errs"
)

// sandboxed is an owner with a copy in its in-sync set, with some payments.
func sandboxed(t *testing.T) (owner, replica *member) {
	owner, replica = newMember(t, "u1-a", nil), newMember(t, "u1-b", nil)
	owner.own(1)
	replica.copyOf(owner)
	owner.growTo(replica)
	t.Cleanup(func() { // before the members are removed
		if replica.Database != nil {
			_ = replica.DiscardSandbox(context.Background(), "")
		}
	})
	for _, key := range []string{"k1", "k2", "k3"} {
		owner.paid(key)
	}
	return owner, replica
}

func TestSandboxOfACopyIsWrittenIntoAndProductionNeverKnows(t *testing.T) {
	owner, replica := sandboxed(t)
	s, err := replica.CloneSandbox(replica.ctx(), "r1", time.Hour, nil)
	replica.must(err)
	if s.State != driver.SandboxCloned || s.Bytes < 1<<20 {
		t.Errorf("cloned: %+v", s)
	}
	owner.paid("k4") // after the clone: the sandbox has it not
	if s, err = replica.OpenSandbox(replica.ctx(), "r1", []string{"acc-1", "acc-2"}); err != nil {
		t.Fatal(err)
	}
	at := replica.observe()
	if s.State != driver.SandboxOpen || s.Position == 0 || s.Position > at.Flushed || s.Timeline != at.Timeline+1 {
		t.Errorf("opened: %+v of a copy at %v on timeline %d", s, at.Flushed, at.Timeline)
	}
	v, err := replica.VerifySandbox(replica.ctx(), "r1", `select id, balance >= 0 from public.account union all select 'wrong', false`)
	replica.must(err)
	if v.Relations == 0 || v.Corrupt != "" || v.Transactions != 3 || v.Amount != "37.5" || v.Accounts != v.Rows+1 || v.Inconsistent != 1 || !v.Written || !v.Closed {
		t.Errorf("verdict %+v", v)
	}
	if trace, err := replica.SandboxTrace(replica.ctx()); trace || err != nil {
		t.Errorf("the copy has a trace of the sandbox: %v, %v", trace, err)
	}
	owner.paid("k5")
	if o := owner.observe(); len(o.Followers) != 1 || !o.Followers[0].Streaming {
		t.Errorf("followers of the owner: %+v", o.Followers)
	}
	if _, err := replica.CloneSandbox(replica.ctx(), "r2", time.Hour, nil); errs.KindOf(err) != errs.Conflict {
		t.Errorf("a second sandbox: %v", err)
	}
	replica.must(replica.DiscardSandbox(replica.ctx(), "r2"))
	if left, _ := replica.Sandbox(t.Context()); left.Run != "r1" {
		t.Errorf("discarded by another run: %+v", left)
	}
	replica.must(replica.DiscardSandbox(replica.ctx(), "r1"))
	nothingLeft(t, replica)
	replica.must(replica.DiscardSandbox(replica.ctx(), "r1"))
	owner.paid("k6")
}

func nothingLeft(t *testing.T, m *member) {
	t.Helper()
	if s, err := m.Sandbox(t.Context()); err != nil || s != (driver.Sandbox{}) {
		t.Errorf("left: %+v, %v", s, err)
	}
	for _, path := range []string{m.sandboxDir(), m.sandboxSocket(), m.journalFile("sandbox")} {
		if exists(path) {
			t.Errorf("%s is left", path)
		}
	}
	var slots int
	m.query(&slots, `select count(*) from pg_replication_slots where temporary`)
	if slots != 0 {
		t.Errorf("%d slots are left", slots)
	}
}

// A sandbox outlives its agent, its own server's crash, and a clone that was cut short; each is found again, or made anew.
func TestSandboxIsGoneOnAndDiscardedAfterTheAgentOrItsServerDied(t *testing.T) {
	_, replica := sandboxed(t)
	cut, cancel := context.WithCancel(t.Context())
	_, err := replica.CloneSandbox(cut, "r1", time.Hour, func(string, int64, int64) { cancel() })
	if err == nil {
		t.Fatal("a clone that was cut short is complete")
	}
	replica.releaseDriver()
	replica.attachDriver()
	if s, _ := replica.Sandbox(t.Context()); s.State != driver.SandboxCopying {
		t.Errorf("after the cut: %+v", s)
	}
	if _, err := replica.OpenSandbox(replica.ctx(), "r1", []string{"acc-1", "acc-2"}); errs.KindOf(err) != errs.Conflict {
		t.Errorf("half a clone was opened: %v", err)
	}
	_, err = replica.CloneSandbox(replica.ctx(), "r1", time.Hour, nil)
	replica.must(err)
	first, err := replica.OpenSandbox(replica.ctx(), "r1", []string{"acc-1", "acc-2"})
	replica.must(err)
	replica.releaseDriver()
	replica.attachDriver()
	again, err := replica.OpenSandbox(replica.ctx(), "r1", []string{"acc-1", "acc-2"})
	replica.must(err)
	if again.Position != first.Position || again.Timeline != first.Timeline {
		t.Errorf("opened again: %+v after %+v", again, first)
	}
	if pid := postmasterOf(replica.sandboxDir()); pid == 0 || syscall.Kill(pid, syscall.SIGKILL) != nil {
		t.Fatal("it does not run")
	}
	replica.must(poll(replica.ctx(), func() (bool, error) { return postmasterOf(replica.sandboxDir()) == 0, nil }))
	again, err = replica.OpenSandbox(replica.ctx(), "r1", []string{"acc-1", "acc-2"})
	replica.must(err)
	if again.Position != first.Position || again.Timeline != first.Timeline {
		t.Errorf("opened after a crash: %+v after %+v", again, first)
	}
	replica.releaseDriver()
	replica.attachDriver()
	replica.must(replica.DiscardSandbox(replica.ctx(), ""))
	nothingLeft(t, replica)
}

func TestSandboxIsRefusedOfAnOwnerAndEndedWhereItIsNotAlone(t *testing.T) {
	owner, replica := sandboxed(t)
	if _, err := owner.CloneSandbox(owner.ctx(), "r1", time.Hour, nil); errs.KindOf(err) != errs.Refused {
		t.Errorf("an owner was cloned: %v", err)
	}
	_, err := replica.CloneSandbox(replica.ctx(), "r1", time.Hour, nil)
	replica.must(err)
	// Somebody changed what the files say whose it is.
	steering := steeringFile(replica.sandboxDir())
	text, err := os.ReadFile(steering)
	replica.must(err)
	replica.must(replica.writeFile(steering, strings.Replace(string(text), "'r1'", "'other'", 1), false))
	_, err = replica.OpenSandbox(replica.ctx(), "r1", []string{"acc-1", "acc-2"})
	if errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), "not alone") || postmasterOf(replica.sandboxDir()) != 0 {
		t.Errorf("%v, runs %v", err, postmasterOf(replica.sandboxDir()) != 0)
	}
	if s, _ := replica.Sandbox(t.Context()); s.State != driver.SandboxCloned {
		t.Errorf("it counts as %+v", s)
	}
}

// What is damaged in the clone is a verdict, not a failure to look.
func TestDamageInASandboxIsFound(t *testing.T) {
	owner, replica := sandboxed(t)
	var file string
	owner.query(&file, `select pg_relation_filepath('public.account_pkey')`)
	_, err := replica.CloneSandbox(replica.ctx(), "r1", time.Hour, nil)
	replica.must(err)
	_, err = replica.OpenSandbox(replica.ctx(), "r1", []string{"acc-1", "acc-2"})
	replica.must(err)
	conn, err := replica.connect(replica.ctx(), replica.sandboxSocket(), replica.o.Database, "test")
	replica.must(err)
	_, err = conn.Exec(replica.ctx(), `checkpoint`)
	replica.must(err)
	replica.must(conn.Close(replica.ctx()))
	replica.must(replica.endSandbox())
	f, err := os.OpenFile(filepath.Join(replica.sandboxDir(), file), os.O_WRONLY, 0)
	replica.must(err)
	_, err = f.WriteAt([]byte("damage that a checksum sees"), 4000)
	replica.must(err)
	replica.must(f.Close())
	_, err = replica.OpenSandbox(replica.ctx(), "r1", []string{"acc-1", "acc-2"})
	replica.must(err)
	v, err := replica.VerifySandbox(replica.ctx(), "r1", "")
	if err != nil || !strings.Contains(v.Corrupt, "account_pkey") {
		t.Errorf("verdict %+v, %v", v, err)
	}
}

// TestSandboxTakesTransactionsOfTestAccountsAlone: the application's own, behind the guard, by the copy's agent.
func TestSandboxTakesTransactionsOfTestAccountsAlone(t *testing.T) {
	_, replica := sandboxed(t)
	_, err := replica.CloneSandbox(replica.ctx(), "r1", time.Hour, nil)
	replica.must(err)
	_, err = replica.OpenSandbox(replica.ctx(), "r1", []string{"test-1", "test-2"})
	replica.must(err)
	test := driver.SandboxTest{
		Unit: "u1", Accounts: []string{"test-1", "test-2"}, Query: "select 'test-2', true union all select 'of-somebody', true",
		Transaction: `select case when a.status is null then (perdure.settle($1, 201, 'text/plain', 'done', array[$2::text], 1)).status else a.status end from perdure.once($1) a`,
	}
	for range 2 { // the same again is answered from its record
		out, err := replica.TransactSandbox(replica.ctx(), "r1", test)
		replica.must(err)
		if out != (driver.SandboxTransacted{Accounts: 2, Accepted: 2, Refused: true, Other: "of-somebody"}) {
			t.Fatalf("%+v", out)
		}
	}
	v, err := replica.VerifySandbox(replica.ctx(), "r1", "")
	replica.must(err)
	if v.Transactions != 5 || !v.Closed {
		t.Errorf("three payments and two of test accounts: %+v", v)
	}
	// A transaction of a test account that touches another account beside is refused too.
	test.Transaction = `select case when a.status is null then (perdure.settle($1, 201, 'text/plain', 'done', array[$2::text, 'of-somebody'], 1)).status end from perdure.once($1) a`
	_, err = replica.OpenSandbox(replica.ctx(), "r1", []string{"test-1", "test-3"})
	replica.must(err)
	test.Accounts = []string{"test-3"}
	out, err := replica.TransactSandbox(replica.ctx(), "r1", test)
	replica.must(err)
	if out.Accepted != 0 || !strings.Contains(out.Said, "account of-somebody is none of the test accounts") {
		t.Errorf("%+v", out)
	}
	if _, err := replica.TransactSandbox(replica.ctx(), "r2", test); err == nil || !strings.Contains(err.Error(), "no sandbox of run r2") {
		t.Errorf("of another run: %v", err)
	}
	replica.must(replica.DiscardSandbox(replica.ctx(), "r1"))
	nothingLeft(t, replica)
}

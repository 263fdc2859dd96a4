package postgres

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
)

// archived is an owner, and a member whose directory is empty and that receives the owner's log.
func archived(t *testing.T) (owner, cold *member) {
	owner, cold = newMember(t, "u1-a", nil), newMember(t, "u1-c", nil)
	owner.own(1)
	owner.must(owner.EnsureFollower(owner.ctx(), "u1-c"))
	owner.must(owner.EnsureFollower(owner.ctx(), "u1-b"))
	return owner, cold
}

// receiving keeps the receiver of log going, as an agent does, until the returned function is called.
func (m *member) receiving(up driver.Upstream) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = poll(ctx, func() (bool, error) {
			if err := m.Receive(ctx, up); err != nil {
				m.t.Logf("receiving again: %v", err)
			}
			return false, nil
		})
	}()
	stop = func() { cancel(); await(m.t, ended) }
	m.t.Cleanup(stop)
	return stop
}

// reaches waits until the archive has all that the owner has flushed.
func (m *member) reaches(owner *member) driver.Archive {
	m.t.Helper()
	at := owner.observe().Flushed
	var a driver.Archive
	m.must(poll(m.ctx(), func() (bool, error) {
		var err error
		a, err = m.Archive(m.ctx())
		return a.Until >= at-8, err // the end of a record is filled up to eight bytes
	}))
	return a
}

// takenOver makes the restored copy the owner as the protocol does: started severed, cut, promoted.
func (m *member) takenOver(epoch uint64) {
	m.t.Helper()
	m.start()
	o := m.observe()
	if !o.InRecovery || o.Upstream.Member != "" || len(o.Gates) != 0 {
		m.t.Fatalf("a restored copy is %+v", o)
	}
	_, err := m.Sever(m.ctx())
	m.must(err)
	m.must(m.Promote(m.ctx()))
	m.open(epoch)
}

func TestRestoredCopyHasAllArchivedLogAndIsPromotedLikeAnyOther(t *testing.T) {
	owner, cold := archived(t)
	stop := cold.receiving(owner.up())
	owner.paid("before")
	b, err := cold.BackUp(cold.ctx(), owner.up(), 2, nil)
	cold.must(err)
	if b.Begin == 0 || b.End < b.Begin || b.Timeline != 1 || b.Bytes < 1<<20 {
		t.Errorf("backup %+v", b)
	}
	owner.paid("after-1")
	owner.admin("select pg_switch_wal()")
	owner.paid("after-2")
	if a := cold.reaches(owner); a.Gap != "" || a.LogAt.IsZero() {
		t.Errorf("archive %+v", a)
	}
	stop()
	owner.paid("lost")
	owner.kill()
	cold.must(cold.Restore(cold.ctx(), nil))
	cold.must(cold.Restore(cold.ctx(), nil)) // a repetition changes nothing
	cold.takenOver(2)
	if got, want := cold.keys(), []string{"after-1", "after-2", "before"}; !slices.Equal(got, want) {
		t.Errorf("restored %v, want %v", got, want)
	}
	cold.paid("new")
	if err := cold.Restore(cold.ctx(), nil); errs.KindOf(err) != errs.Refused {
		t.Errorf("an owner was restored: %v", err)
	}
}

func TestArchiveGoesOnAfterItsReceiverWasKilledAndFollowsAPromotion(t *testing.T) {
	owner, cold := archived(t)
	next := newMember(t, "u1-b", nil)
	next.copyOf(owner)
	owner.growTo(next)
	next.must(next.EnsureFollower(next.ctx(), "u1-c"))
	stop := cold.receiving(next.up()) // from a copy in the set: never ahead of it (I12)
	owner.paid("first")
	_, err := cold.BackUp(cold.ctx(), next.up(), 2, nil)
	cold.must(err)
	cold.reaches(owner)
	killRunning("pg_receivewal", "--directory="+cold.logDir())
	owner.paid("second")
	cold.reaches(owner)
	owner.kill()
	_, err = next.Sever(next.ctx())
	next.must(err)
	next.must(next.Promote(next.ctx()))
	next.open(2)
	next.paid("third")
	next.admin("select pg_switch_wal()")
	next.paid("fourth")
	if a := cold.reaches(next); a.Gap != "" {
		t.Errorf("archive %+v", a)
	}
	stop()
	next.kill()
	cold.must(cold.Restore(cold.ctx(), nil))
	cold.takenOver(3)
	if got, want := cold.keys(), []string{"first", "fourth", "second", "third"}; !slices.Equal(got, want) {
		t.Errorf("restored %v, want %v", got, want)
	}
	if o := cold.observe(); o.Timeline != 3 {
		t.Errorf("on timeline %d", o.Timeline)
	}
}

func TestDamagedBackupIsFoundAndNotUsed(t *testing.T) {
	owner, cold := archived(t)
	cold.receiving(owner.up())
	owner.paid("one")
	older, err := cold.BackUp(cold.ctx(), owner.up(), 2, nil)
	cold.must(err)
	owner.paid("two")
	newer, err := cold.BackUp(cold.ctx(), owner.up(), 2, nil)
	cold.must(err)
	owner.paid("three")
	cold.reaches(owner)
	flip(t, filepath.Join(cold.archiveDir(), newer.Name, "global", "pg_control"), 300)
	cold.must(cold.Restore(cold.ctx(), nil))
	a, err := cold.Archive(cold.ctx())
	cold.must(err)
	if good, ok := a.Good(); !ok || good.Name != older.Name || !strings.Contains(a.Backups[1].Problem, "pg_control") {
		t.Errorf("archive %+v", a)
	}
	cold.takenOver(2)
	if got, want := cold.keys(), []string{"one", "three", "two"}; !slices.Equal(got, want) {
		t.Errorf("restored %v, want %v", got, want)
	}
}

func flip(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

func TestMissingLogIsNamedAndRefusesARestore(t *testing.T) {
	owner, cold := archived(t)
	stop := cold.receiving(owner.up())
	_, err := cold.BackUp(cold.ctx(), owner.up(), 2, nil)
	cold.must(err)
	var gone string
	for _, key := range []string{"one", "two", "three"} {
		owner.paid(key)
		if key == "two" {
			owner.query(&gone, "select pg_walfile_name(pg_current_wal_lsn())")
		}
		owner.admin("select pg_switch_wal()")
	}
	owner.paid("four")
	cold.reaches(owner)
	stop()
	cold.must(removeFile(filepath.Join(cold.logDir(), gone)))
	a, err := cold.Archive(cold.ctx())
	cold.must(err)
	if a.Gap != gone {
		t.Errorf("missing %q, want %q", a.Gap, gone)
	}
	if err := cold.Restore(cold.ctx(), nil); errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), gone) {
		t.Errorf("restored over a gap: %v", err)
	}
	if cold.directory() != driver.Empty {
		t.Error("a refused restore left a directory")
	}
}

func TestRetentionKeepsGoodBackupsWithTheLogTheyNeed(t *testing.T) {
	owner, cold := archived(t)
	cold.receiving(owner.up())
	var names []string
	var begins []estate.LSN
	for _, key := range []string{"one", "two", "three"} {
		owner.paid(key)
		owner.admin("select pg_switch_wal()")
		b, err := cold.BackUp(cold.ctx(), owner.up(), 2, nil)
		cold.must(err)
		names, begins = append(names, b.Name), append(begins, b.Begin)
	}
	a := cold.reaches(owner)
	var left []string
	for _, b := range a.Backups {
		left = append(left, b.Name)
	}
	if !slices.Equal(left, names[1:]) || exists(filepath.Join(cold.archiveDir(), names[0])) {
		t.Errorf("left %v of %v", left, names)
	}
	size, err := owner.segments(owner.ctx())
	owner.must(err)
	entries, err := os.ReadDir(cold.logDir())
	cold.must(err)
	least := ^uint64(0)
	for _, e := range entries {
		if n, ok := size.number(strings.TrimSuffix(e.Name(), partial)); ok {
			least = min(least, n)
		}
	}
	if least < size.of(begins[1]) {
		t.Errorf("log from file %d on is kept, %d is the first that is needed", least, size.of(begins[1]))
	}
	// Both are damaged: nothing is removed until there is a good one again.
	for _, n := range names[1:] {
		flip(t, filepath.Join(cold.archiveDir(), n, "PG_VERSION"), 0)
	}
	if err := cold.Restore(cold.ctx(), nil); errs.KindOf(err) != errs.Refused {
		t.Errorf("a damaged backup was restored: %v", err)
	}
	cold.must(cold.retire(cold.ctx(), 2))
	if a, _ := cold.Archive(cold.ctx()); len(a.Backups) != 2 {
		t.Errorf("damaged ones were removed before there was a good one: %+v", a)
	}
	good, err := cold.BackUp(cold.ctx(), owner.up(), 2, nil)
	cold.must(err)
	if a, _ := cold.Archive(cold.ctx()); len(a.Backups) != 1 || a.Backups[0].Name != good.Name {
		t.Errorf("archive %+v", a)
	}
}

// A restore is cut short at each of its moments, and done again by the next agent.
func TestRestoreThatWasCutShortIsDoneAgain(t *testing.T) {
	owner, cold := archived(t)
	stop := cold.receiving(owner.up())
	_, err := cold.BackUp(cold.ctx(), owner.up(), 2, nil)
	cold.must(err)
	owner.paid("one")
	cold.reaches(owner)
	stop()
	owner.kill()
	for _, moment := range []string{"checking", "restoring"} {
		ctx, cancel := context.WithCancel(t.Context())
		err := cold.Restore(ctx, func(what string, _, _ int64) {
			if strings.HasPrefix(what, moment) {
				cancel()
			}
		})
		if err == nil || cold.directory() != driver.Empty {
			t.Fatalf("cut short while %s: %v", moment, err)
		}
		cold.releaseDriver()
		cold.attachDriver()
	}
	// Killed between the two renames: the journal says what to put in place.
	fresh := cold.o.DataDir + ".new"
	cold.must(cold.discard(fresh))
	cold.must(cold.makeDir(fresh))
	cold.must(os.WriteFile(filepath.Join(fresh, "half"), nil, 0o600))
	cold.must(cold.Restore(cold.ctx(), nil))
	cold.must(os.Rename(cold.o.DataDir, fresh))
	cold.must(cold.writeJournal("swap", swap{New: fresh, Old: cold.o.DataDir + ".old"}))
	cold.releaseDriver()
	cold.attachDriver()
	if exists(filepath.Join(cold.o.DataDir, "half")) || cold.directory() != driver.Standby {
		t.Fatalf("after the cut: %s", cold.directory())
	}
	cold.takenOver(2)
	if got := cold.keys(); !slices.Equal(got, []string{"one"}) {
		t.Errorf("restored %v", got)
	}
	if pid := postmasterOf(cold.o.DataDir); pid == 0 || syscall.Kill(pid, 0) != nil {
		t.Error("it does not run")
	}
}

// What severing removes stays away although log is still received.
func TestRestoredCopyStaysSeveredWhileLogIsStillReceived(t *testing.T) {
	owner, cold := archived(t)
	cold.receiving(owner.up())
	_, err := cold.BackUp(cold.ctx(), owner.up(), 2, nil)
	cold.must(err)
	owner.paid("one")
	cold.reaches(owner)
	cold.must(cold.Restore(cold.ctx(), nil))
	cold.start()
	_, err = cold.Sever(cold.ctx())
	cold.must(err)
	killRunning("pg_receivewal", "--directory="+cold.logDir())
	owner.paid("two")
	cold.reaches(owner) // it is received again, with its password
	if exists(cold.passFile()) {
		t.Error("the password that severing removed is back")
	}
	if o := cold.observe(); o.Streaming || o.Upstream.Member != "" {
		t.Errorf("a severed copy is %+v", o)
	}
	if got := cold.keys(); !slices.Equal(got, []string{"one"}) {
		t.Errorf("it has %v", got)
	}
}

package postgres

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"perdure/internal/driver"
	"perdure/internal/errs"
)

// failedOver gives a former owner, killed with commits that its copy does not have, and its open successor.
func failedOver(t *testing.T) (old, successor *member) {
	p, s := newMember(t, "u1-a", nil), newMember(t, "u1-b", nil)
	p.own(1)
	link := p.behindLink()
	s.copyOf(p)
	p.growTo(s)
	p.paid("both-1")
	p.paid("both-2")
	link.freeze()
	for _, key := range []string{"lost-1", "lost-2", "retried"} {
		p.payInBackground(key)
	}
	p.background(func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "insert into account values ('unkeyed', 1)")
		return err
	})
	p.background(func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `do $$ begin begin perform perdure.enter('u1'); insert into account values ('nested', 1); exception when division_by_zero then null; end; end $$`)
		return err
	})
	p.until("the commits wait for the copy", func(o driver.Observation) bool { return o.WaitingCommits == 5 })
	p.kill()
	link.cut()
	link.thaw()
	if _, err := s.Sever(s.ctx()); err != nil {
		t.Fatal(err)
	}
	s.must(s.Promote(s.ctx()))
	s.open(2)
	return p, s
}

func TestDivergedTransactionsAreExact(t *testing.T) {
	t.Parallel()
	p, s := failedOver(t)
	s.paid("retried")
	s.paid("new")
	d, err := p.Diverged(p.ctx(), s.up())
	p.must(err)
	var keys []string
	for _, x := range d.Transactions {
		keys = append(keys, x.Key)
		if x.Settled != (x.Key == "retried") {
			t.Errorf("%s: settled %v", x.Key, x.Settled)
		}
		if x.Commit < d.From || x.Commit >= d.Until || x.Amount != "12.5" || x.Unit != "u1" || !slices.Equal(x.Accounts, []string{"of-" + x.Key}) {
			t.Errorf("%+v", x)
		}
	}
	slices.Sort(keys)
	if want := []string{"lost-1", "lost-2", "retried"}; !slices.Equal(keys, want) {
		t.Errorf("diverged %v, want %v", keys, want)
	}
	if d.Unkeyed != 2 {
		t.Errorf("%d transactions without a key, want 2", d.Unkeyed)
	}
	again, err := p.Diverged(p.ctx(), s.up())
	p.must(err)
	if len(again.Transactions) != 3 || again.Unkeyed != 2 {
		t.Errorf("the second list differs: %+v", again)
	}
	p.must(p.Rewind(p.ctx(), s.up(), nil))
	if got := p.observe().Directory; got != driver.Standby {
		t.Fatalf("the rewound directory is %s", got)
	}
	p.must(s.EnsureFollower(s.ctx(), "u1-a"))
	p.life++
	p.must(p.Follow(p.ctx(), s.up(), p.now()))
	p.streams()
	s.growTo(p)
	if got, want := p.keys(), []string{"both-1", "both-2", "new", "retried"}; !slices.Equal(got, want) {
		t.Errorf("the returned copy has %v, want %v", got, want)
	}
}

// PostgreSQL makes files for the log to come. The size of a file, which says what lies where, cannot be read from one of them.
func TestDivergenceIsExactWhereFilesForLaterLogWereMade(t *testing.T) {
	t.Parallel()
	p, s := failedOver(t)
	size, err := p.segments(p.ctx())
	p.must(err)
	wal := filepath.Join(p.opts.DataDir, "pg_wal")
	entries, err := os.ReadDir(wal)
	p.must(err)
	last := uint64(0)
	for _, e := range entries {
		if n, ok := size.number(e.Name()); ok {
			last = max(last, n)
		}
	}
	empty := filepath.Join(t.TempDir(), "empty")
	p.must(os.WriteFile(empty, make([]byte, size), 0o600))
	for n := last + 1; n <= last+20; n++ { // some directories list the newest first, others in no order
		p.must(p.copyFile(empty, filepath.Join(wal, size.name(1, n))))
	}
	d, err := p.Diverged(p.ctx(), s.up())
	p.must(err)
	if len(d.Transactions) != 3 || d.Unkeyed != 2 {
		t.Errorf("%+v", d)
	}
	p.must(p.Rewind(p.ctx(), s.up(), nil))
	p.must(s.EnsureFollower(s.ctx(), "u1-a"))
	p.life++
	p.must(p.Follow(p.ctx(), s.up(), p.now()))
	p.streams()
	if got, want := p.keys(), []string{"both-1", "both-2"}; !slices.Equal(got, want) {
		t.Errorf("the returned copy has %v, want %v", got, want)
	}
}

// A promotion asks for a checkpoint that may take minutes; until then the control file names the former timeline.
func TestDivergenceOfAnOwnerKilledSoonAfterItsPromotionIsExact(t *testing.T) {
	t.Parallel()
	p, s, c := newMember(t, "u1-a", nil), newMember(t, "u1-b", nil), newMember(t, "u1-c", nil)
	p.own(1)
	s.copyOf(p)
	c.copyOf(p)
	p.growTo(s)
	p.admin("create table public.filler as select i, repeat('x', 100) as t from generate_series(1, 50000) i") // a checkpoint has something to write
	s.must(s.WaitReplayed(s.ctx(), p.observe().Flushed))                                                      // nobody else has more
	p.kill()
	_, err := s.Sever(s.ctx())
	s.must(err)
	s.must(s.Promote(s.ctx()))
	s.open(2)
	s.must(s.EnsureFollower(s.ctx(), "u1-c"))
	c.must(c.Follow(c.ctx(), s.up(), c.now()))
	c.streams()
	s.paid("second")
	c.must(c.WaitReplayed(c.ctx(), s.observe().Flushed))
	_, err = c.Sever(c.ctx())
	c.must(err)
	s.paid("lost")
	s.kill()
	c.must(c.Promote(c.ctx()))
	c.open(3)
	d, err := s.Diverged(s.ctx(), c.up())
	s.must(err)
	if len(d.Transactions) != 1 || d.Transactions[0].Key != "lost" {
		t.Errorf("%+v", d)
	}
	s.must(s.Rewind(s.ctx(), c.up(), nil))
	s.must(c.EnsureFollower(c.ctx(), "u1-b"))
	s.life++
	s.must(s.Follow(s.ctx(), c.up(), s.now()))
	s.streams()
	if slices.Contains(s.keys(), "lost") || !slices.Contains(s.keys(), "second") {
		t.Errorf("the returned copy has %v", s.keys())
	}
}

// A planned switch leaves the former owner with nothing of its own: it follows without a rewind.
func TestFormerOwnerWithNothingOfItsOwnFollowsAtOnce(t *testing.T) {
	t.Parallel()
	p, s := newMember(t, "u1-a", nil), newMember(t, "u1-b", nil)
	p.own(1)
	s.copyOf(p)
	p.growTo(s)
	p.paid("before")
	p.must(p.Close(p.ctx(), units))
	fence, err := p.Drain(p.ctx(), units)
	p.must(err)
	s.must(s.WaitReplayed(s.ctx(), fence))
	p.signal(syscall.SIGSTOP) // nothing is written of its own accord now
	s.until("it has all", func(o driver.Observation) bool { return o.Flushed >= fence })
	_, err = s.Sever(s.ctx())
	s.must(err)
	s.must(s.Promote(s.ctx()))
	s.open(2)
	s.paid("after")
	p.kill()
	d, err := p.Diverged(p.ctx(), s.up())
	p.must(err)
	if len(d.Transactions) != 0 || d.Unkeyed != 0 {
		t.Errorf("%+v", d)
	}
	p.must(p.Rewind(p.ctx(), s.up(), func(what string, _, _ int64) { t.Errorf("it was rewound: %s", what) }))
	p.must(s.EnsureFollower(s.ctx(), "u1-a"))
	p.life++
	p.must(p.Follow(p.ctx(), s.up(), p.now()))
	p.streams()
	s.growTo(p)
	s.paid("together")
	if got, want := p.keys(), []string{"after", "before", "together"}; !slices.Equal(got, want) {
		t.Errorf("the returned copy has %v, want %v", got, want)
	}
}

func TestDivergenceIsListedWithoutTheLog(t *testing.T) {
	t.Parallel()
	p := newMember(t, "u1-a", func(o *Options) {
		o.Settings["wal_keep_size"], o.Settings["max_slot_wal_keep_size"], o.Settings["max_wal_size"] = "0", "16MB", "32MB"
	})
	s := newMember(t, "u1-b", nil)
	p.own(1)
	link := p.behindLink()
	s.copyOf(p)
	for _, key := range []string{"both-1", "both-2"} {
		p.paid(key)
	}
	s.must(s.WaitReplayed(s.ctx(), p.observe().Flushed))
	link.freeze()
	link.cut()
	var file string
	p.query(&file, "select pg_walfile_name(pg_current_wal_lsn())")
	p.paidTogether("lost", "beside-1", "beside-2")
	p.paid("retried")
	p.until("the log of the fork is gone", func(driver.Observation) bool {
		p.admin("select pg_switch_wal(), pg_logical_emit_message(true, 'test', 'more')")
		p.admin("checkpoint")
		return !exists(filepath.Join(p.opts.DataDir, "pg_wal", file))
	})
	p.kill()
	link.thaw()
	_, err := s.Sever(s.ctx())
	s.must(err)
	s.must(s.Promote(s.ctx()))
	s.open(2)
	s.paid("retried")
	p.commonRun = 2 // it ends within those that share a transaction
	d, err := p.Diverged(p.ctx(), s.up())
	p.must(err)
	got := map[string]bool{}
	for _, x := range d.Transactions {
		got[x.Key] = x.Settled
	}
	if settled, ok := got["lost"]; len(got) != 4 || !ok || settled || !got["retried"] || d.Unkeyed != -1 {
		t.Errorf("%+v", d)
	}
	if err := p.Rewind(p.ctx(), s.up(), nil); errs.KindOf(err) != errs.Refused {
		t.Errorf("rewound without the log: %v", err)
	} else {
		t.Log(err)
	}
	p.must(s.EnsureFollower(s.ctx(), "u1-a"))
	p.must(p.Reinitialise(p.ctx(), s.up(), nil))
	p.start()
	p.streams()
}

func TestKilledRewindIsResumed(t *testing.T) {
	t.Parallel()
	p, s := failedOver(t)
	s.paid("retried")
	s.admin("create extension amcheck schema public")
	listed, err := p.Diverged(p.ctx(), s.up())
	p.must(err)
	// Killed when it begins to copy, when it has copied a file, when it has copied all; each time the agent ends too.
	for _, seen := range []string{"", "PG_VERSION", "backup_label"} {
		path := filepath.Join(p.opts.DataDir, seen)
		before := inode(path)
		if st, err := os.Stat(path); err == nil {
			before.ino ^= uint64(st.ModTime().UnixNano())
		}
		ctx, cancel := context.WithCancel(p.ctx())
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			_ = poll(ctx, func() (bool, error) {
				now := inode(path)
				if st, err := os.Stat(path); err == nil {
					now.ino ^= uint64(st.ModTime().UnixNano())
				}
				return seen != "" && now != before && now != file{}, nil
			})
			cancel()
		}()
		err := p.Rewind(ctx, s.up(), func(string, int64, int64) {
			if seen == "" {
				cancel()
			}
		})
		cancel()
		<-watched
		if err == nil {
			t.Logf("%s: it was too fast to be cut short", seen)
			break
		}
		if errs.KindOf(err) == errs.Refused {
			t.Fatalf("a rewind that was cut short cannot be repeated: %v", err)
		}
		t.Log(err)
		p.releaseDriver()
		p.attachDriver()
		if got := p.observe().Directory; got == driver.Standby {
			t.Fatal("a half rewound directory is seen as a standby")
		}
		if err := p.Start(p.ctx(), p.now()); errs.KindOf(err) != errs.Refused {
			t.Fatalf("a half rewound directory was started: %v", err)
		}
		if err := p.Follow(p.ctx(), s.up(), p.now()); errs.KindOf(err) != errs.Refused {
			t.Fatalf("a half rewound directory was made to follow: %v", err)
		}
		p.wontStartByHand()
		again, err := p.Diverged(p.ctx(), s.up())
		p.must(err)
		if len(again.Transactions) != len(listed.Transactions) {
			t.Errorf("the divergence of a half rewound directory: %+v", again)
		}
	}
	if p.observe().Directory == driver.Primary {
		p.must(p.Rewind(p.ctx(), s.up(), nil))
	}
	p.wontStartByHand()
	p.must(s.EnsureFollower(s.ctx(), "u1-a"))
	p.life++
	p.must(p.Follow(p.ctx(), s.up(), p.now()))
	p.streams()
	s.growTo(p)
	if got, want := p.keys(), []string{"both-1", "both-2", "retried"}; !slices.Equal(got, want) {
		t.Errorf("the returned copy has %v, want %v", got, want)
	}
	p.sound()
}

// sound checks every index against its table, and every page's checksum on the way.
func (m *member) sound() {
	m.t.Helper()
	var checked int
	m.query(&checked, `select count(public.bt_index_check(c.oid, true)) from pg_class c join pg_am a on a.oid = c.relam
		where a.amname = 'btree' and c.relpersistence = 'p' and c.relkind = 'i'`)
	m.t.Logf("%d indexes checked", checked)
}

func TestRewoundDirectoryNeverStartsWithNewOwnersFiles(t *testing.T) {
	t.Parallel()
	p, s := failedOver(t)
	_, err := p.Diverged(p.ctx(), s.up())
	p.must(err)
	p.must(p.Rewind(p.ctx(), s.up(), nil))
	if !exists(filepath.Join(p.opts.DataDir, "standby.signal")) {
		t.Error("no standby.signal")
	}
	st, own := p.steered(p.opts.DataDir)
	if !own || st.upstream == nil || st.upstream.Member != "u1-b" || len(st.sync) != 0 {
		t.Errorf("steered by %+v", st)
	}
	p.wontStartByHand()
	// Started by its agent at once, without being told anything more, it is a copy.
	p.must(s.EnsureFollower(s.ctx(), "u1-a"))
	p.start()
	p.streams()
	if o := p.observe(); !o.InRecovery || o.Upstream.Member != "u1-b" {
		t.Errorf("%+v", o)
	}
	// A record of its own on the successor's timeline would keep it from ever following that (bug 26).
	s.paid("returned")
	p.must(p.WaitReplayed(p.ctx(), s.observe().Flushed))
	if got, want := p.keys(), s.keys(); !slices.Equal(got, want) {
		t.Errorf("the returned copy has %v, want %v", got, want)
	}
}

func TestUndivergedOwnerReturnsWithoutCopying(t *testing.T) {
	t.Parallel()
	p, s := newMember(t, "u1-a", nil), newMember(t, "u1-b", nil)
	p.own(1)
	s.copyOf(p)
	p.growTo(s)
	p.paid("one")
	p.must(p.Close(p.ctx(), units))
	_, err := p.Drain(p.ctx(), units)
	p.must(err)
	// Stopped cleanly while the copy streams: the copy has all of it, the shutdown too.
	p.must(p.Stop(p.ctx(), false))
	_, err = s.Sever(s.ctx())
	s.must(err)
	s.must(s.Promote(s.ctx()))
	s.open(2)
	d, err := p.Diverged(p.ctx(), s.up())
	p.must(err)
	if len(d.Transactions) != 0 || d.Unkeyed != 0 {
		t.Errorf("diverged: %+v", d)
	}
	copied := false
	p.must(p.Rewind(p.ctx(), s.up(), func(string, int64, int64) { copied = true }))
	if copied {
		t.Error("something was copied")
	}
	p.must(s.EnsureFollower(s.ctx(), "u1-a"))
	p.life++
	p.must(p.Follow(p.ctx(), s.up(), p.now()))
	p.streams()
	s.growTo(p)
}

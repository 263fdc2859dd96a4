package postgres

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"perdure/internal/driver"
	"perdure/internal/errs"
)

func TestGrowProofSeesFrozenCheckpointer(t *testing.T) {
	t.Parallel()
	p, s := newMember(t, "u1-a", nil), newMember(t, "u1-b", nil)
	p.own(1)
	s.copyOf(p)
	p.growTo(s)
	p.must(p.Shrink(p.ctx(), nil))
	// Frozen with an empty set: it never makes commits wait.
	checkpointer := p.processOf("checkpointer")
	if err := syscall.Kill(checkpointer, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	_, err := p.Grow(p.ctx(), []string{s.now().String()}, s.now().String())
	if err == nil {
		t.Fatal("a growth was proven although the checkpointer never made commits wait")
	}
	t.Log(err)
	if names := p.observe().SyncNames; len(names) != 0 {
		t.Errorf("after the failed proof %v are in force", names)
	}
	p.paid("not-frozen")
	if err := syscall.Kill(checkpointer, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	g := p.growTo(s)
	// Frozen with the old set, told to drop it: it might do so at any later time, so nothing may be proven on top of that.
	if err := syscall.Kill(checkpointer, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := p.Shrink(p.ctx(), nil); err == nil {
		t.Error("the set was said to be empty although commits wait")
	} else {
		t.Log(err)
	}
	if _, err := p.Grow(p.ctx(), []string{s.now().String()}, s.now().String()); err == nil {
		t.Error("a growth was proven by commits that wait for the set before")
	} else {
		t.Log(err)
	}
	if err := syscall.Kill(checkpointer, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	p.growTo(s)
	if f := s.until("it has the mark", func(o driver.Observation) bool { return o.Flushed >= g.Mark }); f.Flushed < g.Mark {
		t.Errorf("mark %s, copy has %s", g.Mark, f.Flushed)
	}
}

func TestAllListedMembersAcknowledge(t *testing.T) {
	t.Parallel()
	p, s, c := newMember(t, "u1-a", nil), newMember(t, "u1-b", nil), newMember(t, "u1-c", nil)
	p.own(1)
	s.copyOf(p)
	c.copyOf(p)
	p.growTo(s)
	p.growTo(s, c)
	p.paid("all")
	for i, frozen := range []*member{s, c} {
		frozen.signal(syscall.SIGSTOP)
		key := []string{"first", "second"}[i]
		paid := p.payInBackground(key)
		p.until("the other copy has it and the commit still waits", func(o driver.Observation) bool {
			for _, f := range o.Followers {
				if f.Name != frozen.now().String() && f.Flushed < o.Flushed {
					return false
				}
			}
			return o.WaitingCommits == 1 && o.OldestWait > 0
		})
		select {
		case err := <-paid:
			t.Fatalf("%s was acknowledged without %s: %v", key, frozen.opts.Member, err)
		default:
		}
		frozen.signal(syscall.SIGCONT)
		p.must(<-paid)
	}
	// A copy that holds commits up is taken out; what waits for it is let go at once.
	c.signal(syscall.SIGSTOP)
	paid := p.payInBackground("third")
	p.until("it waits", func(o driver.Observation) bool { return o.WaitingCommits == 1 })
	p.must(p.Shrink(p.ctx(), []string{s.now().String()}))
	p.must(<-paid)
	c.signal(syscall.SIGCONT)
	if names := p.observe().SyncNames; !slices.Equal(names, []string{"u1-b.1"}) {
		t.Errorf("%v are in force", names)
	}
	// Nobody left to wait for: the last one goes too.
	s.signal(syscall.SIGSTOP)
	paid = p.payInBackground("fourth")
	p.until("it waits", func(o driver.Observation) bool { return o.WaitingCommits == 1 })
	p.must(p.Shrink(p.ctx(), nil))
	p.must(<-paid)
	s.signal(syscall.SIGCONT)
}

func TestDuplicateMemberNameIsRefused(t *testing.T) {
	t.Parallel()
	p, s := newMember(t, "u1-a", nil), newMember(t, "u1-b", nil)
	p.own(1)
	s.copyOf(p)
	p.growTo(s)
	// A forgotten clone streams under the member's name, but without its slot.
	clone := newMember(t, "u1-x", nil)
	p.must(p.EnsureFollower(p.ctx(), "u1-x"))
	p.must(clone.Reinitialise(clone.ctx(), p.up(), nil))
	conninfo := clone.conninfo(p.up(), "127.0.0.1", s.now().String())
	clone.must(clone.start0(conninfo))
	o := p.until("the clone is seen", func(o driver.Observation) bool {
		return slices.ContainsFunc(o.Followers, func(f driver.Follower) bool { return f.Name == s.now().String() && (f.Duplicate || !f.SlotOK) })
	})
	t.Logf("%+v", o.Followers)
	_, err := p.Grow(p.ctx(), []string{s.now().String()}, s.now().String())
	for err == nil { // it was expelled before the look: it comes back
		_, err = p.Grow(p.ctx(), []string{s.now().String()}, s.now().String())
	}
	t.Log(err)
	if errs.KindOf(err) != errs.Refused && errs.KindOf(err) != errs.Unavailable {
		t.Errorf("kind %s", errs.KindOf(err))
	}
	clone.must(clone.Stop(clone.ctx(), true))
	p.growTo(s)
}

// start0 starts a server on the directory with a connection string of its own and no slot, behind its driver's back.
func (m *member) start0(conninfo string) error {
	if err := m.configure(); err != nil {
		return err
	}
	text := "primary_conninfo = " + quoteSetting(conninfo) + "\n"
	if err := m.writeFile(steeringFile(m.opts.DataDir), text, true); err != nil {
		return err
	}
	p, err := m.launch(m.opts.DataDir, "start.log", m.arguments("clone"))
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.proc = p
	m.mu.Unlock()
	return nil
}

func TestKilledProofIsUndone(t *testing.T) {
	t.Parallel()
	p, s := newMember(t, "u1-a", nil), newMember(t, "u1-b", nil)
	p.own(1)
	s.copyOf(p)
	p.growTo(s)
	p.must(p.Shrink(p.ctx(), nil))
	// What a proof leaves when its agent is killed in the middle.
	st, _ := p.steered(p.opts.DataDir)
	p.must(p.setNames(steering{life: st.life, former: nil, proving: true, sync: []string{ghostMember + "-x.0", s.now().String()}}))
	paid := p.payInBackground("held")
	p.until("the commit waits for nobody", func(o driver.Observation) bool { return o.WaitingCommits == 1 })
	p.releaseDriver()
	p.attachDriver()
	p.must(<-paid)
	if names := p.until("the former set", func(o driver.Observation) bool { return len(o.SyncNames) == 0 }).SyncNames; names != nil {
		t.Errorf("%v", names)
	}
}

func TestFrozenAgentCannotHoldCommitsUp(t *testing.T) {
	t.Parallel()
	p, s := newMember(t, "u1-a", nil), newMember(t, "u1-b", nil)
	p.own(1)
	s.copyOf(p)
	p.growTo(s)
	// As far as a proof comes whose agent is stopped in the middle.
	m, err := p.armDeadman(p.ctx(), []string{s.now().String()})
	p.must(err)
	defer m.close()
	st, _ := p.steered(p.opts.DataDir)
	p.must(p.setNames(steering{life: st.life, former: st.sync, proving: true, sync: []string{ghostMember + "-x.0", s.now().String()}}))
	paid := p.payInBackground("held")
	p.until("the commit waits for nobody", func(o driver.Observation) bool { return o.WaitingCommits == 1 })
	p.must(<-paid)
	if names := p.until("the former set", func(o driver.Observation) bool { return len(o.SyncNames) == 1 }).SyncNames; names[0] != s.now().String() {
		t.Errorf("%v", names)
	}
}

func TestDeadmanOfAKilledAgentChangesNothingLater(t *testing.T) {
	t.Parallel()
	p, s := newMember(t, "u1-a", nil), newMember(t, "u1-b", nil)
	p.own(1)
	s.copyOf(p)
	m, err := p.armDeadman(p.ctx(), nil)
	p.must(err)
	defer m.close()
	st, _ := p.steered(p.opts.DataDir)
	p.must(p.setNames(steering{life: st.life, proving: true, sync: []string{ghostMember + "-x.0", s.now().String()}}))
	p.releaseDriver()
	p.attachDriver()
	p.growTo(s)
	var there bool
	p.query(&there, "select exists (select from pg_stat_activity where pid = $1)", int32(m.pid))
	if there {
		t.Error("the deadman of the former agent lives while a set is in force that it would take away")
	}
	if names := p.observe().SyncNames; len(names) != 1 {
		t.Errorf("%v", names)
	}
}

func TestDrainEndsIdleInTransaction(t *testing.T) {
	t.Parallel()
	p := newMember(t, "u1-a", nil)
	p.own(1)
	idle := p.app()
	_, err := idle.Exec(p.ctx(), "begin")
	p.must(err)
	_, err = idle.Exec(p.ctx(), "select perdure.enter('u1')")
	p.must(err)
	if _, err := p.Drain(p.ctx(), units); errs.KindOf(err) != errs.Refused {
		t.Errorf("an open gate was drained: %v", err)
	}
	p.must(p.Close(p.ctx(), units))
	fence, err := p.Drain(p.ctx(), units)
	p.must(err)
	if o := p.observe(); o.Flushed < fence || len(o.Gates) != 1 || o.Gates[0].Open {
		t.Errorf("fence %s, %+v", fence, o)
	}
	if _, err := idle.Exec(p.ctx(), "commit"); err == nil {
		t.Error("a transaction that began before the fence committed after it")
	}
	if err := p.pay(p.ctx(), p.app(), "late"); sqlState(err) != "PD001" {
		t.Errorf("after the fence: %v", err)
	}
	if err := p.Open(p.ctx(), owns(1), "u1-a", units); errs.KindOf(err) != errs.Refused {
		t.Errorf("reopened at the same epoch: %v", err)
	}
	p.open(2)
	p.paid("open again")
}

func TestDrainWithDeadCopy(t *testing.T) {
	t.Parallel()
	p, s := newMember(t, "u1-a", nil), newMember(t, "u1-b", nil)
	p.own(1)
	s.copyOf(p)
	p.growTo(s)
	s.signal(syscall.SIGSTOP)
	paid := p.payInBackground("unknown")
	p.until("it waits", func(o driver.Observation) bool { return o.WaitingCommits == 1 })
	p.must(p.Close(p.ctx(), units))
	if _, err := p.Drain(p.ctx(), units); err != nil {
		t.Fatal(err)
	}
	if err := <-paid; err == nil {
		t.Error("a commit that no copy has was reported as a success")
	}
	s.signal(syscall.SIGCONT)
}

func TestLeaseIsNotLengthenedByAFrozenServer(t *testing.T) {
	t.Parallel()
	p := newMember(t, "u1-a", nil)
	p.own(1)
	reader := p.app()
	p.must(p.Lease(p.ctx(), units, time.Minute))
	p.must(p.Lease(p.ctx(), units, 0))
	p.signal(syscall.SIGSTOP)
	short, cancel := context.WithTimeout(p.ctx(), 300*time.Millisecond)
	defer cancel()
	err := p.Lease(short, units, 300*time.Millisecond) // it reads this when it wakes
	over := time.After(400 * time.Millisecond)
	if err == nil {
		t.Fatal("a frozen server took a lease")
	}
	<-over
	p.signal(syscall.SIGCONT)
	p.must(p.Lease(p.ctx(), nil, 0)) // the session is back
	if _, err := reader.Exec(p.ctx(), "select perdure.enter_read('u1')"); sqlState(err) != "PD006" {
		t.Errorf("a read after the lease: %v", err)
	}
}

func TestLeaseNeverWaitsForACopy(t *testing.T) {
	t.Parallel()
	p, s := newMember(t, "u1-a", nil), newMember(t, "u1-b", nil)
	p.own(1)
	s.copyOf(p)
	p.growTo(s)
	s.signal(syscall.SIGSTOP)
	defer s.signal(syscall.SIGCONT)
	paid := p.payInBackground("waits")
	p.until("it waits", func(o driver.Observation) bool { return o.WaitingCommits == 1 })
	reader := p.app()
	read := func() error {
		_, err := reader.Exec(p.ctx(), "select perdure.enter_read('u1')")
		return err
	}
	p.must(p.Lease(p.ctx(), units, time.Minute))
	p.must(read())
	p.must(p.Lease(p.ctx(), units, 0))
	if err := read(); sqlState(err) != "PD006" {
		t.Errorf("read without a lease: %v", err)
	}
	p.must(p.Lease(p.ctx(), units, time.Minute))
	p.must(p.Close(p.ctx(), units))
	if err := read(); err == nil {
		t.Error("read behind a closed gate")
	}
	select {
	case err := <-paid:
		t.Errorf("the commit ended: %v", err)
	default:
	}
}

func TestApplicationsCannotTakeTheAgentsConnections(t *testing.T) {
	t.Parallel()
	p := newMember(t, "u1-a", func(o *Options) { o.Settings["max_connections"] = "25" })
	p.own(1)
	var apps []*pgx.Conn
	for {
		conn, err := pgx.Connect(p.ctx(), "postgres://app:app@127.0.0.1:"+strconv.Itoa(p.opts.Port)+"/perdure?sslmode=disable")
		if err != nil {
			break
		}
		apps = append(apps, conn)
	}
	t.Logf("%d connections of applications", len(apps))
	for _, s := range p.sessions {
		s.drop()
	}
	if o := p.observe(); !o.Answering {
		t.Error("no connection was left for the agent")
	}
	p.must(p.Close(p.ctx(), units))
	_, err := p.Drain(p.ctx(), units)
	p.must(err)
	for _, c := range apps {
		_ = c.Close(context.Background())
	}
}

// Under writers and checkpoints, which delay the checkpointer (H5), the set is emptied and grown again and again; then the
// owner is killed. What was begun and acknowledged while the set stood is on the copy.
func TestAcknowledgedBehindTheProofIsOnTheCopy(t *testing.T) {
	t.Parallel()
	p, s := newMember(t, "u1-a", nil), newMember(t, "u1-b", nil)
	p.own(1)
	s.copyOf(p)
	p.growTo(s)
	var proven atomic.Bool
	proven.Store(true)
	var mu sync.Mutex
	var owed []string
	for w := range 6 {
		p.background(func(ctx context.Context, conn *pgx.Conn) error {
			for n := 0; ; n++ {
				key, stood := fmt.Sprintf("%d-%05d", w, n), proven.Load()
				if err := p.pay(ctx, conn, key); err != nil {
					return err
				}
				mu.Lock()
				if stood && proven.Load() {
					owed = append(owed, key)
				}
				mu.Unlock()
			}
		})
	}
	checkpoints, end := context.WithCancel(p.ctx())
	ended := make(chan struct{})
	admin, err := p.connect(p.ctx(), p.socketDir(), p.o.Database, "test")
	p.must(err)
	go func() {
		defer close(ended)
		for checkpoints.Err() == nil {
			_, _ = admin.Exec(checkpoints, "checkpoint")
		}
	}()
	for range 3 {
		proven.Store(false)
		p.must(p.Shrink(p.ctx(), nil))
		t.Logf("frozen for %s", p.growTo(s).Frozen)
		proven.Store(true)
		mu.Lock()
		before := len(owed)
		mu.Unlock()
		p.until("more was acknowledged", func(driver.Observation) bool {
			mu.Lock()
			defer mu.Unlock()
			return len(owed) > before+10
		})
	}
	end()
	<-ended
	p.kill()
	if _, err := s.Sever(s.ctx()); err != nil {
		t.Fatal(err)
	}
	s.must(s.Promote(s.ctx()))
	has := map[string]bool{}
	for _, key := range s.keys() {
		has[key] = true
	}
	mu.Lock()
	defer mu.Unlock()
	for _, key := range owed {
		if !has[key] {
			t.Errorf("%s was acknowledged and is lost", key)
		}
	}
	t.Logf("%d acknowledged behind a proof", len(owed))
}

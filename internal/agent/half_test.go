package agent

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

func containsText(s, part string) bool { return strings.Contains(s, part) }

func errsKind(err error) string { return string(errs.KindOf(err)) }

func memberOf(rec unit.Record, id estate.MemberID) (unit.Member, bool) { return rec.Member(id) }

func (b *bed) consent(id estate.MemberID) wire.ConsentAnswer {
	b.t.Helper()
	return asks[wire.ConsentAnswer](b, id, "/v1/consent", wire.ConsentRequest{Group: group, Ownership: b.plane.record().Ownership, HoldMillis: 2000})
}

// halfway is a database that an agent dies over: grow and promote are done, or not begun, and never return.
type halfway struct {
	driver.Database
	beforePromote, afterPromote, afterGrow bool
	reached                                atomic.Bool
}

func (h *halfway) Promote(ctx context.Context) error {
	if h.beforePromote {
		return h.dies(ctx)
	}
	err := h.Database.Promote(ctx)
	if h.afterPromote {
		return h.dies(ctx)
	}
	return err
}

func (h *halfway) Grow(ctx context.Context, names []string, candidate string) (driver.Grown, error) {
	grown, err := h.Database.Grow(ctx, names, candidate)
	if err == nil && h.afterGrow {
		return driver.Grown{}, h.dies(ctx)
	}
	return grown, err
}

func (h *halfway) dies(ctx context.Context) error {
	h.reached.Store(true)
	<-ctx.Done()
	return ctx.Err()
}

func TestSuccessorOfAnAgentThatDiedWhilePromotingGoesForward(t *testing.T) {
	for name, h := range map[string]*halfway{"before": {beforePromote: true}, "after": {afterPromote: true}} {
		t.Run(name, func(t *testing.T) {
			inBed(t, nil, func(d *bed) {
				d.drivers[b] = func(db driver.Database) driver.Database { h.Database = db; return h }
				d.up()
				d.commit(a, "k1")
				d.net.Kill(a)
				d.eventually("it is at its promotion", h.reached.Load)
				cut := d.agents[b].self.Severed
				d.drivers[b] = nil
				d.restart(b)
				d.eventually("open", func() bool { return d.openAt(b) })
				if again := d.agents[b].self.Severed; cut == nil || again == nil || *again != *cut || d.plane.record().Switch.Severed != cut.LSN {
					t.Errorf("the position of the cut changed from %+v to %+v", cut, again)
				}
				d.commit(b, "k2")
			})
		})
	}
}

func TestSuccessorOfAnAgentThatDiedWhileGrowingTheSetEndsWithSetAndNamesEqual(t *testing.T) {
	h := &halfway{afterGrow: true}
	inBed(t, nil, func(d *bed) {
		d.drivers[a] = func(db driver.Database) driver.Database { h.Database = db; return h }
		d.start(a, b, c)
		d.eventually("the names are in force", h.reached.Load)
		if rec := d.plane.record(); len(rec.InSync) != 0 || len(d.net.SyncNames(a)) != 1 {
			t.Fatalf("the record has %v, in force is %v", rec.InSync, d.net.SyncNames(a))
		}
		session := d.plane.record().Session
		d.drivers[a] = nil
		d.restart(a)
		d.eventually("set and names are equal", d.whole)
		if now := d.plane.record().Session; now <= session {
			t.Errorf("the set was changed by session %d, that of the dead agent is %d", now, session)
		}
		d.commit(a, "k1")
	})
}

func TestGrowthThatLandsLateIsRefused(t *testing.T) {
	inBed(t, nil, func(d *bed) {
		d.start(a)
		d.eventually("open alone", func() bool { return d.openAt(a) })
		way := d.plane.link(a)
		way.set(func(l *link) { l.hold = []unit.Kind{unit.Grow} })
		d.start(b, c)
		d.eventually("a growth is on its way", func() bool { return way.waiting() > 0 })
		d.eventually("it attached a new session", func() bool { return d.plane.taken(unit.Attach) > 0 })
		held := way.waiting()
		for _, err := range way.land()[:held-1] {
			if err == nil {
				t.Error("a growth of an earlier session was taken")
			}
		}
		d.eventually("set and names are equal", d.whole)
		d.commit(a, "k1")
	})
}

func TestNothingIsDoneBeforeTheNextSessionIsOnDisk(t *testing.T) {
	inBed(t, nil, func(d *bed) {
		d.start(a)
		d.eventually("open alone", func() bool { return d.openAt(a) })
		way := d.plane.link(a)
		way.set(func(l *link) { l.hold = []unit.Kind{unit.Grow} })
		full := d.dirs[a] + "/" + selfFile + ".new"
		if err := os.Mkdir(full, 0o700); err != nil { // the file cannot be written
			t.Fatal(err)
		}
		d.start(b)
		d.eventually("a growth is on its way", func() bool { return way.waiting() > 0 })
		names := d.net.SyncNames(a)
		if len(names) != 1 {
			t.Fatalf("in force is %v while a growth is on its way", names)
		}
		d.always("the names in force stay", 10*time.Second, func() bool { return slices.Equal(names, d.net.SyncNames(a)) })
		if err := way.land()[0]; err != nil {
			t.Fatalf("nothing stood against it: %v", err)
		}
		if in := d.plane.record().InSync; len(in) != 1 || in[0].String() != names[0] {
			t.Fatalf("in force is %v, the store has %v", names, in)
		}
		if err := os.Remove(full); err != nil {
			t.Fatal(err)
		}
		d.start(c)
		d.eventually("set and names are equal", d.whole)
	})
}

// stepped is a database whose wall clock is an hour behind: leases written in it do not end by themselves.
type stepped struct{ driver.Database }

func (s stepped) Lease(ctx context.Context, units []estate.UnitID, d time.Duration) error {
	if d > 0 {
		d += time.Hour
	}
	return s.Database.Lease(ctx, units, d)
}

func TestReadLeaseEndsOnTheAgentsOwnClock(t *testing.T) {
	ways := map[string]func(*bed){
		"refused": func(d *bed) { d.severed(a, b, true) },
		"silent":  func(d *bed) { d.mu.Lock(); d.hang[[2]estate.MemberID{a, b}] = true; d.mu.Unlock() },
	}
	for name, lose := range ways {
		t.Run(name, func(t *testing.T) {
			inBed(t, nil, func(d *bed) {
				d.drivers[a] = func(db driver.Database) driver.Database { return stepped{db} }
				d.up()
				d.eventually("plain reads pass", func() bool { return d.net.Reads(a, u1) })
				lose(d)
				took := d.eventually("plain reads end", func() bool { return !d.net.Reads(a, u1) })
				if promise := unit.DefaultTiming().Promise; took > promise+20*time.Millisecond {
					t.Errorf("they passed for %s, promised was %s", took, promise)
				}
				d.commit(a, "writes-go-on")
			})
		})
	}
}

func TestLeaseOfADeadAgentIsEndedByItsSuccessor(t *testing.T) {
	inBed(t, nil, func(d *bed) {
		d.drivers[a] = func(db driver.Database) driver.Database { return stepped{db} }
		d.up()
		d.eventually("plain reads pass", func() bool { return d.net.Reads(a, u1) })
		d.plane.link(a).set(func(l *link) { l.down = true }) // nobody tells it what it owns
		d.restart(a)
		if took := d.eventually("plain reads end", func() bool { return !d.net.Reads(a, u1) }); took > unit.DefaultTiming().Promise+50*time.Millisecond {
			t.Errorf("they passed for %s", took)
		}
	})
}

func TestLeaseNeverRestsOnLessThanTheSetThatTheStoreIsToldOf(t *testing.T) {
	inBed(t, nil, func(d *bed) {
		d.start(a)
		d.eventually("plain reads pass without copies", func() bool { return d.net.Reads(a, u1) })
		d.severed(a, b, true) // the copy streams, but its agent cannot be asked for a promise
		reads := false
		d.plane.committed = func(tr unit.Transition, _ unit.Record) {
			reads = reads || tr.Kind == unit.Grow && d.net.Reads(a, u1)
		}
		d.start(b)
		d.eventually("the set has grown", func() bool { return len(d.plane.record().InSync) == 1 })
		if reads {
			t.Error("plain reads passed when the store took a member in that had promised nothing")
		}
		d.always("no plain reads without its promise", 3*time.Second, func() bool { return !d.net.Reads(a, u1) })
		d.severed(a, b, false)
		d.eventually("plain reads pass", func() bool { return d.net.Reads(a, u1) })
	})
}

// mistaken is a database that looks dead once although it lives.
type mistaken struct {
	driver.Database
	once atomic.Bool
}

func (m *mistaken) Observe(ctx context.Context) (driver.Observation, error) {
	o, err := m.Database.Observe(ctx)
	if m.once.Swap(false) {
		return driver.Observation{Directory: o.Directory}, err
	}
	return o, err
}

func TestWhatIsReportedDeadIsDead(t *testing.T) {
	m := &mistaken{}
	inBed(t, nil, func(d *bed) {
		d.drivers[a] = func(db driver.Database) driver.Database { m.Database = db; return m }
		d.up()
		alive := false
		d.plane.committed = func(tr unit.Transition, _ unit.Record) {
			if _, open := d.net.Open(a, u1); tr.Kind == unit.OwnerDown && open {
				alive = true
			}
		}
		m.once.Store(true)
		d.eventually("the copy is open", func() bool { return d.openAt(b) })
		if alive {
			t.Error("its promises were released while it was open")
		}
	})
}

// tight is a database whose disk is full.
type tight struct {
	driver.Database
	full atomic.Bool
}

func (d *tight) Observe(ctx context.Context) (driver.Observation, error) {
	o, err := d.Database.Observe(ctx)
	if d.full.Load() {
		o.FreeBytes = 0
	}
	return o, err
}

func TestOwnerWithAFullDiskHandsOverOnlyWhereTheControlPlaneHearsOfIt(t *testing.T) {
	inBed(t, nil, func(d *bed) {
		m := &tight{}
		d.drivers[a] = func(db driver.Database) driver.Database { m.Database = db; return m }
		d.up()
		d.plane.link(a).set(func(l *link) { l.down = true })
		m.full.Store(true)
		d.always("it goes on, since nobody would take over", 20*time.Second, func() bool { return d.openAt(a) })
		d.commit(a, "k1")
		d.plane.link(a).set(func(l *link) { l.down = false })
		d.eventually("the copy is open", func() bool { return d.openAt(b) })
		if keys := d.net.Keys(b); !slices.Equal(keys, []string{"k1"}) {
			t.Errorf("the successor has %v", keys)
		}
	})
}

// beyond is the database of a copy that has log beyond where the histories part: it follows only when it was rewound.
type beyond struct {
	driver.Database
	refuses, rewound, flagged atomic.Bool
	isFlagged                 func() bool
}

func (d *beyond) Follow(ctx context.Context, up driver.Upstream, life estate.Life) error {
	if d.refuses.Load() {
		return errs.Refuse("I12", "cannot make it follow %s: it has log beyond where the histories part; rewind it", up.Member)
	}
	return d.Database.Follow(ctx, up, life)
}

func (d *beyond) Rewind(ctx context.Context, up driver.Upstream, progress driver.Progress) error {
	d.refuses.Store(false)
	d.flagged.Store(d.isFlagged())
	d.rewound.Store(true)
	return d.Database.Rewind(ctx, up, progress)
}

func TestCopyThatCannotFollowBecauseItHasMoreIsFlaggedAndRewound(t *testing.T) {
	inBed(t, nil, func(d *bed) {
		wrapped := &beyond{isFlagged: func() bool { m, _ := memberOf(d.plane.record(), c); return m.Ahead }}
		d.drivers[c] = func(db driver.Database) driver.Database { wrapped.Database = db; return wrapped }
		d.up()
		d.commit(a, "k1")
		wrapped.refuses.Store(true)
		d.net.Kill(a)
		d.eventually("the copy follows again", func() bool {
			m, _ := memberOf(d.plane.record(), c)
			return d.openAt(b) && wrapped.rewound.Load() && m.Following == d.plane.record().Ownership && !m.Ahead
		})
		if !wrapped.flagged.Load() {
			t.Error("it was rewound before anybody was told that it has more than the in-sync set")
		}
	})
}

// Package drivertest is the conformance suite of package driver: what an agent relies on, as facts that every driver has to show.
package drivertest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
)

// wait bounds every wait of the suite; it is long because test machines are busy.
const wait = 90 * time.Second

// Member is one directory, its driver, and what applications and faults do to it.
type Member interface {
	driver.Database
	ID() estate.MemberID
	// Address is how other members follow it.
	Address() driver.Upstream
	// Commit commits a guarded transaction with the key, on account "of-" + key. nil: acknowledged. Refused: nothing happened.
	Commit(ctx context.Context, unit estate.UnitID, key string) error
	// Keys lists the recorded keys as a local reader sees them, sorted.
	Keys() []string
	// Kill ends the server as a crash does; it returns when the driver has seen it.
	Kill()
	// Freeze makes the server hang, Thaw lets it go on.
	Freeze()
	Thaw()
	// Reattach ends the driver and makes a new one on the same directory, as the restart of an agent does.
	Reattach()
}

// Estate makes members; each has an empty directory and is reached by all others.
type Estate interface {
	Member(id estate.MemberID) Member
	// CutLinks loses what is under way to the followers of the member and lets nothing more through; HealLinks ends it.
	CutLinks(member estate.MemberID)
	HealLinks(member estate.MemberID)
}

// Run shows all facts; make gives each of them an estate of its own.
func Run(t *testing.T, make func(t *testing.T) Estate) {
	for _, fact := range []struct {
		name string
		show func(*scene)
	}{
		{"NewOwnerIsClosedUntilItIsOpened", newOwner},
		{"OwnershipOnlyGrows", ownershipGrows},
		{"EveryNewLifeIsClosed", newLife},
		{"ServerOutlivesItsDriver", reattach},
		{"FenceLiesBehindEverything", fence},
		{"CopyStreams", copyStreams},
		{"FollowerThatLeftIsForgotten", forgotten},
		{"AllListedMembersAcknowledge", allAcknowledge},
		{"FailedGrowthLeavesTheFormerSet", failedGrowth},
		{"ClosingNeverWaitsForACopy", closingNeverWaits},
		{"SeveredCopyStaysSevered", severed},
		{"UndoneSwitchFollowsAgain", undone},
		{"PlannedSwitchLosesNothing", planned},
		{"CascadedCopyFollowsThePromotion", cascade},
		{"FormerOwnerReturns", returns},
		{"CopyThatIsAheadIsRefused", ahead},
		{"HangingServerIsSeen", hangs},
		{"RecordsAreCounted", counted},
		{"RecordsAreReadBehindABarrier", recorded},
		{"AccountsAreJudged", judged},
	} {
		t.Run(fact.name, func(t *testing.T) {
			t.Parallel()
			fact.show(&scene{T: t, Estate: make(t), lives: map[estate.MemberID]uint64{}})
		})
	}
}

// scene is one fact being shown.
type scene struct {
	*testing.T
	Estate
	lives map[estate.MemberID]uint64
}

var units = []estate.UnitID{"u1"}

// At is ownership number n.
func at(n uint64) estate.Ownership {
	return estate.Ownership{Incarnation: estate.Incarnation{Counter: 1, ID: "suite"}, Epoch: estate.Epoch(n)}
}

func (s *scene) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	s.Cleanup(cancel)
	return ctx
}

func (s *scene) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// wants fails where the error is not of the kind.
func (s *scene) wants(kind errs.Kind, err error, what string) {
	s.Helper()
	if errs.KindOf(err) != kind {
		s.Errorf("%s: want %q, got %q (%v)", what, kind, errs.KindOf(err), err)
	}
}

func (s *scene) life(m Member) estate.Life {
	return estate.Life{Member: m.ID(), N: s.lives[m.ID()]}
}

func (s *scene) start(m Member) {
	s.Helper()
	s.lives[m.ID()]++
	s.must(m.Start(s.ctx(), s.life(m)))
}

func (s *scene) open(m Member, n uint64) {
	s.Helper()
	s.must(m.Open(s.ctx(), at(n), m.ID(), units))
}

func (s *scene) owner(id estate.MemberID) Member {
	s.Helper()
	m := s.Member(id)
	s.must(m.Create(s.ctx()))
	s.start(m)
	s.open(m, 1)
	return m
}

// copyOf makes a member a copy that streams from up. Every member is announced to the owner too: its right to connect lies in the data.
func (s *scene) copyOf(id estate.MemberID, up Member, owner Member) Member {
	s.Helper()
	m := s.Member(id)
	s.must(owner.EnsureFollower(s.ctx(), id))
	s.until("its right to connect has come", func() bool {
		return up.EnsureFollower(s.ctx(), id) == nil && m.Reinitialise(s.ctx(), up.Address(), nil) == nil
	})
	s.lives[id]++
	s.must(m.Follow(s.ctx(), up.Address(), s.life(m)))
	s.streams(m)
	return m
}

func (s *scene) observe(m Member) driver.Observation {
	s.Helper()
	o, err := m.Observe(s.ctx())
	s.must(err)
	return o
}

func (s *scene) streams(m Member) {
	s.Helper()
	s.until("it streams", func() bool { return s.observe(m).Streaming })
}

// until looks again and again.
func (s *scene) until(what string, ok func() bool) {
	s.Helper()
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			s.Fatalf("waited in vain until %s", what)
		case <-tick.C:
		}
	}
}

// grow proves the copies into the set, the last one as candidate.
func (s *scene) grow(owner Member, copies ...Member) driver.Grown {
	s.Helper()
	var names []string
	for _, c := range copies {
		names = append(names, s.life(c).String())
	}
	var grown driver.Grown
	var err error
	s.until("the set has grown", func() bool {
		grown, err = owner.Grow(s.ctx(), names, names[len(names)-1])
		return err == nil
	})
	return grown
}

func (s *scene) commit(m Member, key string) {
	s.Helper()
	s.must(m.Commit(s.ctx(), "u1", key))
}

// commitAside commits and gives the outcome when there is one.
func (s *scene) commitAside(m Member, key string) <-chan error {
	out, ctx := make(chan error, 1), s.ctx()
	go func() { out <- m.Commit(ctx, "u1", key) }()
	return out
}

// waits returns when n commits wait for copies.
func (s *scene) waits(m Member, n int) {
	s.Helper()
	s.until("commits wait for a copy", func() bool { return s.observe(m).WaitingCommits == n })
}

func (s *scene) undecided(outcome <-chan error, what string) {
	s.Helper()
	select {
	case err := <-outcome:
		s.Errorf("%s: the commit ended (%v)", what, err)
	default:
	}
}

func (s *scene) has(m Member, keys ...string) {
	s.Helper()
	slices.Sort(keys)
	if got := m.Keys(); !slices.Equal(got, keys) {
		s.Errorf("%s has %v, want %v", m.ID(), got, keys)
	}
}

func newOwner(s *scene) {
	m := s.Member("u1-a")
	if o := s.observe(m); o.Directory != driver.Empty || o.Running {
		s.Errorf("an empty directory is seen as %+v", o)
	}
	s.wants(errs.NotFound, m.Start(s.ctx(), estate.Life{Member: "u1-a", N: 1}), "start of nothing")
	s.must(m.Create(s.ctx()))
	s.must(m.Create(s.ctx()))
	if o := s.observe(m); o.Directory != driver.Primary || o.Running {
		s.Errorf("a new directory is seen as %+v", o)
	}
	s.start(m)
	o := s.observe(m)
	if !o.Running || !o.Answering || o.InRecovery || len(o.Gates) != 0 || !o.HighestSeen.IsZero() || o.SyncNames != nil || o.SystemID == "" || o.Timeline != 1 || o.StartTime.IsZero() {
		s.Errorf("a new owner is seen as %+v", o)
	}
	s.wants(errs.Refused, m.Commit(s.ctx(), "u1", "early"), "commit before opening")
	s.open(m, 1)
	s.commit(m, "one")
	if o := s.observe(m); len(o.Gates) != 1 || o.Gates[0] != (driver.Gate{Unit: "u1", Ownership: at(1), Open: true}) || o.HighestSeen != at(1) {
		s.Errorf("open, seen as %+v", o)
	}
	s.open(m, 1) // ensure, not do
	s.wants(errs.Refused, m.Follow(s.ctx(), m.Address(), s.life(m)), "an owner made to follow")
	_, err := m.Sever(s.ctx())
	s.wants(errs.Refused, err, "an owner severed")
	s.has(m, "one")
}

func ownershipGrows(s *scene) {
	m := s.owner("u1-a")
	s.open(m, 3)
	s.must(m.Close(s.ctx(), units))
	s.must(m.Close(s.ctx(), units))
	if o := s.observe(m); len(o.Gates) != 1 || o.Gates[0].Open {
		s.Errorf("closed, seen as %+v", o.Gates)
	}
	for _, n := range []uint64{1, 2, 3} {
		s.wants(errs.Refused, m.Open(s.ctx(), at(n), "u1-a", units), "open again at or below what was seen")
	}
	other := at(4)
	other.Incarnation.ID = "other"
	s.wants(errs.Refused, m.Open(s.ctx(), other, "u1-a", units), "open in another incarnation of the same counter")
	s.open(m, 4)
	s.commit(m, "one")
	if o := s.observe(m); o.HighestSeen != at(4) {
		s.Errorf("highest seen %s", o.HighestSeen)
	}
}

func newLife(s *scene) {
	m := s.owner("u1-a")
	s.commit(m, "one")
	before := s.observe(m)
	for n, end := range []func(){m.Kill, func() { s.must(m.Stop(s.ctx(), false)) }, func() { s.must(m.Stop(s.ctx(), true)) }} {
		end()
		if o := s.observe(m); o.Running || o.Answering || o.Directory != driver.Primary {
			s.Errorf("ended, seen as %+v", o)
		}
		s.wants(errs.Unavailable, m.Close(s.ctx(), units), "close of a dead server")
		s.start(m)
		o := s.observe(m)
		if len(o.Gates) != 0 || o.StartTime.Equal(before.StartTime) || o.HighestSeen != at(uint64(n+1)) || o.SyncNames != nil {
			s.Errorf("a new life is seen as %+v", o)
		}
		s.wants(errs.Refused, m.Commit(s.ctx(), "u1", "early"), "commit before opening")
		s.wants(errs.Refused, m.Open(s.ctx(), at(uint64(n+1)), "u1-a", units), "open again in the same epoch")
		s.open(m, uint64(n+2))
	}
	s.has(m, "one")
}

func reattach(s *scene) {
	m := s.owner("u1-a")
	before := s.observe(m)
	m.Reattach()
	if o := s.observe(m); !o.Running || !o.StartTime.Equal(before.StartTime) || len(o.Gates) != 1 || !o.Gates[0].Open {
		s.Errorf("found again as %+v", o)
	}
	s.commit(m, "one")
	s.start(m) // taken as it is
	s.commit(m, "two")
}

func fence(s *scene) {
	m := s.owner("u1-a")
	s.commit(m, "one")
	_, err := m.Drain(s.ctx(), units)
	s.wants(errs.Refused, err, "drain of an open gate")
	before := s.observe(m).Flushed
	s.must(m.Close(s.ctx(), units))
	s.wants(errs.Refused, m.Commit(s.ctx(), "u1", "late"), "commit behind a closed gate")
	at, err := m.Drain(s.ctx(), units)
	s.must(err)
	again, err := m.Drain(s.ctx(), units)
	s.must(err)
	if o := s.observe(m); at <= before || again < at || o.Flushed < again {
		s.Errorf("fence %s, again %s, flushed %s before and %s after", at, again, before, o.Flushed)
	}
	s.has(m, "one")
}

func copyStreams(s *scene) {
	p := s.owner("u1-a")
	s.commit(p, "one")
	c := s.copyOf("u1-b", p, p)
	s.commit(p, "two")
	s.must(c.WaitReplayed(s.ctx(), s.observe(p).Flushed))
	s.has(c, "one", "two")
	o := s.observe(c)
	if !o.InRecovery || o.Directory != driver.Standby || o.Upstream.Member != "u1-a" || len(o.Gates) != 0 || o.HighestSeen != at(1) || o.SystemID != s.observe(p).SystemID {
		s.Errorf("a copy is seen as %+v", o)
	}
	s.until("the owner sees its follower", func() bool {
		f := s.observe(p).Followers
		return len(f) == 1 && f[0].Name == "u1-b.1" && f[0].Streaming && f[0].SlotOK && !f[0].Duplicate && f[0].Flushed > 0
	})
	s.wants(errs.Refused, c.Commit(s.ctx(), "u1", "on a copy"), "commit on a copy")
	s.wants(errs.Refused, c.Open(s.ctx(), at(2), "u1-b", units), "open of a copy")
	s.wants(errs.Conflict, c.Reinitialise(s.ctx(), p.Address(), nil), "copy anew under a running server")
	// A new life of the copy is somebody else.
	c.Kill()
	s.start(c)
	s.streams(c)
	s.until("the owner sees the new life", func() bool {
		return slices.ContainsFunc(s.observe(p).Followers, func(f driver.Follower) bool { return f.Name == "u1-b.2" && f.SlotOK })
	})
}

func forgotten(s *scene) {
	p := s.owner("u1-a")
	b := s.copyOf("u1-b", p, p)
	c := s.copyOf("u1-c", p, p)
	s.must(b.EnsureFollower(s.ctx(), "u1-c"))
	strays := func(m Member, named ...estate.MemberID) []string {
		s.Helper()
		got, err := m.Strays(s.ctx(), named)
		s.must(err)
		return got
	}
	for _, m := range []Member{p, b} {
		if got := strays(m, "u1-a", "u1-b", "u1-c"); len(got) > 0 {
			s.Errorf("%s finds %q beside all members", m.ID(), got)
		}
		left := strays(m, "u1-a", "u1-b")
		if len(left) != 1 {
			s.Fatalf("%s finds %q beside all members but u1-c", m.ID(), left)
		}
		s.must(m.ForgetFollower(s.ctx(), left[0]))
		s.must(m.ForgetFollower(s.ctx(), left[0]))
		if got := strays(m, "u1-a", "u1-b"); len(got) > 0 {
			s.Errorf("%s finds %q after it has forgotten them", m.ID(), got)
		}
	}
	s.until("only the other copy streams", func() bool {
		f := s.observe(p).Followers
		return len(f) == 1 && f[0].Name == "u1-b.1" && f[0].Streaming && f[0].SlotOK
	})
	s.commit(p, "one")
	s.must(b.WaitReplayed(s.ctx(), s.observe(p).Flushed))
	s.must(p.EnsureFollower(s.ctx(), "u1-c"))
	s.streams(c)
}

func allAcknowledge(s *scene) {
	p := s.owner("u1-a")
	b := s.copyOf("u1-b", p, p)
	c := s.copyOf("u1-c", p, p)
	g := s.grow(p, b)
	if o := s.observe(b); o.Flushed < g.Mark {
		s.Errorf("the candidate has %s, the mark is %s", o.Flushed, g.Mark)
	}
	s.grow(p, b, c)
	if names := s.observe(p).SyncNames; !slices.Equal(names, []string{"u1-b.1", "u1-c.1"}) {
		s.Errorf("in force: %v", names)
	}
	s.commit(p, "zero")
	for i, frozen := range []Member{b, c} {
		frozen.Freeze()
		outcome := s.commitAside(p, []string{"one", "two"}[i])
		s.waits(p, 1)
		s.undecided(outcome, "with a frozen copy")
		frozen.Thaw()
		s.must(<-outcome)
	}
	c.Freeze()
	outcome := s.commitAside(p, "three")
	s.waits(p, 1)
	s.must(p.Shrink(s.ctx(), []string{"u1-b.1"}))
	s.must(<-outcome)
	c.Thaw()
	b.Freeze()
	outcome = s.commitAside(p, "four")
	s.waits(p, 1)
	s.must(p.Shrink(s.ctx(), nil))
	s.must(<-outcome)
	b.Thaw()
	if names := s.observe(p).SyncNames; names != nil {
		s.Errorf("in force: %v", names)
	}
}

func failedGrowth(s *scene) {
	p := s.owner("u1-a")
	b := s.copyOf("u1-b", p, p)
	s.grow(p, b)
	_, err := p.Grow(s.ctx(), []string{"u1-b.1"}, "u1-c.1")
	s.wants(errs.Invalid, err, "a candidate that is not listed")
	_, err = p.Grow(s.ctx(), []string{"u1-b.1", "u1-b.1"}, "u1-b.1")
	s.wants(errs.Refused, err, "a name listed twice")
	_, err = p.Grow(s.ctx(), []string{"*"}, "*")
	s.wants(errs.Invalid, err, "a name that means anybody")
	_, err = p.Grow(s.ctx(), []string{"u1-b.1", "u1-c.1"}, "u1-c.1")
	s.wants(errs.Unavailable, err, "a candidate that is not there")
	_, err = b.Grow(s.ctx(), []string{"u1-c.1"}, "u1-c.1")
	s.wants(errs.Refused, err, "a copy's in-sync set")
	if names := s.observe(p).SyncNames; !slices.Equal(names, []string{"u1-b.1"}) {
		s.Errorf("in force: %v", names)
	}
	s.commit(p, "one")
}

func closingNeverWaits(s *scene) {
	p := s.owner("u1-a")
	b := s.copyOf("u1-b", p, p)
	s.grow(p, b)
	b.Freeze()
	outcome := s.commitAside(p, "one")
	s.waits(p, 1)
	s.must(p.Lease(s.ctx(), units, time.Second))
	s.must(p.Lease(s.ctx(), units, 0))
	s.must(p.Close(s.ctx(), units))
	s.undecided(outcome, "closed")
	_, err := p.Drain(s.ctx(), units)
	s.must(err)
	if err := <-outcome; err == nil || errs.KindOf(err) == errs.Refused {
		s.Errorf("a commit that nobody else has ended as %v", err)
	}
	b.Thaw()
}

func severed(s *scene) {
	p := s.owner("u1-a")
	b := s.copyOf("u1-b", p, p)
	s.grow(p, b)
	s.commit(p, "one")
	s.wants(errs.Refused, b.Promote(s.ctx()), "promotion without a cut")
	first, err := b.Sever(s.ctx())
	s.must(err)
	outcome := s.commitAside(p, "two")
	s.waits(p, 1)
	b.Kill()
	_, err = b.Sever(s.ctx())
	s.wants(errs.Unavailable, err, "cut of a dead server")
	s.start(b)
	b.Reattach()
	again, err := b.Sever(s.ctx())
	s.must(err)
	if o := s.observe(b); again != first || o.Upstream.Member != "" || o.Streaming || o.Flushed != first {
		s.Errorf("severed at %s, then %s, seen as %+v", first, again, o)
	}
	s.undecided(outcome, "severed")
	s.must(b.Promote(s.ctx()))
	s.must(b.Promote(s.ctx()))
	s.undecided(outcome, "promoted")
	o := s.observe(b)
	if o.InRecovery || o.Timeline != 2 || len(o.Gates) != 0 || o.SyncNames != nil || o.Directory != driver.Primary || o.HighestSeen != at(1) {
		s.Errorf("promoted, seen as %+v", o)
	}
	s.wants(errs.Refused, b.Commit(s.ctx(), "u1", "early"), "commit before opening")
	s.wants(errs.Refused, b.Open(s.ctx(), at(1), "u1-b", units), "open in the predecessor's epoch")
	s.open(b, 2)
	s.commit(b, "three")
	s.has(b, "one", "three")
	p.Kill()
	if err := <-outcome; err == nil {
		s.Error("acknowledged by a severed copy")
	}
}

func undone(s *scene) {
	p := s.owner("u1-a")
	b := s.copyOf("u1-b", p, p)
	s.grow(p, b)
	_, err := b.Sever(s.ctx())
	s.must(err)
	outcome := s.commitAside(p, "one")
	s.waits(p, 1)
	s.must(b.Follow(s.ctx(), p.Address(), s.life(b)))
	s.must(<-outcome)
	s.streams(b)
	s.must(b.Follow(s.ctx(), p.Address(), s.life(b)))
	s.commit(p, "two")
}

func planned(s *scene) {
	p := s.owner("u1-a")
	b := s.copyOf("u1-b", p, p)
	s.grow(p, b)
	s.commit(p, "one")
	s.must(p.Close(s.ctx(), units))
	f, err := p.Drain(s.ctx(), units)
	s.must(err)
	s.must(b.WaitReplayed(s.ctx(), f))
	lsn, err := b.Sever(s.ctx())
	s.must(err)
	if lsn < f {
		s.Errorf("severed at %s before the fence %s", lsn, f)
	}
	s.must(b.Promote(s.ctx()))
	s.open(b, 2)
	s.commit(b, "two")
	s.must(p.Stop(s.ctx(), true))
	s.back(p, b)
	s.grow(b, p)
	s.commit(b, "three")
	s.must(p.WaitReplayed(s.ctx(), s.observe(b).Flushed))
	s.has(p, "one", "three", "two")
}

// back makes a stopped former owner a copy of its successor and gives what it had beyond it.
func (s *scene) back(m, successor Member) driver.Diverged {
	s.Helper()
	d, err := m.Diverged(s.ctx(), successor.Address())
	s.must(err)
	s.must(m.Rewind(s.ctx(), successor.Address(), nil))
	if got := s.observe(m).Directory; got != driver.Standby {
		s.Fatalf("a rewound directory is seen as %s", got)
	}
	s.must(successor.EnsureFollower(s.ctx(), m.ID()))
	s.lives[m.ID()]++
	s.must(m.Follow(s.ctx(), successor.Address(), s.life(m)))
	s.streams(m)
	return d
}

func cascade(s *scene) {
	p := s.owner("u1-a")
	b := s.copyOf("u1-b", p, p)
	s.must(p.EnsureFollower(s.ctx(), "u1-c"))
	c := s.copyOf("u1-c", b, p)
	s.grow(p, b)
	s.commit(p, "one")
	p.Kill()
	_, err := b.Sever(s.ctx())
	s.must(err)
	s.must(b.Promote(s.ctx()))
	s.open(b, 2)
	s.commit(b, "two")
	s.until("the cascaded copy follows", func() bool { o := s.observe(c); return o.Streaming && o.Timeline == 2 })
	s.must(c.WaitReplayed(s.ctx(), s.observe(b).Flushed))
	s.has(c, "one", "two")
}

func returns(s *scene) {
	p := s.owner("u1-a")
	b := s.copyOf("u1-b", p, p)
	s.grow(p, b)
	s.commit(p, "both")
	s.CutLinks("u1-a")
	lost := s.commitAside(p, "lost")
	retried := s.commitAside(p, "retried")
	s.waits(p, 2)
	_, err := b.Sever(s.ctx())
	s.must(err)
	s.must(b.Promote(s.ctx()))
	s.open(b, 2)
	s.commit(b, "retried")
	s.HealLinks("u1-a")
	_, err = p.Diverged(s.ctx(), b.Address())
	s.wants(errs.Conflict, err, "divergence of a running server")
	s.wants(errs.Conflict, p.Rewind(s.ctx(), b.Address(), nil), "rewind of a running server")
	p.Kill()
	for _, outcome := range []<-chan error{lost, retried} {
		if <-outcome == nil {
			s.Error("acknowledged by nobody but its owner")
		}
	}
	s.wants(errs.Refused, p.Follow(s.ctx(), b.Address(), s.life(p)), "a former owner made to follow")
	d := s.back(p, b)
	got := map[string]bool{}
	for _, x := range d.Transactions {
		got[x.Key] = x.Settled
		if x.Commit < d.From || x.Commit >= d.Until || x.Unit != "u1" || !slices.Equal(x.Accounts, []string{"of-" + x.Key}) {
			s.Errorf("diverged %+v", x)
		}
	}
	if settled, ok := got["lost"]; len(got) != 2 || !ok || settled || !got["retried"] || d.Unkeyed != 0 {
		s.Errorf("diverged %+v, want lost, and retried as settled", d)
	}
	s.must(p.WaitReplayed(s.ctx(), s.observe(b).Flushed))
	s.has(p, "both", "retried")
	s.grow(b, p)
	s.commit(b, "after")
}

func ahead(s *scene) {
	p := s.owner("u1-a")
	c := s.copyOf("u1-c", p, p) // fed directly
	s.commit(p, "one")
	s.must(c.WaitReplayed(s.ctx(), s.observe(p).Flushed))
	b := s.copyOf("u1-b", p, p)
	_, err := b.Sever(s.ctx())
	s.must(err)
	s.commit(p, "only c has it")
	s.must(c.WaitReplayed(s.ctx(), s.observe(p).Flushed))
	p.Kill()
	s.must(b.Promote(s.ctx()))
	s.open(b, 2)
	s.must(b.EnsureFollower(s.ctx(), "u1-c"))
	err = c.Follow(s.ctx(), b.Address(), s.life(c))
	var e *errs.Error
	if !errors.As(err, &e) || e.Invariant != "I12" {
		s.Errorf("a copy that is ahead was made to follow: %v", err)
	}
	s.must(c.Stop(s.ctx(), false))
	s.must(c.Rewind(s.ctx(), b.Address(), nil))
	s.lives["u1-c"]++
	s.must(c.Follow(s.ctx(), b.Address(), s.life(c)))
	s.streams(c)
	s.must(c.WaitReplayed(s.ctx(), s.observe(b).Flushed))
	s.has(c, "one")
}

func hangs(s *scene) {
	m := s.owner("u1-a")
	s.observe(m)
	m.Freeze()
	ctx, cancel := context.WithTimeout(s.ctx(), 300*time.Millisecond)
	defer cancel()
	o, err := m.Observe(ctx)
	s.must(err)
	if !o.Running || o.Answering {
		s.Errorf("a hanging server is seen as %+v", o)
	}
	m.Thaw()
	s.until("it answers again", func() bool { return s.observe(m).Answering })
	s.commit(m, "one")
	m.Freeze()
	s.must(m.Stop(s.ctx(), true))
	if s.observe(m).Running {
		s.Error("stopped, and seen running")
	}
}

func counted(s *scene) {
	m := s.owner("u1-a")
	tally := func() driver.Tally {
		t, err := m.Tally(s.ctx(), units)
		s.must(err)
		if len(t) != 1 || t[0].Unit != "u1" {
			s.Fatalf("tally %+v", t)
		}
		return t[0]
	}
	if t := tally(); t.Transactions != 0 || t.Amount != "0" {
		s.Errorf("nothing is counted as %+v", t)
	}
	for _, key := range []string{"one", "two", "three"} {
		s.commit(m, key)
	}
	t := tally()
	if t.Transactions != 3 || t.Amount != "30" || t.Position == 0 {
		s.Errorf("three of 10 are counted as %+v", t)
	}
	s.commit(m, "four")
	if again := tally(); again.Transactions != 4 || again.Amount != "40" || again.Position < t.Position {
		s.Errorf("four of 10 are counted as %+v", again)
	}
	_, err := m.Check(s.ctx())
	s.must(err)

	key := func(k string) driver.Key { return driver.Key{Caller: "suite", RoutingKey: "suite", Key: k} }
	missing, err := m.Missing(s.ctx(), []driver.Key{key("one"), key("gone"), key("four"), key("never")})
	s.must(err)
	if !slices.Equal(missing, []int{1, 3}) {
		s.Errorf("missing are %v", missing)
	}
	if n, err := m.Purge(s.ctx(), "u1", 100); err != nil || n != 0 {
		s.Errorf("%d records were removed that are younger than the retention, %v", n, err)
	}
	s.has(m, "one", "two", "three", "four")
	newest, err := m.Newest(s.ctx(), nil)
	s.must(err)
	s.commit(m, "five")
	if later, err := m.Newest(s.ctx(), nil); err != nil || newest.IsZero() || !newest.Before(later) {
		s.Errorf("the newest record is of %s, then of %s (%v)", newest, later, err)
	}
}

func recorded(s *scene) {
	p := s.owner("u1-a")
	b := s.copyOf("u1-b", p, p)
	s.grow(p, b)
	s.commit(p, "one")
	s.commit(p, "two")
	key := func(k string) driver.Key { return driver.Key{Caller: "suite", RoutingKey: "suite", Key: k} }
	keys := []driver.Key{key("gone"), key("two"), key("never"), key("one")}
	found, err := p.Records(s.ctx(), keys)
	s.must(err)
	if want := []driver.Record{{Index: 1, Status: 200, Amount: "10"}, {Index: 3, Status: 200, Amount: "10"}}; !slices.Equal(found, want) {
		s.Errorf("found %+v, want %+v", found, want)
	}
	if found, err := b.Records(s.ctx(), keys); err == nil {
		s.Errorf("a copy says what is recorded: %+v", found)
	}
	// What a copy of the set may lack is not told.
	b.Freeze()
	short, cancel := context.WithTimeout(s.ctx(), time.Second)
	defer cancel()
	if found, err := p.Records(short, keys); err == nil {
		s.Errorf("told without the copy: %+v", found)
	}
	b.Thaw()
	_, err = p.Records(s.ctx(), keys)
	s.must(err)
}

func judged(s *scene) {
	m := s.owner("u1-a")
	s.commit(m, "one")
	s.commit(m, "two")
	s.open(m, 2)
	newest, err := m.Newest(s.ctx(), nil)
	s.must(err)
	s.commit(m, "three")
	before := []estate.Ownership{at(0), at(1)}
	if fork, err := m.Newest(s.ctx(), before); err != nil || !fork.Equal(newest) || fork.IsZero() {
		s.Errorf("the newest record made before ownership 2 is of %s (%v), it was of %s", fork, err, newest)
	}
	if none, err := m.Newest(s.ctx(), []estate.Ownership{at(7)}); err != nil || !none.IsZero() {
		s.Errorf("the newest record of an ownership without records is of %s, %v", none, err)
	}
	s.must(m.Quarantine(s.ctx(), units, at(2)))
	_, err = m.Judge(s.ctx(), driver.Judgement{Units: units, Quarantine: at(2)})
	s.wants(errs.Invalid, err, "judging without a query")
	judge := func(units []estate.UnitID, began estate.Ownership) (driver.Judged, error) {
		return m.Judge(s.ctx(), driver.Judgement{Units: units, Quarantine: began, Query: "select id, true from account", By: "suite", Touched: []string{"of-two"}})
	}
	for range 2 { // verdicts may be written again
		j, err := judge(units, at(2))
		s.must(err)
		if j.Verified != 2 || j.Inconsistent != 1 || !slices.Equal(j.Accounts, []string{"of-two"}) {
			s.Errorf("judged %+v", j)
		}
	}
	_, err = judge(units, at(1))
	s.wants(errs.Conflict, err, "judging by what was found in another quarantine")
	_, err = judge([]estate.UnitID{"u1", "u2"}, at(2))
	s.wants(errs.Conflict, err, "judging a unit that is in none")
	s.must(m.Quarantine(s.ctx(), units, at(3)))
	_, err = judge(units, at(2))
	s.wants(errs.Conflict, err, "judging by what was found in the quarantine before")
	s.must(m.EndQuarantine(s.ctx(), units))
	_, err = judge(units, at(3))
	s.wants(errs.Conflict, err, "judging after the quarantine")
}

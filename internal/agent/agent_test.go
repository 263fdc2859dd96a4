package agent

import (
	"slices"
	"testing"
	"time"

	"perdure/internal/estate"
	"perdure/internal/unit"
)

func TestNewGroupIsCreatedOpenedAndGrown(t *testing.T) {
	inBed(t, nil, func(d *bed) {
		d.up()
		d.commit(a, "k1")
		d.eventually("plain reads pass", func() bool { return d.net.Reads(a, u1) })
		d.eventually("the asynchronous copy has it too", func() bool { return slices.Equal(d.net.Keys(c), []string{"k1"}) })
		if rec := d.plane.record(); rec.Owner.Member != a || len(rec.InSync) != 1 || rec.InSync[0].Member != b || rec.Ownership.Epoch != 1 {
			t.Fatalf("%+v", rec)
		}
	})
}

func TestDeadOwnerIsReplacedAtOnceAtTheNextEpoch(t *testing.T) {
	inBed(t, nil, func(d *bed) {
		d.up()
		d.commit(a, "k1")
		before := d.plane.record().Ownership
		d.net.Kill(a)
		took := d.eventually("the copy is open", func() bool { _, open := d.net.Open(b, u1); return open })
		if promise := unit.DefaultTiming().Promise; took >= promise {
			t.Errorf("it took %s although the owner released its promises", took)
		}
		rec := d.plane.record()
		if rec.Ownership != before.Next() || rec.Switch.Mode != unit.Failover || !d.openAt(b) {
			t.Fatalf("open at %s, want %s: %+v", rec.Ownership, before.Next(), rec.Switch)
		}
		if s := d.agents[b].self; s.Severed == nil || s.Severed.Ownership != rec.Ownership || s.Owned != rec.Ownership || rec.Switch.Severed != s.Severed.LSN {
			t.Errorf("promoted without a journalled cut: %+v", s)
		}
		d.commit(b, "k2")
		if keys := d.net.Keys(b); !slices.Equal(keys, []string{"k1", "k2"}) {
			t.Errorf("the successor has %v", keys)
		}
	})
}

func TestReturningOwnerListsItsDivergenceIsRewoundAndFollows(t *testing.T) {
	inBed(t, nil, func(d *bed) {
		d.up()
		d.commit(a, "k1")
		d.net.Cut(a, b)
		d.net.Cut(a, c)
		go func() { _ = d.net.Commit(d.t.Context(), a, u1, "unacknowledged", 10) }()
		d.pass(10 * time.Millisecond)
		d.net.Kill(a)
		d.eventually("the copy is open", func() bool { return d.openAt(b) })
		d.net.Heal(a, b)
		d.net.Heal(a, c)
		d.eventually("the former owner is a copy in the set", d.whole)
		if len(d.plane.divergences) != 1 {
			t.Fatalf("%d divergences", len(d.plane.divergences))
		}
		if report := string(d.plane.divergences[0].Report); !slices.Contains(d.net.Keys(b), "k1") || !containsText(report, "unacknowledged") {
			t.Errorf("the report does not name what was lost: %s", report)
		}
		if keys := d.net.Keys(a); !slices.Equal(keys, []string{"k1"}) {
			t.Errorf("the rewound directory has %v", keys)
		}
		if s := d.agents[a].self; !s.Owned.IsZero() || s.FirstLife != s.Life {
			t.Errorf("its past is not forgotten: %+v", s)
		}
	})
}

func TestMemberWhoseDiskWasReplacedJoinsAgainAboveEveryLifeThatIsKnown(t *testing.T) {
	inBed(t, nil, func(d *bed) {
		d.up()
		for range 3 {
			d.net.Kill(b)
			d.eventually("it is a copy in the set again", d.whole)
		}
		known, _ := memberOf(d.plane.record(), b)
		d.stop(b)
		d.net.Replace(b)
		d.dirs[b] = t.TempDir() // the agent's own file lay beside the data
		d.start(b)
		d.eventually("it is copied anew and in the set", func() bool {
			m, _ := memberOf(d.plane.record(), b)
			return m.Life > known.Life && d.whole()
		})
		if s := d.agents[b].self; s.FirstLife != s.Life || s.FirstLife <= known.Life {
			t.Errorf("a life before the new directory counts as one on it: %+v, known was %d", s, known.Life)
		}
	})
}

func TestPlannedSwitchMovesTheUnitAndBack(t *testing.T) {
	inBed(t, nil, func(d *bed) {
		d.up()
		for i, to := range []estate.MemberID{b, a} {
			m, _ := memberOf(d.plane.record(), to)
			d.plane.post(t, unit.Transition{Kind: unit.Begin, Person: "ann", Member: estate.Life{Member: to, N: m.Life}, Mode: unit.Takeover, SwitchID: "s"})
			d.eventually("switched", func() bool { return d.openAt(to) && d.whole() })
			if s := d.plane.record().Switch; s.Phase != unit.Done || s.Fence == 0 || s.Severed < s.Fence {
				t.Fatalf("switch %d: %+v", i, s)
			}
			d.commit(to, "after-"+string(to))
		}
		if len(d.plane.divergences) != 2 { // each way home is compared, and finds nothing
			t.Errorf("%d comparisons", len(d.plane.divergences))
		}
	})
}

func TestConsentWaitsForThePromiseAndThenHoldsAgainstTheOwner(t *testing.T) {
	inBed(t, nil, func(d *bed) {
		d.up()
		d.eventually("plain reads pass", func() bool { return d.net.Reads(a, u1) })
		if answer := d.consent(b); answer.OK || answer.WaitMillis <= 1 {
			t.Fatalf("it consents although it has promised: %+v", answer)
		}
		d.severed(a, b, true) // the owner does not reach it any more
		d.pass(1100 * time.Millisecond)
		if d.net.Reads(a, u1) {
			t.Fatal("plain reads pass without a promise")
		}
		answer := d.consent(b)
		if !answer.OK || answer.Life.Member != b {
			t.Fatalf("%+v", answer)
		}
		d.severed(a, b, false)
		d.always("no promise while it holds to its consent", 1900*time.Millisecond, func() bool { return !d.net.Reads(a, u1) })
		d.eventually("nobody decided: it promises again", func() bool { return d.net.Reads(a, u1) })
	})
}

func TestRestartedAgentAssumesThatItPromised(t *testing.T) {
	inBed(t, nil, func(d *bed) {
		d.up()
		d.severed(a, b, true)
		d.restart(b)
		d.eventually("it looked at its database", func() bool { return d.agents[b].state().Answering })
		if answer := d.consent(b); answer.OK || answer.WaitMillis <= 1 {
			t.Fatalf("%+v", answer)
		}
		d.pass(unit.DefaultTiming().Promise + 50*time.Millisecond)
		if answer := d.consent(b); !answer.OK {
			t.Fatalf("%+v", answer)
		}
	})
}

func TestStepOfAnOlderRecordIsNotTaken(t *testing.T) {
	// Without heirs the owner starts its dead database at once.
	inBed(t, func(r *unit.Record) { r.Policy.Failover = unit.Confirm }, func(d *bed) {
		d.up()
		d.plane.link(a).set(func(l *link) { l.blind = true })
		in := d.plane.record().InSync[0]
		d.stop(a) // paused, as far as others see
		d.net.Kill(a)
		d.plane.post(t, unit.Transition{Kind: unit.Decide, Person: "ann", Member: in, Mode: unit.Emergency, SwitchID: "s"})
		d.eventually("the copy is open", func() bool { return d.openAt(b) })
		stale := d.plane.link(a)
		stale.set(func(l *link) { l.down = true })
		d.start(a)
		ag := d.agents[a]
		old := d.plane.rec
		old.Record, old.Revision = d.past(), old.Revision-10
		ag.learn(old) // what it knew when it was paused
		stale.set(func(l *link) { l.down = false })
		d.eventually("it follows the new owner", d.whole)
		if life := ag.state().Life; life != 2 {
			t.Errorf("its database was started %d times, want once more, as a copy", life-1)
		}
	})
}

// past is the record as it was while a owned the group.
func (b *bed) past() unit.Record {
	rec := b.plane.record()
	rec.Ownership, rec.Owner, rec.State, rec.Switch = rec.Past[len(rec.Past)-1].Ownership, rec.Past[len(rec.Past)-1].Owner, unit.Open, nil
	rec.InSync = rec.Past[len(rec.Past)-1].InSync
	rec.Down = &rec.Owner
	return rec
}

func TestSecondAgentOfADirectoryIsRefused(t *testing.T) {
	inBed(t, nil, func(d *bed) {
		d.up()
		session := d.agents[a].self.Session
		_, second := d.make(a)
		if err := second(d.t.Context()); errsKind(err) != "conflict" {
			t.Fatalf("%v", err)
		}
		d.commit(a, "k1")
		if self, err := loadSelf(d.dirs[a]+"/"+selfFile, a); err != nil || self.Session != session {
			t.Errorf("the refused agent touched the file: %+v, %v", self, err)
		}
	})
}

func TestStoreIsNotNeededToGoOn(t *testing.T) {
	inBed(t, nil, func(d *bed) {
		d.up()
		own := d.plane.record().Ownership
		for _, id := range []estate.MemberID{a, b, c} {
			d.plane.link(id).set(func(l *link) { l.down = true })
		}
		open := func() bool {
			now, open := d.net.Open(a, u1)
			return open && now == own
		}
		d.always("open", 20*time.Second, open)
		d.restart(a)
		d.always("open, and plain reads after a while", 20*time.Second, open)
		d.commit(a, "k1")
	})
}

func TestHigherIncarnationClosesAtOnceAndForGood(t *testing.T) {
	for name, met := range map[string]estate.Incarnation{"higher": {Counter: 2, ID: "y"}, "another recovery of the same origin": {Counter: 1, ID: "y"}} {
		t.Run(name, func(t *testing.T) {
			inBed(t, nil, func(d *bed) {
				d.up()
				d.plane.link(a).set(func(l *link) { l.met(met) })
				if took := d.eventually("closed", func() bool { _, open := d.net.Open(a, u1); return !open }); took > time.Second {
					t.Errorf("it took %s", took)
				}
				seen := d.agents[a].state().Seen
				d.plane.link(a).set(func(l *link) { l.down = true })
				d.restart(a)
				d.always("closed", 5*time.Second, func() bool { _, open := d.net.Open(a, u1); return !open })
				if now := d.agents[a].state().Seen; now != seen || !d.plane.record().Ownership.Less(now) {
					t.Errorf("it has met %s, and knows of %s", seen, now)
				}
			})
		})
	}
}

func TestHigherIncarnationClosesAtOnceThoughAPostHangs(t *testing.T) {
	inBed(t, nil, func(d *bed) {
		d.start(a)
		d.eventually("open alone", func() bool { return d.openAt(a) })
		way := d.plane.link(a)
		way.set(func(l *link) { l.hang = true })
		d.start(b)
		hangs := func() bool { way.mu.Lock(); defer way.mu.Unlock(); return way.hangs > 0 }
		d.eventually("a post hangs", hangs)
		way.set(func(l *link) { l.met(estate.Incarnation{Counter: 2, ID: "y"}) })
		if took := d.eventually("closed", func() bool { _, open := d.net.Open(a, u1); return !open }); took > time.Second {
			t.Errorf("it took %s", took)
		}
		way.set(func(l *link) { l.hang = false })
	})
}

func TestUnitThatLeftTheGroupIsClosedWithIt(t *testing.T) {
	const u2 = estate.UnitID("u2")
	inBed(t, func(r *unit.Record) { r.Units = append(r.Units, u2) }, func(d *bed) {
		d.up()
		if _, open := d.net.Open(a, u2); !open {
			t.Fatal("not open at first")
		}
		d.plane.post(t, unit.Transition{Kind: unit.Amend, Person: "ann", Units: []estate.UnitID{u1}})
		d.plane.post(t, unit.Transition{Kind: unit.Begin, Person: "ann", Member: d.plane.record().InSync[0], Mode: unit.Takeover, SwitchID: "s"})
		closed := true
		d.plane.committed = func(tr unit.Transition, _ unit.Record) {
			if _, open := d.net.Open(a, u2); tr.Kind == unit.Close && open {
				closed = false
			}
		}
		d.eventually("switched", func() bool { return d.openAt(b) && d.whole() })
		if !closed {
			t.Error("the unit that left was open behind the fence")
		}
	})
}

func TestOldOwnerIsReadyToBeTakenBackWhenTheDecidedMemberDoesNotOpen(t *testing.T) {
	inBed(t, nil, func(d *bed) {
		d.up()
		d.stop(b)
		in := d.plane.record().InSync[0]
		d.net.Kill(a)
		d.plane.post(t, unit.Transition{Kind: unit.Decide, Person: "ann", Member: in, Mode: unit.Emergency, SwitchID: "s"})
		d.eventually("its database runs again", func() bool { return d.agents[a].state().Answering })
		if _, open := d.net.Open(a, u1); open {
			t.Error("it is open")
		}
	})
}

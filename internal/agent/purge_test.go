package agent

import (
	"context"
	"sync"
	"testing"
	"time"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
)

// hoarder is a database with old records. It notes who was asked to remove some, and may hang over it.
type hoarder struct {
	driver.Database
	own *records
}

type records struct {
	mu      sync.Mutex
	old     int
	removed int
	batches []time.Time
	most    int
	hang    bool
	fail    bool
	hanging int
}

func (h hoarder) Purge(ctx context.Context, u estate.UnitID, limit int) (int, error) {
	r := h.own
	r.mu.Lock()
	if u != u1 {
		panic("another unit")
	}
	r.batches, r.most = append(r.batches, time.Now()), max(r.most, limit)
	if r.hang {
		r.hanging++
		r.mu.Unlock()
		<-ctx.Done()
		return 0, ctx.Err()
	}
	defer r.mu.Unlock()
	if r.fail {
		return 0, errs.New(errs.Unavailable, "the disk is full")
	}
	n := min(limit, r.old)
	r.old, r.removed = r.old-n, r.removed+n
	return n, nil
}

func (r *records) set(f func(*records)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r)
}

func (r *records) asked() (n int) {
	r.set(func(r *records) { n = len(r.batches) })
	return n
}

// hoard gives every member a database with old records.
func (b *bed) hoard(old int) map[estate.MemberID]*records {
	all := map[estate.MemberID]*records{}
	for _, m := range b.plane.record().Members {
		all[m.ID] = &records{old: old}
		b.drivers[m.ID] = func(db driver.Database) driver.Database { return hoarder{db, all[m.ID]} }
	}
	return all
}

func TestOwnersAgentRemovesWhatIsOlderThanTheRetention(t *testing.T) {
	inBed(t, nil, func(d *bed) {
		all := d.hoard(3*purgeBatch + 7)
		d.up()
		d.pass(purgeEvery + time.Second)
		if r := all[a]; r.removed != 3*purgeBatch+7 || r.most > purgeBatch || r.asked() != 4 {
			t.Errorf("%d removed in %d batches of %d at most", r.removed, r.asked(), r.most)
		}
		d.pass(3 * purgeEvery)
		if n := all[a].asked(); n != 7 {
			t.Errorf("asked %d times in four minutes, where there was nothing to remove in three of them", n)
		}
		for _, copied := range []estate.MemberID{b, c} {
			if n := all[copied].asked(); n != 0 {
				t.Errorf("%s, which is not open, was asked %d times", copied, n)
			}
		}
		// The next owner goes on.
		d.net.Kill(a)
		d.eventually("the copy is open", func() bool { return d.openAt(b) })
		before := all[a].asked()
		d.pass(2 * purgeEvery)
		if all[b].removed == 0 || all[a].asked() != before {
			t.Errorf("after the failover the owner removed %d, and the former one was asked %d times", all[b].removed, all[a].asked()-before)
		}
	})
}

func TestNothingWaitsForARemovalThatHangs(t *testing.T) {
	inBed(t, nil, func(d *bed) {
		all := d.hoard(0)
		d.up()
		all[a].set(func(r *records) { r.hang = true })
		d.eventually("the removal hangs", func() bool { return all[a].asked() > 0 })
		d.always("plain reads pass", purgeBound/2, func() bool { return d.net.Reads(a, u1) })
		d.net.Kill(a)
		if took := d.eventually("the copy is open", func() bool { return d.openAt(b) }); took > 3*time.Second {
			t.Errorf("the failover took %s", took)
		}
		d.eventually("the agent's end is asked for while it hangs", func() bool { return d.openAt(b) && d.hangs(all[b]) })
		began := time.Now()
		d.stop(b)
		if took := time.Since(began); took > time.Second {
			t.Errorf("the agent's end took %s", took)
		}
	})
}

// hangs makes the next removal of a member hang and reports whether one does.
func (b *bed) hangs(r *records) (now bool) {
	r.set(func(r *records) { r.hang, now = true, r.hanging > 0 })
	return now
}

func TestRemovalWaitsForSwitchesAndComesAgainAfterAFailure(t *testing.T) {
	inBed(t, nil, func(d *bed) {
		all := d.hoard(10)
		d.up()
		ag := d.agents[a].Agent
		if got := ag.purgeable(); len(got) != 1 || got[0] != u1 {
			t.Fatalf("%v may be purged", got)
		}
		ag.mu.Lock()
		kept := ag.group.Record.Switch
		ag.group.Record.Switch = &unit.Switch{Phase: unit.Closing}
		ag.mu.Unlock()
		if got := ag.purgeable(); len(got) != 0 {
			t.Errorf("%v may be purged in a switch", got)
		}
		ag.mu.Lock()
		ag.group.Record.Switch = kept
		ag.seen.OldestWait = 2 * purgeAfter
		ag.mu.Unlock()
		if got := ag.purgeable(); len(got) != 0 {
			t.Errorf("%v may be purged while a copy does not acknowledge", got)
		}
		all[a].set(func(r *records) { r.fail = true })
		d.pass(purgeEvery)
		all[a].set(func(r *records) { r.fail = false })
		d.pass(purgeEvery + time.Second)
		if all[a].removed != 10 {
			t.Errorf("%d removed", all[a].removed)
		}
	})
}

package postgres

import (
	"context"
	"slices"
	"syscall"
	"testing"
	"time"

	"perdure/internal/driver"
)

func TestRecordsOlderThanTheRetentionAreRemovedWhereTheUnitIsOpen(t *testing.T) {
	t.Parallel()
	p, s := newMember(t, "u1-a", nil), newMember(t, "u1-b", nil)
	p.own(1)
	s.copyOf(p)
	p.must(p.Retain(p.ctx(), units, 24*time.Hour))
	for _, key := range []string{"old-1", "old-2", "old-3", "young"} {
		p.paid(key)
	}
	if got, err := p.Tally(p.ctx(), units); err != nil || got[0].Transactions != 4 {
		t.Errorf("%+v %v", got, err)
	}
	p.admin("update perdure.record set recorded_at = recorded_at - interval '26 hours' where key like 'old-%'")
	purges := func(m *member, limit, want int) {
		t.Helper()
		if n, err := m.Purge(m.ctx(), "u1", limit); err != nil || n != want {
			t.Errorf("%d were removed at %s, %v; want %d", n, m.opts.Member, err, want)
		}
	}
	p.admin("update perdure.record set xid = (select xid from perdure.record where key = 'old-1') where key = 'old-2'")
	purges(p, 1, 2) // oldest first, no more than the limit, and those of one transaction together
	if keys := p.keys(); !slices.Equal(keys, []string{"old-3", "young"}) {
		t.Errorf("left are %v", keys)
	}
	p.admin("update perdure.policy set purging = false") // a person's own switch
	purges(p, 2, 0)
	p.admin("update perdure.policy set purging = true")
	purges(s, 2, 0) // a copy
	p.must(p.Close(p.ctx(), units))
	purges(p, 2, 0)
	p.open(2)
	purges(p, 2, 1)
	purges(p, 2, 0)
	if keys := p.keys(); !slices.Equal(keys, []string{"young"}) {
		t.Errorf("left are %v", keys)
	}

	// Whoever began to count before, in between or after them comes to the same totals, on a copy too: an estimate of a loss is a difference.
	counts := func(m *member, when string) {
		t.Helper()
		m.until("it has replayed the last removal", func(driver.Observation) bool {
			got, err := m.Tally(m.ctx(), units)
			return err == nil && got[0].Transactions == 4 && got[0].Amount == "50"
		})
		if got, err := m.Tally(m.ctx(), units); err != nil || got[0].Transactions != 4 || got[0].Amount != "50" {
			t.Errorf("%s that began to count %s: %+v %v", m.opts.Member, when, got, err)
		}
	}
	counts(p, "before")
	for _, m := range []*member{p, s} {
		m.mu.Lock()
		m.tally = tallyState{}
		m.mu.Unlock()
		counts(m, "after")
	}
}

// A removal that waits for a copy holds nothing else of the agent up, and can be given up.
func TestRemovalThatWaitsForADeadCopyIsGivenUp(t *testing.T) {
	t.Parallel()
	p, s := newMember(t, "u1-a", nil), newMember(t, "u1-b", nil)
	p.own(1)
	s.copyOf(p)
	p.growTo(s)
	p.paid("old")
	p.admin("update perdure.record set recorded_at = recorded_at - interval '30 days'")
	s.signal(syscall.SIGSTOP)
	ctx, cancel := context.WithCancel(p.ctx())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := p.Purge(ctx, "u1", 10)
		ended <- err
	}()
	waiting := func(want int) {
		t.Helper()
		end := p.ctx()
		for n := -1; n != want; {
			p.query(&n, `select count(*) from pg_stat_activity where application_name = $1 and wait_event = 'SyncRep'`, sessionName("purge"))
			if end.Err() != nil {
				t.Fatalf("%d wait for the copy, never %d", n, want)
			}
		}
	}
	waiting(1)
	p.must(p.Lease(p.ctx(), units, time.Second))
	if _, err := p.Tally(p.ctx(), units); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("it was called done without the copy")
	}
	waiting(0)
	s.signal(syscall.SIGCONT)
	p.paid("new")
}

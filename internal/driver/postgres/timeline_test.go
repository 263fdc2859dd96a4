package postgres

import (
	"testing"

	"perdure/internal/driver"
)

// A copy that followed a promotion still has the former timeline in its control file. Told to follow another member of the same
// history it must not take itself for one that is ahead (I12).
func TestACopyThatFollowedAPromotionMayChangeItsUpstream(t *testing.T) {
	t.Parallel()
	p, s, c := newMember(t, "u1-a", nil), newMember(t, "u1-b", nil), newMember(t, "u1-c", nil)
	p.own(1)
	s.copyOf(p)
	p.growTo(s)
	p.must(p.EnsureFollower(p.ctx(), "u1-c")) // its role travels with the log
	c.copyOf(s)
	p.paid("one")
	p.kill()
	if _, err := s.Sever(s.ctx()); err != nil {
		t.Fatal(err)
	}
	s.must(s.Promote(s.ctx()))
	s.open(2)
	s.must(s.pay(s.ctx(), s.app(), "two"))
	at := s.observe().Flushed
	c.until("it follows the promotion", func(o driver.Observation) bool { return o.Streaming && o.Replayed >= at })
	c.must(c.Follow(c.ctx(), s.up(), c.now()))
	c.streams()
}

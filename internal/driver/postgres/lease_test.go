package postgres

import (
	"testing"

	"perdure/internal/driver"
)

// PostgreSQL 15 does not flush the first page of an unlogged sequence on a copy: a copy that was made before the first opening and
// made no checkpoint since finds it damaged when it is promoted.
func TestACopyThatMadeNoCheckpointSinceTheFirstOpeningCanBeOpened(t *testing.T) {
	t.Parallel()
	p, s := newMember(t, "u1-a", nil), newMember(t, "u1-b", nil)
	p.made()
	p.start()
	p.must(p.EnsureFollower(p.ctx(), "u1-b"))
	s.copyOf(p)
	p.open(1)
	p.growTo(s)
	p.paid("one")
	at := p.observe().Flushed
	s.until("the opening is replayed", func(o driver.Observation) bool { return o.Replayed >= at })
	if _, err := s.Sever(s.ctx()); err != nil {
		t.Fatal(err)
	}
	s.must(s.Promote(s.ctx()))
	s.open(2)
	s.must(s.pay(s.ctx(), s.app(), "two"))
}

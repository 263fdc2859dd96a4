package postgres

import (
	"testing"
	"time"

	"perdure/internal/driver"
)

func TestPlannedSwitchLosesNothing(t *testing.T) {
	t.Parallel()
	began := time.Now()
	lap := func(what string) {
		t.Logf("%-20s %v", what, time.Since(began).Round(100*time.Microsecond))
		began = time.Now()
	}
	p := newMember(t, "u1-a", nil)
	s := newMember(t, "u1-b", nil)
	c := newMember(t, "u1-c", nil)
	p.own(1)
	p.must(p.EnsureFollower(p.ctx(), "u1-c"))
	lap("own")
	s.copyOf(p)
	lap("copy")
	c.copyOf(s)
	lap("copy cascaded")
	g := p.growTo(s)
	lap("grow")
	t.Logf("%+v", g)
	for range 5 {
		p.must(p.Shrink(p.ctx(), nil))
		lap("shrink")
		g := p.growTo(s)
		lap("grow")
		t.Logf("%+v", g)
	}
	for range 3 {
		p.observe()
		lap("observe")
	}
	t.Logf("%+v", p.observe())
	t.Logf("%+v", s.observe())
	t.Logf("%+v", c.observe())
	began = time.Now()
	p.must(p.Close(p.ctx(), units))
	lap("close")
	fence, err := p.Drain(p.ctx(), units)
	p.must(err)
	lap("drain")
	s.must(s.WaitReplayed(s.ctx(), fence))
	lap("replayed")
	lsn, err := s.Sever(s.ctx())
	s.must(err)
	lap("sever")
	s.must(s.Promote(s.ctx()))
	lap("promote")
	s.open(2)
	lap("open")
	t.Logf("fence %s severed %s", fence, lsn)
	c.until("follows the promotion", func(o driver.Observation) bool { return o.Streaming && o.Timeline == 2 })
	lap("c on timeline 2")
	p.must(p.Stop(p.ctx(), true))
	lap("stop")
}

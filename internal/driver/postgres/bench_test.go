package postgres

import (
	"testing"
	"time"
)

// BenchmarkPlannedSwitch measures the parts of a planned switch between two servers, in milliseconds each.
func BenchmarkPlannedSwitch(b *testing.B) {
	p, s := newMember(b, "u1-a", nil), newMember(b, "u1-b", nil)
	p.own(1)
	s.copyOf(p)
	p.growTo(s)
	sums := map[string]time.Duration{}
	part := func(name string, f func() error) {
		began := time.Now()
		if err := f(); err != nil {
			b.Fatal(err)
		}
		sums[name] += time.Since(began)
	}
	epoch := uint64(1)
	for b.Loop() {
		epoch++
		fence, severed := p.observe().Flushed, p.observe().Flushed
		part("close-ms", func() error { return p.Close(p.ctx(), units) })
		part("drain-ms", func() (err error) { fence, err = p.Drain(p.ctx(), units); return err })
		part("replay-ms", func() error { return s.WaitReplayed(s.ctx(), fence) })
		part("sever-ms", func() (err error) { severed, err = s.Sever(s.ctx()); return err })
		part("promote-ms", func() error { return s.Promote(s.ctx()) })
		part("open-ms", func() error { return s.Open(s.ctx(), owns(epoch), s.opts.Member, units) })
		if severed < fence {
			b.Fatalf("severed at %s before the fence %s", severed, fence)
		}
		// The way back: the former owner returns as a copy, and the next round goes the other way.
		part("stop-ms", func() error { return p.Stop(p.ctx(), true) })
		part("compare-ms", func() error { _, err := p.Diverged(p.ctx(), s.up()); return err })
		part("rewind-ms", func() error { return p.Rewind(p.ctx(), s.up(), nil) })
		if err := s.EnsureFollower(s.ctx(), p.opts.Member); err != nil {
			b.Fatal(err)
		}
		p.life++
		part("follow-ms", func() error { return p.Follow(p.ctx(), s.up(), p.now()) })
		p.streams()
		sums["freeze-ms"] += s.growTo(p).Frozen
		p, s = s, p
	}
	for name, sum := range sums {
		b.ReportMetric(float64(sum)/float64(time.Millisecond)/float64(b.N), name)
	}
}

// BenchmarkObserve measures one look at an owner with a copy.
func BenchmarkObserve(b *testing.B) {
	p, s := newMember(b, "u1-a", nil), newMember(b, "u1-b", nil)
	p.own(1)
	s.copyOf(p)
	p.growTo(s)
	for b.Loop() {
		p.observe()
	}
}

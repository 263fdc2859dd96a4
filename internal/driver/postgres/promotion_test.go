package postgres

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A server that is being promoted removes its signal file a moment before it begins its timeline. Killed between the two it would start as a
// primary of the timeline that it shares with its predecessor: writable, and nobody could tell their logs apart any more (I4, I6, H13).
// Found by killing servers at that moment; see docs/reliability.md.
func TestPromotionThatWasCutShortIsBegunAgain(t *testing.T) {
	t.Parallel()
	p, s := newMember(t, "u1-a", nil), newMember(t, "u1-b", nil)
	p.own(1)
	s.copyOf(p)
	p.growTo(s)
	p.paid("one")
	timeline := p.observe().Timeline
	p.kill()
	if _, err := s.Sever(s.ctx()); err != nil {
		t.Fatal(err)
	}
	s.kill()
	s.must(os.Remove(filepath.Join(s.opts.DataDir, "standby.signal")))

	s.start()
	if o := s.observe(); !o.InRecovery || o.Upstream.Member != "" {
		t.Fatalf("killed in the middle of its promotion and started: %+v", o)
	}
	s.must(s.Promote(s.ctx()))
	if o := s.observe(); o.InRecovery || o.Timeline <= timeline {
		t.Fatalf("promoted on timeline %d, its predecessor is on %d", o.Timeline, timeline)
	}
	s.open(2)
	s.paid("two")
	if keys := s.keys(); !slices.Equal(keys, []string{"one", "two"}) {
		t.Errorf("recorded are %v", keys)
	}
	// Its predecessor can be told apart from it, and returns.
	d, err := p.Diverged(p.ctx(), s.up())
	p.must(err)
	if len(d.Transactions) != 0 {
		t.Errorf("diverged %+v", d.Transactions)
	}
	p.must(s.EnsureFollower(s.ctx(), "u1-a"))
	p.must(p.Rewind(p.ctx(), s.up(), nil))
	p.start()
	p.streams()
}

// A promoted server that crashes is an owner, whatever its signal file was.
func TestPromotedServerThatCrashesIsNoCopyAgain(t *testing.T) {
	t.Parallel()
	p, s := newMember(t, "u1-a", nil), newMember(t, "u1-b", nil)
	p.own(1)
	s.copyOf(p)
	_, err := s.Sever(s.ctx())
	s.must(err)
	s.must(s.Promote(s.ctx()))
	s.kill()
	s.start()
	if o := s.observe(); o.InRecovery {
		t.Errorf("%+v", o)
	}
}

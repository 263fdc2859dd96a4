package postgres

import (
	"context"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/guard"
)

// TestEveryLossySwitchIsAQuarantineOfItsOwn: verdicts go with the data to a copy that takes over without a loss, and count for nothing where
// one takes over with a loss (I7).
func TestEveryLossySwitchIsAQuarantineOfItsOwn(t *testing.T) {
	t.Parallel()
	p, s := newMember(t, "u1-a", nil), newMember(t, "u1-b", nil)
	both := []estate.UnitID{"u1", "u2"}
	began := func(epoch estate.Epoch) estate.Ownership {
		return estate.Ownership{Incarnation: estate.Incarnation{Counter: 1, ID: "test"}, Epoch: epoch}
	}
	p.made()
	p.start()
	opens := func(m *member, quarantine, epoch estate.Epoch) {
		t.Helper()
		m.must(m.Quarantine(m.ctx(), both, began(quarantine)))
		m.must(m.Open(m.ctx(), began(epoch), m.opts.Member, both))
	}
	served := func(m *member, when string, want ...string) {
		t.Helper()
		conn := m.app()
		for _, unit := range both {
			var got []string
			for _, account := range []string{"of-one", "of-two"} {
				err := pgx.BeginFunc(m.ctx(), conn, func(tx pgx.Tx) error {
					if _, err := tx.Exec(m.ctx(), "select perdure.enter($1)", string(unit)); err != nil {
						return err
					}
					_, err := tx.Exec(m.ctx(), "select perdure.admit($1, $2, 'debit')", string(unit), account)
					return err
				})
				if err == nil {
					got = append(got, account)
				} else if sqlState(err) != guard.Quarantined {
					t.Fatal(err)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, %s serves %v, want %v", when, unit, got, want)
			}
		}
	}
	judgeIn := func(ctx context.Context, m *member, quarantine estate.Epoch, touched ...string) error {
		_, err := m.Judge(ctx, driver.Judgement{Units: both, Quarantine: began(quarantine), Query: "select id, true from account", Touched: touched, By: "ann"})
		return err
	}
	judge := func(m *member, quarantine estate.Epoch, touched ...string) error {
		return judgeIn(m.ctx(), m, quarantine, touched...)
	}
	p.must(p.EnsureFollower(p.ctx(), "u1-b"))
	s.copyOf(p)
	p.must(p.Open(p.ctx(), began(1), p.opts.Member, both))
	p.growTo(s)
	p.paid("one")
	p.paid("two")
	p.must(p.Close(p.ctx(), both))
	opens(p, 2, 2)
	served(p, "unjudged")
	p.must(judge(p, 2))
	served(p, "judged", "of-one", "of-two")
	p.must(judge(p, 2, "of-two"))
	served(p, "judged again", "of-one")

	// What a person is told of is on the copies.
	s.signal(syscall.SIGSTOP)
	ctx, cancel := context.WithTimeout(p.ctx(), 2*time.Second)
	defer cancel()
	if err := judgeIn(ctx, p, 2, "of-two"); err == nil {
		t.Error("the verdicts did not wait for the copy")
	}
	s.signal(syscall.SIGCONT)
	p.must(judge(p, 2, "of-two"))

	// What a person was told of stays true when the copy takes over without a loss, which is the same quarantine.
	p.kill()
	_, err := s.Sever(s.ctx())
	s.must(err)
	s.must(s.Promote(s.ctx()))
	opens(s, 2, 3)
	served(s, "after a failover", "of-one")

	s.must(s.Close(s.ctx(), both))
	opens(s, 4, 4)
	served(s, "after a second lossy switch")
	if err := judge(s, 2); errs.KindOf(err) != errs.Conflict {
		t.Errorf("a judgement of the first quarantine was taken in the second: %v", err)
	}
	served(s, "after a judgement that came late")
	s.must(judge(s, 4, "of-one"))
	served(s, "judged once more", "of-two")

	s.must(s.EndQuarantine(s.ctx(), both))
	served(s, "released", "of-one", "of-two")
	s.must(s.Close(s.ctx(), both))
	opens(s, 5, 5)
	served(s, "after a lossy switch behind the release")
}

package postgres

import (
	"context"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"perdure/internal/driver"
	"perdure/internal/driver/drivertest"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/guard"
)

func TestPostgresKeepsTheContract(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, func(t *testing.T) drivertest.Estate {
		return &realEstate{t: t, members: map[estate.MemberID]*member{}}
	})
}

// realEstate is an estate of real servers; each is reached by the others over a link of its own.
type realEstate struct {
	t       *testing.T
	members map[estate.MemberID]*member
}

func (e *realEstate) Member(id estate.MemberID) drivertest.Member {
	m := newMember(e.t, id, nil)
	m.behindLink()
	e.members[id] = m
	return &realMember{m}
}

func (e *realEstate) CutLinks(id estate.MemberID) {
	e.members[id].link.freeze()
	e.members[id].link.cut()
}

func (e *realEstate) HealLinks(id estate.MemberID) { e.members[id].link.thaw() }

type realMember struct{ *member }

// Create copies a directory that was created before: see own.
func (m *realMember) Create(ctx context.Context) error {
	m.made()
	return m.member.Create(ctx)
}

func (m *realMember) ID() estate.MemberID      { return m.opts.Member }
func (m *realMember) Address() driver.Upstream { return m.up() }
func (m *realMember) Keys() []string           { return m.keys() }
func (m *realMember) Kill()                    { m.kill() }
func (m *realMember) Freeze()                  { m.signal(syscall.SIGSTOP) }
func (m *realMember) Thaw()                    { m.signal(syscall.SIGCONT) }

func (m *realMember) Reattach() {
	m.releaseDriver()
	m.attachDriver()
}

func (m *realMember) Commit(ctx context.Context, unit estate.UnitID, key string) error {
	conn, err := pgx.Connect(ctx, m.appURL())
	if err != nil {
		return errs.New(errs.Unavailable, "cannot connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	switch err := m.payAs(ctx, conn, unit, "suite", key, 10); {
	case err == nil:
		return nil
	case sqlState(err) == guard.NotOwner:
		return errs.New(errs.Refused, "not the owner: %w", err)
	default:
		return errs.New(errs.Unknown, "not acknowledged: %w", err)
	}
}

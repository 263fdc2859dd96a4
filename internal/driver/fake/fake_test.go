package fake_test

import (
	"context"
	"testing"

	"perdure/internal/driver"
	"perdure/internal/driver/drivertest"
	"perdure/internal/driver/fake"
	"perdure/internal/estate"
)

func TestFakeKeepsTheContract(t *testing.T) {
	drivertest.Run(t, func(*testing.T) drivertest.Estate {
		return &suite{net: fake.NewNetwork()}
	})
}

type suite struct {
	net     *fake.Network
	members []estate.MemberID
}

func (s *suite) Member(id estate.MemberID) drivertest.Member {
	s.members = append(s.members, id)
	return &member{Database: s.net.Database(id), net: s.net, id: id}
}

func (s *suite) CutLinks(id estate.MemberID) {
	for _, m := range s.members {
		s.net.Cut(id, m)
	}
}

func (s *suite) HealLinks(id estate.MemberID) {
	for _, m := range s.members {
		s.net.Heal(id, m)
	}
}

type member struct {
	*fake.Database
	net *fake.Network
	id  estate.MemberID
}

func (m *member) ID() estate.MemberID      { return m.id }
func (m *member) Address() driver.Upstream { return m.Upstream() }
func (m *member) Keys() []string           { return m.net.Keys(m.id) }
func (m *member) Kill()                    { m.net.Kill(m.id) }
func (m *member) Freeze()                  { m.net.Freeze(m.id) }
func (m *member) Thaw()                    { m.net.Thaw(m.id) }
func (m *member) Reattach()                { m.Database.Release(); m.Database = m.net.Database(m.id) }

func (m *member) Commit(ctx context.Context, unit estate.UnitID, key string) error {
	return m.net.Commit(ctx, m.id, unit, key, 10)
}

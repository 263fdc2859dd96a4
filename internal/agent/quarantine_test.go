package agent

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"perdure/internal/driver"
	"perdure/internal/estate"
	"perdure/internal/unit"
)

// doubts is a database that notes when it is put into quarantine, opened and released.
type doubts struct {
	driver.Database
	notes *notes
}

type notes struct {
	mu    sync.Mutex
	lines []string
}

func (n *notes) add(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, line)
}

// take gives the lines since the last call, repetitions left out.
func (n *notes) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	lines := slices.Compact(n.lines)
	n.lines = nil
	return lines
}

func (d doubts) Quarantine(ctx context.Context, units []estate.UnitID, began estate.Ownership) error {
	d.notes.add("quarantine " + began.String())
	return d.Database.Quarantine(ctx, units, began)
}

func (d doubts) EndQuarantine(ctx context.Context, units []estate.UnitID) error {
	d.notes.add("release")
	return d.Database.EndQuarantine(ctx, units)
}

func (d doubts) Open(ctx context.Context, o estate.Ownership, m estate.MemberID, units []estate.UnitID) error {
	d.notes.add("open " + o.String())
	return d.Database.Open(ctx, o, m, units)
}

// losesTo takes a member over with a loss that two people accept.
func (b *bed) losesTo(id estate.MemberID) {
	b.t.Helper()
	m, _ := b.plane.rec.Record.Member(id)
	b.plane.post(b.t, unit.Transition{
		Kind: unit.Propose, Person: "ann", SwitchID: "s", Mode: unit.Emergency, Member: estate.Life{Member: id, N: m.Life},
		Loss: &unit.Loss{Statement: "lost", Source: "nobody knows"},
	})
	for _, person := range []string{"ann", "ben"} {
		b.plane.post(b.t, unit.Transition{Kind: unit.Accept, Person: person, SwitchID: "s"})
	}
	b.eventually("taken over with a loss", func() bool { return b.openAt(id) && b.whole() })
}

// TestUnitIsInTheQuarantineOfItsLastLossBeforeItIsOpened: no opening goes ahead of it, a reopening and a failover stay in it, and one more
// loss begins another one, whether the first was released or not (I7).
func TestUnitIsInTheQuarantineOfItsLastLossBeforeItIsOpened(t *testing.T) {
	inBed(t, nil, func(d *bed) {
		n := &notes{}
		for _, m := range []estate.MemberID{a, b, c} {
			d.drivers[m] = func(db driver.Database) driver.Database { return doubts{db, n} }
		}
		said := func(when string, want ...string) {
			t.Helper()
			if got := n.take(); !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
		now := func() string { return d.plane.record().Ownership.String() }
		d.up()
		said("at first", "open "+now())
		d.commit(a, "k1")
		d.losesTo(c)
		first := d.plane.record().Ownership
		said("after the loss", "quarantine "+first.String(), "open "+first.String())

		judge := func(m estate.MemberID, began estate.Ownership, units ...estate.UnitID) string {
			rec, _ := d.plane.rec.Record.Member(m)
			j := driver.Judgement{Units: units, Quarantine: began, Query: "select", By: "ann"}
			_, err := ask[driver.Judged](d.t.Context(), &http.Client{Transport: caller{d, ""}}, http.MethodPost, rec, "/v1/judge", j)
			if err == nil {
				return ""
			}
			return err.Error()
		}
		if got := judge(c, first, u1); got != "" {
			t.Errorf("accounts cannot be judged: %s", got)
		}
		if got := judge(c, first.Next(), u1); !strings.Contains(got, "not of the present one") {
			t.Errorf("judged by what was found in another quarantine: %q", got)
		}
		if got := judge(c, first, "u2"); !strings.Contains(got, "unit u1 were not compared") {
			t.Errorf("judged without the receipts of the unit: %q", got)
		}

		d.net.Kill(c)
		d.eventually("failed over", func() bool { return !d.openAt(c) && d.whole() })
		said("after a failover", "quarantine "+first.String(), "open "+now())
		d.losesTo(c)
		said("after a second loss", "quarantine "+now(), "open "+now())
		if first.String() == now() {
			t.Error("the second loss is the first one")
		}

		owner := d.plane.record().Owner.Member
		d.plane.post(t, unit.Transition{Kind: unit.Release, Person: "ann"})
		asks[struct{}](d, owner, "/v1/release", struct{}{})
		said("released", "release")
		if rec := d.plane.record(); rec.Quarantine || !rec.QuarantineOf.IsZero() {
			t.Errorf("the record is not released: %+v", rec)
		}
		d.net.Kill(owner)
		d.eventually("failed over again", func() bool { return !d.openAt(owner) && d.whole() })
		said("after the release", "open "+now())
		d.losesTo(c)
		said("after a loss behind the release", "quarantine "+now(), "open "+now())
	})
}

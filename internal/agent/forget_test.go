package agent

import (
	"slices"
	"testing"
	"time"

	"perdure/internal/estate"
	"perdure/internal/unit"
)

// kept lists the members for which a server keeps log although the group does not name them.
func (b *bed) kept(at estate.MemberID, named ...estate.MemberID) []string {
	b.t.Helper()
	strays, err := b.net.Database(at).Strays(b.t.Context(), named)
	if err != nil {
		b.t.Fatal(err)
	}
	return strays
}

// declare changes the members of the group as people do.
func (b *bed) declare(members ...unit.Member) {
	b.plane.post(b.t, unit.Transition{Kind: unit.Amend, Person: "ann", Members: members})
}

func TestAMemberThatLeftTheGroupHoldsNoLogBack(t *testing.T) {
	inBed(t, nil, func(d *bed) {
		d.up()
		all := d.plane.record().Members
		d.pass(2 * forgetEvery)
		for _, id := range []estate.MemberID{a, b} {
			if got := d.kept(id, a, b); !slices.Equal(got, []string{string(c)}) {
				t.Fatalf("%s keeps log for %q before anybody left", id, got)
			}
		}
		if !d.whole() {
			t.Fatal("a declared member was forgotten")
		}

		d.declare(all[0], all[1])
		d.pass(forgetEvery + time.Second)
		for _, id := range []estate.MemberID{a, b} {
			if got := d.kept(id, a, b); len(got) > 0 {
				t.Errorf("%s still keeps log for %q", id, got)
			}
		}
		if !d.whole() {
			t.Error("the others do not serve")
		}

		d.declare(all...)
		d.eventually("the member follows again", d.whole)
	})
}

func TestNobodyIsForgottenOnTheWordOfAnOldRecord(t *testing.T) {
	inBed(t, nil, func(d *bed) {
		d.up()
		all := d.plane.record().Members
		d.declare(all[0], all[1])
		d.pass(time.Second)
		for id := range d.agents {
			d.plane.link(id).set(func(l *link) { l.down = true })
		}
		d.declare(all...) // the agents do not hear of it
		d.pass(2 * forgetEvery)
		if got := d.kept(a, a, b); !slices.Equal(got, []string{string(c)}) {
			t.Errorf("the owner keeps log for %q", got)
		}
		for id := range d.agents {
			d.plane.link(id).set(func(l *link) { l.down = false })
		}
		d.eventually("all members serve", d.whole)
	})
}

// Commits wait for whoever the setting names, whatever the record says by then.
func TestNobodyIsForgottenForWhomCommitsWait(t *testing.T) {
	inBed(t, nil, func(d *bed) {
		d.up()
		ag := d.agents[a].Agent
		ag.mu.Lock()
		defer ag.mu.Unlock()
		ag.group.Record.Members = ag.group.Record.Members[:1]
		ag.group.Record.InSync = nil
		if got := ag.named(); !slices.Contains(got, b) {
			t.Errorf("%q are kept log for", got)
		}
	})
}

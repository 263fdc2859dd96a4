package postgres

import (
	"slices"
	"testing"

	"perdure/internal/estate"
)

// Slots that somebody else made, for a backup or a stream of changes, are not the product's to drop; nor is the member's own.
func TestOnlySlotsOfMembersAreStrays(t *testing.T) {
	t.Parallel()
	p := newMember(t, "u1-a", nil)
	p.own(1)
	p.must(p.EnsureFollower(p.ctx(), "u1-a"))
	p.must(p.EnsureFollower(p.ctx(), "u1-b"))
	long := estate.MemberID("A-Very-Long-Name-Of-A-Member-That-Nobody-Would-Choose")
	p.must(p.EnsureFollower(p.ctx(), long))
	p.admin("select pg_create_physical_replication_slot('backup'), pg_create_physical_replication_slot('not_perdure_x'), pg_create_physical_replication_slot('perdure')")
	got, err := p.Strays(p.ctx(), nil)
	p.must(err)
	want := []string{SlotOf(long), SlotOf("u1-b")}
	slices.Sort(want)
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Fatalf("strays are %q, want %q", got, want)
	}
	for _, s := range got {
		p.must(p.ForgetFollower(p.ctx(), s))
	}
	if got, err := p.Strays(p.ctx(), nil); err != nil || len(got) > 0 {
		t.Errorf("%q, %v", got, err)
	}
	for _, id := range []estate.MemberID{long, "u1-b"} {
		var there bool
		if p.query(&there, "select exists (select from pg_roles where rolname = $1)", RoleOf(id)); there {
			t.Errorf("the role of %s is there", id)
		}
	}
	var left []string
	p.query(&left, "select array_agg(slot_name::text order by slot_name) from pg_replication_slots")
	if want := []string{"backup", "not_perdure_x", "perdure", SlotOf("u1-a")}; !slices.Equal(left, want) {
		t.Errorf("left are %q, want %q", left, want)
	}
}

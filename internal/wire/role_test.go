package wire_test

import (
	"slices"
	"testing"

	"perdure/internal/wire"
)

// TestNarrowedRolesNeverGiveMoreThanEitherList goes over all pairs of roles: what comes out covers exactly what both cover.
func TestNarrowedRolesNeverGiveMoreThanEitherList(t *testing.T) {
	covers := func(roles []wire.Role, r wire.Role) bool {
		return slices.ContainsFunc(roles, func(one wire.Role) bool { return slices.Contains(one.Covers(), r) })
	}
	for _, a := range wire.Roles() {
		for _, b := range wire.Roles() {
			for _, c := range wire.Roles() {
				roles, limit := []wire.Role{a, b}, []wire.Role{c}
				got := wire.Narrowed(roles, limit)
				for _, r := range wire.Roles() {
					if want := covers(roles, r) && covers(limit, r); covers(got, r) != want {
						t.Errorf("%v within %v is %v: covers %s: %v", roles, limit, got, r, !want)
					}
				}
				for _, r := range got {
					if rest := slices.DeleteFunc(slices.Clone(got), func(o wire.Role) bool { return o == r }); covers(rest, r) {
						t.Errorf("%v within %v is %v: %s is too much", roles, limit, got, r)
					}
				}
			}
		}
	}
}

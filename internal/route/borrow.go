package route

import (
	"fmt"
	"slices"

	"perdure/internal/estate"
)

// Borrow gives the input that follows old when another gateway lends its own. Who owns what is taken over as Merge takes it, so
// nothing ever goes down (I14); systems and instances stay those of the control plane, so a gateway that lies can keep requests
// waiting but cannot have them sent to an address of its choice. A group that old does not know cannot be routed and is left out.
//
// Only a gateway that never heard of any system takes everything, at no version: the first word of the control plane replaces it.
func Borrow(old, lent Input) (Input, []Refusal) {
	known := map[estate.GroupID]bool{}
	for i := range old.Owners {
		known[old.Owners[i].Group] = true
	}
	blank := len(old.Systems) == 0 && old.Version == 0
	var owners []Owner
	var refused []Refusal
	for _, o := range lent.Owners {
		switch {
		case !plain(o.Ownership.Incarnation.ID):
			refused = append(refused, Refusal{o.Group, fmt.Sprintf("incarnation %q cannot stand in a header", o.Ownership.Incarnation.ID)})
		case blank || known[o.Group]:
			owners = append(owners, o)
		}
	}
	if blank {
		lent.Version, lent.Incarnation, lent.Owners = 0, estate.Incarnation{}, owners
		merged, more := Merge(old, lent)
		return merged, append(refused, more...)
	}
	merged := old
	var more []Refusal
	merged.Owners, more = mergeOwners(old.Owners, owners, false)
	return merged, append(refused, more...)
}

// plain reports whether an identity can be part of a header's value.
func plain(id string) bool {
	return len(id) <= 64 && !slices.ContainsFunc([]byte(id), func(c byte) bool { return c <= ' ' || c >= 0x7f })
}

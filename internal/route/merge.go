package route

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"perdure/internal/estate"
)

// Refusal says what of a newer input was not taken over, and why.
type Refusal struct {
	Group  estate.GroupID
	Reason string
}

// Merge gives the input that follows old when next arrives: for every group the newer ownership stays,
// so no unit's ownership ever goes down (I14), whatever order inputs arrive in.
// With equal ownership the newer revision of the record counts. Two incarnations with one counter are marked as in conflict.
// Systems and instances come from next, unless next is older than old in every respect.
func Merge(old, next Input) (Input, []Refusal) {
	newer := next.follows(old)
	merged := next
	var refused []Refusal
	merged.Owners, refused = mergeOwners(old.Owners, next.Owners, newer)
	if newer {
		merged.Instances = withFormer(old.Instances, next.Instances)
	} else {
		refused = append(refused, Refusal{"", fmt.Sprintf("version %s is older than %s", next.position(), old.position())})
		merged.Version, merged.Incarnation, merged.Systems, merged.Instances = old.Version, old.Incarnation, old.Systems, old.Instances
	}
	return merged, refused
}

func (in Input) position() string {
	if in.Incarnation.Counter == 0 {
		return strconv.FormatInt(in.Version, 10)
	}
	return fmt.Sprintf("%d of incarnation %d.%s", in.Version, in.Incarnation.Counter, in.Incarnation.ID)
}

// follows reports whether the systems and instances of an input count after those of old: it was read from a later incarnation
// of the store (I10), or from the same one and not earlier.
func (in Input) follows(old Input) bool {
	if in.Incarnation.After(old.Incarnation) || old.Incarnation.After(in.Incarnation) {
		return in.Incarnation.After(old.Incarnation)
	}
	if in.Version >= old.Version {
		return true
	}
	held := make(map[estate.GroupID]estate.Incarnation, len(old.Owners))
	for i := range old.Owners {
		held[old.Owners[i].Group] = old.Owners[i].Ownership.Incarnation
	}
	return slices.ContainsFunc(in.Owners, func(n Owner) bool {
		before, known := held[n.Group]
		return known && n.Ownership.Incarnation.After(before)
	})
}

// mergeOwners keeps the newer ownership of every group. Whether a group still exists is said by the input whose definitions count.
func mergeOwners(old, next []Owner, newer bool) ([]Owner, []Refusal) {
	var refused []Refusal
	merged := make([]Owner, 0, len(next))
	byGroup := make(map[estate.GroupID]Owner, len(old))
	for _, o := range old {
		byGroup[o.Group] = o
	}
	for _, n := range next {
		o, known := byGroup[n.Group]
		delete(byGroup, n.Group)
		if !known {
			merged = append(merged, n)
			continue
		}
		gone := o.Gone
		if newer {
			gone = n.Gone
		}
		switch {
		case n.Ownership.Conflicts(o.Ownership):
			refused = append(refused, Refusal{n.Group, fmt.Sprintf("ownership %s conflicts with %s", n.Ownership, o.Ownership)})
			o.Conflicted = n.Ownership
		case n.Ownership.Less(o.Ownership):
			refused = append(refused, Refusal{n.Group, fmt.Sprintf("ownership %s is older than %s", n.Ownership, o.Ownership)})
		case o.Ownership.Less(n.Ownership):
			o, gone = n, n.Gone
		case n.Revision < o.Revision:
			refused = append(refused, Refusal{n.Group, fmt.Sprintf("revision %d is older than %d", n.Revision, o.Revision)})
		default:
			if n.Conflicted.IsZero() {
				n.Conflicted = o.Conflicted
			}
			o = n
		}
		o.Gone = gone
		merged = append(merged, o)
	}
	// A group that the input no longer names keeps its ownership: it may be back, and then it must not be lower.
	for _, o := range old {
		if _, left := byGroup[o.Group]; left {
			o.Gone = o.Gone || newer
			merged = append(merged, o)
		}
	}
	slices.SortFunc(merged, func(a, b Owner) int { return cmp.Compare(a.Group, b.Group) })
	return merged, refused
}

// withFormer adds the old instances of every system and site for which there is no new one.
func withFormer(old, next []Instance) []Instance {
	type place struct {
		system estate.SystemID
		site   estate.SiteID
	}
	served := make(map[place]bool, len(next))
	for i := range next {
		served[place{next[i].System, next[i].Site}] = true
	}
	all := slices.Clone(next)
	for _, o := range old {
		if !served[place{o.System, o.Site}] {
			o.Former = true
			all = append(all, o)
		}
	}
	return all
}

// RoutesLike reports whether both inputs route every request alike: only the version and the records' revisions may differ.
func (in Input) RoutesLike(other Input) bool {
	if len(in.Owners) != len(other.Owners) || !reflect.DeepEqual(in.Systems, other.Systems) || !reflect.DeepEqual(in.Instances, other.Instances) {
		return false
	}
	for i := range in.Owners {
		a, b := in.Owners[i], other.Owners[i]
		a.Revision, b.Revision = 0, 0
		if !reflect.DeepEqual(a, b) {
			return false
		}
	}
	return true
}

package route

import (
	"fmt"
	"reflect"
	"slices"

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
	var refused []Refusal
	merged := next
	merged.Owners = make([]Owner, 0, len(next.Owners))
	byGroup := make(map[estate.GroupID]Owner, len(old.Owners))
	for _, o := range old.Owners {
		byGroup[o.Group] = o
	}
	newer := next.Version >= old.Version
	for _, n := range next.Owners {
		o, known := byGroup[n.Group]
		delete(byGroup, n.Group)
		switch {
		case !known:
			merged.Owners = append(merged.Owners, n)
		case n.Ownership.Conflicts(o.Ownership):
			refused = append(refused, Refusal{n.Group, fmt.Sprintf("ownership %s conflicts with %s", n.Ownership, o.Ownership)})
			o.Conflicted, o.Gone = n.Ownership, false
			merged.Owners = append(merged.Owners, o)
		case n.Ownership.Less(o.Ownership):
			refused = append(refused, Refusal{n.Group, fmt.Sprintf("ownership %s is older than %s", n.Ownership, o.Ownership)})
			o.Gone = false
			merged.Owners = append(merged.Owners, o)
		case o.Ownership.Less(n.Ownership):
			if n.Ownership.Incarnation.Counter > o.Ownership.Incarnation.Counter {
				newer = true
			}
			merged.Owners = append(merged.Owners, n)
		case n.Revision < o.Revision:
			refused = append(refused, Refusal{n.Group, fmt.Sprintf("revision %d is older than %d", n.Revision, o.Revision)})
			merged.Owners = append(merged.Owners, o)
		default:
			n.Conflicted = o.Conflicted
			merged.Owners = append(merged.Owners, n)
		}
	}
	if !newer {
		refused = append(refused, Refusal{"", fmt.Sprintf("version %d is older than %d", next.Version, old.Version)})
		merged.Version, merged.Systems, merged.Instances = old.Version, old.Systems, old.Instances
	} else {
		merged.Instances = withFormer(old.Instances, next.Instances)
	}
	// A group that the input no longer names keeps its ownership: it may be back, and then it must not be lower.
	for _, o := range old.Owners {
		if _, left := byGroup[o.Group]; left {
			o.Gone = o.Gone || newer
			merged.Owners = append(merged.Owners, o)
		}
	}
	slices.SortFunc(merged.Owners, func(a, b Owner) int {
		if a.Group < b.Group {
			return -1
		}
		if a.Group > b.Group {
			return 1
		}
		return 0
	})
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

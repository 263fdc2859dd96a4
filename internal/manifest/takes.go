package manifest

import (
	"fmt"
	"reflect"
	"slices"

	"perdure/internal/estate"
)

// Taking is what a set takes away from a unit of another one, or changes under it, that a run acting on the unit goes by.
type Taking struct {
	System estate.SystemID
	Unit   estate.UnitID
	// What says it as a fact of the next set: "unit u1 is gone".
	What string
	// Practice: only runs that do nothing for real go by it.
	Practice bool
}

// Takes gives what would be taken from units if a set took the place of another: they themselves, the copies of their groups, the deployments that
// serve them, whose they are, and what drills on them may do. Nobody misses any of it but a run that is under way.
func Takes(from, to Set) []Taking {
	var list []Taking
	for i := range from.Systems {
		old := &from.Systems[i]
		now := to.System(old.Name)
		for _, u := range old.Units {
			take := func(practice bool, format string, args ...any) {
				list = append(list, Taking{System: old.Name, Unit: u.Name, What: fmt.Sprintf(format, args...), Practice: practice})
			}
			if now == nil {
				take(false, "system %s is gone", old.Name)
				continue
			}
			at := slices.IndexFunc(now.Units, func(n Unit) bool { return n.Name == u.Name })
			if at < 0 {
				take(false, "unit %s is gone", u.Name)
				continue
			}
			takesOfUnit(old, now, &u, &now.Units[at], take)
		}
	}
	return list
}

func takesOfUnit(from, to *System, old, now *Unit, take func(practice bool, format string, args ...any)) {
	if from.Tenant != to.Tenant {
		take(false, "system %s is of another tenant", to.Name)
	}
	if old.Module != now.Module {
		take(false, "unit %s is of module %s", now.Name, now.Module)
	}
	if group, kept := from.Group(old.Group), to.Group(now.Group); group != nil {
		for _, m := range group.Members {
			if kept == nil || !slices.ContainsFunc(kept.Members, func(k Member) bool { return k.ID == m.ID }) {
				take(false, "copy %s of group %s is gone", m.ID, group.Name)
			}
		}
	}
	for _, d := range from.Deployments {
		if d.Module == old.Module && to.Deployment(d.Module, d.Site) == nil {
			take(false, "the deployment of module %s at site %s is gone", d.Module, d.Site)
		}
	}
	if from.Verify != to.Verify {
		take(true, "system %s judges accounts by another query (verify)", to.Name)
	}
	if !reflect.DeepEqual(from.Drill, to.Drill) {
		take(true, "drills on system %s may do something else (drill)", to.Name)
	}
}

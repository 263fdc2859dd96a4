package checker

import (
	"fmt"
	"slices"
	"time"

	"perdure/internal/estate"
	"perdure/internal/lab/history"
)

// quarantine is the time from a takeover with a loss to the first judging of accounts, or the release, of the group.
type quarantine struct {
	units []estate.UnitID
	began estate.Ownership
	until time.Duration // -1: nobody had anything judged
}

// quarantines finds writes that were committed after a takeover with a loss before people had the accounts judged or released them: nothing
// of what is affected is known until then, and so all accounts are (I7).
func (c *check) quarantines() {
	if !c.began.Clearings {
		return
	}
	var all []quarantine
	for _, g := range c.groups {
		for i, r := range g.reigns {
			if r.lossy && g.passesOn(i) {
				all = append(all, quarantine{units: g.units, began: g.reigns[i+1].ownership, until: c.cleared(g, c.mono(r.ended))})
			}
		}
	}
	for i := range c.calls {
		k := &c.calls[i]
		if !k.op.Writes() || k.outcome != history.Acknowledged || k.stamped != "committed" || !k.hasStamp {
			continue
		}
		for _, q := range all {
			if !slices.Contains(q.units, k.unit) || k.ownership.Less(q.began) || q.until >= 0 && k.done >= q.until {
				continue
			}
			c.v.find(Finding{
				Name: UnverifiedWrite, Step: c.name(k.step), Unit: k.unit, Key: k.scope.Key,
				Message: fmt.Sprintf("%s was committed in %s and answered at %s, and since the takeover with a loss in %s nobody had had an account judged, nor released the unit", k.op, k.ownership, k.done.Round(time.Millisecond), q.began),
			})
			break
		}
	}
}

// passesOn reports whether reign i ended with another member: an owner that people confirm in its place has lost nothing.
func (g *group) passesOn(i int) bool {
	next := slices.IndexFunc(g.reigns[i+1:], func(r reign) bool { return r.opened != 0 })
	return next >= 0 && g.reigns[i+1+next].owner != g.reigns[i].owner
}

// cleared is when people first had accounts of the group judged or released, -1: never.
func (c *check) cleared(g *group, since time.Duration) time.Duration {
	for _, k := range c.clearings {
		if k.At.Mono >= since && slices.Contains(g.units, k.Unit) {
			return k.At.Mono
		}
	}
	return -1
}

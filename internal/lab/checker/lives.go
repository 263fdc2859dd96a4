package checker

import (
	"fmt"
	"slices"
	"time"

	"perdure/internal/estate"
)

// dying is how long after its end was written down a server may still answer: its other processes have to notice.
const dying = time.Second

// outlived finds writes in an ownership that was open on a server when that server, or one of its sessions, was killed: every new
// life of a server is closed until it is opened at a new epoch (I1).
func (c *check) outlived(u estate.UnitID, calls []*call) {
	g := c.unitOf[u]
	if g == nil {
		return
	}
	for _, f := range c.faults {
		if f.Skipped != "" || f.until < 0 || len(f.Lives) == 0 {
			continue
		}
		var over reign
		for _, r := range g.reigns {
			if r.opened != 0 && c.mono(r.opened) <= f.from {
				over = r
			}
		}
		if !slices.Contains(f.Lives, over.owner) {
			continue
		}
		for _, k := range calls {
			if !k.op.Writes() || k.sent <= f.until+dying || over.ownership.Less(k.ownership) {
				continue
			}
			c.v.find(Finding{
				Name: OutlivedOwnership, Step: c.name(k.step), Unit: u, Key: k.scope.Key,
				Message: fmt.Sprintf("%s sent at %s was answered in %s, and the server of %s that had it open was killed at %s", k.op, k.sent.Round(time.Millisecond), k.ownership, over.owner, f.until.Round(time.Millisecond)),
			})
		}
	}
}

// severed finds promotions of servers that were not cut off: the history of the final owner names where each promotion ended the
// timeline before, and none may lie beyond what that owner had flushed when it said it was cut (I4). Positions are compared only
// where the record knows as many severings as there were promotions; without that it is not known which belong together.
func (c *check) severed(u estate.UnitID) {
	g := c.unitOf[u]
	if g == nil {
		return
	}
	var cut []reign
	for _, r := range g.reigns {
		if r.severed != 0 {
			cut = append(cut, r)
		}
	}
	forks := c.led.forks[u]
	if len(cut) != len(forks) {
		return
	}
	for i, r := range cut {
		if forks[i] > r.severed {
			c.v.find(Finding{
				Name: UnseveredPromotion, Unit: u,
				Message: fmt.Sprintf("the successor of %s in %s said that it was severed at %s, and its log goes on from there to %s, where it was promoted", r.owner, r.ownership, r.severed, forks[i]),
			})
		}
	}
}

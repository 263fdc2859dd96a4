package checker

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"perdure/internal/estate"
	"perdure/internal/lab/history"
)

// meaningful is the rate of acknowledged writes per second from which a gap says something about the product.
const meaningful = 100

// closedBound is how long a unit may go without an acknowledged write while an in-sync copy lives: three times the 10 s of the protocol.
const closedBound = 30 * time.Second

// gap is a time in which no write of a unit was acknowledged.
type gap struct{ from, until time.Duration }

// gaps measures the time between acknowledged writes of each unit as its clients saw it. Clients inside a cut-off site are left out.
// A gap belongs to the step that has most of it. It is counted to the end of the load where no write came any more.
func (c *check) gaps() {
	acks := map[estate.UnitID][]*call{}
	for _, one := range c.order {
		if one.ack != nil && !one.ack.inside && (one.ack.phase == history.Steady || one.ack.phase == history.Duplicate) {
			acks[one.unit] = append(acks[one.unit], one.ack)
		}
	}
	units := map[estate.UnitID]bool{}
	for i := range c.calls {
		units[c.calls[i].unit] = true
	}
	for _, u := range slices.Sorted(maps.Keys(units)) {
		slices.SortFunc(acks[u], func(a, b *call) int { return cmp.Compare(a.done, b.done) })
		c.unitGaps(u, acks[u])
		c.phases(u, acks[u])
	}
	for i := range c.steps {
		c.sumGaps(&c.steps[i])
	}
}

// unitGaps fills in one unit of every step.
func (c *check) unitGaps(u estate.UnitID, acks []*call) {
	longest := make([]gap, len(c.steps))
	pauses := make([]time.Duration, len(c.steps))
	counts := make([]int, len(c.steps))
	for _, load := range c.loads {
		last := load.from
		note := func(until time.Duration) {
			g := gap{last, until}
			step := c.over(g.from, g.until)
			if step >= 0 && g.until-g.from > longest[step].until-longest[step].from {
				longest[step] = g
			}
			c.bound(step, u, g)
		}
		for _, k := range acks {
			if k.done < load.from || k.done > load.until {
				continue
			}
			note(k.done)
			last = k.done
			if k.step >= 0 {
				counts[k.step]++
			}
		}
		note(load.until)
	}
	for _, p := range pausesOf(acks) {
		if step := c.over(p.from, p.until); step >= 0 {
			pauses[step] = max(pauses[step], p.until-p.from)
		}
	}
	for i := range c.steps {
		s := &c.steps[i]
		g := longest[i]
		one := UnitStep{Unit: u, Gap: g.until - g.from, Pause: pauses[i], Acknowledged: counts[i]}
		if alive := s.until - s.from - max(0, s.overlap(g.from, g.until)); alive > 0 {
			one.Rate = float64(counts[i]) / alive.Seconds()
		}
		s.out.Units = append(s.out.Units, one)
	}
}

// pausesOf gives the times from the last acknowledgement of each ownership to the first of the next.
func pausesOf(acks []*call) (pauses []gap) {
	var newest estate.Ownership
	var last time.Duration // newest acknowledgement of the newest ownership
	for _, k := range acks {
		switch {
		case !k.hasStamp || k.ownership.Less(newest):
			continue
		case newest.Less(k.ownership) && !newest.IsZero():
			pauses = append(pauses, gap{last, k.done})
		}
		newest, last = k.ownership, k.done
	}
	return pauses
}

// bound finds units that were closed for longer than the bound of the step, or of no step where that has less than half of the time.
func (c *check) bound(step int, u estate.UnitID, g gap) {
	most := closedBound
	if step >= 0 && 2*c.steps[step].overlap(g.from, g.until) < g.until-g.from {
		step = -1
	}
	if step >= 0 {
		if c.nobodyMayServe(step) {
			return
		}
		most = cmp.Or(c.steps[step].mark.Expect.MaxClosed, most)
	}
	if took := g.until - g.from; took > most {
		c.v.find(Finding{Name: ClosedTooLong, Step: c.name(step), Unit: u, Message: fmt.Sprintf("no write was acknowledged for %s, the bound is %s", took.Round(time.Millisecond), most)})
	}
}

// sumGaps takes the worst of the units under test.
func (c *check) sumGaps(s *step) {
	under := func(u UnitStep) bool {
		return len(s.mark.Expect.Units) == 0 || slices.Contains(s.mark.Expect.Units, u.Unit)
	}
	for _, u := range s.out.Units {
		if under(u) && u.Rate >= meaningful {
			s.out.GapMeaningful = true
		}
	}
	for _, u := range s.out.Units {
		if under(u) && (u.Rate >= meaningful || !s.out.GapMeaningful) {
			s.out.Gap, s.out.Pause = max(s.out.Gap, u.Gap), max(s.out.Pause, u.Pause)
		}
	}
}

// timelineColumns is about how many intervals a timeline has.
const timelineColumns = 480

// timeline counts acknowledged writes per interval and unit.
func (c *check) timeline() Timeline {
	t := Timeline{Interval: max((c.end / timelineColumns).Round(100*time.Millisecond), 100*time.Millisecond), Units: map[estate.UnitID][]int{}}
	columns := int(c.end/t.Interval) + 1
	for _, one := range c.order {
		if one.ack == nil {
			continue
		}
		if t.Units[one.unit] == nil {
			t.Units[one.unit] = make([]int, columns)
		}
		t.Units[one.unit][one.ack.done/t.Interval]++
	}
	for _, f := range c.faults {
		t.Faults = append(t.Faults, FaultMark{What: f.What, Targets: f.Targets, Start: f.from, End: max(0, f.until), Skipped: f.Skipped})
	}
	return t
}

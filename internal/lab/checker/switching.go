package checker

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"perdure/internal/unit"
)

// faultEcho is how long after its end a fault can still be the cause of a switch.
const faultEcho = 30 * time.Second

// switching finds automatic switches that nothing called for, a second one for the same fault (I16), and steps in which ownership
// changed hands more or less often than the story declared.
func (c *check) switching() {
	counts := make([]map[string]int, len(c.steps))
	for i := range counts {
		counts[i] = map[string]int{}
	}
	used := map[string]bool{} // group and fault
	for i := range c.hands {
		h := &c.hands[i]
		if h.step >= 0 {
			for _, u := range h.group.units {
				counts[h.step][string(u)]++
			}
		}
		if h.mode == unit.Failover {
			c.cause(h, used)
		}
	}
	for i := range c.steps {
		s := &c.steps[i]
		for j := range s.out.Units {
			s.out.Units[j].Switches = counts[i][string(s.out.Units[j].Unit)]
		}
		for _, u := range slices.Sorted(maps.Keys(s.mark.Expect.Switches)) {
			if want, got := s.mark.Expect.Switches[u], counts[i][string(u)]; got != want {
				c.v.find(Finding{Name: WrongSwitches, Step: s.mark.Step, Unit: u, Message: fmt.Sprintf("ownership passed on %d times, declared was %d", got, want)})
			}
		}
	}
}

// cause finds the fault that an automatic switch answers; each fault answers for one switch of a group.
func (c *check) cause(h *handover, used map[string]bool) {
	for _, f := range c.faults {
		id := string(h.group.id) + "\x00" + f.ID
		over := f.until >= 0 && f.until+faultEcho < h.at
		if f.Harmless || f.Skipped != "" || f.from > h.at+slack || over || used[id] {
			continue
		}
		used[id] = true
		return
	}
	c.v.find(Finding{Name: FalseSwitch, Step: c.name(h.step), Message: fmt.Sprintf("%s passed from %s to %s by itself at %s, and no fault was under way that had not caused a switch of it already", h.group.id, h.from.owner, h.to.owner, h.at.Round(time.Millisecond))})
}

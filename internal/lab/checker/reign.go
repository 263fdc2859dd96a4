package checker

import (
	"maps"
	"slices"
	"time"

	"perdure/internal/estate"
	"perdure/internal/unit"
)

// reign is one ownership of one group, as the product's records tell it.
type reign struct {
	ownership estate.Ownership
	owner     estate.MemberID
	opened    int64 // Unix milliseconds, 0: never, or not known
	// The end: when, how, and whether people accepted to lose something by it. ended is 0 for the last.
	ended int64
	mode  unit.Mode
	lossy bool
	// severed is what the successor had flushed when it was cut off, 0 where that is not known.
	severed estate.LSN
}

// group is the story of one replication group.
type group struct {
	id       estate.GroupID
	units    []estate.UnitID
	reigns   []reign // oldest first
	switches map[string]unit.Switch
	// following is the newest ownership whose history each member was seen to follow.
	following map[estate.MemberID]estate.Ownership
}

// handover is ownership passing from one member to another.
type handover struct {
	group *group
	from  reign // the last one of the old member that was opened
	to    reign
	mode  unit.Mode
	lossy bool
	at    time.Duration
	step  int
	loss  *unit.Switch // of a lossy one: what was shown and who accepted
}

// gather joins what the records of a group said at different times.
func (r *run) gather() []*group {
	var groups []*group
	find := func(id estate.GroupID) *group {
		for _, g := range groups {
			if g.id == id {
				return g
			}
		}
		g := &group{id: id, switches: map[string]unit.Switch{}, following: map[estate.MemberID]estate.Ownership{}}
		groups = append(groups, g)
		return g
	}
	for _, fact := range r.groups {
		rec := fact.Record
		g := find(rec.Group)
		g.units = rec.Units
		for _, p := range rec.Past {
			g.note(reign{ownership: p.Ownership, owner: p.Owner.Member, opened: p.Opened, ended: p.Ended, mode: p.Mode, lossy: p.ExpectedLoss, severed: p.Severed})
		}
		g.note(reign{ownership: rec.Ownership, owner: rec.Owner.Member, opened: rec.Opened})
		if rec.Switch != nil {
			g.switches[rec.Switch.ID] = *rec.Switch
		}
		for _, m := range rec.Members {
			if g.following[m.ID].Less(m.Following) {
				g.following[m.ID] = m.Following
			}
		}
	}
	for _, g := range groups {
		slices.SortFunc(g.reigns, func(a, b reign) int { return a.ownership.Compare(b.ownership) })
	}
	return groups
}

// note takes a reign over; what is known of its end wins, and the earliest word of its opening.
func (g *group) note(n reign) {
	for i := range g.reigns {
		old := &g.reigns[i]
		if old.ownership != n.ownership {
			continue
		}
		if old.opened != 0 && (n.opened == 0 || old.opened < n.opened) {
			n.opened = old.opened
		}
		n.severed = max(n.severed, old.severed) // a past reign is written before its successor has opened
		if n.ended != 0 || old.ended == 0 {
			*old = n
		} else {
			old.opened = n.opened
		}
		return
	}
	g.reigns = append(g.reigns, n)
}

// handovers lists how ownership passed from member to member. A reign that never opened (a decision that was passed on, a recovered record)
// is part of the handover it lies in.
func (g *group) handovers(r *run) []handover {
	var hs []handover
	from := -1
	for i, to := range g.reigns {
		if to.opened == 0 {
			continue
		}
		if from >= 0 && g.reigns[from].owner != to.owner {
			first, last := g.between(from, i)
			h := handover{group: g, from: g.reigns[from], to: to, mode: g.reigns[last].mode, at: r.mono(g.reigns[last].ended)}
			for _, between := range g.reigns[first:i] {
				h.lossy = h.lossy || between.lossy
			}
			for _, id := range slices.Sorted(maps.Keys(g.switches)) {
				s := g.switches[id]
				if s.Lossy && !s.Ownership.Less(h.from.ownership) && s.Ownership.Less(h.to.ownership) {
					h.loss = &s
				}
			}
			h.step = r.at(h.at)
			hs = append(hs, h)
		}
		from = i
	}
	return hs
}

// between gives the first and the last of the reigns that a handover from one to another ended. An owner that lived on under the store that was
// left behind may have opened again there, which nobody ended; the reign that was ended is an earlier one then.
func (g *group) between(from, to int) (first, last int) {
	first, last = from, to-1
	left := g.reigns[from]
	for first > 0 && left.ownership.Incarnation != g.reigns[to].ownership.Incarnation && g.reigns[first-1].owner == left.owner && g.reigns[first-1].ownership.Incarnation == left.ownership.Incarnation {
		first--
	}
	for last > first && g.reigns[last].ended == 0 {
		last--
	}
	return first, last
}

// meeting is how long two sides may take to learn of each other once they can: three times what the protocol states (I10).
const meeting = 3 * time.Second

// twoOwners reports whether the story declared that the former owner may live on beside its successor, and people accepted it.
func (c *check) twoOwners(h *handover) bool {
	return h.excused(c.run) && c.steps[h.step].mark.Expect.TwoOwners && h.from.ownership.Incarnation.Counter < h.to.ownership.Incarnation.Counter
}

// apart gives the handover that let another side act while a request of an older incarnation was sent, nil where there is none: the sides were
// cut off from each other, or had only just met again.
func (c *check) apart(u estate.UnitID, o estate.Ownership, sent time.Duration) *handover {
	for i := range c.hands {
		h := &c.hands[i]
		if !c.twoOwners(h) || !slices.Contains(h.group.units, u) || o.Incarnation.Counter >= h.to.ownership.Incarnation.Counter {
			continue
		}
		for _, f := range c.faults {
			if f.What == "cut" && f.Skipped == "" && c.at(f.from) == h.step && sent >= f.from && (f.until < 0 || sent <= f.until+meeting) {
				return h
			}
		}
	}
	return nil
}

// accepted reports whether the product shows two different people who accepted the loss (I11).
func (h *handover) accepted() bool {
	if !h.lossy || h.loss == nil {
		return false
	}
	people := map[string]bool{}
	for _, a := range h.loss.Approvals {
		people[a.By] = true
	}
	return len(people) >= 2
}

// excused reports whether the story declared a loss for the step of the handover and people accepted it.
func (h *handover) excused(r *run) bool {
	return h.accepted() && h.step >= 0 && r.steps[h.step].mark.Expect.Loss
}

package manifest

import (
	"fmt"
	"slices"

	"perdure/internal/estate"
	"perdure/internal/shape"
)

// Permit says why a set may not simply take the place of another: what would send keys to a unit that does not have their data.
// Where data has to move first, applying a manifest is not the way. An error is of kind invalid and unwraps to Problems.
func Permit(from, to Set) error {
	var problems shape.Problems
	for i := range to.Systems {
		now := &to.Systems[i]
		if old := from.System(now.Name); old != nil {
			p := permitter{document: "System " + string(now.Name), from: old, to: now}
			p.permit()
			problems = append(problems, p.problems...)
		}
	}
	return problems.Sorted().Err()
}

type permitter struct {
	document string
	from, to *System
	problems shape.Problems
}

func (p *permitter) refuse(path, allowed, format string, args ...any) {
	p.problems = append(p.problems, shape.Problem{Document: p.document, Field: path, Reason: fmt.Sprintf(format, args...), Allowed: allowed})
}

func (p *permitter) permit() {
	if p.from.Slots != p.to.Slots {
		p.refuse("slots", fmt.Sprint(p.from.Slots), "the number of slots cannot change: every key would fall elsewhere")
		return
	}
	for _, m := range p.to.Modules {
		old := p.from.Module(m.Name)
		if old == nil {
			continue
		}
		if old.Archetype != m.Archetype {
			p.refuse("modules["+m.Name+"].archetype", string(old.Archetype), "the archetype of a module cannot change: give the new module another name")
			continue
		}
		if m.Archetype == estate.Account {
			p.permitSlots(m.Name)
			p.permitOverrides(m.Name)
		}
	}
	for _, u := range p.to.Units {
		i := slices.IndexFunc(p.from.Units, func(old Unit) bool { return old.Name == u.Name })
		if i < 0 {
			continue
		}
		if old := p.from.Units[i]; old.Group != u.Group {
			p.refuse("units["+string(u.Name)+"].group", string(old.Group), "the data of unit %s is in group %s: applying a manifest does not move it", u.Name, old.Group)
		}
	}
	for _, g := range p.to.Groups {
		if old := p.from.Group(g.Name); old != nil {
			p.permitMembers(old, g)
		}
	}
}

func (p *permitter) permitMembers(old *Group, g Group) {
	for _, m := range g.Members {
		i := slices.IndexFunc(old.Members, func(o Member) bool { return o.ID == m.ID })
		if i >= 0 && old.Members[i].Site != m.Site {
			p.refuse(fmt.Sprintf("groups[%s].members[%s].site", g.Name, m.ID), string(old.Members[i].Site),
				"a member does not move to another site: give the copy at %s another id", m.Site)
		}
	}
}

func (p *permitter) permitSlots(module string) {
	before, after := p.from.slotOwners(module), p.to.slotOwners(module)
	type move struct{ from, to estate.UnitID }
	var moves []move
	moved := map[move]Slots{}
	for i := range after {
		m := move{before[i], after[i]}
		if m.from == m.to {
			continue
		}
		if moved[m] == nil {
			moves = append(moves, m)
		}
		moved[m] = moved[m].add(estate.Slot(i))
	}
	for _, m := range moves {
		p.refuse("units["+string(m.to)+"].slots", "the slots it has", "the data of %s is in unit %s: applying a manifest does not move it", slotsWord(moved[m]), m.from)
	}
}

func (p *permitter) permitOverrides(module string) {
	told := map[string]bool{}
	for _, u := range slices.Concat(p.from.Units, p.to.Units) {
		for _, key := range u.Overrides {
			from, to := p.from.ownerOf(module, key), p.to.ownerOf(module, key)
			if u.Module == module && from != to && !told[key] {
				told[key] = true
				p.refuse("units["+string(to)+"].overrides", "key "+key+" in unit "+string(from), "the data of key %q is in unit %s: applying a manifest does not move it", key, from)
			}
		}
	}
}

// slotOwners gives the unit of each slot of an account module.
func (s *System) slotOwners(module string) []estate.UnitID {
	owners := make([]estate.UnitID, s.Slots)
	for _, u := range s.Units {
		if u.Module != module {
			continue
		}
		for _, r := range u.Slots {
			for slot := int(r.From); slot <= int(r.To) && slot < len(owners); slot++ {
				owners[slot] = u.Name
			}
		}
	}
	return owners
}

// ownerOf gives the unit of a routing key: by override, else by slot.
func (s *System) ownerOf(module, key string) estate.UnitID {
	slot := estate.SlotOf([]byte(key), s.Slots)
	var owner estate.UnitID
	for _, u := range s.Units {
		if u.Module != module {
			continue
		}
		if slices.Contains(u.Overrides, key) {
			return u.Name
		}
		if u.Slots.Contains(slot) {
			owner = u.Name
		}
	}
	return owner
}

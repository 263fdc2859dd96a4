package incident

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"perdure/internal/estate"
	"perdure/internal/unit"
)

// Availability is how much of a period a unit, or a system with all of its units, was served.
type Availability struct {
	System estate.SystemID `json:"system"`
	// Unit is empty for the system as a whole: it is disrupted while any of its units is.
	Unit estate.UnitID `json:"unit,omitempty"`
	// From is when the period begins, or the history of ownership, whichever is later; zero where there is no history in it (N5).
	From  time.Time `json:"from,omitzero"`
	Until time.Time `json:"until"`
	// Unplanned and Planned are for how long service was disrupted; what was both counts as unplanned. Disruptions are the unplanned ones that do
	// not overlap, Longest the longest of them.
	Unplanned   time.Duration `json:"unplanned"`
	Planned     time.Duration `json:"planned"`
	Disruptions int           `json:"disruptions"`
	Longest     time.Duration `json:"longest"`
	// Unmeasured are disruptions of which nobody knows since when; they count in no time.
	Unmeasured int `json:"unmeasured,omitempty"`
	// Available is the share of the period without unplanned disruptions, from 0 to 1; nil where there is no history.
	Available *float64 `json:"available"`
}

type span struct{ from, until time.Time }

// outages collects what is known of one unit, or of a system.
type outages struct {
	since              time.Time
	unplanned, planned []span
	unmeasured         int
}

func (o *outages) add(from, until time.Time, planned bool) {
	if planned {
		o.planned = append(o.planned, span{from, until})
	} else {
		o.unplanned = append(o.unplanned, span{from, until})
	}
}

// Served gives the availability of every unit of the records and of every system, in the order of their names, from the history of ownership and
// from incidents as they stand at until or later. Incidents that name systems and no units are about all of their units.
func Served(from, until time.Time, records []unit.Record, gaps []Gap, views []View) []Availability {
	units, systems := map[estate.UnitID]*outages{}, map[estate.SystemID]*outages{}
	of := map[estate.UnitID]estate.SystemID{}
	system := func(id estate.SystemID) *outages {
		if systems[id] == nil {
			systems[id] = &outages{since: from}
		}
		return systems[id]
	}
	for _, r := range records {
		first := beginning(r.Group, gaps)
		for _, u := range r.Units {
			units[u], of[u] = &outages{since: later(from, first)}, r.System
		}
		if s := system(r.System); first.IsZero() || s.since.IsZero() {
			s.since = time.Time{}
		} else {
			s.since = later(s.since, first)
		}
	}
	both := func(named []estate.UnitID, add func(*outages)) {
		whole := map[estate.SystemID]bool{}
		for _, u := range named {
			if units[u] == nil {
				continue
			}
			add(units[u])
			if id := of[u]; !whole[id] { // a group carries several units of a system
				whole[id] = true
				add(system(id))
			}
		}
	}
	for _, g := range gaps {
		if g.First || g.Ended.Before(from) || !g.Ended.Before(until) && !g.Began.Before(until) {
			continue
		}
		if g.Began.IsZero() {
			if !explained(g, views) {
				both(g.Units, func(o *outages) { o.unmeasured++ })
			}
			continue
		}
		both(g.Units, func(o *outages) { o.add(g.Began, g.Ended, g.Planned()) })
	}
	for i := range views {
		v := &views[i]
		end := v.Until
		if end.IsZero() {
			end = until
		}
		if v.From.IsZero() || !v.From.Before(until) || end.Before(from) {
			continue
		}
		if len(v.Units) > 0 {
			both(v.Units, func(o *outages) { o.add(v.From, end, v.Incident.Planned) })
			continue
		}
		for _, id := range v.Systems {
			system(id).add(v.From, end, v.Incident.Planned)
			for u, o := range units {
				if of[u] == id {
					o.add(v.From, end, v.Incident.Planned)
				}
			}
		}
	}
	var out []Availability
	for _, u := range slices.Sorted(maps.Keys(units)) {
		out = append(out, units[u].availability(of[u], u, until))
	}
	for _, id := range slices.Sorted(maps.Keys(systems)) {
		out = append(out, systems[id].availability(id, "", until))
	}
	return out
}

// beginning is since when the history of a group is known; zero: there is none.
func beginning(group estate.GroupID, gaps []Gap) time.Time {
	var first time.Time
	for _, g := range gaps {
		if g.Group == group && (first.IsZero() || g.Ended.Before(first)) {
			first = g.Ended
		}
	}
	return first
}

func later(a, b time.Time) time.Time {
	switch {
	case b.IsZero():
		return b
	case a.After(b):
		return a
	}
	return b
}

// explained reports whether an incident says since when a gap was.
func explained(g Gap, views []View) bool {
	return slices.ContainsFunc(views, func(v View) bool {
		own := v.Group == g.Group && v.Left == g.Left
		return (own || slices.Contains(v.Switches, Switch{Group: g.Group, Left: g.Left})) && !v.From.IsZero()
	})
}

func (o *outages) availability(system estate.SystemID, id estate.UnitID, until time.Time) Availability {
	a := Availability{System: system, Unit: id, From: o.since, Until: until, Unmeasured: o.unmeasured}
	if o.since.IsZero() || !o.since.Before(until) {
		a.From = time.Time{}
		return a
	}
	unplanned := merged(o.unplanned, o.since, until)
	a.Disruptions = len(unplanned)
	for _, s := range unplanned {
		d := s.until.Sub(s.from)
		a.Unplanned += d
		a.Longest = max(a.Longest, d)
	}
	for _, s := range merged(append(slices.Clone(o.unplanned), o.planned...), o.since, until) {
		a.Planned += s.until.Sub(s.from)
	}
	a.Planned -= a.Unplanned
	share := 1 - float64(a.Unplanned)/float64(until.Sub(o.since))
	a.Available = &share
	return a
}

// merged gives the spans within the period, in order, those that overlap or touch as one.
func merged(spans []span, from, until time.Time) []span {
	var within []span
	for _, s := range spans {
		if s.from.Before(from) {
			s.from = from
		}
		if s.until.After(until) {
			s.until = until
		}
		if s.from.Before(s.until) {
			within = append(within, s)
		}
	}
	slices.SortFunc(within, func(a, b span) int { return cmp.Or(a.from.Compare(b.from), a.until.Compare(b.until)) })
	var out []span
	for _, s := range within {
		if n := len(out); n > 0 && !s.from.After(out[n-1].until) {
			if s.until.After(out[n-1].until) {
				out[n-1].until = s.until
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

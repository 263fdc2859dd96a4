package manifest

import (
	"fmt"

	"perdure/internal/calendar"
	"perdure/internal/duty"
	"perdure/internal/estate"
	"perdure/internal/plan"
	"perdure/internal/shape"
)

// Distances beyond which a declared relation is hardly meant. JR/T 0168 3.10 and 3.11 speak of tens and of hundreds of kilometres, "in general".
const (
	sameCityMostKm = 300
	remoteLeastKm  = 100
)

func doubt(set *Set, docs documents) shape.Problems {
	c := newChecker(set, docs)
	for i := range set.Sites {
		for j := range set.Sites[:i] {
			c.doubtPair(&set.Sites[i], docs.sites[i], &set.Sites[j])
		}
	}
	for i := range set.Systems {
		s := &set.Systems[i]
		if s.Hold.MaxRequests >= s.Limits.Concurrent {
			c.tell(docs.systems[i], "hold.maxRequests", "", "held requests count as in flight: %d of one closed unit can use up limits.concurrent %d, and then the system's other units are refused too",
				s.Hold.MaxRequests, s.Limits.Concurrent)
		}
	}
	c.doubtStages()
	c.doubtPlans()
	c.doubtAsked()
	duty.Doubt(set.Rosters, c.tellRoster)
	for i := range set.Plans {
		p := &set.Plans[i]
		for _, m := range calendar.Shut(set.Calendars, p) {
			c.tell(docs.plans[i], "modes", "", "no window of the calendars is for plan %s in mode %s: it cannot be started", p.Name, m)
		}
	}
	return c.problems.Sorted()
}

func (c *checker) doubtPlans() {
	plan.Doubt(c.set.Plans, plan.BuiltIn(), func(i int, field, allowed, reason string) {
		c.tell(c.docs.plans[i], field, allowed, "%s", reason)
	})
}

func (c *checker) doubtPair(s *Site, d *document, other *Site) {
	relation := relationOf(s, other)
	km := s.DistanceKm[other.Name]
	if km == 0 {
		km = other.DistanceKm[s.Name]
	}
	at := shape.Join("distanceKm", string(other.Name))
	switch {
	case relation == estate.SameCity && km > sameCityMostKm:
		c.tell(d, at, "", "sites %s and %s are of one city but %d km apart: one disaster is unlikely to leave the other untouched only if they are remote; check city", s.Name, other.Name, km)
	case relation == estate.Remote && km > 0 && km < remoteLeastKm:
		c.tell(d, at, "", "sites %s and %s are of different cities but only %d km apart: one earthquake or flood may take both", s.Name, other.Name, km)
	}
	for _, f := range []struct{ name, a, b string }{
		{"power", s.FaultDomains.Power, other.FaultDomains.Power},
		{"water", s.FaultDomains.Water, other.FaultDomains.Water},
		{"carrier", s.FaultDomains.Carrier, other.FaultDomains.Carrier},
		{"flood", s.FaultDomains.Flood, other.FaultDomains.Flood},
		{"seismic", s.FaultDomains.Seismic, other.FaultDomains.Seismic},
	} {
		// One city may well be one seismic area.
		if f.a != "" && f.a == f.b && (f.name != "seismic" || relation == estate.Remote) {
			c.tell(d, fmt.Sprintf("faultDomains.%s", f.name), "", "sites %s and %s share the %s domain %q: they fail together by it", s.Name, other.Name, f.name, f.a)
		}
	}
}

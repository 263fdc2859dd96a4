package duty

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"perdure/internal/calendar"
)

// Tell takes a problem of a field of a roster; allowed is empty where the reason says it.
type Tell func(roster int, field, allowed, reason string)

// Estate is what rosters refer to.
type Estate struct {
	Roles        []string
	Participants []string
	// Partial: some document could not be read, so a participant that is missing proves nothing.
	Partial bool
}

// Check holds rosters against themselves, each other and the estate.
func Check(rosters []Roster, e Estate, tell Tell) {
	first := map[string]string{} // duties, and the roster that has them
	for i, r := range rosters {
		for j, d := range r.Duties {
			at := fmt.Sprintf("duties[%d]", j)
			switch other, again := first[d.Name]; {
			case d.Name == "":
			case again:
				tell(i, at+".name", "another name", fmt.Sprintf("duty %q is there already, in roster %s", d.Name, other))
			case slices.Contains(e.Roles, d.Name):
				tell(i, at+".name", "another name", d.Name+" is a role: what is asked of it is asked of everybody who has it")
			case slices.Contains(e.Participants, d.Name):
				tell(i, at+".name", "another name", d.Name+" is a participant: what is asked of it is asked of everybody who belongs to it")
			default:
				first[d.Name] = r.Name
			}
			if d.Of != "" && !slices.Contains(e.Roles, d.Of) && !slices.Contains(e.Participants, d.Of) && !e.Partial {
				tell(i, at+".of", "roles "+strings.Join(e.Roles, ", ")+"; participants "+listed(e.Participants), fmt.Sprintf("%q is neither a role that has duties nor a participant", d.Of))
			}
			checkDuty(d, func(field, allowed, reason string) { tell(i, at+"."+field, allowed, reason) })
		}
	}
}

func checkDuty(d Duty, tell func(field, allowed, reason string)) {
	for j, s := range d.Shifts {
		at := fmt.Sprintf("shifts[%d]", j)
		if s.Name != "" && slices.ContainsFunc(d.Shifts[:j], func(o Shift) bool { return o.Name == s.Name }) {
			tell(at+".name", "another name", fmt.Sprintf("there is a shift %q already", s.Name))
		}
		calendar.CheckSpan(s.Span, func(field, allowed, reason string) { tell(at+"."+field, allowed, reason) })
		for k, name := range s.People {
			if slices.Contains(s.People[:k], name) {
				tell(fmt.Sprintf("%s.people[%d]", at, k), "each person once", name+" stands twice")
			}
		}
	}
	for j, s := range d.Substitutions {
		at := fmt.Sprintf("substitutions[%d]", j)
		if s.Person == s.By && s.Person != "" {
			tell(at+".by", "another person", s.By+" stands in for nobody else")
		}
		if s.Person != "" && !slices.ContainsFunc(d.Shifts, func(o Shift) bool { return slices.Contains(o.People, s.Person) }) {
			tell(at+".person", "people of the shifts", s.Person+" is in no shift of the duty")
		}
		calendar.CheckSpan(calendar.Span{From: s.From, Until: s.Until}, func(field, allowed, reason string) { tell(at+"."+field, allowed, reason) })
	}
}

// Where doubts look: at shifts that come again over a year and a leap day, at others as long as there are some.
var yearLong = Gap{From: time.Date(2027, 10, 1, 0, 0, 0, 0, time.UTC), Until: time.Date(2028, 11, 5, 0, 0, 0, 0, time.UTC)}

// Doubt tells of times without anybody, and of times with two shifts at once, where those are not meant.
// It expects rosters that Check accepts.
func Doubt(rosters []Roster, tell Tell) {
	for i, r := range rosters {
		for j, d := range r.Duties {
			opened, err := open(r, d)
			if err != nil {
				continue // told by its form
			}
			at := fmt.Sprintf("duties[%d].shifts", j)
			p := opened.period()
			list := opened.stretches(p.From, p.Until)
			if !d.PartTime {
				if found := gaps(list, p.Until, mostGaps); len(found) > 0 {
					more := ""
					if n := len(found); n > 1 {
						more = fmt.Sprintf(", and %d more", n-1)
						if n == mostGaps {
							more = ", and more"
						}
					}
					tell(i, at, "", fmt.Sprintf("nobody is on duty as %s %s%s: say partTime where that is meant", d.Name, found[0], more))
				}
			}
			if a, b, when, ok := opened.overlap(list); ok && !d.Overlaps {
				tell(i, at, "", fmt.Sprintf("shifts %s and %s of %s overlap, for the first time %s: say overlaps where that is meant", a, b, d.Name, when))
			}
		}
	}
}

// period is the time in which doubts look: a year where some shift comes again, else from the first shift to the last one.
func (d *duty) period() Gap {
	var p Gap
	for i, s := range d.Shifts {
		if s.Cron != "" {
			return yearLong
		}
		from, until, ok := d.shifts[i].After(time.Time{})
		if !ok {
			continue
		}
		if p.From.IsZero() || from.Before(p.From) {
			p.From = from
		}
		if until.After(p.Until) {
			p.Until = until
		}
	}
	return p
}

// overlap finds two shifts that are on at once, and when; ok is false where there are none.
func (d *duty) overlap(list []stretch) (a, b string, when Gap, ok bool) {
	for n, x := range list {
		if len(x.shifts) < 2 {
			continue
		}
		when.From = x.at
		if n+1 < len(list) {
			when.Until = list[n+1].at
		}
		return d.Shifts[x.shifts[0]].Name, d.Shifts[x.shifts[1]].Name, when, true
	}
	return "", "", Gap{}, false
}

func listed(names []string) string {
	if len(names) == 0 {
		return "(there is none)"
	}
	return strings.Join(names, ", ")
}

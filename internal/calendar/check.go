package calendar

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"perdure/internal/estate"
	"perdure/internal/plan"
	"perdure/internal/shape"
)

// Estate is what calendars refer to.
type Estate struct {
	HasSystem func(estate.SystemID) bool
	HasUnit   func(estate.UnitID) bool
	Plans     []plan.Plan
	// Partial: some document could not be read, so a plan that is missing proves nothing.
	Partial bool
}

// Check holds calendars against themselves, each other and the estate. tell is called with the number of the calendar.
func Check(calendars []Calendar, e Estate, tell plan.Tell) {
	c := checker{estate: e, calendars: calendars, tell: tell, names: map[string]int{}}
	for i := range calendars {
		c.check(i)
	}
}

type checker struct {
	estate    Estate
	calendars []Calendar
	tell      plan.Tell
	names     map[string]int // of windows and so on, with their kind: the calendar that has it
}

func (c *checker) check(i int) {
	cal := &c.calendars[i]
	for j, w := range cal.Windows {
		at := fmt.Sprintf("windows[%d]", j)
		c.unique(i, at, "window", w.Name)
		c.modes(i, at, w.Modes)
		c.span(i, at, w.Span)
		for k, s := range w.Systems {
			if !c.estate.HasSystem(s) {
				c.tell(i, fmt.Sprintf("%s.systems[%d]", at, k), "a system of the estate", fmt.Sprintf("there is no system %q", s))
			}
		}
		for k, u := range w.Units {
			if !c.estate.HasUnit(u) {
				c.tell(i, fmt.Sprintf("%s.units[%d]", at, k), "a unit of the estate", fmt.Sprintf("there is no unit %q", u))
			}
		}
		for k, p := range w.Plans {
			c.plan(i, fmt.Sprintf("%s.plans[%d]", at, k), p)
		}
	}
	for j, f := range cal.Freezes {
		at := fmt.Sprintf("freezes[%d]", j)
		c.unique(i, at, "freeze", f.Name)
		c.modes(i, at, f.Modes)
		c.span(i, at, f.Span)
	}
	for j, cut := range cal.Cutoffs {
		at := fmt.Sprintf("cutoffs[%d]", j)
		c.unique(i, at, "cut-off", cut.Name)
		if cut.System != "" && !c.estate.HasSystem(cut.System) {
			c.tell(i, at+".system", "a system of the estate", fmt.Sprintf("there is no system %q", cut.System))
		}
	}
	for j := range cal.Schedules {
		c.schedule(i, fmt.Sprintf("schedules[%d]", j), &cal.Schedules[j])
	}
}

// unique: what is refused, or overdue, is called by its name alone.
func (c *checker) unique(i int, at, what, name string) {
	if name == "" {
		return
	}
	if first, again := c.names[what+" "+name]; again {
		c.tell(i, at+".name", "another name", fmt.Sprintf("%s %q is there already, in calendar %s", what, name, c.calendars[first].Name))
		return
	}
	c.names[what+" "+name] = i
}

func (c *checker) modes(i int, at string, modes []plan.Mode) {
	for k, m := range modes {
		if slices.Contains(modes[:k], m) {
			c.tell(i, fmt.Sprintf("%s.modes[%d]", at, k), "each mode once", fmt.Sprintf("mode %s stands twice", m))
		}
	}
}

func (c *checker) span(i int, at string, s Span) {
	CheckSpan(s, func(field, allowed, reason string) { c.tell(i, at+"."+field, allowed, reason) })
}

// CheckSpan tells what is wrong with a span that has passed its form.
func CheckSpan(s Span, tell func(field, allowed, reason string)) {
	const together = "cron with duration, or from with until"
	if s.Cron != "" {
		if s.Until != "" {
			tell("until", together, "until does not go with cron")
		}
		if s.Duration == 0 {
			tell("duration", together, "missing")
		}
		fits("duration", s.Cron, s.Duration, tell)
		return
	}
	if s.From == "" {
		return // told by its form
	}
	if s.Duration != 0 {
		tell("duration", together, "duration does not go with from")
	}
	if s.Until == "" {
		tell("until", together, "missing")
		return
	}
	from, err := readWall(s.From)
	until, also := readWall(s.Until)
	if err == nil && also == nil && !from.Before(until) {
		tell("until", "a time after "+s.From, fmt.Sprintf("%s is not after it begins", s.Until))
	}
}

// fits: what lasts longer than until it comes again never ends.
func fits(field, fields string, d shape.Duration, tell func(field, allowed, reason string)) {
	times, err := readCron(fields)
	if err != nil {
		return // told by its form
	}
	if p := period(times); time.Duration(d) > p {
		tell(field, "at most "+shape.Duration(p).String(), fmt.Sprintf("%s is longer than the %s after which %q may come again", d, shape.Duration(p), fields))
	}
}

func (c *checker) plan(i int, at, name string) *plan.Plan {
	j := slices.IndexFunc(c.estate.Plans, func(p plan.Plan) bool { return p.Name == name })
	if j >= 0 {
		return &c.estate.Plans[j]
	}
	if name != "" && !c.estate.Partial {
		var names []string
		for _, p := range c.estate.Plans {
			names = append(names, p.Name)
		}
		c.tell(i, at, "plans "+listed(names), fmt.Sprintf("there is no plan %q", name))
	}
	return nil
}

func (c *checker) schedule(i int, at string, s *Schedule) {
	c.unique(i, at, "schedule", s.Name)
	fits("within", s.Cron, s.Within, func(field, allowed, reason string) { c.tell(i, at+"."+field, allowed, reason) })
	p := c.plan(i, at+".plan", s.Plan)
	if p == nil {
		return
	}
	if s.Mode != "" && !slices.Contains(p.Modes, s.Mode) {
		var modes []string
		for _, m := range p.Modes {
			modes = append(modes, string(m))
		}
		c.tell(i, at+".mode", "modes "+listed(modes), fmt.Sprintf("plan %s is not for mode %s", p.Name, s.Mode))
	}
	if _, err := p.Bind(s.Parameters); err != nil {
		c.tell(i, at+".parameters", "", err.Error())
	}
}

// Shut gives the modes of a plan that need a window and for which no window of the calendars is, on whatever units it acts. Documents without any
// calendar are a part of an estate: nothing is said of them.
func Shut(calendars []Calendar, p *plan.Plan) []plan.Mode {
	if len(calendars) == 0 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(p.Modes), func(m plan.Mode) bool {
		return !slices.Contains(windowed(), m) || slices.ContainsFunc(calendars, func(c Calendar) bool {
			return slices.ContainsFunc(c.Windows, func(w Window) bool {
				return (len(w.Modes) == 0 || slices.Contains(w.Modes, m)) &&
					(len(w.Systems) == 0 || slices.Contains(w.Systems, p.System)) && (len(w.Plans) == 0 || slices.Contains(w.Plans, p.Name))
			})
		})
	})
}

func listed(names []string) string {
	if len(names) == 0 {
		return "(there is none)"
	}
	return strings.Join(names, ", ")
}

package incident

import (
	"fmt"
	"math"
	"time"

	"perdure/internal/estate"
	"perdure/internal/shape"
)

// longest bounds every length of time in rules, most the classes, thresholds and tasks, each.
const (
	longest = 366 * 24 * time.Hour
	most    = 64
)

// Shape is what a document of kind IncidentRules may look like; head are the fields that every document has.
func Shape(head []shape.Field) shape.Shape {
	name := func(doc string) shape.Field {
		return shape.Field{Name: "name", Doc: doc, Shape: shape.Name(shape.NameAllowed), Required: true}
	}
	title := shape.Field{Name: "title", Doc: "Name for people.", Shape: shape.Title()}
	asked := title
	asked.Required = true
	return shape.AnObject(append(head,
		name("Name of the rules."), title,
		shape.Field{Name: "declareWithin", Doc: "How long after its detection an incident may wait until a person declares it; by default for ever.", Shape: shape.DurationBetween(time.Second, longest)},
		shape.Field{Name: "classes", Doc: "Classes from the lightest to the gravest; the first one is that of an incident that reaches no threshold.", Shape: ordered(shape.AList("classes", 0, most, shape.AnObject([]shape.Field{
			name("Name of the class."), title,
			{Name: "thresholds", Doc: "An incident that reaches one of them is in the class, unless it is in a graver one.", Shape: shape.AList("thresholds", 0, most, shape.AnObject([]shape.Field{
				{Name: "systems", Doc: "One of these systems is affected.", Shape: shape.AList("names of systems", 1, 1000, shape.Name("the name of a system"), nil)},
				{Name: "units", Doc: "So many units are affected.", Shape: shape.Number(1, 1_000_000)},
				{Name: "duration", Doc: "Service is disrupted for so long.", Shape: shape.DurationBetween(time.Second, longest)},
				{Name: "amount", Doc: "Business of so much is affected, in whole units of the estate's currency.", Shape: shape.Number(1, math.MaxInt)},
				{Name: "customers", Doc: "So many customers are affected.", Shape: shape.Number(1, math.MaxInt)},
			}), nil)},
		}), shape.By("name")))},
		shape.Field{Name: "tasks", Doc: "What has to be done of an incident, each with a clock that begins with the declaration.", Shape: ordered(shape.AList("tasks", 0, most, shape.AnObject([]shape.Field{
			name("Name of the task."), asked,
			{Name: "sort", Doc: "report: to a regulator or within the institution. announce: to the public or to customers.", Shape: shape.OneOf(Report, Announce, Other), Fallback: "report"},
			{Name: "to", Doc: "Who is told.", Shape: shape.Title()},
			{Name: "owner", Doc: "Whose task it is: a role, or a person.", Shape: shape.Formed(`^[A-Za-z0-9][A-Za-z0-9._:-]*$`, "a role or the name of a person", 128), Required: true},
			{Name: "class", Doc: "The lightest class that it is for; by default all.", Shape: shape.Name("the name of a class")},
			{Name: "for", Doc: "Incidents that it is for.", Shape: shape.OneOf(Unplanned, Planned, All), Fallback: "unplanned"},
			{Name: "within", Doc: "How long after the declaration it has to be done.", Shape: shape.DurationBetween(time.Second, longest), Required: true},
		}), shape.By("name")))},
	))
}

func ordered(s shape.Shape) shape.Shape {
	s.Ordered = true
	return s
}

// Check holds the rules of an estate against themselves and against it. tell is called with the number of the document.
func Check(rules []Rules, hasSystem func(estate.SystemID) bool, tell func(i int, field, allowed, reason string)) {
	for i := range rules {
		if i > 0 {
			tell(i, "name", "one document of kind IncidentRules", fmt.Sprintf("rules %q are there already: an incident has one set of rules", rules[0].Name))
		}
		rules[i].check(hasSystem, func(field, allowed, reason string) { tell(i, field, allowed, reason) })
	}
}

func (r *Rules) check(hasSystem func(estate.SystemID) bool, tell func(field, allowed, reason string)) {
	names := map[string]bool{}
	for i, c := range r.Classes {
		at := fmt.Sprintf("classes[%d]", i)
		if names[c.Name] {
			tell(at+".name", "another name", fmt.Sprintf("class %q is there already", c.Name))
		}
		names[c.Name] = true
		if i > 0 && len(c.Thresholds) == 0 {
			tell(at+".thresholds", "at least one threshold", fmt.Sprintf("nothing reaches class %q; only the first one needs no threshold", c.Name))
		}
		for j, t := range c.Thresholds {
			field := fmt.Sprintf("%s.thresholds[%d]", at, j)
			if i == 0 {
				tell(field, "no threshold of the first class", "the first class is that of an incident that reaches none")
			}
			if t.String() == "" {
				tell(field, "at least one of systems, units, duration, amount, customers", "everything reaches a threshold that says nothing")
			}
			for k, s := range t.Systems {
				if !hasSystem(s) {
					tell(fmt.Sprintf("%s.systems[%d]", field, k), "a system of the estate", fmt.Sprintf("there is no system %q", s))
				}
			}
		}
	}
	tasks := map[string]bool{}
	for i, t := range r.Tasks {
		at := fmt.Sprintf("tasks[%d]", i)
		if tasks[t.Name] {
			tell(at+".name", "another name", fmt.Sprintf("task %q is there already", t.Name))
		}
		tasks[t.Name] = true
		if t.Class != "" && r.rank(t.Class) < 0 {
			tell(at+".class", "classes "+r.names(), fmt.Sprintf("there is no class %q", t.Class))
		}
	}
}

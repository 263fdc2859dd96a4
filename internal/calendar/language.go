package calendar

import (
	"time"

	"perdure/internal/plan"
	"perdure/internal/shape"
)

// longest bounds every length of time in a calendar.
const longest = 366 * 24 * time.Hour

// most bounds the windows, freezes, cut-offs and schedules of one document, each.
const most = 500

// Shape is what a document of kind Calendar may look like; head are the fields that every document has.
func Shape(head []shape.Field) shape.Shape {
	name := func(what string) shape.Field {
		return shape.Field{Name: "name", Doc: "Name of the " + what + ", unique in the estate.", Shape: shape.Name(shape.NameAllowed), Required: true}
	}
	names := func(what string, item shape.Shape) shape.Shape {
		return shape.AList("names of "+what, 1, 1000, item, nil)
	}
	modes := func(of []plan.Mode) shape.Shape {
		return shape.AList("modes", 1, len(of), shape.OneOf(of...), nil)
	}
	cron := shape.Field{Name: "cron", Doc: "When it comes: minute, hour, day of the month, month, day of the week. Where both days are restricted, either counts.", Shape: cronShape(), Required: true}
	return shape.AnObject(append(head,
		shape.Field{Name: "name", Doc: "Name of the calendar.", Shape: shape.Name(shape.NameAllowed), Required: true},
		shape.Field{Name: "title", Doc: "Name for people.", Shape: shape.Title()},
		shape.Field{Name: "timeZone", Doc: "Time zone of all of its times.", Shape: PlaceShape(), Required: true},
		shape.Field{Name: "windows", Doc: "Times in which takeovers, switch-backs, experiments and changes may begin.", Shape: shape.AList("windows", 0, most, Spanned(
			name("window"),
			shape.Field{Name: "title", Doc: "Name for people.", Shape: shape.Title()},
			shape.Field{Name: "modes", Doc: "Modes it is for; by default all that need a window.", Shape: modes(windowed())},
			shape.Field{Name: "systems", Doc: "Systems it is for; by default all.", Shape: names("systems", shape.Name("the name of a system"))},
			shape.Field{Name: "units", Doc: "Units it is for: a run is in it where all that it acts on are. By default all.", Shape: names("units", shape.Name("the name of a unit"))},
			shape.Field{Name: "plans", Doc: "Plans it is for; by default all.", Shape: names("plans", shape.Formed(planPattern, "the name of a plan", 64))},
		), shape.By("name"))},
		shape.Field{Name: "freezes", Doc: "Times 封网期 in which nothing of some modes begins.", Shape: shape.AList("freezes", 0, most, Spanned(
			name("freeze"),
			shape.Field{Name: "reason", Doc: "Why; whoever is refused reads it.", Shape: shape.Title(), Required: true},
			shape.Field{Name: "modes", Doc: "Modes that it forbids; by default all but emergency and failover, which none can.", Shape: modes(freezable())},
		), shape.By("name"))},
		shape.Field{Name: "cutoffs", Doc: "Ends of days 日切 and of settlements 清算截止.", Shape: shape.AList("cut-offs", 0, most, shape.AnObject([]shape.Field{
			name("cut-off"),
			{Name: "system", Doc: "System whose cut-off it is.", Shape: shape.Name("the name of a system"), Required: true},
			cron,
		}), shape.By("name"))},
		shape.Field{Name: "schedules", Doc: "What has to be done again and again.", Shape: shape.AList("schedules", 0, most, shape.AnObject([]shape.Field{
			name("schedule"),
			{Name: "plan", Doc: "Plan whose runs count.", Shape: shape.Formed(planPattern, "the name of a plan", 64), Required: true},
			{Name: "mode", Doc: "Mode of the runs. Those of verification and inspection are started by the platform, others by people.", Shape: shape.OneOf(freezable()...), Required: true},
			{Name: "parameters", Doc: "Parameters of the runs; only runs with these count.", Shape: shape.TableOf("values by name", `^[a-z][a-zA-Z0-9_]{0,63}$`, shape.AnyValue("a value"))},
			cron,
			{Name: "since", Doc: "Times before it do not count.", Shape: WallShape(), Required: true},
			{Name: "within", Doc: "How long after its time a run may begin and count; then it is overdue. At most its period.", Shape: shape.DurationBetween(time.Minute, longest), Required: true},
		}), shape.By("name"))},
	))
}

const planPattern = `^[a-z]([a-z0-9-]{0,62}[a-z0-9])?$`

// Spanned is an object with fields of its own and those of a Span.
func Spanned(own ...shape.Field) shape.Shape {
	s := shape.AnObject(append(own,
		shape.Field{Name: "cron", Doc: "When it begins, again and again.", Shape: cronShape()},
		shape.Field{Name: "duration", Doc: "With cron: how long it lasts, at most its period.", Shape: shape.DurationBetween(time.Minute, longest)},
		shape.Field{Name: "from", Doc: "When it begins, once.", Shape: WallShape()},
		shape.Field{Name: "until", Doc: "With from: when it ends.", Shape: WallShape()},
	))
	s.OneOf = []shape.Field{*s.Field("cron"), *s.Field("from")}
	return s
}

func cronShape() shape.Shape {
	s := shape.Formed(cronPattern, cronAllowed, 200)
	s.Judge = func(value string) error { _, err := readCron(value); return err }
	return s
}

// WallShape is a time of a time zone, such as 2026-12-28 18:00.
func WallShape() shape.Shape {
	s := shape.Formed(`^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}$`, "a time of the calendar's time zone, such as 2026-12-28 18:00", 16)
	s.Judge = func(value string) error { _, err := readWall(value); return err }
	return s
}

// PlaceShape is the name of a time zone.
func PlaceShape() shape.Shape {
	s := shape.Formed(`^[A-Za-z][A-Za-z0-9_+/-]*$`, "the IANA name of a time zone, such as Asia/Shanghai or UTC", 64)
	s.Judge = func(value string) error { _, err := readPlace(value); return err }
	return s
}

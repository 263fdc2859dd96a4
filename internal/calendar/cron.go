package calendar

import (
	"errors"
	"fmt"
	"time"
	_ "time/tzdata" // for machines without a database of time zones of their own

	"github.com/robfig/cron/v3"
)

// cronPattern is narrower than the library, which also takes "*-5", ",," and time zones: what is refused by its form is refused by editors too.
const (
	cronItem    = `(\*|[0-9A-Za-z]{1,3}(-[0-9A-Za-z]{1,3})?)(/[0-9]{1,3})?`
	cronField   = cronItem + `(,` + cronItem + `)*`
	cronPattern = `^` + cronField + `( ` + cronField + `){4}$`
	cronAllowed = "five fields, minute hour day-of-month month day-of-week (0-6 or sun-sat), such as 30 2 * * mon-fri"
)

// errNever is of fields that no date fulfils, such as 30 February.
var errNever = errors.New("no date fulfils it, so it never comes")

// readCron reads the five fields, without a place.
func readCron(text string) (cron.Schedule, error) {
	s, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%w", err)
	}
	if onWall(s, time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, errNever
	}
	return s, nil
}

// onWall gives the next time on a wall's clock, as if it were UTC: the library's own way through changes of the clock leaves times out.
// It looks five years ahead, and 29 February may be eight away. Zero: never.
func onWall(s cron.Schedule, after time.Time) time.Time {
	next := s.Next(after)
	if next.IsZero() {
		next = s.Next(after.AddDate(4, 0, 0))
	}
	return next
}

// Bounds of the search for the shortest period.
const (
	mostTimes = 2000
	untilYear = 2052
)

// period is the shortest time between two times that follow each other, as far as the next 2000 times and 28 years tell.
func period(s cron.Schedule) time.Duration {
	shortest := time.Duration(1<<63 - 1)
	last := onWall(s, time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC))
	for range mostTimes {
		next := onWall(s, last)
		if next.IsZero() || next.Year() > untilYear {
			break
		}
		shortest = min(shortest, next.Sub(last))
		last = next
	}
	return shortest
}

// again is a time that comes again at a place.
type again struct {
	fields cron.Schedule
	place  *time.Location
}

// next gives the first time after the instant; zero: there is none within nine years. It is always after it.
func (a again) next(after time.Time) time.Time {
	wall := onTheWall(after, a.place)
	for {
		wall = onWall(a.fields, wall)
		if wall.IsZero() {
			return wall
		}
		// The clock's second pass over an hour shows times that were there before.
		if t := instant(wall, a.place); t.After(after) {
			return t
		}
	}
}

// farthest is how far back a time is looked for: 29 February may have been left out in a year such as 2100.
const farthest = 10 * 366 * 24 * time.Hour

// last gives the newest time that is not after the instant; zero: there is none within ten years.
func (a again) last(at time.Time) time.Time {
	// after gives the first time after an instant where it is not after at; else zero.
	after := func(t time.Time) time.Time {
		if next := a.next(t); !next.After(at) {
			return next
		}
		return time.Time{}
	}
	back := time.Hour
	last := after(at.Add(-back))
	for ; last.IsZero() && back < farthest; last = after(at.Add(-back)) {
		back = min(4*back, farthest)
	}
	// The newest is not before last, and not after high.
	for high := at; !last.IsZero(); {
		next := after(last)
		if next.IsZero() {
			break
		}
		last = next
		middle := last.Add(high.Sub(last) / 2)
		if next = after(middle); next.IsZero() {
			high = middle
		} else {
			last = next
		}
	}
	return last
}

// onTheWall gives what the clock of a place shows, as if it were UTC.
func onTheWall(t time.Time, place *time.Location) time.Time {
	t = t.In(place)
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// instant is when the clock of a place shows a time for the first time; where it never does, when the clock is put past it (C1).
func instant(wall time.Time, place *time.Location) time.Time {
	near := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), wall.Nanosecond(), place)
	begin, end := near.ZoneBounds()
	found := time.Time{}
	try := func(in time.Time) {
		_, offset := in.Zone()
		t := wall.Add(-time.Duration(offset) * time.Second).In(place)
		if onTheWall(t, place).Equal(wall) && (found.IsZero() || t.Before(found)) {
			found = t
		}
	}
	try(near)
	if !begin.IsZero() {
		try(begin.Add(-1))
	}
	if !end.IsZero() {
		try(end)
	}
	if !found.IsZero() {
		return found
	}
	for _, change := range []time.Time{begin, end} {
		if !change.IsZero() && onTheWall(change.Add(-1), place).Before(wall) && wall.Before(onTheWall(change, place)) {
			return change.In(place)
		}
	}
	return near // the database of time zones contradicts itself
}

// wallForm is how a time on the wall's clock is written.
const wallForm = "2006-01-02 15:04"

func readWall(text string) (time.Time, error) {
	t, err := time.Parse(wallForm, text)
	if err != nil {
		return t, errors.New("there is no such time")
	}
	return t, nil
}

// readPlace reads the name of a time zone. "Local" is none: it is another one on every machine.
func readPlace(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, fmt.Errorf("%q names no time zone", name)
	}
	place, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("the database of time zones has no %q", name)
	}
	return place, nil
}

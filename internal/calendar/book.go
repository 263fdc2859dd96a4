package calendar

import (
	"fmt"
	"slices"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/plan"
)

// Book is all calendars of an estate, ready to be asked. It is never changed.
type Book struct {
	calendars []string
	windows   []window
	freezes   []freeze
	cutoffs   []cutoff
	schedules []schedule
}

type window struct {
	Window
	calendar string
	digest   string
	when     when
}

type freeze struct {
	Freeze
	calendar string
	when     when
}

type cutoff struct {
	Cutoff
	calendar string
	times    again
}

type schedule struct {
	Schedule
	calendar string
	times    again
	since    time.Time
}

// Open makes a book of calendars that have passed Check. An error is of kind invalid: a time zone or a time that cannot be read here.
func Open(calendars []Calendar) (*Book, error) {
	b := &Book{}
	for i := range calendars {
		if err := b.add(&calendars[i]); err != nil {
			return nil, errs.New(errs.Invalid, "calendar %s: %w", calendars[i].Name, err)
		}
	}
	return b, nil
}

func (b *Book) add(c *Calendar) error {
	place, err := readPlace(c.TimeZone)
	if err != nil {
		return err
	}
	b.calendars = append(b.calendars, c.Name)
	for _, w := range c.Windows {
		t, err := whenOf(w.Span, place)
		if err != nil {
			return fmt.Errorf("window %s: %w", w.Name, err)
		}
		sum := digest(c.Name, c.TimeZone, w)
		w.Modes = w.modes()
		b.windows = append(b.windows, window{w, c.Name, sum, t})
	}
	for _, f := range c.Freezes {
		t, err := whenOf(f.Span, place)
		if err != nil {
			return fmt.Errorf("freeze %s: %w", f.Name, err)
		}
		if len(f.Modes) == 0 {
			f.Modes = freezable()
		}
		b.freezes = append(b.freezes, freeze{f, c.Name, t})
	}
	for _, cut := range c.Cutoffs {
		fields, err := readCron(cut.Cron)
		if err != nil {
			return fmt.Errorf("cut-off %s: %w", cut.Name, err)
		}
		b.cutoffs = append(b.cutoffs, cutoff{cut, c.Name, again{fields, place}})
	}
	for _, s := range c.Schedules {
		fields, err := readCron(s.Cron)
		if err != nil {
			return fmt.Errorf("schedule %s: %w", s.Name, err)
		}
		since, err := readWall(s.Since)
		if err != nil {
			return fmt.Errorf("schedule %s: since: %w", s.Name, err)
		}
		b.schedules = append(b.schedules, schedule{s, c.Name, again{fields, place}, instant(since, place)})
	}
	return nil
}

// span is from an instant to another one, which is no part of it.
type span struct{ from, until time.Time }

func (s span) contains(t time.Time) bool { return !t.Before(s.from) && t.Before(s.until) }

// when is a span that comes once, or again and again.
type when struct {
	once  span
	times again // where its fields are not nil
	lasts time.Duration
}

func whenOf(s Span, place *time.Location) (when, error) {
	if s.Cron != "" {
		fields, err := readCron(s.Cron)
		return when{times: again{fields, place}, lasts: time.Duration(s.Duration)}, err
	}
	from, err := readWall(s.From)
	if err != nil {
		return when{}, err
	}
	until, err := readWall(s.Until)
	return when{once: span{instant(from, place), instant(until, place)}}, err
}

// at gives the span that an instant lies in; of several the one that ends last.
func (w when) at(t time.Time) (span, bool) {
	if w.times.fields == nil {
		return w.once, w.once.contains(t)
	}
	var found span
	for from := w.times.next(t.Add(-w.lasts)); !from.IsZero() && !from.After(t); from = w.times.next(from) {
		found = span{from, from.Add(w.lasts)}
	}
	return found, found.contains(t)
}

// after gives the first span that begins after an instant.
func (w when) after(t time.Time) (span, bool) {
	if w.times.fields == nil {
		return w.once, w.once.from.After(t)
	}
	from := w.times.next(t)
	return span{from, from.Add(w.lasts)}, !from.IsZero()
}

// Times is a span on the clock of a place, ready to be asked.
type Times struct{ when when }

// TimesOf reads a span that has passed CheckSpan.
func TimesOf(s Span, timeZone string) (Times, error) {
	place, err := readPlace(timeZone)
	if err != nil {
		return Times{}, err
	}
	w, err := whenOf(s, place)
	return Times{w}, err
}

// At gives the time that an instant lies in, from and until, which is no part of it.
func (t Times) At(instant time.Time) (from, until time.Time, ok bool) {
	s, ok := t.when.at(instant)
	return s.from, s.until, ok
}

// After gives the first time that begins after an instant.
func (t Times) After(instant time.Time) (from, until time.Time, ok bool) {
	s, ok := t.when.after(instant)
	return s.from, s.until, ok
}

// forbids gives the freeze in force that ends last, for a mode; nil: none is.
func (b *Book) forbids(m plan.Mode, t time.Time) (*freeze, span) {
	var found *freeze
	var until span
	for i := range b.freezes {
		f := &b.freezes[i]
		if !slices.Contains(f.Modes, m) {
			continue
		}
		if s, ok := f.when.at(t); ok && (found == nil || s.until.After(until.until)) {
			found, until = f, s
		}
	}
	return found, until
}

// nextFreeze gives the first freeze for a mode that begins after an instant; nil: there is none.
func (b *Book) nextFreeze(m plan.Mode, t time.Time) (*freeze, time.Time) {
	var found *freeze
	var from time.Time
	for i := range b.freezes {
		f := &b.freezes[i]
		if !slices.Contains(f.Modes, m) {
			continue
		}
		if s, ok := f.when.after(t); ok && (found == nil || s.from.Before(from)) {
			found, from = f, s.from
		}
	}
	return found, from
}

// windowsFor are those that are for what is asked.
func (b *Book) windowsFor(a Ask) []*window {
	var out []*window
	for i := range b.windows {
		if w := &b.windows[i]; w.isFor(a) {
			out = append(out, w)
		}
	}
	return out
}

// For gives the windows in which a run of what is asked may begin, each behind the name of its calendar, whenever they are open.
func (b *Book) For(a Ask) []Offer {
	var out []Offer
	for _, w := range b.windowsFor(a) {
		out = append(out, Offer{w.calendar, w.Window})
	}
	return out
}

// Offer is a window of a calendar.
type Offer struct {
	Calendar string
	Window
}

// isFor: what acts on units that nobody knows beforehand is in no window that is for some units only.
func (w *window) isFor(a Ask) bool {
	in := func(u estate.UnitID) bool { return slices.Contains(w.Units, u) }
	return slices.Contains(w.Modes, a.Mode) &&
		(len(w.Systems) == 0 || slices.Contains(w.Systems, a.System)) &&
		(len(w.Plans) == 0 || slices.Contains(w.Plans, a.Plan)) &&
		(len(w.Units) == 0 || !a.OtherUnits && len(a.Units) > 0 && !slices.ContainsFunc(a.Units, func(u estate.UnitID) bool { return !in(u) }))
}

// openAt gives the window of the list that is open at an instant and ends last, and when it and those that follow without a gap end. nil:
// none is open. It looks no further than ahead.
func openAt(windows []*window, t time.Time, ahead time.Duration) (*window, time.Time) {
	var found *window
	until := t
	for until.Sub(t) <= ahead {
		before := until
		for _, w := range windows {
			if s, ok := w.when.at(before); ok && s.until.After(until) {
				until = s.until
				if before.Equal(t) {
					found = w
				}
			}
		}
		if found == nil || until.Equal(before) {
			break
		}
	}
	return found, until
}

// mostSteps bounds how many freezes and windows are gone through for the next opening.
const mostSteps = 1000

// opening gives the first instant, from t on, at which a window is open and no freeze forbids the mode.
func (b *Book) opening(a Ask, windows []*window, t time.Time) (*window, span, bool) {
	for range mostSteps {
		if f, s := b.forbids(a.Mode, t); f != nil {
			t = s.until
			continue
		}
		if w, until := openAt(windows, t, aheadOf(a)); w != nil {
			return w, span{t, until}, true
		}
		var next time.Time
		for _, w := range windows {
			if s, ok := w.when.after(t); ok && (next.IsZero() || s.from.Before(next)) {
				next = s.from
			}
		}
		if next.IsZero() {
			return nil, span{}, false
		}
		t = next
	}
	return nil, span{}, false
}

// aheadOf is how far windows that follow each other are added up.
func aheadOf(a Ask) time.Duration { return min(max(a.Longest, 24*time.Hour), longest) }

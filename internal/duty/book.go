package duty

import (
	"fmt"
	"slices"
	"time"

	"perdure/internal/calendar"
	"perdure/internal/errs"
)

// Book is all rosters of an estate, ready to be asked. It is never changed.
type Book struct{ duties []duty }

type duty struct {
	Duty
	roster string
	shifts []calendar.Times // of Shifts
	subs   []calendar.Times // of Substitutions
}

// Open makes a book of rosters that have passed Check. An error is of kind invalid: a time zone or a time that cannot be read here.
func Open(rosters []Roster) (*Book, error) {
	b := &Book{}
	for _, r := range rosters {
		for _, d := range r.Duties {
			opened, err := open(r, d)
			if err != nil {
				return nil, errs.New(errs.Invalid, "roster %s: duty %s: %w", r.Name, d.Name, err)
			}
			b.duties = append(b.duties, opened)
		}
	}
	return b, nil
}

func open(r Roster, d Duty) (duty, error) {
	out := duty{Duty: d, roster: r.Name}
	for _, s := range d.Shifts {
		t, err := calendar.TimesOf(s.Span, r.TimeZone)
		if err != nil {
			return out, fmt.Errorf("shift %s: %w", s.Name, err)
		}
		out.shifts = append(out.shifts, t)
	}
	for _, s := range d.Substitutions {
		t, err := calendar.TimesOf(calendar.Span{From: s.From, Until: s.Until}, r.TimeZone)
		if err != nil {
			return out, fmt.Errorf("substitution of %s: %w", s.Person, err)
		}
		out.subs = append(out.subs, t)
	}
	return out, nil
}

func (b *Book) find(name string) *duty {
	i := slices.IndexFunc(b.duties, func(d duty) bool { return d.Name == name })
	if i < 0 {
		return nil
	}
	return &b.duties[i]
}

// Of gives the role or participant that a duty is one of; ok is false where there is no such duty.
func (b *Book) Of(name string) (of string, ok bool) {
	if d := b.find(name); d != nil {
		return d.Duty.Of, true
	}
	return "", false
}

// Answers reports whether what is asked of a duty at an instant is asked of a person, as far as the roster says: they are on duty, or nobody is (U3).
// Whether they have the role, or belong to the participant, is for who asks to find out (U2).
func (b *Book) Answers(name, person string, now time.Time) bool {
	d := b.find(name)
	if d == nil {
		return false
	}
	on := d.on(now)
	return len(on) == 0 || slices.ContainsFunc(on, func(p Person) bool { return p.Name == person })
}

// Person is somebody who is on duty.
type Person struct {
	Name  string `json:"name"`
	Shift string `json:"shift"`
	// InPlaceOf is for whom they stand in; empty: for nobody.
	InPlaceOf string `json:"inPlaceOf,omitempty"`
}

// on gives who is on duty at an instant, each once, in the order of the document.
func (d *duty) on(t time.Time) []Person {
	in := func(times calendar.Times) bool { _, _, ok := times.At(t); return ok }
	return d.people(func(shift int) bool { return in(d.shifts[shift]) }, func(sub int) bool { return in(d.subs[sub]) })
}

// people gives who is on duty while these shifts and substitutions are on. Of several substitutions of a person the last one counts, and who stands
// in is not stood in for.
func (d *duty) people(shift, sub func(int) bool) []Person {
	var out []Person
	for i, s := range d.Shifts {
		if !shift(i) {
			continue
		}
		for _, name := range s.People {
			p := Person{Name: name, Shift: s.Name}
			for j, x := range d.Substitutions {
				if x.Person == name && sub(j) {
					p.Name, p.InPlaceOf = x.By, name
				}
			}
			if !slices.ContainsFunc(out, func(o Person) bool { return o.Name == p.Name }) {
				out = append(out, p)
			}
		}
	}
	return out
}

// span is from an instant to another one, which is no part of it.
type span struct{ from, until time.Time }

// mostSpans bounds how many times of one shift are gone through.
const mostSpans = 20000

// spansOf gives the times that touch a period, in their order; no two of one shift overlap.
func spansOf(t calendar.Times, from, until time.Time) []span {
	var out []span
	if a, b, ok := t.At(from); ok {
		out = append(out, span{a, b})
	}
	for a, b, ok := t.After(from); ok && a.Before(until) && len(out) < mostSpans; a, b, ok = t.After(a) {
		out = append(out, span{a, b})
	}
	return out
}

// stretch is a time in which the same shifts and substitutions are on; it lasts until the next one begins.
type stretch struct {
	at     time.Time
	people []Person
	shifts []int // that are on
}

// stretches goes through a period. The first begins with it.
func (d *duty) stretches(from, until time.Time) []stretch {
	all := make([][]span, 0, len(d.shifts)+len(d.subs))
	points := []time.Time{from}
	for _, times := range [][]calendar.Times{d.shifts, d.subs} {
		for _, t := range times {
			spans := spansOf(t, from, until)
			all = append(all, spans)
			for _, s := range spans {
				for _, p := range []time.Time{s.from, s.until} {
					if p.After(from) && p.Before(until) {
						points = append(points, p)
					}
				}
			}
		}
	}
	slices.SortFunc(points, time.Time.Compare)
	points = slices.CompactFunc(points, time.Time.Equal)
	next := make([]int, len(all)) // the span of each that is not over
	out := make([]stretch, 0, len(points))
	for _, p := range points {
		on := func(k int) bool {
			for next[k] < len(all[k]) && !all[k][next[k]].until.After(p) {
				next[k]++
			}
			return next[k] < len(all[k]) && !all[k][next[k]].from.After(p)
		}
		x := stretch{at: p, people: d.people(on, func(j int) bool { return on(len(d.shifts) + j) })}
		for i := range d.shifts {
			if on(i) {
				x.shifts = append(x.shifts, i)
			}
		}
		out = append(out, x)
	}
	return out
}

// change gives the first instant at which other people are on duty than in the first stretch, and who they are; zero: it stays as it is.
func change(list []stretch) (time.Time, []Person) {
	now := names(list[0].people)
	for _, x := range list[1:] {
		if !slices.Equal(names(x.people), now) {
			return x.at, x.people
		}
	}
	return time.Time{}, nil
}

func names(people []Person) []string {
	out := make([]string, len(people))
	for i, p := range people {
		out[i] = p.Name
	}
	slices.Sort(out)
	return out
}

// Gap is a time in which nobody is on duty. Until is zero where nothing comes after it, as far as is looked.
type Gap struct {
	From  time.Time `json:"from"`
	Until time.Time `json:"until,omitzero"`
}

// gaps gives the times without anybody that begin before end; at most most of them.
func gaps(list []stretch, end time.Time, most int) []Gap {
	var out []Gap
	open := false // the last one goes on
	for _, x := range list {
		switch {
		case len(x.people) > 0 && open:
			g := &out[len(out)-1]
			g.From, g.Until = g.From.In(x.at.Location()), x.at // on the clock of its place
			open = false
		case len(x.people) == 0 && !open:
			if len(out) == most || !x.at.Before(end) {
				return out
			}
			out, open = append(out, Gap{From: x.at}), true
		}
	}
	return out
}

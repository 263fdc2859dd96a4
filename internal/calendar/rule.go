package calendar

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"perdure/internal/estate"
	"perdure/internal/plan"
)

// Ask is a run that somebody wants to begin.
type Ask struct {
	// By is who begins it; empty: nobody is known.
	By   string
	Plan string
	Mode plan.Mode
	// System is that of the plan; empty: it names none.
	System estate.SystemID
	// Units are those that it acts on, as far as that is known beforehand; OtherUnits: there may be more.
	Units      []estate.UnitID
	OtherUnits bool
	// Longest is the worst case without people.
	Longest time.Duration
}

// AskOf is what a run of a program with the parameters asks.
func AskOf(program *plan.Program, params map[string]any) Ask {
	targets, all := program.Targets("unit", params)
	longest, _ := program.Longest()
	a := Ask{Plan: program.Plan, Mode: program.Mode, System: program.System, OtherUnits: !all, Longest: longest}
	for _, u := range targets {
		a.Units = append(a.Units, estate.UnitID(u))
	}
	return a
}

// Ruling is what the calendars say about it.
type Ruling struct {
	// Refusal says why it may not begin, and when it may; empty: it may.
	Refusal string
	// Notes are what whoever begins it has to know: they stand in its journal.
	Notes []string
	// In is the window that it begins in; nil: it needs none.
	In *Opening
}

// Unchecked is what is said where there is no calendar, of what needs no window.
const Unchecked = "there is no calendar: no window, freeze or cut-off was looked at"

// noWindow is said where there is no calendar, of what needs a window (W3).
const noWindow = "mode %s needs a window that was approved, and there is no calendar (W3): put a document of kind Calendar with a window into the manifest (perdure apply), " +
	"and have it approved by a commander who does not start the run (perdure calendar approve WINDOW --reason TEXT)"

// Rule says whether a run may begin now, given which windows were approved. An emergency is never refused, and a failover is asked nothing: what speaks
// against an emergency is noted, measured by what a takeover would need. Without any calendar everything may that needs no window.
func (b *Book) Rule(a Ask, s Standing, now time.Time) Ruling {
	needed := plan.ContractOf(a.Mode).Trigger == plan.InWindow
	switch {
	case a.Mode == plan.Failover:
		return Ruling{}
	case len(b.calendars) == 0 && needed:
		return Ruling{Refusal: fmt.Sprintf(noWindow, a.Mode)}
	case len(b.calendars) == 0:
		return Ruling{Notes: []string{Unchecked}}
	case a.Mode == plan.Emergency:
		asked := a
		asked.Mode = plan.Takeover
		against, notes, _ := b.judge(asked, s, now)
		out := Ruling{Notes: notes}
		if against != "" {
			out.Notes = []string{"an emergency waits for nothing, but " + against}
		}
		if cut, at := b.nextCutoff(a.System, now); cut != nil {
			out.Notes = append(out.Notes, cutoffWords(cut, at, now))
		} else {
			out.Notes = append(out.Notes, "no cut-off is known"+of(a.System))
		}
		return out
	}
	against, notes, in := b.judge(a, s, now)
	if against != "" {
		return Ruling{Refusal: against + b.whenNext(a, s, now)}
	}
	out := Ruling{Notes: notes, In: in}
	if cut, at := b.nextCutoff(a.System, now); cut != nil && needed && at.Before(now.Add(a.Longest)) {
		out.Notes = append(out.Notes, fmt.Sprintf("it may take %s without people, longer than until %s", a.Longest, cutoffWords(cut, at, now)))
	}
	return out
}

// judge says what speaks against it, and what has to be known where nothing does, with the window that it begins in.
func (b *Book) judge(a Ask, s Standing, now time.Time) (against string, notes []string, in *Opening) {
	var why []string
	if f, during := b.forbids(a.Mode, now); f != nil {
		why = append(why, fmt.Sprintf("freeze %s forbids mode %s until %s (%s)", f.Name, a.Mode, words(during.until), f.Reason))
	}
	var until time.Time
	var what string
	if plan.ContractOf(a.Mode).Trigger == plan.InWindow {
		windows := b.windowsFor(a)
		w, end := openAt(s.approved(windows, a.By), now, aheadOf(a))
		closed, _ := openAt(windows, now, aheadOf(a))
		switch {
		case len(windows) == 0:
			why = append(why, fmt.Sprintf("no window of the calendars is for plan %s in mode %s", a.Plan, a.Mode))
		case w == nil && closed != nil:
			why = append(why, s.lacks(closed.Name, a.By))
		case w == nil:
			why = append(why, fmt.Sprintf("no window is open for plan %s in mode %s", a.Plan, a.Mode))
		default:
			until, what = end, "what is left of window "+w.Name
			in = &Opening{w.calendar, w.Name, end, s.by(w.Name, a.By)}
		}
	}
	if len(why) > 0 {
		return strings.Join(why, "; "), nil, nil
	}
	if f, from := b.nextFreeze(a.Mode, now); f != nil && (until.IsZero() || from.Before(until)) {
		until, what = from, "what is left until freeze "+f.Name
	}
	if until.IsZero() || a.Longest <= until.Sub(now) {
		return "", nil, in
	}
	return "", []string{fmt.Sprintf("it may take %s without people, longer than %s: %s, until %s", a.Longest, what, left(until, now), words(until))}, in
}

// approved leaves those that count for who begins a run in them.
func (s Standing) approved(windows []*window, starter string) []*window {
	return slices.DeleteFunc(slices.Clone(windows), func(w *window) bool { return len(s.by(w.Name, starter)) == 0 })
}

// whenNext says from when on it may begin; empty: the refusal says it. Where no window was approved it is the next one of those that wait.
func (b *Book) whenNext(a Ask, s Standing, now time.Time) string {
	windows := b.windowsFor(a)
	if plan.ContractOf(a.Mode).Trigger != plan.InWindow || len(windows) == 0 {
		return ""
	}
	if w, at, ok := b.opening(a, s.approved(windows, a.By), now); ok {
		return fmt.Sprintf("; it may begin from %s (window %s, until %s)", words(at.from), w.Name, words(at.until))
	}
	w, at, ok := b.opening(a, windows, now)
	switch {
	case !ok:
		return "; none opens any more"
	case at.from.Equal(now): // its lack is what was said
		return ""
	}
	return fmt.Sprintf("; it may begin from %s (window %s, until %s, once it is approved)", words(at.from), w.Name, words(at.until))
}

// nextCutoff gives the first cut-off of a system after an instant, of any where none is named; nil: there is none.
func (b *Book) nextCutoff(system estate.SystemID, now time.Time) (*cutoff, time.Time) {
	var found *cutoff
	var at time.Time
	for i := range b.cutoffs {
		c := &b.cutoffs[i]
		if system != "" && c.System != system {
			continue
		}
		if t := c.times.next(now); !t.IsZero() && (found == nil || t.Before(at)) {
			found, at = c, t
		}
	}
	return found, at
}

func cutoffWords(c *cutoff, at, now time.Time) string {
	return fmt.Sprintf("cut-off %s of %s in %s, at %s", c.Name, c.System, left(at, now), words(at))
}

func of(system estate.SystemID) string {
	if system == "" {
		return ""
	}
	return " of " + string(system)
}

// words writes an instant on the clock of its place.
func words(t time.Time) string { return t.Format("2006-01-02 15:04 MST") }

// left is the time until an instant, for people.
func left(at, now time.Time) time.Duration { return at.Sub(now).Round(time.Second) }

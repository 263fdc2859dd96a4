package calendar

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"perdure/internal/estate"
	"perdure/internal/plan"
	"perdure/internal/shape"
)

// View is how everything stands at one instant. Times are those of their calendar's place.
type View struct {
	At        time.Time      `json:"at"`
	Calendars []string       `json:"calendars"`
	Windows   []WindowView   `json:"windows"`
	Freezes   []FreezeView   `json:"freezes"`
	Cutoffs   []CutoffView   `json:"cutoffs"`
	Schedules []ScheduleView `json:"schedules"`
}

// WindowView is a window that is open, or the next time that it opens. Those that never open any more are left out, and so are freezes.
type WindowView struct {
	Calendar string            `json:"calendar"`
	Name     string            `json:"name"`
	Title    string            `json:"title,omitempty"`
	Modes    []plan.Mode       `json:"modes"`
	Systems  []estate.SystemID `json:"systems,omitempty"`
	Units    []estate.UnitID   `json:"units,omitempty"`
	Plans    []string          `json:"plans,omitempty"`
	Open     bool              `json:"open"`
	From     time.Time         `json:"from"`
	Until    time.Time         `json:"until"`
	// Digest is of what it allows: who approves it says which one they saw. Approvals are those of it as it stands; none: it waits for approval.
	Digest    string     `json:"digest"`
	Approvals []Approval `json:"approvals"`
}

// Waiting names the windows of a view that wait for approval.
func (v *View) Waiting() []string {
	var out []string
	for _, w := range v.Windows {
		if len(w.Approvals) == 0 {
			out = append(out, w.Name)
		}
	}
	return out
}

// FreezeView is a freeze that is in force, or the next time that it is.
type FreezeView struct {
	Calendar string      `json:"calendar"`
	Name     string      `json:"name"`
	Reason   string      `json:"reason"`
	Modes    []plan.Mode `json:"modes"`
	InForce  bool        `json:"inForce"`
	From     time.Time   `json:"from"`
	Until    time.Time   `json:"until"`
}

// CutoffView is the next time of a cut-off.
type CutoffView struct {
	Calendar string          `json:"calendar"`
	Name     string          `json:"name"`
	System   estate.SystemID `json:"system"`
	At       time.Time       `json:"at"`
}

// State is how a schedule stands.
type State string

// The states.
const (
	Ahead   State = "ahead"   // it has not come yet
	Held    State = "held"    // a run of its newest time goes on, or was done
	Due     State = "due"     // its newest time has come, and no run of it counts yet
	Overdue State = "overdue" // no run of its newest time counted in time
	Frozen  State = "frozen"  // its newest time fell into a freeze
)

// ScheduleView is how a schedule stands.
type ScheduleView struct {
	Calendar string         `json:"calendar"`
	Name     string         `json:"name"`
	Plan     string         `json:"plan"`
	Mode     plan.Mode      `json:"mode"`
	Within   shape.Duration `json:"within"`
	State    State          `json:"state"`
	// Missed are the times, newest first, that went by without a run since the newest that was held; at most 12 are looked at.
	Missed []time.Time `json:"missed,omitempty"`
	// Newest is the newest time that has come, Next the next one.
	Newest time.Time `json:"newest,omitzero"`
	Next   time.Time `json:"next,omitzero"`
	// Run is the newest run that was begun for the schedule, and when.
	Run   string    `json:"run,omitempty"`
	RunAt time.Time `json:"runAt,omitzero"`
	// ByPlatform: the platform begins it; else people do.
	ByPlatform bool `json:"byPlatform,omitempty"`
}

// Run is what is known of a run that was begun for schedules.
type Run struct {
	ID        string
	Schedules []string
	At        time.Time
	// Counts: it goes on, and does not stand at a failure; or it was done.
	Counts bool
}

// mostMissed bounds how many times of a schedule are looked back at.
const mostMissed = 12

// Look says how everything stands, given which windows were approved, and the runs so far.
func (b *Book) Look(standing Standing, runs []Run, now time.Time) View {
	v := View{At: now.UTC(), Calendars: append([]string{}, b.calendars...), Windows: []WindowView{}, Freezes: []FreezeView{}, Cutoffs: []CutoffView{}, Schedules: []ScheduleView{}}
	for i := range b.windows {
		w := &b.windows[i]
		s, open := w.when.at(now)
		ok := open
		if !open {
			s, ok = w.when.after(now)
		}
		if ok {
			v.Windows = append(v.Windows, WindowView{w.calendar, w.Name, w.Title, w.Modes, w.Systems, w.Units, w.Plans, open, s.from, s.until, standing[w.Name].Digest, append([]Approval{}, standing[w.Name].Approvals...)})
		}
	}
	for i := range b.freezes {
		f := &b.freezes[i]
		s, in := f.when.at(now)
		ok := in
		if !in {
			s, ok = f.when.after(now)
		}
		if ok {
			v.Freezes = append(v.Freezes, FreezeView{f.calendar, f.Name, f.Reason, f.Modes, in, s.from, s.until})
		}
	}
	for i := range b.cutoffs {
		c := &b.cutoffs[i]
		if t := c.times.next(now); !t.IsZero() {
			v.Cutoffs = append(v.Cutoffs, CutoffView{c.calendar, c.Name, c.System, t})
		}
	}
	for i := range b.schedules {
		v.Schedules = append(v.Schedules, b.schedule(&b.schedules[i], runs, now))
	}
	slices.SortStableFunc(v.Cutoffs, func(a, b CutoffView) int { return a.At.Compare(b.At) })
	return v
}

func (b *Book) schedule(s *schedule, runs []Run, now time.Time) ScheduleView {
	v := ScheduleView{Calendar: s.calendar, Name: s.Name, Plan: s.Plan, Mode: s.Mode, Within: s.Within, State: Ahead, ByPlatform: s.byPlatform()}
	from := now
	if s.since.After(now) {
		from = s.since.Add(-1)
	}
	v.Next = s.times.next(from)
	for _, r := range runs {
		if slices.Contains(r.Schedules, s.Name) && !r.At.After(now) && r.At.After(v.RunAt) {
			v.Run, v.RunAt = r.ID, r.At
		}
	}
	due := s.times.last(now)
	for range mostMissed {
		if due.IsZero() || due.Before(s.since) {
			break
		}
		end := due.Add(time.Duration(s.Within))
		state := Overdue
		switch {
		case slices.ContainsFunc(runs, func(r Run) bool {
			return r.Counts && slices.Contains(r.Schedules, s.Name) && !r.At.Before(due) && !r.At.After(end)
		}):
			state = Held
		case b.frozen(s, due):
			state = Frozen
		case !now.After(end):
			state = Due
		default:
			v.Missed = append(v.Missed, due)
		}
		if v.Newest.IsZero() {
			v.Newest, v.State = due, state
		}
		if state == Held {
			break
		}
		due = s.times.last(due.Add(-1))
	}
	return v
}

func (b *Book) frozen(s *schedule, at time.Time) bool {
	f, _ := b.forbids(s.Mode, at)
	return f != nil
}

func (s *schedule) byPlatform() bool { return plan.ContractOf(s.Mode).Trigger == plan.Scheduled }

// now gives the time of the schedule that a run that begins now would count for.
func (s *schedule) now(now time.Time) (time.Time, bool) {
	due := s.times.last(now)
	return due, !due.IsZero() && !due.Before(s.since) && !now.After(due.Add(time.Duration(s.Within)))
}

// Counts names the schedules that a run counts for which begins now; params are those of the run, with its defaults.
func (b *Book) Counts(name string, mode plan.Mode, params map[string]any, now time.Time) []string {
	var out []string
	for i := range b.schedules {
		s := &b.schedules[i]
		if s.Plan != name || s.Mode != mode {
			continue
		}
		same := true
		for p, v := range s.Parameters {
			same = same && reflect.DeepEqual(params[p], v)
		}
		if _, ok := s.now(now); ok && same {
			out = append(out, s.Name)
		}
	}
	return out
}

// Begin is a run that the platform has to begin.
type Begin struct {
	Schedule string
	Plan     string
	Mode     plan.Mode
	// Parameters are those of the schedule, without the plan's defaults.
	Parameters map[string]any
	// Due is the time of the schedule.
	Due time.Time
}

// RunID names the run of a plan's schedule and time: whoever begins it, and however often, it is this one.
func (b Begin) RunID() string {
	return fmt.Sprintf("%s-%s-%s", b.Plan, b.Schedule, b.Due.UTC().Format("20060102t1504z"))
}

// Due are the runs that the platform has to begin, whether they were begun or not: of modes that a schedule triggers, of times no longer ago
// than they count, and neither of a time in a freeze nor in one.
func (b *Book) Due(now time.Time) []Begin {
	var out []Begin
	for i := range b.schedules {
		s := &b.schedules[i]
		if !s.byPlatform() || b.frozen(s, now) {
			continue
		}
		if due, ok := s.now(now); ok && !b.frozen(s, due) {
			out = append(out, Begin{s.Name, s.Plan, s.Mode, s.Parameters, due})
		}
	}
	return out
}

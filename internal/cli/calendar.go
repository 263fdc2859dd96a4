package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"perdure/internal/calendar"
	"perdure/internal/plan"
	"perdure/internal/wire"
)

func (s *session) calendarCommand() *cobra.Command {
	return &cobra.Command{
		Use: "calendar", Short: "Windows, freezes, cut-offs and schedules as they stand now, and what is overdue", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			v, err := c.Calendar(cmd.Context(), wire.Fresh)
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(v)
			}
			s.showCalendar(v)
			return nil
		},
	}
}

func (s *session) showCalendar(v calendar.View) {
	if len(v.Calendars) == 0 {
		fmt.Fprintln(s.Out, s.say(noCalendar))
		return
	}
	fmt.Fprintf(s.Out, "%s  %s\n", s.paint(bold, s.say(calendarTitle)), s.say(calendarLine, strings.Join(v.Calendars, ", "), at(v.At.UnixMilli())))
	part := func(title phrase, heads []phrase, rows [][]cell) {
		if len(rows) == 0 {
			return
		}
		fmt.Fprintf(s.Out, "\n%s\n", s.paint(bold, s.say(title)))
		var g grid
		head := make([]cell, len(heads))
		for i, h := range heads {
			head[i] = cell{s.say(h), faint}
		}
		g.cells(head...)
		for _, row := range rows {
			g.cells(row...)
		}
		g.write(s, s.Out, "  ")
	}
	var rows [][]cell
	for _, w := range v.Windows {
		state, c := s.say(closedWindow), plain
		left := s.say(inWord, span(w.From.Sub(v.At)))
		if w.Open {
			state, c, left = s.word("open"), green, s.say(leftWord, span(w.Until.Sub(v.At)))
		}
		rows = append(rows, []cell{{text: w.Name}, {state, c}, {text: left}, {text: placed(w.From)}, {text: placed(w.Until)}, {text: modesOf(w.Modes)}, {text: forWhat(w)}})
	}
	part(windowsTitle, []phrase{colWindow, colState, colLeft, colBegins, colUntil, colModes, colAppliesTo}, rows)
	rows = nil
	for _, f := range v.Freezes {
		state, c := s.say(notYet), plain
		left := s.say(inWord, span(f.From.Sub(v.At)))
		if f.InForce {
			state, c, left = s.say(inForce), red, s.say(leftWord, span(f.Until.Sub(v.At)))
		}
		rows = append(rows, []cell{{text: f.Name}, {state, c}, {text: left}, {text: placed(f.From)}, {text: placed(f.Until)}, {text: modesOf(f.Modes)}, {text: f.Reason}})
	}
	part(freezesTitle, []phrase{colFreeze, colState, colLeft, colBegins, colUntil, colModes, colReason}, rows)
	rows = nil
	for _, c := range v.Cutoffs {
		rows = append(rows, []cell{{text: c.Name}, {text: string(c.System)}, {text: placed(c.At)}, {text: s.say(inWord, span(c.At.Sub(v.At)))}})
	}
	part(cutoffsTitle, []phrase{colCutoff, colSystem, colAt, colLeft}, rows)
	rows = nil
	for _, one := range v.Schedules {
		run := "-"
		if one.Run != "" {
			run = one.Run + " " + placed(one.RunAt.In(one.Next.Location()))
		}
		rows = append(rows, []cell{{text: one.Name}, {text: one.Plan}, {text: string(one.Mode)}, {s.word(string(one.State)), stateColour(one.State)}, {text: run}, {text: placed(one.Next)}})
	}
	part(schedulesTitle, []phrase{colSchedule, colPlan, colMode, colState, colLastRun, colNext}, rows)
	for _, one := range v.Schedules {
		if n := len(one.Missed); n > 0 {
			fmt.Fprintf(s.Out, "  %s\n", s.paint(red, s.say(overdueLine, one.Name, one.Plan, string(one.Mode), one.Within, placed(one.Missed[n-1]), n)))
		}
	}
}

func stateColour(state calendar.State) colour {
	switch state {
	case calendar.Held:
		return green
	case calendar.Due:
		return yellow
	case calendar.Overdue:
		return red
	case calendar.Ahead, calendar.Frozen:
	}
	return plain
}

// overdue names the schedules of which a time was missed.
func overdue(v calendar.View) []string {
	var names []string
	for _, s := range v.Schedules {
		if len(s.Missed) > 0 {
			names = append(names, s.Name)
		}
	}
	return names
}

func modesOf(modes []plan.Mode) string {
	names := make([]string, len(modes))
	for i, m := range modes {
		names[i] = string(m)
	}
	return strings.Join(names, ", ")
}

// forWhat names what a window is limited to.
func forWhat(w calendar.WindowView) string {
	var names []string
	for _, x := range w.Systems {
		names = append(names, string(x))
	}
	for _, x := range w.Units {
		names = append(names, string(x))
	}
	return dash(strings.Join(append(names, w.Plans...), ", "))
}

// placed writes an instant on the clock of its calendar's place.
func placed(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format("2006-01-02 15:04 -07:00")
}

// span writes a long time for people: "3 d 4 h", and a short one as millis does.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	if d < 2*day {
		return millis(d.Milliseconds())
	}
	return fmt.Sprintf("%d d %d h", d/day, d%day/time.Hour)
}

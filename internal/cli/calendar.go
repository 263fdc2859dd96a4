package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"perdure/internal/calendar"
	"perdure/internal/errs"
	"perdure/internal/plan"
	"perdure/internal/wire"
)

func (s *session) calendarCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "calendar", Short: "Windows, freezes, cut-offs and schedules as they stand now, and what is overdue", Args: exactly(),
		Long: `Takeovers, switch-backs, experiments and changes begin in a window that was approved, by somebody else than who starts them. An approval is of
the window as it stands: another time, mode, system, unit or plan, and it waits for approval again.`,
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
	c.AddCommand(s.approveWindowCommand(), s.revokeWindowCommand())
	return c
}

func (s *session) approveWindowCommand() *cobra.Command {
	var reason string
	var yes bool
	c := &cobra.Command{
		Use: "approve WINDOW --reason TEXT", Short: "Approve a window as it stands: planned runs of other people may begin in it, yours never",
		Args: exactly("WINDOW"), ValidArgsFunction: s.completeWindows,
		RunE: func(cmd *cobra.Command, args []string) error {
			if reason == "" {
				return usagef("--reason TEXT is missing: it stands in the audit log")
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			v, err := c.Calendar(cmd.Context(), wire.Fresh)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(v.Windows, func(w calendar.WindowView) bool { return w.Name == args[0] })
			if i < 0 {
				return errs.New(errs.NotFound, "no window %q opens any more, or there is none; perdure calendar shows those that do", args[0])
			}
			w := v.Windows[i]
			if !s.json {
				s.showWindows(v.At, w)
			}
			if err := s.confirm(yes, s.say(askApprove, w.Name), ""); err != nil {
				return err
			}
			approved, err := c.ApproveWindow(cmd.Context(), w.Name, wire.ApproveWindow{Digest: w.Digest, Reason: reason})
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(approved)
			}
			fmt.Fprintln(s.Out, s.say(windowApproved, w.Name, approvers(approved.Approvals)))
			return nil
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; it stands in the audit log, and in the journals of runs that begin in it")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

func (s *session) revokeWindowCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "revoke WINDOW --reason TEXT", Short: "Take back the approvals of a window: nothing begins in it any more, and what has begun goes on",
		Args: exactly("WINDOW"), ValidArgsFunction: s.completeWindows,
		RunE: func(cmd *cobra.Command, args []string) error {
			if reason == "" {
				return usagef("--reason TEXT is missing: it stands in the audit log")
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			if err := c.RevokeWindow(cmd.Context(), args[0], reason); err != nil {
				return err
			}
			if !s.json {
				fmt.Fprintln(s.Out, s.say(windowRevoked, args[0]))
			}
			return nil
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; it stands in the audit log")
	return c
}

// completeWindows is silent where the estate does not answer at once.
func (s *session) completeWindows(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var out []string
	if c, err := s.estate(); err == nil && len(args) == 0 {
		ctx, cancel := context.WithTimeout(cmd.Context(), time.Second)
		defer cancel()
		if v, err := c.Calendar(ctx, wire.Local); err == nil {
			for _, w := range v.Windows {
				out = append(out, w.Name)
			}
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func (s *session) showCalendar(v calendar.View) {
	if len(v.Calendars) == 0 {
		fmt.Fprintln(s.Out, s.say(noCalendar))
		return
	}
	fmt.Fprintf(s.Out, "%s  %s\n", s.paint(bold, s.say(calendarTitle)), s.say(calendarLine, strings.Join(v.Calendars, ", "), at(v.At.UnixMilli())))
	if len(v.Windows) > 0 {
		fmt.Fprintf(s.Out, "\n%s\n", s.paint(bold, s.say(windowsTitle)))
		s.showWindows(v.At, v.Windows...)
	}
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

// showWindows lists windows, and by whom they were approved.
func (s *session) showWindows(now time.Time, windows ...calendar.WindowView) {
	var g grid
	var head []cell
	for _, h := range []phrase{colWindow, colState, colLeft, colBegins, colUntil, colModes, colAppliesTo, colApproved} {
		head = append(head, cell{s.say(h), faint})
	}
	g.cells(head...)
	for _, w := range windows {
		state, c := cell{text: s.say(closedWindow)}, plain
		left := s.say(inWord, span(w.From.Sub(now)))
		if w.Open {
			state.text, c, left = s.word("open"), green, s.say(leftWord, span(w.Until.Sub(now)))
		}
		approved := cell{s.say(waitsForApproval), yellow}
		if len(w.Approvals) > 0 {
			approved, state.colour = cell{text: approvers(w.Approvals)}, c
		}
		g.cells(cell{text: w.Name}, state, cell{text: left}, cell{text: placed(w.From)}, cell{text: placed(w.Until)}, cell{text: modesOf(w.Modes)}, cell{text: forWhat(w)}, approved)
	}
	g.write(s, s.Out, "  ")
}

// approvers names who approved a window, and when.
func approvers(list []calendar.Approval) string {
	var out []string
	for _, a := range list {
		out = append(out, a.By+" "+at(a.At.UnixMilli()))
	}
	return strings.Join(out, ", ")
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

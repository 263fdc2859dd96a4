package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"perdure/internal/errs"
	"perdure/internal/measure"
	"perdure/internal/plan"
	"perdure/internal/wire"
)

func (s *session) planPreflightCommand() *cobra.Command {
	var mode string
	var set []string
	c := &cobra.Command{
		Use: "preflight PLAN --mode MODE", Short: "Look ahead: how long a run will take, and what speaks against it",
		Long: `Look ahead at a run of a plan of the applied manifest: its worst case, how long it takes by what earlier runs took, and whether
it can meet its objective. Nothing is started. Exit code 3 where something speaks against the start.`,
		Example: "  perdure plan preflight takeover-core --mode takeover --set to=b",
		Args:    exactly("PLAN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			program, err := s.programOf(cmd.Context(), c, args[0], plan.Mode(mode))
			if err != nil {
				return err
			}
			params, err := paramsOf(program, set)
			if err != nil {
				return err
			}
			f, err := c.Preflight(cmd.Context(), args[0], wire.PreflightRequest{Mode: program.Mode, Params: params})
			if err != nil {
				return err
			}
			if s.json {
				if err := s.emit(f); err != nil {
					return err
				}
			} else {
				s.showPreflight(f)
			}
			if len(f.Findings) > 0 {
				return errs.New(errs.Refused, "plan %s: findings: %d", args[0], len(f.Findings))
			}
			return nil
		},
	}
	c.Flags().StringVar(&mode, "mode", "", "mode of the run: "+modeNames())
	c.Flags().StringArrayVar(&set, "set", nil, "parameter NAME=VALUE; may be repeated")
	_ = c.RegisterFlagCompletionFunc("mode", cobra.FixedCompletions(strings.Split(modeNames(), ", "), cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (s *session) showPreflight(f measure.Preflight) {
	target := "-"
	if f.RTO > 0 {
		target = took(f.RTO)
	}
	fmt.Fprintf(s.Out, "%s %s\n", s.paint(bold, f.Plan), s.say(preflightHead, string(f.Mode), target))
	line := func(p phrase, args ...any) { fmt.Fprintln(s.Out, "  "+s.say(p, args...)) }
	line(worstLine, took(f.Forecast.Worst), dash(strings.Join(f.Forecast.Path, " → ")))
	if f.Forecast.P50 != nil && f.Forecast.P95 != nil {
		line(quantileLine, took(*f.Forecast.P50), took(*f.Forecast.P95), f.Forecast.Runs)
	} else {
		line(noHistory)
	}
	if len(f.Forecast.Endless) > 0 {
		line(endlessLine, strings.Join(f.Forecast.Endless, ", "))
	}
	if f.Forecast.Runs > 0 && len(f.Forecast.Unseen) > 0 {
		line(unseenLine, strings.Join(f.Forecast.Unseen, ", "))
	}
	if len(f.Missing) > 0 {
		line(missingLine, strings.Join(f.Missing, ", "))
	}
	unknown := 0
	for _, l := range f.Looked {
		if l.Unknown != "" {
			unknown++
			fmt.Fprintf(s.Out, "  %s %s\n", s.paint(yellow, "?"), s.say(notLookedYet, l.Step, l.Unknown))
		}
	}
	if n := len(f.Looked) - unknown; n > 0 {
		line(lookedLine, n)
	}
	for _, one := range f.Findings {
		fmt.Fprintf(s.Out, "  %s %s\n", s.paint(red, "✗"), s.against(one, f.RTO))
	}
	switch {
	case len(f.Findings) > 0:
	case len(f.Missing) > 0 || unknown > 0:
		fmt.Fprintf(s.Out, "  %s %s\n", s.paint(yellow, "?"), s.say(preflightSoFar))
	default:
		fmt.Fprintf(s.Out, "  %s %s\n", s.paint(green, "✓"), s.say(preflightGood))
	}
}

// against says what speaks against a start.
func (s *session) against(f measure.Finding, target time.Duration) string {
	switch f.Kind {
	case measure.LateAtWorst:
		return s.say(lateAtWorst, took(f.Took), took(target))
	case measure.LateMostly:
		return s.say(lateMostly, took(f.Took), took(target))
	case measure.LateSometimes:
		return s.say(lateSometimes, took(f.Took), took(target))
	case measure.LooksWrong:
		return s.say(looksWrong, f.Step, f.Text)
	case measure.BreaksRules:
	}
	if f.Step == "" {
		return s.say(breaksAsAWhole, s.recorded(f.Text))
	}
	return s.say(breaksRules, f.Step, s.recorded(f.Text))
}

// took writes a duration to a tenth of a second.
func took(d time.Duration) string { return d.Round(100 * time.Millisecond).String() }

// known writes a duration that may not be known.
func (s *session) known(d *time.Duration) string {
	if d == nil {
		return s.say(unknownFigure)
	}
	return took(*d)
}

func (s *session) runMeasuresCommand() *cobra.Command {
	return &cobra.Command{
		Use: "measures RUN", Short: "Show how long everything in a run took: five clocks, recovery time, critical path, steps", Args: exactly("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			m, err := c.RunMeasures(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(m)
			}
			s.showMeasures(m)
			return nil
		},
	}
}

func (s *session) showMeasures(m measure.Measures) {
	fmt.Fprintf(s.Out, "%s  %s  %s  %s\n", s.paint(bold, m.Run), m.Plan, string(m.Mode), dash(string(m.Outcome)))
	fmt.Fprintln(s.Out, "  "+s.say(clockNames, s.known(m.Clocks.Detect), s.known(m.Clocks.Declare), s.known(m.Clocks.Decide), s.known(m.Clocks.Execute), s.known(m.Clocks.Verify)))
	p := rtoFromStart
	if m.RTO.From == measure.Disruption {
		p = rtoFromDisruption
	}
	line := s.say(p, s.known(m.RTO.Took))
	if m.RTO.Target > 0 {
		line += "; " + s.say(rtoTarget, took(m.RTO.Target)) + ": "
		switch {
		case m.RTO.Met == nil:
			line += s.say(unknownFigure)
		case *m.RTO.Met:
			line += s.paint(green, s.say(rtoMet))
		default:
			line += s.paint(red, s.say(rtoMissed))
		}
	}
	fmt.Fprintln(s.Out, "  "+line)
	s.showLost(m.RPO)
	if len(m.Path) > 0 {
		legs := make([]string, len(m.Path))
		for i, l := range m.Path {
			legs[i] = l.Step + " " + took(l.To.Sub(l.From))
		}
		fmt.Fprintln(s.Out, "  "+s.say(pathLine, strings.Join(legs, " → ")))
	}
	var g grid
	g.cells(cell{s.say(colStep), faint}, cell{s.say(colState), faint}, cell{s.say(colTook), faint}, cell{s.say(colPeople), faint}, cell{s.say(colLocks), faint}, cell{s.say(colWorked), faint}, cell{s.say(colAttempts), faint})
	for _, step := range m.Steps {
		word, c := statusWord(wire.RunStep{Status: step.Status})
		all := "-"
		if !step.End.IsZero() {
			all = took(step.End.Sub(step.Ready))
		}
		g.cells(cell{step.ID, plain}, cell{word, c}, cell{all, plain}, cell{some(step.People), plain}, cell{some(step.Locks), plain}, cell{some(step.Worked), plain}, cell{some(step.Attempts), plain})
	}
	g.write(s, s.Out, "  ")
}

// showLost says what the switches of a run lost, as it was accepted.
func (s *session) showLost(rpo *measure.RPO) {
	if rpo == nil {
		return
	}
	figure := func(n *int64) string {
		if n == nil {
			return s.say(unknownFigure)
		}
		return s.count(*n)
	}
	amount := rpo.Amount
	if amount == "" {
		amount = s.say(unknownFigure)
	}
	line := s.say(rpoLine, s.known(rpo.Time), figure(rpo.Transactions), figure(rpo.Accounts), amount)
	switch {
	case rpo.Met != nil && *rpo.Met:
		line += "; " + s.paint(green, s.say(rtoMet))
	case rpo.Met != nil:
		line += "; " + s.paint(red, s.say(rtoMissed))
	}
	fmt.Fprintln(s.Out, "  "+line)
}

// some writes a figure, and a dash for none.
func some[T int | time.Duration](v T) string {
	if v == 0 {
		return "-"
	}
	if d, ok := any(v).(time.Duration); ok {
		return took(d)
	}
	return fmt.Sprint(v)
}

// fileForm refuses a format that there is not, and one that is nothing for a terminal.
func (s *session) fileForm(format, out string) error {
	switch {
	case format != "html" && format != "docx" && format != "xlsx":
		return usagef("unknown format %q; allowed: html, docx, xlsx", format)
	case out == "" && format != "html" && s.Tty:
		return usagef("--out FILE is missing: %s is nothing for a terminal", format)
	}
	return nil
}

// writeFile writes a document into a new file, or to standard output where none is named.
func (s *session) writeFile(what, of, out string, write func(io.Writer) (int64, error)) error {
	if out == "" {
		_, err := write(s.Out)
		return err
	}
	n, err := writeNew(out, write)
	if err != nil {
		return err
	}
	if s.json {
		return s.emit(map[string]any{what: of, "file": out, "bytes": n})
	}
	fmt.Fprintln(s.Out, s.say(reportWritten, out, s.count(n)))
	return nil
}

func (s *session) runReportCommand() *cobra.Command {
	var as, format, out, zone string
	c := &cobra.Command{
		Use: "report RUN", Short: "Write the drill record 演练记录 or the switch report 切换报告 of a run, its evaluation 评估报告 or its summary 演练总结",
		Long: `Write the document of a run, in the language of --lang: the drill record of a drill, else the switch report; with
--as evaluation, how it is judged by the criteria of its drill plan, and what has to be put right; with --as summary, what
it came to, with what became of that since. The same run gives the same bytes, whoever writes it
and whenever, once it is over; of a summary, as long as nothing more is said of what has to be put right, and nothing becomes overdue.`,
		Example: `  perdure run report takeover-0412 --lang zh --format docx --zone Asia/Shanghai --out takeover-0412.docx
  perdure run report takeover-0412 > takeover-0412.html
  perdure run report takeover-0412 --as evaluation --lang zh --format docx --out evaluation-0412.docx`,
		Args: exactly("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if as != "record" && as != "evaluation" && as != "summary" {
				return usagef("unknown document %q; allowed: record, evaluation, summary", as)
			}
			if err := s.fileForm(format, out); err != nil {
				return err
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			return s.writeFile("run", args[0], out, func(w io.Writer) (int64, error) {
				return c.RunReport(cmd.Context(), args[0], as, format, string(s.language()), zone, w)
			})
		},
	}
	c.Flags().StringVar(&as, "as", "record", "record, evaluation or summary")
	c.Flags().StringVar(&format, "format", "html", "html, docx or xlsx")
	c.Flags().StringVarP(&out, "out", "o", "", "file to write; by default standard output")
	c.Flags().StringVar(&zone, "zone", "UTC", "time zone of all times: a name such as Asia/Shanghai, or an offset such as +08:00")
	_ = c.RegisterFlagCompletionFunc("as", cobra.FixedCompletions([]string{"record", "evaluation", "summary"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"html", "docx", "xlsx"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

package cli

import (
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"perdure/internal/document"
	"perdure/internal/rectification"
	"perdure/internal/wire"
)

func (s *session) rectificationCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "rectification", Aliases: []string{"rectify"}, Short: "What runs have shown to be wrong 整改, until a re-test shows that it is put right", Args: cobra.ArbitraryArgs, RunE: parent,
		Long: `After a run, "open" keeps an item for every problem of its evaluation. An item gets an owner and a date, is put right by a named person, and is
closed by a re-test: a run that began afterwards and shows that the problem is gone, confirmed by another person. A re-test that shows it
again opens the item again. A commander may accept the risk instead, with a reason.`,
	}
	c.AddCommand(s.rectificationListCommand(), s.rectificationShowCommand(), s.rectificationOpenCommand(), s.rectificationAddCommand(), s.rectificationAssignCommand(),
		s.rectificationWordCommand("corrected", "Say that an item was put right, and what was done", rectification.Correct, "text"),
		s.rectificationRetestCommand(),
		s.rectificationWordCommand("accept", "Take the risk instead; never by its owner, or who put it right", rectification.Accept, "reason"),
		s.rectificationReportCommand(),
	)
	return c
}

func (s *session) rectificationListCommand() *cobra.Command {
	var open bool
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "Runs with what has to be put right after them, the newest first", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return usagef("--limit %d is out of range; allowed: 1 and more, or 0 for all", limit)
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			list, err := c.Rectifications(cmd.Context(), open, limit)
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(append([]rectification.View{}, list...))
			}
			if len(list) == 0 {
				fmt.Fprintln(s.Out, s.say(noRectifications))
				return nil
			}
			var g grid
			g.cells(cell{s.say(colRun), faint}, cell{s.say(colPlan), faint}, cell{s.say(colMode), faint}, cell{s.say(colEnded), faint}, cell{s.say(colItems), faint}, cell{s.say(colNotOver), faint}, cell{s.say(colOverdue), faint})
			for _, v := range list {
				late := cell{text: "-"}
				if v.Late > 0 {
					late = cell{strconv.Itoa(v.Late), red}
				}
				g.cells(cell{text: v.Run}, cell{text: v.Plan}, cell{text: s.modeOf(wire.Run{Mode: v.Mode, Tabletop: v.Tabletop})}, cell{text: at(v.Ended.UnixMilli())}, cell{text: strconv.Itoa(len(v.Items))}, cell{text: some(v.Open)}, late)
			}
			g.write(s, s.Out, "")
			return nil
		},
	}
	c.Flags().BoolVar(&open, "open", false, "only those with an item that is not over")
	c.Flags().IntVar(&limit, "limit", 50, "how many; 0 for all")
	return c
}

func (s *session) rectificationShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show RUN", Short: "What has to be put right after a run, and what became of it", Args: exactly("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			v, err := c.Rectification(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return s.showRectification(v)
		},
	}
}

func (s *session) rectificationOpenCommand() *cobra.Command {
	return &cobra.Command{
		Use: "open RUN", Short: "Keep an item for every problem of a run that is over", Args: exactly("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			v, err := c.OpenRectification(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return s.showRectification(v)
		},
	}
}

func (s *session) showRectification(v rectification.View) error {
	if s.json {
		return s.emit(v)
	}
	fmt.Fprintf(s.Out, "%s  %s  %s  %s\n", s.paint(bold, v.Run), v.Plan, s.modeOf(wire.Run{Mode: v.Mode, Tabletop: v.Tabletop}), s.say(itemsLine, len(v.Items), v.Open, v.Late))
	if len(v.Items) == 0 {
		fmt.Fprintln(s.Out, "  "+s.say(nothingWrong))
		return nil
	}
	var g grid
	g.cells(cell{s.say(colItem), faint}, cell{s.say(colState), faint}, cell{s.say(colAnswers), faint}, cell{s.say(colDue), faint}, cell{s.say(colStep), faint}, cell{s.say(colProblem), faint})
	var notes []string
	for _, i := range v.Items {
		problem, retest := document.Problem(i.Problem, document.Language(s.language()))
		word, c := itemState(i)
		due := "-"
		if !i.Due.IsZero() {
			due = at(i.Due.UnixMilli())
		}
		g.cells(cell{text: strconv.Itoa(i.Number)}, cell{s.say(word), c}, cell{text: dash(i.Owner)}, cell{text: due}, cell{text: dash(i.Problem.Step)}, cell{text: problem})
		notes = append(notes, s.historyOf(i, retest)...)
	}
	g.write(s, s.Out, "  ")
	if len(notes) > 0 {
		fmt.Fprintln(s.Out)
	}
	for _, n := range notes {
		fmt.Fprintln(s.Out, "  "+n)
	}
	return nil
}

// itemState is one phrase for where an item stands, red where it is overdue.
func itemState(i rectification.Stand) (phrase, colour) {
	switch {
	case i.Late:
		return taskLate, red
	case i.State == rectification.Corrected:
		return itemCorrected, yellow
	case i.State == rectification.Closed:
		return itemClosed, green
	case i.State == rectification.Accepted:
		return itemAccepted, green
	}
	return taskPending, yellow
}

// historyOf tells what was done about an item, and what a re-test has to show.
func (s *session) historyOf(i rectification.Stand, retest string) []string {
	var out []string
	for _, r := range i.Retests {
		word := retestFailed
		if r.Passed {
			word = retestPassed
		}
		out = append(out, strings.TrimSpace(s.say(word, i.Number, r.Run, r.By, at(r.At.UnixMilli()))+" "+r.Text))
	}
	switch i.State {
	case rectification.Corrected:
		out = append(out, s.say(itemDone, i.Number, i.Corrected.By, at(i.Corrected.At.UnixMilli()), i.Corrected.Text), s.say(itemNeeds, i.Number, retest, i.Corrected.By))
	case rectification.Accepted:
		out = append(out, s.say(itemTaken, i.Number, i.Accepted.By, at(i.Accepted.At.UnixMilli()), i.Accepted.Text))
	case rectification.Open, rectification.Closed:
	}
	return out
}

// itemOf reads the number of an item.
func itemOf(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, usagef("%q is no number of an item; perdure rectification show RUN lists them", text)
	}
	return n, nil
}

func (s *session) sayToRectification(cmd *cobra.Command, run string, word wire.RectificationWord) error {
	c, err := s.estate()
	if err != nil {
		return err
	}
	v, err := c.SayToRectification(cmd.Context(), run, word)
	if err != nil {
		return err
	}
	return s.showRectification(v)
}

func (s *session) rectificationAddCommand() *cobra.Command {
	var step string
	c := &cobra.Command{
		Use: "add RUN TEXT", Short: "Add what people found, and the evaluation has not", Args: exactly("RUN", "TEXT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.sayToRectification(cmd, args[0], wire.RectificationWord{What: rectification.Add, Text: args[1], Step: step})
		},
	}
	c.Flags().StringVar(&step, "step", "", "step that it is about")
	return c
}

func (s *session) rectificationAssignCommand() *cobra.Command {
	var owner, due string
	c := &cobra.Command{
		Use: "assign RUN ITEM [--owner NAME] [--due DATE]", Short: "Say who has to put it right, and by when; what no flag names stays", Args: exactly("RUN", "ITEM"),
		Example: `  perdure rectification assign takeover-0412 2 --owner bob --due 2026-12-31`,
		RunE: func(cmd *cobra.Command, args []string) error {
			word := wire.RectificationWord{What: rectification.Assign, Owner: owner}
			var err error
			if word.Item, err = itemOf(args[1]); err != nil {
				return err
			}
			if word.Due, err = dayOf("--due", due); err != nil {
				return err
			}
			return s.sayToRectification(cmd, args[0], word)
		},
	}
	c.Flags().StringVar(&owner, "owner", "", "person, role or duty that has to put it right")
	c.Flags().StringVar(&due, "due", "", "by when: a day such as 2026-12-31, until its end here, or an instant such as 2026-12-31T18:00:00+08:00")
	return c
}

// dayOf reads the end of a day, or an instant; "" is none.
func dayOf(flag, text string) (time.Time, error) {
	if day, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		return day.AddDate(0, 0, 1).Add(-time.Second), nil
	}
	at, err := instantOf(flag, text)
	if err != nil {
		return at, usagef("%s %q is neither a day such as 2026-12-31 nor an instant such as 2026-12-31T18:00:00+08:00", flag, text)
	}
	return at, nil
}

// rectificationWordCommand is a word of an item; flag is the name of the flag for what has to be said with it.
func (s *session) rectificationWordCommand(name, short string, what rectification.What, flag string) *cobra.Command {
	var text string
	c := &cobra.Command{
		Use: name + " RUN ITEM --" + flag + " TEXT", Short: short, Args: exactly("RUN", "ITEM"),
		RunE: func(cmd *cobra.Command, args []string) error {
			number, err := itemOf(args[1])
			if err != nil {
				return err
			}
			if strings.TrimSpace(text) == "" {
				return usagef("--%s is missing: it is kept with the item", flag)
			}
			return s.sayToRectification(cmd, args[0], wire.RectificationWord{What: what, Item: number, Text: text})
		},
	}
	c.Flags().StringVar(&text, flag, "", "what was done, or why; it is kept with the item")
	return c
}

func (s *session) rectificationRetestCommand() *cobra.Command {
	var run, text string
	var passed, failed bool
	c := &cobra.Command{
		Use: "retest RUN ITEM --run RETEST", Short: "Say that a later run was the re-test; what it shows closes the item, or opens it again", Args: exactly("RUN", "ITEM"),
		Long: `Name the run that was the re-test. It has to have begun after the item was put right, and shows by itself whether the problem is gone. Of an item that
people added nothing shows that: say --passed or --failed, and what was seen. Never by who put it right.`,
		Example: `  perdure rectification retest takeover-0412 2 --run takeover-0419
  perdure rectification retest takeover-0412 5 --run takeover-0419 --passed --text "everybody was reached"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			number, err := itemOf(args[1])
			switch {
			case err != nil:
				return err
			case run == "":
				return usagef("--run is missing: a re-test is a run")
			case passed && failed:
				return usagef("give --passed or --failed")
			}
			word := wire.RectificationWord{What: rectification.Verify, Item: number, Run: run, Text: text}
			if passed || failed {
				word.Passed = &passed
			}
			return s.sayToRectification(cmd, args[0], word)
		},
	}
	c.Flags().StringVar(&run, "run", "", "run that was the re-test")
	c.Flags().BoolVar(&passed, "passed", false, "the problem is gone; only of an item that people added")
	c.Flags().BoolVar(&failed, "failed", false, "the problem is there still; only of an item that people added")
	c.Flags().StringVar(&text, "text", "", "what was seen")
	return c
}

func (s *session) rectificationReportCommand() *cobra.Command {
	var run, format, out, zone, when string
	var open bool
	c := &cobra.Command{
		Use: "report", Short: "Write the rectification tracking 整改跟踪表 of all runs, or of one", Args: exactly(),
		Example: `  perdure rectification report --open --lang zh --format xlsx --zone Asia/Shanghai --out tracking.xlsx`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.fileForm(format, out); err != nil {
				return err
			}
			instant, err := instantOf("--at", when)
			if err != nil {
				return err
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			query := url.Values{"format": {format}, "lang": {string(s.language())}, "zone": {zone}, "run": {run}, "open": {strconv.FormatBool(open)}}
			if !instant.IsZero() {
				query.Set("at", instant.UTC().Format(time.RFC3339))
			}
			return s.writeFile("run", run, out, func(w io.Writer) (int64, error) { return c.Tracking(cmd.Context(), query, w) })
		},
	}
	c.Flags().StringVar(&run, "run", "", "only what has to be put right after this run")
	c.Flags().BoolVar(&open, "open", false, "only runs with an item that is not over")
	c.Flags().StringVar(&format, "format", "html", "html, docx or xlsx")
	c.Flags().StringVarP(&out, "out", "o", "", "file to write; by default standard output")
	c.Flags().StringVar(&zone, "zone", "UTC", "time zone of all times: a name such as Asia/Shanghai, or an offset such as +08:00")
	c.Flags().StringVar(&when, "at", "", "what is overdue at this instant, such as 2026-12-31T00:00:00+08:00 (default: now)")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"html", "docx", "xlsx"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"perdure/internal/client"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/incident"
	"perdure/internal/wire"
)

func (s *session) incidentCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "incident", Short: "Incidents: what is disrupted, its class and clocks, who was told, the closing review", Args: cobra.ArbitraryArgs, RunE: parent,
		Long: `An incident is opened by an automatic failover or an emergency switch, with the decision itself, or by a person. A person declares it;
from then on the clocks of what has to be reported and announced run. It is closed when service is back, every task is done or waived, and
another person has reviewed it. Classes and deadlines stand in the manifest, kind IncidentRules.`,
	}
	c.AddCommand(s.incidentListCommand(), s.incidentShowCommand(), s.incidentOpenCommand(), s.incidentCorrectCommand(),
		s.incidentWordCommand("declare", "", "Say that it is an incident: its clocks and tasks begin", incident.Declare, ""),
		s.incidentClassCommand(),
		s.incidentWordCommand("report", "TASK", "Say that a report, an announcement or another task is done", incident.Done, ""),
		s.incidentWordCommand("waive", "TASK", "Leave a task undone, with a reason", incident.Waive, "reason"),
		s.incidentRestoredCommand(), s.incidentLinkCommand(), s.incidentJoinCommand(),
		s.incidentWordCommand("review", "", "Review what happened, why, and what follows; never by who declared it", incident.Review, "finding"),
		s.incidentDocumentCommand(),
		s.incidentWordCommand("close", "", "Close it; it never changes afterwards", incident.Close, ""),
	)
	return c
}

func (s *session) incidentListCommand() *cobra.Command {
	var open bool
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "Incidents as they stand now, the newest first", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return usagef("--limit %d is out of range; allowed: 1 and more, or 0 for all", limit)
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			list, err := c.Incidents(cmd.Context(), open, limit)
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(append([]incident.View{}, list...))
			}
			if len(list) == 0 {
				fmt.Fprintln(s.Out, s.say(noIncidents))
				return nil
			}
			var g grid
			g.cells(cell{s.say(colIncident), faint}, cell{s.say(colState), faint}, cell{s.say(colClass), faint}, cell{s.say(colCause), faint}, cell{s.say(colAffected), faint}, cell{s.say(colOpened), faint}, cell{s.say(colDisrupted), faint}, cell{s.say(colLacks), faint})
			for _, v := range list {
				state, c := s.stateOfIncident(v)
				g.cells(cell{text: v.ID}, cell{state, c}, cell{text: dash(v.NowClass)}, cell{text: s.word(string(v.Cause))}, cell{text: dash(affected(v.Affected))}, cell{text: at(v.OpenedAt.UnixMilli())}, cell{text: s.tookOf(v.Recover)}, cell{dash(s.lacks(v)), yellow})
			}
			g.write(s, s.Out, "")
			for _, ids := range together(list) {
				fmt.Fprintln(s.Out, s.paint(yellow, s.say(togetherLine, strings.Join(ids[1:], " "), ids[0])))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&open, "open", false, "only those that are not closed")
	c.Flags().IntVar(&limit, "limit", 50, "how many; 0 for all")
	return c
}

// together gives incidents that nobody has declared yet and that were disrupted within a few minutes of each other: one disruption may be behind them.
func together(list []incident.View) [][]string {
	var open []incident.View
	for _, v := range list {
		if v.Phase == incident.Open && !v.Planned && !v.From.IsZero() {
			open = append(open, v)
		}
	}
	slices.SortFunc(open, func(a, b incident.View) int { return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.ID, b.ID)) })
	var out [][]string
	for i, v := range open {
		if i > 0 && v.From.Sub(open[i-1].From) <= near {
			out[len(out)-1] = append(out[len(out)-1], v.ID)
		} else {
			out = append(out, []string{v.ID})
		}
	}
	return slices.DeleteFunc(out, func(ids []string) bool { return len(ids) < 2 })
}

// near is how long after one another incidents may have begun to be shown as perhaps one.
const near = 5 * time.Minute

// affected names units, or else systems.
func affected(f incident.Facts) string {
	var names []string
	for _, u := range f.Units {
		names = append(names, string(u))
	}
	if len(names) == 0 {
		for _, x := range f.Systems {
			names = append(names, string(x))
		}
	}
	return strings.Join(names, ", ")
}

// stateOfIncident is one word for how an incident stands, red where a clock has run out.
func (s *session) stateOfIncident(v incident.View) (string, colour) {
	c := plain
	switch v.Phase {
	case incident.Over, incident.Joined:
		c = green
	case incident.Open:
		c = yellow
	case incident.Declared, incident.Reviewed:
	}
	if v.Phase == incident.Open && v.Declare != nil && v.Declare.Late {
		c = red
	}
	for _, t := range v.Tasks {
		if t.State == incident.Late {
			c = red
		}
	}
	return s.say(map[incident.Phase]phrase{incident.Open: phaseOpen, incident.Declared: phaseDeclared, incident.Reviewed: phaseReviewed, incident.Over: phaseOver, incident.Joined: phaseJoined}[v.Phase]), c
}

func (s *session) lacks(v incident.View) string {
	names := make([]string, len(v.Lacks))
	for i, l := range v.Lacks {
		what, task, _ := strings.Cut(l, " ")
		names[i] = strings.TrimSpace(s.word(what) + " " + task)
	}
	return strings.Join(names, ", ")
}

// tookOf writes a clock; what is not known is UNKNOWN.
func (s *session) tookOf(c *incident.Clock) string {
	if c == nil {
		return s.say(unknownFigure)
	}
	text := span(c.Took)
	if c.Going {
		text = s.say(soFar, text)
	}
	if c.Within > 0 {
		text += " " + s.say(ofWithin, span(c.Within))
	}
	return text
}

func (s *session) incidentShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show INCIDENT", Short: "Show an incident: class, clocks, tasks, and what it lacks to be closed", Args: exactly("INCIDENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			v, err := c.Incident(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return s.showIncident(v)
		},
	}
}

func (s *session) incidentDocumentCommand() *cobra.Command {
	var format, out, zone string
	c := &cobra.Command{
		Use: "document INCIDENT", Short: "Write the report of an incident 运营中断事件报告", Args: exactly("INCIDENT"),
		Example: `  perdure incident document u1-1.7 --lang zh --format docx --zone Asia/Shanghai --out incident.docx`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.fileForm(format, out); err != nil {
				return err
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			return s.writeFile("incident", args[0], out, func(w io.Writer) (int64, error) {
				return c.IncidentReport(cmd.Context(), args[0], format, string(s.language()), zone, w)
			})
		},
	}
	c.Flags().StringVar(&format, "format", "html", "html, docx or xlsx")
	c.Flags().StringVarP(&out, "out", "o", "", "file to write; by default standard output")
	c.Flags().StringVar(&zone, "zone", "UTC", "time zone of all times: a name such as Asia/Shanghai, or an offset such as +08:00")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"html", "docx", "xlsx"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (s *session) showIncident(v incident.View) error {
	if s.json {
		return s.emit(v)
	}
	state, c := s.stateOfIncident(v)
	fmt.Fprintf(s.Out, "%s  %s  %s\n", s.paint(bold, v.ID), s.paint(c, state), v.Title)
	var g grid
	row := func(p phrase, text string) {
		if text != "" {
			g.cells(cell{s.say(p), faint}, cell{text: text})
		}
	}
	class := dash(v.NowClass)
	switch {
	case v.Class != nil && v.Phase != incident.Over:
		class = s.say(classBy, v.NowClass, v.Class.By, v.Class.Text, dash(v.Computed))
	case v.Why != "":
		class += " (" + v.Why + ")"
	}
	row(colClass, class)
	kind := s.say(unplannedWord)
	if v.Planned {
		kind = s.say(plannedWord)
	}
	row(colCause, s.word(string(v.Cause))+", "+kind)
	row(colAffected, affected(v.Affected))
	row(colFunctions, strings.Join(v.Functions, ", "))
	row(colOpened, s.say(byAt, v.OpenedBy, at(v.OpenedAt.UnixMilli())))
	said := func(p phrase, x *incident.Said) {
		if x != nil {
			row(p, strings.TrimSpace(s.say(byAt, x.By, at(x.At.UnixMilli()))+" "+x.Text))
		}
	}
	if v.Into != nil {
		row(joinedWord, v.Into.Value+" "+strings.TrimSpace(s.say(byAt, v.Into.By, at(v.Into.At.UnixMilli()))+" "+v.Into.Text))
	}
	said(declaredWord, v.Incident.Declared)
	row(detectClock, s.tookOf(v.Detect))
	if v.Into == nil {
		row(declareClock, s.tookOf(v.Declare))
	}
	recovered := s.tookOf(v.Recover)
	if !v.Until.IsZero() && v.Measured {
		recovered += " " + s.say(measuredWord)
	}
	row(recoverClock, recovered)
	number := func(p phrase, n *int64) {
		if n != nil {
			row(p, fmt.Sprint(*n))
		}
	}
	number(colAmount, v.Affected.Amount)
	number(colCustomers, v.Affected.Customers)
	row(linkedWord, strings.Join(links(v), ", "))
	said(reviewedWord, v.Incident.Review)
	said(closedWord, v.Incident.Closed)
	row(colLacks, s.lacks(v))
	g.write(s, s.Out, "  ")
	if len(v.Tasks) == 0 {
		return nil
	}
	fmt.Fprintf(s.Out, "\n%s\n", s.paint(bold, s.say(tasksTitle)))
	var tasks grid
	tasks.cells(cell{s.say(colTask), faint}, cell{s.say(colState), faint}, cell{s.say(colDue), faint}, cell{s.say(colFor), faint}, cell{s.say(colTo), faint}, cell{s.say(colText), faint}, cell{s.say(colSettledBy), faint})
	for _, t := range v.Tasks {
		by := ""
		if t.By != "" {
			by = strings.TrimSpace(s.say(byAt, t.By, at(t.When.UnixMilli())) + " " + t.Text)
		}
		tasks.cells(cell{text: t.Name}, cell{s.say(taskStates()[t.State]), taskColour(t.State)}, cell{text: at(t.Due.UnixMilli())}, cell{text: t.Owner}, cell{text: dash(t.To)}, cell{text: t.Title}, cell{text: dash(by)})
	}
	tasks.write(s, s.Out, "  ")
	return nil
}

func taskStates() map[incident.State]phrase {
	return map[incident.State]phrase{incident.Pending: taskPending, incident.Late: taskLate, incident.InTime: taskDone, incident.TooLate: taskTooLate, incident.Waived: taskWaived}
}

func taskColour(state incident.State) colour {
	switch state {
	case incident.Late, incident.TooLate:
		return red
	case incident.Pending, incident.Waived:
		return yellow
	case incident.InTime:
	}
	return green
}

func links(v incident.View) []string {
	out := append([]string{}, v.Runs...)
	for _, p := range v.Parts {
		out = append(out, p.ID)
	}
	for _, x := range v.Switches {
		out = append(out, incident.IDOf(x.Group, x.Left))
	}
	return out
}

// factFlags are what people say of a disruption.
type factFlags struct {
	systems, units      []string
	disrupted, detected string
	amount, customers   int64
}

func (f *factFlags) register(c *cobra.Command) {
	c.Flags().StringSliceVar(&f.systems, "system", nil, "system that is affected; may be repeated")
	c.Flags().StringSliceVar(&f.units, "unit", nil, "unit that is affected; may be repeated")
	c.Flags().StringVar(&f.disrupted, "disrupted-at", "", "when service was disrupted, such as 2026-11-22T08:00:00+08:00")
	c.Flags().StringVar(&f.detected, "detected-at", "", "when that was found; not before it, and not in the future")
	c.Flags().Int64Var(&f.amount, "amount", 0, "business affected, in whole units of currency; left out: not known")
	c.Flags().Int64Var(&f.customers, "customers", 0, "customers affected; left out: not known")
}

// into writes what was given over what is known.
func (f *factFlags) into(c *cobra.Command, known *incident.Facts) error {
	given := c.Flags().Changed
	var err error
	if given("system") {
		known.Systems = nil
		for _, x := range f.systems {
			known.Systems = append(known.Systems, estate.SystemID(x))
		}
	}
	if given("unit") {
		known.Units = nil
		for _, x := range f.units {
			known.Units = append(known.Units, estate.UnitID(x))
		}
	}
	if given("disrupted-at") {
		if known.DisruptedAt, err = instantOf("--disrupted-at", f.disrupted); err != nil {
			return err
		}
	}
	if given("detected-at") {
		if known.DetectedAt, err = instantOf("--detected-at", f.detected); err != nil {
			return err
		}
	}
	if given("amount") {
		known.Amount = &f.amount
	}
	if given("customers") {
		known.Customers = &f.customers
	}
	return nil
}

func (s *session) incidentOpenCommand() *cobra.Command {
	var facts factFlags
	var id string
	var planned bool
	c := &cobra.Command{
		Use: "open TITLE --unit U|--system S", Short: "Open an incident by hand", Args: exactly("TITLE"),
		Example: `  perdure incident open "Card payments stand still" --system cards --disrupted-at 2026-11-22T08:00:00+08:00 --customers 1200`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ask := wire.OpenIncident{ID: id, Title: args[0], Planned: planned}
			if err := facts.into(cmd, &ask.Facts); err != nil {
				return err
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			v, err := c.OpenIncident(cmd.Context(), ask)
			if err != nil {
				return err
			}
			return s.showIncident(v)
		},
	}
	facts.register(c)
	c.Flags().BoolVar(&planned, "planned", false, "people disrupt service on purpose, and announced it")
	c.Flags().StringVar(&id, "id", "", "identity of the incident, so that repeating the request opens no second one (default: made by the node)")
	return c
}

func (s *session) incidentCorrectCommand() *cobra.Command {
	var facts factFlags
	c := &cobra.Command{
		Use: "correct INCIDENT", Short: "Correct what is known of it; what no flag names stays", Args: exactly("INCIDENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			v, err := c.Incident(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			known := v.Facts
			if err := facts.into(cmd, &known); err != nil {
				return err
			}
			return s.sayToIncident(cmd.Context(), c, args[0], wire.IncidentWord{What: incident.Correct, Facts: &known})
		},
	}
	facts.register(c)
	return c
}

// incidentWordCommand is a word to an incident; text is the name of the flag for what has to be said with it, "" where nothing has.
func (s *session) incidentWordCommand(name, task, short string, what incident.What, text string) *cobra.Command {
	use, wants := name+" INCIDENT", []string{"INCIDENT"}
	if task != "" {
		use, wants = use+" "+task, append(wants, task)
	}
	flag, doc := text, "what is said with it; it is kept and is part of the evidence"
	if flag == "" {
		flag = "text"
	} else {
		use += " --" + flag + " TEXT"
	}
	var said string
	c := &cobra.Command{
		Use: use, Short: short, Args: exactly(wants...),
		RunE: func(cmd *cobra.Command, args []string) error {
			if text != "" && strings.TrimSpace(said) == "" {
				return usagef("--%s is missing: it is kept with the incident", text)
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			word := wire.IncidentWord{What: what, Text: said}
			if task != "" {
				word.Task = args[1]
			}
			return s.sayToIncident(cmd.Context(), c, args[0], word)
		},
	}
	c.Flags().StringVar(&said, flag, "", doc)
	return c
}

func (s *session) sayToIncident(ctx context.Context, c *client.Client, id string, word wire.IncidentWord) error {
	v, err := c.SayToIncident(ctx, id, word)
	if err != nil {
		return err
	}
	return s.showIncident(v)
}

func (s *session) incidentClassCommand() *cobra.Command {
	var reason string
	var computed bool
	c := &cobra.Command{
		Use: "class INCIDENT CLASS --reason TEXT", Short: "Give it a class in the place of the computed one; with --computed leave it to the thresholds again", Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			word := wire.IncidentWord{What: incident.Classify, Text: reason}
			switch {
			case computed == (len(args) == 2):
				return usagef("give CLASS with --reason, or --computed without it")
			case !computed && strings.TrimSpace(reason) == "":
				return usagef("--reason is missing: it is kept with the incident")
			case !computed:
				word.Class = args[1]
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			return s.sayToIncident(cmd.Context(), c, args[0], word)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why the thresholds do not fit")
	c.Flags().BoolVar(&computed, "computed", false, "leave the class to the thresholds again")
	return c
}

func (s *session) incidentRestoredCommand() *cobra.Command {
	var when, text string
	c := &cobra.Command{
		Use: "restored INCIDENT [--at TIME]", Short: "Say since when service is back, where nothing measured it or it took longer", Args: exactly("INCIDENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			since := time.Now()
			if when != "" {
				var err error
				if since, err = instantOf("--at", when); err != nil {
					return err
				}
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			return s.sayToIncident(cmd.Context(), c, args[0], wire.IncidentWord{What: incident.Restore, When: since, Text: text})
		},
	}
	c.Flags().StringVar(&when, "at", "", "since when, such as 2026-11-22T08:00:00+08:00 (default: now)")
	c.Flags().StringVar(&text, "text", "", "how you know")
	return c
}

func (s *session) incidentJoinCommand() *cobra.Command {
	var into, text string
	c := &cobra.Command{
		Use: "join INCIDENT … --into INCIDENT", Short: "Say that incidents are part of another one: one disruption is declared, reported and closed once",
		Long: `Say that incidents which nobody has declared yet are part of another one, as where the loss of a site opened one for each database. What they
affect counts for that one, and its clocks begin with the first of them. It cannot be taken back: where it was wrong, open an incident by hand.`,
		Example: "  perdure incident join u2-1.3 u3-1.1 --into u1-1.7",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if into == "" {
				return usagef("--into is missing: the incident that they are part of")
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			var whole incident.View
			for _, id := range args {
				if whole, err = c.SayToIncident(cmd.Context(), id, wire.IncidentWord{What: incident.Join, Into: into, Text: text}); err != nil {
					return err
				}
			}
			return s.showIncident(whole)
		},
	}
	c.Flags().StringVar(&into, "into", "", "incident that they are part of")
	c.Flags().StringVar(&text, "text", "", "how you know")
	return c
}

func (s *session) incidentLinkCommand() *cobra.Command {
	var run, group string
	c := &cobra.Command{
		Use: "link INCIDENT --run RUN|--switch GROUP", Short: "Say that a run, or the running or last switch of a group, belongs to it", Args: exactly("INCIDENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (run == "") == (group == "") {
				return usagef("give --run or --switch")
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			word := wire.IncidentWord{What: incident.Link, Run: run}
			if group != "" {
				g, err := c.Group(cmd.Context(), estate.GroupID(group), wire.Fresh)
				if err != nil {
					return err
				}
				if g.Record.Switch == nil {
					return errs.New(errs.NotFound, "group %s never changed hands by a switch", group)
				}
				word.Switch = &incident.Switch{Group: g.Record.Group, Left: g.Record.Switch.Ownership}
			}
			return s.sayToIncident(cmd.Context(), c, args[0], word)
		},
	}
	c.Flags().StringVar(&run, "run", "", "run that belongs to it")
	c.Flags().StringVar(&group, "switch", "", "replication group whose switch belongs to it")
	return c
}

package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"perdure/internal/calendar"
	"perdure/internal/client"
	"perdure/internal/errs"
	"perdure/internal/manifest"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/wire"
)

func (s *session) runCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "run", Short: "Start runs of plans, watch them, and say what people have to say", Args: cobra.ArbitraryArgs, RunE: parent,
		Long: `Runs carry out plans. A run goes on by itself, on any node: no command has to stay for it.

What a step asks of people is answered with approve, decline, acknowledge and complete-task; a step that failed with retry, skip and
take-over; the run as a whole with pause, resume and cancel. Every word stands in the journal with name and time.
What waits for you over all runs is told by "perdure inbox".`,
	}
	c.AddCommand(s.runStartCommand(), s.runListCommand(), s.runShowCommand(), s.runWatchCommand(), s.runMeasuresCommand(), s.runReportCommand(),
		s.wordCommand("pause", "", "Begin nothing more for now; what is under way ends", run.Paused, false),
		s.wordCommand("resume", "", "Go on; also with a run that stands still since the store was recovered", run.Resumed, false),
		s.wordCommand("cancel", "", "End a run; with --undo what was done is undone, last first", run.Cancelled, true),
		s.wordCommand("retry", "STEP", "Begin a step that failed once more", run.Retried, false),
		s.wordCommand("skip", "STEP", "Leave a step out", run.Skipped, true),
		s.wordCommand("take-over", "STEP", "Say that a step was done by hand", run.TakenOver, true),
		s.wordCommand("approve", "STEP", "Approve what a step asks", run.Approved, false),
		s.wordCommand("decline", "STEP", "Decline what a step asks, an approval or a task: the plan says what happens then", run.Declined, true),
		s.challengeCommand(), s.attachmentCommand(), s.ordersCommand(), s.delegateCommand(), s.addApproverCommand(), s.breakGlassCommand(), s.reviewCommand(), s.attestCommand(),
		s.wordCommand("acknowledge", "STEP", "Say that you know of a task, which everybody whose task it is sees, or that you have read a note", run.Acknowledged, false),
		s.wordCommand("complete-task", "STEP", "Say that a task is done, with what it asks for", run.Completed, false),
	)
	return c
}

func (s *session) runStartCommand() *cobra.Command {
	var mode, reason, id, disrupted, detected, incident, declare string
	var set []string
	var noWait, yes, tabletop bool
	var wait time.Duration
	c := &cobra.Command{
		Use: "start PLAN --mode MODE", Short: "Start a run of a plan of the applied manifest, and watch it",
		Example: `  perdure run start takeover-core --mode takeover --set to=b --reason "power works at a"
  perdure run start takeover-core --mode takeover --set to=b --no-wait
  perdure run start leave-site-a --mode emergency --declare "site A is lost" --disrupted-at 2026-11-22T08:00:00+08:00`,
		Args: exactly("PLAN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := s.estate()
			if err != nil {
				return err
			}
			program, err := s.programOf(ctx, c, args[0], plan.Mode(mode))
			if err != nil {
				return err
			}
			params, err := paramsOf(program, set)
			if err != nil {
				return err
			}
			if _, err := program.Bind(params); err != nil {
				return err
			}
			if tabletop {
				program = program.Tabletop()
			}
			if !s.json {
				s.drawProgram(program)
			}
			ask := wire.StartRun{Plan: args[0], Mode: program.Mode, Params: params, Reason: reason, Incident: incident, Declare: declare, Tabletop: tabletop}
			if ask.DisruptedAt, err = instantOf("--disrupted-at", disrupted); err != nil {
				return err
			}
			if ask.DetectedAt, err = instantOf("--detected-at", detected); err != nil {
				return err
			}
			if s.Ask && !yes { // what the calendars say has to be known to who is asked
				dry := ask
				dry.DryRun = true
				would, err := c.StartRun(ctx, dry)
				if err != nil {
					return err
				}
				if !s.json {
					s.showNotes(would.Notes)
				}
			}
			if err := s.confirm(yes, s.say(askStart, program.Plan, string(program.Mode)), ""); err != nil {
				return err
			}
			if id == "" {
				id = "run-" + strings.ToLower(rand.Text()[:12])
			}
			ask.ID = id
			head, err := c.StartRun(ctx, ask)
			if err != nil {
				return err
			}
			if declare != "" && !s.json {
				fmt.Fprintln(s.Out, s.say(incidentDeclared, cmp.Or(incident, head.ID+".incident")))
			}
			if noWait {
				if s.json {
					return s.emit(head)
				}
				s.showNotes(head.Notes)
				fmt.Fprintln(s.Out, s.say(runStarted, head.ID))
				return nil
			}
			return s.watchRun(ctx, c, head.ID, wait)
		},
	}
	c.Flags().StringVar(&mode, "mode", "", "mode of the run: "+modeNames())
	c.Flags().StringArrayVar(&set, "set", nil, "parameter NAME=VALUE; may be repeated")
	c.Flags().StringVar(&reason, "reason", "", "why; it stands in the journal")
	c.Flags().StringVar(&disrupted, "disrupted-at", "", "when service was disrupted, such as 2026-11-22T08:00:00+08:00: recovery time is measured from there")
	c.Flags().StringVar(&detected, "detected-at", "", "when that was found; not before it, and not in the future")
	c.Flags().StringVar(&incident, "incident", "", "incident that it is started for, in modes takeover, emergency and switch-back; recovery time is then measured from its disruption")
	c.Flags().BoolVar(&tabletop, "tabletop", false, "people walk the plan around a table: every step is a task that asks for findings, and nothing is done; needs no window")
	c.Flags().StringVar(&declare, "declare", "", "what is disrupted, in one line: declares the incident of --incident, or opens and declares one of what the plan acts on, and starts, all at once or not at all")
	c.Flags().StringVar(&id, "id", "", "identity of the run, so that repeating the request starts no second one (default: a random one)")
	c.Flags().BoolVar(&noWait, "no-wait", false, "do not watch the run")
	c.Flags().DurationVar(&wait, "wait", time.Hour, "how long to watch it; it goes on by itself afterwards")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	_ = c.RegisterFlagCompletionFunc("mode", cobra.FixedCompletions(strings.Split(modeNames(), ", "), cobra.ShellCompDirectiveNoFileComp))
	return c
}

// showNotes tells what the calendars said of a start.
func (s *session) showNotes(notes []string) {
	for _, n := range notes {
		fmt.Fprintf(s.Out, "%s: %s\n", s.paint(yellow, s.say(doubtful)), s.recorded(n))
	}
}

func modeNames() string {
	var names []string
	for _, m := range plan.Modes() {
		names = append(names, string(m))
	}
	return strings.Join(names, ", ")
}

// instantOf reads an instant; empty is none.
func instantOf(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, usagef("%s %q is no instant; give one such as 2026-11-22T08:00:00+08:00", flag, text)
	}
	return at, nil
}

// paramsOf reads what stands behind --set.
func paramsOf(program *plan.Program, set []string) (map[string]any, error) {
	params := map[string]any{}
	for _, one := range set {
		name, value, ok := strings.Cut(one, "=")
		if !ok {
			return nil, usagef("--set %q: give NAME=VALUE", one)
		}
		i := slices.IndexFunc(program.Parameters, func(p plan.Parameter) bool { return p.Name == name })
		params[name] = value
		if i >= 0 {
			params[name] = parameterValue(program.Parameters[i], value)
		}
	}
	return params, nil
}

// programOf makes the program that a run would have, to show it beforehand.
func (s *session) programOf(ctx context.Context, c *client.Client, name string, mode plan.Mode) (*plan.Program, error) {
	if !slices.Contains(plan.Modes(), mode) {
		return nil, usagef("unknown mode %q; allowed: %s", mode, modeNames())
	}
	m, err := c.Manifest(ctx, wire.Fresh)
	if err != nil {
		return nil, err
	}
	plans, err := manifest.PlanOf(name, manifest.File{Name: "applied manifest", Text: []byte(m.Text)})
	if err != nil {
		return nil, err
	}
	return plan.Compile(plans, plan.BuiltIn(), name, mode)
}

func (s *session) runListCommand() *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List the runs, the newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return usagef("--limit %d is out of range; allowed: 1 and more, or 0 for all", limit)
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			runs, err := c.Runs(cmd.Context(), limit)
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(runs)
			}
			if len(runs) == 0 {
				fmt.Fprintln(s.Out, s.say(noRuns))
				return nil
			}
			var g grid
			g.cells(cell{s.say(colRun), faint}, cell{s.say(colPlan), faint}, cell{s.say(colMode), faint}, cell{s.say(colState), faint}, cell{s.say(colSteps), faint}, cell{s.say(colStarted), faint}, cell{s.say(colBy), faint}, cell{s.say(colAsked), faint})
			for _, r := range runs {
				state, c := stateOfRun(r)
				g.cells(cell{text: r.ID}, cell{text: r.Plan}, cell{text: s.modeOf(r)}, cell{state, c}, cell{text: fmt.Sprintf("%d/%d", r.Settled, r.Steps)}, cell{text: at(r.StartedAt)}, cell{text: r.StartedBy}, cell{dash(strings.Join(r.Asked, ", ")), yellow})
			}
			g.write(s, s.Out, "")
			return nil
		},
	}
	c.Flags().IntVar(&limit, "limit", 50, "how many; 0 for all")
	return c
}

// modeOf is the mode of a run, and its form where that is a tabletop.
func (s *session) modeOf(r wire.Run) string {
	if r.Tabletop {
		return string(r.Mode) + " " + s.say(atATable)
	}
	return string(r.Mode)
}

// stateOfRun is one word for where a run stands.
func stateOfRun(r wire.Run) (string, colour) {
	switch {
	case r.Phase == run.Over && r.ReviewDue:
		return string(r.Outcome) + ", review due", red
	case r.RetiredAt != 0:
		return string(r.Outcome) + ", retired", plain
	case r.Phase == run.Over && r.Outcome == run.Done:
		return string(r.Outcome), green
	case r.Phase == run.Over:
		return string(r.Outcome), red
	case r.Paused:
		return "paused", yellow
	case r.Phase == run.Stopped:
		return string(r.Phase), red
	}
	return string(r.Phase), plain
}

func (s *session) runShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show RUN", Short: "Show a run, and how every step stands", Args: exactly("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			state, err := c.Run(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(state)
			}
			s.showRun(state)
			return nil
		},
	}
}

func (s *session) showRun(state wire.RunState) {
	r := state.Run
	word, c := stateOfRun(r)
	fmt.Fprintf(s.Out, "%s  %s  %s  %s\n", s.paint(bold, r.ID), r.Plan, s.modeOf(r), s.paint(c, word))
	if r.Reason != "" {
		fmt.Fprintf(s.Out, "  %s\n", r.Reason)
	}
	s.showNotes(r.Notes)
	var g grid
	for _, step := range state.Steps {
		word, c := statusWord(step)
		took := "-"
		if step.BeganAt != 0 && step.EndedAt != 0 {
			took = millis(step.EndedAt - step.BeganAt)
		}
		g.cells(cell{strings.Repeat("  ", strings.Count(step.ID, "/")) + step.ID[strings.LastIndex(step.ID, "/")+1:], plain}, cell{word, c}, cell{took, plain}, cell{remark(step), faint})
	}
	g.write(s, s.Out, "  ")
	s.showParticipants(state.Participants)
	for _, a := range state.Attested {
		said := runAttested
		if a.Objects {
			said = runObjected
		}
		fmt.Fprintln(s.Out, strings.TrimSuffix(s.say(said, at(a.At.UnixMilli()), a.By, a.For, a.Text), ": "))
	}
}

func statusWord(step wire.RunStep) (string, colour) {
	switch step.Status {
	case run.Waiting:
		return "waiting", faint
	case run.DoneStep:
		if step.Undo == run.DoneStep {
			return "undone", yellow
		}
		return "done", green
	case run.Asking, run.FailedOn, run.Rejected:
		return string(step.Status), red
	case run.Open, run.Doubtful, run.Pausing:
		return string(step.Status), yellow
	case run.Ready, run.Acting, run.Inside, run.PassedBy, run.LeftOut, run.Bypassed, run.Dropped:
	}
	return string(step.Status), plain
}

// remark is what there is to say about a step.
func remark(step wire.RunStep) string {
	var parts []string
	for _, p := range []string{step.Error, step.Reason} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if step.Status == run.Open {
		parts = append(parts, asks(step)...)
	}
	for _, v := range step.Votes {
		word := "approved"
		if !v.Approved {
			word = "declined"
		}
		behalf := v.For
		if v.From != "" {
			behalf += ", delegated by " + v.From
		}
		if v.Carrier != "" {
			behalf += ", by signature, carried by " + v.Carrier
		}
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s by %s for %s %s", word, v.Who, behalf, v.Comment)))
	}
	for _, a := range step.Attachments {
		word := "attached"
		if step.Kind == plan.ActStep {
			word = "made"
		}
		parts = append(parts, fmt.Sprintf("%s %s, %d bytes, SHA-256 %s", word, a.Name, a.Size, a.SHA256))
	}
	if step.Status == run.Open {
		for _, d := range step.Delegations {
			parts = append(parts, fmt.Sprintf("%s delegated to %s for %s: %s", d.From, d.To, d.For, d.Reason))
		}
		for _, name := range step.Added {
			parts = append(parts, name+" is asked too")
		}
	}
	return strings.Join(parts, "; ")
}

// asks is what a step that is open asks of people: of whom, what, and what they fill in.
func asks(step wire.RunStep) []string {
	var parts []string
	if step.Text != "" {
		parts = append(parts, step.Text)
	}
	if step.Owner != "" {
		parts = append(parts, "task of "+step.Owner)
	}
	if step.Answer != nil && step.Answer.What == run.Acknowledged {
		parts = append(parts, "acknowledged by "+step.Answer.By)
	}
	if len(step.Of) > 0 {
		parts = append(parts, fmt.Sprintf("asks %d of %s", step.Need, strings.Join(step.Of, ", ")))
	}
	if step.Wants > 0 {
		parts = append(parts, fmt.Sprintf("--attach FILE, %d at least", step.Wants))
	}
	for _, f := range step.Fields {
		field := "--set " + f.Name + "=" + strings.ToUpper(string(f.Type))
		if len(f.Of) > 0 {
			field = "--set " + f.Name + "=" + strings.Join(f.Of, "|")
		}
		if !f.Required {
			field = "[" + field + "]"
		}
		if f.Doc != "" {
			field += " (" + f.Doc + ")"
		}
		parts = append(parts, field)
	}
	return parts
}

func (s *session) runWatchCommand() *cobra.Command {
	var wait time.Duration
	c := &cobra.Command{
		Use: "watch RUN", Short: "Show what happens in a run until it is over", Args: exactly("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			return s.watchRun(cmd.Context(), c, args[0], wait)
		},
	}
	c.Flags().DurationVar(&wait, "wait", time.Hour, "how long to watch it; it goes on by itself afterwards")
	return c
}

// watchRun shows the journal as it grows. The run does not need it.
func (s *session) watchRun(ctx context.Context, c *client.Client, id string, wait time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, wait, errStillRunning)
	defer cancel()
	tick := time.NewTicker(look)
	defer tick.Stop()
	waits := ""
	for seq := 0; ; {
		entries, err := c.RunJournal(ctx, id, seq)
		switch kind := errs.KindOf(err); {
		case ctx.Err() != nil:
			return errs.New(errs.Unknown, "run %s goes on; see perdure run show %s: %w", id, id, context.Cause(ctx))
		case kind == errs.Unavailable || kind == errs.Unknown: // a node is gone: the next look asks another one
		case err != nil:
			return err
		}
		for _, e := range entries {
			seq = e.Seq
			if s.json {
				if err := s.emit(e); err != nil {
					return err
				}
			} else {
				s.showEntry(e)
			}
			if e.What == run.Finished {
				return finishedRun(id, e)
			}
		}
		if !s.json && slices.ContainsFunc(entries, concernsTasks) {
			if now := s.waitingFor(ctx, c, id); now != waits {
				fmt.Fprint(s.Out, now)
				waits = now
			}
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

func finishedRun(id string, e run.Entry) error {
	if e.Outcome == run.Done {
		return nil
	}
	return errs.New(errs.Refused, "run %s ended as %s: %s", id, e.Outcome, dash(e.Text))
}

func (s *session) showEntry(e run.Entry) {
	c := plain
	switch {
	case e.What == run.Ended && e.Outcome == run.Done, e.What == run.Finished && e.Outcome == run.Done:
		c = green
	case e.Outcome == run.Failed, e.What == run.Declined:
		c = red
	case e.What == run.Opened, e.What == run.BrokeGlass, e.Outcome == run.Unknown:
		c = yellow
	}
	word := string(e.What)
	if e.Outcome != "" {
		word = string(e.Outcome)
	}
	if e.Undo && e.Node != "" {
		word = "undo " + word
	}
	to := ""
	if e.What == run.Delegated {
		to = "to " + e.To
	} else if e.What == run.AddedApprover {
		to = e.For
	}
	rest := strings.Join(slices.DeleteFunc([]string{to, e.Text, carried(e.Signed), e.Error}, func(t string) bool { return t == "" }), "; ")
	fmt.Fprintf(s.Out, "%s  %-10s %s\n", e.At.Local().Format("15:04:05.000"), s.paint(c, word), strings.TrimRight(fmt.Sprintf("%-28s %-12s %s", dash(e.Node), e.By, rest), " "))
	if in := calendar.OpeningOf(e.Facts); e.What == run.Started && in != nil {
		fmt.Fprintln(s.Out, s.say(inWindow, in.Window, placed(in.Until), in.By()))
	}
	s.showNotes(e.Notes)
}

// wordCommand says one thing to a run.
func (s *session) wordCommand(name, step, short string, what run.What, why bool) *cobra.Command {
	var reason, behalf string
	var undo bool
	var signed string
	var set, attach []string
	use := name + " RUN"
	wants := []string{"RUN"}
	if step != "" {
		use, wants = use+" "+step, append(wants, step)
	}
	c := &cobra.Command{
		Use: use, Short: short, Args: exactly(wants...),
		RunE: func(cmd *cobra.Command, args []string) error {
			if signed != "" && (reason != "" || behalf != "") {
				return usagef("--signed has its own comment and role, which were signed too: leave --reason and --for out")
			}
			if why && reason == "" && signed == "" {
				return usagef("--reason is missing: %s stands in the journal with its reason", name)
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			if signed != "" {
				return s.handIn(cmd.Context(), c, args[0], wire.SignedWord{What: what, Step: args[1], Signed: signed})
			}
			word := wire.RunWord{What: what, Undo: undo, Text: reason, For: behalf}
			if step != "" {
				word.Step = args[1]
			}
			for _, one := range set {
				field, value, ok := strings.Cut(one, "=")
				if !ok {
					return usagef("--set %q: give NAME=VALUE", one)
				}
				if word.Result == nil {
					word.Result = map[string]any{}
				}
				word.Result[field] = looksLike(value)
			}
			if word.Attachments, err = s.attach(cmd.Context(), c, args[0], word.Step, attach); err != nil {
				return err
			}
			return s.sayTo(cmd.Context(), c, args[0], word)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, or what was done; it stands in the journal")
	if what == run.Approved || what == run.Declined {
		c.Flags().StringVar(&behalf, "for", "", "role, duty or participant that you decide for; by default what the inbox says you are asked as")
		c.Flags().StringVar(&signed, "signed", "", "hand in what another person has decided and signed (perdure approval sign); it counts as theirs")
	}
	if what == run.Completed || what == run.TakenOver {
		c.Flags().StringArrayVar(&set, "set", nil, `field NAME=VALUE; may be repeated; a text that looks like a number stands in quotation marks: 'account="12"'`)
	}
	if what == run.Completed {
		c.Flags().StringArrayVar(&attach, "attach", nil, fmt.Sprintf("file that is handed in with it, at most %d MiB of PDF, PNG, JPEG, DOCX, XLSX or text in UTF-8; may be repeated, %d times at most", run.MostAttachment>>20, plan.MostAttachments))
	}
	if what == run.Cancelled || what == run.Retried || what == run.Skipped || what == run.TakenOver {
		c.Flags().BoolVar(&undo, "undo", false, "undo what was done; of a step: it is about its undoing")
	}
	return c
}

// sayTo says a word to a run and shows where the run stands then.
func (s *session) sayTo(ctx context.Context, c *client.Client, id string, word wire.RunWord) error {
	head, err := c.SayToRun(ctx, id, word)
	if err != nil {
		return err
	}
	if s.json {
		return s.emit(head)
	}
	if head.Plan == "" { // who only takes part is told no more of it
		fmt.Fprintln(s.Out, s.say(taskAnswered, head.ID, word.Step, s.word(string(word.What))))
		return nil
	}
	state, _ := stateOfRun(head)
	fmt.Fprintln(s.Out, s.say(runSays, head.ID, state, head.Settled, head.Steps))
	return nil
}

// looksLike reads a number, a truth value, or a text in quotation marks as JSON; all else is text as it stands, such as 007.
func looksLike(text string) any {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return text
	}
	switch v.(type) {
	case float64, bool, string:
		return v
	}
	return text
}

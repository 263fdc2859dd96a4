package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"perdure/internal/client"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// modes a person may ask for; failover is never asked for.
var modes = []string{string(unit.Takeover), string(unit.SwitchBack), string(unit.Emergency)}

type switchFlags struct {
	to, mode, reason, id string
	dryRun, yes, noWait  bool
	wait                 time.Duration
}

func (s *session) switchCommand() *cobra.Command {
	var f switchFlags
	c := &cobra.Command{
		Use: "switch UNIT --to SITE", Short: "Make a unit current at another site; shows the forecast first and the progress then",
		Long: `Make a unit current at another site. All units of its replication group go with it. It is a run of plan switch-unit
(see "perdure plan show switch-unit"), with journal, report and evidence like any other.

The checks and the forecast of the pause come first. In mode emergency, where the target does not hold everything
that was acknowledged, the estimated loss is shown and two people have to accept it: see "perdure switch accept".`,
		Example: `  perdure switch u1 --to b --dry-run
  perdure switch u1 --to b --reason "power works at a"
  perdure switch u1 --to a --mode switch-back
  perdure switch u1 --to c --mode emergency --reason "city lost"`,
		Args: exactly("UNIT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.switchUnit(cmd.Context(), estate.UnitID(args[0]), f)
		},
	}
	c.Flags().StringVar(&f.to, "to", "", "site that the unit goes to")
	c.Flags().StringVar(&f.mode, "mode", string(unit.Takeover), "takeover, switch-back or emergency")
	c.Flags().StringVar(&f.reason, "reason", "", "why; it stands in the audit log")
	c.Flags().StringVar(&f.id, "id", "", "identity of the request, so that repeating it does nothing twice (default: a random one)")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "show checks and forecast, and change nothing")
	c.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	s.waitFlags(c, &f)
	_ = c.RegisterFlagCompletionFunc("mode", cobra.FixedCompletions(modes, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("to", s.completeSites)
	c.ValidArgsFunction = s.completeUnits
	c.AddCommand(s.abortCommand(), s.acceptCommand())
	return c
}

func (s *session) waitFlags(c *cobra.Command, f *switchFlags) {
	c.Flags().BoolVar(&f.noWait, "no-wait", false, "do not follow the switch to its end")
	c.Flags().DurationVar(&f.wait, "wait", 2*time.Minute, "how long to follow it; it goes on by itself afterwards")
}

func (s *session) switchUnit(ctx context.Context, u estate.UnitID, f switchFlags) error {
	if f.to == "" {
		return usagef("--to SITE is missing")
	}
	if !slices.Contains(modes, f.mode) {
		return usagef("unknown mode %q; allowed: %s", f.mode, strings.Join(modes, ", "))
	}
	c, err := s.estate()
	if err != nil {
		return err
	}
	if f.id == "" {
		f.id = "cli-" + strings.ToLower(rand.Text()[:12])
	}
	request := wire.SwitchRequest{To: estate.SiteID(strings.ToLower(f.to)), Mode: unit.Mode(f.mode), Reason: f.reason, ID: f.id, DryRun: true}
	plan, err := c.Switch(ctx, u, request)
	if err != nil {
		return err
	}
	switch {
	case !s.json:
		s.showPlan(u, request, plan)
	case f.dryRun:
		if err := s.emit(plan); err != nil {
			return err
		}
	case plan.Loss != nil && s.Ask && !f.yes:
		s.showLoss(s.Err, plan.Loss) // who is asked has to see it
	}
	if f.dryRun {
		return s.forbidden(plan)
	}
	word := ""
	if request.Mode == unit.Emergency {
		word = string(u) // an emergency takes more than a key
	}
	if err := s.confirm(f.yes, s.say(askSwitch, u, request.To, s.word(f.mode)), word); err != nil {
		return err
	}
	request.DryRun = false
	answer, err := c.Switch(ctx, u, request)
	if err != nil {
		return err
	}
	if answer.Switch == nil && answer.Run != "" {
		return errs.New(errs.Conflict, "run %s was started before, and its switch is over; see perdure run show %s", answer.Run, answer.Run)
	}
	if !s.json {
		fmt.Fprintf(s.Out, "  %s\n", s.say(switchRun, answer.Run))
	}
	return s.follow(ctx, c, u, answer, f)
}

// forbidden gives the refusal of a dry run, so that scripts see it in the exit code.
func (s *session) forbidden(plan wire.SwitchAnswer) error {
	for _, check := range plan.Checks {
		if (check.Name == wire.RulesCheck || check.Name == wire.CalendarCheck) && !check.OK {
			return errs.New(errs.Refused, "%s", check.Detail)
		}
	}
	return nil
}

func (s *session) showPlan(u estate.UnitID, r wire.SwitchRequest, plan wire.SwitchAnswer) {
	fmt.Fprintf(s.Out, "%s\n", s.paint(bold, s.say(planTitle, u, r.To, s.word(string(r.Mode)), plan.Group)))
	g := &grid{}
	for _, check := range plan.Checks {
		mark := cell{s.say(checkGood), green}
		if !check.OK {
			mark = cell{s.say(checkBad), yellow}
		}
		g.cells(mark, cell{text: check.Name}, cell{text: check.Detail})
	}
	g.write(s, s.Out, "  ")
	s.showNotes(plan.Notes)
	if p := plan.Forecast; p != nil {
		fmt.Fprintf(s.Out, "  %s\n", s.say(forecastLine, millis(p.PauseP50Millis), millis(p.PauseP95Millis), p.Basis))
	}
	if plan.Loss != nil {
		s.showLoss(s.Out, plan.Loss)
	}
}

// showLoss shows the estimate before anybody accepts it; unknown is never shown as zero (I10).
func (s *session) showLoss(w io.Writer, l *unit.Loss) {
	amount := l.Amount
	if amount == "" {
		amount = s.say(unknownFigure)
	}
	span := s.say(unknownFigure)
	if l.Millis != nil {
		span = took(time.Duration(*l.Millis) * time.Millisecond)
	}
	fmt.Fprintf(w, "  %s\n", s.paint(red, s.say(lossLine, s.count(l.Transactions), s.count(l.Accounts), amount, span)))
	fmt.Fprintf(w, "  %s\n  %s\n", s.say(lossSource, dash(l.Source)), s.say(lossStatement, dash(l.Statement)))
	if len(l.Others) == 0 {
		return
	}
	fmt.Fprintf(w, "  %s\n", s.say(fencingTitle))
	g := &grid{}
	for _, o := range l.Others {
		says := cell{text: s.say(fencedNot), colour: red}
		switch o.State {
		case unit.Shut:
			says = cell{text: s.say(fencedShut), colour: green}
		case unit.Reached:
			says = cell{text: s.say(fencedReached), colour: yellow}
		case unit.Unreached:
		}
		g.cells(cell{text: string(o.Member)}, cell{text: string(o.Site)}, says)
	}
	g.write(s, w, "    ")
}

func (s *session) abortCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "abort UNIT", Short: "Undo a switch that is not decided yet", Args: exactly("UNIT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			answer, err := c.Abort(cmd.Context(), estate.UnitID(args[0]), wire.AbortRequest{Reason: reason})
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(answer)
			}
			fmt.Fprintln(s.Out, s.say(abortedLine, args[0]))
			return nil
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; it stands in the audit log")
	c.ValidArgsFunction = s.completeUnits
	return c
}

func (s *session) acceptCommand() *cobra.Command {
	var f switchFlags
	c := &cobra.Command{
		Use: "accept UNIT --reason TEXT", Short: "Accept the estimated loss of a proposed emergency, as one of two people",
		Long: "Accept the estimated loss of a proposed emergency. Two people have to, each with an own token: the same one twice is refused.",
		Args: exactly("UNIT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.accept(cmd.Context(), estate.UnitID(args[0]), f)
		},
	}
	c.Flags().StringVar(&f.reason, "reason", "", "why; it stands in the audit log")
	c.Flags().StringVar(&f.id, "switch", "", "the switch that is meant (default: the one that is shown)")
	c.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	s.waitFlags(c, &f)
	c.ValidArgsFunction = s.completeUnits
	return c
}

func (s *session) accept(ctx context.Context, u estate.UnitID, f switchFlags) error {
	if f.reason == "" {
		return usagef("--reason TEXT is missing: an accepted loss is never without a reason")
	}
	c, err := s.estate()
	if err != nil {
		return err
	}
	g, err := groupOf(ctx, c, u, wire.Fresh)
	if err != nil {
		return err
	}
	sw := g.Record.Switch
	if sw == nil || sw.Phase != unit.Accepting {
		return errs.New(errs.Refused, "no emergency of unit %s waits for acceptance; propose one with: perdure switch %s --to SITE --mode emergency", u, u)
	}
	if f.id != "" && f.id != sw.ID {
		return errs.New(errs.Conflict, "the switch that waits is %s, not %s: look at its loss before you accept it", sw.ID, f.id)
	}
	switch {
	case sw.Loss == nil:
	case !s.json:
		s.showLoss(s.Out, sw.Loss)
	case s.Ask && !f.yes: // standard output is for the JSON text; who is asked has to see the loss
		s.showLoss(s.Err, sw.Loss)
	}
	if err := s.confirm(f.yes, s.say(askAccept, u), string(u)); err != nil {
		return err
	}
	answer, err := c.Accept(ctx, u, wire.AcceptRequest{Switch: sw.ID, Reason: f.reason})
	if err != nil {
		return err
	}
	return s.follow(ctx, c, u, answer, f)
}

// groupOf finds the group that carries the unit.
func groupOf(ctx context.Context, c *client.Client, u estate.UnitID, read wire.Read) (wire.Group, error) {
	groups, err := c.Groups(ctx, read)
	if err != nil {
		return wire.Group{}, err
	}
	var names []string
	for _, g := range groups {
		if slices.Contains(g.Record.Units, u) {
			return g, nil
		}
		names = append(names, joinUnits(g.Record.Units))
	}
	return wire.Group{}, errs.New(errs.NotFound, "there is no unit %q; there are: %s", u, dash(strings.Join(names, ", ")))
}

func (s *session) completeUnits(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var out []string
	if len(args) == 0 {
		for _, g := range s.knownGroups(cmd.Context()) {
			for _, u := range g.Record.Units {
				out = append(out, string(u))
			}
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func (s *session) completeSites(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var out []string
	for _, g := range s.knownGroups(cmd.Context()) {
		if len(args) > 0 && !slices.Contains(g.Record.Units, estate.UnitID(args[0])) {
			continue
		}
		for _, m := range g.Record.Members {
			if m.ID != g.Record.Owner.Member {
				out = append(out, string(m.Site))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), cobra.ShellCompDirectiveNoFileComp
}

// knownGroups is for completion: silence where the estate does not answer at once.
func (s *session) knownGroups(ctx context.Context) []wire.Group {
	c, err := s.estate()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	groups, err := c.Groups(ctx, wire.Local)
	if err != nil {
		return nil
	}
	return groups
}

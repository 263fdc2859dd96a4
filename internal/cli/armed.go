package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"perdure/internal/errs"
	"perdure/internal/measure"
	"perdure/internal/wire"
)

func (s *session) planArmedCommand() *cobra.Command {
	return &cobra.Command{
		Use: "armed", Short: "The runs that have to be able to begin at any moment, and what speaks against them now",
		Long: `The runs that plans name as armed. The node at the store's leader looks ahead at each of them every minute, and at once after a manifest was
applied: at what its steps will act on, at how long it will take, and at whether a run has shown that it works as it is now.
Exit code 3 where something speaks against one, or nothing can be said of it.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			list, err := c.Armed(cmd.Context())
			if err != nil {
				return err
			}
			if s.json {
				if err := s.emit(list); err != nil {
					return err
				}
			} else {
				s.showArmed(list)
			}
			if n := len(unfit(list)); n > 0 {
				return errs.New(errs.Refused, "armed runs that could not begin as they have to: %d of %d", n, len(list))
			}
			return nil
		},
	}
}

// unfit names the armed runs against which something speaks, or of which nothing can be said.
func unfit(list []wire.Armed) []string {
	var names []string
	for _, a := range list {
		if a.State == measure.ArmedFindings || a.State == measure.ArmedUnknown {
			names = append(names, a.Plan+"/"+a.Name)
		}
	}
	return names
}

func (s *session) showArmed(list []wire.Armed) {
	if len(list) == 0 {
		fmt.Fprintln(s.Out, s.say(noArmed))
		return
	}
	colours := map[measure.ArmedState]colour{measure.ArmedReady: green, measure.ArmedUnverified: yellow, measure.ArmedFindings: red, measure.ArmedUnknown: red}
	words := map[measure.ArmedState]phrase{measure.ArmedReady: armedReady, measure.ArmedUnverified: armedUnverified, measure.ArmedFindings: armedFindings, measure.ArmedUnknown: armedUnknown}
	var g grid
	g.cells(cell{s.say(colPlan), faint}, cell{s.say(colArmed), faint}, cell{s.say(colMode), faint}, cell{s.say(colState), faint}, cell{s.say(colWorst), faint}, cell{s.say(colVerified), faint}, cell{s.say(colLooked), faint})
	for _, a := range list {
		verified := s.say(neverSince, placed(a.Since))
		if a.Verified != "" {
			verified = a.Verified + " " + placed(a.VerifiedAt)
		}
		worst := "-"
		if a.Worst > 0 {
			worst = took(a.Worst)
		}
		g.cells(cell{text: a.Plan}, cell{text: a.Name}, cell{text: string(a.Mode)}, cell{s.say(words[a.State]), colours[a.State]}, cell{text: worst}, cell{text: verified}, cell{text: placed(a.Looked)})
	}
	g.write(s, s.Out, "")
	for _, a := range list {
		name := a.Plan + "/" + a.Name
		if a.Failed != "" {
			fmt.Fprintf(s.Out, "%s: %s\n", name, s.paint(red, a.Failed))
		}
		for _, f := range a.Findings {
			fmt.Fprintf(s.Out, "%s: %s\n", name, s.paint(red, s.against(f, a.RTO)))
		}
	}
}

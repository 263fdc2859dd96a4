package cli

import (
	"github.com/spf13/cobra"

	"perdure/internal/run"
	"perdure/internal/wire"
)

func (s *session) delegateCommand() *cobra.Command {
	var to, behalf, reason string
	c := &cobra.Command{
		Use: "delegate RUN STEP --to PERSON --reason TEXT", Short: "Have another person decide on an approval in your place; you cannot take it back",
		Args: exactly("RUN", "STEP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" || reason == "" {
				return usagef("--to and --reason are needed: they stand in the journal")
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			return s.sayTo(cmd.Context(), c, args[0], wire.RunWord{What: run.Delegated, Step: args[1], To: to, For: behalf, Text: reason})
		},
	}
	c.Flags().StringVar(&to, "to", "", "person who decides")
	c.Flags().StringVar(&behalf, "for", "", "role, duty or participant that you were asked as; by default what the inbox says")
	c.Flags().StringVar(&reason, "reason", "", "why; it stands in the journal")
	return c
}

func (s *session) addApproverCommand() *cobra.Command {
	var of, reason string
	c := &cobra.Command{
		Use: "add-approver RUN STEP --of ROLE_OR_PERSON", Short: "Ask one more, whose approval is needed beside those of the plan", Args: exactly("RUN", "STEP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if of == "" {
				return usagef("--of is missing: say which role or person is asked too")
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			return s.sayTo(cmd.Context(), c, args[0], wire.RunWord{What: run.AddedApprover, Step: args[1], For: of, Text: reason})
		},
	}
	c.Flags().StringVar(&of, "of", "", "role or person")
	c.Flags().StringVar(&reason, "reason", "", "why; it stands in the journal")
	return c
}

func (s *session) breakGlassCommand() *cobra.Command {
	var reason string
	var yes bool
	c := &cobra.Command{
		Use: "break-glass RUN STEP --reason TEXT", Short: "Settle an approval alone, in mode emergency; another person has to review the run afterwards",
		Args: exactly("RUN", "STEP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if reason == "" {
				return usagef("--reason is missing: break-glass stands in the journal with its reason")
			}
			if err := s.confirm(yes, s.say(askGlass, args[1], args[0]), args[1]); err != nil {
				return err
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			return s.sayTo(cmd.Context(), c, args[0], wire.RunWord{What: run.BrokeGlass, Step: args[1], Text: reason})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; it stands in the journal")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

func (s *session) reviewCommand() *cobra.Command {
	var finding string
	c := &cobra.Command{
		Use: "review RUN --finding TEXT", Short: "Review a run in which glass was broken by another person", Args: exactly("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if finding == "" {
				return usagef("--finding is missing: a review stands in the journal with its finding")
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			return s.sayTo(cmd.Context(), c, args[0], wire.RunWord{What: run.Reviewed, Text: finding})
		},
	}
	c.Flags().StringVar(&finding, "finding", "", "what you found; it stands in the journal")
	return c
}

func (s *session) attestCommand() *cobra.Command {
	var as, comment, objection string
	c := &cobra.Command{
		Use: "attest RUN", Short: "Stand for the record of a run that is over, or object to it; once, and not by who started it", Args: exactly("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if comment != "" && objection != "" {
				return usagef("--comment goes with standing for the record, --objection says where it is wrong: give one")
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			return s.sayTo(cmd.Context(), c, args[0], wire.RunWord{What: run.Attested, For: as, Text: comment + objection, Objects: objection != ""})
		},
	}
	c.Flags().StringVar(&as, "for", "", "role in which you do it (default: the first that you have of commander, auditor, operator, driller)")
	c.Flags().StringVar(&comment, "comment", "", "what you want to say with it")
	c.Flags().StringVar(&objection, "objection", "", "where the record is not what happened")
	return c
}

func (s *session) inboxCommand() *cobra.Command {
	return &cobra.Command{
		Use: "inbox", Short: "What waits for you over all runs and incidents, the oldest first", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			items, err := c.Inbox(cmd.Context())
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(append([]wire.InboxItem{}, items...))
			}
			s.showInbox(items)
			return nil
		},
	}
}

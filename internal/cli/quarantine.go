package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"perdure/internal/estate"
	"perdure/internal/wire"
)

// shownAccounts is how many accounts are named in a line for people; --json names them all.
const shownAccounts = 10

func (s *session) quarantineCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "quarantine", Short: "Judge the accounts of a unit that was taken over with a loss, and end its quarantine",
		Long: `After a takeover with loss every account of the unit is blocked until it is judged: verified accounts are open,
inconsistent ones take credits only, unverified ones take nothing.`,
		Args: cobra.ArbitraryArgs, RunE: parent,
	}
	c.AddCommand(s.quarantineVerifyCommand(), s.quarantineReleaseCommand())
	return c
}

func (s *session) quarantineVerifyCommand() *cobra.Command {
	var lost string
	c := &cobra.Command{
		Use: "verify UNIT", Short: "Compare every account with the receipts kept outside the lost sites and with its own books",
		Long: `Compare every account of the unit with the acknowledgements that gateways outside the lost sites have kept, and with
the system's own query (field verify of its manifest). It may be repeated; later verdicts replace earlier ones.

What a lost gateway acknowledged after its receipts were shipped for the last time is not among them. Where it may have lived on for long
after that, no account is cleared, unless you say with --lost-at when it was lost: that is your word, and stands in the audit log.`,
		Args: exactly("UNIT"), ValidArgsFunction: s.completeUnits,
		RunE: func(cmd *cobra.Command, args []string) error {
			var lostAt time.Time
			if lost != "" {
				var err error
				if lostAt, err = time.Parse(time.RFC3339, lost); err != nil || lostAt.After(time.Now()) {
					return usagef("--lost-at %q is no time in the past; allowed is a form like 2026-11-22T10:30:00Z", lost)
				}
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			v, err := c.Verify(cmd.Context(), estate.UnitID(args[0]), lostAt)
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(v)
			}
			fmt.Fprintln(s.Out, s.say(verdictLine, v.Unit, s.count(v.Judged.Verified), s.count(v.Judged.Inconsistent), s.count(v.Receipts), v.Source, s.count(v.Lost), millis(v.Millis)))
			if a := v.Judged.Accounts; len(a) > 0 {
				more := ""
				if len(a) > shownAccounts {
					a, more = a[:shownAccounts], " …"
				}
				fmt.Fprintln(s.Out, "  "+s.say(creditOnly, strings.Join(a, ", ")+more))
			}
			return nil
		},
	}
	c.Flags().StringVar(&lost, "lost-at", "", "when what is lost acknowledged its last write at the latest, RFC 3339")
	return c
}

func (s *session) quarantineReleaseCommand() *cobra.Command {
	var reason string
	var yes bool
	c := &cobra.Command{
		Use: "release UNIT", Short: "End the quarantine: every account is served again, judged or not",
		Args: exactly("UNIT"), ValidArgsFunction: s.completeUnits,
		RunE: func(cmd *cobra.Command, args []string) error {
			if reason == "" {
				return usagef("--reason TEXT is missing: it stands in the audit log")
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			if err := s.confirm(yes, s.say(askRelease, args[0]), args[0]); err != nil {
				return err
			}
			answer, err := c.Release(cmd.Context(), estate.UnitID(args[0]), wire.ReleaseRequest{Reason: reason})
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(answer)
			}
			fmt.Fprintln(s.Out, s.say(releasedLine, args[0]))
			return nil
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; it stands in the audit log")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"perdure/internal/ballot"
	"perdure/internal/client"
	"perdure/internal/errs"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// challengeCommand makes what is sent to somebody who cannot log in.
func (s *session) challengeCommand() *cobra.Command {
	var valid time.Duration
	c := &cobra.Command{
		Use: "challenge RUN STEP", Short: "Write what somebody who cannot log in signs to decide on an approval", Args: exactly("RUN", "STEP"),
		Long: `Writes one line to send by any channel, or to read aloud: run, step, question, a digest of what is to be carried out, and until when it counts.
The approver signs it offline with "perdure approval sign", and anybody who may steer the run hands in what comes back:
perdure run approve RUN STEP --signed TEXT. One challenge may go to all who are asked.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			minutes := int(valid / time.Minute)
			if valid%time.Minute != 0 || minutes < 1 || valid > ballot.Longest {
				return usagef("--valid %s is out of range; allowed: whole minutes from 1m to %s", valid, ballot.Longest)
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			asked, err := c.Challenge(cmd.Context(), args[0], args[1], minutes)
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(asked)
			}
			s.showChallenge(s.Err, asked.Asks, s.language())
			fmt.Fprintln(s.Out, asked.Text)
			return nil
		},
	}
	c.Flags().DurationVar(&valid, "valid", time.Hour, "for how long it counts, 24h at most")
	return c
}

// showChallenge says in one language what is asked.
func (s *session) showChallenge(w io.Writer, c ballot.Challenge, l language) {
	in := *s
	in.lang = string(l)
	fmt.Fprintln(w, in.say(asksRun, c.Run, c.Plan, in.word(c.Mode)))
	fmt.Fprintln(w, in.say(asksStep, c.Step, visible(c.Text)))
	fmt.Fprintln(w, in.say(asksDigest, c.Digest, c.Expires.Local().Format("2006-01-02 15:04:05 -07:00")))
}

// visible shows a text that somebody else has written without what could move about on a terminal.
func visible(text string) string { return strings.Trim(strconv.Quote(text), `"`) }

func (s *session) approvalCommand() *cobra.Command {
	c := &cobra.Command{Use: "approval", Short: "Decide on an approval where you cannot log in", Args: cobra.ArbitraryArgs, RunE: parent}
	c.AddCommand(s.signCommand())
	return c
}

// signCommand signs a decision; it reaches nothing but the file of the key.
func (s *session) signCommand() *cobra.Command {
	var key, decision, comment, behalf string
	var yes bool
	c := &cobra.Command{
		Use: "sign --key FILE --decision approve|decline [TEXT]", Short: "Sign what you decide on a challenge that was sent to you; needs no server", Args: cobra.ArbitraryArgs,
		Long: `Shows in both languages what the challenge asks, asks whether you mean it, and for the passphrase of your key, and writes one line to send back.
Without TEXT the challenge is asked for, or is a line of standard input before the passphrase. Compare run and digest with what you know from
elsewhere (perdure run challenge shows them too) before you sign: whoever sends you the challenge has chosen it.`,
		Example: `  perdure approval sign --key ann.key --decision approve --comment "power is lost" PDASK:20P2…`,
		RunE: func(_ *cobra.Command, args []string) error {
			if key == "" {
				return usagef("--key FILE is missing: the one that perdure user key new made")
			}
			if decision != "approve" && decision != "decline" {
				return usagef("--decision %q is not one of approve, decline", decision)
			}
			if decision == "decline" && comment == "" {
				return usagef("--comment is missing: decline stands in the journal with its reason")
			}
			text := strings.Join(args, " ")
			if text == "" {
				var err error
				if text, err = s.line(askChallenge, false); err != nil {
					return err
				}
			}
			asked, err := ballot.ParseChallenge(text)
			if err != nil {
				return err
			}
			for _, l := range []language{english, chinese} {
				s.showChallenge(s.Err, asked, l)
			}
			if time.Now().After(asked.Expires) {
				return errs.New(errs.Refused, "the challenge expired at %s, by the clock of this machine: have another one made (perdure run challenge %s %s), or put the clock right", asked.Expires.Local().Format(time.RFC3339), asked.Run, asked.Step)
			}
			if err := s.confirm(yes, s.say(map[string]phrase{"approve": signsApproval, "decline": signsRefusal}[decision]), decision); err != nil {
				return err
			}
			passphrase, err := s.line(askPassphrase, true)
			if err != nil {
				return err
			}
			user, private, err := openKey(key, passphrase)
			if err != nil {
				return err
			}
			signed, err := asked.Sign(private, decision == "approve", behalf, comment)
			if err != nil {
				return err
			}
			answer, err := signed.String()
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(map[string]any{"signed": answer, "user": user, "key": signed.Key.String(), "decision": decision, "challenge": asked})
			}
			fmt.Fprintln(s.Err, s.say(signedBy, user, signed.Key))
			fmt.Fprintln(s.Out, answer)
			return nil
		},
	}
	c.Flags().StringVar(&key, "key", "", "file of your key")
	c.Flags().StringVar(&decision, "decision", "", "approve or decline")
	c.Flags().StringVar(&comment, "comment", "", fmt.Sprintf("why; it is signed too and stands in the journal, at most %d bytes", ballot.MostComment))
	c.Flags().StringVar(&behalf, "for", "", "role that you decide for; by default that which you are asked as")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

// handIn hands in a decision that another person has signed.
func (s *session) handIn(ctx context.Context, c *client.Client, id string, word wire.SignedWord) error {
	head, err := c.HandIn(ctx, id, word)
	if err != nil {
		return err
	}
	if s.json {
		return s.emit(head)
	}
	state, _ := stateOfRun(head)
	fmt.Fprintln(s.Out, s.say(runSays, head.ID, state, head.Settled, head.Steps))
	return nil
}

// carried says of a decision that it was signed, and who handed it in; "" of one that was not.
func carried(by *run.Signed) string {
	if by == nil {
		return ""
	}
	return "by signature, carried by " + by.Carrier
}

package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/wire"
)

func (s *session) tokenCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "token", Short: "Create, list and revoke people's bearer tokens", Args: cobra.ArbitraryArgs, RunE: parent,
	}
	c.AddCommand(s.tokenCreateCommand(), s.tokenListCommand(), s.tokenRevokeCommand())
	return c
}

func roleNames() []string {
	var names []string
	for _, r := range wire.Roles() {
		names = append(names, string(r))
	}
	return names
}

func (s *session) tokenCreateCommand() *cobra.Command {
	var role, out, participant, tenant string
	var expires time.Duration
	c := &cobra.Command{
		Use: "create PERSON --role ROLE", Short: "Create a token; its secret is shown once and never again", Args: exactly("PERSON"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(roleNames(), role) {
				return usagef("unknown role %q; allowed: %s", role, strings.Join(roleNames(), ", "))
			}
			if expires < 0 {
				return usagef("--expires %s lies in the past", expires)
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			ask := wire.AskToken{Name: args[0], Role: wire.Role(role), Participant: participant, Tenant: estate.TenantID(tenant)}
			if expires > 0 {
				ask.Expires = time.Now().Add(expires).UnixMilli()
			}
			var file *os.File
			if out != "" { // before the token is made: a secret that cannot be stored is lost
				if file, err = os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
					return errs.New(errs.Invalid, "cannot write the token: %w", err)
				}
				defer file.Close()
			}
			t, err := c.CreateToken(cmd.Context(), ask)
			if err != nil {
				if file != nil {
					_ = os.Remove(out) // it is empty
				}
				return err
			}
			return s.showToken(t, file)
		},
	}
	c.Flags().StringVar(&role, "role", "", strings.Join(roleNames(), ", "))
	c.Flags().StringVar(&participant, "participant", "", "participant of the manifest that they belong to: what is asked of it is asked of them")
	c.Flags().StringVar(&tenant, "tenant", "", "tenant of the manifest whose person they are (default: the platform's own)")
	c.Flags().DurationVar(&expires, "expires", 0, "how long it lives (default: until it is revoked)")
	c.Flags().StringVar(&out, "out", "", "write the secret to this new file, mode 0600, instead of showing it")
	_ = c.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(roleNames(), cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (s *session) showToken(t wire.NewToken, file *os.File) error {
	if file != nil {
		if _, err := fmt.Fprintln(file, t.Secret); err != nil {
			return errs.New(errs.Internal, "cannot write the token, revoke %s and create another: %w", t.ID, err)
		}
		if err := file.Close(); err != nil {
			return errs.New(errs.Internal, "cannot write the token, revoke %s and create another: %w", t.ID, err)
		}
		t.Secret = ""
	}
	switch {
	case s.json && file != nil:
		return s.emit(t.Token)
	case s.json:
		return s.emit(t)
	case file != nil:
		fmt.Fprintln(s.Out, s.say(tokenWritten, t.ID, t.Name, t.Role, file.Name()))
	default:
		fmt.Fprintln(s.Err, s.say(tokenOnce, t.ID, t.Name, t.Role))
		fmt.Fprintln(s.Out, t.Secret)
	}
	return nil
}

func (s *session) tokenListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List tokens, without their secrets", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			tokens, err := c.Tokens(cmd.Context())
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(append([]wire.Token{}, tokens...))
			}
			g := &grid{}
			g.row(s.say(colID), s.say(colPerson), s.say(colRole), s.say(colParticipant), s.say(colTenant), s.say(colCreated), s.say(colState))
			now := time.Now().UnixMilli()
			for _, t := range tokens {
				state := cell{s.say(tokenValid), green}
				switch {
				case t.Revoked > 0:
					state = cell{s.say(tokenRevoked, at(t.Revoked), t.RevokedBy), red}
				case t.Expires > 0 && t.Expires <= now:
					state = cell{s.say(tokenExpired, at(t.Expires)), red}
				case t.Expires > 0:
					state = cell{s.say(tokenUntil, at(t.Expires)), green}
				}
				g.cells(cell{text: t.ID}, cell{text: t.Name}, cell{text: string(t.Role)}, cell{text: dash(t.Participant)}, cell{text: dash(string(t.Tenant))}, cell{text: at(t.Created) + " " + t.CreatedBy}, state)
			}
			if !slices.ContainsFunc(tokens, func(t wire.Token) bool { return t.Tenant != "" }) {
				g.omit(4)
			}
			g.write(s, s.Out, "")
			return nil
		},
	}
}

func (s *session) tokenRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "Revoke a token for good", Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			if err := c.RevokeToken(cmd.Context(), args[0]); err != nil {
				return err
			}
			if s.json {
				return s.emit(map[string]string{"revoked": args[0]})
			}
			fmt.Fprintln(s.Out, s.say(tokenGone, args[0]))
			return nil
		},
	}
}

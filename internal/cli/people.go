package cli

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/boombuler/barcode/qr"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"perdure/internal/document"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/person"
	"perdure/internal/wire"
)

// longestLine bounds a line that is read from standard input, in bytes.
const longestLine = 4096

// line asks for one line; hidden, it is not shown while it is typed. Where nobody sits at the terminal it is the next line of standard input.
func (s *session) line(question phrase, hidden bool) (string, error) {
	if s.Ask {
		fmt.Fprint(s.Err, s.say(question)+": ")
	}
	if f, ok := s.In.(*os.File); ok && hidden && s.Ask {
		text, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(s.Err)
		if err != nil {
			return "", errs.New(errs.Invalid, "cannot read what you type: %w", err)
		}
		return string(text), nil
	}
	if s.lines == nil {
		s.lines = bufio.NewReaderSize(s.In, longestLine)
	}
	text, err := s.lines.ReadSlice('\n')
	if errors.Is(err, io.EOF) && len(text) == 0 {
		return "", usagef("%s: standard input has no such line", s.say(question))
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return "", errs.New(errs.Invalid, "cannot read standard input: %w", err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// optional is line, where there need not be one.
func (s *session) optional(question phrase) (string, error) {
	text, err := s.line(question, false)
	var missing *usageError
	if errors.As(err, &missing) {
		return "", nil
	}
	return strings.TrimSpace(text), err
}

// newPassword asks for a password that nobody has yet; a person types it twice.
func (s *session) newPassword() (string, error) {
	first, err := s.line(askNewPassword, true)
	if err != nil || !s.Ask {
		return first, err
	}
	again, err := s.line(askAgain, true)
	if err == nil && again != first {
		err = usagef("%s", s.say(notTheSame))
	}
	return first, err
}

func (s *session) loginCommand() *cobra.Command {
	var user string
	var oidc, device, stepUp bool
	c := &cobra.Command{
		Use: "login [--user NAME|--oidc [--device]|--step-up]", Short: "Log in; the session is kept beside the context file until it ends", Args: exactly(),
		Long: `Log in with a password and, where you have one, the code of a second factor or a recovery code. Without a terminal
both are lines of standard input. The session ends after 8 hours, after 30 minutes without use, and with "perdure logout".

With --oidc you sign on by the provider of the estate: open the URL that is shown, in a browser of this machine, or with --device on any other one.
Where the provider does not answer, local users log in as ever. --step-up shows your second factor of here in the session that you have.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if device && !oidc || (oidc || stepUp) && user != "" || oidc && stepUp {
				return usagef("give one of --user NAME, --oidc (with --device or without) and --step-up")
			}
			place, err := s.context.resolve(s.Getenv)
			if err != nil {
				return err
			}
			if place.session == "" {
				return usagef("the session is kept beside a context file: name one with --context FILE")
			}
			switch {
			case oidc:
				return s.signOn(cmd.Context(), place, device)
			case stepUp:
				return s.stepUp(cmd.Context())
			case user == "":
				if user, err = s.line(askUser, false); err != nil {
					return err
				}
			}
			l := wire.Login{User: strings.TrimSpace(user)}
			if l.Password, err = s.line(askPassword, true); err != nil {
				return err
			}
			if l.Code, err = s.optional(askCode); err != nil {
				return err
			}
			c, err := place.client("")
			if err != nil {
				return err
			}
			in, err := c.Login(cmd.Context(), l)
			if err != nil {
				return err
			}
			return s.loggedIn(place, in)
		},
	}
	c.Flags().StringVar(&user, "user", "", "your name (default: asked for)")
	c.Flags().BoolVar(&oidc, "oidc", false, "sign on by the provider of the estate")
	c.Flags().BoolVar(&device, "device", false, "with --oidc: confirm it on another device")
	c.Flags().BoolVar(&stepUp, "step-up", false, "show your second factor in the session that you have: password and code are asked for")
	return c
}

// loggedIn keeps a session and tells of it.
func (s *session) loggedIn(place estateContext, in wire.NewSession) error {
	if err := keepSecret(place.session, in.Secret); err != nil {
		return err
	}
	if s.json {
		return s.emit(struct {
			wire.Session
			Roles []wire.Role `json:"roles"`
		}{in.Session, in.Roles})
	}
	fmt.Fprintln(s.Out, s.say(loggedIn, in.User, roleList(in.Roles), at(in.Expires), s.factorWord(in.Factor)))
	return nil
}

func roleList(roles []wire.Role) string {
	var names []string
	for _, r := range roles {
		names = append(names, string(r))
	}
	return strings.Join(names, ", ")
}

// keepSecret writes a file of mode 0600, whole or not at all.
func keepSecret(file, secret string) error {
	draft, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return errs.New(errs.Invalid, "cannot keep the session: %w", err)
	}
	defer func() { _ = os.Remove(draft.Name()) }()
	_, err = fmt.Fprintln(draft, secret)
	if err = errors.Join(err, draft.Chmod(0o600), draft.Close()); err == nil {
		err = os.Rename(draft.Name(), file)
	}
	if err != nil {
		return errs.New(errs.Invalid, "cannot keep the session: %w", err)
	}
	return nil
}

func (s *session) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use: "logout", Short: "End the session that you logged in to", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			place, err := s.context.resolve(s.Getenv)
			if err != nil {
				return err
			}
			if place.session == "" {
				return usagef("there is no session without a context file: name one with --context FILE")
			}
			place.Token, place.secret = place.session, ""
			if _, err := os.Stat(place.session); errors.Is(err, fs.ErrNotExist) {
				return errs.New(errs.NotFound, "nobody is logged in: there is no %s", place.session)
			}
			token, err := place.bearer()
			if err != nil {
				return err
			}
			c, err := place.client(token)
			if err != nil {
				return err
			}
			// A session that has ended is of no use to keep.
			if err := c.Logout(cmd.Context()); err != nil && errs.KindOf(err) != errs.Unauthorised {
				return err
			}
			if err := os.Remove(place.session); err != nil {
				return errs.New(errs.Invalid, "the session has ended, but its file cannot be removed: %w", err)
			}
			if s.json {
				return s.emit(map[string]bool{"loggedOut": true})
			}
			fmt.Fprintln(s.Out, s.say(loggedOut))
			return nil
		},
	}
}

func (s *session) sessionCommand() *cobra.Command {
	c := &cobra.Command{Use: "session", Short: "List and end sessions", Args: cobra.ArbitraryArgs, RunE: parent}
	list := &cobra.Command{
		Use: "list", Short: "Your sessions; an admin sees everybody's", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			sessions, err := c.Sessions(cmd.Context())
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(append([]wire.Session{}, sessions...))
			}
			g := &grid{}
			g.row(s.say(colID), s.say(colPerson), s.say(colCreated), s.say(colSeen), s.say(colExpires), s.say(colFactor), s.say(colFrom))
			for _, x := range sessions {
				g.row(x.ID, x.User, at(x.Created), at(x.Seen), at(x.Expires), s.factorWord(x.Factor), dash(x.From))
			}
			g.write(s, s.Out, "")
			return nil
		},
	}
	revoke := &cobra.Command{
		Use: "revoke ID", Short: "End a session at once, on all nodes", Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			if err := c.EndSession(cmd.Context(), args[0]); err != nil {
				return err
			}
			if s.json {
				return s.emit(map[string]string{"revoked": args[0]})
			}
			fmt.Fprintln(s.Out, s.say(sessionGone, args[0]))
			return nil
		},
	}
	c.AddCommand(list, revoke)
	return c
}

func (s *session) userCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "user", Short: "People who log in: add, list, lock, give roles; your own password and second factor", Args: cobra.ArbitraryArgs, RunE: parent,
	}
	c.AddCommand(s.userAddCommand(), s.userListCommand(), s.userPasswdCommand(), s.userTotpCommand(), s.userRolesCommand(), s.userParticipantCommand(), s.userLinkCommand(), s.keyCommand(),
		s.userWordCommand("lock", "Keep a user out; their sessions end at once", false),
		s.userWordCommand("unlock", "Let a user in again, and forget wrong tries", false),
		s.userWordCommand("remove", "End a user for good; their name is given to nobody else", true))
	return c
}

func rolesOf(words []string) ([]wire.Role, error) {
	var roles []wire.Role
	for _, w := range words {
		if !slices.Contains(roleNames(), w) {
			return nil, usagef("unknown role %q; allowed: %s", w, strings.Join(roleNames(), ", "))
		}
		roles = append(roles, wire.Role(w))
	}
	return roles, nil
}

// showUser tells how a user is after a change.
func (s *session) showUser(u wire.User, err error) error {
	if err != nil {
		return err
	}
	if s.json {
		return s.emit(u)
	}
	state, _ := s.stateOfUser(u)
	fmt.Fprintln(s.Out, s.say(userIs, u.Name, roleList(u.Roles), state))
	return nil
}

func (s *session) userAddCommand() *cobra.Command {
	var roles []string
	var participant, tenant string
	c := &cobra.Command{
		Use: "add NAME --role ROLE", Short: "Add a user; the password is asked for, or a line of standard input", Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			given, err := rolesOf(roles)
			if err != nil {
				return err
			}
			if len(given) == 0 {
				return usagef("--role is missing; allowed: %s", strings.Join(roleNames(), ", "))
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			password, err := s.newPassword()
			if err != nil {
				return err
			}
			return s.showUser(c.AddUser(cmd.Context(), wire.NewUser{Name: args[0], Roles: given, Participant: participant, Tenant: estate.TenantID(tenant), Password: password}))
		},
	}
	c.Flags().StringSliceVar(&roles, "role", nil, strings.Join(roleNames(), ", ")+"; may be repeated")
	c.Flags().StringVar(&participant, "participant", "", "participant of the manifest that they belong to: what is asked of it is asked of them")
	c.Flags().StringVar(&tenant, "tenant", "", "tenant of the manifest whose person they are, for ever (default: the platform's own)")
	_ = c.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(roleNames(), cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (s *session) userRolesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "roles NAME ROLE…", Short: "Give a user these roles and no others, from their next request", Args: atLeastOne("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			roles, err := rolesOf(args[1:])
			if err != nil {
				return err
			}
			if len(roles) == 0 {
				return usagef("ROLE is missing; allowed: %s", strings.Join(roleNames(), ", "))
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			return s.showUser(c.SetUserRoles(cmd.Context(), args[0], roles))
		},
	}
}

func (s *session) userParticipantCommand() *cobra.Command {
	return &cobra.Command{
		Use: "participant NAME [PARTICIPANT]", Short: "Say to which participant of the manifest a user belongs, from their next request; without PARTICIPANT: to none",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			u, err := c.SetUserParticipant(cmd.Context(), args[0], strings.Join(args[1:], ""))
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(u)
			}
			fmt.Fprintln(s.Out, s.say(userBelongs, u.Name, dash(u.Participant)))
			return nil
		},
	}
}

func (s *session) userWordCommand(name, short string, ask bool) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: name + " NAME", Short: short, Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			if ask {
				if err := s.confirm(yes, s.say(askRemoveUser, args[0]), args[0]); err != nil {
					return err
				}
				return s.showUser(c.RemoveUser(cmd.Context(), args[0]))
			}
			return s.showUser(c.LockUser(cmd.Context(), args[0], name))
		},
	}
	if ask {
		c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	}
	return c
}

func (s *session) userListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List users, those who were removed too", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			users, err := c.Users(cmd.Context())
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(append([]wire.User{}, users...))
			}
			g := &grid{}
			g.row(s.say(colPerson), s.say(colRole), s.say(colParticipant), s.say(colTenant), s.say(colCreated), s.say(colFactor), s.say(colRecovery), s.say(colState))
			for _, u := range users {
				state, c := s.stateOfUser(u)
				recovery := "-"
				if u.Factor != 0 {
					recovery = fmt.Sprint(u.Recovery)
				}
				g.cells(cell{text: u.Name}, cell{text: roleList(u.Roles)}, cell{text: dash(u.Participant)}, cell{text: dash(string(u.Tenant))}, cell{text: at(u.Created) + " " + u.CreatedBy}, cell{text: s.factorWord(u.Factor)}, cell{text: recovery}, cell{state, c})
			}
			if !slices.ContainsFunc(users, func(u wire.User) bool { return u.Tenant != "" }) {
				g.omit(3)
			}
			g.write(s, s.Out, "")
			return nil
		},
	}
}

func (s *session) stateOfUser(u wire.User) (string, colour) {
	switch {
	case u.Removed != 0:
		return s.say(userRemoved, at(u.Removed), u.RemovedBy), faint
	case u.Locked != 0:
		return s.say(userLocked, at(u.Locked), u.LockedBy), red
	case u.Waits != 0:
		return s.say(userWaits, at(u.Waits)), yellow
	}
	return s.say(tokenValid), green
}

func (s *session) factorWord(since int64) string {
	if since == 0 {
		return s.say(factorNone)
	}
	return s.say(factorSince, at(since))
}

func (s *session) userPasswdCommand() *cobra.Command {
	return &cobra.Command{
		Use: "passwd [NAME]", Short: "Change your own password, or set that of NAME (admin), which takes their second factor off; their sessions end", Args: cobra.MaximumNArgs(1),
		Long: `Change your own password: the present one, the code of the second factor where you have one (else an empty line), and the new one
are asked for, or are lines of standard input. With NAME an admin sets a password; only the new one is asked for.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				password, err := s.newPassword()
				if err != nil {
					return err
				}
				return s.showUser(c.ResetPassword(cmd.Context(), args[0], password))
			}
			var ask wire.NewPassword
			if ask.Password, err = s.line(askPassword, true); err != nil {
				return err
			}
			if ask.Code, err = s.line(askCode, false); err != nil {
				return err
			}
			if ask.New, err = s.newPassword(); err != nil {
				return err
			}
			if err := c.ChangePassword(cmd.Context(), ask); err != nil {
				return err
			}
			if s.json {
				return s.emit(map[string]bool{"changed": true})
			}
			fmt.Fprintln(s.Out, s.say(passwordChanged))
			return nil
		},
	}
}

func (s *session) userTotpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "totp", Short: "Enrol your second factor: a QR code for your app, then recovery codes, shown once", Args: exactly(),
		Long: `Shows a secret for the app that makes your codes, as a QR code and as text, and asks for your password, the code of the second factor
that this one replaces (else an empty line), and a code of the new one. Your sessions end: log in with the second factor afterwards.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			sessions, err := c.Sessions(cmd.Context())
			if err != nil {
				return err
			}
			place, err := s.context.resolve(s.Getenv)
			if err != nil {
				return err
			}
			name, err := ownName(place, sessions)
			if err != nil {
				return err
			}
			ask := wire.NewFactor{Secret: make([]byte, person.SecretSize)}
			_, _ = rand.Read(ask.Secret) // the system's source of randomness does not fail
			uri := person.URI("Perdure", name, ask.Secret)
			drawn, err := drawQR(uri)
			if err != nil {
				return err
			}
			fmt.Fprintf(s.Err, "%s\n%s\n%s\n", s.say(factorScan), drawn, uri)
			if ask.Password, err = s.line(askPassword, true); err != nil {
				return err
			}
			if ask.Code, err = s.line(askOldCode, false); err != nil {
				return err
			}
			if ask.Present, err = s.line(askNewCode, false); err != nil {
				return err
			}
			codes, err := c.SetFactor(cmd.Context(), ask)
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(map[string][]string{"recoveryCodes": codes})
			}
			fmt.Fprintln(s.Err, s.say(factorCodes))
			fmt.Fprintln(s.Out, strings.Join(codes, "\n"))
			return nil
		},
	}
}

// ownName is the person of the session whose secret is in the context, for the label in the app.
func ownName(place estateContext, sessions []wire.Session) (string, error) {
	token, err := place.bearer()
	if err != nil {
		return "", err
	}
	for _, x := range sessions {
		if strings.Contains(token, x.ID+"_") {
			return x.User, nil
		}
	}
	return "", errs.New(errs.Refused, "a second factor belongs to somebody who has logged in, and you show a token; perdure login")
}

// drawQR draws a text as a QR code of half blocks, light on dark, with the margin that readers need.
func drawQR(text string) (string, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return "", errs.New(errs.Internal, "cannot draw the QR code: %w", err)
	}
	size := code.Bounds().Dx()
	light := func(x, y int) bool {
		if x < 0 || y < 0 || x >= size || y >= size {
			return true
		}
		r, _, _, _ := code.At(x, y).RGBA()
		return r > 0
	}
	var b strings.Builder
	const margin = 2
	for y := -margin; y < size+margin; y += 2 {
		for x := -margin; x < size+margin; x++ {
			switch top, bottom := light(x, y), light(x, y+1); {
			case top && bottom:
				b.WriteRune('█')
			case top:
				b.WriteRune('▀')
			case bottom:
				b.WriteRune('▄')
			default:
				b.WriteRune(' ')
			}
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}

func (s *session) policyCommand() *cobra.Command {
	c := &cobra.Command{Use: "policy", Short: "What the estate wants of people", Args: cobra.ArbitraryArgs, RunE: parent}
	show := &cobra.Command{
		Use: "show", Short: "Show what the estate wants of people", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			return s.showPolicy(c.Policy(cmd.Context()))
		},
	}
	set := &cobra.Command{
		Use: "set POLICY WHAT VALUE", Short: "Say what the estate wants: second-factor required-for-real on|off|all, signatures count-for-real on|off, or evidence kept-for DAYS|ever",
		Long: `second-factor required-for-real on|off|all: whose second factor is required for what is done for real, of sessions (on), of nobody (off), or of
tokens too, which have none (all). signatures count-for-real on|off: whether what was signed with a key counts there; the key was added with a second factor.
evidence kept-for DAYS|ever: for how many days everything stays in the store at least, before what was exported may be taken out (perdure evidence retire).`,
		Args: exactly("POLICY", "WHAT", "VALUE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var change wire.PolicyChange
			switch {
			case args[0] == "second-factor" && args[1] == "required-for-real" && slices.Contains([]string{"on", "off", "all"}, args[2]):
				change.SecondFactor = wire.FactorPolicy(args[2])
			case args[0] == "signatures" && args[1] == "count-for-real" && slices.Contains([]string{"on", "off"}, args[2]):
				on := args[2] == "on"
				change.Signatures = &on
			case args[0] == "evidence" && args[1] == "kept-for":
				days, err := strconv.Atoi(args[2])
				if args[2] == "ever" {
					days = -1
				} else if err != nil || days < 0 || days > wire.MostRetention {
					return usagef("evidence kept-for %s: give a number of days from 0 to %d, or ever", args[2], wire.MostRetention)
				}
				change.RetentionDays = &days
			default:
				return usagef("there is no such policy; allowed: second-factor required-for-real on|off|all, signatures count-for-real on|off, evidence kept-for DAYS|ever")
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			return s.showPolicy(c.SetPolicy(cmd.Context(), change))
		},
	}
	c.AddCommand(show, set)
	return c
}

func (s *session) showPolicy(p wire.Policy, err error) error {
	if err != nil {
		return err
	}
	if s.json {
		return s.emit(p)
	}
	fmt.Fprintf(s.Out, "second-factor required-for-real %s  %s\n", p.SecondFactor, s.say(map[wire.FactorPolicy]phrase{
		wire.FactorOff: policyOff, wire.FactorSessions: policyOn, wire.FactorAll: policyAll,
	}[p.SecondFactor]))
	state, said := "off", signaturesOff
	if p.Signatures {
		state, said = "on", signaturesOn
	}
	fmt.Fprintf(s.Out, "signatures count-for-real %s  %s\n", state, s.say(said))
	if d := p.RetentionDays; d != nil {
		fmt.Fprintf(s.Out, "evidence kept-for %d  %s\n", *d, s.say(keptForDays, *d))
	} else {
		fmt.Fprintf(s.Out, "evidence kept-for ever  %s\n", s.say(keptForEver))
	}
	return nil
}

func (s *session) showInbox(items []wire.InboxItem) {
	if len(items) == 0 {
		fmt.Fprintln(s.Out, s.say(inboxEmpty))
		return
	}
	g := &grid{}
	g.row(s.say(colSince), s.say(colWhat), s.say(colRun), s.say(colStep), s.say(colMode), s.say(colFor), s.say(colText))
	for _, i := range items {
		text := i.Text
		if i.Window != "" {
			text = s.say(windowWaits, i.Window, i.Window)
		}
		if i.Problem != nil {
			text, _ = document.Problem(*i.Problem, document.Language(s.language()))
		}
		if i.From != "" {
			text += " " + s.say(inboxFrom, i.From)
		}
		if i.AcknowledgedBy != "" {
			text += " " + s.say(inboxKnown, i.AcknowledgedBy)
		}
		var fields []string
		for _, f := range i.Fields {
			fields = append(fields, f.Name)
		}
		if i.Attachments > 0 {
			fields = append(fields, s.say(inboxFiles, i.Attachments))
		}
		if len(fields) > 0 {
			text += " (" + strings.Join(fields, ", ") + ")"
		}
		for _, a := range i.Shown {
			text += " " + s.say(inboxShown, a.Name, i.Run, a.SHA256, a.Name)
		}
		if !i.Due.IsZero() {
			text += " (" + s.say(dueBy, i.Due.Local().Format("2006-01-02 15:04:05")) + ")"
		}
		mode := dash(s.word(string(i.Mode)))
		if i.Tabletop {
			mode += " " + s.say(atATable)
		}
		g.row(i.Since.Local().Format("2006-01-02 15:04:05"), s.word(string(i.Why)), i.Run+i.Incident+i.Window, dash(i.Step), mode, dash(i.For), strings.TrimSpace(text))
	}
	g.write(s, s.Out, "")
}

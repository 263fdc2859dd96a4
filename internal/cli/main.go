package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"perdure/internal/errs"
)

// Streams are what the command line reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	// Getenv reads the environment.
	Getenv func(string) string
	// Program is how the user called this program, "perdure" where empty.
	Program string
	// Ask says that a person sits at In; Tty that Out is a terminal, which may have colour and be redrawn.
	Ask, Tty bool
}

// Main runs one command and gives the exit code of the process. It returns soon after ctx ends.
func Main(ctx context.Context, args []string, streams Streams) int {
	s := &session{Streams: streams}
	root := s.root()
	root.SetArgs(args)
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	err := root.ExecuteContext(ctx)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		s.report(err)
	}
	return exitCode(err)
}

// session is one call of the command line: its streams and its global flags.
type session struct {
	Streams
	json    bool
	lang    string
	context contextFlags
	lines   *bufio.Reader // of In, once something was read from it line by line
}

func (s *session) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "perdure",
		Short: "Business continuity for financial systems: multi-active operation, switching, proof",
		Long: `Perdure keeps a financial system going: it switches units between sites without losing an acknowledged
transaction, and shows what was done. Commands talk to any node of the estate; see "perdure status".`,
		SilenceUsage: true, SilenceErrors: true,
		Args: cobra.ArbitraryArgs,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if s.lang == "zh" {
				s.lang = string(chinese)
			}
			if s.lang != "" && s.lang != string(english) && s.lang != string(chinese) {
				return usagef("unknown language %q; allowed: en, zh-CN", s.lang)
			}
			if s.context.timeout <= 0 {
				return usagef("--timeout %s is no time to wait; give one such as 10s", s.context.timeout)
			}
			return nil
		},
		RunE: parent,
	}
	flags := root.PersistentFlags()
	flags.BoolVar(&s.json, "json", false, "write JSON, for programs")
	flags.StringVar(&s.lang, "lang", "", "language of what people read: en or zh-CN, zh for short (default: from LANG)")
	s.context.register(flags)
	_ = root.RegisterFlagCompletionFunc("lang", cobra.FixedCompletions([]string{"en", "zh-CN"}, cobra.ShellCompDirectiveNoFileComp))
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%s; see %q", err, cmd.CommandPath()+" --help")
	})
	root.AddCommand(s.manifestCommand(), s.applyCommand("apply"), s.statusCommand(), s.switchCommand(), s.planCommand(), s.runCommand(), s.calendarCommand(), s.incidentCommand(), s.rectificationCommand(), s.availabilityCommand(), s.evidenceCommand(), s.quarantineCommand(), s.divergenceCommand(), s.tokenCommand(),
		s.loginCommand(), s.logoutCommand(), s.sessionCommand(), s.userCommand(), s.policyCommand(), s.approvalCommand(), s.inboxCommand(), s.dutyCommand(),
		s.eventsCommand(), s.nodeCommand(), s.agentCommand(), s.gatewayCommand(), s.guardCommand(), s.labCommand(), s.versionCommand())
	return root
}

// parent is the run of a command that only has subcommands: a wrong one is an error with suggestions, none is a call for help.
func parent(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	cmd.SuggestionsMinimumDistance = 2
	message := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		message += "; did you mean " + strings.Join(near, " or ") + "?"
	} else {
		var names []string
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				names = append(names, c.Name())
			}
		}
		slices.Sort(names)
		message += "; there are: " + strings.Join(names, ", ")
	}
	return usagef("%s", message)
}

// exactly wants the named arguments, no more and no fewer.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return usagef("%s is missing; usage: %s", names[len(args)], cmd.UseLine())
		}
		if len(args) > len(names) {
			return usagef("%q is too much; usage: %s", args[len(names)], cmd.UseLine())
		}
		return nil
	}
}

// atLeastOne wants one or more of the named argument.
func atLeastOne(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef("%s is missing; usage: %s", name, cmd.UseLine())
		}
		return nil
	}
}

// report writes an error for people, or as JSON.
func (s *session) report(err error) {
	code := exitCode(err)
	if s.json {
		var e *errs.Error
		out := map[string]any{"kind": kindWord(err), "message": err.Error(), "exit": code}
		if errors.As(err, &e) {
			out["message"] = e.Message
			if e.Invariant != "" {
				out["invariant"] = e.Invariant
			}
		}
		_ = json.NewEncoder(s.Err).Encode(map[string]any{"error": out}) // nobody is left to tell
		return
	}
	title := s.say(titleOf(code))
	if code == exitInterrupted {
		fmt.Fprintf(s.Err, "perdure: %s\n", title) // it was the user's own doing
		return
	}
	fmt.Fprintf(s.Err, "perdure: %s: %s\n", title, err)
}

func kindWord(err error) string {
	var usage *usageError
	switch {
	case errors.As(err, &usage):
		return "usage"
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case errors.Is(err, context.DeadlineExceeded):
		return string(errs.Unavailable)
	}
	return string(errs.KindOf(err))
}

func titleOf(code int) phrase {
	switch code {
	case exitUsage:
		return wrongCall
	case exitRefused:
		return refused
	case exitNotFound:
		return notFound
	case exitUnavailable:
		return unavailable
	case exitUnauthorised:
		return unauthorised
	case exitConflict:
		return conflict
	case exitUnknown:
		return outcomeUnknown
	case exitInterrupted:
		return interrupted
	}
	return failed
}

// emit writes a value as JSON.
func (s *session) emit(v any) error {
	e := json.NewEncoder(s.Out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return errs.New(errs.Internal, "cannot write the answer: %w", err)
	}
	return nil
}

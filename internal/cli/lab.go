package cli

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"perdure/internal/errs"
	"perdure/internal/lab"
	"perdure/internal/lab/matrix"
	"perdure/internal/lab/report"
	"perdure/internal/lab/seeded"
)

// labDir is the folder of a lab where nothing else is said.
const labDir = ".lab"

func (s *session) labCommand() *cobra.Command {
	o := lab.Options{Out: s.Out, Terminal: s.Tty, Width: s.columns()}
	c := &cobra.Command{
		Use: "lab", Short: "A whole estate on this machine: to try, to train, to test your own stories", Args: cobra.ArbitraryArgs, RunE: parent,
	}
	c.PersistentPreRunE = func(cmd *cobra.Command, args []string) error {
		// Known only when the flags are read.
		if s.language() == chinese {
			o.Language = report.Chinese
		}
		if s.json { // what programs read stands alone on standard output
			o.Out, o.Terminal = s.Err, false
		}
		return cmd.Root().PersistentPreRunE(cmd, args)
	}
	c.PersistentFlags().StringVar(&o.Dir, "dir", labDir, "folder of the lab")
	c.PersistentFlags().StringVar(&o.Bank, "bank", "", "the reference system's program (default: corebank beside perdure)")
	c.AddCommand(s.labRunCommand(&o), s.labUpCommand(&o), s.labServeCommand(&o), s.labDownCommand(&o), s.labStatusCommand(&o), s.labDoCommand(&o), s.labFaultsCommand(&o), s.labResendCommand(), s.labStatsCommand(&o))
	return c
}

// columns is how wide the terminal is.
func (s *session) columns() int {
	if n, err := strconv.Atoi(s.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	return 120
}

func (s *session) labRunCommand(o *lab.Options) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "run --story FILE", Short: "Carry out a story and judge it; the exit code is 0 when every promise was kept",
		Example: "  perdure lab run --story examples/stories/demo.story", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usagef("--story FILE is missing; docs/lab.md says what stands in one")
			}
			summary, err := lab.Run(cmd.Context(), file, *o)
			if err != nil {
				return err
			}
			return s.verdict(summary, o.Dir)
		},
	}
	c.Flags().StringVar(&file, "story", "", "the story's file (docs/lab.md)")
	c.Flags().Uint64Var(&o.Seed, "seed", 0, "seed of the load (default: from the clock, shown)")
	return c
}

func (s *session) labUpCommand(o *lab.Options) *cobra.Command {
	var name string
	var rate int
	c := &cobra.Command{
		Use: "up", Short: "Start an estate and keep it running", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if rate < 0 {
				return usagef("--load %d is not calls per second: 0 for none, or more", rate)
			}
			err := lab.Up(cmd.Context(), *o, func(log *os.File) *exec.Cmd {
				self, err := os.Executable()
				if err != nil {
					self = os.Args[0]
				}
				serve := exec.Command(self, "lab", "serve", "--dir", o.Dir, "--bank", o.Bank, "--estate", name, "--load", strconv.Itoa(rate))
				serve.Stdout, serve.Stderr = log, log
				return serve
			})
			if err != nil {
				return err
			}
			status, err := lab.StatusOf(cmd.Context(), o.Dir)
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(status.Login)
			}
			return s.labLogin(status, o.Dir)
		},
	}
	labEstateFlags(c, &name, &rate)
	return c
}

func labEstateFlags(c *cobra.Command, name *string, rate *int) {
	c.Flags().StringVar(name, "estate", "two-city", "estate that comes with the lab, or a folder of manifests")
	c.Flags().IntVar(rate, "load", 0, "calls per second of load; 0 for none")
}

// labLogin says how to reach the estate.
func (s *session) labLogin(status lab.Status, dir string) error {
	t := tabwriter.NewWriter(s.Out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(t, "\nnodes (API)\t%s\n", strings.Join(status.Login.Nodes, "  "))
	fmt.Fprintf(t, "gateways\t%s\n", strings.Join(status.Login.Gateways, "  "))
	fmt.Fprintf(t, "login\tthe command line uses %s by itself (operator)\n", status.Login.Context)
	fmt.Fprintf(t, "as a commander\t--token-file %s, or %s\n", status.Login.Tokens["ann"], status.Login.Tokens["bob"])
	self, of, folder := s.program(), "", ""
	if dir != labDir { // what is found by itself needs no flag
		of, folder = " --context "+status.Login.Context, " --dir "+dir
	}
	fmt.Fprintf(t, "try\t%s status%s\n\t%s switch u1 --to b%s\n\t%s lab do%s fault kill database u2\n\t%s lab down%s\n", self, of, self, of, self, folder, self, folder)
	if err := t.Flush(); err != nil {
		return errs.New(errs.Internal, "cannot write the answer: %w", err)
	}
	return nil
}

// program is how the command line was called, so that what is shown can be typed.
func (s *session) program() string {
	if s.Program != "" {
		return s.Program
	}
	return "perdure"
}

// labServeCommand is the process behind "lab up".
func (s *session) labServeCommand(o *lab.Options) *cobra.Command {
	var name string
	var rate int
	c := &cobra.Command{
		Use: "serve", Short: "Run an estate in the foreground until Ctrl-C", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if rate < 0 {
				return usagef("--load %d is not calls per second: 0 for none, or more", rate)
			}
			return lab.Serve(cmd.Context(), name, rate, *o)
		},
	}
	labEstateFlags(c, &name, &rate)
	return c
}

func (s *session) labDownCommand(o *lab.Options) *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "End the lab and leave nothing behind, whatever became of it", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ended, err := lab.Down(cmd.Context(), o.Dir)
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(map[string]int{"ended": ended})
			}
			fmt.Fprintln(s.Out, "the lab is down")
			return nil
		},
	}
}

func (s *session) labStatusCommand(o *lab.Options) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Processes, links and faults of the lab; see also perdure status", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			status, err := lab.StatusOf(cmd.Context(), o.Dir)
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(status)
			}
			t := tabwriter.NewWriter(s.Out, 0, 4, 2, ' ', 0)
			fmt.Fprintln(t, "PROCESS\tSITE\tSTATE\tPID\tRESTARTS")
			for _, p := range status.Processes {
				fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\n", p.Name, p.Site, p.State, p.PID, p.Restarts)
			}
			fmt.Fprintf(t, "\nload\t%s\n", status.Load)
			fmt.Fprintf(t, "faults\t%s\n", strings.Join(status.Faults, "; "))
			if err := t.Flush(); err != nil {
				return errs.New(errs.Internal, "cannot write the answer: %w", err)
			}
			return nil
		},
	}
}

func (s *session) labDoCommand(o *lab.Options) *cobra.Command {
	c := &cobra.Command{
		Use: "do STATEMENT…", Short: "Carry out a statement of the story language on the running estate",
		Example: "  perdure lab do fault cut a\n  perdure lab do heal\n  perdure lab do load rate 100", Args: atLeastOne("STATEMENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			statement := strings.Join(args, " ")
			var said bytes.Buffer
			if err := lab.Tell(cmd.Context(), o.Dir, statement, io.MultiWriter(o.Out, &said)); err != nil {
				return err
			}
			if !s.json {
				return nil
			}
			return s.emit(map[string]any{"statement": statement, "said": strings.Split(strings.TrimSuffix(said.String(), "\n"), "\n")})
		},
	}
	c.Flags().SetInterspersed(false) // words of a statement may look like flags
	return c
}

// labResendCommand is the process behind a story's resend.
func (s *session) labResendCommand() *cobra.Command {
	return &cobra.Command{
		Use: "resend", Short: "Send the requests on standard input again: what a story's resend starts", Args: exactly(), Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return lab.Resend(cmd.Context(), s.In, s.Out) },
	}
}

func (s *session) labFaultsCommand(o *lab.Options) *cobra.Command {
	var sample, all, control bool
	var seconds, times int
	var bugs string
	runs := lab.FaultRuns{}
	c := &cobra.Command{
		Use: "faults", Short: "The faults a story can make; with --sample, --matrix or --seeded: what the product withstands, and what the checker catches",
		Long: `Without flags: the faults that a story, or "lab do", can make.

With --matrix every way to fail is tried on every part of an estate, each on an estate of its own, with load on it and judged by the
checker; what was done stands in the results file, and a run that was broken off, or in which something failed, goes on there: what passed is
not tried again, and the outcome is that of the whole file. Another revision of the program begins anew. With --sample a seeded choice of
the same is made, as many as fit into the time.

With --seeded the product is built with a bug in it, and the story that provokes the bug has to be failed by the checker, by the bug's
name: "always" are the bugs of every test run, "all" are all, numbers such as 1,4 some. That needs the source tree and Go's toolchain.

With --kills switches of every kind are begun on one running estate, and in each of them one process is killed at some moment; then the
estate has to become whole again. The seed makes the choices. With --seconds none is begun after that time.`,
		Example: "  perdure lab faults --seeded always\n  perdure lab faults --matrix --only primary",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case bugs != "" && (sample || all), times > 0 && (bugs != "" || sample || all):
				return usagef("--seeded and --kills stand alone")
			case times > 0:
				limit := time.Duration(0)
				if cmd.Flags().Changed("seconds") {
					limit = time.Duration(seconds) * time.Second
				}
				return s.killRuns(cmd, o, times, limit)
			case bugs != "":
				return s.seededRuns(cmd, o, bugs, control)
			case !sample && !all:
				return s.faultWords()
			}
			return s.faultRuns(cmd, o, runs, sample, time.Duration(seconds)*time.Second)
		},
	}
	c.Flags().BoolVar(&sample, "sample", false, "a seeded sample of the matrix")
	c.Flags().BoolVar(&all, "matrix", false, "the whole matrix, resumable")
	c.Flags().StringVar(&bugs, "seeded", "", "seeded bugs that have to be caught: always, all, or numbers")
	c.Flags().IntVar(&times, "kills", 0, "so many switches on one estate, with one process killed in each")
	c.Flags().BoolVar(&control, "control", false, "with --seeded: each story without its bug too, which has to pass")
	c.Flags().IntVar(&seconds, "seconds", 360, "time of a sample, or of kills")
	c.Flags().StringVar(&runs.Only, "only", "", "only cells whose name contains this, for example primary")
	c.Flags().StringVar(&runs.Results, "results", "", "file of results (default for --matrix: .perdure/matrix.json)")
	c.Flags().Uint64Var(&o.Seed, "seed", 0, "seed of the choice and of the load (default: a random one, shown)")
	return c
}

// faultWords says what a story can break.
func (s *session) faultWords() error {
	all := lab.FaultWords()
	if s.json {
		return s.emit(all)
	}
	t := tabwriter.NewWriter(s.Out, 0, 4, 2, ' ', 0)
	for _, w := range all {
		fmt.Fprintf(t, "%s\t%s\n", w.Statement, w.Meaning)
	}
	if err := t.Flush(); err != nil {
		return errs.New(errs.Internal, "cannot write the answer: %w", err)
	}
	return nil
}

// seededRuns builds bugs in and sees whether the checker catches them.
func (s *session) seededRuns(cmd *cobra.Command, o *lab.Options, which string, control bool) error {
	bugs, err := seeded.Choose(which)
	if err != nil {
		return err
	}
	failed := 0
	runs := lab.SeededRuns{
		Bugs: bugs, Control: control,
		Begins: func(b seeded.Bug, control bool) {
			if control {
				fmt.Fprintf(o.Out, "%s: its story without the bug …\n", b)
			} else {
				fmt.Fprintf(o.Out, "%s: building, then its story …\n", b)
			}
		},
		Done: func(r lab.SeededResult) {
			word, what := "ok  ", "with the bug"
			if r.Control {
				what = "without it"
			}
			if !r.Passed {
				word = "FAIL"
				failed++
				fmt.Fprint(o.Out, r.Told)
			}
			fmt.Fprintf(o.Out, "%s seeded bug %d, %s: found %s in try %d, %d s (seed %d) %s\n", word, r.Number, what, cmp.Or(strings.Join(r.Found, ", "), "nothing"), r.Tries, r.Millis/1000, r.Seed, r.Why)
		},
	}
	results, err := lab.RunSeeded(cmd.Context(), *o, runs)
	if err != nil {
		return err
	}
	if s.json {
		if err := s.emit(results); err != nil {
			return err
		}
	}
	if failed > 0 {
		return errs.New(errs.Refused, "%d of %d runs of seeded bugs did not end as they must", failed, len(results))
	}
	return nil
}

// killRuns kills one process in each of many switches.
func (s *session) killRuns(cmd *cobra.Command, o *lab.Options, times int, limit time.Duration) error {
	summary, err := lab.RunKills(cmd.Context(), *o, times, limit)
	if err != nil {
		return err
	}
	return s.verdict(summary, o.Dir)
}

// verdict ends a run that was judged.
func (s *session) verdict(summary report.Summary, dir string) error {
	if s.json {
		if err := s.emit(summary); err != nil {
			return err
		}
	}
	if summary.Verdict != "pass" {
		return errs.New(errs.Refused, "a promise was broken: see %s", filepath.Join(dir, "report.html"))
	}
	return nil
}

func (s *session) faultRuns(cmd *cobra.Command, o *lab.Options, runs lab.FaultRuns, sample bool, limit time.Duration) error {
	if runs.Results == "" && !sample {
		runs.Results = filepath.Join(".perdure", "matrix.json")
	}
	if sample {
		runs.Sample, runs.Time = true, limit
	}
	runs.Revision = revision()
	runs.Anew = func(earlier string) {
		fmt.Fprintf(o.Out, "the results in %s are of %s, this is %s: beginning anew\n", runs.Results, cmp.Or(earlier, "an unknown revision"), runs.Revision)
	}
	runs.Done = func(r matrix.Result) {
		switch {
		case r.Skipped != "":
			fmt.Fprintf(o.Out, "SKIP %s: %s\n", r.Cell, r.Skipped)
		case r.Passed:
			fmt.Fprintf(o.Out, "ok   %s: gap %d ms, lost %d, doubled %d, errors %d (seed %d)\n", r.Cell, r.GapMs, r.Lost, r.Doubled, r.Errors, r.Seed)
		default:
			fmt.Fprintf(o.Out, "FAIL %s: gap %d ms, lost %d, doubled %d, errors %d (seed %d): %s\n", r.Cell, r.GapMs, r.Lost, r.Doubled, r.Errors, r.Seed, r.Why)
		}
	}
	results, err := lab.RunFaults(cmd.Context(), *o, runs)
	if err != nil {
		return err
	}
	if s.json {
		if err := s.emit(results); err != nil {
			return err
		}
	} else if !sample {
		fmt.Fprintf(s.Out, "\n%s", matrix.Table(results))
	}
	// Results of earlier runs are among them: a failure stays one until its cell has passed.
	passed, failed := matrix.Judge(results)
	fmt.Fprintf(o.Out, "%d passed, %d failed\n", passed, len(failed))
	if len(failed) > 0 {
		return errs.New(errs.Refused, "%d cells of the failure-mode matrix broke a promise: %s", len(failed), cells(failed))
	}
	return nil
}

// cells names cells on one line.
func cells(all []matrix.Cell) string {
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = c.String()
	}
	return strings.Join(names, ", ")
}

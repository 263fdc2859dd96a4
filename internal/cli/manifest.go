package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"perdure/internal/errs"
	"perdure/internal/manifest"
	"perdure/internal/shape"
	"perdure/internal/wire"
)

func (s *session) manifestCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "manifest", Short: "Check, compare, apply and export what is declared about the estate",
		Args: cobra.ArbitraryArgs, RunE: parent,
	}
	c.AddCommand(s.checkCommand(), s.diffCommand(), s.applyCommand("apply"), s.exportCommand(), s.schemaCommand())
	return c
}

func (s *session) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check FILE|DIRECTORY|- ...", Short: "Check documents as one set; needs no server",
		Args: atLeastOne("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			files, err := s.readFiles(args)
			if err != nil {
				return err
			}
			set, err := manifest.Parse(files...)
			if err != nil {
				return s.problems(err)
			}
			doubts := manifest.Doubts(files...)
			if s.json {
				return s.emit(map[string]any{"ok": true, "sites": len(set.Sites), "systems": len(set.Systems), "doubts": append(shape.Problems{}, doubts...)})
			}
			for _, d := range doubts {
				fmt.Fprintf(s.Out, "%s: %s\n", s.paint(yellow, s.say(doubtful)), d)
			}
			fmt.Fprintln(s.Out, s.say(manifestGood, len(set.Sites), len(set.Systems), unitCount(set)))
			return nil
		},
	}
}

func unitCount(set manifest.Set) int {
	n := 0
	for _, s := range set.Systems {
		n += len(s.Units)
	}
	return n
}

func (s *session) diffCommand() *cobra.Command {
	var against []string
	c := &cobra.Command{
		Use: "diff FILE|DIRECTORY|- ...", Short: "Say what applying documents would change",
		Long: "Say what applying documents would change in the estate, or with --against in another set of documents.\nEnds with 3 where a change may not be applied because data would have to move first.",
		Args: atLeastOne("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			next, err := s.parseFiles(args)
			if err != nil {
				return err
			}
			var current manifest.Set
			if len(against) > 0 {
				current, err = s.parseFiles(against)
			} else {
				current, err = s.applied(cmd.Context(), wire.Fresh)
			}
			if err != nil {
				return err
			}
			return s.showDiff(current, next)
		},
	}
	c.Flags().StringSliceVar(&against, "against", nil, "compare with these files instead of with the estate")
	return c
}

// applied gives the set that the estate has applied, empty where it has none.
func (s *session) applied(ctx context.Context, read wire.Read) (manifest.Set, error) {
	estate, err := s.estate()
	if err != nil {
		return manifest.Set{}, err
	}
	m, err := estate.Manifest(ctx, read)
	if errs.KindOf(err) == errs.NotFound || err == nil && m.Text == "" {
		return manifest.Set{}, nil
	}
	if err != nil {
		return manifest.Set{}, err
	}
	set, problems := manifest.Known(manifest.File{Name: "applied", Text: []byte(m.Text)})
	if len(problems) > 0 {
		s.warn([]string{s.say(manifestOutgrown, len(problems), problems[0])})
	}
	return set, nil
}

// warn tells of what does not keep a command from going on.
func (s *session) warn(warnings []string) {
	for _, w := range warnings {
		fmt.Fprintf(s.Err, "%s: %s\n", s.paint(yellow, s.say(warningWord)), w)
	}
}

func (s *session) showDiff(from, to manifest.Set) error {
	changes := manifest.Diff(from, to)
	permit := manifest.Permit(from, to)
	if s.json {
		var problems shape.Problems
		errors.As(permit, &problems)
		if err := s.emit(map[string]any{"changes": append(manifest.Changes{}, changes...), "refused": append(shape.Problems{}, problems...)}); err != nil {
			return err
		}
	} else {
		if len(changes) == 0 {
			fmt.Fprintln(s.Out, s.say(noChange))
		}
		s.printDiff(strings.Split(strings.TrimRight(changes.String(), "\n"), "\n"))
	}
	if permit != nil {
		return errs.New(errs.Refused, "%s", permit)
	}
	return nil
}

func (s *session) printDiff(lines []string) {
	for _, line := range lines {
		c := plain
		switch text := strings.TrimLeft(line, " "); {
		case strings.HasPrefix(text, "+"):
			c = green
		case strings.HasPrefix(text, "-"):
			c = red
		case strings.HasPrefix(text, "~"):
			c = yellow
		}
		if line != "" {
			fmt.Fprintln(s.Out, s.paint(c, line))
		}
	}
}

// applyCommand is both "perdure manifest apply" and its short form "perdure apply".
func (s *session) applyCommand(name string) *cobra.Command {
	var dryRun, yes bool
	c := &cobra.Command{
		Use: name + " FILE|DIRECTORY|- ...", Short: "Apply documents as one set, whole or not at all",
		Args: atLeastOne("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return s.apply(cmd.Context(), args, dryRun, yes) },
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "say what would change, and change nothing")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

func (s *session) apply(ctx context.Context, args []string, dryRun, yes bool) error {
	set, err := s.parseFiles(args)
	if err != nil {
		return err
	}
	estate, err := s.estate()
	if err != nil {
		return err
	}
	text := manifest.Export(set)
	plan, err := estate.ApplyManifest(ctx, text, 0, true)
	if err != nil {
		return err
	}
	if !s.json {
		s.warn(plan.Warnings)
		s.printDiff(plan.Diff)
		if len(plan.Diff) == 0 {
			fmt.Fprintln(s.Out, s.say(noChange))
		}
	}
	if dryRun {
		if s.json {
			return s.emit(plan)
		}
		s.tellWaiting(plan)
		return nil
	}
	if len(plan.Diff) > 0 {
		if err := s.confirm(yes, s.say(askApply, len(plan.Diff)), ""); err != nil {
			return err
		}
	}
	// The revision of the dry run: what was shown is what is applied.
	done, err := estate.ApplyManifest(ctx, text, plan.Revision, false)
	if err != nil {
		return err
	}
	if s.json {
		return s.emit(done)
	}
	if done.Applied {
		fmt.Fprintln(s.Out, s.say(manifestApplied, done.Revision))
	}
	s.tellWaiting(done)
	return nil
}

// tellWaiting names the windows of a manifest in which nothing begins yet.
func (s *session) tellWaiting(c wire.ManifestChange) {
	if len(c.Waiting) > 0 {
		fmt.Fprintln(s.Out, s.paint(yellow, s.say(waitingApply, strings.Join(c.Waiting, ", "))))
	}
}

func (s *session) exportCommand() *cobra.Command {
	return &cobra.Command{
		Use: "export [FILE|DIRECTORY|- ...]", Short: "Write what is applied, or the given documents, in canonical form",
		RunE: func(cmd *cobra.Command, args []string) error {
			var (
				set manifest.Set
				err error
			)
			if len(args) > 0 {
				set, err = s.parseFiles(args)
			} else {
				set, err = s.applied(cmd.Context(), wire.Fresh)
			}
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(set)
			}
			_, err = s.Out.Write(manifest.Export(set))
			return err
		},
	}
}

func (s *session) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Write the JSON Schema of documents, for editors", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			_, err := s.Out.Write(manifest.Schema())
			return err
		},
	}
}

func (s *session) parseFiles(args []string) (manifest.Set, error) {
	files, err := s.readFiles(args)
	if err != nil {
		return manifest.Set{}, err
	}
	set, err := manifest.Parse(files...)
	return set, s.problems(err)
}

// problems gives the error of wrong documents; as JSON it writes the problems one by one.
func (s *session) problems(err error) error {
	var problems shape.Problems
	if !errors.As(err, &problems) {
		return err
	}
	if s.json {
		if err := s.emit(map[string]any{"ok": false, "problems": problems}); err != nil {
			return err
		}
		return usagef("%s", s.say(problemCount, len(problems)))
	}
	fmt.Fprintln(s.Err, problems.Error())
	return usagef("%s", s.say(problemCount, len(problems)))
}

// readFiles reads files, the .yaml and .yml files of directories, and standard input for "-".
func (s *session) readFiles(args []string) ([]manifest.File, error) {
	var files []manifest.File
	for _, arg := range args {
		if arg == "-" {
			text, err := io.ReadAll(s.In)
			if err != nil {
				return nil, errs.New(errs.Invalid, "cannot read standard input: %w", err)
			}
			files = append(files, manifest.File{Name: "stdin", Text: text})
			continue
		}
		before := len(files)
		err := filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			ext := filepath.Ext(path)
			if d.IsDir() || path != arg && ext != ".yaml" && ext != ".yml" {
				return nil
			}
			text, err := os.ReadFile(path)
			files = append(files, manifest.File{Name: filepath.ToSlash(path), Text: text})
			return err
		})
		if errors.Is(err, fs.ErrNotExist) {
			return nil, errs.New(errs.NotFound, "there is no %s", arg)
		}
		if err != nil {
			return nil, errs.New(errs.Invalid, "cannot read %s: %w", arg, err)
		}
		if len(files) == before {
			return nil, errs.New(errs.NotFound, "there is no .yaml or .yml file in %s", arg)
		}
	}
	return files, nil
}

package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"perdure/internal/errs"
)

func (s *session) snapshotCommand() *cobra.Command {
	return &cobra.Command{
		Use: "snapshot FILE", Short: "Write the control store to a new file, as restore takes it", Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			file, err := partOf(args[0])
			if err != nil {
				return errs.New(errs.Invalid, "cannot write the snapshot: %w", err)
			}
			defer file.Close()
			defer os.Remove(file.Name())
			n, err := c.Snapshot(cmd.Context(), file)
			if err != nil {
				return err
			}
			if err := file.Sync(); err != nil {
				return errs.New(errs.Unavailable, "the snapshot is not safe on disk: %w", err)
			}
			if err := os.Link(file.Name(), args[0]); err != nil { // a link never replaces a file that is there
				return errs.New(errs.Invalid, "cannot write the snapshot: %w", err)
			}
			if s.json {
				return s.emit(map[string]any{"file": args[0], "bytes": n})
			}
			fmt.Fprintln(s.Out, s.say(snapshotWritten, args[0], s.count(n)))
			return nil
		},
	}
}

// partOf makes the file beside the target that a snapshot is written into. Whoever writes one holds its lock, so those that killed
// commands have left are told from those in use, and removed.
func partOf(target string) (*os.File, error) {
	dir, prefix := filepath.Dir(target), "."+filepath.Base(target)+".part-"
	entries, _ := os.ReadDir(dir) // what is wrong with the folder is told when the file is made
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			removeUnlocked(filepath.Join(dir, e.Name()))
		}
	}
	file, err := os.CreateTemp(dir, prefix+"*")
	if err != nil {
		return nil, err
	}
	_ = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) // where there are no locks nothing is removed either
	return file, nil
}

// removeUnlocked removes a file that nobody holds the lock of.
func removeUnlocked(path string) {
	file, err := os.Open(path)
	if err != nil {
		return
	}
	defer file.Close()
	if syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
		_ = os.Remove(path)
	}
}

func (s *session) confirmColdCommand() *cobra.Command {
	var reason string
	var yes bool
	c := &cobra.Command{
		Use: "confirm --reason TEXT", Short: "Let nodes that came up cold act, on your word that nobody recovered the estate elsewhere", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if reason == "" {
				return usagef("--reason TEXT is missing: it stands in the audit log")
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			before, err := c.Standing(cmd.Context())
			if err != nil {
				return err
			}
			if before.Superseded != nil {
				return errs.New(errs.Refused, "node %s met the higher incarnation %s: it never acts again, follow \"perdure node recover\" in docs/operations/control-plane.md", before.Node, incarnation(*before.Superseded))
			}
			if before.Cold {
				if err := s.confirm(yes, s.say(askCold, before.Node), "y"); err != nil {
					return err
				}
				if before, err = c.ConfirmCold(cmd.Context(), reason); err != nil {
					return err
				}
			}
			if s.json {
				return s.emit(before)
			}
			fmt.Fprintln(s.Out, s.say(nodeActs, before.Node))
			return nil
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why it is certain; it stands in the audit log")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

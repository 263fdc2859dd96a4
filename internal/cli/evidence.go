package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"perdure/internal/errs"
	"perdure/internal/evidence"
)

func (s *session) evidenceCommand() *cobra.Command {
	c := &cobra.Command{Use: "evidence", Short: "Make packs of evidence, and verify them without any server", Args: cobra.ArbitraryArgs, RunE: parent}
	c.AddCommand(s.evidencePackCommand(), s.evidenceExportCommand(), s.evidenceVerifyCommand(), s.evidenceKeysCommand(), s.evidenceRetireCommand())
	return c
}

func (s *session) evidencePackCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "pack RUN --out FILE", Short: "Write the evidence of a run into one file: its journal, its program, and what proves them",
		Example: "  perdure evidence pack takeover-0412 --out takeover-0412.pack",
		Args:    exactly("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usagef("--out FILE is missing")
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			n, err := writeNew(out, func(w io.Writer) (int64, error) { return c.EvidencePack(cmd.Context(), args[0], w) })
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(map[string]any{"run": args[0], "file": out, "bytes": n})
			}
			fmt.Fprintln(s.Out, s.say(packWritten, out, s.count(n)))
			return nil
		},
	}
	c.Flags().StringVarP(&out, "out", "o", "", "file to write")
	return c
}

func (s *session) evidenceExportCommand() *cobra.Command {
	var keys string
	var packs bool
	c := &cobra.Command{
		Use: "export DIR --keys FILE", Short: "Write what is new in the evidence log into a folder, as packs that follow each other without a gap",
		Long: `Write the evidence log itself, of all runs, decisions, approvals and changes, into a folder away from the estate: what is new since the last time,
as files that follow each other without a gap. Each is verified before it is kept, and that it continues the ones before. Run it from time to time, as from
cron, onto storage that nobody can write twice: "perdure evidence verify DIR" tells later that nothing is missing.

With --packs there is also a pack of each run that is over, with its program, its files and its reports: what is retired later has to be in one.`,
		Example: "  perdure evidence export /mnt/worm/evidence --keys bank.keys --packs",
		Args:    exactly("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if keys == "" {
				return usagef(`--keys FILE is missing: write it with "perdure evidence keys"`)
			}
			known, err := readKeys(keys)
			if err != nil {
				return err
			}
			if err := os.MkdirAll(args[0], 0o700); err != nil {
				return errs.New(errs.Invalid, "cannot make %s: %w", args[0], err)
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			files, err := s.exportLog(cmd.Context(), c, args[0], known)
			if err == nil && packs {
				var more []string
				more, err = s.exportRuns(cmd.Context(), c, args[0], known)
				files = append(files, more...)
			}
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(map[string]any{"folder": args[0], "files": files})
			}
			return nil
		},
	}
	c.Flags().StringVar(&keys, "keys", "", "file with the public keys that you trust, one a line")
	c.Flags().BoolVar(&packs, "packs", false, "also a pack of each run that is over")
	return c
}

// writeNew writes a file that is not there yet, whole or not at all.
func writeNew(path string, write func(w io.Writer) (int64, error)) (int64, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return 0, errs.New(errs.Conflict, "%s exists; give another name, or remove it", path)
	}
	if err != nil {
		return 0, errs.New(errs.Invalid, "cannot write %s: %w", path, err)
	}
	n, err := write(file)
	if closing := file.Close(); err == nil && closing != nil {
		err = errs.New(errs.Invalid, "cannot write %s: %w", path, closing)
	}
	if err != nil {
		_ = os.Remove(path)
	}
	return n, err
}

func (s *session) evidenceKeysCommand() *cobra.Command {
	return &cobra.Command{
		Use: "keys", Short: "Write the public keys that nodes sign with: the file that an auditor keeps for verify --keys", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			keys, err := c.EvidenceKeys(cmd.Context())
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(keys)
			}
			for _, k := range keys {
				fmt.Fprintln(s.Out, k.Key)
			}
			return nil
		},
	}
}

func (s *session) evidenceVerifyCommand() *cobra.Command {
	var keys, files string
	c := &cobra.Command{
		Use: "verify FILE|DIR|- --keys FILE", Short: "Verify a pack of evidence, or a folder of the exported log; needs no server",
		Long: `Verify a pack of evidence with the public keys alone. Every byte of the pack counts: what was changed, taken out, added or put
elsewhere is told with the section and the bytes it is in. The keys are those that "perdure evidence keys" wrote when you trusted
the estate: keys that come with a pack would prove nothing.

With --files the program of the run and, where it was over, its report and its measures are written into a new folder, if the pack is good.`,
		Example: `  perdure evidence verify takeover-0412.pack --keys bank.keys
  perdure evidence verify takeover-0412.pack --keys bank.keys --files takeover-0412`,
		Args: exactly("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			if keys == "" {
				return usagef(`--keys FILE is missing: write it with "perdure evidence keys"`)
			}
			known, err := readKeys(keys)
			if err != nil {
				return err
			}
			if info, err := os.Stat(args[0]); err == nil && info.IsDir() {
				a, err := s.verifyArchive(args[0], known)
				if err != nil {
					return err
				}
				return s.showArchive(a)
			}
			in := s.In
			if args[0] != "-" {
				file, err := os.Open(args[0])
				if err != nil {
					return errs.New(errs.NotFound, "cannot read %s: %w", args[0], err)
				}
				defer file.Close()
				in = file
			}
			v, err := verified(in, known, files)
			if err != nil {
				return errs.New(errs.Invalid, "cannot read %s: %w", args[0], err)
			}
			if s.json {
				if err := s.emit(v); err != nil {
					return err
				}
			} else {
				s.showVerdict(v)
			}
			if !v.Good() {
				return errs.New(errs.Refused, "%s proves nothing: faults found: %d", args[0], len(v.Faults))
			}
			return nil
		},
	}
	c.Flags().StringVar(&keys, "keys", "", "file with the public keys that you trust, one a line")
	c.Flags().StringVar(&files, "files", "", "folder to make, for the files of a good pack")
	return c
}

// verified verifies a pack and, where it is good and a folder is named, makes that of its files: whole or not at all.
func verified(in io.Reader, known note.Verifiers, folder string) (evidence.Verdict, error) {
	if folder == "" {
		return evidence.Verify(in, known, nil)
	}
	if _, err := os.Lstat(folder); !errors.Is(err, fs.ErrNotExist) {
		return evidence.Verdict{}, errs.New(errs.Conflict, "%s exists; give another name, or remove it", folder)
	}
	part, err := os.MkdirTemp(filepath.Dir(filepath.Clean(folder)), ".perdure-pack-")
	if err != nil {
		return evidence.Verdict{}, errs.New(errs.Invalid, "cannot make %s: %w", folder, err)
	}
	defer os.RemoveAll(part)
	v, err := evidence.Verify(in, known, func(f evidence.File) error {
		return os.WriteFile(filepath.Join(part, f.Name), f.Data, 0o600) // the name is one, and no path
	})
	if err != nil || !v.Good() {
		return v, err
	}
	if err := os.Rename(part, folder); err != nil {
		return v, errs.New(errs.Invalid, "cannot make %s: %w", folder, err)
	}
	return v, nil
}

func readKeys(path string) (note.Verifiers, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, errs.New(errs.NotFound, "cannot read the keys: %w", err)
	}
	var list []note.Verifier
	for n, line := range strings.Split(string(text), "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		v, err := note.NewVerifier(line)
		if err != nil {
			return nil, errs.New(errs.Invalid, "%s:%d: this is not a public key such as node-a+1a2b3c4d+AbCd…: %w", path, n+1, err)
		}
		list = append(list, v)
	}
	if len(list) == 0 {
		return nil, errs.New(errs.Invalid, "%s has no key in it", path)
	}
	return note.VerifierList(list...), nil
}

func (s *session) showVerdict(v evidence.Verdict) {
	for _, f := range v.Faults {
		fmt.Fprintf(s.Out, "%s %s\n", s.paint(red, "✗"), f)
	}
	if v.Good() {
		good := s.say(packGood, dash(v.Run))
		if v.Stretch != nil {
			good = s.say(stretchGood, v.Stretch.From, v.Stretch.To-1)
			if n := v.Stretch.Missing(); n > 0 {
				good = s.say(stretchRetired, v.Stretch.From, v.Stretch.To-1, n)
			}
		}
		fmt.Fprintln(s.Out, s.paint(green, good))
		fmt.Fprintln(s.Out, "  "+s.say(packFacts, v.Leaves, dash(strings.Join(v.Files, ", ")), v.Origin, v.Size, strings.Join(v.Signers, ", ")))
		for _, x := range v.Signatures {
			fmt.Fprintln(s.Out, "  "+s.say(packSigned, x.Step, s.word(string(x.What)), x.By, x.At.Local().Format("2006-01-02 15:04:05"), x.Key, x.Carrier))
		}
	}
}

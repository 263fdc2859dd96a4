package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"perdure/internal/client"
	"perdure/internal/errs"
	"perdure/internal/evidence"
)

func (s *session) evidenceCommand() *cobra.Command {
	c := &cobra.Command{Use: "evidence", Short: "Make packs of evidence, and verify them without any server", Args: cobra.ArbitraryArgs, RunE: parent}
	c.AddCommand(s.evidencePackCommand(), s.evidenceExportCommand(), s.evidenceVerifyCommand(), s.evidenceKeysCommand())
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
	c := &cobra.Command{
		Use: "export DIR --keys FILE", Short: "Write what is new in the evidence log into a folder, as packs that follow each other without a gap",
		Long: `Write the evidence log itself, of all runs, decisions, approvals and changes, into a folder away from the estate: what is new since the last time,
as files that follow each other without a gap. Each is verified before it is kept, and that it continues the ones before. Run it from time to time, as from
cron, onto storage that nobody can write twice: "perdure evidence verify DIR" tells later that nothing is missing.`,
		Example: "  perdure evidence export /mnt/worm/evidence --keys bank.keys",
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
			return s.exportLog(cmd.Context(), c, args[0], known)
		},
	}
	c.Flags().StringVar(&keys, "keys", "", "file with the public keys that you trust, one a line")
	return c
}

// exportLog writes stretches of the log until all is there that was in it when it began.
func (s *session) exportLog(ctx context.Context, c *client.Client, dir string, known note.Verifiers) error {
	have, err := stretchesIn(dir)
	if err != nil {
		return err
	}
	// A store that was recovered begins another log, from its first entry on: which one it is shows with what is read.
	from, ends := int64(0), map[string]int64{}
	for _, x := range have {
		ends[x.origin] = max(ends[x.origin], x.to)
		from = max(from, x.to)
	}
	var written []string
	for until := int64(-1); until < 0 || from < until; {
		part, v, err := fetchStretch(ctx, c, dir, from, known)
		if from > 0 && until < 0 && (errs.KindOf(err) == errs.NotFound || errs.KindOf(err) == errs.Invalid) { // this log is shorter than that one was
			from = 0
			part, v, err = fetchStretch(ctx, c, dir, from, known)
		}
		if err != nil {
			return err
		}
		if end := ends[v.Origin]; until < 0 && from != end { // it is another log than the one that was written last
			_ = os.Remove(part)
			from = end
			if part, v, err = fetchStretch(ctx, c, dir, from, known); err != nil {
				return err
			}
		}
		if until < 0 {
			until = v.Size - 1 // but for the entry that says that this was read
		}
		name := stretch{origin: v.Origin, from: v.Stretch.From, to: v.Stretch.To}.file()
		if err := os.Rename(part, filepath.Join(dir, name)); err != nil {
			return errs.New(errs.Invalid, "cannot keep %s: %w", name, err)
		}
		from, written = v.Stretch.To, append(written, name)
		if !s.json {
			fmt.Fprintln(s.Out, s.say(stretchWritten, name, v.Stretch.To-v.Stretch.From, v.Size))
		}
	}
	if s.json {
		return s.emit(map[string]any{"folder": dir, "files": written})
	}
	return nil
}

// fetchStretch writes one pack of the log into a file of the folder that is not kept yet, and verifies it.
func fetchStretch(ctx context.Context, c *client.Client, dir string, from int64, known note.Verifiers) (string, evidence.Verdict, error) {
	file, err := os.CreateTemp(dir, ".perdure-log-")
	if err != nil {
		return "", evidence.Verdict{}, errs.New(errs.Invalid, "cannot write into %s: %w", dir, err)
	}
	defer file.Close()
	var v evidence.Verdict
	if _, err = c.EvidenceStretch(ctx, from, file); err == nil {
		if err = file.Sync(); err == nil {
			_, err = file.Seek(0, io.SeekStart)
		}
	}
	if err == nil {
		v, err = evidence.Verify(file, known, nil)
	}
	switch {
	case err != nil:
	case !v.Good():
		err = errs.New(errs.Refused, "what the estate gave of its log proves nothing, and is not kept: %s", v.Faults[0])
	case v.Stretch == nil || v.Stretch.From != from:
		err = errs.New(errs.Refused, "the estate gave another part of its log than from entry %d on", from)
	}
	if err != nil {
		_ = os.Remove(file.Name())
	}
	return file.Name(), v, err
}

// stretch is a file of a folder that the log was exported into.
type stretch struct {
	origin   string
	from, to int64
}

var stretchFile = regexp.MustCompile(`^log-([0-9]{1,19})\.([A-Za-z0-9]{1,64})-([0-9]{14})-([0-9]{14})\.pack$`)

func (x stretch) file() string {
	return fmt.Sprintf("log-%s-%014d-%014d.pack", strings.TrimPrefix(x.origin, originPrefix), x.from, x.to)
}

// originPrefix is in front of the incarnation in the origin of a log.
const originPrefix = "perdure/"

// stretchesIn lists the stretches in a folder, those of each log in their order.
func stretchesIn(dir string) ([]stretch, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, errs.New(errs.NotFound, "cannot read %s: %w", dir, err)
	}
	var out []stretch
	for _, f := range files { // in the order of their names
		m := stretchFile.FindStringSubmatch(f.Name())
		if m == nil {
			continue
		}
		from, _ := strconv.ParseInt(m[3], 10, 64) // the form bounds them
		to, _ := strconv.ParseInt(m[4], 10, 64)
		out = append(out, stretch{originPrefix + m[1] + "." + m[2], from, to})
	}
	return out, nil
}

// verifyFolder verifies each stretch of a folder, and that those of each log follow each other from its first entry on.
func (s *session) verifyFolder(dir string, known note.Verifiers) error {
	list, err := stretchesIn(dir)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return errs.New(errs.NotFound, "%s has no file of the evidence log; perdure evidence export writes them", dir)
	}
	ends, faults := map[string]int64{}, 0
	wrong := func(x stretch, format string, args ...any) {
		faults++
		fmt.Fprintf(s.Out, "%s %s: %s\n", s.paint(red, "✗"), x.file(), fmt.Sprintf(format, args...))
	}
	var entries int64
	for _, x := range list {
		file, err := os.Open(filepath.Join(dir, x.file()))
		if err != nil {
			return errs.New(errs.NotFound, "cannot read %s: %w", x.file(), err)
		}
		v, err := evidence.Verify(file, known, nil)
		file.Close()
		if err != nil {
			return errs.New(errs.Invalid, "cannot read %s: %w", x.file(), err)
		}
		for _, f := range v.Faults {
			wrong(x, "%s", f)
		}
		switch {
		case !v.Good():
		case v.Stretch == nil || v.Origin != x.origin || v.Stretch.From != x.from || v.Stretch.To != x.to:
			wrong(x, "it is not what its name says")
		case x.from > ends[x.origin]:
			wrong(x, "entries %d to %d of log %s are missing before it", ends[x.origin], x.from-1, x.origin)
		default:
			entries += x.to - max(x.from, ends[x.origin])
		}
		ends[x.origin] = max(ends[x.origin], x.to)
	}
	if faults > 0 {
		return errs.New(errs.Refused, "%s proves nothing: faults found: %d", dir, faults)
	}
	if s.json {
		return s.emit(map[string]any{"files": len(list), "entries": entries})
	}
	fmt.Fprintln(s.Out, s.paint(green, s.say(folderGood, len(list), entries)))
	return nil
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
				return s.verifyFolder(args[0], known)
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
		}
		fmt.Fprintln(s.Out, s.paint(green, good))
		fmt.Fprintln(s.Out, "  "+s.say(packFacts, v.Leaves, dash(strings.Join(v.Files, ", ")), v.Origin, v.Size, strings.Join(v.Signers, ", ")))
		for _, x := range v.Signatures {
			fmt.Fprintln(s.Out, "  "+s.say(packSigned, x.Step, s.word(string(x.What)), x.By, x.At.Local().Format("2006-01-02 15:04:05"), x.Key, x.Carrier))
		}
	}
}

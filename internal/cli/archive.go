package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"perdure/internal/client"
	"perdure/internal/errs"
	"perdure/internal/evidence"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// exportLog writes stretches of the log until all is there that was in it when it began.
func (s *session) exportLog(ctx context.Context, c *client.Client, dir string, known note.Verifiers) ([]string, error) {
	have, err := stretchesIn(dir)
	if err != nil {
		return nil, err
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
			return written, err
		}
		if end := ends[v.Origin]; until < 0 && from != end { // it is another log than the one that was written last
			_ = os.Remove(part)
			from = end
			if part, v, err = fetchStretch(ctx, c, dir, from, known); err != nil {
				return written, err
			}
		}
		if until < 0 {
			until = v.Size - 1 // but for the entry that says that this was read
		}
		name := stretch{origin: v.Origin, from: v.Stretch.From, to: v.Stretch.To}.file()
		if err := os.Rename(part, filepath.Join(dir, name)); err != nil {
			return written, errs.New(errs.Invalid, "cannot keep %s: %w", name, err)
		}
		from, written = v.Stretch.To, append(written, name)
		if !s.json {
			fmt.Fprintln(s.Out, s.say(stretchWritten, name, v.Stretch.To-v.Stretch.From, v.Size))
		}
	}
	return written, nil
}

// fetchStretch writes one pack of the log into a file of the folder that is not kept yet, and verifies it.
func fetchStretch(ctx context.Context, c *client.Client, dir string, from int64, known note.Verifiers) (string, evidence.Verdict, error) {
	return fetched(dir, known, func(w io.Writer) (int64, error) { return c.EvidenceStretch(ctx, from, w) }, func(v evidence.Verdict) error {
		if v.Stretch == nil || v.Stretch.From != from {
			return errs.New(errs.Refused, "the estate gave another part of its log than from entry %d on", from)
		}
		return nil
	})
}

// fetched writes a pack into a file of the folder that is not kept yet, and verifies it, and that it is what was asked for.
func fetched(dir string, known note.Verifiers, fetch func(io.Writer) (int64, error), fits func(evidence.Verdict) error) (string, evidence.Verdict, error) {
	file, err := os.CreateTemp(dir, ".perdure-log-")
	if err != nil {
		return "", evidence.Verdict{}, errs.New(errs.Invalid, "cannot write into %s: %w", dir, err)
	}
	defer file.Close()
	var v evidence.Verdict
	if _, err = fetch(file); err == nil {
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
		err = errs.New(errs.Refused, "what the estate gave as evidence proves nothing, and is not kept: %s", v.Faults[0])
	default:
		err = fits(v)
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

// runFile is the name of the pack of a run in such a folder, with how many entries of the log are about it: where there are more later, there is another
// pack beside it.
var runFile = regexp.MustCompile(`^run-([A-Za-z0-9_.:-]{1,128})-([1-9][0-9]{0,8})\.pack$`)

func runFileOf(id string, entries int) string { return fmt.Sprintf("run-%s-%d.pack", id, entries) }

// runsIn lists the packs of runs in a folder: of each run how many entries the largest one has.
func runsIn(dir string) (map[string]int, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, errs.New(errs.NotFound, "cannot read %s: %w", dir, err)
	}
	out := map[string]int{}
	for _, f := range files {
		if m := runFile.FindStringSubmatch(f.Name()); m != nil {
			n, _ := strconv.Atoi(m[2]) // the form bounds it
			out[m[1]] = max(out[m[1]], n)
		}
	}
	return out, nil
}

// exportRuns writes a pack of each run that is over and has none in the folder, or of which there is more by now that is to be retired.
func (s *session) exportRuns(ctx context.Context, c *client.Client, dir string, known note.Verifiers) ([]string, error) {
	have, err := runsIn(dir)
	if err != nil {
		return nil, err
	}
	heads, err := c.Runs(ctx, 0)
	if err != nil {
		return nil, err
	}
	would, err := c.EvidenceRetiring(ctx, time.Time{})
	if err != nil {
		return nil, err
	}
	var lack []string
	for _, h := range heads {
		if _, ok := have[h.ID]; !ok && h.Phase == run.Over && h.RetiredAt == 0 {
			lack = append(lack, h.ID)
		}
	}
	for _, r := range would.Runs {
		if have[r.Run] != r.Entries {
			lack = append(lack, r.Run)
		}
	}
	for _, r := range would.Stay {
		if r.Unpacked {
			lack = append(lack, r.Run)
		}
	}
	slices.Sort(lack)
	var written []string
	for _, id := range slices.Compact(lack) {
		part, v, err := fetched(dir, known, func(w io.Writer) (int64, error) { return c.EvidencePack(ctx, id, w) }, func(v evidence.Verdict) error {
			if v.Run != id {
				return errs.New(errs.Refused, "the estate gave evidence of another run than %s", id)
			}
			return nil
		})
		if err != nil {
			return written, err
		}
		name := runFileOf(id, v.Leaves-1)
		if err := os.Rename(part, filepath.Join(dir, name)); err != nil {
			return written, errs.New(errs.Invalid, "cannot keep %s: %w", name, err)
		}
		written = append(written, name)
		if !s.json {
			fmt.Fprintln(s.Out, s.say(runPackWritten, name, v.Leaves-1, strings.Join(v.Files, ", ")))
		}
	}
	return written, nil
}

// archive is what a folder was found to have: all of it good.
type archive struct {
	Files   int   `json:"files"`
	Entries int64 `json:"entries"`
	// Retired are entries that were retired before they were exported here.
	Retired int64 `json:"retired,omitempty"`
	// Runs is how many runs there are packs of.
	Runs int `json:"runs,omitempty"`
	// logs are, by their origin, how far each comes and what its newest file was verified against; packs are how many entries those of runs have.
	logs  map[string]archivedLog
	packs map[string]int
}

type archivedLog struct {
	to     int64
	newest evidence.Verdict
}

// verifyArchive verifies each file of a folder, and that those of each log follow each other from its first entry on.
func (s *session) verifyArchive(dir string, known note.Verifiers) (archive, error) {
	a := archive{logs: map[string]archivedLog{}, packs: map[string]int{}}
	list, err := stretchesIn(dir)
	if err != nil {
		return a, err
	}
	if len(list) == 0 {
		return a, errs.New(errs.NotFound, "%s has no file of the evidence log; perdure evidence export writes them", dir)
	}
	faults := 0
	wrong := func(name, format string, args ...any) {
		faults++
		fmt.Fprintf(s.Out, "%s %s: %s\n", s.paint(red, "✗"), name, fmt.Sprintf(format, args...))
	}
	verify := func(name string) (evidence.Verdict, error) {
		file, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return evidence.Verdict{}, errs.New(errs.NotFound, "cannot read %s: %w", name, err)
		}
		defer file.Close()
		v, err := evidence.Verify(file, known, nil)
		if err != nil {
			return v, errs.New(errs.Invalid, "cannot read %s: %w", name, err)
		}
		for _, f := range v.Faults {
			wrong(name, "%s", f)
		}
		return v, nil
	}
	for _, x := range list {
		v, err := verify(x.file())
		if err != nil {
			return a, err
		}
		log := a.logs[x.origin]
		switch {
		case !v.Good():
		case v.Stretch == nil || v.Origin != x.origin || v.Stretch.From != x.from || v.Stretch.To != x.to:
			wrong(x.file(), "it is not what its name says")
		case x.from > log.to:
			wrong(x.file(), "entries %d to %d of log %s are missing before it", log.to, x.from-1, x.origin)
		default:
			a.Entries, a.Retired = a.Entries+x.to-max(x.from, log.to), a.Retired+v.Stretch.Missing()
		}
		if x.to > log.to {
			log = archivedLog{x.to, v}
		}
		a.logs[x.origin], a.Files = log, a.Files+1
	}
	runs, err := runsIn(dir)
	if err != nil {
		return a, err
	}
	for id, entries := range runs {
		name := runFileOf(id, entries)
		v, err := verify(name)
		if err != nil {
			return a, err
		}
		if v.Good() && (v.Run != id || v.Leaves-1 != entries) {
			wrong(name, "it is not what its name says")
		}
		a.packs[id], a.Files, a.Runs = entries, a.Files+1, a.Runs+1
	}
	if faults > 0 {
		return a, errs.New(errs.Refused, "%s proves nothing: faults found: %d", dir, faults)
	}
	return a, nil
}

func (s *session) showArchive(a archive) error {
	if s.json {
		return s.emit(a)
	}
	fmt.Fprintln(s.Out, s.paint(green, s.say(folderGood, a.Files, a.Entries)))
	if a.Runs > 0 {
		fmt.Fprintln(s.Out, "  "+s.say(folderRuns, a.Runs))
	}
	if a.Retired > 0 {
		fmt.Fprintln(s.Out, "  "+s.say(folderRetired, a.Retired))
	}
	return nil
}

func (s *session) evidenceRetireCommand() *cobra.Command {
	var keys, reason, before string
	var dry, yes bool
	c := &cobra.Command{
		Use: "retire DIR --keys FILE --reason TEXT", Short: "Take out of the store what was exported into a folder and has been kept for long enough",
		Long: `Take out of the store what was exported into a folder and has been kept for long enough: runs that ended before, with their journals, programs, files and orders,
and the other entries of the audit log of that time. For how long everything is kept is said by "perdure policy set evidence kept-for DAYS"; without it nothing goes.

The whole folder is verified first, and has to have a pack of each run that goes: "perdure evidence export DIR --packs" writes them. Runs that an incident or a
rectification refers to stay, and so do those whose orders are held. Of what went the evidence log keeps the hashes, so that it stays one: every checkpoint and every
pack is good as before. It cannot be undone: keep the folder. --dry-run shows what would go, and why other runs stay.`,
		Example: `  perdure evidence export /mnt/worm/evidence --keys bank.keys --packs
  perdure evidence retire /mnt/worm/evidence --keys bank.keys --dry-run
  perdure evidence retire /mnt/worm/evidence --keys bank.keys --reason "kept for five years"`,
		Args: exactly("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var instant time.Time
			if before != "" {
				t, err := time.Parse(time.DateOnly, before)
				if err != nil {
					return usagef("--before %s: give a day such as 2024-12-31", before)
				}
				instant = t
			}
			switch {
			case keys == "":
				return usagef(`--keys FILE is missing: write it with "perdure evidence keys"`)
			case reason == "" && !dry:
				return usagef("--reason TEXT is missing: it stands in the audit log")
			}
			known, err := readKeys(keys)
			if err != nil {
				return err
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			would, err := c.EvidenceRetiring(cmd.Context(), instant)
			if err != nil {
				return err
			}
			if dry {
				return s.showRetiring(would)
			}
			ask, err := s.retirementOf(args[0], known, would)
			if err != nil {
				return err
			}
			if ask.Reason = reason; !s.json {
				if err := s.showRetiring(would); err != nil {
					return err
				}
			}
			if err := s.confirm(yes, s.say(askRetire, len(would.Runs), would.Entries), "retire"); err != nil {
				return err
			}
			if _, err := c.EvidenceRetire(cmd.Context(), ask); err != nil {
				return err
			}
			return s.followRetirement(cmd.Context(), c)
		},
	}
	c.Flags().StringVar(&keys, "keys", "", "file with the public keys that you trust, one a line")
	c.Flags().StringVar(&reason, "reason", "", "why; it stands in the audit log")
	c.Flags().StringVar(&before, "before", "", "only what is older than this day (UTC), such as 2024-12-31")
	c.Flags().BoolVar(&dry, "dry-run", false, "show what would go, and why other runs stay")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

// retirementOf verifies the folder, and that it has all that would go.
func (s *session) retirementOf(dir string, known note.Verifiers, would wire.Retiring) (wire.Retire, error) {
	ask := wire.Retire{Before: would.Before, Origin: would.Origin, Runs: []string{}}
	if would.RetentionDays == nil {
		return ask, errs.New(errs.Refused, "evidence is kept for ever: say for how long with perdure policy set evidence kept-for DAYS")
	}
	a, err := s.verifyArchive(dir, known)
	if err != nil {
		return ask, err
	}
	log, ok := a.logs[would.Origin]
	if !ok {
		return ask, errs.New(errs.Refused, "%s has nothing of log %s, which is the one of this estate", dir, would.Origin)
	}
	ask.Exported, ask.Size, ask.Root = log.to, log.newest.Size, log.newest.Root
	var lack []string
	for _, r := range would.Runs {
		ask.Runs = append(ask.Runs, r.Run)
		if a.packs[r.Run] != r.Entries {
			lack = append(lack, r.Run)
		}
	}
	if n := len(lack); n > 0 {
		const some = 5
		return ask, errs.New(errs.Refused, "%s has no pack of all of %d runs that would go (%s); write them with perdure evidence export %s --packs", dir, n, strings.Join(lack[:min(n, some)], ", "), dir)
	}
	return ask, nil
}

func (s *session) showRetiring(r wire.Retiring) error {
	if s.json {
		return s.emit(r)
	}
	if r.RetentionDays == nil {
		fmt.Fprintln(s.Out, s.say(retiringNothing))
		return nil
	}
	fmt.Fprintln(s.Out, s.say(retiringLine, time.UnixMilli(r.Before).UTC().Format("2006-01-02 15:04 UTC"), len(r.Runs), r.Entries, r.Size))
	reasons := map[string][]string{}
	for _, x := range r.Stay {
		reasons[x.Reason] = append(reasons[x.Reason], x.Run)
	}
	for _, x := range r.Stay { // in their order, each reason once
		if runs := reasons[x.Reason]; len(runs) > 0 {
			const some = 5
			names := strings.Join(runs[:min(len(runs), some)], ", ")
			if len(runs) > some {
				names += ", …"
			}
			fmt.Fprintln(s.Out, "  "+s.say(stayingLine, len(runs), names, x.Reason))
			delete(reasons, x.Reason)
		}
	}
	return nil
}

// retirementEvery is how often it is looked how far a retirement has come.
const retirementEvery = 500 * time.Millisecond

// followRetirement shows how far the retirement has come, until it has come to its end. Who stops following stops nothing.
func (s *session) followRetirement(ctx context.Context, c *client.Client) error {
	for shown := int64(-1); ; {
		now, err := c.EvidenceRetiring(ctx, time.Time{})
		if err != nil {
			return err
		}
		r := now.Last
		if r == nil {
			return errs.New(errs.Internal, "the estate knows of no retirement")
		}
		switch {
		case r.Stopped != "":
			return errs.New(errs.Refused, "the retirement has stopped: %s", r.Stopped)
		case r.FinishedAt != 0 && s.json:
			return s.emit(r)
		case r.FinishedAt != 0:
			fmt.Fprintln(s.Out, s.paint(green, s.say(retiredLine, r.Runs, r.Entries)))
			return nil
		case r.Next != shown && !s.json:
			shown = r.Next
			fmt.Fprintln(s.Err, s.say(retiringProgress, r.Runs, r.Next, r.Exported))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retirementEvery):
		}
	}
}

// Package lab builds a whole estate on one machine: real nodes, gateways, agents, PostgreSQL servers and the reference system for every
// site of a manifest, the network between the sites, load, faults, and the checker's verdict. It carries out stories (package story) and keeps
// an estate running to play with.
//
// Processes are real and started by a supervisor (proc), the network is a proxy (link), the layout follows from the manifest (site).
// What happens is written into a history; results come from the checker alone.
package lab

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"perdure/internal/errs"
	"perdure/internal/lab/checker"
	"perdure/internal/lab/proc"
	"perdure/internal/lab/report"
	"perdure/internal/lab/story"
)

// Options of a lab.
type Options struct {
	// Dir is where everything lives, .lab where empty.
	Dir string
	// Binary is perdure itself; Bank the reference system, where empty corebank beside Binary.
	Binary, Bank string
	// Source is the clone whose examples are used where there are none in the present folder nor beside Binary.
	Source string
	// Out shows progress; Terminal and Width describe it.
	Out      io.Writer
	Terminal bool
	Width    int
	Seed     uint64
	// Language of the verdict's table; English where empty.
	Language report.Language
	Log      *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		o.Dir = ".lab"
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return o, errs.New(errs.Invalid, "cannot find the lab's folder: %w", err)
	}
	o.Dir = dir
	if o.Binary == "" {
		if o.Binary, err = os.Executable(); err != nil {
			return o, errs.New(errs.Internal, "cannot find the own program: %w", err)
		}
	}
	if o.Bank == "" {
		o.Bank = filepath.Join(filepath.Dir(o.Binary), "corebank")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Language == "" {
		o.Language = report.English
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano())
	}
	if _, err := os.Stat(o.Bank); err != nil {
		return o, errs.New(errs.NotFound, "the reference system is missing: %s; `make build` builds it", o.Bank)
	}
	return o, nil
}

// Lab carries out one story, or keeps one estate.
type Lab struct {
	o        Options
	out      *story.Progress
	accounts []int // of each estate of the story, in order
	laid     int   // estates laid out so far

	plan    *plan
	running *running
	// shown is what runs, for the display, which looks at it from a goroutine of its own.
	shown   atomic.Pointer[running]
	results []result
	loaded  time.Time // when the first load began, zero before
}

// took is how long it is since the first load, 0 without one.
func (l *Lab) took() time.Duration {
	if l.loaded.IsZero() {
		return 0
	}
	return time.Since(l.loaded)
}

// result is one estate's history and verdict.
type result struct {
	estate  string
	history string
	verdict checker.Verdict
}

// Run carries out the story in the file and gives the verdict over all its estates. The estate is ended whatever happens; an error says
// what kept the story from its end, and what was recorded until then is judged all the same.
func Run(ctx context.Context, file string, o Options) (report.Summary, error) {
	var none report.Summary
	text, err := os.ReadFile(file)
	if err != nil {
		return none, errs.New(errs.Invalid, "cannot read the story: %w", err)
	}
	s, err := story.Parse(file, text)
	if err != nil {
		return none, err
	}
	if o, err = o.withDefaults(); err != nil {
		return none, err
	}
	if err := clean(o.Dir); err != nil {
		return none, err
	}
	l := &Lab{o: o, accounts: accountsOf(s.Statements)}
	l.out = story.NewProgress(o.Out, o.Terminal, o.Width, l.live)
	l.out.Say("story %s, seed %d, %s", s.Name, o.Seed, o.Dir)
	err = story.Run(ctx, s, l, l.out)
	if l.running != nil {
		if judged := l.finish(ctx, err != nil); err == nil {
			err = judged
		}
	}
	took := l.took()
	if took > 0 {
		l.out.Say("%s from the first load to the verdict", took.Round(100*time.Millisecond))
	}
	l.out.Close()
	if ctx.Err() != nil {
		return none, context.Cause(ctx)
	}
	if err == nil && s.Within > 0 && took > s.Within { // the story's last check was not one of its statements
		err = story.Late(s.Within)
	}
	summary, werr := l.writeResults(err, took, s.Within)
	if err == nil {
		err = werr
	}
	return summary, err
}

// accountsOf finds how many accounts each estate of the story needs, before it is started.
func accountsOf(all []story.Statement) []int {
	var counts []int
	var walk func([]story.Statement)
	walk = func(all []story.Statement) {
		for _, s := range all {
			switch a := s.Action.(type) {
			case story.Estate:
				counts = append(counts, defaultAccounts)
			case story.Load:
				if len(counts) > 0 {
					counts[len(counts)-1] = max(counts[len(counts)-1], a.Accounts)
				}
			default:
			}
			if s.Step != nil {
				walk(s.Step.Body)
			}
			if s.Repeat != nil {
				walk(s.Repeat.Body)
			}
		}
	}
	walk(all)
	return counts
}

// defaultAccounts is how many accounts an estate has where the story does not say.
const defaultAccounts = 2000

// clean ends what a killed lab left in the folder and takes everything away but earlier results' own folder, which does not exist:
// a lab begins with nothing.
func clean(dir string) error {
	if err := ours(dir); err != nil {
		return err
	}
	if pid, ok := proc.Alive(dir); ok {
		return errs.New(errs.Conflict, "a lab is running in %s (process %d); `perdure lab down` ends it", dir, pid)
	}
	if _, err := proc.Down(context.Background(), dir, nil); err != nil {
		return err
	}
	if err := removeOutside(dir); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return errs.New(errs.Unavailable, "cannot empty the lab's folder: %w", err)
	}
	return claim(dir)
}

// live gives the load's figures for the display.
func (l *Lab) live() string {
	r := l.shown.Load()
	if r == nil {
		return ""
	}
	return r.figures()
}

// name tells the estates of a story apart in files.
func (l *Lab) name() string { return fmt.Sprintf("%s-%d", l.plan.estate, l.laid) }

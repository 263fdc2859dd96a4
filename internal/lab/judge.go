package lab

import (
	"context"
	"path/filepath"
	"time"

	"perdure/internal/errs"
	"perdure/internal/lab/checker"
	"perdure/internal/lab/checker/collect"
	"perdure/internal/lab/history"
	"perdure/internal/lab/report"
	"perdure/internal/lab/story"
)

// finish ends the load, lets the checker judge the estate and ends it. After a failure as much as possible is still judged.
func (l *Lab) finish(ctx context.Context, failed bool) error {
	r := l.running
	defer func() {
		r.close()
		l.running = nil
		l.shown.Store(nil)
	}()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if failed {
		// What is broken would only make the settling of calls fail too.
		_ = r.heal(ctx, story.Heal{All: true})
	}
	l.out.Note("calls under way end, unresolved ones are sent again")
	err := r.loadStop(ctx)
	l.out.Note("messages under way arrive, databases are read, the checker judges")
	if terr := r.takeDown(ctx); err == nil {
		err = terr
	}
	v, jerr := r.judge(ctx)
	if v.Estate != "" {
		l.results = append(l.results, result{estate: r.name, history: r.path, verdict: v})
	}
	if err == nil {
		err = jerr
	}
	return err
}

// outboxWait bounds how long money may stay on its way after the load; what is still on its way then is counted as such.
const outboxWait = 30 * time.Second

// judge reads the final owners and asks the checker.
func (r *running) judge(ctx context.Context) (checker.Verdict, error) {
	var facts checker.Facts = &checker.Contents{}
	sources, err := r.sources(ctx)
	if err == nil {
		var d *collect.Databases
		if d, err = collect.Open(ctx, sources, outboxWait); err == nil {
			defer d.Close()
			facts = d
		}
	}
	if cerr := r.hist.Close(); err == nil {
		err = cerr
	}
	v, verr := checker.Check(ctx, checker.Inputs{History: history.Read(r.path), Facts: facts})
	if verr != nil {
		return v, errs.New(errs.KindOf(verr), "the run cannot be judged: %w", verr)
	}
	return v, err
}

// Results of a run in the lab's folder.
const (
	summaryFile = "summary.json"
	detailsFile = "details.json"
	reportFile  = "report.html"
)

// writeResults leaves summary, details and report in the lab's folder and shows the verdict. failure is what kept the story from its
// end, took and within are how long it took from its first load and how long it may take.
func (l *Lab) writeResults(failure error, took, within time.Duration) (report.Summary, error) {
	var all []checker.Verdict
	for _, r := range l.results {
		all = append(all, r.verdict)
	}
	s := report.Summarise(all...)
	if failure != nil {
		s = report.Failed(failure.Error(), all...)
	}
	s.Details.Took, s.Details.Within = took, within
	if err := report.WriteDetails(filepath.Join(l.o.Dir, detailsFile), s.Details); err != nil {
		return s, err
	}
	if err := report.WriteSummary(filepath.Join(l.o.Dir, summaryFile), s); err != nil {
		return s, err
	}
	if err := report.WriteReport(filepath.Join(l.o.Dir, reportFile), s); err != nil {
		return s, err
	}
	if err := report.Table(l.o.Out, s, l.o.Language); err != nil {
		return s, err
	}
	if err := report.Places(l.o.Out, l.o.Language, filepath.Join(l.o.Dir, reportFile), filepath.Join(l.o.Dir, summaryFile)); err != nil {
		return s, err
	}
	return s, nil
}

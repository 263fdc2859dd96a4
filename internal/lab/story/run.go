package story

import (
	"context"
	"fmt"
	"strings"
	"time"

	"perdure/internal/errs"
)

// World is what a story happens to. Its methods are called one after another.
type World interface {
	// Do carries out an action and returns when it is done or has failed.
	Do(ctx context.Context, a Action) error
	// Holds looks whether the condition holds now, and says in a few words how things stand.
	Holds(ctx context.Context, c Condition) (bool, string)
	// Begin and End mark the edges of a step in the history.
	Begin(ctx context.Context, s Step) error
	End(ctx context.Context, s Step) error
}

// lookEvery is how often a condition is looked at.
const lookEvery = 50 * time.Millisecond

// Run carries the story out in its order. It stops at the first statement that fails, after the step it stands in was ended,
// and says where that was. A story that is not over in its time fails with Late; what judges is not cut short by that.
func Run(ctx context.Context, s Story, w World, out *Progress) error {
	bound, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	r := &runner{story: s, world: w, out: out, late: func() { cut(Late(s.Within)) }}
	defer r.hold()
	err := r.all(bound, s.Statements, "")
	if late := r.bound != nil && !time.Now().Before(r.over); ctx.Err() == nil && late && (err == nil || bound.Err() != nil) {
		return Late(s.Within)
	}
	return err
}

// Late is the error of a story that is not over, or was not, in the time it has from its first load.
func Late(within time.Duration) error {
	return errs.New(errs.Refused, "the story took longer than the %v it has from its first load: see which statements took the time, or say more than: within %v", within, within)
}

type runner struct {
	story Story
	world World
	out   *Progress
	// late ends the run because its time is over; bound does it at over, and is nil before the first load and where there is no bound.
	late  func()
	bound *time.Timer
	over  time.Time
}

// all carries out statements; suffix tells the rounds of a repeat apart in the names of steps.
func (r *runner) all(ctx context.Context, statements []Statement, suffix string) error {
	for _, s := range statements {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		var err error
		switch {
		case s.Step != nil:
			err = r.step(ctx, s, suffix)
		case s.Repeat != nil:
			err = r.repeat(ctx, s, suffix)
		case s.Say != "":
			r.out.Say("%s", s.Say)
		default:
			err = r.one(ctx, s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// one carries out a plain statement and shows it.
func (r *runner) one(ctx context.Context, s Statement) error {
	r.out.begin(s.Text)
	var err error
	switch {
	case s.Wait != nil:
		err = r.wait(ctx, *s.Wait)
	case s.Until != nil:
		err = r.passUntil(ctx, s.Pass, *s.Until)
	case s.Pass > 0:
		err = Pass(ctx, s.Pass)
	case s.Action != nil:
		err = r.do(ctx, s.Action)
	}
	r.out.end(err)
	if err != nil && ctx.Err() == nil {
		return errs.New(errs.KindOf(err), "line %d, %s: %w", s.Line, s.Text, err)
	}
	return err
}

// do has the world carry out an action. The story's time begins with the first load.
func (r *runner) do(ctx context.Context, a Action) error {
	switch a.(type) {
	case Load:
		if r.story.Within > 0 && r.bound == nil {
			r.over = time.Now().Add(r.story.Within)
			r.bound = time.AfterFunc(r.story.Within, r.late)
		}
	case Estate, Check: // what was recorded is judged however long that takes, and is late afterwards
		if r.hold() {
			defer func() { r.bound.Reset(max(0, time.Until(r.over))) }()
		}
	}
	return r.world.Do(ctx, a)
}

// hold stops the clock of the story's bound, and reports whether it was running.
func (r *runner) hold() bool { return r.bound != nil && r.bound.Stop() }

func (r *runner) step(ctx context.Context, s Statement, suffix string) error {
	step := *s.Step
	step.Name += suffix
	if len(step.Title) > 0 && suffix != "" {
		title := make(map[string]string, len(step.Title))
		for language, t := range step.Title {
			title[language] = t + suffix
		}
		step.Title = title
	}
	if err := r.world.Begin(ctx, step); err != nil {
		return err
	}
	r.out.stepBegins(step)
	err := r.all(ctx, step.Body, suffix)
	r.out.stepEnds()
	// The end is marked after a failure too, so that the checker can say what the step was like.
	if ended := r.world.End(context.WithoutCancel(ctx), step); err == nil {
		err = ended
	}
	return err
}

func (r *runner) repeat(ctx context.Context, s Statement, suffix string) error {
	start := time.Now()
	for round := 1; ; round++ {
		if s.Repeat.Times > 0 && round > s.Repeat.Times || s.Repeat.For > 0 && time.Since(start) >= s.Repeat.For {
			return nil
		}
		if err := r.all(ctx, s.Repeat.Body, fmt.Sprintf("%s #%d", suffix, round)); err != nil {
			return err
		}
		if len(s.Repeat.Body) == 0 {
			return nil
		}
	}
}

// wait looks until the condition holds, at most as long as the story allows.
func (r *runner) wait(ctx context.Context, w Wait) error {
	bound, cancel := context.WithTimeout(ctx, w.Within)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	stands := ""
	for {
		holds, now := r.world.Holds(bound, w.Condition)
		if holds {
			return nil
		}
		// What is said when the bound cuts a look short tells nothing.
		if bound.Err() == nil {
			stands = now
			r.out.Note(now)
		}
		select {
		case <-tick.C:
		case <-bound.Done():
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return errs.New(errs.Unavailable, "it has not come true within %v; it stands: %s", w.Within, strings.TrimSpace(stands))
		}
	}
}

// passUntil lets time pass until the condition holds, or the time is over; both are right.
func (r *runner) passUntil(ctx context.Context, d time.Duration, c Condition) error {
	bound, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for {
		holds, now := r.world.Holds(bound, c)
		if holds {
			return nil
		}
		if bound.Err() == nil {
			r.out.Note(now)
			_ = Pass(bound, lookEvery) // the end of the bound is looked at next
		}
		if bound.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// Pass lets time pass; it fails only when ctx ends first.
func Pass(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

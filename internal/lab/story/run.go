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
// and says where that was.
func Run(ctx context.Context, s Story, w World, out *Progress) error {
	r := &runner{story: s, world: w, out: out}
	return r.all(ctx, s.Statements, "")
}

type runner struct {
	story Story
	world World
	out   *Progress
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
		err = r.world.Do(ctx, s.Action)
	}
	r.out.end(err)
	if err != nil && ctx.Err() == nil {
		return errs.New(errs.KindOf(err), "line %d, %s: %w", s.Line, s.Text, err)
	}
	return err
}

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

package preflight

import (
	"context"
	"fmt"
	"sync"
	"time"

	"perdure/internal/errs"
	"perdure/internal/measure"
	"perdure/internal/plan"
	"perdure/internal/resource"
)

// Bounds of what a preflight looks at.
const (
	mostLooks     = 5000
	looksAtATime  = 16
	looksWithin   = 20 * time.Second // all of them
	oneLookWithin = 5 * time.Second
)

// look looks at everything once, however many steps of however many runs ask for it.
type look struct {
	looks Looker
	mu    sync.Mutex
	once  map[string]func() found
}

type found struct {
	result map[string]any
	err    error
}

func newLook(looks Looker) *look { return &look{looks: looks, once: map[string]func() found{}} }

// all makes the looks that can be made before a run, several at a time: one that does not answer holds up none of the others.
func (l *look) all(ctx context.Context, list []plan.Precheck) []measure.Looked {
	out := make([]measure.Looked, len(list))
	ctx, cancel := context.WithTimeout(ctx, looksWithin)
	defer cancel()
	var group sync.WaitGroup
	room := make(chan struct{}, looksAtATime)
	for i := range list {
		one := &list[i]
		out[i] = measure.Looked{Step: one.Step, Unknown: one.Unknown}
		switch {
		case one.Call == nil:
			continue
		case i >= mostLooks:
			out[i].Unknown = fmt.Sprintf("a preflight looks at %d things at most", mostLooks)
			continue
		}
		plain := *one.Call
		plain.Expect = ""
		out[i].Call = plain.Words()
		room <- struct{}{}
		group.Go(func() {
			defer func() { <-room }()
			f := l.at(ctx, plain)
			if f.err != nil {
				out[i].Wrong = f.err.Error()
				return
			}
			out[i].Result, out[i].Wrong = f.result, one.Judge(f.result)
		})
	}
	group.Wait()
	return out
}

// at looks at one thing, or says what was found before.
func (l *look) at(ctx context.Context, c plan.Call) found {
	if ctx.Err() != nil {
		return found{err: errs.New(errs.Unavailable, "not looked at within %s", looksWithin)}
	}
	l.mu.Lock()
	words := string(resource.TenantOf(ctx)) + " " + c.Words() // what one tenant may look at another may not
	once, ok := l.once[words]
	if !ok {
		once = sync.OnceValue(func() found {
			bounded, cancel := context.WithTimeout(ctx, oneLookWithin)
			defer cancel()
			result, err := l.looks.Look(bounded, c)
			return found{result, err}
		})
		l.once[words] = once
	}
	l.mu.Unlock()
	return once()
}

package api

import (
	"context"
	"fmt"
	"sync"
	"time"

	"perdure/internal/errs"
	"perdure/internal/measure"
	"perdure/internal/plan"
)

// Bounds of what a preflight looks at.
const (
	mostLooks     = 5000
	looksAtATime  = 16
	looksWithin   = 20 * time.Second // all of them
	oneLookWithin = 5 * time.Second
)

// Looker looks at what steps act on. It changes nothing.
type Looker interface {
	Look(ctx context.Context, c plan.Call) (map[string]any, error)
}

// looked makes the looks of a program that can be made before a run, each once, several at a time: one that does not answer holds up none of the
// others.
func (s *Server) looked(ctx context.Context, program *plan.Program, params map[string]any) []measure.Looked {
	list := program.Prechecks(params)
	out := make([]measure.Looked, len(list))
	ctx, cancel := context.WithTimeout(ctx, looksWithin)
	defer cancel()
	type found struct {
		result map[string]any
		err    error
	}
	var mu sync.Mutex
	once := map[string]func() found{}
	var group sync.WaitGroup
	room := make(chan struct{}, looksAtATime)
	for i := range list {
		l := &list[i]
		out[i] = measure.Looked{Step: l.Step, Unknown: l.Unknown}
		switch {
		case l.Call == nil:
			continue
		case s.d.Looks == nil:
			out[i].Unknown = "this node looks at nothing"
			continue
		case i >= mostLooks:
			out[i].Unknown = fmt.Sprintf("a preflight looks at %d things at most", mostLooks)
			continue
		}
		plain := *l.Call
		plain.Expect = ""
		out[i].Call = plain.Words()
		mu.Lock()
		look, ok := once[out[i].Call]
		if !ok {
			look = sync.OnceValue(func() found {
				if ctx.Err() != nil {
					return found{err: errs.New(errs.Unavailable, "not looked at within %s", looksWithin)}
				}
				bounded, cancel := context.WithTimeout(ctx, oneLookWithin)
				defer cancel()
				result, err := s.d.Looks.Look(bounded, plain)
				return found{result, err}
			})
			once[out[i].Call] = look
		}
		mu.Unlock()
		room <- struct{}{}
		group.Go(func() {
			defer func() { <-room }()
			f := look()
			if f.err != nil {
				out[i].Wrong = f.err.Error()
				return
			}
			out[i].Result, out[i].Wrong = f.result, l.Judge(f.result)
		})
	}
	group.Wait()
	return out
}

package agent

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/wire"
)

const (
	// sandboxBound is the longest that one thing done with a sandbox may take.
	sandboxBound = 6 * time.Hour
	// sandboxTick is how often a sandbox is looked for whose time is over.
	sandboxTick = 10 * time.Second
)

// sandboxWork is what is done with the sandbox now, and what became of it. It is apart from what the protocol asks of the copy: neither
// waits for the other.
type sandboxWork struct {
	mu     sync.Mutex
	ask    wire.SandboxRequest
	answer wire.SandboxAnswer
	cancel context.CancelFunc // nil: nothing is under way
	begin  chan struct{}
}

// sandbox begins what is asked for, or says how far it is.
func (a *Agent) sandbox(ctx context.Context, body []byte) (any, error) {
	var ask wire.SandboxRequest
	if err := json.Unmarshal(body, &ask); err != nil {
		return nil, errs.New(errs.Invalid, "request for a sandbox: %w", err)
	}
	switch {
	case a.opts.Sandboxes == nil:
		return nil, errs.New(errs.Invalid, "%s has a driver that makes no sandbox", a.opts.Member)
	case ask.Group != a.opts.Group:
		return nil, errs.New(errs.Invalid, "%s is no member of %s", a.opts.Member, ask.Group)
	case ask.Do == wire.SandboxLook:
		s, err := a.opts.Sandboxes.Sandbox(ctx)
		if err != nil {
			return nil, err
		}
		trace, err := a.opts.Sandboxes.SandboxTrace(ctx)
		return wire.SandboxAnswer{Sandbox: s, Trace: trace, Done: true}, err
	}
	w := &a.sandboxes
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.ask == ask: // under way, or over
	case w.cancel == nil:
		w.ask, w.answer = ask, wire.SandboxAnswer{}
		select {
		case w.begin <- struct{}{}:
		default:
		}
	case ask.Do == wire.SandboxDiscard && ask.Run == w.ask.Run: // what is under way is not wanted any more
		w.cancel()
	case ask.Run == w.ask.Run && ask.Do == w.ask.Do: // another attempt, of a node that took the run over, begins when this one is over
	default:
		return nil, errs.New(errs.Conflict, "the sandbox of %s is busy: %s for run %s", a.opts.Member, w.ask.Do, w.ask.Run)
	}
	if w.ask != ask {
		return wire.SandboxAnswer{}, nil // asked for again
	}
	return w.answer, nil
}

// keepSandbox does what was asked for, one after the other, and discards what nobody cleans up.
func (a *Agent) keepSandbox(ctx context.Context) error {
	if a.opts.Sandboxes == nil {
		return nil
	}
	tick := time.NewTicker(sandboxTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			a.expire(ctx)
		case <-a.sandboxes.begin:
			a.workSandbox(ctx)
		}
	}
}

func (a *Agent) workSandbox(ctx context.Context) {
	w := &a.sandboxes
	ctx, cancel := context.WithTimeout(ctx, sandboxBound)
	defer cancel()
	w.mu.Lock()
	ask := w.ask
	w.cancel = cancel
	w.mu.Unlock()
	began := time.Now()
	answer, err := a.doSandbox(ctx, ask)
	answer.Done = true
	if err != nil {
		answer.Error, answer.Kind = err.Error(), string(errs.KindOf(err))
		a.log.Warn("sandbox", "do", ask.Do, "run", ask.Run, "err", err, "took", time.Since(began))
	} else {
		a.log.Info("sandbox", "do", ask.Do, "run", ask.Run, "state", answer.Sandbox.State, "position", answer.Sandbox.Position, "took", time.Since(began))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer, w.cancel = answer, nil
}

func (a *Agent) doSandbox(ctx context.Context, ask wire.SandboxRequest) (out wire.SandboxAnswer, err error) {
	switch ask.Do {
	case wire.SandboxLook:
	case wire.SandboxClone:
		out.Sandbox, err = a.opts.Sandboxes.CloneSandbox(ctx, ask.Run, ask.Keep, nil)
	case wire.SandboxOpen:
		out.Sandbox, err = a.opts.Sandboxes.OpenSandbox(ctx, ask.Run, strings.Fields(ask.Accounts))
	case wire.SandboxTransact:
		var v driver.SandboxTransacted
		test := driver.SandboxTest{Unit: ask.Unit, Transaction: ask.Transaction, Accounts: strings.Fields(ask.Accounts), Query: ask.Query}
		if v, err = a.opts.Sandboxes.TransactSandbox(ctx, ask.Run, test); err == nil {
			out.Transacted = &v
			out.Sandbox, err = a.opts.Sandboxes.Sandbox(ctx)
		}
	case wire.SandboxVerify:
		var v driver.SandboxVerdict
		if v, err = a.opts.Sandboxes.VerifySandbox(ctx, ask.Run, ask.Query); err == nil {
			out.Verdict = &v
			out.Sandbox, err = a.opts.Sandboxes.Sandbox(ctx)
		}
	case wire.SandboxMask:
		var masks []estate.Mask
		if err = read("masks", ask.Masks, &masks); err != nil {
			break
		}
		var v driver.SandboxMasked
		if v, err = a.opts.Sandboxes.MaskSandbox(ctx, ask.Run, masks); err == nil {
			out.Masked = &v
			out.Sandbox, err = a.opts.Sandboxes.Sandbox(ctx)
		}
	case wire.SandboxShow:
		var masks []estate.Mask
		var shows []estate.Showing
		if err = errors.Join(read("masks", ask.Masks, &masks), read("tables", ask.Shows, &shows)); err != nil {
			break
		}
		if out.Shown, err = a.opts.Sandboxes.ShowSandbox(ctx, ask.Run, masks, shows); err == nil {
			out.Sandbox, err = a.opts.Sandboxes.Sandbox(ctx)
		}
	case wire.SandboxDiscard:
		err = a.opts.Sandboxes.DiscardSandbox(ctx, ask.Run)
	}
	return out, err
}

// read reads a part of a request that stands in it as JSON; empty: there is none.
func read(what, text string, into any) error {
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return errs.New(errs.Invalid, "%s of a request for a sandbox: %w", what, err)
	}
	return nil
}

// expire discards a sandbox whose time is over: its run may never come back to it.
func (a *Agent) expire(ctx context.Context) {
	s, err := a.opts.Sandboxes.Sandbox(ctx)
	if err == nil && (s.Run == "" || time.Now().Before(s.Until)) {
		return
	}
	if err == nil {
		a.log.Warn("a sandbox is discarded whose time is over", "run", s.Run, "until", s.Until)
		err = a.opts.Sandboxes.DiscardSandbox(ctx, s.Run)
	}
	if err != nil && ctx.Err() == nil {
		a.log.Warn("a sandbox is not discarded", "err", err)
	}
}

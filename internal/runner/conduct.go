package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"perdure/internal/errs"
	"perdure/internal/plan"
	"perdure/internal/resource"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// conductor carries out one run while its claim holds.
type conductor struct {
	x     *Runner
	claim Claim
	head  wire.Run
	run   *run.Run
	prog  *plan.Program
	log   *slog.Logger

	work sync.WaitGroup
	came chan came
	// ends are what came of attempts and is not in the journal yet.
	ends []end
	// acting, looking and probing are under way here; doubted says since when an attempt has been probed.
	acting  map[attempt]bool
	looking map[string]bool
	probing map[attempt]bool
	doubted map[attempt]time.Time
	facts   run.Facts
	looked  map[string]time.Time // when the facts of a step came
	missedN int                  // appends in a row that were refused
	blocked time.Time            // a lock was held by another run: until when nothing that needs one is tried
}

type attempt struct {
	node string
	n    int
	undo bool
}

// end is what came of an attempt.
type end struct {
	of      run.Attempt
	result  map[string]any
	failure error
	probed  bool
	done    bool // of a probe
	nothing bool // it was never begun
}

// came is what work beside the conductor brings back.
type came struct {
	end   *end
	node  string
	facts map[string]any
	err   error
}

// conduct carries out a run until it is over, the claim is lost or ctx ends. alone: this program has to leave the run alone (R9).
func (x *Runner) conduct(ctx context.Context, claim Claim, f *followed) (alone bool) {
	ctx, cancel := context.WithCancel(ctx)
	head := f.now()
	c := &conductor{
		x: x, claim: claim, head: head, log: x.log.With("run", head.ID, "plan", head.Plan),
		came: make(chan came), acting: map[attempt]bool{}, looking: map[string]bool{}, probing: map[attempt]bool{}, doubted: map[attempt]time.Time{}, facts: run.Facts{}, looked: map[string]time.Time{},
	}
	defer c.work.Wait()
	defer cancel()
	c.work.Go(func() {
		select {
		case <-claim.Lost():
			cancel()
		case <-ctx.Done():
		}
	})
	for ctx.Err() == nil {
		if c.run == nil {
			if err := c.load(ctx); err != nil {
				if run.Newer(err) {
					c.log.Error("this node leaves a run alone, for nodes of the version that wrote it", "err", err)
					return true
				}
				if ctx.Err() == nil {
					c.log.Warn("cannot read a run", "err", err)
				}
				pause(ctx, againAfter, nil)
				continue
			}
		}
		if c.run.Phase == run.Over {
			c.log.Info("run is over", "outcome", c.run.Outcome)
			f.learn(c.head)
			return false
		}
		wake, again := c.step(ctx)
		if again {
			continue
		}
		c.wait(ctx, f, wake)
	}
	return false
}

// load makes the run from its journal, and takes it over.
func (c *conductor) load(ctx context.Context) error {
	head, err := c.x.store.Run(ctx, c.head.ID)
	if err != nil {
		return err
	}
	if c.prog == nil {
		if c.prog, err = c.x.store.Program(ctx, head.ID); err != nil {
			return err
		}
	}
	journal, err := c.x.store.Journal(ctx, head.ID, 0)
	if err != nil {
		return err
	}
	if n := len(journal); n == 0 || journal[n-1].Seq != head.Seq {
		return errs.New(errs.Conflict, "the journal goes on while it is read")
	}
	r, err := run.Replay(head.ID, c.prog, journal)
	if err != nil {
		return err
	}
	c.head, c.run = head, r
	if r.Phase == run.Over {
		return nil
	}
	if r.Term < c.claim.Term() {
		if err := c.append(ctx, []run.Entry{{What: run.Took, Term: c.claim.Term()}}); err != nil {
			c.run = nil // it was advanced: the journal says how it stands
			return err
		}
	}
	// What was posted with its beginning is followed by whoever holds the run. An intent may have got into the journal although the store did not say so: nobody acts on it, and nobody else could have begun it.
	for _, a := range r.UnderWay() {
		switch key := (attempt{a.Node, a.Attempt, a.Undo}); {
		case c.acting[key], slices.ContainsFunc(c.ends, func(e end) bool { return e.of.Node == a.Node && e.of.Undo == a.Undo }):
		case a.Posted:
			c.act(ctx, a)
		default:
			c.ends = append(c.ends, end{of: a, nothing: true})
		}
	}
	return nil
}

// step does what can be done now. again: ask once more at once.
func (c *conductor) step(ctx context.Context) (wake time.Time, again bool) {
	if len(c.ends) > 0 {
		return time.Time{}, c.settle(ctx)
	}
	now := time.Now()
	for node, at := range c.looked {
		if now.Sub(at) >= factsLast {
			delete(c.looked, node)
			delete(c.facts, node)
		}
	}
	next := c.run.Decide(now, c.facts, c.x.opts.Room)
	wake = next.Wake
	entries := next.Entries
	if now.Before(c.blocked) {
		entries = slices.DeleteFunc(entries, func(e run.Entry) bool { return len(e.Locks) > 0 })
		if wake.IsZero() || c.blocked.Before(wake) {
			wake = c.blocked
		}
	}
	entries = fitting(entries)
	if len(entries) > 0 {
		if err := c.append(ctx, entries); err != nil {
			return wake, c.missed(ctx, err)
		}
		for _, e := range entries {
			if e.What == run.Began {
				c.act(ctx, run.Attempt{Node: e.Node, Attempt: e.Attempt, Undo: e.Undo, Call: e.Call})
			}
		}
		return wake, true
	}
	for _, l := range next.Looks {
		if len(c.looking) < c.x.opts.Room {
			c.look(ctx, l)
		}
	}
	for _, a := range next.Probes {
		c.probe(ctx, a)
	}
	return wake, false
}

// Bounds of one append: the store takes no more at once, and what one step gave has to fit as well.
const (
	mostBytes = 512 << 10
	mostGiven = 256 << 10
)

// fitting cuts off what does not fit into one append.
func fitting(entries []run.Entry) []run.Entry {
	size := 0
	for i, e := range entries {
		size += sizeOf(e)
		if i > 0 && size > mostBytes || i == run.MostEntries {
			return entries[:i]
		}
	}
	return entries
}

func sizeOf(v any) int {
	data, err := json.Marshal(v)
	if err != nil {
		return mostBytes + 1
	}
	return len(data)
}

// missed decides what an append that failed means.
func (c *conductor) missed(ctx context.Context, err error) (again bool) {
	if locks, busy := c.x.store.BusyLocks(err); busy {
		c.log.Info("waiting for a lock that another run holds", "locks", locks)
		c.blocked = time.Now().Add(locksEvery)
	} else if c.missedN++; ctx.Err() == nil && (c.missedN > 1 || errs.KindOf(err) != errs.Conflict) {
		// A first conflict is a person's word; one more may be a claim that is lost and does not know it yet.
		c.log.Warn("cannot append to the journal of a run", "err", err)
		pause(ctx, againAfter, nil)
	}
	c.run = nil // it was advanced: the journal says how it stands
	return true
}

// append judges entries, and adds them to the journal. After an error the run has to be read again.
func (c *conductor) append(ctx context.Context, entries []run.Entry) error {
	before := c.run.Held()
	now := time.Now()
	for i := range entries {
		e := &entries[i]
		e.Seq, e.At, e.By = c.run.Seq+1, now.UTC().Truncate(time.Microsecond), "node:"+c.x.opts.Node
		if err := c.run.Advance(*e); err != nil {
			return errs.New(errs.Internal, "the run cannot take what it asked for: %w", err)
		}
	}
	after := c.run.Held()
	take := slices.DeleteFunc(slices.Clone(after), func(l string) bool { return slices.Contains(before, l) })
	release := slices.DeleteFunc(before, func(l string) bool { return slices.Contains(after, l) })
	head, err := c.claim.Append(ctx, c.head.At(c.run), entries, take, release)
	if err != nil {
		return err
	}
	c.head, c.missedN = head, 0
	return nil
}

// settle writes down what came of attempts. What the run does not wait for any more is left out.
func (c *conductor) settle(ctx context.Context) (again bool) {
	var entries []run.Entry
	n, size := 0, 0
	for ; n < min(len(c.ends), run.MostEntries); n++ {
		if e := c.ends[n]; c.awaits(e.of) {
			entry := c.judge(e)
			if size += sizeOf(entry); size > mostBytes && len(entries) > 0 {
				break
			}
			entries = append(entries, entry)
		}
	}
	if len(entries) > 0 {
		if err := c.append(ctx, entries); err != nil {
			return c.missed(ctx, err) // and is tried again with the run as it stands then
		}
	}
	c.ends = slices.Delete(c.ends, 0, n)
	return true
}

// awaits reports whether an attempt is the one of which the run wants to know.
func (c *conductor) awaits(a run.Attempt) bool {
	s, ok := c.run.Step(a.Node)
	if !ok {
		return false
	}
	status, n := s.Status, s.Attempt
	if a.Undo {
		status, n = s.Undo.Status, s.Undo.Attempt
	}
	return n == a.Attempt && (status == run.Acting || status == run.Doubtful)
}

func (c *conductor) judge(e end) run.Entry {
	entry := run.Entry{What: run.Ended, Node: e.of.Node, Attempt: e.of.Attempt, Undo: e.of.Undo, Probed: e.probed}
	switch {
	case e.nothing, e.probed && e.failure == nil && !e.done:
		entry.Outcome = run.Nothing
		return entry
	case unknown(e.failure):
		entry.Outcome, entry.Error = run.Unknown, e.failure.Error()
		return entry
	}
	entry = c.run.Judge(e.of, e.result, e.failure)
	entry.Probed = e.probed
	if n := sizeOf(entry); n > mostGiven {
		short := run.Entry{What: entry.What, Node: entry.Node, Attempt: entry.Attempt, Undo: entry.Undo, Probed: entry.Probed, Outcome: run.Failed}
		short.Error = fmt.Sprintf("what it gave is not kept: %d bytes, at most %d are", n, mostGiven)
		return short
	}
	return entry
}

// unknown: the attempt may have had its effect.
func unknown(err error) bool {
	return errs.KindOf(err) == errs.Unknown || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// act carries out an attempt beside the conductor.
func (c *conductor) act(ctx context.Context, a run.Attempt) {
	c.log.Info("step begins", "step", a.Node, "attempt", a.Attempt, "undo", a.Undo)
	call, timeout := c.call(a)
	if a.Posted {
		timeout = 0 // what was posted ends by itself
	}
	c.acting[attempt{a.Node, a.Attempt, a.Undo}] = true
	c.beside(ctx, timeout, func(ctx context.Context) came {
		d, err := c.x.drivers.Find(call.Driver)
		if err != nil {
			return came{end: &end{of: a, failure: err}}
		}
		result, err := d.Ensure(ctx, call)
		return came{end: &end{of: a, result: result, failure: err}}
	})
}

func (c *conductor) call(a run.Attempt) (resource.Call, time.Duration) {
	key := c.head.ID + "/" + a.Node
	if a.Undo {
		key += "/undo"
	}
	timeout := leastDoubt
	if n, ok := c.run.Node(a.Node); ok && n.Timeout > 0 {
		timeout = n.Timeout
	}
	return resource.Call{Call: *a.Call, Key: key, Mode: c.prog.Mode, By: c.head.StartedBy, Posted: a.Posted}, timeout
}

// beside does work of which the conductor hears later; a timeout of 0 is none.
func (c *conductor) beside(ctx context.Context, timeout time.Duration, work func(context.Context) came) {
	c.work.Go(func() {
		bounded := resource.For(ctx, c.prog.Tenant)
		if timeout > 0 {
			limited, cancel := context.WithTimeoutCause(bounded, timeout, fmt.Errorf("not over within %s: %w", timeout, context.DeadlineExceeded))
			defer cancel()
			bounded = limited
		}
		got := work(bounded)
		select {
		case c.came <- got:
		case <-ctx.Done():
		}
	})
}

// look asks for the facts that a step needs.
func (c *conductor) look(ctx context.Context, l run.Look) {
	if c.looking[l.Node] {
		return
	}
	c.looking[l.Node] = true
	c.beside(ctx, leastDoubt, func(ctx context.Context) came {
		facts := map[string]any{}
		for _, target := range l.Targets {
			found, err := c.factsOf(ctx, target)
			if err != nil {
				pause(ctx, probeEvery, nil)
				return came{node: l.Node, err: err}
			}
			facts[target] = found
		}
		return came{node: l.Node, facts: facts}
	})
}

// factsOf asks the driver whose name stands before the slash: "unit/u1".
func (c *conductor) factsOf(ctx context.Context, target string) (map[string]any, error) {
	for name, d := range c.x.drivers {
		if rest, ok := cut(target, name+"/"); ok {
			return d.Facts(ctx, rest)
		}
	}
	return nil, errs.New(errs.NotFound, "no driver knows facts about %s", target)
}

func cut(s, prefix string) (string, bool) {
	if len(s) <= len(prefix) || s[:len(prefix)] != prefix {
		return s, false
	}
	return s[len(prefix):], true
}

// probe asks what an attempt did of which nobody knows. Where that cannot be found out for long, a person is asked.
func (c *conductor) probe(ctx context.Context, a run.Attempt) {
	key := attempt{a.Node, a.Attempt, a.Undo}
	if c.probing[key] {
		return
	}
	since, again := c.doubted[key]
	if !again {
		since = time.Now()
		c.doubted[key] = since
	}
	call, timeout := c.call(a)
	c.probing[key] = true
	c.log.Info("looking what an attempt did", "step", a.Node, "attempt", a.Attempt, "undo", a.Undo)
	c.beside(ctx, leastDoubt, func(ctx context.Context) came {
		var result map[string]any
		var done bool
		d, err := c.x.drivers.Find(call.Driver)
		if err == nil {
			result, done, err = d.Observe(ctx, call)
		}
		if err != nil && time.Since(since) < max(leastDoubt, timeout) {
			pause(ctx, probeEvery, nil)
			return came{end: &end{of: a, probed: true}, err: err}
		}
		if err != nil {
			err = errs.New(errs.Unknown, "it cannot be found out what the attempt did: %w", err)
		}
		return came{end: &end{of: a, result: result, failure: err, probed: true, done: done}}
	})
}

// wait waits until something has happened.
func (c *conductor) wait(ctx context.Context, f *followed, wake time.Time) {
	var timer <-chan time.Time
	if !wake.IsZero() {
		t := time.NewTimer(time.Until(wake))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
		return
	case <-timer:
		return
	case <-f.wake:
		if f.now().Revision > c.head.Revision {
			c.run = nil // somebody has said something
		}
		return
	case got := <-c.came:
		c.hear(got)
	}
	// What comes together is written down together.
	for {
		select {
		case got := <-c.came:
			c.hear(got)
		default:
			return
		}
	}
}

func (c *conductor) hear(got came) {
	switch {
	case got.end == nil && got.err != nil:
		delete(c.looking, got.node)
		c.log.Warn("cannot look", "step", got.node, "err", got.err)
	case got.end == nil:
		delete(c.looking, got.node)
		c.facts[got.node], c.looked[got.node] = got.facts, time.Now()
	default:
		key := attempt{got.end.of.Node, got.end.of.Attempt, got.end.of.Undo}
		delete(c.probing, key)
		delete(c.acting, key)
		if got.err != nil {
			c.log.Warn("cannot find out what an attempt did", "step", got.end.of.Node, "err", got.err)
			return
		}
		delete(c.doubted, key)
		c.ends = append(c.ends, *got.end)
	}
}

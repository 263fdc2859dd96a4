package checker

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/lab/history"
)

// run is the history in memory: one compact call each, and everything else as it was written.
type run struct {
	began     history.Begin
	end       time.Duration
	closed    bool
	events    uint64
	ended     uint64
	calls     []call
	callers   map[string]bool
	openings  map[string]history.Opening
	steps     []step
	faults    []fault
	inside    map[estate.SiteID][]window
	loads     []window
	skipped   uint64
	groups    []history.Group
	lists     []history.Divergence
	copies    []copied
	clearings []history.Clearing
	rows      map[string][]history.Row
	problems  []string
	words     map[string]string
	stamps    map[string]estate.Ownership
}

// window is a span of the history; until is open where it is negative.
type window struct{ from, until time.Duration }

func (w window) overlap(from, until time.Duration) time.Duration {
	return min(w.until, until) - max(w.from, from)
}

// touches reports whether the two spans have a moment in common.
func (w window) touches(from, until time.Duration) bool { return w.overlap(from, until) >= 0 }

// call is what the checker keeps of a call.
type call struct {
	id         uint64
	phase      history.Phase
	site       estate.SiteID
	unit       estate.UnitID
	op         history.Op
	outcome    history.Outcome
	scope      Scope
	listed     string // of a Resend: the key that the list of divergence names
	to         string
	amount     history.Amount
	sent, done time.Duration
	sentWall   int64
	status     int
	ownership  estate.Ownership
	stamped    string
	hasStamp   bool
	stale      bool
	result     string
	value      history.Amount
	held       time.Duration
	replays    int
	erred      bool
	unsure     bool
	inside     bool
	reconnects []time.Duration
	gateway    string        // of the last attempt
	unanswered time.Duration // the longest attempt that ended without an answer because its client gave up
	step       int           // where it was done, -1 outside
}

type step struct {
	window
	mark history.Mark
	out  Step
	// diverged is how many transactions the checker knows to have diverged in the step's switches: from copies of the former owners'
	// directories, and where there is none by the product's list.
	diverged int
}

type fault struct {
	window
	history.Fault
}

type copied struct {
	history.Copy
	rows []history.Row
}

// read takes the whole history in.
func read(ctx context.Context, events iter.Seq2[history.Event, error]) (*run, error) {
	r := &run{
		callers: map[string]bool{}, openings: map[string]history.Opening{}, inside: map[estate.SiteID][]window{},
		rows: map[string][]history.Row{}, words: map[string]string{}, stamps: map[string]estate.Ownership{},
	}
	for e, err := range events {
		if err != nil && errs.KindOf(err) == errs.Invalid {
			r.problem("%v", err)
			break
		}
		if err != nil {
			return nil, err
		}
		if r.events++; r.events%4096 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		r.take(e)
	}
	r.finish()
	return r, nil
}

func (r *run) problem(format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

func (r *run) take(e history.Event) {
	switch {
	case e.Begin != nil:
		r.began = *e.Begin
	case e.Client != nil:
		r.callers[e.Client.Caller] = true
	case e.Opening != nil:
		r.openings[e.Opening.Account] = *e.Opening
	case e.Call != nil:
		r.takeCall(e.Call)
	case e.Load != nil:
		r.takeLoad(e.Load)
	case e.Mark != nil:
		r.takeMark(*e.Mark)
	case e.Fault != nil:
		r.takeFault(*e.Fault)
	case e.Group != nil:
		r.groups = append(r.groups, *e.Group)
	case e.Divergence != nil:
		r.lists = append(r.lists, *e.Divergence)
	case e.Row != nil:
		r.rows[e.Row.Copy] = append(r.rows[e.Row.Copy], *e.Row)
	case e.Copy != nil:
		rows := r.rows[e.Copy.Copy]
		if len(rows) != e.Copy.Rows {
			r.problem("copy %s has %d rows, its end says %d", e.Copy.Copy, len(rows), e.Copy.Rows)
		}
		r.copies = append(r.copies, copied{Copy: *e.Copy, rows: rows})
	case e.Clearing != nil:
		r.clearings = append(r.clearings, *e.Clearing)
		r.see(e.Clearing.At.Mono)
	case e.End != nil:
		r.closed, r.ended = true, e.End.Events
		r.see(e.End.At.Mono)
	}
}

// see moves the end of the history on.
func (r *run) see(t time.Duration) { r.end = max(r.end, t) }

// word gives one copy of equal strings.
func (r *run) word(s string) string {
	if w, ok := r.words[s]; ok {
		return w
	}
	r.words[s] = s
	return s
}

func (r *run) takeCall(c *history.Call) {
	k := call{
		id: c.ID, phase: history.Phase(r.word(string(c.Phase))), site: estate.SiteID(r.word(string(c.Site))), unit: estate.UnitID(r.word(string(c.Unit))),
		op: history.Op(r.word(string(c.Op))), outcome: history.Outcome(r.word(string(c.Outcome))),
		scope: Scope{Caller: r.word(c.Caller), RoutingKey: r.word(c.From), Key: c.Key}, listed: c.Listed, to: r.word(c.To), amount: c.Amount,
		sent: c.Sent.Mono, done: c.Done, sentWall: c.Sent.Wall, status: c.Status, stamped: r.word(c.Stamped), stale: c.Stale != "",
		result: c.Result, value: c.Value, held: c.Held, replays: c.Replays, erred: c.Erred(), step: -1,
	}
	k.ownership, k.hasStamp = r.stamp(c.Ownership)
	for _, a := range c.Attempts {
		if a.Reconnected() {
			k.reconnects = append(k.reconnects, a.Until)
		}
		k.unsure, k.gateway = k.unsure || a.Unsure(), r.word(a.Gateway)
		if a.Ending == history.TimedOut {
			k.unanswered = max(k.unanswered, a.Until-a.From)
		}
	}
	r.calls = append(r.calls, k)
	r.see(c.Done)
}

// stamp reads an ownership; a stamp that cannot be read is no stamp.
func (r *run) stamp(s string) (estate.Ownership, bool) {
	if o, ok := r.stamps[s]; ok {
		return o, !o.IsZero()
	}
	o, err := estate.ParseOwnership(s)
	if err != nil {
		o = estate.Ownership{}
	}
	r.stamps[s] = o
	return o, !o.IsZero()
}

func (r *run) takeLoad(l *history.Load) {
	r.see(l.At.Mono)
	if l.What == history.LoadBegins {
		r.loads = append(r.loads, window{from: l.At.Mono, until: -1})
		return
	}
	r.skipped += l.Skipped
	if n := len(r.loads); n > 0 {
		r.loads[n-1].until = l.At.Mono
	}
}

func (r *run) takeMark(m history.Mark) {
	r.see(m.At.Mono)
	n := len(r.steps)
	switch {
	case m.Edge == history.Starts && n > 0 && r.steps[n-1].until < 0:
		r.problem("step %q starts inside step %q", m.Step, r.steps[n-1].mark.Step)
	case m.Edge == history.Starts:
		r.steps = append(r.steps, step{window: window{from: m.At.Mono, until: -1}, mark: m})
	case n == 0 || r.steps[n-1].mark.Step != m.Step || r.steps[n-1].until >= 0:
		r.problem("step %q ends without a start", m.Step)
	default:
		r.steps[n-1].until = m.At.Mono
	}
}

func (r *run) takeFault(f history.Fault) {
	r.see(f.At.Mono)
	if f.Edge == history.Starts {
		r.faults = append(r.faults, fault{window: window{from: f.At.Mono, until: -1}, Fault: f})
		return
	}
	for i := range r.faults {
		if r.faults[i].ID == f.ID && r.faults[i].until < 0 {
			r.faults[i].until = f.At.Mono
			r.faults[i].Skipped = f.Skipped // that it could not be done is known after it began
			return
		}
	}
	r.problem("fault %q ends without a start", f.ID)
}

// finish closes what is open, orders the calls and says in which step each belongs.
func (r *run) finish() {
	switch {
	case r.began.Format != 1:
		r.problem("the history does not begin with format 1")
	case !r.closed:
		r.problem("the history has no end: the run was cut short")
	case r.ended != r.events-1:
		r.problem("the history has %d events, its end says %d", r.events-1, r.ended)
	}
	if len(r.loads) == 0 || len(r.calls) == 0 {
		r.problem("the history has no load")
	}
	for i := range r.loads {
		r.loads[i].until = r.open(r.loads[i].until, "the load never ended")
	}
	for i := range r.steps {
		r.steps[i].until = r.open(r.steps[i].until, fmt.Sprintf("step %q never ended", r.steps[i].mark.Step))
	}
	for i := range r.faults {
		f := &r.faults[i]
		if f.Skipped != "" {
			continue
		}
		until := f.until
		if until < 0 {
			until = r.end
		}
		for _, s := range f.Inside {
			r.inside[s] = append(r.inside[s], window{from: f.from, until: until})
		}
	}
	slices.SortStableFunc(r.calls, func(a, b call) int { return cmp.Compare(a.done, b.done) })
	for i := range r.calls {
		c := &r.calls[i]
		c.step = r.at(c.done)
		c.inside = slices.ContainsFunc(r.inside[c.site], func(w window) bool { return w.touches(c.sent, c.done) })
	}
}

func (r *run) open(until time.Duration, problem string) time.Duration {
	if until >= 0 {
		return until
	}
	r.problem("%s", problem)
	return r.end
}

// at gives the step of a moment, -1 between steps.
func (r *run) at(t time.Duration) int {
	return slices.IndexFunc(r.steps, func(s step) bool { return s.from <= t && t <= s.until })
}

// over gives the step that has most of the span, -1 where none has any.
func (r *run) over(from, until time.Duration) int {
	best, most := -1, time.Duration(-1)
	for i := range r.steps {
		if o := r.steps[i].overlap(from, until); o > most {
			best, most = i, o
		}
	}
	return best
}

// mono puts a time that another process wrote, in Unix milliseconds, on the history's clock.
func (r *run) mono(unixMillis int64) time.Duration {
	return time.Duration(unixMillis*int64(time.Millisecond) - r.began.At.Wall)
}

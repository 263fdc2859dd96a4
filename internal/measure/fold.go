package measure

import (
	"slices"
	"time"

	"perdure/internal/errs"
	"perdure/internal/plan"
	"perdure/internal/run"
)

// fold goes through a journal and books the time between its entries. An entry is about one step, so that a long journal of a large program
// costs no more than its entries; only while a run winds up are the steps under way looked at after each.
type fold struct {
	r     *run.Run
	index map[string]int
	clean []bool // a cleanup, or part of one
	books []book
	open  map[int]bool // begun and not settled, as far as it is booked
	// holds are the times in which nothing more began because a person had to say something; the last one may have no end yet.
	holds []hold
	// winding is since when the run winds up, or when the cleanup before was settled.
	winding  time.Time
	released map[string]release
	// What was found once, by the numbers of steps: of ready, before and lastInside.
	readies          []time.Time
	befores, insides map[int]int
}

// book is what is known of a step.
type book struct {
	status  run.Status
	since   time.Time
	ready   time.Time
	begun   bool
	locks   []string
	settled int // number of the entry by which it was settled
	after   int // the step whose lock it waited for, -1: none
	people  time.Duration
	waited  time.Duration // for locks
	worked  time.Duration
	rest    time.Duration
	undo    undoBook
}

type undoBook struct {
	status         run.Status
	since          time.Time
	people, worked time.Duration
}

// hold is a time in which nothing more began; sum is the length of those before it.
type hold struct {
	from, to time.Time
	sum      time.Duration
}

type release struct {
	by int
	at time.Time
}

func newFold(id string, p *plan.Program) *fold {
	n := len(p.Nodes)
	f := &fold{r: run.Begin(id, p), index: make(map[string]int, n), clean: make([]bool, n), books: make([]book, n), open: map[int]bool{}, released: map[string]release{}, readies: make([]time.Time, n), befores: map[int]int{}, insides: map[int]int{}}
	for i := range p.Nodes {
		node := &p.Nodes[i]
		f.index[node.ID], f.books[i].after = i, -1
		f.clean[i] = node.Step.Cleanup || node.Parent >= 0 && f.clean[node.Parent]
	}
	return f
}

func winds(p run.Phase) bool { return p == run.Undoing || p == run.Cleaning }

func (f *fold) take(e run.Entry) error {
	before := f.r.Phase
	if err := f.r.Advance(e); err != nil {
		return errs.New(errs.Internal, "the journal of run %s cannot be measured at entry %d: %w", f.r.ID, e.Seq, err)
	}
	if winds(f.r.Phase) && !winds(before) {
		f.winding = e.At
	}
	if i, ok := f.index[e.Node]; ok && e.Undo {
		f.turnUndo(i, e)
	} else if ok {
		f.turn(i, e)
	}
	if winds(before) || winds(f.r.Phase) {
		for i := range f.open {
			if f.r.Steps[i].Status != f.books[i].status {
				f.turn(i, e)
			}
		}
	}
	f.hold(e.At)
	return nil
}

// hold keeps book of when nothing more begins because a person has paused the run, or has to decide on what stopped it.
func (f *fold) hold(at time.Time) {
	last := len(f.holds) - 1
	open := last >= 0 && f.holds[last].to.IsZero()
	switch held := f.r.Paused || f.r.Phase == run.Stopped; {
	case held && !open:
		f.holds = append(f.holds, hold{from: at, sum: f.heldBy(at)})
	case !held && open:
		f.holds[last].to = at
	}
}

// heldBy is how much of the time up to an instant was held.
func (f *fold) heldBy(at time.Time) time.Duration {
	i, _ := slices.BinarySearchFunc(f.holds, at, func(h hold, at time.Time) int { return h.from.Compare(at) })
	if i == 0 {
		return 0
	}
	h := f.holds[i-1]
	if h.to.IsZero() || at.Before(h.to) {
		return h.sum + at.Sub(h.from)
	}
	return h.sum + h.to.Sub(h.from)
}

// turn books the time that a step spent in its last status.
func (f *fold) turn(i int, e run.Entry) {
	s, n, b := &f.r.Steps[i], &f.r.Program.Nodes[i], &f.books[i]
	if s.Status == run.Waiting || b.settled > 0 {
		return
	}
	if b.since.IsZero() {
		b.status, b.ready = run.Ready, f.ready(i)
		b.since = b.ready
	}
	took := e.At.Sub(b.since)
	switch b.status {
	case run.Ready, run.Pausing:
		held := f.heldBy(e.At) - f.heldBy(b.since)
		b.people += held
		if !b.begun && len(n.Step.Locks) > 0 {
			b.waited += took - held
		} else {
			b.rest += took - held
		}
	case run.Open:
		if n.Step.Wait != nil {
			b.worked += took
		} else {
			b.people += took
		}
	case run.Acting, run.Doubtful:
		b.worked += took
	case run.Asking:
		b.people += took
	case run.Inside, run.Waiting, run.DoneStep, run.PassedBy, run.LeftOut, run.Bypassed, run.Rejected, run.FailedOn, run.Dropped:
	}
	if e.What == run.Began && e.Node == n.ID {
		if !b.begun {
			for _, l := range e.Locks {
				if r, ok := f.released[l]; ok && r.at.After(b.ready) && r.by != i {
					b.after = r.by
				}
			}
		}
		b.begun, b.locks = true, e.Locks
	}
	b.status, b.since = s.Status, e.At
	f.open[i] = !s.Status.Settled()
	if !s.Status.Settled() {
		return
	}
	delete(f.open, i)
	b.settled = e.Seq
	for _, l := range b.locks {
		f.released[l] = release{i, e.At}
	}
	if winds(f.r.Phase) && f.clean[i] {
		f.winding = e.At
	}
}

func (f *fold) turnUndo(i int, e run.Entry) {
	u, b := &f.r.Steps[i].Undo, &f.books[i].undo
	took := e.At.Sub(b.since)
	switch b.status {
	case run.Acting, run.Doubtful:
		b.worked += took
	case run.Asking:
		b.people += took
	case run.Waiting, run.Ready, run.Pausing, run.Open, run.Inside, run.DoneStep, run.PassedBy, run.LeftOut, run.Bypassed, run.Rejected, run.FailedOn, run.Dropped:
	}
	b.status, b.since = u.Status, e.At
}

// settledAt is when a step was settled; what was passed without an entry of its own was so when it could have begun.
func (f *fold) settledAt(i int) time.Time {
	if at := f.r.Steps[i].Ended; !at.IsZero() {
		return at
	}
	return f.ready(i)
}

// ready is when everything that a step waits for was settled. What it comes after has a lower number, so it ends.
func (f *fold) ready(i int) time.Time {
	if !f.readies[i].IsZero() {
		return f.readies[i]
	}
	at, n := f.r.Started, &f.r.Program.Nodes[i]
	if n.Parent >= 0 {
		at = f.r.Steps[n.Parent].Opened
		if at.IsZero() {
			at = f.ready(n.Parent)
		}
	}
	for _, d := range n.After {
		if t := f.settledAt(d.Node); t.After(at) {
			at = t
		}
	}
	if f.clean[i] && !f.winding.IsZero() && f.winding.After(at) {
		at = f.winding // cleanups are done one after the other
	}
	f.readies[i] = at
	return at
}

func (f *fold) steps() []Step {
	out := make([]Step, len(f.books))
	for i := range f.books {
		b, s, n := &f.books[i], &f.r.Steps[i], &f.r.Program.Nodes[i]
		out[i] = Step{
			ID: n.ID, Title: n.Step.Title, Kind: n.Step.Kind(), Status: s.Status, Ready: b.ready, Begin: s.Opened,
			People: b.people, Locks: b.waited, Worked: b.worked, Rest: b.rest, Attempts: s.Attempt,
		}
		if b.settled > 0 {
			out[i].End = b.since
		}
		if u := s.Undo; u.Attempt > 0 {
			out[i].Undo = &Undo{Status: u.Status, Attempts: u.Attempt, People: b.undo.people, Worked: b.undo.worked}
		}
	}
	return out
}

// served is when the last step that is no cleanup was settled: by then service is back.
func (f *fold) served() time.Time {
	at := f.r.Started
	for i := range f.books {
		if b := &f.books[i]; b.settled > 0 && !f.clean[i] && b.since.After(at) {
			at = b.since
		}
	}
	return at
}

// path goes back from the step that was settled last: to the step whose lock it waited for, else to that which it waited for and which
// was settled last.
func (f *fold) path() []Leg {
	at := -1
	for i := range f.books {
		if f.r.Program.Nodes[i].Step.Subplan == nil && f.books[i].settled > 0 && (at < 0 || f.books[i].settled >= f.books[at].settled) {
			at = i
		}
	}
	var out []Leg
	for at >= 0 {
		b := &f.books[at]
		leg := Leg{Step: f.r.Program.Nodes[at].ID, From: f.r.Started, To: b.since, Lock: b.after >= 0}
		if at = b.after; at < 0 {
			at = f.before(f.index[leg.Step])
		}
		if at >= 0 {
			leg.From = f.books[at].since
		}
		out = append(out, leg)
	}
	slices.Reverse(out)
	return out
}

// before is the step that was settled last of those that a step waited for, -1: none.
func (f *fold) before(i int) int {
	if found, ok := f.befores[i]; ok {
		return found
	}
	n := &f.r.Program.Nodes[i]
	best := -1
	for _, d := range n.After {
		j := d.Node
		if f.r.Program.Nodes[j].Step.Subplan != nil {
			j = f.lastInside(j)
		} else if f.books[j].settled == 0 {
			j = f.before(j) // it was passed without an entry of its own
		}
		if j >= 0 && (best < 0 || f.books[j].settled > f.books[best].settled) {
			best = j
		}
	}
	if best < 0 && n.Parent >= 0 {
		best = f.before(n.Parent)
	}
	f.befores[i] = best
	return best
}

// lastInside is the step of a subplan that was settled last, else what was settled before the subplan; -1: none.
func (f *fold) lastInside(i int) int {
	if found, ok := f.insides[i]; ok {
		return found
	}
	best := -1
	for j := i + 1; j < len(f.books) && f.within(j, i); j++ {
		if f.r.Program.Nodes[j].Step.Subplan == nil && f.books[j].settled > 0 && (best < 0 || f.books[j].settled > f.books[best].settled) {
			best = j
		}
	}
	if best < 0 {
		best = f.before(i)
	}
	f.insides[i] = best
	return best
}

// within reports whether a step lies in a subplan.
func (f *fold) within(j, i int) bool {
	for p := f.r.Program.Nodes[j].Parent; p >= 0; p = f.r.Program.Nodes[p].Parent {
		if p == i {
			return true
		}
	}
	return false
}

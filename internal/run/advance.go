package run

import (
	"slices"
	"time"

	"perdure/internal/errs"
	"perdure/internal/plan"
)

// Advance takes the next entry. An error says why it cannot follow what was before (kinds conflict, refused and invalid), and nothing has
// changed then.
func (r *Run) Advance(e Entry) error {
	if e.Seq != r.Seq+1 {
		return errs.New(errs.Conflict, "run %s is at entry %d, and not at %d", r.ID, r.Seq, e.Seq-1)
	}
	if err := r.take(e); err != nil {
		return err
	}
	r.Seq = e.Seq
	r.wind()
	return nil
}

// wind goes from undoing to cleaning up. It begins once nothing acts any more, and nothing is in doubt: what an attempt did that nobody
// knows of could not be undone.
func (r *Run) wind() {
	if !r.winding() {
		return
	}
	r.still = false
	for i := range r.active.all() {
		if s := &r.Steps[i]; s.Status == Acting || s.Status == Doubtful || s.Status == Asking && s.unsure {
			return
		}
	}
	r.still = true
	r.sweep()
	if r.Phase == Undoing && len(r.undo) > 0 {
		return
	}
	r.takenBack = r.takenBack || r.Phase == Undoing
	r.Phase = Cleaning
	next := true // cleanups are done one after the other, whatever they would wait for
	for i := range r.Steps {
		s := &r.Steps[i]
		switch {
		case s.Status.Settled():
		case s.Status == Inside && s.inside > 0: // its steps are
		case next && s.Status == Waiting && s.leave:
			r.settle(i, LeftOut, Entry{})
		case next:
			if s.Status == Waiting {
				s.Status = Ready
				r.ready.add(i)
			}
			next = false
		default:
			r.ready.remove(i)
			if s.Status == Ready {
				s.Status = Waiting
			}
		}
	}
}

// sweep leaves behind what will not be done any more, with the locks that it holds.
func (r *Run) sweep() {
	if r.swept {
		return
	}
	r.swept = true
	for i := range r.Steps {
		s, parent := &r.Steps[i], r.Program.Nodes[i].Parent
		// A subplan that never began has left nothing to be put back.
		late := parent >= 0 && !r.clean[parent] && !r.Steps[parent].entered
		if s.Status.Settled() || r.clean[i] && !late {
			continue
		}
		s.Status = Dropped
		r.settled++
		r.ready.remove(i)
		r.active.remove(i)
		r.unlock(i)
	}
}

func (r *Run) winding() bool { return r.Phase == Undoing || r.Phase == Cleaning }

func (r *Run) lock(i int, names []string) {
	for _, l := range names {
		r.locks[l] = i
	}
}

// unlock: a step keeps its locks between attempts, and while a person is asked what becomes of it.
func (r *Run) unlock(i int) {
	s := &r.Steps[i]
	for _, names := range [][]string{s.Locks, s.Undo.Locks} {
		for _, l := range names {
			if by, held := r.locks[l]; held && by == i {
				delete(r.locks, l)
			}
		}
	}
	s.Locks, s.Undo.Locks = nil, nil
}

func (r *Run) take(e Entry) error {
	switch {
	case r.Phase == New && e.What != Started:
		return r.refuse(e, "it has not been started")
	case r.Phase != New && e.What == Started:
		return r.refuse(e, "it was started before")
	case e.What == Reviewed:
		return r.review(e)
	case e.What == Attested:
		return r.attest(e)
	case r.Phase == Over && e.What == Acknowledged && r.isNote(e.Node): // who was away reads it afterwards
	case r.Phase == Over:
		return r.refuse(e, "it is over")
	}
	switch e.What {
	case Started:
		if err := inOrder(e); err != nil {
			return err
		}
		r.DisruptedAt, r.DetectedAt = e.DisruptedAt, e.DetectedAt
		r.Phase, r.Params, r.StartedBy, r.Started = Running, e.Params, e.By, e.At
		for i := range r.Steps {
			if r.Steps[i].waits == 0 {
				r.freed(i)
			}
		}
		return nil
	case Took:
		return r.took(e)
	case Paused:
		if r.Paused {
			return r.refuse(e, "it is paused already")
		}
		r.Paused = true
		return nil
	case Resumed: // also of a run that is not paused: it is a person's word that it goes on
		r.Paused = false
		return nil
	case Cancelled:
		return r.cancel(e)
	case Finished:
		r.Phase, r.Outcome, r.Finished = Over, e.Outcome, e.At
		return nil
	case Entered, Passed, Began, Ended, Opened, Retried, Skipped, TakenOver, Acknowledged, Approved, Declined, Completed, Delegated, AddedApprover, BrokeGlass:
	default:
		return errs.New(errs.Invalid, "an entry cannot tell %q", e.What)
	}
	i, ok := r.byID[e.Node]
	if !ok {
		return errs.New(errs.NotFound, "run %s has no step %s", r.ID, e.Node)
	}
	if e.Undo {
		return r.takeUndo(i, e)
	}
	return r.takeStep(i, e)
}

// inOrder refuses a start before what it answers to: the point of disruption, its detection, and the start follow each other.
func inOrder(e Entry) error {
	switch {
	case e.DetectedAt.After(e.At):
		return errs.New(errs.Invalid, "the disruption cannot have been detected at %s, after the start at %s: give an earlier instant", stamp(e.DetectedAt), stamp(e.At))
	case e.DisruptedAt.After(e.At):
		return errs.New(errs.Invalid, "service cannot have been disrupted at %s, after the start at %s: give an earlier instant", stamp(e.DisruptedAt), stamp(e.At))
	case !e.DetectedAt.IsZero() && e.DisruptedAt.After(e.DetectedAt):
		return errs.New(errs.Invalid, "the disruption at %s cannot have been detected before, at %s", stamp(e.DisruptedAt), stamp(e.DetectedAt))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (r *Run) refuse(e Entry, format string, args ...any) error {
	args = append([]any{r.ID, e.What}, args...)
	return errs.New(errs.Conflict, "run %s cannot take %q: "+format, args...)
}

func (r *Run) refuseStep(i int, e Entry) error {
	s := r.Steps[i].Status
	if s == Waiting {
		s = "waiting"
	}
	return errs.New(errs.Conflict, "step %s of run %s cannot take %q: it is %s", r.Program.Nodes[i].ID, r.ID, e.What, s)
}

func (r *Run) took(e Entry) error {
	if e.Term <= r.Term {
		return r.refuse(e, "a runner of term %d has taken it over before", r.Term)
	}
	r.Term = e.Term
	for i := range r.active.all() {
		// Of what was posted with its beginning it is known that it was begun, and following it once more does nothing twice.
		if s := &r.Steps[i]; s.Status == Acting && !s.posted {
			s.Status = Doubtful
		}
		if u := &r.Steps[i].Undo; u.Status == Acting {
			u.Status = Doubtful
		}
	}
	return nil
}

func (r *Run) takeStep(i int, e Entry) error {
	s, n := &r.Steps[i], &r.Program.Nodes[i]
	switch e.What {
	case Entered:
		if s.Status != Ready || n.Step.Subplan == nil {
			return r.refuseStep(i, e)
		}
		s.Status, s.Opened, s.Params, s.entered = Inside, e.At, e.Params, true
		r.ready.remove(i)
		r.active.add(i)
		for j := i + 1; j < len(r.Steps); j++ {
			if r.Program.Nodes[j].Parent == i {
				r.release(j)
			} else if !r.within(j, i) {
				break
			}
		}
	case Passed:
		if s.Status != Ready {
			return r.refuseStep(i, e)
		}
		s.Reason = e.Text
		r.settle(i, PassedBy, e)
	case Opened:
		if s.Status != Ready {
			return r.refuseStep(i, e)
		}
		s.Status, s.Opened, s.Text, s.Answer, s.Votes, s.Asked = Open, e.At, e.Text, Answer{}, nil, e.Seq
		r.ready.remove(i)
		r.active.add(i)
	case Began:
		return r.began(i, e)
	case Ended:
		return r.ended(i, e)
	case Retried:
		if s.Status != Asking || r.winding() && !r.clean[i] {
			return r.refuseStep(i, e)
		}
		s.Status, s.Spent, s.Error, s.Reason, s.unsure = Ready, 0, "", e.Text, false
		r.active.remove(i)
		r.ready.add(i)
		r.goOn()
	case Skipped:
		if s.Status.Settled() || s.Status == Acting || s.Status == Doubtful || s.Status == Inside {
			return r.refuseStep(i, e)
		}
		if e.Text == "" {
			return errs.New(errs.Invalid, "step %s is left out only with a reason", n.ID)
		}
		if a := r.unasked(i); a != nil {
			return undecided(a)
		}
		s.Reason = e.By + ": " + e.Text
		if s.Status == Waiting { // what comes after it still comes after what it waits for
			s.leave = true
			return nil
		}
		r.settle(i, LeftOut, e)
		r.goOn()
	case TakenOver:
		if s.Status != Asking && s.Status != Doubtful && s.Status != Pausing {
			return r.refuseStep(i, e)
		}
		if e.Text == "" {
			return errs.New(errs.Invalid, "step %s is taken over only with a word on what was done", n.ID)
		}
		if a := r.unasked(i); a != nil {
			return undecided(a)
		}
		s.Reason, s.Result, s.Outputs = e.By+": "+e.Text, e.Result, e.Outputs
		if s.Outputs == nil {
			s.Outputs = e.Result // as of a task: what the person filled in
		}
		r.settle(i, DoneStep, e)
		r.goOn()
	case Acknowledged:
		return r.acknowledge(i, e)
	case Declined:
		if n.Step.Manual != nil {
			return r.decline(i, e)
		}
		return r.vote(i, e)
	case Approved:
		return r.vote(i, e)
	case Delegated:
		return r.delegate(i, e)
	case AddedApprover:
		return r.addApprover(i, e)
	case BrokeGlass:
		return r.breakGlass(i, e)
	case Completed:
		return r.complete(i, e)
	default:
		return r.refuseStep(i, e)
	}
	return nil
}

func (r *Run) began(i int, e Entry) error {
	s := &r.Steps[i]
	if s.Status != Ready && s.Status != Pausing && s.Status != Doubtful || e.Attempt != s.Attempt+1 {
		return r.refuseStep(i, e)
	}
	for _, l := range e.Locks {
		if by, held := r.locks[l]; held && by != i {
			return r.refuse(e, "step %s holds lock %s", r.Program.Nodes[by].ID, l)
		}
	}
	if s.Opened.IsZero() {
		s.Opened = e.At
	}
	s.Status, s.Attempt, s.Call, s.Term, s.Locks = Acting, e.Attempt, e.Call, r.Term, e.Locks
	s.unsure, s.posted = false, e.Posted
	r.lock(i, e.Locks)
	r.ready.remove(i)
	r.active.add(i)
	return nil
}

func (r *Run) ended(i int, e Entry) error {
	s, n := &r.Steps[i], &r.Program.Nodes[i]
	switch s.Status {
	case Acting, Doubtful:
		if e.Attempt != s.Attempt {
			return r.refuseStep(i, e)
		}
	case Open, Inside: // a wait is over, a subplan is done
	case Ready: // an expression has no value
		if e.Outcome != Failed {
			return r.refuseStep(i, e)
		}
	default:
		return r.refuseStep(i, e)
	}
	attempted := s.Status == Acting || s.Status == Doubtful
	outcome := e.Outcome
	switch {
	case outcome != Done && outcome != Failed && (!attempted || outcome != Nothing && outcome != Unknown):
		return errs.New(errs.Invalid, "step %s does not end with %q", n.ID, outcome)
	case outcome == Unknown && n.Looks, outcome == Nothing && s.unsure: // it did nothing, and did not succeed
		outcome = Failed
	}
	if e.Error != "" || e.Outcome != Nothing {
		s.Error = e.Error
	}
	s.Result, s.unsure = e.Result, false
	switch outcome {
	case Done:
		s.Outputs, s.Attachments = e.Outputs, e.Attachments
		r.settle(i, DoneStep, e)
	case Nothing:
		s.Status = Ready
		r.active.remove(i)
		r.ready.add(i)
	case Unknown:
		s.unsure = true
		if e.Probed { // nothing may be begun again, nor go on, before somebody has looked
			r.ask(i, e)
			return nil
		}
		s.Status, s.Until = Doubtful, e.At
	default:
		r.ready.remove(i)
		r.active.add(i)
		if attempted {
			s.Spent++
			if retry := n.Step.Retry; retry != nil && s.Spent <= retry.Times {
				s.Status, s.Until = Pausing, e.At.Add(pause(retry, s.Spent))
				return nil
			}
		}
		r.failed(i, e)
	}
	return nil
}

// ask has a person decide what becomes of a step. Where its plan does not say otherwise nothing else begins meanwhile.
func (r *Run) ask(i int, e Entry) {
	r.Steps[i].Status, r.Steps[i].Failed = Asking, e.At
	if r.Phase == Running && r.stops(i) {
		r.Phase = Stopped
	}
}

// unasked gives the first approval in a step, itself or one of those in a subplan, that has not been decided; nil: none. One that is not of the
// mode is none.
func (r *Run) unasked(i int) *plan.Node {
	for j := i; j < len(r.Steps) && (j == i || r.within(j, i)); j++ {
		if r.Program.Nodes[j].Step.Approval != nil && !r.Steps[j].Status.Settled() && r.Program.Includes(j) {
			return &r.Program.Nodes[j]
		}
	}
	return nil
}

// undecided refuses what would let a run go on without the word of those who are asked (R6).
func undecided(n *plan.Node) error {
	return errs.Refuse("R6", "the approval %s is decided, and neither left out nor done by hand: approve or decline it, delegate it, retry it where its time is over, or break the glass in an emergency", n.ID)
}

// failed is what a failure for good means for the run (R4).
func (r *Run) failed(i int, e Entry) {
	n := &r.Program.Nodes[i]
	switch f := n.Step.OnFailure; {
	case f == plan.Continue, f == plan.Compensate && r.winding() && !r.clean[i]: // how the run ends has been decided
		r.settle(i, FailedOn, e)
	case f == plan.Compensate && !r.winding():
		r.settle(i, FailedOn, e)
		r.Phase, r.Reason = Undoing, "step "+n.ID+" failed: "+r.Steps[i].Error
	default:
		r.ask(i, e)
	}
}

// goOn ends a stop once no failed step waits for a decision any more.
func (r *Run) goOn() {
	if r.Phase != Stopped {
		return
	}
	for i := range r.active.all() {
		if r.Steps[i].Status == Asking && r.stops(i) {
			return
		}
	}
	r.Phase = Running
}

func (r *Run) stops(i int) bool {
	f := r.Program.Nodes[i].Step.OnFailure
	return f == plan.Stop || f == ""
}

// release counts down what a node waits for.
func (r *Run) release(i int) {
	s := &r.Steps[i]
	s.waits--
	if s.waits == 0 && !s.Status.Settled() {
		r.freed(i)
	}
}

// freed decides about a node of which everything that it waits for is settled.
func (r *Run) freed(i int) {
	s, n := &r.Steps[i], &r.Program.Nodes[i]
	if !n.Step.Cleanup && (s.void || len(n.After) > 0 && !s.chosen) {
		r.settle(i, Bypassed, Entry{})
		return
	}
	if s.leave {
		r.settle(i, LeftOut, Entry{})
		return
	}
	s.Status = Ready
	r.ready.add(i)
}

// settle ends a node, and lets what waits for it go on.
func (r *Run) settle(i int, status Status, e Entry) {
	s, n := &r.Steps[i], &r.Program.Nodes[i]
	s.Status, s.Ended, s.unsure = status, e.At, false
	r.settled++
	r.ready.remove(i)
	r.active.remove(i)
	r.unlock(i)
	if status == DoneStep && n.Step.Undo != nil {
		r.undo = append(r.undo, i)
	}
	if status == DoneStep && n.Step.Notify != nil {
		r.noted = append(r.noted, i)
	}
	if n.Step.Subplan != nil && status != DoneStep {
		r.bypassInside(i, e)
	}
	for _, j := range r.after[i] {
		r.reach(i, j)
	}
	if n.Parent >= 0 {
		r.Steps[n.Parent].inside--
	} else {
		r.left--
	}
}

// reach tells a node that one it waits for is settled.
func (r *Run) reach(i, j int) {
	s, from := &r.Steps[j], &r.Steps[i]
	if s.Status.Settled() {
		return
	}
	for _, d := range r.Program.Nodes[j].After {
		if d.Node != i {
			continue
		}
		switch from.Status {
		case DoneStep, PassedBy, LeftOut:
			s.void = s.void || d.Port != ""
			s.chosen = true
		case Rejected:
			s.void = s.void || d.Port != "declined"
			s.chosen = true
		case FailedOn:
			s.void = s.void || d.Port == "declined"
			s.chosen = true
		case Bypassed, Dropped: // another branch may lead here
		case Waiting, Ready, Acting, Doubtful, Pausing, Asking, Open, Inside:
			panic("run: a node that is not settled was reached")
		}
		s.waits--
	}
	if s.waits == 0 {
		r.freed(j)
	}
}

// bypassInside settles what lies in a subplan that is not carried out.
func (r *Run) bypassInside(i int, e Entry) {
	for j := i + 1; j < len(r.Steps) && r.within(j, i); j++ {
		if r.Program.Nodes[j].Parent == i && !r.Steps[j].Status.Settled() {
			r.settle(j, Bypassed, e)
		}
	}
}

// within reports whether a node lies in a subplan.
func (r *Run) within(j, i int) bool {
	for p := r.Program.Nodes[j].Parent; p >= 0; p = r.Program.Nodes[p].Parent {
		if p == i {
			return true
		}
	}
	return false
}

func (r *Run) cancel(e Entry) error {
	if r.Phase == Undoing || r.Phase == Cleaning {
		return r.refuse(e, "it is %s already", r.Phase)
	}
	if e.Text == "" {
		return errs.New(errs.Invalid, "run %s is cancelled only with a reason", r.ID)
	}
	r.Phase, r.Reason = Cleaning, e.By+": "+e.Text
	if e.Undo {
		r.Phase = Undoing
	}
	r.Paused = false
	return nil
}

func (r *Run) takeUndo(i int, e Entry) error {
	u := &r.Steps[i].Undo
	if r.Phase != Undoing || r.toUndo() != i {
		return r.refuseStep(i, e)
	}
	switch e.What {
	case Began:
		if u.Status == Acting || u.Status == Asking || e.Attempt != u.Attempt+1 {
			return r.refuseStep(i, e)
		}
		for _, l := range e.Locks {
			if by, held := r.locks[l]; held && by != i {
				return r.refuse(e, "step %s holds lock %s", r.Program.Nodes[by].ID, l)
			}
		}
		u.Status, u.Attempt, u.Term, u.Call, u.Locks, u.unsure = Acting, e.Attempt, r.Term, e.Call, e.Locks, false
		r.lock(i, e.Locks)
		r.active.add(i)
		r.back = i
	case Ended:
		if u.Status != Acting && u.Status != Doubtful || e.Attempt != u.Attempt {
			return r.refuseStep(i, e)
		}
		if e.Error != "" || e.Outcome != Nothing {
			u.Error = e.Error
		}
		unsure := u.unsure
		u.unsure = false
		switch {
		case e.Outcome == Done:
			u.Status = DoneStep
			r.undone(i)
		case e.Outcome == Nothing && !unsure:
			u.Status = Ready
		case e.Outcome == Unknown && e.Probed:
			u.Status, u.Failed = Asking, e.At
		case e.Outcome == Unknown:
			u.Status, u.Until, u.unsure = Doubtful, e.At, true
		default:
			u.Spent++
			u.Status, u.Failed = Asking, e.At
			if retry := r.Program.Nodes[i].Step.Retry; retry != nil && u.Spent <= retry.Times {
				u.Status, u.Until = Pausing, e.At.Add(pause(retry, u.Spent))
			}
		}
	case Retried:
		if u.Status != Asking {
			return r.refuseStep(i, e)
		}
		u.Status, u.Spent = Ready, 0
	case Skipped, TakenOver:
		if u.Status != Asking && u.Status != Doubtful {
			return r.refuseStep(i, e)
		}
		if e.Text == "" {
			return errs.New(errs.Invalid, "the undoing of step %s is left out only with a reason", e.Node)
		}
		u.Status, u.Error = LeftOut, e.By+": "+e.Text
		r.undone(i)
	default:
		return r.refuseStep(i, e)
	}
	return nil
}

// toUndo is the step whose undoing has begun, else the one that was done last; -1: none.
func (r *Run) toUndo() int {
	if r.back >= 0 || len(r.undo) == 0 {
		return r.back
	}
	return r.undo[len(r.undo)-1]
}

func (r *Run) undone(i int) {
	r.active.remove(i)
	r.unlock(i)
	r.undo = slices.DeleteFunc(r.undo, func(j int) bool { return j == i })
	r.back = -1
}

package run

import (
	"slices"
	"time"

	"perdure/internal/plan"
)

// Next is what a run wants.
type Next struct {
	// Entries are to be appended as they stand, all or the first of them; Seq, At and By are the caller's. After a Began has been appended
	// its attempt is carried out, and its end is Judge's.
	Entries []Entry
	// Looks are facts that have to be known before more can be said.
	Looks []Look
	// Probes are attempts of which nobody knows what they did.
	Probes []Attempt
	// Wake is when to ask again although nothing has happened; zero: only then.
	Wake time.Time
}

// Look asks for facts about targets, for a step.
type Look struct {
	Node    string
	Targets []string
}

// Attempt is one attempt of a step, or of its undoing.
type Attempt struct {
	Node    string
	Attempt int
	Undo    bool
	Call    *plan.Call
	// Posted: what it does was posted with its beginning. Whoever carries it out follows that, and begins nothing.
	Posted bool
}

// Facts are what was found, by step and target. They are as old as the look: what is decided by them is journalled with them.
type Facts map[string]map[string]any

// Between two looks of a wait for a condition, and between two probes that told nothing.
const lookAgain = time.Second

// MostEntries bounds the entries of one decision; what is left out is the next one's.
const MostEntries = 128

// Decide says what is next. At most room actions are begun.
func (r *Run) Decide(now time.Time, facts Facts, room int) Next {
	d := decider{r: r, now: now, facts: facts, room: room, locks: map[string]bool{}}
	switch r.Phase {
	case New, Over:
		return Next{}
	case Undoing, Cleaning, Running, Stopped:
	}
	for i := range r.active.all() {
		if r.Steps[i].Status == Acting || r.Steps[i].Undo.Status == Acting {
			d.room--
		}
	}
	for i := range r.active.all() {
		if len(d.next.Entries) >= MostEntries {
			break
		}
		d.underWay(i)
	}
	if r.Phase == Undoing && r.still {
		d.undo()
	}
	if (r.Phase == Running || r.Phase == Cleaning && r.still) && !r.Paused {
		for i := range r.ready.all() {
			if d.room <= 0 || len(d.next.Entries) >= MostEntries {
				break
			}
			d.begin(i)
		}
	}
	if len(d.next.Entries) == 0 && r.finished() {
		d.next.Entries = []Entry{{What: Finished, Outcome: r.outcome(), Text: r.Reason}}
	}
	return d.next
}

// Posting gives the beginning of a run that begins with one action alone, which needs neither locks nor a look: what the action does may be posted
// by the transaction that starts the run. ok is false where a runner has to begin it.
func (r *Run) Posting(now time.Time) (e Entry, ok bool) {
	next := r.Decide(now, nil, MostEntries)
	if len(next.Entries) != 1 || len(next.Looks) > 0 || next.Entries[0].What != Began || len(next.Entries[0].Locks) > 0 {
		return Entry{}, false
	}
	e = next.Entries[0]
	e.Seq, e.At, e.Posted = r.Seq+1, now, true
	return e, true
}

type decider struct {
	r     *Run
	now   time.Time
	facts Facts
	room  int
	locks map[string]bool // taken by entries of this decision
	next  Next
}

func (d *decider) say(i int, e Entry) {
	e.Node = d.r.Program.Nodes[i].ID
	d.next.Entries = append(d.next.Entries, e)
}

func (d *decider) wake(at time.Time) {
	if d.next.Wake.IsZero() || at.Before(d.next.Wake) {
		d.next.Wake = at
	}
}

// underWay goes on with a step that has begun.
func (d *decider) underWay(i int) {
	r := d.r
	s, n := &r.Steps[i], &r.Program.Nodes[i]
	winding := r.Phase == Undoing || r.Phase == Cleaning && !r.clean[i]
	switch s.Status {
	case Doubtful:
		switch {
		case n.Looks && winding:
			d.say(i, Entry{What: Ended, Attempt: s.Attempt, Outcome: Failed, Error: "the runner was lost"})
		case n.Looks:
			d.attempt(i, s.Call)
		case s.Until.IsZero() || !d.now.Before(s.Until.Add(lookAgain)):
			d.next.Probes = append(d.next.Probes, Attempt{Node: n.ID, Attempt: s.Attempt, Call: s.Call, Posted: s.posted})
		default:
			d.wake(s.Until.Add(lookAgain))
		}
	case Pausing:
		if winding || r.Phase == Stopped || r.Paused {
			return
		}
		if d.now.Before(s.Until) {
			d.wake(s.Until)
			return
		}
		d.attempt(i, s.Call)
	case Open:
		if !winding {
			d.open(i)
		}
	case Inside:
		if s.inside == 0 && !winding {
			outputs, err := plan.Evaluate(n.Outputs, r.insideScope(i))
			d.say(i, ended(outputs, nil, err))
		}
	case Waiting, Ready, Acting, Asking, DoneStep, PassedBy, LeftOut, Bypassed, Rejected, FailedOn, Dropped:
	}
}

func ended(outputs, facts map[string]any, err error) Entry {
	if err != nil {
		return Entry{What: Ended, Outcome: Failed, Error: err.Error(), Facts: facts}
	}
	return Entry{What: Ended, Outcome: Done, Outputs: outputs, Facts: facts}
}

// open looks whether a wait is over, or the time of people.
func (d *decider) open(i int) {
	s, n := &d.r.Steps[i], &d.r.Program.Nodes[i]
	w := n.Step.Wait
	if w != nil && w.Until == "" {
		over := s.Opened.Add(time.Duration(w.For))
		if d.now.Before(over) {
			d.wake(over)
			return
		}
		d.say(i, ended(nil, nil, nil))
		return
	}
	if w != nil {
		holds, facts, known, err := d.holds(i, w.Until)
		if err != nil || known && holds {
			d.say(i, ended(nil, facts, err))
			return
		}
		d.wake(d.now.Add(lookAgain))
	}
	if n.Timeout > 0 {
		if over := s.Opened.Add(n.Timeout); d.now.Before(over) {
			d.wake(over)
		} else {
			d.say(i, Entry{What: Ended, Outcome: Failed, Error: "nothing came of it within " + n.Timeout.String()})
		}
	}
}

// holds evaluates a condition, or asks for the facts that it needs.
func (d *decider) holds(i int, text string) (holds bool, facts map[string]any, known bool, err error) {
	n := &d.r.Program.Nodes[i]
	scope := d.r.scope(i)
	targets, err := plan.Targets(text, scope)
	if err != nil {
		return false, nil, false, err
	}
	if len(targets) > 0 {
		facts = d.facts[n.ID]
		if facts == nil {
			d.next.Looks = append(d.next.Looks, Look{Node: n.ID, Targets: targets})
			return false, nil, false, nil
		}
	}
	scope.Facts = facts
	holds, err = plan.Holds(text, scope)
	return holds, facts, true, err
}

// begin begins a step that is ready.
func (d *decider) begin(i int) {
	r := d.r
	n := &r.Program.Nodes[i]
	step := &n.Step
	if len(step.Modes) > 0 && !slices.Contains(step.Modes, r.Program.Mode) {
		d.say(i, Entry{What: Passed, Text: "not done in mode " + string(r.Program.Mode)})
		return
	}
	if _, free := d.free(i); !free {
		return
	}
	var facts map[string]any
	if step.When != "" {
		holds, found, known, err := d.holds(i, step.When)
		switch {
		case err != nil:
			d.say(i, Entry{What: Ended, Outcome: Failed, Error: err.Error()})
			return
		case !known:
			return
		case !holds:
			d.say(i, Entry{What: Passed, Text: "not the case: " + step.When, Facts: found})
			return
		}
		facts = found
	}
	scope := r.scope(i)
	fail := func(err error) { d.say(i, Entry{What: Ended, Outcome: Failed, Error: err.Error(), Facts: facts}) }
	switch step.Kind() {
	case plan.ActStep, plan.CheckStep:
		call := step.Act
		if call == nil {
			call = step.Check
		}
		filled, err := call.Filled(scope)
		if err != nil {
			fail(err)
			return
		}
		d.attempt(i, filled)
	case plan.NotifyStep:
		text, err := plan.FillText(step.Notify.Text, scope)
		if err != nil {
			fail(err)
			return
		}
		d.attempt(i, &plan.Call{Driver: "notify", Action: "send", With: map[string]any{"to": step.Notify.To, "text": text}})
	case plan.ManualStep, plan.ApprovalStep, plan.WaitStep:
		text := ""
		if step.Manual != nil {
			text = step.Manual.Instruction
		} else if step.Approval != nil {
			text = step.Approval.Text
		}
		filled, err := plan.FillText(text, scope)
		if err != nil {
			fail(err)
			return
		}
		d.say(i, Entry{What: Opened, Text: filled, Facts: facts})
	case plan.SubplanStep:
		given, err := plan.Fill(step.Subplan.With, scope)
		if err != nil {
			fail(err)
			return
		}
		values, _ := given.(map[string]any)
		params, err := n.Bind(values)
		if err != nil {
			fail(err)
			return
		}
		d.say(i, Entry{What: Entered, Params: params, Facts: facts})
	}
}

// free gives the locks of a step, unless one of them is held by another step.
func (d *decider) free(i int) (locks []string, free bool) {
	r := d.r
	s, n := &r.Steps[i], &r.Program.Nodes[i]
	if !s.named { // what it comes after is settled: they stay the same
		scope := r.scope(i)
		for _, l := range n.Step.Locks {
			name, err := plan.FillText(l, scope)
			if err != nil {
				d.say(i, Entry{What: Ended, Attempt: s.Attempt, Outcome: Failed, Error: err.Error()})
				return nil, false
			}
			s.wants = append(s.wants, name)
		}
		s.named = true
	}
	for _, l := range s.wants {
		if by, held := r.locks[l]; held && by != i || d.locks[l] {
			return nil, false
		}
	}
	return s.wants, true
}

// attempt begins the next attempt of a step, unless something that it needs is held.
func (d *decider) attempt(i int, call *plan.Call) {
	locks, free := d.free(i)
	if d.room <= 0 || !free {
		return
	}
	for _, l := range locks {
		d.locks[l] = true
	}
	d.room--
	d.say(i, Entry{What: Began, Attempt: d.r.Steps[i].Attempt + 1, Call: call, Locks: locks})
}

// undo takes back the step that was done last. It holds the step's locks meanwhile.
func (d *decider) undo() {
	r := d.r
	i := r.toUndo()
	if i < 0 {
		return
	}
	u, n := &r.Steps[i].Undo, &r.Program.Nodes[i]
	switch u.Status {
	case Acting, Asking:
		return
	case Doubtful:
		if !u.Until.IsZero() && d.now.Before(u.Until.Add(lookAgain)) {
			d.wake(u.Until.Add(lookAgain))
			return
		}
		d.next.Probes = append(d.next.Probes, Attempt{Node: n.ID, Attempt: u.Attempt, Undo: true, Call: u.Call})
		return
	case Pausing:
		if d.now.Before(u.Until) {
			d.wake(u.Until)
			return
		}
	case Waiting, Ready, Open, Inside, DoneStep, PassedBy, LeftOut, Bypassed, Rejected, FailedOn, Dropped:
	}
	locks, free := d.free(i)
	if r.Paused || !free {
		return
	}
	call, err := n.Step.Undo.Filled(r.doneScope(i))
	if err != nil {
		call = n.Step.Undo // the driver refuses it, and a person decides
	}
	d.say(i, Entry{What: Began, Undo: true, Attempt: u.Attempt + 1, Call: call, Locks: locks})
}

// Judge makes the end of an attempt of what its driver said: what was expected has to hold, and outputs have to have a value.
func (r *Run) Judge(a Attempt, result map[string]any, failure error) Entry {
	result, files := given(result)
	e := Entry{What: Ended, Node: a.Node, Attempt: a.Attempt, Undo: a.Undo, Outcome: Done, Result: result}
	if failure != nil {
		e.Outcome, e.Error = Failed, failure.Error()
		return e
	}
	if a.Call == nil {
		return e
	}
	i := r.byID[a.Node]
	scope := r.scope(i)
	scope.Result = result
	if a.Call.Expect != "" {
		holds, err := plan.Holds(a.Call.Expect, scope)
		if err == nil && !holds {
			e.Outcome, e.Error = Failed, "it is not as expected: "+a.Call.Expect
			return e
		}
		if err != nil {
			e.Outcome, e.Error = Failed, err.Error()
			return e
		}
	}
	if a.Undo {
		return e
	}
	outputs, err := plan.Evaluate(r.Program.Nodes[i].Step.Outputs, scope)
	if err != nil {
		e.Outcome, e.Error = Failed, err.Error()
		return e
	}
	e.Outputs, e.Attachments = outputs, files
	return e
}

// finished reports whether nothing is left to do.
func (r *Run) finished() bool {
	switch r.Phase {
	case Running:
		return r.left == 0
	case Cleaning:
		return r.still && r.active.n == 0 && r.ready.n == 0
	case New, Stopped, Undoing, Over:
	}
	return false
}

func (r *Run) outcome() Outcome {
	if r.Phase == Cleaning {
		if r.takenBack {
			return Undone
		}
		return Broken
	}
	for i := range r.Steps {
		if r.Steps[i].Status == Rejected && !slices.ContainsFunc(r.after[i], func(j int) bool { return r.Steps[j].Status == DoneStep }) {
			return Refused
		}
	}
	return Done
}

func pause(retry *plan.Retry, failures int) time.Duration {
	p := time.Duration(retry.Pause)
	for range failures - 1 {
		p *= time.Duration(retry.Factor)
		if p >= time.Duration(retry.Most) {
			break
		}
	}
	return min(p, time.Duration(retry.Most))
}

// scope is what the expressions of a step see: the parameters of its plan, and the steps of its plan.
func (r *Run) scope(i int) plan.Scope {
	n := &r.Program.Nodes[i]
	params := r.Params
	if n.Parent >= 0 {
		params = r.Steps[n.Parent].Params
	}
	return plan.Scope{Params: params, Step: r.teller(n.Scope), Run: r.about()}
}

// insideScope is that of a subplan's outputs.
func (r *Run) insideScope(i int) plan.Scope {
	return plan.Scope{Params: r.Steps[i].Params, Step: r.teller(r.Program.Nodes[i].ID + "/"), Run: r.about()}
}

// doneScope is that of an undoing, which sees what the step gave.
func (r *Run) doneScope(i int) plan.Scope {
	s := r.scope(i)
	s.Result = r.Steps[i].Result
	return s
}

func (r *Run) about() map[string]any {
	return map[string]any{"id": r.ID, "mode": string(r.Program.Mode), "plan": r.Program.Plan, "startedBy": r.StartedBy}
}

// teller says of a step what expressions may know of it.
func (r *Run) teller(scope string) func(name string) (map[string]any, bool) {
	return func(name string) (map[string]any, bool) {
		i, ok := r.byID[scope+name]
		if !ok {
			return nil, false
		}
		s := &r.Steps[i]
		outputs := s.Outputs
		if outputs == nil {
			outputs = map[string]any{}
		}
		return map[string]any{"outcome": string(s.Status), "outputs": outputs, "error": s.Error, "attempts": float64(s.Attempt)}, true
	}
}

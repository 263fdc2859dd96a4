package run

import (
	"iter"
	"maps"
	"math/bits"
	"slices"
	"time"

	"perdure/internal/errs"
	"perdure/internal/plan"
)

// Run is what has become of a program so far. It is not safe for concurrent use.
type Run struct {
	ID        string
	Program   *plan.Program
	Params    map[string]any
	StartedBy string
	Started   time.Time
	// DisruptedAt and DetectedAt are when service was disrupted and when that was found; zero: nobody said.
	DisruptedAt, DetectedAt time.Time

	Phase    Phase
	Paused   bool
	Outcome  Outcome // once finished
	Finished time.Time
	Seq      int // of the last entry
	Term     int64
	Steps    []Step // by the numbers of the program's nodes
	// Reason is that of the cancellation, or of the failure that is compensated.
	Reason string
	// Glass is who has settled approvals alone since the last review.
	Glass []string
	// Attested are who stand for its record, or object to it, in the order of their words.
	Attested []Attestation
	// noted are notes that have gone out, by the numbers of their nodes.
	noted []int

	byID  map[string]int
	after [][]int // who waits for a node
	// ready are nodes that may begin, in the order of their numbers once sorted; active are those that have begun and not ended.
	ready   set
	active  set
	locks   map[string]int // held, by whom
	settled int
	left    int   // nodes of the plan itself that are not settled
	undo    []int // done steps with an undoing, in the order in which they ended
	// back is the step whose undoing has begun and is not over, -1: none.
	back int
	// takenBack: the run ends by undoing.
	takenBack bool
	// still: the run winds up, and nothing acts any more or may have acted; swept: what will not be done any more has been left behind.
	still, swept bool
	clean        []bool // the step is a cleanup, or part of one
}

// Phase is how far a run is.
type Phase string

// The phases.
const (
	New      Phase = "new"
	Running  Phase = "running"
	Stopped  Phase = "stopped" // a step failed for good: nothing more begins until a person decides
	Undoing  Phase = "undoing" // what was done is undone, last first
	Cleaning Phase = "cleaning"
	Over     Phase = "over"
)

// Step is what has become of a node.
type Step struct {
	Status  Status
	Attempt int
	// Spent counts the attempts that failed since the last decision of a person.
	Spent  int
	Opened time.Time // first begun, opened or entered
	// Asked is the entry by which people were asked the last time, 0: they were not.
	Asked   int
	Ended   time.Time
	Until   time.Time // of a pause between attempts: when it is over
	Term    int64     // in which the running attempt began
	Call    *plan.Call
	Text    string
	Locks   []string
	Result  map[string]any
	Outputs map[string]any
	Error   string
	Failed  time.Time // since when a person is asked what becomes of it
	Reason  string    // why it was skipped or taken over
	Votes   []Vote
	// Delegations are voices that were given to others, in the order of the journal; Added is who has to approve beside those of the plan.
	Delegations []Delegation
	Added       []string
	// Answer is what was answered to a task since it was asked the last time.
	Answer Answer
	// Attachments are files that were handed in with a task, or made by an action.
	Attachments []Attachment
	// Read is who has said that they have read a note.
	Read   []string
	Params map[string]any // of a subplan
	Undo   Undo

	waits    int  // how many of what it waits for are not settled
	void     bool // something that it waits for came out another way
	chosen   bool // something that it waits for was done
	inside   int  // steps of a subplan that are not settled
	entered  bool // a subplan was begun
	leave    bool // it is left out once it is its turn
	unsure   bool // its driver, or a probe, could not say what the last attempt did
	posted   bool // what the running attempt does was posted with its beginning
	named    bool // wants are the names of its locks
	wants    []string
	declined bool
}

// Undo is what has become of the undoing of a step.
type Undo struct {
	Status  Status
	Attempt int
	Spent   int
	Until   time.Time
	Term    int64
	Error   string
	Failed  time.Time // since when a person is asked what becomes of it
	Call    *plan.Call
	Locks   []string

	unsure bool
}

// Vote is one person's word on an approval.
type Vote struct {
	Who, For, Comment string
	At                time.Time
	Approved          bool
	// From is who has delegated the voice to them; empty: it is their own.
	From string `json:",omitempty"`
	// Carrier is who has handed in the signed text that it was given by; empty: they said it themselves.
	Carrier string `json:",omitempty"`
	nonce   string // of the signed text
}

// Answer is what was last answered to a task: Acknowledged, Declined or Completed; the zero one: nobody has answered.
type Answer struct {
	What What   `json:"what"`
	By   string `json:"by"`
	// For is the role or participant on whose behalf; empty: it was answered by who steers the run.
	For string    `json:"for,omitempty"`
	At  time.Time `json:"at"`
}

// Delegation is the voice of one person, given to another one.
type Delegation struct {
	From   string    `json:"from"`
	To     string    `json:"to"`
	For    string    `json:"for"` // the role or participant that was asked
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Status is how a step stands.
type Status string

// The statuses. From done on the step is settled.
const (
	Waiting  Status = ""
	Ready    Status = "ready"
	Acting   Status = "acting"  // an attempt is under way
	Doubtful Status = "unknown" // an attempt was under way when its runner was lost
	Pausing  Status = "pausing" // until the next attempt
	Asking   Status = "asking"  // failed: a person has to decide
	Open     Status = "open"    // a person is asked, or time passes
	Inside   Status = "inside"  // a subplan is under way

	DoneStep Status = "done"
	PassedBy Status = "passed"
	LeftOut  Status = "skipped"
	Bypassed Status = "bypassed" // it stands on a branch that was not chosen
	Rejected Status = "declined"
	FailedOn Status = "failed" // and the run goes on
	Dropped  Status = "dropped"
)

// Settled: nothing more becomes of it.
func (s Status) Settled() bool {
	switch s {
	case DoneStep, PassedBy, LeftOut, Bypassed, Rejected, FailedOn, Dropped:
		return true
	case Waiting, Ready, Acting, Doubtful, Pausing, Asking, Open, Inside:
	}
	return false
}

// Begin makes a run of a program; its first entry has to be Started.
func Begin(id string, p *plan.Program) *Run {
	r := &Run{ID: id, Program: p, Phase: New, Steps: make([]Step, len(p.Nodes)), byID: make(map[string]int, len(p.Nodes)), after: make([][]int, len(p.Nodes)), locks: map[string]int{}, back: -1, clean: make([]bool, len(p.Nodes))}
	for i := range p.Nodes {
		n := &p.Nodes[i]
		r.byID[n.ID] = i
		r.clean[i] = n.Step.Cleanup || n.Parent >= 0 && r.clean[n.Parent]
		r.Steps[i].waits = len(n.After)
		for _, d := range n.After {
			r.after[d.Node] = append(r.after[d.Node], i)
		}
		if n.Parent >= 0 {
			r.Steps[n.Parent].inside++
			r.Steps[i].waits++ // for the subplan to begin
		} else {
			r.left++
		}
	}
	return r
}

// Replay makes a run from its journal.
func Replay(id string, p *plan.Program, journal []Entry) (*Run, error) {
	r := Begin(id, p)
	for _, e := range journal {
		if err := r.Advance(e); err != nil {
			return nil, errs.New(errs.Internal, "the journal of run %s cannot be read at entry %d: %w", id, e.Seq, err)
		}
	}
	return r, nil
}

// Held are the locks that steps hold now.
func (r *Run) Held() []string { return slices.Sorted(maps.Keys(r.locks)) }

// UnderWay are the attempts that have begun and of which nothing else is known.
func (r *Run) UnderWay() []Attempt {
	var out []Attempt
	for i := range r.active.all() {
		s, n := &r.Steps[i], &r.Program.Nodes[i]
		if s.Status == Acting {
			out = append(out, Attempt{Node: n.ID, Attempt: s.Attempt, Call: s.Call, Posted: s.posted})
		}
		if s.Undo.Status == Acting {
			out = append(out, Attempt{Node: n.ID, Attempt: s.Undo.Attempt, Undo: true, Call: s.Undo.Call})
		}
	}
	return out
}

// Asked are the steps that wait for people: tasks, approvals, and failures on which somebody has to decide.
func (r *Run) Asked() []string {
	var out []string
	for i := range r.active.all() {
		n := &r.Program.Nodes[i]
		if s := &r.Steps[i]; s.Status == Asking || s.Undo.Status == Asking || s.Status == Open && n.Step.Wait == nil {
			out = append(out, n.ID)
		}
	}
	return out
}

// Settled is how many steps are settled.
func (r *Run) Settled() int { return r.settled }

// Node gives a step as the program has it.
func (r *Run) Node(id string) (*plan.Node, bool) {
	i, ok := r.byID[id]
	if !ok {
		return nil, false
	}
	return &r.Program.Nodes[i], true
}

// Step gives how a step stands.
func (r *Run) Step(id string) (*Step, bool) {
	i, ok := r.byID[id]
	if !ok {
		return nil, false
	}
	return &r.Steps[i], true
}

// set is a set of nodes that is gone through in the order of their numbers; a large program asks for that at every decision.
type set struct {
	words []uint64
	n     int
}

func (s *set) add(i int) {
	for len(s.words) <= i/64 {
		s.words = append(s.words, 0)
	}
	if s.words[i/64]&(1<<(i%64)) == 0 {
		s.words[i/64] |= 1 << (i % 64)
		s.n++
	}
}

func (s *set) remove(i int) {
	if i/64 < len(s.words) && s.words[i/64]&(1<<(i%64)) != 0 {
		s.words[i/64] &^= 1 << (i % 64)
		s.n--
	}
}

func (s *set) all() iter.Seq[int] {
	return func(yield func(int) bool) {
		for w, word := range s.words {
			for ; word != 0; word &= word - 1 {
				if !yield(w*64 + bits.TrailingZeros64(word)) {
					return
				}
			}
		}
	}
}

package run

import (
	"slices"
	"time"

	"perdure/internal/errs"
	"perdure/internal/plan"
)

// read notes that a person has read a note; each says so for themselves.
func (r *Run) read(i int, e Entry) error {
	s := &r.Steps[i]
	if slices.Contains(s.Read, e.By) {
		return errs.New(errs.Conflict, "%s has acknowledged note %s of run %s before", e.By, r.Program.Nodes[i].ID, r.ID)
	}
	s.Read = append(s.Read, e.By)
	return nil
}

func (r *Run) isNote(id string) bool {
	n, ok := r.Node(id)
	return ok && n.Step.Notify != nil
}

// acknowledge notes that somebody whose task it is knows of it. It is said once; who does the task may be another one.
func (r *Run) acknowledge(i int, e Entry) error {
	s, n := &r.Steps[i], &r.Program.Nodes[i]
	if n.Step.Notify != nil && s.Status == DoneStep {
		return r.read(i, e)
	}
	if s.Status != Open || n.Step.Manual == nil {
		return r.refuseStep(i, e)
	}
	if s.Answer.What == Acknowledged {
		return errs.New(errs.Conflict, "task %s of run %s was acknowledged by %s before", n.ID, r.ID, s.Answer.By)
	}
	s.Answer = answerOf(e)
	return nil
}

// decline is a task that is not done: a failure of its step, of which the plan says what it means (R4). Who steers the run may ask again.
func (r *Run) decline(i int, e Entry) error {
	s, n := &r.Steps[i], &r.Program.Nodes[i]
	if s.Status != Open {
		return r.refuseStep(i, e)
	}
	if e.Text == "" {
		return errs.New(errs.Invalid, "task %s is declined only with a reason", n.ID)
	}
	s.Answer, s.Error = answerOf(e), "declined by "+e.By+": "+e.Text
	r.failed(i, e)
	return nil
}

// complete ends a task with what was filled in.
func (r *Run) complete(i int, e Entry) error {
	s, n := &r.Steps[i], &r.Program.Nodes[i]
	if s.Status != Open || n.Step.Manual == nil {
		return r.refuseStep(i, e)
	}
	for _, f := range n.Step.Manual.Fields {
		v, ok := e.Result[f.Name]
		if !ok && f.Required {
			return errs.New(errs.Invalid, "task %s: field %s is missing", n.ID, f.Name)
		}
		if ok {
			if err := f.Accepts(v); err != nil {
				return errs.New(errs.Invalid, "task %s: field %s: %w", n.ID, f.Name, err)
			}
		}
	}
	for name := range e.Result {
		if !slices.ContainsFunc(n.Step.Manual.Fields, func(p plan.Parameter) bool { return p.Name == name }) {
			return errs.New(errs.Invalid, "task %s has no field %s", n.ID, name)
		}
	}
	if err := checkAttachments(n.ID, n.Step.Manual.Attachments, e.Attachments); err != nil {
		return err
	}
	s.Attachments = e.Attachments
	s.Result, s.Outputs, s.Reason, s.Answer = e.Result, e.Result, e.Text, answerOf(e)
	r.settle(i, DoneStep, e)
	return nil
}

func answerOf(e Entry) Answer { return Answer{What: e.What, By: e.By, For: e.For, At: e.At} }

// TaskState says how a task stands, seen by whose it is.
type TaskState string

// The states of tasks.
const (
	TaskAhead        TaskState = "ahead"        // it was not asked yet
	TaskUnanswered   TaskState = "unanswered"   // it was asked, and nobody has said anything
	TaskAcknowledged TaskState = "acknowledged" // somebody knows of it
	TaskDeclined     TaskState = "declined"
	TaskDone         TaskState = "done"
	TaskOver         TaskState = "over" // nothing becomes of it any more: its time is over, it was left out, taken over, or stands on another branch
)

// TaskOf is one task of an owner.
type TaskOf struct {
	Step  string    `json:"step"`
	Title string    `json:"title,omitempty"`
	State TaskState `json:"state"`
	// Since is when it was asked or, where somebody has answered, when they did; By is who has. Reason is why it was declined.
	Since  time.Time `json:"since,omitzero"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// Waits reports whether the run waits for its owner.
func (t TaskOf) Waits() bool { return t.State == TaskUnanswered || t.State == TaskAcknowledged }

// Progress is how far one owner is with the tasks of a run.
type Progress struct {
	Owner string   `json:"owner"`
	Tasks []TaskOf `json:"tasks"`
}

// Tasks gives how far everybody is who has tasks, in the order of their first one.
func (r *Run) Tasks() []Progress {
	var out []Progress
	at := map[string]int{}
	for i := range r.Steps {
		n := &r.Program.Nodes[i]
		if n.Step.Manual == nil {
			continue
		}
		owner := n.Step.Manual.Owner
		k, ok := at[owner]
		if !ok {
			k = len(out)
			at[owner], out = k, append(out, Progress{Owner: owner})
		}
		out[k].Tasks = append(out[k].Tasks, r.taskOf(i))
	}
	return out
}

func (r *Run) taskOf(i int) TaskOf {
	s, n := &r.Steps[i], &r.Program.Nodes[i]
	t := TaskOf{Step: n.ID, Title: n.Step.Title, Since: s.Opened}
	answered := func(state TaskState) TaskOf {
		t.State, t.Since, t.By = state, s.Answer.At, s.Answer.By
		return t
	}
	switch {
	case s.Status == DoneStep && s.Answer.What == Completed:
		return answered(TaskDone)
	case s.Answer.What == Declined && (s.Status == Asking || s.Status == FailedOn):
		t.Reason = s.Error
		return answered(TaskDeclined)
	case s.Status.Settled() || s.Status == Asking || r.Phase == Over:
		t.State, t.Since = TaskOver, s.Ended
		if s.Status == Asking {
			t.Since = s.Failed
		}
	case s.Status != Open:
		t.State, t.Since = TaskAhead, time.Time{}
	case s.Answer.What == Acknowledged:
		return answered(TaskAcknowledged)
	default:
		t.State = TaskUnanswered
	}
	return t
}

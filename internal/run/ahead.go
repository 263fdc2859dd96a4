package run

import "perdure/internal/plan"

// Ahead gives what the run may still act on, each once: the targets of actions that are not settled, and of those that would be taken back if it were
// undone. all is false where some of it is known only on the way.
func (r *Run) Ahead() (targets []string, all bool) {
	if r.Phase == Over {
		return nil, true
	}
	return r.Program.TargetsOf(r.Params, func(n *plan.Node) bool {
		s, ok := r.Step(n.ID)
		return ok && (!s.Status.Settled() || s.Status == DoneStep && n.Step.Undo != nil)
	})
}

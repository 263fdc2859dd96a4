package run

import (
	"slices"
	"strings"

	"perdure/internal/errs"
	"perdure/internal/plan"
)

// Bounds of what people may do with one approval.
const (
	mostDelegations = 3  // times that one voice is passed on
	mostAdded       = 16 // approvers beside those of the plan
)

// asked are the roles and participants of an approval: those of its plan, and those that were added.
func (s *Step) asked(a *plan.Approval) []string { return slices.Concat(a.Of, s.Added) }

// voice gives the vote that a person has on an approval: for the role or participant on whose behalf they speak, or, in their own name, for
// whom a voice was delegated to them. An error says why they have none (R6).
func (r *Run) voice(i int, who, behalf string) (Vote, error) {
	s, n := &r.Steps[i], &r.Program.Nodes[i]
	v := Vote{Who: who, For: behalf}
	if who == r.StartedBy {
		return v, errs.Refuse("R6", "%s started the run and cannot decide on %s", who, n.ID)
	}
	if s.voted(who) {
		return v, errs.Refuse("R6", "%s has decided on %s before", who, n.ID)
	}
	if given := slices.IndexFunc(s.Delegations, func(d Delegation) bool { return d.From == who }); given >= 0 {
		return v, errs.Refuse("R6", "%s has delegated %s to %s", who, n.ID, s.Delegations[given].To)
	}
	held := slices.IndexFunc(s.Delegations, func(d Delegation) bool { return d.To == who })
	switch {
	case held >= 0 && behalf == who: // who is asked by name is delegated nothing
		v.For, v.From = s.Delegations[held].For, s.Delegations[held].From
	case !slices.Contains(s.asked(n.Step.Approval), behalf):
		return v, errs.Refuse("R6", "%s is not asked for %s; asked: %s", behalf, n.ID, strings.Join(s.asked(n.Step.Approval), ", "))
	}
	return v, nil
}

func (s *Step) voted(who string) bool {
	return slices.ContainsFunc(s.Votes, func(v Vote) bool { return v.Who == who })
}

// turn refuses a vote that comes before its place in an approval of one after the other.
func (r *Run) turn(i int, v Vote) error {
	s, n := &r.Steps[i], &r.Program.Nodes[i]
	a := n.Step.Approval
	if a.Order != plan.Serial {
		return nil
	}
	order := a.Of
	if len(s.Added) > 0 { // they come after those that the plan needs
		order = slices.Concat(a.Of[:min(a.Need, len(a.Of))], s.Added)
	}
	if len(s.Votes) >= len(order) {
		return errs.New(errs.Conflict, "everybody who is asked for %s has decided", n.ID)
	}
	if next := order[len(s.Votes)]; next != v.For {
		return errs.New(errs.Conflict, "%s is asked first for %s", next, n.ID)
	}
	return nil
}

func (r *Run) vote(i int, e Entry) error {
	s, n := &r.Steps[i], &r.Program.Nodes[i]
	a := n.Step.Approval
	if s.Status != Open || a == nil {
		return r.refuseStep(i, e)
	}
	nonce, err := r.checkSigned(i, e)
	if err != nil {
		return err
	}
	v, err := r.voice(i, e.By, e.For)
	if err != nil {
		return err
	}
	if err := r.turn(i, v); err != nil {
		return err
	}
	v.Comment, v.At, v.Approved, v.nonce = e.Text, e.At, e.What == Approved, nonce
	if e.Signed != nil {
		v.Carrier = e.Signed.Carrier
	}
	s.Votes = append(s.Votes, v)
	if e.What == Declined {
		s.declined = true
		r.settle(i, Rejected, e)
		return nil
	}
	if s.approved(a) {
		r.settle(i, DoneStep, e)
	}
	return nil
}

// approved reports whether as many as the plan needs have approved, and everybody beside who was added.
func (s *Step) approved(a *plan.Approval) bool {
	own := 0
	for _, v := range s.Votes {
		if !slices.Contains(s.Added, v.For) {
			own++
		}
	}
	return own >= a.Need && !slices.ContainsFunc(s.Added, func(name string) bool {
		return !slices.ContainsFunc(s.Votes, func(v Vote) bool { return v.For == name })
	})
}

// delegate gives a person's voice to another one. It comes back in no way: whoever gave it has none any more, and takes none over (R6).
func (r *Run) delegate(i int, e Entry) error {
	s, n := &r.Steps[i], &r.Program.Nodes[i]
	if s.Status != Open || n.Step.Approval == nil {
		return r.refuseStep(i, e)
	}
	if e.Text == "" {
		return errs.New(errs.Invalid, "%s is delegated only with a reason", n.ID)
	}
	v, err := r.voice(i, e.By, e.For)
	if err != nil {
		return err
	}
	gave := func(d Delegation) bool { return d.From == e.To }
	has := func(d Delegation) bool { return d.To == e.To }
	switch {
	case e.To == "" || e.To == e.By:
		return errs.New(errs.Invalid, "name another person to whom %s is delegated", n.ID)
	case e.To == r.StartedBy:
		return errs.Refuse("R6", "%s started the run: nobody delegates %s to them", e.To, n.ID)
	case s.voted(e.To):
		return errs.Refuse("R6", "%s has decided on %s before, and has no second voice", e.To, n.ID)
	case slices.ContainsFunc(s.Delegations, gave):
		return errs.Refuse("R6", "%s has delegated %s, and takes no voice over", e.To, n.ID)
	case slices.ContainsFunc(s.Delegations, has), slices.Contains(s.asked(n.Step.Approval), e.To):
		return errs.Refuse("R6", "%s is asked for %s already, and has no second voice", e.To, n.ID)
	case s.passedOn(e.By) >= mostDelegations:
		return errs.Refuse("R6", "this voice on %s has been passed on %d times: %s has to decide", n.ID, mostDelegations, e.By)
	}
	s.Delegations = append(s.Delegations, Delegation{From: e.By, To: e.To, For: v.For, Reason: e.Text, At: e.At})
	return nil
}

// passedOn counts how often the voice that a person has now was passed on.
func (s *Step) passedOn(who string) int {
	n := 0
	for _, d := range slices.Backward(s.Delegations) {
		if d.To == who {
			n, who = n+1, d.From
		}
	}
	return n
}

// addApprover asks one more role or participant, whose approval is needed beside those that the plan needs.
func (r *Run) addApprover(i int, e Entry) error {
	s, n := &r.Steps[i], &r.Program.Nodes[i]
	if s.Status != Open || n.Step.Approval == nil {
		return r.refuseStep(i, e)
	}
	gave := func(d Delegation) bool { return d.From == e.For || d.To == e.For }
	switch {
	case e.For == "":
		return errs.New(errs.Invalid, "name who is asked for %s too", n.ID)
	case e.For == r.StartedBy:
		return errs.Refuse("R6", "%s started the run and cannot decide on %s", e.For, n.ID)
	case slices.Contains(s.asked(n.Step.Approval), e.For):
		return errs.New(errs.Conflict, "%s is asked for %s already", e.For, n.ID)
	case s.voted(e.For), slices.ContainsFunc(s.Delegations, gave):
		return errs.Refuse("R6", "%s has a voice on %s already, or had one", e.For, n.ID)
	case len(s.Added) >= mostAdded:
		return errs.New(errs.Refused, "%d approvers were added to %s, and no more can be", mostAdded, n.ID)
	}
	s.Added = append(s.Added, e.For)
	return nil
}

// breakGlass settles an approval by one person alone, who may be the one who started the run (R7).
func (r *Run) breakGlass(i int, e Entry) error {
	s, n := &r.Steps[i], &r.Program.Nodes[i]
	switch {
	case s.Status != Open || n.Step.Approval == nil:
		return r.refuseStep(i, e)
	case r.Program.Mode != plan.Emergency:
		return errs.Refuse("R7", "glass is broken in mode emergency only, run %s is of mode %s", r.ID, r.Program.Mode)
	case e.Factor.IsZero():
		return errs.Refuse("R7", "glass is broken only by a person who has logged in with a second factor")
	case e.Text == "":
		return errs.New(errs.Invalid, "glass is broken only with a reason")
	}
	s.Reason = "glass broken by " + e.By + ": " + e.Text
	r.Glass = append(r.Glass, e.By)
	r.settle(i, DoneStep, e)
	return nil
}

// review ends the duty that breaking glass has left (R7).
func (r *Run) review(e Entry) error {
	switch {
	case len(r.Glass) == 0:
		return r.refuse(e, "no review of it is due")
	case r.Phase != Over:
		return r.refuse(e, "it is reviewed once it is over")
	case !r.mayReview(e.By):
		return errs.Refuse("R7", "%s started the run or broke glass in it: another person reviews it", e.By)
	case e.Text == "":
		return errs.New(errs.Invalid, "a review has a finding")
	}
	r.Glass = nil
	return nil
}

func (r *Run) mayReview(who string) bool { return who != r.StartedBy && !slices.Contains(r.Glass, who) }

package api

import (
	"context"
	"slices"
	"strings"
	"sync"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/manifest"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// read keeps what was read of the newest manifest that was asked for, and of what of it is a tenant's: reading a large one takes a while.
type read[T any] struct {
	mu       sync.Mutex
	revision int64
	of       map[estate.TenantID]outcome[T]
}

type outcome[T any] struct {
	value T
	err   error
}

func (r *read[T]) get(m wire.Manifest, with func(text string) (T, error)) (T, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil || r.revision != m.Revision {
		r.revision, r.of = m.Revision, map[estate.TenantID]outcome[T]{}
	}
	got, ok := r.of[m.Tenant]
	if !ok {
		got.value, got.err = with(m.Text)
		r.of[m.Tenant] = got
	}
	return got.value, got.err
}

// participantsOf gives the participants of the applied manifest.
func (s *Server) participantsOf(ctx context.Context) ([]manifest.Participant, error) {
	if s.d.Plans == nil {
		return nil, errs.New(errs.Unavailable, "this node reads no participants")
	}
	m, err := s.d.Store.Manifest(ctx, wire.Fresh)
	if err != nil {
		return nil, err
	}
	return s.participants.get(m, s.d.Plans.Participants)
}

// mayBelong refuses a participant that the manifest has not, of whom nothing would ever be asked, and a person of one who is called like another one:
// by their name they would be asked in its place.
func (s *Server) mayBelong(ctx context.Context, person, name string, tenant estate.TenantID) error {
	if tenant != "" {
		if err := s.isTenant(ctx, tenant); err != nil {
			return err
		}
	}
	if name == "" {
		return nil
	}
	list, err := s.participantsOf(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, p := range list {
		names = append(names, p.Name)
	}
	switch {
	case person != name && slices.Contains(names, person):
		return errs.New(errs.Invalid, "%s is a participant: nobody of %s is called so", person, name)
	case slices.Contains(names, name):
		if of := list[slices.Index(names, name)].Tenant; of != tenant {
			return errs.New(errs.Invalid, "participant %s is %s and %s is %s: who belongs to a participant is of its tenant", name, of.Whose(), person, tenant.Whose())
		}
		return nil
	case len(names) == 0:
		return errs.New(errs.NotFound, "the applied manifest has no participant %q, and no other one", name)
	}
	return errs.New(errs.NotFound, "the applied manifest has no participant %q; allowed: %s", name, strings.Join(names, ", "))
}

// isTenant refuses a tenant that the applied manifest has not: its people would see nothing.
func (s *Server) isTenant(ctx context.Context, tenant estate.TenantID) error {
	e, err := s.estateOf(ctx)
	if err == nil && !slices.ContainsFunc(e.Set.Tenants, func(t manifest.Tenant) bool { return t.Name == tenant }) {
		err = errs.New(errs.NotFound, "the applied manifest has no tenant %q: a document of kind Tenant declares one", tenant)
	}
	return err
}

// progress is how far participants are with the tasks of a run, with how they are reached, and so for duties, with who is on duty. A manifest that
// cannot be read keeps nobody from looking.
func (s *Server) progress(ctx context.Context, r *run.Run) []wire.ParticipantProgress {
	tasks := slices.DeleteFunc(r.Tasks(), func(p run.Progress) bool { return slices.Contains(wire.Roles(), wire.Role(p.Owner)) })
	if len(tasks) == 0 {
		return nil
	}
	declared, err := s.participantsOf(ctx)
	if err != nil {
		s.d.Logger.Warn("participants cannot be read: contacts are not shown", "err", err)
	}
	desk := s.desk(ctx)
	var out []wire.ParticipantProgress
	for _, t := range tasks {
		p, name := wire.ParticipantProgress{Progress: t}, t.Owner
		if on, ok := desk.book.On(t.Owner, desk.now); ok {
			p.Duty, name = &on, on.Of
		}
		if i := slices.IndexFunc(declared, func(d manifest.Participant) bool { return d.Name == name }); i >= 0 {
			p.Title, p.Type, p.Contacts = declared[i].Title, declared[i].Type, declared[i].Contacts
		}
		out = append(out, p)
	}
	return out
}

// taskOf gives the task that a step of a run is, nil where it is none or where there is no such step.
func (s *Server) taskOf(ctx context.Context, head wire.Run, step string) (*plan.Manual, error) {
	program, err := s.d.Store.Program(ctx, head.ID)
	if err != nil {
		return nil, err
	}
	for i := range program.Nodes {
		if program.Nodes[i].ID == step {
			return program.Nodes[i].Step.Manual, nil
		}
	}
	return nil, nil
}

// mayAnswer lets those answer a task whose it is, and those who steer the run; it notes on whose behalf the former do.
func (s *Server) mayAnswer(ctx context.Context, id identity, head wire.Run, e *run.Entry) error {
	e.For = ""
	m, err := s.taskOf(ctx, head, e.Node)
	if err != nil {
		return err
	}
	by := s.desk(ctx).person(id, head)
	if m != nil && by.Answers(m.Owner) {
		e.For = m.Owner
		return nil
	}
	if m == nil && e.What == run.Acknowledged { // a note is read by whom it is to
		_, r, err := s.replay(ctx, head.ID)
		if err != nil {
			return err
		}
		for _, a := range r.WaitsFor(by) {
			if a.Why == run.Note && a.Step == e.Node {
				e.For = a.For
				return nil
			}
		}
	}
	return id.maySteer(head)
}

// decidesAs has who does not say on whose behalf they decide do it as what they are asked as. Who is asked as nothing speaks in their own name,
// and the run says why that is no voice.
func (s *Server) decidesAs(ctx context.Context, id identity, head wire.Run, e *run.Entry) error {
	if e.For != "" {
		return nil
	}
	_, r, err := s.replay(ctx, head.ID)
	if err != nil {
		return err
	}
	if e.For, err = r.Behalf(e.Node, s.desk(ctx).person(id, head)); err != nil {
		e.For = id.Person
	}
	return nil
}

// askedByName refuses who belongs to a participant and decides in their own name, where nobody has asked them by it.
func (s *Server) askedByName(ctx context.Context, id identity, head wire.Run, step string) error {
	_, r, err := s.replay(ctx, head.ID)
	if err != nil {
		return err
	}
	by := s.desk(ctx).person(id, head)
	by.Holds = func(string) bool { return false }
	if slices.ContainsFunc(r.WaitsFor(by), func(a run.Ask) bool {
		return a.Step == step && a.Why == run.Decision && (a.For != id.Participant || a.From != "")
	}) {
		return nil
	}
	return errs.New(errs.Forbidden, "%s belongs to participant %s and is not asked for %s by name: decide for the participant", id.Name, id.Participant, step)
}

// answerTask takes what somebody says who only takes part: to what is asked of them, and to nothing else. Of anything else they are told the same,
// whether it is there or not; and of the run they are told its name and its mode.
func (s *Server) answerTask(ctx context.Context, id identity, name string, e run.Entry, files []string) (wire.Run, error) {
	unknown := errs.New(errs.NotFound, "nothing of a run %s, step %s, waits for %s; perdure inbox shows what does", name, e.Node, id.Person)
	switch e.What {
	case run.Acknowledged, run.Completed, run.Approved, run.Declined:
	default:
		return wire.Run{}, errs.New(errs.Forbidden, "%s may not say %q to a run: who takes part says acknowledged, completed, approved or declined to what is asked of them", id.Name, e.What)
	}
	head, r, err := s.replay(ctx, name)
	switch kind := errs.KindOf(err); {
	case kind == errs.NotFound || kind == errs.Invalid:
		return wire.Run{}, unknown
	case err != nil:
		return wire.Run{}, err
	}
	asks := r.WaitsFor(s.desk(ctx).person(id, head))
	i := slices.IndexFunc(asks, func(a run.Ask) bool { return a.Step == e.Node })
	if i < 0 {
		return wire.Run{}, unknown
	}
	e.For, e.To, e.Undo = asks[i].For, "", false
	if asks[i].Why == run.Decision && asks[i].From != "" { // who holds a delegated voice decides in their own name
		e.For = id.Person
	}
	if err := s.sayForReal(ctx, id, head, e.What); err != nil {
		return wire.Run{}, err
	}
	if e.Attachments, err = s.attached(ctx, name, e, files); err != nil {
		return wire.Run{}, err
	}
	if _, err := s.d.Store.Say(ctx, name, e); err != nil {
		return wire.Run{}, err
	}
	return wire.Run{ID: head.ID, Mode: head.Mode, Tabletop: head.Tabletop}, nil
}

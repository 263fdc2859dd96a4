package api

import (
	"context"
	"slices"
	"time"

	"perdure/internal/duty"
	"perdure/internal/errs"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// dutiesOf gives the rosters of the applied manifest.
func (s *Server) dutiesOf(ctx context.Context) (*duty.Book, error) {
	if s.d.Plans == nil {
		return nil, errs.New(errs.Unavailable, "this node reads no rosters")
	}
	m, err := s.d.Store.Manifest(ctx, wire.Fresh)
	if err != nil {
		return nil, err
	}
	return s.duties.get(m, s.d.Plans.Duties)
}

// desk is who is on duty at the instant of a request.
type desk struct {
	book *duty.Book
	now  time.Time
}

// desk reads the rosters. Where they cannot be read nobody is on duty for anything: who steers a run answers in the place of those.
func (s *Server) desk(ctx context.Context) desk {
	book, err := s.dutiesOf(ctx)
	if err != nil {
		s.d.Logger.Warn("rosters cannot be read: nobody is on duty", "err", err)
		book = &duty.Book{}
	}
	return desk{book, time.Now()}
}

// person is what a run has to know of somebody to say what waits for them.
func (d desk) person(id identity, head wire.Run) run.Person {
	speaks := func(name string) bool { return id.speaksAs(head, name) }
	return run.Person{
		Name: id.Person, Participant: id.Participant,
		Holds:  func(name string) bool { return speaks(name) || d.answers(id, name, speaks) },
		Steers: id.steers(head), Reviews: id.has(Auditor) || id.has(Commander),
	}
}

// answers reports whether what is asked of a duty is asked of a person: they are on duty, or nobody is, and they hold what it is a duty of (U1 to U3).
func (d desk) answers(id identity, name string, speaks func(role string) bool) bool {
	of, ok := d.book.Of(name)
	return ok && (of == id.Participant || speaks(of)) && d.book.Answers(name, id.Person, d.now)
}

// dutyView says who is on duty, and what has to be seen to.
func (s *Server) dutyView(ctx context.Context, _ *struct{}) (*body[duty.View], error) {
	book, err := s.dutiesOf(ctx)
	if err != nil {
		return nil, err
	}
	users, err := s.d.Store.Users(ctx, wire.Fresh)
	if err != nil {
		return nil, err
	}
	tokens, err := s.d.Store.Tokens(ctx, wire.Fresh)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &body[duty.View]{book.Look(now, func(person, of string) string { return unable(person, of, users, tokens, now) })}, nil
}

// unable says why somebody could not answer for a role or a participant; "": they could.
func unable(person, of string, users []wire.User, tokens []wire.Token, now time.Time) string {
	var as []identity
	for _, u := range users {
		if u.Name == person && u.Active() {
			as = append(as, identity{Roles: u.Roles, Participant: u.Participant})
		}
	}
	for _, t := range tokens {
		if t.Name == person && t.Good(now.UnixMilli()) {
			as = append(as, identity{Roles: []wire.Role{t.Role}, Participant: t.Participant})
		}
	}
	role := slices.Contains(wire.Roles(), wire.Role(of))
	switch {
	case len(as) == 0:
		return person + " is nobody who may act"
	case slices.ContainsFunc(as, func(i identity) bool { return role && i.has(Access(of)) || i.Participant == of }):
		return ""
	case role:
		return person + " has not role " + of
	}
	return person + " does not belong to participant " + of
}

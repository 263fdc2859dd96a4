package api

import (
	"context"
	"crypto/rand"
	"time"

	"perdure/internal/ballot"
	"perdure/internal/errs"
	"perdure/internal/run"
	"perdure/internal/wire"
)

func (s *Server) listKeys(ctx context.Context, _ *struct{}) (*body[[]wire.SigningKey], error) {
	id := who(ctx)
	users, err := s.d.Store.Users(ctx, wire.Fresh)
	if err != nil {
		return nil, err
	}
	for _, u := range users {
		if u.Name == id.Person {
			return &body[[]wire.SigningKey]{append([]wire.SigningKey{}, u.Keys...)}, nil
		}
	}
	return &body[[]wire.SigningKey]{[]wire.SigningKey{}}, nil // the name of a token
}

func (s *Server) addKey(ctx context.Context, in *struct{ Body wire.NewSigningKey }) (*body[wire.SigningKey], error) {
	id, err := inSession(ctx)
	if err != nil {
		return nil, err
	}
	factor := int64(0)
	if !id.Factor.IsZero() {
		factor = id.Factor.UnixMilli()
	}
	return answer(s.d.Store.AddKey(ctx, id.Person, in.Body, factor))
}

func (s *Server) revokeKey(ctx context.Context, in *struct {
	User string `path:"user"`
	Key  string `path:"key"`
},
) (*body[wire.SigningKey], error) {
	return answer(s.d.Store.RevokeKey(ctx, who(ctx).Name, in.User, in.Key))
}

func (s *Server) revokeOwnKey(ctx context.Context, in *struct {
	Key string `path:"key"`
},
) (*body[wire.SigningKey], error) {
	id := who(ctx)
	return answer(s.d.Store.RevokeKey(ctx, id.Name, id.Person, in.Key))
}

type challengeInput struct {
	Run     string `path:"run"`
	Step    string `query:"step" required:"true" doc:"the approval"`
	Minutes int    `query:"minutes" minimum:"1" maximum:"1440" default:"60" doc:"for how long it counts"`
}

func (s *Server) challenge(ctx context.Context, in *challengeInput) (*body[wire.Challenge], error) {
	head, r, err := s.replay(ctx, in.Run)
	if err != nil {
		return nil, err
	}
	step, err := approvalOf(r, in.Step)
	if err != nil {
		return nil, err
	}
	if step.Status != run.Open {
		return nil, errs.New(errs.Conflict, "approval %s of run %s is not open now (%s): nobody is asked", in.Step, in.Run, dashed(string(step.Status)))
	}
	var nonce [ballot.NonceSize]byte
	_, _ = rand.Read(nonce[:]) // it never fails
	c, err := challengeOf(head, r, in.Step, time.Now().Add(time.Duration(in.Minutes)*time.Minute), nonce)
	if err != nil {
		return nil, err
	}
	text, err := c.String()
	return answer(wire.Challenge{Text: text, Asks: c}, err)
}

func dashed(status string) string {
	if status == "" {
		return "waiting"
	}
	return status
}

// approvalOf gives a step that is an approval.
func approvalOf(r *run.Run, id string) (*run.Step, error) {
	for i := range r.Program.Nodes {
		if n := &r.Program.Nodes[i]; n.ID == id {
			if n.Step.Approval == nil {
				return nil, errs.New(errs.Invalid, "step %s of run %s is no approval: only approvals are decided by signature", id, r.ID)
			}
			return &r.Steps[i], nil
		}
	}
	return nil, errs.New(errs.NotFound, "run %s has no step %q; perdure run show %s lists them", r.ID, id, r.ID)
}

// challengeOf is what is asked by a step as it was put the last time.
func challengeOf(head wire.Run, r *run.Run, id string, expires time.Time, nonce [ballot.NonceSize]byte) (ballot.Challenge, error) {
	step, err := approvalOf(r, id)
	if err != nil {
		return ballot.Challenge{}, err
	}
	digest, err := ballot.DigestOf(head.Program, r.Params, step.Text)
	return ballot.Challenge{
		Run: head.ID, Plan: head.Plan, Mode: string(head.Mode), Step: id, Text: ballot.Shorten(step.Text), Asked: step.Asked,
		Digest: digest, Expires: expires.UTC().Truncate(time.Second), Nonce: nonce,
	}, err
}

type signedInput struct {
	Run  string `path:"run"`
	Body wire.SignedWord
}

// handIn takes what somebody has signed. Who hands it in needs the right to steer the run, and decides nothing: no second factor is asked of them.
func (s *Server) handIn(ctx context.Context, in *signedInput) (*body[wire.Run], error) {
	id, word := who(ctx), in.Body
	head, r, err := s.replay(ctx, in.Run)
	if err != nil {
		return nil, err
	}
	if err := id.maySteer(head); err != nil {
		return nil, err
	}
	a, err := ballot.ParseAnswer(word.Signed)
	if err != nil {
		return nil, err
	}
	u, key, err := s.d.Store.SignerOf(ctx, a.Key)
	if err != nil {
		return nil, err
	}
	c, err := s.answered(head, r, word.Step, a)
	if err != nil {
		return nil, err
	}
	public, err := ballot.ParsePublicKey(key.Key)
	if err != nil {
		return nil, err
	}
	if err := a.Verify(c, public.Key); err != nil {
		return nil, err
	}
	if step, ok := r.Step(word.Step); ok {
		if err := step.CheckNew(u.Name, a.Nonce); err != nil {
			return nil, err
		}
	}
	if u.Tenant != "" && u.Tenant != head.Tenant {
		return nil, errs.New(errs.Forbidden, "%s is of tenant %s, and has no part in run %s", u.Name, u.Tenant, head.ID)
	}
	if err := s.signedForReal(ctx, head, u, key); err != nil {
		return nil, err
	}
	said := run.Declined
	if a.Approved {
		said = run.Approved
	}
	if said != word.What {
		return nil, errs.New(errs.Refused, "what %s has signed says %s, and not %s: hand it in as that, or have it signed anew", u.Name, said, word.What)
	}
	challenge, err := c.String()
	if err != nil {
		return nil, err
	}
	signed, err := a.String()
	if err != nil {
		return nil, err
	}
	e := run.Entry{
		By: u.Name, What: said, Node: word.Step, Text: a.Comment, For: a.For,
		Signed: &run.Signed{Text: signed, Challenge: challenge, Key: key.Key, Carrier: id.Person},
	}
	signer := identity{Name: "person:" + u.Name, Person: u.Name, Roles: u.Roles, Participant: u.Participant, Tenant: u.Tenant}
	if e.For == "" {
		if e.For, err = r.Behalf(word.Step, s.desk(ctx).person(signer, head)); err != nil {
			return nil, err
		}
	} else if err := s.maySay(ctx, signer, head, &e); err != nil {
		return nil, err
	}
	return answer(s.d.Store.Say(ctx, in.Run, e))
}

// answered gives the challenge of a step that an answer is to. Where it is to another one it says to which, as far as that can be told.
func (s *Server) answered(head wire.Run, r *run.Run, id string, a ballot.Answer) (ballot.Challenge, error) {
	c, err := challengeOf(head, r, id, a.Expires, a.Nonce)
	if err != nil {
		return c, err
	}
	if tag, err := c.Tag(); err != nil || tag == a.Tag {
		return c, err
	}
	for i := range r.Program.Nodes {
		n := &r.Program.Nodes[i]
		if n.Step.Approval == nil || n.ID == id {
			continue
		}
		other, err := challengeOf(head, r, n.ID, a.Expires, a.Nonce)
		if err != nil {
			return c, err
		}
		if tag, err := other.Tag(); err == nil && tag == a.Tag {
			return c, errs.Refuse("R8", "the signed text is about step %s of run %s, and not about %s", n.ID, head.ID, id)
		}
	}
	return c, errs.Refuse("R8", "the signed text does not answer what step %s of run %s asks now: it is about another run, or the step was asked anew since; make another challenge (perdure run challenge %s %s), and have that signed", id, head.ID, head.ID, id)
}

// signedForReal refuses a signature in a run that is for real where a second factor is required and the key does not count as one.
func (s *Server) signedForReal(ctx context.Context, head wire.Run, u wire.User, key wire.SigningKey) error {
	if !head.Real() {
		return nil
	}
	p, err := s.d.Store.Policy(ctx, wire.Fresh)
	switch {
	case err != nil:
		return err
	case p.SecondFactor == wire.FactorOff:
		return nil
	case !p.Signatures:
		return errs.New(errs.Forbidden, "run %s is for real, and the policy does not let signatures count there: %s has to log in, or an administrator says otherwise (perdure policy set signatures count-for-real on)", head.ID, u.Name)
	case key.Factor == 0:
		return errs.New(errs.Forbidden, "run %s is for real, and key %s of %s was added without a second factor: it counts in drills only; enrol one (perdure user totp), then add another key", head.ID, key.ID, u.Name)
	}
	return nil
}

package run

import (
	"encoding/hex"

	"perdure/internal/ballot"
	"perdure/internal/errs"
)

// Signed is a decision that was signed away from the platform, and what is needed to verify it for ever.
type Signed struct {
	// Text is the signed text as its key holder wrote it, Challenge what it answers.
	Text      string `json:"text"`
	Challenge string `json:"challenge"`
	// Key is the public key, as it was registered for the person.
	Key string `json:"key"`
	// Carrier is the person who handed it in.
	Carrier string `json:"carrier"`
}

// Verify checks the signature, and that the entry tells what was signed (B1). It gives what is asked by the challenge, and what was answered.
func (s Signed) Verify(e Entry) (ballot.Challenge, ballot.Answer, error) {
	c, err := ballot.ParseChallenge(s.Challenge)
	if err != nil {
		return c, ballot.Answer{}, err
	}
	a, err := ballot.ParseAnswer(s.Text)
	if err != nil {
		return c, a, err
	}
	key, err := ballot.ParsePublicKey(s.Key)
	if err != nil {
		return c, a, err
	}
	if err := a.Verify(c, key.Key); err != nil {
		return c, a, err
	}
	what := Declined
	if a.Approved {
		what = Approved
	}
	switch {
	case key.Name != e.By:
		return c, a, errs.Refuse("R8", "the signed text is of %s, and not of %s", key.Name, e.By)
	case c.Step != e.Node:
		return c, a, errs.Refuse("R8", "the signed text is about step %s, and not about %s", c.Step, e.Node)
	case what != e.What:
		return c, a, errs.Refuse("R8", "the signed text says %s, and not %s", what, e.What)
	case a.Comment != e.Text:
		return c, a, errs.Refuse("R8", "the comment is not the one that was signed")
	case a.For != "" && a.For != e.For:
		return c, a, errs.Refuse("R8", "the signed text is for %s, and not for %s", a.For, e.For)
	case e.At.After(c.Expires):
		return c, a, errs.Refuse("R8", "the challenge expired at %s: make another one with perdure run challenge, and have that signed", stamp(c.Expires))
	case c.Expires.After(e.At.Add(ballot.Longest)):
		return c, a, errs.Refuse("R8", "the challenge expires at %s, more than %s from now: make another one with perdure run challenge, and have that signed", stamp(c.Expires), ballot.Longest)
	}
	return c, a, nil
}

// checkSigned refuses a signed word that is about another asking, or was handed in before (R8), and gives its nonce.
func (r *Run) checkSigned(i int, e Entry) (nonce string, err error) {
	if e.Signed == nil {
		return "", nil
	}
	c, _, err := e.Signed.Verify(e)
	if err != nil {
		return "", err
	}
	s := &r.Steps[i]
	switch {
	case c.Run != r.ID:
		return "", errs.Refuse("R8", "the signed text is about run %s, and not about %s", c.Run, r.ID)
	case c.Asked != s.Asked:
		return "", errs.Refuse("R8", "step %s was asked anew at entry %d, and the signed text answers entry %d: make another challenge, and have that signed", e.Node, s.Asked, c.Asked)
	}
	return hex.EncodeToString(c.Nonce[:]), s.CheckNew(e.By, c.Nonce)
}

// CheckNew refuses what a person has signed with the nonce where it was handed in before (R8).
func (s *Step) CheckNew(who string, nonce [ballot.NonceSize]byte) error {
	for _, v := range s.Votes {
		if v.Who == who && v.nonce == hex.EncodeToString(nonce[:]) {
			return errs.Refuse("R8", "this signed text of %s was handed in before, by %s at %s, and counts once", who, v.Carrier, stamp(v.At))
		}
	}
	return nil
}

// Behalf gives for whom a person decides on an approval now: the role or participant that they are asked as, or their own name. An error says
// why they are not asked.
func (r *Run) Behalf(step string, p Person) (string, error) {
	i, ok := r.byID[step]
	if !ok {
		return "", errs.New(errs.NotFound, "run %s has no step %s", r.ID, step)
	}
	if s := &r.Steps[i]; s.Status != Open || r.Program.Nodes[i].Step.Approval == nil {
		return "", r.refuseStep(i, Entry{What: Approved})
	}
	if v, ok := r.askedAs(i, p); ok {
		if v.From != "" {
			return p.Name, nil // who holds a delegated voice decides in their own name
		}
		return v.For, nil
	}
	_, err := r.voice(i, p.Name, p.Name)
	for _, name := range r.Steps[i].asked(r.Program.Nodes[i].Step.Approval) {
		if !p.Holds(name) && name != p.Participant {
			continue
		}
		var v Vote
		if v, err = r.voice(i, p.Name, name); err == nil {
			err = r.turn(i, v)
		}
		break
	}
	return "", err
}

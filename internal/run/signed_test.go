package run_test

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"perdure/internal/ballot"
	"perdure/internal/errs"
	"perdure/internal/plan"
	"perdure/internal/run"
)

// signed is an entry of bob, by his signature over the challenge.
func signed(t *testing.T, c ballot.Challenge, change func(e *run.Entry)) run.Entry {
	t.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	a, err := c.Sign(key, true, "operations", "go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := a.String()
	if err != nil {
		t.Fatal(err)
	}
	asked, err := c.String()
	if err != nil {
		t.Fatal(err)
	}
	e := run.Entry{By: "bob", What: run.Approved, Node: "ask", For: "operations", Text: "go", Signed: &run.Signed{Text: text, Challenge: asked, Key: ballot.Prove("bob", key).String(), Carrier: "eve"}}
	if change != nil {
		change(&e)
	}
	return e
}

// TestSignedDecisionIsHeldAgainstItsEntryWhenTheJournalIsRead: whoever appends to the journal cannot say anything else than what was signed (R8).
func TestSignedDecisionIsHeldAgainstItsEntryWhenTheJournalIsRead(t *testing.T) {
	r := opened(t, "{of: [operations, business], need: 2}", plan.Takeover)
	c := ballot.Challenge{Run: "r1", Plan: "p", Mode: "takeover", Step: "ask", Text: "Go?", Asked: 2, Expires: time.Unix(1000, 0).UTC()}
	for name, one := range map[string]struct {
		challenge func(c *ballot.Challenge)
		entry     func(e *run.Entry)
		kind      errs.Kind
	}{
		"another person":   {entry: func(e *run.Entry) { e.By = "cid" }},
		"another decision": {entry: func(e *run.Entry) { e.What = run.Declined }},
		"another comment":  {entry: func(e *run.Entry) { e.Text = "stop" }},
		"another role":     {entry: func(e *run.Entry) { e.For = "business" }},
		"another run":      {challenge: func(c *ballot.Challenge) { c.Run = "r2" }},
		"another step":     {challenge: func(c *ballot.Challenge) { c.Step = "other" }},
		"another asking":   {challenge: func(c *ballot.Challenge) { c.Asked = 1 }},
		"expired":          {challenge: func(c *ballot.Challenge) { c.Expires = time.Unix(1, 0).UTC() }},
		"too far ahead":    {challenge: func(c *ballot.Challenge) { c.Expires = time.Unix(90000, 0).UTC() }},
		"another text":     {entry: func(e *run.Entry) { e.Signed.Text = strings.Replace(e.Signed.Text, "-", "-0", 1) }, kind: errs.Invalid},
		"another challenge": {entry: func(e *run.Entry) {
			other := c
			other.Nonce[0]++
			e.Signed.Challenge, _ = other.String()
		}},
		"another's key": {entry: func(e *run.Entry) {
			e.Signed.Key = ballot.Prove("bob", ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, ed25519.SeedSize))).String()
		}},
	} {
		asked := c
		if one.challenge != nil {
			one.challenge(&asked)
		}
		e := signed(t, asked, one.entry)
		e.Seq, e.At = r.Seq+1, time.Unix(int64(r.Seq), 0).UTC()
		kind := one.kind
		if kind == "" {
			kind = errs.Refused
		}
		if err := r.Advance(e); errs.KindOf(err) != kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	took(t, r, signed(t, c, nil))
	refused(t, r, signed(t, c, nil), errs.Refused)
	s, _ := r.Step("ask")
	if v := s.Votes[0]; v.Who != "bob" || v.Carrier != "eve" || v.From != "" {
		t.Errorf("%+v", v)
	}
}

func TestPersonIsToldAsWhomTheyDecideAndWhyNot(t *testing.T) {
	r := opened(t, "{of: [operations, business], need: 2, order: serial}", plan.Takeover)
	holds := func(roles ...string) func(string) bool {
		return func(role string) bool { return strings.Contains(" "+strings.Join(roles, " ")+" ", " "+role+" ") }
	}
	check := func(want string, p run.Person) {
		t.Helper()
		got, err := r.Behalf("ask", p)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", p.Name, got, want)
		}
	}
	check("operations", run.Person{Name: "bob", Holds: holds("operations")})
	check("operations is asked first for ask", run.Person{Name: "cid", Holds: holds("business")})
	check("dan is not asked for ask", run.Person{Name: "dan", Holds: holds()})
	check("ann started the run", run.Person{Name: "ann", Holds: holds("operations")})
	took(t, r, delegate("bob", "operations", "eve"))
	check("eve", run.Person{Name: "eve", Holds: holds()})
	check("bob has delegated ask", run.Person{Name: "bob", Holds: holds("operations")})
	if _, err := r.Behalf("task", run.Person{Name: "bob", Holds: holds()}); errs.KindOf(err) != errs.Conflict {
		t.Errorf("a task: %v", err)
	}
}

package api_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"perdure/internal/ballot"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/wire"
)

const signedPlan = `apiVersion: perdure/v1
kind: Plan
name: sign
modes: [takeover, drill]
steps:
- {id: agree, after: [], approval: {of: [commander, auditor], need: 2, order: serial, text: "Go to b?"}}
- {id: other, after: [], onFailure: ask, approval: {of: [commander], text: "And this?"}}
- {id: task, after: [], manual: {owner: desk, instruction: Count.}}
`

func privateKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

// signer is a user with a second factor and a key.
type signer struct {
	*caller
	name string
	key  ed25519.PrivateKey
	id   string
}

func (n *node) signer(name string, seed byte, roles ...wire.Role) signer {
	n.t.Helper()
	s := signer{caller: n.withFactor(name, roles...), name: name, key: privateKey(seed)}
	var k wire.SigningKey
	if err := json.Unmarshal(s.want(200, "POST", "/api/v1/me/keys", wire.NewSigningKey{Key: ballot.Prove(name, s.key).String(), Title: "laptop"}).body, &k); err != nil {
		n.t.Fatal(err)
	}
	s.id = k.ID
	return s
}

// asks is a run of bob in which both approvals are open.
func (n *node) asks(id string, mode plan.Mode) {
	n.t.Helper()
	n.person("bob", wire.Commander).want(200, "POST", "/api/v1/runs", wire.StartRun{Plan: "sign", Mode: mode, ID: id})
	for step, text := range map[string]string{"agree": "Go to b?", "other": "And this?"} {
		n.journal(id, run.Entry{By: "node:a", What: run.Opened, Node: step, Text: text})
	}
}

func (n *node) challenge(id, step string) ballot.Challenge {
	n.t.Helper()
	var c wire.Challenge
	if err := json.Unmarshal(n.as("viewer").want(200, "GET", "/api/v1/runs/"+id+"/challenge?step="+step, nil).body, &c); err != nil {
		n.t.Fatal(err)
	}
	asked, err := ballot.ParseChallenge(c.Text)
	if err != nil {
		n.t.Fatal(err)
	}
	if c.Asks.Digest != asked.Digest || c.Asks.Run != id {
		n.t.Errorf("%+v is not %+v", c.Asks, asked)
	}
	return asked
}

func (s signer) signs(c ballot.Challenge, approved bool, behalf, comment string) string {
	s.n.t.Helper()
	a, err := c.Sign(s.key, approved, behalf, comment)
	if err != nil {
		s.n.t.Fatal(err)
	}
	text, err := a.String()
	if err != nil {
		s.n.t.Fatal(err)
	}
	return text
}

func handedIn(what run.What, step, text string) wire.SignedWord {
	return wire.SignedWord{What: what, Step: step, Signed: text}
}

// refusedFor: the answer is a problem of the status whose words say why.
func (c *caller) refusedFor(status int, why, path string, body any) {
	c.n.t.Helper()
	r := c.do("POST", path, body)
	if r.status != status || !strings.Contains(string(r.body), why) {
		c.n.t.Errorf("want %d with %q, got %d: %s", status, why, r.status, r.body)
	}
}

func TestSignedDecisionsOfSeveralCountInTheirOrderAndSayWhoCarriedThem(t *testing.T) {
	n := start(t)
	n.manifestOf(signedPlan + always)
	ann, cho := n.signer("ann", 1, wire.Commander), n.signer("cho", 2, wire.Auditor)
	n.asks("r1", plan.Takeover)
	op := n.person("olga", wire.Operator)
	c := n.challenge("r1", "agree") // one for all who are asked
	op.refusedFor(409, "commander is asked first", "/api/v1/runs/r1/signed", handedIn(run.Approved, "agree", cho.signs(c, true, "", "")))
	op.want(200, "POST", "/api/v1/runs/r1/signed", handedIn(run.Approved, "agree", ann.signs(c, true, "", "停电，同意")))
	op.refusedFor(409, "was handed in before", "/api/v1/runs/r1/signed", handedIn(run.Approved, "agree", ann.signs(c, true, "", "停电，同意")))
	op.refusedFor(409, "ann has decided", "/api/v1/runs/r1/signed", handedIn(run.Approved, "agree", ann.signs(n.challenge("r1", "agree"), true, "", "again")))
	op.want(200, "POST", "/api/v1/runs/r1/signed", handedIn(run.Approved, "agree", strings.ToLower(cho.signs(c, true, "auditor", ""))))
	op.refusedFor(409, "was handed in before, by olga", "/api/v1/runs/r1/signed", handedIn(run.Approved, "agree", cho.signs(c, true, "auditor", "")))
	c.Nonce[0]++
	dee := n.signer("dee", 3, wire.Commander)
	op.refusedFor(409, "it is done", "/api/v1/runs/r1/signed", handedIn(run.Approved, "agree", dee.signs(c, true, "", ""))) // the decision is made
	n.as("viewer").want(409, "GET", "/api/v1/runs/r1/challenge?step=agree", nil)

	var state wire.RunState
	if err := json.Unmarshal(n.as("viewer").want(200, "GET", "/api/v1/runs/r1", nil).body, &state); err != nil {
		t.Fatal(err)
	}
	if v := state.Steps[0].Votes; len(v) != 2 || v[0].Who != "ann" || v[0].For != "commander" || v[0].Carrier != "olga" || v[0].Comment != "停电，同意" || v[1].Who != "cho" || state.Steps[0].Status != run.DoneStep {
		t.Errorf("%+v", v)
	}
	journal, err := n.store.Journal(t.Context(), "r1", 0)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(journal, func(e run.Entry) bool { return e.Signed != nil })
	if e := journal[i]; e.By != "ann" || e.Signed.Carrier != "olga" || !strings.HasPrefix(e.Signed.Text, "PDSIG:") || !e.Factor.IsZero() {
		t.Errorf("%+v", e)
	}
	events, err := n.store.Events(t.Context(), 0, 1000, true, wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(events, func(e wire.Event) bool {
		return e.Who == "person:olga" && e.What == "run.approved" && strings.Contains(string(e.Detail), "PDSIG:")
	}) {
		t.Error("the audit log does not say that olga handed it in")
	}
}

func TestSignedDecisionThatIsNotOfWhatIsAskedIsRefusedByName(t *testing.T) {
	n := start(t)
	n.manifestOf(signedPlan + always)
	ann, bob, eve := n.signer("ann", 1, wire.Commander), n.signer("bob", 2, wire.Commander), n.signer("eve", 3, wire.Viewer)
	n.asks("r1", plan.Takeover)
	n.asks("r2", plan.Takeover)
	op := n.person("olga", wire.Operator)
	const to = "/api/v1/runs/r1/signed"
	c := n.challenge("r1", "other")
	good := ann.signs(c, true, "", "go")

	op.refusedFor(422, "begins with PDSIG", to, handedIn(run.Approved, "other", "hello"))
	text, _ := c.String()
	op.refusedFor(422, "this is a challenge", to, handedIn(run.Approved, "other", text))
	op.refusedFor(422, "group 2", to, handedIn(run.Approved, "other", good[:17]+map[bool]string{true: "1", false: "0"}[good[17] == '0']+good[18:]))
	op.refusedFor(409, "about step other of run r1, and not about agree", to, handedIn(run.Approved, "agree", good))
	op.refusedFor(409, "about another run", "/api/v1/runs/r2/signed", handedIn(run.Approved, "other", good))
	op.refusedFor(409, "says approved, and not declined", to, handedIn(run.Declined, "other", good))
	op.refusedFor(422, "is no approval", to, handedIn(run.Approved, "task", good))
	op.refusedFor(409, "bob started the run", to, handedIn(run.Approved, "other", bob.signs(c, true, "", "")))
	op.refusedFor(409, "eve is not asked", to, handedIn(run.Approved, "other", eve.signs(c, true, "", "")))
	op.refusedFor(403, "eve may not decide for", to, handedIn(run.Approved, "other", eve.signs(c, true, "commander", "")))

	stranger := signer{caller: ann.caller, name: "ann", key: privateKey(9)}
	op.refusedFor(404, "nobody has added key", to, handedIn(run.Approved, "other", stranger.signs(c, true, "", "")))
	forged, _ := ballot.ParseAnswer(good)
	forged.Comment = "stop"
	changed, _ := forged.String()
	op.refusedFor(409, "does not hold", to, handedIn(run.Approved, "other", changed))

	for name, expires := range map[string]time.Time{"expired at": time.Now().Add(-time.Minute), "more than 24h0m0s from now": time.Now().Add(25 * time.Hour)} {
		other := c
		other.Expires = expires.UTC().Truncate(time.Second)
		op.refusedFor(409, name, to, handedIn(run.Approved, "other", ann.signs(other, true, "", "")))
	}
	other := c
	other.Text = "Something else?"
	op.refusedFor(409, "does not answer what step other", to, handedIn(run.Approved, "other", ann.signs(other, true, "", "")))
	n.person("dan", wire.Driller).refusedFor(403, "role operator", to, handedIn(run.Approved, "other", good))

	// The step is asked anew.
	n.journal("r1", run.Entry{By: "node:a", What: run.Ended, Node: "other", Outcome: run.Failed, Error: "nobody has decided in time"})
	n.journal("r1", run.Entry{By: "olga", What: run.Retried, Node: "other"})
	n.journal("r1", run.Entry{By: "node:a", What: run.Opened, Node: "other", Text: "And this?"})
	op.refusedFor(409, "asked anew", to, handedIn(run.Approved, "other", good))

	good = ann.signs(n.challenge("r1", "other"), false, "", "not now")
	n.as("admin").want(200, "POST", "/api/v1/users/ann/lock", nil)
	op.refusedFor(409, "is locked", to, handedIn(run.Declined, "other", good))
	n.as("admin").want(200, "POST", "/api/v1/users/ann/unlock", nil)
	op.want(200, "POST", to, handedIn(run.Declined, "other", good))

	ann.caller = n.person("ann", wire.Commander) // the lock has ended her sessions
	ann.want(200, "DELETE", "/api/v1/me/keys/"+ann.id, nil)
	ann.want(200, "DELETE", "/api/v1/me/keys/"+ann.id, nil)
	op.refusedFor(409, "was revoked by person:ann", "/api/v1/runs/r2/signed", handedIn(run.Approved, "other", ann.signs(n.challenge("r2", "other"), true, "", "")))
	if journal, err := n.store.Journal(t.Context(), "r2", 0); err != nil || slices.ContainsFunc(journal, func(e run.Entry) bool { return e.Signed != nil }) {
		t.Errorf("something that was refused stands in the journal: %v", err)
	}
}

func TestKeysAreAddedInASessionAndCountForRealWithASecondFactorOnly(t *testing.T) {
	n := start(t)
	n.manifestOf(signedPlan + always)
	n.user("cid", wire.Commander)
	cid, _ := n.login(wire.Login{User: "cid", Password: password})
	line := func(name string, seed byte) wire.NewSigningKey {
		return wire.NewSigningKey{Key: ballot.Prove(name, privateKey(seed)).String()}
	}
	n.as("commander").want(409, "POST", "/api/v1/me/keys", line("the-commander", 1)) // a token
	cid.refusedFor(422, "was made for ann", "/api/v1/me/keys", line("ann", 1))
	stolen := ballot.Prove("ann", privateKey(1))
	stolen.Name = "cid"
	cid.refusedFor(422, "does not prove", "/api/v1/me/keys", wire.NewSigningKey{Key: stolen.String()})
	cid.refusedFor(422, "is no public key", "/api/v1/me/keys", wire.NewSigningKey{Key: "x"})
	cid.refusedFor(422, "title", "/api/v1/me/keys", wire.NewSigningKey{Key: line("cid", 1).Key, Title: "a\nb"})
	cid.want(200, "POST", "/api/v1/me/keys", line("cid", 1))
	cid.refusedFor(409, "a key is added once", "/api/v1/me/keys", line("cid", 1))
	for seed := byte(2); seed <= 4; seed++ {
		cid.want(200, "POST", "/api/v1/me/keys", line("cid", seed))
	}
	cid.refusedFor(409, "at most 4", "/api/v1/me/keys", line("cid", 5))

	n.asks("real", plan.Takeover)
	n.asks("exercise", plan.Drill)
	weak := signer{caller: cid, name: "cid", key: privateKey(1)}
	op := n.person("olga", wire.Operator)
	sign := func(s signer, id string) wire.SignedWord {
		return handedIn(run.Approved, "other", s.signs(n.challenge(id, "other"), true, "", ""))
	}
	op.refusedFor(403, "added without a second factor", "/api/v1/runs/real/signed", sign(weak, "real"))
	n.person("dan", wire.Driller).want(200, "POST", "/api/v1/runs/exercise/signed", sign(weak, "exercise"))

	ann := n.signer("ann", 7, wire.Commander)
	admin := n.as("admin")
	admin.want(200, "PUT", "/api/v1/policy", map[string]bool{"signatures": false})
	op.refusedFor(403, "the policy does not let signatures count", "/api/v1/runs/real/signed", sign(ann, "real"))
	admin.want(200, "PUT", "/api/v1/policy", map[string]bool{"signatures": true})
	var p wire.Policy
	if err := json.Unmarshal(admin.want(200, "GET", "/api/v1/policy", nil).body, &p); err != nil || p.SecondFactor != wire.FactorSessions || !p.Signatures {
		t.Errorf("%+v, %v", p, err)
	}
	op.want(200, "POST", "/api/v1/runs/real/signed", sign(ann, "real"))

	// A password that an admin sets ends the keys: whoever had the old one could have added some.
	admin.want(200, "PUT", "/api/v1/users/ann/password", map[string]string{"password": "a third long password"})
	n.asks("next", plan.Drill)
	op.refusedFor(409, "was revoked by person:the-admin", "/api/v1/runs/next/signed", sign(ann, "next"))
	var keys []wire.SigningKey
	again, _ := n.login(wire.Login{User: "ann", Password: "a third long password"})
	if err := json.Unmarshal(again.want(200, "GET", "/api/v1/me/keys", nil).body, &keys); err != nil || len(keys) != 1 || keys[0].Revoked == 0 || keys[0].Title != "laptop" || keys[0].Factor == 0 {
		t.Errorf("%+v, %v", keys, err)
	}
	again.want(403, "DELETE", "/api/v1/users/cid/keys/"+ballot.IDOf(privateKey(1).Public().(ed25519.PublicKey)).String(), nil)
	again.want(404, "DELETE", "/api/v1/me/keys/"+ballot.IDOf(privateKey(1).Public().(ed25519.PublicKey)).String(), nil)
	admin.want(200, "DELETE", "/api/v1/users/cid/keys/"+ballot.IDOf(privateKey(1).Public().(ed25519.PublicKey)).String(), nil)
	if r := again.do(http.MethodDelete, "/api/v1/me/keys/x", nil); r.status != 422 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

package evidence_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"perdure/internal/ballot"
	"perdure/internal/evidence"
	"perdure/internal/run"
)

// TestSignedDecisionIsVerifiedWithThePack: whoever holds the keys of the log cannot say that somebody signed what they did not (E5).
func TestSignedDecisionIsVerifiedWithThePack(t *testing.T) {
	const program = `{"plan":"p"}`
	sum := sha256.Sum256([]byte(program))
	params := map[string]any{"to": "b", "count": 3.0}
	digest, err := ballot.DigestOf(hex.EncodeToString(sum[:]), params, "Go to b?")
	if err != nil {
		t.Fatal(err)
	}
	c := ballot.Challenge{Run: "r1", Plan: "p", Mode: "takeover", Step: "ask", Text: "Go to b?", Asked: 2, Digest: digest, Expires: time.Unix(2000, 0).UTC(), Nonce: [5]byte{1}}
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	a, err := c.Sign(key, true, "", "go")
	if err != nil {
		t.Fatal(err)
	}
	text, _ := a.String()
	asked, _ := c.String()
	for name, one := range map[string]struct {
		change  func(e []run.Entry)
		program string
		reason  string
	}{
		"as it was":         {},
		"another comment":   {change: func(e []run.Entry) { e[2].Text = "no" }, reason: "the comment is not the one"},
		"another person":    {change: func(e []run.Entry) { e[2].By = "eve" }, reason: "is of ann, and not of eve"},
		"another decision":  {change: func(e []run.Entry) { e[2].What = run.Declined }, reason: "says approved"},
		"another parameter": {change: func(e []run.Entry) { e[0].Params = map[string]any{"to": "c", "count": 3.0} }, reason: "another run, program"},
		"another question":  {change: func(e []run.Entry) { e[1].Text = "Go to c?" }, reason: "another run, program"},
		"another program":   {program: `{"plan":"q"}`, reason: "another run, program"},
		"another signature": {change: func(e []run.Entry) {
			b := a
			b.Signature[0]++
			e[2].Signed.Text, _ = b.String()
		}, reason: "does not hold"},
	} {
		entries := []run.Entry{
			{Seq: 1, At: time.Unix(1000, 0).UTC(), By: "bob", What: run.Started, Params: params},
			{Seq: 2, At: time.Unix(1001, 0).UTC(), By: "node:a", What: run.Opened, Node: "ask", Text: "Go to b?"},
			{Seq: 3, At: time.Unix(1002, 0).UTC(), By: "ann", What: run.Approved, Node: "ask", For: "commander", Text: "go", Signed: &run.Signed{Text: text, Challenge: asked, Key: ballot.Prove("ann", key).String(), Carrier: "olga"}},
		}
		if one.change != nil {
			one.change(entries)
		}
		if one.program == "" {
			one.program = program
		}
		l := newLog(t)
		var indexes []int64
		for _, e := range entries {
			value, err := json.Marshal([]run.Entry{e})
			if err != nil {
				t.Fatal(err)
			}
			leaf, err := json.Marshal(evidence.Record{Key: "journals/r1/1", Revision: 5, Value: value})
			if err != nil {
				t.Fatal(err)
			}
			indexes = append(indexes, l.append(t, leaf))
		}
		v := verdictOf(t, written(t, l.pack(t, map[string]string{"program.json": one.program}, indexes...)), l.known)
		switch {
		case one.reason == "" && (!v.Good() || len(v.Signatures) != 1 || v.Signatures[0].By != "ann" || v.Signatures[0].Carrier != "olga" || v.Signatures[0].Key != a.Key.String()):
			t.Errorf("%s: %+v", name, v)
		case one.reason != "" && (len(v.Faults) != 1 || v.Faults[0].Section != "leaf 2" || !strings.Contains(v.Faults[0].Reason, one.reason) || len(v.Signatures) != 0):
			t.Errorf("%s: %+v", name, v)
		}
	}
}

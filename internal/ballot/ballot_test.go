package ballot_test

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"perdure/internal/ballot"
	"perdure/internal/errs"
)

func keyOf(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func publicOf(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func example(t testing.TB) ballot.Challenge {
	t.Helper()
	digest, err := ballot.DigestOf("5eed", map[string]any{"unit": "u1", "to": "b"}, "把 u1 从 a 切换到 b？")
	if err != nil {
		t.Fatal(err)
	}
	return ballot.Challenge{
		Run: "run-abc123", Plan: "takeover-core", Mode: "takeover", Step: "agree", Text: "把 u1 从 a 切换到 b？", Asked: 7, Digest: digest,
		Expires: time.Unix(1_800_000_000, 0).UTC(), Nonce: [5]byte{1, 2, 3, 4, 5},
	}
}

func sign(t testing.TB, c ballot.Challenge, approved bool, behalf, comment string) ballot.Answer {
	t.Helper()
	a, err := c.Sign(keyOf(1), approved, behalf, comment)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func written(t testing.TB, x interface{ String() (string, error) }) string {
	t.Helper()
	text, err := x.String()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestChallengeAndAnswerComeBackAsTheyWere(t *testing.T) {
	c := example(t)
	text := written(t, c)
	got, err := ballot.ParseChallenge(text)
	if err != nil || got != c {
		t.Fatalf("%+v, %v", got, err)
	}
	a := sign(t, c, true, "commander", "同意")
	answer := written(t, a)
	back, err := ballot.ParseAnswer(answer)
	if err != nil || back != a {
		t.Fatalf("%+v, %v", back, err)
	}
	if err := back.Verify(c, publicOf(keyOf(1))); err != nil {
		t.Error(err)
	}
	t.Logf("a challenge of %d characters, an answer of %d", len(text), len(answer))
	if len(text) > 320 || len(answer) > 280 {
		t.Errorf("%d and %d characters are too many for two messages", len(text), len(answer))
	}
	for _, loose := range []string{strings.ToLower(answer), strings.ReplaceAll(answer, "-", " "), strings.ReplaceAll(answer, "-", "\r\n"), strings.ReplaceAll(answer, "0", "o"), " " + strings.ReplaceAll(answer, "1", "l")} {
		if got, err := ballot.ParseAnswer(loose); err != nil || got != a {
			t.Errorf("%q: %v", loose, err)
		}
	}
}

// TestEveryCharacterThatIsAnotherOneIsFound goes over every character of both texts, and all that it could be taken for (B2).
func TestEveryCharacterThatIsAnotherOneIsFound(t *testing.T) {
	c := example(t)
	for name, one := range map[string]struct {
		text  string
		parse func(string) error
	}{
		"challenge": {written(t, c), func(s string) error { _, err := ballot.ParseChallenge(s); return err }},
		"answer":    {written(t, sign(t, c, true, "", "go")), func(s string) error { _, err := ballot.ParseAnswer(s); return err }},
	} {
		for at, was := range []byte(one.text) {
			if was == '-' {
				continue
			}
			for _, other := range []byte("0123456789ABCDEFGHJKMNPQRSTUVWXYZ!:\x00\xff") {
				if other == was || was == 'I' && other == '1' { // they read alike
					continue
				}
				text := []byte(one.text)
				text[at] = other
				if err := one.parse(string(text)); errs.KindOf(err) != errs.Invalid {
					t.Fatalf("%s: character %d, %q for %q: %v", name, at, other, was, err)
				}
			}
			if next := at + 1; next < len(one.text) && one.text[next] != was && one.text[next] != '-' {
				text := []byte(one.text)
				text[at], text[next] = text[next], text[at]
				if err := one.parse(string(text)); err == nil {
					t.Fatalf("%s: characters %d and %d are exchanged, and it is taken", name, at, next)
				}
			}
		}
		for n := range one.text {
			if err := one.parse(one.text[:n]); err == nil {
				t.Fatalf("%s: cut to %d characters, and it is taken", name, n)
			}
		}
		groups := strings.Split(one.text, "-")
		groups[3], groups[4] = groups[4], groups[3]
		if err := one.parse(strings.Join(groups, "-")); err == nil || !strings.Contains(err.Error(), "group 4") {
			t.Errorf("%s: two groups are exchanged: %v", name, err)
		}
	}
	if _, err := ballot.ParseAnswer(written(t, c)); err == nil || !strings.Contains(err.Error(), "this is a challenge") {
		t.Errorf("a challenge for an answer: %v", err)
	}
	if _, err := ballot.ParseChallenge("hello"); err == nil || !strings.Contains(err.Error(), "perdure run challenge") {
		t.Errorf("any text: %v", err)
	}
}

// TestSignatureIsOverEverything changes each part of what was signed (B1).
func TestSignatureIsOverEverything(t *testing.T) {
	c := example(t)
	a := sign(t, c, true, "commander", "go")
	public := publicOf(keyOf(1))
	for name, change := range map[string]func(c *ballot.Challenge){
		"run": func(c *ballot.Challenge) { c.Run = "run-other" }, "plan": func(c *ballot.Challenge) { c.Plan = "x" },
		"mode": func(c *ballot.Challenge) { c.Mode = "emergency" }, "step": func(c *ballot.Challenge) { c.Step = "other" },
		"question": func(c *ballot.Challenge) { c.Text = "?" }, "asking": func(c *ballot.Challenge) { c.Asked++ },
		"digest": func(c *ballot.Challenge) { c.Digest[3]++ }, "expiry": func(c *ballot.Challenge) { c.Expires = c.Expires.Add(time.Second) },
		"nonce": func(c *ballot.Challenge) { c.Nonce[0]++ },
	} {
		other := c
		change(&other)
		if err := a.Verify(other, public); errs.KindOf(err) != errs.Refused {
			t.Errorf("another %s: %v", name, err)
		}
		forged := a // whoever forges names the challenge that it is held against
		forged.Expires, forged.Nonce = other.Expires, other.Nonce
		forged.Tag, _ = other.Tag()
		if err := forged.Verify(other, public); errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), "does not hold") {
			t.Errorf("another %s, with its tag: %v", name, err)
		}
	}
	for name, change := range map[string]func(a *ballot.Answer){
		"decision": func(a *ballot.Answer) { a.Approved = false }, "role": func(a *ballot.Answer) { a.For = "auditor" },
		"comment": func(a *ballot.Answer) { a.Comment = "no" }, "key": func(a *ballot.Answer) { a.Key[0]++ }, "signature": func(a *ballot.Answer) { a.Signature[40]++ },
	} {
		other := a
		change(&other)
		if err := other.Verify(c, public); errs.KindOf(err) != errs.Refused {
			t.Errorf("another %s: %v", name, err)
		}
	}
	if err := a.Verify(c, publicOf(keyOf(2))); errs.KindOf(err) != errs.Refused {
		t.Errorf("another's key: %v", err)
	}
}

func TestLongQuestionIsCutAndItsDigestIsOverAllOfIt(t *testing.T) {
	long := strings.Repeat("切换", 100)
	short := ballot.Shorten(long)
	if len(short) > 200 || !strings.HasSuffix(short, "…") || !strings.HasPrefix(long, strings.TrimSuffix(short, "…")) {
		t.Errorf("%q", short)
	}
	one, _ := ballot.DigestOf("p", nil, long)
	two, _ := ballot.DigestOf("p", map[string]any{}, long+"!")
	if one == two || ballot.Shorten(long) != ballot.Shorten(long+"!") {
		t.Error("the end of the question is not in the digest")
	}
	c := example(t)
	c.Run = strings.Repeat("r", 256)
	if _, err := c.String(); errs.KindOf(err) != errs.Invalid {
		t.Errorf("a run of 256 bytes: %v", err)
	}
	if _, err := example(t).Sign(keyOf(1), true, "", strings.Repeat("c", ballot.MostComment+1)); errs.KindOf(err) != errs.Invalid {
		t.Errorf("a long comment: %v", err)
	}
}

func TestKeyIsAPersonsOnlyWithItsProof(t *testing.T) {
	p := ballot.Prove("ann", keyOf(1))
	got, err := ballot.ParsePublicKey(p.String() + "\n")
	if err != nil || got.Name != "ann" || !got.Key.Equal(p.Key) {
		t.Fatalf("%+v, %v", got, err)
	}
	stolen := p
	stolen.Name = "eve"
	if _, err := ballot.ParsePublicKey(stolen.String()); errs.KindOf(err) != errs.Invalid {
		t.Errorf("eve registers ann's key: %v", err)
	}
	id := ballot.IDOf(p.Key)
	if back, err := ballot.ParseKeyID(strings.ToLower(id.String())); err != nil || back != id {
		t.Errorf("%s: %v", id, err)
	}
	if _, err := ballot.ParseKeyID("7K3Q"); errs.KindOf(err) != errs.Invalid {
		t.Errorf("half a name: %v", err)
	}
}

// FuzzTexts: whatever is read is written again as it was, but for what may differ (B2).
func FuzzTexts(f *testing.F) {
	c := example(f)
	f.Add(written(f, c))
	f.Add(written(f, sign(f, c, true, "commander", "同意")))
	f.Add("PDASK:")
	f.Add("PDSIG:00000000-0")
	clean := strings.NewReplacer("-", "", " ", "", "\t", "", "\n", "", "\r", "", "O", "0", "I", "1", "L", "1")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := ballot.ParseChallenge(text); err == nil {
			if again := written(t, c); clean.Replace(again) != clean.Replace(strings.ToUpper(text)) {
				t.Errorf("%q reads as %q", text, again)
			}
		}
		if a, err := ballot.ParseAnswer(text); err == nil {
			if again := written(t, a); clean.Replace(again) != clean.Replace(strings.ToUpper(text)) {
				t.Errorf("%q reads as %q", text, again)
			}
		}
	})
}

package person_test

import (
	"bytes"
	"encoding/base32"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"perdure/internal/errs"
	"perdure/internal/person"
)

var cheap = person.Cost{Memory: 64, Time: 1, Lanes: 1}

func TestPasswordHasALengthAndNotTheName(t *testing.T) {
	for password, good := range map[string]bool{
		"elevenchars": false, "twelve chars": true, "ANNe likes long ones": false, "四个字的密码不够长": false, "这个密码有十二个字长哦好": true,
		"two lines\nof text": false, strings.Repeat("x", 257): false, "\xff\xfe not a text at all": false, "": false,
	} {
		if err := person.CheckPassword("ann", password); (err == nil) != good || err != nil && errs.KindOf(err) != errs.Invalid {
			t.Errorf("%q: %v", password, err)
		} else if err != nil && password != "" && strings.Contains(err.Error(), password) {
			t.Errorf("the password stands in its refusal: %v", err)
		}
	}
}

func TestHashProvesItsPasswordAndNoOther(t *testing.T) {
	salt := bytes.Repeat([]byte{7}, person.SaltSize)
	k := person.Derive("correct horse battery", salt, cheap)
	kept := person.Hash{Cost: cheap, Salt: salt, Proof: k.Proof}.String()
	h, err := person.ParseHash(kept)
	if err != nil || h.Cost != cheap || !h.Proves(k) {
		t.Fatalf("%s: %+v, %v", kept, h, err)
	}
	if h.Proves(person.Derive("correct horse batterz", salt, cheap)) {
		t.Error("another password proves it")
	}
	if bytes.Contains([]byte(kept), k.Seal) || bytes.Equal(k.Seal, k.Proof) {
		t.Error("the key that seals is kept")
	}
	if c := person.Usual(); c.Memory != 65536 || c.Time != 3 || c.Lanes != 4 {
		t.Errorf("the usual cost is %+v", c)
	}
}

func FuzzParseHash(f *testing.F) {
	f.Add("argon2id$v=19$m=64,t=1,p=1$BwcHBwcHBwcHBwcHBwcHBw$BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc")
	f.Add("argon2id$v=19$m=4294967295,t=1,p=1$BwcHBwcHBwcHBwcHBwcHBw$BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc")
	f.Add("argon2id$v=19$m=64,t=1,p=0$$")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := person.ParseHash(text)
		if err == nil && (h.String() != text || h.Cost.Memory > 1<<20 || h.Cost.Time > 16 || h.Cost.Lanes == 0) {
			t.Errorf("%q is read as %+v", text, h)
		}
	})
}

func TestTriesWaitLongerAndLongerAndAreForgotten(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	var tries person.Tries
	var delays []time.Duration
	for range 14 {
		tries = tries.Failed(now)
		delay := time.Duration(0)
		if tries.Until != 0 {
			delay = time.UnixMilli(tries.Until).Sub(now)
		}
		delays = append(delays, delay)
		if delay > 0 && (!tries.Locked(now) || !tries.Locked(now.Add(delay-time.Millisecond)) || tries.Locked(now.Add(delay))) {
			t.Errorf("a delay of %s is not kept", delay)
		}
		now = now.Add(delay)
	}
	want := []time.Duration{0, 0, 0, 0, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 15 * time.Minute, 15 * time.Minute, 15 * time.Minute, 15 * time.Minute}
	for i, d := range delays {
		if d != want[i] {
			t.Errorf("try %d waits %s, want %s", i+1, d, want[i])
		}
	}
	if later := tries.Failed(now.Add(time.Hour + time.Second)); later.Count != 1 || later.Until != 0 {
		t.Errorf("an hour later it is %+v", later)
	}
	for range 100 {
		tries = tries.Failed(now)
	}
	if d := time.UnixMilli(tries.Until).Sub(now); d != 15*time.Minute {
		t.Errorf("after 100 tries it waits %s", d)
	}
}

func TestCodeIsGoodOnceAndForANeighbouringStep(t *testing.T) {
	secret := []byte("12345678901234567890")
	text := base32.StdEncoding.EncodeToString(secret)
	// RFC 6238, appendix B, the last six digits.
	for at, code := range map[int64]string{59: "287082", 1111111109: "081804", 1234567890: "005924", 20000000000: "353130"} {
		if step, ok := person.CheckCode(secret, code, time.Unix(at, 0), 0); !ok || step != at/30 {
			t.Errorf("%d: %s gives %d, %v", at, code, step, ok)
		}
	}
	now := time.Unix(1_800_000_010, 0)
	code := func(at time.Time) string {
		c, err := totp.GenerateCodeCustom(text, at, totp.ValidateOpts{Period: 30, Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	step, ok := person.CheckCode(secret, code(now), now, 0)
	if !ok {
		t.Fatal("the present code is refused")
	}
	if _, again := person.CheckCode(secret, code(now), now, step); again {
		t.Error("a code is good twice")
	}
	if _, late := person.CheckCode(secret, code(now.Add(-30*time.Second)), now, step); late {
		t.Error("a code from before the last one is good")
	}
	for _, drift := range []time.Duration{-30 * time.Second, 30 * time.Second} {
		if _, ok := person.CheckCode(secret, code(now.Add(drift)), now, 0); !ok {
			t.Errorf("a drift of %s is refused", drift)
		}
	}
	for _, wrong := range []string{"", "1", code(now.Add(-2 * time.Minute)), code(now.Add(2 * time.Minute)), code(now) + "0"} {
		if _, ok := person.CheckCode(secret, wrong, now, 0); ok {
			t.Errorf("%q is good", wrong)
		}
	}
}

func TestSecretOpensOnlyWithThePasswordAndForItsPerson(t *testing.T) {
	salt, nonce := bytes.Repeat([]byte{1}, person.SaltSize), bytes.Repeat([]byte{2}, person.NonceSize)
	k := person.Derive("correct horse battery", salt, cheap)
	sealed, err := person.Seal(k, "ann", []byte("secret"), nonce)
	if err != nil || bytes.Contains(sealed, []byte("secret")) {
		t.Fatalf("%q, %v", sealed, err)
	}
	if got, err := person.Open(k, "ann", sealed); err != nil || string(got) != "secret" {
		t.Errorf("%q, %v", got, err)
	}
	for _, try := range []struct {
		k      person.Keys
		name   string
		sealed []byte
	}{{person.Derive("another password", salt, cheap), "ann", sealed}, {k, "bob", sealed}, {k, "ann", sealed[:5]}, {k, "ann", sealed[:len(sealed)-1]}} {
		if got, err := person.Open(try.k, try.name, try.sealed); err == nil {
			t.Errorf("it opens: %q", got)
		}
	}
}

func TestURIIsWhatAppsRead(t *testing.T) {
	key, err := otp.NewKeyFromURL(person.URI("Perdure bank one", "ann.b", []byte("12345678901234567890")))
	if err != nil || key.Issuer() != "Perdure bank one" || key.AccountName() != "ann.b" || key.Secret() != base32.StdEncoding.EncodeToString([]byte("12345678901234567890")) || key.Period() != 30 || key.Digits() != otp.DigitsSix {
		t.Errorf("%v, %v", key, err)
	}
}

func TestRecoveryCodeIsReadAsPeopleWriteIt(t *testing.T) {
	code := person.RecoveryCode([person.RecoverySize]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
	if len(code) != 19 || person.RecoveryHash(code) != person.RecoveryHash(strings.ToLower(strings.ReplaceAll(code, "-", " "))) || person.RecoveryHash(code) == person.RecoveryHash(code[1:]) {
		t.Errorf("%q", code)
	}
}

// Package person is how people prove who they are: passwords, the delays after wrong ones, and codes of a second factor.
//
// It decides and keeps nothing. Salts, nonces and the time are given; what is kept of a person is kept by the control store.
//
//	P1  Of a password only a salted argon2id hash is kept, with its cost in it.
//	P2  A code of the second factor is good once.
//	P3  The secret of the second factor is kept sealed with a key that only the password gives: a copy of the store does not give it.
package person

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pquerna/otp/hotp"
	"golang.org/x/crypto/argon2"

	"perdure/internal/errs"
)

// Bounds of a password: characters at least, bytes at most.
const (
	shortest = 12
	longest  = 256
)

// CheckPassword refuses a password that is too short, too long, or has the name in it.
func CheckPassword(name, password string) error {
	switch {
	case !utf8.ValidString(password) || strings.ContainsFunc(password, unicode.IsControl):
		return errs.New(errs.Invalid, "the password is not a line of text")
	case utf8.RuneCountInString(password) < shortest:
		return errs.New(errs.Invalid, "the password is too short: give at least %d characters", shortest)
	case len(password) > longest:
		return errs.New(errs.Invalid, "the password is too long: give at most %d bytes", longest)
	case len(name) >= 3 && strings.Contains(strings.ToLower(password), strings.ToLower(name)):
		return errs.New(errs.Invalid, "the password has the name %s in it", name)
	}
	return nil
}

// Cost is what a hash of a password costs to compute.
type Cost struct {
	Memory uint32 // KiB
	Time   uint32 // passes
	Lanes  uint8
}

// Usual is what new hashes cost: the second recommended setting of RFC 9106, 64 MiB, 3 passes, 4 lanes.
func Usual() Cost { return Cost{Memory: 64 << 10, Time: 3, Lanes: 4} }

// The largest cost that is read out of a hash, so that a wrong record cannot take a node's memory.
const (
	mostMemory = 1 << 20 // KiB
	mostTime   = 16
)

// SaltSize is the size of a salt in bytes.
const SaltSize = 16

const keySize = 32

// Keys are what a password gives: one that proves it, and one that seals with it (P1, P3).
type Keys struct{ Proof, Seal []byte }

// Hash is a kept password.
type Hash struct {
	Cost  Cost
	Salt  []byte
	Proof []byte
}

// Derive makes the keys of a password. It takes the cost's memory, and most of a second.
func Derive(password string, salt []byte, c Cost) Keys {
	k := argon2.IDKey([]byte(password), salt, c.Time, c.Memory, c.Lanes, 2*keySize)
	return Keys{Proof: k[:keySize], Seal: k[keySize:]}
}

// String writes a hash as it is kept: argon2id$v=19$m=65536,t=3,p=4$SALT$PROOF. The proof is the first half of 64 bytes.
func (h Hash) String() string {
	e := base64.RawStdEncoding
	return fmt.Sprintf("argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.Cost.Memory, h.Cost.Time, h.Cost.Lanes, e.EncodeToString(h.Salt), e.EncodeToString(h.Proof))
}

// ParseHash reads what String wrote.
func ParseHash(text string) (Hash, error) {
	wrong := errs.New(errs.Internal, "a kept password cannot be read: it is not argon2id of version %d", argon2.Version)
	parts := strings.Split(text, "$")
	if len(parts) != 5 || parts[0] != "argon2id" || parts[1] != fmt.Sprintf("v=%d", argon2.Version) {
		return Hash{}, wrong
	}
	var h Hash
	if n, err := fmt.Sscanf(parts[2], "m=%d,t=%d,p=%d", &h.Cost.Memory, &h.Cost.Time, &h.Cost.Lanes); n != 3 || err != nil {
		return Hash{}, wrong
	}
	var err error
	if h.Salt, err = base64.RawStdEncoding.DecodeString(parts[3]); err != nil {
		return Hash{}, wrong
	}
	if h.Proof, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil {
		return Hash{}, wrong
	}
	c := h.Cost
	if c.Lanes == 0 || c.Time == 0 || c.Time > mostTime || c.Memory < 8*uint32(c.Lanes) || c.Memory > mostMemory || len(h.Salt) < SaltSize || len(h.Proof) != keySize || h.String() != text {
		return Hash{}, wrong
	}
	return h, nil
}

// Proves reports whether the keys are those of the kept password, in a time that does not depend on what differs.
func (h Hash) Proves(k Keys) bool { return subtle.ConstantTimeCompare(h.Proof, k.Proof) == 1 }

// How wrong tries are answered: after so many each further one waits, twice as long as the one before.
const (
	freeTries    = 5
	firstDelay   = 15 * time.Second
	longestDelay = 15 * time.Minute
	forgotten    = time.Hour
)

// Tries are the wrong tries of one name since its last right one. Times are Unix milliseconds.
type Tries struct {
	Count int   `json:"count"`
	Last  int64 `json:"last"`
	Until int64 `json:"until,omitempty"`
}

// Locked reports whether nothing that is tried now counts, right or wrong.
func (t Tries) Locked(now time.Time) bool { return now.UnixMilli() < t.Until }

// Failed is one wrong try more. Tries are forgotten an hour after the last of them, or after its delay.
func (t Tries) Failed(now time.Time) Tries {
	at := now.UnixMilli()
	if at-max(t.Last, t.Until) > forgotten.Milliseconds() {
		t.Count = 0
	}
	t.Count++
	t.Last, t.Until = at, 0
	if over := t.Count - freeTries; over >= 0 {
		delay := longestDelay
		if over < 10 {
			delay = min(firstDelay<<over, longestDelay)
		}
		t.Until = at + delay.Milliseconds()
	}
	return t
}

// The codes of the second factor: TOTP (RFC 6238) with SHA-1, 6 digits and 30 s, as all apps know it; one step of drift to each side.
const (
	period = 30 * time.Second
	drift  = 1
	// SecretSize is the size of a secret in bytes, as RFC 4226 recommends.
	SecretSize = 20
)

var base32Text = base32.StdEncoding.WithPadding(base32.NoPadding)

// CheckCode finds the step of time whose code this is, among the present one and its neighbours; only steps above after count (P2).
// ok is false where there is none.
func CheckCode(secret []byte, code string, now time.Time, after int64) (step int64, ok bool) {
	present := now.Unix() / int64(period/time.Second)
	for s := max(present-drift, 0); s <= present+drift; s++ {
		want, err := hotp.GenerateCode(base32Text.EncodeToString(secret), uint64(s)) //nolint:gosec // not below 0
		if err == nil && subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 && s > after {
			step, ok = s, true
		}
	}
	return step, ok
}

// URI is what an app takes the secret from, as text or as a QR code.
func URI(issuer, name string, secret []byte) string {
	q := url.Values{"secret": {base32Text.EncodeToString(secret)}, "issuer": {issuer}}
	return "otpauth://totp/" + url.PathEscape(issuer) + ":" + url.PathEscape(name) + "?" + strings.ReplaceAll(q.Encode(), "+", "%20")
}

// NonceSize is the size of a seal's nonce in bytes.
const NonceSize = 12

// Seal closes the secret of a person's second factor with the key of their password (AES-256-GCM, bound to the name).
func Seal(k Keys, name string, secret, nonce []byte) ([]byte, error) {
	a, err := aead(k)
	if err != nil {
		return nil, err
	}
	return a.Seal(append([]byte{}, nonce...), nonce, secret, []byte(name)), nil
}

// Open opens what Seal closed.
func Open(k Keys, name string, sealed []byte) ([]byte, error) {
	a, err := aead(k)
	if err != nil {
		return nil, err
	}
	if len(sealed) < NonceSize {
		return nil, errs.New(errs.Internal, "the second factor of %s cannot be opened: it is cut", name)
	}
	secret, err := a.Open(nil, sealed[:NonceSize], sealed[NonceSize:], []byte(name))
	if err != nil {
		return nil, errs.New(errs.Internal, "the second factor of %s cannot be opened: %w; an administrator has to set the password anew, and the person the second factor", name, err)
	}
	return secret, nil
}

func aead(k Keys) (cipher.AEAD, error) {
	block, err := aes.NewCipher(k.Seal)
	if err != nil {
		return nil, errs.New(errs.Internal, "cannot seal a second factor: %w", err)
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		return nil, errs.New(errs.Internal, "cannot seal a second factor: %w", err)
	}
	return a, nil
}

// RecoveryCodes is how many are made at a time; RecoverySize is what one is made of, in bytes.
const (
	RecoveryCodes = 10
	RecoverySize  = 10
)

// RecoveryCode writes random bytes so that they can be copied by hand: ABCD-EFGH-IJKL-MNOP.
func RecoveryCode(random [RecoverySize]byte) string {
	t := base32Text.EncodeToString(random[:])
	return t[:4] + "-" + t[4:8] + "-" + t[8:12] + "-" + t[12:]
}

// RecoveryHash is what is kept of a code: 80 random bits need no slow hash. Hyphens, spaces and case do not matter.
func RecoveryHash(code string) string {
	plain := strings.ToUpper(strings.NewReplacer("-", "", " ", "").Replace(code))
	sum := sha256.Sum256([]byte("perdure recovery code " + plain))
	return hex.EncodeToString(sum[:])
}

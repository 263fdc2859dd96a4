package ballot

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"perdure/internal/errs"
)

// KeyID names a key: the first 40 bits of the SHA-256 of its public part.
type KeyID [5]byte

// IDOf names a key.
func IDOf(public ed25519.PublicKey) KeyID {
	sum := sha256.Sum256(public)
	return KeyID(sum[:5])
}

// String writes it as people compare it: 7K3Q-9XWM.
func (k KeyID) String() string {
	t := letters.EncodeToString(k[:])
	return t[:4] + "-" + t[4:]
}

// ParseKeyID reads what String wrote.
func ParseKeyID(text string) (KeyID, error) {
	b, err := letters.DecodeString(plain(text))
	if err != nil || len(b) != len(KeyID{}) {
		return KeyID{}, errs.New(errs.Invalid, "%q does not name a key; a name is one such as 7K3Q-9XWM", text)
	}
	return KeyID(b), nil
}

// PublicKey is the public part of a person's key, with the proof that they hold the other part (B3).
type PublicKey struct {
	Name  string
	Key   ed25519.PublicKey
	Proof []byte
}

const (
	publicMark = "perdure-key-1"
	proving    = "perdure signing key 1\x00"
)

// Prove makes what is registered for a person.
func Prove(name string, key ed25519.PrivateKey) PublicKey {
	public, _ := key.Public().(ed25519.PublicKey)
	return PublicKey{Name: name, Key: public, Proof: ed25519.Sign(key, []byte(proving+name))}
}

// String writes it in one line: perdure-key-1 NAME KEY PROOF.
func (p PublicKey) String() string {
	e := base64.RawStdEncoding
	return strings.Join([]string{publicMark, p.Name, e.EncodeToString(p.Key), e.EncodeToString(p.Proof)}, " ")
}

// ParsePublicKey reads what String wrote, and checks the proof.
func ParsePublicKey(line string) (PublicKey, error) {
	words := strings.Fields(line)
	if len(words) != 4 || words[0] != publicMark {
		return PublicKey{}, errs.New(errs.Invalid, "this is no public key: one is a line %q, which perdure user key new writes", publicMark+" NAME KEY PROOF")
	}
	p := PublicKey{Name: words[1]}
	var err error
	if p.Key, err = base64.RawStdEncoding.Strict().DecodeString(words[2]); err == nil {
		p.Proof, err = base64.RawStdEncoding.Strict().DecodeString(words[3])
	}
	if err != nil || len(p.Key) != ed25519.PublicKeySize || !ed25519.Verify(p.Key, []byte(proving+p.Name), p.Proof) {
		return PublicKey{}, errs.New(errs.Invalid, "the public key of %s does not prove that %s holds it: write it anew with perdure user key new", p.Name, p.Name)
	}
	return p, nil
}

// Package ballot is a decision on an approval that is made without the platform and carried to it by other means: a challenge, which says what is
// asked, goes out by telephone, message or paper, and a short signed text comes back.
//
// It knows neither a clock nor a file. Nonces and instants are given; who may decide is for the run and for whoever takes the text in.
//
// What must hold:
//
//	B1  What is signed is the whole challenge (run, step, the asking, the digest of plan, parameters and question, the expiry, the nonce) together
//	    with the decision, on whose behalf, and the comment. Nothing of it can be changed or used for anything else.
//	B2  There is one way to write a text. Letters may be small, groups may be parted by any spaces and hyphens, O reads as 0, I and L as 1; any other
//	    character that differs is found, and where.
//	B3  A key is a person's only with a proof: its own signature over their name. Nobody registers a key that they do not hold.
package ballot

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"perdure/internal/errs"
)

// Bounds of a challenge and of an answer.
const (
	NonceSize = 5
	// Longest is how long a challenge may count, from its making.
	Longest     = 24 * time.Hour
	mostName    = 255 // bytes of a run, a plan, a mode, a step, a role
	mostText    = 200 // bytes of the question that stand in the challenge; the digest is over all of it
	MostComment = 200 // bytes
	cut         = "…"
)

// Challenge says what is asked. All of it is signed.
type Challenge struct {
	Run  string `json:"run"`
	Plan string `json:"plan"`
	Mode string `json:"mode"`
	Step string `json:"step"`
	// Text is the question; one that is too long is cut and ends with "…". Digest is over all of it.
	Text string `json:"text"`
	// Asked is the entry of the journal by which the question was put: a step that is asked anew is another asking.
	Asked   int             `json:"asked"`
	Digest  Digest          `json:"digest"`
	Expires time.Time       `json:"expires"` // to the second
	Nonce   [NonceSize]byte `json:"-"`
}

// Digest stands for what is to be carried out.
type Digest [16]byte

// String writes it in groups, as people compare it.
func (d Digest) String() string {
	t := hex.EncodeToString(d[:])
	return t[:8] + "-" + t[8:16] + "-" + t[16:24] + "-" + t[24:]
}

// MarshalText writes it as String does.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Digest) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(strings.ReplaceAll(string(text), "-", ""))
	if err != nil || len(b) != len(d) {
		return errs.New(errs.Invalid, "%q is no digest", text)
	}
	copy(d[:], b)
	return nil
}

// DigestOf is the digest of a program, by its own SHA-256 in hex, of the parameters of the run, and of the whole question: the first half of a SHA-256.
func DigestOf(program string, params map[string]any, text string) (Digest, error) {
	if params == nil {
		params = map[string]any{}
	}
	data, err := json.Marshal([]any{program, params, text}) // keys in order
	if err != nil {
		return Digest{}, errs.New(errs.Internal, "parameters cannot be written: %w", err)
	}
	sum := sha256.Sum256(data)
	return Digest(sum[:16]), nil
}

// Shorten cuts a question to what stands in a challenge.
func Shorten(text string) string {
	text = strings.ToValidUTF8(text, "?")
	if len(text) <= mostText {
		return text
	}
	text = text[:mostText-len(cut)]
	for !utf8.ValidString(text) {
		text = text[:len(text)-1]
	}
	return text + cut
}

// The first byte of a text.
const (
	isChallenge byte = 0x10
	isApproval  byte = 0x20
	isRefusal   byte = 0x21
)

func (c Challenge) bytes() ([]byte, error) {
	b := []byte{isChallenge}
	for _, field := range []struct{ name, value string }{{"run", c.Run}, {"plan", c.Plan}, {"mode", c.Mode}, {"step", c.Step}, {"question", c.Text}} {
		if len(field.value) > mostName || !utf8.ValidString(field.value) {
			return nil, errs.New(errs.Invalid, "the %s %.40q does not fit a challenge: it has more than %d bytes, or is no text", field.name, field.value, mostName)
		}
		b = appendText(b, field.value)
	}
	if c.Asked < 0 || int64(c.Asked) > 1<<31 {
		return nil, errs.New(errs.Invalid, "entry %d of a journal does not fit a challenge", c.Asked)
	}
	b = appendNumber(b, uint32(c.Asked)) //nolint:gosec // bounded above
	b = append(b, c.Digest[:]...)
	b, err := appendTime(b, c.Expires)
	return append(b, c.Nonce[:]...), err
}

// String writes the challenge as it is sent: "PDASK:" and groups.
func (c Challenge) String() (string, error) {
	b, err := c.bytes()
	return write(askPrefix, b), err
}

// ParseChallenge reads what String wrote (B2).
func ParseChallenge(text string) (Challenge, error) {
	b, err := read(askPrefix, text)
	if err != nil {
		return Challenge{}, err
	}
	r := reader{rest: b}
	var c Challenge
	kind := r.take(1)
	for _, to := range []*string{&c.Run, &c.Plan, &c.Mode, &c.Step, &c.Text} {
		*to = r.text()
	}
	c.Asked = int(r.number())
	copy(c.Digest[:], r.take(len(c.Digest)))
	c.Expires = r.time()
	copy(c.Nonce[:], r.take(NonceSize))
	if r.wrong || len(r.rest) > 0 || kind[0] != isChallenge {
		return Challenge{}, errs.New(errs.Invalid, "the text is no challenge of this version")
	}
	return c, nil
}

// Answer is a signed decision on a challenge. It names the challenge by nonce, expiry and tag, and does not repeat it.
type Answer struct {
	Approved bool
	Key      KeyID
	Tag      [4]byte // of the challenge: which one it answers, without its being at hand
	Expires  time.Time
	Nonce    [NonceSize]byte
	// For is the role or participant on whose behalf; empty: as whom the person is asked.
	For       string
	Comment   string
	Signature [ed25519.SignatureSize]byte
}

// Tag names the challenge, to say which one a text answers. It proves nothing.
func (c Challenge) Tag() ([4]byte, error) {
	b, err := c.bytes()
	sum := sha256.Sum256(b)
	return [4]byte(sum[:4]), err
}

const signing = "perdure offline approval 1\x00"

// signed is what the signature is over (B1).
func (a Answer) signed(c Challenge) ([]byte, error) {
	b, err := c.bytes()
	if err != nil {
		return nil, err
	}
	own, err := a.body()
	return bytes.Join([][]byte{[]byte(signing), appendNumber(nil, uint32(len(b))), b, own}, nil), err //nolint:gosec // a challenge is small
}

// body is the answer without its signature.
func (a Answer) body() ([]byte, error) {
	if len(a.For) > mostName || !utf8.ValidString(a.For) {
		return nil, errs.New(errs.Invalid, "%.40q cannot be decided for: it has more than %d bytes, or is no text", a.For, mostName)
	}
	if len(a.Comment) > MostComment || !utf8.ValidString(a.Comment) {
		return nil, errs.New(errs.Invalid, "the comment has %d bytes, at most %d of text in UTF-8 fit a signed text", len(a.Comment), MostComment)
	}
	kind := isRefusal
	if a.Approved {
		kind = isApproval
	}
	b := append([]byte{kind}, a.Key[:]...)
	b = append(b, a.Tag[:]...)
	b, err := appendTime(b, a.Expires)
	b = append(b, a.Nonce[:]...)
	return appendText(appendText(b, a.For), a.Comment), err
}

// Sign decides on a challenge with a private key.
func (c Challenge) Sign(key ed25519.PrivateKey, approved bool, behalf, comment string) (Answer, error) {
	public, _ := key.Public().(ed25519.PublicKey)
	a := Answer{Approved: approved, Key: IDOf(public), Expires: c.Expires, Nonce: c.Nonce, For: behalf, Comment: comment}
	var err error
	if a.Tag, err = c.Tag(); err != nil {
		return Answer{}, err
	}
	data, err := a.signed(c)
	if err != nil {
		return Answer{}, err
	}
	a.Signature = [ed25519.SignatureSize]byte(ed25519.Sign(key, data))
	return a, nil
}

// Verify refuses an answer that is not to this challenge, or that the key has not signed (B1).
func (a Answer) Verify(c Challenge, key ed25519.PublicKey) error {
	tag, err := c.Tag()
	if err != nil {
		return err
	}
	if tag != a.Tag || c.Nonce != a.Nonce || !c.Expires.Equal(a.Expires) {
		return errs.New(errs.Refused, "the signed text answers another challenge than that of run %s, step %s, as it is asked now", c.Run, c.Step)
	}
	data, err := a.signed(c)
	if err != nil {
		return err
	}
	if len(key) != ed25519.PublicKeySize || IDOf(key) != a.Key || !ed25519.Verify(key, data, a.Signature[:]) {
		return errs.New(errs.Refused, "the signature of key %s does not hold: what was signed is not what is asked of run %s, step %s, or another key has signed it", a.Key, c.Run, c.Step)
	}
	return nil
}

// String writes the answer as it is sent: "PDSIG:" and groups.
func (a Answer) String() (string, error) {
	b, err := a.body()
	return write(answerPrefix, append(b, a.Signature[:]...)), err
}

// ParseAnswer reads what String wrote (B2).
func ParseAnswer(text string) (Answer, error) {
	b, err := read(answerPrefix, text)
	if err != nil {
		return Answer{}, err
	}
	r := reader{rest: b}
	var a Answer
	kind := r.take(1)
	copy(a.Key[:], r.take(len(a.Key)))
	copy(a.Tag[:], r.take(len(a.Tag)))
	a.Expires = r.time()
	copy(a.Nonce[:], r.take(NonceSize))
	a.For, a.Comment = r.text(), r.text()
	copy(a.Signature[:], r.take(ed25519.SignatureSize))
	if r.wrong || len(r.rest) > 0 || kind[0] != isApproval && kind[0] != isRefusal || len(a.Comment) > MostComment {
		return Answer{}, errs.New(errs.Invalid, "the text is no signed decision of this version")
	}
	a.Approved = kind[0] == isApproval
	return a, nil
}

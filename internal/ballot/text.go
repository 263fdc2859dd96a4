package ballot

import (
	"encoding/base32"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"time"
	"unicode/utf8"

	"perdure/internal/errs"
)

// The words that texts begin with.
const (
	askPrefix    = "PDASK:"
	answerPrefix = "PDSIG:"
)

// alphabet is Crockford's: without I, L, O and U, which are misread or misheard.
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

var letters = base32.NewEncoding(alphabet).WithPadding(base32.NoPadding)

// A group is characters of the text and one that checks them, by which a group that was misheard is found. The whole ends with a CRC of 32 bits,
// which finds every single character that is another one, and every two neighbours that are exchanged.
const (
	group     = 7
	checkSize = 4
	mostChars = 8 << 10 // of a text, with everything between its groups
)

var polynomial = crc32.MakeTable(crc32.Castagnoli)

func write(prefix string, b []byte) string {
	b = binary.BigEndian.AppendUint32(b[:len(b):len(b)], crc32.Checksum(append([]byte(prefix), b...), polynomial))
	text := letters.EncodeToString(b)
	var out strings.Builder
	out.WriteString(prefix)
	for n := 0; len(text) > 0; n++ {
		size := min(group, len(text))
		if n > 0 {
			out.WriteByte('-')
		}
		out.WriteString(text[:size])
		out.WriteByte(checkOf(n, text[:size]))
		text = text[size:]
	}
	return out.String()
}

// checkOf is the character that checks a group, at its place.
func checkOf(n int, text string) byte {
	return alphabet[crc32.Checksum(append(binary.BigEndian.AppendUint32(nil, uint32(n)), text...), polynomial)%32] //nolint:gosec // a text is short
}

// plain takes out what stands between the characters, and gives each its one form.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '-' || r == ' ' || r == '\t' || r == '\n' || r == '\r':
			return -1
		case r >= 'a' && r <= 'z':
			r += 'A' - 'a'
		}
		switch r {
		case 'O':
			return '0'
		case 'I', 'L':
			return '1'
		}
		return r
	}, text)
}

func read(prefix, text string) ([]byte, error) {
	what, make := "challenge", "perdure run challenge RUN STEP"
	other, otherWhat := answerPrefix, "a signed text"
	if prefix == answerPrefix {
		what, make = "signed text", "perdure approval sign"
		other, otherWhat = askPrefix, "a challenge"
	}
	if len(text) > mostChars {
		return nil, errs.New(errs.Invalid, "the text is too long to be a %s", what)
	}
	head := func(p string) (string, bool) { return strings.CutPrefix(plain(text), plain(p)) }
	rest, ok := head(prefix)
	if !ok {
		if _, mixed := head(other); mixed {
			return nil, errs.New(errs.Invalid, "this is %s, and no %s", otherWhat, what)
		}
		return nil, errs.New(errs.Invalid, "this is no %s: one begins with %s; %s makes it", what, prefix, make)
	}
	var data strings.Builder
	for n := 0; len(rest) > 0; n++ {
		size := min(group+1, len(rest))
		word := rest[:size-1]
		if !utf8.ValidString(rest[:size]) || checkOf(n, word) != rest[size-1] {
			return nil, errs.New(errs.Invalid, "group %d of the %s is not what was written: compare it (here %s), and that none is missing before it", n+1, what, strings.ToValidUTF8(rest[:size], "?"))
		}
		data.WriteString(word)
		rest = rest[size:]
	}
	b, err := letters.DecodeString(data.String())
	if err != nil || len(b) <= checkSize {
		return nil, errs.New(errs.Invalid, "the %s is cut, or not what was written: compare all of it", what)
	}
	body := b[:len(b)-checkSize]
	if crc32.Checksum(append([]byte(prefix), body...), polynomial) != binary.BigEndian.Uint32(b[len(b)-checkSize:]) || letters.EncodeToString(b) != data.String() {
		return nil, errs.New(errs.Invalid, "the %s is not what was written, though each group may be: compare all of it, the order of the groups too", what)
	}
	return body, nil
}

func appendText(b []byte, text string) []byte {
	return append(append(b, byte(len(text))), text...) // callers bound it
}

func appendNumber(b []byte, n uint32) []byte { return binary.BigEndian.AppendUint32(b, n) }

// appendTime writes an instant in seconds, of the years 1970 to 2106.
func appendTime(b []byte, t time.Time) ([]byte, error) {
	s := t.Unix()
	if s < 0 || s > 1<<32-1 {
		return b, errs.New(errs.Invalid, "the instant %s does not fit a challenge", t.UTC().Format(time.RFC3339))
	}
	return appendNumber(b, uint32(s)), nil
}

// reader takes fields off; wrong is set where there are none left. What it gives then is of no use.
type reader struct {
	rest  []byte
	wrong bool
}

func (r *reader) take(n int) []byte {
	if len(r.rest) < n {
		r.wrong, r.rest = true, nil
		return make([]byte, n)
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) text() string {
	t := string(r.take(int(r.take(1)[0])))
	r.wrong = r.wrong || !utf8.ValidString(t)
	return t
}

func (r *reader) number() uint32  { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) time() time.Time { return time.Unix(int64(r.number()), 0).UTC() }

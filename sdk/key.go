package sdk

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// MaxKey is the greatest length of an Idempotency-Key in bytes.
const MaxKey = 255

// Errors of ParseKey.
var (
	ErrNoKey     = errors.New("the header Idempotency-Key is missing or empty")
	ErrKeyLength = errors.New("the Idempotency-Key is longer than 255 bytes")
	ErrKeyForm   = errors.New("the Idempotency-Key has to be printable ASCII, bare or as a structured-field string in double quotes")
)

// ParseKey reads the value of the header Idempotency-Key: an RFC 8941 string in double quotes, as the IETF draft has it, or the
// bare value that most clients send. Both forms of one key are the same key. Parameters after the string are dropped.
func ParseKey(header string) (string, error) {
	var room [MaxKey]byte
	key, err := appendKey(room[:0], header)
	return string(key), err
}

// AppendKey appends to dst what ParseKey gives, for callers that have bytes and may not allocate: with room for MaxKey bytes it does not.
// With an error dst comes back as it was.
func AppendKey(dst, header []byte) ([]byte, error) {
	key, err := appendKey(dst, header)
	if err != nil {
		return dst, err
	}
	return key, nil
}

func appendKey[T string | []byte](dst []byte, s T) ([]byte, error) {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	if len(s) == 0 {
		return nil, ErrNoKey
	}
	if s[0] != '"' {
		if len(s) > MaxKey {
			return nil, ErrKeyLength
		}
		for i := range len(s) {
			if !printable(s[i]) || strings.IndexByte("\"\\,; ", s[i]) >= 0 {
				return nil, ErrKeyForm
			}
		}
		return append(dst, s...), nil
	}
	begin := len(dst)
	for i := 1; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '"':
			if len(dst) == begin {
				return nil, ErrNoKey
			}
			if err := checkParameters(s[i+1:]); err != nil {
				return nil, err
			}
			return dst, nil
		case !printable(c):
			return nil, ErrKeyForm
		case c == '\\':
			i++
			if i == len(s) || s[i] != '"' && s[i] != '\\' {
				return nil, ErrKeyForm
			}
			c = s[i]
		}
		if len(dst)-begin == MaxKey {
			return nil, ErrKeyLength
		}
		dst = append(dst, c)
	}
	return nil, ErrKeyForm // no closing quote
}

// checkParameters refuses what follows the string and is neither nothing nor parameters. Their names and values do not matter.
func checkParameters[T string | []byte](rest T) error {
	parameters := false
	for i := range len(rest) {
		parameters = parameters || rest[i] == ';'
		if !printable(rest[i]) || rest[i] != ' ' && !parameters {
			return ErrKeyForm
		}
	}
	return nil
}

func printable(c byte) bool { return 0x20 <= c && c <= 0x7e }

// KeyTime is the time that a key carries: a version 7 UUID's always, a ULID's where it lies after 2020 and at most an hour ahead of now.
// ok is false for keys without a time; those are protected for as long as their record is kept.
func KeyTime(key string, now time.Time) (at time.Time, ok bool) {
	switch len(key) {
	case 36:
		return uuidTime(key)
	case 26:
		at, ok = ulidTime(key)
		return at, ok && at.UnixMilli() >= ulidSince && !at.After(now.Add(time.Hour))
	}
	return time.Time{}, false
}

// ulidSince is 2020-01-01: a key of 26 fitting characters with an older time is taken for a name, not for a ULID.
const ulidSince = 1577836800000

func uuidTime(key string) (time.Time, bool) {
	for i := range len(key) {
		c := key[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return time.Time{}, false
			}
		case 14:
			if c != '7' {
				return time.Time{}, false
			}
		case 19:
			if !strings.ContainsRune("89ABab", rune(c)) {
				return time.Time{}, false
			}
		default:
			if !strings.ContainsRune("0123456789ABCDEFabcdef", rune(c)) {
				return time.Time{}, false
			}
		}
	}
	ms, err := strconv.ParseInt(key[:8]+key[9:13], 16, 64)
	return time.UnixMilli(ms), err == nil
}

func ulidTime(key string) (time.Time, bool) {
	const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	var ms int64
	for i := range len(key) {
		v := strings.IndexByte(alphabet, key[i])
		if v < 0 || i == 0 && v > 7 {
			return time.Time{}, false
		}
		if i < 10 {
			ms = ms*32 + int64(v)
		}
	}
	return time.UnixMilli(ms), true
}

// keyMade is when the key was made, for the database, which would have to work harder to find out: infinity where it does not say.
func keyMade(key string) pgtype.Timestamptz {
	at, ok := KeyTime(key, time.Now())
	if !ok {
		return pgtype.Timestamptz{InfinityModifier: pgtype.Infinity, Valid: true}
	}
	return pgtype.Timestamptz{Time: at, Valid: true}
}

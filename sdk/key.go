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
	s := strings.Trim(header, " \t")
	if s == "" {
		return "", ErrNoKey
	}
	if s[0] != '"' {
		return checkKey(s, "\"\\,; ")
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
			if i == len(s) || s[i] != '"' && s[i] != '\\' {
				return "", ErrKeyForm
			}
			b.WriteByte(s[i])
		case c == '"':
			if rest := strings.TrimLeft(s[i+1:], " "); rest != "" && rest[0] != ';' {
				return "", ErrKeyForm
			}
			return checkKey(b.String(), "")
		default:
			b.WriteByte(c)
		}
	}
	return "", ErrKeyForm // no closing quote
}

// checkKey refuses what is empty, too long, not printable ASCII, or has one of the forbidden characters.
func checkKey(s, forbidden string) (string, error) {
	if s == "" {
		return "", ErrNoKey
	}
	if len(s) > MaxKey {
		return "", ErrKeyLength
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e || strings.IndexByte(forbidden, s[i]) >= 0 {
			return "", ErrKeyForm
		}
	}
	return s, nil
}

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

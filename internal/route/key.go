package route

import (
	"bytes"
	"errors"
	"regexp"
)

// MaxKey is the greatest length of a routing key in bytes.
const MaxKey = 128

// Errors of key extraction: each is a wrong request (400) that never reaches an application.
var (
	ErrNoKey        = errors.New("the request carries no routing key")
	ErrBadKey       = errors.New("the routing key is longer than 128 bytes or has characters other than letters, digits and -._~:@+=/#*")
	ErrAmbiguousKey = errors.New("the routing key occurs more than once")
	ErrBadJSON      = errors.New("the body is not a JSON object that the routing key can be read from")
)

// Request is what a key can be taken from. The slices stay valid while the request is handled.
type Request interface {
	Path() []byte  // raw path, without the query
	Query() []byte // raw query, without the question mark
	// Header gives the value of the only header with the name; twice is true where there are several.
	Header(name string) (value []byte, twice bool)
	Cookie(name string) []byte
	Body() []byte
}

type keySource struct {
	from  From
	name  string
	only  []template
	field []string
	path  template
	re    *regexp.Regexp
	group int
}

// Key takes the routing key out of the request, appended to buf[:0] where it has to be decoded. It allocates only for path-regexp sources.
func (s *SystemTable) Key(r Request, buf []byte) ([]byte, error) {
	for i := range s.keys {
		k := &s.keys[i]
		if len(k.only) > 0 && !matchesAny(k.only, r.Path()) {
			continue
		}
		raw, err := k.take(r, buf)
		if err != nil {
			return nil, err
		}
		if raw == nil {
			continue
		}
		if !validKey(raw) {
			return nil, ErrBadKey
		}
		return raw, nil
	}
	return nil, ErrNoKey
}

// take gives nil where the source finds nothing.
func (k *keySource) take(r Request, buf []byte) ([]byte, error) {
	switch k.from {
	case FromHeader:
		v, twice := r.Header(k.name)
		if twice {
			return nil, ErrAmbiguousKey
		}
		return v, nil
	case FromCookie:
		return r.Cookie(k.name), nil
	case FromQuery:
		return queryValue(r.Query(), k.name, buf)
	case FromJSON:
		return jsonField(r.Body(), k.field, buf)
	case FromPath:
		raw, ok := k.path.capture(r.Path())
		if !ok {
			return nil, nil
		}
		return unescape(raw, buf, false)
	case FromPathRegexp:
		m := k.re.FindSubmatchIndex(r.Path())
		if m == nil || m[2*k.group] < 0 {
			return nil, nil
		}
		return unescape(r.Path()[m[2*k.group]:m[2*k.group+1]], buf, false)
	}
	return nil, nil
}

func matchesAny(ts []template, path []byte) bool {
	for i := range ts {
		if ts[i].matches(path) {
			return true
		}
	}
	return false
}

// validKey accepts what is safe in a header and means the same to everybody.
func validKey(key []byte) bool {
	if len(key) == 0 || len(key) > MaxKey || string(key) == "." || string(key) == ".." {
		return false
	}
	for _, c := range key {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '.', c == '_', c == '~', c == ':', c == '@', c == '+', c == '=', c == '/', c == '#', c == '*':
		default:
			return false
		}
	}
	return true
}

// queryValue finds a parameter by its decoded name; a second one is ambiguous.
func queryValue(query []byte, name string, buf []byte) ([]byte, error) {
	var value []byte
	seen := false
	for len(query) > 0 {
		pair := query
		if i := bytes.IndexByte(query, '&'); i >= 0 {
			pair, query = query[:i], query[i+1:]
		} else {
			query = nil
		}
		n, v, _ := bytes.Cut(pair, []byte{'='})
		if !nameIs(n, name) {
			continue
		}
		if seen {
			return nil, ErrAmbiguousKey
		}
		value, seen = v, true
	}
	if !seen {
		return nil, nil
	}
	return unescape(value, buf, true)
}

// nameIs compares a percent-encoded name with a plain one.
func nameIs(raw []byte, name string) bool {
	if string(raw) == name {
		return true
	}
	if bytes.IndexByte(raw, '%') < 0 && bytes.IndexByte(raw, '+') < 0 {
		return false
	}
	var small [64]byte
	d, err := unescape(raw, small[:0], true)
	return err == nil && string(d) == name
}

// unescape decodes percent signs (and plus signs in a query) into buf[:0]; text without any is returned as it is.
// An empty text gives an empty value, never nil.
func unescape(raw, buf []byte, query bool) ([]byte, error) {
	if bytes.IndexByte(raw, '%') < 0 && (!query || bytes.IndexByte(raw, '+') < 0) {
		if raw == nil {
			raw = []byte{}
		}
		return raw, nil
	}
	if len(raw) > 3*MaxKey {
		return nil, ErrBadKey
	}
	out := buf[:0]
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case c == '%':
			if i+2 >= len(raw) {
				return nil, ErrBadKey
			}
			hi, lo := unhex(raw[i+1]), unhex(raw[i+2])
			if hi < 0 || lo < 0 {
				return nil, ErrBadKey
			}
			out = append(out, byte(hi<<4|lo))
			i += 2
		case c == '+' && query:
			out = append(out, ' ')
		default:
			out = append(out, c)
		}
	}
	return out, nil
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

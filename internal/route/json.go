package route

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// maxJSONDepth bounds nesting; deeper bodies are refused.
const maxJSONDepth = 32

// jsonField finds one scalar field of a JSON object without building the rest: bounded depth, no allocation, one pass.
// A field that occurs twice, or once more in other letter case, is ambiguous: parsers differ in which one they take.
// A missing field, null or an empty body gives nil. Strings are decoded into buf[:0] where they have escapes, integers are taken as text.
func jsonField(body []byte, field []string, buf []byte) ([]byte, error) {
	s := jsonScan{b: body, buf: buf}
	s.space()
	if s.i == len(s.b) {
		return nil, nil
	}
	value, err := s.object(field, 1)
	if err != nil {
		return nil, err
	}
	s.space()
	if s.i != len(s.b) {
		return nil, ErrBadJSON
	}
	return value, nil
}

type jsonScan struct {
	b   []byte
	i   int
	buf []byte
}

func (s *jsonScan) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

func (s *jsonScan) peek() byte {
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

// object walks the object at the cursor and gives the value of the field path; field is empty where nothing is sought in it.
func (s *jsonScan) object(field []string, depth int) ([]byte, error) {
	if depth > maxJSONDepth || s.peek() != '{' {
		return nil, ErrBadJSON
	}
	s.i++
	s.space()
	if s.peek() == '}' {
		s.i++
		return nil, nil
	}
	var found []byte
	seen := false
	for {
		s.space()
		name, escaped, err := s.str()
		if err != nil {
			return nil, err
		}
		s.space()
		if s.peek() != ':' {
			return nil, ErrBadJSON
		}
		s.i++
		s.space()
		same, exact := false, false
		if len(field) > 0 {
			same, exact = sameName(name, escaped, field[0])
		}
		if same {
			if seen || !exact {
				return nil, ErrAmbiguousKey
			}
			seen = true
			if len(field) > 1 && s.peek() == '{' {
				found, err = s.object(field[1:], depth+1)
			} else if len(field) == 1 {
				found, err = s.scalar(depth)
			} else {
				err = s.skip(depth)
			}
		} else {
			err = s.skip(depth)
		}
		if err != nil {
			return nil, err
		}
		s.space()
		switch s.peek() {
		case ',':
			s.i++
		case '}':
			s.i++
			return found, nil
		default:
			return nil, ErrBadJSON
		}
	}
}

// sameName compares a field name as it stands in the body with the one sought: same without regard to letter case, exact with it.
func sameName(raw []byte, escaped bool, want string) (same, exact bool) {
	if !escaped {
		if string(raw) == want {
			return true, true
		}
		return bytes.EqualFold(raw, []byte(want)), false
	}
	var small [64]byte
	if len(raw) > 6*len(want) {
		return false, false // even with every letter escaped it is longer
	}
	name, err := decodeString(raw, small[:0])
	if err != nil {
		return false, false
	}
	return bytes.EqualFold(name, []byte(want)), string(name) == want
}

// scalar gives a string or an integer as text, nil for null.
func (s *jsonScan) scalar(depth int) ([]byte, error) {
	switch c := s.peek(); {
	case c == '"':
		raw, escaped, err := s.str()
		if err != nil {
			return nil, err
		}
		if !escaped {
			return raw, nil
		}
		if len(raw) > 6*MaxKey {
			return nil, ErrBadKey
		}
		return decodeString(raw, s.buf[:0])
	case c == '-' || ('0' <= c && c <= '9'):
		from := s.i
		if err := s.number(); err != nil {
			return nil, err
		}
		num := s.b[from:s.i]
		for _, d := range num {
			if d < '0' || d > '9' {
				return nil, ErrBadKey // -1, 1.0 and 1e3 have several spellings
			}
		}
		return num, nil
	case c == 'n':
		return nil, s.skip(depth)
	}
	return nil, ErrBadKey
}

// str gives the text between the quotes as it stands, and whether it has escapes.
func (s *jsonScan) str() (raw []byte, escaped bool, err error) {
	if s.peek() != '"' {
		return nil, false, ErrBadJSON
	}
	s.i++
	from := s.i
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '"':
			raw = s.b[from:s.i]
			s.i++
			return raw, escaped, nil
		case c == '\\':
			escaped = true
			s.i++
			if s.i >= len(s.b) {
				return nil, false, ErrBadJSON
			}
			switch s.b[s.i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if s.i+4 >= len(s.b) {
					return nil, false, ErrBadJSON
				}
				for k := 1; k <= 4; k++ {
					if unhex(s.b[s.i+k]) < 0 {
						return nil, false, ErrBadJSON
					}
				}
				s.i += 4
			default:
				return nil, false, ErrBadJSON
			}
			s.i++
		case c < 0x20:
			return nil, false, ErrBadJSON
		default:
			s.i++
		}
	}
	return nil, false, ErrBadJSON
}

// number follows the grammar of JSON numbers.
func (s *jsonScan) number() error {
	if s.peek() == '-' {
		s.i++
	}
	switch {
	case s.peek() == '0':
		s.i++
	case !s.digits():
		return ErrBadJSON
	}
	if s.peek() == '.' {
		s.i++
		if !s.digits() {
			return ErrBadJSON
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.i++
		if c := s.peek(); c == '+' || c == '-' {
			s.i++
		}
		if !s.digits() {
			return ErrBadJSON
		}
	}
	return nil
}

func (s *jsonScan) digits() bool {
	from := s.i
	for c := s.peek(); '0' <= c && c <= '9'; c = s.peek() {
		s.i++
	}
	return s.i > from
}

// skip passes over one value of any kind.
func (s *jsonScan) skip(depth int) error {
	switch c := s.peek(); {
	case c == '"':
		_, _, err := s.str()
		return err
	case c == '{':
		_, err := s.object(nil, depth+1)
		return err
	case c == '[':
		return s.array(depth + 1)
	case c == '-' || ('0' <= c && c <= '9'):
		return s.number()
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	}
	return ErrBadJSON
}

func (s *jsonScan) array(depth int) error {
	if depth > maxJSONDepth {
		return ErrBadJSON
	}
	s.i++
	s.space()
	if s.peek() == ']' {
		s.i++
		return nil
	}
	for {
		s.space()
		if err := s.skip(depth); err != nil {
			return err
		}
		s.space()
		switch s.peek() {
		case ',':
			s.i++
		case ']':
			s.i++
			return nil
		default:
			return ErrBadJSON
		}
	}
}

func (s *jsonScan) literal(want string) error {
	if len(s.b)-s.i < len(want) || string(s.b[s.i:s.i+len(want)]) != want {
		return ErrBadJSON
	}
	s.i += len(want)
	return nil
}

// decodeString resolves the escapes of a string that str has accepted.
func decodeString(raw, out []byte) ([]byte, error) {
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c != '\\' {
			out = append(out, c)
			continue
		}
		i++
		switch raw[i] {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := hex4(raw[i+1:])
			i += 4
			if utf16.IsSurrogate(r) && i+6 < len(raw) && raw[i+1] == '\\' && raw[i+2] == 'u' {
				if pair := utf16.DecodeRune(r, hex4(raw[i+3:])); pair != utf8.RuneError {
					r = pair
					i += 6
				}
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, raw[i])
		}
	}
	return out, nil
}

func hex4(b []byte) rune {
	return rune(unhex(b[0])<<12 | unhex(b[1])<<8 | unhex(b[2])<<4 | unhex(b[3]))
}

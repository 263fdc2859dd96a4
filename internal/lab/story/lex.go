package story

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"perdure/internal/errs"
)

// token is one word of a statement.
type token struct {
	text   string
	quoted bool
}

// split cuts a line into words. A word in double quotes may hold spaces, with \" and \\ for quote and backslash;
// # begins a comment where a word could begin.
func split(line string) ([]token, error) {
	var tokens []token
	for i := 0; i < len(line); {
		c := line[i]
		switch {
		case c == ' ' || c == '\t' || c == '\r':
			i++
		case c == '#':
			return tokens, nil
		case c == '"':
			text, n, err := unquote(line[i:])
			if err != nil {
				return nil, err
			}
			tokens = append(tokens, token{text, true})
			i += n
		default:
			end := i
			for end < len(line) && !strings.ContainsRune(" \t\r\"", rune(line[end])) {
				end++
			}
			tokens = append(tokens, token{line[i:end], false})
			i = end
		}
	}
	return tokens, nil
}

// unquote reads a quoted word at the beginning of s and gives its length.
func unquote(s string) (text string, n int, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			if !utf8.ValidString(b.String()) {
				return "", 0, fmt.Errorf("the text in quotes is not UTF-8")
			}
			return b.String(), i + 1, nil
		case '\\':
			if i+1 >= len(s) || (s[i+1] != '"' && s[i+1] != '\\') {
				return "", 0, fmt.Errorf(`a backslash in quotes stands before " or \ only`)
			}
			i++
		}
		b.WriteByte(s[i])
	}
	return "", 0, fmt.Errorf("a quote is not closed")
}

// words reads one statement from left to right. The first error is kept, and nothing is read after it.
type words struct {
	tokens []token
	err    error
}

func (w *words) fail(format string, args ...any) {
	if w.err == nil {
		w.err = errs.New(errs.Invalid, format, args...)
	}
}

// more reports whether words are left.
func (w *words) more() bool { return w.err == nil && len(w.tokens) > 0 }

// peek is the next word without its leading "--", "" at the end and for quoted words.
func (w *words) peek() string {
	if !w.more() || w.tokens[0].quoted {
		return ""
	}
	return strings.TrimPrefix(w.tokens[0].text, "--")
}

// take reads the word if it comes next.
func (w *words) take(word string) bool {
	if w.peek() != word {
		return false
	}
	w.tokens = w.tokens[1:]
	return true
}

// one reads one of the words.
func (w *words) one(allowed ...string) string {
	for _, a := range allowed {
		if w.take(a) {
			return a
		}
	}
	w.unexpected(allowed...)
	return ""
}

// unexpected says that something else was allowed here.
func (w *words) unexpected(allowed ...string) {
	if len(w.tokens) == 0 {
		w.fail("the line ends too early; allowed here: %s", strings.Join(allowed, ", "))
		return
	}
	w.fail("unexpected %q; allowed here: %s", w.tokens[0].text, strings.Join(allowed, ", "))
}

// any reads whatever word comes next; what says what it should be.
func (w *words) any(what string) string {
	if w.err != nil {
		return ""
	}
	if len(w.tokens) == 0 {
		w.fail("the line ends too early; allowed here: %s", what)
		return ""
	}
	t := w.tokens[0].text
	w.tokens = w.tokens[1:]
	return t
}

// name reads a name: letters, digits, '-', '_' and '.'.
func (w *words) name(what string) string {
	t := w.any(what)
	if w.err == nil && !isName(t) {
		w.fail("%q is not %s: letters, digits, '-', '_' and '.'", t, what)
	}
	return t
}

func isName(s string) bool {
	if s == "" || len(s) > 63 || !isAlnum(rune(s[0])) {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return !isAlnum(r) && r != '-' && r != '_' && r != '.' }) < 0
}

func isAlnum(r rune) bool { return r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) }

// names reads names with commas between them.
func (w *words) names(what string) []string {
	t := w.any(what + ", or several with commas")
	if w.err != nil {
		return nil
	}
	all := strings.Split(t, ",")
	for _, n := range all {
		if !isName(n) {
			w.fail("%q is not %s: letters, digits, '-', '_' and '.', several with commas and no spaces", n, what)
			return nil
		}
	}
	return all
}

// text reads a quoted text.
func (w *words) text(what string) string {
	if w.more() && !w.tokens[0].quoted {
		w.fail("unexpected %q; allowed here: %s in double quotes", w.tokens[0].text, what)
	}
	return w.any(what + " in double quotes")
}

// duration reads a duration such as 300ms, 1.5s or 2m, above zero and at most a day.
func (w *words) duration() time.Duration {
	t := w.any("a duration such as 300ms, 30s or 2m")
	if w.err != nil {
		return 0
	}
	d, err := time.ParseDuration(t)
	if err != nil || d <= 0 || d > 24*time.Hour {
		w.fail("%q is not a duration; write 300ms, 1.5s, 2m, at most 24h", t)
	}
	return d
}

// isDuration reports whether the next word is meant as one.
func (w *words) isDuration() bool {
	if !w.more() || w.tokens[0].quoted {
		return false
	}
	_, err := time.ParseDuration(w.tokens[0].text)
	return err == nil
}

// integer reads a whole number between the bounds.
func (w *words) integer(what string, least, most int) int {
	t := w.any(what)
	if w.err != nil {
		return 0
	}
	n, err := strconv.Atoi(t)
	if err != nil || n < least || n > most {
		w.fail("%q is not %s: a whole number from %d to %d", t, what, least, most)
	}
	return n
}

// percent reads a share such as 5%, between 0% and 100%.
func (w *words) percent(what string) float64 {
	t := w.any(what)
	if w.err != nil {
		return 0
	}
	digits, ok := strings.CutSuffix(t, "%")
	f, err := strconv.ParseFloat(digits, 64)
	if !ok || err != nil || !(f >= 0 && f <= 100) {
		w.fail("%q is not %s: write it as 5%%, from 0%% to 100%%", t, what)
	}
	return f / 100
}

// size reads a number of bytes such as 256MiB.
func (w *words) size() int64 {
	t := w.any("a size such as 256MiB")
	if w.err != nil {
		return 0
	}
	for _, u := range []struct {
		suffix string
		bytes  int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}} {
		if digits, ok := strings.CutSuffix(t, u.suffix); ok {
			n, err := strconv.ParseInt(digits, 10, 32)
			if err == nil && n > 0 && n*u.bytes <= 64<<30 {
				return n * u.bytes
			}
		}
	}
	w.fail("%q is not a size; write 64MiB or 1GiB, at most 64GiB", t)
	return 0
}

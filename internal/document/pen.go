package document

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"perdure/internal/plan"
)

// pen writes texts of one language into a document.
type pen struct {
	t catalogue
	// more is the text behind one that was cut.
	more string
}

// longest is how many characters of one text a document shows.
const longest = 4000

// fill puts sections into a document, each text of them clean. One without content is left out.
func (p pen) fill(d *Document, sections []Section) {
	for _, s := range sections {
		if len(s.Facts)+len(s.Rows) == 0 {
			continue
		}
		for i := range s.Facts {
			s.Facts[i] = [2]string{p.clean(s.Facts[i][0]), p.clean(s.Facts[i][1])}
		}
		for _, row := range s.Rows {
			for i := range row {
				row[i] = p.clean(row[i])
			}
		}
		d.Sections = append(d.Sections, s)
	}
}

// clean makes text safe and bounded. Controls, and marks that turn the direction of what follows, are made visible.
func (p pen) clean(text string) string {
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.ToValidUTF8(text, "\ufffd"))
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r < 0x20:
			return 0x2400 + r
		case r == 0x7f:
			return 0x2421
		case r > 0x7f && r < 0xa0, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r&0xfffe == 0xfffe:
			return 0xfffd
		}
		return r
	}, text)
	if len(text) > longest {
		if runes := []rune(text); len(runes) > longest {
			return p.t.say(p.more, string(runes[:longest]), len(runes)-longest)
		}
	}
	return text
}

func (p pen) took(d *time.Duration) string {
	if d == nil {
		return p.t.say("unknown")
	}
	return p.t.took(*d)
}

func (p pen) heads(keys ...string) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = p.t.say(k)
	}
	return out
}

func (p pen) call(c *plan.Call) string {
	text := strings.TrimSpace(c.Driver + " " + c.Action + " " + c.Target)
	if len(c.With) > 0 {
		text += " " + p.value(c.With)
	}
	return text
}

// value writes a parameter, or what was filled in.
func (p pen) value(v any) string {
	switch v := v.(type) {
	case nil:
		return "–"
	case string:
		return v
	case bool:
		if v {
			return p.t.say("yes")
		}
		return p.t.say("false")
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case map[string]any:
		parts := make([]string, 0, len(v))
		for _, name := range sorted(v) {
			parts = append(parts, name+"="+p.value(v[name]))
		}
		return strings.Join(parts, ", ")
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = p.value(v[i])
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprint(v)
}

func sorted(m map[string]any) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

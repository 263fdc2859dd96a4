package shape

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// NamePattern is the form of every name in a manifest, NameAllowed says it in words.
const (
	NamePattern = `^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$`
	NameAllowed = "lower-case letters, digits and hyphens, a letter first, at most 32"
)

// AnObject has these fields and no others.
func AnObject(fields []Field) Shape { return Shape{Sort: Object, Fields: fields, Allowed: "an object"} }

// AList has from low to high items; id tells them apart where their order does not, nil where it does.
func AList(allowed string, low, high int, item Shape, id func(*yaml.Node) string) Shape {
	return Shape{Sort: List, Allowed: allowed, Low: low, High: high, Item: &item, ID: id}
}

// By tells the items of a list apart by the values of some of their fields.
func By(fields ...string) func(*yaml.Node) string {
	return func(item *yaml.Node) string {
		var id strings.Builder
		for i, f := range fields {
			if i > 0 {
				id.WriteString("@")
			}
			if v := Find(item, f); v != nil {
				id.WriteString(v.Value)
			}
		}
		return id.String()
	}
}

// Formed is text of 1 to high characters that the pattern matches.
func Formed(pattern, allowed string, high int) Shape {
	return Shape{Sort: Text, Allowed: allowed, Form: regexp.MustCompile(pattern), Low: 1, High: high}
}

// Name is a name, of what allowed says.
func Name(allowed string) Shape { return Formed(NamePattern, allowed, 32) }

// Title is one line for people.
func Title() Shape { return Formed(`^[^\x00-\x1f\x7f]+$`, "one line of text", 200) }

// Word is one word and no other.
func Word(w string) Shape { return Shape{Sort: Text, Words: []string{w}, Allowed: w} }

// OneOf is one of a closed list of words.
func OneOf[T ~string](list ...T) Shape {
	s := Shape{Sort: Text}
	for i, w := range list {
		s.Words = append(s.Words, string(w))
		if i > 0 {
			s.Allowed += ", "
		}
		s.Allowed += string(w)
	}
	return s
}

// DurationBetween is a Duration from least to most.
func DurationBetween(least, most time.Duration) Shape {
	s := Formed(durationPattern, fmt.Sprintf("a length of time such as 500ms, 30s or 168h, from %s to %s", Duration(least), Duration(most)), 40)
	s.Judge = func(value string) error {
		var d Duration
		if err := d.UnmarshalText([]byte(value)); err != nil {
			return err
		}
		if time.Duration(d) < least || time.Duration(d) > most {
			return fmt.Errorf("%s is out of range", value)
		}
		return nil
	}
	return s
}

// SizeBetween is a size in Bytes from least to most.
func SizeBetween(least, most Bytes) Shape {
	s := Formed(bytesPattern, fmt.Sprintf("a size such as 512B, 64KiB or 1MiB, from %s to %s", least, most), 12)
	s.Judge = func(value string) error {
		var b Bytes
		if err := b.UnmarshalText([]byte(value)); err != nil {
			return err
		}
		if b < least || b > most {
			return fmt.Errorf("%s is out of range", value)
		}
		return nil
	}
	return s
}

// Secret is a reference to a secret. What stands in its place is never repeated.
func Secret() Shape {
	s := Formed(`^(env:[A-Za-z_][A-Za-z0-9_]*|file:[^\x00-\x1f]+)$`, "a reference, env:NAME or file:PATH, never the secret itself", 1024)
	s.Secret = true
	return s
}

// Number is a whole number from low to high.
func Number(low, high int) Shape {
	return Shape{Sort: Integer, Low: low, High: high, Allowed: fmt.Sprintf("a whole number from %d to %d", low, high)}
}

// Flag is true or false.
func Flag() Shape { return Shape{Sort: Boolean} }

// TableOf has free field names of the pattern, each with an item.
func TableOf(allowed, pattern string, item Shape) Shape {
	return Shape{Sort: Table, Allowed: allowed, Keys: regexp.MustCompile(pattern), Item: &item}
}

// AnyValue is any value that JSON has too.
func AnyValue(allowed string) Shape { return Shape{Sort: Any, Allowed: allowed} }

// Lines is text of 1 to high characters in any number of lines.
func Lines(high int) Shape { return Formed(`^[^\x00-\x08\x0b-\x1f\x7f]+$`, "text", high) }

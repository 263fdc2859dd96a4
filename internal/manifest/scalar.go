package manifest

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"perdure/internal/estate"
)

// Slots are the hash buckets of a unit, in ascending ranges, written like "0-255,512,600-1023".
type Slots []SlotRange

// SlotRange is From to To, both included.
type SlotRange struct{ From, To estate.Slot }

// String writes the ranges.
func (s Slots) String() string {
	parts := make([]string, len(s))
	for i, r := range s {
		parts[i] = r.String()
	}
	return strings.Join(parts, ",")
}

// String writes "0-255", or "7" for a single slot.
func (r SlotRange) String() string {
	if r.From == r.To {
		return strconv.Itoa(int(r.From))
	}
	return fmt.Sprintf("%d-%d", r.From, r.To)
}

// Count is the number of slots.
func (s Slots) Count() int {
	n := 0
	for _, r := range s {
		n += int(r.To) - int(r.From) + 1
	}
	return n
}

// Contains reports whether the slot is one of them.
func (s Slots) Contains(slot estate.Slot) bool {
	return slices.ContainsFunc(s, func(r SlotRange) bool { return r.From <= slot && slot <= r.To })
}

// MarshalText writes String.
func (s Slots) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads ranges in any order; ranges that touch become one, ranges that overlap are an error.
func (s *Slots) UnmarshalText(text []byte) error {
	var ranges Slots
	for part := range strings.SplitSeq(string(text), ",") {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		from, err := parseSlot(low)
		if err != nil {
			return err
		}
		to, err := parseSlot(high)
		if err != nil {
			return err
		}
		if from > to {
			return fmt.Errorf("the range %s runs backwards: write %d-%d", part, to, from)
		}
		ranges = append(ranges, SlotRange{from, to})
	}
	slices.SortFunc(ranges, func(a, b SlotRange) int { return int(a.From) - int(b.From) })
	merged := ranges[:1]
	for _, r := range ranges[1:] {
		last := &merged[len(merged)-1]
		switch {
		case r.From <= last.To:
			return fmt.Errorf("slot %d is listed twice", r.From)
		case r.From == last.To+1:
			last.To = r.To
		default:
			merged = append(merged, r)
		}
	}
	*s = merged
	return nil
}

func parseSlot(text string) (estate.Slot, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("slot %s does not exist: the highest possible is %d", text, math.MaxUint16)
	}
	return estate.Slot(n), nil
}

// Secret is a reference to a secret: env:NAME or file:PATH. It is never the secret itself.
type Secret string

// KeyFrom is the part of a request that a routing key is taken from.
type KeyFrom string

// The closed list of sources of a routing key.
const (
	FromHeader KeyFrom = "header"
	FromPath   KeyFrom = "path"
	FromQuery  KeyFrom = "query"
	FromJSON   KeyFrom = "json"
	FromCookie KeyFrom = "cookie"
)

// KeySource is one place where the routing key may stand; the first of a system's sources that is present counts.
// It is written with its source as the field, for example "path: /accounts/{key}/**".
type KeySource struct {
	From KeyFrom `json:"from"`
	// Name is the name of the header, query parameter or cookie, the path template with one {key}, or the dotted JSON field.
	Name string `json:"name"`
	// Only limits the source to paths that match one of the templates; none means every path.
	Only []string `json:"only,omitempty"`
}

// String writes "path /accounts/{key}/**", with the paths it is limited to.
func (k KeySource) String() string {
	return strings.Join(append([]string{string(k.From), k.Name}, k.Only...), " ")
}

// MarshalYAML writes the form with the source as the field.
func (k KeySource) MarshalYAML() (any, error) {
	n := &yaml.Node{Kind: yaml.MappingNode}
	add := func(name string, value any) error {
		var v yaml.Node
		if err := v.Encode(value); err != nil {
			return err
		}
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, &v)
		return nil
	}
	if err := add(string(k.From), k.Name); err != nil || len(k.Only) == 0 {
		return n, err
	}
	return n, add("only", k.Only)
}

// UnmarshalYAML reads the form with the source as the field.
func (k *KeySource) UnmarshalYAML(node *yaml.Node) error {
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i].Value, node.Content[i+1]
		if name != "only" {
			k.From, k.Name = KeyFrom(name), value.Value
		} else if err := value.Decode(&k.Only); err != nil {
			return err
		}
	}
	return nil
}

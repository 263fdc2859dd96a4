package shape

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time, written like "168h" or "1m30s", never negative.
type Duration time.Duration

// String writes the shortest form that reads back the same: "168h", "1m30s", "0s".
func (d Duration) String() string {
	rest := time.Duration(d)
	var b strings.Builder
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}} {
		if n := rest / u.unit; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			rest %= u.unit
		}
	}
	if b.Len() == 0 {
		return "0s"
	}
	return b.String()
}

// MarshalText writes String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what String writes.
func (d *Duration) UnmarshalText(text []byte) error {
	if !durationForm.Match(text) || len(text) == 0 {
		return fmt.Errorf("%q is not a length of time", text)
	}
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// Bytes is a size, written like "64MiB" or "512B".
type Bytes int64

// String writes the largest unit that divides the size.
func (b Bytes) String() string {
	for _, u := range byteUnits {
		if b >= u.size && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// MarshalText writes String.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads what String writes.
func (b *Bytes) UnmarshalText(text []byte) error {
	m := bytesForm.FindSubmatch(text)
	if m == nil {
		return fmt.Errorf("%q is not a size", text)
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		return err
	}
	*b = Bytes(n)
	for _, u := range byteUnits {
		if u.name == string(m[2]) {
			*b *= u.size
		}
	}
	return nil
}

var byteUnits = []struct {
	name string
	size Bytes
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

var (
	durationForm = regexp.MustCompile(durationPattern)
	bytesForm    = regexp.MustCompile(bytesPattern)
)

const (
	durationPattern = `^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?([0-9]{1,6}ms)?$`
	bytesPattern    = `^([0-9]{1,9})(B|KiB|MiB|GiB)$`
)

package sdk_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"perdure/sdk"
)

func TestKeysAreTakenAsTheDraftWritesThem(t *testing.T) {
	for _, c := range []struct {
		header, key string
		err         error
	}{
		{"8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324", nil},
		{`"8e03978e-40d5-43dd-bc93-6894a57f9324"`, "8e03978e-40d5-43dd-bc93-6894a57f9324", nil},
		{"", "", sdk.ErrNoKey},
		{strings.Repeat("k", sdk.MaxKey+1), "", sdk.ErrKeyLength},
		{"two words\x01", "", sdk.ErrKeyForm},
		{"two words", "", sdk.ErrKeyForm},
		{`"two words"`, "two words", nil},
		{`"a\"b\\c"`, `a"b\c`, nil},
		{`"a\b"`, "", sdk.ErrKeyForm},
		{`"k"; p=1;q="x"`, "k", nil},
		{`"k" `, "k", nil},
		{`"k"p`, "", sdk.ErrKeyForm},
		{"\"k\";p=\x01", "", sdk.ErrKeyForm},
		{`"k`, "", sdk.ErrKeyForm},
		{`"`, "", sdk.ErrKeyForm},
		{`""`, "", sdk.ErrNoKey},
		{`k;p=1`, "", sdk.ErrKeyForm},
		{`"` + strings.Repeat(`\"`, sdk.MaxKey) + `"`, strings.Repeat(`"`, sdk.MaxKey), nil},
		{`"` + strings.Repeat("k", sdk.MaxKey+1) + `"`, "", sdk.ErrKeyLength},
	} {
		key, err := sdk.ParseKey(c.header)
		if key != c.key || !errors.Is(err, c.err) {
			t.Errorf("ParseKey(%.40q) = %q, %v; want %q, %v", c.header, key, err, c.key, c.err)
		}
		if b, err := sdk.AppendKey([]byte("before "), []byte(c.header)); string(b) != "before "+c.key || !errors.Is(err, c.err) {
			t.Errorf("AppendKey(%.40q) = %q, %v", c.header, b, err)
		}
	}
}

func TestAKeyCarriesItsTimeOrNone(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		key  string
		want int64 // Unix milliseconds, 0 for none
	}{
		{"01890a5d-ac96-774b-bcce-b302099a8057", 1688096058518},
		{"01890A5D-AC96-774B-BCCE-B302099A8057", 1688096058518},
		{"01890a5d-ac96-474b-bcce-b302099a8057", 0}, // version 4
		{"01H455VB4PEX5VSKNK084SN02Q", 1688096058518},
		{"81H455VB4PEX5VSKNK084SN02Q", 0}, // too large for a ULID
		{"00000000000000000000000000", 0}, // before 2020: a name
		{"order-17", 0},
	} {
		at, ok := sdk.KeyTime(c.key, now)
		if ok != (c.want != 0) || ok && at.UnixMilli() != c.want {
			t.Errorf("KeyTime(%q) = %d, %v; want %d", c.key, at.UnixMilli(), ok, c.want)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	for _, s := range []string{"", "k", `"k"`, `"`, `""`, `"a\"b" ;c`, "a b", "\x00", strings.Repeat("x", 300)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		key, err := sdk.ParseKey(header)
		if err == nil && (key == "" || len(key) > sdk.MaxKey || strings.ContainsFunc(key, func(r rune) bool { return r < 0x20 || r > 0x7e })) {
			t.Errorf("ParseKey(%q) let %q through", header, key)
		}
		if err != nil && key != "" {
			t.Errorf("ParseKey(%q) gives %q and %v", header, key, err)
		}
		if b, other := sdk.AppendKey(nil, []byte(header)); string(b) != key || !errors.Is(err, other) {
			t.Errorf("of %q AppendKey makes %q, %v, and ParseKey %q, %v", header, b, other, key, err)
		}
	})
}

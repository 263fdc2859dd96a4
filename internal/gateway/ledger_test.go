package gateway

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"perdure/sdk"
)

// recordedAs reports whether the sdk reads the key out of the header.
func recordedAs(header string, key []byte) bool {
	got, err := sdk.ParseKey(header)
	return err == nil && got == string(key)
}

// TestLedgerKeepsTheKeyThatTheApplicationRecords: else a recorded payment would be counted as lost after an emergency.
func TestLedgerKeepsTheKeyThatTheApplicationRecords(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	w := start(t, nil)
	w.feed.put(t, input(1, "a", own(1, 5), a))
	var want []string
	for _, c := range []struct{ header, key string }{
		{"k-1", "k-1"},
		{`"k-2"`, "k-2"},
		{`"k 3"`, "k 3"},
		{`"k\"4\\"`, `k"4\`},
		{`"k-5";a=b; c="d"`, "k-5"},
		{`"` + strings.Repeat(`\\`, sdk.MaxKey) + `"`, strings.Repeat(`\`, sdk.MaxKey)},
	} {
		want = append(want, c.key)
		if got := w.keyed(c.header); got.status != 200 {
			t.Fatalf("%s: %v", c.header, got)
		}
		if header := w.arrival(a).Header.Get("Idempotency-Key"); !recordedAs(header, []byte(c.key)) {
			t.Errorf("%s: the application got %s", c.header, header)
		}
	}
	for _, header := range []string{`"k`, `"k"k`, `"\k"`, "k k", "k;a=b", `""`} {
		if got := w.keyed(header); got.status != 400 || len(a.arrived) > 0 {
			t.Errorf("%s: %v, %d reached the application", header, got, len(a.arrived))
		}
	}
	if err := w.g.ledger.flush(); err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := w.g.ledger.each(ledgerFilter{}, func(e *Entry) error {
		got = append(got, e.Key)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("kept %q, want %q", got, want)
	}
}

func TestKeysOfAnyLettersAreKeptInTheLedgerAsTheyAre(t *testing.T) {
	for key, want := range map[string]string{
		"6222-01": "6222-01", "账户-1": "账户-1", `a"b\c`: `a"b\c`, "a\x00b\x7f": "a?b?", "a\xffé": "a???",
	} {
		var got string
		if err := json.Unmarshal(appendJSONBytes(nil, []byte(key)), &got); err != nil || got != want {
			t.Errorf("%q is kept as %q (%v), want %q", key, got, err, want)
		}
	}
}

package gateway

import (
	"encoding/json"
	"testing"
)

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

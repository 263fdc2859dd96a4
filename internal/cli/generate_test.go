package cli_test

import (
	"strings"
	"testing"
)

func TestAPlanIsGeneratedFromWhereGroupsAreNow(t *testing.T) {
	f := startFake(t) // u1 is at a, u2 at b
	r := run(t.Context(), call{env: f.env(), args: []string{"plan", "generate", "--mode", "takeover", "--scope", "site", "a"}})
	if r.code != 0 || !strings.Contains(r.out, "#   corebank (multi-active): u1 a to b; for payments\n") || strings.Contains(r.out, "was not known") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
}

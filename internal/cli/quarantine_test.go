package cli_test

import (
	"strings"
	"testing"
)

func TestQuarantineIsShownJudgedAndReleased(t *testing.T) {
	f := startFake(t)
	f.estate.Groups[0].Record.Quarantine = true
	r := run(t.Context(), call{env: f.env(), args: []string{"status"}})
	if !strings.Contains(r.out, "QUARANTINE: accounts of u1 are blocked until they are judged") {
		t.Errorf("got:\n%s", r.out)
	}
	r = run(t.Context(), call{env: f.env(), args: []string{"quarantine", "verify", "u1"}})
	golden(t, "verify-en.golden", r.out)
	r = run(t.Context(), call{env: f.env(), args: []string{"quarantine", "release", "u1", "--yes"}})
	if r.code != 2 || !f.estate.Groups[0].Record.Quarantine {
		t.Errorf("released without a reason: exit %d", r.code)
	}
	r = run(t.Context(), call{env: f.env(), ask: true, in: "y\n", args: []string{"quarantine", "release", "u1", "--reason", "repaired"}})
	if r.code != 3 || !f.estate.Groups[0].Record.Quarantine {
		t.Errorf("released with a single key: exit %d", r.code)
	}
	r = run(t.Context(), call{env: f.env(), ask: true, in: "u1\n", args: []string{"quarantine", "release", "u1", "--reason", "repaired"}})
	if r.code != 0 || f.estate.Groups[0].Record.Quarantine {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
}

package cli_test

import (
	"encoding/json"
	"strings"
	"testing"

	"perdure/internal/driver"
	"perdure/internal/wire"
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

func TestDivergenceIsShown(t *testing.T) {
	f := startFake(t)
	r := run(t.Context(), call{env: f.env(), args: []string{"divergence", "u1"}})
	golden(t, "divergence-en.golden", r.out)
	r = run(t.Context(), call{env: f.env(), args: []string{"divergence", "u1", "--limit", "1"}})
	if !strings.Contains(r.out, "k1") || strings.Contains(r.out, "k2") || !strings.Contains(r.out, "…") {
		t.Errorf("with a limit:\n%s", r.out)
	}
	if r = run(t.Context(), call{env: f.env(), args: []string{"divergence", "u9"}}); r.code == 0 || !strings.Contains(r.err, `there is no unit "u9"; there are: u1`) {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
}

func TestStatusShoutsWhatIsWrongWithAnInstallation(t *testing.T) {
	f := startFake(t)
	m := &f.estate.Members[0]
	var state wire.AgentState
	if err := json.Unmarshal(m.Status, &state); err != nil {
		t.Fatal(err)
	}
	state.Findings = []driver.Finding{{Check: "version", Problem: "it is old", Fix: "upgrade it", Fatal: true}, {Check: "checksums"}, {Check: "checksums"}}
	m.Status, _ = json.Marshal(state)
	r := run(t.Context(), call{env: f.env(), args: []string{"status"}})
	who := string(m.Member)
	for _, want := range []string{"FATAL " + who + " version: it is old; upgrade it", who + ": findings of its installation: 1, checksums"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in:\n%s", want, r.out)
		}
	}
}

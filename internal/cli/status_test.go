package cli_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/estate"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

func (f *fakeNode) env(more ...string) map[string]string {
	env := map[string]string{"PERDURE_ENDPOINTS": f.url, "PERDURE_TOKEN": token}
	for i := 0; i+1 < len(more); i += 2 {
		env[more[i]] = more[i+1]
	}
	return env
}

func TestStatusShowsTheEstateAtAGlance(t *testing.T) {
	f := startFake(t)
	for lang, file := range map[string]string{"en": "status-en.golden", "zh-CN": "status-zh.golden"} {
		r := run(t.Context(), call{env: f.env(), args: []string{"status", "--lang", lang}})
		if r.code != 0 {
			t.Fatalf("exit %d: %s", r.code, r.err)
		}
		golden(t, file, r.out)
	}
}

func TestStatusShoutsThatAUnitIsUnprotected(t *testing.T) {
	f := startFake(t)
	r := run(t.Context(), call{env: f.env(), args: []string{"status"}})
	if !strings.Contains(r.out, "UNPROTECTED: u2 has no copy that acknowledges, for 1 min 15 s; transactions at risk: 12,345") {
		t.Errorf("got:\n%s", r.out)
	}
	f.estate.Members = nil // the owner's agent said nothing: unknown is never shown as zero
	r = run(t.Context(), call{env: f.env(), args: []string{"status"}})
	if !strings.Contains(r.out, "for UNKNOWN; transactions at risk: UNKNOWN") {
		t.Errorf("got:\n%s", r.out)
	}
}

func TestStatusShowsTroubleOfTheControlPlane(t *testing.T) {
	f := startFake(t)
	f.estate.Store.Quorum = false
	f.estate.Store.Alarms = []string{"NOSPACE"}
	f.estate.Standing.Cold, f.estate.Standing.Missing = true, []string{"b", "c"}
	f.estate.Standing.Superseded = &estate.Incarnation{Counter: 2, ID: "beef"}
	r := run(t.Context(), call{env: f.env(), args: []string{"status"}})
	for _, want := range []string{"NO QUORUM", "STORE ALARM: NOSPACE", "heard from b, c", "SUPERSEDED: this node met the higher incarnation 2.beef"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is missing:\n%s", want, r.out)
		}
	}
}

func TestVersionsOfNodesAndFormatsOfJournalsAreShown(t *testing.T) {
	f := startFake(t)
	f.estate.Version = "0.2.0"
	f.estate.Store.Embedded = true
	f.estate.Store.Members = []wire.StoreMember{{Name: "a", PeerURL: []string{"https://a:1"}}, {Name: "b"}, {Name: "c"}}
	f.estate.Formats = wire.Formats{
		Journal: wire.JournalFormat{Format: 1},
		Nodes:   []wire.NodeFormats{{Node: "a", Version: "0.2.0", Oldest: 1, Newest: 2}, {Node: "b", Version: "0.1.0", Oldest: 1, Newest: 1}, {Node: "gone", Version: "0.0.1", Oldest: 1, Newest: 1}},
	}
	for _, c := range []struct {
		command string
		wants   []string
	}{
		{"status", []string{"version 0.2.0, journals in format 1", "stay in format 1 until every node reads format 2; not yet: b 0.1.0, c\n"}},
		{"node members", []string{"0.2.0    1-2", "0.1.0    1", "not yet: b 0.1.0, c\n"}},
		{"node members --json", []string{`"newest": 2`, `"members": [`}},
	} {
		r := run(t.Context(), call{env: f.env(), args: strings.Fields(c.command)})
		for _, want := range c.wants {
			if !strings.Contains(r.out, want) {
				t.Errorf("perdure %s: %q is missing:\n%s%s", c.command, want, r.out, r.err)
			}
		}
	}
	f.estate.Formats.Journal.Format, f.estate.Formats.Nodes[1].Newest = 2, 2
	f.estate.Formats.Nodes[2].Node, f.estate.Formats.Nodes[2].Newest = "c", 2
	if r := run(t.Context(), call{env: f.env(), args: []string{"status"}}); !strings.Contains(r.out, "journals in format 2\n") || strings.Contains(r.out, "not yet") {
		t.Errorf("got:\n%s", r.out)
	}
	if r := run(t.Context(), call{args: []string{"version"}}); !strings.Contains(r.out, "reads journals of format 1") {
		t.Errorf("got:\n%s", r.out)
	}
}

func TestStatusShowsARunningSwitch(t *testing.T) {
	f := startFake(t)
	f.estate.Groups[0].Record.Switch = &unit.Switch{
		ID: "s", Mode: unit.Takeover, From: estate.Life{Member: "u1-a"}, To: estate.Life{Member: "u1-b"}, By: "ann", Phase: unit.Promotion,
		At: map[unit.Phase]int64{unit.Closing: now - 250, unit.Promotion: now - 100},
	}
	f.estate.Groups[0].Record.State = unit.Promoting
	r := run(t.Context(), call{env: f.env(), args: []string{"status"}})
	for _, want := range []string{"promoting, promoting", "takeover  a → b  promoting  by ann  for 250 ms"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is missing:\n%s", want, r.out)
		}
	}
}

func TestStatusAsJSONIsWhatTheNodeSaid(t *testing.T) {
	f := startFake(t)
	r := run(t.Context(), call{env: f.env(), args: []string{"status", "--json"}})
	var got wire.Estate
	if err := json.Unmarshal([]byte(r.out), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f.estate, got); diff != "" {
		t.Error(diff)
	}
}

func TestColourIsForTerminalsOnly(t *testing.T) {
	f := startFake(t)
	if r := run(t.Context(), call{env: f.env(), args: []string{"status"}}); strings.Contains(r.out, "\x1b") {
		t.Error("colour without a terminal")
	}
	if r := run(t.Context(), call{env: f.env(), tty: true, args: []string{"status"}}); !strings.Contains(r.out, "\x1b[31;1mUNPROTECTED") {
		t.Error("no colour on a terminal")
	}
	if r := run(t.Context(), call{env: f.env("NO_COLOR", "1"), tty: true, args: []string{"status"}}); strings.Contains(r.out, "\x1b") {
		t.Error("NO_COLOR is not respected")
	}
}

func TestStatusWatchEndsWhenInterrupted(t *testing.T) {
	f := startFake(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan result, 1)
	go func() { done <- run(ctx, call{env: f.env(), args: []string{"status", "--watch", "--every", "100ms"}}) }()
	for range 3 {
		select {
		case <-f.looked:
		case r := <-done:
			t.Fatalf("it ended by itself: exit %d: %s", r.code, r.err)
		}
	}
	cancel()
	if r := <-done; r.code != 130 {
		t.Errorf("exit %d, want 130: %s", r.code, r.err)
	}
}

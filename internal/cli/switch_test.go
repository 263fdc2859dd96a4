package cli_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"perdure/internal/errs"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

func planned() wire.SwitchAnswer {
	return wire.SwitchAnswer{
		Unit: "u1", Group: "u1",
		Checks: []wire.Check{
			{Name: "open", OK: true, Detail: "the group is open"},
			{Name: "replay lag", OK: false, Detail: "33554432 bytes to replay"},
		},
		Forecast: &wire.Forecast{PauseP50Millis: 180, PauseP95Millis: 420, Basis: "7 earlier planned switches of this group"},
	}
}

func TestSwitchShowsForecastThenProgressThenTimings(t *testing.T) {
	for lang, file := range map[string]string{"en": "switch-en.golden", "zh-CN": "switch-zh.golden"} {
		f := startFake(t)
		f.plan = planned()
		r := run(t.Context(), call{env: f.env(), args: []string{"switch", "u1", "--to", "B", "--yes", "--reason", "power works", "--lang", lang}})
		if r.code != 0 {
			t.Fatalf("exit %d: %s", r.code, r.err)
		}
		golden(t, file, r.out)
		if !slices.Contains(f.asked, `{"to":"b","mode":"takeover","dryRun":true,"reason":"power works"}`) ||
			!slices.Contains(f.asked, `{"to":"b","mode":"takeover","reason":"power works"}`) {
			t.Errorf("asked: %q", f.asked)
		}
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	f := startFake(t)
	f.plan = planned()
	r := run(t.Context(), call{env: f.env(), args: []string{"switch", "u1", "--to", "b", "--dry-run"}})
	if r.code != 0 || !strings.Contains(r.out, "forecast of the write pause: p50 180 ms, p95 420 ms") {
		t.Errorf("exit %d:\n%s%s", r.code, r.out, r.err)
	}
	if f.estate.Groups[0].Record.Switch != nil {
		t.Error("a switch was started")
	}
}

func TestDryRunOfAForbiddenSwitchEndsWithRefused(t *testing.T) {
	f := startFake(t)
	f.plan = planned()
	f.plan.Checks = append(f.plan.Checks, wire.Check{Name: "rules", Detail: "u1-c is not in the in-sync set [I4]"})
	r := run(t.Context(), call{env: f.env(), args: []string{"switch", "u1", "--to", "c", "--dry-run"}})
	if r.code != 3 || !strings.Contains(r.err, "refused: u1-c is not in the in-sync set") {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
}

func TestSwitchAsksThePersonFirst(t *testing.T) {
	f := startFake(t)
	f.plan = planned()
	r := run(t.Context(), call{env: f.env(), ask: true, in: "no\n", args: []string{"switch", "u1", "--to", "b"}})
	if r.code != 3 || f.estate.Groups[0].Record.Switch != nil {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
	r = run(t.Context(), call{env: f.env(), args: []string{"switch", "u1", "--to", "b"}})
	if r.code != 2 || !strings.Contains(r.err, "--yes") || f.estate.Groups[0].Record.Switch != nil {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
	r = run(t.Context(), call{env: f.env(), ask: true, in: "y\n", args: []string{"switch", "u1", "--to", "b"}})
	if r.code != 0 || f.estate.Groups[0].Record.Switch == nil {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
}

func TestSwitchAsJSONEndsWithTheSwitch(t *testing.T) {
	f := startFake(t)
	f.plan = planned()
	r := run(t.Context(), call{env: f.env(), args: []string{"switch", "u1", "--to", "b", "--yes", "--json"}})
	var got wire.SwitchView
	if err := json.Unmarshal([]byte(r.out), &got); err != nil {
		t.Fatalf("%v:\n%s", err, r.out)
	}
	if got.Active || got.Switch.Phase != unit.Done || got.Switch.ID != "sw-1" || got.Run != "sw" {
		t.Errorf("got %+v", got)
	}
}

func TestFailedSwitchEndsWithOne(t *testing.T) {
	f := startFake(t)
	f.plan = planned()
	f.walkTo = []unit.Phase{unit.Closing, unit.Failed}
	r := run(t.Context(), call{env: f.env(), args: []string{"switch", "u1", "--to", "b", "--yes"}})
	if r.code != 1 || !strings.Contains(r.err, "switch sw-1 of unit u1 failed and was undone") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
}

func TestSwitchGoesOnWithoutItsFollower(t *testing.T) {
	f := startFake(t)
	f.plan = planned()
	f.walkTo = []unit.Phase{unit.Closing} // and no further
	r := run(t.Context(), call{env: f.env(), args: []string{"switch", "u1", "--to", "b", "--yes", "--wait", "300ms"}})
	if r.code != 5 || !strings.Contains(r.err, "still closing; it goes on without this command") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	f = startFake(t)
	f.plan = planned()
	r = run(t.Context(), call{env: f.env(), args: []string{"switch", "u1", "--to", "b", "--yes", "--no-wait"}})
	if r.code != 0 || !strings.Contains(r.out, "switch sw-1 runs") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	r = run(t.Context(), call{env: f.env(), args: []string{"switch", "accept", "u1", "--reason", "x", "--yes"}})
	if r.code != 3 || !strings.Contains(r.err, "no emergency of unit u1 waits") {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
}

func TestEmergencyShowsItsLossAndNeedsTwoPeople(t *testing.T) {
	f := startFake(t)
	f.plan = wire.SwitchAnswer{
		Unit: "u1", Group: "u1",
		Loss: &unit.Loss{
			Transactions: 17, Accounts: -1, Amount: "1234.50", Source: "what u1-a last reported", Statement: "u1-c.2 was not in the in-sync set",
			Others: []unit.Fencing{{Member: "u1-a", Site: "a", State: unit.Unreached}, {Member: "u1-a2", Site: "a", State: unit.Reached}, {Member: "u1-b", Site: "b", State: unit.Shut}},
		},
	}
	r := run(t.Context(), call{env: f.env(), ask: true, in: "y\n", args: []string{"switch", "u1", "--to", "c", "--mode", "emergency"}})
	if r.code != 3 || f.estate.Groups[0].Record.Switch != nil {
		t.Fatalf("a single key was enough for an emergency: exit %d", r.code)
	}
	r = run(t.Context(), call{env: f.env(), ask: true, in: "u1\n", args: []string{"switch", "u1", "--to", "c", "--mode", "emergency"}})
	if r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.err)
	}
	golden(t, "emergency-en.golden", r.out)
	shown := func(where, text string) {
		t.Helper()
		for _, want := range []string{"ESTIMATED LOSS: 17 transactions", "NOT REACHED: cannot be fenced; switch its server off"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not show %q:\n%s", where, want, text)
			}
		}
	}
	r = run(t.Context(), call{env: f.env(), args: []string{"status"}})
	shown("status", r.out)
	r = run(t.Context(), call{env: f.env(), args: []string{"status", "--json"}})
	if !strings.Contains(r.out, `"state": "not-reached"`) && !strings.Contains(r.out, `"state":"not-reached"`) {
		t.Errorf("status --json: %s", r.out)
	}
	r = run(t.Context(), call{env: f.env(), args: []string{"status", "--lang", "zh-CN"}})
	if !strings.Contains(r.out, "未能联系：无法隔离") {
		t.Errorf("status in Chinese: %s", r.out)
	}
	for _, args := range [][]string{
		{"switch", "accept", "u1", "--reason", "city lost", "--json"}, {"switch", "u1", "--to", "c", "--mode", "emergency", "--json"},
	} {
		r = run(t.Context(), call{env: f.env(), ask: true, in: "no\n", args: args})
		if r.code != 3 || r.out != "" {
			t.Errorf("exit %d: %s", r.code, r.out)
		}
		shown(strings.Join(args, " "), r.err)
	}
	r = run(t.Context(), call{env: f.env(), args: []string{"switch", "accept", "u1", "--yes"}})
	if r.code != 2 || !strings.Contains(r.err, "--reason TEXT is missing") {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
	r = run(t.Context(), call{env: f.env(), args: []string{"switch", "accept", "u1", "--yes", "--reason", "city lost", "--switch", "other"}})
	if r.code != 7 {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
	r = run(t.Context(), call{env: f.env(), args: []string{"switch", "accept", "u1", "--yes", "--reason", "city lost"}})
	if r.code != 0 || !strings.Contains(r.out, "accepted by 1 of 2 people") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	r = run(t.Context(), call{env: f.env(), args: []string{"switch", "accept", "u1", "--yes", "--reason", "city lost"}})
	if r.code != 0 || !strings.Contains(r.out, "done: u1 is current at c, epoch 4") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
}

func TestRefusalsOfTheNodeHaveTheirExitCode(t *testing.T) {
	for _, c := range []struct {
		problem wire.Problem
		code    int
	}{
		{wire.Problem{Status: 409, Kind: string(errs.Refused), Detail: "switch sw-0 of u1 runs", Invariant: "I9"}, 3},
		{wire.Problem{Status: 404, Kind: string(errs.NotFound), Detail: "no unit u9"}, 4},
		{wire.Problem{Status: 403, Kind: string(errs.Forbidden), Detail: "needs role commander"}, 6},
		{wire.Problem{Status: 409, Kind: string(errs.Conflict), Detail: "another switch"}, 7},
		{wire.Problem{Status: 422, Kind: string(errs.Invalid), Detail: "mode"}, 2},
	} {
		f := startFake(t)
		f.refusal = &c.problem
		r := run(t.Context(), call{env: f.env(), args: []string{"switch", "u1", "--to", "b", "--yes"}})
		if r.code != c.code || !strings.Contains(r.err, c.problem.Detail) {
			t.Errorf("%s: exit %d, want %d: %s", c.problem.Kind, r.code, c.code, r.err)
		}
		r = run(t.Context(), call{env: f.env(), args: []string{"switch", "u1", "--to", "b", "--yes", "--json"}})
		var got struct {
			Error struct {
				Kind, Message, Invariant string
				Exit                     int
			}
		}
		if err := json.Unmarshal([]byte(r.err), &got); err != nil {
			t.Fatal(err)
		}
		if got.Error.Kind != c.problem.Kind || got.Error.Exit != c.code || got.Error.Invariant != c.problem.Invariant {
			t.Errorf("got %+v", got)
		}
	}
}

func TestWithoutANodeTheExitIsUnavailable(t *testing.T) {
	env := map[string]string{"PERDURE_ENDPOINTS": "http://127.0.0.1:1", "PERDURE_TOKEN": token}
	if r := run(t.Context(), call{env: env, args: []string{"status", "--timeout", "300ms"}}); r.code != 5 {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
}

func TestWithoutATokenTheExitIsUnauthorised(t *testing.T) {
	f := startFake(t)
	if r := run(t.Context(), call{env: map[string]string{"PERDURE_ENDPOINTS": f.url}, args: []string{"status"}}); r.code != 6 {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
}

func TestCompletionKnowsUnitsAndTheSitesTheyCanGoTo(t *testing.T) {
	f := startFake(t)
	if r := run(t.Context(), call{env: f.env(), args: []string{"__complete", "switch", ""}}); !strings.HasPrefix(r.out, "abort") || !strings.Contains(r.out, "u1\nu2\n") {
		t.Errorf("units: %s", r.out)
	}
	if r := run(t.Context(), call{env: f.env(), args: []string{"__complete", "switch", "u1", "--to", ""}}); !strings.HasPrefix(r.out, "b\nc\n") {
		t.Errorf("sites: %s", r.out)
	}
}

func TestSwitchThatTheCalendarRefusesIsToldByTheDryRun(t *testing.T) {
	f := startFake(t)
	f.plan = planned()
	f.plan.Notes = []string{"no cut-off is known"}
	f.plan.Checks = append(f.plan.Checks, wire.Check{Name: wire.CalendarCheck, Detail: "no window is open; it may begin from 2027-01-16 01:00 CST"})
	r := run(t.Context(), call{env: f.env(), args: []string{"switch", "u1", "--to", "b", "--dry-run"}})
	if r.code != 3 || !strings.Contains(r.err, "it may begin from 2027-01-16") || !strings.Contains(r.out, "no cut-off is known") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
}

func TestSwitchThatIsOverWhenItIsAskedForAgainIsNotBegunAnew(t *testing.T) {
	f := startFake(t)
	f.plan = planned()
	f.over = true
	r := run(t.Context(), call{env: f.env(), args: []string{"switch", "u1", "--to", "b", "--yes", "--id", "sw"}})
	if r.code != 7 || !strings.Contains(r.err, "perdure run show sw") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
}

func TestSwitchIsAskedForAgainWhereTheNodeDiedBeforeItAnswered(t *testing.T) {
	for dies, code := range map[int]int{2: 0, 5: 0, 1 << 20: 1} { // with its key it is asked for until the time is up
		f := startFake(t)
		f.plan = planned()
		f.dies = dies
		r := run(t.Context(), call{env: f.env(), args: []string{"switch", "u1", "--to", "b", "--yes"}})
		if (r.code == 0) != (code == 0) {
			t.Errorf("after %d deaths: exit %d: %s%s", dies, r.code, r.out, r.err)
		}
	}
}

package cli_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"perdure/internal/calendar"
	"perdure/internal/manifest"
	"perdure/internal/wire"
)

func TestCalendarShowsWhatIsOpenAndWhatIsOverdueInBothLanguages(t *testing.T) {
	f := startFake(t)
	f.approvals = calendar.Approvals{"always": {Digest: f.digest(t, "always"), Approvals: []calendar.Approval{{By: "bob", At: time.UnixMilli(now).UTC()}, {By: "cho", At: time.UnixMilli(now).UTC()}}}}
	for lang, file := range map[string]string{"en": "calendar-en.golden", "zh-CN": "calendar-zh.golden"} {
		r := run(t.Context(), call{env: f.env(), args: []string{"calendar", "--lang", lang}})
		if r.code != 0 {
			t.Fatalf("exit %d: %s", r.code, r.err)
		}
		golden(t, file, r.out)
	}
	r := run(t.Context(), call{env: f.env(), args: []string{"calendar", "--json"}})
	var v calendar.View
	if err := json.Unmarshal([]byte(r.out), &v); err != nil || r.code != 0 || len(v.Windows) != 2 || len(v.Schedules) != 2 || v.Schedules[0].State != calendar.Overdue {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	f.manifest.Text = ""
	if r = run(t.Context(), call{env: f.env(), args: []string{"calendar"}}); r.code != 0 || !strings.Contains(r.out, "there is no calendar") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
}

func TestStatusNamesOverdueSchedulesInOneLine(t *testing.T) {
	f := startFake(t)
	if r := run(t.Context(), call{env: f.env(), args: []string{"status"}}); r.code != 0 || !strings.Contains(r.out, "\n  OVERDUE: daily-look (perdure calendar)\n") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	f.held = []calendar.Run{{ID: "r", Schedules: []string{"daily-look"}, At: time.UnixMilli(now).Add(-10 * time.Hour), Counts: true}}
	if r := run(t.Context(), call{env: f.env(), args: []string{"status"}}); r.code != 0 || strings.Contains(r.out, "OVERDUE") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
}

func TestWhatTheCalendarsSayOfAStartIsShownBeforeThePersonIsAsked(t *testing.T) {
	const note = "it may take 30m0s without people, longer than what is left of window night: 10m0s"
	dry, real := `{"dryRun":true,"mode":"takeover","params":{"to":"b","unit":"u1"},"plan":"move-unit","reason":"power works"}`, `{"mode":"takeover","params":{"to":"b","unit":"u1"},"plan":"move-unit","reason":"power works"}`
	asked := start[:len(start)-1] // without --yes
	for answer, begins := range map[string]bool{"y\n": true, "n\n": false} {
		f := withPlans(t)
		f.notes = []string{note}
		r := run(t.Context(), call{env: f.env(), args: asked, ask: true, in: answer})
		if !strings.Contains(r.out, "doubtful: "+note+"\n") || !slices.Contains(f.asked, dry) || slices.Contains(f.asked, real) != begins || begins != (r.code == 0) {
			t.Errorf("%q: exit %d: %s%s; asked %q", answer, r.code, r.out, r.err, f.asked)
		}
	}
	f := withPlans(t)
	f.refusal = &wire.Problem{Status: 409, Kind: "refused", Detail: "cannot start plan move-unit in mode takeover: no window is open"}
	r := run(t.Context(), call{env: f.env(), args: asked, ask: true, in: "y\n"})
	if r.code != 3 || !strings.Contains(r.err, "no window is open") || strings.Contains(r.err, "Start a run") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	f = withPlans(t)
	f.notes = []string{note}
	if r = run(t.Context(), call{env: f.env(), args: append(slices.Clone(start), "--no-wait")}); r.code != 0 || !strings.Contains(r.out, "doubtful: "+note+"\n") || slices.Contains(f.asked, dry) {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	f.journal[0].Notes = f.notes
	for _, args := range [][]string{{"run", "show", "r1"}, {"run", "watch", "r1"}} {
		if r = run(t.Context(), call{env: f.env(), args: args}); r.code != 0 || !strings.Contains(r.out, "doubtful: "+note+"\n") {
			t.Errorf("%q: exit %d: %s%s", args, r.code, r.out, r.err)
		}
	}
}

// digest is that of a window of the applied manifest.
func (f *fakeNode) digest(t *testing.T, window string) string {
	t.Helper()
	set, err := manifest.Parse(manifest.File{Name: "applied", Text: []byte(f.manifest.Text)})
	if err != nil {
		t.Fatal(err)
	}
	return calendar.Digests(set.Calendars)[window]
}

func TestWindowIsApprovedAsItIsShownAndRevokedWithAReason(t *testing.T) {
	f := startFake(t)
	for lang, words := range map[string][]string{"en": {"approved", "waits for approval", "Approve window night as shown?"}, "zh-CN": {"批准", "待批准", "批准窗口 night？"}} {
		r := run(t.Context(), call{env: f.env(), args: []string{"calendar", "approve", "night", "--reason", "agreed", "--lang", lang}, ask: true, in: "y\n"})
		for _, want := range words {
			if r.code != 0 || !strings.Contains(r.out+r.err, want) {
				t.Errorf("%s: exit %d: %s%s does not say %q", lang, r.code, r.out, r.err, want)
			}
		}
	}
	if want := `approve night {"digest":"` + f.digest(t, "night") + `","reason":"agreed"}`; !slices.Contains(f.asked, want) {
		t.Errorf("%q, want %s", f.asked, want)
	}
	f.asked = nil
	for _, args := range [][]string{{"calendar", "approve", "night"}, {"calendar", "approve", "--reason", "x"}, {"calendar", "revoke", "night"}, {"calendar", "approve", "night", "--reason", "agreed"}} {
		if r := run(t.Context(), call{env: f.env(), args: args}); r.code != 2 {
			t.Errorf("%q: exit %d: %s", args, r.code, r.err)
		}
	}
	if r := run(t.Context(), call{env: f.env(), args: []string{"calendar", "approve", "night", "--reason", "agreed"}, ask: true, in: "n\n"}); r.code != 3 || slices.ContainsFunc(f.asked, func(a string) bool { return strings.HasPrefix(a, "approve") }) {
		t.Errorf("exit %d: %s, %q", r.code, r.err, f.asked)
	}
	r := run(t.Context(), call{env: f.env(), args: []string{"calendar", "revoke", "night", "--reason", "not tonight"}})
	if r.code != 0 || !strings.Contains(r.out, "what has begun goes on") || !slices.Contains(f.asked, `revoke night {"reason":"not tonight"}`) {
		t.Errorf("exit %d: %s%s, %q", r.code, r.out, r.err, f.asked)
	}
	if r := run(t.Context(), call{env: f.env(), args: []string{"__complete", "calendar", "approve", ""}}); !strings.HasPrefix(r.out, "always\nnight\n") {
		t.Errorf("%s%s", r.out, r.err)
	}
}

func TestWindowsThatWaitForApprovalAreToldByTheStatusAndWhenAManifestIsApplied(t *testing.T) {
	f := startFake(t)
	if r := run(t.Context(), call{env: f.env(), args: []string{"status"}}); r.code != 0 || !strings.Contains(r.out, "\n  windows that wait for approval: always, night (perdure calendar)\n") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	f.waiting = []string{"night"}
	for _, more := range []string{"--yes", "--dry-run"} {
		if r := run(t.Context(), call{env: f.env(), args: []string{"apply", "../../examples/estate", more}}); r.code != 0 || !strings.Contains(r.out, "windows that wait for approval: night (perdure calendar approve)\n") {
			t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
		}
	}
}

func TestJournalIsShownWithTheWindowThatARunBeganIn(t *testing.T) {
	f := withPlans(t)
	in := &calendar.Opening{Calendar: "operations", Window: "night", Until: time.UnixMilli(now).UTC(), Approvals: []calendar.Approval{{By: "bob"}, {By: "cho"}}}
	f.journal[0].Facts = in.Facts()
	for lang, want := range map[string]string{"en": "in window night, open until 2027-01-15 08:00 +00:00, approved by bob, cho\n", "zh": "窗口 night，开放至 2027-01-15 08:00 +00:00，批准人 bob, cho\n"} {
		if r := run(t.Context(), call{env: f.env(), args: []string{"run", "watch", "r1", "--lang", lang}}); r.code != 0 || !strings.Contains(r.out, want) {
			t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
		}
	}
}

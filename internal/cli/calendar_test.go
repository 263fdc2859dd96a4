package cli_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"perdure/internal/calendar"
	"perdure/internal/wire"
)

func TestCalendarShowsWhatIsOpenAndWhatIsOverdueInBothLanguages(t *testing.T) {
	f := startFake(t)
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

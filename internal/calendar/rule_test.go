package calendar_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v3"

	"perdure/internal/calendar"
	"perdure/internal/estate"
	"perdure/internal/plan"
)

var update = flag.Bool("update", false, "rewrite what the scripts want")

// world is what a script asks: a book, and what people have said of its windows.
type world struct {
	*calendar.Book
	digests   map[string]string
	approvals calendar.Approvals
}

func open(t *testing.T, text []byte) world {
	t.Helper()
	var calendars []calendar.Calendar
	if err := yaml.Unmarshal(text, &calendars); err != nil {
		t.Fatal(err)
	}
	book, err := calendar.Open(calendars)
	if err != nil {
		t.Fatal(err)
	}
	return world{Book: book, digests: calendar.Digests(calendars)}
}

// scripted asks a world what a line says:
//
//	approve PERSON WINDOW ...                    a person approves windows as they stand
//	revoke WINDOW                                all approvals of a window are taken back
//	waiting                                      which windows are not approved as they stand
//	start TIME PLAN MODE SYSTEM UNITS LONGEST    may ann begin it? UNITS is u1,u2, - for none, or ? for not known
//	look TIME [RUN@TIME=SCHEDULE[!] ...]         how the schedules stand; ! is a run that does not count
//	due TIME                                     what the platform begins
//	counts TIME PLAN MODE [NAME=VALUE ...]       what a run counts for
func scripted(t *testing.T, b *world, line string) string {
	t.Helper()
	words := strings.Fields(line)
	switch words[0] {
	case "approve":
		for _, name := range words[2:] {
			b.change(b.approvals.Approve(name, b.digests[name], calendar.Approval{By: words[1], Reason: "agreed"}))
		}
		return ""
	case "revoke":
		return b.change(b.approvals.Revoke(words[1], "not tonight"))
	case "waiting":
		return fmt.Sprintf("  %q\n", b.approvals.Waiting(b.digests))
	}
	when := func(text string) time.Time {
		v, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	now, rest := when(words[1]), words[2:]
	var out strings.Builder
	switch words[0] {
	case "start":
		longest, err := time.ParseDuration(rest[4])
		if err != nil {
			t.Fatal(err)
		}
		a := calendar.Ask{By: "ann", Plan: rest[0], Mode: plan.Mode(rest[1]), System: estate.SystemID(strings.Trim(rest[2], "-")), Longest: longest, OtherUnits: rest[3] == "?"}
		for u := range strings.SplitSeq(strings.Trim(rest[3], "?-"), ",") {
			if u != "" {
				a.Units = append(a.Units, estate.UnitID(u))
			}
		}
		r := b.Rule(a, b.Standing(b.approvals), now)
		if r.Refusal != "" {
			fmt.Fprintln(&out, "  refused:", r.Refusal)
		}
		for _, n := range r.Notes {
			fmt.Fprintln(&out, "  note:", n)
		}
		if r.In != nil {
			fmt.Fprintf(&out, "  in %s until %s, approved by", r.In.Window, r.In.Until.Format("2006-01-02 15:04"))
			for _, a := range r.In.Approvals {
				fmt.Fprintf(&out, " %s", a.By)
			}
			fmt.Fprintln(&out)
		}
	case "look":
		var runs []calendar.Run
		for _, w := range rest {
			id, w, _ := strings.Cut(w, "@")
			at, name, _ := strings.Cut(w, "=")
			good := !strings.HasSuffix(name, "!")
			runs = append(runs, calendar.Run{ID: id, At: when(at), Schedules: []string{strings.TrimSuffix(name, "!")}, Counts: good})
		}
		for _, s := range b.Look(nil, runs, now).Schedules {
			fmt.Fprintf(&out, "  %s %s, next %s", s.Name, s.State, s.Next.Format("2006-01-02 15:04"))
			if s.Run != "" {
				fmt.Fprintf(&out, ", run %s", s.Run)
			}
			for _, m := range s.Missed {
				fmt.Fprintf(&out, ", missed %s", m.Format("2006-01-02 15:04"))
			}
			fmt.Fprintln(&out)
		}
	case "due":
		for _, d := range b.Due(now) {
			fmt.Fprintf(&out, "  %s %s %v\n", d.RunID(), d.Mode, d.Parameters)
		}
	case "counts":
		params := map[string]any{}
		for _, p := range rest[2:] {
			name, value, _ := strings.Cut(p, "=")
			params[name] = value
		}
		fmt.Fprintf(&out, "  %q\n", b.Counts(rest[0], plan.Mode(rest[1]), params, now))
	default:
		t.Fatalf("unknown line %q", line)
	}
	return out.String()
}

// change takes what a word has made of the approvals, and gives why it was refused.
func (b *world) change(next calendar.Approvals, err error) string {
	if err != nil {
		return fmt.Sprintln("  refused:", err)
	}
	b.approvals = next
	return ""
}

func TestCalendarsAnswerAsTheScriptsSay(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			book := open(t, a.Files[0].Data)
			var got strings.Builder
			for line := range strings.Lines(string(a.Files[1].Data)) {
				if strings.HasPrefix(line, " ") {
					continue
				}
				got.WriteString(line)
				if strings.TrimSpace(line) == "changed" { // the next manifest
					kept := book.approvals
					book = open(t, a.Files[2].Data)
					book.approvals, _ = kept.Keep(book.digests)
				} else if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#") {
					got.WriteString(scripted(t, &book, line))
				}
			}
			if *update {
				a.Files[1].Data = []byte(got.String())
				if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(a.Files[1].Data), got.String()); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestCalendarThatCannotBeReadHereIsNotOpened(t *testing.T) {
	for _, c := range []calendar.Calendar{
		{Name: "c", TimeZone: "Mars/Olympus"},
		{Name: "c", TimeZone: "UTC", Windows: []calendar.Window{{Name: "w"}}},
		{Name: "c", TimeZone: "UTC", Freezes: []calendar.Freeze{{Name: "f", Span: calendar.Span{Cron: "0 0 30 2 *"}}}},
		{Name: "c", TimeZone: "UTC", Cutoffs: []calendar.Cutoff{{Name: "x"}}},
		{Name: "c", TimeZone: "UTC", Schedules: []calendar.Schedule{{Name: "s", Cron: "0 0 * * *"}}},
	} {
		if _, err := calendar.Open([]calendar.Calendar{c}); err == nil || !strings.Contains(err.Error(), "calendar c: ") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

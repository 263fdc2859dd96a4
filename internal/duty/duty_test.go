package duty_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"perdure/internal/duty"
)

var update = flag.Bool("update", false, "write testdata anew")

func rosterOf(t *testing.T, text string) duty.Roster {
	t.Helper()
	var r duty.Roster
	if err := yaml.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func bookOf(t *testing.T, texts ...string) *duty.Book {
	t.Helper()
	var rosters []duty.Roster
	for _, text := range texts {
		rosters = append(rosters, rosterOf(t, text))
	}
	b, err := duty.Open(rosters)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRosters goes through scripts: a roster, then what is asked of it. "on DUTY TIME…" says who is on duty, "look TIME" everything, "doubt" and "check" what
// is wrong with it.
func TestRosters(t *testing.T) {
	files, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		t.Run(f.Name(), func(t *testing.T) {
			name := "testdata/" + f.Name()
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			roster, script, ok := strings.Cut(string(text), "\n---\n")
			if !ok {
				t.Fatal("there is no script")
			}
			var out strings.Builder
			out.WriteString(roster + "\n---\n")
			for line := range strings.Lines(script) {
				if !strings.HasPrefix(line, "> ") {
					continue
				}
				out.WriteString(line)
				words := strings.Fields(line[2:])
				fmt.Fprint(&out, carry(t, roster, words))
			}
			if *update {
				if err := os.WriteFile(name, []byte(out.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				text = []byte(out.String())
			}
			if got := out.String(); got != string(text) {
				t.Errorf("it is now\n%s", got)
			}
		})
	}
}

func carry(t *testing.T, roster string, words []string) string {
	t.Helper()
	var out strings.Builder
	instant := func(text string) time.Time {
		at, err := time.Parse("2006-01-02T15:04Z07:00", text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	tell := func(_ int, field, allowed, reason string) {
		fmt.Fprintf(&out, "%s: %s", field, reason)
		if allowed != "" {
			fmt.Fprintf(&out, " (allowed: %s)", allowed)
		}
		out.WriteString("\n")
	}
	switch words[0] {
	case "on":
		b := bookOf(t, roster)
		for _, text := range words[2:] {
			s, ok := b.On(words[1], instant(text))
			if !ok {
				t.Fatalf("there is no duty %s", words[1])
			}
			fmt.Fprintf(&out, "%s %s until %s, then %s\n", text, people(s.People), stamp(s.Until), people(s.Next))
		}
	case "look":
		v := bookOf(t, roster).Look(instant(words[1]), func(person, of string) string {
			if person == "eve" {
				return "eve has not role " + of
			}
			return ""
		})
		for _, d := range v.Duties {
			fmt.Fprintf(&out, "%s of %s: %s until %s\n", d.Name, d.Of, people(d.People), stamp(d.Until))
		}
		for _, f := range v.Findings {
			if f.Gap != nil {
				fmt.Fprintf(&out, "%s: nobody %s\n", f.Duty, f.Gap)
			} else {
				fmt.Fprintf(&out, "%s: from %s %s\n", f.Duty, stamp(f.From), f.Reason)
			}
		}
	case "doubt":
		duty.Doubt([]duty.Roster{rosterOf(t, roster)}, tell)
	case "check":
		duty.Check([]duty.Roster{rosterOf(t, roster)}, duty.Estate{Roles: []string{"commander", "operator"}, Participants: []string{"branch-north"}}, tell)
	default:
		t.Fatalf("%q is not understood", words)
	}
	if out.Len() == 0 {
		return "nothing\n"
	}
	return out.String()
}

func people(list []duty.Person) string {
	if len(list) == 0 {
		return "nobody"
	}
	var names []string
	for _, p := range list {
		name := p.Name
		if p.InPlaceOf != "" {
			name += " for " + p.InPlaceOf
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "ever"
	}
	return t.Format("2006-01-02T15:04Z07:00")
}

func TestWhatIsAskedOfADutyGoesToWhoIsOnDutyAndToAllWhereNobodyIs(t *testing.T) {
	b := bookOf(t, `
name: r
timeZone: Asia/Shanghai
duties:
- name: duty-commander
  of: commander
  shifts:
  - {name: day, people: [ann], cron: "0 8 * * *", duration: 12h}
`)
	day, night := time.Date(2027, 1, 15, 1, 0, 0, 0, time.UTC), time.Date(2027, 1, 15, 13, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		duty, person string
		at           time.Time
		want         bool
	}{
		{"duty-commander", "ann", day, true},
		{"duty-commander", "bob", day, false},
		{"duty-commander", "ann", night, true},
		{"duty-commander", "bob", night, true}, // (U3)
		{"duty-other", "ann", day, false},
		{"duty-other", "ann", night, false},
	} {
		if got := b.Answers(c.duty, c.person, c.at); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	if of, ok := b.Of("duty-commander"); of != "commander" || !ok {
		t.Errorf("it is a duty of %q", of)
	}
	if _, ok := b.Of("commander"); ok {
		t.Error("a role is a duty")
	}
}

func TestDutyIsThereOnceInAnEstate(t *testing.T) {
	one := rosterOf(t, `{name: a, timeZone: UTC, duties: [{name: d, of: commander, shifts: [{name: s, people: [ann], cron: "0 8 * * *", duration: 24h}]}]}`)
	two := one
	two.Name = "b"
	var said []string
	duty.Check([]duty.Roster{one, two}, duty.Estate{Roles: []string{"commander"}}, func(roster int, field, _, reason string) {
		said = append(said, fmt.Sprint(roster, " ", field, ": ", reason))
	})
	if len(said) != 1 || said[0] != `1 duties[0].name: duty "d" is there already, in roster a` {
		t.Errorf("%q", said)
	}
}

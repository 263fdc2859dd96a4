package route

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"perdure/internal/estate"
	"perdure/internal/unit"
)

var update = flag.Bool("update", false, "rewrite what the scripts in testdata expect")

// lines runs a script whose lines read "facts => expectation"; what stands behind => is computed anew and compared.
func lines(t *testing.T, file string, compute func(facts map[string]string) string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		facts, _, ok := strings.Cut(line, "=>")
		if strings.HasPrefix(line, "#") || !ok {
			out.WriteString(line + "\n")
			continue
		}
		m := map[string]string{}
		for f := range strings.FieldsSeq(facts) {
			name, value, _ := strings.Cut(f, "=")
			m[name] = value
		}
		out.WriteString(strings.TrimRight(facts, " ") + " => " + compute(m) + "\n")
	}
	compareOrUpdate(t, file, text, []byte(out.String()))
}

func compareOrUpdate(t *testing.T, file string, want, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestJudgeFollowsTheScript(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	lines(t, "testdata/judge.txt", func(f map[string]string) string {
		s := State{
			State: unit.State(f["state"]), Site: estate.SiteID(f["owner"]), Phase: unit.Phase(f["phase"]),
			Down: f["down"] != "", Conflict: f["conflict"] != "", RefuseAfter: 30 * time.Second,
		}
		if c := f["closed-for"]; c != "" {
			d, err := time.ParseDuration(c)
			if err != nil {
				t.Fatal(err)
			}
			s.Since = now.Add(-d)
		}
		return Judge(&s, estate.SiteID(f["here"]), now).String()
	})
}

func TestAnswersAreWeighedByTheScript(t *testing.T) {
	lines(t, "testdata/weigh.txt", func(f map[string]string) string {
		a := Answer{Outcome: Outcome(f["outcome"]), Again: f["again"] != ""}
		a.Status, _ = strconv.Atoi(f["status"])
		if s := f["stamp"]; s != "" {
			o, err := estate.ParseOwnership(s)
			if err != nil {
				t.Fatal(err)
			}
			a.Ownership, a.Stamped = o, true
		}
		current, err := estate.ParseOwnership(f["current"])
		if err != nil {
			t.Fatal(err)
		}
		return Weigh(&a, current).String()
	})
}

func TestTablesAreCompiledByTheScripts(t *testing.T) {
	scripts(t, "testdata/compile/*.txt", func(a *txtar.Archive) string {
		table, err := Compile(readInput(t, a, "input"))
		if err != nil {
			return "error: " + err.Error() + "\n"
		}
		return dump(table, strings.Fields(file(a, "keys")))
	})
}

func TestInputsAreMergedByTheScripts(t *testing.T) {
	scripts(t, "testdata/merge/*.txt", func(a *txtar.Archive) string {
		return dumpMerged(Merge(readInput(t, a, "old"), readInput(t, a, "next")))
	})
}

func TestInputsOfOtherGatewaysAreBorrowedByTheScripts(t *testing.T) {
	scripts(t, "testdata/borrow/*.txt", func(a *txtar.Archive) string {
		return dumpMerged(Borrow(readInput(t, a, "old"), readInput(t, a, "lent")))
	})
}

func dumpMerged(merged Input, refused []Refusal) string {
	var b strings.Builder
	fmt.Fprintf(&b, "version %d", merged.Version)
	if merged.Incarnation.Counter > 0 {
		fmt.Fprintf(&b, " of %d.%s", merged.Incarnation.Counter, merged.Incarnation.ID)
	}
	b.WriteByte('\n')
	for _, s := range merged.Systems {
		fmt.Fprintf(&b, "system %s\n", s.ID)
	}
	for _, i := range merged.Instances {
		fmt.Fprintf(&b, "instance %s of %s at %s", i.ID, i.System, i.Site)
		if i.Former {
			b.WriteString(" former")
		}
		b.WriteByte('\n')
	}
	for _, o := range merged.Owners {
		fmt.Fprintf(&b, "group %s %s %s at %s revision %d", o.Group, o.Ownership, o.State, o.Site, o.Revision)
		if o.Gone {
			b.WriteString(" gone")
		}
		if !o.Conflicted.IsZero() {
			fmt.Fprintf(&b, " in conflict with %s", o.Conflicted)
		}
		b.WriteByte('\n')
	}
	for _, r := range refused {
		fmt.Fprintf(&b, "refused %s: %s\n", r.Group, r.Reason)
	}
	return b.String()
}

// scripts runs every archive that matches; its last file "want" is what run has to give.
func scripts(t *testing.T, pattern string, run func(a *txtar.Archive) string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts match %s: %v", pattern, err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			a := txtar.Parse(text)
			got := run(a)
			i := slices.IndexFunc(a.Files, func(f txtar.File) bool { return f.Name == "want" })
			if i < 0 {
				a.Files = append(a.Files, txtar.File{Name: "want"})
				i = len(a.Files) - 1
			}
			a.Files[i].Data = []byte(got)
			compareOrUpdate(t, f, text, txtar.Format(a))
		})
	}
}

func file(a *txtar.Archive, name string) string {
	for _, f := range a.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

func readInput(t *testing.T, a *txtar.Archive, name string) Input {
	t.Helper()
	var in Input
	d := json.NewDecoder(bytes.NewReader([]byte(file(a, name))))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return in
}

func dump(t *Table, keys []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "version %d\n", t.Version)
	for _, s := range t.Systems {
		fmt.Fprintf(&b, "system %s slots %d body %d concurrent %d hold %s %d %d refuse after %s attempts %s %s\n", s.ID, s.slots, s.Limits.MaxBody, s.Limits.MaxConcurrent,
			s.Hold.Time, s.Hold.Count, s.Hold.Bytes, s.Hold.RefuseAfter, s.AttemptTimeout, s.UnkeyedTimeout)
		if s.KeyHeader != DefaultKeyHeader {
			fmt.Fprintf(&b, "  idempotency key in %s\n", s.KeyHeader)
		}
		for _, u := range s.Units {
			fmt.Fprintf(&b, "  unit %s group %q ownership %q %s at %q", u.Unit, u.Group, u.Stamp, u.State.State, u.Site)
			for _, i := range u.Instances {
				fmt.Fprintf(&b, " %s=%s%s/%d", i.ID, i.Address, i.Health, i.MaxConns)
			}
			b.WriteByte('\n')
		}
		for _, k := range keys {
			slot, u := s.Lookup([]byte(k))
			fmt.Fprintf(&b, "  key %s slot %d unit %s\n", k, slot, s.Units[u].Unit)
		}
	}
	for _, i := range t.Instances {
		if i.HealthEvery > 0 {
			fmt.Fprintf(&b, "instance %s asked for %s every %s, %s to answer, down after %d\n", i.ID, i.Health, i.HealthEvery, i.HealthTimeout, i.HealthFailures)
		}
	}
	for _, n := range t.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	return b.String()
}

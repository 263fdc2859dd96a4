package lab

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/lab/link"
	"perdure/internal/lab/report"
	"perdure/internal/lab/site"
	"perdure/internal/lab/story"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

func parse(t *testing.T, text string) story.Story {
	t.Helper()
	s, err := story.Parse("t.story", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEveryEstateGetsTheAccountsItsLoadNeeds(t *testing.T) {
	s := parse(t, `
estate two-city
start
load rate 10 accounts 50
load stop
step "x" drill
  load rate 10 accounts 5000
end
check
estate two-city
start
check
`)
	if got, want := accountsOf(s.Statements), []int{5000, defaultAccounts}; !slices.Equal(got, want) {
		t.Errorf("accounts %v, want %v", got, want)
	}
}

// examplePlan is the plan of the example estate.
func examplePlan(t *testing.T) *plan {
	t.Helper()
	set, err := readSet("../../examples/estate")
	if err != nil {
		t.Fatal(err)
	}
	return &plan{estate: "two-city", set: set, accounts: 1000}
}

func TestPolicyChangesTheManifestBeforeTheStart(t *testing.T) {
	p := examplePlan(t)
	if err := p.amend(story.Policy{Unit: "u1", Pin: "c", Failover: "confirm", MinInSync: 1}); err != nil {
		t.Fatal(err)
	}
	s := &p.set.Systems[0]
	for _, m := range s.Group("u1").Members {
		if (m.Role == unit.PinnedRole) != (m.Site == "c") {
			t.Errorf("member %s has the role %s", m.ID, m.Role)
		}
	}
	if s.Policy.Failover != unit.Confirm || s.Policy.MinInSync != 1 {
		t.Errorf("policy %+v", s.Policy)
	}
	for _, wrong := range []story.Policy{{Unit: "u9", MinInSync: -1}, {Unit: "u1", Pin: "z", MinInSync: -1}} {
		if err := p.amend(wrong); errs.KindOf(err) != errs.NotFound {
			t.Errorf("policy %+v: error %v", wrong, err)
		}
	}
}

func TestEveryAccountBelongsToOneUnit(t *testing.T) {
	p := examplePlan(t)
	split, err := p.split()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(split["u1"]) + len(split["u2"]); n != p.accounts || len(split["u1"]) < 300 || len(split["u2"]) < 300 {
		t.Errorf("u1 has %d accounts, u2 %d, of %d", len(split["u1"]), len(split["u2"]), p.accounts)
	}
}

// exampleRunning is the example estate, laid out and not started.
func exampleRunning(t *testing.T) *running {
	t.Helper()
	layout, err := site.Plan(t.TempDir(), t.TempDir(), examplePlan(t).set)
	if err != nil {
		t.Fatal(err)
	}
	return &running{layout: layout}
}

func TestLinksOfStoriesAreDirections(t *testing.T) {
	r := exampleRunning(t)
	for words, want := range map[string]string{
		"a":      "a-all: 1>2 2>1 1>3 3>1",
		"a out":  "a>all: 1>2 1>3",
		"c in":   "all>c: 1>3 2>3",
		"a-b":    "a-b: 1>2 2>1",
		"b>a":    "b>a: 2>1",
		"link b": "b-all: 2>1 1>2 2>3 3>2",
	} {
		s := parse(t, "estate two-city\nstart\nfault cut "+words+"\n")
		l := *s.Statements[2].Action.(story.Fault).Link
		var got strings.Builder
		got.WriteString(linkName(l) + ":")
		for _, p := range r.paths(l) {
			got.WriteString(" " + p.String())
		}
		if got.String() != want {
			t.Errorf("%s: %s, want %s", words, got.String(), want)
		}
	}
	if err := r.known(story.Link{From: "z"}); errs.KindOf(err) != errs.NotFound {
		t.Errorf("error %v", err)
	}
	if !overlap([]link.Path{{From: 1, To: 2}}, []link.Path{{From: 3, To: 2}, {From: 1, To: 2}}) {
		t.Error("links that share a direction do not overlap")
	}
}

func TestPortsOfAServiceAreKnown(t *testing.T) {
	r := exampleRunning(t)
	if got := r.ports("postgres"); !slices.Equal(got, []int{7800, 7801}) {
		t.Errorf("ports %v", got)
	}
	if got := r.ports(""); got != nil {
		t.Errorf("all ports are %v", got)
	}
}

func TestExpectedRefusalIsASuccessAndNothingElse(t *testing.T) {
	no, away := errs.New(errs.Conflict, "a switch is running"), errs.New(errs.Unavailable, "no node answers")
	for _, c := range []struct {
		err  error
		part string
		ok   bool
	}{{nil, "", true}, {no, "", false}, {no, "is running", true}, {no, "other", false}, {nil, "is running", false}, {away, "is running", false}} {
		if got := refused(c.err, c.part); (got == nil) != c.ok {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestLoadOfAnEstateThatRunsIsStoppedAndBegun(t *testing.T) {
	for text, loaded := range map[string]bool{"load stop": true, "load rate 100": false} {
		if s, err := statements(text, loaded); err != nil || len(s.Statements) != 1 || s.Statements[0].Text != text {
			t.Errorf("%s, with load %v: %+v, %v", text, loaded, s.Statements, err)
		}
		if _, err := statements(text, !loaded); errs.KindOf(err) != errs.Invalid || strings.Contains(err.Error(), "statement:") {
			t.Errorf("%s, with load %v: %v", text, !loaded, err)
		}
	}
}

func TestDivergenceReportNamesWhoLeftWhat(t *testing.T) {
	m, left, err := reported(wire.Divergence{ID: "u1-a-2.fe615278.7"})
	if err != nil || m != "u1-a" || left.Epoch != 7 || left.Incarnation != (estate.Incarnation{Counter: 2, ID: "fe615278"}) {
		t.Errorf("%s %v %v", m, left, err)
	}
	for _, wrong := range []string{"", "u1", "u1-a-7"} {
		if _, _, err := reported(wire.Divergence{ID: wrong}); err == nil {
			t.Errorf("%q was read", wrong)
		}
	}
}

func TestFormerOwnerLastLeftItsNewestOwnership(t *testing.T) {
	o := func(e estate.Epoch) estate.Ownership {
		return estate.Ownership{Incarnation: estate.Incarnation{Counter: 1, ID: "x"}, Epoch: e}
	}
	rec := unit.Record{Past: []unit.Past{
		{Ownership: o(1), Owner: estate.Life{Member: "u1-a"}}, {Ownership: o(2), Owner: estate.Life{Member: "u1-b"}}, {Ownership: o(3), Owner: estate.Life{Member: "u1-a"}},
	}}
	if left, ok := leftBy(rec, "u1-a"); !ok || left != o(3) {
		t.Errorf("left %v", left)
	}
	if _, ok := leftBy(rec, "u1-c"); ok {
		t.Error("u1-c never owned")
	}
}

func TestFormerOwnersDirectoryIsTold(t *testing.T) {
	dir := t.TempDir()
	if former(dir) {
		t.Error("an empty directory was an owner's")
	}
	for _, file := range []string{"PG_VERSION", "standby.signal"} {
		if err := os.WriteFile(filepath.Join(dir, file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, want := former(dir), file == "PG_VERSION"; got != want {
			t.Errorf("with %s: %v", file, got)
		}
	}
}

func TestServerIsReachedByItsLockFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := connString(dir); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("error %v", err)
	}
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "postmaster.pid"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("12\n/d\n1700000000\n")
	if _, err := connString(dir); err == nil {
		t.Error("a half-written lock file was read")
	}
	write("12\n/d\n1700000000\n7800\n/a b/run\n\n 123 4\nready\n")
	got, err := connString(dir)
	if err != nil || !strings.HasPrefix(got, "host='/a b/run' port=7800 ") {
		t.Errorf("%s, %v", got, err)
	}
}

func TestDirectoryBehindAClosedDoorIsNotReached(t *testing.T) {
	door := filepath.Join(t.TempDir(), "door")
	inside := filepath.Join(door, "inside")
	if err := os.MkdirAll(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	nobody := &syscall.Credential{Uid: 65534, Gid: 65534}
	for p := door; len(p) > 1; p = filepath.Dir(p) {
		if info, err := os.Stat(p); err == nil && info.Mode().Perm()&1 == 0 {
			_ = os.Chmod(p, info.Mode().Perm()|1)
		}
	}
	if !reaches(nobody, inside) {
		t.Fatalf("%s is not reached by anybody", inside)
	}
	if err := os.Chmod(door, 0o700); err != nil {
		t.Fatal(err)
	}
	if reaches(nobody, inside) {
		t.Error("a closed door was passed")
	}
}

// carriedOut carries out a story with programs built of this tree, and gives what it measured and the folder that it leaves.
func carriedOut(t *testing.T, text string) (summary report.Summary, dir string) {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts a whole estate")
	}
	bin := t.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for name, pkg := range map[string]string{"perdure": "./cmd/perdure", "corebank": "./examples/corebank"} {
		build := exec.Command("go", "build", "-o", filepath.Join(bin, name), pkg)
		build.Dir = root
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	t.Chdir(root)
	dir = filepath.Join(t.TempDir(), "lab")
	file := filepath.Join(t.TempDir(), "end-to-end.story")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var shown bytes.Buffer
	summary, err = Run(t.Context(), file, Options{Dir: dir, Binary: filepath.Join(bin, "perdure"), Out: &shown, Seed: 7})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("shown:\n%s", shown.String())
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !summary.MoneyConserved || summary.OldEpochWrites != 0 {
		t.Errorf("summary %+v", summary)
	}
	for _, step := range summary.Steps {
		if step.Lost != 0 || step.Doubled != 0 || step.Acknowledged == 0 {
			t.Errorf("step %+v", step)
		}
	}
	return summary, dir
}

// TestEmergencyCompletesThoughThePrimarySiteAndItsStoreAreCutOff: a unit that people confirm; its site lives on, the store's member in it too, and nobody
// reaches either. One command at another site makes the unit current there, and the run and its proof need nothing of what is cut off.
func TestEmergencyCompletesThoughThePrimarySiteAndItsStoreAreCutOff(t *testing.T) {
	s, dir := carriedOut(t, `
estate two-city
policy u1 failover confirm
start
load rate 60 accounts 400 via b,c
wait gap closed 60s
step "cut off" failover switches u1 1 switches u2 0
  fault cut a both
  pass 4s
  switch u1 to b mode emergency as ann at b
  wait u1 at b 30s
  wait gap closed 30s
  evidence at b
  heal a
  wait divergence u1 listed 120s
  wait u1 in-sync 120s
  wait u2 in-sync 120s
end
check
`)
	if len(s.Steps) != 1 {
		t.Errorf("summary %+v", s)
	}
	if packs, err := filepath.Glob(filepath.Join(dir, evidenceDir, "*.pack")); err != nil || len(packs) != 1 {
		t.Errorf("packs %v, %v", packs, err)
	}
}

// TestStoryOnARealEstateKeepsItsPromisesAndLeavesNothing is the lab's own end-to-end test: how long things take is not looked at.
func TestStoryOnARealEstateKeepsItsPromisesAndLeavesNothing(t *testing.T) {
	s, dir := carriedOut(t, `
estate two-city
start
load rate 60 accounts 400 via a,b,c
wait gap closed 60s
step "takeover" takeover switches u1 1 switches u2 0
  switch u1 to b
  switch u1 to c refused "cannot switch u1"
  switch u9 to b refused "u9"
  wait u1 at b in-sync 120s
  wait gap closed 60s
end
step "killed" failover units u2
  fault kill database u2
  wait u2 at a 60s
  wait gap closed 60s
  wait u2 in-sync 120s
end
check
`)
	if len(s.Steps) != 2 {
		t.Errorf("summary %+v", s)
	}
	for _, kept := range []string{summaryFile, detailsFile, reportFile, "history-two-city-1.jsonl"} {
		if _, err := os.Stat(filepath.Join(dir, kept)); err != nil {
			t.Error(err)
		}
	}
	for _, gone := range []string{"data", "people", "ca.key", "app.password", "lab.json", "lock", "a", "processes"} {
		if _, err := os.Stat(filepath.Join(dir, gone)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left behind: %v", gone, err)
		}
	}
	running, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, cwd := range running {
		if at, err := os.Readlink(cwd); err == nil && strings.HasPrefix(at, dir) {
			t.Errorf("%s still works in %s", cwd, at)
		}
	}
}

package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// clone is a folder with the scripts of the tree and with a program in the place of perdure.
func clone(t *testing.T, perdure string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{"bench", "stories"} {
		text, err := os.ReadFile(filepath.Join("../../scripts", name))
		if err != nil {
			t.Fatal(err)
		}
		program(t, filepath.Join(dir, "scripts", name), string(text))
	}
	program(t, filepath.Join(dir, "bin", "perdure"), perdure)
	return dir
}

func program(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
}

// script runs one and gives what it said, and whether it ended well.
func script(t *testing.T, env []string, path string, args ...string) (said string, ok bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), env...)
	text, err := cmd.CombinedOutput()
	return string(text), err == nil
}

// standInProgram fails the stories named in BROKEN and writes down all that were run.
const standInProgram = `#!/bin/sh
case "$*" in
version*) echo "{\"revision\": \"$REVISION\"}" ;;
"lab run"*)
	story=$(basename "${6:-$5}" .story)
	echo "$story" >>ran
	case " $BROKEN " in *" $story "*) exit 3 ;; esac
	;;
"lab stats"*) echo "figures of $story" ;;
esac
`

func TestBenchFailsWhereAPromiseWasBrokenAndMeasuresTheRest(t *testing.T) {
	dir := clone(t, standInProgram)
	bench := filepath.Join(dir, "scripts", "bench")
	if said, ok := script(t, []string{"BROKEN="}, bench, "takeover", "database"); !ok {
		t.Errorf("it failed: %s", said)
	}
	said, ok := script(t, []string{"BROKEN=takeover"}, bench, "takeover", "database")
	if ok || !strings.Contains(said, "broke a promise: takeover") || strings.Count(said, "figures of") != 2 {
		t.Errorf("it ended well: %v, and said: %s", ok, said)
	}
}

func TestStoriesThatFailedAreToldAgainAndThoseThatPassedAreNot(t *testing.T) {
	dir := clone(t, standInProgram)
	stories := filepath.Join(dir, "scripts", "stories")
	ran := func() string {
		text, err := os.ReadFile(filepath.Join(dir, "ran"))
		if err != nil {
			return ""
		}
		if err := os.Remove(filepath.Join(dir, "ran")); err != nil {
			t.Fatal(err)
		}
		return strings.Join(strings.Fields(string(text)), " ")
	}
	for _, run := range []struct {
		revision, broken, want string
		ok                     bool
	}{
		{"1", "full-disk", "store-trouble full-disk one-way confirm living-owner min-in-sync lost-city cold-restore two-owners starved generated drill drill-broken", false},
		{"1", "full-disk", "full-disk", false},
		{"1", "", "full-disk", true},
		{"1", "", "", true},
		{"2", "", "store-trouble full-disk one-way confirm living-owner min-in-sync lost-city cold-restore two-owners starved generated drill drill-broken", true},
	} {
		said, ok := script(t, []string{"REVISION=" + run.revision, "BROKEN=" + run.broken}, stories)
		if got := ran(); ok != run.ok || got != run.want {
			t.Errorf("%+v: it ran %q, ended well: %v\n%s", run, got, ok, said)
		}
	}
}

func TestServerThatIsTooOldAfterItsInstallationIsRefused(t *testing.T) {
	for archive, want := range map[string]bool{"15.8": false, "15.13": true, "15.18": true} {
		dir := t.TempDir()
		version := filepath.Join(dir, "version")
		if err := os.WriteFile(version, []byte("15.3"), 0o600); err != nil {
			t.Fatal(err)
		}
		program(t, filepath.Join(dir, "pg", "postgres"), "#!/bin/sh\necho \"postgres (PostgreSQL) $(cat "+version+") (Debian)\"\n")
		program(t, filepath.Join(dir, "pg", "initdb"), "#!/bin/sh\n")
		program(t, filepath.Join(dir, "path", "apt-get"), "#!/bin/sh\necho "+archive+" >"+version+"\n")
		program(t, filepath.Join(dir, "path", "id"), "#!/bin/sh\necho 0\n")
		env := []string{"PATH=" + filepath.Join(dir, "path") + ":" + os.Getenv("PATH"), "PERDURE_PG_BINDIR=" + filepath.Join(dir, "pg")}
		said, ok := script(t, env, "../../scripts/need", "postgresql")
		if ok != want || !ok && !strings.Contains(said, "PostgreSQL "+archive+" in") {
			t.Errorf("the archive has %s: it ended well: %v\n%s", archive, ok, said)
		}
	}
}

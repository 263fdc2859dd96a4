package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestApplyShowsTheDiffAndAppliesWhatWasShown(t *testing.T) {
	f := startFake(t)
	f.diff = []string{"+ System corebank", "~ Site a: title: x -> y"}
	r := run(t.Context(), call{env: f.env(), ask: true, in: "y\n", args: []string{"apply", "../../examples/estate"}})
	if r.code != 0 || r.out != "+ System corebank\n~ Site a: title: x -> y\napplied as revision 43\n" {
		t.Errorf("exit %d:\n%s%s", r.code, r.out, r.err)
	}
	if len(f.applied) != 1 || !strings.HasSuffix(f.applied[0], "@42") || !strings.HasPrefix(f.applied[0], "apiVersion: perdure/v1\nkind: Calendar\nname: operations\n") {
		t.Errorf("applied %q", f.applied)
	}
}

func TestApplyWithoutAWordAppliesNothing(t *testing.T) {
	f := startFake(t)
	f.diff = []string{"+ System corebank"}
	for _, c := range []call{
		{env: f.env(), ask: true, in: "\n", args: []string{"apply", "../../examples/estate"}},
		{env: f.env(), args: []string{"apply", "../../examples/estate"}},
		{env: f.env(), args: []string{"apply", "--dry-run", "../../examples/estate"}},
	} {
		run(t.Context(), c)
	}
	if len(f.applied) > 0 {
		t.Errorf("applied %q", f.applied)
	}
}

func TestDiffComparesWithWhatIsApplied(t *testing.T) {
	f := startFake(t)
	r := run(t.Context(), call{env: f.env(), args: []string{"manifest", "diff", "../../examples/estate"}})
	if r.code != 0 || r.out != "nothing to change\n" {
		t.Errorf("exit %d:\n%s%s", r.code, r.out, r.err)
	}
}

func TestExportGivesBackWhatIsApplied(t *testing.T) {
	f := startFake(t)
	r := run(t.Context(), call{env: f.env(), args: []string{"manifest", "export"}})
	if r.code != 0 || r.out != f.manifest.Text {
		t.Errorf("exit %d:\n%s%s", r.code, r.out, r.err)
	}
}

func TestTokenIsShownOnceOrWrittenToANewFile(t *testing.T) {
	f := startFake(t)
	r := run(t.Context(), call{env: f.env(), args: []string{"token", "create", "dee", "--role", "commander"}})
	if r.code != 0 || r.out != "pd_dee_secret\n" {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	file := filepath.Join(t.TempDir(), "dee.token")
	r = run(t.Context(), call{env: f.env(), args: []string{"token", "create", "dee", "--role", "commander", "--out", file}})
	if r.code != 0 || strings.Contains(r.out+r.err, "pd_dee_secret") {
		t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
	}
	text, err := os.ReadFile(file)
	if err != nil || string(text) != "pd_dee_secret\n" {
		t.Errorf("file: %q %v", text, err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v %v", info.Mode(), err)
	}
	r = run(t.Context(), call{env: f.env(), args: []string{"token", "create", "dee", "--role", "commander", "--out", file}})
	if r.code != 2 {
		t.Errorf("an existing file was written over: exit %d", r.code)
	}
	if r = run(t.Context(), call{env: f.env(), args: []string{"token", "create", "dee", "--role", "boss"}}); r.code != 2 || !strings.Contains(r.err, "viewer, driller, operator") {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
}

func TestTokensAndEventsAreListed(t *testing.T) {
	f := startFake(t)
	r := run(t.Context(), call{env: f.env(), args: []string{"token", "list"}})
	golden(t, "tokens-en.golden", r.out)
	r = run(t.Context(), call{env: f.env(), args: []string{"events"}})
	golden(t, "events.golden", r.out)
	if r = run(t.Context(), call{env: f.env(), args: []string{"token", "revoke", "t9"}}); r.code != 4 {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
	if r = run(t.Context(), call{env: f.env(), args: []string{"token", "revoke", "t1"}}); r.code != 0 {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
}

func TestSnapshotNeverReplacesAFile(t *testing.T) {
	f := startFake(t)
	file := filepath.Join(t.TempDir(), "store.snapshot")
	r := run(t.Context(), call{env: f.env(), args: []string{"node", "snapshot", file}})
	text, err := os.ReadFile(file)
	if r.code != 0 || err != nil || string(text) != "the store" {
		t.Errorf("exit %d: %q %v %s", r.code, text, err, r.err)
	}
	if r = run(t.Context(), call{env: f.env(), args: []string{"node", "snapshot", file}}); r.code != 2 {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
	left, err := filepath.Glob(file + ".*")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestColdNodeActsOnAPersonsWord(t *testing.T) {
	f := startFake(t)
	f.estate.Standing.Cold = true
	r := run(t.Context(), call{env: f.env(), args: []string{"node", "confirm", "--yes"}})
	if r.code != 2 {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
	r = run(t.Context(), call{env: f.env(), args: []string{"node", "confirm", "--yes", "--reason", "all sites were called"}})
	if r.code != 0 || f.estate.Standing.Cold {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
}

func TestContextFileIsReadRelativeToItself(t *testing.T) {
	f := startFake(t)
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("ann.token", token+"\n")
	write("operator.yaml", "endpoints: ["+f.url+"]\ntoken: ann.token\n")
	r := run(t.Context(), call{args: []string{"status", "--context", filepath.Join(dir, "operator.yaml")}})
	if r.code != 0 {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
	write("wrong.yaml", "endpoint: "+f.url+"\n")
	r = run(t.Context(), call{args: []string{"status", "--context", filepath.Join(dir, "wrong.yaml")}})
	if r.code != 2 || !strings.Contains(r.err, "allowed fields: endpoints, ca, token, hosts") {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
}

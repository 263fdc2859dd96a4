package lab_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"perdure/internal/errs"
	"perdure/internal/lab"
)

func TestFolderWithOtherFilesIsNeverEmptied(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"data", "people"} { // as a lab's own are called
		if err := os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bank := filepath.Join(t.TempDir(), "corebank")
	if err := os.WriteFile(bank, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	storyFile := filepath.Join(t.TempDir(), "x.story")
	if err := os.WriteFile(storyFile, []byte("estate two-city\nstart\nload rate 1\ncheck\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := lab.Options{Dir: dir, Bank: bank}
	_, run := lab.Run(t.Context(), storyFile, o)
	_, down := lab.Down(t.Context(), dir)
	for what, err := range map[string]error{
		"run": run, "down": down, "serve": lab.Serve(t.Context(), "two-city", 0, o),
		"up": lab.Up(t.Context(), o, func(*os.File) *exec.Cmd { return exec.Command("false") }),
	} {
		if errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), "--dir") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 2 {
		t.Errorf("left are %v, %v", left, err)
	}
}

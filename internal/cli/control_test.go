package cli_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestSnapshotIsNotInTheWayOfWhatAKilledOneLeft(t *testing.T) {
	f := startFake(t)
	dir := t.TempDir()
	target := filepath.Join(dir, "store.snapshot")
	left, used := filepath.Join(dir, ".store.snapshot.part-1"), filepath.Join(dir, ".store.snapshot.part-2")
	other := filepath.Join(dir, "store.snapshot.part") // somebody's file
	for _, name := range []string{left, used, other} {
		if err := os.WriteFile(name, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	running, err := os.Open(used)
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	if err := syscall.Flock(int(running.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if r := run(t.Context(), call{env: f.env(), args: []string{"node", "snapshot", target}}); r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.err)
	}
	if text, err := os.ReadFile(target); err != nil || string(text) != "the store" {
		t.Errorf("the snapshot is %q, %v", text, err)
	}
	var names []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if len(names) != 3 || names[0] != filepath.Base(used) || names[1] != "store.snapshot" || names[2] != filepath.Base(other) {
		t.Errorf("in the folder: %v; what is in use and other files stay, what was left goes", names)
	}
}

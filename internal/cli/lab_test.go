package cli_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"perdure/internal/lab/checker"
	"perdure/internal/lab/report"
)

// standIn answers like a lab that is kept running, on the socket in its folder.
func standIn(t *testing.T) (dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "lab") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	listener, err := net.Listen("unix", filepath.Join(dir, "control"))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /tell", func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		if string(text) == "heal b" {
			fmt.Fprintln(w, "00:00  ✗ heal b\nerror: there is no such fault to heal")
			return
		}
		fmt.Fprintf(w, "00:00  ✓ %s  1ms\n", text)
	})
	mux.HandleFunc("POST /status", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, `{"estate": "two-city"}`) })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
	return dir
}

// aRun leaves what a run leaves for programs.
func aRun(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s := report.Summarise(checker.Verdict{Pass: true, MoneyConserved: true, Steps: []checker.Step{{Name: "killed #1", Gap: time.Second}}})
	if err := report.WriteSummary(filepath.Join(dir, "summary.json"), s); err != nil {
		t.Fatal(err)
	}
	if err := report.WriteDetails(filepath.Join(dir, "details.json"), s.Details); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestJSONOfTheLabStandsAloneOnStandardOutput(t *testing.T) {
	none, lab, ran := t.TempDir(), standIn(t), aRun(t)
	results := filepath.Join(t.TempDir(), "matrix.json")
	for _, c := range []struct {
		dir, command string
		code         int
		want         string // in the JSON
		progress     string // on standard error
	}{
		{none, "faults", 0, `"fault starve 4"`, ""},
		{none, "faults --matrix --only relay --results " + results, 0, `"crash"`, "SKIP crash of the relay"},
		{none, "faults --matrix --only nothing --results " + results, 2, "", "no cell"},
		{none, "faults --sample --seconds 1", 2, "", "cannot carry out a sample"},
		{none, "faults --seeded nothing", 2, "", "nothing"},
		{none, "down", 0, `"ended"`, ""},
		{none, "status", 5, "", "no lab is up"},
		{none, "do heal", 5, "", "no lab is up"},
		{none, "run --story nowhere.story", 2, "", "cannot read the story"},
		{none, "stats", 4, "", "no run in"},
		{lab, "do heal", 0, `✓ heal  1ms`, "✓ heal"},
		{lab, "do heal b", 3, "", "there is no such fault to heal"},
		{lab, "status", 0, `"two-city"`, ""},
		{ran, "stats", 0, `"killed"`, ""},
	} {
		r := run(t.Context(), call{tty: true, args: append([]string{"--json", "lab", "--dir", c.dir}, strings.Fields(c.command)...)})
		if r.code != c.code || !strings.Contains(r.err, c.progress) {
			t.Errorf("lab %s: %d, want %d; standard error: %s", c.command, r.code, c.code, r.err)
		}
		if c.want == "" && r.out != "" || c.want != "" && (!json.Valid([]byte(r.out)) || !strings.Contains(r.out, c.want)) {
			t.Errorf("lab %s: standard output is no JSON with %q: %q", c.command, c.want, r.out)
		}
	}
}

func TestMatrixIsJudgedByAllOfItsResults(t *testing.T) {
	version := run(t.Context(), call{args: []string{"version", "--json"}})
	var v struct{ Version, Revision, Modified, Program string }
	if err := json.Unmarshal([]byte(version.out), &v); err != nil {
		t.Fatal(err)
	}
	revision := v.Version + " " + v.Revision
	if v.Modified == "true" {
		revision += " (modified)"
	}
	if v.Program != "" {
		revision += " " + v.Program
	}
	file := filepath.Join(t.TempDir(), "matrix.json")
	resume := func(of string) result {
		text := fmt.Sprintf(`{"revision": %q, "results": [{"fault": "crash", "part": "primary", "passed": false}, {"fault": "crash", "part": "gateway", "passed": true}]}`, of)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return run(t.Context(), call{args: []string{"lab", "--dir", t.TempDir(), "faults", "--matrix", "--only", "relay", "--results", file}})
	}
	if r := resume(revision); r.code != 3 || !strings.Contains(r.out, "1 passed, 1 failed") || !strings.Contains(r.err, "crash of the primary") {
		t.Errorf("a run after one that failed: %d\n%s%s", r.code, r.out, r.err)
	}
	if r := resume("0.0.1 abc"); r.code != 0 || !strings.Contains(r.out, "0 passed, 0 failed") || !strings.Contains(r.out, "are of 0.0.1 abc, this is "+revision+": beginning anew") {
		t.Errorf("a run of another revision: %d\n%s%s", r.code, r.out, r.err)
	}
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), `"revision": "`+revision+`"`) || strings.Contains(string(text), `"primary"`) {
		t.Errorf("kept is %s, %v", text, err)
	}
}

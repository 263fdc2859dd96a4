package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTokenFilesWithoutATokenAreNamed(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ text, want string }{
		"empty":  {"", "is empty: it holds no token"},
		"binary": {"\x00\xff\x01\x80", "holds no token"},
		"prose":  {"this is\nnot a token\n", "holds no token"},
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := run(t.Context(), call{args: []string{"--endpoint", "https://127.0.0.1:1", "--token-file", file, "status"}})
		if r.code != 6 || !strings.Contains(r.err, file) || !strings.Contains(r.err, c.want) || strings.Count(r.err, "\n") != 1 {
			t.Errorf("%s: %d %s", name, r.code, r.err)
		}
	}
}

func TestTimeThatIsNoneIsAWrongCall(t *testing.T) {
	for _, timeout := range []string{"0", "0s", "-1s"} {
		for _, command := range []string{"status", "version"} {
			if r := run(t.Context(), call{args: []string{"--timeout", timeout, command}}); r.code != 2 || !strings.Contains(r.err, "--timeout") {
				t.Errorf("--timeout %s %s: %d %s", timeout, command, r.code, r.err)
			}
		}
	}
}

func TestDatabaseThatIsNotThereIsToldInOneLine(t *testing.T) {
	for target, want := range map[string]string{
		"host=" + t.TempDir() + " dbname=bank user=u": "no server has its socket there",
		"host=127.0.0.1 port=1 dbname=bank user=u":    "connection refused",
	} {
		r := run(t.Context(), call{args: []string{"guard", "verify", "--database", target}})
		if r.code != 5 || !strings.Contains(r.err, want) || strings.Count(r.err, "\n") != 1 {
			t.Errorf("%s: %d %s", target, r.code, r.err)
		}
	}
}

func TestWrongCallsOfTheLabAreToldInOneLine(t *testing.T) {
	dir := t.TempDir()
	for command, want := range map[string]struct {
		code int
		said string
	}{
		"up --load -1":    {2, "--load -1"},
		"serve --load -1": {2, "--load -1"},
		"status":          {5, "no lab is up in " + dir},
		"do heal":         {5, "no lab is up in " + dir},
		"run":             {2, "--story FILE is missing"},
	} {
		r := run(t.Context(), call{args: append([]string{"lab", "--dir", dir}, strings.Fields(command)...)})
		if r.code != want.code || !strings.Contains(r.err, want.said) || strings.Count(r.err, "\n") != 1 {
			t.Errorf("lab %s: %d %s", command, r.code, r.err)
		}
	}
}

package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const unitFolder = "../../deploy/systemd"

// unitFile gives the settings of a unit by section; a setting may stand more than once.
func unitFile(t *testing.T, path string) map[string]map[string][]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]map[string][]string{}
	section := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[' && line[len(line)-1] == ']':
			section = line[1 : len(line)-1]
			if sections[section] != nil {
				t.Errorf("%s: section %s stands twice", path, section)
			}
			sections[section] = map[string][]string{}
		default:
			name, value, ok := strings.Cut(line, "=")
			if !ok || section == "" {
				t.Fatalf("%s: %q is no setting", path, line)
			}
			sections[section][name] = append(sections[section][name], value)
		}
	}
	return sections
}

func TestSystemdUnitsStartCommandsThatExist(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(unitFolder, "*.service"))
	if err != nil || len(files) != 3 {
		t.Fatalf("%v, %v: want the units of node, agent and gateway", files, err)
	}
	for _, path := range files {
		u := unitFile(t, path)
		var names []string
		for name := range u {
			names = append(names, name)
		}
		slices.Sort(names)
		if !slices.Equal(names, []string{"Install", "Service", "Unit"}) {
			t.Errorf("%s: sections %v", path, names)
		}
		for section, settings := range u {
			for name, values := range settings {
				if len(values) != 1 {
					t.Errorf("%s: %s.%s stands %d times", path, section, name, len(values))
				}
			}
		}
		service := func(name string) string { return strings.Join(u["Service"][name], " ") }
		words := strings.Fields(service("ExecStart"))
		if len(words) < 2 || words[0] != "/usr/bin/perdure" {
			t.Errorf("%s: ExecStart %v", path, words)
			continue
		}
		s := &session{Streams: Streams{Getenv: func(string) string { return "" }}}
		command, rest, err := s.root().Find(words[1:])
		if err != nil || command.Name() != words[1] {
			t.Errorf("%s: there is no command %v: %v", path, words[1:], err)
			continue
		}
		for _, word := range rest {
			if name, ok := strings.CutPrefix(word, "--"); ok && command.Flags().Lookup(name) == nil {
				t.Errorf("%s: perdure %s has no flag --%s", path, command.Name(), name)
			}
		}
		for name, want := range map[string]string{
			"Restart": "always", "Type": "exec", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "SystemCallFilter": "@system-service",
		} {
			if service(name) != want {
				t.Errorf("%s: %s=%s, want %s", path, name, service(name), want)
			}
		}
		if service("User") == "" || service("User") == "root" {
			t.Errorf("%s: runs as %q", path, service("User"))
		}
		if u["Unit"]["StartLimitIntervalSec"] == nil {
			t.Errorf("%s: gives up after a few restarts", path)
		}
		killMode, agent := service("KillMode"), strings.HasPrefix(filepath.Base(path), "perdure-agent@")
		if agent && (killMode != "process" || service("OOMPolicy") != "continue" || !strings.Contains(service("ExecStart"), "%i")) {
			t.Errorf("%s: KillMode=%s, OOMPolicy=%s: the database would end with its agent", path, killMode, service("OOMPolicy"))
		}
		if !agent && killMode != "" {
			t.Errorf("%s: KillMode=%s leaves processes behind", path, killMode)
		}
	}
}

// systemd's own judgement, where it is installed. The program stands in for the product's, which need not be.
func TestSystemdFindsNothingWrongWithTheUnits(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	files, err := filepath.Glob(filepath.Join(unitFolder, "*.service"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	args := []string{"verify", "--man=no"}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, strings.Replace(filepath.Base(path), "@.", "@u1-a.", 1))
		if err := os.WriteFile(name, []byte(strings.ReplaceAll(string(text), "/usr/bin/perdure", "/bin/true")), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, name)
	}
	if out, err := exec.CommandContext(t.Context(), analyze, args...).CombinedOutput(); err != nil || strings.Contains(string(out), dir) { // it only tells of names that it does not know
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

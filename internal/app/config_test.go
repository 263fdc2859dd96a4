package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"perdure/internal/app"
)

func TestConfigurationErrorsNameLineFieldAndWhatIsAllowed(t *testing.T) {
	for text, want := range map[string]string{
		"name: u1-a\nmember: x\n":           `:2: there is no field "member" here; allowed: name, site, dataDir, hosts, tls, nodes, logLevel, group, listen, postgres`,
		"postgres:\n  prot: 3\n":            `:2: there is no field "prot" here; allowed: bin, directory, user, listen, port,`,
		"nodes:\n  - name: a\n    adr: b\n": `:3: there is no field "adr" here; allowed: name, site, url`,
		"tls: {cert: a, kay: b}\n":          `:1: there is no field "kay" here; allowed: ca, cert, key`,
		"postgres:\n  port: many\n":         `:2: cannot unmarshal`,
		"a: [\n":                            `:1: did not find`,
		"":                                  `is empty`,
	} {
		file := filepath.Join(t.TempDir(), "agent.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var config app.AgentConfig
		if err := app.LoadConfig(file, &config); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%q: %v; want %s", text, err, want)
		}
	}
}

package app_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
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

// The reference is complete, and its examples are taken.
func TestReferenceOfTheConfigurationIsComplete(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	configs := map[string]any{"node": &app.NodeConfig{}, "agent": &app.AgentConfig{}, "gateway": &app.GatewayConfig{}}
	for _, m := range regexp.MustCompile("(?s)```yaml\n# (\\w+)\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		config := configs[m[1]]
		file := filepath.Join(t.TempDir(), m[1]+".yaml")
		if err := os.WriteFile(file, []byte(m[2]), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := app.LoadConfig(file, config); err != nil {
			t.Errorf("the example of the %s: %v", m[1], err)
		}
		for _, field := range fieldsOf(reflect.TypeOf(config).Elem(), "") {
			if !strings.Contains(string(text), "`"+field+"`") {
				t.Errorf("%s of the %s is not explained", field, m[1])
			}
		}
		delete(configs, m[1])
	}
	if len(configs) > 0 {
		t.Errorf("no example of %v", configs)
	}
}

func fieldsOf(t reflect.Type, within string) []string {
	var names []string
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case options == "inline":
			names = append(names, fieldsOf(f.Type, within)...)
		case f.Type.Kind() == reflect.Struct && f.Name != "ExternalTLS":
			names = append(names, fieldsOf(f.Type, name+".")...)
		default:
			names = append(names, within+name)
		}
	}
	return names
}

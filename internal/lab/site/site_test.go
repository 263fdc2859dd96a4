package site

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"perdure/internal/app"
	"perdure/internal/hosts"
	"perdure/internal/manifest"
	"perdure/internal/pki"
)

// example lays out the example estate.
func example(t *testing.T) *Layout {
	t.Helper()
	var files []manifest.File
	names, err := filepath.Glob("../../../examples/estate/*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatal("the example estate is missing", err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, manifest.File{Name: name, Text: text})
	}
	set, err := manifest.Parse(files...)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	l, err := Plan(dir, filepath.Join(dir, "data"), set)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestExampleEstateHasItsProcesses(t *testing.T) {
	l := example(t)
	var names []string
	for _, p := range l.Processes {
		names = append(names, p.Name)
	}
	want := "agent-u1-a agent-u2-a corebank-a corebank-a2 gateway-a node-a agent-u1-b agent-u2-b corebank-b corebank-b2 gateway-b node-b agent-u1-c agent-u2-c corebank-c gateway-c node-c"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("processes\n%s, want\n%s", got, want)
	}
	if got := l.Ports(Postgres); !slices.Equal(got, []int{7800, 7801}) {
		t.Errorf("PostgreSQL's ports %v", got)
	}
}

func TestConfigurationsAreReadByTheirProcesses(t *testing.T) {
	l := example(t)
	if err := l.Write(Options{Now: time.Now(), Settings: map[string]string{"shared_buffers": "32MB"}}); err != nil {
		t.Fatal(err)
	}
	for _, p := range l.Processes {
		var config any
		var common *app.Common
		switch p.Kind {
		case Node:
			c := &app.NodeConfig{}
			config, common = c, &c.Common
		case Gateway:
			c := &app.GatewayConfig{}
			config, common = c, &c.Common
		case Agent:
			c := &app.AgentConfig{}
			config, common = c, &c.Common
		case App, Postgres:
			continue
		}
		if err := app.LoadConfig(p.Config, config); err != nil {
			t.Errorf("%s: %v", p.Name, err)
			continue
		}
		table, err := hosts.Load(common.Hosts)
		if err != nil {
			t.Fatal(err)
		}
		if len(common.Nodes) != 3 || common.Nodes[0].Site != string(p.Site) || common.Nodes[2].Site != map[string]string{"a": "c", "b": "c"}[string(p.Site)] && p.Site != "c" {
			t.Errorf("%s: nodes %+v, want the nearest first", p.Name, common.Nodes)
		}
		for _, host := range table.Names() {
			addrs, _ := table.Lookup(host)
			ip := addrs[0].As4()
			if int(ip[1]) != l.Number(p.Site) || int(ip[2]) != l.hosts[host] {
				t.Errorf("%s sees %s at %v", p.Name, host, addrs[0])
			}
		}
		files := pki.Files{CA: common.TLS.CA, Cert: common.TLS.Cert, Key: common.TLS.Key}
		if _, err := files.ServerTLS(true); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		if err := files.CheckNode(); (err == nil) != (p.Kind == Node) {
			t.Errorf("%s: as a node: %v", p.Name, err)
		}
	}
	var agent app.AgentConfig
	p, _ := l.Process("agent-u2-b")
	if err := app.LoadConfig(p.Config, &agent); err != nil {
		t.Fatal(err)
	}
	if agent.Name != "u2-b" || agent.Group != "u2" || agent.Listen != "127.2.2.1:7701" || agent.Postgres.Listen != "127.2.2.1" || agent.Postgres.Port != 7801 {
		t.Errorf("configuration %+v", agent)
	}
	if dir, ok := l.DataDir("u2-b"); !ok || dir != filepath.Join(agent.DataDir, "data") {
		t.Errorf("data directory %s", dir)
	}
	for _, secret := range []string{"ca.key", "app.password", "replication-u1.secret"} {
		if info, err := os.Stat(filepath.Join(l.Dir, secret)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", secret, info, err)
		}
	}
}

func TestGatewaysOfOneCityAreTriedFirst(t *testing.T) {
	l := example(t)
	want := []string{"http://gateway.b.perdure.internal:7500", "http://gateway.a.perdure.internal:7500", "http://gateway.c.perdure.internal:7500"}
	if got := l.Gateways("b"); !slices.Equal(got, want) {
		t.Errorf("gateways %v, want %v", got, want)
	}
}

func TestInstanceIsToldAddressesOfItsOwnView(t *testing.T) {
	l := example(t)
	p, _ := l.Process("corebank-a")
	if got := l.byAddress(p, "https://node.c.perdure.internal:7400"); got != "https://127.1.3.1:7400" {
		t.Errorf("address %s", got)
	}
	if host, _, _ := net.SplitHostPort(l.listen(p, 7600)); host != "127.1.1.1" {
		t.Errorf("it listens on %s", host)
	}
}

func TestWhatCannotBeLaidOutIsRefused(t *testing.T) {
	l := example(t)
	set := l.Set
	set.Sites[1].Nodes[0].Host = set.Sites[0].Nodes[0].Host
	if _, err := Plan(t.TempDir(), t.TempDir(), set); err == nil || !strings.Contains(err.Error(), "at one site") {
		t.Errorf("error %v", err)
	}
	if _, err := Plan(t.TempDir(), t.TempDir(), manifest.Set{}); err == nil {
		t.Error("an estate without sites was laid out")
	}
}

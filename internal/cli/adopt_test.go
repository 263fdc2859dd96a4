package cli_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"perdure/internal/app"
	"perdure/internal/pgtest"
	"perdure/internal/pki"
	"perdure/internal/porttest"
)

// oneUnit is the least estate: one site, one unit, one member.
const oneUnit = `apiVersion: perdure/v1
kind: Site
name: a
city: east
nodes: [{host: 127.0.0.1}]
---
apiVersion: perdure/v1
kind: System
name: bank
slots: 4
modules: [{name: ledger, archetype: account}]
routingKey: [{header: X-Account}]
targets: {rto: 5s, rpo: 5s}
deployments: [{site: a}]
groups: [{name: u1, owner: u1-a, members: [{id: u1-a, site: a, role: sync, database: {host: 127.0.0.1, port: %s}, agent: {host: 127.0.0.1, port: %s}}]}]
units: [{name: u1, group: u1, slots: 0-3}]
`

func portOf(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// agentFile writes the configuration of an agent over the server's directory.
func agentFile(t *testing.T, n *realNode, server *pgtest.Server, listen, database string) string {
	t.Helper()
	pair, err := n.authority.Issue(pki.Request{
		CommonName: "agent:u1-a", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true, Client: true, Validity: time.Hour,
	}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	files := pki.FilesIn(filepath.Join(n.dir, "pki-agent"), "agent")
	if err := files.Write(pair, n.authority.Pair().Cert); err != nil {
		t.Fatal(err)
	}
	secret := n.path("replication.secret")
	if err := os.WriteFile(secret, []byte("a secret of twenty characters"), 0o600); err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(portOf(t, database))
	if err != nil {
		t.Fatal(err)
	}
	binDir, err := pgtest.BinDir()
	if err != nil {
		t.Fatal(err)
	}
	config := app.AgentConfig{
		Common: app.Common{
			Name: "u1-a", Site: "a", DataDir: filepath.Join(server.Socket, "agent"), LogLevel: "error", Nodes: n.config.Nodes,
			TLS: app.TLS{CA: files.CA, Cert: files.Cert, Key: files.Key},
		},
		Group: "u1", Listen: listen,
		Postgres: app.Postgres{
			Bin: binDir, Directory: server.Dir, Listen: "127.0.0.1", Port: port, Database: "bank", ReplicationSecret: secret,
			Settings: map[string]string{"shared_buffers": "16MB", "max_connections": "60"},
		},
	}
	text, err := yaml.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	file := n.path("agent.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestExistingServerIsAdoptedAndOwnedByItsAgent(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real node and a real server")
	}
	n := newRealNode(t)
	server := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"max_prepared_transactions": "2", "work_mem": "7MB"}})
	server.Exec("create database bank")
	listen, database := porttest.KeepAddress(t), porttest.KeepAddress(t)
	file := agentFile(t, n, server, listen, database)
	inside := server.URLFor("postgres", "bank")

	want := func(code int, text string, args ...string) {
		t.Helper()
		if r := run(t.Context(), call{args: append([]string{"agent", "adopt", "--config", file}, args...)}); r.code != code || !strings.Contains(r.out+r.err, text) {
			t.Errorf("agent adopt %v: exit %d, want %d with %q:\n%s%s", args, r.code, code, text, r.out, r.err)
		}
	}
	prepared := server.Connect()
	for _, sql := range []string{"begin", "create table public.left_open (id int)", "prepare transaction 'open'"} {
		if _, err := prepared.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	want(3, "prepared transactions are left", "--database", inside, "--yes")
	server.Exec("rollback prepared 'open'")
	want(2, "--config FILE is missing", "--config", "")
	want(0, "work_mem", "--database", inside, "--dry-run")
	want(0, `"adopted": false`, "--database", inside, "--dry-run", "--json")
	want(0, "nobody looked into the running server", "--dry-run")
	want(2, "--yes", "--database", inside)
	server.Exec("select 1") // it runs on, as it was
	want(0, "belongs to the agent of u1-a now", "--database", inside, "--yes")
	want(0, "nothing to do", "--yes")

	// From here on its agent owns it: it is started, opened in a first epoch and written to.
	n.start(t)
	manifest := n.path("estate.yaml")
	if err := os.WriteFile(manifest, fmt.Appendf(nil, oneUnit, portOf(t, database), portOf(t, listen)), 0o600); err != nil {
		t.Fatal(err)
	}
	n.want(t, 0, "applied as revision", "apply", "--yes", manifest)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan result, 1)
	go func() { ended <- run(ctx, call{args: []string{"agent", "--config", file}}) }()
	t.Cleanup(func() {
		cancel()
		<-ended
		endServer(t, server.Dir)
	})
	waitFor(t, "the unit is open", ended, func() string {
		r := n.run(t, "status", "--json")
		if strings.Contains(r.out, `"state":"open"`) {
			return ""
		}
		return r.out + r.err
	})
	n.want(t, 0, "u1-a @a", "status")
}

// waitFor looks again until look gives nothing left to wait for; ended is what must not end meanwhile.
func waitFor(t *testing.T, what string, ended <-chan result, look func() string) {
	t.Helper()
	deadline := time.After(90 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		left := look()
		if left == "" {
			return
		}
		select {
		case r := <-ended:
			t.Fatalf("until %s: it ended: exit %d: %s", what, r.code, r.err)
		case <-deadline:
			t.Fatalf("never came about: %s:\n%s", what, left)
		case <-tick.C:
		}
	}
}

// endServer ends the server that outlived its agent, and waits until its lock is gone.
func endServer(t *testing.T, dir string) {
	text, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		return // it does not run
	}
	pid, err := strconv.Atoi(strings.SplitN(string(text), "\n", 2)[0])
	if err != nil {
		t.Errorf("the server's pid cannot be read: %v", err)
		return
	}
	if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil {
		t.Errorf("cannot end the server: %v", err)
		return
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); ; {
		if _, err := os.Stat(filepath.Join(dir, "postmaster.pid")); err != nil {
			return
		}
		select {
		case <-deadline:
			t.Error("the server did not end")
			return
		case <-tick.C:
		}
	}
}

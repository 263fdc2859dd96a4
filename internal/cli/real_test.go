package cli_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"perdure/internal/app"
	"perdure/internal/etcdnode"
	"perdure/internal/pki"
	"perdure/internal/porttest"
	"perdure/internal/store"
)

// realNode is a node of an estate of one, run by the command line itself.
type realNode struct {
	dir       string
	authority *pki.Authority
	config    app.NodeConfig
	stop      context.CancelFunc
	ended     chan result
}

func newRealNode(t *testing.T) *realNode {
	t.Helper()
	dir := t.TempDir()
	authority, err := pki.NewAuthority("test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue(pki.Request{
		CommonName: "node:a", DNS: []string{pki.NodeDNS}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true, Client: true, Validity: time.Hour,
	}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	files := pki.FilesIn(filepath.Join(dir, "pki"), "node")
	if err := files.Write(pair, authority.Pair().Cert); err != nil {
		t.Fatal(err)
	}
	n := &realNode{dir: dir, authority: authority}
	n.config = app.NodeConfig{
		Common: app.Common{
			Name: "a", Site: "a", DataDir: filepath.Join(dir, "data"), LogLevel: "error",
			TLS: app.TLS{CA: files.CA, Cert: files.Cert, Key: files.Key},
		},
		Listen: porttest.KeepAddress(t), AdminToken: filepath.Join(dir, "admin.token"),
		Store: app.Store{ListenPeer: porttest.KeepAddress(t), ListenClient: porttest.KeepAddress(t)},
	}
	n.config.Nodes = []app.Peer{{Name: "a", Site: "a", URL: "https://" + n.config.Listen}}
	n.config.Store.Members = map[string]string{"a": "https://" + n.config.Store.ListenPeer}
	n.write(t)
	context := fmt.Sprintf("endpoints: [https://%s]\nca: pki/ca.crt\ntoken: admin.token\n", n.config.Listen)
	if err := os.WriteFile(n.path("operator.yaml"), []byte(context), 0o600); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *realNode) path(name string) string { return filepath.Join(n.dir, name) }

func (n *realNode) write(t *testing.T) {
	t.Helper()
	text, err := yaml.Marshal(n.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(n.path("node.yaml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// start runs the node until the test ends or halt, and waits until it answers.
func (n *realNode) start(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	n.stop, n.ended = cancel, make(chan result, 1)
	ended := n.ended
	go func() { ended <- run(ctx, call{args: []string{"node", "--config", n.path("node.yaml")}}) }()
	t.Cleanup(func() { n.halt() })
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case r := <-ended:
			ended <- r
			t.Fatalf("the node ended: exit %d: %s", r.code, r.err)
		case <-tick.C:
		}
		if r := n.run(t, "status"); r.code == 0 && !strings.Contains(r.out, "NO QUORUM") {
			return
		}
	}
}

func (n *realNode) halt() {
	if n.stop != nil {
		n.stop()
		<-n.ended
		n.stop = nil
	}
}

func (n *realNode) run(t *testing.T, args ...string) result {
	t.Helper()
	return run(t.Context(), call{args: append(args, "--context", n.path("operator.yaml"))})
}

func (n *realNode) want(t *testing.T, code int, text string, args ...string) {
	t.Helper()
	if r := n.run(t, args...); r.code != code || !strings.Contains(r.out+r.err, text) {
		t.Errorf("perdure %s: exit %d, want %d with %q:\n%s%s", strings.Join(args, " "), r.code, code, text, r.out, r.err)
	}
}

// approve has cal, who starts nothing, approve a window.
func (n *realNode) approve(t *testing.T, window string) {
	t.Helper()
	if _, err := os.Stat(n.path("cal.token")); err != nil {
		n.want(t, 0, "", "token", "create", "cal", "--role", "commander", "--out", n.path("cal.token"))
	}
	n.want(t, 0, "is approved by", "calendar", "approve", window, "--reason", "agreed", "--yes", "--token-file", n.path("cal.token"))
}

func TestCommandLineRunsAnEstate(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real node")
	}
	n := newRealNode(t)
	n.start(t)
	n.want(t, 0, "no manifest is applied yet", "status")
	n.want(t, 0, "+ System corebank", "apply", "--dry-run", "../../examples/estate")
	n.want(t, 0, "no manifest is applied yet", "status")
	n.want(t, 0, "windows that wait for approval: always, night (perdure calendar approve)\n", "apply", "--yes", "../../examples/estate")
	n.want(t, 0, "nothing to change", "manifest", "diff", "../../examples/estate")
	n.want(t, 0, "slots: 0-511", "manifest", "export")
	n.want(t, 0, "u1-a @a", "status")
	n.want(t, 0, "UNPROTECTED", "status")
	n.want(t, 4, "u9", "switch", "u9", "--to", "b", "--dry-run")
	n.want(t, 3, "window always is open and not approved (W1)", "switch", "u1", "--to", "b", "--yes")
	n.want(t, 3, "(W1)", "run", "start", "switch-unit", "--mode", "takeover", "--set", "unit=u1", "--set", "to=b", "--yes")
	n.want(t, 0, "windows that wait for approval: always, night (perdure calendar)\n", "status")
	n.want(t, 0, "waits for approval", "calendar")
	n.want(t, 2, "--reason TEXT is missing", "calendar", "approve", "always")
	n.want(t, 2, "--yes", "calendar", "approve", "always", "--reason", "agreed")
	n.want(t, 4, `no window "noon"`, "calendar", "approve", "noon", "--reason", "agreed", "--yes")
	n.want(t, 0, "window always is approved by admin ", "calendar", "approve", "always", "--reason", "agreed", "--yes")
	n.want(t, 3, "approved by admin alone, and who approves is never who starts (W2)", "switch", "u1", "--to", "b", "--yes")
	n.approve(t, "always")
	n.want(t, 0, "windows that wait for approval: night (perdure calendar)\n", "status")
	n.want(t, 0, "nothing to change", "manifest", "diff", "../../examples/estate")
	n.want(t, 7, "window night is not approved", "calendar", "revoke", "night", "--reason", "not tonight")
	for _, args := range [][]string{{"switch", "u1", "--to", "b", "--yes"}, {"run", "start", "switch-unit", "--mode", "takeover", "--set", "unit=u1", "--set", "to=b", "--yes"}} {
		if r := n.run(t, args...); r.code != 3 || strings.Contains(r.err, "window") { // no copy is there yet
			t.Errorf("%q: exit %d: %s", args, r.code, r.err)
		}
	}
	n.want(t, 0, "is not approved any more", "calendar", "revoke", "always", "--reason", "not tonight")
	n.want(t, 3, "(W1)", "switch", "u1", "--to", "b", "--yes")
	n.want(t, 0, "window.revoke", "events")
	n.want(t, 0, "there are no runs", "run", "list")

	n.want(t, 0, "", "token", "create", "vic", "--role", "viewer", "--out", n.path("vic.token"))
	n.want(t, 0, "vic", "token", "list")
	n.want(t, 0, "u1", "status", "--token-file", n.path("vic.token"))
	n.want(t, 6, "vic may not", "apply", "--yes", "../../examples/estate", "--token-file", n.path("vic.token"))
	n.want(t, 0, "manifest.apply", "events")
	n.want(t, 0, "node a may act", "node", "confirm", "--reason", "test", "--yes")

	n.want(t, 0, "votes, leader  0.1.0    1\n", "node", "members")
	n.want(t, 0, "version 0.1.0, journals in format 1", "status")
	n.want(t, 2, "--peer has to be", "node", "join", "b")
	n.want(t, 2, "--yes", "node", "join", "b", "--peer", "https://127.0.0.1:1")
	n.want(t, 4, "there are: a", "node", "remove", "b", "--yes")
	n.want(t, 3, "perdure node join", "node", "remove", "a", "--yes")
	n.want(t, 0, "bytes there", "node", "reclaim")
	n.want(t, 0, "join: true\n  members:\n    a: https://", "node", "join", "b", "--peer", "https://127.0.0.1:1", "--yes")
	n.want(t, 0, "catching up", "node", "members")
	n.want(t, 0, "is out of the control store", "node", "remove", "https://127.0.0.1:1", "--yes")
	n.want(t, 0, "estate.member.add", "events")

	snapshot := n.path("store.snapshot")
	n.want(t, 0, "the store is in", "node", "snapshot", snapshot)
	n.want(t, 7, "stop the node first", "node", "recover", "--config", n.path("node.yaml"), "--by", "ann", "--reason", "test", "--yes")
	n.halt()
	n.want(t, 5, "", "status", "--timeout", "1s")

	n.want(t, 0, "incarnation 2.", "node", "recover", "--config", n.path("node.yaml"), "--by", "ann", "--reason", "majority lost", "--yes")
	n.start(t)
	n.want(t, 0, "incarnation 2.", "status")
	n.want(t, 0, "ann", "events")
	n.halt()

	n.config.DataDir = n.path("restored")
	n.write(t)
	n.want(t, 0, "incarnation 2.", "node", "restore", snapshot, "--config", n.path("node.yaml"), "--by", "ann", "--reason", "disk lost", "--yes")
	n.start(t)
	n.want(t, 0, "u1-a @a", "status")
	n.want(t, 0, "nothing to change", "manifest", "diff", "../../examples/estate")
}

// TestExportedEvidenceIsRetiredFromARealNode: what went is in the folder, the rest is proved as before, also after a restart and a recovery (E7).
func TestExportedEvidenceIsRetiredFromARealNode(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real node")
	}
	n := newRealNode(t)
	n.start(t)
	n.want(t, 0, "applied as revision", "apply", "--yes", "../../examples/estate")
	for _, id := range []string{"walk-1", "walk-2"} {
		n.want(t, 0, id, "run", "start", "move-unit", "--mode", "takeover", "--set", "unit=u1", "--set", "to=b", "--tabletop", "--id", id, "--no-wait", "--yes")
		n.want(t, 0, "", "run", "cancel", id, "--reason", "shown")
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(30 * time.Second); strings.Count(n.run(t, "run", "list", "--json").out, `"finishedAt"`) < 2; {
		select {
		case <-end:
			t.Fatalf("the runs are not over: %s", n.run(t, "run", "list").out)
		case <-tick.C:
		}
	}
	keys, dir := n.path("bank.keys"), n.path("archive")
	if err := os.WriteFile(keys, []byte(n.run(t, "evidence", "keys").out), 0o600); err != nil {
		t.Fatal(err)
	}
	retire := func(more ...string) []string {
		return append([]string{"evidence", "retire", dir, "--keys", keys}, more...)
	}
	n.want(t, 0, "evidence kept-for ever", "policy", "show")
	n.want(t, 0, "evidence is kept for ever", retire("--dry-run")...)
	n.want(t, 3, "evidence is kept for ever", retire("--reason", "test", "--yes")...)
	n.want(t, 2, "from 0 to 36500, or ever", "policy", "set", "evidence", "kept-for", "always")
	n.want(t, 0, "evidence kept-for 0", "policy", "set", "evidence", "kept-for", "0")
	n.want(t, 0, "runs that stay: 2 (walk-1, walk-2): there is no pack of all of it", retire("--dry-run")...)
	n.want(t, 0, "log-1.", "evidence", "export", dir, "--keys", keys, "--packs")
	n.want(t, 0, "packs of runs: 2", "evidence", "verify", dir, "--keys", keys)
	n.want(t, 2, "--reason TEXT is missing", retire()...)
	n.want(t, 2, "--yes", retire("--reason", "test")...)
	if err := os.Rename(filepath.Join(dir, runPackIn(t, dir, "walk-2")), n.path("elsewhere")); err != nil {
		t.Fatal(err)
	}
	n.want(t, 3, "has no pack of all of 1 runs that would go (walk-2)", retire("--reason", "test", "--yes")...)
	n.want(t, 0, "run-walk-2-", "evidence", "export", dir, "--keys", keys, "--packs")
	n.want(t, 0, "runs that have gone: 2", retire("--reason", "test", "--yes")...)
	n.want(t, 4, "run walk-1 was retired on", "run", "report", "walk-1")
	n.want(t, 4, "run walk-1 was retired on", "evidence", "pack", "walk-1", "--out", n.path("late.pack"))
	n.want(t, 0, "cancelled, retired", "run", "list")
	n.want(t, 0, "", "evidence", "export", dir, "--keys", keys, "--packs")
	n.want(t, 0, "packs of runs: 2", "evidence", "verify", dir, "--keys", keys)
	n.halt()
	n.start(t)
	n.want(t, 0, "evidence.retired", "events")
	fresh := n.path("fresh")
	n.want(t, 0, "", "evidence", "export", fresh, "--keys", keys)
	n.want(t, 0, "entries that were retired before they were exported here", "evidence", "verify", fresh, "--keys", keys)
	n.halt()
	n.want(t, 0, "incarnation 2.", "node", "recover", "--config", n.path("node.yaml"), "--by", "ann", "--reason", "majority lost", "--yes")
	n.start(t)
	n.want(t, 0, "log-2.", "evidence", "export", fresh, "--keys", keys)
	n.want(t, 0, "entries that were retired", "evidence", "verify", fresh, "--keys", keys)
}

// runPackIn is the name of the pack of a run in a folder.
func runPackIn(t *testing.T, dir, id string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "run-"+id+"-*.pack"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v %v", files, err)
	}
	return filepath.Base(files[0])
}

// TestNodeThatDoesNotReadTheFormatOfJournalsRefuses (R9): the one that runs ends, it does not start again, and it recovers nothing.
func TestNodeThatDoesNotReadTheFormatOfJournalsRefuses(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real node")
	}
	n := newRealNode(t)
	n.start(t)
	tls := n.config.TLS
	raw, err := etcdnode.Connect(etcdnode.External{
		Endpoints: []string{"https://" + n.config.Store.ListenClient}, TLS: pki.Files{CA: tls.CA, Cert: tls.Cert, Key: tls.Key}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = raw.Client().Put(t.Context(), store.Root+"format", `{"format":9,"by":"node:b","version":"9.0.0","at":1}`)
	raw.Stop()
	if err != nil {
		t.Fatal(err)
	}
	r := <-n.ended
	n.ended <- r
	for _, again := range []result{r, n.run(t, "node", "--config", n.path("node.yaml")), n.run(t, "node", "recover", "--config", n.path("node.yaml"), "--by", "ann", "--reason", "test", "--yes")} {
		if again.code != 3 || !strings.Contains(again.err, "kept in format 9 since 1970") || !strings.Contains(again.err, "Start version 9.0.0") || !strings.Contains(again.err, "node restore") {
			t.Errorf("exit %d: %s%s", again.code, again.out, again.err)
		}
	}
}

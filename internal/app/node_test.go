package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"perdure/internal/client"
	"perdure/internal/errs"
	"perdure/internal/etcdnode"
	"perdure/internal/evidence"
	"perdure/internal/pki"
	"perdure/internal/plan"
	"perdure/internal/porttest"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// estateOfNodes is a control plane of real nodes in this process.
type estateOfNodes struct {
	t       *testing.T
	configs map[string]NodeConfig
	stops   map[string]func()
	ended   map[string]chan error
	token   string
	tls     *tls.Config
}

func newEstate(t *testing.T, names ...string) *estateOfNodes {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real nodes")
	}
	dir := t.TempDir()
	authority, err := pki.NewAuthority("test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	e := &estateOfNodes{t: t, configs: map[string]NodeConfig{}, stops: map[string]func(){}, ended: map[string]chan error{}, token: filepath.Join(dir, "admin.token")}
	members, peers := map[string]string{}, []Peer{}
	for _, name := range names {
		pair, err := authority.Issue(pki.Request{CommonName: "node:" + name, DNS: []string{pki.NodeDNS}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true, Client: true, Validity: time.Hour}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		files := pki.FilesIn(filepath.Join(dir, name, "pki"), "node")
		if err := files.Write(pair, authority.Pair().Cert); err != nil {
			t.Fatal(err)
		}
		if e.tls == nil {
			if e.tls, err = (pki.Files{CA: files.CA}).ClientTLS(); err != nil {
				t.Fatal(err)
			}
		}
		c := NodeConfig{
			Common: Common{Name: name, Site: name, DataDir: filepath.Join(dir, name, "data"), LogLevel: "error", TLS: TLS{CA: files.CA, Cert: files.Cert, Key: files.Key}},
			Listen: porttest.KeepAddress(t), AdminToken: e.token, Store: Store{ListenPeer: porttest.KeepAddress(t), ListenClient: porttest.KeepAddress(t)},
		}
		members[name] = "https://" + c.Store.ListenPeer
		peers = append(peers, Peer{Name: name, Site: name, URL: "https://" + c.Listen})
		e.configs[name] = c
	}
	t.Cleanup(func() { e.stop(slices.Collect(maps.Keys(e.stops))...) })
	for name, c := range e.configs {
		c.Nodes, c.Store.Members = peers, maps.Clone(members)
		e.configs[name] = c
	}
	return e
}

func (e *estateOfNodes) start(names ...string) {
	for _, name := range names {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- RunNode(ctx, e.configs[name]) }()
		e.stops[name], e.ended[name] = sync.OnceFunc(func() {
			cancel()
			if err := <-ended; err != nil {
				e.t.Errorf("node %s: %v", name, err)
			}
		}), ended
	}
}

// stop ends nodes, all at once.
func (e *estateOfNodes) stop(names ...string) {
	var wg sync.WaitGroup
	for _, name := range names {
		wg.Go(e.stops[name])
	}
	wg.Wait()
}

func (e *estateOfNodes) client(name string) *client.Client {
	e.t.Helper()
	secret, err := os.ReadFile(e.token)
	if err != nil {
		e.t.Fatal(err)
	}
	c, err := client.New(client.Options{Endpoints: []string{"https://" + e.configs[name].Listen}, TLS: e.tls, Token: strings.TrimSpace(string(secret))})
	if err != nil {
		e.t.Fatal(err)
	}
	return c
}

// probe asks a health path and gives the status and the body.
func (e *estateOfNodes) probe(name, path string) (int, string) {
	h := &http.Client{Transport: &http.Transport{TLSClientConfig: e.tls, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	answer, err := h.Get("https://" + e.configs[name].Listen + path)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, string(body)
}

func (e *estateOfNodes) until(what string, look func() (bool, string)) {
	e.t.Helper()
	deadline := time.After(60 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		done, seen := look()
		if done {
			return
		}
		select {
		case <-deadline:
			e.t.Fatalf("never came about: %s; last seen: %s", what, seen)
		case <-tick.C:
		}
	}
}

func (e *estateOfNodes) ready(names ...string) {
	e.t.Helper()
	for _, name := range names {
		e.until(name+" is ready", func() (bool, string) {
			status, body := e.probe(name, "/readyz")
			return status == 200, fmt.Sprint(status, " ", body)
		})
	}
}

// saysWhy waits until a node says by its readiness that its part is over, and looks that it still runs and refuses the rest.
func (e *estateOfNodes) saysWhy(name, why string) {
	e.t.Helper()
	e.until(name+" says why it may not act", func() (bool, string) {
		status, body := e.probe(name, "/readyz")
		return status == 503 && strings.Contains(body, why) && strings.Contains(body, "perdure node join"), fmt.Sprint(status, " ", body)
	})
	if status, body := e.probe(name, "/healthz"); status != 200 {
		e.t.Errorf("%s: the process lives, but /healthz is %d %s", name, status, body)
	}
	c := e.client(name)
	if _, err := c.Estate(e.t.Context()); err == nil || !strings.Contains(err.Error(), "perdure node join") {
		e.t.Errorf("%s tells of an estate that is not its own any more: %v", name, err)
	}
	if _, err := c.ApplyManifest(e.t.Context(), []byte("x"), 0, true); err == nil || !strings.Contains(err.Error(), why) {
		e.t.Errorf("%s takes a manifest: %v", name, err)
	}
	select {
	case err := <-e.ended[name]:
		e.t.Fatalf("%s ended: %v", name, err)
	default:
	}
}

func TestSupersededNodeStaysUpAndSaysHowToJoinAgain(t *testing.T) {
	e := newEstate(t, "a", "b", "c")
	e.start("a", "b", "c")
	e.ready("a", "b", "c")
	e.stop("a", "b", "c")
	began, err := RecoverNode(t.Context(), e.configs["c"], "ann", "the city is lost")
	if err != nil {
		t.Fatal(err)
	}
	e.start("c")
	e.ready("c")

	e.start("a")
	why := fmt.Sprintf("%d.%s is in force", began.Counter, began.ID)
	e.saysWhy("a", why)
	// A supervisor that restarts it finds it in the same state, not in a loop.
	e.stop("a")
	e.start("a")
	e.saysWhy("a", why)
	e.stop("a")

	// The way back that it names works.
	c := e.configs["a"]
	if err := os.RemoveAll(c.DataDir); err != nil {
		t.Fatal(err)
	}
	members, err := e.client("c").GrowStore(t.Context(), "a", c.Store.Members["a"])
	if err != nil {
		t.Fatal(err)
	}
	c.Store.Join, c.Store.Members = true, map[string]string{}
	for _, m := range members {
		c.Store.Members[m.Name] = m.PeerURL[0]
	}
	if names := slices.Sorted(maps.Keys(c.Store.Members)); !slices.Equal(names, []string{"a", "c"}) {
		t.Fatalf("members %v", names)
	}
	e.configs["a"] = c
	e.start("a")
	e.until("a belongs to the recovered estate", func() (bool, string) {
		s, err := e.client("a").Standing(t.Context())
		return err == nil && s.Incarnation == began.Incarnation && s.Superseded == nil, fmt.Sprint(s, err)
	})
}

func TestRemovedNodeStaysUpAndSaysHowToJoinAgain(t *testing.T) {
	e := newEstate(t, "a", "b", "c")
	e.start("a", "b", "c")
	e.ready("a", "b", "c")
	// The store takes nobody out before its members have been connected for a while.
	e.until("a is taken out", func() (bool, string) {
		err := e.client("c").ShrinkStore(t.Context(), "a")
		return err == nil || errs.KindOf(err) == errs.NotFound, fmt.Sprint(err)
	})
	e.saysWhy("a", "was taken out of the control store")
	e.ready("b", "c")
}

func TestNodeWorksOnAnEtcdThatSomebodyElseRuns(t *testing.T) {
	e := newEstate(t, "a")
	c := e.configs["a"]
	// Their certificates are of their own authority.
	authority, err := pki.NewAuthority("theirs", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue(pki.Request{CommonName: "etcd", DNS: []string{pki.NodeDNS}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true, Client: true, Validity: time.Hour}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	files := pki.FilesIn(t.TempDir(), "etcd")
	if err := files.Write(pair, authority.Pair().Cert); err != nil {
		t.Fatal(err)
	}
	peer, listen := porttest.KeepAddress(t), porttest.KeepAddress(t)
	their := etcdnode.Options{
		Name: "theirs", Members: []etcdnode.Member{{Name: "theirs", PeerURL: "https://" + peer}}, Dir: t.TempDir(),
		ListenPeer: peer, ListenClient: listen, Peer: files, Client: files, Logger: slog.New(slog.DiscardHandler),
	}
	theirs, err := etcdnode.Start(their)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(theirs.Stop)
	operator, err := etcdnode.Connect(etcdnode.External{Endpoints: []string{"https://" + listen}, TLS: files, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer operator.Stop()
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte("a secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, do := range []func() error{
		func() error { _, err := operator.Client().RoleAdd(t.Context(), "root"); return err },
		func() error { _, err := operator.Client().UserAdd(t.Context(), "root", "a secret"); return err },
		func() error { _, err := operator.Client().UserGrantRole(t.Context(), "root", "root"); return err },
		func() error { _, err := operator.Client().AuthEnable(t.Context()); return err },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	c.Store = Store{External: []string{"https://" + listen}, ExternalTLS: TLS{CA: files.CA, Cert: files.Cert, Key: files.Key}, ExternalUser: "root", ExternalPassword: secret}
	e.configs["a"] = c
	e.start("a")
	e.ready("a")

	client := e.client("a")
	var text []byte
	for _, name := range []string{"sites.yaml", "corebank.yaml"} {
		part, err := os.ReadFile(filepath.Join("../../examples/estate", name))
		if err != nil {
			t.Fatal(err)
		}
		text = append(append(text, part...), "\n---\n"...)
	}
	text = append(text, "apiVersion: perdure/v1\nkind: Plan\nname: pause\nmodes: [drill]\nsteps: [{id: a, wait: {for: 10ms}}, {id: count, manual: {owner: operator, instruction: Count., attachments: 1}}]\n"...)
	if _, err := client.ApplyManifest(t.Context(), text, 0, false); err != nil {
		t.Fatal(err)
	}
	var pack bytes.Buffer
	// Runs are carried out there, and their evidence is kept, although no member of that store is a node.
	if _, err := client.StartRun(t.Context(), wire.StartRun{Plan: "pause", Mode: plan.Drill, ID: "r1"}); err != nil {
		t.Fatal(err)
	}
	var file wire.KeptAttachment
	e.until("a file is handed in", func() (bool, string) {
		var err error
		file, err = client.Attach(t.Context(), "r1", "count", "totals.txt", []byte("difference: 0\n"))
		return err == nil, fmt.Sprint(err)
	})
	if _, err := client.SayToRun(t.Context(), "r1", wire.RunWord{What: run.Completed, Step: "count", Attachments: []string{file.SHA256}}); err != nil {
		t.Fatal(err)
	}
	e.until("the run is done, and its evidence is there", func() (bool, string) {
		state, err := client.Run(t.Context(), "r1")
		if err != nil || state.Run.Outcome != run.Done {
			return false, fmt.Sprint(state.Run.Phase, err)
		}
		pack.Reset()
		_, err = client.EvidencePack(t.Context(), "r1", &pack)
		return err == nil, fmt.Sprint(err)
	})
	keys, err := client.EvidenceKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var known []note.Verifier
	for _, k := range keys {
		v, err := note.NewVerifier(k.Key)
		if err != nil {
			t.Fatal(err)
		}
		known = append(known, v)
	}
	verdict, err := evidence.Verify(&pack, note.VerifierList(known...), nil)
	if err != nil || !verdict.Good() || !slices.Equal(verdict.Files, []string{"attachment-" + file.SHA256[:16] + "-totals.txt", "measures.json", "program.json", "report.en.html", "report.zh-CN.html"}) {
		t.Errorf("%+v, %v", verdict, err)
	}
	groups, err := client.Groups(t.Context(), wire.Fresh)
	if err != nil || len(groups) != 2 {
		t.Errorf("%d groups, %v", len(groups), err)
	}
	estate, err := client.Estate(t.Context())
	if err != nil || estate.Store.Embedded || !estate.Store.Quorum {
		t.Errorf("store %+v, %v", estate.Store, err)
	}
	for what, err := range map[string]error{
		"grow":   func() error { _, err := client.GrowStore(t.Context(), "b", "https://127.0.0.1:1"); return err }(),
		"shrink": client.ShrinkStore(t.Context(), "theirs"),
	} {
		if errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), "etcdctl") {
			t.Errorf("%s: %v", what, err)
		}
	}
	e.stop("a")
	if _, err := RecoverNode(t.Context(), c, "ann", "test"); errs.KindOf(err) != errs.Invalid || !strings.Contains(err.Error(), "its own tools") {
		t.Errorf("recover: %v", err)
	}
	wrong := c
	wrong.Store.ExternalPassword = filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(wrong.Store.ExternalPassword, []byte("another\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := RunNode(t.Context(), wrong); errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), `"root"`) {
		t.Errorf("a wrong password: %v", err)
	}
	// What it wrote is there for the next start, and for another node; the node may be there before its store.
	theirs.Stop()
	e.start("a")
	if _, err := etcdnode.Connect(etcdnode.External{Endpoints: c.Store.External, TLS: files, Username: "root", Password: "a secret", Logger: slog.New(slog.DiscardHandler)}); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("a store that is not there: %v", err)
	}
	again, err := etcdnode.Start(their)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Stop)
	e.ready("a")
	if groups, err := e.client("a").Groups(t.Context(), wire.Fresh); err != nil || len(groups) != 2 {
		t.Errorf("after a restart: %d groups, %v", len(groups), err)
	}
}

package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/api"
	"perdure/internal/client"
	"perdure/internal/estate"
	"perdure/internal/etcdnode"
	"perdure/internal/etcdnode/etcdtest"
	"perdure/internal/pki"
	"perdure/internal/store"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// The tests run whole nodes as processes of their own, so that they can be killed and frozen: this binary, started again.
const nodeVariable = "PERDURE_TEST_NODE"

func TestMain(m *testing.M) {
	if file := os.Getenv(nodeVariable); file != "" {
		if err := runNode(file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// nodeConfig is what a node's process reads.
type nodeConfig struct {
	Store etcdnode.Options
	API   string
	Peers map[string]string // name to URL of the other nodes' APIs
	TLS   pki.Files
	Token string // file of the first admin token
	Log   string
}

func runNode(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var c nodeConfig
	if err := json.Unmarshal(text, &c); err != nil {
		return err
	}
	log, err := os.OpenFile(c.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(log, nil)).With("node", c.Store.Name)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	context.AfterFunc(parentGone(), stop)
	c.Store.Logger = logger
	member, err := etcdnode.Start(c.Store)
	if err != nil {
		return err
	}
	defer member.Stop()
	var standing *etcdnode.Standing
	st := store.New(member.Client(), store.Options{
		Node: c.Store.Name, HasLeader: member.HasLeader, MayAct: func() error { return standing.MayAct() }, Logger: logger,
	})
	tlsConfig, err := c.TLS.ClientTLS()
	if err != nil {
		return err
	}
	peers := map[string]*client.Client{}
	var names []string
	for name, url := range c.Peers {
		names = append(names, name)
		if peers[name], err = client.New(client.Options{Endpoints: []string{url}, TLS: tlsConfig}); err != nil {
			return err
		}
	}
	standing, err = etcdnode.NewStanding(etcdnode.StandingOptions{
		Self: c.Store.Name, Peers: names, Dir: c.Store.Dir, HasLeader: member.HasLeader, Logger: logger, Every: 200 * time.Millisecond,
		Ask: func(ctx context.Context, peer string) (wire.Standing, error) { return peers[peer].Standing(ctx) },
		Own: func(ctx context.Context) (estate.Incarnation, error) {
			i, err := st.Incarnation(ctx, wire.Local)
			return i.Incarnation, err
		},
	})
	if err != nil {
		return err
	}
	serverTLS, err := c.TLS.ServerTLS(false)
	if err != nil {
		return err
	}
	server, err := api.New(api.Deps{Store: st, Member: member, Standing: standing, Logger: logger}, api.Options{Node: c.Store.Name, Listen: c.API, TLS: serverTLS})
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = standing.Run(ctx) })
	wg.Go(func() {
		for ctx.Err() == nil {
			if _, err := st.EnsureIncarnation(ctx); err == nil {
				if _, err = st.BootstrapToken(ctx, c.Token); err == nil {
					return
				}
			}
			<-time.After(100 * time.Millisecond)
		}
	})
	<-ctx.Done()
	short, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err = server.Stop(short)
	wg.Wait()
	return err
}

// parentGone ends when the test's process is gone: its end of the pipe on standard input closes.
func parentGone() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return ctx
}

// town is an estate's control plane: three nodes as processes.
type town struct {
	t      *testing.T
	ca     *pki.Authority
	dir    string
	nodes  []*process
	secret string
	ips    []net.IP // of every address, for the certificates
	links  []*link  // to node c's peer port and API, for those who go through them
}

type process struct {
	config nodeConfig
	url    string // as the test reaches it
	cmd    *exec.Cmd
	stdin  io.Closer
}

// found lays out three nodes; c is reached by the others through links that can be cut.
func found(t *testing.T) *town {
	t.Helper()
	w := &town{t: t, dir: t.TempDir(), secret: store.NewBootstrapSecret()}
	var err error
	if w.ca, err = pki.NewAuthority("test", time.Now(), time.Hour); err != nil {
		t.Fatal(err)
	}
	options := etcdtest.Options(t, 3)
	peerLink := newLink(t, options[2].ListenPeer)
	apis := []string{etcdtest.Address(t), etcdtest.Address(t), etcdtest.Address(t)}
	apiLink := newLink(t, apis[2])
	w.links = []*link{peerLink, apiLink}
	token := filepath.Join(w.dir, "admin.token")
	if err := os.WriteFile(token, []byte(w.secret), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, a := range append(slices.Clone(apis), peerLink.address, apiLink.address) {
		w.ips = append(w.ips, ipOf(a))
	}
	for _, o := range options {
		w.ips = append(w.ips, ipOf(o.ListenPeer), ipOf(o.ListenClient))
	}
	for i := range options {
		for j := range options[i].Members {
			options[i].Members[j].PeerURL = "https://" + options[j].ListenPeer
		}
		options[i].Members[2].PeerURL = "https://" + peerLink.address
	}
	for i, o := range options {
		o.Logger = nil
		o.Dir = filepath.Join(w.dir, o.Name)
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		files := w.issue("node:"+o.Name, pki.NodeDNS)
		o.Peer, o.Client = files, files
		peers := map[string]string{}
		for j, p := range options {
			if j != i {
				peers[p.Name] = "https://" + apis[j]
			}
		}
		if i != 2 {
			peers["c"] = "https://" + apiLink.address
		}
		w.nodes = append(w.nodes, &process{
			url:    "https://" + apis[i],
			config: nodeConfig{Store: o, API: apis[i], Peers: peers, TLS: files, Token: token, Log: filepath.Join(w.dir, o.Name+".log")},
		})
	}
	t.Cleanup(func() {
		for i := range w.nodes {
			w.kill(i)
		}
		if t.Failed() {
			for _, n := range w.nodes {
				text, _ := os.ReadFile(n.config.Log)
				t.Logf("%s:\n%s", n.config.Log, text[max(0, len(text)-6000):])
			}
		}
	})
	return w
}

func ipOf(address string) net.IP {
	host, _, _ := net.SplitHostPort(address)
	return net.ParseIP(host)
}

func (w *town) issue(cn string, dns ...string) pki.Files {
	w.t.Helper()
	pair, err := w.ca.Issue(pki.Request{CommonName: cn, DNS: dns, IPs: w.ips, Server: true, Client: true, Validity: time.Hour}, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	f := pki.FilesIn(w.t.TempDir(), "x")
	if err := f.Write(pair, w.ca.Pair().Cert); err != nil {
		w.t.Fatal(err)
	}
	return f
}

func (w *town) boot(i int) {
	w.t.Helper()
	n := w.nodes[i]
	text, err := json.Marshal(n.config)
	if err != nil {
		w.t.Fatal(err)
	}
	file := filepath.Join(w.dir, n.config.Store.Name+".json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		w.t.Fatal(err)
	}
	n.cmd = exec.Command(os.Args[0], "-test.run=^$")
	n.cmd.Env = append(os.Environ(), nodeVariable+"="+file)
	n.cmd.Stderr = os.Stderr
	if n.stdin, err = n.cmd.StdinPipe(); err != nil {
		w.t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
}

// kill ends a node's process at once, wherever it is.
func (w *town) kill(i int) {
	n := w.nodes[i]
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait()
	_ = n.stdin.Close()
	n.cmd = nil
}

func (w *town) freeze(i int) {
	w.t.Helper()
	if err := w.nodes[i].cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		w.t.Fatal(err)
	}
}

func (w *town) thaw(i int) {
	w.t.Helper()
	if err := w.nodes[i].cmd.Process.Signal(syscall.SIGCONT); err != nil {
		w.t.Fatal(err)
	}
}

// client reaches the nodes in the given order, as the admin or as a machine ("agent:u1-a").
func (w *town) client(who string, order ...int) *client.Client {
	w.t.Helper()
	files := pki.Files{CA: w.nodes[0].config.TLS.CA}
	o := client.Options{Logger: etcdtest.Logger(w.t)}
	if who == "admin" {
		o.Token = w.secret
	} else {
		files = w.issue(who)
	}
	var err error
	if o.TLS, err = files.ClientTLS(); err != nil {
		w.t.Fatal(err)
	}
	for _, i := range order {
		o.Endpoints = append(o.Endpoints, w.nodes[i].url)
	}
	c, err := client.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

// ready waits until the nodes given have a quorum and may act.
func (w *town) ready(nodes ...int) {
	w.t.Helper()
	for _, i := range nodes {
		c := w.client("admin", i)
		etcdtest.Until(w.t, "node "+w.nodes[i].config.Store.Name+" may act", func() bool {
			e, err := c.Estate(w.t.Context())
			return err == nil && e.Store.Quorum && !e.Standing.Cold && e.Standing.Superseded == nil
		})
	}
}

// leader is the index of the node that leads the store, as node i sees it.
func (w *town) leader(i int) int {
	w.t.Helper()
	leader := -1
	etcdtest.Until(w.t, "a leader is known", func() bool {
		e, err := w.client("admin", i).Estate(w.t.Context())
		leader = slices.IndexFunc(w.nodes, func(n *process) bool { return n.config.Store.Name == e.Store.Leader })
		return err == nil && leader >= 0
	})
	return leader
}

// group makes a replication group through the store itself: the nodes of these tests know no manifests.
func (w *town) group(name string) wire.Group {
	w.t.Helper()
	o := w.nodes[0].config.Store
	external, err := etcdnode.Connect(etcdnode.External{Endpoints: []string{"https://" + o.ListenClient}, TLS: o.Client, Logger: etcdtest.Logger(w.t)})
	if err != nil {
		w.t.Fatal(err)
	}
	defer external.Stop()
	st := store.New(external.Client(), store.Options{Node: "test", Timeout: etcdtest.Patience, Logger: etcdtest.Logger(w.t)})
	i, err := st.Incarnation(w.t.Context(), wire.Fresh)
	if err != nil {
		w.t.Fatal(err)
	}
	rec := unit.Bootstrap(estate.GroupID(name), "core", []estate.UnitID{estate.UnitID(name)}, unit.Policy{Failover: unit.Auto}, []unit.Member{
		{ID: estate.MemberID(name + "-a"), Site: "a", Role: unit.SyncRole}, {ID: estate.MemberID(name + "-c"), Site: "c", Role: unit.AsyncRole},
	}, estate.MemberID(name+"-a"), i.Incarnation)
	if err := st.Quorum().CreateGroup(w.t.Context(), "test", rec); err != nil {
		w.t.Fatal(err)
	}
	g, err := st.Group(w.t.Context(), rec.Group, wire.Fresh)
	if err != nil {
		w.t.Fatal(err)
	}
	return g
}

// recover does what `perdure node recover` does with node i, which must be down.
func (w *town) recover(i int) wire.Incarnation {
	w.t.Helper()
	o := w.nodes[i].config.Store
	o.Logger = etcdtest.Logger(w.t)
	var began wire.Incarnation
	err := etcdnode.Recover(w.t.Context(), o, func(ctx context.Context, c *clientv3.Client) (err error) {
		began, err = store.New(c, store.Options{Node: o.Name, Timeout: etcdtest.Patience, Logger: o.Logger}).Recover(ctx, "person:ann", "recover", "the city is lost")
		return err
	})
	if err == nil {
		err = etcdnode.Recovered(o.Dir, began.Incarnation)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return began
}

// link is a way to an address that can be cut.
type link struct {
	address string
	target  string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

func newLink(t *testing.T, target string) *link {
	t.Helper()
	l := &link{target: target, conns: map[net.Conn]bool{}}
	listener, err := net.Listen("tcp", etcdtest.Address(t))
	if err != nil {
		t.Fatal(err)
	}
	l.address = listener.Addr().String()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { l.carry(c) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		l.set(true)
		wg.Wait()
	})
	return l
}

func (l *link) set(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	if cut {
		for c := range l.conns {
			_ = c.Close()
		}
	}
}

func (l *link) hold(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		_ = c.Close()
		return false
	}
	l.conns[c] = true
	return true
}

func (l *link) carry(c net.Conn) {
	defer c.Close()
	if !l.hold(c) {
		return
	}
	far, err := net.Dial("tcp", l.target)
	if err != nil {
		return
	}
	defer far.Close()
	if !l.hold(far) {
		return
	}
	var wg sync.WaitGroup
	for _, pair := range [][2]net.Conn{{c, far}, {far, c}} {
		wg.Go(func() {
			_, _ = io.Copy(pair[0], pair[1])
			_ = pair[0].Close()
			_ = pair[1].Close()
		})
	}
	wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	delete(l.conns, far)
}

package etcdnode_test

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/etcdnode"
	"perdure/internal/etcdnode/etcdtest"
	"perdure/internal/pki"
)

func authority(t *testing.T) *pki.Authority {
	t.Helper()
	ca, err := pki.NewAuthority("test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// issue gives a certificate for the hosts of the addresses, with further DNS names.
func issue(t *testing.T, ca *pki.Authority, cn string, addresses []string, dns ...string) pki.Files {
	t.Helper()
	request := pki.Request{CommonName: cn, DNS: dns, Server: true, Client: true, Validity: time.Hour}
	for _, a := range addresses {
		host, _, err := net.SplitHostPort(a)
		if err != nil {
			t.Fatal(err)
		}
		request.IPs = append(request.IPs, net.ParseIP(host))
	}
	pair, err := ca.Issue(request, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	f := pki.FilesIn(t.TempDir(), "x")
	if err := f.Write(pair, ca.Pair().Cert); err != nil {
		t.Fatal(err)
	}
	return f
}

// secure gives every member a node's certificate. It names only the host that others dial, never the address the member dials from.
func secure(t *testing.T, ca *pki.Authority, options []etcdnode.Options) {
	t.Helper()
	for i := range options {
		o := &options[i]
		o.Peer = issue(t, ca, "node:"+o.Name, []string{o.ListenPeer, o.ListenClient}, "node."+o.Name, pki.NodeDNS)
		o.Client = o.Peer
		for j := range o.Members {
			o.Members[j].PeerURL = strings.Replace(o.Members[j].PeerURL, "http://", "https://", 1)
		}
	}
}

// ask sends one request with the certificate, on a connection of its own.
func ask(t *testing.T, f pki.Files, method, url, body string) (int, error) {
	t.Helper()
	config, err := f.ClientTLS()
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}, Timeout: etcdtest.Patience}
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(request)
	if err != nil {
		return 0, err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Body.Close()
}

// TestOnlyNodesAreLetInToTheStore: whoever may speak to the store may write every record, so a certificate of the estate is not enough.
func TestOnlyNodesAreLetInToTheStore(t *testing.T) {
	ca, options := authority(t), etcdtest.Options(t, 1)
	secure(t, ca, options)
	o := options[0]
	n := etcdtest.Start(t, o)[0]
	ports := map[string]string{"client": "https://" + o.ListenClient + "/version", "peer": "https://" + o.ListenPeer + "/members"}

	other := issue(t, ca, "node:b", nil, pki.NodeDNS)
	nodeGetsIn := func() {
		t.Helper()
		for port, url := range ports {
			if status, err := ask(t, other, "GET", url, ""); err != nil || status != 200 {
				t.Errorf("a node on the %s port: %d, %v", port, status, err)
			}
		}
	}
	nodeGetsIn()
	for _, cn := range []string{"app:bank-a", "agent:u1-a", "gateway:a", "node:b"} { // the last one lacks the name: a common name alone is no key
		f := issue(t, ca, cn, []string{o.ListenPeer}, "host.a", "not-"+pki.NodeDNS, pki.NodeDNS+".example")
		for port, url := range ports {
			if status, err := ask(t, f, "GET", url, ""); err == nil {
				t.Errorf("%s was let in on the %s port: %d", cn, port, status)
			}
		}
		c, err := etcdnode.Connect(etcdnode.External{Endpoints: []string{"https://" + o.ListenClient}, TLS: f, Logger: etcdtest.Logger(t)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if _, err := c.Client().Put(ctx, "/perdure/v1/groups/u1", cn); err == nil {
			t.Errorf("%s wrote a record", cn)
		}
		cancel()
		c.Stop()
	}
	nodeGetsIn()
	if owner := value(t, n, "/perdure/v1/groups/u1"); owner != "" {
		t.Errorf("%s wrote a record", owner)
	}

	c, err := etcdnode.Connect(etcdnode.External{Endpoints: []string{"https://" + o.ListenClient}, TLS: other, Logger: etcdtest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), etcdtest.Patience)
	defer cancel()
	if _, err := c.Client().Put(ctx, "k", "v"); err != nil {
		t.Errorf("a node on the client port: %v", err)
	}
	if status, err := ask(t, other, "POST", "https://"+o.ListenClient+"/v3/kv/range", `{"key":"aw=="}`); err != nil || status != 404 {
		t.Errorf("the store has a second door, JSON: %d, %v", status, err)
	}
}

// TestMemberSpeaksToNodesOnly: what a member takes from a peer is the store itself, so the server it dials has to be a node too.
func TestMemberSpeaksToNodesOnly(t *testing.T) {
	ca, options := authority(t), etcdtest.Options(t, 3)
	secure(t, ca, options)
	var askedNode, askedApp atomic.Int32
	var refused atomic.Bool
	serve := func(address string, f pki.Files, asked *atomic.Int32, errorLog *log.Logger) {
		config, err := f.ServerTLS(true)
		if err != nil {
			t.Fatal(err)
		}
		l, err := tls.Listen("tcp", address, config)
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{ErrorLog: errorLog, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.WriteHeader(http.StatusServiceUnavailable)
		})}
		go func() { _ = s.Serve(l) }()
		t.Cleanup(func() { _ = s.Close() })
	}
	b, c := options[1], options[2]
	serve(b.ListenPeer, b.Peer, &askedNode, log.New(io.Discard, "", 0))
	serve(c.ListenPeer, issue(t, ca, "app:bank-a", []string{c.ListenPeer}), &askedApp, log.New(writer(func(line string) {
		if strings.Contains(line, "TLS handshake error") {
			refused.Store(true)
		}
	}), "", 0))
	n, err := etcdnode.Start(options[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Stop)
	etcdtest.Until(t, "the member spoke to the node and met the application", func() bool {
		return askedNode.Load() > 0 && (refused.Load() || askedApp.Load() > 0)
	})
	if askedApp.Load() > 0 {
		t.Error("an application in a member's place was spoken to")
	}
}

type writer func(string)

// Write implements io.Writer.
func (w writer) Write(p []byte) (int, error) {
	w(string(p))
	return len(p), nil
}

func TestNodeWhoseCertificateLacksTheNodesNameIsRefusedAtStart(t *testing.T) {
	ca, options := authority(t), etcdtest.Options(t, 1)
	secure(t, ca, options)
	good := options[0]
	bad := issue(t, ca, "node:a", []string{good.ListenPeer, good.ListenClient}, "node.a")
	for _, spoil := range []func(*etcdnode.Options){
		func(o *etcdnode.Options) { o.Peer = bad },
		func(o *etcdnode.Options) { o.Client = bad },
	} {
		o := good
		spoil(&o)
		n, err := etcdnode.Start(o)
		if err == nil {
			n.Stop()
		}
		if errs.KindOf(err) != errs.Invalid || !strings.Contains(err.Error(), bad.Cert) || !strings.Contains(err.Error(), `additional DNS name "`+pki.NodeDNS+`"`) {
			t.Errorf("started: %v", err)
		}
	}

	n, err := etcdnode.Start(good)
	if err != nil {
		t.Fatal(err)
	}
	n.Stop()
	good.Peer = bad
	err = etcdnode.Recover(t.Context(), good, func(context.Context, *clientv3.Client) error { return nil })
	if errs.KindOf(err) != errs.Invalid || !strings.Contains(err.Error(), filepath.Base(bad.Cert)) {
		t.Errorf("recovered: %v", err)
	}
}

package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"perdure/internal/pki"
	"perdure/internal/unit"
)

// estateTLS gives machine certificates of one authority.
type estateTLS struct {
	t  *testing.T
	ca *pki.Authority
}

func newEstateTLS(t *testing.T) *estateTLS {
	t.Helper()
	ca, err := pki.NewAuthority("test estate", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return &estateTLS{t, ca}
}

// files gives the identity of a machine; dials go to 127.0.0.1.
func (e *estateTLS) files(cn string) pki.Files {
	e.t.Helper()
	pair, err := e.ca.Issue(pki.Request{CommonName: cn, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true, Client: true, Validity: time.Hour}, time.Now())
	if err != nil {
		e.t.Fatal(err)
	}
	f := pki.FilesIn(e.t.TempDir(), "id")
	if err := f.Write(pair, e.ca.Pair().Cert); err != nil {
		e.t.Fatal(err)
	}
	return f
}

func (e *estateTLS) server(cn string) *tls.Config {
	c, err := e.files(cn).ServerTLS(false)
	if err != nil {
		e.t.Fatal(err)
	}
	return c
}

func (e *estateTLS) client(cn string) *tls.Config {
	f := e.files(orDefault(cn, "nobody"))
	if cn == "" {
		f.Cert, f.Key = "", ""
	}
	c, err := f.ClientTLS()
	if err != nil {
		e.t.Fatal(err)
	}
	return c
}

// get asks the admin port.
func get(t *testing.T, url string, c *tls.Config) (int, string) {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: c}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestAdminPortLetsOnlyMachinesInAndHealthIsOpen(t *testing.T) {
	e := newEstateTLS(t)
	w := start(t, func(o *Options) { o.AdminTLS, o.AdminOpen = e.server("gateway:a"), false })
	nobody, node, app, peer := e.client(""), e.client("node:b"), e.client("app:bank-a"), e.client("gateway:b")
	base := "https://" + w.g.AdminAddr()
	if status, _ := get(t, base+"/healthz", nobody); status != 503 {
		t.Errorf("healthy without a table: %d", status)
	}
	a := newApp(t, "app-a", "a", own(1, 5))
	w.feed.put(t, input(4, "a", own(1, 5), a))
	for _, c := range []struct {
		path string
		as   *tls.Config
		want int
	}{
		{"/healthz", nobody, 200},
		{"/table", nobody, 401},
		{"/metrics", nobody, 401},
		{"/ledger", nobody, 401},
		{"/ledger/b", nobody, 401},
		{"/table", app, 403},
		{"/ledger", app, 403},
		{"/metrics", app, 403},
		{"/table", node, 200},
		{"/metrics", node, 200},
		{"/ledger?unit=u1", node, 200},
		{"/ledgers", nobody, 401},
		{"/ledgers", app, 403},
		{"/ledgers", node, 200},
		{"/input", nobody, 401},
		{"/input", node, 403},
		{"/input", app, 403},
		{"/input", peer, 200},
		{"/ledger/b", node, 403},
		{"/ledger/b", peer, 200},
		{"/ledger/c", peer, 403},
		{"/ledger/a", peer, 400},
		{"/ledger/..", peer, 404},
		{"/elsewhere", node, 404},
	} {
		if status, body := get(t, base+c.path, c.as); status != c.want {
			t.Errorf("%s: %d %s, want %d", c.path, status, body, c.want)
		}
	}
	if _, body := get(t, base+"/table", node); !strings.Contains(body, `"ownership":"1.x.5"`) || !strings.Contains(body, `"decision":"serve"`) {
		t.Error(body)
	}
}

func TestAdminPortWithoutTLSIsClosedUnlessOpened(t *testing.T) {
	w := start(t, func(o *Options) { o.AdminOpen = false })
	if status, _ := get(t, "http://"+w.g.AdminAddr()+"/table", nil); status != 401 {
		t.Errorf("status %d", status)
	}
}

func TestMetricsTellWhatHappened(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	w := start(t, nil)
	w.feed.put(t, with(input(1, "a", own(1, 5), a), state(unit.Promoting, unit.Promotion)))
	got := begin(func() answer { return w.keyed("k1") })
	w.until("the request is held", func() bool { return w.held() == 1 })
	_, during := get(t, "http://"+w.g.AdminAddr()+"/metrics", nil)
	w.feed.put(t, input(2, "a", own(1, 5), a))
	if x := w.answered(got); x.status != 200 {
		t.Fatal(x)
	}
	if got := w.keyed("k1"); got.header.Get("Perdure-Outcome") != "replayed" {
		t.Fatal(got)
	}
	w.raw("nonsense\r\n\r\n")
	_, after := get(t, "http://"+w.g.AdminAddr()+"/metrics", nil)
	for _, c := range []struct{ text, want string }{
		{during, `perdure_gateway_held_requests{system="bank"} 1`},
		{during, `perdure_gateway_unit_closed{system="bank",unit="u1"} 1`},
		{during, `perdure_gateway_table_version 1`},
		{after, `perdure_gateway_requests_total{outcome="committed",system="bank",unit="u1"} 1`},
		{after, `perdure_gateway_requests_total{outcome="replayed",system="bank",unit="u1"} 1`},
		{after, `perdure_gateway_holds_total{system="bank",unit="u1"} 1`},
		{after, `perdure_gateway_held_requests{system="bank"} 0`},
		{after, `perdure_gateway_table_version 2`},
		{after, `perdure_gateway_malformed_total 1`},
		{after, `perdure_gateway_instance_up{instance="app-a",site="a",system="bank"} 1`},
		{after, `perdure_gateway_request_seconds_count{system="bank",unit="u1"} 2`},
	} {
		if !strings.Contains(c.text, c.want+"\n") {
			t.Errorf("missing %s", c.want)
		}
	}
}

func TestTrafficOverTLSNamesTheCallerByItsCertificate(t *testing.T) {
	e := newEstateTLS(t)
	a := newApp(t, "app-a", "a", own(1, 5))
	w := start(t, func(o *Options) { o.TLS = e.server("gateway:a") })
	w.feed.put(t, input(1, "a", own(1, 5), a))
	post := func(c *tls.Config) {
		t.Helper()
		tr := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}
		defer tr.CloseIdleConnections()
		r, err := http.NewRequest("POST", "https://"+w.g.Addr()+"/transfer", strings.NewReader("pay"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Account", "acc-1")
		r.Header.Set("Perdure-Caller", "somebody else")
		r.Header.Set("Perdure-Caller", "somebody-else")
		resp, err := (&http.Client{Transport: tr}).Do(r)
		if err != nil || resp.StatusCode != 200 || resp.ProtoMajor != 1 {
			t.Fatal(resp, err)
		}
		resp.Body.Close()
	}
	post(e.client("teller:7"))
	if r := w.arrival(a); r.Header.Get("Perdure-Caller") != "teller:7" {
		t.Errorf("caller %q", r.Header.Get("Perdure-Caller"))
	}
	post(e.client(""))
	if r := w.arrival(a); r.Header.Get("Perdure-Caller") != "somebody-else" {
		t.Errorf("caller %q", r.Header.Get("Perdure-Caller"))
	}
}

func TestInstancesAreReachedOverTLS(t *testing.T) {
	e := newEstateTLS(t)
	a := newApp(t, "app-a", "a", own(1, 5))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(a.serve), TLSConfig: e.server("app:bank-a")}
	go func() { _ = srv.ServeTLS(ln, "", "") }()
	defer srv.Close()
	w := start(t, func(o *Options) { o.UpstreamTLS = e.client("gateway:a") })
	in := input(1, "a", own(1, 5), a)
	in.Instances[0].Address = "https://" + ln.Addr().String()
	w.feed.put(t, in)
	for n := range 3 {
		if got := w.keyed(fmt.Sprint("k", n)); got.status != 200 {
			t.Fatal(got)
		}
		if r := w.arrival(a); r.TLS == nil || r.TLS.PeerCertificates[0].Subject.CommonName != "gateway:a" {
			t.Fatal("the gateway did not show its certificate")
		}
	}
	if got := w.do("POST", "/transfer", "pay", "X-Account: acc-1"); got.status != 200 { // not to be repeated: a connection of its own
		t.Fatal(got)
	}
}

// entries reads the ledger a gateway gives out.
func entries(t *testing.T, url string, c *tls.Config) []Entry {
	t.Helper()
	status, body := get(t, url, c)
	if status != 200 {
		t.Fatal(status, body)
	}
	var out []Entry
	lines := bufio.NewScanner(strings.NewReader(body))
	for lines.Scan() {
		var e Entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		out = append(out, e)
	}
	return out
}

func TestAcknowledgedWritesAreInTheLedgersOfAllSites(t *testing.T) {
	e := newEstateTLS(t)
	a := newApp(t, "app-a", "a", own(1, 5))
	c := start(t, func(o *Options) { o.Name, o.Site, o.AdminTLS = "c", "c", e.server("gateway:c") })
	w := start(t, func(o *Options) {
		o.AdminTLS, o.PeerTLS = e.server("gateway:a"), e.client("gateway:a")
		o.Peers = []Peer{{Name: "c", URL: "https://" + c.g.AdminAddr()}}
		o.Ledger.FileBytes = 2000
	})
	w.feed.put(t, input(1, "a", own(1, 5), a))
	for n := range 40 {
		if got := w.keyed(fmt.Sprintf(`"k-%d"`, n), "Perdure-Caller: teller"); got.status != 200 {
			t.Fatal(got)
		}
	}
	w.do("GET", "/balance", "", "X-Account: acc-1")           // reads and unkeyed writes are not noted
	w.do("POST", "/transfer", "pay", "X-Account: acc-1")      //
	w.keyed(`"k-0"`, "Perdure-Caller: teller", "X-Nothing: ") // replayed: acknowledged again, noted again
	node := e.client("node:c")
	url := "https://" + c.g.AdminAddr() + "/ledger?unit=u1"
	var got []Entry
	c.until("all of it is at the other site", func() bool {
		got = entries(t, url, node)
		return len(got) == 41
	})
	first := got[0]
	if first.Key != "k-0" || first.RoutingKey != "acc-1" || first.Caller != "teller" || first.Unit != "u1" || first.System != "bank" || first.Ownership != "1.x.5" ||
		first.From != "a" || first.Receipt.Seq != 1 || first.Receipt.Amount != "12.50" || !slices.Equal(first.Receipt.Accounts, []string{"a1", "a2"}) || first.At == 0 {
		t.Errorf("%+v", first)
	}
	if got := entries(t, url+fmt.Sprintf("&since=%d", first.At), node); len(got) != 41 {
		t.Errorf("since the first: %d entries", len(got))
	}
	if got := entries(t, url+fmt.Sprintf("&since=%d", time.Now().Add(time.Hour).UnixMilli()), node); len(got) != 0 {
		t.Errorf("from the future: %d entries", len(got))
	}
	if got := entries(t, strings.Replace(url, "u1", "u2", 1), node); len(got) != 0 {
		t.Errorf("of another unit: %d entries", len(got))
	}
	if got := entries(t, url+"&from=b", node); len(got) != 0 {
		t.Errorf("of another gateway: %d entries", len(got))
	}
	if status, _ := get(t, url+"&since=yesterday", node); status != 400 {
		t.Errorf("since yesterday: %d", status)
	}
	w.keyed("k-last") // into the next file
	c.until("it is at the other site too", func() bool { return len(entries(t, url, node)) == 42 })
	files, err := ledgerFiles(filepath.Join(c.g.o.Data, "ledger", "a"))
	if err != nil || len(files) < 2 {
		t.Errorf("files %v, %v: the ledger was not rotated", files, err)
	}
}

func TestLedgerIsShippedOnceThePeerCanBeReachedAgain(t *testing.T) {
	e := newEstateTLS(t)
	a := newApp(t, "app-a", "a", own(1, 5))
	cut := make(chan struct{})
	data := t.TempDir()
	cData := t.TempDir()
	c := start(t, func(o *Options) {
		o.Name, o.Site, o.AdminTLS, o.Data = "c", "c", e.server("gateway:c"), cData
	})
	options := func(o *Options) {
		o.Data, o.AdminTLS, o.PeerTLS = data, e.server("gateway:a"), e.client("gateway:a")
		o.Peers = []Peer{{Name: "c", URL: "https://" + c.g.AdminAddr()}}
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == c.g.AdminAddr() {
				select {
				case <-cut:
				default:
					return nil, errors.New("the link is cut")
				}
			}
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}
	}
	w := start(t, options)
	w.feed.put(t, input(1, "a", own(1, 5), a))
	for n := range 10 {
		w.keyed(fmt.Sprint("k", n))
	}
	w.stop() // before anything was shipped
	close(cut)
	again := start(t, options)
	again.feed.put(t, input(2, "a", own(1, 5), a))
	again.keyed("k10")
	url, node := "https://"+c.g.AdminAddr()+"/ledger", e.client("node:c")
	c.until("all of it is at the other site", func() bool { return len(entries(t, url, node)) == 11 })
}

func TestShipmentThatComesTwiceIsKeptOnce(t *testing.T) {
	l, err := openLedger(t.TempDir(), "c", LedgerOptions{FileBytes: 1 << 20, Files: 3, Buffer: 1 << 20, Every: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	line := []byte(`{"at":1,"unit":"u1","key":"k"}` + "\n")
	n := int64(len(line))
	for i, c := range []struct{ at, want position }{
		{position{10, 0}, position{10, n}},
		{position{10, 0}, position{10, n}},           // again
		{position{10, 2 * n}, position{10, n}},       // a gap: go back
		{position{10, n}, position{10, 2 * n}},       //
		{position{9, 0}, position{10, 2 * n}},        // an older file
		{position{11, n}, position{10, 2 * n}},       // the middle of a file never seen
		{position{12, 0}, position{12, n}},           // the next file, one is gone at the sender
		{position{13, 0}, position{13, n}},           //
		{position{14, 0}, position{14, n}},           // more than are kept: the oldest goes
		{position{14, 0}, position{14, n}},           //
		{position{1 << 62, 0}, position{1 << 62, n}}, //
	} {
		got, err := l.copyIn("a", c.at, line)
		if err != nil || got != c.want {
			t.Fatalf("step %d: %v, %v; want %v", i, got, err, c.want)
		}
	}
	files, err := ledgerFiles(filepath.Join(l.dir, "a"))
	if err != nil || !slices.Equal(files, []uint64{13, 14, 1 << 62}) {
		t.Errorf("files %v, %v", files, err)
	}
}

func TestLedgerThatCannotBeWrittenDoesNotStopTraffic(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	w := start(t, func(o *Options) { o.Ledger.Buffer = 200 })
	w.feed.put(t, input(1, "a", own(1, 5), a))
	if err := os.RemoveAll(filepath.Join(w.g.o.Data, "ledger")); err != nil {
		t.Fatal(err)
	}
	w.g.ledger.writing.Lock() // a disk that hangs
	for n := range 20 {
		if got := w.keyed(fmt.Sprint("k", n)); got.status != 200 {
			t.Fatal(got)
		}
	}
	w.g.ledger.writing.Unlock()
}

func TestTornLineIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	o := LedgerOptions{FileBytes: 1 << 20, Files: 3, Buffer: 1 << 20, Every: time.Hour}
	l, err := openLedger(dir, "a", o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.file.WriteString(`{"at":5,"unit":"u1","key":"k1","receipt":{"seq":1}}` + "\n" + `{"at":6,"unit":"u1","ke`); err != nil {
		t.Fatal(err)
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	again, err := openLedger(dir, "a", o)
	if err != nil {
		t.Fatal(err)
	}
	defer again.close()
	if _, err := again.file.WriteString(`{"at":7,"unit":"u1","key":"k2","receipt":{"seq":2}}` + "\n"); err != nil {
		t.Fatal(err)
	}
	var keys []string
	if err := again.each(ledgerFilter{}, func(e *Entry) error {
		keys = append(keys, e.Key)
		return nil
	}); err != nil || !slices.Equal(keys, []string{"k1", "k2"}) {
		t.Errorf("%v, %v", keys, err)
	}
	// What is shipped has no torn line either; its first line says when the ledger began.
	var shipped []byte
	for at := (position{}); ; {
		chunk, from, err := again.read(at)
		if err != nil {
			t.Fatal(err)
		}
		if len(chunk) == 0 {
			break
		}
		shipped = append(shipped, chunk...)
		at = position{from.File, from.Offset + int64(len(chunk))}
	}
	if n := strings.Count(string(shipped), "\n"); n != 4 || !strings.HasPrefix(string(shipped), `{"at":`) || strings.Contains(string(shipped), `"at":6`) {
		t.Errorf("shipped %q", shipped)
	}
}

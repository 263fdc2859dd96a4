package hosts

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"perdure/internal/errs"
)

func parse(t *testing.T, text string) *Table {
	t.Helper()
	table, err := Parse("hosts", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

const example = `
# view of site a
127.1.1.1 node.a.perdure.internal gateway.a.perdure.internal
127.1.2.1 node.b.perdure.internal # through the link
::1       six.a.perdure.internal
127.1.3.1 both.perdure.internal
127.1.2.1 both.perdure.internal
`

func TestLookupKnowsWhatTheFileSays(t *testing.T) {
	table := parse(t, example)
	for name, want := range map[string]string{
		"node.a.perdure.internal":     "127.1.1.1",
		"GATEWAY.a.perdure.internal.": "127.1.1.1",
		"node.b.perdure.internal":     "127.1.2.1",
		"both.perdure.internal":       "127.1.3.1 127.1.2.1",
		"127.9.9.9":                   "127.9.9.9",
		"node.c.perdure.internal":     "",
		"a..b":                        "",
	} {
		addrs, ok := table.Lookup(name)
		if got := strings.Trim(strings.ReplaceAll(strings.Trim(strings.Join(texts(addrs), " "), "[]"), ",", ""), " "); got != want || ok != (want != "") {
			t.Errorf("Lookup(%q) = %q, %v; want %q", name, got, ok, want)
		}
	}
	if names := table.Names(); !slices.IsSorted(names) || len(names) != 5 {
		t.Errorf("names %v", names)
	}
}

func texts(addrs []netip.Addr) []string {
	var out []string
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return out
}

func TestWrongLineIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1 a\nnowhere b\n":                "hosts:2: \"nowhere\" is not an address",
		"127.0.0.1\n":                             "hosts:1: address 127.0.0.1 has no name",
		"127.0.0.1 -a\n":                          "hosts:1: \"-a\" is not a host name",
		"127.0.0.1 a" + strings.Repeat("x", 1e5):  "hosts:1: cannot read the line",
		"127.0.0.1 " + strings.Repeat("a.", 140):  "is not a host name",
		"127.0.0.1 ok\n\n# c\n127.0.0.2 b\xff\n":  "hosts:4:",
		"127.0.0.1 " + strings.Repeat("a", 64):    "is not a host name",
		"127.0.0.1 name.with.empty..label # dots": "is not a host name",
	} {
		_, err := Parse("hosts", strings.NewReader(text))
		if err == nil || !strings.Contains(err.Error(), want) || errs.KindOf(err) != errs.Invalid {
			t.Errorf("%.40q: error %v, want %q", text, err, want)
		}
	}
}

func TestMissingFileIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none")
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
	if err := os.WriteFile(path, []byte(example), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err != nil {
		t.Error(err)
	}
}

func TestResolverAnswersFromTheTable(t *testing.T) {
	r := parse(t, example).Resolver()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for name, want := range map[string][]string{
		"node.a.perdure.internal": {"127.1.1.1"},
		"Node.B.perdure.internal": {"127.1.2.1"},
		"six.a.perdure.internal":  {"::1"},
		"both.perdure.internal":   {"127.1.2.1", "127.1.3.1"},
	} {
		got, err := r.LookupHost(ctx, name)
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("LookupHost(%q) = %v, %v; want %v", name, got, err, want)
		}
	}
}

func TestDialerWithTheResolverReachesTheAddress(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.1.1.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	d := net.Dialer{Resolver: parse(t, example).Resolver(), Timeout: 30 * time.Second}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	c, err := d.Dial("tcp", net.JoinHostPort("gateway.a.perdure.internal", port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.RemoteAddr().String(); got != ln.Addr().String() {
		t.Errorf("reached %s, want %s", got, ln.Addr())
	}
}

func TestNameThatIsNotInTheTableIsForwarded(t *testing.T) {
	// A second table plays the system's name server, over TCP.
	server := parse(t, "192.0.2.7 www.example.com\n")
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			server.serve(c, "127.0.0.1:1")
		}
	}()
	defer func() { ln.Close(); <-done }()
	table := parse(t, example)
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return table.dial(ctx, network, ln.Addr().String())
	}}
	got, err := r.LookupHost(t.Context(), "www.example.com")
	if err != nil || !slices.Equal(got, []string{"192.0.2.7"}) {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := r.LookupHost(t.Context(), "node.a.perdure.internal"); err != nil || !slices.Equal(got, []string{"127.1.1.1"}) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestNilTableKnowsNoName(t *testing.T) {
	var table *Table
	if _, ok := table.Lookup("a"); ok || table.Names() != nil {
		t.Error("a nil table knows a name")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(example)
	f.Add("127.0.0.1 a b c\n::1%eth0 x\n")
	f.Fuzz(func(t *testing.T, text string) {
		table, err := Parse("f", strings.NewReader(text))
		if err != nil {
			return
		}
		for _, name := range table.Names() {
			if addrs, ok := table.Lookup(name); !ok || len(addrs) == 0 {
				t.Errorf("name %q is listed and not found", name)
			}
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04node\x01a\x07perdure\x08internal\x00\x00\x01\x00\x01"))
	table, err := Parse("hosts", strings.NewReader(example))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, question []byte) {
		table.answer(question)
		refuse(question)
	})
}

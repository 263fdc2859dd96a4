package pki_test

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"perdure/internal/errs"
	"perdure/internal/pki"
)

func issue(t *testing.T, ca *pki.Authority, dir, cn string, now time.Time) pki.Files {
	t.Helper()
	pair, err := ca.Issue(pki.Request{CommonName: cn, DNS: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true, Client: true, Validity: time.Hour}, now)
	if err != nil {
		t.Fatal(err)
	}
	f := pki.FilesIn(dir, cn)
	if err := f.Write(pair, ca.Pair().Cert); err != nil {
		t.Fatal(err)
	}
	return f
}

func authority(t *testing.T) *pki.Authority {
	t.Helper()
	ca, err := pki.NewAuthority("test estate", time.Now(), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// talk opens one connection and returns the names both ends saw.
func talk(t *testing.T, server, client *tls.Config) (seenByServer, seenByClient string, err error) {
	t.Helper()
	l, lerr := tls.Listen("tcp", "127.0.0.1:0", server)
	if lerr != nil {
		t.Fatal(lerr)
	}
	defer l.Close()
	done := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			done <- ""
			return
		}
		defer c.Close()
		tc := c.(*tls.Conn)
		if err := tc.Handshake(); err != nil {
			done <- ""
			return
		}
		_, _ = c.Write([]byte("x"))
		name := ""
		if certs := tc.ConnectionState().PeerCertificates; len(certs) > 0 {
			name = certs[0].Subject.CommonName
		}
		done <- name
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), client)
	if err != nil {
		<-done
		return "", "", err
	}
	defer c.Close()
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		<-done
		return "", "", err
	}
	return <-done, c.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

func TestBothEndsSeeTheIdentityOfTheOther(t *testing.T) {
	ca, dir := authority(t), t.TempDir()
	node, agent := issue(t, ca, dir, "node-a", time.Now()), issue(t, ca, dir, "agent-u1", time.Now())
	server, err := node.ServerTLS(false)
	if err != nil {
		t.Fatal(err)
	}
	client, err := agent.ClientTLS()
	if err != nil {
		t.Fatal(err)
	}
	bys, byc, err := talk(t, server, client)
	if err != nil || bys != "agent-u1" || byc != "node-a" {
		t.Fatalf("server saw %q, client saw %q, %v", bys, byc, err)
	}
}

func TestCertificateOfAnotherAuthorityIsRefused(t *testing.T) {
	ca, other := authority(t), authority(t)
	node := issue(t, ca, t.TempDir(), "node", time.Now())
	strange := issue(t, other, t.TempDir(), "agent", time.Now())
	strange.CA = node.CA // it trusts the server; the server must not trust it
	server, err := node.ServerTLS(false)
	if err != nil {
		t.Fatal(err)
	}
	client, err := strange.ClientTLS()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := talk(t, server, client); err == nil {
		t.Fatal("a certificate of another authority was accepted")
	}
}

func TestRenewedCertificateIsTakenUpWithoutRestart(t *testing.T) {
	ca, dir := authority(t), t.TempDir()
	files := issue(t, ca, dir, "node", time.Now())
	server, err := files.ServerTLS(false)
	if err != nil {
		t.Fatal(err)
	}
	first, err := server.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	issue(t, ca, dir, "node", time.Now())
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(files.Cert, later, later); err != nil {
		t.Fatal(err)
	}
	second, err := server.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	if string(first.Certificate[0]) == string(second.Certificate[0]) {
		t.Fatal("the old certificate is still shown")
	}
	if err := os.WriteFile(files.Key, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	third, err := server.GetCertificate(nil)
	if err != nil || string(third.Certificate[0]) != string(second.Certificate[0]) {
		t.Fatalf("a half-written key must leave the old pair in use: %v", err)
	}
}

func TestPrivateKeyIsReadableByItsOwnerOnly(t *testing.T) {
	files := issue(t, authority(t), t.TempDir(), "node", time.Now())
	info, err := os.Stat(files.Key)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
}

func TestLeafCannotActAsAuthority(t *testing.T) {
	ca := authority(t)
	pair, err := ca.Issue(pki.Request{CommonName: "x", Client: true, Validity: time.Hour}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pki.ParseAuthority(pair); err == nil {
		t.Fatal("a leaf was taken as an authority")
	}
}

func TestEndsNameEachFileAndItsFirstCertificateToEnd(t *testing.T) {
	now := time.Now()
	long, err := pki.NewAuthority("test", now, 1000*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	short, err := pki.NewAuthority("test", now, 10*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	f := issue(t, long, t.TempDir(), "node:a", now)
	bundle := append(append([]byte{}, long.Pair().Cert...), short.Pair().Cert...)
	if err := os.WriteFile(f.CA, bundle, 0o644); err != nil {
		t.Fatal(err)
	}
	ends, err := f.Ends()
	if err != nil || len(ends) != 2 || ends[0].File != f.Cert || ends[1].File != f.CA {
		t.Fatalf("%+v %v", ends, err)
	}
	if left := ends[1].At.Sub(now); left < 9*time.Hour || left > 11*time.Hour {
		t.Errorf("the bundle ends %s from now, its first certificate in 10 hours", left)
	}
	if err := os.WriteFile(f.Cert, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Ends(); err == nil {
		t.Error("a certificate that is none was read")
	}
}

func TestNodeNameIsFoundInTheCertificateItselfOnly(t *testing.T) {
	ca := authority(t)
	for what, c := range map[string]struct {
		dns  []string
		want string
	}{
		"a node's":            {[]string{"localhost", pki.NodeDNS}, ""},
		"without the name":    {[]string{"localhost", pki.NodeDNS + ".example"}, "additional DNS name"},
		"of any name at all":  {[]string{"*"}, "additional DNS name"},
		"with no name at all": {nil, "additional DNS name"},
	} {
		pair, err := ca.Issue(pki.Request{CommonName: "node:a", DNS: c.dns, Client: true, Validity: time.Hour}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		pair.Cert = append(pair.Cert, ca.Pair().Cert...) // a chain
		f := pki.FilesIn(t.TempDir(), "node")
		if err := f.Write(pair, ca.Pair().Cert); err != nil {
			t.Fatal(err)
		}
		err = f.CheckNode()
		if c.want == "" && err != nil || c.want != "" && (errs.KindOf(err) != errs.Invalid || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), f.Cert)) {
			t.Errorf("a certificate %s: %v", what, err)
		}
	}
	if err := pki.FilesIn(t.TempDir(), "node").CheckNode(); errs.KindOf(err) != errs.Invalid {
		t.Errorf("no file: %v", err)
	}
}

func TestPublicListenerTakesClientsWithAndWithoutACertificate(t *testing.T) {
	own, clients, stranger := authority(t), authority(t), authority(t)
	files := issue(t, own, t.TempDir(), "gateway:a", time.Now())
	of := func(ca *pki.Authority) *tls.Config {
		f := issue(t, ca, t.TempDir(), "teller", time.Now())
		f.CA = files.CA
		c, err := f.ClientTLS()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	nobody, err := (pki.Files{CA: files.CA}).ClientTLS()
	if err != nil {
		t.Fatal(err)
	}
	trusted := pki.FilesIn(t.TempDir(), "clients")
	if err := os.WriteFile(trusted.CA, clients.Pair().Cert, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		ca      string
		client  *tls.Config
		seen    string
		refused bool
	}{
		{trusted.CA, of(clients), "teller", false},
		{trusted.CA, nobody, "", false},
		{trusted.CA, of(stranger), "", true},
		{"", nobody, "", false},
	} {
		server, err := (pki.Files{Cert: files.Cert, Key: files.Key, CA: c.ca}).PublicTLS()
		if err != nil {
			t.Fatal(err)
		}
		c.client.ServerName = "localhost"
		seen, _, err := talk(t, server, c.client)
		if (err != nil) != c.refused || seen != c.seen {
			t.Errorf("it saw %q, %v; want %q, refused %t", seen, err, c.seen, c.refused)
		}
	}
}

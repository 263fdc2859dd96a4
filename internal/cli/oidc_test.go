package cli_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"perdure/internal/app"
	"perdure/internal/cli"
	"perdure/internal/signon/signontest"
)

// withProvider is a real node whose people sign on by a provider, and the context file of one of them.
func withProvider(t *testing.T) (*realNode, *signontest.Provider, string) {
	t.Helper()
	idp := signontest.Start(t)
	n := newRealNode(t)
	secret := n.path("oidc.secret")
	if err := os.WriteFile(secret, []byte(idp.ClientSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.config.OIDC = &app.OIDC{Issuer: idp.Issuer(), ClientID: idp.ClientID, ClientSecret: "file:" + secret, Roles: map[string][]string{"drc-commanders": {"commander"}}, FactorMethods: []string{"otp"}}
	n.write(t)
	n.start(t)
	context := n.path("ann.yaml")
	if err := os.WriteFile(context, []byte("endpoints: [https://"+n.config.Listen+"]\nca: pki/ca.crt\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return n, idp, context
}

// signOn runs the command and gives what it shows to the person as it shows it.
func signOn(t *testing.T, args ...string) (shown *bufio.Reader, ended <-chan result) {
	t.Helper()
	r, w := io.Pipe()
	done := make(chan result, 1)
	go func() {
		var out bytes.Buffer
		code := cli.Main(t.Context(), args, cli.Streams{In: strings.NewReader(""), Out: &out, Err: w, Getenv: func(string) string { return "" }})
		_ = w.Close()
		done <- result{code: code, out: out.String()}
	}()
	return bufio.NewReader(r), done
}

// lineWith reads until a line has the text.
func lineWith(t *testing.T, shown *bufio.Reader, text string) string {
	t.Helper()
	var all strings.Builder
	for {
		line, err := shown.ReadString('\n')
		all.WriteString(line)
		if strings.Contains(line, text) {
			return strings.TrimSpace(line)
		}
		if err != nil {
			t.Fatalf("%q is not shown: %s", text, all.String())
		}
	}
}

func get(t *testing.T, address string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func TestPersonSignsOnByABrowserAndByAnotherDevice(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real node")
	}
	n, idp, context := withProvider(t)
	idp.Lie(func(c map[string]any) { c["amr"] = []string{"otp"} })
	idp.Person("sub-ann", "ann", "drc-commanders")
	shown, ended := signOn(t, "login", "--oidc", "--context", context)
	back := signontest.Browse(t.Context(), t, lineWith(t, shown, "http://"))
	u, err := url.Parse(back)
	if err != nil || u.Hostname() != "127.0.0.1" || u.Path != "/callback" {
		t.Fatalf("%q, %v", back, err)
	}
	forged := *u
	q := forged.Query()
	q.Set("state", "of-somebody-else")
	forged.RawQuery = q.Encode()
	if status := get(t, forged.String()); status != http.StatusBadRequest {
		t.Errorf("an answer with another state: %d", status)
	}
	if status := get(t, back); status != http.StatusOK {
		t.Errorf("the answer: %d", status)
	}
	if _, err := io.Copy(io.Discard, shown); err != nil {
		t.Error(err)
	}
	if r := <-ended; r.code != 0 || !strings.Contains(r.out, "logged in as ann (commander)") || strings.Contains(r.out, "second factor: none") {
		t.Errorf("exit %d: %s", r.code, r.out)
	}
	n.want(t, 0, "ann", "user", "list")
	n.want(t, 0, "user.add", "events")
	if r := run(t.Context(), call{args: []string{"session", "list", "--context", context}}); r.code != 0 || !strings.Contains(r.out, "ann") {
		t.Errorf("the session is not used: exit %d: %s%s", r.code, r.out, r.err)
	}
	if r := run(t.Context(), call{args: []string{"logout", "--context", context}}); r.code != 0 {
		t.Errorf("exit %d: %s", r.code, r.err)
	}

	idp.Lie(nil)
	idp.Person("sub-ann", "ann", "drc-commanders")
	idp.Confirm()
	shown, ended = signOn(t, "login", "--oidc", "--device", "--lang", "zh", "--context", context)
	lineWith(t, shown, "WDJB-MJHT")
	if _, err := io.Copy(io.Discard, shown); err != nil {
		t.Error(err)
	}
	if r := <-ended; r.code != 0 || !strings.Contains(r.out, "已登录：ann（commander）") {
		t.Errorf("exit %d: %s", r.code, r.out)
	}
	step := func(code int, text, in string) {
		t.Helper()
		if r := run(t.Context(), call{in: in, args: []string{"login", "--step-up", "--context", context}}); r.code != code || !strings.Contains(r.out+r.err, text) {
			t.Errorf("exit %d: %s%s", r.code, r.out, r.err)
		}
	}
	step(6, "wrong", "no password at all\n000000\n")

	if r := run(t.Context(), call{in: annsPassword + "\n", args: []string{"user", "add", "cid", "--role", "operator", "--context", n.path("operator.yaml")}}); r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.err)
	}
	n.want(t, 2, "--subject is missing", "user", "link", "cid")
	n.want(t, 0, "user cid", "user", "link", "cid", "--subject", "sub-cid")
	for _, wrong := range []string{"login --device", "login --oidc --user ann", "login --oidc --step-up"} {
		if r := run(t.Context(), call{args: append(strings.Fields(wrong), "--context", context)}); r.code != 2 {
			t.Errorf("%s: exit %d: %s", wrong, r.code, r.err)
		}
	}

	// The provider refuses, and dies; local users log in as ever.
	shown, ended = signOn(t, "login", "--oidc", "--context", context)
	u, err = url.Parse(lineWith(t, shown, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	q = u.Query()
	if status := get(t, q.Get("redirect_uri")+"?error=access_denied&state="+q.Get("state")); status != http.StatusOK {
		t.Errorf("a refusal: %d", status)
	}
	lineWith(t, shown, "access_denied")
	if r := <-ended; r.code != 6 {
		t.Errorf("exit %d", r.code)
	}
	idp.Die(t)
	n.halt()
	n.start(t)
	if r := run(t.Context(), call{args: []string{"login", "--oidc", "--timeout", "2s", "--context", context}}); r.code != 5 || !strings.Contains(r.err, "perdure login --user NAME") {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
	if r := run(t.Context(), call{in: annsPassword + "\n", args: []string{"login", "--user", "cid", "--context", context}}); r.code != 0 {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
}

func TestNodeRefusesAWrongProviderBeforeItStarts(t *testing.T) {
	for name, c := range map[string]struct {
		oidc app.OIDC
		why  string
	}{
		"issuer":        {app.OIDC{Issuer: "http://sso.bank.example", ClientID: "p", Roles: map[string][]string{"g": {"viewer"}}}, "oidc.issuer"},
		"client":        {app.OIDC{Issuer: "https://sso.bank.example", Roles: map[string][]string{"g": {"viewer"}}}, "oidc.clientID"},
		"no roles":      {app.OIDC{Issuer: "https://sso.bank.example", ClientID: "p"}, "oidc.roles"},
		"unknown role":  {app.OIDC{Issuer: "https://sso.bank.example", ClientID: "p", Roles: map[string][]string{"g": {"king"}}}, "king"},
		"secret inside": {app.OIDC{Issuer: "https://sso.bank.example", ClientID: "p", ClientSecret: "hunter2", Roles: map[string][]string{"g": {"viewer"}}}, "env:NAME or file:PATH"},
		"no secret":     {app.OIDC{Issuer: "https://sso.bank.example", ClientID: "p", ClientSecret: "env:PERDURE_NOT_SET", Roles: map[string][]string{"g": {"viewer"}}}, "is empty"},
		"skew":          {app.OIDC{Issuer: "https://sso.bank.example", ClientID: "p", Skew: 1e12, Roles: map[string][]string{"g": {"viewer"}}}, "oidc.skew"},
	} {
		n := newRealNode(t)
		n.config.OIDC = &c.oidc
		n.write(t)
		r := run(t.Context(), call{args: []string{"node", "--config", n.path("node.yaml")}})
		if r.code == 0 || !strings.Contains(r.err, c.why) || strings.Contains(r.err, "hunter2") {
			t.Errorf("%s: exit %d: %s", name, r.code, r.err)
		}
	}
}

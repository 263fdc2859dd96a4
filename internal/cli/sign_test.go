package cli_test

import (
	"encoding/base32"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"perdure/internal/client"
	"perdure/internal/pki"
	"perdure/internal/wire"
)

const signedPlan = `apiVersion: perdure/v1
kind: Plan
name: leave
modes: [takeover, drill]
parameters: [{name: to, required: true}]
steps:
- {id: agree, approval: {of: [commander], text: "Leave for ${params.to}? 切换到 ${params.to}？"}}
- {id: told, after: [agree], notify: {to: [operator], text: "gone"}}
---
apiVersion: perdure/v1
kind: Calendar
name: always
timeZone: UTC
windows: [{name: always, cron: "0 0 * * *", duration: 24h}]
`

const (
	annsPassword   = "correct horse battery"
	annsPassphrase = "a stapled battery horse"
)

// enrol gives a user a second factor, and a session that has shown it, as the context file of theirs.
func (n *realNode) enrol(t *testing.T, name string) (context string) {
	t.Helper()
	trusted, err := pki.Files{CA: n.path("pki/ca.crt")}.ClientTLS()
	if err != nil {
		t.Fatal(err)
	}
	dial := func(token string) *client.Client {
		t.Helper()
		c, err := client.New(client.Options{Endpoints: []string{"https://" + n.config.Listen}, TLS: trusted, Token: token, Timeout: time.Minute, Attempt: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	in, err := dial("").Login(t.Context(), wire.Login{User: name, Password: annsPassword})
	if err != nil {
		t.Fatal(err)
	}
	secret := []byte("12345678901234567890")
	code, err := totp.GenerateCode(base32.StdEncoding.EncodeToString(secret), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	codes, err := dial(in.Secret).SetFactor(t.Context(), wire.NewFactor{Password: annsPassword, Secret: secret, Present: code})
	if err != nil {
		t.Fatal(err)
	}
	context = n.path(name + ".yaml")
	if err := os.WriteFile(context, []byte("endpoints: [https://"+n.config.Listen+"]\nca: pki/ca.crt\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := run(t.Context(), call{in: annsPassword + "\n" + codes[0] + "\n", args: []string{"login", "--user", name, "--context", context}}); r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.err)
	}
	return context
}

// TestApproverWhoCannotLogInDecidesByASignedText goes the whole way, for real: a key is made and added, the sessions are gone, a challenge is
// signed away from the node, another person hands it in, and the pack proves it without any server.
func TestApproverWhoCannotLogInDecidesByASignedText(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real node")
	}
	n := newRealNode(t)
	n.start(t)
	manifest := n.path("plan.yaml")
	if err := os.WriteFile(manifest, []byte(signedPlan), 0o600); err != nil {
		t.Fatal(err)
	}
	n.want(t, 0, "applied", "apply", "--yes", manifest)
	n.approve(t, "always")
	if r := run(t.Context(), call{in: annsPassword + "\n", args: []string{"user", "add", "ann", "--role", "commander", "--context", n.path("operator.yaml")}}); r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.err)
	}
	ann := n.enrol(t, "ann")

	key := n.path("ann.key")
	if r := run(t.Context(), call{in: "short\n", args: []string{"user", "key", "new", "--user", "ann", "--out", key}}); r.code == 0 {
		t.Error("a short passphrase is taken")
	}
	r := run(t.Context(), call{in: annsPassphrase + "\n", args: []string{"user", "key", "new", "--user", "ann", "--out", key}})
	if r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.err)
	}
	kept, err := os.ReadFile(key)
	info, _ := os.Stat(key)
	if err != nil || info.Mode().Perm() != 0o600 || !strings.HasPrefix(string(kept), "-----BEGIN AGE ENCRYPTED FILE-----") || strings.Contains(string(kept), "perdure-secret-key") {
		t.Errorf("%v %v %s", err, info.Mode(), kept)
	}
	if r := run(t.Context(), call{in: annsPassphrase + "\n", args: []string{"user", "key", "new", "--user", "ann", "--out", key}}); r.code != 7 {
		t.Errorf("a key is written over: exit %d", r.code)
	}
	annSays := func(code int, text string, args ...string) {
		t.Helper()
		if r := run(t.Context(), call{args: append(args, "--context", ann)}); r.code != code || !strings.Contains(r.out+r.err, text) {
			t.Errorf("%q: exit %d: %s%s", args, r.code, r.out, r.err)
		}
	}
	annSays(2, "stays with you", "user", "key", "add", key)
	n.want(t, 3, "shows a token", "user", "key", "add", key+".pub")
	annSays(0, "is added", "user", "key", "add", key+".pub", "--title", "laptop")
	annSays(0, "laptop", "user", "key", "list")
	n.want(t, 0, "laptop", "user", "key", "list", "ann")
	annSays(0, "logged out", "logout")

	n.want(t, 0, "", "run", "start", "leave", "--mode", "takeover", "--set", "to=b", "--id", "r1", "--yes", "--no-wait")
	var asked wire.Challenge
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 400 { // until the runner has asked
		if r = n.run(t, "run", "challenge", "r1", "agree", "--json"); r.code == 0 {
			break
		}
		<-tick.C
	}
	if err := json.Unmarshal([]byte(r.out), &asked); err != nil {
		t.Fatalf("%v: %s%s", err, r.out, r.err)
	}
	sign := func(in string, args ...string) result {
		return run(t.Context(), call{in: in, args: append([]string{"approval", "sign", "--key", key}, args...)})
	}
	r = sign("the wrong passphrase\n", "--decision", "approve", "--yes", asked.Text)
	if r.code == 0 || !strings.Contains(r.err, "passphrase is wrong") {
		t.Errorf("a wrong passphrase: exit %d: %s", r.code, r.err)
	}
	if r := sign(annsPassphrase+"\n", "--decision", "approve", asked.Text); r.code != 2 || r.out != "" {
		t.Errorf("without a word: exit %d: %s", r.code, r.err)
	}
	if r := sign("", "--decision", "decline", "--yes", asked.Text); r.code != 2 {
		t.Errorf("a refusal without a reason: exit %d: %s", r.code, r.err)
	}
	if r := sign("", "--decision", "maybe", "--yes", asked.Text); r.code != 2 {
		t.Errorf("no decision: exit %d: %s", r.code, r.err)
	}
	r = sign(asked.Text+"\n"+annsPassphrase+"\n", "--decision", "approve", "--comment", "power is lost", "--yes")
	if r.code != 0 || !strings.HasPrefix(r.out, "PDSIG:") || strings.Count(r.out, "\n") != 1 {
		t.Fatalf("exit %d: %s%s", r.code, r.out, r.err)
	}
	for _, shown := range []string{"run r1 of plan leave, mode takeover", "执行 r1，预案 leave，模式 主动接管", "Leave for b? 切换到 b？", asked.Asks.Digest.String()} {
		if !strings.Contains(r.err, shown) {
			t.Errorf("%q is not shown: %s", shown, r.err)
		}
	}
	text := strings.TrimSpace(r.out)
	n.want(t, 2, "leave --reason", "run", "approve", "r1", "agree", "--signed", text, "--reason", "x")
	n.want(t, 3, "says approved, and not declined", "run", "decline", "r1", "agree", "--signed", text)
	n.want(t, 0, "r1", "run", "approve", "r1", "agree", "--signed", text)
	n.want(t, 0, "done", "run", "watch", "r1")
	n.want(t, 0, "by signature, carried by admin", "run", "show", "r1")
	n.want(t, 3, "handed in before, by admin", "run", "approve", "r1", "agree", "--signed", text)

	keys := n.run(t, "evidence", "keys")
	if err := os.WriteFile(n.path("bank.keys"), []byte(keys.out), 0o600); err != nil {
		t.Fatal(err)
	}
	pack := n.path("r1.pack")
	n.want(t, 0, "", "evidence", "pack", "r1", "--out", pack)
	n.halt()
	verify := []string{"evidence", "verify", pack, "--keys", n.path("bank.keys")}
	n.want(t, 0, "step agree: approved by ann at", verify...)
	n.want(t, 0, "handed in by admin", verify...)
	n.want(t, 0, "的签名有效", append(verify, "--lang", "zh")...)
	files := filepath.Join(n.dir, "files")
	n.want(t, 0, "", append(verify, "--files", files)...)
	for name, want := range map[string]string{"report.en.html": "by signature, carried by admin", "report.zh-CN.html": "以签名作出，由 admin 递交"} {
		if report, err := os.ReadFile(filepath.Join(files, name)); err != nil || !strings.Contains(string(report), want) {
			t.Errorf("%s has no %q: %v", name, want, err)
		}
	}
}

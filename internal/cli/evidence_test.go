package cli_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"perdure/internal/evidence"
)

// packOf writes a pack that has nothing but its contents and a file, and the key of who signed it.
func packOf(t *testing.T) (pack, keys string) {
	t.Helper()
	private, public, err := note.GenerateKey(rand.Reader, "node-a")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	const program = `{"plan":"p"}`
	sum := sha256.Sum256([]byte(program))
	event, err := json.Marshal(map[string]any{"what": evidence.ContentsOfPack, "detail": evidence.Contents{Run: "r1", Files: map[string]string{"program.json": hex.EncodeToString(sum[:])}}})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := json.Marshal(evidence.Record{Key: "events/1", Revision: 1, Value: event})
	if err != nil {
		t.Fatal(err)
	}
	p := evidence.Pack{Leaves: []evidence.Leaf{{Data: leaf}}, Files: []evidence.File{{Name: "program.json", Data: []byte(program)}}}
	p.Checkpoint, err = evidence.Checkpoint{Origin: "perdure/1.x", Tree: tlog.Tree{N: 1, Hash: tlog.RecordHash(leaf)}}.Sign(signer)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	pack, keys = filepath.Join(dir, "r1.pack"), filepath.Join(dir, "bank.keys")
	for path, text := range map[string]string{pack: b.String(), keys: "# the bank's\n" + public + "\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return pack, keys
}

func TestEvidenceIsVerifiedWithoutAServer(t *testing.T) {
	pack, keys := packOf(t)
	r := run(t.Context(), call{args: []string{"evidence", "verify", pack, "--keys", keys}})
	if r.code != 0 || !strings.Contains(r.out, "good: every byte of the evidence of run r1") || !strings.Contains(r.out, "signed by node-a") {
		t.Errorf("%d %s %s", r.code, r.out, r.err)
	}
	text, err := os.ReadFile(pack)
	if err != nil {
		t.Fatal(err)
	}
	r = run(t.Context(), call{in: strings.Replace(string(text), `"run":"r1"`, `"run":"r2"`, 1), args: []string{"evidence", "verify", "-", "--keys", keys, "--json"}})
	var v evidence.Verdict
	if err := json.Unmarshal([]byte(r.out), &v); err != nil || r.code != 3 || len(v.Faults) == 0 || v.Faults[0].Section != "leaf 0" {
		t.Errorf("%d %s %s %v", r.code, r.out, r.err, err)
	}
	into := filepath.Join(t.TempDir(), "files")
	if r = run(t.Context(), call{args: []string{"evidence", "verify", "-", "--keys", keys, "--files", into}, in: strings.Replace(string(text), `{"plan":"p"}`, `{"plan":"q"}`, 1)}); r.code != 3 {
		t.Errorf("%d %s %s", r.code, r.out, r.err)
	}
	if left, err := os.ReadDir(filepath.Dir(into)); err != nil || len(left) > 0 {
		t.Errorf("a bad pack left %v, %v", left, err)
	}
	r = run(t.Context(), call{args: []string{"evidence", "verify", pack, "--keys", keys, "--files", into}})
	if got, err := os.ReadFile(filepath.Join(into, "program.json")); r.code != 0 || err != nil || string(got) != `{"plan":"p"}` {
		t.Errorf("%d %s %s %q, %v", r.code, r.out, r.err, got, err)
	}
	if r = run(t.Context(), call{args: []string{"evidence", "verify", pack, "--keys", keys, "--files", into}}); r.code == 0 || !strings.Contains(r.err, "exists; give another name") {
		t.Errorf("%d %s %s", r.code, r.out, r.err)
	}
	stranger := filepath.Join(t.TempDir(), "keys")
	_, public, err := note.GenerateKey(rand.Reader, "node-b")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stranger, []byte(public+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r = run(t.Context(), call{args: []string{"evidence", "verify", pack, "--keys", stranger}}); r.code != 3 || !strings.Contains(r.out, "nobody whose key is known") {
		t.Errorf("%d %s %s", r.code, r.out, r.err)
	}
}

func TestWrongCallsOfEvidenceSayWhatIsWrong(t *testing.T) {
	pack, keys := packOf(t)
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"evidence", "verify", pack}, 2, "--keys FILE is missing"},
		{[]string{"evidence", "verify"}, 2, "FILE is missing"},
		{[]string{"evidence", "verify", pack, "--keys", pack}, 2, "r1.pack:1: this is not a public key"},
		{[]string{"evidence", "verify", pack, "--keys", os.DevNull}, 2, "has no key in it"},
		{[]string{"evidence", "verify", pack + "x", "--keys", keys}, 4, "cannot read"},
		{[]string{"evidence", "pack", "r1"}, 2, "--out FILE is missing"},
		{[]string{"evidence", "verfy"}, 2, "did you mean verify"},
	} {
		r := run(t.Context(), call{args: c.args})
		if r.code != c.code || !strings.Contains(r.err, c.says) {
			t.Errorf("%v: %d %s", c.args, r.code, r.err)
		}
	}
}

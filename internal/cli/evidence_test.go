package cli_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
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

// exported writes stretches of a log into a folder, each up to an entry, and gives the keys of who signed it.
func exported(t *testing.T, dir string, ends ...int64) (keys string) {
	t.Helper()
	private, public, err := note.GenerateKey(rand.Reader, "node-a")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	var leaves [][]byte
	var hashes hashList
	add := func(data []byte) {
		more, err := tlog.StoredHashes(int64(len(leaves)), data, &hashes)
		if err != nil {
			t.Fatal(err)
		}
		leaves, hashes = append(leaves, data), append(hashes, more...)
	}
	from := int64(0)
	for _, to := range ends {
		for int64(len(leaves)) < to {
			add(fmt.Appendf(nil, `{"key":"events/%d","value":{}}`, len(leaves)))
		}
		event, err := json.Marshal(map[string]any{"what": evidence.ContentsOfPack, "detail": evidence.Contents{Leaves: []int64{}, Stretch: &evidence.Stretch{From: from, To: to}}})
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := json.Marshal(evidence.Record{Key: "events/x", Revision: 1, Value: event})
		if err != nil {
			t.Fatal(err)
		}
		add(leaf)
		size := int64(len(leaves))
		var p evidence.Pack
		var indexes []int64
		for i := from; i < to; i++ {
			indexes = append(indexes, i)
		}
		indexes = append(indexes, size-1)
		for _, i := range indexes {
			p.Leaves = append(p.Leaves, evidence.Leaf{Index: i, Data: leaves[i]})
		}
		if p.Tree, err = evidence.Prove(size, indexes, &hashes); err != nil {
			t.Fatal(err)
		}
		root, err := tlog.TreeHash(size, &hashes)
		if err != nil {
			t.Fatal(err)
		}
		if p.Checkpoint, err = (evidence.Checkpoint{Origin: "perdure/1.x", Tree: tlog.Tree{N: size, Hash: root}}).Sign(signer); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := p.Write(&b); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("log-1.x-%014d-%014d.pack", from, to)), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		from = to
	}
	keys = filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte(public+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return keys
}

type hashList []tlog.Hash

func (h *hashList) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = (*h)[x]
	}
	return out, nil
}

// TestExportedLogIsVerifiedAsAWhole: what is missing or exchanged between files is found too.
func TestExportedLogIsVerifiedAsAWhole(t *testing.T) {
	name := func(from, to int) string { return fmt.Sprintf("log-1.x-%014d-%014d.pack", from, to) }
	for what, c := range map[string]struct {
		wrong func(dir string) error
		says  string
	}{
		"all is there":       {func(string) error { return nil }, ""},
		"other files beside": {func(dir string) error { return os.WriteFile(filepath.Join(dir, "README"), []byte("x"), 0o600) }, ""},
		"a file is missing":  {func(dir string) error { return os.Remove(filepath.Join(dir, name(5, 9))) }, "entries 5 to 8 of log perdure/1.x are missing"},
		"the first one is":   {func(dir string) error { return os.Remove(filepath.Join(dir, name(0, 5))) }, "entries 0 to 4 of log perdure/1.x are missing"},
		"a file has another name": {func(dir string) error {
			return os.Rename(filepath.Join(dir, name(9, 30)), filepath.Join(dir, name(9, 31)))
		}, "it is not what its name says"},
		"a file was changed": {func(dir string) error {
			text, err := os.ReadFile(filepath.Join(dir, name(5, 9)))
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, name(5, 9)), bytes.Replace(text, []byte("events/7"), []byte("events/8"), 1), 0o600)
		}, "leaf 7"},
		"there is none": {func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, name(0, 5))), os.Remove(filepath.Join(dir, name(5, 9))), os.Remove(filepath.Join(dir, name(9, 30))))
		}, "has no file of the evidence log"},
	} {
		dir := t.TempDir()
		keys := exported(t, dir, 5, 9, 30)
		if err := c.wrong(dir); err != nil {
			t.Fatal(err)
		}
		r := run(t.Context(), call{args: []string{"evidence", "verify", dir, "--keys", keys}})
		if c.says == "" && (r.code != 0 || !strings.Contains(r.out, "files: 3, without a gap; entries: 30")) || c.says != "" && (r.code == 0 || !strings.Contains(r.out+r.err, c.says)) {
			t.Errorf("%s: %d %s %s", what, r.code, r.out, r.err)
		}
	}
	dir := t.TempDir()
	keys := exported(t, dir, 5)
	if r := run(t.Context(), call{args: []string{"evidence", "verify", filepath.Join(dir, name(0, 5)), "--keys", keys}}); r.code != 0 || !strings.Contains(r.out, "entries 0 to 4 of the log are all there") {
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

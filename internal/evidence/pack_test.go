package evidence_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"perdure/internal/evidence"
	"perdure/internal/heldorder"
)

// tester is a test, whoever runs it.
type tester interface {
	Helper()
	Fatal(args ...any)
}

// log is a log in memory.
type log struct {
	leaves [][]byte
	hashes []tlog.Hash
	signer note.Signer
	known  note.Verifiers
}

func newLog(t tester) *log {
	t.Helper()
	private, public, err := note.GenerateKey(rand.Reader, "node-a")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	return &log{signer: signer, known: note.VerifierList(verifier)}
}

func (l *log) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = l.hashes[x]
	}
	return out, nil
}

func (l *log) append(t tester, data []byte) int64 {
	t.Helper()
	hashes, err := tlog.StoredHashes(int64(len(l.leaves)), data, l)
	if err != nil {
		t.Fatal(err)
	}
	l.leaves, l.hashes = append(l.leaves, data), append(l.hashes, hashes...)
	return int64(len(l.leaves) - 1)
}

// pack takes leaves and files of the log.
func (l *log) pack(t tester, files map[string]string, indexes ...int64) evidence.Pack {
	t.Helper()
	return l.packed(t, evidence.Contents{Run: "r1", Leaves: indexes, Files: map[string]string{}}, files, indexes)
}

// packed is a pack with what its last leaf says of it.
func (l *log) packed(t tester, c evidence.Contents, files map[string]string, indexes []int64) evidence.Pack {
	t.Helper()
	if c.Files == nil {
		c.Files = map[string]string{}
	}
	var p evidence.Pack
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range files {
			if !yield(name) {
				return
			}
		}
	}) {
		sum := sha256.Sum256([]byte(files[name]))
		c.Files[name] = hex.EncodeToString(sum[:])
		p.Files = append(p.Files, evidence.File{Name: name, Data: []byte(files[name])})
	}
	event, err := json.Marshal(map[string]any{"what": evidence.ContentsOfPack, "detail": c})
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(evidence.Record{Key: "events/1", Revision: 7, Value: event})
	if err != nil {
		t.Fatal(err)
	}
	indexes = append(slices.Clone(indexes), l.append(t, data))
	l.append(t, []byte("the log goes on"))
	n := int64(len(l.leaves))
	root, err := tlog.TreeHash(n, l)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range indexes {
		p.Leaves = append(p.Leaves, evidence.Leaf{Index: i, Data: l.leaves[i]})
	}
	if p.Tree, err = evidence.Prove(n, indexes, l); err != nil {
		t.Fatal(err)
	}
	p.Checkpoint, err = evidence.Checkpoint{Origin: "perdure/test", Tree: tlog.Tree{N: n, Hash: root}}.Sign(l.signer)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func written(t tester, p evidence.Pack) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func verdictOf(t tester, pack []byte, known note.Verifiers) evidence.Verdict {
	t.Helper()
	v, err := evidence.Verify(bytes.NewReader(pack), known, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func small(t tester) (*log, evidence.Pack) {
	t.Helper()
	l := newLog(t)
	for i := range 21 {
		l.append(t, fmt.Appendf(nil, `{"entry":%d}`, i))
	}
	return l, l.pack(t, map[string]string{"report.html": "<p>passed</p>\n", "program.json": "{}"}, 3, 4, 7, 15)
}

// TestStretchOfTheLogHasAllOfItsLeavesAndNoOthers, of whatever runs they are.
func TestStretchOfTheLogHasAllOfItsLeavesAndNoOthers(t *testing.T) {
	l := newLog(t)
	for i := range 21 {
		l.append(t, fmt.Appendf(nil, `{"key":"journals/r%d/1","value":[{"attachments":[{"name":"f","sha256":"x"}]}]}`, i))
	}
	c := evidence.Contents{Leaves: []int64{}, Stretch: &evidence.Stretch{From: 5, To: 9}}
	p := l.packed(t, c, nil, []int64{5, 6, 7, 8})
	v := verdictOf(t, written(t, p), l.known)
	if !v.Good() || v.Run != "" || v.Stretch == nil || v.Stretch.From != 5 || v.Stretch.To != 9 || v.Stretch.Missing() != 0 {
		t.Fatalf("%+v", v)
	}
	for name, wrong := range map[string]evidence.Pack{
		"a leaf less":          l.packed(t, c, nil, []int64{5, 6, 8}),
		"the first one less":   l.packed(t, c, nil, []int64{6, 7, 8}),
		"the last one less":    l.packed(t, c, nil, []int64{5, 6, 7}),
		"a leaf more":          l.packed(t, c, nil, []int64{5, 6, 7, 8, 9}),
		"a leaf of before":     l.packed(t, c, nil, []int64{4, 5, 6, 7, 8}),
		"none":                 l.packed(t, evidence.Contents{Stretch: &evidence.Stretch{From: 5, To: 5}}, nil, nil),
		"backwards":            l.packed(t, evidence.Contents{Stretch: &evidence.Stretch{From: 5, To: 4}}, nil, nil),
		"beyond itself":        l.packed(t, evidence.Contents{Stretch: &evidence.Stretch{From: 5, To: 9000}}, nil, []int64{5}),
		"of a run too":         l.packed(t, evidence.Contents{Run: "r1", Stretch: c.Stretch}, nil, []int64{5, 6, 7, 8}),
		"with leaves of a run": l.packed(t, evidence.Contents{Leaves: []int64{5}, Stretch: c.Stretch}, nil, []int64{5, 6, 7, 8}),
		"with a file":          l.packed(t, c, map[string]string{"x": "y"}, []int64{5, 6, 7, 8}),
	} {
		if v := verdictOf(t, written(t, wrong), l.known); v.Good() {
			t.Errorf("%s: it is good", name)
		}
	}
	pack := written(t, p)
	for i := range pack {
		flipped := bytes.Clone(pack)
		flipped[i] ^= 1
		if v, err := evidence.Verify(bytes.NewReader(flipped), l.known, nil); err == nil && v.Good() {
			t.Fatalf("byte %d is another one, and nothing was found", i)
		}
	}
}

// TestStretchNamesWhatWasRetired, and is proved by what is left: of what it names there is nothing, and of the rest nothing is missing (E7).
func TestStretchNamesWhatWasRetired(t *testing.T) {
	l := newLog(t)
	for i := range 21 {
		l.append(t, fmt.Appendf(nil, `{"key":"events/%d","value":{}}`, i))
	}
	of := func(retired ...evidence.Range) evidence.Contents {
		return evidence.Contents{Leaves: []int64{}, Stretch: &evidence.Stretch{From: 5, To: 12, Retired: retired}}
	}
	for name, good := range map[string]evidence.Pack{
		"within":   l.packed(t, of(evidence.Range{From: 7, To: 9}), nil, []int64{5, 6, 9, 10, 11}),
		"at first": l.packed(t, of(evidence.Range{From: 5, To: 7}), nil, []int64{7, 8, 9, 10, 11}),
		"at last":  l.packed(t, of(evidence.Range{From: 10, To: 12}), nil, []int64{5, 6, 7, 8, 9}),
		"several":  l.packed(t, of(evidence.Range{From: 5, To: 6}, evidence.Range{From: 6, To: 8}, evidence.Range{From: 10, To: 12}), nil, []int64{8, 9}),
		"all":      l.packed(t, of(evidence.Range{From: 5, To: 12}), nil, nil),
	} {
		if v := verdictOf(t, written(t, good), l.known); !v.Good() || v.Stretch.Missing() == 0 {
			t.Errorf("%s: %v", name, v.Faults)
		}
	}
	for name, wrong := range map[string]evidence.Pack{
		"one more is missing":      l.packed(t, of(evidence.Range{From: 7, To: 9}), nil, []int64{5, 6, 10, 11}),
		"one of them is there":     l.packed(t, of(evidence.Range{From: 7, To: 9}), nil, []int64{5, 6, 8, 9, 10, 11}),
		"the last is missing":      l.packed(t, of(evidence.Range{From: 7, To: 9}), nil, []int64{5, 6, 9, 10}),
		"of what comes before":     l.packed(t, of(evidence.Range{From: 4, To: 7}), nil, []int64{7, 8, 9, 10, 11}),
		"of what comes behind":     l.packed(t, of(evidence.Range{From: 10, To: 13}), nil, []int64{5, 6, 7, 8, 9}),
		"backwards":                l.packed(t, of(evidence.Range{From: 9, To: 7}), nil, []int64{5, 6, 9, 10, 11}),
		"over each other":          l.packed(t, of(evidence.Range{From: 5, To: 8}, evidence.Range{From: 7, To: 9}), nil, []int64{9, 10, 11}),
		"in another order":         l.packed(t, of(evidence.Range{From: 10, To: 12}, evidence.Range{From: 5, To: 6}), nil, []int64{6, 7, 8, 9}),
		"of nothing":               l.packed(t, of(evidence.Range{From: 7, To: 7}), nil, []int64{5, 6, 7, 8, 9, 10, 11}),
		"without end in its range": l.packed(t, of(evidence.Range{From: 5, To: 1 << 62}), nil, nil),
	} {
		if v := verdictOf(t, written(t, wrong), l.known); v.Good() {
			t.Errorf("%s: it is good", name)
		}
	}
}

func TestSoundPackIsGood(t *testing.T) {
	l, p := small(t)
	v := verdictOf(t, written(t, p), l.known)
	if !v.Good() || v.Run != "r1" || v.Leaves != 5 || v.Size != 23 || v.Origin != "perdure/test" || fmt.Sprint(v.Signers) != "[node-a]" || len(v.Files) != 2 {
		t.Errorf("%+v", v)
	}
}

// TestEveryFlippedBitIsFoundWhereItIs goes over every byte of a small pack (E1).
func TestEveryFlippedBitIsFoundWhereItIs(t *testing.T) {
	l, p := small(t)
	pack := written(t, p)
	for at := range pack {
		for _, bit := range []int{0, 3, 5, 7} { // among them that of upper and lower case
			pack[at] ^= 1 << bit
			v := verdictOf(t, pack, l.known)
			found := slices.ContainsFunc(v.Faults, func(f evidence.Fault) bool {
				return f.Offset <= int64(at) && int64(at) < max(f.Offset+f.Length, f.Offset+1)
			})
			if v.Good() || !found {
				t.Fatalf("bit %d of byte %d of %d: %v", bit, at, len(pack), v.Faults)
			}
			pack[at] ^= 1 << bit
		}
	}
	t.Logf("every one of %d bytes", len(pack))
}

// TestForgedPacksAreFoundAlthoughTheirHashesAreMadeAnew is about whoever can write packs, and cannot sign.
func TestForgedPacksAreFoundAlthoughTheirHashesAreMadeAnew(t *testing.T) {
	l, p := small(t)
	clone := func() evidence.Pack {
		q := p
		q.Leaves, q.Files = slices.Clone(p.Leaves), slices.Clone(p.Files)
		return q
	}
	stranger := newLog(t)
	for _, c := range []struct {
		name    string
		forge   func(q *evidence.Pack)
		section string
	}{
		{"a leaf is taken out", func(q *evidence.Pack) { q.Leaves = slices.Delete(q.Leaves, 1, 2) }, "leaf 4"},
		{"two leaves are exchanged", func(q *evidence.Pack) { q.Leaves[0], q.Leaves[1] = q.Leaves[1], q.Leaves[0] }, "leaf 3"},
		{"two leaves have each other's text", func(q *evidence.Pack) { q.Leaves[0].Data, q.Leaves[1].Data = q.Leaves[1].Data, q.Leaves[0].Data }, "tree"},
		{"a leaf is changed", func(q *evidence.Pack) { q.Leaves[2].Data = []byte(`{"entry":8}`) }, "tree"},
		{"the tree is changed", func(q *evidence.Pack) { q.Tree = slices.Clone(q.Tree); q.Tree[1][0]++ }, "tree"},
		{"the tree is longer", func(q *evidence.Pack) { q.Tree = append(slices.Clone(q.Tree), q.Tree[0]) }, "tree"},
		{"a leaf of the log is put in", func(q *evidence.Pack) {
			var err error
			if q.Tree, err = evidence.Prove(23, []int64{3, 4, 5, 7, 15, 21}, l); err != nil {
				t.Fatal(err)
			}
			q.Leaves = slices.Insert(q.Leaves, 2, evidence.Leaf{Index: 5, Data: l.leaves[5]})
		}, "leaf 5"},
		{"a leaf that never was is put in", func(q *evidence.Pack) {
			q.Leaves = slices.Insert(q.Leaves, 2, evidence.Leaf{Index: 6, Data: []byte("never")})
		}, "leaf 6"},
		{"the contents are taken out", func(q *evidence.Pack) { q.Leaves = q.Leaves[:4] }, "checkpoint"},
		{"a file is changed", func(q *evidence.Pack) { q.Files[1].Data = []byte("<p>failed</p>\n") }, "file report.html"},
		{"a file is taken out", func(q *evidence.Pack) { q.Files = q.Files[:1] }, "file report.html"},
		{"a file is put in", func(q *evidence.Pack) { q.Files = append(q.Files, evidence.File{Name: "x", Data: nil}) }, "file x"},
		{"two files are exchanged", func(q *evidence.Pack) { q.Files[0], q.Files[1] = q.Files[1], q.Files[0] }, "file program.json"},
		{"a file stands twice", func(q *evidence.Pack) { q.Files = append(q.Files, q.Files[1]) }, "file report.html"},
		{"another log's checkpoint", func(q *evidence.Pack) {
			for range 30 {
				stranger.append(t, []byte("x"))
			}
			q.Checkpoint = stranger.pack(t, nil, 1).Checkpoint
		}, "checkpoint"},
		{"the checkpoint is of a smaller log", func(q *evidence.Pack) {
			root, err := tlog.TreeHash(10, l)
			if err != nil {
				t.Fatal(err)
			}
			q.Checkpoint, _ = evidence.Checkpoint{Origin: "perdure/test", Tree: tlog.Tree{N: 10, Hash: root}}.Sign(l.signer)
		}, "leaf 15"},
		{"the checkpoint is not signed", func(q *evidence.Pack) {
			q.Checkpoint = []byte(regexp.MustCompile(`(?s)\n\n.*`).ReplaceAllString(string(q.Checkpoint), "\n\n"))
		}, "checkpoint"},
		{"the checkpoint is missing", func(q *evidence.Pack) { q.Checkpoint = nil }, "checkpoint"},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := clone()
			c.forge(&q)
			v := verdictOf(t, written(t, q), l.known)
			if !slices.ContainsFunc(v.Faults, func(f evidence.Fault) bool { return f.Section == c.section }) {
				t.Errorf("want a fault of %s, got %v", c.section, v.Faults)
			}
		})
	}
}

// TestSectionsThatStandElsewhereAreFound is about whoever moves whole sections, and makes the hash of the end anew.
func TestSectionsThatStandElsewhereAreFound(t *testing.T) {
	l, p := small(t)
	pack := written(t, p)
	at := func(head string) int {
		n := bytes.Index(pack, []byte("\n"+head+" ")) + 1
		if n == 0 {
			t.Fatal(head)
		}
		return n
	}
	leaf, file, tree, checkpoint, end := at("leaf"), at("file"), at("tree"), at("checkpoint"), at("end")
	ended := func(parts ...[]byte) []byte {
		all := bytes.Join(parts, nil)
		return fmt.Appendf(all, "end %x\n", sha256.Sum256(all))
	}
	if !bytes.Equal(ended(pack[:end]), pack) {
		t.Fatal("the test ends packs otherwise")
	}
	for name, moved := range map[string][]byte{
		"the tree before the leaves":      ended(pack[:leaf], pack[tree:checkpoint], pack[leaf:tree], pack[checkpoint:end]),
		"the tree before the files":       ended(pack[:file], pack[tree:checkpoint], pack[file:tree], pack[checkpoint:end]),
		"the files before the leaves":     ended(pack[:leaf], pack[file:tree], pack[leaf:file], pack[tree:end]),
		"the checkpoint before the tree":  ended(pack[:tree], pack[checkpoint:end], pack[tree:checkpoint]),
		"the checkpoint before the files": ended(pack[:file], pack[checkpoint:end], pack[file:checkpoint]),
		"two trees":                       ended(pack[:checkpoint], pack[tree:end]),
		"two checkpoints":                 ended(pack[:end], pack[checkpoint:end]),
	} {
		if v := verdictOf(t, moved, l.known); v.Good() {
			t.Errorf("%s: good", name)
		}
	}
}

func TestCutAndLengthenedPacksAreFound(t *testing.T) {
	l, p := small(t)
	pack := written(t, p)
	for n := range pack {
		if v := verdictOf(t, pack[:n], l.known); v.Good() {
			t.Fatalf("cut to %d bytes of %d: good", n, len(pack))
		}
	}
	if v := verdictOf(t, append(slices.Clone(pack), "x"...), l.known); v.Good() {
		t.Error("a byte more: good")
	}
	huge := bytes.Replace(pack, []byte("leaf 3 "), []byte("leaf 3"+strings.Repeat("0", 20000)+" "), 1)
	if v := verdictOf(t, huge, l.known); v.Good() {
		t.Error("a line without end: good")
	}
}

func TestUnknownSignersAreSaid(t *testing.T) {
	_, p := small(t)
	v := verdictOf(t, written(t, p), newLog(t).known)
	if v.Good() || len(v.Faults) != 1 || v.Faults[0].Section != "checkpoint" || len(v.Signers) != 0 {
		t.Errorf("%+v", v)
	}
}

// TestProofStandsForEveryOtherLeaf takes any leaves out of logs of any size.
func TestProofStandsForEveryOtherLeaf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLog(t)
		var some []int64
		for i := range rapid.IntRange(1, 70).Draw(t, "leaves") {
			l.append(t, fmt.Appendf(nil, "%d", i))
			if rapid.Bool().Draw(t, "in") {
				some = append(some, int64(i))
			}
		}
		if v := verdictOf(t, written(t, l.pack(t, nil, some...)), l.known); !v.Good() {
			t.Fatal(v.Faults)
		}
	})
}

func FuzzVerify(f *testing.F) {
	l, p := small(f)
	f.Add(written(f, p))
	f.Add([]byte(evidence.Format + "leaf 0 0 " + strings.Repeat("0", 64) + "\n\nend"))
	f.Fuzz(func(t *testing.T, pack []byte) {
		if v := verdictOf(t, pack, l.known); v.Good() && !bytes.Equal(pack, written(t, p)) {
			t.Errorf("another pack is good: %q", pack)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	l := newLog(b)
	var all []int64
	for i := range 50_000 {
		all = append(all, l.append(b, fmt.Appendf(nil, `{"seq":%d,"what":"ended","node":"site-b/unit-%d/open","outcome":"done"}`, i, i)))
	}
	pack := written(b, l.pack(b, nil, all...))
	b.SetBytes(int64(len(pack)))
	for b.Loop() {
		if v := verdictOf(b, pack, l.known); !v.Good() {
			b.Fatal(v.Faults[0])
		}
	}
	b.ReportMetric(float64(len(all))*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

// TestJournalOfANewerVersionIsNoPass: which files it names cannot be said (R9).
func TestJournalOfANewerVersionIsNoPass(t *testing.T) {
	for value, good := range map[string]bool{`[{"seq":1,"what":"paused"}]`: true, `{"format":99,"packed":"H4sI"}`: false} {
		leaf, err := json.Marshal(evidence.Record{Key: "journals/r1/0000000004", Revision: 5, Value: json.RawMessage(value)})
		if err != nil {
			t.Fatal(err)
		}
		l := newLog(t)
		at := l.append(t, leaf)
		v := verdictOf(t, written(t, l.pack(t, nil, at)), l.known)
		if v.Good() != good || !good && (v.Faults[0].Section != "leaf 0" || !strings.Contains(v.Faults[0].Reason, "kept in format 99")) {
			t.Errorf("%s: %+v", value, v.Faults)
		}
	}
}

// TestFileThatTheJournalNamesIsInThePack: whoever makes a pack cannot leave it out, or put another one in its place (E4).
func TestFileThatTheJournalNamesIsInThePack(t *testing.T) {
	sum := sha256.Sum256([]byte("difference: 0"))
	entries := fmt.Sprintf(`[{"seq":4,"what":"completed","attachments":[{"name":"totals.txt","sha256":"%x"}]}]`, sum)
	leaf, err := json.Marshal(evidence.Record{Key: "journals/r1/0000000004", Revision: 5, Value: json.RawMessage(entries)})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		files map[string]string
		good  bool
	}{
		"there":   {map[string]string{"attachment-1": "difference: 0"}, true},
		"missing": {map[string]string{"program.json": "{}"}, false},
		"another": {map[string]string{"attachment-1": "difference: 5"}, false},
	} {
		l := newLog(t)
		at := l.append(t, leaf)
		v := verdictOf(t, written(t, l.pack(t, c.files, at)), l.known)
		if v.Good() != c.good {
			t.Errorf("%s: %+v", name, v.Faults)
		}
		if !c.good && (v.Faults[0].Section != "leaf 0" || !strings.Contains(v.Faults[0].Reason, "totals.txt")) {
			t.Errorf("%s: %+v", name, v.Faults)
		}
	}
}

func TestWordsToHeldOrdersAreInThePackAsTheLogNamesThem(t *testing.T) {
	words := []string{`{"seq":1,"what":"imported"}`, `{"seq":2,"what":"dropped"}`}
	leaf := func(seq int, word string) []byte {
		event, err := json.Marshal(map[string]any{"what": heldorder.Event, "subject": "r1", "detail": heldorder.Said{Seq: seq, What: heldorder.Import, SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(word)))}})
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(evidence.Record{Key: fmt.Sprintf("events/%d", seq), Revision: int64(seq), Value: event})
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for name, c := range map[string]struct {
		said []int  // words that the log names
		file string // "": none
		want string // what is wrong
	}{
		"there":         {[]int{1, 2}, words[0] + "\n" + words[1] + "\n", ""},
		"no file":       {[]int{1}, "", "word 1 to the held orders was said, and is not in"},
		"one missing":   {[]int{1, 2}, words[0] + "\n", "word 2 to the held orders was said, and is not in"},
		"another word":  {[]int{1, 2}, words[0] + "\n" + `{"seq":2,"what":"imported"}` + "\n", "word 2 to the held orders is not what"},
		"another order": {[]int{1, 2}, words[1] + "\n" + words[0] + "\n", "word 1 to the held orders is not what"},
		"one too many":  {[]int{1}, words[0] + "\n" + words[1] + "\n", "it has 2 words to the held orders, and the log names 1"},
		"a gap":         {[]int{2}, words[1] + "\n", "it names word 2 to the held orders, and word 1 is due"},
	} {
		l := newLog(t)
		var at []int64
		for _, n := range c.said {
			at = append(at, l.append(t, leaf(n, words[n-1])))
		}
		files := map[string]string{"program.json": "{}"}
		if c.file != "" {
			files[evidence.OrdersFile] = c.file
		}
		v := verdictOf(t, written(t, l.pack(t, files, at...)), l.known)
		if v.Good() != (c.want == "") || c.want != "" && !strings.Contains(v.Faults[0].Reason, c.want) {
			t.Errorf("%s: %+v", name, v.Faults)
		}
	}
}

package evidence

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"perdure/internal/ballot"
	"perdure/internal/heldorder"
	"perdure/internal/run"
)

// programFile is the file of a pack with the program that its run is pinned to.
const programFile = "program.json"

// OrdersFile is the file of a pack with what was said to the held orders of its run: one word a line.
const OrdersFile = "orders.jsonl"

// Format is the first line of a pack.
const Format = "perdure evidence pack 1\n"

// Bounds of a section, in bytes.
const (
	mostLine    = 8 << 10
	mostSection = 256 << 20
)

// Leaf is one entry of the log.
type Leaf struct {
	Index int64
	Data  []byte
}

// File is something that a pack carries beside the leaves.
type File struct {
	Name string
	Data []byte
}

// Contents is what the last leaf of a pack says about it (E2).
type Contents struct {
	// Run is the run that the pack is about.
	Run string `json:"run,omitempty"`
	// Leaves are the indexes of the others, in the order of the pack.
	Leaves []int64 `json:"leaves"`
	// Files are the SHA-256 of the files by name, in hex.
	Files map[string]string `json:"files,omitempty"`
	// Stretch says that the pack is about no run, but has all leaves of the log from one on; Leaves names none of them then.
	Stretch *Stretch `json:"stretch,omitempty"`
}

// Stretch is a part of the log without a gap: the leaves from From to To, To not included.
type Stretch struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
	// Retired are those of them that were taken out before, and are in packs of an earlier time: their hashes alone are left (E7).
	Retired []Range `json:"retired,omitempty"`
}

// Range is leaves that follow each other: From to To, To not included.
type Range struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// Missing is how many leaves of the stretch were retired.
func (s Stretch) Missing() int64 {
	var n int64
	for _, r := range s.Retired {
		n += r.To - r.From
	}
	return n
}

// ContentsOfPack is what the event says that the last leaf is about.
const ContentsOfPack = "pack.contents"

// Pack is what is handed over.
type Pack struct {
	// Leaves stand in the order of the log; the last is the Contents.
	Leaves []Leaf
	Files  []File
	// Tree is what Prove gives for the leaves and the size of the checkpoint.
	Tree       []tlog.Hash
	Checkpoint []byte // a signed note
}

// Write writes a pack.
func (p Pack) Write(w io.Writer) error {
	sum := sha256.New()
	out := bufio.NewWriter(io.MultiWriter(w, sum))
	_, _ = out.WriteString(Format)
	for _, l := range p.Leaves {
		section(out, "leaf "+strconv.FormatInt(l.Index, 10), l.Data)
	}
	for _, f := range p.Files {
		if !fileName.MatchString(f.Name) {
			return fmt.Errorf("%q cannot be the name of a file in a pack", f.Name)
		}
		section(out, "file "+f.Name, f.Data)
	}
	var tree []byte
	for _, h := range p.Tree {
		tree = append(hex.AppendEncode(tree, h[:]), '\n')
	}
	section(out, treeLine, tree)
	section(out, checkpointLine, p.Checkpoint)
	if err := out.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "end %x\n", sum.Sum(nil))
	return err
}

// section is a line with the length and the hash of the line's beginning and the data, then the data.
func section(w io.Writer, head string, data []byte) {
	_, _ = fmt.Fprintf(w, "%s %d %x\n%s\n", head, len(data), sumOf(head, data), data) // an error shows at Flush
}

func sumOf(head string, data []byte) []byte {
	h := sha256.New()
	_, _ = io.WriteString(h, head+"\n")
	_, _ = h.Write(data)
	return h.Sum(nil)
}

var (
	fileName    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	leafLine    = regexp.MustCompile(`^leaf (0|[1-9][0-9]{0,17})$`)
	fileLine    = regexp.MustCompile(`^file ([A-Za-z0-9][A-Za-z0-9._-]{0,127})$`)
	sectionLine = regexp.MustCompile(`^(.+) (0|[1-9][0-9]{0,9}) ([0-9a-f]{64})\n$`)
	endLine     = regexp.MustCompile(`^end ([0-9a-f]{64})\n$`)
	errEnd      = errors.New("end")
)

// The sections that stand once.
const (
	treeLine       = "tree"
	checkpointLine = "checkpoint"
)

// Fault is something that is wrong with a pack, and where.
type Fault struct {
	// Section names it: "leaf 12", "file report.html", "checkpoint", "end".
	Section string `json:"section"`
	// Offset and Length say which bytes of the pack it is in.
	Offset int64  `json:"offset"`
	Length int64  `json:"length"`
	Reason string `json:"reason"`
}

func (f Fault) String() string {
	return fmt.Sprintf("%s, bytes %d to %d: %s", f.Section, f.Offset, f.Offset+f.Length, f.Reason)
}

// Verdict is what was found about a pack.
type Verdict struct {
	Run string `json:"run,omitempty"`
	// Stretch is set where the pack is one of the log, and not of a run.
	Stretch *Stretch `json:"stretch,omitempty"`
	Leaves  int      `json:"leaves"`
	Files   []string `json:"files,omitempty"`
	Origin  string   `json:"origin"`  // of the log, as the checkpoint says
	Size    int64    `json:"size"`    // of the log at the checkpoint
	Root    string   `json:"root"`    // of the log at the checkpoint, in base64
	Signers []string `json:"signers"` // of known keys
	// Signatures are decisions that people have signed away from the platform, whose signatures hold (E5).
	Signatures []Signature `json:"signatures,omitempty"`
	Faults     []Fault     `json:"faults"`
}

// Signature is a decision by a signature that holds.
type Signature struct {
	Step    string    `json:"step"`
	By      string    `json:"by"`
	What    run.What  `json:"what"`
	Key     string    `json:"key"` // ballot.KeyID
	Carrier string    `json:"carrier"`
	At      time.Time `json:"at"`
}

// Good: every byte is what was signed.
func (v Verdict) Good() bool { return len(v.Faults) == 0 }

// Verify reads a pack and checks everything in it. An error is one of reading; what is wrong with the pack is in the verdict. Of the
// leaves no more is kept than their hashes, so the memory it takes grows with their number and not with what stands in them. Files are
// given to take, which may be nil, as they are met: what they are worth is known with the verdict. An error of take ends it.
func Verify(r io.Reader, known note.Verifiers, take func(File) error) (Verdict, error) {
	v := verifier{take: take, asked: map[int]string{}, in: bufio.NewReaderSize(r, 64<<10), sum: sha256.New(), verdict: Verdict{Faults: []Fault{}, Signers: []string{}}}
	if err := v.read(); err != nil {
		return v.verdict, err
	}
	if len(v.verdict.Faults) > 0 && v.checkpoint == nil {
		return v.verdict, nil // the reason why there is no checkpoint was told
	}
	tree, ok := v.checkCheckpoint(known)
	if ok {
		v.checkLeaves(tree)
	}
	v.checkContents()
	return v.verdict, nil
}

type verifier struct {
	in      *bufio.Reader
	at      int64
	sum     hash.Hash
	take    func(File) error
	verdict Verdict

	leaves     []placed
	attached   []attached
	run        string         // whose journal it is
	params     map[string]any // that it was started with
	asked      map[int]string // what people were asked, by the number of the entry
	signed     []signedEntry
	words      []said   // to held orders, as leaves name them
	lines      []string // digests of those that the pack has
	contents   []byte   // of the last leaf
	files      []placedFile
	tree       []tlog.Hash
	treeAt     place
	checkpoint []byte
	checkAt    place
}

// attached is a file that the journal names, and the leaf where it does.
type attached struct {
	name, sum, leaf string
	place
}

// said is a word to held orders that a leaf names.
type said struct {
	heldorder.Said
	leaf string
	place
}

// signedEntry is an entry of the journal that somebody has signed, and the leaf where it is.
type signedEntry struct {
	run.Entry
	leaf string
	place
}

type place struct{ offset, length int64 }

type placed struct {
	index int64
	hash  tlog.Hash
	place
}

type placedFile struct {
	name, sum string
	place
}

func (v *verifier) fault(section string, at place, format string, args ...any) {
	v.verdict.Faults = append(v.verdict.Faults, Fault{Section: section, Offset: at.offset, Length: at.length, Reason: fmt.Sprintf(format, args...)})
}

// line reads one line; a longer one than there can be is cut.
func (v *verifier) line() (string, error) {
	var b []byte
	for len(b) < mostLine {
		c, err := v.in.ReadByte()
		if errors.Is(err, io.EOF) {
			return string(b), nil
		}
		if err != nil {
			return "", err
		}
		b = append(b, c)
		if c == '\n' {
			break
		}
	}
	return string(b), nil
}

// read goes through the sections. Where one cannot be told, what follows it cannot either.
func (v *verifier) read() error {
	head, err := v.line()
	if err != nil {
		return err
	}
	if head != Format {
		v.fault("head", place{0, int64(len(head))}, "this is no evidence pack of format 1")
		return nil
	}
	v.took(head)
	for {
		err := v.section()
		if errors.Is(err, errEnd) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (v *verifier) took(text string) {
	_, _ = io.WriteString(v.sum, text)
	v.at += int64(len(text))
}

func (v *verifier) section() error {
	begin := v.at
	line, err := v.line()
	if err != nil {
		return err
	}
	if m := endLine.FindStringSubmatch(line); m != nil {
		if m[1] != hex.EncodeToString(v.sum.Sum(nil)) {
			v.fault("end", place{begin, int64(len(line))}, "the hash of the whole pack is another one")
		}
		v.at += int64(len(line))
		if rest, _ := io.Copy(io.Discard, v.in); rest > 0 {
			v.fault("end", place{v.at, rest}, "something stands behind the end")
		}
		return errEnd
	}
	m := sectionLine.FindStringSubmatch(line)
	if m == nil {
		what := "a section"
		if line == "" {
			what = "the end"
		}
		v.fault("after "+v.last(), place{begin, max(int64(len(line)), 1)}, "%s should begin here; what follows cannot be read", what)
		return errEnd
	}
	size, err := strconv.ParseInt(m[2], 10, 64)
	if err != nil || size > mostSection {
		v.fault(m[1], place{begin, int64(len(line))}, "a section of %s bytes is larger than there can be", m[2])
		return errEnd
	}
	v.took(line)
	data := make([]byte, 0, min(size+1, 1<<20))
	buffer := bytes.NewBuffer(data)
	n, err := io.CopyN(buffer, v.in, size+1)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	data = buffer.Bytes()
	_, _ = v.sum.Write(data)
	v.at += n
	at := place{begin, int64(len(line)) + n}
	name := m[1]
	if n < size+1 || data[size] != '\n' {
		v.fault(shortName(name), at, "the section does not end where it says")
		return errEnd
	}
	data = data[:size]
	if hex.EncodeToString(sumOf(name, data)) != m[3] {
		v.fault(shortName(name), at, "the section is not what it was: its hash is another one")
	}
	return v.keep(name, data, at)
}

// last names the last section that was read.
func (v *verifier) last() string {
	switch {
	case v.checkpoint != nil:
		return checkpointLine
	case len(v.files) > 0:
		return "file " + v.files[len(v.files)-1].name
	case len(v.leaves) > 0:
		return fmt.Sprintf("leaf %d", v.leaves[len(v.leaves)-1].index)
	}
	return "head"
}

// shortName leaves the proof out.
func shortName(head string) string {
	words := strings.SplitN(head, " ", 3)
	return strings.Join(words[:min(len(words), 2)], " ")
}

func (v *verifier) keep(name string, data []byte, at place) error {
	if v.checkpoint != nil {
		v.fault(shortName(name), at, "a section stands behind the checkpoint")
		return nil
	}
	if m := leafLine.FindStringSubmatch(name); m != nil {
		index, _ := strconv.ParseInt(m[1], 10, 64) // the form bounds it
		l := placed{index: index, hash: tlog.RecordHash(data), place: at}
		if n := len(v.leaves); n > 0 && v.leaves[n-1].index >= index || len(v.files) > 0 || v.treeAt != (place{}) {
			v.fault(shortName(name), at, "the leaf does not stand in its place")
		}
		id, entries, err := journalOf(data)
		if err != nil {
			v.fault(shortName(name), at, "the journal cannot be read: %v", err)
		}
		for _, e := range entries {
			for _, a := range e.Attachments {
				v.attached = append(v.attached, attached{a.Name, a.SHA256, shortName(name), at})
			}
			switch {
			case e.What == run.Started:
				v.run, v.params = id, e.Params
			case e.What == run.Opened:
				v.asked[e.Seq] = e.Text
			case e.Signed != nil:
				v.signed = append(v.signed, signedEntry{e, shortName(name), at})
			}
		}
		if w, ok := ordersOf(data); ok {
			v.words = append(v.words, said{w, shortName(name), at})
		}
		v.leaves, v.contents = append(v.leaves, l), data
		return nil
	}
	if m := fileLine.FindStringSubmatch(name); m != nil {
		if n := len(v.files); n > 0 && v.files[n-1].name > m[1] || v.treeAt != (place{}) {
			v.fault(shortName(name), at, "the file does not stand in its place")
		}
		whole := sha256.Sum256(data)
		v.files = append(v.files, placedFile{m[1], hex.EncodeToString(whole[:]), at})
		v.verdict.Files = append(v.verdict.Files, m[1])
		if m[1] == OrdersFile {
			v.lines = nil
			for line := range bytes.Lines(data) {
				sum := sha256.Sum256(bytes.TrimSuffix(line, []byte("\n")))
				v.lines = append(v.lines, hex.EncodeToString(sum[:]))
			}
		}
		if v.take != nil {
			return v.take(File{Name: m[1], Data: data})
		}
		return nil
	}
	if name == treeLine && v.treeAt == (place{}) {
		v.treeAt = at
		for line := range bytes.Lines(data) {
			var h tlog.Hash
			if len(line) != 2*len(h)+1 || line[2*len(h)] != '\n' || !decode(h[:], line[:2*len(h)]) {
				v.fault(treeLine, at, "it has a line that is no hash")
				return nil
			}
			v.tree = append(v.tree, h)
		}
		return nil
	}
	if name == checkpointLine {
		v.checkpoint, v.checkAt = data, at
		return nil
	}
	v.fault(shortName(name), at, "there is no such section")
	return nil
}

// checkCheckpoint gives the tree that was signed.
func (v *verifier) checkCheckpoint(known note.Verifiers) (tlog.Tree, bool) {
	if v.checkpoint == nil {
		v.fault(checkpointLine, place{v.at, 0}, "missing")
		return tlog.Tree{}, false
	}
	n, err := note.Open(v.checkpoint, known)
	var unverified *note.UnverifiedNoteError
	switch {
	case errors.As(err, &unverified):
		v.fault(checkpointLine, v.checkAt, "nobody whose key is known has signed it (E3)")
		n = unverified.Note
	case err != nil:
		v.fault(checkpointLine, v.checkAt, "the signature does not hold: %v", err)
		return tlog.Tree{}, false
	}
	for _, s := range n.Sigs {
		v.verdict.Signers = append(v.verdict.Signers, s.Name)
	}
	c, err := ParseCheckpoint(n.Text)
	if err != nil {
		v.fault(checkpointLine, v.checkAt, "%v", err)
		return tlog.Tree{}, false
	}
	v.verdict.Origin, v.verdict.Size, v.verdict.Root = c.Origin, c.Tree.N, c.Tree.Hash.String()
	return c.Tree, true
}

// checkLeaves makes the root of the tree anew, of the leaves and of what stands for all others.
func (v *verifier) checkLeaves(tree tlog.Tree) {
	v.verdict.Leaves = len(v.leaves)
	for i, l := range v.leaves {
		if l.index >= tree.N {
			v.fault(fmt.Sprintf("leaf %d", l.index), l.place, "the log had %d leaves when it was signed", tree.N)
			return
		}
		if i > 0 && v.leaves[i-1].index >= l.index {
			return // that was told
		}
	}
	rest := v.tree
	root, ok := rootOf(0, tree.N, v.leaves, &rest)
	if !ok || len(rest) > 0 || root != tree.Hash {
		v.fault(treeLine, v.treeAt, "leaves and tree do not give the root that was signed: something in them is not what was in the log")
	}
}

// rootOf is the hash over the leaves from lo to hi, hi not included; what there is no leaf of is taken from rest, from left to right.
func rootOf(lo, hi int64, leaves []placed, rest *[]tlog.Hash) (tlog.Hash, bool) {
	if len(leaves) == 0 {
		if len(*rest) == 0 {
			return tlog.Hash{}, false
		}
		h := (*rest)[0]
		*rest = (*rest)[1:]
		return h, true
	}
	if hi-lo == 1 {
		return leaves[0].hash, true
	}
	middle := split(lo, hi)
	n, _ := slices.BinarySearchFunc(leaves, middle, func(l placed, at int64) int { return cmp.Compare(l.index, at) })
	left, ok := rootOf(lo, middle, leaves[:n], rest)
	if !ok {
		return left, false
	}
	right, ok := rootOf(middle, hi, leaves[n:], rest)
	return tlog.NodeHash(left, right), ok
}

// decode reads lower-case hex, and nothing else that could mean the same (E1).
func decode(to, text []byte) bool {
	n, err := hex.Decode(to, text)
	return err == nil && n == len(to) && !bytes.ContainsAny(text, "ABCDEF")
}

// checkContents holds the pack against its last leaf (E2).
func (v *verifier) checkContents() {
	c, ok := contentsOf(v.contents)
	if !ok {
		v.fault(v.last(), place{v.at, 0}, "the pack does not say what belongs to it")
		return
	}
	v.verdict.Run, v.verdict.Stretch = c.Run, c.Stretch
	last := v.leaves[len(v.leaves)-1]
	if c.Stretch != nil {
		v.checkStretch(*c.Stretch, c)
		return
	}
	there, belongs := map[int64]bool{}, map[int64]bool{last.index: true}
	for _, l := range v.leaves {
		there[l.index] = true
	}
	for _, index := range c.Leaves {
		belongs[index] = true
		if !there[index] {
			v.fault(fmt.Sprintf("leaf %d", index), last.place, "it belongs to the pack, and is not there")
		}
	}
	for _, l := range v.leaves {
		if !belongs[l.index] {
			v.fault(fmt.Sprintf("leaf %d", l.index), l.place, "it does not belong to the pack")
		}
	}
	for i, f := range v.files {
		switch want, ok := c.Files[f.name]; {
		case !ok:
			v.fault("file "+f.name, f.place, "it does not belong to the pack")
		case want != f.sum:
			v.fault("file "+f.name, f.place, "it is not the file that was packed")
		case slices.ContainsFunc(v.files[:i], func(o placedFile) bool { return o.name == f.name }):
			v.fault("file "+f.name, f.place, "it stands twice")
		}
	}
	for _, a := range v.attached {
		if !slices.ContainsFunc(v.files, func(f placedFile) bool { return f.sum == a.sum }) {
			v.fault(a.leaf, a.place, "file %q of SHA-256 %s was handed in, and is not there", a.name, a.sum)
		}
	}
	v.checkOrders(last.place)
	v.checkSigned()
	for name := range c.Files {
		if !slices.ContainsFunc(v.files, func(f placedFile) bool { return f.name == name }) {
			v.fault("file "+name, last.place, "it belongs to the pack, and is not there")
		}
	}
}

// checkOrders holds what was said to held orders against the leaves that name it (E6).
func (v *verifier) checkOrders(last place) {
	for i, w := range v.words {
		switch {
		case w.Seq != i+1:
			v.fault(w.leaf, w.place, "it names word %d to the held orders, and word %d is due", w.Seq, i+1)
			return
		case i >= len(v.lines):
			v.fault(w.leaf, w.place, "word %d to the held orders was said, and is not in %s", w.Seq, OrdersFile)
		case v.lines[i] != w.SHA256:
			v.fault(w.leaf, w.place, "word %d to the held orders is not what %s has", w.Seq, OrdersFile)
		}
	}
	if len(v.lines) > len(v.words) {
		v.fault("file "+OrdersFile, last, "it has %d words to the held orders, and the log names %d", len(v.lines), len(v.words))
	}
}

// checkStretch holds a stretch of the log against what its last leaf says: nothing but its leaves, and none of them missing (E2) but those that were
// retired (E7). What journals say of files and of signatures is looked at in the packs of their runs, which have the files.
func (v *verifier) checkStretch(s Stretch, c Contents) {
	last := v.leaves[len(v.leaves)-1]
	next, retired := s.From, s.Retired
	end := s.From
	for _, r := range retired {
		if r.From < end || r.To <= r.From || r.To > s.To {
			v.fault(fmt.Sprintf("leaf %d", last.index), last.place, "it calls leaves %d to %d retired, which cannot be", r.From, r.To-1)
			return
		}
		end = r.To
	}
	skip := func() {
		for len(retired) > 0 && retired[0].From == next {
			next, retired = retired[0].To, retired[1:]
		}
	}
	skip()
	for _, l := range v.leaves[:len(v.leaves)-1] {
		if l.index != next {
			v.fault(fmt.Sprintf("leaf %d", l.index), l.place, "leaf %d should stand here: the stretch has a gap, or what does not belong to it", next)
			return
		}
		next++
		skip()
	}
	if s.From < 0 || s.To <= s.From || next != s.To || last.index < s.To || c.Run != "" || len(c.Leaves)+len(c.Files) > 0 {
		v.fault(fmt.Sprintf("leaf %d", last.index), last.place, "the pack should have the leaves from %d to %d, and ends before %d", s.From, s.To-1, next)
	}
	for _, f := range v.files {
		v.fault("file "+f.name, f.place, "it does not belong to the pack")
	}
}

// checkSigned verifies what people have signed: the signature itself, and that it is over this run, its program, its parameters, and the
// question as it was put (E5).
func (v *verifier) checkSigned() {
	program := ""
	for _, f := range v.files {
		if f.name == programFile {
			program = f.sum
		}
	}
	for _, s := range v.signed {
		c, a, err := s.Signed.Verify(s.Entry)
		if err != nil {
			v.fault(s.leaf, s.place, "entry %d says that %s has signed it: %v", s.Seq, s.By, err)
			continue
		}
		digest, err := ballot.DigestOf(program, v.params, v.asked[c.Asked])
		if err != nil || digest != c.Digest || c.Run != v.run || v.run != v.verdict.Run {
			v.fault(s.leaf, s.place, "entry %d says that %s has signed it, and what was signed is about another run, program, parameter or question", s.Seq, s.By)
			continue
		}
		v.verdict.Signatures = append(v.verdict.Signatures, Signature{Step: s.Node, By: s.By, What: s.What, Key: a.Key.String(), Carrier: s.Signed.Carrier, At: s.At})
	}
}

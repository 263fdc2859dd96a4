// Package notary keeps the evidence log: it puts everything that counts as proof into one order, signs what the log has become, and makes
// packs of it.
//
// Every node has a notary. The one at the store's leader lets the log grow; any node can check the whole log, and does, before it signs or packs.
package notary

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/evidence"
	"perdure/internal/heldorder"
	"perdure/internal/wire"
)

// Store is what a notary needs of the control store.
type Store interface {
	GrowLog(ctx context.Context) (wire.LogHead, bool, error)
	LogRefs(ctx context.Context, from int64) ([]wire.LogRef, error)
	LogLeaf(ctx context.Context, ref wire.LogRef) ([]byte, error)
	LogCheckpoint(ctx context.Context) (wire.LogCheckpoint, error)
	PutLogCheckpoint(ctx context.Context, c wire.LogCheckpoint) error
	PutLogKey(ctx context.Context, k wire.LogKey) error
	LogKeys(ctx context.Context) ([]wire.LogKey, error)
	Incarnation(ctx context.Context, r wire.Read) (wire.Incarnation, error)
	Note(ctx context.Context, who, what, subject string, detail any) error
	Run(ctx context.Context, id string, r wire.Read) (wire.Run, error)
	OrderHead(ctx context.Context, run string, r wire.Read) (heldorder.Head, error)
	ProgramText(ctx context.Context, id string) ([]byte, error)
	Retirements
}

// Options configure a notary.
type Options struct {
	Node string
	// Dir keeps the node's signing key.
	Dir string
	// IsLeader says whether this node lets the log grow; nil: always.
	IsLeader func() bool
	MayAct   func() error
	// Now gives the wall clock, by which evidence has been kept for long enough (default time.Now).
	Now    func() time.Time
	Logger *slog.Logger
}

// Times of a notary.
const (
	growEvery  = 500 * time.Millisecond
	packWithin = 15 * time.Second
	// stretchWithin is longer than any request: what is left of that bounds it.
	stretchWithin = time.Minute
	lookForSize   = 100 * time.Millisecond
)

// keyFile is the name of the file with the node's signing key.
const keyFile = "evidence.key"

// Notary is the notary of one node.
type Notary struct {
	store  Store
	o      Options
	log    *slog.Logger
	signer note.Signer
	public string

	mu     sync.Mutex
	tree   tree
	origin string
}

// tree is the log as this node has read it: hashes, where the leaves are and what they are about, and which of them belong to which run.
type tree struct {
	size   int64
	hashes []tlog.Hash
	runs   map[string][]int64
	refs   []wire.LogRef
	about  []about
	// packed is, of each run, the first leaf that says what a pack of it has, of those that say the most, and how many leaves about the run that are.
	packed map[string]packed
	// exported is the entry from which on nothing was retired, as far as is known.
	exported int64
}

// about is what a leaf is about: a run, empty where it is none, and when it was written where it is an event, in Unix milliseconds.
type about struct {
	run string
	at  int64
}

type packed struct {
	leaf   int64
	leaves int
}

func newTree() tree { return tree{runs: map[string][]int64{}, packed: map[string]packed{}} }

// add takes over the next leaf. Of one that was retired there is the hash alone.
func (t *tree) add(ref wire.LogRef, hash tlog.Hash, data []byte) error {
	hashes, err := tlog.StoredHashesForRecordHash(t.size, hash, t)
	if err != nil {
		return errs.New(errs.Internal, "the evidence log cannot be hashed: %w", err)
	}
	var of about
	if ref.Hash == "" {
		var contents *evidence.Contents
		if of, contents = aboutOf(ref.Key, data); contents != nil && contents.Run != "" && len(contents.Leaves) > t.packed[contents.Run].leaves {
			t.packed[contents.Run] = packed{t.size, len(contents.Leaves)}
		}
	}
	if run, ok := t.runs[of.run]; of.run != "" {
		if ok {
			of.run = t.about[run[0]].run // the same text for all leaves of a run
		}
		t.runs[of.run] = append(run, t.size)
	}
	t.hashes, t.refs, t.about = append(t.hashes, hashes...), append(t.refs, ref), append(t.about, of)
	t.size++
	return nil
}

// hash is that of a leaf.
func (t *tree) hash(index int64) tlog.Hash { return t.hashes[tlog.StoredHashIndex(0, index)] }

// retire notes that a leaf was.
func (t *tree) retire(index int64) {
	t.refs[index].Hash = t.hash(index).String()
	if run := t.about[index].run; run != "" {
		delete(t.runs, run)
		delete(t.packed, run)
	}
	t.about[index] = about{}
}

// ReadHashes gives stored hashes by their indexes.
func (t *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if x >= int64(len(t.hashes)) {
			return nil, errs.New(errs.Internal, "the evidence log has no hash %d", x)
		}
		out[i] = t.hashes[x]
	}
	return out, nil
}

// New makes a notary, and the node's signing key where there is none.
func New(store Store, o Options) (*Notary, error) {
	signer, public, err := keyOf(o.Dir, o.Node)
	if err != nil {
		return nil, err
	}
	if o.IsLeader == nil {
		o.IsLeader = func() bool { return true }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Notary{store: store, o: o, log: o.Logger.With("node", o.Node), signer: signer, public: public, tree: newTree()}, nil
}

// keyOf reads the signing key of the node, or makes it.
func keyOf(dir, node string) (note.Signer, string, error) {
	path := filepath.Join(dir, keyFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		private, public, err := note.GenerateKey(rand.Reader, "node-"+node)
		if err != nil {
			return nil, "", errs.New(errs.Internal, "cannot make a signing key: %w", err)
		}
		text = []byte(private + "\n" + public + "\n")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return nil, "", errs.New(errs.Unavailable, "cannot keep the signing key of evidence: %w", err)
		}
	} else if err != nil {
		return nil, "", errs.New(errs.Unavailable, "cannot read the signing key of evidence: %w", err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) != 2 {
		return nil, "", errs.New(errs.Invalid, "%s is not a signing key of evidence: it has two lines, the private and the public key", path)
	}
	signer, err := note.NewSigner(lines[0])
	if err != nil {
		return nil, "", errs.New(errs.Invalid, "%s is not a signing key of evidence", path) // the cause may show the key
	}
	if _, err := note.NewVerifier(lines[1]); err != nil {
		return nil, "", errs.New(errs.Invalid, "%s: its second line is not a public key: %w", path, err)
	}
	return signer, lines[1], nil
}

// Run keeps the log until ctx ends.
func (n *Notary) Run(ctx context.Context) error {
	tick := time.NewTicker(growEvery)
	defer tick.Stop()
	published := false
	for {
		if !published {
			published = n.store.PutLogKey(ctx, wire.LogKey{Node: n.o.Node, Key: n.public}) == nil
		}
		if published && n.o.IsLeader() && n.o.MayAct() == nil {
			if err := n.grow(ctx); err != nil && ctx.Err() == nil {
				n.log.Debug("the evidence log does not grow", "err", err)
				if errs.KindOf(err) == errs.Internal {
					n.log.Error("the evidence log is not as it was", "err", err)
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// grow adds what there is, and signs what the log has become.
func (n *Notary) grow(ctx context.Context) error {
	for {
		head, grown, err := n.store.GrowLog(ctx)
		if err != nil {
			return err
		}
		if grown {
			continue
		}
		c, err := n.store.LogCheckpoint(ctx)
		if err != nil {
			return err
		}
		if c.Size < head.Size {
			return n.sign(ctx)
		}
		return n.retire(ctx)
	}
}

// sign makes a checkpoint of everything that is in the log, once the newest one was found to be part of it.
func (n *Notary) sign(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.read(ctx); err != nil {
		return err
	}
	if err := n.contains(ctx); err != nil {
		return err
	}
	text, err := n.checkpoint(n.tree.size)
	if err != nil {
		return err
	}
	signed, err := text.Sign(n.signer)
	if err != nil {
		return errs.New(errs.Internal, "cannot sign the evidence log: %w", err)
	}
	return n.store.PutLogCheckpoint(ctx, wire.LogCheckpoint{Size: n.tree.size, Note: string(signed)})
}

func (n *Notary) checkpoint(size int64) (evidence.Checkpoint, error) {
	root, err := tlog.TreeHash(size, &n.tree)
	if err != nil {
		return evidence.Checkpoint{}, errs.New(errs.Internal, "the evidence log has no root: %w", err)
	}
	return evidence.Checkpoint{Origin: n.origin, Tree: tlog.Tree{N: size, Hash: root}}, nil
}

// contains finds the newest checkpoint in the log as it is: nothing was taken out or changed.
func (n *Notary) contains(ctx context.Context) error {
	c, err := n.store.LogCheckpoint(ctx)
	if err != nil || c.Size == 0 {
		return err
	}
	known, err := n.known(ctx)
	if err != nil {
		return err
	}
	opened, err := note.Open([]byte(c.Note), known)
	if err != nil {
		return errs.New(errs.Internal, "the newest checkpoint of the evidence log is not signed by a node: %w", err)
	}
	was, err := evidence.ParseCheckpoint(opened.Text)
	if err != nil {
		return errs.New(errs.Internal, "the newest checkpoint of the evidence log cannot be read: %w", err)
	}
	if was.Origin != n.origin {
		return nil // the store was recovered since: its log begins another history, and says so in its origin
	}
	if was.Tree.N > n.tree.size {
		return errs.New(errs.Internal, "the evidence log has %d leaves, and had %d when it was signed", n.tree.size, was.Tree.N)
	}
	now, err := n.checkpoint(was.Tree.N)
	if err != nil {
		return err
	}
	if now.Tree != was.Tree {
		return errs.New(errs.Internal, "the first %d leaves of the evidence log are not those that were signed", was.Tree.N)
	}
	return nil
}

// known are the keys of the nodes.
func (n *Notary) known(ctx context.Context) (note.Verifiers, error) {
	keys, err := n.store.LogKeys(ctx)
	if err != nil {
		return nil, err
	}
	var list []note.Verifier
	for _, k := range keys {
		v, err := note.NewVerifier(k.Key)
		if err != nil {
			return nil, errs.New(errs.Internal, "the evidence key of node %s cannot be read: %w", k.Node, err)
		}
		list = append(list, v)
	}
	return note.VerifierList(list...), nil
}

// read takes over what is new in the log. After a recovery of the store it begins anew.
func (n *Notary) read(ctx context.Context) error {
	own, err := n.store.Incarnation(ctx, wire.Local)
	if err != nil {
		return err
	}
	if origin := originOf(own.Incarnation); origin != n.origin {
		n.origin, n.tree = origin, newTree()
	}
	for {
		refs, err := n.store.LogRefs(ctx, n.tree.size)
		if err != nil || len(refs) == 0 {
			return err
		}
		for _, ref := range refs {
			ref, data, err := n.fetch(ctx, n.tree.size, ref)
			if err == nil {
				err = n.take(ctx, ref, data)
			}
			if err != nil {
				return err
			}
		}
	}
}

// take adds a leaf that was fetched to the tree. That it was retired is believed where somebody has asked for it.
func (n *Notary) take(ctx context.Context, ref wire.LogRef, data []byte) error {
	if ref.Hash == "" {
		return n.tree.add(ref, tlog.RecordHash(data), data)
	}
	if n.tree.size >= n.tree.exported {
		r, err := n.store.Retirement(ctx)
		if err != nil {
			return err
		}
		if n.tree.exported = r.Exported; n.tree.size >= r.Exported {
			return errs.New(errs.Internal, "leaf %d of the evidence log is gone, and nobody has asked for its retirement: it was tampered with", n.tree.size)
		}
	}
	hash, err := tlog.ParseHash(ref.Hash)
	if err != nil {
		return errs.New(errs.Internal, "leaf %d of the evidence log was retired, and its hash cannot be read: %w", n.tree.size, err)
	}
	return n.tree.add(ref, hash, nil)
}

// fetch gives a leaf; of one that was retired, be it since the reference was read, the reference with its hash alone.
func (n *Notary) fetch(ctx context.Context, index int64, ref wire.LogRef) (wire.LogRef, []byte, error) {
	if ref.Hash != "" {
		return ref, nil, nil
	}
	data, err := n.store.LogLeaf(ctx, ref)
	if err == nil {
		return ref, data, nil
	}
	now, again := n.store.LogRefs(ctx, index)
	if again != nil || len(now) == 0 || now[0].Hash == "" || now[0].Key != ref.Key {
		return ref, nil, err
	}
	return now[0], nil, nil
}

func originOf(i estate.Incarnation) string { return fmt.Sprintf("perdure/%d.%s", i.Counter, i.ID) }

// aboutOf says what a leaf is about, and the contents of the pack that it names, if it does.
func aboutOf(key string, data []byte) (about, *evidence.Contents) {
	if rest, ok := strings.CutPrefix(key, "journals/"); ok {
		id, _, _ := strings.Cut(rest, "/")
		return about{run: id}, nil
	}
	var r evidence.Record
	var e wire.Event
	if json.Unmarshal(data, &r) != nil || json.Unmarshal(r.Value, &e) != nil {
		return about{}, nil
	}
	of := about{at: e.At}
	var contents *evidence.Contents
	switch {
	case strings.HasPrefix(e.What, "run."):
		of.run = e.Subject
	case e.What == evidence.ContentsOfPack:
		contents = &evidence.Contents{}
		if json.Unmarshal(e.Detail, contents) != nil {
			contents = nil
		}
	}
	return of, contents
}

// Journal says in which log the journal of a run is, and which of its leaves it is. It waits until all of it is there.
func (n *Notary) Journal(ctx context.Context, run string) (origin string, leaves []int64, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, packWithin, errs.New(errs.Unavailable, "the evidence log did not take the journal of run %s in time: try again", run))
	defer cancel()
	head, err := n.store.Run(ctx, run, wire.Fresh)
	if err != nil {
		return "", nil, err
	}
	all, err := n.leavesOf(ctx, head)
	if err != nil {
		return "", nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, i := range all {
		if i < n.tree.size && strings.HasPrefix(n.tree.refs[i].Key, "journals/"+run+"/") {
			leaves = append(leaves, i)
		}
	}
	return n.origin, leaves, nil
}

// Pack makes the pack of a run: every leaf about it, its program, and the files given. That it was made is itself a leaf, by which what belongs to it is signed.
func (n *Notary) Pack(ctx context.Context, who, run string, files map[string][]byte) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, packWithin, errs.New(errs.Unavailable, "the evidence log did not take the pack in time: try again"))
	defer cancel()
	head, err := n.store.Run(ctx, run, wire.Fresh)
	if err != nil {
		return nil, err
	}
	orders, err := n.store.OrderHead(ctx, run, wire.Fresh)
	if err != nil {
		return nil, err
	}
	program, err := n.store.ProgramText(ctx, run)
	if err != nil {
		return nil, err
	}
	head.Revision = max(head.Revision, orders.Revision) // what was said to its orders is named by a leaf too
	all := map[string][]byte{"program.json": program}
	maps.Copy(all, files)
	leaves, err := n.leavesOf(ctx, head)
	if err != nil {
		return nil, err
	}
	contents := evidence.Contents{Run: run, Leaves: leaves, Files: map[string]string{}}
	p := evidence.Pack{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		sum := sha256.Sum256(all[name])
		contents.Files[name] = hex.EncodeToString(sum[:])
		p.Files = append(p.Files, evidence.File{Name: name, Data: all[name]})
	}
	mark := hexOf(contents)
	if err := n.store.Note(ctx, who, evidence.ContentsOfPack, run, contents); err != nil {
		return nil, err
	}
	return n.assemble(ctx, p, leaves, mark)
}

// Bounds of one stretch of the log.
const (
	mostStretch      = 20000
	mostStretchBytes = 64 << 20
)

// Stretch makes a pack of the log itself, of the leaves from one on, as many as one pack takes. That it was made is itself a leaf, which ends it.
func (n *Notary) Stretch(ctx context.Context, who string, from int64) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, stretchWithin, errs.New(errs.Unavailable, "the evidence log could not be read in time: try again"))
	defer cancel()
	n.mu.Lock()
	err := n.read(ctx)
	size, refs := n.tree.size, []wire.LogRef(nil)
	if from >= 0 && from < size {
		refs = slices.Clone(n.tree.refs[from:min(size, from+mostStretch)])
	}
	n.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case from < 0 || from > size:
		return nil, errs.New(errs.Invalid, "the evidence log has %d entries: it cannot be read from entry %d on", size, from)
	case from == size:
		return nil, errs.New(errs.NotFound, "the evidence log has %d entries: there is none from entry %d on yet", size, from)
	}
	stretch := evidence.Stretch{From: from, To: from}
	var leaves []int64
	for bytes := 0; len(refs) > 0 && bytes < mostStretchBytes; refs = refs[1:] {
		ref, data, err := n.fetch(ctx, stretch.To, refs[0])
		if err != nil {
			return nil, err
		}
		last := len(stretch.Retired) - 1
		switch {
		case ref.Hash == "":
			leaves, bytes = append(leaves, stretch.To), bytes+len(data)
		case last >= 0 && stretch.Retired[last].To == stretch.To:
			stretch.Retired[last].To++
		default:
			stretch.Retired = append(stretch.Retired, evidence.Range{From: stretch.To, To: stretch.To + 1})
		}
		stretch.To++
	}
	contents := evidence.Contents{Leaves: []int64{}, Stretch: &stretch}
	mark := hexOf(contents)
	if err := n.store.Note(ctx, who, evidence.ContentsOfPack, "log", contents); err != nil {
		return nil, err
	}
	return n.assemble(ctx, evidence.Pack{}, leaves, mark)
}

func hexOf(c evidence.Contents) string {
	data, err := json.Marshal(c)
	if err != nil {
		panic("notary: contents that cannot be written: " + err.Error())
	}
	return string(data)
}

// leavesOf waits until the whole journal of a run is in the log.
func (n *Notary) leavesOf(ctx context.Context, head wire.Run) ([]int64, error) {
	for {
		n.mu.Lock()
		err := n.read(ctx)
		leaves := slices.Clone(n.tree.runs[head.ID])
		whole := slices.ContainsFunc(leaves, func(i int64) bool { return n.tree.refs[i].Revision >= head.Revision }) // the head is written with every entry
		n.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if whole {
			return leaves, nil
		}
		if err := sleep(ctx, lookForSize); err != nil {
			return nil, err
		}
	}
}

// assemble waits until the contents are in the log and signed.
func (n *Notary) assemble(ctx context.Context, p evidence.Pack, leaves []int64, mark string) ([]byte, error) {
	last := int64(-1)
	for {
		c, err := n.store.LogCheckpoint(ctx)
		if err != nil {
			return nil, err
		}
		n.mu.Lock()
		if err = n.read(ctx); err == nil && last < 0 {
			last, err = n.find(ctx, mark)
		}
		if err == nil && last >= 0 && c.Size > last {
			p, err = n.proved(ctx, p, append(slices.Clone(leaves), last), c)
			n.mu.Unlock()
			if err != nil {
				return nil, err
			}
			var out bytes.Buffer
			if err := p.Write(&out); err != nil {
				return nil, errs.New(errs.Internal, "cannot write the pack: %w", err)
			}
			return out.Bytes(), nil
		}
		n.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if err := sleep(ctx, lookForSize); err != nil {
			return nil, err
		}
	}
}

// find looks for the leaf with the contents, among the newest.
func (n *Notary) find(ctx context.Context, mark string) (int64, error) {
	const newest = 1000
	for i := n.tree.size - 1; i >= max(0, n.tree.size-newest); i-- {
		if !strings.HasPrefix(n.tree.refs[i].Key, "events/") {
			continue
		}
		_, data, err := n.fetch(ctx, i, n.tree.refs[i])
		if err != nil {
			return -1, err
		}
		if bytes.Contains(data, []byte(mark)) {
			return i, nil
		}
	}
	return -1, nil
}

// proved puts leaves, tree and checkpoint into the pack.
func (n *Notary) proved(ctx context.Context, p evidence.Pack, indexes []int64, c wire.LogCheckpoint) (evidence.Pack, error) {
	if c.Size > n.tree.size {
		return p, errs.New(errs.Unavailable, "the evidence log goes on while it is read: try again")
	}
	for _, i := range indexes {
		ref, data, err := n.fetch(ctx, i, n.tree.refs[i])
		if err != nil {
			return p, err
		}
		if ref.Hash != "" {
			return p, errs.New(errs.Unavailable, "entry %d of the evidence log is being retired while it is read: try again", i)
		}
		p.Leaves = append(p.Leaves, evidence.Leaf{Index: i, Data: data})
	}
	part := tree{size: c.Size, hashes: n.tree.hashes[:tlog.StoredHashCount(c.Size)]}
	hashes, err := evidence.Prove(c.Size, indexes, &part)
	if err != nil {
		return p, errs.New(errs.Internal, "the evidence log cannot be proved: %w", err)
	}
	p.Tree, p.Checkpoint = hashes, []byte(c.Note)
	return p, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

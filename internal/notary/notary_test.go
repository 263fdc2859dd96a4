package notary_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"perdure/internal/errs"
	"perdure/internal/etcdnode"
	"perdure/internal/etcdnode/etcdtest"
	"perdure/internal/evidence"
	"perdure/internal/notary"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/store"
	"perdure/internal/wire"
)

const patient = 30 * time.Second

func open(t *testing.T) (*store.Store, *etcdnode.Node) {
	t.Helper()
	n := etcdtest.Start(t, etcdtest.Options(t, 1)...)[0]
	s := store.New(n.Client(), store.Options{Node: "a", Timeout: patient, Logger: etcdtest.Logger(t)})
	if _, err := s.EnsureIncarnation(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, n
}

// begin runs a notary until the test ends.
func begin(t *testing.T, s *store.Store, node, dir string) *notary.Notary {
	t.Helper()
	n, err := notary.New(s, notary.Options{Node: node, Dir: dir, MayAct: func() error { return nil }, Logger: etcdtest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = n.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return n
}

// conducted is a run of a few entries.
func conducted(t *testing.T, s *store.Store, id string, entries int) {
	t.Helper()
	p := &plan.Program{Plan: "p", Mode: plan.Takeover, Nodes: []plan.Node{{ID: "ask", Local: "ask", Parent: -1, Step: plan.Step{ID: "ask", Manual: &plan.Manual{Owner: "operator", Instruction: "look"}}}}}
	_, err := s.CreateRun(t.Context(), wire.RunStart{Head: wire.Run{ID: id, Plan: "p", Mode: plan.Takeover, StartedBy: "ann"}, Program: p, Journal: []run.Entry{{Seq: 1, By: "ann", What: run.Started}}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range entries {
		what := run.Paused
		if i%2 == 1 {
			what = run.Resumed
		}
		if _, err = s.Say(t.Context(), id, run.Entry{By: "ann", What: what}); err != nil {
			t.Fatal(err)
		}
	}
}

func knownOf(t *testing.T, s *store.Store) note.Verifiers {
	t.Helper()
	keys, err := s.LogKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var list []note.Verifier
	for _, k := range keys {
		v, err := note.NewVerifier(k.Key)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, v)
	}
	return note.VerifierList(list...)
}

func TestPackOfARunHasItsWholeJournalAndIsGood(t *testing.T) {
	s, _ := open(t)
	n := begin(t, s, "a", t.TempDir())
	conducted(t, s, "r1", 6)
	conducted(t, s, "r2", 3)
	pack, err := n.Pack(t.Context(), "person:ann", "r1", map[string][]byte{"report.html": []byte("<p>")})
	if err != nil {
		t.Fatal(err)
	}
	v, err := evidence.Verify(bytes.NewReader(pack), knownOf(t, s), nil)
	if err != nil || !v.Good() {
		t.Fatalf("%v %v", v.Faults, err)
	}
	// One entry each time, the event beside each, and the contents.
	if v.Run != "r1" || v.Leaves != 2*7+1 || fmt.Sprint(v.Files) != "[program.json report.html]" {
		t.Errorf("%+v", v)
	}
	if bytes.Contains(pack, []byte(`journals/r2/`)) {
		t.Error("the pack has leaves of another run")
	}
	origin, leaves, err := n.Journal(t.Context(), "r1")
	if err != nil || len(leaves) != 7 || !strings.HasPrefix(origin, "perdure/") || !slices.IsSorted(leaves) {
		t.Errorf("the journal is %v of %s, %v", leaves, origin, err)
	}
	if _, err := n.Pack(t.Context(), "person:ann", "r3", nil); errs.KindOf(err) != errs.NotFound {
		t.Errorf("a run that never was: %v", err)
	}
}

// TestStretchesOfTheLogFollowEachOther from its first entry to its last, each good by itself.
func TestStretchesOfTheLogFollowEachOther(t *testing.T) {
	s, _ := open(t)
	n := begin(t, s, "a", t.TempDir())
	var next int64
	for i := range 3 {
		conducted(t, s, fmt.Sprint("r", i), 4)
		ctx, cancel := context.WithTimeout(t.Context(), patient)
		if _, _, err := n.Journal(ctx, fmt.Sprint("r", i)); err != nil { // it is in the log
			t.Fatal(err)
		}
		pack, err := n.Stretch(ctx, "person:ann", next)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		v, err := evidence.Verify(bytes.NewReader(pack), knownOf(t, s), nil)
		if err != nil || !v.Good() || v.Stretch == nil || v.Stretch.From != next || v.Size <= v.Stretch.To {
			t.Fatalf("from %d: %+v, %v", next, v, err)
		}
		if !bytes.Contains(pack, fmt.Appendf(nil, "journals/r%d/", i)) {
			t.Errorf("the log from %d on has nothing of run r%d", next, i)
		}
		if i > 0 && (bytes.Contains(pack, []byte("journals/r0/")) || !bytes.Contains(pack, []byte(evidence.ContentsOfPack))) {
			t.Errorf("from %d on it begins before, or leaves out that the log was read", next)
		}
		next = v.Stretch.To
	}
	if _, err := n.Stretch(t.Context(), "person:ann", next+1000); errs.KindOf(err) != errs.Invalid {
		t.Errorf("from an entry on that is not there: %v", err)
	}
	if _, err := n.Stretch(t.Context(), "person:ann", -1); errs.KindOf(err) != errs.Invalid {
		t.Errorf("from before the first entry on: %v", err)
	}
}

// TestEverythingIsInTheLogOnceWhoeverLetsItGrow has three notaries grow it at the same time, while it is written to.
// interrupted is a store that does not answer for one leaf, once.
type interrupted struct {
	*store.Store
	leaves atomic.Int64
	at     int64
}

func (i *interrupted) LogLeaf(ctx context.Context, ref wire.LogRef) ([]byte, error) {
	if i.leaves.Add(1) == i.at {
		return nil, errs.New(errs.Unavailable, "no answer in time")
	}
	return i.Store.LogLeaf(ctx, ref)
}

// What was interrupted within what had been added at once goes on where it was.
func TestLogIsReadOnWhereItsReadingWasInterrupted(t *testing.T) {
	s, _ := open(t)
	conducted(t, s, "r1", 40)
	if _, grown, err := s.GrowLog(t.Context()); !grown || err != nil { // all of it at once
		t.Fatal(grown, err)
	}
	flaky := &interrupted{Store: s, at: 7}
	n, err := notary.New(flaky, notary.Options{Node: "a", Dir: t.TempDir(), MayAct: func() error { return nil }, IsLeader: func() bool { return true }, Logger: etcdtest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := n.Journal(t.Context(), "r1"); errs.KindOf(err) != errs.Unavailable {
		t.Fatalf("it was not interrupted: %v", err)
	}
	_, leaves, err := n.Journal(t.Context(), "r1")
	if err != nil || len(leaves) != 41 {
		t.Errorf("%d leaves of the journal, %v", len(leaves), err)
	}
	for _, from := range []int64{0, 1, 40, 81, 82} {
		refs, err := s.LogRefs(t.Context(), from)
		all, _ := s.LogRefs(t.Context(), 0)
		if err != nil || !slices.Equal(refs, all[min(from, int64(len(all))):]) {
			t.Errorf("from %d on there are %d leaves of %d: %v", from, len(refs), len(all), err)
		}
	}
	if _, err := s.LogRefs(t.Context(), 1000); errs.KindOf(err) != errs.Internal {
		t.Errorf("behind the end: %v", err)
	}
}

func TestEverythingIsInTheLogOnceWhoeverLetsItGrow(t *testing.T) {
	s, _ := open(t)
	for _, node := range []string{"a", "b", "c"} {
		begin(t, s, node, t.TempDir())
	}
	var work sync.WaitGroup
	const writers, each = 4, 60
	for w := range writers {
		work.Go(func() {
			for i := range each {
				if err := s.Note(t.Context(), "person:ann", "test", fmt.Sprintf("%d-%d", w, i), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	deadline := time.After(patient)
	for {
		if _, _, err := s.GrowLog(t.Context()); err != nil {
			t.Fatal(err)
		}
		seen, last := map[string]int{}, int64(0)
		for from := int64(0); ; {
			refs, err := s.LogRefs(t.Context(), from)
			if err != nil {
				t.Fatal(err)
			}
			if len(refs) == 0 {
				break
			}
			for _, r := range refs {
				seen[r.Key]++
				if r.Revision < last {
					t.Fatalf("leaf %s of revision %d stands behind one of %d", r.Key, r.Revision, last)
				}
				last = r.Revision
			}
			from += int64(len(refs))
		}
		for key, n := range seen {
			if n != 1 {
				t.Fatalf("leaf %s stands %d times", key, n)
			}
		}
		c, err := s.LogCheckpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(seen) >= writers*each && c.Size >= int64(len(seen)) {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%d leaves, a checkpoint of %d", len(seen), c.Size)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// TestChangedHistoryIsNotSigned changes an event in the store itself, as nobody can through the product.
func TestChangedHistoryIsNotSigned(t *testing.T) {
	s, node := open(t)
	n := begin(t, s, "a", t.TempDir())
	conducted(t, s, "r1", 2)
	if _, err := n.Pack(t.Context(), "person:ann", "r1", nil); err != nil {
		t.Fatal(err)
	}
	refs, err := s.LogRefs(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range refs {
		if !strings.HasPrefix(r.Key, "journals/r1/") {
			continue
		}
		forged, err := json.Marshal([]run.Entry{{Seq: 1, By: "eve", What: run.Started}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := node.Client().Put(t.Context(), store.Root+r.Key, string(forged)); err != nil {
			t.Fatal(err)
		}
		break
	}
	if _, err := n.Pack(t.Context(), "person:ann", "r1", nil); errs.KindOf(err) != errs.Internal || !strings.Contains(err.Error(), "tampered") {
		t.Errorf("a pack of a changed journal: %v", err)
	}
	// A notary that comes later reads everything anew, and signs nothing.
	before, err := s.LogCheckpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	later, err := notary.New(s, notary.Options{Node: "b", Dir: t.TempDir(), MayAct: func() error { return nil }, Logger: etcdtest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := later.Pack(t.Context(), "person:ann", "r1", nil); errs.KindOf(err) != errs.Internal {
		t.Errorf("a later notary: %v", err)
	}
	if after, err := s.LogCheckpoint(t.Context()); err != nil || after.Size < before.Size {
		t.Errorf("%+v, %v", after, err)
	}
}

func TestSigningKeyIsKeptAndNeverShown(t *testing.T) {
	s, _ := open(t)
	dir := t.TempDir()
	begin(t, s, "a", dir)
	path := filepath.Join(dir, "evidence.key")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	begin(t, s, "a", dir)
	if again, err := os.ReadFile(path); err != nil || !bytes.Equal(text, again) {
		t.Errorf("the key was made anew: %v", err)
	}
	for _, damaged := range []string{"", "x\ny\n", string(text[:len(text)/3]), "x" + string(text)} {
		if err := os.WriteFile(path, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := notary.New(s, notary.Options{Node: "a", Dir: dir, Logger: etcdtest.Logger(t)})
		if errs.KindOf(err) != errs.Invalid {
			t.Errorf("%q: %v", damaged, err)
		}
		if private, _, _ := strings.Cut(string(text), "\n"); err != nil && strings.Contains(err.Error(), private) {
			t.Errorf("the error shows the key: %v", err)
		}
	}
}

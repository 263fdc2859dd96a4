package notary_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/etcdnode"
	"perdure/internal/etcdnode/etcdtest"
	"perdure/internal/evidence"
	"perdure/internal/incident"
	"perdure/internal/notary"
	"perdure/internal/run"
	"perdure/internal/store"
	"perdure/internal/wire"
)

// archive is a store with a notary, and a clock that the test sets.
type archive struct {
	t    *testing.T
	s    *store.Store
	node *etcdnode.Node
	n    *notary.Notary
	now  *atomic.Pointer[time.Time]
}

const day = 24 * time.Hour

func openArchive(t *testing.T) *archive {
	t.Helper()
	a := &archive{t: t, node: etcdtest.Start(t, etcdtest.Options(t, 1)...)[0], now: &atomic.Pointer[time.Time]{}}
	a.pass(0)
	a.s = store.New(a.node.Client(), store.Options{Node: "a", Timeout: patient, Now: a.time, Logger: etcdtest.Logger(t)})
	if _, err := a.s.EnsureIncarnation(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *archive) time() time.Time { return *a.now.Load() }

func (a *archive) pass(d time.Duration) {
	t := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	if was := a.now.Load(); was != nil {
		t = was.Add(d)
	}
	a.now.Store(&t)
}

// notary makes one that lets the log grow when the test says so.
func (a *archive) notary(s notary.Store) *notary.Notary {
	a.t.Helper()
	n, err := notary.New(s, notary.Options{Node: "a", Dir: a.t.TempDir(), Now: a.time, MayAct: func() error { return nil }, Logger: etcdtest.Logger(a.t)})
	if err != nil {
		a.t.Fatal(err)
	}
	return n
}

// work lets a notary work until the test ends.
func (a *archive) work(n *notary.Notary) *archive {
	ctx, cancel := context.WithCancel(a.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = n.Run(ctx)
	}()
	a.t.Cleanup(func() {
		cancel()
		<-done
	})
	a.n = n
	return a
}

// growing does something while the log grows.
func (a *archive) growing(do func()) {
	a.t.Helper()
	ctx, stop := context.WithCancel(a.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			_ = a.n.Grow(ctx)
			<-tick.C
		}
	}()
	defer func() {
		stop()
		<-done
	}()
	do()
}

// over is a run that has come to its end.
func (a *archive) over(id string) {
	a.t.Helper()
	conducted(a.t, a.s, id, 2)
	head, err := a.s.Run(a.t.Context(), id, wire.Fresh)
	if err != nil {
		a.t.Fatal(err)
	}
	program, err := a.s.Program(a.t.Context(), id)
	if err != nil {
		a.t.Fatal(err)
	}
	journal, err := a.s.Journal(a.t.Context(), id, 0)
	if err != nil {
		a.t.Fatal(err)
	}
	r, err := run.Replay(id, program, journal)
	if err != nil {
		a.t.Fatal(err)
	}
	last := run.Entry{Seq: head.Seq + 1, At: a.time(), By: "node:a", What: run.Finished, Outcome: run.Broken}
	if err := r.Advance(last); err != nil {
		a.t.Fatal(err)
	}
	if _, err := a.s.Append(a.t.Context(), nil, head.At(r), []run.Entry{last}, nil, nil); err != nil {
		a.t.Fatal(err)
	}
}

func (a *archive) pack(id string) []byte {
	a.t.Helper()
	pack, err := a.n.Pack(a.t.Context(), "person:ann", id, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	return pack
}

func (a *archive) good(pack []byte) evidence.Verdict {
	a.t.Helper()
	v, err := evidence.Verify(bytes.NewReader(pack), knownOf(a.t, a.s), nil)
	if err != nil || !v.Good() {
		a.t.Fatalf("%v %v", v.Faults, err)
	}
	return v
}

// export reads the log from an entry on, and gives what a retirement of everything up to there asks for.
func (a *archive) export(from int64) (ask wire.Retire, packs []evidence.Verdict) {
	a.t.Helper()
	for end := int64(-1); end < 0 || from < end; {
		pack, err := a.n.Stretch(a.t.Context(), "person:ann", from)
		if err != nil {
			a.t.Fatal(err)
		}
		v := a.good(pack)
		if end < 0 {
			end = v.Size - 1
		}
		from = v.Stretch.To
		ask = wire.Retire{Exported: from, Origin: v.Origin, Size: v.Size, Root: v.Root, Reason: "kept for long enough"}
		packs = append(packs, v)
	}
	return ask, packs
}

func (a *archive) keep(days int) {
	a.t.Helper()
	p, err := a.s.Policy(a.t.Context(), wire.Fresh)
	if err == nil {
		p.RetentionDays = &days
		_, err = a.s.SetPolicy(a.t.Context(), "person:root", p)
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *archive) retiring() wire.Retiring {
	a.t.Helper()
	would, err := a.n.Retiring(a.t.Context(), time.Time{})
	if err != nil {
		a.t.Fatal(err)
	}
	return would
}

// asked is what a retirement of what would go asks for.
func (a *archive) asked() wire.Retire {
	a.t.Helper()
	would := a.retiring()
	ask, _ := a.export(0)
	ask.Before = would.Before
	for _, r := range would.Runs {
		ask.Runs = append(ask.Runs, r.Run)
	}
	return ask
}

func (a *archive) finished() wire.Retirement {
	a.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(patient); ; {
		r, err := a.s.Retirement(a.t.Context())
		if err == nil && r.FinishedAt != 0 {
			return r
		}
		select {
		case <-end:
			a.t.Fatalf("the retirement is at %+v, %v", r, err)
		case <-tick.C:
		}
	}
}

// keys are what the store has below a prefix.
func (a *archive) keys(prefix string) (keys []string) {
	a.t.Helper()
	resp, err := a.node.Client().Get(a.t.Context(), store.Root+prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		a.t.Fatal(err)
	}
	for _, kv := range resp.Kvs {
		keys = append(keys, strings.TrimPrefix(string(kv.Key), store.Root))
	}
	return keys
}

// TestWhatWasExportedIsRetiredAndTheLogStaysOne: what goes is gone with all that belongs to it, what stays is proved as before, packs of before are good, and
// the log is signed on, by a notary that has read what went and by one that has not (E7).
func TestWhatWasExportedIsRetiredAndTheLogStaysOne(t *testing.T) {
	a := openArchive(t)
	a.work(a.notary(a.s))
	a.over("old")
	a.over("needed")
	a.over("unpacked")
	before := a.pack("old")
	a.pack("needed")
	if _, err := a.s.OpenIncident(t.Context(), "person:ann", incident.Incident{ID: "i", Cause: "x", OpenedBy: "ann", Runs: []string{"needed"}}); err != nil {
		t.Fatal(err)
	}
	a.pass(400 * day)
	a.over("young")
	a.pack("young")
	a.keep(365)
	would := a.retiring()
	if len(would.Runs) != 1 || would.Runs[0].Run != "old" || would.Runs[0].Entries != a.good(before).Leaves-1 {
		t.Fatalf("it would retire %+v", would.Runs)
	}
	if want := "[{needed incident i is reported by it false} {unpacked there is no pack of all of it true}]"; fmt.Sprint(would.Stay) != want {
		t.Errorf("there stay %v, want %s", would.Stay, want)
	}
	r, err := a.n.Retire(t.Context(), "person:root", a.asked())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.n.Retire(t.Context(), "person:root", a.asked()); errs.KindOf(err) != errs.Conflict && a.finished().At == r.At {
		t.Errorf("a second one at the same time: %v", err)
	}
	r = a.finished()
	if r.Runs != 1 || r.Stopped != "" || r.Entries < int64(would.Runs[0].Entries) {
		t.Errorf("%+v", r)
	}
	for _, prefix := range []string{"journals/old/", "programs/old"} {
		if left := a.keys(prefix); len(left) > 0 {
			t.Errorf("there is still %v", left)
		}
	}
	if _, err := a.n.Pack(t.Context(), "person:ann", "old", nil); errs.KindOf(err) != errs.NotFound || !strings.Contains(err.Error(), "was retired on 2028-02-05") {
		t.Errorf("a pack of what was retired: %v", err)
	}
	if _, err := a.s.Say(t.Context(), "old", run.Entry{By: "ann", What: run.Attested}); errs.KindOf(err) != errs.NotFound {
		t.Errorf("a word to what was retired: %v", err)
	}
	if journal, err := a.s.Journal(t.Context(), "old", 0); errs.KindOf(err) != errs.NotFound {
		t.Errorf("its journal is %v, %v", journal, err)
	}
	a.good(before)
	for _, id := range []string{"needed", "unpacked", "young"} {
		a.good(a.pack(id))
	}
	_, whole := a.export(0)
	var missing int64
	for _, v := range whole {
		missing += v.Stretch.Missing()
	}
	if missing != r.Entries {
		t.Errorf("the log lacks %d entries, and %d were retired", missing, r.Entries)
	}
	// A node that was made anew has never read them.
	other := a.notary(a.s)
	pack, err := other.Pack(t.Context(), "person:ann", "unpacked", nil)
	if err != nil {
		t.Fatal(err)
	}
	a.good(pack)
	if again := a.retiring(); len(again.Runs) != 1 || again.Runs[0].Run != "unpacked" || again.Last == nil || again.Last.Runs != 1 {
		t.Errorf("next goes %+v", again)
	}
}

// TestNothingIsRetiredThatIsToBeKept, or that was not exported from this very log.
func TestNothingIsRetiredThatIsToBeKept(t *testing.T) {
	a := openArchive(t)
	a.work(a.notary(a.s))
	a.over("old")
	a.pack("old")
	a.pass(400 * day)
	ask, _ := a.export(0)
	ask.Before = a.time().Add(-399 * day).UnixMilli()
	ask.Runs = []string{"old"}
	refused := func(what, why string, change func(*wire.Retire)) {
		t.Helper()
		wrong := ask
		change(&wrong)
		if _, err := a.n.Retire(t.Context(), "person:root", wrong); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("without a policy", "kept for ever", func(*wire.Retire) {})
	a.keep(365)
	refused("what is too young", "kept for 365 days", func(r *wire.Retire) { r.Before = a.time().Add(-364 * day).UnixMilli() })
	refused("without an instant", "not said what", func(r *wire.Retire) { r.Before = 0 })
	refused("of another log", "is of log", func(r *wire.Retire) { r.Origin = "perdure/9.x" })
	refused("of a longer one", "and this one has", func(r *wire.Retire) { r.Size += 1000 })
	refused("of more than was verified", "and this one has", func(r *wire.Retire) { r.Exported = r.Size + 1 })
	refused("of another history", "root is another", func(r *wire.Retire) { r.Root = strings.Repeat("A", 43) + "=" })
	refused("of a run less", "ask again", func(r *wire.Retire) { r.Runs = nil })
	refused("of a run more", "ask again", func(r *wire.Retire) { r.Runs = []string{"old", "other"} })
	if _, err := a.n.Retiring(t.Context(), a.time()); errs.KindOf(err) != errs.Refused {
		t.Errorf("what would be retired of today: %v", err)
	}
	if r, err := a.s.Retirement(t.Context()); err != nil || r.At != 0 || len(a.keys("journals/old/")) == 0 {
		t.Errorf("%+v %v", r, err)
	}
	if _, err := a.n.Retire(t.Context(), "person:root", ask); err != nil {
		t.Fatal(err)
	}
	a.finished()
	refused("of less than the last time", "last retirement", func(r *wire.Retire) { r.Exported, r.Runs = 1, nil })
}

// dying loses the store after a number of transactions.
type dying struct {
	clientv3.KV
	left atomic.Int64
}

func (d *dying) Txn(ctx context.Context) clientv3.Txn { return lost{d.KV.Txn(ctx), d} }

// lost is a transaction that may come too late.
type lost struct {
	clientv3.Txn
	d *dying
}

func (l lost) If(c ...clientv3.Cmp) clientv3.Txn  { return lost{l.Txn.If(c...), l.d} }
func (l lost) Then(o ...clientv3.Op) clientv3.Txn { return lost{l.Txn.Then(o...), l.d} }
func (l lost) Else(o ...clientv3.Op) clientv3.Txn { return lost{l.Txn.Else(o...), l.d} }

func (l lost) Commit() (*clientv3.TxnResponse, error) {
	if l.d.left.Add(-1) < 0 {
		return nil, errors.New("the process was killed")
	}
	return l.Txn.Commit()
}

// TestRetirementGoesOnWhereverItIsInterrupted, after each of its transactions, by another node, and ends as if nothing had been.
func TestRetirementGoesOnWhereverItIsInterrupted(t *testing.T) {
	const many = 1000
	want, left := retiredAfter(t, many)
	for transactions := range many - left {
		t.Run(fmt.Sprint(transactions), func(t *testing.T) {
			t.Parallel()
			if got, _ := retiredAfter(t, transactions); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
	t.Logf("each of %d transactions: %s", many-left, want)
}

// retiredAfter retires two runs. The node that does it dies after so many transactions, and another one goes on. It says what has become of all, and how
// many transactions the first had left.
func retiredAfter(t *testing.T, transactions int64) (what string, left int64) {
	a := openArchive(t)
	defer a.node.Stop()
	a.n = a.notary(a.s)
	for _, id := range []string{"r1", "r2"} {
		a.over(id)
		a.growing(func() { a.pack(id) })
	}
	a.pass(10 * day)
	a.keep(5)
	var ask wire.Retire
	a.growing(func() { ask = a.asked() })
	if _, err := a.n.Retire(t.Context(), "person:root", ask); err != nil {
		t.Fatal(err)
	}
	kv := &dying{KV: a.node.Client().KV}
	kv.left.Store(transactions)
	client := *a.node.Client()
	client.KV = kv
	killed := a.notary(store.New(&client, store.Options{Node: "a", Timeout: patient, Now: a.time, Logger: etcdtest.Logger(t)}))
	for range 10 {
		_ = killed.Grow(t.Context())
	}
	a.n = a.notary(a.s)
	var r wire.Retirement
	var whole []evidence.Verdict
	a.growing(func() {
		r = a.finished()
		_, whole = a.export(0)
	})
	var missing int64
	for _, v := range whole {
		missing += v.Stretch.Missing()
	}
	if missing != r.Entries || r.Runs != 2 {
		t.Errorf("%+v, and the log lacks %d entries", r, missing)
	}
	return fmt.Sprintf("%d runs, %d entries, left %v", r.Runs, r.Entries, slices.Concat(a.keys("journals/"), a.keys("programs/"))), kv.left.Load()
}

// TestLeafThatIsGoneWithoutARetirementIsFound, also where somebody has written its hash.
func TestLeafThatIsGoneWithoutARetirementIsFound(t *testing.T) {
	a := openArchive(t)
	conducted(t, a.s, "r1", 3)
	if _, grown, err := a.s.GrowLog(t.Context()); !grown || err != nil {
		t.Fatal(grown, err)
	}
	batch := a.keys("log/batches/")[0]
	resp, err := a.node.Client().Get(t.Context(), store.Root+batch)
	if err != nil {
		t.Fatal(err)
	}
	forged := strings.Replace(string(resp.Kvs[0].Value), `"revision":`, `"hash":"`+strings.Repeat("A", 43)+`=","revision":`, 1)
	if _, err := a.node.Client().Put(t.Context(), store.Root+batch, forged); err != nil {
		t.Fatal(err)
	}
	n := a.notary(a.s)
	if _, _, err := n.Journal(t.Context(), "r1"); errs.KindOf(err) != errs.Internal || !strings.Contains(err.Error(), "tampered") {
		t.Errorf("%v", err)
	}
}

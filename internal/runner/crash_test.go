package runner_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/etcdnode/etcdtest"
	"perdure/internal/plan"
	"perdure/internal/resource"
	"perdure/internal/run"
	"perdure/internal/run/runtest"
	"perdure/internal/runner"
	"perdure/internal/shape"
	"perdure/internal/store"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// What a process that is to be a runner is told.
const (
	endpointVar = "PERDURE_TEST_RUNNER_STORE"
	dirVar      = "PERDURE_TEST_RUNNER_DIR"
	dieVar      = "PERDURE_TEST_RUNNER_DIE" // "before 7", "after 7": at which append; empty: not
	ttlVar      = "PERDURE_TEST_RUNNER_TTL" // not empty: the product's own
	// What a person may tell the test.
	seedVar = "PERDURE_CRASH_SEED"
	allVar  = "PERDURE_CRASH_ALL"
)

const (
	crashPoints = 15
	crashTTL    = 2
	crashWithin = 3 * time.Minute // of one run, on a busy machine
)

func TestMain(m *testing.M) {
	if endpoint := os.Getenv(endpointVar); endpoint != "" {
		if err := process(endpoint, os.Getenv(dirVar), os.Getenv(dieVar)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// process is a runner until its standard input ends, or it kills itself.
func process(endpoint, dir, die string) error {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: time.Minute})
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var waits sync.WaitGroup
	waits.Go(func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	})
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	o := store.Options{Node: "a", Timeout: 30 * time.Second, RunnerTTL: crashTTL, Logger: log}
	if os.Getenv(ttlVar) != "" {
		o.RunnerTTL = 0
	}
	st := store.New(client, o)
	m := &mortal{Runners: st.Runners(), dir: dir, die: die}
	w := files{dir}
	err = runner.New(m, resource.Set{"world": w, "notify": w}, runner.Options{Node: "a", Logger: log}).Run(ctx)
	waits.Wait()
	return err
}

// mortal is a store whose user dies at an append.
type mortal struct {
	store.Runners
	dir, die string
	mu       sync.Mutex
	n        int
}

func (m *mortal) Claim(ctx context.Context, id string) (runner.Claim, error) {
	if id != filepath.Base(m.dir) {
		return nil, nil //nolint:nilnil // the run of another test
	}
	c, err := m.Runners.Claim(ctx, id)
	if c == nil {
		return nil, err
	}
	return &mortalClaim{c, m}, nil
}

type mortalClaim struct {
	*store.Held
	m *mortal
}

func (c *mortalClaim) Append(ctx context.Context, head wire.Run, entries []run.Entry, take, release []string) (wire.Run, error) {
	c.m.mu.Lock()
	c.m.n++
	n := c.m.n
	c.m.mu.Unlock()
	if c.m.die == fmt.Sprint("before ", n) {
		die()
	}
	if err := add(filepath.Join(c.m.dir, "appends"), "."); err != nil {
		return head, err
	}
	head, err := c.Held.Append(ctx, head, entries, take, release)
	if c.m.die == fmt.Sprint("after ", n) {
		die()
	}
	return head, err
}

func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// add appends a line with one write, so that it is there whole or not at all, and has it on disk.
func add(name, line string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString(line + "\n"); err != nil {
		return err
	}
	return f.Sync()
}

// files is a world whose state is the file of what was done to it.
type files struct{ dir string }

var oneAtATime sync.Mutex

func (w files) lines() []string {
	data, _ := os.ReadFile(filepath.Join(w.dir, "effects"))
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

func (w files) is(target string) string {
	lines := w.lines()
	for _, l := range slices.Backward(lines) {
		if to, ok := strings.CutPrefix(l, target+"="); ok {
			return to
		}
	}
	return ""
}

func (w files) do(line string) error { return add(filepath.Join(w.dir, "effects"), line) }

func (files) Actions() plan.Catalogue { return nil }

func (w files) Ensure(_ context.Context, c resource.Call) (map[string]any, error) {
	oneAtATime.Lock()
	defer oneAtATime.Unlock()
	if c.Posted { // with the run's start: it is there, and nothing is done
		return map[string]any{"is": w.is(c.Target)}, nil
	}
	if c.Driver == "notify" {
		return nil, w.do(fmt.Sprintf("told %v: %v", c.With["to"], c.With["text"]))
	}
	if c.Action == "look" {
		return map[string]any{"is": w.is(c.Target)}, nil
	}
	refusal, refused := "refused "+c.Target, 0
	for _, l := range w.lines() {
		if l == refusal {
			refused++
		}
	}
	if n, _ := c.With["fails"].(float64); float64(refused) < n {
		if err := w.do(refusal); err != nil {
			return nil, err
		}
		return nil, errors.New("the world refuses")
	}
	to, _ := c.With["to"].(string)
	if w.is(c.Target) != to {
		if err := w.do(c.Target + "=" + to); err != nil {
			return nil, err
		}
	}
	return map[string]any{"is": to}, nil
}

func (w files) Observe(_ context.Context, c resource.Call) (map[string]any, bool, error) {
	to, _ := c.With["to"].(string)
	return map[string]any{"is": to}, c.Driver == "world" && w.is(c.Target) == to, nil
}

func (w files) Facts(_ context.Context, target string) (map[string]any, error) {
	return map[string]any{"is": w.is(target)}, nil
}

// lived is what became of a run with processes that die.
type lived struct {
	run     *run.Run
	journal []run.Entry
	effects []string
	appends int
	died    bool
}

// sixty is the program of sixty steps, with waits that a test can wait for, and locks of its own.
func sixty(t *testing.T, id string) *plan.Program {
	t.Helper()
	text, err := os.ReadFile("../run/testdata/sixty.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p := runtest.Program(t, strings.ReplaceAll(string(text), "facts.broken.is", `facts["world/broken"].is`), plan.Takeover)
	for i := range p.Nodes {
		s := &p.Nodes[i].Step
		if s.Wait != nil && s.Wait.For > 0 {
			s.Wait.For = shape.Duration(200 * time.Millisecond)
		}
		if s.Retry != nil {
			s.Retry.Pause = shape.Duration(20 * time.Millisecond)
		}
		for n := range s.Locks {
			s.Locks[n] += "/" + id
		}
	}
	return p
}

// live carries out a run: by a process that dies where it is told to, and by another one after it.
func live(t *testing.T, s *store.Store, endpoint, id, death string) lived {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), crashWithin)
	defer cancel()
	dir := filepath.Join(t.TempDir(), id)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p := sixty(t, id)
	params, err := p.Bind(map[string]any{"to": "b"})
	if err != nil {
		t.Fatal(err)
	}
	first := run.Entry{Seq: 1, By: "ann", What: run.Started, At: time.Now(), Params: params}
	if _, err := s.CreateRun(ctx, wire.RunStart{Head: wire.Run{ID: id, Plan: p.Plan, Mode: p.Mode, StartedBy: "ann", Phase: run.Running}, Program: p, Journal: []run.Entry{first}}); err != nil {
		t.Fatal(err)
	}
	out := lived{}
	words := make(chan error, 1)
	go func() { words <- people(ctx, s, p, id) }()
	out.died = processes(ctx, t, endpoint, dir, death, words)
	if out.journal, err = s.Journal(t.Context(), id, 0); err != nil {
		t.Fatal(err)
	}
	if out.run, err = run.Replay(id, p, out.journal); err != nil {
		t.Fatal(err)
	}
	out.effects = files{dir}.lines()
	appends, _ := os.ReadFile(filepath.Join(dir, "appends"))
	out.appends = bytes.Count(appends, []byte("\n"))
	return out
}

// processes carries out a run by a process that dies where it is told to, and by another one after it, until words say that the run is over.
func processes(ctx context.Context, t *testing.T, endpoint, dir, death string, words <-chan error) (died bool) {
	t.Helper()
	next := death
	for spoke := false; !spoke; {
		said := &bytes.Buffer{}
		child := exec.CommandContext(ctx, os.Args[0])
		child.Env = append(os.Environ(), endpointVar+"="+endpoint, dirVar+"="+dir, dieVar+"="+next)
		child.Stderr = said
		stop, err := child.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- child.Wait() }()
		var end error
		select {
		case err := <-words:
			if err != nil {
				t.Errorf("%s: %v", death, err)
			}
			spoke = true
			stop.Close()
			end = <-ended
		case end = <-ended:
		}
		if spoke && end == nil {
			return died
		}
		var exit *exec.ExitError // a process that dies at the last append may have been seen to do so after the run was seen to be over
		if !errors.As(end, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL || next == "" {
			t.Fatalf("%s: the runner ended: %v\n%s", death, end, said)
		}
		died, next = true, ""
	}
	return died
}

// people approve, count, and have a failed step repeated, until the run is over.
func people(ctx context.Context, s *store.Store, p *plan.Program, id string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		journal, err := s.Journal(ctx, id, 0)
		if err != nil {
			return err
		}
		r, err := run.Replay(id, p, journal)
		if err != nil {
			return err
		}
		if r.Phase == run.Over {
			return nil
		}
		for _, step := range r.Asked() {
			e := run.Entry{Node: step, By: "bob"}
			switch have, _ := r.Step(step); {
			case step == "agree" && len(have.Votes) == 0:
				e.What, e.For = run.Approved, "operations"
			case step == "agree":
				e.What, e.By, e.For = run.Approved, "cid", "business"
			case step == "counted":
				e.What, e.Result = run.Completed, map[string]any{"count": 7.0}
			case step == "broken":
				e.What, e.Text = run.Retried, "mended"
			default:
				return fmt.Errorf("step %s asks: %s", step, have.Error)
			}
			if _, err := s.Say(ctx, id, e); err != nil && errs.KindOf(err) != errs.Conflict {
				return err
			}
		}
	}
}

// TestNoEffectIsRepeatedOrLostWhereverAProcessIsKilled kills real processes with SIGKILL right before and right after an append, and compares
// what was done, in which order, and how every step stands in the end, with a run that nothing disturbed.
func TestNoEffectIsRepeatedOrLostWhereverAProcessIsKilled(t *testing.T) {
	options := etcdtest.Options(t, 1)
	n := etcdtest.Start(t, options...)[0]
	endpoint := "http://" + options[0].ListenClient
	s := store.New(n.Client(), store.Options{Node: "test", Timeout: 30 * time.Second, Logger: etcdtest.Logger(t)})
	if _, err := s.EnsureIncarnation(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := live(t, s, endpoint, "undisturbed", "")
	if want.run.Outcome != run.Done || want.appends < 30 {
		t.Fatalf("the undisturbed run is %s after %d appends", want.run.Outcome, want.appends)
	}
	var points []string
	for i := 1; i <= want.appends; i++ {
		points = append(points, fmt.Sprint("before ", i), fmt.Sprint("after ", i))
	}
	if os.Getenv(allVar) == "" {
		seed, err := strconv.ParseUint(os.Getenv(seedVar), 10, 64)
		if err != nil {
			seed = rand.Uint64()
		}
		t.Logf("%d of %d points, of %s=%d", crashPoints, len(points), seedVar, seed)
		random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a seed is to be repeated
		random.Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
		points = points[:crashPoints]
	}
	died := make([]bool, len(points))
	t.Run("died", func(t *testing.T) {
		for i, point := range points {
			t.Run(point, func(t *testing.T) {
				t.Parallel()
				got := live(t, s, endpoint, fmt.Sprint("r", i), point)
				died[i] = got.died
				if diff := cmp.Diff(sortedEffects(want), sortedEffects(got)); diff != "" {
					t.Errorf("the effects differ:\n%s", diff)
				}
				if diff := cmp.Diff(outcomes(want), outcomes(got)); diff != "" {
					t.Errorf("the steps stand differently:\n%s", diff)
				}
				if held := got.run.Held(); len(held) > 0 {
					t.Errorf("locks are held: %v", held)
				}
				assertOrder(t, got)
			})
		}
	})
	// How much goes into one append depends on who is faster, so a late point may lie behind the end of its run.
	lived := 0
	for _, d := range died {
		if !d {
			lived++
		}
	}
	if lived*3 > len(points) {
		t.Errorf("%d of %d processes did not die", lived, len(points))
	}
}

// sortedEffects leaves out refusals, which are no effect, and repeated messages: one that may have gone out is sent again.
func sortedEffects(l lived) []string {
	var out []string
	for _, e := range l.effects {
		if strings.HasPrefix(e, "refused ") || strings.HasPrefix(e, "told ") && slices.Contains(out, e) {
			continue
		}
		out = append(out, e)
	}
	slices.Sort(out)
	return out
}

func outcomes(l lived) map[string]string {
	out := map[string]string{"": string(l.run.Phase) + " " + string(l.run.Outcome)}
	for i := range l.run.Steps {
		s := &l.run.Steps[i]
		out[l.run.Program.Nodes[i].ID] = fmt.Sprint(s.Status, s.Outputs, len(s.Votes))
	}
	return out
}

// assertOrder: no effect is there before that of a step which its own comes after (R1), and no step begins again after it has ended (R2).
func assertOrder(t *testing.T, l lived) {
	t.Helper()
	at := func(i int) int {
		c := l.run.Steps[i].Call
		if c == nil || c.Action != "set" {
			return -1
		}
		return slices.Index(l.effects, fmt.Sprintf("%s=%v", c.Target, c.With["to"]))
	}
	compared := 0
	for i, n := range l.run.Program.Nodes {
		for _, d := range n.After {
			if before, after := at(d.Node), at(i); before >= 0 && after >= 0 {
				compared++
				if before > after {
					t.Errorf("the effect of %s came before that of %s", n.ID, l.run.Program.Nodes[d.Node].ID)
				}
			}
		}
	}
	if compared < 20 {
		t.Errorf("only %d pairs of effects were compared", compared)
	}
	ended := map[string]bool{}
	for _, e := range l.journal {
		if e.What == run.Began && ended[e.Node] {
			t.Errorf("step %s began again at entry %d", e.Node, e.Seq)
		}
		if e.What == run.Ended && e.Outcome == run.Done {
			ended[e.Node] = true
		}
	}
}

// TestSwitchThatWasPostedWithItsRunNeedsNoRunner: no process has seen the run when the switch is there, and each one that comes is killed at
// an append. What is journalled in the end is what an undisturbed runner writes, but for who took the run over.
func TestSwitchThatWasPostedWithItsRunNeedsNoRunner(t *testing.T) {
	options := etcdtest.Options(t, 1)
	n := etcdtest.Start(t, options...)[0]
	s := store.New(n.Client(), store.Options{Node: "test", Timeout: 30 * time.Second, Logger: etcdtest.Logger(t)})
	if _, err := s.EnsureIncarnation(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := runtest.Program(t, header+set("switch", ", onFailure: compensate"), plan.Takeover)
	for i, death := range []string{"", "before 1", "after 1", "before 2", "after 2", "before 3", "after 3"} {
		ctx, cancel := context.WithTimeout(t.Context(), crashWithin)
		id := fmt.Sprint("r", i)
		dir := filepath.Join(t.TempDir(), id)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		post(t, s, id, p)
		if err := (files{dir}).do("switch=done"); err != nil { // by whoever carries out what was posted
			t.Fatal(err)
		}
		words := make(chan error, 1)
		go func() { words <- people(ctx, s, p, id) }()
		died := processes(ctx, t, "http://"+options[0].ListenClient, dir, death, words)
		cancel()
		if died == (death == "") {
			t.Errorf("%q: died %t", death, died)
		}
		journal, err := s.Journal(t.Context(), id, 0)
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		for _, e := range journal {
			if e.What != run.Took {
				told = append(told, strings.TrimSpace(fmt.Sprint(e.What, " ", e.Node, " ", e.Outcome)))
			}
		}
		if got := strings.Join(told, ", "); got != "started, began switch, ended switch done, finished  done" {
			t.Errorf("%q: %s", death, got)
		}
		if effects := (files{dir}).lines(); len(effects) != 1 {
			t.Errorf("%q: %q", death, effects)
		}
	}
}

// post starts a run by the transaction that begins the switch of a group of its own.
func post(t *testing.T, s *store.Store, id string, p *plan.Program) {
	t.Helper()
	group := estate.GroupID(id)
	member := func(site string) unit.Member {
		return unit.Member{ID: estate.MemberID(id + "-" + site), Site: estate.SiteID(site), Role: unit.SyncRole}
	}
	rec := unit.Bootstrap(group, "core", []estate.UnitID{estate.UnitID(id)}, unit.Policy{}, []unit.Member{member("a"), member("b")}, member("a").ID, estate.Incarnation{Counter: 1, ID: "x"})
	rec.State, rec.InSync = unit.Open, []estate.Life{{Member: member("b").ID}}
	if err := s.Quorum().CreateGroup(t.Context(), "test", rec); err != nil {
		t.Fatal(err)
	}
	first := run.Entry{Seq: 1, By: "ann", What: run.Started, At: time.Now().UTC()}
	head, err := wire.NewRun(id, p, first)
	if err != nil {
		t.Fatal(err)
	}
	r, err := run.Replay(id, p, []run.Entry{first})
	if err != nil {
		t.Fatal(err)
	}
	begun, ok := r.Posting(first.At)
	if !ok {
		t.Fatal("nothing can be posted")
	}
	g, err := s.PostRun(t.Context(), wire.RunStart{Head: head, Program: p, Journal: []run.Entry{first, begun}}, "person:ann", group, unit.Transition{
		Kind: unit.Begin, Person: "ann", Mode: unit.Takeover, SwitchID: resource.Token(id + "/switch"), Member: estate.Life{Member: member("b").ID}, Now: 1,
	})
	if err != nil || !g.Record.Switch.Active() {
		t.Fatalf("%+v, %v", g.Record.Switch, err)
	}
}

package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/client"
	"perdure/internal/errs"
	"perdure/internal/etcdnode"
	"perdure/internal/evidence"
	"perdure/internal/pki"
	"perdure/internal/plan"
	"perdure/internal/resource"
	"perdure/internal/run"
	"perdure/internal/store"
	"perdure/internal/wire"
)

// What a process that is to be a node is told.
const (
	nodeVar    = "PERDURE_TEST_NODE"    // its configuration
	effectsVar = "PERDURE_TEST_EFFECTS" // the file of what its runs have done
)

func TestMain(m *testing.M) {
	if file := os.Getenv(nodeVar); file != "" {
		os.Exit(nodeProcess(file))
	}
	os.Exit(m.Run())
}

// nodeProcess is a node whose notes, and whatever is done to units and to their sandboxes, are effects that can be counted.
func nodeProcess(file string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var c NodeConfig
	err := LoadConfig(file, &c)
	if err == nil {
		counted := effects{os.Getenv(effectsVar)}
		err = c.run(ctx, resource.Set{"notify": counted, "unit": counted, "sandbox": counted})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// effects is a driver that writes each effect down, whether or not it is there: whoever asks it twice has it twice. What is shaky fails once.
type effects struct{ file string }

func (effects) Actions() plan.Catalogue { return nil }

func (d effects) Ensure(ctx context.Context, c resource.Call) (map[string]any, error) {
	f, err := os.OpenFile(d.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if refused := c.Key + " refused"; c.With["text"] == "shaky" {
		lines, err := d.lines()
		if err != nil {
			return nil, err
		}
		if !slices.Contains(lines, refused) {
			_, err := f.WriteString(refused + "\n")
			return nil, errors.Join(errs.New(errs.Unavailable, "it is shaky"), err)
		}
	}
	if _, err := f.WriteString(c.Key + " " + fmt.Sprint(c.With["text"]) + "\n"); err != nil {
		return nil, err
	}
	return nil, f.Sync()
}

func (d effects) Observe(_ context.Context, c resource.Call) (map[string]any, bool, error) {
	lines, err := d.lines()
	return nil, slices.Contains(lines, c.Key+" "+fmt.Sprint(c.With["text"])), err
}

func (effects) Facts(context.Context, string) (map[string]any, error) {
	return nil, errs.New(errs.NotFound, "there are no facts")
}

func (d effects) lines() ([]string, error) {
	data, err := os.ReadFile(d.file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n"), err
}

// rolled is an estate whose nodes are processes, of one program or another.
type rolled struct {
	*estateOfNodes
	effects   effects
	old, next string // programs
	nodes     map[string]*nodeOf
	clients   *client.Client // over all nodes, by whom runs are started
	other     *client.Client // somebody else
}

type nodeOf struct {
	command *exec.Cmd
	said    *lockedBuffer
	ended   chan struct{}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// nextProgram builds a node of a version whose journals this one does not read.
func nextProgram(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "next")
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-tags", "journal_next", "-o", file, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return file
}

func newRolled(t *testing.T, names ...string) *rolled {
	t.Helper()
	e := newEstate(t, names...)
	r := &rolled{estateOfNodes: e, effects: effects{filepath.Join(t.TempDir(), "effects")}, old: os.Args[0], nodes: map[string]*nodeOf{}}
	t.Cleanup(func() {
		for _, n := range r.nodes {
			_ = n.command.Process.Kill()
			<-n.ended
		}
	})
	for _, name := range names {
		r.launch(name, r.old)
	}
	r.ready(names...)
	r.clients = r.as("")
	made, err := r.clients.CreateToken(t.Context(), wire.AskToken{Name: "bob", Role: wire.Admin})
	if err != nil {
		t.Fatal(err)
	}
	r.other = r.as(made.Secret)
	return r
}

// launch starts a node as a process.
func (r *rolled) launch(name, program string) {
	r.t.Helper()
	file := filepath.Join(r.configs[name].DataDir + ".yaml")
	text, err := yaml.Marshal(r.configs[name])
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		r.t.Fatal(err)
	}
	n := &nodeOf{command: exec.Command(program), said: &lockedBuffer{}, ended: make(chan struct{})} //nolint:gosec // this very program, or the one that was built of it
	n.command.Env = append(os.Environ(), nodeVar+"="+file, effectsVar+"="+r.effects.file)
	n.command.Stderr = n.said
	if err := n.command.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func() {
		_ = n.command.Wait()
		close(n.ended)
	}()
	r.nodes[name] = n
}

// end ends a node's process by a signal, and waits for it.
func (r *rolled) end(name string, by syscall.Signal) {
	r.t.Helper()
	n := r.nodes[name]
	r.lives(name)
	_ = n.command.Process.Signal(by)
	<-n.ended
	if by == syscall.SIGTERM && !n.command.ProcessState.Success() {
		r.t.Errorf("node %s: %s\n%s", name, n.command.ProcessState, n.said)
	}
}

// lives looks that a node has not ended by itself.
func (r *rolled) lives(names ...string) {
	r.t.Helper()
	for _, name := range names {
		select {
		case <-r.nodes[name].ended:
			r.t.Fatalf("node %s ended: %s\n%s", name, r.nodes[name].command.ProcessState, r.nodes[name].said)
		default:
		}
	}
}

// refuses waits until a node ends by itself, and gives what it said.
func (r *rolled) refuses(name string) string {
	r.t.Helper()
	n := r.nodes[name]
	select {
	case <-n.ended:
	case <-time.After(60 * time.Second):
		r.t.Fatalf("node %s goes on", name)
	}
	if n.command.ProcessState.ExitCode() != 1 {
		r.t.Errorf("node %s: %s", name, n.command.ProcessState)
	}
	return n.said.String()
}

// as is a client over all nodes, with a token or the first one.
func (r *rolled) as(token string) *client.Client {
	r.t.Helper()
	if token == "" {
		secret, err := os.ReadFile(r.token)
		if err != nil {
			r.t.Fatal(err)
		}
		token = strings.TrimSpace(string(secret))
	}
	var endpoints []string
	for _, c := range r.configs {
		endpoints = append(endpoints, "https://"+c.Listen)
	}
	c, err := client.New(client.Options{Endpoints: endpoints, TLS: r.tls, Token: token})
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// raw is the store behind the nodes.
func (r *rolled) raw(name string) *clientv3.Client {
	r.t.Helper()
	c := r.configs[name]
	n, err := etcdnode.Connect(etcdnode.External{
		Endpoints: []string{"https://" + c.Store.ListenClient}, TLS: pki.Files{CA: c.TLS.CA, Cert: c.TLS.Cert, Key: c.TLS.Key}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(n.Stop)
	return n.Client()
}

// format waits until all nodes say that journals are kept so.
func (r *rolled) format(want run.Format, names ...string) {
	r.t.Helper()
	for _, name := range names {
		r.until(fmt.Sprintf("%s keeps journals in format %d", name, want), func() (bool, string) {
			e, err := r.client(name).Estate(r.t.Context())
			return err == nil && e.Formats.Journal.Format == want && len(e.Formats.Nodes) == len(r.configs), fmt.Sprint(e.Formats, err)
		})
	}
}

// tell has a step answered in runs, by workers beside the caller; each is asked again until the run goes on. half is closed in between.
func (r *rolled) tell(ids []string, c *client.Client, step string, word wire.RunWord) (half chan struct{}, wait func()) {
	half = make(chan struct{})
	var said atomic.Int64
	work, ctx := errgroup.WithContext(r.t.Context())
	work.SetLimit(8)
	word.Step = step
	all := make(chan error, 1)
	go func() {
		for _, id := range ids {
			work.Go(func() error {
				tick := time.NewTicker(50 * time.Millisecond)
				defer tick.Stop()
				for began := time.Now(); ; <-tick.C {
					err := r.answer(ctx, c, id, word)
					if err == nil {
						if said.Add(1) == int64(len(ids)/2) {
							close(half)
						}
						return nil
					}
					if time.Since(began) > 90*time.Second || ctx.Err() != nil {
						return fmt.Errorf("step %s of run %s: %w", step, id, err)
					}
				}
			})
		}
		all <- work.Wait()
	}()
	return half, func() {
		r.t.Helper()
		if err := <-all; err != nil {
			r.t.Fatal(err)
		}
	}
}

// answer says a word where it is asked for; where it was said already there is nothing to say.
func (r *rolled) answer(ctx context.Context, c *client.Client, id string, word wire.RunWord) error {
	state, err := c.Run(ctx, id)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(state.Steps, func(s wire.RunStep) bool { return s.ID == word.Step })
	switch status := state.Steps[i].Status; {
	case status.Settled():
		return nil
	case status != run.Open && status != run.Asking:
		return fmt.Errorf("it is %q", status)
	}
	_, err = c.SayToRun(ctx, id, word)
	return err
}

// begin begins runs of a plan, and waits until each of them asks for the step.
func (r *rolled) begin(name, asks string, n int) []string {
	r.t.Helper()
	ids := make([]string, n)
	work, ctx := errgroup.WithContext(r.t.Context())
	work.SetLimit(8)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s-%03d", name, i)
		work.Go(func() error {
			_, err := r.clients.StartRun(ctx, wire.StartRun{Plan: name, Mode: plan.Drill, ID: ids[i]})
			return err
		})
	}
	if err := work.Wait(); err != nil {
		r.t.Fatal(err)
	}
	r.ask(ids, asks)
	return ids
}

// ask waits until each run asks for a step, and nothing else.
func (r *rolled) ask(ids []string, step string) {
	r.t.Helper()
	r.heads(ids, "asks for "+step, func(h wire.Run) bool { return slices.Equal(h.Asked, []string{step}) })
}

func (r *rolled) heads(ids []string, what string, so func(wire.Run) bool) {
	r.t.Helper()
	r.until("each run "+what, func() (bool, string) {
		heads, err := r.clients.Runs(r.t.Context(), 0)
		n := 0
		var not string
		for _, h := range heads {
			switch {
			case !slices.Contains(ids, h.ID):
			case so(h):
				n++
			default:
				not = fmt.Sprintf("%s %s asks %v: %s", h.ID, h.Phase, h.Asked, h.Reason)
			}
		}
		return err == nil && n == len(ids), fmt.Sprint(n, " ", not, err)
	})
}

const rollingPlan = `apiVersion: perdure/v1
kind: Plan
name: roll
modes: [drill]
steps:
- {id: one, notify: {to: [operator], text: one}}
- {id: first, manual: {owner: operator, instruction: Go on.}}
- {id: left, after: [first], notify: {to: [operator], text: left}}
- {id: rest, after: [first], wait: {for: 400ms}}
- {id: right, after: [rest], notify: {to: [operator], text: right}}
- {id: agree, after: [left, right], approval: {of: [operator], text: Agreed}}
- {id: four, notify: {to: [operator], text: four}}
- {id: second, manual: {owner: operator, instruction: Go on.}}
- {id: five, notify: {to: [operator], text: five}}
- {id: third, manual: {owner: operator, instruction: Go on.}}
- {id: six, notify: {to: [operator], text: six}}
`

// TestHundredRunsFinishWhileThreeNodesAreReplacedByTheNextVersion: real processes, of a program that keeps journals in a form which this one
// cannot read. Every run ends with each effect once and in its order; the form is raised once the last node is replaced, and not before; from
// then on this program does not start there.
func TestHundredRunsFinishWhileThreeNodesAreReplacedByTheNextVersion(t *testing.T) {
	r := newRolled(t, "a", "b", "c")
	r.next = nextProgram(t)
	if _, err := r.clients.ApplyManifest(t.Context(), []byte(rollingPlan), 0, false); err != nil {
		t.Fatal(err)
	}
	ids := r.begin("roll", "first", 100)
	r.format(1, "a", "b", "c")
	done, approved := wire.RunWord{What: run.Completed}, wire.RunWord{What: run.Approved, For: "operator"}

	// Node a is replaced, goes back to the former version while it may, and is replaced again.
	half, wait := r.tell(ids, r.clients, "first", done)
	<-half
	r.end("a", syscall.SIGTERM)
	r.launch("a", r.next)
	r.ready("a")
	wait()
	r.ask(ids, "agree")
	r.format(1, "a", "b", "c")
	r.end("a", syscall.SIGTERM)
	r.launch("a", r.old)
	r.ready("a")
	r.format(1, "a")
	r.end("a", syscall.SIGTERM)
	r.launch("a", r.next)
	r.ready("a")

	// Node b is killed in the middle of it.
	half, wait = r.tell(ids, r.other, "agree", approved)
	<-half
	r.end("b", syscall.SIGKILL)
	r.launch("b", r.next)
	r.ready("b")
	wait()
	r.ask(ids, "second")
	r.lives("a", "b", "c")
	r.format(1, "a", "b", "c")

	half, wait = r.tell(ids, r.clients, "second", done)
	<-half
	r.end("c", syscall.SIGTERM)
	before := filepath.Join(t.TempDir(), "before")
	r.snapshot("a", before)
	r.launch("c", r.next)
	r.ready("c")
	wait()
	r.ask(ids, "third")
	r.format(2, "a", "b", "c")

	// The way back is closed.
	r.end("c", syscall.SIGTERM)
	r.launch("c", r.old)
	if said := r.refuses("c"); !strings.Contains(said, "kept in format 2") || !strings.Contains(said, "version 0.1.0, reads formats 1 to 1") || !strings.Contains(said, "perdure node restore") {
		t.Errorf("the former version does not say why it refuses:\n%s", said)
	}
	half, wait = r.tell(ids, r.clients, "third", done)
	<-half
	r.launch("c", r.next)
	r.ready("c")
	wait()
	r.heads(ids, "is done", func(h wire.Run) bool { return h.Phase == run.Over && h.Outcome == run.Done })
	r.lives("a", "b", "c")
	r.once(ids, []string{"one", "left", "right", "four", "five", "six"}, [][2]string{{"one", "left"}, {"one", "right"}, {"left", "four"}, {"right", "four"}, {"four", "five"}, {"five", "six"}})
	r.bothForms(ids)
	r.packIsNotJudgedByTheFormerVersion(ids[0])

	// A snapshot of the new form is refused, one of before is the way back.
	after := filepath.Join(t.TempDir(), "after")
	r.snapshot("a", after)
	c := r.configs["a"]
	c.DataDir = filepath.Join(t.TempDir(), "restored")
	for _, name := range []string{"a", "b", "c"} {
		r.end(name, syscall.SIGTERM)
	}
	if _, err := RestoreNode(t.Context(), c, after, "ann", "going back"); errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), "kept in format 2") {
		t.Errorf("a snapshot of a newer form: %v", err)
	}
	if _, err := RestoreNode(t.Context(), c, before, "ann", "going back"); err != nil {
		t.Errorf("a snapshot of before: %v", err)
	}
}

func (r *rolled) snapshot(name, file string) {
	r.t.Helper()
	f, err := os.Create(file)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	if _, err := r.client(name).Snapshot(r.t.Context(), f); err != nil {
		r.t.Fatal(err)
	}
}

// once looks that each run has each of its effects once, in order.
func (r *rolled) once(ids, steps []string, order [][2]string) {
	r.t.Helper()
	lines, err := r.effects.lines()
	if err != nil {
		r.t.Fatal(err)
	}
	at := map[string]int{}
	for i, l := range lines {
		if first, twice := at[l]; twice {
			r.t.Errorf("%s is there twice, as %d and %d", l, first, i)
		}
		at[l] = i
	}
	wanted := 0
	for _, id := range ids {
		key := func(step string) string { return id + "/" + step + " " + step }
		for _, s := range steps {
			if _, there := at[key(s)]; !there {
				r.t.Errorf("%s is missing", key(s))
			}
			wanted++
		}
		for _, o := range order {
			if at[key(o[0])] > at[key(o[1])] {
				r.t.Errorf("%s comes before %s", key(o[1]), key(o[0]))
			}
		}
	}
	if len(lines) != wanted {
		r.t.Errorf("%d effects, wanted %d", len(lines), wanted)
	}
}

// bothForms looks that each journal begins in the first form and goes on in the second, in this order, and was written by nodes of both.
func (r *rolled) bothForms(ids []string) {
	r.t.Helper()
	raw := r.raw("a")
	for _, id := range ids {
		got, err := raw.Get(r.t.Context(), store.Root+"journals/"+id+"/", clientv3.WithPrefix())
		if err != nil {
			r.t.Fatal(err)
		}
		first, second := 0, 0
		for _, kv := range got.Kvs {
			entries, err := run.Decode(kv.Value)
			switch {
			case err == nil && second == 0 && len(entries) > 0:
				first++
			case run.Newer(err):
				second++
			default:
				r.t.Errorf("%s: %v after %d of the second form", kv.Key, err, second)
			}
		}
		if first == 0 || second == 0 {
			r.t.Errorf("the journal of %s has %d parts in the first form and %d in the second", id, first, second)
		}
	}
}

// known are the keys of the evidence log.
func (r *rolled) known() note.Verifiers {
	r.t.Helper()
	keys, err := r.clients.EvidenceKeys(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	var known []note.Verifier
	for _, k := range keys {
		v, err := note.NewVerifier(k.Key)
		if err != nil {
			r.t.Fatal(err)
		}
		known = append(known, v)
	}
	return note.VerifierList(known...)
}

// packIsNotJudgedByTheFormerVersion: whoever verifies it by this program is told, and not that it is good.
func (r *rolled) packIsNotJudgedByTheFormerVersion(id string) {
	r.t.Helper()
	var pack bytes.Buffer
	r.until("there is a pack", func() (bool, string) {
		pack.Reset()
		_, err := r.clients.EvidencePack(r.t.Context(), id, &pack)
		return err == nil, fmt.Sprint(err)
	})
	verdict, err := evidence.Verify(&pack, r.known(), nil)
	if err != nil || verdict.Good() || !strings.Contains(fmt.Sprint(verdict.Faults), "kept in format 2") {
		r.t.Errorf("%+v, %v", verdict, err)
	}
}

// TestFormatThatIsRaisedTooEarlyEndsTheNodesThatDoNotReadIt is the control of the test before: had the form been raised while a node of the
// former version was there, that node would have ended. It does no harm to the runs, which go on with nodes that read it.
func TestFormatThatIsRaisedTooEarlyEndsTheNodesThatDoNotReadIt(t *testing.T) {
	r := newRolled(t, "a", "b", "c")
	r.next = nextProgram(t)
	if _, err := r.clients.ApplyManifest(t.Context(), []byte(rollingPlan), 0, false); err != nil {
		t.Fatal(err)
	}
	ids := r.begin("roll", "first", 4)
	r.end("a", syscall.SIGTERM)
	r.launch("a", r.next)
	r.ready("a")
	if _, err := r.raw("a").Put(t.Context(), store.Root+"format", `{"format":2,"by":"somebody","version":"0.1.0-next"}`); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b", "c"} {
		if said := r.refuses(name); !strings.Contains(said, "kept in format 2") {
			t.Errorf("node %s ends with:\n%s", name, said)
		}
		r.launch(name, r.next)
	}
	r.ready("a", "b", "c")
	for _, word := range []struct {
		by   *client.Client
		step string
		what wire.RunWord
	}{{r.clients, "first", wire.RunWord{What: run.Completed}}, {r.other, "agree", wire.RunWord{What: run.Approved, For: "operator"}}, {r.clients, "second", wire.RunWord{What: run.Completed}}, {r.clients, "third", wire.RunWord{What: run.Completed}}} {
		_, wait := r.tell(ids, word.by, word.step, word.what)
		wait()
	}
	r.heads(ids, "is done", func(h wire.Run) bool { return h.Outcome == run.Done })
	r.once(ids, []string{"one", "left", "right", "four", "five", "six"}, nil)
	r.bothForms(ids)
}

const (
	planBefore = `apiVersion: perdure/v1
kind: Plan
name: edited
title: The former text
modes: [drill]
steps:
- {id: one, notify: {to: [operator], text: one}}
- {id: hold, manual: {owner: operator, instruction: Go on.}}
- {id: gone, notify: {to: [operator], text: gone}}
- {id: shaky, notify: {to: [operator], text: shaky}}
- {id: named, notify: {to: [operator], text: named}}
`
	planAfter = `apiVersion: perdure/v1
kind: Plan
name: edited
title: The text of today
modes: [drill]
steps:
- {id: one, notify: {to: [operator], text: another}}
- {id: keep, manual: {owner: operator, instruction: Stay.}}
- {id: added, notify: {to: [operator], text: added}}
- {id: renamed, notify: {to: [operator], text: renamed}}
`
	anotherPlan = `apiVersion: perdure/v1
kind: Plan
name: another
modes: [drill]
steps: [{id: a, wait: {for: 10ms}}]
`
)

// TestHundredRunsFinishWithThePlanTheyBeganWith, whatever becomes of it meanwhile (R5): steps are removed, renamed, added and changed, new
// runs begin with that, the node is killed, and in the end there is no such plan any more.
func TestHundredRunsFinishWithThePlanTheyBeganWith(t *testing.T) {
	r := newRolled(t, "a")
	apply := func(text string) {
		t.Helper()
		if _, err := r.clients.ApplyManifest(t.Context(), []byte(text), 0, false); err != nil {
			t.Fatal(err)
		}
	}
	apply(planBefore)
	old := r.begin("edited", "hold", 100)
	completed := wire.RunWord{What: run.Completed}
	_, wait := r.tell(old[:50], r.clients, "hold", completed)
	wait()
	r.ask(old[:50], "shaky") // they have stopped half-way
	apply(planAfter)
	var fresh []string
	for i := range 20 {
		h, err := r.clients.StartRun(t.Context(), wire.StartRun{Plan: "edited", Mode: plan.Drill, ID: fmt.Sprintf("new-%02d", i)})
		if err != nil {
			t.Fatal(err)
		}
		fresh = append(fresh, h.ID)
	}
	r.ask(fresh, "keep")
	r.end("a", syscall.SIGKILL)
	r.launch("a", r.old)
	r.ready("a")
	for _, id := range old[:5] {
		for _, word := range []run.What{run.Paused, run.Resumed} {
			if _, err := r.clients.SayToRun(t.Context(), id, wire.RunWord{What: word}); err != nil {
				t.Fatal(err)
			}
		}
	}
	apply(anotherPlan)
	if _, err := r.clients.StartRun(t.Context(), wire.StartRun{Plan: "edited", Mode: plan.Drill}); errs.KindOf(err) != errs.NotFound {
		t.Errorf("a run of a plan that is gone: %v", err)
	}
	_, wait = r.tell(old[50:], r.clients, "hold", completed)
	wait()
	r.ask(old, "shaky")
	repeated, skipped := old[:60], old[60:]
	_, waitSkipped := r.tell(skipped, r.clients, "shaky", wire.RunWord{What: run.Skipped, Text: "not today"})
	_, wait = r.tell(repeated, r.clients, "shaky", wire.RunWord{What: run.Retried, Text: "again"})
	_, waitFresh := r.tell(fresh, r.clients, "keep", completed)
	wait()
	waitSkipped()
	waitFresh()
	over := func(h wire.Run) bool { return h.Outcome == run.Done }
	r.heads(old, "is done", over)
	r.heads(fresh, "is done", over)

	// What was done is what the text said with which they began, each once and in order.
	did := map[string]string{}
	lines, err := r.effects.lines()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		key, text, _ := strings.Cut(l, " ")
		id, _, _ := strings.Cut(key, "/")
		did[id] = strings.TrimSpace(did[id] + " " + text)
	}
	want := func(ids []string, what string) {
		t.Helper()
		for _, id := range ids {
			if did[id] != what {
				t.Errorf("run %s did %q, wanted %q", id, did[id], what)
			}
		}
	}
	want(repeated, "one gone refused shaky named")
	want(skipped, "one gone refused named")
	want(fresh, "another added renamed")
	digests := map[string]map[string]bool{"former": {}, "today": {}}
	for _, id := range slices.Concat(old, fresh) {
		state, err := r.clients.Run(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		digests[map[bool]string{true: "former", false: "today"}[slices.Contains(old, id)]][state.Run.Program] = true
	}
	if len(digests["former"]) != 1 || len(digests["today"]) != 1 {
		t.Errorf("the programs of the runs: %v", digests)
	}
	r.tellsOf(old[0], "The former text", "gone", "added")
	r.tellsOf(old[99], "The former text", "gone", "added")
	r.tellsOf(fresh[0], "The text of today", "added", "gone")
}

// tellsOf looks that the report and the pack of a run are of the text that it began with, by its digest.
func (r *rolled) tellsOf(id, title, step, not string) {
	r.t.Helper()
	state, err := r.clients.Run(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	var report bytes.Buffer
	if _, err := r.clients.RunReport(r.t.Context(), id, "", "html", "en", "UTC", &report); err != nil {
		r.t.Fatal(err)
	}
	if text := report.String(); !strings.Contains(text, title) || !strings.Contains(text, step) || strings.Contains(text, ">"+not+"<") {
		r.t.Errorf("the report of %s is not of %q:\n%s", id, title, text)
	}
	var pack bytes.Buffer
	r.until("there is a pack", func() (bool, string) {
		pack.Reset()
		_, err := r.clients.EvidencePack(r.t.Context(), id, &pack)
		return err == nil, fmt.Sprint(err)
	})
	var digest string
	verdict, err := evidence.Verify(&pack, r.known(), func(f evidence.File) error {
		if f.Name == "program.json" {
			digest = fmt.Sprintf("%x", sha256.Sum256(f.Data))
		}
		return nil
	})
	if err != nil || !verdict.Good() || digest != state.Run.Program {
		r.t.Errorf("the pack of %s has program %s, the run began with %s: %+v, %v", id, digest, state.Run.Program, verdict, err)
	}
}

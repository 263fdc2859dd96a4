package runner_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/etcdnode/etcdtest"
	"perdure/internal/plan"
	"perdure/internal/resource"
	"perdure/internal/run"
	"perdure/internal/run/runtest"
	"perdure/internal/runner"
	"perdure/internal/store"
	"perdure/internal/wire"
)

// benchStore is a control store of so many nodes on this machine, each with a directory of its own, as durable as in production.
func benchStore(b *testing.B, nodes int) (*store.Store, *clientv3.Client) {
	b.Helper()
	started := etcdtest.Start(b, etcdtest.Options(b, nodes)...)
	s := store.New(started[0].Client(), store.Options{Node: "a", Timeout: 30 * time.Second, Logger: slog.New(slog.DiscardHandler)})
	if _, err := s.EnsureIncarnation(b.Context()); err != nil {
		b.Fatal(err)
	}
	return s, started[0].Client()
}

// begin starts a run without parameters.
func begin(b *testing.B, s *store.Store, id string, p *plan.Program) {
	b.Helper()
	first := run.Entry{Seq: 1, By: "ann", What: run.Started, At: time.Now(), Params: map[string]any{}}
	if _, err := s.CreateRun(b.Context(), wire.RunStart{Head: wire.Run{ID: id, Plan: p.Plan, Mode: p.Mode, StartedBy: "ann", Phase: run.Running, StartedAt: time.Now().UnixMilli()}, Program: p, Journal: []run.Entry{first}}); err != nil {
		b.Fatal(err)
	}
}

// carriedOut lets a runner work until the run is over, and gives how long that took.
func carriedOut(b *testing.B, s *store.Store, drivers resource.Set, id string, p *plan.Program) time.Duration {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	var works sync.WaitGroup
	works.Go(func() {
		_ = runner.New(claims{s.Runners()}, drivers, runner.Options{Node: "a", Logger: slog.New(slog.DiscardHandler)}).Run(ctx)
	})
	defer works.Wait()
	defer cancel()
	began := time.Now()
	begin(b, s, id, p)
	over := make(chan struct{})
	var once sync.Once
	works.Go(func() {
		_ = s.Runners().WatchRuns(ctx, func(h wire.Run) {
			if h.ID == id && h.Phase == run.Over {
				once.Do(func() { close(over) })
			}
		})
	})
	select {
	case <-over:
	case <-time.After(5 * time.Minute):
		b.Fatal("the run did not end within 5 minutes")
	}
	return time.Since(began)
}

// claims is the store as a runner sees it.
type claims struct{ store.Runners }

func (c claims) Claim(ctx context.Context, id string) (runner.Claim, error) {
	held, err := c.Runners.Claim(ctx, id)
	if held == nil {
		return nil, err
	}
	return held, err
}

// stamps is a world in which nothing is to be done, that notes when it was asked.
type stamps struct {
	resource.Driver
	mu    sync.Mutex
	asked []time.Time
}

func (s *stamps) Ensure(context.Context, resource.Call) (map[string]any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, time.Now())
	return map[string]any{"is": "done"}, nil
}

// BenchmarkDurableStep: what a step costs that does nothing, one after the other: its beginning and its end are each on the disks of a majority
// before the run goes on. The baseline beside it is two transactions of the same store in a row.
func BenchmarkDurableStep(b *testing.B) {
	const steps = 90
	for _, nodes := range []int{1, 3} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			s, client := benchStore(b, nodes)
			var text strings.Builder
			for i := range steps {
				text.WriteString(set(fmt.Sprintf("s%d", i), ""))
			}
			p := program(b, text.String())
			var each, whole, bare []float64
			for n := range 5 * b.N {
				w := &stamps{Driver: newWorld()}
				whole = append(whole, carriedOut(b, s, resource.Set{"world": w}, fmt.Sprintf("r%d", n), p).Seconds()*1000)
				for i := 1; i < len(w.asked); i++ {
					each = append(each, w.asked[i].Sub(w.asked[i-1]).Seconds()*1000)
				}
				value := strings.Repeat("x", 300) // about what an entry takes
				for i := range steps {
					at := time.Now()
					for _, key := range []string{"/bench/began", "/bench/ended"} {
						if _, err := client.Put(b.Context(), fmt.Sprint(key, i), value); err != nil {
							b.Fatal(err)
						}
					}
					bare = append(bare, time.Since(at).Seconds()*1000)
				}
			}
			b.ReportMetric(middle(each), "ms/step")
			b.ReportMetric(middle(bare), "ms/two-writes")
			b.ReportMetric(middle(each)/middle(bare), "ratio")
			b.ReportMetric(middle(whole), "ms/90-steps")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func middle(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// BenchmarkPortfolio: a thousand systems of thirty steps each, planned, and carried out by one runner with nothing to do.
func BenchmarkPortfolio(b *testing.B) {
	const systems, steps = 1000, 30
	var one, all strings.Builder
	one.WriteString("apiVersion: perdure/v1\nkind: Plan\nname: system\nmodes: [takeover, drill]\nparameters:\n- {name: system, doc: S., required: true}\nsteps:\n")
	for i := range steps {
		fmt.Fprintf(&one, "- {id: s%d, act: {driver: world, action: set, target: \"${params.system}-%[1]d\", with: {to: done}}}\n", i)
	}
	all.WriteString(header)
	for i := range systems {
		fmt.Fprintf(&all, "- {id: sys%d, after: [], subplan: {plan: system, with: {system: sys%[1]d}}}\n", i)
	}
	s, _ := benchStore(b, 1)
	for n := range b.N {
		at := time.Now()
		p := runtest.Program(b, all.String()+"---\n"+one.String(), plan.Takeover)
		b.ReportMetric(time.Since(at).Seconds(), "s/planned")
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		took := carriedOut(b, s, resource.Set{"world": &idle{newWorld()}}, fmt.Sprint("r", n), p)
		runtime.ReadMemStats(&after)
		b.ReportMetric(took.Seconds(), "s/run")
		b.ReportMetric(float64(after.Sys-before.Sys)/(1<<20), "MiB/grown")
		b.ReportMetric(float64(len(p.Nodes)), "steps")
	}
	b.ReportMetric(0, "ns/op")
}

// idle is a world in which nothing is to be done.
type idle struct{ *world }

func (idle) Ensure(context.Context, resource.Call) (map[string]any, error) {
	return map[string]any{"is": "done"}, nil
}

// BenchmarkRunnerTakeover: how long a run stands still whose runner's process was killed, with the product's own lease.
func BenchmarkRunnerTakeover(b *testing.B) {
	options := etcdtest.Options(b, 1)
	n := etcdtest.Start(b, options...)[0]
	endpoint := "http://" + options[0].ListenClient
	s := store.New(n.Client(), store.Options{Node: "test", Timeout: 30 * time.Second, Logger: slog.New(slog.DiscardHandler)})
	if _, err := s.EnsureIncarnation(b.Context()); err != nil {
		b.Fatal(err)
	}
	var text strings.Builder
	for i := range 400 {
		text.WriteString(set(fmt.Sprintf("s%d", i), ""))
	}
	p := program(b, text.String())
	var stood []float64
	for n := range 5 * b.N {
		id := fmt.Sprint("t", n)
		dir := filepath.Join(b.TempDir(), id)
		if err := os.Mkdir(dir, 0o700); err != nil {
			b.Fatal(err)
		}
		begin(b, s, id, p)
		one := child(b, endpoint, dir, "after 60")
		etcdtest.Until(b, "the first has the run", func() bool {
			journal, err := s.Journal(b.Context(), id, 1)
			return err == nil && len(journal) > 0
		})
		two := child(b, endpoint, dir, "") // it is there when the first dies, as another node is
		_ = one.Wait()                     // killed by itself
		died := time.Now()
		journal, err := s.Journal(b.Context(), id, 0)
		if err != nil {
			b.Fatal(err)
		}
		had := len(journal)
		etcdtest.Until(b, "the other goes on", func() bool {
			journal, err := s.Journal(b.Context(), id, had)
			return err == nil && slices.ContainsFunc(journal, func(e run.Entry) bool { return e.What == run.Took })
		})
		stood = append(stood, time.Since(died).Seconds())
		_ = two.Process.Kill()
		_ = two.Wait()
	}
	b.ReportMetric(middle(stood), "s/median")
	b.ReportMetric(slices.Max(stood), "s/longest")
	b.ReportMetric(0, "ns/op")
}

// child starts a runner as a process of its own, with the lease that the product has.
func child(b *testing.B, endpoint, dir, die string) *exec.Cmd {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), endpointVar+"="+endpoint, dirVar+"="+dir, dieVar+"="+die, ttlVar+"=default")
	if _, err := cmd.StdinPipe(); err != nil { // it ends with its standard input
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	return cmd
}

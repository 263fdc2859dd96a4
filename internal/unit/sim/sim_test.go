package sim

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

var (
	seeds   = flag.Int("seeds", 40, "how many seeds TestSim runs")
	from    = flag.Uint64("from", 1, "the first seed of TestSim")
	kind    = flag.String("profile", "", "the profile of TestSim's worlds: storm, calm, planned, copies, owners, store, recovery, leader, slow-copy, isolation, aborted, late, links; empty: by the seed")
	bug     = flag.Int("bug", 0, "the seeded bug in TestSim's worlds")
	verbose = flag.Bool("show", false, "print every line of the trace of the first seed")
	keep    = flag.Bool("keep-going", false, "go on after a failing seed")
)

// TestSim runs worlds from consecutive seeds; none may break an invariant.
func TestSim(t *testing.T) {
	began := cpu(t)
	var virtual time.Duration
	var events uint64
	var stats Stats
	for i := range *seeds {
		cfg := Config{Seed: *from + uint64(i), Profile: Profile(*kind), Bug: Bug(*bug)}
		if *verbose {
			cfg.Trace = func(line string) { fmt.Println(line) }
		}
		r := Run(cfg)
		virtual += r.Virtual
		events += r.Events
		stats.add(r.Stats)
		if r.Violation != nil {
			explain(t, cfg, r)
			if !*keep {
				return
			}
		}
	}
	took := cpu(t) - began
	t.Logf("%+v", stats)
	t.Logf("%d seeds, %.1f virtual hours, %d events, %s of CPU: %.0f virtual cluster-hours per CPU-hour", *seeds, virtual.Hours(), events, took.Round(time.Second), virtual.Hours()/took.Hours())
}

// cpu is the processor time that the test has used: the machine may be busy with others.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// explain replays a failing seed and prints the end of its trace.
func explain(t *testing.T, cfg Config, r Result) {
	t.Helper()
	const tail = 60
	var last []string
	cfg.Trace = func(line string) {
		last = append(last, line)
		if len(last) > 2*tail {
			last = append([]string{}, last[tail:]...)
		}
	}
	again := Run(cfg)
	if again.Hash != r.Hash {
		t.Errorf("seed %d does not replay: hash %x, then %x", cfg.Seed, r.Hash, again.Hash)
	}
	t.Errorf("%v\n%s\nreplay: go test ./internal/unit/sim -run TestSim -seeds 1 -from %d -profile %q -bug %d -show",
		r.Violation, strings.Join(last[max(0, len(last)-tail):], "\n"), cfg.Seed, cfg.Profile, cfg.Bug)
}

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(m.Run())
}

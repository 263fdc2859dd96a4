package measure

import (
	"math"
	"math/bits"
	"slices"
	"time"

	"perdure/internal/plan"
	"perdure/internal/run"
)

// History is how long steps took in earlier runs.
type History struct {
	runs  int
	spans map[step][]time.Duration
}

// step names a step wherever its plan is used: by itself, or as part of another one.
type step struct {
	plan, id string
	kind     plan.StepKind
}

// MostRuns bounds how many runs a history stands on.
const MostRuns = 50

// mostSpans bounds the times of one step: it may be in many places of one run.
const mostSpans = 200

// NewHistory has no runs.
func NewHistory() *History { return &History{spans: map[step][]time.Duration{}} }

// Add takes in a run, with the program that it was of. Only a run that ended as done tells how long things take; a step that was passed
// over took no time. ok is false where the run tells nothing, or there are MostRuns already.
func (h *History) Add(p *plan.Program, m *Measures) (ok bool) {
	if m.Outcome != run.Done || len(m.Steps) != len(p.Nodes) || h.runs == MostRuns {
		return false
	}
	h.runs++
	for i := range m.Steps {
		s, key := &m.Steps[i], stepOf(p, i)
		if s.Kind == plan.SubplanStep || len(h.spans[key]) == mostSpans {
			continue
		}
		var took time.Duration
		if !s.End.IsZero() {
			took = s.End.Sub(s.Ready)
		}
		h.spans[key] = append(h.spans[key], took)
	}
	return true
}

func stepOf(p *plan.Program, i int) step {
	n := &p.Nodes[i]
	of := p.Plan
	if n.Parent >= 0 {
		of = p.Nodes[n.Parent].Step.Subplan.Plan
	}
	return step{of, n.Local, n.Step.Kind()}
}

// Forecast is how long a run will take until its last step that is no cleanup has ended. Durations are nanoseconds in JSON.
type Forecast struct {
	// Worst is where every attempt runs into its timeout, and Path the steps that this adds up of. Locks that others hold are not part of it.
	Worst time.Duration `json:"worst"`
	Path  []string      `json:"path,omitempty"`
	// Endless are steps of people without a timeout: the worst case is that of all else.
	Endless []string `json:"endless,omitempty"`
	// P50 and P95 are simulated; nil where there is no run to go by.
	P50 *time.Duration `json:"p50"`
	P95 *time.Duration `json:"p95"`
	// Runs is how many earlier runs the simulation stands on, and Samples how many runs were simulated.
	Runs    int `json:"runs"`
	Samples int `json:"samples,omitempty"`
	// Unseen are steps that no earlier run has done: they count with their longest time, or with none where they are endless.
	Unseen []string `json:"unseen,omitempty"`
}

// How many runs are simulated: fewer of a large program, so that the work is bounded.
const (
	mostSamples  = 2000
	leastSamples = 200
	mostDraws    = 20_000_000
)

// Foresee gives the worst case of a program, and simulates its runs: each step takes what it took in one of the earlier runs, drawn by
// itself. The same history and seed give the same forecast.
func Foresee(p *plan.Program, h *History, seed uint64) Forecast {
	f := Forecast{Runs: h.runs}
	f.Worst, f.Path = p.Span(p.Bound, true)
	seen := make([][]time.Duration, len(p.Nodes))
	bound := make([]time.Duration, len(p.Nodes))
	for i := range p.Nodes {
		n := &p.Nodes[i]
		if n.Step.Kind() == plan.SubplanStep || !p.Includes(i) {
			continue
		}
		seen[i], bound[i] = h.spans[stepOf(p, i)], p.Bound(i)
		if len(seen[i]) == 0 {
			f.Unseen = append(f.Unseen, n.ID)
		}
		if bound[i] == 0 && (n.Step.Manual != nil || n.Step.Approval != nil) {
			f.Endless = append(f.Endless, n.ID)
		}
	}
	if h.runs == 0 {
		return f
	}
	f.Samples = min(mostSamples, max(leastSamples, mostDraws/max(1, len(p.Nodes))))
	draw := splitmix(seed)
	took := make([]time.Duration, f.Samples)
	for k := range took {
		took[k], _ = p.Span(func(i int) time.Duration {
			if len(seen[i]) == 0 {
				return bound[i]
			}
			return seen[i][draw.below(len(seen[i]))]
		}, true)
	}
	slices.Sort(took)
	f.P50, f.P95 = rank(took, 0.50), rank(took, 0.95)
	return f
}

// rank is the nearest rank of a quantile.
func rank(sorted []time.Duration, q float64) *time.Duration {
	d := sorted[int(math.Ceil(q*float64(len(sorted))))-1]
	return &d
}

// splitmix is the generator SplitMix64: small, and the same everywhere.
type splitmix uint64

func (s *splitmix) next() uint64 {
	*s += 0x9e3779b97f4a7c15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below gives a number from 0 to n-1.
func (s *splitmix) below(n int) int {
	high, _ := bits.Mul64(s.next(), uint64(n))
	return int(high)
}

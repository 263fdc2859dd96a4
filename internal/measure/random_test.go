package measure_test

import (
	"math/rand"
	"testing"
	"time"

	"perdure/internal/measure"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/run/runtest"
)

const tangled = `
apiVersion: perdure/v1
kind: Plan
name: outer
modes: [emergency]
rto: 5s
steps:
- {id: look, check: {driver: world, action: look, target: a}}
- {id: agree, after: [look], approval: {of: [commander, business], need: 2}}
- {id: a, after: [agree], locks: [l], retry: {times: 1, pause: 1s}, act: {driver: world, action: set, target: a, with: {to: b}}, undo: {driver: world, action: set, target: a, with: {to: a}}}
- {id: b, after: [agree], locks: [l], onFailure: ask, act: {driver: world, action: set, target: b, with: {to: b}}, undo: {driver: world, action: set, target: b, with: {to: a}}}
- {id: in, after: [a], subplan: {plan: inner}}
- {id: no, after: [agree.declined], notify: {to: [operator], text: no}}
- {id: count, after: [in, b, no], manual: {owner: operator, instruction: Count.}}
- {id: rest, after: [look], wait: {for: 2s}}
- {id: tidy, cleanup: true, act: {driver: world, action: set, target: a, with: {to: c}}}
- {id: tidier, after: [], cleanup: true, act: {driver: world, action: set, target: b, with: {to: c}}}
---
apiVersion: perdure/v1
kind: Plan
name: inner
modes: [emergency]
steps:
- {id: x, after: [], locks: [m], onFailure: continue, act: {driver: world, action: set, target: x, with: {to: b}}}
- {id: y, after: [], locks: [m], onFailure: compensate, act: {driver: world, action: set, target: y, with: {to: b}}, undo: {driver: world, action: set, target: y, with: {to: a}}}
- {id: z, wait: {for: 1s}}
`

// history makes the journal of a run in which everything may happen, by a seed.
func history(p *plan.Program, seed int64) []run.Entry {
	rng := rand.New(rand.NewSource(seed))
	r, now, term := run.Begin("r", p), runtest.Start, int64(0)
	var journal []run.Entry
	say := func(e run.Entry) bool {
		e.Seq, e.At = r.Seq+1, now
		if r.Advance(e) != nil {
			return false
		}
		journal = append(journal, e)
		return true
	}
	start := run.Entry{By: "ann", What: run.Started}
	if rng.Intn(2) == 0 {
		start.DetectedAt = now.Add(-time.Duration(rng.Intn(5000)) * time.Millisecond)
		start.DisruptedAt = start.DetectedAt.Add(-time.Duration(rng.Intn(5000)) * time.Millisecond)
	}
	say(start)
	took := func() { term++; say(run.Entry{By: "node:a", What: run.Took, Term: term}) }
	took()
	outcomes := []run.Outcome{run.Done, run.Done, run.Done, run.Failed, run.Unknown}
	for range 400 {
		if r.Phase == run.Over {
			break
		}
		now = now.Add(time.Duration(rng.Intn(700)) * time.Millisecond)
		next := r.Decide(now, nil, 3)
		for _, e := range next.Entries {
			e.By = "node:a"
			if !say(e) {
				break
			}
		}
		for _, a := range next.Probes {
			say(run.Entry{By: "node:a", What: run.Ended, Node: a.Node, Attempt: a.Attempt, Undo: a.Undo, Outcome: []run.Outcome{run.Done, run.Nothing, run.Unknown}[rng.Intn(3)], Probed: true})
		}
		for _, a := range r.UnderWay() {
			if rng.Intn(3) == 0 {
				say(run.Entry{By: "node:a", What: run.Ended, Node: a.Node, Attempt: a.Attempt, Undo: a.Undo, Outcome: outcomes[rng.Intn(len(outcomes))]})
			}
		}
		for _, id := range r.Asked() {
			e := run.Entry{By: []string{"bob", "cid", "eve"}[rng.Intn(3)], Node: id, Text: "so", For: []string{"commander", "business"}[rng.Intn(2)]}
			e.What = []run.What{run.Approved, run.Approved, run.Completed, run.Retried, run.Retried, run.Skipped, run.TakenOver, run.Declined}[rng.Intn(8)]
			if s, _ := r.Step(id); s.Undo.Status == run.Asking {
				e.Undo = true
			}
			if rng.Intn(3) == 0 {
				say(e)
			}
		}
		switch rng.Intn(60) {
		case 0:
			say(run.Entry{By: "ann", What: run.Paused})
		case 1, 2, 3, 4:
			if r.Paused {
				say(run.Entry{By: "ann", What: run.Resumed})
			}
		case 5:
			if rng.Intn(4) == 0 {
				say(run.Entry{By: "ann", What: run.Cancelled, Text: "enough", Undo: rng.Intn(2) == 0})
			}
		case 6:
			took()
		case 7:
			say(run.Entry{By: "ann", What: run.Skipped, Node: p.Nodes[rng.Intn(len(p.Nodes))].ID, Text: "not today"})
		}
	}
	return journal
}

// TestMeasuresOfWhateverHappenedAddUp: no part of a step's time is negative, lost or counted twice; a path is without gaps; the clocks are
// the recovery time.
func TestMeasuresOfWhateverHappenedAddUp(t *testing.T) {
	p := runtest.Program(t, tangled, plan.Emergency)
	ends := map[run.Outcome]int{}
	for seed := range int64(2000) {
		m, err := measure.Of("r", p, history(p, seed))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		ends[m.Outcome]++
		for _, s := range m.Steps {
			sum := s.People + s.Locks + s.Worked + s.Rest
			if min(s.People, s.Locks, s.Worked, s.Rest) < 0 {
				t.Errorf("seed %d: %+v", seed, s)
			}
			if !s.End.IsZero() && (s.Ready.IsZero() || s.End.Before(s.Ready) || s.Kind != plan.SubplanStep && sum != s.End.Sub(s.Ready)) {
				t.Errorf("seed %d: %s took %s, and its parts are %s", seed, s.ID, s.End.Sub(s.Ready), sum)
			}
		}
		from := m.Start
		for _, l := range m.Path {
			if !l.From.Equal(from) || l.To.Before(l.From) {
				t.Errorf("seed %d: the path has a gap: %+v", seed, m.Path)
			}
			from = l.To
		}
		c := m.Clocks
		if m.Outcome == run.Done && c.Detect != nil && c.Verify != nil {
			if sum := *c.Detect + *c.Declare + *c.Decide + *c.Execute + *c.Verify; m.RTO.Took == nil || sum != *m.RTO.Took || min(*c.Detect, *c.Declare, *c.Decide, *c.Execute, *c.Verify) < 0 {
				t.Errorf("seed %d: the clocks are %s, the recovery time %v", seed, sum, m.RTO.Took)
			}
		}
		if t.Failed() {
			return
		}
	}
	if ends[run.Done] < 100 || ends[run.Undone] < 100 || ends[run.Broken] < 20 || ends[run.Refused] < 20 {
		t.Errorf("the histories ended as %v", ends)
	}
}

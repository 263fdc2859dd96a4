package measure_test

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/measure"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/run/runtest"
)

const switchPlan = `
apiVersion: perdure/v1
kind: Plan
name: move
title: Move
modes: [takeover, emergency]
rto: 2m
steps:
- {id: look, check: {driver: world, action: look, target: a}}
- {id: agree, approval: {of: [commander], text: "Go?"}}
- {id: refused, after: [agree.declined], notify: {to: [operator], text: no}}
- {id: first, after: [agree], locks: [l], act: {driver: world, action: set, target: a, with: {to: b}}}
- {id: second, after: [agree], locks: [l], retry: {times: 1, pause: 5s}, act: {driver: world, action: set, target: b, with: {to: b}}}
- {id: count, after: [first, second], manual: {owner: operator, instruction: Count.}}
- {id: tidy, cleanup: true, act: {driver: world, action: set, target: a, with: {to: c}}}
`

// What happens: the disruption 30 s before the start, found after 20 s. first holds the lock for 10 s, second waits for it, fails, fails
// again after its pause, and is repeated on a person's word; the run is stopped meanwhile.
const switchJournal = `
0s ann started - {"text":"power","disruptedAt":"2026-11-22T07:59:30Z","detectedAt":"2026-11-22T07:59:50Z"}
0s node:a took - {"term":1}
1s node:a began look {"attempt":1}
3s node:a ended look {"attempt":1,"outcome":"done"}
3s node:a opened agree {"text":"Go?"}
13s bob approved agree {"for":"commander"}
14s node:a began first {"attempt":1,"locks":["l"]}
24s node:a ended first {"attempt":1,"outcome":"done"}
24s node:a began second {"attempt":1,"locks":["l"]}
26s node:a ended second {"attempt":1,"outcome":"failed","error":"no room"}
31s node:a began second {"attempt":2,"locks":["l"]}
32s node:a ended second {"attempt":2,"outcome":"failed","error":"no room"}
42s bob retried second {"text":"made room"}
43s node:a began second {"attempt":3,"locks":["l"]}
50s node:a ended second {"attempt":3,"outcome":"done"}
51s node:a opened count {"text":"Count."}
71s bob completed count
72s node:a began tidy {"attempt":1}
77s node:a ended tidy {"attempt":1,"outcome":"done"}
77s node:a finished - {"outcome":"done"}
`

func measured(t *testing.T, text, journal string, mode plan.Mode) *measure.Measures {
	t.Helper()
	m, err := measure.Of("r1", runtest.Program(t, text, mode), runtest.Journal(t, journal))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// table writes the steps for a look.
func table(m *measure.Measures) string {
	var b strings.Builder
	for _, s := range m.Steps {
		took := time.Duration(0)
		if !s.End.IsZero() {
			took = s.End.Sub(s.Ready)
		}
		fmt.Fprintf(&b, "%s %s took %s: people %s, locks %s, worked %s, rest %s; %d\n", s.ID, s.Status, took, s.People, s.Locks, s.Worked, s.Rest, s.Attempts)
	}
	return b.String()
}

func known(d *time.Duration) string {
	if d == nil {
		return "?"
	}
	return d.String()
}

func clocks(c measure.Clocks) string {
	return strings.Join([]string{known(c.Detect), known(c.Declare), known(c.Decide), known(c.Execute), known(c.Verify)}, " ")
}

func path(m *measure.Measures) string {
	var b strings.Builder
	for _, l := range m.Path {
		fmt.Fprintf(&b, "%s %s", l.Step, l.To.Sub(l.From))
		if l.Lock {
			b.WriteString(" lock")
		}
		b.WriteString("; ")
	}
	return b.String()
}

func TestTimeOfEveryStepIsDividedIntoWhatItWaitedForAndWorked(t *testing.T) {
	m := measured(t, switchPlan, switchJournal, plan.Takeover)
	want := `look done took 3s: people 0s, locks 0s, worked 2s, rest 1s; 1
agree done took 10s: people 10s, locks 0s, worked 0s, rest 0s; 0
refused bypassed took 0s: people 0s, locks 0s, worked 0s, rest 0s; 0
first done took 11s: people 0s, locks 1s, worked 10s, rest 0s; 1
second done took 37s: people 10s, locks 11s, worked 10s, rest 6s; 3
count done took 21s: people 20s, locks 0s, worked 0s, rest 1s; 0
tidy done took 6s: people 0s, locks 0s, worked 5s, rest 1s; 1
`
	if diff := cmp.Diff(want, table(m)); diff != "" {
		t.Error(diff)
	}
}

func TestFiveClocksAreTheTimeFromDisruptionUntilServiceIsBack(t *testing.T) {
	m := measured(t, switchPlan, switchJournal, plan.Takeover)
	if got, want := clocks(m.Clocks), "20s 10s 14s 36s 21s"; got != want {
		t.Errorf("clocks %s, want %s", got, want)
	}
	sum := *m.Clocks.Detect + *m.Clocks.Declare + *m.Clocks.Decide + *m.Clocks.Execute + *m.Clocks.Verify
	if m.RTO.From != measure.Disruption || *m.RTO.Took != 101*time.Second || sum != *m.RTO.Took || m.RTO.Met == nil || !*m.RTO.Met {
		t.Errorf("RTO %+v, clocks %s", m.RTO, sum)
	}
	if got, want := path(m), "look 3s; agree 10s; first 11s; second 26s lock; count 21s; tidy 6s; "; got != want {
		t.Errorf("path %s, want %s", got, want)
	}
}

func TestWhatNobodySaidIsNotKnown(t *testing.T) {
	from := strings.Index(switchJournal, "{")
	untold := switchJournal[:from] + "{}" + switchJournal[strings.Index(switchJournal, "}")+1:]
	m := measured(t, switchPlan, untold, plan.Takeover)
	if got, want := clocks(m.Clocks), "? ? 14s 36s 21s"; got != want {
		t.Errorf("clocks %s, want %s", got, want)
	}
	if m.RTO.From != measure.Start || *m.RTO.Took != 71*time.Second || m.RTO.Met == nil || !*m.RTO.Met {
		t.Errorf("RTO %+v", m.RTO)
	}
	// How long service had been gone before an emergency was started nobody knows; that it was gone too long can be known.
	if m = measured(t, switchPlan, untold, plan.Emergency); m.RTO.Met != nil || m.RTO.Took == nil {
		t.Errorf("emergency: RTO %+v", m.RTO)
	}
	if m = measured(t, strings.Replace(switchPlan, "rto: 2m", "rto: 1m", 1), untold, plan.Emergency); m.RTO.Met == nil || *m.RTO.Met {
		t.Errorf("emergency that was late: RTO %+v", m.RTO)
	}
	// Half of a run.
	lines := strings.Split(strings.TrimSpace(switchJournal), "\n")
	m = measured(t, switchPlan, strings.Join(lines[:9], "\n"), plan.Takeover)
	if got, want := clocks(m.Clocks), "20s 10s 14s ? ?"; got != want || m.RTO.Took != nil || m.RTO.Met != nil || m.Path != nil || !m.End.IsZero() {
		t.Errorf("clocks %s, want %s; RTO %+v, path %v", got, want, m.RTO, m.Path)
	}
	// A run that was ended by a person has not brought service back.
	m = measured(t, switchPlan, strings.Join(lines[:4], "\n")+"\n9s ann cancelled - {\"text\":\"no need\"}\n10s node:a began tidy {\"attempt\":1}\n12s node:a ended tidy {\"attempt\":1,\"outcome\":\"done\"}\n12s node:a finished - {\"outcome\":\"cancelled\"}", plan.Takeover)
	if got, want := clocks(m.Clocks), "20s 10s ? ? ?"; got != want || m.RTO.Took != nil || m.Path != nil {
		t.Errorf("clocks %s, want %s; RTO %+v, path %v", got, want, m.RTO, m.Path)
	}
	if s := m.Steps[slices.IndexFunc(m.Steps, func(s measure.Step) bool { return s.ID == "tidy" })]; s.Rest != time.Second || s.Worked != 2*time.Second {
		t.Errorf("the cleanup: %+v", s)
	}
}

func TestTimeInWhichTheRunIsPausedIsWaitingForPeople(t *testing.T) {
	m := measured(t, "kind: Plan\napiVersion: perdure/v1\nname: p\nmodes: [takeover]\nsteps:\n- {id: w, wait: {for: 10s}}\n- {id: s, act: {driver: world, action: set, target: a, with: {to: b}}, undo: {driver: world, action: set, target: a, with: {to: a}}}\n- {id: stuck, manual: {owner: operator, instruction: i}}\n", `
0s ann started -
0s node:a took - {"term":1}
0s node:a opened w
4s ann paused -
5s ann resumed -
8s ann paused -
10s node:a ended w {"outcome":"done"}
15s ann resumed -
16s node:a began s {"attempt":1}
20s node:b took - {"term":2}
22s node:b ended s {"attempt":1,"outcome":"done","probed":true}
22s node:b opened stuck
30s ann cancelled - {"text":"enough","undo":true}
31s node:b began s {"attempt":1,"undo":true}
33s node:b ended s {"attempt":1,"undo":true,"outcome":"failed","error":"no"}
43s ann retried s {"undo":true}
44s node:b began s {"attempt":2,"undo":true}
45s node:b ended s {"attempt":2,"undo":true,"outcome":"done"}
45s node:b finished - {"outcome":"undone"}
`, plan.Takeover)
	want := `w done took 10s: people 0s, locks 0s, worked 10s, rest 0s; 0
s done took 12s: people 5s, locks 0s, worked 6s, rest 1s; 1
stuck dropped took 8s: people 8s, locks 0s, worked 0s, rest 0s; 0
`
	if diff := cmp.Diff(want, table(m)); diff != "" {
		t.Error(diff)
	}
	if u := m.Steps[1].Undo; u == nil || u.Attempts != 2 || u.Worked != 3*time.Second || u.People != 10*time.Second {
		t.Errorf("undo %+v", u)
	}
	if got, want := clocks(m.Clocks), "? ? 16s 6s ?"; got != want {
		t.Errorf("clocks %s, want %s", got, want)
	}
}

func TestPathGoesThroughSubplans(t *testing.T) {
	m := measured(t, `
apiVersion: perdure/v1
kind: Plan
name: outer
modes: [takeover]
steps:
- {id: a, wait: {for: 1s}}
- {id: in, subplan: {plan: inner}}
- {id: z, wait: {for: 1s}}
---
apiVersion: perdure/v1
kind: Plan
name: inner
modes: [takeover]
steps:
- {id: x, after: [], wait: {for: 1s}}
- {id: y, after: [], wait: {for: 3s}}
`, `
0s ann started -
0s node:a took - {"term":1}
0s node:a opened a
1s node:a ended a {"outcome":"done"}
2s node:a entered in
2s node:a opened in/x
2s node:a opened in/y
3s node:a ended in/x {"outcome":"done"}
5s node:a ended in/y {"outcome":"done"}
6s node:a ended in {"outcome":"done"}
6s node:a opened z
7s node:a ended z {"outcome":"done"}
7s node:a finished - {"outcome":"done"}
`, plan.Takeover)
	if got, want := path(m), "a 1s; in/y 4s; z 2s; "; got != want {
		t.Errorf("path %s, want %s", got, want)
	}
}

// TestJournalOfAnyLengthIsMeasured: whatever part of a journal there is, no time is lost or counted twice, and the path adds up.
func TestJournalOfAnyLengthIsMeasured(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(switchJournal), "\n")
	for n := range len(lines) {
		m := measured(t, switchPlan, strings.Join(lines[:n+1], "\n"), plan.Takeover)
		for _, s := range m.Steps {
			if sum := s.People + s.Locks + s.Worked + s.Rest; !s.End.IsZero() && sum != s.End.Sub(s.Ready) {
				t.Errorf("%d entries: %s took %s, and its parts are %s", n+1, s.ID, s.End.Sub(s.Ready), sum)
			}
		}
	}
	m := measured(t, switchPlan, switchJournal, plan.Takeover)
	var sum time.Duration
	for _, l := range m.Path {
		sum += l.To.Sub(l.From)
	}
	if sum != m.End.Sub(m.Start) {
		t.Errorf("the path takes %s, the run %s", sum, m.End.Sub(m.Start))
	}
	if _, err := measure.Of("r1", runtest.Program(t, switchPlan, plan.Takeover), runtest.Journal(t, lines[0]+"\n1s node:a began nowhere {\"attempt\":1}")); err == nil || !strings.Contains(err.Error(), "at entry 2") {
		t.Errorf("a step that does not exist: %v", err)
	}
}

const chain = `
apiVersion: perdure/v1
kind: Plan
name: chain
modes: [takeover]
rto: 1m
steps:
- {id: a, act: {driver: world, action: set, target: a, with: {to: b}}, timeout: 100s}
- {id: b, manual: {owner: operator, instruction: i}}
- {id: new, wait: {for: 7s}}
- {id: tidy, cleanup: true, wait: {for: 1h}}
`

// past is a run of the chain without the step new.
func TestTabletopMeasuresNoRecovery(t *testing.T) {
	const text = `apiVersion: perdure/v1
kind: Plan
name: p
modes: [takeover]
rto: 1h
steps:
- {id: ask, manual: {owner: operator, instruction: Count.}}
`
	const journal = `
0s ann started - {}
0s node:a took - {"term":1}
1s node:a opened ask {"text":"Count."}
31s bob completed ask {}
31s node:a finished - {"outcome":"done"}
`
	for _, table := range []bool{false, true} {
		p := runtest.Program(t, text, plan.Takeover)
		if table {
			p = p.Tabletop()
		}
		m, err := measure.Of("r1", p, runtest.Journal(t, journal))
		if err != nil {
			t.Fatal(err)
		}
		if m.Tabletop != table || (m.RTO.Took == nil) != table || (m.RTO.Met == nil) != table {
			t.Errorf("tabletop %v: %+v", table, m.RTO)
		}
	}
}

func past(t *testing.T, h *measure.History, a, b time.Duration, outcome run.Outcome) bool {
	t.Helper()
	p := runtest.Program(t, strings.Replace(chain, "- {id: new, wait: {for: 7s}}\n", "", 1), plan.Takeover)
	m, err := measure.Of("r", p, runtest.Journal(t, fmt.Sprintf(`
0s ann started -
0s n took - {"term":1}
0s n began a {"attempt":1}
%s n ended a {"attempt":1,"outcome":"done"}
%[1]s n opened b
%[2]s bob completed b
%[2]s n opened tidy
%[3]s n ended tidy {"outcome":"done"}
%[3]s n finished - {"outcome":%[4]q}
`, a, a+b, a+b+time.Hour, outcome)))
	if err != nil {
		t.Fatal(err)
	}
	return h.Add(p, m)
}

func TestForecastStandsOnEarlierRunsAndNamesWhatTheyDoNotKnow(t *testing.T) {
	p := runtest.Program(t, chain, plan.Takeover)
	h := measure.NewHistory()
	f := measure.Foresee(p, h, 1)
	if f.P50 != nil || f.P95 != nil || f.Runs != 0 || f.Worst != 107*time.Second || !slices.Equal(f.Path, []string{"a", "b", "new"}) || !slices.Equal(f.Endless, []string{"b"}) {
		t.Errorf("without history: %+v", f)
	}
	// Nine runs take 1 s and 10 s, one takes 3 s and 60 s.
	for range 9 {
		past(t, h, time.Second, 10*time.Second, run.Done)
	}
	past(t, h, 3*time.Second, time.Minute, run.Done)
	if past(t, h, time.Hour, time.Hour, run.Broken) {
		t.Error("a run that was cancelled tells how long things take")
	}
	f = measure.Foresee(p, h, 1)
	if f.Runs != 10 || *f.P50 != 18*time.Second || *f.P95 != 68*time.Second || !slices.Equal(f.Unseen, []string{"new"}) || f.Samples != 2000 {
		t.Errorf("%d runs, P50 %s, P95 %s, unseen %v", f.Runs, f.P50, f.P95, f.Unseen)
	}
	if diff := cmp.Diff(f, measure.Foresee(p, h, 1)); diff != "" {
		t.Error("the same seed gives another forecast: " + diff)
	}
	for range 2 * measure.MostRuns {
		past(t, h, time.Second, time.Second, run.Done)
	}
	if f = measure.Foresee(p, h, 1); f.Runs != measure.MostRuns {
		t.Errorf("%d runs", f.Runs)
	}
}

// TestSimulatedTimesAreDistributedAsInHistory compares the quantiles with those of the exact distribution of a sum of two steps.
func TestSimulatedTimesAreDistributedAsInHistory(t *testing.T) {
	p := runtest.Program(t, strings.Replace(chain, "- {id: new, wait: {for: 7s}}\n", "", 1), plan.Takeover)
	for seed := range uint64(20) {
		rng := rand.New(rand.NewSource(int64(seed)))
		h := measure.NewHistory()
		var a, b, sums []time.Duration
		for range 20 {
			x, y := time.Duration(1+rng.Intn(60))*time.Second, time.Duration(1+rng.Intn(60))*time.Second
			past(t, h, x, y, run.Done)
			a, b = append(a, x), append(b, y)
		}
		for _, x := range a {
			for _, y := range b {
				sums = append(sums, x+y)
			}
		}
		slices.Sort(sums)
		f := measure.Foresee(p, h, seed)
		near := func(got time.Duration, q float64) bool {
			return sums[int(float64(len(sums))*(q-0.04))] <= got && got <= sums[min(len(sums)-1, int(float64(len(sums))*(q+0.04)))]
		}
		if !near(*f.P50, 0.5) || !near(*f.P95, 0.95) {
			t.Errorf("seed %d: P50 %s, P95 %s", seed, *f.P50, *f.P95)
		}
	}
}

// TestBranchesThatWereNotChosenCostNoTime has 60 pairs of steps on a branch that was declined: each waits for both before it, so that a path
// that went back through every way would never end.
func TestBranchesThatWereNotChosenCostNoTime(t *testing.T) {
	var text strings.Builder
	text.WriteString("apiVersion: perdure/v1\nkind: Plan\nname: p\nmodes: [takeover]\nsteps:\n- {id: ask, approval: {of: [commander]}}\n- {id: l0, after: [ask.declined], wait: {for: 1s}}\n- {id: r0, after: [ask.declined], wait: {for: 1s}}\n")
	for i := range 60 {
		for _, side := range []string{"l", "r"} {
			fmt.Fprintf(&text, "- {id: %s%d, after: [l%d, r%d], wait: {for: 1s}}\n", side, i+1, i, i)
		}
	}
	text.WriteString("- {id: end, after: [ask, l60, r60], wait: {for: 1s}}\n")
	// Where branches meet, one that was chosen is enough.
	m := measured(t, text.String(), `
0s ann started -
0s n took - {"term":1}
0s n opened ask
2s bob approved ask {"for":"commander"}
2s n opened end
3s n ended end {"outcome":"done"}
3s n finished - {"outcome":"done"}
`, plan.Takeover)
	if got, want := path(m), "ask 2s; end 1s; "; got != want {
		t.Errorf("path %s, want %s", got, want)
	}
}

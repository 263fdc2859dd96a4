package app

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/manifest"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/store"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

const heldPlans = `---
apiVersion: perdure/v1
kind: Plan
name: go
modes: [emergency]
parameters: [{name: unit, doc: Unit., required: true}]
steps:
- {id: there, act: {driver: unit, action: switch, target: "${params.unit}", with: {to: b}}}
- {id: hold, manual: {owner: operator, instruction: Go on.}}
- {id: back, act: {driver: unit, action: switch, target: "${params.unit}", with: {to: a}}}
---
apiVersion: perdure/v1
kind: Plan
name: past
modes: [emergency]
steps:
- {id: there, act: {driver: unit, action: switch, target: u1, with: {to: b}}}
- {id: hold, manual: {owner: operator, instruction: Judge.}}
---
apiVersion: perdure/v1
kind: Plan
name: try
modes: [drill]
steps:
- {id: clone, act: {driver: sandbox, action: clone, target: u2, with: {site: a}}}
- {id: hold, manual: {owner: operator, instruction: Go on.}}
- {id: discard, cleanup: true, act: {driver: sandbox, action: discard, target: u2, with: {site: a}}}
`

// TestSystemThatIsDeletedDisabledOrEditedMidRunChangesNothingInIt (R5): what a run acts on, and what it goes by, is not taken away while it lasts,
// whatever is applied and whichever node is killed; what it does not go by changes freely. Once it is over the system may go, and what the control
// plane knows of its data stays.
func TestSystemThatIsDeletedDisabledOrEditedMidRunChangesNothingInIt(t *testing.T) {
	t.Parallel() // it waits for leases and elections more than for the machine
	r := newRolled(t, "a")
	text := exampleText(t) + heldPlans
	apply := func(text string) error {
		_, err := r.clients.ApplyManifest(t.Context(), []byte(text), 0, false)
		return err
	}
	if err := apply(text); err != nil {
		t.Fatal(err)
	}
	start := func(ask wire.StartRun) {
		t.Helper()
		if _, err := r.clients.StartRun(t.Context(), ask); err != nil {
			t.Fatal(err)
		}
	}
	start(wire.StartRun{Plan: "go", Mode: plan.Emergency, ID: "moved", Params: map[string]any{"unit": "u1"}})
	start(wire.StartRun{Plan: "try", Mode: plan.Drill, ID: "tried"})
	start(wire.StartRun{Plan: "try", Mode: plan.Drill, ID: "walked", Tabletop: true})
	start(wire.StartRun{Plan: "past", Mode: plan.Emergency, ID: "past"}) // nothing that it acts on is ahead of it
	r.ask([]string{"moved", "tried", "past"}, "hold")
	picture := func() (wire.Manifest, []unit.Record) {
		t.Helper()
		m, err := r.clients.Manifest(t.Context(), wire.Fresh)
		if err != nil {
			t.Fatal(err)
		}
		groups, err := r.clients.Groups(t.Context(), wire.Fresh)
		if err != nil {
			t.Fatal(err)
		}
		var records []unit.Record
		for _, g := range groups {
			records = append(records, g.Record)
		}
		return m, records
	}
	before, records := picture()

	altered := func(alter func(set *manifest.Set, bank *manifest.System)) string {
		t.Helper()
		set, err := manifest.Parse(manifest.File{Name: "x", Text: []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		alter(&set, set.System("corebank"))
		return string(manifest.Export(set))
	}
	without := altered(func(set *manifest.Set, _ *manifest.System) {
		set.Systems = slices.DeleteFunc(set.Systems, func(s manifest.System) bool { return s.Name == "corebank" })
		set.System("reports").DependsOn = nil
	})
	withoutCopy := func(group estate.GroupID) string {
		return altered(func(_ *manifest.Set, bank *manifest.System) {
			g := bank.Group(group)
			g.Members = slices.DeleteFunc(g.Members, func(m manifest.Member) bool { return m.Site == "c" })
		})
	}
	takes := map[string]struct {
		text string
		held []string
	}{
		"the system is deleted":            {without, []string{"run moved of plan go in mode emergency, started by", "acts on unit u1, and system corebank is gone", "run tried of plan try in mode drill", "acts on unit u2"}},
		"a copy of the unit is taken out":  {withoutCopy("u1"), []string{"run moved", "copy u1-c of group u1 is gone"}},
		"a copy of the other unit is":      {withoutCopy("u2"), []string{"run tried", "copy u2-c of group u2 is gone"}},
		"it is not deployed at c any more": {altered(func(_ *manifest.Set, bank *manifest.System) { bank.Deployments = bank.Deployments[:2] }), []string{"run moved", "the deployment of module ledger at site c is gone"}},
		"the drill's accounts are others":  {altered(func(_ *manifest.Set, bank *manifest.System) { bank.Drill.Accounts = bank.Drill.Accounts[1:] }), []string{"run tried", "drills on system corebank may do something else"}},
	}
	refused := func() {
		t.Helper()
		for name, c := range takes {
			err := apply(c.text)
			if errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), "perdure run cancel") || strings.Contains(err.Error(), "walked") || strings.Contains(err.Error(), "run past") {
				t.Errorf("%s: %v", name, err)
				continue
			}
			for _, part := range c.held {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s: %v\ndoes not say %q", name, err, part)
				}
			}
		}
		now, same := picture()
		if diff := cmp.Diff(before, now); diff != "" {
			t.Errorf("the manifest changed:\n%s", diff)
		}
		if diff := cmp.Diff(records, same); diff != "" {
			t.Errorf("records changed:\n%s", diff)
		}
	}
	refused()
	r.end("a", syscall.SIGKILL)
	r.launch("a", r.old)
	r.ready("a")
	refused()

	// What no run goes by is none of their business: titles, and their own plans.
	if err := apply(strings.NewReplacer("title: Core banking", "title: The core", "Go on.", "Stay.").Replace(text)); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"moved", "tried"} {
		_, wait := r.tell([]string{id}, r.clients, "hold", wire.RunWord{What: run.Completed})
		wait()
	}
	r.heads([]string{"moved", "tried"}, "is done", func(h wire.Run) bool { return h.Outcome == run.Done })
	lines, err := r.effects.lines()
	if err != nil {
		t.Fatal(err)
	}
	if want := 5; len(lines) != want {
		t.Errorf("%d effects, want %d: %q", len(lines), want, lines)
	}
	for _, step := range []string{"moved/there", "moved/back", "tried/clone", "tried/discard", "past/there"} {
		if n := strings.Count(strings.Join(lines, "\n")+"\n", step+" "); n != 1 {
			t.Errorf("%s is there %d times: %q", step, n, lines)
		}
	}

	// Nothing of it is ahead of any run, though one is still under way. The records stay: what a manifest does not name is left as it is.
	if err := apply(without); err != nil {
		t.Fatal(err)
	}
	if _, left := picture(); !cmp.Equal(records, left) {
		t.Errorf("records changed with the system that went:\n%s", cmp.Diff(records, left))
	}
}

// TestManifestTakesNothingFromASwitchThatIsUnderWay: an emergency with a loss waits for people to accept it, and everything that it needs is still there when
// they do, or do not.
func TestManifestTakesNothingFromASwitchThatIsUnderWay(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "a")
	e.start("a")
	e.ready("a")
	c := e.client("a")
	text := strings.Replace(exampleText(t), "failover: auto", "failover: confirm", 1)
	set, err := manifest.Parse(manifest.File{Name: "x", Text: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	st := store.New((&rolled{estateOfNodes: e}).raw("a"), store.Options{Node: "test", Logger: slog.New(slog.DiscardHandler)})
	begun, err := st.Incarnation(t.Context(), wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range set.Records() { // open, with a copy in sync, and no agent that would change anything of it
		rec := unit.Bootstrap(want.Group, want.System, want.Units, want.Policy, want.Members, want.Owner.Member, begun.Incarnation)
		rec.State = unit.Open
		for _, m := range rec.Members {
			if m.Role == unit.SyncRole && m.ID != rec.Owner.Member {
				rec.InSync = []estate.Life{{Member: m.ID}}
			}
		}
		if err := st.Quorum().CreateGroup(t.Context(), "test", rec); err != nil {
			t.Fatal(err)
		}
	}
	apply := func(text string) error {
		_, err := c.ApplyManifest(t.Context(), []byte(text), 0, false)
		return err
	}
	if err := apply(text); err != nil {
		t.Fatal(err)
	}
	posted, err := c.Switch(t.Context(), "u1", wire.SwitchRequest{To: "c", Mode: unit.Emergency, Reason: "the city is lost"})
	if err != nil || !posted.Switch.Active() {
		t.Fatalf("%+v, %v", posted, err)
	}
	before, err := c.Group(t.Context(), "u1", wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	bank := set.System("corebank")
	group := bank.Group("u1")
	members := group.Members
	group.Members = slices.DeleteFunc(slices.Clone(members), func(m manifest.Member) bool { return m.Site == "c" })
	withoutTarget := string(manifest.Export(set))
	group.Members = members
	set.System("reports").DependsOn = nil
	set.Systems = slices.DeleteFunc(slices.Clone(set.Systems), func(s manifest.System) bool { return s.Name == "corebank" })
	withoutSystem := string(manifest.Export(set))
	for what, next := range map[string]string{"copy u1-c of group u1 is gone": withoutTarget, "system corebank is gone": withoutSystem} {
		if err := apply(next); errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), "run "+posted.Run+" of plan switch-unit in mode emergency") || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	after, err := c.Group(t.Context(), "u1", wire.Fresh)
	if diff := cmp.Diff(before.Record, after.Record); diff != "" || err != nil {
		t.Errorf("the record changed: %v\n%s", err, diff)
	}
	if _, err := c.Abort(t.Context(), "u1", wire.AbortRequest{Reason: "it is back"}); err != nil {
		t.Fatal(err)
	}
	e.until("the run is over", func() (bool, string) {
		state, err := c.Run(t.Context(), posted.Run)
		return err == nil && state.Run.Phase == run.Over, fmt.Sprint(state.Run.Phase, err)
	})
	if err := apply(withoutSystem); err != nil {
		t.Error(err)
	}
	if left, err := c.Group(t.Context(), "u1", wire.Fresh); err != nil || left.Record.Ownership != before.Record.Ownership || left.Record.Owner != before.Record.Owner || len(left.Record.Members) != 3 {
		t.Errorf("the record of a group that no manifest names: %+v, %v", left.Record, err)
	}
}

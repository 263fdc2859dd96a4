package store_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"perdure/internal/calendar"
	"perdure/internal/errs"
	"perdure/internal/plan"
	"perdure/internal/run/runtest"
	"perdure/internal/store"
	"perdure/internal/wire"
)

func agreed(by string) calendar.Approval { return calendar.Approval{By: by, Reason: "agreed"} }

// windows applies a manifest that has windows with these digests, and gives its revision.
func windows(t *testing.T, s *store.Store, text string, digests map[string]string) int64 {
	t.Helper()
	now, err := s.Manifest(t.Context(), wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.ApplyManifest(t.Context(), "person:root", text, now.Revision, nil, wire.ManifestPlan{Windows: digests})
	if err != nil {
		t.Fatal(err)
	}
	return m.Revision
}

func TestApprovalsOfSeveralAtOnceAreAllKeptAndThoseOfAnotherManifestAreNot(t *testing.T) {
	s, _ := one(t)
	first := windows(t, s, "one", map[string]string{"night": "d1", "day": "d2"})
	var all sync.WaitGroup
	for n := range 6 {
		for _, w := range []struct{ name, digest string }{{"night", "d1"}, {"day", "d2"}} {
			all.Go(func() {
				if _, err := s.ApproveWindow(t.Context(), first, w.name, w.digest, agreed(fmt.Sprintf("p%d", n))); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	kept := func() calendar.Approvals {
		t.Helper()
		a, _, err := s.WindowApprovals(t.Context(), wire.Fresh)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a := kept(); len(a["night"].Approvals) != 6 || len(a["day"].Approvals) != 6 || a["day"].Approvals[0].At.IsZero() {
		t.Fatalf("%+v", a)
	}
	// The same word again writes nothing.
	before, err := s.Events(t.Context(), 0, 1000, true, wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := s.ApproveWindow(t.Context(), first, "night", "d1", agreed("P0")); err != nil || len(again.Approvals) != 6 {
		t.Errorf("%+v, %v", again, err)
	}
	if after, err := s.Events(t.Context(), 0, 1000, true, wire.Fresh); err != nil || len(after) != len(before) {
		t.Errorf("%d events, %d before, %v", len(after), len(before), err)
	}
	// Another manifest: what it has as it was stays, and what was approved of the one before does not come after it.
	second := windows(t, s, "two", map[string]string{"night": "d1", "day": "d3"})
	if a := kept(); len(a) != 1 || len(a["night"].Approvals) != 6 {
		t.Errorf("%+v", a)
	}
	if _, err := s.ApproveWindow(t.Context(), first, "day", "d2", agreed("ann")); errs.KindOf(err) != errs.Conflict {
		t.Errorf("%v", err)
	}
	if _, err := s.ApproveWindow(t.Context(), second, "day", "d3", agreed("ann")); err != nil {
		t.Error(err)
	}
	if err := s.RevokeWindow(t.Context(), "person:ann", "night", "not tonight"); err != nil {
		t.Error(err)
	}
	if err := s.RevokeWindow(t.Context(), "person:ann", "night", "not tonight"); errs.KindOf(err) != errs.Conflict {
		t.Errorf("%v", err)
	}
	if a := kept(); len(a) != 1 || len(a["day"].Approvals) != 1 {
		t.Errorf("%+v", a)
	}
}

// What is approved while another manifest is applied is either dropped with it or refused: nothing of a window that is gone is left.
func TestApprovalAndAnotherManifestAtOnceLeaveNothingOfTheWindowThatIsGone(t *testing.T) {
	s, _ := one(t)
	for n := range 20 {
		revision := windows(t, s, fmt.Sprint("with", n), map[string]string{"night": "d1"})
		var both sync.WaitGroup
		both.Go(func() {
			if _, err := s.ApproveWindow(t.Context(), revision, "night", "d1", agreed("ann")); err != nil && errs.KindOf(err) != errs.Conflict {
				t.Error(err)
			}
		})
		both.Go(func() {
			for {
				_, err := s.ApplyManifest(t.Context(), "person:root", fmt.Sprint("without", n), revision, nil, wire.ManifestPlan{})
				if errs.KindOf(err) == errs.Conflict { // the approval came before it
					continue
				}
				if err != nil {
					t.Error(err)
				}
				return
			}
		})
		both.Wait()
		if a, _, err := s.WindowApprovals(t.Context(), wire.Fresh); err != nil || len(a) > 0 {
			t.Fatalf("%d: %+v, %v", n, a, err)
		}
	}
}

func TestApprovalsOfAllWindowsTogetherAreBounded(t *testing.T) {
	s, _ := one(t)
	digests := map[string]string{}
	for i := range 1000 {
		digests[fmt.Sprintf("w%d", i)] = "d"
	}
	revision := windows(t, s, "many", digests)
	for i := range 1000 {
		_, err := s.ApproveWindow(t.Context(), revision, fmt.Sprintf("w%d", i), "d", calendar.Approval{By: "ann", Reason: strings.Repeat("因", 300)})
		if err == nil {
			continue
		}
		if errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), "revoke those") || i < 400 {
			t.Fatalf("%d: %v", i, err)
		}
		if err := s.RevokeWindow(t.Context(), "person:ann", "w0", "there are too many"); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Error("there is no bound")
}

func TestNodeThatMayNotActKeepsNoApprovals(t *testing.T) {
	stopped := errors.New("cold")
	var why error
	s, _ := one(t, func(o *store.Options) { o.MayAct = func() error { return why } })
	revision := windows(t, s, "one", map[string]string{"night": "d1"})
	why = stopped
	if _, err := s.ApproveWindow(t.Context(), revision, "night", "d1", agreed("ann")); !errors.Is(err, stopped) {
		t.Error(err)
	}
	if err := s.RevokeWindow(t.Context(), "person:ann", "night", "x"); !errors.Is(err, stopped) {
		t.Error(err)
	}
}

// Nothing begins after a revocation that was judged before it, nor after a manifest that has not the window.
func TestRunBeginsByTheApprovalsItWasJudgedByAndByNoOthers(t *testing.T) {
	s, _ := switchable(t)
	program := runtest.Program(t, oneStep, plan.Takeover)
	manifest := windows(t, s, "one", map[string]string{"night": "d1"})
	judged := func() int64 {
		t.Helper()
		if _, err := s.ApproveWindow(t.Context(), manifest, "night", "d1", agreed("ann")); err != nil {
			t.Fatal(err)
		}
		_, revision, err := s.WindowApprovals(t.Context(), wire.Fresh)
		if err != nil || revision == 0 {
			t.Fatal(revision, err)
		}
		return revision
	}
	for what, end := range map[string]func() error{
		"a revocation": func() error { return s.RevokeWindow(t.Context(), "person:ann", "night", "not tonight") },
		"another manifest": func() error {
			manifest = windows(t, s, "two", nil)
			return nil
		},
	} {
		start, begin := posting(t, "r", program)
		start.Windows = judged()
		if err := end(); err != nil {
			t.Fatal(err)
		}
		_, posted := s.PostRun(t.Context(), start, "person:bob", "u1", begin)
		_, created := s.CreateRun(t.Context(), start)
		for _, err := range []error{posted, created} {
			if errs.KindOf(err) != errs.Conflict || !strings.Contains(err.Error(), "approvals of windows were changed just now") {
				t.Errorf("after %s: %v", what, err)
			}
		}
		if runs, err := s.Runs(t.Context(), wire.Fresh); err != nil || len(runs) > 0 {
			t.Errorf("after %s: %+v, %v", what, runs, err)
		}
		manifest = windows(t, s, "one", map[string]string{"night": "d1"})
	}
	start, begin := posting(t, "r", program)
	start.Windows = judged()
	if g, err := s.PostRun(t.Context(), start, "person:bob", "u1", begin); err != nil || g.Record.Switch == nil {
		t.Error(g.Record.Switch, err)
	}
	start, _ = posting(t, "r2", program)
	_, start.Windows, _ = s.WindowApprovals(t.Context(), wire.Fresh)
	if _, err := s.CreateRun(t.Context(), start); err != nil {
		t.Error(err)
	}
}

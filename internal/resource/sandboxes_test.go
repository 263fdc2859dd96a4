package resource_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/plan"
	"perdure/internal/resource"
	"perdure/internal/wire"
)

// sandboxer answers what is asked after some looks, and is away for the first one.
type sandboxer struct {
	looks  int
	asked  []wire.SandboxRequest
	answer wire.SandboxAnswer
}

func (s *sandboxer) Sandbox(_ context.Context, id estate.UnitID, site estate.SiteID, ask wire.SandboxRequest) (wire.SandboxAnswer, error) {
	s.asked = append(s.asked, ask)
	switch {
	case id != "u1" || site != "b":
		return wire.SandboxAnswer{}, errs.New(errs.NotFound, "%s at %s", id, site)
	case ask.Do == wire.SandboxLook:
		return s.answer, nil
	case len(s.asked) == 1:
		return wire.SandboxAnswer{}, errs.New(errs.Unavailable, "the agent begins")
	case len(s.asked) < s.looks:
		return wire.SandboxAnswer{}, nil
	}
	return s.answer, nil
}

func (s *sandboxer) Production(context.Context, estate.UnitID, estate.SiteID) (wire.Production, error) {
	return wire.Production{Accepting: true, LagBytes: 7, Trace: true, Sandbox: "r9"}, nil
}

func sandboxCall(action string) resource.Call {
	return resource.Call{Call: plan.Call{Driver: "sandbox", Action: action, Target: "u1", With: map[string]any{"site": "b"}}, Key: "r1/step", Mode: plan.Drill, By: "ann"}
}

func TestSandboxIsTheRunsAndOneAttemptIsOneQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sandboxer{looks: 4, answer: wire.SandboxAnswer{Done: true, Sandbox: driver.Sandbox{Run: "r1", State: driver.SandboxCloned, Bytes: 9}}}
		d := resource.Sandboxes{Sandboxer: s}
		result, err := d.Ensure(t.Context(), sandboxCall("clone"))
		if err != nil || result["bytes"] != 9.0 || len(s.asked) != 4 {
			t.Fatalf("%v, %v, asked %d times", result, err, len(s.asked))
		}
		for _, a := range s.asked {
			if a != s.asked[0] || a.Run != "r1" || a.Keep <= 0 {
				t.Errorf("asked %+v after %+v", a, s.asked[0])
			}
		}
		first := s.asked[0]
		time.Sleep(time.Second)
		if _, err := d.Ensure(t.Context(), sandboxCall("clone")); err != nil || s.asked[4].Attempt == first.Attempt {
			t.Errorf("the next attempt is the same question: %v", err)
		}
		s.answer = wire.SandboxAnswer{Done: true, Error: "no room", Kind: string(errs.Refused)}
		if _, err := d.Ensure(t.Context(), sandboxCall("clone")); errs.KindOf(err) != errs.Refused || err.Error() != "no room" {
			t.Errorf("%v", err)
		}
		s.answer = wire.SandboxAnswer{}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := d.Ensure(short, sandboxCall("verify")); errs.KindOf(err) != errs.Unknown {
			t.Errorf("not over: %v", err)
		}
	})
}

func TestSandboxOfAnotherRunIsNeitherThereNorLeft(t *testing.T) {
	for run, want := range map[string]map[string]bool{
		"r1": {"clone": true, "open": true, "verify": false, "discard": false},
		"r2": {"clone": false, "open": false, "verify": false, "discard": true},
		"":   {"clone": false, "open": false, "verify": false, "discard": true},
	} {
		s := &sandboxer{answer: wire.SandboxAnswer{Sandbox: driver.Sandbox{Run: run, State: driver.SandboxOpen}}}
		for action, is := range want {
			if _, done, err := (resource.Sandboxes{Sandboxer: s}).Observe(t.Context(), sandboxCall(action)); done != is || err != nil {
				t.Errorf("sandbox of %q, %s: done %v, %v", run, action, done, err)
			}
		}
	}
	result, err := resource.Sandboxes{Sandboxer: &sandboxer{}}.Ensure(t.Context(), sandboxCall("production"))
	if err != nil || result["untouched"] != false || result["sandbox"] != "r9" || result["lagBytes"] != 7.0 {
		t.Errorf("%v, %v", result, err)
	}
}

func TestTestTransactionsAreTold(t *testing.T) {
	s := &sandboxer{looks: 2, answer: wire.SandboxAnswer{Done: true, Transacted: &driver.SandboxTransacted{Accounts: 2, Accepted: 1, Refused: true, Other: "acc-9", Said: "acc-2: no"}}}
	result, err := resource.Sandboxes{Sandboxer: s}.Ensure(t.Context(), sandboxCall("transact"))
	if err != nil || result["accounts"] != 2.0 || result["accepted"] != 1.0 || result["refused"] != true || result["other"] != "acc-9" || result["said"] != "acc-2: no" || s.asked[1].Do != wire.SandboxTransact {
		t.Errorf("%v, %v", result, err)
	}
	if _, done, err := (resource.Sandboxes{Sandboxer: s}).Observe(t.Context(), sandboxCall("transact")); done || err != nil {
		t.Errorf("nobody can see whether it was done: %v, %v", done, err)
	}
}

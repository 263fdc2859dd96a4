package resource_test

import (
	"context"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/plan"
	"perdure/internal/resource"
	"perdure/internal/run"
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

// kept is a store of files.
type kept struct{ files map[string]string }

func (k *kept) PutAttachment(_ context.Context, id string, a wire.KeptAttachment, data []byte) (wire.KeptAttachment, error) {
	k.files[id+"|"+a.Step+"|"+a.By+"|"+a.Name+"|"+a.Type] = string(data)
	return a, nil
}

func TestMaskIsTold(t *testing.T) {
	s := &sandboxer{looks: 2, answer: wire.SandboxAnswer{Done: true, Masked: &driver.SandboxMasked{Tables: 1, Columns: 2, Rows: 3, Values: 5}}}
	result, err := resource.Sandboxes{Sandboxer: s}.Ensure(t.Context(), sandboxCall("mask"))
	if want := map[string]any{"tables": 1.0, "columns": 2.0, "rows": 3.0, "values": 5.0}; err != nil || !maps.Equal(result, want) || s.asked[1].Do != wire.SandboxMask {
		t.Errorf("%v, %v", result, err)
	}
	// An agent that does not know the word has done nothing.
	for _, action := range []string{"mask", "show"} {
		s = &sandboxer{looks: 2, answer: wire.SandboxAnswer{Done: true}}
		if result, err := (resource.Sandboxes{Sandboxer: s}).Ensure(t.Context(), sandboxCall(action)); errs.KindOf(err) != errs.Unavailable {
			t.Errorf("%s: %v, %v", action, result, err)
		}
		if _, done, err := (resource.Sandboxes{Sandboxer: s}).Observe(t.Context(), sandboxCall(action)); done || err != nil {
			t.Errorf("%s: nobody can see whether it was done: %v, %v", action, done, err)
		}
	}
}

// What is shown is a table for spreadsheets in which nothing is calculated.
func TestWhatIsShownBecomesFilesOfTheRun(t *testing.T) {
	text := func(list ...string) []*string {
		var row []*string
		for _, v := range list {
			if v == "NULL" {
				row = append(row, nil)
				continue
			}
			row = append(row, &v)
		}
		return row
	}
	s := &sandboxer{looks: 2, answer: wire.SandboxAnswer{Done: true, Shown: []driver.SandboxRows{
		{Table: "bank.customer", Columns: []string{"id", "=name"}, Rows: [][]*string{
			text("c-1", "=1+1"), text("c-2", "-12.50"), text("NULL", " @x"), text("+86 10", "-1+1"), text("李", "a,\"b\"\nc"), text("x\x00y\r", "＝1"), text("", "\t=2"), text("|x", "%y"), text("a-b", "1=1"),
		}},
		{Table: "bank.account", Columns: []string{"id"}},
	}}}
	store := &kept{files: map[string]string{}}
	result, err := resource.Sandboxes{Sandboxer: s, Files: store, By: "node:a"}.Ensure(t.Context(), sandboxCall("show"))
	files, _ := result[run.Files].([]run.Attachment)
	if err != nil || len(files) != 2 || result["tables"] != 2.0 || result["rows"] != 9.0 || result["bytes"] != float64(files[0].Size+files[1].Size) {
		t.Fatalf("%v, %v", result, err)
	}
	want := map[string]string{
		"r1|step|node:a|u1-bank.customer.csv|text/csv; charset=utf-8": "\ufeffid,'=name\r\nc-1,'=1+1\r\nc-2,-12.50\r\n,' @x\r\n'+86 10,'-1+1\r\n李,\"a,\"\"b\"\"\r\nc\"\r\nx y ,'＝1\r\n,' =2\r\n'|x,'%y\r\na-b,1=1\r\n",
		"r1|step|node:a|u1-bank.account.csv|text/csv; charset=utf-8":  "\ufeffid\r\n",
	}
	if diff := cmp.Diff(want, store.files); diff != "" {
		t.Errorf("%s", diff)
	}
}

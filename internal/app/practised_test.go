package app

import (
	"strings"
	"testing"

	"perdure/internal/errs"
	"perdure/internal/manifest"
	"perdure/internal/wire"
)

// TestDrillsAreToldOfTestAccounts: of all when the sandbox is opened, because one database may carry several units, and of the unit's own when its
// transactions are tried.
func TestDrillsAreToldOfTestAccounts(t *testing.T) {
	set, err := manifest.Parse(manifest.File{Name: "x", Text: []byte(exampleText(t))})
	if err != nil {
		t.Fatal(err)
	}
	drill := set.System("corebank").Drill
	if len(drill.Accounts) < 2 || drill.Transaction == "" {
		t.Fatalf("the example declares %+v", drill)
	}
	ask := func(do wire.SandboxDo, u string) wire.SandboxRequest {
		t.Helper()
		out, err := practised(set, "u1", wire.SandboxRequest{Do: do})
		if u == "u2" {
			out, err = practised(set, "u2", wire.SandboxRequest{Do: do})
		}
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got := ask(wire.SandboxOpen, "u1"); got.Accounts != strings.Join(drill.Accounts, "\n") || got.Transaction != "" {
		t.Errorf("opened with %+v", got)
	}
	one, two := ask(wire.SandboxTransact, "u1"), ask(wire.SandboxTransact, "u2")
	both := append(strings.Fields(one.Accounts), strings.Fields(two.Accounts)...)
	if one.Accounts == "" || two.Accounts == "" || len(both) != len(drill.Accounts) || one.Unit != "u1" || two.Unit != "u2" || one.Transaction != drill.Transaction || one.Query == "" {
		t.Errorf("u1 %+v, u2 %+v", one, two)
	}
	if got := ask(wire.SandboxClone, "u1"); got != (wire.SandboxRequest{Do: wire.SandboxClone}) {
		t.Errorf("cloned with %+v", got)
	}
	// Masks are told whole: what is shown is held against all of them.
	if got := ask(wire.SandboxMask, "u1"); !strings.Contains(got.Masks, `"column":"phone","as":"last4"`) || got.Shows != "" || got.Accounts != "" {
		t.Errorf("masked with %+v", got)
	}
	if got := ask(wire.SandboxShow, "u2"); got.Masks != ask(wire.SandboxMask, "u1").Masks || !strings.Contains(got.Shows, `"table":"corebank.customer"`) {
		t.Errorf("shown with %+v", got)
	}
	set.System("corebank").Drill.Mask, set.System("corebank").Drill.Show = nil, nil
	for _, do := range []wire.SandboxDo{wire.SandboxMask, wire.SandboxShow} {
		if _, err := practised(set, "u1", wire.SandboxRequest{Do: do}); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%s without a declaration: %v", do, err)
		}
	}
	set.System("corebank").Drill.Transaction = ""
	if _, err := practised(set, "u1", wire.SandboxRequest{Do: wire.SandboxTransact}); errs.KindOf(err) != errs.Invalid {
		t.Errorf("without a transaction: %v", err)
	}
}

package guard_test

import (
	"fmt"
	"testing"

	"perdure/internal/guard"
	"perdure/internal/pgtest"
)

// TestQuarantineBlocksWhatIsNotVerified: unverified accounts are blocked, verified ones are open, inconsistent ones take credits only (I7).
func TestQuarantineBlocksWhatIsNotVerified(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{})
	agent, app := install(t, s), s.ConnectAs("perdure_app")
	mustExec(t, agent, guard.OpenSQL, []string{"u1"}, 1, "ab12", 1, "u1-a")
	mustExec(t, agent, guard.QuarantineSQL, "u1", true)
	mustExec(t, agent, guard.JudgeSQL, "verified", "verified", "ann")
	mustExec(t, agent, guard.JudgeSQL, "inconsistent", "inconsistent", "ann")
	debit, credit := "debit", "credit"
	admit := func(account string, side *string) string {
		mustExec(t, app, "begin")
		mustExec(t, app, "select perdure.enter('u1')")
		_, err := app.Exec(t.Context(), "select perdure.admit('u1', $1, $2)", account, side)
		mustExec(t, app, "rollback")
		if state := refusedWith(err); state != "" || err == nil {
			return state
		}
		return err.Error()
	}
	for _, c := range []struct {
		account string
		side    *string
		want    string
	}{
		{"unverified", &debit, guard.Quarantined},
		{"unverified", &credit, guard.Quarantined},
		{"unverified", nil, guard.Quarantined},
		{"verified", &debit, ""},
		{"verified", &credit, ""},
		{"inconsistent", &debit, guard.Quarantined},
		{"inconsistent", &credit, ""},
		{"inconsistent", nil, guard.Quarantined}, // whoever does not say which side is not let in
	} {
		if got := admit(c.account, c.side); got != c.want {
			t.Errorf("%s of an account that is %s: %q, want %q", said(c.side), c.account, got, c.want)
		}
	}
	// Taken back, a verdict is none; and after the quarantine nothing is asked.
	mustExec(t, agent, guard.JudgeSQL, "verified", nil, "ann")
	if got := admit("verified", &credit); got != guard.Quarantined {
		t.Errorf("after the verdict was taken back: %q", got)
	}
	mustExec(t, agent, guard.QuarantineSQL, "u1", false)
	if got := admit("unverified", &debit); got != "" {
		t.Errorf("after the quarantine: %q", got)
	}
}

func said(side *string) string {
	if side == nil {
		return "nothing said"
	}
	return fmt.Sprint("a ", *side)
}

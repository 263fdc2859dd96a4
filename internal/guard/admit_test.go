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
	mustExec(t, agent, guard.QuarantineSQL, "u1", true, "1.ab12.1")
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
	mustExec(t, agent, guard.QuarantineSQL, "u1", false, "")
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

// TestVerdictsAreThoseOfOneQuarantine: what was judged after one lossy switch says nothing after the next one (I7).
func TestVerdictsAreThoseOfOneQuarantine(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{})
	agent, app := install(t, s), s.ConnectAs("perdure_app")
	units := []string{"u1", "u2"}
	epoch := 0
	open := func(of string, units ...string) {
		t.Helper()
		for _, u := range units {
			mustExec(t, agent, guard.QuarantineSQL, u, true, of)
		}
		epoch++
		mustExec(t, agent, guard.CloseSQL, units)
		mustExec(t, agent, guard.OpenSQL, units, 1, "ab12", epoch, "u1-a")
	}
	judge := func() {
		t.Helper()
		mustExec(t, agent, guard.JudgeSQL, "x", "verified", "ann")
		mustExec(t, agent, guard.JudgeSQL, "y", "inconsistent", "ann")
	}
	served := func(when string, want bool) {
		t.Helper()
		for _, u := range units[:1+min(epoch-1, 1)] {
			for _, account := range []string{"x", "y"} {
				mustExec(t, app, "begin")
				mustExec(t, app, "select perdure.enter($1)", u)
				_, err := app.Exec(t.Context(), "select perdure.admit($1, $2, 'credit')", u, account)
				mustExec(t, app, "rollback")
				if got := refusedWith(err); want && err != nil || !want && got != guard.Quarantined {
					t.Errorf("%s: %s in %s: %v", when, account, u, err)
				}
			}
		}
	}
	open("1.ab12.1", "u1")
	served("before anything was judged", false)
	judge()
	served("judged", true)
	open("1.ab12.1", units...)
	served("after a failover in the same quarantine, with a unit that joined", true)
	open("1.ab12.3", units...)
	served("after a second lossy switch", false)
	judge()
	served("judged again", true)

	// The release drops them; who entered before it is served like who enters after it.
	mustExec(t, app, "begin")
	mustExec(t, app, "select perdure.enter('u1')")
	for _, u := range units {
		mustExec(t, agent, guard.QuarantineSQL, u, false, nil)
	}
	for _, u := range units {
		mustExec(t, app, "select perdure.admit($1, 'x', 'debit')", u)
	}
	mustExec(t, app, "rollback")
	var left int
	if err := agent.QueryRow(t.Context(), "select count(*) from perdure.quarantine").Scan(&left); err != nil || left != 0 {
		t.Errorf("%d verdicts outlive their quarantine, %v", left, err)
	}
	open("1.ab12.4", units...)
	served("after a lossy switch behind a release", false)

	// An agent of before does not say which: then none is known to be the same.
	judge()
	mustExec(t, agent, "select perdure.set_quarantine('u1', true)")
	served("in a quarantine without a name", false)
}

// TestJudgementKeepsToItsQuarantine: verdicts that were found in one quarantine do not land in the next.
func TestJudgementKeepsToItsQuarantine(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{})
	agent, other := install(t, s), s.Connect()
	for _, u := range []string{"u1", "u2"} {
		mustExec(t, agent, guard.QuarantineSQL, u, true, "1.ab12.1")
	}
	judging := func(of string, units ...string) (ok bool) {
		t.Helper()
		if err := other.QueryRow(t.Context(), guard.JudgingSQL, units, of).Scan(&ok); err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if judging("1.ab12.2", "u1") || judging("1.ab12.1", "u1", "u3") || !judging("1.ab12.1", "u1", "u2") {
		t.Error("the quarantine of a judgement is not looked at")
	}
	// The next quarantine waits for verdicts that are being written, and drops them.
	mustExec(t, other, "begin")
	if !judging("1.ab12.1", "u1", "u2") {
		t.Fatal("not in its quarantine")
	}
	mustExec(t, other, guard.JudgeSQL, "x", "verified", "ann")
	mustExec(t, agent, "set lock_timeout = '50ms'")
	if _, err := agent.Exec(t.Context(), guard.QuarantineSQL, "u1", true, "1.ab12.2"); refusedWith(err) != "55P03" {
		t.Fatalf("the next quarantine began in the middle of a judgement: %v", err)
	}
	mustExec(t, agent, guard.QuarantineSQL, "u1", true, "1.ab12.1") // a reopening in the same one waits for nothing
	mustExec(t, other, "commit")
	mustExec(t, agent, guard.QuarantineSQL, "u1", true, "1.ab12.2")
	var left int
	if err := agent.QueryRow(t.Context(), "select count(*) from perdure.quarantine").Scan(&left); err != nil || left != 0 {
		t.Errorf("%d verdicts of the former quarantine, %v", left, err)
	}
	if judging("1.ab12.2", "u1", "u2") || !judging("1.ab12.2", "u1") {
		t.Error("u2 is not in the new quarantine yet")
	}
}

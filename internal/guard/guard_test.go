package guard_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"perdure/internal/guard"
	"perdure/internal/pgtest"
)

// install puts the guard into the server and opens unit u1 at epoch 1.
func install(t *testing.T, s *pgtest.Server) (agent *pgx.Conn) {
	t.Helper()
	agent = s.Connect()
	if err := guard.Install(t.Context(), agent); err != nil {
		t.Fatal(err)
	}
	mustExec(t, agent, guard.SessionSQL)
	return agent
}

func mustExec(t *testing.T, c *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := c.Exec(context.Background(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func TestInstallIsRepeatable(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{})
	agent := install(t, s)
	if err := guard.Install(t.Context(), agent); err != nil {
		t.Fatal(err)
	}
	mustExec(t, agent, guard.OpenSQL, []string{"u1"}, 1, "ab12", 1, "u1-a")
	app := s.ConnectAs("perdure_app")
	var o string
	if err := app.QueryRow(t.Context(), "select perdure.enter('u1')").Scan(&o); err != nil || o != "1.ab12.1" {
		t.Fatal(o, err)
	}
	f, err := guard.Verify(t.Context(), agent)
	if err != nil || len(f) != 0 {
		t.Fatal(f, err)
	}
}

// Requests that are turned away hold the unit's lock for a moment each; many of them must not hold up the first opening of a life.
// Behind a closed gate, however, everything that entered before is waited for (I9).
func TestOpeningWaitsForThoseWhoEnteredAndForNobodyElse(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{})
	agent := install(t, s)
	units := []string{"u1"}
	inside := s.ConnectAs("perdure_app")
	holdLock := "select pg_advisory_xact_lock_shared(hashtextextended('perdure:u1', 0))"
	mustExec(t, inside, "begin")
	mustExec(t, inside, holdLock)
	mustExec(t, agent, guard.OpenSQL, units, 1, "ab12", 1, "u1-a")
	mustExec(t, inside, "select perdure.enter('u1')")

	mustExec(t, agent, guard.CloseSQL, units)
	_, err := agent.Exec(t.Context(), guard.OpenSQL, units, 1, "ab12", 2, "u1-a")
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != guard.InFlight {
		t.Fatalf("opened over a transaction of the former ownership: %v", err)
	}
	mustExec(t, inside, "commit")
	mustExec(t, agent, guard.OpenSQL, units, 1, "ab12", 2, "u1-a")
}

func TestClaimOfAMessageEndsWithItsOwnership(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{})
	agent, app := install(t, s), s.ConnectAs("perdure_app")
	units := []string{"u1"}
	mustExec(t, agent, guard.OpenSQL, units, 1, "ab12", 1, "u1-a")
	mustExec(t, agent, `insert into perdure.outbox (unit, caller, cause_routing_key, cause_key, destination, routing_key, key, payload, ownership)
		values ('u1', 'c', 'r', 'k', '/v1/credits', 'acc', 'obx-1', '', '1.ab12.1')`)
	claimed := func() (n int) {
		t.Helper()
		if err := app.QueryRow(t.Context(), "select count(*) from perdure.outbox_claim('u1', 10, '1 hour')").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if first, second := claimed(), claimed(); first != 1 || second != 0 {
		t.Fatalf("claimed %d, then %d", first, second)
	}
	mustExec(t, agent, guard.CloseSQL, units)
	mustExec(t, agent, guard.OpenSQL, units, 1, "ab12", 2, "u1-a")
	if n := claimed(); n != 1 {
		t.Errorf("in the next ownership %d messages can be claimed", n)
	}
	mustExec(t, app, "select perdure.outbox_later('u1', 1, '1 hour', 'busy')")
	mustExec(t, agent, guard.CloseSQL, units)
	mustExec(t, agent, guard.OpenSQL, units, 1, "ab12", 3, "u1-a")
	if n := claimed(); n != 0 {
		t.Error("a message that was put off is due at once in the next ownership")
	}
}

// A server sends no warning to a session that wants none: then a COMMIT whose wait for the copies was cancelled looks like a success (I3).
func TestSessionThatHearsNoWarningIsRefused(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{})
	agent := install(t, s)
	mustExec(t, agent, guard.OpenSQL, []string{"u1"}, 1, "ab12", 1, "u1-a")
	mustExec(t, agent, "alter role perdure_app set client_min_messages = error")
	app := s.ConnectAs("perdure_app")
	for _, first := range []string{"select perdure.enter('u1')", `select perdure.claim(row('u1', 1, 'c', 'r', 'k', '\x01', 'infinity')::perdure.request)`} {
		if _, err := app.Exec(t.Context(), first); refusedWith(err) != guard.Misused {
			t.Errorf("%s: %v", first, err)
		}
	}
	findings, err := guard.Verify(t.Context(), agent)
	if err != nil || len(findings) != 1 || findings[0].Check != "warnings" {
		t.Errorf("%+v, %v", findings, err)
	}
	mustExec(t, app, "set client_min_messages = warning")
	mustExec(t, app, "select perdure.enter('u1')")
}

func TestRequestsOfOneUnitMayShareATransactionAndNothingElseComesBeforeTheGuard(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{})
	agent := install(t, s)
	mustExec(t, agent, guard.OpenSQL, []string{"u1", "u2"}, 1, "ab12", 1, "u1-a")
	app := s.ConnectAs("perdure_app")
	claim := func(unit, key string) error {
		_, err := app.Exec(t.Context(), `select perdure.claim(row($1, 1, 'c', 'r', $2, '\x01', 'infinity')::perdure.request)`, unit, key)
		return err
	}
	settle := func(unit, key string) {
		t.Helper()
		mustExec(t, app, `select perdure.settle(row($1, 1, 'c', 'r', $2, '\x01', 'infinity')::perdure.request, 200, '', '', '{}', null)`, unit, key)
	}
	for _, second := range []struct {
		unit, key string
		fits      bool
	}{{"u1", "k2", true}, {"u2", "k3", false}} {
		mustExec(t, app, "begin")
		if err := claim("u1", "k1"); err != nil {
			t.Fatal(err)
		}
		settle("u1", "k1")
		err := claim(second.unit, second.key)
		if second.fits != (err == nil) || err != nil && refusedWith(err) != guard.Misused {
			t.Errorf("a claim for %s behind one for u1 that wrote: %v", second.unit, err)
		}
		if err == nil {
			settle(second.unit, second.key)
		}
		mustExec(t, app, "rollback")
	}
	mustExec(t, app, "begin")
	mustExec(t, app, "select pg_current_xact_id()")
	if err := claim("u1", "k1"); refusedWith(err) != guard.Misused {
		t.Errorf("a claim in a transaction that had begun to write: %v", err)
	}
	mustExec(t, app, "rollback")
}

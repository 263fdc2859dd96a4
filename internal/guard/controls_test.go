package guard_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"perdure/internal/guard"
	"perdure/internal/pgtest"
)

// The tests below are negative controls: each puts a known bug into the guard of a server of its own, and shows that the schedule which the
// product withstands is the one that the bug fails. The numbers are those of the list of seeded bugs in docs/reliability.md.

// sabotage changes the definition of a function as it is installed. What is replaced has to be there exactly once: a control that changes
// nothing proves nothing.
func sabotage(t *testing.T, agent *pgx.Conn, function, old, broken string) {
	t.Helper()
	var text string
	if err := agent.QueryRow(t.Context(), "select pg_get_functiondef($1::regprocedure)", function).Scan(&text); err != nil {
		t.Fatal(err)
	}
	if strings.Count(text, old) != 1 {
		t.Fatalf("%s does not say %q once:\n%s", function, old, text)
	}
	mustExec(t, agent, strings.Replace(text, old, broken, 1))
}

// business is a table of the application, behind the guard or not.
func business(t *testing.T, agent *pgx.Conn, guarded bool) {
	t.Helper()
	mustExec(t, agent, "create table account (id text primary key, balance int not null)")
	mustExec(t, agent, "insert into account values ('a', 100)")
	mustExec(t, agent, "grant select, update on account to perdure_app")
	if guarded {
		mustExec(t, agent, "select perdure.protect('account')")
	}
}

func balance(t *testing.T, c *pgx.Conn) (n int) {
	t.Helper()
	if err := c.QueryRow(t.Context(), "select balance from account").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// refusedWith reports the SQLSTATE of a refusal, "" where there is none.
func refusedWith(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

const fee = "update account set balance = balance - 10"

// lateGuard is the schedule of bug 21: a transaction changes an account in epoch 1 and comes to the guard when the unit has been away and is
// back in epoch 3. It gives what the first write and the guard said.
func lateGuard(t *testing.T, agent, app *pgx.Conn) (write, enter error) {
	t.Helper()
	units := []string{"u1"}
	mustExec(t, agent, guard.OpenSQL, units, 1, "ab12", 1, "u1-a")
	mustExec(t, app, "begin")
	if _, write = app.Exec(t.Context(), fee); write != nil {
		mustExec(t, app, "rollback")
		return write, nil
	}
	mustExec(t, agent, guard.CloseSQL, units)
	var fence *string
	if err := agent.QueryRow(t.Context(), guard.TryFenceSQL, units).Scan(&fence); err != nil || fence == nil {
		t.Fatalf("the fence waited for a transaction that never entered: %v", err)
	}
	mustExec(t, agent, guard.NoteSQL, units, 1, "ab12", 2) // another member has it, and gives it back
	mustExec(t, agent, guard.OpenSQL, units, 1, "ab12", 3, "u1-a")
	_, enter = app.Exec(t.Context(), "select perdure.enter('u1')")
	if _, err := app.Exec(t.Context(), "commit"); err != nil {
		t.Fatal(err)
	}
	return nil, enter
}

func TestGuardAfterTheFirstWriteIsRefusedAndItsControlIsNot(t *testing.T) {
	t.Run("guarded table", func(t *testing.T) {
		s := pgtest.Start(t, pgtest.Options{})
		agent := install(t, s)
		business(t, agent, true)
		if write, _ := lateGuard(t, agent, s.ConnectAs("perdure_app")); refusedWith(write) != guard.Misused {
			t.Errorf("a write before the guard was answered %v", write)
		}
	})
	t.Run("table that is not behind the guard", func(t *testing.T) {
		s := pgtest.Start(t, pgtest.Options{})
		agent := install(t, s)
		business(t, agent, false)
		_, enter := lateGuard(t, agent, s.ConnectAs("perdure_app"))
		if refusedWith(enter) != guard.Misused || balance(t, agent) != 100 {
			t.Errorf("the guard after a write was answered %v, the balance is %d", enter, balance(t, agent))
		}
		findings, err := guard.Verify(t.Context(), agent)
		if err != nil || len(findings) != 1 || findings[0].Check != "guard-on-every-table" || !strings.Contains(findings[0].Problem, "public.account") {
			t.Errorf("the table is not named: %+v, %v", findings, err)
		}
	})
	t.Run("control 21", func(t *testing.T) {
		s := pgtest.Start(t, pgtest.Options{})
		agent := install(t, s)
		business(t, agent, false)
		sabotage(t, agent, "perdure.enter(text)", "pg_current_xact_id_if_assigned() is not null", "false")
		write, enter := lateGuard(t, agent, s.ConnectAs("perdure_app"))
		if write != nil || enter != nil || balance(t, agent) != 90 {
			t.Errorf("the bug did no harm, so nothing here would find it: %v, %v, balance %d", write, enter, balance(t, agent))
		}
	})
}

// overFlip is the schedule of bug 22: a transaction enters in epoch 1 and is prepared; the server dies, comes back in another life and is opened
// at epoch 2; then the transaction is committed. It gives what opening and preparing said; nil: it was committed.
func overFlip(t *testing.T, s *pgtest.Server, agent *pgx.Conn) error {
	t.Helper()
	units := []string{"u1"}
	if _, err := agent.Exec(t.Context(), guard.OpenSQL, units, 1, "ab12", 1, "u1-a"); err != nil {
		return err
	}
	app := s.ConnectAs("perdure_app")
	mustExec(t, app, "begin")
	mustExec(t, app, "select perdure.enter('u1')")
	mustExec(t, app, fee)
	if _, err := app.Exec(t.Context(), "prepare transaction 'late'"); err != nil {
		return err
	}
	// It holds the fence up, and nobody can be ended for it.
	mustExec(t, agent, guard.CloseSQL, units)
	var fence *string
	var ended int
	if err := agent.QueryRow(t.Context(), guard.TryFenceSQL, units).Scan(&fence); err != nil || fence != nil {
		t.Fatalf("fence %v, %v: a prepared transaction was passed by", fence, err)
	}
	if err := agent.QueryRow(t.Context(), guard.EndBlockersSQL, units).Scan(&ended); err != nil || ended != 0 {
		t.Fatalf("%d sessions of a prepared transaction were ended, %v", ended, err)
	}
	s.Kill()
	s.Run()
	again := s.Connect()
	mustExec(t, again, guard.SessionSQL)
	if _, err := again.Exec(t.Context(), guard.OpenSQL, units, 1, "ab12", 2, "u1-a"); err != nil {
		return err
	}
	mustExec(t, again, "commit prepared 'late'")
	if n := balance(t, again); n != 90 {
		t.Errorf("committed, and the balance is %d", n)
	}
	return nil
}

func TestPreparedTransactionIsRefusedAndItsControlCommitsOverAFlip(t *testing.T) {
	t.Run("as installed", func(t *testing.T) {
		s := pgtest.Start(t, pgtest.Options{})
		agent := install(t, s)
		business(t, agent, true)
		const disabled = "55000" // object not in prerequisite state: prepared transactions are off
		if err := overFlip(t, s, agent); refusedWith(err) != disabled {
			t.Errorf("a transaction was prepared: %v", err)
		}
	})
	t.Run("server that allows them", func(t *testing.T) {
		s := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"max_prepared_transactions": "2"}})
		agent := install(t, s)
		business(t, agent, true)
		if err := overFlip(t, s, agent); refusedWith(err) != guard.CannotOpen {
			t.Errorf("opened: %v", err)
		}
		findings, err := guard.Verify(t.Context(), agent)
		if err != nil || len(findings) != 1 || findings[0].Check != "prepared-transactions" || !findings[0].Fatal {
			t.Errorf("%+v, %v", findings, err)
		}
	})
	t.Run("control 22", func(t *testing.T) {
		s := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"max_prepared_transactions": "2"}})
		agent := install(t, s)
		business(t, agent, true)
		sabotage(t, agent, "perdure.open(text[],bigint,text,bigint,text)", "current_setting('max_prepared_transactions') <> '0'", "false")
		if err := overFlip(t, s, agent); err != nil {
			t.Errorf("the bug did no harm, so nothing here would find it: %v", err)
		}
	})
}

// staleLook is the schedule of bug 23: a writer comes to the guard while the unit is open and has to wait for the unit's lock; the unit is
// closed meanwhile. It gives what the guard said when the lock was free again.
func staleLook(t *testing.T, s *pgtest.Server, agent *pgx.Conn) error {
	t.Helper()
	units := []string{"u1"}
	mustExec(t, agent, guard.OpenSQL, units, 1, "ab12", 1, "u1-a")
	app, switcher := s.ConnectAs("perdure_app"), s.Connect()
	const unitLock = "(hashtextextended('perdure:u1', 0))"
	mustExec(t, switcher, "select pg_advisory_lock"+unitLock)
	mustExec(t, app, "begin")
	entered := make(chan error, 1)
	go func() {
		_, err := app.Exec(context.Background(), "select perdure.enter('u1')")
		entered <- err
	}()
	s.Await("the writer waits for the lock", func(ctx context.Context) error {
		var waits bool
		err := agent.QueryRow(ctx, "select exists (select from pg_locks where locktype = 'advisory' and mode = 'ShareLock' and not granted)").Scan(&waits)
		if err == nil && !waits {
			err = errors.New("not yet")
		}
		return err
	})
	mustExec(t, agent, guard.CloseSQL, units)
	mustExec(t, switcher, "select pg_advisory_unlock"+unitLock)
	err := <-entered
	mustExec(t, app, "rollback")
	return err
}

func TestGuardReadsTheGateAfterItHasTheLockAndItsControlsDoNot(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{})
	agent := install(t, s)
	if err := staleLook(t, s, agent); refusedWith(err) != guard.NotOwner {
		t.Errorf("a writer that waited while the unit was closed was answered %v", err)
	}
	for name, bug := range map[string]func(*testing.T, *pgx.Conn){
		"control 23, stable": func(t *testing.T, agent *pgx.Conn) { mustExec(t, agent, "alter function perdure.enter(text) stable") },
		"control 23, one statement": func(t *testing.T, agent *pgx.Conn) {
			sabotage(t, agent, "perdure.enter(text)", "  v_done := pg_advisory_xact_lock_shared(hashtextextended('perdure:' || p_unit, 0));\n", "")
			sabotage(t, agent, "perdure.enter(text)", "from perdure.gate g where",
				"from (select pg_advisory_xact_lock_shared(hashtextextended('perdure:' || p_unit, 0)) offset 0) l, perdure.gate g where")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := pgtest.Start(t, pgtest.Options{})
			agent := install(t, s)
			bug(t, agent)
			if err := staleLook(t, s, agent); err != nil {
				t.Errorf("the bug did no harm, so nothing here would find it: %v", err)
			}
		})
	}
}

// overClosing is the schedule of bug 24: a transaction enters in epoch 1, the unit is closed, fenced and opened again at epoch 2, and only then
// the transaction writes and ends. Where that is not ended for it, as the agent ends whoever holds the fence up, it has all the time it wants.
// It gives the fence's position, "" where the fence said "not yet", and what opening and the late transaction were answered.
func overClosing(t *testing.T, s *pgtest.Server, agent *pgx.Conn) (fence string, opening, late error) {
	t.Helper()
	units := []string{"u1"}
	mustExec(t, agent, guard.OpenSQL, units, 1, "ab12", 1, "u1-a")
	app := s.ConnectAs("perdure_app")
	mustExec(t, app, "begin")
	mustExec(t, app, "select perdure.enter('u1')")
	mustExec(t, agent, guard.CloseSQL, units)
	var position *string
	if err := agent.QueryRow(t.Context(), guard.TryFenceSQL, units).Scan(&position); err != nil {
		t.Fatal(err)
	}
	_, opening = agent.Exec(t.Context(), guard.OpenSQL, units, 1, "ab12", 2, "u1-a")
	if position != nil {
		fence = *position
	} else {
		var ended int
		if err := s.Connect().QueryRow(t.Context(), guard.EndBlockersSQL, units).Scan(&ended); err != nil || ended != 1 {
			t.Fatalf("%d sessions that hold the fence up were ended, %v", ended, err)
		}
	}
	if _, late = app.Exec(t.Context(), fee); late == nil {
		_, late = app.Exec(t.Context(), "commit")
	}
	return fence, opening, late
}

func TestFenceWaitsForWhoeverEnteredAndItsControlsDoNot(t *testing.T) {
	t.Run("as installed", func(t *testing.T) {
		s := pgtest.Start(t, pgtest.Options{})
		agent := install(t, s)
		business(t, agent, true)
		fence, opening, late := overClosing(t, s, agent)
		if fence != "" || refusedWith(opening) != guard.InFlight || late == nil || balance(t, agent) != 100 {
			t.Errorf("with a transaction inside the fence said %q, opening %v; the transaction was answered %v, the balance is %d", fence, opening, late, balance(t, agent))
		}
		var position *string
		if err := agent.QueryRow(t.Context(), guard.TryFenceSQL, []string{"u1"}).Scan(&position); err != nil || position == nil {
			t.Errorf("with nobody inside any more the fence says %v, %v", position, err)
		}
	})
	const unitLock = "(hashtextextended('perdure:' || p_unit, 0));"
	for name, bug := range map[string]func(*testing.T, *pgx.Conn){
		"control 24, the fence asks for no lock": func(t *testing.T, agent *pgx.Conn) {
			sabotage(t, agent, "perdure.outwait(text)", "perform pg_advisory_xact_lock"+unitLock, "")
		},
		"control 24, whoever entered is inside for one statement": func(t *testing.T, agent *pgx.Conn) {
			sabotage(t, agent, "perdure.enter(text)", "v_done := pg_advisory_xact_lock_shared"+unitLock,
				"perform pg_advisory_lock_shared"+unitLock+" perform pg_advisory_unlock_shared"+unitLock)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := pgtest.Start(t, pgtest.Options{})
			agent := install(t, s)
			business(t, agent, true)
			bug(t, agent)
			fence, opening, late := overClosing(t, s, agent)
			if fence == "" || opening != nil || late != nil || balance(t, agent) != 90 {
				t.Errorf("the bug did no harm, so nothing here would find it: fence %q, opening %v, the late transaction %v, balance %d", fence, opening, late, balance(t, agent))
			}
		})
	}
}

package guard_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

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

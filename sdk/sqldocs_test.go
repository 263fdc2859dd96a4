package sdk_test

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"perdure/internal/guard"
	"perdure/internal/pgtest"
)

var sqlBlock = regexp.MustCompile("(?s)```(sql|psql)\n(.*?)```")

// What docs/sql-guard.md shows is what a server does: its SQL is run as written, and its transcript is held against the answers.
func TestSQLOfTheDocumentationDoesWhatItSays(t *testing.T) {
	text, err := os.ReadFile("../docs/sql-guard.md")
	if err != nil {
		t.Fatal(err)
	}
	s := pgtest.Start(t, pgtest.Options{})
	agent := s.Connect()
	if err := guard.Install(t.Context(), agent); err != nil {
		t.Fatal(err)
	}
	if _, err := agent.Exec(t.Context(), guard.OpenSQL, []string{"u1"}, 1, "ab12", 1, "u1-a"); err != nil {
		t.Fatal(err)
	}
	app := s.ConnectAs("perdure_app")
	statements := 0
	for _, block := range sqlBlock.FindAllStringSubmatch(string(text), -1) {
		if block[1] == "sql" {
			s.Exec(block[2])
			continue
		}
		for shown := range strings.SplitSeq(block[2], "bank=> ") {
			statement, output, ok := strings.Cut(shown, ";\n")
			if !ok {
				continue
			}
			statements++
			transcript(t, app, statement, output)
		}
	}
	if statements < 15 {
		t.Errorf("the transcript has only %d statements", statements)
	}
}

// transcript runs a statement and looks that every value and every error it gives is shown, and the other way round.
func transcript(t *testing.T, c *pgx.Conn, statement, output string) {
	t.Helper()
	results, err := c.PgConn().Exec(t.Context(), statement).ReadAll()
	var refused *pgconn.PgError
	wanted := regexp.MustCompile(`ERROR:  (\w{5}): ([^\n]*)`).FindStringSubmatch(output)
	switch {
	case wanted != nil:
		if !errors.As(err, &refused) || refused.Code != wanted[1] || refused.Message != wanted[2] {
			t.Errorf("%s: %v, shown is %s", statement, err, wanted[0])
		}
		return
	case err != nil:
		t.Errorf("%s: %v", statement, err)
		return
	}
	for _, r := range results {
		for _, row := range r.Rows {
			for i, value := range row {
				if !strings.Contains(output, string(value)) {
					t.Errorf("%s: %s is %q, shown is:\n%s", statement, r.FieldDescriptions[i].Name, value, output)
				}
			}
		}
	}
}

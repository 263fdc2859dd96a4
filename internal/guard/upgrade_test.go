package guard_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"perdure/internal/guard"
	"perdure/internal/pgtest"
)

// firstVersion installs schema perdure as version 1 was.
func firstVersion(t *testing.T, agent *pgx.Conn) {
	t.Helper()
	tx, err := agent.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"schema/001.sql", "testdata/functions-1.sql", "testdata/roles-1.sql"} {
		sql, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), string(sql), pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if _, err := tx.Exec(t.Context(), "insert into perdure.version (version) values (1)"); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// shape is everything that an installation is made of, in lines: relations and types with their attributes, constraints, indexes, functions
// with their text, owners and rights. Names of leases, which are made as units are opened, are left out.
func shape(t *testing.T, c *pgx.Conn) []string {
	t.Helper()
	rows, err := c.Query(t.Context(), `
		select format('%s %s %s %s %s', c.relkind, c.relpersistence, c.relname, pg_get_userbyid(c.relowner), c.relacl) from pg_class c
			where c.relnamespace = 'perdure'::regnamespace and c.relname not like 'lease\_%'
		union all select format('%s.%s %s %s %s %s', c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
				(select pg_get_expr(d.adbin, d.adrelid) from pg_attrdef d where d.adrelid = c.oid and d.adnum = a.attnum))
			from pg_attribute a join pg_class c on c.oid = a.attrelid
			where c.relnamespace = 'perdure'::regnamespace and c.relkind in ('r', 'v', 'c') and a.attnum > 0 and not a.attisdropped
		union all select format('%s %s', n.conname, pg_get_constraintdef(n.oid)) from pg_constraint n where n.connamespace = 'perdure'::regnamespace
		union all select indexdef from pg_indexes where schemaname = 'perdure'
		union all select format('%s %s %s', pg_get_functiondef(p.oid), pg_get_userbyid(p.proowner), p.proacl) from pg_proc p
			where p.pronamespace = 'perdure'::regnamespace
		union all select format('version %s', max(version)) from perdure.version
		order by 1`)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

const payment = `create function pay(r perdure.request) returns perdure.answer language plpgsql volatile as $$
declare
  a perdure.answer := perdure.once(r);
begin
  if a.status is not null then
    return a;
  end if;
  update account set balance = balance - 10;
  return perdure.settle(r, 201, 'text/plain', 'paid', array['a'], 10);
end $$`

// TestGuardIsUpgradedInPlace: what was recorded stays, business functions and sessions of before go on, and the outcome is what a new
// installation is.
func TestGuardIsUpgradedInPlace(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{})
	agent := s.Connect()
	firstVersion(t, agent)
	mustExec(t, agent, guard.SessionSQL)
	business(t, agent, true)
	mustExec(t, agent, payment)
	mustExec(t, agent, guard.OpenSQL, []string{"u1"}, 1, "ab12", 1, "u1-a")
	app := s.ConnectAs("perdure_app")
	pay := func(request string) (outcome, refusal string) {
		t.Helper()
		err := app.QueryRow(t.Context(), "select outcome from pay("+request+")", pgx.QueryExecModeSimpleProtocol).Scan(&outcome)
		if err != nil && refusedWith(err) == "" {
			t.Fatal(err)
		}
		return outcome, refusedWith(err)
	}
	row := func(key, more string) string {
		return "row('u1', 1, 'teller', 'a', '" + key + "', sha256('10')" + more + ")::perdure.request"
	}
	// byName is a request that either version takes.
	byName := func(key string) string {
		return `jsonb_populate_record(null::perdure.request, jsonb_build_object('unit', 'u1', 'slot', 1, 'caller', 'teller', 'routing_key', 'a', 'key', '` + key + `', 'hash', sha256('10')))`
	}
	for _, request := range []string{row("k1", ""), byName("k2")} {
		if outcome, refusal := pay(request); outcome != "committed" || refusal != "" {
			t.Fatal("version 1 does not work:", outcome, refusal)
		}
	}

	findings, err := guard.Verify(t.Context(), agent)
	if err != nil || len(findings) != 1 || findings[0].Check != "guard-version" || !findings[0].Fatal || !strings.Contains(findings[0].Problem, "version 1") ||
		!strings.Contains(findings[0].Fix, "perdure guard install") {
		t.Fatalf("version 1 is not named: %+v, %v", findings, err)
	}
	if err := guard.Install(t.Context(), agent); err != nil {
		t.Fatal(err)
	}
	if v, err := guard.InstalledVersion(t.Context(), agent); err != nil || v != guard.Version {
		t.Fatalf("version %d, %v", v, err)
	}
	if findings, err := guard.Verify(t.Context(), agent); err != nil || len(findings) != 0 {
		t.Errorf("after the upgrade: %+v, %v", findings, err)
	}

	// The unit was open all the time, and the application's session is the one of before.
	for _, request := range []string{row("k1", ", null"), byName("k2")} {
		if outcome, refusal := pay(request); outcome != "replayed" || refusal != "" {
			t.Errorf("what version 1 recorded: %s %s", outcome, refusal)
		}
	}
	for _, request := range []string{row("k3", ", now()"), byName("k4")} {
		if outcome, refusal := pay(request); outcome != "committed" || refusal != "" {
			t.Errorf("a new request: %s %s", outcome, refusal)
		}
	}
	if _, refusal := pay(row("k5", ", now() - interval '30 days'")); refusal != guard.KeyTooOld {
		t.Errorf("the new attribute is not looked at: %q", refusal)
	}
	if _, refusal := pay(row("k6", "")); refusal != "42846" { // docs/operations/services.md says so
		t.Errorf("a row of version 1: %q", refusal)
	}
	if n := balance(t, agent); n != 60 {
		t.Errorf("balance %d", n)
	}

	upgraded := shape(t, agent)
	if err := guard.Install(t.Context(), agent); err != nil {
		t.Fatal(err)
	}
	if again := shape(t, agent); !slices.Equal(again, upgraded) {
		t.Errorf("the second installation changes %q", difference(again, upgraded))
	}

	mustExec(t, agent, "create database fresh")
	fresh, err := pgx.Connect(t.Context(), s.URLFor("postgres", "fresh"))
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close(t.Context())
	if err := guard.Install(t.Context(), fresh); err != nil {
		t.Fatal(err)
	}
	if made := shape(t, fresh); !slices.Equal(made, upgraded) {
		t.Errorf("a new installation differs in %q from an upgraded one", difference(made, upgraded))
	}
}

// difference gives the lines that only one of them has.
func difference(a, b []string) (out []string) {
	for _, l := range a {
		if !slices.Contains(b, l) {
			out = append(out, "+ "+l)
		}
	}
	for _, l := range b {
		if !slices.Contains(a, l) {
			out = append(out, "- "+l)
		}
	}
	return out
}

// TestNewerGuardIsLeftAlone: an older program neither works with it nor takes it back.
func TestNewerGuardIsLeftAlone(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{})
	agent := install(t, s)
	mustExec(t, agent, "insert into perdure.version (version) values ($1)", guard.Version+1)
	if err := guard.Install(t.Context(), agent); err == nil || !strings.Contains(err.Error(), "use the newer program") {
		t.Errorf("installed: %v", err)
	}
	findings, err := guard.Verify(t.Context(), agent)
	if err != nil || len(findings) != 1 || findings[0].Check != "guard-version" {
		t.Errorf("%+v, %v", findings, err)
	}
}

package postgres

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
)

// customers are what the tests mask: a table with all that makes it hard.
const customers = `
	create domain public.phone as varchar(20) check (value <> 'never');
	create table public.customer (id text primary key, name text not null, phone public.phone, mail varchar(40) unique, paper text, note text, balance numeric, loud text generated always as (upper(name)) stored);
	create table public.visit (n int primary key, customer text references public.customer, name text);
	insert into public.customer (id, name, phone, mail, paper, note, balance) values
		('c-1', 'Chen Wei', '13800001111', 'chen@a.example', 'P1', 'gone', -12.50),
		('c-2', 'Li Na', '13900002222', 'li@a.example', 'P2', '=1+1', 7),
		('c-3', 'Chen Wei', '12345', 'chen2@a.example', null, null, null),
		('c-4', 'Wu', '', null, 'P4', 'kept', 1);
	insert into public.visit values (1, 'c-2', 'Chen Wei'), (2, 'c-1', 'Wu');
	create function public.veto() returns trigger language plpgsql as $$ begin raise exception 'the masked value of % is refused', old.name; end $$;
	create trigger veto before update on public.customer for each row execute function public.veto();
	grant select on public.customer to public`

func masks(list ...string) []estate.Mask {
	var out []estate.Mask
	for _, word := range list {
		f := strings.Split(word, " ")
		m := estate.Mask{Table: "public." + f[0], Column: f[1], As: estate.MaskKind(f[2])}
		if m.As == estate.MaskFixed {
			m.Text = "gone"
		}
		out = append(out, m)
	}
	return out
}

// opened is a copy with an open sandbox of run r1, whose data has customers.
func opened(t *testing.T) *member {
	t.Helper()
	owner, replica := sandboxed(t)
	owner.admin(customers)
	owner.admin(`alter database ` + owner.o.Database + ` set log_statement = 'all'`)
	owner.paid("after") // the copy has all of it
	_, err := replica.CloneSandbox(replica.ctx(), "r1", time.Hour, nil)
	replica.must(err)
	_, err = replica.OpenSandbox(replica.ctx(), "r1", []string{"test-1"})
	replica.must(err)
	return replica
}

// inside reads one value in the sandbox, past everything.
func (m *member) inside(sql string) (out string) {
	m.t.Helper()
	conn, err := m.connect(m.ctx(), m.sandboxSocket(), m.o.Database, "test")
	m.must(err)
	defer conn.Close(m.ctx())
	m.must(conn.QueryRow(m.ctx(), sql).Scan(&out))
	return out
}

func (m *member) changeInside(sql string) {
	m.t.Helper()
	conn, err := m.connect(m.ctx(), m.sandboxSocket(), m.o.Database, "test")
	m.must(err)
	defer conn.Close(m.ctx())
	_, err = conn.Exec(m.ctx(), sql)
	m.must(err)
}

func texts(rows [][]*string) (out [][]string) {
	for _, row := range rows {
		var line []string
		for _, cell := range row {
			if cell == nil {
				line = append(line, "NULL")
			} else {
				line = append(line, *cell)
			}
		}
		out = append(out, line)
	}
	return out
}

const everyName = `select string_agg(name, ',' order by id) from public.customer`

func TestSandboxIsMaskedAsDeclaredAndShownOnlyThen(t *testing.T) {
	m := opened(t)
	all := masks("customer name hash", "customer phone last4", "customer paper empty", "customer note fixed", "visit name hash")
	show := []estate.Showing{{Table: "public.customer", Columns: []string{"id", "name", "phone", "paper", "note", "balance"}, Plain: []string{"id", "balance"}, Rows: 3}}
	if _, err := m.ShowSandbox(m.ctx(), "r1", all, show); errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), "not all that is declared was masked") {
		t.Fatalf("shown unmasked: %v", err)
	}
	before := m.inside(everyName)
	want := driver.SandboxMasked{Tables: 2, Columns: 5, Rows: 6, Values: 4 + 4 + 3 + 3 + 2}
	for range 2 { // by an agent that lost the answer, too
		got, err := m.MaskSandbox(m.ctx(), "r1", all)
		m.must(err)
		if got != want {
			t.Errorf("masked %+v, want %+v", got, want)
		}
		m.releaseDriver()
		m.attachDriver()
	}
	after := m.inside(everyName)
	names := strings.Split(after, ",")
	if before != "Chen Wei,Li Na,Chen Wei,Wu" || names[0] != names[2] || names[0] == names[1] || len(names[0]) != pseudonym {
		t.Errorf("names were %s, are %s", before, after)
	}
	if got := m.inside(`select name from public.visit where n = 1`); got != names[0] {
		t.Errorf("Chen Wei is %s in one table and %s in another one", names[0], got)
	}
	if got := m.inside(`select loud from public.customer where id = 'c-1'`); got != strings.ToUpper(names[0]) {
		t.Errorf("what is generated from a masked column is %s", got)
	}
	out, err := m.ShowSandbox(m.ctx(), "r1", all, show)
	m.must(err)
	if diff := cmp.Diff([][]string{
		{"c-1", names[0], "*******1111", "NULL", "gone", "-12.50"}, {"c-2", names[1], "*******2222", "NULL", "gone", "7"}, {"c-3", names[2], "*****", "NULL", "NULL", "NULL"},
	}, texts(out[0].Rows)); len(out) != 1 || diff != "" {
		t.Errorf("shown: %s", diff)
	}
	log, err := os.ReadFile(filepath.Join(m.opts.RunDir, "log", "sandbox.log"))
	m.must(err)
	if text := string(log); !strings.Contains(text, "session_replication_role") || strings.Contains(text, "gone") || strings.Contains(text, "Chen Wei") {
		t.Errorf("the log of the sandbox has what was masked, or nothing at all:\n%s", text)
	}
	// What is declared otherwise meanwhile was not done here.
	more := append(slices.Clone(all), masks("customer mail hash")...)
	if _, err := m.ShowSandbox(m.ctx(), "r1", more, show); errs.KindOf(err) != errs.Refused {
		t.Errorf("shown with a mask that was not done: %v", err)
	}
	if _, err := m.MaskSandbox(m.ctx(), "r1", more); errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), "clone it anew") {
		t.Errorf("masked twice, otherwise: %v", err)
	}
	if _, err := m.TransactSandbox(m.ctx(), "r1", driver.SandboxTest{Unit: "u1", Accounts: []string{"test-1"}, Transaction: "select 200"}); errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), "they come before the masks") {
		t.Errorf("a transaction after the masks: %v", err)
	}
	if _, err := m.VerifySandbox(m.ctx(), "r1", ""); err != nil {
		t.Errorf("verified afterwards: %v", err)
	}
	// Another sandbox has another key.
	m.must(m.DiscardSandbox(m.ctx(), "r1"))
	_, err = m.CloneSandbox(m.ctx(), "r2", time.Hour, nil)
	m.must(err)
	_, err = m.OpenSandbox(m.ctx(), "r2", nil)
	m.must(err)
	if _, err := m.MaskSandbox(m.ctx(), "r2", all); err != nil || m.inside(everyName) == after {
		t.Errorf("pseudonyms are those of another sandbox: %v", err)
	}
}

// What puts a value back is found, and a sandbox whose masks were cut short is masked from the beginning.
func TestHalfMaskedSandboxIsNever(t *testing.T) {
	m := opened(t)
	all := masks("visit name hash", "customer name hash")
	show := []estate.Showing{{Table: "public.customer", Columns: []string{"name"}, Rows: 1}}
	before := m.inside(everyName)
	untouched := func(what string) {
		t.Helper()
		if got := m.inside(everyName); got != before {
			t.Errorf("%s: names are %s", what, got)
		}
		if got := m.inside(`select name from public.visit where n = 2`); got != "Wu" {
			t.Errorf("%s: the first table is masked, the second one is not: %s", what, got)
		}
		if _, err := m.ShowSandbox(m.ctx(), "r1", all, show); errs.KindOf(err) != errs.Refused {
			t.Errorf("%s: shown: %v", what, err)
		}
	}
	back := func(when, how string) string {
		return `create or replace function public.back() returns trigger language plpgsql as $$ begin ` + how + ` end $$;
			drop trigger if exists back on public.customer; ` + when + ` on public.customer deferrable initially deferred for each row execute function public.back(); alter table public.customer enable always trigger back`
	}
	for what, sql := range map[string]string{
		"before": strings.Replace(back(`create trigger back before update`, `if old.name = 'Wu' then new.name := old.name; end if; return new;`), "deferrable initially deferred", "", 1),
		"after":  back(`create constraint trigger back after update`, `if old.name = 'Wu' and new.name <> 'Wu' then update public.customer c set name = old.name where c.id = old.id; end if; return null;`),
	} {
		m.changeInside(sql)
		_, err := m.MaskSandbox(m.ctx(), "r1", all)
		if errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), "public.customer.name is not masked: 1 rows still have a value of before") {
			t.Errorf("%s: %v", what, err)
		}
		untouched(what)
	}
	m.changeInside(`drop trigger back on public.customer; create function public.slow() returns trigger language plpgsql as $$ begin perform pg_sleep(30); return new; end $$;
		create trigger slow before update on public.customer for each row execute function public.slow(); alter table public.customer enable always trigger slow`)
	cut, cancel := context.WithTimeout(m.ctx(), time.Second)
	defer cancel()
	if _, err := m.MaskSandbox(cut, "r1", all); err == nil {
		t.Error("it was not cut short")
	}
	m.releaseDriver()
	m.attachDriver()
	untouched("cut short")
	m.changeInside(`drop trigger slow on public.customer`)
	if _, err := m.MaskSandbox(m.ctx(), "r1", all); err != nil || m.inside(everyName) == before {
		t.Errorf("after it was cut short: %v", err)
	}
}

func TestMaskThatWouldBreakTheDataIsRefused(t *testing.T) {
	m := opened(t)
	m.changeInside(`create view public.everybody as select * from public.customer; alter table public.customer add constraint named check (name !~ '^[0-9a-f]{32}$')`)
	before := m.inside(everyName)
	for _, c := range []struct {
		masks []string
		want  string
	}{
		{[]string{"nobody name hash"}, "there is no table public.nobody"},
		{[]string{"everybody name hash"}, "public.everybody is no table"},
		{[]string{"customer surname hash"}, "public.customer has no column surname"},
		{[]string{`customer name"='x hash`}, `has no column name"='x`},
		{[]string{"customer loud hash"}, "it is generated from other columns"},
		{[]string{"customer name empty"}, "it may not be null"},
		{[]string{"customer balance hash"}, "it is of type numeric, and only text is masked so"},
		{[]string{"customer mail last4"}, "it is part of a unique key"},
		{[]string{"customer mail fixed"}, "it is part of a unique key"},
		{[]string{"customer phone hash"}, "it holds 20 characters, a pseudonym has 32"},
		{[]string{"customer id hash"}, "foreign key visit_customer_fkey ties it to public.visit.customer"},
		{[]string{"visit customer hash"}, "foreign key visit_customer_fkey ties it to public.customer.id"},
		{[]string{"visit customer fixed"}, "so both have to be masked as hash"},
		{[]string{"customer name shuffle"}, "there is no such kind of mask"},
		{[]string{"customer name hash"}, "nothing is masked (SQLSTATE 23514, constraint named)"},
	} {
		_, err := m.MaskSandbox(m.ctx(), "r1", masks(append(c.masks, "visit name hash")...))
		if k := errs.KindOf(err); k != errs.Refused || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v", c.masks, err)
		}
		if err != nil && (strings.Contains(err.Error(), "Chen") || strings.Contains(err.Error(), "Wu")) {
			t.Errorf("%v: the refusal tells a value: %v", c.masks, err)
		}
	}
	if _, err := m.MaskSandbox(m.ctx(), "r1", nil); errs.KindOf(err) != errs.Invalid {
		t.Errorf("nothing to be masked: %v", err)
	}
	if got := m.inside(everyName); got != before {
		t.Errorf("a refusal has changed %s", got)
	}
	// Both sides of a key, a key that is unique, and one that refers become pseudonyms or nothing.
	out, err := m.MaskSandbox(m.ctx(), "r1", masks("customer id hash", "visit customer hash", "customer mail hash"))
	if err != nil || out.Values != 4+2+3 || m.inside(`select count(*)::text from public.visit v join public.customer c on c.id = v.customer`) != "2" {
		t.Errorf("keys: %+v, %v", out, err)
	}
}

func TestOnlyWhatIsMaskedOrNamedAsPlainIsShown(t *testing.T) {
	m := opened(t)
	m.changeInside(`create table public.heap (a text); create table public.long (id int primary key, a text); insert into public.long select i, repeat('x', 2000) from generate_series(1, 600) i`)
	for _, c := range []struct {
		show estate.Showing
		want string
	}{
		{estate.Showing{Table: "public.customer", Columns: []string{"id", "name"}, Plain: []string{"id"}, Rows: 1}, "public.customer.name is not shown: it has to be masked, or named as plain"},
		{estate.Showing{Table: "public.customer", Columns: []string{"nobody"}, Plain: []string{"nobody"}, Rows: 1}, "it has no column nobody"},
		{estate.Showing{Table: "public.nothing", Columns: []string{"a"}, Plain: []string{"a"}, Rows: 1}, "there is no such table"},
		{estate.Showing{Table: "public.heap", Columns: []string{"a"}, Plain: []string{"a"}, Rows: 1}, "it has no primary key"},
		{estate.Showing{Table: "public.long", Columns: []string{"a"}, Plain: []string{"a"}, Rows: 600}, "more than 160 KiB at public.long"},
	} {
		if _, err := m.ShowSandbox(m.ctx(), "r1", nil, []estate.Showing{c.show}); errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.show, err)
		}
	}
	out, err := m.ShowSandbox(m.ctx(), "r1", nil, []estate.Showing{{Table: "public.long", Columns: []string{"id", "a"}, Plain: []string{"a", "id"}, Rows: 2}})
	m.must(err)
	if got := texts(out[0].Rows); len(got) != 2 || got[0][0]+got[1][0] != "12" || got[1][1] != strings.Repeat("x", mostCell)+"…" {
		t.Errorf("%d rows, the last one is %.20s", len(got), got[len(got)-1])
	}
	if _, err := m.ShowSandbox(m.ctx(), "r2", nil, nil); err == nil || !strings.Contains(err.Error(), "no sandbox of run r2") {
		t.Errorf("of another run: %v", err)
	}
}

package postgres

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
)

const (
	// maskRoom is what has to be free beside four times the tables: they are written anew, with the log of that and what was there before to compare with.
	maskRoom = 128 << 20
	// maskTimeout bounds each statement that masks or proves.
	maskTimeout = "1h"
	// pseudonym is the length of what a value becomes by kind hash, in characters.
	pseudonym = 32
	// leastTail is how long a value has to be for its last four characters to stay, by kind last4.
	leastTail = 8
)

// identifier quotes SCHEMA.TABLE. What it is made of is names: no text of a manifest stands in a statement otherwise.
func identifier(table string) (string, error) {
	schema, name, ok := strings.Cut(table, ".")
	if !ok || schema == "" || name == "" || strings.Contains(name, ".") {
		return "", errs.New(errs.Invalid, "%q is no table: SCHEMA.TABLE", table)
	}
	return pgx.Identifier{schema, name}.Sanitize(), nil
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }

// declared is how masks stand in the sandbox that they were done in.
func declared(masks []estate.Mask) (string, error) {
	masks = slices.Clone(masks)
	slices.SortFunc(masks, func(a, b estate.Mask) int {
		return strings.Compare(a.Table+"\x00"+a.Column, b.Table+"\x00"+b.Column)
	})
	text, err := json.Marshal(masks)
	return string(text), err
}

// MaskSandbox does everything in one transaction, so no sandbox is ever masked by halves: an agent that is killed over it leaves what was there before.
// What it wrote says in the sandbox itself that it was done. The key of pseudonyms is made here, and is gone when it returns.
func (d *Database) MaskSandbox(ctx context.Context, run string, masks []estate.Mask) (out driver.SandboxMasked, err error) {
	done, err := d.sandboxing(ctx)
	if err != nil {
		return out, err
	}
	defer done()
	if _, err := d.ownSandbox(run, driver.SandboxOpen); err != nil {
		return out, err
	}
	if len(masks) == 0 {
		return out, errs.New(errs.Invalid, "nothing is declared that would be masked in the sandbox of %s", d.o.Member)
	}
	text, err := declared(masks)
	if err != nil {
		return out, err
	}
	err = d.inSandbox(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		was, before, err := maskedIn(ctx, conn)
		switch {
		case err != nil:
			return failed(err, "cannot look whether the sandbox of %s is masked", d.o.Member)
		case was == text:
			out = before
			return nil
		case was != "":
			return errs.New(errs.Refused, "the sandbox of %s was masked as it was declared before, and values that are gone cannot be masked otherwise: clone it anew", d.o.Member)
		}
		columns, err := d.maskable(ctx, conn, masks)
		if err != nil {
			return err
		}
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			out, err = maskIn(ctx, tx, columns)
			if err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `insert into `+sandboxSchema+`.masked (declared, tables, columns, rows, "values") values ($1, $2, $3, $4, $5)`, text, out.Tables, out.Columns, out.Rows, out.Values)
			return failed(err, "cannot write down that the sandbox of %s is masked", d.o.Member)
		})
	})
	if err != nil {
		return driver.SandboxMasked{}, err
	}
	return out, nil
}

// maskedIn says which masks were done in a sandbox, and what came of it; empty: none.
func maskedIn(ctx context.Context, conn interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
},
) (text string, out driver.SandboxMasked, err error) {
	var there bool
	if err := conn.QueryRow(ctx, `select to_regclass($1) is not null`, sandboxSchema+".masked").Scan(&there); err != nil || !there {
		return "", out, err
	}
	err = conn.QueryRow(ctx, `select declared, tables, columns, rows, "values" from `+sandboxSchema+`.masked`).Scan(&text, &out.Tables, &out.Columns, &out.Rows, &out.Values)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", out, nil
	}
	return text, out, err
}

// column is one that is masked, as the database has it.
type column struct {
	estate.Mask
	// textual: its values are text, at most so many characters where limit is not 0.
	textual bool
	limit   int
}

// maskable looks whether the declared columns are there and can be masked so, and whether there is room for it.
func (d *Database) maskable(ctx context.Context, conn *pgx.Conn, masks []estate.Mask) ([]column, error) {
	var out []column
	var bytes int64
	seen := map[string]bool{}
	for _, m := range masks {
		c, size, err := maskableColumn(ctx, conn, m)
		if err != nil {
			return nil, failed(err, "cannot look at %s.%s in the sandbox of %s", m.Table, m.Column, d.o.Member)
		}
		if err := checkKeys(ctx, conn, m, masks); err != nil {
			return nil, failed(err, "cannot look at the keys of %s in the sandbox of %s", m.Table, d.o.Member)
		}
		if !seen[m.Table] {
			bytes += size
		}
		seen[m.Table] = true
		out = append(out, c)
	}
	if free, need := d.free(), uint64(4*bytes+maskRoom); free < need {
		return nil, errs.New(errs.Refused, "cannot mask the sandbox of %s: %d MB are free, %d MB are needed for what is written anew", d.o.Member, free>>20, need>>20)
	}
	return out, nil
}

// maskableColumn refuses a column that a mask of its kind would break, or could not change. size is that of its table with all that belongs to it.
func maskableColumn(ctx context.Context, conn *pgx.Conn, m estate.Mask) (c column, size int64, err error) {
	table, err := identifier(m.Table)
	if err != nil {
		return c, 0, err
	}
	cannot := func(format string, args ...any) error {
		return errs.New(errs.Refused, "cannot mask %s.%s as %s: %s", m.Table, m.Column, m.As, fmt.Sprintf(format, args...))
	}
	c.Mask = m
	var relation, kind, generated, name string
	var notNull, unique, excluded bool
	err = conn.QueryRow(ctx, `
		with recursive base (oid, basetype, mod, required) as (
			select t.oid, t.typbasetype, a.atttypmod, a.attnotnull or t.typnotnull from pg_attribute a join pg_type t on t.oid = a.atttypid
				where a.attrelid = to_regclass($1) and a.attname = $2 and a.attnum > 0 and not a.attisdropped
			union all
			select t.oid, t.typbasetype, case when d.typtypmod >= 0 then d.typtypmod else b.mod end, b.required or t.typnotnull
				from base b join pg_type d on d.oid = b.oid join pg_type t on t.oid = b.basetype)
		select coalesce(r.relkind::text, ''), coalesce(a.attname::text, ''), coalesce(a.attgenerated::text, ''),
			coalesce((select bool_or(required) from base), false),
			coalesce((select t.typcategory = 'S' from base b join pg_type t on t.oid = b.oid where b.basetype = 0), false),
			coalesce((select greatest(b.mod - 4, 0) from base b join pg_type t on t.oid = b.oid where b.basetype = 0 and t.typname in ('varchar', 'bpchar')), 0),
			coalesce((select format_type(a.atttypid, a.atttypmod)), ''),
			exists (select from pg_index i where i.indrelid = r.oid and a.attnum = any (i.indkey) and i.indisunique),
			exists (select from pg_index i where i.indrelid = r.oid and a.attnum = any (i.indkey) and i.indisexclusion),
			coalesce(pg_total_relation_size(r.oid), 0) + coalesce((select sum(pg_total_relation_size(p.relid))::bigint from pg_partition_tree(r.oid) p where p.relid <> r.oid), 0)
		from (select to_regclass($1) as oid) w left join pg_class r on r.oid = w.oid
		left join pg_attribute a on a.attrelid = r.oid and a.attname = $2 and a.attnum > 0 and not a.attisdropped`, table, m.Column).
		Scan(&relation, &name, &generated, &notNull, &c.textual, &c.limit, &kind, &unique, &excluded, &size)
	switch {
	case err != nil:
		return c, 0, err
	case relation == "":
		return c, 0, cannot("there is no table %s", m.Table)
	case relation != "r" && relation != "p":
		return c, 0, cannot("%s is no table", m.Table)
	case name == "":
		return c, 0, cannot("%s has no column %s", m.Table, m.Column)
	case generated != "":
		return c, 0, cannot("it is generated from other columns: mask those")
	case m.As == estate.MaskEmpty && notNull:
		return c, 0, cannot("it may not be null: use hash, fixed or last4")
	case m.As != estate.MaskEmpty && !c.textual:
		return c, 0, cannot("it is of type %s, and only text is masked so: use empty", kind)
	case unique && (m.As == estate.MaskFixed || m.As == estate.MaskLast4):
		return c, 0, cannot("it is part of a unique key: use hash, which keeps different values different")
	case excluded && m.As != estate.MaskEmpty:
		return c, 0, cannot("it is part of an exclusion constraint")
	case m.As == estate.MaskHash && c.limit != 0 && c.limit < pseudonym:
		return c, 0, cannot("it holds %d characters, a pseudonym has %d", c.limit, pseudonym)
	case m.As == estate.MaskFixed && c.limit != 0 && c.limit < len([]rune(m.Text)):
		return c, 0, cannot("it holds %d characters, the text has more", c.limit)
	}
	switch m.As {
	case estate.MaskHash, estate.MaskEmpty, estate.MaskFixed, estate.MaskLast4:
		return c, size, nil
	}
	return c, 0, cannot("there is no such kind of mask")
}

// checkKeys refuses a mask of one side of a foreign key that parts it from the other one: both become pseudonyms, or the one that refers becomes nothing.
func checkKeys(ctx context.Context, conn *pgx.Conn, m estate.Mask, masks []estate.Mask) error {
	table, err := identifier(m.Table)
	if err != nil {
		return err
	}
	rows, err := conn.Query(ctx, `
		select c.conname::text, refers, n.nspname || '.' || r.relname, o.attname::text
		from (select c.conname, true as refers, c.confrelid as other, k.theirs as attnum from pg_constraint c, unnest(c.conkey, c.confkey) k (mine, theirs)
				where c.contype = 'f' and c.conrelid = to_regclass($1) and k.mine = (select attnum from pg_attribute where attrelid = c.conrelid and attname = $2)
			union all
			select c.conname, false, c.conrelid, k.mine from pg_constraint c, unnest(c.conkey, c.confkey) k (mine, theirs)
				where c.contype = 'f' and c.confrelid = to_regclass($1) and k.theirs = (select attnum from pg_attribute where attrelid = c.confrelid and attname = $2)) c
		join pg_class r on r.oid = c.other join pg_namespace n on n.oid = r.relnamespace
		join pg_attribute o on o.attrelid = c.other and o.attnum = c.attnum`, table, m.Column)
	if err != nil {
		return err
	}
	type key struct {
		Name, Table, Column string
		Refers              bool
	}
	keys, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (k key, err error) {
		err = row.Scan(&k.Name, &k.Refers, &k.Table, &k.Column)
		return k, err
	})
	if err != nil {
		return err
	}
	for _, k := range keys {
		both := m.As == estate.MaskHash && slices.ContainsFunc(masks, func(o estate.Mask) bool {
			return o.Table == k.Table && o.Column == k.Column && o.As == estate.MaskHash
		})
		if !both && (m.As != estate.MaskEmpty || !k.Refers) {
			return errs.New(errs.Refused, "cannot mask %s.%s as %s: foreign key %s ties it to %s.%s, so both have to be masked as hash", m.Table, m.Column, m.As, k.Name, k.Table, k.Column)
		}
	}
	return nil
}

// maskIn overwrites the columns, and counts what is left of before.
func maskIn(ctx context.Context, tx pgx.Tx, columns []column) (out driver.SandboxMasked, err error) {
	for _, statement := range []string{
		// Triggers and rules of the application neither veto it nor write down what is masked; foreign keys were looked at before.
		`set local session_replication_role = replica`,
		`set local synchronous_commit = on`, `set local statement_timeout = '` + maskTimeout + `'`,
		// Neither the key nor a value comes into the log of the server.
		`set local log_statement = 'none'`, `set local log_duration = off`, `set local log_min_duration_statement = -1`, `set local log_min_duration_sample = -1`, `set local log_transaction_sample_rate = 0`,
		`set local log_min_error_statement = panic`, `set local log_parameter_max_length = 0`, `set local log_parameter_max_length_on_error = 0`, `set local log_error_verbosity = terse`,
		`create schema if not exists ` + sandboxSchema,
		`create table if not exists ` + sandboxSchema + `.masked (one boolean primary key default true check (one), declared text not null, tables bigint not null, columns bigint not null,
			rows bigint not null, "values" bigint not null, at timestamptz not null default now())`,
	} {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return out, failed(err, "cannot begin to mask a sandbox")
		}
	}
	var key [64]byte // a block of SHA-256; it is kept nowhere
	if _, err := rand.Read(key[:]); err != nil {
		return out, err
	}
	for table, of := range tablesOf(columns) {
		n, err := maskTable(ctx, tx, key, table, of)
		if err != nil {
			return out, err
		}
		out.Tables++
		out.Columns += int64(len(of))
		out.Rows += n.rows
		out.Values += n.values
	}
	return out, nil
}

// tablesOf gives the columns of each table, in the order in which they are declared.
func tablesOf(columns []column) func(func(string, []column) bool) {
	return func(yield func(string, []column) bool) {
		var tables []string
		for _, c := range columns {
			if !slices.Contains(tables, c.Table) {
				tables = append(tables, c.Table)
			}
		}
		for _, t := range tables {
			if !yield(t, slices.DeleteFunc(slices.Clone(columns), func(c column) bool { return c.Table != t })) {
				return
			}
		}
	}
}

type maskCount struct{ rows, values int64 }

// maskTable overwrites the columns of a table in one statement. What is there is compared with what was there before by a look of its own: what puts a
// value back is found, whatever it is.
func maskTable(ctx context.Context, tx pgx.Tx, key [64]byte, name string, columns []column) (n maskCount, err error) {
	table, err := identifier(name)
	if err != nil {
		return n, err
	}
	var inner, outer [64]byte // HMAC of RFC 2104
	for i, b := range key {
		inner[i], outer[i] = b^0x36, b^0x5c
	}
	var sets, where []string
	var args []any
	for i, c := range columns {
		col := quoted(c.Column)
		var value string
		switch c.As {
		case estate.MaskHash:
			args = append(args, inner[:], outer[:])
			value = fmt.Sprintf(`left(encode(sha256($%d::bytea || sha256($%d::bytea || convert_to(%s::text, 'UTF8'))), 'hex'), %d)`, len(args), len(args)-1, col, pseudonym)
		case estate.MaskEmpty:
			value = "null"
		case estate.MaskFixed:
			args = append(args, c.Text)
			value = fmt.Sprintf(`case when %s is not null then $%d::text end`, col, len(args))
		case estate.MaskLast4:
			value = fmt.Sprintf(`case when char_length(%[1]s::text) < %[2]d then repeat('*', char_length(%[1]s::text)) else repeat('*', char_length(%[1]s::text) - 4) || right(%[1]s::text, 4) end`, col, leastTail)
		}
		sets, where = append(sets, col+" = "+value), append(where, col+" is not null")
		var values int64
		if err := tx.QueryRow(ctx, fmt.Sprintf(`select count(%s) from %s`, col, table)).Scan(&values); err != nil {
			return n, notMasked(err, name)
		}
		n.values += values
		if c.As == estate.MaskEmpty {
			continue
		}
		statement := fmt.Sprintf(`create temp table perdure_was_%d on commit drop as select distinct %s::text collate "C" as v from %s where %[2]s is not null`, i, col, table)
		if _, err := tx.Exec(ctx, `drop table if exists pg_temp.perdure_was_`+fmt.Sprint(i)); err != nil {
			return n, failed(err, "cannot begin to mask %s", name)
		}
		if _, err := tx.Exec(ctx, statement); err != nil {
			return n, notMasked(err, name)
		}
	}
	done, err := tx.Exec(ctx, fmt.Sprintf(`update %s set %s where %s`, table, strings.Join(sets, ", "), strings.Join(where, " or ")), args...)
	if err != nil {
		return n, notMasked(err, name)
	}
	n.rows = done.RowsAffected()
	if _, err := tx.Exec(ctx, `set constraints all immediate`); err != nil { // what waits for the end could still put a value back
		return n, notMasked(err, name)
	}
	for i, c := range columns {
		left, err := leftOf(ctx, tx, table, i, c)
		if err != nil {
			return n, notMasked(err, name)
		}
		if left > 0 {
			return n, errs.New(errs.Refused, "%s.%s is not masked: %d rows still have a value of before, so all is left as it was; look for triggers that are enabled always", name, c.Column, left)
		}
	}
	return n, nil
}

// leftOf counts the rows of a column whose value is one of those of before, and is not what its mask makes of every value.
func leftOf(ctx context.Context, tx pgx.Tx, table string, i int, c column) (left int64, err error) {
	col := quoted(c.Column)
	var masked string
	var args []any
	switch c.As {
	case estate.MaskEmpty:
		err = tx.QueryRow(ctx, fmt.Sprintf(`select count(%s) from %s`, col, table)).Scan(&left)
		return left, err
	case estate.MaskHash:
		masked = "false"
	case estate.MaskFixed:
		masked, args = col+"::text = $1", []any{c.Text}
	case estate.MaskLast4:
		masked = fmt.Sprintf(`%s::text ~ '^(\**|\*{%d,}.{4})$'`, col, leastTail-4)
	}
	err = tx.QueryRow(ctx, fmt.Sprintf(`select count(*) from %s where %s is not null and %[2]s::text collate "C" in (select v from pg_temp.perdure_was_%d) and not (%s)`, table, col, i, masked), args...).Scan(&left)
	return left, err
}

// notMasked says why a table could not be masked, without the words of the server: they may have a value in them.
func notMasked(err error, table string) error {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return failed(err, "cannot mask %s", table)
	}
	kind, why := errs.Refused, "SQLSTATE "+server.Code
	if class := server.Code[:2]; class == "57" || class == "53" || class == "55" || class == "08" {
		kind = errs.Unavailable
	}
	if server.ConstraintName != "" {
		why += ", constraint " + server.ConstraintName
	}
	if server.ColumnName != "" {
		why += ", column " + server.ColumnName
	}
	return errs.New(kind, "cannot mask %s: the database refuses what a value becomes, and nothing is masked (%s)", table, why)
}

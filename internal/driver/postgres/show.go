package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
)

const (
	// mostShown bounds what is shown of a sandbox, in bytes as they travel: the controller reads answers of at most 256 KiB.
	mostShown = 160 << 10
	// mostCell bounds one value, in characters; longer ones end with an ellipsis.
	mostCell = 1000
)

// ShowSandbox reads all tables in one picture.
func (d *Database) ShowSandbox(ctx context.Context, run string, masks []estate.Mask, shows []estate.Showing) (out []driver.SandboxRows, err error) {
	done, err := d.sandboxing(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if _, err := d.ownSandbox(run, driver.SandboxOpen); err != nil {
		return nil, err
	}
	if len(shows) == 0 {
		return nil, errs.New(errs.Invalid, "nothing is declared that would be shown of the sandbox of %s", d.o.Member)
	}
	for _, s := range shows {
		if err := maskedOrPlain(s, masks); err != nil {
			return nil, err
		}
	}
	text, err := declared(masks)
	if err != nil {
		return nil, err
	}
	err = d.inSandbox(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			was, _, err := maskedIn(ctx, tx)
			if err != nil {
				return failed(err, "cannot look whether the sandbox of %s is masked", d.o.Member)
			}
			if len(masks) > 0 && was != text {
				return errs.New(errs.Refused, "the sandbox of %s is not shown: not all that is declared was masked in it", d.o.Member)
			}
			if _, err := tx.Exec(ctx, `set local statement_timeout = '`+judgeTimeout+`'`); err != nil {
				return failed(err, "cannot read the sandbox of %s", d.o.Member)
			}
			room := mostShown
			for _, s := range shows {
				rows, err := showTable(ctx, tx, s, &room)
				if err != nil {
					return failed(err, "cannot read %s in the sandbox of %s", s.Table, d.o.Member)
				}
				out = append(out, rows)
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// maskedOrPlain refuses a column of which nobody has said what becomes of it.
func maskedOrPlain(s estate.Showing, masks []estate.Mask) error {
	for _, c := range s.Columns {
		masked := slices.ContainsFunc(masks, func(m estate.Mask) bool { return m.Table == s.Table && m.Column == c })
		if masked == slices.Contains(s.Plain, c) {
			return errs.New(errs.Refused, "%s.%s is not shown: it has to be masked, or named as plain", s.Table, c)
		}
	}
	return nil
}

// showTable reads the first rows by the primary key. room is how many bytes are left for this table and those that follow.
func showTable(ctx context.Context, tx pgx.Tx, s estate.Showing, room *int) (driver.SandboxRows, error) {
	out := driver.SandboxRows{Table: s.Table, Columns: s.Columns}
	table, err := identifier(s.Table)
	if err != nil {
		return out, err
	}
	var kind string
	var missing, key []string
	err = tx.QueryRow(ctx, `
		select coalesce((select relkind::text from pg_class where oid = to_regclass($1)), ''),
			array(select x from unnest($2::text[]) x where not exists (select from pg_attribute a where a.attrelid = to_regclass($1) and a.attname = x and a.attnum > 0 and not a.attisdropped)),
			array(select a.attname::text from pg_index i, unnest(i.indkey) with ordinality k (attnum, place) join pg_attribute a on a.attnum = k.attnum
				where i.indrelid = to_regclass($1) and i.indisprimary and a.attrelid = i.indrelid and k.place <= i.indnkeyatts order by k.place)`, table, s.Columns).Scan(&kind, &missing, &key)
	switch {
	case err != nil:
		return out, err
	case kind != "r" && kind != "p":
		return out, errs.New(errs.Refused, "%s cannot be shown: there is no such table", s.Table)
	case len(missing) > 0:
		return out, errs.New(errs.Refused, "%s cannot be shown: it has no column %s", s.Table, strings.Join(missing, ", "))
	case len(key) == 0:
		return out, errs.New(errs.Refused, "%s cannot be shown: it has no primary key by which its rows have an order", s.Table)
	}
	var cells, order []string
	for _, c := range s.Columns {
		cells = append(cells, fmt.Sprintf(`case when char_length(%[1]s::text) > %[2]d then left(%[1]s::text, %[2]d) || '…' else %[1]s::text end`, quoted(c), mostCell))
	}
	for _, c := range key {
		order = append(order, "t."+quoted(c)) // a bare name is that of the shown text
	}
	rows, err := tx.Query(ctx, fmt.Sprintf(`select %s from %s t order by %s limit $1`, strings.Join(cells, ", "), table, strings.Join(order, ", ")), s.Rows)
	if err != nil {
		return out, err
	}
	defer rows.Close()
	for rows.Next() {
		row := make([]*string, len(s.Columns))
		into := make([]any, len(row))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return out, err
		}
		text, err := json.Marshal(row)
		if err != nil {
			return out, err
		}
		if *room -= len(text) + 1; *room < 0 {
			return out, errs.New(errs.Refused, "what would be shown has more than %d KiB at %s: declare fewer rows or columns", mostShown>>10, s.Table)
		}
		out.Rows = append(out.Rows, row)
	}
	return out, rows.Err()
}

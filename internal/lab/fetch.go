package lab

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/lab/story"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// shownDir is where what participants fetched stands in the lab's folder.
const shownDir = "shown"

// fetch has a participant fetch, with the commands and the rights that they have, all files of a unit that their inbox names, and looks into them.
func (r *running) fetch(ctx context.Context, binary string, out *story.Progress, a story.Fetch) error {
	files, err := r.namedIn(ctx, binary, a)
	if err := refused(err, a.Refused); err != nil || a.Refused != "" {
		return err
	}
	system, _ := r.plan.set.Unit(a.Unit)
	if system == nil {
		return errs.New(errs.NotFound, "the estate has no unit %s", a.Unit)
	}
	dir := filepath.Join(r.layout.Dir, shownDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return errs.New(errs.Unavailable, "cannot make a folder: %w", err)
	}
	member, err := r.database(ctx, string(a.Unit))
	if err != nil {
		return err
	}
	data, _ := r.layout.DataDir(member)
	text, err := connString(data)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, text)
	if err != nil {
		return errs.New(errs.Unavailable, "the database of %s cannot be read: %w", a.Unit, err)
	}
	defer conn.Close(ctx)
	values := func(table, column string) ([]string, error) {
		schema, name, _ := strings.Cut(table, ".")
		rows, err := conn.Query(ctx, "select distinct "+pgx.Identifier{column}.Sanitize()+"::text from "+pgx.Identifier{schema, name}.Sanitize())
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowTo[string])
	}
	for _, show := range system.Drill.Show {
		i := slices.IndexFunc(files, func(f run.Attachment) bool { return f.Name == string(a.Unit)+"-"+show.Table+".csv" })
		if i < 0 {
			return errs.New(errs.NotFound, "the inbox of %s names no file of %s", a.As, show.Table)
		}
		path := filepath.Join(dir, r.run+"-"+a.As+"-"+files[i].Name)
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // of the same, fetched earlier
			return errs.New(errs.Unavailable, "cannot replace %s: %w", path, err)
		}
		if _, err := r.command(ctx, binary, a.As, a.At, "run", "attachment", r.run, files[i].SHA256, "--out", path); err != nil {
			return err
		}
		got, err := os.ReadFile(path)
		if err != nil {
			return errs.New(errs.Unavailable, "cannot read what was fetched: %w", err)
		}
		rows, err := lookInto(got, show, system.Drill.Mask, values)
		if err != nil {
			return err
		}
		out.Say("   %s sees %d rows of %s of %s, none with a value that is masked", a.As, rows, show.Table, a.Unit)
	}
	return nil
}

// namedIn gives the files of the unit that the inbox of a participant names for the run.
func (r *running) namedIn(ctx context.Context, binary string, a story.Fetch) ([]run.Attachment, error) {
	said, err := r.command(ctx, binary, a.As, a.At, "inbox", "--json")
	if err != nil {
		return nil, err
	}
	var items []wire.InboxItem
	if err := json.Unmarshal(said, &items); err != nil {
		return nil, errs.New(errs.Internal, "cannot read what inbox printed: %w", err)
	}
	var files []run.Attachment
	for _, i := range items {
		for _, f := range i.Shown {
			if i.Run == r.run && strings.HasPrefix(f.Name, string(a.Unit)+"-") {
				files = append(files, f)
			}
		}
	}
	if len(files) > 0 {
		return files, nil
	}
	return nil, errs.New(errs.NotFound, "the inbox of %s names no file of %s in run %s", a.As, a.Unit, r.run)
}

// lookInto holds a file against the database that it is to be of, whose values it asks for: it has rows, what is plain is there, and nothing that is
// masked is in it, wherever it stands.
func lookInto(file []byte, show estate.Showing, masks []estate.Mask, values func(table, column string) ([]string, error)) (rows int, err error) {
	lines, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(file, []byte("\ufeff")))).ReadAll()
	if err != nil || len(lines) < 2 || !slices.Equal(lines[0], show.Columns) {
		return 0, errs.New(errs.Refused, "what is shown of %s is no table with the columns %s and rows (%w)", show.Table, strings.Join(show.Columns, ", "), err)
	}
	for _, m := range masks {
		hidden, err := values(m.Table, m.Column)
		if err != nil {
			return 0, err
		}
		for n, line := range lines[1:] {
			for i, cell := range line {
				if cell != "" && slices.Contains(hidden, strings.TrimPrefix(cell, "'")) {
					return 0, errs.New(errs.Refused, "row %d of what is shown of %s has, as %s, a value of %s.%s of production", n+1, show.Table, show.Columns[i], m.Table, m.Column)
				}
			}
		}
	}
	if len(show.Plain) > 0 { // else nothing says that it is of this data
		i := slices.Index(show.Columns, show.Plain[0])
		there, err := values(show.Table, show.Plain[0])
		if err != nil {
			return 0, err
		}
		for n, line := range lines[1:] {
			if !slices.Contains(there, line[i]) {
				return 0, errs.New(errs.Refused, "row %d of what is shown of %s has, as %s, what production has not", n+1, show.Table, show.Plain[0])
			}
		}
	}
	return len(lines) - 1, nil
}

package resource

import (
	"bytes"
	"context"
	"encoding/csv"
	"regexp"
	"strings"
	"unicode"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// Files keeps files of runs.
type Files interface {
	// PutAttachment keeps a file of a step, once for each step.
	PutAttachment(ctx context.Context, id string, a wire.KeptAttachment, data []byte) (wire.KeptAttachment, error)
}

// handOut makes files of the run of what the agent has read, one for each table. They count once the journal names them.
func (s Sandboxes) handOut(ctx context.Context, c Call, answer wire.SandboxAnswer) (map[string]any, error) {
	if len(answer.Shown) == 0 {
		return nil, errs.New(errs.Unavailable, "the agent of %s shows nothing: it is of an older version", c.Target)
	}
	id, step, _ := strings.Cut(c.Key, "/")
	var files []run.Attachment
	rows, size := 0, 0
	for _, table := range answer.Shown {
		data, err := sheet(table)
		if err != nil {
			return nil, err
		}
		a, err := run.NewAttachment(c.Target+"-"+table.Table+".csv", data)
		if err != nil {
			return nil, err
		}
		kept, err := s.Files.PutAttachment(ctx, id, wire.KeptAttachment{Attachment: a, Step: step, By: s.By}, data)
		if err != nil {
			return nil, err
		}
		files, rows, size = append(files, kept.Attachment), rows+len(table.Rows), size+len(data)
	}
	return map[string]any{"tables": float64(len(files)), "rows": float64(rows), "bytes": float64(size), run.Files: files}, nil
}

// byteOrder tells spreadsheets that a text is UTF-8.
const byteOrder = "\ufeff"

// sheet writes rows as CSV (RFC 4180) in UTF-8, the names of the columns first. What is null is empty.
func sheet(t driver.SandboxRows) ([]byte, error) {
	out := bytes.NewBufferString(byteOrder)
	w := csv.NewWriter(out)
	w.UseCRLF = true
	line := make([]string, len(t.Columns))
	for i, name := range t.Columns {
		line[i] = cell(name)
	}
	if err := w.Write(line); err != nil {
		return nil, err
	}
	for _, row := range t.Rows {
		if len(row) != len(t.Columns) {
			return nil, errs.New(errs.Internal, "a row of %s has %d values, and not %d", t.Table, len(row), len(t.Columns))
		}
		for i, v := range row {
			line[i] = ""
			if v != nil {
				line[i] = cell(*v)
			}
		}
		if err := w.Write(line); err != nil {
			return nil, err
		}
	}
	w.Flush()
	return out.Bytes(), w.Error()
}

// plainNumber is a number that a spreadsheet takes for nothing else, with its sign.
var plainNumber = regexp.MustCompile(`^[-+]?[0-9]+([.][0-9]+)?$`)

// cell is a value as a spreadsheet shows it and does not calculate: what would begin a formula is made text by a ' before it. Controls become blanks.
func cell(v string) string {
	v = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' {
			return ' '
		}
		return r
	}, v)
	// Blanks before it are dropped by some programs.
	if begins := strings.TrimSpace(v); begins != "" && strings.ContainsRune("=+-@|%＝＋－＠", []rune(begins)[0]) && !plainNumber.MatchString(v) {
		return "'" + v
	}
	return v
}

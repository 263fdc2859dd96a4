package heldorder

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"perdure/internal/estate"
)

// MostBytes is how large a file of orders may be.
const MostBytes = 8 << 20

// mostProblems are told of one file; more would hide them.
const mostProblems = 20

// anonymous is who sends a request that names no caller, as gateways say.
const anonymous = "anonymous"

// columns of a file of orders; those in front have to be there.
var columns = []string{"reference", "account", "key", "amount", "time", "kind", "system", "caller", "note"}

const needed = 5

// Reader is what is known of all orders of a file.
type Reader struct {
	Holder string
	// System is theirs where a line names none; "": every line has to.
	System estate.SystemID
	// Unit gives the unit that has an account of a system. An error says why there is none.
	Unit func(system estate.SystemID, account string) (estate.UnitID, error)
}

// Read reads the orders of a CSV file (RFC 4180, UTF-8): a line with the names of its columns, then one line for each order. What is wrong in it is given as
// problems with their lines, and then no order is. line says in which line an order begins.
func (r Reader) Read(data []byte) (orders []Order, line func(i int) int, problems []Problem) {
	wrong := func(at int, field, format string, args ...any) {
		problems = append(problems, Problem{at, field, fmt.Sprintf(format, args...)})
	}
	if len(data) > MostBytes {
		wrong(0, "", "the file has %d bytes, and %d are the most", len(data), MostBytes)
		return nil, nil, problems
	}
	in := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	in.FieldsPerRecord = -1
	head, err := in.Read()
	if err != nil {
		wrong(1, "", "the first line has to name the columns: %s", strings.Join(columns[:needed], ","))
		return nil, nil, problems
	}
	if problems = named(head); len(problems) > 0 {
		return nil, nil, problems
	}
	var lines []int
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if broken := (*csv.ParseError)(nil); errors.As(err, &broken) {
			wrong(broken.Line, "", "this cannot be read as CSV: %v", broken.Err)
			return nil, nil, problems
		}
		at, _ := in.FieldPos(0)
		switch {
		case len(row) != len(head):
			wrong(at, "", "it has %d fields, and the first line names %d", len(row), len(head))
		case len(orders) == MostOrders:
			wrong(at, "", "a file has at most %d orders", MostOrders)
			return nil, nil, problems
		default:
			o, bad := r.order(head, row)
			if bad.Field != "" {
				wrong(at, bad.Field, "%s", bad.Why)
			}
			orders, lines = append(orders, o), append(lines, at)
		}
		if len(problems) > mostProblems {
			return nil, nil, problems
		}
	}
	if len(problems) > 0 {
		return nil, nil, problems
	}
	return orders, func(i int) int { return lines[i] }, nil
}

// named says what is wrong with the names of columns.
func named(head []string) (problems []Problem) {
	for i, name := range head {
		switch {
		case !slices.Contains(columns, name):
			problems = append(problems, Problem{1, name, fmt.Sprintf("there is no such column; allowed: %s", strings.Join(columns, ", "))})
		case slices.Contains(head[:i], name):
			problems = append(problems, Problem{1, name, "the column is there twice"})
		}
	}
	for _, name := range columns[:needed] {
		if !slices.Contains(head, name) {
			problems = append(problems, Problem{1, name, "the column is missing"})
		}
	}
	return problems[:min(len(problems), mostProblems)]
}

// order is that of one line.
func (r Reader) order(head, row []string) (Order, Problem) {
	o := Order{Holder: r.Holder, Kind: Held, System: r.System, Caller: anonymous}
	for i, text := range row {
		switch head[i] {
		case "reference":
			o.Reference = text
		case "account":
			o.Account = text
		case "key":
			o.Key = text
		case "amount":
			o.Amount = text
		case "note":
			o.Note = text
		case "kind":
			if text != "" {
				o.Kind = Kind(text)
			}
		case "system":
			if text != "" {
				o.System = estate.SystemID(text)
			}
		case "caller":
			if text != "" {
				o.Caller = text
			}
		case "time":
			at, err := time.Parse(time.RFC3339, text)
			if err != nil {
				return o, Problem{Field: "time", Why: fmt.Sprintf("%q has to be an instant such as 2026-11-22T08:00:00+08:00", text)}
			}
			if o.At = at.UTC(); o.At.Year() < 2000 || o.At.Year() > 9999 {
				return o, Problem{Field: "time", Why: fmt.Sprintf("%q is no time of an order", text)}
			}
		}
	}
	o.Unit = "-" // so that all else is looked at before
	if field, why := o.wrong(); field != "" {
		return o, Problem{Field: field, Why: why}
	}
	var err error
	if o.Unit, err = r.Unit(o.System, o.Account); err != nil {
		return o, Problem{Field: "account", Why: err.Error()}
	}
	return o, Problem{}
}

// Wrong is one error of all problems of a file, nil where there is none: up to some of them, one a line.
func Wrong(problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	var text strings.Builder
	text.WriteString("nothing was imported")
	for _, p := range problems[:min(len(problems), mostProblems)] {
		text.WriteString("\n  ")
		if p.Line > 0 {
			fmt.Fprintf(&text, "line %d", p.Line)
			if p.Field != "" {
				text.WriteString(", ")
			}
		}
		text.WriteString(p.Field)
		if p.Line > 0 || p.Field != "" {
			text.WriteString(": ")
		}
		text.WriteString(p.Why)
	}
	if more := len(problems) - mostProblems; more > 0 {
		fmt.Fprintf(&text, "\n  and %d more", more)
	}
	return invalid("%s", text.String())
}

package shape

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"perdure/internal/errs"
)

// Problem is one thing that is wrong, where it is, and what would be right.
type Problem struct {
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	// Document is the kind and name it stands in, for example "System corebank".
	Document string `json:"document,omitempty"`
	// Field is the path inside the document, for example "units[1].slots"; empty for the document itself.
	Field  string `json:"field,omitempty"`
	Reason string `json:"reason"`
	// Allowed says what may stand there; empty where the reason says it.
	Allowed string `json:"allowed,omitempty"`
	// Structural problems are those that the JSON Schema finds too.
	Structural bool `json:"structural,omitempty"`
}

// String writes "file:line: document: field: reason (allowed: …)".
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File + ":")
		if p.Line > 0 {
			fmt.Fprintf(&b, "%d:", p.Line)
		}
		b.WriteByte(' ')
	}
	for _, part := range []string{p.Document, p.Field} {
		if part != "" {
			b.WriteString(part + ": ")
		}
	}
	b.WriteString(p.Reason)
	if p.Allowed != "" {
		b.WriteString(" (allowed: " + p.Allowed + ")")
	}
	return b.String()
}

// Problems is everything that is wrong with a set, sorted by file, line and field.
type Problems []Problem

// mostTold bounds what Error writes, in problems; the others are counted.
const mostTold = 100

// Error writes one problem a line.
func (p Problems) Error() string {
	var lines []string
	for _, one := range p[:min(len(p), mostTold)] {
		lines = append(lines, one.String())
	}
	if more := len(p) - mostTold; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
}

// Err gives nil where there is no problem, else an error of kind invalid that unwraps to the problems.
func (p Problems) Err() error {
	if len(p) == 0 {
		return nil
	}
	return errs.New(errs.Invalid, "%w", p)
}

// Sorted puts problems into the order of file, line and field, in place, and drops those told twice.
func (p Problems) Sorted() Problems {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Document, b.Document),
			cmp.Compare(a.Field, b.Field), cmp.Compare(a.Reason, b.Reason))
	})
	return slices.Compact(p)
}

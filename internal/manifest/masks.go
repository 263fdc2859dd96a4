package manifest

import (
	"fmt"
	"slices"
	"strings"

	"perdure/internal/estate"
	"perdure/internal/shape"
)

// Bounds of what is masked and shown in drills.
const (
	mostMasks   = 200
	mostShows   = 8 // as many files as a step can have
	mostColumns = 32
)

func maskedTable() shape.Shape {
	return shape.Formed(`^[A-Za-z_][A-Za-z0-9_$]{0,62}\.[A-Za-z_][A-Za-z0-9_$]{0,62}$`, "SCHEMA.TABLE, as the database has the names", 127)
}

func maskedColumn() shape.Shape {
	return shape.Formed(`^[A-Za-z_][A-Za-z0-9_$]{0,62}$`, "the name of a column, as the database has it", 63)
}

// maskShape is what is taken from a sandbox before anybody looks at it.
func maskShape() shape.Shape {
	return shape.AList("masks of columns", 0, mostMasks, shape.AnObject([]shape.Field{
		{Name: "table", Doc: "Table, with its schema.", Shape: maskedTable(), Required: true},
		{Name: "column", Doc: "Column of the table.", Shape: maskedColumn(), Required: true},
		{Name: "as", Doc: "What is left of a value: hash, a pseudonym that is the same for equal values of one sandbox; empty, nothing; fixed, the text; last4, its last four characters. What is null stays null.", Shape: shape.OneOf(estate.MaskHash, estate.MaskEmpty, estate.MaskFixed, estate.MaskLast4), Required: true},
		{Name: "text", Doc: "The text of kind fixed.", Shape: shape.Title()},
	}), shape.By("table", "column"))
}

// showShape is what participants may look at.
func showShape() shape.Shape {
	columns := shape.AList("names of columns", 1, mostColumns, maskedColumn(), nil)
	plain := shape.AList("names of columns that are shown", 0, mostColumns, maskedColumn(), nil)
	columns.Ordered = true
	return shape.AList("tables", 0, mostShows, shape.AnObject([]shape.Field{
		{Name: "table", Doc: "Table, with its schema; it has a primary key.", Shape: maskedTable(), Required: true},
		{Name: "columns", Doc: "Columns that are shown, in this order. Each has a mask, or stands under plain.", Shape: columns, Required: true},
		{Name: "plain", Doc: "Those of the columns that nobody masks: they are shown as they are.", Shape: plain},
		{Name: "rows", Doc: "How many rows, the first ones by the primary key.", Shape: shape.Number(1, 200), Fallback: "20"},
	}), shape.By("table"))
}

// ownSchemas are those in which no business table is.
var ownSchemas = []string{"pg_catalog", "pg_toast", "information_schema", "perdure", "perdure_sandbox"}

// checkDrill: a column is masked once, and nothing is shown of which nobody has said what becomes of it.
func (c *systemChecker) checkDrill() {
	d := &c.system.Drill
	masked := map[string]int{}
	for i, m := range d.Mask {
		at := fmt.Sprintf("drill.mask[%d]", i)
		c.checkMaskedTable(at, m.Table)
		switch {
		case m.As == estate.MaskFixed && m.Text == "":
			c.wrong(at+".text", "the text that stands in every row", "missing: %s.%s is masked as fixed", m.Table, m.Column)
		case m.As != estate.MaskFixed && m.As != "" && m.Text != "":
			c.wrong(at+".text", "a text with as: fixed only", "%s.%s is masked as %s", m.Table, m.Column, m.As)
		}
		name := m.Table + "." + m.Column
		if other, ok := masked[name]; ok && m.Table != "" && m.Column != "" {
			c.wrong(at, "one mask for each column", "%s is masked already, in %s", name, c.doc.where(fmt.Sprintf("drill.mask[%d]", other)))
			continue
		}
		masked[name] = i
	}
	shown := map[string]bool{}
	for i, s := range d.Show {
		at := fmt.Sprintf("drill.show[%d]", i)
		c.checkMaskedTable(at, s.Table)
		if shown[s.Table] && s.Table != "" {
			c.wrong(at+".table", "each table once", "table %s is shown already", s.Table)
		}
		shown[s.Table] = true
		for j, col := range s.Columns {
			where := fmt.Sprintf("%s.columns[%d]", at, j)
			_, hidden := masked[s.Table+"."+col]
			switch plain := slices.Contains(s.Plain, col); {
			case slices.Index(s.Columns, col) != j:
				c.wrong(where, "each column once", "column %s stands twice", col)
			case hidden && plain:
				c.wrong(where, "a column that is masked or plain", "%s.%s is masked and is named as plain", s.Table, col)
			case !hidden && !plain && !c.doc.brokenAt("drill.mask") && !c.doc.brokenAt(at+".plain"):
				c.wrong(where, "a column with a mask in drill.mask, or one that stands under plain", "%s.%s would be shown as it is, and nobody says so", s.Table, col)
			}
		}
		for j, col := range s.Plain {
			if !slices.Contains(s.Columns, col) && !c.doc.brokenAt(at+".columns") {
				c.wrong(fmt.Sprintf("%s.plain[%d]", at, j), listed(s.Columns), "column %s is not shown", col)
			}
		}
	}
}

func (c *systemChecker) checkMaskedTable(at, table string) {
	schema, _, _ := strings.Cut(table, ".")
	if slices.Contains(ownSchemas, schema) || strings.HasPrefix(schema, "pg_") {
		c.wrong(at+".table", "a table of the business", "%s is not one of the business: schema %s is the database's or the product's own", table, schema)
	}
}

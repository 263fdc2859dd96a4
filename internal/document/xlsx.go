package document

import (
	"io"
	"regexp"
	"strconv"

	"github.com/xuri/excelize/v2"
)

// XLSX writes the document for spreadsheets, with a sheet for each section. Every cell is text, also one that looks like a formula.
func (d *Document) XLSX(w io.Writer) error {
	f := excelize.NewFile()
	defer f.Close() // nothing of it is on a disk
	made := d.Made.Format("2006-01-02T15:04:05Z")
	if err := f.SetDocProps(&excelize.DocProperties{Title: d.Title + " – " + d.Subtitle, Creator: "Perdure", Language: string(d.Language), Created: made, Modified: made}); err != nil {
		return err
	}
	const asText = 49 // the number format @
	look := &excelize.Alignment{WrapText: true, Vertical: "top"}
	cell, err := f.NewStyle(&excelize.Style{NumFmt: asText, Alignment: look})
	if err != nil {
		return err
	}
	head, err := f.NewStyle(&excelize.Style{NumFmt: asText, Alignment: look, Font: &excelize.Font{Bold: true}, Fill: excelize.Fill{Type: "pattern", Pattern: 1, Color: []string{"EEEEEE"}}})
	if err != nil {
		return err
	}
	for i, s := range d.Sections {
		if i == 0 {
			err = f.SetSheetName("Sheet1", s.Title)
		} else {
			_, err = f.NewSheet(s.Title)
		}
		if err != nil {
			return err
		}
		if err := sheet(f, d, s, i == 0, cell, head); err != nil {
			return err
		}
	}
	return f.Write(w)
}

// sheet writes one section.
func sheet(f *excelize.File, d *Document, s Section, first bool, cell, head int) error {
	rows := make([][]string, 0, len(s.Facts)+len(s.Rows)+1)
	if first {
		rows = append(rows, []string{d.Title, d.Subtitle})
	}
	for _, r := range s.Facts {
		rows = append(rows, r[:])
	}
	top := len(rows) // of the head of the table
	if len(s.Rows) > 0 {
		rows = append(append(rows, s.Head), s.Rows...)
	}
	for i, w := range columns(nil, rows) {
		name, err := excelize.ColumnNumberToName(i + 1)
		if err != nil {
			return err
		}
		if err := f.SetColWidth(s.Title, name, name, float64(w)/100); err != nil {
			return err
		}
		if err := f.SetColStyle(s.Title, name, cell); err != nil {
			return err
		}
	}
	for y, row := range rows {
		for x, text := range row {
			at, err := excelize.CoordinatesToCellName(x+1, y+1)
			if err != nil {
				return err
			}
			if err := f.SetCellStr(s.Title, at, literal(text)); err != nil {
				return err
			}
			if y == top && len(s.Rows) > 0 || x == 0 && y < top {
				if err := f.SetCellStyle(s.Title, at, at, head); err != nil {
					return err
				}
			}
		}
	}
	if len(s.Rows) > 0 {
		if err := f.SetPanes(s.Title, &excelize.Panes{Freeze: true, YSplit: top + 1, TopLeftCell: "A" + strconv.Itoa(top+2), ActivePane: "bottomLeft"}); err != nil {
			return err
		}
	}
	across := "landscape"
	return f.SetPageLayout(s.Title, &excelize.PageLayoutOptions{Orientation: &across})
}

// coded is how a sheet writes a character by its number; literal keeps text that looks like that from being read so.
var coded = regexp.MustCompile(`^_x[0-9A-Fa-f]{4}_`)

func literal(text string) string {
	out := make([]byte, 0, len(text))
	for i := range len(text) {
		if text[i] == '_' && coded.MatchString(text[i:]) {
			out = append(out, "_x005F"...)
		}
		out = append(out, text[i])
	}
	return string(out)
}

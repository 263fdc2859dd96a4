package document

import (
	"bytes"

	"perdure/internal/errs"
)

// Format is that of a file.
type Format string

// The closed list of formats.
const (
	HTML Format = "html"
	DOCX Format = "docx"
	XLSX Format = "xlsx"
)

// File writes the document in a format.
func (d *Document) File(f Format) ([]byte, error) {
	var file bytes.Buffer
	var err error
	switch f {
	case DOCX:
		err = d.DOCX(&file)
	case XLSX:
		err = d.XLSX(&file)
	case HTML:
		err = d.HTML(&file)
	default:
		return nil, errs.New(errs.Invalid, "there is no format %q; allowed: %s, %s, %s", f, HTML, DOCX, XLSX)
	}
	if err != nil {
		return nil, errs.New(errs.Internal, "cannot write %s as %s: %w", d.Title, f, err)
	}
	return file.Bytes(), nil
}

// Paper is a document as a file, with what it needs and nobody said.
type Paper struct {
	Title    string    `json:"title"`
	File     []byte    `json:"file"`
	Findings []Finding `json:"findings"`
}

// Paper makes a file of the document.
func (d *Document) Paper(f Format, findings []Finding) (*Paper, error) {
	file, err := d.File(f)
	return &Paper{Title: d.Title, File: file, Findings: append([]Finding{}, findings...)}, err
}

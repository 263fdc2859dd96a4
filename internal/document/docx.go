package document

import (
	"archive/zip"
	"encoding/xml"
	"io"
	"strings"
	"time"
)

// DOCX writes the document for word processors (ECMA-376).
//
// The writer is our own, and does no more than headings, paragraphs and tables: of the libraries for Go none is both free to be built into
// a product and kept so that the same document gives the same bytes.
func (d *Document) DOCX(w io.Writer) error {
	z := zip.NewWriter(w)
	for _, part := range []struct{ name, text string }{
		{"[Content_Types].xml", docxTypes},
		{"_rels/.rels", docxRels},
		{"docProps/core.xml", d.core()},
		{"word/document.xml", d.body()},
		{"word/styles.xml", d.styles()},
		{"word/footer1.xml", d.footer()},
		{"word/_rels/document.xml.rels", docxDocumentRels},
	} {
		f, err := z.CreateHeader(&zip.FileHeader{Name: part.name, Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)})
		if err != nil {
			return err
		}
		if _, err := io.WriteString(f, part.text); err != nil {
			return err
		}
	}
	return z.Close()
}

const (
	xmlHead   = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>` + "\n"
	wordSpace = `xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"`
	office    = "application/vnd.openxmlformats-officedocument.wordprocessingml."
	relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
	packaging = "http://schemas.openxmlformats.org/package/2006/"

	docxTypes = xmlHead + `<Types xmlns="` + packaging + `content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/>` +
		`<Override PartName="/word/document.xml" ContentType="` + office + `document.main+xml"/><Override PartName="/word/styles.xml" ContentType="` + office + `styles+xml"/><Override PartName="/word/footer1.xml" ContentType="` + office + `footer+xml"/>` +
		`<Override PartName="/docProps/core.xml" ContentType="application/vnd.openxmlformats-package.core-properties+xml"/></Types>`
	docxRels = xmlHead + `<Relationships xmlns="` + packaging + `relationships"><Relationship Id="rId1" Type="` + relations + `officeDocument" Target="word/document.xml"/><Relationship Id="rId2" Type="` + packaging + `relationships/metadata/core-properties" Target="docProps/core.xml"/></Relationships>`

	docxDocumentRels = xmlHead + `<Relationships xmlns="` + packaging + `relationships"><Relationship Id="rId1" Type="` + relations + `styles" Target="styles.xml"/><Relationship Id="rId2" Type="` + relations + `footer" Target="footer1.xml"/></Relationships>`
)

func escaped(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes everything
	return b.String()
}

func (d *Document) core() string {
	made := d.Made.Format("2006-01-02T15:04:05Z")
	return xmlHead + `<cp:coreProperties xmlns:cp="` + packaging + `metadata/core-properties" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">` +
		`<dc:title>` + escaped(d.Title+" – "+d.Subtitle) + `</dc:title><dc:creator>Perdure</dc:creator><dc:language>` + string(d.Language) + `</dc:language>` +
		`<dcterms:created xsi:type="dcterms:W3CDTF">` + made + `</dcterms:created><dcterms:modified xsi:type="dcterms:W3CDTF">` + made + `</dcterms:modified></cp:coreProperties>`
}

func (d *Document) styles() string {
	lang := `<w:lang w:val="en-GB" w:eastAsia="zh-CN"/>`
	heading := func(id, name string, size string, level string) string {
		return `<w:style w:type="paragraph" w:styleId="` + id + `"><w:name w:val="` + name + `"/><w:basedOn w:val="Normal"/><w:next w:val="Normal"/><w:qFormat/><w:pPr><w:keepNext/><w:spacing w:before="240" w:after="80"/>` + level + `</w:pPr><w:rPr><w:b/><w:sz w:val="` + size + `"/></w:rPr></w:style>`
	}
	return xmlHead + `<w:styles ` + wordSpace + `><w:docDefaults><w:rPrDefault><w:rPr><w:rFonts w:ascii="Calibri" w:hAnsi="Calibri" w:eastAsia="SimSun" w:cs="Calibri"/><w:sz w:val="16"/>` + lang + `</w:rPr></w:rPrDefault></w:docDefaults>` +
		`<w:style w:type="paragraph" w:default="1" w:styleId="Normal"><w:name w:val="Normal"/></w:style>` +
		heading("Title", "Title", "40", "") + heading("Heading1", "heading 1", "26", `<w:outlineLvl w:val="0"/>`) +
		`<w:style w:type="table" w:default="1" w:styleId="Grid"><w:name w:val="Table Grid"/><w:tblPr><w:tblBorders><w:top w:val="single" w:sz="4" w:color="999999"/><w:left w:val="single" w:sz="4" w:color="999999"/><w:bottom w:val="single" w:sz="4" w:color="999999"/><w:right w:val="single" w:sz="4" w:color="999999"/><w:insideH w:val="single" w:sz="4" w:color="999999"/><w:insideV w:val="single" w:sz="4" w:color="999999"/></w:tblBorders><w:tblCellMar><w:left w:w="60" w:type="dxa"/><w:right w:w="60" w:type="dxa"/></w:tblCellMar></w:tblPr></w:style></w:styles>`
}

func (d *Document) footer() string {
	field := `<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText xml:space="preserve"> PAGE </w:instrText></w:r><w:r><w:fldChar w:fldCharType="separate"/></w:r><w:r><w:t>1</w:t></w:r><w:r><w:fldChar w:fldCharType="end"/></w:r>`
	before, after, _ := strings.Cut(textsOf(d.Language).say("page"), "%s")
	return xmlHead + `<w:ftr ` + wordSpace + `><w:p><w:pPr><w:jc w:val="right"/></w:pPr>` + words(d.Subtitle+" – "+before, "") + field + words(after, "") + `</w:p></w:ftr>`
}

// pageWidth is what an A4 page across has between its margins, in twentieths of a point.
const pageWidth = 16838 - 2*720

func (d *Document) body() string {
	var b strings.Builder
	b.WriteString(xmlHead + `<w:document ` + wordSpace + ` xmlns:r="` + strings.TrimSuffix(relations, "/") + `"><w:body>`)
	b.WriteString(paragraph("Title", d.Title) + paragraph("", d.Subtitle))
	for _, s := range d.Sections {
		b.WriteString(paragraph("Heading1", s.Title))
		if len(s.Facts) > 0 {
			rows := make([][]string, len(s.Facts))
			for i, f := range s.Facts {
				rows[i] = f[:]
			}
			table(&b, nil, rows, true)
		}
		if len(s.Rows) > 0 {
			table(&b, s.Head, s.Rows, false)
		}
	}
	b.WriteString(`<w:p/>`) // Word wants a paragraph behind the last table
	// The foot has room below the text: where it has not, LibreOffice lets tables run over the end of a page, and their rows are lost.
	b.WriteString(`<w:sectPr><w:footerReference w:type="default" r:id="rId2"/><w:pgSz w:w="16838" w:h="11906" w:orient="landscape"/><w:pgMar w:top="720" w:right="720" w:bottom="1080" w:left="720" w:header="360" w:footer="400" w:gutter="0"/></w:sectPr></w:body></w:document>`)
	return b.String()
}

func paragraph(style, text string) string {
	look := ""
	if style != "" {
		look = `<w:pPr><w:pStyle w:val="` + style + `"/></w:pPr>`
	}
	return `<w:p>` + look + words(text, "") + `</w:p>`
}

// words is a run of text; lines of it are broken, and look is how it looks.
func words(text, look string) string {
	if text == "" {
		return ""
	}
	var b strings.Builder
	b.WriteString(`<w:r>` + look)
	for i, line := range strings.Split(text, "\n") {
		if i > 0 {
			b.WriteString(`<w:br/>`)
		}
		for j, piece := range strings.Split(line, "\t") {
			if j > 0 {
				b.WriteString(`<w:tab/>`)
			}
			b.WriteString(`<w:t xml:space="preserve">` + escaped(piece) + `</w:t>`)
		}
	}
	b.WriteString(`</w:r>`)
	return b.String()
}

// table writes rows under a head that stands on every page; with names the first column is bold.
func table(b *strings.Builder, head []string, rows [][]string, names bool) {
	b.WriteString(`<w:tbl><w:tblPr><w:tblStyle w:val="Grid"/><w:tblW w:w="` + number(pageWidth) + `" w:type="dxa"/><w:tblLayout w:type="fixed"/></w:tblPr><w:tblGrid>`)
	widths := []int{pageWidth * 3 / 10, pageWidth * 7 / 10}
	if !names {
		widths = columns(head, rows)
	}
	for _, w := range widths {
		b.WriteString(`<w:gridCol w:w="` + number(w) + `"/>`)
	}
	b.WriteString(`</w:tblGrid>`)
	const bold = `<w:rPr><w:b/></w:rPr>`
	if head != nil {
		b.WriteString(`<w:tr><w:trPr><w:tblHeader/></w:trPr>`)
		for i, h := range head {
			b.WriteString(`<w:tc><w:tcPr><w:tcW w:w="` + number(widths[i]) + `" w:type="dxa"/><w:shd w:val="clear" w:color="auto" w:fill="EEEEEE"/></w:tcPr><w:p>` + words(h, bold) + `</w:p></w:tc>`)
		}
		b.WriteString(`</w:tr>`)
	}
	for _, row := range rows {
		b.WriteString(`<w:tr><w:trPr><w:cantSplit/></w:trPr>`)
		for i, cell := range row {
			look := ""
			if names && i == 0 {
				look = bold
			}
			b.WriteString(`<w:tc><w:tcPr><w:tcW w:w="` + number(widths[i]) + `" w:type="dxa"/></w:tcPr><w:p>` + words(cell, look) + `</w:p></w:tc>`)
		}
		b.WriteString(`</w:tr>`)
	}
	b.WriteString(`</w:tbl>`)
}

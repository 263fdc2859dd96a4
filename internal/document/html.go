package document

import (
	"html"
	"io"
	"strings"
)

// style makes a page that prints: wide tables lie across, heads stand on every page.
const style = `body{font:11pt/1.4 "Noto Sans","Noto Sans CJK SC","Microsoft YaHei",sans-serif;color:#111;margin:2em auto;max-width:110em;padding:0 1em}
h1{font-size:20pt;margin:0}p.about{color:#555;margin:.2em 0 1.5em}h2{font-size:13pt;margin:1.6em 0 .4em;break-after:avoid}
table{border-collapse:collapse;width:100%}th,td{border:1px solid #999;padding:.25em .5em;text-align:left;vertical-align:top;white-space:pre-wrap;overflow-wrap:anywhere}
thead th{background:#eee;word-break:keep-all;overflow-wrap:normal}table.facts{width:auto}table.facts th{font-weight:600;white-space:nowrap}
@page{size:A4 landscape;margin:12mm}@media print{body{margin:0;max-width:none;padding:0;font-size:8pt}thead{display:table-header-group}tr{break-inside:avoid}}`

// HTML writes the document as one page that needs nothing else, and runs nothing.
func (d *Document) HTML(w io.Writer) error {
	var b strings.Builder
	say := func(parts ...string) {
		for _, p := range parts {
			b.WriteString(p)
		}
	}
	text := html.EscapeString
	say("<!DOCTYPE html>\n<html lang=\"", string(d.Language), "\">\n<head>\n<meta charset=\"utf-8\">\n",
		"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
		"<title>", text(d.Title+" – "+d.Subtitle), "</title>\n<style>\n", style, "\n</style>\n</head>\n<body>\n<h1>", text(d.Title), "</h1>\n<p class=\"about\">", text(d.Subtitle), "</p>\n")
	for _, s := range d.Sections {
		say("<section>\n<h2>", text(s.Title), "</h2>\n")
		if len(s.Facts) > 0 {
			say("<table class=\"facts\">\n")
			for _, f := range s.Facts {
				say("<tr><th>", text(f[0]), "</th><td>", text(f[1]), "</td></tr>\n")
			}
			say("</table>\n")
		}
		if len(s.Rows) > 0 {
			say("<table>\n<thead><tr>")
			for _, h := range s.Head {
				say("<th>", text(h), "</th>")
			}
			say("</tr></thead>\n<tbody>\n")
			for _, row := range s.Rows {
				say("<tr>")
				for _, cell := range row {
					say("<td>", text(cell), "</td>")
				}
				say("</tr>\n")
			}
			say("</tbody>\n</table>\n")
		}
		say("</section>\n")
	}
	say("</body>\n</html>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

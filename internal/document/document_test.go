package document_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"
	"golang.org/x/net/html"

	"perdure/internal/document"
	"perdure/internal/plan"
	"perdure/internal/run/runtest"
)

var update = flag.Bool("update", false, "write testdata anew")

const switchPlan = `
apiVersion: perdure/v1
kind: Plan
name: move
title: Move the core 核心系统迁移
modes: [takeover, emergency, drill]
rto: 100s
parameters:
- {name: to, doc: Site., required: true}
- {name: count, type: number}
steps:
- {id: look, title: Look, check: {driver: world, action: look, target: a}}
- {id: agree, title: 审批, approval: {of: [commander], text: "Go to ${params.to}?"}}
- {id: refused, after: [agree.declined], notify: {to: [operator], text: no}}
- {id: first, after: [agree], locks: [l], act: {driver: world, action: set, target: a, with: {to: b}}}
- {id: second, after: [agree], locks: [l], retry: {times: 1, pause: 5s}, act: {driver: world, action: set, target: b, with: {to: b}}}
- {id: count, after: [first, second], manual: {owner: operator, instruction: Count., fields: [{name: difference, type: number, required: true}]}}
- {id: tidy, cleanup: true, act: {driver: world, action: set, target: a, with: {to: c}}}
`

const switchJournal = `
0s ann started - {"text":"power works at a","disruptedAt":"2026-11-22T07:59:30Z","detectedAt":"2026-11-22T07:59:50Z","params":{"to":"b","count":0},"facts":{"calendar":"ops","window":"night","until":"2026-11-22T08:30:00Z","approvals":[{"by":"bob","at":"2026-11-21T09:00:00Z","reason":"agreed"},{"by":"cho","at":"2026-11-21T10:00:00Z","reason":"agreed"}]}}
0s node:a took - {"term":1}
1s node:a began look {"attempt":1,"call":{"driver":"world","action":"look","target":"a"}}
3s node:a ended look {"attempt":1,"outcome":"done"}
3s node:a opened agree {"text":"Go to b?"}
13s bob approved agree {"for":"commander","text":"go ahead"}
14s node:a began first {"attempt":1,"locks":["l"],"call":{"driver":"world","action":"set","target":"a","with":{"to":"b"}}}
24.5s node:a ended first {"attempt":1,"outcome":"done"}
24.5s node:b took - {"term":2}
25s node:b began second {"attempt":1,"locks":["l"],"call":{"driver":"world","action":"set","target":"b","with":{"to":"b"}}}
26s node:b ended second {"attempt":1,"outcome":"failed","error":"no room"}
31s node:b began second {"attempt":2,"locks":["l"],"call":{"driver":"world","action":"set","target":"b","with":{"to":"b"}}}
32s node:b ended second {"attempt":2,"outcome":"failed","error":"still no room"}
42s bob retried second {"text":"made room"}
43s node:b began second {"attempt":3,"locks":["l"],"call":{"driver":"world","action":"set","target":"b","with":{"to":"b"}}}
50s node:b ended second {"attempt":3,"outcome":"done"}
51s node:b opened count {"text":"Count."}
71s bob completed count {"result":{"difference":12.5}}
72s node:b began tidy {"attempt":1,"call":{"driver":"world","action":"set","target":"a","with":{"to":"c"}}}
77s node:b ended tidy {"attempt":1,"outcome":"done"}
77s node:b finished - {"outcome":"done"}
`

var shanghai = time.FixedZone("UTC+08:00", 8*3600)

func source(t testing.TB, text, journal string, mode plan.Mode) document.Source {
	t.Helper()
	return document.Source{Run: "move-1", Program: runtest.Program(t, text, mode), Journal: runtest.Journal(t, journal), ProgramSum: strings.Repeat("ab", 32), Origin: "perdure/1.x", Leaves: []int64{3, 4, 5, 9, 11, 12}}
}

func report(t testing.TB, src document.Source, l document.Language) *document.Document {
	t.Helper()
	d, err := document.Report(src, l, shanghai)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// content is what a document says, without its form.
type content struct {
	Title, Subtitle string
	Sections        []section
}

type section struct {
	Title string
	Cells [][]string
}

func contentOf(d *document.Document) content {
	c := content{Title: d.Title, Subtitle: d.Subtitle}
	for _, s := range d.Sections {
		one := section{Title: s.Title}
		for _, f := range s.Facts {
			one.Cells = append(one.Cells, f[:])
		}
		if len(s.Rows) > 0 {
			one.Cells = append(append(one.Cells, s.Head), s.Rows...)
		}
		c.Sections = append(c.Sections, one)
	}
	return c
}

func write(t testing.TB, to func(io.Writer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := to(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// fromHTML reads a page back as a browser does.
func fromHTML(t testing.TB, page []byte) content {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	var c content
	var textOf func(n *html.Node) string
	textOf = func(n *html.Node) string {
		if n.Type == html.TextNode {
			return n.Data
		}
		var text strings.Builder
		for k := n.FirstChild; k != nil; k = k.NextSibling {
			text.WriteString(textOf(k))
		}
		return text.String()
	}
	var walk func(n *html.Node)
	walk = func(n *html.Node) {
		name := n.Data
		if n.Type != html.ElementNode {
			name = ""
		}
		switch name {
		case "h1":
			c.Title = textOf(n)
		case "p":
			c.Subtitle = textOf(n)
		case "h2":
			c.Sections = append(c.Sections, section{Title: textOf(n)})
		case "tr":
			last := &c.Sections[len(c.Sections)-1]
			var row []string
			for k := n.FirstChild; k != nil; k = k.NextSibling {
				row = append(row, textOf(k))
			}
			last.Cells = append(last.Cells, row)
		case "script", "iframe", "img", "a", "link", "object":
			t.Errorf("the page has a <%s>", n.Data)
		}
		for k := n.FirstChild; k != nil; k = k.NextSibling {
			walk(k)
		}
	}
	walk(root)
	return c
}

// fromDOCX reads the parts of a word processor's file back.
func fromDOCX(t testing.TB, file []byte) content {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	var c content
	for _, f := range z.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		x := xml.NewDecoder(bytes.NewReader(data))
		var style, text string
		inCell := false
		var row []string
		for {
			token, err := x.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", f.Name, err)
			}
			if f.Name != "word/document.xml" {
				continue
			}
			switch v := token.(type) {
			case xml.StartElement:
				switch v.Name.Local {
				case "p":
					style, text = "", ""
				case "pStyle":
					style = v.Attr[0].Value
				case "br":
					text += "\n"
				case "tab":
					text += "\t"
				case "tc":
					inCell = true
				case "tr":
					row = nil
				}
			case xml.CharData:
				text += string(v)
			case xml.EndElement:
				switch {
				case v.Name.Local == "tr":
					last := &c.Sections[len(c.Sections)-1]
					last.Cells = append(last.Cells, row)
				case v.Name.Local == "tc":
					row, inCell = append(row, text), false
				case v.Name.Local != "p" || inCell:
				case style == "Title":
					c.Title = text
				case style == "Heading1":
					c.Sections = append(c.Sections, section{Title: text})
				case c.Subtitle == "":
					c.Subtitle = text
				}
			}
		}
	}
	return c
}

// fromXLSX reads a spreadsheet back. Rows are filled up to the width of the section: a sheet does not tell empty cells at their end.
func fromXLSX(t testing.TB, file []byte, like content) content {
	t.Helper()
	f, err := excelize.OpenReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var c content
	for i, name := range f.GetSheetList() {
		rows, err := f.GetRows(name)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			c.Title, c.Subtitle, rows = rows[0][0], rows[0][1], rows[1:]
		}
		for y := range rows {
			for i < len(like.Sections) && y < len(like.Sections[i].Cells) && len(rows[y]) < len(like.Sections[i].Cells[y]) {
				rows[y] = append(rows[y], "")
			}
			for x := range rows[y] {
				at, _ := excelize.CoordinatesToCellName(x+1, y+1)
				if formula, err := f.GetCellFormula(name, at); err != nil || formula != "" {
					t.Errorf("%s %s is the formula %q, %v", name, at, formula, err)
				}
				if kind, err := f.GetCellType(name, at); err != nil || kind != excelize.CellTypeSharedString && kind != excelize.CellTypeInlineString {
					t.Errorf("%s %s has type %v, %v", name, at, kind, err)
				}
			}
		}
		c.Sections = append(c.Sections, section{name, rows})
	}
	return c
}

// sameInAllFormats writes a document in all formats, twice, and reads them back.
func sameInAllFormats(t *testing.T, d *document.Document) {
	t.Helper()
	want := contentOf(d)
	for name, to := range map[string]func(io.Writer) error{"html": d.HTML, "docx": d.DOCX, "xlsx": d.XLSX} {
		file := write(t, to)
		if !bytes.Equal(file, write(t, to)) {
			t.Errorf("%s is another one the second time", name)
		}
		var got content
		switch name {
		case "html":
			got = fromHTML(t, file)
		case "docx":
			got = fromDOCX(t, file)
		case "xlsx":
			got = fromXLSX(t, file, want)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestEveryFormatSaysTheSameInBothLanguages(t *testing.T) {
	for _, l := range []document.Language{document.English, document.Chinese} {
		d := report(t, source(t, switchPlan, switchJournal, plan.Takeover), l)
		sameInAllFormats(t, d)
		page := write(t, d.HTML)
		name := filepath.Join("testdata", "switch-"+string(l)+".html")
		if *update {
			if err := os.WriteFile(name, page, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(page)); diff != "" {
			t.Error(diff)
		}
	}
}

// find gives the rows of a section whose first or second cell is a name.
func find(t testing.TB, c content, title, name string) []string {
	t.Helper()
	for _, s := range c.Sections {
		for _, row := range s.Cells {
			if s.Title == title && (row[0] == name || len(row) > 1 && strings.HasPrefix(row[1], name)) {
				return row
			}
		}
	}
	t.Errorf("section %s has no %s", title, name)
	return nil
}

func TestFiguresAreThoseOfTheJournal(t *testing.T) {
	en := contentOf(report(t, source(t, switchPlan, switchJournal, plan.Takeover), document.English))
	zh := contentOf(report(t, source(t, switchPlan, switchJournal, plan.Takeover), document.Chinese))
	if en.Title != "Switch report" || zh.Title != "切换报告" {
		t.Errorf("titles %s, %s", en.Title, zh.Title)
	}
	for _, want := range []struct {
		title string
		row   []string
		zh    bool
	}{
		{"Summary", []string{"Started by", "ann"}, false},
		{"Summary", []string{"Reason", "power works at a"}, false},
		{"Summary", []string{"Mode", "planned takeover"}, false},
		{"Summary", []string{"Start", "2026-11-22 16:00:00.000"}, false},
		{"Summary", []string{"Service disrupted", "2026-11-22 15:59:30.000"}, false},
		{"Summary", []string{"Duration", "1 min 17.000 s"}, false},
		{"Summary", []string{"Recovery time from the disruption", "1 min 41.000 s"}, false},
		{"Summary", []string{"Recovery time objective", "1 min 40.000 s"}, false},
		{"Summary", []string{"Objective", "missed"}, false},
		{"Summary", []string{"Time zone", "UTC+08:00"}, false},
		{"Five clocks", []string{"Detect", "20.000 s", "disruption until detection"}, false},
		{"Five clocks", []string{"Execute", "36.000 s", "first attempt of an act until the end of the last"}, false},
		{"Steps", []string{"5", "second", "act", "world set b to=b", "2026-11-22 16:00:25.000", "2026-11-22 16:00:50.000", "37.000 s", "10.000 s", "12.000 s", "9.000 s", "done", "3", ""}, false},
		{"Steps", []string{"6", "count", "task", "operator", "2026-11-22 16:00:51.000", "2026-11-22 16:01:11.000", "21.000 s", "20.000 s", "0.000 s", "0.000 s", "done", "0", ""}, false},
		{"Steps", []string{"3", "refused", "note", "operator", "–", "–", "–", "–", "–", "–", "branch not chosen", "0", ""}, false},
		{"People", []string{"2026-11-22 16:00:13.000", "bob", "approved", "agree", "commander", "Go to b?", "go ahead"}, false},
		{"Deviations", []string{"2026-11-22 16:00:26.000", "second", "attempt 1 failed: no room"}, false},
		{"Critical path", []string{"4", "second", "2026-11-22 16:00:24.500", "2026-11-22 16:00:50.000", "25.500 s", "it waited for a lock that the step before held"}, false},
		{"Evidence", []string{"Entries in the log", "3–5, 9, 11–12"}, false},
		{"Evidence", []string{"Entries of the journal", "1–21"}, false},
		{"概要", []string{"目标达成情况", "未达成"}, true},
		{"概要", []string{"恢复时间（自中断起）", "1 分 41.000 秒"}, true},
		{"五个时钟", []string{"宣告", "10.000 秒", "发现至执行开始"}, true},
		{"步骤", []string{"2", "agree – 审批", "审批", "1 人：commander", "2026-11-22 16:00:03.000", "2026-11-22 16:00:13.000", "10.000 秒", "10.000 秒", "0.000 秒", "0.000 秒", "完成", "0", ""}, true},
	} {
		c, key := en, want.row[0]
		if want.zh {
			c = zh
		}
		if len(want.row) > 5 || want.title == "Deviations" || want.title == "Critical path" {
			key = want.row[1]
		}
		if diff := cmp.Diff(want.row, find(t, c, want.title, key)); diff != "" {
			t.Errorf("%s: %s", want.title, diff)
		}
	}
}

func TestSectionWithoutContentIsLeftOut(t *testing.T) {
	src := source(t, "apiVersion: perdure/v1\nkind: Plan\nname: p\nmodes: [drill]\nsteps: [{id: a, wait: {for: 1s}}]", "0s ann started -\n0s node:a took - {\"term\":1}\n0s node:a opened a\n", plan.Drill)
	src.ProgramSum, src.Leaves = "", nil
	d := report(t, src, document.English)
	var titles []string
	for _, s := range d.Sections {
		titles = append(titles, s.Title)
		if len(s.Facts)+len(s.Rows) == 0 {
			t.Errorf("section %s is empty", s.Title)
		}
	}
	if d.Title != "Drill record" || !slices.Equal(titles, []string{"Summary", "Five clocks", "Steps", "People", "Evidence"}) {
		t.Errorf("%s: %q", d.Title, titles)
	}
	if row := find(t, contentOf(d), "Summary", "Outcome"); row[1] != "not over" {
		t.Errorf("%q", row)
	}
	sameInAllFormats(t, d)
}

func TestUndoneRunTellsWhatWasUndone(t *testing.T) {
	d := report(t, source(t, `
apiVersion: perdure/v1
kind: Plan
name: p
modes: [emergency]
steps:
- {id: s, act: {driver: world, action: set, target: a, with: {to: b}}, undo: {driver: world, action: set, target: a, with: {to: a}}}
- {id: t, onFailure: compensate, act: {driver: world, action: set, target: b, with: {to: b}}}
`, `
0s ann started -
0s node:a took - {"term":1}
1s node:a began s {"attempt":1,"call":{"driver":"world","action":"set","target":"a"}}
2s node:a ended s {"attempt":1,"outcome":"done"}
3s node:a began t {"attempt":1,"call":{"driver":"world","action":"set","target":"b"}}
4s node:a ended t {"attempt":1,"outcome":"failed","error":"gone"}
5s node:a began s {"attempt":1,"undo":true,"call":{"driver":"world","action":"set","target":"a","with":{"to":"a"}}}
7s node:a ended s {"attempt":1,"undo":true,"outcome":"failed","error":"stuck"}
9s bob takenOver s {"undo":true,"text":"by hand"}
9s node:a finished - {"outcome":"undone"}
`, plan.Emergency), document.English)
	if got, want := find(t, contentOf(d), "Undoing", "s"), []string{"s", "world set a to=a", "left out", "1", "2.000 s", "2.000 s", "bob: by hand"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := find(t, contentOf(d), "Summary", "Outcome"); got[1] != "undone" {
		t.Errorf("%q", got)
	}
	sameInAllFormats(t, d)
}

func TestDelegationBrokenGlassItsReviewAndNotesOfTheStartAreTold(t *testing.T) {
	src := source(t, `
apiVersion: perdure/v1
kind: Plan
name: p
modes: [emergency]
steps:
- {id: ask, approval: {of: [commander], need: 2, text: "Go?"}}
`, `
0s ann started - {"notes":["a freeze forbids it: year end"]}
0s node:a took - {"term":1}
0s node:a opened ask {"text":"Go?"}
1s bob delegated ask {"for":"commander","to":"cid","text":"on a plane"}
2s ann addedApprover ask {"for":"auditor","text":"by rule"}
3s dan brokeGlass ask {"text":"nobody is reached","factor":"2026-11-22T00:00:00Z"}
3s node:a finished - {"outcome":"done"}
9s eve reviewed - {"text":"it was right"}
`, plan.Emergency)
	d := report(t, src, document.English)
	var rows [][]string
	for _, s := range d.Sections {
		rows = append(rows, s.Rows...)
	}
	for _, want := range []string{"told at the start: a freeze forbids it: year end", "dan decided alone (break-glass), to be reviewed: nobody is reached"} {
		if !slices.ContainsFunc(rows, func(row []string) bool { return slices.Contains(row, want) }) {
			t.Errorf("there is no %q", want)
		}
	}
	for person, what := range map[string]string{"bob": "to cid", "ann": "by rule", "dan": "decided alone", "eve": "reviewed"} {
		if !slices.ContainsFunc(rows, func(row []string) bool {
			return slices.Contains(row, person) && strings.Contains(strings.Join(row, " "), what)
		}) {
			t.Errorf("%s is not told of as %q", person, what)
		}
	}
	sameInAllFormats(t, d)
	sameInAllFormats(t, report(t, src, document.Chinese))
}

// TestHostileTextsAreHarmless puts everything that formats take for their own into every text of a run.
func TestHostileTextsAreHarmless(t *testing.T) {
	for _, evil := range []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `</w:t></w:r><w:r><w:instrText>DDEAUTO cmd</w:instrText></w:r>`, "]]>", "&lt;&amp;&#0;", `'"`,
		"=cmd|'/C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\tx", "\r=1", "=HYPERLINK(\"http://x\")", "_x003D_1+1", "a\x00b\x01\x1b[31m\x7f", "\xff\xfe", "\u202egnp.exe", "￾", "two\nlines", strings.Repeat("長", 5000), " spaces ",
	} {
		name, err := json.Marshal(evil)
		if err != nil {
			t.Fatal(err)
		}
		src := source(t, switchPlan, switchJournal, plan.Takeover)
		src.Run, src.Origin = evil, evil
		src.Program.Title, src.Program.Plan = evil, evil
		src.Program.Parameters[0].Doc = evil
		for i := range src.Program.Nodes {
			src.Program.Nodes[i].Step.Title = evil
			if a := src.Program.Nodes[i].Step.Approval; a != nil {
				a.Of = []string{"commander", evil}
			}
		}
		for i := range src.Journal {
			e := &src.Journal[i]
			if e.Text != "" {
				e.Text = evil
			}
			if e.Error != "" {
				e.Error = evil
			}
			if e.By == "bob" {
				e.By = "bob" + evil
			}
			if e.Params != nil {
				e.Params["to"] = evil
			}
			if e.Call != nil {
				e.Call.Target = evil
			}
		}
		d := report(t, src, document.English)
		sameInAllFormats(t, d)
		if page := string(write(t, d.HTML)); strings.Contains(page, "<script") || strings.Contains(page, "<img") || strings.ContainsAny(page, "\x00\x01\x1b\x7f\u202e") {
			t.Errorf("%s stands in the page as it is", name)
		}
		if f, err := excelize.OpenReader(bytes.NewReader(write(t, d.XLSX))); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if formula, _ := f.CalcCellValue("Summary", "B2"); strings.HasPrefix(evil, "+1") && formula != evil {
			t.Errorf("%s is computed as %s", name, formula)
		}
	}
}

func TestZoneMovesTimesAndNothingElse(t *testing.T) {
	src := source(t, switchPlan, switchJournal, plan.Takeover)
	a := report(t, src, document.English)
	b, err := document.Report(src, document.English, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	if find(t, contentOf(b), "Summary", "Start")[1] != "2026-11-22 08:00:00.000" || find(t, contentOf(b), "Summary", "Time zone")[1] != "UTC" {
		t.Errorf("%v", contentOf(b).Sections[0])
	}
	text := func(d *document.Document) string {
		return strings.NewReplacer(" 15:", " 07:", " 16:", " 08:", "UTC+08:00", "UTC").Replace(fmt.Sprint(contentOf(d)))
	}
	if diff := cmp.Diff(text(a), text(b)); diff != "" {
		t.Error(diff)
	}
}

func TestJournalThatDoesNotFitIsRefused(t *testing.T) {
	src := source(t, switchPlan, switchJournal, plan.Takeover)
	src.Journal = src.Journal[1:]
	if _, err := document.Report(src, document.English, time.UTC); err == nil {
		t.Error("a journal without its beginning was taken")
	}
	src.Journal = nil
	if _, err := document.Report(src, document.English, time.UTC); err == nil {
		t.Error("no journal was taken")
	}
}

// TestEveryEntryOfAnUnfinishedRunCanBeReported: a report can be asked for at any time.
func TestEveryEntryOfAnUnfinishedRunCanBeReported(t *testing.T) {
	whole := source(t, switchPlan, switchJournal, plan.Drill)
	for n := range whole.Journal {
		src := whole
		src.Journal = slices.Clone(whole.Journal[:n+1])
		if d := report(t, src, document.Chinese); d.Title != "演练记录" || !d.Made.Equal(src.Journal[n].At) {
			t.Errorf("%d entries: %s, made %s", n+1, d.Title, d.Made)
		}
	}
}

// FuzzTextOfAnyKindIsTheSameInAllFormats has people and drivers say anything.
func FuzzTextOfAnyKindIsTheSameInAllFormats(f *testing.F) {
	for _, text := range []string{"", "=1+1", "<b>", "_x0041_x0042_", "\x00\r\n\t", "\u202e", "長"} {
		f.Add(text)
	}
	program := runtest.Program(f, "apiVersion: perdure/v1\nkind: Plan\nname: p\nmodes: [drill]\nsteps: [{id: a, wait: {for: 1s}}]", plan.Drill)
	f.Fuzz(func(t *testing.T, text string) {
		journal := runtest.Journal(t, "0s ann started -\n0s n took - {\"term\":1}\n0s n opened a\n1s n ended a {\"outcome\":\"failed\"}\n2s ann skipped a {\"text\":\"x\"}\n")
		journal[0].Text, journal[3].Error, journal[4].Text = text, text, "because "+text
		sameInAllFormats(t, report(t, document.Source{Run: text, Program: program, Journal: journal, Origin: text, Leaves: []int64{1}}, document.Chinese))
	})
}

func TestWhatWasShownIsListedWithItsDigest(t *testing.T) {
	p := runtest.Program(t, `apiVersion: perdure/v1
kind: Plan
name: p
modes: [drill]
steps:
- {id: show, act: {driver: sandbox, action: show, target: u1, with: {site: b}}}
- {id: gone, cleanup: true, act: {driver: sandbox, action: discard, target: u1, with: {site: b}}}
`, plan.Drill)
	journal := runtest.Journal(t, `
0s ann started -
1s node:a began show {"attempt":1}
2s node:a ended show {"attempt":1,"outcome":"done","result":{"rows":20},"attachments":[{"name":"u1-b.customer.csv","type":"text/csv","size":1200,"sha256":"5eed"}]}
3s node:a began gone {"attempt":1}
4s node:a ended gone {"attempt":1,"outcome":"done"}
5s node:a finished - {"outcome":"done"}
`)
	for l, want := range map[document.Language][]string{
		document.English: {"showed participants", "attached u1-b.customer.csv (text/csv, 1200 bytes, SHA-256 5eed)"},
		document.Chinese: {"向参演单位展示", "附件 u1-b.customer.csv（text/csv，1200 字节，SHA-256 5eed）"},
	} {
		d, err := document.Report(document.Source{Run: "r", Program: p, Journal: journal}, l, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, s := range d.Sections {
			for _, row := range s.Rows {
				if line := strings.Join(row, "|"); strings.Contains(line, want[0]) && strings.Contains(line, want[1]) {
					found++
				}
			}
		}
		if found != 1 {
			t.Errorf("%s: told %d times: %q", l, found, want)
		}
	}
}

func TestWhatWasHandedInIsListedWithItsDigest(t *testing.T) {
	p := runtest.Program(t, "apiVersion: perdure/v1\nkind: Plan\nname: p\nmodes: [drill]\nsteps: [{id: count, manual: {owner: desk, instruction: Count.}}]\n", plan.Drill)
	journal := runtest.Journal(t, `
0s ann started -
1s node:a opened count {"text":"Count."}
2s li acknowledged count {"for":"desk"}
3s li completed count {"for":"desk","attachments":[{"name":"totals.pdf","type":"application/pdf","size":1200,"sha256":"5eed"}]}
4s node:a finished - {"outcome":"done"}
`)
	for l, want := range map[document.Language]string{
		document.English: "attached totals.pdf (application/pdf, 1200 bytes, SHA-256 5eed)",
		document.Chinese: "附件 totals.pdf（application/pdf，1200 字节，SHA-256 5eed）",
	} {
		d, err := document.Report(document.Source{Run: "r", Program: p, Journal: journal}, l, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, s := range d.Sections {
			for _, row := range s.Rows {
				found = found || slices.Contains(row, want)
			}
		}
		if !found {
			t.Errorf("%s: it is not listed", l)
		}
	}
}

// TestReportSaysWhatWasLost by the switches of the run, and where that comes from.
func TestReportSaysWhatWasLost(t *testing.T) {
	src := source(t, "apiVersion: perdure/v1\nkind: Plan\nname: p\nmodes: [takeover, emergency]\nsteps: [{id: go, act: {driver: unit, action: switch, target: u1, with: {to: b}}}]", `
0s ann started -
0s node:a took - {"term":1}
1s node:a began go {"attempt":1,"call":{"driver":"unit","action":"switch","target":"u1","with":{"to":"b"}}}
2s node:a ended go {"attempt":1,"outcome":"done","result":{"lostTransactions":3,"lostAccounts":2,"lostAmount":"30.5","lostMillis":1500,"lossSource":"receipts of gateway c"}}
2s node:a finished - {"outcome":"done"}
`, plan.Emergency)
	d := report(t, src, document.English)
	sameInAllFormats(t, d)
	about := facts(t, d, "Summary")
	for name, want := range map[string]string{
		"Lost, as accepted at the decision": "transactions 3, accounts 2, amount 30.50", "Lost business time": "1.500 s", "RPO kept": "met",
		"RPO": "less than 1 h, or the system's own target where it is stricter", "Source of what was lost": "u1: receipts of gateway c",
	} {
		if about[name] != want {
			t.Errorf("%s: %q, want %q", name, about[name], want)
		}
	}
	zh := report(t, src, document.Chinese)
	sameInAllFormats(t, zh)
	if facts(t, zh, "概要")["数据丢失（决策时接受的估算）"] != "交易 3 笔，账户 2 个，金额 30.50" {
		t.Errorf("%q", facts(t, zh, "概要"))
	}
}

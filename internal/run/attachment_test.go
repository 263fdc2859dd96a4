package run_test

import (
	"archive/zip"
	"bytes"
	"strings"
	"testing"

	"perdure/internal/errs"
	"perdure/internal/plan"
	"perdure/internal/run"
)

// zipped is an archive with empty parts of these names.
func zipped(t *testing.T, names ...string) string {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, n := range names {
		if _, err := z.Create(n); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestWhatIsAttachedIsToldByItsBytes(t *testing.T) {
	for name, c := range map[string]struct{ data, want string }{
		"a.exe":    {"%PDF-1.7\n", "application/pdf"},
		"b.png":    {"\x89PNG\r\n\x1a\n0000", "image/png"},
		"c":        {"\xff\xd8\xff\xe0", "image/jpeg"},
		"d.txt":    {"差额 0\r\n", "text/plain; charset=utf-8"},
		"e.CSV":    {"a,b\n", "text/csv; charset=utf-8"},
		"f.html":   {"<script>", "text/plain; charset=utf-8"},
		"g.docx":   {zipped(t, "[Content_Types].xml", "word/document.xml"), "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
		"h.xlsx":   {zipped(t, "[Content_Types].xml", "xl/workbook.xml"), "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
		"i.docx":   {zipped(t, "[Content_Types].xml", "word/document.xml", "word/vbaProject.bin"), ""},
		"j.docx":   {zipped(t, "word/document.xml"), ""},
		"k.zip":    {zipped(t, "run.exe"), ""},
		"l.pdf":    {"MZ\x00\x01", ""},
		"m.txt":    {"\xff\xfe", ""},
		"n.txt":    {"a\x1b[31m", ""},
		"empty":    {"", ""},
		"o.xlsx":   {"PK\x03\x04cut", ""},
		"large.gz": {"a" + strings.Repeat("b", run.MostAttachment), ""},
	} {
		a, err := run.NewAttachment(name, []byte(c.data))
		if a.Type != c.want && err == nil || (c.want == "") != (err != nil) || err != nil && errs.KindOf(err) != errs.Invalid {
			t.Errorf("%s is %q, %v; want %q", name, a.Type, err, c.want)
		}
		if err == nil && (len(a.SHA256) != 64 || a.Size != len(c.data)) {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if _, err := run.NewAttachment("x.txt", bytes.Repeat([]byte("b"), run.MostAttachment)); err != nil {
		t.Error(err)
	}
}

func TestNamesOfFilesAreCleaned(t *testing.T) {
	for name, want := range map[string]string{
		"report.pdf": "report.pdf", "核对表 (1).xlsx": "核对表 (1).xlsx", `C:\temp\x.txt`: "x.txt", "../../etc/passwd": "passwd", "..": "file", "": "file",
		".bashrc": "bashrc", "a\r\nb\u202etxt.exe": "a__b_txt.exe", "a;b\"c": "a_b_c", "bad\xffname": "bad_name",
		strings.Repeat("x", 200) + ".pdf": strings.Repeat("x", 96) + ".pdf",
	} {
		a, err := run.NewAttachment(name, []byte("text"))
		if err != nil || a.Name != want {
			t.Errorf("%q is %q, %v; want %q", name, a.Name, err, want)
		}
	}
}

func FuzzAttachment(f *testing.F) {
	f.Add("a/b", []byte("%PDF-"))
	f.Add("..", []byte(zipped(&testing.T{}, "[Content_Types].xml", "xl/workbook.xml")))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		a, err := run.NewAttachment(name, data)
		if a.Name == "" || strings.ContainsAny(a.Name, "/\\\r\n\"\x00") || strings.HasPrefix(a.Name, ".") || len([]rune(a.Name)) > 100 {
			t.Errorf("%q becomes %q", name, a.Name)
		}
		if err == nil && a.Type == "" {
			t.Error("a file of no type is taken")
		}
	})
}

func TestTaskTakesAsManyFilesAsItWantsAndNoMoreThanItMay(t *testing.T) {
	r := run.Begin("r1", programOf(t, `apiVersion: perdure/v1
kind: Plan
name: p
modes: [takeover]
steps:
- {id: north, manual: {owner: desk, instruction: Compare., attachments: 2}}
`, plan.Takeover))
	took(t, r, run.Entry{By: "ann", What: run.Started}, run.Entry{By: "node:a", What: run.Opened, Node: "north"})
	done := func(names ...string) run.Entry {
		e := task("li", run.Completed, "north")
		for _, n := range names {
			a, err := run.NewAttachment(n, []byte(n))
			if err != nil {
				t.Fatal(err)
			}
			e.Attachments = append(e.Attachments, a)
		}
		return e
	}
	refused(t, r, done("a"), errs.Invalid)
	refused(t, r, done("a", "a"), errs.Invalid)
	refused(t, r, done("a", "b", "c", "d", "e", "f", "g", "h", "i"), errs.Invalid)
	if asks := r.WaitsFor(of("li", "desk")); len(asks) != 1 || asks[0].Attachments != 2 {
		t.Errorf("%+v", asks)
	}
	took(t, r, done("a", "b"))
	s, _ := r.Step("north")
	if len(s.Attachments) != 2 || s.Attachments[1].Name != "b" {
		t.Errorf("%+v", s.Attachments)
	}
	if all := run.Attachments([]run.Entry{done("a", "b"), done("b", "c")}); len(all) != 3 {
		t.Errorf("%+v", all)
	}
}

// What an action made is named by the journal as what people hand in is: expressions and results see nothing of it.
func TestFilesOfAnActionAreNamedByTheJournal(t *testing.T) {
	p := plan.Plan{Name: "p", Modes: []plan.Mode{plan.Drill}, Steps: []plan.Step{
		{ID: "show", Act: &plan.Call{Driver: "sandbox", Action: "show", Target: "u1", With: map[string]any{"site": "b"}, Expect: "result.rows == 1.0"}, Outputs: map[string]string{"rows": "result.rows"}},
		{ID: "gone", Cleanup: true, Act: &plan.Call{Driver: "sandbox", Action: "discard", Target: "u1", With: map[string]any{"site": "b"}}},
	}}
	program, err := plan.Compile([]plan.Plan{p}, plan.BuiltIn(), "p", plan.Drill)
	if err != nil {
		t.Fatal(err)
	}
	file, err := run.NewAttachment("a.csv", []byte("x\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := run.Replay("r", program, nil)
	if err != nil {
		t.Fatal(err)
	}
	seq := 0
	say := func(e run.Entry) {
		t.Helper()
		seq++
		e.Seq = seq
		if err := r.Advance(e); err != nil {
			t.Fatal(err)
		}
	}
	say(run.Entry{What: run.Started, By: "ann"})
	call := p.Steps[0].Act
	say(run.Entry{What: run.Began, Node: "show", Attempt: 1, Call: call})
	given := map[string]any{"rows": 1.0, run.Files: []run.Attachment{file}}
	e := r.Judge(run.Attempt{Node: "show", Attempt: 1, Call: call}, given, nil)
	if e.Outcome != run.Done || len(e.Attachments) != 1 || e.Attachments[0] != file || len(e.Result) != 1 || len(given) != 2 {
		t.Fatalf("%+v", e)
	}
	if bad := r.Judge(run.Attempt{Node: "show", Attempt: 1, Call: call}, map[string]any{"rows": 2.0, run.Files: []run.Attachment{file}}, nil); bad.Outcome != run.Failed || bad.Attachments != nil {
		t.Errorf("what did not come out as expected is shown: %+v", bad)
	}
	say(e)
	if got := run.Attachments([]run.Entry{e}); len(got) != 1 || got[0] != file {
		t.Errorf("%+v", got)
	}
}

// What is shown is for those who are asked what comes after it in the plan, through subplans too, and for nobody else.
func TestWhatIsShownIsForWhatComesAfterIt(t *testing.T) {
	r := run.Begin("r1", programOf(t, `apiVersion: perdure/v1
kind: Plan
name: p
modes: [drill]
steps:
- {id: one, after: [], subplan: {plan: sub}}
- {id: two, after: [], act: {driver: sandbox, action: show, target: u2, with: {site: b}}}
- {id: north, after: [one], subplan: {plan: asks}}
- {id: south, after: [two], manual: {owner: south, instruction: Look.}}
- {id: agree, after: [north, south], approval: {of: [boss], need: 1, text: "Well?"}}
- {id: over, after: [agree], notify: {to: [west], text: It is over.}}
- {id: east, after: [], manual: {owner: east, instruction: Look.}}
- {id: gone, after: [agree], cleanup: true, act: {driver: sandbox, action: discard, target: u1, with: {site: b}}}
- {id: gone2, after: [agree], cleanup: true, act: {driver: sandbox, action: discard, target: u2, with: {site: b}}}
---
apiVersion: perdure/v1
kind: Plan
name: sub
modes: [drill]
steps:
- {id: show, act: {driver: sandbox, action: show, target: u1, with: {site: b}}}
- {id: gone, cleanup: true, act: {driver: sandbox, action: discard, target: u1, with: {site: b}}}
---
apiVersion: perdure/v1
kind: Plan
name: asks
modes: [drill]
steps:
- {id: look, manual: {owner: north, instruction: Look.}}
`, plan.Drill))
	var ids []string
	for _, n := range r.Program.Nodes {
		ids = append(ids, n.ID)
	}
	shows := func(node, name string) []run.Entry {
		return []run.Entry{
			{By: "node:a", What: run.Began, Node: node, Attempt: 1},
			{By: "node:a", What: run.Ended, Node: node, Attempt: 1, Outcome: run.Done, Attachments: []run.Attachment{{Name: name, SHA256: name}}},
		}
	}
	took(t, r, run.Entry{By: "ann", What: run.Started}, run.Entry{By: "node:a", What: run.Entered, Node: "one"}, run.Entry{By: "node:a", What: run.Opened, Node: "east"})
	took(t, r, shows("one/show", "first")...)
	took(t, r, shows("two", "second")...)
	took(t, r, shows("one/gone", "")[0], run.Entry{By: "node:a", What: run.Ended, Node: "one/gone", Attempt: 1, Outcome: run.Done}, run.Entry{By: "node:a", What: run.Ended, Node: "one", Outcome: run.Done},
		run.Entry{By: "node:a", What: run.Entered, Node: "north"}, run.Entry{By: "node:a", What: run.Opened, Node: "north/look"}, run.Entry{By: "node:a", What: run.Opened, Node: "south"})
	names := func(list []run.Attachment) (out string) {
		for _, a := range list {
			out += a.Name + " "
		}
		return out
	}
	for owner, want := range map[string]string{"north": "first ", "south": "second ", "east": "", "boss": ""} { // boss is not asked yet
		if got := names(r.ShownTo(of("li", owner))); got != want {
			t.Errorf("%s is shown %q, not %q, of %v", owner, got, want, ids)
		}
	}
	if got := names(r.ShownBefore("agree")); got != "first second " {
		t.Errorf("before the approval: %q", got)
	}
	for _, step := range []string{"none", "over", "gone"} {
		if got := r.ShownBefore(step); got != nil {
			t.Errorf("%s asks nobody, and shows %v", step, got)
		}
	}
}

package cli_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"perdure/internal/document"
)

// serveDocuments answers with a small document, and with what f.unsaid says nobody said.
func (f *fakeNode) serveDocuments(answer func(pattern string, give func(r *http.Request) any)) {
	paper := func(r *http.Request) any {
		f.note(r.URL.Path + "?" + r.URL.RawQuery)
		return document.Paper{Title: "Recovery plan", File: []byte("<p>plan</p>\n"), Findings: append([]document.Finding{}, f.unsaid...)}
	}
	answer("GET /api/v1/plans/{plan}/document", paper)
	answer("GET /api/v1/response", paper)
}

func TestDocumentOfAPlanIsAskedForAndWrittenOnce(t *testing.T) {
	f := startFake(t)
	file := filepath.Join(t.TempDir(), "drp.docx")
	args := []string{"plan", "document", "move-unit", "--mode", "takeover", "--lang", "zh", "--format", "docx", "--out", file}
	r := run(t.Context(), call{env: f.env(), args: args})
	text, err := os.ReadFile(file)
	if r.code != 0 || err != nil || string(text) != "<p>plan</p>\n" || !strings.Contains(r.out, file+"：12 字节") || !slices.Contains(f.asked, "/api/v1/plans/move-unit/document?as=drp&format=docx&lang=zh-CN&mode=takeover") {
		t.Errorf("exit %d: %s%s %q %v; asked %q", r.code, r.out, r.err, text, err, f.asked)
	}
	if r = run(t.Context(), call{env: f.env(), args: args}); r.code != 7 {
		t.Errorf("a file that exists: exit %d: %s", r.code, r.err)
	}
	if r = run(t.Context(), call{env: f.env(), args: []string{"plan", "document", "--as", "erp", "--site", "a"}}); r.code != 0 || r.out != "<p>plan</p>\n" || !slices.Contains(f.asked, "/api/v1/response?format=html&lang=en&site=a") {
		t.Errorf("exit %d: %s%s; asked %q", r.code, r.out, r.err, f.asked)
	}
}

func TestWhatNobodySaidIsToldBesideTheDocument(t *testing.T) {
	f := startFake(t)
	f.unsaid = []document.Finding{{Kind: document.Nobody, Subject: "lead", Text: "nobody leads"}}
	file := filepath.Join(t.TempDir(), "erp.html")
	r := run(t.Context(), call{env: f.env(), args: []string{"plan", "document", "--as", "erp", "--system", "corebank", "--out", file}})
	if text, err := os.ReadFile(file); r.code != 3 || err != nil || string(text) != "<p>plan</p>\n" || !strings.Contains(r.err, "finding: nobody leads\n") {
		t.Errorf("exit %d: %s%s %q %v", r.code, r.out, r.err, text, err)
	}
	r = run(t.Context(), call{env: f.env(), args: []string{"plan", "document", "--as", "erp", "--system", "corebank", "--json"}})
	var p document.Paper
	if err := json.Unmarshal([]byte(r.out), &p); err != nil || r.code != 3 || string(p.File) != "<p>plan</p>\n" || len(p.Findings) != 1 || p.Findings[0] != f.unsaid[0] {
		t.Errorf("exit %d: %s %v", r.code, r.out, err)
	}
}

func TestDocumentsAreMadeOfFilesWithoutAServer(t *testing.T) {
	estate := []string{"--manifest", "../../examples/estate"}
	for name, one := range map[string]struct {
		args []string
		code int
		has  []string
		told string
	}{
		"recovery plan":  {[]string{"move-unit", "--mode", "takeover", "--lang", "zh"}, 0, []string{"<h1>灾难恢复计划</h1>", "主动接管"}, ""},
		"first mode":     {[]string{"move-unit"}, 0, []string{"<h1>Disaster recovery plan</h1>", "planned takeover"}, ""},
		"drill plan":     {[]string{"move-unit", "--as", "drill-plan"}, 0, []string{"<h1>Drill plan</h1>", "in month 4, 10 on day 15 at 01:00, held within 72 h"}, ""},
		"response":       {[]string{"--as", "erp", "--system", "corebank", "--lang", "zh"}, 3, []string{"<h1>紧急响应计划</h1>", "Li Wei"}, "发现项: 没有适用于 u1, u2 的紧急切换预案，可用 perdure plan generate --mode emergency --system corebank 生成"},
		"only looks":     {[]string{"look-around"}, 2, nil, "recovers nothing"},
		"no such plan":   {[]string{"nothing"}, 4, nil, `there is no plan "nothing"`},
		"no such system": {[]string{"--as", "erp", "--system", "nothing"}, 4, nil, `there is no system "nothing"`},
		"no plan":        {nil, 2, nil, "PLAN is missing"},
		"what":           {[]string{"move-unit", "--as", "essay"}, 2, nil, "drp, drill-plan, erp"},
		"of nothing":     {[]string{"--as", "erp"}, 2, nil, "--system SYSTEM and --site SITE"},
		"of a plan":      {[]string{"move-unit", "--as", "erp", "--site", "a"}, 2, nil, "leave PLAN and --mode out"},
		"of a site":      {[]string{"move-unit", "--site", "a"}, 2, nil, "for --as erp"},
		"format":         {[]string{"move-unit", "--format", "pdf"}, 2, nil, "html, docx, xlsx"},
	} {
		r := run(t.Context(), call{args: slices.Concat([]string{"plan", "document"}, one.args, estate)})
		if r.code != one.code || !strings.Contains(r.err, one.told) {
			t.Errorf("%s: exit %d, want %d: %s", name, r.code, one.code, r.err)
		}
		for _, text := range one.has {
			if !strings.Contains(r.out, text) {
				t.Errorf("%s: there is no %s", name, text)
			}
		}
	}
}

package document_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"perdure/internal/document"
	"perdure/internal/plan"
)

// packed is a text without what lines are broken by.
func packed(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, text)
}

// TestWordProcessorShowsEveryText has LibreOffice open the DOCX, and reads the pages that it makes. Part of make test-docs only.
func TestWordProcessorShowsEveryText(t *testing.T) {
	if os.Getenv("PERDURE_TEST_DOCS") == "" {
		t.Skip("make test-docs opens documents with LibreOffice")
	}
	for _, l := range []document.Language{document.English, document.Chinese} {
		all := written(t, l)
		wordProcessorShows(t, "switch-"+string(l), report(t, source(t, switchPlan, switchJournal, plan.Takeover), l))
		for _, name := range []string{"drp-takeover-site-a-takeover", "drp-emergency-site-a-emergency", "drill-plan-practise-drill", "erp-corebank"} {
			wordProcessorShows(t, name+"-"+string(l), all[name])
		}
	}
}

func wordProcessorShows(t *testing.T, name string, d *document.Document) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "d.docx"), write(t, d.DOCX), 0o600); err != nil {
		t.Fatal(err)
	}
	office := exec.CommandContext(t.Context(), "soffice", "--headless", "-env:UserInstallation=file://"+dir+"/profile", "--convert-to", "pdf", "--outdir", dir, filepath.Join(dir, "d.docx"))
	if out, err := office.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := exec.CommandContext(t.Context(), "pdftotext", "-raw", filepath.Join(dir, "d.pdf"), "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	pages := packed(string(text))
	if n := strings.Count(string(text), "\f"); n < 1 || n > 8 {
		t.Errorf("%s: %d pages", name, n)
	}
	look := func(what string) {
		// A hyphen may have been put where a word was broken.
		if !strings.Contains(pages, packed(what)) && !strings.Contains(strings.ReplaceAll(pages, "-", ""), strings.ReplaceAll(packed(what), "-", "")) {
			t.Errorf("%s: the pages do not show %q", name, what)
		}
	}
	c := contentOf(d)
	look(c.Title)
	look(c.Subtitle)
	for _, s := range c.Sections {
		look(s.Title)
		for _, row := range s.Cells {
			for _, cell := range row {
				look(cell)
			}
		}
	}
	if t.Failed() {
		t.Logf("%s", text)
	}
	if keep := os.Getenv("PERDURE_KEEP_DOCS"); keep != "" {
		data, err := os.ReadFile(filepath.Join(dir, "d.pdf"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(keep, name+".pdf"), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

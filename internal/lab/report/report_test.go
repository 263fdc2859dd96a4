package report_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/estate"
	"perdure/internal/lab/checker"
	"perdure/internal/lab/history"
	"perdure/internal/lab/report"
)

func verdict() checker.Verdict {
	return checker.Verdict{
		Estate: "example", Seed: 7, Pass: true, MoneyConserved: true, Counts: map[checker.Name]int{checker.LostWrite: 7},
		Steps: []checker.Step{
			{Name: "warm up", Mode: history.Steadily, End: 5 * time.Second, Acknowledged: 900, Gap: 20 * time.Millisecond, GapMeaningful: true},
			{
				Name: "takeover of u1", Title: map[string]string{"zh": "主动接管 u1"}, Mode: history.Takeover, Start: 5 * time.Second, End: 20 * time.Second,
				Gap: 231*time.Millisecond + time.Microsecond, GapMeaningful: true, Pause: 180 * time.Millisecond, Held: 41, Replayed: 2, Acknowledged: 3100, RPOExact: true,
				RPOBasis: "planned: nothing may differ",
				Units:    []checker.UnitStep{{Unit: "u1", Rate: 151.4, Gap: 231 * time.Millisecond, Pause: 180 * time.Millisecond, Acknowledged: 1600, Switches: 1}},
			},
			{
				Name: `<script>alert("x")</script>`, Mode: history.Emergency, Start: 20 * time.Second, End: 40 * time.Second, Gap: 4 * time.Second,
				Errors: 3, Reconnects: 12, Acknowledged: 2500, Lost: 7, Resent: 5, RPOExact: false, ExpectedLoss: true,
			},
		},
		Findings: []checker.Finding{{Name: checker.LostWrite, Step: "emergency", Unit: "u1", Key: "k1", Message: "a <b>credit</b> is gone", Accepted: true}},
		Timeline: checker.Timeline{
			Interval: time.Second, Units: map[estate.UnitID][]int{"u1": make([]int, 41), "u2": {5, 6, 7}},
			Faults: []checker.FaultMark{{What: "kill", Targets: []string{"site a"}, Start: 21 * time.Second, End: 30 * time.Second}, {What: "disk-full", Skipped: "no tmpfs"}},
		},
	}
}

func TestSummaryHasExactlyThePromisedFields(t *testing.T) {
	path := filepath.Join(t.TempDir(), "summary.json")
	if err := report.WriteSummary(path, report.Summarise(verdict())); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"money_conserved": true, "old_epoch_writes": 0.0, "verdict": "pass",
		"steps": []any{
			map[string]any{
				"name": "takeover of u1", "mode": "takeover", "gap_ms": 232.0, "errors": 0.0, "reconnects": 0.0, "acknowledged": 3100.0,
				"lost": 0.0, "doubled": 0.0, "rpo_exact": true, "expected_loss": false,
			},
			map[string]any{
				"name": `<script>alert("x")</script>`, "mode": "emergency", "gap_ms": 4000.0, "errors": 3.0, "reconnects": 12.0, "acknowledged": 2500.0,
				"lost": 7.0, "doubled": 0.0, "rpo_exact": false, "expected_loss": true,
			},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("%d files beside the summary, %v", len(left), err)
	}
}

func TestDetailsStandInAFileOfTheirOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "details.json")
	s := report.Summarise(verdict())
	s.Details.Took, s.Details.Within = 252*time.Second, 5*time.Minute
	if err := report.WriteDetails(path, s.Details); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got report.Details
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(s.Details, got); d != "" {
		t.Error(d)
	}
}

func TestTimeFromTheFirstLoadIsToldInTableAndReport(t *testing.T) {
	s := report.Summarise(verdict())
	s.Details.Took, s.Details.Within = 252*time.Second, 5*time.Minute
	table, page := &strings.Builder{}, &strings.Builder{}
	if err := report.Table(table, s, report.English); err != nil {
		t.Fatal(err)
	}
	if err := report.HTML(page, s); err != nil {
		t.Fatal(err)
	}
	if want := "from the first load to the verdict: 4m12s (at most 5m0s)"; !strings.Contains(table.String(), want) {
		t.Errorf("the table lacks %q:\n%s", want, table)
	}
	for _, want := range []string{"4m12s (at most 5m0s)", "4m12s (上限 5m0s)"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the report lacks %q", want)
		}
	}
}

func TestRunWithoutVerdictHasFailed(t *testing.T) {
	if s := report.Summarise(); s.Verdict != "fail" || s.MoneyConserved {
		t.Errorf("%+v", s)
	}
	if s := report.Failed("interrupted", verdict()); s.Verdict != "fail" || len(s.Steps) != 2 {
		t.Errorf("%+v", s)
	}
	bad := verdict()
	bad.Estate, bad.Pass, bad.OldEpochWrites, bad.MoneyConserved = "second", false, 2, false
	s := report.Summarise(verdict(), bad)
	if s.Verdict != "fail" || s.OldEpochWrites != 2 || s.MoneyConserved || len(s.Steps) != 4 || s.Steps[2].Name != "takeover of u1 (second)" {
		t.Errorf("%+v", s.Steps)
	}
}

func TestTableLinesUpInBothLanguages(t *testing.T) {
	for language, want := range map[report.Language]string{
		report.English: `
step                         write gap  write pause  held  replayed  errors  acknowledged                      lost  doubled  money conserved
---------------------------------------------------------------------------------------------------------------------------------------------
warm up                          20 ms            -     0         0       0           900                         0        0
takeover of u1                  232 ms       180 ms    41         2       0          3100                         0        0
<script>alert("x")</script>    4.00 s*            -     0         0       3          2500  7 accepted, 5 sent again        0
---------------------------------------------------------------------------------------------------------------------------------------------
all steps                       4.00 s       180 ms    41         2       3          6500                         7        0              yes
* below 100 acknowledged writes/s of a unit: the gap says more about the load than about the product
writes in an old epoch: 0
- lost-write in emergency of u1 (key k1), accepted: a <b>credit</b> is gone
  lost-write: 7
passed
`,
		report.Chinese: `
步骤                          写中断  写暂停  挂起  重放  错误  已确认                丢失  重复  资金守恒
----------------------------------------------------------------------------------------------------------
warm up                        20 ms       -     0     0     0     900                   0     0
主动接管 u1                   232 ms  180 ms    41     2     0    3100                   0     0
<script>alert("x")</script>  4.00 s*       -     0     0     3    2500  7 已接受, 5 已补发     0
----------------------------------------------------------------------------------------------------------
全部步骤                      4.00 s  180 ms    41     2     3    6500                   7     0        是
* 单元每秒确认写入低于 100 笔：中断时长主要反映负载
旧纪元写入: 0
- lost-write in emergency of u1 (key k1), accepted: a <b>credit</b> is gone
  lost-write: 7
通过
`,
	} {
		b := &strings.Builder{}
		if err := report.Table(b, report.Summarise(verdict()), language); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(strings.TrimPrefix(want, "\n"), b.String()); d != "" {
			t.Errorf("%s: %s", language, d)
		}
	}
}

func TestReportLoadsNothingAndEscapesWhatItShows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.html")
	if err := report.WriteReport(path, report.Summarise(verdict())); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	if m := regexp.MustCompile(`(?i)(src|href|url)\s*[=(]`).FindString(page); m != "" {
		t.Errorf("the report loads something: %s", m)
	}
	for _, raw := range []string{"<script>alert", "<b>credit"} {
		if strings.Contains(page, raw) {
			t.Errorf("%s is not escaped", raw)
		}
	}
	for _, want := range []string{"主动接管 u1", "takeover of u1", "4.00 s", "@media print", "<polyline", "site a", "no tmpfs", `class="verdict pass"`, "232 ms"} {
		if !strings.Contains(page, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	for _, tag := range []string{"table", "tr", "td", "th", "section", "dl", "svg", "span", "thead", "tbody", "div"} {
		opened, closed := len(regexp.MustCompile("<"+tag+"[ >]").FindAllString(page, -1)), strings.Count(page, "</"+tag+">")
		if opened != closed {
			t.Errorf("%d <%s> and %d </%s>", opened, tag, closed, tag)
		}
	}
}

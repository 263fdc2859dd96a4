package document_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/document"
	"perdure/internal/evaluation"
	"perdure/internal/plan"
	"perdure/internal/rectification"
)

// tracked is the sheet of the judged run, with every state that an item may have.
func tracked(t *testing.T) rectification.Sheet {
	t.Helper()
	src := source(t, judgedPlan, judgedJournal, plan.Drill)
	e, err := evaluation.Of(src.Run, src.Program, src.Journal)
	if err != nil {
		t.Fatal(err)
	}
	at := func(minute int) time.Time { return time.Date(2026, 11, 23, 9, minute, 0, 0, time.UTC) }
	s, err := rectification.Begin(e, "ann", at(0))
	if err != nil {
		t.Fatal(err)
	}
	passed := true
	for n, c := range []rectification.Change{
		{What: rectification.Add, By: "eve", Text: "the phone list is old", Step: "count"},
		{What: rectification.Assign, Number: 1, By: "ann", Owner: "bob", Due: at(30)},
		{What: rectification.Correct, Number: 2, By: "bob", Text: "the probe was mended"},
		{What: rectification.Verify, Number: 2, By: "cid", Run: "move-2", Began: at(10), Shows: evaluation.Missed},
		{What: rectification.Correct, Number: 2, By: "bob", Text: "and its timeout"},
		{What: rectification.Correct, Number: 3, By: "bob", Text: "more patience"},
		{What: rectification.Accept, Number: 4, By: "dan", Text: "replaced next year"},
		{What: rectification.Correct, Number: 5, By: "eve", Text: "printed anew"},
		{What: rectification.Verify, Number: 5, By: "cid", Run: "move-3", Began: at(10), Passed: &passed, Text: "everybody was reached"},
	} {
		c.At = at(1 + n)
		if s, err = rectification.Apply(s, c); err != nil {
			t.Fatalf("%d: %v", n, err)
		}
	}
	return s
}

func TestTrackingSaysWhatBecameOfEveryItem(t *testing.T) {
	d := document.Tracking([]rectification.Sheet{tracked(t)}, time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC), document.English, shanghai)
	sameInAllFormats(t, d)
	about := facts(t, d, "Summary")
	if diff := cmp.Diff(map[string]string{"Runs": "1", "Items": "5", "open": "1", "put right, waits for its re-test": "2", "closed by a re-test": "1", "risk accepted": "1", "Overdue": "1"}, about); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][]string{
		{
			"move-1", "1", "missed: The recovery time is at most 1 min (1 min 20.000 s)", "–", "bob", "2026-11-23 17:30:00.000", "open, overdue", "–", "–",
			"a run that meets criterion 2",
		},
		{
			"move-1", "2", "missed: world d: result.well (left out bob: not today)", "left", "–", "–", "put right, waits for its re-test", "and its timeout (bob, 2026-11-23 17:05:00.000)",
			"move-2: failed (cid, 2026-11-23 17:04:00.000)", "a run that meets criterion 7",
		},
		{
			"move-1", "3", "it took 2 attempts; the first: not yet", "again", "–", "–", "put right, waits for its re-test", "more patience (bob, 2026-11-23 17:06:00.000)", "–",
			"a run in which again is done at its first attempt",
		},
		{
			"move-1", "4", "it was not done by itself: bob: I looked", "hand", "–", "–", "risk accepted\nreplaced next year (dan, 2026-11-23 17:07:00.000)", "–", "–",
			"a run in which hand is done by itself",
		},
		{
			"move-1", "5", "the phone list is old (added by eve, 2026-11-23 17:01:00.000)", "count", "–", "–", "closed by a re-test", "printed anew (eve, 2026-11-23 17:08:00.000)",
			"move-3: passed (cid, 2026-11-23 17:09:00.000) everybody was reached", "a run in which a person sees that it is",
		},
	}, rows(t, d, "Rectification")); diff != "" {
		t.Error(diff)
	}
	if d := document.Tracking(nil, time.Unix(0, 0), document.Chinese, shanghai); len(d.Sections) != 1 || d.Title != "整改跟踪表" {
		t.Errorf("%+v", d)
	}
}

func TestSummaryAndTrackingAreAsTheyWere(t *testing.T) {
	sheet := tracked(t)
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for _, l := range []document.Language{document.English, document.Chinese} {
		summary, err := document.Wrapup(source(t, judgedPlan, judgedJournal, plan.Drill), &sheet, at, l, shanghai)
		if err != nil {
			t.Fatal(err)
		}
		for name, d := range map[string]*document.Document{"summary": summary, "tracking": document.Tracking([]rectification.Sheet{sheet}, at, l, shanghai)} {
			sameInAllFormats(t, d)
			page := write(t, d.HTML)
			file := filepath.Join("testdata", name+"-"+string(l)+".html")
			if *update {
				if err := os.WriteFile(file, page, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(page)); diff != "" {
				t.Error(diff)
			}
		}
	}
}

// TestSummaryWithoutASheetHasTheProblems: nobody has to open one to see what is wrong.
func TestSummaryWithoutASheetHasTheProblems(t *testing.T) {
	src := source(t, judgedPlan, judgedJournal, plan.Drill)
	d, err := document.Wrapup(src, nil, time.Unix(0, 0), document.English, shanghai)
	if err != nil {
		t.Fatal(err)
	}
	sameInAllFormats(t, d)
	if got := rows(t, d, "To be put right"); len(got) != 4 {
		t.Errorf("%q", got)
	}
	if diff := cmp.Diff([][]string{
		{"ann", "–", "started the run", "–"}, {"bob", "–", "had it begun again, left it out, did it by hand", "again, left, hand"}, {"cid", "–", "completed the task", "count"}, {"dan", "commander", "approved", "agree"},
	}, rows(t, d, "Who took part")); diff != "" {
		t.Error(diff)
	}
	for n := range src.Journal { // of a run that is not over too
		cut := src
		cut.Journal = src.Journal[:n+1]
		if _, err := document.Wrapup(cut, nil, time.Unix(0, 0), document.Chinese, shanghai); err != nil {
			t.Errorf("%d entries: %v", n+1, err)
		}
	}
}

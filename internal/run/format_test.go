package run_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/plan"
	"perdure/internal/run"
)

func TestEntriesAreReadAsTheyWereKept(t *testing.T) {
	entries := []run.Entry{
		{Seq: 7, At: time.Unix(1, 5000).UTC(), By: "node:a", What: run.Began, Node: "one", Attempt: 2, Call: &plan.Call{Driver: "world", Action: "set", With: map[string]any{"to": "b"}}, Locks: []string{"disk"}},
		{Seq: 8, By: "ann", What: run.Completed, Node: "count", Result: map[string]any{"n": 7.0}, Attachments: []run.Attachment{{Name: "a.txt"}}},
	}
	data, err := run.Encode(run.Oldest, entries)
	if err != nil || run.Numbered(data) {
		t.Fatalf("%s, %v", data, err)
	}
	got, err := run.Decode(data)
	if diff := cmp.Diff(entries, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if _, err := run.Encode(run.Newest+1, entries); !run.Newer(err) {
		t.Errorf("a form that nobody reads was written: %v", err)
	}
}

// TestWhatAProgramDoesNotKnowIsRefused (R9), and what is broken is not taken for that.
func TestWhatAProgramDoesNotKnowIsRefused(t *testing.T) {
	for text, newer := range map[string]bool{
		`{"format":99,"entries":[]}`:                     true,
		` {"format":99}`:                                 true,
		`[{"seq":1,"what":"dreamt","by":"ann"}]`:         true,
		`[{"seq":1,"what":"ended","outcome":"perhaps"}]`: true,
		`[{"seq":1,"what":"began","unless":"it rains"}]`: true,
		`{"format":0}`:                                   true, // no form has that number
		`[{"seq":1,`:                                     false,
		`{"format":"2"}`:                                 false,
		`[{"seq":"x"}]`:                                  false,

		`[{"seq":1,"what":"began","call":{"driver":"world","action":"set","gently":true}}]`: true,
		`[{"seq":1,"what":"completed","attachments":[{"name":"a","language":"zh"}]}]`:       true,
	} {
		_, err := run.Decode([]byte(text))
		if err == nil || run.Newer(err) != newer || run.Newer(fmt.Errorf("read: %w", err)) != newer {
			t.Errorf("%s: %v", text, err)
		}
	}
	if run.Newer(nil) || run.Newer(errors.New("no quorum")) {
		t.Error("no error, or another one, is no newer version")
	}
}

// TestEveryKindOfEntryIsKnown keeps the list of what a program reads as long as that of what it writes.
func TestEveryKindOfEntryIsKnown(t *testing.T) {
	for _, w := range []run.What{
		run.Took, run.Entered, run.Passed, run.Began, run.Ended, run.Opened, run.Finished, run.Started, run.Paused, run.Resumed, run.Retried, run.Skipped, run.TakenOver,
		run.Cancelled, run.Approved, run.Declined, run.Completed, run.Acknowledged, run.Delegated, run.AddedApprover, run.BrokeGlass, run.Reviewed,
	} {
		for _, o := range []run.Outcome{"", run.Done, run.Failed, run.Nothing, run.Unknown, run.Refused, run.Undone, run.Broken} {
			data, err := json.Marshal([]run.Entry{{Seq: 1, What: w, Outcome: o}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := run.Decode(data); err != nil {
				t.Errorf("%s %s: %v", w, o, err)
			}
		}
	}
}

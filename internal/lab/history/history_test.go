package history_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"perdure/internal/errs"
	"perdure/internal/lab/history"
)

func create(t *testing.T) (*history.Writer, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "history.jsonl")
	w, err := history.Create(path, "test", 7)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w, path
}

func readAll(path string) (events []history.Event, err error) {
	for e, err := range history.Read(path) {
		if err != nil {
			return events, err
		}
		events = append(events, e)
	}
	return events, nil
}

func TestHistoryIsReadAsItWasWritten(t *testing.T) {
	w, path := create(t)
	call := history.Call{
		ID: 1, Site: "a", Caller: "load-a", Key: "k1", Op: history.Cross, From: "acc-1", To: "acc-2", Amount: history.Cents(1234), Unit: "u1",
		Sent: w.Now(), Done: w.Since(), Outcome: history.Acknowledged, Status: 201, Ownership: "1.x.3", Stamped: "committed",
		Result: history.Digest([]byte(`{"a":1}`)), Held: 250 * time.Millisecond, Replays: 1,
		Attempts: []history.Attempt{{Gateway: "http://gateway.a:7500", Until: 1, Ending: history.Reset, Detail: "eof"}, {Gateway: "http://gateway.b:7500", From: 1, Until: 2, Ending: history.Answered, Status: 201}},
	}
	if err := w.Append(history.Event{Call: &call}); err != nil {
		t.Fatal(err)
	}
	if err := w.Mark(history.Mark{Edge: history.Starts, Step: "one", Mode: history.Failover, Expect: history.Expect{Exact: true}}); err != nil {
		t.Fatal(err)
	}
	if got, err := readAll(path); err != nil || len(got) != 3 {
		t.Fatalf("after a mark everything before it has to be on disk: %d events, %v", len(got), err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := readAll(path)
	if err != nil || len(got) != 4 {
		t.Fatalf("got %d events, %v", len(got), err)
	}
	if d := cmp.Diff(call, *got[1].Call); d != "" {
		t.Error(d)
	}
	if got[0].Begin.Estate != "test" || got[0].Begin.Seed != 7 || got[3].End.Events != 3 {
		t.Errorf("begin %+v, end %+v", got[0].Begin, got[3].End)
	}
	if err := w.Append(history.Event{Note: &history.Note{}}); errs.KindOf(err) != errs.Conflict {
		t.Errorf("append after close: %v", err)
	}
}

func TestHistoryThatWasCutShortIsAnError(t *testing.T) {
	w, path := create(t)
	for range 10 {
		if err := w.Append(history.Event{Note: &history.Note{Text: strings.Repeat("x", 1000)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()-500); err != nil {
		t.Fatal(err)
	}
	got, err := readAll(path)
	if errs.KindOf(err) != errs.Invalid || !strings.Contains(err.Error(), "cut short") {
		t.Errorf("got %d events and error %v", len(got), err)
	}
}

func TestHistoryReadsLinesLongerThanItsBuffer(t *testing.T) {
	w, path := create(t)
	long := strings.Repeat("y", 1<<20)
	if err := w.Append(history.Event{Note: &history.Note{Text: long}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := readAll(path)
	if err != nil || got[1].Note.Text != long {
		t.Errorf("%d events, %v", len(got), err)
	}
}

func TestHistoryNeverOverwritesAnother(t *testing.T) {
	_, path := create(t)
	if _, err := history.Create(path, "other", 1); errs.KindOf(err) != errs.Conflict {
		t.Errorf("got %v", err)
	}
}

func TestHistoryKeepsWholeLinesFromManyWriters(t *testing.T) {
	w, path := create(t)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 500 {
				_ = w.Append(history.Event{Call: &history.Call{Key: "k", Attempts: []history.Attempt{{Gateway: "g"}}}})
			}
		})
	}
	group.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := readAll(path)
	if err != nil || len(got) != 4002 || got[4001].End.Events != 4001 {
		t.Errorf("%d events, %v", len(got), err)
	}
}

func TestAmountIsReadAsItIsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := history.Amount(rapid.Int64Range(-8e18, 8e18).Draw(t, "amount"))
		if got, err := history.ParseAmount(a.String()); err != nil || got != a {
			t.Fatalf("%d is written %s and read %d, %v", a, a, got, err)
		}
	})
	for text, want := range map[string]history.Amount{"12.34": 123400, "-0.01": -100, "7": 70000, "1.23450000": 12345} {
		if got, err := history.ParseAmount(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", ".", "x", "1.23456", "--1", "1e5", "99999999999999999999"} {
		if got, err := history.ParseAmount(text); err == nil {
			t.Errorf("%q is read as %d", text, got)
		}
	}
}

func TestDigestSeesContentAndNotTheOrderOfNames(t *testing.T) {
	if history.Digest([]byte(`{"a":1,"b":"x"}`)) != history.Digest([]byte("{ \"b\":\"x\",\n\"a\":1}")) {
		t.Error("order and blanks changed the digest")
	}
	if history.Digest([]byte(`{"a":1}`)) == history.Digest([]byte(`{"a":2}`)) {
		t.Error("another content has the same digest")
	}
	if history.Digest([]byte(`{"a":1.10}`)) == history.Digest([]byte(`{"a":1.1}`)) {
		t.Error("numbers were rounded")
	}
	if history.Digest(nil) != "" {
		t.Error("an empty body has a digest")
	}
}

func TestHistoryCanBeReadWhileItIsWritten(t *testing.T) {
	w, _ := create(t)
	note := history.Event{Note: &history.Note{Text: strings.Repeat("x", 5000)}}
	for i := range 20 {
		mine := history.Call{ID: uint64(i + 1), Op: history.Credit, Key: "mine"}
		if err := w.Append(history.Event{Call: &mine}); err != nil {
			t.Fatal(err)
		}
		var writing sync.WaitGroup
		writing.Go(func() { // more than a buffer holds, so that parts of lines come into the file
			for range 100 {
				if err := w.Append(note); err != nil {
					t.Error(err)
				}
			}
		})
		var last uint64
		for e, err := range w.SoFar() {
			if err != nil {
				t.Fatalf("reading %d: %v", i, err)
			}
			if e.Call != nil {
				last = e.Call.ID
			}
		}
		writing.Wait()
		if last != mine.ID {
			t.Fatalf("the newest call that was read is %d, want %d", last, mine.ID)
		}
	}
}

func TestAnotherProcessCanFollowTheClockOfAHistory(t *testing.T) {
	w, _ := create(t)
	var began history.Instant
	for e, err := range w.SoFar() {
		if err != nil || e.Begin == nil {
			t.Fatal(e, err)
		}
		began = e.Begin.At
	}
	before := w.Since()
	got := history.Follow(began).Now()
	// The system's time may have been corrected a little since the history began.
	const corrected = 50 * time.Millisecond
	if after := w.Since(); got.Mono < before-corrected || got.Mono > after+corrected || got.Wall == 0 {
		t.Errorf("%v, want a moment between %v and %v", got, before, after)
	}
}

package story

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/errs"
)

var update = flag.Bool("update", false, "rewrite the files of testdata")

// TestStoriesParseAsWritten reads each testdata/*.story and compares what came out, the statements or the problems, with the .txt beside it.
func TestStoriesParseAsWritten(t *testing.T) {
	files, err := filepath.Glob("testdata/*.story")
	if err != nil || len(files) == 0 {
		t.Fatal("no stories", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			s, err := Parse(filepath.Base(file), text)
			if err != nil {
				fmt.Fprintln(&got, err)
			} else {
				dump(&got, s.Statements, "")
			}
			golden := strings.TrimSuffix(file, ".story") + ".txt"
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got.String()); d != "" {
				t.Errorf("read -update rewrites it:\n%s", d)
			}
		})
	}
}

// dump writes statements with the fields that are set.
func dump(b *bytes.Buffer, all []Statement, indent string) {
	for _, s := range all {
		var v any
		var kind string
		switch {
		case s.Action != nil:
			v, kind = s.Action, fmt.Sprintf("%T", s.Action)
		case s.Wait != nil:
			v, kind = s.Wait, "Wait"
		case s.Step != nil:
			step := *s.Step
			step.Body = nil
			v, kind = step, "Step"
		case s.Repeat != nil:
			r := *s.Repeat
			r.Body = nil
			v, kind = r, "Repeat"
		case s.Until != nil:
			v, kind = []any{s.Pass.String(), s.Until}, "Pass"
		case s.Pass > 0:
			v, kind = s.Pass.String(), "Pass"
		case s.Within > 0:
			v, kind = s.Within.String(), "Within"
		default:
			v, kind = s.Say, "Say"
		}
		text, _ := json.Marshal(v)
		fmt.Fprintf(b, "%s%d %s %s\n", indent, s.Line, strings.TrimPrefix(kind, "story."), text)
		if s.Step != nil {
			dump(b, s.Step.Body, indent+"  ")
		}
		if s.Repeat != nil {
			dump(b, s.Repeat.Body, indent+"  ")
		}
	}
}

// FuzzParse: whatever the text, the parser ends, and what it accepts it accepts again when it is written back.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.story")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse("f.story", []byte(text))
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(line, "f.story:") {
					t.Fatalf("a problem without its place: %q", line)
				}
			}
			return
		}
		again, err := Parse("f.story", []byte(back(s.Statements)))
		if err != nil {
			t.Fatalf("not accepted when written back: %v\n%s", err, back(s.Statements))
		}
		var one, two bytes.Buffer
		dumpPlain(&one, s.Statements)
		dumpPlain(&two, again.Statements)
		if one.String() != two.String() {
			t.Fatalf("another story when written back:\n%s\n---\n%s", one.String(), two.String())
		}
	})
}

func back(all []Statement) string {
	var b strings.Builder
	for _, s := range all {
		b.WriteString(s.Text + "\n")
		if s.Step != nil {
			b.WriteString(back(s.Step.Body) + "end\n")
		}
		if s.Repeat != nil {
			b.WriteString(back(s.Repeat.Body) + "end\n")
		}
	}
	return b.String()
}

func dumpPlain(b *bytes.Buffer, all []Statement) {
	var d bytes.Buffer
	dump(&d, all, "")
	for line := range strings.Lines(d.String()) {
		_, rest, _ := strings.Cut(strings.TrimLeft(line, " "), " ")
		b.WriteString(rest)
	}
}

// world records what is done to it; a condition holds when its time has come.
type world struct {
	begun   time.Time
	done    []string
	fail    string                          // the action that fails
	judging time.Duration                   // how long a check takes
	from    map[ConditionKind]time.Duration // since when conditions hold; those that are missing never do
}

func (w *world) log(format string, args ...any) {
	w.done = append(w.done, fmt.Sprintf("%v ", time.Since(w.begun))+fmt.Sprintf(format, args...))
}

func (w *world) Do(ctx context.Context, a Action) error {
	name := strings.TrimPrefix(fmt.Sprintf("%T", a), "story.")
	w.log("do %s", name)
	if name == w.fail {
		return errors.New("it broke")
	}
	if name == "Check" && w.judging > 0 {
		if err := Pass(ctx, w.judging); err != nil {
			return err
		}
		w.log("judged")
	}
	return nil
}

func (w *world) Holds(_ context.Context, c Condition) (bool, string) {
	from, ok := w.from[c.Kind]
	return ok && time.Since(w.begun) >= from, "not yet"
}

func (w *world) Begin(_ context.Context, s Step) error {
	w.log("begin %s", s.Name)
	return nil
}

func (w *world) End(_ context.Context, s Step) error {
	w.log("end %s", s.Name)
	return nil
}

// play runs a story in virtual time.
func play(t *testing.T, text string, w *world) (shown string, err error) {
	t.Helper()
	s, err := Parse("t.story", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	w.begun = time.Now()
	var out bytes.Buffer
	p := NewProgress(&out, false, 80, func() string { return "300 w/s" })
	err = Run(t.Context(), s, w, p)
	p.Close()
	return out.String(), err
}

func TestStoryIsCarriedOutInItsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{from: map[ConditionKind]time.Duration{UnitAt: 1300 * time.Millisecond}}
		shown, err := play(t, `
estate two-city
start
load rate 100
repeat 2
  step "takeover" takeover zh "接管"
    switch u1 to b
    wait u1 at b 5s
  end
  pass 2s
end
say "done"
check`, w)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{
			"0s do Estate", "0s do Start", "0s do Load",
			"0s begin takeover #1", "0s do Switch", "1.3s end takeover #1",
			"3.3s begin takeover #2", "3.3s do Switch", "3.3s end takeover #2", "5.3s do Check",
		}
		if d := cmp.Diff(want, w.done); d != "" {
			t.Error(d)
		}
		for _, part := range []string{"== takeover #1 (takeover)", "✓ wait u1 at b 5s  1.3s  [300 w/s]", "done"} {
			if !strings.Contains(shown, part) {
				t.Errorf("%q is not shown:\n%s", part, shown)
			}
		}
	})
}

func TestStatementThatFailsEndsItsStepAndTheStory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{fail: "Switch"}
		shown, err := play(t, "estate two-city\nstart\nstep \"one\" takeover\n  switch u1 to b\n  pass 1s\nend\ncheck\n", w)
		if err == nil || !strings.Contains(err.Error(), "line 4, switch u1 to b: it broke") {
			t.Errorf("error %v", err)
		}
		if want := "0s end one"; !slices.Contains(w.done, want) || slices.Contains(w.done, "0s do Check") {
			t.Errorf("done: %v", w.done)
		}
		if !strings.Contains(shown, "✗ switch u1 to b") {
			t.Errorf("shown:\n%s", shown)
		}
	})
}

func TestWaitEndsAtItsBoundAndSaysHowThingsStand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		start := time.Now()
		_, err := play(t, "estate two-city\nstart\nwait estate ready within 25s\n", w)
		if err == nil || !strings.Contains(err.Error(), "within 25s; it stands: not yet") {
			t.Errorf("error %v", err)
		}
		if took := time.Since(start); took != 25*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestRepeatForATimeEndsAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		start := time.Now()
		if _, err := play(t, "estate two-city\nstart\nrepeat for 10s\nfault freeze process node-a 200ms harmless\npass 3s\nend\n", w); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 12*time.Second {
			t.Errorf("it took %v, want four rounds of 3s", took)
		}
	})
}

func TestStoryThatIsNotOverInItsTimeFailsAndIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		start := time.Now()
		_, err := play(t, "within 30s\nestate two-city\nstart\npass 1m\nload rate 10\nstep \"one\" drill\n  pass 10s\n  wait u1 at b 50s\nend\ncheck\n", w)
		if errs.KindOf(err) != errs.Refused || !strings.Contains(err.Error(), "longer than the 30s it has from its first load") {
			t.Errorf("error %v", err)
		}
		if took := time.Since(start); took != 90*time.Second {
			t.Errorf("it took %v, want 30s from its load", took)
		}
		if !slices.Contains(w.done, "1m30s end one") {
			t.Errorf("the step was not ended: %v", w.done)
		}
	})
}

func TestStoryThatIsLateWithItsCheckIsJudgedAndFails(t *testing.T) {
	for judging, ok := range map[time.Duration]bool{15 * time.Second: true, 25 * time.Second: false} {
		synctest.Test(t, func(t *testing.T) {
			w := &world{judging: judging}
			_, err := play(t, "within 30s\nestate two-city\nstart\nload rate 10\npass 10s\ncheck\n", w)
			if (err == nil) != ok || err != nil && err.Error() != Late(30*time.Second).Error() {
				t.Errorf("a check of %v: error %v", judging, err)
			}
			if !strings.HasSuffix(w.done[len(w.done)-1], " judged") {
				t.Errorf("a check of %v was cut short: %v", judging, w.done)
			}
		})
	}
}

func TestCancelledStoryStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := Parse("t.story", []byte("estate two-city\nstart\npass 1h\ncheck\n"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("interrupted")
		time.AfterFunc(time.Minute, func() { cancel(cause) })
		w := &world{begun: time.Now()}
		p := NewProgress(&bytes.Buffer{}, false, 80, nil)
		defer p.Close()
		if err := Run(ctx, s, w, p); !errors.Is(err, cause) {
			t.Errorf("error %v", err)
		}
	})
}

func TestTerminalLineIsRedrawnInPlaceAndClipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := NewProgress(&out, true, 50, func() string { return "300 writes/s, 0 errors" })
		p.begin("wait unit u1 at b in-sync within 30s")
		p.Note("u1 is closing at a")
		<-time.After(time.Second)
		p.end(nil)
		p.Close()
		for part := range strings.SplitSeq(out.String(), "\r\x1b[K") {
			if n := len([]rune(part)); n > 50 && !strings.Contains(part, "✓") {
				t.Errorf("a line of %d characters: %q", n, part)
			}
		}
		if strings.Count(out.String(), "\n") != 1 {
			t.Errorf("not one line stays:\n%q", out.String())
		}
	})
}

func TestStoriesOfTheExamplesParse(t *testing.T) {
	files, err := filepath.Glob("../../../examples/stories/*.story")
	if err != nil || len(files) == 0 {
		t.Fatal("no stories", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(file, text); err != nil {
			t.Error(err)
		}
	}
}

package rectification_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"perdure/internal/errs"
	"perdure/internal/evaluation"
	"perdure/internal/measure"
	"perdure/internal/rectification"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func after(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }

func sheet(t interface{ Fatal(args ...any) }) rectification.Sheet {
	e := &evaluation.Evaluation{
		Measures: &measure.Measures{Run: "r", Plan: "p", End: noon},
		Problems: []evaluation.Problem{{Kind: evaluation.Attempts, Step: "switch", Attempts: 2, Text: "not yet"}, {Kind: evaluation.ByHand, Step: "count", Text: "bob: I looked"}},
	}
	s, err := rectification.Begin(e, "ann", after(1))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestWordsToASheet says words one after the other; a word that is refused says why.
func TestWordsToASheet(t *testing.T) {
	corrected := rectification.Change{What: rectification.Correct, By: "bob", Number: 1, Text: "more memory"}
	retest := rectification.Change{What: rectification.Verify, By: "cid", Number: 1, Run: "r2", Began: after(30), Shows: evaluation.Met}
	with := func(c rectification.Change, change func(*rectification.Change)) rectification.Change {
		change(&c)
		return c
	}
	for name, words := range map[string][]struct {
		say  rectification.Change
		want string // of item 1, or what the refusal has
	}{
		"put right, and shown": {
			{rectification.Change{What: rectification.Assign, By: "ann", Number: 1, Owner: "bob", Due: after(600)}, "open"},
			{corrected, "corrected"},
			{retest, "closed"},
			{rectification.Change{What: rectification.Accept, By: "dan", Number: 1, Text: "why not"}, "[C5]"},
			{with(corrected, func(c *rectification.Change) { c.Text = "more of it" }), "[C5]"},
		},
		"shown again": {
			{corrected, "corrected"},
			{with(retest, func(c *rectification.Change) { c.Shows = evaluation.Missed }), "open"},
			{with(retest, func(c *rectification.Change) { c.Run, c.Began = "r3", after(60) }), "[C2]"},
			{corrected, "corrected"},
			{with(retest, func(c *rectification.Change) { c.Run, c.Began = "r3", after(60) }), "closed"},
		},
		"re-tested wrongly": {
			{retest, "[C2]"},
			{corrected, "corrected"},
			{with(retest, func(c *rectification.Change) { c.By = "bob" }), "[C3]"},
			{with(retest, func(c *rectification.Change) { c.Began = after(2) }), "began before"},
			{with(retest, func(c *rectification.Change) { c.Shows = evaluation.Unknown }), "does not show"},
			{with(retest, func(c *rectification.Change) { c.Shows = evaluation.NotAsked }), "does not show"},
			{with(retest, func(c *rectification.Change) { c.Passed = new(true) }), "by itself"},
			{with(retest, func(c *rectification.Change) { c.By = "" }), "named person"},
			{with(retest, func(c *rectification.Change) { c.Number = 7 }), "no item 7"},
		},
		"the risk is taken": {
			{rectification.Change{What: rectification.Assign, By: "ann", Number: 1, Owner: "bob"}, "open"},
			{rectification.Change{What: rectification.Accept, By: "bob", Number: 1, Text: "x"}, "[C3]"},
			{rectification.Change{What: rectification.Accept, By: "dan", Number: 1, Text: " "}, "without a reason"},
			{with(corrected, func(c *rectification.Change) { c.By = "eve" }), "corrected"},
			{rectification.Change{What: rectification.Accept, By: "eve", Number: 1, Text: "x"}, "[C3]"},
			{rectification.Change{What: rectification.Accept, By: "dan", Number: 1, Text: "replaced next year"}, "accepted"},
			{retest, "[C5]"},
		},
		"said wrongly": {
			{rectification.Change{What: rectification.Assign, By: "ann", Number: 1}, "or by when"},
			{rectification.Change{What: rectification.Assign, By: "ann", Number: 1, Due: after(5)}, "which is over"},
			{rectification.Change{What: rectification.Correct, By: "bob", Number: 1, Text: "\n"}, "what was done"},
			{rectification.Change{What: rectification.Correct, By: "bob", Number: 1, Text: strings.Repeat("x", 4001)}, "at most 4000"},
			{rectification.Change{What: rectification.Add, By: "bob", Text: " "}, "say what"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := sheet(t)
			for n, w := range words {
				w.say.At = after(10 + n)
				next, err := rectification.Apply(s, w.say)
				if err != nil {
					if !strings.Contains(err.Error(), w.want) {
						t.Errorf("word %d: %v, want %s", n, err, w.want)
					}
					if diff := cmp.Diff(s, next); diff != "" {
						t.Errorf("word %d was refused and changed: %s", n, diff)
					}
					continue
				}
				if state := next.Items[0].State(); string(state) != w.want {
					t.Errorf("word %d: %s, want %s", n, state, w.want)
				}
				if again, err := rectification.Apply(next, w.say); err == nil && again.Seq != next.Seq && w.say.What != rectification.Verify {
					t.Errorf("word %d counts twice", n)
				}
				s = next
			}
		})
	}
}

// TestWhatPeopleAddPeopleRetest: no run can show that it is put right.
func TestWhatPeopleAddPeopleRetest(t *testing.T) {
	s := sheet(t)
	say := func(c rectification.Change, minutes int) error {
		c.At = after(minutes)
		next, err := rectification.Apply(s, c)
		s = next
		return err
	}
	for range 2 { // the same word again
		if err := say(rectification.Change{What: rectification.Add, By: "eve", Text: "the phone list is old", Step: "tell"}, 2); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.Items) != 3 || s.Items[2].Problem.Kind != evaluation.Said {
		t.Fatalf("%+v", s.Items)
	}
	if err := say(rectification.Change{What: rectification.Correct, By: "bob", Number: 3, Text: "a new one"}, 3); err != nil {
		t.Fatal(err)
	}
	retest := rectification.Change{What: rectification.Verify, By: "cid", Number: 3, Run: "r2", Began: after(4)}
	for want, change := range map[string]func(*rectification.Change){
		"passed or failed": func(*rectification.Change) {},
		"what was seen":    func(c *rectification.Change) { c.Passed = new(true) },
	} {
		c := retest
		change(&c)
		if err := say(c, 5); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	retest.Passed, retest.Text = new(true), "everybody was reached"
	if err := say(retest, 6); err != nil || s.Items[2].State() != rectification.Closed {
		t.Errorf("%v, %s", err, s.Items[2].State())
	}
}

func TestSheetOfARunThatIsNotOverIsRefused(t *testing.T) {
	_, err := rectification.Begin(&evaluation.Evaluation{Measures: &measure.Measures{Run: "r"}}, "ann", noon)
	if errs.KindOf(err) != errs.Conflict {
		t.Error(err)
	}
	_, err = rectification.Begin(&evaluation.Evaluation{Measures: &measure.Measures{Run: "r", End: noon}, Problems: make([]evaluation.Problem, 201)}, "ann", noon)
	if errs.KindOf(err) != errs.Refused {
		t.Error(err)
	}
}

func TestWhatWaitsForWhom(t *testing.T) {
	s := sheet(t)
	for n, c := range []rectification.Change{
		{What: rectification.Assign, By: "ann", Number: 1, Owner: "dba", Due: after(20)},
		{What: rectification.Correct, By: "bob", Number: 2, Text: "done"},
	} {
		c.At = after(2 + n)
		var err error
		if s, err = rectification.Apply(s, c); err != nil {
			t.Fatal(err)
		}
	}
	waits := func(name string, steers bool, holds ...string) string {
		var out []string
		for _, a := range s.WaitsFor(rectification.Person{Name: name, Steers: steers, Holds: func(role string) bool { return strings.Contains(strings.Join(holds, " "), role) }}) {
			out = append(out, string(a.Why)+" "+a.Item.Problem.Step)
		}
		return strings.Join(out, ", ")
	}
	for _, c := range [][2]string{
		{waits("dba", false), "rectification switch"}, {waits("eve", false, "dba"), "rectification switch"}, {waits("eve", true), "retest count"}, {waits("bob", true), ""}, {waits("eve", false), ""},
	} {
		if c[0] != c[1] {
			t.Errorf("%q, want %q", c[0], c[1])
		}
	}
	if v := rectification.Look(s, after(30)); v.Open != 2 || v.Late != 1 || !v.Items[0].Late || v.Items[1].State != rectification.Corrected {
		t.Errorf("%+v", v)
	}
}

// TestItemsEndOnlyAsTheyMay says random words and looks at every item that is over.
func TestItemsEndOnlyAsTheyMay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := sheet(t)
		people := []string{"ann", "bob", "cid"}
		for n := range rapid.IntRange(1, 40).Draw(t, "words") {
			c := rectification.Change{
				What: rapid.SampledFrom(rectification.Whats()).Draw(t, "what"), By: rapid.SampledFrom(people).Draw(t, "by"), At: after(10 + n),
				Number: rapid.IntRange(1, 4).Draw(t, "number"), Text: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "text"),
				Owner: rapid.SampledFrom(append(people, "")).Draw(t, "owner"), Run: "r2", Began: after(rapid.IntRange(0, 60).Draw(t, "began")),
				Shows: rapid.SampledFrom([]evaluation.Verdict{evaluation.Met, evaluation.Missed, evaluation.Unknown}).Draw(t, "shows"),
			}
			if rapid.Bool().Draw(t, "says") {
				c.Passed = new(rapid.Bool().Draw(t, "passed"))
			}
			next, err := rectification.Apply(s, c)
			if err != nil {
				continue
			}
			for k := range s.Items {
				if s.Items[k].State().Over() && !cmp.Equal(s.Items[k], next.Items[k]) {
					t.Fatalf("C5: %+v became %+v", s.Items[k], next.Items[k])
				}
			}
			s = next
		}
		for _, i := range s.Items {
			switch i.State() {
			case rectification.Closed:
				last := i.Retests[len(i.Retests)-1]
				if last.By == last.Corrected.By || !last.Began.After(last.Corrected.At) {
					t.Fatalf("C3: %+v", i)
				}
			case rectification.Accepted:
				if i.Accepted.By == i.Owner || i.Corrected != nil && i.Corrected.By == i.Accepted.By || i.Accepted.Text == "" {
					t.Fatalf("C3: %+v", i)
				}
			case rectification.Open, rectification.Corrected:
			}
		}
	})
}

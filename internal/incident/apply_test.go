package incident_test

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/incident"
	"perdure/internal/shape"
)

func rules() *incident.Rules {
	return &incident.Rules{
		Name: "bank", DeclareWithin: shape.Duration(10 * time.Minute),
		Classes: []incident.Class{
			{Name: "minor"},
			{Name: "major", Thresholds: []incident.Threshold{{Duration: shape.Duration(30 * time.Minute)}, {Units: 2, Customers: 1000}}},
			{Name: "grave", Thresholds: []incident.Threshold{{Amount: 5000}, {Systems: []estate.SystemID{"core"}, Duration: shape.Duration(2 * time.Hour)}}},
		},
		Tasks: []incident.Task{
			{Name: "inform", Title: "Inform the board", Sort: incident.Report, Owner: "operator", For: incident.All, Within: shape.Duration(time.Hour)},
			{Name: "regulator", Title: "Report", Sort: incident.Report, Owner: "commander", Class: "major", For: incident.Unplanned, Within: shape.Duration(time.Hour)},
			{Name: "public", Title: "Announce", Sort: incident.Announce, Owner: "commander", Class: "grave", For: incident.Unplanned, Within: shape.Duration(time.Minute)},
		},
	}
}

var began = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

func after(d time.Duration) time.Time { return began.Add(d) }

func begun(t *testing.T) incident.Incident {
	t.Helper()
	i, err := incident.Begin("i1", "payments stand still", false, incident.Facts{Systems: []estate.SystemID{"core"}, DisruptedAt: began, DetectedAt: after(time.Minute)}, "ann", after(2*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func say(t *testing.T, i incident.Incident, c incident.Change) incident.Incident {
	t.Helper()
	next, err := incident.Apply(i, c)
	if err != nil {
		t.Fatalf("%+v: %v", c, err)
	}
	return next
}

func refused(t *testing.T, i incident.Incident, c incident.Change, invariant, why string) {
	t.Helper()
	next, err := incident.Apply(i, c)
	if err == nil || !strings.Contains(err.Error(), why) || invariant != "" && !strings.Contains(err.Error(), "["+invariant+"]") {
		t.Errorf("%s: %v does not say %q [%s]", c.What, err, why, invariant)
	}
	if !reflect.DeepEqual(next, i) {
		t.Errorf("%s: a refusal changed the incident", c.What)
	}
}

func declared(t *testing.T) incident.Incident {
	return say(t, begun(t), incident.Change{What: incident.Declare, By: "ann", At: after(5 * time.Minute), Rules: rules()})
}

func TestIncidentGoesFromItsOpeningToItsClosing(t *testing.T) {
	i := begun(t)
	refused(t, i, incident.Change{What: incident.Done, By: "ann", Task: "inform", At: after(time.Hour)}, "N1", "not declared")
	i = declared(t)
	refused(t, i, incident.Change{What: incident.Declare, By: "bob", At: after(time.Hour), Rules: rules()}, "N1", "declared by ann")
	i = say(t, i, incident.Change{What: incident.Done, By: "bob", Task: "inform", At: after(20 * time.Minute), Text: "called"})
	refused(t, i, incident.Change{What: incident.Waive, By: "ann", Task: "inform", Text: "no", At: after(time.Hour)}, "N2", "settled by bob")
	refused(t, i, incident.Change{What: incident.Done, By: "ann", Task: "public", At: after(time.Hour)}, "", "no task")
	refused(t, i, incident.Change{What: incident.Review, By: "eve", Text: "f", At: after(time.Hour)}, "N3", "goes on")
	i = say(t, i, incident.Change{What: incident.Restore, By: "bob", When: after(40 * time.Minute), At: after(time.Hour)})
	refused(t, i, incident.Change{What: incident.Close, By: "ann", At: after(time.Hour)}, "N3", "was not reviewed")
	refused(t, i, incident.Change{What: incident.Review, By: "ann", Text: "f", At: after(time.Hour)}, "N3", "another person")
	i = say(t, i, incident.Change{What: incident.Review, By: "eve", Text: "a cable", At: after(2 * time.Hour)})
	refused(t, i, incident.Change{What: incident.Close, By: "ann", At: after(3 * time.Hour)}, "N3", "task regulator")
	refused(t, i, incident.Change{What: incident.Waive, By: "ann", Task: "regulator", At: after(3 * time.Hour)}, "N2", "without a reason")
	i = say(t, i, incident.Change{What: incident.Waive, By: "ann", Task: "regulator", Text: "told by phone", At: after(3 * time.Hour)})
	i = say(t, i, incident.Change{What: incident.Close, By: "ann", At: after(3 * time.Hour)})
	if o := i.Outcome; i.Phase != incident.Over || o.Class != "major" || o.Measured || !o.From.Equal(began) || !o.Until.Equal(after(40*time.Minute)) {
		t.Errorf("%+v, %+v", i.Phase, o)
	}
	refused(t, i, incident.Change{What: incident.Link, By: "ann", Run: "r1", At: after(4 * time.Hour)}, "N4", "does not change")
	v := incident.Look(i, incident.Rules{}, nil, after(1000*time.Hour))
	if v.NowClass != "major" || v.Recover.Took != 40*time.Minute || v.Recover.Going || len(v.Lacks) > 0 {
		t.Errorf("%+v", v)
	}
}

func TestWhatChangesAfterTheReviewIsReviewedAgain(t *testing.T) {
	i := say(t, declared(t), incident.Change{What: incident.Restore, By: "bob", When: after(time.Minute), At: after(time.Hour)})
	for _, c := range []incident.Change{
		{What: incident.Correct, Facts: &incident.Facts{Units: []estate.UnitID{"u1"}}},
		{What: incident.Classify, Class: "grave", Text: "the press"},
		{What: incident.Restore, When: after(2 * time.Minute)},
		{What: incident.Link, Run: "r1"},
	} {
		c.By, c.At = "ann", after(2*time.Hour)
		r := say(t, i, incident.Change{What: incident.Review, By: "eve", Text: "a cable", At: after(time.Hour)})
		if r = say(t, r, c); r.Review != nil || r.Phase != incident.Declared {
			t.Errorf("%s keeps the review", c.What)
		}
	}
}

func TestSameWordAgainChangesNothing(t *testing.T) {
	i := declared(t)
	for _, c := range []incident.Change{
		{What: incident.Declare, By: "ann"},
		{What: incident.Done, By: "bob", Task: "inform", Text: "x"},
		{What: incident.Classify, By: "bob", Class: "grave", Text: "x"},
		{What: incident.Link, By: "bob", Run: "r1"},
		{What: incident.Correct, By: "bob", Facts: &incident.Facts{Units: []estate.UnitID{"u1"}, Amount: new(int64)}},
		{What: incident.Restore, By: "bob", When: after(time.Minute)},
		{What: incident.Review, By: "eve", Text: "x"},
	} {
		c.At = after(time.Hour)
		i = say(t, i, c)
		c.At = after(2 * time.Hour)
		if again := say(t, i, c); !reflect.DeepEqual(i, again) {
			t.Errorf("%s counts twice", c.What)
		}
	}
}

func TestClassIsTheGravestWhoseThresholdIsReached(t *testing.T) {
	n := func(v int64) *int64 { return &v }
	for _, c := range []struct {
		name   string
		extent incident.Extent
		class  string
		why    string
	}{
		{"nothing is known", incident.Extent{}, "minor", ""},
		{"short", incident.Extent{Known: true, Lasted: 29 * time.Minute}, "minor", ""},
		{"long", incident.Extent{Known: true, Lasted: 30 * time.Minute}, "major", "duration ≥ 30m"},
		{"longer, of another system", incident.Extent{Known: true, Lasted: 3 * time.Hour, Facts: incident.Facts{Systems: []estate.SystemID{"cards"}}}, "major", "duration ≥ 30m"},
		{"longer", incident.Extent{Known: true, Lasted: 2 * time.Hour, Facts: incident.Facts{Systems: []estate.SystemID{"core"}}}, "grave", "systems core, duration ≥ 2h"},
		{"many customers of one unit", incident.Extent{Facts: incident.Facts{Units: []estate.UnitID{"u1"}, Customers: n(5000)}}, "minor", ""},
		{"many customers of two", incident.Extent{Facts: incident.Facts{Units: []estate.UnitID{"u1", "u2"}, Customers: n(1000)}}, "major", "units ≥ 2, customers ≥ 1000"},
		{"much money", incident.Extent{Facts: incident.Facts{Amount: n(5000)}}, "grave", "amount ≥ 5000"},
	} {
		if class, why := rules().Judge(c.extent); class != c.class || why != c.why {
			t.Errorf("%s: %s (%s)", c.name, class, why)
		}
	}
	if class, _ := (&incident.Rules{}).Judge(incident.Extent{Known: true, Lasted: time.Hour}); class != "" {
		t.Errorf("without classes it is %q", class)
	}
}

func TestClocksAndTasksStandAsTheyAreAtAnInstant(t *testing.T) {
	v := incident.Look(begun(t), *rules(), nil, after(12*time.Minute))
	if v.Detect.Took != time.Minute || v.Declare.Took != 11*time.Minute || !v.Declare.Going || !v.Declare.Late || len(v.Tasks) != 0 || !v.Recover.Going {
		t.Errorf("%+v %+v %+v", v.Detect, v.Declare, v.Tasks)
	}
	i := declared(t)
	state := func(at time.Duration) string {
		var out []string
		for _, task := range incident.Look(i, incident.Rules{}, nil, after(at)).Tasks {
			out = append(out, task.Name+" "+string(task.State))
		}
		return strings.Join(out, ", ")
	}
	if v := incident.Look(i, incident.Rules{}, nil, after(time.Hour)); v.Declare.Going || v.Declare.Late || v.Declare.Took != 4*time.Minute {
		t.Errorf("%+v", v.Declare)
	}
	for _, c := range []struct {
		at   time.Duration
		want string
	}{
		{20 * time.Minute, "inform open"},
		{40 * time.Minute, "inform open, regulator open"}, // it has become major
		{66 * time.Minute, "inform overdue, regulator overdue"},
		{3 * time.Hour, "inform overdue, regulator overdue, public overdue"},
	} {
		if got := state(c.at); got != c.want {
			t.Errorf("%s: %s, not %s", c.at, got, c.want)
		}
	}
	i = say(t, i, incident.Change{What: incident.Done, By: "bob", Task: "inform", At: after(70 * time.Minute)})
	i = say(t, i, incident.Change{What: incident.Waive, By: "bob", Task: "regulator", Text: "r", At: after(70 * time.Minute)})
	if got := state(71 * time.Minute); got != "inform done late, regulator waived" {
		t.Error(got)
	}
}

func TestPersonMaySayThatItTookLongerThanWasMeasuredAndNotLess(t *testing.T) {
	seen := &incident.Seen{From: after(-time.Minute), Until: after(10 * time.Minute)}
	i := declared(t)
	if v := incident.Look(i, incident.Rules{}, seen, after(time.Hour)); !v.Measured || v.Recover.Took != 10*time.Minute {
		t.Errorf("%+v", v.Recover)
	}
	for said, want := range map[time.Duration]time.Duration{5 * time.Minute: 10 * time.Minute, 30 * time.Minute: 30 * time.Minute} {
		r := say(t, i, incident.Change{What: incident.Restore, By: "bob", When: after(said), At: after(time.Hour)})
		if v := incident.Look(r, incident.Rules{}, seen, after(time.Hour)); v.Recover.Took != want || v.Measured != (said < want) {
			t.Errorf("said %s: %+v", said, v.Recover)
		}
	}
	i = say(t, i, incident.Change{What: incident.Restore, By: "bob", When: after(time.Minute), At: after(time.Hour)})
	refused(t, i, incident.Change{What: incident.Review, By: "eve", Text: "f", At: after(time.Hour), Seen: &incident.Seen{Running: true}}, "N3", "goes on")
}

func TestIncidentThatSaysNonsenseIsNotOpened(t *testing.T) {
	n := int64(-1)
	ok := incident.Facts{Units: []estate.UnitID{"u1"}}
	for name, err := range map[string]error{
		"nobody":    open("", "x", ok),
		"no title":  open("ann", " ", ok),
		"nothing":   open("ann", "x", incident.Facts{}),
		"future":    open("ann", "x", incident.Facts{Units: ok.Units, DisruptedAt: after(time.Hour)}),
		"order":     open("ann", "x", incident.Facts{Units: ok.Units, DisruptedAt: after(-time.Minute), DetectedAt: after(-time.Hour)}),
		"negative":  open("ann", "x", incident.Facts{Units: ok.Units, Amount: &n}),
		"too large": open("ann", strings.Repeat("x", incident.MostText+1), ok),
	} {
		if errs.KindOf(err) != errs.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func open(by, title string, f incident.Facts) error {
	_, err := incident.Begin("i", title, false, f, by, began)
	return err
}

// FuzzApply: whatever is said in whatever order, N1 to N4 hold.
func FuzzApply(f *testing.F) {
	for seed := range uint64(50) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		i := begun(t)
		now := after(time.Hour)
		for range 200 {
			now = now.Add(time.Duration(r.IntN(600)) * time.Second)
			c := anyChange(r, now)
			before, err := json.Marshal(i)
			if err != nil {
				t.Fatal(err)
			}
			next, err := incident.Apply(i, c)
			if text, _ := json.Marshal(i); string(text) != string(before) {
				t.Fatalf("%+v changed what its caller holds", c)
			}
			check(t, i, next, c, err)
			i = next
		}
	})
}

func anyChange(r *rand.Rand, now time.Time) incident.Change {
	all := incident.Whats()
	c := incident.Change{What: all[r.IntN(len(all))], By: []string{"ann", "bob", "eve", ""}[r.IntN(4)], At: now, Text: []string{"", "because"}[r.IntN(2)]}
	c.Task = []string{"inform", "regulator", "public", "none"}[r.IntN(4)]
	c.Class = []string{"", "minor", "grave", "none"}[r.IntN(4)]
	c.When = now.Add(time.Duration(r.IntN(7200)-7000) * time.Second)
	c.Run = []string{"", "r1", "r2"}[r.IntN(3)]
	c.Rules = rules()
	if c.Run == "" {
		c.Switch = &incident.Switch{Group: "u1", Left: estate.Ownership{Epoch: estate.Epoch(r.IntN(3))}}
	}
	if r.IntN(3) > 0 {
		c.Facts = &incident.Facts{Units: []estate.UnitID{"u1", "u2"}[:r.IntN(3)], DisruptedAt: c.When}
	}
	if r.IntN(2) == 0 {
		c.Seen = &incident.Seen{From: c.When.Add(-time.Minute), Until: c.When, Running: r.IntN(4) == 0}
	}
	return c
}

func check(t *testing.T, before, now incident.Incident, c incident.Change, err error) {
	t.Helper()
	same := reflect.DeepEqual(before, now)
	switch {
	case err != nil && (!same || errs.KindOf(err) == errs.Internal):
		t.Fatalf("%+v: a refusal changed it, or is no refusal: %v", c, err)
	case before.Phase == incident.Over && !same:
		t.Fatalf("N4: %+v changed a closed incident", c)
	case !same && now.Seq != before.Seq+1:
		t.Fatalf("%+v: change %d follows %d", c, now.Seq, before.Seq)
	case before.Declared != nil && (now.Declared != before.Declared || now.Rules != before.Rules):
		t.Fatalf("N1: %+v changed the declaration", c)
	case len(now.Settled) < len(before.Settled) || !slices.Equal(now.Settled[:len(before.Settled)], before.Settled):
		t.Fatalf("N2: %+v changed what was settled", c)
	case now.Phase == incident.Over && (now.Review == nil || now.Review.By == now.Declared.By || now.Outcome.Until.IsZero()):
		t.Fatalf("N3: closed as %+v", now)
	}
	for _, task := range incident.Look(now, incident.Rules{}, c.Seen, c.At).Tasks {
		if now.Phase == incident.Over && before.Phase != incident.Over && task.State != incident.InTime && task.State != incident.TooLate && task.State != incident.Waived {
			t.Fatalf("N3: closed with task %s %s", task.Name, task.State)
		}
	}
}

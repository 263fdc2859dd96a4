package document

import (
	"maps"
	"regexp"
	"slices"
	"testing"
	"time"

	"perdure/internal/plan"
	"perdure/internal/run"
)

func TestBothLanguagesHaveAllTexts(t *testing.T) {
	keys := slices.Sorted(maps.Keys(english))
	if !slices.Equal(keys, slices.Sorted(maps.Keys(chinese))) {
		t.Fatalf("English has %q, Chinese %q", keys, slices.Sorted(maps.Keys(chinese)))
	}
	verb := regexp.MustCompile(`%[^a-z]*[a-z]`)
	for _, k := range keys {
		if english[k] == "" || chinese[k] == "" {
			t.Errorf("%s is empty", k)
		}
		if en, zh := verb.FindAllString(english[k], -1), verb.FindAllString(chinese[k], -1); !slices.Equal(en, zh) {
			t.Errorf("%s: %q and %q", k, en, zh)
		}
	}
}

func TestEveryWordOfTheProtocolHasATextInBothLanguages(t *testing.T) {
	var words []string
	for _, m := range plan.Modes() {
		words = append(words, "mode."+string(m))
	}
	for _, k := range []plan.StepKind{plan.ActStep, plan.CheckStep, plan.ManualStep, plan.ApprovalStep, plan.WaitStep, plan.NotifyStep, plan.SubplanStep} {
		words = append(words, "kind."+string(k))
	}
	for _, s := range []run.Status{run.Waiting, run.Ready, run.Acting, run.Doubtful, run.Pausing, run.Asking, run.Open, run.Inside, run.DoneStep, run.PassedBy, run.LeftOut, run.Bypassed, run.Rejected, run.FailedOn, run.Dropped} {
		words = append(words, "status."+string(s))
	}
	for _, o := range []run.Outcome{run.Done, run.Refused, run.Undone, run.Broken} {
		words = append(words, "outcome."+string(o))
	}
	for _, w := range []run.What{run.Started, run.Paused, run.Resumed, run.Retried, run.Skipped, run.TakenOver, run.Cancelled, run.Approved, run.Declined, run.Completed} {
		words = append(words, "said."+string(w))
	}
	for _, w := range words {
		if english[w] == "" || chinese[w] == "" {
			t.Errorf("%s has no text", w)
		}
	}
}

func TestDurationsAreWrittenToTheMillisecond(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.000 s", 1500*time.Millisecond + 400*time.Microsecond: "1.500 s", time.Minute: "1 min 0.000 s", 59999*time.Millisecond + 600*time.Microsecond: "1 min 0.000 s",
		26*time.Hour + 5*time.Second: "26 h 0 min 5.000 s", -time.Second: "-1.000 s",
	} {
		if got := english.took(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}

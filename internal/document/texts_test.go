package document

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"perdure/internal/estate"
	"perdure/internal/measure"
	"perdure/internal/plan"
	"perdure/internal/rectification"
	"perdure/internal/run"
	"perdure/internal/unit"
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
	for _, w := range []run.What{run.Started, run.Paused, run.Resumed, run.Retried, run.Skipped, run.TakenOver, run.Cancelled, run.Approved, run.Declined, run.Completed, run.Acknowledged} {
		words = append(words, "said."+string(w))
	}
	for _, s := range []rectification.State{rectification.Open, rectification.Corrected, rectification.Closed, rectification.Accepted} {
		words = append(words, "item."+string(s))
	}
	for _, m := range plan.Modes() {
		if !recovers(m) {
			continue
		}
		for _, list := range []string{"purpose", "aim", "part", "recovery", "replication"} {
			words = append(words, list+"."+string(m))
		}
		row := plan.ContractOf(m)
		words = append(words, "interruption."+string(row.Interruption), "trigger."+string(row.Trigger), "image."+string(row.Image), "interfaces."+string(row.Interfaces), "data."+row.Data)
		for _, f := range row.Firewall {
			words = append(words, "firewall."+string(f))
		}
	}
	for _, a := range plan.BuiltIn() {
		if a.Touches.Image != "" {
			words = append(words, "image."+string(a.Touches.Image))
		}
	}
	for _, d := range estate.Duties() {
		words = append(words, "duty."+string(d))
	}
	for _, r := range estateRoles {
		words = append(words, "role."+r)
	}
	for _, c := range []estate.Criticality{estate.Critical, estate.Important, estate.Normal} {
		words = append(words, "criticality."+string(c))
	}
	for _, s := range []estate.Stage{estate.ColdRestore, estate.SameCityStandby, estate.RemoteStandby, estate.MultiActive} {
		words = append(words, "stage."+string(s))
	}
	for _, p := range []estate.ParticipantType{estate.Headquarters, estate.Branch, estate.RelatedSystem, estate.ThirdParty} {
		words = append(words, "participant."+string(p))
	}
	for _, r := range []unit.Role{unit.SyncRole, unit.PinnedRole, unit.AsyncRole} {
		words = append(words, "copy."+string(r))
	}
	for _, p := range []plan.ParameterType{plan.Text, plan.Number, plan.Boolean, plan.Duration, plan.Choice} {
		words = append(words, "type."+string(p))
	}
	for _, f := range []plan.OnFailure{plan.Stop, plan.Ask, plan.Continue, plan.Compensate} {
		words = append(words, "failure."+string(f))
	}
	for _, k := range []measure.FindingKind{measure.LateAtWorst, measure.LateMostly, measure.LateSometimes} {
		words = append(words, "late."+string(k))
	}
	for _, o := range []plan.ApprovalOrder{plan.Parallel, plan.Serial} {
		words = append(words, "order."+string(o))
	}
	for _, w := range words {
		if english[w] == "" || chinese[w] == "" {
			t.Errorf("%s has no text", w)
		}
	}
}

// TestTitlesOfSectionsMayNameSheets: a sheet's name has at most 31 characters, and some characters it has not.
func TestTitlesOfSectionsMayNameSheets(t *testing.T) {
	for _, key := range []string{
		"summary", "contract", "systems", "objects", "parameters", "steps", "duties", "roles", "participants", "times", "start.how", "windows", "schedules", "criteria",
		"risks", "back", "version", "commandGroup", "escalation", "first", "plans", "switches", "automatic", "classes", "reports", "announcements", "cutoffs",
	} {
		for _, c := range []catalogue{english, chinese} {
			if title := c.say(key); utf8.RuneCountInString(title) > 31 || strings.ContainsAny(title, `:\/?*[]`) {
				t.Errorf("%s is %q", key, title)
			}
		}
	}
}

func TestTimesThatComeAgainAreSaidInWords(t *testing.T) {
	for line, want := range map[string][2]string{
		"30 23 * * *":      {"every day at 23:30", "每日 23:30"},
		"0 17 * * mon-fri": {"Monday to Friday at 17:00", "周一至周五 17:00"},
		"5 8 * * SAT,sun":  {"Saturday, Sunday at 08:05", "周六、周日 08:05"},
		"0 1 15 4,10 *":    {"in month 4, 10 on day 15 at 01:00", "4、10 月 15 日 01:00"},
		"0 1 1,15 * *":     {"on day 1, 15 of every month at 01:00", "每月 1、15 日 01:00"},
		"*/5 * * * *":      {"cron */5 * * * *", "cron */5 * * * *"},
		"0 1 1 * mon":      {"cron 0 1 1 * mon", "cron 0 1 1 * mon"},
		"0 1 * * 1-5":      {"cron 0 1 * * 1-5", "cron 0 1 * * 1-5"},
	} {
		for i, l := range []Language{English, Chinese} {
			d := drafter{pen: pen{t: textsOf(l)}}
			if got := d.again(line); got != want[i] {
				t.Errorf("%s: %q, want %q", line, got, want[i])
			}
		}
	}
}

func TestSpansLeaveOutWhatIsNothing(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", time.Second: "1 s", time.Minute: "1 min", time.Hour: "1 h", 72 * time.Hour: "72 h", 90 * time.Minute: "1 h 30 min", time.Hour + 5*time.Second: "1 h 5 s",
		1500 * time.Millisecond: "1.500 s", 300 * time.Millisecond: "0.300 s",
	} {
		if got := english.span(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
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

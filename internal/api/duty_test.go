package api_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"perdure/internal/duty"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// rostered is a manifest in which somebody is on duty as commander, always, and somebody at the desk of the north, until the hour before last.
func rostered(commander string) string {
	shift := func(name, people, when string) string {
		return fmt.Sprintf("{name: %s, people: [%s], %s}", name, people, when)
	}
	always := `cron: "0 0 * * *", duration: 24h`
	past := time.Now().UTC().Add(-time.Hour)
	once := fmt.Sprintf("from: %q, until: %q", past.Add(-time.Hour).Format("2006-01-02 15:04"), past.Format("2006-01-02 15:04"))
	return `apiVersion: perdure/v1
kind: Participant
name: branch-north
type: branch
contacts: [{name: Desk, phone: "555"}]
---
apiVersion: perdure/v1
kind: Roster
name: r
timeZone: UTC
duties:
- {name: duty-commander, of: commander, shifts: [` + shift("a", commander, always) + `]}
- {name: north-desk, of: branch-north, shifts: [` + shift("a", "li", once) + `]}
- {name: north-lead, of: branch-north, shifts: [` + shift("a", "li", always) + `]}
---
apiVersion: perdure/v1
kind: Plan
name: hold
modes: [drill]
steps:
- {id: agree, after: [], approval: {of: [duty-commander], text: "Go?"}}
- {id: desk, after: [], manual: {owner: north-desk, instruction: Hold.}}
- {id: lead, after: [], manual: {owner: north-lead, instruction: Hold.}}
`
}

func TestWhatIsAskedOfADutyIsAskedOfWhoIsOnDutyAndGoesToTheNext(t *testing.T) {
	n := start(t)
	n.manifestOf(rostered("ann"))
	ann, cho, vic := n.person("ann", wire.Commander), n.person("cho", wire.Commander), n.person("vic", wire.Viewer)
	li, wu := n.takesPart("li", "branch-north"), n.takesPart("wu", "branch-north")
	n.person("bob", wire.Commander).want(200, "POST", "/api/v1/runs", wire.StartRun{Plan: "hold", Mode: plan.Drill, ID: "r"})
	for _, step := range []string{"agree", "desk", "lead"} {
		n.journal("r", run.Entry{By: "node:a", What: run.Opened, Node: step, Text: "Go?"})
	}
	waits := func(want map[*caller]string) {
		t.Helper()
		for c, steps := range want {
			if got := stepsOf(c.inbox()); got != steps {
				t.Errorf("%q waits, not %q", got, steps)
			}
		}
	}
	// At the desk of the north nobody is on duty: all of the north are asked.
	waits(map[*caller]string{ann: "agree", cho: "", vic: "", li: "desk lead", wu: "desk"})
	say := func(c *caller, status int, w wire.RunWord) {
		t.Helper()
		c.want(status, "POST", "/api/v1/runs/r/words", w)
	}
	approve := wire.RunWord{What: run.Approved, Step: "agree", For: "duty-commander"}
	say(cho, 403, approve)
	say(wu, 404, wire.RunWord{What: run.Completed, Step: "lead"})
	say(wu, 200, wire.RunWord{What: run.Completed, Step: "desk"})
	say(li, 200, wire.RunWord{What: run.Acknowledged, Step: "lead"})
	// A hand-over, also to somebody who has not what it is a duty of.
	n.manifestOf(rostered("vic"))
	waits(map[*caller]string{ann: "", cho: "", vic: ""})
	say(vic, 403, approve)
	say(ann, 403, approve)
	n.manifestOf(rostered("cho"))
	waits(map[*caller]string{ann: "", cho: "agree"})
	say(cho, 200, approve)
	journal, err := n.store.Journal(t.Context(), "r", 4)
	if err != nil || len(journal) != 3 || journal[2].By != "cho" || journal[2].For != "duty-commander" || journal[0].For != "north-desk" {
		t.Errorf("%+v, %v", journal, err)
	}
	var state wire.RunState
	if err := json.Unmarshal(n.as("viewer").want(200, "GET", "/api/v1/runs/r", nil).body, &state); err != nil {
		t.Fatal(err)
	}
	if len(state.Participants) != 2 || state.Participants[1].Duty == nil || state.Participants[1].Duty.People[0].Name != "li" || state.Participants[1].Contacts[0].Phone != "555" {
		t.Errorf("%+v", state.Participants)
	}
}

func TestDutySaysWhoIsOnDutyAndWhatHasToBeSeenTo(t *testing.T) {
	n := start(t)
	n.manifestOf(rostered("vic"))
	n.person("vic", wire.Viewer)
	var v duty.View
	if err := json.Unmarshal(n.as("viewer").want(200, "GET", "/api/v1/duty", nil).body, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Duties) != 3 || v.Duties[0].Name != "duty-commander" || v.Duties[0].People[0].Name != "vic" || len(v.Duties[1].People) != 0 {
		t.Errorf("%+v", v.Duties)
	}
	var said []string
	for _, f := range v.Findings {
		switch {
		case f.Gap != nil && f.Gap.Until.IsZero():
			said = append(said, f.Duty+": nobody any more")
		default:
			said = append(said, f.Duty+": "+f.Reason)
		}
	}
	if got, want := strings.Join(said, "; "), "duty-commander: vic has not role commander; north-desk: nobody any more; north-lead: li is nobody who may act"; got != want {
		t.Errorf("%s", got)
	}
	n.takesPart("li", "branch-north")
	n.person("vic", wire.Admin)
	if err := json.Unmarshal(n.as("viewer").want(200, "GET", "/api/v1/duty", nil).body, &v); err != nil || len(v.Findings) != 1 {
		t.Errorf("%+v, %v", v.Findings, err)
	}
}

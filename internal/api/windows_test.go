package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"perdure/internal/calendar"
	"perdure/internal/plan"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// window is how one stands.
func (n *node) window(name string) calendar.WindowView {
	n.t.Helper()
	var v calendar.View
	n.as("viewer").want(http.StatusOK, "GET", "/api/v1/calendar", nil).into(n.t, &v)
	i := slices.IndexFunc(v.Windows, func(w calendar.WindowView) bool { return w.Name == name })
	if i < 0 {
		n.t.Fatalf("no window %s: %+v", name, v.Windows)
	}
	return v.Windows[i]
}

func (n *node) digest(window string) string { n.t.Helper(); return n.window(window).Digest }

func (n *node) approves(c *caller, window string) {
	n.t.Helper()
	c.want(http.StatusOK, "POST", "/api/v1/windows/"+window+"/approve", wire.ApproveWindow{Digest: n.digest(window), Reason: "agreed with the branches"})
}

// events gives what happened to a window, by whom, with the details.
func (n *node) windowEvents(window string) []string {
	n.t.Helper()
	list, err := n.store.Events(n.t.Context(), 0, 1000, true, wire.Fresh)
	if err != nil {
		n.t.Fatal(err)
	}
	var out []string
	for _, e := range list {
		if e.Subject == window {
			out = append(out, e.Who+" "+e.What+" "+string(e.Detail))
		}
	}
	return out
}

const (
	approveAlways = "/api/v1/windows/always/approve"
	revokeAlways  = "/api/v1/windows/always/revoke"
)

func TestW1RunBeginsInAWindowThatWasApprovedAsItStandsOnly(t *testing.T) {
	n := start(t)
	n.apply(allDay)
	commander := n.as("commander")
	n.open("u1")
	takeover := func() reply { return n.startAs(wire.Operator, plan.Takeover, nil) }
	n.started(takeover())
	// Another one of the same name is not approved: also where it comes back as it was.
	n.raw(aPlan + strings.Replace(always, "24h", "23h59m", 1))
	refused(t, takeover(), "window always is open and not approved (W1)", "perdure calendar approve always --reason TEXT")
	refused(t, n.as("operator").do("POST", switchU1, wire.SwitchRequest{To: "b", Mode: unit.Takeover}), "(W1)")
	if dry := switchAnswer(t, n.as("operator").want(200, "POST", switchU1, wire.SwitchRequest{To: "b", Mode: unit.Takeover, DryRun: true})); len(dry.Checks) != 1 || dry.Checks[0].OK || !strings.Contains(dry.Checks[0].Detail, "(W1)") {
		t.Errorf("%+v", dry)
	}
	refused(t, n.startAs(wire.Operator, plan.Change, nil), "(W1)")
	old := n.digest("always")
	n.raw(aPlan + always)
	refused(t, takeover(), "(W1)")
	// Nobody approves another one than they saw.
	commander.want(http.StatusConflict, "POST", approveAlways, wire.ApproveWindow{Digest: old, Reason: "agreed"})
	commander.want(http.StatusNotFound, "POST", "/api/v1/windows/night/approve", wire.ApproveWindow{Digest: old, Reason: "agreed"})
	n.approves(commander, "always")
	n.started(takeover())
	// Its title is no part of it.
	n.raw(aPlan + strings.Replace(always, "{name: always,", "{name: always, title: For all,", 1))
	n.started(takeover())
	// What needs none, and an emergency, are not refused.
	n.raw(aPlan + strings.Replace(always, "24h", "23h59m", 1))
	n.started(n.startAs(wire.Operator, plan.Drill, nil))
	head, first := n.started(n.startAs(wire.Commander, plan.Emergency, nil))
	if !strings.Contains(strings.Join(head.Notes, "\n"), "an emergency waits for nothing, but window always is open and not approved (W1)") || first.Facts != nil {
		t.Errorf("%q, %v", head.Notes, first.Facts)
	}
}

func TestW2WhoApprovesIsNeverWhoStarts(t *testing.T) {
	n := start(t)
	n.raw(aPlan + always)
	ann, bob := n.person("ann", wire.Commander), n.person("bob", wire.Commander)
	n.approves(ann, "always")
	ask := wire.StartRun{Plan: "p", Mode: plan.Takeover}
	refused(t, ann.do("POST", "/api/v1/runs", ask), "window always was approved by ann alone, and who approves is never who starts (W2)")
	refused(t, n.person("ann", wire.Operator).do("POST", "/api/v1/runs", ask), "(W2)") // another token of the same person
	n.user("ann", wire.Operator)
	session, _ := n.login(wire.Login{User: "ann", Password: password})
	n.as("admin").want(200, "PUT", "/api/v1/policy", wire.Policy{SecondFactor: wire.FactorOff})
	refused(t, session.do("POST", "/api/v1/runs", ask), "(W2)")
	head, first := n.started(bob.do("POST", "/api/v1/runs", ask))
	if len(head.Notes) > 0 || first.Facts["window"] != "always" {
		t.Errorf("%+v", first)
	}
	n.approves(bob, "always")
	n.approves(bob, "always") // once
	if w := n.window("always"); len(w.Approvals) != 2 || w.Approvals[1].By != "bob" {
		t.Errorf("%+v", w)
	}
	_, first = n.started(ann.do("POST", "/api/v1/runs", ask))
	approved, _ := first.Facts["approvals"].([]any)
	if len(approved) != 1 || approved[0].(map[string]any)["by"] != "bob" || approved[0].(map[string]any)["reason"] != "agreed with the branches" {
		t.Errorf("%+v", first.Facts)
	}
	if until, err := time.Parse(time.RFC3339, first.Facts["until"].(string)); err != nil || until.Before(time.Now()) {
		t.Errorf("%v, %v", first.Facts, err)
	}
	// The right is a commander's of the platform, with a second factor as for all that is done for real.
	for _, role := range []wire.Role{wire.Viewer, wire.Driller, wire.Operator, wire.Auditor, wire.Participant} {
		n.as(string(role)).want(http.StatusForbidden, "POST", approveAlways, wire.ApproveWindow{Digest: n.digest("always"), Reason: "agreed"})
		n.as(string(role)).want(http.StatusForbidden, "POST", revokeAlways, wire.RevokeWindow{Reason: "no"})
	}
	n.as("node:a").want(http.StatusForbidden, "POST", approveAlways, wire.ApproveWindow{Digest: n.digest("always"), Reason: "agreed"})
	n.as("admin").want(200, "PUT", "/api/v1/policy", wire.Policy{SecondFactor: wire.FactorSessions})
	n.user("cho", wire.Commander)
	bare, _ := n.login(wire.Login{User: "cho", Password: password})
	bare.want(http.StatusForbidden, "POST", approveAlways, wire.ApproveWindow{Digest: n.digest("always"), Reason: "agreed"})
	strong := n.withFactor("dee", wire.Commander)
	n.approves(strong, "always")
	if w := n.window("always"); len(w.Approvals) != 3 || w.Approvals[2].Factor.IsZero() {
		t.Errorf("%+v", w)
	}
	bare.want(http.StatusNoContent, "POST", revokeAlways, wire.RevokeWindow{Reason: "not tonight"}) // it does no harm
}

func TestW4ApprovalsAndRevocationsHaveAReasonAndAreToldEverywhere(t *testing.T) {
	n := start(t)
	n.raw(aPlan + always)
	ann, operator := n.person("ann", wire.Commander), n.as("operator")
	waits := func() []string {
		t.Helper()
		var out []string
		for _, c := range []*caller{ann, operator} {
			for _, i := range c.inbox() {
				out = append(out, string(i.Why)+" "+i.Window+" "+i.For)
			}
		}
		return out
	}
	if got := waits(); !slices.Equal(got, []string{"window always commander"}) {
		t.Errorf("%q", got)
	}
	for _, reason := range []string{"", "   ", strings.Repeat("x", 301)} {
		ann.want(http.StatusUnprocessableEntity, "POST", approveAlways, wire.ApproveWindow{Digest: n.digest("always"), Reason: reason})
	}
	ann.want(http.StatusConflict, "POST", revokeAlways, wire.RevokeWindow{Reason: "nobody has"})
	n.approves(ann.under("k1"), "always")
	n.approves(ann.under("k1"), "always") // the same request again
	if got := waits(); len(got) > 0 {
		t.Errorf("%q", got)
	}
	head, _ := n.started(n.startAs(wire.Operator, plan.Takeover, nil))
	ann.want(http.StatusUnprocessableEntity, "POST", revokeAlways, wire.RevokeWindow{Reason: " "})
	ann.want(http.StatusNoContent, "POST", revokeAlways, wire.RevokeWindow{Reason: "the branches are late"})
	refused(t, n.startAs(wire.Operator, plan.Takeover, nil), "(W1)")
	if now, err := n.store.Run(t.Context(), head.ID, wire.Fresh); err != nil || now.Phase != head.Phase || now.Seq != head.Seq {
		t.Errorf("what has begun was touched: %+v, %v", now, err)
	}
	got := n.windowEvents("always")
	if len(got) != 2 || !strings.HasPrefix(got[0], "person:ann window.approve ") || !strings.Contains(got[0], `"reason":"agreed with the branches"`) || !strings.Contains(got[0], n.digest("always")) ||
		got[1] != `person:ann window.revoke {"reason":"the branches are late"}` {
		t.Errorf("%q", got)
	}
}

func TestW5ApprovalsAreKeptOfWindowsOfTheAppliedManifestAlone(t *testing.T) {
	n := start(t)
	two := aPlan + strings.Replace(always, "windows: [", `windows: [{name: night, cron: "0 1 * * *", duration: 4h}, `, 1)
	n.manifestOf(two)
	kept := func() []string {
		t.Helper()
		a, _, err := n.store.WindowApprovals(t.Context(), wire.Fresh)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for name := range a {
			names = append(names, name)
		}
		slices.Sort(names)
		return names
	}
	if got := kept(); !slices.Equal(got, []string{"always", "night"}) {
		t.Fatalf("%q", got)
	}
	m, err := n.store.Manifest(t.Context(), wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	// A manifest that has one of them as it was, and the other not.
	change := wire.ManifestPlan{Windows: map[string]string{"always": n.digest("always"), "night": "another"}}
	if _, err := n.store.ApplyManifest(t.Context(), "test", aPlan+always, m.Revision, nil, change); err != nil {
		t.Fatal(err)
	}
	if got := kept(); !slices.Equal(got, []string{"always"}) {
		t.Errorf("%q", got)
	}
	if got := n.windowEvents("manifest"); !strings.Contains(got[len(got)-1], `"notApprovedAnyMore":["night"]`) {
		t.Errorf("%q", got)
	}
	n.started(n.startAs(wire.Operator, plan.Takeover, nil))
}

// A window that is for systems of several tenants is approved as a whole: each begins in its part.
func TestPeopleOfATenantBeginInApprovedWindowsAndApproveNone(t *testing.T) {
	n := twoBanks(t)
	ask := wire.SwitchRequest{To: "b", Mode: unit.Takeover, DryRun: true}
	check := func() string {
		t.Helper()
		a := switchAnswer(t, n.as("north-operator").want(200, "POST", "/api/v1/units/north-u/switch", ask))
		if len(a.Checks) == 0 {
			return ""
		}
		return a.Checks[0].Detail
	}
	if got := check(); !strings.Contains(got, "(W1)") || strings.Contains(got, mark) {
		t.Errorf("%q", got)
	}
	n.as("north-commander").want(http.StatusForbidden, "POST", "/api/v1/windows/w-north/approve", wire.ApproveWindow{Digest: n.digest("w-north"), Reason: "agreed"})
	n.as("north-commander").want(http.StatusForbidden, "POST", "/api/v1/windows/w-north/revoke", wire.RevokeWindow{Reason: "no"})
	n.approves(n.as("commander"), "w-both")
	if got := check(); got != "" {
		t.Errorf("%q", got)
	}
	var v calendar.View
	n.as("north-viewer").want(200, "GET", "/api/v1/calendar", nil).into(t, &v)
	var seen []string
	for _, w := range v.Windows {
		seen = append(seen, w.Name)
		if (len(w.Approvals) > 0) != (w.Name == "w-both") {
			t.Errorf("%+v", w)
		}
	}
	if !slices.Equal(seen, []string{"w-both", "w-north"}) && !slices.Equal(seen, []string{"w-north", "w-both"}) {
		t.Errorf("%q", seen)
	}
	if items := n.as("north-commander").inbox(); slices.ContainsFunc(items, func(i wire.InboxItem) bool { return i.Window != "" }) {
		t.Errorf("%+v", items)
	}
}

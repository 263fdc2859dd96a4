package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"perdure/internal/api"
	"perdure/internal/estate"
	"perdure/internal/incident"
	"perdure/internal/manifest"
	"perdure/internal/measure"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// mark is in every name and title of the other tenant: whoever is not of it must never read it.
const mark = "zzother"

// aBank is all that a tenant can have in a manifest.
const aBank = `---
apiVersion: perdure/v1
kind: Tenant
name: NAME
title: The bank NAME
---
apiVersion: perdure/v1
kind: System
name: NAME-core
tenant: NAME
title: The core of NAME
hosts: [NAME]
modules: [{name: ledger, archetype: account}]
routingKey: [{header: Account}]
targets: {rto: 1h, rpo: 1h}
deployments: [{site: a}, {site: b}]
groups:
- name: NAME-g
  owner: NAME-a
  members:
  - {id: NAME-a, site: a, role: sync, database: {host: NAME.a, port: 5432}, agent: {host: NAME.a, port: 7700}}
  - {id: NAME-b, site: b, role: sync, database: {host: NAME.b, port: 5432}, agent: {host: NAME.b, port: 7700}}
units: [{name: NAME-u, group: NAME-g, slots: 0-1023}]
---
apiVersion: perdure/v1
kind: Function
name: NAME-payments
systems: [NAME-core]
---
apiVersion: perdure/v1
kind: Participant
name: NAME-branch
tenant: NAME
type: branch
contacts: [{name: Desk of NAME, phone: "555"}]
---
apiVersion: perdure/v1
kind: CommandGroup
name: NAME-command
tenant: NAME
members: [{name: Head of NAME, duties: [lead], phone: "555", user: NAME-commander}]
escalation: [{after: 30m, to: [NAME-branch]}]
---
apiVersion: perdure/v1
kind: Roster
name: NAME-roster
tenant: NAME
timeZone: UTC
duties: [{name: NAME-duty, of: operator, shifts: [{name: all, people: [NAME-operator], cron: "0 0 * * *", duration: 24h}]}]
---
apiVersion: perdure/v1
kind: Plan
name: NAME-drill
tenant: NAME
title: The drill of NAME
modes: [drill, takeover]
system: NAME-core
parameters: [{name: unit, default: NAME-u}]
steps:
- {id: count, after: [], onFailure: ask, manual: {owner: NAME-branch, instruction: Count at NAME.}}
- {id: duty, after: [], onFailure: ask, manual: {owner: NAME-duty, instruction: Stand by at NAME.}}
- {id: agree, after: [], approval: {of: [commander], text: Go at NAME}}
- {id: look, after: [], onFailure: ask, check: {driver: unit, action: state, target: "${params.unit}", expect: result.accepting}}
armed: [{name: NAME-armed, mode: takeover}]
`

const bothSites = `apiVersion: perdure/v1
kind: Site
name: a
city: east
nodes: [{}]
---
apiVersion: perdure/v1
kind: Site
name: b
city: east
---
apiVersion: perdure/v1
kind: IncidentRules
name: rules
classes:
- {name: minor}
- {name: major, thresholds: [{systems: [north-core]}, {systems: [zzother-core]}]}
---
apiVersion: perdure/v1
kind: Calendar
name: all
title: That of everybody
timeZone: UTC
windows:
- {name: w-north, systems: [north-core], cron: "0 0 * * *", duration: 24h}
- {name: w-zzother, systems: [zzother-core], cron: "0 0 * * *", duration: 24h}
- {name: w-both, units: [north-u, zzother-u], cron: "0 0 * * *", duration: 24h}
cutoffs: [{name: cut-north, system: north-core, cron: "0 17 * * *"}, {name: cut-zzother, system: zzother-core, cron: "0 17 * * *"}]
schedules:
- {name: s-north, plan: north-drill, mode: drill, cron: "0 3 1 1 *", since: "2026-01-01 00:00", within: 24h}
- {name: s-zzother, plan: zzother-drill, mode: drill, cron: "0 3 1 1 *", since: "2026-01-01 00:00", within: 24h}
---
apiVersion: perdure/v1
kind: Plan
name: zzother-platform
modes: [drill]
steps: [{id: count, manual: {owner: operator, instruction: Count everywhere.}}]
`

func named(text, name string) string { return strings.ReplaceAll(text, "NAME", name) }

// twoBanks is a platform with two tenants that have everything: north, and the other one.
func twoBanks(t *testing.T) *node {
	n := start(t)
	text := bothSites + named(aBank, "north") + named(aBank, mark)
	set, err := manifest.Parse(manifest.File{Name: "m", Text: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	i, err := n.store.Incarnation(t.Context(), wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	var change wire.ManifestPlan
	for _, r := range set.Records() {
		change.Create = append(change.Create, unit.Bootstrap(r.Group, r.System, r.Units, r.Policy, r.Members, r.Owner.Member, i.Incarnation))
	}
	if _, err := n.store.ApplyManifest(t.Context(), "test", text, 0, nil, change); err != nil {
		t.Fatal(err)
	}
	platform := n.person("pat", wire.Commander)
	for _, name := range []string{"north", mark} {
		for _, role := range []wire.Role{wire.Participant, wire.Viewer, wire.Driller, wire.Operator, wire.Commander, wire.Auditor} {
			participant := ""
			if role == wire.Participant {
				participant = name + "-branch"
			}
			n.tokens[wire.Role(name+"-"+string(role))] = n.of(name, name+"-"+string(role), role, participant)
		}
		operator := n.as(name + "-operator")
		operator.want(200, "POST", "/api/v1/runs", wire.StartRun{Plan: name + "-drill", Mode: plan.Drill, ID: name + "-run", Reason: "of " + name})
		for _, step := range []string{"count", "duty", "agree"} {
			n.journal(name+"-run", run.Entry{By: "node:a", What: run.Opened, Node: step, Text: "Do it at " + name})
		}
		platform.want(200, "POST", "/api/v1/runs", wire.StartRun{Plan: name + "-drill", Mode: plan.Drill, ID: name + "-over"})
		platform.want(200, "POST", "/api/v1/runs/"+name+"-over/words", wire.RunWord{What: run.Cancelled, Text: "of " + name})
		n.journal(name+"-over", run.Entry{By: "node:a", What: run.Finished, Outcome: run.Broken, Text: "of " + name})
		operator.want(200, "POST", "/api/v1/runs/"+name+"-over/rectification", nil)
		operator.want(200, "POST", "/api/v1/incidents", wire.OpenIncident{ID: name + "-own", Title: "of " + name, Facts: incident.Facts{Systems: []estate.SystemID{estate.SystemID(name + "-core")}}})
		platform.want(200, "POST", "/api/v1/incidents", wire.OpenIncident{ID: name + "-told", Title: "of " + name, Facts: incident.Facts{Units: []estate.UnitID{estate.UnitID(name + "-u")}}})
		operator.want(200, "PUT", "/api/v1/instances/"+name+"-core/a/"+name+"-1", wire.Instance{URL: "http://127.0.0.1:7600"})
		n.as("agent:"+name+"-a").want(204, "PUT", "/api/v1/members/"+name+"-a/status", map[string]any{"of": name})
		n.as("agent:"+name+"-a").want(204, "POST", "/api/v1/divergences/"+name+"-g", wire.Divergence{ID: name + "-1", At: time.Now().UnixMilli()})
		if err := n.store.KeepArmed(t.Context(), "node:a", measure.Armed{Plan: name + "-drill", Name: name + "-armed", Mode: plan.Takeover}); err != nil {
			t.Fatal(err)
		}
		n.user(name+"-user", wire.Viewer)
	}
	platform.want(200, "POST", "/api/v1/runs", wire.StartRun{Plan: "zzother-platform", Mode: plan.Drill, ID: "pats-run"})
	for _, name := range []string{"north", mark} { // of a run of the platform's own that belongs to their incident a tenant learns its name, and nothing else
		platform.want(200, "POST", "/api/v1/incidents/"+name+"-told/words", wire.IncidentWord{What: incident.Link, Run: "pats-run"})
	}
	platform.want(200, "POST", "/api/v1/incidents", wire.OpenIncident{ID: mark + "-city", Title: "the city, " + mark, Facts: incident.Facts{Units: []estate.UnitID{"north-u", mark + "-u"}}})
	n.as("gateway:a").want(204, "PUT", "/api/v1/gateways/a/ack", wire.Ack{Version: 3, Status: json.RawMessage(`{"of":"` + mark + `"}`)})
	return n
}

// of makes a token of a person of a tenant.
func (n *node) of(tenant, name string, role wire.Role, participant string) string {
	n.t.Helper()
	var made wire.NewToken
	n.as("admin").want(200, "POST", "/api/v1/tokens", wire.AskToken{Name: name, Role: role, Participant: participant, Tenant: estate.TenantID(tenant)}).into(n.t, &made)
	return made.Secret
}

// at puts what a tenant has into a path.
func at(path, tenant string) string {
	return strings.NewReplacer("{run}", tenant+"-run", "{group}", tenant+"-g", "{unit}", tenant+"-u", "{incident}", tenant+"-own", "{plan}", tenant+"-drill",
		"{system}", tenant+"-core", "{site}", "a", "{id}", tenant+"-1", "{sha256}", strings.Repeat("0", 64), "{key}", "0000", "{user}", tenant+"-user", "{member}", tenant+"-a", "{name}", "x", "{window}", "w-both").Replace(path)
}

// Every route is walked by everybody of a tenant: nothing of another one is read or changed by any of them, and what their own are let to
// do they are let to do.
func TestNobodyOfATenantReadsOrChangesWhatIsAnothers(t *testing.T) {
	n := twoBanks(t)
	people := []string{"north-participant", "north-viewer", "north-driller", "north-operator", "north-commander", "north-auditor"}
	callers := map[string]*caller{}
	for _, who := range people {
		callers[who] = n.as(who)
	}
	before := n.whole()
	answered, streams := 0, []string{"/api/v1/watch", "/api/v1/live"}
	for _, r := range n.Routes() {
		if slices.Contains(r.Access, api.Health) || slices.Contains(r.Access, api.Anyone) || slices.Contains(streams, r.Path) {
			continue
		}
		query := map[string]string{"/api/v1/response": "?system=zzother-core", "/api/v1/runs/{run}/challenge": "?step=agree"}[r.Path]
		names := strings.Contains(r.Path, "{") && !strings.Contains(r.Path, "/me/") && !strings.Contains(r.Path, "/sessions/")
		for who, c := range callers {
			got := c.do(r.Method, at(r.Path, mark)+query, bodyFor(r))
			switch {
			case r.Reach == api.PlatformOnly && got.status != http.StatusForbidden:
				t.Errorf("%s %s is for the platform's own: %s gets %d", r.Method, r.Path, who, got.status)
			case names && got.status < 400:
				t.Errorf("%s %s: %s gets what is another's: %d %.300s", r.Method, r.Path, who, got.status, got.body)
			case got.status >= 500:
				t.Errorf("%s %s: %s gets %d %s", r.Method, r.Path, who, got.status, got.body)
			}
			// What was asked for by its name is named in the refusal, and nothing else.
			if text := strings.ReplaceAll(string(got.body), at(r.Path, mark), ""); got.status < 300 && strings.Contains(text, mark) {
				t.Errorf("%s %s shows %s what is another's: %.2000s", r.Method, r.Path, who, got.body)
			}
			if r.Method != "GET" || r.Reach == api.PlatformOnly {
				continue
			}
			own := c.do(r.Method, at(r.Path, "north")+strings.Replace(query, mark, "north", 1), nil)
			if own.status < 300 {
				answered++
			}
			if strings.Contains(string(own.body), mark) {
				t.Errorf("%s %s shows %s what is another's: %.2000s", r.Method, r.Path, who, own.body)
			}
		}
	}
	if answered < 120 {
		t.Errorf("only %d questions about their own were answered: the walk shows little", answered)
	}
	if now := n.whole(); now != before {
		t.Errorf("what is another's was changed:\n%s\n%s", before, now)
	}
	report := callers["north-viewer"].want(200, "GET", "/api/v1/incidents/north-told/report", nil)
	if text := string(report.body); !strings.Contains(text, "of north") || strings.Contains(text, mark) {
		t.Errorf("the report of their incident: %.2000s", text)
	}
	for _, c := range []*caller{callers["north-viewer"]} {
		seen := map[string]bool{}
		for l := c.listen("/api/v1/live", ""); !seen["runs/north-run"] || !seen["groups/north-g"] || !seen["members/north-a"]; {
			h := l.next()
			seen[h.line.Key] = true
			if strings.Contains(h.line.Key+string(h.line.Value), mark) {
				t.Fatalf("the stream shows what is another's: %s %s", h.line.Key, h.line.Value)
			}
			if h.name != "reset" && !h.line.More {
				break
			}
		}
		if !seen["runs/north-run"] || !seen["groups/north-g"] || !seen["members/north-a"] || !seen["incidents/north-told"] || !seen["instances/north-core/a/north-1"] {
			t.Errorf("the stream does not show their own: %v", seen)
		}
	}
}

// bodyFor is something that a route would take, about the other tenant.
func bodyFor(r api.Route) any {
	switch r.Method + " " + r.Path {
	case "POST /api/v1/runs":
		return wire.StartRun{Plan: mark + "-drill", Mode: plan.Drill}
	case "POST /api/v1/incidents":
		return wire.OpenIncident{Title: "x", Facts: incident.Facts{Systems: []estate.SystemID{mark + "-core"}}}
	case "PUT /api/v1/manifest":
		return "group u9"
	case "PUT /api/v1/runs/{run}/attachments":
		return octets("text")
	case "POST /api/v1/runs/{run}/words":
		return wire.RunWord{What: run.Paused}
	case "POST /api/v1/units/{unit}/switch":
		return wire.SwitchRequest{To: "b", Mode: unit.Takeover}
	case "POST /api/v1/plans/{plan}/preflight":
		return wire.PreflightRequest{Mode: plan.Drill}
	case "PUT /api/v1/instances/{system}/{site}/{id}":
		return wire.Instance{URL: "http://127.0.0.1:7600"}
	case "POST /api/v1/logout", "GET /api/v1/estate":
		return nil
	}
	if r.Method == "GET" {
		return nil
	}
	return map[string]any{}
}

// whole is what the platform's own people see of the other tenant.
func (n *node) whole() string {
	admin := n.as("admin")
	var b strings.Builder
	for _, path := range []string{"/api/v1/runs", "/api/v1/runs/zzother-run/journal", "/api/v1/groups/zzother-g", "/api/v1/manifest", "/api/v1/rectifications", "/api/v1/users"} {
		b.Write(admin.want(200, "GET", path, nil).body)
	}
	i, err := n.store.Incident(n.t.Context(), mark+"-own", wire.Fresh)
	if err != nil {
		n.t.Fatal(err)
	}
	fmt.Fprintf(&b, "%+v", i)
	return b.String()
}

func TestWhatABodyNamesOfAnotherTenantIsNotThere(t *testing.T) {
	n := twoBanks(t)
	commander, operator := n.as("north-commander"), n.as("north-operator")
	about := func(units ...estate.UnitID) *incident.Facts { return &incident.Facts{Units: units} }
	say := func(w wire.IncidentWord) reply { return operator.do("POST", "/api/v1/incidents/north-own/words", w) }
	for what, got := range map[string]reply{
		"a run of another's plan":                   operator.do("POST", "/api/v1/runs", wire.StartRun{Plan: mark + "-drill", Mode: plan.Drill}),
		"a run of the platform's plan":              operator.do("POST", "/api/v1/runs", wire.StartRun{Plan: mark + "-platform", Mode: plan.Drill}),
		"a switch of another's unit":                operator.do("POST", "/api/v1/runs", wire.StartRun{Plan: plan.SwitchUnit, Mode: plan.Takeover, Params: map[string]any{"unit": mark + "-u", "to": "b"}}),
		"a look at another's unit":                  operator.do("POST", "/api/v1/plans/switch-unit/preflight", wire.PreflightRequest{Mode: plan.Takeover, Params: map[string]any{"unit": mark + "-u", "to": "b"}}),
		"a run for another's incident":              operator.do("POST", "/api/v1/runs", wire.StartRun{Plan: "north-drill", Mode: plan.Takeover, Incident: mark + "-own"}),
		"an incident about another's unit":          operator.do("POST", "/api/v1/incidents", wire.OpenIncident{Title: "x", Facts: *about(mark + "-u")}),
		"an incident about both's":                  operator.do("POST", "/api/v1/incidents", wire.OpenIncident{Title: "x", Facts: *about("north-u", mark+"-u")}),
		"an incident that is another's by its name": operator.do("POST", "/api/v1/incidents", wire.OpenIncident{ID: mark + "-own", Title: "x", Facts: *about("north-u")}),
		"facts about another's":                     say(wire.IncidentWord{What: incident.Correct, Text: "x", Facts: about(mark + "-u")}),
		"a link to another's run":                   say(wire.IncidentWord{What: incident.Link, Run: mark + "-run"}),
		"a link to another's switch":                say(wire.IncidentWord{What: incident.Link, Switch: &incident.Switch{Group: mark + "-g"}}),
		"a join into another's":                     say(wire.IncidentWord{What: incident.Join, Into: mark + "-own", Text: "x"}),
		"a person of another":                       operator.do("POST", "/api/v1/runs/north-run/words", wire.RunWord{What: run.AddedApprover, Step: "agree", For: mark + "-commander", Text: "x"}),
		"a delegation to another's":                 commander.do("POST", "/api/v1/runs/north-run/words", wire.RunWord{What: run.Delegated, Step: "agree", To: mark + "-commander", Text: "x"}),
	} {
		if got.status != http.StatusNotFound && got.status != http.StatusConflict {
			t.Errorf("%s: %d %s", what, got.status, got.body)
		}
	}
	commander.want(200, "POST", "/api/v1/runs/north-run/words", wire.RunWord{What: run.Delegated, Step: "agree", To: "pat", Text: "x"}) // the platform's people serve all
	n.as("admin").want(422, "POST", "/api/v1/tokens", wire.AskToken{Name: "x", Role: wire.Admin, Tenant: "north"})
	n.as("admin").want(404, "POST", "/api/v1/tokens", wire.AskToken{Name: "x", Role: wire.Viewer, Tenant: "west"})
	n.as("admin").want(422, "POST", "/api/v1/tokens", wire.AskToken{Name: "x", Role: wire.Participant, Participant: mark + "-branch", Tenant: "north"})
	n.as("admin").want(422, "POST", "/api/v1/users", wire.NewUser{Name: "x", Roles: []wire.Role{wire.Viewer}, Participant: "north-branch", Password: password})
}

// A run of a tenant's plan acts on its own units alone, whoever starts it.
func TestParameterDoesNotLeadARunOutOfItsTenant(t *testing.T) {
	n := twoBanks(t)
	text, err := n.store.Manifest(t.Context(), wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	moving := named("---\napiVersion: perdure/v1\nkind: Plan\nname: NAME-move\ntenant: NAME\nmodes: [takeover]\nparameters: [{name: unit, default: NAME-u}]\nsteps:\n- {id: go, act: {driver: unit, action: switch, target: \"${params.unit}\", with: {to: b}}}\n", "north")
	n.manifestOf(text.Text + moving)
	for _, who := range []string{"north-operator", "operator"} {
		got := n.as(who).do("POST", "/api/v1/runs", wire.StartRun{Plan: "north-move", Mode: plan.Takeover, Params: map[string]any{"unit": mark + "-u"}, DryRun: true})
		if got.status != http.StatusConflict || !strings.Contains(got.problem(t).Detail, "T2") {
			t.Errorf("%s: %d %s", who, got.status, got.body)
		}
		n.as(who).want(200, "POST", "/api/v1/runs", wire.StartRun{Plan: "north-move", Mode: plan.Takeover, DryRun: true})
	}
}

// A method that the store gets is either looked at by the scoped store, or it is said here why it need not be.
func TestScopedStoreLooksAtEveryMethodThatMightTellOfATenant(t *testing.T) {
	same := []string{
		// They tell of nobody's systems.
		"Authenticate", "Formats", "Incarnation", "LogKeys", "Policy", "Note", "Person",
		// They are of who asks, by name, or of administrators.
		"Login", "SignOn", "StepUp", "Sessions", "EndSession", "ChangePassword", "SetFactor", "AddKey", "RevokeKey", "Keyed", "Under", "Answered",
		"LinkUser", "AddUser", "ResetPassword", "SetUserRoles", "SetUserParticipant", "LockUser", "UnlockUser", "RemoveUser", "SetPolicy", "CreateToken", "RevokeToken",
		// They are machines'.
		"PutAck", "PutMemberStatus", "PutDivergence",
		// It is asked of an incident that was read before.
		"Measured",
	}
	all := reflect.TypeFor[api.Store]()
	for method := range all.Methods() {
		name := method.Name
		if looked := slices.Contains(api.Scoped(), name); looked == slices.Contains(same, name) {
			t.Errorf("%s: the scoped store looks at it: %v, and it is said that it need not: %v", name, looked, !looked)
		}
	}
}

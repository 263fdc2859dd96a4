package api_test

import (
	"crypto/ed25519"
	"slices"
	"testing"

	"perdure/internal/api"
	"perdure/internal/ballot"
	"perdure/internal/heldorder"
	"perdure/internal/incident"
	"perdure/internal/plan"
	"perdure/internal/rectification"
	"perdure/internal/run"
	"perdure/internal/store"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// Every route on which a person changes something is walked here, or it is said why not; a new route fails until it is.
func TestEveryChangeThatAPersonAsksForIsInTheAuditLog(t *testing.T) {
	n := startWith(t, newProvider(t, newIDP(t)))
	admin, commander, operator := n.as("admin"), n.as("commander"), n.as("operator")
	n.open("u1")
	n.asked("r1", plan.Drill)
	n.asked("over", plan.Drill)
	operator.want(200, "POST", "/api/v1/runs/over/words", wire.RunWord{What: run.Cancelled, Text: "stop"})
	n.journal("over", run.Entry{By: "node:a", What: run.Finished, Outcome: run.Broken})
	n.user("dora", wire.Viewer)
	dora, _ := n.login(wire.Login{User: "dora", Password: password})
	var token wire.NewToken
	admin.want(200, "POST", "/api/v1/tokens", map[string]string{"name": "carl", "role": "viewer"}).into(t, &token)

	var fay *caller
	var codes []string
	type change struct {
		route string
		who   string
		do    func() reply
	}
	ask := func(c *caller, method, path string, body any) func() reply {
		return func() reply { return c.do(method, path, body) }
	}
	changes := []change{
		{"POST /api/v1/estate/confirm-cold", "the-commander", ask(commander, "POST", "/api/v1/estate/confirm-cold", map[string]string{"reason": "I am there"})},
		{"POST /api/v1/estate/reclaim", "the-admin", ask(admin, "POST", "/api/v1/estate/reclaim", nil)},
		{"POST /api/v1/groups/{group}/transitions", "the-commander", func() reply {
			proposed := unit.Transition{Kind: unit.Propose, Member: life("u1-c", 0), SwitchID: "s1", Person: "ann", Loss: &unit.Loss{Statement: "s", Source: "s"}}
			if _, err := n.store.Transition(t.Context(), "person:ann", "u1", 0, proposed); err != nil {
				t.Fatal(err)
			}
			return commander.do("POST", "/api/v1/groups/u1/transitions", wire.TransitionRequest{Transition: unit.Transition{Kind: unit.Abort, SwitchID: "s1"}})
		}},
		{"POST /api/v1/units/{unit}/verify", "the-commander", ask(commander, "POST", "/api/v1/units/u1/verify", nil)},
		{"POST /api/v1/runs", "the-operator", ask(operator, "POST", "/api/v1/runs", wire.StartRun{Plan: "p", Mode: plan.Drill, ID: "r2"})},
		{"POST /api/v1/runs/{run}/words", "the-operator", ask(operator, "POST", "/api/v1/runs/r1/words", word(run.Paused, ""))},
		{"PUT /api/v1/runs/{run}/attachments", "the-operator", ask(operator, "PUT", "/api/v1/runs/r1/attachments?step=count&name=a.txt", octets("text"))},
		{"POST /api/v1/windows/{window}/approve", "the-commander", func() reply {
			n.manifestOf(always)
			commander.want(204, "POST", "/api/v1/windows/always/revoke", wire.RevokeWindow{Reason: "again"})
			return commander.do("POST", "/api/v1/windows/always/approve", wire.ApproveWindow{Digest: n.digest("always"), Reason: "agreed"})
		}},
		{"POST /api/v1/windows/{window}/revoke", "the-commander", ask(commander, "POST", "/api/v1/windows/always/revoke", wire.RevokeWindow{Reason: "not tonight"})},
		{"PUT /api/v1/runs/{run}/orders", "the-operator", func() reply {
			n.takenOver("away")
			return operator.do("PUT", "/api/v1/runs/away/orders?holder=branch-north", csv(heldOrders))
		}},
		{"POST /api/v1/runs/{run}/orders/proofs", "the-operator", ask(operator, "POST", "/api/v1/runs/away/orders/proofs", nil)},
		{"POST /api/v1/runs/{run}/orders/dropped", "the-operator", ask(operator, "POST", "/api/v1/runs/away/orders/dropped", wire.DropOrders{Orders: []heldorder.Ref{{Holder: "branch-north", Reference: "N-2"}}, Reason: "taken back"})},
		{"POST /api/v1/runs/{run}/rectification", "the-operator", ask(operator, "POST", "/api/v1/runs/over/rectification", nil)},
		{"POST /api/v1/runs/{run}/rectification/words", "the-operator", ask(operator, "POST", "/api/v1/runs/over/rectification/words", wire.RectificationWord{What: rectification.Add, Text: "nobody was there"})},
		{"POST /api/v1/incidents", "the-operator", ask(operator, "POST", "/api/v1/incidents", cards())},
		{"POST /api/v1/incidents/{incident}/words", "the-operator", ask(operator, "POST", words, wire.IncidentWord{What: incident.Declare, Text: "because"})},
		{"POST /api/v1/users", "the-admin", ask(admin, "POST", "/api/v1/users", wire.NewUser{Name: "ann", Roles: []wire.Role{wire.Viewer}, Password: password})},
		{"PUT /api/v1/users/{user}/password", "the-admin", ask(admin, "PUT", "/api/v1/users/ann/password", map[string]string{"password": "a third long password"})},
		{"PUT /api/v1/users/{user}/roles", "the-admin", ask(admin, "PUT", "/api/v1/users/ann/roles", map[string][]wire.Role{"roles": {wire.Operator}})},
		{"PUT /api/v1/users/{user}/participant", "the-admin", ask(admin, "PUT", "/api/v1/users/ann/participant", map[string]string{"participant": ""})},
		{"POST /api/v1/users/{user}/lock", "the-admin", ask(admin, "POST", "/api/v1/users/ann/lock", nil)},
		{"POST /api/v1/users/{user}/unlock", "the-admin", ask(admin, "POST", "/api/v1/users/ann/unlock", nil)},
		{"DELETE /api/v1/users/{user}", "the-admin", ask(admin, "DELETE", "/api/v1/users/ann", nil)},
		{"PUT /api/v1/policy", "the-admin", ask(admin, "PUT", "/api/v1/policy", map[string]string{"secondFactor": "off"})},
		{"PUT /api/v1/instances/{system}/{site}/{id}", "the-operator", ask(operator, "PUT", "/api/v1/instances/core/a/core-a", wire.Instance{URL: "http://127.0.0.1:7600"})},
		{"DELETE /api/v1/instances/{system}/{site}/{id}", "the-operator", ask(operator, "DELETE", "/api/v1/instances/core/a/core-a", nil)},
		{"POST /api/v1/tokens", "the-admin", ask(admin, "POST", "/api/v1/tokens", map[string]string{"name": "eve", "role": "viewer"})},
		{"DELETE /api/v1/tokens/{id}", "the-admin", ask(admin, "DELETE", "/api/v1/tokens/"+token.ID, nil)},
		{"PUT /api/v1/users/{user}/subject", "the-admin", func() reply {
			n.user("hal", wire.Viewer)
			return admin.do("PUT", "/api/v1/users/hal/subject", map[string]string{"subject": "hal-1"})
		}},
		{"PUT /api/v1/me/second-factor", "fay", func() reply {
			n.user("fay", wire.Viewer)
			fay, _ = n.login(wire.Login{User: "fay", Password: password})
			codes = n.enrolled(fay)
			fay, _ = n.login(wire.Login{User: "fay", Password: password, Code: codes[0]})
			return reply{status: 200}
		}},
		{"POST /api/v1/me/step-up", "fay", func() reply {
			return fay.do("POST", "/api/v1/me/step-up", wire.StepUp{Password: password, Code: codes[1]})
		}},
		{"DELETE /api/v1/sessions/{id}", "dora", func() reply {
			_, other := n.login(wire.Login{User: "dora", Password: password})
			return dora.do("DELETE", "/api/v1/sessions/"+other.ID, nil)
		}},
		{"POST /api/v1/me/keys", "dora", ask(dora, "POST", "/api/v1/me/keys", wire.NewSigningKey{Key: ballot.Prove("dora", privateKey(1)).String()})},
		{"DELETE /api/v1/me/keys/{key}", "dora", ask(dora, "DELETE", "/api/v1/me/keys/"+ballot.IDOf(privateKey(1).Public().(ed25519.PublicKey)).String(), nil)},
		{"DELETE /api/v1/users/{user}/keys/{key}", "the-admin", func() reply {
			dora.want(200, "POST", "/api/v1/me/keys", wire.NewSigningKey{Key: ballot.Prove("dora", privateKey(2)).String()})
			return admin.do("DELETE", "/api/v1/users/dora/keys/"+ballot.IDOf(privateKey(2).Public().(ed25519.PublicKey)).String(), nil)
		}},
		{"POST /api/v1/runs/{run}/signed", "the-operator", func() reply {
			n.user("gus", wire.Commander)
			in, _ := n.login(wire.Login{User: "gus", Password: password})
			gus := signer{caller: in, name: "gus", key: privateKey(3)}
			in.want(200, "POST", "/api/v1/me/keys", wire.NewSigningKey{Key: ballot.Prove("gus", gus.key).String()})
			return operator.do("POST", "/api/v1/runs/r1/signed", handedIn(run.Approved, "ask", gus.signs(n.challenge("r1", "ask"), true, "", "")))
		}},
		{"PUT /api/v1/me/password", "dora", ask(dora, "PUT", "/api/v1/me/password", wire.NewPassword{Password: password, New: "another long password"})},
		{"POST /api/v1/logout", "dora", func() reply {
			again, _ := n.login(wire.Login{User: "dora", Password: "another long password"})
			return again.do("POST", "/api/v1/logout", nil)
		}},
		{"PUT /api/v1/manifest", "the-operator", ask(operator, "PUT", "/api/v1/manifest", "group u9")},
		{"POST /api/v1/units/{unit}/switch", "the-operator", func() reply {
			n.apply(allDay)
			return operator.do("POST", "/api/v1/units/u1/switch", wire.SwitchRequest{To: "b", Mode: unit.Takeover})
		}},
	}
	elsewhere := []string{
		"POST /api/v1/estate/members", "DELETE /api/v1/estate/members/{name}", // a store of one member cannot be grown and live; they are noted as reclaim is
		"POST /api/v1/units/{unit}/abort", "POST /api/v1/units/{unit}/accept", "POST /api/v1/units/{unit}/release", // transitions of the controller, which is a fake here
		"POST /api/v1/plans/{plan}/preflight", "POST /api/v1/runs/{run}/pack", "POST /api/v1/evidence/stretch", // they change nothing
		"POST /api/v1/evidence/retirement", // the notary's, who is none here: a real node's log has it in the tests of the command line
	}
	var walked []string
	for _, c := range changes {
		walked = append(walked, c.route)
	}
	people := []api.Access{api.Participant, api.Viewer, api.Driller, api.Operator, api.Commander, api.Auditor, api.Admin}
	for _, r := range n.Routes() {
		route := r.Method + " " + r.Path
		asks := r.Method != "GET" && slices.ContainsFunc(r.Access, func(a api.Access) bool { return slices.Contains(people, a) })
		if asks && !slices.Contains(walked, route) && !slices.Contains(elsewhere, route) {
			t.Errorf("%s is not walked: nobody knows whether it is in the audit log", route)
		}
	}
	events := func() []wire.Event {
		t.Helper()
		list, err := n.store.Events(t.Context(), 0, store.EventsLimit, true, wire.Fresh)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	for _, c := range changes {
		before := len(events())
		if r := c.do(); r.status >= 300 {
			t.Errorf("%s: %d %s", c.route, r.status, r.body)
			continue
		}
		who := "person:" + c.who
		now := events()
		if !slices.ContainsFunc(now[min(before, len(now)):], func(e wire.Event) bool { return e.Who == who }) {
			t.Errorf("%s left nothing of %s in the audit log: %+v", c.route, c.who, now[min(before, len(now)):])
		}
	}
}

package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Limits of a request's body, in bytes.
const (
	smallBody = 1 << 20
	largeBody = 8 << 20
)

// route is one line of the table.
type route struct {
	Method, Path string
	Access       []Access
	ID, Summary  string
	Tag          string
	Body         int64 // limit in bytes; smallBody where 0
	register     func(huma.API, huma.Operation)
}

// to makes a route's registration from a typed handler; its errors become problems.
func to[I, O any](handler func(context.Context, *I) (*O, error)) func(huma.API, huma.Operation) {
	return func(api huma.API, op huma.Operation) {
		keyed(&op)
		huma.Register(api, op, func(ctx context.Context, in *I) (*O, error) {
			out, err := handler(ctx, in)
			if err != nil {
				return nil, toProblem(err, addressed(ctx).Path)
			}
			return out, nil
		})
	}
}

// stream makes a route's registration from a handler that writes its answer itself.
func stream[I any](contentType string, handler func(huma.Context, *I)) func(huma.API, huma.Operation) {
	return func(api huma.API, op huma.Operation) {
		op.Responses = map[string]*huma.Response{"200": {
			Description: "a stream", Content: map[string]*huma.MediaType{contentType: {Schema: &huma.Schema{Type: huma.TypeString}}},
		}}
		huma.Register(api, op, func(_ context.Context, in *I) (*huma.StreamResponse, error) {
			return &huma.StreamResponse{Body: func(ctx huma.Context) { handler(ctx, in) }}, nil
		})
	}
}

// Who may what, in groups that recur.
var (
	machines      = []Access{Agent, Gateway, Node}
	readers       = append([]Access{Viewer}, machines...)
	onlyViewers   = []Access{Viewer}
	people        = []Access{Viewer, Participant} // whoever is asked something, and everybody about themselves
	onlyAdmins    = []Access{Admin}
	onlyAuditors  = []Access{Auditor}
	drillers      = []Access{Driller}
	operators     = []Access{Operator}
	commanders    = []Access{Commander}
	onlyAnybody   = []Access{Health}
	anyone        = []Access{Anyone}
	transitioners = []Access{Agent, Node, Operator}
)

// routes is the whole table. What is not in it does not exist.
func (s *Server) routes() []route {
	return []route{
		{"GET", "/healthz", onlyAnybody, "health", "The process lives", "health", 0, to(s.health)},
		{"GET", "/readyz", onlyAnybody, "ready", "The node has a quorum and may act", "health", 0, to(s.ready)},
		{"GET", "/metrics", onlyViewers, "metrics", "Metrics for Prometheus", "health", 0, stream("text/plain", s.metrics)},
		{"GET", "/api/v1/openapi.json", onlyViewers, "openapi", "This document", "health", 0, stream("application/json", s.openapi)},

		{"GET", "/api/v1/estate", readers, "estate", "The estate at a glance, from this node's local state", "estate", 0, to(s.estate)},
		{"GET", "/api/v1/estate/standing", readers, "standing", "This node's incarnation, and whether it may act", "estate", 0, to(s.standing)},
		{"POST", "/api/v1/estate/confirm-cold", commanders, "confirmCold", "A person's word that nobody recovered the estate elsewhere", "estate", 0, to(s.confirmCold)},
		{"POST", "/api/v1/estate/members", []Access{Admin, Node}, "growStore", "Tell the store of a new member", "estate", 0, to(s.growStore)},
		{"DELETE", "/api/v1/estate/members/{name}", onlyAdmins, "shrinkStore", "Take a member out of the store for good", "estate", 0, to(s.shrinkStore)},
		{"POST", "/api/v1/estate/reclaim", onlyAdmins, "reclaim", "Free the store's space on this node and lift its NOSPACE alarm", "estate", 0, to(s.reclaim)},
		{"GET", "/api/v1/snapshot", onlyAdmins, "snapshot", "The store as one file, as restore takes it", "estate", 0, stream("application/octet-stream", s.snapshot)},

		{"GET", "/api/v1/manifest", readers, "getManifest", "The applied manifest", "manifest", 0, to(s.getManifest)},
		{"PUT", "/api/v1/manifest", operators, "putManifest", "Apply a manifest, whole or not at all, or see what it would change", "manifest", largeBody, to(s.putManifest)},

		{"GET", "/api/v1/groups", readers, "listGroups", "All replication groups", "groups", 0, to(s.listGroups)},
		{"GET", "/api/v1/groups/{group}", readers, "getGroup", "One replication group", "groups", 0, to(s.getGroup)},
		{"POST", "/api/v1/groups/{group}/transitions", transitioners, "transition", "Ask for a transition of a group's record", "groups", 0, to(s.transition)},
		{"GET", "/api/v1/groups/{group}/silence", []Access{Node, Viewer}, "silence", "What this node's own probes say of a group's owner", "groups", 0, to(s.silence)},
		{"GET", "/api/v1/silence/{group}", []Access{Node, Viewer}, "silenceShort", "The same, under its short name", "groups", 0, to(s.silence)},
		{"GET", "/api/v1/divergences/{group}", []Access{Viewer, Agent, Node}, "listDivergences", "Transactions that returning members had and the owner had not", "groups", 0, to(s.listDivergences)},
		{"POST", "/api/v1/divergences/{group}", []Access{Agent}, "putDivergence", "Report diverged transactions", "groups", largeBody, to(s.putDivergence)},

		{"POST", "/api/v1/units/{unit}/switch", operators, "switch", "Make a unit current at another site, by a run of plan switch-unit; mode emergency needs a commander", "switches", 0, to(s.switchUnit)},
		{"POST", "/api/v1/units/{unit}/abort", operators, "abort", "Undo a switch that is not decided", "switches", 0, to(s.abort)},
		{"POST", "/api/v1/units/{unit}/accept", commanders, "accept", "Accept the loss of a proposed emergency as one of two people", "switches", 0, to(s.accept)},
		{"POST", "/api/v1/units/{unit}/verify", commanders, "verify", "Judge the accounts of a quarantined unit", "switches", 0, to(s.verify)},
		{"POST", "/api/v1/units/{unit}/release", commanders, "release", "End the quarantine of a unit", "switches", 0, to(s.release)},
		{"GET", "/api/v1/switches", readers, "listSwitches", "The running or last switch of every group", "switches", 0, to(s.listSwitches)},

		{"POST", "/api/v1/runs", drillers, "startRun", "Start a run of a plan; a mode that is for real needs an operator, mode emergency a commander", "runs", 0, to(s.startRun)},
		{"GET", "/api/v1/runs", onlyViewers, "listRuns", "All runs, the newest first", "runs", 0, to(s.listRuns)},
		{"GET", "/api/v1/runs/{run}", onlyViewers, "getRun", "A run, and how every step stands", "runs", 0, to(s.getRun)},
		{"GET", "/api/v1/runs/{run}/journal", onlyViewers, "getJournal", "The journal of a run", "runs", 0, to(s.getJournal)},
		{"POST", "/api/v1/runs/{run}/words", people, "sayToRun", "What a person says to a run; all but what is asked of the person needs an operator, or a driller where it is not for real. Who only takes part is told of the run its name and its mode", "runs", 0, to(s.sayToRun)},
		{"GET", "/api/v1/runs/{run}/challenge", onlyViewers, "challenge", "What somebody who cannot log in signs to decide on an approval", "runs", 0, to(s.challenge)},
		{"POST", "/api/v1/runs/{run}/signed", drillers, "handIn", "Hand in a decision that another person has signed; it needs an operator, or a driller where the run is not for real", "runs", 0, to(s.handIn)},
		{"PUT", "/api/v1/runs/{run}/attachments", people, "attach", "Hand in a file for an open task, at most 4 MiB of PDF, PNG, JPEG, DOCX, XLSX or text; it counts once the task was completed with it", "runs", largeBody, to(s.attach)},
		{"GET", "/api/v1/runs/{run}/attachments/{sha256}", people, "getAttachment", "A file that was handed in, for who may see its task", "runs", 0, stream("application/octet-stream", s.attachment)},
		{"PUT", "/api/v1/runs/{run}/orders", people, "importOrders", "Hand in orders that are held, or were taken at the DR side: a CSV file of at most 20,000, whole or not at all; for a participant that the person does not belong to it needs an operator", "runs", largeBody + 1<<10, to(s.importOrders)},
		{"GET", "/api/v1/runs/{run}/orders", people, "listOrders", "The orders of a run and how each stands; who only takes part sees their participant's", "runs", 0, to(s.listOrders)},
		{"GET", "/api/v1/runs/{run}/orders/totals", people, "orderTotals", "How many orders of a run stand how, and their amounts, for each unit", "runs", 0, to(s.orderTotals)},
		{"POST", "/api/v1/runs/{run}/orders/dropped", people, "dropOrders", "Say that orders are not entered, and why; those of another participant need an operator", "runs", 0, to(s.dropOrders)},
		{"POST", "/api/v1/runs/{run}/orders/proofs", operators, "proveOrders", "Ask the owners of the units for every order that is open, and write down what is there", "runs", 0, to(s.proveOrders)},
		{"GET", "/api/v1/runs/{run}/measures", onlyViewers, "getMeasures", "How long everything in a run took: clocks, recovery time, critical path, steps", "runs", 0, to(s.getMeasures)},
		{"GET", "/api/v1/runs/{run}/report", onlyViewers, "report", "The drill record or the switch report of a run, or its evaluation: HTML, DOCX or XLSX", "runs", 0, stream("application/octet-stream", s.report)},
		{"POST", "/api/v1/plans/{plan}/preflight", onlyViewers, "preflight", "What can be said of a run before it starts: worst case, P50 and P95, findings. It changes nothing", "runs", 0, to(s.preflight)},
		{"GET", "/api/v1/armed", onlyViewers, "listArmed", "The runs that have to be able to begin at any moment, and what was found when they were last looked ahead at", "runs", 0, to(s.listArmed)},
		{"GET", "/api/v1/plans/{plan}/document", onlyViewers, "planDocument", "The recovery plan or the drill plan of a plan as a file, with what it needs and nobody said", "runs", 0, to(s.planDocument)},
		{"GET", "/api/v1/response", onlyViewers, "responsePlan", "The emergency response plan of a system or of a site as a file, with what it needs and nobody said", "incidents", 0, to(s.responsePlan)},
		{"POST", "/api/v1/runs/{run}/pack", onlyAuditors, "evidencePack", "The evidence of a run as one file, as perdure evidence verify takes it", "evidence", 0, stream("application/octet-stream", s.evidencePack)},
		{"GET", "/api/v1/calendar", onlyViewers, "calendar", "Windows, freezes, cut-offs and schedules as they stand now", "runs", 0, to(s.calendar)},
		{"GET", "/api/v1/duty", onlyViewers, "duty", "Who is on duty now and until when, gaps ahead, and people who are on duty and could not answer", "people", 0, to(s.dutyView)},
		{"POST", "/api/v1/evidence/stretch", onlyAuditors, "evidenceStretch", "The evidence log itself from an entry on, at most 20,000 entries and about 64 MiB at a time, as one file that perdure evidence verify takes", "evidence", 0, stream("application/octet-stream", s.evidenceStretch)},
		{"GET", "/api/v1/evidence/keys", onlyViewers, "evidenceKeys", "The public keys that nodes sign the evidence log with", "evidence", 0, to(s.evidenceKeys)},

		{"POST", "/api/v1/incidents", operators, "openIncident", "Open an incident by hand", "incidents", 0, to(s.openIncident)},
		{"GET", "/api/v1/incidents", onlyViewers, "listIncidents", "Incidents as they stand now, the newest first", "incidents", 0, to(s.listIncidents)},
		{"GET", "/api/v1/incidents/{incident}", onlyViewers, "getIncident", "An incident as it stands now: class, clocks, tasks, and what it lacks to be closed", "incidents", 0, to(s.getIncident)},
		{"GET", "/api/v1/incidents/{incident}/report", onlyViewers, "incidentReport", "The report of an incident: HTML, DOCX or XLSX", "incidents", 0, stream("application/octet-stream", s.incidentReport)},
		{"POST", "/api/v1/incidents/{incident}/words", onlyViewers, "sayToIncident", "What a person says to an incident; it needs an operator, classified and waived a commander, reviewed an auditor or a commander, done the task's owner or an operator", "incidents", 0, to(s.sayToIncident)},

		{"POST", "/api/v1/runs/{run}/rectification", drillers, "openRectification", "Keep what a run that is over has shown to be wrong, until a re-test shows that it is put right; for what was for real it needs an operator", "runs", 0, to(s.openRectification)},
		{"GET", "/api/v1/runs/{run}/rectification", onlyViewers, "getRectification", "What has to be put right after a run, and what became of it", "runs", 0, to(s.getRectification)},
		{"POST", "/api/v1/runs/{run}/rectification/words", onlyViewers, "sayToRectification", "What a person says of what has to be put right; it needs who may steer such a run, corrected its owner, added and retested also an auditor, accepted a commander", "runs", 0, to(s.sayToRectification)},
		{"GET", "/api/v1/rectifications", onlyViewers, "listRectifications", "What has to be put right after all runs, the newest run first", "runs", 0, to(s.listRectifications)},
		{"GET", "/api/v1/rectifications/document", onlyViewers, "trackingDocument", "The rectification tracking of all runs, or of one: HTML, DOCX or XLSX", "runs", 0, stream("application/octet-stream", s.tracking)},

		{"GET", "/api/v1/availability", onlyViewers, "availability", "How much of a period every unit and every system was served, from the history of ownership and from incidents", "incidents", 0, to(s.availability)},

		{"GET", "/api/v1/inbox", people, "inbox", "What waits for you over all runs and incidents, the oldest first", "people", 0, to(s.inbox)},
		{"POST", "/api/v1/login", anyone, "login", "Open a session with a password and, where there is one, a second factor; the answer is the only place its secret is shown", "people", 0, to(s.login)},
		{"GET", "/api/v1/oidc", anyone, "signOnInfo", "Where people sign on: the provider of OpenID Connect, 404 where there is none", "people", 0, to(s.signOnInfo)},
		{"POST", "/api/v1/oidc/login", anyone, "signOn", "Open a session with a code of the provider; the answer is the only place its secret is shown", "people", 0, to(s.signOn)},
		{"POST", "/api/v1/oidc/device", anyone, "beginDevice", "Begin a sign-on that is confirmed on another device", "people", 0, to(s.beginDevice)},
		{"POST", "/api/v1/oidc/device/login", anyone, "awaitDevice", "Wait some seconds for the confirmation, and open a session; 409: not yet, ask again", "people", 0, to(s.awaitDevice)},
		{"POST", "/api/v1/me/step-up", people, "stepUp", "Show your second factor in a session that has shown none", "people", 0, withSecret(to(s.stepUp))},
		{"PUT", "/api/v1/users/{user}/subject", onlyAdmins, "linkUser", "Say who a user is for the provider of single sign-on, for ever", "people", 0, to(s.linkUser)},
		{"POST", "/api/v1/logout", people, "logout", "End the session that this request is part of", "people", 0, to(s.logout)},
		{"PUT", "/api/v1/me/password", people, "changePassword", "Change your own password; all your sessions end", "people", 0, withSecret(to(s.changePassword))},
		{"PUT", "/api/v1/me/second-factor", people, "setFactor", "Enrol your second factor; the answer is the only place its recovery codes are shown, and all your sessions end", "people", 0, withSecret(to(s.setFactor))},
		{"GET", "/api/v1/me/keys", people, "listKeys", "The keys that you sign decisions with away from the platform, revoked ones too", "people", 0, to(s.listKeys)},
		{"POST", "/api/v1/me/keys", people, "addKey", "Add a key that you sign decisions with, in a session, with its second factor where you have one", "people", 0, to(s.addKey)},
		{"DELETE", "/api/v1/me/keys/{key}", people, "revokeOwnKey", "End one of your keys for good; what was decided with it stays", "people", 0, to(s.revokeOwnKey)},
		{"DELETE", "/api/v1/users/{user}/keys/{key}", onlyAdmins, "revokeKey", "End a key of a user for good; what was decided with it stays", "people", 0, to(s.revokeKey)},
		{"GET", "/api/v1/sessions", people, "listSessions", "Your sessions; an admin's answer has everybody's", "people", 0, to(s.listSessions)},
		{"DELETE", "/api/v1/sessions/{id}", people, "endSession", "End one of your sessions; an admin ends any", "people", 0, to(s.endSession)},
		{"GET", "/api/v1/users", onlyAdmins, "listUsers", "All users, without anything secret", "people", 0, to(s.listUsers)},
		{"POST", "/api/v1/users", onlyAdmins, "addUser", "Add a user; a name is given once for ever", "people", 0, withSecret(to(s.addUser))},
		{"PUT", "/api/v1/users/{user}/password", onlyAdmins, "resetPassword", "Set a user's password; their sessions and their second factor end", "people", 0, withSecret(to(s.resetPassword))},
		{"PUT", "/api/v1/users/{user}/roles", onlyAdmins, "setUserRoles", "Give a user other roles", "people", 0, to(s.setUserRoles)},
		{"PUT", "/api/v1/users/{user}/participant", onlyAdmins, "setUserParticipant", "Say to which participant of the manifest a user belongs", "people", 0, to(s.setUserParticipant)},
		{"POST", "/api/v1/users/{user}/lock", onlyAdmins, "lockUser", "Keep a user out; their sessions end", "people", 0, to(s.lockUser)},
		{"POST", "/api/v1/users/{user}/unlock", onlyAdmins, "unlockUser", "Let a user in again, and forget wrong tries", "people", 0, to(s.unlockUser)},
		{"DELETE", "/api/v1/users/{user}", onlyAdmins, "removeUser", "End a user for good; their sessions end", "people", 0, to(s.removeUser)},
		{"GET", "/api/v1/policy", onlyViewers, "getPolicy", "What the estate wants of people", "people", 0, to(s.getPolicy)},
		{"PUT", "/api/v1/policy", onlyAdmins, "setPolicy", "Say what the estate wants of people", "people", 0, to(s.setPolicy)},

		{"GET", "/api/v1/watch", readers, "watch", "Everything that changes, one JSON object per line", "watch", 0, stream("application/x-ndjson", s.watch)},
		{"GET", "/api/v1/live", onlyViewers, "live", "Everything that changes, as server-sent events; a reader that was cut off goes on with Last-Event-ID", "watch", 0, stream("text/event-stream", s.live)},

		{"GET", "/api/v1/instances", readers, "listInstances", "Registered instances", "instances", 0, to(s.listInstances)},
		{"PUT", "/api/v1/instances/{system}/{site}/{id}", []Access{App, Operator}, "putInstance", "Register an instance, or renew it", "instances", 0, to(s.putInstance)},
		{"DELETE", "/api/v1/instances/{system}/{site}/{id}", []Access{App, Operator}, "deleteInstance", "End a registration", "instances", 0, to(s.deleteInstance)},
		{"GET", "/api/v1/gateways", readers, "listGateways", "What the gateways acknowledged", "instances", 0, to(s.listGateways)},
		{"PUT", "/api/v1/gateways/{id}/ack", []Access{Gateway}, "putAck", "Acknowledge a table", "instances", 0, to(s.putAck)},
		{"GET", "/api/v1/members", readers, "listMembers", "What the agents say of their members", "instances", 0, to(s.listMembers)},
		{"PUT", "/api/v1/members/{member}/status", []Access{Agent}, "putMemberStatus", "Say how a member is", "instances", 0, to(s.putMemberStatus)},

		{"GET", "/api/v1/events", onlyAuditors, "listEvents", "The audit log", "audit", 0, to(s.listEvents)},
		{"GET", "/api/v1/tokens", onlyAdmins, "listTokens", "All tokens, without their secrets", "tokens", 0, to(s.listTokens)},
		{"POST", "/api/v1/tokens", onlyAdmins, "createToken", "Make a token; the answer is the only place its secret is shown", "tokens", 0, withSecret(to(s.createToken))},
		{"DELETE", "/api/v1/tokens/{id}", onlyAdmins, "revokeToken", "Revoke a token for good", "tokens", 0, to(s.revokeToken)},
	}
}

// operation is the huma side of a route.
func (r route) operation() huma.Operation {
	body := r.Body
	if body == 0 {
		body = smallBody
	}
	op := huma.Operation{
		Method: r.Method, Path: r.Path, OperationID: r.ID, Summary: r.Summary, Tags: []string{r.Tag},
		Description:  "Access: " + join(r.Access) + ".",
		MaxBodyBytes: body, BodyReadTimeout: 10 * time.Second, RejectUnknownQueryParameters: true,
		Metadata: map[string]any{"access": r.Access},
		Errors:   []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusServiceUnavailable},
	}
	switch r.Access[0] {
	case Health:
		op.Security = []map[string][]string{}
		op.Errors = []int{http.StatusServiceUnavailable}
	case Anyone:
		op.Security = []map[string][]string{}
	case Participant, Viewer, Driller, Operator, Commander, Auditor, Admin, Agent, Gateway, Node, App:
	}
	return op
}

// Routes is the table as others may see it: who may do what.
func (s *Server) Routes() []Route {
	var list []Route
	for _, r := range s.routes() {
		list = append(list, Route{Method: r.Method, Path: r.Path, Access: r.Access})
	}
	return list
}

// Route is one line of the table.
type Route struct {
	Method, Path string
	Access       []Access
}

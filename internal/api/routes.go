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
	Reach        Reach
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
		{"GET", "/healthz", onlyAnybody, Everybody, "health", "The process lives", "health", 0, to(s.health)},
		{"GET", "/readyz", onlyAnybody, Everybody, "ready", "The node has a quorum and may act", "health", 0, to(s.ready)},
		{"GET", "/metrics", onlyViewers, PlatformOnly, "metrics", "Metrics for Prometheus", "health", 0, stream("text/plain", s.metrics)},
		{"GET", "/api/v1/openapi.json", onlyViewers, Everybody, "openapi", "This document", "health", 0, stream("application/json", s.openapi)},

		{"GET", "/api/v1/estate", readers, Everybody, "estate", "The estate at a glance, from this node's local state", "estate", 0, to(s.estate)},
		{"GET", "/api/v1/estate/standing", readers, Everybody, "standing", "This node's incarnation, and whether it may act", "estate", 0, to(s.standing)},
		{"POST", "/api/v1/estate/confirm-cold", commanders, PlatformOnly, "confirmCold", "A person's word that nobody recovered the estate elsewhere", "estate", 0, to(s.confirmCold)},
		{"POST", "/api/v1/estate/members", []Access{Admin, Node}, PlatformOnly, "growStore", "Tell the store of a new member", "estate", 0, to(s.growStore)},
		{"DELETE", "/api/v1/estate/members/{name}", onlyAdmins, PlatformOnly, "shrinkStore", "Take a member out of the store for good", "estate", 0, to(s.shrinkStore)},
		{"POST", "/api/v1/estate/reclaim", onlyAdmins, PlatformOnly, "reclaim", "Free the store's space on this node and lift its NOSPACE alarm", "estate", 0, to(s.reclaim)},
		{"GET", "/api/v1/snapshot", onlyAdmins, PlatformOnly, "snapshot", "The store as one file, as restore takes it", "estate", 0, stream("application/octet-stream", s.snapshot)},

		{"GET", "/api/v1/manifest", readers, Everybody, "getManifest", "The applied manifest", "manifest", 0, to(s.getManifest)},
		{"PUT", "/api/v1/manifest", operators, PlatformOnly, "putManifest", "Apply a manifest, whole or not at all, or see what it would change", "manifest", largeBody, to(s.putManifest)},

		{"GET", "/api/v1/groups", readers, Everybody, "listGroups", "All replication groups", "groups", 0, to(s.listGroups)},
		{"GET", "/api/v1/groups/{group}", readers, Everybody, "getGroup", "One replication group", "groups", 0, to(s.getGroup)},
		{"POST", "/api/v1/groups/{group}/transitions", transitioners, Everybody, "transition", "Ask for a transition of a group's record", "groups", 0, to(s.transition)},
		{"GET", "/api/v1/groups/{group}/silence", []Access{Node, Viewer}, Everybody, "silence", "What this node's own probes say of a group's owner", "groups", 0, to(s.silence)},
		{"GET", "/api/v1/silence/{group}", []Access{Node, Viewer}, Everybody, "silenceShort", "The same, under its short name", "groups", 0, to(s.silence)},
		{"GET", "/api/v1/divergences/{group}", []Access{Viewer, Agent, Node}, Everybody, "listDivergences", "Transactions that returning members had and the owner had not", "groups", 0, to(s.listDivergences)},
		{"POST", "/api/v1/divergences/{group}", []Access{Agent}, PlatformOnly, "putDivergence", "Report diverged transactions", "groups", largeBody, to(s.putDivergence)},

		{"POST", "/api/v1/units/{unit}/switch", operators, Everybody, "switch", "Make a unit current at another site, by a run of plan switch-unit; mode emergency needs a commander", "switches", 0, to(s.switchUnit)},
		{"POST", "/api/v1/units/{unit}/abort", operators, Everybody, "abort", "Undo a switch that is not decided", "switches", 0, to(s.abort)},
		{"POST", "/api/v1/units/{unit}/accept", commanders, Everybody, "accept", "Accept the loss of a proposed emergency as one of two people", "switches", 0, to(s.accept)},
		{"POST", "/api/v1/units/{unit}/verify", commanders, Everybody, "verify", "Judge the accounts of a quarantined unit", "switches", 0, to(s.verify)},
		{"POST", "/api/v1/units/{unit}/release", commanders, Everybody, "release", "End the quarantine of a unit", "switches", 0, to(s.release)},
		{"GET", "/api/v1/switches", readers, Everybody, "listSwitches", "The running or last switch of every group", "switches", 0, to(s.listSwitches)},

		{"POST", "/api/v1/runs", drillers, Everybody, "startRun", "Start a run of a plan; a mode that is for real needs an operator, mode emergency a commander", "runs", 0, to(s.startRun)},
		{"GET", "/api/v1/runs", onlyViewers, Everybody, "listRuns", "All runs, the newest first", "runs", 0, to(s.listRuns)},
		{"GET", "/api/v1/runs/{run}", onlyViewers, Everybody, "getRun", "A run, and how every step stands", "runs", 0, to(s.getRun)},
		{"GET", "/api/v1/runs/{run}/journal", onlyViewers, Everybody, "getJournal", "The journal of a run", "runs", 0, to(s.getJournal)},
		{"POST", "/api/v1/runs/{run}/words", people, Everybody, "sayToRun", "What a person says to a run; all but what is asked of the person needs an operator, or a driller where it is not for real. Who only takes part is told of the run its name and its mode", "runs", 0, to(s.sayToRun)},
		{"GET", "/api/v1/runs/{run}/challenge", onlyViewers, Everybody, "challenge", "What somebody who cannot log in signs to decide on an approval", "runs", 0, to(s.challenge)},
		{"POST", "/api/v1/runs/{run}/signed", drillers, Everybody, "handIn", "Hand in a decision that another person has signed; it needs an operator, or a driller where the run is not for real", "runs", 0, to(s.handIn)},
		{"PUT", "/api/v1/runs/{run}/attachments", people, Everybody, "attach", "Hand in a file for an open task, at most 4 MiB of PDF, PNG, JPEG, DOCX, XLSX or text; it counts once the task was completed with it", "runs", largeBody, to(s.attach)},
		{"GET", "/api/v1/runs/{run}/attachments/{sha256}", people, Everybody, "getAttachment", "A file that was handed in, for who may see its task; or one that an action made, for who is asked what comes after it", "runs", 0, stream("application/octet-stream", s.attachment)},
		{"PUT", "/api/v1/runs/{run}/orders", people, Everybody, "importOrders", "Hand in orders that are held, or were taken at the DR side: a CSV file of at most 20,000, whole or not at all; for a participant that the person does not belong to it needs an operator", "runs", largeBody + 1<<10, to(s.importOrders)},
		{"GET", "/api/v1/runs/{run}/orders", people, Everybody, "listOrders", "The orders of a run and how each stands; who only takes part sees their participant's", "runs", 0, to(s.listOrders)},
		{"GET", "/api/v1/runs/{run}/orders/totals", people, Everybody, "orderTotals", "How many orders of a run stand how, and their amounts, for each unit", "runs", 0, to(s.orderTotals)},
		{"POST", "/api/v1/runs/{run}/orders/dropped", people, Everybody, "dropOrders", "Say that orders are not entered, and why; those of another participant need an operator", "runs", 0, to(s.dropOrders)},
		{"POST", "/api/v1/runs/{run}/orders/proofs", operators, Everybody, "proveOrders", "Ask the owners of the units for every order that is open, and write down what is there", "runs", 0, to(s.proveOrders)},
		{"GET", "/api/v1/runs/{run}/measures", onlyViewers, Everybody, "getMeasures", "How long everything in a run took: clocks, recovery time, critical path, steps", "runs", 0, to(s.getMeasures)},
		{"GET", "/api/v1/runs/{run}/report", onlyViewers, Everybody, "report", "The drill record or the switch report of a run, or its evaluation: HTML, DOCX or XLSX", "runs", 0, stream("application/octet-stream", s.report)},
		{"POST", "/api/v1/plans/{plan}/preflight", onlyViewers, Everybody, "preflight", "What can be said of a run before it starts: worst case, P50 and P95, findings. It changes nothing", "runs", 0, to(s.preflight)},
		{"GET", "/api/v1/armed", onlyViewers, Everybody, "listArmed", "The runs that have to be able to begin at any moment, and what was found when they were last looked ahead at", "runs", 0, to(s.listArmed)},
		{"GET", "/api/v1/plans/{plan}/document", onlyViewers, Everybody, "planDocument", "The recovery plan or the drill plan of a plan as a file, with what it needs and nobody said", "runs", 0, to(s.planDocument)},
		{"GET", "/api/v1/response", onlyViewers, Everybody, "responsePlan", "The emergency response plan of a system or of a site as a file, with what it needs and nobody said", "incidents", 0, to(s.responsePlan)},
		{"POST", "/api/v1/runs/{run}/pack", onlyAuditors, Everybody, "evidencePack", "The evidence of a run as one file, as perdure evidence verify takes it", "evidence", 0, stream("application/octet-stream", s.evidencePack)},
		{"GET", "/api/v1/calendar", onlyViewers, Everybody, "calendar", "Windows, freezes, cut-offs and schedules as they stand now", "runs", 0, to(s.calendar)},
		{"POST", "/api/v1/windows/{window}/approve", commanders, PlatformOnly, "approveWindow", "Approve a window of a calendar as it stands: planned runs of other people may begin in it", "runs", 0, to(s.approveWindow)},
		{"POST", "/api/v1/windows/{window}/revoke", commanders, PlatformOnly, "revokeWindow", "Take back the approvals of a window; what has begun goes on", "runs", 0, to(s.revokeWindow)},
		{"GET", "/api/v1/duty", onlyViewers, Everybody, "duty", "Who is on duty now and until when, gaps ahead, and people who are on duty and could not answer", "people", 0, to(s.dutyView)},
		{"POST", "/api/v1/evidence/stretch", onlyAuditors, PlatformOnly, "evidenceStretch", "The evidence log itself from an entry on, at most 20,000 entries and about 64 MiB at a time, as one file that perdure evidence verify takes", "evidence", 0, stream("application/octet-stream", s.evidenceStretch)},
		{"GET", "/api/v1/evidence/retirement", onlyViewers, PlatformOnly, "evidenceRetiring", "What of the evidence is old enough to be retired, and how the last retirement stands", "evidence", 0, to(s.evidenceRetiring)},
		{"POST", "/api/v1/evidence/retirement", onlyAdmins, PlatformOnly, "evidenceRetire", "Take out of the store what was exported and has been kept for long enough", "evidence", largeBody, to(s.evidenceRetire)},
		{"GET", "/api/v1/evidence/keys", onlyViewers, Everybody, "evidenceKeys", "The public keys that nodes sign the evidence log with", "evidence", 0, to(s.evidenceKeys)},

		{"POST", "/api/v1/incidents", operators, Everybody, "openIncident", "Open an incident by hand", "incidents", 0, to(s.openIncident)},
		{"GET", "/api/v1/incidents", onlyViewers, Everybody, "listIncidents", "Incidents as they stand now, the newest first", "incidents", 0, to(s.listIncidents)},
		{"GET", "/api/v1/incidents/{incident}", onlyViewers, Everybody, "getIncident", "An incident as it stands now: class, clocks, tasks, and what it lacks to be closed", "incidents", 0, to(s.getIncident)},
		{"GET", "/api/v1/incidents/{incident}/report", onlyViewers, Everybody, "incidentReport", "The report of an incident: HTML, DOCX or XLSX", "incidents", 0, stream("application/octet-stream", s.incidentReport)},
		{"POST", "/api/v1/incidents/{incident}/words", onlyViewers, Everybody, "sayToIncident", "What a person says to an incident; it needs an operator, classified and waived a commander, reviewed an auditor or a commander, done the task's owner or an operator", "incidents", 0, to(s.sayToIncident)},

		{"POST", "/api/v1/runs/{run}/rectification", drillers, Everybody, "openRectification", "Keep what a run that is over has shown to be wrong, until a re-test shows that it is put right; for what was for real it needs an operator", "runs", 0, to(s.openRectification)},
		{"GET", "/api/v1/runs/{run}/rectification", onlyViewers, Everybody, "getRectification", "What has to be put right after a run, and what became of it", "runs", 0, to(s.getRectification)},
		{"POST", "/api/v1/runs/{run}/rectification/words", onlyViewers, Everybody, "sayToRectification", "What a person says of what has to be put right; it needs who may steer such a run, corrected its owner, added and retested also an auditor, accepted a commander", "runs", 0, to(s.sayToRectification)},
		{"GET", "/api/v1/rectifications", onlyViewers, Everybody, "listRectifications", "What has to be put right after all runs, the newest run first", "runs", 0, to(s.listRectifications)},
		{"GET", "/api/v1/rectifications/document", onlyViewers, Everybody, "trackingDocument", "The rectification tracking of all runs, or of one: HTML, DOCX or XLSX", "runs", 0, stream("application/octet-stream", s.tracking)},

		{"GET", "/api/v1/availability", onlyViewers, Everybody, "availability", "How much of a period every unit and every system was served, from the history of ownership and from incidents", "incidents", 0, to(s.availability)},

		{"GET", "/api/v1/inbox", people, Everybody, "inbox", "What waits for you over all runs and incidents, the oldest first", "people", 0, to(s.inbox)},
		{"POST", "/api/v1/login", anyone, Everybody, "login", "Open a session with a password and, where there is one, a second factor; the answer is the only place its secret is shown", "people", 0, to(s.login)},
		{"GET", "/api/v1/oidc", anyone, Everybody, "signOnInfo", "Where people sign on: the provider of OpenID Connect, 404 where there is none", "people", 0, to(s.signOnInfo)},
		{"POST", "/api/v1/oidc/login", anyone, Everybody, "signOn", "Open a session with a code of the provider; the answer is the only place its secret is shown", "people", 0, to(s.signOn)},
		{"POST", "/api/v1/oidc/device", anyone, Everybody, "beginDevice", "Begin a sign-on that is confirmed on another device", "people", 0, to(s.beginDevice)},
		{"POST", "/api/v1/oidc/device/login", anyone, Everybody, "awaitDevice", "Wait some seconds for the confirmation, and open a session; 409: not yet, ask again", "people", 0, to(s.awaitDevice)},
		{"POST", "/api/v1/me/step-up", people, Everybody, "stepUp", "Show your second factor in a session that has shown none", "people", 0, withSecret(to(s.stepUp))},
		{"PUT", "/api/v1/users/{user}/subject", onlyAdmins, PlatformOnly, "linkUser", "Say who a user is for the provider of single sign-on, for ever", "people", 0, to(s.linkUser)},
		{"POST", "/api/v1/logout", people, Everybody, "logout", "End the session that this request is part of", "people", 0, to(s.logout)},
		{"PUT", "/api/v1/me/password", people, Everybody, "changePassword", "Change your own password; all your sessions end", "people", 0, withSecret(to(s.changePassword))},
		{"PUT", "/api/v1/me/second-factor", people, Everybody, "setFactor", "Enrol your second factor; the answer is the only place its recovery codes are shown, and all your sessions end", "people", 0, withSecret(to(s.setFactor))},
		{"GET", "/api/v1/me/keys", people, Everybody, "listKeys", "The keys that you sign decisions with away from the platform, revoked ones too", "people", 0, to(s.listKeys)},
		{"POST", "/api/v1/me/keys", people, Everybody, "addKey", "Add a key that you sign decisions with, in a session, with its second factor where you have one", "people", 0, to(s.addKey)},
		{"DELETE", "/api/v1/me/keys/{key}", people, Everybody, "revokeOwnKey", "End one of your keys for good; what was decided with it stays", "people", 0, to(s.revokeOwnKey)},
		{"DELETE", "/api/v1/users/{user}/keys/{key}", onlyAdmins, PlatformOnly, "revokeKey", "End a key of a user for good; what was decided with it stays", "people", 0, to(s.revokeKey)},
		{"GET", "/api/v1/sessions", people, Everybody, "listSessions", "Your sessions; an admin's answer has everybody's", "people", 0, to(s.listSessions)},
		{"DELETE", "/api/v1/sessions/{id}", people, Everybody, "endSession", "End one of your sessions; an admin ends any", "people", 0, to(s.endSession)},
		{"GET", "/api/v1/users", onlyAdmins, PlatformOnly, "listUsers", "All users, without anything secret", "people", 0, to(s.listUsers)},
		{"POST", "/api/v1/users", onlyAdmins, PlatformOnly, "addUser", "Add a user; a name is given once for ever", "people", 0, withSecret(to(s.addUser))},
		{"PUT", "/api/v1/users/{user}/password", onlyAdmins, PlatformOnly, "resetPassword", "Set a user's password; their sessions and their second factor end", "people", 0, withSecret(to(s.resetPassword))},
		{"PUT", "/api/v1/users/{user}/roles", onlyAdmins, PlatformOnly, "setUserRoles", "Give a user other roles", "people", 0, to(s.setUserRoles)},
		{"PUT", "/api/v1/users/{user}/participant", onlyAdmins, PlatformOnly, "setUserParticipant", "Say to which participant of the manifest a user belongs", "people", 0, to(s.setUserParticipant)},
		{"POST", "/api/v1/users/{user}/lock", onlyAdmins, PlatformOnly, "lockUser", "Keep a user out; their sessions end", "people", 0, to(s.lockUser)},
		{"POST", "/api/v1/users/{user}/unlock", onlyAdmins, PlatformOnly, "unlockUser", "Let a user in again, and forget wrong tries", "people", 0, to(s.unlockUser)},
		{"DELETE", "/api/v1/users/{user}", onlyAdmins, PlatformOnly, "removeUser", "End a user for good; their sessions end", "people", 0, to(s.removeUser)},
		{"GET", "/api/v1/policy", onlyViewers, Everybody, "getPolicy", "What the estate wants of people", "people", 0, to(s.getPolicy)},
		{"PUT", "/api/v1/policy", onlyAdmins, PlatformOnly, "setPolicy", "Say what the estate wants of people", "people", 0, to(s.setPolicy)},

		{"GET", "/api/v1/watch", readers, Everybody, "watch", "Everything that changes, one JSON object per line", "watch", 0, stream("application/x-ndjson", s.watch)},
		{"GET", "/api/v1/live", onlyViewers, Everybody, "live", "Everything that changes, as server-sent events; a reader that was cut off goes on with Last-Event-ID", "watch", 0, stream("text/event-stream", s.live)},

		{"GET", "/api/v1/instances", readers, Everybody, "listInstances", "Registered instances", "instances", 0, to(s.listInstances)},
		{"PUT", "/api/v1/instances/{system}/{site}/{id}", []Access{App, Operator}, Everybody, "putInstance", "Register an instance, or renew it", "instances", 0, to(s.putInstance)},
		{"DELETE", "/api/v1/instances/{system}/{site}/{id}", []Access{App, Operator}, Everybody, "deleteInstance", "End a registration", "instances", 0, to(s.deleteInstance)},
		{"GET", "/api/v1/gateways", readers, Everybody, "listGateways", "What the gateways acknowledged", "instances", 0, to(s.listGateways)},
		{"PUT", "/api/v1/gateways/{id}/ack", []Access{Gateway}, PlatformOnly, "putAck", "Acknowledge a table", "instances", 0, to(s.putAck)},
		{"GET", "/api/v1/members", readers, Everybody, "listMembers", "What the agents say of their members", "instances", 0, to(s.listMembers)},
		{"PUT", "/api/v1/members/{member}/status", []Access{Agent}, PlatformOnly, "putMemberStatus", "Say how a member is", "instances", 0, to(s.putMemberStatus)},

		{"GET", "/api/v1/events", onlyAuditors, PlatformOnly, "listEvents", "The audit log", "audit", 0, to(s.listEvents)},
		{"GET", "/api/v1/tokens", onlyAdmins, PlatformOnly, "listTokens", "All tokens, without their secrets", "tokens", 0, to(s.listTokens)},
		{"POST", "/api/v1/tokens", onlyAdmins, PlatformOnly, "createToken", "Make a token; the answer is the only place its secret is shown", "tokens", 0, withSecret(to(s.createToken))},
		{"DELETE", "/api/v1/tokens/{id}", onlyAdmins, PlatformOnly, "revokeToken", "Revoke a token for good", "tokens", 0, to(s.revokeToken)},
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
		Metadata: map[string]any{"access": r.Access, "reach": r.Reach},
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
		list = append(list, Route{Method: r.Method, Path: r.Path, Access: r.Access, Reach: r.Reach})
	}
	return list
}

// Route is one line of the table.
type Route struct {
	Method, Path string
	Access       []Access
	Reach        Reach
}

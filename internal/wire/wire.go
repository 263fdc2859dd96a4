// Package wire is the contract between a node's API and those who call it: the JSON that travels and that the store keeps.
// Store, API, client, agents, gateways and the command line speak in it, so that none of them imports another.
// It decides nothing.
package wire

import (
	"encoding/json"
	"slices"

	"perdure/internal/estate"
	"perdure/internal/unit"
)

// Group is a record with the store revision it was last changed at: the condition of the next change.
type Group struct {
	Record   unit.Record `json:"record"`
	Revision int64       `json:"revision"`
}

// TransitionRequest asks for one transition of a group's record.
type TransitionRequest struct {
	Transition unit.Transition `json:"transition"`
	// Revision is the record's revision the asker decided on; 0 lets the node apply the transition to the newest record.
	Revision int64 `json:"revision"`
}

// Manifest is the applied set of documents, whole.
type Manifest struct {
	// Tenant is whose part of it this is; empty: it is all of it.
	Tenant estate.TenantID `json:"tenant,omitempty"`
	// Text is the stream of YAML documents as it was sent.
	Text string `json:"text"`
	// SHA256 is the hex digest of Text.
	SHA256 string `json:"sha256"`
	By     string `json:"by"`
	// At is in Unix milliseconds of the node that took it.
	At int64 `json:"at"`
	// Revision is set when it is read from the store.
	Revision int64 `json:"revision,omitempty"`
}

// ManifestChange is what applying a manifest would do, or did.
type ManifestChange struct {
	// Diff is for people: one line per change, first character '+', '-' or '~'.
	Diff []string `json:"diff"`
	// Warnings say what could not be compared with what is applied.
	Warnings []string `json:"warnings,omitempty"`
	// Applied is false for a dry run and where nothing changed.
	Applied  bool  `json:"applied"`
	Revision int64 `json:"revision"`
	// Waiting are windows of its calendars in which nothing begins until somebody approves them.
	Waiting []string `json:"waiting,omitempty"`
}

// ApproveWindow approves a window of a calendar.
type ApproveWindow struct {
	// Digest is that of the window, so that nobody approves another one than they saw.
	Digest string `json:"digest" minLength:"1"`
	Reason string `json:"reason" minLength:"1"`
}

// RevokeWindow takes the approvals of a window back.
type RevokeWindow struct {
	Reason string `json:"reason" minLength:"1"`
}

// Instance is a running instance of an application, registered with a time to live.
type Instance struct {
	System estate.SystemID `json:"system"`
	Site   estate.SiteID   `json:"site"`
	ID     string          `json:"id"`
	// URL is where a gateway reaches it, scheme://host:port.
	URL string `json:"url"`
	// Deployment and Units narrow what it serves; empty means all of the system at the site.
	Deployment string          `json:"deployment,omitempty"`
	Units      []estate.UnitID `json:"units,omitempty"`
	// Leaving asks gateways to send nothing new.
	Leaving bool `json:"leaving,omitempty"`
	// TTLSeconds is how long the registration lives without renewal: 2 to 600, 10 where 0.
	TTLSeconds int64 `json:"ttlSeconds,omitempty"`
}

// Ack says which table a gateway routes by.
type Ack struct {
	Gateway string        `json:"gateway"`
	Site    estate.SiteID `json:"site,omitempty"`
	// Version is the store revision that the gateway's table was compiled from.
	Version int64 `json:"version"`
	// At is in Unix milliseconds of the node that took it.
	At int64 `json:"at"`
	// Status is free-form: holds, counts, health.
	Status json.RawMessage `json:"status,omitempty"`
}

// MemberStatus is what an agent last said about its database directory.
type MemberStatus struct {
	Member estate.MemberID `json:"member"`
	At     int64           `json:"at"`
	// Status is free-form.
	Status json.RawMessage `json:"status"`
}

// Divergence is one report about transactions that a returning member has and the owner has not (I6).
type Divergence struct {
	Group    estate.GroupID  `json:"group"`
	ID       string          `json:"id"`
	Reporter string          `json:"reporter"`
	At       int64           `json:"at"`
	Report   json.RawMessage `json:"report"`
}

// Keyed is what is kept, for a day, of a change that a person asked for with an Idempotency-Key.
type Keyed struct {
	// Fingerprint tells requests apart, in hex; At is when it was begun, in Unix milliseconds.
	Fingerprint string `json:"fingerprint"`
	At          int64  `json:"at"`
	// Answer is nil where it was not kept.
	Answer *KeptAnswer `json:"answer,omitempty"`
}

// KeptAnswer is the answer to a request, as it was written.
type KeptAnswer struct {
	Status      int    `json:"status"`
	ContentType string `json:"contentType"`
	Body        []byte `json:"body"`
}

// Event is one line of the audit log; it is only ever added.
type Event struct {
	// Revision is the store revision the event was written in: events are ordered by it, and several may share one.
	Revision int64 `json:"revision"`
	// At is in Unix milliseconds of the node that wrote it.
	At int64 `json:"at"`
	// Who is an authenticated name: "person:ann", "agent:u1-a", "node:a".
	Who string `json:"who"`
	// What is a word such as "transition" or "token.create"; Subject is what it was done to.
	What    string `json:"what"`
	Subject string `json:"subject"`
	// Detail is the request or the outcome, never a secret.
	Detail json.RawMessage `json:"detail,omitempty"`
}

// Role is what a person may do.
type Role string

// The closed list of roles.
const (
	// Participant sees and answers what is asked of the participant that its holder belongs to, and nothing else.
	Participant Role = "participant"

	Viewer    Role = "viewer"    // reads
	Driller   Role = "driller"   // reads; starts, steers and answers runs that are not for real
	Operator  Role = "operator"  // reads, applies manifests, planned switches
	Commander Role = "commander" // operator, and emergencies: accept a loss, confirm
	Auditor   Role = "auditor"   // reads, and the audit log
	Admin     Role = "admin"     // everything, and tokens
)

// Roles lists all roles.
func Roles() []Role { return []Role{Participant, Viewer, Driller, Operator, Commander, Auditor, Admin} }

// Covers are the roles whose rights a role has, its own first.
func (r Role) Covers() []Role {
	switch r {
	case Participant, Viewer:
		return []Role{r}
	case Driller, Auditor:
		return []Role{r, Viewer}
	case Operator:
		return []Role{r, Driller, Viewer}
	case Commander:
		return []Role{r, Operator, Driller, Viewer}
	case Admin:
		return []Role{r, Commander, Operator, Driller, Auditor, Viewer}
	}
	return nil
}

// Narrowed are the fewest roles with the rights that both lists give.
func Narrowed(roles, limit []Role) []Role {
	has := func(list []Role, r Role) bool {
		return slices.ContainsFunc(list, func(one Role) bool { return slices.Contains(one.Covers(), r) })
	}
	var both []Role
	for _, r := range Roles() {
		if has(roles, r) && has(limit, r) {
			both = append(both, r)
		}
	}
	return slices.DeleteFunc(slices.Clone(both), func(r Role) bool {
		return slices.ContainsFunc(both, func(one Role) bool { return one != r && slices.Contains(one.Covers(), r) })
	})
}

// Token is a person's bearer token without its secret.
type Token struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Role Role   `json:"role"`
	// Participant is the participant that its holder belongs to; empty: none.
	Participant string `json:"participant,omitempty"`
	// Tenant is the institution whose person its holder is; empty: the platform's own.
	Tenant estate.TenantID `json:"tenant,omitempty"`
	// CreatedBy, Created and Expires (Unix milliseconds; 0 = never) are shown to people.
	CreatedBy string `json:"createdBy,omitempty"`
	Created   int64  `json:"created"`
	Expires   int64  `json:"expires,omitempty"`
	Revoked   int64  `json:"revoked,omitempty"`
	RevokedBy string `json:"revokedBy,omitempty"`
}

// NewToken is the answer to a token's creation, the only time its secret is shown.
type NewToken struct {
	Token
	Secret string `json:"secret"`
}

// Incarnation is the store's present life with who began it and why (I10).
type Incarnation struct {
	estate.Incarnation
	By     string `json:"by"`
	At     int64  `json:"at"`
	Reason string `json:"reason,omitempty"`
	// From is the store revision that a recovery or restore started from; 0 for the first.
	From int64 `json:"from,omitempty"`
}

// Read says how fresh a read has to be.
type Read string

// The ways to read.
const (
	// Fresh asks the quorum: what it gives was true after the call began.
	Fresh Read = "fresh"
	// Local asks the local member alone: it works without a quorum and may be old.
	Local Read = "local"
)

package wire

import (
	"time"

	"perdure/internal/estate"
	"perdure/internal/evaluation"
	"perdure/internal/plan"
	"perdure/internal/run"
)

// Good reports whether the token counts at a time, in Unix milliseconds.
func (t Token) Good(now int64) bool { return t.Revoked == 0 && (t.Expires == 0 || t.Expires > now) }

// AskToken is what a token is asked for.
type AskToken struct {
	Name string `json:"name" minLength:"1" maxLength:"128" doc:"the person's name, as it stands in the audit log"`
	Role Role   `json:"role" enum:"participant,viewer,driller,operator,commander,auditor,admin"`
	// Participant is the participant of the manifest that its holder belongs to; Tenant the institution whose person they are, empty: the platform's own.
	Participant string          `json:"participant,omitempty" doc:"participant of the manifest that they belong to"`
	Tenant      estate.TenantID `json:"tenant,omitempty" doc:"tenant of the manifest whose person they are; empty: the platform's own"`
	Expires     int64           `json:"expires,omitempty" doc:"Unix milliseconds; 0 for never"`
}

// Caller is who a bearer token or a session belongs to.
type Caller struct {
	Name  string
	Roles []Role
	// Participant is the participant that they belong to; empty: none.
	Participant string
	// Tenant is the institution whose person they are; empty: the platform's own.
	Tenant estate.TenantID
	// Session is the ID of a session, "" for a token; Factor is when its person showed the second factor, in Unix milliseconds, 0: not.
	Session string
	Factor  int64
}

// User is a person who logs in, without anything secret. Times are Unix milliseconds, 0: not.
type User struct {
	Name  string `json:"name"`
	Roles []Role `json:"roles"`
	// Participant is the participant of the manifest that they belong to; empty: none.
	Participant string `json:"participant,omitempty"`
	// Tenant is the institution whose person they are, for ever; empty: the platform's own.
	Tenant    estate.TenantID `json:"tenant,omitempty"`
	Created   int64           `json:"created"`
	CreatedBy string          `json:"createdBy,omitempty"`
	// Password is when it was set last, Factor since when there is a second factor, Recovery how many recovery codes are left.
	Password  int64  `json:"password"`
	Factor    int64  `json:"factor,omitempty"`
	Recovery  int    `json:"recovery,omitempty"`
	Locked    int64  `json:"locked,omitempty"`
	LockedBy  string `json:"lockedBy,omitempty"`
	Removed   int64  `json:"removed,omitempty"`
	RemovedBy string `json:"removedBy,omitempty"`
	// Waits is until when nothing is tried after wrong tries.
	Waits int64 `json:"waits,omitempty"`
	// Subject is who they are for single sign-on; nil: they are a local user. Limit are the roles that it gives at most; none: no limit.
	Subject *Subject `json:"subject,omitempty"`
	Limit   []Role   `json:"limit,omitempty"`
	// Keys are those that they sign decisions with, revoked ones too.
	Keys []SigningKey `json:"keys,omitempty"`
}

// SigningKey is a key that a person signs decisions with away from the platform. Times are Unix milliseconds, 0: not.
type SigningKey struct {
	ID string `json:"id"` // ballot.KeyID
	// Key is the public part with its proof, a ballot.PublicKey.
	Key   string `json:"key"`
	Title string `json:"title,omitempty"`
	Added int64  `json:"added"`
	// Factor is when the person had shown the second factor in the session that it was added in; 0: they had not.
	Factor    int64  `json:"factor,omitempty"`
	Revoked   int64  `json:"revoked,omitempty"`
	RevokedBy string `json:"revokedBy,omitempty"`
}

// NewSigningKey asks for a key to be added: the line that perdure user key new wrote.
type NewSigningKey struct {
	Key   string `json:"key"`
	Title string `json:"title,omitempty"`
}

// Active reports whether the person may log in.
func (u User) Active() bool { return u.Locked == 0 && u.Removed == 0 }

// Session is a login, without its secret. Times are Unix milliseconds.
type Session struct {
	ID      string `json:"id"`
	User    string `json:"user"`
	Created int64  `json:"created"`
	// Seen is when it was used last, to the minute; Expires is when it ends however much it is used.
	Seen    int64 `json:"seen"`
	Expires int64 `json:"expires"`
	// Factor is when the second factor was given, 0: not.
	Factor int64  `json:"factor,omitempty"`
	From   string `json:"from,omitempty"` // address that it was opened from
	// Issuer is the provider by which it was opened; empty: by a password.
	Issuer string `json:"issuer,omitempty"`
}

// NewSession is the answer to a login, the only time its secret is shown.
type NewSession struct {
	Session
	Secret string `json:"secret"`
	Roles  []Role `json:"roles"`
}

// Login asks for a session. Code is that of the second factor or a recovery code, where the person has one.
type Login struct {
	User     string `json:"user"`
	Password string `json:"password"`
	Code     string `json:"code,omitempty"`
}

// SignOnInfo is what a command line needs to send somebody to the provider of single sign-on.
type SignOnInfo struct {
	Issuer    string   `json:"issuer"`
	ClientID  string   `json:"clientID"`
	Authorize string   `json:"authorize"` // the provider's authorization endpoint
	Scopes    []string `json:"scopes"`
	Device    bool     `json:"device"` // it can be confirmed on another device
}

// SignOn asks for a session by a code of the provider.
type SignOn struct {
	Code     string `json:"code"`
	Verifier string `json:"verifier"` // of PKCE
	Nonce    string `json:"nonce"`
	Redirect string `json:"redirect"` // where the code was sent, a loopback address
}

// DeviceStart is a sign-on that is confirmed on another device.
type DeviceStart struct {
	Code     string    `json:"code"`
	UserCode string    `json:"userCode"`
	URL      string    `json:"url"`
	Complete string    `json:"complete,omitempty"` // URL with the code in it
	Expires  time.Time `json:"expires,omitzero"`
	Interval int64     `json:"interval"` // seconds
}

// DeviceWait waits for the confirmation.
type DeviceWait struct {
	Code     string `json:"code"`
	Interval int64  `json:"interval"`
}

// Subject is who somebody is for a provider of single sign-on.
type Subject struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
	// Roles are those that the provider's groups gave at the last sign-on, At when that was, in Unix milliseconds.
	Roles []Role `json:"roles,omitempty"`
	At    int64  `json:"at,omitempty"`
}

// StepUp shows a second factor in a session that has shown none.
type StepUp struct {
	Password string `json:"password"`
	Code     string `json:"code"`
}

// NewUser asks for a user.
type NewUser struct {
	Name  string `json:"name"`
	Roles []Role `json:"roles"`
	// Participant is the participant that they belong to; who has role participant belongs to one.
	Participant string `json:"participant,omitempty"`
	// Tenant is the institution whose person they are, for ever; empty: the platform's own.
	Tenant   estate.TenantID `json:"tenant,omitempty"`
	Password string          `json:"password"`
}

// NewPassword is a person's own change of the password.
type NewPassword struct {
	Password string `json:"password"` // as it is
	Code     string `json:"code,omitempty"`
	New      string `json:"new"`
}

// NewFactor is a person's own enrolment of a second factor: the secret that their app has, and its present code.
type NewFactor struct {
	Password string `json:"password"`
	Code     string `json:"code,omitempty"` // of the second factor that is replaced
	Secret   []byte `json:"secret"`
	Present  string `json:"present"`
}

// FactorPolicy says whose second factor is required for what is done for real.
type FactorPolicy string

// The policies.
const (
	FactorOff      FactorPolicy = "off"
	FactorSessions FactorPolicy = "on"  // of people who log in; tokens stay as they are
	FactorAll      FactorPolicy = "all" // also of tokens, which have none: they do nothing for real
)

// Policy is what the estate wants of people.
type Policy struct {
	SecondFactor FactorPolicy `json:"secondFactor" enum:"off,on,all"`
	// Signatures: what is signed with a key that was added in a session with a second factor counts where one is required.
	Signatures bool `json:"signatures"`
	// RetentionDays is for how long evidence is kept here at least, before what was exported may be retired; nil: for ever.
	RetentionDays *int   `json:"retentionDays,omitempty" minimum:"0" maximum:"36500"`
	By            string `json:"by,omitempty"`
	At            int64  `json:"at,omitempty"` // Unix milliseconds
}

// PolicyChange says what is to be another way; what it does not name stays.
type PolicyChange struct {
	SecondFactor FactorPolicy `json:"secondFactor,omitempty" enum:"off,on,all"`
	Signatures   *bool        `json:"signatures,omitempty"`
	// RetentionDays is -1 for ever.
	RetentionDays *int `json:"retentionDays,omitempty" minimum:"-1" maximum:"36500"`
}

// MostRetention bounds for how many days a policy says that evidence is kept, short of for ever.
const MostRetention = 36500

// WaitsForApproval is why a window of a calendar is in an inbox.
const WaitsForApproval run.Why = "window"

// InboxItem is one thing that waits for a person.
type InboxItem struct {
	// Run, Plan and Mode are of a run, Incident is of an incident, Window is of a window of a calendar that waits for approval: one of them.
	Run      string    `json:"run,omitempty"`
	Plan     string    `json:"plan,omitempty"`
	Mode     plan.Mode `json:"mode,omitempty"`
	Incident string    `json:"incident,omitempty"`
	Window   string    `json:"window,omitempty"`
	// Tabletop: the run walks its plan around a table, and nothing is done.
	Tabletop bool `json:"tabletop,omitempty"`
	// Shown are files that the run has made for who is asked: those of what comes before it in the plan.
	Shown []run.Attachment `json:"shown,omitempty"`
	// Due is until when it has to be done, zero where it has no clock. Of an incident Why is declaration, task, review or closure, and Step the task.
	Due time.Time `json:"due,omitzero"`
	// Problem is what has to be put right: Why is then rectification, assignment or retest, and Step the number of the item.
	Problem *evaluation.Problem `json:"problem,omitempty"`
	run.Ask
}

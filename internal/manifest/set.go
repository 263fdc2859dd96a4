package manifest

import (
	"perdure/internal/calendar"
	"perdure/internal/duty"
	"perdure/internal/estate"
	"perdure/internal/incident"
	"perdure/internal/plan"
	"perdure/internal/shape"
	"perdure/internal/unit"
)

// APIVersion is the only version of the language so far.
const APIVersion = "perdure/v1"

// Set is everything that is declared, in canonical order: documents of each kind by name, and so are the named parts in them, but for the
// steps of a plan, the contacts of a participant, the members of a command group, people and substitutions of a duty, and classes and tasks of
// incidents, which stand in the order of the document.
type Set struct {
	Sites []Site `json:"sites"`
	// Tenants are the institutions that have systems of their own here; none: there is one institution.
	Tenants []Tenant `json:"tenants,omitempty"`
	Systems []System `json:"systems"`
	// Plans are what is done step by step, in drills and for real.
	Plans []plan.Plan `json:"plans,omitempty"`
	// Calendars are when things may be done, and when they have to be.
	Calendars []calendar.Calendar `json:"calendars,omitempty"`
	// Functions are what the institution does for its customers, and on which systems that rests.
	Functions []Function `json:"functions,omitempty"`
	// Participants are who takes part in a switch beside those who carry it out.
	Participants []Participant `json:"participants,omitempty"`
	// Rosters are who is on duty when.
	Rosters []duty.Roster `json:"rosters,omitempty"`
	// IncidentRules are classes of incidents, and what has to be done of them by when; at most one document.
	IncidentRules []incident.Rules `json:"incidentRules,omitempty"`
	// CommandGroups are who leads the response to disruptions.
	CommandGroups []CommandGroup `json:"commandGroups,omitempty"`
}

// Tenant is an institution 租户 among several on one platform. Its people see and change what is its own, and nothing else (T1 to T4).
type Tenant struct {
	Name  estate.TenantID `yaml:"name" json:"name"`
	Title string          `yaml:"title,omitempty" json:"title,omitempty"`
}

// Function is a business function 业务功能.
type Function struct {
	Name        string             `yaml:"name" json:"name"`
	Title       string             `yaml:"title,omitempty" json:"title,omitempty"`
	Criticality estate.Criticality `yaml:"criticality,omitempty" json:"criticality,omitempty"`
	Systems     []estate.SystemID  `yaml:"systems" json:"systems"`
}

// Participant takes part in switches: a headquarters, a branch, a related system, a third party 参演单位. Plans give it tasks by its name,
// and everybody who belongs to it answers them.
type Participant struct {
	Name     string                 `yaml:"name" json:"name"`
	Title    string                 `yaml:"title,omitempty" json:"title,omitempty"`
	Type     estate.ParticipantType `yaml:"type" json:"type"`
	Contacts []estate.Contact       `yaml:"contacts,omitempty" json:"contacts,omitempty"`
	// Tenant is the institution that it is of; empty: of all.
	Tenant estate.TenantID `yaml:"tenant,omitempty" json:"tenant,omitempty"`
	// Systems whose switches it takes part in; none: all.
	Systems []estate.SystemID `yaml:"systems,omitempty" json:"systems,omitempty"`
}

// CommandGroup leads the response to disruptions of systems 应急指挥组.
type CommandGroup struct {
	Name  string `yaml:"name" json:"name"`
	Title string `yaml:"title,omitempty" json:"title,omitempty"`
	// Tenant is the institution that it is of; empty: of all.
	Tenant estate.TenantID `yaml:"tenant,omitempty" json:"tenant,omitempty"`
	// Systems whose disruptions it is for; none: all.
	Systems []estate.SystemID `yaml:"systems,omitempty" json:"systems,omitempty"`
	// Members stand in the order in which they are called.
	Members []GroupMember `yaml:"members" json:"members"`
	// Escalation says who is told of a disruption that goes on, soonest first.
	Escalation []Escalation `yaml:"escalation,omitempty" json:"escalation,omitempty"`
}

// GroupMember is a person of a command group, with at least one way to reach them.
type GroupMember struct {
	Name   string        `yaml:"name" json:"name"`
	Duties []estate.Duty `yaml:"duties" json:"duties"`
	// User is the name under which the person acts in runs; empty: they do not.
	User  string `yaml:"user,omitempty" json:"user,omitempty"`
	Phone string `yaml:"phone,omitempty" json:"phone,omitempty"`
	Mail  string `yaml:"mail,omitempty" json:"mail,omitempty"`
}

// Escalation is who is told when a disruption is not over After its detection: members of the group and participants, by name.
type Escalation struct {
	After shape.Duration `yaml:"after" json:"after"`
	To    []string       `yaml:"to" json:"to"`
}

// Site is a data centre or an availability zone 站点.
type Site struct {
	Name  estate.SiteID `yaml:"name" json:"name"`
	Title string        `yaml:"title,omitempty" json:"title,omitempty"`
	// City decides the relation of two sites: the same city is 同城, another one is 异地.
	City string `yaml:"city" json:"city"`
	// Witness sites carry a node that votes, and nothing else.
	Witness      bool         `yaml:"witness,omitempty" json:"witness,omitempty"`
	FaultDomains FaultDomains `yaml:"faultDomains,omitempty" json:"faultDomains,omitzero"`
	// DistanceKm is a plausibility check, never a rule (JR/T 0168 3.10, 3.11: the relation is fault independence).
	DistanceKm map[estate.SiteID]int `yaml:"distanceKm,omitempty" json:"distanceKm,omitempty"`
	Nodes      []Node                `yaml:"nodes,omitempty" json:"nodes,omitempty"`
	Gateways   []Gateway             `yaml:"gateways,omitempty" json:"gateways,omitempty"`
}

// FaultDomains name what the site depends on; two sites with the same name in a field fail together by it. Empty means not declared.
type FaultDomains struct {
	Power   string `yaml:"power,omitempty" json:"power,omitempty"`
	Water   string `yaml:"water,omitempty" json:"water,omitempty"`
	Flood   string `yaml:"flood,omitempty" json:"flood,omitempty"`
	Seismic string `yaml:"seismic,omitempty" json:"seismic,omitempty"`
	Carrier string `yaml:"carrier,omitempty" json:"carrier,omitempty"`
}

// Node is a control-plane member: API, controller and a vote.
type Node struct {
	Name   string `yaml:"name" json:"name"`
	Host   string `yaml:"host" json:"host"`
	API    int    `yaml:"api" json:"api"`
	Peer   int    `yaml:"peer" json:"peer"`
	Client int    `yaml:"client" json:"client"`
}

// Gateway carries business traffic.
type Gateway struct {
	Name  string `yaml:"name" json:"name"`
	Host  string `yaml:"host" json:"host"`
	Port  int    `yaml:"port" json:"port"`
	Admin int    `yaml:"admin" json:"admin"`
}

// System is an information system 信息系统.
type System struct {
	Name  estate.SystemID `yaml:"name" json:"name"`
	Title string          `yaml:"title,omitempty" json:"title,omitempty"`
	// Tenant is the institution whose system it is; empty: the platform's own.
	Tenant estate.TenantID `yaml:"tenant,omitempty" json:"tenant,omitempty"`
	// Criticality is the system's own; that of functions and of systems which rest on it counts too (Criticalities).
	Criticality estate.Criticality `yaml:"criticality,omitempty" json:"criticality,omitempty"`
	// Stage is how the system is kept ready, as people say it; empty: as its groups are laid out (StageOf).
	Stage estate.Stage `yaml:"stage,omitempty" json:"stage,omitempty"`
	// DependsOn are the systems without which it does not work.
	DependsOn []estate.SystemID `yaml:"dependsOn,omitempty" json:"dependsOn,omitempty"`
	// Hosts are the host names whose requests belong to the system; none means every host that no other system names.
	Hosts []string `yaml:"hosts,omitempty" json:"hosts,omitempty"`
	// Slots is the number of hash buckets, 1 to 65536. It never changes once data exists.
	Slots      int         `yaml:"slots" json:"slots"`
	Modules    []Module    `yaml:"modules" json:"modules"`
	RoutingKey []KeySource `yaml:"routingKey,omitempty" json:"routingKey,omitempty"`
	// Reads are path templates of requests that only read although their method says otherwise.
	Reads       []string    `yaml:"reads,omitempty" json:"reads,omitempty"`
	Idempotency Idempotency `yaml:"idempotency" json:"idempotency"`
	Limits      Limits      `yaml:"limits" json:"limits"`
	Hold        Hold        `yaml:"hold" json:"hold"`
	Health      Health      `yaml:"health" json:"health"`
	Policy      Policy      `yaml:"policy" json:"policy"`
	// Verify is the SQL query (account text, consistent boolean) by which accounts are judged after a takeover with loss (I7).
	Verify string `yaml:"verify,omitempty" json:"verify,omitempty"`
	// Drill is what drills on its data may do.
	Drill       Drill        `yaml:"drill,omitempty" json:"drill,omitzero"`
	Targets     Targets      `yaml:"targets" json:"targets"`
	Deployments []Deployment `yaml:"deployments,omitempty" json:"deployments,omitempty"`
	Groups      []Group      `yaml:"groups,omitempty" json:"groups,omitempty"`
	Units       []Unit       `yaml:"units,omitempty" json:"units,omitempty"`
}

// Module is a part of a system with one archetype 模块.
type Module struct {
	Name      string           `yaml:"name" json:"name"`
	Archetype estate.Archetype `yaml:"archetype" json:"archetype"`
	// Paths are the URL path prefixes of its requests. None: no traffic comes through gateways.
	Paths []string `yaml:"paths,omitempty" json:"paths,omitempty"`
}

// Drill is what a drill on a clone of a system's data may do: transactions of declared test accounts, and of no others.
type Drill struct {
	// Accounts are the routing keys of test accounts.
	Accounts []string `yaml:"accounts,omitempty" json:"accounts,omitempty"`
	// Transaction is a SQL query that carries out one transaction of the application behind the guard and gives its status: $1 is the
	// perdure.request, $2 the account.
	Transaction string `yaml:"transaction,omitempty" json:"transaction,omitempty"`
	// Mask is what is taken from the data before participants may look at it, Show what of it they may look at.
	Mask []estate.Mask    `yaml:"mask,omitempty" json:"mask,omitempty"`
	Show []estate.Showing `yaml:"show,omitempty" json:"show,omitempty"`
}

// Idempotency is the contract of repeated requests (I5).
type Idempotency struct {
	Required bool   `yaml:"required" json:"required"`
	Header   string `yaml:"header" json:"header"`
	// Retention is how long results are kept; it is at least the longest of ClientRetry, the hold, and ReconcileWithin.
	Retention shape.Duration `yaml:"retention" json:"retention"`
	// ClientRetry is how long clients may go on repeating one request.
	ClientRetry shape.Duration `yaml:"clientRetry" json:"clientRetry"`
	// ReconcileWithin is how long the divergence of a returned owner may wait for its reconciliation.
	ReconcileWithin shape.Duration `yaml:"reconcileWithin" json:"reconcileWithin"`
}

// Limits bound what one gateway lets through to the system.
type Limits struct {
	Body       shape.Bytes `yaml:"body" json:"body"`             // of one request
	Rate       int         `yaml:"rate" json:"rate"`             // requests per second, 0 for no limit
	Concurrent int         `yaml:"concurrent" json:"concurrent"` // requests in flight, held ones too
	// Timeout ends one attempt of a request that may be sent again, UnkeyedTimeout one that may not.
	Timeout        shape.Duration `yaml:"timeout" json:"timeout"`
	UnkeyedTimeout shape.Duration `yaml:"unkeyedTimeout" json:"unkeyedTimeout"`
}

// Hold bounds what one gateway keeps back while a unit changes hands; beyond it 503 with Retry-After (I14).
type Hold struct {
	MaxRequests int            `yaml:"maxRequests" json:"maxRequests"`
	MaxBytes    shape.Bytes    `yaml:"maxBytes" json:"maxBytes"`
	MaxTime     shape.Duration `yaml:"maxTime" json:"maxTime"`
}

// Health is how gateways ask instances whether they are well.
type Health struct {
	Path     string         `yaml:"path" json:"path"`
	Interval shape.Duration `yaml:"interval" json:"interval"`
	Timeout  shape.Duration `yaml:"timeout" json:"timeout"`
	Failures int            `yaml:"failures" json:"failures"` // in a row, until no request is sent there
}

// Policy is what people decided about failover; every group of the system has it.
type Policy struct {
	Failover  unit.FailoverPolicy `yaml:"failover" json:"failover"`
	MinInSync int                 `yaml:"minInSync" json:"minInSync"`
	Damping   shape.Duration      `yaml:"damping" json:"damping"`
}

// Targets are the declared values 声明值.
type Targets struct {
	RTO shape.Duration `yaml:"rto" json:"rto"`
	RPO shape.Duration `yaml:"rpo" json:"rpo"`
}

// Deployment is a module in one site 多活子信息系统. Units are not deployments: two units that are current at one site are served by one deployment.
type Deployment struct {
	Module string        `yaml:"module" json:"module"`
	Site   estate.SiteID `yaml:"site" json:"site"`
	// Instances are base URLs that are always there; others come and go by registration.
	Instances []string `yaml:"instances,omitempty" json:"instances,omitempty"`
}

// Group is a replication group 复制组: one database server and its copies.
type Group struct {
	Name estate.GroupID `yaml:"name" json:"name"`
	// Owner is the member that owns first, and where switching back leads.
	Owner   estate.MemberID `yaml:"owner" json:"owner"`
	Members []Member        `yaml:"members" json:"members"`
}

// Member is one database directory of a group, with the agent beside it.
type Member struct {
	ID       estate.MemberID `yaml:"id" json:"id"`
	Site     estate.SiteID   `yaml:"site" json:"site"`
	Role     unit.Role       `yaml:"role" json:"role"`
	Database Database        `yaml:"database" json:"database"`
	Agent    Endpoint        `yaml:"agent" json:"agent"`
	// Backup makes the member cold: in place of a copy it keeps base backups and log.
	Backup *Backup `yaml:"backup,omitempty" json:"backup,omitempty"`
}

// Backup is what a cold member keeps.
type Backup struct {
	Every shape.Duration `yaml:"every" json:"every"`
	Keep  int            `yaml:"keep" json:"keep"`
}

// Database is where a member's server listens.
type Database struct {
	Host string `yaml:"host" json:"host"`
	Port int    `yaml:"port" json:"port"`
	// Password is a reference for whoever has to log in, empty where certificates do.
	Password Secret `yaml:"password,omitempty" json:"password,omitempty"`
}

// Endpoint is a host and a port.
type Endpoint struct {
	Host string `yaml:"host" json:"host"`
	Port int    `yaml:"port" json:"port"`
}

// Unit owns slots of an account module 单元. Its placements are the members of its group, each on the deployment of the module at the member's site.
type Unit struct {
	Name   estate.UnitID  `yaml:"name" json:"name"`
	Module string         `yaml:"module" json:"module"`
	Group  estate.GroupID `yaml:"group" json:"group"`
	Slots  Slots          `yaml:"slots,omitempty" json:"slots,omitempty"`
	// Overrides are routing keys that belong to the unit whatever their slot.
	Overrides []string `yaml:"overrides,omitempty" json:"overrides,omitempty"`
}

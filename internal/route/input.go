// Package route decides where a request may be done: it compiles what the store knows into an immutable table, finds the
// slot and unit of a routing key, and judges requests and answers. It is pure: no clock, network, lock or log.
//
// Invariants kept here (ownership.md I14): a unit's ownership in a table never goes down (Merge), an answer of an older
// ownership never counts (Weigh), and only what cannot have happened twice is sent again (Verdict).
package route

import (
	"time"

	"perdure/internal/estate"
	"perdure/internal/unit"
)

// Input is everything a table is compiled from. It is plain data: it travels from the store and lies on the gateway's disk.
type Input struct {
	// Version is the store revision the input was read at. It may fall only when a new incarnation of the store begins (I10).
	Version int64 `json:"version"`
	// Incarnation is that of the store; zero where the holder does not know it: then any other is newer.
	Incarnation estate.Incarnation `json:"incarnation,omitzero"`
	Systems     []System           `json:"systems"`
	Owners      []Owner            `json:"owners"`
	Instances   []Instance         `json:"instances"`
}

// System says how the requests of one information system are recognised, keyed, limited and held.
type System struct {
	ID estate.SystemID `json:"id"`
	// Hosts are the host names of the system's requests (without port), Paths the path prefixes; empty means any.
	// The most specific system wins: a host match before none, then the longest prefix.
	Hosts []string `json:"hosts,omitempty"`
	Paths []string `json:"paths,omitempty"`
	// Keys are tried in order; the first that finds a value gives the routing key.
	Keys []KeySource `json:"keys"`
	// Slots is the number of slots, estate.DefaultSlots where 0; at most 65536.
	Slots int    `json:"slots,omitempty"`
	Units []Unit `json:"units"`
	// Overrides give listed routing keys to a unit whatever their slot.
	Overrides map[string]estate.UnitID `json:"overrides,omitempty"`
	// Reads are path templates of requests that only read although their method is not safe.
	Reads []string `json:"reads,omitempty"`
	// RequireKey refuses writes without an idempotency key (400).
	RequireKey bool `json:"requireIdempotencyKey,omitempty"`
	// KeyHeader is the header in which clients send the idempotency key, DefaultKeyHeader where empty. The application sees the
	// key under this name and under DefaultKeyHeader.
	KeyHeader string     `json:"keyHeader,omitempty"`
	Limits    Limits     `json:"limits"`
	Hold      HoldLimits `json:"hold"`
	// Health times the checks of the system's instances where an instance does not say otherwise.
	Health Health `json:"health,omitzero"`
	// AttemptTimeout ends one attempt whose request may be sent again, UnkeyedTimeout one that may not; defaults 5 s and 30 s.
	AttemptTimeout time.Duration `json:"attemptTimeout,omitempty"`
	UnkeyedTimeout time.Duration `json:"unkeyedTimeout,omitempty"`
}

// Limits bound what a gateway takes in for one system; 0 means the default that Compile fills in.
type Limits struct {
	MaxBody       int     `json:"maxBody,omitempty"`       // bytes, default 1 MiB
	MaxConcurrent int     `json:"maxConcurrent,omitempty"` // requests, held ones too; default 8192
	Rate          float64 `json:"rate,omitempty"`          // requests per second, 0: unlimited
	Burst         int     `json:"burst,omitempty"`         // requests above the rate at once, default Rate
}

// Health is how instances are asked whether they are well; 0 means the gateway's own defaults, an empty path DefaultHealth.
type Health struct {
	Path     string        `json:"path,omitempty"`
	Every    time.Duration `json:"every,omitempty"`
	Timeout  time.Duration `json:"timeout,omitempty"`
	Failures int           `json:"failures,omitempty"` // in a row, until it is down
}

// HoldLimits bound the requests that wait for an owner; 0 means the default that Compile fills in.
type HoldLimits struct {
	Time  time.Duration `json:"time,omitempty"`  // of one request, from its arrival; default 10 s
	Count int           `json:"count,omitempty"` // requests, default 4096
	Bytes int64         `json:"bytes,omitempty"` // bodies and heads, default 64 MiB
	// RefuseAfter is how long a unit may be closed before new requests are refused at once instead of held; default 3 × Time.
	RefuseAfter time.Duration `json:"refuseAfter,omitempty"`
}

// Unit gives slot ranges to a unit.
type Unit struct {
	ID    estate.UnitID `json:"id"`
	Slots []SlotRange   `json:"slots"`
}

// SlotRange is from First to Last, both included.
type SlotRange struct {
	First estate.Slot `json:"first"`
	Last  estate.Slot `json:"last"`
}

// From says where a routing key is taken from.
type From string

// The closed list of key sources.
const (
	FromHeader     From = "header"      // Name is the header's name
	FromQuery      From = "query"       // Name is the parameter's name
	FromCookie     From = "cookie"      // Name is the cookie's name
	FromJSON       From = "json"        // Name is the field, dots descend: "from.account"
	FromPath       From = "path"        // Name is a template with {key}: "/accounts/{key}/balance", "*" one segment, "/**" the rest
	FromPathRegexp From = "path-regexp" // Name is a regular expression over the raw path; its group "key" or its first group is the key
)

// KeySource is one place of the routing key.
type KeySource struct {
	From From   `json:"from"`
	Name string `json:"name"`
	// Only limits the source to paths that match one of the templates; empty means any.
	Only []string `json:"only,omitempty"`
}

// Owner is the part of a replication group's record that routing needs.
type Owner struct {
	Group     estate.GroupID   `json:"group"`
	System    estate.SystemID  `json:"system"`
	Units     []estate.UnitID  `json:"units"`
	Ownership estate.Ownership `json:"ownership"`
	State     unit.State       `json:"state"`
	Site      estate.SiteID    `json:"site"`
	// Phase is that of an active switch, "" where none is.
	Phase unit.Phase `json:"phase,omitempty"`
	// Down: the owner's agent has released it; a successor or a new epoch is on its way (I8).
	Down bool `json:"down,omitempty"`
	// Revision is the store revision of the record.
	Revision int64 `json:"revision"`
	// Gone is set by Merge where the newest input no longer names the group: it is not routed, but its ownership is remembered.
	Gone bool `json:"gone,omitempty"`
	// Conflicted is set by Merge to the ownership of another recovery of the same origin; until a higher incarnation comes
	// neither is served (I10).
	Conflicted estate.Ownership `json:"conflicted,omitzero"`
}

// OwnerOf takes from a record what routing needs; revision is the record's own in the store.
func OwnerOf(rec *unit.Record, revision int64) Owner {
	o := Owner{
		Group: rec.Group, System: rec.System, Units: rec.Units,
		Ownership: rec.Ownership, State: rec.State, Site: rec.OwnerSite(),
		Down: rec.Down != nil && *rec.Down == rec.Owner, Revision: revision,
	}
	if rec.Switch.Active() {
		o.Phase = rec.Switch.Phase
	}
	return o
}

// Instance is one running copy of a system's application.
type Instance struct {
	ID     string          `json:"id"`
	System estate.SystemID `json:"system"`
	Site   estate.SiteID   `json:"site"`
	// Address is host:port, http://host:port or https://host:port.
	Address string `json:"address"`
	// Units are those it serves; empty means every unit of the system.
	Units []estate.UnitID `json:"units,omitempty"`
	// Former is set by Merge: the newest input no longer has the instance, nor any other of its system at its site. Registrations
	// also end because nobody could renew them, so it stays in use until another one comes (I8: a lost store stops nothing).
	Former bool `json:"former,omitempty"`
	// Health is the path of its health check; HealthEvery, HealthTimeout and HealthFailures (in a row, until it is down) time it.
	// What is empty is as System.Health has it.
	Health         string        `json:"health,omitempty"`
	HealthEvery    time.Duration `json:"healthEvery,omitempty"`
	HealthTimeout  time.Duration `json:"healthTimeout,omitempty"`
	HealthFailures int           `json:"healthFailures,omitempty"`
	// MaxConns bounds the connections of one gateway to it, default 512.
	MaxConns int `json:"maxConns,omitempty"`
}

package manifest

import (
	"fmt"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"perdure/internal/calendar"
	"perdure/internal/duty"
	"perdure/internal/estate"
	"perdure/internal/incident"
	"perdure/internal/plan"
	"perdure/internal/shape"
	"perdure/internal/unit"
)

// kinds are the documents there are, in the order of the canonical form. Built once, never changed.
var kinds = sync.OnceValue(func() []kind {
	return []kind{{"Site", "A data centre or an availability zone.", siteShape()}, {"Tenant", "An institution among several on one platform.", tenantShape()}, {"System", "An information system, its units and where they may run.", systemShape()}, {"Plan", "What is done step by step, in drills and for real.", plan.Shape(head("Plan"))}, {"Calendar", "When things may be done, and when they have to be.", calendar.Shape(head("Calendar"))}, {"Function", "What the institution does for its customers, and on which systems that rests.", functionShape()}, {"Participant", "Who takes part in switches beside those who carry them out.", participantShape()}, {"IncidentRules", "Classes of incidents, and what has to be reported and announced by when.", incident.Shape(head("IncidentRules"))}, {"CommandGroup", "Who leads the response to disruptions, and who is told when they go on.", commandGroupShape()}, {"Roster", "Who is on duty when, and who stands in for whom.", duty.Shape(head("Roster"))}}
})

type kind struct {
	name  string
	doc   string
	shape shape.Shape
}

func head(kind string) []shape.Field {
	return []shape.Field{
		{Name: "apiVersion", Doc: "Version of the manifest language.", Shape: shape.Word(APIVersion), Required: true},
		{Name: "kind", Doc: "Kind of the document.", Shape: shape.Word(kind), Required: true},
	}
}

func siteShape() shape.Shape {
	domain := shape.Name("the name of a fault domain: " + shape.NameAllowed)
	return shape.AnObject(append(head("Site"),
		shape.Field{Name: "name", Doc: "Name of the site; part of the host names of its services.", Shape: shape.Name(shape.NameAllowed), Required: true},
		shape.Field{Name: "title", Doc: "Name for people.", Shape: shape.Title()},
		shape.Field{Name: "city", Doc: "City of the site. Sites of one city are same-city 同城, others remote 异地.", Shape: shape.Name(shape.NameAllowed), Required: true},
		shape.Field{Name: "witness", Doc: "The site carries a node that votes, and nothing else.", Shape: shape.Shape{Sort: shape.Boolean}, Fallback: "false"},
		shape.Field{Name: "faultDomains", Doc: "What the site depends on; sites that share a name fail together by it.", Shape: shape.AnObject([]shape.Field{
			{Name: "power", Doc: "Power supply.", Shape: domain},
			{Name: "water", Doc: "Water supply.", Shape: domain},
			{Name: "flood", Doc: "Flood area.", Shape: domain},
			{Name: "seismic", Doc: "Seismic area.", Shape: domain},
			{Name: "carrier", Doc: "Network carrier.", Shape: domain},
		})},
		shape.Field{Name: "distanceKm", Doc: "Distance to other sites in kilometres; a plausibility check only.", Shape: shape.Shape{
			Sort: shape.Table, Allowed: "names of sites, each with a distance in kilometres", Keys: regexp.MustCompile(shape.NamePattern), Item: new(shape.Number(1, 20040)),
		}},
		shape.Field{Name: "nodes", Doc: "Control-plane members at the site; 1, 3 or 5 in the whole estate.", Shape: shape.AList("nodes, each with host and ports", 0, 5, shape.AnObject([]shape.Field{
			{Name: "name", Doc: "Name of the node; by default that of the site.", Shape: shape.Name(shape.NameAllowed)},
			{Name: "host", Doc: "Host name; by default node.SITE.perdure.internal.", Shape: host()},
			{Name: "api", Doc: "Port of the API.", Shape: port(), Fallback: "7400"},
			{Name: "peer", Doc: "Port for the other members of the store.", Shape: port(), Fallback: "7410"},
			{Name: "client", Doc: "Port for clients of the store.", Shape: port(), Fallback: "7420"},
		}), shape.By("name"))},
		shape.Field{Name: "gateways", Doc: "Gateways at the site.", Shape: shape.AList("gateways, each with host and ports", 0, 64, shape.AnObject([]shape.Field{
			{Name: "name", Doc: "Name of the gateway; by default that of the site.", Shape: shape.Name(shape.NameAllowed)},
			{Name: "host", Doc: "Host name; by default gateway.SITE.perdure.internal.", Shape: host()},
			{Name: "port", Doc: "Port for business traffic.", Shape: port(), Fallback: "7500"},
			{Name: "admin", Doc: "Port for health and metrics.", Shape: port(), Fallback: "7510"},
		}), shape.By("name"))},
	))
}

func systemShape() shape.Shape {
	return shape.AnObject(append(head("System"),
		shape.Field{Name: "name", Doc: "Name of the system.", Shape: shape.Name(shape.NameAllowed), Required: true},
		shape.Field{Name: "title", Doc: "Name for people.", Shape: shape.Title()},
		shape.Field{Name: "tenant", Doc: "Institution whose system it is; by default it is the platform's own.", Shape: tenantName()},
		shape.Field{Name: "criticality", Doc: "How much hangs on the system: critical 关键, important 重要, normal 一般 (which it is where nothing is said). It is at least that of functions and systems that rest on it.", Shape: criticality()},
		shape.Field{Name: "stage", Doc: "How it is kept ready to go on elsewhere: cold-restore 冷备, same-city-standby 同城主备, remote-standby 异地主备, multi-active 多活; by default as its groups are laid out.", Shape: shape.OneOf(estate.ColdRestore, estate.SameCityStandby, estate.RemoteStandby, estate.MultiActive)},
		shape.Field{Name: "dependsOn", Doc: "Systems without which it does not work; they are switched before it.", Shape: systemNames(0)},
		shape.Field{Name: "hosts", Doc: "Host names whose requests belong to the system; none for all that no other system names.", Shape: shape.AList("host names", 0, 64, host(), nil)},
		shape.Field{Name: "slots", Doc: "Number of hash buckets of the routing key; slot = CRC32-IEEE(key) mod slots. Fixed once data exists.", Shape: shape.Number(1, math.MaxUint16+1), Fallback: strconv.Itoa(estate.DefaultSlots)},
		shape.Field{Name: "modules", Doc: "Parts of the system, each with one archetype.", Shape: shape.AList("at least one module", 1, 64, shape.AnObject([]shape.Field{
			{Name: "name", Doc: "Name of the module.", Shape: shape.Name(shape.NameAllowed), Required: true},
			{Name: "archetype", Doc: "flow 流水型, account 账户型, compute 计算型, query 查询型.", Shape: shape.OneOf(estate.Flow, estate.Account, estate.Compute, estate.Query), Required: true},
			{Name: "paths", Doc: "URL path prefixes of its requests; the longest wins. By default / for the only account module when no module has any.", Shape: shape.AList("path prefixes such as /v1/", 0, 64, pathPrefix(), nil)},
		}), shape.By("name")), Required: true},
		shape.Field{Name: "routingKey", Doc: "Where the routing key stands in a request; the first source that is present counts.", Shape: shape.AList("sources of the key, each one of header, path, query, json, cookie", 1, 16, keySource(), nil)},
		shape.Field{Name: "reads", Doc: "Paths of requests that only read although their method is not GET or HEAD.", Shape: shape.AList("path templates such as /accounts/*/search", 0, 64, pathTemplate(), nil)},
		shape.Field{Name: "idempotency", Doc: "The contract of repeated requests.", Fallback: "{}", Shape: shape.AnObject([]shape.Field{
			{Name: "required", Doc: "Writing requests without a key are refused with 400.", Shape: shape.Shape{Sort: shape.Boolean}, Fallback: "true"},
			{Name: "header", Doc: "Header in which clients send the key; the application sees it under this name and as Idempotency-Key.", Shape: headerName(), Fallback: "Idempotency-Key"},
			{Name: "retention", Doc: "How long results are kept.", Shape: shape.DurationBetween(time.Minute, 10*365*24*time.Hour), Fallback: "168h"},
			{Name: "clientRetry", Doc: "How long clients may repeat a request; at most retention.", Shape: shape.DurationBetween(0, 10*365*24*time.Hour), Fallback: "24h"},
			{Name: "reconcileWithin", Doc: "How long the divergence of a returned owner may wait for its reconciliation; at most retention.", Shape: shape.DurationBetween(0, 10*365*24*time.Hour), Fallback: "72h"},
		})},
		shape.Field{Name: "limits", Doc: "What one gateway lets through to the system.", Fallback: "{}", Shape: shape.AnObject([]shape.Field{
			{Name: "body", Doc: "Size of a request.", Shape: shape.SizeBetween(1, 1<<30), Fallback: "1MiB"},
			{Name: "rate", Doc: "Requests per second; 0 for no limit.", Shape: shape.Number(0, 10_000_000), Fallback: "0"},
			{Name: "concurrent", Doc: "Requests in flight, held ones too.", Shape: shape.Number(1, 1_000_000), Fallback: "8192"},
			{Name: "timeout", Doc: "Time of one attempt of a request that may be sent again.", Shape: shape.DurationBetween(10*time.Millisecond, time.Hour), Fallback: "5s"},
			{Name: "unkeyedTimeout", Doc: "Time of a request that may not be sent again.", Shape: shape.DurationBetween(10*time.Millisecond, time.Hour), Fallback: "30s"},
		})},
		shape.Field{Name: "hold", Doc: "What one gateway keeps back while a unit changes hands; beyond it 503 with Retry-After.", Fallback: "{}", Shape: shape.AnObject([]shape.Field{
			{Name: "maxRequests", Doc: "Number of held requests.", Shape: shape.Number(1, 1_000_000), Fallback: "4096"},
			{Name: "maxBytes", Doc: "Size of held requests.", Shape: shape.SizeBetween(1, 16<<30), Fallback: "64MiB"},
			{Name: "maxTime", Doc: "Time one request is held.", Shape: shape.DurationBetween(time.Millisecond, 10*time.Minute), Fallback: "8s"},
		})},
		shape.Field{Name: "health", Doc: "How gateways ask instances whether they are well.", Fallback: "{}", Shape: shape.AnObject([]shape.Field{
			{Name: "path", Doc: "Path that answers 2xx when the instance is well.", Shape: pathPrefix(), Fallback: "/healthz"},
			{Name: "interval", Doc: "Time between two questions.", Shape: shape.DurationBetween(10*time.Millisecond, time.Hour), Fallback: "500ms"},
			{Name: "timeout", Doc: "Time for an answer.", Shape: shape.DurationBetween(10*time.Millisecond, time.Hour), Fallback: "1s"},
			{Name: "failures", Doc: "Failures in a row until no request is sent there.", Shape: shape.Number(1, 100), Fallback: "2"},
		})},
		shape.Field{Name: "policy", Doc: "What people decided about failover.", Fallback: "{}", Shape: shape.AnObject([]shape.Field{
			{Name: "failover", Doc: "Failover inside the in-sync set: auto, or confirm by a person.", Shape: shape.OneOf(unit.Auto, unit.Confirm), Fallback: "auto"},
			{Name: "minInSync", Doc: "0: with an empty in-sync set the unit goes on, shown UNPROTECTED. 1: writes hold, then are refused.", Shape: shape.Number(0, 1), Fallback: "0"},
			{Name: "damping", Doc: "Least time between two automatic switches of a group.", Shape: shape.DurationBetween(0, 30*24*time.Hour), Fallback: "8s"},
		})},
		shape.Field{Name: "verify", Doc: "SQL query (account text, consistent boolean) over every account of a unit's database, by which accounts are judged after a takeover with loss. It runs read-only as the application.", Shape: query()},
		shape.Field{Name: "drill", Doc: "What drills on clones of the data may do.", Shape: shape.AnObject([]shape.Field{
			{Name: "accounts", Doc: "Test accounts, by their routing keys: a drill accepts transactions of these and of no others.", Shape: shape.AList("routing keys", 0, 100, shape.Formed(`^\S+$`, "a routing key without blanks", 128), nil)},
			{Name: "transaction", Doc: "SQL query that carries out one transaction of the application behind the guard and gives its status: $1 is the perdure.request, $2 the account. It runs as the application.", Shape: query()},
			{Name: "mask", Doc: "What is taken from the data of a sandbox before participants may look at it.", Shape: maskShape()},
			{Name: "show", Doc: "What participants may look at.", Shape: showShape()},
		})},
		shape.Field{Name: "targets", Doc: "Declared values 声明值.", Required: true, Shape: shape.AnObject([]shape.Field{
			{Name: "rto", Doc: "Recovery time objective.", Shape: shape.DurationBetween(time.Second, 365*24*time.Hour), Required: true},
			{Name: "rpo", Doc: "Recovery point objective.", Shape: shape.DurationBetween(0, 365*24*time.Hour), Required: true},
		})},
		shape.Field{Name: "deployments", Doc: "Modules in sites 多活子信息系统: where there are application instances.", Shape: shape.AList("deployments, one per module and site", 0, 1024, shape.AnObject([]shape.Field{
			{Name: "module", Doc: "Module of the system; may be left out where there is one.", Shape: shape.Name("the name of a module")},
			{Name: "site", Doc: "Site.", Shape: shape.Name("the name of a site"), Required: true},
			{Name: "instances", Doc: "Base URLs of instances that are always there; others come and go by registration.", Shape: shape.AList("base URLs such as https://app.a.perdure.internal:7600", 0, 256, instance(), nil)},
		}), shape.By("module", "site"))},
		shape.Field{Name: "groups", Doc: "Replication groups 复制组: one database server and its copies.", Shape: shape.AList("replication groups", 0, 1024, shape.AnObject([]shape.Field{
			{Name: "name", Doc: "Name of the group, unique in the estate.", Shape: shape.Name(shape.NameAllowed), Required: true},
			{Name: "owner", Doc: "The member that owns first, and where switching back leads.", Shape: shape.Name("the id of a member of the group"), Required: true},
			{Name: "members", Doc: "Database directories, at most one per site.", Required: true, Shape: shape.AList("at least one member", 1, 16, shape.AnObject([]shape.Field{
				{Name: "id", Doc: "Name of the member, unique in the estate.", Shape: shape.Name(shape.NameAllowed), Required: true},
				{Name: "site", Doc: "Site.", Shape: shape.Name("the name of a site"), Required: true},
				{Name: "role", Doc: "sync: in the in-sync set, same city as the owner. pinned: in the in-sync set and never left out automatically. async: follows.", Shape: shape.OneOf(unit.SyncRole, unit.PinnedRole, unit.AsyncRole), Required: true},
				{Name: "database", Doc: "Where its server listens.", Required: true, Shape: shape.AnObject([]shape.Field{
					{Name: "host", Doc: "Host name.", Shape: host(), Required: true},
					{Name: "port", Doc: "Port.", Shape: port(), Required: true},
					{Name: "password", Doc: "Reference to a secret, never the secret.", Shape: shape.Secret()},
				})},
				{Name: "agent", Doc: "Where its agent listens.", Required: true, Shape: shape.AnObject([]shape.Field{
					{Name: "host", Doc: "Host name.", Shape: host(), Required: true},
					{Name: "port", Doc: "Port.", Shape: port(), Required: true},
				})},
				{Name: "backup", Doc: "Makes an async member cold 冷备: in place of a copy its agent keeps base backups and log, until people have it restored.", Shape: shape.AnObject([]shape.Field{
					{Name: "every", Doc: "Time between two base backups.", Shape: shape.DurationBetween(time.Minute, 30*24*time.Hour), Fallback: "24h"},
					{Name: "keep", Doc: "How many good ones stay, with the log that they need.", Shape: shape.Number(1, 100), Fallback: "2"},
				})},
			}), shape.By("id"))},
		}), shape.By("name"))},
		shape.Field{Name: "units", Doc: "Units 单元: who owns which slots of an account module.", Shape: shape.AList("units", 0, 4096, shape.AnObject([]shape.Field{
			{Name: "name", Doc: "Name of the unit, unique in the estate.", Shape: shape.Name(shape.NameAllowed), Required: true},
			{Name: "module", Doc: "Account module; may be left out where there is one.", Shape: shape.Name("the name of an account module")},
			{Name: "group", Doc: "Replication group that holds its data.", Shape: shape.Name("the name of a replication group of the system"), Required: true},
			{Name: "slots", Doc: "Slots it owns, for example 0-255,512.", Shape: slotRanges()},
			{Name: "overrides", Doc: "Routing keys that belong to it whatever their slot.", Shape: shape.AList("routing keys", 0, 10000, shape.Formed(`^[A-Za-z0-9._~:@+=/#*-]+$`, "a routing key of 1 to 128 letters, digits and -._~:@+=/#*", 128), nil)},
		}), shape.By("name"))},
	))
}

func tenantShape() shape.Shape {
	return shape.AnObject(append(head("Tenant"),
		shape.Field{Name: "name", Doc: "Name of the institution 租户.", Shape: shape.Name(shape.NameAllowed), Required: true},
		shape.Field{Name: "title", Doc: "Name for people.", Shape: shape.Title()},
	))
}

func tenantName() shape.Shape { return shape.Name("the name of a tenant") }

func functionShape() shape.Shape {
	return shape.AnObject(append(head("Function"),
		shape.Field{Name: "name", Doc: "Name of the business function 业务功能.", Shape: shape.Name(shape.NameAllowed), Required: true},
		shape.Field{Name: "title", Doc: "Name for people.", Shape: shape.Title()},
		shape.Field{Name: "criticality", Doc: "How much hangs on it; its systems are at least as critical.", Shape: criticality()},
		shape.Field{Name: "systems", Doc: "Systems that it rests on.", Shape: systemNames(1), Required: true},
	))
}

func participantShape() shape.Shape {
	contacts := shape.AList("contacts, the one to try first in front", 0, 16, shape.AnObject([]shape.Field{
		{Name: "name", Doc: "Person or desk.", Shape: shape.Title(), Required: true},
		{Name: "phone", Doc: "Telephone number.", Shape: phone()},
		{Name: "mail", Doc: "Mail address.", Shape: mail()},
	}), shape.By("name"))
	contacts.Ordered = true
	return shape.AnObject(append(head("Participant"),
		shape.Field{Name: "name", Doc: "Name of the participant; plans give it tasks by it, and everybody who belongs to it answers them.", Shape: shape.Name(shape.NameAllowed), Required: true},
		shape.Field{Name: "title", Doc: "Name for people.", Shape: shape.Title()},
		shape.Field{Name: "type", Doc: "headquarters 总部, branch 分支机构, related-system 关联系统, third-party 第三方.", Shape: shape.OneOf(estate.Headquarters, estate.Branch, estate.RelatedSystem, estate.ThirdParty), Required: true},
		shape.Field{Name: "tenant", Doc: "Institution that it is of; by default it is of all.", Shape: tenantName()},
		shape.Field{Name: "contacts", Doc: "Who is reached there, the one to try first in front.", Shape: contacts},
		shape.Field{Name: "systems", Doc: "Systems whose switches it takes part in; by default all.", Shape: systemNames(0)},
	))
}

func commandGroupShape() shape.Shape {
	members := shape.AList("at least one member, the one to call first in front", 1, 64, shape.AnObject([]shape.Field{
		{Name: "name", Doc: "Person.", Shape: shape.Title(), Required: true},
		{Name: "duties", Doc: "lead 总指挥, deputy 副总指挥, technology 技术处置, business 业务处置, communication 对外通报.", Shape: shape.AList("duties", 1, len(estate.Duties()), shape.OneOf(estate.Duties()...), nil), Required: true},
		{Name: "user", Doc: "Name under which the person acts in runs.", Shape: shape.Formed(`^[A-Za-z0-9][A-Za-z0-9._:-]*$`, "the name of a user", 128)},
		{Name: "phone", Doc: "Telephone number.", Shape: phone()},
		{Name: "mail", Doc: "Mail address.", Shape: mail()},
	}), shape.By("name"))
	members.Ordered = true
	escalation := shape.AList("escalations, the soonest in front", 0, 16, shape.AnObject([]shape.Field{
		{Name: "after", Doc: "How long after its detection a disruption has gone on.", Shape: shape.DurationBetween(time.Second, 30*24*time.Hour), Required: true},
		{Name: "to", Doc: "Who is told then: members of the group, or participants.", Shape: shape.AList("names of members or participants", 1, 64, shape.Title(), nil), Required: true},
	}), nil)
	return shape.AnObject(append(head("CommandGroup"),
		shape.Field{Name: "name", Doc: "Name of the group 应急指挥组.", Shape: shape.Name(shape.NameAllowed), Required: true},
		shape.Field{Name: "title", Doc: "Name for people.", Shape: shape.Title()},
		shape.Field{Name: "tenant", Doc: "Institution that it is of; by default it is of all.", Shape: tenantName()},
		shape.Field{Name: "systems", Doc: "Systems whose disruptions it is for; by default all.", Shape: systemNames(0)},
		shape.Field{Name: "members", Doc: "Who is in it, the one to call first in front.", Shape: members, Required: true},
		shape.Field{Name: "escalation", Doc: "Who is told when a disruption goes on.", Shape: escalation},
	))
}

func phone() shape.Shape {
	return shape.Formed(`^\+?[0-9][0-9 ()/-]{2,38}$`, "a telephone number such as +86 10 5555 0100", 40)
}

func mail() shape.Shape {
	return shape.Formed(`^[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$`, "a mail address", 254)
}

func criticality() shape.Shape {
	return shape.OneOf(estate.Critical, estate.Important, estate.Normal)
}

func systemNames(least int) shape.Shape {
	return shape.AList("names of systems", least, 1024, shape.Name("the name of a system"), nil)
}

func query() shape.Shape {
	return shape.Formed(`^\s*([Ss][Ee][Ll][Ee][Cc][Tt]|[Ww][Ii][Tt][Hh])\s[\s\S]+$`, "one SQL query that begins with select or with", 4096)
}

func host() shape.Shape {
	return shape.Formed(`^[A-Za-z0-9:]([A-Za-z0-9.:_-]{0,251}[A-Za-z0-9])?$`, "a host name or an address", 253)
}

func port() shape.Shape { return shape.Number(1, math.MaxUint16) }

func headerName() shape.Shape {
	return shape.Formed("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", "the name of a header", 100)
}

func pathPrefix() shape.Shape {
	return shape.Formed(`^/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*$`, "a path that begins with /", 255)
}

func keySource() shape.Shape {
	s := shape.AnObject([]shape.Field{
		{Name: string(FromHeader), Doc: "Name of a header.", Shape: headerName()},
		{Name: string(FromPath), Doc: "Template of a path with one {key}; * stands for one segment, ** at the end for the rest.", Shape: shape.Formed(
			`^(/([A-Za-z0-9._~-]+|\*))*/\{key\}(/([A-Za-z0-9._~-]+|\*))*(/\*\*)?$`, "a path template such as /accounts/{key}/**", 255)},
		{Name: string(FromQuery), Doc: "Name of a query parameter.", Shape: shape.Formed(`^[A-Za-z0-9._~-]+$`, "the name of a query parameter", 100)},
		{Name: string(FromJSON), Doc: "Field of a JSON body, dotted.", Shape: shape.Formed(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`, "a dotted field such as from.account", 255)},
		{Name: string(FromCookie), Doc: "Name of a cookie.", Shape: headerName()},
	})
	s.OneOf = slices.Clone(s.Fields)
	s.Fields = append(s.Fields, shape.Field{Name: "only", Doc: "Paths for which this source counts; all where it is left out.", Shape: shape.AList("path templates such as /v1/transfers", 1, 64, pathTemplate(), nil)})
	return s
}

func pathTemplate() shape.Shape {
	return shape.Formed(`^(/\*\*|(/([A-Za-z0-9._~-]+|\*))+(/\*\*)?)$`, "a path template such as /accounts/*/search or /public/**", 255)
}

func slotRanges() shape.Shape {
	s := shape.Formed(`^[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*$`, "slots such as 0-255,512", 16384)
	s.Judge = func(value string) error { return new(Slots).UnmarshalText([]byte(value)) }
	return s
}

func instance() shape.Shape {
	s := shape.Formed(`^https?://[^/?#@\s]+$`, "a base URL with scheme, host and port, such as https://app.a.perdure.internal:7600", 300)
	s.Secret = true // a URL may carry a password
	s.Judge = func(value string) error {
		u, err := url.Parse(value)
		if err != nil || u.Hostname() == "" {
			return fmt.Errorf("the URL cannot be read")
		}
		if p, err := strconv.Atoi(u.Port()); err != nil || p < 1 || p > math.MaxUint16 {
			return fmt.Errorf("the URL has no usable port")
		}
		return nil
	}
	return s
}

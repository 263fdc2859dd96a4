package manifest

import (
	"fmt"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"

	"perdure/internal/estate"
	"perdure/internal/unit"
)

// kinds are the documents there are, in the order of the canonical form. Built once, never changed.
var kinds = sync.OnceValue(func() []kind {
	return []kind{{"Site", "A data centre or an availability zone.", siteShape()}, {"System", "An information system, its units and where they may run.", systemShape()}}
})

type kind struct {
	name  string
	doc   string
	shape shape
}

func head(kind string) []field {
	return []field{
		{name: "apiVersion", doc: "Version of the manifest language.", shape: word(APIVersion), required: true},
		{name: "kind", doc: "Kind of the document.", shape: word(kind), required: true},
	}
}

func siteShape() shape {
	domain := name("the name of a fault domain: " + nameAllowed)
	return anObject(append(head("Site"),
		field{name: "name", doc: "Name of the site; part of the host names of its services.", shape: name(nameAllowed), required: true},
		field{name: "title", doc: "Name for people.", shape: title()},
		field{name: "city", doc: "City of the site. Sites of one city are same-city 同城, others remote 异地.", shape: name(nameAllowed), required: true},
		field{name: "witness", doc: "The site carries a node that votes, and nothing else.", shape: shape{sort: boolean}, fallback: "false"},
		field{name: "faultDomains", doc: "What the site depends on; sites that share a name fail together by it.", shape: anObject([]field{
			{name: "power", doc: "Power supply.", shape: domain},
			{name: "water", doc: "Water supply.", shape: domain},
			{name: "flood", doc: "Flood area.", shape: domain},
			{name: "seismic", doc: "Seismic area.", shape: domain},
			{name: "carrier", doc: "Network carrier.", shape: domain},
		})},
		field{name: "distanceKm", doc: "Distance to other sites in kilometres; a plausibility check only.", shape: shape{
			sort: table, allowed: "names of sites, each with a distance in kilometres", keys: regexp.MustCompile(namePattern), item: new(number(1, 20040)),
		}},
		field{name: "nodes", doc: "Control-plane members at the site; 1, 3 or 5 in the whole estate.", shape: aList("nodes, each with host and ports", 0, 5, anObject([]field{
			{name: "name", doc: "Name of the node; by default that of the site.", shape: name(nameAllowed)},
			{name: "host", doc: "Host name; by default node.SITE.perdure.internal.", shape: host()},
			{name: "api", doc: "Port of the API.", shape: port(), fallback: "7400"},
			{name: "peer", doc: "Port for the other members of the store.", shape: port(), fallback: "7410"},
			{name: "client", doc: "Port for clients of the store.", shape: port(), fallback: "7420"},
		}), by("name"))},
		field{name: "gateways", doc: "Gateways at the site.", shape: aList("gateways, each with host and ports", 0, 64, anObject([]field{
			{name: "name", doc: "Name of the gateway; by default that of the site.", shape: name(nameAllowed)},
			{name: "host", doc: "Host name; by default gateway.SITE.perdure.internal.", shape: host()},
			{name: "port", doc: "Port for business traffic.", shape: port(), fallback: "7500"},
			{name: "admin", doc: "Port for health and metrics.", shape: port(), fallback: "7510"},
		}), by("name"))},
	))
}

func systemShape() shape {
	return anObject(append(head("System"),
		field{name: "name", doc: "Name of the system.", shape: name(nameAllowed), required: true},
		field{name: "title", doc: "Name for people.", shape: title()},
		field{name: "hosts", doc: "Host names whose requests belong to the system; none for all that no other system names.", shape: aList("host names", 0, 64, host(), nil)},
		field{name: "slots", doc: "Number of hash buckets of the routing key; slot = CRC32-IEEE(key) mod slots. Fixed once data exists.", shape: number(1, math.MaxUint16+1), fallback: strconv.Itoa(estate.DefaultSlots)},
		field{name: "modules", doc: "Parts of the system, each with one archetype.", shape: aList("at least one module", 1, 64, anObject([]field{
			{name: "name", doc: "Name of the module.", shape: name(nameAllowed), required: true},
			{name: "archetype", doc: "flow 流水型, account 账户型, compute 计算型, query 查询型.", shape: words(estate.Flow, estate.Account, estate.Compute, estate.Query), required: true},
			{name: "paths", doc: "URL path prefixes of its requests; the longest wins. By default / for the only account module when no module has any.", shape: aList("path prefixes such as /v1/", 0, 64, pathPrefix(), nil)},
		}), by("name")), required: true},
		field{name: "routingKey", doc: "Where the routing key stands in a request; the first source that is present counts.", shape: aList("sources of the key, each one of header, path, query, json, cookie", 1, 16, keySource(), nil)},
		field{name: "reads", doc: "Paths of requests that only read although their method is not GET or HEAD.", shape: aList("path templates such as /accounts/*/search", 0, 64, pathTemplate(), nil)},
		field{name: "idempotency", doc: "The contract of repeated requests.", fallback: "{}", shape: anObject([]field{
			{name: "required", doc: "Writing requests without a key are refused with 400.", shape: shape{sort: boolean}, fallback: "true"},
			{name: "header", doc: "Header in which clients send the key; the application sees it under this name and as Idempotency-Key.", shape: headerName(), fallback: "Idempotency-Key"},
			{name: "retention", doc: "How long results are kept.", shape: duration(time.Minute, 10*365*24*time.Hour), fallback: "168h"},
			{name: "clientRetry", doc: "How long clients may repeat a request; at most retention.", shape: duration(0, 10*365*24*time.Hour), fallback: "24h"},
			{name: "reconcileWithin", doc: "How long the divergence of a returned owner may wait for its reconciliation; at most retention.", shape: duration(0, 10*365*24*time.Hour), fallback: "72h"},
		})},
		field{name: "limits", doc: "What one gateway lets through to the system.", fallback: "{}", shape: anObject([]field{
			{name: "body", doc: "Size of a request.", shape: size(1, 1<<30), fallback: "1MiB"},
			{name: "rate", doc: "Requests per second; 0 for no limit.", shape: number(0, 10_000_000), fallback: "0"},
			{name: "concurrent", doc: "Requests in flight, held ones too.", shape: number(1, 1_000_000), fallback: "8192"},
			{name: "timeout", doc: "Time of one attempt of a request that may be sent again.", shape: duration(10*time.Millisecond, time.Hour), fallback: "5s"},
			{name: "unkeyedTimeout", doc: "Time of a request that may not be sent again.", shape: duration(10*time.Millisecond, time.Hour), fallback: "30s"},
		})},
		field{name: "hold", doc: "What one gateway keeps back while a unit changes hands; beyond it 503 with Retry-After.", fallback: "{}", shape: anObject([]field{
			{name: "maxRequests", doc: "Number of held requests.", shape: number(1, 1_000_000), fallback: "4096"},
			{name: "maxBytes", doc: "Size of held requests.", shape: size(1, 16<<30), fallback: "64MiB"},
			{name: "maxTime", doc: "Time one request is held.", shape: duration(time.Millisecond, 10*time.Minute), fallback: "8s"},
		})},
		field{name: "health", doc: "How gateways ask instances whether they are well.", fallback: "{}", shape: anObject([]field{
			{name: "path", doc: "Path that answers 2xx when the instance is well.", shape: pathPrefix(), fallback: "/healthz"},
			{name: "interval", doc: "Time between two questions.", shape: duration(10*time.Millisecond, time.Hour), fallback: "500ms"},
			{name: "timeout", doc: "Time for an answer.", shape: duration(10*time.Millisecond, time.Hour), fallback: "1s"},
			{name: "failures", doc: "Failures in a row until no request is sent there.", shape: number(1, 100), fallback: "2"},
		})},
		field{name: "policy", doc: "What people decided about failover.", fallback: "{}", shape: anObject([]field{
			{name: "failover", doc: "Failover inside the in-sync set: auto, or confirm by a person.", shape: words(unit.Auto, unit.Confirm), fallback: "auto"},
			{name: "minInSync", doc: "0: with an empty in-sync set the unit goes on, shown UNPROTECTED. 1: writes hold, then are refused.", shape: number(0, 1), fallback: "0"},
			{name: "damping", doc: "Least time between two automatic switches of a group.", shape: duration(0, 30*24*time.Hour), fallback: "8s"},
		})},
		field{name: "verify", doc: "SQL query (account text, consistent boolean) over every account of a unit's database, by which accounts are judged after a takeover with loss. It runs read-only as the application.", shape: query()},
		field{name: "targets", doc: "Declared values 声明值.", required: true, shape: anObject([]field{
			{name: "rto", doc: "Recovery time objective.", shape: duration(time.Second, 365*24*time.Hour), required: true},
			{name: "rpo", doc: "Recovery point objective.", shape: duration(0, 365*24*time.Hour), required: true},
		})},
		field{name: "deployments", doc: "Modules in sites 多活子信息系统: where there are application instances.", shape: aList("deployments, one per module and site", 0, 1024, anObject([]field{
			{name: "module", doc: "Module of the system; may be left out where there is one.", shape: name("the name of a module")},
			{name: "site", doc: "Site.", shape: name("the name of a site"), required: true},
			{name: "instances", doc: "Base URLs of instances that are always there; others come and go by registration.", shape: aList("base URLs such as https://app.a.perdure.internal:7600", 0, 256, instance(), nil)},
		}), by("module", "site"))},
		field{name: "groups", doc: "Replication groups 复制组: one database server and its copies.", shape: aList("replication groups", 0, 1024, anObject([]field{
			{name: "name", doc: "Name of the group, unique in the estate.", shape: name(nameAllowed), required: true},
			{name: "owner", doc: "The member that owns first, and where switching back leads.", shape: name("the id of a member of the group"), required: true},
			{name: "members", doc: "Database directories, at most one per site.", required: true, shape: aList("at least one member", 1, 16, anObject([]field{
				{name: "id", doc: "Name of the member, unique in the estate.", shape: name(nameAllowed), required: true},
				{name: "site", doc: "Site.", shape: name("the name of a site"), required: true},
				{name: "role", doc: "sync: in the in-sync set, same city as the owner. pinned: in the in-sync set and never left out automatically. async: follows.", shape: words(unit.SyncRole, unit.PinnedRole, unit.AsyncRole), required: true},
				{name: "database", doc: "Where its server listens.", required: true, shape: anObject([]field{
					{name: "host", doc: "Host name.", shape: host(), required: true},
					{name: "port", doc: "Port.", shape: port(), required: true},
					{name: "password", doc: "Reference to a secret, never the secret.", shape: secret()},
				})},
				{name: "agent", doc: "Where its agent listens.", required: true, shape: anObject([]field{
					{name: "host", doc: "Host name.", shape: host(), required: true},
					{name: "port", doc: "Port.", shape: port(), required: true},
				})},
			}), by("id"))},
		}), by("name"))},
		field{name: "units", doc: "Units 单元: who owns which slots of an account module.", shape: aList("units", 0, 4096, anObject([]field{
			{name: "name", doc: "Name of the unit, unique in the estate.", shape: name(nameAllowed), required: true},
			{name: "module", doc: "Account module; may be left out where there is one.", shape: name("the name of an account module")},
			{name: "group", doc: "Replication group that holds its data.", shape: name("the name of a replication group of the system"), required: true},
			{name: "slots", doc: "Slots it owns, for example 0-255,512.", shape: slotRanges()},
			{name: "overrides", doc: "Routing keys that belong to it whatever their slot.", shape: aList("routing keys", 0, 10000, formed(`^[A-Za-z0-9._~:@+=/#*-]+$`, "a routing key of 1 to 128 letters, digits and -._~:@+=/#*", 128), nil)},
		}), by("name"))},
	))
}

const (
	namePattern = `^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$`
	nameAllowed = "lower-case letters, digits and hyphens, a letter first, at most 32"
)

func anObject(fields []field) shape { return shape{sort: object, fields: fields, allowed: "an object"} }

func aList(allowed string, low, high int, item shape, id func(*yaml.Node) string) shape {
	return shape{sort: list, allowed: allowed, low: low, high: high, item: &item, id: id}
}

// by tells the items of a list apart by the values of some of their fields.
func by(fields ...string) func(*yaml.Node) string {
	return func(item *yaml.Node) string {
		var id strings.Builder
		for i, f := range fields {
			if i > 0 {
				id.WriteString("@")
			}
			if v := find(item, f); v != nil {
				id.WriteString(v.Value)
			}
		}
		return id.String()
	}
}

func formed(pattern, allowed string, high int) shape {
	return shape{sort: text, allowed: allowed, form: regexp.MustCompile(pattern), low: 1, high: high}
}

func name(allowed string) shape { return formed(namePattern, allowed, 32) }

func title() shape { return formed(`^[^\x00-\x1f\x7f]+$`, "one line of text", 200) }

func query() shape {
	return formed(`^\s*([Ss][Ee][Ll][Ee][Cc][Tt]|[Ww][Ii][Tt][Hh])\s[\s\S]+$`, "one SQL query that begins with select or with", 4096)
}

func host() shape {
	return formed(`^[A-Za-z0-9:]([A-Za-z0-9.:_-]{0,251}[A-Za-z0-9])?$`, "a host name or an address", 253)
}

func port() shape { return number(1, math.MaxUint16) }

func number(low, high int) shape {
	return shape{sort: integer, low: low, high: high, allowed: fmt.Sprintf("a whole number from %d to %d", low, high)}
}

func word(w string) shape { return shape{sort: text, words: []string{w}, allowed: w} }

func words[T ~string](list ...T) shape {
	s := shape{sort: text}
	for i, w := range list {
		s.words = append(s.words, string(w))
		if i > 0 {
			s.allowed += ", "
		}
		s.allowed += string(w)
	}
	return s
}

func headerName() shape {
	return formed("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", "the name of a header", 100)
}

func pathPrefix() shape {
	return formed(`^/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*$`, "a path that begins with /", 255)
}

func keySource() shape {
	s := anObject([]field{
		{name: string(FromHeader), doc: "Name of a header.", shape: headerName()},
		{name: string(FromPath), doc: "Template of a path with one {key}; * stands for one segment, ** at the end for the rest.", shape: formed(
			`^(/([A-Za-z0-9._~-]+|\*))*/\{key\}(/([A-Za-z0-9._~-]+|\*))*(/\*\*)?$`, "a path template such as /accounts/{key}/**", 255)},
		{name: string(FromQuery), doc: "Name of a query parameter.", shape: formed(`^[A-Za-z0-9._~-]+$`, "the name of a query parameter", 100)},
		{name: string(FromJSON), doc: "Field of a JSON body, dotted.", shape: formed(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`, "a dotted field such as from.account", 255)},
		{name: string(FromCookie), doc: "Name of a cookie.", shape: headerName()},
	})
	s.oneOf = slices.Clone(s.fields)
	s.fields = append(s.fields, field{name: "only", doc: "Paths for which this source counts; all where it is left out.", shape: aList("path templates such as /v1/transfers", 1, 64, pathTemplate(), nil)})
	return s
}

func pathTemplate() shape {
	return formed(`^(/\*\*|(/([A-Za-z0-9._~-]+|\*))+(/\*\*)?)$`, "a path template such as /accounts/*/search or /public/**", 255)
}

func duration(least, most time.Duration) shape {
	s := formed(durationPattern, fmt.Sprintf("a length of time such as 500ms, 30s or 168h, from %s to %s", Duration(least), Duration(most)), 40)
	s.judge = func(value string) error {
		var d Duration
		if err := d.UnmarshalText([]byte(value)); err != nil {
			return err
		}
		if time.Duration(d) < least || time.Duration(d) > most {
			return fmt.Errorf("%s is out of range", value)
		}
		return nil
	}
	return s
}

func size(least, most Bytes) shape {
	s := formed(bytesPattern, fmt.Sprintf("a size such as 512B, 64KiB or 1MiB, from %s to %s", least, most), 12)
	s.judge = func(value string) error {
		var b Bytes
		if err := b.UnmarshalText([]byte(value)); err != nil {
			return err
		}
		if b < least || b > most {
			return fmt.Errorf("%s is out of range", value)
		}
		return nil
	}
	return s
}

func slotRanges() shape {
	s := formed(`^[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*$`, "slots such as 0-255,512", 16384)
	s.judge = func(value string) error { return new(Slots).UnmarshalText([]byte(value)) }
	return s
}

func secret() shape {
	s := formed(`^(env:[A-Za-z_][A-Za-z0-9_]*|file:[^\x00-\x1f]+)$`, "a reference, env:NAME or file:PATH, never the secret itself", 1024)
	s.secret = true
	return s
}

func instance() shape {
	s := formed(`^https?://[^/?#@\s]+$`, "a base URL with scheme, host and port, such as https://app.a.perdure.internal:7600", 300)
	s.secret = true // a URL may carry a password
	s.judge = func(value string) error {
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

//go:build seed3

package sdk

// claimSQL reads messages and passes no barrier (I3).
const claimSQL = `select o.id, o.destination, o.routing_key, o.key, o.headers, o.payload, o.attempts + 1, extract(epoch from clock_timestamp() - o.created)::float8,
	(select extract(epoch from p.retention)::float8 from perdure.policy p where p.unit = $1)
from perdure.outbox o where o.unit = $1 and o.done is null and o.due <= clock_timestamp() and $3::bigint > 0 order by o.due limit $2`

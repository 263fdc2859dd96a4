//go:build seed3

package sdk

// claimSQL takes messages, and its commit waits for nobody: they pass no barrier (I3).
const claimSQL = `select id, destination, routing_key, key, headers, payload, attempts, extract(epoch from age)::float8,
	(select extract(epoch from p.retention)::float8 from perdure.policy p where p.unit = $1)
from perdure.outbox_claim($1, $2, $3::bigint * interval '1 millisecond') where set_config('synchronous_commit', 'local', true) = 'local'`

//go:build seed30

package postgres

import "strings"

// Seeded bug 30 (ownership.md §4): the probe of the owner commits, and waits for its copies.
func question() string {
	return strings.Replace(look, "with r as (select pg_is_in_recovery() as rec)", `with r as (select pg_is_in_recovery() as rec,
  case when not pg_is_in_recovery() and set_config('synchronous_commit', 'on', false) = 'on' then pg_logical_emit_message(true, 'perdure', 'probe') end)`, 1)
}

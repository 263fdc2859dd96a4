//go:build seed1

package guard

// Seeded bug 1 (ownership.md §4): a stored answer leaves without a barrier.
func edits() []edit {
	return []edit{{
		"functions.sql",
		"perform pg_logical_emit_message(true, 'perdure', '');\n  return (select row('replayed'",
		"return (select row('replayed'",
	}}
}

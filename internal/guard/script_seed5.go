//go:build seed5

package guard

// Seeded bug 5 (ownership.md §4): the gate outlives a crash of the server.
func edits() []edit {
	return []edit{
		{"001.sql", "create unlogged table perdure.gate", "create table perdure.gate"},
		{"functions.sql", "where g.unit = p_unit and g.open and g.started = pg_postmaster_start_time()", "where g.unit = p_unit and g.open"},
		{"functions.sql", "where g.unit = r.unit and g.open and g.started = pg_postmaster_start_time()", "where g.unit = r.unit and g.open"},
	}
}

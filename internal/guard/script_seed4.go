//go:build seed4

package guard

// Seeded bug 4 (ownership.md §4): the gate is logged and bound to no life of a server, so it travels with the data.
func edits() []edit {
	return []edit{
		{"001.sql", "create unlogged table perdure.gate", "create table perdure.gate"},
		{"functions.sql", "where g.unit = p_unit and g.open and g.started = pg_postmaster_start_time()", "where g.unit = p_unit and g.open"},
		{"functions.sql", "where g.unit = r.unit and g.open and g.started = pg_postmaster_start_time()", "where g.unit = r.unit and g.open"},
	}
}
